/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>

#include "desk.h"
#include "rp_wire_fd.h"

/* All that can be asked of a backend about the device itself. */
static void
open_with_everything(struct desk *desk)
{
	struct rp_vhu_frontend_config config = desk_config;

	desk_close(desk);
	config.protocol_features = UINT64_MAX;
	desk_open(desk, &config);
	desk_answer_u64(desk, RP_VHU_GET_FEATURES, DESK_FEATURES);
	desk_answer_u64(desk, RP_VHU_GET_PROTOCOL_FEATURES, UINT64_MAX);
	desk_answer_u64(desk, RP_VHU_GET_QUEUE_NUM, DESK_QUEUES);
	desk_answer_u64(desk, RP_VHU_SET_BACKEND_REQ_FD, 0);
	desk_answer_u64(desk, RP_VHU_SET_OWNER, 0);
	assert_int_equal(rp_vhu_frontend_negotiate(desk->frontend, NULL), 0);
	desk_expect(desk, RP_VHU_GET_FEATURES, 0x1);
	desk_expect(desk, RP_VHU_GET_PROTOCOL_FEATURES, 0x1);
	desk_expect(desk, RP_VHU_SET_PROTOCOL_FEATURES, 0x1);
	desk_expect(desk, RP_VHU_GET_QUEUE_NUM, 0x1);
	desk_expect(desk, RP_VHU_SET_BACKEND_REQ_FD, 0x9);
	desk_expect(desk, RP_VHU_SET_OWNER, 0x9);
}

static void
expect_fields(struct desk *desk, uint32_t id, uint32_t flags, const char *fields)
{
	uint8_t bytes[64];
	size_t size_bytes = peer_fields(fields, bytes, sizeof(bytes));

	desk_expect(desk, id, flags);
	assert_int_equal(desk->said_bytes, size_bytes);
	assert_memory_equal(desk->said, bytes, size_bytes);
}

static void
configuration_space_is_written(void **state)
{
	static const uint8_t bytes[2] = {0xaa, 0xbb};
	struct desk *desk = *state;
	struct rp_wire_why why = {0};

	open_with_everything(desk);
	desk_answer_u64(desk, RP_VHU_SET_CONFIG, 0);
	assert_int_equal(rp_vhu_frontend_set_config(desk->frontend, 6, 2, bytes, false, NULL), 0);
	expect_fields(desk, RP_VHU_SET_CONFIG, 0x9, "00000006 00000002 00000000 aa bb");
	desk_answer_u64(desk, RP_VHU_SET_CONFIG, 0);
	assert_int_equal(rp_vhu_frontend_set_config(desk->frontend, 6, 2, bytes, true, NULL), 0);
	expect_fields(desk, RP_VHU_SET_CONFIG, 0x9, "00000006 00000002 00000001 aa bb");
	desk_answer_u64(desk, RP_VHU_SET_CONFIG, 1);
	assert_int_equal(rp_vhu_frontend_set_config(desk->frontend, 0, 1, bytes, false, &why), -EREMOTEIO);
	assert_string_equal(why.text, "SET_CONFIG: refused by the backend");
	desk_expect(desk, RP_VHU_SET_CONFIG, 0x9);
	assert_int_equal(rp_vhu_frontend_set_config(desk->frontend, 0, 0, bytes, false, &why), -EINVAL);
	assert_int_equal(rp_vhu_frontend_set_config(desk->frontend, 0, 257, bytes, false, &why), -EINVAL);
	assert_int_equal(rp_vhu_frontend_set_config(desk->frontend, 255, 2, bytes, false, &why), -EINVAL);
	assert_non_null(strstr(why.text, "offset 255 and size 2"));
	desk_expect_no_more(desk);
}

static void
status(void **state)
{
	static const uint8_t half[4] = {0x8f};
	struct desk *desk = *state;
	struct rp_wire_why why = {0};
	uint8_t got = 0x11;

	open_with_everything(desk);
	desk_answer_u64(desk, RP_VHU_SET_STATUS, 0);
	assert_int_equal(rp_vhu_frontend_set_status(desk->frontend, 0x8f, NULL), 0);
	expect_fields(desk, RP_VHU_SET_STATUS, 0x9, "000000000000008f");
	desk_answer_u64(desk, RP_VHU_GET_STATUS, 0x4f);
	assert_int_equal(rp_vhu_frontend_get_status(desk->frontend, &got, NULL), 0);
	assert_int_equal(got, 0x4f);
	desk_expect(desk, RP_VHU_GET_STATUS, 0x1);
	desk_answer_u64(desk, RP_VHU_GET_STATUS, 0x100);
	assert_int_equal(rp_vhu_frontend_get_status(desk->frontend, &got, &why), -EBADMSG);
	assert_string_equal(why.text, "GET_STATUS: answer: 0x100, expected 8 bits");
	desk_answer(desk, RP_VHU_GET_STATUS, half, sizeof(half));
	assert_int_equal(rp_vhu_frontend_get_status(desk->frontend, &got, &why), -EBADMSG);
	assert_int_equal(got, 0x4f);
}

static void
mtu_and_rarp(void **state)
{
	static const uint8_t mac[6] = {0x52, 0x54, 0, 1, 2, 3}, group[6] = {1, 0, 0x5e, 0, 0, 1}, zero[6] = {0};
	struct desk *desk = *state;
	struct rp_wire_why why = {0};

	open_with_everything(desk);
	desk_answer_u64(desk, RP_VHU_NET_SET_MTU, 0);
	assert_int_equal(rp_vhu_frontend_set_mtu(desk->frontend, 9000, NULL), 0);
	expect_fields(desk, RP_VHU_NET_SET_MTU, 0x9, "0000000000002328");
	desk_answer_u64(desk, RP_VHU_NET_SET_MTU, 1);
	assert_int_equal(rp_vhu_frontend_set_mtu(desk->frontend, 68, NULL), -EREMOTEIO);
	desk_expect(desk, RP_VHU_NET_SET_MTU, 0x9);
	assert_int_equal(rp_vhu_frontend_set_mtu(desk->frontend, 67, &why), -EINVAL);
	assert_string_equal(why.text, "MTU: 67, expected 68 or more");
	desk_answer_u64(desk, RP_VHU_SEND_RARP, 0);
	assert_int_equal(rp_vhu_frontend_send_rarp(desk->frontend, mac, NULL), 0);
	expect_fields(desk, RP_VHU_SEND_RARP, 0x9, "52 54 00 01 02 03 00 00");
	assert_int_equal(rp_vhu_frontend_send_rarp(desk->frontend, group, &why), -EINVAL);
	assert_int_equal(rp_vhu_frontend_send_rarp(desk->frontend, zero, &why), -EINVAL);
	desk_expect_no_more(desk);
}

static void
memory_slots(void **state)
{
	struct desk *desk = *state;
	struct rp_wire_why why = {0};
	uint32_t slots = 5;

	open_with_everything(desk);
	desk_answer_u64(desk, RP_VHU_GET_MAX_MEM_SLOTS, 0);
	assert_int_equal(rp_vhu_frontend_get_max_mem_slots(desk->frontend, &slots, &why), -EBADMSG);
	assert_int_equal(slots, 5);
	desk_answer_u64(desk, RP_VHU_GET_MAX_MEM_SLOTS, 32);
	assert_int_equal(rp_vhu_frontend_get_max_mem_slots(desk->frontend, &slots, &why), 0);
	assert_int_equal(slots, 32);
	desk_answer_u64(desk, RP_VHU_GET_MAX_MEM_SLOTS, UINT64_MAX);
	assert_int_equal(rp_vhu_frontend_get_max_mem_slots(desk->frontend, &slots, &why), 0);
	assert_true(slots == UINT32_MAX);
}

/* Backends disagree on what it does: it goes out only when they cannot. */
static void
reset_owner(void **state)
{
	struct desk *desk = *state;
	struct rp_wire_why why = {0};

	open_with_everything(desk);
	desk_ring_start(desk, 1);
	assert_int_equal(rp_vhu_frontend_reset_owner(desk->frontend, &why), -EINVAL);
	assert_string_equal(why.text, "RESET_OWNER: ring 1 is started");
	desk_expect_no_more(desk);
	desk_ring_stop(desk, 1);
	desk_answer_u64(desk, RP_VHU_RESET_OWNER, 0);
	assert_int_equal(rp_vhu_frontend_reset_owner(desk->frontend, &why), 0);
	desk_expect(desk, RP_VHU_RESET_OWNER, 0x9);
}

/* Nothing is sent that was not negotiated. */
static void
only_what_was_negotiated(void **state)
{
	static const uint8_t mac[6] = {0x52, 0x54, 0, 1, 2, 3};
	struct desk *desk = *state;
	struct rp_vhu_frontend_config config = desk_config;
	uint8_t byte = 0;
	uint32_t slots;

	config.protocol_features = 0;
	desk_yes(desk, &config, UINT64_MAX);
	assert_int_equal(rp_vhu_frontend_negotiate(desk->frontend, NULL), 0);
	pthread_mutex_lock(&desk->lock);
	desk->yes = false; /* from here on there is a record */
	pthread_mutex_unlock(&desk->lock);
	assert_int_equal(rp_vhu_frontend_set_config(desk->frontend, 0, 1, &byte, false, NULL), -ENOTSUP);
	assert_int_equal(rp_vhu_frontend_get_config(desk->frontend, 0, 1, &byte, NULL), -ENOTSUP);
	assert_int_equal(rp_vhu_frontend_set_status(desk->frontend, 1, NULL), -ENOTSUP);
	assert_int_equal(rp_vhu_frontend_get_status(desk->frontend, &byte, NULL), -ENOTSUP);
	assert_int_equal(rp_vhu_frontend_set_mtu(desk->frontend, 1500, NULL), -ENOTSUP);
	assert_int_equal(rp_vhu_frontend_send_rarp(desk->frontend, mac, NULL), -ENOTSUP);
	assert_int_equal(rp_vhu_frontend_get_max_mem_slots(desk->frontend, &slots, NULL), -ENOTSUP);
	assert_int_equal(rp_vhu_frontend_reset_device(desk->frontend, NULL), -ENOTSUP);
	desk_expect_no_more(desk);
}

/* Without acknowledgements a fence says when it is done. */
static void
without_acknowledgements(void **state)
{
	static const uint8_t mac[6] = {0x52, 0x54, 0, 1, 2, 3};
	struct desk *desk = *state;
	uint8_t byte = 3;
	uint32_t slots = 0;

	desk_open_profile(desk, RP_VHU_PROFILE_STANDARD, false);
	assert_int_equal(rp_vhu_frontend_set_config(desk->frontend, 0, 1, &byte, false, NULL), 0);
	assert_int_equal(rp_vhu_frontend_get_config(desk->frontend, 0, 1, &byte, NULL), 0);
	assert_int_equal(rp_vhu_frontend_set_status(desk->frontend, 1, NULL), 0);
	assert_int_equal(rp_vhu_frontend_get_status(desk->frontend, &byte, NULL), 0);
	assert_int_equal(rp_vhu_frontend_set_mtu(desk->frontend, 1500, NULL), 0);
	assert_int_equal(rp_vhu_frontend_send_rarp(desk->frontend, mac, NULL), 0);
	assert_int_equal(rp_vhu_frontend_get_max_mem_slots(desk->frontend, &slots, NULL), 0);
	assert_int_equal(rp_vhu_frontend_ring_err(desk->frontend, 0, desk->call_fd, NULL), 0);
	assert_int_equal(rp_vhu_frontend_reset_owner(desk->frontend, NULL), 0);
	assert_int_equal(rp_vhu_frontend_reset_device(desk->frontend, NULL), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DESK(configuration_space_is_written),
		WITH_DESK(status),
		WITH_DESK(mtu_and_rarp),
		WITH_DESK(memory_slots),
		WITH_DESK(reset_owner),
		WITH_DESK(only_what_was_negotiated),
		WITH_DESK(without_acknowledgements),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
