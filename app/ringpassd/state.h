/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STATE_H
#define STATE_H

#include "rp_wire_parcel.h"

/**
 * @file
 * A parcel's numbers and texts as a file in memory, for a successor; its descriptors
 * travel beside it.
 *
 * Theory of operation: JSON, so that a version that knows more, or less, can be told by
 * looking at it:
 *
 *     {"format": "ringpassd hand-over", "version": 1, "descriptors": 2,
 *      "items": {"port[0].name": "vm0", "port[0].queues_count": 4, "port[0].frontend[0].connection": {"fd": 1}}}
 *
 * The file is sealed: what was judged is what is there. It is input all the same, like
 * everything that the service manager keeps.
 *
 * Threads: no state; any thread.
 */

#define RPD_STATE_VERSION 1
#define RPD_STATE_BYTES_MAX (64u << 20)

/** @param ret_fd the caller's, sealed. @return 0, -ENOSPC (too large), -ENOMEM, or what memfd_create(2) says. */
int rpd_state_write(const struct rp_wire_parcel *parcel, int *ret_fd, struct rp_wire_why *why);

/** Read what may be one, for the number of descriptors that belong to it. @return as rpd_state_read(). */
int rpd_state_peek(int fd, unsigned int *ret_descriptors, struct rp_wire_why *why);

/**
 * Put the items of a file into a parcel that has the descriptors already.
 *
 * @return 0, -EBADMSG (not such a file; why says what breaks a rule), -ENOTSUP (another
 *         version), -ENOMEM.
 */
int rpd_state_read(int fd, struct rp_wire_parcel *parcel, struct rp_wire_why *why);

#endif
