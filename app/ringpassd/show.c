/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "rpc.h"
#include "text.h"

#define TEXT_SHOWN_MAX 512

void
rpd_json_add_text(struct json_object *object, const char *key, const char *text)
{
	char clean[TEXT_SHOWN_MAX];

	rpd_text_clean(text, clean, sizeof(clean));
	json_object_object_add(object, key, json_object_new_string(clean));
}

void
rpd_json_add_number(struct json_object *object, const char *key, uint64_t number)
{
	json_object_object_add(object, key, json_object_new_uint64(number));
}

static void
add_bool(struct json_object *object, const char *key, bool value)
{
	json_object_object_add(object, key, json_object_new_boolean(value));
}

/* Null: nobody knows, or there is nothing to choose. */
static void
add_node(struct json_object *object, const char *key, int node)
{
	json_object_object_add(object, key, node < 0 ? NULL : json_object_new_int(node));
}

/* As text: JSON readers keep only 53 bits of a number. */
static void
add_mask(struct json_object *object, const char *key, uint64_t mask)
{
	char text[20];

	snprintf(text, sizeof(text), "0x%" PRIx64, mask);
	json_object_object_add(object, key, json_object_new_string(text));
}

/* What is known of a port as a whole, up or waiting. */
struct shown {
	struct rp_port_info info;
	struct rp_port_software_info software;
};

static void
look_at(const struct rpd_port *entry, struct shown *ret_shown)
{
	memset(ret_shown, 0, sizeof(*ret_shown));
	if (entry->port == NULL)
		return;
	rp_port_get_info(entry->port, &ret_shown->info);
	rp_port_get_software_info(entry->port, &ret_shown->software);
}

/* It serves no frontend before it knows what the software backend can. */
static bool
waits_for_software(const struct shown *shown)
{
	return shown->software.configured && shown->software.features == 0;
}

static const char *
state_of(const struct rpd_port *entry, const struct shown *shown)
{
	const struct rp_port_info *info = &shown->info;

	if (entry->port == NULL || waits_for_software(shown))
		return "waiting";
	if (info->connected)
		return "connected";
	return info->socket_mode == RP_PORT_CLIENT ? "connecting" : "listening";
}

static void
add_identity(struct json_object *object, const struct rpd_port *entry, const struct shown *shown)
{
	rpd_json_add_text(object, "port", entry->spec.name);
	rpd_json_add_text(object, "socket", entry->spec.socket_path);
	rpd_json_add_text(object, "mode", rpd_socket_mode_name((enum rp_port_socket_mode)entry->spec.socket_mode));
	rpd_json_add_text(object, "profile", rpd_profile_name((enum rp_vhu_profile)entry->spec.profile));
	rpd_json_add_text(object, "state", state_of(entry, shown));
	rpd_json_add_text(object, "reason",
			  entry->port != NULL && waits_for_software(shown) ? shown->software.reason : entry->reason);
	rpd_json_add_number(object, "frontend_pid", (uint64_t)shown->info.frontend_pid);
}

void
rpd_show_port_summary(struct json_object *object, const struct rpd_port *entry)
{
	unsigned int modes[RP_PORT_QUEUE_SOFTWARE + 1] = {0};
	struct shown shown;
	unsigned int i;

	look_at(entry, &shown);
	for (i = 0; i < shown.info.queues_count; i++) {
		enum rp_port_queue_mode mode;

		if (rp_port_get_queue_mode(entry->port, i, &mode) == 0)
			modes[mode]++;
	}
	add_identity(object, entry, &shown);
	rpd_json_add_number(object, "accelerators", entry->spec.accelerators_count);
	rpd_json_add_number(object, "queues", shown.info.queues_count);
	rpd_json_add_number(object, "queues_direct", modes[RP_PORT_QUEUE_DIRECT]);
	rpd_json_add_number(object, "queues_relayed", modes[RP_PORT_QUEUE_RELAYED]);
	rpd_json_add_number(object, "queues_stopped", modes[RP_PORT_QUEUE_STOPPED]);
	rpd_json_add_number(object, "queues_shadow", modes[RP_PORT_QUEUE_SHADOW]);
	rpd_json_add_number(object, "queues_software", modes[RP_PORT_QUEUE_SOFTWARE]);
}

static void
add_net(struct json_object *object, const struct rp_port_accelerator_info *accelerator)
{
	const struct rp_accel_net *net = &accelerator->net;
	const uint8_t *mac = net->has_mac ? net->mac : accelerator->info.mac;
	char text[RPD_MAC_MAX] = "";

	if (net->has_mac || accelerator->info.has_mac)
		snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
			 mac[5]);
	rpd_json_add_text(object, "link", rp_port_link_name(accelerator->link));
	rpd_json_add_text(object, "mac", text);
	add_bool(object, "promiscuous", net->promiscuous);
	add_bool(object, "all_multicast", net->all_multicast);
	rpd_json_add_number(object, "receiving_pairs", net->queue_pairs);
	rpd_json_add_text(object, "net_reason", accelerator->net_reason);
}

static void
add_windows_of(struct json_object *object, const struct rp_dma_sections_counters *sections)
{
	uint64_t left_out = 0;
	unsigned int cause;

	for (cause = 0; cause < RP_DMA_SECTION_CAUSES_COUNT; cause++)
		left_out += sections->left_out[cause];
	rpd_json_add_number(object, "windows_mapped", sections->mapped_count);
	rpd_json_add_number(object, "windows_left_out", sections->left_out_count);
	rpd_json_add_number(object, "left_out_ever", left_out);
	rpd_json_add_number(object, "left_out_untold", sections->reports_held_back);
}

static struct json_object *
show_accelerator(const struct rpd_port *entry, unsigned int index)
{
	struct json_object *object = json_object_new_object();
	struct rp_port_accelerator_info accelerator = {0};

	if (entry->port == NULL)
		snprintf(accelerator.reason, sizeof(accelerator.reason), "%.*s", RP_PORT_REASON_MAX - 1, entry->reason);
	else
		rp_port_get_accelerator_info(entry->port, index, &accelerator);
	rpd_json_add_text(object, "arguments", entry->spec.accelerators[index]);
	add_bool(object, "open", accelerator.open);
	rpd_json_add_text(object, "reason", accelerator.reason);
	if (!accelerator.open)
		return object;
	rpd_json_add_text(object, "driver", accelerator.info.driver);
	rpd_json_add_text(object, "transport", accelerator.info.transport);
	rpd_json_add_text(object, "device", accelerator.info.device);
	rpd_json_add_text(object, "class", rp_accel_class_name(accelerator.info.class));
	add_mask(object, "features", accelerator.info.features);
	rpd_json_add_number(object, "queues", accelerator.info.queues_count);
	add_bool(object, "notify_by_address", accelerator.info.notify_by_address);
	rpd_json_add_number(object, "peer_pid", (uint64_t)accelerator.info.peer_pid);
	add_bool(object, "vfio_file", accelerator.info.vfio_file_fd >= 0);
	add_net(object, &accelerator);
	add_windows_of(object, &accelerator.sections);
	return object;
}

static const char *
software_state(const struct rpd_port *entry, const struct rp_port_software_info *software)
{
	if (entry->port == NULL)
		return "waiting";
	if (software->usable)
		return "usable";
	if (software->connected)
		return "connected";
	return software->socket_mode == RP_PORT_CLIENT ? "connecting" : "listening";
}

static struct json_object *
show_software(const struct rpd_port *entry, const struct rp_port_software_info *software)
{
	struct json_object *object;

	if (entry->spec.software_path[0] == '\0')
		return NULL;
	object = json_object_new_object();
	rpd_json_add_text(object, "socket", entry->spec.software_path);
	rpd_json_add_text(object, "mode", entry->spec.software_mode == RPD_SOFTWARE_SERVER ? "server" : "client");
	rpd_json_add_text(object, "state", software_state(entry, software));
	rpd_json_add_text(object, "reason", entry->port == NULL ? entry->reason : software->reason);
	rpd_json_add_text(object, "kind", rp_port_software_kind_name(software->kind));
	rpd_json_add_number(object, "pid", (uint64_t)software->pid);
	add_mask(object, "features", software->features);
	add_mask(object, "protocol_features", software->protocol_features);
	rpd_json_add_number(object, "queues", software->queues_count);
	rpd_json_add_number(object, "connections", software->connections);
	rpd_json_add_number(object, "timeouts", software->timeouts);
	return object;
}

static void
add_counters(struct json_object *object, const struct rp_port_queue_info *info)
{
	const struct rp_accel_queue_counters *counters = &info->counters;

	rpd_json_add_number(object, "direct_kicks", counters->direct_kicks);
	rpd_json_add_number(object, "eventfd_kicks", counters->eventfd_kicks);
	rpd_json_add_number(object, "relayed_kicks", info->relayed_kicks);
	rpd_json_add_number(object, "relayed_kicks_after_map", info->relayed_kicks_after_map);
	rpd_json_add_number(object, "device_interrupts", counters->interrupts);
	rpd_json_add_number(object, "relayed_interrupts", info->relayed_interrupts);
	rpd_json_add_number(object, "moves", info->moves);
	rpd_json_add_number(object, "doorbell_maps", info->doorbell_maps);
	rpd_json_add_number(object, "doorbell_idles", info->doorbell_idles);
	rpd_json_add_number(object, "packets", counters->packets);
	rpd_json_add_number(object, "bytes", counters->bytes);
	rpd_json_add_number(object, "errors", counters->errors);
	add_bool(object, "counters_valid", info->counters_valid);
}

/* How long nobody served the ring; null: it was never moved. */
static void
add_blackout(struct json_object *object, const char *key, const struct rp_port_queue_info *info, uint64_t us)
{
	json_object_object_add(object, key, info->blackouts_count == 0 ? NULL : json_object_new_uint64(us));
}

static void
add_moves(struct json_object *object, const struct rp_port_queue_info *info)
{
	rpd_json_add_text(object, "owner", rp_port_owner_name(info->owner));
	rpd_json_add_text(object, "wish", rp_port_wish_name(info->wish));
	rpd_json_add_text(object, "wish_reason", info->wish_reason);
	rpd_json_add_number(object, "since_ms", info->since_ms);
	rpd_json_add_number(object, "moves_to_hardware", info->moves_to_hardware);
	rpd_json_add_number(object, "moves_to_software", info->moves_to_software);
	rpd_json_add_number(object, "moves_between_accelerators", info->moves_between_accelerators);
	rpd_json_add_number(object, "blackouts", info->blackouts_count);
	add_blackout(object, "blackout_min_us", info, info->blackout_min_us);
	add_blackout(object, "blackout_median_us", info, info->blackout_median_us);
	add_blackout(object, "blackout_max_us", info, info->blackout_max_us);
}

void
rpd_show_queue(struct json_object *object, const struct rp_port_queue_info *info)
{
	rpd_json_add_number(object, "queue", info->queue);
	/* virtio 1.2, 5.1.2: even queues receive, odd ones transmit. */
	rpd_json_add_text(object, "direction", info->queue % 2 == 0 ? "rx" : "tx");
	rpd_json_add_text(object, "mode", rp_port_queue_mode_name(info->mode));
	rpd_json_add_text(object, "doorbell", rp_port_doorbell_state_name(info->doorbell));
	add_bool(object, "doorbell_wanted", info->doorbell_wanted);
	rpd_json_add_text(object, "doorbell_policy", rpd_doorbell_policy_name(info->doorbell_policy));
	rpd_json_add_text(object, "reason", info->reason);
	add_bool(object, "user_enabled", info->user_enabled);
	add_bool(object, "frontend_enabled", info->frontend_enabled);
	add_bool(object, "frontend_started", info->frontend_started);
	add_node(object, "node", info->node);
	if (info->accelerator < 0) {
		json_object_object_add(object, "accelerator", NULL);
		json_object_object_add(object, "accelerator_queue", NULL);
	} else {
		rpd_json_add_number(object, "accelerator", (uint64_t)info->accelerator);
		rpd_json_add_number(object, "accelerator_queue", info->accelerator_queue);
	}
	add_counters(object, info);
	rpd_json_add_text(object, "ring_policy", rp_port_ring_policy_name(info->ring_policy));
	rpd_json_add_number(object, "redone", info->redone);
	rpd_json_add_number(object, "lost", info->lost);
	rpd_json_add_number(object, "accesses_refused", info->accesses_refused);
	rpd_json_add_text(object, "vfio_file", rp_port_vfio_file_state_name(info->vfio_file));
	add_moves(object, info);
}

static struct json_object *
show_window(unsigned int index, const struct rp_port_window *window)
{
	struct json_object *object = json_object_new_object();

	rpd_json_add_number(object, "window", index);
	rpd_json_add_number(object, "of", window->of);
	rpd_json_add_number(object, "bar", window->region);
	rpd_json_add_number(object, "to", window->to);
	return object;
}

static struct json_object *
show_section(unsigned int index, const struct rp_port_window *window, const struct rp_dma_section_state *state)
{
	struct json_object *object = show_window(index, window);
	bool mapped = state->cause == RP_DMA_SECTION_FITS;

	add_mask(object, "iova", state->section.iova);
	rpd_json_add_number(object, "offset", state->section.offset_bytes);
	rpd_json_add_number(object, "size", state->section.size_bytes);
	rpd_json_add_text(object, "state", mapped ? "mapped" : "left-out");
	rpd_json_add_text(object, "cause", mapped ? "" : rp_dma_section_cause_name(state->cause));
	rpd_json_add_text(object, "reason", state->reason);
	return object;
}

/* One row for each piece of a window; one for a window of which there is none, because a device is not there. */
static struct json_object *
show_windows(const struct rpd_port *entry)
{
	struct json_object *windows = json_object_new_array(), *object;
	unsigned int i, j;

	for (i = 0; i < entry->spec.windows_count; i++) {
		struct rp_port_window_info info = {.window = entry->spec.windows[i]};

		if (entry->port != NULL)
			rp_port_get_window_info(entry->port, i, &info);
		for (j = 0; j < info.sections_count; j++)
			json_object_array_add(windows, show_section(i, &info.window, &info.sections[j]));
		if (info.sections_count > 0)
			continue;
		object = show_window(i, &info.window);
		add_mask(object, "iova", info.window.iova);
		rpd_json_add_number(object, "offset", info.window.offset_bytes);
		rpd_json_add_number(object, "size", info.window.size_bytes);
		rpd_json_add_text(object, "state", "waiting");
		rpd_json_add_text(object, "cause", "");
		rpd_json_add_text(object, "reason", "one of its devices is not there");
		json_object_array_add(windows, object);
	}
	return windows;
}

/* Null where no guest can have an IOMMU in front of the port. */
static struct json_object *
show_iommu(const struct rp_port_info *info)
{
	const struct rp_port_iommu_info *iommu = &info->iommu;
	struct json_object *object;

	if (!info->access_platform)
		return NULL;
	object = json_object_new_object();
	add_bool(object, "negotiated", (info->features_acked >> RP_VHU_F_ACCESS_PLATFORM_BIT & 1) != 0);
	rpd_json_add_number(object, "translations", iommu->translations);
	rpd_json_add_number(object, "updates", iommu->updates);
	rpd_json_add_number(object, "invalidations", iommu->invalidations);
	rpd_json_add_number(object, "misses", iommu->misses);
	rpd_json_add_number(object, "misses_refused", iommu->misses_refused);
	rpd_json_add_number(object, "rings_stopped", iommu->rings_stopped);
	rpd_json_add_number(object, "device_translations", iommu->device_translations);
	rpd_json_add_number(object, "device_page_requests", iommu->device_page_requests);
	rpd_json_add_number(object, "device_pages", iommu->device_pages);
	rpd_json_add_number(object, "device_invalidations", iommu->device_invalidations);
	return object;
}

void
rpd_show_port(struct json_object *object, const struct rpd_port *entry)
{
	struct json_object *accelerators = json_object_new_array();
	struct json_object *queues = json_object_new_array();
	const struct rp_port_info *info;
	struct shown shown;
	unsigned int i;

	look_at(entry, &shown);
	info = &shown.info;
	add_identity(object, entry, &shown);
	add_mask(object, "features_offered", info->features_offered);
	add_mask(object, "features_acked", info->features_acked);
	add_mask(object, "protocol_features", info->protocol_features);
	rpd_json_add_number(object, "memory_bytes", info->memory_bytes);
	rpd_json_add_number(object, "regions", info->regions_count);
	add_node(object, "thread_node", rpd_ports_thread_node(entry->ports));
	json_object_object_add(object, "iommu", show_iommu(info));
	json_object_object_add(object, "software", show_software(entry, &shown.software));
	for (i = 0; i < entry->spec.accelerators_count; i++)
		json_object_array_add(accelerators, show_accelerator(entry, i));
	for (i = 0; i < info->queues_count; i++) {
		struct json_object *queue = json_object_new_object();
		struct rp_port_queue_info queue_info;

		if (rp_port_get_queue_info(entry->port, i, &queue_info) == 0)
			rpd_show_queue(queue, &queue_info);
		json_object_array_add(queues, queue);
	}
	json_object_object_add(object, "accelerators", accelerators);
	json_object_object_add(object, "queues", queues);
	json_object_object_add(object, "windows", show_windows(entry));
}
