/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * From a guest's kick to the moment when the device sees it: the store on the mapped doorbell,
 * against an eventfd that the port's thread reads before it stores for the guest, and against an
 * eventfd that whoever serves by librte_vhost reads itself. The device has one doorbell to look at,
 * or those of 256 queues of which one is rung; and it has nothing else to do, or frames to move.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <rte_pause.h>

#include "bells.h"
#include "rp_wire_fd.h"
#include "software_rig.h"

#define QUEUES 256u
/* Of 256, those that are rung; anywhere in the device's turn. */
#define RUNG_STEP 32u
#define SAMPLES_MAX 1000u
#define WARM_UP 100u
/* The relay sleeps again, and the device looks at nothing but what is at rest. */
#define PAUSE_NS 10000u
/* And not in step with the device's looks. */
#define PAUSE_MORE_MASK 1023u
#define SEEN_LIMIT_NS 60000000000ull

enum way {
	WAY_DIRECT,
	WAY_RELAYED,
	WAY_VHOST,
};

struct doorbell {
	struct rig rig;
	struct bells bells;
	struct software_rig vhost;
	int vhost_epoll_fd;
	unsigned int samples_count;
	uint32_t random;
	/* What is measured. */
	unsigned int watched_count;
	bool loaded;
	bool against_vhost;
};

static uint32_t
draw(struct doorbell *doorbell)
{
	doorbell->random ^= doorbell->random << 13;
	doorbell->random ^= doorbell->random >> 17;
	doorbell->random ^= doorbell->random << 5;
	return doorbell->random;
}

static int
ring(struct doorbell *doorbell, enum way way, unsigned int queue)
{
	int rc;

	if (way == WAY_VHOST)
		return eventfd_write(doorbell->vhost.direct.kick_fds[queue], 1);
	rc = rp_vhu_frontend_kick(doorbell->rig.frontend, queue);
	if (rc == (way == WAY_DIRECT ? 1 : 0))
		return 0;
	fprintf(stderr, "ringpass-bench: doorbell: went the other way\n");
	return rc < 0 ? rc : -EIO;
}

/* @return 0, -EAGAIN (something else was seen), or a negative errno. */
static int
one_kick(struct doorbell *doorbell, enum way way, double *ret_ns)
{
	uint64_t quiet_until_ns = bench_now_ns() + PAUSE_NS + (draw(doorbell) & PAUSE_MORE_MASK), started_ns, seen_ns;
	unsigned int queue =
		doorbell->watched_count == 1 ? RIG_TX : RIG_TX + draw(doorbell) % (QUEUES / RUNG_STEP) * RUNG_STEP;
	int rc;

	while (bench_now_ns() < quiet_until_ns)
		;
	__atomic_store_n(&doorbell->bells.seen_ns, 0, __ATOMIC_RELEASE);
	started_ns = bench_now_ns();
	rc = ring(doorbell, way, queue);
	if (rc < 0)
		return rc;
	while ((seen_ns = __atomic_load_n(&doorbell->bells.seen_ns, __ATOMIC_ACQUIRE)) == 0) {
		if (bench_now_ns() > started_ns + SEEN_LIMIT_NS)
			return -ETIMEDOUT;
		rte_pause();
	}
	*ret_ns = (double)(seen_ns - started_ns);
	if (doorbell->bells.look == BELLS_LOOK_WORDS && doorbell->bells.seen_queue != queue)
		return -EAGAIN;
	return seen_ns < started_ns ? -EAGAIN : 0;
}

/* What the device is to look at. */
static int
watch(struct doorbell *doorbell, enum way way)
{
	struct bells *bells = &doorbell->bells;
	bool one = doorbell->watched_count == 1;
	const struct rig_queues rung = {RIG_TX, one ? QUEUES : RUNG_STEP};
	int rc = 0;

	if (!doorbell->against_vhost)
		rc = rig_kick_some_directly(&doorbell->rig, rung, way == WAY_DIRECT);
	rig_hold(&doorbell->rig);
	bells->loaded = doorbell->loaded;
	bells->first = one ? RIG_TX / bells->doorbells.sharing : 0;
	bells->watched_count = one ? 1 : bells->words_count;
	bells->look = BELLS_LOOK_WORDS;
	if (way == WAY_VHOST) {
		bells->look = one ? BELLS_LOOK_EVENTFD : BELLS_LOOK_EVENTFDS;
		bells->eventfd = one ? software_rig_kick_fd(&doorbell->vhost, RIG_TX) : doorbell->vhost_epoll_fd;
	}
	rig_release(&doorbell->rig);
	return rc;
}

static int
run_lap(struct doorbell *doorbell, enum way way, double *ret_values)
{
	static double samples[SAMPLES_MAX];
	unsigned int count = 0, tried = 0;
	int rc = watch(doorbell, way);

	while (rc == 0 && count < doorbell->samples_count) {
		rc = one_kick(doorbell, way, &samples[count]);
		if (rc == -EAGAIN && tried < 2 * SAMPLES_MAX)
			rc = 0;
		else if (rc == 0 && tried >= WARM_UP)
			count++;
		tried++;
	}
	if (rc < 0)
		return rc;
	ret_values[0] = report_percentile(samples, count, 50);
	ret_values[1] = report_percentile(samples, count, 99);
	return 0;
}

static int
direct(void *ctx, double *ret_values)
{
	return run_lap(ctx, WAY_DIRECT, ret_values);
}

static int
relayed(void *ctx, double *ret_values)
{
	return run_lap(ctx, WAY_RELAYED, ret_values);
}

static int
by_vhost(void *ctx, double *ret_values)
{
	return run_lap(ctx, WAY_VHOST, ret_values);
}

static double
hop_ns(void *ctx)
{
	struct doorbell *doorbell = ctx;

	return rig_hop_ns(&doorbell->rig);
}

struct measure {
	struct bench_figure figures[2];
	unsigned int watched_count;
	bool loaded;
};

static int
measure_all(struct doorbell *doorbell, bool against_vhost, const struct measure *measures, unsigned int count,
	    unsigned int later, struct bench_rows *rows)
{
	static const struct bench_pairs_ops against[] = {{direct, relayed, hop_ns}, {direct, by_vhost, hop_ns}};
	unsigned int i;
	int rc = 0;

	doorbell->against_vhost = against_vhost;
	for (i = 0; rc == 0 && i < count && !bench_interrupted(); i++) {
		const struct bench_pairs_config config = {
			.options = doorbell->rig.options,
			.figures = measures[i].figures,
			.figures_count = 2,
			.peer = against_vhost ? "librte_vhost's eventfd, read by the device" :
						"eventfd and the port's thread, on the guest's CPU",
			.share = count - i + later,
		};

		doorbell->watched_count = measures[i].watched_count;
		doorbell->loaded = measures[i].loaded;
		rc = bench_pairs_run(&config, &against[against_vhost], doorbell, rows);
	}
	return rc;
}

/* All kicks that librte_vhost was given, in one set. */
static int
vhost_open(struct doorbell *doorbell)
{
	unsigned int queue;
	int rc = software_rig_open(&doorbell->vhost, doorbell->rig.options, QUEUES, false);

	doorbell->vhost_epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	for (queue = 0; rc == 0 && queue < QUEUES; queue++) {
		struct epoll_event event = {.events = EPOLLIN};

		event.data.fd = software_rig_kick_fd(&doorbell->vhost, queue);
		if (event.data.fd < 0 || epoll_ctl(doorbell->vhost_epoll_fd, EPOLL_CTL_ADD, event.data.fd, &event) < 0)
			rc = rig_complain("librte_vhost's eventfds", -ENOENT, NULL);
	}
	return rc < 0 ? rc : rig_kick_some_directly(&doorbell->rig, (struct rig_queues){RIG_TX, RUNG_STEP}, true);
}

struct part {
	enum softaccel_doorbell layout;
	struct measure against_relay[3];
	unsigned int relays_count;
	struct measure against_vhost[1];
};

/* With a device of its own. @param later measures of other parts that are still to come. */
static int
run_part(struct doorbell *doorbell, const struct part *part, const struct bench_options *options, unsigned int later,
	 struct bench_rows *rows)
{
	const struct rig_config config = {&rig_bells, &doorbell->bells, QUEUES, false};
	int rc;

	*doorbell = (struct doorbell){
		.bells = {.layout = part->layout},
		.random = 20180612,
		.samples_count = options->quick ? 300 : SAMPLES_MAX,
	};
	rc = rig_open(&doorbell->rig, &config, options);
	if (rc == 0)
		rc = measure_all(doorbell, false, part->against_relay, part->relays_count, later + 1, rows);
	if (rc == 0) {
		rc = vhost_open(doorbell);
		if (rc == 0)
			rc = measure_all(doorbell, true, part->against_vhost, 1, later, rows);
		rp_wire_fd_close(&doorbell->vhost_epoll_fd);
		software_rig_close(&doorbell->vhost);
	}
	rig_close(&doorbell->rig);
	return rc;
}

int
bench_doorbell(const struct bench_options *options, struct bench_rows *rows)
{
	/* One doorbell is a queue's own, as are all where there are few; then what softaccel gives to many. */
	static const struct part own = {
		.layout = SOFTACCEL_DOORBELL_PAGES,
		.against_relay =
			{
				{{{"doorbell_p50", "ns"}, {"doorbell_p99", "ns"}}, 1, false},
				{{{"doorbell_256_pages_p50", "ns"}, {"doorbell_256_pages_p99", "ns"}}, QUEUES, false},
				{{{"doorbell_load_p50", "ns"}, {"doorbell_load_p99", "ns"}}, 1, true},
			},
		.relays_count = 3,
		.against_vhost = {{{{"doorbell_vhost_p50", "ns"}, {"doorbell_vhost_p99", "ns"}}, 1, false}},
	};
	static const struct part shared = {
		.layout = SOFTACCEL_DOORBELL_PAGE,
		.against_relay = {{{{"doorbell_256_p50", "ns"}, {"doorbell_256_p99", "ns"}}, QUEUES, false}},
		.relays_count = 1,
		.against_vhost = {{{{"doorbell_vhost_256_p50", "ns"}, {"doorbell_vhost_256_p99", "ns"}},
				   QUEUES,
				   false}},
	};
	static struct doorbell doorbell;
	int rc = run_part(&doorbell, &own, options, 2, rows);

	return rc == 0 && !bench_interrupted() ? run_part(&doorbell, &shared, options, 0, rows) : rc;
}
