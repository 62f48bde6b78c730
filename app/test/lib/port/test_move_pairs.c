/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>

#include "moves.h"
#include "rp_wire_caller.h"

/* Who waits is ended. */
#define PATIENCE_S 20u

/* Never one pair here and another there, where an answer may be steered to the wrong one. */
static void
pairs_move_together(void **state)
{
	static const char *const to_software[] = {
		"\nqueue-stopped 1",	"\nqueue-stopped 3",	"\nqueue-stopped 0",	"\nqueue-stopped 2",
		"\nsoftware-started 0", "\nsoftware-started 2", "\nsoftware-started 1", "\nsoftware-started 3"};
	static struct traffic t;
	size_t at;

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_AUTO);
	test_vm_start_all(&t.f.vm);
	at = log_end(&t.f.port);
	assert_int_equal(test_port_move(&t.f.port, 0, 0, RP_PORT_WISH_SOFTWARE, NULL), 0);
	expect_in_order(&t.f.port, at, to_software, 8);
	close_traffic(&t);
}

/* The second is put back, and the first is moved all the same. */
static void
one_pair_refuses_for_itself(void **state)
{
	static struct traffic t;

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_AUTO);
	test_vm_start_all(&t.f.vm);
	SOFTWARE_SET(serve_error_queue, 2);
	SOFTWARE_SET(serve_error, -EREMOTEIO);
	assert_int_equal(test_port_move(&t.f.port, 0, 0, RP_PORT_WISH_SOFTWARE, NULL), -EREMOTEIO);
	assert_int_equal(test_port_queue(&t.f.port, 0).owner, RP_PORT_OWNER_SOFTWARE);
	assert_int_equal(test_port_queue(&t.f.port, 1).owner, RP_PORT_OWNER_SOFTWARE);
	assert_int_equal(test_port_queue(&t.f.port, 2).owner, RP_PORT_OWNER_HARDWARE);
	assert_int_equal(test_port_queue(&t.f.port, 3).owner, RP_PORT_OWNER_HARDWARE);
	close_traffic(&t);
}

/* What the software backend took of the guest's kicks before it was parked is made good for. */
static void
kicked_behind_the_parking(void **state)
{
	static struct traffic t;
	unsigned int i;

	(void)state;
	fake_software_setup();
	/* No doorbell: on its way back it would kick, too. */
	open_moves_with(&t, (struct setting){.class = RP_ACCEL_CLASS_A,
					     .wish = RP_PORT_WISH_SOFTWARE,
					     .doorbell = RP_PORT_DOORBELL_RELAY});
	test_vm_start_all(&t.f.vm);
	becomes_owner(&t, RP_PORT_OWNER_SOFTWARE);
	assert_int_equal(test_port_move(&t.f.port, 0, 0, RP_PORT_WISH_HARDWARE, NULL), 0);
	expect_owner(&t, RP_PORT_OWNER_HARDWARE);
	for (i = 0; i < 4; i++)
		assert_true(fake_now().queues[i].kicks > fake_software_now().kicks_when_parked[i]);
	close_traffic(&t);
}

/* A software backend that reads no kick, and a VMM that filled it and has writing to it wait. */
static void
a_full_kick_is_not_waited_for(void **state)
{
	static struct traffic t;
	int kick_fd;

	(void)state;
	alarm(PATIENCE_S);
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_SOFTWARE);
	start_pair(&t);
	becomes_owner(&t, RP_PORT_OWNER_SOFTWARE);
	SOFTWARE_SET(dead, true);
	kick_fd = t.f.vm.queues[TX].kick_fd;
	rp_wire_caller_drain(kick_fd, NULL);
	assert_int_equal(eventfd_write(kick_fd, UINT64_MAX - 1), 0);
	assert_int_equal(fcntl(kick_fd, F_SETFL, 0), 0);
	assert_int_equal(test_port_disable(&t.f.port, TX), 0);
	assert_int_equal(test_port_enable(&t.f.port, TX), 0);
	becomes_owner(&t, RP_PORT_OWNER_SOFTWARE);
	assert_int_equal(test_port_events(&t.f.port, "kick-failed"), 0);
	alarm(0);
	close_traffic(&t);
}

/* While software still has them, the accelerator is told all but where they stand. */
static void
told_ahead_to_the_accelerator(void **state)
{
	static struct traffic t;
	unsigned int i;

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_SOFTWARE);
	test_vm_start_all(&t.f.vm);
	becomes_owner(&t, RP_PORT_OWNER_SOFTWARE);
	assert_int_equal(test_port_move(&t.f.port, 0, 0, RP_PORT_WISH_HARDWARE, NULL), 0);
	for (i = 0; i < 4; i++) {
		assert_int_equal(fake_now().queues[i].starts_prepared, 1);
		assert_int_equal(fake_now().queues[i].forgets, 0);
	}
	close_traffic(&t);
}

/* One that dies of being told takes nothing from software. */
static void
told_ahead_and_it_dies(void **state)
{
	static struct traffic t;
	unsigned int i;

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_SOFTWARE);
	start_pair(&t);
	expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
	FAKE_SET(prepare_error, -ENOTCONN);
	assert_int_equal(test_port_move(&t.f.port, RX, 2, RP_PORT_WISH_HARDWARE, NULL), -ENOTCONN);
	expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
	for (i = RX; i <= TX; i++) {
		assert_int_equal(fake_now().queues[i].starts, 0);
		assert_int_equal(test_port_queue(&t.f.port, i).moves, 0);
	}
	FAKE_SET(prepare_error, 0);
	send_frames(&t, 30);
	all_arrive_once(&t);
	close_traffic(&t);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pairs_move_together),		 cmocka_unit_test(one_pair_refuses_for_itself),
		cmocka_unit_test(kicked_behind_the_parking),	 cmocka_unit_test(a_full_kick_is_not_waited_for),
		cmocka_unit_test(told_ahead_to_the_accelerator), cmocka_unit_test(told_ahead_and_it_dies),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
