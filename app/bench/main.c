/* SPDX-License-Identifier: BSD-3-Clause */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>

#include "bench.h"

#define EXIT_ARGUMENTS 2

static volatile sig_atomic_t interrupted;

/* Whoever reads what is printed may go as well; directories and sockets are tidied up for any of these. */
static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};

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

/*
 * What there is. A scenario has its share of the two minutes (fifteen) that all together may take, and says which
 * rows a quick run has; others come with a whole one.
 */
static const struct scenario {
	const char *name;
	int (*run)(const struct bench_options *options, struct bench_rows *rows);
	unsigned int quick_s, whole_s;
	const char *benches;
} scenarios[] = {
	{"doorbell", bench_doorbell, 10, 60,
	 "doorbell_p50 doorbell_p99 doorbell_256_pages_p50 doorbell_256_pages_p99 doorbell_load_p50 "
	 "doorbell_load_p99 doorbell_vhost_p50 doorbell_vhost_p99 doorbell_256_p50 doorbell_256_p99 "
	 "doorbell_vhost_256_p50 doorbell_vhost_256_p99"},
	{"interrupt", bench_interrupt, 6, 30,
	 "interrupt_p50 interrupt_p99 interrupt_device_cpu_p50 interrupt_device_cpu_p99"},
	{"host_cpu", bench_host_cpu, 4, 20, "host_cpu_direct_ms_per_mpkt host_cpu_relayed_ms_per_mpkt"},
	{"device_ns", bench_device_ns, 6, 20,
	 "device_ns_split_64 device_ns_split_1518 device_ns_packed_64 device_ns_packed_1518 device_ns_switch_split_64 "
	 "device_ns_switch_split_1518 device_ns_switch_packed_64 device_ns_switch_packed_1518"},
	{"pps_split", bench_pps_split, 4, 45, "pps_split_64 idle_polls_split_64 pps_split_1518 idle_polls_split_1518"},
	{"pps_packed", bench_pps_packed, 4, 45,
	 "pps_packed_64 idle_polls_packed_64 pps_packed_1518 idle_polls_packed_1518"},
	{"pps_switch_split", bench_pps_switch_split, 4, 45,
	 "pps_switch_split_64 idle_polls_switch_split_64 pps_switch_split_1518 idle_polls_switch_split_1518"},
	{"pps_switch_packed", bench_pps_switch_packed, 4, 45,
	 "pps_switch_packed_64 idle_polls_switch_packed_64 pps_switch_packed_1518 idle_polls_switch_packed_1518"},
	{"pps_parity", bench_pps_parity, 15, 60,
	 "pps_parity_split_64 idle_polls_parity_split_64 pps_parity_split_64_low pps_parity_split_64_high "
	 "pps_parity_packed_64 idle_polls_parity_packed_64 pps_parity_packed_64_low pps_parity_packed_64_high"},
	{"setup", bench_setup, 19, 80, "setup_1_pair setup_128_pairs"},
	{"interposed", bench_interposed, 6, 30, "interposed_pps interposed_pps_low interposed_pps_high"},
	{"moves", bench_moves, 8, 30,
	 "move_blackout_p50_us move_blackout_p99_us move_rx_p50_us move_tx_p50_us "
	 "move_to_software_p50_us move_to_hardware_p50_us move_gap_us move_accelerators_p50_us "
	 "move_accelerators_p99_us"},
	{"software_request", bench_software_request, 3, 20, "request_features request_enable request_restart"},
	{"translate", bench_translate, 5, 60,
	 "translate_1 translate_1_many map_unmap_1 translate_1m translate_1m_many map_unmap_1m map_bytes_1m "
	 "map_mmaps_1m"},
	{"vfio_user_access", bench_vfio_user_access, 3, 20,
	 "vfu_region_rtt vfu_region_rtt_waiting vfu_region_rtt_polled"},
	{"vfio_user_dma", bench_vfio_user_dma, 5, 60,
	 "vfu_dma_read_4k vfu_dma_read_4k_x32 vfu_dma_write_4k vfu_dma_write_4k_x32 vfu_dma_read_1m "
	 "vfu_dma_read_1m_x32 "
	 "vfu_dma_write_1m vfu_dma_write_1m_x32"},
	{"vfio_user_map", bench_vfio_user_map, 2, 15, "vfu_dma_map vfu_dma_unmap vfu_dma_map_file vfu_dma_unmap_file"},
	{"wake", bench_wake, 3, 20, "wake_p50 wake_p99 wake_timer_p50 wake_timer_p99"},
};

#define SCENARIOS_COUNT (sizeof(scenarios) / sizeof(scenarios[0]))
#define ALL_MASK ((UINT64_C(1) << SCENARIOS_COUNT) - 1)

/* For usertools/ringpass-bench, which runs them one by one. */
static void
list(void)
{
	unsigned int i;

	for (i = 0; i < SCENARIOS_COUNT; i++)
		printf("{\"scenario\":\"%s\",\"quick_s\":%u,\"whole_s\":%u,\"benches\":\"%s\"}\n", scenarios[i].name,
		       scenarios[i].quick_s, scenarios[i].whole_s, scenarios[i].benches);
}

/* @return the bit of a scenario, 0 when there is none of that name. */
static uint64_t
find(const char *name)
{
	unsigned int i;

	for (i = 0; i < SCENARIOS_COUNT; i++) {
		if (strcmp(scenarios[i].name, name) == 0)
			return UINT64_C(1) << i;
	}
	return 0;
}

/* @return 0, or -1 after a line on stderr. */
static int
parse(int argc, char **argv, struct bench_options *options, uint64_t *ret_chosen_mask)
{
	uint64_t chosen_mask = 0, mask;
	int i;

	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--quick") == 0 || strcmp(argv[i], "--once") == 0) {
			options->quick = true;
			options->once = options->once || strcmp(argv[i], "--once") == 0;
			continue;
		}
		mask = find(argv[i]);
		if (mask == 0) {
			fprintf(stderr,
				"ringpass-bench: '%s', expected --list, --quick, --once, or a scenario of "
				"doc/guides/bench.md\n",
				argv[i]);
			return -1;
		}
		chosen_mask |= mask;
	}
	*ret_chosen_mask = chosen_mask == 0 ? ALL_MASK : chosen_mask;
	return 0;
}

static int
run(const struct bench_options *options, uint64_t chosen_mask, struct bench_rows *rows)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; rc == 0 && !bench_interrupted() && i < SCENARIOS_COUNT; i++) {
		unsigned int budget_s = options->quick ? scenarios[i].quick_s : scenarios[i].whole_s;
		struct bench_options now = *options;

		if ((chosen_mask & UINT64_C(1) << i) == 0)
			continue;
		now.deadline_ns = bench_now_ns() + budget_s * UINT64_C(1000000000);
		rc = scenarios[i].run(&now, rows);
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
	uint64_t chosen_mask = 0;
	unsigned int i;
	int rc;

	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		list();
		return EXIT_SUCCESS;
	}
	if (parse(argc, argv, &options, &chosen_mask) < 0)
		return EXIT_ARGUMENTS;
	if (place_choose_cpus(&options) < 0) {
		fprintf(stderr, "ringpass-bench: one CPU, expected two: a guest and a device that share one wait for "
				"the scheduler, not for each other\n");
		return EXIT_FAILURE;
	}
	for (i = 0; i < sizeof(ending_signals) / sizeof(ending_signals[0]); i++)
		signal(ending_signals[i], on_signal);
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
