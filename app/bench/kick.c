/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * From a guest's kick to the packet in the used ring, one packet at a time: the
 * guest's store on the mapped doorbell, against an eventfd that the port's thread
 * reads before it rings for the guest, as its driver rings best: by an eventfd of
 * the device's. The device, which spins, serves the ring in the same way in both;
 * its service time is in both figures.
 */

#include <errno.h>
#include <stdio.h>

#include "rig.h"

#define SAMPLES_MAX 2000u
#define PAIRS_MIN 8u /* of one placement, to be worth a comparison */
#define WARM_UP 200u
#define UNNEEDED_LIMIT 1000u
/* Long enough for the device to find its ring empty and to ask for a kick again. */
#define PAUSE_NS 10000u

enum statistic {
	P50,
	P99,
	STATISTICS_COUNT,
};

struct lap {
	double ns[STATISTICS_COUNT];
};

static int
one_kick(struct rig *rig, bool direct, double *ret_ns)
{
	uint64_t quiet_until_ns = bench_now_ns() + PAUSE_NS, started_ns;
	int rc, by_doorbell;

	while (bench_now_ns() < quiet_until_ns)
		;
	rc = rig_packet_add(rig);
	if (rc < 0)
		return rc;
	if (rc == 0) {
		rc = rig_packet_wait(rig);
		return rc < 0 ? rc : -EAGAIN;
	}
	started_ns = bench_now_ns();
	by_doorbell = rp_vhu_frontend_kick(rig->frontend, RIG_TX);
	rc = rig_packet_wait(rig);
	*ret_ns = (double)(bench_now_ns() - started_ns);
	if (rc == 0 && by_doorbell != (direct ? 1 : 0)) {
		fprintf(stderr, "ringpass-bench: kick: went the other way\n");
		rc = -EIO;
	}
	return rc;
}

static int
run_lap(struct rig *rig, bool direct, unsigned int samples_count, struct lap *ret_lap)
{
	static double samples[SAMPLES_MAX];
	unsigned int count = 0, warm = 0, unneeded = 0;
	int rc = rig_kick_directly(rig, direct);

	while (rc == 0 && count < samples_count) {
		rc = one_kick(rig, direct, &samples[count]);
		if (rc == -EAGAIN && ++unneeded < UNNEEDED_LIMIT)
			rc = 0;
		else if (rc == 0 && warm < WARM_UP)
			warm++;
		else if (rc == 0)
			count++;
	}
	if (rc == -EAGAIN)
		fprintf(stderr, "ringpass-bench: kick: the device asks for none\n");
	if (rc < 0)
		return rc;
	ret_lap->ns[P50] = report_percentile(samples, count, 50);
	ret_lap->ns[P99] = report_percentile(samples, count, 99);
	return 0;
}

static int
run_pair(struct rig *rig, unsigned int samples_count, struct bench_pair ret_pairs[STATISTICS_COUNT])
{
	struct lap direct, relayed;
	double before = rig_hop_ns(rig), between, after;
	enum place placement;
	unsigned int i;
	int rc = run_lap(rig, true, samples_count, &direct);

	between = rig_hop_ns(rig);
	if (rc == 0)
		rc = run_lap(rig, false, samples_count, &relayed);
	after = rig_hop_ns(rig);
	if (rc < 0)
		return rc;
	placement = place_of(between);
	if (place_of(before) != placement || place_of(after) != placement)
		placement = PLACE_MIXED;
	for (i = 0; i < STATISTICS_COUNT; i++)
		ret_pairs[i] = (struct bench_pair){direct.ns[i], relayed.ns[i], between, placement};
	return 0;
}

int
bench_kick(const struct bench_options *options, struct bench_rows *rows)
{
	static const char *const names[STATISTICS_COUNT] = {[P50] = "kick_p50", [P99] = "kick_p99"};
	unsigned int wanted = options->quick ? PAIRS_MIN : 2 * PAIRS_MIN;
	unsigned int samples_count = options->quick ? 500 : SAMPLES_MAX;
	struct bench_pair pairs[STATISTICS_COUNT][BENCH_PAIRS_MAX], pair[STATISTICS_COUNT];
	unsigned int of[PLACES_COUNT] = {0}, count = 0, i;
	struct bench_row row = {.unit = "ns", .peer = "relayed through the port (relay on the guest's CPU)"};
	struct rig rig;
	int rc = rig_open(&rig, options);

	/* Either placement alone makes a comparison; the host decides which one comes. */
	while (rc == 0 && !bench_interrupted() && of[PLACE_NEAR] < wanted && of[PLACE_FAR] < wanted &&
	       count < BENCH_PAIRS_MAX) {
		rc = run_pair(&rig, samples_count, pair);
		if (rc < 0)
			break;
		for (i = 0; i < STATISTICS_COUNT; i++)
			pairs[i][count] = pair[i];
		of[pair[0].placement]++;
		count++;
	}
	rig_close(&rig);
	if (rc < 0)
		return rc;
	for (row.placement = PLACE_NEAR; row.placement < PLACE_MIXED; row.placement++) {
		for (i = 0; i < STATISTICS_COUNT; i++) {
			row.bench = names[i];
			report_pairs(rows, &row, pairs[i], count);
		}
	}
	printf("\nkick: %u pairs of laps, %u kicks each way in a pair; %u pairs discarded, the CPUs moved.\n"
	       "The device's service time is included. Fewer than %u pairs in a row are indicative only.\n",
	       count, samples_count, of[PLACE_MIXED], PAIRS_MIN);
	return 0;
}
