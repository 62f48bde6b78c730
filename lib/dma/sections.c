/* SPDX-License-Identifier: BSD-3-Clause */

/* What was decided: device memory that was offered, mapped or left out, and what was said of it. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "rp_dma_section.h"

#define LINE_MAX_BYTES 512

struct entry {
	TAILQ_ENTRY(entry) link;
	struct rp_dma_section_state state;
};

TAILQ_HEAD(entries, entry);

struct told {
	bool before;
	uint64_t at_ms;
	uint64_t held_back; /* since */
};

struct rp_dma_sections {
	const struct rp_dma_sections_ops *ops;
	void *ctx;
	struct entries entries;
	struct told told[RP_DMA_SECTION_CAUSES_COUNT];
	struct rp_dma_sections_counters counters;
};

int
rp_dma_sections_create(const struct rp_dma_sections_ops *ops, void *ctx, struct rp_dma_sections **ret_sections)
{
	struct rp_dma_sections *sections = calloc(1, sizeof(*sections));

	if (sections == NULL)
		return -ENOMEM;
	sections->ops = ops;
	sections->ctx = ctx;
	TAILQ_INIT(&sections->entries);
	*ret_sections = sections;
	return 0;
}

struct rp_dma_sections *
rp_dma_sections_destroy(struct rp_dma_sections *sections)
{
	if (sections == NULL)
		return NULL;
	rp_dma_sections_forget(sections);
	free(sections);
	return NULL;
}

static bool
is_mapped(const struct entry *entry)
{
	return entry->state.cause == RP_DMA_SECTION_FITS;
}

/* Every change of a state passes here, so that the counters are true. */
static void
set_cause(struct rp_dma_sections *sections, struct entry *entry, enum rp_dma_section_cause cause)
{
	unsigned int *before = is_mapped(entry) ? &sections->counters.mapped_count : &sections->counters.left_out_count;

	(*before)--;
	entry->state.cause = cause;
	if (is_mapped(entry)) {
		entry->state.reason[0] = '\0';
		sections->counters.mapped_count++;
		return;
	}
	sections->counters.left_out_count++;
	sections->counters.left_out[cause]++;
}

static void
drop(struct rp_dma_sections *sections, struct entry *entry)
{
	if (is_mapped(entry))
		sections->counters.mapped_count--;
	else
		sections->counters.left_out_count--;
	TAILQ_REMOVE(&sections->entries, entry, link);
	free(entry);
}

void
rp_dma_sections_forget(struct rp_dma_sections *sections)
{
	struct entry *entry;

	while ((entry = TAILQ_FIRST(&sections->entries)) != NULL) {
		TAILQ_REMOVE(&sections->entries, entry, link);
		free(entry);
	}
	sections->counters.mapped_count = 0;
	sections->counters.left_out_count = 0;
}

static struct entry *
find(const struct rp_dma_sections *sections, uint64_t tag)
{
	struct entry *entry;

	TAILQ_FOREACH (entry, &sections->entries, link)
		if (entry->state.section.tag == tag)
			return entry;
	return NULL;
}

static bool
overlaps(const struct rp_dma_section *section, uint64_t iova, uint64_t size_bytes)
{
	uint64_t last;

	if (size_bytes == 0)
		return false;
	last = size_bytes - 1 > UINT64_MAX - iova ? UINT64_MAX : iova + (size_bytes - 1);
	return section->iova <= last && iova <= section->iova + (section->size_bytes - 1);
}

/* Mapped device memory in a range; NULL: none. */
static struct entry *
find_mapped(const struct rp_dma_sections *sections, uint64_t iova, uint64_t size_bytes)
{
	struct entry *entry;

	TAILQ_FOREACH (entry, &sections->entries, link)
		if (is_mapped(entry) && overlaps(&entry->state.section, iova, size_bytes))
			return entry;
	return NULL;
}

static void
report(struct rp_dma_sections *sections, const struct entry *entry, uint64_t now_ms)
{
	enum rp_dma_section_cause cause = entry->state.cause;
	struct told *told = &sections->told[cause];
	const char *cure = rp_dma_section_cure(cause);
	char line[LINE_MAX_BYTES], more[64] = "";

	if (sections->ops->report == NULL)
		return;
	if (told->before && now_ms - told->at_ms < RP_DMA_SECTION_REPORT_MS) {
		told->held_back++;
		sections->counters.reports_held_back++;
		return;
	}
	if (told->held_back > 0)
		snprintf(more, sizeof(more), " (and %" PRIu64 " more since the last report)", told->held_back);
	snprintf(line, sizeof(line), "%s is left out: %s%s%s%s", entry->state.section.name, entry->state.reason,
		 cure != NULL ? "; " : "", cure != NULL ? cure : "", more);
	*told = (struct told){.before = true, .at_ms = now_ms};
	sections->counters.reports++;
	sections->ops->report(sections->ctx, cause, line);
}

static bool
is_loss(int error)
{
	return error == -ENOTCONN || error == -ETIMEDOUT || error == -EIO;
}

static int
map_ram(struct rp_dma_sections *sections, const struct rp_dma_section *section,
	const struct rp_dma_section_iommu *iommu, uint64_t now_ms, struct rp_wire_why *why)
{
	int rc = rp_dma_section_check(section, iommu, NULL, why);

	if (rc == 0)
		rc = rp_dma_sections_make_way(sections, section->iova, section->size_bytes, now_ms, why);
	return rc < 0 ? rc : sections->ops->map(sections->ctx, section, why);
}

/* The rules first, then what is ours, then whoever maps. @return 0 with the cause, or a loss. */
static int
try(struct rp_dma_sections *sections, const struct rp_dma_section *section, const struct rp_dma_section_iommu *iommu,
    enum rp_dma_section_cause *ret_cause, struct rp_wire_why *why)
{
	const struct entry *other;
	int rc;

	if (rp_dma_section_check(section, iommu, ret_cause, why) < 0)
		return 0;
	other = find_mapped(sections, section->iova, section->size_bytes);
	if (other != NULL) {
		*ret_cause = RP_DMA_SECTION_OCCUPIED;
		rp_wire_why_set(why, -EEXIST, "DMA 0x%" PRIx64 " + 0x%" PRIx64 ": %.120s is there", section->iova,
				section->size_bytes, other->state.section.name);
		return 0;
	}
	rc = sections->ops->map(sections->ctx, section, why);
	if (rc == -EEXIST)
		*ret_cause = RP_DMA_SECTION_OCCUPIED;
	else if (rc < 0)
		*ret_cause = RP_DMA_SECTION_REFUSED;
	return is_loss(rc) ? rc : 0;
}

static int
map_device(struct rp_dma_sections *sections, const struct rp_dma_section *section,
	   const struct rp_dma_section_iommu *iommu, uint64_t now_ms, struct rp_wire_why *why)
{
	enum rp_dma_section_cause cause;
	struct rp_wire_why words = {0};
	struct entry *entry;
	int rc;

	if (find(sections, section->tag) != NULL)
		return rp_wire_why_set(why, -EEXIST, "%s is offered already", section->name);
	entry = calloc(1, sizeof(*entry));
	if (entry == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	rc = try(sections, section, iommu, &cause, &words);
	if (rc < 0) {
		free(entry);
		return rp_wire_why_set(why, rc, "%s", words.text);
	}
	entry->state.section = *section;
	sections->counters.mapped_count++; /* as set_cause() expects of one that was mapped until now */
	TAILQ_INSERT_TAIL(&sections->entries, entry, link);
	set_cause(sections, entry, cause);
	if (cause == RP_DMA_SECTION_FITS)
		return 0;
	snprintf(entry->state.reason, sizeof(entry->state.reason), "%s", words.text);
	report(sections, entry, now_ms);
	rp_wire_why_set(why, words.error, "%s", words.text);
	return 1;
}

int
rp_dma_sections_map(struct rp_dma_sections *sections, const struct rp_dma_section *section,
		    const struct rp_dma_section_iommu *iommu, uint64_t now_ms, struct rp_wire_why *why)
{
	if (section->kind == RP_DMA_SECTION_RAM)
		return map_ram(sections, section, iommu, now_ms, why);
	return map_device(sections, section, iommu, now_ms, why);
}

int
rp_dma_sections_unmap(struct rp_dma_sections *sections, const struct rp_dma_section *section, struct rp_wire_why *why)
{
	struct entry *entry;
	int rc;

	if (section->kind == RP_DMA_SECTION_RAM)
		return sections->ops->unmap(sections->ctx, section, why);
	entry = find(sections, section->tag);
	if (entry == NULL)
		return rp_wire_why_set(why, -ENOENT, "device memory %" PRIu64 " was not offered", section->tag);
	if (!is_mapped(entry)) {
		drop(sections, entry);
		return 1;
	}
	rc = sections->ops->unmap(sections->ctx, &entry->state.section, why);
	if (rc == 0)
		drop(sections, entry);
	return rc;
}

int
rp_dma_sections_make_way(struct rp_dma_sections *sections, uint64_t iova, uint64_t size_bytes, uint64_t now_ms,
			 struct rp_wire_why *why)
{
	struct entry *entry;

	while ((entry = find_mapped(sections, iova, size_bytes)) != NULL) {
		int rc = sections->ops->unmap(sections->ctx, &entry->state.section, why);

		if (rc < 0)
			return rc;
		set_cause(sections, entry, RP_DMA_SECTION_OCCUPIED);
		snprintf(entry->state.reason, sizeof(entry->state.reason),
			 "DMA 0x%" PRIx64 " + 0x%" PRIx64 ": RAM came to 0x%" PRIx64 " + 0x%" PRIx64,
			 entry->state.section.iova, entry->state.section.size_bytes, iova, size_bytes);
		report(sections, entry, now_ms);
	}
	return 0;
}

static int
try_again(struct rp_dma_sections *sections, struct entry *entry, const struct rp_dma_section_iommu *iommu,
	  uint64_t now_ms, struct rp_wire_why *why)
{
	enum rp_dma_section_cause cause;
	struct rp_wire_why words = {0};
	int rc = try(sections, &entry->state.section, iommu, &cause, &words);

	if (rc < 0)
		return rp_wire_why_set(why, rc, "%s", words.text);
	if (cause == RP_DMA_SECTION_OCCUPIED)
		return 0;
	set_cause(sections, entry, cause);
	if (cause == RP_DMA_SECTION_FITS)
		return 0;
	snprintf(entry->state.reason, sizeof(entry->state.reason), "%s", words.text);
	report(sections, entry, now_ms);
	return 0;
}

int
rp_dma_sections_retry(struct rp_dma_sections *sections, const struct rp_dma_section_iommu *iommu, uint64_t now_ms,
		      struct rp_wire_why *why)
{
	struct entry *entry;
	int rc = 0;

	TAILQ_FOREACH (entry, &sections->entries, link)
		if (rc == 0 && entry->state.cause == RP_DMA_SECTION_OCCUPIED)
			rc = try_again(sections, entry, iommu, now_ms, why);
	return rc;
}

int
rp_dma_sections_state(const struct rp_dma_sections *sections, uint64_t tag, struct rp_dma_section_state *ret_state)
{
	const struct entry *entry = find(sections, tag);

	if (entry == NULL)
		return -ENOENT;
	*ret_state = entry->state;
	return 0;
}

void
rp_dma_sections_counters(const struct rp_dma_sections *sections, struct rp_dma_sections_counters *ret_counters)
{
	*ret_counters = sections->counters;
}
