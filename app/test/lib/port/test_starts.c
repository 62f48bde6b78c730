/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "fixture.h"
#include "rp_vhu_proto.h"

/* Rings that a frontend starts in a row start together, and nobody can tell but by the clock. */

static void
begin(struct fixture *f)
{
	unsigned int i;

	fixture_open(f);
	for (i = 0; i < FAKE_ACCEL_QUEUES; i++)
		assert_int_equal(test_vm_queue_try_start(&f->vm, i, 0, NULL), 0);
	/* What comes now is there to be read all at once. */
	pthread_mutex_lock(&f->port.lock);
}

static void
enable(struct fixture *f, unsigned int queue, bool enabled)
{
	const struct rp_vhu_wire_vring_state state = {queue, enabled};

	assert_int_equal(rp_vhu_frontend_submit(f->vm.frontend, RP_VHU_SET_VRING_ENABLE, &state, sizeof(state), NULL, 0,
						false, NULL, NULL, NULL),
			 0);
}

/* An answer: what was said before it is done. */
static void
go_on(struct fixture *f)
{
	pthread_mutex_unlock(&f->port.lock);
	assert_int_equal(rp_vhu_frontend_ring_enable(f->vm.frontend, 0, true, NULL), 0);
}

static void
a_row_starts_together(void **state)
{
	struct fixture f;
	unsigned int i;

	(void)state;
	begin(&f);
	for (i = 0; i < FAKE_ACCEL_QUEUES; i++)
		enable(&f, i, true);
	go_on(&f);
	assert_int_equal(fake_now().rows, 1);
	assert_int_equal(fake_now().longest_row, FAKE_ACCEL_QUEUES);
	for (i = 0; i < FAKE_ACCEL_QUEUES; i++) {
		assert_true(fake_now().queues[i].running);
		assert_int_equal(fake_now().queues[i].starts, 1);
		assert_int_equal(test_port_queue(&f.port, i).owner, RP_PORT_OWNER_HARDWARE);
	}
	fixture_close(&f);
}

/* Without a word that is waited for they start when there is nothing more to read. */
static void
nobody_waits(void **state)
{
	struct fixture f;
	unsigned int i;

	(void)state;
	begin(&f);
	for (i = 0; i < FAKE_ACCEL_QUEUES; i++)
		enable(&f, i, true);
	pthread_mutex_unlock(&f.port.lock);
	for (i = 0; i < FAKE_ACCEL_QUEUES; i++)
		assert_true(test_port_wait_mode(&f.port, i, RP_PORT_QUEUE_RELAYED, LIMIT_MS) ||
			    test_port_wait_mode(&f.port, i, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
	fixture_close(&f);
}

static void
one_that_is_not_meant_any_more(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	enable(&f, 1, true);
	enable(&f, 2, true);
	enable(&f, 3, true);
	enable(&f, 2, false);
	go_on(&f);
	assert_int_equal(fake_now().queues[2].starts, 0);
	assert_int_equal(fake_now().queues[1].starts, 1);
	assert_int_equal(fake_now().queues[3].starts, 1);
	fixture_close(&f);
}

static void
stopped_before_it_began(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	enable(&f, 1, true);
	enable(&f, 3, true);
	pthread_mutex_unlock(&f.port.lock);
	assert_int_equal(test_vm_queue_stop(&f.vm, 3), 0);
	assert_int_equal(rp_vhu_frontend_ring_enable(f.vm.frontend, 0, true, NULL), 0);
	assert_true(fake_now().queues[1].running);
	assert_false(fake_now().queues[3].running);
	assert_int_equal(test_port_queue(&f.port, 3).owner, RP_PORT_OWNER_NONE);
	fixture_close(&f);
}

static void
one_of_them_is_refused(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	FAKE_SET(row_refused_mask, 1u << 2);
	enable(&f, 1, true);
	enable(&f, 2, true);
	enable(&f, 3, true);
	go_on(&f);
	assert_true(fake_now().queues[1].running);
	assert_false(fake_now().queues[2].running);
	assert_true(fake_now().queues[3].running);
	assert_non_null(strstr(test_port_queue(&f.port, 2).reason, "not started: refused in a row"));
	fixture_close(&f);
}

/* The device may serve each of them: without proof none is said to be started, nor anybody else's. */
static void
expect_unproven(struct fixture *f)
{
	struct rp_port_queue_info info;
	unsigned int i;

	for (i = 0; i < FAKE_ACCEL_QUEUES; i++) {
		info = test_port_queue(&f->port, i);
		assert_int_equal(info.owner, RP_PORT_OWNER_NONE);
		assert_string_equal(info.reason,
				    "the accelerator failed and nothing proves that it let go of the ring");
	}
}

static void
a_row_that_is_lost(void **state)
{
	static const bool of_each[] = {true, false};
	struct fixture f;
	unsigned int i, j;

	(void)state;
	for (i = 0; i < 2; i++) {
		begin(&f);
		FAKE_SET(begun_error, of_each[i] ? -ETIMEDOUT : 0);
		FAKE_SET(row_error, -EIO);
		for (j = 0; j < FAKE_ACCEL_QUEUES; j++)
			enable(&f, j, true);
		go_on(&f);
		assert_int_equal(fake_now().longest_row, FAKE_ACCEL_QUEUES);
		expect_unproven(&f);
		FAKE_SET(begun_error, 0);
		FAKE_SET(row_error, 0);
		FAKE_SET(quiet, true);
		for (j = 0; j < FAKE_ACCEL_QUEUES; j++)
			assert_true(test_port_wait_mode(&f.port, j, RP_PORT_QUEUE_RELAYED, LIMIT_MS) ||
				    test_port_wait_mode(&f.port, j, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
		fixture_close(&f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_row_starts_together),	  cmocka_unit_test(nobody_waits),
		cmocka_unit_test(one_that_is_not_meant_any_more), cmocka_unit_test(stopped_before_it_began),
		cmocka_unit_test(one_of_them_is_refused),	  cmocka_unit_test(a_row_that_is_lost),
	};

	return cmocka_run_group_tests_name("port: starts", tests, NULL, NULL);
}
