/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_hash.h>
#include <rte_jhash.h>
#include <rte_random.h>

#include "sa_mac.h"

#define AGE_STEPS_PER_CALL 256u

struct mac_entry {
	struct sa_mac_owner *owner;
	uint32_t seen_s;
};

struct sa_mac_table {
	struct rte_hash *hash;
	struct mac_entry *entries; /* at the position that the hash gave to the key */
	uint32_t age_cursor;
};

int
sa_mac_table_create(uint32_t room_count, struct sa_mac_table **ret_table)
{
	struct sa_mac_table *table = calloc(1, sizeof(*table));
	char name[RTE_HASH_NAMESIZE];
	struct rte_hash_parameters parameters = {
		.name = name,
		.entries = room_count,
		.key_len = sizeof(sa_mac),
		.hash_func = rte_jhash,
		/* Guests choose the keys: a seed that they do not know, and room even if they all collide. */
		.hash_func_init_val = (uint32_t)rte_rand(),
		.extra_flag = RTE_HASH_EXTRA_FLAGS_EXT_TABLE,
	};

	if (table == NULL)
		return -ENOMEM;
	/* DPDK's names are process-wide; there may be several switches in one process. */
	snprintf(name, sizeof(name), "sa_mac_%" PRIxPTR, (uintptr_t)table);
	table->hash = rte_hash_create(&parameters);
	if (table->hash != NULL)
		table->entries = calloc((size_t)rte_hash_max_key_id(table->hash) + 1, sizeof(*table->entries));
	if (table->entries == NULL) {
		sa_mac_table_destroy(table);
		return -ENOMEM;
	}
	*ret_table = table;
	return 0;
}

struct sa_mac_table *
sa_mac_table_destroy(struct sa_mac_table *table)
{
	if (table == NULL)
		return NULL;
	rte_hash_free(table->hash);
	free(table->entries);
	free(table);
	return NULL;
}

static void
move_entry(struct mac_entry *entry, struct sa_mac_owner *owner)
{
	entry->owner->count--;
	owner->count++;
	entry->owner = owner;
}

void
sa_mac_learn(struct sa_mac_table *table, sa_mac mac, struct sa_mac_owner *owner, uint32_t now_s)
{
	int32_t position;

	if (mac == 0 || sa_mac_is_group(mac))
		return;
	position = rte_hash_lookup(table->hash, &mac);
	if (position >= 0 && table->entries[position].owner == owner) {
		table->entries[position].seen_s = now_s;
		return;
	}
	if (owner->count >= owner->quota) {
		owner->refused_count++;
		return;
	}
	if (position >= 0) {
		move_entry(&table->entries[position], owner);
	} else {
		position = rte_hash_add_key(table->hash, &mac);
		if (position < 0) {
			owner->refused_count++;
			return;
		}
		table->entries[position].owner = owner;
		owner->count++;
	}
	table->entries[position].seen_s = now_s;
}

struct sa_mac_owner *
sa_mac_find(const struct sa_mac_table *table, sa_mac mac, uint32_t now_s)
{
	int32_t position = rte_hash_lookup(table->hash, &mac);

	if (position < 0 || now_s - table->entries[position].seen_s > SA_MAC_AGE_SECONDS)
		return NULL;
	return table->entries[position].owner;
}

void
sa_mac_table_age(struct sa_mac_table *table, uint32_t now_s)
{
	unsigned int step;

	for (step = 0; step < AGE_STEPS_PER_CALL; step++) {
		const void *key;
		void *ignored;
		int32_t position = rte_hash_iterate(table->hash, &key, &ignored, &table->age_cursor);

		if (position < 0) {
			table->age_cursor = 0;
			return;
		}
		if (now_s - table->entries[position].seen_s <= SA_MAC_AGE_SECONDS)
			continue;
		table->entries[position].owner->count--;
		rte_hash_del_key(table->hash, key);
	}
}
