/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "guest_packed.h"
#include "rp_vring_burst.h"
#include "rp_wire_fd.h"
#include "test_support.h"

/* Tables, which a burst follows in line. Whatever else there is, test_burst_same.c compares. */

#define NUM 16u
#define TABLE_AT (GUEST_BUFFERS_AT + 0x80000u)
#define TABLE (GUEST_BUFFERS + 0x80000u)
#define FAR_IOVA (UINT64_C(1) << 40)
#define DESC_BYTES 16u
#define SENTINEL 0x5555u

static int
look(struct guest *guest, struct rp_vring_burst_chain *ret_chain)
{
	return rp_vring_dev_peek_burst(&guest->ring, 0, ret_chain, 1);
}

/* A table of `count` entries of 64 bytes each, the last ones writable; its other flags and ids say nothing. */
static void
write_table(struct guest *guest, size_t at, uint16_t count, uint16_t writable_from)
{
	uint16_t i;

	for (i = 0; i < count; i++)
		packed_desc_at(guest, at, i, GUEST_BUFFERS + 64u * i, 64, SENTINEL,
			       (uint16_t)((i % 2 == 0 ? NEXT : AVAIL) | (i >= writable_from ? WRITE : USED)));
}

static void
offer_table(struct guest *guest, uint64_t features, uint64_t iova, uint32_t size_bytes, uint16_t flags)
{
	struct packed_guest driver;

	packed_start(&driver, guest, NUM, 0, true, features);
	packed_offer(&driver, iova, size_bytes, 3, flags);
	packed_offer(&driver, GUEST_BUFFERS, 64, 4, 0);
}

/* All kinds, at any alignment: only the way there differs. */
static void
tables(void **state)
{
	struct guest *guest = *state;
	struct rp_dma_reader_counters before, after;
	struct rp_vring_burst_chain chain;
	uint16_t count, writable_from, skew, i;

	for (count = 1; count <= RP_VRING_BURST_PIECES; count++)
		for (writable_from = 0; writable_from <= count; writable_from++)
			for (skew = 0; skew < DESC_BYTES; skew++) {
				write_table(guest, TABLE_AT + skew, count, writable_from);
				/* The writable flag of what refers to it says nothing. */
				offer_table(guest, F_INDIRECT_DESC, TABLE + skew, DESC_BYTES * count,
					    (uint16_t)(INDIRECT | (skew % 2 != 0 ? WRITE : 0)));
				rp_dma_reader_counters(guest->reader, &before);
				assert_int_equal(look(guest, &chain), 1);
				rp_dma_reader_counters(guest->reader, &after);
				assert_int_equal(after.translations - before.translations, 1 + count);
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
assert_breaks(struct guest *guest, const char *why)
{
	struct rp_vring_burst_chain chain;

	assert_int_equal(look(guest, &chain), -EBADMSG);
	assert_non_null(strstr(rp_vring_dev_why(&guest->ring), why));
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
	};
	/* clang-format on */
	struct guest *guest = *state;
	unsigned int i;

	write_table(guest, TABLE_AT, 2, 2);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		offer_table(guest, rows[i].features, TABLE, rows[i].size_bytes, rows[i].flags);
		assert_breaks(guest, rows[i].why);
	}
	packed_desc_at(guest, TABLE_AT, 0, GUEST_BUFFERS, 64, 0, WRITE);
	offer_table(guest, F_INDIRECT_DESC, TABLE, 32, INDIRECT);
	assert_breaks(guest, "a readable descriptor follows");
	packed_desc_at(guest, TABLE_AT, 0, GUEST_BUFFERS, 0, 0, 0);
	offer_table(guest, F_INDIRECT_DESC, TABLE, 32, INDIRECT);
	assert_breaks(guest, "is empty");
}

/* Tables of one burst lie before and behind others, over the ring's end, and end where no more are available. */
static void
kinds_in_turns(void **state)
{
	struct guest *guest = *state;
	struct packed_guest driver;
	struct rp_vring_burst_chain chains[NUM];
	uint16_t begin, i;

	for (begin = 0; begin < NUM; begin++) {
		packed_start(&driver, guest, NUM, begin, true, F_INDIRECT_DESC);
		write_table(guest, TABLE_AT, 2, 1);
		for (i = 0; i < NUM - 2; i++) {
			/* What is no table is not read as one. */
			if (i % 4 == 3)
				packed_offer(&driver, TABLE, 2 * DESC_BYTES, i, 0);
			else
				packed_offer(&driver, TABLE, 2 * DESC_BYTES, i, INDIRECT);
		}
		assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, NUM), NUM - 2);
		for (i = 0; i < NUM - 2; i++) {
			assert_int_equal(chains[i].head, i);
			assert_int_equal(chains[i].out_count, 1);
			assert_int_equal(chains[i].in_count, i % 4 == 3 ? 0 : 1);
			assert_int_equal(chains[i].out_bytes, i % 4 == 3 ? 2 * DESC_BYTES : 64);
		}
		assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, NUM), 0);
	}
}

/* What a lap before left behind may be a table, and is not available. */
static void
tables_that_are_not_available(void **state)
{
	static const uint16_t flags[] = {INDIRECT, INDIRECT | USED, INDIRECT | AVAIL | USED};
	struct guest *guest = *state;
	struct packed_guest driver;
	struct rp_vring_burst_chain chains[NUM];
	unsigned int i;

	write_table(guest, TABLE_AT, 2, 1);
	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		packed_start(&driver, guest, NUM, 0, true, F_INDIRECT_DESC);
		packed_offer(&driver, TABLE, 2 * DESC_BYTES, 0, INDIRECT);
		packed_desc_at(guest, GUEST_DESC_AT, 1, TABLE, 2 * DESC_BYTES, 1, flags[i]);
		assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, NUM), 1);
		assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, NUM), 0);
	}
}

/* Lengths are summed in 32 bits; 2^32 is not 0. Nothing of the 4 GiB is touched but the table. */
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
	packed_desc_at(guest, TABLE_AT, 0, FAR_IOVA, 0x80000000, 0, WRITE);
	packed_desc_at(guest, TABLE_AT, 1, FAR_IOVA, 0x7fffffff, 0, WRITE);
	packed_desc_at(guest, TABLE_AT, 2, FAR_IOVA, 0x80000000, 0, WRITE);
	packed_desc_at(guest, TABLE_AT, 3, FAR_IOVA, 0x80000000, 0, WRITE);
	/* A table that lies where its buffers do is judged with them. */
	assert_int_equal(pwrite(mapping.fd, guest_hva(guest, TABLE), 4 * DESC_BYTES, 0), 4 * DESC_BYTES);
	rp_dma_reader_offline(guest->reader);
	assert_int_equal(rp_dma_space_map(guest->space, &mapping, NULL), 0);
	rp_wire_fd_close(&mapping.fd);
	rp_dma_reader_online(guest->reader);
	offer_table(guest, F_INDIRECT_DESC, FAR_IOVA, 2 * DESC_BYTES, INDIRECT);
	assert_int_equal(look(guest, &chain), 1);
	assert_int_equal(chain.in_bytes, UINT32_MAX);
	offer_table(guest, F_INDIRECT_DESC, FAR_IOVA + 2 * DESC_BYTES, 2 * DESC_BYTES, INDIRECT);
	assert_breaks(guest, "longer than 2^32");
}

/* A buffer that is out cannot be another one: what came before it is taken, and then it is judged. */
static void
ids_that_are_out(void **state)
{
	struct guest *guest = *state;
	struct packed_guest driver;
	struct rp_vring_burst_chain chains[NUM];

	packed_start(&driver, guest, NUM, 0, true, F_INDIRECT_DESC);
	write_table(guest, TABLE_AT, 1, 1);
	packed_offer(&driver, TABLE, DESC_BYTES, 5, INDIRECT);
	packed_offer(&driver, TABLE, DESC_BYTES, 5, INDIRECT);
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, NUM), 1);
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, NUM), -EBADMSG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(tables),
		WITH_GUEST(wrong_tables),
		WITH_GUEST(kinds_in_turns),
		WITH_GUEST(tables_that_are_not_available),
		WITH_GUEST(lengths_do_not_wrap),
		WITH_GUEST(ids_that_are_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
