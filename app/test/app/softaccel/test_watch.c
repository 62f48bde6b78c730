/* SPDX-License-Identifier: BSD-3-Clause */
#include "rp_accel_vendor.h"
#include "sa_watch.h"
#include "test_support.h"

#define ANY RP_ACCEL_VENDOR_DOORBELL_ANY
#define EVENTFD RP_ACCEL_VENDOR_DOORBELL_EVENTFD
#define PAGE RP_ACCEL_VENDOR_DOORBELL_PAGE
#define WATCH_MS RP_ACCEL_VENDOR_DOORBELL_WATCH_MS
#define IDLE_MS 3000u
#define BEGIN_MS 1000000u

static struct sa_watch
begun(uint8_t doorbell)
{
	struct sa_watch watch = {.idle_ms = IDLE_MS};

	sa_watch_begin(&watch, doorbell, BEGIN_MS, 70);
	return watch;
}

static void
a_start_is_use(void **state)
{
	struct sa_watch watch = begun(ANY);

	(void)state;
	assert_true(watch.watched);
	assert_true(sa_watch_wants_page(&watch));
	assert_int_equal(sa_watch_judge(&watch, 70, BEGIN_MS + IDLE_MS - 1), SA_WATCH_SAME);
	assert_true(sa_watch_wants_page(&watch));
	assert_int_equal(sa_watch_judge(&watch, 70, BEGIN_MS + IDLE_MS), SA_WATCH_WISH);
	assert_false(sa_watch_wants_page(&watch));
	/* A wish; whoever may store is still watched. */
	assert_true(watch.watched);
	assert_int_equal(sa_watch_judge(&watch, 70, BEGIN_MS + 9 * IDLE_MS), SA_WATCH_SAME);
}

static void
next_to_nothing_is_idle(void **state)
{
	struct sa_watch watch = begun(PAGE);

	(void)state;
	assert_int_equal(sa_watch_judge(&watch, 70 + SA_WATCH_USES, BEGIN_MS + IDLE_MS), SA_WATCH_SAME);
	assert_int_equal(sa_watch_judge(&watch, 70 + 2 * SA_WATCH_USES, BEGIN_MS + 2 * IDLE_MS), SA_WATCH_SAME);
	assert_int_equal(sa_watch_judge(&watch, 70 + 3 * SA_WATCH_USES - 1, BEGIN_MS + 3 * IDLE_MS), SA_WATCH_WISH);
}

static void
watched_a_little_longer(void **state)
{
	struct sa_watch watch = begun(PAGE);

	(void)state;
	sa_watch_tell(&watch, EVENTFD, BEGIN_MS);
	assert_true(watch.watched);
	assert_int_equal(sa_watch_judge(&watch, 0, BEGIN_MS + WATCH_MS - 1), SA_WATCH_SAME);
	assert_true(watch.watched);
	/* Told twice: from the second time on. */
	sa_watch_tell(&watch, EVENTFD, BEGIN_MS + WATCH_MS - 1);
	assert_int_equal(sa_watch_judge(&watch, 0, BEGIN_MS + WATCH_MS), SA_WATCH_SAME);
	assert_int_equal(sa_watch_judge(&watch, 0, BEGIN_MS + 2 * WATCH_MS - 1), SA_WATCH_KICK);
	assert_false(watch.watched);
	assert_int_equal(sa_watch_judge(&watch, 0, BEGIN_MS + 2 * WATCH_MS), SA_WATCH_SAME);
	sa_watch_tell(&watch, PAGE, BEGIN_MS + 3 * WATCH_MS);
	assert_true(watch.watched);
	assert_int_equal(sa_watch_judge(&watch, 0, BEGIN_MS + 5 * WATCH_MS), SA_WATCH_SAME);
}

/* Handed out again before the time was over: nobody kicks, nobody stops looking. */
static void
given_back_and_out_again(void **state)
{
	struct sa_watch watch = begun(PAGE);

	(void)state;
	sa_watch_tell(&watch, EVENTFD, BEGIN_MS);
	sa_watch_tell(&watch, PAGE, BEGIN_MS + 10);
	assert_int_equal(sa_watch_judge(&watch, 0, BEGIN_MS + 2 * WATCH_MS), SA_WATCH_SAME);
	assert_true(watch.watched);
}

/* The queue starts anew while the page is watched a little longer, or after that. */
static void
a_start_while_given_back(void **state)
{
	struct sa_watch watch = begun(PAGE);

	(void)state;
	sa_watch_tell(&watch, EVENTFD, BEGIN_MS);
	sa_watch_begin(&watch, EVENTFD, BEGIN_MS + 10, 0);
	assert_true(watch.watched);
	assert_int_equal(sa_watch_judge(&watch, 0, BEGIN_MS + WATCH_MS), SA_WATCH_KICK);
	sa_watch_begin(&watch, EVENTFD, BEGIN_MS + 2 * WATCH_MS, 0);
	assert_false(watch.watched);
	assert_true(sa_watch_wants_page(&watch));
	sa_watch_begin(&watch, ANY, BEGIN_MS + 2 * WATCH_MS, 0);
	assert_true(watch.watched);
}

static void
kicked_often_enough(void **state)
{
	struct sa_watch watch = begun(EVENTFD);
	unsigned int i;

	(void)state;
	assert_false(sa_watch_kicked(&watch, 1000, BEGIN_MS)); /* it wants it anyway */
	assert_int_equal(sa_watch_judge(&watch, 70, BEGIN_MS + IDLE_MS), SA_WATCH_WISH);
	for (i = 0; i < 10 * SA_WATCH_KICKS; i++)
		assert_false(sa_watch_kicked(&watch, 1, BEGIN_MS + IDLE_MS + i * (SA_WATCH_KICKS_MS / 30)));
	assert_false(sa_watch_wants_page(&watch));
	for (i = 1; i < SA_WATCH_KICKS; i++)
		assert_false(sa_watch_kicked(&watch, 1, BEGIN_MS + 100 * IDLE_MS));
	assert_true(sa_watch_kicked(&watch, 1, BEGIN_MS + 100 * IDLE_MS));
	assert_true(sa_watch_wants_page(&watch));
	/* For a period at least. */
	assert_int_equal(sa_watch_judge(&watch, 400, BEGIN_MS + 101 * IDLE_MS - 1), SA_WATCH_SAME);
	/* Many that came as one. */
	watch.wants_page = false;
	assert_true(sa_watch_kicked(&watch, UINT64_MAX, BEGIN_MS + 200 * IDLE_MS));
}

static void
who_never_tires(void **state)
{
	struct sa_watch watch = {.idle_ms = 0};

	(void)state;
	sa_watch_begin(&watch, ANY, BEGIN_MS, 0);
	assert_int_equal(sa_watch_judge(&watch, 0, BEGIN_MS + 1000 * IDLE_MS), SA_WATCH_SAME);
	assert_true(watch.watched);
	assert_true(sa_watch_wants_page(&watch));
}

static void
nobody_can_map_it(void **state)
{
	struct sa_watch watch = {.never = true};

	(void)state;
	sa_watch_begin(&watch, ANY, BEGIN_MS, 0);
	assert_false(watch.watched);
	sa_watch_tell(&watch, PAGE, BEGIN_MS);
	assert_false(watch.watched);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_start_is_use),	    cmocka_unit_test(next_to_nothing_is_idle),
		cmocka_unit_test(watched_a_little_longer),  cmocka_unit_test(given_back_and_out_again),
		cmocka_unit_test(a_start_while_given_back), cmocka_unit_test(kicked_often_enough),
		cmocka_unit_test(who_never_tires),	    cmocka_unit_test(nobody_can_map_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
