/* SPDX-License-Identifier: BSD-3-Clause */
#include "guest.h"

/* Kicks and interrupts, asked for and suppressed: flags or event indices (virtio 1.2, 2.7.7 to 2.7.10). */

static size_t
used_event_at(const struct guest *guest)
{
	return GUEST_AVAIL_AT + 4 + 2 * (size_t)guest->layout.num;
}

static uint16_t
avail_event(const struct guest *guest)
{
	return guest_get16(guest, GUEST_USED_AT + 4 + 8 * (size_t)guest->layout.num);
}

static void
publish(struct guest *guest, uint16_t count)
{
	uint16_t i;

	for (i = 0; i < count; i++) {
		guest_desc(guest, 0, GUEST_BUFFERS, 1, 0, 0);
		guest_offer(guest, 0);
		guest_pop(guest);
		assert_int_equal(rp_vring_dev_push(&guest->ring, 0, 0), 0);
	}
}

/* What 2.7.7.1 says, in 64-bit arithmetic: is the event among the entries from `old` up to `next`? */
static int
event_is_among(uint64_t event, uint64_t old, uint64_t next)
{
	uint64_t position;

	for (position = old; position < next; position++) {
		if ((position & 0xffff) == event)
			return 1;
	}
	return 0;
}

static void
interrupt_flag(void **state)
{
	struct guest *guest = *state;

	guest_start(guest, 8, 65535, 0);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 0);
	publish(guest, 1);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 1);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 0);
	guest_put16(guest, GUEST_AVAIL_AT, 1);
	publish(guest, 1);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 0);
	/* Other bits are reserved: they say nothing. */
	guest_put16(guest, GUEST_AVAIL_AT, 0xfffe);
	publish(guest, 2);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 1);
}

static void
notify_flag(void **state)
{
	struct guest *guest = *state;

	guest_start(guest, 8, 0, 0);
	assert_int_equal(rp_vring_dev_set_notify(&guest->ring, false), 0);
	assert_int_equal(guest_get16(guest, GUEST_USED_AT), 1);
	assert_int_equal(rp_vring_dev_set_notify(&guest->ring, true), 0);
	assert_int_equal(guest_get16(guest, GUEST_USED_AT), 0);
	assert_int_equal(avail_event(guest), 0);
}

/* With event indices the flags stay 0 (2.7.10): only the event moves. */
static void
notify_event(void **state)
{
	struct guest *guest = *state;

	guest_start(guest, 8, 65535, F_EVENT_IDX);
	assert_int_equal(rp_vring_dev_set_notify(&guest->ring, true), 0);
	assert_int_equal(avail_event(guest), 65535);
	publish(guest, 1);
	assert_int_equal(rp_vring_dev_set_notify(&guest->ring, true), 0);
	assert_int_equal(avail_event(guest), 0);
	publish(guest, 1);
	/* "None" is as far from coming again as an event can be. */
	assert_int_equal(rp_vring_dev_set_notify(&guest->ring, false), 0);
	assert_int_equal(avail_event(guest), 0);
	publish(guest, 3);
	assert_int_equal(rp_vring_dev_set_notify(&guest->ring, false), 0);
	assert_int_equal(avail_event(guest), 3);
	assert_int_equal(guest_get16(guest, GUEST_USED_AT), 0);
}

static void
first_decision_says_yes(void **state)
{
	struct guest *guest = *state;

	guest_start(guest, 8, 100, F_EVENT_IDX);
	guest_put16(guest, used_event_at(guest), 50);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 0);
	publish(guest, 1);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 1);
	publish(guest, 1);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 0);
}

/* The driver's flag says nothing once event indices are negotiated. */
static void
interrupt_flag_is_ignored_with_events(void **state)
{
	struct guest *guest = *state;

	guest_start(guest, 8, 0, F_EVENT_IDX);
	publish(guest, 1);
	rp_vring_dev_needs_interrupt(&guest->ring);
	guest_put16(guest, GUEST_AVAIL_AT, 1);
	guest_put16(guest, used_event_at(guest), 1);
	publish(guest, 1);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 1);
}

/* All events near the entries published, on both sides of 65535, in batches of every size. */
static void
interrupt_event_around_65535(void **state)
{
	struct guest *guest = *state;
	uint64_t start, event;
	uint16_t batch;

	for (start = 65526; start <= 65540; start++) {
		for (batch = 1; batch <= 6; batch++) {
			for (event = start - 4; event < start + 10; event++) {
				guest_start(guest, 8, (uint16_t)(start - 1), F_EVENT_IDX);
				publish(guest, 1);
				assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 1);
				guest_put16(guest, used_event_at(guest), (uint16_t)event);
				publish(guest, batch);
				assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring),
						 event_is_among(event & 0xffff, start, start + batch));
			}
		}
	}
}

/* A busy device that decides seldom: 65536 entries, an exact lap, are not none. */
static void
a_whole_lap_without_decision(void **state)
{
	static const uint32_t laps[] = {65535, 65536, 65537, 131072};
	struct guest *guest = *state;
	uint32_t i;
	size_t l;

	for (l = 0; l < sizeof(laps) / sizeof(laps[0]); l++) {
		guest_start(guest, 8, 0, F_EVENT_IDX);
		publish(guest, 1);
		rp_vring_dev_needs_interrupt(&guest->ring);
		guest_put16(guest, used_event_at(guest), 5);
		for (i = 0; i < laps[l]; i++)
			publish(guest, 1);
		assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 1);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(interrupt_flag),
		WITH_GUEST(notify_flag),
		WITH_GUEST(notify_event),
		WITH_GUEST(first_decision_says_yes),
		WITH_GUEST(interrupt_flag_is_ignored_with_events),
		WITH_GUEST(interrupt_event_around_65535),
		WITH_GUEST(a_whole_lap_without_decision),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
