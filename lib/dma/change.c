/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "change.h"
#include "reader.h"

void
rp_dma_space_sleep(struct rp_dma_space *space)
{
	space->sleepers_count++;
	pthread_cond_wait(&space->changed, &space->lock);
	space->sleepers_count--;
}

void
rp_dma_space_wake_sleepers(struct rp_dma_space *space)
{
	if (space->sleepers_count > 0)
		pthread_cond_broadcast(&space->changed);
}

void
rp_dma_hold_open(struct rp_dma_space *space, struct rp_dma_hold *hold, uint64_t first_iova, uint64_t last_iova,
		 enum rp_dma_hold_kind kind, void *owner)
{
	*hold = (struct rp_dma_hold){
		.first_iova = first_iova,
		.last_iova = last_iova,
		.ticket = space->ticket,
		.owner = owner,
		.kind = (uint8_t)kind,
		.open = true,
	};
	LIST_INSERT_HEAD(&space->holds, hold, link);
}

void
rp_dma_hold_close(struct rp_dma_space *space, struct rp_dma_hold *hold)
{
	if (!hold->open)
		return;
	hold->open = false;
	LIST_REMOVE(hold, link);
	rp_dma_space_wake_sleepers(space);
}

void
rp_dma_change_wake(struct rp_dma_space *space)
{
	/* The writer counts a change before it looks who is in its way: one of the two sees the other. */
	if (atomic_load_explicit(&space->pending_count, memory_order_seq_cst) > 0 && space->wake != NULL)
		space->wake(space->wake_ctx);
}

struct rp_dma_change *
rp_dma_change_alloc(struct rp_wire_why *why)
{
	struct rp_dma_change *change = calloc(1, sizeof(*change));

	if (change == NULL)
		rp_wire_why_set(why, -ENOSPC, "no memory for the change");
	else
		change->allocated = true;
	return change;
}

void
rp_dma_change_free(struct rp_dma_change *change)
{
	free(change);
}

static bool
touches(const struct rp_dma_hold *hold, const struct rp_dma_change *change)
{
	return hold->ticket < change->ticket && (hold->gone_ticket == 0 || hold->gone_ticket >= change->ticket) &&
	       hold->first_iova <= change->last_iova && hold->last_iova >= change->first_iova;
}

/* Later changes of the same addresses are about what came after it. */
static void
end_hold(struct rp_dma_hold *hold, const struct rp_dma_change *change)
{
	hold->ended = true;
	if (change->first_iova <= hold->first_iova && hold->last_iova <= change->last_iova)
		hold->gone_ticket = change->ticket;
}

static void
tell_listeners(struct rp_dma_space *space, const struct rp_dma_change *change)
{
	struct rp_dma_listener *listener, *next;

	/* It may take itself off the list. */
	for (listener = LIST_FIRST(&space->listeners); listener != NULL; listener = next) {
		next = LIST_NEXT(listener, link);
		listener->going(listener, change->first_iova, change->last_iova);
	}
}

void
rp_dma_change_begin(struct rp_dma_space *space, struct rp_dma_change *change, struct rp_dma_edit *edit,
		    uint64_t first_iova, uint64_t last_iova)
{
	struct rp_dma_hold *hold;
	bool given_out = false;

	change->first_iova = first_iova;
	change->last_iova = last_iova;
	change->gone = rp_dma_edit_commit(edit);
	atomic_fetch_add_explicit(&space->pending_count, 1, memory_order_seq_cst);
	pthread_mutex_lock(&space->lock);
	change->ticket = ++space->ticket;
	rp_dma_space_publish(space, edit->table);
	change->epoch = atomic_load_explicit(&space->epoch, memory_order_relaxed);
	for (hold = LIST_FIRST(&space->holds); hold != NULL; hold = LIST_NEXT(hold, link)) {
		if (!touches(hold, change))
			continue;
		end_hold(hold, change);
		given_out |= hold->kind != RP_DMA_HOLD_TRANSFER;
	}
	pthread_mutex_unlock(&space->lock);
	TAILQ_INSERT_TAIL(&space->changes, change, link);
	if (given_out)
		tell_listeners(space, change);
}

/* Lock held. */
static bool
is_held(const struct rp_dma_space *space, const struct rp_dma_change *change)
{
	const struct rp_dma_hold *hold;

	for (hold = LIST_FIRST(&space->holds); hold != NULL; hold = LIST_NEXT(hold, link)) {
		if (hold->kind != RP_DMA_HOLD_BOUNCE && touches(hold, change))
			return true;
	}
	return false;
}

static void
drop(void *ctx, uint8_t *hva)
{
	rp_dma_backing_unref(ctx, hva);
}

static void
finish(struct rp_dma_space *space, struct rp_dma_change *change)
{
	TAILQ_REMOVE(&space->changes, change, link);
	atomic_fetch_sub_explicit(&space->pending_count, 1, memory_order_seq_cst);
	rp_dma_gone_dispose(&change->gone, &space->store->pool, drop, &space->store->backing);
	if (change->allocated)
		free(change);
}

void
rp_dma_change_wait(struct rp_dma_space *space, struct rp_dma_change *change)
{
	rp_dma_space_synchronize(space);
	pthread_mutex_lock(&space->lock);
	while (is_held(space, change))
		rp_dma_space_sleep(space);
	pthread_mutex_unlock(&space->lock);
	finish(space, change);
	/* Whoever asked for one before may ask no more. */
	rp_dma_space_settled(space, RP_DMA_SETTLED);
}

void
rp_dma_change_wait_all(struct rp_dma_space *space)
{
	while (!TAILQ_EMPTY(&space->changes))
		rp_dma_change_wait(space, TAILQ_FIRST(&space->changes));
}

bool
rp_dma_space_settled(struct rp_dma_space *space, uint64_t ticket)
{
	struct rp_dma_change *change, *next;
	bool settled = true;

	for (change = TAILQ_FIRST(&space->changes); change != NULL; change = next) {
		bool held;

		next = TAILQ_NEXT(change, link);
		pthread_mutex_lock(&space->lock);
		held = is_held(space, change);
		pthread_mutex_unlock(&space->lock);
		if (!held && rp_dma_space_passed(space, change->epoch))
			finish(space, change);
		else if (change->ticket == ticket)
			settled = false;
	}
	return settled;
}

void
rp_dma_space_wait_readers(struct rp_dma_space *space)
{
	rp_dma_space_synchronize(space);
}

void
rp_dma_change_end_all(struct rp_dma_space *space)
{
	while (!TAILQ_EMPTY(&space->changes))
		finish(space, TAILQ_FIRST(&space->changes));
}

void
rp_dma_space_set_wake(struct rp_dma_space *space, void (*wake)(void *ctx), void *ctx)
{
	space->wake = wake;
	space->wake_ctx = ctx;
}

void
rp_dma_space_listen(struct rp_dma_space *space, struct rp_dma_listener *listener)
{
	LIST_INSERT_HEAD(&space->listeners, listener, link);
}

void
rp_dma_space_unlisten(struct rp_dma_space *space, struct rp_dma_listener *listener)
{
	(void)space;
	LIST_REMOVE(listener, link);
}
