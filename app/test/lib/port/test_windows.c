/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/eventfd.h>

#include "fixture.h"

#define PAGE 0x1000u
#define LARGE_PAGE 0x10000u
#define WINDOW_IOVA 0x3800000000ull

static const char *const two[] = {"fake", "fake"};

static struct rp_port_window
whole(unsigned int of, unsigned int to)
{
	return (struct rp_port_window){.of = of, .region = FAKE_ACCEL_BAR, .to = to, .iova = WINDOW_IOVA};
}

static void
open_with(struct fixture *f, const struct rp_port_window *windows, unsigned int windows_count)
{
	struct rp_port_config config = fixture_config();

	config.accelerators = two;
	config.accelerators_count = 2;
	config.windows = windows;
	config.windows_count = windows_count;
	fixture_open_with(f, &config, NULL);
}

static const struct rp_dma_section_state *
piece(const struct rp_port_window_info *info, unsigned int index)
{
	assert_true(index < info->sections_count);
	return &info->sections[index];
}

static enum rp_dma_section_cause
cause_of(struct fixture *f, unsigned int window, unsigned int index)
{
	const struct rp_port_window_info info = test_port_window(&f->port, window);

	return piece(&info, index)->cause;
}

/* Whether the device finds something there. */
static bool
reaches(unsigned int device, uint64_t iova)
{
	struct rp_dma_mapping mapping;
	struct fake_accel *fake = fake_take();
	size_t i;
	bool found = false;

	for (i = 0; i < rp_dma_space_count(fake->spaces[device]); i++)
		if (rp_dma_space_at(fake->spaces[device], i, &mapping) == 0)
			found |= mapping.iova <= iova && iova - mapping.iova < mapping.size_bytes;
	fake_give();
	return found;
}

/* RAM works: a VMM's memory is mapped, and a ring starts. */
static void
assert_works(struct fixture *f)
{
	test_vm_queue_start(&f->vm, 0, 0);
	assert_true(fake_now().queues[0].running);
	assert_true(reaches(0, TEST_VM_GPA));
	assert_true(reaches(1, TEST_VM_GPA));
}

static void
a_bar_of_the_neighbour(void **state)
{
	const struct rp_port_window window = whole(1, 0);
	struct rp_port_window_info info;
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	open_with(&f, &window, 1);
	info = test_port_window(&f.port, 0);
	assert_int_equal(info.sections_count, 1);
	assert_int_equal(piece(&info, 0)->cause, RP_DMA_SECTION_FITS);
	assert_int_equal(piece(&info, 0)->section.size_bytes, FAKE_ACCEL_BAR_BYTES);
	assert_string_equal(piece(&info, 0)->section.name, "BAR 4 of second for first");
	assert_int_equal(test_port_info(&f.port).windows_count, 1);
	assert_int_equal(test_port_accelerator(&f.port, 0).sections.mapped_count, 1);
	assert_int_equal(test_port_events(&f.port, "window-mapped"), 1);
	assert_int_equal(test_port_events(&f.port, "section-left-out"), 0);
	assert_true(reaches(0, WINDOW_IOVA + FAKE_ACCEL_BAR_BYTES - 1));
	assert_false(reaches(1, WINDOW_IOVA));
	assert_true(fake_now().peer_had_file);
	assert_works(&f);
	fixture_close(&f);
}

/* Odd, out of reach, not there: each is said once, and the port works. */
static void
what_does_not_fit_is_left_out(void **state)
{
	struct rp_port_window windows[4];
	struct rp_dma_sections_counters counters;
	struct fixture f;
	unsigned int i;

	(void)state;
	for (i = 0; i < 4; i++)
		windows[i] = whole(1, 0);
	windows[0].size_bytes = PAGE + PAGE / 2;
	windows[1].iova = WINDOW_IOVA + 0x100000;
	windows[1].offset_bytes = PAGE / 2;
	windows[1].size_bytes = PAGE;
	windows[2].iova = 1ull << 40;
	windows[3].iova = WINDOW_IOVA + 0x200000;
	windows[3].region = 2;
	fixture_begin(&f);
	FAKE_SET(page_bytes, (uint64_t)PAGE);
	FAKE_SET(reach, ((struct rp_dma_iova_range){0, 0x7fffffffff}));
	open_with(&f, windows, 4);
	assert_int_equal(cause_of(&f, 0, 0), RP_DMA_SECTION_MISALIGNED);
	assert_int_equal(cause_of(&f, 1, 0), RP_DMA_SECTION_MISALIGNED);
	assert_int_equal(cause_of(&f, 2, 0), RP_DMA_SECTION_UNREACHABLE);
	assert_int_equal(cause_of(&f, 3, 0), RP_DMA_SECTION_REFUSED);
	assert_true(test_port_warned(&f.port, "BAR 2 of second for first is left out: BAR 2 is absent"));
	/* Two of one cause are one report. */
	assert_int_equal(test_port_events(&f.port, "section-left-out"), 3);
	counters = test_port_accelerator(&f.port, 0).sections;
	assert_int_equal(counters.left_out_count, 4);
	assert_int_equal(counters.mapped_count, 0);
	assert_int_equal(counters.reports_held_back, 1);
	assert_works(&f);
	fixture_close(&f);
}

/* What fits pages of 4 KiB is less than one of these. RAM of whole pages is mapped all the same. */
static void
pages_of_64_kib(void **state)
{
	struct rp_port_window windows[] = {whole(1, 0)};
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	FAKE_SET(page_bytes, (uint64_t)LARGE_PAGE);
	open_with(&f, windows, 1);
	assert_true(FAKE_ACCEL_BAR_BYTES < LARGE_PAGE);
	assert_int_equal(cause_of(&f, 0, 0), RP_DMA_SECTION_MISALIGNED);
	assert_true(test_port_warned(&f.port, "expected multiples of the IOMMU's page, 0x10000"));
	assert_works(&f);
	fixture_close(&f);
}

/* One for which RAM of half a page would be an error. */
static void
ram_is_strict(void **state)
{
	const struct rp_port_window window = whole(1, 0);
	struct rp_vhu_region region = {.gpa = 0x90000000, .size_bytes = LARGE_PAGE + PAGE, .uva = 0x10000000};
	struct rp_wire_why why;
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	FAKE_SET(page_bytes, (uint64_t)LARGE_PAGE);
	open_with(&f, &window, 1);
	region.fd = test_memfd(region.size_bytes, false);
	assert_int_equal(rp_vhu_frontend_add_mem_reg(f.vm.frontend, &region, &why), -EREMOTEIO);
	assert_true(test_port_warned(&f.port, "first: DMA 0x90000000 + 0x11000: expected multiples"));
	assert_false(reaches(0, 0x90000000));
	assert_works(&f);
	close(region.fd);
	fixture_close(&f);
}

static void
the_page_of_the_msix_table(void **state)
{
	const struct rp_port_window window = whole(1, 0);
	struct rp_port_window_info info;
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	FAKE_SET(page_bytes, (uint64_t)PAGE);
	FAKE_SET(holes[0], ((struct rp_dma_section_hole){2 * PAGE, 0x30}));
	FAKE_SET(holes[1], ((struct rp_dma_section_hole){2 * PAGE + 0x800, 8}));
	open_with(&f, &window, 1);
	info = test_port_window(&f.port, 0);
	assert_int_equal(info.sections_count, 3);
	assert_int_equal(piece(&info, 0)->cause, RP_DMA_SECTION_FITS);
	assert_int_equal(piece(&info, 1)->cause, RP_DMA_SECTION_INTERRUPTS);
	assert_int_equal(piece(&info, 2)->cause, RP_DMA_SECTION_FITS);
	assert_true(reaches(0, WINDOW_IOVA + 2 * PAGE - 1));
	assert_false(reaches(0, WINDOW_IOVA + 2 * PAGE));
	assert_true(reaches(0, WINDOW_IOVA + 3 * PAGE));
	assert_int_equal(test_port_events(&f.port, "section-left-out"), 1);
	assert_true(test_port_warned(&f.port, "DMA 0x3800002000 + 0x1000: the MSI-X table"));
	assert_true(test_port_warned(&f.port, "x-msix-relocation"));
	assert_works(&f);
	fixture_close(&f);
}

/* Of a device to which one byte is as good as another: what is mapped is pages all the same. */
static void
a_device_without_pages(void **state)
{
	struct rp_port_window windows[] = {whole(1, 0), whole(1, 0)};
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	struct rp_port_window_info info;
	struct fixture f;

	(void)state;
	windows[1].iova += 0x100000;
	windows[1].size_bytes = page_bytes / 2;
	fixture_begin(&f);
	FAKE_SET(holes[0], ((struct rp_dma_section_hole){page_bytes + 0x10, 0x30}));
	open_with(&f, windows, 2);
	assert_int_equal(test_port_accelerator(&f.port, 0).info.iova_page_bytes, 0);
	info = test_port_window(&f.port, 0);
	assert_int_equal(info.sections_count, 3);
	assert_int_equal(piece(&info, 1)->cause, RP_DMA_SECTION_INTERRUPTS);
	assert_int_equal(piece(&info, 1)->section.size_bytes, page_bytes);
	assert_int_equal(piece(&info, 2)->section.offset_bytes, 2 * page_bytes);
	assert_int_equal(cause_of(&f, 1, 0), RP_DMA_SECTION_MISALIGNED);
	fixture_close(&f);
}

static void
refused_by_the_iommu(void **state)
{
	const struct rp_port_window window = whole(1, 0);
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	FAKE_SET(peer_error, -EFAULT);
	open_with(&f, &window, 1);
	assert_int_equal(cause_of(&f, 0, 0), RP_DMA_SECTION_REFUSED);
	assert_true(test_port_warned(&f.port, "is left out: the IOMMU refuses it"));
	assert_works(&f);
	assert_int_equal(test_port_events(&f.port, "accelerator-failed"), 0);
	fixture_close(&f);
}

/* A device that is lost over it is lost, and the window waits for it. */
static void
lost_over_it(void **state)
{
	const struct rp_port_window window = whole(1, 0);
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	FAKE_SET(peer_error, -EIO);
	open_with(&f, &window, 1);
	assert_int_equal(test_port_events(&f.port, "accelerator-failed"), 1);
	assert_int_equal(test_port_window(&f.port, 0).sections_count, 0);
	fixture_close(&f);
}

static void
guest_memory_goes_first(void **state)
{
	const struct rp_port_window window = whole(1, 0);
	struct rp_vhu_region region = {
		.gpa = WINDOW_IOVA & ~(uint64_t)0xffff, .size_bytes = LARGE_PAGE, .uva = 0x10000000};
	struct rp_wire_why why;
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	open_with(&f, &window, 1);
	assert_works(&f);
	region.fd = test_memfd(region.size_bytes, false);
	assert_int_equal(rp_vhu_frontend_add_mem_reg(f.vm.frontend, &region, &why), 0);
	assert_int_equal(cause_of(&f, 0, 0), RP_DMA_SECTION_OCCUPIED);
	assert_true(test_port_warned(&f.port, "RAM came to 0x3800000000 + 0x10000"));
	assert_true(reaches(1, region.gpa) && reaches(0, region.gpa + LARGE_PAGE - 1));
	assert_int_equal(rp_vhu_frontend_rem_mem_reg(f.vm.frontend, &region, &why), 0);
	assert_int_equal(cause_of(&f, 0, 0), RP_DMA_SECTION_FITS);
	assert_true(reaches(0, WINDOW_IOVA));
	assert_false(reaches(1, WINDOW_IOVA));
	close(region.fd);
	fixture_close(&f);
}

/* The first is given the memory while the second has its window there, in the same container. */
static void
guest_memory_goes_first_for_all(void **state)
{
	const struct rp_port_window window = whole(0, 1);
	struct rp_vhu_region region = {.gpa = WINDOW_IOVA, .size_bytes = LARGE_PAGE, .uva = 0x10000000};
	struct rp_wire_why why;
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	FAKE_SET(one_container, true);
	open_with(&f, &window, 1);
	region.fd = test_memfd(region.size_bytes, false);
	assert_int_equal(rp_vhu_frontend_add_mem_reg(f.vm.frontend, &region, &why), 0);
	assert_int_equal(cause_of(&f, 0, 0), RP_DMA_SECTION_OCCUPIED);
	assert_int_equal(rp_vhu_frontend_rem_mem_reg(f.vm.frontend, &region, &why), 0);
	assert_int_equal(cause_of(&f, 0, 0), RP_DMA_SECTION_FITS);
	close(region.fd);
	fixture_close(&f);
}

static bool
is_offered_again(struct fixture *f)
{
	return cause_of(f, 0, 0) == RP_DMA_SECTION_FITS;
}

/* What a guest's IOMMU lets the device reach is the guest's to say. With that guest the IOMMU goes. */
static void
behind_a_guests_iommu(void **state)
{
	const struct test_vm_options options = {.viommu = TEST_VM_TRANSLATED};
	const struct rp_port_window window = whole(1, 0);
	struct rp_port_config config = fixture_config();
	struct fixture f;

	(void)state;
	config.accelerators = two;
	config.accelerators_count = 2;
	config.windows = &window;
	config.windows_count = 1;
	config.access_platform = true;
	fixture_begin(&f);
	test_port_open(&f.port, &config, &fake_accel_registry);
	/* Nobody has said so yet. */
	assert_int_equal(cause_of(&f, 0, 0), RP_DMA_SECTION_FITS);
	test_vm_open(&f.vm, config.socket_path, 4, 64, &options);
	assert_true((test_port_info(&f.port).features_acked & TEST_VM_ACCESS_PLATFORM) != 0);
	assert_int_equal(cause_of(&f, 0, 0), RP_DMA_SECTION_GUEST_IOMMU);
	assert_false(reaches(0, WINDOW_IOVA));
	assert_true(reaches(0, TEST_VM_GPA));
	assert_int_equal(test_port_events(&f.port, "section-left-out"), 1);
	test_vm_close(&f.vm);
	test_vm_open(&f.vm, config.socket_path, 4, 64, NULL);
	assert_true(fixture_becomes(&f, is_offered_again));
	assert_true(reaches(0, WINDOW_IOVA));
	assert_works(&f);
	fixture_close(&f);
}

static bool
is_back(struct fixture *f)
{
	return test_port_events(&f->port, "accelerator-back") == 1;
}

static bool
is_failed(struct fixture *f)
{
	return test_port_events(&f->port, "accelerator-failed") == 1;
}

/* Withdrawn before its owner is closed; offered again when both are there. */
static void
one_of_them_dies(void **state)
{
	unsigned int of;

	(void)state;
	for (of = 0; of < 2; of++) {
		const struct rp_port_window window = whole(of, 1 - of);
		struct fixture f;

		fixture_begin(&f);
		open_with(&f, &window, 1);
		assert_true(reaches(1 - of, WINDOW_IOVA));
		/* It is the first that dies, and is not closed before it is proven to be quiet. */
		FAKE_SET(opens_once, true);
		fake_accel_die(false);
		assert_true(fixture_becomes(&f, is_failed));
		assert_int_equal(test_port_window(&f.port, 0).sections_count, 0);
		if (of == 0)
			assert_false(reaches(1, WINDOW_IOVA));
		FAKE_SET(quiet, true);
		assert_true(fixture_becomes(&f, is_back));
		assert_int_equal(cause_of(&f, 0, 0), RP_DMA_SECTION_FITS);
		assert_true(reaches(1 - of, WINDOW_IOVA));
		assert_works(&f);
		fixture_close(&f);
	}
}

/* The file of a PCI function of the kernel's VFIO reaches all of it: it stays in this process. */
static void
a_file_that_reaches_all_of_a_device(void **state)
{
	struct rp_port_window windows[] = {whole(1, 0), whole(0, 1)};
	int group = eventfd(0, EFD_CLOEXEC);
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	FAKE_SET(groups[1], group);
	open_with(&f, windows, 2);
	assert_int_equal(cause_of(&f, 0, 0), RP_DMA_SECTION_REFUSED);
	assert_int_equal(cause_of(&f, 1, 0), RP_DMA_SECTION_FITS);
	assert_true(fake_now().peer_had_file);
	assert_true(test_port_warned(&f.port, "a device process would be given all of the device with it"));
	fixture_close(&f);
	/* Two of the kernel's: by its address in this process alone. */
	fixture_begin(&f);
	FAKE_SET(groups[0], group);
	FAKE_SET(groups[1], group);
	open_with(&f, windows, 1);
	assert_int_equal(cause_of(&f, 0, 0), RP_DMA_SECTION_FITS);
	assert_false(fake_now().peer_had_file);
	fixture_close(&f);
	close(group);
}

static void
configurations_that_cannot_be(void **state)
{
	static const struct {
		unsigned int of, region, to, count;
		const char *words;
	} rows[] = {
		{0, 4, 0, 1, "windows[0]: of 0 to 0, expected two of the port's 2 accelerators"},
		{2, 4, 0, 1, "windows[0]: of 2 to 0"},
		{1, 4, 2, 1, "windows[0]: of 1 to 2"},
		{1, 6, 0, 1, "windows[0]: BAR 6, expected 0 to 5"},
		{1, 4, 0, RP_PORT_WINDOWS_MAX + 1, "windows: 33 given, expected at most 32"},
	};
	struct rp_port_window windows[RP_PORT_WINDOWS_MAX + 1] = {0};
	struct rp_port_config config = fixture_config();
	struct rp_wire_why why = {0};
	struct rp_port *port;
	struct fixture f;
	size_t i;

	(void)state;
	fixture_begin(&f);
	config.accelerators = two;
	config.accelerators_count = 2;
	config.windows = windows;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		windows[0] = whole(rows[i].of, rows[i].to);
		windows[0].region = rows[i].region;
		config.windows_count = rows[i].count;
		assert_int_equal(rp_port_create(&config, &fake_accel_registry, NULL, NULL, &port, &why), -EINVAL);
		if (strstr(why.text, rows[i].words) == NULL)
			print_error("said: %s\n", why.text);
		assert_non_null(strstr(why.text, rows[i].words));
	}
	fake_accel_teardown();
	test_leaks_assert_none(&f.leaks);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bar_of_the_neighbour),
		cmocka_unit_test(what_does_not_fit_is_left_out),
		cmocka_unit_test(pages_of_64_kib),
		cmocka_unit_test(ram_is_strict),
		cmocka_unit_test(the_page_of_the_msix_table),
		cmocka_unit_test(a_device_without_pages),
		cmocka_unit_test(refused_by_the_iommu),
		cmocka_unit_test(lost_over_it),
		cmocka_unit_test(guest_memory_goes_first),
		cmocka_unit_test(guest_memory_goes_first_for_all),
		cmocka_unit_test(behind_a_guests_iommu),
		cmocka_unit_test(one_of_them_dies),
		cmocka_unit_test(a_file_that_reaches_all_of_a_device),
		cmocka_unit_test(configurations_that_cannot_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
