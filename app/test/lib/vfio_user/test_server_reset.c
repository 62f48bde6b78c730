/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "bytes.h"
#include "mover.h"

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
	mover.quiesce_with = -EINPROGRESS;
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

/* Send only: the reply has to wait. */
static void
post(uint16_t id, uint16_t command, const void *payload, size_t payload_bytes)
{
	assert_true(peer_command(&peer, id, command, COMMAND, payload, payload_bytes, NULL, 0));
	assert_true(peer_is_silent(&peer));
}

static void
assert_reply(uint16_t id, uint32_t error)
{
	assert_true(peer_receive(&peer, &reply));
	assert_int_equal(reply.id, id);
	assert_int_equal(reply.flags, error == 0 ? REPLY : ERROR_REPLY);
	assert_int_equal(reply.error, error);
}

static const uint8_t read_config[] = {U64(0), U32(7), U32(4)};
static const uint8_t go_stop_copy[] = {U32(16), U32(0x20002), U32(3), U32(0)};
static const uint8_t go_stop[] = {U32(16), U32(0x20002), U32(1), U32(0)};

static void
test_reset_waits_until_the_device_stands_still(void **state)
{
	(void)state;
	post(1, 13, NULL, 0);
	assert_int_equal(mover.quiesces, 1);
	assert_int_equal(mover.resets, 0);
	/* What comes behind it waits too, so that the order stays. */
	post(2, 9, read_config, sizeof(read_config));
	rp_vfu_server_quiesced(device.server, mover.token);
	assert_reply(1, 0);
	assert_reply(2, 0);
	assert_int_equal(mover.resets, 1);
}

static void
test_device_that_stands_still_at_once(void **state)
{
	(void)state;
	mover.quiesce_with = 0;
	assert_int_equal(device_ask(&peer, 13, NULL, 0, NULL, 0, &reply), 0);
	assert_int_equal(mover.resets, 1);
	mover.quiesce_with = -EBUSY;
	assert_int_equal(device_ask(&peer, 13, NULL, 0, NULL, 0, &reply), EBUSY);
	assert_int_equal(mover.resets, 1);
	assert_non_null(strstr(device.last_refusal.text, "DEVICE_RESET: the device does not stand still: "));
}

static void
test_reset_that_fails_after_waiting(void **state)
{
	(void)state;
	mover.reset_with = -EIO;
	post(1, 13, NULL, 0);
	rp_vfu_server_quiesced(device.server, mover.token);
	assert_reply(1, EIO);
	assert_string_equal(device.last_refusal.text, "DEVICE_RESET: the device: Input/output error");
	/* With the no-reply bit there is none, but it is carried out. */
	assert_true(peer_command(&peer, 2, 13, NO_REPLY, NULL, 0, NULL, 0));
	assert_true(peer_is_silent(&peer));
	rp_vfu_server_quiesced(device.server, mover.token);
	assert_true(peer_is_silent(&peer));
	assert_int_equal(mover.resets, 2);
}

static void
test_token_of_an_older_question_is_ignored(void **state)
{
	uint64_t old;

	(void)state;
	post(1, 13, NULL, 0);
	old = mover.token;
	rp_vfu_server_quiesced(device.server, old);
	assert_reply(1, 0);
	post(2, 13, NULL, 0);
	assert_int_not_equal(mover.token, old);
	rp_vfu_server_quiesced(device.server, old);
	assert_true(peer_is_silent(&peer));
	rp_vfu_server_quiesced(device.server, mover.token);
	rp_vfu_server_quiesced(device.server, old);
	assert_reply(2, 0);
}

static void *
say_so(void *arg)
{
	rp_vfu_server_quiesced(device.server, *(uint64_t *)arg);
	return NULL;
}

static void
test_another_thread_may_say_so(void **state)
{
	unsigned int round;
	pthread_t thread;

	(void)state;
	for (round = 0; round < 100; round++) {
		assert_true(peer_command(&peer, (uint16_t)round, 13, COMMAND, NULL, 0, NULL, 0));
		while (mover.quiesces == round)
			device_turn(&device);
		assert_int_equal(pthread_create(&thread, NULL, say_so, &mover.token), 0);
		assert_reply((uint16_t)round, 0);
		assert_int_equal(pthread_join(thread, NULL), 0);
	}
	assert_int_equal(mover.resets, 100);
}

/* Only before an arc that stops it, which may lie in the middle of a walk. */
static void
test_walk_waits_where_the_device_stops(void **state)
{
	static const uint8_t go_pre_copy[] = {U32(16), U32(0x20002), U32(6), U32(0)};

	(void)state;
	assert_int_equal(device_ask(&peer, 16, go_pre_copy, sizeof(go_pre_copy), NULL, 0, &reply), 0);
	assert_int_equal(mover.quiesces, 0);
	post(1, 16, go_stop, sizeof(go_stop));
	assert_int_equal(rp_vfu_server_migration_state(device.server), RP_VFU_MIG_RUNNING);
	assert_int_equal(mover.arcs_count, 2);
	rp_vfu_server_quiesced(device.server, mover.token);
	assert_reply(1, 0);
	assert_int_equal(reply.payload_bytes, sizeof(go_stop));
	assert_memory_equal(reply.payload, go_stop, sizeof(go_stop));
	assert_int_equal(rp_vfu_server_migration_state(device.server), RP_VFU_MIG_STOP);
	/* Stopped already: no question. */
	assert_int_equal(device_ask(&peer, 16, go_stop_copy, sizeof(go_stop_copy), NULL, 0, &reply), 0);
	assert_int_equal(mover.quiesces, 1);
}

static void
test_arc_that_fails_after_waiting(void **state)
{
	(void)state;
	mover.fail_to = RP_VFU_MIG_STOP;
	mover.fail_with = -EIO;
	post(1, 16, go_stop_copy, sizeof(go_stop_copy));
	rp_vfu_server_quiesced(device.server, mover.token);
	assert_reply(1, EIO);
	assert_int_equal(rp_vfu_server_migration_state(device.server), RP_VFU_MIG_RUNNING);
	mover.fail_with = 0;
	mover.quiesce_with = -EBUSY;
	assert_int_equal(device_ask(&peer, 16, go_stop_copy, sizeof(go_stop_copy), NULL, 0, &reply), EBUSY);
	mover.quiesce_with = 0;
	assert_int_equal(device_ask(&peer, 16, go_stop_copy, sizeof(go_stop_copy), NULL, 0, &reply), 0);
}

/* A device that was told to stand still must not stand for ever. */
static void
test_client_that_leaves_meanwhile(void **state)
{
	uint64_t old;

	(void)state;
	post(1, 13, NULL, 0);
	old = mover.token;
	device_hang_up(&device, &peer);
	assert_int_equal(mover.resets, 1);
	device_connect(&device, &peer);
	device_negotiate(&peer);
	post(1, 16, go_stop_copy, sizeof(go_stop_copy));
	rp_vfu_server_quiesced(device.server, old);
	assert_true(peer_is_silent(&peer));
	device_hang_up(&device, &peer);
	assert_int_equal(mover.resets, 1);
	assert_int_equal(mover.arcs_count, 2);
	assert_int_equal(mover.arcs[0].to, RP_VFU_MIG_STOP);
	assert_int_equal(mover.arcs[1].to, RP_VFU_MIG_RUNNING);
	device_connect(&device, &peer);
	device_negotiate(&peer);
	assert_int_equal(rp_vfu_server_migration_state(device.server), RP_VFU_MIG_RUNNING);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_reset_waits_until_the_device_stands_still, setup, teardown),
		cmocka_unit_test_setup_teardown(test_device_that_stands_still_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset_that_fails_after_waiting, setup, teardown),
		cmocka_unit_test_setup_teardown(test_token_of_an_older_question_is_ignored, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_thread_may_say_so, setup, teardown),
		cmocka_unit_test_setup_teardown(test_walk_waits_where_the_device_stops, setup, teardown),
		cmocka_unit_test_setup_teardown(test_arc_that_fails_after_waiting, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_that_leaves_meanwhile, setup, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user server: reset and standing still", tests, NULL, NULL);
}
