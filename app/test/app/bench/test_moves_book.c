/* SPDX-License-Identifier: BSD-3-Clause */

/* What is a blackout, and what is not. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "moves_book.h"

#define OLD 0u
#define NEW 1u
#define EXACT 0.001F

static void
from_the_last_use_to_the_first(void **state)
{
	struct moves_book book = {0};

	(void)state;
	moves_book_look(&book, 0, OLD, 100);
	moves_book_look(&book, 10, OLD, 200);
	moves_book_look(&book, 10, NEW, 250);
	moves_book_look(&book, 12, OLD, 300);
	/* Looks at a ring in which nobody used anything say nothing of who has it. */
	moves_book_look(&book, 12, NEW, 350);
	moves_book_look(&book, 12, OLD, 400);
	assert_int_equal(moves_book_changes(&book), 0);
	moves_book_look(&book, 13, NEW, 1000);
	moves_book_look(&book, 14, NEW, 1100);
	assert_int_equal(moves_book_changes(&book), 1);
	assert_int_equal(book.blackouts[0].from, OLD);
	assert_int_equal(book.blackouts[0].to, NEW);
	assert_int_equal(book.blackouts[0].ns, 700);
}

static void
there_and_back(void **state)
{
	struct moves_book book = {0};

	(void)state;
	/* An index that goes around is a use like any other. */
	moves_book_look(&book, UINT16_MAX, OLD, 100);
	moves_book_look(&book, 0, NEW, 300);
	moves_book_look(&book, 1, OLD, 600);
	assert_int_equal(moves_book_changes(&book), 2);
	assert_int_equal(book.blackouts[0].ns, 200);
	assert_int_equal(book.blackouts[1].ns, 300);
	assert_int_equal(book.blackouts[1].to, OLD);
}

static void
gaps_are_those_of_one_owner(void **state)
{
	struct moves_book book = {0};

	(void)state;
	assert_float_equal(moves_book_gap_ns(&book), 0, EXACT);
	moves_book_look(&book, 1, OLD, 100);
	moves_book_look(&book, 2, OLD, 110);
	moves_book_look(&book, 3, OLD, 130);
	moves_book_look(&book, 4, NEW, 5000);
	moves_book_look(&book, 5, NEW, 5030);
	assert_float_equal(moves_book_gap_ns(&book), 20, EXACT);
}

static void
what_is_forgotten(void **state)
{
	struct moves_book book = {0};

	(void)state;
	moves_book_look(&book, 1, OLD, 100);
	moves_book_look(&book, 2, OLD, 200);
	moves_book_look(&book, 3, NEW, 300);
	moves_book_forget(&book);
	assert_int_equal(moves_book_changes(&book), 0);
	assert_float_equal(moves_book_gap_ns(&book), 0, EXACT);
	/* Who has it is not. */
	moves_book_look(&book, 4, NEW, 400);
	assert_int_equal(moves_book_changes(&book), 0);
	moves_book_look(&book, 5, OLD, 450);
	assert_int_equal(moves_book_changes(&book), 1);
	assert_int_equal(book.blackouts[0].ns, 50);
}

static void
no_more_than_there_is_room_for(void **state)
{
	struct moves_book book = {0};
	unsigned int i;

	(void)state;
	for (i = 1; i < 2 * MOVES_BLACKOUTS_MAX; i++)
		moves_book_look(&book, (uint16_t)i, i % 2, i);
	assert_int_equal(moves_book_changes(&book), MOVES_BLACKOUTS_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_the_last_use_to_the_first), cmocka_unit_test(there_and_back),
		cmocka_unit_test(gaps_are_those_of_one_owner),	  cmocka_unit_test(what_is_forgotten),
		cmocka_unit_test(no_more_than_there_is_room_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
