/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "iommu_table.h"
#include "test_support.h"

/* Translations against a plain array of pages. */

#define PAGES 512u
#define PAGE 0x1000u
#define STEPS 200000u

struct model {
	struct port_translations *translations;
	uint64_t gpas[PAGES];
	uint8_t perms[PAGES]; /* 0: not known */
};

static void
assert_same(const struct model *model)
{
	unsigned int i;

	for (i = 0; i < PAGES; i++) {
		uint64_t iova = (uint64_t)i * PAGE + i % PAGE;
		const struct port_translation *known = port_translations_find(model->translations, iova);

		assert_int_equal(known != NULL, model->perms[i] != 0);
		if (known == NULL)
			continue;
		assert_int_equal(known->perm, model->perms[i]);
		assert_int_equal(known->gpa + (iova - known->first), model->gpas[i] + i % PAGE);
	}
}

static void
set(struct model *model, unsigned int first, unsigned int count, uint64_t gpa, uint8_t perm)
{
	const struct port_translation translation = {
		.first = (uint64_t)first * PAGE,
		.last = (uint64_t)(first + count) * PAGE - 1,
		.gpa = gpa,
		.perm = perm,
	};
	bool agrees = true;
	unsigned int i;

	for (i = first; i < first + count; i++)
		agrees &= model->perms[i] == 0 ||
			  (model->gpas[i] == gpa + (uint64_t)(i - first) * PAGE && (model->perms[i] & ~perm) == 0);
	assert_int_equal(port_translations_agree(model->translations, &translation), agrees);
	port_translations_set(model->translations, &translation);
	for (i = first; i < first + count; i++) {
		model->gpas[i] = gpa + (uint64_t)(i - first) * PAGE;
		model->perms[i] = perm;
	}
}

static void
unset(struct model *model, unsigned int first, unsigned int count)
{
	unsigned int i;

	port_translations_unset(model->translations, (uint64_t)first * PAGE, (uint64_t)(first + count) * PAGE - 1);
	for (i = first; i < first + count; i++)
		model->perms[i] = 0;
}

static void
as_the_model(void **state)
{
	struct model model = {0};
	unsigned int step, seed = 7;

	(void)state;
	assert_int_equal(port_translations_create(PAGES, &model.translations), 0);
	for (step = 0; step < STEPS; step++) {
		unsigned int first = (unsigned int)rand_r(&seed) % PAGES;
		unsigned int count = 1 + (unsigned int)rand_r(&seed) % 8;
		/* Few places and permissions, so that neighbours go together often. */
		uint64_t gpa = (uint64_t)(rand_r(&seed) % 2) * 0x10000000 + (uint64_t)first * PAGE;

		if (count > PAGES - first)
			count = PAGES - first;
		if (rand_r(&seed) % 3 == 0)
			unset(&model, first, count);
		else
			set(&model, first, count, gpa, (uint8_t)(1 + rand_r(&seed) % 3));
		if (step % 64 == 0)
			assert_same(&model);
	}
	assert_same(&model);
	port_translations_clear(model.translations);
	assert_int_equal(port_translations_count(model.translations), 0);
	assert_null(port_translations_destroy(model.translations));
}

static void
neighbours_are_one(void **state)
{
	struct model model = {0};
	unsigned int i;

	(void)state;
	assert_int_equal(port_translations_create(PAGES, &model.translations), 0);
	for (i = 0; i < PAGES; i += 2)
		set(&model, i, 1, (uint64_t)i * PAGE, 3);
	assert_int_equal(port_translations_count(model.translations), PAGES / 2);
	for (i = 1; i < PAGES; i += 2)
		set(&model, i, 1, (uint64_t)i * PAGE, 3);
	assert_int_equal(port_translations_count(model.translations), 1);
	assert_same(&model);
	/* Memory that goes takes all with it that lies there. */
	port_translations_unset_gpa(model.translations, PAGE, PAGE);
	assert_int_equal(port_translations_count(model.translations), 0);
	port_translations_destroy(model.translations);
}

/* What does not fit is forgotten, the oldest first. */
static void
bounded(void **state)
{
	struct port_translations *translations;
	struct port_translation one = {.gpa = 0x5000, .perm = 1};
	unsigned int i;

	(void)state;
	assert_int_equal(port_translations_create(8, &translations), 0);
	for (i = 0; i < 100; i++) {
		one.first = (uint64_t)i * 2 * PAGE;
		one.last = one.first + PAGE - 1;
		port_translations_set(translations, &one);
		assert_true(port_translations_count(translations) <= 8);
	}
	assert_null(port_translations_find(translations, 91ull * 2 * PAGE));
	assert_non_null(port_translations_find(translations, 92ull * 2 * PAGE));
	port_translations_destroy(translations);
}

/* The ends of the addresses are no different. */
static void
at_the_ends(void **state)
{
	const struct port_translation all = {.first = 0, .last = UINT64_MAX, .gpa = 0, .perm = 3};
	struct port_translations *translations;

	(void)state;
	assert_int_equal(port_translations_create(8, &translations), 0);
	port_translations_set(translations, &all);
	assert_int_equal(port_translations_find(translations, UINT64_MAX)->last, UINT64_MAX);
	port_translations_unset(translations, UINT64_MAX, UINT64_MAX);
	port_translations_unset(translations, 0, 0);
	assert_null(port_translations_find(translations, 0));
	assert_null(port_translations_find(translations, UINT64_MAX));
	assert_int_equal(port_translations_find(translations, 1)->gpa, 1);
	assert_int_equal(port_translations_count(translations), 1);
	port_translations_unset(translations, 0, UINT64_MAX);
	assert_int_equal(port_translations_count(translations), 0);
	port_translations_destroy(translations);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_the_model),
		cmocka_unit_test(neighbours_are_one),
		cmocka_unit_test(bounded),
		cmocka_unit_test(at_the_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
