/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "port.h"
#include "rp_wire_clock.h"

void
rp_port_get_info(const struct rp_port *port, struct rp_port_info *ret_info)
{
	unsigned int i;

	memset(ret_info, 0, sizeof(*ret_info));
	snprintf(ret_info->name, sizeof(ret_info->name), "%s", port->name);
	snprintf(ret_info->socket_path, sizeof(ret_info->socket_path), "%s", port->socket_path);
	ret_info->socket_mode = port->socket_mode;
	ret_info->profile = port->profile;
	ret_info->connected = rp_vhu_backend_attached(port->backend);
	ret_info->frontend_pid = (int)rp_vhu_backend_peer(port->backend);
	ret_info->features_offered = port->features_offered;
	ret_info->features_acked = port->features_acked ? port->features : 0;
	ret_info->protocol_features = rp_vhu_backend_protocol_features(port->backend);
	ret_info->queues_count = port->queues_count;
	ret_info->accelerators_count = port->accelerators_count;
	ret_info->windows_count = port->windows_count;
	ret_info->regions_count = rp_vhu_backend_regions_count(port->backend);
	for (i = 0; i < ret_info->regions_count; i++) {
		struct rp_vhu_region region;

		if (rp_vhu_backend_region(port->backend, i, &region) == 0)
			ret_info->memory_bytes += region.size_bytes;
	}
	port_iommu_get_info(port, ret_info);
}

int
rp_port_get_queue_mode(const struct rp_port *port, unsigned int index, enum rp_port_queue_mode *ret_mode)
{
	if (index >= port->queues_count)
		return -EINVAL;
	*ret_mode = port_queue_mode(&port->queues[index]);
	return 0;
}

int
rp_port_get_queue_info(struct rp_port *port, unsigned int index, struct rp_port_queue_info *ret_info)
{
	struct port_queue *queue;

	if (index >= port->queues_count)
		return -EINVAL;
	queue = &port->queues[index];
	memset(ret_info, 0, sizeof(*ret_info));
	ret_info->queue = index;
	ret_info->counters_valid = port_queue_counters(port, queue, &ret_info->counters);
	ret_info->mode = port_queue_mode(queue);
	ret_info->doorbell = queue->doorbell.state;
	ret_info->doorbell_policy = queue->doorbell.policy;
	ret_info->vfio_file = queue->vfio_file.state;
	ret_info->ring_policy = queue->ring_policy;
	ret_info->redone = queue->redone;
	ret_info->lost = queue->lost;
	ret_info->accesses_refused = port_queue_accesses_refused(queue);
	ret_info->user_enabled = queue->user_enabled;
	ret_info->frontend_enabled = queue->frontend_enabled;
	ret_info->frontend_started = queue->frontend_started;
	ret_info->node = queue->node;
	port_queue_reason(port, queue, ret_info->reason, sizeof(ret_info->reason));
	ret_info->accelerator = queue->accelerator;
	ret_info->accelerator_queue = queue->accelerator_queue;
	ret_info->relayed_kicks = queue->relayed_kicks;
	ret_info->relayed_kicks_after_map = queue->relayed_kicks_after_map;
	ret_info->relayed_interrupts = queue->relayed_interrupts;
	ret_info->owner = port_queue_owner(queue);
	ret_info->wish = queue->wish;
	port_wish_reason(port, queue, ret_info->wish_reason, sizeof(ret_info->wish_reason));
	port_queue_note_mode(queue, rp_wire_clock_ms());
	ret_info->since_ms = rp_wire_clock_ms() - queue->mode_since_ms;
	ret_info->moves = queue->moves;
	ret_info->moves_to_hardware = queue->moves_to_hardware;
	ret_info->moves_to_software = queue->moves_to_software;
	ret_info->moves_between_accelerators = queue->moves_between_accelerators;
	port_blackout_tell(&queue->blackouts, ret_info);
	ret_info->doorbell_maps = queue->doorbell_maps;
	ret_info->doorbell_wanted = !queue->doorbell.unwanted;
	ret_info->doorbell_idles = queue->doorbell_idles;
	/* A device that is waited for is heard meanwhile. */
	port_timer_update(port);
	return 0;
}

void
rp_port_get_software_info(const struct rp_port *port, struct rp_port_software_info *ret_info)
{
	memset(ret_info, 0, sizeof(*ret_info));
	if (port_software_configured(port))
		port_software_get_info(port, ret_info);
}

int
rp_port_get_accelerator_info(const struct rp_port *port, unsigned int index, struct rp_port_accelerator_info *ret_info)
{
	const struct port_accelerator *accelerator;

	if (index >= port->accelerators_count)
		return -EINVAL;
	accelerator = &port->accelerators[index];
	memset(ret_info, 0, sizeof(*ret_info));
	snprintf(ret_info->arguments, sizeof(ret_info->arguments), "%s", accelerator->arguments);
	ret_info->open = port_accelerator_usable(port, (int)index);
	snprintf(ret_info->reason, sizeof(ret_info->reason), "%s", accelerator->reason);
	rp_dma_sections_counters(accelerator->sections, &ret_info->sections);
	if (!ret_info->open)
		return 0;
	ret_info->info = accelerator->info;
	ret_info->link = accelerator->link;
	if (accelerator->net_valid)
		ret_info->net = accelerator->net;
	snprintf(ret_info->net_reason, sizeof(ret_info->net_reason), "%s", accelerator->net_reason);
	return 0;
}

/* clang-format off */
const char *
rp_port_queue_mode_name(enum rp_port_queue_mode mode)
{
	static const char *const names[] = {
		[RP_PORT_QUEUE_STOPPED] = "stopped",
		[RP_PORT_QUEUE_DIRECT] = "direct",
		[RP_PORT_QUEUE_RELAYED] = "relayed",
		[RP_PORT_QUEUE_SHADOW] = "shadow",
		[RP_PORT_QUEUE_SOFTWARE] = "software",
	};

	return names[mode];
}

const char *
rp_port_owner_name(enum rp_port_owner owner)
{
	static const char *const names[] = {
		[RP_PORT_OWNER_NONE] = "none",
		[RP_PORT_OWNER_HARDWARE] = "hardware",
		[RP_PORT_OWNER_SOFTWARE] = "software",
	};

	return names[owner];
}

const char *
rp_port_wish_name(enum rp_port_wish wish)
{
	static const char *const names[] = {
		[RP_PORT_WISH_AUTO] = "auto",
		[RP_PORT_WISH_HARDWARE] = "hardware",
		[RP_PORT_WISH_SOFTWARE] = "software",
	};

	return names[wish];
}

const char *
rp_port_software_kind_name(enum rp_port_software_kind kind)
{
	static const char *const names[] = {
		[RP_PORT_SOFTWARE_AUTO] = "auto",
		[RP_PORT_SOFTWARE_SPECIFICATION] = "specification",
		[RP_PORT_SOFTWARE_LIBRTE_VHOST] = "librte_vhost",
	};

	return names[kind];
}
/* clang-format on */
