/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <stdio.h>

#include <rte_common.h>
#include <rte_eal.h>

#include "mac.h"
#include "test_support.h"

#define THREADS 3u
#define ROUNDS 3000u

static struct rte_ether_addr
address(unsigned int number)
{
	return (struct rte_ether_addr){
		{0x02, 0, (uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number}};
}

static void
learn(struct vs_mac_table *table, unsigned int number, unsigned int port, uint32_t now_s)
{
	struct rte_ether_addr source = address(number);

	vs_mac_learn(table, &source, port, now_s);
}

static int
find(struct vs_mac_table *table, unsigned int number, uint32_t now_s)
{
	struct rte_ether_addr destination = address(number);

	return vs_mac_find(table, &destination, now_s);
}

static void
forget_all(struct vs_mac_table *table, uint32_t now_s)
{
	unsigned int walk;

	/* A walk that deletes may miss some. */
	for (walk = 0; walk < 8; walk++)
		vs_mac_age(table, now_s);
}

static void
learns_moves_and_forgets(void **state)
{
	struct vs_mac_table *table;

	(void)state;
	assert_int_equal(vs_mac_create(2, &table), 0);
	assert_int_equal(find(table, 1, 0), -1);
	learn(table, 1, 0, 10);
	assert_int_equal(find(table, 1, 10), 0);
	learn(table, 1, 1, 11);
	assert_int_equal(find(table, 1, 11), 1);
	assert_int_equal(vs_mac_count(table, 0), 0);
	assert_int_equal(vs_mac_count(table, 1), 1);
	assert_int_equal(find(table, 1, 11 + VS_MAC_AGE_S), 1);
	assert_int_equal(find(table, 1, 12 + VS_MAC_AGE_S), -1);
	/* Seen by an lcore whose clock is a second ahead. */
	learn(table, 3, 0, 21);
	vs_mac_age(table, 20);
	assert_int_equal(find(table, 3, 20), 0);
	/* Seen again in time: not forgotten with what it was first. */
	learn(table, 2, 0, 11);
	learn(table, 2, 0, 200);
	vs_mac_age(table, 22 + VS_MAC_AGE_S);
	assert_int_equal(vs_mac_count(table, 1), 0);
	assert_int_equal(vs_mac_count(table, 0), 1);
	assert_int_equal(find(table, 2, 12 + VS_MAC_AGE_S), 0);
	vs_mac_destroy(table);
}

static void
learns_nothing_of_a_group(void **state)
{
	static const struct rte_ether_addr nobodys[] = {
		{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}, {{0x01, 0, 0x5e, 0, 0, 1}}, {{0, 0, 0, 0, 0, 0}}};
	struct vs_mac_table *table;
	unsigned int i;

	(void)state;
	assert_int_equal(vs_mac_create(1, &table), 0);
	for (i = 0; i < RTE_DIM(nobodys); i++) {
		vs_mac_learn(table, &nobodys[i], 0, 0);
		assert_int_equal(vs_mac_find(table, &nobodys[i], 0), -1);
	}
	assert_int_equal(vs_mac_count(table, 0), 0);
	vs_mac_destroy(table);
}

/* A port that makes up addresses keeps itself from learning, and nobody else. */
static void
keeps_to_the_quota(void **state)
{
	struct vs_mac_table *table;
	unsigned int i;

	(void)state;
	assert_int_equal(vs_mac_create(2, &table), 0);
	for (i = 0; i < 3 * VS_MAC_QUOTA; i++)
		learn(table, i, 0, 0);
	assert_int_equal(vs_mac_count(table, 0), VS_MAC_QUOTA);
	for (i = 0; i < VS_MAC_QUOTA; i++)
		learn(table, 1u << 24 | i, 1, 0);
	assert_int_equal(vs_mac_count(table, 1), VS_MAC_QUOTA);
	/* A full port cannot take an address of another one either. */
	learn(table, 1u << 24, 0, 1);
	assert_int_equal(find(table, 1u << 24, 1), 1);
	forget_all(table, VS_MAC_AGE_S + 2);
	assert_int_equal(vs_mac_count(table, 0), 0);
	assert_int_equal(vs_mac_count(table, 1), 0);
	vs_mac_destroy(table);
}

struct claimant {
	struct vs_mac_table *table;
	unsigned int port;
};

static void *
claim(void *ctx)
{
	const struct claimant *claimant = ctx;
	unsigned int round;

	/* Ages jump, so that what one learns another forgets. */
	for (round = 0; round < ROUNDS; round++) {
		learn(claimant->table, round % 16, claimant->port, round * 100);
		if (claimant->port == 0)
			vs_mac_age(claimant->table, round * 100);
		(void)find(claimant->table, round % 7, round * 100);
	}
	return NULL;
}

/* All claim the same addresses at once: afterwards none is counted for anybody once all is forgotten. */
static void
counts_stay_true_among_threads(void **state)
{
	struct claimant claimants[THREADS];
	pthread_t threads[THREADS];
	struct vs_mac_table *table;
	unsigned int i;

	(void)state;
	assert_int_equal(vs_mac_create(THREADS, &table), 0);
	for (i = 0; i < THREADS; i++) {
		claimants[i] = (struct claimant){table, i};
		assert_int_equal(pthread_create(&threads[i], NULL, claim, &claimants[i]), 0);
	}
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (i = 0; i < 16; i++)
		learn(table, i, 1, ROUNDS * 100);
	assert_int_equal(vs_mac_count(table, 1), 16);
	forget_all(table, ROUNDS * 100 + VS_MAC_AGE_S + 1);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(vs_mac_count(table, i), 0);
	vs_mac_destroy(table);
}

static void
eal_init(void)
{
	static char arguments[][32] = {
		"vswitch-test", "--no-huge",	  "--no-pci", "--no-shconf", "-m",
		"64",		"--no-telemetry", "-l",	      "0",	     "--log-level=lib.eal:error"};
	char *argv[RTE_DIM(arguments) + 1] = {NULL};
	unsigned int i;

	for (i = 0; i < RTE_DIM(arguments); i++)
		argv[i] = arguments[i];
	assert_true(rte_eal_init((int)RTE_DIM(arguments), argv) >= 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(learns_moves_and_forgets),
		cmocka_unit_test(learns_nothing_of_a_group),
		cmocka_unit_test(keeps_to_the_quota),
		cmocka_unit_test(counts_stay_true_among_threads),
	};

	eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
