/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vfu_later.h"
#include "vfu_server.h"

void
rp_vfu_later_init(struct rp_vfu_later *later)
{
	*later = (struct rp_vfu_later){.number = 0};
	pthread_mutex_init(&later->lock, NULL);
}

/* With the lock. */
static void
close_command(struct rp_vfu_later *later)
{
	later->open = false;
	later->given = false;
	free(later->bytes);
	later->bytes = NULL;
}

void
rp_vfu_later_fini(struct rp_vfu_later *later)
{
	close_command(later);
	pthread_mutex_destroy(&later->lock);
}

void
rp_vfu_later_begin(struct rp_vfu_later *later, uint32_t wanted_bytes)
{
	pthread_mutex_lock(&later->lock);
	close_command(later);
	later->number++;
	later->open = true;
	later->wanted_bytes = wanted_bytes;
	pthread_mutex_unlock(&later->lock);
}

void
rp_vfu_later_end(struct rp_vfu_later *later)
{
	pthread_mutex_lock(&later->lock);
	close_command(later);
	pthread_mutex_unlock(&later->lock);
}

/* With the lock. */
static int
give(struct rp_vfu_later *later, int error, const uint8_t *bytes)
{
	uint8_t *copy = NULL;

	if (error == 0 && later->wanted_bytes > 0) {
		if (bytes == NULL)
			return -EINVAL;
		copy = malloc(later->wanted_bytes);
		if (copy == NULL)
			return -ENOMEM;
		memcpy(copy, bytes, later->wanted_bytes);
	}
	later->given = true;
	later->error = error;
	later->bytes = copy;
	return 0;
}

int
rp_vfu_later_give(struct rp_vfu_later *later, uint64_t number, int error, const uint8_t *bytes)
{
	int rc = -ENOENT;

	if (error > 0 || error == -EINPROGRESS)
		return -EINVAL;
	pthread_mutex_lock(&later->lock);
	if (later->open && !later->given && later->number == number)
		rc = give(later, error, bytes);
	pthread_mutex_unlock(&later->lock);
	return rc;
}

bool
rp_vfu_later_is_given(struct rp_vfu_later *later)
{
	bool given;

	pthread_mutex_lock(&later->lock);
	given = later->given;
	pthread_mutex_unlock(&later->lock);
	return given;
}

bool
rp_vfu_later_take(struct rp_vfu_later *later, int *ret_error, uint8_t **ret_bytes)
{
	bool given;

	pthread_mutex_lock(&later->lock);
	given = later->given;
	if (given) {
		*ret_error = later->error;
		*ret_bytes = later->bytes;
		later->bytes = NULL;
		close_command(later);
	}
	pthread_mutex_unlock(&later->lock);
	return given;
}

uint64_t
rp_vfu_server_command_number(const struct rp_vfu_server *server)
{
	/* Only the server's thread changes it. */
	return server->later.number;
}

int
rp_vfu_server_answer(struct rp_vfu_server *server, uint64_t number, int error, const uint8_t *bytes)
{
	int rc = rp_vfu_later_give(&server->later, number, error, bytes);

	if (rc == 0)
		rp_vfu_carrier_wake(server->carrier);
	return rc;
}

/* It has been given. */
static int
finish_later(struct rp_vfu_server *server, struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	uint8_t *bytes = NULL, *room;
	int error = 0;

	(void)rp_vfu_later_take(&server->later, &error, &bytes);
	if (bytes != NULL) {
		room = rp_vfu_server_scratch(server, server->later.wanted_bytes);
		if (room == NULL)
			error = -ENOSPC;
		else
			memcpy(room, bytes, server->later.wanted_bytes);
		reply->data = room;
		reply->data_bytes = server->later.wanted_bytes;
		free(bytes);
	}
	return error < 0 ? rp_wire_why_set(why, error, "the device: %s", strerror(-error)) : 0;
}

int
rp_vfu_server_await_answer(struct rp_vfu_reply *reply)
{
	reply->awaits_answer = true;
	reply->finish = finish_later;
	reply->ticket = RP_DMA_SETTLED;
	return -EINPROGRESS;
}
