/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "fixture.h"

#define MIB 0x100000u

struct range {
	uint64_t iova, size_bytes;
};

static int
map(struct fixture *fixture, unsigned int number, uint64_t iova, uint64_t size_bytes, int fd, uint64_t offset_bytes)
{
	struct rp_accel_transport *transport = &fixture->transports[number];

	return transport->ops->dma_map(transport->priv, iova, size_bytes, fd, offset_bytes, NULL, &fixture->why);
}

static int
unmap(struct fixture *fixture, unsigned int number, uint64_t iova, uint64_t size_bytes)
{
	struct rp_accel_transport *transport = &fixture->transports[number];

	return transport->ops->dma_unmap(transport->priv, iova, size_bytes, &fixture->why);
}

static void
memory_of_a_file(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = test_memfd(4 * MIB, true);
	const struct fake_container *container;
	unsigned char byte = 0x5a;

	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	container = fixture->fake->groups[0].container;
	assert_int_equal(map(fixture, 0, 0x40000000, MIB, fd, MIB), 0);
	assert_int_equal(container->mappings[0].iova, 0x40000000);
	assert_int_equal(container->mappings[0].size_bytes, MIB);
	/* What the kernel was told of is the file, at its offset. */
	assert_int_equal(pwrite(fd, &byte, 1, MIB), 1);
	assert_int_equal(*(volatile unsigned char *)(uintptr_t)container->mappings[0].hva, 0x5a);
	assert_int_equal(unmap(fixture, 0, 0x40000000, MIB), 0);
	assert_int_equal(container->mappings_count, 0);
}

static void
memory_of_the_callers(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *transport = fixture_open(fixture, 0, FAKE_ALONE, NULL);
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	void *hva = mmap(NULL, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_int_equal(transport->ops->dma_map(transport->priv, 0, page_bytes, -1, 0, hva, &fixture->why), 0);
	assert_int_equal(fixture->fake->groups[0].container->mappings[0].hva, (uintptr_t)hva);
	assert_int_equal(
		transport->ops->dma_map(transport->priv, 2 * page_bytes, page_bytes, -1, 0, NULL, &fixture->why),
		-EINVAL);
	fixture_said(fixture, -EINVAL, "neither a file nor an address");
	fixture_close(transport);
	munmap(hva, page_bytes);
}

static void
two_devices_of_one_guest(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = test_memfd(4 * MIB, true), again = rp_wire_fd_dup(fd);
	RP_WIRE_FD_SCOPED int other = test_memfd(4 * MIB, true);
	const struct fake_container *container;

	fixture_open(fixture, 0, FAKE_ALONE, "vm0");
	fixture_open(fixture, 1, FAKE_FIRST, "vm0");
	container = fixture->fake->groups[0].container;
	assert_int_equal(map(fixture, 0, 0, MIB, fd, MIB), 0);
	assert_int_equal(map(fixture, 1, 0, MIB, again, MIB), 0);
	assert_int_equal(container->mappings_count, 1);
	/* Each once. */
	assert_int_equal(map(fixture, 1, 0, MIB, fd, MIB), -EEXIST);
	fixture_said(fixture, -EEXIST, "is mapped already");
	/* The last takes it out. */
	assert_int_equal(unmap(fixture, 0, 0, MIB), 0);
	assert_int_equal(container->mappings_count, 1);
	assert_int_equal(unmap(fixture, 0, 0, MIB), -EINVAL);
	assert_int_equal(unmap(fixture, 1, 0, MIB), 0);
	assert_int_equal(container->mappings_count, 0);
	/* Other memory, another part of it, another size: two guests in one address space. */
	assert_int_equal(map(fixture, 0, 0, MIB, fd, MIB), 0);
	assert_int_equal(map(fixture, 1, 0, MIB, other, MIB), -EEXIST);
	fixture_said(fixture, -EEXIST, "by another device of the same container: one guest for each container");
	assert_int_equal(map(fixture, 1, 0, MIB, fd, 0), -EEXIST);
	assert_int_equal(map(fixture, 1, 0, 2 * MIB, fd, MIB), -EEXIST);
	assert_int_equal(container->mappings_count, 1);
}

static void
what_overlaps(void **state)
{
	static const struct range rows[] = {
		{MIB, MIB}, {0, 2 * MIB}, {0, 4 * MIB}, {2 * MIB - 0x10000, 0x10000}, {MIB + 0x10000, 0x10000},
	};
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = test_memfd(8 * MIB, true);
	unsigned int i;

	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	assert_int_equal(map(fixture, 0, MIB, MIB, fd, 0), 0);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(map(fixture, 0, rows[i].iova, rows[i].size_bytes, fd, MIB), -EEXIST);
		fixture_said(fixture, -EEXIST, "other memory is mapped at 0x100000 + 0x100000");
	}
	assert_int_equal(map(fixture, 0, 0, MIB, fd, MIB), 0);
	assert_int_equal(map(fixture, 0, 2 * MIB, MIB, fd, MIB), 0);
	assert_int_equal(fake_mapped(fixture->fake), 3);
}

static void
places_that_cannot_be(void **state)
{
	static const struct {
		uint64_t iova, size_bytes;
		int error;
		const char *words;
	} rows[] = {
		{0, 0, -EINVAL, "expected a range of addresses"},
		{UINT64_MAX - 0xffff, 0x20000, -EINVAL, "expected a range of addresses"},
		{0x10, 0x10000, -ENOSPC, "expected multiples of the IOMMU's page, 0x"},
		{0, 0x10010, -ENOSPC, "expected multiples of the IOMMU's page, 0x"},
		{0xfee00000, 0x10000, -ENOSPC, "in a range that it reserves (2 ranges, 0x0 to 0x7fffffffff)"},
		{0xfedf0000, 0x20000, -ENOSPC, "in a range that it reserves"},
		{0x7fffff0000, 0x20000, -ENOSPC, "beyond what the IOMMU can address"},
		{0x8000000000, 0x10000, -ENOSPC, "beyond what the IOMMU can address"},
	};
	static const struct {
		uint32_t count, reserved;
		struct vfio_iova_range ranges[2];
	} ranges = {2, 0, {{0, 0xfedfffff}, {0xfef00000, 0x7fffffffff}}};
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = test_memfd(MIB, true);
	unsigned int i, before;

	fake_answer_add(&fixture->fake->iommu, FAKE_IOMMU_FIRST, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, &ranges,
			sizeof(ranges));
	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	before = fixture->fake->ioctls_count;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(map(fixture, 0, rows[i].iova, rows[i].size_bytes, fd, 0), rows[i].error);
		fixture_said(fixture, rows[i].error, rows[i].words);
	}
	assert_int_equal(fixture->fake->ioctls_count, before);
	assert_int_equal(map(fixture, 0, 0xfedf0000, 0x10000, fd, 0), 0);
	assert_int_equal(map(fixture, 0, 0x7fffff0000, 0x10000, fd, 0), 0);
}

/* The smallest page is sixteen of this machine's: addresses, sizes, and where in this process the memory is. */
static void
an_iommu_with_larger_pages(void **state)
{
	enum { PAGE = 0x10000 };
	struct fixture *fixture = *state;
	size_t own_bytes = (size_t)sysconf(_SC_PAGESIZE), room_bytes = 4 * PAGE;
	RP_WIRE_FD_SCOPED int fd = test_memfd(room_bytes, true);
	struct rp_accel_transport *transport;
	struct rp_accel_transport_info info;
	uint8_t *room, *odd;

	fake_answer_iommu(&fixture->fake->iommu, 0x20010000);
	transport = fixture_open(fixture, 0, FAKE_ALONE, NULL);
	transport->ops->get_info(transport->priv, &info);
	assert_int_equal(info.iova_page_bytes, own_bytes > PAGE ? own_bytes : PAGE);
	assert_int_equal(map(fixture, 0, info.iova_page_bytes / 2, info.iova_page_bytes, fd, 0), -ENOSPC);
	fixture_said(fixture, -ENOSPC, "expected multiples of the IOMMU's page, 0x");
	assert_int_equal(map(fixture, 0, 0, info.iova_page_bytes, fd, 0), 0);
	/* A mapping of the caller's that no page of the IOMMU's begins at. */
	room = mmap(NULL, room_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(room != MAP_FAILED);
	odd = (uintptr_t)room % PAGE == 0 ? room + own_bytes % PAGE : room;
	assert_int_equal(
		transport->ops->dma_map(transport->priv, 0x40000000, info.iova_page_bytes, fd, 0, odd, &fixture->why),
		0);
	assert_int_equal(fake_mapped(fixture->fake), 2);
	assert_int_equal(unmap(fixture, 0, 0x40000000, info.iova_page_bytes), 0);
	munmap(room, room_bytes);
}

static void
what_the_kernel_refuses(void **state)
{
	static const struct {
		int kernel, error;
		const char *words;
	} rows[] = {
		{-ENOMEM, -ENOSPC, "DMA: "},
		{-ENOSPC, -ENOSPC, "dma_entry_limit of vfio_iommu_type1: 65535"},
		{-EEXIST, -EEXIST, "the application that lent its container has mapped something there"},
		{-EINVAL, -ENOSPC, "the IOMMU refuses this address or alignment"},
		{-EFAULT, -EFAULT, "memory cannot be pinned: Bad address"},
	};
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = test_memfd(MIB, true);
	struct test_leaks before;
	unsigned int i;

	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	test_leaks_read(&before);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		fixture->fake->map_error = rows[i].kernel;
		assert_int_equal(map(fixture, 0, 0, MIB, fd, 0), rows[i].error);
		fixture_said(fixture, rows[i].error, rows[i].words);
		test_leaks_assert_none(&before);
	}
	fixture->fake->map_error = 0;
	assert_int_equal(map(fixture, 0, 0, MIB, fd, 0), 0);
}

static void
files_that_cannot_be_mapped(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = eventfd(0, EFD_CLOEXEC);

	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	assert_int_equal(map(fixture, 0, 0, MIB, fd, 0), -ENODEV);
	assert_int_equal(map(fixture, 0, 0, MIB, 1000, 0), -EBADF);
}

static void
unmapping_what_is_not_mapped(void **state)
{
	static const struct range rows[] = {
		{0, MIB}, {MIB, 2 * MIB}, {MIB, MIB / 2}, {MIB + MIB / 2, MIB / 2}, {MIB, 0}, {UINT64_MAX, MIB},
	};
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = test_memfd(MIB, true);
	unsigned int i;

	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	assert_int_equal(map(fixture, 0, MIB, MIB, fd, 0), 0);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(unmap(fixture, 0, rows[i].iova, rows[i].size_bytes), -EINVAL);
		fixture_said(fixture, -EINVAL, "was not mapped as such");
	}
	assert_int_equal(fake_mapped(fixture->fake), 1);
}

/* What could not be taken out may still be written to: it stays in the books and nothing else goes there. */
static void
unmapping_that_fails(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = test_memfd(2 * MIB, true);

	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	assert_int_equal(map(fixture, 0, MIB, MIB, fd, 0), 0);
	fixture->fake->unmap_error = -EINVAL;
	assert_int_equal(unmap(fixture, 0, MIB, MIB), -EIO);
	fixture_said(fixture, -EIO, "DMA 0x100000 + 0x100000: unmap: Invalid argument");
	assert_int_equal(fixture->transports[0].ops->process(fixture->transports[0].priv, &fixture->why), -EIO);
	fixture_said(fixture, -EIO, "DMA 0x100000 + 0x100000: unmap: Invalid argument");
	assert_int_equal(map(fixture, 0, MIB, MIB, fd, MIB), -EEXIST);
	fixture->fake->unmap_error = 0;
	assert_int_equal(unmap(fixture, 0, MIB, MIB), 0);
	assert_int_equal(map(fixture, 0, MIB, MIB, fd, 0), 0);
	fixture->fake->unmap_short_bytes = 0x1000;
	assert_int_equal(unmap(fixture, 0, MIB, MIB), -EIO);
	fixture_said(fixture, -EIO, "unmap: 0xff000 bytes were mapped there");
	fixture->fake->unmap_short_bytes = 0;
	fixture->fake->groups[0].container->mappings_count = 0;
}

static uint64_t
processor_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Memory in as many pieces as the kernel takes, first address last: one call to it for each, and books that keep up. */
static void
as_many_pieces_as_the_kernel_takes(void **state)
{
	enum { PIECES = 65535 };
	struct fixture *fixture = *state;
	struct rp_accel_transport *transport = fixture_open(fixture, 0, FAKE_ALONE, NULL);
	struct fake_container *container = fixture->fake->groups[0].container;
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	void *hva = mmap(NULL, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned int before = fixture->fake->ioctls_count, i;
	uint64_t start_ns = processor_ns(), map_ns;

	for (i = PIECES; i-- > 0;)
		assert_int_equal(transport->ops->dma_map(transport->priv, (uint64_t)2 * i * page_bytes, page_bytes, -1,
							 0, hva, NULL),
				 0);
	map_ns = processor_ns() - start_ns;
	assert_int_equal(fixture->fake->ioctls_count - before, PIECES);
	assert_int_equal(container->mappings_count, PIECES);
	/* The fake looks from the end: what came last goes first. */
	for (i = 0; i < PIECES; i++)
		assert_int_equal(
			transport->ops->dma_unmap(transport->priv, (uint64_t)2 * i * page_bytes, page_bytes, NULL), 0);
	assert_int_equal(container->mappings_count, 0);
	print_message("%u pieces: %" PRIu64 " ns each to map, fake kernel included\n", PIECES, map_ns / PIECES);
	fixture_close(transport);
	munmap(hva, page_bytes);
}

static void
closing_takes_all_of_ones_own(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = test_memfd(4 * MIB, true);
	const struct fake_container *container;

	fixture_open(fixture, 0, FAKE_ALONE, "vm0");
	fixture_open(fixture, 1, FAKE_FIRST, "vm0");
	container = fixture->fake->groups[1].container;
	assert_int_equal(map(fixture, 0, 0, MIB, fd, 0), 0);
	assert_int_equal(map(fixture, 0, MIB, MIB, fd, MIB), 0);
	assert_int_equal(map(fixture, 1, MIB, MIB, fd, MIB), 0);
	assert_int_equal(map(fixture, 1, 2 * MIB, MIB, fd, 2 * MIB), 0);
	fixture_close(&fixture->transports[0]);
	assert_int_equal(container->mappings_count, 2);
	assert_int_equal(unmap(fixture, 1, MIB, MIB), 0);
	assert_int_equal(unmap(fixture, 1, 2 * MIB, MIB), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(memory_of_a_file),
		FIXTURE_TEST(memory_of_the_callers),
		FIXTURE_TEST(two_devices_of_one_guest),
		FIXTURE_TEST(what_overlaps),
		FIXTURE_TEST(places_that_cannot_be),
		FIXTURE_TEST(an_iommu_with_larger_pages),
		FIXTURE_TEST(what_the_kernel_refuses),
		FIXTURE_TEST(files_that_cannot_be_mapped),
		FIXTURE_TEST(unmapping_what_is_not_mapped),
		FIXTURE_TEST(unmapping_that_fails),
		FIXTURE_TEST(as_many_pieces_as_the_kernel_takes),
		FIXTURE_TEST(closing_takes_all_of_ones_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
