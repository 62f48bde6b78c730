/* SPDX-License-Identifier: BSD-3-Clause */
#include <linux/virtio_net.h>

#include "packets.h"

/*
 * Whether it costs packets anything that a port stands between a guest and a software backend:
 * the same switch on librte_vhost, twice, in turns on the same CPU. Of one its guests are
 * frontends, the other one is the software backend of their ports. Messages pass through a
 * port; rings, kicks and interrupts do not.
 */

#define PAIRS_WANTED 31u
#define RUN_NS 20000000ull
/* Then both are made anew, in the other order: where memory happens to lie is worth a part in a hundred. */
#define PAIRS_PER_RIG 16u

struct interposed {
	const struct bench_options *options;
	struct packets_rig_config config;
	struct packets_rig rig;
	unsigned int pairs; /* begun with this rig */
};

static const struct packets_load load = {.sizes_bytes = {64}, .sizes_count = 1};

static int
run_device(struct interposed *interposed, enum packets_device device, double *ret_values)
{
	struct packets_result result = {0};
	int rc = packets_rig_measure(&interposed->rig, device, &load, RUN_NS, &result);

	ret_values[0] = result.kpps;
	return rc;
}

static int
make_anew(struct interposed *interposed)
{
	packets_rig_close(&interposed->rig);
	interposed->config.peer_first = !interposed->config.peer_first;
	interposed->pairs = 1;
	return packets_rig_open(&interposed->rig, interposed->options, &interposed->config);
}

static int
run_behind_ports(void *ctx, double *ret_values)
{
	struct interposed *interposed = ctx;
	int rc = 0;

	if (interposed->pairs++ == PAIRS_PER_RIG)
		rc = make_anew(interposed);
	return rc < 0 ? rc : run_device(interposed, PACKETS_BEHIND_PORTS, ret_values);
}

static int
run_peer(void *ctx, double *ret_values)
{
	return run_device(ctx, PACKETS_PEER, ret_values);
}

static double
look(void *ctx)
{
	struct interposed *interposed = ctx;

	return packets_rig_hop_ns(&interposed->rig);
}

int
bench_interposed(const struct bench_options *options, struct bench_rows *rows)
{
	static const struct bench_pairs_ops ops = {run_behind_ports, run_peer, look};
	static const struct bench_figure figure = {"interposed_pps", "kpps"};
	const struct bench_pairs_config pairs = {
		.options = options,
		.figures = &figure,
		.figures_count = 1,
		.peer = "the same switch on librte_vhost, nothing in between",
		.pairs_wanted = options->quick ? PAIRS_WANTED : 2 * PAIRS_WANTED,
		.pairs_least = PAIRS_WANTED,
		.low_bench = "interposed_pps_low",
		.high_bench = "interposed_pps_high",
	};
	struct interposed interposed = {
		.options = options,
		.config =
			{
				.devices = {[PACKETS_BEHIND_PORTS] = true, [PACKETS_PEER] = true},
				.shape = {.pairs = 1, .features = PACKETS_FEATURES, .parts = 1},
			},
	};
	int rc = packets_rig_open(&interposed.rig, options, &interposed.config);

	if (rc == 0)
		rc = bench_pairs_run(&pairs, &ops, &interposed, rows);
	packets_rig_close(&interposed.rig);
	return rc;
}
