/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VHU_LOG_H
#define RP_VHU_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_wire_why.h"

/**
 * @file
 * The log of a live migration: a bitmap in memory that the frontend shares, one bit
 * for each 4096 bytes of guest-physical memory from address 0. Whoever writes guest
 * memory sets the bits of what it wrote, after the write; the frontend takes them,
 * and sends those pages again.
 *
 * Threads: creating and destroying by one thread; marking by any number at once, while
 * the log lives.
 *
 * Byte order: bit n of the log is bit n % 8 of byte n / 8, on every machine.
 *
 * Specification: vhost-user.rst, "Migration".
 */

/** VHOST_LOG_PAGE: what one bit stands for. A number of the protocol's, not the host's page size. */
#define RP_VHU_LOG_PAGE_BYTES 4096u

struct rp_vhu_log;

/**
 * Map a log.
 *
 * @param fd borrowed.
 * @param size_bytes of the bitmap.
 * @param offset_bytes of the bitmap in the file; any number.
 * @return 0, -EBADMSG (size 0; offset and size that end beyond the file or beyond all
 *         numbers; a file that cannot be mapped), -ENOSPC (no memory).
 */
int rp_vhu_log_create(int fd, uint64_t size_bytes, uint64_t offset_bytes, struct rp_vhu_log **ret_log,
		      struct rp_wire_why *why);

/** Unmap and free; nobody may be marking. NULL is allowed. @return NULL. */
struct rp_vhu_log *rp_vhu_log_destroy(struct rp_vhu_log *log);

/** @return whether the pages of [gpa, gpa + size_bytes) have bits in it. An empty range has. */
bool rp_vhu_log_covers(const struct rp_vhu_log *log, uint64_t gpa, uint64_t size_bytes);

/**
 * Set the bits of the pages of [gpa, gpa + size_bytes). What is set already costs a
 * load. Parts that the log does not cover are left out; rp_vhu_log_covers() tells.
 */
void rp_vhu_log_mark(struct rp_vhu_log *log, uint64_t gpa, uint64_t size_bytes);

#endif
