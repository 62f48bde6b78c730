/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "script.h"

/* Giving memory and taking it back: what is sent, and what the server may reach meanwhile. */

static struct liar liar;
static struct rp_vfu_client *client;
static struct rp_wire_why why;

static uint8_t bytes[0x4000];

#define REMAP "\"ringpass.remap\":true,\"max_msg_fds\":8"

static struct rp_vfu_client_memory
memory_at(uint64_t iova, uint64_t size_bytes, void *hva)
{
	return (struct rp_vfu_client_memory){
		.iova = iova, .size_bytes = size_bytes, .fd = -1, .hva = hva, .access_mask = 3};
}

static bool
record_with_remap(struct liar *l, const struct peer_msg *command)
{
	if (command->command != 1)
		return script_record(l, command);
	script_version(l, command, REMAP, NULL, 0);
	return true;
}

static int
setup(void **state)
{
	(void)state;
	memset(bytes, 'm', sizeof(bytes));
	script_clear();
	liar.lie_from_version = true;
	client = liar_client(&liar, record_with_remap);
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
test_memory_vectors(void **state)
{
	struct rp_vfu_client_memory memory = memory_at(0x4000, 0x1000, bytes);
	uint64_t bits[2] = {0, 0};

	(void)state;
	assert_int_equal(rp_vfu_client_dma_map_memory(client, &memory, &why), 0);
	SENT(0, HEADER(1, 2, 48, COMMAND, 0), U32(32), U32(3), U64(0), U64(0x4000), U64(0x1000));
	memory.fd = liar.file_fd;
	memory.offset_bytes = 0x2000;
	memory.access_mask = 1;
	assert_int_equal(rp_vfu_client_dma_remap(client, &memory, &why), 0);
	SENT(1, HEADER(2, 0x5201, 48, COMMAND, 0), U32(32), U32(1), U64(0x2000), U64(0x4000), U64(0x1000));
	REPLY_WITH(0, U32(24), U32(2), U64(0), U64(0));
	assert_int_equal(rp_vfu_client_dma_unmap_all(client, &why), 0);
	SENT(0, HEADER(3, 3, 40, COMMAND, 0), U32(24), U32(2), U64(0), U64(0));
	REPLY_WITH(0, U32(56), U32(1), U64(0x1000), U64(65 * 4096), U64(4096), U64(16), U64(0x8000000000000001),
		   U64(1));
	assert_int_equal(rp_vfu_client_dma_unmap_dirty(client, 0x1000, 65 * 4096, 4096, bits, &why), 0);
	SENT(0, HEADER(4, 3, 56, COMMAND, 0), U32(56), U32(1), U64(0x1000), U64(65 * 4096), U64(4096), U64(16));
	assert_true(bits[0] == 0x8000000000000001 && bits[1] == 1);
}

static void
test_lies_of_an_unmap(void **state)
{
	uint64_t bits = 0x77;

	(void)state;
	REPLY_WITH(0, U32(24), U32(0), U64(0x1000), U64(0x1000));
	assert_int_equal(rp_vfu_client_dma_unmap(client, 0x1000, 0x2000, &why), -EBADMSG);
	assert_non_null(strstr(why.text, "0x1000 bytes at 0x1000, asked for 0x2000 at 0x1000"));
	REPLY_WITH(0, U32(24), U32(0), U64(0x1000), U64(0x2000), 0);
	assert_int_equal(rp_vfu_client_dma_unmap(client, 0x1000, 0x2000, &why), -EBADMSG);
	assert_non_null(strstr(why.text, "payload: 25 bytes, expected 24"));
	/* Bits that are missing, of another page size, too many, and behind the range. */
	REPLY_WITH(0, U32(24), U32(1), U64(0x1000), U64(0x2000));
	assert_int_equal(rp_vfu_client_dma_unmap_dirty(client, 0x1000, 0x2000, 4096, &bits, &why), -EBADMSG);
	REPLY_WITH(0, U32(48), U32(1), U64(0x1000), U64(0x2000), U64(8192), U64(8), U64(1));
	assert_int_equal(rp_vfu_client_dma_unmap_dirty(client, 0x1000, 0x2000, 4096, &bits, &why), -EBADMSG);
	REPLY_WITH(0, U32(56), U32(1), U64(0x1000), U64(0x2000), U64(4096), U64(16), U64(1), U64(0));
	assert_int_equal(rp_vfu_client_dma_unmap_dirty(client, 0x1000, 0x2000, 4096, &bits, &why), -EBADMSG);
	REPLY_WITH(0, U32(48), U32(1), U64(0x1000), U64(0x2000), U64(4096), U64(8), U64(4));
	assert_int_equal(rp_vfu_client_dma_unmap_dirty(client, 0x1000, 0x2000, 4096, &bits, &why), -EBADMSG);
	assert_non_null(strstr(why.text, "bits behind the range"));
	assert_int_equal(bits, 0x77);
	assert_int_equal(rp_vfu_client_reset(client, &why), 0);
}

static void
test_our_callers_mistakes(void **state)
{
	struct rp_vfu_client_memory memory = memory_at(0x4000, 0x1000, bytes);
	uint64_t bits;

	(void)state;
	assert_int_equal(rp_vfu_client_dma_map(client, 0, 0, -1, 0, 3, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_dma_map(client, UINT64_MAX, 2, -1, 0, 3, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_dma_map(client, 0, 0x1000, -1, 0, 4, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_dma_unmap_dirty(client, 0, 0x1000, 5, &bits, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_dma_unmap_dirty(client, 0, 0, 4096, &bits, &why), -EINVAL);
	assert_int_equal(script_sent_count(), 0);
	/* A descriptor that is none is undone in our view too. */
	memory.fd = 99999;
	assert_int_equal(rp_vfu_client_dma_map_memory(client, &memory, &why), -EINVAL);
	memory.fd = -1;
	assert_int_equal(rp_vfu_client_dma_map_memory(client, &memory, &why), 0);
	assert_int_equal(rp_vfu_client_dma_map_memory(client, &memory, &why), -EEXIST);
	assert_int_equal(script_sent_count(), 1);
}

static void
test_remap_needs_the_capability(void **state)
{
	const struct rp_vfu_client_memory memory = memory_at(0x4000, 0x1000, bytes);

	(void)state;
	client = liar_client(&liar, NULL);
	assert_int_equal(rp_vfu_client_dma_remap(client, &memory, &why), -ENOTSUP);
	rp_vfu_client_destroy(client);
	assert_int_equal(liar_stop(&liar), 1);
}

/*
 * While an unmap or a remap is under way the server still uses the old memory: it asks
 * for it before it answers. Whether the answer is yes or no is the test's.
 */
static struct {
	uint16_t command; /* that is answered so */
	uint32_t error;
	uint8_t seen[3]; /* one byte of 0x1000 before a map's reply, of 0x1000 and 0x1800 before the other one's */
	uint32_t seen_error[3];
} trial;

static void
look(struct liar *l, uint64_t iova, unsigned int n)
{
	struct peer_msg *answer = calloc(1, sizeof(*answer));
	const uint8_t ask[] = {DMA_READ(50, iova, 1)};

	(void)peer_send(&l->peer, ask, sizeof(ask), NULL, 0);
	if (answer != NULL && peer_receive(&l->peer, answer)) {
		trial.seen_error[n] = answer->error;
		trial.seen[n] = answer->payload_bytes > 16 ? answer->payload[16] : 0;
	}
	free(answer);
}

static bool
look_before_answering(struct liar *l, const struct peer_msg *command)
{
	if (command->command == 1) {
		script_version(l, command, REMAP, NULL, 0);
		return true;
	}
	if (command->command == 2)
		look(l, 0x1000, 0);
	if (command->command != trial.command)
		return command->command == 13 && script_answer(l, command);
	if (command->command != 2) {
		look(l, 0x1000, 1);
		look(l, 0x1800, 2);
	}
	if (trial.error == 0)
		return false;
	liar_error(l, command, trial.error);
	return true;
}

static void
begin_trial(uint16_t command, uint32_t error)
{
	memset(&trial, 0, sizeof(trial));
	trial.command = command;
	trial.error = error;
	liar.lie_from_version = true;
	client = liar_client(&liar, look_before_answering);
}

static void
test_what_is_mapped_is_served_before_the_reply(void **state)
{
	struct rp_vfu_client_memory memory = memory_at(0x1000, 0x1000, bytes);

	(void)state;
	bytes[0] = 'a';
	begin_trial(2, EINVAL);
	assert_int_equal(rp_vfu_client_dma_map_memory(client, &memory, &why), -EINVAL);
	assert_int_equal(trial.seen[0], 'a');
	/* And no longer when it was refused. */
	PLAY(&liar, client, {SAY(DMA_READ(1, 0x1000, 1)), HEAR(REFUSAL(1, 11, EFAULT))});
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

static void
test_what_is_taken_back_is_served_until_the_reply(void **state)
{
	struct rp_vfu_client_memory memory = memory_at(0x1000, 0x1000, bytes);

	(void)state;
	bytes[0] = 'a';
	bytes[0x800] = 'b';
	begin_trial(3, 0);
	assert_int_equal(rp_vfu_client_dma_map_memory(client, &memory, &why), 0);
	assert_int_equal(rp_vfu_client_dma_unmap(client, 0x1400, 0x800, &why), 0);
	assert_int_equal(trial.seen[1], 'a');
	assert_int_equal(trial.seen[2], 'b');
	PLAY(&liar, client, {SAY(DMA_READ(1, 0x13ff, 1)), HEAR(DMA_READ_REPLY(1, 0x13ff, 1), 'm')},
	     {SAY(DMA_READ(2, 0x1800, 1)), HEAR(REFUSAL(2, 11, EFAULT))},
	     {SAY(DMA_READ(3, 0x13ff, 2)), HEAR(REFUSAL(3, 11, EFAULT))},
	     {SAY(DMA_READ(4, 0x1c00, 1)), HEAR(DMA_READ_REPLY(4, 0x1c00, 1), 'm')});
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

static void
test_a_refused_unmap_changes_nothing(void **state)
{
	struct rp_vfu_client_memory memory = memory_at(0x1000, 0x1000, bytes);

	(void)state;
	bytes[0x800] = 'b';
	begin_trial(3, EINVAL);
	assert_int_equal(rp_vfu_client_dma_map_memory(client, &memory, &why), 0);
	assert_int_equal(rp_vfu_client_dma_unmap(client, 0x1400, 0x800, &why), -EINVAL);
	PLAY(&liar, client, {SAY(DMA_READ(2, 0x1800, 1)), HEAR(DMA_READ_REPLY(2, 0x1800, 1), 'b')},
	     {SAY(DMA_READ(3, 0x13ff, 2)), HEAR(DMA_READ_REPLY(3, 0x13ff, 2), 'm', 'm')});
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

/* Old or new, but never a hole. */
static void
test_a_remap_has_no_hole(void **state)
{
	struct rp_vfu_client_memory memory = memory_at(0x1000, 0x1000, bytes), next = memory_at(0x1400, 0x800, bytes);

	(void)state;
	memory.hva = bytes + 0x1000;
	bytes[0x400] = 'n';
	begin_trial(0x5201, 0);
	assert_int_equal(rp_vfu_client_dma_map_memory(client, &memory, &why), 0);
	assert_int_equal(rp_vfu_client_dma_remap(client, &next, &why), 0);
	assert_int_equal(trial.seen[1], 'm');
	assert_int_equal(trial.seen[2], 'n');
	PLAY(&liar, client, {SAY(DMA_READ(2, 0x1800, 1)), HEAR(DMA_READ_REPLY(2, 0x1800, 1), 'n')},
	     {SAY(DMA_READ(3, 0x1c00, 1)), HEAR(DMA_READ_REPLY(3, 0x1c00, 1), 'm')});
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

static void
test_a_refused_remap_changes_nothing(void **state)
{
	struct rp_vfu_client_memory memory = memory_at(0x1000, 0x1000, bytes), next = memory_at(0x1400, 0x800, bytes);

	(void)state;
	memory.hva = bytes + 0x1000;
	bytes[0x400] = 'n';
	begin_trial(0x5201, ENOSPC);
	assert_int_equal(rp_vfu_client_dma_map_memory(client, &memory, &why), 0);
	assert_int_equal(rp_vfu_client_dma_remap(client, &next, &why), -ENOSPC);
	PLAY(&liar, client, {SAY(DMA_READ(2, 0x1800, 1)), HEAR(DMA_READ_REPLY(2, 0x1800, 1), 'm')});
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

/* A server that answers nothing until it has seen this many commands: only a client that sends ahead gets there. */
#define AHEAD 200u
#define MAPS 1000u

static struct {
	uint16_t ids[AHEAD];
	uint8_t payloads[AHEAD][32];
	unsigned int held, seen;
	uint64_t refused_iova;
} late;

static void
release(struct liar *l)
{
	unsigned int i;

	for (i = 0; i < late.held; i++) {
		struct peer_msg command = {.id = late.ids[i], .command = 2};
		uint64_t iova;

		memcpy(&iova, late.payloads[i] + 16, sizeof(iova));
		if (iova == late.refused_iova)
			liar_error(l, &command, ENOSPC);
		else
			liar_reply(l, &command, NULL, 0, NULL, 0);
	}
	late.held = 0;
}

static bool
answer_late(struct liar *l, const struct peer_msg *command)
{
	if (command->command != 2)
		return false;
	late.ids[late.held] = command->id;
	memcpy(late.payloads[late.held++], command->payload, 32);
	if (late.held == AHEAD || ++late.seen == MAPS)
		release(l);
	return true;
}

static void
test_a_thousand_maps_are_not_a_thousand_round_trips(void **state)
{
	struct rp_vfu_client_memory *many = calloc(MAPS, sizeof(*many));
	unsigned int i;

	(void)state;
	assert_non_null(many);
	for (i = 0; i < MAPS; i++)
		many[i] = memory_at(i * UINT64_C(0x2000), 0x1000, bytes);
	memset(&late, 0, sizeof(late));
	late.refused_iova = UINT64_MAX;
	client = liar_client(&liar, answer_late);
	assert_int_equal(rp_vfu_client_dma_map_many(client, many, MAPS, &why), 0);
	assert_int_equal(rp_vfu_client_dma_unmap_many(client, many, MAPS, &why), 0);
	/* One that is refused ends it, and everything sent is answered for. */
	late.refused_iova = 0x20000;
	late.seen = 0;
	assert_int_equal(rp_vfu_client_dma_map_many(client, many, AHEAD, &why), -ENOSPC);
	assert_int_equal(rp_vfu_client_reset(client, &why), 0);
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
	free(many);
}

/* Killed while much is under way: everybody hears of it once. */
static unsigned int heard, heard_wrong;

static void
hear(void *ctx, int error, const struct rp_wire_why *reason)
{
	(void)ctx;
	heard++;
	heard_wrong += error != -ENOTCONN || reason->text[0] == '\0';
}

static bool
leave_in_the_middle(struct liar *l, const struct peer_msg *command)
{
	if (command->command != 2 || l->commands < 50)
		return command->command == 2;
	peer_close(&l->peer);
	return true;
}

static bool
is_over(void *ctx)
{
	return rp_vfu_client_process(ctx) == -ENOTCONN;
}

static void
test_server_that_leaves_while_much_is_under_way(void **state)
{
	const struct rp_vfu_client_done done = {.done = hear};
	unsigned int i, started = 0;

	(void)state;
	heard = heard_wrong = 0;
	client = liar_client(&liar, leave_in_the_middle);
	for (i = 0; i < 100; i++) {
		const struct rp_vfu_client_memory memory = memory_at(i * UINT64_C(0x2000), 0x1000, bytes);

		started += rp_vfu_client_dma_map_start(client, &memory, &done, &why) == 0 ? 1 : 0;
	}
	assert_in_range(started, 40, 100);
	assert_true(test_wait(is_over, client, 10000));
	assert_int_equal(heard, started);
	assert_int_equal(heard_wrong, 0);
	rp_vfu_client_destroy(client);
	assert_int_equal(heard, started);
	liar_stop(&liar);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_memory_vectors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lies_of_an_unmap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_our_callers_mistakes, setup, teardown),
		cmocka_unit_test(test_remap_needs_the_capability),
		cmocka_unit_test(test_what_is_mapped_is_served_before_the_reply),
		cmocka_unit_test(test_what_is_taken_back_is_served_until_the_reply),
		cmocka_unit_test(test_a_refused_unmap_changes_nothing),
		cmocka_unit_test(test_a_remap_has_no_hole),
		cmocka_unit_test(test_a_refused_remap_changes_nothing),
		cmocka_unit_test(test_a_thousand_maps_are_not_a_thousand_round_trips),
		cmocka_unit_test(test_server_that_leaves_while_much_is_under_way),
	};

	return cmocka_run_group_tests_name("vfio-user client: memory for the server", tests, NULL, NULL);
}
