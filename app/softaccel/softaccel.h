/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SOFTACCEL_H
#define SOFTACCEL_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_wire_why.h"

/**
 * @file
 * The software accelerator: virtio-net functions served over vfio-user, and a
 * switch between them and an uplink.
 *
 * Theory of operation: there are two sides. The control side answers vfio-user
 * messages: it owns the registers, the sockets and the guests' address spaces.
 * The data path is one loop that looks at doorbells, serves rings and switches
 * packets. The control side changes what the loop uses only while the loop
 * stands at a gate between two iterations (sa_gate.h), so a register write that
 * stopped a queue is answered after the loop has let go of its ring.
 *
 * Nothing here starts an EAL or an event loop: the caller has initialised DPDK,
 * polls softaccel_fd(), and gives the data path a thread. A function whose client
 * gives no descriptors for its memory gets a thread that waits for messages
 * (sa_messenger.h).
 *
 * Threads: softaccel_poll(), softaccel_drain() and softaccel_run() belong to one
 * thread, the data path's; softaccel_stop() and the functions that read counters
 * may be called from any; everything else belongs to one thread, the control
 * side's. Both may be the same thread when softaccel_run() is not used.
 */

#define SOFTACCEL_FUNCTIONS_MAX 32u
#define SOFTACCEL_QUEUE_PAIRS_MAX 128u
#define SOFTACCEL_QUEUE_SIZE_MAX 32768u
#define SOFTACCEL_GROUP_NAME_MAX 32u

struct softaccel;
struct softaccel_function;

/** How a function's doorbells are laid out in its notify BAR. */
enum softaccel_doorbell {
	/** A page for each of up to eight queues, and eight at most, shared, for more: can be handed to a guest. */
	SOFTACCEL_DOORBELL_PAGE,
	SOFTACCEL_DOORBELL_SHARED, /**< all queues in one page: mmap-able, not fit to be handed out */
	SOFTACCEL_DOORBELL_NONE, /**< not mmap-able: messages and eventfds only */
	SOFTACCEL_DOORBELL_PAGES, /**< a page for each queue, whatever their number */
};

/** How a function reaches a guest's memory. */
enum softaccel_dma {
	SOFTACCEL_DMA_AUTO, /**< directly where the client gave descriptors for all of it, else by messages */
	SOFTACCEL_DMA_MESSAGES, /**< by messages also where it gave descriptors: for tests */
};

/** How often a frame from one guest to another is copied. What arrives, and what is counted, is the same. */
enum softaccel_copies {
	SOFTACCEL_COPIES_ONE, /**< once, from guest to guest, where that can be; else as with two */
	SOFTACCEL_COPIES_TWO, /**< into a packet buffer and out of it */
};

/** Which instructions copy payload. */
enum softaccel_isa {
	SOFTACCEL_ISA_AUTO, /**< the widest that the processor has */
	SOFTACCEL_ISA_GENERIC, /**< what every processor of the architecture has */
};

struct softaccel_config {
	uint32_t mbufs_count; /**< packet buffers; 0: 4096 */
	enum softaccel_copies copies;
	enum softaccel_isa isa;
};

struct softaccel_ops {
	/** Something worth a line in a log happened. Control side. */
	void (*event)(void *ctx, const char *text);
};

struct softaccel_function_config {
	const char *socket_path;
	const char *group; /**< functions of one group are one switch port; NULL: a port of its own */
	uint16_t queue_pairs; /**< 1 to SOFTACCEL_QUEUE_PAIRS_MAX */
	uint16_t queue_size; /**< largest ring, a power of two */
	uint8_t mac[6];
	enum softaccel_doorbell doorbell;
	bool msix_off; /**< interrupts by the pin (INTA) only */
	bool packed_off; /**< VIRTIO_F_RING_PACKED is not offered */
	bool in_order_off; /**< VIRTIO_F_IN_ORDER is not offered */
	enum softaccel_dma dma;
	/**
	 * A queue with next to nothing to do for so long would rather be woken than watch its doorbell, and
	 * says so to a driver that listens (doc/protocol/ring-state-capability.md); 0: it watches always.
	 */
	uint32_t idle_ms;
	bool iommu; /**< a client that offers `ringpass.iommu` translates the device's addresses */
};

enum softaccel_queue_state {
	SOFTACCEL_QUEUE_STOPPED,
	SOFTACCEL_QUEUE_RUNNING,
	SOFTACCEL_QUEUE_BROKEN, /**< its ring broke a rule; nothing touches it until it is stopped or reset */
};

/** How the data path rested, since it was made. */
struct softaccel_sleep_counters {
	uint64_t timed; /**< a timer ends them: somebody may store to a doorbell, or an uplink announces nothing */
	uint64_t untimed; /**< sleeps until it is woken; with an uplink, for a second at most */
};

/** Where things are on a machine of several NUMA nodes; -1: wherever they happened to come to be. */
struct softaccel_nodes {
	int buffers; /**< those that packets are copied from and to */
	int data_path; /**< its thread; -1 also when it may not run on the node that it was sent to */
};

/** How a queue is kicked. */
struct softaccel_queue_doorbell {
	uint8_t told; /**< what the driver said: RP_ACCEL_VENDOR_DOORBELL_* (rp_accel_vendor.h) */
	bool wants_page; /**< it is in use, and would like its doorbell; else it would rather be woken */
	bool watched; /**< its doorbell is looked at */
};

/** Of one queue, since its function was added. */
struct softaccel_queue_counters {
	uint64_t direct_kicks; /**< doorbell words found changed; of a shared one: with its number, or something new */
	uint64_t eventfd_kicks; /**< kicks that came by eventfd or message */
	uint64_t interrupts; /**< eventfd writes */
	uint64_t packets;
	uint64_t bytes; /**< of frames, without the virtio-net header */
	uint64_t errors; /**< chains that could not be used, rings refused or broken */
};

/** How a function's own reach into its guest's memory went, since it was added. */
struct softaccel_dma_counters {
	uint64_t mappings_count; /**< that the client has made and not taken away, now */
	uint64_t mappings_added;
	uint64_t mappings_removed; /**< also those of a client that left */
	uint64_t translations; /**< each of a ring's part or of a piece of a buffer, at the moment of its use */
	uint64_t refused; /**< of such accesses: nothing (any more) was mapped there with that access and a file */
};

/** How it went where the client translates the device's addresses; of all clients so far. */
struct softaccel_iommu_counters {
	uint64_t misses; /**< that the data path stood still for, and those of a ring's start */
	uint64_t translations; /**< answers that were taken in */
	uint64_t faults; /**< answers that say: not present */
	uint64_t voided; /**< answers dropped because of an invalidation meanwhile */
	uint64_t invalidations;
	uint64_t invalidations_in_use; /**< that had to wait for the data path */
	uint64_t page_requests;
};

/** Why a packet went nowhere. Counted at the switch port that came last. */
enum softaccel_drop {
	SOFTACCEL_DROP_RX_NO_QUEUE, /**< no receive queue runs there */
	SOFTACCEL_DROP_RX_NO_BUFFER, /**< the receive ring has too few buffers */
	SOFTACCEL_DROP_RX_BAD_CHAIN, /**< its buffers are too small, or not writable */
	SOFTACCEL_DROP_TX_LENGTH, /**< shorter than an Ethernet header, or longer than a packet buffer */
	SOFTACCEL_DROP_TX_BAD_HEADER, /**< asks for an offload that was not offered */
	SOFTACCEL_DROP_SAME_PORT, /**< the destination is where it came from */
	SOFTACCEL_DROP_UPLINK_FULL,
	SOFTACCEL_DROP_UPLINK_SEGMENTS, /**< the uplink gave a packet of several segments */
	SOFTACCEL_DROPS_COUNT,
};

/** Of one switch port. */
struct softaccel_port_counters {
	uint64_t in_packets; /**< into the switch */
	uint64_t out_packets; /**< out of the switch */
	uint64_t flooded; /**< of in_packets: destination unknown or a group address */
	uint64_t macs_count; /**< learned now */
	uint64_t macs_refused; /**< not learned: the port has as many as it may */
	uint64_t drops[SOFTACCEL_DROPS_COUNT];
};

/**
 * Make an accelerator without functions.
 * @param ops borrowed; may be NULL.
 * @return 0, -EINVAL (why names the field), -ENOMEM, or what eventfd(2) and epoll_create(2) say.
 */
int softaccel_create(const struct softaccel_config *config, const struct softaccel_ops *ops, void *ctx,
		     struct softaccel **ret_accel, struct rp_wire_why *why);

/** The data path must not run any more. Sockets are unlinked. NULL is allowed. @return NULL. */
struct softaccel *softaccel_destroy(struct softaccel *accel);

/**
 * Add a function; it listens on return.
 * @return 0, -EINVAL (why names the field), -ENOSPC (too many), -ENOMEM, or what
 *         rp_wire_socket_listen() says.
 */
int softaccel_function_add(struct softaccel *accel, const struct softaccel_function_config *config,
			   struct softaccel_function **ret_function, struct rp_wire_why *why);

/**
 * Make an ethdev port the uplink: it is configured, started, and stopped at destroy.
 * @return 0, -EBUSY (there is one), or what the ethdev says.
 */
int softaccel_uplink_attach(struct softaccel *accel, uint16_t ethdev_port, struct rp_wire_why *why);

/** To poll for POLLIN on the control side. Borrowed. */
int softaccel_fd(const struct softaccel *accel);

/** Control side: answer what came. */
void softaccel_process(struct softaccel *accel);

/** Data path: one iteration. @return what was done (kicks and packets); 0: nothing. */
unsigned int softaccel_poll(struct softaccel *accel);

/**
 * Data path: iterate as softaccel_run() does, which asks the kernel for kicks now and then
 * only, until there is nothing to do. For a caller that has other work for its thread.
 * @param enough end as soon as so much was done; while guests keep it busy nothing else ends it.
 * @return what was done (kicks, packets, and looks at rings that may have more); 0: nothing.
 */
unsigned int softaccel_drain(struct softaccel *accel, unsigned int enough);

/** Data path: iterate, and sleep when idle, until softaccel_stop(). */
void softaccel_run(struct softaccel *accel);

/** End softaccel_run(), also one that is called later. Any thread, but no signal handler. */
void softaccel_stop(struct softaccel *accel);

unsigned int softaccel_functions_count(const struct softaccel *accel);
/** @return NULL when there is none of that number. */
struct softaccel_function *softaccel_function_at(const struct softaccel *accel, unsigned int index);

const char *softaccel_function_socket(const struct softaccel_function *function);
unsigned int softaccel_function_queues(const struct softaccel_function *function);
enum softaccel_queue_state softaccel_queue_state(const struct softaccel_function *function, unsigned int queue);
/** Whether it is served by messages, because its ring or buffers cannot be reached directly. */
bool softaccel_queue_by_messages(const struct softaccel_function *function, unsigned int queue);
void softaccel_queue_counters(const struct softaccel_function *function, unsigned int queue,
			      struct softaccel_queue_counters *ret_counters);
/** Any thread; as it was a moment ago. */
void softaccel_queue_doorbell(const struct softaccel_function *function, unsigned int queue,
			      struct softaccel_queue_doorbell *ret_doorbell);
/** Any thread. */
void softaccel_sleep_counters(const struct softaccel *accel, struct softaccel_sleep_counters *ret_counters);
/** Any thread. */
void softaccel_nodes(const struct softaccel *accel, struct softaccel_nodes *ret_nodes);
/** Where a function's doorbells were sent, -1: nowhere. Any thread. */
int softaccel_function_doorbells_node(const struct softaccel_function *function);
/** Of queues that are served directly; any thread. */
void softaccel_function_dma_counters(const struct softaccel_function *function,
				     struct softaccel_dma_counters *ret_counters);
/** Any thread. All zeroes without softaccel_function_config.iommu. */
void softaccel_function_iommu_counters(const struct softaccel_function *function,
				       struct softaccel_iommu_counters *ret_counters);
void softaccel_function_port_counters(const struct softaccel_function *function,
				      struct softaccel_port_counters *ret_counters);
/** @return 0 or -ENOENT (no uplink). */
int softaccel_uplink_port_counters(const struct softaccel *accel, struct softaccel_port_counters *ret_counters);

/** "rx_no_buffer" */
const char *softaccel_drop_name(enum softaccel_drop drop);

#endif
