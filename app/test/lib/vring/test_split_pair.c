/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "pair.h"

#define MESSAGES 60000u
#define CHAINS 40000u
#define CHANGES 50u

static void
by_flags(void **state)
{
	pair_run(*state, 2, 0, MESSAGES);
	pair_run(*state, 64, 0, MESSAGES);
}

static void
by_event_indices(void **state)
{
	pair_run(*state, 2, F_EVENT_IDX, MESSAGES);
	pair_run(*state, 64, F_EVENT_IDX, MESSAGES);
}

static void
indirect_and_in_order(void **state)
{
	pair_run(*state, 1, F_INDIRECT_DESC, MESSAGES / 4);
	pair_run(*state, 16, F_INDIRECT_DESC | F_EVENT_IDX | F_IN_ORDER, MESSAGES / 4);
	pair_run(*state, 16, F_IN_ORDER, MESSAGES / 4);
}

/* Past 65535 in every case. */
static void
shuffled(void **state)
{
	unsigned int i;

	for (i = 0; i < 16; i++)
		pair_shuffle(*state, (uint16_t)(1u << i % 8),
			     (i & 1 ? F_IN_ORDER : 0) | (i & 2 ? F_EVENT_IDX : 0) | (i & 4 ? F_INDIRECT_DESC : 0),
			     2 * CHAINS, i);
}

struct mapper {
	struct guest *guest;
	atomic_bool stop;
	atomic_uint changes;
};

/* The writer's thread: mappings come and go beside the ones in use. */
static void *
mapper_main(void *ctx)
{
	struct mapper *mapper = ctx;

	while (!atomic_load_explicit(&mapper->stop, memory_order_relaxed)) {
		const struct rp_dma_mapping mapping = {
			.iova = 0x1000,
			.size_bytes = 4096,
			.access_mask = RP_DMA_READ,
			.fd = mapper->guest->fd,
		};

		assert_int_equal(rp_dma_space_map(mapper->guest->space, &mapping, NULL), 0);
		assert_int_equal(rp_dma_space_unmap(mapper->guest->space, 0x1000, 4096, NULL), 0);
		atomic_fetch_add(&mapper->changes, 1);
		usleep(100);
	}
	return NULL;
}

static void
while_the_space_changes(void **state)
{
	struct mapper mapper = {.guest = *state};
	struct guest *guest = *state;
	struct rp_vring_chain *chain = &guest->chain;
	pthread_t thread;
	uint32_t i;

	guest_start(guest, 8, 0, 0);
	assert_int_equal(pthread_create(&thread, NULL, mapper_main, &mapper), 0);
	for (i = 0; i < MESSAGES || atomic_load(&mapper.changes) < CHANGES; i++) {
		rp_dma_reader_quiescent(guest->reader);
		guest_desc(guest, i % 8, GUEST_BUFFERS, 4, 0, 0);
		guest_offer(guest, i % 8);
		assert_int_equal(rp_vring_dev_pop(&guest->ring, chain), 1);
		assert_int_equal(rp_vring_dev_push(&guest->ring, chain->head, 0), 0);
	}
	atomic_store(&mapper.stop, true);
	rp_dma_reader_offline(guest->reader);
	pthread_join(thread, NULL);
	rp_dma_reader_online(guest->reader);
	print_message("%u changes under %u chains\n", atomic_load(&mapper.changes), i);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(by_flags), WITH_GUEST(by_event_indices),	   WITH_GUEST(indirect_and_in_order),
		WITH_GUEST(shuffled), WITH_GUEST(while_the_space_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
