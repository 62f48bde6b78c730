/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "rp_accel.h"
#include "test_support.h"

/* What the driver saw of its arguments. */
static char seen_path[64];
static uint32_t seen_number;

static int
read_arguments(const struct rp_accel_devargs *args, struct rp_wire_why *why)
{
	const char *path = rp_accel_devargs_get(args, "path");

	snprintf(seen_path, sizeof(seen_path), "%s", path == NULL ? "(none)" : path);
	seen_number = 7;
	return rp_accel_devargs_get_u32(args, "number", 2, 4000000000u, &seen_number, why);
}

static const char *const keys[] = {"path", "number", NULL};
static const char *const no_keys[] = {NULL};

static const struct rp_accel_driver driver = {
	.name = "thing",
	.keys = keys,
	.usage = "thing,path=PATH[,number=N]",
	.check = read_arguments,
};

static const struct rp_accel_driver plain = {
	.name = "plain",
	.keys = no_keys,
	.usage = "plain",
};

static const struct rp_accel_driver *const drivers[] = {&driver, &plain, NULL};
static const struct rp_accel_registry registry = {drivers};

static void
assert_refused(const char *text, const char *reason)
{
	struct rp_wire_why why = {0};
	int rc = rp_accel_check(&registry, text, &why);

	if (rc != -EBADMSG || strstr(why.text, reason) == NULL)
		print_error("'%s' gave %d '%s'\n", text, rc, why.text);
	assert_int_equal(rc, -EBADMSG);
	assert_int_equal(why.error, -EBADMSG);
	assert_non_null(strstr(why.text, reason));
}

static void
values_reach_the_driver(void **state)
{
	(void)state;
	assert_int_equal(rp_accel_check(&registry, "thing,path=/run/a b,number=4000000000", NULL), 0);
	assert_string_equal(seen_path, "/run/a b");
	assert_int_equal(seen_number, 4000000000u);
	assert_int_equal(rp_accel_check(&registry, "thing,number=2", NULL), 0);
	assert_string_equal(seen_path, "(none)");
	assert_int_equal(seen_number, 2);
}

static void
absent_number_keeps_the_default(void **state)
{
	(void)state;
	assert_int_equal(rp_accel_check(&registry, "thing", NULL), 0);
	assert_int_equal(seen_number, 7);
	assert_int_equal(rp_accel_check(&registry, "thing,", NULL), 0);
	assert_int_equal(rp_accel_check(&registry, "plain", NULL), 0);
}

static void
driver_errors_are_named(void **state)
{
	(void)state;
	assert_refused("", "no driver");
	assert_refused(",path=x", "no driver");
	assert_refused("think,path=x", "driver 'think': unknown, expected one of: thing, plain");
	assert_refused("thin", "driver 'thin': unknown");
	assert_refused("things", "driver 'things': unknown");
}

static void
key_errors_are_named(void **state)
{
	(void)state;
	assert_refused("thing,paht=x", "thing: key 'paht': unknown, expected one of: path, number");
	assert_refused("plain,path=x", "plain: key 'path': unknown, expected one of: (none)");
	assert_refused("thing,path", "key 'path': has no value");
	assert_refused("thing,path=", "key 'path': has no value, expected thing,path=PATH");
	assert_refused("thing,path=a,path=b", "key 'path': given 2 times, expected once");
	assert_refused("thing,=x", "key '': unknown");
	assert_refused("thing,path=a=b", "key 'a': unknown");
}

static void
number_errors_are_named(void **state)
{
	(void)state;
	assert_refused("thing,number=1", "thing: key 'number': '1': expected a number from 2 to 4000000000");
	assert_refused("thing,number=4000000001", "expected a number");
	assert_refused("thing,number=99999999999999999999999", "expected a number");
	assert_refused("thing,number=-3", "'-3': expected a number");
	assert_refused("thing,number=+3", "'+3': expected a number");
	assert_refused("thing,number= 3", "' 3': expected a number");
	assert_refused("thing,number=3x", "'3x': expected a number");
	assert_refused("thing,number=0x10", "'0x10': expected a number");
	assert_refused("thing,number=ten", "'ten': expected a number");
}

static void
too_many_pairs_are_refused(void **state)
{
	char text[512] = "thing";
	unsigned int i;

	(void)state;
	for (i = 0; i < 40; i++)
		strcat(text, ",path=x");
	assert_refused(text, "at most 32 KEY=VALUE");
}

static void
long_words_do_not_overflow_the_reason(void **state)
{
	char text[1024];

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_refused(text, "unknown");
	memcpy(text, "thing,", 6);
	assert_refused(text, "unknown");
	memcpy(text, "thing,number=", 13);
	assert_refused(text, "expected a number");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_reach_the_driver),
		cmocka_unit_test(absent_number_keeps_the_default),
		cmocka_unit_test(driver_errors_are_named),
		cmocka_unit_test(key_errors_are_named),
		cmocka_unit_test(number_errors_are_named),
		cmocka_unit_test(too_many_pairs_are_refused),
		cmocka_unit_test(long_words_do_not_overflow_the_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
