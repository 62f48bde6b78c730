/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_pci.h>

#include "rig.h"

/* An accelerator that has nothing to do, and kicks that come all the same: guest 1 hears what guest 0 sends. */

#define RX 0u
#define TX 1u
#define QUEUES 2u
#define IDLE_MS 40u
#define PATIENCE 20000u /* of a millisecond */

enum { ANY, EVENTFD, PAGE }; /* RP_ACCEL_VENDOR_DOORBELL_* */

static struct {
	struct rig rig;
	struct rig_guest guests[2];
	uint64_t features;
	uint32_t sequence;
} fixture;

#define SENDER (&fixture.guests[0])
#define RECEIVER (&fixture.guests[1])

static void kick_by_message(struct rig_guest *guest, unsigned int queue);

static uint64_t
kicks_seen(unsigned int function, unsigned int queue)
{
	struct softaccel_queue_counters counters;

	softaccel_queue_counters(fixture.rig.functions[function], queue, &counters);
	return counters.eventfd_kicks;
}

static void
start_guest(unsigned int function)
{
	struct rig_guest *guest = &fixture.guests[function];
	unsigned int queue, i;
	uint64_t seen;

	rig_guest_connect(guest, &fixture.rig, function);
	rig_guest_negotiate(guest, fixture.features);
	for (queue = 0; queue < QUEUES; queue++)
		rig_guest_queue(guest, queue);
	rig_guest_driver_ok(guest);
	rig_post(guest, RX, RIG_QUEUE_SIZE / 2, RIG_BUFFER_BYTES);
	seen = kicks_seen(function, RX);
	kick_by_message(guest, RX);
	/* A frame that is rung for at a doorbell may be looked at first, and would find no buffer. */
	for (i = 0; i < PATIENCE && kicks_seen(function, RX) == seen; i++)
		usleep(1000);
}

static void
start_with(const struct softaccel_function_config *config, uint64_t features)
{
	unsigned int i;

	memset(&fixture, 0, sizeof(fixture));
	fixture.features = RIG_FEATURES_DEFAULT | features;
	rig_create(&fixture.rig);
	for (i = 0; i < 2; i++)
		rig_function(&fixture.rig, *config);
	rig_run(&fixture.rig);
	for (i = 2; i-- > 0;)
		start_guest(i);
}

static int
setup(void **state)
{
	start_with(&(struct softaccel_function_config){.idle_ms = IDLE_MS}, *(const uint64_t *)*state);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	rig_guest_fini(SENDER);
	rig_guest_fini(RECEIVER);
	rig_destroy(&fixture.rig);
	return 0;
}

static void
tell(struct rig_guest *guest, unsigned int queue, uint32_t doorbell)
{
	rig_vendor_write(guest, queue, offsetof(struct rp_accel_vendor_queue, doorbell), doorbell);
}

static void
tell_all(uint32_t doorbell)
{
	unsigned int queue;

	for (queue = 0; queue < QUEUES; queue++) {
		tell(SENDER, queue, doorbell);
		tell(RECEIVER, queue, doorbell);
	}
}

static struct softaccel_queue_doorbell
doorbell_of(unsigned int function, unsigned int queue)
{
	struct softaccel_queue_doorbell doorbell;

	softaccel_queue_doorbell(fixture.rig.functions[function], queue, &doorbell);
	return doorbell;
}

/* Not at the doorbell: as ringpassd does for a guest, and as any driver may. */
static void
kick_by_message(struct rig_guest *guest, unsigned int queue)
{
	uint16_t value = htole16((uint16_t)queue);

	assert_int_equal(rp_vfu_client_region_write(guest->client, RIG_BAR_NOTIFY, rig_doorbell_at(guest, queue),
						    sizeof(value), &value, NULL),
			 0);
}

static void
send_one(void)
{
	uint8_t frame[RIG_FRAME_BYTES];

	rig_reap(SENDER, TX);
	rig_frame(frame, RIG_BROADCAST, 1, 7, ++fixture.sequence);
	assert_true(rig_send(SENDER, TX, frame, sizeof(frame)));
}

/* For whoever reads of a frame that did not come: where it is. */
static void
fail_with_state(void)
{
	char text[800];
	unsigned int function, queue;
	int used = 0;

	for (function = 0; function < 2; function++) {
		struct softaccel_port_counters port;

		softaccel_function_port_counters(fixture.rig.functions[function], &port);
		used += snprintf(text + used, sizeof(text) - (size_t)used, "port %u: in %llu out %llu no-buffer %llu; ",
				 function, (unsigned long long)port.in_packets, (unsigned long long)port.out_packets,
				 (unsigned long long)port.drops[SOFTACCEL_DROP_RX_NO_BUFFER]);
		for (queue = 0; queue < QUEUES; queue++) {
			struct softaccel_queue_doorbell doorbell = doorbell_of(function, queue);
			struct softaccel_queue_counters counters;

			softaccel_queue_counters(fixture.rig.functions[function], queue, &counters);
			used += snprintf(
				text + used, sizeof(text) - (size_t)used,
				"queue %u: state %d told %u watched %d direct %llu eventfd %llu packets %llu; ", queue,
				softaccel_queue_state(fixture.rig.functions[function], queue), doorbell.told,
				doorbell.watched, (unsigned long long)counters.direct_kicks,
				(unsigned long long)counters.eventfd_kicks, (unsigned long long)counters.packets);
		}
	}
	fail_msg("frame %u is missing: %s", fixture.sequence, text);
}

static void
expect_one(void)
{
	uint8_t packet[RIG_BUFFER_BYTES];
	unsigned int tries;

	for (tries = 0; tries < 10; tries++)
		if (rig_receive_wait(RECEIVER, RX, packet, sizeof(packet)) == RIG_HEADER_BYTES + RIG_FRAME_BYTES)
			break;
	if (tries == 10)
		fail_with_state();
	assert_int_equal(rig_frame_sequence(packet + RIG_HEADER_BYTES), fixture.sequence);
	rig_post(RECEIVER, RX, RIG_QUEUE_SIZE / 2, RIG_BUFFER_BYTES);
	kick_by_message(RECEIVER, RX);
}

static void
wait_unwatched(void)
{
	unsigned int i, function, queue, watched = 1;

	for (i = 0; i < PATIENCE && watched > 0; i++) {
		usleep(1000);
		for (watched = function = 0; function < 2; function++)
			for (queue = 0; queue < QUEUES; queue++)
				watched += doorbell_of(function, queue).watched;
	}
	assert_int_equal(watched, 0);
}

static uint32_t
wishes(struct rig_guest *guest)
{
	uint64_t queues_count = rig_common_read(guest, VIRTIO_PCI_COMMON_NUMQ, 2);
	uint64_t at =
		RIG_VENDOR + rp_accel_vendor_wishes_at(sizeof(struct rp_accel_vendor_queue), (uint32_t)queues_count);

	/* Those beyond are not used. */
	return (uint32_t)rig_common_read(guest, (uint32_t)at, 4) & ((1u << QUEUES) - 1);
}

static void
wait_wishes(struct rig_guest *guest, uint32_t expected)
{
	unsigned int i;

	for (i = 0; i < PATIENCE && wishes(guest) != expected; i++)
		usleep(1000);
	assert_int_equal(wishes(guest), expected);
}

struct rest {
	struct softaccel_sleep_counters sleeps;
	uint64_t cpu_us;
};

static struct rest
rest_of(void)
{
	struct rest rest = {.cpu_us = rig_data_cpu_us(&fixture.rig)};

	softaccel_sleep_counters(fixture.rig.accel, &rest.sleeps);
	return rest;
}

/*
 * Whether a while passes in which the data path neither woke nor used any time of a processor. It may
 * still have been on its way to sleep when we looked first, so there are tries; one that has a timer wakes
 * in each of them.
 */
static bool
sleeps_through(void)
{
	unsigned int tries;

	for (tries = 0; tries < 50; tries++) {
		struct rest before = rest_of(), after;

		usleep(100000);
		after = rest_of();
		if (memcmp(&before, &after, sizeof(before)) == 0)
			return true;
	}
	return false;
}

static void
nothing_to_do_costs_nothing(void **state)
{
	struct rest before, after;

	(void)state;
	/* Who was told nothing looks again and again ... */
	send_one();
	rig_ring(SENDER, TX);
	expect_one();
	before = rest_of();
	usleep(100000);
	after = rest_of();
	assert_true(after.sleeps.timed > before.sleeps.timed);
	assert_int_equal(after.sleeps.untimed, before.sleeps.untimed);
	/* ... and who knows that nobody stores sleeps until it is woken. */
	tell_all(EVENTFD);
	wait_unwatched();
	assert_true(sleeps_through());
	send_one();
	kick_by_message(SENDER, TX);
	expect_one();
	assert_true(sleeps_through());
	/* One doorbell of all is enough to be looked at. */
	tell(RECEIVER, TX, PAGE);
	before = rest_of();
	usleep(100000);
	after = rest_of();
	assert_true(after.sleeps.timed > before.sleeps.timed);
	tell(RECEIVER, TX, EVENTFD);
	wait_unwatched();
	assert_true(sleeps_through());
}

/* A processor that has not noticed that the page is gone. What was sent while it is watched arrives. */
static void
stored_after_it_was_given_back(void **state)
{
	unsigned int tries, proven = 0;

	(void)state;
	for (tries = 0; tries < 50 && proven < 2; tries++) {
		tell(SENDER, TX, PAGE);
		tell(SENDER, TX, EVENTFD);
		send_one();
		if (doorbell_of(0, TX).watched) {
			rig_ring(SENDER, TX);
			proven++;
		} else {
			kick_by_message(SENDER, TX);
		}
		expect_one();
	}
	assert_int_equal(proven, 2);
}

/* Nobody kicked at all: the one kick that the device gives itself. */
static void
it_kicks_itself_once(void **state)
{
	unsigned int tries, proven = 0;

	(void)state;
	for (tries = 0; tries < 50 && proven < 2; tries++) {
		tell(SENDER, TX, PAGE);
		tell(SENDER, TX, EVENTFD);
		send_one();
		if (doorbell_of(0, TX).watched)
			proven++;
		else
			kick_by_message(SENDER, TX);
		expect_one();
	}
	assert_int_equal(proven, 2);
}

/* A store that comes later still is remembered by the page. */
static void
seen_when_it_is_watched_again(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		tell_all(EVENTFD);
		wait_unwatched();
		send_one();
		rig_ring(SENDER, TX);
		tell(SENDER, TX, PAGE);
		expect_one();
	}
}

static void
told_twice(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		tell_all(EVENTFD);
		tell_all(EVENTFD);
		wait_unwatched();
		assert_true(sleeps_through());
		tell_all(PAGE);
		tell_all(PAGE);
		assert_true(doorbell_of(0, TX).watched);
		send_one();
		rig_ring(SENDER, TX);
		expect_one();
	}
}

static void
it_says_what_it_would_like(void **state)
{
	unsigned int i;

	(void)state;
	wait_wishes(SENDER, 0);
	assert_false(doorbell_of(0, TX).wants_page);
	tell_all(EVENTFD);
	wait_unwatched();
	/* What sends and what is filled again: both are kicked often. */
	for (i = 0; i < 100 && (wishes(SENDER) & 1u << TX) == 0; i++) {
		send_one();
		kick_by_message(SENDER, TX);
		expect_one();
	}
	assert_true((wishes(SENDER) & 1u << TX) != 0);
	/* And does not when it has it and nothing is done, whatever was asked for. */
	tell(SENDER, TX, PAGE);
	wait_wishes(SENDER, 0);
}

/* It is served by its page for ever, whatever the device would like. */
static void
a_driver_that_knows_nothing_of_it(void **state)
{
	unsigned int i;

	(void)state;
	wait_wishes(SENDER, 0);
	for (i = 0; i < 5; i++) {
		usleep(2000 * IDLE_MS);
		send_one();
		rig_ring(SENDER, TX);
		expect_one();
		assert_true(doorbell_of(0, TX).watched);
	}
}

static void
stop_and_start(void)
{
	rig_vendor_write(SENDER, TX, offsetof(struct rp_accel_vendor_queue, control), RP_ACCEL_VENDOR_STOP);
	rig_guest_enable(SENDER, TX);
}

static void
reset_all(void)
{
	rig_guest_fini(SENDER);
	start_guest(0);
}

/* The client leaves and comes back: a reset, and all that was said is forgotten. */
static void
stopped_and_reset_in_every_state(void **state)
{
	unsigned int doorbell, waits, round;

	(void)state;
	for (round = 0; round < 2; round++) {
		for (doorbell = ANY; doorbell <= PAGE; doorbell++) {
			for (waits = 0; waits < 2; waits++) {
				tell_all(EVENTFD);
				if (waits == 0)
					wait_unwatched();
				tell_all(doorbell);
				if (round == 0) {
					stop_and_start();
					assert_int_equal(doorbell_of(0, TX).told, doorbell);
				} else {
					reset_all();
				}
				send_one();
				if (round == 0 && doorbell == EVENTFD)
					kick_by_message(SENDER, TX);
				else
					rig_ring(SENDER, TX);
				expect_one();
			}
		}
	}
}

/* Kicks by whatever is allowed, while that changes all the time. */
static void
a_storm(void **state)
{
	uint32_t random = 12345;
	unsigned int i;
	bool page = false;

	(void)state;
	tell(SENDER, TX, EVENTFD);
	for (i = 0; i < 2000; i++) {
		random = random * 1103515245u + 12345u;
		if ((random >> 16) % 8 == 0) {
			page = !page;
			tell(SENDER, TX, page ? PAGE : EVENTFD);
		}
		if ((random >> 16) % 64 == 1)
			usleep((random >> 16) % 3000);
		send_one();
		if (page)
			rig_ring(SENDER, TX);
		else
			kick_by_message(SENDER, TX);
		expect_one();
	}
}

/* Without doorbells to store to there is nothing to look at, whatever the driver says. */
static void
eventfds_only(void **state)
{
	(void)state;
	start_with(&(struct softaccel_function_config){.doorbell = SOFTACCEL_DOORBELL_NONE, .idle_ms = IDLE_MS},
		   rig_split);
	assert_false(doorbell_of(0, TX).watched);
	assert_true(sleeps_through());
	send_one();
	kick_by_message(SENDER, TX);
	expect_one();
	assert_true(sleeps_through());
	teardown(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(nothing_to_do_costs_nothing, split),
		RIG_TEST(nothing_to_do_costs_nothing, packed),
		RIG_TESTS(stored_after_it_was_given_back),
		RIG_TESTS(it_kicks_itself_once),
		RIG_TEST(seen_when_it_is_watched_again, split),
		RIG_TEST(seen_when_it_is_watched_again, packed),
		RIG_TEST(told_twice, split),
		RIG_TEST(it_says_what_it_would_like, split),
		RIG_TEST(a_driver_that_knows_nothing_of_it, split),
		RIG_TEST(stopped_and_reset_in_every_state, split),
		RIG_TEST(stopped_and_reset_in_every_state, packed),
		RIG_TESTS(a_storm),
		cmocka_unit_test(eventfds_only),
	};

	rig_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
