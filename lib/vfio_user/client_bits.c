/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vfu_client.h"
#include "vfu_client_bits.h"

#define BITS_PER_WORD 64u
#define WORD_BYTES 8u
/* Behind this, a caller's array would not be one. */
#define SIZE_MAX_BYTES (UINT64_C(1) << 60)

static uint64_t
words_of(uint64_t size_bytes, uint64_t page_size_bytes)
{
	uint64_t pages = size_bytes / page_size_bytes + (size_bytes % page_size_bytes != 0 ? 1 : 0);

	return pages / BITS_PER_WORD + (pages % BITS_PER_WORD != 0 ? 1 : 0);
}

int
rp_vfu_bits_init(struct rp_vfu_bits *bits, const struct rp_vfu_client *client, uint64_t iova, uint64_t size_bytes,
		 uint64_t page_size_bytes, struct rp_wire_why *why)
{
	uint64_t room_bytes = client->terms.value[RP_VFU_TERM_DATA_XFER];

	if (page_size_bytes == 0 || (page_size_bytes & (page_size_bytes - 1)) != 0 ||
	    page_size_bytes > SIZE_MAX_BYTES / RP_VFU_DATA_XFER_MAX_BYTES / BITS_PER_WORD)
		return rp_wire_why_set(why, -EINVAL, "pages of %" PRIu64 " bytes", page_size_bytes);
	if (size_bytes == 0 || size_bytes > SIZE_MAX_BYTES || size_bytes - 1 > UINT64_MAX - iova)
		return rp_wire_why_set(why, -EINVAL, "0x%" PRIx64 " bytes at 0x%" PRIx64, size_bytes, iova);
	if (client->terms.value[RP_VFU_TERM_MIG_BITMAP_MAX] < room_bytes)
		room_bytes = client->terms.value[RP_VFU_TERM_MIG_BITMAP_MAX];
	if (room_bytes < WORD_BYTES)
		room_bytes = WORD_BYTES;
	bits->iova = iova;
	bits->size_bytes = size_bytes;
	bits->page_size_bytes = page_size_bytes;
	bits->piece_bytes = room_bytes / WORD_BYTES * BITS_PER_WORD * page_size_bytes;
	bits->pieces_count = (size_bytes - 1) / bits->piece_bytes + 1;
	return 0;
}

uint64_t
rp_vfu_bits_iova(const struct rp_vfu_bits *bits, uint64_t piece)
{
	return bits->iova + piece * bits->piece_bytes;
}

uint64_t
rp_vfu_bits_size(const struct rp_vfu_bits *bits, uint64_t piece)
{
	uint64_t left_bytes = bits->size_bytes - piece * bits->piece_bytes;

	return left_bytes < bits->piece_bytes ? left_bytes : bits->piece_bytes;
}

uint64_t
rp_vfu_bits_word(const struct rp_vfu_bits *bits, uint64_t piece)
{
	return piece * words_of(bits->piece_bytes, bits->page_size_bytes);
}

uint32_t
rp_vfu_bits_bytes(const struct rp_vfu_bits *bits, uint64_t piece)
{
	return (uint32_t)(words_of(rp_vfu_bits_size(bits, piece), bits->page_size_bytes) * WORD_BYTES);
}

bool
rp_vfu_bits_exceed(const uint8_t *bits, uint64_t size_bytes, uint64_t page_size_bytes)
{
	uint64_t pages = (size_bytes - 1) / page_size_bytes + 1, last;

	memcpy(&last, bits + (words_of(size_bytes, page_size_bytes) - 1) * WORD_BYTES, sizeof(last));
	return pages % BITS_PER_WORD != 0 && last >> (pages % BITS_PER_WORD) != 0;
}
