/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vhu_inflight.h"

enum state {
	STATE_FREE,
	STATE_TAKEN,
	STATE_DONE, /* in the batch */
};

struct rp_vhu_inflight_split {
	struct vhu_inflight_split_region *region; /* written, never read */
	uint16_t num; /* of the region */
	uint16_t ring_num;
	uint16_t used_idx;
	uint16_t last_batch_head;
	uint64_t counter;
	uint8_t *states; /* enum state, of each head */
	uint16_t *batch;
	unsigned int batch_count;
	unsigned int taken_count; /* the batch included */
	uint16_t *pending;
	unsigned int pending_count;
};

static void
begin(struct rp_vhu_inflight_split *split, uint16_t used_idx)
{
	struct vhu_inflight_split_region *region = split->region;

	memset(region->entries, 0, split->num * sizeof(region->entries[0]));
	VHU_INFLIGHT_STORE(region->features, 0);
	VHU_INFLIGHT_STORE(region->desc_num, split->num);
	VHU_INFLIGHT_STORE(region->last_batch_head, 0);
	VHU_INFLIGHT_STORE(region->used_idx, used_idx);
	VHU_INFLIGHT_STORE(region->version, VHU_INFLIGHT_VERSION);
	split->used_idx = used_idx;
}

/* The last batch is in the used ring, but may still be noted as in flight. @param seen a copy. */
static int
judge_batch(const struct rp_vhu_inflight_split *split, struct vhu_inflight_split_region *seen, uint16_t used_idx,
	    uint16_t *ret_batch, unsigned int *ret_count, struct rp_wire_why *why)
{
	uint16_t count = (uint16_t)(used_idx - seen->used_idx), head = seen->last_batch_head, i;

	if (count > split->ring_num)
		return rp_wire_why_set(why, -EBADMSG, "used_idx: %u, and the used ring's is %u: more than %u apart",
				       seen->used_idx, used_idx, split->ring_num);
	for (i = 0; i < count; i++) {
		if (head >= split->ring_num || split->states[head] == STATE_DONE)
			return rp_wire_why_set(why, -EBADMSG, "last_batch_head: %u entries, number %u is %u%s", count,
					       i, head, head < split->ring_num ? " again" : "");
		split->states[head] = STATE_DONE;
		ret_batch[i] = head;
		seen->entries[head].inflight = 0;
		head = seen->entries[head].next;
	}
	*ret_count = count;
	return 0;
}

static int
judge_entries(struct rp_vhu_inflight_split *split, const struct vhu_inflight_split_region *seen,
	      struct vhu_inflight_order *order, struct rp_wire_why *why)
{
	unsigned int i;

	for (i = 0; i < split->num; i++) {
		const struct vhu_inflight_split_entry *entry = &seen->entries[i];

		if (entry->inflight > 1 || (entry->inflight == 1 && i >= split->ring_num))
			return rp_wire_why_set(why, -EBADMSG, "entry %u: inflight: %u, expected %s", i, entry->inflight,
					       i >= split->ring_num ? "0" : "0 or 1");
		if (entry->inflight == 0)
			continue;
		order[split->pending_count].counter = entry->counter;
		order[split->pending_count++].entry = (uint16_t)i;
		if (entry->counter >= split->counter)
			split->counter = entry->counter + 1;
	}
	return 0;
}

/* Nothing is written before everything is known to be good. @param seen a copy of the region. */
static int
recover(struct rp_vhu_inflight_split *split, struct vhu_inflight_split_region *seen, struct vhu_inflight_order *order,
	uint16_t used_idx, struct rp_wire_why *why)
{
	unsigned int count = 0, i;
	int rc = judge_batch(split, seen, used_idx, split->batch, &count, why);

	if (rc == 0)
		rc = judge_entries(split, seen, order, why);
	if (rc < 0)
		return rc;
	for (i = 0; i < count; i++) {
		VHU_INFLIGHT_STORE(split->region->entries[split->batch[i]].inflight, 0);
		split->states[split->batch[i]] = STATE_FREE;
	}
	VHU_INFLIGHT_STORE(split->region->used_idx, used_idx);
	split->used_idx = used_idx;
	split->last_batch_head = seen->last_batch_head;
	vhu_inflight_sort(order, split->pending_count);
	for (i = 0; i < split->pending_count; i++) {
		split->pending[i] = order[i].entry;
		split->states[order[i].entry] = STATE_TAKEN;
	}
	split->taken_count = split->pending_count;
	return 0;
}

static int
open_notes(struct rp_vhu_inflight_split *split, uint16_t used_idx, struct rp_wire_why *why)
{
	size_t size_bytes = sizeof(*split->region) + split->num * sizeof(split->region->entries[0]);
	struct vhu_inflight_split_region *seen = malloc(size_bytes);
	struct vhu_inflight_order *order = calloc(split->num, sizeof(*order));
	struct vhu_inflight_head head;
	int rc = -ENOMEM;

	if (seen == NULL || order == NULL) {
		rp_wire_why_set(why, rc, "no memory");
		goto out;
	}
	memcpy(seen, split->region, size_bytes);
	memcpy(&head, seen, sizeof(head));
	rc = vhu_inflight_check_head(&head, split->num, why);
	if (rc == 0 && head.version == 0)
		begin(split, used_idx);
	else if (rc == 0)
		rc = recover(split, seen, order, used_idx, why);
out:
	free(seen);
	free(order);
	return rc;
}

int
rp_vhu_inflight_split_create(struct rp_vhu_inflight *inflight, unsigned int queue, uint16_t ring_num, uint16_t used_idx,
			     struct rp_vhu_inflight_split **ret_split, struct rp_wire_why *why)
{
	const uint16_t num = rp_vhu_inflight_layout(inflight)->queue_num;
	void *region = vhu_inflight_queue(inflight, queue, false);
	struct rp_vhu_inflight_split *split;
	int rc;

	if (region == NULL || ring_num == 0 || ring_num > num)
		return rp_wire_why_set(
			why, -EINVAL,
			"in-flight region: not for a split ring %u of %u entries, or not with split rings", queue,
			ring_num);
	split = calloc(1, sizeof(*split));
	if (split == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	split->region = region;
	split->num = num;
	split->ring_num = ring_num;
	split->states = calloc(num, sizeof(*split->states));
	split->batch = calloc(num, sizeof(*split->batch));
	split->pending = calloc(num, sizeof(*split->pending));
	if (split->states == NULL || split->batch == NULL || split->pending == NULL)
		rc = rp_wire_why_set(why, -ENOMEM, "no memory");
	else
		rc = open_notes(split, used_idx, why);
	if (rc < 0) {
		rp_vhu_inflight_split_destroy(split);
		rp_wire_why_prefix(why, "in-flight region, queue %u: ", queue);
		return rc;
	}
	*ret_split = split;
	return 0;
}

struct rp_vhu_inflight_split *
rp_vhu_inflight_split_destroy(struct rp_vhu_inflight_split *split)
{
	if (split == NULL)
		return NULL;
	free(split->states);
	free(split->batch);
	free(split->pending);
	free(split);
	return NULL;
}

unsigned int
rp_vhu_inflight_split_pending(const struct rp_vhu_inflight_split *split, const uint16_t **ret_heads)
{
	*ret_heads = split->pending;
	return split->pending_count;
}

uint16_t
rp_vhu_inflight_split_avail_idx(const struct rp_vhu_inflight_split *split)
{
	return (uint16_t)(split->used_idx + split->taken_count);
}

int
rp_vhu_inflight_split_take(struct rp_vhu_inflight_split *split, uint16_t head)
{
	struct vhu_inflight_split_entry *entry;

	if (head >= split->ring_num)
		return -EBADMSG;
	if (split->states[head] != STATE_FREE)
		return -EBUSY;
	entry = &split->region->entries[head];
	VHU_INFLIGHT_STORE(entry->counter, split->counter++);
	VHU_INFLIGHT_STORE(entry->inflight, 1);
	split->states[head] = STATE_TAKEN;
	split->taken_count++;
	return 0;
}

int
rp_vhu_inflight_split_done(struct rp_vhu_inflight_split *split, uint16_t head)
{
	if (head >= split->ring_num)
		return -EBADMSG;
	if (split->states[head] != STATE_TAKEN)
		return -EBUSY;
	VHU_INFLIGHT_STORE(split->region->entries[head].next, split->last_batch_head);
	VHU_INFLIGHT_STORE(split->region->last_batch_head, head);
	split->last_batch_head = head;
	split->states[head] = STATE_DONE;
	split->batch[split->batch_count++] = head;
	return 0;
}

void
rp_vhu_inflight_split_used(struct rp_vhu_inflight_split *split)
{
	unsigned int i;

	for (i = 0; i < split->batch_count; i++) {
		VHU_INFLIGHT_STORE(split->region->entries[split->batch[i]].inflight, 0);
		split->states[split->batch[i]] = STATE_FREE;
	}
	split->used_idx = (uint16_t)(split->used_idx + split->batch_count);
	VHU_INFLIGHT_STORE(split->region->used_idx, split->used_idx);
	split->taken_count -= split->batch_count;
	split->batch_count = 0;
}
