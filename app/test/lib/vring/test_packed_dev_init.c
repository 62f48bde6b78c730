/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "guest_packed.h"

#define FAR_IOVA 0x100000000u
#define FRESH 0x80008000u

static void
assert_init_refused(struct guest *guest, const struct rp_vring_layout *layout, uint32_t position, const char *words)
{
	struct rp_wire_why why = {0};

	assert_int_equal(rp_vring_dev_init(&guest->ring, layout, position, guest->reader, &why), -EBADMSG);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s' does not say '%s'", why.text, words);
	assert_int_equal(rp_vring_dev_available(&guest->ring), -EBADMSG);
	assert_non_null(rp_vring_dev_why(&guest->ring));
}

static void
assert_init(struct guest *guest, const struct rp_vring_layout *layout)
{
	assert_int_equal(rp_vring_dev_init(&guest->ring, layout, FRESH, guest->reader, NULL), 0);
}

static void
num_needs_no_power_of_two(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;
	struct rp_vring_layout layout;
	uint32_t num;

	packed_start(&driver, guest, 1, 0, true, 0);
	layout = guest->layout;
	for (num = 0; num <= UINT16_MAX; num += num < 100 ? 1 : 107) {
		layout.num = (uint16_t)num;
		if (num != 0 && num <= 32768)
			assert_init(guest, &layout);
		else
			assert_init_refused(guest, &layout, FRESH, "expected 1 up to 32768");
	}
	layout.num = 32768;
	assert_init(guest, &layout);
	layout.num = 32769;
	assert_init_refused(guest, &layout, FRESH, "num: is 32769, expected 1 up to 32768");
}

static void
notes_are_needed(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;
	struct rp_wire_why why = {0};

	assert_false(rp_vring_dev_needs_notes(F_EVENT_IDX | F_INDIRECT_DESC));
	assert_true(rp_vring_dev_needs_notes(F_IN_ORDER));
	assert_true(rp_vring_dev_needs_notes(F_RING_PACKED));
	packed_start(&driver, guest, 8, 0, true, 0);
	guest->layout.notes = NULL;
	assert_int_equal(rp_vring_dev_init(&guest->ring, &guest->layout, FRESH, guest->reader, &why), -EINVAL);
	assert_non_null(strstr(why.text, "notes: there are none, expected 8"));
	assert_int_equal(rp_vring_dev_available(&guest->ring), -EBADMSG);
}

static void
positions(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;

	packed_start(&driver, guest, 6, 5, false, 0);
	assert_int_equal(rp_vring_dev_position(&guest->ring), 0x00050005);
	/* Wrap counters of 0 are a lap like the other. */
	assert_int_equal(rp_vring_dev_init(&guest->ring, &guest->layout, 0, guest->reader, NULL), 0);
	assert_int_equal(rp_vring_dev_position(&guest->ring), 0);
	assert_init_refused(guest, &guest->layout, 0x00060006, "next available descriptor is 6, expected less than 6");
	assert_init_refused(guest, &guest->layout, 0x80018003, "expected a drained ring");
	assert_init_refused(guest, &guest->layout, 0x00008000, "expected a drained ring");
}

static void
parts_are_aligned(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;
	struct rp_vring_layout good, bad;
	uint64_t step;

	packed_start(&driver, guest, 8, 0, true, 0);
	good = guest->layout;
	for (step = 1; step < 16; step++) {
		bad = good;
		bad.desc_iova += step;
		assert_init_refused(guest, &bad, FRESH, "descriptor ring: is at 0x4000000");
	}
	for (step = 1; step < 4; step++) {
		bad = good;
		bad.avail_iova += step;
		assert_init_refused(guest, &bad, FRESH, "driver event suppression: is at 0x4009000");
		bad = good;
		bad.used_iova += step;
		assert_init_refused(guest, &bad, FRESH, "expected a multiple of 4");
	}
	good.desc_iova += 16;
	good.avail_iova += 4;
	good.used_iova += 4;
	assert_init(guest, &good);
}

/* Each part at the very end of the memory, then beyond it. */
static void
parts_are_mapped_to_the_last_byte(void **state)
{
	uint64_t end = GUEST_IOVA + GUEST_BYTES;
	struct rp_vring_layout good, bad;
	struct packed_guest driver;
	struct guest *guest = *state;

	packed_start(&driver, guest, 7, 0, true, 0);
	good = guest->layout;
	bad = good;
	bad.desc_iova = end - 16 * 7;
	assert_init(guest, &bad);
	bad.desc_iova += 16;
	assert_init_refused(guest, &bad, FRESH, "descriptor ring is not mapped");
	bad = good;
	bad.avail_iova = end - 4;
	assert_init(guest, &bad);
	bad.avail_iova += 4;
	assert_init_refused(guest, &bad, FRESH, "driver event suppression is not mapped");
	bad = good;
	bad.used_iova = end - 4;
	assert_init(guest, &bad);
	bad.used_iova += 4;
	assert_init_refused(guest, &bad, FRESH, "device event suppression is not mapped");
	bad.used_iova = UINT64_MAX - 3;
	assert_init_refused(guest, &bad, FRESH, "device event suppression is not mapped");
}

/* The device writes to the descriptor ring too. */
static void
parts_need_their_access(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;
	struct rp_vring_layout layout;

	guest_map(guest, FAR_IOVA, 0, GUEST_BYTES, RP_DMA_READ);
	guest_map(guest, 2 * (uint64_t)FAR_IOVA, 0, GUEST_BYTES, RP_DMA_WRITE);
	packed_start(&driver, guest, 8, 0, true, 0);
	layout = guest->layout;
	layout.desc_iova = FAR_IOVA;
	assert_init_refused(guest, &layout, FRESH, "descriptor ring is not mapped");
	layout.desc_iova = 2 * (uint64_t)FAR_IOVA;
	assert_init_refused(guest, &layout, FRESH, "descriptor ring is not mapped");
	layout = guest->layout;
	layout.avail_iova = FAR_IOVA;
	layout.used_iova = 2 * (uint64_t)FAR_IOVA;
	assert_init(guest, &layout);
	layout.avail_iova = layout.used_iova;
	assert_init_refused(guest, &layout, FRESH, "driver event suppression is not mapped");
	layout.avail_iova = FAR_IOVA;
	layout.used_iova = FAR_IOVA;
	assert_init_refused(guest, &layout, FRESH, "device event suppression is not mapped");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(num_needs_no_power_of_two),
		WITH_GUEST(notes_are_needed),
		WITH_GUEST(positions),
		WITH_GUEST(parts_are_aligned),
		WITH_GUEST(parts_are_mapped_to_the_last_byte),
		WITH_GUEST(parts_need_their_access),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
