/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "rp_wire_fd.h"
#include "vfu_client_memory.h"

#define FIRST_ROOM 16
#define ACCESS_MASK (RP_VFU_DMA_MAP_READ_MASK | RP_VFU_DMA_MAP_WRITE_MASK)

void
rp_vfu_backing_put(struct rp_vfu_backing *backing)
{
	if (--backing->refs_count > 0)
		return;
	if (backing->mapping != NULL)
		munmap(backing->mapping, backing->mapping_bytes);
	free(backing);
}

/* The first range that ends at or behind an address. */
static size_t
position(const struct rp_vfu_memory *memory, uint64_t iova)
{
	size_t low = 0, high = memory->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memory->ranges[middle].last < iova)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int
make_room(struct rp_vfu_memory *memory, size_t more)
{
	struct rp_vfu_range *bigger;
	size_t room = memory->room == 0 ? FIRST_ROOM : memory->room;

	if (memory->count + more <= memory->room)
		return 0;
	while (room < memory->count + more)
		room *= 2;
	bigger = realloc(memory->ranges, room * sizeof(*bigger));
	if (bigger == NULL)
		return -ENOMEM;
	memory->ranges = bigger;
	memory->room = room;
	return 0;
}

/* Room was made. */
static void
insert(struct rp_vfu_memory *memory, size_t at, const struct rp_vfu_range *range)
{
	memmove(&memory->ranges[at + 1], &memory->ranges[at], (memory->count - at) * sizeof(*range));
	memory->ranges[at] = *range;
	memory->count++;
}

static void
erase(struct rp_vfu_memory *memory, size_t from, size_t to)
{
	memmove(&memory->ranges[from], &memory->ranges[to], (memory->count - to) * sizeof(*memory->ranges));
	memory->count -= to - from;
}

static bool
is_free(const struct rp_vfu_memory *memory, uint64_t iova, uint64_t last)
{
	size_t at = position(memory, iova);

	return at == memory->count || memory->ranges[at].iova > last;
}

/* Whether every byte is there: behind the end of a file is a signal that ends the process. */
static bool
covers(int fd, uint64_t offset_bytes, uint64_t size_bytes)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && offset_bytes <= (uint64_t)st.st_size &&
	       size_bytes <= (uint64_t)st.st_size - offset_bytes;
}

static uint8_t *
map_descriptor(struct rp_vfu_backing *backing, const struct rp_vfu_client_memory *given)
{
	uint64_t page_bytes = rp_wire_fd_page_bytes(given->fd), slack_bytes = given->offset_bytes % page_bytes;
	uint64_t map_bytes;
	int protection = (given->access_mask & RP_VFU_DMA_MAP_READ_MASK) != 0 ? PROT_READ : 0;
	void *mapping;

	if ((given->access_mask & RP_VFU_DMA_MAP_WRITE_MASK) != 0)
		protection |= PROT_WRITE;
	if (given->size_bytes > SIZE_MAX - slack_bytes - page_bytes ||
	    !covers(given->fd, given->offset_bytes, given->size_bytes))
		return NULL;
	map_bytes = (slack_bytes + given->size_bytes + page_bytes - 1) / page_bytes * page_bytes;
	mapping = mmap(NULL, map_bytes, protection, MAP_SHARED | MAP_NORESERVE, given->fd,
		       (off_t)(given->offset_bytes - slack_bytes));
	if (mapping == MAP_FAILED)
		return NULL;
	backing->mapping = mapping;
	backing->mapping_bytes = map_bytes;
	return (uint8_t *)mapping + slack_bytes;
}

static int
check_given(const struct rp_vfu_client_memory *given, struct rp_wire_why *why)
{
	if (given->size_bytes == 0 || given->size_bytes - 1 > UINT64_MAX - given->iova)
		return rp_wire_why_set(why, -EINVAL, "memory: 0x%" PRIx64 " bytes at 0x%" PRIx64, given->size_bytes,
				       given->iova);
	if (given->access_mask == 0 || (given->access_mask & ~ACCESS_MASK) != 0)
		return rp_wire_why_set(why, -EINVAL, "memory: access 0x%x, expected readable, writeable or both",
				       given->access_mask);
	if (given->hva != NULL && given->size_bytes - 1 > UINTPTR_MAX - (uintptr_t)given->hva)
		return rp_wire_why_set(why, -EINVAL, "memory: 0x%" PRIx64 " bytes at %p", given->size_bytes,
				       given->hva);
	return 0;
}

int
rp_vfu_memory_add(struct rp_vfu_memory *memory, const struct rp_vfu_client_memory *given,
		  struct rp_vfu_backing **ret_backing, struct rp_wire_why *why)
{
	struct rp_vfu_range range = {.iova = given->iova, .hva = given->hva, .access_mask = given->access_mask};
	int rc = check_given(given, why);

	if (rc < 0)
		return rc;
	range.last = given->iova + (given->size_bytes - 1);
	if (!is_free(memory, range.iova, range.last))
		return rp_wire_why_set(why, -EEXIST, "memory: 0x%" PRIx64 " bytes at 0x%" PRIx64 " overlap a mapping",
				       given->size_bytes, given->iova);
	range.backing = calloc(1, sizeof(*range.backing));
	if (range.backing == NULL || make_room(memory, 1) < 0) {
		free(range.backing);
		return rp_wire_why_set(why, -ENOMEM, "memory: no memory for a range");
	}
	range.backing->refs_count = 2;
	if (range.hva == NULL && given->fd >= 0)
		range.hva = map_descriptor(range.backing, given);
	insert(memory, position(memory, range.iova), &range);
	*ret_backing = range.backing;
	return 0;
}

/* The part of a range from an address on; the address lies in it. */
static struct rp_vfu_range
tail_of(const struct rp_vfu_range *range, uint64_t iova)
{
	struct rp_vfu_range tail = *range;

	tail.iova = iova;
	if (tail.hva != NULL)
		tail.hva += iova - range->iova;
	return tail;
}

/* Cut a range in two, so that one begins at an address. Room was made. */
static void
split(struct rp_vfu_memory *memory, size_t at, uint64_t iova)
{
	struct rp_vfu_range tail = tail_of(&memory->ranges[at], iova);

	memory->ranges[at].last = iova - 1;
	tail.backing->refs_count++;
	insert(memory, at + 1, &tail);
}

int
rp_vfu_memory_take(struct rp_vfu_memory *memory, uint64_t iova, uint64_t last, struct rp_vfu_memory *into)
{
	size_t from = position(memory, iova), to = from;

	while (to < memory->count && memory->ranges[to].iova <= last)
		to++;
	if (from == to)
		return 0;
	if (make_room(memory, 2) < 0 || make_room(into, to - from + 1) < 0)
		return -ENOMEM;
	if (memory->ranges[from].iova < iova) {
		split(memory, from, iova);
		from++;
		to++;
	}
	if (memory->ranges[to - 1].last > last)
		split(memory, to - 1, last + 1);
	memcpy(&into->ranges[into->count], &memory->ranges[from], (to - from) * sizeof(*memory->ranges));
	into->count += to - from;
	erase(memory, from, to);
	return 0;
}

void
rp_vfu_memory_put_back(struct rp_vfu_memory *memory, struct rp_vfu_memory *from)
{
	size_t i;

	for (i = 0; i < from->count; i++) {
		const struct rp_vfu_range *range = &from->ranges[i];

		if (range->backing->refused || !is_free(memory, range->iova, range->last) || make_room(memory, 1) < 0)
			rp_vfu_backing_put(range->backing);
		else
			insert(memory, position(memory, range->iova), range);
	}
	free(from->ranges);
	memset(from, 0, sizeof(*from));
}

void
rp_vfu_memory_refuse(struct rp_vfu_memory *memory, struct rp_vfu_backing *backing)
{
	size_t i, kept = 0;

	backing->refused = true;
	for (i = 0; i < memory->count; i++) {
		if (memory->ranges[i].backing == backing)
			backing->refs_count--;
		else
			memory->ranges[kept++] = memory->ranges[i];
	}
	memory->count = kept;
}

const struct rp_vfu_range *
rp_vfu_memory_find(const struct rp_vfu_memory *memory, uint64_t iova)
{
	size_t at = position(memory, iova);

	if (at == memory->count || memory->ranges[at].iova > iova || memory->ranges[at].backing->refused)
		return NULL;
	return &memory->ranges[at];
}

void
rp_vfu_memory_clear(struct rp_vfu_memory *memory)
{
	size_t i;

	for (i = 0; i < memory->count; i++)
		rp_vfu_backing_put(memory->ranges[i].backing);
	free(memory->ranges);
	memset(memory, 0, sizeof(*memory));
}
