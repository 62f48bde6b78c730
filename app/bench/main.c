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

static int
parse(int argc, char **argv, struct bench_options *options)
{
	int i;

	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--quick") != 0) {
			fprintf(stderr, "ringpass-bench: '%s', expected --quick or nothing\n", argv[i]);
			return -1;
		}
		options->quick = true;
	}
	return 0;
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
	struct bench_rows rows = {0};
	int rc;

	if (parse(argc, argv, &options) < 0)
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
	rc = bench_kick(&options, &rows);
	report_table(&rows);
	rte_eal_cleanup();
	return rc < 0 || bench_interrupted() ? EXIT_FAILURE : EXIT_SUCCESS;
}
