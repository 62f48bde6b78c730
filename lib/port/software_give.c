/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What the software backend is told of rings: of those that it is given, one or several, and of those that it
 * serves. In which order, and why, says software_ring.c.
 */

#include <errno.h>

#include "software_parts.h"

#define DESC_BYTES 16ull
#define EVENT_BYTES 4ull

/* Of one ring, before it is waited for: NUM, BASE, ADDR, KICK, ERR, CALL. The connection keeps room for others. */
#define REQUESTS_PER_RING 6u
#define REQUESTS_OF_OTHERS 16u
#define BATCH_MAX ((RP_VHU_FRONTEND_OUTSTANDING_MAX - REQUESTS_OF_OTHERS) / REQUESTS_PER_RING)

static uint64_t
fd_word(unsigned int queue, int fd)
{
	return queue | (fd < 0 ? (uint64_t)RP_VHU_VRING_NOFD_MASK : 0);
}

/*
 * Answers come in order: the one to this tells that those before were answered, too. If there
 * will be none, the end of the connection answers them all: they point to who waits.
 */
static int
wait_for_call(struct rp_port *port, unsigned int queue, int call_fd, int error, struct rp_wire_why *why)
{
	int rc = error;

	if (rc == 0)
		rc = rp_vhu_frontend_ring_call(port->software->frontend, queue, call_fd, why);
	rc = port_software_checked(port, rc);
	if (rc < 0 && rc != -EREMOTEIO && port->software->frontend != NULL)
		port_software_drop(port, why);
	return rc;
}

/* @param first_error NULL: nobody waits for what it says. */
static int
say_num(struct rp_port *port, unsigned int queue, const struct port_software_setup *setup, int *first_error,
	struct rp_wire_why *why)
{
	const struct rp_vhu_wire_vring_state num = {queue, setup->num};

	port->software->rings[queue].mentioned = true;
	return port_software_say(port, RP_VHU_SET_VRING_NUM, &num, sizeof(num), NULL, first_error != NULL, first_error,
				 why);
}

static int
say_addr(struct rp_port *port, unsigned int queue, const struct port_software_setup *setup, int *first_error,
	 struct rp_wire_why *why)
{
	const struct rp_vhu_wire_vring_addr addr = {
		.index = queue,
		.flags = setup->flags,
		.desc_uva = setup->desc_uva,
		.used_uva = setup->used_uva,
		.avail_uva = setup->avail_uva,
		.log_gpa = setup->log_gpa,
	};

	return port_software_say(port, RP_VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, first_error != NULL,
				 first_error, why);
}

static int
say_base(struct rp_port *port, unsigned int queue, const struct port_software_setup *setup, int *first_error,
	 struct rp_wire_why *why)
{
	const struct rp_vhu_wire_vring_state base = {queue, setup->base};

	return port_software_say(port, RP_VHU_SET_VRING_BASE, &base, sizeof(base), NULL, first_error != NULL,
				 first_error, why);
}

static int
say_kick(struct rp_port *port, unsigned int queue, const struct port_software_setup *setup, int *first_error,
	 struct rp_wire_why *why)
{
	uint64_t kick = fd_word(queue, setup->kick_fd);

	return port_software_say(port, RP_VHU_SET_VRING_KICK, &kick, sizeof(kick), &setup->kick_fd, first_error != NULL,
				 first_error, why);
}

/* What of it was not announced, in QEMU's order; librte_vhost compares BASE with the ring when it hears of KICK. */
static int
say_ring(struct rp_port *port, unsigned int queue, const struct port_software_setup *setup, int *first_error,
	 struct rp_wire_why *why)
{
	const enum port_software_announced announced = port->software->rings[queue].announced;
	int rc = 0;

	if (announced == PORT_SOFTWARE_ANNOUNCED_ALL)
		return 0;
	if (announced == PORT_SOFTWARE_ANNOUNCED_NOTHING)
		rc = say_num(port, queue, setup, first_error, why);
	if (rc == 0)
		rc = say_base(port, queue, setup, first_error, why);
	if (rc == 0 && announced == PORT_SOFTWARE_ANNOUNCED_NOTHING)
		rc = say_addr(port, queue, setup, first_error, why);
	return rc < 0 ? rc : say_kick(port, queue, setup, first_error, why);
}

static int
say_call(struct rp_port *port, unsigned int queue, int call_fd, int *first_error, struct rp_wire_why *why)
{
	uint64_t call = fd_word(queue, call_fd);

	return port_software_say(port, RP_VHU_SET_VRING_CALL, &call, sizeof(call), &call_fd, first_error != NULL,
				 first_error, why);
}

int
port_software_describe(struct rp_port *port, unsigned int queue, const struct port_software_setup *setup, bool wait,
		       struct rp_wire_why *why)
{
	int error = 0, rc = say_ring(port, queue, setup, wait ? &error : NULL, why);

	if (rc == 0 && !wait)
		rc = say_call(port, queue, setup->call_fd, NULL, why);
	if (!wait)
		return port_software_checked(port, rc);
	rc = wait_for_call(port, queue, setup->call_fd, rc, why);
	if (rc == 0 && error < 0)
		rc = rp_wire_why_set(why, error, "ring %u: refused by the software backend", queue);
	return rc;
}

static int
guest_setup(struct rp_port *port, const struct port_queue *queue, struct port_software_setup *ret_setup,
	    struct rp_wire_why *why)
{
	const struct rp_vhu_vring *vring = &queue->vring;
	bool packed = port_position_is_packed(port);
	int rc;

	*ret_setup = (struct port_software_setup){
		.num = vring->num,
		.base = port->software->kind->half_position ? queue->position & 0xffff : queue->position,
		.flags = vring->log_used ? RP_VHU_VRING_ADDR_LOG_MASK : 0,
		.log_gpa = vring->log_used ? vring->log_gpa : 0,
		.kick_fd = queue->kick_fd,
		.call_fd = queue->call_fd,
	};
	/* It asks what is behind them, as we do. */
	if (vring->iova) {
		ret_setup->desc_uva = vring->desc_gpa;
		ret_setup->avail_uva = vring->avail_gpa;
		ret_setup->used_uva = vring->used_gpa;
		return 0;
	}
	rc = port_software_uva(port, vring->desc_gpa, DESC_BYTES * vring->num, &ret_setup->desc_uva);
	if (rc == 0)
		rc = port_software_uva(port, vring->avail_gpa, packed ? EVENT_BYTES : 6 + 2ull * vring->num,
				       &ret_setup->avail_uva);
	if (rc == 0)
		rc = port_software_uva(port, vring->used_gpa, packed ? EVENT_BYTES : 6 + 8ull * vring->num,
				       &ret_setup->used_uva);
	return rc < 0 ? rp_wire_why_set(why, rc, "ring %u: it lies in no memory that the software backend has",
					queue->index) :
			0;
}

/* It was told half of a ring, and refused the rest: it must not go on with that. */
static int
give_up(struct rp_port *port, struct port_queue *queue, int error)
{
	struct port_software *software = port->software;
	struct rp_wire_why why = {0};
	uint32_t unused;
	int rc;

	if (queue->software == PORT_SOFTWARE_RING_UNPROVEN || software->frontend == NULL)
		return error;
	if (port_software_parks(port)) {
		rc = port_software_enable(port, queue->index, false, true, &why);
		if (rc == 0)
			rc = port_software_park(port, queue, &why);
	} else {
		rc = port_software_checked(port,
					   rp_vhu_frontend_ring_stop(software->frontend, queue->index, &unused, &why));
		if (rc == 0)
			queue->software = PORT_SOFTWARE_RING_NONE;
	}
	if (rc < 0 && software->frontend != NULL)
		port_software_drop(port, &why);
	return error;
}

/* From here on it may touch the ring, whatever it answers. */
static void
begin(struct rp_port *port, struct port_queue *queue)
{
	queue->software = PORT_SOFTWARE_RING_SERVES;
	port_software_restore_flags(port, queue);
}

static int
not_enabled_yet(struct rp_port *port, const struct port_queue *queue, struct rp_wire_why *why)
{
	if (!port->software->rings[queue->index].enabled || !port_software_parks(port))
		return 0;
	return port_software_enable(port, queue->index, false, true, why);
}

int
port_software_give(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	struct rp_vhu_frontend *frontend = port->software->frontend;
	struct port_software_setup setup;
	struct rp_vhu_vring vring;
	int rc = guest_setup(port, queue, &setup, why);

	if (rc == 0)
		rc = not_enabled_yet(port, queue, why);
	if (rc < 0)
		return rc;
	begin(port, queue);
	if (!port_software_parks(port))
		rc = port_software_enable(port, queue->index, true, true, why);
	if (rc == 0)
		rc = port_software_describe(port, queue->index, &setup, true, why);
	if (rc == 0 && rp_vhu_backend_vring(port->backend, queue->index, &vring) == 0 && vring.err_fd >= 0)
		rc = port_software_checked(port, rp_vhu_frontend_ring_err(frontend, queue->index, vring.err_fd, why));
	if (rc == 0 && port_software_parks(port))
		rc = port_software_enable(port, queue->index, true, true, why);
	return rc < 0 ? give_up(port, queue, rc) : 0;
}

/* Several rings of a backend that is told before it is enabled. */
struct batch {
	struct port_queue *const *queues;
	unsigned int count;
	struct port_software_setup setups[BATCH_MAX];
	int errors[BATCH_MAX];
};

static int
refused(const struct batch *batch, struct rp_wire_why *why)
{
	unsigned int i;

	for (i = 0; i < batch->count; i++)
		if (batch->errors[i] < 0)
			return rp_wire_why_set(why, batch->errors[i], "ring %u: refused by the software backend",
					       batch->queues[i]->index);
	return 0;
}

static int
say_err(struct rp_port *port, unsigned int queue, int *first_error, struct rp_wire_why *why)
{
	struct rp_vhu_vring vring;
	uint64_t err;

	if (rp_vhu_backend_vring(port->backend, queue, &vring) < 0 || vring.err_fd < 0)
		return 0;
	err = fd_word(queue, vring.err_fd);
	return port_software_say(port, RP_VHU_SET_VRING_ERR, &err, sizeof(err), &vring.err_fd, true, first_error, why);
}

/* Everything but that it may begin, of all of them, before anything is waited for. */
static int
describe_batch(struct rp_port *port, struct batch *batch, struct rp_wire_why *why)
{
	const unsigned int last = batch->count - 1;
	unsigned int i;
	int rc = 0;

	for (i = 0; i < batch->count && rc == 0; i++) {
		unsigned int queue = batch->queues[i]->index;
		bool announced = port->software->rings[queue].announced != PORT_SOFTWARE_ANNOUNCED_NOTHING;

		rc = say_ring(port, queue, &batch->setups[i], &batch->errors[i], why);
		if (rc == 0 && !announced)
			rc = say_err(port, queue, &batch->errors[i], why);
		if (rc == 0 && !announced && i < last)
			rc = say_call(port, queue, batch->setups[i].call_fd, &batch->errors[i], why);
	}
	rc = wait_for_call(port, batch->queues[last]->index, batch->setups[last].call_fd, rc, why);
	for (i = 0; i < batch->count; i++)
		port->software->rings[batch->queues[i]->index].announced = PORT_SOFTWARE_ANNOUNCED_NOTHING;
	return rc < 0 ? rc : refused(batch, why);
}

/* As wait_for_call(): who waits for the last answer has all of them. */
static int
enable_batch(struct rp_port *port, struct batch *batch, struct rp_wire_why *why)
{
	const unsigned int last = batch->count - 1;
	unsigned int i;
	int rc = 0;

	for (i = 0; i < last && rc == 0; i++) {
		const struct rp_vhu_wire_vring_state state = {batch->queues[i]->index, 1};

		port->software->rings[state.index].enabled = true;
		rc = port_software_say(port, RP_VHU_SET_VRING_ENABLE, &state, sizeof(state), NULL, true,
				       &batch->errors[i], why);
	}
	if (rc == 0)
		rc = port_software_enable(port, batch->queues[last]->index, true, true, why);
	if (rc < 0 && rc != -EREMOTEIO && port->software->frontend != NULL)
		port_software_drop(port, why);
	return rc < 0 ? rc : refused(batch, why);
}

/* Two round trips, however many rings there are, instead of two for each. */
static int
give_batch(struct rp_port *port, struct port_queue *const *queues, unsigned int count, struct rp_wire_why *why)
{
	struct batch batch = {.queues = queues, .count = count};
	unsigned int i;
	int rc = 0;

	for (i = 0; i < count && rc == 0; i++) {
		rc = guest_setup(port, queues[i], &batch.setups[i], why);
		if (rc == 0)
			rc = not_enabled_yet(port, queues[i], why);
	}
	if (rc < 0)
		return rc;
	for (i = 0; i < count; i++)
		begin(port, queues[i]);
	rc = describe_batch(port, &batch, why);
	if (rc == 0)
		rc = enable_batch(port, &batch, why);
	for (i = count; i > 0 && rc < 0; i--)
		give_up(port, queues[i - 1], rc);
	return rc;
}

static bool
can_be_announced(const struct rp_port *port, const struct port_queue *queue)
{
	return queue->index < port->software->queues_max && !queue->position_lost &&
	       !port->software->rings[queue->index].enabled &&
	       (queue->software == PORT_SOFTWARE_RING_NONE || queue->software == PORT_SOFTWARE_RING_PARKED);
}

/* Where one stands that the accelerator still has will be known when it is taken; nor are its kicks for others. */
static int
announce_one(struct rp_port *port, struct port_queue *queue, const struct port_software_setup *setup, int *first_error,
	     struct rp_wire_why *why)
{
	int rc = say_num(port, queue->index, setup, first_error, why);

	/* Not parked any more; if it is not given, it will be. */
	queue->software = PORT_SOFTWARE_RING_NONE;
	port->software->rings_due = true;
	if (rc == 0 && !queue->running)
		rc = say_base(port, queue->index, setup, first_error, why);
	if (rc == 0)
		rc = say_addr(port, queue->index, setup, first_error, why);
	if (rc == 0 && !queue->running)
		rc = say_kick(port, queue->index, setup, first_error, why);
	if (rc == 0)
		rc = say_err(port, queue->index, first_error, why);
	port->software->rings[queue->index].announced =
		queue->running ? PORT_SOFTWARE_ANNOUNCED_PLACE : PORT_SOFTWARE_ANNOUNCED_ALL;
	return rc;
}

/* What is refused will be told once more, all of it, and refused again. */
static void
announce_batch(struct rp_port *port, struct batch *batch)
{
	const unsigned int last = batch->count - 1;
	struct rp_wire_why why = {0};
	unsigned int i;
	int rc = 0;

	for (i = 0; i < batch->count && rc == 0; i++) {
		rc = announce_one(port, batch->queues[i], &batch->setups[i], &batch->errors[i], &why);
		if (rc == 0 && i < last)
			rc = say_call(port, batch->queues[i]->index, batch->setups[i].call_fd, &batch->errors[i], &why);
	}
	rc = wait_for_call(port, batch->queues[last]->index, batch->setups[last].call_fd, rc, &why);
	for (i = 0; i < batch->count; i++)
		if (rc < 0 || batch->errors[i] < 0)
			port->software->rings[batch->queues[i]->index].announced = PORT_SOFTWARE_ANNOUNCED_NOTHING;
}

/* The next of them that can be. @return from where on they were not looked at. */
static unsigned int
announce_some(struct rp_port *port, struct port_queue *const *queues, unsigned int count)
{
	struct port_queue *announced[BATCH_MAX];
	struct batch batch = {.queues = announced};
	unsigned int i;

	for (i = 0; i < count && batch.count < BATCH_MAX; i++)
		if (can_be_announced(port, queues[i]) &&
		    guest_setup(port, queues[i], &batch.setups[batch.count], NULL) == 0)
			announced[batch.count++] = queues[i];
	if (batch.count > 0)
		announce_batch(port, &batch);
	return i;
}

void
port_software_announce(struct rp_port *port, struct port_queue *const *queues, unsigned int count)
{
	unsigned int at = 0;

	if (!port_software_usable(port) || !port_software_parks(port) || port_position_is_packed(port) ||
	    !port->software->parks_later || !port->software->pair_ready || !port_software_memory_is_told(port))
		return;
	while (at < count && port_software_usable(port))
		at += announce_some(port, queues + at, count - at);
}

static int
may_serve(const struct rp_port *port, const struct port_queue *queue, struct rp_wire_why *why)
{
	if (queue->software == PORT_SOFTWARE_RING_UNPROVEN)
		return rp_wire_why_set(why, -EBUSY, "ring %u: nothing proves that the software backend let go of it",
				       queue->index);
	if (queue->index >= port->software->queues_max)
		return rp_wire_why_set(why, -ENOTSUP, "ring %u: the software backend has %u", queue->index,
				       port->software->queues_max);
	if (queue->position_lost)
		return rp_wire_why_set(why, -ENOTSUP, "ring %u: %s", queue->index, PORT_POSITION_LOST);
	return 0;
}

static int
give_each(struct rp_port *port, struct port_queue *const *queues, unsigned int count, unsigned int *ret_served_count,
	  struct rp_wire_why *why)
{
	unsigned int at, part;
	int rc = 0;

	for (at = 0; at < count && rc == 0; at += part) {
		part = !port_software_parks(port) ? 1 : count - at < BATCH_MAX ? count - at : BATCH_MAX;
		rc = part == 1 ? port_software_give(port, queues[at], why) : give_batch(port, queues + at, part, why);
		if (rc == 0)
			*ret_served_count = at + part;
	}
	return rc;
}

int
port_software_serve_together(struct rp_port *port, struct port_queue *const *queues, unsigned int count,
			     unsigned int *ret_served_count, struct rp_wire_why *why)
{
	int rc = port_software_not_there(port, why);
	unsigned int i;

	*ret_served_count = 0;
	for (i = 0; i < count && rc == 0; i++)
		rc = may_serve(port, queues[i], why);
	if (rc == 0 && !port_software_memory_is_told(port))
		rc = port_software_memory_tell(port, why);
	if (rc < 0)
		return rc;
	port_software_mention_all(port);
	rc = give_each(port, queues, count, ret_served_count, why);
	if (rc < 0)
		return rc;
	rc = port_software_make_ready(port, why);
	if (rc < 0)
		*ret_served_count = 0;
	return rc;
}

int
port_software_serve(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	unsigned int unused;

	if (port_software_usable(port) && queue->software == PORT_SOFTWARE_RING_SERVES)
		return 0;
	return port_software_serve_together(port, &queue, 1, &unused, why);
}

static bool
serves(const struct rp_port *port, const struct port_queue *queue)
{
	return port_software_there(port) && queue->software == PORT_SOFTWARE_RING_SERVES;
}

int
port_software_ring_call(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	if (!serves(port, queue))
		return 0;
	return port_software_checked(
		port, rp_vhu_frontend_ring_call(port->software->frontend, queue->index, queue->call_fd, why));
}

int
port_software_ring_kick(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	uint64_t word = fd_word(queue->index, queue->kick_fd);
	int error = 0;
	int rc;

	if (!serves(port, queue))
		return 0;
	rc = port_software_say(port, RP_VHU_SET_VRING_KICK, &word, sizeof(word), &queue->kick_fd, true, &error, why);
	rc = wait_for_call(port, queue->index, queue->call_fd, rc, why);
	return rc == 0 && error < 0 ? rp_wire_why_set(why, error, "ring %u: SET_VRING_KICK: refused", queue->index) :
				      rc;
}

int
port_software_ring_err(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	struct rp_vhu_vring vring;

	if (!serves(port, queue) || rp_vhu_backend_vring(port->backend, queue->index, &vring) < 0)
		return 0;
	return port_software_checked(
		port, rp_vhu_frontend_ring_err(port->software->frontend, queue->index, vring.err_fd, why));
}

int
port_software_ring_log(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	struct port_software_setup setup;
	struct rp_vhu_frontend_ring ring;
	int rc;

	if (!serves(port, queue))
		return 0;
	rc = guest_setup(port, queue, &setup, why);
	if (rc < 0)
		return rc;
	ring = (struct rp_vhu_frontend_ring){
		.num = setup.num,
		.desc_uva = setup.desc_uva,
		.avail_uva = setup.avail_uva,
		.used_uva = setup.used_uva,
		.flags = setup.flags,
		.log_gpa = setup.log_gpa,
		.kick_fd = -1,
		.call_fd = -1,
	};
	return port_software_checked(port,
				     rp_vhu_frontend_ring_addr(port->software->frontend, queue->index, &ring, why));
}
