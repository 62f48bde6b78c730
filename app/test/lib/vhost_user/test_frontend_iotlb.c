/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "desk.h"

#define ACCESS_PLATFORM (1ull << RP_VHU_F_ACCESS_PLATFORM_BIT)

static void
begin(struct desk *desk)
{
	desk_negotiate(desk);
	desk_answer_u64(desk, RP_VHU_SET_FEATURES, 0);
	assert_int_equal(rp_vhu_frontend_set_features(desk->frontend, DESK_FEATURES | ACCESS_PLATFORM, NULL), 0);
	desk_expect(desk, RP_VHU_SET_FEATURES, 0x9);
}

static struct rp_vhu_wire_iotlb
said(struct desk *desk)
{
	struct rp_vhu_wire_iotlb wire;

	desk_expect(desk, RP_VHU_IOTLB_MSG, 0x9);
	assert_int_equal(desk->said_bytes, sizeof(wire));
	memcpy(&wire, desk->said, sizeof(wire));
	return wire;
}

static void
update_and_invalidate(void **state)
{
	struct desk *desk = *state;
	struct rp_vhu_wire_iotlb wire;
	struct rp_wire_why why = {0};

	begin(desk);
	desk_answer_u64(desk, RP_VHU_IOTLB_MSG, 0);
	assert_int_equal(rp_vhu_frontend_iotlb_update(desk->frontend, 0x1000, 0x2000, 0x7f0000000000, 1, NULL), 0);
	wire = said(desk);
	assert_true(wire.iova == 0x1000 && wire.size_bytes == 0x2000 && wire.uva == 0x7f0000000000 && wire.perm == 1 &&
		    wire.type == 2);
	desk_answer_u64(desk, RP_VHU_IOTLB_MSG, 0);
	assert_int_equal(rp_vhu_frontend_iotlb_invalidate(desk->frontend, 0, UINT64_MAX, NULL), 0);
	wire = said(desk);
	assert_true(wire.iova == 0 && wire.size_bytes == UINT64_MAX && wire.type == 3);
	desk_answer_u64(desk, RP_VHU_IOTLB_MSG, 1);
	assert_int_equal(rp_vhu_frontend_iotlb_invalidate(desk->frontend, 0, 1, &why), -EREMOTEIO);
	assert_string_equal(why.text, "IOTLB_MSG: refused by the backend");
}

static void
what_is_not_sent(void **state)
{
	struct desk *desk = *state;

	desk_negotiate(desk);
	assert_int_equal(rp_vhu_frontend_iotlb_update(desk->frontend, 0, 1, 0, 1, NULL), -ENOTSUP);
	assert_int_equal(rp_vhu_frontend_iotlb_invalidate(desk->frontend, 0, 1, NULL), -ENOTSUP);
	desk_answer_u64(desk, RP_VHU_SET_FEATURES, 0);
	assert_int_equal(rp_vhu_frontend_set_features(desk->frontend, ACCESS_PLATFORM, NULL), 0);
	desk_expect(desk, RP_VHU_SET_FEATURES, 0x9);
	assert_int_equal(rp_vhu_frontend_iotlb_update(desk->frontend, 0, 0, 0, 1, NULL), -EINVAL);
	assert_int_equal(rp_vhu_frontend_iotlb_update(desk->frontend, 0, 1, 0, 0, NULL), -EINVAL);
	assert_int_equal(rp_vhu_frontend_iotlb_update(desk->frontend, 0, 1, 0, 4, NULL), -EINVAL);
	assert_int_equal(rp_vhu_frontend_iotlb_invalidate(desk->frontend, 2, UINT64_MAX, NULL), -EINVAL);
	desk_expect_no_more(desk);
}

static uint64_t
miss(struct desk *desk, uint64_t iova, uint8_t perm, uint8_t type)
{
	const struct rp_vhu_wire_iotlb wire = {.iova = iova, .perm = perm, .type = type};

	return desk_ask(desk, RP_VHU_BACKEND_IOTLB_MSG, &wire, sizeof(wire), -1);
}

/* The translation is on its way before the miss is answered. */
static void
a_miss_is_told_and_then_answered(void **state)
{
	struct desk *desk = *state;
	struct rp_vhu_wire_iotlb wire;

	begin(desk);
	desk->translate = 0x7f0000001000;
	assert_int_equal(miss(desk, 0xabc000, 2, 1), 0);
	wire = said(desk);
	assert_true(wire.iova == 0xabc000 && wire.size_bytes == 0x1000 && wire.uva == 0x7f0000001000 &&
		    wire.perm == 2 && wire.type == 2);
	assert_string_equal(desk_diary(desk), "miss:abc000:2 ");
	assert_int_equal(miss(desk, 0xabc000, 1, 4), 0);
	assert_string_equal(desk_diary(desk), "fail:abc000:1 ");
	desk_expect_no_more(desk);
}

static void
a_miss_that_nobody_can_mend(void **state)
{
	struct desk *desk = *state;

	begin(desk);
	assert_int_equal(miss(desk, 0x1000, 1, 1), 1);
	desk_assert_refused(desk, -EFAULT, "BACKEND_IOTLB_MSG: nothing there");
	assert_int_equal(miss(desk, 0x1000, 0, 1), 1);
	desk_assert_refused(desk, -EBADMSG, "permissions 0");
	assert_int_equal(miss(desk, 0x1000, 1, 2), 1);
	desk_assert_refused(desk, -EBADMSG, "type 2");
	assert_int_equal(miss(desk, 0x1000, 1, 3), 1);
	desk_assert_refused(desk, -EBADMSG, "type 3");
	assert_int_equal(miss(desk, 0x1000, 1, 5), 1);
	desk_assert_refused(desk, -EBADMSG, "type: 5");
	desk_expect_no_more(desk);
}

static void
a_miss_without_access_platform(void **state)
{
	struct desk *desk = *state;

	desk_negotiate(desk);
	assert_int_equal(miss(desk, 0x1000, 1, 1), 1);
	desk_assert_refused(desk, -ENOTSUP, "VIRTIO_F_ACCESS_PLATFORM was not negotiated");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DESK(update_and_invalidate),
		WITH_DESK(what_is_not_sent),
		WITH_DESK(a_miss_is_told_and_then_answered),
		WITH_DESK(a_miss_that_nobody_can_mend),
		WITH_DESK(a_miss_without_access_platform),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
