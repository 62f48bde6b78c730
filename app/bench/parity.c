/* SPDX-License-Identifier: BSD-3-Clause */
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
#define PEER "the same softaccel, passed whole to the same driver"

static int
run(const struct bench_options *options, uint64_t ring_features, const struct packets_measure *measure,
    struct bench_rows *rows)
{
	const struct packets_rig_config config = {
		.devices = {[PACKETS_PORT] = true, [PACKETS_WHOLE] = true},
		.shape = {.pairs = 1, .features = PACKETS_FEATURES | ring_features, .parts = 1},
		.copies = SOFTACCEL_COPIES_ONE,
		.isa = SOFTACCEL_ISA_AUTO,
	};
	struct packets_rig rig;
	int rc = packets_rig_open(&rig, options, &config);

	if (rc == 0)
		rc = packets_compare(&rig, measure, rows);
	packets_rig_close(&rig);
	return rc;
}

int
bench_pps_parity(const struct bench_options *options, struct bench_rows *rows)
{
	static const struct packets_measure split = {
		.bench = "pps_parity_split_64",
		.idle_bench = "idle_polls_parity_split_64",
		.peer = PEER,
		.ours = PACKETS_PORT,
		.theirs = PACKETS_WHOLE,
		.pairs_wanted = PAIRS_WANTED,
		.share = 2,
		.load = {.sizes_bytes = {64}, .sizes_count = 1},
	};
	static const struct packets_measure packed = {
		.bench = "pps_parity_packed_64",
		.idle_bench = "idle_polls_parity_packed_64",
		.peer = PEER,
		.ours = PACKETS_PORT,
		.theirs = PACKETS_WHOLE,
		.pairs_wanted = PAIRS_WANTED,
		.share = 1,
		.load = {.sizes_bytes = {64}, .sizes_count = 1},
	};
	int rc = run(options, 0, &split, rows);

	return rc < 0 ? rc : run(options, 1ull << VIRTIO_F_RING_PACKED, &packed, rows);
}
