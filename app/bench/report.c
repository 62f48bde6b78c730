/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "bench.h"

#define QUIET_LOAD 0.5

static int
ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double
report_percentile(double *values, unsigned int count, unsigned int percent)
{
	qsort(values, count, sizeof(*values), ascending);
	return values[(uint64_t)(count - 1) * percent / 100];
}

static void
cpu_model(char *ret_text, size_t size)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	char line[256];

	snprintf(ret_text, size, "unknown");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, "model name", 10) != 0 || strchr(line, ':') == NULL)
			continue;
		line[strcspn(line, "\n\"\\")] = '\0';
		snprintf(ret_text, size, "%s", strchr(line, ':') + 2);
		break;
	}
	if (file != NULL)
		fclose(file);
}

void
report_facts(const struct bench_options *options)
{
	const time_t now = time(NULL);
	struct utsname kernel;
	char date[16];
	struct tm parts;
	double load = 0;
	char model[128];

	uname(&kernel);
	getloadavg(&load, 1);
	cpu_model(model, sizeof(model));
	strftime(date, sizeof(date), "%Y-%m-%d", gmtime_r(&now, &parts));
	printf("{\"facts\":{\"date\":\"%s\",\"cpu\":\"%s\",\"kernel\":\"%s\",\"compiler\":\"%s\",\"flags\":\"%s\","
	       "\"guest_cpu\":%d,\"device_cpu\":%d,\"load\":%.1f,\"quick\":%s}}\n",
	       date, model, kernel.release, __VERSION__, BENCH_FLAGS, options->guest_cpu, options->device_cpu, load,
	       options->quick ? "true" : "false");
	fflush(stdout);
	if (load > QUIET_LOAD)
		fprintf(stderr, "ringpass-bench: load average %.1f: what else runs here is in the 99th percentiles\n",
			load);
}

/* Digits behind the point: a few nanoseconds are not whole ones, nor are parts in a hundred where a hundred is all. */
static int
digits(double value, const char *unit)
{
	if (value < 1)
		return 4;
	return value < 100 || strcmp(unit, "%") == 0 ? 2 : 0;
}

/* A number that JSON has, or its word for none. */
static const char *
number(char text[32], bool there, double value, int behind)
{
	if (there && isfinite(value))
		snprintf(text, 32, "%.*f", behind, value);
	else
		snprintf(text, 32, "null");
	return text;
}

static void
report_row(struct bench_rows *rows, const struct bench_row *row)
{
	const bool compared = row->peer != NULL;
	char value[32], peer_value[32], ratio[32], spread[32];

	if (rows->count == BENCH_ROWS_MAX)
		return;
	rows->rows[rows->count++] = *row;
	printf("{\"bench\":\"%s\",\"value\":%s,\"unit\":\"%s\",\"peer\":%s%s%s,\"peer_value\":%s,\"ratio\":%s,"
	       "\"runs\":%u,\"spread\":%s,\"placement\":\"%s\",\"hop_ns\":%.0f,\"flags\":\"%s\"}\n",
	       row->bench, number(value, true, row->value, digits(row->value, row->unit)), row->unit,
	       compared ? "\"" : "", compared ? row->peer : "null", compared ? "\"" : "",
	       number(peer_value, compared, row->peer_value, digits(row->peer_value, row->unit)),
	       number(ratio, compared, row->ratio, 4), row->runs, number(spread, true, row->spread, 3),
	       place_name(row->placement), row->hop_ns, BENCH_FLAGS);
	fflush(stdout);
}

void
report_value(struct bench_rows *rows, const char *bench, const char *unit, double value)
{
	const struct bench_row row = {.bench = bench, .unit = unit, .value = value, .runs = 1, .placement = PLACE_ONE};

	report_row(rows, &row);
}

/* How far the middle half of them is apart, in parts of their median. */
static double
spread_of(double *values, unsigned int count)
{
	double quartiles = report_percentile(values, count, 75) - report_percentile(values, count, 25);

	return quartiles == 0 ? 0 : quartiles / report_percentile(values, count, 50);
}

void
report_pairs(struct bench_rows *rows, const struct bench_row *row, const struct bench_pair *pairs, unsigned int count)
{
	double ours[BENCH_PAIRS_MAX], peers[BENCH_PAIRS_MAX], ratios[BENCH_PAIRS_MAX], hops[BENCH_PAIRS_MAX];
	struct bench_row full = *row;
	unsigned int i, found = 0;

	for (i = 0; i < count; i++) {
		if (pairs[i].placement != row->placement)
			continue;
		ours[found] = pairs[i].ours;
		peers[found] = pairs[i].peer;
		ratios[found] = row->peer != NULL ? pairs[i].ours / pairs[i].peer : pairs[i].ours;
		hops[found++] = pairs[i].hop_ns;
	}
	if (found == 0)
		return;
	full.runs = found;
	full.value = report_percentile(ours, found, 50);
	full.peer_value = report_percentile(peers, found, 50);
	full.hop_ns = report_percentile(hops, found, 50);
	full.spread = spread_of(ratios, found);
	full.ratio = report_percentile(ratios, found, 50);
	report_row(rows, &full);
}

void
report_interval(struct bench_rows *rows, const struct bench_row *row, const struct bench_pairs_config *config,
		const struct bench_pair *pairs, unsigned int count)
{
	struct bench_row full = {.unit = "%", .placement = row->placement};
	double ratios[BENCH_PAIRS_MAX], hops[BENCH_PAIRS_MAX];
	unsigned int i, found = 0, low;

	for (i = 0; i < count; i++) {
		if (pairs[i].placement != row->placement)
			continue;
		ratios[found] = pairs[i].ours / pairs[i].peer;
		hops[found++] = pairs[i].hop_ns;
	}
	if (found == 0)
		return;
	full.runs = found;
	full.hop_ns = report_percentile(hops, found, 50);
	report_percentile(ratios, found, 50);
	/* So many places around the middle of those that were run. */
	low = (unsigned int)fmax(0, (found - 1.96 * sqrt(found)) / 2);
	full.bench = config->low_bench;
	full.value = 100 * ratios[low];
	report_row(rows, &full);
	full.bench = config->high_bench;
	full.value = 100 * ratios[found - 1 - low];
	report_row(rows, &full);
}

void
report_table(const struct bench_rows *rows)
{
	unsigned int i;

	printf("\n%-28s %-9s %10s %10s %-5s %7s %7s %5s %7s  %s\n", "bench", "placement", "ours", "peer", "unit",
	       "ratio", "spread", "pairs", "hop ns", "peer is");
	for (i = 0; i < rows->count; i++) {
		const struct bench_row *row = &rows->rows[i];
		char peer_value[32], ratio[32];

		snprintf(peer_value, sizeof(peer_value), "%.*f", digits(row->peer_value, row->unit), row->peer_value);
		snprintf(ratio, sizeof(ratio), "%.4f", row->ratio);
		printf("%-28s %-9s %10.*f %10s %-5s %7s %7.3f %5u %7.0f  %s\n", row->bench, place_name(row->placement),
		       digits(row->value, row->unit), row->value, row->peer != NULL ? peer_value : "", row->unit,
		       row->peer != NULL ? ratio : "", row->spread, row->runs, row->hop_ns,
		       row->peer != NULL ? row->peer : "");
	}
}
