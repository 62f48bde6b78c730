/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FAKE_BACKEND_PARTS_H
#define FAKE_BACKEND_PARTS_H

#include "fake_backend.h"
#include "rp_dma.h"
#include "rp_vhu_log.h"
#include "rp_vring_dev.h"
#include "rp_wire_conn.h"

/*
 * What only the one who runs has, thread or process:
 *
 *   fake_backend.c           its life, its connection
 *   fake_backend_messages.c  what it is told
 *   fake_backend_rings.c     what it serves
 */

struct fake_backend_run_ring {
	struct rp_vring_dev dev;
	struct rp_vring_note *notes;
	uint64_t avail_uva, used_uva;
	uint32_t at; /* where it goes on, while it is not served */
	int kick_fd, call_fd, err_fd;
	bool discarding;
	bool look; /* there may be something in it: it was kicked, or is new */
};

struct fake_backend_run {
	struct fake_backend *fake; /* shared */
	int listen_fd;
	struct rp_wire_conn *conn;
	struct rp_wire_msg *pending; /* it hangs over that */
	uint64_t lingers_until_ms; /* 0: it does not */
	int channel_fd;
	struct rp_dma_space *space;
	struct rp_dma_reader *reader;
	struct rp_vhu_log *log;
	struct fake_backend_run_ring rings[FAKE_BACKEND_RINGS];
};

/* fake_backend_messages.c. @return 0, or -1: the connection is to be closed. */
int fake_backend_handle(struct fake_backend_run *run, struct rp_wire_msg *msg);

/* fake_backend_rings.c */
void fake_backend_ring_pause(struct fake_backend_run *run, unsigned int ring); /* its setup changes */
void fake_backend_rings_settle(struct fake_backend_run *run); /* after each message */
void fake_backend_rings_memory_changed(struct fake_backend_run *run);
void fake_backend_rings_serve(struct fake_backend_run *run);
void fake_backend_rings_forget(struct fake_backend_run *run);
int fake_backend_gpa(const struct fake_backend *fake, uint64_t uva, uint64_t *ret_gpa);
bool fake_backend_is_packed(const struct fake_backend *fake);

#endif
