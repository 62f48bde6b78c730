/* SPDX-License-Identifier: BSD-3-Clause */
#include <argp.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "master.h"

#define EXIT_USAGE 2

enum {
	OPTION_LISTEN = 256,
	OPTION_PROFILE,
	OPTION_PAIRS,
	OPTION_QUEUE_SIZE,
	OPTION_PACKETS,
	OPTION_ROUNDS,
	OPTION_WAIT,
	OPTION_PACKED,
	OPTION_BLK,
	OPTION_GUEST,
	OPTION_PAUSE,
	OPTION_JSON,
};

/* clang-format off */
static const struct argp_option option_table[] = {
	{ "listen", OPTION_LISTEN, NULL, 0, "listen on SOCKET, instead of connecting to it", 0 },
	{ "profile", OPTION_PROFILE, "NAME", 0, "standard (the default), extended or vfio2018", 0 },
	{ "queue-pairs", OPTION_PAIRS, "N", 0, "1 to 128 (default 1)", 0 },
	{ "queue-size", OPTION_QUEUE_SIZE, "N", 0, "a power of two from 4 to 1024 (default 256)", 0 },
	{ "packets", OPTION_PACKETS, "N", 0, "to send on each transmit queue, in each round (default 100)", 0 },
	{ "rounds", OPTION_ROUNDS, "N", 0, "so often the rings are started and stopped (default 2)", 0 },
	{ "wait", OPTION_WAIT, "MS", 0, "so long for doorbells, after each start (default 1000; --blk: 0)", 0 },
	{ "packed", OPTION_PACKED, NULL, 0, "packed rings", 0 },
	{ "blk", OPTION_BLK, NULL, 0, "a block device instead of a net device: read its size and sector 0", 0 },
	{ "guest", OPTION_GUEST, NULL, 0, "a guest of KVM's kicks, and takes the interrupts", 0 },
	{ "pause", OPTION_PAUSE, NULL, 0,
	  "before and after the work of each round, say so and wait for a line on standard input", 0 },
	{ "json", OPTION_JSON, NULL, 0, "say it in JSON", 0 },
	{ 0 },
};
/* clang-format on */

static volatile sig_atomic_t is_asked_to_end;

static void
on_end(int signal_number)
{
	(void)signal_number;
	is_asked_to_end = 1;
}

static unsigned int
number(struct argp_state *state, const char *name, const char *text, unsigned long min, unsigned long max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' || value < min || value > max)
		argp_error(state, "--%s: found '%s', expected %lu to %lu", name, text, min, max);
	return (unsigned int)value;
}

static void
check_together(struct argp_state *state, struct master_options *options)
{
	if (options->socket_path == NULL)
		argp_error(state, "SOCKET: missing, expected the path of a vhost-user socket");
	if ((options->queue_size & (options->queue_size - 1)) != 0)
		argp_error(state, "--queue-size: found '%u', expected a power of two", options->queue_size);
	if (options->guest && options->pairs > GUEST_QUEUES_MAX / 2)
		argp_error(state, "--queue-pairs: found '%u', expected at most %d with --guest", options->pairs,
			   GUEST_QUEUES_MAX / 2);
	if (options->wait_ms == UINT32_MAX)
		options->wait_ms = options->blk ? 0 : 1000;
}

static error_t
parse_option(int key, char *argument, struct argp_state *state)
{
	struct master_options *options = state->input;

	switch (key) {
	case OPTION_LISTEN:
		options->listen = true;
		return 0;
	case OPTION_PROFILE:
		if (rp_vhu_profile_parse(argument, &options->profile) < 0)
			argp_error(state, "--profile: found '%s', expected standard, extended or vfio2018", argument);
		return 0;
	case OPTION_PAIRS:
		options->pairs = number(state, "queue-pairs", argument, 1, MASTER_PAIRS_MAX);
		return 0;
	case OPTION_QUEUE_SIZE:
		options->queue_size = number(state, "queue-size", argument, 4, MASTER_QUEUE_SIZE_MAX);
		return 0;
	case OPTION_PACKETS:
		options->packets = number(state, "packets", argument, 0, 100000000);
		return 0;
	case OPTION_ROUNDS:
		options->rounds = number(state, "rounds", argument, 1, 1000000);
		return 0;
	case OPTION_WAIT:
		options->wait_ms = number(state, "wait", argument, 0, 600000);
		return 0;
	case OPTION_PACKED:
		options->packed = true;
		return 0;
	case OPTION_BLK:
		options->blk = true;
		return 0;
	case OPTION_GUEST:
		options->guest = true;
		return 0;
	case OPTION_PAUSE:
		options->pause = true;
		return 0;
	case OPTION_JSON:
		options->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (options->socket_path != NULL)
			argp_error(state, "found '%s', expected one SOCKET", argument);
		options->socket_path = argument;
		return 0;
	case ARGP_KEY_END:
		check_together(state, options);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const char *
role(const struct master *master, unsigned int queue)
{
	return master->options->blk ? "request" : queue % 2 == 0 ? "receive" : "transmit";
}

static void
print_table(const struct master *master)
{
	const struct master_options *options = master->options;
	unsigned int i;

	printf("profile %s, protocol features 0x%" PRIx64 ", features 0x%" PRIx64 ", %s rings, %u rounds\n",
	       rp_vhu_profile_name(options->profile), master->protocol_features, master->features,
	       options->packed ? "packed" : "split", options->rounds);
	if (options->blk)
		printf("%" PRIu64 " sectors; sector 0 begins with %02x %02x %02x %02x\n", master->capacity_sectors,
		       master->sector[0], master->sector[1], master->sector[2], master->sector[3]);
	printf("VFIO files: %u at most\n", master->vfio_files_most);
	if (options->guest)
		printf("KVM's VFIO device: %u files added, %u removed\n", master->files_added, master->files_removed);
	printf("kicks and interrupts: of %s\n\n", options->guest ? "a guest that KVM runs" : "this program, no guest");
	printf("queue  role      doorbell  mapped  doorbell kicks  eventfd kicks  interrupts    chains\n");
	for (i = 0; i < master->queues_count; i++) {
		const struct master_queue *queue = &master->queues[i];

		printf("%5u  %-8s  %-8s  %6u  %14" PRIu64 "  %13" PRIu64 "  %10" PRIu64 "  %8" PRIu64 "\n", i,
		       role(master, i), queue->doorbell ? "yes" : "no", queue->maps, queue->doorbell_kicks,
		       queue->eventfd_kicks, queue->interrupts, queue->chains);
	}
}

static void
print_json(const struct master *master)
{
	const struct master_options *options = master->options;
	unsigned int i;

	printf("{\"profile\": \"%s\", \"protocol_features\": \"0x%" PRIx64 "\", \"features\": \"0x%" PRIx64 "\", "
	       "\"packed\": %s, \"rounds\": %u, ",
	       rp_vhu_profile_name(options->profile), master->protocol_features, master->features,
	       options->packed ? "true" : "false", options->rounds);
	printf("\"guest\": %s, \"vfio_files\": %u, \"files_added\": %u, \"files_removed\": %u, ",
	       options->guest ? "true" : "false", master->vfio_files_most, master->files_added, master->files_removed);
	printf("\"capacity_sectors\": %" PRIu64 ", \"sector\": \"", master->capacity_sectors);
	for (i = 0; options->blk && i < MASTER_SECTOR_BYTES; i++)
		printf("%02x", master->sector[i]);
	printf("\", \"queues\": [");
	for (i = 0; i < master->queues_count; i++) {
		const struct master_queue *queue = &master->queues[i];

		printf("%s{\"role\": \"%s\", \"doorbell\": %s, \"maps\": %u, \"unmaps\": %u, \"doorbell_kicks\": "
		       "%" PRIu64 ", \"eventfd_kicks\": %" PRIu64 ", \"guest_kicks\": %" PRIu64
		       ", \"interrupts\": %" PRIu64 ", \"chains\": %" PRIu64 "}",
		       i == 0 ? "" : ", ", role(master, i), queue->doorbell ? "true" : "false", queue->maps,
		       queue->unmaps, queue->doorbell_kicks, queue->eventfd_kicks, queue->guest_kicks,
		       queue->interrupts, queue->chains);
	}
	printf("]}\n");
}

int
main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = option_table,
		.parser = parse_option,
		.args_doc = "SOCKET",
		.doc = "A VMM without a machine: a vhost-user frontend that sends packets, or reads a sector.",
	};
	struct master_options options = {
		.pairs = 1, .queue_size = 256, .packets = 100, .rounds = 2, .wait_ms = UINT32_MAX};
	const struct sigaction end = {.sa_handler = on_end};
	struct master master = {.options = &options, .memory_fd = -1};
	unsigned int i;
	int rc;

	argp_err_exit_status = EXIT_USAGE;
	if (argp_parse(&argp, argc, argv, 0, NULL, &options) != 0)
		return EXIT_USAGE;
	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGINT, &end, NULL);
	rc = master_open(&master);
	for (i = 0; rc == 0 && i < options.rounds && !is_asked_to_end; i++)
		rc = master_round(&master);
	master_leave(&master);
	if (rc == 0 && options.json)
		print_json(&master);
	else if (rc == 0)
		print_table(&master);
	master_close(&master);
	return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
