/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef GUEST_H
#define GUEST_H

#include "rp_vhu_frontend.h"
#include "rp_vring_drv.h"

/* What the guests of several benches do at their end of vhost-user. */

struct guest_ring {
	const struct rp_vring_drv *ring;
	uint32_t base;
	/* The guest's memory in this process, and its guest-physical address. */
	const uint8_t *memory;
	uint64_t gpa;
	int kick_fd, call_fd; /* borrowed */
};

/*
 * A port listens when its accelerator, or its backend, is there, and librte_vhost accepts once a second: try again
 * after each pause. ret_fd: owned by the caller. @return 0 or a negative errno.
 */
int guest_connect(const char *path, uint64_t limit_ns, unsigned int pause_us, int *ret_fd, struct rp_wire_why *why);

/* Start and enable. @return 0 or a negative errno. */
int guest_ring_start(struct rp_vhu_frontend *frontend, unsigned int queue, const struct guest_ring *guest,
		     struct rp_wire_why *why);

#endif
