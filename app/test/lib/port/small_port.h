/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SMALL_PORT_H
#define SMALL_PORT_H

#include <pthread.h>

#include "port.h"
#include "rp_vring_dev.h"
#include "test_vm.h"

/*
 * The smallest port above the seam in software.h: it hands on what a frontend says, and
 * gives and takes rings when the test says so. No accelerator; the test itself may serve a
 * ring that is taken, in the hardware's place. It is served by a thread of its own; calls from
 * the test take the thread's place under the lock.
 */
struct small_port {
	struct rp_port port;
	struct rp_vhu_endpoint *endpoint;
	pthread_t thread;
	pthread_mutex_t lock;
	bool stop; /* under lock, as everything below */
	bool serves; /* what the frontend starts and enables is given to the software backend at once */
	int request_error; /* of the last thing that was handed on */
	struct rp_wire_why why;
	unsigned int usables, gones, provens, config_changes; /* what it was told */
	char log[16384]; /* names of events, one a line */
	size_t log_used;
	char last_words[400]; /* of the last warning or error */
};

void small_port_open(struct small_port *small, const struct rp_port_software_config *config);
void small_port_close(struct small_port *small);
/* Wait until the backend was seen, and listen for the frontend. */
void small_port_listen(struct small_port *small, const char *path, unsigned int queues_count);

int small_port_serve(struct small_port *small, unsigned int queue);
/* From that one on. @return how many it serves of them; what it said to the next one is in small->why. */
unsigned int small_port_serve_together(struct small_port *small, unsigned int queue, unsigned int queues_count);
/* Of the first ones; receive rings are still somebody else's. */
void small_port_announce(struct small_port *small, unsigned int queues_count);
void small_port_park_hold(struct small_port *small);
void small_port_park_due(struct small_port *small);
int small_port_take(struct small_port *small, unsigned int queue, unsigned int queues_count);
enum port_software_ring small_port_ring(struct small_port *small, unsigned int queue);
uint32_t small_port_position(struct small_port *small, unsigned int queue);
void small_port_set_position(struct small_port *small, unsigned int queue, uint32_t position);
struct rp_port_software_info small_port_info(struct small_port *small);
unsigned int small_port_events(struct small_port *small, const char *name);
bool small_port_wait_ring(struct small_port *small, unsigned int queue, enum port_software_ring ring,
			  unsigned int limit_ms);
bool small_port_wait_usable(struct small_port *small, bool usable, unsigned int limit_ms);

#endif
