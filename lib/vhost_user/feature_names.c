/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>

#include "rp_vhu_profile.h"

#define BITS_COUNT 64

/* clang-format off */
static const char *const names[] = {
	[RP_VHU_PF_MQ_BIT] = "MQ",
	[RP_VHU_PF_LOG_SHMFD_BIT] = "LOG_SHMFD",
	[RP_VHU_PF_RARP_BIT] = "RARP",
	[RP_VHU_PF_REPLY_ACK_BIT] = "REPLY_ACK",
	[RP_VHU_PF_MTU_BIT] = "MTU",
	[RP_VHU_PF_BACKEND_REQ_BIT] = "BACKEND_REQ",
	[RP_VHU_PF_CROSS_ENDIAN_BIT] = "CROSS_ENDIAN",
	[RP_VHU_PF_CRYPTO_SESSION_BIT] = "CRYPTO_SESSION",
	[RP_VHU_PF_PAGEFAULT_BIT] = "PAGEFAULT",
	[RP_VHU_PF_CONFIG_BIT] = "CONFIG",
	[RP_VHU_PF_BACKEND_SEND_FD_BIT] = "BACKEND_SEND_FD",
	[RP_VHU_PF_HOST_NOTIFIER_BIT] = "HOST_NOTIFIER",
	[RP_VHU_PF_INFLIGHT_SHMFD_BIT] = "INFLIGHT_SHMFD",
	[RP_VHU_PF_RESET_DEVICE_BIT] = "RESET_DEVICE",
	[RP_VHU_PF_INBAND_NOTIFICATIONS_BIT] = "INBAND_NOTIFICATIONS",
	[RP_VHU_PF_CONFIGURE_MEM_SLOTS_BIT] = "CONFIGURE_MEM_SLOTS",
	[RP_VHU_PF_STATUS_BIT] = "STATUS",
	[RP_VHU_PF_XEN_MMAP_BIT] = "XEN_MMAP",
	[RP_VHU_PF_SHARED_OBJECT_BIT] = "SHARED_OBJECT",
	[RP_VHU_PF_DEVICE_STATE_BIT] = "DEVICE_STATE",
	[RP_VHU_PF_GET_VRING_BASE_INFLIGHT_BIT] = "GET_VRING_BASE_INFLIGHT",
	[RP_VHU_PF_GPA_ADDRESSES_BIT] = "GPA_ADDRESSES",
	[RP_VHU_PF_SHMEM_BIT] = "SHMEM",
};
/* clang-format on */

const char *
rp_vhu_dialect_feature_name(const struct rp_vhu_dialect *dialect, unsigned int bit)
{
	if (bit < BITS_COUNT && (dialect->vfio_mask & 1ull << bit) != 0)
		return "VFIO";
	return bit < sizeof(names) / sizeof(names[0]) ? names[bit] : NULL;
}

void
rp_vhu_dialect_feature_names(const struct rp_vhu_dialect *dialect, uint64_t protocol_features, char *ret_text,
			     size_t size)
{
	size_t used = 0;
	unsigned int bit;

	if (size == 0)
		return;
	ret_text[0] = '\0';
	for (bit = 0; bit < BITS_COUNT && used < size; bit++) {
		const char *name = rp_vhu_dialect_feature_name(dialect, bit);
		int wrote;

		if ((protocol_features & 1ull << bit) == 0)
			continue;
		wrote = name != NULL ? snprintf(ret_text + used, size - used, "%s%s", used == 0 ? "" : ", ", name) :
				       snprintf(ret_text + used, size - used, "%sbit %u", used == 0 ? "" : ", ", bit);
		used += wrote > 0 ? (size_t)wrote : 0;
	}
}
