/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>

#include "kvfio.h"

/* PCI 6.8.2: the table's size is a field of 11 bits. */
#define MSIX_VECTORS_MAX 2048u

int
kvfio_irq_count(const struct kvfio_device *device, uint32_t index, struct rp_wire_why *why)
{
	const struct kvfio_kernel *kernel = device->host->kernel;
	struct vfio_irq_info info = {.argsz = sizeof(info), .index = index};
	int rc;

	if (index >= device->irqs_count)
		return 0;
	rc = kernel->ioctl(kernel->ctx, device->fd, VFIO_DEVICE_GET_IRQ_INFO, &info);
	/* A device without PCIe error reporting says so this way. */
	if (rc == -EINVAL)
		return 0;
	if (rc < 0)
		return rp_wire_why_set(why, -EIO, "interrupt %u: %s", index, strerror(-rc));
	if (info.index != index || info.count > MSIX_VECTORS_MAX)
		return rp_wire_why_set(why, -EBADMSG, "VFIO: interrupt %u: index %u, count %u, expected at most %u",
				       index, info.index, info.count, MSIX_VECTORS_MAX);
	return (info.flags & VFIO_IRQ_INFO_EVENTFD) != 0 ? (int)info.count : 0;
}

struct one {
	struct vfio_irq_set set;
	int32_t eventfd; /* where the flexible array begins */
};

_Static_assert(offsetof(struct one, eventfd) == sizeof(struct vfio_irq_set), "the array follows its header");

static int
set_one(const struct kvfio_device *device, uint32_t index, uint32_t vector, int eventfd)
{
	const struct kvfio_kernel *kernel = device->host->kernel;
	struct one one = {
		.set = {.argsz = sizeof(one),
			.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
			.index = index,
			.start = vector,
			.count = 1},
		.eventfd = eventfd,
	};

	return kernel->ioctl(kernel->ctx, device->fd, VFIO_DEVICE_SET_IRQS, &one);
}

int
kvfio_irq_arm(const struct kvfio_device *device, uint32_t index, int eventfd, struct rp_wire_why *why)
{
	int rc = set_one(device, index, 0, eventfd);

	return rc < 0 ? rp_wire_why_set(why, rc, "interrupt %u: %s", index, strerror(-rc)) : 0;
}

/*
 * All vectors at once, because later more cannot be added without taking the first
 * away for a moment. @return 0, how many the machine has left for us, or an errno.
 */
static int
enable(const struct kvfio_device *device, uint32_t count, uint32_t vector, int eventfd)
{
	const struct kvfio_kernel *kernel = device->host->kernel;
	size_t size_bytes = sizeof(struct vfio_irq_set) + count * sizeof(int32_t);
	struct vfio_irq_set *set = calloc(1, size_bytes);
	int32_t none = -1, fd = eventfd;
	uint32_t i;
	int rc;

	if (set == NULL)
		return -ENOMEM;
	set->argsz = (uint32_t)size_bytes;
	set->flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
	set->index = VFIO_PCI_MSIX_IRQ_INDEX;
	set->count = count;
	for (i = 0; i < count; i++)
		memcpy(set->data + i * sizeof(fd), i == vector ? &fd : &none, sizeof(fd));
	rc = kernel->ioctl(kernel->ctx, device->fd, VFIO_DEVICE_SET_IRQS, set);
	free(set);
	return rc;
}

static int
enable_first(struct kvfio_device *device, uint32_t vector, int eventfd, struct rp_wire_why *why)
{
	uint32_t count = device->msix_count;
	int rc = enable(device, count, vector, eventfd);

	if (rc > 0 && (uint32_t)rc < count && vector < (uint32_t)rc) {
		count = (uint32_t)rc;
		rc = enable(device, count, vector, eventfd);
	}
	if (rc > 0)
		return rp_wire_why_set(
			why, -ENOSPC,
			"vector %u: this machine has %d interrupts left for the device's %u vectors: use "
			"fewer queues, or fewer devices",
			vector, rc, device->msix_count);
	if (rc < 0)
		return rp_wire_why_set(why, rc == -ENOSPC ? rc : -EIO, "MSI-X of %u vectors: %s", count, strerror(-rc));
	device->msix_enabled_count = count;
	return 0;
}

int
kvfio_irq_msix(struct kvfio_device *device, uint32_t vector, int eventfd, struct rp_wire_why *why)
{
	int rc;

	if (vector >= device->msix_count)
		return rp_wire_why_set(why, -EINVAL, "vector %u, expected less than %u", vector, device->msix_count);
	if (device->msix_enabled_count == 0)
		return eventfd < 0 ? 0 : enable_first(device, vector, eventfd, why);
	if (vector >= device->msix_enabled_count)
		return rp_wire_why_set(why, -ENOSPC, "vector %u: this machine had interrupts for %u vectors only",
				       vector, device->msix_enabled_count);
	rc = set_one(device, VFIO_PCI_MSIX_IRQ_INDEX, vector, eventfd);
	if (rc == -EINVAL || rc == -EBADF)
		return rp_wire_why_set(why, -EINVAL, "vector %u: %s: expected an eventfd", vector, strerror(-rc));
	return rc < 0 ? rp_wire_why_set(why, -EIO, "vector %u: %s", vector, strerror(-rc)) : 0;
}
