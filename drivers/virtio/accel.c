/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "rp_accel_vendor.h"
#include "virtio.h"

/*
 * Each operation: refuse when the device has failed, do it, and judge by what came
 * of it whether the device has failed now. The judge needs words, so a caller that
 * wants none gets a place for them.
 */
#define WORDS(why) ((why) != NULL ? (why) : &(struct rp_wire_why){0})

static void
accel_get_info(void *priv, struct rp_accel_info *ret_info)
{
	const struct virtio_device *device = priv;
	const struct rp_accel_transport_info *transport = &device->transport_info;

	memset(ret_info, 0, sizeof(*ret_info));
	snprintf(ret_info->driver, sizeof(ret_info->driver), "virtio");
	snprintf(ret_info->transport, sizeof(ret_info->transport), "%s", transport->name);
	snprintf(ret_info->device, sizeof(ret_info->device), "%s", transport->device);
	ret_info->features = vdrv_features_offered(device->device_features);
	ret_info->features_required = device->own_features;
	ret_info->queues_count = (uint16_t)device->queues_count;
	ret_info->queue_size_max = device->queue_size_max;
	ret_info->class =
		vdrv_vendor_has(device, RP_ACCEL_VENDOR_RING_STATE_MASK) ? RP_ACCEL_CLASS_A : RP_ACCEL_CLASS_B;
	ret_info->notify_by_address = vdrv_vendor_has(device, RP_ACCEL_VENDOR_NOTIFY_ADDRESS_MASK);
	ret_info->has_mac = device->has_mac;
	memcpy(ret_info->mac, device->mac, sizeof(ret_info->mac));
	ret_info->vfio_file_fd = transport->vfio_file_fd;
	ret_info->peer_pid = transport->peer_pid;
	memcpy(ret_info->iova_ranges, transport->iova_ranges, sizeof(ret_info->iova_ranges));
	ret_info->iova_ranges_count = transport->iova_ranges_count;
	ret_info->iova_page_bytes = transport->iova_page_bytes;
	ret_info->asks = transport->asks;
}

/* A device that refuses what it must receive is not negotiated with. */
static int
tell_again(struct virtio_device *device, struct rp_wire_why *why)
{
	struct rp_wire_why words = {0};
	int rc = vdrv_net_tell(device, why);

	if (rc == 0 || vdrv_error_is_loss(rc) || vdrv_reset(device, &words) == 0)
		return rc;
	*why = words;
	return words.error;
}

static int
accel_set_features(void *priv, uint64_t features, struct rp_wire_why *why)
{
	struct virtio_device *device = priv;
	struct rp_wire_why *words = WORDS(why);
	int rc = vdrv_usable(device, words);

	if (rc == 0)
		rc = vdrv_features_check(device->device_features, features, words);
	if (rc == 0)
		rc = vdrv_negotiate(device, features, words);
	if (rc == 0)
		rc = tell_again(device, words);
	return vdrv_judge(device, rc, words);
}

static int
map_memory(struct virtio_device *device, const struct virtio_memory *memory, struct rp_wire_why *words)
{
	int rc = vdrv_usable(device, words);

	if (rc == 0)
		rc = vdrv_dma_map(device, memory, words);
	return vdrv_judge(device, rc, words);
}

static int
accel_dma_map(void *priv, uint64_t iova, uint64_t size_bytes, int fd, uint64_t offset_bytes, void *hva,
	      struct rp_wire_why *why)
{
	const struct virtio_memory memory = {iova, size_bytes, fd, offset_bytes, hva, false};

	return map_memory(priv, &memory, WORDS(why));
}

static int
accel_peer_map(void *priv, uint64_t iova, uint64_t size_bytes, int fd, uint64_t offset_bytes, void *hva,
	       struct rp_wire_why *why)
{
	const struct virtio_memory memory = {iova, size_bytes, fd, offset_bytes, hva, true};

	return map_memory(priv, &memory, WORDS(why));
}

static int
accel_region_info(void *priv, uint32_t region, struct rp_accel_region *ret_region, struct rp_wire_why *why)
{
	struct virtio_device *device = priv;
	struct rp_wire_why *words = WORDS(why);
	int rc = vdrv_usable(device, words);

	if (rc == 0)
		rc = vdrv_region_info(device, region, ret_region, words);
	return vdrv_judge(device, rc, words);
}

static int
accel_region_window(void *priv, uint32_t region, uint64_t offset_bytes, uint64_t size_bytes,
		    struct rp_accel_window *ret_window, struct rp_wire_why *why)
{
	struct virtio_device *device = priv;
	struct rp_wire_why *words = WORDS(why);
	int rc = vdrv_usable(device, words);

	if (rc == 0)
		rc = vdrv_region_window(device, region, offset_bytes, size_bytes, ret_window, words);
	return vdrv_judge(device, rc, words);
}

static int
accel_dma_unmap(void *priv, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why)
{
	struct virtio_device *device = priv;
	struct rp_wire_why *words = WORDS(why);
	int rc = vdrv_usable(device, words);

	if (rc == 0)
		rc = vdrv_dma_unmap(device, iova, size_bytes, words);
	return vdrv_judge(device, rc, words);
}

static int
accel_queue_start(void *priv, unsigned int queue, const struct rp_accel_queue_config *config, struct rp_wire_why *why)
{
	struct virtio_device *device = priv;
	struct rp_wire_why *words = WORDS(why);
	int rc = vdrv_usable(device, words);

	if (rc == 0)
		rc = vdrv_queue_start(device, queue, config, words);
	return vdrv_judge(device, rc, words);
}

static int
accel_queues_start(void *priv, struct rp_accel_queue_start *starts, unsigned int count, struct rp_wire_why *why)
{
	struct virtio_device *device = priv;
	struct rp_wire_why *words = WORDS(why);
	int rc = vdrv_usable(device, words);
	unsigned int i;

	if (rc < 0) {
		for (i = 0; i < count; i++) {
			starts[i].error = rc;
			starts[i].why = *words;
		}
		return rc;
	}
	rc = vdrv_queues_start(device, starts, count, words);
	return vdrv_judge(device, rc, words);
}

static int
accel_queues_prepare(void *priv, const struct rp_accel_queue_start *starts, unsigned int count, struct rp_wire_why *why)
{
	struct virtio_device *device = priv;
	struct rp_wire_why *words = WORDS(why);
	int rc = vdrv_usable(device, words);

	if (rc == 0)
		rc = vdrv_queues_prepare(device, starts, count, words);
	return vdrv_judge(device, rc, words);
}

static void
accel_queue_forget(void *priv, unsigned int queue)
{
	struct virtio_device *device = priv;

	if (vdrv_usable(device, NULL) == 0)
		vdrv_queue_forget(device, queue);
}

static int
accel_queue_stop(void *priv, unsigned int queue, uint32_t *ret_position, struct rp_wire_why *why)
{
	struct virtio_device *device = priv;
	struct rp_wire_why *words = WORDS(why);
	int rc = vdrv_usable(device, words);

	if (rc == 0)
		rc = vdrv_queue_stop(device, queue, ret_position, words);
	return vdrv_judge(device, rc, words);
}

static int
accel_queue_call(void *priv, unsigned int queue, int call_fd, struct rp_wire_why *why)
{
	struct virtio_device *device = priv;
	struct rp_wire_why *words = WORDS(why);
	int rc = vdrv_usable(device, words);

	if (rc == 0)
		rc = vdrv_queue_call(device, queue, call_fd, words);
	return vdrv_judge(device, rc, words);
}

static int
accel_queue_kick(void *priv, unsigned int queue)
{
	struct virtio_device *device = priv;
	struct rp_wire_why words = {0};
	int rc = vdrv_usable(device, &words);

	if (rc == 0)
		rc = vdrv_doorbell_ring(device, queue, &words);
	return vdrv_judge(device, rc, &words);
}

static int
accel_queue_notify_area(void *priv, unsigned int queue, struct rp_accel_notify_area *ret_area, struct rp_wire_why *why)
{
	struct virtio_device *device = priv;
	struct rp_wire_why *words = WORDS(why);
	int rc = vdrv_usable(device, words);

	if (rc == 0)
		rc = vdrv_notify_area(device, queue, ret_area, words);
	return vdrv_judge(device, rc, words);
}

static int
accel_queue_doorbell(void *priv, unsigned int queue, bool page, struct rp_wire_why *why)
{
	struct virtio_device *device = priv;
	struct rp_wire_why *words = WORDS(why);
	int rc = vdrv_usable(device, words);

	if (rc == 0)
		rc = vdrv_wishes_tell(device, queue, page, words);
	return vdrv_judge(device, rc, words);
}

static bool
accel_queue_wants_page(void *priv, unsigned int queue)
{
	return vdrv_wishes_page(priv, queue);
}

static int
accel_queue_counters(void *priv, unsigned int queue, struct rp_accel_queue_counters *ret_counters)
{
	struct virtio_device *device = priv;
	struct rp_wire_why words = {0};
	int rc = vdrv_usable(device, &words);

	if (rc == 0)
		rc = queue < device->queues_count ? vdrv_vendor_counters(device, queue, ret_counters, &words) : -EINVAL;
	return vdrv_judge(device, rc, &words);
}

static int
accel_config_get(void *priv, uint32_t offset_bytes, uint32_t size_bytes, uint8_t *ret_bytes)
{
	struct virtio_device *device = priv;
	struct rp_wire_why words = {0};
	int rc = vdrv_usable(device, &words);

	if (rc == 0)
		rc = vdrv_config_get(device, offset_bytes, size_bytes, ret_bytes, &words);
	return vdrv_judge(device, rc, &words);
}

static int
accel_net_set(void *priv, const struct rp_accel_net *net, struct rp_wire_why *why)
{
	struct virtio_device *device = priv;
	struct rp_wire_why *words = WORDS(why);
	int rc = vdrv_usable(device, words);

	if (rc == 0)
		rc = vdrv_net_set(device, net, words);
	return vdrv_judge(device, rc, words);
}

static int
accel_reset(void *priv, struct rp_wire_why *why)
{
	struct virtio_device *device = priv;
	struct rp_wire_why *words = WORDS(why);
	int rc = vdrv_usable(device, words);

	if (rc == 0)
		rc = vdrv_reset(device, words);
	return vdrv_judge(device, rc, words);
}

static int
accel_get_fd(void *priv)
{
	const struct virtio_device *device = priv;

	return device->epoll_fd;
}

static int
accel_process(void *priv, struct rp_wire_why *why)
{
	struct virtio_device *device = priv;
	struct rp_wire_why *words = WORDS(why);
	int rc = vdrv_usable(device, words);

	if (rc == 0)
		rc = vdrv_process(device, words);
	return vdrv_judge(device, rc, words);
}

static bool
accel_is_quiet(void *priv)
{
	const struct virtio_device *device = priv;

	return device->quiet || device->transport.ops->is_quiet(device->transport.priv);
}

static void
accel_close(void *priv)
{
	vdrv_close(priv);
}

static int
accel_give(void *priv, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	const struct virtio_device *device = priv;
	int rc = vdrv_usable(device, why);

	return rc < 0 ? rc : vdrv_give(device, parcel, why);
}

static void
accel_leave(void *priv)
{
	vdrv_leave(priv);
}

static int
accel_translated(void *priv, uint64_t token, const struct rp_accel_translation *translation)
{
	return vdrv_translated(priv, token, translation);
}

static int
accel_page_respond(void *priv, uint32_t group, bool present)
{
	return vdrv_page_respond(priv, group, present);
}

static int
accel_invalidate(void *priv, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why)
{
	struct virtio_device *device = priv;
	struct rp_wire_why *words = WORDS(why);
	int rc = vdrv_usable(device, words);

	if (rc == 0)
		rc = vdrv_invalidate(device, iova, size_bytes, words);
	return vdrv_judge(device, rc, words);
}

const struct rp_accel_ops vdrv_accel_ops = {
	.get_info = accel_get_info,
	.set_features = accel_set_features,
	.dma_map = accel_dma_map,
	.dma_unmap = accel_dma_unmap,
	.peer_map = accel_peer_map,
	.region_info = accel_region_info,
	.region_window = accel_region_window,
	.queue_start = accel_queue_start,
	.queues_start = accel_queues_start,
	.queues_prepare = accel_queues_prepare,
	.queue_forget = accel_queue_forget,
	.queue_stop = accel_queue_stop,
	.queue_call = accel_queue_call,
	.queue_kick = accel_queue_kick,
	.queue_notify_area = accel_queue_notify_area,
	.queue_doorbell = accel_queue_doorbell,
	.queue_wants_page = accel_queue_wants_page,
	.queue_counters = accel_queue_counters,
	.config_get = accel_config_get,
	.net_set = accel_net_set,
	.reset = accel_reset,
	.get_fd = accel_get_fd,
	.process = accel_process,
	.is_quiet = accel_is_quiet,
	.close = accel_close,
	.give = accel_give,
	.leave = accel_leave,
	.translated = accel_translated,
	.page_respond = accel_page_respond,
	.invalidate = accel_invalidate,
};
