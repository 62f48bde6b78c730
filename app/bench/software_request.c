/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What a port in between costs a frontend that talks to a software backend: one request and its answer,
 * to librte_vhost itself and through a port of which it is the software backend. Nothing is accelerated.
 * Packets do not pass through the port, so that there is nothing else to measure.
 */

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "rp_vhu_proto.h"
#include "software_rig.h"

#define SAMPLES_MAX 500u
#define WARM_UP 20u
#define QUEUES 2u
#define ANSWER_LIMIT_MS 20000

struct software_request {
	struct software_rig rig;
	int (*exchange)(struct software_side *side, unsigned int turn);
	unsigned int samples_count;
};

struct answer {
	bool there;
	int error;
};

static void
on_answer(void *done_ctx, int error, const void *payload, uint32_t size_bytes, int *fds, unsigned int fds_count)
{
	struct answer *answer = done_ctx;

	(void)payload;
	(void)size_bytes;
	(void)fds;
	(void)fds_count;
	*answer = (struct answer){.there = true, .error = error};
}

/* GET_FEATURES: the least that can be asked. A port knows the answer itself. */
static int
features(struct software_side *side, unsigned int turn)
{
	struct pollfd wait = {.fd = rp_vhu_frontend_fd(side->frontend), .events = POLLIN};
	struct answer answer = {.there = false};
	int rc = rp_vhu_frontend_submit(side->frontend, RP_VHU_GET_FEATURES, NULL, 0, NULL, 0, false, on_answer,
					&answer, NULL);

	(void)turn;
	while (rc == 0 && !answer.there) {
		rc = poll(&wait, 1, ANSWER_LIMIT_MS) > 0 ? rp_vhu_frontend_process(side->frontend) : -ETIMEDOUT;
	}
	return rc < 0 ? rc : answer.error;
}

/* SET_VRING_ENABLE, acknowledged: off and on again, in turns. */
static int
enable(struct software_side *side, unsigned int turn)
{
	return rp_vhu_frontend_ring_enable(side->frontend, 1, turn % 2 != 0, NULL);
}

/* A pair is stopped and started anew, as a guest's driver that is loaded again has it done; all acknowledged. */
static int
restart(struct software_side *side, unsigned int turn)
{
	uint32_t bases[QUEUES];
	unsigned int queue;
	int rc = 0;

	(void)turn;
	for (queue = 0; rc == 0 && queue < QUEUES; queue++)
		rc = rp_vhu_frontend_ring_stop(side->frontend, queue, &bases[queue], NULL);
	for (queue = 0; rc == 0 && queue < QUEUES; queue++)
		rc = software_side_start(side, queue, bases[queue], NULL);
	return rc;
}

static int
run_lap(struct software_request *request, struct software_side *side, double *ret_ns)
{
	static double samples[SAMPLES_MAX];
	unsigned int i;
	int rc = 0;

	vfu_rig_do(&request->rig.base, VFU_TASK_SERVE_ASLEEP);
	for (i = 0; rc == 0 && i < WARM_UP + request->samples_count; i++) {
		uint64_t started_ns = bench_now_ns();

		rc = request->exchange(side, i);
		if (i >= WARM_UP)
			samples[i - WARM_UP] = (double)(bench_now_ns() - started_ns);
	}
	if (rc == 0)
		*ret_ns = report_percentile(samples, request->samples_count, 50);
	return rc;
}

static int
through(void *ctx, double *ret_ns)
{
	struct software_request *request = ctx;

	return run_lap(request, &request->rig.through, ret_ns);
}

static int
directly(void *ctx, double *ret_ns)
{
	struct software_request *request = ctx;

	return run_lap(request, &request->rig.direct, ret_ns);
}

static int
measure(struct software_request *request, struct bench_rows *rows)
{
	static const struct {
		const char *name;
		int (*exchange)(struct software_side *side, unsigned int turn);
	} requests[] = {
		{"request_features", features},
		{"request_enable", enable},
		{"request_restart", restart},
	};
	const unsigned int count = sizeof(requests) / sizeof(requests[0]);
	unsigned int i;
	int rc = 0;

	for (i = 0; rc == 0 && i < count; i++) {
		const struct vfu_measure one = {
			.name = requests[i].name,
			.unit = "ns",
			.peer = "librte_vhost, nothing in between",
			.ours = through,
			.theirs = directly,
			.ctx = request,
			.share = count - i,
		};

		request->exchange = requests[i].exchange;
		rc = vfu_rig_measure(&request->rig.base, &one, rows);
	}
	return rc;
}

int
bench_software_request(const struct bench_options *options, struct bench_rows *rows)
{
	static struct software_request request;
	int rc;

	request = (struct software_request){.samples_count = options->quick ? 100 : SAMPLES_MAX};
	rc = software_rig_open(&request.rig, options, QUEUES, true);
	if (rc == 0)
		rc = measure(&request, rows);
	software_rig_close(&request.rig);
	return rc;
}
