/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "iommu_liar.h"

/* INVALIDATE, the client's end. */

#define INVALIDATE(id, tag, iova, size, pasid, flags)                                                                  \
	HEADER(id, 0x5206, 48, COMMAND, 0), U64(tag), U64(iova), U64(size), U32(pasid), U32(flags)

static unsigned int heard;
static int heard_error;

static void
on_done(void *ctx, int error, const struct rp_wire_why *why)
{
	(void)ctx;
	(void)why;
	heard++;
	heard_error = error;
}

static const struct rp_vfu_client_done done = {.done = on_done};

static int
invalidate(struct rp_vfu_client_iommu_range range)
{
	return rp_vfu_client_invalidate(iommu_liar.client, &range, &iommu_liar.why);
}

static void
test_command_vectors(void **state)
{
	struct rp_vfu_client_iommu_counters counters;
	const uint32_t none = RP_VFU_CLIENT_NO_PASID;

	(void)state;
	iommu_liar_begin(IOMMU_AGREED, NULL);
	assert_int_equal(
		invalidate((struct rp_vfu_client_iommu_range){.pasid = 0xabcde, .iova = 0x7000, .size_bytes = 0x2000}),
		0);
	iommu_liar_assert_sent(HEAR(INVALIDATE(1, 1, 0x7000, 0x2000, 0xabcde, 1)));
	assert_int_equal(invalidate((struct rp_vfu_client_iommu_range){
				 .pasid = none, .iova = 0xfffffffffffff000, .size_bytes = 0x1000}),
			 0);
	iommu_liar_assert_sent(HEAR(INVALIDATE(3, 2, 0xfffffffffffff000, 0x1000, 0, 0)));
	assert_int_equal(invalidate((struct rp_vfu_client_iommu_range){.pasid = 0, .all = true}), 0);
	iommu_liar_assert_sent(HEAR(INVALIDATE(5, 3, 0, 0, 0, 3)));
	assert_int_equal(
		invalidate((struct rp_vfu_client_iommu_range){.all_pasids = true, .iova = 0, .size_bytes = 0x1000}), 0);
	iommu_liar_assert_sent(HEAR(INVALIDATE(7, 4, 0, 0x1000, 0, 4)));
	assert_int_equal(invalidate((struct rp_vfu_client_iommu_range){.all_pasids = true, .all = true}), 0);
	iommu_liar_assert_sent(HEAR(INVALIDATE(9, 5, 0, 0, 0, 6)));
	rp_vfu_client_iommu_counters(iommu_liar.client, &counters);
	assert_int_equal(counters.invalidations, 5);
}

static void
test_ranges_that_are_refused(void **state)
{
	static const struct rp_vfu_client_iommu_range wrong[] = {
		{.pasid = 1, .iova = 0x1001, .size_bytes = 0x1000},
		{.pasid = 1, .iova = 0x1000, .size_bytes = 0x1001},
		{.pasid = 1, .iova = 0x1000, .size_bytes = 0},
		{.pasid = 1, .iova = 0x2000, .size_bytes = 0xfffffffffffff000},
		{.pasid = 0x100000, .all = true},
	};
	unsigned int i;

	(void)state;
	iommu_liar_begin(IOMMU_AGREED, NULL);
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(invalidate(wrong[i]), -EINVAL);
	assert_int_equal(script_sent_count(), 0);
}

static void
test_completion_with_another_tag(void **state)
{
	(void)state;
	iommu_liar.tag_off = 1;
	iommu_liar_begin(IOMMU_AGREED, NULL);
	assert_int_equal(invalidate((struct rp_vfu_client_iommu_range){.all_pasids = true, .all = true}), -EBADMSG);
	assert_non_null(strstr(iommu_liar.why.text, "INVALIDATE: reply: tag 0x2, expected 0x1"));
}

/* Those that are under way are told; while one waits the server's questions are answered. */
static void
test_several_at_once(void **state)
{
	static const struct rp_vfu_client_iommu_range all = {.all_pasids = true, .all = true};

	(void)state;
	heard = 0;
	iommu_liar.silent = true;
	iommu_liar_begin(IOMMU_AGREED, NULL);
	iommu_liar.answer = (struct rp_vfu_client_translation){0x1000, 0x1000, 0x5000, 1, false};
	assert_int_equal(rp_vfu_client_invalidate_start(iommu_liar.client, &all, &done, &iommu_liar.why), 0);
	assert_int_equal(rp_vfu_client_invalidate_start(iommu_liar.client, &all, &done, &iommu_liar.why), 0);
	assert_int_equal(rp_vfu_client_invalidate_start(iommu_liar.client, &all, &done, &iommu_liar.why), -EAGAIN);
	/* In any order, and with a question in between. */
	iommu_liar_play(
		(const struct script_step[]){
			{SAY(HEADER(2, 0x5206, 24, REPLY, 0), U64(2)), NOTHING},
			{SAY(TRANSLATE(1, 0x1000, 1, 0, 0)), HEAR(TRANSLATION(1, 0x1000, 0x1000, 0x5000, 1, 0))},
		},
		2);
	assert_int_equal(heard, 1);
	assert_int_equal(heard_error, 0);
	assert_int_equal(rp_vfu_client_invalidate_start(iommu_liar.client, &all, &done, &iommu_liar.why), 0);
	iommu_liar_play(
		(const struct script_step[]){
			{SAY(HEADER(1, 0x5206, 16, ERROR_REPLY, ENOSPC)), NOTHING},
		},
		1);
	assert_int_equal(heard, 2);
	assert_int_equal(heard_error, -ENOSPC);
	/* Of the one that is left its caller hears too. */
	iommu_liar.client = rp_vfu_client_destroy(iommu_liar.client);
	assert_int_equal(heard, 3);
	assert_int_equal(heard_error, -ECANCELED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_command_vectors, iommu_liar_setup, iommu_liar_teardown),
		cmocka_unit_test_setup_teardown(test_ranges_that_are_refused, iommu_liar_setup, iommu_liar_teardown),
		cmocka_unit_test_setup_teardown(test_completion_with_another_tag, iommu_liar_setup,
						iommu_liar_teardown),
		cmocka_unit_test_setup_teardown(test_several_at_once, iommu_liar_setup, iommu_liar_teardown),
	};

	return cmocka_run_group_tests_name("vfio-user client: INVALIDATE", tests, NULL, NULL);
}
