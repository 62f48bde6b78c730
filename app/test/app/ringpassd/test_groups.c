/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "groups.h"
#include "rp_wire_fd.h"
#include "test_support.h"

#define LOG_BYTES 4096

/* /dev/null stands for a group: a device file. */
struct fixture {
	struct rpd_groups *groups;
	char log[LOG_BYTES];
	struct test_leaks leaks;
};

static void
append(struct fixture *f, const char *what, const char *name)
{
	size_t used = strlen(f->log);

	snprintf(f->log + used, sizeof(f->log) - used, "[%s %s]", what, name);
}

static int
put(void *ctx, const char *name, int fd)
{
	assert_true(fd >= 0);
	append(ctx, "put", name);
	return strcmp(name, "vfio-13") == 0 ? -ENOBUFS : 0;
}

static void
remove_one(void *ctx, const char *name)
{
	append(ctx, "remove", name);
}

static void
event(void *ctx, enum rp_port_event_level level, const char *name, const char *text)
{
	(void)level;
	append(ctx, name, text);
}

static int
set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct rpd_groups_store store = {.put = put, .remove = remove_one, .event = event, .ctx = f};

	test_leaks_read(&f->leaks);
	assert_int_equal(rpd_groups_create(&store, true, &f->groups), 0);
	*state = f;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;

	assert_null(rpd_groups_destroy(f->groups));
	assert_null(rpd_groups_destroy(NULL));
	test_leaks_assert_none(&f->leaks);
	free(f);
	return 0;
}

static int
inherit(struct fixture *f, const char *name, const char *path, struct rp_wire_why *why)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	int rc;

	assert_true(fd >= 0);
	memset(why, 0, sizeof(*why));
	rc = rpd_groups_inherit(f->groups, name, &fd, why);
	assert_int_equal(fd >= 0, rc < 0);
	rp_wire_fd_close(&fd);
	return rc;
}

static void
one_that_came_is_taken_once(void **state)
{
	struct fixture *f = *state;
	struct rp_wire_why why;
	struct stat st;
	int fd = -1;

	assert_int_equal(inherit(f, "vfio-7", "/dev/null", &why), 0);
	rpd_groups_keeper.take(f->groups, 8, &fd);
	assert_int_equal(fd, -1);
	rpd_groups_keeper.take(f->groups, 7, &fd);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(S_ISCHR(st.st_mode));
	rp_wire_fd_close(&fd);
	rpd_groups_keeper.take(f->groups, 7, &fd);
	assert_int_equal(fd, -1);
	/* It lies in the store already. */
	assert_string_equal(f->log, "");
}

static void
what_is_opened_and_closed(void **state)
{
	struct fixture *f = *state;
	const struct rp_wire_why why = {.error = -EINVAL, .text = "another file"};

	rpd_groups_keeper.opened(f->groups, 7, 0);
	rpd_groups_keeper.closed(f->groups, 7, NULL);
	rpd_groups_keeper.opened(f->groups, 13, 0);
	rpd_groups_keeper.closed(f->groups, 9, &why);
	assert_string_equal(f->log, "[put vfio-7][remove vfio-7][put vfio-13][group-not-kept No buffer space available]"
				    "[group-refused another file][remove vfio-9]");
}

static void
at_the_end_it_stays(void **state)
{
	struct fixture *f = *state;

	rpd_groups_keeper.opened(f->groups, 7, 0);
	rpd_groups_leave(f->groups);
	rpd_groups_keeper.closed(f->groups, 7, NULL);
	assert_string_equal(f->log, "[put vfio-7]");
}

static void
nothing_is_kept_unless_wanted(void **state)
{
	struct fixture *f = *state;
	const struct rpd_groups_store store = {.put = put, .remove = remove_one, .event = event, .ctx = f};
	struct rpd_groups *groups;

	assert_int_equal(rpd_groups_create(&store, false, &groups), 0);
	rpd_groups_keeper.opened(groups, 7, 0);
	assert_string_equal(f->log, "");
	rpd_groups_destroy(groups);
}

static void
nobody_wants_it(void **state)
{
	struct fixture *f = *state;
	struct rp_wire_why why;

	assert_int_equal(inherit(f, "vfio-7", "/dev/null", &why), 0);
	assert_int_equal(inherit(f, "vfio-0", "/dev/null", &why), 0);
	rpd_groups_drop_unclaimed(f->groups);
	assert_string_equal(f->log, "[group-dropped vfio-0][remove vfio-0][group-dropped vfio-7][remove vfio-7]");
}

static void
what_breaks_a_rule(void **state)
{
	static const char *const names[] = {"vfio-", "vfio-x", "vfio-07", "vfio--1", "vfio-4294967303", "vfio-7 "};
	struct fixture *f = *state;
	struct rp_wire_why why;
	unsigned int i;
	char name[32];

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(inherit(f, names[i], "/dev/null", &why), -EBADMSG);
		assert_non_null(strstr(why.text, "expected vfio-NUMBER"));
	}
	assert_int_equal(inherit(f, "vfio-7", "/proc/self/comm", &why), -EINVAL);
	assert_string_equal(why.text, "found no device file, expected /dev/vfio/7");
	for (i = 0; i < RPD_GROUPS_MAX; i++) {
		snprintf(name, sizeof(name), "vfio-%u", i);
		assert_int_equal(inherit(f, name, "/dev/null", &why), 0);
	}
	assert_int_equal(inherit(f, "vfio-7", "/dev/null", &why), -EEXIST);
	assert_int_equal(inherit(f, "vfio-999", "/dev/null", &why), -ENOSPC);
}

#define groups_test(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		groups_test(one_that_came_is_taken_once),
		groups_test(what_is_opened_and_closed),
		groups_test(at_the_end_it_stays),
		groups_test(nothing_is_kept_unless_wanted),
		groups_test(nobody_wants_it),
		groups_test(what_breaks_a_rule),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
