/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MOVER_H
#define MOVER_H

#include "device.h"

/* What the device of device.h lacks: it can be migrated, logs what it writes, and may take its time to stand still. */

#define MOVER_ARCS_MAX 16
#define MOVER_DATA_MAX 300000

struct mover {
	struct {
		enum rp_vfu_mig_state from;
		enum rp_vfu_mig_state to;
	} arcs[MOVER_ARCS_MAX]; /* as they were asked for */
	unsigned int arcs_count;
	enum rp_vfu_mig_state fail_to; /* the arc there fails with fail_with */
	int fail_with;

	uint8_t out[MOVER_DATA_MAX]; /* what it says of itself, in pieces of out_piece_bytes */
	uint32_t out_bytes;
	uint32_t out_done_bytes;
	uint32_t out_piece_bytes;
	uint8_t in[MOVER_DATA_MAX];
	uint32_t in_bytes;
	int data_fail_with;

	int quiesce_with; /* what quiesce() returns */
	unsigned int quiesces;
	uint64_t token; /* of the last quiesce() */
	unsigned int resets;
	int reset_with;
};

extern struct mover mover;

/* The device of device.h with all of it; forgets what was. */
void mover_describe(struct device *device, struct device_description *ret_description);

/* Instead of device_start(), device_connect() and device_negotiate(). */
void mover_start(struct device *device, struct peer *peer);

/* DEVICE_FEATURE with the method's bits; its error. */
uint32_t mover_feature(struct peer *peer, uint32_t flags, const void *data, size_t data_bytes,
		       struct peer_msg *ret_reply);
#define MOVER_GET 0x10000u
#define MOVER_SET 0x20000u
#define MOVER_PROBE 0x40000u

/* SET of MIG_DEVICE_STATE; its error. */
uint32_t mover_go(struct peer *peer, uint32_t state);

#endif
