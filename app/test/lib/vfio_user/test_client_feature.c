/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"

/* DEVICE_FEATURE, and every answer that can come to it. */

static struct liar liar;
static struct rp_vfu_client *client;
static struct rp_wire_why why;

static int
setup(void **state)
{
	(void)state;
	script_clear();
	client = liar_client(&liar, script_record);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	client = rp_vfu_client_destroy(client);
	liar_stop(&liar);
	return 0;
}

static void
assert_why(const char *words)
{
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s' does not say '%s'", why.text, words);
}

static void
test_feature_vectors(void **state)
{
	uint8_t data[8];
	uint32_t bytes = 0;
	uint64_t flags = 0;
	enum rp_vfu_mig_state mig_state;

	(void)state;
	REPLY_WITH(0, U32(8), U32(0x70008));
	assert_int_equal(rp_vfu_client_feature_probe(client, 8, 0x30000, &why), 0);
	SENT(0, HEADER(1, 16, 24, COMMAND, 0), U32(8), U32(0x70008));
	REPLY_WITH(0, U32(11), U32(0x10005), 'a', 'b', 'c');
	assert_int_equal(rp_vfu_client_feature_get(client, 5, data, 8, &bytes, &why), 0);
	SENT(0, HEADER(2, 16, 24, COMMAND, 0), U32(16), U32(0x10005));
	assert_int_equal(bytes, 3);
	assert_memory_equal(data, "abc", 3);
	REPLY_WITH(0, U32(11), U32(0x20005), 'x', 'y', 'z');
	assert_int_equal(rp_vfu_client_feature_set(client, 5, data, 3, &why), 0);
	SENT(0, HEADER(3, 16, 27, COMMAND, 0), U32(11), U32(0x20005), 'a', 'b', 'c');
	assert_memory_equal(data, "xyz", 3);
	REPLY_WITH(0, U32(16), U32(0x10001), U64(5));
	assert_int_equal(rp_vfu_client_migration_flags(client, &flags, &why), 0);
	SENT(0, HEADER(4, 16, 24, COMMAND, 0), U32(16), U32(0x10001));
	assert_int_equal(flags, 5);
	REPLY_WITH(0, U32(16), U32(0x10002), U32(3), U32(77));
	assert_int_equal(rp_vfu_client_migration_state(client, &mig_state, &why), 0);
	assert_int_equal(mig_state, RP_VFU_MIG_STOP_COPY);
	REPLY_WITH(0, U32(16), U32(0x20002), U32(4), U32(0));
	assert_int_equal(rp_vfu_client_migration_set_state(client, RP_VFU_MIG_RESUMING, &why), 0);
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
	assert_int_equal(rp_vfu_client_feature_probe(client, 8, 0, &why), -EBADMSG);
	assert_why("flags: 0x40009, asked for 0x40008");
	REPLY_WITH(0, U32(12), U32(0x40008));
	assert_int_equal(rp_vfu_client_feature_probe(client, 8, 0, &why), -EBADMSG);
	assert_why("argsz: 12, in a reply of 8 bytes");
	REPLY_WITH(0, U32(4), U32(0x40008));
	assert_int_equal(rp_vfu_client_feature_probe(client, 8, 0, &why), -EBADMSG);
	REPLY_WITH(1, U32(8), U32(0x40008));
	assert_int_equal(rp_vfu_client_feature_probe(client, 8, 0, &why), -EBADMSG);
	assert_why("descriptors: 1");
	REPLY_WITH(0, U32(8));
	assert_int_equal(rp_vfu_client_feature_probe(client, 8, 0, &why), -EBADMSG);
	REPLY_WITH(0, U32(13), U32(0x10005), 1, 2, 3, 4, 5);
	assert_int_equal(rp_vfu_client_feature_get(client, 5, data, 4, &bytes, &why), -EBADMSG);
	assert_why("5 bytes of data, expected at most 4");
	assert_int_equal(bytes, 99);
	REPLY_WITH(0, U32(8), U32(0x20005));
	assert_int_equal(rp_vfu_client_feature_set(client, 5, data, 4, &why), -EBADMSG);
	assert_why("0 bytes of data, expected 4");
	REPLY_WITH(0, U32(16), U32(0x10001), U64(6));
	assert_int_equal(rp_vfu_client_migration_flags(client, &flags, &why), -EBADMSG);
	assert_why("without STOP_COPY");
	REPLY_WITH(0, U32(12), U32(0x10001), U32(1));
	assert_int_equal(rp_vfu_client_migration_flags(client, &flags, &why), -EBADMSG);
	assert_why("4 bytes of data, expected 8");
	assert_int_equal(flags, 99);
	REPLY_WITH(0, U32(16), U32(0x10002), U32(8), U32(0));
	assert_int_equal(rp_vfu_client_migration_state(client, &mig_state, &why), -EBADMSG);
	assert_why("migration state 8");
	assert_int_equal(mig_state, RP_VFU_MIG_STATES_COUNT);
	REPLY_WITH(0, U32(16), U32(0x20002), U32(0), U32(0));
	assert_int_equal(rp_vfu_client_migration_set_state(client, RP_VFU_MIG_STOP, &why), -EBADMSG);
	assert_why("migration state 0, asked for 1");
	script_refuse_with(ENOTTY);
	assert_int_equal(rp_vfu_client_feature_probe(client, 8, 0, &why), -ENOTTY);
	assert_int_equal(rp_vfu_client_reset(client, &why), 0);
}

static void
test_our_callers_mistakes(void **state)
{
	uint32_t bytes;

	(void)state;
	assert_int_equal(rp_vfu_client_feature_probe(client, 0x10000, 0, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_feature_probe(client, 1, 0x40000, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_feature_get(client, 0x10000, NULL, 0, &bytes, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_feature_get(client, 1, NULL, UINT32_MAX, &bytes, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_feature_set(client, 0x10000, NULL, 0, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_feature_set(client, 1, NULL, 1048577, &why), -EINVAL);
	assert_int_equal(script_sent_count(), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_feature_vectors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_our_callers_mistakes, setup, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user client: features", tests, NULL, NULL);
}
