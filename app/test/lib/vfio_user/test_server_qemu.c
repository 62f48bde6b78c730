/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bytes.h"
#include "device.h"
#include "rp_wire_fd.h"

/*
 * A VMM's way through the protocol, in the order and with the sizes that QEMU 11
 * uses: it reads a reply into the room of its command unless it asked for more,
 * sends its memory before it asks what the device is, and its eventfds in runs.
 */

#define MAPS_COUNT 18

static struct device device;
static struct peer peer;
static struct peer_msg reply;
static uint16_t next_id;

static void
send_command(uint16_t command, const void *payload, size_t payload_bytes, const int *fds, unsigned int fds_count)
{
	assert_true(peer_command(&peer, next_id++, command, COMMAND, payload, payload_bytes, fds, fds_count));
}

/* @return the size of the reply, header included. */
static uint32_t
ask(uint16_t command, const void *payload, size_t payload_bytes, const int *fds, unsigned int fds_count)
{
	send_command(command, payload, payload_bytes, fds, fds_count);
	assert_true(peer_receive(&peer, &reply));
	assert_int_equal(reply.id, next_id - 1);
	assert_int_equal(reply.flags, REPLY);
	return reply.size_bytes;
}

static void
version(void)
{
	static const char text[] = "{\"capabilities\": {\"migration\": {\"max_bitmap_size\": 268435456, "
				   "\"pgsize\": 4096}, "
				   "\"write_multiple\": true, \"max_data_xfer_size\": 1048576, \"max_msg_fds\": 16, "
				   "\"pgsizes\": 4096, \"max_dma_maps\": 65535}}";
	uint8_t payload[4 + sizeof(text)] = {U16(0), U16(0)};
	uint32_t size_bytes;

	memcpy(payload + 4, text, sizeof(text));
	size_bytes = ask(1, payload, sizeof(payload), NULL, 0);
	assert_true(size_bytes <= 16 + sizeof(payload));
	assert_memory_equal(reply.payload, payload, 4);
	assert_int_equal(reply.bytes[size_bytes - 1], 0);
	assert_string_equal((const char *)reply.payload + 4,
			    "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576,"
			    "\"max_dma_maps\":65535,\"pgsizes\":4096,\"write_multiple\":true}}");
}

/* All sent before the first reply is read; every sixth is a ROM, which has no descriptor. */
static void
pipelined_maps(int memory_fd)
{
	uint16_t first_id = next_id;
	unsigned int i;

	for (i = 0; i < MAPS_COUNT; i++) {
		const uint64_t offset_bytes = i * UINT64_C(0x10000);
		const uint8_t ram[] = {U32(32), U32(3), U64(offset_bytes), U64(offset_bytes), U64(0x10000)};
		const uint8_t rom[] = {U32(32), U32(1), U64(0), U64(offset_bytes), U64(0x10000)};

		if (i % 6 == 5)
			send_command(2, rom, sizeof(rom), NULL, 0);
		else
			send_command(2, ram, sizeof(ram), &memory_fd, 1);
	}
	for (i = 0; i < MAPS_COUNT; i++) {
		assert_true(peer_receive(&peer, &reply));
		assert_int_equal(reply.id, (uint16_t)(first_id + i));
		assert_int_equal(reply.flags, REPLY);
		assert_int_equal(reply.size_bytes, 16);
	}
	assert_int_equal(rp_dma_space_count(rp_vfu_server_dma(device.server)), MAPS_COUNT);
}

static void
infos(void)
{
	static const uint8_t device_info[] = {U32(16), U32(0), U32(0), U32(0)};
	uint32_t i, argsz;

	assert_int_equal(ask(4, device_info, sizeof(device_info), NULL, 0), 32);
	for (i = 0; i < 9; i++) {
		const uint8_t first[] = {U32(32), U32(0), U32(i), U32(0), U64(0), U64(0)};

		assert_int_equal(ask(5, first, sizeof(first), NULL, 0), 48);
		assert_int_equal(reply.fds_count, i == 2 || i == 4);
		peer_msg_close(&reply);
		memcpy(&argsz, reply.payload, sizeof(argsz));
		if (argsz > 32) {
			const uint8_t again[] = {U32(argsz), U32(0), U32(i), U32(0), U64(0), U64(0)};

			assert_int_equal(ask(5, again, sizeof(again), NULL, 0), 16 + argsz);
			assert_int_equal(reply.fds_count, 1);
			peer_msg_close(&reply);
		}
	}
	for (i = 0; i < 5; i++) {
		const uint8_t irq_info[] = {U32(16), U32(0), U32(i), U32(0)};

		assert_int_equal(ask(7, irq_info, sizeof(irq_info), NULL, 0), 32);
	}
}

static void
config_space(void)
{
	static const uint8_t all[] = {U64(0), U32(7), U32(256)};
	static const uint8_t command_register[] = {U64(4), U32(7), U32(2), 0x06, 0x04};
	uint32_t offset_bytes;

	assert_int_equal(ask(9, all, sizeof(all), NULL, 0), 32 + 256);
	for (offset_bytes = 0; offset_bytes < 64; offset_bytes += 4) {
		const uint8_t read[] = {U64(offset_bytes), U32(7), U32(4)};

		assert_int_equal(ask(9, read, sizeof(read), NULL, 0), 36);
	}
	assert_int_equal(ask(10, command_register, sizeof(command_register), NULL, 0), 32);
	assert_memory_equal(device.config + 4, "\x06\x04", 2);
}

static void
interrupts(const int *events)
{
	static const uint8_t vector_0_of_nobody[] = {U32(20), U32(0x24), U32(2), U32(0), U32(1)};
	static const uint8_t disable_msix[] = {U32(20), U32(0x21), U32(2), U32(0), U32(0)};
	/* Runs of one kind each, none longer than 16: 0 to 15, a hole of three, 19 to 34, the rest. */
	static const struct {
		uint32_t start, count;
		bool fds;
	} runs[] = {{0, 16, true}, {16, 3, false}, {19, 16, true}, {35, 5, true}};
	unsigned int i;

	assert_int_equal(ask(8, vector_0_of_nobody, sizeof(vector_0_of_nobody), NULL, 0), 16);
	assert_int_equal(ask(8, disable_msix, sizeof(disable_msix), NULL, 0), 16);
	for (i = 0; i < 4; i++) {
		const uint8_t set[] = {U32(20), U32(0x24), U32(2), U32(runs[i].start), U32(runs[i].count)};

		assert_int_equal(ask(8, set, sizeof(set), &events[runs[i].start], runs[i].fds ? runs[i].count : 0), 16);
	}
	for (i = 0; i < DEVICE_MSIX_COUNT; i++)
		assert_int_equal(rp_vfu_server_irq_trigger(device.server, 2, i), i >= 16 && i < 19 ? -ENOTCONN : 0);
}

static void
goodbye(void)
{
	static const uint8_t huge[] = {U32(24), U32(0), U64(0x100000000), U64(0x7f00000000)};
	static const uint8_t all[] = {U32(24), U32(2), U64(0), U64(0)};

	assert_int_equal(ask(13, NULL, 0, NULL, 0), 16);
	assert_int_equal(device.resets, 1);
	assert_int_equal(ask(3, huge, sizeof(huge), NULL, 0), 40);
	assert_int_equal(ask(3, all, sizeof(all), NULL, 0), 40);
	assert_int_equal(rp_dma_space_count(rp_vfu_server_dma(device.server)), 0);
}

static void
test_a_boot_of_qemu(void **state)
{
	int events[DEVICE_MSIX_COUNT], memory_fd = test_memfd(MAPS_COUNT * 0x10000, false);
	struct test_leaks before;
	eventfd_t signals;
	unsigned int i, boot;

	(void)state;
	for (i = 0; i < DEVICE_MSIX_COUNT; i++)
		events[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	test_leaks_read(&before);
	device_start(&device);
	for (boot = 0; boot < 2; boot++) {
		device_connect(&device, &peer);
		next_id = (uint16_t)-7;
		version();
		pipelined_maps(memory_fd);
		infos();
		config_space();
		interrupts(events);
		for (i = 0; i < DEVICE_MSIX_COUNT; i++)
			assert_int_equal(eventfd_read(events[i], &signals), i >= 16 && i < 19 ? -1 : 0);
		goodbye();
		device.resets = 0;
		device_hang_up(&device, &peer);
	}
	assert_int_equal(device.refusals, 0);
	device_close(&device);
	test_leaks_assert_none(&before);
	rp_wire_fd_close_all(events, DEVICE_MSIX_COUNT);
	rp_wire_fd_close(&memory_fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_boot_of_qemu),
	};

	return cmocka_run_group_tests_name("vfio-user server: QEMU's order", tests, NULL, NULL);
}
