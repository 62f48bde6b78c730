/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peer.h"
#include "rp_vhu_vfio_files.h"
#include "rp_wire_fd.h"

/* A real VFIO file needs hardware: other character devices stand for it. What KVM says of them is test_kvm.c's. */

struct rig {
	struct test_leaks before;
	struct rp_vhu_vfio_files *files;
	unsigned int added, removed;
	int refuse;
	int last_fd; /* as add or remove had it */
};

static int
on_add(void *ctx, int fd, enum rp_vhu_vfio_type type, struct rp_wire_why *why)
{
	struct rig *rig = ctx;

	(void)type;
	if (rig->refuse != 0)
		return rp_wire_why_set(why, rig->refuse, "the owner says no");
	rig->added++;
	rig->last_fd = fd;
	return 0;
}

static void
on_remove(void *ctx, int fd, enum rp_vhu_vfio_type type)
{
	struct rig *rig = ctx;

	(void)type;
	rig->removed++;
	assert_true(fcntl(fd, F_GETFD) >= 0);
	rig->last_fd = fd;
}

static const struct rp_vhu_vfio_files_ops ops = {.add = on_add, .remove = on_remove};

static int
setup(void **state)
{
	static struct rig rig;

	memset(&rig, 0, sizeof(rig));
	test_leaks_read(&rig.before);
	assert_int_equal(rp_vhu_vfio_files_create(&ops, &rig, &rig.files), 0);
	*state = &rig;
	return 0;
}

static int
teardown(void **state)
{
	struct rig *rig = *state;

	rig->files = rp_vhu_vfio_files_destroy(rig->files);
	test_leaks_assert_none(&rig->before);
	return 0;
}

static int
device(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static struct rp_vhu_vfio_file *
get(struct rig *rig, int fd)
{
	struct rp_vhu_vfio_file *file = NULL;
	struct rp_wire_why why = {0};

	if (rp_vhu_vfio_file_get(rig->files, &fd, RP_VHU_VFIO_GROUP, &file, &why) < 0)
		fail_msg("%s", why.text);
	assert_int_equal(fd, -1);
	return file;
}

static void
added_on_the_first_and_removed_on_the_last(void **state)
{
	struct rig *rig = *state;
	struct rp_vhu_vfio_file *a, *b, *c;
	int fd = device("/dev/null"), copy = rp_wire_fd_dup(fd), third = rp_wire_fd_dup(fd);

	a = get(rig, fd);
	assert_int_equal(rp_vhu_vfio_file_fd(a), fd);
	assert_int_equal(rp_vhu_vfio_file_type(a), RP_VHU_VFIO_GROUP);
	b = get(rig, copy);
	c = get(rig, third);
	assert_ptr_equal(a, b);
	assert_ptr_equal(a, c);
	assert_int_equal(rp_vhu_vfio_file_references(a), 3);
	assert_int_equal(rp_vhu_vfio_files_count(rig->files), 1);
	assert_int_equal(rig->added, 1);
	/* Copies are closed at once. */
	assert_true(fcntl(copy, F_GETFD) < 0 && fcntl(third, F_GETFD) < 0);
	assert_null(rp_vhu_vfio_file_put(a));
	assert_null(rp_vhu_vfio_file_put(b));
	assert_int_equal(rig->removed, 0);
	assert_null(rp_vhu_vfio_file_put(c));
	assert_int_equal(rig->removed, 1);
	assert_int_equal(rig->last_fd, fd);
	assert_int_equal(rp_vhu_vfio_files_count(rig->files), 0);
	assert_null(rp_vhu_vfio_file_put(NULL));
}

/* A descriptor that travelled through a socket is the same file, too. */
static void
the_same_file_under_another_number(void **state)
{
	struct rig *rig = *state;
	struct rp_vhu_vfio_file *a, *b;
	struct peer_msg msg;
	int ours, theirs, fd = device("/dev/null");

	peer_pair(&ours, &theirs);
	assert_true(peer_send(ours, 1, 1, NULL, 0, &fd, 1));
	assert_true(peer_receive(theirs, &msg));
	assert_int_equal(msg.fds_count, 1);
	assert_int_not_equal(msg.fds[0], fd);
	a = get(rig, fd);
	b = get(rig, rp_wire_fd_take(&msg.fds[0]));
	assert_ptr_equal(a, b);
	assert_int_equal(rig->added, 1);
	rp_vhu_vfio_file_put(a);
	rp_vhu_vfio_file_put(b);
	rp_wire_fd_close(&ours);
	rp_wire_fd_close(&theirs);
}

static void
other_files_are_others(void **state)
{
	struct rig *rig = *state;
	struct rp_vhu_vfio_file *a, *b;

	a = get(rig, device("/dev/null"));
	b = get(rig, device("/dev/zero"));
	assert_ptr_not_equal(a, b);
	assert_int_equal(rig->added, 2);
	assert_int_equal(rp_vhu_vfio_files_count(rig->files), 2);
	rp_vhu_vfio_file_put(a);
	assert_int_equal(rig->removed, 1);
	rp_vhu_vfio_file_put(b);
	assert_int_equal(rig->removed, 2);
}

static void
refused(struct rig *rig, int fd, const char *words)
{
	struct rp_vhu_vfio_file *file = NULL;
	struct rp_wire_why why = {0};
	int kept = fd;

	assert_int_equal(rp_vhu_vfio_file_get(rig->files, &kept, RP_VHU_VFIO_GROUP, &file, &why), -EBADMSG);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s', expected '%s' in it", why.text, words);
	assert_int_equal(kept, fd);
	assert_null(file);
	assert_int_equal(rig->added, 0);
	rp_wire_fd_close(&kept);
}

static void
what_cannot_be_one_is_refused_by_name(void **state)
{
	struct rig *rig = *state;
	int pair[2], pipe_fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	refused(rig, test_memfd((size_t)sysconf(_SC_PAGESIZE), true), "a regular file");
	refused(rig, pair[0], "a socket");
	refused(rig, pipe_fds[0], "a pipe");
	refused(rig, open("/", O_RDONLY | O_CLOEXEC), "a directory");
	refused(rig, peer_eventfd(), "an anonymous file");
	refused(rig, -1, "descriptor: ");
	rp_wire_fd_close(&pair[1]);
	rp_wire_fd_close(&pipe_fds[1]);
}

static void
one_file_has_one_type(void **state)
{
	struct rig *rig = *state;
	struct rp_vhu_vfio_file *a, *b = NULL;
	struct rp_wire_why why = {0};
	int fd = device("/dev/null"), copy = rp_wire_fd_dup(fd);

	a = get(rig, fd);
	assert_int_equal(rp_vhu_vfio_file_get(rig->files, &copy, RP_VHU_VFIO_CDEV, &b, &why), -EBADMSG);
	assert_non_null(strstr(why.text, "type: 1, but the file was given as 0 before"));
	assert_true(copy >= 0);
	rp_wire_fd_close(&copy);
	rp_vhu_vfio_file_put(a);
}

static void
an_owner_that_refuses(void **state)
{
	struct rig *rig = *state;
	struct rp_vhu_vfio_file *a = NULL;
	struct rp_wire_why why = {0};
	int fd = device("/dev/null");

	rig->refuse = -ENOSPC;
	assert_int_equal(rp_vhu_vfio_file_get(rig->files, &fd, RP_VHU_VFIO_CDEV, &a, &why), -ENOSPC);
	assert_string_equal(why.text, "the owner says no");
	assert_true(fd >= 0);
	assert_int_equal(rp_vhu_vfio_files_count(rig->files), 0);
	rig->refuse = 0;
	a = get(rig, fd);
	assert_int_equal(rig->added, 1);
	rp_vhu_vfio_file_put(a);
}

static void
nobody_needs_to_be_told(void **state)
{
	static const struct rp_vhu_vfio_files_ops silent = {NULL, NULL};
	const struct rp_vhu_vfio_files_ops *both[] = {NULL, &silent};
	struct rp_vhu_vfio_files *files;
	struct rp_vhu_vfio_file *file;
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		int fd = device("/dev/null");

		assert_int_equal(rp_vhu_vfio_files_create(both[i], NULL, &files), 0);
		assert_int_equal(rp_vhu_vfio_file_get(files, &fd, RP_VHU_VFIO_CDEV, &file, NULL), 0);
		rp_vhu_vfio_file_put(file);
		assert_null(rp_vhu_vfio_files_destroy(files));
	}
	assert_null(rp_vhu_vfio_files_destroy(NULL));
}

/* From here on kcmp says -EPERM, as in a container. */
static bool
forbid_kcmp(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_kcmp, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static int
without_kcmp_in_a_child(struct rig *rig)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), again = open("/dev/null", O_RDWR | O_CLOEXEC);
	int copy = rp_wire_fd_dup(null), zero = open("/dev/zero", O_RDWR | O_CLOEXEC);
	struct rp_vhu_vfio_file *a, *b, *c, *d;

	if (!forbid_kcmp())
		return 77;
	if (rp_wire_fd_same(null, copy) >= 0)
		return 1;
	if (rp_vhu_vfio_file_get(rig->files, &null, RP_VHU_VFIO_GROUP, &a, NULL) < 0 ||
	    rp_vhu_vfio_file_get(rig->files, &copy, RP_VHU_VFIO_GROUP, &b, NULL) < 0 ||
	    rp_vhu_vfio_file_get(rig->files, &again, RP_VHU_VFIO_GROUP, &c, NULL) < 0 ||
	    rp_vhu_vfio_file_get(rig->files, &zero, RP_VHU_VFIO_GROUP, &d, NULL) < 0)
		return 2;
	if (a != b || a != c || a == d || rig->added != 2)
		return 3;
	return rp_vhu_vfio_files_count(rig->files) == 2 ? 0 : 4;
}

/* The safe side: one node is one device, of which KVM is told once. */
static void
where_kcmp_is_forbidden(void **state)
{
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(without_kcmp_in_a_child(*state));
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("skipped: this system has no seccomp filters\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_RIG(added_on_the_first_and_removed_on_the_last),
		WITH_RIG(the_same_file_under_another_number),
		WITH_RIG(other_files_are_others),
		WITH_RIG(what_cannot_be_one_is_refused_by_name),
		WITH_RIG(one_file_has_one_type),
		WITH_RIG(an_owner_that_refuses),
		WITH_RIG(nobody_needs_to_be_told),
		WITH_RIG(where_kcmp_is_forbidden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
