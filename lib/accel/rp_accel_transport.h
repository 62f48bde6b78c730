/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_ACCEL_TRANSPORT_H
#define RP_ACCEL_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_accel.h"

/**
 * @file
 * How a PCI device is reached: kernel VFIO or vfio-user. drivers/virtio sits on
 * this and does not know on which of them.
 *
 * Threads: one thread. Registers are little-endian bytes as on the bus.
 */

/* Regions are numbered as in linux/vfio.h. */
#define RP_ACCEL_TRANSPORT_CONFIG_REGION 7u /**< PCI configuration space; 0 to 5 are BARs */

/** What a transport says about itself and its device. */
struct rp_accel_transport_info {
	char name[16]; /**< "vfio-user" */
	char device[128];
	uint32_t msix_count; /**< vectors that signal an eventfd */
	bool resettable; /**< reset works */
	int vfio_file_fd; /**< borrowed, -1: none */
	int peer_pid; /**< 0: none */
	struct rp_dma_iova_range iova_ranges[RP_DMA_IOVA_RANGES_MAX]; /**< as rp_accel_info has them */
	unsigned int iova_ranges_count; /**< 0: anywhere */
	uint64_t iova_page_bytes; /**< a power of two */
	bool asks; /**< as rp_accel_info has it */
};

/** A piece of a region that may be mmapped from a file. */
struct rp_accel_transport_window {
	int fd; /**< borrowed */
	uint64_t offset_bytes; /**< in the file */
	uint64_t size_bytes; /**< as asked */
};

/** A register's read or write. */
struct rp_accel_transport_access {
	uint32_t region;
	uint32_t count_bytes; /**< 1, 2, 4 or 8 */
	uint64_t offset_bytes;
	bool write;
	uint8_t bytes[8]; /**< to be written, or as they were read */
};

/**
 * How a driver reaches its device. Every member is set but those of a hand-over, of translations and those for
 * many at once, which may be NULL.
 *
 * Errors: -ENOTCONN (gone), -ETIMEDOUT (no answer in time) and -EIO are final: the
 * device is not to be trusted any more, and the same comes from process. Any other
 * error refuses one request. why may be NULL.
 */
struct rp_accel_transport_ops {
	void (*get_info)(void *priv, struct rp_accel_transport_info *ret_info);
	/** @return 0 and the size; 0 bytes when the region is absent. */
	int (*region_size)(void *priv, uint32_t region, uint64_t *ret_size_bytes, struct rp_wire_why *why);
	/** The caller has checked the bounds against region_size. */
	int (*region_read)(void *priv, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes, void *ret_bytes,
			   struct rp_wire_why *why);
	int (*region_write)(void *priv, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes, const void *bytes,
			    struct rp_wire_why *why);
	/**
	 * Many registers, in their order, for less than each of them costs alone. NULL: that is no cheaper here.
	 * @return 0, or the first error: what comes behind it may have been done, or not.
	 */
	int (*region_access_many)(void *priv, struct rp_accel_transport_access *accesses, unsigned int count,
				  struct rp_wire_why *why);
	/** @param ret_window its fd is borrowed, until close. @return 0, or -ENOTSUP: that piece is not mmap-able. */
	int (*region_window)(void *priv, uint32_t region, uint64_t offset_bytes, uint64_t size_bytes,
			     struct rp_accel_transport_window *ret_window, struct rp_wire_why *why);
	/** An eventfd that stands for a write of a value. @param ret_fd owned by the caller. @return 0 or -ENOENT. */
	int (*region_io_fd)(void *priv, uint32_t region, uint64_t offset_bytes, uint64_t size_bytes, uint64_t value,
			    int *ret_fd, struct rp_wire_why *why);
	/**
	 * Give an MSI-X vector its eventfd, the very one, and leave the other vectors as they are.
	 * @param eventfd borrowed, -1 detaches.
	 */
	int (*irq_set)(void *priv, uint32_t vector, int eventfd, struct rp_wire_why *why);
	/** As irq_set with -1, of which nobody waits for the end, nor asks how it went. NULL: irq_set is as good. */
	void (*irq_drop)(void *priv, uint32_t vector);
	/**
	 * As irq_set, for vectors in a row. NULL: that is no cheaper here.
	 * @return 0, or an error: some of them are set.
	 */
	int (*irq_set_many)(void *priv, uint32_t vector, uint32_t count, const int *eventfds, struct rp_wire_why *why);
	/**
	 * Both as irq_set_many and as region_access_many, in that order, for less than one after the other. The registers
	 * are accessed also when an eventfd is refused. NULL: that is no cheaper here.
	 * @param ret_irq with 0: what irq_set_many says.
	 * @return what region_access_many says.
	 */
	int (*irq_access_many)(void *priv, uint32_t vector, uint32_t vectors_count, const int *eventfds,
			       struct rp_accel_transport_access *accesses, unsigned int count, int *ret_irq,
			       struct rp_wire_why *why);
	/** As rp_accel_ops.dma_map. @return 0, -EEXIST, -ENOSPC, or another refusal of the device's. */
	int (*dma_map)(void *priv, uint64_t iova, uint64_t size_bytes, int fd, uint64_t offset_bytes, void *hva,
		       struct rp_wire_why *why);
	/** On return of 0 nothing of the device touches the range. */
	int (*dma_unmap)(void *priv, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why);
	/** Of the bus: function level reset, DEVICE_RESET. @return 0 or -ENOTSUP. */
	int (*reset)(void *priv, struct rp_wire_why *why);
	/** Poll for POLLIN; the same from open to close. -1: none. */
	int (*get_fd)(void *priv);
	/** @return 0, or -ENOTCONN / -EIO once it failed */
	int (*process)(void *priv, struct rp_wire_why *why);
	/** As rp_accel_ops.is_quiet: its process is gone, its DMA is cut. */
	bool (*is_quiet)(void *priv);
	void (*close)(void *priv);
	/** As rp_accel_give() (rp_accel_hand_over.h). */
	int (*give)(void *priv, struct rp_wire_parcel *parcel, struct rp_wire_why *why);
	/** As rp_accel_leave(). Set when give is. */
	void (*leave)(void *priv);
	/** As those of rp_accel_ops; -EINVAL also from invalidate. Set with rp_accel_transport_info.asks. */
	int (*translated)(void *priv, uint64_t token, const struct rp_accel_translation *translation);
	int (*page_respond)(void *priv, uint32_t group, bool present);
	int (*invalidate)(void *priv, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why);
};

/** An open transport. It belongs to the driver on it, which closes it. */
struct rp_accel_transport {
	const struct rp_accel_transport_ops *ops;
	void *priv;
};

#endif
