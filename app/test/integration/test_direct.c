/* SPDX-License-Identifier: BSD-3-Clause */

/* The guest's store is what the device sees, the device's write is what the guest sees. */

#include "stack.h"

static const struct stack_function two[] = {
	{.queue_pairs = 1, .mac_last = 1},
	{.queue_pairs = 1, .mac_last = 2},
};

struct pair {
	struct stack_accel accel;
	struct test_port port_a, port_b;
	struct test_vm a, b;
};

static void
pair_open(struct pair *p, const struct stack_function *functions, const struct test_vm_options *format)
{
	stack_accel_start(&p->accel, functions, 2);
	stack_port_open(&p->port_a, 0, 0, 1);
	stack_port_open(&p->port_b, 1, 1, 1);
	test_vm_open(&p->a, stack_port_socket(0), 2, 64, format);
	test_vm_open(&p->b, stack_port_socket(1), 2, 64, format);
	test_vm_start_all(&p->a);
	test_vm_start_all(&p->b);
}

static void
pair_close(struct pair *p)
{
	test_vm_close(&p->a);
	test_vm_close(&p->b);
	test_port_close(&p->port_a);
	test_port_close(&p->port_b);
	stack_accel_stop(&p->accel);
}

struct arrival {
	struct test_vm *vm;
	struct stack_packet packet;
};

static bool
arrives(void *ctx)
{
	struct arrival *arrival = ctx;

	return stack_receive(arrival->vm, 0, &arrival->packet);
}

static void
exchange(struct pair *p, uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		struct arrival at_b = {.vm = &p->b}, at_a = {.vm = &p->a};

		assert_true(stack_send(&p->a, 1, 2, 1, 0, i));
		assert_true(test_wait(arrives, &at_b, STACK_LIMIT_MS));
		assert_int_equal(at_b.packet.sequence, i);
		assert_true(stack_send(&p->b, 1, 1, 2, 0, i));
		assert_true(test_wait(arrives, &at_a, STACK_LIMIT_MS));
		assert_int_equal(at_a.packet.sequence, i);
	}
}

static void
two_guests_of_one_accelerator(void **state)
{
	struct rp_port_queue_info before, after;
	struct pair p;

	pair_open(&p, two, *state);
	stack_wait_direct(&p.a, &p.port_a);
	stack_wait_direct(&p.b, &p.port_b);
	before = test_port_queue(&p.port_a, 1);
	p.a.queues[1].doorbell_kicks = 0;
	test_vm_interrupts(&p.b, 0);
	exchange(&p, 50);
	after = test_port_queue(&p.port_a, 1);
	/* One packet at a time: each store was seen before the next was made, or needed none. */
	assert_int_equal(after.counters.direct_kicks - before.counters.direct_kicks, p.a.queues[1].doorbell_kicks);
	assert_true(p.a.queues[1].doorbell_kicks > 0);
	assert_int_equal(after.counters.eventfd_kicks, before.counters.eventfd_kicks);
	assert_int_equal(after.counters.packets - before.counters.packets, 50);
	assert_int_equal(after.relayed_kicks, before.relayed_kicks);
	assert_int_equal(p.a.queues[1].eventfd_kicks, 0);
	/* And the interrupt came from the device itself. */
	assert_true(test_vm_interrupts(&p.b, 0) > 0);
	assert_true(test_port_queue(&p.port_b, 0).counters.interrupts > 0);
	assert_int_equal(test_port_queue(&p.port_b, 0).relayed_interrupts, 0);
	pair_close(&p);
}

/* The device looks at a ring after its doorbell only: a lost kick is a stall, not luck. */
static void
no_kick_no_packet(void **state)
{
	struct stack_packet packet;
	struct arrival at_b;
	struct pair p;

	pair_open(&p, two, *state);
	stack_wait_direct(&p.a, &p.port_a);
	exchange(&p, 1);
	at_b.vm = &p.b;
	stack_packet_make(&packet, 2, 1, 0, 77);
	assert_true(test_vm_send_silently(&p.a, 1, &packet, sizeof(packet)));
	assert_false(test_wait(arrives, &at_b, 100));
	test_vm_kick(&p.a, 1);
	assert_true(test_wait(arrives, &at_b, STACK_LIMIT_MS));
	assert_int_equal(at_b.packet.sequence, 77);
	pair_close(&p);
}

#define MANY_PAIRS 16
#define USED_QUEUES 8u

/* Its guest has the same page for each four of its queues, and each kick is seen for the queue that it is of. */
static void
queues_of_one_doorbell(void **state)
{
	const struct stack_function functions[] = {
		{.queue_pairs = MANY_PAIRS, .mac_last = 1},
		{.queue_pairs = 1, .mac_last = 2},
	};
	struct arrival at_b;
	struct pair p;
	uint32_t i;

	stack_accel_start(&p.accel, functions, 2);
	stack_port_open(&p.port_a, 0, 0, 1);
	stack_port_open(&p.port_b, 1, 1, 1);
	test_vm_open(&p.a, stack_port_socket(0), USED_QUEUES, 64, *state);
	test_vm_open(&p.b, stack_port_socket(1), 2, 64, *state);
	test_vm_start_all(&p.a);
	test_vm_start_all(&p.b);
	stack_wait_direct(&p.a, &p.port_a);
	stack_wait_direct(&p.b, &p.port_b);
	at_b.vm = &p.b;
	for (i = 0; i < 10 * USED_QUEUES; i++) {
		assert_true(stack_send(&p.a, i % (USED_QUEUES / 2) * 2 + 1, 2, 1, 0, i));
		assert_true(test_wait(arrives, &at_b, STACK_LIMIT_MS));
		assert_int_equal(at_b.packet.sequence, i);
	}
	for (i = 1; i < USED_QUEUES; i += 2) {
		assert_true(test_port_queue(&p.port_a, i).counters.direct_kicks > 0);
		assert_int_equal(p.a.queues[i].eventfd_kicks, 0);
	}
	pair_close(&p);
}

static void
relayed_with(enum softaccel_doorbell doorbell, const char *words, const struct test_vm_options *format)
{
	const struct stack_function functions[] = {
		{.queue_pairs = 1, .mac_last = 1, .doorbell = doorbell},
		{.queue_pairs = 1, .mac_last = 2},
	};
	struct rp_port_queue_info info;
	struct pair p;

	pair_open(&p, functions, format);
	assert_false(test_vm_wait_doorbell(&p.a, 1, true, 100));
	info = test_port_queue(&p.port_a, 1);
	assert_int_equal(info.mode, RP_PORT_QUEUE_RELAYED);
	if (strstr(info.reason, words) == NULL)
		fail_msg("reason is '%s', expected '%s' in it", info.reason, words);
	exchange(&p, 20);
	info = test_port_queue(&p.port_a, 1);
	assert_true(info.relayed_kicks > 0);
	assert_true(info.counters.eventfd_kicks > 0);
	assert_int_equal(info.counters.direct_kicks, 0);
	assert_int_equal(info.relayed_interrupts, 0);
	pair_close(&p);
}

static void
doorbells_that_share_a_page(void **state)
{
	relayed_with(SOFTACCEL_DOORBELL_SHARED, "shared", *state);
}

static void
doorbells_that_cannot_be_mapped(void **state)
{
	relayed_with(SOFTACCEL_DOORBELL_NONE, "mmap", *state);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STACK_TESTS(two_guests_of_one_accelerator),   STACK_TESTS(no_kick_no_packet),
		STACK_TESTS(queues_of_one_doorbell),	      STACK_TESTS(doorbells_that_share_a_page),
		STACK_TESTS(doorbells_that_cannot_be_mapped),
	};

	return cmocka_run_group_tests(tests, stack_setup, stack_teardown);
}
