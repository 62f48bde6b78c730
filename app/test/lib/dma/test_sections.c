/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "rp_dma_section.h"
#include "test_support.h"

#define KIB4 0x1000u
#define KIB64 0x10000u
#define TABLE_MAX 64u

/* An IOMMU as a kernel has it: what is in its table, and what it says to what. */
struct iommu {
	struct rp_dma_section table[TABLE_MAX];
	unsigned int count;
	uint64_t page_bytes;
	int map_error, unmap_error;
	unsigned int maps, unmaps, reports;
	enum rp_dma_section_cause cause; /* of the last report */
	char line[600];
};

static bool
overlap(const struct rp_dma_section *a, const struct rp_dma_section *b)
{
	return a->iova <= b->iova + (b->size_bytes - 1) && b->iova <= a->iova + (a->size_bytes - 1);
}

static int
map(void *ctx, const struct rp_dma_section *section, struct rp_wire_why *why)
{
	struct iommu *iommu = ctx;
	unsigned int i;

	iommu->maps++;
	/* Nothing that the rule refuses ever gets here. */
	assert_int_equal((section->iova | section->size_bytes) % iommu->page_bytes, 0);
	assert_false(section->has_interrupts && section->kind == RP_DMA_SECTION_DEVICE);
	if (iommu->map_error != 0)
		return rp_wire_why_set(why, iommu->map_error, "memory cannot be pinned: Bad address");
	for (i = 0; i < iommu->count; i++)
		if (overlap(&iommu->table[i], section))
			return rp_wire_why_set(why, -EEXIST, "other memory is mapped there");
	assert_true(iommu->count < TABLE_MAX);
	iommu->table[iommu->count++] = *section;
	return 0;
}

static int
unmap(void *ctx, const struct rp_dma_section *section, struct rp_wire_why *why)
{
	struct iommu *iommu = ctx;
	unsigned int i;

	iommu->unmaps++;
	if (iommu->unmap_error != 0)
		return rp_wire_why_set(why, iommu->unmap_error, "unmap");
	for (i = 0; i < iommu->count; i++)
		if (iommu->table[i].iova == section->iova && iommu->table[i].size_bytes == section->size_bytes) {
			iommu->table[i] = iommu->table[--iommu->count];
			return 0;
		}
	/* Nobody may ask for what was left out. */
	fail_msg("unmap of 0x%llx, which is not mapped", (unsigned long long)section->iova);
	return -EINVAL;
}

static void
report(void *ctx, enum rp_dma_section_cause cause, const char *text)
{
	struct iommu *iommu = ctx;

	iommu->reports++;
	iommu->cause = cause;
	snprintf(iommu->line, sizeof(iommu->line), "%s", text);
}

static const struct rp_dma_sections_ops ops = {.map = map, .unmap = unmap, .report = report};
static const struct rp_dma_iova_range ranges[] = {{0, 0xfedfffff}, {0xfef00000, 0x7fffffffff}};

struct fixture {
	struct iommu iommu;
	struct rp_dma_section_iommu rule;
	struct rp_dma_sections *sections;
	struct rp_wire_why why;
};

static void
begin(struct fixture *f, uint64_t page_bytes)
{
	*f = (struct fixture){.iommu.page_bytes = page_bytes, .rule = {ranges, 2, page_bytes, false}};
	assert_int_equal(rp_dma_sections_create(&ops, &f->iommu, &f->sections), 0);
}

static int
offer(struct fixture *f, uint64_t tag, uint64_t iova, uint64_t size_bytes, uint64_t now_ms)
{
	const struct rp_dma_section section = {.kind = RP_DMA_SECTION_DEVICE,
					       .iova = iova,
					       .size_bytes = size_bytes,
					       .tag = tag,
					       .name = "BAR 4 of 0000:00:04.0"};

	f->why = (struct rp_wire_why){0};
	return rp_dma_sections_map(f->sections, &section, &f->rule, now_ms, &f->why);
}

static int
take_back(struct fixture *f, uint64_t tag)
{
	const struct rp_dma_section section = {.kind = RP_DMA_SECTION_DEVICE, .tag = tag};

	return rp_dma_sections_unmap(f->sections, &section, &f->why);
}

static struct rp_dma_section
ram(uint64_t iova, uint64_t size_bytes)
{
	return (struct rp_dma_section){.kind = RP_DMA_SECTION_RAM, .iova = iova, .size_bytes = size_bytes};
}

static int
map_ram(struct fixture *f, uint64_t iova, uint64_t size_bytes)
{
	const struct rp_dma_section section = ram(iova, size_bytes);

	return rp_dma_sections_map(f->sections, &section, &f->rule, 0, &f->why);
}

static int
unmap_ram(struct fixture *f, uint64_t iova, uint64_t size_bytes)
{
	const struct rp_dma_section section = ram(iova, size_bytes);

	return rp_dma_sections_unmap(f->sections, &section, &f->why);
}

static struct rp_dma_section_state
state_of(struct fixture *f, uint64_t tag)
{
	struct rp_dma_section_state state;

	assert_int_equal(rp_dma_sections_state(f->sections, tag, &state), 0);
	return state;
}

static struct rp_dma_sections_counters
counters(const struct fixture *f)
{
	struct rp_dma_sections_counters now;

	rp_dma_sections_counters(f->sections, &now);
	return now;
}

/* The heart of it: RAM ends the operation, device memory is reported and the rest works. */
static void
ram_is_strict_and_device_memory_is_not(void **state)
{
	static const uint64_t pages[] = {KIB4, KIB64};
	struct fixture f;
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		uint64_t page = pages[i];

		begin(&f, page);
		assert_int_equal(map_ram(&f, 0, page + page / 2), -ENOSPC);
		assert_int_equal(map_ram(&f, 0xfee00000, page), -ENOSPC);
		assert_int_equal(f.iommu.maps, 0);
		assert_int_equal(f.iommu.reports, 0);
		assert_int_equal(offer(&f, 1, 16 * page, page + page / 2, 0), 1);
		assert_non_null(strstr(f.why.text, "expected multiples of the IOMMU's page"));
		assert_int_equal(offer(&f, 2, 0xfee00000, page, 0), 1);
		assert_int_equal(f.iommu.maps, 0);
		assert_int_equal(f.iommu.reports, 2);
		assert_int_equal(offer(&f, 3, 32 * page, page, 0), 0);
		assert_int_equal(map_ram(&f, 0, 4 * page), 0);
		assert_int_equal(f.iommu.count, 2);
		/* And back: the same decisions, without asking for what was left out. */
		assert_int_equal(take_back(&f, 1), 1);
		assert_int_equal(take_back(&f, 2), 1);
		assert_int_equal(take_back(&f, 3), 0);
		assert_int_equal(take_back(&f, 3), -ENOENT);
		assert_int_equal(unmap_ram(&f, 0, 4 * page), 0);
		assert_int_equal(f.iommu.count, 0);
		rp_dma_sections_destroy(f.sections);
	}
}

static void
what_a_report_says(void **state)
{
	struct fixture f;
	struct rp_dma_section table = {.kind = RP_DMA_SECTION_DEVICE,
				       .iova = 0x40000000,
				       .size_bytes = KIB4,
				       .tag = 2,
				       .has_interrupts = true,
				       .name = "BAR 1 of 0000:00:04.0"};

	(void)state;
	begin(&f, KIB4);
	assert_int_equal(offer(&f, 1, 0x40000000, 0x1800, 0), 1);
	assert_string_equal(f.iommu.line, "BAR 4 of 0000:00:04.0 is left out: DMA 0x40000000 + 0x1800: expected "
					  "multiples of the IOMMU's page, 0x1000");
	assert_int_equal(rp_dma_sections_map(f.sections, &table, &f.rule, 0, &f.why), 1);
	assert_int_equal(f.iommu.cause, RP_DMA_SECTION_INTERRUPTS);
	assert_string_equal(
		f.iommu.line,
		"BAR 1 of 0000:00:04.0 is left out: DMA 0x40000000 + 0x1000: the MSI-X table or its pending "
		"bits lie in it, which no other device may write; have the device keep the table in another "
		"page or BAR (its firmware; of a device that QEMU assigned: x-msix-relocation)");
	rp_dma_sections_destroy(f.sections);
}

static void
the_iommu_refuses(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, KIB4);
	f.iommu.map_error = -EFAULT;
	assert_int_equal(map_ram(&f, 0, KIB4), -EFAULT);
	assert_int_equal(offer(&f, 1, 0x40000000, KIB4, 0), 1);
	assert_int_equal(f.iommu.cause, RP_DMA_SECTION_REFUSED);
	assert_non_null(strstr(f.iommu.line, "memory cannot be pinned: Bad address"));
	assert_int_equal(state_of(&f, 1).cause, RP_DMA_SECTION_REFUSED);
	assert_string_equal(state_of(&f, 1).reason, f.why.text);
	/* Not this section's fault: whoever has the device must hear of it. */
	f.iommu.map_error = -EIO;
	assert_int_equal(offer(&f, 2, 0x50000000, KIB4, 0), -EIO);
	assert_int_equal(rp_dma_sections_state(f.sections, 2, &(struct rp_dma_section_state){0}), -ENOENT);
	f.iommu.map_error = 0;
	assert_int_equal(map_ram(&f, 0, KIB4), 0);
	assert_int_equal(counters(&f).left_out_count, 1);
	rp_dma_sections_destroy(f.sections);
}

/* A device with many such sections floods nobody; nothing is forgotten. */
static void
reports_of_one_cause(void **state)
{
	struct fixture f;
	unsigned int i;

	(void)state;
	begin(&f, KIB4);
	for (i = 0; i < 1000; i++)
		assert_int_equal(offer(&f, i, 0x40000000 + i * KIB64, 0x1800, i), 1);
	assert_int_equal(f.iommu.reports, 1);
	/* Another cause is news. */
	assert_int_equal(offer(&f, 1000, 0xfee00000, KIB4, 1000), 1);
	assert_int_equal(f.iommu.reports, 2);
	assert_int_equal(counters(&f).left_out[RP_DMA_SECTION_MISALIGNED], 1000);
	assert_int_equal(counters(&f).left_out[RP_DMA_SECTION_UNREACHABLE], 1);
	assert_int_equal(counters(&f).left_out_count, 1001);
	assert_int_equal(counters(&f).reports_held_back, 999);
	assert_int_equal(offer(&f, 1001, 0x50000000, 0x1800, RP_DMA_SECTION_REPORT_MS), 1);
	assert_int_equal(f.iommu.reports, 3);
	assert_non_null(strstr(f.iommu.line, "(and 999 more since the last report)"));
	assert_int_equal(offer(&f, 1002, 0x60000000, 0x1800, 3 * RP_DMA_SECTION_REPORT_MS), 1);
	assert_null(strstr(f.iommu.line, "more since"));
	rp_dma_sections_destroy(f.sections);
}

/* The rules change when another group joins a container. What was mapped is unmapped all the same. */
static void
unmapping_does_not_judge_again(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, KIB4);
	assert_int_equal(offer(&f, 1, 0x40001000, KIB4, 0), 0);
	assert_int_equal(offer(&f, 2, 0x40002800, KIB4, 0), 1);
	f.rule.page_bytes = KIB64;
	assert_int_equal(take_back(&f, 1), 0);
	f.rule.page_bytes = 0;
	assert_int_equal(take_back(&f, 2), 1);
	assert_int_equal(f.iommu.unmaps, 1);
	rp_dma_sections_destroy(f.sections);
}

static void
unmapping_that_fails(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, KIB4);
	assert_int_equal(offer(&f, 1, 0x40000000, KIB4, 0), 0);
	f.iommu.unmap_error = -EIO;
	assert_int_equal(take_back(&f, 1), -EIO);
	assert_int_equal(state_of(&f, 1).cause, RP_DMA_SECTION_FITS);
	assert_int_equal(rp_dma_sections_make_way(f.sections, 0x40000000, KIB4, 0, &f.why), -EIO);
	assert_int_equal(map_ram(&f, 0x40000000, KIB4), -EIO);
	f.iommu.unmap_error = 0;
	assert_int_equal(take_back(&f, 1), 0);
	rp_dma_sections_destroy(f.sections);
}

static void
ram_goes_first(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, KIB4);
	assert_int_equal(offer(&f, 1, 0x40000000, 4 * KIB4, 0), 0);
	assert_int_equal(map_ram(&f, 0x40001000, KIB4), 0);
	assert_int_equal(f.iommu.cause, RP_DMA_SECTION_OCCUPIED);
	assert_non_null(strstr(f.iommu.line, "RAM came to 0x40001000 + 0x1000"));
	assert_int_equal(state_of(&f, 1).cause, RP_DMA_SECTION_OCCUPIED);
	/* As long as it is there, and then not any more. */
	assert_int_equal(rp_dma_sections_retry(f.sections, &f.rule, 0, &f.why), 0);
	assert_int_equal(state_of(&f, 1).cause, RP_DMA_SECTION_OCCUPIED);
	assert_int_equal(f.iommu.reports, 1);
	assert_int_equal(unmap_ram(&f, 0x40001000, KIB4), 0);
	assert_int_equal(rp_dma_sections_retry(f.sections, &f.rule, 0, &f.why), 0);
	assert_int_equal(state_of(&f, 1).cause, RP_DMA_SECTION_FITS);
	assert_string_equal(state_of(&f, 1).reason, "");
	/* It was there before. */
	assert_int_equal(map_ram(&f, 0x50000000, KIB4), 0);
	assert_int_equal(offer(&f, 2, 0x50000000, KIB4, 0), 1);
	assert_int_equal(state_of(&f, 2).cause, RP_DMA_SECTION_OCCUPIED);
	/* Two that want one place. */
	assert_int_equal(offer(&f, 3, 0x40002000, KIB4, 0), 1);
	assert_non_null(strstr(f.why.text, "BAR 4 of 0000:00:04.0 is there"));
	assert_int_equal(offer(&f, 3, 0x60000000, KIB4, 0), -EEXIST);
	rp_dma_sections_destroy(f.sections);
}

static void
behind_a_guests_iommu(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, KIB4);
	f.rule.guest_iommu = true;
	assert_int_equal(offer(&f, 1, 0x40000000, KIB4, 0), 1);
	assert_int_equal(f.iommu.cause, RP_DMA_SECTION_GUEST_IOMMU);
	assert_int_equal(map_ram(&f, 0, KIB4), 0);
	assert_int_equal(map_ram(&f, 0x10000, KIB4 / 2), -ENOSPC);
	assert_int_equal(f.iommu.count, 1);
	rp_dma_sections_destroy(f.sections);
}

static void
an_address_space_that_is_gone(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, KIB4);
	assert_int_equal(offer(&f, 1, 0x40000000, KIB4, 0), 0);
	assert_int_equal(offer(&f, 2, 0x40000800, KIB4, 0), 1);
	rp_dma_sections_forget(f.sections);
	assert_int_equal(f.iommu.unmaps, 0);
	assert_int_equal(counters(&f).mapped_count, 0);
	assert_int_equal(counters(&f).left_out_count, 0);
	assert_int_equal(take_back(&f, 1), -ENOENT);
	assert_null(rp_dma_sections_destroy(f.sections));
	assert_null(rp_dma_sections_destroy(NULL));
}

/* ---- against a model ---- */

#define TAGS 12u
#define PLACES 24u

struct model {
	bool offered[TAGS], mapped[TAGS];
	struct rp_dma_section sections[TAGS];
	bool ram[PLACES]; /* one page each */
	uint64_t left_out; /* offers and evictions */
};

static bool
is_free(const struct fixture *f, const struct model *model, const struct rp_dma_section *section)
{
	unsigned int i;

	for (i = 0; i < TAGS; i++)
		if (model->mapped[i] && overlap(&model->sections[i], section))
			return false;
	for (i = 0; i < PLACES; i++) {
		struct rp_dma_section page = ram(i * f->iommu.page_bytes, f->iommu.page_bytes);

		if (model->ram[i] && overlap(&page, section))
			return false;
	}
	return true;
}

static bool
fits(const struct fixture *f, const struct rp_dma_section *section)
{
	return !f->rule.guest_iommu && section->iova % f->iommu.page_bytes == 0 &&
	       section->size_bytes % f->iommu.page_bytes == 0 && !section->has_interrupts;
}

static void
step_offer(struct fixture *f, struct model *model, unsigned int *seed, uint64_t now_ms)
{
	uint64_t half = f->iommu.page_bytes / 2;
	unsigned int tag = (unsigned int)rand_r(seed) % TAGS;
	struct rp_dma_section section = {.kind = RP_DMA_SECTION_DEVICE,
					 .iova = (uint64_t)rand_r(seed) % (2 * PLACES) * half,
					 .size_bytes = (uint64_t)(rand_r(seed) % 8 + 1) * half,
					 .tag = tag,
					 .has_interrupts = rand_r(seed) % 8 == 0,
					 .name = "BAR"};
	bool good;

	f->rule.guest_iommu = rand_r(seed) % 8 == 0;
	f->iommu.map_error = rand_r(seed) % 8 == 0 ? -EFAULT : 0;
	good = fits(f, &section) && is_free(f, model, &section) && f->iommu.map_error == 0;
	if (model->offered[tag]) {
		assert_int_equal(rp_dma_sections_map(f->sections, &section, &f->rule, now_ms, NULL), -EEXIST);
	} else {
		assert_int_equal(rp_dma_sections_map(f->sections, &section, &f->rule, now_ms, NULL), good ? 0 : 1);
		model->offered[tag] = true;
		model->mapped[tag] = good;
		model->sections[tag] = section;
		model->left_out += !good;
	}
	f->iommu.map_error = 0;
	f->rule.guest_iommu = false;
}

static void
step_ram(struct fixture *f, struct model *model, unsigned int *seed)
{
	unsigned int place = (unsigned int)rand_r(seed) % PLACES, i;
	struct rp_dma_section page = ram(place * f->iommu.page_bytes, f->iommu.page_bytes);

	if (model->ram[place]) {
		assert_int_equal(unmap_ram(f, page.iova, page.size_bytes), 0);
		model->ram[place] = false;
		return;
	}
	assert_int_equal(map_ram(f, page.iova, page.size_bytes), 0);
	model->ram[place] = true;
	for (i = 0; i < TAGS; i++)
		if (model->mapped[i] && overlap(&model->sections[i], &page)) {
			model->mapped[i] = false;
			model->left_out++;
		}
}

static void
step_back(struct fixture *f, struct model *model, unsigned int *seed)
{
	unsigned int tag = (unsigned int)rand_r(seed) % TAGS;

	assert_int_equal(take_back(f, tag), !model->offered[tag] ? -ENOENT : model->mapped[tag] ? 0 : 1);
	model->offered[tag] = model->mapped[tag] = false;
}

/* Which of two that want one place gets it is not the model's to say: it looks, and judges what it finds. */
static void
step_retry(struct fixture *f, struct model *model)
{
	unsigned int i;

	assert_int_equal(rp_dma_sections_retry(f->sections, &f->rule, 0, NULL), 0);
	for (i = 0; i < TAGS; i++) {
		bool now = model->offered[i] && state_of(f, i).cause == RP_DMA_SECTION_FITS;

		assert_false(model->mapped[i] && !now);
		if (now && !model->mapped[i]) {
			assert_true(fits(f, &model->sections[i]));
			assert_true(is_free(f, model, &model->sections[i]));
			model->mapped[i] = true;
		}
	}
	/* And nothing that could be was forgotten. */
	for (i = 0; i < TAGS; i++)
		if (model->offered[i] && state_of(f, i).cause == RP_DMA_SECTION_OCCUPIED)
			assert_false(is_free(f, model, &model->sections[i]));
}

static void
compare(const struct fixture *f, const struct model *model)
{
	unsigned int i, mapped = 0, offered = 0, pages = 0, cause;
	struct rp_dma_sections_counters now = counters(f);
	uint64_t left_out = 0;

	for (i = 0; i < TAGS; i++) {
		mapped += model->mapped[i];
		offered += model->offered[i];
	}
	for (i = 0; i < PLACES; i++)
		pages += model->ram[i];
	assert_int_equal(f->iommu.count, mapped + pages);
	assert_int_equal(now.mapped_count, mapped);
	assert_int_equal(now.left_out_count, offered - mapped);
	for (cause = 0; cause < RP_DMA_SECTION_CAUSES_COUNT; cause++)
		left_out += now.left_out[cause];
	assert_int_equal(left_out, model->left_out);
	assert_int_equal(now.reports, f->iommu.reports);
	assert_int_equal(now.reports + now.reports_held_back, left_out);
}

static void
random_steps(void **state)
{
	enum { STEPS = 300000 };
	static const uint64_t pages[] = {KIB4, KIB64};
	unsigned int i, step, seed;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct model model = {0};
		struct fixture f;

		begin(&f, pages[i]);
		seed = 7 + i;
		for (step = 0; step < STEPS; step++) {
			unsigned int choice = (unsigned int)rand_r(&seed) % 8;

			if (choice < 3)
				step_offer(&f, &model, &seed, step);
			else if (choice < 5)
				step_ram(&f, &model, &seed);
			else if (choice < 7)
				step_back(&f, &model, &seed);
			else
				step_retry(&f, &model);
			compare(&f, &model);
		}
		rp_dma_sections_destroy(f.sections);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ram_is_strict_and_device_memory_is_not),
		cmocka_unit_test(what_a_report_says),
		cmocka_unit_test(the_iommu_refuses),
		cmocka_unit_test(reports_of_one_cause),
		cmocka_unit_test(unmapping_does_not_judge_again),
		cmocka_unit_test(unmapping_that_fails),
		cmocka_unit_test(ram_goes_first),
		cmocka_unit_test(behind_a_guests_iommu),
		cmocka_unit_test(an_address_space_that_is_gone),
		cmocka_unit_test(random_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
