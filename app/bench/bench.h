/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_H
#define BENCH_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/*
 * What scenarios share. A scenario measures ours and its peer in turns, each
 * turn between two looks at where the host has put the CPUs, and fills rows.
 */

struct bench_options {
	bool quick;
	bool once; /* one pair of each and no more: whether it works, not how fast */
	int guest_cpu; /* also of threads that sleep: a relay on the guest's CPU is a relay at its best */
	int device_cpu;
	uint64_t deadline_ns; /* of this scenario, by bench_now_ns() */
};

/* Where the two CPUs are to each other; the host moves them without a word. */
enum place {
	PLACE_NEAR,
	PLACE_FAR,
	PLACE_MIXED, /* moved while it was measured, or neither: not to be compared */
	PLACE_ONE, /* only one of them has a part in it */
	PLACES_COUNT,
};

struct bench_row {
	const char *bench;
	const char *unit;
	double value; /* median over the runs, as is the peer's */
	const char *peer; /* NULL: a value that is compared with nothing */
	double peer_value;
	double ratio; /* median of the pairs' own ratios */
	double spread; /* between the quartiles of the pairs' ratios (or of the values), divided by their median */
	unsigned int runs;
	enum place placement;
	double hop_ns;
};

/* Ours and the peer, one after the other. */
struct bench_pair {
	double ours;
	double peer;
	double hop_ns;
	enum place placement;
};

#define BENCH_PAIRS_MAX 128
#define BENCH_PAIRS_WANTED 8u /* of one placement, to be worth a comparison; twice as many when not quick */
#define BENCH_ROWS_MAX 256
#define BENCH_FIGURES_MAX 8u

/* One of the figures that a measurement yields; its rows'. */
struct bench_figure {
	const char *bench;
	const char *unit;
};

/*
 * Each sets up what it needs, warms up, measures, and fills a value for each figure.
 * @return 0 or a negative errno.
 */
struct bench_pairs_ops {
	int (*ours)(void *ctx, double *ret_values);
	int (*peer)(void *ctx, double *ret_values); /* NULL: the figures are compared with nothing */
	double (*hop_ns)(void *ctx); /* NULL: one CPU does all of it */
};

struct bench_pairs_config {
	const struct bench_options *options;
	const struct bench_figure *figures;
	unsigned int figures_count;
	const char *peer; /* in words; kept until the table is printed */
	/* What is left of the scenario's time is for so many measurements, this one included; 0: 1. */
	unsigned int share;
	unsigned int pairs_wanted; /* 0: BENCH_PAIRS_WANTED, twice as many when not quick */
	/* When its share is over it is content with so many, and goes on for less; 0: BENCH_PAIRS_WANTED. */
	unsigned int pairs_least;
	/* NULL, or rows of the first figure's interval: where the median of all such ratios is, with 95 per cent. */
	const char *low_bench, *high_bench;
};

struct bench_rows {
	struct bench_row rows[BENCH_ROWS_MAX];
	unsigned int count;
};

static inline uint64_t
bench_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Set by a signal: end at the next pair, and leave nothing behind. */
bool bench_interrupted(void);

/* place.c */
struct place_probe {
	_Alignas(128) uint32_t ping;
	_Alignas(128) uint32_t pong;
};

int place_pin(int cpu);
/*
 * Before librte_vhost is asked for the first time: who starts its thread looks again and again whether it has begun,
 * which it cannot on the same CPU with a real-time priority.
 */
int place_pin_to_both(const struct bench_options *options);
/* A thread that is there from its first moment: it need not get a turn where it came from, which may spin. */
int place_start(pthread_t *ret_thread, int cpu, void *(*main)(void *ctx), void *ctx);
/* Of a thread that mostly sleeps: under chrt -f it would else never run on a CPU on which another one spins. */
void place_before_spinners(void);
int place_choose_cpus(struct bench_options *options);
void place_echo(struct place_probe *probe); /* the other side, in a loop */
double place_hop_ns(struct place_probe *probe);
enum place place_of(double hop_ns);
const char *place_name(enum place place);

/* report.c */
double report_percentile(double *values, unsigned int count, unsigned int percent); /* sorts */
void report_facts(const struct bench_options *options);
/* A value that is compared with nothing. */
void report_value(struct bench_rows *rows, const char *bench, const char *unit, double value);
/* One row of the pairs that were measured in row->placement; none, no row. */
void report_pairs(struct bench_rows *rows, const struct bench_row *row, const struct bench_pair *pairs,
		  unsigned int count);
/* The interval of the median of these pairs' ratios, in per cent, as two rows; row as for report_pairs(). */
void report_interval(struct bench_rows *rows, const struct bench_row *row, const struct bench_pairs_config *config,
		     const struct bench_pair *pairs, unsigned int count);
void report_table(const struct bench_rows *rows);

/* pairs.c */
/*
 * Ours and the peer in turns, A B A B, between looks at where the CPUs are, until there are enough pairs of one
 * placement or the time is over; then a row for each figure and placement. The first pair warms up.
 * @return 0 or a negative errno, after one line on stderr.
 */
int bench_pairs_run(const struct bench_pairs_config *config, const struct bench_pairs_ops *ops, void *ctx,
		    struct bench_rows *rows);

/* Scenarios: 0 or a negative errno, after one line on stderr. */
int bench_device_ns(const struct bench_options *options, struct bench_rows *rows);
int bench_doorbell(const struct bench_options *options, struct bench_rows *rows);
int bench_host_cpu(const struct bench_options *options, struct bench_rows *rows);
int bench_interposed(const struct bench_options *options, struct bench_rows *rows);
int bench_interrupt(const struct bench_options *options, struct bench_rows *rows);
int bench_moves(const struct bench_options *options, struct bench_rows *rows);
int bench_pps_split(const struct bench_options *options, struct bench_rows *rows);
int bench_pps_packed(const struct bench_options *options, struct bench_rows *rows);
int bench_pps_switch_split(const struct bench_options *options, struct bench_rows *rows);
int bench_pps_switch_packed(const struct bench_options *options, struct bench_rows *rows);
int bench_pps_parity(const struct bench_options *options, struct bench_rows *rows);
int bench_setup(const struct bench_options *options, struct bench_rows *rows);
int bench_software_request(const struct bench_options *options, struct bench_rows *rows);
int bench_translate(const struct bench_options *options, struct bench_rows *rows);
int bench_vfio_user_access(const struct bench_options *options, struct bench_rows *rows);
int bench_vfio_user_dma(const struct bench_options *options, struct bench_rows *rows);
int bench_vfio_user_map(const struct bench_options *options, struct bench_rows *rows);
int bench_wake(const struct bench_options *options, struct bench_rows *rows);

#endif
