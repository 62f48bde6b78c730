/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A buffer of a packed ring is noted with all its descriptors, because the ring itself
 * may be overwritten while it is in flight. Entries that note nothing are a list; a
 * buffer takes as many as it has descriptors from its front, and they go back there. What
 * is half done lies between the list's two heads, and between the two places in the ring.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vhu_inflight.h"

#define FLAG_AVAIL (1u << 7)
#define FLAG_USED (1u << 15)
#define WRAP_MASK 0x8000u

enum state {
	STATE_FREE,
	STATE_TAKEN, /* the first entry of a buffer in flight */
	STATE_REST, /* another one */
	STATE_DONE, /* the first one of a buffer in the batch */
};

struct rp_vhu_inflight_packed {
	struct vhu_inflight_packed_region *region; /* written, never read */
	uint16_t num; /* of the region */
	uint16_t ring_num;
	uint16_t free_head;
	struct vhu_inflight_place place;
	bool using; /* between _use() and _used() */
	uint64_t counter;
	struct vhu_inflight_packed_entry *entries; /* ours: `inflight` is not kept here */
	uint8_t *states; /* enum state */
	uint16_t *batch;
	unsigned int batch_count;
	unsigned int batch_descs; /* of the ring */
	unsigned int taken_descs; /* the batch included */
	uint16_t *pending;
	unsigned int pending_count;
};

static void
store_place(struct rp_vhu_inflight_packed *packed)
{
	uint64_t word;

	memcpy(&word, &packed->place, sizeof(word));
	VHU_INFLIGHT_STORE(packed->region->place, word);
}

static void
begin(struct rp_vhu_inflight_packed *packed, uint16_t used)
{
	struct vhu_inflight_packed_region *region = packed->region;
	uint8_t wrap = (used & WRAP_MASK) != 0;
	uint16_t i;

	memset(packed->entries, 0, packed->num * sizeof(packed->entries[0]));
	for (i = 0; i < packed->num; i++)
		packed->entries[i].next = (uint16_t)(i + 1);
	packed->free_head = 0;
	packed->place = (struct vhu_inflight_place){
		.used_idx = used & (WRAP_MASK - 1),
		.old_used_idx = used & (WRAP_MASK - 1),
		.used_wrap_counter = wrap,
		.old_used_wrap_counter = wrap,
	};
	memcpy(region->entries, packed->entries, packed->num * sizeof(packed->entries[0]));
	VHU_INFLIGHT_STORE(region->features, 0);
	VHU_INFLIGHT_STORE(region->desc_num, packed->num);
	VHU_INFLIGHT_STORE(region->free_head, 0);
	VHU_INFLIGHT_STORE(region->old_free_head, 0);
	store_place(packed);
	VHU_INFLIGHT_STORE(region->version, VHU_INFLIGHT_VERSION);
}

/*
 * Whether the last batch reached the guest: if its first descriptor is no longer available,
 * as it was before. The guest may have made it available anew, in the next lap.
 */
static bool
was_used(const struct vhu_inflight_place *place, rp_vhu_inflight_flags flags, void *flags_ctx)
{
	uint16_t before = place->old_used_wrap_counter != 0 ? FLAG_AVAIL : FLAG_USED;

	if (place->used_idx == place->old_used_idx && place->used_wrap_counter == place->old_used_wrap_counter)
		return false;
	return (flags(flags_ctx, place->old_used_idx) & (FLAG_AVAIL | FLAG_USED)) != before;
}

static int
judge_place(const struct rp_vhu_inflight_packed *packed, const struct vhu_inflight_place *place,
	    struct rp_wire_why *why)
{
	if (place->used_idx < packed->ring_num && place->old_used_idx < packed->ring_num &&
	    place->used_wrap_counter <= 1 && place->old_used_wrap_counter <= 1)
		return 0;
	return rp_wire_why_set(why, -EBADMSG,
			       "used_idx: %u and before that %u, expected below %u; wrap counters %u and %u",
			       place->used_idx, place->old_used_idx, packed->ring_num, place->used_wrap_counter,
			       place->old_used_wrap_counter);
}

/* Marks what is on the list with STATE_DONE, so that nothing is there twice. */
static int
judge_free(struct rp_vhu_inflight_packed *packed, struct rp_wire_why *why)
{
	uint16_t at = packed->free_head;

	while (at < packed->num) {
		if (packed->states[at] != STATE_FREE)
			return rp_wire_why_set(why, -EBADMSG, "free list: entry %u is there twice", at);
		packed->states[at] = STATE_DONE;
		packed->entries[at].inflight = 0;
		at = packed->entries[at].next;
	}
	if (at != packed->num)
		return rp_wire_why_set(why, -EBADMSG, "free list: entry %u, expected at most %u", at, packed->num);
	return 0;
}

/* A buffer: from its first entry to its last, as many as it says, each in one buffer only. */
static int
judge_buffer(struct rp_vhu_inflight_packed *packed, uint16_t first, struct rp_wire_why *why)
{
	uint16_t num = packed->entries[first].num, at = first, i;

	packed->taken_descs += num;
	if (num == 0 || packed->taken_descs > packed->ring_num)
		return rp_wire_why_set(why, -EBADMSG, "entry %u: num: %u, with %u in flight, expected 1 to %u", first,
				       num, packed->taken_descs, packed->ring_num);
	for (i = 0; i < num; i++) {
		if (at >= packed->num || packed->states[at] != STATE_FREE)
			return rp_wire_why_set(why, -EBADMSG, "entry %u: its number %u is entry %u, which is %s", first,
					       i, at, at >= packed->num ? "none" : "another's");
		packed->states[at] = i == 0 ? STATE_TAKEN : STATE_REST;
		if (i + 1 < num)
			at = packed->entries[at].next;
	}
	if (packed->entries[first].last != at)
		return rp_wire_why_set(why, -EBADMSG, "entry %u: last: %u, expected %u", first,
				       packed->entries[first].last, at);
	return 0;
}

static int
judge_entries(struct rp_vhu_inflight_packed *packed, struct vhu_inflight_order *order, struct rp_wire_why *why)
{
	uint16_t i;
	int rc = judge_free(packed, why);

	for (i = 0; i < packed->num && rc == 0; i++) {
		const struct vhu_inflight_packed_entry *entry = &packed->entries[i];

		if (entry->inflight > 1)
			return rp_wire_why_set(why, -EBADMSG, "entry %u: inflight: %u, expected 0 or 1", i,
					       entry->inflight);
		if (entry->inflight == 0)
			continue;
		order[packed->pending_count].counter = entry->counter;
		order[packed->pending_count++].entry = i;
		if (entry->counter >= packed->counter)
			packed->counter = entry->counter + 1;
		rc = judge_buffer(packed, i, why);
	}
	for (i = 0; i < packed->num && rc == 0; i++)
		if (packed->states[i] == STATE_FREE)
			rc = rp_wire_why_set(why, -EBADMSG, "entry %u: is neither free nor in flight", i);
	return rc;
}

static void
write_back(struct rp_vhu_inflight_packed *packed)
{
	uint16_t i;

	VHU_INFLIGHT_STORE(packed->region->free_head, packed->free_head);
	VHU_INFLIGHT_STORE(packed->region->old_free_head, packed->free_head);
	store_place(packed);
	for (i = 0; i < packed->num; i++) {
		if (packed->states[i] != STATE_DONE)
			continue;
		VHU_INFLIGHT_STORE(packed->region->entries[i].inflight, 0);
		packed->states[i] = STATE_FREE;
	}
}

/* Nothing is written before everything is known to be good; packed->entries is a copy of the region's. */
static int
recover(struct rp_vhu_inflight_packed *packed, const struct vhu_inflight_packed_region *seen,
	struct vhu_inflight_order *order, rp_vhu_inflight_flags flags, void *flags_ctx, struct rp_wire_why *why)
{
	struct vhu_inflight_place *place = &packed->place;
	unsigned int i;
	int rc;

	memcpy(place, &seen->place, sizeof(*place));
	rc = judge_place(packed, place, why);
	if (rc < 0)
		return rc;
	if (was_used(place, flags, flags_ctx)) {
		packed->free_head = seen->free_head;
		place->old_used_idx = place->used_idx;
		place->old_used_wrap_counter = place->used_wrap_counter;
	} else {
		packed->free_head = seen->old_free_head;
		place->used_idx = place->old_used_idx;
		place->used_wrap_counter = place->old_used_wrap_counter;
	}
	rc = judge_entries(packed, order, why);
	if (rc < 0)
		return rc;
	write_back(packed);
	vhu_inflight_sort(order, packed->pending_count);
	for (i = 0; i < packed->pending_count; i++)
		packed->pending[i] = order[i].entry;
	return 0;
}

static int
open_notes(struct rp_vhu_inflight_packed *packed, uint16_t used, rp_vhu_inflight_flags flags, void *flags_ctx,
	   struct rp_wire_why *why)
{
	struct vhu_inflight_order *order = calloc(packed->num, sizeof(*order));
	struct vhu_inflight_packed_region seen;
	struct vhu_inflight_head head;
	int rc;

	if (order == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	memcpy(&seen, packed->region, sizeof(seen));
	memcpy(packed->entries, packed->region->entries, packed->num * sizeof(packed->entries[0]));
	memcpy(&head, &seen, sizeof(head));
	rc = vhu_inflight_check_head(&head, packed->num, why);
	if (rc == 0 && head.version == 0)
		begin(packed, used);
	else if (rc == 0)
		rc = recover(packed, &seen, order, flags, flags_ctx, why);
	free(order);
	return rc;
}

int
rp_vhu_inflight_packed_create(struct rp_vhu_inflight *inflight, unsigned int queue, uint16_t ring_num, uint16_t used,
			      rp_vhu_inflight_flags flags, void *flags_ctx, struct rp_vhu_inflight_packed **ret_packed,
			      struct rp_wire_why *why)
{
	const uint16_t num = rp_vhu_inflight_layout(inflight)->queue_num;
	void *region = vhu_inflight_queue(inflight, queue, true);
	struct rp_vhu_inflight_packed *packed;
	int rc;

	if (region == NULL || ring_num == 0 || ring_num > num || (used & (WRAP_MASK - 1)) >= ring_num)
		return rp_wire_why_set(
			why, -EINVAL,
			"in-flight region: not for a packed ring %u of %u entries, or not with packed rings", queue,
			ring_num);
	packed = calloc(1, sizeof(*packed));
	if (packed == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	packed->region = region;
	packed->num = num;
	packed->ring_num = ring_num;
	packed->entries = calloc(num, sizeof(*packed->entries));
	packed->states = calloc(num, sizeof(*packed->states));
	packed->batch = calloc(num, sizeof(*packed->batch));
	packed->pending = calloc(num, sizeof(*packed->pending));
	if (packed->entries == NULL || packed->states == NULL || packed->batch == NULL || packed->pending == NULL)
		rc = rp_wire_why_set(why, -ENOMEM, "no memory");
	else
		rc = open_notes(packed, used, flags, flags_ctx, why);
	if (rc < 0) {
		rp_vhu_inflight_packed_destroy(packed);
		rp_wire_why_prefix(why, "in-flight region, queue %u: ", queue);
		return rc;
	}
	*ret_packed = packed;
	return 0;
}

struct rp_vhu_inflight_packed *
rp_vhu_inflight_packed_destroy(struct rp_vhu_inflight_packed *packed)
{
	if (packed == NULL)
		return NULL;
	free(packed->entries);
	free(packed->states);
	free(packed->batch);
	free(packed->pending);
	free(packed);
	return NULL;
}

unsigned int
rp_vhu_inflight_packed_pending(const struct rp_vhu_inflight_packed *packed, const uint16_t **ret_entries)
{
	*ret_entries = packed->pending;
	return packed->pending_count;
}

int
rp_vhu_inflight_packed_descs(const struct rp_vhu_inflight_packed *packed, uint16_t entry,
			     struct rp_vhu_inflight_desc *ret_descs, unsigned int room)
{
	unsigned int count, i;

	if (entry >= packed->num || packed->states[entry] != STATE_TAKEN)
		return -EINVAL;
	count = packed->entries[entry].num;
	if (count > room)
		return -ENOSPC;
	for (i = 0; i < count; i++) {
		const struct vhu_inflight_packed_entry *from = &packed->entries[entry];

		ret_descs[i] = (struct rp_vhu_inflight_desc){
			.addr = from->addr, .len_bytes = from->len_bytes, .id = from->id, .flags = from->flags};
		entry = from->next;
	}
	return (int)count;
}

/* @return the place `descs` further on, its wrap counter in bit 15. */
static uint16_t
further(const struct rp_vhu_inflight_packed *packed, unsigned int descs)
{
	unsigned int at = packed->place.used_idx + descs;
	unsigned int wrap = packed->place.used_wrap_counter;

	if (at >= packed->ring_num) {
		at -= packed->ring_num;
		wrap ^= 1;
	}
	return (uint16_t)(at | (wrap != 0 ? WRAP_MASK : 0));
}

uint32_t
rp_vhu_inflight_packed_base(const struct rp_vhu_inflight_packed *packed)
{
	/* Between _use() and _used() the batch is counted at both ends. */
	unsigned int ahead = packed->taken_descs - (packed->using ? packed->batch_descs : 0);

	return further(packed, ahead) | (uint32_t)further(packed, 0) << 16;
}

int
rp_vhu_inflight_packed_take(struct rp_vhu_inflight_packed *packed, const struct rp_vhu_inflight_desc *descs,
			    uint16_t count, uint16_t *ret_entry)
{
	const uint16_t first = packed->free_head;
	struct vhu_inflight_packed_entry *ours, *head;
	uint16_t at = first, i;

	if (count == 0)
		return -EINVAL;
	if (packed->batch_count != 0)
		return -EBUSY;
	if (count > packed->ring_num - packed->taken_descs)
		return -ENOSPC;
	head = &packed->region->entries[first];
	VHU_INFLIGHT_STORE(head->num, 0);
	VHU_INFLIGHT_STORE(head->counter, packed->counter++);
	VHU_INFLIGHT_STORE(head->inflight, 1);
	for (i = 0; i < count; i++) {
		struct vhu_inflight_packed_entry *entry = &packed->region->entries[at];

		ours = &packed->entries[at];
		if (i + 1 == count)
			VHU_INFLIGHT_STORE(head->last, at);
		VHU_INFLIGHT_STORE(head->num, (uint16_t)(i + 1));
		VHU_INFLIGHT_STORE(entry->addr, descs[i].addr);
		VHU_INFLIGHT_STORE(entry->len_bytes, descs[i].len_bytes);
		VHU_INFLIGHT_STORE(entry->flags, descs[i].flags);
		VHU_INFLIGHT_STORE(entry->id, descs[i].id);
		ours->addr = descs[i].addr;
		ours->len_bytes = descs[i].len_bytes;
		ours->flags = descs[i].flags;
		ours->id = descs[i].id;
		packed->states[at] = i == 0 ? STATE_TAKEN : STATE_REST;
		packed->entries[first].last = at;
		at = ours->next;
		VHU_INFLIGHT_STORE(packed->region->free_head, at);
	}
	packed->entries[first].num = count;
	packed->free_head = at;
	packed->taken_descs += count;
	VHU_INFLIGHT_STORE(packed->region->old_free_head, at);
	*ret_entry = first;
	return 0;
}

int
rp_vhu_inflight_packed_done(struct rp_vhu_inflight_packed *packed, uint16_t entry)
{
	uint16_t last;

	if (packed->using || entry >= packed->num || packed->states[entry] != STATE_TAKEN)
		return -EBUSY;
	last = packed->entries[entry].last;
	packed->entries[last].next = packed->free_head;
	VHU_INFLIGHT_STORE(packed->region->entries[last].next, packed->free_head);
	packed->free_head = entry;
	VHU_INFLIGHT_STORE(packed->region->free_head, entry);
	packed->states[entry] = STATE_DONE;
	packed->batch[packed->batch_count++] = entry;
	packed->batch_descs += packed->entries[entry].num;
	return 0;
}

void
rp_vhu_inflight_packed_use(struct rp_vhu_inflight_packed *packed)
{
	uint16_t used = further(packed, packed->batch_descs);

	if (packed->using || packed->batch_count == 0)
		return;
	packed->place.used_idx = used & (WRAP_MASK - 1);
	packed->place.used_wrap_counter = (used & WRAP_MASK) != 0;
	store_place(packed);
	packed->using = true;
}

void
rp_vhu_inflight_packed_used(struct rp_vhu_inflight_packed *packed)
{
	unsigned int i;

	if (!packed->using)
		return;
	for (i = 0; i < packed->batch_count; i++) {
		uint16_t at = packed->batch[i], left = packed->entries[at].num;

		VHU_INFLIGHT_STORE(packed->region->entries[at].inflight, 0);
		for (; left > 0; left--, at = packed->entries[at].next)
			packed->states[at] = STATE_FREE;
	}
	VHU_INFLIGHT_STORE(packed->region->old_free_head, packed->free_head);
	packed->place.old_used_idx = packed->place.used_idx;
	packed->place.old_used_wrap_counter = packed->place.used_wrap_counter;
	store_place(packed);
	packed->taken_descs -= packed->batch_descs;
	packed->batch_count = packed->batch_descs = 0;
	packed->using = false;
}
