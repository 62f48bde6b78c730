/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>

#include "fixture.h"

static int
stop(struct fixture *fixture, unsigned int queue, uint32_t *ret_position)
{
	return fixture->accel.ops->queue_stop(fixture->accel.priv, queue, ret_position, &fixture->why);
}

static void
a_start_programs_the_ring(void **state)
{
	struct fixture *fixture = *state;
	const struct fake_queue *queue = &fixture->fake.queues[2];

	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 2, 0xfffe, 77), 0);
	assert_int_equal(queue->enable, 1);
	assert_int_equal(queue->size, 64);
	assert_int_equal(queue->vector, 2);
	assert_int_equal(queue->position, 0xfffe);
	assert_true(queue->desc == 0x123656780ull);
	assert_true(queue->driver == 0x223656784ull);
	assert_true(queue->device == 0x323656788ull);
	assert_int_equal(fixture->fake.queues[1].enable, 0);
}

static void
the_very_eventfd_goes_to_its_vector(void **state)
{
	struct fixture *fixture = *state;
	unsigned int sets_count;

	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 1, 0, 77), 0);
	assert_int_equal(fixture_start(fixture, 0, 0, 55), 0);
	assert_int_equal(fixture->fake.irq_fds[1], 77);
	assert_int_equal(fixture->fake.irq_fds[0], 55);
	sets_count = fixture->fake.irq_sets_count;
	assert_int_equal(fixture->accel.ops->queue_call(fixture->accel.priv, 1, 78, &fixture->why), 0);
	assert_int_equal(fixture->fake.irq_fds[1], 78);
	assert_int_equal(fixture->fake.irq_fds[0], 55);
	assert_int_equal(fixture->fake.irq_sets_count, sets_count + 1);
	assert_int_equal(fixture->accel.ops->queue_call(fixture->accel.priv, 1, -1, &fixture->why), 0);
	assert_int_equal(fixture->fake.irq_fds[1], -1);
	/* The ring goes on. */
	assert_int_equal(fixture->fake.queues[1].enable, 1);
}

static void
class_a_stops_and_goes_on_elsewhere(void **state)
{
	struct fixture *fixture = *state;
	uint32_t position = 0;

	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 0, 100, 77), 0);
	fixture->fake.queues[0].position = 0xfff0;
	assert_int_equal(stop(fixture, 0, &position), 0);
	assert_int_equal(position, 0xfff0);
	assert_int_equal(fixture->fake.irq_fds[0], -1);
	assert_int_equal(fixture_start(fixture, 0, position, 77), 0);
	assert_int_equal(fixture->fake.queues[0].position, 0xfff0);
}

static void
class_a_stops_one_queue_of_several(void **state)
{
	struct fixture *fixture = *state;
	uint32_t position;

	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
	assert_int_equal(fixture_start(fixture, 1, 0, 78), 0);
	assert_int_equal(stop(fixture, 0, &position), 0);
	assert_int_equal(fixture->fake.queues[1].enable, 1);
	assert_int_equal(fixture->fake.irq_fds[1], 78);
}

static void
class_b_starts_fresh_rings_only(void **state)
{
	struct fixture *fixture = *state;

	fake_remove_vendor(&fixture->fake);
	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 0, 1, 77), -ENOTSUP);
	fixture_assert_why(fixture, "queue 0: position: 0x1: the device starts fresh rings only (class B)");
	assert_int_equal(fixture->fake.irq_sets_count, 1); /* the configuration's */
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
}

static void
class_b_stops_by_queue_reset(void **state)
{
	struct fixture *fixture = *state;
	uint32_t position = 42;

	fake_remove_vendor(&fixture->fake);
	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
	assert_int_equal(fixture_start(fixture, 1, 0, 78), 0);
	assert_int_equal(stop(fixture, 0, &position), 0);
	/* It does not know where. */
	assert_int_equal(position, 42);
	assert_int_equal(fixture->fake.queues[0].enable, 0);
	assert_int_equal(fixture->fake.queues[1].enable, 1);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
}

static void
class_b_without_queue_reset_stops_the_last_one_by_device_reset(void **state)
{
	struct fixture *fixture = *state;
	uint32_t position;

	fake_remove_vendor(&fixture->fake);
	fixture->fake.features &= ~FAKE_RING_RESET;
	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
	assert_int_equal(fixture_start(fixture, 1, 0, 78), 0);
	assert_int_equal(stop(fixture, 0, &position), -ENOTSUP);
	fixture_assert_why(fixture, "queue 0: the device cannot stop one queue while queue 1 runs (neither RING_RESET "
				    "nor ring state): a reset stops all");
	assert_int_equal(fixture->fake.queues[0].enable, 1);
	/* What the reason says. */
	assert_int_equal(fixture->accel.ops->reset(fixture->accel.priv, &fixture->why), 0);
	assert_int_equal(fixture->fake.queues[0].enable, 0);
	assert_int_equal(fixture->accel.ops->set_features(fixture->accel.priv, FAKE_VERSION_1, &fixture->why), 0);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
	assert_int_equal(stop(fixture, 0, &position), 0);
	assert_int_equal(fixture->fake.status, 0x0b);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
}

#define FRESH 0x80008000u

static void
negotiate_packed(struct fixture *fixture)
{
	fixture->fake.features |= FAKE_PACKED;
	fixture_open_ok(fixture);
	assert_int_equal(
		fixture->accel.ops->set_features(fixture->accel.priv, FAKE_VERSION_1 | FAKE_PACKED, &fixture->why), 0);
}

static int
start_packed(struct fixture *fixture, uint16_t num, uint32_t position, uint64_t driver_area_iova)
{
	struct rp_accel_queue_config config = {
		.num = num,
		.position = position,
		.desc_iova = 0x123456780,
		.avail_iova = driver_area_iova,
		.used_iova = 0x323456788,
		.call_fd = 77,
	};

	return fixture->accel.ops->queue_start(fixture->accel.priv, 0, &config, &fixture->why);
}

/* The driver's and the device's event suppression take the places of the available and the used ring. */
static void
a_packed_ring_of_any_size(void **state)
{
	struct fixture *fixture = *state;
	const struct fake_queue *queue = &fixture->fake.queues[0];

	negotiate_packed(fixture);
	assert_int_equal(start_packed(fixture, 100, 0x00630063, 0x223456784), 0);
	assert_int_equal(queue->enable, 1);
	assert_int_equal(queue->size, 100);
	assert_int_equal(queue->position, 0x00630063);
	assert_true(queue->desc == 0x123456780);
	assert_true(queue->driver == 0x223456784);
	assert_true(queue->device == 0x323456788);
}

static void
class_a_stops_a_packed_ring_and_goes_on(void **state)
{
	struct fixture *fixture = *state;
	uint32_t position = 0;

	negotiate_packed(fixture);
	assert_int_equal(fixture_start(fixture, 0, FRESH, 77), 0);
	fixture->fake.queues[0].position = 0x00070007;
	assert_int_equal(stop(fixture, 0, &position), 0);
	assert_int_equal(position, 0x00070007);
	assert_int_equal(fixture_start(fixture, 0, position, 77), 0);
	assert_int_equal(fixture->fake.queues[0].position, 0x00070007);
}

static void
packed_rings_that_cannot_be(void **state)
{
	struct fixture *fixture = *state;

	negotiate_packed(fixture);
	assert_int_equal(start_packed(fixture, 0, FRESH, 0x223456784), -EINVAL);
	fixture_assert_why(fixture, "queue 0: size: 0, expected 1 up to 256");
	assert_int_equal(start_packed(fixture, 257, FRESH, 0x223456784), -EINVAL);
	assert_int_equal(start_packed(fixture, 100, FRESH, 0x223456782), -EINVAL);
	fixture_assert_why(fixture, "expected multiples of 16, 4 and 4");
	assert_int_equal(start_packed(fixture, 100, 0x80648064, 0x223456784), -EINVAL);
	fixture_assert_why(fixture, "queue 0: position: the next available descriptor is 100, expected less than 100");
	assert_int_equal(start_packed(fixture, 100, 0x80008001, 0x223456784), -EINVAL);
	fixture_assert_why(fixture, "expected a drained ring");
	assert_int_equal(fixture->fake.queues[0].enable, 0);
	assert_int_equal(start_packed(fixture, 100, FRESH, 0x223456784), 0);
}

static void
class_b_and_packed_rings(void **state)
{
	struct fixture *fixture = *state;
	uint32_t position = 42;

	fake_remove_vendor(&fixture->fake);
	negotiate_packed(fixture);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), -ENOTSUP);
	fixture_assert_why(fixture, "queue 0: position: 0x0: the device starts fresh rings only (class B)");
	assert_int_equal(fixture_start(fixture, 0, FRESH, 77), 0);
	assert_int_equal(stop(fixture, 0, &position), 0);
	/* It does not know where, and nobody else does. */
	assert_int_equal(position, 42);
}

static void
bad_requests_are_ours(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_queue_config config = {.num = 64, .call_fd = -1};
	const struct rp_accel_ops *ops;
	uint32_t position;

	fixture_negotiate(fixture);
	ops = fixture->accel.ops;
	assert_int_equal(fixture_start(fixture, 4, 0, -1), -EINVAL);
	assert_int_equal(fixture_start(fixture, UINT32_MAX, 0, -1), -EINVAL);
	config.num = 0;
	assert_int_equal(ops->queue_start(fixture->accel.priv, 0, &config, NULL), -EINVAL);
	config.num = 48;
	assert_int_equal(ops->queue_start(fixture->accel.priv, 0, &config, NULL), -EINVAL);
	config.num = 512;
	assert_int_equal(ops->queue_start(fixture->accel.priv, 0, &config, &fixture->why), -EINVAL);
	fixture_assert_why(fixture, "queue 0: size: 512, expected a power of two up to 256");
	config.num = 64;
	config.used_iova = 2;
	assert_int_equal(ops->queue_start(fixture->accel.priv, 0, &config, &fixture->why), -EINVAL);
	fixture_assert_why(fixture, "expected multiples of 16, 2 and 4");
	assert_int_equal(stop(fixture, 0, &position), -EINVAL);
	assert_int_equal(stop(fixture, UINT32_MAX, &position), -EINVAL);
	assert_int_equal(ops->queue_call(fixture->accel.priv, 0, 5, NULL), -EINVAL);
	assert_int_equal(ops->queue_kick(fixture->accel.priv, 0), -EINVAL);
	assert_int_equal(fixture_start(fixture, 0, 0, -1), 0);
	assert_int_equal(fixture_start(fixture, 0, 0, -1), -EBUSY);
}

static void
refusals_of_the_device_are_named_and_leave_it_usable(void **state)
{
	struct fixture *fixture = *state;
	struct fake_lies *lies = &fixture->fake.lies;

	fixture_negotiate(fixture);
	lies->size_refused = true;
	assert_int_equal(fixture_start(fixture, 0, 0, 77), -ENOTSUP);
	fixture_assert_why(fixture, "queue 0: queue_size: reads 0x100 after 0x40 was written: the device refuses it");
	lies->size_refused = false;
	lies->vector_refused = true;
	assert_int_equal(fixture_start(fixture, 0, 0, 77), -ENOTSUP);
	fixture_assert_why(fixture, "queue 0: queue_msix_vector: reads 0xffff after 0x0 was written");
	lies->vector_refused = false;
	lies->enable_refused = true;
	assert_int_equal(fixture_start(fixture, 0, 0, 77), -ENOTSUP);
	fixture_assert_why(fixture, "queue 0: queue_enable: reads 0x0 after 0x1 was written");
	lies->enable_refused = false;
	assert_int_equal(fixture->fake.irq_fds[0], -1);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
}

/* Each ends with a device that has failed, was reset, and is therefore quiet. */
static void
assert_failed(struct fixture *fixture, int rc, int error, const char *words)
{
	assert_int_equal(rc, error);
	fixture_assert_why(fixture, words);
	assert_int_equal(fixture_start(fixture, 1, 0, -1), error);
	fixture_assert_why(fixture, words);
	assert_true(fixture->accel.ops->is_quiet(fixture->accel.priv));
	assert_int_equal(fixture->fake.status, 0);
}

/* One that is none, or one interrupt more than this machine has. */
static void
an_eventfd_that_cannot_be_used(void **state)
{
	static const int errors[] = {-EINVAL, -ENOSPC};
	struct fixture *fixture = *state;
	unsigned int i;

	fixture_negotiate(fixture);
	for (i = 0; i < 2; i++) {
		fixture->fake.lies.irq_error = errors[i];
		assert_int_equal(fixture_start(fixture, 0, 0, 77), -ENOTSUP);
		assert_int_equal(fixture->why.error, -ENOTSUP);
		fixture_assert_why(fixture, "queue 0: MSI-X vector: vector 0 refused");
		assert_int_equal(fixture->fake.queues[0].enable, 0);
		fixture->fake.lies.irq_error = 0;
	}
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
	/* One that runs has no interrupt then. */
	fixture->fake.lies.irq_error = -EINVAL;
	assert_int_equal(fixture->accel.ops->queue_call(fixture->accel.priv, 0, 78, &fixture->why), -EIO);
	assert_int_equal(fixture->accel.ops->process(fixture->accel.priv, NULL), -EIO);
}

static void
an_eventfd_that_is_refused(void **state)
{
	struct fixture *fixture = *state;

	fixture_negotiate(fixture);
	fixture->fake.lies.irq_error = -EPERM;
	assert_failed(fixture, fixture_start(fixture, 0, 0, 77), -EIO, "queue 0: MSI-X vector: vector 0 refused");
}

static void
a_stop_that_is_ignored(void **state)
{
	struct fixture *fixture = *state;
	uint32_t position = 9;

	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
	fixture->fake.lies.stop_ignored = true;
	assert_failed(fixture, stop(fixture, 0, &position), -EIO, "queue 0: control: reads 1 after a stop");
	assert_int_equal(position, 9);
}

/* A device that cannot drain before it answers is waited for. */
static void
a_stop_that_takes_a_while(void **state)
{
	struct fixture *fixture = *state;
	uint32_t position = 9;

	fixture->wait_ms = FIXTURE_PATIENT_MS;
	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
	fixture->fake.queues[0].position = 5;
	fixture->fake.lies.stopping_reads = 5;
	assert_int_equal(stop(fixture, 0, &position), 0);
	assert_int_equal(position, 5);
}

static void
a_stop_that_never_ends(void **state)
{
	struct fixture *fixture = *state;
	uint32_t position = 9;

	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
	fixture->fake.lies.stopping_reads = UINT_MAX;
	assert_failed(fixture, stop(fixture, 0, &position), -EIO, "queue 0: control: reads 3 after a stop");
	assert_int_equal(position, 9);
}

static void
a_position_that_is_not_kept(void **state)
{
	struct fixture *fixture = *state;

	fixture_negotiate(fixture);
	fixture->fake.lies.position_xor = 1;
	assert_failed(fixture, fixture_start(fixture, 0, 6, 77), -EIO,
		      "queue 0: position: reads 0x7 after 0x6 was written");
}

static void
an_index_of_more_than_16_bits(void **state)
{
	struct fixture *fixture = *state;
	uint32_t position;

	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 0, 6, 77), 0);
	fixture->fake.lies.position_xor = 0x10000;
	assert_failed(fixture, stop(fixture, 0, &position), -EIO,
		      "queue 0: position: is 0x10006, expected an index of 16 bits");
}

static void
a_packed_position_that_cannot_be(void **state)
{
	struct fixture *fixture = *state;
	uint32_t position = 9;

	negotiate_packed(fixture);
	assert_int_equal(fixture_start(fixture, 0, FRESH, 77), 0);
	fixture->fake.queues[0].position = 0x80408040;
	assert_failed(fixture, stop(fixture, 0, &position), -EIO,
		      "ring state: queue 0: position: the next available descriptor is 64, expected less than 64");
	assert_int_equal(position, 9);
}

/* Stopped means drained. */
static void
a_packed_ring_that_is_not_drained(void **state)
{
	struct fixture *fixture = *state;
	uint32_t position = 9;

	negotiate_packed(fixture);
	assert_int_equal(fixture_start(fixture, 0, FRESH, 77), 0);
	fixture->fake.queues[0].position = 0x80008003;
	assert_failed(fixture, stop(fixture, 0, &position), -EIO, "expected a drained ring");
	assert_int_equal(position, 9);
}

static void
a_queue_that_runs_before_it_was_started(void **state)
{
	struct fixture *fixture = *state;

	fixture_negotiate(fixture);
	fixture->fake.queues[0].enable = 1;
	assert_failed(fixture, fixture_start(fixture, 0, 0, 77), -EIO, "queue 0: queue_enable: reads 1");
}

static void
a_queue_reset_that_never_ends(void **state)
{
	struct fixture *fixture = *state;
	uint32_t position;

	fake_remove_vendor(&fixture->fake);
	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
	fixture->fake.lies.queue_reset_stuck = true;
	assert_failed(fixture, stop(fixture, 0, &position), -ETIMEDOUT, "queue_reset: still 0x01 after 20 ms");
}

static void
a_queue_reset_that_leaves_it_enabled(void **state)
{
	struct fixture *fixture = *state;
	uint32_t position;

	fake_remove_vendor(&fixture->fake);
	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
	fixture->fake.lies.enable_kept = true;
	assert_failed(fixture, stop(fixture, 0, &position), -EIO, "queue_enable: reads 1 after a queue reset");
}

static void
no_proof_when_the_reset_is_ignored_too(void **state)
{
	struct fixture *fixture = *state;
	uint32_t position;

	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
	fixture->fake.lies.stop_ignored = true;
	fixture->fake.lies.reset_ignored = true;
	assert_int_equal(stop(fixture, 0, &position), -EIO);
	assert_false(fixture->accel.ops->is_quiet(fixture->accel.priv));
	fixture->fake.quiet = true;
	assert_true(fixture->accel.ops->is_quiet(fixture->accel.priv));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
#define MANY(name) cmocka_unit_test_setup_teardown(name, fixture_setup_many, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_start_programs_the_ring),
		TEST(the_very_eventfd_goes_to_its_vector),
		TEST(class_a_stops_and_goes_on_elsewhere),
		TEST(class_a_stops_one_queue_of_several),
		TEST(class_b_starts_fresh_rings_only),
		TEST(class_b_stops_by_queue_reset),
		TEST(class_b_without_queue_reset_stops_the_last_one_by_device_reset),
		TEST(a_packed_ring_of_any_size),
		TEST(class_a_stops_a_packed_ring_and_goes_on),
		TEST(packed_rings_that_cannot_be),
		TEST(class_b_and_packed_rings),
		TEST(bad_requests_are_ours),
		TEST(refusals_of_the_device_are_named_and_leave_it_usable),
		TEST(an_eventfd_that_cannot_be_used),
		TEST(an_eventfd_that_is_refused),
		MANY(the_very_eventfd_goes_to_its_vector),
		MANY(class_a_stops_and_goes_on_elsewhere),
		MANY(an_eventfd_that_cannot_be_used),
		MANY(an_eventfd_that_is_refused),
		TEST(a_stop_that_is_ignored),
		TEST(a_stop_that_takes_a_while),
		TEST(a_stop_that_never_ends),
		TEST(a_position_that_is_not_kept),
		TEST(an_index_of_more_than_16_bits),
		TEST(a_packed_position_that_cannot_be),
		TEST(a_packed_ring_that_is_not_drained),
		TEST(a_queue_that_runs_before_it_was_started),
		TEST(a_queue_reset_that_never_ends),
		TEST(a_queue_reset_that_leaves_it_enabled),
		TEST(no_proof_when_the_reset_is_ignored_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
