/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A device reads and writes memory that no descriptor came for: each access is a
 * command to the client and its answer. One in flight and many, through the socket
 * and through the payload window, beside the loop that moves eight bytes at a time
 * and waits for each.
 */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "rp_dma_io.h"
#include "rp_vfu_client.h"
#include "rp_wire_fd.h"
#include "vfu_rig.h"

#define IOVA 0x100000000ull
#define IN_FLIGHT 32u
#define SIZE_MAX_BYTES (1024u * 1024u)
#define MEMORY_BYTES (IN_FLIGHT * SIZE_MAX_BYTES)
#define NAIVE_BYTES 8u
#define NAIVE_COUNT 500u

#define SIZES 4u
#define SHAPES 4u /* read and write, one in flight and many */

static const struct size {
	const char *name;
	uint32_t size_bytes;
	unsigned int count;
	bool quickly; /* also in a quick run */
} sizes[SIZES] = {
	{"8", 8, 500, false},
	{"4k", 4096, 500, true},
	{"64k", 65536, 200, false},
	{"1m", SIZE_MAX_BYTES, 32, true},
};

struct job {
	bool write;
	uint32_t size_bytes;
	unsigned int in_flight;
	unsigned int count; /* accesses, all in all */
};

struct dma {
	struct vfu_rig rig;
	struct rp_vfu_client *client;
	uint8_t *guest; /* the client's memory */
	uint8_t *device; /* the device's */
	int finished_fd; /* an eventfd: the device's thread is through */

	struct job measured;
	struct job job;
	/* Of the device's thread while a job runs. */
	struct rp_dma_io ios[IN_FLIGHT];
	struct rp_dma_segment segments[IN_FLIGHT];
	unsigned int started_count;
	unsigned int finished_count;
	int error;
	uint64_t took_ns;
};

static void
start_one(struct dma *dma, struct rp_dma_io *io)
{
	int rc = rp_dma_io_submit(rp_vfu_server_dma(dma->rig.server), io);

	dma->started_count++;
	if (rc == 0)
		return;
	dma->finished_count++;
	dma->error = rc;
}

static void
on_done(struct rp_dma_io *io, int error)
{
	struct dma *dma = io->ctx;

	dma->finished_count++;
	if (error < 0)
		dma->error = error;
	if (dma->started_count < dma->job.count && dma->error == 0)
		start_one(dma, io);
}

/* In the device's thread. */
static void
run_job(void *ctx)
{
	struct dma *dma = ctx;
	struct pollfd wait = {.fd = rp_vfu_server_fd(dma->rig.server), .events = POLLIN};
	uint64_t started_ns = bench_now_ns();
	unsigned int i;

	dma->started_count = dma->finished_count = 0;
	dma->error = 0;
	for (i = 0; i < dma->job.in_flight; i++) {
		dma->segments[i] = (struct rp_dma_segment){
			.iova = IOVA + (uint64_t)i * dma->job.size_bytes,
			.size_bytes = dma->job.size_bytes,
			.bytes = dma->device + (size_t)i * dma->job.size_bytes,
		};
		dma->ios[i] = (struct rp_dma_io){
			.write = dma->job.write,
			.segments = &dma->segments[i],
			.segments_count = 1,
			.done = on_done,
			.ctx = dma,
		};
		start_one(dma, &dma->ios[i]);
	}
	while (dma->finished_count < dma->started_count) {
		poll(&wait, 1, -1);
		rp_vfu_server_process(dma->rig.server);
		if (!rp_vfu_server_connected(dma->rig.server))
			break;
	}
	dma->took_ns = bench_now_ns() - started_ns;
	eventfd_write(dma->finished_fd, 1);
}

/* In the caller's thread, which is the client. */
static int
serve_job(struct dma *dma)
{
	struct pollfd wait[2] = {
		{.fd = rp_vfu_client_fd(dma->client), .events = POLLIN},
		{.fd = dma->finished_fd, .events = POLLIN},
	};
	eventfd_t told;
	int rc = 0;

	vfu_rig_job(&dma->rig, run_job, dma);
	while (rc == 0 && wait[1].revents == 0) {
		poll(wait, 2, -1);
		if (wait[0].revents != 0)
			rc = rp_vfu_client_process(dma->client);
	}
	if (rc == 0)
		(void)eventfd_read(dma->finished_fd, &told);
	return rc == 0 ? dma->error : rc;
}

static int
run_lap(struct dma *dma, const struct job *job, double *ret_kb_per_s)
{
	size_t used_bytes = (size_t)job->in_flight * job->size_bytes;
	int rc;

	dma->job = *job;
	memset(dma->guest, job->write ? 0 : 0x5a, used_bytes);
	memset(dma->device, job->write ? 0xa5 : 0, used_bytes);
	vfu_rig_do(&dma->rig, VFU_TASK_SERVE_ASLEEP);
	rc = serve_job(dma);
	if (rc == 0 && memcmp(dma->guest, dma->device, used_bytes) != 0) {
		fprintf(stderr, "ringpass-bench: the bytes that arrived are not those that were sent\n");
		rc = -EIO;
	}
	*ret_kb_per_s = (double)job->count * job->size_bytes * 1e6 / (double)dma->took_ns;
	return rc;
}

static int
measured(void *ctx, double *ret_kb_per_s)
{
	struct dma *dma = ctx;

	return run_lap(dma, &dma->measured, ret_kb_per_s);
}

static int
naive(void *ctx, double *ret_kb_per_s)
{
	struct dma *dma = ctx;
	const struct job job = {
		.write = dma->measured.write,
		.size_bytes = NAIVE_BYTES,
		.in_flight = 1,
		.count = NAIVE_COUNT,
	};

	return run_lap(dma, &job, ret_kb_per_s);
}

static int
measure_size(struct dma *dma, const struct size *size, bool window, unsigned int sizes_left, struct bench_rows *rows)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; rc == 0 && i < SHAPES; i++) {
		bool write = i >= 2, many = i % 2 != 0;
		char *name = NULL;
		struct vfu_measure measure = {
			.unit = "kB/s",
			.peer = "eight bytes at a time, one in flight",
			.ours = measured,
			.theirs = naive,
			.ctx = dma,
			.share = sizes_left * SHAPES - i,
		};

		/* Rows keep the pointer until the table is printed. */
		if (asprintf(&name, "vfu_dma_%s_%s%s%s", write ? "write" : "read", size->name, many ? "_x32" : "",
			     window ? "_window" : "") < 0)
			return -ENOMEM;
		measure.name = name;
		dma->measured = (struct job){
			.write = write,
			.size_bytes = size->size_bytes,
			.in_flight = many ? IN_FLIGHT : 1,
			.count = many ? 2 * size->count : size->count,
		};
		rc = vfu_rig_measure(&dma->rig, &measure, rows);
	}
	return rc;
}

static int
measure_way(struct dma *dma, bool window, struct bench_rows *rows)
{
	const bool quick = dma->rig.options->quick;
	const struct rp_vfu_client_config config = {
		.socket_path = dma->rig.socket_path,
		.specification_only = !window,
	};
	const struct rp_vfu_client_memory memory = {
		.iova = IOVA,
		.size_bytes = MEMORY_BYTES,
		.fd = -1,
		.hva = dma->guest,
		.access_mask = RP_VFU_DMA_MAP_READ_MASK | RP_VFU_DMA_MAP_WRITE_MASK,
	};
	struct rp_wire_why why = {0};
	/* The window changes nothing for what is small. */
	unsigned int i = window ? SIZES / 2 : 0, later = window ? 0 : SIZES / 2;
	int rc = rp_vfu_client_create(&config, NULL, NULL, &dma->client, &why);

	if (rc == 0)
		rc = rp_vfu_client_dma_map_memory(dma->client, &memory, &why);
	if (rc < 0)
		vfu_rig_complain("client", rc, &why);
	for (; rc == 0 && !bench_interrupted() && i < SIZES; i++) {
		if (quick && !sizes[i].quickly)
			continue;
		rc = measure_size(dma, &sizes[i], window, SIZES - i + later, rows);
	}
	dma->client = rp_vfu_client_destroy(dma->client);
	return rc;
}

int
bench_vfio_user_dma(const struct bench_options *options, struct bench_rows *rows)
{
	static struct dma dma;
	int rc = -ENOMEM;

	memset(&dma, 0, sizeof(dma));
	dma.finished_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	dma.guest = malloc(MEMORY_BYTES);
	dma.device = malloc(MEMORY_BYTES);
	if (dma.finished_fd < 0 || dma.guest == NULL || dma.device == NULL)
		vfu_rig_complain("memory", rc, NULL);
	else
		rc = vfu_rig_open(&dma.rig, options);
	if (rc == 0)
		rc = measure_way(&dma, false, rows);
	if (rc == 0 && !options->quick)
		rc = measure_way(&dma, true, rows);
	vfu_rig_close(&dma.rig);
	free(dma.device);
	free(dma.guest);
	rp_wire_fd_close(&dma.finished_fd);
	return rc;
}
