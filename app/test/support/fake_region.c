/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "fake_asks.h"

/* What the fake accelerator's neighbour may map: its BAR. */

int
fake_region_info(void *priv, uint32_t region, struct rp_accel_region *ret_region, struct rp_wire_why *why)
{
	const struct fake_accel *fake;

	(void)priv;
	if (region != FAKE_ACCEL_BAR)
		return rp_wire_why_set(why, -ENOTSUP, "BAR %u is absent", region);
	fake = fake_take();
	*ret_region = (struct rp_accel_region){
		.size_bytes = FAKE_ACCEL_BAR_BYTES,
		.holes = {fake->holes[0], fake->holes[1]},
		.holes_count = RP_DMA_SECTION_HOLES_MAX,
	};
	fake_give();
	return 0;
}

int
fake_region_window(void *priv, uint32_t region, uint64_t offset_bytes, uint64_t size_bytes,
		   struct rp_accel_window *ret_window, struct rp_wire_why *why)
{
	const struct fake_accel *fake;

	(void)why;
	assert_int_equal(region, FAKE_ACCEL_BAR);
	assert_true(offset_bytes + size_bytes <= FAKE_ACCEL_BAR_BYTES);
	fake = fake_take();
	*ret_window = (struct rp_accel_window){
		.fd = fake->doorbell_fd,
		.offset_bytes = offset_bytes,
		.size_bytes = size_bytes,
		.all_of_device = fake->groups[fake_device_of(priv)] >= 0,
	};
	fake_give();
	return 0;
}
