/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "test_support.h"
#include "vfu_version.h"

static int
parse(const char *text, struct rp_vfu_terms *ret_terms, struct rp_wire_why *why)
{
	size_t bytes = strlen(text) + 1;
	/* Of exact size, so that a sanitizer sees a byte too many. */
	uint8_t *copy = malloc(bytes);
	int rc;

	assert_non_null(copy);
	memcpy(copy, text, bytes);
	rc = rp_vfu_terms_parse(copy, bytes, ret_terms, why);
	free(copy);
	return rc;
}

static void
assert_refused(const char *text, const char *words)
{
	struct rp_vfu_terms terms;
	struct rp_wire_why why = {.text = ""};

	memset(&terms, 0x5a, sizeof(terms));
	assert_int_equal(parse(text, &terms, &why), -EBADMSG);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s' does not say '%s'", why.text, words);
	assert_int_equal(terms.named_mask, 0x5a5a5a5a);
}

static void
test_defaults_are_the_specifications(void **state)
{
	const char *texts[] = {"{}", "{\"capabilities\":{}}", "{\"other\":[1,2,{}]}", " { } "};
	struct rp_vfu_terms terms;
	unsigned int i;

	(void)state;
	for (i = 0; i < 5; i++) {
		if (i < 4)
			assert_int_equal(parse(texts[i], &terms, NULL), 0);
		else
			assert_int_equal(rp_vfu_terms_parse(NULL, 0, &terms, NULL), 0);
		assert_int_equal(terms.named_mask, 0);
		assert_int_equal(terms.has_object, i == 1);
		assert_int_equal(terms.value[RP_VFU_TERM_MSG_FDS], 1);
		assert_int_equal(terms.value[RP_VFU_TERM_DATA_XFER], 1048576);
		assert_int_equal(terms.value[RP_VFU_TERM_DMA_MAPS], 65535);
		assert_int_equal(terms.value[RP_VFU_TERM_PAGE_SIZES], 4096);
		assert_int_equal(terms.value[RP_VFU_TERM_WRITE_MULTI], 0);
	}
}

static void
test_values_are_read(void **state)
{
	struct rp_vfu_terms terms;

	(void)state;
	assert_int_equal(parse("{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":65536,\"max_dma_maps\":7,"
			       "\"pgsizes\":2101248,\"write_multiple\":true,\"migration\":{\"pgsize\":4096},"
			       "\"unheard_of\":null}}",
			       &terms, NULL),
			 0);
	assert_int_equal(terms.named_mask, 0x1f | 1u << RP_VFU_TERM_MIG_PAGE_SIZE);
	assert_int_equal(terms.value[RP_VFU_TERM_MIG_PAGE_SIZE], 4096);
	assert_int_equal(terms.value[RP_VFU_TERM_MIG_BITMAP_MAX], 256 << 20);
	assert_int_equal(terms.value[RP_VFU_TERM_MSG_FDS], 8);
	assert_int_equal(terms.value[RP_VFU_TERM_DATA_XFER], 65536);
	assert_int_equal(terms.value[RP_VFU_TERM_DMA_MAPS], 7);
	assert_int_equal(terms.value[RP_VFU_TERM_PAGE_SIZES], 2101248);
	assert_int_equal(terms.value[RP_VFU_TERM_WRITE_MULTI], 1);
	assert_int_equal(parse("{\"capabilities\":{\"pgsizes\":18446744073709547520}}", &terms, NULL), 0);
	assert_int_equal(terms.value[RP_VFU_TERM_PAGE_SIZES], UINT64_MAX - 4095);
}

static void
test_objects_are_read(void **state)
{
	struct rp_vfu_terms terms;

	(void)state;
	assert_int_equal(parse("{\"capabilities\":{\"twin_socket\":{\"supported\":true,\"fd_index\":1},"
			       "\"migration\":{\"max_bitmap_size\":65536},"
			       "\"ringpass.window\":{\"fd_index\":15,\"size\":131072},\"ringpass.remap\":true,"
			       "\"ringpass.serve\":false,\"ringpass.unheard_of\":{}}}",
			       &terms, NULL),
			 0);
	assert_int_equal(terms.named_mask, 1u << RP_VFU_TERM_TWIN_SOCKET | 1u << RP_VFU_TERM_MIG_BITMAP_MAX |
						   1u << RP_VFU_TERM_WINDOW | 1u << RP_VFU_TERM_REMAP |
						   1u << RP_VFU_TERM_SERVE);
	assert_int_equal(terms.value[RP_VFU_TERM_TWIN_SOCKET], 1);
	assert_int_equal(terms.twin_fd_index, 1);
	assert_int_equal(terms.value[RP_VFU_TERM_WINDOW], 131072);
	assert_int_equal(terms.window_fd_index, 15);
	assert_int_equal(terms.value[RP_VFU_TERM_MIG_BITMAP_MAX], 65536);
	assert_int_equal(terms.value[RP_VFU_TERM_REMAP], 1);
	assert_int_equal(terms.value[RP_VFU_TERM_SERVE], 0);
	assert_int_equal(terms.value[RP_VFU_TERM_IO_FDS], 0);
	assert_int_equal(parse("{\"capabilities\":{\"twin_socket\":{},\"migration\":{}}}", &terms, NULL), 0);
	assert_int_equal(terms.named_mask, 0);
	assert_int_equal(terms.twin_fd_index, -1);
	assert_int_equal(terms.window_fd_index, -1);
}

static void
test_what_is_no_json_is_refused(void **state)
{
	static const uint8_t no_nul[] = {'{', '}'};
	static const uint8_t two_nuls[] = {'{', '}', 0, 0};
	static const uint8_t inner_nul[] = {'{', 0, '}', 0};
	struct rp_vfu_terms terms;
	struct rp_wire_why why;
	char deep[4096];

	(void)state;
	assert_int_equal(rp_vfu_terms_parse(no_nul, sizeof(no_nul), &terms, &why), -EBADMSG);
	assert_string_equal(why.text, "version data: expected one NUL, at its end");
	assert_int_equal(rp_vfu_terms_parse(two_nuls, sizeof(two_nuls), &terms, &why), -EBADMSG);
	assert_int_equal(rp_vfu_terms_parse(inner_nul, sizeof(inner_nul), &terms, &why), -EBADMSG);
	assert_refused("", "not JSON");
	assert_refused("{", "not JSON");
	assert_refused("{} {}", "not JSON");
	assert_refused("{}x", "not JSON");
	assert_refused("{\"capabilities\":{},}", "not JSON");
	assert_refused("{\"\xff\xfe\":1}", "not JSON");
	memset(deep, '[', sizeof(deep));
	deep[sizeof(deep) - 1] = '\0';
	assert_refused(deep, "not JSON");
	assert_refused("{\"a\":[[[[[[[[[[]]]]]]]]]]}", "not JSON");
}

static void
test_wrong_types_are_refused_by_name(void **state)
{
	(void)state;
	assert_refused("[]", "not a JSON object");
	assert_refused("null", "not a JSON object");
	assert_refused("17", "not a JSON object");
	assert_refused("{\"capabilities\":[]}", "capabilities: not an object");
	assert_refused("{\"capabilities\":null}", "capabilities: not an object");
	assert_refused("{\"capabilities\":{\"max_msg_fds\":\"8\"}}", "max_msg_fds: not a whole number");
	assert_refused("{\"capabilities\":{\"max_msg_fds\":-1}}", "max_msg_fds: not a whole number");
	assert_refused("{\"capabilities\":{\"max_dma_maps\":1.5}}", "max_dma_maps: not a whole number");
	assert_refused("{\"capabilities\":{\"max_dma_maps\":1e3}}", "max_dma_maps: not a whole number");
	assert_refused("{\"capabilities\":{\"pgsizes\":null}}", "pgsizes: not a whole number");
	assert_refused("{\"capabilities\":{\"pgsizes\":{}}}", "pgsizes: not a whole number");
	assert_refused("{\"capabilities\":{\"max_data_xfer_size\":true}}", "max_data_xfer_size: not a whole number");
	assert_refused("{\"capabilities\":{\"write_multiple\":1}}", "write_multiple: not a boolean");
	assert_refused("{\"capabilities\":{\"twin_socket\":true}}", "twin_socket: not an object");
	assert_refused("{\"capabilities\":{\"twin_socket\":{\"supported\":1}}}",
		       "twin_socket: supported: not a boolean");
	assert_refused("{\"capabilities\":{\"twin_socket\":{\"supported\":true,\"fd_index\":16}}}",
		       "twin_socket: fd_index: not a whole number below 16");
	assert_refused("{\"capabilities\":{\"ringpass.window\":{\"size\":65536,\"fd_index\":-1}}}",
		       "ringpass.window: fd_index: not a whole number below 16");
	assert_refused("{\"capabilities\":{\"ringpass.window\":{\"size\":\"all\"}}}",
		       "ringpass.window: size: not a whole number");
	assert_refused("{\"capabilities\":{\"migration\":4096}}", "migration: not an object");
}

static void
agree(const char *text, struct rp_vfu_terms *ret_agreed)
{
	struct rp_vfu_terms ours, theirs;

	rp_vfu_terms_ours(&ours);
	assert_int_equal(parse(text, &theirs, NULL), 0);
	assert_int_equal(rp_vfu_terms_agree(&ours, &theirs, ret_agreed, NULL), 0);
}

static void
test_agreement_is_what_both_can_keep(void **state)
{
	struct rp_vfu_terms agreed;

	(void)state;
	agree("{\"capabilities\":{\"max_msg_fds\":253,\"max_data_xfer_size\":4096,"
	      "\"max_dma_maps\":18446744073709551615,"
	      "\"pgsizes\":2097153,\"write_multiple\":true}}",
	      &agreed);
	assert_int_equal(agreed.value[RP_VFU_TERM_MSG_FDS], 16);
	assert_int_equal(agreed.value[RP_VFU_TERM_DATA_XFER], 4096);
	assert_int_equal(agreed.value[RP_VFU_TERM_DMA_MAPS], RP_VFU_DMA_MAPS_MAX);
	assert_int_equal(agreed.value[RP_VFU_TERM_PAGE_SIZES], 2097152);
	assert_int_equal(agreed.value[RP_VFU_TERM_WRITE_MULTI], 1);
	assert_int_equal(agreed.named_mask, 0x1f);
}

/* What one end lacks is not agreed on, and costs nothing else. */
static void
test_optional_terms(void **state)
{
	struct rp_vfu_terms ours, theirs, agreed;

	(void)state;
	agree("{\"capabilities\":{\"write_multiple\":false,\"twin_socket\":{\"supported\":false},"
	      "\"ringpass.window\":{\"size\":65535},\"ringpass.remap\":false}}",
	      &agreed);
	assert_int_equal(agreed.named_mask, 0);
	assert_int_equal(agreed.value[RP_VFU_TERM_WINDOW], 0);
	agree("{\"capabilities\":{\"ringpass.window\":{\"size\":65536}}}", &agreed);
	assert_int_equal(agreed.value[RP_VFU_TERM_WINDOW], 65536);
	agree("{\"capabilities\":{\"ringpass.window\":{\"size\":1000000000000}}}", &agreed);
	assert_int_equal(agreed.value[RP_VFU_TERM_WINDOW], RP_VFU_WINDOW_MAX_BYTES);
	rp_vfu_terms_ours(&ours);
	rp_vfu_terms_ours(&theirs);
	rp_vfu_terms_drop(&ours, RP_VFU_TERM_REMAP);
	assert_int_equal(rp_vfu_terms_agree(&ours, &theirs, &agreed, NULL), 0);
	assert_int_equal(agreed.named_mask, theirs.named_mask & ~(1u << RP_VFU_TERM_REMAP));
	assert_int_equal(agreed.value[RP_VFU_TERM_REMAP], 0);
}

static void
test_floor(void **state)
{
	static const char *const texts[] = {
		"{\"capabilities\":{\"max_data_xfer_size\":4095}}",
		"{\"capabilities\":{\"max_dma_maps\":0}}",
		"{\"capabilities\":{\"pgsizes\":0}}",
		"{\"capabilities\":{\"pgsizes\":2048}}",
	};
	struct rp_vfu_terms ours, theirs, agreed;
	struct rp_wire_why why;
	unsigned int i;

	(void)state;
	rp_vfu_terms_ours(&ours);
	for (i = 0; i < 4; i++) {
		assert_int_equal(parse(texts[i], &theirs, NULL), 0);
		assert_int_equal(rp_vfu_terms_agree(&ours, &theirs, &agreed, &why), -EBADMSG);
		assert_non_null(strstr(why.text, "expected at least"));
	}
}

static void
assert_answer(const char *offer, const char *answer)
{
	struct rp_vfu_terms agreed;
	size_t bytes = 0;
	char text[512];

	agree(offer, &agreed);
	assert_int_equal(rp_vfu_terms_format(&agreed, text, sizeof(text), &bytes), 0);
	assert_string_equal(text, answer);
	assert_int_equal(bytes, strlen(answer) + 1);
	/* A client reads it into the room of its offer. */
	assert_true(strlen(answer) <= strlen(offer));
	assert_int_equal(rp_vfu_terms_format(&agreed, text, bytes - 1, &bytes), -ENOSPC);
}

static void
test_answer_holds_only_what_was_offered(void **state)
{
	(void)state;
	assert_answer("{}", "{}");
	assert_answer("{\"capabilities\":{}}", "{\"capabilities\":{}}");
	assert_answer("{\"capabilities\":{\"twin_socket\":{\"supported\":true}}}",
		      "{\"capabilities\":{\"twin_socket\":{\"supported\":true}}}");
	assert_answer("{\"capabilities\":{\"twin_socket\":{\"supported\":false}}}", "{\"capabilities\":{}}");
	assert_answer("{\"capabilities\":{\"pgsizes\":4096}}", "{\"capabilities\":{\"pgsizes\":4096}}");
	assert_answer("{\"capabilities\": {\"migration\": {\"pgsize\": 4096, \"max_bitmap_size\": 268435456}, "
		      "\"max_msg_fds\": 16, \"max_data_xfer_size\": 1048576, \"pgsizes\": 4096, "
		      "\"max_dma_maps\": 65535, \"write_multiple\": true}}",
		      "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576,\"max_dma_maps\":65535,"
		      "\"pgsizes\":4096,\"write_multiple\":true,"
		      "\"migration\":{\"pgsize\":4096,\"max_bitmap_size\":268435456}}}");
}

/* Only who offered the capability gets it, so only that client needs the room for it. */
static void
test_positions_of_descriptors(void **state)
{
	struct rp_vfu_terms agreed;
	char text[512];
	size_t bytes;

	(void)state;
	agree("{\"capabilities\":{\"twin_socket\":{\"supported\":true},\"ringpass.window\":{\"size\":65536}}}",
	      &agreed);
	agreed.twin_fd_index = 0;
	agreed.window_fd_index = 1;
	assert_int_equal(rp_vfu_terms_format(&agreed, text, sizeof(text), &bytes), 0);
	assert_string_equal(text, "{\"capabilities\":{\"twin_socket\":{\"supported\":true,\"fd_index\":0},"
				  "\"ringpass.window\":{\"size\":65536,\"fd_index\":1}}}");
	rp_vfu_terms_drop(&agreed, RP_VFU_TERM_WINDOW);
	assert_int_equal(rp_vfu_terms_format(&agreed, text, sizeof(text), &bytes), 0);
	assert_string_equal(text, "{\"capabilities\":{\"twin_socket\":{\"supported\":true,\"fd_index\":0}}}");
}

static void
test_random_texts(void **state)
{
	static const char alphabet[] = "{}[]\":,0123456789.-e tfnmaxpgsizescapabilities_\\u\x80\xff";
	unsigned int seed = 20240501, round;

	(void)state;
	for (round = 0; round < 20000; round++) {
		uint8_t *text = malloc(64);
		size_t bytes = 1 + (size_t)rand_r(&seed) % 64, i;
		struct rp_vfu_terms terms;

		assert_non_null(text);
		for (i = 0; i < bytes; i++)
			text[i] = (uint8_t)alphabet[(size_t)rand_r(&seed) % (sizeof(alphabet) - 1)];
		text[bytes - 1] = '\0';
		(void)rp_vfu_terms_parse(text, bytes, &terms, NULL);
		free(text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults_are_the_specifications),
		cmocka_unit_test(test_values_are_read),
		cmocka_unit_test(test_objects_are_read),
		cmocka_unit_test(test_what_is_no_json_is_refused),
		cmocka_unit_test(test_wrong_types_are_refused_by_name),
		cmocka_unit_test(test_agreement_is_what_both_can_keep),
		cmocka_unit_test(test_optional_terms),
		cmocka_unit_test(test_floor),
		cmocka_unit_test(test_answer_holds_only_what_was_offered),
		cmocka_unit_test(test_positions_of_descriptors),
		cmocka_unit_test(test_random_texts),
	};

	return cmocka_run_group_tests_name("vfio-user version", tests, NULL, NULL);
}
