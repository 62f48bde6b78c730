/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PACKETS_FRAME_H
#define PACKETS_FRAME_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/*
 * A frame: addresses, a type that nobody looks into, two bytes, a number, and then every
 * byte the same. Of the first cache line everything is written and looked at, of each of
 * the others eight bytes: so all of them move from one CPU to the other, and the generator
 * has time to spare.
 */

#define PACKETS_FRAME_LINE 64u /* also the smallest frame */
#define PACKETS_FRAME_NUMBER_AT 16u
#define PACKETS_FRAME_PAYLOAD_AT 24u
#define PACKETS_FRAME_BYTE 0x5a
#define PACKETS_FRAME_WORD 0x5a5a5a5a5a5a5a5aull

/* The first line of all frames of a flow, but for the number. */
static inline void
packets_frame_begin(uint8_t ret_line[PACKETS_FRAME_LINE], const uint8_t destination[6], const uint8_t source[6])
{
	static const uint8_t type[4] = {0x88, 0xb5, 0, 0}; /* IEEE 802: for experiments */

	memcpy(ret_line, destination, 6);
	memcpy(ret_line + 6, source, 6);
	memcpy(ret_line + 12, type, sizeof(type));
	memset(ret_line + PACKETS_FRAME_NUMBER_AT, 0, sizeof(uint64_t));
	memset(ret_line + PACKETS_FRAME_PAYLOAD_AT, PACKETS_FRAME_BYTE, PACKETS_FRAME_LINE - PACKETS_FRAME_PAYLOAD_AT);
}

static inline void
packets_frame_write(uint8_t *frame, const uint8_t *line, uint64_t number, uint32_t frame_bytes)
{
	const uint64_t word = PACKETS_FRAME_WORD;
	uint32_t at;

	memcpy(frame, line, PACKETS_FRAME_NUMBER_AT);
	memcpy(frame + PACKETS_FRAME_NUMBER_AT, &number, sizeof(number));
	memcpy(frame + PACKETS_FRAME_PAYLOAD_AT, line + PACKETS_FRAME_PAYLOAD_AT,
	       PACKETS_FRAME_LINE - PACKETS_FRAME_PAYLOAD_AT);
	for (at = PACKETS_FRAME_LINE; at + sizeof(word) <= frame_bytes; at += PACKETS_FRAME_LINE)
		memcpy(frame + at, &word, sizeof(word));
}

static inline uint64_t
packets_frame_number(const uint8_t *frame)
{
	uint64_t number;

	memcpy(&number, frame + PACKETS_FRAME_NUMBER_AT, sizeof(number));
	return number;
}

static inline bool
packets_frame_is_intact(const uint8_t *frame, uint32_t frame_bytes)
{
	uint64_t words[(PACKETS_FRAME_LINE - PACKETS_FRAME_PAYLOAD_AT) / sizeof(uint64_t)], word, other;
	uint32_t at;

	memcpy(words, frame + PACKETS_FRAME_PAYLOAD_AT, sizeof(words));
	other = (words[0] ^ PACKETS_FRAME_WORD) | (words[1] ^ PACKETS_FRAME_WORD) | (words[2] ^ PACKETS_FRAME_WORD) |
		(words[3] ^ PACKETS_FRAME_WORD) | (words[4] ^ PACKETS_FRAME_WORD);
	for (at = PACKETS_FRAME_LINE; at + sizeof(word) <= frame_bytes; at += PACKETS_FRAME_LINE) {
		memcpy(&word, frame + at, sizeof(word));
		other |= word ^ PACKETS_FRAME_WORD;
	}
	return other == 0;
}

#endif
