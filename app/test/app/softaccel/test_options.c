/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>

#include "options.h"
#include "test_support.h"

/* What becomes of good arguments; bad ones, and their words, are test_arguments.py's. */

static int
parse(const char *function, struct options *ret_options, struct rp_wire_why *why)
{
	char name[] = "softaccel", option[] = "--function", value[256];
	char *argv[] = {name, option, value, NULL};

	snprintf(value, sizeof(value), "%s", function);
	return options_parse(3, argv, ret_options, why);
}

static void
what_is_not_said_has_a_default(void **state)
{
	struct options options;
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(parse("socket=/s", &options, &why), 0);
	assert_int_equal(options.functions_count, 1);
	assert_string_equal(options.functions[0].socket_path, "/s");
	assert_null(options.functions[0].group);
	assert_int_equal(options.functions[0].queue_pairs, 1);
	assert_int_equal(options.functions[0].queue_size, 1024);
	assert_int_equal(options.functions[0].doorbell, SOFTACCEL_DOORBELL_PAGE);
	assert_false(options.functions[0].msix_off);
	assert_false(options.functions[0].packed_off);
	assert_false(options.functions[0].in_order_off);
	assert_int_equal(options.functions[0].dma, SOFTACCEL_DMA_AUTO);
	assert_false(options.functions[0].iommu);
	assert_int_equal(options.config.mbufs_count, 0);
	assert_int_equal(options.config.copies, SOFTACCEL_COPIES_ONE);
	assert_int_equal(options.config.isa, SOFTACCEL_ISA_AUTO);
	options_free(&options);
}

static void
every_key_is_taken(void **state)
{
	struct options options;
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(parse("socket=/"
			       "s,queue_pairs=3,queue_size=64,mac=52:54:00:00:00:07,group=g,doorbell=shared,msix=off,"
			       "dma=messages,iommu=on",
			       &options, &why),
			 0);
	assert_true(options.functions[0].iommu);
	assert_int_equal(options.functions[0].queue_pairs, 3);
	assert_int_equal(options.functions[0].queue_size, 64);
	assert_int_equal(options.functions[0].mac[5], 7);
	assert_string_equal(options.functions[0].group, "g");
	assert_int_equal(options.functions[0].doorbell, SOFTACCEL_DOORBELL_SHARED);
	assert_true(options.functions[0].msix_off);
	assert_int_equal(options.functions[0].dma, SOFTACCEL_DMA_MESSAGES);
	options_free(&options);
}

static void
doorbells_of_each_kind(void **state)
{
	struct options options;
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(parse("socket=/s,doorbell=page", &options, &why), 0);
	assert_int_equal(options.functions[0].doorbell, SOFTACCEL_DOORBELL_PAGE);
	options_free(&options);
	assert_int_equal(parse("socket=/s,doorbell=pages", &options, &why), 0);
	assert_int_equal(options.functions[0].doorbell, SOFTACCEL_DOORBELL_PAGES);
	options_free(&options);
	assert_int_equal(parse("socket=/s,doorbell=none", &options, &why), 0);
	assert_int_equal(options.functions[0].doorbell, SOFTACCEL_DOORBELL_NONE);
	options_free(&options);
}

static void
kinds_of_ring_are_switched_one_by_one(void **state)
{
	struct options options;
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(parse("socket=/s,packed=off", &options, &why), 0);
	assert_true(options.functions[0].packed_off);
	assert_false(options.functions[0].in_order_off);
	options_free(&options);
	assert_int_equal(parse("socket=/s,packed=on,in_order=off", &options, &why), 0);
	assert_false(options.functions[0].packed_off);
	assert_true(options.functions[0].in_order_off);
	options_free(&options);
	assert_int_equal(parse("socket=/s,packed=1", &options, &why), -EINVAL);
	assert_string_equal(why.text, "--function: packed: '1', expected on or off");
}

static int
parse_switching(const char *option, const char *value, struct options *ret_options, struct rp_wire_why *why)
{
	char words[5][32] = {"softaccel", "--function", "socket=/s", "", ""};
	char *argv[] = {words[0], words[1], words[2], words[3], words[4], NULL};

	snprintf(words[3], sizeof(words[3]), "%s", option);
	snprintf(words[4], sizeof(words[4]), "%s", value);
	return options_parse(5, argv, ret_options, why);
}

static void
how_frames_are_copied(void **state)
{
	struct options options;
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(parse_switching("--copies", "two", &options, &why), 0);
	assert_int_equal(options.config.copies, SOFTACCEL_COPIES_TWO);
	assert_int_equal(options.config.isa, SOFTACCEL_ISA_AUTO);
	options_free(&options);
	assert_int_equal(parse_switching("--copies", "one", &options, &why), 0);
	assert_int_equal(options.config.copies, SOFTACCEL_COPIES_ONE);
	options_free(&options);
	assert_int_equal(parse_switching("--isa", "generic", &options, &why), 0);
	assert_int_equal(options.config.copies, SOFTACCEL_COPIES_ONE);
	assert_int_equal(options.config.isa, SOFTACCEL_ISA_GENERIC);
	options_free(&options);
	assert_int_equal(parse_switching("--isa", "auto", &options, &why), 0);
	assert_int_equal(options.config.isa, SOFTACCEL_ISA_AUTO);
	options_free(&options);
	assert_int_equal(parse_switching("--copies", "2", &options, &why), -EINVAL);
	assert_string_equal(why.text, "--copies: '2', expected one or two");
	assert_int_equal(parse_switching("--isa", "avx", &options, &why), -EINVAL);
	assert_string_equal(why.text, "--isa: 'avx', expected auto or generic");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_said_has_a_default),
		cmocka_unit_test(every_key_is_taken),
		cmocka_unit_test(doorbells_of_each_kind),
		cmocka_unit_test(kinds_of_ring_are_switched_one_by_one),
		cmocka_unit_test(how_frames_are_copied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
