/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "peer.h"
#include "rp_vfio_user.h"
#include "rp_vfu_client_hand_over.h"
#include "transport_iommu.h"
#include "rp_wire_fd.h"
#include "rp_wire_parcel.h"

#define SCOPE "vfio-user"
#define STATE_VERSION 1u

static void
on_disconnected(void *ctx, const struct rp_wire_why *why)
{
	struct transport *transport = ctx;

	if (transport->lost.error == 0)
		rp_wire_why_set(&transport->lost, -ENOTCONN, "the device process left: %s", why->text);
}

static const struct rp_vfu_client_ops client_ops = {
	.disconnected = on_disconnected,
};

static void
transport_get_info(void *priv, struct rp_accel_transport_info *ret_info)
{
	const struct transport *transport = priv;

	memset(ret_info, 0, sizeof(*ret_info));
	snprintf(ret_info->name, sizeof(ret_info->name), "vfio-user");
	snprintf(ret_info->device, sizeof(ret_info->device), "%s", transport->path);
	ret_info->msix_count = transport->msix_count;
	ret_info->resettable = transport->device.resettable;
	ret_info->vfio_file_fd = -1;
	ret_info->peer_pid = transport->peer_pid;
	ret_info->asks = vfio_user_iommu_asks(transport);
}

static int
transport_region_size(void *priv, uint32_t region, uint64_t *ret_size_bytes, struct rp_wire_why *why)
{
	struct transport *transport = priv;
	struct rp_vfu_client_region info;
	int rc;

	if (region >= transport->device.regions_count) {
		*ret_size_bytes = 0;
		return 0;
	}
	rc = rp_vfu_client_region_info(transport->client, region, &info, why);
	if (rc == 0)
		*ret_size_bytes = info.size_bytes;
	return rc;
}

static int
transport_region_read(void *priv, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes, void *ret_bytes,
		      struct rp_wire_why *why)
{
	struct transport *transport = priv;

	return rp_vfu_client_region_read(transport->client, region, offset_bytes, count_bytes, ret_bytes, why);
}

static int
transport_region_write(void *priv, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes, const void *bytes,
		       struct rp_wire_why *why)
{
	struct transport *transport = priv;

	return rp_vfu_client_region_write(transport->client, region, offset_bytes, count_bytes, bytes, why);
}

/* At most so many are copied at a time. */
#define ACCESSES_MAX 256u

static void
to_client(const struct rp_accel_transport_access *accesses, unsigned int count, struct rp_vfu_client_access *ret_ours)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		ret_ours[i] = (struct rp_vfu_client_access){
			.region = accesses[i].region,
			.count_bytes = accesses[i].count_bytes,
			.offset_bytes = accesses[i].offset_bytes,
			.write = accesses[i].write,
		};
		memcpy(ret_ours[i].bytes, accesses[i].bytes, sizeof(ret_ours[i].bytes));
	}
}

static void
from_client(const struct rp_vfu_client_access *ours, unsigned int count, struct rp_accel_transport_access *ret_accesses)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		memcpy(ret_accesses[i].bytes, ours[i].bytes, sizeof(ours[i].bytes));
}

static int
transport_region_access_many(void *priv, struct rp_accel_transport_access *accesses, unsigned int count,
			     struct rp_wire_why *why)
{
	struct rp_vfu_client_access ours[ACCESSES_MAX];
	struct transport *transport = priv;
	unsigned int at, some;
	int rc = 0;

	for (at = 0; rc == 0 && at < count; at += some) {
		some = count - at < ACCESSES_MAX ? count - at : ACCESSES_MAX;
		to_client(accesses + at, some, ours);
		rc = rp_vfu_client_region_access_many(transport->client, ours, some, why);
		if (rc == 0)
			from_client(ours, some, accesses + at);
	}
	return rc;
}

static int
transport_irq_access_many(void *priv, uint32_t vector, uint32_t vectors_count, const int *eventfds,
			  struct rp_accel_transport_access *accesses, unsigned int count, int *ret_irq,
			  struct rp_wire_why *why)
{
	struct rp_vfu_client_access ours[ACCESSES_MAX];
	struct transport *transport = priv;
	unsigned int some = count < ACCESSES_MAX ? count : ACCESSES_MAX;
	int rc;

	to_client(accesses, some, ours);
	rc = rp_vfu_client_irq_access_many(transport->client, RP_VFU_PCI_MSIX_IRQ, vector, vectors_count, eventfds,
					   ours, some, ret_irq, why);
	if (rc < 0)
		return rc;
	from_client(ours, some, accesses);
	return transport_region_access_many(priv, accesses + some, count - some, why);
}

static int
transport_region_window(void *priv, uint32_t region, uint64_t offset_bytes, uint64_t size_bytes,
			struct rp_accel_transport_window *ret_window, struct rp_wire_why *why)
{
	struct transport *transport = priv;
	struct rp_vfu_client_region info;
	uint64_t file_offset_bytes;
	uint32_t i;
	int rc;

	if (region >= transport->device.regions_count)
		return rp_wire_why_set(why, -ENOTSUP, "region %u is absent", region);
	rc = rp_vfu_client_region_info(transport->client, region, &info, why);
	if (rc < 0)
		return rc;
	if (info.fd < 0)
		return rp_wire_why_set(why, -ENOTSUP, "region %u is not mmap-able", region);
	for (i = 0; i < info.areas_count; i++) {
		uint64_t start_bytes = info.areas[i].offset_bytes;
		uint64_t room_bytes = info.areas[i].size_bytes;

		if (offset_bytes < start_bytes || offset_bytes - start_bytes > room_bytes ||
		    size_bytes > room_bytes - (offset_bytes - start_bytes))
			continue;
		if (__builtin_add_overflow(info.fd_offset_bytes, offset_bytes, &file_offset_bytes))
			break;
		ret_window->fd = info.fd;
		ret_window->offset_bytes = file_offset_bytes;
		ret_window->size_bytes = size_bytes;
		return 0;
	}
	return rp_wire_why_set(why, -ENOTSUP, "region %u is not mmap-able at 0x%" PRIx64 " for %" PRIu64 " bytes",
			       region, offset_bytes, size_bytes);
}

static int
transport_region_io_fd(void *priv, uint32_t region, uint64_t offset_bytes, uint64_t size_bytes, uint64_t value,
		       int *ret_fd, struct rp_wire_why *why)
{
	struct transport *transport = priv;

	return rp_vfu_client_io_fd(transport->client, region, offset_bytes, size_bytes, value, ret_fd, why);
}

static int
transport_irq_set(void *priv, uint32_t vector, int eventfd, struct rp_wire_why *why)
{
	struct transport *transport = priv;

	return rp_vfu_client_irq_set(transport->client, RP_VFU_PCI_MSIX_IRQ, vector, eventfd, why);
}

static void
transport_irq_drop(void *priv, uint32_t vector)
{
	struct transport *transport = priv;

	(void)rp_vfu_client_irq_drop(transport->client, RP_VFU_PCI_MSIX_IRQ, vector, NULL);
}

static int
transport_irq_set_many(void *priv, uint32_t vector, uint32_t count, const int *eventfds, struct rp_wire_why *why)
{
	struct transport *transport = priv;

	return rp_vfu_client_irq_eventfds(transport->client, RP_VFU_PCI_MSIX_IRQ, RP_VFU_IRQ_ACTION_TRIGGER_MASK,
					  vector, count, eventfds, why);
}

static int
transport_dma_map(void *priv, uint64_t iova, uint64_t size_bytes, int fd, uint64_t offset_bytes, void *hva,
		  struct rp_wire_why *why)
{
	const struct rp_vfu_client_memory memory = {
		.iova = iova,
		.size_bytes = size_bytes,
		.fd = fd,
		.offset_bytes = offset_bytes,
		.hva = hva,
		.access_mask = RP_VFU_DMA_MAP_READ_MASK | RP_VFU_DMA_MAP_WRITE_MASK,
	};
	struct transport *transport = priv;

	return rp_vfu_client_dma_map_memory(transport->client, &memory, why);
}

static int
transport_dma_unmap(void *priv, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why)
{
	struct transport *transport = priv;

	return rp_vfu_client_dma_unmap(transport->client, iova, size_bytes, why);
}

static int
transport_reset(void *priv, struct rp_wire_why *why)
{
	struct transport *transport = priv;

	if (!transport->device.resettable)
		return rp_wire_why_set(why, -ENOTSUP, "the device process offers no device reset");
	return rp_vfu_client_reset(transport->client, why);
}

static int
transport_get_fd(void *priv)
{
	const struct transport *transport = priv;

	return transport->epoll_fd;
}

static int
transport_process(void *priv, struct rp_wire_why *why)
{
	struct transport *transport = priv;

	if (transport->lost.error == 0)
		rp_vfu_client_process(transport->client);
	/* A child of the server may hold the socket open. */
	if (transport->lost.error == 0 && vfio_user_peer_exited(transport->pidfd))
		rp_wire_why_set(&transport->lost, -ENOTCONN, "the device process left: process %d exited",
				transport->peer_pid);
	/* The client does not say why when a call of ours ended it. */
	if (transport->lost.error == 0 && !rp_vfu_client_connected(transport->client))
		rp_wire_why_set(&transport->lost, -ENOTCONN, "the connection to the device process was ended");
	if (transport->lost.error == 0)
		return 0;
	return rp_wire_why_set(why, transport->lost.error, "%s", transport->lost.text);
}

static bool
transport_is_quiet(void *priv)
{
	const struct transport *transport = priv;

	return vfio_user_peer_exited(transport->pidfd);
}

static void
transport_close(void *priv)
{
	struct transport *transport = priv;

	rp_wire_fd_close(&transport->epoll_fd);
	rp_vfu_client_destroy(transport->client);
	rp_wire_fd_close(&transport->pidfd);
	free(transport);
}

static int
transport_give(void *priv, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	const struct transport *transport = priv;
	int rc;

	if (transport->lost.error != 0)
		return rp_wire_why_set(why, transport->lost.error, "%s", transport->lost.text);
	if (vfio_user_iommu_asks(transport))
		return rp_wire_why_set(why, -ENOTSUP, "the device asks this process for translations");
	rp_wire_parcel_enter(parcel, SCOPE, 0);
	/* First: it may have to be asked again. */
	rc = rp_vfu_client_give(transport->client, parcel, why);
	if (rc == 0) {
		rp_wire_parcel_put_number(parcel, "version", STATE_VERSION);
		/* Of the process that was there when the connection began: its number may be another's one day. */
		rp_wire_parcel_put_fd(parcel, "peer", transport->pidfd);
		rc = rp_wire_parcel_result(parcel, why);
	}
	rp_wire_parcel_leave(parcel);
	return rc;
}

/* The server has a duplicate's end of the socket. */
static void
transport_leave(void *priv)
{
	transport_close(priv);
}

static const struct rp_accel_transport_ops transport_ops = {
	.get_info = transport_get_info,
	.region_size = transport_region_size,
	.region_read = transport_region_read,
	.region_write = transport_region_write,
	.region_access_many = transport_region_access_many,
	.region_window = transport_region_window,
	.region_io_fd = transport_region_io_fd,
	.irq_set = transport_irq_set,
	.irq_drop = transport_irq_drop,
	.irq_set_many = transport_irq_set_many,
	.irq_access_many = transport_irq_access_many,
	.dma_map = transport_dma_map,
	.dma_unmap = transport_dma_unmap,
	.reset = transport_reset,
	.get_fd = transport_get_fd,
	.process = transport_process,
	.is_quiet = transport_is_quiet,
	.close = transport_close,
	.give = transport_give,
	.leave = transport_leave,
	.translated = vfio_user_iommu_translated,
	.page_respond = vfio_user_iommu_page_respond,
	.invalidate = vfio_user_iommu_invalidate,
};

static int
inspect(struct transport *transport, struct rp_wire_why *why)
{
	uint32_t flags = 0;
	int rc = rp_vfu_client_device_info(transport->client, &transport->device, why);

	if (rc < 0)
		return rc;
	if (!transport->device.pci || transport->device.regions_count <= RP_ACCEL_TRANSPORT_CONFIG_REGION)
		return rp_wire_why_set(why, -ENOTSUP, "not a PCI device, or one without a configuration space");
	if (transport->device.irqs_count > RP_VFU_PCI_MSIX_IRQ) {
		rc = rp_vfu_client_irq_info(transport->client, RP_VFU_PCI_MSIX_IRQ, &transport->msix_count, &flags,
					    why);
		if (rc < 0)
			return rc;
	}
	if (transport->msix_count == 0 || (flags & RP_VFU_IRQ_FLAG_EVENTFD_MASK) == 0)
		return rp_wire_why_set(why, -ENOTSUP, "no MSI-X vector that signals an eventfd");
	return 0;
}

static int
watch(struct transport *transport, int fd, struct rp_wire_why *why)
{
	struct epoll_event event = {.events = EPOLLIN};

	if (fd >= 0 && epoll_ctl(transport->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return rp_wire_why_set(why, -errno, "epoll: %s", strerror(errno));
	return 0;
}

static int
watch_peer(struct transport *transport, struct rp_wire_why *why)
{
	int rc;

	transport->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (transport->epoll_fd < 0)
		return rp_wire_why_set(why, -errno, "epoll: %s", strerror(errno));
	rc = watch(transport, rp_vfu_client_fd(transport->client), why);
	return rc < 0 ? rc : watch(transport, transport->pidfd, why);
}

static struct transport *
create(const struct rp_vfio_user_config *config)
{
	struct transport *transport = calloc(1, sizeof(*transport));

	if (transport == NULL)
		return NULL;
	transport->epoll_fd = -1;
	transport->pidfd = -1;
	snprintf(transport->path, sizeof(transport->path), "%s", config->socket_path);
	return transport;
}

/* @param rc of getting the client. @return rc, or what comes after it; on failure the transport is gone. */
static int
begin(struct transport *transport, int rc, struct rp_accel_transport *ret_transport, struct rp_wire_why *why)
{
	if (rc == 0)
		rc = watch_peer(transport, why);
	if (rc == 0)
		rc = inspect(transport, why);
	if (rc < 0) {
		transport_close(transport);
		return rc;
	}
	ret_transport->ops = &transport_ops;
	ret_transport->priv = transport;
	return 0;
}

int
rp_vfio_user_open(const struct rp_vfio_user_config *config, struct rp_accel_transport *ret_transport,
		  struct rp_wire_why *why)
{
	struct rp_vfu_client_config client_config = {
		.socket_path = config->socket_path,
		.timeout_ms = config->timeout_ms != 0 ? config->timeout_ms : RP_VFIO_USER_TIMEOUT_MS,
	};
	struct transport *transport = create(config);
	int rc;

	if (transport == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	if (config->iommu != NULL) {
		transport->iommu = *config->iommu;
		client_config.iommu = &vfio_user_iommu_ops;
	}
	rc = rp_vfu_client_create(&client_config, &client_ops, transport, &transport->client, why);
	if (rc == 0)
		transport->pidfd =
			vfio_user_peer_open(rp_vfu_client_socket_fd(transport->client), &transport->peer_pid);
	return begin(transport, rc, ret_transport, why);
}

static int
adopt_client(struct transport *transport, const struct rp_vfu_client_config *config, struct rp_wire_parcel *parcel,
	     const struct rp_accel_memory *memories, unsigned int memories_count, struct rp_wire_why *why)
{
	struct rp_vfu_client_memory *list = calloc(memories_count + 1, sizeof(*list));
	unsigned int i;
	int rc;

	if (list == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	for (i = 0; i < memories_count; i++)
		list[i] = (struct rp_vfu_client_memory){
			.iova = memories[i].iova,
			.size_bytes = memories[i].size_bytes,
			.fd = memories[i].fd,
			.offset_bytes = memories[i].offset_bytes,
			.hva = memories[i].hva,
			.access_mask = RP_VFU_DMA_MAP_READ_MASK | RP_VFU_DMA_MAP_WRITE_MASK,
		};
	rc = rp_vfu_client_adopt(config, &client_ops, transport, parcel, list, memories_count, &transport->client, why);
	free(list);
	return rc;
}

static int
unpack(struct transport *transport, const struct rp_vfu_client_config *config, struct rp_wire_parcel *parcel,
       const struct rp_accel_memory *memories, unsigned int memories_count, struct rp_wire_why *why)
{
	uint64_t version = rp_wire_parcel_get_number(parcel, "version", UINT32_MAX);
	int rc;

	transport->pidfd = rp_wire_parcel_get_fd(parcel, "peer");
	rc = rp_wire_parcel_result(parcel, why);
	if (rc == 0 && version != STATE_VERSION)
		rc = rp_wire_why_set(why, -ENOTSUP, "version: %" PRIu64 ", expected %u", version, STATE_VERSION);
	if (rc == 0)
		rc = adopt_client(transport, config, parcel, memories, memories_count, why);
	if (rc < 0 || transport->pidfd < 0)
		return rc;
	transport->peer_pid = rp_vfu_client_peer(transport->client);
	return vfio_user_peer_check(transport->pidfd, rp_vfu_client_socket_fd(transport->client), why);
}

int
rp_vfio_user_adopt(const struct rp_vfio_user_config *config, struct rp_wire_parcel *parcel,
		   const struct rp_accel_memory *memories, unsigned int memories_count,
		   struct rp_accel_transport *ret_transport, struct rp_wire_why *why)
{
	struct rp_vfu_client_config client_config = {
		.socket_path = config->socket_path,
		.timeout_ms = config->timeout_ms != 0 ? config->timeout_ms : RP_VFIO_USER_TIMEOUT_MS,
	};
	struct transport *transport = create(config);
	int rc;

	if (transport == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	rp_wire_parcel_enter(parcel, SCOPE, 0);
	rc = unpack(transport, &client_config, parcel, memories, memories_count, why);
	rp_wire_parcel_leave(parcel);
	return begin(transport, rc, ret_transport, why);
}
