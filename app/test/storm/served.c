/* SPDX-License-Identifier: BSD-3-Clause */
#include <poll.h>
#include <stdio.h>

#include "storm.h"

#define POLL_MS 5

static void
on_event(void *ctx, const struct rp_port_event *event)
{
	const struct served_port *served = ctx;

	if (served->verbose || event->level <= RP_PORT_EVENT_ERROR)
		fprintf(stderr, "%s %d %s %s: %s\n", event->port, event->queue, rp_port_event_level_name(event->level),
			event->name, event->text);
}

static const struct rp_port_ops port_ops = {.event = on_event};

static void *
serve(void *ctx)
{
	struct served_port *served = ctx;
	struct pollfd wait = {.fd = rp_port_fd(served->port), .events = POLLIN};

	while (!atomic_load(&served->stop)) {
		poll(&wait, 1, POLL_MS);
		served_lock(served);
		rp_port_process(served->port);
		served_unlock(served);
	}
	return NULL;
}

void
served_lock(struct served_port *served)
{
	pthread_mutex_lock(&served->lock);
}

void
served_unlock(struct served_port *served)
{
	pthread_mutex_unlock(&served->lock);
}

void
served_open(struct served_port *served, const struct rp_port_config *config, const struct rp_accel_registry *registry,
	    bool verbose)
{
	struct rp_wire_why why = {0};
	int rc;

	served->verbose = verbose;
	pthread_mutex_init(&served->lock, NULL);
	rc = rp_port_create(config, registry, &port_ops, served, &served->port, &why);
	if (rc < 0)
		storm_die("%s: %d: %s", config->name, rc, why.text);
	if (pthread_create(&served->thread, NULL, serve, served) != 0)
		storm_die("pthread_create");
}

void
served_close(struct served_port *served)
{
	if (served->port == NULL)
		return;
	atomic_store(&served->stop, true);
	pthread_join(served->thread, NULL);
	served->port = rp_port_destroy(served->port);
}
