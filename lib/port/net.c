/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What a network device is told beside its rings, and what it tells: the guest's own
 * control queue never leaves the VMM, so which address, which groups and how many
 * queue pairs the hardware receives for is the port's to say; and that the link went
 * down is the port's to pass on.
 */

#include <errno.h>
#include <linux/virtio_net.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "port.h"
#include "rp_wire_clock.h"

#define AGAIN_MS 250
#define HAS(features, bit) (((features) >> (bit)&1) != 0)

/* struct virtio_net_config, virtio 1.2, 5.1.4: what is told of it; little-endian. */
#define CONFIG_STATUS_AT 6u
#define CONFIG_PAIRS_AT 8u
#define CONFIG_MTU_AT 10u
#define CONFIG_BYTES 12u

/* Pairs receive from the first on, so the last one that is served says how many. */
static uint16_t
pairs_of(const struct rp_port *port, unsigned int index)
{
	uint16_t pairs = 1;
	unsigned int i;

	for (i = 0; i < port->queues_count; i++) {
		const struct port_queue *queue = &port->queues[i];
		unsigned int pair = queue->accelerator_queue / 2 + 1;

		if (queue->accelerator != (int)index || queue->accelerator_queue % 2 != 0 || pair <= pairs)
			continue;
		if (queue->running && !queue->leaving && port_wish_target(port, queue) == RP_PORT_OWNER_HARDWARE)
			pairs = (uint16_t)pair;
	}
	return pairs;
}

static struct rp_accel_net
wanted_of(const struct rp_port *port, unsigned int index)
{
	struct rp_accel_net net = {
		.queue_pairs = pairs_of(port, index),
		.has_mac = port->net.has_mac,
		.promiscuous = port->net.promiscuous == RP_PORT_PROMISCUOUS_ON ||
			       (port->net.promiscuous == RP_PORT_PROMISCUOUS_AUTO && !port->net.has_mac),
		.all_multicast = port->net.multicast == RP_PORT_MULTICAST_ALL,
	};

	memcpy(net.mac, port->net.mac, sizeof(net.mac));
	return net;
}

static bool
same(const struct rp_accel_net *a, const struct rp_accel_net *b)
{
	return a->queue_pairs == b->queue_pairs && a->has_mac == b->has_mac && a->promiscuous == b->promiscuous &&
	       a->all_multicast == b->all_multicast && memcmp(a->mac, b->mac, sizeof(a->mac)) == 0;
}

/* Said once, and again when it is another reason. */
static void
refused(struct rp_port *port, struct port_accelerator *accelerator, const char *text, const char *instead)
{
	char reason[RP_PORT_REASON_MAX];

	snprintf(reason, sizeof(reason), "%.110s%s", text, instead);
	if (strcmp(reason, accelerator->net_reason) == 0)
		return;
	snprintf(accelerator->net_reason, sizeof(accelerator->net_reason), "%s", reason);
	port_event(port, RP_PORT_EVENT_WARNING, -1, "net-refused", "%s: %s", accelerator->arguments, reason);
}

/* A device that cannot be given the guest's address may still receive whatever the address. */
static int
set(struct rp_port *port, struct port_accelerator *accelerator, const struct rp_accel_net *net, struct rp_wire_why *why)
{
	const struct rp_accel *accel = &accelerator->accel;
	struct rp_accel_net without = *net;
	struct rp_wire_why unused = {0};
	int rc = accel->ops->net_set(accel->priv, net, why);

	if (rc != -ENOTSUP || !net->has_mac || port->net.promiscuous == RP_PORT_PROMISCUOUS_OFF) {
		if (rc == 0)
			accelerator->net_reason[0] = '\0';
		else if (rc == -ENOTSUP || rc == -EINVAL)
			refused(port, accelerator, why->text, "");
		return rc;
	}
	without.has_mac = false;
	without.promiscuous = true;
	rc = accel->ops->net_set(accel->priv, &without, &unused);
	refused(port, accelerator, why->text, rc == 0 ? "; it receives whatever the address" : "");
	if (rc < 0)
		*why = unused;
	return rc;
}

void
port_net_update(struct rp_port *port, unsigned int index)
{
	struct port_accelerator *accelerator;
	struct rp_accel_net net;
	struct rp_wire_why why = {0};
	int rc;

	if (!port_accelerator_usable(port, (int)index) || !port->accelerators[index].features_set)
		return;
	accelerator = &port->accelerators[index];
	net = wanted_of(port, index);
	if (accelerator->net_valid && same(&net, &accelerator->net))
		return;
	rc = set(port, accelerator, &net, &why);
	if (rc < 0 && rc != -ENOTSUP && rc != -EINVAL) {
		port_accelerator_fail(port, index, rc, &why);
		return;
	}
	/* What was refused is not asked for again until something else is wanted. */
	accelerator->net = net;
	accelerator->net_valid = true;
}

void
port_net_forgotten(struct port_accelerator *accelerator)
{
	accelerator->net_valid = false;
	accelerator->net_reason[0] = '\0';
	accelerator->link = RP_PORT_LINK_UNKNOWN;
}

static enum rp_port_link
read_link(const struct port_accelerator *accelerator)
{
	const struct rp_accel *accel = &accelerator->accel;
	uint64_t features = accelerator->info.features | accelerator->info.features_required;
	uint8_t status[2];

	if (!HAS(features, VIRTIO_NET_F_STATUS) ||
	    accel->ops->config_get(accel->priv, CONFIG_STATUS_AT, sizeof(status), status) < 0)
		return RP_PORT_LINK_UNKNOWN;
	return (status[0] & VIRTIO_NET_S_LINK_UP) != 0 ? RP_PORT_LINK_UP : RP_PORT_LINK_DOWN;
}

/* Of the first pair's device: with one pair, the guest's own. */
static bool
is_down_for_guest(const struct rp_port *port)
{
	int accelerator = port->queues_count > 0 ? port->queues[0].accelerator : -1;

	return accelerator >= 0 && port->accelerators[accelerator].link == RP_PORT_LINK_DOWN;
}

/* A frontend that did not negotiate CONFIG is not told; it has a link state of its own. */
void
port_net_tell(struct rp_port *port)
{
	struct rp_wire_why why;
	int rc = rp_vhu_backend_config_changed(port->backend, PORT_TOKEN_CONFIG, &why);

	port->config_at_ms = rc == -ENOSPC ? rp_wire_clock_ms() + AGAIN_MS : 0;
	port->link_down_told = is_down_for_guest(port);
}

void
port_net_moved(struct rp_port *port)
{
	if (is_down_for_guest(port) != port->link_down_told)
		port_net_tell(port);
}

void
port_net_opened(struct rp_port *port, unsigned int index)
{
	struct port_accelerator *accelerator = &port->accelerators[index];

	accelerator->link = read_link(accelerator);
	if (accelerator->link == RP_PORT_LINK_DOWN)
		port_event(port, RP_PORT_EVENT_WARNING, -1, "link-down", "%s", accelerator->arguments);
}

void
port_net_changed(struct rp_port *port, unsigned int index)
{
	struct port_accelerator *accelerator = &port->accelerators[index];
	enum rp_port_link before = accelerator->link;

	accelerator->link = read_link(accelerator);
	if (accelerator->link != before && accelerator->link != RP_PORT_LINK_UNKNOWN)
		port_event(port, RP_PORT_EVENT_NOTICE, -1,
			   accelerator->link == RP_PORT_LINK_UP ? "link-up" : "link-down", "%s",
			   accelerator->arguments);
	else
		port_event(port, RP_PORT_EVENT_DEBUG, -1, "config-changed", "%s", accelerator->arguments);
	port_net_tell(port);
}

uint64_t
port_net_deadline(const struct rp_port *port)
{
	return port->config_at_ms;
}

void
port_net_tick(struct rp_port *port, uint64_t now_ms)
{
	if (port->config_at_ms != 0 && now_ms >= port->config_at_ms)
		port_net_tell(port);
}

static void
fill_config(struct rp_port *port, uint8_t *bytes)
{
	const struct port_accelerator *accelerator = &port->accelerators[0];
	const struct rp_accel *accel = &accelerator->accel;
	unsigned int pairs = port->queues_count / 2;

	memcpy(bytes, port->net.has_mac ? port->net.mac : accelerator->info.mac, sizeof(accelerator->info.mac));
	bytes[CONFIG_STATUS_AT] = is_down_for_guest(port) ? 0 : VIRTIO_NET_S_LINK_UP;
	bytes[CONFIG_PAIRS_AT] = (uint8_t)pairs;
	bytes[CONFIG_PAIRS_AT + 1] = (uint8_t)(pairs >> 8);
	if (!port_accelerator_usable(port, 0) || !HAS(accelerator->info.features, VIRTIO_NET_F_MTU) ||
	    accel->ops->config_get(accel->priv, CONFIG_MTU_AT, 2, &bytes[CONFIG_MTU_AT]) < 0)
		memset(&bytes[CONFIG_MTU_AT], 0, 2);
}

void
port_net_config(struct rp_port *port, uint32_t offset_bytes, uint32_t size_bytes, uint8_t *ret_bytes)
{
	uint8_t bytes[CONFIG_BYTES] = {0};

	memset(ret_bytes, 0, size_bytes);
	if (offset_bytes >= sizeof(bytes))
		return;
	fill_config(port, bytes);
	if (offset_bytes <= CONFIG_STATUS_AT && size_bytes > CONFIG_STATUS_AT - offset_bytes)
		port->link_down_told = is_down_for_guest(port);
	if (size_bytes > sizeof(bytes) - offset_bytes)
		size_bytes = (uint32_t)sizeof(bytes) - offset_bytes;
	memcpy(ret_bytes, &bytes[offset_bytes], size_bytes);
}

const char *
rp_port_link_name(enum rp_port_link link)
{
	static const char *const names[] = {
		[RP_PORT_LINK_UNKNOWN] = "unknown",
		[RP_PORT_LINK_UP] = "up",
		[RP_PORT_LINK_DOWN] = "down",
	};

	return names[link];
}
