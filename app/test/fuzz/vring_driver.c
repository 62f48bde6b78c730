/* SPDX-License-Identifier: BSD-3-Clause */
#include "vring_driver.h"

#define DESC_AT 0x0u
#define AVAIL_AT 0x1000u
#define USED_AT 0x2000u
#define BUFFERS_AT 0x3000u
#define RING_BYTES BUFFERS_AT
#define WRITE 0x2u
#define INDIRECT 0x4u

static void
put(struct fuzz_driver *driver, size_t at, uint64_t value, unsigned int bytes)
{
	while (bytes-- > 0) {
		driver->memory[at++ % FUZZ_DRIVER_BYTES] = (uint8_t)value;
		value >>= 8;
	}
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
		return FUZZ_GPA + FUZZ_DRIVER_BYTES - (kind - 216);
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
put_desc(struct fuzz_driver *driver, size_t at, uint16_t flags, uint16_t id_or_next)
{
	bool packed = (driver->layout.features & UINT64_C(1) << 34) != 0;

	put(driver, at, address(driver->input), 8);
	put(driver, at + 8, length(driver->input), 4);
	put(driver, at + 12, packed ? id_or_next : flags, 2);
	put(driver, at + 14, packed ? flags : id_or_next, 2);
}

void
fuzz_driver_table(struct fuzz_driver *driver)
{
	unsigned int count = 1 + fuzz_below(driver->input, 8), i;
	size_t at = BUFFERS_AT + fuzz_below(driver->input, 200) * 64u;

	for (i = 0; i < count; i++)
		put_desc(driver, at + 16 * i, (uint16_t)fuzz_below(driver->input, 8), (uint16_t)(i + 1));
}

/* A chain of some descriptors, well-formed but for their fields, made available. */
static void
offer_split(struct fuzz_driver *driver)
{
	unsigned int count = 1 + fuzz_below(driver->input, 4), i;
	uint16_t head = (uint16_t)fuzz_below(driver->input, driver->layout.num);

	for (i = 0; i < count; i++) {
		uint16_t at = (uint16_t)((head + i) % driver->layout.num);
		uint16_t flags = (uint16_t)((fuzz_u8(driver->input) & (WRITE | INDIRECT)) | (i + 1 < count));

		put_desc(driver, DESC_AT + 16u * at, flags, (uint16_t)((at + 1) % driver->layout.num));
	}
	put(driver, AVAIL_AT + 4 + 2u * (driver->offer_at % driver->layout.num), head, 2);
	put(driver, AVAIL_AT + 2, ++driver->offer_at, 2);
}

static void
offer_packed(struct fuzz_driver *driver)
{
	unsigned int count = 1 + fuzz_below(driver->input, 4), i;
	uint16_t id = (uint16_t)fuzz_below(driver->input, driver->layout.num);

	for (i = 0; i < count; i++) {
		uint16_t flags = (uint16_t)((fuzz_u8(driver->input) & (WRITE | INDIRECT)) | (i + 1 < count));

		flags |= driver->offer_wrap ? 0x0080 : 0x8000; /* available, not used, in this round */
		put_desc(driver, DESC_AT + 16u * driver->offer_at, flags, id);
		if (++driver->offer_at >= driver->layout.num) {
			driver->offer_at = 0;
			driver->offer_wrap = !driver->offer_wrap;
		}
	}
}

void
fuzz_driver_scribble(struct fuzz_driver *driver)
{
	size_t at = fuzz_u16(driver->input) % RING_BYTES, i, size_bytes = 1 + fuzz_below(driver->input, 32);

	for (i = 0; i < size_bytes; i++)
		put(driver, at + i, fuzz_u8(driver->input), 1);
}

void
fuzz_driver_offer(struct fuzz_driver *driver)
{
	if ((driver->layout.features & UINT64_C(1) << 34) != 0)
		offer_packed(driver);
	else
		offer_split(driver);
}

uint32_t
fuzz_driver_start(struct fuzz_driver *driver, uint64_t features, struct rp_vring_note *notes)
{
	unsigned int chosen = fuzz_u8(driver->input), size = fuzz_u8(driver->input);
	bool packed = (features & UINT64_C(1) << 34) != 0;
	uint32_t position;

	features |= UINT64_C(1) << 32;
	features |= (chosen & 1) != 0 ? UINT64_C(1) << 28 : 0;
	features |= (chosen & 2) != 0 ? UINT64_C(1) << 29 : 0;
	features |= (chosen & 4) != 0 ? UINT64_C(1) << 35 : 0;
	driver->layout = (struct rp_vring_layout){
		.num = packed ? (uint16_t)(1 + size) : (uint16_t)(1u << size % 9),
		.desc_iova = FUZZ_GPA + DESC_AT,
		.avail_iova = FUZZ_GPA + AVAIL_AT,
		.used_iova = FUZZ_GPA + USED_AT,
		.features = features,
		.notes = notes,
	};
	position = rp_vring_position_fresh(features);
	if ((chosen & 0x80) != 0)
		position = (uint32_t)fuzz_number(driver->input);
	driver->offer_at = packed ? 0 : (uint16_t)position;
	driver->offer_wrap = true;
	if (!packed) {
		put(driver, AVAIL_AT + 2, position, 2);
		put(driver, USED_AT + 2, position, 2);
	}
	return position;
}

void
fuzz_driver_map(struct rp_dma_space *space, struct rp_dma_reader *reader, bool mapped)
{
	const struct rp_dma_mapping mapping = {
		.iova = FUZZ_GPA,
		.size_bytes = FUZZ_DRIVER_BYTES,
		.access_mask = RP_DMA_READ | RP_DMA_WRITE,
		.fd = fuzz_fd(FUZZ_FD_SEALED),
	};

	rp_dma_reader_offline(reader);
	rp_dma_space_clear(space);
	if (mapped)
		fuzz_require(rp_dma_space_map(space, &mapping, NULL) == 0, "a mapping");
	rp_dma_reader_online(reader);
}
