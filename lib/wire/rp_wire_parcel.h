/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_WIRE_PARCEL_H
#define RP_WIRE_PARCEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rp_wire_why.h"

/**
 * @file
 * What a process leaves for its successor: numbers, texts and descriptors, each under a
 * name. Who packs and who unpacks agree on names; how it travels is somebody else's
 * (rp_wire_parcel_next() says all that is in it).
 *
 * Theory of operation: names lie in scopes, so that a part of a program packs its own
 * without knowing where it stands: after rp_wire_parcel_enter(parcel, "queue", 3) the
 * number "num" is "queue[3].num". Packing and unpacking do not fail one by one: the
 * first error is kept, what is read after it is zero, and rp_wire_parcel_result() says
 * it once, before anything that was read is used.
 *
 * A parcel that travelled is input like any other: a number is read with its largest
 * legal value, a text with its room. What kind of file a descriptor is, its taker checks.
 *
 * Ownership: descriptors are duplicated on their way in and on their way out, so that
 * who packs goes on as before. One open file is carried once, however often it is put.
 *
 * Threads: one thread.
 */

#define RP_WIRE_PARCEL_PATH_MAX 160u /**< bytes of a name with its scopes, zero byte included */
#define RP_WIRE_PARCEL_TEXT_MAX 1024u /**< bytes, zero byte included */
#define RP_WIRE_PARCEL_DEPTH_MAX 16u
#define RP_WIRE_PARCEL_ITEMS_MAX 262144u
#define RP_WIRE_PARCEL_FDS_MAX 4096u

struct rp_wire_parcel;

enum rp_wire_parcel_kind {
	RP_WIRE_PARCEL_NUMBER,
	RP_WIRE_PARCEL_TEXT,
	RP_WIRE_PARCEL_FD,
};

/** One thing in it. */
struct rp_wire_parcel_item {
	const char *path; /**< with its scopes; borrowed */
	enum rp_wire_parcel_kind kind;
	uint64_t number; /**< of a descriptor: its index, for rp_wire_parcel_fd() */
	const char *text; /**< NULL: not a text; borrowed */
};

/** Make an empty one. @return 0 or -ENOMEM. */
int rp_wire_parcel_create(struct rp_wire_parcel **ret_parcel);

/** Close its descriptors, free it. NULL is allowed. @return NULL. */
struct rp_wire_parcel *rp_wire_parcel_destroy(struct rp_wire_parcel *parcel);

/**
 * Names that follow are of this part, until rp_wire_parcel_leave().
 * @param name letters, digits, '_' and '-'. @param index of the part among its like.
 */
void rp_wire_parcel_enter(struct rp_wire_parcel *parcel, const char *name, unsigned int index);

/** The end of the last part that was entered and not left. */
void rp_wire_parcel_leave(struct rp_wire_parcel *parcel);

/** Pack a number. A name that is there already is the error -EEXIST. */
void rp_wire_parcel_put_number(struct rp_wire_parcel *parcel, const char *name, uint64_t number);

/** Pack a text; copied. Control characters, or more than its room: the error -EINVAL. */
void rp_wire_parcel_put_text(struct rp_wire_parcel *parcel, const char *name, const char *text);

/** Pack a descriptor. @param fd borrowed, duplicated; -1: nothing is put. */
void rp_wire_parcel_put_fd(struct rp_wire_parcel *parcel, const char *name, int fd);

/** How much there is in it. */
struct rp_wire_parcel_mark {
	unsigned int items_count;
	unsigned int fds_count;
	unsigned int depth;
};

/** @return what rp_wire_parcel_rewind() goes back to. */
struct rp_wire_parcel_mark rp_wire_parcel_mark(const struct rp_wire_parcel *parcel);

/**
 * Take out all that was packed since, and leave the parts that were entered since; the error
 * is forgotten. For a part that could not be packed whole: none of its descriptors travels.
 */
void rp_wire_parcel_rewind(struct rp_wire_parcel *parcel, const struct rp_wire_parcel_mark *mark);

/** @return whether there is something of this name. */
bool rp_wire_parcel_has(const struct rp_wire_parcel *parcel, const char *name);

/**
 * Unpack a number.
 * @param max the largest legal value.
 * @return it; 0 after an error: it is missing, is no number, or is larger (-EBADMSG).
 */
uint64_t rp_wire_parcel_get_number(struct rp_wire_parcel *parcel, const char *name, uint64_t max);

/** As a number of 0 or 1. */
bool rp_wire_parcel_get_bool(struct rp_wire_parcel *parcel, const char *name);

/** Unpack a text. @param ret_text always terminated; empty after an error: missing, no text, too long (-EBADMSG). */
void rp_wire_parcel_get_text(struct rp_wire_parcel *parcel, const char *name, char *ret_text, size_t size);

/**
 * Unpack a descriptor.
 * @return a duplicate, the caller's; -1: there is none of this name, which is no error, or
 *         it is no descriptor or did not arrive (-EBADMSG), or cannot be duplicated.
 */
int rp_wire_parcel_get_fd(struct rp_wire_parcel *parcel, const char *name);

/** As rp_wire_parcel_get_fd(), and none is an error (-EBADMSG). @return as that. */
int rp_wire_parcel_need_fd(struct rp_wire_parcel *parcel, const char *name);

/**
 * The first error since it was asked last; it is forgotten with that.
 *
 * @param why names the item and what was expected. NULL is allowed.
 * @return 0, -EBADMSG (unpacking), -EEXIST, -EINVAL (packing: a name or text that cannot be, an
 *         index, a bad descriptor), -ENOSPC (RP_WIRE_PARCEL_ITEMS_MAX, _FDS_MAX), -ENOMEM, -EMFILE.
 */
int rp_wire_parcel_result(struct rp_wire_parcel *parcel, struct rp_wire_why *why);

/** For who carries it: the first item (after NULL), the next one, NULL at the end; in the order of packing. */
const struct rp_wire_parcel_item *rp_wire_parcel_next(const struct rp_wire_parcel *parcel,
						      const struct rp_wire_parcel_item *after);

/** For who carries it: how many open files there are. */
unsigned int rp_wire_parcel_fds_count(const struct rp_wire_parcel *parcel);

/** For who carries it: one of them. @return borrowed; -1: it did not arrive, or there is no such index. */
int rp_wire_parcel_fd(const struct rp_wire_parcel *parcel, unsigned int index);

/**
 * For who carried it: the next open file, numbered from 0 on.
 * @param fd taken; -1: it did not arrive.
 */
void rp_wire_parcel_add_fd(struct rp_wire_parcel *parcel, int *fd);

/** For who carried it: this name stands for an open file that was added. @param index another is the error -EINVAL. */
void rp_wire_parcel_put_fd_index(struct rp_wire_parcel *parcel, const char *name, uint64_t index);

#endif
