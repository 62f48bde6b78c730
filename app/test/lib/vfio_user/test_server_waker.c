/* SPDX-License-Identifier: BSD-3-Clause */
#include <poll.h>

#include "test_support.h"
#include "vfu_waker.h"

static struct rp_vfu_waker waker;

static bool
is_told(void)
{
	struct pollfd wait = {.fd = waker.fd, .events = POLLIN};

	return poll(&wait, 1, 0) == 1;
}

static void *
wake(void *ctx)
{
	rp_vfu_waker_wake(ctx);
	return NULL;
}

static void
wake_from_another_thread(void)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, wake, &waker), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void
test_told_once_until_it_looked(void **state)
{
	(void)state;
	assert_int_equal(rp_vfu_waker_create(&waker), 0);
	assert_false(is_told());
	rp_vfu_waker_wake(&waker);
	wake_from_another_thread();
	assert_true(is_told());
	rp_vfu_waker_awake(&waker);
	assert_false(is_told());
	rp_vfu_waker_awake(&waker);
	rp_vfu_waker_wake(&waker);
	assert_true(is_told());
	rp_vfu_waker_destroy(&waker);
}

static void
test_who_was_woken_does_not_sleep(void **state)
{
	(void)state;
	assert_int_equal(rp_vfu_waker_create(&waker), 0);
	/* Before anybody sleeps it makes no difference who wakes. */
	wake_from_another_thread();
	assert_false(rp_vfu_waker_may_sleep(&waker));
	rp_vfu_waker_awake(&waker);
	assert_true(rp_vfu_waker_may_sleep(&waker));
	rp_vfu_waker_wake(&waker);
	assert_false(rp_vfu_waker_may_sleep(&waker));
	rp_vfu_waker_awake(&waker);
	assert_true(rp_vfu_waker_may_sleep(&waker));
	/* Then it does: that one cannot end a sleep. */
	wake_from_another_thread();
	rp_vfu_waker_awake(&waker);
	assert_false(rp_vfu_waker_may_sleep(&waker));
	rp_vfu_waker_forget(&waker);
	assert_true(rp_vfu_waker_may_sleep(&waker));
	rp_vfu_waker_destroy(&waker);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_told_once_until_it_looked),
		cmocka_unit_test(test_who_was_woken_does_not_sleep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
