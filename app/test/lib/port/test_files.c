/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"
#include "rp_wire_fd.h"
#include "test_support.h"

/* Two guests: processes that do nothing until they are ended. */
struct table {
	struct test_leaks before;
	struct rp_port_files *files;
	struct rp_wire_why why;
	pid_t guests[2];
	int file;
};

static pid_t
sleeper(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		pause();
		_exit(0);
	}
	assert_true(pid > 0);
	return pid;
}

static void
end(pid_t *pid)
{
	if (*pid <= 0)
		return;
	kill(*pid, SIGKILL);
	waitpid(*pid, NULL, 0);
	*pid = 0;
}

static int
setup(void **state)
{
	static struct table table;

	test_leaks_read(&table.before);
	assert_int_equal(rp_port_files_create(&table.files), 0);
	table.guests[0] = sleeper();
	table.guests[1] = sleeper();
	table.file = memfd_create("doorbells", MFD_CLOEXEC);
	assert_true(table.file >= 0);
	*state = &table;
	return 0;
}

static int
teardown(void **state)
{
	struct table *table = *state;

	end(&table->guests[0]);
	end(&table->guests[1]);
	table->files = rp_port_files_destroy(table->files);
	rp_wire_fd_close(&table->file);
	test_leaks_assert_none(&table->before);
	return 0;
}

/* The addresses of these are the owners. */
static const char *const ports[] = {"vm0", "vm1", "vm2"};

static int
claim(struct table *table, unsigned int port, unsigned int guest, int fd)
{
	return port_files_claim(table->files, &ports[port], ports[port], table->guests[guest], fd, &table->why);
}

static void
a_file_goes_to_one_guest(void **state)
{
	struct table *table = *state;

	assert_int_equal(claim(table, 0, 0, table->file), 0);
	assert_int_equal(claim(table, 0, 0, table->file), 0);
	assert_int_equal(claim(table, 1, 1, table->file), -EBUSY);
	assert_non_null(strstr(table->why.text, "the guest of port vm0"));
	assert_int_equal(claim(table, 2, 0, table->file), 0); /* another device of the same VMM */
	assert_int_equal(claim(table, 1, 1, table->file), -EBUSY);
}

static void
another_number_is_no_other_file(void **state)
{
	struct table *table = *state;
	RP_WIRE_FD_SCOPED int other = rp_wire_fd_dup(table->file);
	RP_WIRE_FD_SCOPED int reopened = -1;
	char path[64];

	assert_int_equal(claim(table, 0, 0, table->file), 0);
	assert_int_equal(claim(table, 1, 1, other), -EBUSY);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", table->file);
	reopened = open(path, O_RDWR | O_CLOEXEC);
	assert_true(reopened >= 0);
	assert_int_equal(claim(table, 1, 1, reopened), -EBUSY);
}

/* As VFIO devices do: two files, one inode. */
static void
files_without_an_inode_of_their_own_are_two(void **state)
{
	struct table *table = *state;
	RP_WIRE_FD_SCOPED int a = eventfd(0, EFD_CLOEXEC);
	RP_WIRE_FD_SCOPED int b = eventfd(0, EFD_CLOEXEC);

	assert_int_equal(claim(table, 0, 0, a), 0);
	assert_int_equal(claim(table, 1, 1, b), 0);
	assert_int_equal(claim(table, 1, 1, a), -EBUSY);
}

static void
a_guest_that_ended_has_nothing(void **state)
{
	struct table *table = *state;

	assert_int_equal(claim(table, 0, 0, table->file), 0);
	assert_int_equal(claim(table, 1, 1, table->file), -EBUSY);
	end(&table->guests[0]);
	assert_int_equal(claim(table, 1, 1, table->file), 0);
}

/* The port's own VMM was replaced: the old one may still store. */
static void
the_next_guest_of_a_port_waits_for_the_last(void **state)
{
	struct table *table = *state;

	assert_int_equal(claim(table, 0, 0, table->file), 0);
	assert_int_equal(claim(table, 0, 1, table->file), -EBUSY);
	end(&table->guests[0]);
	assert_int_equal(claim(table, 0, 1, table->file), 0);
}

static void
what_was_taken_back_is_free(void **state)
{
	struct table *table = *state;

	assert_int_equal(claim(table, 0, 0, table->file), 0);
	port_files_release(table->files, &ports[0], true);
	assert_int_equal(claim(table, 1, 1, table->file), 0);
}

static void
what_was_not_taken_back_stays_with_the_guest(void **state)
{
	struct table *table = *state;

	assert_int_equal(claim(table, 0, 0, table->file), 0);
	port_files_release(table->files, &ports[0], false);
	assert_int_equal(claim(table, 1, 1, table->file), -EBUSY);
	assert_non_null(strstr(table->why.text, "the guest of port vm0"));
	end(&table->guests[0]);
	assert_int_equal(claim(table, 1, 1, table->file), 0);
}

static void
a_port_alone_gives_what_it_has(void **state)
{
	struct table *table = *state;

	assert_int_equal(port_files_claim(NULL, &ports[0], ports[0], 1, table->file, &table->why), 0);
	port_files_release(NULL, &ports[0], false);
}

#define WITH_TABLE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TABLE(a_file_goes_to_one_guest),
		WITH_TABLE(another_number_is_no_other_file),
		WITH_TABLE(files_without_an_inode_of_their_own_are_two),
		WITH_TABLE(a_guest_that_ended_has_nothing),
		WITH_TABLE(the_next_guest_of_a_port_waits_for_the_last),
		WITH_TABLE(what_was_taken_back_is_free),
		WITH_TABLE(what_was_not_taken_back_stays_with_the_guest),
		WITH_TABLE(a_port_alone_gives_what_it_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
