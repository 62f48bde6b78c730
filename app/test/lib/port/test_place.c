/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "port.h"
#include "test_support.h"

/* Where a queue is said to have been. */

#define DEVICE_QUEUES 8u
#define QUEUES 4u

static struct port_accelerator accelerators[1];
static struct rp_port port = {.accelerators = accelerators, .accelerators_count = 1, .queues_count = QUEUES};

static int
adopt(unsigned int index, int has_accelerator, int accelerator, unsigned int place_queue)
{
	struct port_queue queue = {.index = index, .accelerator = has_accelerator ? 0 : -1};
	struct port_place place = {.accelerator = accelerator, .queue = place_queue};
	struct rp_wire_why why = {0};
	int rc = port_place_adopt(&port, &queue, &place, &why);

	if (rc == 0 && accelerator >= 0)
		assert_int_equal(queue.accelerator_queue, place_queue);
	assert_int_equal(why.text[0] != '\0', rc < 0);
	return rc;
}

/* A device has more queues than the port: what lies beside its rings is for as many as the port has. */
static void
adopted_is_what_the_port_has(void **state)
{
	(void)state;
	port.accelerators[0].info.queues_count = DEVICE_QUEUES;
	assert_int_equal(adopt(1, true, 0, 1), 0);
	assert_int_equal(adopt(1, true, 0, QUEUES - 1), 0);
	assert_int_equal(adopt(1, true, 0, QUEUES + 1), -ENOTSUP);
	assert_int_equal(adopt(1, true, 0, DEVICE_QUEUES + 1), -ENOTSUP);
	assert_int_equal(adopt(1, true, 0, 0), -ENOTSUP);
	assert_int_equal(adopt(1, true, 1, 1), -ENOTSUP);
	assert_int_equal(adopt(1, false, 0, 1), -ENOTSUP);
	assert_int_equal(adopt(1, true, -1, 0), -ENOTSUP);
	assert_int_equal(adopt(1, false, -1, 0), 0);
	port.accelerators[0].info.queues_count = 2;
	assert_int_equal(adopt(1, true, 0, 3), -ENOTSUP);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(adopted_is_what_the_port_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
