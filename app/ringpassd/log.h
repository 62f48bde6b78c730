/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOG_H
#define LOG_H

#include <stdint.h>
#include <stdio.h>

#include "rp_port.h"

/**
 * @file
 * The log: one line for each event, as
 * `LEVEL port=vm0 queue=1 event=doorbell-mapped text`.
 *
 * Theory of operation: a guest or a peer can cause the same event as often as it
 * likes. Each cause (port, queue, event name) may write RPD_LOG_LINES_MAX lines in
 * RPD_LOG_INTERVAL_MS; what is over is counted, and one line tells the count when
 * the interval ends. Causes are kept in a table of fixed size; when it is full, new
 * ones share one allowance.
 *
 * Threads: one thread.
 */

#define RPD_LOG_LINES_MAX 5u
#define RPD_LOG_INTERVAL_MS 10000u

struct rpd_log;

/** @param out borrowed. @return 0 or -ENOMEM. */
int rpd_log_create(FILE *out, enum rp_port_event_level level, struct rpd_log **ret_log);

/** Writes the counts that are due. NULL is allowed. @return NULL. */
struct rpd_log *rpd_log_destroy(struct rpd_log *log);

void rpd_log_set_level(struct rpd_log *log, enum rp_port_event_level level);
enum rp_port_event_level rpd_log_level(const struct rpd_log *log);

/** @return 0, or -EINVAL when it is none of "error", "warning", "notice", "debug". */
int rpd_log_level_parse(const char *name, enum rp_port_event_level *ret_level);

/** @param event its port may be NULL: the daemon itself. */
void rpd_log_event(struct rpd_log *log, const struct rp_port_event *event, uint64_t now_ms);

/** When rpd_log_tick() has something to write; 0: nothing is being held back. */
uint64_t rpd_log_deadline(const struct rpd_log *log);

/** Write the counts of intervals that have ended. */
void rpd_log_tick(struct rpd_log *log, uint64_t now_ms);

#endif
