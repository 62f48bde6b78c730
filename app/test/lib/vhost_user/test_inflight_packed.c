/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "crash.h"
#include "rp_vhu_inflight.h"
#include "rp_wire_fd.h"

#define NUM 4u
#define AVAIL 0x0080u
#define USED 0x8000u
#define ENTRY(i) (32 + (i)*32) /* inflight: 1 byte, next: at 2, last: at 4, num: at 6, counter: at 8 */
#define BUFFERS 8u
#define EVENTS_MAX 16

static const struct rp_vhu_inflight_layout layout = {.packed = true, .queues_count = 1, .queue_num = NUM};

/* The guest's buffers: how many descriptors each has. Its number is its id. */
static const uint16_t descs_of[BUFFERS] = {1, 2, 1, 3, 1, 1, 2, 2};

/* What happens to the ring, in this order: buffers that become available, or used. */
static const struct event {
	bool used;
	uint16_t count;
	uint16_t ids[4];
} events[] = {
	{false, 3, {0, 1, 2}}, {true, 1, {1}},	{true, 2, {2, 0}}, {false, 1, {3}},    {false, 1, {4}},
	{true, 1, {3}},	       {false, 1, {5}}, {true, 2, {5, 4}}, {false, 2, {6, 7}}, {true, 2, {7, 6}},
};

/* What a dead backend leaves: the region, and the ring's flags, all in one word so that an event is one store. */
struct left {
	uint8_t region[192];
	uint64_t ring;
	uint64_t after[EVENTS_MAX]; /* what each event made of it */
	unsigned int begun; /* events; the last has happened if the ring is as after it */
	unsigned int taken; /* takes that have returned */
};

struct stage {
	struct test_leaks before;
	int fd;
	struct left *left;
	struct rp_vhu_inflight *inflight;
	struct rp_vhu_inflight_packed *packed;
	uint16_t entries[BUFFERS];
	void (*check)(void *ctx);
	unsigned int checks;
};

static int
setup(void **state)
{
	static struct stage stage;

	memset(&stage, 0, sizeof(stage));
	test_leaks_read(&stage.before);
	stage.fd = test_memfd(sizeof(struct left), true);
	stage.left = mmap(NULL, sizeof(*stage.left), PROT_READ | PROT_WRITE, MAP_SHARED, stage.fd, 0);
	assert_ptr_not_equal(stage.left, MAP_FAILED);
	assert_int_equal(rp_vhu_inflight_bytes(&layout), sizeof(stage.left->region));
	assert_int_equal(rp_vhu_inflight_create(stage.fd, &layout, 192, 0, &stage.inflight, NULL), 0);
	*state = &stage;
	return 0;
}

static int
teardown(void **state)
{
	struct stage *stage = *state;

	rp_vhu_inflight_packed_destroy(stage->packed);
	rp_vhu_inflight_destroy(stage->inflight);
	munmap(stage->left, sizeof(*stage->left));
	rp_wire_fd_close(&stage->fd);
	test_leaks_assert_none(&stage->before);
	return 0;
}

static uint16_t
flags_of(void *ctx, uint16_t index)
{
	const struct left *left = ctx;
	uint16_t flags[NUM];

	memcpy(flags, &left->ring, sizeof(flags));
	return flags[index];
}

static int
open_notes(struct stage *stage, struct rp_wire_why *why)
{
	stage->packed = rp_vhu_inflight_packed_destroy(stage->packed);
	return rp_vhu_inflight_packed_create(stage->inflight, 0, NUM, 0x8000, flags_of, stage->left, &stage->packed,
					     why);
}

static void
look(struct stage *stage)
{
	if (stage->check != NULL)
		stage->check(stage);
}

static unsigned int
descs_before(unsigned int event, bool used)
{
	unsigned int sum = 0, i, j;

	for (i = 0; i < event; i++)
		for (j = 0; events[i].used == used && j < events[i].count; j++)
			sum += descs_of[events[i].ids[j]];
	return sum;
}

static bool
odd_lap(unsigned int at)
{
	return (at / NUM & 1) == 0; /* its wrap counter: the first lap has 1 */
}

/* A packed ring's flags after the next event: what is available has each descriptor marked, what is used the first. */
static void
happen(struct stage *stage)
{
	const struct event *event = &events[stage->left->begun];
	unsigned int at = descs_before(stage->left->begun, event->used), i, j;
	uint16_t flags[NUM];
	uint64_t ring;

	memcpy(flags, &stage->left->ring, sizeof(flags));
	for (i = 0; i < event->count; i++)
		for (j = 0; j < descs_of[event->ids[i]]; j++, at++) {
			if (event->used && j == 0)
				flags[at % NUM] = odd_lap(at) ? AVAIL | USED : 0;
			else if (!event->used)
				flags[at % NUM] = odd_lap(at) ? AVAIL : USED;
		}
	memcpy(&ring, flags, sizeof(ring));
	if (ring == stage->left->ring)
		abort();
	__atomic_store_n(&stage->left->after[stage->left->begun], ring, __ATOMIC_RELEASE);
	__atomic_store_n(&stage->left->begun, stage->left->begun + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&stage->left->ring, ring, __ATOMIC_RELEASE);
	look(stage);
}

/* Announced first, then done in one store: `begun` counts it once it is announced. */
static unsigned int
happened(const struct left *left)
{
	return left->begun == 0 || left->ring == left->after[left->begun - 1] ? left->begun : left->begun - 1;
}

static void
take(struct stage *stage)
{
	uint16_t id = (uint16_t)stage->left->taken, i;
	struct rp_vhu_inflight_desc descs[NUM];

	for (i = 0; i < descs_of[id]; i++)
		descs[i] = (struct rp_vhu_inflight_desc){
			.addr = 0x100ull * id + i, .len_bytes = 10u * id + i, .id = id, .flags = 2};
	if (rp_vhu_inflight_packed_take(stage->packed, descs, descs_of[id], &stage->entries[id]) != 0)
		abort();
	look(stage);
	stage->left->taken++;
}

static void
give_back(struct stage *stage)
{
	const struct event *event = &events[stage->left->begun];
	unsigned int i;

	for (i = 0; i < event->count; i++) {
		if (rp_vhu_inflight_packed_done(stage->packed, stage->entries[event->ids[i]]) != 0)
			abort();
		look(stage);
	}
	rp_vhu_inflight_packed_use(stage->packed);
	look(stage);
	happen(stage);
}

static void
settle(struct stage *stage)
{
	rp_vhu_inflight_packed_used(stage->packed);
	look(stage);
}

/* One and several at once, out of order, over the ring's end, a whole lap at once; a guest that is quick. */
static void
live(void *ctx)
{
	struct stage *stage = ctx;

	if (open_notes(stage, NULL) != 0)
		abort();
	look(stage);
	happen(stage);
	take(stage);
	take(stage);
	take(stage);
	give_back(stage);
	settle(stage);
	give_back(stage);
	happen(stage); /* the same places anew, before it is settled */
	settle(stage);
	take(stage);
	happen(stage);
	take(stage);
	give_back(stage);
	happen(stage);
	settle(stage);
	take(stage);
	give_back(stage);
	settle(stage);
	happen(stage);
	take(stage);
	take(stage);
	give_back(stage); /* the used index ends where it was */
	settle(stage);
}

/* A position's offset and wrap counter. */
static uint16_t
place(unsigned int descs)
{
	return (uint16_t)(descs % NUM | (odd_lap(descs) ? 0x8000u : 0));
}

static void
compare(const struct stage *next, unsigned int events_count, unsigned int taken)
{
	bool gone[BUFFERS] = {false};
	const uint16_t *entries;
	unsigned int count = rp_vhu_inflight_packed_pending(next->packed, &entries), i, j, at = 0, ahead = 0;
	unsigned int used = descs_before(events_count, true);

	for (i = 0; i < events_count; i++)
		for (j = 0; events[i].used && j < events[i].count; j++)
			gone[events[i].ids[j]] = true;
	for (i = 0; i < taken; i++) {
		struct rp_vhu_inflight_desc descs[NUM];

		if (gone[i])
			continue;
		assert_true(at < count);
		assert_int_equal(rp_vhu_inflight_packed_descs(next->packed, entries[at++], descs, NUM), descs_of[i]);
		for (j = 0; j < descs_of[i]; j++) {
			assert_int_equal(descs[j].id, i);
			assert_int_equal(descs[j].addr, 0x100 * i + j);
			assert_int_equal(descs[j].len_bytes, 10 * i + j);
			assert_int_equal(descs[j].flags, 2);
		}
		ahead += descs_of[i];
	}
	assert_int_equal(at, count);
	assert_int_equal(rp_vhu_inflight_packed_base(next->packed), (uint32_t)place(used) << 16 | place(used + ahead));
}

/* The next backend, on a copy: finds what the model says, does it, and leaves nothing. */
static void
next_backend(void *ctx)
{
	struct stage *stage = ctx, next = {.check = NULL};
	struct left copy = *stage->left;
	unsigned int events_count = happened(stage->left), count, i, extra;
	const uint16_t *entries;

	next.fd = test_memfd(sizeof(copy), true);
	assert_int_equal(pwrite(next.fd, &copy, sizeof(copy), 0), sizeof(copy));
	next.left = &copy;
	assert_int_equal(rp_vhu_inflight_create(next.fd, &layout, 192, 0, &next.inflight, NULL), 0);
	assert_int_equal(open_notes(&next, NULL), 0);
	/* A take that has not returned may count, or be read again. */
	count = rp_vhu_inflight_packed_pending(next.packed, &entries);
	extra = copy.taken;
	for (i = 0; i < events_count; i++)
		extra -= events[i].used ? events[i].count : 0;
	assert_true(count == extra || count == extra + 1);
	compare(&next, events_count, copy.taken + (count - extra));
	for (i = 0; i < count; i++) {
		assert_int_equal(rp_vhu_inflight_packed_done(next.packed, entries[i]), 0);
		rp_vhu_inflight_packed_use(next.packed);
		rp_vhu_inflight_packed_used(next.packed);
	}
	assert_int_equal(open_notes(&next, NULL), 0);
	assert_int_equal(rp_vhu_inflight_packed_pending(next.packed, &entries), 0);
	rp_vhu_inflight_packed_destroy(next.packed);
	rp_vhu_inflight_destroy(next.inflight);
	rp_wire_fd_close(&next.fd);
	stage->checks++;
}

static void
a_backend_that_dies_between_calls(void **state)
{
	struct stage *stage = *state;

	stage->check = next_backend;
	live(stage);
	assert_true(stage->checks > 30);
}

static void
a_backend_that_dies_anywhere(void **state)
{
	struct stage *stage = *state;
	unsigned int states = crash_everywhere(live, stage, stage->left, sizeof(*stage->left), next_backend);

	if (states == 0) {
		print_message("SKIP: no ptrace(2) that goes instruction by instruction\n");
		skip();
	}
	assert_true(states > 100);
	assert_int_equal(stage->left->taken, BUFFERS);
}

static void
what_is_not_so(void **state)
{
	const struct rp_vhu_inflight_desc descs[NUM + 1] = {{.addr = 1}};
	struct rp_vhu_inflight_desc found[NUM];
	struct stage *stage = *state;
	uint16_t entry = 77, other;

	assert_int_equal(open_notes(stage, NULL), 0);
	assert_int_equal(rp_vhu_inflight_packed_base(stage->packed), 0x80008000);
	assert_int_equal(rp_vhu_inflight_packed_take(stage->packed, descs, 0, &entry), -EINVAL);
	assert_int_equal(rp_vhu_inflight_packed_take(stage->packed, descs, NUM + 1, &entry), -ENOSPC);
	assert_int_equal(rp_vhu_inflight_packed_done(stage->packed, 0), -EBUSY);
	assert_int_equal(rp_vhu_inflight_packed_done(stage->packed, NUM), -EBUSY);
	assert_int_equal(entry, 77);
	assert_int_equal(rp_vhu_inflight_packed_take(stage->packed, descs, 3, &entry), 0);
	assert_int_equal(rp_vhu_inflight_packed_take(stage->packed, descs, 2, &other), -ENOSPC);
	assert_int_equal(rp_vhu_inflight_packed_descs(stage->packed, entry, found, 2), -ENOSPC);
	assert_int_equal(rp_vhu_inflight_packed_descs(stage->packed, entry + 1u, found, NUM), -EINVAL);
	assert_int_equal(rp_vhu_inflight_packed_descs(stage->packed, entry, found, NUM), 3);
	assert_int_equal(rp_vhu_inflight_packed_done(stage->packed, entry), 0);
	assert_int_equal(rp_vhu_inflight_packed_done(stage->packed, entry), -EBUSY);
	assert_int_equal(rp_vhu_inflight_packed_take(stage->packed, descs, 1, &other), -EBUSY);
	assert_int_equal(rp_vhu_inflight_packed_base(stage->packed), 0x80008003);
	rp_vhu_inflight_packed_used(stage->packed);
	assert_int_equal(rp_vhu_inflight_packed_base(stage->packed), 0x80008003);
	rp_vhu_inflight_packed_use(stage->packed);
	assert_int_equal(rp_vhu_inflight_packed_base(stage->packed), 0x80038003);
	rp_vhu_inflight_packed_used(stage->packed);
	assert_int_equal(rp_vhu_inflight_packed_take(stage->packed, descs, 4, &other), 0);
	assert_int_equal(rp_vhu_inflight_packed_base(stage->packed), 0x80030003);
}

/* Fields where the specification has them, in the host's byte order. */
static void
the_bytes_of_a_region(void **state)
{
	struct stage *stage = *state;
	uint16_t head[6]; /* version, desc_num, free_head, old_free_head, used_idx, old_used_idx */
	uint16_t links[3]; /* next, last, num */
	uint64_t addr;

	assert_int_equal(open_notes(stage, NULL), 0);
	take(stage);
	take(stage);
	memcpy(head, stage->left->region + 8, sizeof(head));
	assert_int_equal(head[0], 1);
	assert_int_equal(head[1], NUM);
	assert_int_equal(head[2], 3);
	assert_int_equal(head[3], 3);
	assert_int_equal(head[4], 0);
	assert_int_equal(head[5], 0);
	assert_int_equal(stage->left->region[20], 1);
	assert_int_equal(stage->left->region[21], 1);
	assert_int_equal(stage->left->region[ENTRY(1)], 1);
	assert_int_equal(stage->left->region[ENTRY(2)], 0);
	memcpy(links, &stage->left->region[ENTRY(1) + 2], sizeof(links));
	assert_int_equal(links[0], 2);
	assert_int_equal(links[1], 2);
	assert_int_equal(links[2], 2);
	memcpy(&addr, &stage->left->region[ENTRY(2) + 24], sizeof(addr));
	assert_int_equal(addr, 0x101);
}

static void
refuse(struct stage *stage, size_t at, unsigned int value, size_t size_bytes, const char *words)
{
	struct left good = *stage->left, bad;
	struct rp_wire_why why = {0};
	uint16_t two = (uint16_t)value;
	uint8_t one = (uint8_t)value;

	memcpy(stage->left->region + at, size_bytes == 1 ? (const void *)&one : &two, size_bytes);
	bad = *stage->left;
	assert_int_equal(open_notes(stage, &why), -EBADMSG);
	assert_null(stage->packed);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s', expected '%s'", why.text, words);
	assert_memory_equal(stage->left, &bad, sizeof(bad));
	*stage->left = good;
}

/* By name, and nothing is written. Buffer 0 is in entry 0, buffer 1 in 1 and 2; 3 is free. */
static void
a_region_full_of_lies(void **state)
{
	struct stage *stage = *state;

	assert_int_equal(open_notes(stage, NULL), 0);
	take(stage);
	take(stage);
	refuse(stage, 8, 2, 2, "queue 0: version: 2");
	refuse(stage, 10, 5, 2, "desc_num: 5, expected 4");
	refuse(stage, 14, 5, 2, "free list: entry 5, expected at most 4");
	refuse(stage, 16, 4, 2, "used_idx: 4 and before that 0, expected below 4");
	refuse(stage, 18, 9, 2, "used_idx: 0 and before that 9");
	refuse(stage, 20, 2, 1, "wrap counters 2 and 1");
	refuse(stage, 21, 3, 1, "wrap counters 1 and 3");
	refuse(stage, ENTRY(3) + 2, 3, 2, "free list: entry 3 is there twice");
	refuse(stage, ENTRY(3) + 2, 2, 2, "free list: entry 3 is there twice");
	refuse(stage, ENTRY(0), 7, 1, "entry 0: inflight: 7, expected 0 or 1");
	refuse(stage, ENTRY(0), 0, 1, "entry 0: is neither free nor in flight");
	refuse(stage, ENTRY(2), 1, 1, "entry 2: num: 0");
	refuse(stage, ENTRY(1) + 6, 0, 2, "entry 1: num: 0");
	refuse(stage, ENTRY(1) + 6, 0xffff, 2, "entry 1: num: 65535");
	refuse(stage, ENTRY(1) + 2, 9, 2, "entry 1: its number 1 is entry 9, which is none");
	refuse(stage, ENTRY(1) + 2, 0, 2, "entry 1: its number 1 is entry 0, which is another's");
	refuse(stage, ENTRY(1) + 2, 3, 2, "entry 1: its number 1 is entry 3, which is another's");
	refuse(stage, ENTRY(1) + 4, 1, 2, "entry 1: last: 1, expected 2");
}

/* Whoever writes the region while it is in use changes nothing here. */
static void
a_region_that_changes_underneath(void **state)
{
	struct rp_vhu_inflight_desc found[NUM];
	struct stage *stage = *state;

	assert_int_equal(open_notes(stage, NULL), 0);
	take(stage);
	take(stage);
	memset(stage->left->region, 0xff, sizeof(stage->left->region));
	assert_int_equal(rp_vhu_inflight_packed_descs(stage->packed, stage->entries[1], found, NUM), 2);
	assert_int_equal(found[1].addr, 0x101);
	assert_int_equal(rp_vhu_inflight_packed_done(stage->packed, stage->entries[1]), 0);
	rp_vhu_inflight_packed_use(stage->packed);
	rp_vhu_inflight_packed_used(stage->packed);
	take(stage);
	assert_int_equal(rp_vhu_inflight_packed_base(stage->packed), 0x80020000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_backend_that_dies_between_calls, setup, teardown),
		cmocka_unit_test_setup_teardown(a_backend_that_dies_anywhere, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_not_so, setup, teardown),
		cmocka_unit_test_setup_teardown(the_bytes_of_a_region, setup, teardown),
		cmocka_unit_test_setup_teardown(a_region_full_of_lies, setup, teardown),
		cmocka_unit_test_setup_teardown(a_region_that_changes_underneath, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
