/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "dev.h"
#include "mirror.h"
#include "split.h"

static int
read_index(struct rp_vring_mirror *mirror)
{
	struct rp_dma_segment segment = {
		.iova = mirror->iovas[MIRROR_DRIVER] + SPLIT_INDEX_AT,
		.size_bytes = sizeof(uint16_t),
		.bytes = &mirror->index,
	};

	if (mirror->hinted) {
		mirror->hinted = false;
		return 0;
	}
	return mirror->ops->read(mirror->ctx, &segment, 1);
}

/* Entries number `first` to `first + count - 1` of a ring, which go around its end. */
static unsigned int
entries(const struct rp_vring_mirror *mirror, unsigned int part, uint16_t first, uint16_t count, uint32_t entry_bytes,
	struct rp_dma_segment ret_segments[2])
{
	uint16_t num = mirror->ring.layout.num, place = first & (num - 1);
	uint16_t to_end = (uint16_t)(num - place), here = count < to_end ? count : to_end;

	ret_segments[0] = mirror_segment(mirror, part, SPLIT_ENTRIES_AT + (uint64_t)place * entry_bytes,
					 (uint64_t)here * entry_bytes);
	if (here == count)
		return 1;
	ret_segments[1] = mirror_segment(mirror, part, SPLIT_ENTRIES_AT, (uint64_t)(count - here) * entry_bytes);
	return 2;
}

/*
 * The entries and all descriptors: which of them a chain takes is known only when
 * they are read, and a round trip costs more than a table.
 */
int
rp_vring_mirror_split_look(struct rp_vring_mirror *mirror)
{
	uint8_t *at = mirror->parts[MIRROR_DRIVER] + SPLIT_INDEX_AT;
	uint16_t num = mirror->ring.layout.num, index, count;
	struct rp_dma_segment segments[3];
	unsigned int used;
	int rc = read_index(mirror);

	if (rc == -EFAULT)
		return rp_vring_dev_break(&mirror->ring, "the available ring is not mapped readable");
	if (rc < 0)
		return rc;
	index = le16toh(mirror->index);
	count = (uint16_t)(index - vring_load16(at));
	if (count == 0)
		return 0;
	/* What cannot be is left to the ring's own judgement of its index. */
	if (count <= num) {
		used = entries(mirror, MIRROR_DRIVER, vring_load16(at), count, SPLIT_AVAIL_BYTES, segments);
		segments[used++] = mirror_segment(mirror, MIRROR_DESC, 0, split_desc_bytes(num));
		rc = mirror->ops->read(mirror->ctx, segments, used);
	}
	if (rc == -EFAULT)
		return rp_vring_dev_break(&mirror->ring, "the descriptor table or available ring is not mapped");
	if (rc < 0)
		return rc;
	vring_store16(at, index);
	return 0;
}

int
rp_vring_mirror_split_entries(struct rp_vring_mirror *mirror)
{
	struct rp_dma_segment segments[2];
	unsigned int i, count;
	int rc = 0;

	if (mirror->given_count == 0)
		return 0;
	count = entries(mirror, MIRROR_DEVICE, (uint16_t)mirror->given_from, mirror->given_count, SPLIT_USED_BYTES,
			segments);
	for (i = 0; rc == 0 && i < count; i++)
		rc = rp_vring_mirror_add(mirror, segments[i].iova, segments[i].bytes, segments[i].size_bytes);
	return rc;
}

int
rp_vring_mirror_split_show(struct rp_vring_mirror *mirror)
{
	struct rp_dma_segment index = mirror_segment(mirror, MIRROR_DEVICE, SPLIT_INDEX_AT, sizeof(uint16_t));

	return mirror->ops->write(mirror->ctx, &index, 1);
}

int
rp_vring_mirror_split_wish(struct rp_vring_mirror *mirror)
{
	uint16_t index = 0;
	const struct rp_dma_segment segments[2] = {
		mirror_segment(mirror, MIRROR_DRIVER,
			       mirror->ring.event_idx ? split_used_event_at(mirror->ring.layout.num) : SPLIT_FLAGS_AT,
			       SPLIT_EVENT_BYTES),
		{.iova = mirror->iovas[MIRROR_DRIVER] + SPLIT_INDEX_AT, .size_bytes = sizeof(index), .bytes = &index},
	};
	int rc = mirror->ops->read(mirror->ctx, segments, 2);

	if (rc < 0)
		return rc;
	mirror->index = index;
	mirror->hinted = true;
	return 0;
}

struct rp_dma_segment
rp_vring_mirror_split_notify(const struct rp_vring_mirror *mirror)
{
	uint64_t at = mirror->ring.event_idx ? split_avail_event_at(mirror->ring.layout.num) : SPLIT_FLAGS_AT;

	return mirror_segment(mirror, MIRROR_DEVICE, at, SPLIT_EVENT_BYTES);
}
