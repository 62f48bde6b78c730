/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "pair.h"

#define MESSAGES 20000u
#define CHAINS 20000u
#define SHUFFLES 48u

static void
by_flags(void **state)
{
	pair_run(*state, 2, F_RING_PACKED, MESSAGES);
	pair_run(*state, 7, F_RING_PACKED, MESSAGES);
	pair_run(*state, 300, F_RING_PACKED, MESSAGES);
}

static void
by_descriptor_events(void **state)
{
	pair_run(*state, 2, F_RING_PACKED | F_EVENT_IDX, MESSAGES);
	pair_run(*state, 7, F_RING_PACKED | F_EVENT_IDX, MESSAGES);
	pair_run(*state, 300, F_RING_PACKED | F_EVENT_IDX, MESSAGES);
}

static void
indirect(void **state)
{
	pair_run(*state, 1, F_RING_PACKED | F_INDIRECT_DESC, MESSAGES);
	pair_run(*state, 5, F_RING_PACKED | F_INDIRECT_DESC | F_EVENT_IDX, MESSAGES);
	pair_run(*state, 256, F_RING_PACKED | F_INDIRECT_DESC | F_EVENT_IDX, MESSAGES);
}

static void
in_order(void **state)
{
	pair_run(*state, 3, F_RING_PACKED | F_IN_ORDER, MESSAGES);
	pair_run(*state, 64, F_RING_PACKED | F_IN_ORDER | F_EVENT_IDX, MESSAGES);
	pair_run(*state, 33, F_RING_PACKED | F_IN_ORDER | F_EVENT_IDX | F_INDIRECT_DESC, MESSAGES);
}

/* Random sizes, mostly no power of two: small ones go thousands of times around. */
static void
shuffled(void **state)
{
	unsigned int seed = 8, i;

	for (i = 0; i < SHUFFLES; i++) {
		uint16_t num = (uint16_t)(1 + rand_r(&seed) % (i % 3 == 0 ? 300 : 20));

		pair_shuffle(*state, num,
			     F_RING_PACKED | (i & 1 ? F_IN_ORDER : 0) | (i & 2 ? F_EVENT_IDX : 0) |
				     (i & 4 ? F_INDIRECT_DESC : 0),
			     CHAINS, i);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(by_flags), WITH_GUEST(by_descriptor_events), WITH_GUEST(indirect), WITH_GUEST(in_order),
		WITH_GUEST(shuffled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
