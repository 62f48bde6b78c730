/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "script.h"

static struct liar liar;
static struct rp_vfu_client *client;
static struct rp_wire_why why;

static uint8_t posted[64];

static bool
record(struct liar *l, const struct peer_msg *command)
{
	if (command->command == 10 && (command->flags & NO_REPLY) != 0) {
		memcpy(posted, command->bytes, command->size_bytes < 64 ? command->size_bytes : 64);
		return true;
	}
	return script_record(l, command);
}

static void
test_command_vectors(void **state)
{
	int event = eventfd(0, EFD_CLOEXEC);
	uint32_t word = 0;

	(void)state;
	client = liar_client(&liar, record);
	assert_int_equal(rp_vfu_client_region_read(client, 7, 0x40, 4, &word, &why), 0);
	SENT(0, HEADER(1, 9, 32, COMMAND, 0), U64(0x40), U32(7), U32(4));
	assert_int_equal(word, 0x33333333);
	assert_int_equal(rp_vfu_client_region_write(client, 0, 0x100000004, 2, "ab", &why), 0);
	SENT(0, HEADER(2, 10, 34, COMMAND, 0), U64(0x100000004), U32(0), U32(2), 'a', 'b');
	assert_int_equal(rp_vfu_client_irq_set(client, 2, 7, event, &why), 0);
	SENT(1, HEADER(3, 8, 36, COMMAND, 0), U32(20), U32(0x24), U32(2), U32(7), U32(1));
	assert_int_equal(rp_vfu_client_irq_set(client, 2, 7, -1, &why), 0);
	SENT(0, HEADER(4, 8, 36, COMMAND, 0), U32(20), U32(0x24), U32(2), U32(7), U32(1));
	assert_int_equal(rp_vfu_client_irq_disable(client, 2, &why), 0);
	SENT(0, HEADER(5, 8, 36, COMMAND, 0), U32(20), U32(0x21), U32(2), U32(0), U32(0));
	assert_int_equal(rp_vfu_client_dma_map(client, 0x1000, 0x2000, liar.file_fd, 0x3000, 3, &why), 0);
	SENT(1, HEADER(6, 2, 48, COMMAND, 0), U32(32), U32(3), U64(0x3000), U64(0x1000), U64(0x2000));
	assert_int_equal(rp_vfu_client_dma_map(client, 0x8000, 0x2000, -1, 0x3000, 1, &why), 0);
	SENT(0, HEADER(7, 2, 48, COMMAND, 0), U32(32), U32(1), U64(0), U64(0x8000), U64(0x2000));
	assert_int_equal(rp_vfu_client_dma_unmap(client, 0x1000, 0x2000, &why), 0);
	SENT(0, HEADER(8, 3, 40, COMMAND, 0), U32(24), U32(0), U64(0x1000), U64(0x2000));
	assert_int_equal(rp_vfu_client_reset(client, &why), 0);
	SENT(0, HEADER(9, 13, 16, COMMAND, 0));
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
	close(event);
}

static void
test_posted_write_vector(void **state)
{
	uint32_t word = 0;

	(void)state;
	client = liar_client(&liar, record);
	assert_int_equal(rp_vfu_client_region_write_post(client, 0, 0x10, 2, "ab", &why), 0);
	/* The next command finds it done, and nothing was answered to it. */
	assert_int_equal(rp_vfu_client_region_read(client, 7, 0x40, 4, &word, &why), 0);
	assert_memory_equal(
		posted, ((const uint8_t[]){HEADER(1, 10, 34, NO_REPLY, 0), U64(0x10), U32(0), U32(2), 'a', 'b'}), 34);
	rp_vfu_client_destroy(client);
	assert_int_equal(liar_stop(&liar), 3);
}

static void
test_our_callers_mistakes(void **state)
{
	uint8_t byte;

	(void)state;
	client = liar_client(&liar, NULL);
	assert_int_equal(rp_vfu_client_region_read(client, 0, 0, 0, &byte, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_region_read(client, 0, UINT64_MAX, 1, &byte, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_region_write(client, 0, UINT64_MAX - 1, 4, &byte, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_region_write(client, 0, 0, 0, &byte, &why), -EINVAL);
	rp_vfu_client_destroy(client);
	/* VERSION, and nothing else. */
	assert_int_equal(liar_stop(&liar), 1);
}

/* What is said to a read, a write or an unmap. */
static struct {
	const uint8_t *payload;
	size_t payload_bytes;
	unsigned int fds_count;
} lie;

static bool
say_lie(struct liar *l, const struct peer_msg *command)
{
	if (command->command == 13)
		return false;
	liar_reply(l, command, lie.payload, lie.payload_bytes, &l->file_fd, lie.fds_count);
	return true;
}

static void
assert_lie(int command, const uint8_t *payload, size_t payload_bytes, unsigned int fds_count, const char *words)
{
	uint32_t word = 0x5a5a5a5a;
	int rc;

	lie.payload = payload;
	lie.payload_bytes = payload_bytes;
	lie.fds_count = fds_count;
	client = liar_client(&liar, say_lie);
	if (command == 9)
		rc = rp_vfu_client_region_read(client, 7, 0x40, 4, &word, &why);
	else if (command == 10)
		rc = rp_vfu_client_region_write(client, 7, 0x40, 4, &word, &why);
	else
		rc = rp_vfu_client_dma_unmap(client, 0x1000, 0x2000, &why);
	assert_int_equal(rc, -EBADMSG);
	assert_int_equal(word, 0x5a5a5a5a);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s' does not say '%s'", why.text, words);
	assert_int_equal(rp_vfu_client_reset(client, &why), 0);
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

#define LIE(command, fds_count, words, ...)                                                                            \
	do {                                                                                                           \
		static const uint8_t bytes_[] = {__VA_ARGS__};                                                         \
		assert_lie(command, bytes_, sizeof(bytes_), fds_count, words);                                         \
	} while (0)

static void
test_lies(void **state)
{
	(void)state;
	LIE(9, 0, "payload: 12 bytes, expected 16", U64(0x40), U32(7));
	LIE(9, 0, "0 bytes of data, expected 4", U64(0x40), U32(7), U32(4));
	LIE(9, 0, "3 bytes of data, expected 4", U64(0x40), U32(7), U32(4), 1, 2, 3);
	LIE(9, 0, "5 bytes of data, expected 4", U64(0x40), U32(7), U32(4), 1, 2, 3, 4, 5);
	LIE(9, 0, "2 bytes at 0x40 of region 7, asked for 4", U64(0x40), U32(7), U32(2), 1, 2);
	LIE(9, 0, "4 bytes at 0x44 of region 7", U64(0x44), U32(7), U32(4), 1, 2, 3, 4);
	LIE(9, 0, "4 bytes at 0x40 of region 0", U64(0x40), U32(0), U32(4), 1, 2, 3, 4);
	LIE(9, 0, "4294967295 bytes at 0x40", U64(0x40), U32(7), U32(UINT32_MAX), 1, 2, 3, 4);
	LIE(9, 1, "descriptors: 1, expected at most 0", U64(0x40), U32(7), U32(4), 1, 2, 3, 4);
	LIE(10, 0, "payload: 17 bytes, expected 16 to 16", U64(0x40), U32(7), U32(4), 1);
	LIE(10, 0, "payload: 15 bytes", U64(0x40), U32(7), U16(4), 0);
	LIE(10, 0, "0 bytes at 0x40", U64(0x40), U32(7), U32(0));
	LIE(3, 0, "payload: 0 bytes, expected 24 to 1048616", );
	LIE(3, 0, "0x1000 bytes at 0x1000, asked for 0x2000 at 0x1000", U32(24), U32(0), U64(0x1000), U64(0x1000));
	LIE(3, 1, "descriptors: 1", U32(24), U32(0), U64(0x1000), U64(0x2000));
}

/* Pieces of 4096 bytes, answered only when four of them are there: all have to be under way. */
static struct {
	struct peer_msg held[4];
	unsigned int count, refused, seen;
} * pieces;

static bool
hold_pieces(struct liar *l, const struct peer_msg *command)
{
	unsigned int i;

	if (command->command == 1) {
		script_version(l, command, "\"max_data_xfer_size\":4096", NULL, 0);
		return true;
	}
	if (command->command != 9 && command->command != 10)
		return false;
	pieces->held[pieces->count] = *command;
	pieces->held[pieces->count].payload = pieces->held[pieces->count].bytes + 16;
	pieces->count++;
	if (pieces->count < 4)
		return true;
	/* In the other order: replies are found by their id. */
	for (i = 4; i-- > 0;) {
		if (++pieces->seen == pieces->refused)
			liar_error(l, &pieces->held[i], EIO);
		else
			liar_honest(l, &pieces->held[i]);
	}
	pieces->count = 0;
	return true;
}

static void
test_pieces_are_all_under_way(void **state)
{
	uint8_t *bytes = malloc(4 * 4096);

	(void)state;
	pieces = calloc(1, sizeof(*pieces));
	assert_non_null(pieces);
	assert_non_null(bytes);
	liar.lie_from_version = true;
	client = liar_client(&liar, hold_pieces);
	assert_int_equal(rp_vfu_client_region_read(client, 2, 0, 4 * 4096 - 1, bytes, &why), 0);
	assert_int_equal(bytes[4 * 4096 - 2], 0x33);
	assert_int_equal(rp_vfu_client_region_write(client, 2, 0, 4 * 4096, bytes, &why), 0);
	pieces->refused = 10;
	assert_int_equal(rp_vfu_client_region_write(client, 2, 0, 4 * 4096, bytes, &why), -EIO);
	assert_int_equal(
		rp_vfu_client_region_read_start(client, 2, 0, 4097, bytes, &(struct rp_vfu_client_done){0}, &why),
		-EINVAL);
	assert_int_equal(rp_vfu_client_region_write_post(client, 2, 0, 4097, bytes, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_reset(client, &why), 0);
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
	free(pieces);
	free(bytes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_command_vectors),		 cmocka_unit_test(test_posted_write_vector),
		cmocka_unit_test(test_our_callers_mistakes),	 cmocka_unit_test(test_lies),
		cmocka_unit_test(test_pieces_are_all_under_way),
	};

	return cmocka_run_group_tests_name("vfio-user client: operations", tests, NULL, NULL);
}
