/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rp_dma.h"
#include "rp_wire_fd.h"
#include "test_support.h"

#define PAGE_BYTES 4096u

/* Without a file: what an address space is about is addresses. */
static int
map_range(struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why)
{
	const struct rp_dma_mapping mapping = {
		.iova = iova,
		.size_bytes = size_bytes,
		.access_mask = RP_DMA_READ | RP_DMA_WRITE,
		.fd = -1,
	};

	return rp_dma_space_map(space, &mapping, why);
}

static int
setup(void **state)
{
	return rp_dma_space_create(NULL, (struct rp_dma_space **)state);
}

static int
teardown(void **state)
{
	assert_null(rp_dma_space_destroy(*state));
	return 0;
}

static void
assert_mapping(const struct rp_dma_space *space, uint32_t index, uint64_t iova, uint64_t size_bytes)
{
	struct rp_dma_mapping found;

	assert_int_equal(rp_dma_space_at(space, index, &found), 0);
	assert_int_equal(found.iova, iova);
	assert_int_equal(found.size_bytes, size_bytes);
}

static void
empty_space(void **state)
{
	struct rp_dma_space *space = *state;
	struct rp_dma_mapping found;

	assert_int_equal(rp_dma_space_count(space), 0);
	assert_int_equal(rp_dma_space_at(space, 0, &found), -EINVAL);
	assert_null(rp_dma_space_translate(space, 0, 1, RP_DMA_READ));
	rp_dma_space_clear(space);
	assert_null(rp_dma_space_destroy(NULL));
}

static void
sizes_are_checked(void **state)
{
	struct rp_dma_space *space = *state;
	struct rp_wire_why why = {0};

	assert_int_equal(map_range(space, 0x1000, 0, &why), -EBADMSG);
	assert_string_equal(why.text, "map: size: is 0");
	assert_int_equal(map_range(space, UINT64_MAX, 2, &why), -EBADMSG);
	assert_string_equal(why.text, "map: address 0xffffffffffffffff and size 0x2 end beyond 2^64");
	assert_int_equal(map_range(space, 0x2000, UINT64_MAX - 0x1ffe, &why), -EBADMSG);
	assert_int_equal(rp_dma_space_unmap(space, 0x1000, 0, &why), -EBADMSG);
	assert_int_equal(rp_dma_space_unmap(space, 2, UINT64_MAX, &why), -EBADMSG);
	assert_string_equal(why.text, "unmap: address 0x2 and size 0xffffffffffffffff end beyond 2^64");
	assert_int_equal(rp_dma_space_count(space), 0);
}

static void
access_bits_are_checked(void **state)
{
	struct rp_dma_space *space = *state;
	struct rp_dma_mapping mapping = {.size_bytes = 1, .fd = -1};
	struct rp_wire_why why = {0};

	assert_int_equal(rp_dma_space_map(space, &mapping, &why), -EBADMSG);
	assert_string_equal(why.text, "map: access: is 0x0, expected read, write or both");
	mapping.access_mask = RP_DMA_READ | 4;
	assert_int_equal(rp_dma_space_map(space, &mapping, &why), -EBADMSG);
	mapping.access_mask = RP_DMA_WRITE;
	assert_int_equal(rp_dma_space_map(space, &mapping, &why), 0);
}

static void
the_last_address_can_be_mapped(void **state)
{
	struct rp_dma_space *space = *state;

	assert_int_equal(map_range(space, UINT64_MAX, 1, NULL), 0);
	assert_int_equal(map_range(space, UINT64_MAX - PAGE_BYTES, PAGE_BYTES, NULL), 0);
	assert_int_equal(map_range(space, 0, 1, NULL), 0);
	assert_int_equal(rp_dma_space_count(space), 3);
	assert_mapping(space, 2, UINT64_MAX, 1);
	assert_int_equal(rp_dma_space_unmap(space, UINT64_MAX, 1, NULL), 0);
	assert_int_equal(rp_dma_space_unmap(space, 0, UINT64_MAX, NULL), 0);
	assert_int_equal(rp_dma_space_count(space), 0);
	assert_int_equal(map_range(space, 0, UINT64_MAX, NULL), 0);
	assert_int_equal(map_range(space, UINT64_MAX, 1, NULL), 0);
	rp_dma_space_clear(space);
	assert_int_equal(rp_dma_space_count(space), 0);
}

/* Exact, inside, around, and by one byte at either end: each names both ranges and changes nothing. */
static void
overlaps_are_refused(void **state)
{
	static const uint64_t ranges[][2] = {
		{0x10000, 0x1000}, {0x10400, 0x100}, {0xf000, 0x3000}, {0xf000, 0x1001}, {0x10fff, 0x1000},
	};
	struct rp_dma_space *space = *state;
	struct rp_wire_why why;
	size_t i;

	assert_int_equal(map_range(space, 0x10000, 0x1000, NULL), 0);
	for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		memset(&why, 0, sizeof(why));
		assert_int_equal(map_range(space, ranges[i][0], ranges[i][1], &why), -EEXIST);
		assert_non_null(strstr(why.text, "overlaps 0x10000 to 0x10fff"));
	}
	assert_string_equal(why.text, "map: 0x10fff to 0x11ffe overlaps 0x10000 to 0x10fff");
	assert_int_equal(rp_dma_space_count(space), 1);
	assert_int_equal(map_range(space, 0xf000, 0x1000, NULL), 0);
	assert_int_equal(map_range(space, 0x11000, 0x1000, NULL), 0);
	assert_int_equal(rp_dma_space_count(space), 3);
}

/* With intel-iommu QEMU unmaps whole halves of the address space that it never mapped. */
static void
unmapping_nothing_succeeds(void **state)
{
	struct rp_dma_space *space = *state;

	assert_int_equal(rp_dma_space_unmap(space, 0, UINT64_MAX, NULL), 0);
	assert_int_equal(rp_dma_space_unmap(space, UINT64_MAX / 2 + 1, UINT64_MAX / 2 + 1, NULL), 0);
	assert_int_equal(map_range(space, 0x10000, 0x1000, NULL), 0);
	assert_int_equal(rp_dma_space_unmap(space, 0, 0x10000, NULL), 0);
	assert_int_equal(rp_dma_space_unmap(space, 0x11000, UINT64_MAX - 0x11000, NULL), 0);
	assert_int_equal(rp_dma_space_count(space), 1);
}

static void
unmap_spans_and_splits(void **state)
{
	struct rp_dma_space *space = *state;
	uint64_t i;

	for (i = 0; i < 8; i++)
		assert_int_equal(map_range(space, i * 0x2000, 0x1000, NULL), 0);
	assert_int_equal(rp_dma_space_unmap(space, 0x2800, 0x6000, NULL), 0);
	assert_int_equal(rp_dma_space_count(space), 6);
	assert_mapping(space, 1, 0x2000, 0x800);
	assert_mapping(space, 2, 0x8800, 0x800);
	assert_int_equal(rp_dma_space_unmap(space, 0xa400, 0x400, NULL), 0);
	assert_int_equal(rp_dma_space_count(space), 7);
	assert_mapping(space, 3, 0xa000, 0x400);
	assert_mapping(space, 4, 0xa800, 0x800);
}

static void
mappings_have_a_limit(void **state)
{
	const struct rp_dma_limits limits = {.mappings_max = 3};
	struct rp_dma_space *space = NULL;
	struct rp_wire_why why = {0};

	(void)state;
	assert_int_equal(rp_dma_space_create(&limits, &space), 0);
	assert_int_equal(map_range(space, 0, 0x1000, NULL), 0);
	assert_int_equal(map_range(space, 0x1000, 0x1000, NULL), 0);
	assert_int_equal(map_range(space, 0x2000, 0x1000, NULL), 0);
	assert_int_equal(map_range(space, 0x3000, 0x1000, &why), -ENOSPC);
	assert_string_equal(why.text, "map: there are 3 mappings already, the most allowed");
	/* Repeated splits would grow the table as well as maps do. */
	assert_int_equal(rp_dma_space_unmap(space, 0x1400, 0x100, &why), -ENOSPC);
	assert_int_equal(rp_dma_space_count(space), 3);
	assert_int_equal(rp_dma_space_unmap(space, 0x1400, 0x1000, &why), 0);
	assert_int_equal(rp_dma_space_unmap(space, 0, 0x1000, &why), 0);
	assert_int_equal(rp_dma_space_unmap(space, 0x1100, 0x100, &why), 0);
	assert_int_equal(rp_dma_space_count(space), 3);
	rp_dma_space_destroy(space);
}

/* Bytes without a file are known, and unreachable here. */
static void
without_a_file_there_is_no_address(void **state)
{
	struct rp_dma_space *space = *state;
	struct rp_dma_mapping found;

	assert_int_equal(map_range(space, 0x1000, 0x1000, NULL), 0);
	assert_null(rp_dma_space_translate(space, 0x1000, 1, RP_DMA_READ));
	assert_int_equal(rp_dma_space_at(space, 0, &found), 0);
	assert_int_equal(found.fd, -1);
	assert_null(found.hva);
	assert_int_equal(found.access_mask, RP_DMA_READ | RP_DMA_WRITE);
}

static void
translation_stays_in_one_mapping(void **state)
{
	struct rp_dma_space *space = *state;
	struct rp_dma_mapping mapping = {.size_bytes = PAGE_BYTES, .access_mask = RP_DMA_READ};

	mapping.fd = test_memfd(2 * PAGE_BYTES, true);
	assert_int_equal(rp_dma_space_map(space, &mapping, NULL), 0);
	mapping.iova = PAGE_BYTES;
	mapping.offset_bytes = PAGE_BYTES;
	assert_int_equal(rp_dma_space_map(space, &mapping, NULL), 0);
	rp_wire_fd_close(&mapping.fd);
	assert_non_null(rp_dma_space_translate(space, 0, PAGE_BYTES, RP_DMA_READ));
	assert_non_null(rp_dma_space_translate(space, PAGE_BYTES, PAGE_BYTES, RP_DMA_READ));
	assert_null(rp_dma_space_translate(space, PAGE_BYTES - 1, 2, RP_DMA_READ));
	assert_null(rp_dma_space_translate(space, 0, 0, RP_DMA_READ));
	assert_null(rp_dma_space_translate(space, 1, UINT64_MAX, RP_DMA_READ));
	assert_null(rp_dma_space_translate(space, UINT64_MAX, 1, RP_DMA_READ));
}

#define MODEL_UNITS 96u
#define UNIT_BYTES 512u

/* What each unit of the space leads to: an offset in the file, or nothing. */
struct model {
	int64_t offset_bytes[MODEL_UNITS];
};

static void
assert_like_model(const struct rp_dma_space *space, const struct model *model)
{
	uint32_t i;

	for (i = 0; i < MODEL_UNITS; i++) {
		uint32_t *hva = rp_dma_space_translate(space, i * UNIT_BYTES, UNIT_BYTES, RP_DMA_READ);

		if (model->offset_bytes[i] < 0)
			assert_null(hva);
		else if (hva == NULL || *hva != model->offset_bytes[i])
			fail_msg("unit %u leads to %p, expected offset %lld", i, (void *)hva,
				 (long long)model->offset_bytes[i]);
	}
}

static void
model_map(struct rp_dma_space *space, struct model *model, int fd, unsigned int *seed)
{
	uint32_t first = (uint32_t)rand_r(seed) % MODEL_UNITS, i;
	uint32_t count = 1 + (uint32_t)rand_r(seed) % 12, offset = (uint32_t)rand_r(seed) % MODEL_UNITS;
	bool overlaps = false;
	struct rp_dma_mapping mapping = {.access_mask = RP_DMA_READ, .fd = fd};

	if (count > MODEL_UNITS - first)
		count = MODEL_UNITS - first;
	for (i = 0; i < count; i++)
		overlaps |= model->offset_bytes[first + i] >= 0;
	mapping.iova = first * UNIT_BYTES;
	mapping.size_bytes = count * UNIT_BYTES;
	mapping.offset_bytes = offset * UNIT_BYTES;
	assert_int_equal(rp_dma_space_map(space, &mapping, NULL), overlaps ? -EEXIST : 0);
	for (i = 0; i < count && !overlaps; i++)
		model->offset_bytes[first + i] = (offset + i) * UNIT_BYTES;
}

static void
model_unmap(struct rp_dma_space *space, struct model *model, unsigned int *seed)
{
	uint32_t first = (uint32_t)rand_r(seed) % MODEL_UNITS, i;
	uint32_t count = 1 + (uint32_t)rand_r(seed) % (rand_r(seed) % 8 == 0 ? MODEL_UNITS : 10);

	assert_int_equal(rp_dma_space_unmap(space, first * UNIT_BYTES, count * UNIT_BYTES, NULL), 0);
	for (i = first; i < MODEL_UNITS && i < first + count; i++)
		model->offset_bytes[i] = -1;
}

/* Thousands of random changes, compared with an array that cannot be wrong. */
static void
behaves_like_its_model(void **state)
{
	struct rp_dma_space *space = *state;
	struct test_leaks before;
	unsigned int seed = 20180612, round;
	struct model model;
	uint32_t word;
	int fd = test_memfd(2 * MODEL_UNITS * UNIT_BYTES, true);

	test_leaks_read(&before);
	for (word = 0; word < 2 * MODEL_UNITS * UNIT_BYTES; word += UNIT_BYTES)
		assert_int_equal(pwrite(fd, &word, sizeof(word), (off_t)word), sizeof(word));
	memset(&model, 0xff, sizeof(model));
	for (round = 0; round < 4000; round++) {
		if (rand_r(&seed) % 5 < 3)
			model_map(space, &model, fd, &seed);
		else
			model_unmap(space, &model, &seed);
		assert_like_model(space, &model);
	}
	rp_dma_space_clear(space);
	memset(&model, 0xff, sizeof(model));
	assert_like_model(space, &model);
	test_leaks_assert_none(&before);
	rp_wire_fd_close(&fd);
}

#define WITH_SPACE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SPACE(empty_space),
		WITH_SPACE(sizes_are_checked),
		WITH_SPACE(access_bits_are_checked),
		WITH_SPACE(the_last_address_can_be_mapped),
		WITH_SPACE(overlaps_are_refused),
		WITH_SPACE(unmapping_nothing_succeeds),
		WITH_SPACE(unmap_spans_and_splits),
		WITH_SPACE(mappings_have_a_limit),
		WITH_SPACE(without_a_file_there_is_no_address),
		WITH_SPACE(translation_stays_in_one_mapping),
		WITH_SPACE(behaves_like_its_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
