/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "rp_dma_node.h"
#include "test_parcel.h"
#include "traffic.h"

/* What a port says of the NUMA nodes that its guest's rings are on; those of a machine that need not have any. */

static struct traffic t;
static int said_node; /* atomic: of all memory */

static int placed_on; /* atomic: the last memory of the port's own */

int __wrap_rp_dma_node_of(const void *memory);
int __wrap_rp_dma_node_place(void *memory, size_t size_bytes, int node);

int
__wrap_rp_dma_node_of(const void *memory)
{
	(void)memory;
	return __atomic_load_n(&said_node, __ATOMIC_RELAXED);
}

int
__wrap_rp_dma_node_place(void *memory, size_t size_bytes, int node)
{
	assert_non_null(memory);
	assert_true(size_bytes > 0);
	__atomic_store_n(&placed_on, node, __ATOMIC_RELAXED);
	return -EIO;
}

static void
say(int node)
{
	__atomic_store_n(&said_node, node, __ATOMIC_RELAXED);
}

static void
expect_rings_on(int first, int second)
{
	pthread_mutex_lock(&t.f.port.lock);
	assert_int_equal(t.f.port.rings_on[0], first);
	assert_int_equal(t.f.port.rings_on[1], second);
	pthread_mutex_unlock(&t.f.port.lock);
}

static void
each_ring_is_told_once(void **state)
{
	const struct setting setting = {.format = formats[0]};

	(void)state;
	say(1);
	open_traffic(&t, &setting);
	expect_rings_on(0, 0);
	start_pair(&t);
	expect_rings_on(0, 2);
	assert_int_equal(test_port_queue(&t.f.port, RX).node, 1);
	/* Its driver makes one anew, elsewhere. */
	test_vm_queue_stop(&t.f.vm, TX);
	expect_rings_on(0, 1);
	assert_int_equal(test_port_queue(&t.f.port, TX).node, RP_DMA_NODE_ANY);
	say(0);
	test_vm_queue_start(&t.f.vm, TX, 0);
	assert_int_equal(test_port_queue(&t.f.port, TX).node, 0);
	expect_rings_on(1, 1);
	close_traffic(&t);
	assert_int_equal(t.f.port.rings_on[0], 0);
	assert_int_equal(t.f.port.rings_on[1], 0);
}

/* And where the kernel will not, they work all the same. */
static void
private_rings_lie_beside_them(void **state)
{
	const struct setting setting = {.format = formats[0], .ring = RP_PORT_RING_SHADOW};
	int node;

	(void)state;
	for (node = RP_DMA_NODE_ANY; node < 2; node++) {
		__atomic_store_n(&placed_on, 4711, __ATOMIC_RELAXED);
		say(node);
		open_traffic(&t, &setting);
		start_pair(&t);
		assert_int_equal(__atomic_load_n(&placed_on, __ATOMIC_RELAXED), node);
		send_frames(&t, 1);
		all_arrive_once(&t);
		close_traffic(&t);
	}
}

static void
nobody_knows(void **state)
{
	const struct setting setting = {.format = formats[0]};

	(void)state;
	say(RP_DMA_NODE_ANY);
	open_traffic(&t, &setting);
	start_pair(&t);
	assert_int_equal(test_port_queue(&t.f.port, RX).node, RP_DMA_NODE_ANY);
	expect_rings_on(0, 0);
	close_traffic(&t);
}

static void
a_successor_tells_it_again(void **state)
{
	const struct setting setting = {.format = formats[0]};
	struct rp_port_config config = traffic_config(&setting);
	struct rp_wire_parcel *parcel;

	(void)state;
	say(1);
	open_traffic(&t, &setting);
	start_pair(&t);
	assert_true(fixture_becomes(&t.f, is_direct));
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	assert_int_equal(test_port_give(&t.f.port, parcel, NULL), 0);
	memset(t.f.port.rings_on, 0, sizeof(t.f.port.rings_on));
	assert_int_equal(test_port_adopt(&t.f.port, &config, &fake_accel_registry, parcel, NULL), 0);
	rp_wire_parcel_destroy(parcel);
	expect_rings_on(0, 2);
	assert_int_equal(test_port_queue(&t.f.port, TX).node, 1);
	close_traffic(&t);
	assert_int_equal(t.f.port.rings_on[1], 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_ring_is_told_once),
		cmocka_unit_test(private_rings_lie_beside_them),
		cmocka_unit_test(nobody_knows),
		cmocka_unit_test(a_successor_tells_it_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
