/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_pause.h>

#include "moves_rig.h"
#include "rp_virtio.h"
#include "rp_wire_fd.h"
#include "vfu_rig.h"

#define READY_LIMIT_NS 60000000000ull
#define MOVE_LIMIT_NS 20000000000ull
#define LOOK_AGAIN_MS 1

static void
process_accelerator(void *ctx)
{
	softaccel_process(ctx);
}

static int
open_accelerator(struct moves_rig *rig, unsigned int number)
{
	struct moves_accelerator *accelerator = &rig->accelerators[number];
	struct softaccel_function_config config = {
		.socket_path = accelerator->socket_path,
		.queue_pairs = MOVES_QUEUES / 2,
		.queue_size = MOVES_RING_NUM,
		.mac = {0x52, 0x54, 0, 0, 0, (uint8_t)(1 + number)},
	};
	struct rp_wire_why why = {0};
	uint16_t uplink;
	int rc;

	snprintf(accelerator->socket_path, sizeof(accelerator->socket_path), "%s/device%u", rig->directory, number);
	snprintf(accelerator->source, sizeof(accelerator->source), "net_null_moves%u", number);
	rc = softaccel_create(&(struct softaccel_config){.mbufs_count = 2048}, NULL, NULL, &accelerator->accel, &why);
	if (rc == 0)
		rc = rte_eal_hotplug_add("vdev", accelerator->source, "size=64,copy=1");
	accelerator->uplink_made = rc == 0;
	if (rc == 0)
		rc = rte_eth_dev_get_port_by_name(accelerator->source, &uplink);
	if (rc == 0)
		rc = softaccel_uplink_attach(accelerator->accel, uplink, &why);
	if (rc == 0)
		rc = softaccel_function_add(accelerator->accel, &config, NULL, &why);
	if (rc == 0)
		rc = sleeper_start(&accelerator->control, softaccel_fd(accelerator->accel), process_accelerator,
				   accelerator->accel);
	return vfu_rig_complain("softaccel", rc, &why);
}

static void
close_accelerator(struct moves_accelerator *accelerator)
{
	accelerator->accel = softaccel_destroy(accelerator->accel);
	if (accelerator->uplink_made)
		rte_eal_hotplug_remove("vdev", accelerator->source);
	accelerator->uplink_made = false;
}

static int
open_port(struct moves_rig *rig)
{
	static const struct rp_accel_driver *const drivers[] = {&rp_virtio_vfio_user_driver, NULL};
	static const struct rp_accel_registry registry = {.drivers = drivers};
	static const struct rp_port_ops ops;
	char arguments[MOVES_ACCELERATORS][96];
	const char *accelerators[MOVES_ACCELERATORS] = {arguments[0], arguments[1]};
	const struct rp_port_config config = {
		.name = "bench",
		.socket_path = rig->socket_port,
		/* The other accelerator's are free. */
		.queue_pairs = MOVES_QUEUES / 2,
		.accelerators = accelerators,
		.accelerators_count = MOVES_ACCELERATORS,
		.software = {.socket_path = rig->socket_software,
			     .socket_mode = RP_PORT_CLIENT,
			     .drain_ms = MOVES_DRAIN_MS},
		/* The guest drops no doorbell. */
		.doorbell_delay_ms = 1,
		.doorbell_delay_max_ms = 1,
	};
	struct rp_wire_why why = {0};
	unsigned int i;
	int rc;

	for (i = 0; i < MOVES_ACCELERATORS; i++)
		snprintf(arguments[i], sizeof(arguments[i]), "vfio-user,socket=%s", rig->accelerators[i].socket_path);
	rc = rp_port_create(&config, &registry, &ops, NULL, &rig->port, &why);
	return vfu_rig_complain("port", rc, &why);
}

static void
process(struct moves_rig *rig)
{
	struct pollfd wait = {.fd = rp_port_fd(rig->port), .events = POLLIN};

	poll(&wait, 1, LOOK_AGAIN_MS);
	rp_port_process(rig->port);
}

static bool
is_direct(const struct moves_rig *rig)
{
	enum rp_port_queue_mode mode;
	unsigned int queue;

	for (queue = 0; queue < MOVES_QUEUES; queue++) {
		if (rp_port_get_queue_mode(rig->port, queue, &mode) < 0 || mode != RP_PORT_QUEUE_DIRECT)
			return false;
	}
	return true;
}

static int
wait_until_direct(struct moves_rig *rig)
{
	uint64_t deadline_ns = bench_now_ns() + READY_LIMIT_NS;
	int rc;

	while ((rc = __atomic_load_n(&rig->vmm_rc, __ATOMIC_ACQUIRE)) == 1 || (rc == 0 && !is_direct(rig))) {
		if (bench_now_ns() > deadline_ns)
			return vfu_rig_complain("queues, to be direct", -ETIMEDOUT, NULL);
		process(rig);
	}
	return rc;
}

static int
make_directory(struct moves_rig *rig)
{
	int rc;

	snprintf(rig->directory, sizeof(rig->directory), "/tmp/ringpass-bench.XXXXXX");
	if (mkdtemp(rig->directory) == NULL) {
		rc = vfu_rig_complain(rig->directory, -errno, NULL);
		rig->directory[0] = '\0';
		return rc;
	}
	snprintf(rig->socket_port, sizeof(rig->socket_port), "%s/port", rig->directory);
	snprintf(rig->socket_software, sizeof(rig->socket_software), "%s/software", rig->directory);
	return 0;
}

/* Who is there: all but the port. */
static int
open_parties(struct moves_rig *rig)
{
	int rc = vfu_rig_complain("CPUs", place_pin_to_both(rig->options), NULL);
	unsigned int i;

	if (rc == 0)
		rc = moves_software_open(&rig->software, rig->socket_software);
	rig->software_runs = rc == 0;
	if (rc == 0)
		rc = vfu_rig_complain("guest CPU", place_pin(rig->options->guest_cpu), NULL);
	for (i = 0; rc == 0 && i < MOVES_ACCELERATORS; i++)
		rc = open_accelerator(rig, i);
	if (rc == 0)
		rc = moves_guest_open(rig);
	if (rc == 0)
		rc = vfu_rig_complain("data path",
				      place_start(&rig->data_thread, rig->options->device_cpu, moves_data_main, rig),
				      NULL);
	rig->data_runs = rc == 0;
	return rc;
}

int
moves_rig_open(struct moves_rig *rig, const struct bench_options *options)
{
	int rc;

	memset(rig, 0, sizeof(*rig));
	rig->options = options;
	rig->vmm_rc = 1;
	rig->memory = MAP_FAILED;
	rig->memory_fd = -1;
	rig->kick_fds[MOVES_RX] = rig->kick_fds[MOVES_TX] = rig->call_fds[MOVES_RX] = rig->call_fds[MOVES_TX] = -1;
	rig->vmm_stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rig->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = make_directory(rig);
	if (rc == 0)
		rc = open_parties(rig);
	if (rc == 0)
		rc = open_port(rig);
	if (rc == 0)
		rc = vfu_rig_complain("VMM", -pthread_create(&rig->vmm_thread, NULL, moves_guest_vmm, rig), NULL);
	rig->vmm_runs = rc == 0;
	return rc == 0 ? wait_until_direct(rig) : rc;
}

/* The port answers meanwhile: who leaves may be waiting for it. */
static void
end_vmm(struct moves_rig *rig)
{
	eventfd_write(rig->vmm_stop_fd, 1);
	while (rig->vmm_runs && pthread_tryjoin_np(rig->vmm_thread, NULL) != 0)
		process(rig);
	rig->vmm_runs = false;
}

void
moves_rig_close(struct moves_rig *rig)
{
	unsigned int i;

	__atomic_store_n(&rig->task, MOVES_TASK_SERVE, __ATOMIC_RELEASE);
	end_vmm(rig);
	rig->port = rp_port_destroy(rig->port);
	/* The control side waits for the data path at its gate: it ends first. */
	for (i = 0; i < MOVES_ACCELERATORS; i++)
		sleeper_stop(&rig->accelerators[i].control);
	__atomic_store_n(&rig->task, MOVES_TASK_STOP, __ATOMIC_RELEASE);
	if (rig->data_runs)
		pthread_join(rig->data_thread, NULL);
	for (i = 0; i < MOVES_ACCELERATORS; i++)
		close_accelerator(&rig->accelerators[i]);
	if (rig->software_runs)
		moves_software_close(&rig->software, rig->socket_software);
	moves_guest_close(rig);
	rp_wire_fd_close(&rig->vmm_stop_fd);
	rp_wire_fd_close(&rig->kick_fd);
	if (rig->directory[0] != '\0')
		rmdir(rig->directory);
}

static void
do_task(struct moves_rig *rig, enum moves_task task)
{
	__atomic_store_n(&rig->task, task, __ATOMIC_RELEASE);
	while (__atomic_load_n(&rig->doing, __ATOMIC_ACQUIRE) != task)
		rte_pause();
}

double
moves_rig_hop_ns(struct moves_rig *rig)
{
	double hop_ns;

	do_task(rig, MOVES_TASK_ECHO);
	hop_ns = place_hop_ns(&rig->probe);
	do_task(rig, MOVES_TASK_SERVE);
	return hop_ns;
}

void
moves_rig_with_books(struct moves_rig *rig, void (*use)(struct moves_book *books, void *ctx), void *ctx)
{
	do_task(rig, MOVES_TASK_ECHO);
	use(rig->books, ctx);
	do_task(rig, MOVES_TASK_SERVE);
}

int
moves_rig_run_for(struct moves_rig *rig, uint64_t ns)
{
	uint64_t until_ns = bench_now_ns() + ns;

	while (bench_now_ns() < until_ns)
		process(rig);
	return __atomic_load_n(&rig->broken, __ATOMIC_ACQUIRE);
}

static int
order(struct moves_rig *rig, enum moves_owner from, enum moves_owner to, struct rp_wire_why *why)
{
	if (to == MOVES_SOFTWARE)
		return rp_port_move(rig->port, 0, 0, RP_PORT_WISH_SOFTWARE, why);
	if (from == MOVES_SOFTWARE)
		return rp_port_move(rig->port, 0, 0, RP_PORT_WISH_HARDWARE, why);
	return rp_port_transfer(rig->port, 0, 0, to == MOVES_OTHER_HARDWARE, why);
}

int
moves_rig_move(struct moves_rig *rig, enum moves_owner from, enum moves_owner to)
{
	const unsigned int rx = moves_book_changes(&rig->books[MOVES_RX]) + 1,
			   tx = moves_book_changes(&rig->books[MOVES_TX]) + 1;
	uint64_t deadline_ns = bench_now_ns() + MOVE_LIMIT_NS;
	struct rp_wire_why why = {0};
	int rc = order(rig, from, to, &why);

	while (rc == 0 &&
	       (moves_book_changes(&rig->books[MOVES_RX]) < rx || moves_book_changes(&rig->books[MOVES_TX]) < tx)) {
		process(rig);
		rc = __atomic_load_n(&rig->broken, __ATOMIC_ACQUIRE);
		if (rc == 0 && bench_now_ns() > deadline_ns)
			rc = -ETIMEDOUT;
	}
	/* Once each, or two have had it at the same time. */
	if (rc == 0 &&
	    (moves_book_changes(&rig->books[MOVES_RX]) != rx || moves_book_changes(&rig->books[MOVES_TX]) != tx))
		rc = -EBADMSG;
	return vfu_rig_complain("move", rc, &why);
}
