/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>
#include <sys/eventfd.h>

#include "storm.h"

#define QUEUE_BYTES 0x100000ull
#define RING_ROOM_BYTES 0x10000u
#define TABLES_AT 0xc000u /* in the room of a ring */

static uint64_t
buffer_offset(unsigned int queue, uint16_t buffer)
{
	return queue * QUEUE_BYTES + RING_ROOM_BYTES + (uint64_t)buffer * STATION_BUFFER_BYTES;
}

static uint64_t
away_offset(unsigned int queue, uint16_t buffer)
{
	return (queue / 2 * STATION_RING_NUM + buffer) * (uint64_t)STATION_BUFFER_BYTES;
}

uint8_t *
station_buffer(struct station *station, unsigned int queue, uint16_t buffer)
{
	if (station->queues[queue].away[buffer])
		return station->plugged + away_offset(queue, buffer);
	return station->memory + buffer_offset(queue, buffer);
}

uint64_t
station_buffer_gpa(const struct station *station, unsigned int queue, uint16_t buffer)
{
	if (station->queues[queue].away[buffer])
		return STATION_PLUGGED_GPA + away_offset(queue, buffer);
	return STATION_GPA + buffer_offset(queue, buffer);
}

void
station_kick(struct station *station, unsigned int index)
{
	struct station_queue *queue = &station->queues[index];

	pthread_mutex_lock(&queue->doorbell_lock);
	if (queue->doorbell != NULL) {
		*queue->doorbell = (uint16_t)index;
		queue->doorbell_kicks++;
	} else {
		eventfd_write(queue->kick_fd, 1);
		queue->eventfd_kicks++;
	}
	pthread_mutex_unlock(&queue->doorbell_lock);
}

void
station_kick_if_wanted(struct station *station, unsigned int queue)
{
	if (rp_vring_drv_needs_kick(station->queues[queue].ring))
		station_kick(station, queue);
}

static int
add_table(struct station *station, unsigned int index, uint16_t buffer, const struct rp_vring_part *whole)
{
	uint64_t table = index * QUEUE_BYTES + TABLES_AT + buffer * RP_VRING_TABLE_BYTES(2);
	const struct rp_vring_part parts[2] = {
		{.iova = whole->iova, .size_bytes = STATION_HEADER_BYTES},
		{.iova = whole->iova + STATION_HEADER_BYTES, .size_bytes = whole->size_bytes - STATION_HEADER_BYTES},
	};

	return rp_vring_drv_add_indirect(station->queues[index].ring, parts, 2, station->memory + table,
					 STATION_GPA + table, (void *)(uintptr_t)(buffer + 1u));
}

static void
add(struct station *station, unsigned int index, uint16_t buffer, uint32_t size_bytes, bool device_writes)
{
	struct station_queue *queue = &station->queues[index];
	struct rp_vring_part part = {
		.iova = station_buffer_gpa(station, index, buffer),
		.size_bytes = size_bytes,
		.device_writes = device_writes,
	};
	int rc;

	if (station->options.indirect && !device_writes)
		rc = add_table(station, index, buffer, &part);
	else
		rc = rp_vring_drv_add(queue->ring, &part, 1, (void *)(uintptr_t)(buffer + 1u));
	/* As many buffers as descriptors. */
	if (rc < 0)
		storm_die("%s: queue %u: a ring without room for its buffers", station->name, index);
	queue->out_fifo[(queue->out_head + queue->out_count++) % STATION_RING_NUM] = buffer;
}

void
station_fill(struct station *station, unsigned int index)
{
	struct station_queue *queue = &station->queues[index];

	while (queue->free_count > 0)
		add(station, index, queue->free_buffers[--queue->free_count],
		    station->options.small_buffers ? STATION_SMALL_BYTES : STATION_BUFFER_BYTES, true);
	station_kick_if_wanted(station, index);
}

uint8_t *
station_frame(struct station *station, unsigned int index)
{
	struct station_queue *queue = &station->queues[index];
	uint8_t *at;

	if (queue->free_count == 0)
		return NULL;
	queue->away[queue->free_buffers[queue->free_count - 1]] = station->plugged_used;
	at = station_buffer(station, index, queue->free_buffers[queue->free_count - 1]);
	memset(at, 0, STATION_HEADER_BYTES);
	return at + STATION_HEADER_BYTES;
}

void
station_send(struct station *station, unsigned int index, uint32_t size_bytes)
{
	struct station_queue *queue = &station->queues[index];

	queue->away_count += queue->away[queue->free_buffers[queue->free_count - 1]];
	add(station, index, queue->free_buffers[--queue->free_count], STATION_HEADER_BYTES + size_bytes, false);
}

/* The next used chain must be the one that was made available first: each of our devices keeps the order. */
static bool
get(struct station *station, unsigned int index, uint16_t *ret_buffer, uint32_t *ret_bytes)
{
	struct station_queue *queue = &station->queues[index];
	uint32_t written = 0;
	void *cookie = NULL;
	int rc = rp_vring_drv_get(queue->ring, &cookie, &written);

	if (rc == 0)
		return false;
	if (rc < 0)
		storm_die("%s: queue %u: the used ring is broken after %llu chains: %d", station->name, index,
			  (unsigned long long)queue->used_total, rc);
	*ret_buffer = (uint16_t)((uintptr_t)cookie - 1);
	*ret_bytes = written;
	if (queue->out_fifo[queue->out_head] != *ret_buffer)
		storm_die("%s: queue %u: chain %llu came back out of order", station->name, index,
			  (unsigned long long)queue->used_total);
	queue->out_head = (queue->out_head + 1) % STATION_RING_NUM;
	queue->out_count--;
	queue->used_total++;
	return true;
}

static void
begin_frame(struct station_queue *queue, const uint8_t *bytes, uint32_t written)
{
	uint16_t parts;

	memcpy(&parts, bytes + STATION_COUNT_AT, sizeof(parts));
	queue->parts_due = written >= STATION_HEADER_BYTES && parts > 0 ? parts : 1;
	queue->frame_bytes = 0;
}

static void give(struct station *station, unsigned int index, uint16_t buffer);

/* A frame may be in several buffers; all of them were used when its first one was, whoever did it. */
const uint8_t *
station_take(struct station *station, unsigned int index, uint32_t *ret_bytes)
{
	struct station_queue *queue = &station->queues[index];
	uint32_t written;
	uint16_t buffer;

	while (get(station, index, &buffer, &written)) {
		const uint8_t *bytes = station_buffer(station, index, buffer);

		if (queue->parts_due == 0)
			begin_frame(queue, bytes, written);
		if (written > sizeof(queue->frame) - queue->frame_bytes)
			written = (uint32_t)sizeof(queue->frame) - queue->frame_bytes;
		memcpy(queue->frame + queue->frame_bytes, bytes, written);
		queue->frame_bytes += written;
		queue->written[buffer] = 1;
		give(station, index, buffer);
		if (--queue->parts_due > 0)
			continue;
		*ret_bytes = queue->frame_bytes > STATION_HEADER_BYTES ? queue->frame_bytes - STATION_HEADER_BYTES : 0;
		return queue->frame + STATION_HEADER_BYTES;
	}
	return NULL;
}

static void
give(struct station *station, unsigned int index, uint16_t buffer)
{
	struct station_queue *queue = &station->queues[index];

	queue->away_count -= queue->away[buffer];
	queue->away[buffer] = 0;
	queue->free_buffers[queue->free_count++] = buffer;
}

unsigned int
station_reap(struct station *station, unsigned int index)
{
	unsigned int reaped = 0;
	uint16_t buffer;
	uint32_t written;

	while (get(station, index, &buffer, &written)) {
		give(station, index, buffer);
		reaped++;
	}
	return reaped;
}
