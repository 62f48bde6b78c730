/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "dev.h"
#include "packed.h"
#include "split.h"

int
rp_vring_dev_break(struct rp_vring_dev *ring, const char *why)
{
	ring->broken_why = why;
	return -EBADMSG;
}

int
rp_vring_dev_out_of_reach(struct rp_vring_dev *ring, const char *why)
{
	ring->out_of_reach = true;
	return rp_vring_dev_break(ring, why);
}

bool
rp_vring_dev_mend(struct rp_vring_dev *ring)
{
	if (ring->broken_why == NULL || !ring->out_of_reach)
		return false;
	ring->out_of_reach = false;
	ring->missed = false;
	ring->broken_why = NULL;
	return true;
}

bool
rp_vring_dev_missed(const struct rp_vring_dev *ring, uint64_t *ret_iova, uint32_t *ret_access_mask)
{
	if (ring->broken_why == NULL || !ring->out_of_reach || !ring->missed)
		return false;
	*ret_iova = ring->missed_iova;
	*ret_access_mask = ring->missed_access_mask;
	return true;
}

static void
miss(struct rp_vring_dev *ring, uint64_t iova, uint32_t access_mask)
{
	ring->missed = true;
	ring->missed_iova = iova;
	ring->missed_access_mask = access_mask;
}

void *
rp_vring_dev_translate(struct rp_vring_dev *ring, uint64_t iova, uint64_t size_bytes, uint32_t access_mask,
		       uint64_t *ret_contiguous_bytes)
{
	void *hva;

	ring->missed = false;
	if (ring->layout.atc == NULL)
		return rp_dma_reader_translate(ring->reader, iova, size_bytes, access_mask, ret_contiguous_bytes);
	*ret_contiguous_bytes = 0;
	if (rp_dma_atc_translate(ring->layout.atc, ring->reader, RP_DMA_NO_PASID, iova, size_bytes, access_mask, &hva,
				 ret_contiguous_bytes) == 0)
		return hva;
	miss(ring, iova, access_mask);
	return NULL;
}

const char *
rp_vring_dev_why(const struct rp_vring_dev *ring)
{
	return ring->broken_why;
}

bool
rp_vring_dev_needs_notes(uint64_t features)
{
	return vring_is_packed(features) || vring_is_in_order(features);
}

/* What a part of a ring must be like. */
struct part_rule {
	const char *name;
	const char *unmapped;
	uint32_t access_mask;
	uint32_t align_bytes;
};

#define PARTS_COUNT RP_VRING_PARTS_COUNT

/* clang-format off */
static const struct part_rule split_rules[PARTS_COUNT] = {
	{"descriptor table", "the descriptor table is not mapped in one piece, readable and aligned",
	 RP_DMA_READ, SPLIT_DESC_ALIGN_BYTES},
	{"available ring", "the available ring is not mapped in one piece, readable and aligned",
	 RP_DMA_READ, SPLIT_AVAIL_ALIGN_BYTES},
	{"used ring", "the used ring is not mapped in one piece, writable and aligned",
	 RP_DMA_WRITE, SPLIT_USED_ALIGN_BYTES},
};

static const struct part_rule packed_rules[PARTS_COUNT] = {
	{"descriptor ring", "the descriptor ring is not mapped in one piece, readable, writable and aligned",
	 RP_DMA_READ | RP_DMA_WRITE, PACKED_DESC_ALIGN_BYTES},
	{"driver event suppression", "the driver event suppression is not mapped in one piece, readable and aligned",
	 RP_DMA_READ, PACKED_EVENT_ALIGN_BYTES},
	{"device event suppression", "the device event suppression is not mapped in one piece, writable and aligned",
	 RP_DMA_WRITE, PACKED_EVENT_ALIGN_BYTES},
};
/* clang-format on */

/* An address may be aligned where the guest put it and not where its file's offset put it here. */
static uint8_t *
translate_part(struct rp_dma_reader *reader, const struct rp_dma_view *view, uint64_t iova, uint64_t size_bytes,
	       const struct part_rule *rule)
{
	uint64_t here_bytes;
	uint8_t *hva;

	if (view != NULL) {
		hva = rp_dma_view_translate(view, reader);
	} else {
		hva = rp_dma_reader_translate(reader, iova, size_bytes, rule->access_mask, &here_bytes);
		if (here_bytes < size_bytes)
			return NULL;
	}
	return (uintptr_t)hva % rule->align_bytes == 0 ? hva : NULL;
}

static const struct part_rule *
rules_of(const struct rp_vring_layout *layout)
{
	return vring_is_packed(layout->features) ? packed_rules : split_rules;
}

void
rp_vring_part_bytes(const struct rp_vring_layout *layout, uint64_t ret_bytes[RP_VRING_PARTS_COUNT])
{
	bool packed = vring_is_packed(layout->features);

	ret_bytes[0] = split_desc_bytes(layout->num);
	ret_bytes[1] = packed ? PACKED_EVENT_BYTES : split_avail_bytes(layout->num, layout->features);
	ret_bytes[2] = packed ? PACKED_EVENT_BYTES : split_used_bytes(layout->num, layout->features);
}

/* @return NULL, or the part that is not mapped, in words. */
static const char *
translate_ring(struct rp_vring_dev *ring)
{
	const struct rp_vring_layout *layout = &ring->layout;
	const uint64_t iovas[PARTS_COUNT] = {layout->desc_iova, layout->avail_iova, layout->used_iova};
	uint64_t sizes[PARTS_COUNT];
	uint8_t **const parts[PARTS_COUNT] = {&ring->desc, &ring->avail, &ring->used};
	const struct part_rule *rules = rules_of(layout);
	unsigned int i;

	rp_vring_part_bytes(layout, sizes);
	/* Taken first: a table published meanwhile has a later generation, and all is translated once more. */
	ring->generation = rp_dma_reader_generation(ring->reader);
	for (i = 0; i < PARTS_COUNT; i++) {
		*parts[i] = translate_part(ring->reader, layout->views[i], iovas[i], sizes[i], &rules[i]);
		if (*parts[i] != NULL)
			continue;
		if (layout->atc != NULL) {
			miss(ring, iovas[i], rules[i].access_mask);
			ring->out_of_reach = true;
		}
		return rules[i].unmapped;
	}
	return NULL;
}

/* Every call begins here: the parts' addresses are good for one generation only. */
int
rp_vring_dev_check(struct rp_vring_dev *ring)
{
	const char *why;

	if (ring->broken_why != NULL)
		return -EBADMSG;
	if (ring->reader == NULL || ring->generation == rp_dma_reader_generation(ring->reader))
		return 0;
	why = translate_ring(ring);
	return why == NULL ? 0 : rp_vring_dev_break(ring, why);
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
check_num(const struct rp_vring_layout *layout, struct rp_wire_why *why)
{
	bool packed = vring_is_packed(layout->features);

	if (packed ? packed_num_valid(layout->num) : split_num_valid(layout->num))
		return 0;
	return rp_wire_why_set(why, -EBADMSG, "ring: num: is %u, expected %s up to %u", layout->num,
			       packed ? "1" : "a power of two", RP_VRING_NUM_MAX);
}

static int
check_layout(const struct rp_vring_layout *layout, struct rp_wire_why *why)
{
	const struct part_rule *rules = rules_of(layout);
	int rc;

	rc = check_num(layout, why);
	if (rc == 0)
		rc = check_aligned(rules[0].name, layout->desc_iova, rules[0].align_bytes, why);
	if (rc == 0)
		rc = check_aligned(rules[1].name, layout->avail_iova, rules[1].align_bytes, why);
	if (rc == 0)
		rc = check_aligned(rules[2].name, layout->used_iova, rules[2].align_bytes, why);
	return rc;
}

/* Both formats keep it in the same fields; a split ring has no wrap counters. */
static void
set_position(struct rp_vring_dev *ring, uint32_t position)
{
	uint16_t at = (uint16_t)(ring->packed ? position & PACKED_PLACE_MASK : position);

	ring->next_avail = at;
	ring->next_used = at;
	ring->seen_avail = at;
	ring->peek_at = at;
	ring->avail_wrap = (position >> PACKED_WRAP_AT & 1) != 0;
	ring->used_wrap = ring->avail_wrap;
	ring->peek_wrap = ring->avail_wrap;
}

static void
clear_notes(const struct rp_vring_layout *layout)
{
	uint16_t i;

	for (i = 0; i < layout->num; i++)
		layout->notes[i] = (struct rp_vring_note){.filled_id = VRING_NO_ID, .order_id = VRING_NO_ID};
}

int
rp_vring_dev_prepare(struct rp_vring_dev *ring, const struct rp_vring_layout *layout, uint32_t position,
		     struct rp_wire_why *why)
{
	int rc;

	memset(ring, 0, sizeof(*ring));
	/* Until it is whole: a ring whose init was refused stays refused. */
	ring->broken_why = "the ring was not set up";
	rc = check_layout(layout, why);
	if (rc == 0)
		rc = rp_vring_position_check(layout->features, layout->num, position, why);
	if (rc < 0)
		return rc;
	if (rp_vring_dev_needs_notes(layout->features)) {
		if (layout->notes == NULL)
			return rp_wire_why_set(why, -EINVAL, "ring: notes: there are none, expected %u", layout->num);
		clear_notes(layout);
	}
	ring->layout = *layout;
	ring->packed = vring_is_packed(layout->features);
	ring->in_order = vring_is_in_order(layout->features);
	ring->event_idx = vring_has_events(layout->features);
	set_position(ring, position);
	return 0;
}

int
rp_vring_dev_init(struct rp_vring_dev *ring, const struct rp_vring_layout *layout, uint32_t position,
		  struct rp_dma_reader *reader, struct rp_wire_why *why)
{
	const char *unmapped;
	int rc = rp_vring_dev_prepare(ring, layout, position, why);

	if (rc < 0)
		return rc;
	ring->reader = reader;
	unmapped = translate_ring(ring);
	if (unmapped != NULL)
		return rp_wire_why_set(why, -EBADMSG, "ring: %s", unmapped);
	ring->broken_why = NULL;
	return 0;
}

int
rp_vring_dev_available(struct rp_vring_dev *ring)
{
	int rc = rp_vring_dev_check(ring);

	if (rc < 0)
		return rc;
	return ring->packed ? rp_vring_packed_available(ring) : rp_vring_split_available(ring);
}

int
rp_vring_dev_peek(struct rp_vring_dev *ring, uint16_t ahead, struct rp_vring_chain *ret_chain)
{
	int rc = rp_vring_dev_check(ring);

	if (rc < 0)
		return rc;
	return ring->packed ? rp_vring_packed_peek(ring, ahead, ret_chain) :
			      rp_vring_split_peek(ring, ahead, ret_chain);
}

void
rp_vring_dev_advance(struct rp_vring_dev *ring, uint16_t count)
{
	if (ring->packed)
		rp_vring_packed_advance(ring, count);
	else
		rp_vring_split_advance(ring, count);
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
	int rc = rp_vring_dev_check(ring);

	if (rc < 0)
		return rc;
	if (ahead >= ring->layout.num || head >= ring->layout.num)
		return -EINVAL;
	return ring->packed ? rp_vring_packed_fill(ring, ahead, head, written_bytes) :
			      rp_vring_split_fill(ring, ahead, head, written_bytes);
}

int
rp_vring_dev_publish(struct rp_vring_dev *ring, uint16_t count)
{
	int rc = rp_vring_dev_check(ring);

	if (rc < 0)
		return rc;
	if (count > ring->layout.num)
		return -EINVAL;
	return ring->packed ? rp_vring_packed_publish(ring, count) : rp_vring_split_publish(ring, count);
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
	int rc = rp_vring_dev_check(ring);

	if (rc < 0)
		return rc;
	if (published_count == 0)
		return 0;
	ring->unsignalled_count = 0;
	ring->signalled = true;
	vring_full_fence();
	return ring->packed ? rp_vring_packed_is_wanted(ring, published_count, first) :
			      rp_vring_split_is_wanted(ring, published_count, first);
}

int
rp_vring_dev_set_notify(struct rp_vring_dev *ring, bool wanted)
{
	int rc = rp_vring_dev_check(ring);

	if (rc < 0)
		return rc;
	if (ring->packed)
		rp_vring_packed_set_notify(ring, wanted);
	else
		rp_vring_split_set_notify(ring, wanted);
	vring_full_fence();
	return 0;
}

uint32_t
rp_vring_dev_position(const struct rp_vring_dev *ring)
{
	return ring->packed ? rp_vring_packed_position(ring) : ring->next_avail;
}

uint32_t
rp_vring_dev_position_used(const struct rp_vring_dev *ring)
{
	uint16_t place = ring->packed ? packed_place(ring->next_used, ring->used_wrap) : ring->next_used;

	return rp_vring_position_drained(ring->layout.features, place);
}
