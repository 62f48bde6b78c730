/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PORTS_H
#define PORTS_H

#include <event2/event.h>
#include <sys/queue.h>

#include "node.h"
#include "rp_port_hand_over.h"
#include "service.h"
#include "spec.h"

/**
 * @file
 * The ports of the daemon. A port whose accelerator is not there yet is *waiting*:
 * only its description exists, and it is tried again in the background. Once up it
 * stays up; a later loss of an accelerator is lib/port's to mend.
 *
 * Threads: the event loop's.
 */

#define RPD_PORTS_MAX 1024u

struct rpd_ports;

/** One port. Belongs to its rpd_ports; read only. */
struct rpd_port {
	TAILQ_ENTRY(rpd_port) link;
	struct rpd_ports *ports;
	struct rpd_port_spec spec;
	struct rp_port *port; /**< NULL: waiting, and reason says for what */
	char reason[RP_WIRE_WHY_MAX];
	bool by_rpc; /**< it is in no configuration */
	bool given; /**< packed for a successor: nothing of it may be called but what ends it */
	struct event *ready; /**< while up */
	struct event *retry; /**< while waiting */
};

struct rpd_ports_config {
	struct event_base *base;
	const struct rp_accel_registry *registry;
	struct rpd_node *node; /**< the thread, for which rings vote; NULL: it stays where it is */
	struct rpd_service *service; /**< where listening sockets come from; NULL: ports make their own */
	void (*event)(void *ctx, const struct rp_port_event *event);
	void *ctx;
};

/** @param config copied; what it points to must outlive the ports. @return 0 or -ENOMEM. */
int rpd_ports_create(const struct rpd_ports_config *config, struct rpd_ports **ret_ports);

/** Destroy every port. NULL is allowed. @return NULL. */
struct rpd_ports *rpd_ports_destroy(struct rpd_ports *ports);

/**
 * Add a port: up, or waiting when an accelerator is not there yet.
 *
 * @param spec checked, copied.
 * @return 0, -EEXIST (name or socket taken), -ENOSPC (RPD_PORTS_MAX), -ENOMEM, or
 *         what rp_port_create() says that waiting cannot mend.
 */
int rpd_ports_add(struct rpd_ports *ports, const struct rpd_port_spec *spec, struct rp_wire_why *why);

/**
 * Add a port that a predecessor packed (rp_port_hand_over.h); its frontend is connected.
 *
 * @param spec of that port, checked, copied.
 * @return as rpd_ports_add(), and what rp_port_adopt() says; it never waits. After a failure there is no
 *         such port, and its sockets listen on.
 */
int rpd_ports_adopt(struct rpd_ports *ports, const struct rpd_port_spec *spec, struct rp_wire_parcel *parcel,
		    struct rp_wire_why *why);

/** End every port: those that were given without a word, others as ever. */
void rpd_ports_leave(struct rpd_ports *ports);

/** @return 0 or -ENOENT. */
int rpd_ports_remove(struct rpd_ports *ports, const char *name, struct rp_wire_why *why);

/** @return the port, or NULL. */
struct rpd_port *rpd_ports_find(const struct rpd_ports *ports, const char *name);

/** The first port (after NULL), the next one, NULL at the end. */
struct rpd_port *rpd_ports_next(const struct rpd_ports *ports, const struct rpd_port *after);

/** @return the NUMA node that the ports' thread was sent to, RP_DMA_NODE_ANY: none. */
int rpd_ports_thread_node(const struct rpd_ports *ports);

const struct rp_accel_registry *rpd_ports_registry(const struct rpd_ports *ports);

#endif
