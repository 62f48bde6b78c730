/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_ACCEL_H
#define RP_ACCEL_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_dma_section.h"
#include "rp_wire_why.h"

/**
 * @file
 * What an accelerator is: a device with virtio rings that can serve the rings of
 * a guest. A driver fills struct rp_accel_driver; lib/port uses nothing else.
 *
 * Theory of operation: an accelerator is opened from a device argument string,
 * told the negotiated features and the guest's memory, and then its queues are
 * started and stopped one by one. Addresses given to it are I/O virtual
 * addresses; the port uses guest-physical ones. A queue that was stopped touches
 * its ring no more: the return of queue_stop is the proof.
 *
 * Threads: an accelerator belongs to one thread.
 */

/** Who can take a ring over, and from where (doc/protocol). */
enum rp_accel_class {
	RP_ACCEL_CLASS_A, /**< the ring's position can be read and set per queue */
	RP_ACCEL_CLASS_B, /**< a queue can be stopped, but starts fresh rings only, and where it stopped is not told */
	RP_ACCEL_CLASS_C, /**< state moves device-wide only */
};

#define RP_ACCEL_QUEUES_MAX 256u

/** What an accelerator says about itself once it is open. */
struct rp_accel_info {
	char driver[16]; /**< "virtio" */
	char transport[16]; /**< "vfio-user", "vfio" */
	char device[128]; /**< what a user recognises: socket path, PCI address */
	uint64_t features; /**< device features that a guest may be offered */
	uint64_t features_required; /**< bits that the driver sets by itself, whatever the guest acked */
	uint16_t queues_count; /**< data queues (rx0, tx0, rx1, ...), the control queue not counted */
	uint16_t queue_size_max;
	enum rp_accel_class class;
	/**
	 * It decodes a doorbell by its address, and one that queues share for each of them; else the value must
	 * be its queue's number here.
	 */
	bool notify_by_address;
	bool has_mac;
	uint8_t mac[6];
	int vfio_file_fd; /**< VFIO group, borrowed, the same from open to close; -1: none (vfio-user) */
	int peer_pid; /**< of a device process; 0: none */
	/** Where memory may be given to it: dma_map refuses what lies elsewhere. */
	struct rp_dma_iova_range iova_ranges[RP_DMA_IOVA_RANGES_MAX];
	unsigned int iova_ranges_count; /**< 0: anywhere */
	uint64_t iova_page_bytes; /**< addresses and sizes given to dma_map are multiples of it; a power of two */
	/** It asks for the translation of every address, its rings' included; translated and its like are set. */
	bool asks;
};

/**
 * What a network device is told beside its rings. The guest's own control queue
 * never leaves the VMM, so this is what makes frames for the guest arrive, and
 * arrive in as many queue pairs as it has enabled (virtio 1.2, 5.1.6.5).
 */
struct rp_accel_net {
	uint16_t queue_pairs; /**< pairs that may receive, from the first on; at least 1 */
	bool has_mac; /**< false: the device's own stays */
	uint8_t mac[6];
	bool promiscuous; /**< receive whatever the address */
	bool all_multicast; /**< receive whatever the group */
};

/** A ring to serve. */
struct rp_accel_queue_config {
	uint16_t num; /**< entries; of a split ring a power of two */
	/** Where to go on, as rp_vring_position.h encodes it; class B takes rp_vring_position_fresh() only. */
	uint32_t position;
	uint64_t desc_iova;
	uint64_t avail_iova; /**< split: available ring; packed: driver event suppression */
	uint64_t used_iova; /**< split: used ring; packed: device event suppression */
	int call_fd; /**< borrowed: the guest's own eventfd; -1: none, the guest polls */
};

/** One of several that are started together. */
struct rp_accel_queue_start {
	unsigned int queue;
	struct rp_accel_queue_config config;
	int error; /**< set: as queue_start would have said it */
	struct rp_wire_why why; /**< set */
};

/** The doorbell of a queue as something that another process can mmap. */
struct rp_accel_notify_area {
	int fd; /**< borrowed from the accelerator */
	uint64_t offset_bytes; /**< multiple of the host page size */
	uint64_t size_bytes; /**< exactly one host page */
};

/** One of the device's own regions, a BAR. */
struct rp_accel_region {
	uint64_t size_bytes; /**< at least 1 */
	/** The MSI-X table and its pending bits: whoever writes there directs the device's interrupts. */
	struct rp_dma_section_hole holes[RP_DMA_SECTION_HOLES_MAX];
	unsigned int holes_count;
};

/** A piece of a region as something that can be mmapped, and mapped for another device. */
struct rp_accel_window {
	int fd; /**< borrowed from the accelerator */
	uint64_t offset_bytes; /**< in the file */
	uint64_t size_bytes; /**< as asked */
	bool all_of_device; /**< the file reaches every register: to map here, never to hand to another process */
};

/** Counted by the device; cumulative since it was opened. */
struct rp_accel_queue_counters {
	uint64_t direct_kicks; /**< doorbell stores seen by the device */
	uint64_t eventfd_kicks; /**< kicks seen on its eventfd */
	uint64_t interrupts; /**< eventfd writes of the device */
	uint64_t packets;
	uint64_t bytes;
	uint64_t errors; /**< chains refused */
};

struct rp_accel;
struct rp_accel_translation;
struct rp_wire_parcel;

#define RP_ACCEL_CHANGED_CONFIG 1 /**< process: the device's configuration (virtio 1.2, 2.5) */
#define RP_ACCEL_CHANGED_WISHES 2 /**< process: how it wants queues to be kicked */

/**
 * What an accelerator does. Every member is set but those of a hand-over, of
 * other devices' memory, of translations, of wishes, queues_start and queues_prepare, which may be NULL.
 *
 * Errors: -ENOTSUP, -EINVAL, -EBUSY, -EEXIST and -ENOSPC refuse one request, and
 * the device goes on. -ENOTCONN (it left), -ETIMEDOUT (no answer in time) and -EIO
 * (it broke a rule, or asks for a reset) are final: from then on every operation
 * but is_quiet and close returns that error with the first reason, get_fd becomes
 * readable and process says so too. why may be NULL.
 */
struct rp_accel_ops {
	void (*get_info)(void *priv, struct rp_accel_info *ret_info);
	/**
	 * Negotiate; stops every queue.
	 * @param features what the guest acked; the driver adds features_required.
	 * @return 0, -ENOTSUP (why names the bits that were not offered, or the set
	 *         that the device refuses), -ENOTCONN, -ETIMEDOUT, -EIO.
	 */
	int (*set_features)(void *priv, uint64_t features, struct rp_wire_why *why);
	/**
	 * Give the device a range of guest memory.
	 * @param fd borrowed. @param hva our mapping of it, NULL if there is none.
	 * @return 0, -EEXIST (overlap), -ENOSPC (a limit of the device's),
	 *         -ENOTCONN, -ETIMEDOUT, -EIO (refused: it is of no use without).
	 */
	int (*dma_map)(void *priv, uint64_t iova, uint64_t size_bytes, int fd, uint64_t offset_bytes, void *hva,
		       struct rp_wire_why *why);
	/**
	 * Take a range back. On return of 0 nothing of the device touches it.
	 * @return 0, -ENOTCONN, -ETIMEDOUT, -EIO (then ask is_quiet).
	 */
	int (*dma_unmap)(void *priv, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why);
	/**
	 * Give the device memory of another device: as dma_map, but a refusal costs it nothing. Taken
	 * back by dma_unmap. NULL: it reaches the guest's memory and no other.
	 * @param hva our mapping of it, never NULL. @param fd -1: hva is all there is.
	 * @return 0, -EEXIST (overlap), any other refusal, or -ENOTCONN, -ETIMEDOUT, -EIO.
	 */
	int (*peer_map)(void *priv, uint64_t iova, uint64_t size_bytes, int fd, uint64_t offset_bytes, void *hva,
			struct rp_wire_why *why);
	/** What a BAR (0 to 5) is. NULL: it has none to show. @return 0, -ENOTSUP (it is absent), -ENOTCONN, -ETIMEDOUT, -EIO. */
	int (*region_info)(void *priv, uint32_t region, struct rp_accel_region *ret_region, struct rp_wire_why *why);
	/**
	 * A piece of a BAR for another device. Set when region_info is.
	 * @return 0, -ENOTSUP (it cannot be mapped there), -ENOTCONN, -ETIMEDOUT, -EIO.
	 */
	int (*region_window)(void *priv, uint32_t region, uint64_t offset_bytes, uint64_t size_bytes,
			     struct rp_accel_window *ret_window, struct rp_wire_why *why);
	/**
	 * Serve a ring. The call eventfd itself goes to the device.
	 * @return 0, -EBUSY (running), -ENOTSUP (class B and not a fresh ring, or the
	 *         device refuses the size, the vector or the ring), -EINVAL (no such queue, not
	 *         negotiated, a size, position or address that cannot be), -ENOTCONN, -ETIMEDOUT, -EIO: it may
	 *         have begun, and may write the ring until is_quiet says otherwise.
	 */
	int (*queue_start)(void *priv, unsigned int queue, const struct rp_accel_queue_config *config,
			   struct rp_wire_why *why);
	/**
	 * Serve several rings, for fewer round trips to the device than queue_start for each. What is refused
	 * of one is no reason to refuse another. NULL: that is no cheaper.
	 * @param count at most RP_ACCEL_QUEUES_MAX.
	 * @return 0 (each has its own result), -ENOTCONN, -ETIMEDOUT, -EIO: that is then also the result of each that
	 *         was not refused before.
	 */
	int (*queues_start)(void *priv, struct rp_accel_queue_start *starts, unsigned int count,
			    struct rp_wire_why *why);
	/**
	 * Say what is going to be started while somebody else still has the rings, so that queue_start and
	 * queues_start of the same need less of the device: of the same, but for the position, which is not looked
	 * at here. The device touches nothing of a ring before its start. What it refuses, a start will say.
	 * NULL: that makes a start no cheaper. A queue is not prepared any more after its start, queue_forget,
	 * set_features and reset.
	 * @param starts as for queues_start; error and why are not used. A call eventfd stays open until the start
	 *        or queue_forget. One that runs is left alone.
	 * @return 0, -EINVAL (more than RP_ACCEL_QUEUES_MAX), -ENOTCONN, -ETIMEDOUT, -EIO.
	 */
	int (*queues_prepare)(void *priv, const struct rp_accel_queue_start *starts, unsigned int count,
			      struct rp_wire_why *why);
	/** A queue that may have been prepared will not be started. Set when queues_prepare is. */
	void (*queue_forget)(void *priv, unsigned int queue);
	/**
	 * Drain and stop; bounded in time. On return of 0 the ring is let go of.
	 * @param ret_position class A: where another may go on (rp_vring_position.h). Class B
	 *        does not know and leaves it alone: a split ring goes on from its used index,
	 *        a packed one, whose position is nowhere in memory, not at all. Who wants to
	 *        keep such a ring does not stop it.
	 * @return 0, -EINVAL (not running), -ENOTSUP (class B: this device cannot stop
	 *         one queue while others run; it still runs, reset stops all of them), or
	 *         -ENOTCONN, -ETIMEDOUT, -EIO: no proof, the ring may still be written
	 *         until is_quiet says otherwise.
	 */
	int (*queue_stop)(void *priv, unsigned int queue, uint32_t *ret_position, struct rp_wire_why *why);
	/**
	 * Re-arm the one vector of a running queue.
	 * @param call_fd borrowed, -1: none.
	 * @return 0, -EINVAL (not running), -ENOTCONN, -ETIMEDOUT, -EIO.
	 */
	int (*queue_call)(void *priv, unsigned int queue, int call_fd, struct rp_wire_why *why);
	/**
	 * Ring the doorbell of a running queue on the guest's behalf.
	 * @return 0, -EINVAL (not running), -ENOTCONN, -ETIMEDOUT, -EIO.
	 */
	int (*queue_kick)(void *priv, unsigned int queue);
	/**
	 * The doorbell as something to hand out; also of a stopped queue.
	 * @return 0, -ENOTSUP (it cannot be handed out; why says the reason), -EINVAL
	 *         (no such queue), -ENOTCONN, -ETIMEDOUT, -EIO.
	 */
	int (*queue_notify_area)(void *priv, unsigned int queue, struct rp_accel_notify_area *ret_area,
				 struct rp_wire_why *why);
	/**
	 * Say whether the doorbell that queue_notify_area gives may be stored to: true before it is
	 * handed out, false once nobody has it any more. Then kicks come by queue_kick alone, and the
	 * device need not watch the page. Forgotten by set_features and reset; a stop keeps it. NULL: the
	 * device watches always.
	 * @return 0, -ENOTSUP (it watches always), -EINVAL (no such queue), -ENOTCONN, -ETIMEDOUT, -EIO.
	 */
	int (*queue_doorbell)(void *priv, unsigned int queue, bool page, struct rp_wire_why *why);
	/** Whether the device would like the doorbell to be handed out, as far as it said. Set when queue_doorbell is. */
	bool (*queue_wants_page)(void *priv, unsigned int queue);
	/** @return 0, -ENOTSUP (the device does not count), -EINVAL (no such queue), -ENOTCONN, -ETIMEDOUT, -EIO. */
	int (*queue_counters)(void *priv, unsigned int queue, struct rp_accel_queue_counters *ret_counters);
	/**
	 * virtio device configuration space, little-endian bytes, all of one generation.
	 * @return 0, -ENOTSUP (it has none), -EINVAL (beyond its end), -ENOTCONN, -ETIMEDOUT, -EIO.
	 */
	int (*config_get)(void *priv, uint32_t offset_bytes, uint32_t size_bytes, uint8_t *ret_bytes);
	/**
	 * Say what a network device is to receive. Kept, and said again by the driver
	 * whenever the device forgets it (set_features, reset). Before set_features it is
	 * only kept.
	 * @return 0, -ENOTSUP (the device has no means for one of the fields; why names it,
	 *         and what would do; nothing changed), -EINVAL (queue_pairs 0 or more than it
	 *         has; a multicast MAC), -ENOTCONN, -ETIMEDOUT, -EIO.
	 */
	int (*net_set)(void *priv, const struct rp_accel_net *net, struct rp_wire_why *why);
	/**
	 * Stop every queue and forget the negotiation; memory stays mapped. On return of
	 * 0 the device touches no ring. Doorbell pages live on: a device that would obey
	 * nothing less than a reset of its bus does not answer in time.
	 * @return 0, -ENOTCONN, -ETIMEDOUT, -EIO.
	 */
	int (*reset)(void *priv, struct rp_wire_why *why);
	/** To poll for POLLIN; then call process. The same from open to close; -1: none. */
	int (*get_fd)(void *priv);
	/**
	 * @return 0, or what changed: RP_ACCEL_CHANGED_CONFIG, config_get says to what, and
	 *         RP_ACCEL_CHANGED_WISHES, queue_wants_page says to what; -ENOTCONN / -ETIMEDOUT /
	 *         -EIO once the device failed: it serves nothing any more.
	 */
	int (*process)(void *priv, struct rp_wire_why *why);
	/**
	 * Whether a failed device is proven to touch memory no more: it was reset and
	 * said so, its process is gone, its DMA is cut. The proof is lost with close.
	 */
	bool (*is_quiet)(void *priv);
	/** Stops what runs, as far as the device still answers; bounded in time. */
	void (*close)(void *priv);
	/** As rp_accel_give(). NULL: it cannot be given away. */
	int (*give)(void *priv, struct rp_wire_parcel *parcel, struct rp_wire_why *why);
	/** As rp_accel_leave(). Set when give is. */
	void (*leave)(void *priv);
	/**
	 * The answer to a question that was to be answered later (rp_accel_iommu.h). In a callback too.
	 * @param translation NULL: the device's access fails.
	 * @return 0, -ENOENT (no such question any more), -EINVAL (what breaks a rule of the answer; it is
	 *         still to be given).
	 */
	int (*translated)(void *priv, uint64_t token, const struct rp_accel_translation *translation);
	/**
	 * The response to a page request, once what is behind its pages is mapped. In a callback too.
	 * @param present false: a page is not there and will not be.
	 * @return 0, -ENOENT (no such request any more), -ENOTCONN.
	 */
	int (*page_respond)(void *priv, uint32_t group, bool present);
	/**
	 * Take translations back; bounded in time. On return of 0 the device uses none of them
	 * any more. It asks meanwhile, and does not wait for answers.
	 * @param iova of a whole page. @param size_bytes of whole pages; 0: every address.
	 * @return 0, -EINVAL (the range), -ENOTCONN, -ETIMEDOUT, -EIO.
	 */
	int (*invalidate)(void *priv, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why);
};

/** An open accelerator. */
struct rp_accel {
	const struct rp_accel_ops *ops;
	void *priv;
};

struct rp_accel_devargs;
struct rp_accel_memory;

/**
 * How one kind of accelerator is opened. Static data of a driver.
 */
struct rp_accel_driver {
	const char *name; /**< first word of the device argument string: "vfio-user" */
	const char *const *keys; /**< keys that it understands, NULL-terminated */
	const char *usage; /**< "vfio-user,socket=PATH[,timeout_ms=N]" */
	/**
	 * Judge values without touching a device: required keys, numbers, lengths.
	 * NULL: nothing to judge. The registry puts the driver's name before why.
	 * @return 0 or -EBADMSG (why names the key and what was expected).
	 */
	int (*check)(const struct rp_accel_devargs *args, struct rp_wire_why *why);
	/** @return 0, what check says, or what opening says (-ENOENT, -ECONNREFUSED: try later). */
	int (*open)(const struct rp_accel_devargs *args, struct rp_accel *ret_accel, struct rp_wire_why *why);
	/** As rp_accel_adopt() (rp_accel_hand_over.h). NULL: it cannot. */
	int (*adopt)(const struct rp_accel_devargs *args, struct rp_wire_parcel *parcel,
		     const struct rp_accel_memory *memories, unsigned int memories_count, struct rp_accel *ret_accel,
		     struct rp_wire_why *why);
};

/** The drivers that an application offers. Belongs to the application. */
struct rp_accel_registry {
	const struct rp_accel_driver *const *drivers; /**< NULL-terminated */
};

/**
 * Open an accelerator from "driver,key=value,...". A value cannot hold ',' or '='.
 *
 * @param ret_accel set on success; ended by rp_accel_close().
 * @return 0, -EBADMSG (unknown driver; unknown, repeated or empty key; a value that
 *         cannot be; why names it and what was expected), or what the driver's open
 *         says (-ENOENT, -ECONNREFUSED: nobody listens yet, try later).
 */
int rp_accel_open(const struct rp_accel_registry *registry, const char *device_arguments, struct rp_accel *ret_accel,
		  struct rp_wire_why *why);

/** Only check the string: driver, keys, values. Touches no device. @return 0 or -EBADMSG (why names what is wrong). */
int rp_accel_check(const struct rp_accel_registry *registry, const char *device_arguments, struct rp_wire_why *why);

/** Close; ops becomes NULL. An accelerator that is not open is allowed. */
void rp_accel_close(struct rp_accel *accel);

/**
 * For drivers: the value of a key.
 * @return borrowed from args; NULL when absent, else not empty.
 */
const char *rp_accel_devargs_get(const struct rp_accel_devargs *args, const char *key);

/**
 * For drivers: a decimal number between bounds.
 * @return 0 (absent: *ret is left alone), -EBADMSG (why names the key and the bounds).
 */
int rp_accel_devargs_get_u32(const struct rp_accel_devargs *args, const char *key, uint32_t min, uint32_t max,
			     uint32_t *ret, struct rp_wire_why *why);

/** "A", "B" or "C". */
const char *rp_accel_class_name(enum rp_accel_class class);

#endif
