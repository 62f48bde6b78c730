/* SPDX-License-Identifier: BSD-3-Clause */
#include <linux/pci_regs.h>
#include <stddef.h>

#include "kvfio.h"

/* False: the register cannot be read, or nobody answers on the bus (all ones). */
static bool
read_command(const struct kvfio_device *device, uint16_t *ret_command)
{
	const struct kvfio_kernel *kernel = device->host->kernel;
	uint64_t at_bytes = device->regions[RP_ACCEL_TRANSPORT_CONFIG_REGION].file_offset_bytes + PCI_COMMAND;
	uint8_t bytes[2];

	if (kernel->pread(kernel->ctx, device->fd, bytes, sizeof(bytes), (off_t)at_bytes) != sizeof(bytes))
		return false;
	*ret_command = (uint16_t)(bytes[0] | bytes[1] << 8);
	return *ret_command != 0xffff;
}

void
kvfio_bus_master_clear(struct kvfio_device *device)
{
	const struct kvfio_kernel *kernel = device->host->kernel;
	uint64_t at_bytes = device->regions[RP_ACCEL_TRANSPORT_CONFIG_REGION].file_offset_bytes + PCI_COMMAND;
	uint16_t command;
	uint8_t bytes[2];

	if (!read_command(device, &command) || (command & PCI_COMMAND_MASTER) == 0)
		return;
	command &= (uint16_t)~PCI_COMMAND_MASTER;
	bytes[0] = (uint8_t)command;
	bytes[1] = (uint8_t)(command >> 8);
	kernel->pwrite(kernel->ctx, device->fd, bytes, sizeof(bytes), (off_t)at_bytes);
}

static bool
is_master(const struct kvfio_device *device)
{
	uint16_t command;

	return !read_command(device, &command) || (command & PCI_COMMAND_MASTER) != 0;
}

/*
 * Everything in the container can be reached by this device, whoever mapped it. So
 * without the word of its register there is no proof until nothing is mapped at all;
 * and none in a container of somebody else's, of which we do not know what is in it.
 */
static bool
reaches_nothing(const struct kvfio_device *device)
{
	const struct kvfio_container *container = device->group->container;

	return !container->borrowed && container->books.count == 0;
}

bool
kvfio_is_quiet(struct kvfio_device *device)
{
	if (!is_master(device) || reaches_nothing(device))
		return true;
	if (device->lost.error == 0)
		return false;
	kvfio_bus_master_clear(device);
	if (!is_master(device))
		return true;
	if (!device->cut && kvfio_dma_unmap_all(device, NULL) == 0)
		device->cut = true;
	return device->cut && reaches_nothing(device);
}
