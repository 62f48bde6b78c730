/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VFU_SERVER_IOMMU_H
#define RP_VFU_SERVER_IOMMU_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "rp_dma_atc.h"
#include "rp_dma_pasid.h"
#include "rp_vfu_proto.h"
#include "rp_vfu_server.h"

/**
 * @file
 * A device whose addresses an IOMMU of the client's translates: `ringpass.iommu`, the
 * server's end.
 *
 * Theory of operation: a server that was created with rp_vfu_server_config.iommu has an
 * address translation cache (rp_dma_atc.h) in front of its address space. With a client
 * that offers the capability the device's addresses are untranslated: the device finds
 * them in the cache, asks for what is missing, and reaches what they lead to in
 * rp_vfu_server_dma(). With any other client the cache answers that every address is
 * itself, so that a device has one way for both. The server answers invalidations
 * by itself, out of the order of other commands, when the cache says that they settled.
 *
 * Where a page is not present the device may ask the client to make it so (a page
 * request), in groups that are answered as a whole, and ask for the translation again.
 *
 * What the client maps with a PASID is in an address space of that PASID's own
 * (rp_vfu_server_pasid_dma()), where the device reaches it without the cache.
 *
 * Hold nothing while you wait: see rp_dma_atc.h.
 *
 * Threads: as said with each function.
 *
 * Specification: doc/protocol/vfio-user-iommu.md.
 */

/** What the server agrees to. Zero means the default. */
struct rp_vfu_server_iommu {
	uint32_t cache_entries_max; /**< translations that are kept; 0: 4096 */
	uint32_t translations_max; /**< requests under way at one moment; 0: 64, at most 256 */
	uint32_t invalidations_max; /**< that have not settled at one moment; 0: 64, at most 256 */
	uint32_t page_requests_max; /**< pages asked for at one moment; 0: 64, at most 4096 */
	uint32_t pasid_bits; /**< 1 to 20; 0: 20. RP_VFU_IOMMU_NO_PASIDS: none */
	uint32_t pasids_max; /**< address spaces of PASIDs; 0: 64, at most 4096 */
};
#define RP_VFU_IOMMU_NO_PASIDS UINT32_MAX

/** What was agreed on with this client. */
struct rp_vfu_server_iommu_terms {
	uint32_t translations_max;
	uint32_t invalidations_max;
	uint32_t page_requests_max; /**< 0: the client takes none */
	uint32_t pasid_bits; /**< 0: it knows none */
};

/** A page that is to be made present. */
struct rp_vfu_page {
	uint64_t iova; /**< of a whole page (RP_DMA_ATC_PAGE_BYTES) */
	uint32_t access_mask; /**< RP_DMA_READ, RP_DMA_WRITE or both */
};

/** Pages that are asked for, and answered, together. The caller's until done() began. */
struct rp_vfu_page_group {
	uint32_t pasid; /**< RP_DMA_NO_PASID: none */
	const struct rp_vfu_page *pages;
	uint32_t pages_count; /**< at least 1, at most RP_VFU_PAGE_GROUP_MAX */
	/**
	 * Once, in the server's thread. error: 0 (all are present: ask for the translation),
	 * -EFAULT (one of them is not there, or not with that access, and will not be),
	 * -EIO (the client cannot serve page requests any more, until it says otherwise),
	 * -ENOTCONN (it left).
	 */
	void (*done)(struct rp_vfu_page_group *group, int error);
	void *ctx; /**< the caller's */
	/* Private from here. */
	TAILQ_ENTRY(rp_vfu_page_group) link;
	uint32_t number;
	bool active;
};

/** What happened since the server was made. */
struct rp_vfu_server_iommu_counters {
	struct rp_dma_atc_counters cache;
	uint64_t page_requests; /**< pages asked for */
	uint64_t page_groups;
	uint64_t page_successes; /**< groups */
	uint64_t page_invalid; /**< groups */
	uint64_t page_failures; /**< groups */
};

/** @return the cache, NULL without rp_vfu_server_config.iommu. Lives as long as the server. Any thread. */
struct rp_dma_atc *rp_vfu_server_atc(const struct rp_vfu_server *server);

/**
 * What was agreed on with the client that is connected. Server's thread, from connected() on.
 * @return 0, or -ENOTSUP: nothing, addresses are what they are (all zeroes).
 */
int rp_vfu_server_iommu_terms(const struct rp_vfu_server *server, struct rp_vfu_server_iommu_terms *ret_terms);

/**
 * The address spaces of PASIDs, for data path threads to have readers of
 * (rp_dma_pasid_reader_create()); destroy those before the server. Opening and closing
 * spaces is the server's.
 * @return NULL without rp_vfu_server_config.iommu. Server's thread.
 */
struct rp_dma_pasids *rp_vfu_server_pasids(const struct rp_vfu_server *server);

/**
 * The address space of what the client mapped with a PASID. It lives as long as the server,
 * and is empty when the client left. Server's thread; what is said in rp_dma.h of the space
 * itself.
 * @return NULL: the client has mapped nothing with that PASID so far.
 */
struct rp_dma_space *rp_vfu_server_pasid_dma(struct rp_vfu_server *server, uint32_t pasid);

/**
 * Ask the client to make pages present. What is more than it takes at one moment waits
 * here. Any thread; hold nothing meanwhile.
 *
 * @return 0 (done() will run), -ENOTSUP (not agreed on), -ENOTCONN, -EINVAL (a page or
 *         access, a PASID, or the count, also one above what the client takes),
 *         -EIO (the client has said that it cannot).
 */
int rp_vfu_server_page_request(struct rp_vfu_server *server, struct rp_vfu_page_group *group);

/**
 * Wait no more for a group: when this returns done() neither runs, but in this thread, nor
 * will run. An answer that comes later is swallowed. Any thread.
 */
void rp_vfu_server_page_cancel(struct rp_vfu_server *server, struct rp_vfu_page_group *group);

/** What happened so far. Any thread. */
void rp_vfu_server_iommu_counters(struct rp_vfu_server *server, struct rp_vfu_server_iommu_counters *ret_counters);

#endif
