/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "carried.h"

/* What the answer to a command of the server's may be. */

#define IOVA CARRIED_IOVA

static void
test_errors_of_the_client(void **state)
{
	static const struct {
		uint32_t error;
		int expected;
	} cases[] = {{EFAULT, -EFAULT}, {EACCES, -EACCES}, {0, -EIO}, {4096, -EIO}, {UINT32_MAX, -EIO}};
	uint8_t bytes[3 * 4096];
	struct asked asked[3];
	struct access access;
	unsigned int i;

	(void)state;
	carried_begin(NULL, "\"max_data_xfer_size\":4096");
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t header[] = {HEADER(0, 11, 16, ERROR_REPLY, cases[i].error)};

		assert_int_equal(carried_start(&access, false, IOVA, bytes, sizeof(bytes)), 0);
		asked[0] = carried_take(11);
		asked[1] = carried_take(11);
		asked[2] = carried_take(11);
		memcpy(header, &asked[1].id, 2);
		assert_true(peer_send(&carried.peer, header, sizeof(header), NULL, 0));
		assert_true(carried_answer(&asked[0], asked[0].iova, 4096, bytes, 4096));
		assert_int_equal(access.ends, 0);
		assert_true(carried_answer(&asked[2], asked[2].iova, 4096, bytes, 4096));
		carried_ended(&access, cases[i].expected);
	}
	/* A short answer leaves out what nobody knows. */
	assert_int_equal(carried_start(&access, false, IOVA, bytes, 8), 0);
	asked[0] = carried_take(11);
	assert_true(carried_answer(&asked[0], asked[0].iova, 7, bytes, 7));
	carried_ended(&access, -EIO);
}

/* Who lies about memory is not believed again. */
static void
test_lies_end_the_connection(void **state)
{
	static const struct {
		int64_t iova, count;
		size_t data_bytes;
		bool write;
	} lies[] = {
		{1, 0, 8, false}, {-1, 0, 8, false}, {0, 1, 8, false}, {0, 1, 9, false},
		{0, 0, 7, false}, {0, 0, 9, false},  {0, 0, 0, false}, {0, -1, 8, false},
		{1, 0, 0, true},  {0, 1, 0, true},   {0, 0, 8, true},  {0, INT64_MAX, 8, false},
	};
	uint8_t bytes[16] = {0};
	struct access access;
	struct asked asked;
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		carried_begin(NULL, "");
		assert_int_equal(carried_start(&access, lies[i].write, IOVA, bytes, 8), 0);
		asked = carried_take(lies[i].write ? 12 : 11);
		(void)carried_answer(&asked, IOVA + (uint64_t)lies[i].iova, 8 + (uint64_t)lies[i].count, bytes,
				     lies[i].data_bytes);
		assert_false(rp_vfu_server_connected(carried.device.server));
		carried_ended(&access, -ENOTCONN);
		peer_close(&carried.peer);
		carried.peer.fd = -1;
	}
	assert_int_equal(carried.device.disconnects, i);
}

static void
test_replies_too_short_or_with_descriptors(void **state)
{
	uint8_t bytes[16] = {0};
	struct access access;
	struct asked asked;
	int fd = test_memfd(4096, false);

	(void)state;
	carried_begin(NULL, "");
	assert_int_equal(carried_start(&access, false, IOVA, bytes, 8), 0);
	asked = carried_take(11);
	assert_true(peer_command(&carried.peer, asked.id, 11, REPLY, bytes, 15, NULL, 0));
	device_turn(&carried.device);
	carried_ended(&access, -ENOTCONN);
	peer_close(&carried.peer);
	carried_begin(NULL, "");
	assert_int_equal(carried_start(&access, true, IOVA, bytes, 8), 0);
	asked = carried_take(12);
	assert_true(peer_command(&carried.peer, asked.id, 12, REPLY, bytes, 16, &fd, 1));
	device_turn(&carried.device);
	carried_ended(&access, -ENOTCONN);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_errors_of_the_client, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_lies_end_the_connection, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_replies_too_short_or_with_descriptors, carried_setup,
						carried_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
