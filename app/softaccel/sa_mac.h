/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_MAC_H
#define SA_MAC_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/**
 * @file
 * The switch's table of MAC addresses.
 *
 * Theory of operation: an address is learned from the source of a frame, moves
 * when it is seen elsewhere, and is forgotten when it was not seen for
 * SA_MAC_AGE_SECONDS. Each owner (a switch port) has a quota, and the table has
 * room for all quotas together, so an owner that floods the table with sources
 * only keeps itself from learning more.
 *
 * Threads: one thread.
 */

#define SA_MAC_AGE_SECONDS 300u

/** A MAC address as a number; 0 is nobody's. */
typedef uint64_t sa_mac;

struct sa_mac_table;

/** Who learned addresses. Embedded in a switch port; must outlive its addresses. */
struct sa_mac_owner {
	uint32_t quota;
	uint32_t count;
	uint64_t refused_count;
};

/** @param room_count all quotas together. @return 0 or -ENOMEM. */
int sa_mac_table_create(uint32_t room_count, struct sa_mac_table **ret_table);
struct sa_mac_table *sa_mac_table_destroy(struct sa_mac_table *table);

static inline sa_mac
sa_mac_from_bytes(const uint8_t bytes[6])
{
	return (sa_mac)bytes[0] << 40 | (sa_mac)bytes[1] << 32 | (sa_mac)bytes[2] << 24 | (sa_mac)bytes[3] << 16 |
	       (sa_mac)bytes[4] << 8 | bytes[5];
}

/** Whether it names a group (broadcast included). */
static inline bool
sa_mac_is_group(sa_mac mac)
{
	return (mac >> 40 & 1) != 0;
}

/** Both addresses of a frame, as they are compared with those of the frame before it. */
struct sa_mac_pair {
	uint64_t first;
	uint32_t rest;
};

static inline struct sa_mac_pair
sa_mac_pair_of(const uint8_t *frame)
{
	struct sa_mac_pair pair;

	memcpy(&pair.first, frame, sizeof(pair.first));
	memcpy(&pair.rest, frame + sizeof(pair.first), sizeof(pair.rest));
	return pair;
}

static inline bool
sa_mac_pair_is(const struct sa_mac_pair *pair, const struct sa_mac_pair *other)
{
	return pair->first == other->first && pair->rest == other->rest;
}

/** @param now_s seconds that never go back. @return whether the owner has the address now. */
bool sa_mac_learn(struct sa_mac_table *table, sa_mac mac, struct sa_mac_owner *owner, uint32_t now_s);

/**
 * What sa_mac_learn() does with an address that its owner has already.
 * @return false: it would do something else, and nothing was done.
 */
bool sa_mac_refresh(struct sa_mac_table *table, sa_mac mac, const struct sa_mac_owner *owner, uint32_t now_s);

/** @return who has it, or NULL. */
struct sa_mac_owner *sa_mac_find(struct sa_mac_table *table, sa_mac mac, uint32_t now_s);

/** Forget some of what is too old; a bounded piece of work per call. */
void sa_mac_table_age(struct sa_mac_table *table, uint32_t now_s);

#endif
