/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "script.h"

/* Commands of the server: DMA_READ and DMA_WRITE, honest ones and the others. */

static struct liar liar;
static struct rp_vfu_client *client;
static struct rp_wire_why why;
static uint8_t memory[0x3000];

/* Memory that is not in this process. */
static struct {
	uint8_t bytes[16];
	uint64_t iova;
	uint64_t size_bytes;
	unsigned int reads, writes;
	int fail_with;
	bool call_back; /* wait for a reply, which is forbidden */
	int called_back;
} distant;

static int
read_distant(void *ctx, uint64_t iova, uint64_t size_bytes, void *ret_bytes)
{
	(void)ctx;
	distant.reads++;
	distant.iova = iova;
	distant.size_bytes = size_bytes;
	memset(ret_bytes, 'd', size_bytes);
	if (distant.call_back)
		distant.called_back = rp_vfu_client_reset(client, NULL);
	return distant.fail_with;
}

static int
write_distant(void *ctx, uint64_t iova, uint64_t size_bytes, const void *bytes)
{
	(void)ctx;
	distant.writes++;
	distant.iova = iova;
	distant.size_bytes = size_bytes;
	memcpy(distant.bytes, bytes, size_bytes < 16 ? size_bytes : 16);
	return distant.fail_with;
}

static void
map(uint64_t iova, uint64_t size_bytes, void *hva, uint32_t access_mask)
{
	const struct rp_vfu_client_memory given = {
		.iova = iova, .size_bytes = size_bytes, .fd = -1, .hva = hva, .access_mask = access_mask};

	assert_int_equal(rp_vfu_client_dma_map_memory(client, &given, &why), 0);
}

/*
 * 0x1000: read and write. 0x2000: read. 0x3000: write. Nothing at 0x4000. 0x5000: not
 * here. The last page of all: read and write.
 */
static int
setup(void **state)
{
	const struct rp_vfu_client_config config = {.socket_path = test_socket_path(), .timeout_ms = 5000};
	const struct rp_vfu_client_ops ops = {.dma_read = read_distant, .dma_write = write_distant};

	(void)state;
	memset(&distant, 0, sizeof(distant));
	memset(memory, 'm', sizeof(memory));
	liar_start(&liar, script_answer);
	assert_int_equal(rp_vfu_client_create(&config, &ops, NULL, &client, &why), 0);
	map(0x1000, 0x1000, memory, 3);
	map(0x2000, 0x1000, memory + 0x1000, RP_VFU_DMA_MAP_READ_MASK);
	map(0x3000, 0x1000, memory + 0x2000, RP_VFU_DMA_MAP_WRITE_MASK);
	map(0x5000, 0x1000, NULL, 3);
	map(0xfffffffffffff000, 0x1000, memory, 3);
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
test_dma_vectors(void **state)
{
	(void)state;
	memcpy(memory + 0x10, "abcd", 4);
	PLAY(&liar, client, {SAY(DMA_READ(9, 0x1010, 4)), HEAR(DMA_READ_REPLY(9, 0x1010, 4), 'a', 'b', 'c', 'd')},
	     {SAY(DMA_WRITE(10, 0x1011, 2), 'X', 'Y'), HEAR(DMA_WRITE_REPLY(10, 0x1011, 2))},
	     /* The very last byte of the address space. */
	     {SAY(DMA_READ(0xffff, UINT64_MAX, 1)), HEAR(DMA_READ_REPLY(0xffff, UINT64_MAX, 1), 'm')},
	     /* The id of the reset that waits. */
	     {SAY(DMA_READ(6, 0x1010, 4)), HEAR(DMA_READ_REPLY(6, 0x1010, 4), 'a', 'X', 'Y', 'd')});
	assert_memory_equal(memory + 0x10, "aXYd", 4);
}

static void
test_access_is_checked(void **state)
{
	(void)state;
	PLAY(&liar, client,
	     /* Not with these rights. */
	     {SAY(DMA_WRITE(1, 0x2000, 1), 'x'), HEAR(REFUSAL(1, 12, EACCES))},
	     {SAY(DMA_READ(2, 0x3000, 1)), HEAR(REFUSAL(2, 11, EACCES))},
	     /* Not mapped, before, behind, beside. */
	     {SAY(DMA_READ(3, 0, 4)), HEAR(REFUSAL(3, 11, EFAULT))},
	     {SAY(DMA_READ(4, 0xffe, 4)), HEAR(REFUSAL(4, 11, EFAULT))},
	     {SAY(DMA_WRITE(5, 0x3ffe, 4), 1, 2, 3, 4), HEAR(REFUSAL(5, 12, EFAULT))},
	     {SAY(DMA_WRITE(6, 0x4000, 1), 1), HEAR(REFUSAL(6, 12, EFAULT))},
	     /* Half of it is not writable: none of it is written. */
	     {SAY(DMA_WRITE(7, 0x1ffe, 4), 1, 2, 3, 4), HEAR(REFUSAL(7, 12, EACCES))});
	assert_int_equal(memory[0xffe], 'm');
	assert_int_equal(memory[0x2ffe], 'm');
}

static void
test_sizes_are_checked(void **state)
{
	(void)state;
	PLAY(&liar, client, {SAY(DMA_READ(1, 0x1000, 0)), HEAR(REFUSAL(1, 11, EINVAL))},
	     {SAY(DMA_READ(2, UINT64_MAX, 2)), HEAR(REFUSAL(2, 11, EINVAL))},
	     {SAY(DMA_READ(3, 0x1000, UINT64_MAX)), HEAR(REFUSAL(3, 11, EINVAL))},
	     {SAY(DMA_READ(4, 0, UINT64_MAX)), HEAR(REFUSAL(4, 11, EMSGSIZE))},
	     {SAY(DMA_READ(5, 0x1000, 1048577)), HEAR(REFUSAL(5, 11, EMSGSIZE))},
	     {SAY(HEADER(6, 11, 31, COMMAND, 0), U64(0x1000), U32(4), U16(0), 0), HEAR(REFUSAL(6, 11, EMSGSIZE))},
	     {SAY(HEADER(7, 11, 33, COMMAND, 0), U64(0x1000), U64(4), 0), HEAR(REFUSAL(7, 11, EMSGSIZE))},
	     /* More and less data than the count says. */
	     {SAY(HEADER(8, 12, 34, COMMAND, 0), U64(0x1000), U64(1), 1, 2), HEAR(REFUSAL(8, 12, EINVAL))},
	     {SAY(HEADER(9, 12, 33, COMMAND, 0), U64(0x1000), U64(2), 1), HEAR(REFUSAL(9, 12, EINVAL))},
	     {SAY(HEADER(10, 12, 32, COMMAND, 0), U64(0x1000), U64(0)), HEAR(REFUSAL(10, 12, EINVAL))},
	     {SAY(DMA_WRITE(11, UINT64_MAX, 2), 1, 2), HEAR(REFUSAL(11, 12, EINVAL))},
	     /* Descriptors where none belong. */
	     {SAY(DMA_READ(12, 0x1000, 4)), HEAR(REFUSAL(12, 11, EINVAL)), 1},
	     {SAY(DMA_WRITE(13, 0x1000, 1), 1), HEAR(REFUSAL(13, 12, EINVAL)), 16},
	     /* Of the other direction, and of nobody. */
	     {SAY(HEADER(14, 9, 32, COMMAND, 0), U64(0), U32(0), U32(4)), HEAR(REFUSAL(14, 9, EOPNOTSUPP))},
	     {SAY(HEADER(15, 12345, 16, COMMAND, 0)), HEAR(REFUSAL(15, 12345, EOPNOTSUPP))},
	     {SAY(HEADER(16, 0x5202, 40, COMMAND, 0), U64(0x1000), U64(4), U64(0)),
	      HEAR(REFUSAL(16, 0x5202, EOPNOTSUPP))});
	assert_int_equal(memory[0], 'm');
}

static void
test_ranges_of_several_mappings(void **state)
{
	(void)state;
	memcpy(memory + 0xffe, "ab", 2);
	memcpy(memory + 0x1000, "cd", 2);
	PLAY(&liar, client, {SAY(DMA_READ(1, 0x1ffe, 4)), HEAR(DMA_READ_REPLY(1, 0x1ffe, 4), 'a', 'b', 'c', 'd')});
	/* Mapped by the client, with a descriptor: the second half of what is written. */
	assert_int_equal(rp_vfu_client_dma_map(client, 0x4000, 0x1000, liar.file_fd, 0x2000, 3, &why), 0);
	PLAY(&liar, client, {SAY(DMA_WRITE(2, 0x3ffe, 4), 1, 2, 3, 4), HEAR(DMA_WRITE_REPLY(2, 0x3ffe, 4))},
	     {SAY(DMA_READ(3, 0x4000, 2)), HEAR(DMA_READ_REPLY(3, 0x4000, 2), 3, 4)});
	assert_int_equal(memory[0x2fff], 2);
	assert_int_equal(pread(liar.file_fd, memory, 2, 0x2000), 2);
	assert_int_equal(memory[1], 4);
}

static void
test_memory_elsewhere(void **state)
{
	(void)state;
	PLAY(&liar, client, {SAY(DMA_READ(1, 0x5004, 3)), HEAR(DMA_READ_REPLY(1, 0x5004, 3), 'd', 'd', 'd')},
	     {SAY(DMA_WRITE(2, 0x5ffd, 3), 'x', 'y', 'z'), HEAR(DMA_WRITE_REPLY(2, 0x5ffd, 3))});
	assert_int_equal(distant.reads, 1);
	assert_int_equal(distant.writes, 1);
	assert_int_equal(distant.iova, 0x5ffd);
	assert_int_equal(distant.size_bytes, 3);
	assert_memory_equal(distant.bytes, "xyz", 3);
	distant.fail_with = -ERANGE;
	distant.call_back = true;
	PLAY(&liar, client, {SAY(DMA_READ(3, 0x5000, 1)), HEAR(REFUSAL(3, 11, ERANGE))},
	     {SAY(DMA_WRITE(4, 0x5000, 1), 1), HEAR(REFUSAL(4, 12, ERANGE))},
	     {SAY(DMA_WRITE(5, 0x5fff, 2), 1, 2), HEAR(REFUSAL(5, 12, EFAULT))});
	assert_int_equal(distant.called_back, -EBUSY);
	assert_int_equal(distant.writes, 2);
}

static void
test_posted_commands_are_not_answered(void **state)
{
	(void)state;
	PLAY(&liar, client, {SAY(HEADER(1, 12, 33, NO_REPLY, 0), U64(0x1000), U64(1), 'p'), NOTHING},
	     {SAY(HEADER(2, 12, 33, NO_REPLY, 0), U64(0x4000), U64(1), 'p'), NOTHING},
	     {SAY(HEADER(3, 11, 32, NO_REPLY, 0), U64(0x1000), U64(1)), NOTHING},
	     {SAY(DMA_READ(4, 0x1000, 1)), HEAR(DMA_READ_REPLY(4, 0x1000, 1), 'p')});
}

static void
test_many_at_once_are_answered_in_order(void **state)
{
	(void)state;
	PLAY(&liar, client,
	     {SAY(DMA_READ(1, 0x1000, 1), DMA_WRITE(2, 0x1001, 1), 'q', DMA_READ(3, 0x4000, 1)), NOTHING},
	     {NOTHING, HEAR(DMA_READ_REPLY(1, 0x1000, 1), 'm')}, {NOTHING, HEAR(DMA_WRITE_REPLY(2, 0x1001, 1))},
	     {NOTHING, HEAR(REFUSAL(3, 11, EFAULT))});
}

/* Its own, of two pages. */
static int window_fd;

static bool
with_a_window(struct liar *l, const struct peer_msg *command)
{
	if (command->command != 1)
		return script_answer(l, command);
	script_version(l, command, "\"ringpass.window\":{\"size\":65536,\"fd_index\":0}", &window_fd, 1);
	return true;
}

static void
test_window_vectors_and_bounds(void **state)
{
	const uint8_t filling[] = {'w', 'i', 'n', 'd', 'o', 'w'};
	uint8_t seen[4];

	(void)state;
	window_fd = test_memfd(65536, true);
	memset(memory, 'm', sizeof(memory));
	assert_int_equal(pwrite(window_fd, filling, sizeof(filling), 0xfffa), sizeof(filling));
	liar.lie_from_version = true;
	client = liar_client(&liar, with_a_window);
	map(0x1000, 0x2000, memory, 3);
	map(0x3000, 0x1000, memory, RP_VFU_DMA_MAP_READ_MASK);
	PLAY(&liar, client, {SAY(WINDOW_WRITE(1, 0x1004, 6, 0xfffa)), HEAR(WINDOW_REPLY(1, 0x5203, 0x1004, 6))},
	     {SAY(WINDOW_READ(2, 0x1005, 4, 0)), HEAR(WINDOW_REPLY(2, 0x5202, 0x1005, 4))},
	     /* Outside of the window, by one and by wrapping. */
	     {SAY(WINDOW_READ(3, 0x1000, 1, 0x10000)), HEAR(REFUSAL(3, 0x5202, EINVAL))},
	     {SAY(WINDOW_WRITE(4, 0x1000, 2, 0xffff)), HEAR(REFUSAL(4, 0x5203, EINVAL))},
	     {SAY(WINDOW_READ(5, 0x1000, 2, UINT64_MAX)), HEAR(REFUSAL(5, 0x5202, EINVAL))},
	     {SAY(WINDOW_WRITE(6, 0x1000, 2, UINT64_MAX - 1)), HEAR(REFUSAL(6, 0x5203, EINVAL))},
	     {SAY(WINDOW_READ(7, 0x1000, 65537, 0)), HEAR(REFUSAL(7, 0x5202, EMSGSIZE))},
	     {SAY(WINDOW_READ(8, 0x1000, 0, 0)), HEAR(REFUSAL(8, 0x5202, EINVAL))},
	     {SAY(WINDOW_READ(9, UINT64_MAX, 2, 0)), HEAR(REFUSAL(9, 0x5202, EINVAL))},
	     /* What a message may not reach, the window does not either. */
	     {SAY(WINDOW_WRITE(10, 0x3000, 1, 0)), HEAR(REFUSAL(10, 0x5203, EACCES))},
	     {SAY(WINDOW_READ(11, 0x3fff, 2, 0)), HEAR(REFUSAL(11, 0x5202, EFAULT))},
	     {SAY(HEADER(12, 0x5202, 32, COMMAND, 0), U64(0x1000), U64(1)), HEAR(REFUSAL(12, 0x5202, EMSGSIZE))},
	     {SAY(WINDOW_READ(13, 0x1000, 1, 0)), HEAR(REFUSAL(13, 0x5202, EINVAL)), 1});
	assert_memory_equal(memory + 4, "window", 6);
	assert_int_equal(pread(window_fd, seen, 4, 0), 4);
	assert_memory_equal(seen, "indo", 4);
	client = rp_vfu_client_destroy(client);
	liar_stop(&liar);
	close(window_fd);
}

/* Not a script: more than a socket holds, asked for before the first byte is read. */
#define FLOOD_COUNT 64
#define FLOOD_BYTES 1048576u

static bool
read_much(struct liar *l, const struct peer_msg *command)
{
	struct peer_msg *answer;
	unsigned int i, right = 0;

	if (command->command != 13)
		return false;
	answer = calloc(1, sizeof(*answer));
	for (i = 0; i < FLOOD_COUNT; i++) {
		const uint8_t ask[] = {DMA_READ(i, 0x10000, FLOOD_BYTES)};

		(void)peer_send(&l->peer, ask, sizeof(ask), NULL, 0);
	}
	for (i = 0; i < FLOOD_COUNT && peer_receive(&l->peer, answer); i++)
		right += answer->id == i && answer->size_bytes == 32 + FLOOD_BYTES && answer->bytes[32] == 'b';
	free(answer);
	*(unsigned int *)l->ctx = right;
	liar_reply(l, command, NULL, 0, NULL, 0);
	return true;
}

static void
test_many_reads_at_full_socket_buffers(void **state)
{
	uint8_t *big = malloc(FLOOD_BYTES);
	unsigned int right = 0;

	(void)state;
	assert_non_null(big);
	memset(big, 'b', FLOOD_BYTES);
	client = liar_client(&liar, read_much);
	liar.ctx = &right;
	map(0x10000, FLOOD_BYTES, big, 1);
	assert_int_equal(rp_vfu_client_reset(client, &why), 0);
	client = rp_vfu_client_destroy(client);
	liar_stop(&liar);
	assert_int_equal(right, FLOOD_COUNT);
	free(big);
}

#define LARGE_BYTES 0x5000u

static uint8_t large_memory[0x10000];

/* A DMA_WRITE of LARGE_BYTES that says `count`. */
static void
make_large(uint8_t *message, uint16_t id, uint64_t iova, uint64_t count, uint8_t fill)
{
	const uint8_t head[] = {HEADER(id, 12, 32 + LARGE_BYTES, COMMAND, 0), U64(iova), U64(count)};

	memcpy(message, head, sizeof(head));
	memset(message + sizeof(head), fill, LARGE_BYTES);
}

static void
assert_filled(const uint8_t *bytes, size_t count_bytes, uint8_t fill)
{
	size_t i;

	for (i = 0; i < count_bytes; i++)
		assert_int_equal(bytes[i], fill);
}

/* Its data is read to where it belongs, but only when all of it may go there; in one piece or not, it is the same. */
static void
test_large_write(void **state)
{
	static uint8_t fits[32 + LARGE_BYTES], crosses[32 + LARGE_BYTES], spans[32 + LARGE_BYTES],
		lies[32 + LARGE_BYTES];

	(void)state;
	memset(large_memory, 'm', sizeof(large_memory));
	map(0x100000, 0x8000, large_memory, 3);
	map(0x108000, 0x1000, memory, RP_VFU_DMA_MAP_READ_MASK);
	map(0x110000, 0x4000, large_memory + 0x8000, 3);
	map(0x114000, 0x4000, large_memory + 0xc000, 3);
	make_large(fits, 1, 0x100001, LARGE_BYTES, 'f');
	make_large(crosses, 2, 0x106000, LARGE_BYTES, 'c');
	make_large(spans, 3, 0x110000, LARGE_BYTES, 's');
	make_large(lies, 4, 0x110000, LARGE_BYTES + 1, 'l');
	PLAY(&liar, client, {fits, 20, NOTHING}, {fits + 20, 20, NOTHING}, {fits + 40, 0x3000, NOTHING},
	     {fits + 40 + 0x3000, sizeof(fits) - 40 - 0x3000, HEAR(DMA_WRITE_REPLY(1, 0x100001, LARGE_BYTES))},
	     {crosses, sizeof(crosses), HEAR(HEADER(2, 12, 16, ERROR_REPLY, EACCES))},
	     {spans, sizeof(spans), HEAR(DMA_WRITE_REPLY(3, 0x110000, LARGE_BYTES))},
	     {lies, sizeof(lies), HEAR(HEADER(4, 12, 16, ERROR_REPLY, EINVAL))},
	     /* What comes behind is looked at as ever. */
	     {SAY(DMA_WRITE(10, 0x1011, 2), 'X', 'Y'), HEAR(DMA_WRITE_REPLY(10, 0x1011, 2))});
	assert_int_equal(large_memory[0], 'm');
	assert_filled(large_memory + 1, LARGE_BYTES, 'f');
	assert_filled(large_memory + 1 + LARGE_BYTES, 0x8000 - 1 - LARGE_BYTES, 'm');
	assert_filled(large_memory + 0x8000, LARGE_BYTES, 's');
	assert_filled(large_memory + 0x8000 + LARGE_BYTES, 0x8000 - LARGE_BYTES, 'm');
	assert_filled(memory, 0x11, 'm');
	assert_memory_equal(memory + 0x11, "XY", 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_large_write, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dma_vectors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_access_is_checked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sizes_are_checked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ranges_of_several_mappings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory_elsewhere, setup, teardown),
		cmocka_unit_test_setup_teardown(test_posted_commands_are_not_answered, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_at_once_are_answered_in_order, setup, teardown),
		cmocka_unit_test(test_window_vectors_and_bounds),
		cmocka_unit_test(test_many_reads_at_full_socket_buffers),
	};

	return cmocka_run_group_tests_name("vfio-user client: serving the server", tests, NULL, NULL);
}
