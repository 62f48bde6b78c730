/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "count.h"
#include "rig.h"
#include "sa_flow.h"

/*
 * Packets of one guest to another through softaccel: transmit ring, switch, receive ring. Its data path
 * is called here, when all packets are there; its threads only set it up. From then on time stands still,
 * or the table of addresses would age in one run and not in another.
 */

#define RX(pair) (2 * (pair))
#define TX(pair) (2 * (pair) + 1)
#define PAIRS_MAX 2u
#define FLOWS_MAX 4u
#define BURST (RIG_QUEUE_SIZE / 2)
#define FRAME_ROOM 1514u

static struct {
	struct rig rig;
	struct rig_guest guests[RIG_FUNCTIONS_MAX];
	unsigned int guests_count;
	unsigned int pairs;
	unsigned int flows_count; /* of each pair: its frames are of one after the other ... */
	uint16_t flows[PAIRS_MAX][FLOWS_MAX]; /* ... and go to the receive ring of the same number */
	uint8_t frame[FRAME_ROOM];
	uint32_t frame_bytes;
	bool time_stands;
	struct timespec now;
} fixture;

int __real_clock_gettime(clockid_t clock, struct timespec *ret_now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now);

int
__wrap_clock_gettime(clockid_t clock, struct timespec *ret_now)
{
	if (!fixture.time_stands)
		return __real_clock_gettime(clock, ret_now);
	*ret_now = fixture.now;
	return 0;
}

static void
end_threads(struct rig *rig)
{
	__atomic_store_n(&rig->stop, true, __ATOMIC_RELEASE);
	softaccel_stop(rig->accel);
	pthread_join(rig->data, NULL);
	pthread_join(rig->control, NULL);
	rig->running = false;
}

static void
send_frames(unsigned int guest, unsigned int count)
{
	unsigned int pair, i;

	for (pair = 0; pair < fixture.pairs; pair++) {
		for (i = 0; i < count; i++) {
			rig_frame(fixture.frame, 1 - guest, guest, fixture.flows[pair][i % fixture.flows_count], 0);
			assert_true(rig_send(&fixture.guests[guest], TX(pair), fixture.frame, fixture.frame_bytes));
		}
		rig_ring(&fixture.guests[guest], TX(pair));
	}
}

static void
run(void)
{
	while (softaccel_poll(fixture.rig.accel) > 0)
		;
}

/* Under load each pass finds a burst, and none looks in vain. */
static void
run_once(void)
{
	softaccel_poll(fixture.rig.accel);
}

static void
receive_frames(unsigned int guest, unsigned int count)
{
	uint8_t packet[RIG_BUFFER_BYTES];
	unsigned int pair, i;

	for (pair = 0; pair < fixture.pairs; pair++) {
		for (i = 0; i < count; i++)
			assert_int_equal(rig_receive(&fixture.guests[guest], RX(pair), packet, sizeof(packet)),
					 RIG_HEADER_BYTES + fixture.frame_bytes);
		rig_frame(fixture.frame, guest, 1 - guest, fixture.flows[pair][(count - 1) % fixture.flows_count], 0);
		assert_memory_equal(packet + RIG_HEADER_BYTES, fixture.frame, fixture.frame_bytes);
		rig_post(&fixture.guests[guest], RX(pair), BURST, RIG_BUFFER_BYTES);
		rig_ring(&fixture.guests[guest], RX(pair));
		assert_int_equal(rig_reap(&fixture.guests[1 - guest], TX(pair)), count);
	}
}

static void
open_guests(const struct count_scenario *scenario, unsigned int guests_count, uint16_t queue_pairs)
{
	const struct softaccel_config config = {
		.mbufs_count = 1024,
		.copies = (enum softaccel_copies)scenario->variant,
		.isa = SOFTACCEL_ISA_GENERIC, /* the same on every processor */
	};
	unsigned int i;

	rig_eal_init();
	assert_int_equal(softaccel_create(&config, NULL, NULL, &fixture.rig.accel, NULL), 0);
	fixture.guests_count = guests_count;
	for (i = 0; i < guests_count; i++)
		rig_function(&fixture.rig, (struct softaccel_function_config){.queue_pairs = queue_pairs});
	rig_run(&fixture.rig);
	for (i = 0; i < guests_count; i++)
		rig_guest_start(&fixture.guests[i], &fixture.rig, i, 2u * queue_pairs,
				RIG_FEATURES_DEFAULT | scenario->features);
	end_threads(&fixture.rig);
	__real_clock_gettime(CLOCK_MONOTONIC, &fixture.now);
	fixture.time_stands = true;
}

/* Between any two guests a flow goes to the same ring in one direction only. */
static void
find_flows(unsigned int guest)
{
	unsigned int pair, count;
	uint16_t flow = 0;

	for (pair = 0; pair < fixture.pairs; pair++) {
		for (count = 0; count < fixture.flows_count; flow++) {
			rig_frame(fixture.frame, 1 - guest, guest, flow, 0);
			if ((uint64_t)sa_flow_hash(fixture.frame, fixture.frame_bytes) * fixture.pairs >> 32 == pair)
				fixture.flows[pair][count++] = flow;
		}
	}
}

static void
open_pairs(const struct count_scenario *scenario, unsigned int pairs, unsigned int flows_count)
{
	unsigned int i;

	fixture.frame_bytes = scenario->size;
	fixture.pairs = pairs;
	fixture.flows_count = flows_count;
	open_guests(scenario, 2, (uint16_t)pairs);
	/* The switch knows both from here on. */
	for (i = 2; i-- > 0;) {
		find_flows(i);
		send_frames(i, 1);
		run();
		receive_frames(1 - i, 1);
	}
}

static void
open_one_pair(const struct count_scenario *scenario)
{
	open_pairs(scenario, 1, 1);
}

static void
open_two_pairs(const struct count_scenario *scenario)
{
	open_pairs(scenario, 2, 1);
}

/* No frame is of the same flow as the one before it. */
static void
open_many_flows(const struct count_scenario *scenario)
{
	open_pairs(scenario, 2, FLOWS_MAX);
}

/* Nobody has anything to send: what a pass costs for each queue that there is. */
static void
open_idle(const struct count_scenario *scenario)
{
	open_guests(scenario, RIG_FUNCTIONS_MAX, (uint16_t)scenario->size);
	run();
}

static void
prepare(void)
{
	send_frames(0, BURST);
}

static void
settle(void)
{
	receive_frames(1, BURST);
}

static void
close_guests(void)
{
	unsigned int i;

	fixture.time_stands = false;
	for (i = 0; i < fixture.guests_count; i++)
		rig_guest_fini(&fixture.guests[i]);
	rig_destroy(&fixture.rig);
}

#define STEPS .rounds = 32, .prepare = prepare, .run = run_once, .settle = settle, .close = close_guests
#define ONE_PAIR STEPS, .operations = BURST, .open = open_one_pair
#define TWO_PAIRS STEPS, .operations = 2 * BURST, .open = open_two_pairs
#define MANY_FLOWS STEPS, .operations = 2 * BURST, .open = open_many_flows

#define MBUFS .variant = SOFTACCEL_COPIES_TWO
#define SWITCH .variant = SOFTACCEL_COPIES_ONE

/* clang-format off */
const struct count_scenario count_scenarios[] = {
	{"softaccel_mbuf_split_64", ONE_PAIR, MBUFS, .size = 60},
	{"softaccel_mbuf_split_1518", ONE_PAIR, MBUFS, .size = 1514},
	{"softaccel_mbuf_packed_64", ONE_PAIR, MBUFS, .features = RIG_PACKED, .size = 60},
	{"softaccel_mbuf_packed_1518", ONE_PAIR, MBUFS, .features = RIG_PACKED, .size = 1514},
	{"softaccel_switch_split_64", ONE_PAIR, SWITCH, .size = 60},
	{"softaccel_switch_split_1518", ONE_PAIR, SWITCH, .size = 1514},
	{"softaccel_switch_packed_64", ONE_PAIR, SWITCH, .features = RIG_PACKED, .size = 60},
	{"softaccel_switch_packed_1518", ONE_PAIR, SWITCH, .features = RIG_PACKED, .size = 1514},
	{"softaccel_mbuf_packed_pairs2_64", TWO_PAIRS, MBUFS, .features = RIG_PACKED, .size = 60},
	{"softaccel_switch_split_pairs2_64", TWO_PAIRS, SWITCH, .size = 60},
	{"softaccel_switch_packed_pairs2_64", TWO_PAIRS, SWITCH, .features = RIG_PACKED, .size = 60},
	{"softaccel_switch_packed_pairs2_1518", TWO_PAIRS, SWITCH, .features = RIG_PACKED, .size = 1514},
	{"softaccel_switch_packed_flows_64", MANY_FLOWS, SWITCH, .features = RIG_PACKED, .size = 60},
	{"softaccel_idle_8_queues", 64, 1, open_idle, NULL, run_once, NULL, close_guests, .size = 1},
	{"softaccel_idle_32_queues", 64, 1, open_idle, NULL, run_once, NULL, close_guests, .size = 4},
	{NULL},
};
/* clang-format on */
