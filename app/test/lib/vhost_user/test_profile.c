/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "rp_vhu_profile.h"
#include "test_support.h"

#define BIT(n) (1ull << (n))

static struct rp_vhu_dialect
dialect_of(enum rp_vhu_profile profile)
{
	struct rp_vhu_dialect dialect;
	struct rp_wire_why why;

	assert_int_equal(rp_vhu_dialect_init(&dialect, profile, NULL, &why), 0);
	return dialect;
}

static void
standard_has_the_notifier_of_the_specification(void **state)
{
	struct rp_vhu_dialect dialect = dialect_of(RP_VHU_PROFILE_STANDARD);

	(void)state;
	assert_int_equal(dialect.vfio_mask, 0);
	assert_false(rp_vhu_dialect_vfio(&dialect, UINT64_MAX));
	assert_int_equal(rp_vhu_dialect_notify_request(&dialect, BIT(11)), 3);
	assert_int_equal(rp_vhu_dialect_notify_request(&dialect, ~BIT(11)), 0);
	assert_string_equal(rp_vhu_dialect_find(&dialect, 3)->name, "BACKEND_VRING_HOST_NOTIFIER_MSG");
	assert_null(rp_vhu_dialect_find(&dialect, 0x5600));
	assert_null(rp_vhu_dialect_find(&dialect, 0x5601));
	assert_null(rp_vhu_dialect_find(&dialect, 0));
	assert_int_equal(dialect.protocol_features & BIT(8), 0);
}

static void
extended_adds_bit_62_and_two_messages(void **state)
{
	struct rp_vhu_dialect dialect = dialect_of(RP_VHU_PROFILE_EXTENDED);

	(void)state;
	assert_int_equal(dialect.vfio_mask, BIT(62));
	assert_int_equal(dialect.protocol_features & (BIT(62) | BIT(11) | BIT(10) | BIT(8)),
			 BIT(62) | BIT(11) | BIT(10));
	assert_int_equal(rp_vhu_dialect_notify_request(&dialect, BIT(62) | BIT(11)), 0x5601);
	assert_int_equal(rp_vhu_dialect_notify_request(&dialect, BIT(11)), 3);
	assert_int_equal(rp_vhu_dialect_notify_request(&dialect, BIT(10)), 0);
	assert_string_equal(rp_vhu_dialect_find(&dialect, 0x5600)->name, "BACKEND_VFIO_FILE");
	assert_string_equal(rp_vhu_dialect_find(&dialect, 0x5601)->name, "BACKEND_NOTIFY_AREA");
	assert_string_equal(rp_vhu_dialect_find(&dialect, 3)->name, "BACKEND_VRING_HOST_NOTIFIER_MSG");
}

/* The numbers of the patch of 2018, typed here a second time. */
static void
vfio2018_reads_three_and_four_its_own_way(void **state)
{
	struct rp_vhu_dialect dialect = dialect_of(RP_VHU_PROFILE_VFIO2018);

	(void)state;
	assert_int_equal(dialect.vfio_mask, BIT(8));
	assert_int_equal(dialect.protocol_features & (BIT(62) | BIT(11) | BIT(10) | BIT(8)), BIT(8));
	assert_int_equal(rp_vhu_dialect_notify_request(&dialect, BIT(8)), 4);
	assert_int_equal(rp_vhu_dialect_notify_request(&dialect, BIT(11)), 0);
	assert_string_equal(rp_vhu_dialect_find(&dialect, 3)->name, "SLAVE_VRING_VFIO_GROUP_MSG");
	assert_int_equal(rp_vhu_dialect_find(&dialect, 3)->payload_max_bytes, 8);
	assert_string_equal(rp_vhu_dialect_find(&dialect, 4)->name, "SLAVE_VRING_NOTIFY_AREA_MSG");
	assert_int_equal(rp_vhu_dialect_find(&dialect, 4)->payload_min_bytes, 24);
	assert_string_equal(rp_vhu_dialect_find(&dialect, 2)->name, "BACKEND_CONFIG_CHANGE_MSG");
}

static void
numbers_can_be_chosen_in_extended_only(void **state)
{
	const struct rp_vhu_numbers good = {.vfio_bit = 61, .vfio_file_request = 700, .notify_area_request = 701};
	const struct rp_vhu_numbers bad[] = {
		{.vfio_bit = 31},
		{.vfio_bit = 64},
		{.vfio_file_request = 255},
		{.notify_area_request = 9},
		{.vfio_file_request = 700, .notify_area_request = 700},
		{.vfio_file_request = 0x5601},
	};
	struct rp_vhu_dialect dialect;
	struct rp_wire_why why;
	unsigned int i;

	(void)state;
	assert_int_equal(rp_vhu_dialect_init(&dialect, RP_VHU_PROFILE_EXTENDED, &good, &why), 0);
	assert_int_equal(dialect.vfio_mask, BIT(61));
	assert_int_equal(rp_vhu_dialect_find(&dialect, 700)->protocol_feature_bit, 61);
	assert_int_equal(rp_vhu_dialect_notify_request(&dialect, BIT(61)), 701);
	assert_null(rp_vhu_dialect_find(&dialect, 0x5600));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(rp_vhu_dialect_init(&dialect, RP_VHU_PROFILE_EXTENDED, &bad[i], &why), -EINVAL);
	assert_int_equal(rp_vhu_dialect_init(&dialect, RP_VHU_PROFILE_STANDARD, &good, &why), -EINVAL);
	assert_string_equal(why.text, "profile: 'standard' has no numbers to choose");
	assert_int_equal(rp_vhu_dialect_init(&dialect, RP_VHU_PROFILE_VFIO2018, &good, &why), -EINVAL);
	assert_int_equal(rp_vhu_dialect_init(&dialect, (enum rp_vhu_profile)3, NULL, &why), -EINVAL);
}

static void
profiles_have_names(void **state)
{
	enum rp_vhu_profile profile;
	unsigned int i;

	(void)state;
	for (i = 0; i <= RP_VHU_PROFILE_VFIO2018; i++) {
		assert_int_equal(rp_vhu_profile_parse(rp_vhu_profile_name((enum rp_vhu_profile)i), &profile), 0);
		assert_int_equal(profile, i);
	}
	assert_int_equal(rp_vhu_profile_parse("2018", &profile), -EINVAL);
}

/* What the rows of the extension want of the descriptor, and of the type. */
static void
a_vfio_file_says_what_it_is(void **state)
{
	struct rp_vhu_dialect dialect = dialect_of(RP_VHU_PROFILE_EXTENDED);
	struct rp_vhu_wire_vfio_file file = {.queue_flags = 5, .type = RP_VHU_VFIO_CDEV};
	struct rp_wire_why why;

	(void)state;
#define CHECK(fds) rp_vhu_msg_check(&dialect.vfio_file, 0x5600, &file, sizeof(file), (fds), BIT(62), &why)
	assert_int_equal(CHECK(1), 0);
	assert_int_equal(CHECK(0), -EBADMSG);
	file.queue_flags |= RP_VHU_VRING_NOFD_MASK;
	assert_int_equal(CHECK(0), -EBADMSG); /* a type without a file */
	file.type = 0;
	assert_int_equal(CHECK(0), 0);
	assert_int_equal(CHECK(1), -EBADMSG);
	file = (struct rp_vhu_wire_vfio_file){.type = 2};
	assert_int_equal(CHECK(1), -EBADMSG);
	assert_string_equal(why.text,
			    "BACKEND_VFIO_FILE: type: 2, expected 0 (group) or 1 (cdev), 0 with no descriptor");
#undef CHECK
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(standard_has_the_notifier_of_the_specification),
		cmocka_unit_test(extended_adds_bit_62_and_two_messages),
		cmocka_unit_test(vfio2018_reads_three_and_four_its_own_way),
		cmocka_unit_test(numbers_can_be_chosen_in_extended_only),
		cmocka_unit_test(profiles_have_names),
		cmocka_unit_test(a_vfio_file_says_what_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
