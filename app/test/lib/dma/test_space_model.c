/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Random changes of an address space, each compared with a list that is searched from
 * its begin. Page by page, odd and huge mappings, close together and far apart, memory
 * that runs out in the middle. RP_DMA_MODEL_STEPS makes it longer, RP_DMA_MODEL_SEED
 * repeats a run whose seed was printed.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rp_dma.h"
#include "rp_wire_fd.h"
#include "test_support.h"

#define STEPS_DEFAULT 200000u
#define MAPPINGS_MAX 600u
#define FILE_BYTES (1u << 20)
#define FILES 2u

/* Allocations left until one fails; 0: none does. */
static unsigned int countdown;
static bool failed;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__real_mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
void *__wrap_mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset);

static bool
is_time(void)
{
	if (countdown == 0 || --countdown > 0)
		return false;
	failed = true;
	return true;
}

void *
__wrap_malloc(size_t size)
{
	return is_time() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
	return is_time() ? NULL : __real_calloc(count, size);
}

void *
__wrap_aligned_alloc(size_t align, size_t size)
{
	return is_time() ? NULL : __real_aligned_alloc(align, size);
}

void *
__wrap_mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
	if (is_time()) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return __real_mmap(at, size, prot, flags, fd, offset);
}

struct extent {
	uint64_t first;
	uint64_t last;
	uint64_t offset_bytes;
	uint32_t access_mask;
	int file; /* -1: none */
};

struct model {
	struct rp_dma_space *space;
	struct rp_dma_reader *reader;
	uint64_t random;
	uint64_t step;
	uint64_t refused_count;
	int fds[FILES];
	uint8_t bytes[FILES][FILE_BYTES];
	uint32_t count;
	struct extent extents[MAPPINGS_MAX + 2];
};

static uint64_t
draw(struct model *model)
{
	model->random ^= model->random << 13;
	model->random ^= model->random >> 7;
	model->random ^= model->random << 17;
	return model->random;
}

static uint64_t
draw_below(struct model *model, uint64_t limit)
{
	return draw(model) % limit;
}

/* The first that ends at the address or above. */
static uint32_t
lower(const struct model *model, uint64_t iova)
{
	uint32_t i = 0;

	while (i < model->count && model->extents[i].last < iova)
		i++;
	return i;
}

static bool
touches(const struct model *model, uint64_t first, uint64_t last)
{
	uint32_t i = lower(model, first);

	return i < model->count && model->extents[i].first <= last;
}

static void
put(struct model *model, uint32_t at, const struct extent *extent)
{
	memmove(&model->extents[at + 1], &model->extents[at], (model->count - at) * sizeof(*extent));
	model->extents[at] = *extent;
	model->count++;
}

/* What is left of a list without a range. */
static void
cut(struct model *model, uint64_t first, uint64_t last)
{
	uint32_t i = lower(model, first);

	while (i < model->count && model->extents[i].first <= last) {
		struct extent old = model->extents[i], right = old;

		memmove(&model->extents[i], &model->extents[i + 1], (model->count - i - 1) * sizeof(model->extents[0]));
		model->count--;
		if (old.first < first) {
			old.last = first - 1;
			put(model, i++, &old);
		}
		if (right.last > last) {
			right.offset_bytes += last + 1 - right.first;
			right.first = last + 1;
			put(model, i++, &right);
		}
	}
}

static uint32_t
count_without(struct model *model, uint64_t first, uint64_t last)
{
	uint32_t count = model->count, i;

	for (i = lower(model, first); i < model->count && model->extents[i].first <= last; i++)
		count += (model->extents[i].first < first) + (model->extents[i].last > last) - 1;
	return count;
}

/* Around a few places, in units of every size, so that ranges meet. */
static void
draw_range(struct model *model, uint64_t *ret_first, uint64_t *ret_size)
{
	static const uint64_t bases[] = {0, 0xfee00000, 0x100000000, 0x380000000000, 0x7ffffffffff00000, UINT64_MAX};
	static const unsigned int shifts[] = {0, 4, 6, 12, 12, 12, 12, 13, 18, 21, 30, 44, 58};
	unsigned int shift = shifts[draw_below(model, sizeof(shifts) / sizeof(shifts[0]))];
	uint64_t first = bases[draw_below(model, sizeof(bases) / sizeof(bases[0]))], size;

	first += ((draw_below(model, 160) - 80) << shift) & (draw_below(model, 8) == 0 ? UINT64_MAX : ~UINT64_C(4095));
	size = (1 + draw_below(model, draw_below(model, 6) == 0 ? 64 : 2)) << shift;
	if (draw_below(model, 40) == 0)
		first += draw_below(model, 5000) - 2500;
	if (draw_below(model, 40) == 0)
		size += draw_below(model, 5000);
	if (draw_below(model, 200) == 0)
		size = draw(model) | 1;
	if (size == 0 || first + (size - 1) < first)
		size = UINT64_MAX - first + (first != 0);
	*ret_first = first;
	*ret_size = size;
}

static struct rp_dma_mapping
draw_mapping(struct model *model, struct extent *ret_extent)
{
	struct rp_dma_mapping mapping = {.fd = -1, .access_mask = 1 + (uint32_t)draw_below(model, 3)};

	draw_range(model, &mapping.iova, &mapping.size_bytes);
	*ret_extent = (struct extent){.first = mapping.iova,
				      .last = mapping.iova + (mapping.size_bytes - 1),
				      .access_mask = mapping.access_mask,
				      .file = -1};
	if (mapping.size_bytes > FILE_BYTES || draw_below(model, 5) == 0)
		return mapping;
	mapping.offset_bytes = draw_below(model, FILE_BYTES - mapping.size_bytes + 1);
	if (draw_below(model, 4) > 0)
		mapping.offset_bytes &= ~UINT64_C(4095);
	ret_extent->offset_bytes = mapping.offset_bytes;
	ret_extent->file = (int)draw_below(model, FILES);
	mapping.fd = model->fds[ret_extent->file];
	return mapping;
}

/* Its list changes only when the space's did: no memory is no change. @return whether it is to change. */
static bool
agreed(struct model *model, int rc, int expected, const struct rp_wire_why *why)
{
	bool no_memory = failed && rc == -ENOSPC;

	countdown = 0;
	failed = false;
	model->refused_count += no_memory;
	if (no_memory)
		return false;
	if (rc != expected)
		fail_msg("step %" PRIu64 ": got %d (%s), expected %d", model->step, rc, why->text, expected);
	return rc == 0;
}

static void
maybe_fail(struct model *model)
{
	if (draw_below(model, 6) == 0)
		countdown = 1 + (unsigned int)draw_below(model, draw_below(model, 2) == 0 ? 3 : 14);
}

static void
step_map(struct model *model)
{
	struct rp_wire_why why = {0};
	struct extent extent;
	struct rp_dma_mapping mapping = draw_mapping(model, &extent);
	int expected = touches(model, extent.first, extent.last) ? -EEXIST : model->count >= MAPPINGS_MAX ? -ENOSPC : 0;

	maybe_fail(model);
	if (agreed(model, rp_dma_space_map(model->space, &mapping, &why), expected, &why))
		put(model, lower(model, extent.first), &extent);
}

static void
step_remap(struct model *model)
{
	struct rp_wire_why why = {0};
	struct extent extent;
	struct rp_dma_mapping mapping = draw_mapping(model, &extent);
	int expected = count_without(model, extent.first, extent.last) >= MAPPINGS_MAX ? -ENOSPC : 0;

	maybe_fail(model);
	if (agreed(model, rp_dma_space_remap(model->space, &mapping, &why), expected, &why)) {
		cut(model, extent.first, extent.last);
		put(model, lower(model, extent.first), &extent);
	}
}

static void
step_unmap(struct model *model)
{
	struct rp_wire_why why = {0};
	uint64_t first, size;
	int expected;

	draw_range(model, &first, &size);
	if (model->count > 0 && draw_below(model, 2) == 0) {
		const struct extent *extent = &model->extents[draw_below(model, model->count)];

		first = extent->first;
		size = extent->last - extent->first + 1;
	}
	expected = count_without(model, first, first + (size - 1)) > MAPPINGS_MAX ? -ENOSPC : 0;
	maybe_fail(model);
	if (agreed(model, rp_dma_space_unmap(model->space, first, size, &why), expected, &why))
		cut(model, first, first + (size - 1));
}

static void
check_bytes(const struct model *model, const struct extent *extent, uint64_t iova, const uint8_t *hva, uint64_t size)
{
	const uint8_t *expected = &model->bytes[extent->file][extent->offset_bytes + (iova - extent->first)];

	if (hva[0] != expected[0] || hva[size - 1] != expected[size - 1])
		fail_msg("step %" PRIu64 ": 0x%" PRIx64 " leads to other bytes", model->step, iova);
}

/* Both ways to translate, at one address, with every right. */
static void
check_address(struct model *model, uint64_t iova)
{
	uint64_t size = 1 + draw_below(model, 9000), here = 77, beyond;
	uint32_t access_mask = 1 + (uint32_t)draw_below(model, 3), at = lower(model, iova);
	const struct extent *extent = &model->extents[at];
	bool found = at < model->count && extent->first <= iova && extent->file >= 0 &&
		     (extent->access_mask & access_mask) == access_mask;
	const uint8_t *near = rp_dma_reader_translate(model->reader, iova, size, access_mask, &here);
	const uint8_t *whole = rp_dma_space_translate(model->space, iova, size, access_mask);

	if (!found) {
		if (near != NULL || whole != NULL || here != 0)
			fail_msg("step %" PRIu64 ": 0x%" PRIx64 " is mapped, expected nothing", model->step, iova);
		return;
	}
	beyond = extent->last - iova;
	if (near == NULL || here != (size - 1 <= beyond ? size : beyond + 1))
		fail_msg("step %" PRIu64 ": 0x%" PRIx64 " leads to %p for 0x%" PRIx64 " bytes", model->step, iova,
			 (const void *)near, here);
	if (whole != (size - 1 <= beyond ? near : NULL))
		fail_msg("step %" PRIu64 ": 0x%" PRIx64 " as a whole leads to %p", model->step, iova,
			 (const void *)whole);
	check_bytes(model, extent, iova, near, here);
}

static void
check_some(struct model *model)
{
	unsigned int i;
	uint64_t first, size;

	rp_dma_reader_online(model->reader);
	for (i = 0; i < 4; i++) {
		draw_range(model, &first, &size);
		check_address(model, first + draw_below(model, 4096));
		if (model->count == 0)
			continue;
		first = model->extents[draw_below(model, model->count)].first;
		check_address(model, first);
		check_address(model, first - 1);
		first = model->extents[draw_below(model, model->count)].last;
		check_address(model, first);
		check_address(model, first + 1);
		/* The same in all bits but one: what a tree may take for it. */
		check_address(model, first ^ UINT64_C(1) << draw_below(model, 64));
	}
	rp_dma_reader_offline(model->reader);
	assert_int_equal(rp_dma_space_count(model->space), model->count);
}

static void
check_mapping(const struct model *model, const struct rp_dma_mapping *found, const struct extent *extent)
{
	if (found->iova != extent->first || found->size_bytes != extent->last - extent->first + 1 ||
	    found->access_mask != extent->access_mask || (found->fd < 0) != (extent->file < 0) ||
	    (extent->file >= 0 && found->offset_bytes != extent->offset_bytes))
		fail_msg("step %" PRIu64 ": 0x%" PRIx64 " and 0x%" PRIx64 " bytes, expected 0x%" PRIx64
			 " to 0x%" PRIx64,
			 model->step, found->iova, found->size_bytes, extent->first, extent->last);
}

static void
check_all(const struct model *model)
{
	struct rp_dma_mapping found;
	uint64_t from = 0;
	uint32_t i;

	for (i = 0; i < model->count; i++) {
		assert_int_equal(rp_dma_space_at(model->space, i, &found), 0);
		check_mapping(model, &found, &model->extents[i]);
		assert_true(rp_dma_space_next(model->space, from, &found));
		check_mapping(model, &found, &model->extents[i]);
		from = found.iova + found.size_bytes;
	}
	assert_int_equal(rp_dma_space_at(model->space, i, &found), -EINVAL);
	assert_true(from == 0 || !rp_dma_space_next(model->space, from, &found));
}

static void
open_model(struct model *model)
{
	const struct rp_dma_limits limits = {.mappings_max = MAPPINGS_MAX};
	unsigned int i, j;

	for (i = 0; i < FILES; i++) {
		model->fds[i] = test_memfd(FILE_BYTES, true);
		for (j = 0; j < FILE_BYTES; j++)
			model->bytes[i][j] = (uint8_t)draw(model);
		assert_int_equal(pwrite(model->fds[i], model->bytes[i], FILE_BYTES, 0), FILE_BYTES);
	}
	assert_int_equal(rp_dma_space_create(&limits, &model->space), 0);
	assert_int_equal(rp_dma_reader_create(model->space, &model->reader), 0);
}

static void
close_model(struct model *model)
{
	unsigned int i;

	rp_dma_reader_destroy(model->reader);
	rp_dma_space_destroy(model->space);
	for (i = 0; i < FILES; i++)
		rp_wire_fd_close(&model->fds[i]);
}

static uint64_t
from_environment(const char *name, uint64_t standard)
{
	const char *text = getenv(name);

	return text != NULL ? strtoull(text, NULL, 0) : standard;
}

static void
behaves_like_its_model(void **state)
{
	static struct model model;
	uint64_t steps = from_environment("RP_DMA_MODEL_STEPS", STEPS_DEFAULT);
	struct test_leaks before;
	/* Tides: it fills for a while, and empties for a while. */
	unsigned int maps_in_ten = 7;

	(void)state;
	model.random = from_environment("RP_DMA_MODEL_SEED", 20180612);
	print_message("seed %" PRIu64 ", %" PRIu64 " steps\n", model.random, steps);
	open_model(&model);
	test_leaks_read(&before);
	for (model.step = 0; model.step < steps; model.step++) {
		uint64_t kind = draw_below(&model, 10);

		if (draw_below(&model, 2000) == 0)
			maps_in_ten = 2 + (unsigned int)draw_below(&model, 7);
		if (draw_below(&model, 20000) == 0) {
			rp_dma_space_clear(model.space);
			model.count = 0;
		}
		if (kind >= maps_in_ten)
			step_unmap(&model);
		else if (kind == 0)
			step_remap(&model);
		else
			step_map(&model);
		check_some(&model);
		if (model.step % 256 == 0)
			check_all(&model);
	}
	print_message("%u mappings at the end, %" PRIu64 " changes refused for want of memory\n", model.count,
		      model.refused_count);
	assert_true(steps < 1000 || model.refused_count > 0);
	rp_dma_space_clear(model.space);
	test_leaks_assert_none(&before);
	close_model(&model);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(behaves_like_its_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
