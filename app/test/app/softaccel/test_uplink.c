/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_eth_ring.h>
#include <rte_ring.h>

#include "rig.h"

/* The uplink is an ethdev made of two rings of DPDK, whose other ends the test holds. */

#define RX 0u
#define TX 1u

static struct {
	struct rig rig;
	struct rig_guest guest;
	struct rte_ring *to_switch;
	struct rte_ring *from_switch;
	struct rte_mempool *pool;
	uint16_t port;
} fixture;

static int
setup(void **state)
{
	static unsigned int lives_count;
	struct rp_wire_why why;
	char name[32];
	int port;

	(void)state;
	/* A closed ethdev keeps its name. */
	snprintf(name, sizeof(name), "uplink%u", lives_count++);
	memset(&fixture, 0, sizeof(fixture));
	fixture.to_switch = rte_ring_create("to", 256, SOCKET_ID_ANY, 0);
	fixture.from_switch = rte_ring_create("from", 256, SOCKET_ID_ANY, 0);
	/* As large a private area as the switch's own pool has: received packets are its to mark. */
	fixture.pool = rte_pktmbuf_pool_create("test", 255, 0, 64, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	port = rte_eth_from_rings(name, &fixture.to_switch, 1, &fixture.from_switch, 1, 0);
	assert_true(port >= 0);
	fixture.port = (uint16_t)port;
	rig_create(&fixture.rig);
	if (softaccel_uplink_attach(fixture.rig.accel, fixture.port, &why) < 0)
		fail_msg("%s", why.text);
	assert_int_equal(softaccel_uplink_attach(fixture.rig.accel, fixture.port, &why), -EBUSY);
	rig_function(&fixture.rig, (struct softaccel_function_config){.queue_pairs = 1});
	rig_run(&fixture.rig);
	rig_guest_start(&fixture.guest, &fixture.rig, 0, 2, RIG_FEATURES_DEFAULT | 1);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	rig_guest_fini(&fixture.guest);
	rig_destroy(&fixture.rig);
	rte_eth_dev_close(fixture.port);
	rte_mempool_free(fixture.pool);
	rte_ring_free(fixture.to_switch);
	rte_ring_free(fixture.from_switch);
	return 0;
}

static struct rte_mbuf *
take_from_switch(void)
{
	void *mbuf = NULL;
	unsigned int tries;

	for (tries = 0; tries < 20000 && rte_ring_dequeue(fixture.from_switch, &mbuf) != 0; tries++)
		usleep(100);
	assert_non_null(mbuf);
	return mbuf;
}

static void
out_and_in(void **state)
{
	uint8_t frame[RIG_FRAME_BYTES], packet[RIG_BUFFER_BYTES];
	struct softaccel_port_counters port;
	struct rte_mbuf *mbuf;

	(void)state;
	rig_frame(frame, RIG_BROADCAST, 0, 1, 1);
	assert_true(rig_send(&fixture.guest, TX, frame, sizeof(frame)));
	rig_ring(&fixture.guest, TX);
	mbuf = take_from_switch();
	assert_int_equal(rte_pktmbuf_pkt_len(mbuf), sizeof(frame));
	assert_memory_equal(rte_pktmbuf_mtod(mbuf, void *), frame, sizeof(frame));
	rte_pktmbuf_free(mbuf);

	mbuf = rte_pktmbuf_alloc(fixture.pool);
	rig_frame((uint8_t *)rte_pktmbuf_append(mbuf, RIG_FRAME_BYTES), 0, 5, 1, 2);
	assert_int_equal(rte_ring_enqueue(fixture.to_switch, mbuf), 0);
	assert_int_equal(rig_receive_wait(&fixture.guest, RX, packet, sizeof(packet)),
			 RIG_HEADER_BYTES + RIG_FRAME_BYTES);
	assert_int_equal(rig_frame_sequence(packet + RIG_HEADER_BYTES), 2);
	assert_int_equal(softaccel_uplink_port_counters(fixture.rig.accel, &port), 0);
	assert_int_equal(port.in_packets, 1);
	assert_int_equal(port.out_packets, 1);
}

/* A wire takes no half-done checksum. */
static void
checksum_is_completed(void **state)
{
	uint8_t sent[RIG_HEADER_BYTES + RIG_FRAME_BYTES] = {1, 0, 0, 0, 0, 0, 34, 0, 6, 0};
	struct rte_mbuf *mbuf;
	const uint8_t *frame;
	uint32_t sum = 0;
	unsigned int i;

	(void)state;
	rig_frame(sent + RIG_HEADER_BYTES, RIG_BROADCAST, 0, 1, 3);
	assert_true(rig_send_raw(&fixture.guest, TX, sent, sizeof(sent)));
	rig_ring(&fixture.guest, TX);
	mbuf = take_from_switch();
	frame = rte_pktmbuf_mtod(mbuf, const uint8_t *);
	for (i = 34; i < RIG_FRAME_BYTES; i += 2)
		sum += (uint32_t)frame[i] << 8 | frame[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	assert_int_equal(sum, 0xffff);
	rte_pktmbuf_free(mbuf);
}

static void
segments_are_dropped(void **state)
{
	struct softaccel_port_counters port;
	struct rte_mbuf *first, *second;
	unsigned int tries = 0;

	(void)state;
	first = rte_pktmbuf_alloc(fixture.pool);
	second = rte_pktmbuf_alloc(fixture.pool);
	rig_frame((uint8_t *)rte_pktmbuf_append(first, RIG_FRAME_BYTES), 0, 5, 1, 2);
	rte_pktmbuf_append(second, 10);
	assert_int_equal(rte_pktmbuf_chain(first, second), 0);
	assert_int_equal(rte_ring_enqueue(fixture.to_switch, first), 0);
	do {
		usleep(100);
		softaccel_uplink_port_counters(fixture.rig.accel, &port);
	} while (port.drops[SOFTACCEL_DROP_UPLINK_SEGMENTS] == 0 && ++tries < 20000);
	assert_int_equal(port.drops[SOFTACCEL_DROP_UPLINK_SEGMENTS], 1);
	assert_int_equal(rte_mempool_in_use_count(fixture.pool), 0);
}

/* A full uplink loses packets, counts them, and gives every buffer back. */
static void
full_uplink(void **state)
{
	struct softaccel_port_counters port;
	uint8_t frame[RIG_FRAME_BYTES];
	unsigned int i, tries = 0;
	void *mbuf;

	(void)state;
	/* More than there are buffers. */
	for (i = 0; i < 3000; i++) {
		rig_frame(frame, RIG_BROADCAST, 0, 1, i);
		while (rig_reap(&fixture.guest, TX), !rig_send(&fixture.guest, TX, frame, sizeof(frame)))
			usleep(100);
		rig_ring(&fixture.guest, TX);
	}
	do {
		usleep(100);
		softaccel_uplink_port_counters(fixture.rig.accel, &port);
	} while (port.out_packets + port.drops[SOFTACCEL_DROP_UPLINK_FULL] < 3000 && ++tries < 20000);
	assert_int_equal(port.out_packets, 255);
	assert_int_equal(port.drops[SOFTACCEL_DROP_UPLINK_FULL], 3000 - 255);
	while (rte_ring_dequeue(fixture.from_switch, &mbuf) == 0)
		rte_pktmbuf_free(mbuf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(out_and_in, setup, teardown),
		cmocka_unit_test_setup_teardown(checksum_is_completed, setup, teardown),
		cmocka_unit_test_setup_teardown(segments_are_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(full_uplink, setup, teardown),
	};

	rig_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
