/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev.h"
#include "guest_packed.h"
#include "hostile.h"
#include "rp_vring_burst.h"

/*
 * Two devices have one ring: one takes and gives by bursts, the other chain by chain. Whatever
 * the guest wrote, they find the same, refuse the same, write the same bytes, and stand in
 * the same place.
 */

#define ROUNDS 6000u
#define STEPS 24u
#define NUM_MAX 64u
#define RING_BYTES (16u * NUM_MAX)
/* Behind the guest's memory it goes on elsewhere, and then there is some that is for reading only. */
#define BEHIND ((uint64_t)GUEST_IOVA + GUEST_BYTES)
#define BEHIND_BYTES 0x10000u
#define READ_ONLY (BEHIND + BEHIND_BYTES)

struct twins {
	struct guest *guest; /* its ring is the one of bursts */
	struct packed_guest driver;
	bool packed;
	unsigned int seed;
	struct rp_vring_dev slow;
	struct rp_vring_note slow_notes[NUM_MAX];
	struct rp_vring_chain chain;
	uint16_t outs[NUM_MAX];
	uint16_t outs_count;
	uint16_t parts_of[NUM_MAX + 2]; /* by head or id: descriptors of the guest's that are not free */
	uint16_t next_of[NUM_MAX]; /* split: the chain of such a descriptor */
	unsigned int table_in; /* where they may be: one table in so many chains */
	bool ids_in_turn; /* packed */
	uint16_t next_id;
	bool busy[NUM_MAX]; /* split: a descriptor is not free */
	uint16_t busy_count;
	uint64_t chains_count, broken_count, published_count;
	uint8_t before[3][RING_BYTES], after[3][RING_BYTES];
};

static const uint32_t parts_at[3] = {GUEST_DESC_AT, GUEST_AVAIL_AT, GUEST_USED_AT};

static unsigned int
dice(struct twins *twins, unsigned int sides)
{
	return (unsigned int)rand_r(&twins->seed) % sides;
}

static void
save(const struct twins *twins, uint8_t parts[3][RING_BYTES])
{
	int i;

	for (i = 0; i < 3; i++)
		memcpy(parts[i], twins->guest->memory + parts_at[i], RING_BYTES);
}

static void
restore(const struct twins *twins, uint8_t parts[3][RING_BYTES])
{
	int i;

	for (i = 0; i < 3; i++)
		memcpy(twins->guest->memory + parts_at[i], parts[i], RING_BYTES);
}

/* What is noted of a chain is compared, and of places in the order of use what will be looked at. */
static void
assert_same_notes(const struct rp_vring_note *fast, const struct rp_vring_dev *slow)
{
	const struct rp_vring_note *notes = slow->layout.notes;
	uint16_t num = slow->layout.num, i;

	for (i = 0; i < num; i++) {
		assert_int_equal(fast[i].skip, notes[i].skip);
		assert_int_equal(fast[i].taken, notes[i].taken);
		assert_int_equal(fast[i].filled_id, notes[i].filled_id);
		if (notes[i].filled_id != UINT16_MAX)
			assert_int_equal(fast[i].filled_bytes, notes[i].filled_bytes);
	}
	for (i = 0; i < slow->peeked_count; i++)
		assert_int_equal(fast[(slow->take_place + i) % num].order_id,
				 notes[(slow->take_place + i) % num].order_id);
}

/* As if each of them had kept notes of what is out and what is filled. */
static void
check_notes(const struct twins *twins)
{
	struct rp_vring_note fast_notes[NUM_MAX], slow_notes[NUM_MAX];
	struct rp_vring_dev fast = twins->guest->ring, slow = twins->slow;

	if (!rp_vring_dev_needs_notes(slow.layout.features))
		return;
	memcpy(fast_notes, twins->guest->notes, sizeof(fast_notes));
	memcpy(slow_notes, twins->slow_notes, sizeof(slow_notes));
	fast.layout.notes = fast_notes;
	slow.layout.notes = slow_notes;
	if (twins->packed) {
		rp_vring_packed_shuffle(&fast);
		rp_vring_packed_shuffle(&slow);
	}
	assert_same_notes(fast_notes, &slow);
}

static void
assert_same_state(const struct twins *twins)
{
	const struct rp_vring_dev *fast = &twins->guest->ring, *slow = &twins->slow;
	const char *fast_why = rp_vring_dev_why(fast), *slow_why = rp_vring_dev_why(slow);
	uint64_t fast_iova = 0, slow_iova = 0;
	uint32_t fast_access = 0, slow_access = 0;

	if (fast_why == NULL || slow_why == NULL)
		assert_ptr_equal(fast_why, slow_why);
	else
		assert_string_equal(fast_why, slow_why);
	assert_int_equal(rp_vring_dev_position(fast), rp_vring_dev_position(slow));
	assert_int_equal(rp_vring_dev_position_used(fast), rp_vring_dev_position_used(slow));
	assert_int_equal(fast->peek_at, slow->peek_at);
	assert_int_equal(fast->peek_wrap, slow->peek_wrap);
	assert_int_equal(fast->peeked_count, slow->peeked_count);
	assert_int_equal(fast->peeked_size, slow->peeked_size);
	assert_int_equal(fast->out_count, slow->out_count);
	assert_int_equal(fast->out_size, slow->out_size);
	assert_int_equal(fast->take_place, slow->take_place);
	assert_int_equal(fast->give_place, slow->give_place);
	assert_int_equal(fast->unsignalled_count, slow->unsignalled_count);
	assert_int_equal(rp_vring_dev_missed(fast, &fast_iova, &fast_access),
			 rp_vring_dev_missed(slow, &slow_iova, &slow_access));
	assert_int_equal(fast_iova, slow_iova);
	check_notes(twins);
}

static void
assert_same_chain(const struct rp_vring_burst_chain *fast, const struct rp_vring_chain *slow)
{
	assert_int_equal(fast->head, slow->head);
	assert_int_equal(fast->out_count, slow->out_count);
	assert_int_equal(fast->in_count, slow->in_count);
	assert_int_equal(fast->out_bytes, slow->out_bytes);
	assert_int_equal(fast->in_bytes, slow->in_bytes);
	assert_memory_equal(fast->iov, slow->iov, ((size_t)fast->out_count + fast->in_count) * sizeof(fast->iov[0]));
}

/* What the other one finds where a burst ended; it is as it was afterwards. */
static int
slow_look(struct twins *twins, uint16_t ahead)
{
	struct rp_vring_note notes[NUM_MAX];
	struct rp_vring_dev ring = twins->slow;

	memcpy(notes, twins->slow_notes, sizeof(notes));
	ring.layout.notes = notes;
	return rp_vring_dev_peek(&ring, ahead, &twins->chain);
}

static bool
is_long(const struct rp_vring_chain *chain)
{
	return chain->out_count + chain->in_count > (int)RP_VRING_BURST_PIECES;
}

/* @return how many chains both looked at. */
static uint16_t
look(struct twins *twins, uint16_t ahead, struct rp_vring_burst_chain *chains, uint16_t max_count)
{
	int rc = rp_vring_dev_peek_burst(&twins->guest->ring, ahead, chains, max_count), slow_rc;
	uint16_t i;

	for (i = 0; i < rc; i++) {
		assert_int_equal(rp_vring_dev_peek(&twins->slow, (uint16_t)(ahead + i), &twins->chain), 1);
		assert_same_chain(&chains[i], &twins->chain);
	}
	assert_true(rc <= max_count);
	if (rc > 0 && rc < max_count) {
		/* No burst is shorter than it must be. */
		slow_rc = slow_look(twins, (uint16_t)(ahead + rc));
		assert_true(slow_rc <= 0 || is_long(&twins->chain));
		/* A long one was looked at, and is so by both. */
		if (slow_rc == 1)
			rp_vring_dev_peek(&twins->slow, (uint16_t)(ahead + rc), &twins->chain);
	} else if (rc <= 0) {
		slow_rc = rp_vring_dev_peek(&twins->slow, ahead, &twins->chain);
		assert_int_equal(slow_rc, rc == -EMSGSIZE ? 1 : rc);
		assert_int_equal(slow_rc == 1, rc == -EMSGSIZE);
		assert_int_equal(slow_rc == 1 && is_long(&twins->chain), rc == -EMSGSIZE);
	}
	return (uint16_t)(rc > 0 ? rc : 0);
}

static void
take(struct twins *twins, const uint16_t *heads, uint16_t count)
{
	uint16_t i;

	rp_vring_dev_advance(&twins->slow, count);
	for (i = 0; i < count && twins->outs_count < NUM_MAX; i++)
		twins->outs[twins->outs_count++] = heads[i];
	twins->chains_count += count;
}

static void
step_look(struct twins *twins)
{
	struct rp_vring_burst_chain chains[RP_VRING_BURST_MAX];
	uint16_t ahead = (uint16_t)(dice(twins, 3) == 0 ? dice(twins, 8) : 0), heads[RP_VRING_BURST_MAX], count, i;

	count = look(twins, ahead, chains, (uint16_t)(1 + dice(twins, RP_VRING_BURST_MAX)));
	if (ahead != 0)
		return;
	for (i = 0; i < count; i++)
		heads[i] = chains[i].head;
	count = (uint16_t)(dice(twins, 4) == 0 ? dice(twins, count + 1u) : count);
	rp_vring_dev_advance(&twins->guest->ring, count);
	take(twins, heads, count);
}

static void
step_pop(struct twins *twins)
{
	struct rp_vring_burst_chain chains[RP_VRING_BURST_MAX];
	uint16_t max_count = (uint16_t)(1 + dice(twins, RP_VRING_BURST_MAX)), heads[RP_VRING_BURST_MAX], i;
	int rc = rp_vring_dev_pop_burst(&twins->guest->ring, chains, max_count);

	for (i = 0; i < rc; i++) {
		assert_int_equal(rp_vring_dev_peek(&twins->slow, i, &twins->chain), 1);
		assert_same_chain(&chains[i], &twins->chain);
		heads[i] = chains[i].head;
	}
	if (rc > 0) {
		/* The one that ended the burst, if there was one, was looked at by both. */
		if (rc < max_count && slow_look(twins, (uint16_t)rc) == 1 && is_long(&twins->chain))
			rp_vring_dev_peek(&twins->slow, (uint16_t)rc, &twins->chain);
		take(twins, heads, (uint16_t)rc);
		return;
	}
	assert_int_equal(rp_vring_dev_pop(&twins->slow, &twins->chain), rc == -EMSGSIZE ? 1 : rc);
	if (rc != -EMSGSIZE)
		return;
	assert_int_equal(rp_vring_dev_pop(&twins->guest->ring, &twins->guest->chain), 1);
	twins->chains_count++;
	if (twins->outs_count < NUM_MAX)
		twins->outs[twins->outs_count++] = twins->chain.head;
}

/* The guest has them back. */
static void
free_chain(struct twins *twins, uint16_t head)
{
	uint16_t at = head, parts;

	if (head >= twins->slow.layout.num)
		return;
	for (parts = twins->parts_of[head]; parts > 0; parts--) {
		if (!twins->packed) {
			twins->busy[at] = false;
			at = twins->next_of[at];
		}
		twins->busy_count--;
	}
	twins->parts_of[head] = 0;
}

/* What is out, in its order or in another; sometimes what is not. */
static uint16_t
choose(struct twins *twins, struct rp_vring_done *done)
{
	uint16_t count = (uint16_t)dice(twins, twins->outs_count + 1u), i;

	for (i = 0; i < count; i++) {
		uint16_t pick = (uint16_t)(dice(twins, 8) == 0 ? dice(twins, twins->outs_count) : 0);
		uint16_t head = twins->outs[pick];

		if (twins->slow.in_order && dice(twins, 16) != 0) {
			pick = 0;
			head = twins->outs[0];
		}
		memmove(&twins->outs[pick], &twins->outs[pick + 1],
			(twins->outs_count - pick - 1u) * sizeof(twins->outs[0]));
		twins->outs_count--;
		if (dice(twins, 200) == 0)
			head = (uint16_t)dice(twins, NUM_MAX + 1);
		done[i] = (struct rp_vring_done){.head = head,
						 .written_bytes = dice(twins, 3) == 0 ? 0 : dice(twins, 2000)};
	}
	return count;
}

/* Each starts from the same bytes, and must leave the same. */
static void
step_give(struct twins *twins)
{
	struct rp_vring_done done[NUM_MAX];
	uint16_t count = choose(twins, done), ahead = (uint16_t)(dice(twins, 16) == 0 ? dice(twins, NUM_MAX) : 0), i;
	int slow_rc = 0, fast_rc;

	if (count == 0)
		return;
	/* A burst that does not fit is refused before it begins. */
	if ((uint32_t)ahead + count > twins->slow.layout.num) {
		assert_true(rp_vring_dev_fill_burst(&twins->guest->ring, ahead, done, count) < 0);
		return;
	}
	save(twins, twins->before);
	for (i = 0; slow_rc == 0 && i < count; i++)
		slow_rc = rp_vring_dev_fill(&twins->slow, (uint16_t)(ahead + i), done[i].head, done[i].written_bytes);
	if (slow_rc == 0 && ahead == 0)
		slow_rc = rp_vring_dev_publish(&twins->slow, count);
	save(twins, twins->after);
	restore(twins, twins->before);
	fast_rc = rp_vring_dev_fill_burst(&twins->guest->ring, ahead, done, count);
	if (fast_rc == 0 && ahead == 0)
		fast_rc = rp_vring_dev_publish(&twins->guest->ring, count);
	assert_int_equal(fast_rc, slow_rc);
	save(twins, twins->before);
	assert_memory_equal(twins->before, twins->after, sizeof(twins->after));
	if (fast_rc != 0 || ahead != 0)
		return;
	twins->published_count += count;
	for (i = 0; i < count; i++)
		free_chain(twins, done[i].head);
}

static void
step_ask(struct twins *twins)
{
	bool wanted = dice(twins, 2) == 0;

	assert_int_equal(rp_vring_dev_needs_interrupt(&twins->guest->ring), rp_vring_dev_needs_interrupt(&twins->slow));
	assert_int_equal(rp_vring_dev_set_notify(&twins->guest->ring, wanted),
			 rp_vring_dev_set_notify(&twins->slow, wanted));
	assert_int_equal(rp_vring_dev_mend(&twins->guest->ring), rp_vring_dev_mend(&twins->slow));
}

/* One wrong thing in so many. */
static uint64_t
address(struct twins *twins, unsigned int wrong_in, bool writable)
{
	if (dice(twins, wrong_in) == 0)
		return hostile_address(&twins->seed);
	switch (dice(twins, 20)) {
	case 0:
		return BEHIND - dice(twins, 100);
	case 1:
		return writable && dice(twins, 8) != 0 ? GUEST_BUFFERS : READ_ONLY + dice(twins, 1000);
	case 2:
		return BEHIND + dice(twins, 1000);
	default:
		return GUEST_BUFFERS + 64u * dice(twins, 1000);
	}
}

static uint32_t
length(struct twins *twins, unsigned int wrong_in, uint16_t flags)
{
	if ((flags & INDIRECT) != 0)
		return 16 * (1 + dice(twins, 6));
	return dice(twins, wrong_in) == 0 ? hostile_length(&twins->seed) : 1 + dice(twins, 1600);
}

static uint16_t
free_desc(struct twins *twins)
{
	uint16_t num = twins->slow.layout.num, at = (uint16_t)dice(twins, num);

	while (twins->busy[at])
		at = (uint16_t)((at + 1u) % num);
	twins->busy[at] = true;
	return at;
}

/* Descriptor number `i` of `parts`; mostly as it should be. */
static uint16_t
flags_of(struct twins *twins, uint16_t i, uint16_t parts, uint16_t writable_from, unsigned int wrong_in)
{
	bool table = (twins->slow.layout.features & F_INDIRECT_DESC) != 0 && dice(twins, twins->table_in) == 0;

	if (dice(twins, wrong_in) == 0)
		return (uint16_t)hostile_bits(&twins->seed) & (NEXT | WRITE | INDIRECT);
	if (table && i + 1 == parts && (parts == 1 || !twins->packed))
		return INDIRECT;
	return (uint16_t)((i >= writable_from ? WRITE : 0) | (i + 1 < parts ? NEXT : 0));
}

static void
offer_split(struct twins *twins, uint16_t parts, unsigned int wrong_in)
{
	uint16_t num = twins->slow.layout.num, head = free_desc(twins), at = head, i;
	uint16_t writable_from = (uint16_t)dice(twins, parts + 1u);

	twins->parts_of[head] = parts;
	for (i = 0; i < parts; i++) {
		uint16_t flags = flags_of(twins, i, parts, writable_from, wrong_in);
		uint16_t next = i + 1 < parts ? free_desc(twins) : (uint16_t)dice(twins, num + 2u);

		guest_desc(twins->guest, at, address(twins, wrong_in, (flags & WRITE) != 0),
			   length(twins, wrong_in, flags), flags,
			   dice(twins, wrong_in) == 0 ? (uint16_t)dice(twins, num + 1u) : next);
		twins->next_of[at] = next;
		at = next;
	}
	guest_offer(twins->guest, dice(twins, wrong_in) == 0 ? (uint16_t)dice(twins, num + 2u) : head);
}

static void
offer_packed(struct twins *twins, uint16_t parts, unsigned int wrong_in)
{
	uint16_t num = twins->slow.layout.num, id, i;
	uint16_t writable_from = (uint16_t)dice(twins, parts + 1u);

	/* Some drivers count their buffers, and whose turn it is was it a lap ago. */
	id = (uint16_t)(twins->ids_in_turn ? twins->next_id++ : dice(twins, num)) % num;
	while (twins->parts_of[id] != 0)
		id = (uint16_t)((id + 1u) % num);
	twins->parts_of[id] = parts;
	for (i = 0; i < parts; i++) {
		uint16_t flags = flags_of(twins, i, parts, writable_from, wrong_in);

		packed_offer(&twins->driver, address(twins, wrong_in, (flags & WRITE) != 0),
			     length(twins, wrong_in, flags),
			     dice(twins, wrong_in) == 0 ? (uint16_t)dice(twins, num + 2u) : id, flags);
	}
}

/* Tables lie where their addresses may lead. */
static void
write_tables(struct twins *twins)
{
	uint32_t i, entry;

	for (i = 0; i < 1000; i += 4)
		for (entry = 0; entry < 8; entry++) {
			uint16_t flags = (uint16_t)(entry < dice(twins, 5) ? NEXT : 0), next = (uint16_t)(entry + 1);

			/* Of a packed ring's most say what is to be written, mostly at the end. */
			if (twins->packed)
				packed_desc_at(twins->guest, GUEST_BUFFERS_AT + 64 * i, entry, address(twins, 50, true),
					       length(twins, 50, 0), next,
					       (uint16_t)(dice(twins, 4) <= entry ? WRITE | flags : flags));
			else
				guest_desc_at(twins->guest, GUEST_BUFFERS_AT + 64 * i, entry, address(twins, 50, true),
					      length(twins, 50, 0), flags, next);
		}
}

static void
step_offer(struct twins *twins, unsigned int wrong_in)
{
	unsigned int count = dice(twins, 40), i;
	uint16_t num = twins->guest->layout.num;

	for (i = 0; i < count; i++) {
		uint16_t parts = (uint16_t)(dice(twins, 4) == 0 ? 1 + dice(twins, 6) : 1);

		if ((uint32_t)twins->busy_count + parts > num)
			return;
		twins->busy_count = (uint16_t)(twins->busy_count + parts);
		if (twins->packed)
			offer_packed(twins, parts, wrong_in);
		else
			offer_split(twins, parts, wrong_in);
	}
	if (!twins->packed && dice(twins, wrong_in) == 0)
		guest_put16(twins->guest, GUEST_AVAIL_AT + 2, (uint16_t)hostile_bits(&twins->seed));
}

static void
start(struct twins *twins)
{
	uint64_t features = hostile_bits(&twins->seed) & (F_INDIRECT_DESC | F_EVENT_IDX);
	struct guest *guest = twins->guest;
	struct rp_vring_layout layout;
	uint32_t position;
	uint16_t num;

	if (dice(twins, 8) == 0)
		features |= F_IN_ORDER;
	twins->table_in = dice(twins, 3) == 0 ? 2 : 20;
	if (twins->packed) {
		num = (uint16_t)(1 + dice(twins, NUM_MAX));
		twins->ids_in_turn = dice(twins, 2) == 0;
		packed_start(&twins->driver, guest, num, (uint16_t)dice(twins, num), dice(twins, 2), features);
	} else {
		num = (uint16_t)(1u << dice(twins, 7));
		guest_start(guest, num, (uint16_t)hostile_bits(&twins->seed), features);
	}
	layout = guest->layout;
	layout.notes = twins->slow_notes;
	position = rp_vring_dev_position(&guest->ring);
	assert_int_equal(rp_vring_dev_init(&twins->slow, &layout, position, guest->reader, NULL), 0);
	twins->outs_count = 0;
	twins->busy_count = 0;
	memset(twins->busy, 0, sizeof(twins->busy));
	memset(twins->parts_of, 0, sizeof(twins->parts_of));
}

/* The space changes, but not where the ring is: with one generation more, or without. */
static void
step_remap(struct twins *twins)
{
	guest_unmap(twins->guest, BEHIND, BEHIND_BYTES);
	if (dice(twins, 4) != 0)
		guest_map(twins->guest, BEHIND, 64u * dice(twins, 100), BEHIND_BYTES, RP_DMA_READ | RP_DMA_WRITE);
}

static void
round_of(struct twins *twins)
{
	unsigned int step, wrong_in = dice(twins, 2) == 0 ? 200 : 10000;

	start(twins);
	for (step = 0; step < STEPS; step++) {
		step_offer(twins, wrong_in);
		/* Where the index was last read decides when a wrong one is seen. */
		assert_int_equal(rp_vring_dev_available(&twins->guest->ring), rp_vring_dev_available(&twins->slow));
		if (dice(twins, 2) == 0)
			step_look(twins);
		else
			step_pop(twins);
		assert_same_state(twins);
		/* The other one keeps all its notes, whatever the order. */
		if (twins->packed)
			rp_vring_packed_shuffle(&twins->slow);
		step_give(twins);
		step_ask(twins);
		assert_same_state(twins);
		if (dice(twins, 100) == 0)
			step_remap(twins);
	}
	twins->broken_count += rp_vring_dev_why(&twins->slow) != NULL;
}

static void
same_as_chain_by_chain(struct guest *guest, bool packed)
{
	struct twins *twins = calloc(1, sizeof(*twins));
	unsigned int round;

	assert_non_null(twins);
	*twins = (struct twins){.guest = guest, .packed = packed, .seed = packed ? 11 : 7};
	guest_map(guest, BEHIND, 0x3000, BEHIND_BYTES, RP_DMA_READ | RP_DMA_WRITE);
	guest_map(guest, READ_ONLY, GUEST_BUFFERS_AT, 0x10000, RP_DMA_READ);
	for (round = 0; round < ROUNDS; round++) {
		if (round % 100 == 0)
			write_tables(twins);
		round_of(twins);
	}
	print_message("%u rings: %lu chains, %lu given back, %lu rings broken\n", round,
		      (unsigned long)twins->chains_count, (unsigned long)twins->published_count,
		      (unsigned long)twins->broken_count);
	assert_true(twins->chains_count > ROUNDS * 10);
	assert_true(twins->published_count > ROUNDS * 5);
	assert_true(twins->broken_count > ROUNDS / 10);
	free(twins);
}

static void
split(void **state)
{
	same_as_chain_by_chain(*state, false);
}

static void
packed(void **state)
{
	same_as_chain_by_chain(*state, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(split),
		WITH_GUEST(packed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
