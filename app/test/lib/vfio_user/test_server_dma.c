/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "device.h"
#include "rp_dma_bounce.h"

static struct device device;
static struct peer peer;
static struct peer_msg reply;
static struct test_leaks before;

static int
setup(void **state)
{
	(void)state;
	test_leaks_read(&before);
	device_start(&device);
	device_connect(&device, &peer);
	device_negotiate(&peer);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	peer_close(&peer);
	device_close(&device);
	test_leaks_assert_none(&before);
	return 0;
}

static uint32_t
map(uint32_t flags, uint64_t iova, uint64_t size_bytes, int fd, uint64_t offset_bytes)
{
	const uint8_t payload[] = {U32(32), U32(flags), U64(offset_bytes), U64(iova), U64(size_bytes)};

	return device_ask(&peer, 2, payload, sizeof(payload), &fd, fd < 0 ? 0 : 1, &reply);
}

static uint32_t
unmap(uint32_t flags, uint64_t iova, uint64_t size_bytes)
{
	const uint8_t payload[] = {U32(24), U32(flags), U64(iova), U64(size_bytes)};

	return device_ask(&peer, 3, payload, sizeof(payload), NULL, 0, &reply);
}

static void
test_map_and_unmap_vectors(void **state)
{
	static const uint8_t map_command[] = {
		HEADER(1, 2, 48, COMMAND, 0), U32(32), U32(3), U64(0x1000), U64(0x100000000), U64(0x2000)};
	static const uint8_t map_reply[] = {HEADER(1, 2, 16, REPLY, 0)};
	static const uint8_t unmap_command[] = {HEADER(2, 3, 40, COMMAND, 0), U32(24), U32(0), U64(0x100000000),
						U64(0x2000)};
	static const uint8_t unmap_reply[] = {HEADER(2, 3, 40, REPLY, 0), U32(24), U32(0), U64(0x100000000),
					      U64(0x2000)};
	struct rp_dma_space *space = rp_vfu_server_dma(device.server);
	int fd = test_memfd(0x4000, false);
	uint8_t *bytes;

	(void)state;
	assert_true(peer_send(&peer, map_command, sizeof(map_command), &fd, 1));
	assert_true(peer_receive(&peer, &reply));
	assert_int_equal(reply.size_bytes, sizeof(map_reply));
	assert_memory_equal(reply.bytes, map_reply, sizeof(map_reply));
	assert_int_equal(device.dma_changes, 1);
	assert_int_equal(pwrite(fd, "guest", 5, 0x1ffe), 5);
	bytes = rp_dma_space_translate(space, 0x100000ffe, 5, RP_DMA_READ | RP_DMA_WRITE);
	assert_non_null(bytes);
	assert_memory_equal(bytes, "guest", 5);

	assert_true(peer_send(&peer, unmap_command, sizeof(unmap_command), NULL, 0));
	assert_true(peer_receive(&peer, &reply));
	assert_int_equal(reply.size_bytes, sizeof(unmap_reply));
	assert_memory_equal(reply.bytes, unmap_reply, sizeof(unmap_reply));
	assert_int_equal(device.dma_changes, 2);
	assert_int_equal(rp_dma_space_count(space), 0);
	close(fd);
}

static void
test_map_without_descriptor_is_kept_for_messages(void **state)
{
	struct rp_dma_mapping mapping;

	(void)state;
	assert_int_equal(map(1, 0x8000, 0x1000, -1, 0x77), 0);
	assert_int_equal(rp_dma_space_at(rp_vfu_server_dma(device.server), 0, &mapping), 0);
	assert_int_equal(mapping.fd, -1);
	assert_null(mapping.hva);
	assert_int_equal(mapping.iova, 0x8000);
	assert_int_equal(mapping.size_bytes, 0x1000);
	assert_int_equal(mapping.access_mask, RP_DMA_READ);
}

static void
test_map_refuses_what_breaks_a_rule(void **state)
{
	static const uint8_t short_argsz[] = {U32(31), U32(3), U64(0), U64(0), U64(0x1000)};
	int fd = test_memfd(0x4000, false);
	int pipe_fds[2];

	(void)state;
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	/* PROT_EXEC's bit, and the "mappable" of older revisions. */
	assert_int_equal(map(4, 0, 0x1000, fd, 0), EINVAL);
	assert_int_equal(map(7, 0, 0x1000, fd, 0), EINVAL);
	assert_int_equal(map(0x80000001, 0, 0x1000, fd, 0), EINVAL);
	assert_int_equal(map(0, 0, 0x1000, fd, 0), EINVAL);
	assert_int_equal(map(3, 0, 0, fd, 0), EINVAL);
	assert_int_equal(map(3, UINT64_MAX, 2, fd, 0), EINVAL);
	assert_int_equal(map(3, 0x1000, UINT64_MAX, -1, 0), EINVAL);
	assert_int_equal(map(3, 0, 0x1000, fd, UINT64_MAX), EINVAL);
	assert_int_equal(map(3, 0, 0x1000, fd, INT64_MAX), EINVAL);
	assert_int_equal(map(3, 0, 0x5000, fd, 0), EINVAL);
	assert_int_equal(map(3, 0, 0x1000, pipe_fds[0], 0), EINVAL);
	assert_int_equal(device_ask(&peer, 2, short_argsz, 32, &fd, 1, &reply), EINVAL);
	assert_string_equal(device.last_refusal.text, "DMA_MAP: argsz: 31, expected at least 32");
	assert_int_equal(rp_dma_space_count(rp_vfu_server_dma(device.server)), 0);
	assert_int_equal(device.dma_changes, 0);
	/* The very end of the address space is an address like any other. */
	assert_int_equal(map(3, UINT64_MAX - 0xfff, 0x1000, fd, 0), 0);
	close(fd);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static void
test_map_refuses_every_overlap(void **state)
{
	(void)state;
	assert_int_equal(map(3, 0x2000, 0x2000, -1, 0), 0);
	assert_int_equal(map(3, 0x2000, 0x2000, -1, 0), EEXIST);
	assert_int_equal(map(3, 0x1000, 0x1001, -1, 0), EEXIST);
	assert_int_equal(map(3, 0x3fff, 0x1000, -1, 0), EEXIST);
	assert_int_equal(map(3, 0x2800, 0x10, -1, 0), EEXIST);
	assert_int_equal(map(3, 0, 0x10000, -1, 0), EEXIST);
	assert_int_equal(map(3, 0x1000, 0x1000, -1, 0), 0);
	assert_int_equal(map(3, 0x4000, 0x1000, -1, 0), 0);
}

static void
test_map_needs_the_access_that_the_file_has(void **state)
{
	char path[64];
	int fd = test_memfd(0x1000, false);
	int read_only;

	(void)state;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	read_only = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(read_only >= 0);
	assert_int_equal(map(3, 0, 0x1000, read_only, 0), EINVAL);
	assert_int_equal(map(1, 0, 0x1000, read_only, 0), 0);
	close(read_only);
	close(fd);
}

static void
test_unmap_exact_inner_spanning_and_never_mapped(void **state)
{
	struct rp_dma_space *space = rp_vfu_server_dma(device.server);
	int fd = test_memfd(0x8000, false);

	(void)state;
	assert_int_equal(map(3, 0x10000, 0x8000, fd, 0), 0);
	assert_int_equal(unmap(0, 0x12000, 0x1000), 0);
	assert_int_equal(rp_dma_space_count(space), 2);
	assert_null(rp_dma_space_translate(space, 0x12000, 1, RP_DMA_READ));
	assert_non_null(rp_dma_space_translate(space, 0x13000, 0x5000, RP_DMA_READ));
	assert_int_equal(map(3, 0x20000, 0x1000, -1, 0), 0);
	assert_int_equal(unmap(0, 0x17000, 0x10000), 0);
	assert_int_equal(rp_dma_space_count(space), 2);
	/* As VFIO type1 v2, and as a VMM with a vIOMMU relies on. */
	assert_int_equal(unmap(0, 0x100000000, 0x100000000), 0);
	assert_int_equal(unmap(0, 0, UINT64_MAX), 0);
	assert_int_equal(rp_dma_space_count(space), 0);
	close(fd);
}

static void
test_unmap_all_ignores_its_range(void **state)
{
	static const uint8_t dirty[] = {U32(40), U32(1), U64(0), U64(0x1000), U64(4096), U64(8)};

	(void)state;
	assert_int_equal(map(3, 0x1000, 0x1000, -1, 0), 0);
	assert_int_equal(map(3, 0x8000, 0x1000, -1, 0), 0);
	assert_int_equal(unmap(0, 0, 0), EINVAL);
	assert_int_equal(unmap(0, 1, UINT64_MAX), 0);
	assert_int_equal(map(3, 0x1000, 0x1000, -1, 0), 0);
	assert_int_equal(unmap(0, 2, UINT64_MAX), EINVAL);
	assert_int_equal(unmap(4, 0, 0x1000), EINVAL);
	assert_int_equal(device_ask(&peer, 3, dirty, sizeof(dirty), NULL, 0, &reply), EOPNOTSUPP);
	assert_int_equal(unmap(3, 0, 0), EINVAL);
	assert_int_equal(rp_dma_space_count(rp_vfu_server_dma(device.server)), 1);
	assert_int_equal(unmap(2, 0xdead, 0), 0);
	assert_int_equal(rp_dma_space_count(rp_vfu_server_dma(device.server)), 0);
}

static void
test_remap_vector(void **state)
{
	static const char text[] = "{\"capabilities\":{\"max_msg_fds\":1,\"ringpass.remap\":true}}";
	static const uint8_t command[] = {
		HEADER(7, 0x5201, 48, COMMAND, 0), U32(32), U32(1), U64(0x1000), U64(0x3000), U64(0x2000)};
	static const uint8_t answer[] = {HEADER(7, 0x5201, 16, REPLY, 0)};
	const uint8_t wrong[] = {U32(32), U32(4), U64(0), U64(0x3000), U64(0x2000)};
	struct rp_dma_space *space = rp_vfu_server_dma(device.server);
	uint8_t version[4 + sizeof(text)] = {U16(0), U16(1)};
	int old_fd = test_memfd(0x8000, false), fd = test_memfd(0x4000, false);

	(void)state;
	/* Not agreed on, it is a number like any other. */
	assert_int_equal(device_ask(&peer, 0x5201, command + 16, 32, &fd, 1, &reply), EOPNOTSUPP);
	peer_close(&peer);
	device_connect(&device, &peer);
	memcpy(version + 4, text, sizeof(text));
	assert_int_equal(device_ask(&peer, 1, version, sizeof(version), NULL, 0, &reply), 0);
	assert_int_equal(map(3, 0x1000, 0x8000, old_fd, 0), 0);
	assert_int_equal(pwrite(fd, "new", 3, 0x1000), 3);
	assert_true(peer_send(&peer, command, sizeof(command), &fd, 1));
	assert_true(peer_receive(&peer, &reply));
	assert_int_equal(reply.size_bytes, sizeof(answer));
	assert_memory_equal(reply.bytes, answer, sizeof(answer));
	/* Both rests of the old one are there, and the rights of the new one. */
	assert_int_equal(rp_dma_space_count(space), 3);
	assert_memory_equal(rp_dma_space_translate(space, 0x3000, 0x2000, RP_DMA_READ), "new", 3);
	assert_null(rp_dma_space_translate(space, 0x3000, 1, RP_DMA_WRITE));
	assert_non_null(rp_dma_space_translate(space, 0x1000, 0x2000, RP_DMA_WRITE));
	assert_non_null(rp_dma_space_translate(space, 0x5000, 0x4000, RP_DMA_WRITE));
	/* What is refused has changed nothing. */
	assert_int_equal(device_ask(&peer, 0x5201, wrong, sizeof(wrong), NULL, 0, &reply), EINVAL);
	assert_int_equal(rp_dma_space_count(space), 3);
	close(fd);
	close(old_fd);
}

/* A device that has a pointer in the server's own thread: nobody waits for it, and it stays good. */
static void
test_client_leaves_a_pointer_behind(void **state)
{
	struct rp_dma_space *space = rp_vfu_server_dma(device.server);
	int old_fd = test_memfd(0x1000, false), new_fd = test_memfd(0x1000, false);
	struct test_leaks without, found;
	uint8_t *old, *new, byte = 0;
	uint64_t size_bytes;

	(void)state;
	device_hang_up(&device, &peer);
	test_leaks_read(&without);
	device_connect(&device, &peer);
	device_negotiate(&peer);
	assert_int_equal(map(3, 0x1000, 0x1000, old_fd, 0), 0);
	assert_int_equal(rp_dma_map(space, 0x1000, 4, RP_DMA_WRITE, (void **)&old, &size_bytes), 0);
	device_hang_up(&device, &peer);
	device_connect(&device, &peer);
	device_negotiate(&peer);
	assert_int_equal(map(3, 0x1000, 0x1000, new_fd, 0), 0);
	assert_int_equal(rp_dma_map(space, 0x1000, 4, RP_DMA_WRITE, (void **)&new, &size_bytes), 0);
	old[0] = 1;
	new[0] = 2;
	assert_int_equal(pread(old_fd, &byte, 1, 0), 1);
	assert_int_equal(byte, 1);
	assert_int_equal(rp_dma_unmap(space, new, 4, RP_DMA_WRITE, 4), 0);
	device_hang_up(&device, &peer);
	test_leaks_read(&found);
	assert_int_equal(found.mappings_count, without.mappings_count + 1);
	/* The turn after it has let go. */
	assert_int_equal(rp_dma_unmap(space, old, 4, RP_DMA_WRITE, 4), 0);
	device_turn(&device);
	test_leaks_assert_none(&without);
	close(old_fd);
	close(new_fd);
}

/* A device that looks at its client's memory all the time hears of it before the memory goes. */
static void
test_leaving_is_said_while_memory_is_there(void **state)
{
	struct rp_dma_space *space = rp_vfu_server_dma(device.server);
	int fd = test_memfd(0x3000, false);

	(void)state;
	assert_int_equal(map(3, 0x1000, 0x1000, fd, 0), 0);
	assert_int_equal(map(3, 0x8000, 0x2000, fd, 0x1000), 0);
	device_hang_up(&device, &peer);
	assert_int_equal(device.leavings, 1);
	assert_int_equal(device.leaving_maps, 2);
	assert_int_equal(device.disconnects, 1);
	assert_int_equal(rp_dma_space_count(space), 0);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_map_and_unmap_vectors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_map_without_descriptor_is_kept_for_messages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_map_refuses_what_breaks_a_rule, setup, teardown),
		cmocka_unit_test_setup_teardown(test_map_refuses_every_overlap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_map_needs_the_access_that_the_file_has, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unmap_exact_inner_spanning_and_never_mapped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unmap_all_ignores_its_range, setup, teardown),
		cmocka_unit_test_setup_teardown(test_remap_vector, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_leaves_a_pointer_behind, setup, teardown),
		cmocka_unit_test_setup_teardown(test_leaving_is_said_while_memory_is_there, setup, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user server: DMA", tests, NULL, NULL);
}
