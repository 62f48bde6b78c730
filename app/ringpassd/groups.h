/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef GROUPS_H
#define GROUPS_H

#include <stdbool.h>

#include "rp_port.h"
#include "rp_vfio.h"

/**
 * @file
 * VFIO groups in the service manager's descriptor store, so that nobody else opens one while
 * the daemon is replaced. In the store a group is called `kept-vfio-NUMBER`.
 *
 * Theory of operation: what came is a file until drivers/vfio asks for its number, and judges
 * it. What is opened is stored at once; what is closed leaves the store, unless the whole
 * daemon leaves.
 *
 * Threads: the event loop's, on which all devices are opened.
 */

#define RPD_GROUPS_MAX 256u
#define RPD_GROUPS_PREFIX "vfio-"

struct rpd_groups;

/** What is told to the service manager. */
struct rpd_groups_store {
	int (*put)(void *ctx, const char *name, int fd); /**< fd is borrowed. @return 0 or a negative errno. */
	void (*remove)(void *ctx, const char *name);
	void (*event)(void *ctx, enum rp_port_event_level level, const char *name, const char *text);
	void *ctx;
};

/** @param store copied. @param keep put what is opened into the store. @return 0 or -ENOMEM. */
int rpd_groups_create(const struct rpd_groups_store *store, bool keep, struct rpd_groups **ret_groups);

/** Close what nobody has asked for; the store is left as it is. NULL is allowed. @return NULL. */
struct rpd_groups *rpd_groups_destroy(struct rpd_groups *groups);

/**
 * A descriptor that came.
 *
 * @param name what follows `kept-`, with RPD_GROUPS_PREFIX.
 * @param fd taken on success.
 * @return 0, -EBADMSG (the name has no number), -EINVAL (not a character device), -EEXIST, -ENOSPC, -ENOMEM.
 */
int rpd_groups_inherit(struct rpd_groups *groups, const char *name, int *fd, struct rp_wire_why *why);

/** What came and nobody has asked for leaves the store. */
void rpd_groups_drop_unclaimed(struct rpd_groups *groups);

/** From now on what is closed stays in the store: the daemon ends. */
void rpd_groups_leave(struct rpd_groups *groups);

/** What rp_vfio_set_keeper() wants, with the groups as its context. */
extern const struct rp_vfio_keeper rpd_groups_keeper;

#endif
