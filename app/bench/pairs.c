/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "bench.h"

/* All that was measured; a figure's pairs are one behind the other. */
struct taken {
	struct bench_pair pairs[BENCH_FIGURES_MAX][BENCH_PAIRS_MAX];
	unsigned int of[PLACES_COUNT];
	unsigned int count;
};

static double
look(const struct bench_pairs_ops *ops, void *ctx)
{
	return ops->hop_ns == NULL ? 0 : ops->hop_ns(ctx);
}

/* Three looks that agree, or the pair is nobody's. */
static enum place
classify(const struct bench_pairs_ops *ops, double before_ns, double between_ns, double after_ns)
{
	enum place place = place_of(between_ns);

	if (ops->hop_ns == NULL)
		return PLACE_ONE;
	return place_of(before_ns) == place && place_of(after_ns) == place ? place : PLACE_MIXED;
}

static int
take_pair(const struct bench_pairs_config *config, const struct bench_pairs_ops *ops, void *ctx, struct taken *taken)
{
	double ours[BENCH_FIGURES_MAX] = {0}, peer[BENCH_FIGURES_MAX] = {0};
	double before_ns = look(ops, ctx), between_ns, after_ns;
	enum place placement;
	unsigned int i;
	int rc = ops->ours(ctx, ours);

	if (rc < 0)
		return rc;
	between_ns = look(ops, ctx);
	if (ops->peer != NULL)
		rc = ops->peer(ctx, peer);
	if (rc < 0)
		return rc;
	after_ns = ops->peer == NULL ? between_ns : look(ops, ctx);
	placement = classify(ops, before_ns, between_ns, after_ns);
	for (i = 0; i < config->figures_count; i++)
		taken->pairs[i][taken->count] = (struct bench_pair){ours[i], peer[i], between_ns, placement};
	taken->of[placement]++;
	taken->count++;
	return 0;
}

static unsigned int
pairs_wanted(const struct bench_pairs_config *config)
{
	if (config->options->once)
		return 1;
	if (config->pairs_wanted > 0)
		return config->pairs_wanted;
	return config->options->quick ? BENCH_PAIRS_WANTED : 2 * BENCH_PAIRS_WANTED;
}

static unsigned int
pairs_least(const struct bench_pairs_config *config)
{
	return config->pairs_least > 0 ? config->pairs_least : BENCH_PAIRS_WANTED;
}

/* When to be content with what makes a comparison, and when to end anyhow. */
struct time_limits {
	uint64_t content_ns;
	uint64_t end_ns;
};

static struct time_limits
limits_of(const struct bench_pairs_config *config)
{
	uint64_t now_ns = bench_now_ns(), end_ns = config->options->deadline_ns;
	uint64_t share_ns = end_ns <= now_ns ? 0 : (end_ns - now_ns) / (config->share > 0 ? config->share : 1);

	/* Others often end before their time; but one alone is not to be left with none. */
	return (struct time_limits){now_ns + share_ns, now_ns + (config->share > 2 ? 2 : 1) * share_ns};
}

/* Of the placement that has the most; the host decides which comes, and any one makes a comparison. */
static unsigned int
most_of_one_place(const struct taken *taken)
{
	unsigned int most = 0;
	enum place place;

	for (place = PLACE_NEAR; place < PLACES_COUNT; place++) {
		if (place != PLACE_MIXED && taken->of[place] > most)
			most = taken->of[place];
	}
	return most;
}

/* A late pair is better than none. */
static bool
has_enough(const struct bench_pairs_config *config, const struct taken *taken, const struct time_limits *limits)
{
	unsigned int most = most_of_one_place(taken);
	uint64_t now_ns = bench_now_ns();

	if (bench_interrupted() || taken->count == BENCH_PAIRS_MAX || most >= pairs_wanted(config))
		return true;
	if (taken->count == 0)
		return false;
	return config->options->once || now_ns >= limits->end_ns ||
	       (now_ns >= limits->content_ns && most >= pairs_least(config));
}

static void
report(const struct bench_pairs_config *config, const struct bench_pairs_ops *ops, const struct taken *taken,
       struct bench_rows *rows)
{
	/* Mixed pairs are nobody's, unless there is nothing else. */
	bool only_mixed = taken->of[PLACE_MIXED] == taken->count;
	struct bench_row row = {.peer = ops->peer != NULL ? config->peer : NULL};
	unsigned int i;

	for (row.placement = PLACE_NEAR; row.placement < PLACES_COUNT; row.placement++) {
		if (row.placement == PLACE_MIXED && !only_mixed)
			continue;
		for (i = 0; i < config->figures_count; i++) {
			row.bench = config->figures[i].bench;
			row.unit = config->figures[i].unit;
			report_pairs(rows, &row, taken->pairs[i], taken->count);
		}
		if (config->low_bench != NULL)
			report_interval(rows, &row, config, taken->pairs[0], taken->count);
	}
	if (taken->of[PLACE_MIXED] > 0)
		fprintf(stderr, "ringpass-bench: %s: %u of %u pairs %s, the CPUs moved\n", config->figures[0].bench,
			taken->of[PLACE_MIXED], taken->count, only_mixed ? "are mixed" : "discarded");
}

int
bench_pairs_run(const struct bench_pairs_config *config, const struct bench_pairs_ops *ops, void *ctx,
		struct bench_rows *rows)
{
	const struct time_limits limits = limits_of(config);
	struct taken taken = {.count = 0};
	int rc = 0;

	if (bench_interrupted())
		return 0;
	if (!config->options->once) {
		rc = take_pair(config, ops, ctx, &taken);
		taken = (struct taken){.count = 0};
	}
	while (rc == 0 && !has_enough(config, &taken, &limits))
		rc = take_pair(config, ops, ctx, &taken);
	if (rc < 0) {
		fprintf(stderr, "ringpass-bench: %s: %s\n", config->figures[0].bench, strerror(-rc));
		return rc;
	}
	report(config, ops, &taken, rows);
	return 0;
}
