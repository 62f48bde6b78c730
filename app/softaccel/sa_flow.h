/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_FLOW_H
#define SA_FLOW_H

#include <stdint.h>

/**
 * @file
 * Which flow a frame belongs to: a hash over addresses, protocol and ports, so
 * that a flow keeps to one receive queue. Fragments, which do not all have
 * ports, are told apart by their addresses only.
 *
 * Threads: no state; any thread.
 */

/** No more than this is looked at: Ethernet, two VLAN tags, the longest IPv4 header, ports. */
#define SA_FLOW_BYTES_MAX 86u

/** @param frame an Ethernet frame of at least 14 bytes; the first SA_FLOW_BYTES_MAX of its size_bytes will do. */
uint32_t sa_flow_hash(const uint8_t *frame, uint32_t size_bytes);

#endif
