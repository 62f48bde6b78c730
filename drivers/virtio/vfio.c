/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stddef.h>

#include "rp_accel_info.h"
#include "rp_vfio.h"
#include "virtio.h"
#include "virtio_regs.h"

#define NAME "vfio"
#define USAGE NAME ",device=DDDD:BB:DD.F[,busy_wait_ms=N][,wait_ms=N][,container=NAME]"

#define WAIT_MIN_MS 10u
#define WAIT_MAX_MS 600000u

static int
parse(const struct rp_accel_devargs *args, struct rp_vfio_config *ret_config, struct rp_virtio_config *ret_virtio,
      struct rp_wire_why *why)
{
	const char *device = rp_accel_devargs_get(args, "device");
	int rc;

	*ret_config = (struct rp_vfio_config){
		.device = device,
		.busy_wait_ms = RP_VFIO_BUSY_WAIT_MS,
		.container = rp_accel_devargs_get(args, "container"),
		.container_fd = -1,
		.group_fd = -1,
	};
	ret_virtio->wait_ms = RP_VIRTIO_WAIT_MS;
	if (device == NULL)
		return rp_wire_why_set(why, -EBADMSG, "key 'device': missing, expected %s",
				       rp_virtio_vfio_driver.usage);
	rc = rp_accel_devargs_get_u32(args, "busy_wait_ms", 1, RP_VFIO_BUSY_WAIT_MAX_MS, &ret_config->busy_wait_ms,
				      why);
	if (rc == 0)
		rc = rp_accel_devargs_get_u32(args, "wait_ms", WAIT_MIN_MS, WAIT_MAX_MS, &ret_virtio->wait_ms, why);
	return rc < 0 ? rc : rp_vfio_check(ret_config, why);
}

static int
check(const struct rp_accel_devargs *args, struct rp_wire_why *why)
{
	struct rp_virtio_config virtio_config;
	struct rp_vfio_config config;

	return parse(args, &config, &virtio_config, why);
}

static int
open_device(const struct rp_accel_devargs *args, struct rp_accel *ret_accel, struct rp_wire_why *why)
{
	struct rp_accel_transport transport = {0};
	struct rp_virtio_config virtio_config;
	struct rp_vfio_config config;
	int rc = parse(args, &config, &virtio_config, why);

	if (rc == 0)
		rc = rp_vfio_open(&config, &transport, why);
	if (rc != 0)
		return rc;
	rc = rp_virtio_open(&transport, &virtio_config, ret_accel, why);
	if (rc < 0) {
		rp_wire_why_prefix(why, "%s: ", config.device);
		transport.ops->close(transport.priv);
	}
	return rc;
}

static int
adopt_transport(void *ctx, struct rp_wire_parcel *parcel, const struct rp_accel_memory *memories,
		unsigned int memories_count, struct rp_accel_transport *ret_transport, struct rp_wire_why *why)
{
	return rp_vfio_adopt(ctx, parcel, memories, memories_count, ret_transport, why);
}

static int
adopt_device(const struct rp_accel_devargs *args, struct rp_wire_parcel *parcel, const struct rp_accel_memory *memories,
	     unsigned int memories_count, struct rp_accel *ret_accel, struct rp_wire_why *why)
{
	struct rp_virtio_config virtio_config;
	struct rp_vfio_config config;
	const struct virtio_adoption adoption = {
		.parcel = parcel,
		.memories = memories,
		.memories_count = memories_count,
		.adopt_transport = adopt_transport,
		.ctx = &config,
	};
	int rc = parse(args, &config, &virtio_config, why);

	if (rc != 0)
		return rc;
	rc = vdrv_adopt(&adoption, &virtio_config, ret_accel, why);
	if (rc < 0)
		rp_wire_why_prefix(why, "%s: ", config.device);
	return rc;
}

static const char *const keys[] = {"device", "busy_wait_ms", "wait_ms", "container", NULL};

const struct rp_accel_driver rp_virtio_vfio_driver = {
	.name = NAME,
	.keys = keys,
	.usage = USAGE,
	.check = check,
	.open = open_device,
	.adopt = adopt_device,
};

/* Those that device.c takes. */
/* clang-format off */
RP_ACCEL_DRIVER_INFO(vfio, NAME, USAGE,
	RP_ACCEL_PCI_ID(VIRTIO_PCI_VENDOR, VIRTIO_PCI_DEVICE_TRANSITIONAL_NET) ","
	RP_ACCEL_PCI_ID(VIRTIO_PCI_VENDOR, VIRTIO_PCI_DEVICE_MODERN + VIRTIO_DEVICE_NET));
/* clang-format on */
