/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "master.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "test_support.h"

/* Who waits is ended. */
#define PATIENCE_S 10u
#define WAIT_MS 20u

/* master.c is the whole program. */
int
master_complain(const char *what, int rc, const struct rp_wire_why *why)
{
	(void)what, (void)why;
	return rc;
}

/* What interrupts us is the device's as well: nothing is in it when the wait is over, and reading it would wait. */
static void
an_interrupt_that_never_came(void **state)
{
	const struct rp_vhu_frontend_config config = {.queues_max = 1};
	struct master_queue queue = {.kick_fd = -1, .call_fd = eventfd(0, EFD_CLOEXEC)};
	struct master master = {.queues = &queue, .queues_count = 1};
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(rp_vhu_frontend_create(&ends[0], &config, NULL, NULL, &master.frontend), 0);
	alarm(PATIENCE_S);
	assert_int_equal(driver_wait(&master, &queue, rp_wire_clock_ms() + WAIT_MS), 0);
	assert_int_equal(queue.interrupts, 0);
	assert_int_equal(eventfd_write(queue.call_fd, 3), 0);
	assert_int_equal(driver_wait(&master, &queue, rp_wire_clock_ms() + WAIT_MS), 0);
	assert_int_equal(queue.interrupts, 3);
	alarm(0);
	rp_vhu_frontend_destroy(master.frontend);
	rp_wire_fd_close(&ends[1]);
	rp_wire_fd_close(&queue.call_fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_interrupt_that_never_came),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
