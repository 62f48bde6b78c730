/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "iommu_liar.h"

/* Page requests, the client's end. */

static void
begin(void)
{
	iommu_liar_begin(IOMMU_AGREED, NULL);
}

static void
say(const uint8_t *bytes, size_t count_bytes)
{
	const struct script_step step = {.say = bytes, .say_bytes = count_bytes};

	iommu_liar_play(&step, 1);
}

static void
test_page_request_vectors(void **state)
{
	struct rp_vfu_client_iommu_counters counters;

	(void)state;
	begin();
	say(SAY(PAGES(0, NO_REPLY, 0x11223344, 2, 0xabcde, 1), PAGE(0x1000, 1), PAGE(0xfffffffffffff000, 3)));
	assert_int_equal(iommu_liar.groups_count, 1);
	assert_int_equal(iommu_liar.group.number, 0x11223344);
	assert_int_equal(iommu_liar.group.pasid, 0xabcde);
	assert_int_equal(iommu_liar.group.pages_count, 2);
	assert_int_equal(iommu_liar.pages[0].iova, 0x1000);
	assert_int_equal(iommu_liar.pages[0].access_mask, 1);
	assert_int_equal(iommu_liar.pages[1].iova, 0xfffffffffffff000);
	assert_int_equal(iommu_liar.pages[1].access_mask, 3);
	assert_int_equal(rp_vfu_client_page_respond(iommu_liar.client, 0x11223344, RP_VFU_PAGE_SUCCESS), 0);
	iommu_liar_assert_sent(HEAR(PAGE_RESPONSE(2, 0x11223344, 0)));
	assert_int_equal(rp_vfu_client_page_respond(iommu_liar.client, 0x11223344, RP_VFU_PAGE_SUCCESS), -ENOENT);
	/* From inside the callback. */
	iommu_liar.responds = true;
	iommu_liar.code = RP_VFU_PAGE_INVALID;
	say(SAY(PAGES(0, NO_REPLY, 9, 1, 0, 0), PAGE(0x1000, 2)));
	assert_int_equal(iommu_liar.group.pasid, RP_VFU_CLIENT_NO_PASID);
	iommu_liar_assert_sent(HEAR(PAGE_RESPONSE(5, 9, 1)));
	rp_vfu_client_iommu_counters(iommu_liar.client, &counters);
	assert_int_equal(counters.page_requests, 3);
	assert_int_equal(counters.page_groups, 2);
	assert_int_equal(counters.page_overflows, 0);
}

static void
test_requests_that_are_refused(void **state)
{
	(void)state;
	begin();
	iommu_liar_play(
		(const struct script_step[]){
			{SAY(PAGES(1, COMMAND, 1, 1, 0, 0), PAGE(0x1001, 1)), HEAR(REFUSAL(1, 0x5207, EINVAL))},
			{SAY(PAGES(2, COMMAND, 1, 1, 0, 0), PAGE(0x1000, 0)), HEAR(REFUSAL(2, 0x5207, EINVAL))},
			{SAY(PAGES(3, COMMAND, 1, 1, 0, 0), PAGE(0x1000, 8)), HEAR(REFUSAL(3, 0x5207, EINVAL))},
			{SAY(PAGES(4, COMMAND, 1, 1, 0, 2), PAGE(0x1000, 1)), HEAR(REFUSAL(4, 0x5207, EINVAL))},
			{SAY(PAGES(5, COMMAND, 1, 1, 0x100000, 1), PAGE(0x1000, 1)), HEAR(REFUSAL(5, 0x5207, EINVAL))},
			/* Another count than there are pages. */
			{SAY(HEADER(6, 0x5207, 48, COMMAND, 0), U32(1), U32(2), U32(0), U32(0), PAGE(0x1000, 1)),
			 HEAR(REFUSAL(6, 0x5207, EINVAL))},
			{SAY(HEADER(7, 0x5207, 32, COMMAND, 0), U32(1), U32(0), U32(0), U32(0)),
			 HEAR(REFUSAL(7, 0x5207, EMSGSIZE))},
			/* Without the bit that nobody is to answer, it is answered. */
			{SAY(PAGES(8, COMMAND, 1, 1, 0, 0), PAGE(0x1000, 1)), HEAR(HEADER(8, 0x5207, 16, REPLY, 0))},
		},
		8);
	assert_int_equal(iommu_liar.groups_count, 1);
}

/* As in PCI Express: more than there is room for is answered with a failure, which ends all. */
static void
test_overflow_is_a_failure(void **state)
{
	struct rp_vfu_client_iommu_counters counters;

	(void)state;
	begin();
	say(SAY(PAGES(0, NO_REPLY, 1, 2, 0, 0), PAGE(0x1000, 1), PAGE(0x2000, 1)));
	say(SAY(PAGES(0, NO_REPLY, 2, 3, 0, 0), PAGE(0x3000, 1), PAGE(0x4000, 1), PAGE(0x5000, 1)));
	assert_int_equal(iommu_liar.groups_count, 1);
	iommu_liar_assert_sent(HEAR(PAGE_RESPONSE(3, 2, 15)));
	/* The first one has ended too, and what the server sent before it knew is dropped. */
	assert_int_equal(rp_vfu_client_page_respond(iommu_liar.client, 1, RP_VFU_PAGE_SUCCESS), -ENOENT);
	say(SAY(PAGES(0, NO_REPLY, 3, 1, 0, 0), PAGE(0x1000, 1)));
	assert_int_equal(iommu_liar.groups_count, 1);
	assert_int_equal(rp_vfu_client_page_resume(iommu_liar.client), 0);
	iommu_liar_assert_sent(HEAR(PAGE_RESPONSE(6, 0, 16)));
	say(SAY(PAGES(0, NO_REPLY, 4, 4, 0, 0), PAGE(0x1000, 1), PAGE(0x2000, 1), PAGE(0x3000, 1), PAGE(0x4000, 1)));
	assert_int_equal(iommu_liar.groups_count, 2);
	rp_vfu_client_iommu_counters(iommu_liar.client, &counters);
	assert_int_equal(counters.page_overflows, 1);
}

static void
test_room_comes_back_with_responses(void **state)
{
	unsigned int i;

	(void)state;
	begin();
	iommu_liar.responds = true;
	for (i = 0; i < 20; i++)
		say(SAY(PAGES(0, NO_REPLY, 1, 4, 0, 0), PAGE(0x1000, 1), PAGE(0x2000, 1), PAGE(0x3000, 1),
			PAGE(0x4000, 1)));
	assert_int_equal(iommu_liar.groups_count, 20);
}

static void
test_number_that_is_outstanding_is_an_overflow(void **state)
{
	(void)state;
	begin();
	say(SAY(PAGES(0, NO_REPLY, 1, 1, 0, 0), PAGE(0x1000, 1)));
	say(SAY(PAGES(0, NO_REPLY, 1, 1, 0, 0), PAGE(0x2000, 1)));
	iommu_liar_assert_sent(HEAR(PAGE_RESPONSE(3, 1, 15)));
}

static void
test_failure_and_resume(void **state)
{
	(void)state;
	begin();
	assert_int_equal(rp_vfu_client_page_resume(iommu_liar.client), 0);
	assert_int_equal(script_sent_count(), 0);
	say(SAY(PAGES(0, NO_REPLY, 1, 1, 0, 0), PAGE(0x1000, 1)));
	assert_int_equal(rp_vfu_client_page_respond(iommu_liar.client, 1, RP_VFU_PAGE_RESUME), -EINVAL);
	assert_int_equal(rp_vfu_client_page_respond(iommu_liar.client, 2, RP_VFU_PAGE_SUCCESS), -ENOENT);
	assert_int_equal(rp_vfu_client_page_respond(iommu_liar.client, 1, RP_VFU_PAGE_FAILURE), 0);
	iommu_liar_assert_sent(HEAR(PAGE_RESPONSE(2, 1, 15)));
	assert_int_equal(rp_vfu_client_page_resume(iommu_liar.client), 0);
	iommu_liar_assert_sent(HEAR(PAGE_RESPONSE(4, 0, 16)));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_page_request_vectors, iommu_liar_setup, iommu_liar_teardown),
		cmocka_unit_test_setup_teardown(test_requests_that_are_refused, iommu_liar_setup, iommu_liar_teardown),
		cmocka_unit_test_setup_teardown(test_overflow_is_a_failure, iommu_liar_setup, iommu_liar_teardown),
		cmocka_unit_test_setup_teardown(test_room_comes_back_with_responses, iommu_liar_setup,
						iommu_liar_teardown),
		cmocka_unit_test_setup_teardown(test_number_that_is_outstanding_is_an_overflow, iommu_liar_setup,
						iommu_liar_teardown),
		cmocka_unit_test_setup_teardown(test_failure_and_resume, iommu_liar_setup, iommu_liar_teardown),
	};

	return cmocka_run_group_tests_name("vfio-user client: page requests", tests, NULL, NULL);
}
