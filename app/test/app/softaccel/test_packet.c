/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "rig.h"
#include "sa_packet.h"

static struct rte_mempool *pool;

static struct rte_mbuf *
packet_of(uint16_t bytes)
{
	struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);

	assert_non_null(mbuf);
	memset(rte_pktmbuf_append(mbuf, bytes), 0, bytes);
	return mbuf;
}

/* virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, num_buffers; little-endian */
static bool
accepted(uint8_t flags, uint8_t gso, uint16_t start, uint16_t offset, uint16_t bytes, bool negotiated)
{
	const uint8_t header[12] = {
		flags, gso, 0, 0, 0, 0, (uint8_t)start, (uint8_t)(start >> 8), (uint8_t)offset, (uint8_t)(offset >> 8),
		0,     0};
	struct rte_mbuf *mbuf = packet_of(bytes);
	bool yes = sa_packet_header_read(mbuf, header, negotiated);

	rte_pktmbuf_free(mbuf);
	return yes;
}

static void
headers_are_judged(void **state)
{
	(void)state;
	assert_true(accepted(0, 0, 0, 0, 60, false));
	assert_true(accepted(0, 0, 9999, 9999, 60, false));
	assert_true(accepted(1, 0, 34, 6, 60, true));
	assert_true(accepted(1, 0, 34, 24, 60, true));
	assert_false(accepted(1, 0, 34, 25, 60, true));
	assert_false(accepted(1, 0, 0xffff, 0xffff, 60, true));
	assert_false(accepted(1, 0, 34, 6, 60, false));
	assert_false(accepted(0, 1, 0, 0, 60, true));
	assert_false(accepted(0, 0x80, 0, 0, 60, true));
}

static void
completed(void **state)
{
	const uint8_t header[12] = {1, 0, 0, 0, 0, 0, 4, 0, 2, 0, 0, 0};
	struct rte_mbuf *mbuf = packet_of(14);
	uint8_t *bytes = rte_pktmbuf_mtod(mbuf, uint8_t *);
	uint8_t out[12];

	(void)state;
	memcpy(bytes + 4, ((uint8_t[]){0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}), 8);
	assert_true(sa_packet_header_read(mbuf, header, true));
	sa_packet_header_write(mbuf, out, true);
	assert_memory_equal(out, ((uint8_t[]){1, 0, 0, 0, 0, 0, 4, 0, 2, 0, 1, 0}), 12);
	sa_packet_complete(mbuf);
	/* RFC 1071, 3: that data sums to ddf2; what is stored is its complement. */
	assert_memory_equal(bytes + 6, ((uint8_t[]){0x22, 0x0d}), 2);
	sa_packet_header_write(mbuf, out, true);
	assert_memory_equal(out, ((uint8_t[]){0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0}), 12);
	rte_pktmbuf_free(mbuf);
}

/* What somebody else refers to is not given to the next one; a buffer comes back as it was, whatever lay in it. */
static void
given_back_are_nobody_elses(void **state)
{
	unsigned int available = rte_mempool_avail_count(pool), i;
	struct rte_mbuf *mbufs[4], *kept;

	(void)state;
	assert_true(sa_packet_take(pool, mbufs, RTE_DIM(mbufs)));
	for (i = 0; i < RTE_DIM(mbufs); i++)
		sa_packet_start(mbufs[i], 60 + i);
	assert_int_equal(rte_pktmbuf_pkt_len(mbufs[3]), 63);
	assert_int_equal(rte_pktmbuf_data_len(mbufs[3]), 63);
	assert_false(sa_packet(mbufs[3])->needs_csum);
	assert_int_equal((uintptr_t)rte_pktmbuf_mtod(mbufs[3], uint8_t *) % RTE_CACHE_LINE_SIZE, 0);
	kept = mbufs[1];
	rte_mbuf_refcnt_update(kept, 1);
	sa_packet_give(pool, mbufs, RTE_DIM(mbufs));
	assert_int_equal(rte_mempool_avail_count(pool), available - 1);
	assert_int_equal(rte_mbuf_refcnt_read(kept), 1);
	assert_int_equal(rte_pktmbuf_pkt_len(kept), 61);
	rte_pktmbuf_free(kept);
	assert_int_equal(rte_mempool_avail_count(pool), available);
	/* More than there are. */
	assert_false(sa_packet_take(pool, (struct rte_mbuf *[4096]){0}, 4096));
	assert_int_equal(rte_mempool_avail_count(pool), available);
}

/* Constant memory cannot be written. */
static void
headers_that_are_there_are_left(void **state)
{
	static const uint8_t there[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0};
	uint8_t wanted[12], to[12];
	unsigned int i;

	(void)state;
	memcpy(wanted, there, sizeof(wanted));
	sa_packet_header_once((uint8_t *)(uintptr_t)there, wanted);
	for (i = 0; i < sizeof(wanted); i++) {
		memcpy(to, there, sizeof(to));
		wanted[i] ^= 0x80;
		sa_packet_header_once(to, wanted);
		assert_memory_equal(to, wanted, sizeof(to));
		wanted[i] ^= 0x80;
	}
}

/* In UDP a sum of zero would say that there is none. */
static void
never_zero(void **state)
{
	const uint8_t header[12] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
	struct rte_mbuf *mbuf = packet_of(14);
	uint8_t *bytes = rte_pktmbuf_mtod(mbuf, uint8_t *);

	(void)state;
	bytes[0] = 0xff;
	bytes[1] = 0xff;
	assert_true(sa_packet_header_read(mbuf, header, true));
	sa_packet_complete(mbuf);
	assert_memory_equal(bytes, ((uint8_t[]){0xff, 0xff}), 2);
	rte_pktmbuf_free(mbuf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers_are_judged),
		cmocka_unit_test(given_back_are_nobody_elses),
		cmocka_unit_test(headers_that_are_there_are_left),
		cmocka_unit_test(completed),
		cmocka_unit_test(never_zero),
	};

	rig_eal_init();
	pool = rte_pktmbuf_pool_create("packets", 31, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
