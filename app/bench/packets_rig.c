/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
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
		rc = sleeper_start(&rig->control, softaccel_fd(rig->accel), process_accelerator, rig->accel);
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
		.queue_pairs = (uint16_t)rig->config.shape.pairs,
		.doorbell_delay_ms = 1,
	};

	snprintf(rig->socket_ports[guest], sizeof(rig->socket_ports[guest]), "%s/port%u", rig->directory, guest);
	if (rig->config.devices[PACKETS_BEHIND_PORTS]) {
		config.software.socket_path = rig->behind.guests[guest].socket_path;
		config.software.socket_mode = RP_PORT_CLIENT;
	} else {
		snprintf(arguments, sizeof(arguments), "vfio-user,socket=%s", rig->socket_functions[guest]);
		config.accelerators = accelerators;
		config.accelerators_count = 1;
	}
	return rp_port_create(&config, &registry, &ops, NULL, &rig->ports[guest], why);
}

static int
open_ports(struct packets_rig *rig)
{
	struct rp_wire_why why = {0};
	unsigned int guest;
	int rc = 0;

	for (guest = 0; rc == 0 && guest < PACKETS_GUESTS; guest++) {
		rc = open_port(rig, guest, &why);
		if (rc == 0)
			rc = sleeper_start(&rig->port_threads[guest], rp_port_fd(rig->ports[guest]), process_port,
					   rig->ports[guest]);
	}
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
connect_behind_ports(struct packets_rig *rig)
{
	const char *const paths[PACKETS_GUESTS] = {rig->socket_ports[0], rig->socket_ports[1]};
	int rc = open_ports(rig);

	if (rc == 0)
		rc = open_side(rig, PACKETS_BEHIND_PORTS);
	if (rc == 0)
		rc = packets_guests_connect(&rig->sides[PACKETS_BEHIND_PORTS], paths);
	return rc < 0 ? rc : packets_peer_wait(&rig->behind);
}

static int
connect_peers(struct packets_rig *rig)
{
	const bool *wanted = rig->config.devices;
	int rc = 0;

	if (wanted[PACKETS_PEER] && rig->config.peer_first)
		rc = connect_peer(rig);
	if (rc == 0 && wanted[PACKETS_BEHIND_PORTS])
		rc = connect_behind_ports(rig);
	if (rc == 0 && wanted[PACKETS_PEER] && !rig->config.peer_first)
		rc = connect_peer(rig);
	return rc;
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
open_nulls(struct packets_rig *rig)
{
	int rc = 0;

	if (rig->config.devices[PACKETS_NULL])
		rc = open_side(rig, PACKETS_NULL);
	if (rc == 0 && rig->config.devices[PACKETS_COPY])
		rc = open_side(rig, PACKETS_COPY);
	if (rc == 0 && rig->config.devices[PACKETS_NULL])
		packets_null_open(&rig->null, &rig->sides[PACKETS_NULL], false);
	if (rc == 0 && rig->config.devices[PACKETS_COPY])
		packets_null_open(&rig->copy, &rig->sides[PACKETS_COPY], true);
	return rc;
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
	rc = make_directory(rig);
	if (rc == 0)
		rc = vfu_rig_complain("CPUs", place_pin_to_both(options), NULL);
	if (rc == 0 && wanted[PACKETS_PEER])
		rc = packets_peer_open(&rig->peer, rig->directory, "peer", config->shape.pairs);
	if (rc == 0 && wanted[PACKETS_BEHIND_PORTS])
		rc = packets_peer_open(&rig->behind, rig->directory, "behind", config->shape.pairs);
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
	if (rc == 0)
		rc = connect_peers(rig);
	return rc < 0 ? rc : open_nulls(rig);
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
	for (i = 0; i < PACKETS_GUESTS; i++) {
		sleeper_stop(&rig->port_threads[i]);
		rig->ports[i] = rp_port_destroy(rig->ports[i]);
	}
	sleeper_stop(&rig->control);
	packets_rig_device_stop(rig);
	rig->accel = softaccel_destroy(rig->accel);
	if (rig->config.devices[PACKETS_PEER])
		packets_peer_close(&rig->peer);
	if (rig->config.devices[PACKETS_BEHIND_PORTS])
		packets_peer_close(&rig->behind);
	rp_wire_fd_close(&rig->wake_fd);
	if (rig->directory[0] != '\0')
		rmdir(rig->directory);
	rig->options = NULL;
}
