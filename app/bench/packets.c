/* SPDX-License-Identifier: BSD-3-Clause */
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "packets.h"

/*
 * Packets from guest to guest through a switch that learns addresses: softaccel, which
 * both guests have through a port of Ringpass, against librte_vhost, to which both are
 * connected. "Same work" is two copies through packet buffers, with the instructions that
 * Debian's librte_vhost is compiled for; "switch" is softaccel as it is used.
 */

#define SMALL                                                                                                          \
	{                                                                                                              \
		.sizes_bytes = {64}, .sizes_count = 1                                                                  \
	}
#define LARGE                                                                                                          \
	{                                                                                                              \
		.sizes_bytes = {1518}, .sizes_count = 1                                                                \
	}
/* The simple IMIX: of twelve packets seven are small, four are of 594 bytes, one is large. */
#define MIXED                                                                                                          \
	{                                                                                                              \
		.sizes_bytes = {64, 594, 64, 594, 64, 64, 1518, 64, 594, 64, 594, 64}, .sizes_count = 12               \
	}
#define PEER "librte_vhost, same switch, same CPU"
#define OURS "softaccel, same generator"

/* The rows of a family. */
struct rows {
	struct packets_measure small, large, mixed, null_small, null_large, copy_small, copy_large, chains, pairs2;
};

/* clang-format off */
#define AGAINST_PEER .peer = PEER, .ours = PACKETS_PORT, .theirs = PACKETS_PEER
#define NULL_DEVICE .peer = OURS, .ours = PACKETS_NULL, .theirs = PACKETS_PORT
#define COPY_DEVICE .peer = OURS, .ours = PACKETS_COPY, .theirs = PACKETS_PORT
#define ROW(name) .bench = "pps_" name, .idle_bench = "idle_polls_" name
#define ROWS(name)                                                                                                     \
	{                                                                                                              \
		.small = {ROW(name "_64"), .alone_bench = "device_ns_" name "_64", AGAINST_PEER, .share = 2,           \
			  .load = SMALL},                                                                              \
		.large = {ROW(name "_1518"), .alone_bench = "device_ns_" name "_1518", AGAINST_PEER, .share = 1,       \
			  .load = LARGE},                                                                              \
		.mixed = {ROW(name "_mixed"), AGAINST_PEER, .share = 7, .load = MIXED},                                \
		.null_small = {ROW("null_" name "_64"), NULL_DEVICE, .share = 6, .load = SMALL},                       \
		.null_large = {ROW("null_" name "_1518"), NULL_DEVICE, .share = 5, .load = LARGE},                     \
		.copy_small = {ROW("copy_" name "_64"), COPY_DEVICE, .share = 4, .load = SMALL},                       \
		.copy_large = {ROW("copy_" name "_1518"), COPY_DEVICE, .share = 3, .load = LARGE},                     \
		.chains = {ROW(name "_chains_64"), AGAINST_PEER, .share = 2, .load = SMALL},                           \
		.pairs2 = {ROW(name "_pairs2_64"), AGAINST_PEER, .share = 1, .load = SMALL},                           \
	}
/* clang-format on */

static const struct rows rows_of[PACKETS_FAMILIES_COUNT] = {
	[PACKETS_SPLIT] = ROWS("split"),
	[PACKETS_PACKED] = ROWS("packed"),
	[PACKETS_SWITCH_SPLIT] = ROWS("switch_split"),
	[PACKETS_SWITCH_PACKED] = ROWS("switch_packed"),
};

static struct packets_rig_config
config_of(enum packets_family family)
{
	bool packed = family == PACKETS_PACKED || family == PACKETS_SWITCH_PACKED;
	bool same_work = family == PACKETS_SPLIT || family == PACKETS_PACKED;

	return (struct packets_rig_config){
		.devices = {[PACKETS_PORT] = true,
			    [PACKETS_PEER] = true,
			    [PACKETS_NULL] = true,
			    [PACKETS_COPY] = !same_work},
		.shape = {.pairs = 1,
			  .features = PACKETS_FEATURES | (packed ? 1ull << VIRTIO_F_RING_PACKED : 0),
			  .parts = 1},
		.copies = same_work ? SOFTACCEL_COPIES_TWO : SOFTACCEL_COPIES_ONE,
		.isa = same_work ? SOFTACCEL_ISA_GENERIC : SOFTACCEL_ISA_AUTO,
	};
}

static int
compare_sizes(const struct bench_options *options, enum packets_family family, struct bench_rows *rows)
{
	const struct rows *of = &rows_of[family];
	const struct packets_measure *const all[] = {
		&of->small, &of->large, &of->mixed, &of->null_small, &of->null_large, &of->copy_small, &of->copy_large,
	};
	const struct packets_rig_config config = config_of(family);
	/* Nobody copies twice who could do it once: then there is nothing to be near to. */
	unsigned int i, count = options->quick ? 2 : config.devices[PACKETS_COPY] ? 7 : 5;
	struct packets_rig rig;
	int rc = packets_rig_open(&rig, options, &config);

	for (i = 0; rc == 0 && i < count; i++)
		rc = packets_compare(&rig, all[i], rows);
	packets_rig_close(&rig);
	return rc;
}

/* The same guests, but each of their rings is made otherwise. */
static int
compare_shape(const struct bench_options *options, enum packets_family family, unsigned int pairs, uint8_t parts,
	      const struct packets_measure *measure, struct bench_rows *rows)
{
	struct packets_rig_config config = config_of(family);
	struct packets_rig rig;
	int rc;

	config.devices[PACKETS_NULL] = config.devices[PACKETS_COPY] = false;
	config.shape.pairs = pairs;
	config.shape.parts = parts;
	rc = packets_rig_open(&rig, options, &config);
	if (rc == 0)
		rc = packets_compare(&rig, measure, rows);
	packets_rig_close(&rig);
	return rc;
}

static int
run(const struct bench_options *options, enum packets_family family, struct bench_rows *rows)
{
	int rc = compare_sizes(options, family, rows);

	if (rc < 0 || options->quick)
		return rc;
	rc = compare_shape(options, family, 1, 2, &rows_of[family].chains, rows);
	return rc < 0 ? rc : compare_shape(options, family, 2, 1, &rows_of[family].pairs2, rows);
}

int
bench_pps_split(const struct bench_options *options, struct bench_rows *rows)
{
	return run(options, PACKETS_SPLIT, rows);
}

int
bench_pps_packed(const struct bench_options *options, struct bench_rows *rows)
{
	return run(options, PACKETS_PACKED, rows);
}

int
bench_pps_switch_split(const struct bench_options *options, struct bench_rows *rows)
{
	return run(options, PACKETS_SWITCH_SPLIT, rows);
}

int
bench_pps_switch_packed(const struct bench_options *options, struct bench_rows *rows)
{
	return run(options, PACKETS_SWITCH_PACKED, rows);
}

static int
compare_alone(const struct bench_options *options, enum packets_family family, struct bench_rows *rows)
{
	struct packets_rig_config config = config_of(family);
	struct packets_rig rig;
	int rc;

	config.devices[PACKETS_NULL] = config.devices[PACKETS_COPY] = false;
	rc = packets_rig_open(&rig, options, &config);
	if (rc == 0)
		rc = packets_compare_alone(&rig, &rows_of[family].small, rows);
	if (rc == 0)
		rc = packets_compare_alone(&rig, &rows_of[family].large, rows);
	packets_rig_close(&rig);
	return rc;
}

int
bench_device_ns(const struct bench_options *options, struct bench_rows *rows)
{
	enum packets_family family;
	int rc = 0;

	for (family = PACKETS_SPLIT; rc == 0 && family < PACKETS_FAMILIES_COUNT; family++)
		rc = compare_alone(options, family, rows);
	return rc;
}
