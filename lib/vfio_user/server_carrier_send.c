/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "rp_wire_clock.h"
#include "vfu_carrier_parts.h"
#include "vfu_server_iommu.h"
#include "vfu_stream.h"

/* The server's thread: commands out, their data with them or through the window, answers in. */

/* Below that the data is in the message: it costs less than the slot that it would take. */
#define WINDOW_WORTH_BYTES (16u * 1024u)
/* What goes through the window is cut smaller than it needs: one end copies while the other does. */
#define WINDOW_PIECE_BYTES (256u * 1024u)
/* Enough for both ends to be busy; more would only push the window out of their caches. */
#define WINDOW_FLIGHTS_MAX 16u

/* Below that a copy costs less than asking where to read to, or from. */
#define PLACE_FROM_BYTES (16u * 1024u)

/* With the lock; there is a free one. */
static struct rp_vfu_flight *
take_flight(struct rp_vfu_carrier *carrier)
{
	struct rp_vfu_flight *flight;

	do {
		flight = &carrier->flights[carrier->next_flight];
		carrier->next_flight = (carrier->next_flight + 1) % carrier->flights_max;
	} while (flight->open);
	flight->generation++;
	flight->placed = false;
	flight->open = true;
	carrier->flights_count++;
	return flight;
}

static void
release_flight(struct rp_vfu_carrier *carrier, struct rp_vfu_flight *flight)
{
	rp_vfu_carrier_keep_lent(carrier, flight);
	if (flight->window_slot >= 0) {
		rp_vfu_server_window_release(carrier->window, flight->window_slot, flight->count_bytes);
		carrier->window_flights_count--;
	}
	flight->open = false;
	flight->transfer = NULL;
	carrier->flights_count--;
}

static uint8_t *
in_window(const struct rp_vfu_carrier *carrier, const struct rp_vfu_flight *flight)
{
	return carrier->window->bytes + (uint64_t)flight->window_slot * RP_VFU_WINDOW_SLOT_BYTES;
}

static const uint8_t *
begin_lending(void *ctx)
{
	struct rp_vfu_carrier *carrier = ctx;
	const uint8_t *bytes = NULL;

	pthread_mutex_lock(&carrier->lock);
	if (carrier->kept != NULL) {
		bytes = carrier->kept;
	} else if (carrier->lent != NULL) {
		carrier->lending = carrier->lent->transfer;
		bytes = carrier->lent->bytes;
	}
	pthread_mutex_unlock(&carrier->lock);
	return bytes;
}

static void
end_lending(void *ctx)
{
	struct rp_vfu_carrier *carrier = ctx;

	pthread_mutex_lock(&carrier->lock);
	carrier->lending = NULL;
	pthread_cond_broadcast(&carrier->finished);
	pthread_mutex_unlock(&carrier->lock);
}

static void
done_lending(void *ctx)
{
	struct rp_vfu_carrier *carrier = ctx;

	pthread_mutex_lock(&carrier->lock);
	carrier->lent = NULL;
	free(carrier->kept);
	carrier->kept = NULL;
	pthread_mutex_unlock(&carrier->lock);
}

static const struct rp_wire_lender lender = {.begin = begin_lending, .end = end_lending, .done = done_lending};

/* What a command has before its data. */
struct fixed {
	uint8_t bytes[sizeof(struct rp_vfu_wire_window_access) + sizeof(struct rp_vfu_wire_pasid)];
	uint32_t count_bytes;
};

static struct fixed
fixed_of(const struct rp_vfu_flight *flight)
{
	struct rp_vfu_wire_window_access access = {.iova = flight->iova, .count_bytes = flight->count_bytes};
	const struct rp_vfu_wire_pasid pasid = {.pasid = flight->pasid, .flags = RP_VFU_IOMMU_PASID_MASK};
	bool windowed = flight->window_slot >= 0;
	struct fixed fixed = {.count_bytes = windowed ? sizeof(access) : sizeof(struct rp_vfu_wire_dma_access)};

	if (windowed)
		access.window_offset_bytes = (uint64_t)flight->window_slot * RP_VFU_WINDOW_SLOT_BYTES;
	memcpy(fixed.bytes, &access, fixed.count_bytes);
	if (flight->pasid != RP_VFU_NO_PASID) {
		memcpy(fixed.bytes + fixed.count_bytes, &pasid, sizeof(pasid));
		fixed.count_bytes += (uint32_t)sizeof(pasid);
	}
	return fixed;
}

/* With the lock; the connection has no output waiting. */
static int
send_flight(struct rp_vfu_carrier *carrier, struct rp_wire_conn *conn, const struct rp_vfu_flight *flight)
{
	bool windowed = flight->window_slot >= 0;
	uint32_t data_bytes = flight->write && !windowed ? flight->count_bytes : 0;
	struct fixed fixed = fixed_of(flight);
	struct rp_vfu_header header = {
		.id = (uint16_t)((unsigned int)(flight - carrier->flights) | (unsigned int)flight->generation << 8),
		.command = rp_vfu_flight_command(flight),
		.size_bytes = (uint32_t)sizeof(header) + fixed.count_bytes + data_bytes,
		.flags = RP_VFU_TYPE_COMMAND,
	};
	struct iovec iov[] = {
		{.iov_base = &header, .iov_len = sizeof(header)},
		{.iov_base = fixed.bytes, .iov_len = fixed.count_bytes},
		{.iov_base = flight->bytes, .iov_len = data_bytes},
	};
	int rc;

	if (windowed && flight->write)
		rp_vfu_stream_out(in_window(carrier, flight), flight->bytes, flight->count_bytes);
	if (data_bytes >= PLACE_FROM_BYTES) {
		rc = rp_wire_conn_send_lent(conn, iov, 3, &lender, carrier);
		if (rc == 1)
			carrier->lent = flight;
		return rc < 0 ? rc : 0;
	}
	rc = rp_wire_conn_send(conn, iov, data_bytes > 0 ? 3 : 2, NULL, 0);
	/* The client copies it while we copy the next. */
	return rc == 0 && windowed && flight->write ? rp_wire_conn_push(conn) : rc;
}

static uint32_t
smaller(uint64_t bytes, uint64_t limit_bytes)
{
	return (uint32_t)(bytes < limit_bytes ? bytes : limit_bytes);
}

/* The client copies the end of a write while we have nothing left to do: the last pieces halve. */
static uint64_t
window_piece(const struct rp_dma_transfer *transfer, uint64_t left_bytes)
{
	uint64_t slots = (left_bytes / 2 + RP_VFU_WINDOW_SLOT_BYTES - 1) / RP_VFU_WINDOW_SLOT_BYTES;

	if (!transfer->write || TAILQ_NEXT(transfer, link) != NULL || left_bytes > 2 * WINDOW_PIECE_BYTES)
		return WINDOW_PIECE_BYTES;
	return slots * RP_VFU_WINDOW_SLOT_BYTES;
}

/* How much the next command carries, and where. A full window is no reason to wait. */
static void
choose_way(struct rp_vfu_carrier *carrier, struct rp_vfu_flight *flight, uint64_t left_bytes)
{
	flight->window_slot = -1;
	if (carrier->window != NULL && left_bytes >= WINDOW_WORTH_BYTES) {
		flight->count_bytes = smaller(left_bytes, window_piece(flight->transfer, left_bytes));
		flight->window_slot = rp_vfu_server_window_take(carrier->window, flight->count_bytes);
		carrier->window_flights_count += flight->window_slot >= 0;
	}
	if (flight->window_slot < 0)
		flight->count_bytes = smaller(left_bytes, carrier->message_bytes_max);
}

/* With the lock: send the next command of the first transfer that waits. */
static int
send_next(struct rp_vfu_carrier *carrier, struct rp_wire_conn *conn, uint64_t deadline_ms)
{
	struct rp_dma_transfer *transfer = TAILQ_FIRST(&carrier->waiting);
	uint64_t left_bytes = transfer->size_bytes - transfer->sent_bytes;
	struct rp_vfu_flight *flight = take_flight(carrier);
	int rc;

	flight->transfer = transfer;
	flight->write = transfer->write;
	flight->pasid = transfer->carrier_data == NULL ? RP_VFU_NO_PASID :
							 ((struct rp_vfu_pasid *)transfer->carrier_data)->pasid;
	flight->iova = transfer->iova + transfer->sent_bytes;
	flight->bytes = (uint8_t *)transfer->bytes + transfer->sent_bytes;
	choose_way(carrier, flight, left_bytes);
	flight->deadline_ms = deadline_ms;
	rc = send_flight(carrier, conn, flight);
	if (rc < 0) {
		release_flight(carrier, flight);
		return rc;
	}
	transfer->in_flight_count++;
	transfer->sent_bytes += flight->count_bytes;
	if (transfer->sent_bytes == transfer->size_bytes) {
		TAILQ_REMOVE(&carrier->waiting, transfer, link);
		TAILQ_INSERT_TAIL(&carrier->sent, transfer, link);
	}
	return 0;
}

/* With the lock. */
static bool
may_send(const struct rp_vfu_carrier *carrier, const struct rp_wire_conn *conn)
{
	return !TAILQ_EMPTY(&carrier->waiting) && carrier->flights_count < carrier->flights_max &&
	       carrier->window_flights_count < WINDOW_FLIGHTS_MAX && (rp_wire_conn_poll_events(conn) & POLLOUT) == 0;
}

int
rp_vfu_carrier_pump(struct rp_vfu_carrier *carrier, struct rp_wire_conn *conn, struct rp_wire_why *why)
{
	int rc = 0, sent;

	/* They leave together, and wake the client once. */
	rp_wire_conn_cork(conn);
	pthread_mutex_lock(&carrier->lock);
	if (!TAILQ_EMPTY(&carrier->waiting)) {
		uint64_t deadline_ms = rp_wire_clock_ms() + carrier->timeout_ms;

		while (rc == 0 && may_send(carrier, conn))
			rc = send_next(carrier, conn, deadline_ms);
	}
	pthread_mutex_unlock(&carrier->lock);
	sent = rp_wire_conn_uncork(conn);
	if (rc == -ENOTCONN || sent == -ENOTCONN)
		return rp_wire_why_set(why, -ENOTCONN, "peer left before a command for its memory");
	return 0; /* no room now: the next turn tries again */
}

static struct rp_vfu_flight *
find_flight(struct rp_vfu_carrier *carrier, const struct rp_vfu_header *header)
{
	unsigned int place = header->id & 0xffu;
	struct rp_vfu_flight *flight = &carrier->flights[place];

	if (place >= carrier->flights_max || !flight->open || flight->generation != header->id >> 8 ||
	    header->command != rp_vfu_flight_command(flight))
		return NULL;
	return flight;
}

static uint8_t *
begin_placing(void *ctx, const void *bytes, size_t payload_bytes)
{
	struct rp_vfu_carrier *carrier = ctx;
	struct rp_vfu_header header;
	struct rp_vfu_flight *flight;
	uint8_t *place = NULL;

	memcpy(&header, bytes, sizeof(header));
	if ((header.flags & (RP_VFU_TYPE_MASK | RP_VFU_FLAG_ERROR)) != RP_VFU_TYPE_REPLY)
		return NULL;
	pthread_mutex_lock(&carrier->lock);
	flight = find_flight(carrier, &header);
	if (flight != NULL && flight->transfer != NULL && !flight->write && flight->window_slot < 0 &&
	    payload_bytes == sizeof(struct rp_vfu_wire_dma_access) + flight->count_bytes) {
		flight->placed = true;
		carrier->placing = flight->transfer;
		place = flight->bytes;
	}
	pthread_mutex_unlock(&carrier->lock);
	return place;
}

static void
end_placing(void *ctx)
{
	struct rp_vfu_carrier *carrier = ctx;

	pthread_mutex_lock(&carrier->lock);
	carrier->placing = NULL;
	pthread_cond_broadcast(&carrier->finished);
	pthread_mutex_unlock(&carrier->lock);
}

const struct rp_wire_placer rp_vfu_carrier_placer = {
	.head_bytes = sizeof(struct rp_vfu_wire_dma_access),
	.payload_min_bytes = PLACE_FROM_BYTES,
	.begin = begin_placing,
	.end = end_placing,
};

/* With the lock. */
static void
settle(struct rp_vfu_carrier *carrier, struct rp_dma_transfer *transfer, uint32_t count_bytes, int error)
{
	bool all_sent = transfer->sent_bytes == transfer->size_bytes;

	transfer->in_flight_count--;
	transfer->answered_bytes += count_bytes;
	if (transfer->error == 0 && error != 0) {
		transfer->error = error;
		/* Its rest is not worth sending. */
		if (!all_sent) {
			TAILQ_REMOVE(&carrier->waiting, transfer, link);
			TAILQ_INSERT_TAIL(&carrier->sent, transfer, link);
			transfer->sent_bytes = transfer->size_bytes;
			all_sent = true;
		}
	}
	if (!all_sent || transfer->in_flight_count > 0)
		return;
	TAILQ_REMOVE(&carrier->sent, transfer, link);
	rp_vfu_carrier_finish(carrier, transfer, transfer->error);
}

/* With the lock. */
static void
take_data(const struct rp_vfu_carrier *carrier, const struct rp_vfu_flight *flight, const struct rp_vfu_msg_view *reply)
{
	if (flight->window_slot >= 0)
		rp_vfu_stream_in(flight->bytes, in_window(carrier, flight), flight->count_bytes);
	else if (!flight->placed)
		memcpy(flight->bytes, reply->payload + sizeof(struct rp_vfu_wire_dma_access), flight->count_bytes);
}

int
rp_vfu_carrier_reply(struct rp_vfu_carrier *carrier, const struct rp_vfu_msg_view *reply, struct rp_wire_why *why)
{
	struct rp_vfu_flight *flight;
	int error, rc;

	pthread_mutex_lock(&carrier->lock);
	flight = find_flight(carrier, &reply->header);
	if (flight == NULL) {
		pthread_mutex_unlock(&carrier->lock);
		return -ENOENT;
	}
	rc = rp_vfu_flight_judge(flight, reply, &error, why);
	if (rc == 0) {
		struct rp_dma_transfer *transfer = flight->transfer;

		if (transfer != NULL && error == 0 && !flight->write)
			take_data(carrier, flight, reply);
		release_flight(carrier, flight);
		if (transfer != NULL)
			settle(carrier, transfer, flight->count_bytes, error);
	}
	pthread_mutex_unlock(&carrier->lock);
	return rc;
}
