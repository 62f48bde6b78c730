/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "ring.h"
#include "rp_vring_position.h"

#define DESCRIPTOR_MASK 0x7fffu
#define WRAP_BIT 15

uint32_t
rp_vring_position_fresh(uint64_t features)
{
	return rp_vring_position_drained(features, vring_is_packed(features) ? 1u << WRAP_BIT : 0);
}

uint32_t
rp_vring_position_drained(uint64_t features, uint16_t available)
{
	return vring_is_packed(features) ? (uint32_t)available << 16 | available : available;
}

static int
check_half(const char *name, uint16_t half, uint16_t num, struct rp_wire_why *why)
{
	if ((half & DESCRIPTOR_MASK) < num)
		return 0;
	return rp_wire_why_set(why, -EBADMSG, "position: the next %s descriptor is %u, expected less than %u", name,
			       half & DESCRIPTOR_MASK, num);
}

int
rp_vring_position_check(uint64_t features, uint16_t num, uint32_t position, struct rp_wire_why *why)
{
	uint16_t available = (uint16_t)position, used = (uint16_t)(position >> 16);
	int rc;

	if (!vring_is_packed(features)) {
		if (used == 0)
			return 0;
		return rp_wire_why_set(why, -EBADMSG, "position: is 0x%x, expected an index of 16 bits", position);
	}
	rc = check_half("available", available, num, why);
	if (rc == 0)
		rc = check_half("used", used, num, why);
	if (rc < 0 || available == used)
		return rc;
	return rp_wire_why_set(
		why, -EBADMSG, "position: next available %u (wrap %u), next used %u (wrap %u), expected a drained ring",
		available & DESCRIPTOR_MASK, available >> WRAP_BIT, used & DESCRIPTOR_MASK, used >> WRAP_BIT);
}
