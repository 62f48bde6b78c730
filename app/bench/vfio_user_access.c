/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A register is read by a message and its answer; beside it as many bytes over a bare
 * pair of sockets, which is as fast as this kernel lets two threads talk. Asleep and
 * waiting it is our client, whole, and a device that sleeps in poll(2) or in
 * rp_vfu_server_wait(); spinning it is a client that does next to nothing, because
 * what is asked is what the server adds.
 */

#include <stdio.h>

#include "rp_vfu_client.h"
#include "vfu_rig.h"

#define SAMPLES_MAX 2000u
#define WARM_UP 200u

struct access {
	struct vfu_rig rig;
	struct rp_vfu_client *client;
	struct vfu_raw raw;
	enum vfu_wait floor_wait;
	enum vfu_task task; /* how the device waits */
	unsigned int samples_count;
};

/* One round trip of a kind. */
static int
round_trip(struct access *access, bool floor)
{
	uint32_t value;

	if (floor)
		return vfu_rig_floor(&access->rig);
	if (access->client != NULL)
		return rp_vfu_client_region_read(access->client, VFU_RIG_REGION, 0, sizeof(value), &value, NULL);
	return vfu_raw_region_read(&access->raw, VFU_RIG_REGION, 0, &value, sizeof(value));
}

static int
run_lap(struct access *access, bool floor, double *ret_ns)
{
	static double samples[SAMPLES_MAX];
	unsigned int i;
	int rc = 0;

	for (i = 0; rc == 0 && i < WARM_UP + access->samples_count; i++) {
		uint64_t started_ns = bench_now_ns();

		rc = round_trip(access, floor);
		if (i >= WARM_UP)
			samples[i - WARM_UP] = (double)(bench_now_ns() - started_ns);
	}
	if (rc == 0)
		*ret_ns = report_percentile(samples, access->samples_count, 50);
	return rc;
}

static int
read_register(void *ctx, double *ret_ns)
{
	struct access *access = ctx;

	vfu_rig_do(&access->rig, access->task);
	return run_lap(access, false, ret_ns);
}

static int
ping(void *ctx, double *ret_ns)
{
	struct access *access = ctx;

	vfu_rig_floor_begin(&access->rig, access->floor_wait);
	return run_lap(access, true, ret_ns);
}

static int
measure_asleep(struct access *access, struct bench_rows *rows)
{
	const struct rp_vfu_client_config config = {.socket_path = access->rig.socket_path};
	struct vfu_measure measure = {
		.name = "vfu_region_rtt",
		.unit = "ns",
		.peer = "a bare ping-pong, both ends asleep in poll(2)",
		.ours = read_register,
		.theirs = ping,
		.ctx = access,
		.share = 3,
	};
	struct rp_wire_why why = {0};
	int rc = rp_vfu_client_create(&config, NULL, NULL, &access->client, &why);

	if (rc < 0)
		return vfu_rig_complain("client", rc, &why);
	access->task = VFU_TASK_SERVE_ASLEEP;
	access->floor_wait = VFU_WAIT_POLL;
	rc = vfu_rig_measure(&access->rig, &measure, rows);
	access->task = VFU_TASK_SERVE_WAITING;
	access->floor_wait = VFU_WAIT_RECV;
	measure.share = 2;
	measure.name = "vfu_region_rtt_waiting";
	measure.peer = "a bare ping-pong, both ends asleep in recv(2)";
	if (rc == 0)
		rc = vfu_rig_measure(&access->rig, &measure, rows);
	access->client = rp_vfu_client_destroy(access->client);
	return rc;
}

static int
measure_spinning(struct access *access, struct bench_rows *rows)
{
	const struct vfu_measure measure = {
		.name = "vfu_region_rtt_polled",
		.unit = "ns",
		.peer = "a bare ping-pong, both ends spinning",
		.ours = read_register,
		.theirs = ping,
		.ctx = access,
	};
	int rc = vfu_rig_complain("client", vfu_raw_connect(&access->raw, access->rig.socket_path), NULL);

	if (rc < 0)
		return rc;
	access->task = VFU_TASK_SERVE_SPINNING;
	access->floor_wait = access->raw.wait = VFU_WAIT_SPIN;
	rc = vfu_rig_measure(&access->rig, &measure, rows);
	vfu_raw_close(&access->raw);
	return rc;
}

int
bench_vfio_user_access(const struct bench_options *options, struct bench_rows *rows)
{
	static struct access access;
	int rc;

	access = (struct access){.samples_count = options->quick ? 500 : SAMPLES_MAX, .raw.fd = -1};
	rc = vfu_rig_open(&access.rig, options);
	if (rc == 0)
		rc = measure_asleep(&access, rows);
	if (rc == 0)
		rc = measure_spinning(&access, rows);
	vfu_rig_close(&access.rig);
	return rc;
}
