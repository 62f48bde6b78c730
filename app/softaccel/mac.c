/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_hash.h>
#include <rte_jhash.h>
#include <rte_random.h>

#include "sa_mac.h"

#define AGE_STEPS_PER_CALL 256u

/*
 * Before the table: where the addresses that were looked for last are in it. Few addresses
 * make up most of the traffic, and the table's own hash is made for hostile ones.
 */
#define RECENT_BITS 8
#define NOBODY UINT64_MAX

struct mac_recent {
	sa_mac mac; /* NOBODY: none */
	int32_t position;
};

struct mac_entry {
	struct sa_mac_owner *owner;
	uint32_t seen_s;
};

struct sa_mac_table {
	struct rte_hash *hash;
	struct mac_entry *entries; /* at the position that the hash gave to the key */
	uint32_t age_cursor;
	uint64_t factor; /* odd, and not known to guests: they cannot aim at each other's places */
	struct mac_recent recent[1u << RECENT_BITS];
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

	unsigned int i;

	if (table == NULL)
		return -ENOMEM;
	table->factor = rte_rand() | 1;
	for (i = 0; i < RTE_DIM(table->recent); i++)
		table->recent[i].mac = NOBODY;
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

static struct mac_recent *
recent_of(struct sa_mac_table *table, sa_mac mac)
{
	return &table->recent[mac * table->factor >> (64 - RECENT_BITS)];
}

/* @return where it is in the table, or a negative number. */
static int32_t
position_of(struct sa_mac_table *table, sa_mac mac)
{
	struct mac_recent *recent = recent_of(table, mac);
	int32_t position;

	if (recent->mac == mac)
		return recent->position;
	position = rte_hash_lookup(table->hash, &mac);
	if (position >= 0)
		*recent = (struct mac_recent){.mac = mac, .position = position};
	return position;
}

static void
move_entry(struct mac_entry *entry, struct sa_mac_owner *owner)
{
	entry->owner->count--;
	owner->count++;
	entry->owner = owner;
}

bool
sa_mac_learn(struct sa_mac_table *table, sa_mac mac, struct sa_mac_owner *owner, uint32_t now_s)
{
	int32_t position;

	if (mac == 0 || sa_mac_is_group(mac))
		return false;
	position = position_of(table, mac);
	if (position >= 0 && table->entries[position].owner == owner) {
		table->entries[position].seen_s = now_s;
		return true;
	}
	if (owner->count >= owner->quota) {
		owner->refused_count++;
		return false;
	}
	if (position >= 0) {
		move_entry(&table->entries[position], owner);
	} else {
		position = rte_hash_add_key(table->hash, &mac);
		if (position < 0) {
			owner->refused_count++;
			return false;
		}
		table->entries[position].owner = owner;
		owner->count++;
	}
	table->entries[position].seen_s = now_s;
	return true;
}

bool
sa_mac_refresh(struct sa_mac_table *table, sa_mac mac, const struct sa_mac_owner *owner, uint32_t now_s)
{
	int32_t position = position_of(table, mac);

	if (position < 0 || table->entries[position].owner != owner)
		return false;
	table->entries[position].seen_s = now_s;
	return true;
}

struct sa_mac_owner *
sa_mac_find(struct sa_mac_table *table, sa_mac mac, uint32_t now_s)
{
	int32_t position = position_of(table, mac);

	if (position < 0 || now_s - table->entries[position].seen_s > SA_MAC_AGE_SECONDS)
		return NULL;
	return table->entries[position].owner;
}

static void
forget(struct sa_mac_table *table, const void *key, int32_t position)
{
	struct mac_recent *recent;
	sa_mac mac;

	memcpy(&mac, key, sizeof(mac));
	recent = recent_of(table, mac);
	if (recent->mac == mac)
		recent->mac = NOBODY;
	table->entries[position].owner->count--;
	rte_hash_del_key(table->hash, key);
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
		if (now_s - table->entries[position].seen_s > SA_MAC_AGE_SECONDS)
			forget(table, key, position);
	}
}
