/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "packets.h"

/*
 * Whether it costs anything that Ringpass stands between a guest and its accelerator: the
 * same softaccel, at the same time, serves two guests through ports and two drivers that
 * were given whole functions of it, as pass-through of the device gives them. The driver
 * of the rings is the same.
 */

#define PAIRS_WANTED 21u
#define RUN_NS 20000000ull
/* Then both are made anew, in the other order: where memory happens to lie is worth a part in a hundred. */
#define PAIRS_PER_RIG 4u
#define LOOKS 3u /* at where the CPUs are: before, between and after a pair */

struct parity {
	const struct bench_options *options;
	struct packets_rig_config config;
	struct packets_rig rig;
	unsigned int pairs; /* begun with this rig */
	enum place looks[LOOKS];
	unsigned int looks_count;
	double ours;
	double ratio; /* of the pair whose last look is still to come */
	double ratios[PLACES_COUNT][BENCH_PAIRS_MAX + 1];
	unsigned int counts[PLACES_COUNT];
};

static const struct packets_load load = {.sizes_bytes = {64}, .sizes_count = 1};

static int
run_device(struct parity *parity, enum packets_device device, double *ret_values)
{
	struct packets_result result = {0};
	int rc = packets_rig_measure(&parity->rig, device, &load, RUN_NS, &result);

	ret_values[0] = result.kpps;
	ret_values[1] = 100 * result.idle_share;
	return rc;
}

static int
make_anew(struct parity *parity)
{
	packets_rig_close(&parity->rig);
	parity->config.whole_first = !parity->config.whole_first;
	parity->pairs = 1;
	return packets_rig_open(&parity->rig, parity->options, &parity->config);
}

static int
run_ours(void *ctx, double *ret_values)
{
	struct parity *parity = ctx;
	int rc = 0;

	if (parity->pairs++ == PAIRS_PER_RIG)
		rc = make_anew(parity);
	if (rc == 0)
		rc = run_device(parity, PACKETS_PORT, ret_values);
	parity->ours = ret_values[0];
	return rc;
}

static int
run_whole(void *ctx, double *ret_values)
{
	struct parity *parity = ctx;
	int rc = run_device(parity, PACKETS_WHOLE, ret_values);

	parity->ratio = parity->ours / ret_values[0];
	return rc;
}

static double
look(void *ctx)
{
	struct parity *parity = ctx;
	double hop_ns = packets_rig_hop_ns(&parity->rig);
	enum place place = place_of(hop_ns);

	parity->looks[parity->looks_count++] = place;
	if (parity->looks_count < LOOKS)
		return hop_ns;
	parity->looks_count = 0;
	if (parity->looks[0] != place || parity->looks[1] != place)
		place = PLACE_MIXED;
	if (parity->counts[place] <= BENCH_PAIRS_MAX)
		parity->ratios[place][parity->counts[place]++] = parity->ratio;
	return hop_ns;
}

/* Where the median of all such ratios is, with 95 per cent: so many places around the middle of those that were run. */
static void
report_interval(struct parity *parity, const char *low_bench, const char *high_bench, struct bench_rows *rows)
{
	enum place place, most = PLACE_NEAR;
	unsigned int count, low;
	double *ratios;

	for (place = PLACE_NEAR; place < PLACES_COUNT; place++)
		most = parity->counts[place] > parity->counts[most] ? place : most;
	count = parity->counts[most];
	if (count == 0)
		return;
	ratios = parity->ratios[most];
	report_percentile(ratios, count, 50);
	low = (unsigned int)fmax(0, (count - 1.96 * sqrt(count)) / 2);
	report_value(rows, low_bench, "%", 100 * ratios[low]);
	report_value(rows, high_bench, "%", 100 * ratios[count - 1 - low]);
}

/* One kind of ring. */
struct kind {
	uint64_t ring_features;
	unsigned int share;
	struct bench_figure figures[2];
	const char *low_bench, *high_bench;
};

static int
run(const struct bench_options *options, const struct kind *kind, struct bench_rows *rows)
{
	static const struct bench_pairs_ops ops = {run_ours, run_whole, look};
	const struct bench_pairs_config pairs = {
		.options = options,
		.figures = kind->figures,
		.figures_count = 2,
		.peer = "the same softaccel, passed whole to the same driver",
		.pairs_wanted = options->quick ? PAIRS_WANTED : 2 * PAIRS_WANTED,
		.share = kind->share,
	};
	struct parity parity = {
		.options = options,
		.config =
			{
				.devices = {[PACKETS_PORT] = true, [PACKETS_WHOLE] = true},
				.shape = {.pairs = 1, .features = PACKETS_FEATURES | kind->ring_features, .parts = 1},
				.copies = SOFTACCEL_COPIES_ONE,
				.isa = SOFTACCEL_ISA_AUTO,
			},
	};
	int rc = packets_rig_open(&parity.rig, options, &parity.config);

	if (rc == 0)
		rc = bench_pairs_run(&pairs, &ops, &parity, rows);
	if (rc == 0)
		report_interval(&parity, kind->low_bench, kind->high_bench, rows);
	packets_rig_close(&parity.rig);
	return rc;
}

int
bench_pps_parity(const struct bench_options *options, struct bench_rows *rows)
{
	static const struct kind split = {
		.share = 2,
		.figures = {{"pps_parity_split_64", "kpps"}, {"idle_polls_parity_split_64", "%"}},
		.low_bench = "pps_parity_split_64_low",
		.high_bench = "pps_parity_split_64_high",
	};
	static const struct kind packed = {
		.ring_features = 1ull << VIRTIO_F_RING_PACKED,
		.share = 1,
		.figures = {{"pps_parity_packed_64", "kpps"}, {"idle_polls_parity_packed_64", "%"}},
		.low_bench = "pps_parity_packed_64_low",
		.high_bench = "pps_parity_packed_64_high",
	};
	int rc = run(options, &split, rows);

	return rc < 0 ? rc : run(options, &packed, rows);
}
