/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "chain.h"
#include "dev.h"
#include "shadow.h"

/* Find the table of a chain that names one, and add what it holds. */
static int
follow_table(struct rp_vring_shadow *shadow, const struct rp_vring_span *span)
{
	struct rp_vring_dev *guest = &shadow->guest;
	struct chain_table table;

	if (span->size_bytes == 0)
		return 0;
	rp_vring_chain_table_reach(guest, span->iova, (uint32_t)span->size_bytes, &table);
	return guest->packed ? rp_vring_packed_follow(guest, &table, &shadow->chain) :
			       rp_vring_split_follow(guest, &table, &shadow->chain);
}

void
rp_vring_shadow_hand_over(struct rp_vring_shadow *shadow, struct shadow_chain *chain)
{
	const struct drv_chain to_device = {
		.parts = shadow->parts,
		.parts_count = rp_vring_shadow_book_parts(&shadow->book, chain, shadow->parts),
		.indirect = chain->table,
		.writable_bytes = chain->in_bytes,
		.cookie = chain,
	};

	/* There is room: what the book holds was found to fit. */
	rp_vring_drv_put(shadow->device, &to_device);
}

/*
 * How far ahead of a chain that waits for a translation others are asked for: a
 * frontend's answers come one after the other, so asking one by one costs a round trip each.
 */
#define AHEAD_MAX 64u

static int
look(struct rp_vring_shadow *shadow, uint16_t ahead, struct shadow_taken *ret_taken)
{
	const struct rp_vring_chain *chain = &shadow->chain;
	int rc = rp_vring_dev_peek(&shadow->guest, ahead, &shadow->chain);

	if (rc != 1)
		return rc;
	*ret_taken = (struct shadow_taken){
		.at = shadow->taken_size,
		.out_count = chain->out_count,
		.in_count = chain->in_count,
		.table = chain->table,
		.all = shadow->reach != NULL,
	};
	rc = follow_table(shadow, &ret_taken->table);
	return rc < 0 ? rc : 1;
}

static uint16_t
descs_of(const struct shadow_taken *taken)
{
	return (uint16_t)(taken->out_count + taken->in_count + (taken->table.size_bytes != 0));
}

/* @return 0, or -EBADMSG. */
static int
ask_ahead(struct rp_vring_shadow *shadow)
{
	struct shadow_taken taken = {0};
	uint16_t ahead;
	int rc = 1;

	shadow->stalled = true;
	shadow->reach->ahead = true;
	for (ahead = 1; ahead < AHEAD_MAX && ahead < shadow->guest.layout.num; ahead++) {
		rc = look(shadow, ahead, &taken);
		if (rc == 0 || rc == -EBADMSG)
			break;
		if (rc == 1)
			rp_vring_shadow_reach_parts(shadow);
	}
	shadow->reach->ahead = false;
	return rc == -EBADMSG ? rc : 0;
}

/* Give a chain back as it is. @return 1, 0 (not its turn yet) or -EBADMSG. */
static int
refuse(struct rp_vring_shadow *shadow, const struct shadow_taken *taken)
{
	uint16_t head = shadow->chain.head;
	int rc;

	if (shadow->guest.in_order && shadow->book.out_count != 0) {
		shadow->stalled = true;
		return 0;
	}
	rp_vring_dev_advance(&shadow->guest, 1);
	rc = rp_vring_dev_push(&shadow->guest, head, 0);
	if (rc < 0)
		return rc;
	shadow->taken_size += shadow->guest.packed ? descs_of(taken) : 1;
	shadow->refused_count++;
	return 1;
}

/* With a translation. @return 1, 0 (none waits, or the next one must) or -EBADMSG. */
static int
forward_translated(struct rp_vring_shadow *shadow)
{
	struct shadow_chain units = {0}, *entry;
	struct shadow_taken taken = {0};
	int rc = look(shadow, 0, &taken);

	if (rc == 1)
		rc = rp_vring_shadow_reach_parts(shadow);
	if (rc == -EAGAIN)
		return ask_ahead(shadow);
	if (rc == -EFAULT)
		return refuse(shadow, &taken);
	if (rc <= 0)
		return rc;
	if (descs_of(&taken) > shadow->guest.layout.num - shadow->desc_out_count)
		return rp_vring_dev_break(&shadow->guest, "more descriptors are out than the ring has");
	if (!rp_vring_shadow_reach_room(shadow, (uint16_t)rc, &units)) {
		shadow->stalled = true;
		return shadow->book.out_count == 0 ? refuse(shadow, &taken) : 0;
	}
	rp_vring_dev_advance(&shadow->guest, 1);
	entry = rp_vring_shadow_book_add(&shadow->book, &taken, &shadow->chain);
	entry->units_at = units.units_at;
	entry->units_count = units.units_count;
	rp_vring_shadow_reach_put(shadow, entry, (uint16_t)rc);
	shadow->desc_out_count += shadow_desc_count(entry);
	shadow->taken_size += shadow->guest.packed ? shadow_desc_count(entry) : 1;
	shadow->forwarded_count++;
	return 1;
}

/* @return 1, 0 (none waits) or -EBADMSG. */
static int
forward_one(struct rp_vring_shadow *shadow)
{
	struct rp_vring_chain *chain = &shadow->chain;
	struct shadow_chain *entry;
	struct shadow_taken taken = {0};
	int rc;

	if (shadow->reach != NULL)
		return forward_translated(shadow);
	rc = look(shadow, 0, &taken);
	if (rc != 1)
		return rc;
	/* 2.7.13.1: a descriptor is part of one chain; of a split ring nobody else would notice. */
	if (descs_of(&taken) > rp_vring_drv_free_count(shadow->device))
		return rp_vring_dev_break(&shadow->guest, "more descriptors are out than the ring has");
	rp_vring_dev_advance(&shadow->guest, 1);
	entry = rp_vring_shadow_book_add(&shadow->book, &taken, chain);
	rp_vring_shadow_hand_over(shadow, entry);
	shadow->taken_size += shadow->guest.packed ? shadow_desc_count(entry) : 1;
	shadow->forwarded_count++;
	return 1;
}

static int
write_wish(struct rp_vring_shadow *shadow)
{
	int rc = rp_vring_dev_set_notify(&shadow->guest, shadow->notify_wanted);

	if (rc < 0)
		return rc;
	shadow->notify_asked = shadow->notify_wanted;
	shadow->notify_place = rp_vring_shadow_place(shadow);
	rp_vring_shadow_report_wish(shadow);
	return 0;
}

int
rp_vring_shadow_set_notify(struct rp_vring_shadow *shadow, bool wanted)
{
	if (shadow->drained)
		return -EINVAL;
	shadow->notify_wanted = wanted;
	return write_wish(shadow);
}

/* An event index is passed only once: whether it must be written anew to go on being kicked for. */
static bool
must_ask_again(const struct rp_vring_shadow *shadow)
{
	return shadow->notify_asked && shadow->guest.event_idx && shadow->notify_place != rp_vring_shadow_place(shadow);
}

/* Free descriptors of the private ring end it, whatever the guest does meanwhile. */
static int
forward_all(struct rp_vring_shadow *shadow)
{
	int rc, count = 0;

	for (;;) {
		while ((rc = forward_one(shadow)) == 1)
			count++;
		if (rc < 0)
			return rc;
		if (!must_ask_again(shadow))
			return count;
		rc = write_wish(shadow);
		if (rc < 0)
			return rc;
	}
}

int
rp_vring_shadow_forward(struct rp_vring_shadow *shadow, bool *ret_kick)
{
	int rc;

	*ret_kick = false;
	if (shadow->drained)
		return -EINVAL;
	if (shadow->device_why != NULL)
		return 0;
	shadow->stalled = false;
	rc = forward_all(shadow);
	*ret_kick = rp_vring_drv_needs_kick(shadow->device);
	return rc;
}

/* Fill one used entry for each chain that the device used. @return 0, -EBADMSG or -EPROTO; *published says what was filled. */
static int
fill_used(struct rp_vring_shadow *shadow, struct shadow_published *published)
{
	uint16_t last_desc_count = 0;
	uint32_t written_bytes;
	void *cookie;
	int rc;

	while ((rc = rp_vring_drv_get(shadow->device, &cookie, &written_bytes)) == 1) {
		struct shadow_chain *chain = cookie;

		rc = rp_vring_dev_fill(&shadow->guest, published->count, chain->head, written_bytes);
		if (rc < 0)
			return rc;
		rp_vring_shadow_report_payload(shadow, chain, written_bytes);
		published->to_last = (uint16_t)(published->to_last + last_desc_count);
		last_desc_count = shadow_desc_count(chain);
		published->count++;
		if (shadow->reach != NULL)
			rp_vring_shadow_reach_release(shadow, chain);
		rp_vring_shadow_book_remove(&shadow->book, chain);
	}
	if (rc == 0)
		return 0;
	shadow->device_why = "the device used a chain that is not out, or wrote more bytes than it takes";
	return -EPROTO;
}

static int
collect_once(struct rp_vring_shadow *shadow)
{
	struct shadow_published published = {.from = shadow->guest.next_used};
	int rc = fill_used(shadow, &published), publish_rc;

	if (rc == -EBADMSG || published.count == 0)
		return rc;
	publish_rc = rp_vring_dev_publish(&shadow->guest, published.count);
	if (publish_rc < 0)
		return publish_rc;
	shadow->returned_count += published.count;
	rp_vring_shadow_report_used(shadow, &published);
	return rc < 0 ? rc : published.count;
}

int
rp_vring_shadow_collect(struct rp_vring_shadow *shadow)
{
	struct rp_vring_drv *device = shadow->device;
	int count = 0;

	if (shadow->device_why != NULL)
		return -EPROTO;
	for (;;) {
		int rc;

		/* Each wish costs a fence: written once, when there is no more, instead of for each chain. */
		device->interrupt_wanted = false;
		rc = collect_once(shadow);
		if (rc < 0)
			return rc;
		count += rc;
		if (rc == 0 || !device->event_idx)
			return count;
		rp_vring_drv_set_interrupt(device, true);
	}
}

int
rp_vring_shadow_return(struct rp_vring_shadow *shadow, bool *ret_call)
{
	int rc;

	*ret_call = false;
	if (shadow->drained)
		return -EINVAL;
	rc = rp_vring_shadow_collect(shadow);
	*ret_call = rp_vring_dev_needs_interrupt(&shadow->guest) == 1;
	return rc;
}
