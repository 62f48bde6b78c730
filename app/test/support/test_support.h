/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TEST_SUPPORT_H
#define TEST_SUPPORT_H

/* cmocka.h needs these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

/* What must not grow: compare before and after. */
struct test_leaks {
	unsigned int fds_count;
	unsigned int mappings_count; /* shared ones: lazily loaded libraries, which are private, are not leaks */
};

void test_leaks_read(struct test_leaks *ret_leaks);

/* Fail the test when a descriptor or a shared mapping was leaked since `before`. */
void test_leaks_assert_none(const struct test_leaks *before);

/*
 * Whether this program runs under user-mode emulation, which is not the kernel: it drops
 * descriptors beyond the room of a control message without closing them, and does not
 * report that it did.
 */
static inline bool
test_emulated(void)
{
#ifdef TEST_EMULATED
	return true;
#else
	return false;
#endif
}

/* A memfd of `size_bytes`, sealed against shrinking when `sealed`. The caller closes it. */
int test_memfd(size_t size_bytes, bool sealed);

/*
 * A memfd in huge pages of 2 MiB, all of them there; size_bytes is a multiple of one. The machine may make
 * them for it, and takes them back when it is closed. Skips the test, and says so, where there are none.
 */
#define TEST_HUGE_PAGE_BYTES ((size_t)2 << 20)
int test_huge_memfd(size_t size_bytes);

/*
 * So many bytes of huge pages are to be had, beyond what others have, until test_huge_restore(): others that
 * want some wait for that. @return false: they are not, and nothing is to be restored.
 */
bool test_huge_allow(size_t size_bytes);
void test_huge_restore(void);

/* A path for a socket, always the same, in a private directory under TMPDIR; both are removed at exit. */
const char *test_socket_path(void);

/* Call step(ctx) until it returns true, with short sleeps; false after `limit_ms`. */
bool test_wait(bool (*step)(void *ctx), void *ctx, unsigned int limit_ms);

#endif
