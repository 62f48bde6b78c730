/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_CLIENT_H
#define VFU_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_vfu_client.h"
#include "rp_vfu_msg.h"

/*
 * What the parts of the client share:
 *
 *   client.c              life, VERSION, the server's going
 *   client_call.c         one command and the wait for its reply
 *   client_device.c       device, region and interrupt information, asked once
 *   client_region_info.c  judging a region's description (pure)
 *   client_ops.c          region access, interrupts, DMA maps, reset
 *   client_io_fd.c        GET_REGION_IO_FDS
 */

/* A region as it was described. */
struct rp_vfu_region_cache {
	bool known;
	int fd; /* owned */
	struct rp_vfu_client_area *areas; /* owned */
	struct rp_vfu_client_region region;
};

struct rp_vfu_client {
	struct rp_wire_conn *conn; /* NULL: the server is gone */
	struct rp_vfu_client_ops ops;
	void *ctx;
	uint32_t timeout_ms;
	int peer_pid;
	bool announced; /* create() has returned: its going is told */

	enum rp_vfu_state state;
	struct rp_vfu_terms terms; /* in READY */
	uint16_t next_id;

	bool device_known;
	struct rp_vfu_client_device device;
	struct rp_vfu_region_cache *regions; /* device.regions_count of them */
};

/* A command, and then its reply. */
struct rp_vfu_call {
	uint16_t command;
	uint16_t id; /* given by rp_vfu_client_call() */
	const void *payload;
	uint32_t payload_bytes;
	const void *data; /* behind the payload */
	uint32_t data_bytes;
	const int *fds; /* borrowed */
	unsigned int fds_count;

	struct rp_wire_msg *msg; /* the reply, until the next call; its descriptors are there to be taken */
	struct rp_vfu_msg_view reply;
};

/*
 * Send a command, wait for its reply, check it against its row.
 *
 * @return 0, -ENOTCONN, -ETIMEDOUT (both: the server is gone now), -EBADMSG, -ENOTSUP
 *         (the server takes fewer descriptors), or the error that the server replied.
 */
int rp_vfu_client_call(struct rp_vfu_client *client, struct rp_vfu_call *call, struct rp_wire_why *why);

/* Serve what arrived outside a call. @return 0 or -ENOTCONN. */
int rp_vfu_client_serve(struct rp_vfu_client *client, struct rp_wire_why *why);

/* End the connection and tell it, once. @return error. */
int rp_vfu_client_leave(struct rp_vfu_client *client, int error, const struct rp_wire_why *why);

/* Learn the device if it is not known yet. */
int rp_vfu_client_learn_device(struct rp_vfu_client *client, struct rp_wire_why *why);

/* A region's description in the bytes of a reply. */
struct rp_vfu_region_reply {
	struct rp_vfu_wire_region_info info;
	struct rp_vfu_client_area *areas; /* owned; NULL without a sparse capability */
	uint32_t areas_count;
};

/*
 * Judge the payload of a GET_REGION_INFO reply that is not cut off.
 *
 * @param bar it is a BAR of a PCI device.
 * @return 0, -EBADMSG or -ENOSPC; ret_reply is set on success, and its areas are the caller's.
 */
int rp_vfu_region_reply_parse(const uint8_t *payload, uint32_t payload_bytes, uint32_t region, bool bar,
			      struct rp_vfu_region_reply *ret_reply, struct rp_wire_why *why);

/* Whether a file can be what a description says. @return 0 or -EBADMSG. */
int rp_vfu_region_reply_check_file(const struct rp_vfu_region_reply *reply, int fd, struct rp_wire_why *why);

#endif
