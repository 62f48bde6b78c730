/* SPDX-License-Identifier: BSD-3-Clause */
#include "packed.h"
#include "shadow.h"
#include "split.h"

void
rp_vring_shadow_report_payload(const struct rp_vring_shadow *shadow, const struct shadow_chain *chain,
			       uint32_t written_bytes)
{
	const struct shadow_part *parts = shadow->book.parts;
	uint32_t at = chain->first_part;
	uint16_t i;

	if (shadow->written == NULL)
		return;
	for (i = 0; i < chain->out_count; i++)
		at = parts[at].next;
	for (i = 0; written_bytes > 0; i++) {
		uint32_t here_bytes;

		/* What the device reads of a table is not in the book. */
		if (i == chain->in_count && chain->table)
			at = parts[at].next;
		here_bytes = written_bytes < parts[at].size_bytes ? written_bytes : parts[at].size_bytes;
		shadow_report(shadow, parts[at].iova, here_bytes);
		written_bytes -= here_bytes;
		at = parts[at].next;
	}
}

/* Items of a ring that goes around, from number `first` on. */
static void
report_items(const struct rp_vring_shadow *shadow, uint64_t ring_iova, uint16_t first, uint32_t count,
	     uint32_t item_bytes)
{
	uint32_t to_end = (uint32_t)shadow->guest.layout.num - first;
	uint32_t here = count < to_end ? count : to_end;

	shadow_report(shadow, ring_iova + (uint64_t)first * item_bytes, (uint64_t)here * item_bytes);
	shadow_report(shadow, ring_iova, (uint64_t)(count - here) * item_bytes);
}

void
rp_vring_shadow_report_used(const struct rp_vring_shadow *shadow, const struct shadow_published *published)
{
	const struct rp_vring_layout *layout = &shadow->guest.layout;

	if (shadow->written == NULL)
		return;
	if (shadow->guest.packed) {
		/* Between used descriptors are fewer others than a page holds: no page more than were written. */
		report_items(shadow, layout->desc_iova, published->from, published->to_last + 1u,
			     sizeof(struct packed_desc));
		return;
	}
	report_items(shadow, layout->used_iova + SPLIT_ENTRIES_AT, published->from & (layout->num - 1),
		     published->count, SPLIT_USED_BYTES);
	shadow_report(shadow, layout->used_iova + SPLIT_INDEX_AT, sizeof(uint16_t));
}

void
rp_vring_shadow_report_wish(const struct rp_vring_shadow *shadow)
{
	const struct rp_vring_layout *layout = &shadow->guest.layout;

	if (shadow->guest.packed)
		shadow_report(shadow, layout->used_iova, PACKED_EVENT_BYTES);
	else if (shadow->guest.event_idx)
		shadow_report(shadow, layout->used_iova + split_avail_event_at(layout->num), SPLIT_EVENT_BYTES);
	else
		shadow_report(shadow, layout->used_iova + SPLIT_FLAGS_AT, sizeof(uint16_t));
}
