/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_pause.h>

#include "rp_wire_fd.h"
#include "vfu_rig.h"

/* Then it looks whether there is something else to do. */
#define WAIT_MS 20

int
vfu_rig_complain(const char *what, int rc, const struct rp_wire_why *why)
{
	if (rc < 0)
		fprintf(stderr, "ringpass-bench: %s: %s\n", what,
			why != NULL && why->text[0] != '\0' ? why->text : strerror(-rc));
	return rc;
}

static int
on_read(void *ctx, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes, uint8_t *ret_bytes)
{
	struct vfu_rig *rig = ctx;

	(void)region;
	memcpy(ret_bytes, (const uint8_t *)rig->registers + offset_bytes, count_bytes);
	return 0;
}

static int
on_write(void *ctx, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes, const uint8_t *bytes)
{
	struct vfu_rig *rig = ctx;

	(void)region;
	memcpy((uint8_t *)rig->registers + offset_bytes, bytes, count_bytes);
	return 0;
}

static int
on_reset(void *ctx)
{
	(void)ctx;
	return 0;
}

static int
device_open(struct vfu_rig *rig)
{
	static const struct rp_vfu_server_ops ops = {.reset = on_reset};
	const struct rp_vfu_region region = {
		.size_bytes = VFU_RIG_REGION_BYTES,
		.readable = true,
		.writable = true,
		.fd = -1,
		.read = on_read,
		.write = on_write,
	};
	const struct rp_vfu_server_config config = {
		.socket_path = rig->socket_path,
		.regions_count = 1,
		.regions = &region,
		.resettable = true,
	};
	struct rp_wire_why why = {0};
	int rc = rp_vfu_server_create(&config, &ops, rig, &rig->server, &why);

	return vfu_rig_complain("device", rc, &why);
}

static void
serve_asleep(struct vfu_rig *rig)
{
	struct pollfd wait[2] = {
		{.fd = rp_vfu_server_fd(rig->server), .events = POLLIN},
		{.fd = rig->wake_fd, .events = POLLIN},
	};
	eventfd_t told;

	poll(wait, 2, -1);
	if (wait[0].revents != 0)
		rp_vfu_server_process(rig->server);
	if (wait[1].revents != 0)
		(void)eventfd_read(rig->wake_fd, &told);
}

/* The ping behind the last one says that it was the last: nobody waits for its pong. */
static void
echo(struct vfu_rig *rig)
{
	const enum vfu_wait wait = rig->floor_wait;
	uint8_t bytes[VFU_RIG_PONG_BYTES] = {0};

	while (vfu_raw_receive(rig->floor_fds[1], wait, bytes, VFU_RIG_PING_BYTES) == 0 &&
	       __atomic_load_n(&rig->task, __ATOMIC_ACQUIRE) == VFU_TASK_FLOOR) {
		if (vfu_raw_send(rig->floor_fds[1], bytes, sizeof(bytes), -1) < 0)
			break;
	}
}

static void
do_job(struct vfu_rig *rig)
{
	enum vfu_task task = VFU_TASK_JOB;

	rig->job(rig->job_ctx);
	/* Unless there is something else to do by now. */
	__atomic_compare_exchange_n(&rig->task, &task, VFU_TASK_SERVE_ASLEEP, false, __ATOMIC_ACQ_REL,
				    __ATOMIC_ACQUIRE);
}

static void *
device_main(void *ctx)
{
	struct vfu_rig *rig = ctx;
	enum vfu_task task;

	while ((task = __atomic_load_n(&rig->task, __ATOMIC_ACQUIRE)) != VFU_TASK_STOP) {
		__atomic_store_n(&rig->doing, task, __ATOMIC_RELEASE);
		if (task == VFU_TASK_SERVE_ASLEEP)
			serve_asleep(rig);
		else if (task == VFU_TASK_SERVE_WAITING)
			rp_vfu_server_wait(rig->server, WAIT_MS);
		else if (task == VFU_TASK_SERVE_SPINNING)
			rp_vfu_server_process(rig->server);
		else if (task == VFU_TASK_JOB)
			do_job(rig);
		else if (task == VFU_TASK_PROBE)
			place_echo(&rig->probe);
		else
			echo(rig);
	}
	return NULL;
}

void
vfu_rig_do(struct vfu_rig *rig, enum vfu_task task)
{
	const uint8_t last[VFU_RIG_PING_BYTES] = {0};
	enum vfu_task before = __atomic_exchange_n(&rig->task, task, __ATOMIC_ACQ_REL);

	if (before == task)
		return;
	if (before == VFU_TASK_SERVE_ASLEEP)
		eventfd_write(rig->wake_fd, 1);
	if (before == VFU_TASK_FLOOR)
		vfu_raw_send(rig->floor_fds[0], last, sizeof(last), -1);
	while (task != VFU_TASK_STOP && __atomic_load_n(&rig->doing, __ATOMIC_ACQUIRE) != task)
		rte_pause();
}

void
vfu_rig_job(struct vfu_rig *rig, void (*job)(void *ctx), void *ctx)
{
	vfu_rig_do(rig, VFU_TASK_PROBE);
	rig->job = job;
	rig->job_ctx = ctx;
	__atomic_store_n(&rig->task, VFU_TASK_JOB, __ATOMIC_RELEASE);
}

void
vfu_rig_floor_begin(struct vfu_rig *rig, enum vfu_wait wait)
{
	/* Not changed while the other thread looks at it. */
	vfu_rig_do(rig, VFU_TASK_PROBE);
	rig->floor_wait = wait;
	vfu_rig_do(rig, VFU_TASK_FLOOR);
}

int
vfu_rig_floor(struct vfu_rig *rig)
{
	uint8_t bytes[VFU_RIG_PONG_BYTES] = {0};
	int rc = vfu_raw_send(rig->floor_fds[0], bytes, VFU_RIG_PING_BYTES, -1);

	return rc < 0 ? rc : vfu_raw_receive(rig->floor_fds[0], rig->floor_wait, bytes, sizeof(bytes));
}

int
vfu_rig_open(struct vfu_rig *rig, const struct bench_options *options)
{
	int rc;

	memset(rig, 0, sizeof(*rig));
	rig->opened = true;
	rig->options = options;
	rig->task = rig->doing = VFU_TASK_SERVE_ASLEEP;
	rig->floor_fds[0] = rig->floor_fds[1] = -1;
	rig->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	snprintf(rig->directory, sizeof(rig->directory), "/tmp/ringpass-bench.XXXXXX");
	if (mkdtemp(rig->directory) == NULL) {
		rc = vfu_rig_complain(rig->directory, -errno, NULL);
		rig->directory[0] = '\0';
		return rc;
	}
	snprintf(rig->socket_path, sizeof(rig->socket_path), "%s/device", rig->directory);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, rig->floor_fds) < 0)
		return vfu_rig_complain("a socket pair", -errno, NULL);
	rc = vfu_rig_complain("guest CPU", place_pin(options->guest_cpu), NULL);
	if (rc == 0)
		rc = device_open(rig);
	if (rc == 0)
		rc = vfu_rig_complain("device", place_start(&rig->device_thread, options->device_cpu, device_main, rig),
				      NULL);
	rig->device_runs = rc == 0;
	return rc;
}

void
vfu_rig_close(struct vfu_rig *rig)
{
	if (!rig->opened)
		return;
	if (rig->device_runs) {
		vfu_rig_do(rig, VFU_TASK_STOP);
		pthread_join(rig->device_thread, NULL);
	}
	rig->server = rp_vfu_server_destroy(rig->server);
	rp_wire_fd_close_all(rig->floor_fds, 2);
	rp_wire_fd_close(&rig->wake_fd);
	if (rig->directory[0] != '\0')
		rmdir(rig->directory);
}

double
vfu_rig_hop_ns(struct vfu_rig *rig)
{
	vfu_rig_do(rig, VFU_TASK_PROBE);
	return place_hop_ns(&rig->probe);
}

struct one_measure {
	struct vfu_rig *rig;
	const struct vfu_measure *measure;
};

static int
take_ours(void *ctx, double *ret_values)
{
	const struct one_measure *one = ctx;

	return one->measure->ours(one->measure->ctx, ret_values);
}

static int
take_theirs(void *ctx, double *ret_values)
{
	const struct one_measure *one = ctx;

	return one->measure->theirs(one->measure->ctx, ret_values);
}

static double
take_hop_ns(void *ctx)
{
	const struct one_measure *one = ctx;

	return vfu_rig_hop_ns(one->rig);
}

int
vfu_rig_measure(struct vfu_rig *rig, const struct vfu_measure *measure, struct bench_rows *rows)
{
	static const struct bench_pairs_ops ops = {take_ours, take_theirs, take_hop_ns};
	const struct bench_figure figure = {measure->name, measure->unit};
	const struct bench_pairs_config config = {
		.options = rig->options,
		.figures = &figure,
		.figures_count = 1,
		.peer = measure->peer,
		.share = measure->share,
	};
	struct one_measure one = {rig, measure};
	int rc = bench_pairs_run(&config, &ops, &one, rows);

	vfu_rig_do(rig, VFU_TASK_SERVE_ASLEEP);
	return rc;
}
