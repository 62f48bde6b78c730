/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "vfu_client_iommu.h"

struct rp_vfu_memory *
rp_vfu_client_memory_of(const struct rp_vfu_client *client, uint32_t pasid)
{
	struct rp_vfu_pasid_memory *one;

	if (pasid == RP_VFU_NO_PASID)
		return (struct rp_vfu_memory *)&client->memory;
	LIST_FOREACH (one, &client->pasids, link)
		if (one->pasid == pasid)
			return &one->memory;
	return NULL;
}

static int
check_pasid(const struct rp_vfu_client *client, uint32_t pasid, struct rp_wire_why *why)
{
	uint64_t bits = client->terms.value[RP_VFU_TERM_PASID_BITS];

	if ((client->terms.named_mask & (1u << RP_VFU_TERM_PASID_BITS)) == 0)
		return rp_wire_why_set(why, -ENOTSUP, "PASIDs were not agreed on");
	if (pasid >> bits != 0)
		return rp_wire_why_set(why, -EINVAL, "pasid: 0x%x, expected at most %u bits", pasid,
				       (unsigned int)bits);
	return 0;
}

int
rp_vfu_client_memory_open(struct rp_vfu_client *client, uint32_t pasid, struct rp_vfu_memory **ret_memory,
			  struct rp_wire_why *why)
{
	struct rp_vfu_pasid_memory *one;
	int rc;

	*ret_memory = rp_vfu_client_memory_of(client, pasid);
	if (pasid == RP_VFU_NO_PASID)
		return 0;
	rc = check_pasid(client, pasid, why);
	if (rc < 0 || *ret_memory != NULL)
		return rc;
	one = calloc(1, sizeof(*one));
	if (one == NULL)
		return rp_wire_why_set(why, -ENOMEM, "pasid: no memory");
	one->pasid = pasid;
	LIST_INSERT_HEAD(&client->pasids, one, link);
	*ret_memory = &one->memory;
	return 0;
}

void
rp_vfu_client_pasids_clear(struct rp_vfu_client *client)
{
	while (!LIST_EMPTY(&client->pasids)) {
		struct rp_vfu_pasid_memory *one = LIST_FIRST(&client->pasids);

		LIST_REMOVE(one, link);
		rp_vfu_memory_clear(&one->memory);
		free(one);
	}
}
