/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_PAGES_H
#define VFU_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_vfu_server_iommu.h"
#include "rp_wire_why.h"

/*
 * The books of page requests: groups that wait to be sent, groups that wait for their
 * response, and how many pages of the client's allowance those have. Nothing here knows
 * of sockets.
 *
 * Threads: _request() and _cancel() any; the rest the server's. done() runs without locks.
 */

struct rp_vfu_pages;

/* @param pages_max at most under way. @return 0 or -ENOMEM. */
int rp_vfu_pages_create(uint32_t pages_max, struct rp_vfu_pages **ret_pages);
/* Nothing is waited for any more. */
struct rp_vfu_pages *rp_vfu_pages_destroy(struct rp_vfu_pages *pages);

/* A client is there. @param allowance pages under way; 0: it takes none. */
void rp_vfu_pages_open(struct rp_vfu_pages *pages, uint32_t allowance, uint32_t pasid_bits);
/* It left: everything ends with -ENOTCONN. */
void rp_vfu_pages_close(struct rp_vfu_pages *pages);

/* @return as rp_vfu_server_page_request(). */
int rp_vfu_pages_request(struct rp_vfu_pages *pages, struct rp_vfu_page_group *group);
void rp_vfu_pages_cancel(struct rp_vfu_pages *pages, struct rp_vfu_page_group *group);

/*
 * What is to be sent next, if the allowance has room; from here it is under way.
 * @param ret_message at least RP_VFU_PAGE_MESSAGE_MAX_BYTES.
 * @return how many bytes of payload; 0: nothing.
 */
uint32_t rp_vfu_pages_next(struct rp_vfu_pages *pages, uint8_t *ret_message);

#define RP_VFU_PAGE_MESSAGE_MAX_BYTES                                                                                  \
	(sizeof(struct rp_vfu_wire_page_request) + RP_VFU_PAGE_GROUP_MAX * sizeof(struct rp_vfu_wire_page))

/* A response came. @return 0, or -EBADMSG: there is no such group. */
int rp_vfu_pages_respond(struct rp_vfu_pages *pages, uint32_t number, uint32_t code, struct rp_wire_why *why);

/* The device was reset: a failure is over. */
void rp_vfu_pages_resume(struct rp_vfu_pages *pages);

void rp_vfu_pages_counters(struct rp_vfu_pages *pages, struct rp_vfu_server_iommu_counters *counters);

#endif
