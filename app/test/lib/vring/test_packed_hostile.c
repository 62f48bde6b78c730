/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "guest_packed.h"
#include "hostile.h"
#include "rp_wire_clock.h"

#define ROUNDS 20000u
#define SCRIBBLE_MS 1500u
#define OUT_MAX 8u

/* What the device has taken and not given back. */
struct out {
	uint16_t ids[OUT_MAX];
	unsigned int count;
};

static void
give_one(struct guest *guest, struct out *out, unsigned int *seed)
{
	unsigned int pick = guest->ring.in_order ? 0 : (unsigned int)rand_r(seed) % out->count;

	if (rp_vring_dev_why(&guest->ring) != NULL)
		return;
	/* Whatever the guest does meanwhile, an id that was handed out can be given back. */
	assert_int_equal(rp_vring_dev_push(&guest->ring, out->ids[pick], (uint32_t)rand_r(seed)), 0);
	out->count--;
	memmove(&out->ids[pick], &out->ids[pick + 1], (out->count - pick) * sizeof(out->ids[0]));
}

static void
assert_ring_is_sane(const struct guest *guest, const struct out *out)
{
	const struct rp_vring_dev *ring = &guest->ring;
	unsigned int i, other;

	assert_true(ring->next_avail < ring->layout.num && ring->next_used < ring->layout.num);
	assert_int_equal(ring->out_count, out->count);
	assert_true(ring->out_size + ring->peeked_size <= ring->layout.num);
	for (i = 0; i < out->count; i++) {
		for (other = 0; other < i; other++)
			assert_int_not_equal(out->ids[i], out->ids[other]);
	}
}

/* Serve until the ring is empty or broken, out of order. Returns how many chains there were. */
static unsigned int
serve(struct guest *guest, unsigned int *seed)
{
	unsigned int served = 0;
	struct out out = {.count = 0};
	int rc = 1;

	while (rc == 1 && served < 100) {
		assert_true(rp_vring_dev_available(&guest->ring) <= guest->layout.num);
		if (rand_r(seed) % 3 == 0)
			rp_vring_dev_peek(&guest->ring, (uint16_t)(rand_r(seed) % 4), &guest->chain);
		rc = rp_vring_dev_pop(&guest->ring, &guest->chain);
		if (rc == 1) {
			hostile_assert_sane(guest);
			out.ids[out.count++] = guest->chain.head;
			served++;
		}
		assert_ring_is_sane(guest, &out);
		if (out.count == OUT_MAX || (out.count > 0 && (rc != 1 || rand_r(seed) % 2 == 0)))
			give_one(guest, &out, seed);
		assert_true(rp_vring_dev_needs_interrupt(&guest->ring) >= -EBADMSG);
		rp_vring_dev_set_notify(&guest->ring, rand_r(seed) % 2);
	}
	assert_true(rc == 0 || rc == 1 || rc == -EBADMSG);
	assert_int_equal(rc == -EBADMSG, rp_vring_dev_why(&guest->ring) != NULL);
	return served;
}

static uint64_t
random_features(unsigned int *seed)
{
	return hostile_bits(seed) & (F_EVENT_IDX | F_IN_ORDER | F_INDIRECT_DESC);
}

/* Pure noise over the whole ring. */
static void
noise(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;
	unsigned int seed = 1, round, served = 0;
	size_t i;

	for (round = 0; round < ROUNDS / 4; round++) {
		uint16_t num = (uint16_t)(1 + rand_r(&seed) % 200);

		packed_start(&driver, guest, num, (uint16_t)(rand_r(&seed) % num), round % 2, random_features(&seed));
		for (i = 0; i < 16u * num; i++)
			guest->memory[GUEST_DESC_AT + i] = (uint8_t)rand_r(&seed);
		guest_put32(guest, GUEST_AVAIL_AT, (uint32_t)hostile_bits(&seed));
		served += serve(guest, &seed);
	}
	print_message("%u chains served\n", served);
}

/* Noise in the shape of a ring: it gets much further. */
static void
plausible_nonsense(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;
	unsigned int seed = 2, round, served = 0, broken = 0;
	uint32_t i;

	for (round = 0; round < ROUNDS; round++) {
		uint16_t num = (uint16_t)(1 + rand_r(&seed) % 60);

		packed_start(&driver, guest, num, (uint16_t)(rand_r(&seed) % num), round % 2,
			     random_features(&seed) | (rand_r(&seed) % 4 ? F_INDIRECT_DESC : 0));
		for (i = 0; i < 64; i++)
			packed_desc_at(guest, GUEST_BUFFERS_AT + (uint32_t)rand_r(&seed) % 0x10000 * 16, 0,
				       hostile_address(&seed), hostile_length(&seed), 0, (uint16_t)rand_r(&seed));
		for (i = 0; i < num; i++) {
			uint16_t flags = (uint16_t)(rand_r(&seed) % 4);

			if (rand_r(&seed) % 6 == 0)
				flags = INDIRECT;
			if (rand_r(&seed) % 32 == 0)
				flags = (uint16_t)hostile_bits(&seed);
			packed_offer(&driver, hostile_address(&seed), hostile_length(&seed),
				     (uint16_t)(rand_r(&seed) % (num + (round % 8 == 0))), flags);
		}
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
	struct packed_guest driver;
	struct guest *guest = *state;
	unsigned int seed = 3, round, broken = 0;
	uint16_t i;

	for (round = 0; round < ROUNDS; round++) {
		uint32_t areas[][2] = {{GUEST_DESC_AT, 7 * 16}, {GUEST_AVAIL_AT, 4}, {GUEST_BUFFERS_AT, 64}};
		uint32_t area = (uint32_t)rand_r(&seed) % 3, bit;

		packed_start(&driver, guest, 7, (uint16_t)(round % 7), round % 2, F_INDIRECT_DESC | F_EVENT_IDX);
		for (i = 0; i < 6; i++)
			packed_offer(&driver, GUEST_BUFFERS + 0x1000u * i, 64, i, i % 2 == 0 ? NEXT : WRITE);
		packed_offer(&driver, GUEST_BUFFERS, 64, 6, INDIRECT);
		for (i = 0; i < 4; i++)
			packed_desc_at(guest, GUEST_BUFFERS_AT, i, GUEST_BUFFERS + 0x800, 32, 0, i < 3 ? 0 : WRITE);
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
	/* Flags of both laps, ids, lengths, addresses, a table, the wish for interrupts. */
	static const uint32_t at[] = {14,
				      15,
				      30,
				      31,
				      47,
				      63,
				      12,
				      28,
				      8,
				      24,
				      0,
				      17,
				      GUEST_AVAIL_AT,
				      GUEST_AVAIL_AT + 2,
				      GUEST_BUFFERS_AT,
				      GUEST_BUFFERS_AT + 8,
				      GUEST_BUFFERS_AT + 30};
	static const uint8_t values[] = {0, 1, 2, 3, 4, 0x80, 0x81, 0x82, 0xff};
	struct scribbler *scribbler = ctx;
	unsigned int seed = 4;

	while (!atomic_load_explicit(&scribbler->stop, memory_order_relaxed)) {
		volatile uint8_t *byte = scribbler->memory + at[(size_t)rand_r(&seed) % sizeof(at) / sizeof(at[0])];

		*byte = values[(size_t)rand_r(&seed) % sizeof(values)];
	}
	return NULL;
}

/* Another processor rewrites descriptors, wrap bits, ids and tables while they are being read. */
static void
memory_that_changes_while_it_is_read(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;
	struct scribbler scribbler = {0};
	uint64_t deadline_ms = rp_wire_clock_ms() + SCRIBBLE_MS;
	unsigned int seed = 5, served = 0, rings = 0, broken = 0;
	pthread_t thread;
	uint16_t i;

	/* A mapping of its own, as another processor of a guest has: its stores are no data race of ours. */
	scribbler.memory = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, guest->fd, 0);
	assert_ptr_not_equal(scribbler.memory, MAP_FAILED);
	assert_int_equal(pthread_create(&thread, NULL, scribble, &scribbler), 0);
	while (rp_wire_clock_ms() < deadline_ms) {
		packed_start(&driver, guest, 4, 0, true, F_INDIRECT_DESC | (rings % 2 ? F_EVENT_IDX | F_IN_ORDER : 0));
		for (i = 0; i < 4; i++) {
			packed_desc_at(guest, GUEST_BUFFERS_AT, i, GUEST_BUFFERS, 8, 0, i < 3 ? 0 : WRITE);
			packed_offer(&driver, GUEST_BUFFERS, 64, i, (uint16_t)(i == 3 ? INDIRECT : i == 1 ? NEXT : 0));
		}
		served += serve(guest, &seed);
		rings++;
		broken += rp_vring_dev_why(&guest->ring) != NULL;
	}
	atomic_store(&scribbler.stop, true);
	pthread_join(thread, NULL);
	munmap(scribbler.memory, GUEST_BYTES);
	print_message("%u rings, %u chains served, %u rings broken\n", rings, served, broken);
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
