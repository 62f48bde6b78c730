/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <search.h>
#include <stdlib.h>

#include "iommu_table.h"

struct known {
	struct port_translation translation; /* first, because the tree compares these */
	struct known *older;
	struct known *newer;
};

struct port_translations {
	void *tree; /* of the C library, balanced */
	struct known *oldest;
	struct known *newest;
	uint32_t count;
	uint32_t count_max;
};

/* What overlaps is the same to the tree: so any piece of a range finds who is in it. */
static int
compare(const void *a, const void *b)
{
	const struct port_translation *left = a, *right = b;

	if (left->last < right->first)
		return -1;
	return left->first > right->last;
}

static struct known *
find(const struct port_translations *translations, uint64_t first, uint64_t last)
{
	const struct port_translation range = {.first = first, .last = last};
	void *node = tfind(&range, &translations->tree, compare);

	return node == NULL ? NULL : *(struct known **)node;
}

static void
drop(struct port_translations *translations, struct known *entry)
{
	tdelete(entry, &translations->tree, compare);
	if (entry->older != NULL)
		entry->older->newer = entry->newer;
	else
		translations->oldest = entry->newer;
	if (entry->newer != NULL)
		entry->newer->older = entry->older;
	else
		translations->newest = entry->older;
	translations->count--;
	free(entry);
}

/* Nothing else is in its range. */
static void
add(struct port_translations *translations, const struct port_translation *translation)
{
	struct known *entry = malloc(sizeof(*entry));

	if (entry == NULL)
		return;
	*entry = (struct known){.translation = *translation, .older = translations->newest};
	if (tsearch(entry, &translations->tree, compare) == NULL) {
		free(entry);
		return;
	}
	if (translations->newest != NULL)
		translations->newest->newer = entry;
	else
		translations->oldest = entry;
	translations->newest = entry;
	translations->count++;
	if (translations->count > translations->count_max)
		drop(translations, translations->oldest);
}

int
port_translations_create(uint32_t count_max, struct port_translations **ret_translations)
{
	struct port_translations *translations = calloc(1, sizeof(*translations));

	if (translations == NULL)
		return -ENOMEM;
	translations->count_max = count_max;
	*ret_translations = translations;
	return 0;
}

struct port_translations *
port_translations_destroy(struct port_translations *translations)
{
	if (translations == NULL)
		return NULL;
	port_translations_clear(translations);
	free(translations);
	return NULL;
}

void
port_translations_clear(struct port_translations *translations)
{
	while (translations->oldest != NULL)
		drop(translations, translations->oldest);
}

void
port_translations_unset(struct port_translations *translations, uint64_t first, uint64_t last)
{
	struct known *entry;

	while ((entry = find(translations, first, last)) != NULL) {
		struct port_translation before = entry->translation, after = entry->translation;

		drop(translations, entry);
		if (before.first < first) {
			before.last = first - 1;
			add(translations, &before);
		}
		if (after.last > last) {
			after.gpa += last + 1 - after.first;
			after.first = last + 1;
			add(translations, &after);
		}
	}
}

/* The tree finds what is highest in it first: no deeper than that. */
static bool
agree(const struct port_translations *translations, const struct port_translation *translation, uint64_t first,
      uint64_t last)
{
	const struct known *entry = find(translations, first, last);
	const struct port_translation *known;

	if (entry == NULL)
		return true;
	known = &entry->translation;
	if ((known->perm & ~translation->perm) != 0 ||
	    known->gpa - known->first != translation->gpa - translation->first)
		return false;
	return (known->first <= first || agree(translations, translation, first, known->first - 1)) &&
	       (known->last >= last || agree(translations, translation, known->last + 1, last));
}

bool
port_translations_agree(const struct port_translations *translations, const struct port_translation *translation)
{
	return agree(translations, translation, translation->first, translation->last);
}

static bool
go_on(const struct port_translation *left, const struct port_translation *right)
{
	return left->last + 1 == right->first && left->perm == right->perm &&
	       left->gpa + (right->first - left->first) == right->gpa;
}

void
port_translations_set(struct port_translations *translations, const struct port_translation *translation)
{
	struct port_translation all = *translation;
	struct known *entry;

	port_translations_unset(translations, all.first, all.last);
	entry = all.first == 0 ? NULL : find(translations, all.first - 1, all.first - 1);
	if (entry != NULL && go_on(&entry->translation, &all)) {
		all.first = entry->translation.first;
		all.gpa = entry->translation.gpa;
		drop(translations, entry);
	}
	entry = all.last == UINT64_MAX ? NULL : find(translations, all.last + 1, all.last + 1);
	if (entry != NULL && go_on(&all, &entry->translation)) {
		all.last = entry->translation.last;
		drop(translations, entry);
	}
	add(translations, &all);
}

void
port_translations_unset_gpa(struct port_translations *translations, uint64_t gpa, uint64_t size_bytes)
{
	struct known *entry = translations->oldest, *next;

	for (; entry != NULL; entry = next) {
		const struct port_translation *at = &entry->translation;

		next = entry->newer;
		if (at->gpa - gpa < size_bytes || gpa - at->gpa <= at->last - at->first)
			drop(translations, entry);
	}
}

const struct port_translation *
port_translations_find(const struct port_translations *translations, uint64_t iova)
{
	const struct known *entry = find(translations, iova, iova);

	return entry == NULL ? NULL : &entry->translation;
}

uint32_t
port_translations_count(const struct port_translations *translations)
{
	return translations->count;
}
