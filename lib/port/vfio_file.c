/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The VFIO file (a group) of the device that serves a queue, in the frontend's hands.
 *
 * One message for each queue, before the queue's first notify area; the answer of
 * neither is waited for. A refusal costs the guest nothing: only the way of its
 * interrupts may be longer on old kernels. The file survives a stop of the ring,
 * because the same device is still behind the queue; it is taken back when the
 * queue leaves the device or the device is to be closed, after the notify area:
 * as long as the guest can store to the device's page, its VMM may need the file.
 *
 *          set              accepted
 *   NONE --------> OFFERED ----------> HELD
 *    ^                |                 |  clear
 *    |    refused     |                 v
 *    +----------------+              REVOKING
 *    +----------------------------------+  answered
 *
 * An offer that crossed a reset, or whose channel ended, is *stale*: nobody can say
 * what the frontend holds. Both requests may be repeated without harm, so it is
 * sent again as it is wanted by then.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "port.h"
#include "rp_wire_clock.h"

#define AGAIN_MS 250
#define AT_ONCE_MS 1 /* a time that has passed: zero means none */

static int
group_of(const struct rp_port *port, const struct port_queue *queue)
{
	if (!port_accelerator_usable(port, queue->accelerator))
		return -1;
	return port->accelerators[queue->accelerator].info.vfio_file_fd;
}

static bool
is_wanted(const struct rp_port *port, const struct port_queue *queue)
{
	const struct port_vfio_file *file = &queue->vfio_file;

	return port->profile != RP_VHU_PROFILE_STANDARD && !port->closing && queue->user_enabled && file->started &&
	       (file->state == RP_PORT_VFIO_FILE_NONE || file->accelerator == queue->accelerator) &&
	       group_of(port, queue) >= 0;
}

static bool
may_give(const struct rp_port *port, const struct port_queue *queue)
{
	return queue->running && port->channel_up && !queue->vfio_file.refused &&
	       queue->vfio_file.state == RP_PORT_VFIO_FILE_NONE && is_wanted(port, queue);
}

static bool
must_take_back(const struct rp_port *port, const struct port_queue *queue)
{
	enum rp_port_doorbell_state doorbell = queue->doorbell.state;

	return queue->vfio_file.state == RP_PORT_VFIO_FILE_HELD && !is_wanted(port, queue) &&
	       (doorbell == RP_PORT_DOORBELL_UNMAPPED || doorbell == RP_PORT_DOORBELL_REVOKING);
}

static void
refuse(struct rp_port *port, struct port_queue *queue, const char *text)
{
	queue->vfio_file.refused = true;
	port_event(port, RP_PORT_EVENT_NOTICE, (int)queue->index, "vfio-file-refused",
		   "the frontend's KVM does not know the device: %s", text);
}

static int
give(struct rp_port *port, struct port_queue *queue)
{
	struct rp_wire_why why = {0};
	int fd = group_of(port, queue);
	int rc;

	rc = port_files_claim(port->files, &port->accelerators[queue->accelerator], port->name,
			      rp_vhu_backend_peer(port->backend), fd, &why);
	if (rc == 0)
		rc = rp_vhu_backend_vfio_file_set(port->backend, queue->index, fd, RP_VHU_VFIO_GROUP,
						  PORT_TOKEN_VFIO_FILE | queue->index, &why);
	if (rc == 0) {
		queue->vfio_file.state = RP_PORT_VFIO_FILE_OFFERED;
		queue->vfio_file.accelerator = queue->accelerator;
		queue->vfio_file.stale = false;
	} else if (rc != -ENOSPC) {
		refuse(port, queue, why.text);
	}
	return rc;
}

static int
take_back(struct rp_port *port, struct port_queue *queue)
{
	struct rp_wire_why why;
	int rc = rp_vhu_backend_vfio_file_clear(port->backend, queue->index, PORT_TOKEN_VFIO_FILE | queue->index, &why);

	if (rc == 0)
		queue->vfio_file.state = RP_PORT_VFIO_FILE_REVOKING;
	/* Without a channel it stays where it is; a new channel may take it back. */
	queue->vfio_file.stuck = rc < 0 && rc != -ENOSPC;
	return rc;
}

int
port_vfio_file_update(struct rp_port *port, struct port_queue *queue)
{
	int rc = 0;

	if (may_give(port, queue))
		rc = give(port, queue);
	else if (must_take_back(port, queue) && !queue->vfio_file.stuck)
		rc = take_back(port, queue);
	if (rc == -ENOSPC)
		queue->vfio_file.not_before_ms = rp_wire_clock_ms() + AGAIN_MS;
	return rc == -ENOSPC ? rc : 0;
}

void
port_vfio_file_started(struct port_queue *queue)
{
	queue->vfio_file.started = true;
}

void
port_vfio_file_channel(struct port_queue *queue)
{
	queue->vfio_file.stuck = false;
	queue->vfio_file.refused = false;
}

void
port_vfio_file_reset(struct rp_port *port, struct port_queue *queue)
{
	struct port_vfio_file *file = &queue->vfio_file;

	if (port->profile == RP_VHU_PROFILE_VFIO2018)
		return;
	file->started = false;
	if (file->state == RP_PORT_VFIO_FILE_HELD)
		file->state = RP_PORT_VFIO_FILE_NONE;
	file->stale = file->state == RP_PORT_VFIO_FILE_OFFERED;
}

void
port_vfio_file_renewed(struct port_queue *queue, unsigned int accelerator)
{
	struct port_vfio_file *file = &queue->vfio_file;

	if (port_queue_is_on(queue, accelerator))
		file->refused = false;
	if (file->accelerator != (int)accelerator)
		return;
	file->stale = file->state == RP_PORT_VFIO_FILE_OFFERED;
	if (file->state == RP_PORT_VFIO_FILE_HELD)
		file->state = RP_PORT_VFIO_FILE_NONE;
}

void
port_vfio_file_disconnected(struct port_queue *queue)
{
	memset(&queue->vfio_file, 0, sizeof(queue->vfio_file));
}

static void
offer_answered(struct rp_port *port, struct port_queue *queue, int error)
{
	struct port_vfio_file *file = &queue->vfio_file;

	if (error == -EREMOTEIO && !file->stale) {
		file->state = RP_PORT_VFIO_FILE_NONE;
		if (port_queue_is_on(queue, (unsigned int)file->accelerator))
			refuse(port, queue, "it refused the VFIO file");
		return;
	}
	if (error == 0 && !file->stale) {
		file->state = RP_PORT_VFIO_FILE_HELD;
		port_event(port, RP_PORT_EVENT_NOTICE, (int)queue->index, "vfio-file-given",
			   "the frontend holds the group of %s", port->accelerators[file->accelerator].info.device);
		return;
	}
	file->state = is_wanted(port, queue) ? RP_PORT_VFIO_FILE_NONE : RP_PORT_VFIO_FILE_HELD;
	file->stale = false;
}

void
port_vfio_file_reply(struct rp_port *port, struct port_queue *queue, int error)
{
	struct port_vfio_file *file = &queue->vfio_file;

	if (file->state == RP_PORT_VFIO_FILE_OFFERED) {
		offer_answered(port, queue, error);
	} else if (file->state == RP_PORT_VFIO_FILE_REVOKING) {
		file->state = error == -ENOTCONN ? RP_PORT_VFIO_FILE_HELD : RP_PORT_VFIO_FILE_NONE;
		if (error != -ENOTCONN)
			port_event(port, RP_PORT_EVENT_NOTICE, (int)queue->index, "vfio-file-returned", "taken back");
	}
}

bool
port_vfio_file_outstanding(const struct port_queue *queue)
{
	return queue->vfio_file.state != RP_PORT_VFIO_FILE_NONE && !queue->vfio_file.stuck;
}

uint64_t
port_vfio_file_deadline(const struct rp_port *port, const struct port_queue *queue)
{
	if (!may_give(port, queue) && (!must_take_back(port, queue) || queue->vfio_file.stuck))
		return 0;
	return queue->vfio_file.not_before_ms != 0 ? queue->vfio_file.not_before_ms : AT_ONCE_MS;
}

void
port_vfio_file_tick(struct rp_port *port, struct port_queue *queue, uint64_t now_ms)
{
	uint64_t deadline_ms = port_vfio_file_deadline(port, queue);

	if (deadline_ms == 0 || now_ms < deadline_ms)
		return;
	queue->vfio_file.not_before_ms = 0;
	port_vfio_file_update(port, queue);
}

const char *
rp_port_vfio_file_state_name(enum rp_port_vfio_file_state state)
{
	static const char *const names[] = {
		[RP_PORT_VFIO_FILE_NONE] = "none",
		[RP_PORT_VFIO_FILE_OFFERED] = "offered",
		[RP_PORT_VFIO_FILE_HELD] = "held",
		[RP_PORT_VFIO_FILE_REVOKING] = "revoking",
	};

	return names[state];
}
