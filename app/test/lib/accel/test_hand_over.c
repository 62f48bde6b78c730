/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "rp_accel_hand_over.h"
#include "rp_wire_parcel.h"
#include "test_support.h"

static unsigned int closes_count, leaves_count;
static char device; /* of both kinds of driver */

static int
give(void *priv, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	(void)why;
	assert_ptr_equal(priv, &device);
	rp_wire_parcel_put_number(parcel, "answer", 42);
	return 0;
}

static void
leave(void *priv)
{
	assert_ptr_equal(priv, &device);
	leaves_count++;
}

static void
close_device(void *priv)
{
	assert_ptr_equal(priv, &device);
	closes_count++;
}

static const struct rp_accel_ops new_ops = {.close = close_device, .give = give, .leave = leave};
static const struct rp_accel_ops old_ops = {.close = close_device};

static int
open_device(const struct rp_accel_devargs *args, struct rp_accel *ret_accel, struct rp_wire_why *why)
{
	(void)args;
	(void)ret_accel;
	(void)why;
	fail_msg("opened");
	return -EINVAL;
}

static int
adopt(const struct rp_accel_devargs *args, struct rp_wire_parcel *parcel, const struct rp_accel_memory *memories,
      unsigned int memories_count, struct rp_accel *ret_accel, struct rp_wire_why *why)
{
	assert_string_equal(rp_accel_devargs_get(args, "path"), "x");
	assert_int_equal(memories_count, 1);
	assert_int_equal(memories[0].iova, 0x1000);
	if (rp_wire_parcel_get_number(parcel, "answer", 100) != 42)
		return rp_wire_parcel_result(parcel, why);
	*ret_accel = (struct rp_accel){&new_ops, &device};
	return 0;
}

static const char *const keys[] = {"path", NULL};
static const struct rp_accel_driver new_driver = {
	.name = "new", .keys = keys, .usage = "new,path=PATH", .open = open_device, .adopt = adopt};
static const struct rp_accel_driver old_driver = {
	.name = "old", .keys = keys, .usage = "old,path=PATH", .open = open_device};
static const struct rp_accel_driver *const drivers[] = {&new_driver, &old_driver, NULL};
static const struct rp_accel_registry registry = {drivers};
static const struct rp_accel_memory memory = {.iova = 0x1000, .size_bytes = 0x1000, .fd = -1};

static int
setup(void **state)
{
	struct rp_wire_parcel *parcel;

	closes_count = leaves_count = 0;
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	*state = parcel;
	return 0;
}

static int
teardown(void **state)
{
	rp_wire_parcel_destroy(*state);
	return 0;
}

static void
it_goes_and_it_comes(void **state)
{
	struct rp_accel accel = {&new_ops, &device}, successor = {0};
	struct rp_wire_why why = {0};

	assert_int_equal(rp_accel_give(&accel, *state, &why), 0);
	assert_ptr_equal(accel.priv, &device);
	rp_accel_leave(&accel);
	assert_null(accel.ops);
	assert_int_equal(leaves_count, 1);
	assert_int_equal(closes_count, 0);
	assert_int_equal(rp_accel_adopt(&registry, "new,path=x", *state, &memory, 1, &successor, &why), 0);
	assert_ptr_equal(successor.priv, &device);
	rp_accel_close(&successor);
	assert_int_equal(closes_count, 1);
	/* Not open. */
	rp_accel_leave(&accel);
	assert_int_equal(leaves_count, 1);
	assert_int_equal(closes_count, 1);
}

static void
a_driver_that_cannot(void **state)
{
	struct rp_accel accel = {&old_ops, &device}, successor = {0};
	struct rp_wire_why why = {0};

	assert_int_equal(rp_accel_give(&accel, *state, &why), -ENOTSUP);
	assert_string_equal(why.text, "its driver cannot give it away");
	assert_int_equal(rp_accel_adopt(&registry, "old,path=x", *state, &memory, 1, &successor, &why), -ENOTSUP);
	assert_string_equal(why.text, "old: cannot adopt a device");
	assert_null(successor.ops);
	/* Then it ends as usual. */
	rp_accel_leave(&accel);
	assert_int_equal(closes_count, 1);
	assert_null(accel.ops);
}

static void
arguments_and_parcels_are_judged(void **state)
{
	struct rp_accel successor = {0};
	struct rp_wire_why why = {0};

	assert_int_equal(rp_accel_adopt(&registry, "new,pfad=x", *state, &memory, 1, &successor, &why), -EBADMSG);
	assert_non_null(strstr(why.text, "key 'pfad'"));
	assert_int_equal(rp_accel_adopt(&registry, "new,path=x", *state, &memory, 1, &successor, &why), -EBADMSG);
	assert_non_null(strstr(why.text, "new: "));
	assert_non_null(strstr(why.text, "answer"));
	assert_null(successor.ops);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(it_goes_and_it_comes),
		TEST(a_driver_that_cannot),
		TEST(arguments_and_parcels_are_judged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
