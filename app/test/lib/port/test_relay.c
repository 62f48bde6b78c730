/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "fixture.h"
#include "rp_wire_caller.h"
#include "rp_wire_fd.h"

/* Who waits is ended. */
#define PATIENCE_S 20u
#define FULL (UINT64_MAX - 1)

/* The linker's --wrap: a peer that empties its eventfd when it was found to hold something. */
static struct {
	_Atomic int fd; /* -1: none */
	_Atomic unsigned int count;
} emptied = {.fd = -1};

int __real_epoll_wait(int epoll_fd, struct epoll_event *events, int count, int timeout_ms);
int __wrap_epoll_wait(int epoll_fd, struct epoll_event *events, int count, int timeout_ms);

int
__wrap_epoll_wait(int epoll_fd, struct epoll_event *events, int count, int timeout_ms)
{
	int rc = __real_epoll_wait(epoll_fd, events, count, timeout_ms);

	if (rc > 0 && emptied.fd >= 0 && rp_wire_caller_drain(emptied.fd, NULL) > 0)
		emptied.count++;
	return rc;
}

static int
teardown(void **state)
{
	(void)state;
	emptied.fd = -1;
	emptied.count = 0;
	alarm(0);
	return 0;
}

static bool
it_was_emptied(struct fixture *f)
{
	(void)f;
	return emptied.count > 0;
}

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

static void
start_with(struct fixture *f, unsigned int queue, int kick_fd, int call_fd)
{
	uint64_t uva = (uint64_t)(uintptr_t)f->vm.memory - TEST_VM_GPA;
	struct rp_vhu_frontend_ring ring = {.kick_fd = kick_fd, .call_fd = call_fd};
	struct rp_vring_layout layout;
	struct rp_wire_why why;

	rp_vring_drv_layout(f->vm.queues[queue].ring, &layout);
	ring.num = layout.num;
	ring.desc_uva = layout.desc_iova + uva;
	ring.avail_uva = layout.avail_iova + uva;
	ring.used_uva = layout.used_iova + uva;
	rp_vhu_frontend_ring_start(f->vm.frontend, queue, &ring, &why);
	rp_vhu_frontend_ring_enable(f->vm.frontend, queue, true, &why);
	assert_true(test_port_wait_mode(&f->port, queue, RP_PORT_QUEUE_RELAYED, LIMIT_MS));
}

/* A kick descriptor that is always readable must not have us spin, nor stop the port. */
static void
a_kick_that_is_no_eventfd(void **state)
{
	struct rp_port_config config = fixture_config();
	struct fixture f;
	int pipe_fds[2];

	(void)state;
	config.doorbell = RP_PORT_DOORBELL_RELAY;
	fixture_begin(&f);
	fixture_open_with(&f, &config, NULL);
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(write(pipe_fds[1], "abc", 3), 3);
	start_with(&f, 1, pipe_fds[0], f.vm.queues[1].call_fd);
	while (test_port_events(&f.port, "relay-failed") == 0)
		usleep(1000);
	assert_int_equal(test_port_events(&f.port, "relay-failed"), 1);
	test_vm_queue_start(&f.vm, 0, 0);
	assert_true(fake_now().queues[0].running);
	rp_wire_fd_close_all(pipe_fds, 2);
	fixture_close(&f);
}

static bool
two_interrupts_were_relayed(struct fixture *f)
{
	return test_port_queue(&f->port, 1).relayed_interrupts == 2;
}

static void
two_interrupts(struct fixture *f)
{
	assert_int_equal(eventfd_write(fake_now().queues[1].call_fd, 1), 0);
	while (test_port_queue(&f->port, 1).relayed_interrupts == 0)
		usleep(1000);
	assert_int_equal(eventfd_write(fake_now().queues[1].call_fd, 1), 0);
	assert_true(fixture_becomes(f, two_interrupts_were_relayed));
}

/* A pipe would take the bytes, and have us wait when it is full; it is named, once. */
static void
a_call_that_is_no_eventfd(void **state)
{
	struct rp_port_config config = fixture_config();
	struct fixture f;
	int pipe_fds[2];
	char byte;

	(void)state;
	alarm(PATIENCE_S);
	config.doorbell = RP_PORT_DOORBELL_RELAY;
	config.relay_interrupts = true;
	fixture_begin(&f);
	fixture_open_with(&f, &config, NULL);
	assert_int_equal(pipe(pipe_fds), 0);
	start_with(&f, 1, f.vm.queues[1].kick_fd, pipe_fds[1]);
	two_interrupts(&f);
	assert_int_equal(test_port_events(&f.port, "interrupt-failed"), 1);
	assert_true(test_port_warned(&f.port, "the call descriptor is no eventfd"));
	assert_int_equal(fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(read(pipe_fds[0], &byte, 1), -1);
	/* Another one is another. */
	test_vm_queue_stop(&f.vm, 1);
	test_vm_queue_start(&f.vm, 1, 0);
	test_vm_interrupts(&f.vm, 1);
	assert_int_equal(eventfd_write(fake_now().queues[1].call_fd, 1), 0);
	while (test_vm_interrupts(&f.vm, 1) == 0)
		usleep(1000);
	rp_wire_fd_close_all(pipe_fds, 2);
	fixture_close(&f);
}

/* A VMM may fill what interrupts it, and have writing to it wait. */
static void
a_full_call_is_not_waited_for(void **state)
{
	struct rp_port_config config = fixture_config();
	struct fixture f;

	(void)state;
	alarm(PATIENCE_S);
	config.relay_interrupts = true;
	fixture_begin(&f);
	fixture_open_with(&f, &config, NULL);
	test_vm_queue_start(&f.vm, 1, 0);
	test_vm_interrupts(&f.vm, 1);
	assert_int_equal(eventfd_write(f.vm.queues[1].call_fd, FULL), 0);
	assert_int_equal(fcntl(f.vm.queues[1].call_fd, F_SETFL, 0), 0);
	two_interrupts(&f);
	assert_int_equal(test_port_events(&f.port, "interrupt-failed"), 0);
	assert_true(test_vm_interrupts(&f.vm, 1) >= FULL);
	assert_int_equal(fcntl(f.vm.queues[1].call_fd, F_SETFL, O_NONBLOCK), 0);
	fixture_close(&f);
}

/* Nor for a kick that was taken back. */
static void
an_emptied_kick_is_not_waited_for(void **state)
{
	struct rp_port_config config = fixture_config();
	struct fixture f;

	(void)state;
	alarm(PATIENCE_S);
	config.doorbell = RP_PORT_DOORBELL_RELAY;
	fixture_begin(&f);
	fixture_open_with(&f, &config, NULL);
	test_vm_queue_start(&f.vm, 1, 0);
	assert_int_equal(fcntl(f.vm.queues[1].kick_fd, F_SETFL, 0), 0);
	emptied.fd = f.vm.queues[1].kick_fd;
	test_vm_kick(&f.vm, 1);
	assert_true(fixture_becomes(&f, it_was_emptied));
	assert_int_equal(test_port_queue(&f.port, 1).relayed_kicks, 0);
	emptied.fd = -1;
	test_vm_kick(&f.vm, 1);
	assert_true(fixture_becomes(&f, one_kick_was_relayed));
	fixture_close(&f);
}

/* A device holds what it interrupts us with. */
static void
an_emptied_interrupt_is_not_waited_for(void **state)
{
	struct rp_port_config config = fixture_config();
	struct fixture f;
	int fd;

	(void)state;
	alarm(PATIENCE_S);
	config.relay_interrupts = true;
	fixture_begin(&f);
	fixture_open_with(&f, &config, NULL);
	test_vm_queue_start(&f.vm, 0, 0);
	fd = fake_now().queues[0].call_fd;
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
	emptied.fd = fd;
	assert_int_equal(eventfd_write(fd, 1), 0);
	assert_true(fixture_becomes(&f, it_was_emptied));
	assert_int_equal(test_port_queue(&f.port, 0).relayed_interrupts, 0);
	emptied.fd = -1;
	assert_int_equal(eventfd_write(fd, 1), 0);
	assert_true(fixture_becomes(&f, one_interrupt_was_relayed));
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
		cmocka_unit_test_teardown(a_full_call_is_not_waited_for, teardown),
		cmocka_unit_test_teardown(a_call_that_is_no_eventfd, teardown),
		cmocka_unit_test_teardown(an_emptied_kick_is_not_waited_for, teardown),
		cmocka_unit_test_teardown(an_emptied_interrupt_is_not_waited_for, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
