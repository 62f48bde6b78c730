/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rp_dma_section.h"
#include "rp_wire_fd.h"
#include "test_support.h"

#define KIB4 0x1000u
#define KIB64 0x10000u

static const struct rp_dma_iova_range ranges[] = {{0, 0xfedfffff}, {0xfef00000, 0x7fffffffff}};

static struct rp_dma_section
ram(uint64_t iova, uint64_t size_bytes)
{
	return (struct rp_dma_section){.kind = RP_DMA_SECTION_RAM, .iova = iova, .size_bytes = size_bytes};
}

static struct rp_dma_section
device(uint64_t iova, uint64_t size_bytes)
{
	return (struct rp_dma_section){
		.kind = RP_DMA_SECTION_DEVICE, .iova = iova, .size_bytes = size_bytes, .name = "BAR 4"};
}

struct row {
	uint64_t iova, size_bytes, page_bytes;
	enum rp_dma_section_cause cause;
	int error;
	const char *words;
};

/* The rule is the same for both kinds: what a failure costs is not the rule's to say. */
static void
what_fits(void **state)
{
	/* clang-format off */
	static const struct row rows[] = {
		{0, KIB4, KIB4, RP_DMA_SECTION_FITS, 0, ""},
		{0x7fffff0000, KIB64, KIB64, RP_DMA_SECTION_FITS, 0, ""},
		{0xfedf0000, KIB64, KIB64, RP_DMA_SECTION_FITS, 0, ""},
		{3, 5, 0, RP_DMA_SECTION_FITS, 0, ""},
		{0, 0, KIB4, RP_DMA_SECTION_EMPTY, -EINVAL, "DMA 0x0 + 0x0: expected a range of addresses"},
		{UINT64_MAX - 0xffff, 0x20000, KIB4, RP_DMA_SECTION_EMPTY, -EINVAL, "expected a range of addresses"},
		{0x800, KIB4, KIB4, RP_DMA_SECTION_MISALIGNED, -ENOSPC,
		 "DMA 0x800 + 0x1000: expected multiples of the IOMMU's page, 0x1000"},
		{KIB4, 0x1800, KIB4, RP_DMA_SECTION_MISALIGNED, -ENOSPC, "DMA 0x1000 + 0x1800: expected multiples"},
		/* What fits an IOMMU of 4 KiB pages is half a page of this one. */
		{0, KIB4, KIB64, RP_DMA_SECTION_MISALIGNED, -ENOSPC, "the IOMMU's page, 0x10000"},
		{KIB4, KIB64, KIB64, RP_DMA_SECTION_MISALIGNED, -ENOSPC, "the IOMMU's page, 0x10000"},
		{KIB64, KIB64, KIB64, RP_DMA_SECTION_FITS, 0, ""},
		{0xfee00000, KIB4, KIB4, RP_DMA_SECTION_UNREACHABLE, -ENOSPC,
		 "in a range that it reserves (2 ranges, 0x0 to 0x7fffffffff)"},
		{0xfedf0000, 0x20000, KIB4, RP_DMA_SECTION_UNREACHABLE, -ENOSPC, "in a range that it reserves"},
		{0x8000000000, KIB4, KIB4, RP_DMA_SECTION_UNREACHABLE, -ENOSPC, "beyond what the IOMMU can address"},
	};
	/* clang-format on */
	size_t i;
	int kind;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		const struct rp_dma_section_iommu iommu = {ranges, 2, row->page_bytes, false};

		for (kind = RP_DMA_SECTION_RAM; kind <= RP_DMA_SECTION_DEVICE; kind++) {
			struct rp_dma_section section = kind == RP_DMA_SECTION_RAM ? ram(row->iova, row->size_bytes) :
										     device(row->iova, row->size_bytes);
			enum rp_dma_section_cause cause = RP_DMA_SECTION_CAUSES_COUNT;
			struct rp_wire_why why = {0};

			assert_int_equal(rp_dma_section_check(&section, &iommu, &cause, &why), row->error);
			assert_int_equal(cause, row->cause);
			assert_int_equal(why.error, row->error);
			if (strstr(why.text, row->words) == NULL)
				print_error("said: %s\n", why.text);
			assert_non_null(strstr(why.text, row->words));
			/* Who wants neither. */
			assert_int_equal(rp_dma_section_check(&section, &iommu, NULL, NULL), row->error);
		}
	}
}

/* An IOMMU that says no ranges has them all. */
static void
no_ranges_are_all(void **state)
{
	const struct rp_dma_section_iommu iommu = {NULL, 0, KIB4, false};
	struct rp_dma_section section = ram(UINT64_MAX - 0xfff, KIB4);

	(void)state;
	assert_int_equal(rp_dma_section_check(&section, &iommu, NULL, NULL), 0);
}

/* Where device memory begins is where a page of it must begin; of RAM the address in this process is another's business. */
static void
what_is_behind_it(void **state)
{
	const struct rp_dma_section_iommu iommu = {ranges, 2, KIB64, false};
	struct rp_dma_section section = device(KIB64, KIB64);
	struct rp_wire_why why = {0};

	(void)state;
	section.offset_bytes = KIB4;
	assert_int_equal(rp_dma_section_check(&section, &iommu, NULL, &why), -ENOSPC);
	assert_non_null(strstr(why.text, "begins at 0x1000 of what is behind it, expected a multiple"));
	section.kind = RP_DMA_SECTION_RAM;
	assert_int_equal(rp_dma_section_check(&section, &iommu, NULL, NULL), 0);
}

static void
only_device_memory_has_these_causes(void **state)
{
	struct rp_dma_section_iommu iommu = {ranges, 2, KIB4, true};
	struct rp_dma_section section = device(0, KIB4), memory = ram(0, KIB4);
	enum rp_dma_section_cause cause;
	struct rp_wire_why why = {0};

	(void)state;
	assert_int_equal(rp_dma_section_check(&section, &iommu, &cause, &why), -ENOTSUP);
	assert_int_equal(cause, RP_DMA_SECTION_GUEST_IOMMU);
	assert_int_equal(rp_dma_section_check(&memory, &iommu, NULL, NULL), 0);
	iommu.guest_iommu = false;
	section.has_interrupts = memory.has_interrupts = true;
	assert_int_equal(rp_dma_section_check(&section, &iommu, &cause, &why), -ENOTSUP);
	assert_int_equal(cause, RP_DMA_SECTION_INTERRUPTS);
	assert_non_null(strstr(why.text, "MSI-X table"));
	assert_int_equal(rp_dma_section_check(&memory, &iommu, NULL, NULL), 0);
}

static void
every_cause_has_a_name(void **state)
{
	int cause;

	(void)state;
	for (cause = 0; cause < RP_DMA_SECTION_CAUSES_COUNT; cause++)
		assert_non_null(rp_dma_section_cause_name((enum rp_dma_section_cause)cause));
	assert_non_null(strstr(rp_dma_section_cure(RP_DMA_SECTION_INTERRUPTS), "x-msix-relocation"));
	assert_null(rp_dma_section_cure(RP_DMA_SECTION_FITS));
}

static void
assert_piece(const struct rp_dma_section *piece, uint64_t iova, uint64_t offset_bytes, uint64_t size_bytes,
	     bool has_interrupts)
{
	assert_int_equal(piece->iova, iova);
	assert_int_equal(piece->offset_bytes, offset_bytes);
	assert_int_equal(piece->size_bytes, size_bytes);
	assert_int_equal(piece->has_interrupts, has_interrupts);
}

/* A table of three vectors in the third page, its pending bits in the same: that page goes, the rest stays. */
static void
the_page_of_the_table_is_cut_out(void **state)
{
	const struct rp_dma_section_hole holes[] = {{0x2800, 8}, {0x2000, 0x30}};
	struct rp_dma_section pieces[RP_DMA_SECTION_PIECES_MAX], whole = device(0x40000000, 0x8000);

	(void)state;
	whole.tag = 7;
	assert_int_equal(rp_dma_section_cut(&whole, holes, 2, KIB4, pieces), 3);
	assert_piece(&pieces[0], 0x40000000, 0, 0x2000, false);
	assert_piece(&pieces[1], 0x40002000, 0x2000, 0x1000, true);
	assert_piece(&pieces[2], 0x40003000, 0x3000, 0x5000, false);
	assert_int_equal(pieces[2].tag, 9);
	/* With larger pages all of so small a BAR is in the table's. */
	whole.size_bytes = KIB64;
	assert_int_equal(rp_dma_section_cut(&whole, holes, 2, KIB64, pieces), 1);
	assert_piece(&pieces[0], 0x40000000, 0, KIB64, true);
	/* Holes in two places, at both ends. */
	assert_int_equal(rp_dma_section_cut(&whole, (const struct rp_dma_section_hole[]){{0, 16}, {KIB64 - 8, 0x100}},
					    2, KIB4, pieces),
			 3);
	assert_piece(&pieces[1], 0x40001000, 0x1000, KIB64 - 0x2000, false);
	assert_true(pieces[2].has_interrupts);
}

static void
what_is_not_cut(void **state)
{
	const struct rp_dma_section_hole table = {0x2000, 0x30};
	struct rp_dma_section pieces[RP_DMA_SECTION_PIECES_MAX], whole = device(0, 0x1800);

	(void)state;
	/* Misaligned: it is left out whole, and says so. */
	assert_int_equal(rp_dma_section_cut(&whole, &table, 1, KIB4, pieces), 1);
	assert_piece(&pieces[0], 0, 0, 0x1800, false);
	whole.size_bytes = 0;
	assert_int_equal(rp_dma_section_cut(&whole, &table, 1, KIB4, pieces), 1);
	whole.size_bytes = 0x2000;
	assert_int_equal(rp_dma_section_cut(&whole, &table, 1, KIB4, pieces), 1);
	assert_piece(&pieces[0], 0, 0, 0x2000, false);
	/* Holes beyond it, and one whose end would wrap. */
	whole.offset_bytes = 0x3000;
	assert_int_equal(rp_dma_section_cut(&whole, &table, 1, KIB4, pieces), 1);
	assert_int_equal(rp_dma_section_cut(&whole, &(const struct rp_dma_section_hole){UINT64_MAX - 3, UINT64_MAX}, 1,
					    KIB4, pieces),
			 1);
	assert_int_equal(
		rp_dma_section_cut(&whole, &(const struct rp_dma_section_hole){0x4000, UINT64_MAX}, 1, KIB4, pieces),
		2);
	assert_piece(&pieces[1], 0x1000, 0x4000, 0x1000, true);
}

static bool
touches(const struct rp_dma_section *section, const struct rp_dma_section_hole *hole, uint64_t from, uint64_t end)
{
	uint64_t at;

	for (at = from; at < end; at++)
		if (section->offset_bytes + at >= hole->offset_bytes &&
		    section->offset_bytes + at - hole->offset_bytes < hole->size_bytes)
			return true;
	return false;
}

/* Pieces lie one behind the other and are all of it; a page has interrupts in it exactly when a hole touches it. */
static void
pieces_of_random_sections(void **state)
{
	enum { ROUNDS = 20000, PAGE = 16 };
	unsigned int seed = 4, round, i, count;

	(void)state;
	for (round = 0; round < ROUNDS; round++) {
		struct rp_dma_section pieces[RP_DMA_SECTION_PIECES_MAX];
		struct rp_dma_section whole =
			device((uint64_t)rand_r(&seed) % 64 * PAGE, (uint64_t)(rand_r(&seed) % 12 + 1) * PAGE);
		struct rp_dma_section_hole holes[2];
		uint64_t at = 0, page;

		whole.offset_bytes = (uint64_t)rand_r(&seed) % 8 * PAGE;
		for (i = 0; i < 2; i++)
			holes[i] = (struct rp_dma_section_hole){(uint64_t)rand_r(&seed) % 300,
								(uint64_t)rand_r(&seed) % 40};
		count = rp_dma_section_cut(&whole, holes, 2, PAGE, pieces);
		assert_in_range(count, 1, RP_DMA_SECTION_PIECES_MAX);
		for (i = 0; i < count; i++) {
			assert_piece(&pieces[i], whole.iova + at, whole.offset_bytes + at, pieces[i].size_bytes,
				     pieces[i].has_interrupts);
			assert_int_equal(pieces[i].tag, whole.tag + i);
			assert_int_not_equal(pieces[i].size_bytes, 0);
			for (page = 0; page < pieces[i].size_bytes; page += PAGE)
				assert_int_equal(touches(&pieces[i], &holes[0], page, page + PAGE) ||
							 touches(&pieces[i], &holes[1], page, page + PAGE),
						 pieces[i].has_interrupts);
			at += pieces[i].size_bytes;
		}
		assert_int_equal(at, whole.size_bytes);
	}
}

/* Of this process, room that nothing is in included. */
static unsigned long
room_pages(void)
{
	RP_WIRE_FD_SCOPED int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	char text[200] = "";

	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	return strtoul(text, NULL, 10);
}

/* An IOMMU with pages of 64 KiB looks at the address in this process too. */
static void
memory_for_larger_pages(void **state)
{
	uint64_t own_bytes = (uint64_t)sysconf(_SC_PAGESIZE), page_bytes;
	RP_WIRE_FD_SCOPED int fd = test_memfd(4 * KIB64, true);
	struct test_leaks before;
	unsigned char byte = 0x5a;
	unsigned long room;
	void *memory;

	(void)state;
	assert_int_equal(pwrite(fd, &byte, 1, KIB64), 1);
	test_leaks_read(&before);
	for (page_bytes = own_bytes; page_bytes <= 64 * own_bytes; page_bytes *= 2) {
		room = room_pages();
		assert_int_equal(rp_dma_section_memory(fd, KIB64, 2 * KIB64, page_bytes, &memory), 0);
		assert_int_equal((uintptr_t)memory % page_bytes, 0);
		assert_int_equal(*(unsigned char *)memory, 0x5a);
		((unsigned char *)memory)[2 * KIB64 - 1] = 1;
		assert_int_equal(munmap(memory, 2 * KIB64), 0);
		assert_int_equal(room_pages(), room);
		test_leaks_assert_none(&before);
	}
	/* An odd end is in its last page. */
	assert_int_equal(rp_dma_section_memory(fd, 0, own_bytes + 1, KIB64, &memory), 0);
	assert_int_equal(munmap(memory, own_bytes + 1), 0);
	room = room_pages();
	assert_int_equal(rp_dma_section_memory(fd, 0, 0, KIB64, &memory), -EINVAL);
	assert_int_equal(rp_dma_section_memory(fd, UINT64_MAX, KIB64, KIB64, &memory), -EINVAL);
	assert_int_equal(rp_dma_section_memory(fd, 0, INT64_MAX, KIB64, &memory), -EINVAL);
	assert_int_equal(rp_dma_section_memory(-1, 0, KIB64, KIB64, &memory), -EBADF);
	assert_int_equal(rp_dma_section_memory(fd, 1, KIB64, KIB64, &memory), -EINVAL);
	assert_int_equal(room_pages(), room);
	test_leaks_assert_none(&before);
}

/* Of huge pages whole ones are mapped: never over what is beside the memory. */
static void
memory_in_huge_pages(void **state)
{
	uint64_t own_bytes = (uint64_t)sysconf(_SC_PAGESIZE), page_bytes;
	RP_WIRE_FD_SCOPED int fd = test_huge_memfd(2 * TEST_HUGE_PAGE_BYTES);
	struct test_leaks before;
	unsigned long room;
	void *memory;

	(void)state;
	test_leaks_read(&before);
	for (page_bytes = own_bytes; page_bytes <= 2 * TEST_HUGE_PAGE_BYTES; page_bytes *= 2) {
		room = room_pages();
		assert_int_equal(
			rp_dma_section_memory(fd, TEST_HUGE_PAGE_BYTES, TEST_HUGE_PAGE_BYTES, page_bytes, &memory), 0);
		assert_int_equal((uintptr_t)memory % page_bytes, 0);
		assert_int_equal(munmap(memory, TEST_HUGE_PAGE_BYTES), 0);
		assert_int_equal(rp_dma_section_memory(fd, 0, own_bytes, page_bytes, &memory), -EINVAL);
		assert_int_equal(rp_dma_section_memory(fd, own_bytes, TEST_HUGE_PAGE_BYTES, page_bytes, &memory),
				 -EINVAL);
		assert_int_equal(room_pages(), room);
		test_leaks_assert_none(&before);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_fits),
		cmocka_unit_test(no_ranges_are_all),
		cmocka_unit_test(what_is_behind_it),
		cmocka_unit_test(only_device_memory_has_these_causes),
		cmocka_unit_test(every_cause_has_a_name),
		cmocka_unit_test(the_page_of_the_table_is_cut_out),
		cmocka_unit_test(what_is_not_cut),
		cmocka_unit_test(pieces_of_random_sections),
		cmocka_unit_test(memory_for_larger_pages),
		cmocka_unit_test(memory_in_huge_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
