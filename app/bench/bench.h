/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/*
 * What scenarios share. A scenario measures ours and its peer in turns, each
 * turn between two looks at where the host has put the CPUs, and fills rows.
 */

struct bench_options {
	bool quick;
	int guest_cpu; /* also of threads that sleep: a relay on the guest's CPU is a relay at its best */
	int device_cpu;
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
	const char *peer;
	double peer_value;
	double spread; /* between the quartiles of the pairs' ratios, divided by their median */
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

#define BENCH_PAIRS_MAX 64
#define BENCH_ROWS_MAX 128

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
int place_choose_cpus(struct bench_options *options);
void place_echo(struct place_probe *probe); /* the other side, in a loop */
double place_hop_ns(struct place_probe *probe);
enum place place_of(double hop_ns);
const char *place_name(enum place place);

/* report.c */
double report_percentile(double *values, unsigned int count, unsigned int percent); /* sorts */
void report_facts(const struct bench_options *options);
/* One row of the pairs that were measured in row->placement; none, no row. */
void report_pairs(struct bench_rows *rows, const struct bench_row *row, const struct bench_pair *pairs,
		  unsigned int count);
void report_table(const struct bench_rows *rows);

/* Scenarios: 0 or a negative errno, after one line on stderr. */
int bench_kick(const struct bench_options *options, struct bench_rows *rows);
int bench_software_request(const struct bench_options *options, struct bench_rows *rows);
int bench_translate(const struct bench_options *options, struct bench_rows *rows);
int bench_vfio_user_access(const struct bench_options *options, struct bench_rows *rows);
int bench_vfio_user_dma(const struct bench_options *options, struct bench_rows *rows);
int bench_vfio_user_map(const struct bench_options *options, struct bench_rows *rows);

#endif
