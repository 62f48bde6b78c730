/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scripted.h"

/* DMA logging: start, reports in pieces, stop. */

static void
test_logging_vectors(void **state)
{
	static const struct rp_vfu_client_range ranges[] = {{0x1000, 0x2000}, {0x10000, 0x1000}};
	uint64_t page_size_bytes = 4096, bits[2] = {0, 0};

	(void)state;
	/* The server logs larger pages than we wished for. */
	REPLY_WITH(0, U32(56), U32(0x20006), U64(65536), U32(2), U32(0), U64(0x1000), U64(0x2000), U64(0x10000),
		   U64(0x1000));
	assert_int_equal(rp_vfu_client_logging_start(scripted.client, &page_size_bytes, ranges, 2, &scripted.why), 0);
	SENT(0, HEADER(1, 16, 72, COMMAND, 0), U32(56), U32(0x20006), U64(4096), U32(2), U32(0), U64(0x1000),
	     U64(0x2000), U64(0x10000), U64(0x1000));
	assert_int_equal(page_size_bytes, 65536);
	REPLY_WITH(0, U32(48), U32(0x10008), U64(0x1000), U64(65 * 4096), U64(4096), U64(0x8000000000000003), U64(1));
	assert_int_equal(rp_vfu_client_logging_report(scripted.client, 0x1000, 65 * 4096, 4096, bits, &scripted.why),
			 0);
	SENT(0, HEADER(2, 16, 48, COMMAND, 0), U32(48), U32(0x10008), U64(0x1000), U64(65 * 4096), U64(4096));
	assert_true(bits[0] == 0x8000000000000003 && bits[1] == 1);
	REPLY_WITH(0, U32(8), U32(0x20007));
	assert_int_equal(rp_vfu_client_logging_stop(scripted.client, &scripted.why), 0);
	SENT(0, HEADER(3, 16, 24, COMMAND, 0), U32(8), U32(0x20007));
}

static void
test_lies(void **state)
{
	uint64_t page_size_bytes = 4096, bits = 0x55;

	(void)state;
	REPLY_WITH(0, U32(24), U32(0x20006), U64(12345), U32(0), U32(0));
	assert_int_equal(rp_vfu_client_logging_start(scripted.client, &page_size_bytes, NULL, 0, &scripted.why),
			 -EBADMSG);
	scripted_assert_why("pages of 12345 bytes");
	REPLY_WITH(0, U32(24), U32(0x20006), U64(0), U32(0), U32(0));
	assert_int_equal(rp_vfu_client_logging_start(scripted.client, &page_size_bytes, NULL, 0, &scripted.why),
			 -EBADMSG);
	assert_int_equal(page_size_bytes, 4096);
	REPLY_WITH(0, U32(32), U32(0x10008), U64(0x1000), U64(0x2000), U64(4096));
	assert_int_equal(rp_vfu_client_logging_report(scripted.client, 0x1000, 0x2000, 4096, &bits, &scripted.why),
			 -EBADMSG);
	scripted_assert_why("argsz 32, 32 bytes, expected 0x10008 and 40");
	REPLY_WITH(0, U32(40), U32(0x10008), U64(0x1000), U64(0x3000), U64(4096), U64(1));
	assert_int_equal(rp_vfu_client_logging_report(scripted.client, 0x1000, 0x2000, 4096, &bits, &scripted.why),
			 -EBADMSG);
	scripted_assert_why("a report of another range");
	REPLY_WITH(0, U32(40), U32(0x10008), U64(0x1000), U64(0x2000), U64(4096), U64(4));
	assert_int_equal(rp_vfu_client_logging_report(scripted.client, 0x1000, 0x2000, 4096, &bits, &scripted.why),
			 -EBADMSG);
	scripted_assert_why("bits behind the range");
	REPLY_WITH(0, U32(40), U32(0x10007), U64(0x1000), U64(0x2000), U64(4096), U64(1));
	assert_int_equal(rp_vfu_client_logging_report(scripted.client, 0x1000, 0x2000, 4096, &bits, &scripted.why),
			 -EBADMSG);
	assert_int_equal(bits, 0x55);
	script_refuse_with(EINVAL);
	assert_int_equal(rp_vfu_client_logging_report(scripted.client, 0x1000, 0x2000, 4096, &bits, &scripted.why),
			 -EINVAL);
	assert_int_equal(rp_vfu_client_reset(scripted.client, &scripted.why), 0);
}

static void
test_our_callers_mistakes(void **state)
{
	uint64_t page_size_bytes = 4096, bits;

	(void)state;
	assert_int_equal(rp_vfu_client_logging_start(scripted.client, &page_size_bytes, NULL, 65536, &scripted.why),
			 -EINVAL);
	assert_int_equal(rp_vfu_client_logging_report(scripted.client, 0, 0x1000, 0, &bits, &scripted.why), -EINVAL);
	assert_int_equal(rp_vfu_client_logging_report(scripted.client, UINT64_MAX, 0x1000, 4096, &bits, &scripted.why),
			 -EINVAL);
	assert_int_equal(script_sent_count(), 0);
}

/* Every piece has its number in each of its words. */
static unsigned int pieces;

static bool
report_pieces(struct liar *l, const struct peer_msg *command)
{
	uint8_t payload[32 + 4096];
	uint64_t size_bytes, words, i;
	uint32_t argsz;

	if (command->command == 1) {
		script_version(l, command, "\"max_data_xfer_size\":4096", NULL, 0);
		return true;
	}
	memcpy(payload, command->payload, 32);
	memcpy(&size_bytes, command->payload + 16, 8);
	words = (size_bytes / 4096 + 63) / 64;
	pieces++;
	for (i = 0; i < words; i++) {
		uint64_t word = pieces;

		memcpy(payload + 32 + i * 8, &word, 8);
	}
	argsz = (uint32_t)(32 + words * 8);
	memcpy(payload, &argsz, 4);
	liar_reply(l, command, payload, argsz, NULL, 0);
	return true;
}

static void
test_more_bits_than_a_message_has(void **state)
{
	/* 512 words fit into a message of 4096 bytes. */
	const uint64_t words = 2 * 512 + 3;
	uint64_t *bits = calloc(words + 1, sizeof(*bits));

	(void)state;
	assert_non_null(bits);
	pieces = 0;
	scripted.liar.lie_from_version = true;
	scripted.client = liar_client(&scripted.liar, report_pieces);
	assert_int_equal(
		rp_vfu_client_logging_report(scripted.client, 0x1000, words * 64 * 4096, 4096, bits, &scripted.why), 0);
	assert_int_equal(pieces, 3);
	assert_true(bits[0] == 1 && bits[511] == 1 && bits[512] == 2 && bits[1023] == 2 && bits[1024] == 3);
	assert_true(bits[1026] == 3 && bits[1027] == 0);
	rp_vfu_client_destroy(scripted.client);
	liar_stop(&scripted.liar);
	free(bits);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_logging_vectors, scripted_setup, scripted_teardown),
		cmocka_unit_test_setup_teardown(test_lies, scripted_setup, scripted_teardown),
		cmocka_unit_test_setup_teardown(test_our_callers_mistakes, scripted_setup, scripted_teardown),
		cmocka_unit_test(test_more_bits_than_a_message_has),
	};

	return cmocka_run_group_tests_name("vfio-user client: DMA logging", tests, NULL, NULL);
}
