/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test_support.h"
#include "test_viommu.h"

#define PATTERN 0xdb

static void
show(struct test_viommu *viommu, int fd)
{
	unsigned int i;

	for (i = 0; i < viommu->pages_count; i++) {
		void *at = viommu->view + i * viommu->page_bytes;
		off_t from = (off_t)(viommu->pages[i].place * viommu->page_bytes);

		assert_ptr_equal(mmap(at, viommu->page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, from),
				 at);
	}
}

struct test_viommu *
test_viommu_create(int fd, uint64_t size_bytes, uint64_t gpa, bool identity)
{
	struct test_viommu *viommu = calloc(1, sizeof(*viommu));
	unsigned int i;

	assert_non_null(viommu);
	viommu->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	viommu->pages_count = (unsigned int)(size_bytes / viommu->page_bytes);
	viommu->pages = calloc(viommu->pages_count, sizeof(*viommu->pages));
	assert_non_null(viommu->pages);
	viommu->is_identity = identity;
	viommu->iova = identity ? gpa : TEST_VIOMMU_IOVA;
	viommu->view = mmap(NULL, size_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(viommu->view != MAP_FAILED);
	for (i = 0; i < viommu->pages_count; i++)
		viommu->pages[i].place = i;
	viommu->seed = 1;
	test_viommu_shuffle(viommu, fd);
	return viommu;
}

struct test_viommu *
test_viommu_destroy(struct test_viommu *viommu)
{
	if (viommu == NULL)
		return NULL;
	munmap(viommu->view, viommu->pages_count * viommu->page_bytes);
	free(viommu->pages);
	free(viommu);
	return NULL;
}

void
test_viommu_shuffle(struct test_viommu *viommu, int fd)
{
	unsigned int i;

	for (i = 0; i < viommu->pages_count; i++) {
		assert_int_equal(viommu->pages[i].readers + viommu->pages[i].writers, 0);
		viommu->pages[i].filled = false;
	}
	for (i = viommu->is_identity ? 0 : viommu->pages_count; i-- > 1;) {
		unsigned int other = (unsigned int)rand_r(&viommu->seed) % i, place = viommu->pages[i].place;

		viommu->pages[i].place = viommu->pages[other].place;
		viommu->pages[other].place = place;
	}
	show(viommu, fd);
}

static unsigned int
first_page(const struct test_viommu *viommu, uint64_t offset_bytes)
{
	return (unsigned int)(offset_bytes / viommu->page_bytes);
}

static void
assert_filled(const struct test_viommu *viommu, unsigned int index)
{
	const uint8_t *page = viommu->view + index * viommu->page_bytes;
	uint64_t i;

	for (i = 0; i < viommu->page_bytes; i++)
		if (page[i] != PATTERN)
			fail_msg("page %u was written at 0x%" PRIx64 " while it was not mapped", index, i);
}

void
test_viommu_touch(struct test_viommu *viommu, uint64_t offset_bytes, uint64_t size_bytes)
{
	unsigned int i, last = first_page(viommu, offset_bytes + size_bytes - 1);

	for (i = first_page(viommu, offset_bytes); i <= last; i++) {
		if (viommu->pages[i].filled)
			assert_filled(viommu, i);
		viommu->pages[i].filled = false;
	}
}

void
test_viommu_map(struct test_viommu *viommu, uint64_t offset_bytes, uint64_t size_bytes, unsigned int access_mask)
{
	unsigned int i, last = first_page(viommu, offset_bytes + size_bytes - 1);

	test_viommu_touch(viommu, offset_bytes, size_bytes);
	for (i = first_page(viommu, offset_bytes); i <= last; i++) {
		struct test_viommu_page *page = &viommu->pages[i];

		page->readers += (access_mask & TEST_VIOMMU_READ) != 0;
		page->writers += (access_mask & TEST_VIOMMU_WRITE) != 0;
	}
}

bool
test_viommu_unmap(struct test_viommu *viommu, uint64_t offset_bytes, uint64_t size_bytes, unsigned int access_mask)
{
	unsigned int i, last = first_page(viommu, offset_bytes + size_bytes - 1);
	bool any = false;

	for (i = first_page(viommu, offset_bytes); i <= last; i++) {
		struct test_viommu_page *page = &viommu->pages[i];

		page->readers -= (access_mask & TEST_VIOMMU_READ) != 0;
		page->writers -= (access_mask & TEST_VIOMMU_WRITE) != 0;
		any |= page->readers + page->writers == 0;
	}
	return any;
}

bool
test_viommu_is_mapped(const struct test_viommu *viommu, uint64_t offset_bytes)
{
	const struct test_viommu_page *page = &viommu->pages[first_page(viommu, offset_bytes)];

	return page->readers + page->writers != 0;
}

void
test_viommu_fill(struct test_viommu *viommu)
{
	unsigned int i;

	for (i = 0; i < viommu->pages_count; i++) {
		struct test_viommu_page *page = &viommu->pages[i];

		if (page->readers + page->writers != 0 || page->filled)
			continue;
		memset(viommu->view + i * viommu->page_bytes, PATTERN, viommu->page_bytes);
		page->filled = true;
	}
}

bool
test_viommu_find(const struct test_viommu *viommu, uint64_t iova, uint64_t *ret_file_bytes,
		 unsigned int *ret_access_mask)
{
	uint64_t into = iova - viommu->iova;
	const struct test_viommu_page *page;

	if (into >= viommu->pages_count * viommu->page_bytes)
		return false;
	page = &viommu->pages[first_page(viommu, into)];
	*ret_file_bytes = page->place * viommu->page_bytes;
	*ret_access_mask = (page->readers != 0 ? TEST_VIOMMU_READ : 0) | (page->writers != 0 ? TEST_VIOMMU_WRITE : 0);
	return viommu->is_identity || *ret_access_mask != 0;
}

void
test_viommu_assert_untouched(const struct test_viommu *viommu)
{
	unsigned int i;

	for (i = 0; i < viommu->pages_count; i++)
		if (viommu->pages[i].filled)
			assert_filled(viommu, i);
}
