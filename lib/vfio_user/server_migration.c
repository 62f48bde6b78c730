/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vfu_server.h"

/*
 * Theory of operation: a client names the state that it wants, and the server walks
 * there over the arcs of the specification, one change_state() each. The table says
 * for each pair where the walk goes next: the shortest way that has no saving state
 * (PRE_COPY, STOP_COPY) in its interior. A zero is a pair that is not allowed; ERROR
 * has no way out but a reset. A walk that fails stays where it got to, which is what
 * <linux/vfio.h> tells clients to expect.
 */

/* Short, so that the table can be read as a table. */
#define STOP RP_VFU_MIG_STOP
#define RUNNING RP_VFU_MIG_RUNNING
#define STOP_COPY RP_VFU_MIG_STOP_COPY
#define RESUMING RP_VFU_MIG_RESUMING
#define PRE_COPY RP_VFU_MIG_PRE_COPY

/* clang-format off */
static const uint8_t next_on_the_way[RP_VFU_MIG_STATES_COUNT][RP_VFU_MIG_STATES_COUNT] = {
	/* from           to: */
	[STOP]      = { [STOP] = STOP, [RUNNING] = RUNNING, [STOP_COPY] = STOP_COPY, [RESUMING] = RESUMING,
			[PRE_COPY] = RUNNING },
	[RUNNING]   = { [STOP] = STOP, [RUNNING] = RUNNING, [STOP_COPY] = STOP, [RESUMING] = STOP,
			[PRE_COPY] = PRE_COPY },
	[STOP_COPY] = { [STOP] = STOP, [RUNNING] = STOP, [STOP_COPY] = STOP_COPY, [RESUMING] = STOP },
	[RESUMING]  = { [STOP] = STOP, [RUNNING] = STOP, [STOP_COPY] = STOP, [RESUMING] = RESUMING,
			[PRE_COPY] = STOP },
	[PRE_COPY]  = { [STOP] = RUNNING, [RUNNING] = RUNNING, [STOP_COPY] = STOP_COPY, [RESUMING] = RUNNING,
			[PRE_COPY] = PRE_COPY },
};

static const char *const names[RP_VFU_MIG_STATES_COUNT] = {
	"ERROR", "STOP", "RUNNING", "STOP_COPY", "RESUMING", "RUNNING_P2P", "PRE_COPY", "PRE_COPY_P2P",
};
/* clang-format on */

static bool
is_running(enum rp_vfu_mig_state state)
{
	return state == RUNNING || state == PRE_COPY;
}

static int
one_arc(struct rp_vfu_server *server, struct rp_wire_why *why)
{
	enum rp_vfu_mig_state from = server->mig_state;
	enum rp_vfu_mig_state to = next_on_the_way[from][server->mig_target];
	int rc = server->migration.change_state(server->ctx, from, to);

	if (rc == 0)
		server->mig_state = to;
	else if (rc == -ENOTRECOVERABLE)
		server->mig_state = RP_VFU_MIG_ERROR;
	return rc < 0 ? rp_wire_why_set(why, rc, "%s to %s: the device: %s", names[from], names[to], strerror(-rc)) : 0;
}

/* Whether the next arc is one before which the device has to stand still. */
static bool
is_stopping(const struct rp_vfu_server *server)
{
	return is_running(server->mig_state) && !is_running(next_on_the_way[server->mig_state][server->mig_target]);
}

static int finish_walk(struct rp_vfu_server *server, struct rp_vfu_reply *reply, struct rp_wire_why *why);

static int
walk(struct rp_vfu_server *server, struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	int rc = 0;

	while (rc == 0 && server->mig_state != server->mig_target) {
		if (is_stopping(server))
			rc = rp_vfu_server_quiesce(server);
		if (rc == -EINPROGRESS)
			return rp_vfu_server_await_device(reply, finish_walk);
		if (rc < 0)
			rp_wire_why_set(why, rc, "the device does not stand still: %s", strerror(-rc));
		else
			rc = one_arc(server, why);
	}
	server->mig_target = server->mig_state;
	return rc;
}

/* The device stands still, so the arc that had to wait for it comes first. */
static int
finish_walk(struct rp_vfu_server *server, struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	int rc = one_arc(server, why);

	if (rc == 0)
		return walk(server, reply, why);
	server->mig_target = server->mig_state;
	return rc;
}

static int
check_target(const struct rp_vfu_server *server, uint32_t target, struct rp_wire_why *why)
{
	if (target >= RP_VFU_MIG_STATES_COUNT || next_on_the_way[RESUMING][target] == 0)
		return rp_wire_why_set(why, -EBADMSG,
				       "device_state: %u%s%s, expected STOP, RUNNING, STOP_COPY, "
				       "RESUMING or PRE_COPY",
				       target, target < RP_VFU_MIG_STATES_COUNT ? " is " : "",
				       target < RP_VFU_MIG_STATES_COUNT ? names[target] : "");
	if (target == PRE_COPY && (server->migration.flags & RP_VFU_MIGRATION_PRE_COPY_MASK) == 0)
		return rp_wire_why_set(why, -ENOTSUP, "device_state: the device has no PRE_COPY");
	if (server->mig_state == RP_VFU_MIG_ERROR)
		return rp_wire_why_set(why, -EBUSY, "device_state: the device is in ERROR, expected a reset first");
	if (next_on_the_way[server->mig_state][target] == 0)
		return rp_wire_why_set(why, -EBUSY, "device_state: no way from %s to %s", names[server->mig_state],
				       names[target]);
	return 0;
}

int
rp_vfu_server_set_mig_state(struct rp_vfu_server *server, uint8_t *data, uint32_t data_bytes,
			    struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	struct rp_vfu_wire_mig_state state;
	int rc;

	if (data_bytes != sizeof(state))
		return rp_wire_why_set(why, -EMSGSIZE, "data: %u bytes, expected %zu", data_bytes, sizeof(state));
	memcpy(&state, data, sizeof(state));
	rc = check_target(server, state.device_state, why);
	if (rc < 0)
		return rc;
	server->mig_target = (enum rp_vfu_mig_state)state.device_state;
	return walk(server, reply, why);
}

/* Both answers are of 8 bytes. */
static void
put(struct rp_vfu_feature_get *get, struct rp_vfu_reply *reply, const void *bytes, uint32_t count)
{
	get->ret_bytes = count;
	if (get->room_bytes < count)
		return;
	memcpy(reply->fixed + reply->fixed_bytes, bytes, count);
	reply->fixed_bytes += count;
}

int
rp_vfu_server_get_mig_state(struct rp_vfu_server *server, struct rp_vfu_feature_get *get, struct rp_vfu_reply *reply,
			    struct rp_wire_why *why)
{
	const struct rp_vfu_wire_mig_state state = {.device_state = server->mig_state, .data_fd = UINT32_MAX};

	(void)why;
	put(get, reply, &state, sizeof(state));
	return 0;
}

int
rp_vfu_server_get_migration(struct rp_vfu_server *server, struct rp_vfu_feature_get *get, struct rp_vfu_reply *reply,
			    struct rp_wire_why *why)
{
	const struct rp_vfu_wire_feature_migration migration = {.flags = server->migration.flags};

	(void)why;
	put(get, reply, &migration, sizeof(migration));
	return 0;
}

static int
check_transfer(const struct rp_vfu_server *server, uint32_t size_bytes, uint32_t states_mask, struct rp_wire_why *why)
{
	uint64_t max_bytes = server->terms.value[RP_VFU_TERM_DATA_XFER];

	if (server->migration.flags == 0)
		return rp_wire_why_set(why, -ENOTSUP, "the device cannot be migrated");
	if (size_bytes > max_bytes)
		return rp_wire_why_set(why, -EMSGSIZE, "size: %u, expected at most %" PRIu64 " (max_data_xfer_size)",
				       size_bytes, max_bytes);
	if ((states_mask & (1u << server->mig_state)) == 0)
		return rp_wire_why_set(why, -EBUSY, "no data in state %s", names[server->mig_state]);
	return 0;
}

int
rp_vfu_server_on_mig_data_read(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			       struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	struct rp_vfu_wire_mig_data head;
	uint32_t got = 0;
	uint8_t *bytes;
	int rc;

	(void)fds;
	memcpy(&head, command->payload, sizeof(head));
	rc = check_transfer(server, head.size_bytes, 1u << STOP_COPY | 1u << PRE_COPY, why);
	if (rc < 0)
		return rc;
	bytes = rp_vfu_server_scratch(server, head.size_bytes);
	if (bytes == NULL)
		return rp_wire_why_set(why, -ENOSPC, "no memory for %u bytes", head.size_bytes);
	/* Less than was asked for says that there is no more, so the device is asked until it says so. */
	while (got < head.size_bytes) {
		uint32_t count_bytes = 0;

		rc = server->migration.data_out(server->ctx, bytes + got, head.size_bytes - got, &count_bytes);
		if (rc < 0)
			return rp_wire_why_set(why, rc, "the device: %s", strerror(-rc));
		if (count_bytes == 0 || count_bytes > head.size_bytes - got)
			break;
		got += count_bytes;
	}
	head.size_bytes = got;
	head.argsz = (uint32_t)sizeof(head) + got;
	memcpy(reply->fixed, &head, sizeof(head));
	reply->fixed_bytes = sizeof(head);
	reply->data = bytes;
	reply->data_bytes = got;
	return 0;
}

int
rp_vfu_server_on_mig_data_write(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
				struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	struct rp_vfu_wire_mig_data head;
	int rc;

	(void)fds;
	(void)reply;
	memcpy(&head, command->payload, sizeof(head));
	rc = check_transfer(server, head.size_bytes, 1u << RESUMING, why);
	if (rc < 0)
		return rc;
	rc = server->migration.data_in(server->ctx, command->payload + sizeof(head), head.size_bytes);
	return rc < 0 ? rp_wire_why_set(why, rc, "the device: %s", strerror(-rc)) : 0;
}

void
rp_vfu_server_migration_reset(struct rp_vfu_server *server)
{
	server->mig_state = RUNNING;
	server->mig_target = RUNNING;
}

/*
 * Nobody waits for an answer any more, and everything that the device had under way
 * has ended with the client's memory. A walk that waited for the device to stand
 * still takes its arc, because that and its way back are what lets the device go on.
 */
void
rp_vfu_server_migration_drop(struct rp_vfu_server *server)
{
	struct rp_wire_why why;
	int rc = 0;

	if (server->migration.flags == 0)
		return;
	if (server->mig_target != server->mig_state)
		rc = one_arc(server, &why);
	server->mig_target = RUNNING;
	if (server->mig_state == RESUMING || server->mig_state == RP_VFU_MIG_ERROR)
		rc = -ENOTRECOVERABLE;
	while (rc == 0 && server->mig_state != RUNNING)
		rc = one_arc(server, &why);
	if (rc < 0 && rp_vfu_server_reset_now(server) < 0)
		server->mig_state = RP_VFU_MIG_ERROR;
	server->mig_target = server->mig_state;
}

enum rp_vfu_mig_state
rp_vfu_server_migration_state(const struct rp_vfu_server *server)
{
	return server->mig_state;
}
