/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "bed.h"
#include "rp_wire_fd.h"
#include "rp_wire_parcel.h"

static struct rp_wire_parcel *parcel;

static int
setup(void **state)
{
	int rc = bed_setup(state);

	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	return rc;
}

static int
teardown(void **state)
{
	parcel = rp_wire_parcel_destroy(parcel);
	return bed_teardown(state);
}

static void
assert_not_given(const struct bed *bed, int error, const char *words)
{
	struct rp_wire_why why = {0};

	assert_int_equal(rp_vhu_backend_give(bed->backend, parcel, &why), error);
	assert_non_null(strstr(why.text, words));
	assert_null(rp_wire_parcel_next(parcel, NULL));
}

/* Who only described may go on. */
static void
nothing_changes(void **state)
{
	struct bed *bed = *state;

	bed_run(bed);
	assert_int_equal(rp_vhu_backend_give(bed->backend, parcel, NULL), 0);
	assert_string_equal(bed_diary(bed), "");
	bed_assert_usable(bed);
	assert_int_equal(rp_wire_parcel_get_number(parcel, "ring[0].num", UINT16_MAX), BED_RING_NUM);
	assert_int_equal(rp_wire_parcel_get_number(parcel, "region[0].gpa", UINT64_MAX), BED_GPA);
	assert_true(rp_wire_parcel_has(parcel, "connection"));
	assert_true(rp_wire_parcel_has(parcel, "channel"));
	bed_get_base(bed, 0);
	assert_string_equal(bed_diary(bed), "stop:0 ");
}

/* The frontend hears nothing of it as long as somebody has its socket. */
static void
the_owner_is_not_called(void **state)
{
	struct bed *bed = *state;

	bed_run(bed);
	assert_int_equal(rp_vhu_backend_give(bed->backend, parcel, NULL), 0);
	rp_vhu_backend_leave(bed->backend);
	assert_false(rp_vhu_backend_attached(bed->backend));
	assert_string_equal(bed_diary(bed), "");
	assert_int_equal(rp_vhu_backend_regions_count(bed->backend), 0);
	assert_int_equal(rp_vhu_backend_features(bed->backend), 0);
	assert_true(peer_silent(bed->peer));
	assert_true(peer_silent(bed->channel));
	bed->backend = rp_vhu_backend_destroy(bed->backend);
	assert_string_equal(bed_diary(bed), "");
	assert_true(peer_silent(bed->peer));
	parcel = rp_wire_parcel_destroy(parcel);
	assert_true(peer_closed(bed->peer));
}

static void
without_a_frontend_there_is_nothing(void **state)
{
	struct bed *bed = *state;

	bed_hang_up(bed);
	assert_not_given(bed, -ENOTCONN, "no frontend");
}

static void
not_in_the_middle_of_a_message(void **state)
{
	static const uint32_t header[3] = {RP_VHU_GET_FEATURES, 0x1, 0};
	struct bed *bed = *state;

	bed_run(bed);
	assert_true(peer_send_bytes(bed->peer, header, 5, NULL, 0));
	/* What nobody has read waits for the successor. */
	assert_int_equal(rp_vhu_backend_give(bed->backend, parcel, NULL), 0);
	rp_wire_parcel_destroy(parcel);
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	bed_process(bed);
	assert_not_given(bed, -EAGAIN, "half read");
	assert_true(peer_send_bytes(bed->peer, (const uint8_t *)header + 5, sizeof(header) - 5, NULL, 0));
	bed_process(bed);
	assert_int_equal(rp_vhu_backend_give(bed->backend, parcel, NULL), 0);
	bed_answer(bed, RP_VHU_GET_FEATURES);
}

static int
give_inside(void *ctx, unsigned int queue, bool enabled, struct rp_wire_why *why)
{
	struct bed *bed = ctx;

	(void)queue, (void)enabled, (void)why;
	assert_not_given(bed, -EBUSY, "is being served");
	bed_write(bed, "asked ");
	return 0;
}

static void
not_in_a_callback(void **state)
{
	struct bed *bed = *state;

	bed->ops.vring_enable = give_inside;
	bed_run(bed);
	bed_send_state(bed, RP_VHU_SET_VRING_ENABLE, 0x1, 0, 1);
	assert_string_equal(bed_diary(bed), "asked ");
}

static void
translations_are_not_given(void **state)
{
	struct bed *bed = *state;

	bed_negotiate_with(bed, 0, 1ull << 33);
	assert_not_given(bed, -ENOTSUP, "VIRTIO_F_ACCESS_PLATFORM");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(the_owner_is_not_called, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_frontend_there_is_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(not_in_the_middle_of_a_message, setup, teardown),
		cmocka_unit_test_setup_teardown(not_in_a_callback, setup, teardown),
		cmocka_unit_test_setup_teardown(translations_are_not_given, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
