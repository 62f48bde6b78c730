/* SPDX-License-Identifier: BSD-3-Clause */

/* Which pairs are in a row, and what a row says of them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench.h"

#define NEAR_NS 50.0
#define FAR_NS 250.0
#define PAIRS 4u
#define EXACT 0.001F

static bool interrupted;

bool
bench_interrupted(void)
{
	return interrupted;
}

/* What each pair finds; the first one warms up. */
struct script {
	const double *ours, *peer, *hops;
	unsigned int ours_at, peer_at, hops_at;
};

static int
ours(void *ctx, double *ret_values)
{
	struct script *script = ctx;

	ret_values[0] = script->ours[script->ours_at++];
	return 0;
}

static int
peer(void *ctx, double *ret_values)
{
	struct script *script = ctx;

	ret_values[0] = script->peer[script->peer_at++];
	return 0;
}

/* Three looks at each pair. */
static double
hop_ns(void *ctx)
{
	struct script *script = ctx;

	return script->hops[script->hops_at++ / 3];
}

static const struct bench_pairs_ops ops = {ours, peer, hop_ns};
static const struct bench_figure figure = {"figure", "ns"};

static void
run(struct script *script, struct bench_rows *rows)
{
	const struct bench_options options = {.deadline_ns = bench_now_ns() + 1000000000000u};
	const struct bench_pairs_config config = {
		.options = &options,
		.figures = &figure,
		.figures_count = 1,
		.peer = "another",
		.pairs_wanted = PAIRS,
		.low_bench = "low",
		.high_bench = "high",
	};

	assert_int_equal(bench_pairs_run(&config, &ops, script, rows), 0);
}

static void
the_ratio_is_the_median_of_the_pairs_ratios(void **state)
{
	static const double of_ours[] = {7, 1, 30, 4, 2}, of_peer[] = {1, 10, 10, 1, 20},
			    hops[] = {NEAR_NS, NEAR_NS, NEAR_NS, NEAR_NS, NEAR_NS};
	struct script script = {of_ours, of_peer, hops, 0, 0, 0};
	static struct bench_rows rows;

	(void)state;
	rows.count = 0;
	run(&script, &rows);
	assert_int_equal(rows.count, 3);
	/* Of 0.1, 3, 4 and 0.1; the medians of both sides are 2 and 10. */
	assert_float_equal(rows.rows[0].ratio, 0.1, EXACT);
	assert_float_equal(rows.rows[0].value, 2, EXACT);
	assert_float_equal(rows.rows[0].peer_value, 10, EXACT);
	assert_int_equal(rows.rows[0].runs, PAIRS);
}

static void
an_interval_is_of_the_pairs_of_its_row(void **state)
{
	/* The first warms up; the third moved, the fifth is far. */
	static const double of_ours[] = {900, 10, 800, 11, 500, 12, 13}, of_peer[] = {10, 10, 10, 10, 10, 10, 10},
			    hops[] = {NEAR_NS, NEAR_NS, 150, NEAR_NS, FAR_NS, NEAR_NS, NEAR_NS};
	struct script script = {of_ours, of_peer, hops, 0, 0, 0};
	static struct bench_rows rows;

	(void)state;
	rows.count = 0;
	run(&script, &rows);
	assert_int_equal(rows.count, 6);
	assert_int_equal(rows.rows[0].placement, PLACE_NEAR);
	assert_int_equal(rows.rows[0].runs, PAIRS);
	assert_string_equal(rows.rows[1].bench, "low");
	assert_int_equal(rows.rows[1].runs, PAIRS);
	assert_float_equal(rows.rows[1].value, 100, EXACT);
	assert_string_equal(rows.rows[2].bench, "high");
	assert_float_equal(rows.rows[2].value, 130, EXACT);
	assert_int_equal(rows.rows[3].placement, PLACE_FAR);
	assert_int_equal(rows.rows[3].runs, 1);
	assert_float_equal(rows.rows[4].value, 5000, EXACT);
}

static void
nothing_is_begun_when_it_is_to_end(void **state)
{
	struct script script = {.ours = NULL};
	static struct bench_rows rows;

	(void)state;
	rows.count = 0;
	interrupted = true;
	run(&script, &rows);
	interrupted = false;
	assert_int_equal(script.hops_at, 0);
	assert_int_equal(rows.count, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_ratio_is_the_median_of_the_pairs_ratios),
		cmocka_unit_test(an_interval_is_of_the_pairs_of_its_row),
		cmocka_unit_test(nothing_is_begun_when_it_is_to_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
