/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CRASH_H
#define CRASH_H

#include "test_support.h"

/*
 * A process that dies anywhere: it is run instruction by instruction, and each state of
 * the memory that it shares is looked at as if it had died there.
 */

/*
 * @param victim runs in a child; must not return with what it got from there.
 * @param shared memory that both have.
 * @param check looks at it, each time it has changed.
 * @return how many states there were; 0: this machine cannot do it (no ptrace(2)).
 */
unsigned int crash_everywhere(void (*victim)(void *ctx), void *ctx, const void *shared, size_t size_bytes,
			      void (*check)(void *ctx));

#endif
