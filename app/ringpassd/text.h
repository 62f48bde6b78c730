/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TEXT_H
#define TEXT_H

#include <stddef.h>

/**
 * Copy text for a log line or a JSON string: control characters, which could
 * forge a line, and malformed UTF-8, which JSON readers refuse, become '?'.
 *
 * @param ret_text filled, NUL-terminated, cut where a character ends.
 */
void rpd_text_clean(const char *text, char *ret_text, size_t size);

#endif
