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

#define RP_ACCEL_TRANSPORT_CONFIG_REGION 7u /**< PCI configuration space; 0 to 5 are BARs */

struct rp_accel_transport_info {
	char name[16]; /**< "vfio-user" */
	char device[128];
	uint32_t msix_count;
	bool resettable;
	int vfio_file_fd; /**< borrowed, -1: none */
	int peer_pid; /**< 0: none */
};

/** A piece of a region that may be mmapped from a file. */
struct rp_accel_transport_window {
	int fd; /**< borrowed */
	uint64_t offset_bytes; /**< in the file */
	uint64_t size_bytes; /**< as asked */
};

struct rp_accel_transport_ops {
	void (*get_info)(void *priv, struct rp_accel_transport_info *ret_info);
	/** @return 0 and the size, 0 when the region is absent. */
	int (*region_size)(void *priv, uint32_t region, uint64_t *ret_size_bytes, struct rp_wire_why *why);
	int (*region_read)(void *priv, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes, void *ret_bytes,
			   struct rp_wire_why *why);
	int (*region_write)(void *priv, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes,
			    const void *bytes, struct rp_wire_why *why);
	/** @return 0, or -ENOTSUP: that piece is not mmap-able. */
	int (*region_window)(void *priv, uint32_t region, uint64_t offset_bytes, uint64_t size_bytes,
			     struct rp_accel_transport_window *ret_window, struct rp_wire_why *why);
	/** An eventfd that stands for a write to a place. @param ret_fd owned by the caller. @return 0 or -ENOENT. */
	int (*region_io_fd)(void *priv, uint32_t region, uint64_t offset_bytes, uint64_t size_bytes, int *ret_fd,
			    struct rp_wire_why *why);
	/** MSI-X. @param eventfd borrowed, -1 detaches. */
	int (*irq_set)(void *priv, uint32_t vector, int eventfd, struct rp_wire_why *why);
	int (*dma_map)(void *priv, uint64_t iova, uint64_t size_bytes, int fd, uint64_t offset_bytes, void *hva,
		       struct rp_wire_why *why);
	int (*dma_unmap)(void *priv, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why);
	int (*reset)(void *priv, struct rp_wire_why *why);
	int (*get_fd)(void *priv); /**< poll for POLLIN; -1: none */
	int (*process)(void *priv, struct rp_wire_why *why); /**< 0, or -ENOTCONN / -EIO once it failed */
	bool (*is_quiet)(void *priv); /**< as rp_accel_ops.is_quiet */
	void (*close)(void *priv);
};

struct rp_accel_transport {
	const struct rp_accel_transport_ops *ops;
	void *priv;
};

#endif
