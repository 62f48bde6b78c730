/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_CARRIER_PARTS_H
#define VFU_CARRIER_PARTS_H

#include <pthread.h>

#include "vfu_carrier.h"
#include "vfu_flight.h"
#include "vfu_waker.h"

/* What the two files of the carrier share: server_carrier.c has the transfers, server_carrier_send.c the socket. */

TAILQ_HEAD(rp_vfu_transfers, rp_dma_transfer);

struct rp_vfu_carrier {
	pthread_mutex_t lock; /* of everything below but what is said to be constant */
	pthread_cond_t finished;
	struct rp_vfu_waker waker; /* has its own */
	unsigned int flights_max; /* constant */
	uint32_t timeout_ms; /* constant */
	bool open;
	uint64_t message_bytes_max;
	struct rp_vfu_server_window *window; /* NULL: none */
	struct rp_vfu_transfers waiting; /* with bytes to send */
	struct rp_vfu_transfers sent;
	const struct rp_dma_transfer *finishing; /* its finished() runs */
	const struct rp_dma_transfer *placing; /* an answer is being read into its bytes */
	const struct rp_dma_transfer *lending; /* its bytes are being written to the socket */
	const struct rp_vfu_flight *lent; /* a part of its bytes has not left yet */
	uint8_t *kept; /* a copy of them: the transfer has ended since */
	pthread_t finisher;
	unsigned int flights_count; /* open ones */
	unsigned int window_flights_count; /* of them */
	unsigned int next_flight;
	struct rp_vfu_flight flights[];
};

/* With the lock, which is given up meanwhile; the transfer is on no list. */
void rp_vfu_carrier_finish(struct rp_vfu_carrier *carrier, struct rp_dma_transfer *transfer, int error);

/* With the lock: a flight's bytes go back to their owner, but what has begun to leave must leave. */
void rp_vfu_carrier_keep_lent(struct rp_vfu_carrier *carrier, const struct rp_vfu_flight *flight);

#endif
