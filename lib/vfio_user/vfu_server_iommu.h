/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_SERVER_IOMMU_H
#define VFU_SERVER_IOMMU_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "rp_vfu_server_iommu.h"
#include "vfu_pages.h"
#include "vfu_server.h"

/*
 * ringpass.iommu, the server's end:
 *
 *   server_iommu.c       what is agreed on, translations
 *   server_invalidate.c  INVALIDATE, which waits without holding up anything else
 *   server_pasid.c       the address spaces of PASIDs
 *   server_page.c        page requests (vfu_pages.h)
 *
 * Everything here does nothing for a server that was not configured for it, and for a
 * client that did not agree. Threads: the server's.
 */

/* What a client mapped with one PASID. */
struct rp_vfu_pasid {
	LIST_ENTRY(rp_vfu_pasid) link;
	uint32_t pasid;
	struct rp_vfu_carrier *carrier;
	struct rp_dma_space *dma; /* of the set */
};

/* An INVALIDATE that is not answered yet. */
struct rp_vfu_invalidation {
	STAILQ_ENTRY(rp_vfu_invalidation) link;
	struct rp_dma_atc_invalidation of;
	struct rp_vfu_header header; /* the command's */
	uint64_t tag;
};

/* A TRANSLATE that is under way, by the cache's slot. */
struct rp_vfu_translating {
	bool open;
	uint8_t generation; /* tells an answer that comes late from one to the next of this slot */
};

#define RP_VFU_TRANSLATIONS_MAX 256u /* an id has 8 bits for the slot and 8 for its generation */

struct rp_vfu_iommu {
	struct rp_vfu_server_iommu config; /* without zeroes */
	struct rp_vfu_carrier *carrier; /* wakes the server's thread */
	bool agreed;
	struct rp_dma_atc *atc;
	struct rp_vfu_translating translating[RP_VFU_TRANSLATIONS_MAX];
	STAILQ_HEAD(rp_vfu_invalidations, rp_vfu_invalidation) invalidations;
	uint32_t invalidations_count;
	struct rp_vfu_pages *pages;
	struct rp_dma_pasids *spaces; /* of PASIDs */
	LIST_HEAD(rp_vfu_pasids, rp_vfu_pasid) pasids; /* what their spaces' carrier is given */
};

/* @param config NULL: nothing is made. @return 0, -EINVAL, -ENOMEM. */
int rp_vfu_server_iommu_create(struct rp_vfu_server *server, const struct rp_vfu_server_iommu *config,
			       struct rp_wire_why *why);
void rp_vfu_server_iommu_destroy(struct rp_vfu_server *server);

/* Put into what the server agrees to what it was configured for. */
void rp_vfu_server_iommu_offer(const struct rp_vfu_server *server, struct rp_vfu_terms *ours);
/* The terms are agreed on. */
void rp_vfu_server_iommu_open(struct rp_vfu_server *server);
/* The client left; its memory is cleared by rp_vfu_server_pasids_clear(). */
void rp_vfu_server_iommu_close(struct rp_vfu_server *server);

/* Send what may be sent, until the connection has output waiting. @return 0 or -ENOTCONN. */
int rp_vfu_server_iommu_pump(struct rp_vfu_server *server, struct rp_wire_conn *conn, struct rp_wire_why *why);

/* Take a reply. @return 0, -ENOENT (none of ours), -EBADMSG (it lies; the connection is to end). */
int rp_vfu_server_iommu_reply(struct rp_vfu_server *server, const struct rp_vfu_msg_view *reply,
			      struct rp_wire_why *why);

/* Whether a command is carried out before others that have to wait: they may wait for it. */
bool rp_vfu_server_iommu_overtakes(const struct rp_vfu_server *server, const struct rp_vfu_msg_view *command);
/* Whether messages are to be taken although commands have to wait. */
bool rp_vfu_server_iommu_receives(const struct rp_vfu_server *server);

/* Answer the invalidations that have settled. @return 0 or -ENOTCONN. */
int rp_vfu_server_invalidations_settle(struct rp_vfu_server *server, struct rp_wire_why *why);
/* Whether some are not answered. */
bool rp_vfu_server_invalidations_wait(const struct rp_vfu_server *server);
void rp_vfu_server_invalidations_drop(struct rp_vfu_server *server);

int rp_vfu_server_on_invalidate(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
				struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_page_response(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
				   struct rp_vfu_reply *reply, struct rp_wire_why *why);

/* The space of a PASID, made if there is none yet. @return 0 or -ENOSPC. */
int rp_vfu_server_pasid_open(struct rp_vfu_server *server, uint32_t pasid, struct rp_vfu_pasid **ret_pasid,
			     struct rp_wire_why *why);
/* @return NULL: none. */
struct rp_vfu_pasid *rp_vfu_server_pasid_find(const struct rp_vfu_server *server, uint32_t pasid);
/* Let go of what has settled in each. */
void rp_vfu_server_pasids_settle(struct rp_vfu_server *server);
/* The client left. @return whether there was something. */
bool rp_vfu_server_pasids_clear(struct rp_vfu_server *server);
int rp_vfu_server_pasids_create(struct rp_vfu_iommu *iommu);
void rp_vfu_server_pasids_destroy(struct rp_vfu_server *server);

#endif
