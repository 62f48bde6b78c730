/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_CLIENT_BITS_H
#define VFU_CLIENT_BITS_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_wire_why.h"

struct rp_vfu_client;

/*
 * A bitmap of pages that one message may be too small for: cut into pieces that
 * begin at whole words, so that each has its own part of the caller's array.
 */
struct rp_vfu_bits {
	uint64_t iova;
	uint64_t size_bytes;
	uint64_t page_size_bytes;
	uint64_t piece_bytes; /* of addresses; the last piece has what is left */
	uint64_t pieces_count;
};

/* @return 0 or -EINVAL (page size, range). */
int rp_vfu_bits_init(struct rp_vfu_bits *bits, const struct rp_vfu_client *client, uint64_t iova, uint64_t size_bytes,
		     uint64_t page_size_bytes, struct rp_wire_why *why);

/* Of a piece: its range, its first word in the whole, its bits in bytes (a multiple of 8). */
uint64_t rp_vfu_bits_iova(const struct rp_vfu_bits *bits, uint64_t piece);
uint64_t rp_vfu_bits_size(const struct rp_vfu_bits *bits, uint64_t piece);
uint64_t rp_vfu_bits_word(const struct rp_vfu_bits *bits, uint64_t piece);
uint32_t rp_vfu_bits_bytes(const struct rp_vfu_bits *bits, uint64_t piece);

/* Whether bits say something of pages behind their range, which is not empty. */
bool rp_vfu_bits_exceed(const uint8_t *bits, uint64_t size_bytes, uint64_t page_size_bytes);

#endif
