/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "fixture.h"
#include "port.h"
#include "rp_wire_clock.h"
#include "vhu_frontend.h"

/* A device that says how it wants to be kicked. */

static void
open_with_wishes(struct fixture *f)
{
	fixture_begin(f);
	FAKE_SET(has_wishes, true);
}

static void
start_mapped(struct fixture *f, unsigned int queue)
{
	struct rp_port_config config = fixture_config();

	open_with_wishes(f);
	fixture_open_with(f, &config, NULL);
	test_vm_queue_start(&f->vm, queue, 0);
	assert_true(test_vm_wait_doorbell(&f->vm, queue, true, LIMIT_MS));
	assert_true(test_port_wait_mode(&f->port, queue, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
}

static bool
told_eventfd(struct fixture *f)
{
	(void)f;
	return fake_now().queues[1].told == FAKE_TOLD_EVENTFD;
}

static bool
told_page(struct fixture *f)
{
	(void)f;
	return fake_now().queues[1].told == FAKE_TOLD_PAGE;
}

static void
the_device_is_told_first(void **state)
{
	const struct test_vm_options options = {.deaf_while_waiting = true};
	struct rp_port_config config = fixture_config();
	struct fixture f;
	int i;

	(void)state;
	open_with_wishes(&f);
	fixture_open_with(&f, &config, &options);
	test_vm_queue_start(&f.vm, 1, 0);
	/* Offered, and the frontend has not looked yet. */
	for (i = 0; i < LIMIT_MS && test_port_queue(&f.port, 1).doorbell != RP_PORT_DOORBELL_PENDING; i++)
		usleep(1000);
	assert_int_equal(fake_now().queues[1].told, FAKE_TOLD_PAGE);
	assert_true(test_vm_wait_doorbell(&f.vm, 1, true, LIMIT_MS));
	assert_true(test_port_wait_mode(&f.port, 1, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
	assert_int_equal(fake_now().queues[1].tells, 1);
	assert_true(test_port_queue(&f.port, 1).doorbell_wanted);
	fixture_close(&f);
}

static void
given_back_when_idle(void **state)
{
	struct fixture f;
	struct rp_port_queue_info info;
	unsigned int kicks;

	(void)state;
	start_mapped(&f, 1);
	kicks = fake_now().queues[1].kicks;
	fake_accel_wish(1, true);
	assert_true(test_vm_wait_doorbell(&f.vm, 1, false, LIMIT_MS));
	assert_true(fixture_becomes(&f, told_eventfd));
	info = test_port_queue(&f.port, 1);
	assert_int_equal(info.mode, RP_PORT_QUEUE_RELAYED);
	assert_int_equal(info.doorbell, RP_PORT_DOORBELL_UNMAPPED);
	assert_int_equal(info.doorbell_idles, 1);
	assert_false(info.doorbell_wanted);
	assert_string_equal(info.reason, "the queue is idle, and the device would rather be woken");
	assert_int_equal(test_port_events(&f.port, "doorbell-idle"), 1);
	/* What was stored to the page while nobody knew whose it was. */
	assert_true(fake_now().queues[1].kicks > kicks);
	assert_int_equal(f.vm.unmaps, 1);
	assert_int_equal(fake_now().queues[1].stops, 0);
	/* Not offered by itself; kicks come all the same. */
	assert_false(test_vm_wait_doorbell(&f.vm, 1, true, 60));
	kicks = fake_now().queues[1].kicks;
	test_vm_kick(&f.vm, 1);
	while (fake_now().queues[1].kicks == kicks)
		usleep(500);
	assert_int_equal(fake_now().queues[1].tells, 2);
	fixture_close(&f);
}

static void
offered_again_under_load(void **state)
{
	struct fixture f;
	unsigned int i;

	(void)state;
	start_mapped(&f, 1);
	for (i = 1; i <= 3; i++) {
		fake_accel_wish(1, true);
		assert_true(test_vm_wait_doorbell(&f.vm, 1, false, LIMIT_MS));
		assert_true(fixture_becomes(&f, told_eventfd));
		fake_accel_wish(1, false);
		assert_true(test_vm_wait_doorbell(&f.vm, 1, true, LIMIT_MS));
		assert_int_equal(fake_now().queues[1].told, FAKE_TOLD_PAGE);
		assert_true(test_port_wait_mode(&f.port, 1, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
		assert_int_equal(test_port_queue(&f.port, 1).doorbell_idles, i);
	}
	assert_int_equal(f.vm.maps, 4);
	assert_int_equal(f.vm.unmaps, 3);
	fixture_close(&f);
}

static bool
was_mapped_and_idle(struct fixture *f)
{
	return f->vm.maps == 1 && f->vm.unmaps == 1 && told_eventfd(f);
}

/* It changes its mind while the frontend has not answered: the answer comes first. */
static void
a_wish_while_an_answer_is_out(void **state)
{
	const struct test_vm_options options = {.deaf_while_waiting = true};
	struct rp_port_config config = fixture_config();
	struct fixture f;
	int i;

	(void)state;
	open_with_wishes(&f);
	fixture_open_with(&f, &config, &options);
	test_vm_queue_start(&f.vm, 1, 0);
	for (i = 0; i < LIMIT_MS && test_port_queue(&f.port, 1).doorbell != RP_PORT_DOORBELL_PENDING; i++)
		usleep(1000);
	fake_accel_wish(1, true);
	while (test_port_queue(&f.port, 1).doorbell_wanted)
		usleep(500);
	assert_int_equal(fake_now().queues[1].told, FAKE_TOLD_PAGE);
	assert_true(fixture_becomes(&f, was_mapped_and_idle));
	/* And back, while it is being taken back. */
	fake_accel_wish(1, false);
	assert_true(test_vm_wait_doorbell(&f.vm, 1, true, LIMIT_MS));
	assert_true(test_port_wait_mode(&f.port, 1, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
	fake_accel_wish(1, true);
	for (i = 0; i < LIMIT_MS && test_port_queue(&f.port, 1).doorbell != RP_PORT_DOORBELL_REVOKING; i++)
		usleep(1000);
	assert_int_equal(test_port_queue(&f.port, 1).doorbell, RP_PORT_DOORBELL_REVOKING);
	fake_accel_wish(1, false);
	while (!test_port_queue(&f.port, 1).doorbell_wanted)
		usleep(500);
	assert_int_equal(fake_now().queues[1].told, FAKE_TOLD_PAGE);
	for (i = 0; i < LIMIT_MS && f.vm.maps < 3; i++) {
		rp_vhu_frontend_process(f.vm.frontend);
		usleep(1000);
	}
	assert_true(test_port_wait_mode(&f.port, 1, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
	assert_int_equal(fake_now().queues[1].told, FAKE_TOLD_PAGE);
	fixture_close(&f);
}

/* Whoever keeps the page from the guest, the device need not watch it. */
static void
told_that_nobody_will_store(void **state)
{
	const struct test_vm_options options = {.notify_slot_bytes = 2 * (size_t)4096};
	struct rp_port_config config = fixture_config();
	struct fixture f;

	(void)state;
	start_mapped(&f, 1);
	test_port_doorbell(&f.port, 1, RP_PORT_DOORBELL_RELAY);
	assert_true(test_vm_wait_doorbell(&f.vm, 1, false, LIMIT_MS));
	assert_true(fixture_becomes(&f, told_eventfd));
	assert_int_equal(test_port_queue(&f.port, 1).doorbell_idles, 0);
	test_port_doorbell(&f.port, 1, RP_PORT_DOORBELL_AUTO);
	assert_true(test_vm_wait_doorbell(&f.vm, 1, true, LIMIT_MS));
	assert_int_equal(fake_now().queues[1].told, FAKE_TOLD_PAGE);
	fixture_close(&f);

	open_with_wishes(&f);
	fixture_open_with(&f, &config, &options);
	test_vm_queue_start(&f.vm, 1, 0);
	assert_true(fixture_becomes(&f, told_eventfd));
	assert_int_equal(test_port_events(&f.port, "doorbell-refused"), 1);
	fixture_close(&f);
}

static bool
queue_1_runs(struct fixture *f)
{
	(void)f;
	return fake_now().queues[1].running;
}

/* A start is use; and what was said of the ring before is forgotten, wherever the doorbell was. */
static void
stopped_in_every_state(void **state)
{
	struct fixture f;

	(void)state;
	start_mapped(&f, 1);
	fake_accel_wish(1, true);
	assert_true(fixture_becomes(&f, told_eventfd));
	test_vm_queue_stop(&f.vm, 1);
	test_vm_queue_start(&f.vm, 1, 0);
	assert_true(test_vm_wait_doorbell(&f.vm, 1, true, LIMIT_MS));
	assert_true(fixture_becomes(&f, told_page));
	/* Disabled and enabled while the page is out: the device keeps watching until it is back. */
	assert_true(test_port_wait_mode(&f.port, 1, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
	assert_int_equal(test_port_disable(&f.port, 1), 0);
	assert_int_equal(test_port_enable(&f.port, 1), 0);
	assert_int_equal(test_port_queue(&f.port, 1).doorbell, RP_PORT_DOORBELL_REVOKING);
	fake_accel_wish(1, true);
	while (test_port_queue(&f.port, 1).doorbell_wanted)
		usleep(500);
	assert_int_equal(fake_now().queues[1].told, FAKE_TOLD_PAGE);
	assert_true(fixture_becomes(&f, told_eventfd));
	assert_true(fixture_becomes(&f, queue_1_runs));
	assert_int_equal(test_port_queue(&f.port, 1).doorbell, RP_PORT_DOORBELL_UNMAPPED);
	fixture_close(&f);
}

static void
a_device_without_wishes(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f);
	test_vm_queue_start(&f.vm, 1, 0);
	assert_true(test_vm_wait_doorbell(&f.vm, 1, true, LIMIT_MS));
	assert_true(test_port_wait_mode(&f.port, 1, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
	assert_int_equal(fake_now().queues[1].tells, 1);
	assert_int_equal(test_port_queue(&f.port, 1).doorbell_idles, 0);
	fixture_close(&f);
}

static bool
failed(struct fixture *f)
{
	return test_port_events(&f->port, "accelerator-failed") > 0;
}

static void
a_device_that_leaves_when_told(void **state)
{
	struct rp_port_config config = fixture_config();
	struct fixture f;

	(void)state;
	open_with_wishes(&f);
	FAKE_SET(tell_error, -ENOTCONN);
	fixture_open_with(&f, &config, NULL);
	test_vm_queue_start(&f.vm, 1, 0);
	assert_true(fixture_becomes(&f, failed));
	assert_int_equal(f.vm.maps, 0);
	pthread_mutex_lock(&f.port.lock);
	/* There was no offer yet. */
	assert_int_equal(f.port.port->queues[1].doorbell.state, RP_PORT_DOORBELL_UNMAPPED);
	assert_false(f.port.port->queues[1].doorbell.stale);
	pthread_mutex_unlock(&f.port.lock);
	fixture_close(&f);
}

/* All of them in one moment: one after the other. */
static void
many_at_once(void **state)
{
	struct fixture f;
	unsigned int i;

	(void)state;
	start_mapped(&f, 0);
	for (i = 1; i < 4; i++)
		test_vm_queue_start(&f.vm, i, 0);
	for (i = 1; i < 4; i++) {
		assert_true(test_vm_wait_doorbell(&f.vm, i, true, LIMIT_MS));
		assert_true(test_port_wait_mode(&f.port, i, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
	}
	for (i = 0; i < 4; i++)
		fake_accel_wish(i, true);
	for (i = 0; i < 4; i++) {
		assert_true(test_vm_wait_doorbell(&f.vm, i, false, LIMIT_MS));
		assert_true(test_port_wait_mode(&f.port, i, RP_PORT_QUEUE_RELAYED, LIMIT_MS));
		assert_int_equal(test_port_queue(&f.port, i).doorbell_idles, 1);
	}
	fixture_close(&f);
}

static bool
is_unwanted(struct fixture *f)
{
	return !test_port_queue(&f->port, 1).doorbell_wanted;
}

/* How often the port is ready in that time, although nobody has anything for it. */
static unsigned int
wakes(struct fixture *f, unsigned int limit_ms)
{
	uint64_t end_ms = rp_wire_clock_ms() + limit_ms;
	struct pollfd wait = {.events = POLLIN};
	unsigned int count = 0;

	pthread_mutex_lock(&f->port.lock);
	wait.fd = rp_port_fd(f->port.port);
	while (rp_wire_clock_ms() < end_ms) {
		count += poll(&wait, 1, 1) > 0;
		rp_port_process(f->port.port);
	}
	pthread_mutex_unlock(&f->port.lock);
	return count;
}

/* A frontend may lose the channel alone; then nothing can be taken back, and to try costs nothing. */
static void
a_channel_that_closes_while_it_is_mapped(void **state)
{
	struct rp_port_config config = fixture_config();
	struct fixture f;

	(void)state;
	config.doorbell_delay_ms = 50;
	open_with_wishes(&f);
	fixture_open_with(&f, &config, NULL);
	test_vm_queue_start(&f.vm, 1, 0);
	assert_true(test_vm_wait_doorbell(&f.vm, 1, true, LIMIT_MS));
	assert_true(test_port_wait_mode(&f.port, 1, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
	vhu_frontend_close_channel(f.vm.frontend);
	fake_accel_wish(1, true);
	assert_true(fixture_becomes(&f, is_unwanted));
	/* Once for each delay, and a few more for what came before. */
	assert_true(wakes(&f, 500) <= 25);
	assert_int_equal(fake_now().queues[1].told, FAKE_TOLD_PAGE);
	assert_int_equal(test_port_queue(&f.port, 1).doorbell, RP_PORT_DOORBELL_MAPPED);
	fixture_close(&f);
}

static bool
is_state(struct fixture *f, enum rp_port_doorbell_state state)
{
	return test_port_queue(&f->port, 1).doorbell == state;
}

/* Until it is in that state, without a look at what the backend asks. */
static void
wait_state(struct fixture *f, enum rp_port_doorbell_state state)
{
	int i;

	for (i = 0; i < LIMIT_MS && !is_state(f, state); i++)
		usleep(1000);
	assert_true(is_state(f, state));
}

static bool
was_refused(struct fixture *f)
{
	return test_port_events(&f->port, "doorbell-refused") == 1;
}

/* What was offered may have been mapped before the channel ended: the device goes on to watch. */
static void
a_channel_that_closes_before_an_answer(void **state)
{
	const struct test_vm_options options = {.deaf_while_waiting = true};
	struct rp_port_config config = fixture_config();
	struct fixture f;

	(void)state;
	open_with_wishes(&f);
	fixture_open_with(&f, &config, &options);
	test_vm_queue_start(&f.vm, 1, 0);
	wait_state(&f, RP_PORT_DOORBELL_PENDING);
	vhu_frontend_close_channel(f.vm.frontend);
	wait_state(&f, RP_PORT_DOORBELL_UNMAPPED);
	assert_true(fixture_becomes(&f, was_refused));
	wakes(&f, 20);
	assert_int_equal(fake_now().queues[1].told, FAKE_TOLD_PAGE);
	/* A guest that stopped its ring has dropped it. */
	test_vm_queue_stop(&f.vm, 1);
	test_vm_queue_start(&f.vm, 1, 0);
	assert_true(fixture_becomes(&f, told_eventfd));
	fixture_close(&f);
}

/* And what was to be given back may not have been. */
static void
a_channel_that_closes_before_it_is_back(void **state)
{
	struct fixture f;

	(void)state;
	start_mapped(&f, 1);
	fake_accel_wish(1, true);
	wait_state(&f, RP_PORT_DOORBELL_REVOKING);
	vhu_frontend_close_channel(f.vm.frontend);
	wait_state(&f, RP_PORT_DOORBELL_UNMAPPED);
	wakes(&f, 20);
	assert_int_equal(fake_now().queues[1].told, FAKE_TOLD_PAGE);
	fixture_close(&f);
}

static void
a_frontend_that_does_not_give_it_back(void **state)
{
	struct fixture f;

	(void)state;
	start_mapped(&f, 1);
	fake_accel_wish(1, true);
	wait_state(&f, RP_PORT_DOORBELL_REVOKING);
	/* Our frontend never refuses: its word comes from here. */
	pthread_mutex_lock(&f.port.lock);
	port_doorbell_reply(f.port.port, &f.port.port->queues[1], -EREMOTEIO);
	pthread_mutex_unlock(&f.port.lock);
	assert_int_equal(test_port_events(&f.port, "doorbell-kept"), 1);
	wakes(&f, 20);
	assert_int_equal(fake_now().queues[1].told, FAKE_TOLD_PAGE);
	assert_true(is_state(&f, RP_PORT_DOORBELL_UNMAPPED));
	fixture_close(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_device_is_told_first),
		cmocka_unit_test(given_back_when_idle),
		cmocka_unit_test(offered_again_under_load),
		cmocka_unit_test(a_wish_while_an_answer_is_out),
		cmocka_unit_test(told_that_nobody_will_store),
		cmocka_unit_test(stopped_in_every_state),
		cmocka_unit_test(a_device_without_wishes),
		cmocka_unit_test(a_device_that_leaves_when_told),
		cmocka_unit_test(many_at_once),
		cmocka_unit_test(a_channel_that_closes_while_it_is_mapped),
		cmocka_unit_test(a_channel_that_closes_before_an_answer),
		cmocka_unit_test(a_channel_that_closes_before_it_is_back),
		cmocka_unit_test(a_frontend_that_does_not_give_it_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
