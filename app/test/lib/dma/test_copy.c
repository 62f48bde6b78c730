/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "copy.h"
#include "test_support.h"

#define ROUNDS 200000u

static void
any_size_and_alignment(void **state)
{
	_Alignas(8) uint8_t shared[48], ours[48], back[48];
	unsigned int at, from, size, i;

	(void)state;
	for (i = 0; i < sizeof(ours); i++)
		ours[i] = (uint8_t)(i + 1);
	for (at = 0; at < 9; at++) {
		for (from = 0; from < 9; from++) {
			for (size = 0; size < 20; size++) {
				memset(shared, 0xee, sizeof(shared));
				memset(back, 0xee, sizeof(back));
				rp_dma_copy(shared + at, ours + from, size, true);
				assert_memory_equal(shared + at, ours + from, size);
				assert_int_equal(shared[at + size], 0xee);
				rp_dma_copy(shared + at, back + from, size, false);
				assert_memory_equal(back + from, ours + from, size);
				assert_int_equal(back[from + size], 0xee);
			}
		}
	}
}

struct writer {
	_Alignas(8) uint8_t shared[8];
	unsigned int size;
	atomic_bool stop;
};

static void *
write_all_or_nothing(void *ctx)
{
	struct writer *writer = ctx;
	_Alignas(8) uint8_t ours[8];
	unsigned int i;

	for (i = 0; i < ROUNDS; i++) {
		memset(ours, (uint8_t)i, sizeof(ours));
		rp_dma_copy(writer->shared, ours, writer->size, true);
	}
	atomic_store(&writer->stop, true);
	return NULL;
}

/* Nobody sees half of a word; the thread sanitizer sees no race. */
static void
words_are_whole(void **state)
{
	struct writer writer = {0};
	pthread_t thread;

	(void)state;
	for (writer.size = 1; writer.size <= 8; writer.size *= 2) {
		_Alignas(8) uint8_t ours[8], like_first[8];

		atomic_store(&writer.stop, false);
		memset(writer.shared, 0, sizeof(writer.shared));
		assert_int_equal(pthread_create(&thread, NULL, write_all_or_nothing, &writer), 0);
		while (!atomic_load(&writer.stop)) {
			rp_dma_copy(writer.shared, ours, writer.size, false);
			memset(like_first, ours[0], sizeof(like_first));
			assert_memory_equal(ours, like_first, writer.size);
		}
		pthread_join(thread, NULL);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_size_and_alignment),
		cmocka_unit_test(words_are_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
