/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "count.h"
#include "rig.h"

/*
 * Packets of one guest to another through softaccel: transmit ring, switch, receive ring. Its data path
 * is called here, when all packets are there; its threads only set it up. From then on time stands still,
 * or the table of addresses would age in one run and not in another.
 */

#define RX 0u
#define TX 1u
#define BURST (RIG_QUEUE_SIZE / 2)
#define FRAME_ROOM 1514u

static struct {
	struct rig rig;
	struct rig_guest guests[RIG_FUNCTIONS_MAX];
	unsigned int guests_count;
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
	unsigned int i;

	rig_frame(fixture.frame, 1 - guest, guest, 1, 0);
	for (i = 0; i < count; i++)
		assert_true(rig_send(&fixture.guests[guest], TX, fixture.frame, fixture.frame_bytes));
	rig_ring(&fixture.guests[guest], TX);
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
	unsigned int i;

	for (i = 0; i < count; i++)
		assert_int_equal(rig_receive(&fixture.guests[guest], RX, packet, sizeof(packet)),
				 RIG_HEADER_BYTES + fixture.frame_bytes);
	assert_memory_equal(packet + RIG_HEADER_BYTES, fixture.frame, fixture.frame_bytes);
	rig_post(&fixture.guests[guest], RX, BURST, RIG_BUFFER_BYTES);
	rig_ring(&fixture.guests[guest], RX);
	assert_int_equal(rig_reap(&fixture.guests[1 - guest], TX), count);
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

static void
open_pair(const struct count_scenario *scenario)
{
	unsigned int i;

	fixture.frame_bytes = scenario->size;
	open_guests(scenario, 2, 1);
	/* The switch knows both from here on. */
	for (i = 0; i < 2; i++) {
		send_frames(i, 1);
		run();
		receive_frames(1 - i, 1);
	}
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

#define STEPS                                                                                                          \
	.rounds = 32, .operations = BURST, .open = open_pair, .prepare = prepare, .run = run_once, .settle = settle,   \
	.close = close_guests

#define MBUFS STEPS, .variant = SOFTACCEL_COPIES_TWO
#define SWITCH STEPS, .variant = SOFTACCEL_COPIES_ONE

/* clang-format off */
const struct count_scenario count_scenarios[] = {
	{"softaccel_mbuf_split_64", MBUFS, .size = 60},
	{"softaccel_mbuf_split_1518", MBUFS, .size = 1514},
	{"softaccel_mbuf_packed_64", MBUFS, .features = RIG_PACKED, .size = 60},
	{"softaccel_mbuf_packed_1518", MBUFS, .features = RIG_PACKED, .size = 1514},
	{"softaccel_switch_split_64", SWITCH, .size = 60},
	{"softaccel_switch_split_1518", SWITCH, .size = 1514},
	{"softaccel_switch_packed_64", SWITCH, .features = RIG_PACKED, .size = 60},
	{"softaccel_switch_packed_1518", SWITCH, .features = RIG_PACKED, .size = 1514},
	{"softaccel_idle_8_queues", 64, 1, open_idle, NULL, run_once, NULL, close_guests, .size = 1},
	{"softaccel_idle_32_queues", 64, 1, open_idle, NULL, run_once, NULL, close_guests, .size = 4},
	{NULL},
};
/* clang-format on */
