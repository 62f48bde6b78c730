/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "mover.h"
#include "rp_wire_fd.h"

/* Every command x sizes x descriptors x early and late; then bytes at random. */

#define FDS_COUNT 40

/* What a server must take at least a look at; everything else is refused for its shape. */
static const struct shape {
	uint32_t min, max, fds_max;
} shapes[] = {
	[1] = {4, 4100, 0}, [2] = {32, 32, 1},
	[3] = {24, 40, 0},  [4] = {16, 24, 0},
	[5] = {32, 32, 0},  [6] = {16, 16, 0},
	[7] = {16, 16, 0},  [8] = {20, 2068, 16},
	[9] = {16, 16, 0},  [10] = {16, 16 + 1048576, 0},
	[13] = {0, 0, 0},   [16] = {8, 8 + 1048576, 0},
	[17] = {8, 8, 0},   [18] = {8, 8 + 1048576, 0},
};
#define SHAPES_COUNT 19

static struct device device;
static struct peer peer;
static struct peer_msg reply;
static struct test_leaks before;
static int fds[FDS_COUNT];
static uint8_t payload[1048576 + 4096];

static int
setup(void **state)
{
	unsigned int i;

	(void)state;
	test_leaks_read(&before);
	/* Of every kind: what is right for one command is wrong for the next. */
	for (i = 0; i < FDS_COUNT; i++) {
		int pair[2];

		switch (i % 4) {
		case 0:
			fds[i] = eventfd(0, EFD_CLOEXEC);
			break;
		case 1:
			fds[i] = test_memfd(0x4000, false);
			break;
		case 2:
			fds[i] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			break;
		default:
			assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
			fds[i] = pair[0];
			rp_wire_fd_close(&pair[1]);
		}
		assert_true(fds[i] >= 0);
	}
	mover_start(&device, &peer);
	device_hang_up(&device, &peer);
	device_connect(&device, &peer);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	peer_close(&peer);
	device_close(&device);
	rp_wire_fd_close_all(fds, FDS_COUNT);
	test_leaks_assert_none(&before);
	return 0;
}

static void
reconnect(bool late)
{
	device_hang_up(&device, &peer);
	device_connect(&device, &peer);
	if (late)
		device_negotiate(&peer);
}

/* The error that a command must meet before its meaning matters; 0: it may be legal. */
static uint32_t
expected_error(uint32_t command, uint32_t payload_bytes, unsigned int fds_count, bool late)
{
	const struct shape *shape = &shapes[command < SHAPES_COUNT ? command : 0];

	if (command == 0 || command > 18 || command == 11 || command == 12)
		return EOPNOTSUPP;
	if (command == 1 ? late : !late)
		return EBUSY;
	/* An older revision's, and one that was not agreed on. */
	if (command == 14 || command == 15)
		return EOPNOTSUPP;
	if (payload_bytes < shape->min || payload_bytes > shape->max)
		return EMSGSIZE;
	return fds_count > shape->fds_max ? EINVAL : 0;
}

static void
try(uint32_t command, uint32_t payload_bytes, unsigned int fds_count, bool late)
{
	uint32_t want = expected_error(command, payload_bytes, fds_count, late);
	unsigned int refusals = device.refusals;
	uint32_t got = device_ask(&peer, (uint16_t)command, payload, payload_bytes, fds, fds_count, &reply);

	if (want != 0)
		assert_int_equal(got, want);
	/* Named, and counted once. */
	assert_int_equal(device.refusals, refusals + (got != 0));
	if (got != 0)
		assert_true(strlen(device.last_refusal.text) > 8);
	peer_msg_close(&reply);
	if (command == 1 && !late)
		reconnect(false);
}

static void
try_sizes(uint32_t command, bool late)
{
	static const unsigned int counts[] = {0, 1, 2, 16};
	const struct shape *shape = &shapes[command < SHAPES_COUNT ? command : 0];
	const uint32_t sizes[] = {
		0,
		1,
		3,
		4,
		8,
		16,
		64,
		4096,
		shape->min - (shape->min > 0),
		shape->min,
		shape->min + 1,
		shape->max - (shape->max > 0),
		shape->max,
		shape->max + 1,
	};
	unsigned int size, count;

	for (size = 0; size < sizeof(sizes) / sizeof(sizes[0]); size++) {
		for (count = 0; count < 4; count++)
			try(command, sizes[size], counts[count], late);
	}
}

static void
every_command(bool late)
{
	static const uint32_t huge[] = {100, 256, 0x4001, 0x7fff, 0x8000, 0xffff};
	unsigned int i;

	reconnect(late);
	for (i = 0; i <= 32; i++)
		try_sizes(i, late);
	for (i = 0; i < 6; i++)
		try_sizes(huge[i], late);
	assert_true(rp_vfu_server_connected(device.server) == late);
}

static void
test_every_command_size_and_count(void **state)
{
	/* All bits clear, all set, and an argsz that is large enough before zeroes. */
	static const uint8_t plausible[] = {U32(4096)};
	unsigned int late;

	(void)state;
	for (late = 0; late < 2; late++) {
		memset(payload, 0, sizeof(payload));
		every_command(late != 0);
		memset(payload, 0xff, sizeof(payload));
		every_command(late != 0);
		memset(payload, 0, sizeof(payload));
		memcpy(payload, plausible, sizeof(plausible));
		every_command(late != 0);
	}
}

static void
test_too_many_descriptors_close(void **state)
{
	static const unsigned int counts[] = {17, 32, 33, 40};
	/* 33 are more than there is room for, and those an emulator loses open. */
	const unsigned int counts_count = test_emulated() ? 2 : 4;
	unsigned int i, late;

	(void)state;
	for (i = 0; i < 2 * counts_count; i++) {
		late = i / counts_count;
		reconnect(late != 0);
		assert_true(peer_command(&peer, 1, 8, COMMAND, payload, 20, fds, counts[i % counts_count]));
		assert_false(peer_receive(&peer, &reply));
		assert_int_equal((late != 0 ? device.last_disconnect : device.last_refusal).error, -EPROTO);
	}
}

/* Not when the next message is taken, which is never while the client does not read. */
static void
test_refused_descriptors_are_closed_at_once(void **state)
{
	static const uint8_t refused[] = {HEADER(1, 77, 16, COMMAND, 0)};
	struct test_leaks now;
	unsigned int sent;

	(void)state;
	reconnect(true);
	test_leaks_read(&now);
	for (sent = 0; sent < 20000; sent++) {
		assert_true(peer_send(&peer, refused, sizeof(refused), fds, 1));
		device_turn(&device);
		test_leaks_assert_none(&now);
		if (device.refusals < sent)
			break;
	}
	/* It did stop at some time, with commands and their descriptors still in the socket. */
	assert_in_range(sent, 64, 19999);
}

/* Descriptors that trickle in with the bytes of one message add up. */
static void
test_descriptors_in_drops_close(void **state)
{
	static const uint8_t set_irqs[] = {HEADER(1, 8, 36, COMMAND, 0), U32(20), U32(0x24), U32(2), U32(0), U32(20)};
	unsigned int i;

	(void)state;
	reconnect(true);
	for (i = 0; i < sizeof(set_irqs) && peer_send(&peer, set_irqs + i, 1, &fds[i], 1); i++)
		device_turn(&device);
	assert_true(i >= 16);
	assert_false(peer_receive(&peer, &reply));
	assert_int_equal(device.last_disconnect.error, -EPROTO);
}

static uint64_t
odd_number(unsigned int *seed)
{
	static const uint64_t odd[] = {
		0, 1, 0xfff, 0x1000, 0x4000, UINT32_MAX, INT64_MAX, UINT64_MAX, UINT64_MAX - 0xfff, UINT64_C(1) << 63};
	unsigned int r = (unsigned int)rand_r(seed);

	return r % 3 == 0 ? odd[r / 3 % 10] : (uint64_t)rand_r(seed) % 0x4000;
}

/* Fields that make sense more often than chance would have it. */
static uint32_t
random_payload(unsigned int *seed, uint32_t command)
{
	uint32_t bytes = command < SHAPES_COUNT ? shapes[command].min : 8, at;
	const uint8_t argsz[] = {U32(rand_r(seed) % 200)};

	for (at = 0; at + 8 <= sizeof(uint64_t) * 8; at += 8) {
		uint64_t number = odd_number(seed);

		if (rand_r(seed) % 2 == 0)
			number = (number & 0x3f) | (uint64_t)(rand_r(seed) % 50) << 32;
		memcpy(payload + at, &number, sizeof(number));
	}
	if (command >= 2 && command <= 8)
		memcpy(payload, argsz, sizeof(argsz));
	return rand_r(seed) % 8 == 0 ? (uint32_t)rand_r(seed) % 64 : bytes;
}

static void
test_random_commands(void **state)
{
	unsigned int seed = 7, round;

	(void)state;
	reconnect(true);
	memset(payload, 0, sizeof(payload));
	for (round = 0; round < 20000; round++) {
		uint32_t command = (uint32_t)rand_r(&seed) % 20;
		uint32_t bytes = random_payload(&seed, command);
		unsigned int first = (unsigned int)rand_r(&seed) % 20;
		unsigned int count = rand_r(&seed) % 2 == 0 ? 0 : (unsigned int)rand_r(&seed) % 3;

		device.fail_with = rand_r(&seed) % 16 == 0 ? -EIO : 0;
		(void)device_ask(&peer, (uint16_t)command, payload, bytes, fds + first, count, &reply);
		peer_msg_close(&reply);
		if (rand_r(&seed) % 500 == 0)
			reconnect(true);
	}
}

/* What migrates a device and logs its writes, in any order and with any numbers. */
static uint16_t
random_feature(unsigned int *seed, uint32_t *ret_bytes)
{
	static const uint16_t commands[] = {2, 3, 13, 15, 16, 16, 16, 16, 17, 18, 0x5204};
	static const uint32_t methods[] = {0x10000, 0x20000, 0x20000, 0x40000, 0};
	uint16_t command = commands[(unsigned int)rand_r(seed) % 11];
	uint32_t argsz = rand_r(seed) % 4 == 0 ? (uint32_t)rand_r(seed) % 64 : 1 << 21;
	uint32_t second = (uint32_t)odd_number(seed) % 4096;
	uint64_t number;
	uint32_t at;

	for (at = 8; at < 64; at += 8) {
		number = rand_r(seed) % 2 == 0 ? odd_number(seed) : (uint64_t)(rand_r(seed) % 9);
		if (rand_r(seed) % 3 == 0)
			number = UINT64_C(1) << (rand_r(seed) % 64);
		memcpy(payload + at, &number, sizeof(number));
	}
	*ret_bytes = 8 * (1 + (uint32_t)rand_r(seed) % 6);
	if (command == 2 || command == 3)
		*ret_bytes = command == 2 ? 32 : 40, second = rand_r(seed) % 4;
	if (command == 13)
		*ret_bytes = 0;
	if (command == 16)
		second = methods[(unsigned int)rand_r(seed) % 5] | (uint32_t)rand_r(seed) % 10;
	if (command == 17)
		*ret_bytes = 8;
	if (command == 18)
		second = *ret_bytes - 8;
	memcpy(payload, &argsz, sizeof(argsz));
	memcpy(payload + 4, &second, sizeof(second));
	if (command == 15)
		payload[0] = (uint8_t)(*ret_bytes / 24), memset(payload + 1, 0, 7);
	return command;
}

static void
test_random_features(void **state)
{
	unsigned int seed = 13, round, taken = 0;

	(void)state;
	memset(payload, 0, sizeof(payload));
	for (round = 0; round < 20000; round++) {
		uint16_t command;
		uint32_t bytes;

		if (round % 400 == 0) {
			reconnect(false);
			device_negotiate_as(&peer, "\"max_msg_fds\":16,\"write_multiple\":true,"
						   "\"ringpass.io_fds\":true,\"migration\":{\"pgsize\":4096}");
		}
		command = random_feature(&seed, &bytes);
		mover.out_bytes = (uint32_t)rand_r(&seed) % MOVER_DATA_MAX;
		mover.out_done_bytes = 0;
		mover.in_bytes = 0;
		mover.fail_to = (enum rp_vfu_mig_state)(rand_r(&seed) % 8);
		mover.fail_with = rand_r(&seed) % 8 == 0 ? -ENOTRECOVERABLE : 0;
		taken += device_ask(&peer, command, payload, bytes, NULL, 0, &reply) == 0;
		peer_msg_close(&reply);
	}
	assert_true(taken > 1000);
	reconnect(true);
}

static void
test_random_bytes(void **state)
{
	unsigned int seed = 11, round;

	(void)state;
	for (round = 0; round < 3000; round++) {
		uint32_t bytes = 1 + (uint32_t)rand_r(&seed) % 200, at;

		reconnect(rand_r(&seed) % 2 == 0);
		for (at = 0; at < bytes; at++)
			payload[at] = (uint8_t)(rand_r(&seed) % 4 == 0 ? rand_r(&seed) : 0);
		/* A size that a whole message can have, else framing is lost at once. */
		if (rand_r(&seed) % 2 == 0) {
			const uint8_t size[] = {U32(16 + rand_r(&seed) % 64)};

			memcpy(payload + 4, size, sizeof(size));
		}
		at = 0;
		while (at < bytes) {
			uint32_t some = 1 + (uint32_t)rand_r(&seed) % 40;

			some = some > bytes - at ? bytes - at : some;
			if (!peer_send(&peer, payload + at, some, fds, (unsigned int)rand_r(&seed) % 3))
				break;
			at += some;
			device_turn(&device);
		}
	}
	reconnect(true);
	assert_int_equal(device_ask(&peer, 13, NULL, 0, NULL, 0, &reply), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_every_command_size_and_count, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_many_descriptors_close, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused_descriptors_are_closed_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_descriptors_in_drops_close, setup, teardown),
		cmocka_unit_test_setup_teardown(test_random_commands, setup, teardown),
		cmocka_unit_test_setup_teardown(test_random_features, setup, teardown),
		cmocka_unit_test_setup_teardown(test_random_bytes, setup, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user server: hostile clients", tests, NULL, NULL);
}
