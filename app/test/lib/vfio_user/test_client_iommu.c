/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iommu_liar.h"

/* ringpass.iommu, the client's end: what is offered, and the server's questions, byte by byte. */

static void
test_offer_vector(void **state)
{
	static const char offer[] = "\"ringpass.iommu\":{\"translations\":4,\"invalidations\":2,\"page_requests\":4,"
				    "\"pasid_bits\":20}}}";
	struct rp_vfu_client_iommu_terms terms;

	(void)state;
	iommu_liar_begin(IOMMU_AGREED, NULL);
	iommu_liar_assert_offer(offer, true);
	assert_int_equal(rp_vfu_client_iommu_terms(iommu_liar.client, &terms), 0);
	assert_int_equal(terms.translations_max, 4);
	assert_int_equal(terms.invalidations_max, 2);
	assert_int_equal(terms.page_requests_max, 4);
	assert_int_equal(terms.pasid_bits, 20);
}

/* Who is no IOMMU, or withholds our names, offers nothing of it. */
static void
test_nobody_else_offers_it(void **state)
{
	struct rp_vfu_client_config config = {.specification_only = true};
	struct rp_vfu_client_iommu_terms terms;

	(void)state;
	iommu_liar_begin("", &config);
	iommu_liar_assert_offer("ringpass", false);
	assert_int_equal(rp_vfu_client_iommu_terms(iommu_liar.client, &terms), -ENOTSUP);
	iommu_liar_end();
	iommu_liar.is_iommu = false;
	config = (struct rp_vfu_client_config){.timeout_ms = 0};
	iommu_liar_begin("", &config);
	iommu_liar_assert_offer("iommu", false);
}

static void
test_server_that_agrees_to_half_of_it(void **state)
{
	static const struct rp_vfu_client_iommu_range all = {.all_pasids = true, .all = true};
	struct rp_vfu_client_iommu_terms terms;

	(void)state;
	iommu_liar_begin("\"ringpass.serve\":true,\"ringpass.iommu\":{\"translations\":4}", NULL);
	assert_int_equal(rp_vfu_client_iommu_terms(iommu_liar.client, &terms), -ENOTSUP);
	assert_int_equal(rp_vfu_client_invalidate(iommu_liar.client, &all, &iommu_liar.why), -ENOTSUP);
	assert_int_equal(rp_vfu_client_page_resume(iommu_liar.client), -ENOTSUP);
	/* And its questions are refused as unknown ones are. */
	iommu_liar_play(
		(const struct script_step[]){{SAY(TRANSLATE(1, 0x1000, 1, 0, 0)), HEAR(REFUSAL(1, 0x5205, EOPNOTSUPP))},
					     {SAY(DMA_READ_PASID(2, 0x1000, 4, 1, 1)), HEAR(REFUSAL(2, 11, EMSGSIZE))}},
		2);
}

static void
test_translate_vectors(void **state)
{
	(void)state;
	iommu_liar_begin(IOMMU_AGREED, NULL);
	iommu_liar.answer = (struct rp_vfu_client_translation){0x4000, 0x8000, 0x100000, 3, false};
	iommu_liar_play(
		(const struct script_step[]){
			{SAY(TRANSLATE(0x1234, 0x7000, 2, 0xabcde, 1)),
			 HEAR(TRANSLATION(0x1234, 0x4000, 0x8000, 0x100000, 3, 0))},
		},
		1);
	assert_int_equal(iommu_liar.asked.pasid, 0xabcde);
	assert_int_equal(iommu_liar.asked.iova, 0x7000);
	assert_int_equal(iommu_liar.asked.access_mask, 2);
	iommu_liar.answer = (struct rp_vfu_client_translation){0, 0xfffffffffffff000, 0, 1, true};
	iommu_liar_play(
		(const struct script_step[]){
			{SAY(TRANSLATE(7, 0, 1, 0, 0)), HEAR(TRANSLATION(7, 0, 0xfffffffffffff000, 0, 1, 1))},
		},
		1);
	assert_int_equal(iommu_liar.asked.pasid, RP_VFU_CLIENT_NO_PASID);
	/* Not present is an answer; the rest of it says nothing. */
	iommu_liar.answer = (struct rp_vfu_client_translation){5, 6, 7, 0, true};
	iommu_liar_play(
		(const struct script_step[]){
			{SAY(TRANSLATE(8, 0x9000, 1, 0, 0)), HEAR(TRANSLATION(8, 0x9000, 0, 0, 0, 0))},
		},
		1);
	/* Our caller's error, and our caller's nonsense. */
	iommu_liar.result = -EPERM;
	iommu_liar_play((const struct script_step[]){{SAY(TRANSLATE(9, 0, 1, 0, 0)), HEAR(REFUSAL(9, 0x5205, EPERM))}},
			1);
	iommu_liar.result = 0;
	iommu_liar.answer = (struct rp_vfu_client_translation){0x1000, 0x1000, 0x100000, 3, false};
	iommu_liar_play((const struct script_step[]){{SAY(TRANSLATE(9, 0, 1, 0, 0)), HEAR(REFUSAL(9, 0x5205, EIO))}},
			1);
}

static void
test_questions_that_are_refused(void **state)
{
	(void)state;
	iommu_liar_begin(IOMMU_AGREED, NULL);
	iommu_liar_play(
		(const struct script_step[]){
			{SAY(TRANSLATE(1, 0x1001, 1, 0, 0)), HEAR(REFUSAL(1, 0x5205, EINVAL))},
			{SAY(TRANSLATE(2, 0x1000, 0, 0, 0)), HEAR(REFUSAL(2, 0x5205, EINVAL))},
			{SAY(TRANSLATE(3, 0x1000, 4, 0, 0)), HEAR(REFUSAL(3, 0x5205, EINVAL))},
			{SAY(TRANSLATE(4, 0x1000, 1, 0, 2)), HEAR(REFUSAL(4, 0x5205, EINVAL))},
			{SAY(TRANSLATE(5, 0x1000, 1, 0x100000, 1)), HEAR(REFUSAL(5, 0x5205, EINVAL))},
			{SAY(HEADER(6, 0x5205, 39, COMMAND, 0), U64(0), U32(1), U32(0), U32(0), 0, 0, 0),
			 HEAR(REFUSAL(6, 0x5205, EMSGSIZE))},
			/* What only a client sends. */
			{SAY(HEADER(7, 0x5206, 48, COMMAND, 0), U64(0), U64(0), U64(4096), U64(0)),
			 HEAR(REFUSAL(7, 0x5206, EOPNOTSUPP))},
			{SAY(HEADER(8, 0x5208, 24, COMMAND, 0), U32(1), U32(0)), HEAR(REFUSAL(8, 0x5208, EOPNOTSUPP))},
			/* Nobody wants to know: nobody is asked. */
			{SAY(HEADER(9, 0x5205, 40, NO_REPLY, 0), U64(0x1000), U32(1), U32(0), U32(0), U32(0)), NOTHING},
		},
		9);
	assert_int_equal(iommu_liar.asked_count, 0);
}

/* Later answers come in any order, and no more questions are taken than were agreed on. */
static void
test_answers_that_come_later(void **state)
{
	struct rp_vfu_client_iommu_counters counters;
	const struct rp_vfu_client_translation there = {0x2000, 0x1000, 0x5000, 1, false};
	const struct rp_vfu_client_translation wrong = {0x2000, 0x1000, 0x5001, 1, false};
	const struct rp_vfu_client_translation away = {0x2000, 0x0800, 0x5000, 1, false};

	(void)state;
	iommu_liar_begin(IOMMU_AGREED, NULL);
	iommu_liar.result = -EINPROGRESS;
	iommu_liar_play(
		(const struct script_step[]){
			{SAY(TRANSLATE(1, 0x1000, 1, 0, 0)), NOTHING},
			{SAY(TRANSLATE(2, 0x2000, 1, 0, 0)), NOTHING},
			{SAY(TRANSLATE(3, 0x3000, 1, 0, 0)), NOTHING},
			{SAY(TRANSLATE(4, 0x4000, 1, 0, 0)), NOTHING},
			{SAY(TRANSLATE(5, 0x5000, 1, 0, 0)), HEAR(REFUSAL(5, 0x5205, ENOSPC))},
		},
		5);
	assert_int_equal(iommu_liar.asked_count, 4);
	assert_int_equal(rp_vfu_client_translated(iommu_liar.client, 0, &there), -ENOENT);
	assert_int_equal(rp_vfu_client_translated(iommu_liar.client, 77, &there), -ENOENT);
	assert_int_equal(rp_vfu_client_translated(iommu_liar.client, iommu_liar.tokens[1], &wrong), -EINVAL);
	assert_int_equal(rp_vfu_client_translated(iommu_liar.client, iommu_liar.tokens[1], &away), -EINVAL);
	assert_int_equal(rp_vfu_client_translated(iommu_liar.client, iommu_liar.tokens[1], &there), 0);
	assert_int_equal(rp_vfu_client_translated(iommu_liar.client, iommu_liar.tokens[1], &there), -ENOENT);
	iommu_liar_assert_replied(HEAR(TRANSLATION(2, 0x2000, 0x1000, 0x5000, 1, 0)));
	/* There is room again. */
	iommu_liar_play((const struct script_step[]){{SAY(TRANSLATE(6, 0x6000, 1, 0, 0)), NOTHING}}, 1);
	assert_int_equal(rp_vfu_client_translated(iommu_liar.client, iommu_liar.tokens[4], NULL), 0);
	iommu_liar_assert_replied(HEAR(REFUSAL(6, 0x5205, EIO)));
	rp_vfu_client_iommu_counters(iommu_liar.client, &counters);
	assert_int_equal(counters.translations, 5);
	assert_int_equal(counters.present, 1);
}

static void
test_configurations_that_are_refused(void **state)
{
	static const struct rp_vfu_client_iommu wrong[] = {
		{.translate = NULL},
		{.translate = iommu_liar_translate, .translations_max = 257},
		{.translate = iommu_liar_translate, .invalidations_max = 257},
		{.translate = iommu_liar_translate, .page_requests_max = 4097},
		{.translate = iommu_liar_translate, .pasid_bits = 21},
	};
	struct rp_vfu_client *client;
	struct rp_wire_why why;
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		const struct rp_vfu_client_config config = {.socket_path = "/nonexistent", .iommu = &wrong[i]};

		assert_int_equal(rp_vfu_client_create(&config, NULL, NULL, &client, &why), -EINVAL);
		assert_non_null(strstr(why.text, "iommu: "));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_offer_vector, iommu_liar_setup, iommu_liar_teardown),
		cmocka_unit_test_setup_teardown(test_nobody_else_offers_it, iommu_liar_setup, iommu_liar_teardown),
		cmocka_unit_test_setup_teardown(test_server_that_agrees_to_half_of_it, iommu_liar_setup,
						iommu_liar_teardown),
		cmocka_unit_test_setup_teardown(test_translate_vectors, iommu_liar_setup, iommu_liar_teardown),
		cmocka_unit_test_setup_teardown(test_questions_that_are_refused, iommu_liar_setup, iommu_liar_teardown),
		cmocka_unit_test_setup_teardown(test_answers_that_come_later, iommu_liar_setup, iommu_liar_teardown),
		cmocka_unit_test(test_configurations_that_are_refused),
	};

	return cmocka_run_group_tests_name("vfio-user client: IOMMU", tests, NULL, NULL);
}
