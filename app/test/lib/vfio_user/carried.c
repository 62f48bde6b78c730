/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "carried.h"

struct carried carried;

static struct peer *
commanded(void)
{
	return carried.twin.fd >= 0 ? &carried.twin : &carried.peer;
}

static int
take_fd(unsigned int index)
{
	int fd;

	assert_true(index < carried.reply.fds_count);
	fd = carried.reply.fds[index];
	assert_true(fd >= 0);
	return fd;
}

/* The twin comes first where there are both. */
static void
negotiate(const char *capabilities)
{
	uint8_t payload[512] = {U16(0), U16(1)};
	int bytes = snprintf((char *)payload + 4, sizeof(payload) - 4, "{\"capabilities\":{%s}}", capabilities);
	struct peer_msg *reply = &carried.reply;
	unsigned int taken = 0;

	assert_int_equal(device_ask(&carried.peer, 1, payload, 4 + (size_t)bytes + 1, NULL, 0, reply), 0);
	if (strstr((const char *)reply->payload + 4, "\"twin_socket\"") != NULL) {
		carried.twin = (struct peer){.fd = take_fd(taken++), .turn = device_turn, .ctx = &carried.device};
	}
	if (strstr((const char *)reply->payload + 4, "\"ringpass.window\"") != NULL)
		carried.window_fd = take_fd(taken++);
	assert_int_equal(reply->fds_count, taken);
	reply->fds_count = 0;
}

uint32_t
carried_map(uint32_t flags, uint64_t iova, uint64_t size_bytes)
{
	const uint8_t payload[] = {U32(32), U32(flags), U64(0), U64(iova), U64(size_bytes)};

	return device_ask(&carried.peer, 2, payload, sizeof(payload), NULL, 0, &carried.reply);
}

void
carried_begin(const struct device_description *description, const char *capabilities)
{
	if (description != NULL)
		device_restart(&carried.device, description);
	device_connect(&carried.device, &carried.peer);
	negotiate(capabilities);
	assert_int_equal(carried_map(3, CARRIED_IOVA, CARRIED_BYTES), 0);
}

static void
close_all(void)
{
	peer_close(&carried.peer);
	peer_close(&carried.twin);
	if (carried.window_fd >= 0)
		close(carried.window_fd);
	carried.window_fd = -1;
}

void
carried_leave(void)
{
	close_all();
	device_turn(&carried.device);
	assert_false(rp_vfu_server_connected(carried.device.server));
}

int
carried_setup(void **state)
{
	(void)state;
	test_leaks_read(&carried.before);
	device_start(&carried.device);
	carried.peer.fd = -1;
	carried.twin.fd = -1;
	carried.window_fd = -1;
	return 0;
}

int
carried_teardown(void **state)
{
	(void)state;
	close_all();
	device_close(&carried.device);
	test_leaks_assert_none(&carried.before);
	return 0;
}

static void
on_done(struct rp_dma_io *io, int error)
{
	struct access *access = io->ctx;

	access->ends++;
	access->error = error;
}

int
carried_start(struct access *access, bool write, uint64_t iova, void *bytes, uint64_t size_bytes)
{
	*access = (struct access){.segment = {.iova = iova, .size_bytes = size_bytes, .bytes = bytes}};
	access->io = (struct rp_dma_io){
		.write = write, .segments = &access->segment, .segments_count = 1, .done = on_done, .ctx = access};
	return rp_dma_io_submit(rp_vfu_server_dma(carried.device.server), &access->io);
}

void
carried_ended(const struct access *access, int error)
{
	assert_int_equal(access->ends, 1);
	assert_int_equal(access->error, error);
}

struct asked
carried_take(uint16_t command)
{
	struct peer_msg *msg = &carried.msg;
	struct asked asked;

	assert_true(peer_receive(commanded(), msg));
	assert_int_equal(msg->flags, COMMAND);
	assert_int_equal(msg->command, command);
	assert_int_equal(msg->fds_count, 0);
	asked = (struct asked){.id = msg->id, .command = msg->command};
	memcpy(&asked.iova, msg->payload, 8);
	memcpy(&asked.count, msg->payload + 8, 8);
	if (command > 0x5200)
		memcpy(&asked.at, msg->payload + 16, 8);
	return asked;
}

bool
carried_answer(const struct asked *asked, uint64_t iova, uint64_t count, const void *data, size_t data_bytes)
{
	uint8_t *payload = malloc(16 + data_bytes);
	bool sent;

	assert_non_null(payload);
	memcpy(payload, &iova, 8);
	memcpy(payload + 8, &count, 8);
	if (data_bytes > 0)
		memcpy(payload + 16, data, data_bytes);
	sent = peer_command(commanded(), asked->id, asked->command, REPLY, payload, 16 + data_bytes, NULL, 0);
	free(payload);
	device_turn(&carried.device);
	return sent;
}

bool
carried_refuse(const struct asked *asked, uint32_t error)
{
	uint8_t header[] = {HEADER(0, 0, 16, ERROR_REPLY, error)};
	bool sent;

	memcpy(header, &asked->id, 2);
	memcpy(header + 2, &asked->command, 2);
	sent = peer_send(commanded(), header, sizeof(header), NULL, 0);
	device_turn(&carried.device);
	return sent;
}

bool
carried_silent(void)
{
	return peer_is_silent(commanded());
}
