/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_PORT_FILES_H
#define RP_PORT_FILES_H

/**
 * @file
 * Which doorbell files were handed to which guest. A file goes to a VMM whole: two
 * guests on one file could ring, and watch, each other's doorbells. So the ports of
 * one process share one of these, and a port whose device's doorbells lie in a file
 * that another guest has relays its kicks instead.
 *
 * A file is known by what it is, not by its number: the same open file, or the same
 * memory file. A guest is known by the process of its VMM; what it was given stays
 * with it until that process is seen to be gone, or all of it was taken back.
 *
 * Threads: that of the ports that share it.
 *
 * Ownership: keeps a duplicate of each file while it is given out.
 */

struct rp_port_files;

/** @return 0 or -ENOMEM. */
int rp_port_files_create(struct rp_port_files **ret_files);

/** Not before the last port that was made with it. NULL is allowed. @return NULL. */
struct rp_port_files *rp_port_files_destroy(struct rp_port_files *files);

#endif
