/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "mover.h"

/* As enum vfio_device_mig_state has them. */
#define ERROR 0
#define STOP 1
#define RUNNING 2
#define STOP_COPY 3
#define RESUMING 4
#define RUNNING_P2P 5
#define PRE_COPY 6
#define PRE_COPY_P2P 7
#define BEYOND 8

static struct device device;
static struct peer peer;
static struct peer_msg reply;
static struct test_leaks before;

static int
setup(void **state)
{
	(void)state;
	test_leaks_read(&before);
	mover_start(&device, &peer);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	peer_close(&peer);
	device_close(&device);
	test_leaks_assert_none(&before);
	return 0;
}

static uint32_t
state_now(void)
{
	uint32_t state;

	assert_int_equal(mover_feature(&peer, MOVER_GET | 2, NULL, 0, &reply), 0);
	memcpy(&state, reply.payload + 8, sizeof(state));
	assert_int_equal(state, rp_vfu_server_migration_state(device.server));
	return state;
}

/* Every pair of states, with the arcs that a walk has, written from the specification. */
static const struct {
	uint32_t from, to;
	uint32_t error;
	uint32_t path[4]; /* after `from`, 0 behind its end */
} pairs[] = {
	{STOP, STOP, 0, {0}},
	{STOP, RUNNING, 0, {RUNNING}},
	{STOP, STOP_COPY, 0, {STOP_COPY}},
	{STOP, RESUMING, 0, {RESUMING}},
	{STOP, PRE_COPY, 0, {RUNNING, PRE_COPY}},
	{RUNNING, STOP, 0, {STOP}},
	{RUNNING, RUNNING, 0, {0}},
	{RUNNING, STOP_COPY, 0, {STOP, STOP_COPY}},
	{RUNNING, RESUMING, 0, {STOP, RESUMING}},
	{RUNNING, PRE_COPY, 0, {PRE_COPY}},
	{STOP_COPY, STOP, 0, {STOP}},
	{STOP_COPY, RUNNING, 0, {STOP, RUNNING}},
	{STOP_COPY, STOP_COPY, 0, {0}},
	{STOP_COPY, RESUMING, 0, {STOP, RESUMING}},
	{STOP_COPY, PRE_COPY, EBUSY, {0}},
	{RESUMING, STOP, 0, {STOP}},
	{RESUMING, RUNNING, 0, {STOP, RUNNING}},
	{RESUMING, STOP_COPY, 0, {STOP, STOP_COPY}},
	{RESUMING, RESUMING, 0, {0}},
	{RESUMING, PRE_COPY, 0, {STOP, RUNNING, PRE_COPY}},
	{PRE_COPY, STOP, 0, {RUNNING, STOP}},
	{PRE_COPY, RUNNING, 0, {RUNNING}},
	{PRE_COPY, STOP_COPY, 0, {STOP_COPY}},
	{PRE_COPY, RESUMING, 0, {RUNNING, STOP, RESUMING}},
	{PRE_COPY, PRE_COPY, 0, {0}},
};

static void
test_every_pair_of_states(void **state)
{
	unsigned int i, arcs;

	(void)state;
	for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		assert_int_equal(mover_go(&peer, STOP), 0);
		assert_int_equal(mover_go(&peer, pairs[i].from), 0);
		mover.arcs_count = 0;
		assert_int_equal(mover_go(&peer, pairs[i].to), pairs[i].error);
		assert_int_equal(state_now(), pairs[i].error == 0 ? pairs[i].to : pairs[i].from);
		for (arcs = 0; arcs < 4 && pairs[i].path[arcs] != 0; arcs++) {
			assert_int_equal(mover.arcs[arcs].from, arcs == 0 ? pairs[i].from : pairs[i].path[arcs - 1]);
			assert_int_equal(mover.arcs[arcs].to, pairs[i].path[arcs]);
		}
		assert_int_equal(mover.arcs_count, arcs);
	}
}

static void
test_states_that_cannot_be_asked_for(void **state)
{
	static const uint32_t from[] = {STOP, RUNNING, STOP_COPY, RESUMING, PRE_COPY};
	static const uint32_t to[] = {ERROR, RUNNING_P2P, PRE_COPY_P2P, BEYOND, 0x10002, UINT32_MAX};
	unsigned int i, j;

	(void)state;
	for (i = 0; i < 5; i++) {
		assert_int_equal(mover_go(&peer, STOP), 0);
		assert_int_equal(mover_go(&peer, from[i]), 0);
		mover.arcs_count = 0;
		for (j = 0; j < 6; j++)
			assert_int_equal(mover_go(&peer, to[j]), EINVAL);
		assert_int_equal(state_now(), from[i]);
		assert_int_equal(mover.arcs_count, 0);
	}
	assert_non_null(strstr(device.last_refusal.text, "MIG_DEVICE_STATE: device_state: 4294967295, expected"));
}

static void
test_device_without_pre_copy(void **state)
{
	struct device_description description;

	(void)state;
	mover_describe(&device, &description);
	description.config.migration.flags = 1;
	device_restart_as(&device, &description, &peer, "\"max_msg_fds\":1");
	assert_int_equal(mover_go(&peer, PRE_COPY), EOPNOTSUPP);
	assert_int_equal(mover_go(&peer, STOP_COPY), 0);
	assert_int_equal(mover_go(&peer, PRE_COPY), EOPNOTSUPP);
	assert_int_equal(state_now(), STOP_COPY);
}

/* "The current device_state may be the original operating state or some other state along the combination path." */
static void
test_walk_that_fails_stays_where_it_got(void **state)
{
	(void)state;
	mover.fail_to = RESUMING;
	mover.fail_with = -EIO;
	assert_int_equal(mover_go(&peer, RESUMING), EIO);
	assert_string_equal(device.last_refusal.text,
			    "DEVICE_FEATURE: MIG_DEVICE_STATE: STOP to RESUMING: the device: Input/output error");
	assert_int_equal(state_now(), STOP);
	mover.fail_with = 0;
	assert_int_equal(mover_go(&peer, RESUMING), 0);
	/* What came in is judged where RESUMING is left. */
	mover.fail_to = STOP;
	mover.fail_with = -EBADMSG;
	assert_int_equal(mover_go(&peer, RUNNING), EINVAL);
	assert_int_equal(state_now(), RESUMING);
}

static void
test_error_is_left_by_a_reset_only(void **state)
{
	uint32_t to;

	(void)state;
	mover.fail_to = STOP;
	mover.fail_with = -ENOTRECOVERABLE;
	assert_int_equal(mover_go(&peer, STOP_COPY), ENOTRECOVERABLE);
	mover.fail_with = 0;
	mover.arcs_count = 0;
	assert_int_equal(state_now(), ERROR);
	for (to = 0; to < BEYOND; to++)
		assert_int_equal(mover_go(&peer, to),
				 to == ERROR || to == RUNNING_P2P || to == PRE_COPY_P2P ? EINVAL : EBUSY);
	assert_int_equal(mover.arcs_count, 0);
	mover.reset_with = -EIO;
	assert_int_equal(device_ask(&peer, 13, NULL, 0, NULL, 0, &reply), EIO);
	assert_int_equal(state_now(), ERROR);
	mover.reset_with = 0;
	assert_int_equal(device_ask(&peer, 13, NULL, 0, NULL, 0, &reply), 0);
	assert_int_equal(state_now(), RUNNING);
}

static void
test_reset_leads_to_running_from_everywhere(void **state)
{
	static const uint32_t from[] = {STOP, RUNNING, STOP_COPY, RESUMING, PRE_COPY};
	unsigned int i;

	(void)state;
	for (i = 0; i < 5; i++) {
		assert_int_equal(mover_go(&peer, from[i]), 0);
		mover.arcs_count = 0;
		assert_int_equal(device_ask(&peer, 13, NULL, 0, NULL, 0, &reply), 0);
		assert_int_equal(state_now(), RUNNING);
		assert_int_equal(mover.arcs_count, 0);
	}
	assert_int_equal(mover.resets, 5);
}

static uint32_t
read_data(uint32_t argsz, uint32_t size_bytes)
{
	const uint8_t payload[] = {U32(argsz), U32(size_bytes)};

	return device_ask(&peer, 17, payload, sizeof(payload), NULL, 0, &reply);
}

static uint32_t
write_data(uint32_t size_bytes, const uint8_t *data, uint32_t data_bytes)
{
	const uint8_t head[] = {U32(0), U32(size_bytes)};
	uint8_t *payload = malloc(sizeof(head) + data_bytes);
	uint32_t error;

	assert_non_null(payload);
	memcpy(payload, head, sizeof(head));
	memcpy(payload + sizeof(head), data, data_bytes);
	error = device_ask(&peer, 18, payload, sizeof(head) + data_bytes, NULL, 0, &reply);
	free(payload);
	return error;
}

static void
test_mig_data_vectors(void **state)
{
	static const uint8_t read[] = {HEADER(8, 17, 24, COMMAND, 0), U32(14), U32(6)};
	static const uint8_t read_reply[] = {HEADER(8, 17, 30, REPLY, 0), U32(14), U32(6), 1, 2, 3, 4, 5, 6};
	static const uint8_t rest_reply[] = {HEADER(8, 17, 26, REPLY, 0), U32(10), U32(2), 7, 8};
	static const uint8_t none_reply[] = {HEADER(8, 17, 24, REPLY, 0), U32(8), U32(0)};
	static const uint8_t write[] = {HEADER(9, 18, 28, COMMAND, 0), U32(12), U32(4), 9, 8, 7, 6};
	static const uint8_t write_reply[] = {HEADER(9, 18, 16, REPLY, 0)};
	static const struct {
		const uint8_t *bytes;
		size_t count;
	} answers[] = {
		{read_reply, sizeof(read_reply)}, {rest_reply, sizeof(rest_reply)}, {none_reply, sizeof(none_reply)}};
	unsigned int i;

	(void)state;
	memcpy(mover.out, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
	mover.out_bytes = 8;
	/* Pieces of the device's are not the client's affair. */
	mover.out_piece_bytes = 4;
	assert_int_equal(mover_go(&peer, STOP_COPY), 0);
	for (i = 0; i < 3; i++) {
		assert_true(peer_send(&peer, read, sizeof(read), NULL, 0));
		assert_true(peer_receive(&peer, &reply));
		assert_int_equal(reply.size_bytes, answers[i].count);
		assert_memory_equal(reply.bytes, answers[i].bytes, answers[i].count);
	}
	assert_int_equal(mover_go(&peer, RESUMING), 0);
	assert_true(peer_send(&peer, write, sizeof(write), NULL, 0));
	assert_true(peer_receive(&peer, &reply));
	assert_int_equal(reply.size_bytes, sizeof(write_reply));
	assert_memory_equal(reply.bytes, write_reply, sizeof(write_reply));
	assert_int_equal(mover.in_bytes, 4);
	assert_memory_equal(mover.in, "\x09\x08\x07\x06", 4);
}

static void
test_data_goes_in_its_states_only(void **state)
{
	static const uint32_t states[] = {STOP, RUNNING, STOP_COPY, RESUMING, PRE_COPY};
	static const uint8_t bytes[4] = {1};
	unsigned int i;

	(void)state;
	mover.out_bytes = 100;
	for (i = 0; i < 5; i++) {
		assert_int_equal(mover_go(&peer, STOP), 0);
		assert_int_equal(mover_go(&peer, states[i]), 0);
		assert_int_equal(read_data(64, 4), states[i] == STOP_COPY || states[i] == PRE_COPY ? 0 : EBUSY);
		assert_int_equal(write_data(4, bytes, 4), states[i] == RESUMING ? 0 : EBUSY);
	}
}

static void
test_data_refuses_what_breaks_a_rule(void **state)
{
	static const uint8_t bytes[4096] = {1};

	(void)state;
	mover.out_bytes = 100;
	device_hang_up(&device, &peer);
	device_connect(&device, &peer);
	device_negotiate_as(&peer, "\"max_data_xfer_size\":4096");
	assert_int_equal(mover_go(&peer, PRE_COPY), 0);
	assert_int_equal(read_data(64, 0), EINVAL);
	assert_int_equal(read_data(7, 1), EINVAL);
	assert_int_equal(read_data(8, 1), EINVAL);
	assert_int_equal(read_data(64, 57), EINVAL);
	assert_int_equal(read_data(UINT32_MAX, UINT32_MAX), EINVAL);
	assert_int_equal(read_data(UINT32_MAX, UINT32_MAX - 8), EMSGSIZE);
	assert_int_equal(read_data(8 + 4097, 4097), EMSGSIZE);
	assert_int_equal(mover.out_done_bytes, 0);
	assert_int_equal(read_data(8 + 4096, 4096), 0);
	assert_int_equal(reply.payload_bytes, 8 + 100);
	mover.data_fail_with = -EIO;
	assert_int_equal(read_data(64, 4), EIO);
	mover.data_fail_with = 0;
	assert_int_equal(mover_go(&peer, RESUMING), 0);
	assert_int_equal(write_data(0, bytes, 0), EINVAL);
	assert_int_equal(write_data(0, bytes, 4), EINVAL);
	assert_int_equal(write_data(5, bytes, 4), EINVAL);
	assert_int_equal(write_data(UINT32_MAX, bytes, 4), EINVAL);
	assert_int_equal(mover.in_bytes, 0);
	mover.data_fail_with = -ENOSPC;
	assert_int_equal(write_data(4, bytes, 4), ENOSPC);
	mover.data_fail_with = 0;
	assert_int_equal(write_data(4096, bytes, 4096), 0);
	assert_int_equal(mover.in_bytes, 4096);
}

/* A whole move, in messages and pieces that do not fit each other. */
static void
test_stream_arrives_as_it_left(void **state)
{
	static uint8_t stream[MOVER_DATA_MAX];
	uint32_t got = 0, put = 0, i;

	(void)state;
	mover.out_bytes = MOVER_DATA_MAX;
	mover.out_piece_bytes = 1000;
	for (i = 0; i < MOVER_DATA_MAX; i++)
		mover.out[i] = (uint8_t)(i * 7 + i / 251);
	assert_int_equal(mover_go(&peer, PRE_COPY), 0);
	do {
		assert_int_equal(read_data(8 + 65536, 65536), 0);
		memcpy(stream + got, reply.payload + 8, reply.payload_bytes - 8);
		got += reply.payload_bytes - 8;
		if (got == 65536)
			assert_int_equal(mover_go(&peer, STOP_COPY), 0);
	} while (reply.payload_bytes == 8 + 65536);
	assert_int_equal(got, MOVER_DATA_MAX);
	assert_int_equal(mover_go(&peer, RESUMING), 0);
	for (put = 0; put < got; put += i) {
		i = got - put < 7777 ? got - put : 7777;
		assert_int_equal(write_data(i, stream + put, i), 0);
	}
	assert_int_equal(mover_go(&peer, RUNNING), 0);
	assert_int_equal(mover.in_bytes, MOVER_DATA_MAX);
	assert_memory_equal(mover.in, mover.out, MOVER_DATA_MAX);
}

/* Which arcs a device is walked back over when its client leaves, and whether it is reset. */
static const struct {
	uint32_t from;
	unsigned int resets;
	uint32_t path[3];
} leavings[] = {
	{RUNNING, 0, {0}},  {STOP, 0, {RUNNING}}, {PRE_COPY, 0, {RUNNING}}, {STOP_COPY, 0, {STOP, RUNNING}},
	{RESUMING, 1, {0}},
};

static void
test_next_client_finds_the_device_running(void **state)
{
	unsigned int i, arcs;

	(void)state;
	for (i = 0; i < 5; i++) {
		assert_int_equal(mover_go(&peer, leavings[i].from), 0);
		mover.arcs_count = 0;
		mover.resets = 0;
		device_hang_up(&device, &peer);
		assert_int_equal(mover.resets, leavings[i].resets);
		for (arcs = 0; arcs < 3 && leavings[i].path[arcs] != 0; arcs++)
			assert_int_equal(mover.arcs[arcs].to, leavings[i].path[arcs]);
		assert_int_equal(mover.arcs_count, arcs);
		device_connect(&device, &peer);
		device_negotiate(&peer);
		assert_int_equal(state_now(), RUNNING);
	}
}

static void
test_device_that_cannot_go_back_is_reset(void **state)
{
	(void)state;
	assert_int_equal(mover_go(&peer, STOP_COPY), 0);
	mover.fail_to = RUNNING;
	mover.fail_with = -EIO;
	device_hang_up(&device, &peer);
	assert_int_equal(mover.resets, 1);
	device_connect(&device, &peer);
	device_negotiate(&peer);
	assert_int_equal(state_now(), RUNNING);
	/* And one that cannot be reset either is in ERROR, for the next client to see. */
	mover.fail_with = 0;
	assert_int_equal(mover_go(&peer, RESUMING), 0);
	mover.reset_with = -EIO;
	device_hang_up(&device, &peer);
	device_connect(&device, &peer);
	device_negotiate(&peer);
	assert_int_equal(state_now(), ERROR);
	mover.reset_with = 0;
	assert_int_equal(device_ask(&peer, 13, NULL, 0, NULL, 0, &reply), 0);
	assert_int_equal(state_now(), RUNNING);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_every_pair_of_states, setup, teardown),
		cmocka_unit_test_setup_teardown(test_states_that_cannot_be_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(test_device_without_pre_copy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_walk_that_fails_stays_where_it_got, setup, teardown),
		cmocka_unit_test_setup_teardown(test_error_is_left_by_a_reset_only, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset_leads_to_running_from_everywhere, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mig_data_vectors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_data_goes_in_its_states_only, setup, teardown),
		cmocka_unit_test_setup_teardown(test_data_refuses_what_breaks_a_rule, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stream_arrives_as_it_left, setup, teardown),
		cmocka_unit_test_setup_teardown(test_next_client_finds_the_device_running, setup, teardown),
		cmocka_unit_test_setup_teardown(test_device_that_cannot_go_back_is_reset, setup, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user server: migration", tests, NULL, NULL);
}
