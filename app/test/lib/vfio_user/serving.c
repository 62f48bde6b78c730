/* SPDX-License-Identifier: BSD-3-Clause */
#include <poll.h>
#include <sys/eventfd.h>

#include "rp_wire_fd.h"
#include "serving.h"
#include "test_support.h"

static void *
serve(void *arg)
{
	const struct serving *serving = arg;
	struct pollfd fds[] = {
		{.fd = rp_vfu_server_fd(serving->server), .events = POLLIN},
		{.fd = serving->stop_fd, .events = POLLIN},
	};

	while (poll(fds, 2, -1) > 0 && fds[1].revents == 0)
		(void)rp_vfu_server_process(serving->server);
	return NULL;
}

void
serving_start(struct serving *serving, struct rp_vfu_server *server)
{
	serving->server = server;
	serving->stop_fd = eventfd(0, EFD_CLOEXEC);
	assert_true(serving->stop_fd >= 0);
	assert_int_equal(pthread_create(&serving->thread, NULL, serve, serving), 0);
}

void
serving_stop(struct serving *serving)
{
	if (serving->server == NULL)
		return;
	assert_int_equal(eventfd_write(serving->stop_fd, 1), 0);
	assert_int_equal(pthread_join(serving->thread, NULL), 0);
	rp_wire_fd_close(&serving->stop_fd);
	serving->server = NULL;
}
