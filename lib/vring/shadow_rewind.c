/* SPDX-License-Identifier: BSD-3-Clause */
#include "dev.h"
#include "packed.h"
#include "shadow.h"
#include "split.h"

/*
 * Theory of operation: a ring that is handed on says by one position what is not done
 * yet: all that is behind it, up to where the driver stands. As many entries (split) or
 * descriptors (packed) lie between the used position and the one that was taken last as
 * are out, whatever the order of use; only which ones they are may be wrong. They are ours
 * until they are used, and the driver does not look at them.
 *
 * Of two chains the newer one was taken further on, so each lies where it was taken or
 * further on than that, and when one lies where it was taken, so do all that are newer.
 * What must be written are the oldest ones.
 */

/* The available ring, if it may be written; or NULL. */
static uint8_t *
writable_avail(struct rp_vring_shadow *shadow)
{
	const struct rp_vring_layout *layout = &shadow->guest.layout;
	uint64_t bytes[RP_VRING_PARTS_COUNT], here_bytes;
	uint8_t *avail;

	if (shadow->reach != NULL)
		return shadow->reach->with.avail_writable ? shadow->guest.avail : NULL;
	rp_vring_part_bytes(layout, bytes);
	avail = rp_dma_reader_translate(shadow->guest.reader, layout->avail_iova, bytes[1], RP_DMA_WRITE, &here_bytes);
	return avail != NULL && here_bytes >= bytes[1] ? avail : NULL;
}

/* The oldest chain, or the one after another, as long as it was not taken at the place that is its own now; or NULL. */
static const struct shadow_chain *
next_displaced(const struct rp_vring_shadow *shadow, const struct shadow_chain *previous, uint64_t place)
{
	const struct shadow_chain *chain =
		previous == NULL ? shadow_book_oldest(&shadow->book) : shadow_book_next(&shadow->book, previous);

	return chain == NULL || chain->taken_at == place ? NULL : chain;
}

/* Return the displaced chains with nothing done. */
static int
give_up_displaced(struct rp_vring_shadow *shadow)
{
	while (next_displaced(shadow, NULL, shadow->taken_size - shadow->book.out_count) != NULL) {
		struct shadow_published published = {.from = shadow->guest.next_used, .count = 1};
		struct shadow_chain *chain = shadow_book_oldest(&shadow->book);
		int rc = rp_vring_dev_push(&shadow->guest, chain->head, 0);

		if (rc < 0)
			return rc;
		rp_vring_shadow_book_remove(&shadow->book, chain);
		rp_vring_shadow_report_used(shadow, &published);
		shadow->lost_count++;
	}
	return 0;
}

int
rp_vring_shadow_split_rewind(struct rp_vring_shadow *shadow)
{
	const struct rp_vring_layout *layout = &shadow->guest.layout;
	uint64_t place = shadow->taken_size - shadow->book.out_count;
	uint16_t index = shadow->guest.next_used;
	const struct shadow_chain *chain = NULL;
	uint8_t *avail = writable_avail(shadow);

	if (avail == NULL)
		return give_up_displaced(shadow);
	while ((chain = next_displaced(shadow, chain, place++)) != NULL) {
		uint32_t at = SPLIT_ENTRIES_AT + (index++ & (layout->num - 1u)) * SPLIT_AVAIL_BYTES;

		vring_store16(avail + at, chain->head);
		shadow_report(shadow, layout->avail_iova + at, SPLIT_AVAIL_BYTES);
	}
	return 0;
}

static uint16_t
flags_of(const struct shadow_chain *chain, const struct rp_vring_part *part, uint16_t index, bool wrap)
{
	uint32_t flags = packed_available_flags(wrap);

	if (part->device_writes)
		flags |= PACKED_DESC_WRITE;
	if (chain->table)
		flags |= PACKED_DESC_INDIRECT;
	else if (index + 1 < shadow_desc_count(chain))
		flags |= PACKED_DESC_NEXT;
	return (uint16_t)flags;
}

static void
write_desc(struct rp_vring_shadow *shadow, uint16_t at, const struct rp_vring_part *part, uint16_t id, uint16_t flags)
{
	uint64_t desc_at = (uint64_t)at * sizeof(struct packed_desc);
	uint8_t *desc = shadow->guest.desc + desc_at;

	vring_store64(desc + offsetof(struct packed_desc, addr), part->iova);
	vring_store32(desc + offsetof(struct packed_desc, len), part->size_bytes);
	vring_store16(desc + offsetof(struct packed_desc, id), id);
	/* The driver polls this one: it is available before and after. */
	vring_store16(desc + offsetof(struct packed_desc, flags), flags);
	shadow_report(shadow, shadow->guest.layout.desc_iova + desc_at, sizeof(struct packed_desc));
}

int
rp_vring_shadow_packed_rewind(struct rp_vring_shadow *shadow)
{
	uint64_t place = shadow->taken_size - shadow->guest.out_size;
	uint16_t at = shadow->guest.next_used, i;
	bool wrap = shadow->guest.used_wrap;
	const struct shadow_chain *chain = NULL;

	while ((chain = next_displaced(shadow, chain, place)) != NULL) {
		uint16_t count = rp_vring_shadow_book_parts(&shadow->book, chain, shadow->parts);

		for (i = 0; i < count; i++) {
			write_desc(shadow, at, &shadow->parts[i], chain->head,
				   flags_of(chain, &shadow->parts[i], i, wrap));
			packed_move(shadow->guest.layout.num, &at, &wrap, 1);
		}
		place += count;
	}
	return 0;
}
