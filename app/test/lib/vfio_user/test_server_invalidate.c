/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "iommu_peer.h"
#include "rp_dma_io.h"

/* INVALIDATE: when it is answered, and what it does not hold up. */

#define RW 3u

static const uint8_t map_base[] = {U32(32), U32(RW), U64(0), U64(0x100000), U64(0x10000)};
static const uint8_t unmap_base[] = {U32(24), U32(0), U64(0x100000), U64(0x10000)};

static bool
is_known(uint32_t pasid, uint64_t iova)
{
	struct rp_dma_translation found;

	return rp_dma_atc_find(iommu_atc(), pasid, iova, 1, &found) == 0;
}

/* Send an INVALIDATE and do not wait. */
static void
send_invalidate(uint16_t id, uint64_t tag, uint64_t iova, uint64_t size_bytes, uint32_t pasid, uint32_t flags)
{
	const uint8_t payload[] = {U64(tag), U64(iova), U64(size_bytes), U32(pasid), U32(flags)};

	assert_true(peer_command(&iommu_scene.peer, id, 0x5206, COMMAND, payload, sizeof(payload), NULL, 0));
	device_turn(&iommu_scene.device);
}

static void
assert_completes(uint16_t id, uint64_t tag)
{
	const uint8_t vector[] = {HEADER(id, 0x5206, 24, REPLY, 0), U64(tag)};

	assert_true(peer_receive(&iommu_scene.peer, &iommu_scene.reply));
	assert_int_equal(iommu_scene.reply.size_bytes, sizeof(vector));
	assert_memory_equal(iommu_scene.reply.bytes, vector, sizeof(vector));
}

static void
begin_use(struct rp_dma_atc_use *use, uint32_t pasid, uint64_t iova, uint64_t size_bytes)
{
	struct rp_dma_translation found;

	*use = (struct rp_dma_atc_use){.open = false};
	assert_int_equal(rp_dma_atc_use_begin(iommu_atc(), use, pasid, iova, size_bytes, 1, &found), 0);
}

static void
end_use(struct rp_dma_atc_use *use)
{
	rp_dma_atc_use_end(iommu_atc(), use);
	device_turn(&iommu_scene.device);
}

static void
test_invalidate_vectors(void **state)
{
	(void)state;
	iommu_begin(0, IOMMU_ALL);
	iommu_learn(7, 0x1000, 0x1000, 0x100000, RW);
	iommu_learn(7, 0x2000, 0x1000, 0x101000, RW);
	iommu_learn(RP_DMA_NO_PASID, 0x1000, 0x1000, 0x102000, RW);
	/* A page of a PASID. */
	send_invalidate(1, 0x1122334455667788, 0x1000, 0x1000, 7, 1);
	assert_completes(1, 0x1122334455667788);
	assert_false(is_known(7, 0x1000));
	assert_true(is_known(7, 0x2000));
	assert_true(is_known(RP_DMA_NO_PASID, 0x1000));
	/* Without one. */
	send_invalidate(2, 2, 0, 0x10000, 0, 0);
	assert_completes(2, 2);
	assert_false(is_known(RP_DMA_NO_PASID, 0x1000));
	assert_true(is_known(7, 0x2000));
	/* Every address of a PASID: the range means nothing. */
	send_invalidate(3, 3, 5, 6, 7, 3);
	assert_completes(3, 3);
	assert_false(is_known(7, 0x2000));
	/* A range of every PASID, and none; up to the last byte of all. */
	iommu_learn(7, 0x2000, 0x1000, 0x101000, RW);
	iommu_learn(RP_DMA_NO_PASID, 0xfffffffffffff000, 0x1000, 0x102000, RW);
	send_invalidate(4, 4, 0x2000, 0xffffffffffffe000, 0, 4);
	assert_completes(4, 4);
	assert_false(is_known(7, 0x2000));
	assert_false(is_known(RP_DMA_NO_PASID, 0xfffffffffffff000));
	/* Everything. */
	iommu_learn(7, 0x2000, 0x1000, 0x101000, RW);
	send_invalidate(5, 5, 0, 0, 0, 6);
	assert_completes(5, 5);
	assert_int_equal(rp_dma_atc_count(iommu_atc()), 0);
}

static void
test_invalidations_that_are_refused(void **state)
{
	static const struct {
		uint64_t iova, size_bytes;
		uint32_t pasid, flags;
	} wrong[] = {
		{0x1001, 0x1000, 0, 0},	  {0x1000, 0x1001, 0, 0},
		{0x1000, 0, 0, 0},	  {0x2000, 0xfffffffffffff000, 0, 0},
		{0, 0x1000, 0, 8},	  {0, 0x1000, 1, 5},
		{0, 0x1000, 0x100000, 1},
	};
	unsigned int i;

	(void)state;
	iommu_begin(0, IOMMU_ALL);
	iommu_learn(RP_DMA_NO_PASID, 0x1000, 0x1000, 0x100000, RW);
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		const uint8_t payload[] = {U64(1), U64(wrong[i].iova), U64(wrong[i].size_bytes), U32(wrong[i].pasid),
					   U32(wrong[i].flags)};

		assert_int_equal(iommu_ask(0x5206, payload, sizeof(payload)), EINVAL);
		assert_int_equal(iommu_ask(0x5206, payload, sizeof(payload) - 1), EMSGSIZE);
	}
	assert_true(is_known(RP_DMA_NO_PASID, 0x1000));
	assert_true(rp_vfu_server_connected(iommu_scene.device.server));
}

/* The one thing that it waits for is whoever uses what was taken away; nothing waits for it. */
static void
test_completion_waits_for_uses_and_holds_up_nothing(void **state)
{
	struct rp_vfu_server_iommu_counters counters;
	struct rp_dma_atc_use first, second;

	(void)state;
	iommu_begin(0, IOMMU_ALL);
	iommu_learn(1, 0, 0x4000, 0x100000, RW);
	begin_use(&first, 1, 0x10, 0x100);
	begin_use(&second, 1, 0x2000, 0x100);
	send_invalidate(1, 11, 0, 0x1000, 1, 1);
	send_invalidate(2, 12, 0x2000, 0x1000, 1, 1);
	assert_true(peer_is_silent(&iommu_scene.peer));
	assert_false(is_known(1, 0));
	/* Commands, among them another invalidation, are answered meanwhile. */
	assert_int_equal(iommu_ask(2, map_base, sizeof(map_base)), 0);
	send_invalidate(3, 13, 0x1000, 0x1000, 1, 1);
	assert_completes(3, 13);
	iommu_learn(1, 0, 0x1000, 0x200000, RW);
	/* In the order in which they settle. */
	end_use(&second);
	assert_completes(2, 12);
	assert_true(peer_is_silent(&iommu_scene.peer));
	end_use(&first);
	assert_completes(1, 11);
	rp_vfu_server_iommu_counters(iommu_scene.device.server, &counters);
	assert_int_equal(counters.cache.invalidations, 3);
	assert_int_equal(counters.cache.invalidations_in_use, 2);
}

/* A reader of the space that may have found it. */
static void
test_completion_waits_for_readers(void **state)
{
	struct rp_dma_reader *reader;

	(void)state;
	iommu_begin(0, IOMMU_ALL);
	iommu_learn(1, 0, 0x1000, 0x100000, RW);
	assert_int_equal(rp_dma_reader_create(rp_vfu_server_dma(iommu_scene.device.server), &reader), 0);
	rp_dma_reader_online(reader);
	assert_true(is_known(1, 0));
	send_invalidate(1, 1, 0, 0x1000, 1, 1);
	assert_true(peer_is_silent(&iommu_scene.peer));
	rp_dma_reader_quiescent(reader);
	device_turn(&iommu_scene.device);
	assert_completes(1, 1);
	rp_dma_reader_offline(reader);
	assert_null(rp_dma_reader_destroy(reader));
}

/*
 * The race: the answer to a translation is on its way while its page is invalidated. The
 * invalidation waits for none of it, and the answer counts for nothing.
 */
static void
test_invalidation_of_what_is_being_translated(void **state)
{
	static const uint8_t before[] = {U64(0x1000), U64(0x1000), U64(0x100000), U32(3), U32(0)};
	static const uint8_t after[] = {U64(0x1000), U64(0x1000), U64(0x200000), U32(3), U32(0)};
	struct rp_dma_translation found;
	struct iommu_asked asked;

	(void)state;
	iommu_begin(0, IOMMU_ALL);
	assert_int_equal(iommu_want(0, 1, 0x1000, 1), -EINPROGRESS);
	asked = iommu_take();
	send_invalidate(1, 1, 0x1000, 0x1000, 1, 1);
	assert_completes(1, 1);
	iommu_answer(&asked, before, sizeof(before));
	iommu_heard(0, IOMMU_UNHEARD);
	assert_false(is_known(1, 0x1000));
	/* Asked once more, by itself. */
	asked = iommu_take();
	iommu_answer(&asked, after, sizeof(after));
	iommu_heard(0, 0);
	assert_int_equal(rp_dma_atc_find(iommu_atc(), 1, 0x1000, 1, &found), 0);
	assert_int_equal(found.address, 0x200000);
}

static int io_result;

static void
on_io_done(struct rp_dma_io *io, int error)
{
	struct rp_dma_atc_use *use = io->ctx;

	io_result = error;
	rp_dma_atc_use_end(iommu_atc(), use);
}

/* An access by messages that uses a translation: its answer is waited for. */
static void
test_completion_waits_for_accesses_by_message(void **state)
{
	static uint8_t bytes[4];
	static struct rp_dma_segment segment = {.iova = 0x100010, .size_bytes = 4, .bytes = bytes};
	static struct rp_dma_io io = {.segments = &segment, .segments_count = 1, .done = on_io_done};
	static const uint8_t data[] = {U64(0x100010), U64(4), 'a', 'b', 'c', 'd'};
	struct rp_dma_atc_use use;
	struct iommu_asked asked;

	(void)state;
	iommu_begin(0, IOMMU_ALL);
	assert_int_equal(iommu_ask(2, map_base, sizeof(map_base)), 0);
	iommu_learn(1, 0, 0x1000, 0x100000, RW);
	begin_use(&use, 1, 0x10, 4);
	io.ctx = &use;
	io_result = 1;
	assert_int_equal(rp_dma_io_submit(rp_vfu_server_dma(iommu_scene.device.server), &io), 0);
	asked = iommu_take();
	assert_int_equal(asked.command, 11);
	send_invalidate(1, 1, 0, 0x1000, 1, 1);
	assert_true(peer_is_silent(&iommu_scene.peer));
	iommu_answer(&asked, data, sizeof(data));
	assert_int_equal(io_result, 0);
	assert_memory_equal(bytes, "abcd", 4);
	assert_completes(1, 1);
}

/* An unmap that waits for the device, which waits for a translation, which waits for an invalidation: no circle. */
static void
test_invalidations_overtake_what_waits(void **state)
{
	struct rp_dma_reader *reader;
	struct rp_dma_atc_use use;

	(void)state;
	iommu_begin(0, IOMMU_ALL);
	assert_int_equal(iommu_ask(2, map_base, sizeof(map_base)), 0);
	iommu_learn(1, 0, 0x1000, 0x100000, RW);
	assert_int_equal(rp_dma_reader_create(rp_vfu_server_dma(iommu_scene.device.server), &reader), 0);
	rp_dma_reader_online(reader);
	begin_use(&use, 1, 0, 1);
	assert_true(peer_command(&iommu_scene.peer, 9, 3, COMMAND, unmap_base, sizeof(unmap_base), NULL, 0));
	device_turn(&iommu_scene.device);
	/* Behind it in the socket: one that has to wait for its turn, and one that has not. */
	assert_true(peer_command(&iommu_scene.peer, 10, 2, COMMAND, map_base, sizeof(map_base), NULL, 0));
	send_invalidate(11, 1, 0x5000, 0x1000, 1, 1);
	assert_true(peer_is_silent(&iommu_scene.peer));
	send_invalidate(12, 2, 0, 0x1000, 1, 1);
	assert_false(is_known(1, 0));
	/* The reader passes for the invalidations, and stays where it is for the unmap. */
	rp_dma_reader_quiescent(reader);
	device_turn(&iommu_scene.device);
	assert_true(peer_receive(&iommu_scene.peer, &iommu_scene.reply));
	assert_int_equal(iommu_scene.reply.id, 9);
	assert_true(peer_receive(&iommu_scene.peer, &iommu_scene.reply));
	assert_int_equal(iommu_scene.reply.id, 11);
	rp_dma_reader_offline(reader);
	end_use(&use);
	assert_true(peer_receive(&iommu_scene.peer, &iommu_scene.reply));
	assert_int_equal(iommu_scene.reply.id, 10);
	assert_completes(12, 2);
	assert_null(rp_dma_reader_destroy(reader));
}

static void
test_no_more_invalidations_than_agreed(void **state)
{
	static const uint8_t one_more[] = {U64(9), U64(0), U64(0x1000), U32(1), U32(1)};
	struct rp_dma_atc_use use;
	uint16_t id;

	(void)state;
	iommu_begin(0, IOMMU_ALL);
	iommu_learn(1, 0, 0x1000, 0x100000, RW);
	begin_use(&use, 1, 0, 1);
	for (id = 1; id <= 4; id++)
		send_invalidate(id, id, 0, 0x1000, 1, 1);
	assert_int_equal(iommu_ask(0x5206, one_more, sizeof(one_more)), ENOSPC);
	end_use(&use);
	for (id = 1; id <= 4; id++)
		assert_completes(id, id);
	assert_int_equal(iommu_ask(0x5206, one_more, sizeof(one_more)), 0);
}

static void
test_nobody_hears_of_one_without_reply(void **state)
{
	static const uint8_t payload[] = {U64(9), U64(0), U64(0x1000), U32(1), U32(1)};
	struct rp_dma_atc_use use;

	(void)state;
	iommu_begin(0, IOMMU_ALL);
	iommu_learn(1, 0, 0x1000, 0x100000, RW);
	begin_use(&use, 1, 0, 1);
	assert_true(peer_command(&iommu_scene.peer, 5, 0x5206, NO_REPLY, payload, sizeof(payload), NULL, 0));
	device_turn(&iommu_scene.device);
	assert_false(is_known(1, 0));
	end_use(&use);
	assert_true(peer_is_silent(&iommu_scene.peer));
}

static void
test_client_leaves_before_the_completion(void **state)
{
	struct rp_dma_atc_use use;

	(void)state;
	iommu_begin(0, IOMMU_ALL);
	iommu_learn(1, 0, 0x1000, 0x100000, RW);
	begin_use(&use, 1, 0, 1);
	send_invalidate(1, 1, 0, 0x1000, 1, 1);
	iommu_leave();
	rp_dma_atc_use_end(iommu_atc(), &use);
	iommu_begin(0, IOMMU_ALL);
	assert_true(peer_is_silent(&iommu_scene.peer));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_invalidate_vectors, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_invalidations_that_are_refused, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_completion_waits_for_uses_and_holds_up_nothing, iommu_setup,
						iommu_teardown),
		cmocka_unit_test_setup_teardown(test_completion_waits_for_readers, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_invalidation_of_what_is_being_translated, iommu_setup,
						iommu_teardown),
		cmocka_unit_test_setup_teardown(test_completion_waits_for_accesses_by_message, iommu_setup,
						iommu_teardown),
		cmocka_unit_test_setup_teardown(test_invalidations_overtake_what_waits, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_no_more_invalidations_than_agreed, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_nobody_hears_of_one_without_reply, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_client_leaves_before_the_completion, iommu_setup, iommu_teardown),
	};

	return cmocka_run_group_tests_name("vfio-user server: INVALIDATE", tests, NULL, NULL);
}
