/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PACKETS_SIDE_H
#define PACKETS_SIDE_H

#include "bench.h"
#include "packets_frame.h"
#include "packets_ring.h"
#include "rp_accel.h"
#include "rp_vhu_frontend.h"

/*
 * Two guests of one device, as the generator of load sees them: the first one sends, the
 * second one receives. How they are connected differs, what drives their rings does not.
 * Both are in one memory file, of which each knows all.
 *
 * Threads: the generator's.
 */

#define PACKETS_GUESTS 2u
#define PACKETS_SENDER 0u
#define PACKETS_RECEIVER 1u
#define PACKETS_PAIRS_MAX 2u
#define PACKETS_QUEUES_MAX (2u * PACKETS_PAIRS_MAX)
#define PACKETS_RX(pair) (2u * (pair))
#define PACKETS_TX(pair) (2u * (pair) + 1u)
#define PACKETS_SIZES_MAX 16u

struct packets_guest {
	struct packets_ring rings[PACKETS_QUEUES_MAX];
	int kick_fds[PACKETS_QUEUES_MAX], call_fds[PACKETS_QUEUES_MAX];
	uint8_t mac[6];
	struct rp_vhu_frontend *frontend; /* or, passed whole: */
	struct rp_accel accel;
	void *doorbells[PACKETS_QUEUES_MAX]; /* mapped; NULL: the frontend's, or none */
};

/* From the sender's transmit ring to the receiver's receive ring. */
struct packets_flow {
	uint8_t line[PACKETS_FRAME_LINE]; /* of each frame the first, but for its number */
	uint64_t sent, received;
	unsigned int send_size, receive_size; /* which of the load's sizes is next */
};

struct packets_side {
	const struct bench_options *options;
	unsigned int pairs;
	uint64_t features;
	uint8_t parts;
	bool no_switch; /* nobody has to learn where the receiver is */
	bool no_device; /* what arrives was not sent */
	bool forgets; /* what arrived is not left in its buffer */
	int memory_fd;
	uint8_t *reserved, *memory; /* addresses, and the part of them where it is */
	struct packets_guest guests[PACKETS_GUESTS];
	struct packets_flow flows[PACKETS_PAIRS_MAX];
};

/* How a side is made. */
struct packets_shape {
	unsigned int pairs;
	uint64_t features; /* as negotiated: VIRTIO_F_RING_PACKED or not, the rest does not vary */
	uint8_t parts; /* descriptors of a packet */
	uint8_t mac_last; /* the guests' addresses end with it and the next one */
};

#define PACKETS_GPA 0x40000000ull
#define PACKETS_MEMORY_BYTES ((size_t)PACKETS_GUESTS * PACKETS_QUEUES_MAX * PACKETS_RING_BYTES)

/* Memory and rings; nothing is connected yet. Ended by packets_side_close(), also when it failed. */
int packets_side_open(struct packets_side *side, const struct bench_options *options,
		      const struct packets_shape *shape);
/* Frontends and accelerators are gone. */
void packets_side_close(struct packets_side *side);

/* Both guests to whoever listens there as vhost-user backends. @return 0 or a negative errno, after one line on stderr. */
int packets_guests_connect(struct packets_side *side, const char *const *socket_paths);
/* Both guests with whole devices, which serve vfio-user there. As packets_guests_connect(). */
int packets_guests_take(struct packets_side *side, const char *const *socket_paths);
void packets_guest_disconnect(struct packets_guest *guest);
/* Wait until each ring has its doorbell. @return 0 or -ETIMEDOUT. */
int packets_guests_wait_doorbells(struct packets_side *side);

/* The frames to send, in turn; none below PACKETS_FRAME_LINE. */
struct packets_load {
	uint16_t sizes_bytes[PACKETS_SIZES_MAX];
	unsigned int sizes_count;
};

struct packets_result {
	double kpps; /* that the receiver has got, and read */
	double idle_share; /* of its looks, those that found nothing */
};

/* The device learns where the receiver is; room for what is to come is there. @return 0 or a negative errno. */
int packets_load_begin(struct packets_side *side);

/*
 * As many as go, and never more than there is room for. Returns when all that was sent has arrived.
 * @return 0, -EBADMSG (what arrived is not what was sent, or a ring broke a rule), -ETIMEDOUT (packets were lost).
 */
int packets_load_run(struct packets_side *side, const struct packets_load *load, uint64_t duration_ns,
		     struct packets_result *ret_result);

/*
 * Whether what arrives is cleared once it was looked into. Buffers are the same ones again and again: a device that
 * leaves something out is found out by that only, and what is timed is timed without.
 */
void packets_load_forget(struct packets_side *side, bool forgets);

/* Fill the transmit rings, kick, and return: the caller's thread is the device's too. @return how many packets. */
unsigned int packets_load_fill(struct packets_side *side, const struct packets_load *load);
/* Whether all of it has been given to the receiver. */
bool packets_load_has_arrived(const struct packets_side *side);
/* Take what arrived of it. @return how many packets, or a negative errno. */
int packets_load_take(struct packets_side *side, const struct packets_load *load);

#endif
