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
		cmocka_unit_test(completed),
		cmocka_unit_test(never_zero),
	};

	rig_eal_init();
	pool = rte_pktmbuf_pool_create("packets", 31, 0, RTE_ALIGN_CEIL(sizeof(struct sa_packet), RTE_MBUF_PRIV_ALIGN),
				       RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
