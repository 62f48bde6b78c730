/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "rp_vhu_msg.h"
#include "test_support.h"

static void
assert_rows_make_sense(const struct rp_vhu_msg_row *rows, unsigned int count,
		       const struct rp_vhu_msg_row *(*find)(uint32_t))
{
	unsigned int i, j;

	for (i = 0; i < count; i++) {
		const struct rp_vhu_msg_row *row = &rows[i];

		assert_int_equal(row->id, i + 1);
		assert_ptr_equal(find(row->id), row);
		assert_true(row->name[0] != '\0');
		for (j = 0; j < i; j++)
			assert_string_not_equal(row->name, rows[j].name);
		assert_true(row->payload_min_bytes <= row->payload_max_bytes);
		assert_true(row->payload_max_bytes <= rp_vhu_msg_framing.payload_max_bytes);
		assert_true(row->fds_min <= row->fds_max);
		assert_true(row->fds_max <= rp_vhu_msg_framing.fds_max);
		assert_in_range(row->protocol_feature_bit + 1, 0, 64);
	}
	assert_null(find(0));
	assert_null(find(count + 1));
	assert_null(find(UINT32_MAX));
}

static void
ids_are_dense_from_one(void **state)
{
	(void)state;
	assert_rows_make_sense(rp_vhu_msg_rows, rp_vhu_msg_rows_count, rp_vhu_msg_find);
	assert_rows_make_sense(rp_vhu_msg_backend_rows, rp_vhu_msg_backend_rows_count, rp_vhu_msg_find_backend);
	assert_int_equal(rp_vhu_msg_rows_count, 44);
	assert_int_equal(rp_vhu_msg_backend_rows_count, 10);
}

/* Numbers as the specification prints them, typed here a second time. */
static void
ids_are_those_of_the_specification(void **state)
{
	static const struct {
		uint32_t id;
		const char *name;
	} some[] = {
		{1, "GET_FEATURES"},	    {5, "SET_MEM_TABLE"},
		{8, "SET_VRING_NUM"},	    {11, "GET_VRING_BASE"},
		{12, "SET_VRING_KICK"},	    {13, "SET_VRING_CALL"},
		{14, "SET_VRING_ERR"},	    {15, "GET_PROTOCOL_FEATURES"},
		{17, "GET_QUEUE_NUM"},	    {18, "SET_VRING_ENABLE"},
		{19, "SEND_RARP"},	    {20, "NET_SET_MTU"},
		{21, "SET_BACKEND_REQ_FD"}, {22, "IOTLB_MSG"},
		{24, "GET_CONFIG"},	    {28, "POSTCOPY_ADVISE"},
		{31, "GET_INFLIGHT_FD"},    {34, "RESET_DEVICE"},
		{35, "VRING_KICK"},	    {36, "GET_MAX_MEM_SLOTS"},
		{37, "ADD_MEM_REG"},	    {38, "REM_MEM_REG"},
		{39, "SET_STATUS"},	    {40, "GET_STATUS"},
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(some) / sizeof(some[0]); i++)
		assert_string_equal(rp_vhu_msg_find(some[i].id)->name, some[i].name);
	assert_string_equal(rp_vhu_msg_find_backend(2)->name, "BACKEND_CONFIG_CHANGE_MSG");
	assert_string_equal(rp_vhu_msg_find_backend(3)->name, "BACKEND_VRING_HOST_NOTIFIER_MSG");
}

static int
check(uint32_t id, const void *payload, uint32_t size_bytes, unsigned int fds_count, uint64_t features,
      struct rp_wire_why *why)
{
	static const uint8_t zeros[512];

	return rp_vhu_msg_check(rp_vhu_msg_find(id), id, payload == NULL ? zeros : payload, size_bytes, fds_count,
				features, why);
}

static void
what_is_not_there_is_named(void **state)
{
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(check(99, NULL, 0, 0, UINT64_MAX, &why), -ENOTSUP);
	assert_string_equal(why.text, "request 99: unknown");
	assert_int_equal(check(RP_VHU_POSTCOPY_ADVISE, NULL, 0, 0, UINT64_MAX, &why), -ENOTSUP);
	assert_string_equal(why.text, "POSTCOPY_ADVISE: not implemented");
	assert_int_equal(check(RP_VHU_GET_QUEUE_NUM, NULL, 0, 0, ~1ull, &why), -ENOTSUP);
	assert_string_equal(why.text, "GET_QUEUE_NUM: protocol feature 0 was not negotiated");
	assert_int_equal(check(RP_VHU_GET_QUEUE_NUM, NULL, 0, 0, 1, &why), 0);
}

static void
sizes_and_descriptors_are_held_to_the_row(void **state)
{
	struct rp_wire_why why;
	unsigned int i;

	(void)state;
	for (i = 0; i < rp_vhu_msg_rows_count; i++) {
		const struct rp_vhu_msg_row *row = &rp_vhu_msg_rows[i];

		if (!row->implemented)
			continue;
		if (row->payload_min_bytes > 0)
			assert_int_equal(
				check(row->id, NULL, row->payload_min_bytes - 1, row->fds_min, UINT64_MAX, &why),
				-EMSGSIZE);
		assert_int_equal(check(row->id, NULL, row->payload_max_bytes + 1, row->fds_min, UINT64_MAX, &why),
				 -EMSGSIZE);
		assert_int_equal(check(row->id, NULL, row->payload_min_bytes, row->fds_max + 1, UINT64_MAX, &why),
				 -EBADMSG);
		assert_memory_equal(why.text, row->name, strlen(row->name));
		if (row->fds_min > 0)
			assert_int_equal(check(row->id, NULL, row->payload_min_bytes, 0, UINT64_MAX, &why), -EBADMSG);
	}
}

/* Bit 8 of the u64 and the descriptor must say the same. */
static void
no_descriptor_is_said_twice(void **state)
{
	const uint64_t with = 3, without = 3 | 0x100, high = 3 | 1ull << 40;
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(check(RP_VHU_SET_VRING_KICK, &with, 8, 1, 0, &why), 0);
	assert_int_equal(check(RP_VHU_SET_VRING_KICK, &without, 8, 0, 0, &why), 0);
	assert_int_equal(check(RP_VHU_SET_VRING_CALL, &with, 8, 0, 0, &why), -EBADMSG);
	assert_int_equal(check(RP_VHU_SET_VRING_ERR, &without, 8, 1, 0, &why), -EBADMSG);
	assert_int_equal(check(RP_VHU_SET_VRING_KICK, &high, 8, 1, 0, &why), -EBADMSG);
	assert_non_null(strstr(why.text, "bits 0-7"));
}

static void
a_table_has_as_many_descriptors_as_regions(void **state)
{
	struct rp_vhu_wire_mem_table table = {.count = 2};
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(check(RP_VHU_SET_MEM_TABLE, &table, 8 + 64, 2, 0, &why), 0);
	assert_int_equal(check(RP_VHU_SET_MEM_TABLE, &table, 8 + 64, 1, 0, &why), -EBADMSG);
	assert_int_equal(check(RP_VHU_SET_MEM_TABLE, &table, 8 + 63, 2, 0, &why), -EMSGSIZE);
	table.count = 0;
	assert_int_equal(check(RP_VHU_SET_MEM_TABLE, &table, 8, 1, 0, &why), -EBADMSG);
	table.count = 9;
	assert_int_equal(check(RP_VHU_SET_MEM_TABLE, &table, sizeof(table), 8, 0, &why), -EBADMSG);
	table.count = UINT32_MAX;
	assert_int_equal(check(RP_VHU_SET_MEM_TABLE, &table, sizeof(table), 8, 0, &why), -EBADMSG);
}

static void
configuration_space_ends_at_256(void **state)
{
	struct rp_vhu_wire_config config = {.offset_bytes = 250, .size_bytes = 6};
	uint8_t bytes[512] = {0};
	struct rp_wire_why why;

	(void)state;
	memcpy(bytes, &config, sizeof(config));
	assert_int_equal(check(RP_VHU_GET_CONFIG, bytes, 12 + 6, 0, UINT64_MAX, &why), 0);
	assert_int_equal(check(RP_VHU_GET_CONFIG, bytes, 12 + 5, 0, UINT64_MAX, &why), -EMSGSIZE);
	config.offset_bytes = 251;
	memcpy(bytes, &config, sizeof(config));
	assert_int_equal(check(RP_VHU_GET_CONFIG, bytes, 12 + 6, 0, UINT64_MAX, &why), -EBADMSG);
	config = (struct rp_vhu_wire_config){.offset_bytes = UINT32_MAX, .size_bytes = 6};
	memcpy(bytes, &config, sizeof(config));
	assert_int_equal(check(RP_VHU_SET_CONFIG, bytes, 12 + 6, 0, UINT64_MAX, &why), -EBADMSG);
	config = (struct rp_vhu_wire_config){.size_bytes = 0};
	memcpy(bytes, &config, sizeof(config));
	assert_int_equal(check(RP_VHU_GET_CONFIG, bytes, 12, 0, UINT64_MAX, &why), -EBADMSG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_are_dense_from_one),
		cmocka_unit_test(ids_are_those_of_the_specification),
		cmocka_unit_test(what_is_not_there_is_named),
		cmocka_unit_test(sizes_and_descriptors_are_held_to_the_row),
		cmocka_unit_test(no_descriptor_is_said_twice),
		cmocka_unit_test(a_table_has_as_many_descriptors_as_regions),
		cmocka_unit_test(configuration_space_ends_at_256),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
