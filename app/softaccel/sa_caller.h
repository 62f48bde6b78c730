/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_CALLER_H
#define SA_CALLER_H

/**
 * @file
 * Interrupts: eventfds that somebody else holds as well.
 *
 * Theory of operation: write(2) on an eventfd that is full waits for its reader, unless the open
 * file is O_NONBLOCK; but who holds it too may fill it and clear that flag at any moment, so no
 * look before the write is good for it. The kernel's own signal never waits. Asynchronous I/O
 * gives it as a completion (io_submit(2), IOCB_FLAG_RESFD), here of a read of nothing that is
 * complete at once. It costs some hundred nanoseconds more than a write, and no second system call
 * to look first.
 *
 * io_destroy(2) waits for two of the kernel's grace periods, some ten milliseconds: what was given
 * back is kept for the next one who takes.
 *
 * Threads: take, give: any; the rest: one at a time for each.
 */

struct sa_caller;

/** @return 0, -ENOMEM, what open(2) or io_setup(2) say; -ENOSYS: a kernel without asynchronous I/O. */
int sa_caller_take(struct sa_caller **ret_caller);

/** NULL is allowed. @return NULL. */
struct sa_caller *sa_caller_give(struct sa_caller *caller);

/**
 * Add one to an eventfd, whatever it and its flags are like; a full one is left full, and its reader
 * has his interrupt anyway.
 * @return 0, or what io_submit(2) says: -EINVAL is no eventfd.
 */
int sa_caller_call(struct sa_caller *caller, int eventfd);

#endif
