/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "fixture.h"

#define PAGE 0x1000u

static int
add(struct kvfio_books *books, uint64_t iova, uint64_t size_bytes)
{
	const struct kvfio_mapping mapping = {.iova = iova, .size_bytes = size_bytes, .holders_mask = 1};

	return kvfio_books_add(books, &mapping);
}

static void
what_is_in_a_range(void **state)
{
	struct kvfio_books books = {0};

	(void)state;
	assert_null(kvfio_books_find(&books, 0, UINT64_MAX));
	assert_int_equal(add(&books, 0, PAGE), 0);
	assert_int_equal(add(&books, 4 * PAGE, 2 * PAGE), 0);
	assert_int_equal(add(&books, UINT64_MAX - PAGE + 1, PAGE), 0);
	assert_int_equal(books.count, 3);
	assert_null(kvfio_books_find(&books, PAGE, 3 * PAGE));
	assert_null(kvfio_books_find(&books, 6 * PAGE, PAGE));
	assert_int_equal(kvfio_books_find(&books, PAGE, 3 * PAGE + 1)->iova, 4 * PAGE);
	assert_int_equal(kvfio_books_find(&books, 6 * PAGE - 1, 1)->iova, 4 * PAGE);
	assert_int_equal(kvfio_books_find(&books, UINT64_MAX, 1)->iova, UINT64_MAX - PAGE + 1);
	kvfio_books_remove(&books, kvfio_books_find(&books, 4 * PAGE, 1));
	assert_null(kvfio_books_find(&books, PAGE, 8 * PAGE));
	assert_int_equal(books.count, 2);
	kvfio_books_free(&books);
	assert_int_equal(books.count, 0);
	assert_null(books.first);
}

static unsigned int
list_length(const struct kvfio_books *books)
{
	const struct kvfio_mapping *mapping;
	unsigned int count = 0;

	for (mapping = books->first; mapping != NULL; mapping = mapping->next) {
		assert_true(mapping->next == NULL || mapping->next->previous == mapping);
		count++;
	}
	return count;
}

/* Against a table of pages that is looked through from end to end. */
static void
as_a_model_says(void **state)
{
	enum { PAGES = 256 };
	unsigned int owner[PAGES] = {0}, next = 1, i, step;
	struct kvfio_books books = {0};

	(void)state;
	srand(7);
	for (step = 0; step < 20000; step++) {
		unsigned int first = (unsigned int)rand() % PAGES, count = 1 + (unsigned int)rand() % 6;
		struct kvfio_mapping *found;
		unsigned int taken = 0;

		if (first + count > PAGES)
			continue;
		for (i = first; i < first + count; i++)
			taken |= owner[i];
		found = kvfio_books_find(&books, (uint64_t)first * PAGE, (uint64_t)count * PAGE);
		assert_int_equal(found != NULL, taken != 0);
		if (found == NULL) {
			assert_int_equal(add(&books, (uint64_t)first * PAGE, (uint64_t)count * PAGE), 0);
			for (i = first; i < first + count; i++)
				owner[i] = next;
			next++;
			continue;
		}
		for (i = 0; i < found->size_bytes / PAGE; i++)
			owner[found->iova / PAGE + i] = 0;
		kvfio_books_remove(&books, found);
		assert_int_equal(list_length(&books), books.count);
	}
	kvfio_books_free(&books);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_in_a_range),
		cmocka_unit_test(as_a_model_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
