/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VFU_VIRTIO_H
#define RP_VFU_VIRTIO_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_vfu_pci.h"

/**
 * @file
 * The registers that every virtio device on PCI has, for whoever writes one, on top
 * of rp_vfu_pci: common configuration, interrupt status, device configuration,
 * doorbells, the window through configuration space, and the ring state capability
 * by which ringpassd takes a queue over where it stands (rp_accel_vendor.h).
 *
 * Theory of operation: rp_vfu_virtio_create() makes the registers of a device of so
 * many queues; rp_vfu_virtio_describe() puts them into a PCI function. From then on the
 * library answers what a driver reads and judges what it writes; the device hears of
 * what is more than a number (a queue was enabled, is to be stopped, the driver is ready),
 * and looks at the queues as the driver programmed them.
 *
 *      BAR 0  MSI-X: table, pending bits              16 KiB
 *      BAR 2  registers, each block in pages of its own  64 KiB
 *      BAR 4  doorbells, as many bytes apart as the device says; or a page apart, in
 *             memory that the library makes and a guest may have mapped. A doorbell is
 *             one queue's, or that of as many in a row as the device says
 *
 * A queue is served while rp_vfu_virtio_queue_wanted() says so. Its ring's position and
 * whether it broke a rule are the device's to tell: it writes `position` and `broken` of
 * struct rp_vfu_virtio_queue, whenever it likes or when look() asks for them.
 *
 * What a driver writes is untrusted: any width, any offset, any order, whatever the
 * queue. An access that covers a field in part changes the bytes that it covers, one that
 * covers several changes them in the order of their offsets. What a running ring uses
 * (size, addresses, position) cannot be changed under it; a size of 0, or beyond what is
 * offered, is not taken; what is selected beyond the queues reads as 0. Features are
 * settled by FEATURES_OK, and that is refused unless they are offered and have
 * VIRTIO_F_VERSION_1. Whether a size fits its ring, and where the ring lies, is judged by
 * who serves it (rp_vring_dev_init()).
 *
 * Byte order: registers are little-endian on any machine; numbers in these structures
 * are the machine's own, the device configuration is bytes as the driver reads them.
 *
 * Threads: one, that of the function's server; callbacks run in it.
 *
 * Ownership: `config` and ops are copied; arrays and descriptors of `notify` are borrowed as those of
 * a BAR are (rp_vfu_pci.h). The object must outlive its function.
 *
 * Specification: virtio 1.2, 2.1, 2.2, 4.1.3 to 4.1.5; doc/protocol/ring-state-capability.md.
 */

struct rp_vfu_virtio;
struct rp_vring_layout;

#define RP_VFU_VIRTIO_QUEUES_MAX 256u
#define RP_VFU_VIRTIO_QUEUE_SIZE_MAX 32768u
#define RP_VFU_VIRTIO_CONFIG_MAX_BYTES 4096u
#define RP_VFU_VIRTIO_NO_VECTOR 0xffffu

#define RP_VFU_VIRTIO_BAR_MSIX 0u
#define RP_VFU_VIRTIO_BAR_REGISTERS 2u
#define RP_VFU_VIRTIO_BAR_NOTIFY 4u

/** A queue as its registers have it now. */
struct rp_vfu_virtio_queue {
	uint16_t size; /**< entries; not 0 and no more than offered, else as the driver wrote it */
	uint16_t vector; /**< of MSI-X; RP_VFU_VIRTIO_NO_VECTOR: none */
	bool enabled;
	bool stopping; /**< queue_stop() takes its time */
	bool broken; /**< the device's to write: the ring broke a rule; forgotten when the queue is stopped or enabled */
	uint32_t position; /**< where to start (rp_vring_position.h); while it is enabled the device's to write */
	uint8_t doorbell; /**< RP_ACCEL_VENDOR_DOORBELL_*: whether anybody may store to the doorbell's page */
	bool wants_page; /**< as the device said last with rp_vfu_virtio_want_page() */
	uint64_t desc_iova; /**< as the driver wrote it, whatever that is, as are the others */
	uint64_t avail_iova;
	uint64_t used_iova;
};

/** What a device counted of a queue, for the ring state capability. */
struct rp_vfu_virtio_counters {
	uint64_t direct_kicks; /**< doorbells found rung in memory */
	uint64_t eventfd_kicks; /**< kicks that came by eventfd or message */
	uint64_t interrupts;
	uint64_t packets;
	uint64_t bytes;
	uint64_t errors;
};

/** Why a queue is to be stopped. */
enum rp_vfu_virtio_stop {
	RP_VFU_VIRTIO_STOP, /**< through the ring state capability: drain it; its position is asked for next */
	RP_VFU_VIRTIO_STOP_RESET, /**< queue_reset: drop what is in flight; the registers are as new afterwards */
};

/** Copied. Each may be NULL. */
struct rp_vfu_virtio_ops {
	/**
	 * The driver wrote queue_enable: a new ring, whatever ran before. DRIVER_OK need not be there yet.
	 * @return 0, or a negative errno: the queue stays disabled, as a driver can read back.
	 */
	int (*queue_enable)(void *ctx, unsigned int queue);
	/**
	 * Touch an enabled queue's ring no more, and write its `position`.
	 * @return 0: that is done. -EINPROGRESS: `stopping` until rp_vfu_virtio_queue_stopped(); a reset
	 *         does not wait for it. Anything else is as 0.
	 */
	int (*queue_stop)(void *ctx, unsigned int queue, enum rp_vfu_virtio_stop kind);
	/**
	 * The driver wrote `doorbell`, perhaps what was there already; with `has_doorbell_wishes`. After
	 * RP_ACCEL_VENDOR_DOORBELL_EVENTFD the page is looked at for RP_ACCEL_VENDOR_DOORBELL_WATCH_MS more.
	 * A reset, or queue_reset, is not told: the queue is stopped, and all is as at the beginning.
	 */
	void (*queue_doorbell)(void *ctx, unsigned int queue);
	/** The queue's vector is another one. */
	void (*queue_vector)(void *ctx, unsigned int queue);
	/** DRIVER_OK was set: queues that are enabled are wanted now (virtio 1.2, 3.1.1). */
	void (*driver_ok)(void *ctx);
	/** FEATURES_OK was not granted to these features. */
	void (*features_refused)(void *ctx, uint64_t features);
	/** Let go of all rings; the registers are still there to be looked at, and are as new afterwards. */
	void (*reset)(void *ctx);
	/**
	 * Somebody reads the ring state of a queue: bring `position` and `broken` up to date.
	 * @param ret_counters zeroes; looked at with `has_counters`.
	 */
	void (*look)(void *ctx, unsigned int queue, struct rp_vfu_virtio_counters *ret_counters);
	/**
	 * The driver wrote to the device configuration; what it wrote is not stored unless the device
	 * calls rp_vfu_virtio_set_config(). Bytes are within it.
	 */
	void (*config_write)(void *ctx, uint32_t at, uint32_t count_bytes, const uint8_t *bytes);
};

struct rp_vfu_virtio_config {
	uint64_t features; /**< offered; VIRTIO_F_VERSION_1 is one of them */
	uint16_t queues_count; /**< 1 to RP_VFU_VIRTIO_QUEUES_MAX */
	uint16_t queue_size_max; /**< 1 to RP_VFU_VIRTIO_QUEUE_SIZE_MAX; a power of two where split rings are offered */
	uint16_t vectors_count; /**< of MSI-X, up to one a queue and one more; 0: by the pin (rp_vfu_pci_config.intx) */
	bool has_counters; /**< look() fills them in */
	bool has_doorbell_wishes; /**< the device says how it wants to be rung: rp_vfu_virtio_want_page() */
	const void *config; /**< device configuration as the driver reads it; NULL with 0 bytes: there is none */
	uint32_t config_bytes; /**< up to RP_VFU_VIRTIO_CONFIG_MAX_BYTES */
	uint32_t capabilities_offset_bytes; /**< of the first one, in configuration space; 0: behind what is there */
	/**
	 * From one doorbell to the next, a power of two of at least 2. 0: a page each in memory of the
	 * library's, to be looked at with rp_vfu_virtio_rung(); `notify` is not looked at.
	 */
	uint32_t notify_stride_bytes;
	/**
	 * So many queues in a row have the same doorbell: their queue_notify_off is their number divided by it.
	 * 0 or 1: each has its own. A driver stores the queue's number there, which is no more than a hint: it
	 * may be a guest's, which knows the queue by another number or lies, and of two that store at once one
	 * is lost. So whoever finds such a doorbell rung looks at all its queues; the ring state capability
	 * says that doorbells are decoded by their address, and that is what it means.
	 */
	uint16_t notify_group_queues;
	struct rp_vfu_region notify; /**< the device's doorbells: as of a BAR, with room for each of them */
};

/**
 * Make the registers of a device, as after power-on.
 * @param ops may be NULL. @param ctx given to callbacks, and to those of `notify` without a ctx of its own.
 * @param ret_virtio set on success.
 * @return 0, -EINVAL (why names the field), -ENOMEM, or what memfd_create(2) says.
 */
int rp_vfu_virtio_create(const struct rp_vfu_virtio_config *config, const struct rp_vfu_virtio_ops *ops, void *ctx,
			 struct rp_vfu_virtio **ret_virtio, struct rp_wire_why *why);

/** End it, after its function. NULL is allowed. @return NULL. */
struct rp_vfu_virtio *rp_vfu_virtio_destroy(struct rp_vfu_virtio *virtio);

/**
 * Put them into a function, before rp_vfu_pci_listen(): the three BARs, MSI-X if there are
 * vectors, then the capabilities common, notify, ISR, device, PCI configuration access and
 * ring state. What is refused is said by rp_vfu_pci_listen().
 */
void rp_vfu_virtio_describe(struct rp_vfu_virtio *virtio, struct rp_vfu_pci *pci);

/** Everything as after power-on, the device configuration excepted: for rp_vfu_pci_ops.reset. Calls reset(). */
void rp_vfu_virtio_reset(struct rp_vfu_virtio *virtio);

/** Features that the driver accepted (or is about to, before FEATURES_OK). */
uint64_t rp_vfu_virtio_features(const struct rp_vfu_virtio *virtio);

/** The device status, VIRTIO_CONFIG_S_*. */
uint8_t rp_vfu_virtio_status(const struct rp_vfu_virtio *virtio);

/** A queue's registers; the same place while the object lives. @param queue below queues_count. */
struct rp_vfu_virtio_queue *rp_vfu_virtio_queue(struct rp_vfu_virtio *virtio, unsigned int queue);

/** Whether it is to be served: enabled, not stopping, DRIVER_OK is set and the function is bus master. */
bool rp_vfu_virtio_queue_wanted(const struct rp_vfu_virtio *virtio, unsigned int queue);

/** Where the ring is, for rp_vring_dev_init(); without notes, and as untrusted as the driver. */
void rp_vfu_virtio_queue_layout(const struct rp_vfu_virtio *virtio, unsigned int queue,
				struct rp_vring_layout *ret_layout);

/** The device let go of a ring: after a queue_stop() that took its time, or of its own accord. `position` is written. */
void rp_vfu_virtio_queue_stopped(struct rp_vfu_virtio *virtio, unsigned int queue);

/**
 * Whether a queue's doorbell was rung since the last call; once for any number of kicks. Where queues
 * have one in common, a kick of any of them is one of each.
 * With a stride of the device's own: false.
 */
bool rp_vfu_virtio_rung(struct rp_vfu_virtio *virtio, unsigned int queue);

/**
 * Interrupt for a queue, by its vector or by the pin (4.1.5.1.4). By vector nothing happens when it
 * has none, or while the function is no bus master. From another thread: rp_vfu_pci_ops.irq_changed.
 * @return as rp_vfu_pci_irq_trigger() or rp_vfu_pci_intx(); 0 before rp_vfu_virtio_describe().
 */
int rp_vfu_virtio_interrupt(struct rp_vfu_virtio *virtio, unsigned int queue);

/**
 * Say whether the device wants a queue to be rung by its doorbell's page, or by eventfd: the
 * driver is told, by the interrupt for configuration changes, unless that is what it does or it
 * never said what it does. The wish outlives what happens to the queue; a reset forgets it (by page).
 * With `has_doorbell_wishes`.
 */
void rp_vfu_virtio_want_page(struct rp_vfu_virtio *virtio, unsigned int queue, bool page);

/**
 * Change the device configuration; once the driver is ready it is told so (4.1.5.1.5).
 * @return 0 or -EINVAL (beyond config_bytes; nothing changed).
 */
int rp_vfu_virtio_set_config(struct rp_vfu_virtio *virtio, uint32_t at, const void *bytes, uint32_t count_bytes);

/** The device cannot go on before it is reset: DEVICE_NEEDS_RESET, of which the driver is told (2.1.2). */
void rp_vfu_virtio_needs_reset(struct rp_vfu_virtio *virtio);

#endif
