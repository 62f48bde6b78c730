/* SPDX-License-Identifier: BSD-3-Clause */
#include <unistd.h>

#include "libraries.h"
#include "rp_dma.h"
#include "rp_wire_fd.h"
#include "test_support.h"

/* Addresses of page-granular mappings of one file, looked up all over them. */

#define IOVA UINT64_C(0x100000000)
#define FILE_PAGES 64u
#define LOOKUPS 256u
#define STRIDE 7919u /* a prime: every mapping has its turn */

static struct {
	struct rp_dma_space *space;
	struct rp_dma_reader *reader;
	uint64_t page_bytes;
	uint32_t mappings_count;
	uint32_t at;
	int fd;
} fixture;

/* No two neighbours are one mapping: they are the same bytes of the file's, or in another order. */
static void
map(uint32_t number)
{
	const struct rp_dma_mapping mapping = {
		.iova = IOVA + number * fixture.page_bytes,
		.size_bytes = fixture.page_bytes,
		.offset_bytes = number * STRIDE % FILE_PAGES * fixture.page_bytes,
		.access_mask = RP_DMA_READ | RP_DMA_WRITE,
		.fd = fixture.fd,
	};

	assert_int_equal(rp_dma_space_map(fixture.space, &mapping, NULL), 0);
}

void
count_dma_open(const struct count_scenario *scenario)
{
	uint32_t i;

	fixture.page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	fixture.mappings_count = scenario->size;
	fixture.fd = test_memfd(FILE_PAGES * fixture.page_bytes, true);
	assert_int_equal(rp_dma_space_create(NULL, &fixture.space), 0);
	for (i = 0; i < scenario->size; i++)
		map(i);
	assert_int_equal(rp_dma_reader_create(fixture.space, &fixture.reader), 0);
	rp_dma_reader_online(fixture.reader);
}

void
count_dma_close(void)
{
	rp_dma_reader_offline(fixture.reader);
	fixture.reader = rp_dma_reader_destroy(fixture.reader);
	fixture.space = rp_dma_space_destroy(fixture.space);
	rp_wire_fd_close(&fixture.fd);
}

void
count_dma_translate(void)
{
	uint32_t i;

	for (i = 0; i < LOOKUPS; i++) {
		uint64_t here_bytes;

		fixture.at = (fixture.at + STRIDE) % fixture.mappings_count;
		if (rp_dma_reader_translate(fixture.reader, IOVA + fixture.at * fixture.page_bytes + 64, 64,
					    RP_DMA_READ, &here_bytes) == NULL)
			fail_msg("mapping %u is not found", fixture.at);
	}
}

/* A page goes and comes back. Its reader is offline: a change would wait for this thread. */
void
count_dma_change(void)
{
	fixture.at = (fixture.at + STRIDE) % fixture.mappings_count;
	rp_dma_reader_offline(fixture.reader);
	assert_int_equal(
		rp_dma_space_unmap(fixture.space, IOVA + fixture.at * fixture.page_bytes, fixture.page_bytes, NULL), 0);
	map(fixture.at);
	rp_dma_reader_online(fixture.reader);
}
