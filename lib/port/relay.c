/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "port.h"
#include "rp_wire_caller.h"
#include "rp_wire_fd.h"

void
port_relay_kick_device(struct rp_port *port, const struct port_queue *queue)
{
	const struct rp_accel *accel = &port->accelerators[queue->accelerator].accel;
	int rc = accel->ops->queue_kick(accel->priv, queue->accelerator_queue);

	if (rc < 0)
		port_event(port, RP_PORT_EVENT_WARNING, (int)queue->index, "kick-failed", "%s", strerror(-rc));
}

static void
ring(struct rp_port *port, struct port_queue *queue)
{
	if (queue->shadow.ring != NULL)
		port_shadow_serve(port, queue);
	else
		port_relay_kick_device(port, queue);
}

/* A descriptor of the frontend's. @param told its failure was; of one that fails always, once is enough. */
static void
signal_fd(struct rp_port *port, const struct port_queue *queue, int fd, bool *told, const char *event, const char *what)
{
	int rc = fd < 0 ? 0 : rp_wire_caller_call(port->caller, fd);

	if (rc == 0 || *told)
		return;
	*told = true;
	port_event(port, RP_PORT_EVENT_WARNING, (int)queue->index, event, "the %s descriptor%s: %s", what,
		   rc == -EINVAL ? " is no eventfd" : "", strerror(-rc));
}

void
port_relay_call(struct rp_port *port, struct port_queue *queue)
{
	signal_fd(port, queue, queue->call_fd, &queue->call_failed, "interrupt-failed", "call");
}

static void
kick_ready(struct rp_port *port, struct port_source *source)
{
	struct port_queue *queue = &port->queues[source->index];
	int rc = rp_wire_caller_drain(source->fd, NULL);

	if (rc == 0)
		return;
	if (rc < 0) {
		/* Not an eventfd, or a broken one: polling it on would spin. */
		port_source_remove(port, source);
		port_event(port, RP_PORT_EVENT_WARNING, (int)queue->index, "relay-failed",
			   "the kick descriptor is no eventfd; only a mapped doorbell will be heard");
		return;
	}
	queue->relayed_kicks++;
	if (port_doorbell_is_mapped(queue) && !queue->doorbell.drain_due)
		queue->relayed_kicks_after_map++;
	ring(port, queue);
}

static void
interrupt_ready(struct rp_port *port, struct port_source *source)
{
	struct port_queue *queue = &port->queues[source->index];

	/* The device holds it too. */
	if (rp_wire_caller_drain(source->fd, NULL) <= 0)
		return;
	queue->relayed_interrupts++;
	if (queue->shadow.ring != NULL)
		port_shadow_serve(port, queue);
	else
		port_relay_call(port, queue);
}

int
port_relay_interrupt_fd(struct rp_port *port, struct port_queue *queue)
{
	if (queue->shadow.ring == NULL && (!port->relay_interrupts || queue->call_fd < 0))
		return queue->call_fd;
	if (queue->interrupt_fd < 0) {
		queue->interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (queue->interrupt_fd < 0)
			return -1;
		if (port_source_add(port, &queue->interrupt_source, queue->interrupt_fd, interrupt_ready,
				    queue->index) < 0)
			rp_wire_fd_close(&queue->interrupt_fd);
	}
	return queue->interrupt_fd;
}

int
port_relay_interrupts_from(struct rp_port *port, struct port_queue *queue, int *fd)
{
	int rc = port_source_add(port, &queue->interrupt_source, *fd, interrupt_ready, queue->index);

	if (rc == 0)
		queue->interrupt_fd = rp_wire_fd_take(fd);
	return rc;
}

int
port_relay_start(struct rp_port *port, struct port_queue *queue)
{
	if (queue->kick_fd < 0)
		return 0;
	return port_source_add(port, &queue->kick_source, queue->kick_fd, kick_ready, queue->index);
}

void
port_relay_stop(struct rp_port *port, struct port_queue *queue)
{
	port_source_remove(port, &queue->kick_source);
	port_source_remove(port, &queue->interrupt_source);
	rp_wire_fd_close(&queue->interrupt_fd);
}

void
port_relay_drain(struct rp_port *port, struct port_queue *queue)
{
	if (queue->kick_source.fd >= 0)
		kick_ready(port, &queue->kick_source);
}

void
port_relay_nudge(struct rp_port *port, struct port_queue *queue, bool call)
{
	if (queue->running)
		ring(port, queue);
	/* Nobody else reads it while the software backend has the ring. */
	else if (queue->software == PORT_SOFTWARE_RING_SERVES)
		signal_fd(port, queue, queue->kick_fd, &queue->kick_failed, "kick-failed", "kick");
	if (call)
		port_relay_call(port, queue);
}
