/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "rp_wire_clock.h"
#include "traffic.h"

/*
 * Guests whose rings are reached by messages and hold what no driver writes: the ring
 * breaks, nobody else does, and after a reset all is well.
 */

#define HOSTILE 1u
#define NOWHERE 0x123456789000ull
#define PACKED_AVAILABLE 0x80u

static struct traffic traffic;

static int
setup(void **state)
{
	traffic_create(&traffic, RIG_FEATURES_DEFAULT | *(const uint64_t *)*state, SOFTACCEL_DMA_AUTO);
	traffic.guests[0].rig.reach = RIG_REACH_NONE;
	traffic.guests[1].rig.reach = RIG_REACH_NONE;
	traffic_start(&traffic);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	traffic_destroy(&traffic);
	return 0;
}

static struct rp_vring_layout
layout_of(unsigned int queue)
{
	struct rp_vring_layout layout;

	rp_vring_drv_layout(traffic.guests[HOSTILE].rig.queues[queue].ring, &layout);
	return layout;
}

static void *
memory_at(uint64_t iova)
{
	return traffic.guests[HOSTILE].rig.memory + (iova - RIG_MEMORY_IOVA);
}

/* A descriptor of either format: address, length, and two halves that differ. */
static void
put_descriptor(unsigned int queue, unsigned int index, uint64_t addr, uint32_t len, uint16_t third, uint16_t fourth)
{
	uint8_t *desc = (uint8_t *)memory_at(layout_of(queue).desc_iova) + 16 * (size_t)index;

	addr = htole64(addr);
	len = htole32(len);
	third = htole16(third);
	fourth = htole16(fourth);
	memcpy(desc, &addr, 8);
	memcpy(desc + 8, &len, 4);
	memcpy(desc + 12, &third, 2);
	memcpy(desc + 14, &fourth, 2);
}

static bool
is_packed(void)
{
	return (traffic.features & RIG_PACKED) != 0;
}

/* The first chain of a fresh transmit ring. */
static void
offer(uint64_t addr, uint32_t len, uint16_t flags)
{
	uint16_t *avail = memory_at(layout_of(TRAFFIC_TX).avail_iova);

	if (is_packed()) {
		put_descriptor(TRAFFIC_TX, 0, addr, len, 0, flags | PACKED_AVAILABLE);
		return;
	}
	put_descriptor(TRAFFIC_TX, 0, addr, len, flags, 0);
	avail[2] = 0;
	__atomic_store_n(&avail[1], htole16(1), __ATOMIC_RELEASE);
}

static void
serve_both(void)
{
	rig_guest_serve(&traffic.guests[0].rig);
	rig_guest_serve(&traffic.guests[1].rig);
}

static void
await_broken(unsigned int queue)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + TRAFFIC_LIMIT_MS;

	while (softaccel_queue_state(traffic.rig.functions[HOSTILE], queue) != SOFTACCEL_QUEUE_BROKEN) {
		assert_true(rp_wire_clock_ms() < deadline_ms);
		serve_both();
	}
}

/* The other guest has noticed nothing, and the hostile one may start over. */
static void
recover(void)
{
	struct rp_accel_vendor_queue image;
	unsigned int queue;

	for (queue = 0; queue < 2; queue++)
		assert_int_equal(softaccel_queue_state(traffic.rig.functions[0], queue), SOFTACCEL_QUEUE_RUNNING);
	rig_vendor_read(&traffic.guests[HOSTILE].rig, TRAFFIC_TX, &image);
	assert_true(le64toh(image.errors) > 0);
	traffic_guest_start(&traffic, HOSTILE);
	traffic_forget(&traffic);
	traffic_run(&traffic, 20);
}

static void
breaks(void)
{
	rig_ring(&traffic.guests[HOSTILE].rig, TRAFFIC_TX);
	await_broken(TRAFFIC_TX);
	recover();
}

static void
payload_nowhere(void **state)
{
	(void)state;
	offer(NOWHERE, 100, 0);
	breaks();
}

static void
payload_across_the_end(void **state)
{
	(void)state;
	offer(RIG_MEMORY_IOVA + RIG_MEMORY_BYTES - 50, 100, 0);
	breaks();
}

static void
table_nowhere(void **state)
{
	(void)state;
	offer(NOWHERE, 32, VRING_DESC_F_INDIRECT);
	breaks();
}

static void
table_of_an_odd_size(void **state)
{
	(void)state;
	offer(RIG_MEMORY_IOVA, 33, VRING_DESC_F_INDIRECT);
	breaks();
}

static void
table_of_nothing(void **state)
{
	(void)state;
	memset(traffic.guests[HOSTILE].rig.memory + RIG_MEMORY_BYTES - 4096, 0, 64);
	offer(RIG_MEMORY_IOVA + RIG_MEMORY_BYTES - 4096, 64, VRING_DESC_F_INDIRECT);
	breaks();
}

static void
empty_descriptor(void **state)
{
	(void)state;
	offer(RIG_MEMORY_IOVA, 0, 0);
	breaks();
}

static void
endless_chain(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; is_packed() && i < RIG_QUEUE_SIZE; i++)
		put_descriptor(TRAFFIC_TX, i, RIG_MEMORY_IOVA, 1, 0, VRING_DESC_F_NEXT | PACKED_AVAILABLE);
	offer(RIG_MEMORY_IOVA, 1, VRING_DESC_F_NEXT);
	breaks();
}

static void
index_beyond_the_ring(void **state)
{
	uint16_t *avail = memory_at(layout_of(TRAFFIC_TX).avail_iova);

	(void)state;
	__atomic_store_n(&avail[1], htole16(RIG_QUEUE_SIZE + 1), __ATOMIC_RELEASE);
	breaks();
}

static void
buffer_id_beyond_the_ring(void **state)
{
	(void)state;
	put_descriptor(TRAFFIC_TX, 0, RIG_MEMORY_IOVA, 100, RIG_QUEUE_SIZE, PACKED_AVAILABLE);
	breaks();
}

/* What the device writes goes nowhere: found out when there is something to write. */
static void
receive_buffers_nowhere(void **state)
{
	struct rig_guest *hostile = &traffic.guests[HOSTILE].rig;
	unsigned int i;

	(void)state;
	/* Before they are taken: the queue starts over, and is kicked when they are wrong. */
	rig_common_write(hostile, VIRTIO_PCI_COMMON_STATUS, 1, 0);
	rig_guest_negotiate(hostile, traffic.features);
	for (i = 0; i < 2; i++) {
		rp_vring_drv_destroy(hostile->queues[i].ring);
		hostile->queues[i].posted_count = 0;
		rig_guest_queue(hostile, i);
	}
	rig_guest_driver_ok(hostile);
	rig_post(hostile, TRAFFIC_RX, RIG_QUEUE_SIZE / 2, RIG_BUFFER_BYTES);
	for (i = 0; i < RIG_QUEUE_SIZE / 2; i++) {
		uint64_t addr = htole64(NOWHERE);

		memcpy((uint8_t *)memory_at(layout_of(TRAFFIC_RX).desc_iova) + 16 * (size_t)i, &addr, sizeof(addr));
	}
	rig_ring(hostile, TRAFFIC_RX);
	traffic_forget(&traffic);
	while (softaccel_queue_state(traffic.rig.functions[HOSTILE], TRAFFIC_RX) != SOFTACCEL_QUEUE_BROKEN) {
		traffic_turn_or_wait(&traffic, true);
		/* Until buffers were taken frames are dropped, so more are sent. */
		traffic_forget(&traffic);
	}
	traffic_guest_start(&traffic, HOSTILE);
	traffic_forget(&traffic);
	traffic_run(&traffic, 20);
}

/* The memory goes under rings that run; a client may do that at any time. */
static void
memory_that_goes(void **state)
{
	struct rig_guest *hostile = &traffic.guests[HOSTILE].rig;
	unsigned int i;

	(void)state;
	traffic_run(&traffic, 10);
	for (i = 0; i < 10; i++)
		traffic_turn(&traffic, true);
	assert_int_equal(rp_vfu_client_dma_unmap(hostile->client, RIG_MEMORY_IOVA, RIG_MEMORY_BYTES, NULL), 0);
	rig_ring(hostile, TRAFFIC_TX);
	await_broken(TRAFFIC_TX);
	/* A ring that goes on from where it broke may do again what it had not shown. */
	rig_common_write(hostile, VIRTIO_PCI_COMMON_STATUS, 1, 0);
	traffic_guest_leave(&traffic, HOSTILE);
	traffic_guest_return(&traffic, HOSTILE);
	recover();
}

/* Anything at all, again and again: whatever comes of it, comes to it alone. */
static void
noise(void **state)
{
	struct rig_guest *hostile = &traffic.guests[HOSTILE].rig;
	struct pollfd wanted = {.fd = rp_vfu_client_fd(hostile->client), .events = POLLIN};
	unsigned int seed = 1, round, i;

	(void)state;
	for (round = 0; round < 40; round++) {
		for (i = 0; i < 30; i++) {
			unsigned int queue = (unsigned int)rand_r(&seed) % 2;
			uint8_t *ring = memory_at(layout_of(queue).desc_iova);
			size_t at = (unsigned int)rand_r(&seed) % (RIG_QUEUE_SIZE * 16 + 256);

			ring[at] = (uint8_t)rand_r(&seed);
			/* Something that is looked at: a descriptor near the begin, and the sign that it is there. */
			ring[(unsigned int)rand_r(&seed) % 64] = (uint8_t)rand_r(&seed);
			if (is_packed())
				ring[16 * (i / 2 % 8) + 14] |= PACKED_AVAILABLE;
			else
				((uint8_t *)memory_at(layout_of(queue).avail_iova))[2] = (uint8_t)i;
			rig_ring(hostile, queue);
			poll(&wanted, 1, 1);
			serve_both();
		}
		traffic_guest_start(&traffic, HOSTILE);
	}
	traffic_forget(&traffic);
	recover();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TESTS(payload_nowhere),
		RIG_TESTS(payload_across_the_end),
		RIG_TESTS(table_nowhere),
		RIG_TESTS(table_of_an_odd_size),
		RIG_TESTS(table_of_nothing),
		RIG_TESTS(empty_descriptor),
		RIG_TESTS(endless_chain),
		RIG_TEST(index_beyond_the_ring, split),
		RIG_TEST(index_beyond_the_ring, split_in_order),
		RIG_TEST(buffer_id_beyond_the_ring, packed),
		RIG_TEST(buffer_id_beyond_the_ring, packed_in_order),
		RIG_TESTS(receive_buffers_nowhere),
		RIG_TESTS(memory_that_goes),
		RIG_TESTS(noise),
	};

	if (getenv("RIG_ONLY") != NULL)
		cmocka_set_test_filter(getenv("RIG_ONLY"));
	rig_eal_init();
	return cmocka_run_group_tests_name("messages_hostile", tests, NULL, NULL);
}
