/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bytes.h"
#include "liar.h"
#include "rp_wire_fd.h"

/*
 * A server that lies at random: to every call, replies of every size with every
 * count of descriptors. No call hangs, crashes, or keeps what it should not.
 */

static struct liar liar;
static unsigned int seed;
static uint8_t bytes[8192];

/* Fields that make sense more often than chance would have it. */
static void
fill(void)
{
	static const uint32_t odd[] = {0, 1, 2, 3, 7, 15, 16, 24, 32, 40, 56, 80, 0x1000, 0x4000, 0x10000, UINT32_MAX};
	unsigned int at;

	for (at = 0; at + 4 <= sizeof(bytes); at += 4) {
		uint32_t word = rand_r(&seed) % 2 == 0 ? 0 : odd[(size_t)rand_r(&seed) % 16];

		memcpy(bytes + at, &word, sizeof(word));
	}
}

static bool
anything(struct liar *l, const struct peer_msg *command)
{
	static const uint32_t sizes[] = {0, 1, 4, 8, 15, 16, 17, 24, 31, 32, 33, 40, 48, 56, 64, 80, 96, 4100, 8192};
	uint32_t size_bytes = sizes[(size_t)rand_r(&seed) % 19];
	uint16_t id = command->id, number = command->command;
	uint32_t flags = REPLY;
	int fds[18];
	unsigned int i;

	fill();
	for (i = 0; i < 18; i++)
		fds[i] = l->file_fd;
	/* Seldom, because the connection ends by it. */
	if (rand_r(&seed) % 64 == 0)
		id++;
	if (rand_r(&seed) % 32 == 0)
		number = (uint16_t)rand_r(&seed);
	if (rand_r(&seed) % 16 == 0)
		flags = ERROR_REPLY;
	if (rand_r(&seed) % 16 == 0)
		(void)peer_command(&l->peer, 9, 11, NO_REPLY, bytes, 16, fds, 1);
	/* Half of a true answer, half of a lie. */
	if (rand_r(&seed) % 2 == 0 && command->payload_bytes <= size_bytes)
		memcpy(bytes, command->payload, command->payload_bytes);
	(void)peer_command(&l->peer, id, number, flags, bytes, size_bytes, fds,
			   rand_r(&seed) % 3 == 0 ? 0 : (unsigned int)rand_r(&seed) % 3);
	return true;
}

static void
call_everything(struct rp_vfu_client *client)
{
	struct rp_vfu_client_region region;
	struct rp_vfu_client_device device;
	uint32_t i, count, flags;
	uint8_t data[64];
	int fd = -1;

	(void)rp_vfu_client_device_info(client, &device, NULL);
	for (i = 0; i < 9; i++)
		(void)rp_vfu_client_region_info(client, i, &region, NULL);
	(void)rp_vfu_client_irq_info(client, 2, &count, &flags, NULL);
	(void)rp_vfu_client_region_read(client, 0, 0, sizeof(data), data, NULL);
	(void)rp_vfu_client_region_write(client, 0, 0, sizeof(data), data, NULL);
	(void)rp_vfu_client_irq_set(client, 2, 0, -1, NULL);
	(void)rp_vfu_client_dma_map(client, 0, 0x1000, liar.file_fd, 0, 3, NULL);
	(void)rp_vfu_client_dma_unmap(client, 0, 0x1000, NULL);
	if (rp_vfu_client_io_fd(client, 0, 0, 4, &fd, NULL) == 0)
		rp_wire_fd_close(&fd);
	(void)rp_vfu_client_reset(client, NULL);
	(void)rp_vfu_client_process(client);
}

static void
test_random_replies(void **state)
{
	unsigned int round, calls;

	(void)state;
	for (round = 0; round < 400; round++) {
		struct rp_vfu_client *client;

		seed = round;
		client = liar_client(&liar, anything);
		for (calls = 0; calls < 4 && rp_vfu_client_connected(client); calls++)
			call_everything(client);
		rp_vfu_client_destroy(client);
		liar_stop(&liar);
	}
}

/* Bytes that are no messages, instead of a reply. */
static bool
junk(struct liar *l, const struct peer_msg *command)
{
	unsigned int at;

	(void)command;
	for (at = 0; at < 64; at++)
		bytes[at] = (uint8_t)(rand_r(&seed) % 3 == 0 ? rand_r(&seed) : 0);
	/* A size that a message can have, else framing is lost at once. */
	if (rand_r(&seed) % 2 == 0) {
		const uint8_t size[] = {U32(16 + rand_r(&seed) % 32)};

		memcpy(bytes + 4, size, sizeof(size));
	}
	(void)peer_send(&l->peer, bytes, 64, &l->file_fd, (unsigned int)rand_r(&seed) % 2);
	peer_close(&l->peer);
	return true;
}

static void
test_random_bytes(void **state)
{
	unsigned int round;

	(void)state;
	for (round = 0; round < 400; round++) {
		struct rp_vfu_client *client;

		seed = round;
		client = liar_client(&liar, junk);
		call_everything(client);
		assert_false(rp_vfu_client_connected(client));
		rp_vfu_client_destroy(client);
		liar_stop(&liar);
	}
}

/* Every command with every count of descriptors that a reply may not have. */
static unsigned int fds_count;

static bool
with_descriptors(struct liar *l, const struct peer_msg *command)
{
	int fds[18];
	unsigned int i;

	for (i = 0; i < 18; i++)
		fds[i] = l->file_fd;
	memset(bytes, 0, sizeof(bytes));
	memcpy(bytes, command->payload, command->payload_bytes);
	liar_reply(l, command, bytes, command->payload_bytes, fds, fds_count);
	return true;
}

static void
test_unwanted_descriptors(void **state)
{
	static const unsigned int counts[] = {1, 2, 16, 17, 18};
	unsigned int i;

	(void)state;
	for (i = 0; i < 5; i++) {
		struct rp_vfu_client *client;

		fds_count = counts[i];
		client = liar_client(&liar, with_descriptors);
		call_everything(client);
		assert_int_equal(rp_vfu_client_connected(client), fds_count <= 16);
		rp_vfu_client_destroy(client);
		liar_stop(&liar);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_replies),
		cmocka_unit_test(test_random_bytes),
		cmocka_unit_test(test_unwanted_descriptors),
	};

	return cmocka_run_group_tests_name("vfio-user client: hostile servers", tests, NULL, NULL);
}
