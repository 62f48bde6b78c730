/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "test_support.h"
#include "window.h"

static void
what_a_window_is(void **state)
{
	struct rp_port_window window;
	struct rp_wire_why why = {0};

	(void)state;
	assert_int_equal(rpd_window_parse("of=1,bar=4,to=0,iova=0x3800000000", &window, &why), 0);
	assert_int_equal(window.of, 1);
	assert_int_equal(window.region, 4);
	assert_int_equal(window.to, 0);
	assert_true(window.iova == 0x3800000000);
	assert_int_equal(window.offset_bytes, 0);
	assert_int_equal(window.size_bytes, 0);
	/* In any order. */
	assert_int_equal(rpd_window_parse("size=8192,iova=4096,offset=0x1fFf,to=127,of=0,bar=0", &window, &why), 0);
	assert_int_equal(window.size_bytes, 8192);
	assert_int_equal(window.iova, 4096);
	assert_int_equal(window.offset_bytes, 0x1fff);
	assert_int_equal(window.to, 127);
	assert_int_equal(rpd_window_parse("of=0,bar=0,to=1,iova=18446744073709551615", &window, &why), 0);
	assert_true(window.iova == UINT64_MAX);
}

static void
what_is_none(void **state)
{
	static const char *const texts[] = {
		"",
		"of=1",
		"of=1,bar=4,to=0",
		"of=1,bar=4,to=0,iova=",
		"of=1,bar=4,to=0,iova=0x",
		"of=1,bar=4,to=0,iova=-1",
		"of=1,bar=4,to=0,iova= 1",
		"of=1,bar=4,to=0,iova=+1",
		"of=1,bar=4,to=0,iova=1k",
		"of=1,bar=4,to=0,iova=18446744073709551616",
		"of=1,bar=6,to=0,iova=1",
		"of=128,bar=4,to=0,iova=1",
		"of=1,bar=4,to=0,iova=1,",
		",of=1,bar=4,to=0,iova=1",
		"of=1,bar=4,to=0,iova=1,of=1",
		"of=1,bar=4,to=0,iova=1,size=9223372036854775808",
		"of=1,bar=4,to=0,iova=1,colour=3",
		"of=1;bar=4;to=0;iova=1",
		"of=0x1g,bar=4,to=0,iova=1",
	};
	struct rp_port_window window = {.of = 77};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct rp_wire_why why = {0};

		assert_int_equal(rpd_window_parse(texts[i], &window, &why), -EBADMSG);
		assert_non_null(strstr(why.text, texts[i]));
		assert_non_null(strstr(why.text, "expected of=N,bar=N,to=N,iova=N"));
	}
	assert_int_equal(window.of, 77);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_window_is),
		cmocka_unit_test(what_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
