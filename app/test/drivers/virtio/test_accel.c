/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "fixture.h"

static void
what_it_says_about_itself(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_info info;

	fixture->fake.info.peer_pid = 4711;
	fixture_open_ok(fixture);
	fixture->accel.ops->get_info(fixture->accel.priv, &info);
	assert_string_equal(info.driver, "virtio");
	assert_string_equal(info.transport, "fake");
	assert_string_equal(info.device, "memory");
	assert_int_equal(info.vfio_file_fd, -1);
	assert_int_equal(info.peer_pid, 4711);
}

static void
every_operation_is_there(void **state)
{
	struct fixture *fixture = *state;
	const void *const *op;
	unsigned int i;

	fixture_open_ok(fixture);
	op = (const void *const *)(const void *)fixture->accel.ops;
	for (i = 0; i < sizeof(*fixture->accel.ops) / sizeof(*op); i++)
		assert_non_null(op[i]);
}

static void
memory_goes_to_the_transport(void **state)
{
	struct fixture *fixture = *state;
	const struct rp_accel_ops *ops;

	fixture_open_ok(fixture);
	ops = fixture->accel.ops;
	assert_int_equal(ops->dma_map(fixture->accel.priv, 0, 4096, 5, 0, NULL, &fixture->why), 0);
	assert_int_equal(fixture->fake.dma_maps_count, 1);
	assert_int_equal(ops->dma_unmap(fixture->accel.priv, 0, 4096, &fixture->why), 0);
	assert_int_equal(fixture->fake.dma_maps_count, 0);
}

static void
refused_memory(void **state)
{
	static const struct {
		int said;
		int expected;
		bool fails;
	} rows[] = {
		{-EEXIST, -EEXIST, false}, {-ENOSPC, -ENOSPC, false},	 {-ENOMEM, -ENOSPC, false},
		{-EINVAL, -EIO, true},	   {-ENOTCONN, -ENOTCONN, true}, {-ETIMEDOUT, -ETIMEDOUT, true},
	};
	struct fixture *fixture = *state;
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		fixture_open_ok(fixture);
		fixture->fake.lies.dma_error = rows[i].said;
		assert_int_equal(fixture->accel.ops->dma_map(fixture->accel.priv, 0, 4096, 5, 0, NULL, &fixture->why),
				 rows[i].expected);
		fixture_assert_why(fixture, "mapping refused");
		assert_int_equal(fixture->accel.ops->process(fixture->accel.priv, NULL),
				 rows[i].fails ? rows[i].expected : 0);
		rp_accel_close(&fixture->accel);
	}
	fixture->fake.closes_count = 0;
}

/* Memory that cannot be taken away: the device fails, and its reset is the proof that it lets go. */
static void
memory_that_stays_mapped(void **state)
{
	struct fixture *fixture = *state;

	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 0, 0, -1), 0);
	fixture->fake.lies.dma_error = -EEXIST;
	assert_int_equal(fixture->accel.ops->dma_unmap(fixture->accel.priv, 0, 4096, &fixture->why), -EIO);
	assert_true(fixture->accel.ops->is_quiet(fixture->accel.priv));
	assert_int_equal(fixture->fake.status, 0);
}

static void
reasons_are_optional(void **state)
{
	struct fixture *fixture = *state;
	uint32_t position;

	fixture_open_ok(fixture);
	assert_int_equal(fixture->accel.ops->set_features(fixture->accel.priv, 0, NULL), -ENOTSUP);
	assert_int_equal(fixture->accel.ops->queue_stop(fixture->accel.priv, 0, &position, NULL), -EINVAL);
	fixture->fake.process_error = -ENOTCONN;
	assert_int_equal(fixture->accel.ops->process(fixture->accel.priv, NULL), -ENOTCONN);
	assert_int_equal(fixture->accel.ops->process(fixture->accel.priv, &fixture->why), -ENOTCONN);
	fixture_assert_why(fixture, "the fake left");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_it_says_about_itself),    TEST(every_operation_is_there),
		TEST(memory_goes_to_the_transport), TEST(refused_memory),
		TEST(memory_that_stays_mapped),	    TEST(reasons_are_optional),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
