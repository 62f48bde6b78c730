/* SPDX-License-Identifier: BSD-3-Clause */
#include <sys/eventfd.h>

#include "fixture.h"
#include "rp_wire_fd.h"

static bool
one_kick_was_relayed(struct fixture *f)
{
	return test_port_queue(&f->port, 1).relayed_kicks == 1;
}

static void
kicks_reach_the_accelerator(void **state)
{
	struct rp_port_config config = fixture_config();
	struct fixture f;
	unsigned int before;

	(void)state;
	config.doorbell = RP_PORT_DOORBELL_RELAY;
	fixture_begin(&f);
	fixture_open_with(&f, &config, NULL);
	test_vm_queue_start(&f.vm, 1, 0);
	before = fake_now().queues[1].kicks;
	test_vm_kick(&f.vm, 1);
	assert_true(fixture_becomes(&f, one_kick_was_relayed));
	assert_int_equal(fake_now().queues[1].kicks, before + 1);
	assert_int_equal(test_port_queue(&f.port, 1).relayed_kicks_after_map, 0);
	fixture_close(&f);
}

static bool
late_kick_was_counted(struct fixture *f)
{
	return test_port_queue(&f->port, 1).relayed_kicks_after_map == 1;
}

/* The figure that the demo fails on must be able to rise. */
static void
a_kick_after_the_map_is_counted(void **state)
{
	struct fixture f;
	uint64_t one = 1;

	(void)state;
	fixture_open(&f);
	test_vm_queue_start(&f.vm, 1, 0);
	assert_true(test_vm_wait_doorbell(&f.vm, 1, true, LIMIT_MS));
	assert_true(test_port_wait_mode(&f.port, 1, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
	usleep(100000); /* past the one drain */
	assert_int_equal(write(f.vm.queues[1].kick_fd, &one, sizeof(one)), sizeof(one));
	assert_true(fixture_becomes(&f, late_kick_was_counted));
	fixture_close(&f);
}

static void
kicks_while_disabled_are_not_lost(void **state)
{
	struct rp_port_config config = fixture_config();
	struct fixture f;

	(void)state;
	config.doorbell = RP_PORT_DOORBELL_RELAY;
	fixture_begin(&f);
	fixture_open_with(&f, &config, NULL);
	test_vm_queue_start(&f.vm, 1, 0);
	assert_int_equal(test_port_disable(&f.port, 1), 0);
	FAKE_SET(queues[1].kicks, 0);
	test_vm_kick(&f.vm, 1);
	usleep(20000);
	assert_int_equal(fake_now().queues[1].kicks, 0);
	assert_int_equal(test_port_enable(&f.port, 1), 0);
	assert_true(fixture_becomes(&f, one_kick_was_relayed));
	fixture_close(&f);
}

static bool
one_interrupt_was_relayed(struct fixture *f)
{
	return test_port_queue(&f->port, 0).relayed_interrupts == 1;
}

static void
interrupts_can_be_relayed_and_are_counted(void **state)
{
	struct rp_port_config config = fixture_config();
	struct fixture f;
	uint64_t one = 1;

	(void)state;
	config.relay_interrupts = true;
	fixture_begin(&f);
	fixture_open_with(&f, &config, NULL);
	test_vm_queue_start(&f.vm, 0, 0);
	assert_int_equal(rp_wire_fd_same(fake_now().queues[0].call_fd, f.vm.queues[0].call_fd), 0);
	test_vm_interrupts(&f.vm, 0);
	assert_int_equal(write(fake_now().queues[0].call_fd, &one, sizeof(one)), sizeof(one));
	assert_true(fixture_becomes(&f, one_interrupt_was_relayed));
	assert_int_equal(test_vm_interrupts(&f.vm, 0), 1);
	fixture_close(&f);
}

/* A kick descriptor that is always readable must not have us spin, nor stop the port. */
static void
a_kick_that_is_no_eventfd(void **state)
{
	struct rp_port_config config = fixture_config();
	struct fixture f;
	struct rp_wire_why why;
	struct rp_vring_layout layout;
	struct rp_vhu_frontend_ring ring;
	uint64_t uva;
	int pipe_fds[2];

	(void)state;
	config.doorbell = RP_PORT_DOORBELL_RELAY;
	fixture_begin(&f);
	fixture_open_with(&f, &config, NULL);
	uva = (uint64_t)(uintptr_t)f.vm.memory - TEST_VM_GPA;
	rp_vring_drv_layout(f.vm.queues[1].ring, &layout);
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(write(pipe_fds[1], "abc", 3), 3);
	ring = (struct rp_vhu_frontend_ring){
		.num = layout.num,
		.desc_uva = layout.desc_iova + uva,
		.avail_uva = layout.avail_iova + uva,
		.used_uva = layout.used_iova + uva,
		.kick_fd = pipe_fds[0],
		.call_fd = f.vm.queues[1].call_fd,
	};
	rp_vhu_frontend_ring_start(f.vm.frontend, 1, &ring, &why);
	rp_vhu_frontend_ring_enable(f.vm.frontend, 1, true, &why);
	assert_true(test_port_wait_mode(&f.port, 1, RP_PORT_QUEUE_RELAYED, LIMIT_MS));
	while (test_port_events(&f.port, "relay-failed") == 0)
		usleep(1000);
	assert_int_equal(test_port_events(&f.port, "relay-failed"), 1);
	test_vm_queue_start(&f.vm, 0, 0);
	assert_true(fake_now().queues[0].running);
	rp_wire_fd_close_all(pipe_fds, 2);
	fixture_close(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kicks_reach_the_accelerator),
		cmocka_unit_test(a_kick_after_the_map_is_counted),
		cmocka_unit_test(kicks_while_disabled_are_not_lost),
		cmocka_unit_test(interrupts_can_be_relayed_and_are_counted),
		cmocka_unit_test(a_kick_that_is_no_eventfd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
