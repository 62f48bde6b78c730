/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FAKE_PORT_H
#define FAKE_PORT_H

#include <stdio.h>

#include "rp_port_hand_over.h"

#define FAKE_QUEUES_COUNT 4

/*
 * A lib/port that serves nothing: it remembers what it was told, and fails when
 * the test says so. What the daemon does with ports can be tested without any.
 */
struct fake_ports {
	int create_error; /* of the next creations */
	const char *create_text;
	unsigned int create_count; /* tried */
	unsigned int alive_count;
	unsigned int process_count;
	int give_error; /* of all ports, or of the one that give_error_port names */
	const char *give_error_port;
	unsigned int again_count; /* so many gives say -EAGAIN first */
	int adopt_error;
	unsigned int resume_count, leave_count, adopt_count;
	bool connected; /* what ports say of their frontend */
	bool access_platform; /* and of their configuration */
	bool software_known; /* what they say of their software backend: it was there once */
	bool software_usable;
	bool no_queues;
	int move_error; /* of the moves of move_error_queue and of those behind it */
	unsigned int move_error_queue;
	char moves[256]; /* "0+2=software " for each */
};

extern struct fake_ports fake_ports;

/* Knows "fake,socket=PATH". */
extern const struct rp_accel_registry fake_registry;

void fake_ports_reset(void);

/* Make its descriptor readable once. */
void fake_port_poke(struct rp_port *port);

/* Let a port tell something. */
void fake_port_tell(struct rp_port *port, enum rp_port_event_level level, int queue, const char *name,
		    const char *text);

/* A ring on that NUMA node comes (1) or goes (-1). @return false: the port is not asked. */
bool fake_port_ring_node(struct rp_port *port, int node, int by);

#endif
