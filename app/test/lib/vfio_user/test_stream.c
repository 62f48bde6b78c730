/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "test_support.h"
#include "vfu_stream.h"

/* Copies in whole lines: every byte, and no other one, wherever the two begin and end. */

#define AROUND 130u
#define LARGEST 400u

static uint8_t from[LARGEST + AROUND], to[LARGEST + 2 * AROUND], expected[sizeof(to)];

static void
every_place_and_size(void (*copy)(uint8_t *ret_bytes, const uint8_t *bytes, size_t count_bytes))
{
	size_t at, skew, bytes, i;

	for (i = 0; i < sizeof(from); i++)
		from[i] = (uint8_t)(i * 7 + i / 256 + 1);
	for (at = 0; at < 70; at += at < 3 ? 1 : 11) {
		for (skew = 0; skew < 66; skew += skew < 3 ? 1 : 13) {
			for (bytes = 0; bytes <= LARGEST; bytes += bytes < 140 ? 1 : 37) {
				memset(to, 0xee, sizeof(to));
				memset(expected, 0xee, sizeof(expected));
				memcpy(expected + at, from + skew, bytes);
				copy(to + at, from + skew, bytes);
				assert_memory_equal(to, expected, sizeof(to));
			}
		}
	}
}

static void
test_out(void **state)
{
	(void)state;
	every_place_and_size(rp_vfu_stream_out);
}

static void
test_in(void **state)
{
	(void)state;
	every_place_and_size(rp_vfu_stream_in);
}

/* Nothing beyond either end is touched, not even read. */
static void
test_exactly_as_large(void **state)
{
	size_t bytes;

	(void)state;
	for (bytes = 0; bytes < 300; bytes += 7) {
		uint8_t *source = malloc(bytes + 1), *sink = malloc(bytes + 1);

		assert_non_null(source);
		assert_non_null(sink);
		memset(source, 0x3c, bytes + 1);
		rp_vfu_stream_out(sink, source + 1, bytes);
		assert_memory_equal(sink, source, bytes);
		memset(sink, 0, bytes + 1);
		rp_vfu_stream_in(sink + 1, source, bytes);
		assert_memory_equal(sink + 1, source, bytes);
		free(source);
		free(sink);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_out),
		cmocka_unit_test(test_in),
		cmocka_unit_test(test_exactly_as_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
