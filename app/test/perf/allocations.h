/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ALLOCATIONS_H
#define ALLOCATIONS_H

#include <stdbool.h>

/* How often the calling thread asked for memory, whoever it was that did, while it was told to count. */
void allocations_count(bool now);
unsigned int allocations_counted(void);

#endif
