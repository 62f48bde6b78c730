/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_COPY_H
#define SA_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

/** As the function of a copier, without a call for the frames that most are. */
static inline void
sa_copy(sa_copy_fn copy, void *to, const void *from, size_t size_bytes)
{
	const uint8_t *source = from;
	uint8_t *target = to, a[16], b[16], c[16], d[16];

	if (size_bytes < 2 * sizeof(a) || size_bytes > 4 * sizeof(a)) {
		copy(to, from, size_bytes);
		return;
	}
	/* Two pieces from the begin and two up to the end, which may overlap. */
	memcpy(a, source, sizeof(a));
	memcpy(b, source + sizeof(a), sizeof(b));
	memcpy(c, source + size_bytes - 2 * sizeof(c), sizeof(c));
	memcpy(d, source + size_bytes - sizeof(d), sizeof(d));
	memcpy(target, a, sizeof(a));
	memcpy(target + sizeof(a), b, sizeof(b));
	memcpy(target + size_bytes - 2 * sizeof(c), c, sizeof(c));
	memcpy(target + size_bytes - sizeof(d), d, sizeof(d));
}

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
