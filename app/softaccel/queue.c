/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include <rte_common.h>

#include "rp_vring_position.h"
#include "sa_device.h"

void
sa_queue_init(struct softaccel_function *function, unsigned int number, uint32_t order)
{
	struct sa_queue *queue = &function->queues[number];

	queue->regs = rp_vfu_virtio_queue(function->virtio, number);
	queue->ring = (struct sa_ring){
		.transmits = number % 2 == 1, /* virtio 1.2, 5.1.2 */
		.doorbell = sa_doorbell_word(&function->doorbells, number),
		.kick_fd = function->doorbells.kick_fds[number],
		.said_fd = function->doorbells.said_fds[number],
		.call_fd = -1,
		.caller = function->path->caller,
		.notice_fd = function->path->notice_fd,
		.order = order,
		.port = function->port,
		.now_ms = &function->path->now_ms,
		.watch = {.idle_ms = function->idle_ms, .never = function->doorbells.fd < 0},
	};
	sa_bells_add(&function->bells, &function->doorbells, number, &queue->ring);
	sa_queue_reset(function, number);
}

int
sa_queue_call_fd(const struct softaccel_function *function, const struct sa_queue *queue)
{
	if (function->intx_fd >= 0)
		return function->intx_fd;
	if (queue->regs->vector >= sa_device_vectors(function))
		return -1;
	return function->call_fds[queue->regs->vector];
}

static bool
has_feature(const struct softaccel_function *function, unsigned int bit)
{
	return (rp_vfu_virtio_features(function->virtio) & SA_FEATURE(bit)) != 0;
}

void
sa_queue_ready_ring(const struct softaccel_function *function, struct sa_queue *queue)
{
	struct sa_ring *ring = &queue->ring;

	ring->mergeable = has_feature(function, VIRTIO_NET_F_MRG_RXBUF);
	ring->csum = has_feature(function, VIRTIO_NET_F_CSUM);
	ring->guest_csum = has_feature(function, VIRTIO_NET_F_GUEST_CSUM);
	ring->awake = false;
	ring->interrupt_owed = false;
	ring->far_why = NULL;
	ring->unpublished_count = 0;
	ring->held.arrived = true;
	ring->position = queue->regs->position;
	sa_queue_begin_watch(queue);
}

void
sa_queue_hold(struct softaccel_function *function, struct sa_queue *queue)
{
	sa_gate_close(&function->path->gate);
	if (!queue->ring.transmits)
		sa_held_begin(&queue->ring.held);
	sa_gate_open(&function->path->gate);
}

/* With the gate closed. @return 0, -ENOMEM, -EBADMSG with the reason, or as sa_reach_join(). */
static int
take_ring(struct softaccel_function *function, unsigned int number, struct rp_wire_why *why)
{
	struct sa_queue *queue = &function->queues[number];
	struct rp_vring_layout layout;
	int rc = sa_queue_layout(function, queue, &layout, why);

	if (rc == 0)
		rc = sa_ask_needed(function) ? sa_ask_join(function, queue, &layout, why) :
					       sa_reach_join(function, queue, &layout, why);
	if (rc < 0)
		return rc;
	rp_dma_reader_online(function->reader);
	rc = rp_vring_dev_init(&queue->ring.vring, &layout, queue->regs->position, function->reader, why);
	rp_dma_reader_offline(function->reader);
	if (rc < 0)
		return rc;
	sa_queue_ready_ring(function, queue);
	queue->ring.carried = false;
	queue->ring.kick_fd = function->doorbells.kick_fds[number];
	queue->ring.said_fd = function->doorbells.said_fds[number];
	queue->ring.call_fd = sa_queue_call_fd(function, queue);
	return 0;
}

/* Whether what a ring holds is there from now on, not from the next kick on: another was kicked for it. */
static bool
was_kicked(const struct softaccel_function *function, const struct sa_queue *queue, enum sa_start start)
{
	if (start != SA_START_ENABLED)
		return start == SA_START_GOES_ON;
	return queue->regs->position != rp_vring_position_fresh(rp_vfu_virtio_features(function->virtio));
}

/* With the gate closed. */
static void
wake(const struct softaccel_function *function, struct sa_queue *queue)
{
	rp_dma_reader_online(function->reader);
	sa_ring_rung(&queue->ring);
	rp_dma_reader_offline(function->reader);
}

static int
attach_directly(struct softaccel_function *function, unsigned int number, bool awake, struct rp_wire_why *why)
{
	struct sa_queue *queue = &function->queues[number];
	int rc;

	sa_gate_close(&function->path->gate);
	rc = take_ring(function, number, why);
	if (rc == 0) {
		queue->ring.node = sa_reach_node(function, number);
		__atomic_store_n(&queue->ring.state, SOFTACCEL_QUEUE_RUNNING, __ATOMIC_RELEASE);
		rc = sa_datapath_ring_add(function->path, &queue->ring);
		if (rc < 0) {
			__atomic_store_n(&queue->ring.state, SOFTACCEL_QUEUE_STOPPED, __ATOMIC_RELEASE);
			rp_wire_why_set(why, rc, "the data path has no room: %s", strerror(-rc));
		}
	}
	if (rc == 0 && awake)
		wake(function, queue);
	queue->attached = rc == 0;
	sa_gate_open(&function->path->gate);
	if (rc == 0)
		sa_doorbells_vote(&function->doorbells, queue->ring.node, 1);
	return rc;
}

/* Of a queue whose addresses the client translates. @return as sa_ask_ring(). */
static int
ask(struct softaccel_function *function, unsigned int number, enum sa_start *start, struct rp_wire_why *why)
{
	struct sa_ask *asked = &function->queues[number].ask;
	int rc = sa_ask_ring(function, number);

	if (rc < 0 && rc != -EINPROGRESS)
		return rp_wire_why_set(why, rc, "ring: cannot ask for translations: %s", strerror(-rc));
	*start = RTE_MAX(*start, asked->start);
	asked->start = rc < 0 ? *start : SA_START_FOUND;
	return rc;
}

static int
attach(struct softaccel_function *function, unsigned int number, enum sa_start start, struct rp_wire_why *why)
{
	struct sa_queue *queue = &function->queues[number];
	int rc = sa_ask_needed(function) ? ask(function, number, &start, why) : 0;
	bool awake;

	if (rc < 0)
		return rc == -EINPROGRESS ? 0 : rc;
	awake = was_kicked(function, queue, start);
	/* A parked carriage may have something to bring back, however memory is reached now. */
	if (queue->carriage != NULL || sa_reach_by_messages(function, queue)) {
		rc = sa_carried_attach(function, number, awake, why);
	} else {
		rc = attach_directly(function, number, awake, why);
		if (rc < 0 && queue->unjoinable)
			rc = sa_carried_attach(function, number, awake, why);
	}
	if (rc < 0)
		return rc;
	sa_queue_say_wish(function, number);
	/* For what was held meanwhile, and for what was taken from a doorbell of several queues. */
	if (queue->carriage == NULL && (sa_bell_unheard(&queue->ring) || start == SA_START_GOES_ON))
		sa_doorbells_say(&function->doorbells, number);
	/* Not each time that it goes on with a page more. */
	if (start != SA_START_GOES_ON || !sa_ask_needed(function))
		sa_device_event(function, "queue %u: started at position 0x%x%s", number, queue->regs->position,
				queue->carriage == NULL ? "" : ", its memory is reached by messages");
	return 0;
}

/* A broken ring is taken out of the data path and still is broken. */
static void
detach_directly(struct softaccel_function *function, struct sa_queue *queue, bool *ret_awake)
{
	sa_gate_close(&function->path->gate);
	sa_datapath_ring_remove(function->path, &queue->ring);
	*ret_awake = queue->ring.awake;
	rp_dma_reader_online(function->reader);
	queue->regs->position = sa_ring_release(&queue->ring);
	rp_dma_reader_offline(function->reader);
	queue->attached = false;
	sa_reach_part(queue);
	sa_gate_open(&function->path->gate);
	sa_doorbells_vote(&function->doorbells, queue->ring.node, -1);
}

/* A carriage stays: what it has not brought back yet is not lost. @return whether it was awake. */
static bool
detach(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];
	bool awake;

	if (queue->carriage != NULL) {
		sa_carried_park(function, number);
		awake = queue->carriage->courier.awake;
	} else {
		detach_directly(function, queue, &awake);
	}
	if (queue->ring.state == SOFTACCEL_QUEUE_RUNNING)
		__atomic_store_n(&queue->ring.state, SOFTACCEL_QUEUE_STOPPED, __ATOMIC_RELEASE);
	return awake;
}

uint32_t
sa_queue_position(const struct sa_queue *queue)
{
	if (!queue->attached)
		return queue->regs->position;
	return __atomic_load_n(queue->carriage == NULL ? &queue->ring.position : &queue->carriage->courier.position,
			       __ATOMIC_RELAXED);
}

static bool
should_run(const struct softaccel_function *function, const struct sa_queue *queue)
{
	return queue->regs->enabled && (rp_vfu_virtio_status(function->virtio) & VIRTIO_CONFIG_S_DRIVER_OK) != 0 &&
	       function->connected && sa_ring_state(&queue->ring) != SOFTACCEL_QUEUE_BROKEN;
}

/* Nobody goes on with the ring: what waits for it waits for nothing. */
static void
give_up(struct softaccel_function *function, struct sa_queue *queue)
{
	sa_gate_close(&function->path->gate);
	sa_switch_ring_give_up(&queue->ring);
	sa_gate_open(&function->path->gate);
}

/* The other way, from where it stands. @return as attach. */
static int
change_over(struct softaccel_function *function, unsigned int number, struct rp_wire_why *why)
{
	struct sa_queue *queue = &function->queues[number];
	bool awake;
	int rc;

	sa_queue_hold(function, queue);
	awake = detach(function, number);
	rc = attach(function, number, awake ? SA_START_GOES_ON : SA_START_FOUND, why);
	if (rc < 0)
		give_up(function, queue);
	return rc;
}

/* The address space changed under a queue that runs: it may have to be served the other way, or may be. */
static int
judge_again(struct softaccel_function *function, unsigned int number, struct rp_wire_why *why)
{
	struct sa_queue *queue = &function->queues[number];

	if (queue->drain != SA_DRAIN_NONE)
		return 0;
	if (queue->carriage != NULL) {
		sa_messenger_poke(function->messenger, queue->carriage);
		if (sa_reach_directly(function, queue))
			sa_carried_drain(function, number, SA_DRAIN_SWITCH);
		return 0;
	}
	return sa_reach_by_messages(function, queue) ? change_over(function, number, why) : 0;
}

/* The data path does not wait for us: it may find something while we ask whether the queue is to run. */
static bool
found_since(const struct sa_queue *queue)
{
	return queue->carriage == NULL && queue->attached && sa_ring_state(&queue->ring) == SOFTACCEL_QUEUE_BROKEN;
}

int
sa_queue_update(struct softaccel_function *function, unsigned int number, enum sa_start start, struct rp_wire_why *why)
{
	struct sa_queue *queue = &function->queues[number];
	bool run;
	int rc;

	/*
	 * The data path found something that we have not looked at yet, and a ring that only has to go on is no broken
	 * one. A carriage is asked in its own time: that its client has left looks like a fault until that is known.
	 */
	do {
		if (queue->carriage == NULL)
			sa_queue_notice(function, number);
		run = should_run(function, queue);
	} while (found_since(queue));
	if (sa_ask_is_active(&queue->ask)) {
		if (!run)
			sa_ask_cancel(function, number);
		return 0;
	}
	if (run && !queue->attached) {
		rc = attach(function, number, start, why);
		if (rc < 0)
			return rc;
	} else if (!run && queue->attached) {
		detach(function, number);
		give_up(function, queue);
	}
	return run && queue->attached && !sa_ask_needed(function) ? judge_again(function, number, why) : 0;
}

/* Not to be touched before DRIVER_OK, but the driver wants to know now. */
static int
check(struct softaccel_function *function, unsigned int number, struct rp_wire_why *why)
{
	int rc;

	if (sa_ask_needed(function))
		return sa_ask_check(function, number, why);
	if (sa_reach_by_messages(function, &function->queues[number]))
		return sa_carried_check(function, number, why);
	sa_gate_close(&function->path->gate);
	rc = take_ring(function, number, why);
	sa_gate_open(&function->path->gate);
	return rc < 0 && function->queues[number].unjoinable ? sa_carried_check(function, number, why) : rc;
}

int
sa_queue_enable(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];
	struct rp_wire_why why = {.error = 0};
	int rc;

	if (!rp_vfu_pci_is_bus_master(function->pci))
		sa_device_event(function, "queue %u: enabled while bus mastering is off: hardware would not run it",
				number);
	rc = should_run(function, queue) ? sa_queue_update(function, number, SA_START_ENABLED, &why) :
					   check(function, number, &why);
	if (rc < 0) {
		sa_count(&queue->ring.counters.errors, 1);
		sa_device_event(function, "queue %u: not enabled: %s", number, why.text);
	}
	return rc;
}

static void
let_go(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];

	sa_ask_cancel(function, number);
	if (queue->attached)
		detach(function, number);
	rp_vfu_virtio_queue_stopped(function->virtio, number);
	sa_carried_end(function, number);
	give_up(function, queue);
	__atomic_store_n(&queue->ring.state, SOFTACCEL_QUEUE_STOPPED, __ATOMIC_RELEASE);
}

static void
stop_now(struct softaccel_function *function, unsigned int number)
{
	let_go(function, number);
	sa_device_event(function, "queue %u: stopped at position 0x%x", number,
			function->queues[number].regs->position);
}

int
sa_queue_stop(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];

	if (!queue->attached || queue->carriage == NULL)
		stop_now(function, number);
	else if (queue->drain == SA_DRAIN_SWITCH)
		queue->drain = SA_DRAIN_STOP;
	else
		sa_carried_drain(function, number, SA_DRAIN_STOP);
	return queue->drain == SA_DRAIN_STOP ? -EINPROGRESS : 0;
}

void
sa_queue_drained(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];
	struct rp_wire_why why = {.error = 0};

	if (queue->drain == SA_DRAIN_STOP) {
		stop_now(function, number);
		return;
	}
	detach(function, number);
	sa_carried_end(function, number);
	/* What the carriage had taken is there to be taken again, and nobody will kick for it. */
	if (should_run(function, queue)) {
		if (attach(function, number, SA_START_GOES_ON, &why) == 0)
			return;
		sa_device_event(function, "queue %u: cannot go on: %s", number, why.text);
	}
	give_up(function, queue);
}

void
sa_queue_reset(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];
	bool was_enabled = queue->regs->enabled;

	let_go(function, number);
	sa_reach_part(queue);
	queue->uses_far_memory = false;
	queue->unjoinable = false;
	if (was_enabled)
		sa_device_event(function, "queue %u: reset", number);
}

void
sa_queue_leave(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];

	if (queue->attached && queue->carriage == NULL)
		detach(function, number);
}

void
sa_queue_forgive(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];

	if (queue->drain == SA_DRAIN_STOP)
		stop_now(function, number);
	sa_ask_cancel(function, number);
	if (queue->attached)
		detach(function, number);
	sa_reach_part(queue);
	queue->unjoinable = false;
	/* Broken for a reason that the next client finds again, or does not. */
	if (queue->carriage != NULL && rp_vring_mirror_why(queue->carriage->courier.mirror) != NULL)
		sa_carried_end(function, number);
	give_up(function, queue);
	__atomic_store_n(&queue->ring.state, SOFTACCEL_QUEUE_STOPPED, __ATOMIC_RELEASE);
}

static void
say_broken(struct softaccel_function *function, unsigned int number, const char *why)
{
	sa_device_event(function, "queue %u: broken at position 0x%x: %s", number,
			function->queues[number].regs->position, why);
}

static void
notice_carried(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];
	const char *why;
	int error;

	switch (sa_messenger_state(function->messenger, queue->carriage, &error)) {
	case SA_CARRIAGE_DRAINED:
		sa_queue_drained(function, number);
		return;
	case SA_CARRIAGE_FAULT:
		why = error == -ENOTSUP ? "nobody carries messages to its memory" :
					  "its memory is not mapped with the access it needs";
		break;
	case SA_CARRIAGE_BROKEN:
		why = error == 0 ? rp_vring_mirror_why(queue->carriage->courier.mirror) : strerror(-error);
		break;
	default:
		return;
	}
	if (queue->drain == SA_DRAIN_STOP)
		rp_vfu_virtio_queue_stopped(function->virtio, number);
	sa_carried_park(function, number);
	__atomic_store_n(&queue->ring.state, SOFTACCEL_QUEUE_BROKEN, __ATOMIC_RELEASE);
	sa_count(&queue->carried.errors, 1);
	say_broken(function, number, why == NULL ? "by the way it was used" : why);
	sa_carried_end(function, number);
	give_up(function, queue);
}

/* The data path found a chain that it cannot reach, and has published what went before. */
static void
carry_on(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];
	struct rp_wire_why why = {.error = 0};

	detach(function, number);
	__atomic_store_n(&queue->ring.state, SOFTACCEL_QUEUE_STOPPED, __ATOMIC_RELEASE);
	queue->uses_far_memory = true;
	if (attach(function, number, SA_START_GOES_ON, &why) == 0)
		return;
	sa_device_event(function, "queue %u: cannot go on: %s", number, why.text);
	give_up(function, queue);
}

/* The data path does not know where something is, and has published what went before. */
static void
find_out(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];
	struct rp_wire_why why = {.error = 0};
	int rc;

	detach(function, number);
	__atomic_store_n(&queue->ring.state, SOFTACCEL_QUEUE_STOPPED, __ATOMIC_RELEASE);
	queue->ask.start = SA_START_GOES_ON;
	rc = sa_ask_page(function, number, queue->ring.missed_iova, queue->ring.missed_access_mask);
	if (rc == 0)
		rc = attach(function, number, SA_START_GOES_ON, &why);
	if (rc < 0 && rc != -EINPROGRESS && rc != -ENOTCONN)
		sa_queue_lost(function, number, why.error < 0 ? why.text : strerror(-rc));
}

void
sa_queue_translated(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];
	struct rp_wire_why why = {.error = 0};

	if (queue->attached || !should_run(function, queue))
		return;
	if (attach(function, number, SA_START_FOUND, &why) < 0)
		sa_queue_lost(function, number, why.text);
}

void
sa_queue_lost(struct softaccel_function *function, unsigned int number, const char *why)
{
	struct sa_queue *queue = &function->queues[number];

	__atomic_store_n(&queue->ring.state, SOFTACCEL_QUEUE_BROKEN, __ATOMIC_RELEASE);
	sa_count(&queue->carried.errors, 1);
	say_broken(function, number, why);
	give_up(function, queue);
}

void
sa_queue_notice(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];
	const char *far_why;

	if (!queue->attached)
		return;
	if (queue->carriage != NULL) {
		notice_carried(function, number);
		return;
	}
	if (sa_ring_state(&queue->ring) != SOFTACCEL_QUEUE_BROKEN)
		return;
	far_why = queue->ring.far_why;
	if (far_why != NULL && queue->ring.missed) {
		find_out(function, number);
		return;
	}
	if (far_why != NULL && sa_reach_is_far(function)) {
		carry_on(function, number);
		return;
	}
	detach(function, number);
	give_up(function, queue);
	if (far_why != NULL)
		sa_count(&queue->carried.errors, 1);
	say_broken(function, number, far_why != NULL ? far_why : rp_vring_dev_why(&queue->ring.vring));
}
