/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_CLIENT_IOMMU_H
#define VFU_CLIENT_IOMMU_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_vfu_client_iommu.h"
#include "vfu_client.h"
#include "vfu_version.h"

/*
 * ringpass.iommu, the client's end:
 *
 *   client_iommu.c       what is agreed on; translations that the server asks for
 *   client_invalidate.c  INVALIDATE
 *   client_page.c        page requests and their responses
 *   client_pasid.c       what was mapped with a PASID
 *
 * Without rp_vfu_client_config.iommu nothing here does anything.
 */

#define RP_VFU_QUESTIONS_MAX 256u
#define RP_VFU_PAGES_MAX 4096u

/* A TRANSLATE of the server's. */
struct rp_vfu_question {
	uint64_t token; /* 0: free */
	uint64_t iova;
	uint16_t id; /* of the message */
	bool answered; /* the reply is right, and waits for the socket */
	struct rp_vfu_header header; /* of the reply */
	struct rp_vfu_wire_translation translation;
};

/* A PAGE_REQUEST of the server's. */
struct rp_vfu_page_place {
	uint32_t number;
	uint32_t pages_count; /* 0: free */
	bool responded; /* `code` waits for the socket */
	uint32_t code;
};

struct rp_vfu_client_iommu_state {
	struct rp_vfu_client_iommu ops; /* without zeroes */
	bool agreed;
	uint64_t token; /* the last one */
	uint32_t questions_count;
	uint32_t answers_count; /* of them: wait for the socket */
	struct rp_vfu_question questions[RP_VFU_QUESTIONS_MAX];

	uint64_t tag; /* of the last invalidation */
	uint32_t invalidations_count; /* under way */

	uint32_t pages_used; /* of the allowance */
	uint32_t responses_count; /* that wait for the socket */
	bool failed; /* we said so; requests are dropped until we say otherwise */
	bool says_failure; /* waits for the socket, with the group's number */
	uint32_t failed_number;
	bool says_resume;
	struct rp_vfu_page_place *places; /* one for each page of the allowance */
	uint32_t places_count;
	struct rp_vfu_client_page pages[RP_VFU_PAGE_GROUP_MAX]; /* of the group that is being told */

	struct rp_vfu_client_iommu_counters counters;
};

/* @param given NULL: our caller is no IOMMU. @return 0, -EINVAL, -ENOMEM. */
int rp_vfu_client_iommu_init(struct rp_vfu_client *client, const struct rp_vfu_client_iommu *given,
			     struct rp_wire_why *why);
void rp_vfu_client_iommu_fini(struct rp_vfu_client *client);
void rp_vfu_client_iommu_offer(const struct rp_vfu_client *client, struct rp_vfu_terms *ours);
/* The server's answer to VERSION is known. */
void rp_vfu_client_iommu_open(struct rp_vfu_client *client);
/* The server left. */
void rp_vfu_client_iommu_leave(struct rp_vfu_client *client);

/* A TRANSLATE or PAGE_REQUEST that is well made. @return 0, or the error of the reply. */
int rp_vfu_client_iommu_serve(struct rp_vfu_client *client, const struct rp_vfu_msg_view *command);
int rp_vfu_client_page_serve(struct rp_vfu_client *client, const struct rp_vfu_msg_view *command);

/* Send what waits, as far as the sockets take it. @return 0 or -ENOTCONN. */
int rp_vfu_client_iommu_pay(struct rp_vfu_client *client);
int rp_vfu_client_page_pay(struct rp_vfu_client *client);

/* Memory of a PASID that is not in this process. */
bool rp_vfu_client_iommu_has_callback(const struct rp_vfu_client *client, bool reading);
int rp_vfu_client_iommu_read(struct rp_vfu_client *client, uint32_t pasid, uint64_t iova, uint64_t size_bytes,
			     void *ret_bytes);
int rp_vfu_client_iommu_write(struct rp_vfu_client *client, uint32_t pasid, uint64_t iova, uint64_t size_bytes,
			      const void *bytes);

/* What was mapped. @param pasid RP_VFU_NO_PASID: without. @return NULL: nothing was mapped with that one. */
struct rp_vfu_memory *rp_vfu_client_memory_of(const struct rp_vfu_client *client, uint32_t pasid);
/* The same, made where there is none. @return 0, -ENOTSUP, -EINVAL (a PASID of too many bits), -ENOMEM. */
int rp_vfu_client_memory_open(struct rp_vfu_client *client, uint32_t pasid, struct rp_vfu_memory **ret_memory,
			      struct rp_wire_why *why);
void rp_vfu_client_pasids_clear(struct rp_vfu_client *client);

#endif
