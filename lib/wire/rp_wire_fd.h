/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_WIRE_FD_H
#define RP_WIRE_FD_H

#include <stdint.h>
#include <sys/types.h>

/**
 * @file
 * Owned file descriptors.
 *
 * A parameter `int fd` borrows a descriptor: the caller still closes it. A
 * parameter `int *fd` may take it: what takes it leaves -1 behind. -1 is the
 * only "none". rp_wire_fd_close() is the only place that calls close(2).
 *
 * Threads: no state; any thread.
 */

/** Close `*fd` unless it is -1, and set it to -1. errno is kept. */
void rp_wire_fd_close(int *fd);

/** Close `count` descriptors and set each to -1. */
void rp_wire_fd_close_all(int *fds, unsigned int count);

/**
 * Move a descriptor out of a variable, leaving -1.
 *
 * @return what the variable held; the caller owns it.
 */
int rp_wire_fd_take(int *fd);

/**
 * Duplicate a borrowed descriptor, close-on-exec.
 *
 * @return the new descriptor, owned by the caller, or a negative errno.
 */
int rp_wire_fd_dup(int fd);

/**
 * Replace an owned descriptor by another owned one; the old one is closed.
 *
 * @param held the variable to overwrite.
 * @param fd taken.
 */
void rp_wire_fd_replace(int *held, int *fd);

/**
 * Whether two descriptors of this process are one open file (kcmp(2), by
 * kernel identity, not by number).
 *
 * @return 1 same, 0 different, or a negative errno (-ENOSYS: the kernel was
 *         built without kcmp).
 */
int rp_wire_fd_same(int a, int b);

/**
 * As rp_wire_fd_same(), for descriptors of two processes.
 *
 * @return 1 same, 0 different, or a negative errno (-ENOSYS as above; -ESRCH: no
 *         such process; -EBADF: no such descriptor there; -EPERM: not ours to look at).
 */
int rp_wire_fd_same_process(pid_t pid_a, int a, pid_t pid_b, int b);

/**
 * The pages in which a file is mapped: this machine's, or the huge ones that it
 * lies in (hugetlbfs, memfd_create(2) with MFD_HUGETLB).
 *
 * mmap(2) of huge pages refuses an offset that is no multiple of one, and makes any
 * length one: with MAP_FIXED it maps over whatever lies behind. munmap(2) refuses
 * a length that is none, and what was mapped stays. So who maps a file of somebody
 * else's rounds to these, or refuses.
 *
 * @param fd borrowed; of any kind.
 * @return bytes, a power of two; this machine's page where the kernel cannot say.
 */
uint64_t rp_wire_fd_page_bytes(int fd);

/** Scope cleanup: `RP_WIRE_FD_SCOPED int fd = open(...);` */
#define RP_WIRE_FD_SCOPED __attribute__((cleanup(rp_wire_fd_close)))

#endif
