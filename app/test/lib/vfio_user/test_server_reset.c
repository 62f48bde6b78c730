/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "bytes.h"
#include "mover.h"
#include "rp_dma_io.h"

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

/* An access of the device's, which says that the device stands still when it has ended. */
struct access {
	uint8_t bytes[64];
	struct rp_dma_segment segment;
	struct rp_dma_io io;
	unsigned int dones;
	int error;
};

static void
on_done(struct rp_dma_io *io, int error)
{
	struct access *access = io->ctx;

	access->dones++;
	access->error = error;
	rp_vfu_server_quiesced(device.server, mover.token);
}

/* A command for memory that has no descriptor is with the client; its id. */
static uint16_t
begin_access(struct access *access, const char *capabilities)
{
	static const uint8_t map[] = {U32(32), U32(3), U64(0), U64(0x10000), U64(0x1000)};

	device_hang_up(&device, &peer);
	device_connect(&device, &peer);
	device_negotiate_as(&peer, capabilities);
	assert_int_equal(device_ask(&peer, 2, map, sizeof(map), NULL, 0, &reply), 0);
	*access = (struct access){.segment = {.iova = 0x10000, .size_bytes = 64, .bytes = access->bytes}};
	access->io = (struct rp_dma_io){.segments = &access->segment, .segments_count = 1, .done = on_done};
	access->io.ctx = access;
	assert_int_equal(rp_dma_io_submit(rp_vfu_server_dma(device.server), &access->io), 0);
	assert_true(peer_receive(&peer, &reply));
	assert_int_equal(reply.command, 11);
	assert_int_equal(reply.flags, COMMAND);
	return reply.id;
}

/* One socket, and a client that serves nothing while it waits for the reset: its answer would never come. */
static void
test_accesses_of_a_waiting_client_are_given_up(void **state)
{
	struct access access;
	uint8_t answer[16 + 64] = {U64(0x10000), U64(64)};
	uint16_t id;

	(void)state;
	id = begin_access(&access, "\"max_msg_fds\":1");
	assert_true(peer_command(&peer, 1, 13, COMMAND, NULL, 0, NULL, 0));
	assert_reply(1, 0);
	assert_int_equal(access.dones, 1);
	assert_int_equal(access.error, -ECANCELED);
	assert_int_equal(mover.resets, 1);
	/* What it says later is of nobody's concern. */
	assert_true(peer_command(&peer, id, 11, REPLY, answer, sizeof(answer), NULL, 0));
	assert_int_equal(device_ask(&peer, 9, read_config, sizeof(read_config), NULL, 0, &reply), 0);
	assert_int_equal(access.dones, 1);
}

static void
test_accesses_of_a_serving_client_are_finished(void **state)
{
	struct access access;
	uint8_t answer[16 + 64] = {U64(0x10000), U64(64), 0x77};
	uint16_t id;

	(void)state;
	id = begin_access(&access, "\"ringpass.serve\":true");
	post(1, 16, go_stop, sizeof(go_stop));
	assert_int_equal(access.dones, 0);
	assert_true(peer_command(&peer, id, 11, REPLY, answer, sizeof(answer), NULL, 0));
	assert_reply(1, 0);
	assert_int_equal(access.dones, 1);
	assert_int_equal(access.error, 0);
	assert_int_equal(access.bytes[0], 0x77);
	assert_int_equal(rp_vfu_server_migration_state(device.server), RP_VFU_MIG_STOP);
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
		cmocka_unit_test_setup_teardown(test_accesses_of_a_waiting_client_are_given_up, setup, teardown),
		cmocka_unit_test_setup_teardown(test_accesses_of_a_serving_client_are_finished, setup, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user server: reset and standing still", tests, NULL, NULL);
}
