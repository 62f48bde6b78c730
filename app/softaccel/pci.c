/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <string.h>

#include <linux/virtio_ids.h>

#include "sa_device.h"

/* Red Hat's identifiers, which every modern virtio device uses (virtio 1.2, 4.1.2). */
#define VENDOR_ID 0x1af4u
#define DEVICE_ID (0x1040u + VIRTIO_ID_NET)
#define REVISION 1u
#define CLASS_NETWORK_ETHERNET 0x020000u

/* The place of before the library had capabilities: it leaves a gap behind MSI-X. */
#define CAPABILITIES_OFFSET 0x50u
#define NET_CONFIG_BYTES 0x40u

static int
notify_read(void *ctx, uint32_t region, uint64_t at, uint32_t count, uint8_t *ret_bytes)
{
	struct softaccel_function *function = ctx;

	(void)region;
	memcpy(ret_bytes, function->doorbells.memory + at, count);
	return 0;
}

static int
notify_write(void *ctx, uint32_t region, uint64_t at, uint32_t count, const uint8_t *bytes)
{
	struct softaccel_function *function = ctx;
	uint16_t value;

	(void)region;
	/* virtio 1.2, 4.1.5.2: 16 bits; 32 with NOTIFICATION_DATA, which is not offered but harmless. */
	if (count != 2 && count != 4)
		return 0;
	memcpy(&value, bytes, sizeof(value));
	sa_doorbells_wrote(&function->doorbells, at, le16toh(value));
	return 0;
}

/* virtio 1.2, 5.1.4. Without a control queue nothing of it can be changed. */
static void
net_config(const struct softaccel_function *function, uint8_t *ret_bytes)
{
	struct virtio_net_config config = {
		.status = htole16(VIRTIO_NET_S_LINK_UP),
		.max_virtqueue_pairs = htole16(function->queues_count / 2),
	};

	memcpy(config.mac, function->mac, sizeof(config.mac));
	memset(ret_bytes, 0, NET_CONFIG_BYTES);
	memcpy(ret_bytes, &config, sizeof(config));
}

static int
make_registers(struct softaccel_function *function, const struct rp_vfu_io_fd *io_fds, struct rp_wire_why *why)
{
	uint8_t config_bytes[NET_CONFIG_BYTES];
	const struct rp_vfu_virtio_config config = {
		.features = function->features,
		.queues_count = function->queues_count,
		.queue_size_max = function->queue_size_max,
		.vectors_count = (uint16_t)sa_device_vectors(function),
		.has_counters = true,
		.has_doorbell_wishes = function->idle_ms != 0,
		.config = config_bytes,
		.config_bytes = sizeof(config_bytes),
		.capabilities_offset_bytes = CAPABILITIES_OFFSET,
		.notify_stride_bytes = function->doorbells.multiplier_bytes,
		.notify_group_queues = (uint16_t)function->doorbells.sharing,
		.notify = {function->doorbells.size_bytes, true, true, .fd = function->doorbells.fd, .io_fds = io_fds,
			   .io_fds_count = function->queues_count, .read = notify_read, .write = notify_write},
	};

	net_config(function, config_bytes);
	return rp_vfu_virtio_create(&config, &sa_registers_ops, function, &function->virtio, why);
}

int
sa_pci_serve(struct softaccel_function *function, const struct rp_vfu_pci_ops *ops, struct rp_wire_why *why)
{
	const struct rp_vfu_server_iommu iommu = {.pasid_bits = RP_VFU_IOMMU_NO_PASIDS};
	const struct rp_vfu_pci_config config = {
		.vendor_id = VENDOR_ID,
		.device_id = DEVICE_ID,
		.subsystem_vendor_id = VENDOR_ID,
		.subsystem_id = VIRTIO_ID_NET,
		.class_code = CLASS_NETWORK_ETHERNET,
		.revision = REVISION,
		.intx = function->intx_fd >= 0,
		.express = true,
		.server = {.prompt_reads = true, .iommu = function->iommu ? &iommu : NULL},
	};
	struct rp_vfu_io_fd io_fds[2 * SOFTACCEL_QUEUE_PAIRS_MAX];
	unsigned int number;
	int rc;

	for (number = 0; number < function->queues_count; number++)
		io_fds[number] = (struct rp_vfu_io_fd){
			.offset_bytes =
				(uint64_t)(number / function->doorbells.sharing) * function->doorbells.multiplier_bytes,
			.size_bytes = sizeof(uint16_t),
			.fd = function->doorbells.kick_fds[number],
			/* Or an address alone would say which queues, and not which of them. */
			.has_datamatch = function->doorbells.sharing > 1,
			.datamatch = number,
		};
	rc = make_registers(function, io_fds, why);
	if (rc == 0)
		rc = rp_vfu_pci_create(&config, ops, function, &function->pci, why);
	if (rc < 0)
		return rc;
	rp_vfu_virtio_describe(function->virtio, function->pci);
	/* Behind a root port a guest sees a PCI Express device then, which it can reset by itself. */
	rp_vfu_pci_add_express(function->pci, NULL);
	rc = rp_vfu_pci_listen(function->pci, function->socket_path, why);
	function->server = rp_vfu_pci_server(function->pci);
	if (rc == 0)
		function->atc = rp_vfu_server_atc(function->server);
	return rc;
}
