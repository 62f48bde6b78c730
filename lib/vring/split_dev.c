/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "split.h"

int
rp_vring_split_break(struct rp_vring_dev *ring, const char *why)
{
	ring->broken_why = why;
	return -EBADMSG;
}

const char *
rp_vring_dev_why(const struct rp_vring_dev *ring)
{
	return ring->broken_why;
}

/* An address may be aligned where the guest put it and not where its file's offset put it here. */
static uint8_t *
translate_part(struct rp_dma_reader *reader, uint64_t iova, uint64_t size_bytes, uint32_t access_mask,
	       uint64_t align_bytes)
{
	uint64_t here_bytes;
	uint8_t *hva = rp_dma_reader_translate(reader, iova, size_bytes, access_mask, &here_bytes);

	if (hva == NULL || here_bytes < size_bytes || (uintptr_t)hva % align_bytes != 0)
		return NULL;
	return hva;
}

/* @return NULL, or the part that is not mapped, in words. */
static const char *
translate_ring(struct rp_vring_dev *ring)
{
	const struct rp_vring_layout *layout = &ring->layout;

	/* Taken first: a table published meanwhile has a later generation, and all is translated once more. */
	ring->generation = rp_dma_reader_generation(ring->reader);
	ring->desc = translate_part(ring->reader, layout->desc_iova, split_desc_bytes(layout->num), RP_DMA_READ,
				    SPLIT_DESC_ALIGN_BYTES);
	if (ring->desc == NULL)
		return "the descriptor table is not mapped in one piece, readable and aligned";
	ring->avail = translate_part(ring->reader, layout->avail_iova, split_avail_bytes(layout->num, layout->features),
				     RP_DMA_READ, SPLIT_AVAIL_ALIGN_BYTES);
	if (ring->avail == NULL)
		return "the available ring is not mapped in one piece, readable and aligned";
	ring->used = translate_part(ring->reader, layout->used_iova, split_used_bytes(layout->num, layout->features),
				    RP_DMA_WRITE, SPLIT_USED_ALIGN_BYTES);
	if (ring->used == NULL)
		return "the used ring is not mapped in one piece, writable and aligned";
	return NULL;
}

/* Every call begins here: the parts' addresses are good for one generation only. */
static int
check_ring(struct rp_vring_dev *ring)
{
	const char *why;

	if (ring->broken_why != NULL)
		return -EBADMSG;
	if (ring->generation == rp_dma_reader_generation(ring->reader))
		return 0;
	why = translate_ring(ring);
	return why == NULL ? 0 : rp_vring_split_break(ring, why);
}

static int
check_aligned(const char *part, uint64_t iova, uint64_t align_bytes, struct rp_wire_why *why)
{
	if (iova % align_bytes == 0)
		return 0;
	return rp_wire_why_set(why, -EBADMSG, "ring: %s: is at 0x%" PRIx64 ", expected a multiple of %" PRIu64, part,
			       iova, align_bytes);
}

static int
check_layout(const struct rp_vring_layout *layout, struct rp_wire_why *why)
{
	int rc;

	if (!split_num_valid(layout->num))
		return rp_wire_why_set(why, -EBADMSG, "ring: num: is %u, expected a power of two up to %u", layout->num,
				       RP_VRING_NUM_MAX);
	rc = check_aligned("descriptor table", layout->desc_iova, SPLIT_DESC_ALIGN_BYTES, why);
	if (rc == 0)
		rc = check_aligned("available ring", layout->avail_iova, SPLIT_AVAIL_ALIGN_BYTES, why);
	if (rc == 0)
		rc = check_aligned("used ring", layout->used_iova, SPLIT_USED_ALIGN_BYTES, why);
	return rc;
}

int
rp_vring_dev_init(struct rp_vring_dev *ring, const struct rp_vring_layout *layout, uint16_t index,
		  struct rp_dma_reader *reader, struct rp_wire_why *why)
{
	const char *unmapped;
	int rc;

	memset(ring, 0, sizeof(*ring));
	/* Until it is whole: a ring whose init was refused stays refused. */
	ring->broken_why = "the ring was not set up";
	rc = check_layout(layout, why);
	if (rc < 0)
		return rc;
	ring->layout = *layout;
	ring->reader = reader;
	ring->next_avail = index;
	ring->next_used = index;
	ring->seen_avail = index;
	unmapped = translate_ring(ring);
	if (unmapped != NULL)
		return rp_wire_why_set(why, -EBADMSG, "ring: %s", unmapped);
	ring->broken_why = NULL;
	return 0;
}

int
rp_vring_dev_available(struct rp_vring_dev *ring)
{
	uint16_t index, count;
	int rc = check_ring(ring);

	if (rc < 0)
		return rc;
	index = split_load16_acquire(ring->avail + SPLIT_INDEX_AT);
	count = (uint16_t)(index - ring->next_avail);
	if (count > ring->layout.num)
		return rp_vring_split_break(ring, "the available index is beyond the ring");
	ring->seen_avail = index;
	return count;
}

int
rp_vring_dev_peek(struct rp_vring_dev *ring, uint16_t ahead, struct rp_vring_chain *ret_chain)
{
	uint16_t slot, head;
	int rc = check_ring(ring);

	if (rc < 0)
		return rc;
	if (ahead >= (uint16_t)(ring->seen_avail - ring->next_avail)) {
		rc = rp_vring_dev_available(ring);
		if (rc < 0)
			return rc;
		if (ahead >= rc)
			return 0;
	}
	slot = (uint16_t)(ring->next_avail + ahead) & (ring->layout.num - 1);
	head = split_load16(ring->avail + SPLIT_ENTRIES_AT + (size_t)slot * SPLIT_AVAIL_BYTES);
	rc = rp_vring_split_walk(ring, head, ret_chain);
	return rc < 0 ? rc : 1;
}

void
rp_vring_dev_advance(struct rp_vring_dev *ring, uint16_t count)
{
	assert(count <= (uint16_t)(ring->seen_avail - ring->next_avail));
	ring->next_avail = (uint16_t)(ring->next_avail + count);
}

int
rp_vring_dev_pop(struct rp_vring_dev *ring, struct rp_vring_chain *ret_chain)
{
	int rc = rp_vring_dev_peek(ring, 0, ret_chain);

	if (rc == 1)
		rp_vring_dev_advance(ring, 1);
	return rc;
}

int
rp_vring_dev_fill(struct rp_vring_dev *ring, uint16_t ahead, uint16_t head, uint32_t written_bytes)
{
	uint16_t slot;
	uint8_t *entry;
	int rc = check_ring(ring);

	if (rc < 0)
		return rc;
	if (ahead >= ring->layout.num || head >= ring->layout.num)
		return -EINVAL;
	slot = (uint16_t)(ring->next_used + ahead) & (ring->layout.num - 1);
	entry = ring->used + SPLIT_ENTRIES_AT + (size_t)slot * SPLIT_USED_BYTES;
	split_store32(entry, head);
	split_store32(entry + SPLIT_USED_LEN_AT, written_bytes);
	return 0;
}

int
rp_vring_dev_publish(struct rp_vring_dev *ring, uint16_t count)
{
	int rc = check_ring(ring);

	if (rc < 0)
		return rc;
	if (count > ring->layout.num)
		return -EINVAL;
	ring->next_used = (uint16_t)(ring->next_used + count);
	if (ring->unsignalled_count <= UINT16_MAX)
		ring->unsignalled_count += count;
	split_store16_release(ring->used + SPLIT_INDEX_AT, ring->next_used);
	return 0;
}

int
rp_vring_dev_push(struct rp_vring_dev *ring, uint16_t head, uint32_t written_bytes)
{
	int rc = rp_vring_dev_fill(ring, 0, head, written_bytes);

	return rc < 0 ? rc : rp_vring_dev_publish(ring, 1);
}

int
rp_vring_dev_needs_interrupt(struct rp_vring_dev *ring)
{
	uint32_t published_count = ring->unsignalled_count;
	bool first = !ring->signalled;
	int rc = check_ring(ring);

	if (rc < 0)
		return rc;
	if (published_count == 0)
		return 0;
	ring->unsignalled_count = 0;
	ring->signalled = true;
	split_full_fence();
	if ((ring->layout.features & SPLIT_EVENT_IDX_MASK) == 0)
		return (split_load16(ring->avail + SPLIT_FLAGS_AT) & SPLIT_NO_INTERRUPT) == 0;
	/* What an owner before us published and did not signal is unknown: the driver may wait for that. */
	if (first)
		return 1;
	return split_event_passed(split_load16(ring->avail + split_used_event_at(ring->layout.num)), ring->next_used,
				  published_count);
}

int
rp_vring_dev_set_notify(struct rp_vring_dev *ring, bool wanted)
{
	int rc = check_ring(ring);

	if (rc < 0)
		return rc;
	/* An event index cannot say "never": the entry just passed is the farthest from coming again. */
	if ((ring->layout.features & SPLIT_EVENT_IDX_MASK) != 0)
		split_store16(ring->used + split_avail_event_at(ring->layout.num),
			      wanted ? ring->next_avail : (uint16_t)(ring->next_avail - 1));
	else
		split_store16(ring->used + SPLIT_FLAGS_AT, wanted ? 0 : SPLIT_NO_NOTIFY);
	split_full_fence();
	return 0;
}

uint16_t
rp_vring_dev_index(const struct rp_vring_dev *ring)
{
	return ring->next_avail;
}
