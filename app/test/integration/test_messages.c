/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "traffic.h"

/*
 * Guests whose memory the device reaches by messages, all of it or in part: the
 * same traffic as ever, through our server and our client, whatever the ring's format.
 */

static struct traffic traffic;

static int
setup(void **state)
{
	(void)state;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	traffic_destroy(&traffic);
	return 0;
}

static void
begin(void **state, enum rig_reach reach)
{
	traffic_create(&traffic, RIG_FEATURES_DEFAULT | *(const uint64_t *)*state, SOFTACCEL_DMA_AUTO);
	traffic.guests[0].rig.reach = reach;
	traffic.guests[1].rig.reach = reach;
}

static void
assert_by_messages(bool by_messages)
{
	unsigned int guest, queue;

	for (guest = 0; guest < 2; guest++) {
		const struct softaccel_function *function = traffic.rig.functions[traffic.guests[guest].function];

		for (queue = 0; queue < 2; queue++)
			assert_int_equal(softaccel_queue_by_messages(function, queue), by_messages);
	}
}

static void
assert_no_errors(void)
{
	unsigned int guest, queue;

	for (guest = 0; guest < 2; guest++) {
		for (queue = 0; queue < 2; queue++) {
			struct softaccel_queue_counters counters;

			softaccel_queue_counters(traffic.rig.functions[traffic.guests[guest].function], queue,
						 &counters);
			assert_int_equal(counters.errors, 0);
			assert_true(counters.packets > 0);
			assert_true(counters.interrupts > 0);
			assert_true(counters.direct_kicks > 0);
		}
	}
}

static void
run(bool by_messages)
{
	traffic_start(&traffic);
	assert_by_messages(by_messages);
	traffic_run(&traffic, 150);
	traffic_settle(&traffic);
	assert_no_errors();
	assert_by_messages(by_messages);
}

static void
no_descriptors(void **state)
{
	begin(state, RIG_REACH_NONE);
	run(true);
}

static void
rings_without_descriptors(void **state)
{
	begin(state, RIG_REACH_BUFFERS);
	run(true);
}

static void
buffers_without_descriptors(void **state)
{
	begin(state, RIG_REACH_RINGS);
	run(true);
}

/* Some buffers only, which are found when they are used: nothing is lost, and nothing comes twice. */
static void
a_few_buffers_without_descriptors(void **state)
{
	unsigned int guest;

	begin(state, RIG_REACH_MOST);
	traffic_start(&traffic);
	traffic_run(&traffic, 300);
	traffic_settle(&traffic);
	/* All 64 of its buffers were used; a transmit ring may have been lucky. */
	for (guest = 0; guest < 2; guest++)
		assert_true(softaccel_queue_by_messages(traffic.rig.functions[guest], TRAFFIC_RX));
	assert_no_errors();
	traffic_assert_none_dropped(&traffic);
}

static void
all_descriptors(void **state)
{
	begin(state, RIG_REACH_ALL);
	run(false);
}

/* One guest of each kind on one switch. */
static void
one_of_each(void **state)
{
	begin(state, RIG_REACH_ALL);
	traffic.guests[1].rig.reach = RIG_REACH_NONE;
	traffic_start(&traffic);
	traffic_run(&traffic, 150);
	traffic_settle(&traffic);
	assert_no_errors();
}

/* Frames over several buffers: the guest merges them as it always does. */
static void
small_buffers(void **state)
{
	begin(state, RIG_REACH_NONE);
	traffic.guests[0].receive_bytes = 200;
	traffic.guests[1].receive_bytes = 333;
	run(true);
}

static void
without_event_index(void **state)
{
	begin(state, RIG_REACH_NONE);
	traffic.features &= ~(1ull << 29);
	run(true);
}

static void
twin_socket(void **state)
{
	begin(state, RIG_REACH_NONE);
	traffic.guests[0].rig.client_config.twin_socket = true;
	traffic.guests[1].rig.client_config.twin_socket = true;
	run(true);
}

/* A client that knows only the specification, and small messages. */
static void
plain_client(void **state)
{
	unsigned int i;

	begin(state, RIG_REACH_NONE);
	for (i = 0; i < 2; i++) {
		traffic.guests[i].rig.client_config.specification_only = true;
		traffic.guests[i].rig.client_config.max_data_xfer_bytes = 4096;
	}
	run(true);
}

/* The ring state capability: stopped, read, programmed anew, and not a frame is lost or comes twice. */
/* @return where the queue stands. */
static uint32_t
stop(struct rig_guest *rig, unsigned int queue)
{
	struct rp_accel_vendor_queue image;

	rig_vendor_write(rig, queue, offsetof(struct rp_accel_vendor_queue, control), RP_ACCEL_VENDOR_STOP);
	rig_vendor_read(rig, queue, &image);
	assert_int_equal(le32toh(image.control), RP_ACCEL_VENDOR_STOPPED);
	return le32toh(image.position);
}

/* As another owner would. */
static void
enable(struct rig_guest *rig, unsigned int queue, uint32_t position)
{
	rig_guest_program(rig, queue);
	rig_vendor_write(rig, queue, offsetof(struct rp_accel_vendor_queue, position), position);
	rig_guest_enable(rig, queue);
	assert_int_equal(rig_common_read(rig, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
}

static void
stop_again_and_again(void)
{
	unsigned int turn, i;

	traffic_start(&traffic);
	for (turn = 0; turn < 8; turn++) {
		struct rig_guest *rig = &traffic.guests[turn / 2 % 2].rig;
		unsigned int queue = turn % 2;
		uint32_t position;

		traffic_run(&traffic, 10);
		for (i = 0; i < turn; i++)
			traffic_turn(&traffic, true);
		position = stop(rig, queue);
		enable(rig, queue, position);
		rig_ring(rig, queue);
	}
	traffic_run(&traffic, 20);
	traffic_settle(&traffic);
	assert_by_messages(true);
}

static void
stop_and_go_on(void **state)
{
	begin(state, RIG_REACH_NONE);
	stop_again_and_again();
}

static bool
has_arrived(void *ctx)
{
	uint8_t packet[RIG_BUFFER_BYTES];

	rig_guest_serve(&traffic.guests[0].rig);
	rig_guest_serve(&traffic.guests[1].rig);
	return rig_receive(&traffic.guests[1].rig, TRAFFIC_RX, packet, sizeof(packet)) == *(const uint32_t *)ctx;
}

/* What a ring in mid-life holds as it is enabled was kicked for while another served it. */
static void
enabled_in_mid_life(void **state)
{
	struct rig_guest *rig = &traffic.guests[0].rig;
	uint32_t packet_bytes = RIG_HEADER_BYTES + RIG_FRAME_BYTES, position;
	uint8_t frame[RIG_FRAME_BYTES];

	begin(state, RIG_REACH_NONE);
	traffic_start(&traffic);
	traffic_run(&traffic, 10);
	traffic_settle(&traffic);
	position = stop(rig, TRAFFIC_TX);
	/* A packed ring looks like a fresh one once in two rounds. */
	while (position == rp_vring_position_fresh(traffic.features)) {
		enable(rig, TRAFFIC_TX, position);
		traffic_run(&traffic, 1);
		traffic_settle(&traffic);
		position = stop(rig, TRAFFIC_TX);
	}
	rig_frame(frame, RIG_BROADCAST, 0, 0, 0);
	assert_true(rig_send(rig, TRAFFIC_TX, frame, sizeof(frame)));
	enable(rig, TRAFFIC_TX, position);
	assert_true(test_wait(has_arrived, &packet_bytes, TRAFFIC_LIMIT_MS));
}

/* The reset of a device in mid-traffic; what it held is gone, and everything works afterwards. */
static void
reset_again_and_again(void)
{
	unsigned int turn, i;

	traffic_start(&traffic);
	for (turn = 0; turn < 6; turn++) {
		struct traffic_guest *guest = &traffic.guests[turn % 2];

		traffic_run(&traffic, 10);
		for (i = 0; i < 3 * turn; i++)
			traffic_turn(&traffic, true);
		rig_common_write(&guest->rig, VIRTIO_PCI_COMMON_STATUS, 1, 0);
		assert_int_equal(rig_common_read(&guest->rig, VIRTIO_PCI_COMMON_STATUS, 1), 0);
		traffic_guest_start(&traffic, turn % 2);
		/* Frames that it held, in either direction, are in no book. */
		traffic_forget(&traffic);
	}
	traffic_run(&traffic, 20);
}

static void
reset_in_the_middle(void **state)
{
	begin(state, RIG_REACH_NONE);
	reset_again_and_again();
}

/* One that serves nothing while it waits for an answer, as VMMs do: no answer waits for it. */
static void
plain_client_stops_and_resets(void **state)
{
	unsigned int i;

	begin(state, RIG_REACH_NONE);
	for (i = 0; i < 2; i++)
		traffic.guests[i].rig.client_config.specification_only = true;
	stop_again_and_again();
	teardown(NULL);
	begin(state, RIG_REACH_NONE);
	for (i = 0; i < 2; i++)
		traffic.guests[i].rig.client_config.specification_only = true;
	reset_again_and_again();
}

/* A client that is killed: the next one finds the device where it was. */
static void
client_leaves_and_returns(void **state)
{
	unsigned int turn, i;

	begin(state, RIG_REACH_NONE);
	traffic_start(&traffic);
	for (turn = 0; turn < 12; turn++) {
		traffic_run(&traffic, 5);
		for (i = 0; i < 2 * turn; i++)
			traffic_turn(&traffic, true);
		traffic_guest_leave(&traffic, turn % 2);
		for (i = 0; i < 20; i++)
			traffic_turn_or_wait(&traffic, true);
		traffic_guest_return(&traffic, turn % 2);
	}
	traffic_run(&traffic, 20);
	traffic_settle(&traffic);
	assert_by_messages(true);
	assert_no_errors();
}

#define FAR_IOVA 0x90000000ull

/* The address space changes under rings that run: served the other way, and back. */
static void
descriptors_come_and_go(void **state)
{
	unsigned int turn;

	begin(state, RIG_REACH_ALL);
	traffic_start(&traffic);
	for (turn = 0; turn < 10; turn++) {
		struct rig_guest *rig = &traffic.guests[turn / 2 % 2].rig;
		const struct softaccel_function *function = traffic.rig.functions[turn / 2 % 2];
		const struct rp_vfu_client_memory far = {
			.iova = FAR_IOVA,
			.size_bytes = RIG_MEMORY_BYTES,
			.fd = -1,
			.hva = rig->memory,
			.access_mask = RP_VFU_DMA_MAP_READ_MASK | RP_VFU_DMA_MAP_WRITE_MASK,
		};

		traffic_run(&traffic, 10);
		if (turn % 2 == 0)
			assert_int_equal(rp_vfu_client_dma_map_memory(rig->client, &far, NULL), 0);
		else
			assert_int_equal(rp_vfu_client_dma_unmap(rig->client, FAR_IOVA, far.size_bytes, NULL), 0);
		/* A queue goes back when it has brought back what it had. */
		if (turn % 2 == 0)
			assert_true(softaccel_queue_by_messages(function, TRAFFIC_RX));
		while (turn % 2 == 1 && (softaccel_queue_by_messages(function, TRAFFIC_RX) ||
					 softaccel_queue_by_messages(function, TRAFFIC_TX)))
			traffic_turn_or_wait(&traffic, true);
	}
	traffic_run(&traffic, 20);
	traffic_settle(&traffic);
	assert_by_messages(false);
	assert_no_errors();
	traffic_assert_none_dropped(&traffic);
}

/* Forced, though everything could be reached. */
static void
forced(void **state)
{
	traffic_create(&traffic, RIG_FEATURES_DEFAULT | *(const uint64_t *)*state, SOFTACCEL_DMA_MESSAGES);
	run(true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TESTS(all_descriptors),
		RIG_TESTS(forced),
		RIG_TESTS(no_descriptors),
		RIG_TESTS(rings_without_descriptors),
		RIG_TESTS(buffers_without_descriptors),
		RIG_TESTS(a_few_buffers_without_descriptors),
		RIG_TESTS(one_of_each),
		RIG_TESTS(small_buffers),
		RIG_TESTS(without_event_index),
		RIG_TESTS(twin_socket),
		RIG_TESTS(plain_client),
		RIG_TESTS(stop_and_go_on),
		RIG_TESTS(enabled_in_mid_life),
		RIG_TESTS(reset_in_the_middle),
		RIG_TESTS(plain_client_stops_and_resets),
		RIG_TESTS(client_leaves_and_returns),
		RIG_TESTS(descriptors_come_and_go),
	};

	/* "no_descriptors*": some of them, for whoever looks for something. */
	if (getenv("RIG_ONLY") != NULL)
		cmocka_set_test_filter(getenv("RIG_ONLY"));
	rig_eal_init();
	return cmocka_run_group_tests_name("messages", tests, NULL, NULL);
}
