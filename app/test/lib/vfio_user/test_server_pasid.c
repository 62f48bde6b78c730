/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "iommu_peer.h"
#include "rp_dma_io.h"

/* PASIDs on map, unmap, remap, and on the server's reads and writes. */

#define PASID 0x54321u
#define IOVA 0x100000ull
#define SIZE 0x10000ull

static int result;

static void
on_done(struct rp_dma_io *io, int error)
{
	(void)io;
	result = error;
}

static void
start(struct rp_dma_io *io, struct rp_dma_segment *segment, struct rp_dma_space *space, bool write, void *bytes,
      uint64_t size_bytes)
{
	*segment = (struct rp_dma_segment){.iova = IOVA, .size_bytes = size_bytes, .bytes = bytes};
	*io = (struct rp_dma_io){.write = write, .segments = segment, .segments_count = 1, .done = on_done};
	result = 1;
	assert_int_equal(rp_dma_io_submit(space, io), 0);
}

static uint32_t
map(uint16_t command, uint32_t pasid, uint32_t flags)
{
	const uint8_t payload[] = {U32(40), U32(3), U64(0), U64(IOVA), U64(SIZE), U32(pasid), U32(flags)};

	return iommu_ask(command, payload, sizeof(payload));
}

static uint32_t
unmap(uint32_t flags, uint64_t iova, uint64_t size_bytes, uint32_t pasid)
{
	const uint8_t payload[] = {U32(32), U32(flags), U64(iova), U64(size_bytes), U32(pasid), U32(1)};
	uint32_t error = iommu_ask(3, payload, sizeof(payload));

	/* The reply is the command without the PASID. */
	if (error == 0) {
		assert_int_equal(iommu_scene.reply.payload_bytes, 24);
		assert_memory_equal(iommu_scene.reply.payload, payload, 24);
	}
	return error;
}

static struct rp_dma_space *
space_of(uint32_t pasid)
{
	return rp_vfu_server_pasid_dma(iommu_scene.device.server, pasid);
}

static void
test_each_pasid_has_its_own_addresses(void **state)
{
	struct rp_dma_space *base;

	(void)state;
	iommu_begin(0, IOMMU_ALL);
	base = rp_vfu_server_dma(iommu_scene.device.server);
	assert_null(space_of(PASID));
	assert_int_equal(map(2, PASID, 1), 0);
	assert_int_equal(map(2, 0, 1), 0);
	assert_int_equal(map(2, 77, 0), 0);
	assert_int_equal(rp_dma_space_count(space_of(PASID)), 1);
	assert_int_equal(rp_dma_space_count(space_of(0)), 1);
	/* A trailer without the flag is none. */
	assert_null(space_of(77));
	assert_int_equal(rp_dma_space_count(base), 1);
	assert_int_equal(map(2, PASID, 1), EEXIST);
	assert_int_equal(map(0x5201, PASID, 1), 0);
	assert_int_equal(unmap(0, IOVA, SIZE / 2, PASID), 0);
	assert_int_equal(rp_dma_space_count(space_of(PASID)), 1);
	assert_int_equal(unmap(2, 0, 0, PASID), 0);
	assert_int_equal(rp_dma_space_count(space_of(PASID)), 0);
	assert_int_equal(rp_dma_space_count(space_of(0)), 1);
	assert_int_equal(rp_dma_space_count(base), 1);
	/* Never mapped: as without one. */
	assert_int_equal(unmap(0, IOVA, SIZE, 12345), 0);
	assert_null(space_of(12345));
}

static void
test_pasid_commands_that_are_refused(void **state)
{
	static const uint8_t short_map[] = {U32(36), U32(3), U64(0), U64(IOVA), U64(SIZE), U32(1)};
	static const uint8_t long_map[] = {U32(44), U32(3), U64(0), U64(IOVA), U64(SIZE), U32(1), U32(1), U32(0)};
	static const uint8_t odd_unmap[] = {U32(28), U32(0), U64(IOVA), U64(SIZE), U32(1)};
	static const uint8_t dirty[] = {U32(48), U32(1), U64(IOVA), U64(SIZE), U64(4096), U64(8), U32(1), U32(1)};

	(void)state;
	iommu_begin(0, IOMMU_ALL);
	assert_int_equal(map(2, 0x100000, 1), EINVAL);
	assert_int_equal(map(2, 1, 3), EINVAL);
	assert_int_equal(iommu_ask(2, short_map, sizeof(short_map)), EMSGSIZE);
	assert_int_equal(iommu_ask(2, long_map, sizeof(long_map)), EMSGSIZE);
	assert_int_equal(iommu_ask(3, odd_unmap, sizeof(odd_unmap)), EMSGSIZE);
	/* Pages that were written are known by address only, and not of a PASID's. */
	assert_int_equal(iommu_ask(3, dirty, sizeof(dirty)), EMSGSIZE);
	assert_null(space_of(1));
	assert_int_equal(rp_dma_space_count(rp_vfu_server_dma(iommu_scene.device.server)), 0);
	/* PASIDs have fewer bits, or there are none. */
	iommu_leave();
	iommu_begin(0, "\"ringpass.serve\":true,\"ringpass.iommu\":{\"translations\":4,\"invalidations\":4,"
		       "\"pasid_bits\":4}");
	assert_int_equal(map(2, 16, 1), EINVAL);
	assert_int_equal(map(2, 15, 1), 0);
	iommu_leave();
	iommu_begin(0, "\"ringpass.serve\":true,\"ringpass.iommu\":{\"translations\":4,\"invalidations\":4}");
	assert_int_equal(map(2, 1, 1), EMSGSIZE);
}

static void
test_accesses_by_message_say_their_pasid(void **state)
{
	static uint8_t bytes[20000];
	static const uint8_t read[] = {U16(11), U32(40), U32(COMMAND), U32(0), U64(IOVA), U64(4), U32(PASID), U32(1)};
	static const uint8_t write[] = {U16(12),    U32(44), U32(COMMAND), U32(0), U64(IOVA), U64(4),
					U32(PASID), U32(1),  'w',	   'x',	   'y',	      'z'};
	static const uint8_t data[] = {U64(IOVA), U64(4), 'a', 'b', 'c', 'd'};
	static const uint8_t written[] = {U64(IOVA), U64(4)};
	static const uint8_t all_written[] = {U64(IOVA), U64(20000)};
	struct rp_dma_segment segment;
	struct iommu_asked asked;
	struct rp_dma_io io;

	(void)state;
	iommu_begin(0, IOMMU_ALL);
	assert_int_equal(map(2, PASID, 1), 0);
	start(&io, &segment, space_of(PASID), false, bytes, 4);
	asked = iommu_take();
	assert_int_equal(iommu_scene.msg.size_bytes, 40);
	assert_memory_equal(iommu_scene.msg.bytes + 2, read, sizeof(read));
	iommu_answer(&asked, data, sizeof(data));
	assert_int_equal(result, 0);
	assert_memory_equal(bytes, "abcd", 4);
	memcpy(bytes, "wxyz", 4);
	start(&io, &segment, space_of(PASID), true, bytes, 4);
	asked = iommu_take();
	assert_int_equal(iommu_scene.msg.size_bytes, 44);
	assert_memory_equal(iommu_scene.msg.bytes + 2, write, sizeof(write));
	iommu_answer(&asked, written, sizeof(written));
	assert_int_equal(result, 0);
	/* A large one, whose data is sent from where it is. */
	memset(bytes, 0x3c, sizeof(bytes));
	start(&io, &segment, space_of(PASID), true, bytes, sizeof(bytes));
	asked = iommu_take();
	assert_int_equal(iommu_scene.msg.size_bytes, 40 + 20000);
	assert_memory_equal(iommu_scene.msg.payload + 24, bytes, sizeof(bytes));
	iommu_answer(&asked, all_written, sizeof(all_written));
	assert_int_equal(result, 0);
	/* The same address without one has no trailer. */
	assert_int_equal(map(2, 0, 0), 0);
	start(&io, &segment, rp_vfu_server_dma(iommu_scene.device.server), false, bytes, 4);
	asked = iommu_take();
	assert_int_equal(iommu_scene.msg.size_bytes, 32);
	iommu_answer(&asked, data, sizeof(data));
	assert_int_equal(result, 0);
}

static void
test_unmap_of_a_pasid_waits_for_its_accesses(void **state)
{
	static uint8_t bytes[4];
	static const uint8_t payload[] = {U32(32), U32(0), U64(IOVA), U64(SIZE), U32(PASID), U32(1)};
	static const uint8_t data[] = {U64(IOVA), U64(4), 'a', 'b', 'c', 'd'};
	struct rp_dma_segment segment;
	struct iommu_asked asked;
	struct rp_dma_io io;

	(void)state;
	iommu_begin(0, IOMMU_ALL);
	assert_int_equal(map(2, PASID, 1), 0);
	assert_int_equal(map(2, 0, 0), 0);
	start(&io, &segment, space_of(PASID), false, bytes, 4);
	asked = iommu_take();
	assert_true(peer_command(&iommu_scene.peer, 3, 3, COMMAND, payload, sizeof(payload), NULL, 0));
	assert_true(peer_is_silent(&iommu_scene.peer));
	iommu_answer(&asked, data, sizeof(data));
	assert_int_equal(result, 0);
	assert_true(peer_receive(&iommu_scene.peer, &iommu_scene.reply));
	assert_int_equal(iommu_scene.reply.id, 3);
	assert_int_equal(rp_dma_space_count(space_of(PASID)), 0);
	assert_int_equal(rp_dma_space_count(rp_vfu_server_dma(iommu_scene.device.server)), 1);
}

/* A client that leaves: its PASIDs' memory goes, the spaces and who reads them stay. */
static void
test_pasids_of_a_client_that_left(void **state)
{
	static uint8_t bytes[4];
	struct rp_dma_pasid_reader *reader;
	struct rp_dma_segment segment;
	struct rp_dma_io io;

	(void)state;
	iommu_begin(0, IOMMU_ALL);
	assert_int_equal(rp_dma_pasid_reader_create(rp_vfu_server_pasids(iommu_scene.device.server), &reader), 0);
	assert_int_equal(map(2, PASID, 1), 0);
	rp_dma_pasid_reader_online(reader);
	assert_non_null(rp_dma_pasid_reader_enter(reader, PASID));
	rp_dma_pasid_reader_offline(reader);
	start(&io, &segment, space_of(PASID), false, bytes, 4);
	(void)iommu_take();
	iommu_leave();
	assert_int_equal(result, -ENOTCONN);
	assert_int_equal(rp_dma_space_count(space_of(PASID)), 0);
	assert_null(rp_dma_pasid_reader_destroy(reader));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_each_pasid_has_its_own_addresses, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_pasid_commands_that_are_refused, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_accesses_by_message_say_their_pasid, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_unmap_of_a_pasid_waits_for_its_accesses, iommu_setup,
						iommu_teardown),
		cmocka_unit_test_setup_teardown(test_pasids_of_a_client_that_left, iommu_setup, iommu_teardown),
	};

	return cmocka_run_group_tests_name("vfio-user server: PASIDs", tests, NULL, NULL);
}
