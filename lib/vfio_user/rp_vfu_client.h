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
 * Theory of operation: a call sends one command and serves the connection until
 * its reply is there or the time limit passes; a passed limit ends the connection,
 * because the server's state is unknown from then on. What ends in _start() sends
 * and returns: up to 256 commands are under way at once, and a function hears of
 * each reply. Replies are matched by their id; one that belongs to no command ends
 * the connection. Whatever the server says is judged before a caller sees it.
 *
 * The server reads and writes memory by messages too: such commands are carried out
 * whenever they come, while a call waits and from rp_vfu_client_process(). They
 * reach what was mapped and no more, with the rights that it was mapped with: memory
 * of this process directly, the rest through dma_read() and dma_write(). Several that
 * the server has sent ahead may be carried out in another order where they overlap.
 *
 * Threads: one thread.
 *
 * Callbacks run from inside calls and _process(). They must not destroy the client;
 * they may start commands, but not wait: such calls return -EBUSY.
 *
 * Ownership: descriptors of regions belong to the client until it is destroyed,
 * also after the server left. Descriptors given to it are borrowed. Memory given to
 * it by pointer stays until it is unmapped or the client gone.
 *
 * Specification: QEMU docs/interop/vfio-user.rst.
 */

struct rp_vfu_client;
struct rp_vfu_client_iommu;

#define RP_VFU_CLIENT_NO_FDS UINT32_MAX

/** Zero means the default: everything that this library knows is offered, but the twin socket. */
struct rp_vfu_client_config {
	const char *socket_path;
	uint32_t timeout_ms; /**< of one call; 0: 5000 */
	uint32_t max_data_xfer_bytes; /**< 4096 to 1048576; 0: 1048576 */
	uint32_t max_msg_fds; /**< that we take, at most 16; 0: 16; RP_VFU_CLIENT_NO_FDS: none */
	uint32_t window_bytes; /**< the largest payload window, 64 KiB to 64 MiB; 0: 64 MiB */
	bool twin_socket; /**< offer a second socket for the server's commands */
	bool specification_only; /**< offer nothing that begins with "ringpass." */
	uint32_t withheld_mask; /**< more that is not offered: 1 << RP_VFU_TERM_* (rp_vfu_msg.h) */
	const struct rp_vfu_client_iommu *iommu; /**< our caller translates (rp_vfu_client_iommu.h); NULL: no */
};

/** Copied; may be NULL, as may its members. */
struct rp_vfu_client_ops {
	/** Once: the server left, or framing was lost; every later call returns -ENOTCONN. */
	void (*disconnected)(void *ctx, const struct rp_wire_why *why);
	/**
	 * The server reads memory that was mapped but is not in this process; the range
	 * lies in one mapping that it may read.
	 * @return 0, or the negative of the errno that the server gets.
	 */
	int (*dma_read)(void *ctx, uint64_t iova, uint64_t size_bytes, void *ret_bytes);
	/** Likewise; it may write it. What it wrote before an error stays. */
	int (*dma_write)(void *ctx, uint64_t iova, uint64_t size_bytes, const void *bytes);
};

/** What hears of the end of a command. Copied. */
struct rp_vfu_client_done {
	/** Once for each command that was started. error: as of the call that waits. NULL: nobody listens. */
	void (*done)(void *ctx, int error, const struct rp_wire_why *why);
	void *ctx;
};

/** Memory for the server. */
struct rp_vfu_client_memory {
	uint64_t iova;
	uint64_t size_bytes;
	int fd; /**< borrowed, for the server to map; -1: it uses messages */
	uint64_t offset_bytes; /**< in the descriptor's file */
	/**
	 * Where it is in this process, for messages. NULL: the client maps the descriptor
	 * itself when it is a file that is long enough (seal it: whoever cuts it off later
	 * ends this process); without one, dma_read() and dma_write() are asked.
	 */
	void *hva;
	uint32_t access_mask; /**< RP_VFU_DMA_MAP_* */
	bool has_pasid; /**< the addresses are of a PASID's own space: needs `ringpass.iommu` (rp_vfu_client_iommu.h) */
	uint32_t pasid;
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
 *         its rule; why names it), -EINVAL (the configuration), -ETIMEDOUT, -ENOMEM, what
 *         epoll_create1(2) and timerfd_create(2) say, or what the server replied.
 */
int rp_vfu_client_create(const struct rp_vfu_client_config *config, const struct rp_vfu_client_ops *ops, void *ctx,
			 struct rp_vfu_client **ret_client, struct rp_wire_why *why);

/** Disconnect; what is under way ends with -ECANCELED, disconnected() does not run. NULL is allowed. @return NULL. */
struct rp_vfu_client *rp_vfu_client_destroy(struct rp_vfu_client *client);

/**
 * What to poll for POLLIN between calls: the server left, wants something, reads
 * again, or a command's time is over; then rp_vfu_client_process().
 * @return borrowed; -1: the server left.
 */
int rp_vfu_client_fd(const struct rp_vfu_client *client);

/** @return the socket, borrowed, for SO_PEERCRED and the like, never to be read. -1: the server left. */
int rp_vfu_client_socket_fd(const struct rp_vfu_client *client);

/** Serve what arrived outside a call, without waiting. @return 0, -ENOTCONN, or -EBUSY (from inside a callback). */
int rp_vfu_client_process(struct rp_vfu_client *client);

/** Whether the server is there, as far as calls and _process() have seen. */
bool rp_vfu_client_connected(const struct rp_vfu_client *client);

/*
 * All calls below return 0, -ENOTCONN, -ETIMEDOUT, -EBADMSG (an answer that
 * breaks its rule; why names it), -EINVAL (our arguments), -ENOMEM, -ENOTSUP (the
 * server takes no descriptors, or the capability was not agreed on), -EBUSY (from
 * inside a callback), or the negative of the errno that the server replied; -EIO
 * where that is no errno, or would say one of the first three. ret_ parameters are
 * set on success. What ends in _start() may run in a callback, and returns -EAGAIN
 * when too much is under way or the server does not read: try again after
 * rp_vfu_client_process(). After any other error of it nobody hears of the command.
 */

/** Serve until nothing is under way. */
int rp_vfu_client_wait(struct rp_vfu_client *client, struct rp_wire_why *why);

/** Asked once, then remembered. */
int rp_vfu_client_device_info(struct rp_vfu_client *client, struct rp_vfu_client_device *ret_device,
			      struct rp_wire_why *why);
/** Asked once per region, then remembered (descriptors included) until destroy. */
int rp_vfu_client_region_info(struct rp_vfu_client *client, uint32_t region, struct rp_vfu_client_region *ret_region,
			      struct rp_wire_why *why);
/** @param ret_count vectors. @param ret_flags RP_VFU_IRQ_FLAG_*. */
int rp_vfu_client_irq_info(struct rp_vfu_client *client, uint32_t irq_index, uint32_t *ret_count, uint32_t *ret_flags,
			   struct rp_wire_why *why);

/** More than max_data_xfer_size goes in pieces, all under way at once: for memory, not for registers. */
int rp_vfu_client_region_read(struct rp_vfu_client *client, uint32_t region, uint64_t offset_bytes,
			      uint32_t count_bytes, void *ret_bytes, struct rp_wire_why *why);
/** As _region_read(). The server has seen the write when this returns. */
int rp_vfu_client_region_write(struct rp_vfu_client *client, uint32_t region, uint64_t offset_bytes,
			       uint32_t count_bytes, const void *bytes, struct rp_wire_why *why);
/** At most max_data_xfer_size. ret_bytes is written to before done() hears 0, and stays until it hears anything. */
int rp_vfu_client_region_read_start(struct rp_vfu_client *client, uint32_t region, uint64_t offset_bytes,
				    uint32_t count_bytes, void *ret_bytes, const struct rp_vfu_client_done *done,
				    struct rp_wire_why *why);
/** At most max_data_xfer_size; the bytes are not needed any more when this returns. */
int rp_vfu_client_region_write_start(struct rp_vfu_client *client, uint32_t region, uint64_t offset_bytes,
				     uint32_t count_bytes, const void *bytes, const struct rp_vfu_client_done *done,
				     struct rp_wire_why *why);
/** A write that is not answered: in order with other commands, and whether the server refused it is never known. */
int rp_vfu_client_region_write_post(struct rp_vfu_client *client, uint32_t region, uint64_t offset_bytes,
				    uint32_t count_bytes, const void *bytes, struct rp_wire_why *why);

/** A write of at most 8 bytes. */
struct rp_vfu_client_write {
	uint32_t region;
	uint32_t count_bytes; /**< 1 to 8 */
	uint64_t offset_bytes;
	uint8_t bytes[8];
};

/**
 * Many small writes, in as few messages as they fit.
 * @param ret_done also set on failure: how many the server has said it did. NULL is allowed.
 * @return also -EIO: the server stopped before the last one.
 */
int rp_vfu_client_region_write_multi(struct rp_vfu_client *client, const struct rp_vfu_client_write *writes,
				     unsigned int count, unsigned int *ret_done, struct rp_wire_why *why);

/** A read or a write of at most 8 bytes. */
struct rp_vfu_client_access {
	uint32_t region;
	uint32_t count_bytes; /**< 1 to 8 */
	uint64_t offset_bytes;
	bool write;
	uint8_t bytes[8]; /**< to be written, or as they were read */
};

/**
 * Many small accesses, done in their order, that cost the round trips of a few: all that fit are under way at
 * once. Nobody looks at one answer before the next access is on its way, so that what must not happen
 * unless something was read first belongs into another call.
 * @return as the others: the first error. The accesses behind the one that failed may have been done, or not.
 */
int rp_vfu_client_region_access_many(struct rp_vfu_client *client, struct rp_vfu_client_access *accesses,
				     unsigned int count, struct rp_wire_why *why);

/** Attach an eventfd (borrowed) to one vector; -1 detaches. */
int rp_vfu_client_irq_set(struct rp_vfu_client *client, uint32_t irq_index, uint32_t vector, int eventfd,
			  struct rp_wire_why *why);
/**
 * Detach the eventfd of one vector, and wait for no answer: where one that stays a little longer harms nobody.
 * The server does it before whatever it is asked next, and is not woken for it: it leaves with that, or in the next
 * rp_vfu_client_process(), for which the descriptor becomes readable.
 * @return 0 (it is on its way), or as every waiting call.
 */
int rp_vfu_client_irq_drop(struct rp_vfu_client *client, uint32_t irq_index, uint32_t vector, struct rp_wire_why *why);
/**
 * Likewise for many, in runs of what a message carries, all under way at once. After an
 * error some of them are set.
 * @param action_mask one of RP_VFU_IRQ_ACTION_*: signalled when the server triggers, masks or unmasks the vector.
 * @param eventfds borrowed, one for each vector; -1 detaches.
 */
int rp_vfu_client_irq_eventfds(struct rp_vfu_client *client, uint32_t irq_index, uint32_t action_mask, uint32_t start,
			       uint32_t count, const int *eventfds, struct rp_wire_why *why);
/**
 * Attach eventfds, as _irq_eventfds() with TRIGGER, and then access registers, as _region_access_many(), all of it under
 * way at once: the registers are accessed also when the server refuses an eventfd.
 * @param ret_irq what _irq_eventfds() would say; set when this returns 0, or what the server said of the registers.
 */
int rp_vfu_client_irq_access_many(struct rp_vfu_client *client, uint32_t irq_index, uint32_t start, uint32_t count,
				  const int *eventfds, struct rp_vfu_client_access *accesses,
				  unsigned int accesses_count, int *ret_irq, struct rp_wire_why *why);
/**
 * Trigger, mask or unmask vectors.
 * @param bools a byte for each vector, those that are not 0 are meant; NULL: all.
 */
int rp_vfu_client_irq_action(struct rp_vfu_client *client, uint32_t irq_index, uint32_t action_mask, uint32_t start,
			     uint32_t count, const uint8_t *bools, struct rp_wire_why *why);
/** Detach every vector of an interrupt index. */
int rp_vfu_client_irq_disable(struct rp_vfu_client *client, uint32_t irq_index, struct rp_wire_why *why);

/** Give the server memory. @return also -EEXIST: it overlaps what it has. */
int rp_vfu_client_dma_map_memory(struct rp_vfu_client *client, const struct rp_vfu_client_memory *memory,
				 struct rp_wire_why *why);
/** As many, pipelined. After an error some are mapped: unmap the range of all of them. */
int rp_vfu_client_dma_map_many(struct rp_vfu_client *client, const struct rp_vfu_client_memory *memories,
			       unsigned int count, struct rp_wire_why *why);
/** The descriptor is not needed any more when this returns. The server may use the memory before done() runs. */
int rp_vfu_client_dma_map_start(struct rp_vfu_client *client, const struct rp_vfu_client_memory *memory,
				const struct rp_vfu_client_done *done, struct rp_wire_why *why);
/** As _map_memory() without a pointer. @param fd borrowed, -1: none. @param access_mask RP_VFU_DMA_MAP_*. */
int rp_vfu_client_dma_map(struct rp_vfu_client *client, uint64_t iova, uint64_t size_bytes, int fd,
			  uint64_t offset_bytes, uint32_t access_mask, struct rp_wire_why *why);
/** When this returns 0 the server touches no byte of the range any more. */
int rp_vfu_client_dma_unmap(struct rp_vfu_client *client, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why);
/** When done() hears 0 the server touches no byte of the range any more; until then it may. */
int rp_vfu_client_dma_unmap_start(struct rp_vfu_client *client, uint64_t iova, uint64_t size_bytes,
				  const struct rp_vfu_client_done *done, struct rp_wire_why *why);

/** As _dma_unmap() for as many; only their ranges and PASIDs are looked at. */
int rp_vfu_client_dma_unmap_many(struct rp_vfu_client *client, const struct rp_vfu_client_memory *memories,
				 unsigned int count, struct rp_wire_why *why);
/** Take back everything. */
int rp_vfu_client_dma_unmap_all(struct rp_vfu_client *client, struct rp_wire_why *why);
/**
 * Take back a range and learn which pages of it the server wrote since it was asked last.
 * More pages than a message has bits for are taken back first and reported then, so
 * that an error of the report leaves them taken back.
 * @param page_size_bytes a power of two.
 * @param ret_bits one for each page, the first one in the lowest bit; whole words, written
 *        to in parts on failure.
 */
int rp_vfu_client_dma_unmap_dirty(struct rp_vfu_client *client, uint64_t iova, uint64_t size_bytes,
				  uint64_t page_size_bytes, uint64_t *ret_bits, struct rp_wire_why *why);
/**
 * Replace whatever is mapped in a range, at once: no access of the server finds a hole.
 * When this returns 0 nobody uses the old memory any more.
 * @return also -ENOTSUP: ringpass.remap was not agreed on.
 */
int rp_vfu_client_dma_remap(struct rp_vfu_client *client, const struct rp_vfu_client_memory *memory,
			    struct rp_wire_why *why);
/** As _remap(); the old memory is the server's until done() hears. */
int rp_vfu_client_dma_remap_start(struct rp_vfu_client *client, const struct rp_vfu_client_memory *memory,
				  const struct rp_vfu_client_done *done, struct rp_wire_why *why);

/** @return also -ENOTSUP: the device has no reset. */
int rp_vfu_client_reset(struct rp_vfu_client *client, struct rp_wire_why *why);

/**
 * Whether the device has a feature (RP_VFU_FEATURE_*, or of <linux/vfio.h>).
 * @param methods_mask RP_VFU_FEATURE_GET_MASK, RP_VFU_FEATURE_SET_MASK, both or none.
 */
int rp_vfu_client_feature_probe(struct rp_vfu_client *client, uint32_t feature, uint32_t methods_mask,
				struct rp_wire_why *why);
/** @param ret_bytes how many bytes of data there are, at most the room. */
int rp_vfu_client_feature_get(struct rp_vfu_client *client, uint32_t feature, void *ret_data, uint32_t room_bytes,
			      uint32_t *ret_bytes, struct rp_wire_why *why);
/** @param data what the server made of it, when this returns 0. */
int rp_vfu_client_feature_set(struct rp_vfu_client *client, uint32_t feature, void *data, uint32_t data_bytes,
			      struct rp_wire_why *why);

/** What migration the device can do. @param ret_flags RP_VFU_MIGRATION_*, always with STOP_COPY. */
int rp_vfu_client_migration_flags(struct rp_vfu_client *client, uint64_t *ret_flags, struct rp_wire_why *why);
/** In which state the device is. */
int rp_vfu_client_migration_state(struct rp_vfu_client *client, enum rp_vfu_mig_state *ret_state,
				  struct rp_wire_why *why);
/** The transition is complete when this returns 0. */
int rp_vfu_client_migration_set_state(struct rp_vfu_client *client, enum rp_vfu_mig_state state,
				      struct rp_wire_why *why);
/** The next bytes of the device's state. @param ret_count_bytes less than the room: there is no more for now. */
int rp_vfu_client_migration_read(struct rp_vfu_client *client, void *ret_bytes, size_t room_bytes,
				 size_t *ret_count_bytes, struct rp_wire_why *why);
/** The next bytes of a state, for a device that is RESUMING. */
int rp_vfu_client_migration_write(struct rp_vfu_client *client, const void *bytes, size_t count_bytes,
				  struct rp_wire_why *why);

/** Addresses of the server's. */
struct rp_vfu_client_range {
	uint64_t iova;
	uint64_t size_bytes;
};

/**
 * Log what the device writes.
 * @param page_size_bytes what is wished for, and then what the device does.
 * @param ranges_count 0: everything.
 */
int rp_vfu_client_logging_start(struct rp_vfu_client *client, uint64_t *page_size_bytes,
				const struct rp_vfu_client_range *ranges, uint32_t ranges_count,
				struct rp_wire_why *why);
/**
 * Which pages were written since the last report; in as many messages as it takes, all under way at once.
 * @param page_size_bytes a power of two.
 * @param ret_bits as of rp_vfu_client_dma_unmap_dirty().
 */
int rp_vfu_client_logging_report(struct rp_vfu_client *client, uint64_t iova, uint64_t size_bytes,
				 uint64_t page_size_bytes, uint64_t *ret_bits, struct rp_wire_why *why);
/** Log no more; what was not reported is forgotten. */
int rp_vfu_client_logging_stop(struct rp_vfu_client *client, struct rp_wire_why *why);

/**
 * The eventfd that stands for a write of `value`, in `size_bytes`, at `offset_bytes` of a region:
 * one for that value, or for any.
 * @param ret_fd owned by the caller.
 * @return also -ENOENT: the server has none for that place and value.
 */
int rp_vfu_client_io_fd(struct rp_vfu_client *client, uint32_t region, uint64_t offset_bytes, uint64_t size_bytes,
			uint64_t value, int *ret_fd, struct rp_wire_why *why);

/** A place of a region, and what stands for a write of it (<linux/kvm.h>, KVM_IOEVENTFD). */
struct rp_vfu_client_place {
	uint64_t offset_bytes;
	uint64_t size_bytes; /**< 0: of any width */
	uint32_t type; /**< RP_VFU_IO_FD_TYPE_* */
	uint32_t flags; /**< RP_VFU_IO_FD_*_MASK of an ioeventfd */
	uint64_t datamatch; /**< of an ioregionfd: what it calls user_data */
	int fd; /**< an eventfd, but for an ioregionfd; owned by the caller */
	int shadow_fd; /**< a file that takes the value that was written; -1: none; owned by the caller */
	uint64_t shadow_offset_bytes;
};

/**
 * All places of a region, or as many as there is room for.
 * @param ret_places close them with rp_vfu_client_places_close().
 * @return also -ENOENT: the server does not know the command.
 */
int rp_vfu_client_places(struct rp_vfu_client *client, uint32_t region, struct rp_vfu_client_place *ret_places,
			 unsigned int room, unsigned int *ret_count, struct rp_wire_why *why);
/** Close the descriptors of places. */
void rp_vfu_client_places_close(struct rp_vfu_client_place *places, unsigned int count);

/** Process id of the server, that is of whoever called listen(2) (SO_PEERCRED); 0 when gone. */
int rp_vfu_client_peer(const struct rp_vfu_client *client);

#endif
