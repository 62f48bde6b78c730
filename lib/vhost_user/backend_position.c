/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A ring's size and the place to start from. What is right depends on the ring's
 * layout, which the frontend may tell before or after them: both are judged when they
 * come, as far as that is possible, and again at the start.
 *
 * A base of 32 bits: struct rp_vhu_vring. Frontends that know only the available half
 * of a packed ring's send 16 bits; a ring that nothing is in flight on is used where it
 * is available.
 */

#include <errno.h>

#include "vhu_backend.h"

#define BIT(n) (1ull << (n))
#define OFFSET_MASK 0x7fffu

bool
vhu_vring_packed(const struct rp_vhu_backend *backend)
{
	return (backend->features & BIT(RP_VHU_F_RING_PACKED_BIT)) != 0;
}

/* A frontend that acks no features at all has split rings. */
static bool
layout_known(const struct rp_vhu_backend *backend, bool at_start)
{
	return at_start || backend->features_acked;
}

int
vhu_vring_check_num(const struct rp_vhu_backend *backend, uint32_t num, bool at_start, struct rp_wire_why *why)
{
	bool any = vhu_vring_packed(backend) || !layout_known(backend, at_start);

	if (num == 0 || num > backend->config.vring_num_max || (!any && (num & (num - 1)) != 0))
		return rp_wire_why_set(why, -EBADMSG, "num: %u, expected a %s up to %u", num,
				       any ? "number" : "power of two", backend->config.vring_num_max);
	return 0;
}

/*
 * Without draining, "available further, used at the very start" exists, and so it does in
 * what our own stop answered: then all 32 bits mean what they say.
 */
static uint32_t
complete(const struct rp_vhu_backend *backend, const struct vhu_vring *vring, uint32_t wire)
{
	bool exact = vring->base_ours || (backend->protocol_features & BIT(RP_VHU_PF_GET_VRING_BASE_INFLIGHT_BIT)) != 0;

	return wire <= UINT16_MAX && !exact ? wire << 16 | wire : wire;
}

static int
check_packed(const struct vhu_vring *vring, uint32_t base, struct rp_wire_why *why)
{
	uint32_t available = base & OFFSET_MASK, used = base >> 16 & OFFSET_MASK;

	if (vring->num_known && (available >= vring->state.num || used >= vring->state.num))
		return rp_wire_why_set(why, -EBADMSG, "base: available at %u, used at %u, expected both below %u",
				       available, used, vring->state.num);
	return 0;
}

int
vhu_vring_judge_base(const struct rp_vhu_backend *backend, const struct vhu_vring *vring, bool at_start,
		     uint32_t *ret_base, struct rp_wire_why *why)
{
	uint32_t base = vring->base_wire;
	int rc = 0;

	if (vhu_vring_packed(backend)) {
		base = complete(backend, vring, base);
		rc = check_packed(vring, base, why);
	} else if (layout_known(backend, at_start) && base > UINT16_MAX) {
		rc = rp_wire_why_set(why, -EBADMSG, "base: %u, expected an index of 16 bits", base);
	}
	if (rc == 0)
		*ret_base = base;
	return rc;
}
