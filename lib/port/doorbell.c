/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The notify area of a queue in the frontend.
 *
 * An offer goes out from the timer only: the frontend reads neither channel
 * while it waits for our answer to a request of its own, and a VMM that removes
 * a mapping twice within its deferred unmap aborts, so an offer keeps its
 * distance from every start and removal. That distance grows when the guest drops
 * its mapping sooner than it had to wait for it, and shrinks when it keeps it
 * longer: what a map costs the VMM is paid by the time in which it is of use. A
 * mapping is taken back without waiting. GET_VRING_BASE drops it on the frontend's side (a master
 * of 2018 keeps it, so there it is taken back); an offer that was
 * under way then is stale: its answer does not tell on which side of the drop it
 * was mapped, so it is taken back before the next one, as soon as that can be said. A device that would rather be
 * woken gets its doorbell back, and is offered again when it says so (doorbell_wish.c).
 * Where the channel ends before an answer, or the frontend keeps what it should give
 * back, the page may be out although nothing is mapped for us: until it was dropped.
 *
 *             offer            accepted
 *   UNMAPPED --------> PENDING --------> MAPPED
 *      ^                  |                |  take back, or accepted but stale
 *      |     refused      |                v
 *      +------------------+            REVOKING
 *      +-----------------------------------+  answered
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "port.h"
#include "rp_wire_clock.h"

#define PACE_MS 2
#define CHURN_MAX 16
/* How long a virtual CPU may still act on the old memory map after the frontend said "mapped". */
#define DRAIN_DELAY_MS 20

enum doorbell_event {
	EVENT_OFFER,
	EVENT_ACCEPTED,
	EVENT_ACCEPTED_STALE,
	EVENT_REFUSED,
	EVENT_TAKE_BACK,
	EVENT_DROPPED,
	EVENT_GONE,
	EVENT_COUNT,
};

typedef int (*doorbell_action)(struct rp_port *port, struct port_queue *queue);

struct transition {
	bool legal;
	enum rp_port_doorbell_state next;
	doorbell_action action; /* fails: the state stays */
};

static uint64_t
delay_of(const struct rp_port *port, const struct port_queue *queue)
{
	uint64_t delay_ms = (uint64_t)port->doorbell_delay_ms << queue->doorbell.churn_count;

	return delay_ms < port->doorbell_delay_max_ms ? delay_ms : port->doorbell_delay_max_ms;
}

static void
put_off(struct rp_port *port, struct port_queue *queue)
{
	queue->doorbell.not_before_ms = rp_wire_clock_ms() + delay_of(port, queue);
}

static void
refuse(struct rp_port *port, struct port_queue *queue, const char *text)
{
	queue->doorbell.refused = true;
	snprintf(queue->doorbell.reason, sizeof(queue->doorbell.reason), "%.150s", text);
	port_event(port, RP_PORT_EVENT_WARNING, (int)queue->index, "doorbell-refused", "kicks are relayed: %s", text);
}

static int
action_offer(struct rp_port *port, struct port_queue *queue)
{
	const struct port_accelerator *accelerator = &port->accelerators[queue->accelerator];
	struct rp_accel_notify_area area;
	struct rp_wire_why why = {0};
	int rc;

	if (!accelerator->info.notify_by_address && queue->accelerator_queue != queue->index) {
		refuse(port, queue, "the device decodes doorbells by value and knows this queue by another number");
		return -ENOTSUP;
	}
	if (port_vfio_file_update(port, queue) == -ENOSPC) {
		put_off(port, queue);
		return -ENOSPC;
	}
	rc = accelerator->accel.ops->queue_notify_area(accelerator->accel.priv, queue->accelerator_queue, &area, &why);
	if (rc == 0)
		rc = port_files_claim(port->files, accelerator, port->name, rp_vhu_backend_peer(port->backend), area.fd,
				      &why);
	if (rc == 0)
		rc = rp_vhu_backend_notify_area_set(port->backend, queue->index, area.fd, area.offset_bytes,
						    area.size_bytes, queue->index, &why);
	if (rc == -ENOSPC) {
		put_off(port, queue);
		return rc;
	}
	if (rc < 0) {
		refuse(port, queue, why.text);
		return rc;
	}
	queue->doorbell.place = port_place_of(queue);
	queue->doorbell.stale = false;
	port->last_offer_ms = rp_wire_clock_ms();
	return 0;
}

static int
action_mapped(struct rp_port *port, struct port_queue *queue)
{
	struct port_doorbell *doorbell = &queue->doorbell;

	doorbell->mapped_at_ms = rp_wire_clock_ms();
	doorbell->drain_due = true;
	doorbell->drain_at_ms = doorbell->mapped_at_ms + DRAIN_DELAY_MS;
	queue->doorbell_maps++;
	port_event(port, RP_PORT_EVENT_NOTICE, (int)queue->index, "doorbell-mapped", "the guest kicks the device");
	return 0;
}

static int
action_refused(struct rp_port *port, struct port_queue *queue)
{
	put_off(port, queue);
	if (!queue->doorbell.stale)
		refuse(port, queue,
		       "the frontend refused the notify area (QEMU needs page-per-vq=on, a modern virtio-pci device "
		       "and 4 KiB pages)");
	queue->doorbell.stale = false;
	return 0;
}

static int
action_take_back(struct rp_port *port, struct port_queue *queue)
{
	struct rp_wire_why why;
	int rc = rp_vhu_backend_notify_area_clear(port->backend, queue->index, queue->index, &why);

	if (rc < 0) {
		put_off(port, queue); /* the tick tries again */
		queue->doorbell.take_back_due = queue->doorbell.stale;
		return rc;
	}
	queue->doorbell.stale = false;
	queue->doorbell.take_back_due = false;
	queue->doorbell.drain_due = false;
	port_event(port, RP_PORT_EVENT_DEBUG, (int)queue->index, "doorbell-revoked", "the frontend is to give it back");
	return 0;
}

static int
action_stale(struct rp_port *port, struct port_queue *queue)
{
	(void)port;
	queue->doorbell.stale = true;
	return 0;
}

static int
action_taken_back(struct rp_port *port, struct port_queue *queue)
{
	queue->doorbell.may_be_out = false;
	put_off(port, queue);
	port_event(port, RP_PORT_EVENT_NOTICE, (int)queue->index, "doorbell-unmapped", "taken back");
	/* A store may have fallen on the page while nobody watched it. */
	port_relay_nudge(port, queue, queue->software == PORT_SOFTWARE_RING_SERVES);
	return 0;
}

static int
action_dropped(struct rp_port *port, struct port_queue *queue)
{
	struct port_doorbell *doorbell = &queue->doorbell;
	uint64_t held_ms = rp_wire_clock_ms() - doorbell->mapped_at_ms;

	if (held_ms >= port->doorbell_delay_max_ms)
		doorbell->churn_count = 0;
	else if (held_ms >= delay_of(port, queue))
		doorbell->churn_count -= doorbell->churn_count > 0;
	else if (doorbell->churn_count < CHURN_MAX && delay_of(port, queue) < port->doorbell_delay_max_ms)
		doorbell->churn_count++;
	doorbell->drain_due = false;
	put_off(port, queue);
	return 0;
}

static int
action_gone(struct rp_port *port, struct port_queue *queue)
{
	(void)port;
	queue->doorbell.stale = false;
	queue->doorbell.take_back_due = false;
	queue->doorbell.drain_due = false;
	queue->doorbell.churn_count = 0;
	return 0;
}

/* Its answer is lost with the channel: nobody can say whether the frontend has the page. */
static int
action_lost(struct rp_port *port, struct port_queue *queue)
{
	queue->doorbell.may_be_out = true;
	return action_gone(port, queue);
}

static int
action_kept(struct rp_port *port, struct port_queue *queue)
{
	queue->doorbell.may_be_out = true;
	put_off(port, queue);
	port_event(port, RP_PORT_EVENT_WARNING, (int)queue->index, "doorbell-kept",
		   "the frontend does not give the notify area back");
	port_relay_nudge(port, queue, queue->software == PORT_SOFTWARE_RING_SERVES);
	return 0;
}

/* clang-format off */
static const struct transition transitions[][EVENT_COUNT] = {
	[RP_PORT_DOORBELL_UNMAPPED] = {
		[EVENT_OFFER]          = {true, RP_PORT_DOORBELL_PENDING, action_offer},
		[EVENT_TAKE_BACK]      = {true, RP_PORT_DOORBELL_UNMAPPED, NULL},
		[EVENT_DROPPED]        = {true, RP_PORT_DOORBELL_UNMAPPED, NULL},
		[EVENT_GONE]           = {true, RP_PORT_DOORBELL_UNMAPPED, action_gone},
	},
	[RP_PORT_DOORBELL_PENDING] = {
		[EVENT_ACCEPTED]       = {true, RP_PORT_DOORBELL_MAPPED, action_mapped},
		[EVENT_ACCEPTED_STALE] = {true, RP_PORT_DOORBELL_REVOKING, action_take_back},
		[EVENT_REFUSED]        = {true, RP_PORT_DOORBELL_UNMAPPED, action_refused},
		[EVENT_TAKE_BACK]      = {true, RP_PORT_DOORBELL_PENDING, action_stale},
		[EVENT_DROPPED]        = {true, RP_PORT_DOORBELL_PENDING, action_stale},
		[EVENT_GONE]           = {true, RP_PORT_DOORBELL_UNMAPPED, action_lost},
	},
	[RP_PORT_DOORBELL_MAPPED] = {
		[EVENT_TAKE_BACK]      = {true, RP_PORT_DOORBELL_REVOKING, action_take_back},
		[EVENT_DROPPED]        = {true, RP_PORT_DOORBELL_UNMAPPED, action_dropped},
		[EVENT_GONE]           = {true, RP_PORT_DOORBELL_UNMAPPED, action_gone},
	},
	[RP_PORT_DOORBELL_REVOKING] = {
		[EVENT_ACCEPTED]       = {true, RP_PORT_DOORBELL_UNMAPPED, action_taken_back},
		[EVENT_REFUSED]        = {true, RP_PORT_DOORBELL_UNMAPPED, action_kept},
		[EVENT_TAKE_BACK]      = {true, RP_PORT_DOORBELL_REVOKING, NULL},
		[EVENT_DROPPED]        = {true, RP_PORT_DOORBELL_REVOKING, NULL},
		[EVENT_GONE]           = {true, RP_PORT_DOORBELL_UNMAPPED, action_lost},
	},
};
/* clang-format on */

static int
happen(struct rp_port *port, struct port_queue *queue, enum doorbell_event event)
{
	const struct transition *transition = &transitions[queue->doorbell.state][event];
	enum rp_port_doorbell_state before = queue->doorbell.state;
	int rc;

	if (!transition->legal)
		return -EBUSY;
	/* The action may look at the state it leads to (a nudge counts kicks by it). */
	queue->doorbell.state = transition->next;
	rc = transition->action == NULL ? 0 : transition->action(port, queue);
	if (rc < 0)
		queue->doorbell.state = before;
	return rc;
}

/* What the frontend has is of the queue's accelerator: it was not moved since. */
static bool
is_own(const struct port_queue *queue)
{
	struct port_place place = port_place_of(queue);

	return !port_doorbell_outstanding(queue) || port_place_is_same(&queue->doorbell.place, &place);
}

bool
port_doorbell_is_mapped(const struct port_queue *queue)
{
	return queue->doorbell.state == RP_PORT_DOORBELL_MAPPED && is_own(queue);
}

/* But for what the device would like. */
static bool
possible(const struct rp_port *port, const struct port_queue *queue)
{
	return queue->running && is_own(queue) && queue->shadow.ring == NULL && !port->closing && port->channel_up &&
	       !queue->doorbell.refused && queue->doorbell.policy == RP_PORT_DOORBELL_AUTO;
}

bool
port_doorbell_is_wanted(const struct rp_port *port, const struct port_queue *queue)
{
	return possible(port, queue) && !queue->doorbell.unwanted;
}

void
port_doorbell_started(struct rp_port *port, struct port_queue *queue)
{
	queue->doorbell.unwanted = false;
	queue->doorbell.told = PORT_DOORBELL_TOLD_NOTHING;
	queue->doorbell.refused = false;
	queue->doorbell.reason[0] = '\0';
	if (queue->doorbell.state == RP_PORT_DOORBELL_UNMAPPED)
		put_off(port, queue);
}

void
port_doorbell_stopped(struct rp_port *port, struct port_queue *queue)
{
	if (port->doorbells_held)
		queue->doorbell.held = true;
	else
		happen(port, queue, EVENT_TAKE_BACK);
}

void
port_doorbells_hold(struct rp_port *port)
{
	port->doorbells_held = true;
}

void
port_doorbells_release(struct rp_port *port)
{
	unsigned int i;

	port->doorbells_held = false;
	for (i = 0; i < port->queues_count; i++) {
		struct port_queue *queue = &port->queues[i];

		if (!queue->doorbell.held)
			continue;
		queue->doorbell.held = false;
		happen(port, queue, EVENT_TAKE_BACK);
	}
}

void
port_doorbell_dropped(struct rp_port *port, struct port_queue *queue)
{
	queue->doorbell.may_be_out = false;
	happen(port, queue, EVENT_DROPPED);
}

void
port_doorbell_disconnected(struct port_queue *queue)
{
	happen(NULL, queue, EVENT_GONE);
	queue->doorbell.may_be_out = false;
}

void
port_doorbell_policy(struct rp_port *port, struct port_queue *queue, enum rp_port_doorbell_policy policy)
{
	queue->doorbell.policy = policy;
	if (policy == RP_PORT_DOORBELL_RELAY)
		happen(port, queue, EVENT_TAKE_BACK);
	else
		queue->doorbell.refused = false;
}

void
port_doorbell_reply(struct rp_port *port, struct port_queue *queue, int error)
{
	enum doorbell_event event = EVENT_REFUSED;

	if (error == -ENOTCONN)
		event = EVENT_GONE;
	else if (error == 0)
		event = queue->doorbell.state == RP_PORT_DOORBELL_PENDING && queue->doorbell.stale ?
				EVENT_ACCEPTED_STALE :
				EVENT_ACCEPTED;
	happen(port, queue, event);
}

bool
port_doorbell_outstanding(const struct port_queue *queue)
{
	return queue->doorbell.state != RP_PORT_DOORBELL_UNMAPPED || queue->doorbell.may_be_out;
}

static bool
offer_under_way(const struct rp_port *port)
{
	unsigned int i;

	for (i = 0; i < port->queues_count; i++)
		if (port->queues[i].doorbell.state == RP_PORT_DOORBELL_PENDING)
			return true;
	return false;
}

static uint64_t
later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* As every queue may become idle in the same moment, and what a VMM is asked for costs it time. */
static uint64_t
give_back_at(const struct rp_port *port, const struct port_queue *queue)
{
	/* A try that failed has put off the next one. */
	uint64_t at_ms = queue->doorbell.not_before_ms;

	if (!possible(port, queue))
		return at_ms;
	at_ms = later(at_ms, queue->doorbell.mapped_at_ms + port->doorbell_delay_ms);
	return later(at_ms, port->last_offer_ms + PACE_MS);
}

static void
give_back(struct rp_port *port, struct port_queue *queue)
{
	bool idle = possible(port, queue);

	if (happen(port, queue, EVENT_TAKE_BACK) < 0 || !idle)
		return;
	port->last_offer_ms = rp_wire_clock_ms();
	queue->doorbell_idles++;
	port_event(port, RP_PORT_EVENT_NOTICE, (int)queue->index, "doorbell-idle", "the device would rather be woken");
}

/* The device must watch before the guest can store, and fails, if it does, before anything is offered. */
static void
offer(struct rp_port *port, struct port_queue *queue)
{
	if (port_doorbell_tell(port, queue, true) == 0)
		happen(port, queue, EVENT_OFFER);
}

uint64_t
port_doorbell_deadline(const struct rp_port *port, const struct port_queue *queue)
{
	const struct port_doorbell *doorbell = &queue->doorbell;

	switch (doorbell->state) {
	case RP_PORT_DOORBELL_UNMAPPED:
		if (port_doorbell_untold(port, queue))
			return 1;
		if (!port_doorbell_is_wanted(port, queue) || offer_under_way(port))
			return 0;
		if (doorbell->not_before_ms < port->last_offer_ms + PACE_MS)
			return port->last_offer_ms + PACE_MS;
		return doorbell->not_before_ms;
	case RP_PORT_DOORBELL_MAPPED:
		if (!port_doorbell_is_wanted(port, queue))
			return give_back_at(port, queue);
		return doorbell->drain_due ? doorbell->drain_at_ms : 0;
	case RP_PORT_DOORBELL_PENDING:
		return doorbell->take_back_due ? doorbell->not_before_ms : 0;
	default:
		return 0;
	}
}

void
port_doorbell_tick(struct rp_port *port, struct port_queue *queue, uint64_t now_ms)
{
	struct port_doorbell *doorbell = &queue->doorbell;
	uint64_t deadline_ms = port_doorbell_deadline(port, queue);

	if (deadline_ms == 0 || now_ms < deadline_ms)
		return;
	if (port_doorbell_untold(port, queue)) {
		port_doorbell_tell(port, queue, false);
	} else if (doorbell->state == RP_PORT_DOORBELL_UNMAPPED) {
		offer(port, queue);
	} else if (doorbell->state == RP_PORT_DOORBELL_PENDING) {
		happen(port, queue, EVENT_ACCEPTED_STALE);
	} else if (!port_doorbell_is_wanted(port, queue)) {
		give_back(port, queue);
	} else {
		port_relay_drain(port, queue);
		doorbell->drain_due = false;
	}
}

const char *
rp_port_doorbell_state_name(enum rp_port_doorbell_state state)
{
	static const char *const names[] = {
		[RP_PORT_DOORBELL_UNMAPPED] = "unmapped",
		[RP_PORT_DOORBELL_PENDING] = "pending",
		[RP_PORT_DOORBELL_MAPPED] = "mapped",
		[RP_PORT_DOORBELL_REVOKING] = "revoking",
	};

	return names[state];
}
