/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "rp_dma_follow.h"
#include "rp_wire_caller.h"
#include "rp_wire_fd.h"
#include "sa_doorbell.h"
#include "sa_messenger.h"

#define EVENTS_MAX 32
/* After an access that failed for a reason that may pass: no memory, a range that was just replaced. */
#define RETRY_MS 2
#define WAKE_NUMBER UINT32_MAX

struct sa_messenger {
	struct rp_dma_space *space;
	int notice_fd;
	int epoll_fd; /* the wake eventfd, and of each running carriage its bell and the guest's kicks */
	int wake_fd;
	struct rp_wire_caller *caller; /* under the lock */
	pthread_t thread;
	const struct rp_dma_vote *vote;
	struct rp_dma_follower follower; /* the thread's own */
	bool thread_runs;
	pthread_mutex_t lock;
	pthread_cond_t left; /* a turn ended */
	bool stop;
	unsigned int carriages_count;
	struct sa_carriage **carriages; /* by number; NULL: none runs */
	struct sa_carriage *current; /* whose turn it is */
	bool io_running;
	struct rp_dma_io io; /* of the current carriage */
	struct sa_courier_scratch scratch;
};

/* Cancelled by the control side, or refused, once it wants the carriage back. */
static int
move(struct sa_carriage *carriage, bool write, const struct rp_dma_segment *segments, unsigned int count)
{
	struct sa_messenger *messenger = carriage->messenger;
	int rc = -ECANCELED;

	pthread_mutex_lock(&messenger->lock);
	if (!carriage->leaving) {
		messenger->io = (struct rp_dma_io){.write = write, .segments = segments, .segments_count = count};
		rc = rp_dma_io_submit(messenger->space, &messenger->io);
		messenger->io_running = rc == 0;
	}
	pthread_mutex_unlock(&messenger->lock);
	if (rc == 0) {
		rc = rp_dma_io_wait(&messenger->io);
		pthread_mutex_lock(&messenger->lock);
		messenger->io_running = false;
		pthread_mutex_unlock(&messenger->lock);
	}
	if (rc != -EFAULT && rc != -ENOTSUP)
		return rc;
	/* The guest's fault, or its client is gone and its memory with it: the control side knows. */
	carriage->fault = rc;
	return -ECANCELED;
}

static int
read_guest(void *ctx, const struct rp_dma_segment *segments, unsigned int count)
{
	return move(ctx, false, segments, count);
}

static int
write_guest(void *ctx, const struct rp_dma_segment *segments, unsigned int count)
{
	return move(ctx, true, segments, count);
}

const struct rp_vring_mirror_ops sa_messenger_access = {.read = read_guest, .write = write_guest};

/* Lock held: the eventfd is good for as long as it is. */
static void
interrupt(struct sa_carriage *carriage)
{
	carriage->interrupt_owed =
		carriage->call_fd < 0 || rp_wire_caller_call(carriage->messenger->caller, carriage->call_fd) < 0;
	if (!carriage->interrupt_owed)
		sa_count(&carriage->courier.counters->interrupts, 1);
}

static void
notice(struct sa_messenger *messenger, struct sa_carriage *carriage, enum sa_carriage_state state)
{
	carriage->state = state;
	carriage->pending = false;
	eventfd_write(messenger->notice_fd, 1);
}

/* Lock held. @return whether it is worth trying again, and soon. */
static bool
judge_failure(struct sa_messenger *messenger, struct sa_carriage *carriage, int rc)
{
	if (carriage->fault != 0 && carriage->resumed) {
		carriage->fault = 0;
		return false;
	}
	if (carriage->fault != 0) {
		carriage->error = carriage->fault;
		carriage->fault = 0;
		notice(messenger, carriage, SA_CARRIAGE_FAULT);
		return false;
	}
	switch (rc) {
	case -ECANCELED:
	case -ENOMEM:
		/* Taken away, or a range of it was: that shows the next time. */
		carriage->pending = true;
		return true;
	case -ENOTCONN:
		/* Whoever parks us is on the way. */
		carriage->pending = false;
		return false;
	default:
		carriage->error = rc == -EBADMSG ? 0 : rc;
		notice(messenger, carriage, SA_CARRIAGE_BROKEN);
		return false;
	}
}

/* Lock held, given up meanwhile. @return whether to wait a moment before the next turn. */
static bool
take_turn(struct sa_messenger *messenger, struct sa_carriage *carriage)
{
	bool failed = false;
	int rc;

	messenger->current = carriage;
	carriage->pending = false;
	carriage->courier.draining = carriage->drain;
	pthread_mutex_unlock(&messenger->lock);
	if (sa_courier_hear(&carriage->courier))
		carriage->resumed = false;
	rc = sa_courier_turn(&carriage->courier, &messenger->scratch);
	pthread_mutex_lock(&messenger->lock);
	if (rc < 0) {
		failed = judge_failure(messenger, carriage, rc);
	} else {
		/* One that is owed makes no turn due: its descriptor may never take it. */
		if ((rc & SA_COURIER_INTERRUPT) != 0 || carriage->interrupt_owed)
			interrupt(carriage);
		if ((rc & SA_COURIER_MORE) != 0)
			carriage->pending = true;
		else if (carriage->courier.draining)
			notice(messenger, carriage, SA_CARRIAGE_DRAINED);
	}
	messenger->current = NULL;
	pthread_cond_broadcast(&messenger->left);
	return failed;
}

static bool
is_due(const struct sa_carriage *carriage)
{
	return carriage != NULL && carriage->state == SA_CARRIAGE_RUNNING && carriage->pending && !carriage->leaving;
}

/* Lock held, given up meanwhile. @return how long to sleep. */
static int
take_turns(struct sa_messenger *messenger)
{
	unsigned int i;
	bool retry = false;

	for (i = 0; i < messenger->carriages_count && !messenger->stop; i++) {
		if (is_due(messenger->carriages[i]))
			retry |= take_turn(messenger, messenger->carriages[i]);
	}
	for (i = 0; i < messenger->carriages_count && !retry; i++) {
		if (is_due(messenger->carriages[i]))
			return 0;
	}
	return retry ? RETRY_MS : -1;
}

static void
collect_events(struct sa_messenger *messenger, const struct epoll_event *events, int count)
{
	int i;

	for (i = 0; i < count; i++) {
		uint32_t number = events[i].data.u32;

		if (number == WAKE_NUMBER)
			sa_doorbell_drain(messenger->wake_fd);
		/* It may have been taken away since. */
		else if (messenger->carriages[number] != NULL)
			messenger->carriages[number]->pending = true;
	}
}

static void *
run(void *ctx)
{
	struct sa_messenger *messenger = ctx;
	struct epoll_event events[EVENTS_MAX];

	rp_dma_follow_begin(&messenger->follower);
	pthread_mutex_lock(&messenger->lock);
	while (!messenger->stop) {
		int count, wait_ms, node = rp_dma_vote_node(messenger->vote);

		if (messenger->follower.sent != node)
			rp_dma_follow(&messenger->follower, node);
		wait_ms = take_turns(messenger);

		pthread_mutex_unlock(&messenger->lock);
		count = epoll_wait(messenger->epoll_fd, events, EVENTS_MAX, wait_ms);
		pthread_mutex_lock(&messenger->lock);
		collect_events(messenger, events, count);
	}
	pthread_mutex_unlock(&messenger->lock);
	return NULL;
}

/* Edges: who is not served any more must not keep the thread awake. */
static int
watch(struct sa_messenger *messenger, int fd, uint32_t number)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = number};

	return epoll_ctl(messenger->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* Signals are the program's other threads' business. */
static int
make_thread(struct sa_messenger *messenger)
{
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = -pthread_create(&messenger->thread, NULL, run, messenger);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	messenger->thread_runs = rc == 0;
	if (rc == 0)
		pthread_setname_np(messenger->thread, "sa-messenger");
	return rc;
}

int
sa_messenger_create(struct rp_dma_space *space, unsigned int queues_count, const struct rp_dma_vote *vote,
		    int notice_fd, struct sa_messenger **ret_messenger)
{
	struct sa_messenger *messenger = calloc(1, sizeof(*messenger));
	int rc;

	if (messenger == NULL)
		return -ENOMEM;
	messenger->space = space;
	messenger->vote = vote;
	messenger->notice_fd = notice_fd;
	messenger->carriages_count = queues_count;
	messenger->carriages = calloc(queues_count, sizeof(*messenger->carriages));
	pthread_mutex_init(&messenger->lock, NULL);
	pthread_cond_init(&messenger->left, NULL);
	messenger->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	messenger->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (messenger->carriages == NULL)
		rc = -ENOMEM;
	else if (messenger->epoll_fd < 0 || messenger->wake_fd < 0)
		rc = -errno;
	else
		rc = watch(messenger, messenger->wake_fd, WAKE_NUMBER);
	if (rc == 0)
		rc = rp_wire_caller_take(&messenger->caller);
	if (rc == 0)
		rc = make_thread(messenger);
	if (rc < 0) {
		sa_messenger_destroy(messenger);
		return rc;
	}
	*ret_messenger = messenger;
	return 0;
}

struct sa_messenger *
sa_messenger_destroy(struct sa_messenger *messenger)
{
	if (messenger == NULL)
		return NULL;
	if (messenger->thread_runs) {
		pthread_mutex_lock(&messenger->lock);
		messenger->stop = true;
		pthread_mutex_unlock(&messenger->lock);
		eventfd_write(messenger->wake_fd, 1);
		pthread_join(messenger->thread, NULL);
	}
	messenger->caller = rp_wire_caller_give(messenger->caller);
	rp_wire_fd_close(&messenger->wake_fd);
	rp_wire_fd_close(&messenger->epoll_fd);
	pthread_cond_destroy(&messenger->left);
	pthread_mutex_destroy(&messenger->lock);
	free(messenger->carriages);
	free(messenger);
	return NULL;
}

static void
unwatch_courier(const struct sa_messenger *messenger, const struct sa_courier *courier)
{
	epoll_ctl(messenger->epoll_fd, EPOLL_CTL_DEL, courier->bell_fd, NULL);
	epoll_ctl(messenger->epoll_fd, EPOLL_CTL_DEL, courier->guest_kick_fd, NULL);
	epoll_ctl(messenger->epoll_fd, EPOLL_CTL_DEL, courier->guest_said_fd, NULL);
}

static int
watch_courier(struct sa_messenger *messenger, const struct sa_courier *courier, unsigned int number)
{
	int rc = watch(messenger, courier->bell_fd, number);

	if (rc == 0)
		rc = watch(messenger, courier->guest_kick_fd, number);
	if (rc == 0)
		rc = watch(messenger, courier->guest_said_fd, number);
	if (rc < 0)
		unwatch_courier(messenger, courier);
	return rc;
}

int
sa_messenger_start(struct sa_messenger *messenger, struct sa_carriage *carriage, unsigned int number, bool resumed)
{
	int rc = watch_courier(messenger, &carriage->courier, number);

	if (rc < 0)
		return rc;
	pthread_mutex_lock(&messenger->lock);
	carriage->messenger = messenger;
	carriage->state = SA_CARRIAGE_RUNNING;
	carriage->leaving = false;
	carriage->drain = false;
	carriage->resumed = resumed;
	carriage->error = 0;
	carriage->fault = 0;
	carriage->pending = true;
	messenger->carriages[number] = carriage;
	pthread_mutex_unlock(&messenger->lock);
	/* What was on its way to the data path, or from it, when it was parked. */
	eventfd_write(carriage->courier.local_kick_fd, 1);
	eventfd_write(messenger->wake_fd, 1);
	return 0;
}

void
sa_messenger_park(struct sa_messenger *messenger, struct sa_carriage *carriage, unsigned int number)
{
	pthread_mutex_lock(&messenger->lock);
	if (messenger->carriages[number] == carriage) {
		messenger->carriages[number] = NULL;
		unwatch_courier(messenger, &carriage->courier);
	}
	carriage->leaving = true;
	while (messenger->current == carriage) {
		if (messenger->io_running)
			rp_dma_io_cancel(&messenger->io);
		pthread_cond_wait(&messenger->left, &messenger->lock);
	}
	carriage->state = SA_CARRIAGE_PARKED;
	pthread_mutex_unlock(&messenger->lock);
}

void
sa_messenger_poke(struct sa_messenger *messenger, struct sa_carriage *carriage)
{
	pthread_mutex_lock(&messenger->lock);
	carriage->pending = true;
	pthread_mutex_unlock(&messenger->lock);
	eventfd_write(messenger->wake_fd, 1);
}

void
sa_messenger_drain(struct sa_messenger *messenger, struct sa_carriage *carriage)
{
	pthread_mutex_lock(&messenger->lock);
	carriage->drain = true;
	pthread_mutex_unlock(&messenger->lock);
	sa_messenger_poke(messenger, carriage);
}

void
sa_messenger_set_call(struct sa_messenger *messenger, struct sa_carriage *carriage, int call_fd)
{
	pthread_mutex_lock(&messenger->lock);
	carriage->call_fd = call_fd;
	if (call_fd >= 0 && carriage->interrupt_owed)
		interrupt(carriage);
	pthread_mutex_unlock(&messenger->lock);
}

enum sa_carriage_state
sa_messenger_state(struct sa_messenger *messenger, const struct sa_carriage *carriage, int *ret_error)
{
	enum sa_carriage_state state;

	pthread_mutex_lock(&messenger->lock);
	state = carriage->state;
	*ret_error = carriage->error;
	pthread_mutex_unlock(&messenger->lock);
	return state;
}
