/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>

#include "rig.h"

/* Packets between guests. */

#define RX 0u
#define TX 1u
#define CSUM_FEATURES (1ull << 0)
#define GUEST_CSUM_FEATURES (1ull << 1)
#define MERGE_FEATURES (1ull << 15)

static struct {
	struct rig rig;
	struct rig_guest guests[RIG_FUNCTIONS_MAX];
	unsigned int guests_count;
} fixture;

static uint64_t kind;

static int
setup(void **state)
{
	kind = *(const uint64_t *)*state;
	return 0;
}

static void
start(unsigned int guests, uint16_t queue_pairs, const char *const *groups, const uint64_t *features)
{
	unsigned int i;

	memset(&fixture, 0, sizeof(fixture));
	rig_create(&fixture.rig);
	for (i = 0; i < guests; i++)
		rig_function(&fixture.rig,
			     (struct softaccel_function_config){.queue_pairs = queue_pairs,
								.group = groups == NULL ? NULL : groups[i]});
	rig_run(&fixture.rig);
	for (i = 0; i < guests; i++)
		rig_guest_start(&fixture.guests[i], &fixture.rig, i, 2u * queue_pairs,
				kind | (features == NULL ? RIG_FEATURES_DEFAULT : features[i]));
	fixture.guests_count = guests;
}

static int
teardown(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < fixture.guests_count; i++)
		rig_guest_fini(&fixture.guests[i]);
	rig_destroy(&fixture.rig);
	return 0;
}

static void
add_frame(unsigned int guest, unsigned int queue, unsigned int to, unsigned int from, uint16_t flow, uint32_t sequence)
{
	uint8_t frame[RIG_FRAME_BYTES];

	rig_frame(frame, to, from, flow, sequence);
	rig_reap(&fixture.guests[guest], queue);
	assert_true(rig_send(&fixture.guests[guest], queue, frame, sizeof(frame)));
}

static void
send_frame(unsigned int guest, unsigned int queue, unsigned int to, unsigned int from, uint16_t flow, uint32_t sequence)
{
	add_frame(guest, queue, to, from, flow, sequence);
	rig_ring(&fixture.guests[guest], queue);
}

/* @return the sequence number. */
static uint32_t
expect_frame(unsigned int guest, unsigned int queue)
{
	uint8_t packet[RIG_BUFFER_BYTES];

	assert_int_equal(rig_receive_wait(&fixture.guests[guest], queue, packet, sizeof(packet)),
			 RIG_HEADER_BYTES + RIG_FRAME_BYTES);
	rig_post(&fixture.guests[guest], queue, RIG_QUEUE_SIZE / 2, RIG_BUFFER_BYTES);
	rig_ring(&fixture.guests[guest], queue);
	return rig_frame_sequence(packet + RIG_HEADER_BYTES);
}

static struct softaccel_port_counters
port_of(unsigned int guest)
{
	struct softaccel_port_counters port;

	softaccel_function_port_counters(fixture.rig.functions[guest], &port);
	return port;
}

struct stream {
	uint32_t sent;
	uint32_t received;
};

#define BURST 5u

#define STREAM_COUNT 20000u
/* No packet can meet an empty ring. */
#define STREAM_WINDOW (RIG_QUEUE_SIZE / 4)

static bool
stream_send(unsigned int i, struct stream *streams)
{
	struct rig_guest *guest = &fixture.guests[i];
	uint8_t frame[RIG_FRAME_BYTES];
	bool any = false;

	while (streams[i].sent < STREAM_COUNT && streams[i].sent - streams[1 - i].received < STREAM_WINDOW) {
		rig_frame(frame, 1 - i, i, 1, streams[i].sent);
		rig_reap(guest, TX);
		if (!rig_send(guest, TX, frame, sizeof(frame)))
			break;
		streams[i].sent++;
		any = true;
	}
	if (any)
		rig_ring_if_wanted(guest, TX);
	return any;
}

static bool
stream_receive(unsigned int i, struct stream *streams)
{
	struct rig_guest *guest = &fixture.guests[i];
	uint8_t packet[RIG_BUFFER_BYTES];
	bool any = false;

	while (rig_receive(guest, RX, packet, sizeof(packet)) > 0) {
		assert_int_equal(rig_frame_sequence(packet + RIG_HEADER_BYTES), streams[i].received);
		streams[i].received++;
		any = true;
	}
	if (any) {
		rig_post(guest, RX, RIG_QUEUE_SIZE / 2, RIG_BUFFER_BYTES);
		rig_ring_if_wanted(guest, RX);
	}
	return any;
}

/* Both directions at once; doorbells are rung only when the device asks, so a wish that it forgot is a stall. */
static void
sequence_numbers(void **state)
{
	struct stream streams[2] = {{0, 0}, {0, 0}};
	unsigned int i, idle = 0;

	(void)state;
	start(2, 1, NULL, NULL);
	while (streams[0].received < STREAM_COUNT || streams[1].received < STREAM_COUNT) {
		bool progress = false;

		for (i = 0; i < 2; i++) {
			progress |= stream_send(i, streams);
			progress |= stream_receive(i, streams);
		}
		idle = progress ? 0 : idle + 1;
		if (!progress)
			usleep(50);
		assert_true(idle < 100000);
	}
	for (i = 0; i < 2; i++) {
		struct softaccel_port_counters port = port_of(i);

		assert_int_equal(port.in_packets, STREAM_COUNT);
		assert_int_equal(port.out_packets, STREAM_COUNT);
		assert_int_equal(port.drops[SOFTACCEL_DROP_RX_NO_BUFFER], 0);
		/* The first of one side found nobody yet. */
		assert_true(port.flooded <= 2 * STREAM_WINDOW);
	}
}

static void
known_addresses_are_not_flooded(void **state)
{
	uint8_t packet[RIG_BUFFER_BYTES];

	(void)state;
	start(3, 1, NULL, NULL);
	send_frame(1, TX, RIG_BROADCAST, 1, 1, 10);
	assert_int_equal(expect_frame(0, RX), 10);
	assert_int_equal(expect_frame(2, RX), 10);
	send_frame(0, TX, 1, 0, 1, 11);
	assert_int_equal(expect_frame(1, RX), 11);
	usleep(20000);
	assert_int_equal(rig_receive(&fixture.guests[2], RX, packet, sizeof(packet)), 0);
	/* An address moves to where it is seen last. */
	send_frame(2, TX, RIG_BROADCAST, 1, 1, 12);
	assert_int_equal(expect_frame(0, RX), 12);
	assert_int_equal(expect_frame(1, RX), 12);
	send_frame(0, TX, 1, 0, 1, 13);
	assert_int_equal(expect_frame(2, RX), 13);
	/* To oneself: dropped, said so. */
	send_frame(0, TX, 0, 0, 1, 14);
	usleep(20000);
	assert_int_equal(port_of(0).drops[SOFTACCEL_DROP_SAME_PORT], 1);
}

/* Whatever stands beside it in a burst. */
static void
frames_of_a_burst_go_each_its_way(void **state)
{
	static const unsigned int ways[][2] = {{1, 0}, {1, 0}, {2, 0}, {2, 5}, {2, 6}, {1, 6},
					       {1, 7}, {0, 0}, {0, 0}, {1, 0}, {2, 0}};
	const unsigned int to_itself = 2;
	unsigned int i, guest;

	(void)state;
	start(3, 1, NULL, NULL);
	for (guest = 1; guest < 3; guest++) {
		send_frame(guest, TX, 0, guest, 1, 100 + guest);
		assert_int_equal(expect_frame(0, RX), 100 + guest);
		/* Nobody knows yet where that is. */
		assert_int_equal(expect_frame(3 - guest, RX), 100 + guest);
	}
	/* Its ring falls asleep: then what is added comes as one burst. */
	usleep(20000);
	for (i = 0; i < RTE_DIM(ways); i++)
		add_frame(0, TX, ways[i][0], ways[i][1], 1, i);
	rig_ring(&fixture.guests[0], TX);
	for (guest = 1; guest < 3; guest++) {
		for (i = 0; i < RTE_DIM(ways); i++) {
			if (ways[i][0] == guest)
				assert_int_equal(expect_frame(guest, RX), i);
		}
	}
	assert_int_equal(port_of(0).drops[SOFTACCEL_DROP_SAME_PORT], to_itself);
	/* Its own and the made up ones. */
	assert_int_equal(port_of(0).macs_count, 4);
}

/* Which of the group's four receive rings (functions 1 and 2, two each) a frame came to. */
static unsigned int
ring_of_flow(uint16_t flow)
{
	uint8_t packet[RIG_BUFFER_BYTES];
	unsigned int tries, i;

	send_frame(0, TX, 9, 0, flow, flow);
	for (tries = 0; tries < 20000; tries++) {
		for (i = 0; i < 4; i++) {
			struct rig_guest *guest = &fixture.guests[1 + i / 2];

			if (rig_receive(guest, 2 * (i % 2), packet, sizeof(packet)) == 0)
				continue;
			assert_int_equal(rig_frame_flow(packet + RIG_HEADER_BYTES), flow);
			rig_post(guest, 2 * (i % 2), RIG_QUEUE_SIZE / 2, RIG_BUFFER_BYTES);
			rig_ring(guest, 2 * (i % 2));
			return i;
		}
		usleep(100);
	}
	fail_msg("flow %u went nowhere", flow);
	return 0;
}

/*
 * Functions 1 and 2 are one port: whichever they send from, they are one
 * address, and a flow to them keeps to one ring, also when rings come and go and
 * the same ones are there again.
 */
static void
group_is_one_port(void **state)
{
	static const char *const groups[] = {NULL, "g", "g"};
	unsigned int ring_of[64], rings_used = 0, flow, round;

	(void)state;
	start(3, 2, groups, NULL);
	for (round = 0; round < 4; round++) {
		/* The address is the port's, whichever function sent last. */
		send_frame(1 + round % 2, 3, RIG_BROADCAST, 9, 1, 1);
		usleep(20000);
		for (flow = 0; flow < 64; flow++) {
			unsigned int found = ring_of_flow((uint16_t)(1000 + flow));

			if (round == 0)
				ring_of[flow] = found;
			assert_int_equal(ring_of[flow], found);
			rings_used |= 1u << found;
		}
		rig_vendor_write(&fixture.guests[1], RX, offsetof(struct rp_accel_vendor_queue, control),
				 RP_ACCEL_VENDOR_STOP);
		rig_guest_enable(&fixture.guests[1], RX);
		rig_ring(&fixture.guests[1], RX);
		usleep(20000);
	}
	assert_int_equal(rings_used, 0xf);
	/* A flood from the group does not come back to it. */
	assert_int_equal(port_of(1).out_packets, 4 * 64);
}

/* A queue of the group stops: its flows go to the others, and nothing is lost. */
static void
group_without_one_queue(void **state)
{
	static const char *const groups[] = {NULL, "g", "g"};
	unsigned int flow;
	uint8_t packet[RIG_BUFFER_BYTES];

	(void)state;
	start(3, 1, groups, NULL);
	rig_vendor_write(&fixture.guests[1], RX, offsetof(struct rp_accel_vendor_queue, control), RP_ACCEL_VENDOR_STOP);
	for (flow = 0; flow < 16; flow++) {
		send_frame(0, TX, 9, 0, (uint16_t)flow, flow);
		assert_int_equal(expect_frame(2, RX), flow);
	}
	assert_int_equal(rig_receive(&fixture.guests[1], RX, packet, sizeof(packet)), 0);
}

/* A guest that makes up addresses fills its quota and hurts nobody. */
static void
mac_flood(void **state)
{
	struct softaccel_port_counters port;
	unsigned int i;

	(void)state;
	start(3, 1, NULL, NULL);
	send_frame(2, TX, RIG_BROADCAST, 2, 1, 0);
	assert_int_equal(expect_frame(0, RX), 0);
	assert_int_equal(expect_frame(1, RX), 0);
	for (i = 0; i < 2000; i++) {
		send_frame(1, TX, 2, 1000 + i, 1, i);
		assert_int_equal(expect_frame(2, RX), i);
	}
	port = port_of(1);
	assert_int_equal(port.macs_count, 256);
	assert_int_equal(port.macs_refused, 2000 - 256);
	/* Each frame of a burst is one, though they are looked up together. */
	usleep(20000);
	for (i = 0; i < BURST; i++)
		add_frame(1, TX, 2, 5000, 1, i);
	rig_ring(&fixture.guests[1], TX);
	for (i = 0; i < BURST; i++)
		assert_int_equal(expect_frame(2, RX), i);
	assert_int_equal(port_of(1).macs_refused, 2000 - 256 + BURST);
	assert_int_equal(port_of(0).out_packets, 1);
	send_frame(0, TX, 2, 0, 1, 77);
	assert_int_equal(expect_frame(2, RX), 77);
	send_frame(2, TX, 0, 2, 1, 78);
	assert_int_equal(expect_frame(0, RX), 78);
}

/* Whatever became of them: so many frames have come to a port. */
static void
wait_for_fate(unsigned int port, uint64_t count)
{
	unsigned int looks;

	for (looks = 0; looks < 100000; looks++) {
		struct softaccel_port_counters port_now = port_of(port);

		if (port_now.out_packets + port_now.drops[SOFTACCEL_DROP_RX_NO_BUFFER] >= count)
			return;
		usleep(100);
	}
}

static void
no_buffers(void **state)
{
	unsigned int i;

	(void)state;
	start(2, 1, NULL, NULL);
	for (i = 0; i < RIG_QUEUE_SIZE / 2 + 3; i++) {
		send_frame(0, TX, RIG_BROADCAST, 0, 1, i);
		wait_for_fate(1, i + 1);
	}
	assert_int_equal(port_of(1).out_packets, RIG_QUEUE_SIZE / 2);
	assert_int_equal(port_of(1).drops[SOFTACCEL_DROP_RX_NO_BUFFER], 3);
	for (i = 0; i < RIG_QUEUE_SIZE / 2; i++)
		assert_int_equal(expect_frame(1, RX), i);
	usleep(20000);
	send_frame(0, TX, RIG_BROADCAST, 0, 1, 99);
	assert_int_equal(expect_frame(1, RX), 99);
}

static void
merged_buffers(void **state)
{
	uint8_t frame[1514], packet[RIG_BUFFER_BYTES];
	struct rig_guest *receiver;
	unsigned int i;

	(void)state;
	start(2, 1, NULL, NULL);
	receiver = &fixture.guests[1];
	/* Only small buffers: the rest of the first ones is used up. */
	for (i = 0; i < RIG_QUEUE_SIZE / 2; i++) {
		send_frame(0, TX, RIG_BROADCAST, 0, 1, i);
		assert_true(rig_receive_wait(receiver, RX, packet, sizeof(packet)) > 0);
	}
	rig_post(receiver, RX, RIG_QUEUE_SIZE, 100);
	rig_ring(receiver, RX);
	usleep(20000);
	memset(frame, 0x5a, sizeof(frame));
	rig_frame(frame, RIG_BROADCAST, 0, 1, 1234);
	for (i = 0; i < sizeof(frame) - RIG_FRAME_BYTES; i++)
		frame[RIG_FRAME_BYTES + i] = (uint8_t)i;
	rig_reap(&fixture.guests[0], TX);
	assert_true(rig_send(&fixture.guests[0], TX, frame, sizeof(frame)));
	rig_ring(&fixture.guests[0], TX);
	assert_int_equal(rig_receive_wait(receiver, RX, packet, sizeof(packet)), RIG_HEADER_BYTES + sizeof(frame));
	assert_memory_equal(packet + RIG_HEADER_BYTES, frame, sizeof(frame));
	assert_int_equal(packet[10], 16); /* 1526 bytes in hundreds */
}

/* Without the feature one buffer must do; what does not fit is dropped, and the ring goes on. */
static void
unmerged_buffers(void **state)
{
	static const uint64_t features[] = {RIG_FEATURES_DEFAULT, RIG_FEATURES_DEFAULT & ~MERGE_FEATURES};
	uint8_t packet[RIG_BUFFER_BYTES], frame[1000] = {0};
	struct rig_guest *receiver;
	unsigned int i;

	(void)state;
	start(2, 1, NULL, features);
	receiver = &fixture.guests[1];
	for (i = 0; i < RIG_QUEUE_SIZE / 2; i++) {
		send_frame(0, TX, RIG_BROADCAST, 0, 1, i);
		assert_true(rig_receive_wait(receiver, RX, packet, sizeof(packet)) > 0);
		assert_int_equal(packet[10], 1);
	}
	rig_post(receiver, RX, RIG_QUEUE_SIZE, 100);
	rig_ring(receiver, RX);
	usleep(20000);
	rig_frame(frame, RIG_BROADCAST, 0, 1, 1);
	rig_reap(&fixture.guests[0], TX);
	assert_true(rig_send(&fixture.guests[0], TX, frame, sizeof(frame)));
	send_frame(0, TX, RIG_BROADCAST, 0, 1, 2);
	assert_int_equal(rig_receive_wait(receiver, RX, packet, sizeof(packet)), RIG_HEADER_BYTES + RIG_FRAME_BYTES);
	assert_int_equal(rig_frame_sequence(packet + RIG_HEADER_BYTES), 2);
	assert_int_equal(port_of(1).drops[SOFTACCEL_DROP_RX_BAD_CHAIN], 1);
}

/* A sender that leaves the checksum to others, to one who takes that and to one who does not. */
static void
checksums(void **state)
{
	static const uint64_t features[] = {
		RIG_FEATURES_DEFAULT | CSUM_FEATURES,
		RIG_FEATURES_DEFAULT | GUEST_CSUM_FEATURES,
		RIG_FEATURES_DEFAULT,
	};
	uint8_t sent[RIG_HEADER_BYTES + RIG_FRAME_BYTES] = {1, 0, 0, 0, 0, 0, 34, 0, 6, 0};
	uint8_t packet[RIG_BUFFER_BYTES];
	uint32_t sum = 0;
	unsigned int i;

	(void)state;
	start(3, 1, NULL, features);
	rig_frame(sent + RIG_HEADER_BYTES, RIG_BROADCAST, 0, 1, 0x01020304);
	/* The pseudo header's sum, as a driver leaves it there: any number will do. */
	sent[RIG_HEADER_BYTES + 40] = 0x12;
	sent[RIG_HEADER_BYTES + 41] = 0x34;
	assert_true(rig_send_raw(&fixture.guests[0], TX, sent, sizeof(sent)));
	rig_ring(&fixture.guests[0], TX);
	assert_int_equal(rig_receive_wait(&fixture.guests[1], RX, packet, sizeof(packet)), sizeof(sent));
	sent[10] = 1; /* num_buffers */
	assert_memory_equal(packet, sent, sizeof(sent));
	assert_int_equal(rig_receive_wait(&fixture.guests[2], RX, packet, sizeof(packet)), sizeof(sent));
	assert_int_equal(packet[0], 0);
	/* Sum of the segment, plus the pseudo header's, must be all ones. */
	for (i = RIG_HEADER_BYTES + 34; i < sizeof(sent); i += 2)
		sum += (uint32_t)packet[i] << 8 | packet[i + 1];
	sum += 0x1234;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	assert_int_equal(sum, 0xffff);
}

static void
bad_packets(void **state)
{
	static const uint64_t features[] = {RIG_FEATURES_DEFAULT | CSUM_FEATURES, RIG_FEATURES_DEFAULT};
	uint8_t packet[RIG_BUFFER_BYTES] = {0};
	struct rp_accel_vendor_queue image;
	struct rig_guest *sender;

	(void)state;
	start(2, 1, NULL, features);
	sender = &fixture.guests[0];
	rig_send_raw(sender, TX, packet, 4); /* no whole header */
	rig_send_raw(sender, TX, packet, RIG_HEADER_BYTES); /* no frame */
	rig_send_raw(sender, TX, packet, RIG_HEADER_BYTES + 13); /* no Ethernet header */
	packet[0] = 1; /* a checksum, of what is not there */
	packet[7] = 1;
	rig_send_raw(sender, TX, packet, RIG_HEADER_BYTES + 60);
	packet[0] = 0;
	packet[1] = 1; /* segmentation, not offered */
	rig_send_raw(sender, TX, packet, RIG_HEADER_BYTES + 60);
	rig_ring(sender, TX);
	send_frame(0, TX, RIG_BROADCAST, 0, 1, 6);
	assert_int_equal(expect_frame(1, RX), 6);
	assert_int_equal(port_of(0).drops[SOFTACCEL_DROP_TX_LENGTH], 2);
	assert_int_equal(port_of(0).drops[SOFTACCEL_DROP_TX_BAD_HEADER], 2);
	rig_vendor_read(sender, TX, &image);
	assert_int_equal(le64toh(image.errors), 1);
	/* All of them came back to their sender. */
	usleep(20000);
	rig_reap(sender, TX);
	assert_int_equal(rp_vring_drv_free_count(sender->queues[TX].ring), RIG_QUEUE_SIZE);
}

/* Where nothing was negotiated that a header could say, it says nothing. */
static void
headers_without_a_meaning(void **state)
{
	uint8_t sent[RIG_HEADER_BYTES + RIG_FRAME_BYTES], packet[RIG_BUFFER_BYTES];

	(void)state;
	start(2, 1, NULL, NULL);
	memset(sent, 0xff, RIG_HEADER_BYTES);
	rig_frame(sent + RIG_HEADER_BYTES, RIG_BROADCAST, 0, 1, 7);
	rig_send_raw(&fixture.guests[0], TX, sent, sizeof(sent));
	rig_ring(&fixture.guests[0], TX);
	assert_int_equal(rig_receive_wait(&fixture.guests[1], RX, packet, sizeof(packet)), sizeof(sent));
	assert_memory_equal(packet, ((uint8_t[]){0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0}), RIG_HEADER_BYTES);
	assert_memory_equal(packet + RIG_HEADER_BYTES, sent + RIG_HEADER_BYTES, RIG_FRAME_BYTES);
	assert_int_equal(port_of(0).drops[SOFTACCEL_DROP_TX_BAD_HEADER], 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TESTS(sequence_numbers),
		RIG_TESTS(known_addresses_are_not_flooded),
		RIG_TESTS(frames_of_a_burst_go_each_its_way),
		RIG_TESTS(group_is_one_port),
		RIG_TESTS(group_without_one_queue),
		RIG_TESTS(mac_flood),
		RIG_TESTS(no_buffers),
		RIG_TESTS(merged_buffers),
		RIG_TESTS(unmerged_buffers),
		RIG_TESTS(checksums),
		RIG_TESTS(bad_packets),
		RIG_TESTS(headers_without_a_meaning),
	};

	rig_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
