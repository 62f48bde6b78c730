/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_WIRE_CALLER_H
#define RP_WIRE_CALLER_H

#include <stdint.h>

/**
 * @file
 * Eventfds that somebody else holds as well: written and read so that he cannot have us wait.
 *
 * Theory of operation: write(2) on an eventfd that is full waits for its reader, and read(2) on one
 * that is empty for a writer, unless the open file is O_NONBLOCK; but who holds it too may fill it,
 * or empty it, and clear that flag at any moment, so no look before is good for it. The kernel's
 * own signal never waits. Asynchronous I/O gives it as a completion (io_submit(2),
 * IOCB_FLAG_RESFD), here of a read of nothing that is complete at once. It costs some hundred
 * nanoseconds more than a write, and no second system call to look first. Reading has a flag for
 * each read (preadv2(2), RWF_NOWAIT).
 *
 * Where the kernel has neither (one without asynchronous I/O; the user-mode emulator of another
 * machine) there is a look, and then a plain write or read: there, and only there, who holds the
 * eventfd may have us wait if he is quick.
 *
 * io_destroy(2) waits for two of the kernel's grace periods, some ten milliseconds: what was given
 * back is kept for the next one who takes. It is an address space's: a child of fork(2) takes its own,
 * and its parent's say -EINVAL to it.
 *
 * Threads: take, give, drain: any; call: one at a time for each caller.
 */

struct rp_wire_caller;

/**
 * Something to call with. It holds one descriptor, and is one of the machine's asynchronous
 * contexts (/proc/sys/fs/aio-max-nr).
 * @param ret_caller to be given back by rp_wire_caller_give().
 * @return 0, -ENOMEM, what open(2) or io_setup(2) say (-EAGAIN: the machine has no more).
 */
int rp_wire_caller_take(struct rp_wire_caller **ret_caller);

/** NULL is allowed. @return NULL. */
struct rp_wire_caller *rp_wire_caller_give(struct rp_wire_caller *caller);

/**
 * Add one to an eventfd, whatever it and its flags are like; a full one is left full, and its reader
 * has his interrupt anyway. One system call.
 * @param eventfd borrowed.
 * @return 0, or what io_submit(2) says: -EINVAL is no eventfd (nothing was written to it), -EBADF.
 */
int rp_wire_caller_call(struct rp_wire_caller *caller, int eventfd);

/**
 * Read an eventfd to zero, whatever its flags are like (of one with EFD_SEMAPHORE, which its maker may
 * have given it, one). One system call.
 * @param eventfd borrowed.
 * @param ret_count what it held, in host byte order, when this returns 1; NULL is allowed.
 * @return 1; 0: it was zero; -EINVAL: no eventfd; what preadv2(2) says (-EBADF). What is neither this
 *         nor an eventfd may have lost up to 8 bytes: a pipe does where the kernel reads pipes without
 *         waiting (Linux 6.4), and with 8 it passes for an eventfd.
 */
int rp_wire_caller_drain(int eventfd, uint64_t *ret_count);

#endif
