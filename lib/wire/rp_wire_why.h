/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_WIRE_WHY_H
#define RP_WIRE_WHY_H

/**
 * @file
 * Why something was refused, in words, and the error dictionary.
 *
 * Every function of Ringpass returns 0 or a negative errno value. Those that
 * judge input from a peer, a guest, a file or a user also fill a
 * struct rp_wire_why with one line that names the field, what was found and
 * what was expected. Callers decide by number and print the words:
 *
 * | errno      | meaning                                  | connection |
 * |------------|------------------------------------------|------------|
 * | -EAGAIN    | more bytes are needed                    | stays      |
 * | -ENOTSUP   | unknown, or not negotiated               | NACK, stays|
 * | -EMSGSIZE  | the payload's size breaks a rule         | NACK, stays|
 * | -EBADMSG   | a payload or descriptor rule is broken   | NACK, stays|
 * | -ENOSPC    | a limit of ours                          | NACK, stays|
 * | -EBUSY     | a legal message in the wrong state       | NACK, stays|
 * | -EEXIST    | overlap                                  | NACK, stays|
 * | -EPROTO    | framing is lost                          | closed     |
 * | -ENOTCONN  | the peer left                            | closed     |
 * | -EINVAL    | our caller's own mistake                 | -          |
 *
 * Threads: a struct rp_wire_why belongs to its caller.
 */

#define RP_WIRE_WHY_MAX 240

struct rp_wire_why {
	int error; /**< negative errno, 0 when nothing was refused */
	char text[RP_WIRE_WHY_MAX]; /**< one line, no newline, NUL-terminated */
};

/**
 * Record a refusal.
 *
 * @param why where to; NULL is allowed and records nothing.
 * @param error a negative errno value.
 * @param format printf format of the line; control characters in the result
 *        become '?', a line that is too long is cut.
 * @return error, so that `return rp_wire_why_set(...)` reads well.
 */
int rp_wire_why_set(struct rp_wire_why *why, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

/**
 * Put words in front of a recorded refusal ("SET_VRING_NUM: " ...).
 *
 * @param why where; NULL is allowed.
 * @param format printf format of the prefix.
 */
void rp_wire_why_prefix(struct rp_wire_why *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

/**
 * Whether an error of the dictionary means that the connection must be closed.
 *
 * @param error a negative errno value.
 * @return 1 for -EPROTO and -ENOTCONN, else 0.
 */
int rp_wire_why_closes(int error);

#endif
