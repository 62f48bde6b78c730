/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FUZZ_VFIO_USER_IOMMU_H
#define FUZZ_VFIO_USER_IOMMU_H

#include "rp_vfu_server_iommu.h"
#include "vfio_user.h"

/*
 * ringpass.iommu: its messages (for both targets), and what a device does with an IOMMU of
 * its client's.
 */

#define FUZZ_VFU_IOMMU_THINGS 4u

/* A sensible one of the extension's commands. @return false: it is none of them. */
bool fuzz_vfu_iommu_command(struct fuzz_vfu_message *message, struct fuzz_input *input, uint16_t command);
/* A sensible answer to one of them. @return false: it is none of them. */
bool fuzz_vfu_iommu_reply(struct fuzz_vfu_message *message, struct fuzz_input *input,
			  const struct fuzz_vfu_asked *asked);
/* Put a PASID behind the fixed fields of a command that may have one. */
void fuzz_vfu_add_pasid(struct fuzz_vfu_message *message, struct fuzz_input *input);

/* The device's part. */
struct fuzz_vfu_iommu {
	struct rp_vfu_server *server;
	struct fuzz_input *input;
	struct rp_dma_atc_wait waits[FUZZ_VFU_IOMMU_THINGS];
	bool waiting[FUZZ_VFU_IOMMU_THINGS];
	struct rp_dma_atc_use uses[FUZZ_VFU_IOMMU_THINGS];
	struct rp_vfu_page_group groups[FUZZ_VFU_IOMMU_THINGS];
	struct rp_vfu_page pages[FUZZ_VFU_IOMMU_THINGS];
	bool asking[FUZZ_VFU_IOMMU_THINGS];
};

void fuzz_vfu_iommu_begin(struct fuzz_vfu_iommu *iommu, struct rp_vfu_server *server, struct fuzz_input *input);
/* Something that a device may do at any time. */
void fuzz_vfu_iommu_act(struct fuzz_vfu_iommu *iommu);
/* Without a client nothing is known, and nobody waits. */
void fuzz_vfu_iommu_check_idle(const struct fuzz_vfu_iommu *iommu);
/* Before the server goes. */
void fuzz_vfu_iommu_let_go(struct fuzz_vfu_iommu *iommu);

#endif
