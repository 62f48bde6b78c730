/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iommu_liar.h"

/* PASIDs on map, unmap, remap, and on the server's reads and writes of that memory. */

#define PASID 0x54321u

static uint8_t memory[0x2000], base[0x1000];

static struct rp_vfu_client_memory
memory_of(bool has_pasid, uint32_t pasid, uint64_t iova, void *hva)
{
	return (struct rp_vfu_client_memory){.iova = iova,
					     .size_bytes = 0x1000,
					     .fd = -1,
					     .hva = hva,
					     .access_mask = 3,
					     .has_pasid = has_pasid,
					     .pasid = pasid};
}

static int
map(bool has_pasid, uint32_t pasid, uint64_t iova, void *hva)
{
	struct rp_vfu_client_memory given = memory_of(has_pasid, pasid, iova, hva);

	return rp_vfu_client_dma_map_memory(iommu_liar.client, &given, &iommu_liar.why);
}

static void
test_memory_vectors(void **state)
{
	struct rp_vfu_client_memory given = memory_of(true, PASID, 0x1000, memory + 0x1000);

	(void)state;
	iommu_liar_begin(IOMMU_AGREED, NULL);
	assert_int_equal(map(true, PASID, 0x1000, memory), 0);
	SENT(0, HEADER(1, 2, 56, COMMAND, 0), U32(32), U32(3), U64(0), U64(0x1000), U64(0x1000), U32(PASID), U32(1));
	assert_int_equal(map(true, 0, 0x1000, memory), 0);
	SENT(0, HEADER(2, 2, 56, COMMAND, 0), U32(32), U32(3), U64(0), U64(0x1000), U64(0x1000), U32(0), U32(1));
	assert_int_equal(map(false, 77, 0x1000, base), 0);
	SENT(0, HEADER(3, 2, 48, COMMAND, 0), U32(32), U32(3), U64(0), U64(0x1000), U64(0x1000));
	assert_int_equal(rp_vfu_client_dma_remap(iommu_liar.client, &given, &iommu_liar.why), 0);
	SENT(0, HEADER(4, 0x5201, 56, COMMAND, 0), U32(32), U32(3), U64(0), U64(0x1000), U64(0x1000), U32(PASID),
	     U32(1));
	assert_int_equal(rp_vfu_client_pasid_unmap(iommu_liar.client, PASID, 0x1000, 0x1000, &iommu_liar.why), 0);
	SENT(0, HEADER(5, 3, 48, COMMAND, 0), U32(24), U32(0), U64(0x1000), U64(0x1000), U32(PASID), U32(1));
	assert_int_equal(rp_vfu_client_dma_unmap_many(iommu_liar.client, &given, 1, &iommu_liar.why), 0);
	SENT(0, HEADER(6, 3, 48, COMMAND, 0), U32(24), U32(0), U64(0x1000), U64(0x1000), U32(PASID), U32(1));
	assert_int_equal(map(true, 0x100000, 0x1000, memory), -EINVAL);
	assert_int_equal(script_sent_count(), 6);
}

static void
test_without_pasids_there_are_none(void **state)
{
	(void)state;
	iommu_liar_begin("\"ringpass.serve\":true,\"ringpass.iommu\":{\"translations\":4,\"invalidations\":2}", NULL);
	assert_int_equal(map(true, 0, 0x1000, memory), -ENOTSUP);
	assert_int_equal(rp_vfu_client_pasid_unmap(iommu_liar.client, 0, 0x1000, 0x1000, &iommu_liar.why), -ENOTSUP);
	assert_int_equal(script_sent_count(), 0);
}

static void
test_access_vectors(void **state)
{
	(void)state;
	memset(memory, 'm', sizeof(memory));
	memset(base, 'b', sizeof(base));
	iommu_liar_begin(IOMMU_AGREED, NULL);
	assert_int_equal(map(true, PASID, 0x1000, memory), 0);
	assert_int_equal(map(true, PASID, 0x2000, memory + 0x1000), 0);
	assert_int_equal(map(false, 0, 0x1000, base), 0);
	assert_int_equal(map(true, 3, 0x1000, NULL), 0);
	iommu_liar_play(
		(const struct script_step[]){
			{SAY(DMA_READ_PASID(1, 0x1ffe, 4, PASID, 1)),
			 HEAR(DMA_READ_REPLY(1, 0x1ffe, 4), 'm', 'm', 'm', 'm')},
			{SAY(DMA_READ_PASID(2, 0x1000, 2, 77, 0)), HEAR(DMA_READ_REPLY(2, 0x1000, 2), 'b', 'b')},
			{SAY(DMA_READ(3, 0x1000, 2)), HEAR(DMA_READ_REPLY(3, 0x1000, 2), 'b', 'b')},
			{SAY(DMA_WRITE_PASID(4, 0x1002, 3, PASID, 1), 'x', 'y', 'z'),
			 HEAR(DMA_WRITE_REPLY(4, 0x1002, 3))},
			/* Not mapped with that one, not in this process, not a PASID, and sizes that are neither. */
			{SAY(DMA_READ_PASID(5, 0x2000, 1, 77, 0)), HEAR(REFUSAL(5, 11, EFAULT))},
			{SAY(DMA_READ_PASID(6, 0x1000, 1, 4, 1)), HEAR(REFUSAL(6, 11, EFAULT))},
			{SAY(DMA_READ_PASID(7, 0x1000, 1, 3, 1)), HEAR(REFUSAL(7, 11, EOPNOTSUPP))},
			{SAY(DMA_READ_PASID(8, 0x1000, 1, 0x100000, 1)), HEAR(REFUSAL(8, 11, EINVAL))},
			{SAY(DMA_READ_PASID(9, 0x1000, 1, PASID, 2)), HEAR(REFUSAL(9, 11, EINVAL))},
			{SAY(HEADER(10, 11, 36, COMMAND, 0), U64(0x1000), U64(1), U32(0)),
			 HEAR(REFUSAL(10, 11, EMSGSIZE))},
			{SAY(HEADER(11, 12, 36, COMMAND, 0), U64(0x1000), U64(1), U32(0)),
			 HEAR(REFUSAL(11, 12, EINVAL))},
		},
		11);
	assert_memory_equal(memory, "mmxyzm", 6);
	assert_int_equal(base[2], 'b');
}

static void
test_unmapped_is_served_no_more(void **state)
{
	(void)state;
	iommu_liar_begin(IOMMU_AGREED, NULL);
	assert_int_equal(map(true, PASID, 0x1000, memory), 0);
	assert_int_equal(map(true, 0, 0x1000, memory), 0);
	assert_int_equal(map(true, 0, 0x1000, memory), -EEXIST);
	assert_int_equal(rp_vfu_client_pasid_unmap(iommu_liar.client, PASID, 0x1000, 0x1000, &iommu_liar.why), 0);
	iommu_liar_play(
		(const struct script_step[]){
			{SAY(DMA_READ_PASID(1, 0x1000, 1, PASID, 1)), HEAR(REFUSAL(1, 11, EFAULT))},
			{SAY(DMA_READ_PASID(2, 0x1000, 1, 0, 1)), HEAR(DMA_READ_REPLY(2, 0x1000, 1), 'm')},
		},
		2);
}

/* Until the server lets go it has what is being taken back, and that with its PASID only. */
static void
test_unmap_that_is_under_way(void **state)
{
	const struct rp_vfu_client_done nobody = {.done = NULL};

	(void)state;
	memset(memory, 'm', sizeof(memory));
	iommu_liar.silent_unmaps = true;
	iommu_liar_begin(IOMMU_AGREED, NULL);
	assert_int_equal(map(true, PASID, 0x1000, memory), 0);
	assert_int_equal(
		rp_vfu_client_pasid_unmap_start(iommu_liar.client, PASID, 0x1000, 0x1000, &nobody, &iommu_liar.why), 0);
	iommu_liar_play(
		(const struct script_step[]){
			{SAY(DMA_READ_PASID(1, 0x1000, 1, PASID, 1)), HEAR(DMA_READ_REPLY(1, 0x1000, 1), 'm')},
			{SAY(DMA_READ_PASID(2, 0x1000, 1, 0, 1)), HEAR(REFUSAL(2, 11, EFAULT))},
			{SAY(DMA_READ(3, 0x1000, 1)), HEAR(REFUSAL(3, 11, EFAULT))},
			{SAY(HEADER(2, 3, 40, REPLY, 0), U32(24), U32(0), U64(0x1000), U64(0x1000)), NOTHING},
			{SAY(DMA_READ_PASID(4, 0x1000, 1, PASID, 1)), HEAR(REFUSAL(4, 11, EFAULT))},
		},
		5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_memory_vectors, iommu_liar_setup, iommu_liar_teardown),
		cmocka_unit_test_setup_teardown(test_without_pasids_there_are_none, iommu_liar_setup,
						iommu_liar_teardown),
		cmocka_unit_test_setup_teardown(test_access_vectors, iommu_liar_setup, iommu_liar_teardown),
		cmocka_unit_test_setup_teardown(test_unmapped_is_served_no_more, iommu_liar_setup, iommu_liar_teardown),
		cmocka_unit_test_setup_teardown(test_unmap_that_is_under_way, iommu_liar_setup, iommu_liar_teardown),
	};

	return cmocka_run_group_tests_name("vfio-user client: PASIDs", tests, NULL, NULL);
}
