/* SPDX-License-Identifier: BSD-3-Clause */
#include "moves_rig.h"

/*
 * How long nobody serves a ring that moves while it is busy, there and back: from the old
 * owner's last used entry to the new owner's first, less the drain that is asked for (of the transmit ring, which
 * stops before it and starts after it) and less the time between two used entries when nothing moves.
 */

#define MOVES_PER_LAP 50u /* of both rings, half of them to each side */
#define PAUSE_NS 3000000u
#define NS_PER_US 1e3
#define NS_PER_MS 1e6

enum figure {
	P50,
	P99,
	RX_P50,
	TX_P50,
	TO_SOFTWARE_P50,
	TO_HARDWARE_P50,
	GAP,
	FIGURES_COUNT,
};

struct samples {
	double us[MOVES_QUEUES * MOVES_PER_LAP];
	unsigned int count;
};

static void
add(struct samples *samples, double us)
{
	samples->us[samples->count++] = us;
}

/* Of none, 0. */
static double
percentile(struct samples *samples, unsigned int percent)
{
	return samples->count == 0 ? 0 : report_percentile(samples->us, samples->count, percent);
}

static void
evaluate(struct moves_book *books, void *ret_ctx)
{
	double *ret_values = ret_ctx;
	struct samples all = {.count = 0}, of_queue[MOVES_QUEUES] = {0}, to[MOVES_OWNERS_MAX] = {0};
	unsigned int queue, i;

	for (queue = 0; queue < MOVES_QUEUES; queue++) {
		const struct moves_book *book = &books[queue];
		double less_ns = moves_book_gap_ns(book) + (queue == MOVES_TX ? MOVES_DRAIN_MS * NS_PER_MS : 0);

		for (i = 0; i < moves_book_changes(book); i++) {
			double us = ((double)book->blackouts[i].ns - less_ns) / NS_PER_US;

			add(&all, us);
			add(&of_queue[queue], us);
			add(&to[book->blackouts[i].to], us);
		}
	}
	ret_values[P99] = percentile(&all, 99);
	ret_values[P50] = percentile(&all, 50);
	ret_values[RX_P50] = percentile(&of_queue[MOVES_RX], 50);
	ret_values[TX_P50] = percentile(&of_queue[MOVES_TX], 50);
	ret_values[TO_SOFTWARE_P50] = percentile(&to[MOVES_SOFTWARE], 50);
	ret_values[TO_HARDWARE_P50] = percentile(&to[MOVES_HARDWARE], 50);
	ret_values[GAP] = moves_book_gap_ns(&books[MOVES_TX]) / NS_PER_US;
}

static void
forget(struct moves_book *books, void *ctx)
{
	unsigned int queue;

	(void)ctx;
	for (queue = 0; queue < MOVES_QUEUES; queue++)
		moves_book_forget(&books[queue]);
}

/* From one of the two to the other, and back. */
static int
run_lap(struct moves_rig *rig, enum moves_owner away, double *ret_values)
{
	enum moves_owner at = MOVES_HARDWARE, next;
	unsigned int i;
	int rc = 0;

	__atomic_store_n(&rig->both, away == MOVES_OTHER_HARDWARE, __ATOMIC_RELAXED);
	moves_rig_with_books(rig, forget, NULL);
	for (i = 0; rc == 0 && i < MOVES_PER_LAP; i++) {
		next = at == away ? MOVES_HARDWARE : away;
		rc = moves_rig_run_for(rig, PAUSE_NS);
		if (rc == 0)
			rc = moves_rig_move(rig, at, next);
		at = next;
	}
	if (rc == 0)
		moves_rig_with_books(rig, evaluate, ret_values);
	return rc;
}

static int
run_software(void *ctx, double *ret_values)
{
	return run_lap(ctx, MOVES_SOFTWARE, ret_values);
}

static int
run_accelerators(void *ctx, double *ret_values)
{
	double values[FIGURES_COUNT];
	int rc = run_lap(ctx, MOVES_OTHER_HARDWARE, values);

	ret_values[0] = values[P50];
	ret_values[1] = values[P99];
	return rc;
}

static double
look(void *ctx)
{
	return moves_rig_hop_ns(ctx);
}

int
bench_moves(const struct bench_options *options, struct bench_rows *rows)
{
	static const struct bench_figure figures[FIGURES_COUNT] = {
		[P50] = {"move_blackout_p50_us", "us"},
		[P99] = {"move_blackout_p99_us", "us"},
		[RX_P50] = {"move_rx_p50_us", "us"},
		[TX_P50] = {"move_tx_p50_us", "us"},
		[TO_SOFTWARE_P50] = {"move_to_software_p50_us", "us"},
		[TO_HARDWARE_P50] = {"move_to_hardware_p50_us", "us"},
		[GAP] = {"move_gap_us", "us"},
	};
	static const struct bench_figure between[] = {
		{"move_accelerators_p50_us", "us"},
		{"move_accelerators_p99_us", "us"},
	};
	static const struct bench_pairs_ops ops = {run_software, NULL, look},
					    between_ops = {run_accelerators, NULL, look};
	const struct bench_pairs_config config = {
		.options = options,
		.figures = figures,
		.figures_count = FIGURES_COUNT,
		.share = 2,
	};
	const struct bench_pairs_config between_config = {.options = options, .figures = between, .figures_count = 2};
	static struct moves_rig rig;
	int rc = moves_rig_open(&rig, options);

	if (rc == 0)
		rc = bench_pairs_run(&config, &ops, &rig, rows);
	if (rc == 0)
		rc = bench_pairs_run(&between_config, &between_ops, &rig, rows);
	moves_rig_close(&rig);
	return rc;
}
