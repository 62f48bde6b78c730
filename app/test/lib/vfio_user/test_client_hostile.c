/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "script.h"

/*
 * A server that lies at random: to every call, replies of every size with every
 * count of descriptors. No call hangs, crashes, or keeps what it should not.
 */

static struct liar liar;
static unsigned int seed;
static int window_fd;

/* Everything is agreed on, so that everything can be lied about. */
static bool
agree(struct liar *l, const struct peer_msg *command)
{
	if (command->command != 1)
		return false;
	script_version(l, command,
		       "\"max_msg_fds\":8,\"write_multiple\":true,\"migration\":{\"pgsize\":4096,"
		       "\"max_bitmap_size\":4096},\"ringpass.remap\":true,\"ringpass.serve\":true,"
		       "\"ringpass.io_fds\":true,\"ringpass.window\":{\"size\":65536,\"fd_index\":0}",
		       &window_fd, 1);
	return true;
}
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
	/* Our answers to its commands are nothing to it. */
	if (agree(l, command) || (command->flags & 0xf) == REPLY)
		return true;
	/* Seldom, because the connection ends by it. */
	if (rand_r(&seed) % 64 == 0)
		id++;
	if (rand_r(&seed) % 32 == 0)
		number = (uint16_t)rand_r(&seed);
	if (rand_r(&seed) % 16 == 0)
		flags = ERROR_REPLY;
	while (rand_r(&seed) % 4 == 0) {
		static const uint16_t numbers[] = {11, 12, 0x5202, 0x5203, 9, 0x5201, 77};
		static const uint32_t payloads[] = {16, 20, 24, 15, 0, 4096};

		(void)peer_command(&l->peer, 9, numbers[(size_t)rand_r(&seed) % 7],
				   rand_r(&seed) % 2 == 0 ? NO_REPLY : COMMAND, bytes,
				   payloads[(size_t)rand_r(&seed) % 6], fds, rand_r(&seed) % 4 == 0 ? 1 : 0);
	}
	/* Half of a true answer, half of a lie. */
	if (rand_r(&seed) % 2 == 0 && command->payload_bytes <= size_bytes)
		memcpy(bytes, command->payload, command->payload_bytes);
	(void)peer_command(&l->peer, id, number, flags, bytes, size_bytes, fds,
			   rand_r(&seed) % 3 == 0 ? 0 : (unsigned int)rand_r(&seed) % 3);
	return true;
}

static uint8_t bytes_of_ours[0x1000];

static void
call_the_rest(struct rp_vfu_client *client)
{
	const struct rp_vfu_client_write write = {.count_bytes = 4};
	const struct rp_vfu_client_range range = {0x1000, 0x1000};
	struct rp_vfu_client_place places[8];
	uint64_t page_size_bytes = 4096, bits[2], flags;
	enum rp_vfu_mig_state mig_state;
	unsigned int count = 0;
	size_t data_bytes;
	uint8_t data[64];

	(void)rp_vfu_client_region_write_post(client, 0, 0, 4, data, NULL);
	(void)rp_vfu_client_region_write_multi(client, &write, 1, &count, NULL);
	if (rp_vfu_client_places(client, 0, places, 8, &count, NULL) == 0)
		rp_vfu_client_places_close(places, count);
	(void)rp_vfu_client_feature_probe(client, 8, 0, NULL);
	(void)rp_vfu_client_logging_start(client, &page_size_bytes, &range, 1, NULL);
	(void)rp_vfu_client_logging_report(client, 0x1000, 65 * 4096, 4096, bits, NULL);
	(void)rp_vfu_client_dma_unmap_dirty(client, 0x1000, 0x800, 4096, bits, NULL);
	(void)rp_vfu_client_dma_unmap_all(client, NULL);
	(void)rp_vfu_client_logging_stop(client, NULL);
	(void)rp_vfu_client_migration_flags(client, &flags, NULL);
	(void)rp_vfu_client_migration_state(client, &mig_state, NULL);
	(void)rp_vfu_client_migration_set_state(client, RP_VFU_MIG_STOP, NULL);
	(void)rp_vfu_client_migration_read(client, data, sizeof(data), &data_bytes, NULL);
	(void)rp_vfu_client_migration_write(client, data, sizeof(data), NULL);
}

static void
call_everything(struct rp_vfu_client *client)
{
	struct rp_vfu_client_region region;
	struct rp_vfu_client_device device;
	const struct rp_vfu_client_memory memory = {
		.iova = 0x1000, .size_bytes = 0x1000, .fd = -1, .hva = bytes_of_ours, .access_mask = 3};
	const int none[] = {-1, liar.file_fd, -1};
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
	if (rp_vfu_client_io_fd(client, 0, 0, 4, 0, &fd, NULL) == 0)
		rp_wire_fd_close(&fd);
	(void)rp_vfu_client_irq_eventfds(client, 2, RP_VFU_IRQ_ACTION_TRIGGER_MASK, 0, 3, none, NULL);
	(void)rp_vfu_client_irq_action(client, 4, RP_VFU_IRQ_ACTION_MASK_MASK, 0, 3, NULL, NULL);
	(void)rp_vfu_client_dma_map_memory(client, &memory, NULL);
	(void)rp_vfu_client_dma_remap(client, &memory, NULL);
	call_the_rest(client);
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
		liar.lie_from_version = true;
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

	if ((command->flags & NO_REPLY) != 0)
		return true;
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

/* Everything honest until one step, and there it dies, in each of the ways that there are. */
static unsigned int dies_at, steps;
static unsigned int way;

static void
die(struct liar *l, const struct peer_msg *command)
{
	static const uint8_t read[] = {DMA_READ(3, 0x1000, 64)};
	static const uint8_t write[] = {DMA_WRITE(4, 0x1000, 64), 'x', 'x'};
	const uint8_t half[] = {HEADER(command->id, command->command, 64, REPLY, 0), 1, 2, 3};

	if (way == 1)
		(void)peer_send(&l->peer, half, 7, NULL, 0);
	if (way == 2)
		(void)peer_send(&l->peer, half, 16, &l->file_fd, 1);
	if (way == 3)
		(void)peer_send(&l->peer, half, sizeof(half), &l->file_fd, 1);
	if (way == 4)
		(void)peer_send(&l->peer, read, sizeof(read), NULL, 0);
	if (way == 5)
		(void)peer_send(&l->peer, write, sizeof(write), NULL, 0);
	peer_close(&l->peer);
}

static bool
honest_until(struct liar *l, const struct peer_msg *command)
{
	if (agree(l, command) || (command->flags & 0xf) == REPLY || (command->flags & NO_REPLY) != 0)
		return true;
	if (steps++ == dies_at) {
		die(l, command);
		return true;
	}
	return false;
}

static void
test_servers_killed_at_each_step(void **state)
{
	bool died, connected;

	(void)state;
	for (way = 0; way < 6; way++) {
		for (dies_at = 0, died = true; died; dies_at++) {
			struct rp_vfu_client *client;

			steps = 0;
			liar.lie_from_version = true;
			client = liar_client(&liar, honest_until);
			call_everything(client);
			connected = rp_vfu_client_connected(client);
			rp_vfu_client_destroy(client);
			liar_stop(&liar);
			died = steps > dies_at;
			if (connected == died)
				fail_msg("way %u, step %u of %u", way, dies_at, steps);
		}
		assert_in_range(dies_at, 30, 200);
	}
}

static int
make_window(void **state)
{
	(void)state;
	window_fd = test_memfd(65536, true);
	return 0;
}

static int
close_window(void **state)
{
	(void)state;
	rp_wire_fd_close(&window_fd);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_replies),
		cmocka_unit_test(test_random_bytes),
		cmocka_unit_test(test_unwanted_descriptors),
		cmocka_unit_test(test_servers_killed_at_each_step),
	};

	return cmocka_run_group_tests_name("vfio-user client: hostile servers", tests, make_window, close_window);
}
