/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include "allocations.h"

/* The C library's own, under the names that it keeps for who stands in front of them. */
void *__libc_malloc(size_t size_bytes);
void *__libc_calloc(size_t count, size_t size_bytes);
void *__libc_realloc(void *memory, size_t size_bytes);

/* Of this thread alone, as callgrind counts. */
static __thread bool counting;
static __thread unsigned int count;

void
allocations_count(bool now)
{
	counting = now;
}

unsigned int
allocations_counted(void)
{
	return count;
}

void *
malloc(size_t size_bytes)
{
	count += counting;
	return __libc_malloc(size_bytes);
}

void *
calloc(size_t items_count, size_t size_bytes)
{
	count += counting;
	return __libc_calloc(items_count, size_bytes);
}

void *
realloc(void *memory, size_t size_bytes)
{
	count += counting;
	return __libc_realloc(memory, size_bytes);
}
