/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IOMMU_PEER_H
#define IOMMU_PEER_H

#include "bytes.h"
#include "device.h"
#include "rp_vfu_server_iommu.h"

/* A client made of bytes that is an IOMMU, and a device whose addresses it translates. */

#define IOMMU_WAITS_MAX 8
#define IOMMU_UNHEARD 1

/* The capability with all of its members, four of each. */
#define IOMMU_ALL                                                                                                      \
	"\"ringpass.serve\":true,\"ringpass.remap\":true,\"max_msg_fds\":4,\"ringpass.iommu\":{\"translations\":4,"    \
	"\"invalidations\":4,\"page_requests\":4,\"pasid_bits\":20}"

struct iommu_scene {
	struct device device;
	struct peer peer;
	struct peer twin; /* where one was agreed on */
	struct peer_msg msg; /* the last command of the server's */
	struct peer_msg reply; /* the last reply of the server's */
	char agreed[512]; /* the text of the server's answer to VERSION */
	struct rp_dma_atc_wait waits[IOMMU_WAITS_MAX];
	int heard[IOMMU_WAITS_MAX];
	struct test_leaks before;
};

/* The one of the running test. */
extern struct iommu_scene iommu_scene;

int iommu_setup(void **state);
int iommu_teardown(void **state);

/*
 * Connect and negotiate.
 * @param entries_max of the cache; 0: the default.
 * @param capabilities the inside of the JSON object.
 */
void iommu_begin(uint32_t entries_max, const char *capabilities);
void iommu_leave(void);

struct rp_dma_atc *iommu_atc(void);

/* The device asks for a translation. @return as rp_dma_atc_want(). */
int iommu_want(unsigned int wait, uint32_t pasid, uint64_t iova, uint32_t access_mask);
void iommu_heard(unsigned int wait, int error);

/* A command of the client's. @return the error of the reply. */
uint32_t iommu_ask(uint16_t command, const void *payload, size_t payload_bytes);

/* A command of the server's, as it came. */
struct iommu_asked {
	uint16_t id;
	uint16_t command;
};

struct iommu_asked iommu_take(void);
void iommu_answer(const struct iommu_asked *asked, const void *payload, size_t payload_bytes);
void iommu_refuse(const struct iommu_asked *asked, uint32_t error);

/* The device learns a translation. */
void iommu_learn(uint32_t pasid, uint64_t iova, uint64_t size_bytes, uint64_t address, uint32_t access_mask);

#endif
