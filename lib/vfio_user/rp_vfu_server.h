/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VFU_SERVER_H
#define RP_VFU_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_dma.h"
#include "rp_vfu_proto.h"
#include "rp_wire_why.h"

/**
 * @file
 * The server's (the device's) end of vfio-user: one device, one client at a time.
 *
 * Theory of operation: the device is described once (regions, interrupts), then
 * rp_vfu_server_process() accepts a client, checks each command against its row
 * of the message table and answers it, in the order of arrival. While a reply
 * waits for the client to read, no further command is taken.
 *
 * What the client maps for DMA appears in the server's rp_dma_space, with a
 * descriptor or without: rp_dma_io_*() and rp_dma_map() reach both, in the second
 * case by commands to the client. None of those leaves while a command of the
 * client's is unanswered (it may wait for the answer and serve nothing), unless
 * they have a socket of their own. So a callback that is inside a command starts
 * accesses and returns; it cannot wait for them.
 *
 * An unmap is answered after everybody has let go, without stopping this thread.
 * When the client leaves, its memory is unmapped (but what the device has by
 * rp_dma_map(): that stays until it is unmapped), its descriptors are closed, its
 * interrupts dropped; the device's own state stays, and the next client goes on. A second client while one is
 * connected is accepted and closed at once, so that it does not wait for ever.
 *
 * A broken rule is answered with an errno and the connection stays; lost framing
 * (an impossible header, more descriptors than a message may carry) and a wrong
 * major version close it.
 *
 * Threads: one thread. Callbacks run in it, from inside rp_vfu_server_process()
 * and rp_vfu_server_destroy(), and must not call either. A data path thread never
 * calls in here: it translates with an rp_dma_reader of its own, and signals a
 * vector through a duplicate of the descriptor that irq_changed() gave.
 *
 * Ownership: descriptors of the description are borrowed while the server lives;
 * what a client sent belongs to the server.
 *
 * Specification: QEMU docs/interop/vfio-user.rst. doc/protocol/vfio-user.md says
 * which errno goes on the wire when, and what goes beyond the specification.
 */

struct rp_vfu_server;
struct rp_vfu_server_iommu;

/** A window of a region that the client may mmap. */
struct rp_vfu_area {
	uint64_t offset_bytes; /**< in the region, a multiple of the page size */
	uint64_t size_bytes;
};

/** An eventfd that stands for writes to a place of a region (GET_REGION_IO_FDS). */
struct rp_vfu_io_fd {
	uint64_t offset_bytes; /**< in the region */
	uint64_t size_bytes; /**< width of the write; 0: any */
	int fd; /**< an eventfd, borrowed by the server while it lives */
	/**
	 * It stands only for writes of this value, which size_bytes has room for: where queues share an
	 * address, each has an eventfd of its own. A place with another value is written by message.
	 */
	bool has_datamatch;
	uint64_t datamatch; /**< as of KVM_IOEVENTFD */
	/**
	 * The eventfd alone does not say what was written. With a shadow the client stores
	 * the value in memory, in the guest's byte order, before it signals. It is offered to
	 * clients that agreed to `ringpass.io_fds` and take two descriptors in a message;
	 * others write by message, as do all when the write has no width (size_bytes 0).
	 */
	bool has_shadow;
	int shadow_fd; /**< memory that can be mapped shared and written, borrowed */
	uint64_t shadow_offset_bytes; /**< in the file, a multiple of size_bytes, which is 1, 2, 4 or 8 */
};

/**
 * One region. size_bytes 0: absent. A BAR's size must be a power of two. With fd,
 * what may be mmapped is of whole pages, inside the file. Without read() or
 * write() messages reach that memory all the same, and nothing else of the region.
 */
struct rp_vfu_region {
	uint64_t size_bytes;
	bool readable;
	bool writable;
	int fd; /**< memory behind it for mmap, borrowed; -1: none */
	uint64_t fd_offset_bytes;
	const struct rp_vfu_area *areas; /**< what may be mmapped, apart from each other; NULL with fd: all of it */
	uint32_t areas_count;
	const struct rp_vfu_io_fd *io_fds;
	uint32_t io_fds_count;
	/**
	 * A message read or wrote it. Bounds were checked; at least one byte. What
	 * read() leaves untouched reads as 0.
	 * @return 0, a negative errno, which goes into the reply, or -EINPROGRESS: the
	 *         answer comes later (rp_vfu_server_answer(); write() only with late_writes).
	 */
	int (*read)(void *ctx, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes, uint8_t *ret_bytes);
	int (*write)(void *ctx, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes, const uint8_t *bytes);
	void *ctx; /**< given to both, for parts of a device that know nothing of each other; NULL: the device's own */
};

struct rp_vfu_irq_type {
	uint32_t count; /**< vectors; 0: absent */
	uint32_t flags; /**< RP_VFU_IRQ_FLAG_* */
};

/**
 * How the device's state is taken out of one process and put into another, as in
 * <linux/vfio.h> ("The device migration Finite State Machine"). The server walks:
 * each call of change_state() is one arc, from STOP to RUNNING, STOP_COPY or RESUMING
 * and back, from RUNNING to PRE_COPY and back, from PRE_COPY to STOP_COPY.
 *
 * In STOP, STOP_COPY and RESUMING the device touches neither memory nor interrupts;
 * registers answer as ever. A reset leads to RUNNING from everywhere. When the
 * client leaves, a device that was saving or stopped is walked back to RUNNING, one
 * that was resuming, or in ERROR, is reset: the next client finds it running.
 */
struct rp_vfu_migration {
	uint64_t flags; /**< RP_VFU_MIGRATION_STOP_COPY_MASK, PRE_COPY too when it can; 0: it cannot be migrated */
	/**
	 * Go from a state to a neighbouring one. Leaving RESUMING is where what came is judged.
	 * @return 0, or a negative errno (the device is in `from` as before); -ENOTRECOVERABLE:
	 *         it is in no state at all, and in ERROR until it is reset.
	 */
	int (*change_state)(void *ctx, enum rp_vfu_mig_state from, enum rp_vfu_mig_state to);
	/**
	 * In PRE_COPY and STOP_COPY: the next bytes of the stream.
	 * @param room_bytes at least 1.
	 * @param ret_count_bytes how many there were; 0: no more in this state.
	 * @return 0 or a negative errno.
	 */
	int (*data_out)(void *ctx, uint8_t *ret_bytes, uint32_t room_bytes, uint32_t *ret_count_bytes);
	/** In RESUMING: the next bytes, in pieces of any size. @return 0 or a negative errno. */
	int (*data_in)(void *ctx, const uint8_t *bytes, uint32_t count_bytes);
};

/** Copied. Each may be NULL, but reset() of a resettable device. */
struct rp_vfu_server_ops {
	/**
	 * DEVICE_RESET. Memory and interrupts stay as they are. Also for a client that left in
	 * the middle of a migration or of a quiescing. @return 0 or a negative errno.
	 */
	int (*reset)(void *ctx);
	/**
	 * Begin no more accesses and interrupts, and end those under way: before reset(), and
	 * before a change_state() that stops the device, which is also what ends it. A client
	 * that serves nothing while it waits for an answer of ours cannot answer accesses by
	 * message; they end with -ECANCELED, for the device to repeat when it runs again.
	 *
	 * @param token for rp_vfu_server_quiesced(), when it takes longer. When the client
	 *        leaves meanwhile the device is reset, or stopped and started, without it.
	 * @return 0: it stands still; -EINPROGRESS: not yet; or a negative errno: refused.
	 */
	int (*quiesce)(void *ctx, uint64_t token);
	/**
	 * What to signal for a vector changed (-1: nothing). Borrowed; the previous one
	 * stays open until this returns, and by then nobody may signal it any more:
	 * another thread has let go of it, or signals a duplicate under a lock. While
	 * the client masks a vector this is an eventfd of the server's own, which keeps
	 * the signal until the unmasking, so that nobody else has to know about masks.
	 */
	void (*irq_changed)(void *ctx, uint32_t irq_index, uint32_t vector, int eventfd);
	/** The address space changed (mapped or unmapped), after the fact. */
	void (*dma_changed)(void *ctx);
	/** A client's VERSION was agreed to. */
	void (*connected)(void *ctx);
	/**
	 * After connected(): the client has left, but its memory and interrupts are there until this returns. A device
	 * that lets go of them here never meets them half gone. Optional.
	 */
	void (*leaving)(void *ctx);
	/** After connected(): the client left; its memory and interrupts are gone already (callbacks above ran). */
	void (*disconnected)(void *ctx, const struct rp_wire_why *why);
	/** A command, or a client, was refused; one line for the log. A peer can cause any number of them. */
	void (*refused)(void *ctx, const struct rp_wire_why *why);
};

/** Describes the device; copied (arrays too), except descriptors and callbacks. */
struct rp_vfu_server_config {
	const char *socket_path;
	uint32_t regions_count; /**< at least RP_VFU_PCI_REGIONS_COUNT for PCI, with a configuration space */
	const struct rp_vfu_region *regions;
	uint32_t irqs_count; /**< for PCI at least INTx, MSI and MSI-X, each possibly absent */
	const struct rp_vfu_irq_type *irqs;
	bool pci;
	bool resettable;
	bool late_writes; /**< a region's write() may answer later; then clients get no write_multiple */
	/** No region's read() answers later; then, and without late_writes, clients may get ringpass.access_multiple. */
	bool prompt_reads;
	struct rp_vfu_migration migration; /**< zeroes: none. Needs `resettable`: nothing else leads out of ERROR. */
	/** Whether the device marks (rp_dma_log.h) what it writes through translated addresses: then it offers logging. */
	bool dma_logging;
	uint64_t bounce_bytes_max; /**< of the address space (rp_dma_bounce.h); 0: its default */
	/** Commands for memory without a descriptor that wait for the client at one moment; 0: 64, at most 256. */
	uint32_t dma_commands_max;
	/** Shared memory for the data of those commands, with a client that knows it; 0: 4 MiB, at most 64 MiB. */
	uint32_t window_bytes;
	uint32_t dma_timeout_ms; /**< a client that has not answered one by then is disconnected; 0: 10000 */
	/** The device's addresses may be translated by the client (rp_vfu_server_iommu.h); NULL: never. */
	const struct rp_vfu_server_iommu *iommu;
};

/**
 * Listen.
 * @param ops copied. @param ctx given to each callback.
 * @param ret_server set on success.
 * @return 0, -EINVAL (why names the field), what rp_wire_socket_listen() says, -ENOMEM.
 */
int rp_vfu_server_create(const struct rp_vfu_server_config *config, const struct rp_vfu_server_ops *ops, void *ctx,
			 struct rp_vfu_server **ret_server, struct rp_wire_why *why);

/**
 * Disconnect (with the callbacks of a client that leaves), stop listening, unlink
 * the socket. The readers of the address space must be gone. NULL is allowed.
 * @return NULL.
 */
struct rp_vfu_server *rp_vfu_server_destroy(struct rp_vfu_server *server);

/** @return one descriptor (an epoll) to poll for POLLIN. Borrowed. */
int rp_vfu_server_fd(const struct rp_vfu_server *server);

/**
 * Do what can be done without waiting for the peer (an unmap waits for DMA
 * readers). A busy client gets a turn of some commands; the descriptor stays
 * readable while there is more.
 * @return 0.
 */
int rp_vfu_server_process(struct rp_vfu_server *server);

/**
 * Wait until there is something to do, and do it: poll(2) of the descriptor, then
 * rp_vfu_server_process(), for a device whose thread waits for nothing else. While a
 * client speaks, it sleeps in the read of the next message instead, which makes a
 * round trip a fifth faster; whatever else happens (another client, an access that
 * another thread submits for the first time) is then seen up to 10 ms later.
 *
 * @param timeout_ms as of poll(2); -1: for ever. It may return earlier.
 * @return 0.
 */
int rp_vfu_server_wait(struct rp_vfu_server *server, int timeout_ms);

/**
 * From inside a region's read() and write(): the number of the access, to answer it by.
 * @return the number, never 0 there.
 */
uint64_t rp_vfu_server_command_number(const struct rp_vfu_server *server);

/**
 * Answer an access whose callback returns, or will return, -EINPROGRESS. Until then
 * the client's later commands wait. So does DMA by messages on the one socket of a
 * client that did not say that it serves meanwhile: there a device cannot make the
 * answer wait for accesses of its own.
 *
 * Any thread, but not while the server is destroyed.
 *
 * @param number of rp_vfu_server_command_number().
 * @param error 0, or a negative errno for the reply.
 * @param bytes what a read without an error answers, as many as it was asked for; copied. Else ignored.
 * @return 0, -ENOENT (it has been answered, or its client left), -EINVAL (a positive
 *         error, -EINPROGRESS, no bytes), -ENOMEM (nothing was answered).
 */
int rp_vfu_server_answer(struct rp_vfu_server *server, uint64_t number, int error, const uint8_t *bytes);

/** The client's memory. Borrowed; make readers of it for data path threads. */
struct rp_dma_space *rp_vfu_server_dma(struct rp_vfu_server *server);

/** Whether a client is connected whose VERSION was agreed to. */
bool rp_vfu_server_connected(const struct rp_vfu_server *server);

/**
 * Signal a vector from the server's thread. A masked one is signalled when it is
 * unmasked; one whose type is AUTOMASKED is masked by it.
 * @return 0, -ENOTCONN (no eventfd set; nothing was lost that anybody waits for), -EINVAL.
 */
int rp_vfu_server_irq_trigger(struct rp_vfu_server *server, uint32_t irq_index, uint32_t vector);

/** @return what irq_changed() gave last for a vector, borrowed, -1 when none. */
int rp_vfu_server_irq_fd(const struct rp_vfu_server *server, uint32_t irq_index, uint32_t vector);

/**
 * The device stands still, as quiesce() was asked for. Any thread.
 * @param token of that call; an older one is ignored.
 */
void rp_vfu_server_quiesced(struct rp_vfu_server *server, uint64_t token);

/** @return the state of migration; RP_VFU_MIG_RUNNING of a device that cannot be migrated. */
enum rp_vfu_mig_state rp_vfu_server_migration_state(const struct rp_vfu_server *server);

#endif
