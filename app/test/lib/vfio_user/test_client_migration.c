/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scripted.h"

/* Migration data, in and out. */

static void
test_migration_vectors(void **state)
{
	uint8_t data[8] = {0};
	size_t bytes = 0;

	(void)state;
	REPLY_WITH(0, U32(16), U32(8), 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h');
	assert_int_equal(rp_vfu_client_migration_read(scripted.client, data, 8, &bytes, &scripted.why), 0);
	SENT(0, HEADER(1, 17, 24, COMMAND, 0), U32(16), U32(8));
	assert_int_equal(bytes, 8);
	assert_memory_equal(data, "abcdefgh", 8);
	/* Less than was asked for: there is no more. */
	REPLY_WITH(0, U32(10), U32(2), 'x', 'y');
	assert_int_equal(rp_vfu_client_migration_read(scripted.client, data, 8, &bytes, &scripted.why), 0);
	assert_int_equal(bytes, 2);
	assert_memory_equal(data, "xycd", 4);
	/* The reference server pads what it has to what was asked for. */
	REPLY_WITH(0, U32(9), U32(1), 'z', 0, 0, 0, 0, 0, 0, 0);
	assert_int_equal(rp_vfu_client_migration_read(scripted.client, data, 8, &bytes, &scripted.why), 0);
	assert_int_equal(bytes, 1);
	assert_memory_equal(data, "zycd", 4);
	REPLY_WITH(0, U32(8), U32(0));
	assert_int_equal(rp_vfu_client_migration_read(scripted.client, data, 8, &bytes, &scripted.why), 0);
	assert_int_equal(bytes, 0);
	script_reply_honestly();
	assert_int_equal(rp_vfu_client_migration_write(scripted.client, "state", 5, &scripted.why), 0);
	SENT(0, HEADER(5, 18, 29, COMMAND, 0), U32(13), U32(5), 's', 't', 'a', 't', 'e');
	/* Nothing is nothing. */
	assert_int_equal(rp_vfu_client_migration_write(scripted.client, "", 0, &scripted.why), 0);
	assert_int_equal(rp_vfu_client_migration_read(scripted.client, data, 0, &bytes, &scripted.why), 0);
	assert_int_equal(bytes, 0);
	assert_int_equal(script_sent_count(), 5);
}

static void
test_lies(void **state)
{
	uint8_t data[4] = {1, 2, 3, 4};
	size_t bytes = 99;

	(void)state;
	REPLY_WITH(0, U32(13), U32(5), 9, 9, 9, 9, 9);
	assert_int_equal(rp_vfu_client_migration_read(scripted.client, data, 4, &bytes, &scripted.why), -EBADMSG);
	scripted_assert_why("5 bytes, asked for 4");
	REPLY_WITH(0, U32(12), U32(4), 9, 9, 9);
	assert_int_equal(rp_vfu_client_migration_read(scripted.client, data, 4, &bytes, &scripted.why), -EBADMSG);
	scripted_assert_why("3 bytes of data, expected at least 4");
	REPLY_WITH(0, U32(12), U32(UINT32_MAX), 9, 9, 9, 9);
	assert_int_equal(rp_vfu_client_migration_read(scripted.client, data, 4, &bytes, &scripted.why), -EBADMSG);
	REPLY_WITH(0, U32(12));
	assert_int_equal(rp_vfu_client_migration_read(scripted.client, data, 4, &bytes, &scripted.why), -EBADMSG);
	assert_int_equal(bytes, 99);
	assert_int_equal(data[0], 1);
	REPLY_WITH(0, U32(12));
	assert_int_equal(rp_vfu_client_migration_write(scripted.client, data, 4, &scripted.why), -EBADMSG);
	script_refuse_with(EIO);
	assert_int_equal(rp_vfu_client_migration_write(scripted.client, data, 4, &scripted.why), -EIO);
	assert_int_equal(rp_vfu_client_reset(scripted.client, &scripted.why), 0);
}

/* A server that has three and a half messages of state, of 4096 bytes each. */
static size_t left_bytes;

static bool
stream(struct liar *l, const struct peer_msg *command)
{
	uint8_t payload[8 + 4096];
	uint32_t asked_bytes, bytes;

	if (command->command == 1) {
		script_version(l, command, "\"max_data_xfer_size\":4096", NULL, 0);
		return true;
	}
	memcpy(&asked_bytes, command->payload + 4, 4);
	if (command->command == 18) {
		/* Half a message is left over by the third. */
		left_bytes += asked_bytes;
		liar_reply(l, command, NULL, 0, NULL, 0);
		return true;
	}
	bytes = asked_bytes < left_bytes ? asked_bytes : (uint32_t)left_bytes;
	memset(payload, (int)(left_bytes / 4096), sizeof(payload));
	left_bytes -= bytes;
	memcpy(payload, (const uint8_t[]){U32(8 + bytes), U32(bytes)}, 8);
	liar_reply(l, command, payload, 8 + bytes, NULL, 0);
	return true;
}

static void
test_more_than_a_message(void **state)
{
	uint8_t *data = calloc(1, 20000);
	size_t bytes = 0;

	(void)state;
	assert_non_null(data);
	left_bytes = 0;
	scripted.liar.lie_from_version = true;
	scripted.client = liar_client(&scripted.liar, stream);
	assert_int_equal(rp_vfu_client_migration_write(scripted.client, data, 14336, &scripted.why), 0);
	assert_int_equal(left_bytes, 14336);
	assert_int_equal(rp_vfu_client_migration_read(scripted.client, data, 4097, &bytes, &scripted.why), 0);
	assert_int_equal(bytes, 4097);
	assert_int_equal(rp_vfu_client_migration_read(scripted.client, data, 20000, &bytes, &scripted.why), 0);
	assert_int_equal(bytes, 14336 - 4097);
	assert_int_equal(rp_vfu_client_migration_read(scripted.client, data, 20000, &bytes, &scripted.why), 0);
	assert_int_equal(bytes, 0);
	scripted.client = rp_vfu_client_destroy(scripted.client);
	/* VERSION, four writes, two reads, three reads, one. */
	assert_int_equal(liar_stop(&scripted.liar), 11);
	free(data);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_migration_vectors, scripted_setup, scripted_teardown),
		cmocka_unit_test_setup_teardown(test_lies, scripted_setup, scripted_teardown),
		cmocka_unit_test(test_more_than_a_message),
	};

	return cmocka_run_group_tests_name("vfio-user client: migration data", tests, NULL, NULL);
}
