/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VS_FLOW_H
#define VS_FLOW_H

#include <stdint.h>

/**
 * @file
 * Frames of one flow keep to one receive queue, or they would overtake each other.
 *
 * Threads: any; there is no state.
 */

/** @return a hash of addresses, protocol and ports; of addresses only, where it is a fragment. */
uint32_t vs_flow_hash(const uint8_t *frame, uint32_t size_bytes);

#endif
