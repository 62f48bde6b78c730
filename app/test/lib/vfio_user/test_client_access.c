/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"

/* Many registers for one round trip. */

#define REGISTER_BYTES 4u

static struct liar liar;
static struct rp_vfu_client *client;
static struct rp_wire_why why;

static unsigned int multis, single_writes, reads, before_first_read;
static uint64_t written; /* in all, one by one or together */
static uint64_t lie; /* how many writes were done less */
static uint32_t refuse_at; /* a read of this offset is refused; 0: none */
static const char *agreed;

static unsigned int accesses; /* messages of them */
static size_t cut_bytes; /* of their replies */

static __thread bool no_memory;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

void *
__wrap_calloc(size_t count, size_t size)
{
	return no_memory ? NULL : __real_calloc(count, size);
}

static void
serve_accesses(struct liar *l, const struct peer_msg *command)
{
	static uint64_t words[1 + 1024];
	uint64_t count, i;

	accesses++;
	memcpy(&count, command->payload, sizeof(count));
	if (command->payload_bytes != 8 + 24 * count || count > 1024) {
		liar_error(l, command, EINVAL);
		return;
	}
	memset(words, 0, sizeof(words));
	words[0] = count - lie;
	for (i = 0; i < count; i++) {
		const uint8_t *access = command->payload + 8 + 24 * i;
		const bool write = access[14] != access[15];

		if (write)
			written++;
		else if (reads++ == 0)
			before_first_read = (unsigned int)written;
		memset(&words[1 + i], write ? 0xee : access[0] | access[7], REGISTER_BYTES);
	}
	liar_reply(l, command, words, 8 + 8 * count - cut_bytes, NULL, 0);
}

static bool
serve(struct liar *l, const struct peer_msg *command)
{
	uint64_t count, offset_bytes;
	uint8_t answer[16 + REGISTER_BYTES];

	switch (command->command) {
	case 1:
		script_version(l, command, agreed, NULL, 0);
		return true;
	case 0x5209:
		serve_accesses(l, command);
		return true;
	case 15:
		memcpy(&count, command->payload, sizeof(count));
		multis++;
		written += count;
		count -= lie;
		liar_reply(l, command, &count, sizeof(count), NULL, 0);
		return true;
	case 10:
		single_writes++;
		written++;
		liar_reply(l, command, command->payload, 16, NULL, 0);
		return true;
	case 9:
		if (reads++ == 0)
			before_first_read = (unsigned int)written;
		memcpy(answer, command->payload, 16);
		memcpy(&offset_bytes, command->payload, sizeof(offset_bytes));
		memset(answer + 16, (int)offset_bytes, REGISTER_BYTES);
		if (refuse_at != 0 && offset_bytes == refuse_at)
			liar_error(l, command, EACCES);
		else
			liar_reply(l, command, answer, sizeof(answer), NULL, 0);
		return true;
	default:
		return false;
	}
}

static int
begin(const char *capabilities)
{
	accesses = 0;
	cut_bytes = 0;
	multis = single_writes = reads = before_first_read = refuse_at = 0;
	written = lie = 0;
	agreed = capabilities;
	liar.lie_from_version = true;
	client = liar_client(&liar, serve);
	return 0;
}

static int
setup(void **state)
{
	(void)state;
	return begin("\"write_multiple\":true");
}

static int
setup_without(void **state)
{
	(void)state;
	return begin("");
}

static int
setup_accesses(void **state)
{
	(void)state;
	return begin("\"write_multiple\":true,\"ringpass.access_multiple\":true");
}

static int
teardown(void **state)
{
	(void)state;
	client = rp_vfu_client_destroy(client);
	liar_stop(&liar);
	return 0;
}

static struct rp_vfu_client_access
access_of(bool write, uint64_t offset_bytes)
{
	return (struct rp_vfu_client_access){
		.region = 2, .count_bytes = REGISTER_BYTES, .offset_bytes = offset_bytes, .write = write};
}

static void
in_order_and_answered(void)
{
	struct rp_vfu_client_access list[] = {
		access_of(true, 0x10),	access_of(true, 0x14), access_of(true, 0x18),  access_of(false, 0x21),
		access_of(false, 0x22), access_of(true, 0x1c), access_of(false, 0x23),
	};
	const uint8_t first[] = {0x21, 0x21, 0x21, 0x21}, last[] = {0x23, 0x23, 0x23, 0x23};

	assert_int_equal(rp_vfu_client_region_access_many(client, list, 7, &why), 0);
	assert_int_equal(written, 4);
	assert_int_equal(reads, 3);
	assert_int_equal(before_first_read, 3);
	assert_memory_equal(list[3].bytes, first, REGISTER_BYTES);
	assert_memory_equal(list[6].bytes, last, REGISTER_BYTES);
}

static void
writes_in_a_row_are_one_message(void **state)
{
	(void)state;
	in_order_and_answered();
	assert_int_equal(multis, 2);
	assert_int_equal(single_writes, 0);
}

static void
without_the_capability_each_is_its_own(void **state)
{
	(void)state;
	in_order_and_answered();
	assert_int_equal(multis, 0);
	assert_int_equal(single_writes, 4);
}

/* Reads and writes, in their order; a single one is as it was. */
static void
all_of_them_are_one_message(void **state)
{
	struct rp_vfu_client_access one = access_of(false, 0x42);

	(void)state;
	in_order_and_answered();
	assert_int_equal(accesses, 1);
	assert_int_equal(multis + single_writes, 0);
	assert_int_equal(rp_vfu_client_region_access_many(client, &one, 1, &why), 0);
	assert_int_equal(accesses, 1);
	assert_int_equal(one.bytes[0], 0x42);
}

static void
replies_to_accesses_that_lie(void **state)
{
	struct rp_vfu_client_access list[] = {access_of(true, 1), access_of(false, 2), access_of(false, 3)};

	(void)state;
	memset(list[0].bytes, 0x77, sizeof(list[0].bytes));
	lie = 1;
	assert_int_equal(rp_vfu_client_region_access_many(client, list, 3, &why), -EIO);
	assert_string_equal(why.text, "REGION_ACCESS_MULTI: the server did 2 accesses of 3");
	assert_int_equal(list[1].bytes[0], 0);
	lie = UINT64_MAX;
	assert_int_equal(rp_vfu_client_region_access_many(client, list, 3, &why), -EBADMSG);
	lie = 0;
	for (cut_bytes = 1; cut_bytes < 24; cut_bytes++) {
		assert_int_equal(rp_vfu_client_region_access_many(client, list, 3, &why), -EBADMSG);
		assert_int_equal(list[1].bytes[0], 0);
	}
	assert_string_equal(why.text, "REGION_ACCESS_MULTI: reply: 9 bytes, expected 32 for 3 accesses");
	cut_bytes = 0;
	assert_int_equal(rp_vfu_client_region_access_many(client, list, 3, &why), 0);
	assert_int_equal(list[2].bytes[0], 3);
	/* What was written is the caller's still. */
	assert_int_equal(list[0].bytes[0], 0x77);
}

/* More than may be under way at once, and more than a message takes. */
static void
more_than_a_lot(void **state)
{
	enum { COUNT = 3000 };
	struct rp_vfu_client_access *many = calloc(COUNT, sizeof(*many));
	unsigned int i;

	(void)state;
	assert_non_null(many);
	for (i = 0; i < COUNT; i++)
		many[i] = access_of(i % 5 != 0, i % 256);
	assert_int_equal(rp_vfu_client_region_access_many(client, many, COUNT, &why), 0);
	assert_int_equal(reads, COUNT / 5);
	assert_int_equal(written, COUNT - COUNT / 5);
	assert_int_equal(accesses, strstr(agreed, "access") == NULL ? 0 : (COUNT + 255) / 256);
	for (i = 0; i < COUNT; i += 5)
		assert_int_equal(many[i].bytes[0], i % 256);
	free(many);
}

/* That is no reason to give up a device: it takes more round trips. */
static void
without_memory(void **state)
{
	enum { COUNT = 300 };
	struct rp_vfu_client_access many[COUNT];
	unsigned int i;
	int rc;

	(void)state;
	for (i = 0; i < COUNT; i++)
		many[i] = access_of(i % 5 != 0, i % 256);
	no_memory = true;
	rc = rp_vfu_client_region_access_many(client, many, COUNT, &why);
	no_memory = false;
	assert_int_equal(rc, 0);
	assert_int_equal(reads, COUNT / 5);
	assert_int_equal(written, COUNT - COUNT / 5);
	for (i = 0; i < COUNT; i += 5)
		assert_int_equal(many[i].bytes[0], i % 256);
}

static void
what_is_refused_is_said(void **state)
{
	struct rp_vfu_client_access list[] = {access_of(false, 1), access_of(false, 2), access_of(false, 3)};

	(void)state;
	refuse_at = 2;
	assert_int_equal(rp_vfu_client_region_access_many(client, list, 3, &why), -EACCES);
	assert_int_equal(why.error, -EACCES);
	refuse_at = 0;
	assert_int_equal(rp_vfu_client_region_access_many(client, list, 3, &why), 0);
}

static void
fewer_writes_than_asked_for(void **state)
{
	struct rp_vfu_client_access list[] = {access_of(true, 1), access_of(true, 2), access_of(false, 3)};

	(void)state;
	lie = 1;
	assert_int_equal(rp_vfu_client_region_access_many(client, list, 3, &why), -EIO);
	assert_string_equal(why.text, "REGION_WRITE_MULTI: the server did 1 writes of 2");
	lie = UINT64_MAX;
	assert_int_equal(rp_vfu_client_region_access_many(client, list, 3, &why), -EBADMSG);
}

static void
our_callers_mistakes(void **state)
{
	struct rp_vfu_client_access none = access_of(true, 0), nine = none, wraps = access_of(false, UINT64_MAX);

	(void)state;
	none.count_bytes = 0;
	nine.count_bytes = 9;
	assert_int_equal(rp_vfu_client_region_access_many(client, &none, 1, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_region_access_many(client, &nine, 1, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_region_access_many(client, &wraps, 1, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_region_access_many(client, &none, 0, &why), 0);
	assert_int_equal(written + reads, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(writes_in_a_row_are_one_message, setup, teardown),
		cmocka_unit_test_setup_teardown(without_the_capability_each_is_its_own, setup_without, teardown),
		cmocka_unit_test_setup_teardown(all_of_them_are_one_message, setup_accesses, teardown),
		cmocka_unit_test_setup_teardown(replies_to_accesses_that_lie, setup_accesses, teardown),
		cmocka_unit_test_setup_teardown(more_than_a_lot, setup, teardown),
		cmocka_unit_test_setup_teardown(more_than_a_lot, setup_accesses, teardown),
		cmocka_unit_test_setup_teardown(without_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(without_memory, setup_accesses, teardown),
		cmocka_unit_test_setup_teardown(what_is_refused_is_said, setup, teardown),
		cmocka_unit_test_setup_teardown(fewer_writes_than_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(our_callers_mistakes, setup, teardown),
		cmocka_unit_test_setup_teardown(our_callers_mistakes, setup_accesses, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user client: many accesses", tests, NULL, NULL);
}
