/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "fixture.h"

#define FAKE_INDIRECT FAKE_FEATURE(28)
#define FAKE_EVENT_IDX FAKE_FEATURE(29)
#define FAKE_IN_ORDER FAKE_FEATURE(35)

static const struct rp_accel_net all_pairs = {.queue_pairs = 2, .promiscuous = true};

static int
net_set(struct fixture *fixture)
{
	return fixture->accel.ops->net_set(fixture->accel.priv, &all_pairs, &fixture->why);
}

static void
negotiate_with(struct fixture *fixture, uint64_t features)
{
	fake_add_control(&fixture->fake);
	fixture->fake.features |= features;
	fixture_open_ok(fixture);
	assert_int_equal(
		fixture->accel.ops->set_features(fixture->accel.priv, FAKE_VERSION_1 | features, &fixture->why), 0);
}

/* Many more commands than the ring has entries. */
static void
every_kind_of_ring(void **state)
{
	static const uint64_t kinds[] = {
		0,
		FAKE_EVENT_IDX,
		FAKE_IN_ORDER,
		FAKE_EVENT_IDX | FAKE_IN_ORDER | FAKE_INDIRECT,
		FAKE_PACKED,
		FAKE_PACKED | FAKE_EVENT_IDX,
		FAKE_PACKED | FAKE_IN_ORDER,
		FAKE_PACKED | FAKE_EVENT_IDX | FAKE_IN_ORDER | FAKE_INDIRECT,
	};
	struct fixture *fixture = *state;
	unsigned int i, j;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		negotiate_with(fixture, kinds[i]);
		for (j = 0; j < 100; j++)
			assert_int_equal(net_set(fixture), 0);
		assert_int_equal(fixture->fake.ctrl.commands_count, 300);
		assert_int_equal(fixture->fake.ctrl.starts_count, 1);
		rp_accel_close(&fixture->accel);
		fake_fini(&fixture->fake);
		fake_init(&fixture->fake);
	}
}

/* Features are acked anew with another kind of ring. */
static void
the_kind_of_ring_changes(void **state)
{
	struct fixture *fixture = *state;

	negotiate_with(fixture, FAKE_PACKED);
	assert_int_equal(net_set(fixture), 0);
	assert_int_equal(fixture->accel.ops->set_features(fixture->accel.priv, FAKE_VERSION_1, &fixture->why), 0);
	assert_int_equal(
		fixture->accel.ops->set_features(fixture->accel.priv, FAKE_VERSION_1 | FAKE_PACKED, &fixture->why), 0);
	assert_int_equal(fixture->fake.ctrl.starts_count, 3);
	assert_int_equal(fixture->fake.ctrl.commands_count, 9);
	/* In the memory that it has. */
	assert_int_equal(fixture->fake.dma_maps_count, 1);
}

static void
small_rings(void **state)
{
	static const uint16_t sizes[][2] = {{4, 4}, {8, 8}, {100, 64}, {48, 32}, {5, 4}, {256, 64}};
	struct fixture *fixture = *state;
	unsigned int i, j;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		fake_add_control(&fixture->fake);
		fixture->fake.queues[4].size = fixture->fake.queues[4].size_max = sizes[i][0];
		fixture->fake.features |= FAKE_PACKED;
		fixture_negotiate(fixture);
		for (j = 0; j < 5; j++)
			assert_int_equal(net_set(fixture), 0);
		assert_int_equal(fixture->fake.queues[4].size, sizes[i][1]);
		rp_accel_close(&fixture->accel);
		fake_fini(&fixture->fake);
		fake_init(&fixture->fake);
	}
}

static void
data_queues_are_left_alone(void **state)
{
	struct fixture *fixture = *state;

	negotiate_with(fixture, 0);
	assert_int_equal(fixture_start(fixture, 0, 5, 77), 0);
	assert_int_equal(net_set(fixture), 0);
	assert_int_equal(fixture->fake.queues[0].enable, 1);
	assert_int_equal(fixture->fake.irq_fds[0], 77);
	assert_int_equal(fixture->fake.queues[1].enable, 0);
	assert_int_equal(fixture_start(fixture, 1, 5, 78), 0);
}

/* A device that reaches memory through us needs us meanwhile. */
static void
an_answer_that_takes_a_while(void **state)
{
	struct fixture *fixture = *state;

	fixture->wait_ms = FIXTURE_PATIENT_MS;
	negotiate_with(fixture, 0);
	fixture->fake.ctrl.pending_processes = 3;
	assert_int_equal(net_set(fixture), 0);
	assert_int_equal(fixture->fake.ctrl.pairs, 2);
}

/* Each ends with a device that has failed and was reset. */
static void
assert_failed(struct fixture *fixture, uint64_t features, int error, const char *words)
{
	negotiate_with(fixture, features);
	assert_int_equal(net_set(fixture), error);
	fixture_assert_why(fixture, words);
	assert_int_equal(fixture_start(fixture, 0, 0, -1), error);
	fixture_assert_why(fixture, words);
	assert_true(fixture->accel.ops->is_quiet(fixture->accel.priv));
	assert_int_equal(fixture->fake.status, 0);
}

static void
a_device_that_never_answers(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.lies.ctrl_silent = true;
	assert_failed(fixture, 0, -ETIMEDOUT, "control queue: VQ_PAIRS_SET: no answer after 20 ms");
}

static void
a_device_that_asks_for_a_reset_instead(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.lies.ctrl_silent = true;
	fixture->fake.lies.status_or = 0x40;
	assert_failed(fixture, 0, -EIO, "control queue: VQ_PAIRS_SET: device_status: 0x4f, it asks for a reset");
}

static void
a_device_that_leaves_instead(void **state)
{
	struct fixture *fixture = *state;

	negotiate_with(fixture, 0);
	fixture->fake.lies.ctrl_silent = true;
	fixture->fake.process_error = -ENOTCONN;
	assert_int_equal(net_set(fixture), -ENOTCONN);
	fixture_assert_why(fixture, "control queue: VQ_PAIRS_SET: the fake left");
}

static void
an_answer_that_cannot_be(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.lies.ctrl_answer = 2;
	assert_failed(fixture, 0, -EIO, "control queue: VQ_PAIRS_SET: the answer is 0x02, expected 0 or 1");
}

/* What is there is no answer, whatever was answered before. */
static void
an_answer_that_was_not_written(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.lies.ctrl_answer_kept = true;
	assert_failed(fixture, FAKE_PACKED, -EIO, "control queue: VQ_PAIRS_SET: the answer is 0xff");
}

static void
a_used_index_beyond_what_is_out(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.lies.ctrl_index_add = 100;
	assert_failed(fixture, 0, -EIO, "control queue: VQ_PAIRS_SET: the device broke its ring");
}

static void
an_id_that_is_not_out(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.lies.ctrl_id_xor = 0x40000001;
	assert_failed(fixture, 0, -EIO, "control queue: VQ_PAIRS_SET: the device broke its ring");
}

static void
an_id_that_is_not_out_packed(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.lies.ctrl_id_xor = 0x7001;
	assert_failed(fixture, FAKE_PACKED, -EIO, "control queue: VQ_PAIRS_SET: the device broke its ring");
}

static void
more_written_than_there_is_room_for(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.lies.ctrl_written_add = 4096;
	assert_failed(fixture, 0, -EIO, "control queue: VQ_PAIRS_SET: the device broke its ring");
}

static void
more_written_than_there_is_room_for_packed(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.lies.ctrl_written_add = UINT32_MAX - 1;
	assert_failed(fixture, FAKE_PACKED, -EIO, "control queue: VQ_PAIRS_SET: the device broke its ring");
}

static void
two_answers_at_once(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.lies.ctrl_answers_twice = true;
	assert_failed(fixture, 0, -EIO, "control queue: VQ_PAIRS_SET: the device broke its ring");
	assert_int_equal(fixture->fake.ctrl.commands_count, 1);
}

/* The first of them is good; the other is met when the next command is to go out. */
static void
two_answers_at_once_packed(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.lies.ctrl_answers_twice = true;
	assert_failed(fixture, FAKE_PACKED, -EIO,
		      "control queue: RX_PROMISC: the device answered what it was not asked");
	assert_int_equal(fixture->fake.ctrl.commands_count, 1);
}

static void
an_answer_that_comes_once_more_later(void **state)
{
	static const uint64_t kinds[] = {0, FAKE_PACKED, FAKE_PACKED | FAKE_IN_ORDER};
	struct fixture *fixture = *state;
	unsigned int i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		negotiate_with(fixture, kinds[i]);
		assert_int_equal(net_set(fixture), 0);
		fake_ctrl_answer_again(&fixture->fake);
		assert_int_equal(net_set(fixture), -EIO);
		fixture_assert_why(fixture, "control queue: VQ_PAIRS_SET: the device answered what it was not asked");
		assert_int_equal(fixture->fake.ctrl.commands_count, 3);
		rp_accel_close(&fixture->accel);
		fake_fini(&fixture->fake);
		fake_init(&fixture->fake);
	}
}

static void
a_refusal_is_no_failure(void **state)
{
	struct fixture *fixture = *state;

	negotiate_with(fixture, 0);
	fixture->fake.lies.ctrl_answer = 1;
	assert_int_equal(net_set(fixture), -ENOTSUP);
	fixture_assert_why(fixture, "control queue: VQ_PAIRS_SET: the device refuses it");
	assert_int_equal(fixture->accel.ops->process(fixture->accel.priv, NULL), 0);
	fixture->fake.lies.ctrl_answer = 0;
	assert_int_equal(net_set(fixture), 0);
}

static void
a_queue_that_is_refused(void **state)
{
	struct fixture *fixture = *state;

	negotiate_with(fixture, 0);
	fixture->fake.lies.enable_refused = true;
	assert_int_equal(net_set(fixture), -ENOTSUP);
	fixture_assert_why(fixture, "control queue: queue 4: queue_enable: reads 0x0 after 0x1 was written");
	fixture->fake.lies.enable_refused = false;
	assert_int_equal(net_set(fixture), 0);
}

/* The connection breaks at each access in turn: named, nothing leaked, nothing hangs. */
static void
a_transport_may_leave_at_any_point(void **state)
{
	struct fixture *fixture = *state;
	uint32_t first_access, last_access, access;

	negotiate_with(fixture, 0);
	first_access = fixture->fake.accesses_count;
	assert_int_equal(net_set(fixture), 0);
	last_access = fixture->fake.accesses_count;
	assert_true(last_access > first_access + 15);
	for (access = first_access; access < last_access; access++) {
		rp_accel_close(&fixture->accel);
		fake_fini(&fixture->fake);
		fake_init(&fixture->fake);
		negotiate_with(fixture, 0);
		fixture->fake.lies.fail_after = access;
		fixture->fake.lies.fail_error = -ENOTCONN;
		assert_int_equal(net_set(fixture), -ENOTCONN);
		fixture_assert_why(fixture, "control queue: ");
		fixture_assert_why(fixture, "the fake fails");
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_kind_of_ring),
		TEST(the_kind_of_ring_changes),
		TEST(small_rings),
		TEST(data_queues_are_left_alone),
		TEST(an_answer_that_takes_a_while),
		TEST(a_device_that_never_answers),
		TEST(a_device_that_asks_for_a_reset_instead),
		TEST(a_device_that_leaves_instead),
		TEST(an_answer_that_cannot_be),
		TEST(an_answer_that_was_not_written),
		TEST(a_used_index_beyond_what_is_out),
		TEST(an_id_that_is_not_out),
		TEST(an_id_that_is_not_out_packed),
		TEST(more_written_than_there_is_room_for),
		TEST(more_written_than_there_is_room_for_packed),
		TEST(two_answers_at_once),
		TEST(two_answers_at_once_packed),
		TEST(an_answer_that_comes_once_more_later),
		TEST(a_refusal_is_no_failure),
		TEST(a_queue_that_is_refused),
		TEST(a_transport_may_leave_at_any_point),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
