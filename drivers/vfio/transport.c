/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rp_wire_fd.h"
#include "kvfio.h"

/* pci_try_reset_function() gives up when somebody else looks at the device. */
#define RESET_TRIES 20u
#define RESET_PAUSE_MS 20u

/* The kernel lets a group be opened once, so there is one set of books for a process. */
static struct kvfio_host process_host = {.kernel = &kvfio_kernel_real, .lock = PTHREAD_MUTEX_INITIALIZER};

static void
transport_get_info(void *priv, struct rp_accel_transport_info *ret_info)
{
	const struct kvfio_device *device = priv;
	const struct kvfio_iommu *iommu = &device->group->container->iommu;

	memset(ret_info, 0, sizeof(*ret_info));
	snprintf(ret_info->name, sizeof(ret_info->name), "vfio");
	snprintf(ret_info->device, sizeof(ret_info->device), "%s", device->address);
	ret_info->msix_count = device->msix_count;
	ret_info->resettable = device->resettable;
	ret_info->vfio_file_fd = device->group->fd;
	pthread_mutex_lock(&device->host->lock);
	memcpy(ret_info->iova_ranges, iommu->ranges, sizeof(ret_info->iova_ranges));
	ret_info->iova_ranges_count = iommu->ranges_count;
	ret_info->iova_page_bytes = iommu->page_bytes;
	pthread_mutex_unlock(&device->host->lock);
}

static int
transport_region_size(void *priv, uint32_t region, uint64_t *ret_size_bytes, struct rp_wire_why *why)
{
	const struct kvfio_device *device = priv;

	(void)why;
	*ret_size_bytes = region < VFIO_REGIONS_COUNT ? device->regions[region].size_bytes : 0;
	return 0;
}

static int
transport_region_read(void *priv, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes, void *ret_bytes,
		      struct rp_wire_why *why)
{
	return kvfio_region_access(priv, region, offset_bytes, count_bytes, ret_bytes, false, why);
}

static int
transport_region_write(void *priv, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes, const void *bytes,
		       struct rp_wire_why *why)
{
	return kvfio_region_access(priv, region, offset_bytes, count_bytes, (void *)(uintptr_t)bytes, true, why);
}

static int
transport_region_window(void *priv, uint32_t region, uint64_t offset_bytes, uint64_t size_bytes,
			struct rp_accel_transport_window *ret_window, struct rp_wire_why *why)
{
	return kvfio_region_window(priv, region, offset_bytes, size_bytes, ret_window, why);
}

static int
transport_region_io_fd(void *priv, uint32_t region, uint64_t offset_bytes, uint64_t size_bytes, uint64_t value,
		       int *ret_fd, struct rp_wire_why *why)
{
	(void)priv;
	(void)offset_bytes;
	(void)size_bytes;
	(void)value;
	(void)ret_fd;
	return rp_wire_why_set(why, -ENOENT, "region %u: kernel VFIO has no eventfd that stands for any write", region);
}

static int
transport_irq_set(void *priv, uint32_t vector, int eventfd, struct rp_wire_why *why)
{
	return kvfio_irq_msix(priv, vector, eventfd, why);
}

static int
transport_dma_map(void *priv, uint64_t iova, uint64_t size_bytes, int fd, uint64_t offset_bytes, void *hva,
		  struct rp_wire_why *why)
{
	struct kvfio_device *device = priv;
	int rc;

	if (device->cut)
		return rp_wire_why_set(why, device->lost.error, "%s", device->lost.text);
	pthread_mutex_lock(&device->host->lock);
	rc = kvfio_dma_map(device, iova, size_bytes, fd, offset_bytes, hva, why);
	pthread_mutex_unlock(&device->host->lock);
	return rc;
}

static int
transport_dma_unmap(void *priv, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why)
{
	struct kvfio_device *device = priv;
	struct rp_wire_why words = {0};
	int rc;

	pthread_mutex_lock(&device->host->lock);
	rc = kvfio_dma_unmap(device, iova, size_bytes, &words);
	pthread_mutex_unlock(&device->host->lock);
	if (rc == 0)
		return 0;
	/* Memory that cannot be taken back may be written to: nothing but its end helps. */
	if (rc == -EIO)
		kvfio_lose(device, rc, &words);
	return rp_wire_why_set(why, rc, "%s", words.text);
}

static int
transport_reset(void *priv, struct rp_wire_why *why)
{
	const struct kvfio_device *device = priv;
	const struct kvfio_kernel *kernel = device->host->kernel;
	unsigned int tries = 0;
	int rc;

	if (!device->resettable)
		return rp_wire_why_set(why, -ENOTSUP,
				       "%s has no function reset (a device behind a PCIe port usually has one)",
				       device->address);
	while ((rc = kernel->ioctl(kernel->ctx, device->fd, VFIO_DEVICE_RESET, NULL)) == -EAGAIN &&
	       ++tries < RESET_TRIES)
		kernel->sleep_ms(kernel->ctx, RESET_PAUSE_MS);
	return rc < 0 ? rp_wire_why_set(why, -ENOTSUP, "%s: reset: %s", device->address, strerror(-rc)) : 0;
}

static int
transport_get_fd(void *priv)
{
	const struct kvfio_device *device = priv;

	return device->epoll_fd;
}

static int
transport_process(void *priv, struct rp_wire_why *why)
{
	struct kvfio_device *device = priv;

	kvfio_events_look(device);
	if (device->lost.error == 0)
		return 0;
	return rp_wire_why_set(why, device->lost.error, "%s", device->lost.text);
}

static bool
transport_is_quiet(void *priv)
{
	struct kvfio_device *device = priv;
	bool quiet;

	pthread_mutex_lock(&device->host->lock);
	quiet = kvfio_is_quiet(device);
	pthread_mutex_unlock(&device->host->lock);
	return quiet;
}

/* Also of one that is half open. The lock is held. */
static void
release(struct kvfio_device *device)
{
	if (device->fd >= 0 && device->regions[RP_ACCEL_TRANSPORT_CONFIG_REGION].size_bytes != 0)
		kvfio_bus_master_clear(device);
	/* Descriptors of the group that others hold keep the container alive, and what is mapped in it pinned. */
	kvfio_dma_unmap_all(device, NULL);
	device->group->container->holders_mask &= ~(UINT64_C(1) << device->slot);
	kvfio_device_free(device);
}

void
kvfio_device_free(struct kvfio_device *device)
{
	struct kvfio_group *group = device->group;
	struct kvfio_device **link = &group->devices;

	kvfio_events_close(device);
	rp_wire_fd_close(&device->fd);
	kvfio_regions_free(device);
	while (*link != device)
		link = &(*link)->next;
	*link = device->next;
	kvfio_container_leave(device->host, group);
	free(device);
}

static void
transport_close(void *priv)
{
	struct kvfio_device *device = priv;
	struct kvfio_host *host = device->host;

	pthread_mutex_lock(&host->lock);
	release(device);
	pthread_mutex_unlock(&host->lock);
}

static int
transport_give(void *priv, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	const struct kvfio_device *device = priv;
	int rc;

	pthread_mutex_lock(&device->host->lock);
	rc = kvfio_give(device, parcel, why);
	pthread_mutex_unlock(&device->host->lock);
	return rc;
}

static void
transport_leave(void *priv)
{
	struct kvfio_device *device = priv;
	struct kvfio_host *host = device->host;

	pthread_mutex_lock(&host->lock);
	kvfio_leave(device);
	pthread_mutex_unlock(&host->lock);
}

const struct rp_accel_transport_ops kvfio_transport_ops = {
	.get_info = transport_get_info,
	.region_size = transport_region_size,
	.region_read = transport_region_read,
	.region_write = transport_region_write,
	.region_window = transport_region_window,
	.region_io_fd = transport_region_io_fd,
	.irq_set = transport_irq_set,
	.dma_map = transport_dma_map,
	.dma_unmap = transport_dma_unmap,
	.reset = transport_reset,
	.get_fd = transport_get_fd,
	.process = transport_process,
	.is_quiet = transport_is_quiet,
	.close = transport_close,
	.give = transport_give,
	.leave = transport_leave,
};

int
kvfio_device_open_fd(struct kvfio_device *device, struct rp_wire_why *why)
{
	const struct kvfio_kernel *kernel = device->host->kernel;
	int rc = kernel->ioctl(kernel->ctx, device->group->fd, VFIO_GROUP_GET_DEVICE_FD, device->address);

	if (rc < 0)
		return rp_wire_why_set(why, rc == -ENODEV ? -ENOENT : rc, "%s: VFIO does not give it out: %s%s",
				       device->address, strerror(-rc),
				       rc == -ENODEV ? " (was it unbound just now?)" : "");
	device->fd = rc;
	return 0;
}

int
kvfio_device_inspect(struct kvfio_device *device, struct rp_wire_why *why)
{
	const struct kvfio_kernel *kernel = device->host->kernel;
	struct vfio_device_info info = {.argsz = sizeof(info)};
	int rc = kernel->ioctl(kernel->ctx, device->fd, VFIO_DEVICE_GET_INFO, &info);

	if (rc < 0)
		return rp_wire_why_set(why, -EIO, "%s: VFIO says nothing of it: %s", device->address, strerror(-rc));
	if ((info.flags & VFIO_DEVICE_FLAGS_PCI) == 0 || info.num_regions <= RP_ACCEL_TRANSPORT_CONFIG_REGION)
		return rp_wire_why_set(why, -ENOTSUP, "%s is not a PCI device, or has no configuration space",
				       device->address);
	device->resettable = (info.flags & VFIO_DEVICE_FLAGS_RESET) != 0;
	device->irqs_count = info.num_irqs;
	rc = kvfio_regions_read(device, info.num_regions, why);
	if (rc == 0)
		rc = kvfio_irq_count(device, VFIO_PCI_MSIX_IRQ_INDEX, why);
	if (rc == 0)
		return rp_wire_why_set(why, -ENOTSUP,
				       "%s has no MSI-X vector, and shared interrupts cannot be handed to a "
				       "guest",
				       device->address);
	if (rc < 0)
		return rc;
	device->msix_count = (uint32_t)rc;
	return 0;
}

int
kvfio_device_enter(struct kvfio_device *device, struct rp_wire_why *why)
{
	int rc = kvfio_container_slot(device->group->container, &device->slot, why);

	if (rc < 0) {
		kvfio_container_leave(device->host, device->group);
		return rc;
	}
	device->next = device->group->devices;
	device->group->devices = device;
	return 0;
}

static int
open_locked(struct kvfio_device *device, const struct rp_vfio_config *config, const struct kvfio_place *place,
	    struct rp_wire_why *why)
{
	int rc = kvfio_container_join(device->host, config, place, &device->group, why);

	if (rc == 0)
		rc = kvfio_device_enter(device, why);

	if (rc < 0) {
		free(device);
		return rc;
	}
	rc = kvfio_device_open_fd(device, why);
	if (rc == 0)
		rc = kvfio_device_inspect(device, why);
	if (rc == 0)
		rc = kvfio_events_open(device, why);
	if (rc < 0)
		release(device);
	return rc;
}

int
kvfio_device_create(struct kvfio_host *host, const struct rp_vfio_config *config, struct kvfio_place *ret_place,
		    struct kvfio_device **ret_device, struct rp_wire_why *why)
{
	struct kvfio_device *device;
	int rc = rp_vfio_check(config, why);

	if (rc == 0)
		rc = kvfio_address_parse(config->device, ret_place->address, why);
	if (rc == 0)
		rc = kvfio_sysfs_find(host->kernel, ret_place->address, &ret_place->group, why);
	if (rc < 0)
		return rc;
	device = calloc(1, sizeof(*device));
	if (device == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	device->host = host;
	device->fd = device->epoll_fd = device->error_event_fd = device->request_event_fd = -1;
	memcpy(device->address, ret_place->address, sizeof(device->address));
	*ret_device = device;
	return 0;
}

int
kvfio_transport_open(struct kvfio_host *host, const struct rp_vfio_config *config,
		     struct rp_accel_transport *ret_transport, struct rp_wire_why *why)
{
	struct kvfio_device *device = NULL;
	struct kvfio_place place;
	int rc = kvfio_device_create(host, config, &place, &device, why);

	if (device == NULL)
		return rc;
	pthread_mutex_lock(&host->lock);
	rc = open_locked(device, config, &place, why);
	pthread_mutex_unlock(&host->lock);
	if (rc < 0)
		return rc;
	ret_transport->ops = &kvfio_transport_ops;
	ret_transport->priv = device;
	return 0;
}

int
rp_vfio_check(const struct rp_vfio_config *config, struct rp_wire_why *why)
{
	char address[VFIO_ADDRESS_BYTES];
	const char *name = config->container;

	if (config->busy_wait_ms > RP_VFIO_BUSY_WAIT_MAX_MS)
		return rp_wire_why_set(why, -EBADMSG, "busy_wait_ms: %u, expected at most %u", config->busy_wait_ms,
				       RP_VFIO_BUSY_WAIT_MAX_MS);
	if (name != NULL && (name[0] == '\0' || strlen(name) > RP_VFIO_CONTAINER_NAME_MAX))
		return rp_wire_why_set(why, -EBADMSG, "container: '%.40s', expected a name of 1 to %u bytes", name,
				       RP_VFIO_CONTAINER_NAME_MAX);
	return kvfio_address_parse(config->device, address, why);
}

void
rp_vfio_set_keeper(const struct rp_vfio_keeper *keeper, void *ctx)
{
	pthread_mutex_lock(&process_host.lock);
	process_host.keeper = keeper;
	process_host.keeper_ctx = ctx;
	pthread_mutex_unlock(&process_host.lock);
}

int
rp_vfio_open(const struct rp_vfio_config *config, struct rp_accel_transport *ret_transport, struct rp_wire_why *why)
{
	return kvfio_transport_open(&process_host, config, ret_transport, why);
}

int
rp_vfio_adopt(const struct rp_vfio_config *config, struct rp_wire_parcel *parcel,
	      const struct rp_accel_memory *memories, unsigned int memories_count,
	      struct rp_accel_transport *ret_transport, struct rp_wire_why *why)
{
	return kvfio_transport_adopt(&process_host, config, parcel, memories, memories_count, ret_transport, why);
}
