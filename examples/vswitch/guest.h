/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VS_GUEST_H
#define VS_GUEST_H

#include "command.h"
#include "switch.h"

/**
 * @file
 * A guest: its port of Ringpass, which speaks with the VMM and moves queues, and librte_vhost
 * behind it, to which that port connects over a socket of this process's own.
 *
 * Threads: the main lcore, but for what is marked; a worker reads only words that are
 * written whole.
 */

#define VS_ACCELERATORS_MAX 8u

struct vs_guest_config {
	char name[RP_PORT_NAME_MAX];
	char socket_path[108]; /**< the VMM's */
	enum rp_port_socket_mode socket_mode;
	uint16_t queue_pairs;
	char wire[RTE_ETH_NAME_MAX_LEN]; /**< ethdev to the accelerator's uplink; empty: none */
	const char *accelerators[VS_ACCELERATORS_MAX]; /**< borrowed; device arguments */
	unsigned int accelerators_count;
	enum rp_port_wish wish;
	bool ringpass; /**< false: the VMM's socket is librte_vhost's own */
};

/** Who has the receive queues, as far as frames are concerned: bit n is pair n. Workers read it. */
struct vs_guest_owners {
	uint64_t software_mask;
	uint64_t hardware_mask;
};

struct vs_guest {
	struct vs_guest_config config;
	struct vs_switch *sw;
	struct vs_port *switch_port;
	struct rp_port *port; /**< NULL: without Ringpass */
	struct vs_guest_owners owners;
	bool held; /**< a move is under way: frames for the guest wait. Workers read it */
	uint64_t held_until_ms;
	uint64_t held_mask; /**< receive queues that had an owner then */
	char vhost_path[108];
	/* By librte_vhost's thread (vhost.c); workers read them. Without Ringpass, owners too. */
	int vid; /**< -1: no device */
	uint64_t transmit_mask; /**< pairs whose transmit ring is enabled; a parked one is empty */
};

/**
 * Make its librte_vhost socket, then its port.
 *
 * @param config copied.
 * @param registry, files outlive the guest.
 * @return 0, or what librte_vhost, rp_port_create() or the wire's ethdev says.
 */
int vs_guest_create(struct vs_switch *sw, const struct vs_guest_config *config,
		    const struct rp_accel_registry *registry, struct rp_port_files *files, struct vs_guest **ret_guest,
		    struct rp_wire_why *why);

/** Its port first, then librte_vhost: so the rings go back before their server does. NULL is allowed. @return NULL. */
struct vs_guest *vs_guest_destroy(struct vs_guest *guest);

/** The port's turn, and what workers know of it. Also when nothing happened: a move may end by time. */
void vs_guest_process(struct vs_guest *guest);

/** @return a descriptor to poll for POLLIN, borrowed; -1: there is none. */
int vs_guest_fd(const struct vs_guest *guest);

/**
 * Move the queues of a command. What is on its way to the guest waits meanwhile.
 *
 * @return 0, -ENOTSUP (without Ringpass), or what rp_port_move() says.
 */
int vs_guest_move(struct vs_guest *guest, const struct vs_command *command, struct rp_wire_why *why);

/**
 * For a worker that has the egress's lock: frames to the guest, as many as it takes now.
 *
 * @return how many of them are dealt with, delivered or dropped; the others are still the caller's.
 */
unsigned int vs_guest_deliver(struct vs_guest *guest, struct rte_mbuf **frames, unsigned int count);

#endif
