/* SPDX-License-Identifier: BSD-3-Clause */
#include <rte_lcore.h>

#include "rig.h"
#include "softaccel.h"

static int
open_it(struct rig *rig, struct rp_wire_why *why)
{
	const struct softaccel_function_config config = {
		.socket_path = rig->socket_device,
		.queue_pairs = (uint16_t)(rig->config.queues_count / 2),
		.queue_size = RIG_RING_NUM,
		.mac = {0x52, 0x54, 0, 0, 0, 1},
	};
	struct softaccel **accel = rig->config.device_ctx;
	struct softaccel_function *function;
	int rc = softaccel_create(&(struct softaccel_config){.mbufs_count = 2048}, NULL, NULL, accel, why);

	return rc < 0 ? rc : softaccel_function_add(*accel, &config, &function, why);
}

static void
close_it(struct rig *rig)
{
	struct softaccel **accel = rig->config.device_ctx;

	*accel = softaccel_destroy(*accel);
}

static int
fd_of(struct rig *rig)
{
	return softaccel_fd(*(struct softaccel **)rig->config.device_ctx);
}

static void
process(struct rig *rig)
{
	softaccel_process(*(struct softaccel **)rig->config.device_ctx);
}

static void
serve(struct rig *rig)
{
	softaccel_poll(*(struct softaccel **)rig->config.device_ctx);
}

static int
begin(struct rig *rig)
{
	(void)rig;
	return rte_thread_register();
}

static void
end(struct rig *rig)
{
	(void)rig;
	rte_thread_unregister();
}

const struct rig_device rig_softaccel = {
	.open = open_it,
	.close = close_it,
	.fd = fd_of,
	.process = process,
	.serve = serve,
	.begin = begin,
	.end = end,
};
