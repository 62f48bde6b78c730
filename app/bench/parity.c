/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "packets.h"

/*
 * Whether it costs anything that Ringpass stands between a guest and its accelerator: the
 * same softaccel, at the same time, serves two guests through ports and two drivers that
 * were given whole functions of it, as pass-through of the device gives them. The driver
 * of the rings is the same.
 */

#define PAIRS_LEAST 21u
/* For an interval of some two parts in a hundred, and of one. */
#define PAIRS_QUICK 32u
#define PAIRS_WANTED 100u
/*
 * What either makes varies by a tenth within tenths of a second, whatever it does: so a half of a pair is many
 * short turns, and between them are the other half's.
 */
#define TURNS 16u
#define TURN_NS 5000000ull
/* Then both are made anew, in the other order: where memory happens to lie is worth a part in a hundred. */
#define PAIRS_PER_RIG 2u

struct parity {
	const struct bench_options *options;
	struct packets_rig_config config;
	struct packets_rig rig;
	unsigned int pairs; /* begun with this rig */
	double whole[2]; /* of this pair */
};

static const struct packets_load load = {.sizes_bytes = {64}, .sizes_count = 1};

static int
run_turn(struct parity *parity, enum packets_device device, double *values)
{
	struct packets_result result = {0};
	int rc = packets_rig_measure(&parity->rig, device, &load, TURN_NS, &result);

	values[0] += result.kpps / (TURNS / 2);
	values[1] += 100 * result.idle_share / (TURNS / 2);
	return rc;
}

/* A B B A B A A B ...: of a drift neither has more than the other. */
static bool
is_whole(unsigned int turn)
{
	return __builtin_parity(turn) != 0;
}

static int
make_anew(struct parity *parity)
{
	packets_rig_close(&parity->rig);
	parity->config.whole_first = !parity->config.whole_first;
	parity->pairs = 1;
	return packets_rig_open(&parity->rig, parity->options, &parity->config);
}

/* Both, with the other one's figures kept for when they are asked for. */
static int
run_both(void *ctx, double *ret_values)
{
	struct parity *parity = ctx;
	unsigned int turn;
	int rc = 0;

	if (parity->pairs++ == PAIRS_PER_RIG)
		rc = make_anew(parity);
	ret_values[0] = ret_values[1] = parity->whole[0] = parity->whole[1] = 0;
	for (turn = 0; rc == 0 && turn < TURNS; turn++)
		rc = is_whole(turn) ? run_turn(parity, PACKETS_WHOLE, parity->whole) :
				      run_turn(parity, PACKETS_PORT, ret_values);
	return rc;
}

static int
tell_whole(void *ctx, double *ret_values)
{
	const struct parity *parity = ctx;

	memcpy(ret_values, parity->whole, sizeof(parity->whole));
	return 0;
}

static double
look(void *ctx)
{
	struct parity *parity = ctx;

	return packets_rig_hop_ns(&parity->rig);
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
	static const struct bench_pairs_ops ops = {run_both, tell_whole, look};
	const struct bench_pairs_config pairs = {
		.options = options,
		.figures = kind->figures,
		.figures_count = 2,
		.peer = "the same softaccel, passed whole to the same driver",
		.pairs_wanted = options->quick ? PAIRS_QUICK : PAIRS_WANTED,
		.pairs_least = PAIRS_LEAST,
		.low_bench = kind->low_bench,
		.high_bench = kind->high_bench,
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
