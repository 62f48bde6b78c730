/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>

#include "fixture.h"

static void
set_used_index(struct fixture *f, unsigned int queue, uint16_t index)
{
	struct rp_vring_layout layout;
	uint16_t *used;

	rp_vring_drv_layout(f->vm.queues[queue].ring, &layout);
	used = (uint16_t *)(f->vm.memory + (layout.used_iova - TEST_VM_GPA));
	__atomic_store_n(&used[1], htole16(index), __ATOMIC_RELEASE);
}

static bool
is_back(struct fixture *f)
{
	return test_port_events(&f->port, "accelerator-back") == 1;
}

static bool
is_waited_for(struct fixture *f)
{
	return test_port_events(&f->port, "accelerator-waiting") == 1;
}

/* What was taken but not used is done again: rings go on from the used index. */
static void
comes_back_at_the_used_index(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f);
	test_vm_start_all(&f.vm);
	assert_true(test_vm_wait_doorbell(&f.vm, 1, true, LIMIT_MS));
	FAKE_SET(queues[1].position, 30); /* nobody can ask any more */
	set_used_index(&f, 1, 23);
	fake_accel_die(true);
	assert_true(fixture_becomes(&f, is_back));
	assert_int_equal(fake_now().opens, 2);
	assert_int_equal(fake_now().mappings, 1);
	assert_int_equal(fake_now().negotiated, fake_now().features);
	assert_true(fake_now().queues[1].running);
	assert_int_equal(fake_now().queues[1].config.position, 23);
	/* The dead device's doorbell was taken back, the new one's is offered. */
	assert_true(test_vm_wait_doorbell(&f.vm, 1, true, LIMIT_MS));
	assert_true(test_port_wait_mode(&f.port, 1, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
	assert_true(test_port_queue(&f.port, 1).moves >= 2);
	fixture_close(&f);
}

static void
stays_stopped_until_it_is_back(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f);
	test_vm_queue_start(&f.vm, 0, 0);
	FAKE_SET(open_error, -ECONNREFUSED);
	fake_accel_die(true);
	assert_true(fixture_becomes(&f, is_waited_for));
	assert_int_equal(test_port_queue(&f.port, 0).mode, RP_PORT_QUEUE_STOPPED);
	assert_non_null(strstr(test_port_queue(&f.port, 0).reason, "nobody listens"));
	/* A VMM that reboots meanwhile is served by the port, without an accelerator. */
	test_vm_queue_stop(&f.vm, 0);
	test_vm_queue_start(&f.vm, 0, 0);
	usleep(50000);
	assert_int_equal(test_port_events(&f.port, "accelerator-waiting"), 1);
	FAKE_SET(open_error, 0);
	assert_true(fixture_becomes(&f, is_back));
	assert_true(test_port_wait_mode(&f.port, 0, RP_PORT_QUEUE_RELAYED, LIMIT_MS) ||
		    test_port_queue(&f.port, 0).mode == RP_PORT_QUEUE_DIRECT);
	fixture_close(&f);
}

static void
memory_that_it_refuses(void **state)
{
	struct rp_port_config config = fixture_config();
	struct rp_vhu_frontend *frontend;
	struct fixture f;
	struct rp_vhu_region region = {.gpa = 0x90000000, .size_bytes = 4096, .uva = 0x10000000};
	struct rp_wire_why why;

	(void)state;
	fixture_begin(&f);
	fixture_open_with(&f, &config, NULL);
	frontend = f.vm.frontend;
	region.fd = test_memfd(4096, false);
	FAKE_SET(map_error, -ENOSPC);
	assert_int_equal(rp_vhu_frontend_add_mem_reg(frontend, &region, &why), -EREMOTEIO);
	assert_int_equal(fake_now().mappings, 1);
	FAKE_SET(map_error, 0);
	assert_int_equal(rp_vhu_frontend_add_mem_reg(frontend, &region, &why), 0);
	assert_int_equal(fake_now().mappings, 2);
	assert_int_equal(rp_vhu_frontend_rem_mem_reg(frontend, &region, &why), 0);
	assert_int_equal(fake_now().mappings, 1);
	close(region.fd);
	fixture_close(&f);
}

static void
weaker_replacement_is_refused(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f);
	test_vm_queue_start(&f.vm, 0, 0);
	FAKE_SET(features, fake_now().features & ~(1ull << 29));
	fake_accel_die(true);
	assert_true(fixture_becomes(&f, is_waited_for));
	assert_non_null(strstr(test_port_queue(&f.port, 0).reason, "without features 0x20000000"));
	assert_int_equal(test_port_events(&f.port, "accelerator-back"), 0);
	fixture_close(&f);
}

/* The old process may only be stopped: continued, it would be a second owner of the ring. */
static void
another_process_proves_nothing(void **state)
{
	struct rp_port_config config = fixture_config();
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	FAKE_SET(peer_pid, 100);
	fixture_open_with(&f, &config, NULL);
	test_vm_queue_start(&f.vm, 0, 0);
	FAKE_SET(peer_pid, 101);
	fake_accel_die(false);
	assert_true(fixture_becomes(&f, is_waited_for));
	assert_string_equal(test_port_queue(&f.port, 0).reason,
			    "the accelerator failed and nothing proves that it let go of the ring");
	assert_int_equal(test_port_events(&f.port, "accelerator-back"), 0);
	/* It is seen to end after all. */
	FAKE_SET(quiet, true);
	assert_true(fixture_becomes(&f, is_back));
	assert_true(fake_now().queues[0].running);
	fixture_close(&f);
}

/* The same process, reset over a new connection, has let go. */
static void
a_reset_by_the_same_process_is_proof(void **state)
{
	struct rp_port_config config = fixture_config();
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	FAKE_SET(peer_pid, 100);
	fixture_open_with(&f, &config, NULL);
	test_vm_queue_start(&f.vm, 0, 0);
	fake_accel_die(false);
	assert_true(fixture_becomes(&f, is_back));
	assert_true(fake_now().queues[0].running);
	fixture_close(&f);
}

/* A device without a process (kernel VFIO) is asked until it is quiet, and closed before it is opened: it can be open once. */
static void
a_device_that_can_be_open_once(void **state)
{
	struct rp_port_config config = fixture_config();
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	FAKE_SET(opens_once, true);
	fixture_open_with(&f, &config, NULL);
	test_vm_queue_start(&f.vm, 0, 0);
	fake_accel_die(false);
	assert_true(fixture_becomes(&f, is_waited_for));
	assert_string_equal(test_port_queue(&f.port, 0).reason,
			    "the accelerator failed and nothing proves that it let go of the ring");
	usleep(30000);
	assert_int_equal(fake_now().opens, 1);
	FAKE_SET(quiet, true);
	assert_true(fixture_becomes(&f, is_back));
	assert_true(fake_now().queues[0].running);
	fixture_close(&f);
}

/* Class B does not know its index: the used ring does. */
static void
a_stop_without_an_index(void **state)
{
	struct rp_port_config config = fixture_config();
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	FAKE_SET(class, RP_ACCEL_CLASS_B);
	fixture_open_with(&f, &config, NULL);
	test_vm_queue_start(&f.vm, 1, 0);
	set_used_index(&f, 1, 17);
	assert_int_equal(test_vm_queue_stop(&f.vm, 1), 17);
	fixture_close(&f);
}

/* A device that cannot stop one queue: the user is refused, the frontend is not. */
static void
a_device_that_stops_only_whole(void **state)
{
	struct rp_port_config config = fixture_config();
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	FAKE_SET(class, RP_ACCEL_CLASS_B);
	fixture_open_with(&f, &config, NULL);
	test_vm_start_all(&f.vm);
	FAKE_SET(stop_error, -ENOTSUP);
	assert_int_equal(test_port_disable(&f.port, 1), -ENOTSUP);
	assert_true(fake_now().queues[1].running);
	assert_true(test_port_queue(&f.port, 1).user_enabled);
	assert_int_equal(fake_now().resets, 0);
	test_vm_queue_stop(&f.vm, 1);
	assert_int_equal(fake_now().resets, 1);
	assert_false(fake_now().queues[1].running);
	/* Its neighbours start again by themselves. */
	assert_true(fake_now().queues[0].running);
	assert_int_equal(fake_now().queues[0].starts, 2);
	fixture_close(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_back_at_the_used_index),
		cmocka_unit_test(stays_stopped_until_it_is_back),
		cmocka_unit_test(memory_that_it_refuses),
		cmocka_unit_test(weaker_replacement_is_refused),
		cmocka_unit_test(another_process_proves_nothing),
		cmocka_unit_test(a_reset_by_the_same_process_is_proof),
		cmocka_unit_test(a_device_that_can_be_open_once),
		cmocka_unit_test(a_stop_without_an_index),
		cmocka_unit_test(a_device_that_stops_only_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
