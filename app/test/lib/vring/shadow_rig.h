/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SHADOW_RIG_H
#define SHADOW_RIG_H

#include "guest_packed.h"
#include "rp_vring_copy.h"
#include "rp_vring_shadow.h"

/*
 * A shadow between the guest of guest.h and a device: the device is the library's own
 * device's side on the private ring's memory, which has tests of its own; it sees
 * addresses as they were forwarded.
 */

#define RIG_IOVA UINT64_C(0x7f0000000000) /* of the private ring */
#define RIG_REPORTS 512u

struct rig_report {
	uint64_t iova;
	uint64_t size_bytes;
};

struct rig {
	struct guest *guest;
	struct rp_vring_shadow *shadow;
	uint8_t *memory; /* of the private ring */
	size_t memory_bytes;
	struct rp_vring_layout layout; /* of the private ring */
	struct rp_vring_dev device;
	struct rp_vring_note *notes;
	struct rp_vring_chain chain; /* the device's last one */
	struct rig_report reports[RIG_REPORTS];
	unsigned int reports_count;
};

/* A shadow on the guest's ring as it was started, and a device that begins; everything written is noted. */
void rig_open(struct rig *rig, struct guest *guest, uint32_t position);
/* As above, of a guest whose addresses are translated; NULL: they are not. */
void rig_open_translated(struct rig *rig, struct guest *guest, uint32_t position,
			 const struct rp_vring_shadow_translation *translation);
void rig_close(struct rig *rig);

/* The device begins anew on the private ring as it is now. */
void rig_attach(struct rig *rig);

/* The private ring elsewhere; the device begins anew there, and the old place is overwritten. */
void rig_rebase(struct rig *rig);

/* Forward, or return, and get this. */
void rig_forward(struct rig *rig, int count, bool kick);
void rig_return(struct rig *rig, int count, bool call);

/* The device takes a chain; uses one. */
void rig_pop(struct rig *rig);
void rig_use(struct rig *rig, uint16_t head, uint32_t written_bytes);

/* A part of the chain that was popped. */
void rig_assert_part(const struct rig *rig, unsigned int index, uint64_t iova, uint64_t size_bytes);

/* What was reported since the last call is this, in this order; ends with an entry of size 0. */
void rig_assert_reports(struct rig *rig, const struct rig_report *expected);

/* Drain, and get this. */
void rig_drain(struct rig *rig, uint32_t position, unsigned int redone, bool call);

#endif
