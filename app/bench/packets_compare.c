/* SPDX-License-Identifier: BSD-3-Clause */
#include "packets.h"

#define RUN_QUICK_NS 20000000ull
#define RUN_NS 40000000ull
/* Each is a median of many rounds already, and no placement is in it. */
#define ALONE_PAIRS 4u

struct comparison {
	struct packets_rig *rig;
	const struct packets_measure *measure;
};

static int
run_one(const struct comparison *comparison, enum packets_device device, double *ret_values)
{
	struct packets_result result = {0};
	int rc = packets_rig_measure(comparison->rig, device, &comparison->measure->load,
				     comparison->rig->options->quick ? RUN_QUICK_NS : RUN_NS, &result);

	ret_values[0] = result.kpps;
	ret_values[1] = 100 * result.idle_share;
	return rc;
}

static int
run_ours(void *ctx, double *ret_values)
{
	const struct comparison *comparison = ctx;

	return run_one(comparison, comparison->measure->ours, ret_values);
}

static int
run_peer(void *ctx, double *ret_values)
{
	const struct comparison *comparison = ctx;

	return run_one(comparison, comparison->measure->theirs, ret_values);
}

static double
hop_ns(void *ctx)
{
	const struct comparison *comparison = ctx;

	return packets_rig_hop_ns(comparison->rig);
}

int
packets_compare(struct packets_rig *rig, const struct packets_measure *measure, struct bench_rows *rows)
{
	static const struct bench_pairs_ops ops = {run_ours, run_peer, hop_ns};
	const struct bench_figure figures[] = {{measure->bench, "kpps"}, {measure->idle_bench, "%"}};
	const struct bench_pairs_config config = {
		.options = rig->options,
		.figures = figures,
		.figures_count = 2,
		.peer = measure->peer,
		.pairs_wanted = measure->pairs_wanted,
		.share = measure->share,
	};
	struct comparison comparison = {rig, measure};

	return bench_pairs_run(&config, &ops, &comparison, rows);
}

static int
run_ours_alone(void *ctx, double *ret_values)
{
	const struct comparison *comparison = ctx;

	return packets_rig_measure_alone(comparison->rig, comparison->measure->ours, &comparison->measure->load,
					 ret_values);
}

static int
run_peer_alone(void *ctx, double *ret_values)
{
	const struct comparison *comparison = ctx;

	return packets_rig_measure_alone(comparison->rig, comparison->measure->theirs, &comparison->measure->load,
					 ret_values);
}

int
packets_compare_alone(struct packets_rig *rig, const struct packets_measure *measure, struct bench_rows *rows)
{
	static const struct bench_pairs_ops ops = {run_ours_alone, run_peer_alone, NULL};
	const struct bench_figure figure = {measure->alone_bench, "ns"};
	const struct bench_pairs_config config = {
		.options = rig->options,
		.figures = &figure,
		.figures_count = 1,
		.peer = measure->peer,
		.pairs_wanted = ALONE_PAIRS,
	};
	struct comparison comparison = {rig, measure};

	return bench_pairs_run(&config, &ops, &comparison, rows);
}
