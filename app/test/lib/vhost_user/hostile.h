/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HOSTILE_H
#define HOSTILE_H

#include "peer.h"
#include "rp_vhu_msg.h"

/* The messages that a hostile peer tries: every id with every size, with so many descriptors. */

#define HOSTILE_IDS_MAX 71
#define HOSTILE_SIZES_MAX 10
#define HOSTILE_FDS_COUNT 11u

extern const unsigned int hostile_fds[HOSTILE_FDS_COUNT];

unsigned int hostile_ids(uint32_t *ret_ids);
/* Sizes around the row's own; without repetition. */
unsigned int hostile_sizes(const struct rp_vhu_msg_row *row, uint32_t *ret_sizes);

/* A payload that is all zeros, all ones, or noise; the same for the same `seed`. */
void hostile_payload(uint32_t seed, uint8_t *bytes, uint32_t size_bytes);
uint32_t hostile_random(uint32_t *state);

/* Whether the framing itself is broken by it, so that the connection must end. */
bool hostile_breaks_framing(uint32_t size_bytes, unsigned int fds_count);

#endif
