/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "guest_packed.h"
#include "hostile.h"
#include "rp_vring_burst.h"
#include "rp_wire_clock.h"

#define SCRIBBLE_MS 1000u

struct scribbler {
	uint8_t *memory;
	atomic_bool stop;
};

static void *
scribble(void *ctx)
{
	struct scribbler *scribbler = ctx;
	unsigned int seed = 4;

	while (!atomic_load_explicit(&scribbler->stop, memory_order_relaxed)) {
		static const uint32_t areas[] = {GUEST_DESC_AT, GUEST_AVAIL_AT, GUEST_BUFFERS_AT};
		static const uint8_t values[] = {0, 1, 2, 3, 4, 0x80, 0x81, 0xff};
		volatile uint8_t *at = scribbler->memory + areas[rand_r(&seed) % 3] + rand_r(&seed) % 128;

		*at = values[(size_t)rand_r(&seed) % sizeof(values)];
	}
	return NULL;
}

static unsigned int
serve_bursts(struct guest *guest, unsigned int *seed)
{
	struct rp_vring_burst_chain chains[8];
	struct rp_vring_done done[8];
	unsigned int served = 0, i;
	int rc;

	while ((rc = rp_vring_dev_pop_burst(&guest->ring, chains, 8)) > 0 && served < 100) {
		for (i = 0; i < (unsigned int)rc; i++) {
			guest->chain.head = chains[i].head;
			guest->chain.out_count = chains[i].out_count;
			guest->chain.in_count = chains[i].in_count;
			guest->chain.out_bytes = chains[i].out_bytes;
			guest->chain.in_bytes = chains[i].in_bytes;
			memcpy(guest->chain.iov, chains[i].iov, sizeof(chains[i].iov));
			hostile_assert_sane(guest);
			done[i] =
				(struct rp_vring_done){.head = chains[i].head, .written_bytes = (uint32_t)rand_r(seed)};
		}
		served += (unsigned int)rc;
		if (rp_vring_dev_fill_burst(&guest->ring, 0, done, (uint16_t)rc) < 0)
			break;
		assert_int_equal(rp_vring_dev_publish(&guest->ring, (uint16_t)rc), 0);
	}
	assert_true(rc >= -EBADMSG || rc == -EMSGSIZE);
	return served;
}

/* Another processor rewrites the ring while it is being read. */
static void
memory_that_changes_while_it_is_read(struct guest *guest, bool is_packed)
{
	struct scribbler scribbler = {0};
	uint64_t deadline_ms = rp_wire_clock_ms() + SCRIBBLE_MS;
	unsigned int seed = 5, served = 0, rings = 0;
	struct packed_guest driver;
	pthread_t thread;
	uint16_t i;

	/* A mapping of its own, as another processor of a guest has: its stores are no data race of ours. */
	scribbler.memory = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, guest->fd, 0);
	assert_ptr_not_equal(scribbler.memory, MAP_FAILED);
	assert_int_equal(pthread_create(&thread, NULL, scribble, &scribbler), 0);
	while (rp_wire_clock_ms() < deadline_ms) {
		if (is_packed)
			packed_start(&driver, guest, 8, 0, true, F_INDIRECT_DESC);
		else
			guest_start(guest, 8, 0, F_INDIRECT_DESC);
		for (i = 0; i < 8; i++) {
			uint16_t flags = (uint16_t)(i == 3 ? INDIRECT : i == 1 ? NEXT : 0);

			guest_desc_at(guest, GUEST_BUFFERS_AT, i, GUEST_BUFFERS, 8, 0, 0);
			if (is_packed) {
				packed_offer(&driver, GUEST_BUFFERS, 64, i, flags);
				continue;
			}
			guest_desc(guest, i, GUEST_BUFFERS, 64, flags, (uint16_t)(i + 1));
			guest_offer(guest, i);
		}
		served += serve_bursts(guest, &seed);
		rings++;
	}
	atomic_store(&scribbler.stop, true);
	pthread_join(thread, NULL);
	munmap(scribbler.memory, GUEST_BYTES);
	print_message("%u rings, %u chains served\n", rings, served);
	assert_true(served > 100);
}

static void
memory_that_changes_split(void **state)
{
	memory_that_changes_while_it_is_read(*state, false);
}

static void
memory_that_changes_packed(void **state)
{
	memory_that_changes_while_it_is_read(*state, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(memory_that_changes_split),
		WITH_GUEST(memory_that_changes_packed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
