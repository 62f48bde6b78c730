/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A software backend behind a guest's IOMMU asks for translations as we do ourselves. What
 * is known is told at once; what is not is asked for, and told when the frontend has told it.
 * It hears "well" to each miss as soon as it was taken: what it waits for is the update. And
 * what is taken back is taken back from it before the frontend hears that it is gone.
 */

#include <errno.h>
#include <inttypes.h>

#include "software_parts.h"

#define ACCESS_BOTH (RP_VHU_IOTLB_READ_MASK | RP_VHU_IOTLB_WRITE_MASK)

static bool
is_behind_iommu(const struct rp_port *port)
{
	return port_software_there(port) && port_iommu_is_on(port) && port->software->features_known &&
	       (port->software->features_told >> RP_VHU_F_ACCESS_PLATFORM_BIT & 1) != 0;
}

/* 0: told, or on its way; -EAGAIN: not known yet; -EFAULT: there is none. */
static int
tell(struct rp_port *port, const struct port_software_miss *miss, struct rp_wire_why *why)
{
	uint8_t perm = port_iommu_permits(port, miss->page, ACCESS_BOTH) ? ACCESS_BOTH : miss->perm;
	uint64_t gpa, bytes, uva = 0;
	int rc = port_iommu_find(port, miss->page, PORT_IOMMU_PAGE_BYTES, miss->perm, false, &gpa, &bytes);

	if (rc == 0 && port_software_uva(port, gpa, bytes, &uva) < 0)
		rc = -EFAULT;
	if (rc < 0)
		return rp_wire_why_set(why, rc, "nothing is known to be at 0x%" PRIx64, miss->page);
	return rp_vhu_frontend_iotlb_update(port->software->frontend, miss->page, bytes, uva, perm, why);
}

static int
remember(struct port_software *software, const struct port_software_miss *miss, struct rp_wire_why *why)
{
	unsigned int i;

	for (i = 0; i < software->misses_count; i++)
		if (software->misses[i].page == miss->page && software->misses[i].perm == miss->perm)
			return 0;
	if (software->misses_count == PORT_SOFTWARE_MISSES_MAX)
		return rp_wire_why_set(why, -ENOSPC, "%u translations are being asked for", software->misses_count);
	software->misses[software->misses_count++] = *miss;
	return 0;
}

int
port_software_on_miss(void *ctx, uint64_t iova, uint8_t perm, bool access_fail, struct rp_wire_why *why)
{
	const struct port_software_miss miss = {.page = iova & ~(uint64_t)(PORT_IOMMU_PAGE_BYTES - 1), .perm = perm};
	struct rp_port *port = ctx;
	int rc;

	if (access_fail) {
		port_event(port, RP_PORT_EVENT_NOTICE, -1, "software-access-refused",
			   "the software backend may not access 0x%" PRIx64, iova);
		return 0;
	}
	if (!is_behind_iommu(port))
		return rp_wire_why_set(why, -ENOTSUP, "the guest has no IOMMU");
	rc = tell(port, &miss, why);
	return rc == -EAGAIN ? remember(port->software, &miss, why) : rc;
}

void
port_software_iotlb_run(struct rp_port *port)
{
	unsigned int count, i, kept = 0;

	if (!port_software_configured(port) || !is_behind_iommu(port))
		return;
	count = port->software->misses_count;
	for (i = 0; i < count && port_software_there(port); i++) {
		struct port_software_miss miss = port->software->misses[i];
		struct rp_wire_why why = {0};
		int rc = tell(port, &miss, &why);

		if (rc == -EAGAIN)
			port->software->misses[kept++] = miss;
		else
			port_software_checked(port, rc);
	}
	/* What it asked for while it was told waits behind the rest. */
	if (!port_software_there(port))
		return;
	for (; i < port->software->misses_count; i++)
		port->software->misses[kept++] = port->software->misses[i];
	port->software->misses_count = kept;
}

void
port_software_iotlb_invalidate(struct rp_port *port, uint64_t iova, uint64_t size_bytes)
{
	struct rp_wire_why why = {0};
	int rc;

	if (!port_software_configured(port) || !is_behind_iommu(port))
		return;
	rc = port_software_checked(port,
				   rp_vhu_frontend_iotlb_invalidate(port->software->frontend, iova, size_bytes, &why));
	/* It may go on with what is gone: it is not to be believed any more. */
	if (rc < 0 && port->software->frontend != NULL)
		port_software_drop(port, &why);
}
