/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>

#include "dev.h"
#include "split.h"

/* With VIRTIO_F_IN_ORDER an entry's place in the available ring is its place in the used ring. */
static struct rp_vring_note *
note_of(const struct rp_vring_dev *ring, uint16_t index)
{
	return &ring->layout.notes[index & (ring->layout.num - 1)];
}

bool
rp_vring_split_look(struct rp_vring_dev *ring)
{
	uint16_t index = vring_load16_acquire(ring->avail + SPLIT_INDEX_AT);
	uint16_t count = (uint16_t)(index - ring->next_avail);

	if (count > ring->layout.num)
		return false;
	if (count > (uint16_t)(ring->seen_avail - ring->next_avail))
		ring->seen_avail = index;
	return true;
}

int
rp_vring_split_available(struct rp_vring_dev *ring)
{
	if (!rp_vring_split_look(ring))
		return rp_vring_dev_break(ring, "the available index is beyond the ring");
	return (uint16_t)(ring->seen_avail - ring->next_avail);
}

static int
note_order(struct rp_vring_dev *ring, uint16_t index, uint16_t head)
{
	struct rp_vring_note *note = note_of(ring, index);

	if (note->order_id != VRING_NO_ID && note->order_id != head)
		return rp_vring_dev_break(ring, "an available entry changed");
	note->order_id = head;
	return 0;
}

int
rp_vring_split_peek(struct rp_vring_dev *ring, uint16_t ahead, struct rp_vring_chain *ret_chain)
{
	uint16_t index = (uint16_t)(ring->next_avail + ahead), slot, head;
	int rc;

	if (ahead >= (uint16_t)(ring->seen_avail - ring->next_avail)) {
		rc = rp_vring_split_available(ring);
		if (rc < 0)
			return rc;
		if (ahead >= rc)
			return 0;
	}
	/* What was not given back is noted in its place; each chain out has a descriptor of its own (2.7.13.1). */
	if (ring->in_order && (uint16_t)(index - ring->next_used) >= ring->layout.num)
		return rp_vring_dev_break(ring, "more chains are out than the ring has");
	slot = index & (ring->layout.num - 1);
	head = vring_load16(ring->avail + SPLIT_ENTRIES_AT + (size_t)slot * SPLIT_AVAIL_BYTES);
	rc = rp_vring_split_walk(ring, head, ret_chain);
	if (rc == 0 && ring->in_order)
		rc = note_order(ring, index, head);
	return rc < 0 ? rc : 1;
}

void
rp_vring_split_advance(struct rp_vring_dev *ring, uint16_t count)
{
	assert(count <= (uint16_t)(ring->seen_avail - ring->next_avail));
	ring->next_avail = (uint16_t)(ring->next_avail + count);
}

int
rp_vring_split_fill(struct rp_vring_dev *ring, uint16_t ahead, uint16_t head, uint32_t written_bytes)
{
	uint16_t index = (uint16_t)(ring->next_used + ahead);
	uint16_t slot = index & (ring->layout.num - 1);
	uint8_t *entry = ring->used + SPLIT_ENTRIES_AT + (size_t)slot * SPLIT_USED_BYTES;

	if (ring->in_order && note_of(ring, index)->order_id != head)
		return -EINVAL;
	vring_store32(entry, head);
	vring_store32(entry + SPLIT_USED_LEN_AT, written_bytes);
	return 0;
}

static int
forget_order(struct rp_vring_dev *ring, uint16_t count)
{
	uint16_t i;

	if (count > (uint16_t)(ring->next_avail - ring->next_used))
		return -EINVAL;
	for (i = 0; i < count; i++)
		note_of(ring, (uint16_t)(ring->next_used + i))->order_id = VRING_NO_ID;
	return 0;
}

int
rp_vring_split_publish(struct rp_vring_dev *ring, uint16_t count)
{
	if (ring->in_order && forget_order(ring, count) < 0)
		return -EINVAL;
	ring->next_used = (uint16_t)(ring->next_used + count);
	if (ring->unsignalled_count <= UINT16_MAX)
		ring->unsignalled_count += count;
	vring_store16_release(ring->used + SPLIT_INDEX_AT, ring->next_used);
	return 0;
}

bool
rp_vring_split_is_wanted(const struct rp_vring_dev *ring, uint32_t published_count, bool first)
{
	if (!ring->event_idx)
		return (vring_load16(ring->avail + SPLIT_FLAGS_AT) & SPLIT_NO_INTERRUPT) == 0;
	/* What an owner before us published and did not signal is unknown: the driver may wait for that. */
	if (first)
		return true;
	return split_event_passed(vring_load16(ring->avail + split_used_event_at(ring->layout.num)), ring->next_used,
				  published_count);
}

void
rp_vring_split_set_notify(struct rp_vring_dev *ring, bool wanted)
{
	/* An event index cannot say "never": the entry just passed is the farthest from coming again. */
	if (ring->event_idx)
		vring_store16(ring->used + split_avail_event_at(ring->layout.num),
			      wanted ? ring->next_avail : (uint16_t)(ring->next_avail - 1));
	else
		vring_store16(ring->used + SPLIT_FLAGS_AT, wanted ? 0 : SPLIT_NO_NOTIFY);
}
