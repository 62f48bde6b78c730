/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <time.h>

#include "rp_wire_fd.h"
#include "test_support.h"
#include "kvfio.h"

static void
descriptors_are_not_inherited(void **state)
{
	const struct kvfio_kernel *kernel = &kvfio_kernel_real;
	RP_WIRE_FD_SCOPED int fd = kernel->open(kernel->ctx, "/dev/null", O_RDWR);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
}

static void
errors_are_negative(void **state)
{
	const struct kvfio_kernel *kernel = &kvfio_kernel_real;
	RP_WIRE_FD_SCOPED int fd = kernel->open(kernel->ctx, "/dev/null", O_RDWR);
	char byte = 0;

	(void)state;
	assert_int_equal(kernel->open(kernel->ctx, "/dev/null/x", O_RDWR), -ENOTDIR);
	assert_int_equal(kernel->ioctl(kernel->ctx, fd, VFIO_GET_API_VERSION, NULL), -ENOTTY);
	assert_int_equal(kernel->pread(kernel->ctx, -1, &byte, 1, 0), -EBADF);
	assert_int_equal(kernel->pwrite(kernel->ctx, -1, &byte, 1, 0), -EBADF);
}

static void
bytes_at_a_place(void **state)
{
	const struct kvfio_kernel *kernel = &kvfio_kernel_real;
	RP_WIRE_FD_SCOPED int fd = test_memfd(16, false);
	char byte = 'x', back = 0;

	(void)state;
	assert_int_equal(kernel->pwrite(kernel->ctx, fd, &byte, 1, 9), 1);
	assert_int_equal(kernel->pread(kernel->ctx, fd, &back, 1, 9), 1);
	assert_int_equal(back, 'x');
	assert_int_equal(kernel->pread(kernel->ctx, fd, &back, 1, 16), 0);
}

static void
a_pause(void **state)
{
	const struct kvfio_kernel *kernel = &kvfio_kernel_real;
	struct timespec before, after;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &before);
	kernel->sleep_ms(kernel->ctx, 20);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec >= 20000000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(descriptors_are_not_inherited),
		cmocka_unit_test(errors_are_negative),
		cmocka_unit_test(bytes_at_a_place),
		cmocka_unit_test(a_pause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
