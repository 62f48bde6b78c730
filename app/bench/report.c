/* SPDX-License-Identifier: BSD-3-Clause */
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
	struct utsname kernel;
	double load = 0;
	char model[128];

	uname(&kernel);
	getloadavg(&load, 1);
	cpu_model(model, sizeof(model));
	printf("{\"facts\":{\"cpu\":\"%s\",\"kernel\":\"%s\",\"compiler\":\"%s\",\"build\":\"%s\",\"guest_cpu\":%d,"
	       "\"device_cpu\":%d,\"load\":%.1f,\"quick\":%s}}\n",
	       model, kernel.release, __VERSION__, BENCH_BUILD, options->guest_cpu, options->device_cpu, load,
	       options->quick ? "true" : "false");
	fflush(stdout);
	if (load > QUIET_LOAD)
		fprintf(stderr, "ringpass-bench: load average %.1f: what else runs here is in the 99th percentiles\n",
			load);
}

/* Digits behind the point: a few nanoseconds are not whole ones. */
static int
digits(double value)
{
	return value < 100 ? 2 : 0;
}

static void
report_row(struct bench_rows *rows, const struct bench_row *row)
{
	if (rows->count == BENCH_ROWS_MAX)
		return;
	rows->rows[rows->count++] = *row;
	printf("{\"bench\":\"%s\",\"value\":%.*f,\"unit\":\"%s\",\"peer\":\"%s\",\"peer_value\":%.*f,\"ratio\":%.4f,"
	       "\"runs\":%u,\"spread\":%.3f,\"placement\":\"%s\",\"hop_ns\":%.0f}\n",
	       row->bench, digits(row->value), row->value, row->unit, row->peer, digits(row->peer_value),
	       row->peer_value, row->value / row->peer_value, row->runs, row->spread, place_name(row->placement),
	       row->hop_ns);
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
		ratios[found] = pairs[i].ours / pairs[i].peer;
		hops[found++] = pairs[i].hop_ns;
	}
	if (found == 0)
		return;
	full.runs = found;
	full.value = report_percentile(ours, found, 50);
	full.peer_value = report_percentile(peers, found, 50);
	full.hop_ns = report_percentile(hops, found, 50);
	full.spread = report_percentile(ratios, found, 75) - report_percentile(ratios, found, 25);
	full.spread /= report_percentile(ratios, found, 50);
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

		printf("%-28s %-9s %10.*f %10.*f %-5s %7.4f %7.3f %5u %7.0f  %s\n", row->bench,
		       place_name(row->placement), digits(row->value), row->value, digits(row->peer_value),
		       row->peer_value, row->unit, row->value / row->peer_value, row->spread, row->runs, row->hop_ns,
		       row->peer);
	}
}
