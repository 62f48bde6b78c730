/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The whole chain behind a guest's IOMMU: the frontend's IOTLB, a port, ringpass.iommu, and a
 * softaccel that translates and faults by itself. Rings are direct; what the device does
 * outside of a live mapping fails the test (test_viommu.h).
 */

#include "stack.h"

static const struct stack_function two[] = {
	{.queue_pairs = 1, .mac_last = 1, .iommu = true},
	{.queue_pairs = 1, .mac_last = 2, .iommu = true},
};

struct pair {
	struct stack_accel accel;
	struct test_port port_a, port_b;
	struct test_vm a, b;
};

static void
pair_open(struct pair *p, const struct test_vm_options *format, enum test_vm_viommu viommu)
{
	struct test_vm_options options = *format;

	options.viommu = viommu;
	stack_accel_start(&p->accel, two, 2);
	stack_port_open_translated(&p->port_a, 0, 0, 1);
	stack_port_open_translated(&p->port_b, 1, 1, 1);
	test_vm_open(&p->a, stack_port_socket(0), 2, 64, &options);
	test_vm_open(&p->b, stack_port_socket(1), 2, 64, &options);
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
	struct pair *pair;
	struct test_vm *vm;
	struct stack_packet packet;
};

/* Both frontends are asked for what their devices do not know. */
static bool
arrives(void *ctx)
{
	struct arrival *arrival = ctx;

	rp_vhu_frontend_process(arrival->pair->a.frontend);
	rp_vhu_frontend_process(arrival->pair->b.frontend);
	return stack_receive(arrival->vm, 0, &arrival->packet);
}

static void
one_way(struct pair *p, struct test_vm *from, struct test_vm *to, uint32_t number)
{
	uint8_t from_last = from == &p->a ? 1 : 2, to_last = to == &p->a ? 1 : 2;
	struct arrival arrival = {.pair = p, .vm = to};

	assert_true(stack_send(from, 1, to_last, from_last, 0, number));
	if (!test_wait(arrives, &arrival, STACK_LIMIT_MS))
		fail_msg("packet %u did not arrive: %s; %s", number, test_port_queue(&p->port_a, 1).reason,
			 test_port_queue(&p->port_b, 0).reason);
	assert_int_equal(arrival.packet.sequence, number);
}

static void
exchange(struct pair *p, uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		one_way(p, &p->a, &p->b, i);
		one_way(p, &p->b, &p->a, i);
	}
}

static bool
is_direct(void *ctx)
{
	struct pair *p = ctx;
	unsigned int i;

	rp_vhu_frontend_process(p->a.frontend);
	rp_vhu_frontend_process(p->b.frontend);
	for (i = 0; i < 2; i++)
		if (test_port_queue(&p->port_a, i).mode != RP_PORT_QUEUE_DIRECT ||
		    test_port_queue(&p->port_b, i).mode != RP_PORT_QUEUE_DIRECT)
			return false;
	return true;
}

static void
translated_and_direct(void **state)
{
	struct rp_port_iommu_info iommu;
	struct pair p;

	pair_open(&p, *state, TEST_VM_TRANSLATED);
	if (!test_wait(is_direct, &p, STACK_LIMIT_MS))
		fail_msg("not direct: %s", test_port_queue(&p.port_a, 0).reason);
	exchange(&p, 200);
	iommu = test_port_info(&p.port_a).iommu;
	/* Strict: each buffer is mapped, asked for, used, and taken back. */
	assert_true(iommu.device_translations >= 200 && iommu.device_invalidations >= 200);
	/* No page of the guest's was there before the device requested it. */
	assert_true(iommu.device_pages > 0 && iommu.device_pages <= iommu.device_page_requests);
	assert_int_equal(iommu.rings_stopped, 0);
	assert_true(test_port_queue(&p.port_a, 1).counters.direct_kicks > 0);
	pair_close(&p);
}

#define BURST 24u

/* As many as a ring has room for are under way at a time; each arrives once, in order. */
static void
burst(struct pair *p, struct test_vm *from, struct test_vm *to, uint32_t first)
{
	uint8_t from_last = from == &p->a ? 1 : 2, to_last = to == &p->a ? 1 : 2;
	struct arrival arrival = {.pair = p, .vm = to};
	uint32_t i;

	for (i = 0; i < BURST; i++)
		assert_true(stack_send(from, 1, to_last, from_last, 0, first + i));
	for (i = 0; i < BURST; i++) {
		if (!test_wait(arrives, &arrival, STACK_LIMIT_MS))
			fail_msg("packet %u did not arrive: %s; %s", first + i, test_port_queue(&p->port_a, 1).reason,
				 test_port_queue(&p->port_b, 0).reason);
		assert_int_equal(arrival.packet.sequence, first + i);
	}
}

static void
bursts(struct pair *p, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		burst(p, &p->a, &p->b, i * BURST);
		burst(p, &p->b, &p->a, i * BURST);
	}
}

/* Buffers are taken back while others are translated, requested and used. */
static void
bulk(void **state)
{
	struct pair p;

	pair_open(&p, *state, TEST_VM_TRANSLATED);
	assert_true(test_wait(is_direct, &p, STACK_LIMIT_MS));
	bursts(&p, 50);
	assert_int_equal(test_port_info(&p.port_a).iommu.rings_stopped, 0);
	assert_int_equal(test_port_info(&p.port_a).iommu.misses_refused, 0);
	pair_close(&p);
}

/* Each of its drivers has other pages, and nothing of the one before is remembered. */
static void
drivers_come_and_go(void **state)
{
	struct pair p;
	unsigned int i;

	pair_open(&p, *state, TEST_VM_TRANSLATED);
	for (i = 0; i < 5; i++) {
		assert_true(test_wait(is_direct, &p, STACK_LIMIT_MS));
		bursts(&p, 3);
		test_vm_reload(i % 2 == 0 ? &p.a : &p.b);
		test_vm_start_all(i % 2 == 0 ? &p.a : &p.b);
	}
	pair_close(&p);
}

static bool
is_shadow(void *ctx)
{
	struct pair *p = ctx;

	rp_vhu_frontend_process(p->a.frontend);
	return test_port_queue(&p->port_a, 0).mode == RP_PORT_QUEUE_SHADOW &&
	       test_port_queue(&p->port_a, 1).mode == RP_PORT_QUEUE_SHADOW;
}

static void
shadow_and_back(void **state)
{
	struct pair p;
	unsigned int i;

	pair_open(&p, *state, TEST_VM_TRANSLATED);
	for (i = 0; i < 5; i++) {
		assert_true(test_wait(is_direct, &p, STACK_LIMIT_MS));
		bursts(&p, 2);
		assert_int_equal(test_port_ring(&p.port_a, i % 2, RP_PORT_RING_SHADOW), 0);
		assert_true(test_wait(is_shadow, &p, STACK_LIMIT_MS));
		bursts(&p, 2);
		assert_int_equal(test_port_ring(&p.port_a, i % 2, RP_PORT_RING_AUTO), 0);
	}
	pair_close(&p);
}

/* The same port and device, and a guest that has none; and one whose IOMMU leaves everything where it is. */
static void
other_guests(void **state)
{
	struct rp_port_iommu_info iommu;
	struct pair p;

	pair_open(&p, *state, TEST_VM_NO_VIOMMU);
	assert_true(test_wait(is_direct, &p, STACK_LIMIT_MS));
	bursts(&p, 3);
	iommu = test_port_info(&p.port_a).iommu;
	assert_true(iommu.misses == 0 && iommu.device_pages > 0);
	pair_close(&p);
	pair_open(&p, *state, TEST_VM_IDENTITY);
	assert_true(test_wait(is_direct, &p, STACK_LIMIT_MS));
	bursts(&p, 3);
	assert_true(test_port_info(&p.port_a).iommu.misses > 0);
	pair_close(&p);
}

static bool
is_broken(void *ctx)
{
	struct pair *p = ctx;

	rp_vhu_frontend_process(p->a.frontend);
	return test_port_queue(&p->port_a, 1).counters.errors > 0;
}

/* A driver that names what is not mapped: its ring ends, nothing is touched, and the next driver's is served. */
static void
not_permitted(void **state)
{
	struct stack_packet packet;
	struct pair p;

	pair_open(&p, *state, TEST_VM_TRANSLATED);
	assert_true(test_wait(is_direct, &p, STACK_LIMIT_MS));
	bursts(&p, 1);
	p.a.viommu_denied = TEST_VIOMMU_READ;
	assert_true(stack_send(&p.a, 1, 2, 1, 0, 0));
	assert_true(test_wait(is_broken, &p, STACK_LIMIT_MS));
	assert_true(test_port_info(&p.port_a).iommu.misses_refused > 0);
	assert_false(stack_receive(&p.b, 0, &packet));
	p.a.viommu_denied = 0;
	test_vm_reload(&p.a);
	test_vm_start_all(&p.a);
	assert_true(test_wait(is_direct, &p, STACK_LIMIT_MS));
	bursts(&p, 2);
	pair_close(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STACK_TESTS(translated_and_direct), STACK_TESTS(bulk),	       STACK_TESTS(drivers_come_and_go),
		STACK_TESTS(shadow_and_back),	    STACK_TESTS(other_guests), STACK_TESTS(not_permitted),
	};

	return cmocka_run_group_tests(tests, stack_setup, stack_teardown);
}
