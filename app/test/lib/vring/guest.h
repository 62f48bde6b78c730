/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef GUEST_H
#define GUEST_H

#include "rp_dma.h"
#include "rp_vring_dev.h"
#include "test_support.h"

/*
 * A guest that writes its ring byte by byte, in an order of bytes that is its
 * own: it shares no code with the library, so that both cannot agree on one
 * mistake. It sees its memory through a mapping of its own.
 */

#define GUEST_IOVA 0x40000000u
#define GUEST_BYTES (4u << 20)

/* The ring, then room for buffers, in guest memory. The largest ring takes 832 KiB. */
#define GUEST_DESC_AT 0x0u
#define GUEST_AVAIL_AT 0x90000u
#define GUEST_USED_AT 0xb0000u
#define GUEST_BUFFERS_AT 0x100000u
#define GUEST_BUFFERS ((uint64_t)GUEST_IOVA + GUEST_BUFFERS_AT)

#define F_INDIRECT_DESC (UINT64_C(1) << 28)
#define F_EVENT_IDX (UINT64_C(1) << 29)
#define F_RING_PACKED (UINT64_C(1) << 34)
#define F_IN_ORDER (UINT64_C(1) << 35)
#define NEXT 0x1u
#define WRITE 0x2u
#define INDIRECT 0x4u

struct guest {
	struct test_leaks before;
	int fd;
	uint8_t *memory;
	struct rp_dma_space *space;
	struct rp_dma_reader *reader;
	struct rp_vring_layout layout;
	struct rp_vring_dev ring;
	struct rp_vring_chain chain;
	struct rp_vring_note notes[RP_VRING_NUM_MAX];
};

/* cmocka's set-up and tear-down; the reader is online in between. */
int guest_setup(void **state);
int guest_teardown(void **state);

#define WITH_GUEST(test) cmocka_unit_test_setup_teardown(test, guest_setup, guest_teardown)

/* Zero a split ring and give it to the device at `index`, which the guest's two indices say as well. */
void guest_start(struct guest *guest, uint16_t num, uint16_t index, uint64_t features);

/* Map or unmap while the reader is offline, as a data path that sleeps would let it happen. */
void guest_map(struct guest *guest, uint64_t iova, uint64_t offset_bytes, uint64_t size_bytes, uint32_t access_mask);
void guest_unmap(struct guest *guest, uint64_t iova, uint64_t size_bytes);

void guest_put16(struct guest *guest, size_t at, uint16_t value);
void guest_put32(struct guest *guest, size_t at, uint32_t value);
void guest_put64(struct guest *guest, size_t at, uint64_t value);
uint16_t guest_get16(const struct guest *guest, size_t at);
uint32_t guest_get32(const struct guest *guest, size_t at);

/* Descriptor `index` of the table at `table_at` in guest memory. */
void guest_desc_at(struct guest *guest, size_t table_at, uint32_t index, uint64_t addr, uint32_t len, uint16_t flags,
		   uint16_t next);
void guest_desc(struct guest *guest, uint16_t index, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next);

/* Make a head available: the entry, then the index. */
void guest_offer(struct guest *guest, uint16_t head);

/* Used entry number `position`, counted from index 0 of the ring's life. */
void guest_used(const struct guest *guest, uint16_t position, uint32_t *ret_id, uint32_t *ret_len);
uint16_t guest_used_index(const struct guest *guest);

/* The device's address of a byte of guest memory. */
void *guest_hva(const struct guest *guest, uint64_t iova);

/* Pop must succeed, or must break the ring for the reason given and leave it broken and untouched. */
void guest_pop(struct guest *guest);
void guest_pop_breaks(struct guest *guest, const char *words);

#endif
