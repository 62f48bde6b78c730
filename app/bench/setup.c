/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * From a backend's first answer to the first packet that the guest has back: a port with an accelerator
 * behind it, whose own round trips are included, against librte_vhost. What librte_vhost's listener takes
 * before it looks at a new connection, up to a second, is not in it: it lies before the first answer. All
 * threads sleep then, and so they do for as long before ours: both begin with caches and clocks that have rested.
 */

#include "setup_rig.h"

static int
lap(struct setup_rig *rig, bool ours, double *ret_values)
{
	double lap_ns = 0;
	int rc = setup_rig_lap(rig, ours, &lap_ns);

	ret_values[0] = lap_ns / 1000;
	return rc;
}

static int
ours(void *ctx, double *ret_values)
{
	return lap(ctx, true, ret_values);
}

static int
peer(void *ctx, double *ret_values)
{
	return lap(ctx, false, ret_values);
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

	return rc < 0 || bench_interrupted() ? rc : run(options, rows, "setup_128_pairs", 128, 1);
}
