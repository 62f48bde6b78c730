/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef GUEST_PACKED_H
#define GUEST_PACKED_H

#include "guest.h"

/*
 * A guest that writes a packed ring byte by byte, as virtio 1.2, 2.8 says and with
 * no code of the library. The ring is at GUEST_DESC_AT, the driver's event
 * suppression at GUEST_AVAIL_AT, the device's at GUEST_USED_AT.
 */

#define AVAIL 0x80u
#define USED 0x8000u
#define EVENT_ENABLE 0u
#define EVENT_DISABLE 1u
#define EVENT_DESC 2u

struct packed_guest {
	struct guest *guest;
	uint16_t at; /* where the guest makes the next descriptor available */
	bool wrap;
};

/* Zero the ring but for what a lap before `at` left in it, and give it to the device. */
void packed_start(struct packed_guest *driver, struct guest *guest, uint16_t num, uint16_t at, bool wrap,
		  uint64_t features);

/* A descriptor as it is, its flags too. */
void packed_desc_at(struct guest *guest, size_t table_at, uint32_t index, uint64_t addr, uint32_t len, uint16_t id,
		    uint16_t flags);

/* The next descriptor, available. */
void packed_offer(struct packed_guest *driver, uint64_t addr, uint32_t len, uint16_t id, uint16_t flags);

/* Descriptor `index` of the ring as the device left it. @return its flags. */
uint16_t packed_read(const struct guest *guest, uint16_t index, uint16_t *ret_id, uint32_t *ret_len);

/* The flags of a used descriptor of a lap. */
uint16_t packed_used_bits(bool wrap);

void packed_event_put(struct guest *guest, uint16_t off, bool wrap, uint16_t flags);

#endif
