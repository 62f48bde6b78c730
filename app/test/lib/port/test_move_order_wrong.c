/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The order of a pair's rings, the other way round: this object takes the place of
 * lib/port/move_order.c. Here only that it does; what it costs is shown where frames are
 * under way between the rings.
 */

#include "move_order.h"
#include "moves.h"

const struct port_move_order port_move_order = {.taken_first = 0, .given_first = 1};

static void
receive_leaves_first(void **state)
{
	static const char *const wrong[] = {"\nqueue-stopped 0",    "\nqueue-stopped 1",    "\nsoftware-started 1",
					    "\nsoftware-started 0", "\nsoftware-stopped 0", "\nsoftware-stopped 1",
					    "\nqueue-started 1",    "\nqueue-started 0"};
	static struct traffic t;
	size_t at;

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_AUTO);
	start_pair(&t);
	at = log_end(&t.f.port);
	assert_int_equal(move_pair(&t, RP_PORT_WISH_SOFTWARE), 0);
	assert_int_equal(move_pair(&t, RP_PORT_WISH_AUTO), 0);
	expect_in_order(&t.f.port, at, wrong, 8);
	close_traffic(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(receive_leaves_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
