/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"

/* REGION_WRITE_MULTI. */

static struct liar liar;
static struct rp_vfu_client *client;
static struct rp_wire_why why;

static uint64_t answer;
static uint32_t answer_bytes;
static uint8_t sent[64];
static unsigned int messages;
static uint64_t writes;

static bool
take_writes(struct liar *l, const struct peer_msg *command)
{
	uint64_t count;

	if (command->command == 1) {
		script_version(l, command, "\"write_multiple\":true", NULL, 0);
		return true;
	}
	if (command->command != 15)
		return false;
	messages++;
	memcpy(&count, command->payload, sizeof(count));
	writes += count;
	memcpy(sent, command->bytes, command->size_bytes < 64 ? command->size_bytes : 64);
	if (answer != 0)
		count = answer == UINT64_MAX - 1 ? 0 : answer;
	liar_reply(l, command, &count, answer_bytes, NULL, 0);
	return true;
}

static int
setup(void **state)
{
	(void)state;
	answer = 0;
	answer_bytes = 8;
	messages = 0;
	writes = 0;
	liar.lie_from_version = true;
	client = liar_client(&liar, take_writes);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	client = rp_vfu_client_destroy(client);
	liar_stop(&liar);
	return 0;
}

static void
test_write_multi_vector(void **state)
{
	static const struct rp_vfu_client_write two[] = {
		{.region = 2, .count_bytes = 4, .offset_bytes = 0x10, .bytes = {1, 2, 3, 4}},
		{.region = 0, .count_bytes = 1, .offset_bytes = 0x20, .bytes = {5}},
	};
	static const uint8_t vector[] = {HEADER(1, 15, 72, COMMAND, 0),
					 U64(2),
					 U64(0x10),
					 U32(2),
					 U32(4),
					 1,
					 2,
					 3,
					 4,
					 0,
					 0,
					 0,
					 0,
					 U64(0x20),
					 U32(0)};
	unsigned int done = 0;

	(void)state;
	assert_int_equal(rp_vfu_client_region_write_multi(client, two, 2, &done, &why), 0);
	assert_int_equal(done, 2);
	assert_memory_equal(sent, vector, sizeof(vector));
	assert_int_equal(rp_vfu_client_region_write_multi(client, two, 0, &done, &why), 0);
	assert_int_equal(messages, 1);
}

static void
test_more_than_a_message(void **state)
{
	struct rp_vfu_client_write *many = calloc(2500, sizeof(*many));
	unsigned int i, done = 0;

	(void)state;
	assert_non_null(many);
	for (i = 0; i < 2500; i++)
		many[i].count_bytes = 8;
	assert_int_equal(rp_vfu_client_region_write_multi(client, many, 2500, &done, &why), 0);
	assert_int_equal(done, 2500);
	assert_int_equal(messages, 3);
	assert_int_equal(writes, 2500);
	free(many);
}

static void
test_lies_and_half_measures(void **state)
{
	static const struct rp_vfu_client_write one = {.count_bytes = 4};
	const struct rp_vfu_client_write three[] = {one, one, one};
	unsigned int done = 0;

	(void)state;
	answer = 4;
	assert_int_equal(rp_vfu_client_region_write_multi(client, three, 3, &done, &why), -EBADMSG);
	assert_int_equal(done, 0);
	answer = UINT64_MAX;
	assert_int_equal(rp_vfu_client_region_write_multi(client, three, 3, &done, &why), -EBADMSG);
	answer = 2;
	assert_int_equal(rp_vfu_client_region_write_multi(client, three, 3, &done, &why), -EIO);
	assert_int_equal(done, 2);
	assert_string_equal(why.text, "REGION_WRITE_MULTI: the server did 2 writes of 3");
	answer = UINT64_MAX - 1;
	assert_int_equal(rp_vfu_client_region_write_multi(client, three, 3, &done, &why), -EIO);
	assert_int_equal(done, 0);
	answer_bytes = 4;
	assert_int_equal(rp_vfu_client_region_write_multi(client, three, 3, &done, &why), -EBADMSG);
	assert_int_equal(rp_vfu_client_reset(client, &why), 0);
}

static void
test_our_callers_mistakes(void **state)
{
	const struct rp_vfu_client_write none = {.count_bytes = 0}, nine = {.count_bytes = 9},
					 wraps = {.count_bytes = 8, .offset_bytes = UINT64_MAX - 7};

	(void)state;
	assert_int_equal(rp_vfu_client_region_write_multi(client, &none, 1, NULL, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_region_write_multi(client, &nine, 1, NULL, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_region_write_multi(client, &wraps, 1, NULL, &why), -EINVAL);
	assert_int_equal(messages, 0);
}

static void
test_without_the_capability(void **state)
{
	const struct rp_vfu_client_write one = {.count_bytes = 4};

	(void)state;
	client = liar_client(&liar, NULL);
	assert_int_equal(rp_vfu_client_region_write_multi(client, &one, 1, NULL, &why), -ENOTSUP);
	rp_vfu_client_destroy(client);
	assert_int_equal(liar_stop(&liar), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_write_multi_vector, setup, teardown),
		cmocka_unit_test_setup_teardown(test_more_than_a_message, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lies_and_half_measures, setup, teardown),
		cmocka_unit_test_setup_teardown(test_our_callers_mistakes, setup, teardown),
		cmocka_unit_test(test_without_the_capability),
	};

	return cmocka_run_group_tests_name("vfio-user client: REGION_WRITE_MULTI", tests, NULL, NULL);
}
