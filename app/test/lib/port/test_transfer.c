/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdatomic.h>

#include "moves.h"
#include "rp_vring_shadow.h"
#include "rp_wire_fd.h"

/*
 * Traffic on pair 0 of a port with two accelerators, each of which loops back what is sent on it; the
 * second has nothing at first.
 */

#define SECOND FAKE_ACCEL_QUEUES /* its queues follow the first's */

int __real_rp_vring_shadow_drain(struct rp_vring_shadow *shadow, uint32_t *ret_position, unsigned int *ret_redone,
				 bool *ret_call);
int __wrap_rp_vring_shadow_drain(struct rp_vring_shadow *shadow, uint32_t *ret_position, unsigned int *ret_redone,
				 bool *ret_call);

static atomic_uint drains_refused; /* the next ones */

int
__wrap_rp_vring_shadow_drain(struct rp_vring_shadow *shadow, uint32_t *ret_position, unsigned int *ret_redone,
			     bool *ret_call)
{
	if (atomic_load(&drains_refused) == 0)
		return __real_rp_vring_shadow_drain(shadow, ret_position, ret_redone, ret_call);
	atomic_fetch_sub(&drains_refused, 1);
	return -EBADMSG;
}

static int
transfer_pair(struct traffic *t, unsigned int accelerator)
{
	return test_port_transfer(&t->f.port, RX, 2, accelerator, NULL);
}

/* Whose device runs a queue of pair 0; -1: none, and never both. */
static int
runs_on(unsigned int queue)
{
	struct fake_accel now = fake_now();

	assert_false(now.queues[queue].running && now.queues[SECOND + queue].running);
	return now.queues[queue].running ? 0 : now.queues[SECOND + queue].running ? 1 : -1;
}

static void
expect_on(struct traffic *t, int accelerator)
{
	unsigned int i;

	for (i = RX; i <= TX; i++) {
		struct rp_port_queue_info info = test_port_queue(&t->f.port, i);

		assert_int_equal(info.accelerator, accelerator);
		assert_int_equal(info.accelerator_queue, i);
		assert_int_equal(info.owner, RP_PORT_OWNER_HARDWARE);
		assert_int_equal(runs_on(i), accelerator);
	}
}

static void
nothing_is_lost(void **state)
{
	static struct traffic t;
	unsigned int format, i;

	(void)state;
	for (format = 0; format < FORMATS_COUNT; format++) {
		begin_on_first(&t, &(struct setting){.format = formats[format]}, 0);
		for (i = 1; i <= 40; i++) {
			send_frames(&t, 37);
			assert_int_equal(transfer_pair(&t, i % 2), 0);
			expect_on(&t, (int)i % 2);
			if (i % 8 == 0)
				assert_true(fixture_becomes(&t.f, is_direct));
		}
		exchange_frames(&t, 37);
		for (i = RX; i <= TX; i++) {
			struct rp_port_queue_info info = test_port_queue(&t.f.port, i);

			assert_int_equal(info.moves, 40);
			assert_int_equal(info.moves_between_accelerators, 40);
			assert_int_equal(info.moves_to_hardware + info.moves_to_software, 0);
			assert_int_equal(info.blackouts_count, 40);
			assert_int_equal(info.redone, 0);
		}
		close_traffic(&t);
	}
}

static void
goes_on_exactly_where_it_was(void **state)
{
	static struct traffic t;
	struct fake_accel now;
	unsigned int format, i;

	(void)state;
	for (format = 0; format < FORMATS_COUNT; format++) {
		begin_on_first(&t, &(struct setting){.format = formats[format]}, 100);
		assert_int_equal(transfer_pair(&t, 1), 0);
		now = fake_now();
		for (i = RX; i <= TX; i++) {
			assert_int_equal(now.queues[SECOND + i].config.position, now.queues[i].position);
			assert_int_equal(now.queues[SECOND + i].config.desc_iova, now.queues[i].config.desc_iova);
			/* And the guest's own eventfd went with it. */
			assert_int_equal(rp_wire_fd_same(now.queues[SECOND + i].call_fd, t.f.vm.queues[i].call_fd), 1);
		}
		close_traffic(&t);
	}
}

static void
transmit_leaves_first_and_comes_last(void **state)
{
	static const char *const order[] = {"\nqueue-stopped 1", "\nqueue-stopped 0",	  "\nqueue-started 0",
					    "\nqueue-started 1", "\nqueue-transferred 0", "\nqueue-transferred 1"};
	static struct traffic t;
	size_t at;

	(void)state;
	begin_on_first(&t, &(struct setting){.format = 0}, 0);
	at = log_end(&t.f.port);
	assert_int_equal(transfer_pair(&t, 1), 0);
	expect_in_order(&t.f.port, at, order, 6);
	assert_int_equal(fake_now().longest_row, 2);
	close_traffic(&t);
}

/* The guest stores to the old page until its VMM takes it away: what falls on it is made good for. */
static void
the_doorbell_is_not_waited_for(void **state)
{
	static struct traffic t;
	unsigned int maps, unmaps;

	(void)state;
	begin_on_first(&t, &(struct setting){.format = 0}, 0);
	assert_true(fixture_becomes(&t.f, is_direct));
	maps = t.f.vm.maps;
	unmaps = t.f.vm.unmaps;
	assert_int_equal(transfer_pair(&t, 1), 0);
	/* The frontend was not served meanwhile: this store is heard by nobody. */
	assert_int_equal(t.f.vm.unmaps, unmaps);
	assert_int_equal(test_port_queue(&t.f.port, TX).doorbell, RP_PORT_DOORBELL_REVOKING);
	assert_int_equal(test_port_queue(&t.f.port, TX).mode, RP_PORT_QUEUE_RELAYED);
	assert_non_null(strstr(test_port_queue(&t.f.port, TX).reason, "is being taken back"));
	t.sent++;
	assert_true(test_vm_send(&t.f.vm, TX, (uint8_t[FRAME_BYTES]){0}, FRAME_BYTES));
	all_arrive_once(&t);
	assert_true(fixture_becomes(&t.f, is_direct));
	assert_int_equal(t.f.vm.unmaps, unmaps + 2);
	assert_int_equal(t.f.vm.maps, maps + 2);
	exchange_frames(&t, 50);
	assert_int_equal(test_port_queue(&t.f.port, TX).relayed_kicks_after_map, 0);
	close_traffic(&t);
}

/* While the first still has them, the second is told all but where they stand. */
static void
told_ahead_to_whom_they_come(void **state)
{
	static struct traffic t;
	struct fake_accel now;
	unsigned int format, i;

	(void)state;
	for (format = 0; format < FORMATS_COUNT; format++) {
		begin_on_first(&t, &(struct setting){.format = formats[format]}, 0);
		send_frames(&t, 37);
		assert_int_equal(transfer_pair(&t, 1), 0);
		now = fake_now();
		for (i = RX; i <= TX; i++) {
			assert_int_equal(now.queues[SECOND + i].starts_prepared, 1);
			assert_int_equal(now.queues[SECOND + i].forgets, 0);
		}
		all_arrive_once(&t);
		close_traffic(&t);
	}
}

/* One that dies of being told costs nothing: the first still has them. One that is told and not started forgets. */
static void
told_ahead_and_nothing_comes_of_it(void **state)
{
	static struct traffic t;
	struct rp_wire_why why = {0};
	unsigned int i;

	(void)state;
	begin_on_first(&t, &(struct setting){.format = 0}, 0);
	FAKE_SET(start_error, -ENOTSUP);
	assert_int_equal(transfer_pair(&t, 1), -ENOTSUP);
	FAKE_SET(start_error, 0);
	for (i = RX; i <= TX; i++) {
		assert_false(fake_now().queues[SECOND + i].prepared);
		assert_int_equal(fake_now().queues[SECOND + i].forgets, 1);
	}
	close_traffic(&t);
	begin_on_first(&t, &(struct setting){.format = 0}, 0);
	send_frames(&t, 30);
	FAKE_SET(prepare_error, -ENOTCONN);
	assert_int_equal(test_port_transfer(&t.f.port, RX, 2, 1, &why), -ENOTCONN);
	assert_string_equal(why.text, "no answer");
	FAKE_SET(prepare_error, 0);
	expect_on(&t, 0);
	for (i = RX; i <= TX; i++)
		assert_int_equal(fake_now().queues[i].stops, 0);
	all_arrive_once(&t);
	close_traffic(&t);
}

/* To take it back wakes the frontend: during the drain, or when the rings have an owner again. */
static void
the_doorbell_is_taken_back_while_rings_are_served(void **state)
{
	static const char *const order[] = {"\ndoorbell-revoked 1",  "\nqueue-stopped 1",    "\nqueue-stopped 0",
					    "\nqueue-started 0",     "\nqueue-started 1",    "\ndoorbell-revoked 0",
					    "\nqueue-transferred 0", "\nqueue-transferred 1"};
	static struct traffic t;
	size_t at;

	(void)state;
	begin_on_first(&t, &(struct setting){.format = 0}, 0);
	assert_true(fixture_becomes(&t.f, is_direct));
	at = log_end(&t.f.port);
	assert_int_equal(transfer_pair(&t, 1), 0);
	expect_in_order(&t.f.port, at, order, 8);
	assert_true(fixture_becomes(&t.f, is_direct));
	/* And where it does not come about: as often, and nothing stays noted. */
	FAKE_SET(stop_error, -ETIMEDOUT);
	assert_int_equal(transfer_pair(&t, 0), -ETIMEDOUT);
	FAKE_SET(stop_error, 0);
	assert_int_not_equal(test_port_queue(&t.f.port, RX).doorbell, RP_PORT_DOORBELL_MAPPED);
	assert_int_not_equal(test_port_queue(&t.f.port, TX).doorbell, RP_PORT_DOORBELL_MAPPED);
	close_traffic(&t);
}

static unsigned int
pending_count(struct traffic *t)
{
	return (test_port_queue(&t->f.port, RX).doorbell == RP_PORT_DOORBELL_PENDING) +
	       (test_port_queue(&t->f.port, TX).doorbell == RP_PORT_DOORBELL_PENDING);
}

/* An offer of the first's doorbell that is under way then says nothing of the second's. */
static void
an_offer_under_way_is_the_firsts(void **state)
{
	static struct traffic t;
	unsigned int i;

	(void)state;
	begin_on_first(&t, &(struct setting){.format = 0}, 0);
	/* They are offered one at a time, and the VMM may have taken the first while it started the other ring. */
	for (i = 0; i < LIMIT_MS && pending_count(&t) == 0; i++)
		usleep(1000);
	assert_int_equal(pending_count(&t), 1);
	assert_int_equal(transfer_pair(&t, 1), 0);
	assert_true(fixture_becomes(&t.f, is_direct));
	/* That page came as well, and was taken back. */
	assert_true(t.f.vm.unmaps >= 1);
	assert_int_equal(t.f.vm.maps, t.f.vm.unmaps + 2);
	exchange_frames(&t, 50);
	close_traffic(&t);
}

static void
said_in_words_what_cannot_be(void **state)
{
	static struct traffic t;
	struct rp_wire_why why = {0};
	struct test_port *port = &t.f.port;

	(void)state;
	begin_on_first(&t, &(struct setting){.format = 0}, 0);
	assert_int_equal(test_port_transfer(port, 0, 1, 1, &why), -EINVAL);
	assert_string_equal(why.text, "queues: 1 from 0 on, expected whole pairs");
	assert_int_equal(test_port_transfer(port, 0, 6, 1, &why), -EINVAL);
	assert_int_equal(test_port_transfer(port, 4, 0, 1, &why), -EINVAL);
	assert_int_equal(test_port_transfer(port, 0, 2, 2, &why), -EINVAL);
	assert_string_equal(why.text, "accelerator: 2, there are 2");
	expect_on(&t, 0);
	/* It is there already. */
	assert_int_equal(transfer_pair(&t, 0), 0);
	assert_int_equal(test_port_queue(port, RX).moves, 0);
	close_traffic(&t);
	/* Where class B stops nobody knows, and where it starts nobody says. */
	open_traffic(&t, &(struct setting){.class = RP_ACCEL_CLASS_B, .second = true});
	assert_int_equal(transfer_pair(&t, 1), 0);
	start_pair(&t);
	expect_on(&t, 1);
	assert_int_equal(test_port_transfer(port, 0, 2, 0, &why), -ENOTSUP);
	assert_non_null(strstr(why.text, "class B"));
	expect_on(&t, 1);
	close_traffic(&t);
}

static void
no_room_is_no_move(void **state)
{
	static struct traffic t;
	struct rp_port_config config = fixture_config();
	struct rp_wire_why why = {0};

	(void)state;
	memset(&t, 0, sizeof(t));
	config.accelerators = both_accelerators;
	config.accelerators_count = 2;
	config.queue_pairs = 3;
	fixture_begin(&t.f);
	fixture_open_with(&t.f, &config, NULL);
	assert_int_equal(test_port_transfer(&t.f.port, 0, 4, 1, &why), -ENOSPC);
	assert_string_equal(why.text, "accelerator 1 has fewer than 2 queue pairs free");
	assert_int_equal(test_port_queue(&t.f.port, 2).accelerator, 0);
	/* The one has room: it lies behind what the third pair has. */
	assert_int_equal(test_port_transfer(&t.f.port, 2, 2, 1, &why), 0);
	assert_int_equal(test_port_queue(&t.f.port, 3).accelerator, 1);
	assert_int_equal(test_port_queue(&t.f.port, 3).accelerator_queue, 3);
	/* And the third goes where the second was. */
	assert_int_equal(test_port_transfer(&t.f.port, 4, 2, 0, &why), 0);
	assert_int_equal(test_port_queue(&t.f.port, 4).accelerator, 0);
	assert_int_equal(test_port_queue(&t.f.port, 4).accelerator_queue, 2);
	fixture_close(&t.f);
}

/* A device that decodes by value is rung with the guest's number: the pair of the same number, if it is free. */
static void
by_value_the_same_number(void **state)
{
	static struct traffic t;
	struct rp_port_config config = fixture_config();

	(void)state;
	memset(&t, 0, sizeof(t));
	config.accelerators = both_accelerators;
	config.accelerators_count = 2;
	fixture_begin(&t.f);
	FAKE_SET(notify_by_value, true);
	fixture_open_with(&t.f, &config, NULL);
	assert_int_equal(test_port_transfer(&t.f.port, 2, 2, 1, NULL), 0);
	assert_int_equal(test_port_queue(&t.f.port, 2).accelerator_queue, 2);
	fixture_close(&t.f);
}

static void
back_to_the_first_when_the_second_refuses(void **state)
{
	static struct traffic t;
	struct rp_wire_why why = {0};

	(void)state;
	begin_on_first(&t, &(struct setting){.format = 0}, 0);
	send_frames(&t, 30);
	FAKE_SET(row_refused_mask, 1u << TX);
	assert_int_equal(test_port_transfer(&t.f.port, 0, 2, 1, &why), -ENOTSUP);
	assert_string_equal(why.text, "refused in a row");
	expect_on(&t, 0);
	assert_int_equal(test_port_events(&t.f.port, "transfer-failed"), 1);
	assert_int_equal(test_port_events(&t.f.port, "queue-transferred"), 0);
	assert_int_equal(test_port_queue(&t.f.port, RX).moves, 0);
	FAKE_SET(row_refused_mask, 0);
	send_frames(&t, 30);
	assert_int_equal(transfer_pair(&t, 1), 0);
	all_arrive_once(&t);
	close_traffic(&t);
}

static bool
is_on_the_first(struct fixture *f)
{
	struct rp_port_queue_info rx = test_port_queue(&f->port, RX), tx = test_port_queue(&f->port, TX);

	return rx.accelerator == 0 && tx.accelerator == 0 && rx.owner == RP_PORT_OWNER_HARDWARE &&
	       tx.owner == RP_PORT_OWNER_HARDWARE;
}

/* It may have begun: nobody else has the rings before there is proof, and then the first has them again. */
static void
one_that_may_have_begun_keeps_it(void **state)
{
	static struct traffic t;
	struct rp_wire_why why = {0};
	unsigned int format;

	(void)state;
	for (format = 0; format < FORMATS_COUNT; format++) {
		begin_on_first(&t, &(struct setting){.format = formats[format]}, 30);
		FAKE_SET(row_error, -ETIMEDOUT);
		assert_int_equal(test_port_transfer(&t.f.port, 0, 2, 1, &why), -ETIMEDOUT);
		FAKE_SET(row_error, 0);
		assert_int_equal(test_port_queue(&t.f.port, RX).accelerator, 1);
		assert_int_equal(test_port_queue(&t.f.port, RX).owner, RP_PORT_OWNER_NONE);
		assert_non_null(strstr(test_port_queue(&t.f.port, RX).reason, "nothing proves"));
		assert_int_equal(test_port_transfer(&t.f.port, 0, 2, 0, &why), -EBUSY);
		FAKE_SET(quiet, true);
		assert_true(fixture_becomes(&t.f, is_on_the_first));
		expect_on(&t, 0);
		exchange_frames(&t, 30);
		/* The second is there again. */
		while (test_port_events(&t.f.port, "accelerator-back") == 0)
			usleep(1000);
		assert_int_equal(transfer_pair(&t, 1), 0);
		exchange_frames(&t, 30);
		close_traffic(&t);
	}
}

/* The one that has the rings does not let go: they stay with it, and it says so. */
static void
one_that_does_not_let_go_keeps_it(void **state)
{
	static struct traffic t;
	struct rp_wire_why why = {0};

	(void)state;
	begin_on_first(&t, &(struct setting){.format = 0}, 30);
	FAKE_SET(stop_error, -ETIMEDOUT);
	assert_int_equal(test_port_transfer(&t.f.port, 0, 2, 1, &why), -ETIMEDOUT);
	FAKE_SET(stop_error, 0);
	assert_int_equal(test_port_queue(&t.f.port, TX).accelerator, 0);
	assert_int_equal(test_port_queue(&t.f.port, TX).owner, RP_PORT_OWNER_NONE);
	assert_int_equal(test_port_transfer(&t.f.port, 0, 2, 1, &why), -EBUSY);
	FAKE_SET(quiet, true);
	assert_true(fixture_becomes(&t.f, is_on_the_first));
	exchange_frames(&t, 30);
	close_traffic(&t);
}

static void
to_one_that_is_gone(void **state)
{
	static struct traffic t;
	struct rp_wire_why why = {0};

	(void)state;
	begin_on_first(&t, &(struct setting){.format = 0}, 0);
	assert_int_equal(transfer_pair(&t, 1), 0);
	FAKE_SET(open_error, -ECONNREFUSED);
	fake_accel_die(true);
	while (test_port_events(&t.f.port, "accelerator-failed") == 0)
		usleep(1000);
	assert_int_equal(test_port_transfer(&t.f.port, 0, 2, 0, &why), -ENOTCONN);
	assert_non_null(strstr(why.text, "accelerator 0: "));
	expect_on(&t, 1);
	close_traffic(&t);
}

/* What the software backend serves goes on there; it is the other accelerator's when it comes back to hardware. */
static void
what_software_serves_stays_there(void **state)
{
	static struct traffic t;

	(void)state;
	fake_software_setup();
	open_moves_with(&t, (struct setting){.class = RP_ACCEL_CLASS_A, .second = true});
	start_pair(&t);
	assert_int_equal(move_pair(&t, RP_PORT_WISH_SOFTWARE), 0);
	send_frames(&t, 30);
	assert_int_equal(transfer_pair(&t, 1), 0);
	expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
	send_frames(&t, 30);
	assert_int_equal(move_pair(&t, RP_PORT_WISH_HARDWARE), 0);
	expect_on(&t, 1);
	exchange_frames(&t, 30);
	close_traffic(&t);
}

static void
private_rings_move_too(void **state)
{
	static struct traffic t;
	unsigned int format, i;

	(void)state;
	for (format = 0; format < FORMATS_COUNT; format++) {
		begin_on_first(&t, &(struct setting){.format = formats[format], .ring = RP_PORT_RING_SHADOW}, 0);
		for (i = 1; i <= 10; i++) {
			send_frames(&t, 37);
			assert_int_equal(transfer_pair(&t, i % 2), 0);
			expect_on(&t, (int)i % 2);
			expect_mode(&t, RP_PORT_QUEUE_SHADOW, "user's choice");
		}
		all_arrive_once(&t);
		close_traffic(&t);
	}
}

static bool
is_new(struct fixture *f)
{
	return test_port_queue(&f->port, RX).owner == RP_PORT_OWNER_HARDWARE &&
	       test_port_queue(&f->port, TX).owner == RP_PORT_OWNER_HARDWARE;
}

/* Nobody knows where it stands: it runs nowhere, until the driver makes it anew. */
static void
what_is_not_drained_is_not_started(void **state)
{
	static struct traffic t;

	(void)state;
	begin_on_first(&t, &(struct setting){.format = TEST_VM_PACKED, .ring = RP_PORT_RING_SHADOW}, 20);
	atomic_store(&drains_refused, 1);
	assert_int_equal(transfer_pair(&t, 1), 0);
	assert_int_equal(test_port_events(&t.f.port, "ring-not-drained"), 1);
	/* The transmit ring leaves first. */
	assert_int_equal(runs_on(TX), -1);
	assert_int_equal(fake_now().queues[SECOND + TX].starts, 0);
	assert_int_equal(test_port_queue(&t.f.port, TX).owner, RP_PORT_OWNER_NONE);
	assert_non_null(strstr(test_port_queue(&t.f.port, TX).reason, "must start it anew"));
	assert_int_equal(runs_on(RX), 1);
	test_vm_reload(&t.f.vm);
	start_pair(&t);
	assert_true(fixture_becomes(&t.f, is_new));
	expect_on(&t, 1);
	exchange_frames(&t, 20);
	close_traffic(&t);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_lost),
		cmocka_unit_test(goes_on_exactly_where_it_was),
		cmocka_unit_test(transmit_leaves_first_and_comes_last),
		cmocka_unit_test(told_ahead_to_whom_they_come),
		cmocka_unit_test(told_ahead_and_nothing_comes_of_it),
		cmocka_unit_test(the_doorbell_is_not_waited_for),
		cmocka_unit_test(the_doorbell_is_taken_back_while_rings_are_served),
		cmocka_unit_test(an_offer_under_way_is_the_firsts),
		cmocka_unit_test(said_in_words_what_cannot_be),
		cmocka_unit_test(no_room_is_no_move),
		cmocka_unit_test(by_value_the_same_number),
		cmocka_unit_test(back_to_the_first_when_the_second_refuses),
		cmocka_unit_test(one_that_may_have_begun_keeps_it),
		cmocka_unit_test(one_that_does_not_let_go_keeps_it),
		cmocka_unit_test(to_one_that_is_gone),
		cmocka_unit_test(what_software_serves_stays_there),
		cmocka_unit_test(private_rings_move_too),
		cmocka_unit_test(what_is_not_drained_is_not_started),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
