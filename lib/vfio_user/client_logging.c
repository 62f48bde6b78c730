/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vfu_client.h"

/* Which pages the device writes: DMA logging, another of the device's features. */

#define RANGES_MAX                                                                                                     \
	((RP_VFU_DATA_XFER_MAX_BYTES - sizeof(struct rp_vfu_wire_logging_start)) /                                     \
	 sizeof(struct rp_vfu_wire_logging_range))

int
rp_vfu_client_logging_start(struct rp_vfu_client *client, uint64_t *page_size_bytes,
			    const struct rp_vfu_client_range *ranges, uint32_t ranges_count, struct rp_wire_why *why)
{
	struct rp_vfu_wire_logging_start start = {.page_size_bytes = *page_size_bytes, .ranges_count = ranges_count};
	uint32_t data_bytes = (uint32_t)(sizeof(start) + ranges_count * sizeof(struct rp_vfu_wire_logging_range));
	uint8_t *data;
	uint32_t i;
	int rc;

	if (ranges_count > RANGES_MAX)
		return rp_wire_why_set(why, -EINVAL, "DMA logging: %u ranges, expected at most %zu", ranges_count,
				       RANGES_MAX);
	data = malloc(data_bytes);
	if (data == NULL)
		return rp_wire_why_set(why, -ENOMEM, "DMA logging: no memory");
	memcpy(data, &start, sizeof(start));
	for (i = 0; i < ranges_count; i++) {
		const struct rp_vfu_wire_logging_range range = {ranges[i].iova, ranges[i].size_bytes};

		memcpy(data + sizeof(start) + i * sizeof(range), &range, sizeof(range));
	}
	rc = rp_vfu_client_feature_set(client, RP_VFU_FEATURE_DMA_LOGGING_START, data, data_bytes, why);
	memcpy(&start, data, sizeof(start));
	free(data);
	if (rc < 0)
		return rc;
	if (start.page_size_bytes == 0 || (start.page_size_bytes & (start.page_size_bytes - 1)) != 0)
		return rp_wire_why_set(why, -EBADMSG, "DEVICE_FEATURE: reply: pages of %" PRIu64 " bytes",
				       start.page_size_bytes);
	*page_size_bytes = start.page_size_bytes;
	return 0;
}

int
rp_vfu_client_logging_stop(struct rp_vfu_client *client, struct rp_wire_why *why)
{
	return rp_vfu_client_feature_set(client, RP_VFU_FEATURE_DMA_LOGGING_STOP, NULL, 0, why);
}

/* A piece of a report, from its sending to its reply. */
struct piece {
	struct rp_vfu_call call;
	struct {
		struct rp_vfu_wire_feature feature;
		struct rp_vfu_wire_logging_report report;
	} __attribute__((packed)) asked;
	uint64_t *bits; /* our caller's */
	uint32_t bits_bytes;
	struct rp_vfu_client_done done;
};

static int
judge(const struct piece *piece, struct rp_wire_why *why)
{
	const struct rp_vfu_msg_view *reply = &piece->call.reply;
	const uint32_t want_bytes = (uint32_t)sizeof(piece->asked) + piece->bits_bytes;
	struct rp_vfu_wire_feature feature;

	memcpy(&feature, reply->payload, sizeof(feature));
	if (feature.flags != piece->asked.feature.flags || feature.argsz != want_bytes ||
	    reply->payload_bytes != want_bytes)
		return rp_wire_why_set(
			why, -EBADMSG, "DEVICE_FEATURE: reply: flags 0x%x, argsz %u, %u bytes, expected 0x%x and %u",
			feature.flags, feature.argsz, reply->payload_bytes, piece->asked.feature.flags, want_bytes);
	if (memcmp(reply->payload + sizeof(feature), &piece->asked.report, sizeof(piece->asked.report)) != 0)
		return rp_wire_why_set(why, -EBADMSG, "DEVICE_FEATURE: reply: a report of another range");
	if (rp_vfu_bits_exceed(reply->payload + sizeof(piece->asked), piece->asked.report.size_bytes,
			       piece->asked.report.page_size_bytes))
		return rp_wire_why_set(why, -EBADMSG, "DEVICE_FEATURE: reply: bits behind the range");
	return 0;
}

static void
on_reply(struct rp_vfu_client *client, struct rp_vfu_call *call)
{
	struct piece *piece = call->owner;
	int error = call->error;

	if (error == 0)
		error = judge(piece, &call->why);
	if (error == 0)
		memcpy(piece->bits, call->reply.payload + sizeof(piece->asked), piece->bits_bytes);
	rp_vfu_client_tell(client, &piece->done, error, &call->why);
	free(piece);
}

static int
start_piece(struct rp_vfu_client *client, const struct rp_vfu_bits *bits, uint64_t index, uint64_t *ret_bits,
	    const struct rp_vfu_client_done *done, struct rp_wire_why *why)
{
	struct piece *piece = calloc(1, sizeof(*piece));
	int rc;

	if (piece == NULL)
		return rp_wire_why_set(why, -ENOMEM, "DMA logging: no memory");
	piece->bits = ret_bits + rp_vfu_bits_word(bits, index);
	piece->bits_bytes = rp_vfu_bits_bytes(bits, index);
	piece->done = *done;
	piece->asked.feature.argsz = (uint32_t)sizeof(piece->asked) + piece->bits_bytes;
	piece->asked.feature.flags = RP_VFU_FEATURE_DMA_LOGGING_REPORT | RP_VFU_FEATURE_GET_MASK;
	piece->asked.report = (struct rp_vfu_wire_logging_report){
		.iova = rp_vfu_bits_iova(bits, index),
		.size_bytes = rp_vfu_bits_size(bits, index),
		.page_size_bytes = bits->page_size_bytes,
	};
	piece->call = (struct rp_vfu_call){
		.command = RP_VFU_DEVICE_FEATURE,
		.payload = &piece->asked,
		.payload_bytes = sizeof(piece->asked),
		.arrived = on_reply,
		.owner = piece,
	};
	rc = rp_vfu_client_submit(client, &piece->call, why);
	if (rc < 0)
		free(piece);
	return rc;
}

int
rp_vfu_client_logging_report(struct rp_vfu_client *client, uint64_t iova, uint64_t size_bytes, uint64_t page_size_bytes,
			     uint64_t *ret_bits, struct rp_wire_why *why)
{
	struct rp_vfu_batch batch = {.outstanding = 0};
	const struct rp_vfu_client_done done = rp_vfu_batch_done(&batch);
	struct rp_vfu_bits bits;
	uint64_t deadline_ms = 0, index = 0;
	int rc = rp_vfu_bits_init(&bits, client, iova, size_bytes, page_size_bytes, why);

	if (rc == 0)
		rc = rp_vfu_client_may_wait(client, RP_VFU_DEVICE_FEATURE, why);
	while (rc == 0 && index < bits.pieces_count && batch.error == 0) {
		rc = start_piece(client, &bits, index, ret_bits, &done, why);
		if (rc == 0) {
			batch.outstanding++;
			index++;
			deadline_ms = 0;
		} else if (rc == -EAGAIN) {
			rc = rp_vfu_client_make_room(client, &deadline_ms, why);
		}
	}
	return rp_vfu_batch_wait(client, &batch, rc, why);
}
