/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "rp_dma_log.h"
#include "vfu_server.h"

/*
 * Theory of operation: lib/dma keeps the log, in pages of one size. A client may ask
 * in pages of another: for larger ones the log itself joins its bits, for smaller
 * ones each bit is repeated here. A report takes its bits out of the log, so
 * everything that can be refused is refused before; and a bitmap that is larger than
 * a message is the client's to ask for in pieces, each a range of its own.
 *
 * A client may ask for the whole address space, which no bitmap holds. Then the log
 * watches as much from 0 on as is reasonable, and what lies above always counts as
 * dirty, which costs a copy and loses nothing.
 */

/* What one bit of the log stands for: the hint, within these. */
#define PAGE_MIN_BYTES UINT64_C(0x1000)
#define PAGE_MAX_BYTES UINT64_C(0x40000000)
/* Of a log without ranges: 16 TiB in pages of 4 KiB. */
#define ALL_PAGES_COUNT (UINT64_C(1) << 32)
#define WORD_BITS 64u

static bool
is_power_of_two(uint64_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

static uint64_t
log_page_of(uint64_t hint_bytes)
{
	if (hint_bytes < PAGE_MIN_BYTES)
		return PAGE_MIN_BYTES;
	return hint_bytes > PAGE_MAX_BYTES ? PAGE_MAX_BYTES : hint_bytes;
}

/* The first address that a log of everything does not watch. */
static uint64_t
all_end(uint64_t page_bytes)
{
	return page_bytes * ALL_PAGES_COUNT;
}

/* @return NULL when there is no memory. */
static struct rp_dma_log_range *
copy_ranges(const uint8_t *data, uint32_t count)
{
	struct rp_dma_log_range *ranges = calloc(count, sizeof(*ranges));
	uint32_t i;

	for (i = 0; i < count && ranges != NULL; i++) {
		struct rp_vfu_wire_logging_range range;

		memcpy(&range, data + i * sizeof(range), sizeof(range));
		ranges[i] = (struct rp_dma_log_range){.iova = range.iova, .size_bytes = range.size_bytes};
	}
	return ranges;
}

static int
start_log(struct rp_vfu_server *server, const uint8_t *ranges_data, uint32_t ranges_count, uint64_t page_bytes,
	  struct rp_wire_why *why)
{
	const struct rp_dma_log_range all = {.iova = 0, .size_bytes = all_end(page_bytes)};
	struct rp_dma_log_range *ranges;
	int rc;

	if (ranges_count == 0)
		return rp_dma_log_start(server->dma, page_bytes, &all, 1, why);
	ranges = copy_ranges(ranges_data, ranges_count);
	if (ranges == NULL)
		return rp_wire_why_set(why, -ENOSPC, "no memory for %u ranges", ranges_count);
	rc = rp_dma_log_start(server->dma, page_bytes, ranges, ranges_count, why);
	free(ranges);
	return rc;
}

int
rp_vfu_server_set_log_start(struct rp_vfu_server *server, uint8_t *data, uint32_t data_bytes,
			    struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	struct rp_vfu_wire_logging_start start;
	uint32_t ranges_bytes = data_bytes - (uint32_t)sizeof(start);
	int rc;

	(void)reply;
	memcpy(&start, data, sizeof(start));
	if (!is_power_of_two(start.page_size_bytes))
		return rp_wire_why_set(why, -EBADMSG, "page_size: 0x%" PRIx64 ", expected a power of two",
				       start.page_size_bytes);
	if (ranges_bytes % sizeof(struct rp_vfu_wire_logging_range) != 0 ||
	    start.ranges_count != ranges_bytes / sizeof(struct rp_vfu_wire_logging_range))
		return rp_wire_why_set(why, -EBADMSG, "num_ranges: %u, but %u bytes of ranges, %zu each",
				       start.ranges_count, ranges_bytes, sizeof(struct rp_vfu_wire_logging_range));
	if (start.ranges_count > RP_DMA_LOG_RANGES_MAX)
		return rp_wire_why_set(why, -ENOSPC, "num_ranges: %u, expected at most %u", start.ranges_count,
				       RP_DMA_LOG_RANGES_MAX);
	start.page_size_bytes = log_page_of(start.page_size_bytes);
	rc = start_log(server, data + sizeof(start), start.ranges_count, start.page_size_bytes, why);
	if (rc < 0)
		return rc;
	server->log_page_bytes = start.page_size_bytes;
	server->log_is_of_all = start.ranges_count == 0;
	memcpy(data, &start, sizeof(start));
	return 0;
}

int
rp_vfu_server_set_log_stop(struct rp_vfu_server *server, uint8_t *data, uint32_t data_bytes, struct rp_vfu_reply *reply,
			   struct rp_wire_why *why)
{
	(void)data;
	(void)data_bytes;
	(void)reply;
	(void)why;
	rp_dma_log_stop(server->dma);
	return 0;
}

/* What can be wrong with a range that is to be reported. @return 0 with the size of its bitmap. */
static int
check_report(const struct rp_vfu_server *server, const struct rp_vfu_wire_logging_report *report,
	     uint64_t *ret_bitmap_bytes, struct rp_wire_why *why)
{
	uint64_t max_bytes = server->terms.value[RP_VFU_TERM_DATA_XFER];
	uint64_t page_bytes = report->page_size_bytes, bitmap_bytes;

	if (max_bytes > server->terms.value[RP_VFU_TERM_MIG_BITMAP_MAX])
		max_bytes = server->terms.value[RP_VFU_TERM_MIG_BITMAP_MAX];
	if (!rp_dma_log_is_on(server->dma))
		return rp_wire_why_set(why, -EBUSY, "no logging was started");
	if (!is_power_of_two(page_bytes))
		return rp_wire_why_set(why, -EBADMSG, "page_size: 0x%" PRIx64 ", expected a power of two", page_bytes);
	if (report->size_bytes == 0 || report->size_bytes - 1 > UINT64_MAX - report->iova)
		return rp_wire_why_set(why, -EBADMSG, "length: 0x%" PRIx64 " from 0x%" PRIx64 " is empty or wraps",
				       report->size_bytes, report->iova);
	if ((report->iova | report->size_bytes) % page_bytes != 0)
		return rp_wire_why_set(why, -EBADMSG,
				       "length: 0x%" PRIx64 " from 0x%" PRIx64 ", expected pages of 0x%" PRIx64,
				       report->size_bytes, report->iova, page_bytes);
	bitmap_bytes = rp_dma_log_bitmap_bytes(report->size_bytes, page_bytes);
	if (bitmap_bytes > max_bytes)
		return rp_wire_why_set(why, -EMSGSIZE,
				       "length: a bitmap of %" PRIu64 " bytes, expected at most %" PRIu64
				       "; report the range in pieces",
				       bitmap_bytes, max_bytes);
	*ret_bitmap_bytes = bitmap_bytes;
	return 0;
}

static uint64_t
word_at(const uint8_t *bitmap, uint64_t word)
{
	uint64_t value;

	memcpy(&value, bitmap + word * sizeof(value), sizeof(value));
	return value;
}

static bool
is_set(const uint8_t *bitmap, uint64_t bit)
{
	return (word_at(bitmap, bit / WORD_BITS) >> (bit % WORD_BITS) & 1) != 0;
}

static void
set_bits(uint8_t *bitmap, uint64_t first, uint64_t end)
{
	while (first < end) {
		uint64_t count = WORD_BITS - first % WORD_BITS;
		uint64_t value = word_at(bitmap, first / WORD_BITS);

		if (count > end - first)
			count = end - first;
		value |= (UINT64_MAX >> (WORD_BITS - count)) << first % WORD_BITS;
		memcpy(bitmap + first / WORD_BITS * sizeof(value), &value, sizeof(value));
		first += count;
	}
}

/* The log's pages around the range, each bit of theirs repeated for the pages of the client's in it. */
static int
report_smaller(struct rp_vfu_server *server, const struct rp_vfu_wire_logging_report *report, uint8_t *ret_bitmap,
	       struct rp_wire_why *why)
{
	uint64_t log_page = server->log_page_bytes;
	uint64_t end_iova = report->iova + (report->size_bytes - 1);
	uint64_t first_iova = report->iova & ~(log_page - 1), i;
	uint64_t pages_count = (end_iova - first_iova) / log_page + 1;
	uint64_t bitmap_bytes = rp_dma_log_bitmap_bytes(pages_count * log_page, log_page);
	uint8_t *bits = calloc(1, bitmap_bytes);
	int rc;

	if (bits == NULL)
		return rp_wire_why_set(why, -ENOSPC, "no memory for a bitmap");
	rc = rp_dma_log_report(server->dma, first_iova, pages_count * log_page, log_page, bits, bitmap_bytes, why);
	for (i = 0; rc == 0 && i < pages_count; i++) {
		uint64_t page_iova = first_iova + i * log_page;
		uint64_t from = page_iova < report->iova ? report->iova : page_iova;
		uint64_t to = page_iova + (log_page - 1) > end_iova ? end_iova : page_iova + (log_page - 1);

		if (!is_set(bits, i))
			continue;
		set_bits(ret_bitmap, (from - report->iova) / report->page_size_bytes,
			 (to - report->iova) / report->page_size_bytes + 1);
		/* What was cut off of it has not been reported. */
		if (from != page_iova || to != page_iova + (log_page - 1))
			rp_dma_log_mark(server->dma, page_iova, log_page);
	}
	free(bits);
	return rc;
}

/* Checked already. @param ret_bitmap as large as check_report() said. */
static int
report(struct rp_vfu_server *server, const struct rp_vfu_wire_logging_report *range, uint8_t *ret_bitmap,
       uint64_t bitmap_bytes, struct rp_wire_why *why)
{
	uint64_t unwatched_iova = all_end(server->log_page_bytes);
	uint64_t pages_count = range->size_bytes / range->page_size_bytes;
	int rc;

	memset(ret_bitmap, 0, bitmap_bytes);
	if (range->page_size_bytes < server->log_page_bytes)
		rc = report_smaller(server, range, ret_bitmap, why);
	else
		rc = rp_dma_log_report(server->dma, range->iova, range->size_bytes, range->page_size_bytes, ret_bitmap,
				       bitmap_bytes, why);
	if (rc < 0)
		return rc;
	if (server->log_is_of_all && range->iova + (range->size_bytes - 1) >= unwatched_iova)
		set_bits(ret_bitmap,
			 range->iova >= unwatched_iova ? 0 : (unwatched_iova - range->iova) / range->page_size_bytes,
			 pages_count);
	return 0;
}

int
rp_vfu_server_get_log(struct rp_vfu_server *server, struct rp_vfu_feature_get *get, struct rp_vfu_reply *reply,
		      struct rp_wire_why *why)
{
	struct rp_vfu_wire_logging_report range;
	uint64_t bitmap_bytes = 0;
	uint8_t *bitmap;
	int rc;

	memcpy(&range, get->data, sizeof(range));
	rc = check_report(server, &range, &bitmap_bytes, why);
	if (rc < 0)
		return rc;
	get->ret_bytes = (uint32_t)(sizeof(range) + bitmap_bytes);
	if (get->room_bytes < sizeof(range))
		return 0;
	memcpy(reply->fixed + reply->fixed_bytes, &range, sizeof(range));
	reply->fixed_bytes += (uint32_t)sizeof(range);
	if (get->room_bytes < get->ret_bytes)
		return 0;
	bitmap = rp_vfu_server_scratch(server, bitmap_bytes);
	if (bitmap == NULL)
		return rp_wire_why_set(why, -ENOSPC, "no memory for a bitmap");
	rc = report(server, &range, bitmap, bitmap_bytes, why);
	reply->data = bitmap;
	reply->data_bytes = (uint32_t)bitmap_bytes;
	return rc;
}

/* The reply of such an unmap begins as the command did. */
struct dirty_unmap {
	struct rp_vfu_wire_dma_unmap unmap;
	struct rp_vfu_wire_bitmap bitmap;
} __attribute__((packed));
static_assert(sizeof(struct dirty_unmap) <= RP_VFU_REPLY_FIXED_MAX_BYTES, "it waits in the fixed part");

static struct rp_vfu_wire_logging_report
range_of(const struct dirty_unmap *dirty)
{
	return (struct rp_vfu_wire_logging_report){
		.iova = dirty->unmap.iova,
		.size_bytes = dirty->unmap.size_bytes,
		.page_size_bytes = dirty->bitmap.page_size_bytes,
	};
}

int
rp_vfu_server_dirty_unmap_check(const struct rp_vfu_server *server, const struct rp_vfu_msg_view *command,
				struct rp_wire_why *why)
{
	struct rp_vfu_wire_logging_report range;
	struct dirty_unmap dirty;
	uint64_t bitmap_bytes = 0;
	int rc;

	if (!server->dma_logging)
		return rp_wire_why_set(why, -ENOTSUP, "flags: the device does not log what it writes");
	memcpy(&dirty, command->payload, sizeof(dirty));
	range = range_of(&dirty);
	rc = check_report(server, &range, &bitmap_bytes, why);
	if (rc < 0)
		return rc;
	/* What is unmapped cannot be asked for a second time, so nothing is cut off here. */
	if (dirty.bitmap.size_bytes < bitmap_bytes)
		return rp_wire_why_set(why, -EMSGSIZE, "bitmap: %" PRIu64 " bytes, expected at least %" PRIu64,
				       dirty.bitmap.size_bytes, bitmap_bytes);
	if (dirty.unmap.argsz < sizeof(dirty) + bitmap_bytes)
		return rp_wire_why_set(why, -EMSGSIZE, "argsz: %u, expected at least %" PRIu64, dirty.unmap.argsz,
				       sizeof(dirty) + bitmap_bytes);
	return 0;
}

int
rp_vfu_server_dirty_unmap_finish(struct rp_vfu_server *server, struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	struct rp_vfu_wire_logging_report range;
	struct dirty_unmap dirty;
	uint64_t bitmap_bytes = 0;
	uint8_t *bitmap;
	int rc;

	memcpy(&dirty, reply->fixed, sizeof(dirty));
	range = range_of(&dirty);
	rc = check_report(server, &range, &bitmap_bytes, why);
	if (rc < 0)
		return rc;
	bitmap = rp_vfu_server_scratch(server, bitmap_bytes);
	if (bitmap == NULL)
		return rp_wire_why_set(why, -ENOSPC, "no memory for a bitmap; its pages are still logged");
	rc = report(server, &range, bitmap, bitmap_bytes, why);
	dirty.unmap.argsz = (uint32_t)(sizeof(dirty) + bitmap_bytes);
	dirty.bitmap.size_bytes = bitmap_bytes;
	memcpy(reply->fixed, &dirty, sizeof(dirty));
	reply->data = bitmap;
	reply->data_bytes = (uint32_t)bitmap_bytes;
	return rc;
}

void
rp_vfu_server_dirty_drop(struct rp_vfu_server *server)
{
	rp_dma_log_stop(server->dma);
	server->log_is_of_all = false;
}
