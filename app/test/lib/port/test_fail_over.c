/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "port.h"
#include "traffic.h"

/* The first of two accelerators dies; the second has pairs free. */

static bool
is_on_the_second(struct fixture *f)
{
	struct rp_port_queue_info rx = test_port_queue(&f->port, RX), tx = test_port_queue(&f->port, TX);

	return rx.accelerator == 1 && tx.accelerator == 1 && rx.owner == RP_PORT_OWNER_HARDWARE &&
	       tx.owner == RP_PORT_OWNER_HARDWARE;
}

static bool
is_back(struct fixture *f)
{
	return test_port_events(&f->port, "accelerator-back") == 1;
}

static bool
has_failed(struct fixture *f)
{
	return test_port_events(&f->port, "accelerator-failed") == 1;
}

static void
split_rings_go_on(void **state)
{
	static struct traffic t;

	(void)state;
	begin_on_first(&t, &(struct setting){.fail_over = true}, 100);
	assert_true(fixture_becomes(&t.f, is_direct));
	fake_accel_die(true);
	assert_true(fixture_becomes(&t.f, is_on_the_second));
	exchange_frames(&t, 100);
	assert_true(fixture_becomes(&t.f, is_direct));
	assert_int_equal(test_port_queue(&t.f.port, TX).moves_between_accelerators, 1);
	assert_int_equal(test_port_queue(&t.f.port, TX).blackouts_count, 1);
	/* It comes back: what went stays where it is, and may return when the user says so. */
	assert_true(fixture_becomes(&t.f, is_back));
	assert_true(is_on_the_second(&t.f));
	assert_int_equal(test_port_transfer(&t.f.port, 0, 2, 0, NULL), 0);
	exchange_frames(&t, 100);
	close_traffic(&t);
}

/* What was taken and not used is done again, by the other. */
static void
what_was_under_way_is_done_again(void **state)
{
	static struct traffic t;
	unsigned int i;

	(void)state;
	begin_on_first(&t, &(struct setting){.fail_over = true}, 20);
	FAKE_SET(hold, 5);
	send_frames(&t, 5);
	for (i = 0; i < LIMIT_MS && fake_now().hold != 0; i++)
		usleep(1000);
	assert_int_equal(fake_now().hold, 0);
	fake_accel_die(true);
	assert_true(fixture_becomes(&t.f, is_on_the_second));
	all_arrive_once(&t);
	assert_int_equal(test_port_queue(&t.f.port, TX).redone, 5);
	close_traffic(&t);
}

/* Where it stopped nobody knows; a driver that makes it anew finds the other. */
static void
packed_rings_begin_anew(void **state)
{
	static struct traffic t;

	(void)state;
	begin_on_first(&t, &(struct setting){.format = TEST_VM_PACKED, .fail_over = true}, 20);
	fake_accel_die(true);
	assert_true(fixture_becomes(&t.f, has_failed));
	while (test_port_queue(&t.f.port, TX).accelerator != 1)
		usleep(1000);
	assert_int_equal(test_port_queue(&t.f.port, TX).owner, RP_PORT_OWNER_NONE);
	assert_non_null(strstr(test_port_queue(&t.f.port, TX).reason, "must start it anew"));
	test_vm_reload(&t.f.vm);
	start_pair(&t);
	assert_true(fixture_becomes(&t.f, is_on_the_second));
	exchange_frames(&t, 20);
	close_traffic(&t);
}

/* A private ring says where it stands: packed, it goes on. */
static void
private_packed_rings_go_on(void **state)
{
	static struct traffic t;

	(void)state;
	begin_on_first(&t, &(struct setting){.format = TEST_VM_PACKED, .ring = RP_PORT_RING_SHADOW, .fail_over = true},
		       20);
	fake_accel_die(true);
	assert_true(fixture_becomes(&t.f, is_on_the_second));
	exchange_frames(&t, 20);
	close_traffic(&t);
}

static void
not_without_proof(void **state)
{
	static struct traffic t;

	(void)state;
	begin_on_first(&t, &(struct setting){.fail_over = true}, 20);
	fake_accel_die(false);
	assert_true(fixture_becomes(&t.f, has_failed));
	usleep(50000);
	assert_int_equal(test_port_queue(&t.f.port, TX).accelerator, 0);
	assert_non_null(strstr(test_port_queue(&t.f.port, TX).reason, "nothing proves"));
	FAKE_SET(quiet, true);
	assert_true(fixture_becomes(&t.f, is_on_the_second));
	exchange_frames(&t, 20);
	close_traffic(&t);
}

static void
not_unless_configured(void **state)
{
	static struct traffic t;

	(void)state;
	begin_on_first(&t, &(struct setting){.fail_over = false}, 0);
	fake_accel_die(true);
	assert_true(fixture_becomes(&t.f, is_back));
	assert_int_equal(test_port_queue(&t.f.port, TX).accelerator, 0);
	assert_int_equal(test_port_events(&t.f.port, "queue-transferred"), 0);
	close_traffic(&t);
}

/* Its page is in the guest's hands still: the device is not closed before that was taken back. */
static void
the_dead_ones_doorbell_comes_back_first(void **state)
{
	static struct traffic t;

	(void)state;
	begin_on_first(&t, &(struct setting){.fail_over = true}, 0);
	assert_true(fixture_becomes(&t.f, is_direct));
	fake_accel_die(true);
	/* The frontend is not served: it answers nothing. */
	while (!is_on_the_second(&t.f))
		usleep(1000);
	usleep(50000);
	assert_int_equal(fake_now().closes, 0);
	assert_int_equal(test_port_queue(&t.f.port, TX).doorbell, RP_PORT_DOORBELL_REVOKING);
	assert_true(fixture_becomes(&t.f, is_back));
	assert_int_equal(fake_now().closes, 1);
	assert_true(fixture_becomes(&t.f, is_direct));
	close_traffic(&t);
}

static bool
is_waited_for(struct fixture *f)
{
	return test_port_events(&f->port, "accelerator-waiting") == 1;
}

static void
give_room(struct traffic *t, unsigned int queues_count)
{
	pthread_mutex_lock(&t->f.port.lock);
	t->f.port.port->accelerators[1].info.queues_count = queues_count;
	pthread_mutex_unlock(&t->f.port.lock);
}

/* When the first died the second had nothing free; it has later, and the first is gone still. */
static void
the_second_has_room_later(void **state)
{
	static struct traffic t;

	(void)state;
	begin_on_first(&t, &(struct setting){.fail_over = true}, 20);
	give_room(&t, 0);
	FAKE_SET(open_error, -ECONNREFUSED);
	fake_accel_die(true);
	assert_true(fixture_becomes(&t.f, is_waited_for));
	assert_int_equal(test_port_queue(&t.f.port, TX).accelerator, 0);
	give_room(&t, FAKE_ACCEL_QUEUES);
	assert_true(fixture_becomes(&t.f, is_on_the_second));
	FAKE_SET(open_error, 0);
	assert_true(fixture_becomes(&t.f, is_back));
	assert_true(is_on_the_second(&t.f));
	exchange_frames(&t, 20);
	close_traffic(&t);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_rings_go_on),
		cmocka_unit_test(what_was_under_way_is_done_again),
		cmocka_unit_test(packed_rings_begin_anew),
		cmocka_unit_test(private_packed_rings_go_on),
		cmocka_unit_test(not_without_proof),
		cmocka_unit_test(not_unless_configured),
		cmocka_unit_test(the_dead_ones_doorbell_comes_back_first),
		cmocka_unit_test(the_second_has_room_later),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
