/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VS_MAC_H
#define VS_MAC_H

#include <stdint.h>

#include <rte_ether.h>

/**
 * @file
 * Which address is behind which port. An address is learned from the source of a
 * frame, moves to where it is seen last, and is forgotten when it was not seen for
 * VS_MAC_AGE_S. Each port has a quota and the table has room for all of them, so a guest
 * that makes up addresses only keeps itself from learning more.
 *
 * Threads: any, all at once; the hash has a lock, what it leads to is one word.
 */

#define VS_MAC_AGE_S 300u
#define VS_MAC_QUOTA 1024u

struct vs_mac_table;

/** @return 0 or -ENOMEM. */
int vs_mac_create(unsigned int ports_count, struct vs_mac_table **ret_table);

/** NULL is allowed. @return NULL. */
struct vs_mac_table *vs_mac_destroy(struct vs_mac_table *table);

/** @param now_s of a clock that never goes back; below 2^32. */
void vs_mac_learn(struct vs_mac_table *table, const struct rte_ether_addr *source, unsigned int port, uint32_t now_s);

/** @return the port, or -1: unknown, or a group. */
int vs_mac_find(struct vs_mac_table *table, const struct rte_ether_addr *destination, uint32_t now_s);

/**
 * Forget what is too old. Walks through all of the table. To delete moves neighbours, and one that is moved
 * past the walk waits for the next: vs_mac_find() gives it to nobody meanwhile.
 */
void vs_mac_age(struct vs_mac_table *table, uint32_t now_s);

/** How many addresses a port has. */
unsigned int vs_mac_count(const struct vs_mac_table *table, unsigned int port);

#endif
