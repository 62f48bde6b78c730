/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "iommu_peer.h"

/* ringpass.iommu, the server's end: what is agreed on, and translations, byte by byte. */

#define PASID 0x12345u

static void
test_what_is_agreed(void **state)
{
	(void)state;
	/* The smaller of both, whole or not at all. */
	iommu_begin(0, "\"ringpass.serve\":true,\"ringpass.iommu\":{\"translations\":3,\"invalidations\":1000,"
		       "\"page_requests\":7,\"pasid_bits\":8}");
	assert_string_equal(iommu_scene.agreed,
			    "{\"capabilities\":{\"ringpass.serve\":true,\"ringpass.iommu\":{\"translations\":3,"
			    "\"invalidations\":64,\"page_requests\":7,\"pasid_bits\":8}}}");
	iommu_leave();
	iommu_begin(0, "\"ringpass.serve\":true,\"ringpass.iommu\":{\"translations\":3,\"invalidations\":2}");
	assert_string_equal(iommu_scene.agreed, "{\"capabilities\":{\"ringpass.serve\":true,\"ringpass.iommu\":"
						"{\"translations\":3,\"invalidations\":2}}}");
	iommu_leave();
	iommu_begin(0, "\"ringpass.serve\":true,\"ringpass.iommu\":{\"translations\":3,\"pasid_bits\":20}");
	assert_string_equal(iommu_scene.agreed, "{\"capabilities\":{\"ringpass.serve\":true}}");
	iommu_leave();
	/* A second socket that cannot be had: there is no descriptor for it. */
	iommu_begin(0, "\"max_msg_fds\":0,\"twin_socket\":{\"supported\":true},"
		       "\"ringpass.iommu\":{\"translations\":3,\"invalidations\":2}");
	assert_string_equal(iommu_scene.agreed, "{\"capabilities\":{\"max_msg_fds\":0}}");
	iommu_leave();
	/* Who serves nothing while it waits is never asked. */
	iommu_begin(0, "\"ringpass.iommu\":{\"translations\":3,\"invalidations\":2}");
	assert_string_equal(iommu_scene.agreed, "{\"capabilities\":{}}");
	iommu_leave();
	iommu_begin(0, "\"twin_socket\":{\"supported\":true},\"max_msg_fds\":2,"
		       "\"ringpass.iommu\":{\"translations\":3,\"invalidations\":2}");
	assert_non_null(strstr(iommu_scene.agreed, "\"ringpass.iommu\":{\"translations\":3,\"invalidations\":2}"));
}

static void
test_terms_are_told(void **state)
{
	struct rp_vfu_server_iommu_terms terms;

	(void)state;
	iommu_begin(0, IOMMU_ALL);
	assert_int_equal(rp_vfu_server_iommu_terms(iommu_scene.device.server, &terms), 0);
	assert_int_equal(terms.translations_max, 4);
	assert_int_equal(terms.invalidations_max, 4);
	assert_int_equal(terms.page_requests_max, 4);
	assert_int_equal(terms.pasid_bits, 20);
	iommu_leave();
	assert_int_equal(rp_vfu_server_iommu_terms(iommu_scene.device.server, &terms), -ENOTSUP);
	assert_int_equal(terms.translations_max, 0);
}

/* One way for both: without the capability every address is itself, and not a byte goes out. */
static void
test_without_it_addresses_are_themselves(void **state)
{
	static const uint8_t invalidate[] = {U64(1), U64(0), U64(0), U32(0), U32(2)};
	static const uint8_t response[] = {U32(1), U32(0)};
	static const uint8_t map[] = {U32(32), U32(3), U64(0), U64(0), U64(4096), U32(0), U32(1)};
	const struct rp_vfu_page page = {0, 1};
	struct rp_vfu_page_group group = {.pasid = RP_DMA_NO_PASID, .pages = &page, .pages_count = 1};
	struct rp_dma_translation found;

	(void)state;
	iommu_begin(0, "\"ringpass.serve\":true");
	assert_int_equal(rp_dma_atc_find(iommu_atc(), RP_DMA_NO_PASID, 0x1234, 3, &found), 0);
	assert_int_equal(found.address, 0x1234);
	assert_int_equal(iommu_want(0, RP_DMA_NO_PASID, 0x5678, 3), 0);
	assert_int_equal(iommu_want(0, 1, 0x5678, 3), -ENOTCONN);
	assert_int_equal(rp_vfu_server_page_request(iommu_scene.device.server, &group), -ENOTSUP);
	assert_true(peer_is_silent(&iommu_scene.peer));
	assert_int_equal(iommu_ask(0x5206, invalidate, sizeof(invalidate)), EOPNOTSUPP);
	assert_int_equal(iommu_ask(0x5208, response, sizeof(response)), EOPNOTSUPP);
	assert_int_equal(iommu_ask(0x5205, response, sizeof(response)), EOPNOTSUPP);
	assert_int_equal(iommu_ask(2, map, sizeof(map)), EMSGSIZE);
}

static void
test_translate_vectors(void **state)
{
	static const uint8_t with_pasid[] = {U16(0x5205), U32(40), U32(COMMAND), U32(0), U64(0x7000),
					     U32(2),	  U32(0),  U32(PASID),	 U32(1)};
	static const uint8_t without[] = {U16(0x5205), U32(40), U32(COMMAND), U32(0), U64(0xfffffffffffff000),
					  U32(1),      U32(0),	U32(0),	      U32(0)};
	static const uint8_t answer[] = {U64(0x6000), U64(0x4000), U64(0x100000), U32(3), U32(0)};
	static const uint8_t identity[] = {U64(0), U64(0xfffffffffffff000), U64(0), U32(1), U32(1)};
	static const uint8_t nowhere[] = {U64(0), U64(0), U64(0), U32(0), U32(0)};
	struct rp_dma_translation found;
	struct iommu_asked first, second;

	(void)state;
	iommu_begin(0, IOMMU_ALL);
	assert_int_equal(iommu_want(0, PASID, 0x7abc, RP_DMA_WRITE), -EINPROGRESS);
	assert_int_equal(iommu_want(1, RP_DMA_NO_PASID, UINT64_MAX, RP_DMA_READ), -EINPROGRESS);
	first = iommu_take();
	assert_memory_equal(iommu_scene.msg.bytes + 2, with_pasid, sizeof(with_pasid));
	assert_int_equal(iommu_scene.msg.size_bytes, 40);
	second = iommu_take();
	assert_memory_equal(iommu_scene.msg.bytes + 2, without, sizeof(without));
	/* In any order. */
	iommu_answer(&second, nowhere, sizeof(nowhere));
	iommu_heard(1, -EFAULT);
	iommu_heard(0, IOMMU_UNHEARD);
	iommu_answer(&first, answer, sizeof(answer));
	iommu_heard(0, 0);
	assert_int_equal(rp_dma_atc_find(iommu_atc(), PASID, 0x7abc, 3, &found), 0);
	assert_int_equal(found.address, 0x101abc);
	assert_false(found.identity);
	assert_int_equal(iommu_want(1, RP_DMA_NO_PASID, 0x1000, RP_DMA_READ), -EINPROGRESS);
	first = iommu_take();
	iommu_answer(&first, identity, sizeof(identity));
	iommu_heard(1, 0);
	assert_int_equal(rp_dma_atc_find(iommu_atc(), RP_DMA_NO_PASID, 0x123456789, 1, &found), 0);
	assert_int_equal(found.address, 0x123456789);
	assert_true(found.identity);
}

static void
test_no_more_questions_than_agreed(void **state)
{
	static const uint8_t nowhere[] = {U64(0), U64(0), U64(0), U32(0), U32(0)};
	struct iommu_asked asked[4], more;
	unsigned int i;

	(void)state;
	iommu_begin(0, IOMMU_ALL);
	for (i = 0; i < 6; i++)
		assert_int_equal(iommu_want(i, 1, i * 0x1000ull, 1), -EINPROGRESS);
	for (i = 0; i < 4; i++)
		asked[i] = iommu_take();
	assert_true(peer_is_silent(&iommu_scene.peer));
	iommu_answer(&asked[2], nowhere, sizeof(nowhere));
	more = iommu_take();
	assert_int_not_equal(more.id, asked[2].id);
	assert_true(peer_is_silent(&iommu_scene.peer));
	/* An answer to what was answered is of nobody, and told. */
	iommu_answer(&asked[2], nowhere, sizeof(nowhere));
	assert_int_equal(iommu_scene.device.refusals, 1);
	iommu_refuse(&asked[0], EPERM);
	iommu_heard(0, -EIO);
	(void)iommu_take();
	/* The client leaves: whoever waits hears of it. */
	iommu_leave();
	for (i = 0; i < 6; i++)
		iommu_heard(i, i == 0 ? -EIO : i == 2 ? -EFAULT : -ENOTCONN);
	assert_int_equal(iommu_want(0, 1, 0, 1), -ENOTCONN);
}

/* A number that is used again: the answer to the question before is none to this one. */
static void
test_late_answers_are_told_apart(void **state)
{
	static const uint8_t nowhere[] = {U64(0), U64(0), U64(0), U32(0), U32(0)};
	struct iommu_asked first, again;

	(void)state;
	iommu_begin(0, IOMMU_ALL);
	assert_int_equal(iommu_want(0, 1, 0, 1), -EINPROGRESS);
	first = iommu_take();
	iommu_answer(&first, nowhere, sizeof(nowhere));
	for (;;) {
		assert_int_equal(iommu_want(0, 1, 0, 1), -EINPROGRESS);
		again = iommu_take();
		assert_int_not_equal(again.id, first.id);
		if ((again.id & 0xff) == (first.id & 0xff))
			break;
		iommu_answer(&again, nowhere, sizeof(nowhere));
	}
	iommu_answer(&first, nowhere, sizeof(nowhere));
	assert_int_equal(iommu_scene.device.refusals, 1);
	iommu_heard(0, IOMMU_UNHEARD);
	iommu_answer(&again, nowhere, sizeof(nowhere));
	iommu_heard(0, -EFAULT);
}

/* Who lies about memory is not believed again. */
static void
test_lies_about_translations_end_the_connection(void **state)
{
	static const uint8_t lies[][32] = {
		{U64(0x1000), U64(0x1000), U64(0x1000), U32(4), U32(0)},
		{U64(0x1000), U64(0x1000), U64(0x1000), U32(3), U32(2)},
		{U64(0x1001), U64(0x1000), U64(0x1000), U32(3), U32(0)},
		{U64(0x1000), U64(0x0fff), U64(0x1000), U32(3), U32(0)},
		{U64(0x1000), U64(0x1000), U64(0x1010), U32(3), U32(0)},
		{U64(0x1000), U64(0), U64(0x1000), U32(3), U32(0)},
		{U64(0x2000), U64(0x1000), U64(0x1000), U32(3), U32(0)},
		{U64(0), U64(0x1000), U64(0x1000), U32(3), U32(0)},
		{U64(0x1000), U64(0x2000), U64(0xfffffffffffff000), U32(3), U32(0)},
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(lies) / sizeof(lies[0]) + 2; i++) {
		struct iommu_asked asked;

		iommu_begin(0, IOMMU_ALL);
		assert_int_equal(iommu_want(0, 1, 0x1000, 1), -EINPROGRESS);
		asked = iommu_take();
		if (i < sizeof(lies) / sizeof(lies[0]))
			iommu_answer(&asked, lies[i], 32);
		else
			iommu_answer(&asked, lies[0], i % 2 == 0 ? 31 : 24);
		assert_false(rp_vfu_server_connected(iommu_scene.device.server));
		assert_int_not_equal(iommu_scene.heard[0], 0);
		assert_int_not_equal(iommu_scene.heard[0], IOMMU_UNHEARD);
		iommu_leave();
	}
}

/* What was known of one client is not known of the next. */
static void
test_next_client_starts_with_nothing(void **state)
{
	static const uint8_t answer[] = {U64(0x1000), U64(0x1000), U64(0x1000), U32(3), U32(0)};
	struct rp_dma_translation found;
	struct iommu_asked asked;

	(void)state;
	iommu_begin(0, IOMMU_ALL);
	assert_int_equal(iommu_want(0, 1, 0x1000, 1), -EINPROGRESS);
	asked = iommu_take();
	iommu_answer(&asked, answer, sizeof(answer));
	assert_int_equal(rp_dma_atc_find(iommu_atc(), 1, 0x1000, 1, &found), 0);
	assert_int_equal(iommu_want(1, 1, 0x2000, 1), -EINPROGRESS);
	asked = iommu_take();
	iommu_leave();
	assert_int_equal(rp_dma_atc_find(iommu_atc(), 1, 0x1000, 1, &found), -EAGAIN);
	iommu_begin(0, IOMMU_ALL);
	assert_int_equal(rp_dma_atc_find(iommu_atc(), 1, 0x1000, 1, &found), -EAGAIN);
	/* An answer to a question of the last connection. */
	iommu_answer(&asked, answer, sizeof(answer));
	assert_int_equal(iommu_scene.device.refusals, 1);
	assert_true(rp_vfu_server_connected(iommu_scene.device.server));
}

static void
test_twin_socket_has_the_questions(void **state)
{
	static const uint8_t answer[] = {U64(0x1000), U64(0x1000), U64(0x1000), U32(3), U32(0)};
	struct iommu_asked asked;

	(void)state;
	iommu_begin(0, "\"max_msg_fds\":2,\"twin_socket\":{\"supported\":true},\"ringpass.iommu\":"
		       "{\"translations\":3,\"invalidations\":2}");
	assert_int_equal(iommu_want(0, RP_DMA_NO_PASID, 0x1000, 1), -EINPROGRESS);
	device_turn(&iommu_scene.device);
	assert_true(peer_is_silent(&iommu_scene.peer));
	asked = iommu_take();
	iommu_answer(&asked, answer, sizeof(answer));
	iommu_heard(0, 0);
}

static void
test_configurations_that_are_refused(void **state)
{
	static const struct rp_vfu_server_iommu wrong[] = {
		{.cache_entries_max = (1u << 20) + 1}, {.translations_max = 257}, {.invalidations_max = 257},
		{.page_requests_max = 4097},	       {.pasid_bits = 21},	  {.pasids_max = 4097},
	};
	struct device_description description;
	struct rp_vfu_server *server;
	struct rp_wire_why why;
	unsigned int i;

	(void)state;
	device_describe(&iommu_scene.device, &description);
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		description.config.iommu = &wrong[i];
		assert_int_equal(rp_vfu_server_create(&description.config, &device_ops, NULL, &server, &why), -EINVAL);
		assert_non_null(strstr(why.text, "iommu: "));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_is_agreed, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_terms_are_told, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_without_it_addresses_are_themselves, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_translate_vectors, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_no_more_questions_than_agreed, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_late_answers_are_told_apart, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_lies_about_translations_end_the_connection, iommu_setup,
						iommu_teardown),
		cmocka_unit_test_setup_teardown(test_next_client_starts_with_nothing, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_twin_socket_has_the_questions, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_configurations_that_are_refused, iommu_setup, iommu_teardown),
	};

	return cmocka_run_group_tests_name("vfio-user server: IOMMU", tests, NULL, NULL);
}
