/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LEGACY_H
#define LEGACY_H

#include "rp_wire_parcel.h"

/**
 * @file
 * What a predecessor left to go on with (hand_over.h), as it comes from the service manager's
 * descriptor store: one state file (state.h), `kept-state`, and its descriptors, `kept-part-0`
 * and so on. It serves once: it leaves the store as it comes, because a state that is old by then
 * says of rings where they are not any more.
 *
 * Threads: the event loop's.
 */

#define RPD_LEGACY_STATE "state"
#define RPD_LEGACY_PART "part-"
#define RPD_LEGACY_NAME_MAX 32 /**< bytes, zero byte included */

struct rpd_legacy;

/** @return 0 or -ENOMEM. */
int rpd_legacy_create(struct rpd_legacy **ret_legacy);

/** Close what is left. NULL is allowed. @return NULL. */
struct rpd_legacy *rpd_legacy_destroy(struct rpd_legacy *legacy);

/** Whether a name, without `kept-`, is of this kind. */
bool rpd_legacy_is(const char *name);

/** The name of a part. */
void rpd_legacy_part_name(unsigned int index, char ret_name[RPD_LEGACY_NAME_MAX]);

/**
 * A descriptor that came.
 *
 * @param name of rpd_legacy_is().
 * @param fd taken on success.
 * @return 0, -EBADMSG (no such part can be), -EEXIST (a second one of this name).
 */
int rpd_legacy_inherit(struct rpd_legacy *legacy, const char *name, int *fd, struct rp_wire_why *why);

/**
 * All of it, as a parcel. Nothing is left here.
 *
 * @param ret_parcel the caller's; NULL: nothing came.
 * @return 0, or what rpd_state_read() says: then it is closed.
 */
int rpd_legacy_take(struct rpd_legacy *legacy, struct rp_wire_parcel **ret_parcel, struct rp_wire_why *why);

#endif
