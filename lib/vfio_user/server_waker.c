/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/eventfd.h>

#include "rp_wire_fd.h"
#include "vfu_waker.h"

int
rp_vfu_waker_create(struct rp_vfu_waker *waker)
{
	*waker = (struct rp_vfu_waker){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	if (waker->fd < 0)
		return -errno;
	pthread_mutex_init(&waker->lock, NULL);
	return 0;
}

void
rp_vfu_waker_destroy(struct rp_vfu_waker *waker)
{
	rp_wire_fd_close(&waker->fd);
	pthread_mutex_destroy(&waker->lock);
}

void
rp_vfu_waker_wake(struct rp_vfu_waker *waker)
{
	pthread_mutex_lock(&waker->lock);
	if (waker->sleeps && !pthread_equal(waker->sleeper, pthread_self()))
		waker->others = true;
	if (!waker->woken)
		(void)eventfd_write(waker->fd, 1);
	waker->woken = true;
	pthread_mutex_unlock(&waker->lock);
}

void
rp_vfu_waker_awake(struct rp_vfu_waker *waker)
{
	eventfd_t count;

	pthread_mutex_lock(&waker->lock);
	if (waker->woken)
		(void)eventfd_read(waker->fd, &count);
	waker->woken = false;
	pthread_mutex_unlock(&waker->lock);
}

bool
rp_vfu_waker_may_sleep(struct rp_vfu_waker *waker)
{
	bool may_sleep;

	pthread_mutex_lock(&waker->lock);
	waker->sleeps = true;
	waker->sleeper = pthread_self();
	may_sleep = !waker->woken && !waker->others;
	pthread_mutex_unlock(&waker->lock);
	return may_sleep;
}

void
rp_vfu_waker_forget(struct rp_vfu_waker *waker)
{
	pthread_mutex_lock(&waker->lock);
	waker->others = false;
	pthread_mutex_unlock(&waker->lock);
}
