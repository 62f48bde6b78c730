/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "guest_packed.h"
#include "rp_vring_burst.h"

/*
 * What a device may give back, and what the guest finds then, against a model that keeps notes of every chain and
 * every entry, whatever the order. What was only peeked at is filled too, given up, and filled again with less.
 */

#define NUM_MAX 12u
#define ROUNDS 20000u
#define STEPS 60u
#define FILLS_MAX 4u
#define NOBODY (-1)

struct entry {
	int id; /* who fills it; NOBODY: nobody yet */
	uint32_t bytes;
};

struct model {
	struct guest *guest;
	struct packed_guest driver;
	uint64_t random;
	unsigned int num;
	unsigned int care; /* 0: any id is given back, else one in some is wrong */
	bool in_order;
	unsigned int descs_of[NUM_MAX]; /* by id, as all: of a chain that the driver does not have back; 0: it has */
	bool seen[NUM_MAX]; /* the device looked at it */
	bool taken[NUM_MAX];
	unsigned int order[NUM_MAX]; /* by place, as all below: ids as they were looked at */
	struct entry entries[NUM_MAX];
	unsigned int offered[NUM_MAX], offered_count; /* and not looked at */
	unsigned int give, out_count, peeked_count, free_count;
	uint16_t used_at;
	bool used_wrap;
	uint64_t given, not_given, filled, not_filled;
};

static unsigned int
dice(struct model *model, unsigned int sides)
{
	model->random = model->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned int)(model->random >> 33) % sides;
}

static unsigned int
place_of(const struct model *model, unsigned int ahead)
{
	return (model->give + ahead) % model->num;
}

static void
start(struct model *model)
{
	struct model fresh = {.guest = model->guest, .random = model->random};
	unsigned int i;

	fresh.given = model->given;
	fresh.not_given = model->not_given;
	fresh.filled = model->filled;
	fresh.not_filled = model->not_filled;
	*model = fresh;
	model->num = model->free_count = 1 + dice(model, NUM_MAX);
	model->in_order = dice(model, 4) == 0;
	model->care = dice(model, 3);
	for (i = 0; i < NUM_MAX; i++)
		model->entries[i].id = NOBODY;
	packed_start(&model->driver, model->guest, (uint16_t)model->num, (uint16_t)dice(model, model->num),
		     dice(model, 2), model->in_order ? F_IN_ORDER : 0);
	model->used_at = model->driver.at;
	model->used_wrap = model->driver.wrap;
}

static void
step_offer(struct model *model)
{
	unsigned int descs = dice(model, 3) == 0 ? 1 + dice(model, 3) : 1, id = dice(model, model->num), i;

	if (descs > model->free_count)
		return;
	while (model->descs_of[id] != 0)
		id = (id + 1) % model->num;
	model->descs_of[id] = descs;
	model->free_count -= descs;
	model->offered[model->offered_count++] = id;
	for (i = 0; i < descs; i++)
		packed_offer(&model->driver, GUEST_BUFFERS + 64 * i, 64, (uint16_t)id, i + 1 < descs ? NEXT : 0);
}

static void
step_look(struct model *model)
{
	struct rp_vring_burst_chain chains[8];
	unsigned int ahead = dice(model, 4) == 0 ? dice(model, model->peeked_count + 1) : 0, max_count, there, i;

	max_count = 1 + dice(model, 8);
	there = model->peeked_count + model->offered_count - ahead;
	there = there < max_count ? there : max_count;
	assert_int_equal(rp_vring_dev_peek_burst(&model->guest->ring, (uint16_t)ahead, chains, (uint16_t)max_count),
			 there);
	for (; ahead + there > model->peeked_count; model->peeked_count++) {
		unsigned int id = model->offered[0];

		model->order[place_of(model, model->out_count + model->peeked_count)] = id;
		model->seen[id] = true;
		memmove(model->offered, model->offered + 1, --model->offered_count * sizeof(model->offered[0]));
	}
	for (i = 0; i < there; i++)
		assert_int_equal(chains[i].head, model->order[place_of(model, model->out_count + ahead + i)]);
}

static void
step_take(struct model *model)
{
	unsigned int count = dice(model, model->peeked_count + 1);

	rp_vring_dev_advance(&model->guest->ring, (uint16_t)count);
	for (; count > 0; count--) {
		model->taken[model->order[place_of(model, model->out_count)]] = true;
		model->out_count++;
		model->peeked_count--;
	}
}

static int
model_fill(struct model *model, unsigned int ahead, const struct rp_vring_done *done)
{
	unsigned int place = place_of(model, ahead);

	if (!model->seen[done->head])
		return -EINVAL;
	if (model->in_order && (ahead >= model->out_count + model->peeked_count || model->order[place] != done->head))
		return -EINVAL;
	model->entries[place] = (struct entry){done->head, done->written_bytes};
	return 0;
}

/* In their order or not; one by one or together. */
static void
step_fill(struct model *model)
{
	struct rp_vring_dev *ring = &model->guest->ring;
	struct rp_vring_done done[FILLS_MAX];
	unsigned int ahead = dice(model, 3) != 0 ? 0 : dice(model, model->num), count = 1 + dice(model, FILLS_MAX), i;
	int expected = 0, rc = 0;

	if (ahead + count > model->num)
		count = model->num - ahead;
	for (i = 0; i < count; i++) {
		unsigned int id = model->order[place_of(model, ahead + i)];

		if (model->care == 0 || dice(model, model->care == 1 ? 8 : 64) == 0)
			id = dice(model, model->num);
		done[i] = (struct rp_vring_done){.head = (uint16_t)id, .written_bytes = dice(model, 3000)};
	}
	for (i = 0; i < count && expected == 0; i++)
		expected = model_fill(model, ahead + i, &done[i]);
	if (dice(model, 2) == 0)
		rc = rp_vring_dev_fill_burst(ring, (uint16_t)ahead, done, (uint16_t)count);
	else
		for (i = 0; i < count && rc == 0; i++)
			rc = rp_vring_dev_fill(ring, (uint16_t)(ahead + i), done[i].head, done[i].written_bytes);
	assert_int_equal(rc, expected);
	if (rc == 0)
		model->filled++;
	else
		model->not_filled++;
}

/* @return how many from the first on are filled by chains that are out. */
static unsigned int
count_ready(const struct model *model, unsigned int max_count)
{
	bool met[NUM_MAX] = {false};
	unsigned int i;

	for (i = 0; i < max_count; i++) {
		int id = model->entries[place_of(model, i)].id;

		if (id == NOBODY || !model->taken[id] || met[id])
			break;
		met[id] = true;
	}
	return i;
}

/* The guest finds it, and has its descriptors back. */
static void
reap(struct model *model)
{
	struct entry *entry = &model->entries[model->give];
	unsigned int descs = model->descs_of[entry->id];
	uint16_t id, flags;
	uint32_t len;

	flags = packed_read(model->guest, model->used_at, &id, &len);
	assert_int_equal(id, entry->id);
	assert_int_equal(len, entry->bytes);
	assert_int_equal(flags, packed_used_bits(model->used_wrap) | (entry->bytes > 0 ? WRITE : 0));
	model->used_at = (uint16_t)(model->used_at + descs);
	if (model->used_at >= model->num) {
		model->used_at = (uint16_t)(model->used_at - model->num);
		model->used_wrap = !model->used_wrap;
	}
	model->free_count += descs;
	model->descs_of[id] = 0;
	model->seen[id] = false;
	model->taken[id] = false;
	entry->id = NOBODY;
	model->give = place_of(model, 1);
	model->out_count--;
	model->given++;
}

/* As many as may be, less, or too many: all of them or none. */
static void
step_publish(struct model *model)
{
	unsigned int count = dice(model, model->num + 1), ready = count_ready(model, model->num);
	int expected;

	if (model->care != 0 && dice(model, 2) == 0)
		count = ready > 0 ? 1 + dice(model, ready) : 0;
	expected = count <= ready ? 0 : -EINVAL;
	assert_int_equal(rp_vring_dev_publish(&model->guest->ring, (uint16_t)count), expected);
	model->not_given += expected != 0;
	for (; expected == 0 && count > 0; count--)
		reap(model);
}

static void
as_notes_would_have_it(void **state)
{
	static void (*const steps[])(struct model *) = {step_offer, step_offer, step_look,
							step_take,  step_fill,	step_publish};
	struct model model = {.guest = *state, .random = 1};
	unsigned int round, step;

	for (round = 0; round < ROUNDS; round++) {
		start(&model);
		for (step = 0; step < STEPS; step++)
			steps[dice(&model, sizeof(steps) / sizeof(steps[0]))](&model);
	}
	assert_true(model.given > 2 * ROUNDS);
	assert_true(model.not_given > ROUNDS / 2);
	assert_true(model.filled > ROUNDS / 2);
	assert_true(model.not_filled > ROUNDS / 2);
	print_message("%lu given back, %lu times not; filled %lu times, %lu times not\n", (unsigned long)model.given,
		      (unsigned long)model.not_given, (unsigned long)model.filled, (unsigned long)model.not_filled);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {WITH_GUEST(as_notes_would_have_it)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
