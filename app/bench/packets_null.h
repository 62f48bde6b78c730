/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PACKETS_NULL_H
#define PACKETS_NULL_H

#include "packets_side.h"

/*
 * A device that does nothing but give rings back: every chain of the sender counts as
 * sent, and as many of the receiver's as received, in the sender's order; no descriptor
 * and no byte of a packet is looked at. What the generator makes with it is what it can
 * make; a device is measured only if it makes less. Or it copies each packet before, and
 * still looks at nothing else but whether the header is there already: what a plain copy makes.
 *
 * Threads: the device's. Rings that the generator works on at the same time are reached
 * by their memory only.
 */
struct packets_null_ring {
	const struct packets_ring *ring; /* what never changes of it */
	uint16_t slot; /* the next one */
	uint16_t index; /* split: of the next used entry */
	bool wrap; /* packed */
};

struct packets_null {
	unsigned int pairs;
	bool copies; /* packets of one descriptor */
	uint32_t written_bytes; /* what a packet takes; set by whoever knows what is sent */
	struct packets_null_ring tx[PACKETS_PAIRS_MAX], rx[PACKETS_PAIRS_MAX];
};

void packets_null_open(struct packets_null *null, struct packets_side *side, bool copies);
/* @return how many packets. */
unsigned int packets_null_poll(struct packets_null *null);

#endif
