/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "blackout.h"

void
port_blackout_add(struct port_blackouts *blackouts, uint64_t us)
{
	blackouts->us[blackouts->next] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
	blackouts->next = (blackouts->next + 1) % RP_PORT_BLACKOUTS_KEPT;
	if (blackouts->count < RP_PORT_BLACKOUTS_KEPT)
		blackouts->count++;
}

static int
compare(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return (left > right) - (left < right);
}

void
port_blackout_tell(const struct port_blackouts *blackouts, struct rp_port_queue_info *info)
{
	uint32_t sorted[RP_PORT_BLACKOUTS_KEPT];

	info->blackouts_count = blackouts->count;
	info->blackout_min_us = info->blackout_median_us = info->blackout_max_us = 0;
	if (blackouts->count == 0)
		return;
	memcpy(sorted, blackouts->us, blackouts->count * sizeof(sorted[0]));
	qsort(sorted, blackouts->count, sizeof(sorted[0]), compare);
	info->blackout_min_us = sorted[0];
	info->blackout_median_us = sorted[(blackouts->count - 1) / 2];
	info->blackout_max_us = sorted[blackouts->count - 1];
}
