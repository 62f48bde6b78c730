/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "vfu_server.h"
#include "vfu_server_iommu.h"

/*
 * Theory of operation: a device that has work under way may need this thread to end
 * it (answers to its accesses by message come in here), so quiesce() cannot wait. It
 * is given a token instead; the command that needs the device to stand still is
 * deferred until the token comes back, and no other command is taken meanwhile. The
 * specification allows for that: a reset "may take an arbitrarily long time".
 */

int
rp_vfu_server_quiesce(struct rp_vfu_server *server)
{
	server->asked_token++;
	return server->ops.quiesce == NULL ? 0 : server->ops.quiesce(server->ctx, server->asked_token);
}

bool
rp_vfu_server_is_quiet(const struct rp_vfu_server *server)
{
	return atomic_load_explicit(&server->quiet_token, memory_order_acquire) >= server->asked_token;
}

void
rp_vfu_server_quiesced(struct rp_vfu_server *server, uint64_t token)
{
	uint64_t before = atomic_load_explicit(&server->quiet_token, memory_order_relaxed);

	/* Tokens only grow: who is late must not hide the answer to a later question. */
	while (before < token && !atomic_compare_exchange_weak_explicit(&server->quiet_token, &before, token,
									memory_order_release, memory_order_relaxed))
		;
	rp_vfu_carrier_wake(server->carrier);
}

int
rp_vfu_server_await_device(struct rp_vfu_reply *reply, rp_vfu_finisher finish)
{
	reply->awaits_device = true;
	reply->finish = finish;
	/* Where the client waits for this reply, no access of the device's can end but by being given up. */
	reply->ticket = RP_DMA_SETTLED;
	reply->first_iova = 0;
	reply->last_iova = UINT64_MAX;
	return -EINPROGRESS;
}

int
rp_vfu_server_reset_now(struct rp_vfu_server *server)
{
	int rc = server->ops.reset(server->ctx);

	if (rc == 0)
		rp_vfu_server_migration_reset(server);
	if (rc == 0 && server->iommu != NULL)
		rp_vfu_pages_resume(server->iommu->pages);
	/* Taking its time is quiesce()'s part. */
	return rc == -EINPROGRESS ? -EIO : rc;
}

static int
finish_reset(struct rp_vfu_server *server, struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	int rc = rp_vfu_server_reset_now(server);

	(void)reply;
	server->reset_waits = false;
	return rc < 0 ? rp_wire_why_set(why, rc, "the device: %s", strerror(-rc)) : 0;
}

int
rp_vfu_server_on_reset(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
		       struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	int rc;

	(void)command;
	(void)fds;
	if (!server->resettable)
		return rp_wire_why_set(why, -ENOTSUP, "the device has no reset");
	rc = rp_vfu_server_quiesce(server);
	if (rc == -EINPROGRESS) {
		server->reset_waits = true;
		return rp_vfu_server_await_device(reply, finish_reset);
	}
	if (rc < 0)
		return rp_wire_why_set(why, rc, "the device does not stand still: %s", strerror(-rc));
	return finish_reset(server, reply, why);
}

void
rp_vfu_server_reset_drop(struct rp_vfu_server *server)
{
	/* A device that was told to stand still would stand for ever. */
	if (server->reset_waits)
		(void)rp_vfu_server_reset_now(server);
	server->reset_waits = false;
}
