/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "hostile.h"
#include "rp_vring_drv.h"
#include "rp_wire_clock.h"
#include "shadow_rig.h"

/*
 * Guests and devices that write anything. Whatever a guest does, the device is handed a
 * sound ring; whatever a device does, the guest gets back only what it gave, and nothing of
 * it is lost.
 */

#define NUM 8u
#define ROUNDS 20000u
#define SCRIBBLE_MS 1500u
#define UNMAPPED UINT64_C(0xfedcba9876543000)

static struct rig rig;
static struct packed_guest driver;

static void
start_split(struct guest *guest, uint16_t index, uint64_t features)
{
	guest_start(guest, NUM, index, features);
	rig_open(&rig, guest, index);
}

static void
offer(struct guest *guest, uint16_t head)
{
	guest_desc(guest, head, UNMAPPED + head, 64, WRITE, 0);
	guest_offer(guest, head);
}

/* It stays so, nothing more goes to the device, and what it did before is the guest's. */
static void
assert_device_is_out(struct guest *guest, int returned)
{
	bool flag;

	assert_int_equal(rp_vring_shadow_return(rig.shadow, &flag), -EPROTO);
	assert_int_equal(flag, returned > 0);
	assert_int_equal(guest_used_index(guest), returned);
	assert_non_null(rp_vring_shadow_why(rig.shadow));
	assert_int_equal(rp_vring_shadow_return(rig.shadow, &flag), -EPROTO);
	assert_false(flag);
	offer(guest, 5);
	assert_int_equal(rp_vring_shadow_forward(rig.shadow, &flag), 0);
	assert_false(flag);
	assert_int_equal(rp_vring_shadow_returned(rig.shadow), returned);
}

static void
a_device_that_lies(void **state)
{
	struct guest *guest = *state;
	uint8_t *used;
	bool flag;

	/* A chain that is not out, after a good one. */
	start_split(guest, 0, 0);
	used = rig.memory + (rig.layout.used_iova - RIG_IOVA);
	offer(guest, 3);
	rig_forward(&rig, 1, true);
	rig_pop(&rig);
	rig_use(&rig, rig.chain.head, 1);
	used[2] = 2;
	used[4 + 8] = NUM - 1;
	offer(guest, 4);
	rig_forward(&rig, 1, true);
	assert_device_is_out(guest, 1);
	/* Nor is it believed when it says something else. */
	used[4 + 8] = 1;
	assert_int_equal(rp_vring_shadow_return(rig.shadow, &flag), -EPROTO);
	assert_int_equal(guest_used_index(guest), 1);
	rig_close(&rig);

	/* More bytes than the chain takes. */
	start_split(guest, 0, 0);
	offer(guest, 0);
	rig_forward(&rig, 1, true);
	rig_pop(&rig);
	rig_use(&rig, rig.chain.head, 65);
	assert_device_is_out(guest, 0);
	rig_close(&rig);

	/* An index beyond what is out. */
	start_split(guest, 0, 0);
	used = rig.memory + (rig.layout.used_iova - RIG_IOVA);
	offer(guest, 0);
	rig_forward(&rig, 1, true);
	used[2] = 2;
	assert_device_is_out(guest, 0);
	rig_close(&rig);
}

static void
a_packed_device_that_lies(void **state)
{
	struct guest *guest = *state;
	bool flag;

	packed_start(&driver, guest, NUM, 0, true, 0);
	rig_open(&rig, guest, 0x80008000);
	packed_offer(&driver, UNMAPPED, 64, 0, WRITE);
	rig_forward(&rig, 1, true);
	rig.memory[12] = NUM;
	rig.memory[14] = AVAIL;
	rig.memory[15] = USED >> 8;
	assert_int_equal(rp_vring_shadow_return(rig.shadow, &flag), -EPROTO);
	assert_false(flag);
	rig_close(&rig);
}

/* The device takes what there is and uses some of it, at random. It must find a sound ring. */
static unsigned int
serve_some(unsigned int *seed)
{
	unsigned int served = 0;

	while (rand_r(seed) % 8 != 0 && rp_vring_dev_pop(&rig.device, &rig.chain) == 1) {
		assert_true(rig.chain.out_count + rig.chain.in_count <= RP_VRING_SEGMENTS_MAX);
		if (!rig.device.in_order && rand_r(seed) % 8 == 0)
			continue;
		rig_use(&rig, rig.chain.head, rig.chain.in_bytes);
		served++;
	}
	assert_null(rp_vring_dev_why(&rig.device));
	return served;
}

/* Go there and back some times, and end in one of the ways there are. */
static unsigned int
serve_guest(unsigned int *seed, int *ret_broken)
{
	unsigned int turn, served = 0, redone;
	uint32_t position;
	bool flag;
	int rc = 0;

	for (turn = 0; turn < 3 && rc >= 0; turn++) {
		rp_vring_shadow_set_notify(rig.shadow, rand_r(seed) % 2);
		rc = rp_vring_shadow_forward(rig.shadow, &flag);
		assert_true(rc >= -EBADMSG && (rc >= 0 || rc == -EBADMSG));
		assert_true(rp_vring_shadow_out(rig.shadow) <= rig.layout.num);
		served += serve_some(seed);
		rc = rp_vring_shadow_return(rig.shadow, &flag);
		assert_true(rc >= 0 || rc == -EBADMSG);
		assert_int_equal(rc == -EBADMSG, rp_vring_shadow_why(rig.shadow) != NULL && rc < 0);
		if (rc >= 0 && rand_r(seed) % 4 == 0)
			rig_rebase(&rig);
		rig.reports_count = 0;
	}
	rp_vring_shadow_set_log(rig.shadow, NULL, NULL);
	rc = rp_vring_shadow_drain(rig.shadow, &position, &redone, &flag);
	assert_true(rc == 0 || rc == -EBADMSG);
	if (rc == 0)
		assert_int_equal(rp_vring_position_check(rig.layout.features, rig.layout.num, position, NULL), 0);
	*ret_broken += rc != 0;
	return served;
}

static uint64_t
random_features(unsigned int *seed)
{
	return hostile_bits(seed) & (F_EVENT_IDX | F_IN_ORDER | F_INDIRECT_DESC);
}

static void
random_tables(struct guest *guest, unsigned int *seed)
{
	unsigned int i;

	for (i = 0; i < 64; i++)
		guest_desc_at(guest, GUEST_BUFFERS_AT + (uint32_t)rand_r(seed) % 0x10000 * 16, 0, hostile_address(seed),
			      hostile_length(seed), (uint16_t)(rand_r(seed) % 4), (uint16_t)(rand_r(seed) % 8));
}

static void
split_guests_that_write_nonsense(void **state)
{
	struct guest *guest = *state;
	unsigned int seed = 11, round, served = 0;
	int broken = 0;
	uint16_t i;

	for (round = 0; round < ROUNDS; round++) {
		start_split(guest, (uint16_t)hostile_bits(&seed), random_features(&seed));
		random_tables(guest, &seed);
		for (i = 0; i < NUM; i++)
			guest_desc(guest, i, hostile_address(&seed), hostile_length(&seed),
				   (uint16_t)(rand_r(&seed) % 5), (uint16_t)(rand_r(&seed) % (NUM + 1)));
		for (i = (uint16_t)(rand_r(&seed) % (NUM + 1)); i > 0; i--)
			guest_offer(guest, (uint16_t)(rand_r(&seed) % (NUM + (round % 8 == 0))));
		served += serve_guest(&seed, &broken);
		rig_close(&rig);
	}
	print_message("%u rings: %u chains served, %d rings broken\n", round, served, broken);
	assert_true(served > 1000 && broken > 1000 && broken < (int)round - 1000);
}

static void
packed_guests_that_write_nonsense(void **state)
{
	struct guest *guest = *state;
	unsigned int seed = 12, round, served = 0;
	int broken = 0;
	uint32_t i, half;

	for (round = 0; round < ROUNDS; round++) {
		uint16_t num = (uint16_t)(1 + rand_r(&seed) % 20), at = (uint16_t)(rand_r(&seed) % num);

		packed_start(&driver, guest, num, at, round % 2, random_features(&seed));
		half = at | (round % 2) << 15;
		rig_open(&rig, guest, half << 16 | half);
		random_tables(guest, &seed);
		for (i = 0; i < num; i++)
			packed_offer(&driver, hostile_address(&seed), hostile_length(&seed),
				     (uint16_t)(rand_r(&seed) % (num + (round % 8 == 0))),
				     (uint16_t)(hostile_bits(&seed) % (rand_r(&seed) % 8 ? 3 : 65536)));
		served += serve_guest(&seed, &broken);
		rig_close(&rig);
	}
	print_message("%u rings: %u chains served, %d rings broken\n", round, served, broken);
	assert_true(served > 1000 && broken > 1000 && broken < (int)round - 1000);
}

/* A sound guest, of which `count` chains are out; each has a cookie of its own. */
struct sound {
	struct rp_vring_drv *drv;
	bool back[NUM];
	unsigned int back_count;
};

static void
sound_open(struct sound *sound, struct guest *guest, uint64_t features)
{
	struct rp_vring_part parts[2] = {{.size_bytes = 16}, {.size_bytes = 24, .device_writes = true}};
	unsigned int i;

	*sound = (struct sound){0};
	assert_int_equal(rp_vring_drv_create(NUM, guest_hva(guest, GUEST_IOVA), GUEST_IOVA, features, &sound->drv), 0);
	rp_vring_drv_layout(sound->drv, &guest->layout);
	guest->layout.notes = guest->notes;
	for (i = 0; i < NUM / 2; i++) {
		parts[0].iova = GUEST_BUFFERS + i * 64;
		parts[1].iova = GUEST_BUFFERS + i * 64 + 32;
		assert_int_equal(rp_vring_drv_add(sound->drv, parts, 2, &sound->back[i]), 0);
	}
	rig_open(&rig, guest, rp_vring_position_fresh(features));
	rig_forward(&rig, NUM / 2, true);
}

static void
sound_get(struct sound *sound)
{
	uint32_t written_bytes;
	void *cookie;
	int rc;

	while ((rc = rp_vring_drv_get(sound->drv, &cookie, &written_bytes)) == 1) {
		bool *back = cookie;

		assert_true(back >= sound->back && back < sound->back + NUM);
		assert_false(*back);
		*back = true;
		sound->back_count++;
	}
	assert_int_equal(rc, 0);
}

/* An owner without a shadow does what is left. */
static void
sound_finish(struct sound *sound, struct guest *guest, uint32_t position)
{
	assert_int_equal(rp_vring_dev_init(&guest->ring, &guest->layout, position, guest->reader, NULL), 0);
	while (rp_vring_dev_pop(&guest->ring, &guest->chain) == 1) {
		assert_int_equal(guest->chain.out_bytes, 16);
		assert_int_equal(guest->chain.in_bytes, 24);
		assert_int_equal(rp_vring_dev_push(&guest->ring, guest->chain.head, 24), 0);
	}
	assert_null(rp_vring_dev_why(&guest->ring));
	sound_get(sound);
	assert_int_equal(sound->back_count, NUM / 2);
	assert_int_equal(rp_vring_drv_free_count(sound->drv), NUM);
	rp_vring_drv_destroy(sound->drv);
}

/* Bytes anywhere in the private ring, more often where a device should write. */
static void
scribble_ring(unsigned int *seed)
{
	bool packed = (rig.layout.features & F_RING_PACKED) != 0;
	size_t used_at = rig.layout.used_iova - rig.layout.desc_iova, i;
	static const uint8_t values[] = {0, 1, 2, 3, 4, 5, 8, 16, 24, 25, 0x80, 0x82, 0xff};

	for (i = 0; i < 6; i++) {
		size_t at = packed ? (size_t)rand_r(seed) % (NUM * 16) : used_at + (size_t)rand_r(seed) % 40;

		if (rand_r(seed) % 8 == 0)
			at = (size_t)rand_r(seed) % rig.memory_bytes;
		rig.memory[at] = values[(size_t)rand_r(seed) % sizeof(values)];
	}
}

/* Offsets of a packed used descriptor or a split used entry that are right but for what chance changes. */
static void
use_something(unsigned int *seed)
{
	bool flag;

	if (rand_r(seed) % 2 == 0 && rp_vring_dev_pop(&rig.device, &rig.chain) == 1)
		rp_vring_dev_push(&rig.device, rig.chain.head, (uint32_t)rand_r(seed) % 26);
	if (rand_r(seed) % 2 == 0)
		scribble_ring(seed);
	rp_vring_dev_needs_interrupt(&rig.device);
	rp_vring_shadow_return(rig.shadow, &flag);
}

static void
devices_that_write_nonsense(void **state)
{
	struct guest *guest = *state;
	unsigned int seed = 13, round, turn, redone, lies = 0, all_redone = 0;
	uint32_t position;
	bool flag;

	for (round = 0; round < ROUNDS; round++) {
		struct sound sound;

		sound_open(&sound, guest, random_features(&seed) | (round % 2 ? F_RING_PACKED : 0));
		for (turn = 0; turn < 6; turn++) {
			use_something(&seed);
			sound_get(&sound);
			assert_int_equal(rp_vring_shadow_out(rig.shadow) + sound.back_count, NUM / 2);
			if (rp_vring_shadow_why(rig.shadow) != NULL && rand_r(&seed) % 4 == 0)
				rig_rebase(&rig);
			rig.reports_count = 0;
		}
		lies += rp_vring_shadow_why(rig.shadow) != NULL;
		assert_int_equal(rp_vring_shadow_drain(rig.shadow, &position, &redone, &flag), 0);
		all_redone += redone;
		assert_int_equal(rp_vring_shadow_lost(rig.shadow), 0);
		rig_close(&rig);
		sound_finish(&sound, guest, position);
	}
	print_message("%u devices, %u found out; %u chains done again\n", round, lies, all_redone);
	assert_true(lies > 1000 && lies < round - 1000);
}

struct scribbler {
	uint8_t *memory;
	atomic_bool stop;
};

static void *
scribble(void *ctx)
{
	static const uint32_t at[] = {0,
				      8,
				      9,
				      12,
				      14,
				      15,
				      24,
				      28,
				      30,
				      31,
				      47,
				      63,
				      GUEST_AVAIL_AT + 2,
				      GUEST_AVAIL_AT + 4,
				      GUEST_AVAIL_AT + 6,
				      GUEST_BUFFERS_AT,
				      GUEST_BUFFERS_AT + 8,
				      GUEST_BUFFERS_AT + 12,
				      GUEST_BUFFERS_AT + 30};
	static const uint8_t values[] = {0, 1, 2, 3, 4, 0x80, 0x81, 0x82, 0xff};
	struct scribbler *scribbler = ctx;
	unsigned int seed = 14;

	while (!atomic_load_explicit(&scribbler->stop, memory_order_relaxed)) {
		volatile uint8_t *byte = scribbler->memory + at[(size_t)rand_r(&seed) % (sizeof(at) / sizeof(at[0]))];

		*byte = values[(size_t)rand_r(&seed) % sizeof(values)];
	}
	return NULL;
}

/* Another processor rewrites rings and tables while they are being read. */
static void
memory_that_changes_while_it_is_read(void **state)
{
	struct guest *guest = *state;
	struct scribbler scribbler = {0};
	uint64_t deadline_ms = rp_wire_clock_ms() + SCRIBBLE_MS;
	unsigned int seed = 15, served = 0, rings = 0;
	pthread_t thread;
	int broken = 0;
	uint16_t i;

	/* A mapping of its own, as another processor of a guest has: its stores are no data race of ours. */
	scribbler.memory = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, guest->fd, 0);
	assert_ptr_not_equal(scribbler.memory, MAP_FAILED);
	assert_int_equal(pthread_create(&thread, NULL, scribble, &scribbler), 0);
	while (rp_wire_clock_ms() < deadline_ms || rings < 100) {
		for (i = 0; i < 2; i++)
			guest_desc_at(guest, GUEST_BUFFERS_AT, i, GUEST_BUFFERS, 8, WRITE, 0);
		if (rings++ % 2 == 0) {
			start_split(guest, 0, F_INDIRECT_DESC | F_EVENT_IDX);
			for (i = 0; i < 3; i++)
				offer(guest, i);
			guest_desc(guest, 3, GUEST_BUFFERS, 32, INDIRECT, 0);
			guest_offer(guest, 3);
		} else {
			packed_start(&driver, guest, NUM, 0, true, F_INDIRECT_DESC);
			rig_open(&rig, guest, 0x80008000);
			for (i = 0; i < 4; i++)
				packed_offer(&driver, GUEST_BUFFERS, 32, i,
					     (uint16_t)(i == 3 ? INDIRECT :
							i == 1 ? NEXT :
								 0));
		}
		served += serve_guest(&seed, &broken);
		rig_close(&rig);
	}
	atomic_store(&scribbler.stop, true);
	pthread_join(thread, NULL);
	munmap(scribbler.memory, GUEST_BYTES);
	print_message("%u rings, %u chains served, %d rings broken\n", rings, served, broken);
	assert_true(served > 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(a_device_that_lies),
		WITH_GUEST(a_packed_device_that_lies),
		WITH_GUEST(split_guests_that_write_nonsense),
		WITH_GUEST(packed_guests_that_write_nonsense),
		WITH_GUEST(devices_that_write_nonsense),
		WITH_GUEST(memory_that_changes_while_it_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
