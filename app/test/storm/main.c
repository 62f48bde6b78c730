/* SPDX-License-Identifier: BSD-3-Clause */
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rp_wire_clock.h"
#include "storm.h"

/*
 * ringpass-storm: see storm.h. It is started by app/test/e2e/storm.py, which starts the switch and the
 * accelerator, and compares their counters with the books that this prints.
 */

#define LIMIT_MS 60000u
#define SETTLED_MS 500u
#define PEER_MAC_MS 50u

#define VERSION_1_BIT 32
#define MRG_RXBUF_BIT 15
#define MQ_BIT 22
#define EVENT_IDX_BIT 29
#define INDIRECT_BIT 28
#define IN_ORDER_BIT 35

void
storm_die(const char *format, ...)
{
	va_list arguments;

	fputs("storm: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	/* Other threads are at work on what atexit() would free. */
	_exit(1);
}

enum storm_option {
	GUEST = 256,
	PEER,
	SOFTWARE,
	SOFTWARE_PEER,
	ACCELERATOR,
	PEER_ACCELERATOR,
	PAIRS,
	MOVES,
	SEED,
	DRAIN_MS,
	PROGRESS,
	LISTENS,
	PACKED,
	SHADOW,
	CLASS_B,
	PAIRS_ONLY,
	CALM,
	POLICIES,
	STAY,
	VERBOSE,
};

/* clang-format off */
static const struct option long_options[] = {
	{"guest", required_argument, NULL, GUEST},
	{"peer", required_argument, NULL, PEER},
	{"software", required_argument, NULL, SOFTWARE},
	{"software-peer", required_argument, NULL, SOFTWARE_PEER},
	{"accelerator", required_argument, NULL, ACCELERATOR},
	{"peer-accelerator", required_argument, NULL, PEER_ACCELERATOR},
	{"pairs", required_argument, NULL, PAIRS},
	{"moves", required_argument, NULL, MOVES},
	{"seed", required_argument, NULL, SEED},
	{"drain-ms", required_argument, NULL, DRAIN_MS},
	{"progress", required_argument, NULL, PROGRESS},
	{"software-listens", no_argument, NULL, LISTENS},
	{"packed", no_argument, NULL, PACKED},
	{"shadow", no_argument, NULL, SHADOW},
	{"class-b", no_argument, NULL, CLASS_B},
	{"pairs-only", no_argument, NULL, PAIRS_ONLY},
	{"calm", no_argument, NULL, CALM},
	{"policies", no_argument, NULL, POLICIES},
	{"stay", no_argument, NULL, STAY},
	{"verbose", no_argument, NULL, VERBOSE},
	{0},
};
/* clang-format on */

static unsigned int
number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text == '\0' || *end != '\0' || value > UINT32_MAX)
		storm_die("'%s': not a number", text);
	return (unsigned int)value;
}

static void
parse_more(struct storm_options *options, int option)
{
	switch (option) {
	case LISTENS:
		options->software_listens = true;
		break;
	case PACKED:
		options->packed = true;
		break;
	case SHADOW:
		options->shadow = true;
		break;
	case CLASS_B:
		options->class_b = true;
		break;
	case PAIRS_ONLY:
		options->pairs_only = true;
		break;
	case CALM:
		options->calm = true;
		break;
	case POLICIES:
		options->policies = true;
		break;
	case STAY:
		options->stay = true;
		break;
	case VERBOSE:
		options->verbose = true;
		break;
	default:
		storm_die("bad arguments");
	}
}

static void
parse(int argc, char **argv, struct storm_options *options)
{
	unsigned int peers = 0;
	int option;

	*options =
		(struct storm_options){.pairs_count = 1, .seed = 1, .drain_ms = 2, .progress = 8, .answer_limit_s = 60};
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (option == GUEST)
			options->guest_path = optarg;
		else if (option == PEER)
			options->peer_path = optarg;
		else if (option == SOFTWARE)
			options->software_path = optarg;
		else if (option == SOFTWARE_PEER)
			options->software_peer_path = optarg;
		else if (option == ACCELERATOR && options->accelerators_count < STORM_PAIRS_MAX)
			options->guest_accelerators[options->accelerators_count++] = optarg;
		else if (option == PEER_ACCELERATOR && peers < STORM_PAIRS_MAX)
			options->peer_accelerators[peers++] = optarg;
		else if (option == PAIRS)
			options->pairs_count = number(optarg);
		else if (option == MOVES)
			options->moves_count = number(optarg);
		else if (option == SEED)
			options->seed = number(optarg);
		else if (option == DRAIN_MS)
			options->drain_ms = number(optarg);
		else if (option == PROGRESS)
			options->progress = number(optarg);
		else
			parse_more(options, option);
	}
	if (options->guest_path == NULL || options->pairs_count == 0 || options->pairs_count > STORM_PAIRS_MAX ||
	    peers != options->accelerators_count)
		storm_die("bad arguments");
}

static void
ports_open(struct storm *storm)
{
	const struct storm_options *options = &storm->options;
	struct rp_port_config config = {
		.name = "guest",
		.socket_path = options->guest_path,
		.queue_pairs = (uint16_t)options->pairs_count,
		.accelerators = options->guest_accelerators,
		.accelerators_count = options->accelerators_count,
		.doorbell_delay_ms = 1,
		.doorbell_delay_max_ms = 1,
		.reconnect_ms = 5,
		.ring = options->shadow ? RP_PORT_RING_SHADOW : RP_PORT_RING_AUTO,
		.software =
			{
				.socket_path = options->software_path,
				.socket_mode = options->software_listens ? RP_PORT_SERVER : RP_PORT_CLIENT,
				.timeout_ms = 20000,
				.reconnect_ms = 10,
				.drain_ms = options->drain_ms,
			},
		.wish = options->accelerators_count > 0 ? RP_PORT_WISH_HARDWARE : RP_PORT_WISH_SOFTWARE,
	};

	if (options->accelerators_count == 0 && options->software_path == NULL)
		return;
	served_open(&storm->guest_port, &config, &storm_registry, options->verbose);
	if (options->peer_path == NULL)
		return;
	config.name = "peer";
	config.socket_path = options->peer_path;
	config.accelerators = options->peer_accelerators;
	config.ring = RP_PORT_RING_AUTO;
	config.software = (struct rp_port_software_config){0};
	config.wish = RP_PORT_WISH_AUTO;
	served_open(&storm->peer_port, &config, &storm_registry, options->verbose);
}

/* What the guest's VMM and driver do is chosen by the seed's bits, so that a run can be had again. */
static struct station_options
freedoms(const struct storm_options *options)
{
	unsigned int seed = options->seed;
	struct station_options chosen = {
		.features = 1ull << VERSION_1_BIT | 1ull << MRG_RXBUF_BIT | 1ull << RP_VHU_F_PROTOCOL_FEATURES_BIT |
			    (options->pairs_count > 1 ? 1ull << MQ_BIT : 0),
		.replies = (seed & 1) != 0,
		.indirect = (seed & 2) != 0,
		.small_buffers = (seed & 4) != 0,
	};

	if (options->packed)
		chosen.features |= 1ull << RP_VHU_F_RING_PACKED_BIT;
	if (chosen.indirect)
		chosen.features |= 1ull << INDIRECT_BIT;
	if ((seed & 8) != 0)
		chosen.features |= 1ull << IN_ORDER_BIT;
	if ((seed & 48) != 0)
		chosen.features |= 1ull << EVENT_IDX_BIT;
	return chosen;
}

static void
station_ready(struct storm *storm, struct station *station, const char *name, const char *path, bool listens)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + LIMIT_MS;
	struct station_options options = freedoms(&storm->options);
	unsigned int i;

	options.listens = listens;
	/* A port listens once it knows what its software backend offers. */
	while (!listens && access(path, F_OK) != 0) {
		if (rp_wire_clock_ms() > deadline_ms)
			storm_die("%s: nobody listens on %s", name, path);
		usleep(10000);
	}
	station_open(station, name, path, 2 * storm->options.pairs_count, &options);
	if (station->features != options.features)
		storm_die("%s: features 0x%" PRIx64 " are not offered", name, options.features & ~station->features);
	station_start_all(station);
	for (i = 0; i < station->queues_count; i += 2)
		station_fill(station, i);
}

static bool
all_hardware(struct served_port *served, unsigned int queues)
{
	enum rp_port_queue_mode mode;
	bool all = true;
	unsigned int i;

	served_lock(served);
	for (i = 0; i < queues; i++)
		all &= rp_port_get_queue_mode(served->port, i, &mode) == 0 &&
		       (mode == RP_PORT_QUEUE_DIRECT || mode == RP_PORT_QUEUE_SHADOW);
	served_unlock(served);
	return all;
}

static void
hello(struct station *station, unsigned int pair, bool from_guest)
{
	uint8_t *frame = station_frame(station, 2 * pair + 1);

	station_send(station, 2 * pair + 1, books_hello(pair, from_guest, frame));
	station_kick_if_wanted(station, 2 * pair + 1);
}

/* Hardware serves everybody, and its switch has learned who is where, so that nothing is flooded later. */
static void
warm_up(struct storm *storm)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + LIMIT_MS;
	unsigned int pair, queues = 2 * storm->options.pairs_count;

	if (storm->options.accelerators_count == 0)
		return;
	while (!all_hardware(&storm->guest_port, queues) || !all_hardware(&storm->peer_port, queues)) {
		if (rp_wire_clock_ms() > deadline_ms)
			storm_die("the accelerators do not serve");
		vmm_serve(storm, 1);
	}
	for (pair = 0; pair < storm->options.pairs_count; pair++) {
		hello(&storm->guest, pair, true);
		vmm_serve(storm, PEER_MAC_MS);
		hello(&storm->peers[STORM_HARDWARE], pair, false);
		vmm_serve(storm, PEER_MAC_MS);
	}
}

static void
open_all(struct storm *storm)
{
	const struct storm_options *options = &storm->options;

	ports_open(storm);
	if (options->software_peer_path != NULL)
		station_ready(storm, &storm->peers[STORM_SOFTWARE], "peer behind the switch",
			      options->software_peer_path, options->software_listens);
	if (options->peer_path != NULL)
		station_ready(storm, &storm->peers[STORM_HARDWARE], "peer behind the accelerator", options->peer_path,
			      false);
	station_ready(storm, &storm->guest, "guest", options->guest_path,
		      options->software_listens && options->software_path == NULL);
	warm_up(storm);
}

static void
run(struct storm *storm)
{
	unsigned int pair, turns = storm->options.moves_count, seed = storm->options.seed;

	for (pair = 0; pair < storm->options.pairs_count; pair++) {
		enum storm_leg leg = storm->peers[STORM_HARDWARE].frontend != NULL ? STORM_HARDWARE : STORM_SOFTWARE;

		storm->lanes[pair].last_leg = leg;
		atomic_store(&storm->route[pair], leg);
	}
	if (pthread_create(&storm->driver, NULL, driver_main, storm) != 0)
		storm_die("pthread_create");
	/* Without a port there is nothing to move: so many things that a VMM does. */
	if (storm->guest_port.port == NULL || storm->options.software_path == NULL) {
		while (turns-- > 0) {
			vmm_serve(storm, 1 + (unsigned int)rand_r(&seed) % 5);
			chaos_do(storm, &seed);
		}
		return;
	}
	if (pthread_create(&storm->mover, NULL, mover_main, storm) != 0)
		storm_die("pthread_create");
	while (!atomic_load(&storm->moved)) {
		vmm_serve(storm, 1 + (unsigned int)rand_r(&seed) % 20);
		if (!storm->options.calm)
			chaos_do(storm, &seed);
	}
	pthread_join(storm->mover, NULL);
}

static uint64_t
received_sum(struct storm *storm)
{
	uint64_t sum = 0;
	unsigned int pair, flow;

	for (pair = 0; pair < storm->options.pairs_count; pair++)
		for (flow = 0; flow < BOOKS_FLOWS; flow++)
			sum += atomic_load(&storm->progress[pair][flow]);
	return sum;
}

/* Until nothing has arrived for a while. */
static void
settle(struct storm *storm)
{
	uint64_t before = 0, now;

	chaos_end(storm);
	atomic_store(&storm->quiet, true);
	while ((now = received_sum(storm)) != before) {
		before = now;
		vmm_serve(storm, SETTLED_MS);
	}
	atomic_store(&storm->stop, true);
	pthread_join(storm->driver, NULL);
}

static void
print_flow(struct storm *storm, unsigned int pair, enum books_flow flow)
{
	static const char *const names[] = {"ask", "answer", "news"};
	const struct books_page *page = &storm->books.pages[pair][flow];

	printf("%s{\"pair\":%u,\"flow\":\"%s\",\"sent\":%u,\"received\":%u,\"by_hardware\":%u,\"by_software\":%u,"
	       "\"duplicated\":%u,\"reordered\":%u,\"overtaken\":%u,\"gaps\":%u,\"missing_hardware\":%u,"
	       "\"missing_software\":%u}",
	       pair == 0 && flow == 0 ? "" : ",", pair, names[flow], page->sent, page->received,
	       page->received_by[STORM_HARDWARE], page->received_by[STORM_SOFTWARE], page->duplicated, page->reordered,
	       page->overtaken, books_gaps(&storm->books, pair, flow),
	       books_missing(&storm->books, pair, flow, STORM_HARDWARE),
	       books_missing(&storm->books, pair, flow, STORM_SOFTWARE));
}

static void
print_queue(struct storm *storm, unsigned int queue)
{
	struct rp_port_queue_info info;
	int rc;

	served_lock(&storm->guest_port);
	rc = rp_port_get_queue_info(storm->guest_port.port, queue, &info);
	served_unlock(&storm->guest_port);
	if (rc < 0)
		storm_die("queue %u: no information", queue);
	printf("%s{\"queue\":%u,\"mode\":\"%s\",\"moves\":%" PRIu64 ",\"to_hardware\":%" PRIu64
	       ",\"to_software\":%" PRIu64 ",\"blackout_min_us\":%" PRIu64 ",\"blackout_median_us\":%" PRIu64
	       ",\"blackout_max_us\":%" PRIu64 ",\"redone\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"doorbell_maps\":%" PRIu64
	       ",\"doorbell_kicks\":%" PRIu64 ",\"eventfd_kicks\":%" PRIu64 "}",
	       queue == 0 ? "" : ",", queue, rp_port_queue_mode_name(info.mode), info.moves, info.moves_to_hardware,
	       info.moves_to_software, info.blackout_min_us, info.blackout_median_us, info.blackout_max_us, info.redone,
	       info.lost, info.doorbell_maps, storm->guest.queues[queue].doorbell_kicks,
	       storm->guest.queues[queue].eventfd_kicks);
}

static void
print(struct storm *storm, uint64_t took_ms)
{
	const struct storm_counts *counts = &storm->counts;
	unsigned int i, flow;

	printf("{\"seed\":%u,\"features\":\"0x%" PRIx64
	       "\",\"replies\":%d,\"small_buffers\":%d,\"policies\":%d,\"took_ms\":%" PRIu64 ",\"flows\":[",
	       storm->options.seed, storm->guest.features, storm->guest.options.replies,
	       storm->guest.options.small_buffers, storm->options.policies, took_ms);
	for (i = 0; i < storm->options.pairs_count; i++)
		for (flow = 0; flow < BOOKS_FLOWS; flow++)
			print_flow(storm, i, flow);
	printf("],\"queues\":[");
	for (i = 0; storm->guest_port.port != NULL && i < 2 * storm->options.pairs_count; i++)
		print_queue(storm, i);
	printf("],\"corrupted\":%" PRIu64 ",\"strayed\":%" PRIu64
	       ",\"moves_done\":%u,\"moves_refused\":%u,\"stops\":%u,"
	       "\"disables\":%u,\"swaps\":%u,\"reconnects\":%u,\"reboots\":%u,\"hotplugs\":%u,\"logs\":%u,\"positions_"
	       "wrong\":%u,\"log_pages\":%u,"
	       "\"log_missing\":%u}\n",
	       storm->books.corrupted, storm->books.strayed, counts->moves_done, counts->moves_refused, counts->stops,
	       counts->disables, counts->swaps, counts->reconnects, counts->reboots, counts->hotplugs, counts->logs,
	       counts->positions_wrong, counts->log_pages, counts->log_missing);
}

int
main(int argc, char **argv)
{
	static struct storm storm;
	uint64_t begin_ms;

	parse(argc, argv, &storm.options);
	fprintf(stderr, "storm: seed %u\n", storm.options.seed);
	open_all(&storm);
	begin_ms = rp_wire_clock_ms();
	run(&storm);
	settle(&storm);
	print(&storm, rp_wire_clock_ms() - begin_ms);
	/* A switch that sees its frontends go may forget what it has counted. */
	fflush(stdout);
	while (getchar() != EOF)
		;
	station_close(&storm.guest);
	if (storm.peers[STORM_SOFTWARE].frontend != NULL)
		station_close(&storm.peers[STORM_SOFTWARE]);
	if (storm.peers[STORM_HARDWARE].frontend != NULL)
		station_close(&storm.peers[STORM_HARDWARE]);
	served_close(&storm.guest_port);
	served_close(&storm.peer_port);
	books_close(&storm.books);
	return 0;
}
