/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VS_LOG_H
#define VS_LOG_H

/**
 * @file
 * Lines for people, on standard error. Threads: any.
 */

void vs_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
