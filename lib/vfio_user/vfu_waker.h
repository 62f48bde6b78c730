/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_WAKER_H
#define VFU_WAKER_H

#include <pthread.h>
#include <stdbool.h>

/*
 * How other threads make the server's look, and how it may know that none will.
 *
 * Threads: any, but for create and destroy.
 */
struct rp_vfu_waker {
	pthread_mutex_t lock; /* of everything below but the descriptor */
	int fd; /* an eventfd, readable when somebody woke */
	bool woken;
	bool sleeps; /* `sleeper` does, now and then, without looking at the descriptor */
	bool others; /* other threads than that one want it to look */
	pthread_t sleeper;
};

/* @return 0 or what eventfd(2) says. */
int rp_vfu_waker_create(struct rp_vfu_waker *waker);
void rp_vfu_waker_destroy(struct rp_vfu_waker *waker);

/* One write for however many come before the server's thread looks. */
void rp_vfu_waker_wake(struct rp_vfu_waker *waker);
/* Whoever wakes from here on is seen later. */
void rp_vfu_waker_awake(struct rp_vfu_waker *waker);

/* The server's thread: whether it may sleep without looking. No more once another thread has woken it. */
bool rp_vfu_waker_may_sleep(struct rp_vfu_waker *waker);
/* What other threads did is forgotten. */
void rp_vfu_waker_forget(struct rp_vfu_waker *waker);

#endif
