/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <unistd.h>

#include "desk.h"
#include "rp_wire_fd.h"

static void
open_with_log(struct desk *desk)
{
	struct rp_vhu_frontend_config config = desk_config;
	uint64_t features = DESK_PROTOCOL_FEATURES | 1ull << RP_VHU_PF_LOG_SHMFD_BIT;

	desk_close(desk);
	config.protocol_features = features;
	desk_open(desk, &config);
	desk_answer_u64(desk, RP_VHU_GET_FEATURES, DESK_FEATURES);
	desk_answer_u64(desk, RP_VHU_GET_PROTOCOL_FEATURES, features);
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

static int
set_log(struct desk *desk, struct rp_wire_why *why)
{
	return rp_vhu_frontend_set_log_base(desk->frontend, desk->area_fd, 0x2000, 0x40, why);
}

static void
done_is_said_in_two_ways(void **state)
{
	struct desk *desk = *state;
	struct rp_vhu_wire_log log;

	open_with_log(desk);
	desk_answer_u64(desk, RP_VHU_SET_LOG_BASE, 0);
	assert_int_equal(set_log(desk, NULL), 0);
	desk_expect(desk, RP_VHU_SET_LOG_BASE, 0x1);
	assert_int_equal(desk->said_bytes, sizeof(log));
	memcpy(&log, desk->said, sizeof(log));
	assert_int_equal(log.size_bytes, 0x2000);
	assert_int_equal(log.offset_bytes, 0x40);
	desk_answer(desk, RP_VHU_SET_LOG_BASE, NULL, 0);
	assert_int_equal(set_log(desk, NULL), 0);
}

static void
refused_is_said_in_one(void **state)
{
	struct desk *desk = *state;
	struct rp_wire_why why = {0};
	uint8_t twelve[12] = {0};

	open_with_log(desk);
	desk_answer_u64(desk, RP_VHU_SET_LOG_BASE, 1);
	assert_int_equal(set_log(desk, &why), -EREMOTEIO);
	assert_string_equal(why.text, "SET_LOG_BASE: refused by the backend");
	/* Neither: what follows could not be trusted. */
	desk_answer(desk, RP_VHU_SET_LOG_BASE, twelve, sizeof(twelve));
	assert_int_equal(set_log(desk, &why), -ENOTCONN);
	assert_int_equal(desk->disconnected.error, -EPROTO);
}

static void
an_eventfd(void **state)
{
	struct desk *desk = *state;

	open_with_log(desk);
	desk_answer_u64(desk, RP_VHU_SET_LOG_FD, 0);
	assert_int_equal(rp_vhu_frontend_set_log_fd(desk->frontend, desk->call_fd, NULL), 0);
	desk_expect(desk, RP_VHU_SET_LOG_FD, 0x9);
	assert_int_equal(rp_vhu_frontend_set_log_fd(desk->frontend, -1, NULL), -EINVAL);
	assert_int_equal(rp_vhu_frontend_set_log_base(desk->frontend, -1, 8, 0, NULL), -EINVAL);
	desk_expect_no_more(desk);
}

static void
only_if_negotiated(void **state)
{
	struct desk *desk = *state;
	struct rp_wire_why why = {0};

	desk_negotiate(desk);
	assert_int_equal(set_log(desk, &why), -ENOTSUP);
	assert_non_null(strstr(why.text, "SET_LOG_BASE: protocol feature 1 "));
	desk_expect_no_more(desk);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DESK(done_is_said_in_two_ways),
		WITH_DESK(refused_is_said_in_one),
		WITH_DESK(an_eventfd),
		WITH_DESK(only_if_negotiated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
