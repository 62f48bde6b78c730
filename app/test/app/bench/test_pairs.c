/* SPDX-License-Identifier: BSD-3-Clause */

/* Which pairs are in a row, and what a row says of them. */

#include <errno.h>
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

#define SECOND_NS 1000000000ull

static bool interrupted;
static uint64_t clock_ns;

/* The linker puts it in the place of the C library's: time goes when the test says so. */
int __wrap_clock_gettime(clockid_t id, struct timespec *ret_time);

int
__wrap_clock_gettime(clockid_t id, struct timespec *ret_time)
{
	(void)id;
	*ret_time = (struct timespec){(time_t)(clock_ns / SECOND_NS), (long)(clock_ns % SECOND_NS)};
	return 0;
}

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

/* Each half of a pair takes a second, and is as near or far as `hops` says. */
static int
a_second(void *ctx, double *ret_values)
{
	(void)ctx;
	clock_ns += SECOND_NS;
	ret_values[0] = 1;
	return 0;
}

static double
two_near_one_far(void *ctx)
{
	unsigned int *looks = ctx;

	/* Three looks at each pair. */
	return (*looks)++ / 3 % 3 == 2 ? FAR_NS : NEAR_NS;
}

struct ending {
	unsigned int seconds, share, wanted, least; /* what is given */
	bool once;
	unsigned int near, far; /* pairs */
	unsigned int ends_s;
};

static void
check_ending(const struct ending *ending)
{
	static const struct bench_pairs_ops timed = {a_second, a_second, two_near_one_far};
	const struct bench_options options = {.once = ending->once,
					      .deadline_ns = clock_ns + ending->seconds * SECOND_NS};
	const struct bench_pairs_config config = {
		.options = &options,
		.figures = &figure,
		.figures_count = 1,
		.peer = "another",
		.share = ending->share,
		.pairs_wanted = ending->wanted,
		.pairs_least = ending->least,
	};
	const uint64_t began_ns = clock_ns;
	static struct bench_rows rows;
	unsigned int looks = 0;

	rows.count = 0;
	assert_int_equal(bench_pairs_run(&config, &timed, &looks, &rows), 0);
	assert_int_equal((clock_ns - began_ns) / SECOND_NS, ending->ends_s);
	assert_int_equal(rows.count, (ending->near > 0) + (ending->far > 0));
	assert_int_equal(rows.rows[0].placement, ending->near > 0 ? PLACE_NEAR : PLACE_FAR);
	assert_int_equal(rows.rows[0].runs, ending->near > 0 ? ending->near : ending->far);
	if (rows.count > 1)
		assert_int_equal(rows.rows[1].runs, ending->far);
}

/* Warming up is the first near one, and takes its time. */
static void
it_ends_in_time(void **state)
{
	static const struct ending endings[] = {
		/* Enough of one placement, whatever there is of the other. */
		{.seconds = 1000, .wanted = 6, .least = 2, .near = 6, .far = 3, .ends_s = 20},
		/* Its share is over: content with the least. */
		{.seconds = 30, .share = 3, .wanted = 50, .least = 2, .near = 3, .far = 1, .ends_s = 10},
		/* Or with more, until it has twice its share; */
		{.seconds = 30, .share = 3, .wanted = 50, .least = 5, .near = 5, .far = 2, .ends_s = 16},
		{.seconds = 30, .share = 3, .wanted = 50, .least = 40, .near = 6, .far = 3, .ends_s = 20},
		/* but the last ones have no more than there is. */
		{.seconds = 20, .share = 2, .wanted = 50, .least = 40, .near = 3, .far = 1, .ends_s = 10},
		{.seconds = 10, .share = 1, .wanted = 50, .least = 40, .near = 3, .far = 1, .ends_s = 10},
		{.seconds = 10, .share = 0, .wanted = 50, .least = 40, .near = 3, .far = 1, .ends_s = 10},
		/* One in any case. */
		{.seconds = 0, .wanted = 50, .least = 40, .near = 1, .ends_s = 4},
		{.seconds = 1000, .wanted = 50, .once = true, .near = 1, .ends_s = 2},
	};
	unsigned int i;

	(void)state;
	clock_ns = 1000 * SECOND_NS;
	for (i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
		check_ending(&endings[i]);
}

static void
there_is_no_room_for_more_pairs(void **state)
{
	const struct ending all = {.seconds = 100000,
				   .wanted = 1000,
				   .near = BENCH_PAIRS_MAX * 2 / 3,
				   .far = BENCH_PAIRS_MAX / 3 + 1,
				   .ends_s = 2 * (BENCH_PAIRS_MAX + 1)};

	(void)state;
	check_ending(&all);
}

static int
no_more(void *ctx, double *ret_values)
{
	(void)ctx;
	(void)ret_values;
	return -EBADMSG;
}

static void
an_error_of_either_ends_it_without_a_row(void **state)
{
	static const struct bench_pairs_ops of_ours = {no_more, a_second, two_near_one_far},
					    of_the_peer = {a_second, no_more, two_near_one_far};
	const struct bench_options options = {.deadline_ns = clock_ns + SECOND_NS};
	const struct bench_pairs_config config = {.options = &options, .figures = &figure, .figures_count = 1};
	static struct bench_rows rows;
	unsigned int looks = 0;

	(void)state;
	rows.count = 0;
	assert_int_equal(bench_pairs_run(&config, &of_ours, &looks, &rows), -EBADMSG);
	assert_int_equal(bench_pairs_run(&config, &of_the_peer, &looks, &rows), -EBADMSG);
	assert_int_equal(rows.count, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_ratio_is_the_median_of_the_pairs_ratios),
		cmocka_unit_test(an_interval_is_of_the_pairs_of_its_row),
		cmocka_unit_test(nothing_is_begun_when_it_is_to_end),
		cmocka_unit_test(it_ends_in_time),
		cmocka_unit_test(there_is_no_room_for_more_pairs),
		cmocka_unit_test(an_error_of_either_ends_it_without_a_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
