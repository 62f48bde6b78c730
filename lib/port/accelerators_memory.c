/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Guest memory that comes and goes, in the address spaces of accelerators, and private
 * rings that must make way for it.
 */

#include <errno.h>
#include <inttypes.h>

#include "port.h"
#include "rp_wire_clock.h"

/* What its IOMMU cannot do is said in words before the device says it in numbers. */
int
port_accelerator_map(struct port_accelerator *accelerator, const struct rp_vhu_region *region, struct rp_wire_why *why)
{
	const struct rp_dma_section section = {
		.kind = RP_DMA_SECTION_RAM,
		.iova = region->gpa,
		.size_bytes = region->size_bytes,
	};
	const struct rp_dma_section_iommu iommu = port_accelerator_iommu(accelerator);
	int rc;

	/* It is given what it requests. */
	if (port_asks_is(accelerator))
		return 0;
	accelerator->region = region;
	rc = rp_dma_sections_map(accelerator->sections, &section, &iommu, rp_wire_clock_ms(), why);
	accelerator->region = NULL;
	if (rc < 0 && accelerator->info.device[0] != '\0')
		rp_wire_why_prefix(why, "%.40s: ", accelerator->info.device);
	return rc;
}

/*
 * Private rings that lie where guest memory comes stop, and their place is free. A
 * device that cannot stop one ring alone stops them all.
 */
static void
make_way(struct rp_port *port, unsigned int index)
{
	struct port_accelerator *accelerator = &port->accelerators[index];
	struct rp_wire_why why = {0};
	unsigned int i;
	int rc = 0;

	port_event(port, RP_PORT_EVENT_NOTICE, -1, "private-rings-move",
		   "%s: the guest has memory at 0x%" PRIx64 " now", accelerator->arguments, port->coming->gpa);
	accelerator->moving = true;
	for (i = 0; i < port->queues_count && rc == 0; i++)
		if (port_queue_is_on(&port->queues[i], index) && port->queues[i].running &&
		    port->queues[i].shadow.ring != NULL)
			rc = port_queue_update(port, &port->queues[i], &why);
	if (rc == -ENOTSUP)
		rc = port_accelerator_stop_all(port, index, &why);
	if (rc == 0)
		rc = port_private_unmap(accelerator, &why);
	if (rc < 0)
		port_accelerator_fail(port, index, rc, &why);
}

static void
go_on(struct rp_port *port)
{
	unsigned int i;

	for (i = 0; i < port->accelerators_count; i++)
		port->accelerators[i].moving = false;
	for (i = 0; i < port->queues_count; i++)
		port_queue_update(port, &port->queues[i], NULL);
}

static int
map_for_all(struct rp_port *port, const struct rp_vhu_region *region, struct rp_wire_why *why)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; i < port->accelerators_count; i++) {
		if (!port_accelerator_usable(port, (int)i))
			continue;
		rc = port_accelerator_map(&port->accelerators[i], region, why);
		if (rc == -ENOTCONN || rc == -ETIMEDOUT || rc == -EIO) {
			port_accelerator_fail(port, i, rc, why);
			rc = 0;
		}
		if (rc < 0)
			break;
	}
	if (rc == 0)
		return 0;
	while (i-- > 0) {
		const struct rp_accel *accel = &port->accelerators[i].accel;

		if (port_accelerator_usable(port, (int)i) && !port_asks_is(&port->accelerators[i]))
			accel->ops->dma_unmap(accel->priv, region->gpa, region->size_bytes, NULL);
	}
	return rc;
}

int
port_accelerators_region_add(struct rp_port *port, const struct rp_vhu_region *region, struct rp_wire_why *why)
{
	bool moved = false;
	unsigned int i;
	int rc;

	port->coming = region;
	/* All of them first: devices may share their address space. */
	port_windows_make_way(port, region);
	for (i = 0; i < port->accelerators_count; i++) {
		if (!port_accelerator_usable(port, (int)i) || !port_private_in_the_way(&port->accelerators[i], region))
			continue;
		make_way(port, i);
		moved = true;
	}
	rc = map_for_all(port, region, why);
	if (moved)
		go_on(port);
	port->coming = NULL;
	return rc;
}

void
port_accelerators_region_remove(struct rp_port *port, const struct rp_vhu_region *region)
{
	struct rp_wire_why why = {0};
	unsigned int i;

	for (i = 0; i < port->accelerators_count; i++) {
		const struct rp_accel *accel = &port->accelerators[i].accel;
		int rc;

		if (!port_accelerator_usable(port, (int)i))
			continue;
		if (port_asks_is(&port->accelerators[i]))
			rc = port_asks_region_remove(&port->accelerators[i], region, &why);
		else
			rc = accel->ops->dma_unmap(accel->priv, region->gpa, region->size_bytes, &why);
		if (rc < 0)
			port_accelerator_fail(port, i, rc, &why);
	}
	port_windows_retry(port);
}
