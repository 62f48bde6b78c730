/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "rp_dma.h"
#include "rp_vring_dev.h"
#include "vring.h"

/*
 * A driver that writes anything to its ring, and a device that serves it as a device may:
 * looking ahead, giving back late, in any order, with the memory going away. What is
 * asserted is what the device relies on: each part of a chain is memory that was mapped
 * (and is touched), counts agree, and a ring that broke stays broken and says why.
 */

#define NUM_MAX 256u
#define DESC_AT 0x0u
#define AVAIL_AT 0x1000u
#define USED_AT 0x2000u
#define BUFFERS_AT 0x3000u
#define RING_BYTES BUFFERS_AT
#define MEMORY_BYTES 0x10000u
#define TAKEN_MAX 64u
#define WRITE 0x2u
#define INDIRECT 0x4u

struct bench {
	struct fuzz_input *input;
	uint8_t *memory; /* the driver's own mapping */
	struct rp_dma_space *space;
	struct rp_dma_reader *reader;
	struct rp_vring_layout layout;
	struct rp_vring_dev ring;
	struct rp_vring_chain chain;
	struct rp_vring_note notes[NUM_MAX];
	uint16_t taken[TAKEN_MAX]; /* heads that are out */
	unsigned int taken_count;
	uint16_t offer_at; /* the driver's next place: index of the available ring, or descriptor */
	bool offer_wrap;
};

static void
put(struct bench *bench, size_t at, uint64_t value, unsigned int bytes)
{
	while (bytes-- > 0) {
		bench->memory[at++ % MEMORY_BYTES] = (uint8_t)value;
		value >>= 8;
	}
}

static void
map(struct bench *bench, bool mapped)
{
	const struct rp_dma_mapping mapping = {
		.iova = FUZZ_GPA,
		.size_bytes = MEMORY_BYTES,
		.access_mask = RP_DMA_READ | RP_DMA_WRITE,
		.fd = fuzz_fd(FUZZ_FD_SEALED),
	};

	rp_dma_reader_offline(bench->reader);
	rp_dma_space_clear(bench->space);
	if (mapped)
		fuzz_require(rp_dma_space_map(bench->space, &mapping, NULL) == 0, "a mapping");
	rp_dma_reader_online(bench->reader);
}

static uint64_t
address(struct fuzz_input *input)
{
	unsigned int kind = fuzz_u8(input);

	if (kind < 200)
		return FUZZ_GPA + BUFFERS_AT + kind * 64ull;
	if (kind < 216) /* the ring itself, and around the end of memory */
		return FUZZ_GPA + (kind - 200) * 256ull;
	if (kind < 232)
		return FUZZ_GPA + MEMORY_BYTES - (kind - 216);
	return fuzz_number(input);
}

static uint32_t
length(struct fuzz_input *input)
{
	unsigned int kind = fuzz_u8(input);

	return kind < 224 ? kind : (uint32_t)fuzz_number(input);
}

/* A descriptor; `last_two` is next (split) or the rest of a packed one. */
static void
put_desc(struct bench *bench, size_t at, uint16_t flags, uint16_t id_or_next)
{
	bool packed = (bench->layout.features & UINT64_C(1) << 34) != 0;

	put(bench, at, address(bench->input), 8);
	put(bench, at + 8, length(bench->input), 4);
	put(bench, at + 12, packed ? id_or_next : flags, 2);
	put(bench, at + 14, packed ? flags : id_or_next, 2);
}

/* A table of descriptors in a buffer, to which an indirect one may point. */
static void
put_table(struct bench *bench)
{
	unsigned int count = 1 + fuzz_below(bench->input, 8), i;
	size_t at = BUFFERS_AT + fuzz_below(bench->input, 200) * 64u;

	for (i = 0; i < count; i++)
		put_desc(bench, at + 16 * i, (uint16_t)fuzz_below(bench->input, 8), (uint16_t)(i + 1));
}

/* A chain of some descriptors, well-formed but for their fields, made available. */
static void
offer_split(struct bench *bench)
{
	unsigned int count = 1 + fuzz_below(bench->input, 4), i;
	uint16_t head = (uint16_t)fuzz_below(bench->input, bench->layout.num);

	for (i = 0; i < count; i++) {
		uint16_t at = (uint16_t)((head + i) % bench->layout.num);
		uint16_t flags = (uint16_t)((fuzz_u8(bench->input) & (WRITE | INDIRECT)) | (i + 1 < count));

		put_desc(bench, DESC_AT + 16u * at, flags, (uint16_t)((at + 1) % bench->layout.num));
	}
	put(bench, AVAIL_AT + 4 + 2u * (bench->offer_at % bench->layout.num), head, 2);
	put(bench, AVAIL_AT + 2, ++bench->offer_at, 2);
}

static void
offer_packed(struct bench *bench)
{
	unsigned int count = 1 + fuzz_below(bench->input, 4), i;
	uint16_t id = (uint16_t)fuzz_below(bench->input, bench->layout.num);

	for (i = 0; i < count; i++) {
		uint16_t flags = (uint16_t)((fuzz_u8(bench->input) & (WRITE | INDIRECT)) | (i + 1 < count));

		flags |= bench->offer_wrap ? 0x0080 : 0x8000; /* available, not used, in this round */
		put_desc(bench, DESC_AT + 16u * bench->offer_at, flags, id);
		if (++bench->offer_at >= bench->layout.num) {
			bench->offer_at = 0;
			bench->offer_wrap = !bench->offer_wrap;
		}
	}
}

static void
check_chain(const struct bench *bench)
{
	const struct rp_vring_chain *chain = &bench->chain;
	const uint8_t *memory = rp_dma_space_translate(bench->space, FUZZ_GPA, MEMORY_BYTES, RP_DMA_READ);
	uint64_t out_bytes = 0, in_bytes = 0;
	unsigned int i;

	fuzz_require(chain->head < bench->layout.num, "a head lies in the ring");
	fuzz_require(chain->out_count + chain->in_count > 0 &&
			     chain->out_count + chain->in_count <= RP_VRING_SEGMENTS_MAX,
		     "a chain has parts");
	for (i = 0; i < (unsigned int)(chain->out_count + chain->in_count); i++) {
		volatile uint8_t *base = chain->iov[i].iov_base;
		size_t size_bytes = chain->iov[i].iov_len;

		fuzz_require(size_bytes > 0 && size_bytes <= MEMORY_BYTES && base >= memory &&
				     base + size_bytes <= memory + MEMORY_BYTES,
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
look_ahead(struct bench *bench)
{
	unsigned int count = fuzz_below(bench->input, 5), i;

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
	which = fuzz_below(bench->input, bench->taken_count);
	head = bench->taken[which];
	if (rp_vring_dev_push(&bench->ring, head, fuzz_u16(bench->input)) == 0)
		bench->taken[which] = bench->taken[--bench->taken_count];
}

static void
fill_and_publish(struct bench *bench)
{
	unsigned int count = fuzz_below(bench->input, 4), i;

	for (i = 0; i < count && i < bench->taken_count; i++)
		rp_vring_dev_fill(&bench->ring, (uint16_t)i, bench->taken[i], fuzz_u16(bench->input));
	if (rp_vring_dev_publish(&bench->ring, (uint16_t)i) != 0)
		return;
	bench->taken_count -= i;
	memmove(bench->taken, bench->taken + i, bench->taken_count * sizeof(bench->taken[0]));
}

static void
scribble(struct bench *bench)
{
	size_t at = fuzz_u16(bench->input) % RING_BYTES, i, size_bytes = 1 + fuzz_below(bench->input, 32);

	for (i = 0; i < size_bytes; i++)
		put(bench, at + i, fuzz_u8(bench->input), 1);
}

static void
step(struct bench *bench)
{
	const char *why = rp_vring_dev_why(&bench->ring);
	int rc;

	switch (fuzz_below(bench->input, 16)) {
	case 0:
	case 1:
	case 2:
	case 3:
		if ((bench->layout.features & UINT64_C(1) << 34) != 0)
			offer_packed(bench);
		else
			offer_split(bench);
		break;
	case 4:
		put_table(bench);
		break;
	case 5:
		scribble(bench);
		break;
	case 6:
	case 7:
		take(bench);
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
		fuzz_require(rc == -EBADMSG || (rc >= 0 && rc <= bench->layout.num), "what waits is not more than all");
		break;
	case 13:
		rc = rp_vring_dev_needs_interrupt(&bench->ring);
		fuzz_require(rc == -EBADMSG || rc == 0 || rc == 1, "yes, no or broken");
		break;
	case 14:
		rp_vring_dev_set_notify(&bench->ring, fuzz_u8(bench->input) % 2 != 0);
		break;
	default:
		map(bench, fuzz_u8(bench->input) < 192);
		break;
	}
	fuzz_require(why == NULL || rp_vring_dev_why(&bench->ring) == why, "a broken ring stays broken");
	rp_dma_reader_quiescent(bench->reader);
}

static void
start(struct bench *bench, uint64_t features)
{
	unsigned int chosen = fuzz_u8(bench->input), size = fuzz_u8(bench->input);
	bool packed = (features & UINT64_C(1) << 34) != 0;
	uint32_t position;

	features |= UINT64_C(1) << 32;
	features |= (chosen & 1) != 0 ? UINT64_C(1) << 28 : 0;
	features |= (chosen & 2) != 0 ? UINT64_C(1) << 29 : 0;
	features |= (chosen & 4) != 0 ? UINT64_C(1) << 35 : 0;
	bench->layout = (struct rp_vring_layout){
		.num = packed ? (uint16_t)(1 + size) : (uint16_t)(1u << size % 9),
		.desc_iova = FUZZ_GPA + DESC_AT,
		.avail_iova = FUZZ_GPA + AVAIL_AT,
		.used_iova = FUZZ_GPA + USED_AT,
		.features = features,
		.notes = bench->notes,
	};
	position = rp_vring_position_fresh(features);
	if ((chosen & 0x80) != 0)
		position = (uint32_t)fuzz_number(bench->input);
	bench->offer_at = packed ? 0 : (uint16_t)position;
	bench->offer_wrap = true;
	if (!packed) {
		put(bench, AVAIL_AT + 2, position, 2);
		put(bench, USED_AT + 2, position, 2);
	}
	rp_vring_dev_init(&bench->ring, &bench->layout, position, bench->reader, NULL);
}

int
fuzz_vring(const uint8_t *bytes, size_t size_bytes, uint64_t features)
{
	static struct bench bench;
	struct fuzz_input input = {bytes, size_bytes};

	fuzz_begin();
	memset(&bench, 0, sizeof(bench));
	bench.input = &input;
	bench.memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fuzz_fd(FUZZ_FD_SEALED), 0);
	fuzz_require(bench.memory != MAP_FAILED, "the driver's mapping");
	memset(bench.memory, 0, MEMORY_BYTES);
	fuzz_require(rp_dma_space_create(NULL, &bench.space) == 0, "a space");
	fuzz_require(rp_dma_reader_create(bench.space, &bench.reader) == 0, "a reader");
	rp_dma_reader_online(bench.reader);
	map(&bench, true);
	start(&bench, features);
	while (input.left_bytes > 0)
		step(&bench);
	rp_dma_reader_offline(bench.reader);
	rp_dma_reader_destroy(bench.reader);
	rp_dma_space_destroy(bench.space);
	munmap(bench.memory, MEMORY_BYTES);
	fuzz_end();
	return 0;
}
