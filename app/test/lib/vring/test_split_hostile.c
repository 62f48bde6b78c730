/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hostile.h"
#include "rp_wire_clock.h"

#define ROUNDS 20000u
#define SCRIBBLE_MS 1500u

/* Serve until the ring is empty or broken, as a device does. Returns how many chains there were. */
static unsigned int
serve(struct guest *guest, unsigned int *seed)
{
	unsigned int served = 0;
	int rc;

	while ((rc = rp_vring_dev_pop(&guest->ring, &guest->chain)) == 1 && served < 100) {
		hostile_assert_sane(guest);
		served++;
		if (rp_vring_dev_push(&guest->ring, guest->chain.head, (uint32_t)rand_r(seed)) < 0)
			return served;
		assert_true(rp_vring_dev_needs_interrupt(&guest->ring) >= -EBADMSG);
		rp_vring_dev_set_notify(&guest->ring, rand_r(seed) % 2);
	}
	assert_true(rc == 0 || rc == 1 || rc == -EBADMSG);
	assert_int_equal(rc == -EBADMSG, rp_vring_dev_why(&guest->ring) != NULL);
	return served;
}

static void
random_table(struct guest *guest, size_t table_at, uint32_t count, unsigned int *seed)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		uint16_t flags = (uint16_t)(rand_r(seed) % 4);

		if (rand_r(seed) % 6 == 0)
			flags |= INDIRECT;
		if (rand_r(seed) % 32 == 0)
			flags = (uint16_t)hostile_bits(seed);
		guest_desc_at(guest, table_at, i, hostile_address(seed), hostile_length(seed), flags,
			      (uint16_t)((uint32_t)rand_r(seed) % (count + 1)));
	}
}

/* Pure noise over the whole ring. */
static void
noise(void **state)
{
	struct guest *guest = *state;
	unsigned int seed = 1, round, served = 0;
	size_t i;

	for (round = 0; round < ROUNDS / 4; round++) {
		uint16_t num = (uint16_t)(1u << rand_r(&seed) % 8);

		guest_start(guest, num, (uint16_t)hostile_bits(&seed), hostile_bits(&seed));
		for (i = 0; i < 16u * num; i++)
			guest->memory[GUEST_DESC_AT + i] = (uint8_t)rand_r(&seed);
		for (i = 0; i < 6 + 2u * num; i++)
			guest->memory[GUEST_AVAIL_AT + i] = (uint8_t)rand_r(&seed);
		for (i = 0; i < 6 + 8u * num; i++)
			guest->memory[GUEST_USED_AT + i] = (uint8_t)rand_r(&seed);
		served += serve(guest, &seed);
	}
	print_message("%u chains served\n", served);
}

/* Noise in the shape of a ring: it gets much further. */
static void
plausible_nonsense(void **state)
{
	struct guest *guest = *state;
	unsigned int seed = 2, round, served = 0, broken = 0;
	uint32_t i;

	for (round = 0; round < ROUNDS; round++) {
		uint16_t num = (uint16_t)(1u << rand_r(&seed) % 7), index = (uint16_t)hostile_bits(&seed);

		guest_start(guest, num, index, hostile_bits(&seed) | (rand_r(&seed) % 4 ? F_INDIRECT_DESC : 0));
		random_table(guest, GUEST_DESC_AT, num, &seed);
		for (i = 0; i < 4; i++)
			random_table(guest, GUEST_BUFFERS_AT + (uint32_t)rand_r(&seed) % 0x10000 * 16, 16, &seed);
		for (i = 0; i < num; i++)
			guest_put16(guest, GUEST_AVAIL_AT + 4 + 2 * i,
				    (uint16_t)((uint32_t)rand_r(&seed) % (num + (round % 8 == 0))));
		guest_put16(guest, GUEST_AVAIL_AT + 2, (uint16_t)(index + 1 + (uint32_t)rand_r(&seed) % num));
		served += serve(guest, &seed);
		broken += rp_vring_dev_why(&guest->ring) != NULL;
	}
	print_message("%u rings: %u chains served, %u rings broken\n", round, served, broken);
	assert_true(served > 1000);
	assert_true(broken > 1000);
}

/* Sound rings with one bit flipped. */
static void
one_bit_wrong(void **state)
{
	struct guest *guest = *state;
	unsigned int seed = 3, round, broken = 0;
	uint16_t i;

	for (round = 0; round < ROUNDS; round++) {
		uint32_t areas[][2] = {{GUEST_DESC_AT, 8 * 16}, {GUEST_AVAIL_AT, 4 + 8 * 2}, {GUEST_BUFFERS_AT, 64}};
		uint32_t area = (uint32_t)rand_r(&seed) % 3, bit;

		guest_start(guest, 8, (uint16_t)round, F_INDIRECT_DESC | F_EVENT_IDX);
		for (i = 0; i < 8; i++)
			guest_desc(guest, i, GUEST_BUFFERS + 0x1000u * i, 64, i % 2 == 0 ? NEXT : WRITE,
				   (uint16_t)(i + 1));
		guest_desc(guest, 7, GUEST_BUFFERS, 64, INDIRECT, 0);
		for (i = 0; i < 4; i++)
			guest_desc_at(guest, GUEST_BUFFERS_AT, i, GUEST_BUFFERS + 0x800, 32, i < 3 ? NEXT : 0,
				      (uint16_t)(i + 1));
		for (i = 0; i < 8; i += 2)
			guest_offer(guest, i);
		bit = (uint32_t)rand_r(&seed) % (areas[area][1] * 8);
		guest->memory[areas[area][0] + bit / 8] ^= (uint8_t)(1u << bit % 8);
		serve(guest, &seed);
		broken += rp_vring_dev_why(&guest->ring) != NULL;
	}
	print_message("%u of %u rings broken\n", broken, round);
	assert_true(broken > 100);
	assert_true(broken < round - 100);
}

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
		static const uint32_t areas[] = {GUEST_DESC_AT, GUEST_AVAIL_AT, GUEST_AVAIL_AT, GUEST_BUFFERS_AT};
		volatile uint8_t *at = scribbler->memory + areas[rand_r(&seed) % 4] + rand_r(&seed) % 64;

		*at = (uint8_t)(rand_r(&seed) % 5);
	}
	return NULL;
}

/* Another processor rewrites descriptors, entries, indices and tables while they are being read. */
static void
memory_that_changes_while_it_is_read(void **state)
{
	struct guest *guest = *state;
	struct scribbler scribbler = {0};
	uint64_t deadline_ms = rp_wire_clock_ms() + SCRIBBLE_MS;
	unsigned int seed = 5, served = 0, rings = 0;
	pthread_t thread;
	uint16_t i;

	/* A mapping of its own, as another processor of a guest has: its stores are no data race of ours. */
	scribbler.memory = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, guest->fd, 0);
	assert_ptr_not_equal(scribbler.memory, MAP_FAILED);
	assert_int_equal(pthread_create(&thread, NULL, scribble, &scribbler), 0);
	while (rp_wire_clock_ms() < deadline_ms) {
		guest_start(guest, 4, 0, F_INDIRECT_DESC);
		for (i = 0; i < 4; i++) {
			guest_desc(guest, i, GUEST_BUFFERS, 64, (uint16_t)(i == 3 ? INDIRECT : NEXT),
				   (uint16_t)(i + 1));
			guest_desc_at(guest, GUEST_BUFFERS_AT, i, GUEST_BUFFERS, 8, i < 3 ? NEXT : WRITE,
				      (uint16_t)(i + 1));
			guest_offer(guest, i);
		}
		served += serve(guest, &seed);
		rings++;
	}
	atomic_store(&scribbler.stop, true);
	pthread_join(thread, NULL);
	munmap(scribbler.memory, GUEST_BYTES);
	print_message("%u rings, %u chains served\n", rings, served);
	assert_true(served > 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(noise),
		WITH_GUEST(plausible_nonsense),
		WITH_GUEST(one_bit_wrong),
		WITH_GUEST(memory_that_changes_while_it_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
