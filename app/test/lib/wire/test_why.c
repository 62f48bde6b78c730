/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "rp_wire_why.h"
#include "test_support.h"

static void
set_records_and_returns_the_error(void **state)
{
	struct rp_wire_why why = {0};

	(void)state;
	assert_int_equal(rp_wire_why_set(&why, -EBADMSG, "num: is %d, expected %d", 3, 4), -EBADMSG);
	assert_int_equal(why.error, -EBADMSG);
	assert_string_equal(why.text, "num: is 3, expected 4");
}

static void
nobody_need_listen(void **state)
{
	(void)state;
	assert_int_equal(rp_wire_why_set(NULL, -ENOSPC, "%s", "unheard"), -ENOSPC);
	rp_wire_why_prefix(NULL, "unheard: ");
}

static void
prefix_goes_in_front(void **state)
{
	struct rp_wire_why why = {0};

	(void)state;
	rp_wire_why_set(&why, -EBADMSG, "size: is 0");
	rp_wire_why_prefix(&why, "%s: ", "DMA_MAP");
	assert_int_equal(why.error, -EBADMSG);
	assert_string_equal(why.text, "DMA_MAP: size: is 0");
}

static void
long_words_are_cut(void **state)
{
	char words[2 * RP_WIRE_WHY_MAX];
	struct rp_wire_why why = {0};

	(void)state;
	memset(words, 'w', sizeof(words) - 1);
	words[sizeof(words) - 1] = '\0';
	rp_wire_why_set(&why, -EBADMSG, "%s", words);
	assert_int_equal(strlen(why.text), RP_WIRE_WHY_MAX - 1);
	rp_wire_why_prefix(&why, "ab: ");
	assert_int_equal(strlen(why.text), RP_WIRE_WHY_MAX - 1);
	assert_memory_equal(why.text, "ab: www", 7);
	rp_wire_why_prefix(&why, "%s", words);
	assert_int_equal(strlen(why.text), RP_WIRE_WHY_MAX - 1);
}

/* What a peer wrote is quoted; it must not begin a line of its own in our log. */
static void
quoted_words_stay_on_the_line(void **state)
{
	struct rp_wire_why why = {0};

	(void)state;
	rp_wire_why_set(&why, -EBADMSG, "version: '%s'", "1\n\x1b[2J root: all is well\r.\t");
	assert_string_equal(why.text, "version: '1??[2J root: all is well?.?'");
	rp_wire_why_prefix(&why, "%s: ", "a\nb");
	assert_string_equal(why.text, "a?b: version: '1??[2J root: all is well?.?'");
}

static void
only_two_errors_close(void **state)
{
	static const int stays[] = {0, -EAGAIN, -ENOTSUP, -EMSGSIZE, -EBADMSG, -ENOSPC, -EBUSY, -EEXIST, -EINVAL};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(stays) / sizeof(stays[0]); i++)
		assert_int_equal(rp_wire_why_closes(stays[i]), 0);
	assert_int_equal(rp_wire_why_closes(-EPROTO), 1);
	assert_int_equal(rp_wire_why_closes(-ENOTCONN), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_records_and_returns_the_error),
		cmocka_unit_test(nobody_need_listen),
		cmocka_unit_test(prefix_goes_in_front),
		cmocka_unit_test(long_words_are_cut),
		cmocka_unit_test(quoted_words_stay_on_the_line),
		cmocka_unit_test(only_two_errors_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
