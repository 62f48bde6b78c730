/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_PASS_H
#define SA_PASS_H

#include "sa_switch.h"

/**
 * @file
 * Frames from guest to guest, copied once.
 *
 * Theory of operation: a burst of chains is looked at where it is. The first bytes of a
 * frame are copied, and everything is decided from that copy: whether the frame is an
 * ordinary one, whose address the source is, where it goes. Then that copy and, behind it,
 * what is left in the sender's memory are put into the receiver's buffers. So a guest that
 * rewrites a frame meanwhile only changes its payload, never a header that was judged.
 *
 * Only what is sure to arrive is passed in this way, and passing changes nothing but
 * counters: the source is known and at home here, the destination is known, has a running
 * receive ring that the data path reaches, and buffers enough are there. Whatever else
 * there is - floods, the uplink, new addresses, offloads, drops of any kind, rings that
 * change hands, chains of many pieces - is left untaken, in its place, for the path through
 * packet buffers (sa_ring_transmit(), sa_switch_forward()). So order is kept, and nothing
 * is counted, learned or dropped in two ways.
 *
 * Threads: the data path.
 */

/** What is copied of a packet, virtio-net header included, before anything is decided. */
#define SA_PASS_HEAD_BYTES 64u
/** And with it if a flow cannot be told from that: all that sa_flow_hash() looks at. */
#define SA_PASS_FLOW_BYTES 128u

/** As sa_switch_serve(). */
unsigned int sa_pass_serve(struct sa_switch *sw, struct sa_ring *ring);

#endif
