/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FAKE_ACCEL_H
#define FAKE_ACCEL_H

#include "rp_accel_iommu.h"
#include "test_support.h"

/*
 * An accelerator that serves nothing, or loops back what is sent (fake_rings.h),
 * remembers everything, and fails on demand:
 * for faults that no real part can be made to show. Two devices at a time.
 */

#define FAKE_ACCEL_QUEUES 4
#define FAKE_ACCEL_DEVICES 2 /* opened while the first is: the second, whose queues follow the first's */

#define FAKE_ACCEL_BAR 4u
#define FAKE_ACCEL_BAR_BYTES (FAKE_ACCEL_DEVICES * FAKE_ACCEL_QUEUES * 4096u)

struct fake_ring;

struct fake_accel_queue {
	bool running;
	struct fake_ring *ring; /* with serves: what it works on */
	struct rp_accel_queue_config config; /* of the last start; call_fd is not kept */
	int call_fd; /* a duplicate of what was wired */
	unsigned int starts, stops, kicks, calls;
	bool prepared; /* as `said` has it, but for the position */
	struct rp_accel_queue_config said;
	unsigned int forgets, starts_prepared;
	uint32_t position; /* what a stop answers */
	bool woken; /* with has_wishes: it would rather be */
	enum {
		FAKE_TOLD_NOTHING,
		FAKE_TOLD_EVENTFD,
		FAKE_TOLD_PAGE
	} told; /* of its doorbell, since it was negotiated with */
	unsigned int tells;
	uint16_t pairs_at_start, pairs_at_stop; /* what the device was told to receive in by then */
};

#define FAKE_ACCEL_QUESTIONS 64u

/* What the device asked its IOMMU, and what it heard. */
struct fake_question {
	uint64_t iova;
	uint32_t access_mask;
	bool is_page; /* a page was requested; else a translation asked for */
	bool inside; /* it is put while an invalidation is carried out */
	bool put;
	bool answered;
	int error; /* of the answer; of a page: -EFAULT */
	struct rp_accel_translation translation;
};

struct fake_accel {
	/* What the test sets. */
	uint64_t features;
	uint16_t queue_size_max;
	bool notify_by_value; /* else by address */
	uint32_t row_refused_mask; /* a bit for each queue: not started together with others */
	bool no_notify_area;
	enum rp_accel_class class;
	int peer_pid;
	bool quiet; /* whether a failed device is proven to be gone */
	int open_error; /* the next opens fail with it */
	bool opens_once; /* not again before it is closed, dead or not */
	int give_error; /* it cannot be given to a successor */
	int adopt_error;
	int start_error;
	int begun_error; /* a start is answered by it, but the ring is served */
	int row_error; /* so is a start of several together, and each says that it is served */
	int stop_error;
	int prepare_error;
	int tell_error;
	bool has_wishes; /* how it wants to be kicked */
	int map_error;
	bool no_mac; /* it cannot be set */
	bool serves; /* its rings: what is sent on a pair is received on it */
	bool alive_when_dead; /* it goes on to serve although nobody can speak to it */
	unsigned int hold; /* so many chains more are taken from tx rings, and kept */
	bool deliver_held; /* what is held was received all the same */
	bool lies; /* once: it uses a chain that it does not have */
	struct rp_dma_iova_range reach; /* of its IOMMU; last 0: all */
	uint64_t page_bytes;
	uint8_t config[16]; /* struct virtio_net_config */
	bool one_container; /* what is mapped for one device is in the way of the other, unless it is the same range */
	int peer_error; /* of memory of another device */
	struct rp_dma_section_hole holes[RP_DMA_SECTION_HOLES_MAX]; /* in its only BAR, FAKE_ACCEL_BAR: its doorbells */
	bool asks; /* for translations, if it may */
	bool asks_when_counted; /* what is not put yet, while its counters are read */
	int invalidate_error;
	size_t pieces_max; /* of memory that it takes; 0: any number */
	int groups[FAKE_ACCEL_DEVICES]; /* VFIO group of each, the test's own; -1: none */

	/* What happened. */
	bool open;
	unsigned int opens;
	unsigned int leaves; /* ended without a word */
	unsigned int adopts;
	unsigned int closes;
	unsigned int rows; /* of queues that were to start together */
	unsigned int longest_row;
	uint64_t negotiated;
	unsigned int negotiations;
	struct rp_dma_space *spaces[FAKE_ACCEL_DEVICES]; /* what each can reach */
	struct rp_dma_reader *readers[FAKE_ACCEL_DEVICES];
	unsigned int mappings; /* of another device's memory too */
	bool peer_had_file; /* of the last one */
	unsigned int resets;
	const struct rp_accel_iommu *iommu; /* of the last open */
	struct fake_question questions[FAKE_ACCEL_QUESTIONS];
	unsigned int questions_count;
	unsigned int invalidations;
	uint64_t invalidated_iova, invalidated_bytes; /* of the last one */
	struct rp_accel_net net; /* as set last */
	unsigned int net_sets;
	struct fake_accel_queue queues[FAKE_ACCEL_DEVICES * FAKE_ACCEL_QUEUES];
	bool dead;
	bool config_changed;
	bool wishes_changed;
	int failure_fd; /* an eventfd; written: process() has something to say */
	int doorbell_fd; /* a sealed memfd, one page per queue */
};

/* The port has a thread of its own: look at a copy, change under the lock. */
struct fake_accel fake_now(void);
struct fake_accel *fake_take(void);
void fake_give(void);
#define FAKE_SET(field, value)                                                                                         \
	do {                                                                                                           \
		__typeof__(value) fake_value_ = (value);                                                               \
		fake_take()->field = fake_value_;                                                                      \
		fake_give();                                                                                           \
	} while (0)

extern const struct rp_accel_registry fake_accel_registry; /* "fake" */

void fake_accel_setup(void);
/* From now on the device serves its rings, in a thread of its own. */
void fake_accel_serve(void);
void fake_accel_teardown(void);
/* The device asks, now or while it is told of an invalidation. @return the question's number. */
unsigned int fake_accel_ask(uint64_t iova, uint32_t access_mask, bool inside);
unsigned int fake_accel_request(uint64_t iova, uint32_t access_mask, bool inside);
struct fake_question fake_accel_question(unsigned int number);
/* The device dies: its process() fails from now on. */
void fake_accel_die(bool quiet);
/* A queue of the first device becomes idle, or is in use again, and it says so. */
void fake_accel_wish(unsigned int queue, bool woken);
/* A byte of its configuration space changes, and it says so. */
void fake_accel_change(uint16_t offset_bytes, uint8_t value);

#endif
