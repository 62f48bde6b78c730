/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_MSG_IOMMU_H
#define VFU_MSG_IOMMU_H

#include "rp_vfu_msg.h"

/* The rules across fields of ringpass.iommu's rows (doc/protocol/vfio-user-iommu.md). @return 0 or -EBADMSG. */
int rp_vfu_check_translate(const struct rp_vfu_msg_view *command, struct rp_wire_why *why);
int rp_vfu_check_invalidate(const struct rp_vfu_msg_view *command, struct rp_wire_why *why);
int rp_vfu_check_page_request(const struct rp_vfu_msg_view *command, struct rp_wire_why *why);
int rp_vfu_check_page_response(const struct rp_vfu_msg_view *command, struct rp_wire_why *why);

#endif
