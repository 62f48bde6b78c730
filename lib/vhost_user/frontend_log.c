/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhu_frontend.h"

int
rp_vhu_frontend_set_log_base(struct rp_vhu_frontend *frontend, int fd, uint64_t size_bytes, uint64_t offset_bytes,
			     struct rp_wire_why *why)
{
	struct rp_vhu_wire_log log = {.size_bytes = size_bytes, .offset_bytes = offset_bytes};

	return vhu_frontend_call(frontend, RP_VHU_SET_LOG_BASE, &log, sizeof(log), &fd, 1, false, NULL, 0, why);
}

int
rp_vhu_frontend_set_log_fd(struct rp_vhu_frontend *frontend, int event_fd, struct rp_wire_why *why)
{
	return vhu_frontend_tell(frontend, RP_VHU_SET_LOG_FD, NULL, 0, &event_fd, 1, why);
}
