/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VS_ANSWER_H
#define VS_ANSWER_H

#include <stdio.h>

#include "switch.h"

/**
 * @file
 * What a typed line is answered. The last line is "ok" or "error: WHY".
 *
 * Threads: the main lcore.
 */

/** @return whether the switch is to end. */
bool vs_answer(struct vs_switch *sw, const char *line, FILE *out);

#endif
