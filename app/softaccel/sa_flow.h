/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_FLOW_H
#define SA_FLOW_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/**
 * @file
 * Which flow a frame belongs to: a hash over addresses, protocol and ports, so
 * that a flow keeps to one receive queue. Fragments, which do not all have
 * ports, are told apart by their addresses only.
 *
 * Most frames are of the same flow as one that came a moment ago. A sample of a frame has the bytes that
 * made it be of its flow, so that others are compared with it in a few words, and neither read in detail nor hashed.
 *
 * Threads: no state; any thread.
 */

/** No more than this is looked at: Ethernet, two VLAN tags, the longest IPv4 header, ports. */
#define SA_FLOW_BYTES_MAX 86u

/** A sample begins behind the MAC addresses ... */
#define SA_FLOW_SAMPLE_AT 12u
/** ... and has room for two VLAN tags, IPv6 and ports. */
#define SA_FLOW_SAMPLE_WORDS 7u
#define SA_FLOW_SAMPLE_END (SA_FLOW_SAMPLE_AT + SA_FLOW_SAMPLE_WORDS * (uint32_t)sizeof(uint64_t))
/** No frame is so long. */
#define SA_FLOW_NEVER UINT32_MAX

struct sa_flow_sample {
	uint32_t frame_bytes; /* that a frame must have to be compared; SA_FLOW_NEVER: none is like this one */
	unsigned int words_count;
	uint64_t masks[SA_FLOW_SAMPLE_WORDS];
	uint64_t words[SA_FLOW_SAMPLE_WORDS];
};

/** @param frame an Ethernet frame of at least 14 bytes; the first SA_FLOW_BYTES_MAX of its size_bytes will do. */
uint32_t sa_flow_hash(const uint8_t *frame, uint32_t size_bytes);

/**
 * As sa_flow_hash(), and take a sample of the frame. If there is one, the hash is that of all frames that begin with
 * these size_bytes.
 */
uint32_t sa_flow_sample(const uint8_t *frame, uint32_t size_bytes, struct sa_flow_sample *ret_sample);

/** Whether a frame is of the sample's flow, if both are between the same MAC addresses. @return false: perhaps not. */
static inline bool
sa_flow_is_like(const struct sa_flow_sample *sample, const uint8_t *frame, uint32_t size_bytes)
{
	uint64_t word, other = 0;
	unsigned int i;

	if (size_bytes < sample->frame_bytes)
		return false;
	for (i = 0; i < sample->words_count; i++) {
		memcpy(&word, frame + SA_FLOW_SAMPLE_AT + i * sizeof(word), sizeof(word));
		other |= (word & sample->masks[i]) ^ sample->words[i];
	}
	return other == 0;
}

#endif
