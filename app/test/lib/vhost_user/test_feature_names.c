/* SPDX-License-Identifier: BSD-3-Clause */
#include "rp_vhu_msg.h"
#include "rp_vhu_profile.h"
#include "test_support.h"

static struct rp_vhu_dialect
dialect_of(enum rp_vhu_profile profile, const struct rp_vhu_numbers *numbers)
{
	struct rp_vhu_dialect dialect;

	assert_int_equal(rp_vhu_dialect_init(&dialect, profile, numbers, NULL), 0);
	return dialect;
}

static void
a_name_for_each_that_is_implemented(void **state)
{
	struct rp_vhu_dialect dialect = dialect_of(RP_VHU_PROFILE_STANDARD, NULL);
	unsigned int bit;

	(void)state;
	for (bit = 0; bit < 64; bit++)
		if ((rp_vhu_msg_protocol_features & 1ull << bit) != 0)
			assert_non_null(rp_vhu_dialect_feature_name(&dialect, bit));
	assert_string_equal(rp_vhu_dialect_feature_name(&dialect, 0), "MQ");
	assert_string_equal(rp_vhu_dialect_feature_name(&dialect, 22), "SHMEM");
	assert_null(rp_vhu_dialect_feature_name(&dialect, 23));
	assert_null(rp_vhu_dialect_feature_name(&dialect, 62));
	assert_null(rp_vhu_dialect_feature_name(&dialect, 64));
}

/* One bit has two names. */
static void
the_extension_is_called_by_its_profile(void **state)
{
	const struct rp_vhu_numbers numbers = {.vfio_bit = 40};
	struct rp_vhu_dialect standard = dialect_of(RP_VHU_PROFILE_STANDARD, NULL),
			      old = dialect_of(RP_VHU_PROFILE_VFIO2018, NULL),
			      chosen = dialect_of(RP_VHU_PROFILE_EXTENDED, &numbers);

	(void)state;
	assert_string_equal(rp_vhu_dialect_feature_name(&standard, 8), "PAGEFAULT");
	assert_string_equal(rp_vhu_dialect_feature_name(&old, 8), "VFIO");
	assert_string_equal(rp_vhu_dialect_feature_name(&chosen, 40), "VFIO");
	assert_null(rp_vhu_dialect_feature_name(&chosen, 62));
}

static void
a_list_of_names(void **state)
{
	struct rp_vhu_dialect dialect = dialect_of(RP_VHU_PROFILE_EXTENDED, NULL);
	char text[64], few[8];

	(void)state;
	rp_vhu_dialect_feature_names(&dialect, 1ull << 62 | 1ull << 40 | 1ull << 3, text, sizeof(text));
	assert_string_equal(text, "REPLY_ACK, bit 40, VFIO");
	rp_vhu_dialect_feature_names(&dialect, 0, text, sizeof(text));
	assert_string_equal(text, "");
	rp_vhu_dialect_feature_names(&dialect, UINT64_MAX, few, sizeof(few));
	assert_string_equal(few, "MQ, LOG");
	rp_vhu_dialect_feature_names(&dialect, UINT64_MAX, few, 0);
	assert_string_equal(few, "MQ, LOG");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_for_each_that_is_implemented),
		cmocka_unit_test(the_extension_is_called_by_its_profile),
		cmocka_unit_test(a_list_of_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
