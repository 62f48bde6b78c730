/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "packets_rig.h"
#include "rp_virtio.h"
#include "rp_wire_fd.h"
#include "vfu_rig.h"

#define MBUFS_COUNT 4096u
/* The port drains the kick eventfd once, 20 ms after a doorbell was mapped. */
#define SETTLE_US 50000u
#define MAC_STEP 8u

static void *
control_main(void *ctx)
{
	struct packets_rig *rig = ctx;
	struct pollfd wait[2] = {
		{.fd = softaccel_fd(rig->accel), .events = POLLIN},
		{.fd = rig->stop_fds[0], .events = POLLIN},
	};

	place_before_spinners();
	do {
		softaccel_process(rig->accel);
		poll(wait, 2, -1);
	} while (wait[1].revents == 0);
	return NULL;
}

static void *
ports_main(void *ctx)
{
	struct packets_rig *rig = ctx;
	struct pollfd wait[PACKETS_GUESTS + 1];
	unsigned int i;

	for (i = 0; i < PACKETS_GUESTS; i++)
		wait[i] = (struct pollfd){.fd = rp_port_fd(rig->ports[i]), .events = POLLIN};
	wait[PACKETS_GUESTS] = (struct pollfd){.fd = rig->stop_fds[1], .events = POLLIN};
	place_before_spinners();
	do {
		for (i = 0; i < PACKETS_GUESTS; i++)
			rp_port_process(rig->ports[i]);
		poll(wait, PACKETS_GUESTS + 1, -1);
	} while (wait[PACKETS_GUESTS].revents == 0);
	return NULL;
}

static int
open_function(struct packets_rig *rig, unsigned int number, struct rp_wire_why *why)
{
	struct softaccel_function_config config = {
		.socket_path = rig->socket_functions[number],
		.queue_pairs = (uint16_t)rig->config.shape.pairs,
		.queue_size = PACKETS_RING_NUM,
		.mac = {0x52, 0x54, 0, 0, 1, (uint8_t)number},
	};

	snprintf(rig->socket_functions[number], sizeof(rig->socket_functions[number]), "%s/device%u", rig->directory,
		 number);
	return softaccel_function_add(rig->accel, &config, NULL, why);
}

static int
open_accelerator(struct packets_rig *rig)
{
	const struct softaccel_config config = {
		.mbufs_count = MBUFS_COUNT,
		.copies = rig->config.copies,
		.isa = rig->config.isa,
	};
	struct rp_wire_why why = {0};
	unsigned int i, functions = rig->config.devices[PACKETS_WHOLE] ? PACKETS_FUNCTIONS : PACKETS_GUESTS;
	int rc = softaccel_create(&config, NULL, NULL, &rig->accel, &why);

	for (i = 0; rc == 0 && i < functions; i++)
		rc = open_function(rig, i, &why);
	if (rc == 0)
		rc = -pthread_create(&rig->control_thread, NULL, control_main, rig);
	rig->control_runs = rc == 0;
	return vfu_rig_complain("softaccel", rc, &why);
}

static int
open_port(struct packets_rig *rig, unsigned int guest, struct rp_wire_why *why)
{
	static const struct rp_accel_driver *const drivers[] = {&rp_virtio_vfio_user_driver, NULL};
	static const struct rp_accel_registry registry = {.drivers = drivers};
	static const struct rp_port_ops ops;
	char arguments[96];
	const char *accelerators[1] = {arguments};
	struct rp_port_config config = {
		.name = guest == PACKETS_SENDER ? "sender" : "receiver",
		.socket_path = rig->socket_ports[guest],
		.accelerators = accelerators,
		.accelerators_count = 1,
		.doorbell_delay_ms = 1,
	};

	snprintf(rig->socket_ports[guest], sizeof(rig->socket_ports[guest]), "%s/port%u", rig->directory, guest);
	snprintf(arguments, sizeof(arguments), "vfio-user,socket=%s", rig->socket_functions[guest]);
	return rp_port_create(&config, &registry, &ops, NULL, &rig->ports[guest], why);
}

static int
open_ports(struct packets_rig *rig)
{
	struct rp_wire_why why = {0};
	unsigned int guest;
	int rc = 0;

	for (guest = 0; rc == 0 && guest < PACKETS_GUESTS; guest++)
		rc = open_port(rig, guest, &why);
	if (rc == 0)
		rc = -pthread_create(&rig->port_thread, NULL, ports_main, rig);
	rig->port_runs = rc == 0;
	return vfu_rig_complain("ports", rc, &why);
}

static int
open_side(struct packets_rig *rig, enum packets_device device)
{
	struct packets_shape shape = rig->config.shape;

	/* One softaccel serves several of them: an address is in one place. */
	shape.mac_last = (uint8_t)(MAC_STEP * (rig->config.whole_first ? PACKETS_DEVICES_COUNT - device : device));
	return packets_side_open(&rig->sides[device], rig->options, &shape);
}

static int
connect_through_ports(struct packets_rig *rig)
{
	const char *const paths[PACKETS_GUESTS] = {rig->socket_ports[0], rig->socket_ports[1]};
	int rc = open_ports(rig);

	if (rc == 0)
		rc = open_side(rig, PACKETS_PORT);
	if (rc == 0)
		rc = packets_guests_connect(&rig->sides[PACKETS_PORT], paths);
	if (rc == 0)
		rc = packets_guests_wait_doorbells(&rig->sides[PACKETS_PORT]);
	if (rc == 0)
		usleep(SETTLE_US);
	return rc;
}

static int
connect_whole(struct packets_rig *rig)
{
	const char *const paths[PACKETS_GUESTS] = {
		rig->socket_functions[PACKETS_GUESTS],
		rig->socket_functions[PACKETS_GUESTS + 1],
	};
	int rc = open_side(rig, PACKETS_WHOLE);

	return rc < 0 ? rc : packets_guests_take(&rig->sides[PACKETS_WHOLE], paths);
}

static int
connect_peer(struct packets_rig *rig)
{
	const char *const paths[PACKETS_GUESTS] = {
		rig->peer.guests[0].socket_path,
		rig->peer.guests[1].socket_path,
	};
	int rc = open_side(rig, PACKETS_PEER);

	if (rc == 0)
		rc = packets_guests_connect(&rig->sides[PACKETS_PEER], paths);
	return rc < 0 ? rc : packets_peer_wait(&rig->peer);
}

static int
make_directory(struct packets_rig *rig)
{
	int rc;

	snprintf(rig->directory, sizeof(rig->directory), "/tmp/ringpass-bench.XXXXXX");
	if (mkdtemp(rig->directory) != NULL)
		return 0;
	rc = vfu_rig_complain(rig->directory, -errno, NULL);
	rig->directory[0] = '\0';
	return rc;
}

static int
pin_nowhere(const struct bench_options *options)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned int)options->guest_cpu, &set);
	CPU_SET((unsigned int)options->device_cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) < 0 ? -errno : 0;
}

int
packets_rig_open(struct packets_rig *rig, const struct bench_options *options, const struct packets_rig_config *config)
{
	const bool *wanted = config->devices;
	int rc;

	memset(rig, 0, sizeof(*rig));
	rig->options = options;
	rig->config = *config;
	rig->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rig->stop_fds[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rig->stop_fds[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = make_directory(rig);
	/*
	 * First, and with both CPUs: who starts librte_vhost's thread looks again and again
	 * whether it has begun, which it cannot on the same CPU with a real-time priority.
	 */
	if (rc == 0)
		rc = vfu_rig_complain("CPUs", pin_nowhere(options), NULL);
	if (rc == 0 && wanted[PACKETS_PEER])
		rc = packets_peer_open(&rig->peer, rig->directory, config->shape.pairs);
	/* Threads inherit it; the device's is started elsewhere. */
	if (rc == 0)
		rc = vfu_rig_complain("guest CPU", place_pin(options->guest_cpu), NULL);
	if (rc == 0)
		rc = vfu_rig_complain("device", packets_rig_device_start(rig), NULL);
	if (rc == 0 && (wanted[PACKETS_PORT] || wanted[PACKETS_WHOLE]))
		rc = open_accelerator(rig);
	if (rc == 0 && wanted[PACKETS_WHOLE] && config->whole_first)
		rc = connect_whole(rig);
	if (rc == 0 && wanted[PACKETS_PORT])
		rc = connect_through_ports(rig);
	if (rc == 0 && wanted[PACKETS_WHOLE] && !config->whole_first)
		rc = connect_whole(rig);
	if (rc == 0 && wanted[PACKETS_PEER])
		rc = connect_peer(rig);
	if (rc == 0 && wanted[PACKETS_NULL])
		rc = open_side(rig, PACKETS_NULL);
	if (rc == 0 && wanted[PACKETS_NULL])
		packets_null_open(&rig->null, &rig->sides[PACKETS_NULL]);
	return rc;
}

static void
stop_thread(bool *runs, pthread_t thread, int stop_fd)
{
	eventfd_write(stop_fd, 1);
	if (*runs)
		pthread_join(thread, NULL);
	*runs = false;
}

void
packets_rig_close(struct packets_rig *rig)
{
	unsigned int i;

	if (rig->options == NULL)
		return;
	packets_rig_rest(rig);
	for (i = 0; i < PACKETS_DEVICES_COUNT; i++)
		packets_side_close(&rig->sides[i]);
	stop_thread(&rig->port_runs, rig->port_thread, rig->stop_fds[1]);
	for (i = 0; i < PACKETS_GUESTS; i++)
		rig->ports[i] = rp_port_destroy(rig->ports[i]);
	stop_thread(&rig->control_runs, rig->control_thread, rig->stop_fds[0]);
	packets_rig_device_stop(rig);
	rig->accel = softaccel_destroy(rig->accel);
	if (rig->config.devices[PACKETS_PEER])
		packets_peer_close(&rig->peer);
	rp_wire_fd_close_all(rig->stop_fds, 2);
	rp_wire_fd_close(&rig->wake_fd);
	if (rig->directory[0] != '\0')
		rmdir(rig->directory);
	rig->options = NULL;
}
