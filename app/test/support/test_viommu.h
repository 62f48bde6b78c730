/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TEST_VIOMMU_H
#define TEST_VIOMMU_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The IOMMU in front of a guest's device, in strict mode: a page is mapped as long as
 * somebody needs it, and not a moment longer. The guest's memory is one piece of IOVAs,
 * whose pages lie anywhere in its file; `view` shows it as the guest's driver sees it. What
 * nobody has mapped is filled with a pattern, so that who writes to it is found out.
 */

#define TEST_VIOMMU_IOVA 0xfe000000ull /* where no guest-physical address of a test is */
#define TEST_VIOMMU_READ 1u
#define TEST_VIOMMU_WRITE 2u

struct test_viommu_page {
	unsigned int place; /* in the file, in pages */
	unsigned int readers; /* how often it is mapped for the device to read, and to write */
	unsigned int writers;
	bool filled;
};

struct test_viommu {
	uint64_t iova;
	uint64_t page_bytes;
	unsigned int pages_count;
	struct test_viommu_page *pages;
	uint8_t *view;
	bool is_identity;
	unsigned int seed;
};

/* Made over a file; places are shuffled, or with identity not at all, and the IOVAs are `gpa` then. */
struct test_viommu *test_viommu_create(int fd, uint64_t size_bytes, uint64_t gpa, bool identity);
struct test_viommu *test_viommu_destroy(struct test_viommu *viommu); /* NULL is allowed */

/* Other places for all pages. Nothing may be mapped. */
void test_viommu_shuffle(struct test_viommu *viommu, int fd);

/* The driver is going to write there. */
void test_viommu_touch(struct test_viommu *viommu, uint64_t offset_bytes, uint64_t size_bytes);

/* The pages that have these bytes of the view. */
void test_viommu_map(struct test_viommu *viommu, uint64_t offset_bytes, uint64_t size_bytes, unsigned int access_mask);
/* As often as it was mapped. @return whether a page is not mapped any more: the device must be told. */
bool test_viommu_unmap(struct test_viommu *viommu, uint64_t offset_bytes, uint64_t size_bytes,
		       unsigned int access_mask);

bool test_viommu_is_mapped(const struct test_viommu *viommu, uint64_t offset_bytes);

/* What is not mapped gets the pattern. The device was told. */
void test_viommu_fill(struct test_viommu *viommu);

/* What is behind an IOVA: where in the file its page is, and what is permitted; false: nothing. */
bool test_viommu_find(const struct test_viommu *viommu, uint64_t iova, uint64_t *ret_file_bytes,
		      unsigned int *ret_access_mask);
/* Fail the test when something was written that was not mapped. */
void test_viommu_assert_untouched(const struct test_viommu *viommu);

#endif
