/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scripted.h"

/* DEVICE_FEATURE, and every answer that can come to it. */

static void
test_feature_vectors(void **state)
{
	uint8_t data[8];
	uint32_t bytes = 0;
	uint64_t flags = 0;
	enum rp_vfu_mig_state mig_state;

	(void)state;
	REPLY_WITH(0, U32(8), U32(0x70008));
	assert_int_equal(rp_vfu_client_feature_probe(scripted.client, 8, 0x30000, &scripted.why), 0);
	SENT(0, HEADER(1, 16, 24, COMMAND, 0), U32(8), U32(0x70008));
	REPLY_WITH(0, U32(11), U32(0x10005), 'a', 'b', 'c');
	assert_int_equal(rp_vfu_client_feature_get(scripted.client, 5, data, 8, &bytes, &scripted.why), 0);
	SENT(0, HEADER(2, 16, 24, COMMAND, 0), U32(16), U32(0x10005));
	assert_int_equal(bytes, 3);
	assert_memory_equal(data, "abc", 3);
	REPLY_WITH(0, U32(11), U32(0x20005), 'x', 'y', 'z');
	assert_int_equal(rp_vfu_client_feature_set(scripted.client, 5, data, 3, &scripted.why), 0);
	SENT(0, HEADER(3, 16, 27, COMMAND, 0), U32(11), U32(0x20005), 'a', 'b', 'c');
	assert_memory_equal(data, "xyz", 3);
	REPLY_WITH(0, U32(16), U32(0x10001), U64(5));
	assert_int_equal(rp_vfu_client_migration_flags(scripted.client, &flags, &scripted.why), 0);
	SENT(0, HEADER(4, 16, 24, COMMAND, 0), U32(16), U32(0x10001));
	assert_int_equal(flags, 5);
	REPLY_WITH(0, U32(16), U32(0x10002), U32(3), U32(77));
	assert_int_equal(rp_vfu_client_migration_state(scripted.client, &mig_state, &scripted.why), 0);
	assert_int_equal(mig_state, RP_VFU_MIG_STOP_COPY);
	REPLY_WITH(0, U32(16), U32(0x20002), U32(4), U32(0));
	assert_int_equal(rp_vfu_client_migration_set_state(scripted.client, RP_VFU_MIG_RESUMING, &scripted.why), 0);
	SENT(0, HEADER(6, 16, 32, COMMAND, 0), U32(16), U32(0x20002), U32(4), U32(0));
}

static void
test_lies(void **state)
{
	enum rp_vfu_mig_state mig_state = RP_VFU_MIG_STATES_COUNT;
	uint8_t data[4] = {1, 2, 3, 4};
	uint64_t flags = 99;
	uint32_t bytes = 99;

	(void)state;
	REPLY_WITH(0, U32(8), U32(0x40009));
	assert_int_equal(rp_vfu_client_feature_probe(scripted.client, 8, 0, &scripted.why), -EBADMSG);
	scripted_assert_why("flags: 0x40009, asked for 0x40008");
	REPLY_WITH(0, U32(12), U32(0x40008));
	assert_int_equal(rp_vfu_client_feature_probe(scripted.client, 8, 0, &scripted.why), -EBADMSG);
	scripted_assert_why("argsz: 12, in a reply of 8 bytes");
	REPLY_WITH(0, U32(4), U32(0x40008));
	assert_int_equal(rp_vfu_client_feature_probe(scripted.client, 8, 0, &scripted.why), -EBADMSG);
	REPLY_WITH(1, U32(8), U32(0x40008));
	assert_int_equal(rp_vfu_client_feature_probe(scripted.client, 8, 0, &scripted.why), -EBADMSG);
	scripted_assert_why("descriptors: 1");
	REPLY_WITH(0, U32(8));
	assert_int_equal(rp_vfu_client_feature_probe(scripted.client, 8, 0, &scripted.why), -EBADMSG);
	REPLY_WITH(0, U32(13), U32(0x10005), 1, 2, 3, 4, 5);
	assert_int_equal(rp_vfu_client_feature_get(scripted.client, 5, data, 4, &bytes, &scripted.why), -EBADMSG);
	scripted_assert_why("5 bytes of data, expected at most 4");
	assert_int_equal(bytes, 99);
	REPLY_WITH(0, U32(8), U32(0x20005));
	assert_int_equal(rp_vfu_client_feature_set(scripted.client, 5, data, 4, &scripted.why), -EBADMSG);
	scripted_assert_why("0 bytes of data, expected 4");
	REPLY_WITH(0, U32(16), U32(0x10001), U64(6));
	assert_int_equal(rp_vfu_client_migration_flags(scripted.client, &flags, &scripted.why), -EBADMSG);
	scripted_assert_why("without STOP_COPY");
	REPLY_WITH(0, U32(12), U32(0x10001), U32(1));
	assert_int_equal(rp_vfu_client_migration_flags(scripted.client, &flags, &scripted.why), -EBADMSG);
	scripted_assert_why("4 bytes of data, expected 8");
	assert_int_equal(flags, 99);
	REPLY_WITH(0, U32(16), U32(0x10002), U32(8), U32(0));
	assert_int_equal(rp_vfu_client_migration_state(scripted.client, &mig_state, &scripted.why), -EBADMSG);
	scripted_assert_why("migration state 8");
	assert_int_equal(mig_state, RP_VFU_MIG_STATES_COUNT);
	REPLY_WITH(0, U32(16), U32(0x20002), U32(0), U32(0));
	assert_int_equal(rp_vfu_client_migration_set_state(scripted.client, RP_VFU_MIG_STOP, &scripted.why), -EBADMSG);
	scripted_assert_why("migration state 0, asked for 1");
	script_refuse_with(ENOTTY);
	assert_int_equal(rp_vfu_client_feature_probe(scripted.client, 8, 0, &scripted.why), -ENOTTY);
	assert_int_equal(rp_vfu_client_reset(scripted.client, &scripted.why), 0);
}

static void
test_our_callers_mistakes(void **state)
{
	uint32_t bytes;

	(void)state;
	assert_int_equal(rp_vfu_client_feature_probe(scripted.client, 0x10000, 0, &scripted.why), -EINVAL);
	assert_int_equal(rp_vfu_client_feature_probe(scripted.client, 1, 0x40000, &scripted.why), -EINVAL);
	assert_int_equal(rp_vfu_client_feature_get(scripted.client, 0x10000, NULL, 0, &bytes, &scripted.why), -EINVAL);
	assert_int_equal(rp_vfu_client_feature_get(scripted.client, 1, NULL, UINT32_MAX, &bytes, &scripted.why),
			 -EINVAL);
	assert_int_equal(rp_vfu_client_feature_set(scripted.client, 0x10000, NULL, 0, &scripted.why), -EINVAL);
	assert_int_equal(rp_vfu_client_feature_set(scripted.client, 1, NULL, 1048577, &scripted.why), -EINVAL);
	assert_int_equal(script_sent_count(), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_feature_vectors, scripted_setup, scripted_teardown),
		cmocka_unit_test_setup_teardown(test_lies, scripted_setup, scripted_teardown),
		cmocka_unit_test_setup_teardown(test_our_callers_mistakes, scripted_setup, scripted_teardown),
	};

	return cmocka_run_group_tests_name("vfio-user client: features", tests, NULL, NULL);
}
