/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>

#include "space.h"

void
rp_dma_books_init(struct rp_dma_books *books, uint64_t bytes_max, uint64_t maps_max)
{
	books->bytes_max = bytes_max;
	books->maps_max = maps_max;
	TAILQ_INIT(&books->waiters);
	LIST_INIT(&books->callings);
}

/* As much as there is, up to what is wanted, however many take at once. */
static uint64_t
take(_Atomic uint64_t *used, uint64_t limit, uint64_t want)
{
	uint64_t before = atomic_load_explicit(used, memory_order_relaxed), got;

	do {
		if (before >= limit)
			return 0;
		got = limit - before < want ? limit - before : want;
	} while (!atomic_compare_exchange_weak_explicit(used, &before, before + got, memory_order_seq_cst,
							memory_order_relaxed));
	return got;
}

/* @return what was used before. */
static uint64_t
give(_Atomic uint64_t *used, uint64_t count)
{
	uint64_t before = atomic_fetch_sub_explicit(used, count, memory_order_seq_cst);

	assert(before >= count);
	return before;
}

int
rp_dma_books_enter(struct rp_dma_space *space)
{
	return take(&space->books.maps_count, space->books.maps_max, 1) == 1 ? 0 : -ENOSPC;
}

uint64_t
rp_dma_books_take(struct rp_dma_space *space, uint64_t want_bytes)
{
	return take(&space->books.used_bytes, space->books.bytes_max, want_bytes);
}

bool
rp_dma_books_leave(struct rp_dma_space *space, uint64_t bytes)
{
	bool full = give(&space->books.used_bytes, bytes) >= space->books.bytes_max && bytes > 0;

	return give(&space->books.maps_count, 1) >= space->books.maps_max || full;
}

static bool
has_space(const struct rp_dma_books *books)
{
	return atomic_load_explicit(&books->used_bytes, memory_order_seq_cst) < books->bytes_max &&
	       atomic_load_explicit(&books->maps_count, memory_order_seq_cst) < books->maps_max;
}

/* Lock held. */
static void
take_off(struct rp_dma_books *books, struct rp_dma_waiter *waiter)
{
	waiter->waiting = false;
	TAILQ_REMOVE(&books->waiters, waiter, link);
	atomic_fetch_sub_explicit(&books->waiters_count, 1, memory_order_seq_cst);
}

/* Lock held, released for each call. Those who register meanwhile are of the next round. */
static bool
call_round(struct rp_dma_space *space)
{
	struct rp_dma_books *books = &space->books;
	uint64_t round = books->round++;
	struct rp_dma_calling calling = {.thread = pthread_self()};
	struct rp_dma_waiter *waiter;

	while ((waiter = TAILQ_FIRST(&books->waiters)) != NULL && waiter->round <= round) {
		take_off(books, waiter);
		calling.waiter = waiter;
		LIST_INSERT_HEAD(&books->callings, &calling, link);
		pthread_mutex_unlock(&space->lock);
		waiter->freed(waiter);
		pthread_mutex_lock(&space->lock);
		LIST_REMOVE(&calling, link);
		rp_dma_space_wake_sleepers(space);
	}
	return calling.again;
}

void
rp_dma_books_notify(struct rp_dma_space *space)
{
	if (atomic_load_explicit(&space->books.waiters_count, memory_order_seq_cst) == 0)
		return;
	pthread_mutex_lock(&space->lock);
	while (call_round(space) && has_space(&space->books))
		;
	pthread_mutex_unlock(&space->lock);
}

/* Lock held. @return the freed() that this thread is inside of, or NULL. */
static struct rp_dma_calling *
find_own(const struct rp_dma_books *books)
{
	struct rp_dma_calling *calling;

	for (calling = LIST_FIRST(&books->callings); calling != NULL; calling = LIST_NEXT(calling, link)) {
		if (pthread_equal(calling->thread, pthread_self()) != 0)
			return calling;
	}
	return NULL;
}

void
rp_dma_waiter_register(struct rp_dma_space *space, struct rp_dma_waiter *waiter)
{
	struct rp_dma_books *books = &space->books;
	struct rp_dma_calling *own;

	pthread_mutex_lock(&space->lock);
	own = find_own(books);
	if (!waiter->waiting) {
		waiter->waiting = true;
		waiter->round = books->round;
		TAILQ_INSERT_TAIL(&books->waiters, waiter, link);
		atomic_fetch_add_explicit(&books->waiters_count, 1, memory_order_seq_cst);
	}
	/* From inside a freed() the loop around it looks: calls do not nest. */
	if (own != NULL)
		own->again = true;
	pthread_mutex_unlock(&space->lock);
	if (own == NULL && has_space(books))
		rp_dma_books_notify(space);
}

/* Lock held. */
static bool
is_called_elsewhere(const struct rp_dma_books *books, const struct rp_dma_waiter *waiter)
{
	const struct rp_dma_calling *calling;

	for (calling = LIST_FIRST(&books->callings); calling != NULL; calling = LIST_NEXT(calling, link)) {
		if (calling->waiter == waiter && pthread_equal(calling->thread, pthread_self()) == 0)
			return true;
	}
	return false;
}

void
rp_dma_waiter_cancel(struct rp_dma_space *space, struct rp_dma_waiter *waiter)
{
	pthread_mutex_lock(&space->lock);
	/* A freed() that runs may register it once more. */
	while (is_called_elsewhere(&space->books, waiter))
		rp_dma_space_sleep(space);
	if (waiter->waiting)
		take_off(&space->books, waiter);
	pthread_mutex_unlock(&space->lock);
}

void
rp_dma_books_end_waiters(struct rp_dma_space *space)
{
	pthread_mutex_lock(&space->lock);
	while (!TAILQ_EMPTY(&space->books.waiters))
		take_off(&space->books, TAILQ_FIRST(&space->books.waiters));
	pthread_mutex_unlock(&space->lock);
}

uint64_t
rp_dma_bounce_used_bytes(const struct rp_dma_space *space)
{
	return atomic_load_explicit(&space->books.used_bytes, memory_order_relaxed);
}

uint64_t
rp_dma_map_count(const struct rp_dma_space *space)
{
	return atomic_load_explicit(&space->books.maps_count, memory_order_relaxed);
}
