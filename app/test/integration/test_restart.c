/* SPDX-License-Identifier: BSD-3-Clause */

/* Each part goes away and comes back; traffic does too. */

#include <errno.h>
#include <unistd.h>

#include "stack.h"

static const struct stack_function functions[] = {
	{.queue_pairs = 1, .mac_last = 1},
	{.queue_pairs = 1, .mac_last = 2},
};

struct scene {
	struct stack_accel accel;
	struct test_port port_a, port_b;
	struct test_vm a, b;
	uint32_t sequence;
};

static void
scene_open(struct scene *s, const struct test_vm_options *format)
{
	s->sequence = 0;
	stack_accel_start(&s->accel, functions, 2);
	stack_port_open(&s->port_a, 0, 0, 1);
	stack_port_open(&s->port_b, 1, 1, 1);
	test_vm_open(&s->a, stack_port_socket(0), 2, 64, format);
	test_vm_open(&s->b, stack_port_socket(1), 2, 64, format);
	test_vm_start_all(&s->a);
	test_vm_start_all(&s->b);
}

static void
scene_close(struct scene *s)
{
	test_vm_close(&s->a);
	test_vm_close(&s->b);
	test_port_close(&s->port_a);
	test_port_close(&s->port_b);
	stack_accel_stop(&s->accel);
}

static bool
arrives_at_b(void *ctx)
{
	struct scene *s = ctx;
	struct stack_packet packet;

	rp_vhu_frontend_process(s->a.frontend);
	rp_vhu_frontend_process(s->b.frontend);
	return stack_receive(&s->b, 0, &packet) && packet.sequence == s->sequence;
}

static void
traffic_flows(struct scene *s)
{
	int i;

	for (i = 0; i < 10; i++) {
		s->sequence++;
		assert_true(stack_send(&s->a, 1, 2, 1, 0, s->sequence));
		assert_true(test_wait(arrives_at_b, s, STACK_LIMIT_MS));
	}
}

/* Refused as long as its accelerator is not back. */
static bool
sender_is_enabled(void *ctx)
{
	struct scene *s = ctx;

	rp_vhu_frontend_process(s->a.frontend);
	return test_port_enable(&s->port_a, 1) == 0;
}

static void
accelerator_restarts(void **state)
{
	struct scene s;

	scene_open(&s, *state);
	stack_wait_direct(&s.a, &s.port_a);
	traffic_flows(&s);
	stack_accel_stop(&s.accel);
	assert_true(test_port_wait_mode(&s.port_a, 1, RP_PORT_QUEUE_STOPPED, STACK_LIMIT_MS));
	assert_true(test_port_wait_mode(&s.port_b, 0, RP_PORT_QUEUE_STOPPED, STACK_LIMIT_MS));
	/* Sent while nobody serves the ring: waits in it. Its receiver comes back first, or it would be dropped. */
	s.sequence++;
	assert_true(stack_send(&s.a, 1, 2, 1, 0, s.sequence));
	assert_int_equal(test_port_disable(&s.port_a, 1), 0);
	stack_accel_start(&s.accel, functions, 2);
	stack_wait_direct(&s.b, &s.port_b);
	assert_true(test_wait(sender_is_enabled, &s, STACK_LIMIT_MS));
	assert_true(test_wait(arrives_at_b, &s, STACK_LIMIT_MS));
	stack_wait_direct(&s.a, &s.port_a);
	traffic_flows(&s);
	scene_close(&s);
}

/* A guest whose driver starts anew: fresh rings. */
static void
guest_reboots(struct test_vm *vm, unsigned int port, const struct test_vm_options *format)
{
	test_vm_close(vm);
	test_vm_open(vm, stack_port_socket(port), 2, 64, format);
	test_vm_start_all(vm);
}

static void
assert_lost(struct test_port *port, unsigned int queue)
{
	struct rp_port_queue_info info = test_port_queue(port, queue);

	assert_int_equal(info.mode, RP_PORT_QUEUE_STOPPED);
	assert_string_equal(info.reason,
			    "where the packed ring stopped is not known: the guest's driver must start it anew");
	assert_int_equal(test_port_enable(port, queue), -ENOTSUP);
}

static bool
accelerators_are_back(void *ctx)
{
	struct scene *s = ctx;

	rp_vhu_frontend_process(s->a.frontend);
	rp_vhu_frontend_process(s->b.frontend);
	return test_port_events(&s->port_a, "accelerator-back") == 1 &&
	       test_port_events(&s->port_b, "accelerator-back") == 1;
}

/* Where a packed ring is, is nowhere in memory: it stays stopped, and says so. */
static void
packed_rings_wait_for_the_guest(void **state)
{
	struct scene s;
	uint32_t base;

	scene_open(&s, *state);
	stack_wait_direct(&s.a, &s.port_a);
	traffic_flows(&s);
	stack_accel_stop(&s.accel);
	assert_true(test_port_wait_mode(&s.port_a, 1, RP_PORT_QUEUE_STOPPED, STACK_LIMIT_MS));
	stack_accel_start(&s.accel, functions, 2);
	assert_true(test_wait(accelerators_are_back, &s, STACK_LIMIT_MS));
	assert_lost(&s.port_a, 1);
	assert_lost(&s.port_b, 0);
	/* A VMM that is stopped and continued learns no position from us, and none is made up from its answer. */
	base = test_vm_queue_stop(&s.a, 1);
	assert_int_not_equal(base, rp_vring_position_fresh(s.a.features));
	test_vm_queue_start(&s.a, 1, base);
	assert_lost(&s.port_a, 1);
	guest_reboots(&s.a, 0, *state);
	guest_reboots(&s.b, 1, *state);
	stack_wait_direct(&s.a, &s.port_a);
	stack_wait_direct(&s.b, &s.port_b);
	traffic_flows(&s);
	scene_close(&s);
}

/* The VMM keeps memory and rings, as QEMU does when its backend is restarted: it goes on from the used index. */
static uint16_t
used_index(struct test_vm *vm, unsigned int queue)
{
	struct rp_vring_layout layout;

	rp_vring_drv_layout(vm->queues[queue].ring, &layout);
	return *(volatile uint16_t *)(vm->memory + (layout.used_iova - TEST_VM_GPA) + 2);
}

static void
restart_port(const struct test_vm_options *format, uint16_t (*base_of)(struct test_vm *vm, unsigned int queue))
{
	struct scene s;
	unsigned int i;

	scene_open(&s, format);
	stack_wait_direct(&s.a, &s.port_a);
	traffic_flows(&s);
	test_vm_disconnect(&s.a);
	test_port_close(&s.port_a);
	stack_port_open(&s.port_a, 0, 0, 1);
	test_vm_connect(&s.a, stack_port_socket(0), NULL);
	for (i = 0; i < 2; i++)
		test_vm_queue_start(&s.a, i, base_of(&s.a, i));
	stack_wait_direct(&s.a, &s.port_a);
	traffic_flows(&s);
	scene_close(&s);
}

static void
port_restarts(void **state)
{
	restart_port(*state, used_index);
}

/* DPDK's virtio-user keeps memory and rings as well, and forgets how far they are. */
static uint16_t
forgotten(struct test_vm *vm, unsigned int queue)
{
	(void)vm, (void)queue;
	return 0;
}

static void
port_restarts_and_the_frontend_forgot(void **state)
{
	restart_port(*state, forgotten);
}

/* QEMU does not know it either, and starts such a ring as a fresh one: the ring itself shows that it is not. */
static void
nobody_guesses_where_a_packed_ring_is(void **state)
{
	struct scene s;
	unsigned int i;

	scene_open(&s, *state);
	stack_wait_direct(&s.a, &s.port_a);
	traffic_flows(&s);
	test_vm_disconnect(&s.a);
	test_port_close(&s.port_a);
	stack_port_open(&s.port_a, 0, 0, 1);
	test_vm_connect(&s.a, stack_port_socket(0), NULL);
	for (i = 0; i < 2; i++)
		test_vm_queue_start(&s.a, i, rp_vring_position_fresh(s.a.features));
	assert_lost(&s.port_a, 1);
	assert_int_equal(test_port_events(&s.port_a, "position-lost"), 1); /* the receive ring got no packet: fresh */
	guest_reboots(&s.a, 0, *state);
	stack_wait_direct(&s.a, &s.port_a);
	traffic_flows(&s);
	scene_close(&s);
}

static void
guest_restarts(void **state)
{
	struct scene s;

	scene_open(&s, *state);
	stack_wait_direct(&s.a, &s.port_a);
	traffic_flows(&s);
	guest_reboots(&s.a, 0, *state);
	stack_wait_direct(&s.a, &s.port_a);
	traffic_flows(&s);
	scene_close(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STACK_TEST(accelerator_restarts, split),
		STACK_TEST(accelerator_restarts, split_in_order),
		STACK_TEST(packed_rings_wait_for_the_guest, packed),
		STACK_TEST(packed_rings_wait_for_the_guest, packed_in_order),
		STACK_TEST(port_restarts, split),
		STACK_TEST(port_restarts, split_in_order),
		STACK_TEST(port_restarts_and_the_frontend_forgot, split),
		STACK_TEST(port_restarts_and_the_frontend_forgot, split_in_order),
		STACK_TEST(nobody_guesses_where_a_packed_ring_is, packed),
		STACK_TEST(nobody_guesses_where_a_packed_ring_is, packed_in_order),
		STACK_TESTS(guest_restarts),
	};

	return cmocka_run_group_tests(tests, stack_setup, stack_teardown);
}
