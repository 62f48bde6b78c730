/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FILES_H
#define FILES_H

#include <stdbool.h>
#include <sys/types.h>

#include "rp_port_files.h"
#include "rp_wire_why.h"

/*
 * Give a file to the guest of `vmm`. Again for the same guest: nothing happens.
 *
 * owner: the accelerator whose file it is, for port_files_release(); name: of its port, for why.
 * fd: borrowed. files may be NULL: nobody else gives files out.
 * @return 0, -EBUSY (another guest has it, why says through whom), -ENOSPC, or what
 *         duplicating says.
 */
int port_files_claim(struct rp_port_files *files, const void *owner, const char *name, pid_t vmm, int fd,
		     struct rp_wire_why *why);

/*
 * The owner gives no more. taken_back: every doorbell of it was taken back, or its VMM
 * is gone; else its files stay with the guest until its VMM is gone.
 */
void port_files_release(struct rp_port_files *files, const void *owner, bool taken_back);

#endif
