/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <stdio.h>

#include "port.h"
#include "rp_vring_position.h"

/*
 * Where a ring goes on is said by whoever served it last. A split ring shows it too,
 * in its used index, and is believed; a packed ring shows it nowhere. So a packed ring whose owner
 * went without a word is *lost*: started at a wrong place, it would have the guest's
 * buffers used twice. It stays stopped until the guest's driver makes a fresh one.
 *
 * The frontend asks all the same, and gives back later what it was answered. For a
 * lost ring that is "everything is taken, nothing is given back": true as far as
 * anybody knows, no place that a driver starts at, and known again when it returns.
 */
/* virtio 1.2, 2.8.14: struct pvirtq_desc, its flags in the last two bytes */
#define DESC_BYTES 16u
#define DESC_FLAGS_AT 7u /* in units of 16 bits */
#define DESC_AVAIL_MASK (1u << 7)
#define DESC_USED_MASK (1u << 15)
#define POSITION_INDEX_MASK 0x7fffu
#define POSITION_WRAP_MASK 0x8000u

#define RING_PACKED_BIT 34u

/* Parts of a ring, as lib/vring counts them. */
enum {
	DESCRIPTORS,
	AVAILABLE,
	USED,
};

/* Both rings of a split one begin with flags, then the index: virtio 1.2, 2.7.6 and 2.7.8. */
static bool
read_index(const struct rp_port *port, const struct port_queue *queue, unsigned int part, uint16_t *ret_index)
{
	const uint16_t *at = port_ring_part(port, queue, part, 4, RP_DMA_READ);

	if (at == NULL || (uintptr_t)at % sizeof(*at) != 0)
		return false;
	*ret_index = le16toh(__atomic_load_n(&at[1], __ATOMIC_ACQUIRE));
	return true;
}

bool
port_position_used(const struct rp_port *port, const struct port_queue *queue, uint16_t *ret_used)
{
	return !port_position_is_packed(port) && read_index(port, queue, USED, ret_used);
}

bool
port_position_is_packed(const struct rp_port *port)
{
	return (port->features >> RING_PACKED_BIT & 1) != 0;
}

/*
 * A driver clears its ring, and marks what it adds in the first round with the bit
 * AVAIL alone: a descriptor with the bit USED was used or added in a later round.
 * QEMU says "fresh" of a ring in mid-life when its backend died without an answer.
 */
static bool
was_used(const struct rp_port *port, const struct port_queue *queue, unsigned int *ret_descriptor)
{
	uint64_t size_bytes = (uint64_t)queue->vring.num * DESC_BYTES;
	const uint16_t *flags;
	unsigned int i;

	flags = port_ring_part(port, queue, DESCRIPTORS, size_bytes, RP_DMA_READ);
	/* Aligned where the guest put it, but perhaps not where its file's offset put it here. */
	if (flags == NULL || (uintptr_t)flags % sizeof(*flags) != 0)
		return false;
	for (i = 0; i < queue->vring.num; i++) {
		const uint16_t *at = &flags[i * (DESC_BYTES / sizeof(*flags)) + DESC_FLAGS_AT];

		if ((le16toh(__atomic_load_n(at, __ATOMIC_RELAXED)) & DESC_USED_MASK) == 0)
			continue;
		*ret_descriptor = i;
		return true;
	}
	return false;
}

static bool
is_lost(const struct rp_port *port, const struct port_queue *queue, uint32_t position)
{
	unsigned int descriptor;

	if (position == PORT_POSITION_LOST_TO_FRONTEND)
		return true;
	if (position != rp_vring_position_fresh(port->features) || !was_used(port, queue, &descriptor))
		return false;
	/* Every second time round a ring comes by there, and a chain's later descriptors keep what they were. */
	if (queue->fresh_told)
		return false;
	port_event(port, RP_PORT_EVENT_WARNING, (int)queue->index, "position-lost",
		   "the frontend starts the ring as a fresh one, but its descriptor %u was used already", descriptor);
	return true;
}

/*
 * A frontend that comes back may have forgotten where a split ring is: DPDK's virtio-user says 0. An accelerator has
 * one index for both halves of a ring, so the used ring's is the truth; vhost-net and librte_vhost read it there as
 * well. In a fresh ring it is 0, as the driver has cleared it.
 */
static void
correct(struct rp_port *port, struct port_queue *queue)
{
	uint32_t said = queue->position;

	port_position_from_ring(port, queue);
	if (queue->position != said)
		port_event(port, RP_PORT_EVENT_NOTICE, (int)queue->index, "index-corrected",
			   "the frontend says %u, the used ring %u", said, queue->position);
}

int
port_position_from_frontend(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	uint32_t position = queue->vring.base;
	bool packed = port_position_is_packed(port);
	bool lost;
	int rc = 0;

	lost = packed && is_lost(port, queue, position);
	if (!lost)
		rc = rp_vring_position_check(port->features, queue->vring.num, position, why);
	if (rc < 0) {
		rp_wire_why_prefix(why, "ring %u: SET_VRING_BASE: ", queue->index);
		return rc;
	}
	queue->position = position;
	queue->position_lost = lost;
	queue->fresh_told = false;
	/* Of another device's ring, which is not used in order, the software backend knows better what that means. */
	if (!packed && port->device == RP_PORT_DEVICE_NET)
		correct(port, queue);
	return 0;
}

void
port_position_from_ring(struct rp_port *port, struct port_queue *queue)
{
	uint16_t used;

	if (port_position_is_packed(port)) {
		queue->position_lost = true;
		return;
	}
	/* What was taken but not used is done again. */
	if (read_index(port, queue, USED, &used))
		queue->position = used;
}

/* virtio 1.2, 2.8.1: the first that is given back lies there, with both bits as the wrap counter. */
bool
port_position_is_untouched(const struct rp_port *port, const struct port_queue *queue)
{
	uint64_t at_bytes = (uint64_t)(queue->position & POSITION_INDEX_MASK) * DESC_BYTES;
	bool wrap = (queue->position & POSITION_WRAP_MASK) != 0;
	const uint16_t *ring;
	uint16_t flags;

	ring = port_ring_part(port, queue, DESCRIPTORS, at_bytes + DESC_BYTES, RP_DMA_READ);
	if (!port_position_is_packed(port) || ring == NULL || (uintptr_t)ring % sizeof(*ring) != 0)
		return false;
	flags = le16toh(__atomic_load_n(&ring[at_bytes / sizeof(*ring) + DESC_FLAGS_AT], __ATOMIC_RELAXED));
	return ((flags & DESC_AVAIL_MASK) != 0) != wrap || ((flags & DESC_USED_MASK) != 0) != wrap;
}

unsigned int
port_position_pending(const struct rp_port *port, const struct port_queue *queue)
{
	uint16_t used, available, pending;

	if (port_position_is_packed(port) || !read_index(port, queue, USED, &used) ||
	    !read_index(port, queue, AVAILABLE, &available))
		return 0;
	pending = (uint16_t)(available - used);
	return pending <= queue->vring.num ? pending : 0;
}

uint32_t
port_position_to_frontend(const struct port_queue *queue)
{
	return queue->position_lost ? PORT_POSITION_LOST_TO_FRONTEND : queue->position;
}

int
port_position_keep(const struct rp_port *port, const struct port_queue *queue, struct rp_wire_why *why)
{
	if (!port_position_is_packed(port) || queue->shadow.ring != NULL ||
	    port->accelerators[queue->accelerator].info.class == RP_ACCEL_CLASS_A)
		return 0;
	return rp_wire_why_set(why, -ENOTSUP,
			       "queue %u: the device cannot tell where in a packed ring it stops (class B): it goes on",
			       queue->index);
}

void
port_position_text(const struct rp_port *port, uint32_t position, char *ret_text, size_t size)
{
	if (port_position_is_packed(port))
		snprintf(ret_text, size, "descriptor %u, wrap %u", position & 0x7fff, position >> 15 & 1);
	else
		snprintf(ret_text, size, "index %u", position);
}
