/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rp_dma_bounce.h"
#include "rp_dma_view.h"
#include "rp_wire_fd.h"

/*
 * Theory of operation. Each piece is held by a direct map (rp_dma_bounce.h), so that
 * its address here stands for these pages and no others until the listener was told
 * that they go. A reader compares addresses, which finds at once what is no longer
 * mapped; the mark that the listener sets outlasts whatever is mapped there later.
 */

struct piece {
	uint64_t iova; /* of the view */
	uint64_t address; /* in the space: the same, unless it is translated */
	uint64_t size_bytes;
	void *hva; /* atomic; held; NULL: let go of */
};

struct rp_dma_view {
	struct rp_dma_space *space;
	struct rp_dma_atc *atc; /* NULL: nothing is translated */
	struct rp_dma_listener listener;
	uint64_t iova;
	uint64_t size_bytes;
	uint32_t access_mask;
	_Atomic bool gone;
	uint8_t *base; /* of the reserved addresses; whole pages */
	size_t base_bytes;
	size_t lead_bytes; /* from there to the first byte */
	uint32_t pieces_count;
	uint32_t pieces_room;
	struct piece *pieces;
};

static size_t
page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static void
let_go(struct rp_dma_view *view)
{
	uint32_t i;

	for (i = 0; i < view->pieces_count; i++) {
		struct piece *piece = &view->pieces[i];

		if (piece->hva != NULL)
			rp_dma_unmap_start(view->space, piece->hva, piece->size_bytes, view->access_mask, 0, NULL,
					   NULL);
		__atomic_store_n(&piece->hva, NULL, __ATOMIC_RELAXED);
	}
}

static void
on_going(struct rp_dma_listener *listener, uint64_t first_iova, uint64_t last_iova)
{
	struct rp_dma_view *view = listener->ctx;
	uint32_t i;

	for (i = 0; i < view->pieces_count; i++) {
		const struct piece *piece = &view->pieces[i];

		if (first_iova > piece->address + (piece->size_bytes - 1) || last_iova < piece->address)
			continue;
		atomic_store_explicit(&view->gone, true, memory_order_release);
		let_go(view);
		return;
	}
}

static struct piece *
add_piece(struct rp_dma_view *view)
{
	if (view->pieces_count == view->pieces_room) {
		uint32_t room = view->pieces_room == 0 ? 8 : 2 * view->pieces_room;
		struct piece *more = realloc(view->pieces, room * sizeof(*more));

		if (more == NULL)
			return NULL;
		view->pieces = more;
		view->pieces_room = room;
	}
	return &view->pieces[view->pieces_count];
}

static bool
find(const struct rp_dma_space *space, uint64_t iova, struct rp_dma_mapping *ret_mapping)
{
	return rp_dma_space_next(space, iova, ret_mapping) && ret_mapping->iova <= iova;
}

/* Lay the pages of a piece, which are in one mapping, over the reserved ones. */
static int
lay(struct rp_dma_view *view, const struct piece *piece, const struct rp_dma_mapping *mapping, struct rp_wire_why *why)
{
	uint64_t offset_bytes = mapping->offset_bytes + (piece->address - mapping->iova), page = page_bytes();
	uint64_t at_bytes = view->lead_bytes + (piece->iova - view->iova), lead_bytes = offset_bytes % page;
	bool is_last = piece->iova + (piece->size_bytes - 1) == view->iova + (view->size_bytes - 1);

	if (at_bytes % page != lead_bytes || (piece->iova != view->iova && lead_bytes != 0) ||
	    (!is_last && (offset_bytes + piece->size_bytes) % page != 0))
		return rp_wire_why_set(why, -ENOTSUP,
				       "view: the mapping of 0x%" PRIx64 " does not begin and end with a page",
				       piece->iova);
	if (rp_wire_fd_page_bytes(mapping->fd) != page)
		return rp_wire_why_set(why, -ENOTSUP,
				       "view: 0x%" PRIx64 " is in pages of %" PRIu64 " bytes, expected %" PRIu64,
				       piece->iova, rp_wire_fd_page_bytes(mapping->fd), page);
	if (mmap(view->base + (at_bytes - lead_bytes), piece->size_bytes + lead_bytes, (int)view->access_mask,
		 MAP_SHARED | MAP_NORESERVE | MAP_FIXED, mapping->fd, (off_t)(offset_bytes - lead_bytes)) == MAP_FAILED)
		return rp_wire_why_set(why, errno == EINVAL ? -ENOTSUP : -ENOSPC, "view: mmap at 0x%" PRIx64 ": %s",
				       piece->iova, strerror(errno));
	return 0;
}

/* Where an address of the view leads to in the space, and how far. @return 0 or -EAGAIN. */
static int
lead_to(const struct rp_dma_view *view, uint64_t iova, uint64_t *ret_address, uint64_t *ret_bytes)
{
	struct rp_dma_translation translation;

	if (view->atc == NULL) {
		*ret_address = iova;
		return 0;
	}
	if (rp_dma_atc_find(view->atc, RP_DMA_NO_PASID, iova, view->access_mask, &translation) < 0)
		return -EAGAIN;
	*ret_address = translation.address;
	if (translation.size_bytes < *ret_bytes)
		*ret_bytes = translation.size_bytes;
	return 0;
}

static int
no_access(uint64_t iova, struct rp_wire_why *why)
{
	return rp_wire_why_set(why, -EBADMSG, "view: 0x%" PRIx64 " is not mapped with that access and a file", iova);
}

static int
join_piece(struct rp_dma_view *view, uint64_t iova, uint64_t left_bytes, uint64_t *ret_bytes, struct rp_wire_why *why)
{
	struct rp_dma_mapping mapping;
	struct piece *piece = add_piece(view);
	int rc;

	if (piece == NULL)
		return rp_wire_why_set(why, -ENOSPC, "view: no memory");
	*piece = (struct piece){.iova = iova, .size_bytes = left_bytes};
	rc = lead_to(view, iova, &piece->address, &piece->size_bytes);
	if (rc < 0)
		return rp_wire_why_set(why, rc, "view: where 0x%" PRIx64 " leads to is not known", iova);
	if (!find(view->space, piece->address, &mapping) || mapping.hva == NULL ||
	    (mapping.access_mask & view->access_mask) != view->access_mask)
		return no_access(iova, why);
	if (piece->size_bytes > mapping.size_bytes - (piece->address - mapping.iova))
		piece->size_bytes = mapping.size_bytes - (piece->address - mapping.iova);
	rc = lay(view, piece, &mapping, why);
	if (rc < 0)
		return rc;
	rc = rp_dma_map(view->space, piece->address, piece->size_bytes, view->access_mask, &piece->hva, ret_bytes);
	if (rc < 0)
		return rp_wire_why_set(why, -ENOSPC, "view: cannot hold 0x%" PRIx64 ": %s", iova, strerror(-rc));
	view->pieces_count++;
	return 0;
}

static int
join(struct rp_dma_view *view, struct rp_wire_why *why)
{
	uint64_t iova = view->iova, left_bytes = view->size_bytes;

	while (left_bytes > 0) {
		uint64_t bytes = 0;
		int rc = join_piece(view, iova, left_bytes, &bytes, why);

		if (rc < 0)
			return rc;
		iova += bytes;
		left_bytes -= bytes;
	}
	return 0;
}

/* Where in its page the first byte lies, in its file and so everywhere. */
static int
reserve(struct rp_dma_view *view, struct rp_wire_why *why)
{
	struct rp_dma_mapping mapping;
	uint64_t address = 0, bytes = view->size_bytes;
	size_t page = page_bytes();

	if (lead_to(view, view->iova, &address, &bytes) < 0)
		return rp_wire_why_set(why, -EAGAIN, "view: where 0x%" PRIx64 " leads to is not known", view->iova);
	if (!find(view->space, address, &mapping) || mapping.hva == NULL)
		return no_access(view->iova, why);
	view->lead_bytes = (mapping.offset_bytes + (address - mapping.iova)) % page;
	view->base_bytes = (view->lead_bytes + view->size_bytes + page - 1) / page * page;
	view->base = mmap(NULL, view->base_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (view->base == MAP_FAILED) {
		view->base = NULL;
		return rp_wire_why_set(why, -ENOSPC, "view: %s", strerror(errno));
	}
	return 0;
}

static int
check(uint64_t iova, uint64_t size_bytes, uint32_t access_mask, struct rp_wire_why *why)
{
	uint64_t last_iova;

	if (size_bytes == 0 || access_mask == 0 || (access_mask & ~(RP_DMA_READ | RP_DMA_WRITE)) != 0)
		return rp_wire_why_set(why, -EINVAL, "view: size 0x%" PRIx64 ", access 0x%" PRIx32, size_bytes,
				       access_mask);
	if (__builtin_add_overflow(iova, size_bytes - 1, &last_iova) || size_bytes > SIZE_MAX / 2)
		return rp_wire_why_set(why, -EBADMSG,
				       "view: address 0x%" PRIx64 " and size 0x%" PRIx64 " end beyond 2^64", iova,
				       size_bytes);
	return 0;
}

int
rp_dma_view_create(struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes, uint32_t access_mask,
		   struct rp_dma_view **ret_view, struct rp_wire_why *why)
{
	return rp_dma_view_create_translated(space, NULL, iova, size_bytes, access_mask, ret_view, why);
}

int
rp_dma_view_create_translated(struct rp_dma_space *space, struct rp_dma_atc *atc, uint64_t iova, uint64_t size_bytes,
			      uint32_t access_mask, struct rp_dma_view **ret_view, struct rp_wire_why *why)
{
	struct rp_dma_view *view;
	int rc = check(iova, size_bytes, access_mask, why);

	if (rc < 0)
		return rc;
	view = calloc(1, sizeof(*view));
	if (view == NULL)
		return rp_wire_why_set(why, -ENOSPC, "view: no memory");
	view->space = space;
	view->atc = atc;
	view->iova = iova;
	view->size_bytes = size_bytes;
	view->access_mask = access_mask;
	view->listener = (struct rp_dma_listener){.going = on_going, .ctx = view};
	rp_dma_space_listen(space, &view->listener);
	rc = reserve(view, why);
	if (rc == 0)
		rc = join(view, why);
	if (rc < 0) {
		rp_dma_view_destroy(view);
		return rc;
	}
	madvise(view->base, view->base_bytes, MADV_DONTDUMP);
	*ret_view = view;
	return 0;
}

struct rp_dma_view *
rp_dma_view_destroy(struct rp_dma_view *view)
{
	if (view == NULL)
		return NULL;
	rp_dma_space_unlisten(view->space, &view->listener);
	let_go(view);
	if (view->base != NULL)
		munmap(view->base, view->base_bytes);
	free(view->pieces);
	free(view);
	return NULL;
}

void *
rp_dma_view_translate(const struct rp_dma_view *view, struct rp_dma_reader *reader)
{
	uint32_t i;

	for (i = 0; i < view->pieces_count; i++) {
		const struct piece *piece = &view->pieces[i];
		uint64_t here_bytes;
		const void *hva = __atomic_load_n(&piece->hva, __ATOMIC_RELAXED);

		uint64_t address, bytes = piece->size_bytes;

		if (hva == NULL || lead_to(view, piece->iova, &address, &bytes) < 0 || address != piece->address ||
		    bytes < piece->size_bytes ||
		    rp_dma_reader_translate(reader, address, bytes, view->access_mask, &here_bytes) != hva ||
		    here_bytes != bytes)
			return NULL;
	}
	return atomic_load_explicit(&view->gone, memory_order_acquire) ? NULL : view->base + view->lead_bytes;
}
