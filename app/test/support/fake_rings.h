/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FAKE_RINGS_H
#define FAKE_RINGS_H

#include "rp_accel.h"
#include "rp_dma.h"

/*
 * The rings of the fake accelerator, when it serves them: a network card whose cable
 * ends in itself. What is sent on a pair's tx ring arrives on its rx ring. It looks at a
 * ring only when it was kicked, by a call or by a store to its doorbell page, and as
 * long as it finds something there: a kick that is lost is a test that hangs.
 */

struct fake_ring;

/* Under the fake's lock, all of them. */
struct fake_ring *fake_ring_open(const struct rp_accel_queue_config *config, uint64_t features,
				 struct rp_dma_reader *reader);
struct fake_ring *fake_ring_close(struct fake_ring *ring);
uint32_t fake_ring_position(const struct fake_ring *ring);
void fake_ring_kick(struct fake_ring *ring);

struct fake_accel_queue;

/* Once over a pair, by somebody else's hand and under his lock: what is sent is received. */
void fake_rings_loop(struct fake_accel_queue *rx, struct fake_accel_queue *tx);

/* The device's thread. */
void fake_rings_run(void);
void fake_rings_end(void);

#endif
