/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_FLIGHT_H
#define VFU_FLIGHT_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_dma_carrier.h"
#include "rp_vfu_msg.h"
#include "rp_wire_why.h"

/* One command of the server's for the client's memory, and what its answer may be. Whose it is, is server_carrier.c's. */

/* A command in flight. */
struct rp_vfu_flight {
	struct rp_dma_transfer *transfer; /* NULL: given up, its answer is swallowed */
	uint8_t *bytes; /* of this command */
	uint64_t iova;
	uint32_t pasid; /* RP_VFU_NO_PASID: none */
	uint64_t deadline_ms;
	uint32_t count_bytes;
	uint8_t generation; /* tells an answer that comes late from one to the next command of this place */
	bool write;
	bool open;
	bool placed; /* its answer's data is where it belongs, or nobody wants it */
	int window_slot; /* -1: its data is in the message */
};

/* Its number on the wire. */
uint16_t rp_vfu_flight_command(const struct rp_vfu_flight *flight);

/*
 * Look at an answer, of whose data only the count.
 * @param ret_error what the client says: 0 or a negative errno.
 * @return 0, or -EBADMSG: it lies.
 */
int rp_vfu_flight_judge(const struct rp_vfu_flight *flight, const struct rp_vfu_msg_view *reply, int *ret_error,
			struct rp_wire_why *why);

#endif
