/* SPDX-License-Identifier: BSD-3-Clause */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rp_vring_position.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "storm.h"

/*
 * What a VMM does to a running device, by the thread that speaks vhost-user. While it
 * has a ring stopped, it looks that nobody touches it.
 */

#define LOG_PAGE_BYTES 4096u /* of the specification, whatever the host's is */
#define LOG_BYTES ((STATION_PLUGGED_GPA + 0x1000000ull) / LOG_PAGE_BYTES / 8)
#define HOLD_MS 2u
#define LOG_MS 20u

struct log {
	int fd;
	uint8_t *bits;
};

static struct log log_now = {.fd = -1};

static void
serve_station(struct station *station)
{
	if (station->frontend != NULL)
		rp_vhu_frontend_process(station->frontend);
}

static void
learn_route(struct storm *storm, unsigned int pair)
{
	enum rp_port_queue_mode modes[2];
	unsigned int i;

	for (i = 0; i < 2; i++) {
		if (rp_port_get_queue_mode(storm->guest_port.port, 2 * pair + i, &modes[i]) < 0)
			storm_die("pair %u: no mode", pair);
		if (modes[i] == RP_PORT_QUEUE_STOPPED)
			return;
	}
	atomic_store(&storm->route[pair], modes[0] == RP_PORT_QUEUE_SOFTWARE ? STORM_SOFTWARE : STORM_HARDWARE);
	atomic_store(&storm->split[pair], (modes[0] == RP_PORT_QUEUE_SOFTWARE) != (modes[1] == RP_PORT_QUEUE_SOFTWARE));
}

void
vmm_serve(struct storm *storm, unsigned int ms)
{
	uint64_t end_ms = rp_wire_clock_ms() + ms;
	unsigned int pair;

	do {
		struct pollfd wait = {.fd = rp_vhu_frontend_fd(storm->guest.frontend), .events = POLLIN};

		poll(&wait, 1, 1);
		serve_station(&storm->guest);
		serve_station(&storm->peers[STORM_HARDWARE]);
		serve_station(&storm->peers[STORM_SOFTWARE]);
		if (storm->guest_port.port == NULL)
			continue;
		served_lock(&storm->guest_port);
		for (pair = 0; pair < storm->options.pairs_count; pair++)
			learn_route(storm, pair);
		served_unlock(&storm->guest_port);
	} while (rp_wire_clock_ms() < end_ms);
}

static void
begin(struct storm *storm)
{
	atomic_fetch_add(&storm->still, 1);
	atomic_fetch_add(&storm->epoch, 1);
}

static void
end(struct storm *storm)
{
	atomic_fetch_add(&storm->epoch, 1);
	atomic_fetch_sub(&storm->still, 1);
}

/* The driver takes what is used; a turn that began before may have missed some. */
static void
wait_turns(struct storm *storm)
{
	unsigned int until = atomic_load(&storm->guest_turns) + 3;

	while ((int)(atomic_load(&storm->guest_turns) - until) < 0) {
		unsigned int i;

		for (i = 0; i < storm->guest.queues_count; i++)
			eventfd_write(storm->guest.queues[i].call_fds[0], 1);
		usleep(50);
	}
}

/* The ring stands where its backend said. Under the guest's lock. */
static void
check_stopped(struct storm *storm, unsigned int queue, uint32_t base)
{
	uint32_t position = station_position(&storm->guest, queue);

	if (storm->guest.queues[queue].parts_due > 0)
		storm_die("queue %u: stopped in the middle of a frame", queue);
	/* Some say the lower half only; a drained ring has one position. */
	if (rp_vring_position_drained(storm->guest.features, (uint16_t)base) == position)
		return;
	storm->counts.positions_wrong++;
	fprintf(stderr, "storm: queue %u: stopped at 0x%x, the ring stands at 0x%x\n", queue, base, position);
}

static void
stop_and_start(struct storm *storm, unsigned int first, unsigned int count)
{
	uint32_t bases[STATION_QUEUES_MAX];
	unsigned int i;

	begin(storm);
	for (i = first; i < first + count; i++)
		bases[i] = station_stop(&storm->guest, i);
	wait_turns(storm);
	vmm_serve(storm, HOLD_MS);
	wait_turns(storm);
	pthread_mutex_lock(&storm->guest.lock);
	for (i = first; i < first + count; i++)
		check_stopped(storm, i, bases[i]);
	pthread_mutex_unlock(&storm->guest.lock);
	for (i = first; i < first + count; i++)
		station_start(&storm->guest, i, bases[i]);
	for (i = first; i < first + count; i++)
		station_enable(&storm->guest, i, true);
	end(storm);
	storm->counts.stops++;
}

static void
disable_and_enable(struct storm *storm, unsigned int pair)
{
	begin(storm);
	station_enable(&storm->guest, 2 * pair, false);
	station_enable(&storm->guest, 2 * pair + 1, false);
	vmm_serve(storm, HOLD_MS);
	station_enable(&storm->guest, 2 * pair, true);
	station_enable(&storm->guest, 2 * pair + 1, true);
	end(storm);
	storm->counts.disables++;
}

/* Asks that no device has taken are asked again by the machine that comes up. Under the guest's lock. */
static void
keep_asks(struct storm *storm, unsigned int pair)
{
	const struct station_queue *queue = &storm->guest.queues[2 * pair + 1];
	struct storm_lane *lane = &storm->lanes[pair];
	uint32_t kept[STATION_RING_NUM];
	unsigned int i, count = 0;

	for (i = 0; i < queue->out_count; i++)
		kept[count++] = lane->sequences[queue->out_fifo[(queue->out_head + i) % STATION_RING_NUM]];
	while (lane->again_at < lane->again_count && count < STATION_RING_NUM)
		kept[count++] = lane->again[lane->again_at++];
	for (i = 0; i < count; i++)
		lane->again[i] = kept[i];
	lane->again_count = count;
	lane->again_at = 0;
}

/* Memory anew, rings from their beginning. What was under way in a ring that ended stays in the books. */
static void
boot(struct storm *storm)
{
	struct station *guest = &storm->guest;
	unsigned int i;

	for (i = 0; i < storm->options.pairs_count; i++)
		keep_asks(storm, i);
	station_renew(guest);
	/* Buffers, and the kick for them, are there before the rings start. */
	for (i = 0; i < guest->queues_count; i += 2)
		station_fill(guest, i);
	station_start_all(guest);
}

/* A VMM that is killed, and another with the same guest's memory, whose driver begins anew. */
static void
reconnect(struct storm *storm)
{
	/* Counted from its beginning: what is refused meanwhile is refused on its account. */
	storm->counts.reconnects++;
	begin(storm);
	station_reconnect(&storm->guest, storm->options.guest_path);
	/* Who answers this one has let go of what the other one had: so nothing is used any more. */
	wait_turns(storm);
	pthread_mutex_lock(&storm->guest.lock);
	boot(storm);
	pthread_mutex_unlock(&storm->guest.lock);
	end(storm);
}

static void
reboot(struct storm *storm)
{
	uint32_t bases[STATION_QUEUES_MAX];
	struct station *guest = &storm->guest;
	unsigned int i;

	begin(storm);
	for (i = 0; i < guest->queues_count; i++)
		station_enable(guest, i, false);
	for (i = 0; i < guest->queues_count; i++)
		bases[i] = station_stop(guest, i);
	wait_turns(storm);
	pthread_mutex_lock(&guest->lock);
	for (i = 0; i < guest->queues_count; i++)
		check_stopped(storm, i, bases[i]);
	boot(storm);
	pthread_mutex_unlock(&guest->lock);
	end(storm);
	storm->counts.reboots++;
}

/* No frame is to be sent from memory that goes: a guest's driver lets go of it first. */
static void
await_home(struct storm *storm)
{
	struct station *guest = &storm->guest;
	uint64_t deadline_ms = rp_wire_clock_ms() + storm->options.answer_limit_s * 1000u;
	unsigned int i, away;

	pthread_mutex_lock(&guest->lock);
	guest->plugged_used = false;
	pthread_mutex_unlock(&guest->lock);
	do {
		vmm_serve(storm, 1);
		pthread_mutex_lock(&guest->lock);
		for (i = 1, away = 0; i < guest->queues_count; i += 2)
			away += guest->queues[i].away_count;
		pthread_mutex_unlock(&guest->lock);
		/* A buffer is the driver's again once it was told: nothing else wakes a driver that waits for nothing. */
		eventfd_write(guest->queues[1].call_fds[0], 1);
		eventfd_write(guest->queues[guest->queues_count - 1].call_fds[0], 1);
		if (rp_wire_clock_ms() > deadline_ms)
			storm_die("memory that is to go is still sent from");
	} while (away > 0);
}

static void
plug(struct storm *storm, bool plugged)
{
	struct station *guest = &storm->guest;

	if (!plugged)
		await_home(storm);
	station_plug(guest, plugged);
	pthread_mutex_lock(&guest->lock);
	guest->plugged_used = plugged;
	pthread_mutex_unlock(&guest->lock);
}

static void
hotplug(struct storm *storm)
{
	plug(storm, storm->guest.plugged == NULL);
	storm->counts.hotplugs++;
}

/* As QEMU does when a guest masks a vector, and when it unmasks it. */
static void
swap_calls(struct storm *storm)
{
	unsigned int i;

	for (i = 0; i < storm->guest.queues_count; i++)
		station_swap_call(&storm->guest, i);
	storm->counts.swaps++;
}

static void
set_log_flags(struct station *guest, bool logging)
{
	uint64_t features = guest->features | (logging ? 1ull << RP_VHU_F_LOG_ALL_BIT : 0);
	struct rp_wire_why why = {0};
	unsigned int i;
	int rc = 0;

	guest->logging = logging;
	/* For each pair, as QEMU does. */
	for (i = 0; rc == 0 && i < guest->queues_count; i += 2)
		rc = rp_vhu_frontend_set_features(guest->frontend, features, &why);
	for (i = 0; rc == 0 && i < guest->queues_count; i++) {
		struct rp_vhu_frontend_ring ring = station_ring(guest, i, 0);

		rc = rp_vhu_frontend_ring_addr(guest->frontend, i, &ring, &why);
	}
	/* SET_VRING_ADDR is not answered; this is, behind it. */
	if (rc == 0)
		rc = rp_vhu_frontend_set_features(guest->frontend, features, &why);
	if (rc < 0)
		storm_die("the log is not %s: %d: %s", logging ? "begun" : "ended", rc, why.text);
}

static bool
can_log(const struct storm *storm)
{
	return (rp_vhu_frontend_features_offered(storm->guest.frontend) >> RP_VHU_F_LOG_ALL_BIT & 1) != 0 &&
	       (rp_vhu_frontend_protocol_features(storm->guest.frontend) >> RP_VHU_PF_LOG_SHMFD_BIT & 1) != 0;
}

/* A migration of hardware that cannot log waits for somebody who can. */
static void
await_software(struct storm *storm)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + storm->options.answer_limit_s * 1000u;
	struct rp_port_software_info info;

	if (storm->guest_port.port == NULL || storm->options.software_path == NULL)
		return;
	for (;;) {
		served_lock(&storm->guest_port);
		rp_port_get_software_info(storm->guest_port.port, &info);
		served_unlock(&storm->guest_port);
		if (info.usable)
			return;
		if (rp_wire_clock_ms() > deadline_ms)
			storm_die("the switch does not come back: %s", info.reason);
		vmm_serve(storm, 1);
	}
}

static void
log_begin(struct storm *storm)
{
	struct rp_wire_why why = {0};
	int rc;

	await_software(storm);
	atomic_store(&storm->log_state, STORM_LOG_CHANGES);
	log_now.fd = memfd_create("log", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (log_now.fd < 0 || ftruncate(log_now.fd, (off_t)LOG_BYTES) < 0)
		storm_die("memfd");
	log_now.bits = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, log_now.fd, 0);
	if (log_now.bits == MAP_FAILED)
		storm_die("mmap");
	rc = rp_vhu_frontend_set_log_base(storm->guest.frontend, log_now.fd, LOG_BYTES, 0, &why);
	if (rc < 0)
		storm_die("SET_LOG_BASE: %d: %s", rc, why.text);
	set_log_flags(&storm->guest, true);
	wait_turns(storm);
	atomic_store(&storm->log_state, STORM_LOG_SET);
	vmm_serve(storm, LOG_MS);
}

static void
check_logged(struct storm *storm, uint64_t gpa, const char *what, unsigned int queue)
{
	uint64_t page = gpa / LOG_PAGE_BYTES;

	storm->counts.log_pages++;
	if ((__atomic_load_n(&log_now.bits[page / 8], __ATOMIC_ACQUIRE) >> (page % 8) & 1) != 0)
		return;
	if (storm->counts.log_missing++ < 10)
		fprintf(stderr, "storm: queue %u: its %s at 0x%llx was written and is not in the log\n", queue, what,
			(unsigned long long)gpa);
}

static void
check_log(struct storm *storm)
{
	struct station *guest = &storm->guest;
	bool packed = (guest->features >> RP_VHU_F_RING_PACKED_BIT & 1) != 0;
	struct rp_vhu_frontend_ring ring;
	unsigned int queue;
	uint16_t i;

	for (queue = 0; queue < guest->queues_count; queue++) {
		for (i = 0; queue % 2 == 0 && i < STATION_RING_NUM; i++)
			if (guest->queues[queue].written[i] != 0)
				check_logged(storm, station_buffer_gpa(guest, queue, i), "buffer", queue);
		ring = station_ring(guest, queue, 0);
		if (!packed && guest->queues[queue].used_total != storm->log_used_total[queue])
			check_logged(storm, ring.used_uva - (uint64_t)(uintptr_t)guest->memory + STATION_GPA,
				     "used index", queue);
	}
}

static void
log_end(struct storm *storm)
{
	if (atomic_load(&storm->log_state) == STORM_LOG_OFF)
		return;
	pthread_mutex_lock(&storm->guest.lock);
	if (atomic_load(&storm->log_state) == STORM_LOG_WATCHED)
		check_log(storm);
	atomic_store(&storm->log_state, STORM_LOG_CHANGES);
	pthread_mutex_unlock(&storm->guest.lock);
	set_log_flags(&storm->guest, false);
	munmap(log_now.bits, LOG_BYTES);
	rp_wire_fd_close(&log_now.fd);
	atomic_store(&storm->log_state, STORM_LOG_OFF);
	storm->counts.logs++;
}

static void
toggle_log(struct storm *storm)
{
	if (!can_log(storm))
		return;
	if (atomic_load(&storm->log_state) == STORM_LOG_OFF)
		log_begin(storm);
	else
		log_end(storm);
}

void
chaos_do(struct storm *storm, unsigned int *seed)
{
	unsigned int what = (unsigned int)rand_r(seed) % 16, pairs = storm->options.pairs_count;
	unsigned int pair = (unsigned int)rand_r(seed) % pairs;

	if (storm->options.verbose)
		fprintf(stderr, "storm: chaos %u\n", what);
	if (what < 3) {
		stop_and_start(storm, 0, storm->guest.queues_count);
	} else if (what < 5) {
		stop_and_start(storm, 2 * pair, 2);
	} else if (what < 7) {
		disable_and_enable(storm, pair);
	} else if (what < 9) {
		hotplug(storm);
	} else if (what < 11) {
		toggle_log(storm);
		/* Mostly a short migration; some see what comes next. */
		if (pair == 0)
			log_end(storm);
	} else if (what < 13) {
		swap_calls(storm);
	} else if (what < 15 || storm->options.stay) {
		log_end(storm);
		reboot(storm);
	} else {
		log_end(storm);
		reconnect(storm);
	}
}

void
chaos_end(struct storm *storm)
{
	log_end(storm);
	if (storm->guest.plugged != NULL)
		plug(storm, false);
}
