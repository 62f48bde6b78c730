/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/eventfd.h>

#include "rp_wire_fd.h"
#include "sa_courier.h"
#include "sa_doorbell.h"

int
sa_courier_init(struct sa_courier *courier, const struct rp_vring_layout *layout, uint32_t position,
		const struct rp_vring_mirror_ops *access, void *access_ctx, struct rp_wire_why *why)
{
	int rc;

	courier->access = access;
	courier->access_ctx = access_ctx;
	courier->position = position;
	courier->local_kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	courier->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (courier->local_kick_fd < 0 || courier->bell_fd < 0)
		rc = rp_wire_why_set(why, -errno, "eventfd: %s", strerror(errno));
	else
		rc = rp_vring_mirror_create(layout, position, access, access_ctx, &courier->mirror, why);
	if (rc < 0)
		sa_courier_fini(courier);
	return rc;
}

void
sa_courier_fini(struct sa_courier *courier)
{
	sa_local_fini(&courier->local);
	courier->mirror = rp_vring_mirror_destroy(courier->mirror);
	rp_wire_fd_close(&courier->bell_fd);
	rp_wire_fd_close(&courier->local_kick_fd);
}

static void
wake(struct sa_courier *courier)
{
	__atomic_store_n(&courier->awake, true, __ATOMIC_RELAXED);
}

bool
sa_courier_hear(struct sa_courier *courier)
{
	uint64_t kicks = sa_doorbell_drain(courier->guest_kick_fd) + sa_doorbell_drain(courier->guest_said_fd);
	bool rung;

	sa_doorbell_drain(courier->bell_fd);
	rung = __atomic_exchange_n(&courier->ring->rung, false, __ATOMIC_ACQUIRE);
	if (kicks > 0)
		sa_count(&courier->counters->eventfd_kicks, kicks);
	if (kicks > 0 || rung)
		wake(courier);
	return kicks > 0 || rung;
}

/* What is given to the mirror is the guest's again, and the slots are free. @return as a turn. */
static int
flush(struct sa_courier *courier)
{
	int rc = rp_vring_mirror_flush(courier->mirror);

	if (rc < 0)
		return rc;
	while (courier->flushing_count > 0)
		sa_local_free(&courier->local, courier->flushing[--courier->flushing_count]);
	__atomic_store_n(&courier->position, rp_vring_mirror_position(courier->mirror), __ATOMIC_RELAXED);
	return rc == 1 ? SA_COURIER_INTERRUPT : 0;
}

/* The bytes that the data path wrote, to where the guest has its buffers. */
static int
write_back(struct sa_courier *courier, const struct sa_slot *slot)
{
	uint32_t at = 0;
	uint16_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < slot->spans_count && at < slot->written_bytes; i++) {
		uint64_t now_bytes = RTE_MIN(slot->spans[i].size_bytes, (uint64_t)(slot->written_bytes - at));

		rc = rp_vring_mirror_write(courier->mirror, slot->spans[i].iova, slot->bytes + at, now_bytes);
		at += (uint32_t)now_bytes;
	}
	return rc;
}

/* How many slots after this one belong to its frame: num_buffers is at 10 (virtio 1.2, 5.1.6.1). */
static unsigned int
more_of_frame(const struct sa_courier *courier, const struct sa_slot *slot)
{
	unsigned int count;

	/* Empty: its chain was of no use. */
	if (courier->transmits || slot->written_bytes == 0)
		return 0;
	count = slot->bytes[10] | (unsigned int)slot->bytes[11] << 8;
	return count == 0 ? 0 : count - 1;
}

/*
 * Frames are brought back whole, because a driver takes one that is half there for
 * an error. @return how many chains are with the mirror now, or an error.
 */
static int
collect(struct sa_courier *courier)
{
	unsigned int left = 0;

	while (courier->flushing_count < SA_COURIER_BATCH ||
	       (left > 0 && courier->flushing_count < RTE_DIM(courier->flushing))) {
		struct sa_slot *slot = sa_local_collect(&courier->local);
		int rc;

		if (slot == NULL)
			break;
		left = left > 0 ? left - 1 : more_of_frame(courier, slot);
		courier->flushing[courier->flushing_count++] = slot;
		rc = write_back(courier, slot);
		if (rc == 0)
			rc = rp_vring_mirror_give(courier->mirror, slot->head, slot->written_bytes);
		/* Half of a batch cannot be taken back. */
		if (rc < 0)
			return -EBADMSG;
	}
	return courier->flushing_count;
}

/* Fetch what the guest sends, all of a batch at once. What is too long is not: the data path refuses it by its size. */
static int
fetch_payload(struct sa_courier *courier, struct sa_courier_scratch *scratch, struct sa_slot **slots, int count)
{
	unsigned int used = 0, part;
	int i;

	for (i = 0; i < count; i++) {
		const struct rp_vring_chain *chain = &scratch->chains[i];
		uint8_t *at = slots[i]->bytes;

		for (part = 0; chain->out_bytes <= SA_SLOT_BYTES && part < chain->out_count; part++) {
			scratch->segments[used++] = (struct rp_dma_segment){
				.iova = chain->spans[part].iova,
				.size_bytes = chain->spans[part].size_bytes,
				.bytes = at,
			};
			at += chain->spans[part].size_bytes;
		}
	}
	return used == 0 ? 0 : courier->access->read(courier->access_ctx, scratch->segments, used);
}

static void
post(struct sa_courier *courier, const struct rp_vring_chain *chain, struct sa_slot *slot)
{
	slot->head = chain->head;
	if (courier->transmits)
		sa_local_post(&courier->local, slot, chain->out_bytes, false);
	else
		sa_local_post(&courier->local, slot, chain->in_bytes, true);
}

/* Bring `count` chains that were peeked at into slots. @return 0 or an error; then no slot was used. */
static int
bring(struct sa_courier *courier, struct sa_courier_scratch *scratch, int count)
{
	struct sa_slot *slots[SA_COURIER_BATCH];
	int i, taken, rc = 0;

	for (taken = 0; rc == 0 && taken < count; taken++) {
		slots[taken] = sa_local_take(&courier->local);
		if (!courier->transmits)
			rc = sa_slot_remember(slots[taken], &scratch->chains[taken]);
	}
	if (rc == 0 && courier->transmits)
		rc = fetch_payload(courier, scratch, slots, count);
	for (i = 0; i < taken; i++) {
		if (rc == 0)
			post(courier, &scratch->chains[i], slots[i]);
		else
			sa_local_free(&courier->local, slots[i]);
	}
	if (rc < 0)
		return rc;
	rp_vring_mirror_advance(courier->mirror, (uint16_t)count);
	if (rp_vring_drv_needs_kick(courier->local.ring))
		eventfd_write(courier->local_kick_fd, 1);
	return 0;
}

/* Take what the guest made available. @return as a turn. */
static int
take(struct sa_courier *courier, struct sa_courier_scratch *scratch)
{
	uint16_t room = RTE_MIN(courier->local.free_count, (uint16_t)SA_COURIER_BATCH);
	int rc;

	/* Awake, but waiting for the data path. */
	if (room == 0)
		return SA_COURIER_IDLE;
	rc = rp_vring_mirror_look(courier->mirror);
	if (rc >= 0)
		rc = rp_vring_mirror_peek(courier->mirror, scratch->chains, room);
	if (rc < 0)
		return rc;
	if (rc > 0) {
		rc = bring(courier, scratch, rc);
		return rc < 0 ? rc : SA_COURIER_MORE;
	}
	rc = rp_vring_mirror_ask(courier->mirror);
	if (rc < 0)
		return rc;
	if (rc > 0)
		return SA_COURIER_MORE;
	__atomic_store_n(&courier->awake, false, __ATOMIC_RELAXED);
	return SA_COURIER_IDLE;
}

/* As the ring's next owner expects it: the driver kicks. @return as a turn. */
static int
leave(struct sa_courier *courier)
{
	int rc = rp_vring_mirror_ask(courier->mirror);

	return rc < 0 ? rc : SA_COURIER_IDLE;
}

int
sa_courier_turn(struct sa_courier *courier, struct sa_courier_scratch *scratch)
{
	/* What an earlier turn could not finish comes first. */
	int rc, interrupts = flush(courier), collected;

	if (interrupts < 0)
		return interrupts;
	collected = collect(courier);
	if (collected < 0)
		return collected;
	if (collected > 0) {
		rc = flush(courier);
		if (rc < 0)
			return rc;
		interrupts |= rc;
	}
	rc = collected > 0 ? SA_COURIER_MORE : SA_COURIER_IDLE;
	if (courier->draining ? collected == 0 : courier->awake) {
		int taken = courier->draining ? leave(courier) : take(courier, scratch);

		/* The interrupt must not be lost to an error that comes after it. */
		if (taken < 0)
			return interrupts != 0 ? SA_COURIER_MORE | interrupts : taken;
		rc |= taken;
	}
	return rc | interrupts;
}
