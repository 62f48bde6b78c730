/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VRING_POSITION_H
#define RP_VRING_POSITION_H

#include <stdint.h>

#include "rp_wire_why.h"

/**
 * @file
 * Where a ring is taken over or was left, in 32 bits, as vhost-user's
 * SET_VRING_BASE and GET_VRING_BASE encode it:
 *
 * | bits  | split                     | packed (VIRTIO_F_RING_PACKED)           |
 * |-------|---------------------------|-----------------------------------------|
 * | 0-14  | the next available index, | the next available descriptor           |
 * | 15    | 16 bits, free running     | the wrap counter that belongs to it     |
 * | 16-30 | 0                         | the next used descriptor                |
 * | 31    | 0                         | the wrap counter that belongs to it     |
 *
 * A drained ring (all that was taken was given back) has one index, or two equal
 * halves. Only a drained ring can be taken over: what is between the halves of
 * another one is known to its former owner alone.
 *
 * Threads: no state. Errors: -EBADMSG.
 */

/**
 * The position of a ring that nobody used yet.
 *
 * @param features as negotiated; VIRTIO_F_RING_PACKED is looked at.
 * @return 0, or 0x80008000 for a packed ring (virtio 1.2, 2.8.1: wrap counters begin with 1).
 */
uint32_t rp_vring_position_fresh(uint64_t features);

/**
 * The position of a drained ring from its lower half alone. Some vhost-user peers
 * leave the upper half of a packed ring's position 0 and mean a drained ring
 * (DPDK's virtio-user sends 0x8000 for a fresh one, librte_vhost reports 16 bits).
 *
 * @param features as negotiated; VIRTIO_F_RING_PACKED is looked at.
 * @param available bits 0 to 15 of the position.
 * @return the position; not checked.
 */
uint32_t rp_vring_position_drained(uint64_t features, uint16_t available);

/**
 * Whether a ring of `num` entries can be taken over there.
 *
 * @param features as negotiated; VIRTIO_F_RING_PACKED is looked at.
 * @param num entries of the ring.
 * @param why names the field; NULL is allowed.
 * @return 0, or -EBADMSG: a split index of more than 16 bits, a descriptor beyond a
 *         packed ring, or halves that differ (the ring is not drained).
 */
int rp_vring_position_check(uint64_t features, uint16_t num, uint32_t position, struct rp_wire_why *why);

#endif
