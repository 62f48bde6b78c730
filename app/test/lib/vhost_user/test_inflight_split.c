/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "crash.h"
#include "rp_vhu_inflight.h"
#include "rp_wire_fd.h"

#define NUM 4
#define START 65534u /* the used ring's idx wraps around on the way */
#define ENTRY(i) (16 + (i)*16) /* inflight: 1 byte, next: at 6, counter: at 8 */

static const struct rp_vhu_inflight_layout layout = {.queues_count = 1, .queue_num = NUM};

/* The heads that the guest makes available, in this order. */
static const uint16_t avail[] = {0, 1, 2, 3, 1, 0, 2};

/* What a dead backend leaves: the region, and what the guest saw of the ring. */
struct left {
	uint8_t region[128];
	uint16_t used_idx;
	uint16_t used[16];
	unsigned int taken; /* takes that have returned */
};

struct stage {
	struct test_leaks before;
	int fd;
	struct left *left;
	struct rp_vhu_inflight *inflight;
	struct rp_vhu_inflight_split *split;
	void (*check)(void *ctx); /* after each call; NULL: somebody else looks */
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
	stage.left->used_idx = START;
	assert_int_equal(rp_vhu_inflight_bytes(&layout), sizeof(stage.left->region));
	assert_int_equal(rp_vhu_inflight_create(stage.fd, &layout, 128, 0, &stage.inflight, NULL), 0);
	*state = &stage;
	return 0;
}

static int
teardown(void **state)
{
	struct stage *stage = *state;

	rp_vhu_inflight_split_destroy(stage->split);
	rp_vhu_inflight_destroy(stage->inflight);
	munmap(stage->left, sizeof(*stage->left));
	rp_wire_fd_close(&stage->fd);
	test_leaks_assert_none(&stage->before);
	return 0;
}

static int
open_notes(struct stage *stage, struct rp_wire_why *why)
{
	stage->split = rp_vhu_inflight_split_destroy(stage->split);
	return rp_vhu_inflight_split_create(stage->inflight, 0, NUM, stage->left->used_idx, &stage->split, why);
}

static void
look(struct stage *stage)
{
	if (stage->check != NULL)
		stage->check(stage);
}

static void
take(struct stage *stage)
{
	if (rp_vhu_inflight_split_take(stage->split, avail[stage->left->taken]) != 0)
		abort();
	look(stage);
	stage->left->taken++;
}

static void
done(struct stage *stage, uint16_t head)
{
	if (rp_vhu_inflight_split_done(stage->split, head) != 0)
		abort();
	look(stage);
}

static void
use(struct stage *stage, const uint16_t *heads, unsigned int count)
{
	uint16_t at = (uint16_t)(stage->left->used_idx - START);
	unsigned int i;

	for (i = 0; i < count; i++) {
		done(stage, heads[i]);
		stage->left->used[at + i] = heads[i];
	}
	__atomic_store_n(&stage->left->used_idx, (uint16_t)(stage->left->used_idx + count), __ATOMIC_RELEASE);
	look(stage);
	rp_vhu_inflight_split_used(stage->split);
	look(stage);
}

/* A backend's life: one and several at once, out of order, heads that come again. */
static void
live(void *ctx)
{
	struct stage *stage = ctx;

	if (open_notes(stage, NULL) != 0)
		abort();
	look(stage);
	take(stage);
	take(stage);
	take(stage);
	use(stage, (const uint16_t[]){1, 0}, 2);
	take(stage);
	use(stage, (const uint16_t[]){2}, 1);
	take(stage);
	take(stage);
	take(stage);
	use(stage, (const uint16_t[]){0, 3, 2, 1}, 4);
}

/* The model: what was made available and is not used is in flight, in that order, or still to be read. */
static unsigned int
expected(const struct left *left, unsigned int avail_count, uint16_t *ret_heads)
{
	unsigned int used_count = (uint16_t)(left->used_idx - START), count = 0, i, j;
	bool gone[sizeof(avail) / sizeof(avail[0])] = {false};

	for (i = 0; i < used_count; i++) {
		for (j = 0; j < avail_count && (gone[j] || avail[j] != left->used[i]); j++)
			continue;
		assert_true(j < avail_count);
		gone[j] = true;
	}
	for (i = 0; i < avail_count; i++)
		if (!gone[i])
			ret_heads[count++] = avail[i];
	return count;
}

/* The next backend, on a copy: finds what the model says, does it, and leaves nothing. */
static void
next_backend(void *ctx)
{
	struct stage *stage = ctx, next = {.check = NULL};
	uint16_t want[16], found[NUM];
	const uint16_t *heads;
	unsigned int count, avail_count, i;
	struct left copy = *stage->left;

	next.fd = test_memfd(sizeof(copy), true);
	assert_int_equal(pwrite(next.fd, &copy, sizeof(copy), 0), sizeof(copy));
	next.left = &copy;
	assert_int_equal(rp_vhu_inflight_create(next.fd, &layout, 128, 0, &next.inflight, NULL), 0);
	assert_int_equal(open_notes(&next, NULL), 0);
	count = rp_vhu_inflight_split_pending(next.split, &heads);
	avail_count = (uint16_t)(rp_vhu_inflight_split_avail_idx(next.split) - START);
	assert_true(avail_count >= copy.taken && avail_count <= copy.taken + 1);
	assert_int_equal(count, expected(&copy, avail_count, want));
	assert_memory_equal(heads, want, count * sizeof(want[0]));
	memcpy(found, heads, count * sizeof(found[0]));
	for (i = count; i-- > 0;)
		use(&next, &found[i], 1);
	assert_int_equal(open_notes(&next, NULL), 0);
	assert_int_equal(rp_vhu_inflight_split_pending(next.split, &heads), 0);
	rp_vhu_inflight_split_destroy(next.split);
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
	assert_true(stage->checks > 20);
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
	/* Each take stores two fields, each done two, each used one for each head and one more. */
	assert_true(states > 50);
	assert_int_equal(stage->left->taken, 7);
}

static void
what_is_not_so(void **state)
{
	struct stage *stage = *state;
	const uint16_t *heads;

	assert_int_equal(open_notes(stage, NULL), 0);
	assert_int_equal(rp_vhu_inflight_split_avail_idx(stage->split), START);
	assert_int_equal(rp_vhu_inflight_split_done(stage->split, 0), -EBUSY);
	assert_int_equal(rp_vhu_inflight_split_take(stage->split, NUM), -EBADMSG);
	assert_int_equal(rp_vhu_inflight_split_done(stage->split, NUM), -EBADMSG);
	assert_int_equal(rp_vhu_inflight_split_take(stage->split, 0), 0);
	assert_int_equal(rp_vhu_inflight_split_take(stage->split, 0), -EBUSY);
	assert_int_equal(rp_vhu_inflight_split_done(stage->split, 0), 0);
	assert_int_equal(rp_vhu_inflight_split_done(stage->split, 0), -EBUSY);
	assert_int_equal(rp_vhu_inflight_split_take(stage->split, 0), -EBUSY);
	rp_vhu_inflight_split_used(stage->split);
	rp_vhu_inflight_split_used(stage->split);
	assert_int_equal(rp_vhu_inflight_split_avail_idx(stage->split), 65535);
	assert_int_equal(rp_vhu_inflight_split_pending(stage->split, &heads), 0);
}

/* Fields where the specification has them, in the host's byte order. */
static void
the_bytes_of_a_region(void **state)
{
	struct stage *stage = *state;
	uint16_t head[4]; /* version, desc_num, last_batch_head, used_idx */
	uint64_t counter;
	uint16_t next;

	assert_int_equal(open_notes(stage, NULL), 0);
	take(stage);
	take(stage);
	use(stage, (const uint16_t[]){1}, 1);
	memcpy(head, stage->left->region + 8, sizeof(head));
	assert_int_equal(head[0], 1);
	assert_int_equal(head[1], NUM);
	assert_int_equal(head[2], 1);
	assert_int_equal(head[3], 65535);
	assert_int_equal(stage->left->region[ENTRY(0)], 1);
	assert_int_equal(stage->left->region[ENTRY(1)], 0);
	memcpy(&counter, &stage->left->region[ENTRY(1) + 8], sizeof(counter));
	assert_int_equal(counter, 1);
	memcpy(&next, &stage->left->region[ENTRY(1) + 6], sizeof(next));
	assert_int_equal(next, 0);
}

static void
refuse(struct stage *stage, size_t at, const void *bytes, size_t size_bytes, const char *words)
{
	struct left good = *stage->left, bad;
	struct rp_wire_why why = {0};

	memcpy(stage->left->region + at, bytes, size_bytes);
	bad = *stage->left;
	assert_int_equal(open_notes(stage, &why), -EBADMSG);
	assert_null(stage->split);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s', expected '%s'", why.text, words);
	assert_memory_equal(stage->left, &bad, sizeof(bad));
	*stage->left = good;
}

/* By name, and nothing is written. */
static void
a_region_full_of_lies(void **state)
{
	struct stage *stage = *state;
	const uint16_t two = 2, many = START - 5, beyond = NUM, itself = 1, behind = START - 2;
	const uint8_t inflight = 2;

	assert_int_equal(open_notes(stage, NULL), 0);
	take(stage);
	take(stage);
	use(stage, (const uint16_t[]){1}, 1);
	refuse(stage, 8, &two, 2, "queue 0: version: 2");
	refuse(stage, 10, &two, 2, "desc_num: 2, expected 4");
	refuse(stage, 14, &many, 2, "used_idx: 65529, and the used ring's is 65535: more than 4 apart");
	refuse(stage, ENTRY(3), &inflight, 1, "entry 3: inflight: 2, expected 0 or 1");
	/* A last batch of one, whose head is none; then of three, whose list bites its tail. */
	memcpy(stage->left->region + 14, &(uint16_t){START}, 2);
	refuse(stage, 12, &beyond, 2, "last_batch_head: 1 entries, number 0 is 4");
	memcpy(stage->left->region + 14, &behind, 2);
	refuse(stage, ENTRY(1) + 6, &itself, 2, "last_batch_head: 3 entries, number 1 is 1 again");
}

/* A used ring that the guest wrote, and notes of it that say otherwise. */
static void
a_used_ring_full_of_lies(void **state)
{
	struct stage *stage = *state;
	struct rp_wire_why why;

	assert_int_equal(open_notes(stage, NULL), 0);
	take(stage);
	stage->left->used_idx = (uint16_t)(START + NUM + 1);
	assert_int_equal(open_notes(stage, &why), -EBADMSG);
	assert_non_null(strstr(why.text, "used_idx"));
}

/* The driver may make the queue smaller than it may be. */
static void
a_ring_smaller_than_its_region(void **state)
{
	struct stage *stage = *state;
	struct rp_wire_why why;

	assert_int_equal(rp_vhu_inflight_split_create(stage->inflight, 0, 2, 7, &stage->split, NULL), 0);
	assert_int_equal(rp_vhu_inflight_split_take(stage->split, 2), -EBADMSG);
	assert_int_equal(rp_vhu_inflight_split_take(stage->split, 1), 0);
	stage->split = rp_vhu_inflight_split_destroy(stage->split);
	stage->left->region[ENTRY(2)] = 1;
	assert_int_equal(rp_vhu_inflight_split_create(stage->inflight, 0, 2, 7, &stage->split, &why), -EBADMSG);
	assert_non_null(strstr(why.text, "entry 2: inflight: 1, expected 0"));
	assert_int_equal(rp_vhu_inflight_split_create(stage->inflight, 0, NUM + 1, 7, &stage->split, NULL), -EINVAL);
	assert_int_equal(rp_vhu_inflight_split_create(stage->inflight, 1, NUM, 7, &stage->split, NULL), -EINVAL);
}

/* Whoever writes the region while it is in use changes nothing here. */
static void
a_region_that_changes_underneath(void **state)
{
	struct stage *stage = *state;

	assert_int_equal(open_notes(stage, NULL), 0);
	take(stage);
	take(stage);
	memset(stage->left->region, 0xff, sizeof(stage->left->region));
	assert_int_equal(rp_vhu_inflight_split_take(stage->split, 0), -EBUSY);
	assert_int_equal(rp_vhu_inflight_split_done(stage->split, 0), 0);
	rp_vhu_inflight_split_used(stage->split);
	assert_int_equal(rp_vhu_inflight_split_avail_idx(stage->split), (uint16_t)(START + 2));
	assert_int_equal(rp_vhu_inflight_split_take(stage->split, 0), 0);
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
		cmocka_unit_test_setup_teardown(a_used_ring_full_of_lies, setup, teardown),
		cmocka_unit_test_setup_teardown(a_ring_smaller_than_its_region, setup, teardown),
		cmocka_unit_test_setup_teardown(a_region_that_changes_underneath, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
