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

/* The rows of one scenario. */
struct family {
	struct packets_rig_config config;
	struct packets_measure small, large, mixed, chains, pairs2, null_small, null_large;
	struct packets_measure alone_small, alone_large;
};

/* clang-format off */
#define FAMILY(name, ring_features, copies_how, isa_which)                                                             \
	{                                                                                                              \
		.config = {                                                                                            \
			.devices = {[PACKETS_PORT] = true, [PACKETS_PEER] = true, [PACKETS_NULL] = true},              \
			.shape = {.pairs = 1, .features = PACKETS_FEATURES | (ring_features), .parts = 1},             \
			.copies = (copies_how),                                                                        \
			.isa = (isa_which),                                                                            \
		},                                                                                                     \
		.small = {"pps_" name "_64", "idle_polls_" name "_64", PEER, PACKETS_PORT, PACKETS_PEER,               \
			  .share = 2, .load = SMALL},                                                                  \
		.large = {"pps_" name "_1518", "idle_polls_" name "_1518", PEER, PACKETS_PORT, PACKETS_PEER,           \
			  .share = 1, .load = LARGE},                                                                  \
		.mixed = {"pps_" name "_mixed", "idle_polls_" name "_mixed", PEER, PACKETS_PORT, PACKETS_PEER,         \
			  .share = 7, .load = MIXED},                                                                  \
		.null_small = {"pps_null_" name "_64", "idle_polls_null_" name "_64", OURS, PACKETS_NULL,              \
			       PACKETS_PORT, .share = 6, .load = SMALL},                                               \
		.null_large = {"pps_null_" name "_1518", "idle_polls_null_" name "_1518", OURS, PACKETS_NULL,          \
			       PACKETS_PORT, .share = 5, .load = LARGE},                                               \
		.alone_small = {"device_ns_" name "_64", NULL, PEER, PACKETS_PORT, PACKETS_PEER,                       \
				.share = 4, .load = SMALL},                                                            \
		.alone_large = {"device_ns_" name "_1518", NULL, PEER, PACKETS_PORT, PACKETS_PEER,                     \
				.share = 3, .load = LARGE},                                                            \
		.chains = {"pps_" name "_chains_64", "idle_polls_" name "_chains_64", PEER, PACKETS_PORT,              \
			   PACKETS_PEER, .share = 2, .load = SMALL},                                                   \
		.pairs2 = {"pps_" name "_pairs2_64", "idle_polls_" name "_pairs2_64", PEER, PACKETS_PORT,              \
			   PACKETS_PEER, .share = 1, .load = SMALL},                                                   \
	}
/* clang-format on */

static int
compare_all(struct packets_rig *rig, const struct family *family, struct bench_rows *rows)
{
	const struct packets_measure *const more[] = {&family->mixed, &family->null_small, &family->null_large};
	unsigned int i;
	int rc = packets_compare(rig, &family->small, rows);

	if (rc == 0)
		rc = packets_compare(rig, &family->large, rows);
	for (i = 0; rc == 0 && !rig->options->quick && i < sizeof(more) / sizeof(more[0]); i++)
		rc = packets_compare(rig, more[i], rows);
	if (rc == 0 && !rig->options->quick)
		rc = packets_compare_alone(rig, &family->alone_small, rows);
	return rc < 0 || rig->options->quick ? rc : packets_compare_alone(rig, &family->alone_large, rows);
}

/* The same guests, but each of their rings is made otherwise. */
static int
compare_other(const struct bench_options *options, const struct family *family, unsigned int pairs, uint8_t parts,
	      const struct packets_measure *measure, struct bench_rows *rows)
{
	struct packets_rig_config config = family->config;
	struct packets_rig rig;
	int rc;

	config.devices[PACKETS_NULL] = false;
	config.shape.pairs = pairs;
	config.shape.parts = parts;
	rc = packets_rig_open(&rig, options, &config);
	if (rc == 0)
		rc = packets_compare(&rig, measure, rows);
	packets_rig_close(&rig);
	return rc;
}

static int
run(const struct bench_options *options, const struct family *family, struct bench_rows *rows)
{
	struct packets_rig rig;
	int rc = packets_rig_open(&rig, options, &family->config);

	if (rc == 0)
		rc = compare_all(&rig, family, rows);
	packets_rig_close(&rig);
	if (rc < 0 || options->quick)
		return rc;
	rc = compare_other(options, family, 1, 2, &family->chains, rows);
	return rc < 0 ? rc : compare_other(options, family, 2, 1, &family->pairs2, rows);
}

int
bench_pps_split(const struct bench_options *options, struct bench_rows *rows)
{
	static const struct family family = FAMILY("split", 0, SOFTACCEL_COPIES_TWO, SOFTACCEL_ISA_GENERIC);

	return run(options, &family, rows);
}

int
bench_pps_packed(const struct bench_options *options, struct bench_rows *rows)
{
	static const struct family family =
		FAMILY("packed", 1ull << VIRTIO_F_RING_PACKED, SOFTACCEL_COPIES_TWO, SOFTACCEL_ISA_GENERIC);

	return run(options, &family, rows);
}

int
bench_pps_switch_split(const struct bench_options *options, struct bench_rows *rows)
{
	static const struct family family = FAMILY("switch_split", 0, SOFTACCEL_COPIES_ONE, SOFTACCEL_ISA_AUTO);

	return run(options, &family, rows);
}

int
bench_pps_switch_packed(const struct bench_options *options, struct bench_rows *rows)
{
	static const struct family family =
		FAMILY("switch_packed", 1ull << VIRTIO_F_RING_PACKED, SOFTACCEL_COPIES_ONE, SOFTACCEL_ISA_AUTO);

	return run(options, &family, rows);
}
