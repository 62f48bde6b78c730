/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VFU_MSG_H
#define RP_VFU_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rp_vfu_proto.h"
#include "rp_wire_conn.h"
#include "rp_wire_why.h"

/**
 * @file
 * The message table of vfio-user: one row a command, and the checks that follow
 * from a row. Server, client, decoder, fuzzer and the reference page read it.
 *
 * Theory of operation: rp_vfu_msg_parse() lifts a received message out of its
 * bytes. rp_vfu_msg_check_command() then says everything that can be wrong with
 * a command before its meaning is looked at, rp_vfu_msg_check_reply() the same
 * for an answer. Both are pure: they see bytes and counts, keep nothing and
 * touch no descriptor.
 *
 * Threads: constant data and pure functions; any thread.
 *
 * Ownership: a view borrows the message that it was made from.
 *
 * Errors: the dictionary of rp_wire_why.h; rp_vfu_errno_wire() gives the number
 * that goes to the peer.
 *
 * Specification: QEMU docs/interop/vfio-user.rst, "Commands" and the section of
 * each command.
 */

enum rp_vfu_direction {
	RP_VFU_TO_SERVER,
	RP_VFU_TO_CLIENT,
};

/** Of a connection. What else happened to it is in the objects of its end. */
enum rp_vfu_state {
	RP_VFU_STATE_NEW, /**< connected; only VERSION is legal, and leads to READY */
	RP_VFU_STATE_READY, /**< terms are agreed; everything but VERSION is legal, until the end */
};

#define RP_VFU_IN_NEW_MASK (1u << RP_VFU_STATE_NEW)
#define RP_VFU_IN_READY_MASK (1u << RP_VFU_STATE_READY)

/** What the two ends agree on in VERSION; the bit of each is its number here. */
enum rp_vfu_term {
	RP_VFU_TERM_MSG_FDS, /**< max_msg_fds */
	RP_VFU_TERM_DATA_XFER, /**< max_data_xfer_size */
	RP_VFU_TERM_DMA_MAPS, /**< max_dma_maps */
	RP_VFU_TERM_PAGE_SIZES, /**< pgsizes */
	RP_VFU_TERM_WRITE_MULTI, /**< write_multiple */
	RP_VFU_TERM_TWIN_SOCKET, /**< twin_socket.supported */
	RP_VFU_TERM_MIG_PAGE_SIZE, /**< migration.pgsize */
	RP_VFU_TERM_MIG_BITMAP_MAX, /**< migration.max_bitmap_size */
	/* Ours. */
	RP_VFU_TERM_REMAP, /**< ringpass.remap: the server knows DMA_REMAP */
	RP_VFU_TERM_SERVE, /**< ringpass.serve: the client serves commands while it waits for a reply */
	RP_VFU_TERM_IO_FDS, /**< ringpass.io_fds: the server knows DEVICE_GET_REGION_IO_FDS_PAGE */
	RP_VFU_TERM_WINDOW, /**< ringpass.window.size: the payload of DMA goes through shared memory */
	RP_VFU_TERM_ACCESS_MULTI, /**< ringpass.access_multiple: the server knows REGION_ACCESS_MULTI */
	RP_VFU_TERM_TRANSLATIONS, /**< ringpass.iommu.translations: TRANSLATE, so many at one moment */
	RP_VFU_TERM_INVALIDATIONS, /**< ringpass.iommu.invalidations: INVALIDATE, likewise; both or none of the two */
	RP_VFU_TERM_PAGE_REQUESTS, /**< ringpass.iommu.page_requests: pages asked for at one moment */
	RP_VFU_TERM_PASID_BITS, /**< ringpass.iommu.pasid_bits */
	RP_VFU_TERMS_COUNT,
};

struct rp_vfu_terms {
	uint32_t named_mask; /**< those that a text named; the others hold the specification's defaults */
	bool has_object; /**< the text had a "capabilities" object */
	uint64_t value[RP_VFU_TERMS_COUNT];
	int twin_fd_index; /**< twin_socket.fd_index: which descriptor of the reply it is; -1: not said */
	int window_fd_index; /**< ringpass.window.fd_index, likewise */
};

enum rp_vfu_reply_kind {
	RP_VFU_REPLY_HEADER, /**< no payload */
	RP_VFU_REPLY_FIXED, /**< one structure */
	RP_VFU_REPLY_ARGSZ, /**< begins with argsz: what a full reply takes; cut off at the command's argsz */
	RP_VFU_REPLY_DATA, /**< a structure, then as many bytes as it says */
};

/** A received command or reply, lifted out of its bytes. */
struct rp_vfu_msg_view {
	struct rp_vfu_header header;
	const uint8_t *payload; /**< borrowed, unaligned: copy out of it */
	uint32_t payload_bytes;
	unsigned int fds_count;
};

/** One row. */
struct rp_vfu_msg {
	uint16_t command;
	const char *name; /**< the specification's, without VFIO_USER_ */
	enum rp_vfu_direction direction;
	uint32_t states_mask; /**< RP_VFU_IN_* */
	uint32_t terms_mask; /**< must have been agreed on (1 << RP_VFU_TERM_*) */
	uint32_t payload_min_bytes;
	uint32_t payload_max_bytes;
	unsigned int fds_min;
	unsigned int fds_max;
	bool argsz; /**< the payload begins with argsz, which covers at least payload_min_bytes */
	bool pasid; /**< a PASID may make the payload longer (rp_vfu_msg_take_pasid()) once PASIDs were agreed on */
	enum rp_vfu_reply_kind reply;
	uint32_t reply_min_bytes;
	uint32_t reply_max_bytes;
	unsigned int reply_fds_max;
	/**
	 * Rules across fields; sizes and descriptor counts are right already. NULL: none.
	 * @return 0 or an errno of the dictionary with its reason.
	 */
	int (*check)(const struct rp_vfu_msg_view *command, struct rp_wire_why *why);
};

/** One line of the table of errors on the wire. */
struct rp_vfu_errno {
	int error; /**< what a function of ours returned */
	uint32_t wire; /**< what the peer gets */
	const char *when;
};

/** What both ends ask the kernel for (rp_wire_socket_widen()): a transfer of the largest size needs no second turn. */
#define RP_VFU_SEND_ROOM_BYTES (1024 * 1024)

/** The framing of both ends, for rp_wire_conn_create(). */
extern const struct rp_wire_framing rp_vfu_framing;

/**
 * The row of a command.
 * @return NULL when the number is unknown.
 */
const struct rp_vfu_msg *rp_vfu_msg_find(uint16_t command);

/**
 * Walk the table in the order of commands.
 * @param index from 0.
 * @return NULL past the end.
 */
const struct rp_vfu_msg *rp_vfu_msg_at(unsigned int index);

/** @return the name of a command, "unknown" when it has none; never NULL. */
const char *rp_vfu_msg_name(uint16_t command);

/**
 * Lift a whole message, as rp_wire_conn_receive() gives it, out of its bytes.
 * @param ret_view borrows the message.
 */
void rp_vfu_msg_parse(const struct rp_wire_msg *msg, struct rp_vfu_msg_view *ret_view);

/**
 * Everything that can be wrong with a command whatever it means.
 *
 * @param direction which end received it.
 * @param terms what is agreed; NULL while nothing is.
 * @param ret_msg the row, set on success. NULL is allowed.
 * @return 0; -ENOTSUP (unknown, of the other direction, not agreed on), -EBUSY
 *         (not in this state), -EMSGSIZE (payload), -EBADMSG (descriptors, a field).
 */
int rp_vfu_msg_check_command(const struct rp_vfu_msg_view *view, enum rp_vfu_direction direction,
			     enum rp_vfu_state state, const struct rp_vfu_terms *terms,
			     const struct rp_vfu_msg **ret_msg, struct rp_wire_why *why);

/**
 * Everything that can be wrong with a reply to `command` whatever it says.
 *
 * @return 0 (also for an error reply that is well made), -EBADMSG.
 */
int rp_vfu_msg_check_reply(const struct rp_vfu_msg_view *view, uint16_t command, struct rp_wire_why *why);

#define RP_VFU_NO_PASID UINT32_MAX

/**
 * Which PASID a command is about: whether it has a trailer its size says.
 *
 * @param body_bytes what the payload has without one.
 * @param fixed_bytes of that, what stands before the trailer.
 * @param ret_pasid RP_VFU_NO_PASID: none. Set on success.
 * @param ret_trailer_bytes where the data begins: behind fixed_bytes and so many more.
 * @return 0, -EMSGSIZE (a size that is neither with nor without), -EBADMSG (flags, a PASID of more bits
 *         than were agreed on).
 */
int rp_vfu_msg_take_pasid(const struct rp_vfu_msg_view *command, const struct rp_vfu_terms *terms, uint64_t body_bytes,
			  uint32_t fixed_bytes, uint32_t *ret_pasid, uint32_t *ret_trailer_bytes,
			  struct rp_wire_why *why);

/**
 * Judge the PASID of a command that always has the field.
 * @return 0 or -EBADMSG; ret_pasid (RP_VFU_NO_PASID: none) is set on success.
 */
int rp_vfu_msg_judge_pasid(const struct rp_vfu_wire_pasid *field, uint32_t flags_more, const struct rp_vfu_terms *terms,
			   uint32_t *ret_pasid, struct rp_wire_why *why);

/**
 * Walk the table of errors on the wire.
 * @param index from 0.
 * @return NULL past the end.
 */
const struct rp_vfu_errno *rp_vfu_errno_at(unsigned int index);

/**
 * The errno value that tells the peer of an error of ours.
 * @param error a negative errno.
 * @return from 1 to 4095; EIO for what is no errno.
 */
uint32_t rp_vfu_errno_wire(int error);

#endif
