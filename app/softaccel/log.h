/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOG_H
#define LOG_H

/**
 * @file
 * Lines on standard error.
 *
 * A guest can cause events as fast as it can write registers, so lines beyond
 * LOG_LINES_PER_SECOND (after a burst of LOG_BURST_LINES) are counted, not
 * written; the next line that is written says how many.
 *
 * Threads: log_event() one thread; log_line() any.
 */

#define LOG_BURST_LINES 200u
#define LOG_LINES_PER_SECOND 20u

void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** As softaccel_ops.event. */
void log_event(void *ctx, const char *text);

#endif
