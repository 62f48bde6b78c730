/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SOFTWARE_RIG_H
#define SOFTWARE_RIG_H

#include "rp_port.h"
#include "rp_vhu_frontend.h"
#include "rp_vring_drv.h"
#include "sleeper.h"
#include "vfu_rig.h"

/*
 * A backend of librte_vhost, which nobody asks for packets, and two frontends: one is connected to it,
 * the other one to a port of which it is the software backend. Each is a device of its own to it.
 * Or the first of them alone.
 */

#define SOFTWARE_RIG_QUEUES_MAX 256u

struct software_side {
	struct rp_vhu_frontend *frontend;
	unsigned int queues_count;
	int memory_fd;
	uint8_t *memory;
	struct rp_vring_drv *rings[SOFTWARE_RIG_QUEUES_MAX];
	int kick_fds[SOFTWARE_RIG_QUEUES_MAX], call_fds[SOFTWARE_RIG_QUEUES_MAX];
};

struct software_rig {
	struct vfu_rig base; /* where the CPUs are, and how pairs are measured; its device sleeps */
	char socket_backend[64], socket_port[64];
	bool backend_runs;
	struct rp_port *port; /* of its thread while that runs */
	struct sleeper port_thread;
	struct software_side direct, through;
};

/*
 * Without a port there is no `through`, and queues may be more than two.
 * 0 or a negative errno, after one line on stderr. Ended by software_rig_close(), also when it failed.
 */
int software_rig_open(struct software_rig *rig, const struct bench_options *options, unsigned int queues_count,
		      bool port);
void software_rig_close(struct software_rig *rig);

/* Whatever is acknowledged only when that is asked for is acknowledged here. */
int software_side_start(struct software_side *side, unsigned int queue, uint32_t base, struct rp_wire_why *why);

/* The eventfd on which librte_vhost was given the kicks of a queue of `direct`; borrowed. A negative errno: none. */
int software_rig_kick_fd(const struct software_rig *rig, unsigned int queue);

#endif
