/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "hostile.h"

static volatile uint8_t sink;

void
hostile_assert_sane(const struct guest *guest)
{
	const struct rp_vring_chain *chain = &guest->chain;
	const uint8_t *memory = guest_hva(guest, GUEST_IOVA);
	uint64_t out_bytes = 0, in_bytes = 0;
	unsigned int i;

	assert_true(chain->head < guest->layout.num);
	assert_true(chain->out_count + chain->in_count >= 1);
	assert_true(chain->out_count + chain->in_count <= RP_VRING_SEGMENTS_MAX);
	for (i = 0; i < (unsigned int)(chain->out_count + chain->in_count); i++) {
		const uint8_t *base = chain->iov[i].iov_base;
		size_t size_bytes = chain->iov[i].iov_len;

		assert_true(size_bytes >= 1);
		assert_true(base >= memory && size_bytes <= GUEST_BYTES);
		assert_true(base + size_bytes <= memory + GUEST_BYTES);
		sink = base[0];
		sink = base[size_bytes - 1];
		*(i < chain->out_count ? &out_bytes : &in_bytes) += size_bytes;
	}
	assert_int_equal(out_bytes, chain->out_bytes);
	assert_int_equal(in_bytes, chain->in_bytes);
}

uint64_t
hostile_bits(unsigned int *seed)
{
	return (uint64_t)rand_r(seed) << 42 ^ (uint64_t)rand_r(seed) << 21 ^ (uint64_t)rand_r(seed);
}

uint64_t
hostile_address(unsigned int *seed)
{
	switch (rand_r(seed) % 16) {
	case 0:
		return hostile_bits(seed);
	case 1:
		return (uint64_t)GUEST_IOVA - 8 + (uint64_t)rand_r(seed) % 16;
	case 2:
		return (uint64_t)GUEST_IOVA + GUEST_BYTES - 8 + (uint64_t)rand_r(seed) % 16;
	case 3:
		return UINT64_MAX - (uint64_t)rand_r(seed) % 32;
	default:
		return GUEST_BUFFERS + (uint64_t)rand_r(seed) % (GUEST_BYTES - GUEST_BUFFERS_AT);
	}
}

uint32_t
hostile_length(unsigned int *seed)
{
	switch (rand_r(seed) % 16) {
	case 0:
		return (uint32_t)hostile_bits(seed);
	case 1:
		return (uint32_t)rand_r(seed) % 3;
	default:
		return 16 * (1 + (uint32_t)rand_r(seed) % 16);
	}
}
