/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STATION_H
#define STATION_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "rp_vhu_frontend.h"
#include "rp_vring_drv.h"

/*
 * A VMM and its guest without a machine. Two threads share it: the VMM's, which speaks
 * vhost-user, and the driver's, which fills and empties rings. What both touch is
 * under `lock` (rings), or under a queue's `doorbell_lock`.
 */

#define STATION_QUEUES_MAX 8u
#define STATION_RING_NUM 256u
#define STATION_HEADER_BYTES 12u /* struct virtio_net_hdr_v1 */
#define STATION_COUNT_AT 10u /* in it: how many buffers the frame is in */
#define STATION_SMALL_BYTES 600u /* of a buffer that takes a part of a frame only */
#define STATION_BUFFER_BYTES 2048u
#define STATION_GPA 0x40000000ull
#define STATION_PLUGGED_GPA 0x4000000000ull /* where a region is plugged in */

struct station_queue {
	struct rp_vring_drv *ring;
	int kick_fd;
	int call_fds[2];
	unsigned int call_now; /* which of them the backend has */
	pthread_mutex_t doorbell_lock;
	volatile uint16_t *doorbell; /* under doorbell_lock; NULL: the eventfd */
	uint64_t doorbell_kicks;
	uint64_t eventfd_kicks;
	bool started;
	bool awake; /* told, and not yet found empty: a driver looks at no other ring */
	uint64_t used_total; /* chains that came back, since the ring was laid out */
	uint16_t free_buffers[STATION_RING_NUM];
	uint16_t free_count;
	uint16_t out_fifo[STATION_RING_NUM]; /* buffers that are out, in the order of availability */
	uint16_t out_head, out_count;
	uint8_t written[STATION_RING_NUM]; /* receive: the buffer was written since the flag was cleared */
	uint8_t away[STATION_RING_NUM]; /* transmit: the buffer is in the plugged region */
	unsigned int away_count; /* of those that are out */
	uint8_t frame[STATION_HEADER_BYTES + STATION_BUFFER_BYTES]; /* receive: as far as it came */
	uint32_t frame_bytes;
	unsigned int parts_due; /* of it, 0: the next buffer begins another */
};

/* What a VMM and a driver are free in. */
struct station_options {
	uint64_t features; /* to take of what is offered */
	bool replies; /* every request is to be answered, as QEMU 11 wants it */
	bool indirect; /* what is sent is in a table */
	bool small_buffers; /* a large frame takes several (VIRTIO_NET_F_MRG_RXBUF) */
	bool listens; /* the backend connects */
};

struct station {
	const char *name;
	struct rp_vhu_frontend *frontend;
	pthread_mutex_t lock;
	unsigned int queues_count;
	uint64_t features;
	int memory_fd;
	uint8_t *memory;
	uint64_t memory_bytes;
	uint8_t *plugged; /* a further region; NULL: none */
	bool plugged_used; /* what is sent is sent from there */
	int plugged_fd;
	struct station_queue queues[STATION_QUEUES_MAX];
	struct station_options options;
	bool logging; /* rings are started with the log's flag */
	uint64_t interrupts;
};

/* Connect, or be connected to, negotiate, memory, rings (not started). */
void station_open(struct station *station, const char *name, const char *socket_path, unsigned int queues_count,
		  const struct station_options *options);
void station_close(struct station *station);

/* Every waiting call of this file ends the program when it fails. */
void station_start(struct station *station, unsigned int queue, uint32_t base);
uint32_t station_stop(struct station *station, unsigned int queue);
void station_enable(struct station *station, unsigned int queue, bool enabled);
void station_start_all(struct station *station);
void station_set_memory(struct station *station);
/* New memory and rings at their beginning; the old ones are gone. All queues are stopped. */
void station_renew(struct station *station);
void station_plug(struct station *station, bool plugged);
/* Another eventfd for interrupts. */
void station_swap_call(struct station *station, unsigned int queue);
/* The VMM is gone without a word, and another one comes; memory and rings are as they were, and none is started. */
void station_reconnect(struct station *station, const char *socket_path);
/* Where a queue's ring begins and how it is told to a backend. */
struct rp_vhu_frontend_ring station_ring(struct station *station, unsigned int queue, uint32_t base);
/* Where a drained ring stands, as the driver's side has it. Under lock, with nothing used left to take. */
uint32_t station_position(const struct station *station, unsigned int queue);

/* The driver's side, under lock. */
uint8_t *station_buffer(struct station *station, unsigned int queue, uint16_t buffer);
uint64_t station_buffer_gpa(const struct station *station, unsigned int queue, uint16_t buffer);
void station_fill(struct station *station, unsigned int queue); /* all free buffers, to receive */
/* A buffer for a frame to send, or NULL; then send it. */
uint8_t *station_frame(struct station *station, unsigned int queue);
void station_send(struct station *station, unsigned int queue, uint32_t size_bytes);
/* The next frame, or NULL; it is valid until the next call. Its buffers are free. */
const uint8_t *station_take(struct station *station, unsigned int queue, uint32_t *ret_bytes);
/* Buffers of sent frames come back; how many. */
unsigned int station_reap(struct station *station, unsigned int queue);
void station_kick_if_wanted(struct station *station, unsigned int queue);
void station_kick(struct station *station, unsigned int queue);

#endif
