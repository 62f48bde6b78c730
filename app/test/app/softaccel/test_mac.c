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
	sa_mac_learn(table, MAC(1), &one, 10);
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
		cmocka_unit_test(only_addresses_of_somebody),
		cmocka_unit_test(quotas),
	};

	rig_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
