/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFIO_USER_TRANSPORT_IOMMU_H
#define VFIO_USER_TRANSPORT_IOMMU_H

#include "rp_accel_iommu.h"
#include "rp_vfu_client_iommu.h"

struct transport {
	struct rp_vfu_client *client;
	struct rp_vfu_client_device device;
	uint32_t msix_count;
	int epoll_fd; /* outlives the client's socket, so that whoever polls it never polls a closed number */
	int pidfd;
	int peer_pid;
	char path[128];
	struct rp_accel_iommu iommu; /* valid with rp_vfu_client_config.iommu */
	struct rp_wire_why lost; /* error 0: connected */
};

/* For the client; its context is the transport. */
extern const struct rp_vfu_client_iommu vfio_user_iommu_ops;

bool vfio_user_iommu_asks(const struct transport *transport);
/* As rp_accel_transport_ops; priv is the transport. */
int vfio_user_iommu_translated(void *priv, uint64_t token, const struct rp_accel_translation *translation);
int vfio_user_iommu_page_respond(void *priv, uint32_t group, bool present);
int vfio_user_iommu_invalidate(void *priv, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why);

#endif
