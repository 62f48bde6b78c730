/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev.h"
#include "mirror.h"
#include "ring.h"

#define PART_ALIGN_BYTES 64u
#define LIST_ROOM_MIN 64u

static size_t
round_up(size_t bytes)
{
	return (bytes + PART_ALIGN_BYTES - 1) / PART_ALIGN_BYTES * PART_ALIGN_BYTES;
}

static int
make_memory(struct rp_vring_mirror *mirror, const struct rp_vring_layout *layout)
{
	uint64_t bytes[RP_VRING_PARTS_COUNT];
	size_t total_bytes = 0;
	unsigned int i;

	rp_vring_part_bytes(layout, bytes);
	for (i = 0; i < RP_VRING_PARTS_COUNT; i++)
		total_bytes += round_up(bytes[i]);
	mirror->memory = aligned_alloc(PART_ALIGN_BYTES, total_bytes);
	mirror->window = malloc(bytes[MIRROR_DESC]);
	if (mirror->memory == NULL || mirror->window == NULL)
		return -ENOMEM;
	/* Nothing in a zeroed ring is available, in either format and on any lap. */
	memset(mirror->memory, 0, total_bytes);
	for (i = 0, total_bytes = 0; i < RP_VRING_PARTS_COUNT; i++) {
		mirror->parts[i] = mirror->memory + total_bytes;
		total_bytes += round_up(bytes[i]);
	}
	return 0;
}

/* Where the copy begins: the driver made nothing available before the position. */
static void
set_position(struct rp_vring_mirror *mirror, uint32_t position)
{
	if (mirror->ring.packed) {
		mirror->accept_at = (uint16_t)(position & 0x7fffu);
		mirror->accept_wrap = (position >> 15 & 1) != 0;
		return;
	}
	vring_store16(mirror->parts[MIRROR_DRIVER] + 2, (uint16_t)position);
	vring_store16(mirror->parts[MIRROR_DEVICE] + 2, (uint16_t)position);
	mirror->index = (uint16_t)position;
}

int
rp_vring_mirror_create(const struct rp_vring_layout *layout, uint32_t position, const struct rp_vring_mirror_ops *ops,
		       void *ctx, struct rp_vring_mirror **ret_mirror, struct rp_wire_why *why)
{
	struct rp_vring_mirror *mirror = calloc(1, sizeof(*mirror));
	struct rp_vring_copy copy;
	int rc;

	if (mirror == NULL || make_memory(mirror, layout) < 0) {
		rp_vring_mirror_destroy(mirror);
		return rp_wire_why_set(why, -ENOMEM, "ring: no memory for a copy of %u entries", layout->num);
	}
	memcpy(copy.parts, mirror->parts, sizeof(copy.parts));
	rc = rp_vring_dev_init_copy(&mirror->ring, layout, position, &copy, why);
	if (rc < 0) {
		rp_vring_mirror_destroy(mirror);
		return rc;
	}
	mirror->ops = ops;
	mirror->ctx = ctx;
	mirror->iovas[MIRROR_DESC] = layout->desc_iova;
	mirror->iovas[MIRROR_DRIVER] = layout->avail_iova;
	mirror->iovas[MIRROR_DEVICE] = layout->used_iova;
	set_position(mirror, position);
	*ret_mirror = mirror;
	return 0;
}

struct rp_vring_mirror *
rp_vring_mirror_destroy(struct rp_vring_mirror *mirror)
{
	if (mirror == NULL)
		return NULL;
	free(mirror->list.segments);
	free(mirror->window);
	free(mirror->memory);
	free(mirror);
	return NULL;
}

int
rp_vring_mirror_add(struct rp_vring_mirror *mirror, uint64_t iova, void *bytes, uint64_t size_bytes)
{
	struct mirror_list *list = &mirror->list;

	if (size_bytes == 0)
		return 0;
	if (list->count == list->room) {
		unsigned int room = list->room == 0 ? LIST_ROOM_MIN : 2 * list->room;
		struct rp_dma_segment *more = realloc(list->segments, room * sizeof(*more));

		if (more == NULL)
			return -ENOMEM;
		list->segments = more;
		list->room = room;
	}
	list->segments[list->count++] = (struct rp_dma_segment){.iova = iova, .size_bytes = size_bytes, .bytes = bytes};
	return 0;
}

int
rp_vring_mirror_look(struct rp_vring_mirror *mirror)
{
	int rc = mirror->ring.broken_why != NULL ? -EBADMSG : 0;

	if (rc == 0)
		rc = mirror->ring.packed ? rp_vring_mirror_packed_look(mirror) : rp_vring_mirror_split_look(mirror);
	return rc < 0 ? rc : rp_vring_dev_available(&mirror->ring);
}

/* Room for the tables of some chains, one behind the other. */
static uint64_t
tables_bytes(const struct rp_vring_chain *chains, int count)
{
	uint64_t bytes = 0;
	int i;

	for (i = 0; i < count; i++)
		bytes += chains[i].table.size_bytes;
	return bytes;
}

static int
fetch_tables(struct rp_vring_mirror *mirror, struct rp_vring_chain *chains, int count)
{
	uint64_t total_bytes = tables_bytes(chains, count);
	unsigned int kept_count = mirror->list.count;
	uint8_t *tables, *at;
	int i, rc = 0;

	if (total_bytes == 0)
		return 0;
	tables = malloc(total_bytes);
	if (tables == NULL)
		return -ENOMEM;
	for (i = 0, at = tables; rc == 0 && i < count; at += chains[i++].table.size_bytes)
		rc = rp_vring_mirror_add(mirror, chains[i].table.iova, at, chains[i].table.size_bytes);
	if (rc == 0)
		rc = mirror->ops->read(mirror->ctx, mirror->list.segments + kept_count,
				       mirror->list.count - kept_count);
	mirror->list.count = kept_count;
	for (i = 0, at = tables; rc == 0 && i < count; i++) {
		uint64_t table_bytes = chains[i].table.size_bytes;

		rc = rp_vring_dev_follow(&mirror->ring, &chains[i], at);
		at += table_bytes;
	}
	free(tables);
	if (rc == -EFAULT)
		return rp_vring_dev_break(&mirror->ring, "an indirect table is not mapped");
	return rc;
}

int
rp_vring_mirror_peek(struct rp_vring_mirror *mirror, struct rp_vring_chain *ret_chains, uint16_t count)
{
	int rc, i;

	for (i = 0; i < count; i++) {
		rc = rp_vring_dev_peek(&mirror->ring, (uint16_t)i, &ret_chains[i]);
		if (rc < 0)
			return rc;
		if (rc == 0)
			break;
	}
	rc = fetch_tables(mirror, ret_chains, i);
	return rc < 0 ? rc : i;
}

void
rp_vring_mirror_advance(struct rp_vring_mirror *mirror, uint16_t count)
{
	rp_vring_dev_advance(&mirror->ring, count);
}

int
rp_vring_mirror_write(struct rp_vring_mirror *mirror, uint64_t iova, const void *bytes, uint64_t size_bytes)
{
	/* One type of segment serves both directions; a write only reads from it. */
	return rp_vring_mirror_add(mirror, iova, (void *)(uintptr_t)bytes, size_bytes);
}

int
rp_vring_mirror_give(struct rp_vring_mirror *mirror, uint16_t head, uint32_t written_bytes)
{
	uint32_t from = rp_vring_dev_position_used(&mirror->ring);
	int rc;

	if (mirror->step != MIRROR_ENTRIES)
		return -EBUSY;
	rc = rp_vring_dev_push(&mirror->ring, head, written_bytes);
	if (rc < 0)
		return rc;
	if (mirror->given_count++ == 0)
		mirror->given_from = from;
	return 0;
}

bool
rp_vring_mirror_is_due(const struct rp_vring_mirror *mirror)
{
	return mirror->given_count > 0 || mirror->list.count > 0 || mirror->step != MIRROR_ENTRIES;
}

static int
carry_entries(struct rp_vring_mirror *mirror)
{
	unsigned int kept_count = mirror->list.count;
	int rc = mirror->ring.packed ? rp_vring_mirror_packed_entries(mirror) : rp_vring_mirror_split_entries(mirror);

	if (rc == 0)
		rc = mirror->ops->write(mirror->ctx, mirror->list.segments, mirror->list.count);
	mirror->list.count = rc == 0 ? 0 : kept_count;
	return rc;
}

static int
take_step(struct rp_vring_mirror *mirror)
{
	bool packed = mirror->ring.packed;

	switch (mirror->step) {
	case MIRROR_ENTRIES:
		return carry_entries(mirror);
	case MIRROR_INDEX:
		return packed ? rp_vring_mirror_packed_show(mirror) : rp_vring_mirror_split_show(mirror);
	default:
		return packed ? rp_vring_mirror_packed_wish(mirror) : rp_vring_mirror_split_wish(mirror);
	}
}

int
rp_vring_mirror_flush(struct rp_vring_mirror *mirror)
{
	if (mirror->ring.broken_why != NULL)
		return -EBADMSG;
	if (!rp_vring_mirror_is_due(mirror))
		return 0;
	mirror->hinted = false;
	for (;;) {
		int rc = take_step(mirror);

		if (rc == -EFAULT)
			return rp_vring_dev_break(&mirror->ring, "memory is not mapped with the access it needs");
		if (rc < 0)
			return rc;
		if (mirror->step == MIRROR_WISH)
			break;
		mirror->step = (enum mirror_step)(mirror->step + 1);
	}
	mirror->step = MIRROR_ENTRIES;
	mirror->given_count = 0;
	mirror->shown = false;
	return rp_vring_dev_needs_interrupt(&mirror->ring);
}

int
rp_vring_mirror_ask(struct rp_vring_mirror *mirror)
{
	struct rp_dma_segment wish;
	uint32_t value = 0;
	int rc = rp_vring_dev_set_notify(&mirror->ring, true);

	if (rc < 0)
		return rc;
	wish = mirror->ring.packed ? rp_vring_mirror_packed_notify(mirror) : rp_vring_mirror_split_notify(mirror);
	memcpy(&value, wish.bytes, wish.size_bytes);
	if (!mirror->asked || value != mirror->asked_value) {
		/* Until it is known to have arrived nothing is known. */
		mirror->asked = false;
		rc = mirror->ops->write(mirror->ctx, &wish, 1);
		if (rc == -EFAULT)
			return rp_vring_dev_break(&mirror->ring, "what the device writes is not mapped writable");
		if (rc < 0)
			return rc;
		mirror->asked = true;
		mirror->asked_value = value;
	}
	mirror->hinted = false;
	return rp_vring_mirror_look(mirror);
}

uint32_t
rp_vring_mirror_position(const struct rp_vring_mirror *mirror)
{
	if (mirror->given_count == 0 || mirror->step == MIRROR_WISH ||
	    (mirror->step == MIRROR_INDEX && !mirror->ring.packed))
		return rp_vring_dev_position_used(&mirror->ring);
	return mirror->given_from;
}

const char *
rp_vring_mirror_why(const struct rp_vring_mirror *mirror)
{
	return rp_vring_dev_why(&mirror->ring);
}
