/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TRAFFIC_H
#define TRAFFIC_H

#include "rig.h"

/*
 * Two guests of softaccel that send each other numbered frames of all sizes, in
 * pieces of all sizes, and check every byte. The books are exact: what was sent was
 * received or is counted as dropped, in order, nothing twice.
 */

#define TRAFFIC_RX 0u
#define TRAFFIC_TX 1u
#define TRAFFIC_WINDOW 8u
#define TRAFFIC_LIMIT_MS 60000u

struct traffic_guest {
	struct rig_guest rig;
	unsigned int function;
	uint32_t receive_bytes; /* of one buffer */
	uint32_t sent;
	uint32_t expected; /* the next one, or a later one */
	int64_t received; /* below 0 where noise of its own was counted as dropped */
	uint64_t dropped_before;
	bool away; /* its client has left */
};

struct traffic {
	struct rig rig;
	struct traffic_guest guests[2];
	uint64_t features;
	unsigned int seed;
};

/* Both functions, and the data path; the guests' reach and client configuration may be set afterwards. */
void traffic_create(struct traffic *traffic, uint64_t features, enum softaccel_dma dma);
/* Connect both guests and start their queues. */
void traffic_start(struct traffic *traffic);
void traffic_destroy(struct traffic *traffic);

/* Start a guest's queues, from nothing. */
void traffic_guest_start(struct traffic *traffic, unsigned int guest);
/* A client that leaves, and one that comes to the same device and memory. */
void traffic_guest_leave(struct traffic *traffic, unsigned int guest);
void traffic_guest_return(struct traffic *traffic, unsigned int guest);

/* Send both ways until each has received `more` frames more than now. Who is away neither sends nor receives. */
void traffic_run(struct traffic *traffic, uint32_t more);
/* What is on its way now may come or not. */
void traffic_forget(struct traffic *traffic);
/* Send nothing; until the books balance. */
void traffic_settle(struct traffic *traffic);
/* Everything that was sent was received. */
void traffic_assert_none_dropped(const struct traffic *traffic);
/* One turn of both guests. @return whether anything happened. */
bool traffic_turn(struct traffic *traffic, bool send);
/* A turn, and a short wait when nothing happened. */
void traffic_turn_or_wait(struct traffic *traffic, bool send);

#endif
