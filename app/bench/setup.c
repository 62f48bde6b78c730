/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * From a backend's first answer to the first packet that the guest has back: a port with an accelerator
 * behind it, whose own round trips are included, against librte_vhost. What librte_vhost's listener takes
 * before it looks at a new connection, a second, is not in it: it lies before the first answer.
 */

#include "setup_rig.h"

/* Of librte_vhost's there is one in a pair: each costs that second. */
#define LAPS 3u

static int
ours(void *ctx, double *ret_values)
{
	double laps[LAPS];
	unsigned int i;
	int rc = 0;

	for (i = 0; rc == 0 && i < LAPS; i++)
		rc = setup_rig_lap(ctx, true, &laps[i]);
	if (rc == 0)
		ret_values[0] = report_percentile(laps, LAPS, 50) / 1000;
	return rc;
}

static int
peer(void *ctx, double *ret_values)
{
	double lap_ns = 0;
	int rc = setup_rig_lap(ctx, false, &lap_ns);

	ret_values[0] = lap_ns / 1000;
	return rc;
}

static double
hop_ns(void *ctx)
{
	struct setup_rig *rig = ctx;

	setup_rig_do(rig, SETUP_TASK_ECHO);
	return place_hop_ns(&rig->probe);
}

static int
run(const struct bench_options *options, struct bench_rows *rows, const char *name, unsigned int pairs_count,
    unsigned int share)
{
	static const struct bench_pairs_ops ops = {.ours = ours, .peer = peer, .hop_ns = hop_ns};
	const struct bench_figure figure = {.bench = name, .unit = "us"};
	const struct bench_pairs_config config = {
		.options = options,
		.figures = &figure,
		.figures_count = 1,
		.peer = "librte_vhost",
		.share = share,
	};
	struct setup_rig rig;
	int rc = setup_rig_open(&rig, options, pairs_count);

	if (rc == 0)
		rc = bench_pairs_run(&config, &ops, &rig, rows);
	setup_rig_close(&rig);
	return rc;
}

int
bench_setup(const struct bench_options *options, struct bench_rows *rows)
{
	int rc = run(options, rows, "setup_1_pair", 1, 2);

	return rc < 0 ? rc : run(options, rows, "setup_128_pairs", 128, 1);
}
