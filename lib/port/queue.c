/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "port.h"
#include "rp_vring_position.h"
#include "rp_wire_fd.h"

int
port_queues_create(struct rp_port *port, unsigned int queues_count)
{
	unsigned int i;

	port->queues = calloc(queues_count, sizeof(*port->queues));
	if (port->queues == NULL)
		return -ENOMEM;
	port->queues_count = queues_count;
	for (i = 0; i < queues_count; i++) {
		struct port_queue *queue = &port->queues[i];

		queue->index = i;
		queue->accelerator = -1;
		queue->node = RP_DMA_NODE_ANY;
		queue->user_enabled = true;
		queue->wish = port->wish;
		queue->doorbell.policy = port->doorbell;
		queue->ring_policy = port->ring;
		queue->kick_fd = -1;
		queue->call_fd = -1;
		queue->interrupt_fd = -1;
		queue->kick_source.fd = -1;
		queue->interrupt_source.fd = -1;
	}
	return 0;
}

void
port_queues_destroy(struct rp_port *port)
{
	unsigned int i;

	for (i = 0; i < port->queues_count; i++) {
		rp_wire_fd_close(&port->queues[i].kick_fd);
		rp_wire_fd_close(&port->queues[i].call_fd);
		rp_wire_fd_close(&port->queues[i].interrupt_fd);
		port_shadow_close(&port->queues[i]);
		port_iommu_ring_close(&port->queues[i]);
	}
	free(port->queues);
	port->queues = NULL;
	port->queues_count = 0;
}

static bool
accelerator_is_lost(int error)
{
	return error == -ENOTCONN || error == -ETIMEDOUT || error == -EIO;
}

struct rp_accel_queue_config
port_queue_ring(const struct port_queue *queue)
{
	return (struct rp_accel_queue_config){
		.num = queue->vring.num,
		.position = queue->position,
		.desc_iova = queue->vring.desc_gpa,
		.avail_iova = queue->vring.avail_gpa,
		.used_iova = queue->vring.used_gpa,
		.call_fd = -1,
	};
}

/* Which ring the device gets, and where it begins. */
static int
prepare(struct rp_port *port, struct port_queue *queue, struct rp_accel_queue_config *config, struct rp_wire_why *why)
{
	bool shadow;
	int rc = port_shadow_choose(port, queue, &shadow, why);

	if (rc < 0)
		return rc;
	*config = port_queue_ring(queue);
	if (shadow)
		return port_shadow_open(port, queue, config, why);
	config->call_fd = port_relay_interrupt_fd(port, queue);
	return 0;
}

/*
 * A device that was asked, and lost, may have begun: then the ring is nobody else's before there is proof that it let
 * go, and the private memory stays.
 */
static int
not_started(struct rp_port *port, struct port_queue *queue, bool asked, int error, struct rp_wire_why *why)
{
	snprintf(queue->reason, sizeof(queue->reason), "not started: %.140s", why->text);
	port_event(port, RP_PORT_EVENT_ERROR, (int)queue->index, "queue-start-failed", "%s", why->text);
	port_relay_stop(port, queue);
	queue->unproven = queue->start_lost = asked && accelerator_is_lost(error);
	if (!queue->unproven)
		port_shadow_close(queue);
	if (accelerator_is_lost(error))
		port_accelerator_fail(port, (unsigned int)queue->accelerator, error, why);
	return error;
}

static void
tell_start(const struct rp_port *port, const struct port_queue *queue)
{
	bool shadow = queue->shadow.ring != NULL;
	char text[PORT_POSITION_TEXT_MAX];

	port_position_text(port, queue->position, text, sizeof(text));
	port_event(port, RP_PORT_EVENT_NOTICE, (int)queue->index, "queue-started",
		   "accelerator %d queue %u from %s, %u entries%s%s", queue->accelerator, queue->accelerator_queue,
		   text, queue->vring.num, shadow ? ", shadow: " : "", shadow ? queue->shadow.reason : "");
}

void
port_queue_resumed(const struct rp_port *port, struct port_queue *queue)
{
	/* A ring that begins anew has nothing left from before. */
	if (queue->position != rp_vring_position_fresh(port->features))
		queue->redone += queue->redo_due;
	queue->redo_due = 0;
}

static void
started(struct rp_port *port, struct port_queue *queue)
{
	queue->running = true;
	queue->start_lost = false;
	queue->reason[0] = '\0';
	if (queue->served_before)
		queue->moves++;
	port_move_reached(queue, RP_PORT_OWNER_HARDWARE);
	port_queue_resumed(port, queue);
	tell_start(port, queue);
	if (port_relay_start(port, queue) < 0)
		port_event(port, RP_PORT_EVENT_WARNING, (int)queue->index, "relay-failed",
			   "the kick descriptor cannot be polled; only a mapped doorbell will be heard");
	port_vfio_file_started(queue);
	port_doorbell_started(port, queue);
	if (queue->shadow.ring != NULL)
		port_shadow_begin(port, queue);
	port_relay_nudge(port, queue, queue->served_before);
	queue->served_before = true;
}

/* Since it was chosen: by the start of another ring. */
static int
is_gone(const struct rp_port *port, const struct port_queue *queue, struct rp_wire_why *why)
{
	if (port_accelerator_usable(port, queue->accelerator))
		return 0;
	return rp_wire_why_set(why, -ENOTCONN, "%s", port->accelerators[queue->accelerator].reason);
}

int
port_queue_start(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	const struct rp_accel *accel = &port->accelerators[queue->accelerator].accel;
	struct rp_accel_queue_config config;
	int rc;

	assert(queue->software != PORT_SOFTWARE_RING_SERVES);
	rc = is_gone(port, queue, why);
	if (rc == 0)
		rc = port_asks_settle(port, (unsigned int)queue->accelerator, why);
	if (rc == 0)
		rc = prepare(port, queue, &config, why);
	if (rc < 0)
		return not_started(port, queue, false, rc, why);
	rc = accel->ops->queue_start(accel->priv, queue->accelerator_queue, &config, why);
	if (rc < 0)
		return not_started(port, queue, true, rc, why);
	started(port, queue);
	return 0;
}

/* A device that is lost, be it by the first kick of the ring before, has lost those too that it took. */
static void
conclude(struct rp_port *port, struct port_queue *queue, struct rp_accel_queue_start *start, int lost,
	 const struct rp_wire_why *why)
{
	if (start->error == 0 && lost < 0) {
		start->error = lost;
		start->why = *why;
	}
	if (start->error == 0)
		start->error = is_gone(port, queue, &start->why);
	if (start->error < 0)
		not_started(port, queue, true, start->error, &start->why);
	else
		started(port, queue);
}

void
port_queues_start(struct rp_port *port, unsigned int accelerator, struct port_queue *const *queues,
		  struct rp_accel_queue_start *ret_starts, unsigned int count)
{
	const struct rp_accel *accel = &port->accelerators[accelerator].accel;
	struct rp_wire_why why = {0};
	unsigned int tried, i;
	int rc = 0;

	for (tried = 0; tried < count; tried++) {
		struct rp_accel_queue_start *start = &ret_starts[tried];

		assert(queues[tried]->software != PORT_SOFTWARE_RING_SERVES);
		start->queue = queues[tried]->accelerator_queue;
		start->error = port_asks_settle(port, accelerator, &start->why);
		if (start->error == 0)
			start->error = prepare(port, queues[tried], &start->config, &start->why);
		if (start->error < 0)
			break;
	}
	if (tried > 0)
		rc = accel->ops->queues_start(accel->priv, ret_starts, tried, &why);
	for (i = 0; i < tried; i++)
		conclude(port, queues[i], &ret_starts[i], rc, &why);
	/* From the one on that could not be prepared, each by itself. */
	for (; i < count; i++)
		ret_starts[i].error = port_queue_start(port, queues[i], &ret_starts[i].why);
}

/* Where the ring stands, as far as anybody knows. @return whether that is exact. */
static bool
settle(struct rp_port *port, struct port_queue *queue)
{
	bool start_lost = queue->start_lost;
	uint32_t position;

	queue->start_lost = false;
	if (queue->shadow.ring != NULL && port_shadow_end(port, queue, &position) == 0) {
		queue->position = position;
		return true;
	}
	/* While it is unproven what is there may change. */
	if (start_lost && !queue->unproven && port_position_is_untouched(port, queue))
		return true;
	queue->redo_due = port_position_pending(port, queue);
	port_position_from_ring(port, queue);
	return false;
}

/* The accelerator touches the ring no more. */
void
port_queue_stopped(struct rp_port *port, struct port_queue *queue, bool exact, uint32_t position)
{
	char text[PORT_POSITION_TEXT_MAX];

	queue->running = false;
	if (exact && queue->shadow.ring == NULL)
		queue->position = position;
	else
		exact = settle(port, queue);
	if (queue->frontend_started && queue->frontend_enabled)
		queue->moves++;
	port_relay_stop(port, queue);
	port_doorbell_stopped(port, queue);
	port_position_text(port, queue->position, text, sizeof(text));
	port_event(port, RP_PORT_EVENT_NOTICE, (int)queue->index, "queue-stopped", "at %s%s",
		   queue->position_lost ? "an unknown position" : text,
		   exact || queue->position_lost ? "" : ", the used ring's");
}

void
port_queue_released(struct rp_port *port, struct port_queue *queue)
{
	settle(port, queue);
}

int
port_queue_stop(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	const struct port_accelerator *accelerator = &port->accelerators[queue->accelerator];
	uint32_t position = 0;
	int rc;

	/* Who only prefers it stopped is refused; a ring that goes must go. */
	if (queue->frontend_started) {
		rc = port_position_keep(port, queue, why);
		if (rc < 0) {
			port_event(port, RP_PORT_EVENT_WARNING, (int)queue->index, "queue-not-stopped", "%s",
				   why->text);
			return rc;
		}
	}
	if (port_wish_anybody(port, queue))
		port_move_left(queue, RP_PORT_OWNER_HARDWARE);
	rc = accelerator->accel.ops->queue_stop(accelerator->accel.priv, queue->accelerator_queue, &position, why);
	if (rc == 0) {
		port_queue_stopped(port, queue, accelerator->info.class == RP_ACCEL_CLASS_A, position);
		return 0;
	}
	port_event(port, RP_PORT_EVENT_ERROR, (int)queue->index, "queue-stop-failed", "%s", why->text);
	if (rc != -ENOTSUP) {
		port_accelerator_fail(port, (unsigned int)queue->accelerator, rc, why);
		return rc;
	}
	/* It cannot stop one queue alone. */
	if (queue->frontend_started)
		return rc;
	return port_accelerator_stop_all(port, (unsigned int)queue->accelerator, why);
}

/*
 * A ring that is on the one side and should be on the other stays where it is: moves have an
 * order (move.c).
 */
int
port_queue_update(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	struct rp_wire_why unused = {0};
	enum rp_port_owner target = port_wish_target(port, queue);
	enum rp_port_owner owner = port_queue_owner(queue);

	if (why == NULL)
		why = &unused;
	if (owner == target)
		return 0;
	if (owner == RP_PORT_OWNER_NONE)
		return port_move_give(port, queue, target, why);
	if (target != RP_PORT_OWNER_NONE)
		return 0;
	if (owner == RP_PORT_OWNER_SOFTWARE)
		return port_move_release(port, queue, why);
	/* A pair receives nothing any more before its ring goes. */
	port_net_update(port, (unsigned int)queue->accelerator);
	return queue->running ? port_queue_stop(port, queue, why) : -ENOTCONN;
}

int
port_queue_renew(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	int rc = port_queue_stop(port, queue, why);

	/* The others of a device that stops only whole are as wrong, or start again as they were. */
	if (rc == -ENOTSUP && port_position_keep(port, queue, why) == 0)
		return port_accelerator_stop_all(port, (unsigned int)queue->accelerator, why);
	return rc < 0 ? rc : port_queue_update(port, queue, why);
}

enum rp_port_queue_mode
port_queue_mode(const struct port_queue *queue)
{
	if (queue->software == PORT_SOFTWARE_RING_SERVES)
		return RP_PORT_QUEUE_SOFTWARE;
	if (!queue->running)
		return RP_PORT_QUEUE_STOPPED;
	if (queue->shadow.ring != NULL)
		return RP_PORT_QUEUE_SHADOW;
	return port_doorbell_is_mapped(queue) ? RP_PORT_QUEUE_DIRECT : RP_PORT_QUEUE_RELAYED;
}

void
port_queue_note_mode(struct port_queue *queue, uint64_t now_ms)
{
	enum rp_port_queue_mode mode = port_queue_mode(queue);

	if (queue->mode_since_ms == 0 || mode != queue->mode_seen)
		queue->mode_since_ms = now_ms;
	queue->mode_seen = mode;
}

static const char *
stopped_reason(const struct rp_port *port, const struct port_queue *queue)
{
	if (queue->unproven)
		return "the accelerator failed and nothing proves that it let go of the ring";
	if (port_wish_is_unproven(queue))
		return "the software backend is gone and nothing proves that it let go of the ring";
	if (!queue->user_enabled)
		return "disabled by the user";
	if (!rp_vhu_backend_attached(port->backend))
		return "no frontend is connected";
	if (!queue->frontend_started)
		return port->refused[0] != '\0' ? port->refused : "the frontend has not started the ring";
	if (queue->iommu.waits)
		return queue->iommu.told ? queue->reason :
					   "the frontend was asked where its ring is, and has not answered yet";
	if (queue->position_lost)
		return PORT_POSITION_LOST;
	if (!queue->frontend_enabled)
		return "disabled by the frontend";
	if (queue->broken)
		return queue->reason;
	if (queue->wish == RP_PORT_WISH_SOFTWARE || (queue->accelerator < 0 && port_software_configured(port)))
		return port_wish_why_not(port, queue, RP_PORT_OWNER_SOFTWARE);
	return port_wish_why_not(port, queue, RP_PORT_OWNER_HARDWARE);
}

void
port_queue_reason(const struct rp_port *port, const struct port_queue *queue, char *ret_text, size_t size)
{
	const struct port_doorbell *doorbell = &queue->doorbell;
	const char *text = "";

	switch (port_queue_mode(queue)) {
	case RP_PORT_QUEUE_STOPPED:
		text = stopped_reason(port, queue);
		break;
	case RP_PORT_QUEUE_DIRECT:
	case RP_PORT_QUEUE_SOFTWARE:
		break;
	case RP_PORT_QUEUE_SHADOW:
		text = queue->broken ? queue->reason : queue->shadow.reason;
		break;
	case RP_PORT_QUEUE_RELAYED:
		if (doorbell->policy == RP_PORT_DOORBELL_RELAY)
			text = "relay is the user's choice";
		else if (doorbell->refused)
			text = doorbell->reason;
		else if (doorbell->state == RP_PORT_DOORBELL_PENDING)
			text = "the doorbell is offered, the frontend has not answered yet";
		else if (doorbell->state != RP_PORT_DOORBELL_UNMAPPED)
			text = "the doorbell is being taken back";
		else if (doorbell->may_be_out && doorbell->place.accelerator != queue->accelerator)
			text = "the frontend may still have the doorbell of the accelerator before";
		else if (!port->channel_up)
			text = "the frontend opened no backend channel";
		else if (doorbell->unwanted)
			text = "the queue is idle, and the device would rather be woken";
		else
			text = "the doorbell will be offered soon";
		break;
	}
	snprintf(ret_text, size, "%s", text);
}

static void
counters_add(struct rp_accel_queue_counters *sum, const struct rp_accel_queue_counters *add,
	     const struct rp_accel_queue_counters *base)
{
	sum->direct_kicks += add->direct_kicks - base->direct_kicks;
	sum->eventfd_kicks += add->eventfd_kicks - base->eventfd_kicks;
	sum->interrupts += add->interrupts - base->interrupts;
	sum->packets += add->packets - base->packets;
	sum->bytes += add->bytes - base->bytes;
	sum->errors += add->errors - base->errors;
}

bool
port_queue_counters(struct rp_port *port, struct port_queue *queue, struct rp_accel_queue_counters *ret)
{
	bool valid = false;

	if (port_accelerator_usable(port, queue->accelerator)) {
		const struct rp_accel *accel = &port->accelerators[queue->accelerator].accel;

		valid = accel->ops->queue_counters(accel->priv, queue->accelerator_queue, &queue->counters_last) == 0;
	}
	*ret = queue->counters_kept;
	counters_add(ret, &queue->counters_last, &queue->counters_base);
	return valid;
}

void
port_queue_counters_begin(struct rp_port *port, struct port_queue *queue)
{
	const struct rp_accel *accel = &port->accelerators[queue->accelerator].accel;

	if (accel->ops->queue_counters(accel->priv, queue->accelerator_queue, &queue->counters_base) < 0)
		memset(&queue->counters_base, 0, sizeof(queue->counters_base));
	queue->counters_last = queue->counters_base;
}

void
port_queue_counters_keep(struct port_queue *queue, const struct rp_accel_queue_counters *now,
			 const struct rp_accel_queue_counters *since)
{
	counters_add(&queue->counters_kept, now, since);
}

void
port_queue_counters_end(struct port_queue *queue)
{
	counters_add(&queue->counters_kept, &queue->counters_last, &queue->counters_base);
	queue->counters_base = queue->counters_last;
}
