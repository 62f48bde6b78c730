/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "rp_virtio.h"
#include "rp_vring_position.h"
#include "storm.h"

/*
 * softaccel as a device of class B: as if it had no ring state capability. A queue begins
 * at a fresh position and does not tell where it stopped.
 */

struct hidden {
	struct rp_accel below;
	uint64_t features;
};

static void
get_info(void *priv, struct rp_accel_info *ret_info)
{
	struct hidden *hidden = priv;

	hidden->below.ops->get_info(hidden->below.priv, ret_info);
	ret_info->class = RP_ACCEL_CLASS_B;
}

static int
set_features(void *priv, uint64_t features, struct rp_wire_why *why)
{
	struct hidden *hidden = priv;

	hidden->features = features;
	return hidden->below.ops->set_features(hidden->below.priv, features, why);
}

static int
dma_map(void *priv, uint64_t iova, uint64_t size_bytes, int fd, uint64_t offset_bytes, void *hva,
	struct rp_wire_why *why)
{
	struct hidden *hidden = priv;

	return hidden->below.ops->dma_map(hidden->below.priv, iova, size_bytes, fd, offset_bytes, hva, why);
}

static int
dma_unmap(void *priv, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why)
{
	struct hidden *hidden = priv;

	return hidden->below.ops->dma_unmap(hidden->below.priv, iova, size_bytes, why);
}

static int
queue_start(void *priv, unsigned int queue, const struct rp_accel_queue_config *config, struct rp_wire_why *why)
{
	struct hidden *hidden = priv;

	if (config->position != rp_vring_position_fresh(hidden->features))
		return rp_wire_why_set(why, -ENOTSUP, "class B: position 0x%x, expected a fresh ring",
				       config->position);
	return hidden->below.ops->queue_start(hidden->below.priv, queue, config, why);
}

static int
queue_stop(void *priv, unsigned int queue, uint32_t *ret_position, struct rp_wire_why *why)
{
	struct hidden *hidden = priv;
	uint32_t untold;

	(void)ret_position;
	return hidden->below.ops->queue_stop(hidden->below.priv, queue, &untold, why);
}

static int
queue_call(void *priv, unsigned int queue, int call_fd, struct rp_wire_why *why)
{
	struct hidden *hidden = priv;

	return hidden->below.ops->queue_call(hidden->below.priv, queue, call_fd, why);
}

static int
queue_kick(void *priv, unsigned int queue)
{
	struct hidden *hidden = priv;

	return hidden->below.ops->queue_kick(hidden->below.priv, queue);
}

static int
queue_notify_area(void *priv, unsigned int queue, struct rp_accel_notify_area *ret_area, struct rp_wire_why *why)
{
	struct hidden *hidden = priv;

	return hidden->below.ops->queue_notify_area(hidden->below.priv, queue, ret_area, why);
}

static int
queue_counters(void *priv, unsigned int queue, struct rp_accel_queue_counters *ret_counters)
{
	struct hidden *hidden = priv;

	return hidden->below.ops->queue_counters(hidden->below.priv, queue, ret_counters);
}

static int
config_get(void *priv, uint32_t offset_bytes, uint32_t size_bytes, uint8_t *ret_bytes)
{
	struct hidden *hidden = priv;

	return hidden->below.ops->config_get(hidden->below.priv, offset_bytes, size_bytes, ret_bytes);
}

static int
net_set(void *priv, const struct rp_accel_net *net, struct rp_wire_why *why)
{
	struct hidden *hidden = priv;

	return hidden->below.ops->net_set(hidden->below.priv, net, why);
}

static int
reset(void *priv, struct rp_wire_why *why)
{
	struct hidden *hidden = priv;

	return hidden->below.ops->reset(hidden->below.priv, why);
}

static int
get_fd(void *priv)
{
	struct hidden *hidden = priv;

	return hidden->below.ops->get_fd(hidden->below.priv);
}

static int
process(void *priv, struct rp_wire_why *why)
{
	struct hidden *hidden = priv;

	return hidden->below.ops->process(hidden->below.priv, why);
}

static bool
is_quiet(void *priv)
{
	struct hidden *hidden = priv;

	return hidden->below.ops->is_quiet(hidden->below.priv);
}

static void
close_device(void *priv)
{
	struct hidden *hidden = priv;

	rp_accel_close(&hidden->below);
	free(hidden);
}

static const struct rp_accel_ops hidden_ops = {
	.get_info = get_info,
	.set_features = set_features,
	.dma_map = dma_map,
	.dma_unmap = dma_unmap,
	.queue_start = queue_start,
	.queue_stop = queue_stop,
	.queue_call = queue_call,
	.queue_kick = queue_kick,
	.queue_notify_area = queue_notify_area,
	.queue_counters = queue_counters,
	.config_get = config_get,
	.net_set = net_set,
	.reset = reset,
	.get_fd = get_fd,
	.process = process,
	.is_quiet = is_quiet,
	.close = close_device,
};

static int
check(const struct rp_accel_devargs *args, struct rp_wire_why *why)
{
	return rp_virtio_vfio_user_driver.check(args, why);
}

static int
open_device(const struct rp_accel_devargs *args, struct rp_accel *ret_accel, struct rp_wire_why *why)
{
	struct hidden *hidden = calloc(1, sizeof(*hidden));
	int rc;

	if (hidden == NULL)
		return -ENOMEM;
	rc = rp_virtio_vfio_user_driver.open(args, &hidden->below, why);
	if (rc < 0) {
		free(hidden);
		return rc;
	}
	*ret_accel = (struct rp_accel){.ops = &hidden_ops, .priv = hidden};
	return 0;
}

static const char *const keys[] = {"socket", "timeout_ms", NULL};
static const struct rp_accel_driver class_b_driver = {
	.name = "vfio-user-b",
	.keys = keys,
	.usage = "vfio-user-b,socket=PATH",
	.check = check,
	.open = open_device,
};
static const struct rp_accel_driver *const drivers[] = {&rp_virtio_vfio_user_driver, &class_b_driver, NULL};
const struct rp_accel_registry storm_registry = {.drivers = drivers};
