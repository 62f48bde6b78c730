/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rp_vhu_inflight.h"
#include "rp_wire_fd.h"
#include "test_support.h"

static struct test_leaks before;
static const struct rp_vhu_inflight_layout split = {.queues_count = 2, .queue_num = 4};
static const struct rp_vhu_inflight_layout packed = {.packed = true, .queues_count = 2, .queue_num = 4};

static int
setup(void **state)
{
	(void)state;
	test_leaks_read(&before);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	test_leaks_assert_none(&before);
	return 0;
}

static void
assert_refused(int fd, const struct rp_vhu_inflight_layout *layout, uint64_t size_bytes, uint64_t offset_bytes,
	       const char *words)
{
	struct rp_vhu_inflight *inflight = NULL;
	struct rp_wire_why why = {0};

	assert_int_equal(rp_vhu_inflight_create(fd, layout, size_bytes, offset_bytes, &inflight, &why), -EBADMSG);
	assert_null(inflight);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s', expected '%s'", why.text, words);
}

/* Header and entries of the specification's structures, each queue a multiple of 64 bytes. */
static void
sizes(void **state)
{
	struct rp_vhu_inflight_layout layout = {.queues_count = 1, .queue_num = 1};

	(void)state;
	assert_int_equal(rp_vhu_inflight_bytes(&layout), 64);
	layout.queue_num = 3;
	assert_int_equal(rp_vhu_inflight_bytes(&layout), 64);
	layout.queue_num = 4;
	assert_int_equal(rp_vhu_inflight_bytes(&layout), 128);
	layout.queue_num = 128;
	layout.queues_count = 3;
	assert_int_equal(rp_vhu_inflight_bytes(&layout), 3 * 2112);
	layout.packed = true;
	assert_int_equal(rp_vhu_inflight_bytes(&layout), 3 * 4160);
	layout.queue_num = 1;
	assert_int_equal(rp_vhu_inflight_bytes(&layout), 3 * 64);
	layout = (struct rp_vhu_inflight_layout){.packed = true, .queues_count = 256, .queue_num = 32768};
	assert_int_equal(rp_vhu_inflight_bytes(&layout), 256ull * (32 * 32768 + 64));
	layout.queues_count = 257;
	assert_int_equal(rp_vhu_inflight_bytes(&layout), 0);
	layout = (struct rp_vhu_inflight_layout){.queues_count = 1, .queue_num = 32769};
	assert_int_equal(rp_vhu_inflight_bytes(&layout), 0);
	layout.queue_num = 0;
	assert_int_equal(rp_vhu_inflight_bytes(&layout), 0);
}

static void
a_file_that_keeps_its_size(void **state)
{
	const struct rp_vhu_inflight_layout none = {.queues_count = 0, .queue_num = 4};
	struct rp_wire_why why;
	struct stat st;
	uint8_t bytes[256];
	size_t i;
	int fd = -1;

	(void)state;
	assert_int_equal(rp_vhu_inflight_file(&none, &fd, &why), -EBADMSG);
	assert_int_equal(fd, -1);
	assert_int_equal(rp_vhu_inflight_file(&split, &fd, &why), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, rp_vhu_inflight_bytes(&split));
	assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(ftruncate(fd, 1), -1);
	assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	for (i = 0; i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], 0);
	rp_wire_fd_close(&fd);
}

static void
files_that_do_not_do(void **state)
{
	const uint64_t bytes = rp_vhu_inflight_bytes(&split);
	int sealed = test_memfd((size_t)bytes + 64, true), loose = test_memfd((size_t)bytes, false);
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)state;
	assert_refused(loose, &split, bytes, 0, "sealed against shrinking");
	assert_refused(null_fd, &split, bytes, 0, "sealed against shrinking");
	assert_refused(-1, &split, bytes, 0, "descriptor");
	assert_refused(sealed, &split, bytes - 1, 0, "mmap size: 255, expected at least 256 for 2 queues of 4");
	assert_refused(sealed, &split, bytes + 65, 0, "the file ends before the region");
	assert_refused(sealed, &split, bytes, 128, "the file ends before the region");
	assert_refused(sealed, &split, bytes, 8, "mmap offset: 0x8");
	assert_refused(sealed, &split, UINT64_MAX, 64, "mmap offset");
	assert_refused(sealed, &packed, bytes, 0, "mmap size: 256, expected at least 384");
	rp_wire_fd_close(&sealed);
	rp_wire_fd_close(&loose);
	rp_wire_fd_close(&null_fd);
}

/* Fields in the host's byte order, after the eight bytes of features. */
static void
what_was_noted_for_other_rings(void **state)
{
	const uint64_t bytes = rp_vhu_inflight_bytes(&split);
	int fd = test_memfd((size_t)bytes + 64, true);
	struct rp_vhu_inflight *inflight;
	uint16_t head[2] = {1, 4};

	(void)state;
	assert_int_equal(pwrite(fd, head, sizeof(head), 64 + 128 + 8), sizeof(head));
	assert_int_equal(rp_vhu_inflight_create(fd, &split, bytes, 64, &inflight, NULL), 0);
	assert_int_equal(rp_vhu_inflight_layout(inflight)->queue_num, 4);
	assert_int_equal(rp_vhu_inflight_layout(inflight)->queues_count, 2);
	assert_false(rp_vhu_inflight_layout(inflight)->packed);
	assert_null(rp_vhu_inflight_destroy(inflight));
	head[1] = 5;
	assert_int_equal(pwrite(fd, head, sizeof(head), 64 + 128 + 8), sizeof(head));
	assert_refused(fd, &split, bytes, 64, "queue 1: desc_num: 5, expected 4");
	head[0] = 2;
	assert_int_equal(pwrite(fd, head, sizeof(head), 64 + 128 + 8), sizeof(head));
	assert_refused(fd, &split, bytes, 64, "queue 1: version: 2, expected 0 or 1");
	rp_wire_fd_close(&fd);
	assert_null(rp_vhu_inflight_destroy(NULL));
}

static void
notes_of_the_other_kind(void **state)
{
	struct rp_vhu_inflight *inflight;
	struct rp_vhu_inflight_packed *notes = NULL;
	struct rp_vhu_inflight_split *wrong = NULL;
	int fd = test_memfd((size_t)rp_vhu_inflight_bytes(&packed), true);

	(void)state;
	assert_int_equal(rp_vhu_inflight_create(fd, &packed, rp_vhu_inflight_bytes(&packed), 0, &inflight, NULL), 0);
	rp_wire_fd_close(&fd);
	assert_int_equal(rp_vhu_inflight_split_create(inflight, 0, 4, 0, &wrong, NULL), -EINVAL);
	assert_int_equal(rp_vhu_inflight_packed_create(inflight, 2, 4, 0, NULL, NULL, &notes, NULL), -EINVAL);
	assert_int_equal(rp_vhu_inflight_packed_create(inflight, 0, 5, 0, NULL, NULL, &notes, NULL), -EINVAL);
	assert_int_equal(rp_vhu_inflight_packed_create(inflight, 0, 0, 0, NULL, NULL, &notes, NULL), -EINVAL);
	assert_int_equal(rp_vhu_inflight_packed_create(inflight, 0, 4, 0x8004, NULL, NULL, &notes, NULL), -EINVAL);
	rp_vhu_inflight_destroy(inflight);
}

/* Whatever a frontend keeps it in, nothing of it stays mapped. */
static void
notes_in_huge_pages(void **state)
{
	const uint64_t bytes = rp_vhu_inflight_bytes(&split), offset = TEST_HUGE_PAGE_BYTES + 0x10000;
	struct rp_vhu_inflight *inflight = NULL;
	struct rp_wire_why why = {0};
	int fd = test_huge_memfd(2 * TEST_HUGE_PAGE_BYTES);

	(void)state;
	test_leaks_read(&before);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	if (rp_vhu_inflight_create(fd, &split, bytes, offset, &inflight, &why) != 0)
		fail_msg("in-flight region: %s", why.text);
	rp_vhu_inflight_destroy(inflight);
	test_leaks_assert_none(&before);
	rp_wire_fd_close(&fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_that_keeps_its_size, setup, teardown),
		cmocka_unit_test_setup_teardown(files_that_do_not_do, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_noted_for_other_rings, setup, teardown),
		cmocka_unit_test_setup_teardown(notes_of_the_other_kind, setup, teardown),
		cmocka_unit_test(notes_in_huge_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
