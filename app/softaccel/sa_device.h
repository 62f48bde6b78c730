/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_DEVICE_H
#define SA_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include "rp_accel_vendor.h"
#include "rp_vfu_server_iommu.h"
#include "rp_vfu_virtio.h"
#include "sa_datapath.h"
#include "sa_doorbell.h"
#include "sa_messenger.h"
#include "softaccel.h"

/**
 * @file
 * One function: a virtio-net PCI device (virtio 1.2, sections 4.1 and 5.1) behind
 * a vfio-user socket, as the control side sees it.
 *
 *   device.c     life; what the vfio-user library calls
 *   pci.c        what it is: registers (rp_vfu_virtio.h), function, doorbells
 *   registers.c  what it does when a driver writes to them
 *   queue.c      starting and stopping queues
 *   carried.c    the same for queues whose memory is reached by messages
 *   reach.c      which of the two a queue must be
 *   asking.c     queues whose addresses the client translates
 *   wish.c       whether doorbells are watched, and what the driver is told
 *
 * Whether a queue's ring is served follows from facts, in one place
 * (sa_queue_update()): it is enabled, the driver said DRIVER_OK, a client is
 * there, and the ring is not broken.
 *
 * Threads: the control side.
 */

#define SA_FEATURE(bit) (1ull << (bit))
#ifndef VIRTIO_F_IN_ORDER
#define VIRTIO_F_IN_ORDER 35
#endif
#ifndef VIRTIO_F_ORDER_PLATFORM
#define VIRTIO_F_ORDER_PLATFORM 36
#endif
#ifndef VIRTIO_F_RING_RESET
#define VIRTIO_F_RING_RESET 40
#endif

/** What comes when a carriage has brought back what the data path did. */
enum sa_drain {
	SA_DRAIN_NONE,
	SA_DRAIN_STOP, /* the queue is stopped */
	SA_DRAIN_SWITCH, /* the ring is served directly from there on */
};

/** What is known of a ring that is to be served; of two such facts the later one here is the stronger. */
enum sa_start {
	SA_START_FOUND, /* it is as it was left: its client may have no driver yet, and that one kicks */
	SA_START_ENABLED, /* its client enables it now: what it says of the ring is of now */
	SA_START_GOES_ON, /* it was served a moment ago: what it holds may have been kicked for already */
};

/** What a queue waits for whose addresses the client translates: one page at a time. */
struct sa_ask {
	struct softaccel_function *function;
	unsigned int number;
	bool active; /* wait is the cache's */
	bool paging; /* group is the server's */
	enum sa_start start; /* how the ring starts when all of it is known */
	unsigned int rounds;
	uint64_t iova;
	uint32_t access_mask;
	struct rp_dma_atc_wait wait;
	struct rp_vfu_page_group group;
	struct rp_vfu_page page;
};

struct sa_queue {
	struct rp_vfu_virtio_queue *regs; /* of function->virtio */
	bool attached; /* the data path, or the messenger, has the ring */
	enum sa_drain drain;
	uint64_t drain_since_ms;
	bool by_messages; /* atomic */
	bool uses_far_memory; /* until it is reset: a chain was found there */
	struct sa_carriage *carriage; /* while it is, and until it is known not to go on */
	struct softaccel_queue_counters carried; /* atomic words: what carriages count */
	struct rp_vring_note *notes; /* for queue_size_max entries; NULL until a ring needs them */
	struct rp_dma_view *views[RP_VRING_PARTS_COUNT]; /* of parts of the ring that lie in several mappings */
	struct sa_ask ask;
	bool unjoinable; /* until it is reset: it has such a part and cannot be served directly */
	struct sa_ring ring;
};

struct softaccel_function {
	struct sa_datapath *path;
	const struct softaccel_ops *ops;
	void *ops_ctx;
	struct sa_port *port;
	struct rp_vfu_pci *pci;
	struct rp_vfu_server *server; /* of pci */
	struct rp_vfu_virtio *virtio; /* the registers */
	struct rp_dma_atc *atc; /* of server; NULL: addresses are never translated */
	struct rp_dma_reader *reader;
	bool connected;
	enum softaccel_dma dma;
	uint32_t idle_ms; /* 0: doorbells are watched always */
	bool iommu; /* addresses are translated by clients that offer it */
	bool memory_changed; /* since has_far_memory was found */
	struct softaccel_dma_counters mapped; /* atomic words: what the client does; accesses are the reader's */
	bool has_far_memory; /* some is without a file */
	bool has_much_far_memory; /* a good part of what the device may write */
	struct sa_messenger *messenger; /* with the two below: from the first carried queue on */
	struct rp_dma_space *local_space;
	struct rp_dma_reader *local_reader;
	struct sa_doorbells doorbells;
	struct sa_bells bells; /* of those that several queues have */
	char *socket_path;
	uint16_t queues_count;
	uint16_t queue_size_max;
	uint8_t mac[6];

	int *call_fds; /* by MSI-X vector; borrowed from pci */
	int intx_fd; /* without MSI-X: where all queues call; -1 with it */

	uint64_t features; /* offered */
	struct sa_queue *queues;
};

/** @return 0, or as softaccel_function_add(). */
int sa_device_create(struct sa_datapath *path, const struct softaccel_function_config *config, unsigned int number,
		     const struct softaccel_ops *ops, void *ctx, struct softaccel_function **ret_function,
		     struct rp_wire_why *why);
/** NULL is allowed. @return NULL. */
struct softaccel_function *sa_device_destroy(struct softaccel_function *function);
/** The data path found a ring broken, of this function or another. */
void sa_device_notice(struct softaccel_function *function);
void sa_device_event(const struct softaccel_function *function, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/** Without MSI-X: if a queue called, assert the pin. */
void sa_device_hear_calls(struct softaccel_function *function);

/** Vectors: one for each queue, then one for the configuration; or none. */
static inline uint32_t
sa_device_vectors(const struct softaccel_function *function)
{
	return function->intx_fd >= 0 ? 0 : function->queues_count + 1u;
}

/* pci.c: make the function and have it listen. @return 0, or as rp_vfu_pci_listen(). */
int sa_pci_serve(struct softaccel_function *function, const struct rp_vfu_pci_ops *ops, struct rp_wire_why *why);

/* registers.c */
extern const struct rp_vfu_virtio_ops sa_registers_ops;

/* asking.c */

/** Whether the client translates the device's addresses. */
bool sa_ask_needed(const struct softaccel_function *function);
/** Ask for a page. @return 0 (it is known), -EINPROGRESS (sa_queue_translated() or _lost() will be called), -ENOTCONN, -ENOMEM. */
int sa_ask_page(struct softaccel_function *function, unsigned int number, uint64_t iova, uint32_t access_mask);
/** Ask for the first page of the queue's ring that is not known. @return 0 (all are) or as sa_ask_page(). */
int sa_ask_ring(struct softaccel_function *function, unsigned int number);
/** As sa_reach_join(), of translated addresses. */
int sa_ask_join(const struct softaccel_function *function, struct sa_queue *queue, struct rp_vring_layout *layout,
		struct rp_wire_why *why);
/** Judge a ring before its addresses may be looked at. @return 0 or as sa_queue_update(). */
int sa_ask_check(struct softaccel_function *function, unsigned int number, struct rp_wire_why *why);
/** Wait no more. */
void sa_ask_cancel(struct softaccel_function *function, unsigned int number);
bool sa_ask_is_active(const struct sa_ask *ask);

/* reach.c */

struct sa_extent {
	uint64_t iova;
	uint64_t size_bytes;
	uint32_t access_mask;
};

/** Where the parts of a queue's ring are. */
void sa_reach_extents(const struct softaccel_function *function, const struct sa_queue *queue,
		      struct sa_extent ret_extents[RP_VRING_PARTS_COUNT]);

/** The node of a queue's ring; RP_DMA_NODE_ANY: there is one, or its address says nothing about it. */
int sa_reach_node(const struct softaccel_function *function, unsigned int number);
/** Whether a queue must be served by messages. */
bool sa_reach_by_messages(struct softaccel_function *function, const struct sa_queue *queue);
/** Whether a chain that the data path could not reach may be reached by messages. */
bool sa_reach_is_far(struct softaccel_function *function);
/** Whether one that is can be served directly. */
bool sa_reach_directly(struct softaccel_function *function, const struct sa_queue *queue);
/**
 * Have each part of the ring in one piece, for a ring that is to be served directly. With the gate closed.
 * @return 0 or as rp_dma_view_create(); of a ring that is not mapped 0: whoever takes it says so.
 */
int sa_reach_join(const struct softaccel_function *function, struct sa_queue *queue, struct rp_vring_layout *layout,
		  struct rp_wire_why *why);
/** Forget the pieces; the data path does not have the ring. */
void sa_reach_part(struct sa_queue *queue);
/** Whether the ring is mapped, by whatever means. @return 0 or -EBADMSG. */
int sa_reach_check(const struct softaccel_function *function, const struct sa_queue *queue, struct rp_wire_why *why);

/* carried.c */

/** Judge a ring that would be served by messages. @return 0, or as sa_queue_update(). */
int sa_carried_check(struct softaccel_function *function, unsigned int number, struct rp_wire_why *why);
/**
 * Give the ring to the messenger; a parked carriage goes on.
 * @param awake a kick may have been seen already.
 */
int sa_carried_attach(struct softaccel_function *function, unsigned int number, bool awake, struct rp_wire_why *why);
/** Take it from the messenger; the carriage stays, and the position is the queue's. */
void sa_carried_park(struct softaccel_function *function, unsigned int number);
/** End the parked carriage. None is allowed. */
void sa_carried_end(struct softaccel_function *function, unsigned int number);
/** Let it bring back what the data path did; sa_device_notice() comes when it has. */
void sa_carried_drain(struct softaccel_function *function, unsigned int number, enum sa_drain drain);
/** With the function: the thread and the memory of its carriages. */
void sa_carried_fini(struct softaccel_function *function);

/* queue.c */

/** A page that was asked for is known. */
void sa_queue_translated(struct softaccel_function *function, unsigned int number);
/** A page that was asked for will never be: the queue is broken. */
void sa_queue_lost(struct softaccel_function *function, unsigned int number, const char *why);

/** The ring as it was programmed; its notes are lent. @return 0 or -ENOMEM. */
int sa_queue_layout(const struct softaccel_function *function, struct sa_queue *queue,
		    struct rp_vring_layout *ret_layout, struct rp_wire_why *why);
/** What a ring does that the driver negotiated, whoever serves it. With the gate closed. */
void sa_queue_ready_ring(const struct softaccel_function *function, struct sa_queue *queue);
/** @return the eventfd of the queue's vector, -1: none. */
int sa_queue_call_fd(const struct softaccel_function *function, const struct sa_queue *queue);
/** From now on frames for a receive queue wait until it goes on, served in whatever way. */
void sa_queue_hold(struct softaccel_function *function, struct sa_queue *queue);
/** Whether it is only broken until the control side has looked why (sa_ring.far_why). */
static inline bool
sa_queue_is_changing(const struct sa_queue *queue)
{
	return queue->attached && queue->carriage == NULL && queue->ring.far_why != NULL;
}
/** Where the ring stands now. */
uint32_t sa_queue_position(const struct sa_queue *queue);
/** A drain that takes too long is given up. */
void sa_queue_watch_drain(struct softaccel_function *function, unsigned int number);
void sa_queue_init(struct softaccel_function *function, unsigned int number, uint32_t order);
void sa_queue_fini(struct softaccel_function *function, unsigned int number);
/** It was enabled: judge the ring, and serve it as soon as may be. @return 0, or why it stays disabled. */
int sa_queue_enable(struct softaccel_function *function, unsigned int number);
/** Let go of an enabled queue's ring. @return 0 (its position is in its registers), -EINPROGRESS: it drains. */
int sa_queue_stop(struct softaccel_function *function, unsigned int number);
/** As stop, at once, and nothing is remembered. */
void sa_queue_reset(struct softaccel_function *function, unsigned int number);
/** Facts changed. @param start of a ring that may be served from now on. @return 0, or why the ring cannot be served (yet). */
int sa_queue_update(struct softaccel_function *function, unsigned int number, enum sa_start start,
		    struct rp_wire_why *why);
/** The client is about to be forgotten: rings on its memory are let go while that is there. */
void sa_queue_leave(struct softaccel_function *function, unsigned int number);
/** The client left: whatever its vanishing memory did to the ring is no fault of the guest. */
void sa_queue_forgive(struct softaccel_function *function, unsigned int number);
/** What a drain was for comes now. */
void sa_queue_drained(struct softaccel_function *function, unsigned int number);
/** The data path may have found the ring broken, or the messenger; or it drained. */
void sa_queue_notice(struct softaccel_function *function, unsigned int number);
/** A vector's eventfd, or the queue's vector, changed. */
void sa_queue_rewire(struct softaccel_function *function, unsigned int number);

/* wish.c */

/** The queue starts, or goes on in another way. With the gate closed. */
void sa_queue_begin_watch(struct sa_queue *queue);
/** Tell the driver how the queue would like to be kicked, if that is another way than before. */
void sa_queue_say_wish(struct softaccel_function *function, unsigned int number);
/** The driver said how it kicks (regs->doorbell). */
void sa_queue_doorbell(struct softaccel_function *function, unsigned int number);

#endif
