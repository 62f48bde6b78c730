/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "rig.h"
#include "sa_mac.h"

#define MAC(n) (0x020000000000ull + (n))

static void
learn_move_forget(void **state)
{
	struct sa_mac_owner one = {.quota = 4}, two = {.quota = 4};
	struct sa_mac_table *table;

	(void)state;
	assert_int_equal(sa_mac_table_create(8, &table), 0);
	assert_null(sa_mac_find(table, MAC(1), 0));
	assert_true(sa_mac_learn(table, MAC(1), &one, 10));
	assert_ptr_equal(sa_mac_find(table, MAC(1), 10), &one);
	sa_mac_learn(table, MAC(1), &two, 11);
	assert_ptr_equal(sa_mac_find(table, MAC(1), 11), &two);
	assert_int_equal(one.count, 0);
	assert_int_equal(two.count, 1);
	assert_ptr_equal(sa_mac_find(table, MAC(1), 11 + SA_MAC_AGE_SECONDS), &two);
	assert_null(sa_mac_find(table, MAC(1), 12 + SA_MAC_AGE_SECONDS));
	sa_mac_table_age(table, 12 + SA_MAC_AGE_SECONDS);
	assert_int_equal(two.count, 0);
	sa_mac_table_destroy(table);
}

static void
learned_or_not_is_said(void **state)
{
	struct sa_mac_owner one = {.quota = 1}, none = {.quota = 0};
	struct sa_mac_table *table;

	(void)state;
	assert_int_equal(sa_mac_table_create(8, &table), 0);
	assert_true(sa_mac_learn(table, MAC(1), &one, 0));
	assert_true(sa_mac_learn(table, MAC(1), &one, 0));
	assert_false(sa_mac_learn(table, MAC(2), &one, 0));
	assert_false(sa_mac_learn(table, MAC(1), &none, 0));
	assert_false(sa_mac_learn(table, 0, &one, 0));
	assert_false(sa_mac_learn(table, 0xffffffffffffull, &one, 0));
	sa_mac_table_destroy(table);
}

static void
pairs_are_both_addresses(void **state)
{
	uint8_t frame[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0};
	const struct sa_mac_pair pair = sa_mac_pair_of(frame);
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(frame); i++) {
		struct sa_mac_pair other;

		frame[i] ^= 0x10;
		other = sa_mac_pair_of(frame);
		assert_int_equal(sa_mac_pair_is(&other, &pair), i >= 12);
		frame[i] ^= 0x10;
	}
}

/* A refresh keeps what is there from ageing, and makes, moves and counts nothing. */
static void
refresh_changes_no_owner(void **state)
{
	struct sa_mac_owner one = {.quota = 1}, two = {.quota = 1};
	struct sa_mac_table *table;

	(void)state;
	assert_int_equal(sa_mac_table_create(8, &table), 0);
	assert_false(sa_mac_refresh(table, MAC(1), &one, 0));
	assert_int_equal(one.count, 0);
	sa_mac_learn(table, MAC(1), &one, 0);
	assert_false(sa_mac_refresh(table, MAC(1), &two, 100));
	assert_ptr_equal(sa_mac_find(table, MAC(1), SA_MAC_AGE_SECONDS), &one);
	assert_null(sa_mac_find(table, MAC(1), SA_MAC_AGE_SECONDS + 1));
	assert_true(sa_mac_refresh(table, MAC(1), &one, 100));
	assert_ptr_equal(sa_mac_find(table, MAC(1), SA_MAC_AGE_SECONDS + 100), &one);
	assert_false(sa_mac_refresh(table, MAC(2), &one, 100));
	assert_int_equal(one.refused_count, 0);
	sa_mac_table_destroy(table);
}

/* What was looked for last is remembered beside the table; it must not outlive what it stands for. */
static void
what_was_forgotten_is_not_found(void **state)
{
	struct sa_mac_owner one = {.quota = 4}, two = {.quota = 4};
	struct sa_mac_table *table;
	unsigned int i;

	(void)state;
	assert_int_equal(sa_mac_table_create(8, &table), 0);
	for (i = 0; i < 4; i++) {
		sa_mac_learn(table, MAC(i), &one, 0);
		assert_ptr_equal(sa_mac_find(table, MAC(i), 0), &one);
	}
	sa_mac_table_age(table, SA_MAC_AGE_SECONDS + 1);
	for (i = 0; i < 4; i++) {
		assert_null(sa_mac_find(table, MAC(i), 0));
		assert_false(sa_mac_refresh(table, MAC(i), &one, 0));
	}
	/* The same places of the table, other addresses. */
	for (i = 0; i < 4; i++)
		sa_mac_learn(table, MAC(10 + i), &two, SA_MAC_AGE_SECONDS + 1);
	for (i = 0; i < 4; i++) {
		assert_null(sa_mac_find(table, MAC(i), SA_MAC_AGE_SECONDS + 1));
		assert_ptr_equal(sa_mac_find(table, MAC(10 + i), SA_MAC_AGE_SECONDS + 1), &two);
	}
	assert_null(sa_mac_find(table, UINT64_MAX >> 16, 0));
	sa_mac_table_destroy(table);
}

/* Far more addresses than are remembered: all are found, each at its owner. */
static void
more_than_are_remembered(void **state)
{
	struct sa_mac_owner owners[2] = {{.quota = 2000}, {.quota = 2000}};
	struct sa_mac_table *table;
	unsigned int i, round;

	(void)state;
	assert_int_equal(sa_mac_table_create(4000, &table), 0);
	for (i = 0; i < 4000; i++)
		sa_mac_learn(table, MAC(i), &owners[i % 2], 0);
	for (round = 0; round < 2; round++) {
		for (i = 0; i < 4000; i++)
			assert_ptr_equal(sa_mac_find(table, MAC(i), 0), &owners[i % 2]);
	}
	sa_mac_table_destroy(table);
}

static void
only_addresses_of_somebody(void **state)
{
	struct sa_mac_owner one = {.quota = 4};
	struct sa_mac_table *table;

	(void)state;
	assert_int_equal(sa_mac_table_create(8, &table), 0);
	sa_mac_learn(table, 0, &one, 0);
	sa_mac_learn(table, 0x010000000000ull, &one, 0);
	sa_mac_learn(table, 0xffffffffffffull, &one, 0);
	assert_int_equal(one.count, 0);
	assert_int_equal(sa_mac_from_bytes((const uint8_t[]){1, 2, 3, 4, 5, 6}), 0x010203040506ull);
	sa_mac_table_destroy(table);
}

/* Every owner gets its quota, whatever the others do. */
static void
quotas(void **state)
{
	struct sa_mac_owner owners[4] = {{.quota = 256}, {.quota = 256}, {.quota = 256}, {.quota = 256}};
	struct sa_mac_table *table;
	unsigned int i, owner;

	(void)state;
	assert_int_equal(sa_mac_table_create(4 * 256, &table), 0);
	for (owner = 0; owner < 4; owner++) {
		for (i = 0; i < 10000; i++)
			sa_mac_learn(table, MAC(owner * 100000 + i), &owners[owner], 0);
		assert_int_equal(owners[owner].count, 256);
		assert_int_equal(owners[owner].refused_count, 10000 - 256);
	}
	for (owner = 0; owner < 4; owner++)
		assert_ptr_equal(sa_mac_find(table, MAC(owner * 100000), 0), &owners[owner]);
	/* All of it ages, a piece at a time. */
	for (i = 0; i < 64; i++)
		sa_mac_table_age(table, SA_MAC_AGE_SECONDS + 1);
	for (owner = 0; owner < 4; owner++)
		assert_int_equal(owners[owner].count, 0);
	sa_mac_table_destroy(table);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(learn_move_forget),
		cmocka_unit_test(learned_or_not_is_said),
		cmocka_unit_test(pairs_are_both_addresses),
		cmocka_unit_test(refresh_changes_no_owner),
		cmocka_unit_test(what_was_forgotten_is_not_found),
		cmocka_unit_test(more_than_are_remembered),
		cmocka_unit_test(only_addresses_of_somebody),
		cmocka_unit_test(quotas),
	};

	rig_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
