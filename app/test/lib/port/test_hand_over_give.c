/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <malloc.h>

#include "port.h"
#include "rp_wire_fd.h"
#include "rp_wire_parcel.h"
#include "traffic.h"

#define FRAMES 100u

static struct traffic t;
static struct rp_wire_parcel *parcel;

static void
open_pair(const struct setting *setting)
{
	open_traffic(&t, setting);
	start_pair(&t);
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
}

static void
close_pair(void)
{
	parcel = rp_wire_parcel_destroy(parcel);
	close_traffic(&t);
}

/* It goes on as it was, and none of its descriptors travels. */
static void
assert_not_given(int error, const char *words)
{
	struct rp_wire_why why = {0};

	assert_int_equal(test_port_give(&t.f.port, parcel, &why), error);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s', expected '%s' in it", why.text, words);
	assert_null(rp_wire_parcel_next(parcel, NULL));
	assert_int_equal(rp_wire_parcel_fds_count(parcel), 0);
}

static void
it_can_be_called_off(void **state)
{
	static const enum rp_port_ring_policy policies[] = {RP_PORT_RING_AUTO, RP_PORT_RING_SHADOW};
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		const struct setting setting = {.ring = policies[i], .class = RP_ACCEL_CLASS_A};
		struct rp_wire_parcel_mark mark;

		open_pair(&setting);
		mark = rp_wire_parcel_mark(parcel);
		send_frames(&t, FRAMES);
		pthread_mutex_lock(&t.f.port.lock);
		assert_int_equal(rp_port_give(t.f.port.port, parcel, NULL), 0);
		assert_int_equal(fake_now().queues[TX].running, policies[i] == RP_PORT_RING_AUTO);
		rp_wire_parcel_rewind(parcel, &mark);
		rp_port_resume(t.f.port.port);
		pthread_mutex_unlock(&t.f.port.lock);
		send_frames(&t, FRAMES);
		all_arrive_once(&t);
		close_pair();
	}
}

static void
without_a_frontend_there_is_nothing(void **state)
{
	const struct setting setting = {0};

	(void)state;
	open_pair(&setting);
	test_vm_disconnect(&t.f.vm);
	while (test_port_info(&t.f.port).connected)
		usleep(1000);
	assert_not_given(-ENOTCONN, "no frontend is connected");
	test_vm_connect(&t.f.vm, fixture_config().socket_path, NULL);
	close_pair();
}

static void
a_device_that_cannot_be_given(void **state)
{
	static const enum rp_port_ring_policy policies[] = {RP_PORT_RING_AUTO, RP_PORT_RING_SHADOW};
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		const struct setting setting = {.ring = policies[i], .class = RP_ACCEL_CLASS_A};

		open_pair(&setting);
		FAKE_SET(give_error, -ENOTSUP);
		assert_not_given(-ENOTSUP, "accelerator 0: the device cannot be given away");
		FAKE_SET(give_error, 0);
		send_frames(&t, FRAMES);
		all_arrive_once(&t);
		close_pair();
	}
}

static void
a_device_that_failed(void **state)
{
	const struct setting setting = {0};

	(void)state;
	open_pair(&setting);
	FAKE_SET(open_error, -ENOENT);
	fake_accel_die(false);
	while (test_port_events(&t.f.port, "accelerator-failed") == 0)
		usleep(1000);
	assert_not_given(-ENOTSUP, "accelerator 0: ");
	FAKE_SET(open_error, 0);
	close_pair();
}

/* A private ring would have to stop, and this device stops all rings or none. */
static void
a_ring_that_cannot_stop_alone(void **state)
{
	const struct setting setting = {.class = RP_ACCEL_CLASS_B};

	(void)state;
	open_pair(&setting);
	test_port_ring(&t.f.port, RX, RP_PORT_RING_SHADOW);
	test_vm_queue_start(&t.f.vm, RX, test_vm_queue_stop(&t.f.vm, RX));
	assert_true(test_port_wait_mode(&t.f.port, RX, RP_PORT_QUEUE_SHADOW, LIMIT_MS));
	FAKE_SET(stop_error, -ENOTSUP);
	assert_not_given(-ENOTSUP, "");
	assert_true(fake_now().queues[TX].running);
	assert_int_equal(test_port_queue(&t.f.port, RX).mode, RP_PORT_QUEUE_SHADOW);
	FAKE_SET(stop_error, 0);
	send_frames(&t, FRAMES);
	all_arrive_once(&t);
	close_pair();
}

static bool
told_eventfd(struct fixture *f)
{
	(void)f;
	return fake_now().queues[TX].told == FAKE_TOLD_EVENTFD;
}

static void
sleep_and_stop(void)
{
	test_port_doorbell(&t.f.port, TX, RP_PORT_DOORBELL_RELAY);
	test_vm_queue_start(&t.f.vm, TX, 0);
	assert_true(fixture_becomes(&t.f, told_eventfd));
	/* Nothing is said until it is offered. */
	test_port_doorbell(&t.f.port, TX, RP_PORT_DOORBELL_AUTO);
	test_vm_queue_stop(&t.f.vm, TX);
}

static void
expect_watched_when_given(bool running)
{
	struct rp_wire_parcel_mark mark = rp_wire_parcel_mark(parcel);

	pthread_mutex_lock(&t.f.port.lock);
	assert_int_equal(fake_now().queues[TX].running, running);
	assert_int_equal(fake_now().queues[TX].told, FAKE_TOLD_EVENTFD);
	assert_int_equal(rp_port_give(t.f.port.port, parcel, NULL), 0);
	assert_int_equal(fake_now().queues[TX].told, FAKE_TOLD_PAGE);
	rp_wire_parcel_rewind(parcel, &mark);
	rp_port_resume(t.f.port.port);
	pthread_mutex_unlock(&t.f.port.lock);
}

/* Who comes may offer the page and say nothing: a ring that was told to sleep before it stopped watches, too. */
static void
a_ring_that_was_told_nothing(void **state)
{
	struct rp_port_config config = fixture_config();

	(void)state;
	memset(&t, 0, sizeof(t));
	config.doorbell_delay_ms = 60000;
	fixture_begin(&t.f);
	FAKE_SET(has_wishes, true);
	fixture_open_with(&t.f, &config, NULL);
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	sleep_and_stop();
	expect_watched_when_given(false);
	sleep_and_stop();
	test_vm_queue_start(&t.f.vm, TX, 0);
	expect_watched_when_given(true);
	close_pair();
}

static void
nobody_leaves(void **state)
{
	(void)state;
	assert_null(rp_port_leave(NULL));
}

#define LIVES 8u
#define CRUMBS_BYTES 1024u /* of one: what an allocator keeps for itself */

/* A process goes on without the ports that it gave, with all that they had for their devices. */
static void
its_memory_leaves_too(void **state)
{
	struct rp_port_config config = fixture_config();
	struct rp_wire_why why = {0};
	size_t before_bytes = 0;
	struct rp_port *port;
	unsigned int i;

	(void)state;
	config.access_platform = true;
	fixture_begin(&t.f);
	for (i = 0; i <= LIVES; i++) {
		if (rp_port_create(&config, &fake_accel_registry, NULL, NULL, &port, &why) < 0)
			fail_msg("rp_port_create: %s", why.text);
		assert_null(rp_port_leave(port));
		if (i == 0)
			before_bytes = mallinfo2().uordblks;
	}
	assert_true(mallinfo2().uordblks < before_bytes + LIVES * CRUMBS_BYTES);
	fake_accel_teardown();
	rp_wire_fd_close(&fake_take()->failure_fd);
	fake_give();
	test_leaks_assert_none(&t.f.leaks);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_can_be_called_off),
		cmocka_unit_test(without_a_frontend_there_is_nothing),
		cmocka_unit_test(a_device_that_cannot_be_given),
		cmocka_unit_test(a_device_that_failed),
		cmocka_unit_test(a_ring_that_cannot_stop_alone),
		cmocka_unit_test(a_ring_that_was_told_nothing),
		cmocka_unit_test(nobody_leaves),
		cmocka_unit_test(its_memory_leaves_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
