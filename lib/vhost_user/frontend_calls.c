/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "vhu_frontend.h"

int
rp_vhu_frontend_set_features(struct rp_vhu_frontend *frontend, uint64_t features, struct rp_wire_why *why)
{
	int rc = vhu_frontend_tell(frontend, RP_VHU_SET_FEATURES, &features, sizeof(features), NULL, 0, why);

	if (rc == 0)
		frontend->features = features;
	return rc;
}

static struct rp_vhu_wire_region
region_to_wire(const struct rp_vhu_region *region)
{
	return (struct rp_vhu_wire_region){
		.gpa = region->gpa,
		.size_bytes = region->size_bytes,
		.uva = region->uva,
		.offset_bytes = region->offset_bytes,
	};
}

int
rp_vhu_frontend_set_mem_table(struct rp_vhu_frontend *frontend, const struct rp_vhu_region *regions, unsigned int count,
			      struct rp_wire_why *why)
{
	struct rp_vhu_wire_mem_table wire = {.count = count};
	int fds[RP_VHU_REGIONS_MAX];
	unsigned int i;

	if (count == 0 || count > RP_VHU_REGIONS_MAX)
		return rp_wire_why_set(why, -EINVAL, "%u regions, expected 1 to %u", count, RP_VHU_REGIONS_MAX);
	for (i = 0; i < count; i++) {
		wire.regions[i] = region_to_wire(&regions[i]);
		fds[i] = regions[i].fd;
	}
	return vhu_frontend_tell(frontend, RP_VHU_SET_MEM_TABLE, &wire, (uint32_t)(8 + count * sizeof(wire.regions[0])),
				 fds, count, why);
}

int
rp_vhu_frontend_add_mem_reg(struct rp_vhu_frontend *frontend, const struct rp_vhu_region *region,
			    struct rp_wire_why *why)
{
	struct rp_vhu_wire_mem_slot wire = {.region = region_to_wire(region)};

	return vhu_frontend_tell(frontend, RP_VHU_ADD_MEM_REG, &wire, sizeof(wire), &region->fd, 1, why);
}

int
rp_vhu_frontend_rem_mem_reg(struct rp_vhu_frontend *frontend, const struct rp_vhu_region *region,
			    struct rp_wire_why *why)
{
	struct rp_vhu_wire_mem_slot wire = {.region = region_to_wire(region)};

	return vhu_frontend_tell(frontend, RP_VHU_REM_MEM_REG, &wire, sizeof(wire), NULL, 0, why);
}
