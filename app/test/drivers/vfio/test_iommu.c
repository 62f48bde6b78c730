/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <unistd.h>

#include "fixture.h"

#define RANGES_MAX 40u

struct ranges {
	uint32_t count;
	uint32_t reserved;
	struct vfio_iova_range ranges[RANGES_MAX];
};

static void
put_ranges(struct fixture *fixture, const struct ranges *ranges, unsigned int real_count)
{
	fake_answer_iommu(&fixture->fake->iommu, 0x1000);
	fake_answer_add(&fixture->fake->iommu, FAKE_IOMMU_FIRST, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, ranges,
			8 + real_count * sizeof(ranges->ranges[0]));
}

static struct rp_accel_transport_info
info_of(struct fixture *fixture)
{
	struct rp_accel_transport *transport = fixture_open(fixture, 0, FAKE_ALONE, NULL);
	struct rp_accel_transport_info info;

	transport->ops->get_info(transport->priv, &info);
	fixture_close(transport);
	return info;
}

/* As an Intel IOMMU says it: all but the MSI window, up to its width. */
static void
ranges_are_passed_on(void **state)
{
	static const struct ranges real = {2, 0, {{0, 0xfedfffff}, {0xfef00000, 0x7fffffffff}}};
	struct fixture *fixture = *state;
	struct rp_accel_transport_info info;

	put_ranges(fixture, &real, 2);
	info = info_of(fixture);
	assert_int_equal(info.iova_ranges_count, 2);
	assert_int_equal(info.iova_ranges[0].last, 0xfedfffff);
	assert_int_equal(info.iova_ranges[1].first, 0xfef00000);
	assert_int_equal(info.iova_ranges[1].last, 0x7fffffffff);
}

static void
no_ranges_are_anywhere(void **state)
{
	struct rp_accel_transport_info info = info_of(*state);

	assert_int_equal(info.iova_ranges_count, 0);
	assert_int_equal(info.iova_page_bytes, sysconf(_SC_PAGESIZE));
}

static void
of_many_ranges_the_largest_stay(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport_info info;
	struct ranges many = {.count = RANGES_MAX};
	unsigned int i;

	/* Each twice as far as the one before, and of growing size but for one. */
	for (i = 0; i < RANGES_MAX; i++) {
		many.ranges[i].start = (uint64_t)i << 32;
		many.ranges[i].end = ((uint64_t)i << 32) + 0x10000 * (i + 1) - 1;
	}
	many.ranges[3].end = many.ranges[3].start + 0x7fffffff;
	put_ranges(fixture, &many, RANGES_MAX);
	info = info_of(fixture);
	assert_int_equal(info.iova_ranges_count, RP_DMA_IOVA_RANGES_MAX);
	assert_int_equal(info.iova_ranges[0].first, UINT64_C(3) << 32);
	for (i = 1; i < RP_DMA_IOVA_RANGES_MAX; i++) {
		assert_int_equal(info.iova_ranges[i].first, (uint64_t)(RANGES_MAX - RP_DMA_IOVA_RANGES_MAX + i) << 32);
		assert_true(info.iova_ranges[i].first > info.iova_ranges[i - 1].last);
	}
}

static void
ranges_that_cannot_be(void **state)
{
	static const struct {
		struct ranges ranges;
		unsigned int real_count;
		const char *words;
	} rows[] = {
		{{.count = 0}, 2, "nr_iovas: 0, expected 1 to"},
		{{.count = 3, .ranges = {{0, 1}, {2, 3}}}, 2, "nr_iovas: 3, expected 1 to 2"},
		{{.count = UINT32_MAX, .ranges = {{0, 1}, {2, 3}}}, 2, "nr_iovas: 4294967295"},
		{{.count = 1, .ranges = {{5, 4}}}, 1, "IOVA range 0: 0x5 to 0x4"},
		{{.count = 2, .ranges = {{0, 0x1fff}, {0x1fff, 0x2fff}}},
		 2,
		 "IOVA range 1: 0x1fff to 0x2fff, expected from "
		 "0x2000 on"},
		{{.count = 2, .ranges = {{0x5000, 0x5fff}, {0, 0x2fff}}}, 2, "IOVA range 1"},
		{{.count = 2, .ranges = {{0, UINT64_MAX}, {0, UINT64_MAX}}}, 2, "IOVA range 1"},
	};
	struct fixture *fixture = *state;
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		put_ranges(fixture, &rows[i].ranges, rows[i].real_count);
		fixture_refused(fixture, FAKE_ALONE, -EBADMSG, rows[i].words);
	}
}

static void
a_capability_of_half_a_header(void **state)
{
	struct fixture *fixture = *state;

	fake_answer_iommu(&fixture->fake->iommu, 0x1000);
	fake_answer_add(&fixture->fake->iommu, FAKE_IOMMU_FIRST, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, "", 0);
	fixture_refused(fixture, FAKE_ALONE, -EBADMSG, "IOVA ranges: 8 bytes, expected at least 16");
}

static void
pages(void **state)
{
	struct fixture *fixture = *state;
	uint64_t own_bytes = (uint64_t)sysconf(_SC_PAGESIZE);

	/* Smaller than the machine's, and larger. */
	fake_answer_iommu(&fixture->fake->iommu, 0x200);
	assert_int_equal(info_of(fixture).iova_page_bytes, own_bytes);
	fake_answer_iommu(&fixture->fake->iommu, own_bytes << 4 | own_bytes << 9);
	assert_int_equal(info_of(fixture).iova_page_bytes, own_bytes << 4);
	fake_answer_iommu(&fixture->fake->iommu, 0);
	fixture_refused(fixture, FAKE_ALONE, -EBADMSG, "IOMMU page sizes: 0x0");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(ranges_are_passed_on),
		FIXTURE_TEST(no_ranges_are_anywhere),
		FIXTURE_TEST(of_many_ranges_the_largest_stay),
		FIXTURE_TEST(ranges_that_cannot_be),
		FIXTURE_TEST(a_capability_of_half_a_header),
		FIXTURE_TEST(pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
