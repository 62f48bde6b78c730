/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "loop.h"
#include "rp_wire_fd.h"

struct vs_loop {
	int epoll_fd;
	bool ended;
};

int
vs_loop_create(struct vs_loop **ret_loop)
{
	struct vs_loop *loop = calloc(1, sizeof(*loop));
	int rc;

	if (loop == NULL)
		return -ENOMEM;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		rc = -errno;
		free(loop);
		return rc;
	}
	*ret_loop = loop;
	return 0;
}

struct vs_loop *
vs_loop_destroy(struct vs_loop *loop)
{
	if (loop == NULL)
		return NULL;
	rp_wire_fd_close(&loop->epoll_fd);
	free(loop);
	return NULL;
}

int
vs_loop_add(struct vs_loop *loop, struct vs_source *source)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};

	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, source->fd, &event) < 0 ? -errno : 0;
}

void
vs_loop_remove(struct vs_loop *loop, struct vs_source *source)
{
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
}

void
vs_loop_run(struct vs_loop *loop, unsigned int tick_ms, void (*tick)(void *ctx), void *ctx)
{
	while (!loop->ended) {
		struct epoll_event event;

		/* One at a time: a callback may remove any source. */
		if (epoll_wait(loop->epoll_fd, &event, 1, (int)tick_ms) == 1) {
			struct vs_source *source = event.data.ptr;

			source->ready(source->ctx);
		}
		tick(ctx);
	}
}

void
vs_loop_end(struct vs_loop *loop)
{
	loop->ended = true;
}
