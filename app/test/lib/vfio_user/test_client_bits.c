/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "test_support.h"
#include "vfu_client.h"

/* Bitmaps in pieces: that they cover everything once, whatever the numbers. */

static struct rp_vfu_client client;

static void
agree(uint64_t xfer_bytes, uint64_t bitmap_bytes)
{
	client.terms.value[RP_VFU_TERM_DATA_XFER] = xfer_bytes;
	client.terms.value[RP_VFU_TERM_MIG_BITMAP_MAX] = bitmap_bytes;
}

static void
assert_covered(uint64_t iova, uint64_t size_bytes, uint64_t page_size_bytes)
{
	struct rp_vfu_bits bits;
	uint64_t piece, next = iova, words = 0;

	assert_int_equal(rp_vfu_bits_init(&bits, &client, iova, size_bytes, page_size_bytes, NULL), 0);
	for (piece = 0; piece < bits.pieces_count; piece++) {
		assert_int_equal(rp_vfu_bits_iova(&bits, piece), next);
		assert_int_equal(rp_vfu_bits_word(&bits, piece), words);
		assert_in_range(rp_vfu_bits_bytes(&bits, piece), 8, client.terms.value[RP_VFU_TERM_DATA_XFER]);
		assert_int_equal(rp_vfu_bits_bytes(&bits, piece) % 8, 0);
		words += rp_vfu_bits_bytes(&bits, piece) / 8;
		next += rp_vfu_bits_size(&bits, piece);
	}
	assert_int_equal(next, iova + size_bytes);
	assert_true(words * 64 * page_size_bytes >= size_bytes);
	assert_true((words - 1) * 64 * page_size_bytes < size_bytes);
}

static void
test_pieces_cover_the_range_once(void **state)
{
	(void)state;
	agree(4096, 256 * 1024 * 1024);
	assert_covered(0, 1, 4096);
	assert_covered(0x1000, 4096 * 64, 4096);
	assert_covered(0x1000, 4096 * 64 + 1, 4096);
	/* 512 words fit a message of 4096 bytes. */
	assert_covered(0, UINT64_C(4096) * 64 * 512, 4096);
	assert_covered(0, UINT64_C(4096) * 64 * 512 + 1, 4096);
	assert_covered(0x7000, UINT64_C(4096) * 64 * 512 * 3 + 4096, 4096);
	assert_covered(UINT64_MAX - 4095, 4096, 1);
	assert_covered(0, 100000, 1);
	agree(1048576, 8);
	assert_covered(0, UINT64_C(4096) * 64 * 10, 4096);
	/* What a peer asks for that is less than a word is no reason to send none. */
	agree(1048576, 1);
	assert_covered(0, UINT64_C(4096) * 64 * 10, 4096);
	agree(1048576, 256 * 1024 * 1024);
	assert_covered(0, UINT64_C(1) << 50, UINT64_C(1) << 21);
}

static void
test_ranges_that_cannot_be(void **state)
{
	struct rp_vfu_bits bits;

	(void)state;
	agree(4096, 4096);
	assert_int_equal(rp_vfu_bits_init(&bits, &client, 0, 4096, 0, NULL), -EINVAL);
	assert_int_equal(rp_vfu_bits_init(&bits, &client, 0, 4096, 3, NULL), -EINVAL);
	assert_int_equal(rp_vfu_bits_init(&bits, &client, 0, 4096, UINT64_C(1) << 63, NULL), -EINVAL);
	assert_int_equal(rp_vfu_bits_init(&bits, &client, 0, 0, 4096, NULL), -EINVAL);
	assert_int_equal(rp_vfu_bits_init(&bits, &client, 2, UINT64_MAX, 4096, NULL), -EINVAL);
	assert_int_equal(rp_vfu_bits_init(&bits, &client, UINT64_MAX, 2, 4096, NULL), -EINVAL);
}

static void
test_bits_behind_the_range(void **state)
{
	uint8_t bits[16];

	(void)state;
	memset(bits, 0xff, sizeof(bits));
	assert_false(rp_vfu_bits_exceed(bits, 4096 * 64, 4096));
	assert_false(rp_vfu_bits_exceed(bits, 4096 * 128, 4096));
	assert_true(rp_vfu_bits_exceed(bits, 4096 * 127, 4096));
	assert_true(rp_vfu_bits_exceed(bits, 4096, 4096));
	memset(bits, 0, sizeof(bits));
	assert_false(rp_vfu_bits_exceed(bits, 4096, 4096));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces_cover_the_range_once),
		cmocka_unit_test(test_ranges_that_cannot_be),
		cmocka_unit_test(test_bits_behind_the_range),
	};

	return cmocka_run_group_tests_name("vfio-user client: bits", tests, NULL, NULL);
}
