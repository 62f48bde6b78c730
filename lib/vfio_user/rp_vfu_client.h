/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VFU_CLIENT_H
#define RP_VFU_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_vfu_proto.h"
#include "rp_wire_why.h"

/**
 * @file
 * The client's end of vfio-user: what a VMM or a driver uses to reach a device
 * in another process.
 *
 * Theory of operation: each call sends one command and serves the connection
 * until its reply is there or the time limit passes; a passed limit ends the
 * connection, because the server's state is unknown from then on. Replies are
 * matched by their id; one that belongs to no command ends the connection too.
 * Commands that the server sends meanwhile are refused with -ENOTSUP, never left
 * waiting. Whatever the server says is judged before a caller sees it.
 *
 * Threads: one thread. disconnected() runs from inside the call that noticed,
 * and must not destroy the client.
 *
 * Ownership: descriptors of regions belong to the client until it is destroyed,
 * also after the server left. Descriptors given to it are borrowed.
 *
 * Specification: QEMU docs/interop/vfio-user.rst.
 */

struct rp_vfu_client;

struct rp_vfu_client_config {
	const char *socket_path;
	uint32_t timeout_ms; /**< of one call; 0: 5000 */
};

/** Copied; may be NULL, as may its members. */
struct rp_vfu_client_ops {
	/** Once: the server left, or framing was lost; every later call returns -ENOTCONN. */
	void (*disconnected)(void *ctx, const struct rp_wire_why *why);
};

/** A region as the server describes it. */
struct rp_vfu_client_region {
	uint64_t size_bytes;
	bool readable;
	bool writable;
	int fd; /**< borrowed from the client; -1: not mmap-able */
	uint64_t fd_offset_bytes;
	uint32_t areas_count; /**< what may be mmapped; without a sparse capability: one area, all of it */
	const struct rp_vfu_client_area {
		uint64_t offset_bytes;
		uint64_t size_bytes;
	} * areas; /**< borrowed from the client */
};

struct rp_vfu_client_device {
	uint32_t regions_count;
	uint32_t irqs_count;
	bool pci;
	bool resettable;
};

/**
 * Connect and negotiate the version.
 * @param ret_client set on success.
 * @return 0, what rp_wire_socket_connect() says, -ENOTCONN (the server closed: it
 *         has a client already, or is none of ours), -EBADMSG (an answer that breaks
 *         its rule; why names it), -ETIMEDOUT, -ENOMEM, or what the server replied.
 */
int rp_vfu_client_create(const struct rp_vfu_client_config *config, const struct rp_vfu_client_ops *ops, void *ctx,
			 struct rp_vfu_client **ret_client, struct rp_wire_why *why);

/** Disconnect; no callback runs. NULL is allowed. @return NULL. */
struct rp_vfu_client *rp_vfu_client_destroy(struct rp_vfu_client *client);

/** @return the socket, borrowed; poll for POLLIN to see the server leave. -1: it left. */
int rp_vfu_client_fd(const struct rp_vfu_client *client);

/** Serve what arrived outside a call, without waiting. @return 0 or -ENOTCONN. */
int rp_vfu_client_process(struct rp_vfu_client *client);

/** Whether the server is there, as far as calls and _process() have seen. */
bool rp_vfu_client_connected(const struct rp_vfu_client *client);

/*
 * All calls below return 0, -ENOTCONN, -ETIMEDOUT, -EBADMSG (an answer that
 * breaks its rule; why names it), -EINVAL (our arguments), -ENOMEM, -ENOTSUP (the
 * server takes no descriptors), or the negative of the errno that the server
 * replied; -EIO where that is no errno, or would say one of the first three.
 * ret_ parameters are set on success.
 */

/** Asked once, then remembered. */
int rp_vfu_client_device_info(struct rp_vfu_client *client, struct rp_vfu_client_device *ret_device,
			      struct rp_wire_why *why);
/** Asked once per region, then remembered (descriptors included) until destroy. */
int rp_vfu_client_region_info(struct rp_vfu_client *client, uint32_t region, struct rp_vfu_client_region *ret_region,
			      struct rp_wire_why *why);
/** @param ret_count vectors. @param ret_flags RP_VFU_IRQ_FLAG_*. */
int rp_vfu_client_irq_info(struct rp_vfu_client *client, uint32_t irq_index, uint32_t *ret_count, uint32_t *ret_flags,
			   struct rp_wire_why *why);

/** More than max_data_xfer_size goes in pieces, each answered before the next: for memory, not for registers. */
int rp_vfu_client_region_read(struct rp_vfu_client *client, uint32_t region, uint64_t offset_bytes,
			      uint32_t count_bytes, void *ret_bytes, struct rp_wire_why *why);
/** As _region_read(). The server has seen the write when this returns. */
int rp_vfu_client_region_write(struct rp_vfu_client *client, uint32_t region, uint64_t offset_bytes,
			       uint32_t count_bytes, const void *bytes, struct rp_wire_why *why);

/** Attach an eventfd (borrowed) to one vector; -1 detaches. */
int rp_vfu_client_irq_set(struct rp_vfu_client *client, uint32_t irq_index, uint32_t vector, int eventfd,
			  struct rp_wire_why *why);
/** Detach every vector of an interrupt index. */
int rp_vfu_client_irq_disable(struct rp_vfu_client *client, uint32_t irq_index, struct rp_wire_why *why);

/** @param fd borrowed, -1: no descriptor. @param access_mask RP_VFU_DMA_MAP_*. */
int rp_vfu_client_dma_map(struct rp_vfu_client *client, uint64_t iova, uint64_t size_bytes, int fd,
			  uint64_t offset_bytes, uint32_t access_mask, struct rp_wire_why *why);
/** When this returns 0 the server touches no byte of the range any more. */
int rp_vfu_client_dma_unmap(struct rp_vfu_client *client, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why);

/** @return also -ENOTSUP: the device has no reset. */
int rp_vfu_client_reset(struct rp_vfu_client *client, struct rp_wire_why *why);

/**
 * The eventfd that stands for a write of `size_bytes` at `offset_bytes` of a region.
 * @param ret_fd owned by the caller.
 * @return also -ENOENT: the server has none for that place.
 */
int rp_vfu_client_io_fd(struct rp_vfu_client *client, uint32_t region, uint64_t offset_bytes, uint64_t size_bytes,
			int *ret_fd, struct rp_wire_why *why);

/** Process id of the server, that is of whoever called listen(2) (SO_PEERCRED); 0 when gone. */
int rp_vfu_client_peer(const struct rp_vfu_client *client);

#endif
