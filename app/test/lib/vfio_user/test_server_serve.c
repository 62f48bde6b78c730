/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "carried.h"

/* Whose turn it is: commands that wait behind an answer, clients that leave at any byte, and what goes without extensions. */

#define IOVA CARRIED_IOVA
#define SERVES "\"ringpass.serve\":true"

static const uint8_t read_command[] = {U64(0x10), U32(0), U32(4)};
static const uint8_t unmap_command[] = {U32(24), U32(0), U64(IOVA), U64(0x1000)};

static void
ask(uint16_t id, uint16_t command, const void *payload, size_t payload_bytes, const int *fd)
{
	assert_true(peer_command(&carried.peer, id, command, COMMAND, payload, payload_bytes, fd, fd == NULL ? 0 : 1));
}

static uint32_t
hear(uint16_t id)
{
	assert_true(peer_receive(&carried.peer, &carried.reply));
	assert_int_equal(carried.reply.id, id);
	assert_int_equal(carried.reply.flags & 0xf, REPLY);
	return carried.reply.error;
}

/* The device is what it was, and the next client gets on with it. */
static void
assert_next_client_goes_on(void)
{
	struct access access;
	struct asked asked;
	uint64_t word = 0;

	assert_int_equal(rp_dma_space_count(rp_vfu_server_dma(carried.device.server)), 0);
	carried_begin(NULL, "");
	ask(1, 9, read_command, sizeof(read_command), NULL);
	assert_int_equal(hear(1), 0);
	assert_memory_equal(carried.reply.payload + 16, "kept", 4);
	assert_int_equal(carried_start(&access, false, IOVA, &word, 8), 0);
	asked = carried_take(11);
	assert_true(carried_answer(&asked, IOVA, 8, "abcdefgh", 8));
	carried_ended(&access, 0);
	carried_leave();
}

static int
setup(void **state)
{
	int rc = carried_setup(state);

	memcpy(carried.device.registers + 0x10, "kept", 4);
	return rc;
}

static void
test_client_that_leaves_in_an_answer(void **state)
{
	uint8_t answer[40] = {HEADER(0, 11, 40, REPLY, 0), U64(IOVA), U64(8), 1, 2, 3, 4, 5, 6, 7, 8};
	struct access access, waiting;
	uint64_t words[2];
	struct asked asked;
	size_t cut;

	(void)state;
	for (cut = 0; cut <= sizeof(answer); cut++) {
		carried_begin(NULL, "");
		assert_int_equal(carried_start(&access, false, IOVA, &words[0], 8), 0);
		asked = carried_take(11);
		memcpy(answer, &asked.id, 2);
		assert_true(cut == 0 || peer_send(&carried.peer, answer, cut, NULL, 0));
		/* With and without a turn in between, and with something that was never sent. */
		if (cut % 2 != 0)
			device_turn(&carried.device);
		assert_int_equal(carried_start(&waiting, true, IOVA, &words[1], 8), 0);
		carried_leave();
		carried_ended(&access, cut == sizeof(answer) ? 0 : -ENOTCONN);
		carried_ended(&waiting, -ENOTCONN);
		assert_next_client_goes_on();
	}
}

static void
test_client_that_leaves_in_a_map(void **state)
{
	static const uint8_t map[] = {
		HEADER(1, 2, 48, COMMAND, 0), U32(32), U32(3), U64(0), U64(0x40000000), U64(0x1000)};
	int fd = test_memfd(0x1000, false);
	size_t cut;

	(void)state;
	for (cut = 1; cut <= sizeof(map); cut++) {
		carried_begin(NULL, "");
		assert_true(peer_send(&carried.peer, map, cut, &fd, 1));
		if (cut % 2 != 0)
			device_turn(&carried.device);
		carried_leave();
		assert_next_client_goes_on();
	}
	close(fd);
}

/* Gone at each step of an unmap that waits: before it, behind it with more sent ahead, and with the answer in between. */
static void
test_client_that_leaves_while_an_answer_waits(void **state)
{
	static const uint8_t irqs[] = {U32(20), U32(0x24), U32(2), U32(0), U32(1)};
	enum { ASKED, MORE_SENT, ANSWERED, UNREAD, STEPS };
	struct access access;
	struct asked asked;
	uint64_t word;
	int fd = test_memfd(0x1000, false);
	unsigned int step;

	(void)state;
	for (step = 0; step < STEPS; step++) {
		carried_begin(NULL, SERVES);
		assert_int_equal(carried_start(&access, true, IOVA, &word, 8), 0);
		asked = carried_take(12);
		ask(1, 3, unmap_command, sizeof(unmap_command), NULL);
		device_turn(&carried.device);
		assert_int_equal(access.ends, 0);
		if (step >= MORE_SENT) {
			/* It is taken, because an answer may stand behind it; so is its descriptor. */
			ask(2, 8, irqs, sizeof(irqs), &fd);
			ask(3, 9, read_command, sizeof(read_command), NULL);
			device_turn(&carried.device);
		}
		if (step >= ANSWERED)
			assert_true(carried_answer(&asked, IOVA, 8, NULL, 0));
		if (step == UNREAD) {
			assert_int_equal(hear(1), 0);
			assert_int_equal(hear(2), EINVAL); /* no eventfd */
		}
		carried_leave();
		carried_ended(&access, step >= ANSWERED ? 0 : -ENOTCONN);
		assert_next_client_goes_on();
	}
	close(fd);
}

/* What was sent ahead of the answer is carried out behind it, in its order, with its descriptors. */
static void
test_commands_behind_an_answer(void **state)
{
	uint8_t map[] = {U32(32), U32(3), U64(0), U64(0), U64(0x1000)};
	const unsigned int count = 100;
	struct access access;
	struct asked asked;
	uint64_t word;
	unsigned int i;
	int fd = test_memfd(0x1000, false);

	(void)state;
	carried_begin(NULL, SERVES);
	assert_int_equal(carried_start(&access, true, IOVA, &word, 8), 0);
	asked = carried_take(12);
	ask(1, 3, unmap_command, sizeof(unmap_command), NULL);
	for (i = 0; i < count; i++) {
		uint64_t iova = 0x40000000 + i * 0x1000ull;

		memcpy(map + 16, &iova, 8);
		ask((uint16_t)(2 + i), 2, map, sizeof(map), &fd);
	}
	assert_true(peer_is_silent(&carried.peer));
	assert_int_equal(rp_dma_space_count(rp_vfu_server_dma(carried.device.server)), 1);
	/* The answer stands behind all of them. */
	assert_true(carried_answer(&asked, IOVA, 8, NULL, 0));
	carried_ended(&access, 0);
	for (i = 0; i <= count; i++)
		assert_int_equal(hear((uint16_t)(1 + i)), 0);
	assert_int_equal(rp_dma_space_count(rp_vfu_server_dma(carried.device.server)), 1 + count);
	close(fd);
}

/* No more of it than the limits say: who sends on and on is not waited for, in numbers and in bytes. */
static void
test_who_sends_too_much_ahead_is_not_waited_for(void **state)
{
	static uint8_t write[16 + 0x1000] = {U64(0), U32(0), U32(0x1000)};
	struct access access;
	struct asked asked;
	uint64_t word;
	unsigned int large, i, count;

	(void)state;
	for (large = 0; large < 2; large++) {
		carried_begin(NULL, SERVES);
		assert_int_equal(carried_start(&access, true, IOVA, &word, 8), 0);
		asked = carried_take(12);
		ask(1, 3, unmap_command, sizeof(unmap_command), NULL);
		count = large ? 300 : 400;
		for (i = 0; i < count && access.ends == 0; i++) {
			if (large)
				ask((uint16_t)(2 + i), 10, write, sizeof(write), NULL);
			else
				ask((uint16_t)(2 + i), 9, read_command, sizeof(read_command), NULL);
			device_turn(&carried.device);
		}
		carried_ended(&access, -ECANCELED);
		assert_in_range(i, large ? 0x100000 / sizeof(write) : 256, count - 1);
		count = i;
		for (i = 0; i <= count; i++)
			assert_int_equal(hear((uint16_t)(1 + i)), 0);
		/* The answer that comes after all is swallowed. */
		assert_true(carried_answer(&asked, IOVA, 8, NULL, 0));
		assert_int_equal(carried.device.refusals, 0);
		memcpy(carried.device.registers + 0x10, "kept", 4);
		carried_leave();
	}
}

/* Commands that cross on one socket: ours is older than the answer, and both get theirs. */
static void
test_commands_that_cross(void **state)
{
	struct access access;
	struct asked asked;
	uint64_t word = 0;
	unsigned int i;

	(void)state;
	carried_begin(NULL, "");
	for (i = 0; i < 50; i++) {
		assert_int_equal(carried_start(&access, false, IOVA, &word, 8), 0);
		device_turn(&carried.device); /* it is on its way */
		ask((uint16_t)i, 9, read_command, sizeof(read_command), NULL);
		asked = carried_take(11);
		if (i % 2 != 0)
			assert_int_equal(hear((uint16_t)i), 0);
		assert_true(carried_answer(&asked, IOVA, 8, "abcdefgh", 8));
		if (i % 2 == 0)
			assert_int_equal(hear((uint16_t)i), 0);
		carried_ended(&access, 0);
	}
}

/* A client that offers nothing of ours: every byte that it sees is the specification's. */
static void
test_without_extensions(void **state)
{
	static const char text[] = "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576}}";
	static const uint8_t version[] = {HEADER(1, 1, 16 + 4 + sizeof(text), REPLY, 0), U16(0), U16(1)};
	static const uint8_t mapped[] = {HEADER(2, 2, 16, REPLY, 0)};
	static const uint8_t asks[] = {U16(11), U32(32), U32(COMMAND), U32(0), U64(IOVA), U64(0x100000)};
	static const uint8_t unmapped[] = {HEADER(3, 3, 40, REPLY, 0), U32(24), U32(0), U64(IOVA), U64(0x1000)};
	static const uint16_t ours[] = {0x5201, 0x5202, 0x5203, 0x5204};
	static const uint8_t map[] = {U32(32), U32(3), U64(0), U64(IOVA), U64(CARRIED_BYTES)};
	static uint8_t bytes[0x100000];
	static struct access access;
	uint8_t offer[4 + sizeof(text)] = {U16(0), U16(1)};
	unsigned int i;

	(void)state;
	memcpy(offer + 4, text, sizeof(text));
	device_connect(&carried.device, &carried.peer);
	ask(1, 1, offer, sizeof(offer), NULL);
	assert_int_equal(hear(1), 0);
	assert_int_equal(carried.reply.size_bytes, sizeof(version) + sizeof(text));
	assert_memory_equal(carried.reply.bytes, version, sizeof(version));
	assert_memory_equal(carried.reply.bytes + sizeof(version), text, sizeof(text));
	assert_int_equal(carried.reply.fds_count, 0);
	ask(2, 2, map, sizeof(map), NULL);
	assert_int_equal(hear(2), 0);
	assert_memory_equal(carried.reply.bytes, mapped, carried.reply.size_bytes);
	assert_int_equal(carried.reply.size_bytes, sizeof(mapped));
	/* As large as a message may be, and in one. */
	assert_int_equal(carried_start(&access, false, IOVA, bytes, sizeof(bytes)), 0);
	(void)carried_take(11);
	assert_int_equal(carried.msg.size_bytes, 2 + sizeof(asks));
	assert_memory_equal(carried.msg.bytes + 2, asks, sizeof(asks));
	ask(3, 3, unmap_command, sizeof(unmap_command), NULL);
	assert_int_equal(hear(3), 0);
	assert_int_equal(carried.reply.size_bytes, sizeof(unmapped));
	assert_memory_equal(carried.reply.bytes, unmapped, sizeof(unmapped));
	for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		ask((uint16_t)(4 + i), ours[i], map, sizeof(map), NULL);
		assert_int_equal(hear((uint16_t)(4 + i)), EOPNOTSUPP);
	}
	assert_true(peer_is_silent(&carried.peer));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_client_that_leaves_in_an_answer, setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_client_that_leaves_in_a_map, setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_client_that_leaves_while_an_answer_waits, setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_commands_behind_an_answer, setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_who_sends_too_much_ahead_is_not_waited_for, setup,
						carried_teardown),
		cmocka_unit_test_setup_teardown(test_commands_that_cross, setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_without_extensions, setup, carried_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
