/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VHU_PROFILE_H
#define RP_VHU_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rp_vhu_msg.h"
#include "rp_wire_why.h"

/**
 * @file
 * The wire profiles of the VFIO extension: which protocol feature bit opens it and
 * which numbers its two messages have on the backend channel. A profile is chosen
 * for each socket, by whoever configures it; it is never guessed from what a peer says.
 *
 *   standard  HOST_NOTIFIER (11), notify area = message 3; no VFIO file.
 *   extended  as standard, and bit 62 beside it: VFIO file = message 0x5600, notify
 *             area = message 0x5601 once bit 62 is acked, else message 3.
 *   vfio2018  bit 8 (PAGEFAULT elsewhere): VFIO group = message 3 with a u64, notify
 *             area = message 4. HOST_NOTIFIER, BACKEND_SEND_FD and PAGEFAULT do not exist.
 *
 * Threads: constant once initialised; any thread.
 *
 * Specification: doc/protocol/vfio-accelerators.md.
 */

enum rp_vhu_profile {
	RP_VHU_PROFILE_STANDARD, /**< what every current VMM speaks */
	RP_VHU_PROFILE_EXTENDED, /**< a VMM that links this library or carries the patch */
	RP_VHU_PROFILE_VFIO2018, /**< a master built with the patch of 2018 */
};

/** The numbers of one socket. Zero-initialised members mean "the usual". */
struct rp_vhu_numbers {
	uint8_t vfio_bit; /**< protocol feature bit; 0: 62. Profile extended only */
	uint32_t vfio_file_request; /**< 0: 0x5600. Profile extended only */
	uint32_t notify_area_request; /**< 0: 0x5601. Profile extended only */
};

/** A profile with its numbers filled in. */
struct rp_vhu_dialect {
	enum rp_vhu_profile profile;
	uint64_t protocol_features; /**< all that this library implements in this profile, vfio_mask included */
	uint64_t vfio_mask; /**< the protocol feature that opens the extension; 0: profile standard */
	struct rp_vhu_msg_row vfio_file; /**< id 0: profile standard */
	struct rp_vhu_msg_row notify_area; /**< as above */
};

/**
 * Fill in a dialect.
 *
 * @param numbers NULL: the usual ones.
 * @return 0, -EINVAL (a profile that does not exist; numbers with a profile that has
 *         none to choose; a bit below 32 or above 63; requests that are equal or below 256).
 */
int rp_vhu_dialect_init(struct rp_vhu_dialect *ret_dialect, enum rp_vhu_profile profile,
			const struct rp_vhu_numbers *numbers, struct rp_wire_why *why);

/**
 * The row of a request on the backend channel.
 *
 * @return borrowed, from the dialect or constant; NULL: no such message in this dialect.
 */
const struct rp_vhu_msg_row *rp_vhu_dialect_find(const struct rp_vhu_dialect *dialect, uint32_t request);

/** @return whether the extension was negotiated. */
bool rp_vhu_dialect_vfio(const struct rp_vhu_dialect *dialect, uint64_t protocol_features);

/**
 * Whether and how a notify area can be sent.
 *
 * @return the request's number; 0: neither the extension nor HOST_NOTIFIER was negotiated.
 */
uint32_t rp_vhu_dialect_notify_request(const struct rp_vhu_dialect *dialect, uint64_t protocol_features);

/**
 * What a protocol feature is called, "HOST_NOTIFIER" for bit 11.
 *
 * @return constant; NULL: it has no name.
 */
const char *rp_vhu_dialect_feature_name(const struct rp_vhu_dialect *dialect, unsigned int bit);

/**
 * The names of some protocol features: "PAGEFAULT, bit 40".
 *
 * @param ret_text cut where it is too long; always terminated.
 */
void rp_vhu_dialect_feature_names(const struct rp_vhu_dialect *dialect, uint64_t protocol_features, char *ret_text,
				  size_t size);

/** A word for people and configuration files: "standard", "extended", "vfio2018". */
const char *rp_vhu_profile_name(enum rp_vhu_profile profile);

/** The profile of such a word. @return 0 or -EINVAL. */
int rp_vhu_profile_parse(const char *name, enum rp_vhu_profile *ret_profile);

#endif
