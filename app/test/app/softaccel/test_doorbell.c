/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>

#include "sa_doorbell.h"
#include "test_support.h"

static void
any_index_is_seen(void **state)
{
	struct sa_doorbells doorbells;
	unsigned int index;

	(void)state;
	assert_int_equal(sa_doorbells_init(&doorbells, SOFTACCEL_DOORBELL_PAGE, 2), 0);
	assert_false(sa_doorbell_observe(sa_doorbell_word(&doorbells, 1)));
	for (index = 0; index < 256; index++) {
		uint16_t value = (uint16_t)index;

		memcpy(doorbells.memory + 4096, &value, sizeof(value));
		assert_true(sa_doorbell_observe(sa_doorbell_word(&doorbells, 1)));
		assert_false(sa_doorbell_observe(sa_doorbell_word(&doorbells, 1)));
		assert_false(sa_doorbell_observe(sa_doorbell_word(&doorbells, 0)));
	}
	sa_doorbells_fini(&doorbells);
}

static void
layouts(void **state)
{
	struct sa_doorbells doorbells;
	struct test_leaks before;

	(void)state;
	test_leaks_read(&before);
	assert_int_equal(sa_doorbells_init(&doorbells, SOFTACCEL_DOORBELL_PAGE, 6), 0);
	assert_int_equal(doorbells.size_bytes, 8 * 4096);
	assert_int_equal(sa_doorbells_queue_at(&doorbells, 5 * 4096), 5);
	assert_int_equal(sa_doorbells_queue_at(&doorbells, 6 * 4096), -1);
	assert_int_equal(sa_doorbells_queue_at(&doorbells, 5 * 4096 + 2), -1);
	sa_doorbells_fini(&doorbells);
	assert_int_equal(sa_doorbells_init(&doorbells, SOFTACCEL_DOORBELL_SHARED, 256), 0);
	assert_int_equal(doorbells.size_bytes, 4096);
	assert_int_equal(sa_doorbells_queue_at(&doorbells, 255 * 4), 255);
	sa_doorbells_fini(&doorbells);
	assert_int_equal(sa_doorbells_init(&doorbells, SOFTACCEL_DOORBELL_NONE, 2), 0);
	assert_int_equal(doorbells.fd, -1);
	sa_doorbells_fini(&doorbells);
	assert_int_equal(sa_doorbells_init(&doorbells, SOFTACCEL_DOORBELL_PAGES, 256), 0);
	assert_int_equal(doorbells.size_bytes, 256 * 4096);
	assert_int_equal(sa_doorbells_queue_at(&doorbells, 255 * 4096), 255);
	sa_doorbells_fini(&doorbells);
	test_leaks_assert_none(&before);
}

static const struct {
	unsigned int queues_count, sharing, pages_count;
} shares[] = {
	{2, 1, 2}, {8, 1, 8}, {10, 2, 8}, {16, 2, 8}, {18, 4, 8}, {32, 4, 8}, {34, 8, 8}, {254, 32, 8}, {256, 32, 8},
};

/* At most eight pages, and only where queues lie side by side in them is there anything else. */
static void
many_queues_share(void **state)
{
	struct sa_doorbells doorbells;
	unsigned int i, queue;

	(void)state;
	for (i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
		assert_int_equal(sa_doorbells_init(&doorbells, SOFTACCEL_DOORBELL_PAGE, shares[i].queues_count), 0);
		assert_int_equal(doorbells.sharing, shares[i].sharing);
		assert_int_equal(doorbells.multiplier_bytes, 4096);
		assert_true(doorbells.size_bytes <= shares[i].pages_count * 4096);
		for (queue = 0; queue < shares[i].queues_count; queue++)
			assert_ptr_equal(sa_doorbell_word(&doorbells, queue),
					 doorbells.memory + queue / shares[i].sharing * 4096);
		assert_int_equal(sa_doorbells_queue_at(&doorbells, 4096), shares[i].sharing);
		assert_int_equal(sa_doorbells_queue_at(&doorbells, 8 * 4096), -1);
		sa_doorbells_fini(&doorbells);
		assert_int_equal(sa_doorbells_sharing(SOFTACCEL_DOORBELL_SHARED, shares[i].queues_count), 1);
		assert_int_equal(sa_doorbells_sharing(SOFTACCEL_DOORBELL_NONE, shares[i].queues_count), 1);
		assert_int_equal(sa_doorbells_sharing(SOFTACCEL_DOORBELL_PAGES, shares[i].queues_count), 1);
	}
}

static void
the_number_is_in_the_first_two_bytes(void **state)
{
	uint32_t word = SA_DOORBELL_SENTINEL;
	uint16_t number = htole16(0x1234);

	(void)state;
	assert_int_equal(sa_doorbell_take(&word), SA_DOORBELL_SENTINEL);
	memcpy(&word, &number, sizeof(number));
	assert_int_equal(sa_doorbell_named(sa_doorbell_take(&word)), 0x1234);
	assert_int_equal(word, SA_DOORBELL_SENTINEL);
}

static unsigned int
said(const struct sa_doorbells *doorbells)
{
	unsigned int queue, mask = 0;

	for (queue = 0; queue < doorbells->count; queue++)
		mask |= (unsigned int)(sa_doorbell_drain(doorbells->said_fds[queue]) > 0) << queue;
	return mask;
}

/* Nobody stores over a message, so its number is believed, if it is one of those whose doorbell that is. */
static void
a_message_is_for_the_queue_that_it_names(void **state)
{
	struct sa_doorbells doorbells;

	(void)state;
	assert_int_equal(sa_doorbells_init(&doorbells, SOFTACCEL_DOORBELL_PAGE, 18), 0);
	sa_doorbells_wrote(&doorbells, 0, 2);
	assert_int_equal(said(&doorbells), 1u << 2);
	sa_doorbells_wrote(&doorbells, 4096, 7);
	assert_int_equal(said(&doorbells), 1u << 7);
	sa_doorbells_wrote(&doorbells, 4096, 8);
	assert_int_equal(said(&doorbells), 0xf0);
	sa_doorbells_wrote(&doorbells, 4096, 3);
	assert_int_equal(said(&doorbells), 0xf0);
	sa_doorbells_wrote(&doorbells, 4096, 0xffff);
	assert_int_equal(said(&doorbells), 0xf0);
	/* The last one is of two queues only. */
	sa_doorbells_wrote(&doorbells, 4 * 4096, 18);
	assert_int_equal(said(&doorbells), 3u << 16);
	sa_doorbells_wrote(&doorbells, 5 * 4096, 17);
	sa_doorbells_wrote(&doorbells, 2, 0);
	assert_int_equal(said(&doorbells), 0);
	sa_doorbells_fini(&doorbells);
	/* With a doorbell of its own the address says it all. */
	assert_int_equal(sa_doorbells_init(&doorbells, SOFTACCEL_DOORBELL_PAGE, 8), 0);
	sa_doorbells_wrote(&doorbells, 4096, 5);
	assert_int_equal(said(&doorbells), 1u << 1);
	sa_doorbells_fini(&doorbells);
}

#define MANY 40u

static unsigned int
group_of(unsigned int from, unsigned int index)
{
	return from + (index - from) / SA_DOORBELL_GROUP * SA_DOORBELL_GROUP;
}

/* Whatever their number, wherever it begins, and whatever was stored. */
static void
one_of_many_is_found(void **state)
{
	struct sa_doorbells doorbells;
	unsigned int count, from, rung;
	uint32_t *words[MANY];

	(void)state;
	assert_int_equal(sa_doorbells_init(&doorbells, SOFTACCEL_DOORBELL_SHARED, MANY), 0);
	for (rung = 0; rung < MANY; rung++)
		words[rung] = sa_doorbell_word(&doorbells, rung);
	for (rung = 0; rung < MANY; rung++) {
		uint16_t value = (uint16_t)rung;

		assert_true(sa_doorbells_find(words, 0, MANY) >= MANY);
		memcpy(words[rung], &value, sizeof(value));
		for (count = 0; count <= MANY; count++) {
			for (from = 0; from <= count; from++) {
				unsigned int found = sa_doorbells_find(words, from, count);

				if (rung >= from && rung < count)
					assert_int_equal(found, group_of(from, rung));
				else
					assert_true(found >= count);
			}
		}
		assert_true(sa_doorbell_observe(words[rung]));
	}
	sa_doorbells_fini(&doorbells);
}

static void
drain_never_waits(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	(void)state;
	assert_int_equal(sa_doorbell_drain(fd), 0);
	assert_int_equal(eventfd_write(fd, 3), 0);
	assert_int_equal(sa_doorbell_drain(fd), 3);
	assert_int_equal(sa_doorbell_drain(fd), 0);
}

static void
clear_forgets(void **state)
{
	struct sa_doorbells doorbells;
	uint16_t value = 0;

	(void)state;
	assert_int_equal(sa_doorbells_init(&doorbells, SOFTACCEL_DOORBELL_SHARED, 2), 0);
	memcpy(doorbells.memory + 4, &value, sizeof(value));
	eventfd_write(doorbells.kick_fds[0], 1);
	sa_doorbells_say(&doorbells, 0);
	sa_doorbells_clear(&doorbells);
	assert_false(sa_doorbell_observe(sa_doorbell_word(&doorbells, 1)));
	assert_int_equal(sa_doorbell_drain(doorbells.kick_fds[0]), 0);
	assert_int_equal(sa_doorbell_drain(doorbells.said_fds[0]), 0);
	sa_doorbells_fini(&doorbells);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_index_is_seen),
		cmocka_unit_test(layouts),
		cmocka_unit_test(many_queues_share),
		cmocka_unit_test(the_number_is_in_the_first_two_bytes),
		cmocka_unit_test(a_message_is_for_the_queue_that_it_names),
		cmocka_unit_test(one_of_many_is_found),
		cmocka_unit_test(drain_never_waits),
		cmocka_unit_test(clear_forgets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
