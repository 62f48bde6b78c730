/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "vfu_eventfd.h"
#include "vfu_server.h"

/*
 * Theory of operation: a vector is signalled by whoever holds the descriptor
 * that irq_changed() gave last: this thread, or a copy in a data path thread.
 * Masking therefore cannot be a flag that the signaller looks at. Instead the
 * signaller is handed another eventfd, the parked one, which nobody listens to;
 * unmasking hands back the client's, and then what was signalled meanwhile is
 * read out of the parked one and passed on. Nothing is lost between the two,
 * because irq_changed() has returned before the parked one is read.
 */

/* What a signaller of this vector has to write to. */
static int
effective_fd(const struct rp_vfu_vector *vector)
{
	if (vector->fds[RP_VFU_IRQ_EVENT_TRIGGER] < 0)
		return -1;
	return vector->masked ? vector->parked_fd : vector->fds[RP_VFU_IRQ_EVENT_TRIGGER];
}

static void
tell_change(struct rp_vfu_server *server, uint32_t index, uint32_t number, int before_fd)
{
	int fd = effective_fd(&server->irqs[index].vectors[number]);

	if (fd != before_fd && server->ops.irq_changed != NULL)
		server->ops.irq_changed(server->ctx, index, number, fd);
}

/* The one thing that can fail in masking. */
static int
prepare_mask(struct rp_vfu_vector *vector)
{
	if (vector->parked_fd < 0)
		vector->parked_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return vector->parked_fd < 0 ? -ENOSPC : 0;
}

static int
mask(struct rp_vfu_server *server, uint32_t index, uint32_t number)
{
	struct rp_vfu_vector *vector = &server->irqs[index].vectors[number];
	int before_fd = effective_fd(vector);

	if (vector->masked)
		return 0;
	if (prepare_mask(vector) < 0)
		return -ENOSPC;
	vector->masked = true;
	tell_change(server, index, number, before_fd);
	rp_vfu_eventfd_signal(server->caller, vector->fds[RP_VFU_IRQ_EVENT_MASK]);
	return 0;
}

/* Signal the client, and mask what masks itself. */
static void
fire(struct rp_vfu_server *server, uint32_t index, uint32_t number)
{
	rp_vfu_eventfd_signal(server->caller, effective_fd(&server->irqs[index].vectors[number]));
	/* Unmasked for want of a descriptor it signals too often, which is legal. */
	if ((server->irqs[index].type.flags & RP_VFU_IRQ_FLAG_AUTOMASKED_MASK) != 0)
		(void)mask(server, index, number);
}

static void
unmask(struct rp_vfu_server *server, uint32_t index, uint32_t number)
{
	struct rp_vfu_vector *vector = &server->irqs[index].vectors[number];
	int before_fd = effective_fd(vector);

	if (!vector->masked)
		return;
	vector->masked = false;
	tell_change(server, index, number, before_fd);
	rp_vfu_eventfd_signal(server->caller, vector->fds[RP_VFU_IRQ_EVENT_UNMASK]);
	/* Whoever was given it may have made it blocking. */
	if (rp_wire_caller_drain(vector->parked_fd, NULL) > 0 && effective_fd(vector) >= 0)
		fire(server, index, number);
}

static void
set_event(struct rp_vfu_server *server, uint32_t index, uint32_t number, enum rp_vfu_irq_event event, int *fd)
{
	struct rp_vfu_vector *vector = &server->irqs[index].vectors[number];
	int before_fd = effective_fd(vector);
	int old_fd = vector->fds[event];

	vector->fds[event] = fd == NULL ? -1 : rp_wire_fd_take(fd);
	tell_change(server, index, number, before_fd);
	rp_wire_fd_close(&old_fd);
}

static void
drop_vector(struct rp_vfu_server *server, uint32_t index, uint32_t number)
{
	struct rp_vfu_vector *vector = &server->irqs[index].vectors[number];

	set_event(server, index, number, RP_VFU_IRQ_EVENT_TRIGGER, NULL);
	rp_wire_fd_close_all(vector->fds, RP_VFU_IRQ_EVENTS_COUNT);
	rp_wire_fd_close(&vector->parked_fd);
	vector->masked = false;
}

static void
drop_index(struct rp_vfu_server *server, uint32_t index)
{
	uint32_t number;

	for (number = 0; number < server->irqs[index].type.count; number++)
		drop_vector(server, index, number);
}

void
rp_vfu_server_irqs_drop(struct rp_vfu_server *server)
{
	uint32_t index;

	for (index = 0; index < server->irqs_count; index++)
		drop_index(server, index);
}

static enum rp_vfu_irq_event
event_of(uint32_t flags)
{
	if ((flags & RP_VFU_IRQ_ACTION_MASK_MASK) != 0)
		return RP_VFU_IRQ_EVENT_MASK;
	if ((flags & RP_VFU_IRQ_ACTION_UNMASK_MASK) != 0)
		return RP_VFU_IRQ_EVENT_UNMASK;
	return RP_VFU_IRQ_EVENT_TRIGGER;
}

static int
check_set(const struct rp_vfu_server *server, const struct rp_vfu_wire_irq_set *set, const int *fds,
	  unsigned int fds_count, struct rp_wire_why *why)
{
	const struct rp_vfu_irq_type *type;
	unsigned int i;

	if (set->index >= server->irqs_count)
		return rp_wire_why_set(why, -EBADMSG, "index: %u, expected below %u", set->index, server->irqs_count);
	type = &server->irqs[set->index].type;
	if (set->start + set->count > type->count)
		return rp_wire_why_set(why, -EBADMSG, "vectors: %u from %u, but index %u has %u", set->count,
				       set->start, set->index, type->count);
	if (event_of(set->flags) != RP_VFU_IRQ_EVENT_TRIGGER && (type->flags & RP_VFU_IRQ_FLAG_MASKABLE_MASK) == 0)
		return rp_wire_why_set(why, -ENOTSUP, "index %u cannot be masked", set->index);
	if ((set->flags & RP_VFU_IRQ_DATA_EVENTFD_MASK) != 0 && (type->flags & RP_VFU_IRQ_FLAG_EVENTFD_MASK) == 0)
		return rp_wire_why_set(why, -ENOTSUP, "index %u takes no eventfds", set->index);
	for (i = 0; i < fds_count; i++) {
		if (!rp_vfu_eventfd_is(fds[i]))
			return rp_wire_why_set(why, -EBADMSG, "descriptor %u: not an eventfd", i);
	}
	return 0;
}

/* Whether the command means this vector; of DATA_BOOL those do whose byte is not 0. */
static bool
is_meant(const struct rp_vfu_wire_irq_set *set, const uint8_t *wanted, uint32_t i)
{
	return (set->flags & RP_VFU_IRQ_DATA_BOOL_MASK) == 0 || wanted[i] != 0;
}

/* So that a refusal changes nothing. */
static int
prepare(struct rp_vfu_server *server, const struct rp_vfu_wire_irq_set *set, const uint8_t *wanted,
	struct rp_wire_why *why)
{
	uint32_t i;

	if (event_of(set->flags) != RP_VFU_IRQ_EVENT_MASK || (set->flags & RP_VFU_IRQ_DATA_EVENTFD_MASK) != 0)
		return 0;
	for (i = 0; i < set->count; i++) {
		struct rp_vfu_vector *vector = &server->irqs[set->index].vectors[set->start + i];

		if (is_meant(set, wanted, i) && prepare_mask(vector) < 0)
			return rp_wire_why_set(why, -ENOSPC, "vector %u: no descriptor to hold what it signals",
					       set->start + i);
	}
	return 0;
}

static void
apply(struct rp_vfu_server *server, const struct rp_vfu_wire_irq_set *set, uint32_t number)
{
	switch (event_of(set->flags)) {
	case RP_VFU_IRQ_EVENT_MASK:
		(void)mask(server, set->index, number);
		return;
	case RP_VFU_IRQ_EVENT_UNMASK:
		unmask(server, set->index, number);
		return;
	default:
		/* A test by the client; a vector that nobody listens to is no error. */
		(void)rp_vfu_server_irq_trigger(server, set->index, number);
	}
}

int
rp_vfu_server_on_set_irqs(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			  struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	const uint8_t *wanted = command->payload + sizeof(struct rp_vfu_wire_irq_set);
	struct rp_vfu_wire_irq_set set;
	uint32_t i;
	int rc;

	(void)reply;
	memcpy(&set, command->payload, sizeof(set));
	rc = check_set(server, &set, fds, command->fds_count, why);
	if (rc == 0)
		rc = prepare(server, &set, wanted, why);
	if (rc < 0)
		return rc;
	if (set.count == 0)
		drop_index(server, set.index);
	for (i = 0; i < set.count; i++) {
		if ((set.flags & RP_VFU_IRQ_DATA_EVENTFD_MASK) != 0)
			set_event(server, set.index, set.start + i, event_of(set.flags),
				  command->fds_count > 0 ? &fds[i] : NULL);
		else if (is_meant(&set, wanted, i))
			apply(server, &set, set.start + i);
	}
	return 0;
}

static const struct rp_vfu_vector *
find_vector(const struct rp_vfu_server *server, uint32_t irq_index, uint32_t number)
{
	if (irq_index >= server->irqs_count || number >= server->irqs[irq_index].type.count)
		return NULL;
	return &server->irqs[irq_index].vectors[number];
}

int
rp_vfu_server_irq_trigger(struct rp_vfu_server *server, uint32_t irq_index, uint32_t vector)
{
	const struct rp_vfu_vector *found = find_vector(server, irq_index, vector);

	if (found == NULL)
		return -EINVAL;
	if (effective_fd(found) < 0)
		return -ENOTCONN;
	if (found->masked)
		rp_vfu_eventfd_signal(server->caller, found->parked_fd);
	else
		fire(server, irq_index, vector);
	return 0;
}

int
rp_vfu_server_irq_fd(const struct rp_vfu_server *server, uint32_t irq_index, uint32_t vector)
{
	const struct rp_vfu_vector *found = find_vector(server, irq_index, vector);

	return found == NULL ? -1 : effective_fd(found);
}
