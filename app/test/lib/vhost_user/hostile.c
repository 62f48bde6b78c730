/* SPDX-License-Identifier: BSD-3-Clause */
#include "hostile.h"

const unsigned int hostile_fds[HOSTILE_FDS_COUNT] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16};

unsigned int
hostile_ids(uint32_t *ret_ids)
{
	static const uint32_t huge[] = {1000, 0x5600, 0x5601, 0x7fffffff, 0x80000000, 0xffffffff};
	unsigned int count = 0, i;

	for (i = 0; i <= 64; i++)
		ret_ids[count++] = i;
	for (i = 0; i < sizeof(huge) / sizeof(huge[0]); i++)
		ret_ids[count++] = huge[i];
	return count;
}

unsigned int
hostile_sizes(const struct rp_vhu_msg_row *row, uint32_t *ret_sizes)
{
	const uint32_t least = row == NULL ? 0 : row->payload_min_bytes,
		       most = row == NULL ? 0 : row->payload_max_bytes;
	const uint32_t all[HOSTILE_SIZES_MAX] = {0,	1,    7,	8,    least == 0 ? 0 : least - 1,
						 least, most, most + 1, 4096, 4097};
	unsigned int count = 0, i, j;

	for (i = 0; i < HOSTILE_SIZES_MAX; i++) {
		for (j = 0; j < count && ret_sizes[j] != all[i]; j++)
			;
		if (j == count)
			ret_sizes[count++] = all[i];
	}
	return count;
}

uint32_t
hostile_random(uint32_t *state)
{
	/* xorshift32 */
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

void
hostile_payload(uint32_t seed, uint8_t *bytes, uint32_t size_bytes)
{
	uint32_t state = seed * 2654435761u | 1, i;

	for (i = 0; i < size_bytes; i++)
		bytes[i] = seed % 3 == 0 ? 0 : seed % 3 == 1 ? 0xff : (uint8_t)hostile_random(&state);
}

bool
hostile_breaks_framing(uint32_t size_bytes, unsigned int fds_count)
{
	return size_bytes > 4096 || fds_count > 8;
}
