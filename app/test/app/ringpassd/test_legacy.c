/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "legacy.h"
#include "rp_wire_fd.h"
#include "state.h"
#include "test_support.h"

static struct test_leaks before;
static struct rpd_legacy *legacy;

static int
setup(void **state)
{
	(void)state;
	test_leaks_read(&before);
	assert_int_equal(rpd_legacy_create(&legacy), 0);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	legacy = rpd_legacy_destroy(legacy);
	test_leaks_assert_none(&before);
	return 0;
}

/* Two descriptors and what says of them. */
static int
state_of_two(void)
{
	int fds[2] = {eventfd(0, EFD_CLOEXEC), eventfd(1, EFD_CLOEXEC)}, fd = -1;
	struct rp_wire_parcel *parcel;

	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	rp_wire_parcel_put_fd(parcel, "first", fds[0]);
	rp_wire_parcel_put_fd(parcel, "second", fds[1]);
	assert_int_equal(rpd_state_write(parcel, &fd, NULL), 0);
	rp_wire_parcel_destroy(parcel);
	rp_wire_fd_close_all(fds, 2);
	return fd;
}

static int
inherit(const char *name, int fd)
{
	int rc = rpd_legacy_inherit(legacy, name, &fd, NULL);

	assert_int_equal(fd < 0, rc == 0);
	rp_wire_fd_close(&fd);
	return rc;
}

static void
in_any_order(void **state)
{
	struct rp_wire_parcel *parcel;
	uint64_t value;
	int fd;

	(void)state;
	assert_int_equal(inherit("part-1", eventfd(8, EFD_CLOEXEC)), 0);
	assert_int_equal(inherit("state", state_of_two()), 0);
	assert_int_equal(inherit("part-0", eventfd(7, EFD_CLOEXEC)), 0);
	assert_int_equal(inherit("part-2", eventfd(9, EFD_CLOEXEC)), 0); /* nobody speaks of it */
	assert_int_equal(rpd_legacy_take(legacy, &parcel, NULL), 0);
	assert_int_equal(rp_wire_parcel_fds_count(parcel), 2);
	fd = rp_wire_parcel_need_fd(parcel, "second");
	assert_int_equal(eventfd_read(fd, &value), 0);
	assert_int_equal(value, 8);
	rp_wire_fd_close(&fd);
	rp_wire_parcel_destroy(parcel);
	assert_int_equal(rpd_legacy_take(legacy, &parcel, NULL), 0);
	assert_null(parcel);
}

/* A store that was too small. */
static void
one_is_missing(void **state)
{
	struct rp_wire_parcel *parcel;
	int fd;

	(void)state;
	assert_int_equal(inherit("part-0", eventfd(7, EFD_CLOEXEC)), 0);
	assert_int_equal(inherit("state", state_of_two()), 0);
	assert_int_equal(rpd_legacy_take(legacy, &parcel, NULL), 0);
	fd = rp_wire_parcel_need_fd(parcel, "first");
	assert_true(fd >= 0);
	rp_wire_fd_close(&fd);
	assert_int_equal(rp_wire_parcel_need_fd(parcel, "second"), -1);
	assert_int_equal(rp_wire_parcel_result(parcel, NULL), -EBADMSG);
	rp_wire_parcel_destroy(parcel);
}

static void
without_a_state_parts_are_nothing(void **state)
{
	struct rp_wire_parcel *parcel;

	(void)state;
	assert_int_equal(inherit("part-0", eventfd(7, EFD_CLOEXEC)), 0);
	assert_int_equal(rpd_legacy_take(legacy, &parcel, NULL), 0);
	assert_null(parcel);
	/* One that is no state is refused, and the parts go with it. */
	assert_int_equal(inherit("part-0", eventfd(7, EFD_CLOEXEC)), 0);
	assert_int_equal(inherit("state", eventfd(7, EFD_CLOEXEC)), 0);
	assert_int_equal(rpd_legacy_take(legacy, &parcel, NULL), -EBADMSG);
	assert_null(parcel);
}

static void
names(void **state)
{
	(void)state;
	assert_true(rpd_legacy_is("state"));
	assert_true(rpd_legacy_is("part-0"));
	assert_false(rpd_legacy_is("port-vm0"));
	assert_false(rpd_legacy_is("states"));
	assert_int_equal(inherit("part-0", eventfd(7, EFD_CLOEXEC)), 0);
	assert_int_equal(inherit("part-0", eventfd(7, EFD_CLOEXEC)), -EEXIST);
	assert_int_equal(inherit("part-", eventfd(7, EFD_CLOEXEC)), -EBADMSG);
	assert_int_equal(inherit("part-00", eventfd(7, EFD_CLOEXEC)), -EBADMSG);
	assert_int_equal(inherit("part--1", eventfd(7, EFD_CLOEXEC)), -EBADMSG);
	assert_int_equal(inherit("part-4095", eventfd(7, EFD_CLOEXEC)), 0);
	assert_int_equal(inherit("part-4096", eventfd(7, EFD_CLOEXEC)), -EBADMSG);
	assert_int_equal(inherit("part-99999999999999999999", eventfd(7, EFD_CLOEXEC)), -EBADMSG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(in_any_order, setup, teardown),
		cmocka_unit_test_setup_teardown(one_is_missing, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_state_parts_are_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(names, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
