/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "rp_accel_info.h"
#include "rp_vfio_user.h"
#include "virtio.h"
#include "virtio_regs.h"

#define NAME "vfio-user"
#define USAGE NAME ",socket=PATH[,timeout_ms=N]"
#define TIMEOUT_MIN_MS 10u
#define TIMEOUT_MAX_MS 600000u
/* sockaddr_un's path, without its NUL. */
#define PATH_MAX_BYTES 107u

static int
parse(const struct rp_accel_devargs *args, struct rp_vfio_user_config *ret_config, struct rp_wire_why *why)
{
	const char *path = rp_accel_devargs_get(args, "socket");
	uint32_t timeout_ms = RP_VFIO_USER_TIMEOUT_MS;
	int rc;

	if (path == NULL)
		return rp_wire_why_set(why, -EBADMSG, "key 'socket': missing, expected %s",
				       rp_virtio_vfio_user_driver.usage);
	if (strlen(path) > PATH_MAX_BYTES)
		return rp_wire_why_set(why, -EBADMSG, "key 'socket': '%.40s...': %zu bytes, expected at most %u", path,
				       strlen(path), PATH_MAX_BYTES);
	rc = rp_accel_devargs_get_u32(args, "timeout_ms", TIMEOUT_MIN_MS, TIMEOUT_MAX_MS, &timeout_ms, why);
	if (rc != 0)
		return rc;
	ret_config->socket_path = path;
	ret_config->timeout_ms = timeout_ms;
	return 0;
}

static int
check(const struct rp_accel_devargs *args, struct rp_wire_why *why)
{
	struct rp_vfio_user_config config;

	return parse(args, &config, why);
}

static int
open_with(const struct rp_vfio_user_config *config, bool *ret_asks, struct rp_accel *ret_accel, struct rp_wire_why *why)
{
	const struct rp_virtio_config virtio_config = {.wait_ms = config->timeout_ms};
	struct rp_accel_transport transport = {0};
	struct rp_accel_transport_info info;
	int rc = rp_vfio_user_open(config, &transport, why);

	if (rc != 0)
		return rc;
	transport.ops->get_info(transport.priv, &info);
	*ret_asks = info.asks;
	rc = rp_virtio_open(&transport, &virtio_config, ret_accel, why);
	if (rc < 0) {
		rp_wire_why_prefix(why, "%s: ", config->socket_path);
		transport.ops->close(transport.priv);
	}
	return rc;
}

static int
open_device(const struct rp_accel_devargs *args, struct rp_accel *ret_accel, struct rp_wire_why *why)
{
	struct rp_vfio_user_config config = {0};
	bool asks = false;
	int rc = parse(args, &config, why);

	if (rc != 0)
		return rc;
	config.iommu = rp_accel_devargs_iommu(args);
	rc = open_with(&config, &asks, ret_accel, why);
	if (rc != -ENOTSUP || !asks)
		return rc;
	/* A device whose questions cannot be answered is not offered to ask. */
	config.iommu = NULL;
	return open_with(&config, &asks, ret_accel, why);
}

static int
adopt_transport(void *ctx, struct rp_wire_parcel *parcel, const struct rp_accel_memory *memories,
		unsigned int memories_count, struct rp_accel_transport *ret_transport, struct rp_wire_why *why)
{
	return rp_vfio_user_adopt(ctx, parcel, memories, memories_count, ret_transport, why);
}

static int
adopt_device(const struct rp_accel_devargs *args, struct rp_wire_parcel *parcel, const struct rp_accel_memory *memories,
	     unsigned int memories_count, struct rp_accel *ret_accel, struct rp_wire_why *why)
{
	struct rp_virtio_config virtio_config;
	struct rp_vfio_user_config config = {0};
	const struct virtio_adoption adoption = {
		.parcel = parcel,
		.memories = memories,
		.memories_count = memories_count,
		.adopt_transport = adopt_transport,
		.ctx = &config,
	};
	int rc = parse(args, &config, why);

	if (rc != 0)
		return rc;
	virtio_config.wait_ms = config.timeout_ms;
	rc = vdrv_adopt(&adoption, &virtio_config, ret_accel, why);
	if (rc < 0)
		rp_wire_why_prefix(why, "%s: ", config.socket_path);
	return rc;
}

static const char *const keys[] = {"socket", "timeout_ms", NULL};

const struct rp_accel_driver rp_virtio_vfio_user_driver = {
	.name = NAME,
	.keys = keys,
	.usage = USAGE,
	.check = check,
	.open = open_device,
	.adopt = adopt_device,
};

/* Those that device.c takes. */
/* clang-format off */
RP_ACCEL_DRIVER_INFO(vfio_user, NAME, USAGE,
	RP_ACCEL_PCI_ID(VIRTIO_PCI_VENDOR, VIRTIO_PCI_DEVICE_TRANSITIONAL_NET) ","
	RP_ACCEL_PCI_ID(VIRTIO_PCI_VENDOR, VIRTIO_PCI_DEVICE_MODERN + VIRTIO_DEVICE_NET));
/* clang-format on */
