/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_pause.h>
#include <rte_vhost.h>

#include "rp_virtio.h"
#include "rp_wire_fd.h"
#include "setup_rig.h"
#include "vhost_listen.h"

#define RING_NUM 256u
#define BURST 8u
#define MBUFS_COUNT 1023u
#define PEER_NONE (-1)

/* librte_vhost has no context for its callbacks: the device that its application serves. */
static int peer_vid = PEER_NONE; /* atomic */
static bool peer_in_use; /* atomic: the device's thread has read peer_vid, and works on it */

static int
complain(const char *what, int rc, const struct rp_wire_why *why)
{
	if (rc < 0)
		fprintf(stderr, "ringpass-bench: setup: %s: %s\n", what,
			why != NULL && why->text[0] != '\0' ? why->text : strerror(-rc));
	return rc;
}

static int
on_new_device(int vid)
{
	__atomic_store_n(&peer_vid, vid, __ATOMIC_RELEASE);
	return 0;
}

static void
on_destroy_device(int vid)
{
	(void)vid;
	__atomic_store_n(&peer_vid, PEER_NONE, __ATOMIC_SEQ_CST);
	/* What it works on is freed when this returns. */
	while (__atomic_load_n(&peer_in_use, __ATOMIC_SEQ_CST))
		sched_yield();
}

static void
serve_peer(const struct setup_rig *rig, struct rte_mempool *mbufs)
{
	struct rte_mbuf *taken[BURST];
	unsigned int pair;
	uint16_t count;
	int vid;

	__atomic_store_n(&peer_in_use, true, __ATOMIC_SEQ_CST);
	vid = __atomic_load_n(&peer_vid, __ATOMIC_SEQ_CST);
	for (pair = 0; vid != PEER_NONE && pair < rig->pairs_count; pair++) {
		count = rte_vhost_dequeue_burst(vid, (uint16_t)(2 * pair + 1), mbufs, taken, BURST);
		rte_pktmbuf_free_bulk(taken, count);
	}
	__atomic_store_n(&peer_in_use, false, __ATOMIC_RELEASE);
	if (vid == PEER_NONE)
		rte_pause();
}

static void *
device_main(void *ctx)
{
	struct setup_rig *rig = ctx;
	struct rte_mempool *mbufs;
	enum setup_task task;

	if (rte_thread_register() < 0)
		abort();
	mbufs = rte_pktmbuf_pool_create("setup", MBUFS_COUNT, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (mbufs == NULL)
		abort();
	while ((task = __atomic_load_n(&rig->task, __ATOMIC_ACQUIRE)) != SETUP_TASK_STOP) {
		__atomic_store_n(&rig->doing, task, __ATOMIC_RELEASE);
		if (task == SETUP_TASK_ECHO)
			place_echo(&rig->probe);
		else if (task == SETUP_TASK_PEER)
			serve_peer(rig, mbufs);
		else
			softaccel_poll(rig->accel);
	}
	rte_mempool_free(mbufs);
	rte_thread_unregister();
	return NULL;
}

void
setup_rig_do(struct setup_rig *rig, enum setup_task task)
{
	__atomic_store_n(&rig->task, task, __ATOMIC_RELEASE);
	while (__atomic_load_n(&rig->doing, __ATOMIC_ACQUIRE) != task)
		sched_yield();
}

static void
process_accelerator(void *ctx)
{
	softaccel_process(ctx);
}

static void
process_port(void *ctx)
{
	rp_port_process(ctx);
}

static int
accelerator_open(struct setup_rig *rig)
{
	const struct softaccel_function_config config = {
		.socket_path = rig->socket_device,
		.queue_pairs = (uint16_t)rig->pairs_count,
		.queue_size = RING_NUM,
		.mac = {0x52, 0x54, 0, 0, 0, 1},
	};
	struct softaccel_function *function;
	struct rp_wire_why why = {0};
	int rc = softaccel_create(&(struct softaccel_config){.mbufs_count = 2048}, NULL, NULL, &rig->accel, &why);

	if (rc == 0)
		rc = softaccel_function_add(rig->accel, &config, &function, &why);
	if (rc == 0)
		rc = place_start(&rig->device_thread, rig->options->device_cpu, device_main, rig);
	rig->device_runs = rc == 0;
	if (rc == 0)
		rc = sleeper_start(&rig->control, softaccel_fd(rig->accel), process_accelerator, rig->accel);
	return complain("softaccel", rc, &why);
}

static int
port_open(struct setup_rig *rig)
{
	static const struct rp_accel_driver *const drivers[] = {&rp_virtio_vfio_user_driver, NULL};
	static const struct rp_accel_registry registry = {.drivers = drivers};
	static const struct rp_port_ops ops;
	char arguments[96];
	const char *accelerators[1] = {arguments};
	const struct rp_port_config config = {
		.name = "bench",
		.socket_path = rig->socket_port,
		.accelerators = accelerators,
		.accelerators_count = 1,
	};
	struct rp_wire_why why = {0};
	int rc;

	snprintf(arguments, sizeof(arguments), "vfio-user,socket=%s", rig->socket_device);
	rc = rp_port_create(&config, &registry, &ops, NULL, &rig->port, &why);
	if (rc == 0)
		rc = sleeper_start(&rig->port_thread, rp_port_fd(rig->port), process_port, rig->port);
	return complain("port", rc, &why);
}

static int
peer_open(struct setup_rig *rig)
{
	static const struct rte_vhost_device_ops ops = {
		.new_device = on_new_device,
		.destroy_device = on_destroy_device,
	};

	return complain("librte_vhost", vhost_listen(rig->socket_peer, 0, &ops, &rig->peer_runs), NULL);
}

static int
guest_open(struct setup_rig *rig)
{
	unsigned int rings_count = 2 * rig->pairs_count, i;

	rig->memory_bytes = setup_guest_bytes(rig->pairs_count);
	rig->rings = calloc(rings_count, sizeof(*rig->rings));
	rig->kick_fds = calloc(rings_count, sizeof(*rig->kick_fds));
	rig->call_fds = calloc(rings_count, sizeof(*rig->call_fds));
	rig->memory_fd = memfd_create("bench-guest", MFD_CLOEXEC);
	if (rig->rings == NULL || rig->kick_fds == NULL || rig->call_fds == NULL || rig->memory_fd < 0 ||
	    ftruncate(rig->memory_fd, (off_t)rig->memory_bytes) < 0)
		return complain("guest", -ENOMEM, NULL);
	for (i = 0; i < rings_count; i++) {
		rig->kick_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		rig->call_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	rig->memory =
		mmap(NULL, rig->memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, rig->memory_fd, 0);
	return rig->memory == MAP_FAILED ? complain("guest memory", -errno, NULL) : 0;
}

int
setup_rig_open(struct setup_rig *rig, const struct bench_options *options, unsigned int pairs_count)
{
	int rc;

	memset(rig, 0, sizeof(*rig));
	rig->options = options;
	rig->pairs_count = pairs_count;
	rig->memory = MAP_FAILED;
	rig->memory_fd = -1;
	rig->task = rig->doing = SETUP_TASK_ECHO;
	snprintf(rig->directory, sizeof(rig->directory), "/tmp/ringpass-bench.XXXXXX");
	if (mkdtemp(rig->directory) == NULL) {
		rc = complain(rig->directory, -errno, NULL);
		rig->directory[0] = '\0';
		return rc;
	}
	snprintf(rig->socket_device, sizeof(rig->socket_device), "%s/device", rig->directory);
	snprintf(rig->socket_port, sizeof(rig->socket_port), "%s/port", rig->directory);
	snprintf(rig->socket_peer, sizeof(rig->socket_peer), "%s/peer", rig->directory);
	/* Threads inherit it; the device's is started elsewhere. */
	rc = complain("guest CPU", place_pin(options->guest_cpu), NULL);
	if (rc == 0)
		rc = guest_open(rig);
	if (rc == 0)
		rc = accelerator_open(rig);
	if (rc == 0) {
		/* It is served while the port looks at it. */
		setup_rig_do(rig, SETUP_TASK_OURS);
		rc = port_open(rig);
	}
	return rc == 0 ? peer_open(rig) : rc;
}

static void
guest_close(struct setup_rig *rig)
{
	unsigned int i;

	for (i = 0; rig->kick_fds != NULL && rig->call_fds != NULL && i < 2 * rig->pairs_count; i++) {
		rp_wire_fd_close(&rig->kick_fds[i]);
		rp_wire_fd_close(&rig->call_fds[i]);
	}
	free(rig->kick_fds);
	free(rig->call_fds);
	free(rig->rings);
	if (rig->memory != MAP_FAILED)
		munmap(rig->memory, rig->memory_bytes);
	rp_wire_fd_close(&rig->memory_fd);
}

void
setup_rig_close(struct setup_rig *rig)
{
	if (rig->device_runs)
		setup_rig_do(rig, SETUP_TASK_OURS);
	sleeper_stop(&rig->port_thread);
	/* It takes its queues back from a device that still answers. */
	rig->port = rp_port_destroy(rig->port);
	sleeper_stop(&rig->control);
	__atomic_store_n(&rig->task, SETUP_TASK_STOP, __ATOMIC_RELEASE);
	if (rig->device_runs)
		pthread_join(rig->device_thread, NULL);
	rig->accel = softaccel_destroy(rig->accel);
	if (rig->peer_runs)
		rte_vhost_driver_unregister(rig->socket_peer);
	guest_close(rig);
	if (rig->directory[0] != '\0')
		rmdir(rig->directory);
}
