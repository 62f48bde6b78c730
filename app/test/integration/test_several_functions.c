/* SPDX-License-Identifier: BSD-3-Clause */

/* Each queue pair of a guest on a function of its own; the functions are one switch port. */

#include <unistd.h>

#include "stack.h"

#define FLOWS 16u
#define ROUNDS 20u

static const struct stack_function functions[] = {
	{.queue_pairs = 1, .mac_last = 1, .group = "guest-a"},
	{.queue_pairs = 1, .mac_last = 1, .group = "guest-a"},
	{.queue_pairs = 1, .mac_last = 2},
};

struct scene {
	struct stack_accel accel;
	struct test_port port_a, port_b;
	struct test_vm a, b;
};

static void
scene_open(struct scene *s, const struct test_vm_options *format)
{
	stack_accel_start(&s->accel, functions, 3);
	stack_port_open(&s->port_a, 0, 0, 2);
	stack_port_open(&s->port_b, 1, 2, 1);
	test_vm_open(&s->a, stack_port_socket(0), 4, 64, format);
	test_vm_open(&s->b, stack_port_socket(1), 2, 64, format);
	test_vm_start_all(&s->a);
	test_vm_start_all(&s->b);
	stack_wait_direct(&s->a, &s->port_a);
	stack_wait_direct(&s->b, &s->port_b);
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

struct arrival {
	struct test_vm *vm;
	unsigned int queue;
	struct stack_packet packet;
};

static bool
arrives(void *ctx)
{
	struct arrival *arrival = ctx;
	unsigned int i;

	for (i = 0; i < arrival->vm->queues_count; i += 2) {
		if (stack_receive(arrival->vm, i, &arrival->packet)) {
			arrival->queue = i;
			return true;
		}
	}
	return false;
}

static void
one_guest_on_two_functions(void **state)
{
	struct rp_port_queue_info first, second;
	struct scene s;

	scene_open(&s, *state);
	first = test_port_queue(&s.port_a, 1);
	second = test_port_queue(&s.port_a, 3);
	assert_int_equal(first.accelerator, 0);
	assert_int_equal(second.accelerator, 1);
	/* The guest's queue 3 is queue 1 of its function: decoded by address, not by the 3 that it stores. */
	assert_int_equal(second.accelerator_queue, 1);
	assert_int_equal(second.mode, RP_PORT_QUEUE_DIRECT);
	scene_close(&s);
}

/* One flow, its packets sent through both functions in turn. */
static void
one_flow_across_both(void **state)
{
	uint32_t i;
	struct scene s;

	scene_open(&s, *state);
	for (i = 0; i < 100; i++) {
		struct arrival at_b = {.vm = &s.b};

		assert_true(stack_send(&s.a, i % 2 == 0 ? 1 : 3, 2, 1, 5, i));
		assert_true(test_wait(arrives, &at_b, STACK_LIMIT_MS));
		assert_int_equal(at_b.packet.sequence, i);
	}
	assert_int_equal(test_port_queue(&s.port_a, 1).counters.packets, 50);
	assert_int_equal(test_port_queue(&s.port_a, 3).counters.packets, 50);
	assert_true(test_port_queue(&s.port_a, 1).counters.direct_kicks > 0);
	assert_true(test_port_queue(&s.port_a, 3).counters.direct_kicks > 0);
	scene_close(&s);
}

/* To the guest: flows spread over both functions, and a flow stays where it is. */
static void
flows_keep_their_queue(void **state)
{
	unsigned int queue_of[FLOWS], used[2] = {0, 0};
	struct arrival at_b, at_a;
	uint32_t round, flow;
	struct scene s;

	scene_open(&s, *state);
	at_b.vm = &s.b;
	at_a.vm = &s.a;
	assert_true(stack_send(&s.a, 1, 2, 1, 0, 0)); /* the switch learns where A is */
	assert_true(test_wait(arrives, &at_b, STACK_LIMIT_MS));
	for (round = 0; round < ROUNDS; round++) {
		for (flow = 0; flow < FLOWS; flow++) {
			assert_true(stack_send(&s.b, 1, 1, 2, flow, round));
			assert_true(test_wait(arrives, &at_a, STACK_LIMIT_MS));
			assert_int_equal(at_a.packet.stream, flow);
			assert_int_equal(at_a.packet.sequence, round);
			if (round == 0)
				queue_of[flow] = at_a.queue;
			assert_int_equal(at_a.queue, queue_of[flow]);
			used[at_a.queue / 2]++;
		}
	}
	assert_true(used[0] > 0 && used[1] > 0);
	/* No copy of anything was left behind on the other function. */
	usleep(20000);
	assert_false(arrives(&at_a));
	scene_close(&s);
}

/* A queue may move to any function of its port: what one of them lacks no guest is offered. */
static void
one_function_without_packed_rings(void **state)
{
	static const struct stack_function two[] = {
		{.queue_pairs = 1, .mac_last = 1, .group = "guest-a"},
		{.queue_pairs = 1, .mac_last = 1, .group = "guest-a", .packed_off = true},
	};
	struct stack_accel accel;
	struct test_port port;
	struct test_vm vm;
	uint64_t offered;

	(void)state;
	stack_accel_start(&accel, two, 2);
	stack_port_open(&port, 0, 0, 2);
	test_vm_open(&vm, stack_port_socket(0), 4, 64, &stack_split_in_order);
	offered = rp_vhu_frontend_features_offered(vm.frontend);
	assert_int_equal(offered & TEST_VM_RING_FEATURES, TEST_VM_IN_ORDER);
	test_vm_start_all(&vm);
	stack_wait_direct(&vm, &port);
	test_vm_close(&vm);
	test_port_close(&port);
	stack_accel_stop(&accel);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STACK_TESTS(one_guest_on_two_functions),
		STACK_TESTS(one_flow_across_both),
		STACK_TESTS(flows_keep_their_queue),
		cmocka_unit_test(one_function_without_packed_rings),
	};

	return cmocka_run_group_tests(tests, stack_setup, stack_teardown);
}
