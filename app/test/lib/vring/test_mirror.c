/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rp_vring_drv.h"
#include "rp_vring_mirror.h"
#include "test_support.h"

/*
 * A driver and a mirror of its ring, with a way between them that fails: an access
 * may not have happened, or in part, or wholly with its answer lost; and the driver
 * goes on at any moment in between. Whatever happens, every chain is taken once and
 * comes back once, in order, with its bytes, and nobody waits for ever.
 */

#define IOVA UINT64_C(0x7000000000)
#define MEMORY_BYTES (512u << 10)
#define SLOTS_AT (256u << 10)
#define SLOT_BYTES 512u
#define SLOTS_COUNT 256u
#define IN_AT 64u /* in a slot: what the device writes */
#define IN_MAX 100u
#define TABLE_AT 256u
#define BATCH 5u
#define HELD_MAX 16u

#define F_INDIRECT (UINT64_C(1) << 28)
#define F_EVENT_IDX (UINT64_C(1) << 29)
#define F_PACKED (UINT64_C(1) << 34)
#define F_IN_ORDER (UINT64_C(1) << 35)

static uint8_t memory[MEMORY_BYTES] __attribute__((aligned(4096)));

struct slot {
	uint64_t number;
	uint32_t in_bytes;
	bool used;
};

static struct {
	struct rp_vring_drv *drv;
	struct rp_vring_mirror *mirror;
	struct rp_vring_layout layout;
	struct rp_vring_note notes[1024];
	unsigned int seed;
	unsigned int faults_percent;
	bool driver_in_between;
	uint32_t accesses_count;
	uint32_t largest_access; /* segments */

	struct slot slots[SLOTS_COUNT];
	uint64_t sent;
	uint64_t returned;
	uint64_t total;
	bool kicked;
	bool interrupted;

	struct rp_vring_chain chains[BATCH];
	bool asleep;
	uint64_t taken;
	uint64_t given;
	uint16_t held_heads[HELD_MAX];
	struct rp_vring_chain held[HELD_MAX];
	uint8_t answers[SLOTS_COUNT][IN_MAX];
} bed;

static unsigned int
chance(unsigned int below)
{
	return (unsigned int)rand_r(&bed.seed) % below;
}

static uint8_t
pattern(uint64_t number, uint32_t at)
{
	return (uint8_t)(number * 131 + at * 7 + 1);
}

static uint16_t
split_parts(struct rp_vring_part *parts, uint64_t iova, uint32_t size_bytes, bool device_writes)
{
	uint32_t first = chance(2) == 0 ? size_bytes : 1 + chance(size_bytes);

	parts[0] = (struct rp_vring_part){iova, first, device_writes};
	if (first == size_bytes)
		return 1;
	parts[1] = (struct rp_vring_part){iova + first, size_bytes - first, device_writes};
	return 2;
}

static bool
driver_send(void)
{
	unsigned int i = (unsigned int)(bed.sent % SLOTS_COUNT);
	struct slot *slot = &bed.slots[i];
	uint32_t at = SLOTS_AT + i * SLOT_BYTES;
	struct rp_vring_part parts[4];
	uint16_t count;
	int rc;

	if (slot->used || bed.sent == bed.total)
		return false;
	memcpy(memory + at, &bed.sent, sizeof(bed.sent));
	memset(memory + at + IN_AT, 0, IN_MAX);
	slot->number = bed.sent;
	slot->in_bytes = chance(3) == 0 ? 0 : 1 + chance(IN_MAX);
	count = split_parts(parts, IOVA + at, sizeof(bed.sent), false);
	if (slot->in_bytes > 0)
		count = (uint16_t)(count + split_parts(parts + count, IOVA + at + IN_AT, slot->in_bytes, true));
	if ((bed.layout.features & F_INDIRECT) != 0 && chance(2) == 0)
		rc = rp_vring_drv_add_indirect(bed.drv, parts, count, memory + at + TABLE_AT, IOVA + at + TABLE_AT,
					       slot);
	else
		rc = rp_vring_drv_add(bed.drv, parts, count, slot);
	if (rc < 0)
		return false;
	slot->used = true;
	bed.sent++;
	if (rp_vring_drv_needs_kick(bed.drv))
		bed.kicked = true;
	return true;
}

static void
driver_collect(void)
{
	uint32_t written_bytes, at;
	void *cookie;
	int rc;

	bed.interrupted = false;
	while ((rc = rp_vring_drv_get(bed.drv, &cookie, &written_bytes)) == 1) {
		struct slot *slot = cookie;
		const uint8_t *in = memory + SLOTS_AT + (size_t)(slot - bed.slots) * SLOT_BYTES + IN_AT;

		assert_true(slot->used);
		assert_int_equal(slot->number, bed.returned);
		assert_int_equal(written_bytes, slot->in_bytes);
		for (at = 0; at < written_bytes; at++)
			assert_int_equal(in[at], pattern(slot->number, at));
		slot->used = false;
		bed.returned++;
	}
	assert_int_equal(rc, 0);
}

static void
driver_turn(void)
{
	unsigned int count = chance(6);

	if (bed.interrupted)
		driver_collect();
	while (count-- > 0 && driver_send())
		;
}

/* One access, or what becomes of it. */
static int
move(bool write, const struct rp_dma_segment *segments, unsigned int count)
{
	bool fails = chance(100) < bed.faults_percent;
	unsigned int i, whole = fails ? chance(count + 1) : count;

	bed.accesses_count++;
	if (count > bed.largest_access)
		bed.largest_access = count;
	if (bed.driver_in_between && chance(2) == 0)
		driver_turn();
	for (i = 0; i < whole; i++) {
		uint8_t *there;

		if (segments[i].iova < IOVA || segments[i].iova - IOVA + segments[i].size_bytes > MEMORY_BYTES)
			return -EFAULT;
		there = memory + (segments[i].iova - IOVA);
		if (write)
			memcpy(there, segments[i].bytes, segments[i].size_bytes);
		else
			memcpy(segments[i].bytes, there, segments[i].size_bytes);
		if (bed.driver_in_between && chance(8) == 0)
			driver_turn();
	}
	return fails ? -ECANCELED : 0;
}

static int
read_there(void *ctx, const struct rp_dma_segment *segments, unsigned int count)
{
	(void)ctx;
	return move(false, segments, count);
}

static int
write_there(void *ctx, const struct rp_dma_segment *segments, unsigned int count)
{
	(void)ctx;
	return move(true, segments, count);
}

static const struct rp_vring_mirror_ops ops = {.read = read_there, .write = write_there};

/* A failed access is one that is tried again. */
static bool
passed(int rc)
{
	if (rc == -EBADMSG)
		fail_msg("the ring broke: %s", rp_vring_mirror_why(bed.mirror));
	assert_true(rc >= 0 || rc == -ECANCELED);
	return rc >= 0;
}

static uint64_t
number_of(const uint8_t bytes[8])
{
	uint64_t number;

	memcpy(&number, bytes, sizeof(number));
	return number;
}

static void
device_give_one(void)
{
	const struct rp_vring_chain *chain = &bed.held[bed.given % HELD_MAX];
	uint8_t *answer = bed.answers[bed.given % SLOTS_COUNT];
	uint32_t at = 0;
	unsigned int i;

	for (i = chain->out_count; i < (unsigned int)(chain->out_count + chain->in_count); i++) {
		const struct rp_vring_span *span = &chain->spans[i];

		assert_int_equal(rp_vring_mirror_write(bed.mirror, span->iova, answer + at, span->size_bytes), 0);
		at += (uint32_t)span->size_bytes;
	}
	assert_int_equal(at, chain->in_bytes);
	for (at = 0; at < chain->in_bytes; at++)
		answer[at] = pattern(bed.given, at);
	assert_int_equal(rp_vring_mirror_give(bed.mirror, chain->head, chain->in_bytes), 0);
	bed.given++;
}

static void
device_take(int count)
{
	uint8_t numbers[BATCH][8];
	struct rp_dma_segment segments[4 * BATCH] = {0};
	unsigned int used = 0, part;
	int i;

	for (i = 0; i < count; i++) {
		const struct rp_vring_chain *chain = &bed.chains[i];
		uint32_t at = 0;

		assert_int_equal(chain->table.size_bytes, 0);
		assert_int_equal(chain->out_bytes, 8);
		for (part = 0; part < chain->out_count; part++) {
			segments[used++] = (struct rp_dma_segment){chain->spans[part].iova,
								   chain->spans[part].size_bytes, numbers[i] + at};
			at += (uint32_t)chain->spans[part].size_bytes;
		}
	}
	if (!passed(move(false, segments, used)))
		return;
	for (i = 0; i < count; i++) {
		assert_int_equal(number_of(numbers[i]), bed.taken);
		bed.held[bed.taken % HELD_MAX] = bed.chains[i];
		bed.taken++;
	}
	rp_vring_mirror_advance(bed.mirror, (uint16_t)count);
}

/* @return false: it sleeps until it is kicked. */
static void
device_turn(void)
{
	unsigned int held = (unsigned int)(bed.taken - bed.given);
	int rc = rp_vring_mirror_flush(bed.mirror);

	if (!passed(rc))
		return;
	if (rc == 1)
		bed.interrupted = true;
	if (held > 0 && (chance(2) == 0 || held == HELD_MAX)) {
		unsigned int now = 1 + chance(held);

		while (now-- > 0)
			device_give_one();
		return;
	}
	if (!passed(rp_vring_mirror_look(bed.mirror)))
		return;
	rc = rp_vring_mirror_peek(bed.mirror, bed.chains,
				  (uint16_t)(HELD_MAX - held < BATCH ? HELD_MAX - held : 1 + chance(BATCH)));
	if (!passed(rc))
		return;
	if (rc > 0) {
		device_take(rc);
		return;
	}
	rc = rp_vring_mirror_ask(bed.mirror);
	if (passed(rc))
		bed.asleep = rc == 0 && held == 0;
}

static void
start(uint16_t num, uint64_t features, unsigned int seed)
{
	memset(&bed, 0, sizeof(bed));
	bed.seed = seed;
	assert_int_equal(rp_vring_drv_create(num, memory, IOVA, features, &bed.drv), 0);
	rp_vring_drv_layout(bed.drv, &bed.layout);
	bed.layout.notes = bed.notes;
	assert_int_equal(
		rp_vring_mirror_create(&bed.layout, rp_vring_position_fresh(features), &ops, NULL, &bed.mirror, NULL),
		0);
	rp_vring_drv_set_interrupt(bed.drv, true);
}

static void
finish(void)
{
	bed.mirror = rp_vring_mirror_destroy(bed.mirror);
	bed.drv = rp_vring_drv_destroy(bed.drv);
}

static void
run(uint16_t num, uint64_t features, unsigned int faults_percent, unsigned int seed)
{
	uint64_t idle_turns = 0;

	start(num, features, seed);
	bed.total = 600;
	bed.faults_percent = faults_percent;
	bed.driver_in_between = true;
	while (bed.returned < bed.total) {
		uint64_t before = bed.sent + bed.returned + bed.taken + bed.given;

		if (chance(2) == 0)
			driver_turn();
		if (bed.asleep && bed.kicked)
			bed.asleep = false;
		if (!bed.asleep) {
			bed.kicked = false;
			device_turn();
		}
		idle_turns = before == bed.sent + bed.returned + bed.taken + bed.given ? idle_turns + 1 : 0;
		if (idle_turns > 10000)
			fail_msg("features 0x%llx seed %u: stuck at %llu of %llu", (unsigned long long)features, seed,
				 (unsigned long long)bed.returned, (unsigned long long)bed.total);
	}
	assert_int_equal(bed.taken, bed.total);
	while (rp_vring_mirror_flush(bed.mirror) < 0)
		;
	assert_false(rp_vring_mirror_is_due(bed.mirror));
	finish();
}

static void
run_all(unsigned int faults_percent)
{
	static const uint64_t formats[] = {0, F_PACKED, F_IN_ORDER, F_PACKED | F_IN_ORDER};
	static const uint64_t extras[] = {0, F_EVENT_IDX, F_INDIRECT, F_EVENT_IDX | F_INDIRECT};
	unsigned int format, extra, seed;

	for (format = 0; format < 4; format++) {
		for (extra = 0; extra < 4; extra++) {
			for (seed = 0; seed < 12; seed++)
				run(seed % 3 == 0 ? 4 : 64, formats[format] | extras[extra], faults_percent, seed);
		}
	}
	/* No power of two, and longer than a window. */
	for (seed = 0; seed < 12; seed++)
		run(seed % 2 == 0 ? 5 : 100, F_PACKED | extras[seed % 4], faults_percent, seed);
}

static void
everything_once_and_in_order(void **state)
{
	(void)state;
	run_all(0);
}

static void
accesses_that_fail_are_done_again(void **state)
{
	(void)state;
	run_all(30);
}

/* What makes messages bearable: a batch costs as many accesses as one chain does. */
static void
a_batch_is_few_accesses(void **state)
{
	static const uint64_t formats[] = {F_INDIRECT, F_INDIRECT | F_PACKED};
	unsigned int format;
	uint32_t before;

	(void)state;
	for (format = 0; format < 2; format++) {
		start(64, formats[format], 1);
		bed.total = BATCH;
		while (driver_send())
			;
		assert_int_equal(rp_vring_mirror_look(bed.mirror), BATCH);
		assert_int_equal(bed.accesses_count, 2);
		assert_int_equal(rp_vring_mirror_peek(bed.mirror, bed.chains, BATCH), BATCH);
		assert_true(bed.accesses_count <= 3);
		device_take(BATCH);
		while (bed.given < BATCH)
			device_give_one();
		before = bed.accesses_count;
		assert_int_equal(rp_vring_mirror_flush(bed.mirror), 1);
		assert_int_equal(bed.accesses_count - before, 3);
		/* The next look has begun with it. */
		assert_int_equal(rp_vring_mirror_look(bed.mirror), 0);
		assert_int_equal(bed.accesses_count - before, 3);
		driver_collect();
		assert_int_equal(bed.returned, BATCH);
		finish();
	}
}

/* A stop in the middle of a flush: what the driver was not shown is where the next owner begins. */
static void
position_within_a_flush(void **state)
{
	(void)state;
	start(8, 0, 3);
	bed.total = 2;
	while (driver_send())
		;
	assert_int_equal(rp_vring_mirror_look(bed.mirror), 2);
	assert_int_equal(rp_vring_mirror_peek(bed.mirror, bed.chains, BATCH), 2);
	assert_int_equal(rp_vring_mirror_position(bed.mirror), 0);
	device_take(2);
	assert_int_equal(rp_vring_mirror_position(bed.mirror), 0);
	device_give_one();
	device_give_one();
	bed.faults_percent = 100;
	assert_int_equal(rp_vring_mirror_flush(bed.mirror), -ECANCELED);
	assert_int_equal(rp_vring_mirror_position(bed.mirror), 0);
	bed.faults_percent = 0;
	assert_int_equal(rp_vring_mirror_flush(bed.mirror), 1);
	assert_int_equal(rp_vring_mirror_position(bed.mirror), 2);
	driver_collect();
	assert_int_equal(bed.returned, 2);
	finish();
}

static void
break_with(uint64_t features, void (*damage)(void), const char *words)
{
	int rc;

	start(8, features, 1);
	bed.total = 1;
	driver_send();
	damage();
	rc = rp_vring_mirror_look(bed.mirror);
	if (rc >= 0)
		rc = rp_vring_mirror_peek(bed.mirror, bed.chains, 1);
	assert_int_equal(rc, -EBADMSG);
	if (strstr(rp_vring_mirror_why(bed.mirror), words) == NULL)
		fail_msg("'%s' does not say '%s'", rp_vring_mirror_why(bed.mirror), words);
	assert_int_equal(rp_vring_mirror_look(bed.mirror), -EBADMSG);
	assert_int_equal(rp_vring_mirror_flush(bed.mirror), -EBADMSG);
	assert_int_equal(rp_vring_mirror_ask(bed.mirror), -EBADMSG);
	finish();
}

static void
jump(void)
{
	memory[bed.layout.avail_iova - IOVA + 2] = 200;
}

static void
loop(void)
{
	memory[12] = 1; /* flags: next, of descriptor 0 to itself */
	memory[14] = 0;
}

static void
table_nowhere(void)
{
	memset(memory, 0, 16);
	memory[1] = 0x10;
	memory[8] = 16;
	memory[12] = 4;
}

static void
endless(void)
{
	unsigned int i;

	/* Packed: it goes on in what is not available. */
	for (i = 0; i < 8; i++)
		memory[16 * i + 14] |= 1;
}

static void
hostile_rings(void **state)
{
	(void)state;
	break_with(0, jump, "beyond the ring");
	break_with(0, loop, "longer than its table");
	break_with(0, table_nowhere, "not negotiated");
	break_with(F_INDIRECT, table_nowhere, "not mapped");
	break_with(F_PACKED, endless, "not available");
}

static void
rings_that_are_not_mapped(void **state)
{
	static const uint64_t formats[] = {0, F_PACKED};
	unsigned int format;

	(void)state;
	for (format = 0; format < 2; format++) {
		start(8, formats[format], 1);
		finish();
		bed.layout.desc_iova = 0x1000;
		bed.layout.avail_iova = 0x4000;
		bed.layout.used_iova = 0x5000;
		assert_int_equal(rp_vring_mirror_create(&bed.layout, rp_vring_position_fresh(formats[format]), &ops,
							NULL, &bed.mirror, NULL),
				 0);
		assert_int_equal(rp_vring_mirror_look(bed.mirror), -EBADMSG);
		assert_non_null(strstr(rp_vring_mirror_why(bed.mirror), "not mapped"));
		bed.mirror = rp_vring_mirror_destroy(bed.mirror);
	}
}

/* Anything at all in the ring: calls return, and what they say is within bounds. */
static void
noise(void **state)
{
	static const uint64_t formats[] = {
		0, F_PACKED, F_INDIRECT, F_PACKED | F_INDIRECT, F_IN_ORDER, F_PACKED | F_IN_ORDER};
	unsigned int seed, turn, at;

	(void)state;
	for (seed = 0; seed < 600; seed++) {
		start(16, formats[seed % 6] | (seed % 2 == 0 ? F_EVENT_IDX : 0), seed);
		bed.total = 1000;
		for (turn = 0; turn < 20; turn++) {
			int i, count;

			while (driver_send() && chance(4) != 0)
				;
			for (at = chance(3); at > 0; at--)
				memory[chance(16 * 16 + 128)] = (uint8_t)chance(256);
			if (rp_vring_mirror_look(bed.mirror) < 0)
				break;
			count = rp_vring_mirror_peek(bed.mirror, bed.chains, BATCH);
			if (count < 0)
				break;
			rp_vring_mirror_advance(bed.mirror, (uint16_t)count);
			for (i = 0; i < count; i++) {
				assert_true(bed.chains[i].out_count + bed.chains[i].in_count <= RP_VRING_SEGMENTS_MAX);
				assert_true(rp_vring_mirror_give(bed.mirror, bed.chains[i].head, 0) == 0);
			}
			if (rp_vring_mirror_flush(bed.mirror) < 0 || rp_vring_mirror_ask(bed.mirror) < 0)
				break;
		}
		finish();
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_once_and_in_order),
		cmocka_unit_test(accesses_that_fail_are_done_again),
		cmocka_unit_test(a_batch_is_few_accesses),
		cmocka_unit_test(position_within_a_flush),
		cmocka_unit_test(hostile_rings),
		cmocka_unit_test(rings_that_are_not_mapped),
		cmocka_unit_test(noise),
	};

	return cmocka_run_group_tests_name("vring_mirror", tests, NULL, NULL);
}
