/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "change.h"
#include "log.h"
#include "rp_dma_bounce.h"
#include "visit.h"

/*
 * Theory of operation. A map is made outside the lock (its place in the books, its
 * buffer) and entered under it, against the table of that moment: from then on its
 * hold tells it when the range goes. It is then either out (somebody has the
 * pointer), and found by its address, or moving (its bytes are with the carrier).
 * Each step from one to the other is taken under the lock, by one thread.
 *
 * A buffer holds an unmap up while its bytes move, and not while it is out.
 */

/* In front of a buffer, so that a device that writes there is found out before its bytes reach a guest. */
#define MAGIC UINT64_C(0x52696e6770617373)
#define BUFFER_ALIGN 64u

struct rp_dma_map {
	struct rp_dma_space *space;
	LIST_ENTRY(rp_dma_map) link;
	struct rp_dma_hold hold;
	struct rp_dma_transfer transfer;
	uint64_t iova;
	uint64_t size_bytes;
	uint64_t booked_bytes; /* 0: direct */
	uint8_t *bytes;
	uint8_t *buffer; /* NULL: direct */
	uint32_t access_mask;
	rp_dma_map_done *map_done; /* while it is fetched */
	rp_dma_unmap_done *unmap_done; /* while it is written back; NULL: none */
	void *ctx;
	bool ending; /* the space ends: whoever ended it has the map */
};

static struct rp_dma_map_bucket *
bucket_of(struct rp_dma_space *space, const void *bytes)
{
	uint64_t hash = (uint64_t)(uintptr_t)bytes * UINT64_C(0x9e3779b97f4a7c15);

	return &space->maps.out[(hash >> 32) % RP_DMA_MAP_BUCKETS];
}

/* Each map has its own, and none when it has ended. */
static void
write_magic(const struct rp_dma_map *map, uint64_t magic)
{
	magic ^= (uint64_t)(uintptr_t)map;
	memcpy(map->bytes - sizeof(magic), &magic, sizeof(magic));
}

static bool
has_magic(const struct rp_dma_map *map)
{
	uint64_t found;

	if (map->buffer == NULL)
		return true;
	memcpy(&found, map->bytes - sizeof(found), sizeof(found));
	return (found ^ (uint64_t)(uintptr_t)map) == MAGIC;
}

/* Its books are settled, nobody knows it any more. */
static void
destroy(struct rp_dma_map *map)
{
	if (map->buffer != NULL)
		write_magic(map, ~MAGIC);
	free(map->buffer);
	free(map);
}

/* It is on no list and holds nothing. The caller may end the space as soon as it is told: that comes last. */
static void
end_map(struct rp_dma_map *map, int error)
{
	struct rp_dma_space *space = map->space;
	rp_dma_map_done *map_done = map->map_done;
	rp_dma_unmap_done *unmap_done = map->unmap_done;
	void *ctx = map->ctx;

	rp_dma_books_leave(space, map->booked_bytes);
	destroy(map);
	rp_dma_books_notify(space);
	if (map_done != NULL)
		map_done(ctx, error, NULL, 0);
	else if (unmap_done != NULL)
		unmap_done(ctx, error);
}

/* Lock held. */
static void
let_go(struct rp_dma_map *map)
{
	rp_dma_hold_close(map->space, &map->hold);
	rp_dma_change_wake(map->space);
}

/* Lock held. */
static void
give_out(struct rp_dma_map *map)
{
	map->hold.kind = map->buffer == NULL ? RP_DMA_HOLD_DIRECT : RP_DMA_HOLD_BOUNCE;
	map->map_done = NULL;
	LIST_INSERT_HEAD(bucket_of(map->space, map->bytes), map, link);
}

static void
fetched(struct rp_dma_transfer *transfer, int error)
{
	struct rp_dma_map *map = transfer->owner;
	struct rp_dma_space *space = map->space;
	rp_dma_map_done *done = map->map_done;
	void *ctx = map->ctx, *bytes = map->bytes;
	uint64_t size_bytes = map->size_bytes;

	pthread_mutex_lock(&space->lock);
	if (map->ending) {
		pthread_mutex_unlock(&space->lock);
		return;
	}
	LIST_REMOVE(map, link);
	if (error == 0 && map->hold.ended)
		error = -ECANCELED;
	if (error == 0)
		give_out(map);
	else
		let_go(map);
	pthread_mutex_unlock(&space->lock);
	if (error == 0)
		done(ctx, 0, bytes, size_bytes);
	else
		end_map(map, error);
}

static void
written_back(struct rp_dma_transfer *transfer, int error)
{
	struct rp_dma_map *map = transfer->owner;
	struct rp_dma_space *space = map->space;

	/* Before the hold goes: an unmap that has settled reports all of its range. */
	rp_dma_log_mark(space, transfer->iova, transfer->size_bytes);
	pthread_mutex_lock(&space->lock);
	if (map->ending) {
		pthread_mutex_unlock(&space->lock);
		return;
	}
	LIST_REMOVE(map, link);
	let_go(map);
	pthread_mutex_unlock(&space->lock);
	end_map(map, error);
}

/* Lock held: from here its hold is waited for. The bytes are submitted without it. */
static void
begin_move(struct rp_dma_map *map, bool write, uint64_t size_bytes)
{
	map->hold.kind = RP_DMA_HOLD_MOVING;
	map->transfer = (struct rp_dma_transfer){
		.write = write,
		.iova = map->iova,
		.size_bytes = size_bytes,
		.bytes = map->bytes,
		.finished = write ? written_back : fetched,
		.owner = map,
	};
	LIST_INSERT_HEAD(&map->space->maps.moving, map, link);
}

static int
submit_move(struct rp_dma_map *map)
{
	struct rp_dma_space *space = map->space;
	int rc = space->carrier->submit(space->carrier_ctx, &map->transfer);

	if (rc == 0)
		return 0;
	pthread_mutex_lock(&space->lock);
	LIST_REMOVE(map, link);
	let_go(map);
	pthread_mutex_unlock(&space->lock);
	return rc;
}

/* A buffer for as much as there is space for. */
static int
make_buffer(struct rp_dma_map *map)
{
	if (map->space->carrier == NULL)
		return -ENOTSUP;
	map->booked_bytes = rp_dma_books_take(map->space, map->size_bytes);
	if (map->booked_bytes == 0)
		return -ENOSPC;
	map->size_bytes = map->booked_bytes;
	/* Zeros: what a device does not write is not to carry our memory to a guest. */
	map->buffer = calloc(1, map->size_bytes + 3 * BUFFER_ALIGN);
	if (map->buffer == NULL)
		return -ENOMEM;
	map->bytes = (uint8_t *)(((uintptr_t)map->buffer / BUFFER_ALIGN + 2) * BUFFER_ALIGN) + map->iova % BUFFER_ALIGN;
	write_magic(map, MAGIC);
	return 0;
}

static int
look_up(struct rp_dma_map *map, uint64_t table)
{
	struct rp_dma_entry entry;
	uint64_t beyond_bytes;

	if (!rp_dma_table_find(table, map->iova, &entry) || (entry.access_mask & map->access_mask) != map->access_mask)
		return -EFAULT;
	beyond_bytes = entry.last_iova - map->iova;
	if (map->size_bytes - 1 > beyond_bytes)
		map->size_bytes = beyond_bytes + 1;
	if (entry.hva == NULL)
		return make_buffer(map);
	map->bytes = entry.hva + (map->iova - entry.first_iova);
	return 0;
}

/* @return 0: it is given out; 1: it is to be submitted; -EAGAIN: the table has changed. */
static int
enter(struct rp_dma_map *map, uint64_t table)
{
	struct rp_dma_space *space = map->space;
	int rc = 0;

	pthread_mutex_lock(&space->lock);
	if (rp_dma_visit_table(space) != table) {
		rc = -EAGAIN;
	} else {
		rp_dma_hold_open(space, &map->hold, map->iova, map->iova + (map->size_bytes - 1), RP_DMA_HOLD_DIRECT,
				 map);
		if (map->buffer != NULL && (map->access_mask & RP_DMA_READ) != 0) {
			begin_move(map, false, map->size_bytes);
			rc = 1;
		} else {
			give_out(map);
		}
	}
	pthread_mutex_unlock(&space->lock);
	return rc;
}

/*
 * Against the table of this moment; as enter(), or why not. What was found is copied
 * before it is entered: who unmaps the same bytes in another thread may get this map.
 */
static int
look_up_and_enter(struct rp_dma_map *map, struct rp_dma_map *ret_found)
{
	struct rp_dma_space *space = map->space;
	struct rp_dma_visit *visit = rp_dma_visit_begin(space);
	uint64_t table = rp_dma_visit_table(space);
	int rc = look_up(map, table);

	*ret_found = *map;
	if (rc == 0)
		rc = enter(map, table);
	rp_dma_visit_end(space, visit);
	return rc;
}

/* It was never given out. Others are called only if it was in their way. */
static int
refuse(struct rp_dma_map *map, int error)
{
	struct rp_dma_space *space = map->space;

	if (rp_dma_books_leave(space, map->booked_bytes))
		rp_dma_books_notify(space);
	destroy(map);
	return error;
}

/* @return as enter(), but not -EAGAIN, or why not. */
static int
make_map(const struct rp_dma_map *wanted, struct rp_dma_map **ret_map, struct rp_dma_map *ret_found)
{
	struct rp_dma_map *map;
	int rc;

	do {
		rc = rp_dma_books_enter(wanted->space);
		if (rc < 0)
			return rc;
		map = malloc(sizeof(*map));
		if (map == NULL) {
			rp_dma_books_leave(wanted->space, 0);
			return -ENOMEM;
		}
		*map = *wanted;
		*ret_map = map;
		rc = look_up_and_enter(map, ret_found);
		if (rc < 0)
			refuse(map, rc);
	} while (rc == -EAGAIN);
	return rc;
}

int
rp_dma_map_start(struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes, uint32_t access_mask,
		 rp_dma_map_done *done, void *ctx)
{
	const struct rp_dma_map wanted = {
		.space = space,
		.iova = iova,
		.size_bytes = size_bytes,
		.access_mask = access_mask,
		.map_done = done,
		.ctx = ctx,
	};
	struct rp_dma_map *map, found;
	int rc;

	if (size_bytes == 0 || access_mask == 0 || (access_mask & ~(RP_DMA_READ | RP_DMA_WRITE)) != 0)
		return -EINVAL;
	rc = make_map(&wanted, &map, &found);
	if (rc < 0)
		return rc;
	if (rc == 0) {
		done(ctx, 0, found.bytes, found.size_bytes);
		return 0;
	}
	rc = submit_move(map);
	return rc < 0 ? refuse(map, rc) : 0;
}

/* Lock held. */
static struct rp_dma_map *
find(struct rp_dma_space *space, const void *bytes, uint64_t size_bytes, uint32_t access_mask)
{
	struct rp_dma_map *map;

	for (map = LIST_FIRST(bucket_of(space, bytes)); map != NULL; map = LIST_NEXT(map, link)) {
		if (map->bytes == bytes && map->size_bytes == size_bytes && map->access_mask == access_mask)
			return map;
	}
	return NULL;
}

/* Nothing is to be written back, or it cannot be. */
static void
unmap_now(struct rp_dma_map *map, uint64_t written_bytes, int error)
{
	struct rp_dma_space *space = map->space;

	if (written_bytes > 0 && map->buffer == NULL)
		rp_dma_log_mark(space, map->iova, written_bytes);
	pthread_mutex_lock(&space->lock);
	let_go(map);
	pthread_mutex_unlock(&space->lock);
	end_map(map, error);
}

int
rp_dma_unmap_start(struct rp_dma_space *space, void *bytes, uint64_t size_bytes, uint32_t access_mask,
		   uint64_t accessed_bytes, rp_dma_unmap_done *done, void *ctx)
{
	uint64_t written_bytes = (access_mask & RP_DMA_WRITE) != 0 ? accessed_bytes : 0;
	struct rp_dma_map *map;
	bool moves = false;
	int rc = 0;

	if (accessed_bytes > size_bytes)
		return -EINVAL;
	pthread_mutex_lock(&space->lock);
	map = find(space, bytes, size_bytes, access_mask);
	if (map == NULL) {
		pthread_mutex_unlock(&space->lock);
		return -EINVAL;
	}
	LIST_REMOVE(map, link);
	map->unmap_done = done;
	map->ctx = ctx;
	if (!has_magic(map)) {
		rc = -EINVAL;
	} else if (map->buffer != NULL && written_bytes > 0) {
		if (map->hold.ended)
			rc = -ECANCELED;
		else
			begin_move(map, true, written_bytes);
		moves = rc == 0;
	}
	pthread_mutex_unlock(&space->lock);
	if (!moves)
		unmap_now(map, written_bytes, rc);
	else if ((rc = submit_move(map)) < 0)
		end_map(map, rc);
	return 0;
}

/* A call of this thread that waits for one of the others' done(). */
struct wait {
	sem_t finished;
	int error;
	void *bytes;
	uint64_t size_bytes;
};

static void
map_waited_for(void *ctx, int error, void *bytes, uint64_t size_bytes)
{
	struct wait *wait = ctx;

	wait->error = error;
	wait->bytes = bytes;
	wait->size_bytes = size_bytes;
	sem_post(&wait->finished);
}

static void
unmap_waited_for(void *ctx, int error)
{
	struct wait *wait = ctx;

	wait->error = error;
	sem_post(&wait->finished);
}

static int
wait_for(struct wait *wait)
{
	while (sem_wait(&wait->finished) < 0 && errno == EINTR)
		;
	sem_destroy(&wait->finished);
	return wait->error;
}

int
rp_dma_map(struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes, uint32_t access_mask, void **ret_bytes,
	   uint64_t *ret_size_bytes)
{
	struct wait wait = {0};
	int rc;

	sem_init(&wait.finished, 0, 0);
	rc = rp_dma_map_start(space, iova, size_bytes, access_mask, map_waited_for, &wait);
	if (rc == 0)
		rc = wait_for(&wait);
	if (rc < 0)
		return rc;
	*ret_bytes = wait.bytes;
	*ret_size_bytes = wait.size_bytes;
	return 0;
}

int
rp_dma_unmap(struct rp_dma_space *space, void *bytes, uint64_t size_bytes, uint32_t access_mask,
	     uint64_t accessed_bytes)
{
	struct wait wait = {0};
	int rc;

	sem_init(&wait.finished, 0, 0);
	rc = rp_dma_unmap_start(space, bytes, size_bytes, access_mask, accessed_bytes, unmap_waited_for, &wait);
	return rc < 0 ? rc : wait_for(&wait);
}

/* Lock held; released for the calls. finished() leaves the map to us once it is marked. */
static void
end_moving(struct rp_dma_space *space, struct rp_dma_map *map)
{
	map->ending = true;
	pthread_mutex_unlock(&space->lock);
	space->carrier->cancel(space->carrier_ctx, &map->transfer);
	pthread_mutex_lock(&space->lock);
	LIST_REMOVE(map, link);
	let_go(map);
	pthread_mutex_unlock(&space->lock);
	end_map(map, -ECANCELED);
	pthread_mutex_lock(&space->lock);
}

void
rp_dma_maps_end(struct rp_dma_space *space)
{
	struct rp_dma_map *map;
	uint32_t i;

	pthread_mutex_lock(&space->lock);
	while ((map = LIST_FIRST(&space->maps.moving)) != NULL)
		end_moving(space, map);
	for (i = 0; i < RP_DMA_MAP_BUCKETS; i++) {
		while ((map = LIST_FIRST(&space->maps.out[i])) != NULL) {
			LIST_REMOVE(map, link);
			let_go(map);
			rp_dma_books_leave(space, map->booked_bytes);
			destroy(map);
		}
	}
	pthread_mutex_unlock(&space->lock);
}
