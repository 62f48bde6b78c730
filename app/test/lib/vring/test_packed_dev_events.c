/* SPDX-License-Identifier: BSD-3-Clause */
#include "guest_packed.h"

/* Kicks and interrupts, asked for and suppressed (virtio 1.2, 2.8.10 and 2.8.14). */

static void
publish(struct packed_guest *driver, uint16_t chains_count, uint16_t size)
{
	struct guest *guest = driver->guest;
	uint16_t i, part;

	for (i = 0; i < chains_count; i++) {
		for (part = 1; part <= size; part++)
			packed_offer(driver, GUEST_BUFFERS, 1, 0, part < size ? NEXT : 0);
		guest_pop(guest);
		assert_int_equal(rp_vring_dev_push(&guest->ring, 0, 0), 0);
	}
}

static void
interrupt_flags(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;

	packed_start(&driver, guest, 5, 3, true, 0);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 0);
	publish(&driver, 1, 1);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 1);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 0);
	packed_event_put(guest, 0, false, EVENT_DISABLE);
	publish(&driver, 3, 1);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 0);
	/* A descriptor cannot be asked for without event indices, 3 is reserved: rather once too often. */
	packed_event_put(guest, 0, true, EVENT_DESC);
	publish(&driver, 1, 1);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 1);
	packed_event_put(guest, 0, true, 3);
	publish(&driver, 1, 1);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 1);
	/* Other bits are reserved: they say nothing. */
	packed_event_put(guest, 0, true, 0xfffc | EVENT_DISABLE);
	publish(&driver, 1, 1);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 0);
}

static void
notify_flags(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;

	packed_start(&driver, guest, 5, 3, true, 0);
	assert_int_equal(rp_vring_dev_set_notify(&guest->ring, false), 0);
	assert_int_equal(guest_get32(guest, GUEST_USED_AT), EVENT_DISABLE << 16);
	assert_int_equal(rp_vring_dev_set_notify(&guest->ring, true), 0);
	assert_int_equal(guest_get32(guest, GUEST_USED_AT), EVENT_ENABLE << 16);
}

/* The next descriptor is asked for, with the wrap counter that it will have. */
static void
notify_descriptor(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;

	packed_start(&driver, guest, 5, 4, true, F_EVENT_IDX);
	assert_int_equal(rp_vring_dev_set_notify(&guest->ring, true), 0);
	assert_int_equal(guest_get16(guest, GUEST_USED_AT), 0x8004);
	assert_int_equal(guest_get16(guest, GUEST_USED_AT + 2), EVENT_DESC);
	publish(&driver, 1, 3);
	assert_int_equal(rp_vring_dev_set_notify(&guest->ring, true), 0);
	assert_int_equal(guest_get16(guest, GUEST_USED_AT), 0x0002);
	assert_int_equal(guest_get16(guest, GUEST_USED_AT + 2), EVENT_DESC);
	assert_int_equal(rp_vring_dev_set_notify(&guest->ring, false), 0);
	assert_int_equal(guest_get16(guest, GUEST_USED_AT + 2), EVENT_DISABLE);
}

static void
first_decision_says_yes(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;

	packed_start(&driver, guest, 8, 3, true, F_EVENT_IDX);
	packed_event_put(guest, 1, true, EVENT_DESC);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 0);
	publish(&driver, 1, 1);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 1);
	publish(&driver, 1, 1);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 0);
	/* Nobody is woken who asked for none. */
	packed_start(&driver, guest, 8, 3, true, F_EVENT_IDX);
	packed_event_put(guest, 1, true, EVENT_DISABLE);
	publish(&driver, 1, 1);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 0);
}

/* An event beyond the ring is nonsense: rather once too often. */
static void
event_beyond_the_ring(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;

	packed_start(&driver, guest, 5, 0, true, F_EVENT_IDX);
	publish(&driver, 1, 1);
	rp_vring_dev_needs_interrupt(&guest->ring);
	packed_event_put(guest, 5, true, EVENT_DESC);
	publish(&driver, 1, 1);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 1);
	packed_event_put(guest, 0x7fff, false, EVENT_DESC);
	publish(&driver, 1, 1);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 1);
}

/* Every event of both laps against every batch, counted with numbers that never wrap. */
static void
every_event(void **state)
{
	static const uint16_t nums[] = {1, 2, 5, 8};
	struct packed_guest driver;
	struct guest *guest = *state;
	size_t n;

	for (n = 0; n < sizeof(nums) / sizeof(nums[0]); n++) {
		uint32_t num = nums[n], start, batch, size, event, i;

		for (start = 2 * num; start < 4 * num; start++) {
			for (batch = 1; batch <= 2 * num + 1; batch++) {
				for (size = 1; size <= 2 && size <= num; size++) {
					for (event = 0; event < 2 * num; event++) {
						uint32_t before = start - 1;
						int expected = 0;

						packed_start(&driver, guest, (uint16_t)num, (uint16_t)(before % num),
							     before / num % 2 == 0, F_EVENT_IDX);
						publish(&driver, 1, 1);
						rp_vring_dev_needs_interrupt(&guest->ring);
						packed_event_put(guest, (uint16_t)(event % num), event / num == 0,
								 EVENT_DESC);
						publish(&driver, (uint16_t)batch, (uint16_t)size);
						for (i = start; i < start + batch * size; i++)
							expected |= i % (2 * num) == event;
						assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), expected);
					}
				}
			}
		}
	}
}

/* A busy device that decides seldom: laps by the thousand are not none. */
static void
many_laps_without_decision(void **state)
{
	static const uint32_t counts[] = {65535, 65536, 65537, 131072};
	struct packed_guest driver;
	struct guest *guest = *state;
	uint32_t i;
	size_t c;

	for (c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
		packed_start(&driver, guest, 8, 0, true, F_EVENT_IDX);
		publish(&driver, 1, 1);
		rp_vring_dev_needs_interrupt(&guest->ring);
		packed_event_put(guest, 5, true, EVENT_DESC);
		for (i = 0; i < counts[c]; i++)
			publish(&driver, 1, 1);
		assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 1);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(interrupt_flags),
		WITH_GUEST(notify_flags),
		WITH_GUEST(notify_descriptor),
		WITH_GUEST(first_decision_says_yes),
		WITH_GUEST(event_beyond_the_ring),
		WITH_GUEST(every_event),
		WITH_GUEST(many_laps_without_decision),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
