/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "guest.h"
#include "rp_vring_burst.h"
#include "rp_wire_fd.h"
#include "test_support.h"

/* What a burst follows in line: pairs, and tables. Whatever else there is, test_burst_same.c compares. */

#define NUM 16u
#define TABLE_AT (GUEST_BUFFERS_AT + 0x80000u)
#define TABLE (GUEST_BUFFERS + 0x80000u)
#define FAR_IOVA (UINT64_C(1) << 40)
#define DESC_BYTES 16u

static int
look(struct guest *guest, struct rp_vring_burst_chain *ret_chain)
{
	return rp_vring_dev_peek_burst(&guest->ring, 0, ret_chain, 1);
}

static void
assert_breaks(struct guest *guest, const char *why)
{
	struct rp_vring_burst_chain chain;

	assert_int_equal(look(guest, &chain), -EBADMSG);
	assert_non_null(strstr(rp_vring_dev_why(&guest->ring), why));
}

/* A table of `count` entries of 64 bytes each, the last ones writable. */
static void
write_table(struct guest *guest, size_t at, uint16_t count, uint16_t writable_from)
{
	uint16_t i;

	for (i = 0; i < count; i++)
		guest_desc_at(guest, at, i, GUEST_BUFFERS + 64u * i, 64,
			      (uint16_t)((i + 1 < count ? NEXT : 0) | (i >= writable_from ? WRITE : 0)),
			      (uint16_t)(i + 1));
}

static void
offer_table(struct guest *guest, uint64_t features, uint64_t iova, uint32_t size_bytes, uint16_t flags)
{
	guest_start(guest, NUM, 0, features);
	guest_desc(guest, 3, iova, size_bytes, flags, 4);
	guest_desc(guest, 4, GUEST_BUFFERS, 64, 0, 0);
	guest_offer(guest, 3);
}

/* All kinds, at any alignment: only the way there differs. */
static void
tables(void **state)
{
	struct guest *guest = *state;
	struct rp_vring_burst_chain chain;
	uint16_t count, writable_from, skew, i;

	for (count = 1; count <= RP_VRING_BURST_PIECES; count++)
		for (writable_from = 0; writable_from <= count; writable_from++)
			for (skew = 0; skew < DESC_BYTES; skew++) {
				write_table(guest, TABLE_AT + skew, count, writable_from);
				/* The writable flag of what refers to it says nothing. */
				offer_table(guest, F_INDIRECT_DESC, TABLE + skew, DESC_BYTES * count,
					    (uint16_t)(INDIRECT | (skew % 2 != 0 ? WRITE : 0)));
				assert_int_equal(look(guest, &chain), 1);
				assert_int_equal(chain.head, 3);
				assert_int_equal(chain.out_count, writable_from);
				assert_int_equal(chain.in_count, count - writable_from);
				assert_int_equal(chain.out_bytes, 64 * writable_from);
				assert_int_equal(chain.in_bytes, 64 * (count - writable_from));
				for (i = 0; i < count; i++)
					assert_ptr_equal(chain.iov[i].iov_base,
							 guest_hva(guest, GUEST_BUFFERS + 64u * i));
			}
}

static void
wrong_tables(void **state)
{
	/* clang-format off */
	static const struct {
		uint64_t features;
		uint32_t size_bytes;
		uint16_t flags;
		const char *why;
	} rows[] = {
		{0, 32, INDIRECT, "not negotiated"},
		{F_INDIRECT_DESC, 0, INDIRECT, "no multiple of 16"},
		{F_INDIRECT_DESC, 40, INDIRECT, "no multiple of 16"},
		{F_INDIRECT_DESC, DESC_BYTES * (RP_VRING_NUM_MAX + 1), INDIRECT, "longer than any queue"},
		{F_INDIRECT_DESC, 32, INDIRECT | NEXT, "is followed by a descriptor"},
		{F_INDIRECT_DESC, 16, INDIRECT, "longer than its table"},
	};
	/* clang-format on */
	struct guest *guest = *state;
	unsigned int i;

	write_table(guest, TABLE_AT, 2, 2);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		offer_table(guest, rows[i].features, TABLE, rows[i].size_bytes, rows[i].flags);
		assert_breaks(guest, rows[i].why);
	}
	guest_desc_at(guest, TABLE_AT, 1, TABLE, 32, INDIRECT, 0);
	offer_table(guest, F_INDIRECT_DESC, TABLE, 32, INDIRECT);
	assert_breaks(guest, "refers to another");
	guest_desc_at(guest, TABLE_AT, 0, GUEST_BUFFERS, 64, NEXT, 2);
	offer_table(guest, F_INDIRECT_DESC, TABLE, 32, INDIRECT);
	assert_breaks(guest, "beyond its table");
	guest_desc_at(guest, TABLE_AT, 0, GUEST_BUFFERS, 64, NEXT, 1);
	guest_desc_at(guest, TABLE_AT, 1, GUEST_BUFFERS, 64, NEXT, 0);
	offer_table(guest, F_INDIRECT_DESC, TABLE, 32, INDIRECT);
	assert_breaks(guest, "longer than its table");
}

/* Of a run of one kind, a chain of another one ends the run and not the burst. */
static void
kinds_in_turns(void **state)
{
	static const uint16_t flags[][2] = {{0, 0}, {WRITE, WRITE}, {0, WRITE}};
	struct guest *guest = *state;
	struct rp_vring_burst_chain chains[8];
	uint16_t i;

	guest_start(guest, NUM, 0, F_INDIRECT_DESC);
	write_table(guest, TABLE_AT, 2, 1);
	for (i = 0; i < 8; i++) {
		if (i % 4 == 3) {
			guest_desc(guest, (uint16_t)(2 * i), TABLE, 2 * DESC_BYTES, INDIRECT, 0);
		} else {
			guest_desc(guest, (uint16_t)(2 * i), GUEST_BUFFERS, 12, flags[i % 4][0] | NEXT,
				   (uint16_t)(2 * i + 1));
			guest_desc(guest, (uint16_t)(2 * i + 1), GUEST_BUFFERS + 64, 100, flags[i % 4][1], 0);
		}
		guest_offer(guest, (uint16_t)(2 * i));
	}
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 8), 8);
	for (i = 0; i < 8; i++) {
		assert_int_equal(chains[i].head, 2 * i);
		assert_int_equal(chains[i].out_count, i % 4 == 0 ? 2 : i % 4 == 1 ? 0 : 1);
		assert_int_equal(chains[i].in_count, 2 - chains[i].out_count);
		assert_int_equal(chains[i].out_bytes, i % 4 == 0 ? 112 : i % 4 == 1 ? 0 : i % 4 == 2 ? 12 : 64);
		assert_int_equal(chains[i].in_bytes, i % 4 == 0 ? 0 : i % 4 == 1 ? 112 : i % 4 == 2 ? 100 : 64);
	}
}

/* Lengths are summed in 32 bits; 2^32 is not 0. Nothing of the 4 GiB is ever touched. */
static void
lengths_do_not_wrap(void **state)
{
	struct guest *guest = *state;
	struct rp_dma_mapping mapping = {
		.iova = FAR_IOVA,
		.size_bytes = 0x100000000,
		.access_mask = RP_DMA_READ | RP_DMA_WRITE,
	};
	struct rp_vring_burst_chain chain;

	mapping.fd = test_memfd(mapping.size_bytes, true);
	rp_dma_reader_offline(guest->reader);
	assert_int_equal(rp_dma_space_map(guest->space, &mapping, NULL), 0);
	rp_wire_fd_close(&mapping.fd);
	rp_dma_reader_online(guest->reader);
	guest_start(guest, NUM, 0, 0);
	guest_desc(guest, 0, FAR_IOVA, 0x80000000, WRITE | NEXT, 1);
	guest_desc(guest, 1, FAR_IOVA, 0x7fffffff, WRITE, 0);
	guest_offer(guest, 0);
	assert_int_equal(look(guest, &chain), 1);
	assert_int_equal(chain.in_count, 2);
	assert_int_equal(chain.in_bytes, UINT32_MAX);
	guest_desc(guest, 1, FAR_IOVA, 0x80000000, WRITE, 0);
	assert_breaks(guest, "longer than 2^32");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(tables),
		WITH_GUEST(wrong_tables),
		WITH_GUEST(kinds_in_turns),
		WITH_GUEST(lengths_do_not_wrap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
