/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "dev.h"
#include "mirror.h"
#include "packed.h"

#define DESC_BYTES ((uint32_t)sizeof(struct packed_desc))

/*
 * Theory of operation: a chain is announced by the flags of its first descriptor,
 * and bytes that are read in one access come in no order. So descriptors are
 * read twice: those whose flags said "available" in the first access are complete
 * in the second. What was not announced by then does not enter the copy, so that
 * the copy never shows half of a chain.
 */

static uint16_t
window_flags(const struct rp_vring_mirror *mirror, uint16_t index)
{
	return vring_load16(mirror->window + (size_t)index * DESC_BYTES + offsetof(struct packed_desc, flags));
}

/* Whether descriptor `index` of the window is available on its lap. */
static bool
window_available(const struct rp_vring_mirror *mirror, uint16_t index)
{
	uint16_t at = mirror->accept_at;
	bool wrap = mirror->accept_wrap;

	packed_move(mirror->ring.layout.num, &at, &wrap, index);
	return packed_is_available(window_flags(mirror, index), wrap);
}

static uint16_t
room_of(const struct rp_vring_mirror *mirror)
{
	return (uint16_t)(mirror->ring.layout.num - mirror->accepted_count);
}

/* Segments for descriptors `first` to `first + count - 1` of the window, around the ring's end. */
static unsigned int
window_segments(const struct rp_vring_mirror *mirror, uint16_t first, uint16_t count,
		struct rp_dma_segment ret_segments[2])
{
	uint16_t num = mirror->ring.layout.num, at = mirror->accept_at, here;
	bool wrap = false;

	packed_move(num, &at, &wrap, first);
	here = count < num - at ? count : (uint16_t)(num - at);
	ret_segments[0] = (struct rp_dma_segment){
		.iova = mirror->iovas[MIRROR_DESC] + (uint64_t)at * DESC_BYTES,
		.size_bytes = (uint64_t)here * DESC_BYTES,
		.bytes = mirror->window + (size_t)first * DESC_BYTES,
	};
	if (here == count)
		return 1;
	ret_segments[1] = (struct rp_dma_segment){
		.iova = mirror->iovas[MIRROR_DESC],
		.size_bytes = (uint64_t)(count - here) * DESC_BYTES,
		.bytes = mirror->window + (size_t)(first + here) * DESC_BYTES,
	};
	return 2;
}

static int
read_window(struct rp_vring_mirror *mirror, uint16_t first, uint16_t count)
{
	struct rp_dma_segment segments[2];
	unsigned int used = window_segments(mirror, first, count, segments);

	return mirror->ops->read(mirror->ctx, segments, used);
}

static uint16_t
window_count(const struct rp_vring_mirror *mirror)
{
	uint16_t room = room_of(mirror);

	return room < MIRROR_WINDOW ? room : MIRROR_WINDOW;
}

/* How many descriptors from the first on say that they are available. */
static uint16_t
count_announced(const struct rp_vring_mirror *mirror, uint16_t limit)
{
	uint16_t count = 0;

	while (count < limit && window_available(mirror, count))
		count++;
	return count;
}

/* The last chain may go on beyond what was read; all of it is there since its first descriptor is. */
static int
complete_chain(struct rp_vring_mirror *mirror, uint16_t *count)
{
	uint16_t read_count = *count, room = room_of(mirror);

	while (*count < room && (window_flags(mirror, (uint16_t)(*count - 1)) & PACKED_DESC_NEXT) != 0) {
		if (*count == read_count) {
			uint16_t more = (uint16_t)(room - read_count);
			int rc;

			more = more < MIRROR_WINDOW ? more : MIRROR_WINDOW;
			rc = read_window(mirror, read_count, more);
			if (rc < 0)
				return rc;
			read_count = (uint16_t)(read_count + more);
		}
		/* A driver that breaks this rule is found out when the chain is walked. */
		if (!window_available(mirror, *count))
			return 0;
		(*count)++;
	}
	return 0;
}

static void
accept(struct rp_vring_mirror *mirror, uint16_t count)
{
	uint16_t i;

	for (i = 0; i < count; i++) {
		memcpy(mirror->parts[MIRROR_DESC] + (size_t)mirror->accept_at * DESC_BYTES,
		       mirror->window + (size_t)i * DESC_BYTES, DESC_BYTES);
		packed_move(mirror->ring.layout.num, &mirror->accept_at, &mirror->accept_wrap, 1);
	}
	mirror->accepted_count = (uint16_t)(mirror->accepted_count + count);
}

static int
look(struct rp_vring_mirror *mirror)
{
	uint16_t count = window_count(mirror);
	bool hinted = mirror->hinted;
	int rc = 0;

	mirror->hinted = false;
	if (count == 0)
		return 0;
	if (!hinted)
		rc = read_window(mirror, 0, count);
	if (rc < 0)
		return rc;
	count = count_announced(mirror, count);
	if (count == 0)
		return 0;
	rc = read_window(mirror, 0, count);
	if (rc < 0)
		return rc;
	count = count_announced(mirror, count);
	if (count > 0)
		rc = complete_chain(mirror, &count);
	if (rc == 0)
		accept(mirror, count);
	return rc;
}

int
rp_vring_mirror_packed_look(struct rp_vring_mirror *mirror)
{
	int rc = look(mirror);

	return rc == -EFAULT ? rp_vring_dev_break(&mirror->ring, "the descriptor ring is not mapped readable") : rc;
}

/* How many descriptors the given chains took. */
static uint16_t
given_size(const struct rp_vring_mirror *mirror)
{
	uint32_t to = rp_vring_dev_position_used(&mirror->ring), num = mirror->ring.layout.num;
	uint32_t from_at = mirror->given_from & PACKED_PLACE_MASK, to_at = to & PACKED_PLACE_MASK;
	bool around = ((mirror->given_from ^ to) >> PACKED_WRAP_AT & 1) != 0;

	return (uint16_t)(to_at + (around ? num : 0) - from_at);
}

/*
 * Everything but the flags of the first used descriptor (2.8.9), and with it what
 * lies between used descriptors: it belongs to the given chains and is as the
 * driver wrote it.
 */
int
rp_vring_mirror_packed_entries(struct rp_vring_mirror *mirror)
{
	uint16_t num = mirror->ring.layout.num, at = mirror->given_from & PACKED_PLACE_MASK, left, here;
	bool wrap = false;
	int rc;

	if (mirror->given_count == 0)
		return 0;
	left = (uint16_t)(given_size(mirror) - 1);
	rc = mirror_add_part(mirror, MIRROR_DESC, (uint64_t)at * DESC_BYTES + offsetof(struct packed_desc, len),
			     offsetof(struct packed_desc, flags) - offsetof(struct packed_desc, len));
	packed_move(num, &at, &wrap, 1);
	here = left < num - at ? left : (uint16_t)(num - at);
	if (rc == 0)
		rc = mirror_add_part(mirror, MIRROR_DESC, (uint64_t)at * DESC_BYTES, (uint64_t)here * DESC_BYTES);
	if (rc == 0)
		rc = mirror_add_part(mirror, MIRROR_DESC, 0, (uint64_t)(left - here) * DESC_BYTES);
	return rc;
}

/* Sent once, the flags may have arrived, and the driver may have used the place again since. */
static int
has_arrived(struct rp_vring_mirror *mirror, uint64_t flags_at, bool *ret_arrived)
{
	uint16_t flags;
	struct rp_dma_segment there = {
		.iova = mirror->iovas[MIRROR_DESC] + flags_at,
		.size_bytes = sizeof(flags),
		.bytes = &flags,
	};
	int rc = mirror->ops->read(mirror->ctx, &there, 1);

	if (rc < 0)
		return rc;
	*ret_arrived = !packed_is_available(le16toh(flags), (mirror->given_from >> PACKED_WRAP_AT & 1) != 0);
	return 0;
}

int
rp_vring_mirror_packed_show(struct rp_vring_mirror *mirror)
{
	uint64_t at =
		(mirror->given_from & PACKED_PLACE_MASK) * (uint64_t)DESC_BYTES + offsetof(struct packed_desc, flags);
	struct rp_dma_segment flags = mirror_segment(mirror, MIRROR_DESC, at, sizeof(uint16_t));
	bool arrived = false;
	int rc = 0;

	if (mirror->given_count == 0)
		return 0;
	if (mirror->shown)
		rc = has_arrived(mirror, at, &arrived);
	if (rc == 0 && !arrived) {
		mirror->shown = true;
		rc = mirror->ops->write(mirror->ctx, &flags, 1);
	}
	if (rc == 0)
		mirror->accepted_count = (uint16_t)(mirror->accepted_count - given_size(mirror));
	return rc;
}

int
rp_vring_mirror_packed_wish(struct rp_vring_mirror *mirror)
{
	struct rp_dma_segment segments[3];
	uint16_t count = window_count(mirror);
	unsigned int used = 1;
	int rc;

	segments[0] = mirror_segment(mirror, MIRROR_DRIVER, 0, PACKED_EVENT_BYTES);
	if (count > 0)
		used += window_segments(mirror, 0, count, segments + 1);
	rc = mirror->ops->read(mirror->ctx, segments, used);
	if (rc == 0)
		mirror->hinted = true;
	return rc;
}

struct rp_dma_segment
rp_vring_mirror_packed_notify(const struct rp_vring_mirror *mirror)
{
	return mirror_segment(mirror, MIRROR_DEVICE, 0, PACKED_EVENT_BYTES);
}
