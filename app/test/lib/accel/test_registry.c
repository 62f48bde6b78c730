/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "rp_accel_iommu.h"
#include "test_support.h"

static int opened_count;
static int closed_count;
static int open_result;
static const struct rp_accel_iommu *seen_iommu;

static void
close_thing(void *priv)
{
	assert_ptr_equal(priv, &opened_count);
	closed_count++;
}

static const struct rp_accel_ops ops = {.close = close_thing};

static int
open_thing(const struct rp_accel_devargs *args, struct rp_accel *ret_accel, struct rp_wire_why *why)
{
	assert_string_equal(rp_accel_devargs_get(args, "path"), "x");
	if (open_result < 0)
		return rp_wire_why_set(why, open_result, "cannot be had");
	opened_count++;
	seen_iommu = rp_accel_devargs_iommu(args);
	ret_accel->ops = &ops;
	ret_accel->priv = &opened_count;
	return 0;
}

static int
check_thing(const struct rp_accel_devargs *args, struct rp_wire_why *why)
{
	return rp_accel_devargs_get(args, "path") != NULL ? 0 : rp_wire_why_set(why, -EBADMSG, "key 'path': missing");
}

static const char *const keys[] = {"path", NULL};
static const struct rp_accel_driver driver = {"thing", keys, "thing,path=PATH", check_thing, open_thing};
static const struct rp_accel_driver *const drivers[] = {&driver, NULL};
static const struct rp_accel_registry registry = {drivers};

static int
setup(void **state)
{
	(void)state;
	opened_count = 0;
	closed_count = 0;
	open_result = 0;
	return 0;
}

static void
open_and_close(void **state)
{
	struct rp_accel accel = {0};

	(void)state;
	assert_int_equal(rp_accel_open(&registry, "thing,path=x", &accel, NULL), 0);
	assert_ptr_equal(accel.ops, &ops);
	rp_accel_close(&accel);
	assert_null(accel.ops);
	assert_null(accel.priv);
	rp_accel_close(&accel);
	assert_int_equal(opened_count, 1);
	assert_int_equal(closed_count, 1);
}

static void
who_opens_it_may_be_its_iommu(void **state)
{
	const struct rp_accel_iommu iommu = {.ctx = NULL};
	struct rp_accel accel = {0};

	(void)state;
	assert_int_equal(rp_accel_open_translated(&registry, "thing,path=x", &iommu, &accel, NULL), 0);
	assert_ptr_equal(seen_iommu, &iommu);
	rp_accel_close(&accel);
	assert_int_equal(rp_accel_open(&registry, "thing,path=x", &accel, NULL), 0);
	assert_null(seen_iommu);
	rp_accel_close(&accel);
}

static void
a_failed_open_says_whose_it_was(void **state)
{
	struct rp_accel accel = {0};
	struct rp_wire_why why = {0};

	(void)state;
	open_result = -ECONNREFUSED;
	assert_int_equal(rp_accel_open(&registry, "thing,path=x", &accel, &why), -ECONNREFUSED);
	assert_string_equal(why.text, "thing: cannot be had");
	assert_null(accel.ops);
}

static void
bad_arguments_open_nothing(void **state)
{
	struct rp_accel accel = {0};
	struct rp_wire_why why = {0};

	(void)state;
	assert_int_equal(rp_accel_open(&registry, "other", &accel, &why), -EBADMSG);
	assert_int_equal(rp_accel_open(&registry, "thing,pfad=x", &accel, &why), -EBADMSG);
	assert_int_equal(opened_count, 0);
}

static void
check_opens_nothing(void **state)
{
	struct rp_wire_why why = {0};

	(void)state;
	assert_int_equal(rp_accel_check(&registry, "thing,path=x", NULL), 0);
	assert_int_equal(rp_accel_check(&registry, "thing", &why), -EBADMSG);
	assert_string_equal(why.text, "thing: key 'path': missing");
	assert_int_equal(opened_count, 0);
}

static void
an_empty_registry_refuses(void **state)
{
	static const struct rp_accel_driver *const none[] = {NULL};
	struct rp_accel_registry empty = {none};

	(void)state;
	assert_int_equal(rp_accel_check(&empty, "thing", NULL), -EBADMSG);
}

static void
class_names(void **state)
{
	(void)state;
	assert_string_equal(rp_accel_class_name(RP_ACCEL_CLASS_A), "A");
	assert_string_equal(rp_accel_class_name(RP_ACCEL_CLASS_B), "B");
	assert_string_equal(rp_accel_class_name(RP_ACCEL_CLASS_C), "C");
	assert_string_equal(rp_accel_class_name((enum rp_accel_class)9), "?");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(open_and_close, setup),
		cmocka_unit_test_setup(a_failed_open_says_whose_it_was, setup),
		cmocka_unit_test_setup(bad_arguments_open_nothing, setup),
		cmocka_unit_test_setup(check_opens_nothing, setup),
		cmocka_unit_test_setup(an_empty_registry_refuses, setup),
		cmocka_unit_test_setup(class_names, setup),
		cmocka_unit_test_setup(who_opens_it_may_be_its_iommu, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
