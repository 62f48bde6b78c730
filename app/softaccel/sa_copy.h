/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_COPY_H
#define SA_COPY_H

#include <stdbool.h>
#include <stddef.h>

#include "softaccel.h"

/**
 * @file
 * Copying payload, with what the processor can.
 *
 * Theory of operation: the same function for each set of instructions; which one is
 * used is decided once, when a data path is made. The C library decides likewise, but
 * cannot be told not to, and knows nothing about the sizes of frames.
 *
 * The memory may be a guest's, which changes it while it is copied: each byte that
 * arrives was there at some moment, no more is promised. Both must not overlap.
 *
 * Threads: no state; any thread.
 */

typedef void (*sa_copy_fn)(void *to, const void *from, size_t size_bytes);

struct sa_copier {
	const char *name; /* "generic", "avx2", "avx512" */
	bool (*is_there)(void); /* whether this processor can */
	sa_copy_fn copy;
};

/** A line that will be written: have it, and alone. */
static inline void
sa_prefetch_write(const void *line)
{
#if defined(__x86_64__)
	/* Where it is not known it does nothing; the compiler would make it a read unless told of one processor. */
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)line));
#else
	__builtin_prefetch(line, 1);
#endif
}

/** All that were built, the narrowest first; that one can be used everywhere. */
const struct sa_copier *sa_copiers(unsigned int *ret_count);

/** The one to use. */
const struct sa_copier *sa_copier_choose(enum softaccel_isa isa);

#endif
