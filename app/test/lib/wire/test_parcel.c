/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "rp_wire_parcel.h"
#include "test_support.h"

static struct test_leaks before;
static struct rp_wire_parcel *parcel;

static int
setup(void **state)
{
	(void)state;
	test_leaks_read(&before);
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	parcel = rp_wire_parcel_destroy(parcel);
	test_leaks_assert_none(&before);
	return 0;
}

static void
assert_error(int error, const char *words)
{
	struct rp_wire_why why = {0};

	assert_int_equal(rp_wire_parcel_result(parcel, &why), error);
	assert_non_null(strstr(why.text, words));
	assert_int_equal(rp_wire_parcel_result(parcel, NULL), 0);
}

static void
what_was_packed_comes_out(void **state)
{
	char text[16];

	(void)state;
	rp_wire_parcel_put_number(parcel, "features", UINT64_MAX);
	rp_wire_parcel_put_text(parcel, "name", "vm0");
	rp_wire_parcel_put_number(parcel, "serving", 1);
	assert_true(rp_wire_parcel_get_number(parcel, "features", UINT64_MAX) == UINT64_MAX);
	assert_true(rp_wire_parcel_get_bool(parcel, "serving"));
	rp_wire_parcel_get_text(parcel, "name", text, sizeof(text));
	assert_string_equal(text, "vm0");
	assert_true(rp_wire_parcel_has(parcel, "name"));
	assert_false(rp_wire_parcel_has(parcel, "nam"));
	assert_int_equal(rp_wire_parcel_result(parcel, NULL), 0);
}

static void
scopes_keep_parts_apart(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		rp_wire_parcel_enter(parcel, "queue", i);
		rp_wire_parcel_put_number(parcel, "num", 256 + i);
		rp_wire_parcel_enter(parcel, "doorbell", 0);
		rp_wire_parcel_put_number(parcel, "state", i);
		rp_wire_parcel_leave(parcel);
		rp_wire_parcel_leave(parcel);
	}
	assert_int_equal(rp_wire_parcel_get_number(parcel, "queue[2].num", 1000), 258);
	rp_wire_parcel_enter(parcel, "queue", 1);
	assert_int_equal(rp_wire_parcel_get_number(parcel, "num", 1000), 257);
	assert_int_equal(rp_wire_parcel_get_number(parcel, "doorbell[0].state", 2), 1);
	rp_wire_parcel_leave(parcel);
	assert_int_equal(rp_wire_parcel_result(parcel, NULL), 0);
}

static void
the_first_error_is_the_one(void **state)
{
	char text[4];

	(void)state;
	rp_wire_parcel_put_number(parcel, "num", 257);
	rp_wire_parcel_put_text(parcel, "name", "long");
	assert_int_equal(rp_wire_parcel_get_number(parcel, "num", 256), 0);
	assert_int_equal(rp_wire_parcel_get_number(parcel, "absent", 256), 0);
	/* What is right is not read after it either. */
	assert_int_equal(rp_wire_parcel_get_number(parcel, "num", 257), 0);
	assert_error(-EBADMSG, "num: 257, expected at most 256");
	assert_int_equal(rp_wire_parcel_get_number(parcel, "num", 257), 257);
	assert_int_equal(rp_wire_parcel_get_number(parcel, "absent", 256), 0);
	assert_error(-EBADMSG, "absent: expected a number");
	assert_int_equal(rp_wire_parcel_get_number(parcel, "name", 256), 0);
	assert_error(-EBADMSG, "name: expected a number");
	rp_wire_parcel_get_text(parcel, "num", text, sizeof(text));
	assert_string_equal(text, "");
	assert_error(-EBADMSG, "num: expected a text");
	rp_wire_parcel_get_text(parcel, "name", text, sizeof(text));
	assert_string_equal(text, "");
	assert_error(-EBADMSG, "name: a text that is too long");
	assert_int_equal(rp_wire_parcel_get_fd(parcel, "num"), -1);
	assert_error(-EBADMSG, "num: expected a descriptor");
}

static void
what_cannot_be_packed(void **state)
{
	char text[RP_WIRE_PARCEL_TEXT_MAX + 1];
	unsigned int i;

	(void)state;
	rp_wire_parcel_put_number(parcel, "num", 1);
	rp_wire_parcel_put_number(parcel, "num", 2);
	assert_error(-EEXIST, "num: is there already");
	rp_wire_parcel_put_number(parcel, "", 2);
	assert_error(-EINVAL, "a name that cannot be");
	rp_wire_parcel_put_number(parcel, "a\"b", 2);
	assert_error(-EINVAL, "a name that cannot be");
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	rp_wire_parcel_put_number(parcel, text, 2);
	assert_error(-EINVAL, "a name that cannot be");
	rp_wire_parcel_put_text(parcel, "text", text);
	assert_error(-EINVAL, "text: a text that cannot be");
	rp_wire_parcel_put_text(parcel, "text", "two\nlines");
	assert_error(-EINVAL, "text: a text that cannot be");
	text[100] = '\0';
	for (i = 0; i < 2; i++)
		rp_wire_parcel_enter(parcel, text, i);
	rp_wire_parcel_leave(parcel);
	rp_wire_parcel_leave(parcel);
	assert_error(-EINVAL, "a scope that is too long");
	assert_int_equal(rp_wire_parcel_get_number(parcel, "num", 2), 1);
}

static void
one_open_file_is_carried_once(void **state)
{
	int fds[2] = {eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC)};
	int copy = rp_wire_fd_dup(fds[0]);
	int back;

	(void)state;
	rp_wire_parcel_put_fd(parcel, "call", fds[0]);
	rp_wire_parcel_put_fd(parcel, "kick", fds[1]);
	rp_wire_parcel_put_fd(parcel, "again", copy);
	rp_wire_parcel_put_fd(parcel, "none", -1);
	assert_int_equal(rp_wire_parcel_fds_count(parcel), 2);
	assert_false(rp_wire_parcel_has(parcel, "none"));
	back = rp_wire_parcel_get_fd(parcel, "again");
	assert_int_equal(rp_wire_fd_same(back, fds[0]), 1);
	assert_int_not_equal(back, rp_wire_parcel_fd(parcel, 0));
	rp_wire_fd_close(&back);
	assert_int_equal(rp_wire_parcel_get_fd(parcel, "none"), -1);
	assert_int_equal(rp_wire_parcel_result(parcel, NULL), 0);
	assert_int_equal(rp_wire_parcel_need_fd(parcel, "none"), -1);
	assert_error(-EBADMSG, "none: expected a descriptor");
	rp_wire_fd_close(&copy);
	rp_wire_fd_close_all(fds, 2);
	rp_wire_parcel_put_fd(parcel, "closed", 1000000);
	assert_error(-EINVAL, "closed: ");
}

/* A part that could not be packed whole leaves nothing behind, descriptors least of all. */
static void
a_part_is_taken_out(void **state)
{
	int kept = eventfd(0, EFD_CLOEXEC), fd = eventfd(0, EFD_CLOEXEC);
	struct rp_wire_parcel_mark mark;
	unsigned int i;

	(void)state;
	rp_wire_parcel_put_fd(parcel, "kept", kept);
	mark = rp_wire_parcel_mark(parcel);
	for (i = 0; i < 2; i++) {
		rp_wire_parcel_enter(parcel, "port", 1);
		rp_wire_parcel_enter(parcel, "ring", 0);
		rp_wire_parcel_put_fd(parcel, "call", fd);
		rp_wire_parcel_put_fd(parcel, "again", kept);
		rp_wire_parcel_put_number(parcel, "num", 3);
		rp_wire_parcel_put_number(parcel, "num", 3);
		rp_wire_parcel_rewind(parcel, &mark);
		assert_int_equal(rp_wire_parcel_fds_count(parcel), 1);
		assert_false(rp_wire_parcel_has(parcel, "port[1].ring[0].num"));
		assert_true(rp_wire_parcel_has(parcel, "kept"));
		assert_int_equal(rp_wire_parcel_result(parcel, NULL), 0);
	}
	rp_wire_fd_close(&fd);
	rp_wire_fd_close(&kept);
}

/* As somebody does who carries it. */
static void
carried(void **state)
{
	const struct rp_wire_parcel_item *item = NULL;
	struct rp_wire_parcel *arrived;
	int fd = eventfd(7, EFD_CLOEXEC), none = -1;
	uint64_t count = 0;
	unsigned int i;

	(void)state;
	rp_wire_parcel_enter(parcel, "port", 0);
	rp_wire_parcel_put_text(parcel, "name", "vm0");
	rp_wire_parcel_put_fd(parcel, "kick", fd);
	rp_wire_parcel_put_number(parcel, "num", 3);
	rp_wire_parcel_leave(parcel);
	rp_wire_fd_close(&fd);
	assert_int_equal(rp_wire_parcel_create(&arrived), 0);
	for (i = 0; i < rp_wire_parcel_fds_count(parcel); i++) {
		fd = rp_wire_fd_dup(rp_wire_parcel_fd(parcel, i));
		rp_wire_parcel_add_fd(arrived, &fd);
		assert_int_equal(fd, -1);
	}
	while ((item = rp_wire_parcel_next(parcel, item)) != NULL) {
		if (item->kind == RP_WIRE_PARCEL_NUMBER)
			rp_wire_parcel_put_number(arrived, item->path, item->number);
		else if (item->kind == RP_WIRE_PARCEL_TEXT)
			rp_wire_parcel_put_text(arrived, item->path, item->text);
		else
			rp_wire_parcel_put_fd_index(arrived, item->path, item->number);
	}
	rp_wire_parcel_add_fd(arrived, &none);
	rp_wire_parcel_put_fd_index(arrived, "lost", 1);
	assert_int_equal(rp_wire_parcel_result(arrived, NULL), 0);
	rp_wire_parcel_enter(arrived, "port", 0);
	fd = rp_wire_parcel_need_fd(arrived, "kick");
	assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 7);
	assert_int_equal(rp_wire_parcel_get_number(arrived, "num", 3), 3);
	rp_wire_parcel_leave(arrived);
	rp_wire_fd_close(&fd);
	assert_int_equal(rp_wire_parcel_get_fd(arrived, "lost"), -1);
	assert_int_equal(rp_wire_parcel_result(arrived, NULL), -EBADMSG);
	rp_wire_parcel_put_fd_index(arrived, "beyond", 2);
	assert_int_equal(rp_wire_parcel_result(arrived, NULL), -EINVAL);
	rp_wire_parcel_destroy(arrived);
}

static void
nothing_is_allowed(void **state)
{
	(void)state;
	assert_null(rp_wire_parcel_destroy(NULL));
	assert_null(rp_wire_parcel_next(parcel, NULL));
	assert_int_equal(rp_wire_parcel_fd(parcel, 0), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_packed_comes_out, setup, teardown),
		cmocka_unit_test_setup_teardown(scopes_keep_parts_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(the_first_error_is_the_one, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_packed, setup, teardown),
		cmocka_unit_test_setup_teardown(one_open_file_is_carried_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_part_is_taken_out, setup, teardown),
		cmocka_unit_test_setup_teardown(carried, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_allowed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
