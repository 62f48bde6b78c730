/* SPDX-License-Identifier: BSD-3-Clause */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>

#include "bench.h"

#define EXIT_ARGUMENTS 2

static volatile sig_atomic_t interrupted;

static void
on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

bool
bench_interrupted(void)
{
	return interrupted != 0;
}

static const struct scenario {
	const char *name;
	int (*run)(const struct bench_options *options, struct bench_rows *rows);
} scenarios[] = {
	{"kick", bench_kick},
	{"software_request", bench_software_request},
	{"translate", bench_translate},
	{"vfio_user_access", bench_vfio_user_access},
	{"vfio_user_dma", bench_vfio_user_dma},
	{"vfio_user_map", bench_vfio_user_map},
};

#define SCENARIOS_COUNT (sizeof(scenarios) / sizeof(scenarios[0]))

/* @return the bit of a scenario, 0 when there is none of that name. */
static uint32_t
find(const char *name)
{
	unsigned int i;

	for (i = 0; i < SCENARIOS_COUNT; i++) {
		if (strcmp(scenarios[i].name, name) == 0)
			return 1u << i;
	}
	return 0;
}

static int
parse(int argc, char **argv, struct bench_options *options, uint32_t *ret_chosen_mask)
{
	uint32_t chosen_mask = 0, mask;
	int i;

	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--quick") == 0) {
			options->quick = true;
			continue;
		}
		mask = find(argv[i]);
		if (mask == 0) {
			fprintf(stderr, "ringpass-bench: '%s', expected --quick, or a name of doc/guides/bench.md\n",
				argv[i]);
			return -1;
		}
		chosen_mask |= mask;
	}
	*ret_chosen_mask = chosen_mask == 0 ? UINT32_MAX : chosen_mask;
	return 0;
}

static int
run(const struct bench_options *options, uint32_t chosen_mask, struct bench_rows *rows)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; rc == 0 && !bench_interrupted() && i < SCENARIOS_COUNT; i++) {
		if ((chosen_mask & 1u << i) != 0)
			rc = scenarios[i].run(options, rows);
	}
	return rc;
}

static int
start_dpdk(void)
{
	/* The EAL wants them writable. */
	static char words[][20] = {"ringpass-bench", "--no-huge", "--no-pci", "--no-telemetry",
				   "--no-shconf",    "-m",	  "64",	      "--log-level=error"};
	char *arguments[sizeof(words) / sizeof(words[0]) + 1] = {NULL};
	int i;

	for (i = 0; i < (int)(sizeof(words) / sizeof(words[0])); i++)
		arguments[i] = words[i];
	return rte_eal_init(i, arguments);
}

int
main(int argc, char **argv)
{
	struct bench_options options = {0};
	static struct bench_rows rows;
	uint32_t chosen_mask = 0;
	int rc;

	if (parse(argc, argv, &options, &chosen_mask) < 0)
		return EXIT_ARGUMENTS;
	if (place_choose_cpus(&options) < 0) {
		fprintf(stderr, "ringpass-bench: one CPU, expected two: a guest and a device that share one wait for "
				"the scheduler, not for each other\n");
		return EXIT_FAILURE;
	}
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	if (start_dpdk() < 0) {
		fprintf(stderr, "ringpass-bench: DPDK cannot start\n");
		return EXIT_FAILURE;
	}
	report_facts(&options);
	rc = run(&options, chosen_mask, &rows);
	report_table(&rows);
	rte_eal_cleanup();
	return rc < 0 || bench_interrupted() ? EXIT_FAILURE : EXIT_SUCCESS;
}
