/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_hash.h>
#include <rte_jhash.h>
#include <rte_random.h>

#include "mac.h"

struct vs_mac_table {
	struct rte_hash *hash;
	/* At the position that the hash gave to the key: port + 1 and when it was seen; 0: nothing. */
	uint64_t *entries;
	unsigned int ports_count;
	uint32_t counts[]; /* of each port */
};

static uint64_t
key_of(const struct rte_ether_addr *address)
{
	uint64_t key = 0;

	memcpy(&key, address->addr_bytes, sizeof(address->addr_bytes));
	return key;
}

static uint64_t
entry_of(unsigned int port, uint32_t seen_s)
{
	return (uint64_t)(port + 1) << 32 | seen_s;
}

static unsigned int
port_of(uint64_t entry)
{
	return (unsigned int)(entry >> 32) - 1;
}

static bool
is_old(uint64_t entry, uint32_t now_s)
{
	/* Another lcore's clock may be a moment ahead of this one's. */
	return (int32_t)(now_s - (uint32_t)entry) > (int32_t)VS_MAC_AGE_S;
}

int
vs_mac_create(unsigned int ports_count, struct vs_mac_table **ret_table)
{
	struct vs_mac_table *table = calloc(1, sizeof(*table) + ports_count * sizeof(table->counts[0]));
	char name[RTE_HASH_NAMESIZE];
	struct rte_hash_parameters parameters = {
		.name = name,
		.entries = ports_count * VS_MAC_QUOTA,
		.key_len = sizeof(uint64_t),
		.hash_func = rte_jhash,
		/* Guests choose the keys: a seed that they do not know, and room even if they all collide. */
		.hash_func_init_val = (uint32_t)rte_rand(),
		.extra_flag = RTE_HASH_EXTRA_FLAGS_EXT_TABLE | RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY,
	};

	if (table == NULL)
		return -ENOMEM;
	table->ports_count = ports_count;
	snprintf(name, sizeof(name), "vs_mac_%" PRIxPTR, (uintptr_t)table);
	table->hash = rte_hash_create(&parameters);
	if (table->hash != NULL)
		table->entries = calloc((size_t)rte_hash_max_key_id(table->hash) + 1, sizeof(*table->entries));
	if (table->entries == NULL) {
		vs_mac_destroy(table);
		return -ENOMEM;
	}
	*ret_table = table;
	return 0;
}

struct vs_mac_table *
vs_mac_destroy(struct vs_mac_table *table)
{
	if (table == NULL)
		return NULL;
	rte_hash_free(table->hash);
	free(table->entries);
	free(table);
	return NULL;
}

/* Whoever takes an entry away from somebody counts for both: the counts stay true whoever comes between. */
static void
put(struct vs_mac_table *table, int32_t position, uint64_t entry)
{
	uint64_t old = __atomic_exchange_n(&table->entries[position], entry, __ATOMIC_RELAXED);

	if (old != 0)
		__atomic_fetch_sub(&table->counts[port_of(old)], 1, __ATOMIC_RELAXED);
	if (entry != 0)
		__atomic_fetch_add(&table->counts[port_of(entry)], 1, __ATOMIC_RELAXED);
}

void
vs_mac_learn(struct vs_mac_table *table, const struct rte_ether_addr *source, unsigned int port, uint32_t now_s)
{
	uint64_t key = key_of(source), entry = entry_of(port, now_s), old = 0;
	int32_t position;

	if (!rte_is_valid_assigned_ether_addr(source))
		return;
	position = rte_hash_lookup(table->hash, &key);
	if (position >= 0)
		old = __atomic_load_n(&table->entries[position], __ATOMIC_RELAXED);
	/* The usual case writes nothing that another lcore reads. */
	if (old == entry)
		return;
	if ((old == 0 || port_of(old) != port) && vs_mac_count(table, port) >= VS_MAC_QUOTA)
		return;
	if (position < 0)
		position = rte_hash_add_key(table->hash, &key);
	if (position >= 0)
		put(table, position, entry);
}

int
vs_mac_find(struct vs_mac_table *table, const struct rte_ether_addr *destination, uint32_t now_s)
{
	uint64_t key = key_of(destination), entry;
	int32_t position;

	if (rte_is_multicast_ether_addr(destination))
		return -1;
	position = rte_hash_lookup(table->hash, &key);
	if (position < 0)
		return -1;
	entry = __atomic_load_n(&table->entries[position], __ATOMIC_RELAXED);
	return entry == 0 || is_old(entry, now_s) ? -1 : (int)port_of(entry);
}

void
vs_mac_age(struct vs_mac_table *table, uint32_t now_s)
{
	uint32_t cursor = 0;
	const void *key;
	void *ignored;
	int32_t position;

	while ((position = rte_hash_iterate(table->hash, &key, &ignored, &cursor)) >= 0) {
		uint64_t entry = __atomic_load_n(&table->entries[position], __ATOMIC_RELAXED);

		if (entry != 0 && !is_old(entry, now_s))
			continue;
		put(table, position, 0);
		rte_hash_del_key(table->hash, key);
	}
}

unsigned int
vs_mac_count(const struct vs_mac_table *table, unsigned int port)
{
	return __atomic_load_n(&table->counts[port], __ATOMIC_RELAXED);
}
