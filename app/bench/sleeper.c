/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "bench.h"
#include "rp_wire_fd.h"
#include "sleeper.h"

static void *
sleeper_main(void *ctx)
{
	const struct sleeper *sleeper = ctx;
	struct pollfd wait[2] = {
		{.fd = sleeper->fd, .events = POLLIN},
		{.fd = sleeper->stop_fd, .events = POLLIN},
	};

	place_before_spinners();
	do {
		sleeper->process(sleeper->ctx);
		poll(wait, 2, -1);
	} while (wait[1].revents == 0);
	return NULL;
}

int
sleeper_start(struct sleeper *sleeper, int fd, void (*process)(void *ctx), void *ctx)
{
	int rc;

	*sleeper = (struct sleeper){.fd = fd, .process = process, .ctx = ctx};
	sleeper->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (sleeper->stop_fd < 0)
		return -errno;
	rc = -pthread_create(&sleeper->thread, NULL, sleeper_main, sleeper);
	sleeper->runs = rc == 0;
	if (rc < 0)
		rp_wire_fd_close(&sleeper->stop_fd);
	return rc;
}

void
sleeper_stop(struct sleeper *sleeper)
{
	if (!sleeper->runs)
		return;
	eventfd_write(sleeper->stop_fd, 1);
	pthread_join(sleeper->thread, NULL);
	rp_wire_fd_close(&sleeper->stop_fd);
	sleeper->runs = false;
}
