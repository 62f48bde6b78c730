/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_RING_H
#define SA_RING_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "rp_vring_dev.h"
#include "rp_wire_caller.h"
#include "sa_copy.h"
#include "sa_held.h"
#include "sa_watch.h"
#include "softaccel.h"

/**
 * @file
 * One virtqueue as the data path serves it.
 *
 * Theory of operation: a ring is *asleep* until its doorbell or its eventfd was
 * seen; while it sleeps its memory is not looked at, as hardware would not, but for a
 * doorbell that it shares (sa_bell.h). A
 * transmit ring falls asleep when it was found empty for SA_RING_EMPTY_LOOKS times,
 * a receive ring when a packet found no buffer; both ask for a kick first, and look
 * once more.
 *
 * A ring may stand for one that the data path cannot reach (sa_courier.h): then the
 * doorbell is the guest's and wakes the courier, everything else is the courier's.
 *
 * Used entries are filled as the work is done and published together
 * (sa_ring_flush), with at most one interrupt.
 *
 * Threads: the data path while the ring runs; the control side before and after
 * that, and with the gate closed. Counters and state may be read by any thread.
 */

struct sa_port;
struct sa_bell;

struct sa_ring {
	struct rp_vring_dev vring;
	enum softaccel_queue_state state; /* atomic; the data path only goes from RUNNING to BROKEN */
	bool transmits; /* from the guest into the switch */
	bool mergeable; /* VIRTIO_NET_F_MRG_RXBUF */
	bool guest_csum; /* VIRTIO_NET_F_GUEST_CSUM */
	bool csum; /* VIRTIO_NET_F_CSUM */
	bool awake;
	bool dirty; /* is in the list of rings to flush */
	bool interrupt_owed; /* the driver wanted one: no eventfd was attached, or it could not be signalled */
	uint16_t unpublished_count; /* taken and filled, but not published */
	uint16_t empty_looks; /* of a transmit ring, in a row */
	uint32_t position; /* atomic: where the ring stood at the last flush */
	uint32_t *doorbell;
	struct sa_bell *bell; /* it is that of other rings too; NULL: it is not */
	bool running; /* the data path has the ring */
	bool unheard; /* with bell: it may have been rung while the data path did not */
	struct sa_watch watch; /* of the doorbell */
	const uint64_t *now_ms; /* borrowed: the data path's clock */
	const char *far_why; /* broken, but only because it may have to be carried; NULL: no */
	bool missed; /* that, because the translation of an address is not known: */
	uint64_t missed_iova;
	uint32_t missed_access_mask;
	bool carried; /* it stands for another: the doorbell wakes the courier */
	int courier_fd; /* borrowed; if carried */
	bool rung; /* atomic: the doorbell was, for the courier */
	int kick_fd; /* borrowed */
	int said_fd; /* borrowed: the kicks that came by message; -1: they go elsewhere */
	int call_fd; /* borrowed; -1: none */
	struct rp_wire_caller *caller; /* borrowed: the data path's */
	int notice_fd; /* borrowed: tells the control side that it broke */
	int node; /* of its memory; -1: nobody knows, or there is one */
	uint32_t order; /* among its port's receive rings */
	struct sa_port *port;
	struct sa_held held; /* of a receive ring */
	struct softaccel_queue_counters counters; /* atomic words */
};

/** What the functions below need besides a ring; one for each data path. */
struct sa_ring_scratch {
	struct rp_vring_chain chain; /* too large for the stack */
	struct rte_mempool *pool;
	sa_copy_fn copy; /* of payload */
};

/** One packet takes at most this many chains: a frame in buffers of 64 bytes. */
#define SA_RING_FRAME_CHAINS 64u

/** Looks at a transmit ring that was served a moment ago, before it falls asleep. */
#define SA_RING_EMPTY_LOOKS 32u

/** Frames of one transmit burst. */
#define SA_BURST 32u

static inline void
sa_count(uint64_t *counter, uint64_t more)
{
	/* One writer; readers on other threads only need whole words. */
	__atomic_store_n(counter, *counter + more, __ATOMIC_RELAXED);
}

/** Copy a structure of counters, each a whole word, in any thread. */
static inline void
sa_counters_copy(const void *counters, void *ret_counters, size_t size_bytes)
{
	const uint64_t *from = counters;
	uint64_t *to = ret_counters;
	size_t i;

	for (i = 0; i < size_bytes / sizeof(*from); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

static inline enum softaccel_queue_state
sa_ring_state(const struct sa_ring *ring)
{
	return __atomic_load_n(&ring->state, __ATOMIC_ACQUIRE);
}

/** Look at the doorbell word; a ring that was rung wakes. @return whether it was rung. */
bool sa_ring_observe(struct sa_ring *ring);
/** As if its doorbell had been rung. */
void sa_ring_rung(struct sa_ring *ring);
/**
 * The doorbell that it shares was rung (sa_bell.h): wake if the ring was meant, or if there is something on it.
 * @param named with its number. @return whether it was kicked, as far as can be seen.
 */
bool sa_ring_heard(struct sa_ring *ring, bool named);
/** Judge whether the doorbell is worth looking at. @return whether the ring was taken as kicked for it. */
bool sa_ring_judge(struct sa_ring *ring);
/** One of the eventfds of its kicks is readable. */
void sa_ring_kicked(struct sa_ring *ring);

/**
 * Take what the guest sent.
 * @param ret_mbufs room for max_count; the caller owns what is returned.
 * @param max_count chains to take, 1 to SA_BURST.
 * @return how many.
 */
unsigned int sa_ring_transmit(struct sa_ring *ring, struct sa_ring_scratch *scratch, struct rte_mbuf **ret_mbufs,
			      unsigned int max_count);

/**
 * Copy a packet into the guest's buffers. The mbuf stays the caller's; its
 * checksum may have been completed.
 * @return -1: delivered (publish with sa_ring_flush()), else why not (enum softaccel_drop).
 */
int sa_ring_receive(struct sa_ring *ring, struct sa_ring_scratch *scratch, struct rte_mbuf *mbuf);

/**
 * The same for many, as long as each fits into the next chain, which is the rule; what does not,
 * and what finds no chain, is for sa_ring_receive(), which knows why.
 * @return how many of the first were delivered.
 */
unsigned int sa_ring_receive_burst(struct sa_ring *ring, struct sa_ring_scratch *scratch, struct rte_mbuf **mbufs,
				   unsigned int count);

/** Publish what is filled and interrupt if the driver wants it, or wanted it when it could not be. */
void sa_ring_flush(struct sa_ring *ring);

/** Attach another call eventfd; an interrupt that was owed goes out. */
void sa_ring_set_call(struct sa_ring *ring, int call_fd);

/** The ring broke a rule: it is not touched any more. */
void sa_ring_break(struct sa_ring *ring);

/** Fall asleep, having asked for a kick. @return false: something came meanwhile, still awake. */
bool sa_ring_try_sleep(struct sa_ring *ring);

/**
 * A transmit ring was found empty: fall asleep if that is so for long enough that the
 * guest's kick costs less than the looks. @return false: look at it again.
 */
bool sa_ring_found_empty(struct sa_ring *ring);

/** Leave the ring as its next owner expects it: notifications wanted. @return where it goes on. */
uint32_t sa_ring_release(struct sa_ring *ring);

#endif
