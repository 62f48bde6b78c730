/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "rp_vring_position.h"
#include "guest.h"

static void
assert_refused(uint64_t features, uint16_t num, uint32_t position, const char *words)
{
	struct rp_wire_why why = {0};

	assert_int_equal(rp_vring_position_check(features, num, position, &why), -EBADMSG);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s' does not say '%s'", why.text, words);
	assert_int_equal(rp_vring_position_check(features, num, position, NULL), -EBADMSG);
}

static void
fresh(void **state)
{
	(void)state;
	assert_int_equal(rp_vring_position_fresh(0), 0);
	assert_int_equal(rp_vring_position_fresh(F_EVENT_IDX | F_IN_ORDER), 0);
	assert_int_equal(rp_vring_position_fresh(F_RING_PACKED), 0x80008000);
	assert_int_equal(rp_vring_position_check(F_RING_PACKED, 1, 0x80008000, NULL), 0);
}

static void
drained_from_a_half(void **state)
{
	(void)state;
	assert_int_equal(rp_vring_position_drained(0, 0xffff), 0xffff);
	assert_int_equal(rp_vring_position_drained(F_RING_PACKED, 0x8000), 0x80008000);
	assert_int_equal(rp_vring_position_drained(F_RING_PACKED, 0x0123), 0x01230123);
}

static void
split_has_16_bits(void **state)
{
	(void)state;
	assert_int_equal(rp_vring_position_check(0, 4, 0, NULL), 0);
	assert_int_equal(rp_vring_position_check(0, 4, 0xffff, NULL), 0);
	assert_refused(0, 4, 0x10000, "position: is 0x10000, expected an index of 16 bits");
	assert_refused(0, 4, 0x80008000, "expected an index of 16 bits");
}

static void
packed_halves(void **state)
{
	(void)state;
	assert_int_equal(rp_vring_position_check(F_RING_PACKED, 5, 0x00040004, NULL), 0);
	assert_int_equal(rp_vring_position_check(F_RING_PACKED, 5, 0x80048004, NULL), 0);
	assert_int_equal(rp_vring_position_check(F_RING_PACKED, 32768, 0x7fff7fff, NULL), 0);
	assert_refused(F_RING_PACKED, 5, 0x00040005, "next available descriptor is 5, expected less than 5");
	assert_refused(F_RING_PACKED, 5, 0xffff8000, "next used descriptor is 32767, expected less than 5");
	/* In flight: two descriptors; a whole lap; and what a peer means that leaves a half out. */
	assert_refused(F_RING_PACKED, 5, 0x80018003,
		       "next available 3 (wrap 1), next used 1 (wrap 1), expected a drained ring");
	assert_refused(F_RING_PACKED, 5, 0x00018001, "expected a drained ring");
	assert_refused(F_RING_PACKED, 5, 0x00008000, "expected a drained ring");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fresh),
		cmocka_unit_test(drained_from_a_half),
		cmocka_unit_test(split_has_16_bits),
		cmocka_unit_test(packed_halves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
