/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "rp_dma.h"
#include "rp_vring_burst.h"
#include "vring.h"
#include "vring_driver.h"

/*
 * A driver that writes anything to its ring, and a device that serves it as a device may:
 * looking ahead, giving back late, in any order, with the memory going away. What is
 * asserted is what the device relies on: each part of a chain is memory that was mapped
 * (and is touched), counts agree, and a ring that broke stays broken and says why.
 */

#define TAKEN_MAX 64u
#define BURST_MAX 8u

struct bench {
	struct fuzz_driver driver;
	struct rp_dma_space *space;
	struct rp_dma_reader *reader;
	struct rp_vring_dev ring;
	struct rp_vring_chain chain;
	struct rp_vring_note notes[FUZZ_DRIVER_NUM_MAX];
	uint16_t taken[TAKEN_MAX]; /* heads that are out */
	unsigned int taken_count;
};

static void
check_chain(const struct bench *bench)
{
	const struct rp_vring_chain *chain = &bench->chain;
	const uint8_t *memory = rp_dma_space_translate(bench->space, FUZZ_GPA, FUZZ_DRIVER_BYTES, RP_DMA_READ);
	uint64_t out_bytes = 0, in_bytes = 0;
	unsigned int i;

	fuzz_require(chain->head < bench->driver.layout.num, "a head lies in the ring");
	fuzz_require(chain->out_count + chain->in_count > 0 &&
			     chain->out_count + chain->in_count <= RP_VRING_SEGMENTS_MAX,
		     "a chain has parts");
	for (i = 0; i < (unsigned int)(chain->out_count + chain->in_count); i++) {
		volatile uint8_t *base = chain->iov[i].iov_base;
		size_t size_bytes = chain->iov[i].iov_len;

		fuzz_require(size_bytes > 0 && size_bytes <= FUZZ_DRIVER_BYTES && base >= memory &&
				     base + size_bytes <= memory + FUZZ_DRIVER_BYTES,
			     "a part lies in memory");
		if (i < chain->out_count) {
			(void)base[size_bytes - 1];
			out_bytes += size_bytes;
		} else {
			base[0] = base[size_bytes - 1];
			in_bytes += size_bytes;
		}
	}
	fuzz_require(out_bytes == chain->out_bytes && in_bytes == chain->in_bytes, "sizes are sums");
}

static void
take(struct bench *bench)
{
	if (bench->taken_count == TAKEN_MAX)
		return;
	if (rp_vring_dev_pop(&bench->ring, &bench->chain) != 1)
		return;
	check_chain(bench);
	bench->taken[bench->taken_count++] = bench->chain.head;
}

static void
widen(const struct rp_vring_burst_chain *chain, struct rp_vring_chain *ret_chain)
{
	fuzz_require(chain->out_count + chain->in_count <= (int)RP_VRING_BURST_PIECES, "a chain of a burst is short");
	ret_chain->head = chain->head;
	ret_chain->out_count = chain->out_count;
	ret_chain->in_count = chain->in_count;
	ret_chain->out_bytes = chain->out_bytes;
	ret_chain->in_bytes = chain->in_bytes;
	memcpy(ret_chain->iov, chain->iov, sizeof(chain->iov));
}

/* @return how many there are, from `ahead` on; what a burst does not follow is none. */
static int
peek_burst(struct bench *bench, unsigned int ahead, struct rp_vring_burst_chain *ret_chains, uint16_t max_count)
{
	int count = rp_vring_dev_peek_burst(&bench->ring, (uint16_t)ahead, ret_chains, max_count), i;

	fuzz_require(count == -EBADMSG || count == -EMSGSIZE || (count >= 0 && count <= max_count),
		     "a burst, or why not");
	for (i = 0; i < count; i++) {
		widen(&ret_chains[i], &bench->chain);
		check_chain(bench);
	}
	return count < 0 ? 0 : count;
}

/* Some of it was looked at before, and some is looked at and left for the next time. */
static void
take_burst(struct bench *bench)
{
	struct rp_vring_burst_chain chains[BURST_MAX];
	unsigned int room = TAKEN_MAX - bench->taken_count, taken, i;
	uint16_t max_count = (uint16_t)(room < BURST_MAX ? room : BURST_MAX);
	int count;

	if (max_count == 0)
		return;
	peek_burst(bench, fuzz_below(bench->driver.input, 3), chains, max_count);
	count = peek_burst(bench, 0, chains, max_count);
	taken = fuzz_below(bench->driver.input, (unsigned int)count + 1);
	rp_vring_dev_advance(&bench->ring, (uint16_t)taken);
	for (i = 0; i < taken; i++)
		bench->taken[bench->taken_count++] = chains[i].head;
}

static void
look_ahead(struct bench *bench)
{
	unsigned int count = fuzz_below(bench->driver.input, 5), i;

	for (i = 0; i < count; i++) {
		if (rp_vring_dev_peek(&bench->ring, (uint16_t)i, &bench->chain) != 1)
			return;
		check_chain(bench);
	}
}

/* Any that is out; sometimes several before they are published, sometimes what never was out. */
static void
give_back(struct bench *bench)
{
	unsigned int which;
	uint16_t head;

	if (bench->taken_count == 0)
		return;
	which = fuzz_below(bench->driver.input, bench->taken_count);
	head = bench->taken[which];
	if (rp_vring_dev_push(&bench->ring, head, fuzz_u16(bench->driver.input)) == 0)
		bench->taken[which] = bench->taken[--bench->taken_count];
}

static void
fill_and_publish(struct bench *bench)
{
	unsigned int count = fuzz_below(bench->driver.input, 4), i;
	struct rp_vring_done done[4];

	for (i = 0; i < count && i < bench->taken_count; i++)
		done[i] =
			(struct rp_vring_done){.head = bench->taken[i], .written_bytes = fuzz_u16(bench->driver.input)};
	rp_vring_dev_fill_burst(&bench->ring, 0, done, (uint16_t)i);
	if (rp_vring_dev_publish(&bench->ring, (uint16_t)i) != 0)
		return;
	bench->taken_count -= i;
	memmove(bench->taken, bench->taken + i, bench->taken_count * sizeof(bench->taken[0]));
}

static void
step(struct bench *bench)
{
	const char *why = rp_vring_dev_why(&bench->ring);
	int rc;

	switch (fuzz_below(bench->driver.input, 16)) {
	case 0:
	case 1:
	case 2:
	case 3:
		fuzz_driver_offer(&bench->driver);
		break;
	case 4:
		fuzz_driver_table(&bench->driver);
		break;
	case 5:
		fuzz_driver_scribble(&bench->driver);
		break;
	case 6:
		take(bench);
		break;
	case 7:
		take_burst(bench);
		break;
	case 8:
		look_ahead(bench);
		break;
	case 9:
	case 10:
		give_back(bench);
		break;
	case 11:
		fill_and_publish(bench);
		break;
	case 12:
		rc = rp_vring_dev_available(&bench->ring);
		fuzz_require(rc == -EBADMSG || (rc >= 0 && rc <= bench->driver.layout.num),
			     "what waits is not more than all");
		break;
	case 13:
		rc = rp_vring_dev_needs_interrupt(&bench->ring);
		fuzz_require(rc == -EBADMSG || rc == 0 || rc == 1, "yes, no or broken");
		break;
	case 14:
		rp_vring_dev_set_notify(&bench->ring, fuzz_u8(bench->driver.input) % 2 != 0);
		break;
	default:
		fuzz_driver_map(bench->space, bench->reader, fuzz_u8(bench->driver.input) < 192);
		break;
	}
	fuzz_require(why == NULL || rp_vring_dev_why(&bench->ring) == why, "a broken ring stays broken");
	rp_dma_reader_quiescent(bench->reader);
}

int
fuzz_vring(const uint8_t *bytes, size_t size_bytes, uint64_t features)
{
	static struct bench bench;
	struct fuzz_input input = {bytes, size_bytes};
	uint32_t position;

	fuzz_begin();
	memset(&bench, 0, sizeof(bench));
	bench.driver.input = &input;
	bench.driver.memory =
		mmap(NULL, FUZZ_DRIVER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fuzz_fd(FUZZ_FD_SEALED), 0);
	fuzz_require(bench.driver.memory != MAP_FAILED, "the driver's mapping");
	memset(bench.driver.memory, 0, FUZZ_DRIVER_BYTES);
	fuzz_require(rp_dma_space_create(NULL, &bench.space) == 0, "a space");
	fuzz_require(rp_dma_reader_create(bench.space, &bench.reader) == 0, "a reader");
	rp_dma_reader_online(bench.reader);
	fuzz_driver_map(bench.space, bench.reader, true);
	position = fuzz_driver_start(&bench.driver, features, bench.notes);
	rp_vring_dev_init(&bench.ring, &bench.driver.layout, position, bench.reader, NULL);
	while (input.left_bytes > 0)
		step(&bench);
	rp_dma_reader_offline(bench.reader);
	rp_dma_reader_destroy(bench.reader);
	rp_dma_space_destroy(bench.space);
	munmap(bench.driver.memory, FUZZ_DRIVER_BYTES);
	fuzz_end();
	return 0;
}
