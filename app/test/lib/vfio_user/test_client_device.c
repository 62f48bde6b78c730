/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "liar.h"

static struct liar liar;
static struct rp_vfu_client *client;
static struct rp_wire_why why;

static bool
check_commands(struct liar *l, const struct peer_msg *command)
{
	static const uint8_t device_info[] = {U32(16), U32(0), U32(0), U32(0)};
	static const uint8_t region_info[] = {U32(1024), U32(0), U32(2), U32(0), U64(0), U64(0)};
	static const uint8_t irq_info[] = {U32(16), U32(0), U32(2), U32(0)};
	unsigned int *right = l->ctx;

	if ((command->command == 4 && command->payload_bytes == sizeof(device_info) &&
	     memcmp(command->payload, device_info, sizeof(device_info)) == 0) ||
	    (command->command == 5 && command->payload_bytes == sizeof(region_info) &&
	     memcmp(command->payload, region_info, sizeof(region_info)) == 0) ||
	    (command->command == 7 && command->payload_bytes == sizeof(irq_info) &&
	     memcmp(command->payload, irq_info, sizeof(irq_info)) == 0))
		(*right)++;
	return false;
}

static void
test_command_vectors_asked_once(void **state)
{
	struct rp_vfu_client_device device;
	struct rp_vfu_client_region region;
	uint32_t count, flags;
	unsigned int right = 0, round;

	(void)state;
	liar.ctx = &right;
	client = liar_client(&liar, check_commands);
	for (round = 0; round < 3; round++) {
		assert_int_equal(rp_vfu_client_device_info(client, &device, &why), 0);
		assert_int_equal(device.regions_count, 9);
		assert_int_equal(device.irqs_count, 5);
		assert_true(device.pci);
		assert_true(device.resettable);
		assert_int_equal(rp_vfu_client_region_info(client, 2, &region, &why), 0);
		assert_int_equal(region.size_bytes, 0x10000);
		assert_true(region.readable && region.writable && region.fd >= 0);
		assert_int_equal(region.fd_offset_bytes, 0);
		assert_int_equal(region.areas_count, 2);
		assert_int_equal(region.areas[1].offset_bytes, 0x4000);
		assert_int_equal(region.areas[1].size_bytes, 0x2000);
	}
	assert_int_equal(rp_vfu_client_irq_info(client, 2, &count, &flags, &why), 0);
	assert_int_equal(count, 40);
	assert_int_equal(flags, 9);
	assert_int_equal(rp_vfu_client_region_info(client, 9, &region, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_irq_info(client, 5, &count, &flags, &why), -EINVAL);
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
	assert_int_equal(right, 3);
}

static void
test_regions_without_areas(void **state)
{
	struct rp_vfu_client_region region;

	(void)state;
	client = liar_client(&liar, NULL);
	assert_int_equal(rp_vfu_client_region_info(client, 4, &region, &why), 0);
	assert_int_equal(region.areas_count, 1);
	assert_int_equal(region.areas[0].offset_bytes, 0);
	assert_int_equal(region.areas[0].size_bytes, 0x2000);
	assert_int_equal(region.fd_offset_bytes, 0x1000);
	assert_int_equal(rp_vfu_client_region_info(client, 0, &region, &why), 0);
	assert_int_equal(region.fd, -1);
	assert_int_equal(region.areas_count, 0);
	assert_null(region.areas);
	assert_int_equal(rp_vfu_client_region_info(client, 1, &region, &why), 0);
	assert_int_equal(region.size_bytes, 0);
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

/* A region of more areas than the first question has room for. */
static bool
many_areas(struct liar *l, const struct peer_msg *command)
{
	static uint8_t reply[48 + 200 * 16];
	uint32_t argsz, i, room;

	if (command->command != 5)
		return false;
	argsz = l->ctx != NULL ? 70000 : sizeof(reply);
	memcpy(&room, command->payload, sizeof(room));
	{
		const uint8_t head[] = {U32(argsz), U32(0xf), U32(2), U32(32),	U64(0x200000), U64(0),
					U16(1),	    U16(1),   U32(0), U32(200), U32(0)};

		memcpy(reply, head, sizeof(head));
	}
	for (i = 0; i < 200; i++) {
		const uint8_t area[] = {U64(i * 0x2000), U64(0x1000)};

		memcpy(reply + 48 + i * 16, area, sizeof(area));
	}
	(void)ftruncate(l->file_fd, 0x200000);
	liar_reply(l, command, reply, room < argsz ? 32 : argsz, &l->file_fd, 1);
	return true;
}

static void
test_cut_off_reply_is_asked_for_again(void **state)
{
	struct rp_vfu_client_region region;

	(void)state;
	client = liar_client(&liar, many_areas);
	assert_int_equal(rp_vfu_client_region_info(client, 2, &region, &why), 0);
	assert_int_equal(region.areas_count, 200);
	assert_int_equal(region.areas[199].offset_bytes, 199 * 0x2000);
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

static void
test_reply_that_needs_too_much(void **state)
{
	struct rp_vfu_client_region region;
	bool lie = true;

	(void)state;
	liar.ctx = &lie;
	client = liar_client(&liar, many_areas);
	assert_int_equal(rp_vfu_client_region_info(client, 2, &region, &why), -EBADMSG);
	assert_string_equal(why.text, "DEVICE_GET_REGION_INFO: reply: region 2: argsz: 70000, in a reply of 32 bytes");
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

/* What is said instead of the truth, and with how many descriptors. */
static struct {
	uint16_t command;
	const uint8_t *payload;
	size_t payload_bytes;
	unsigned int fds_count;
} lie;

static bool
say_lie(struct liar *l, const struct peer_msg *command)
{
	int fds[16];
	unsigned int i;

	if (command->command != lie.command)
		return false;
	for (i = 0; i < 16; i++)
		fds[i] = l->file_fd;
	liar_reply(l, command, lie.payload, lie.payload_bytes, fds, lie.fds_count);
	return true;
}

static void
assert_lie(uint16_t command, const uint8_t *payload, size_t payload_bytes, unsigned int fds_count, const char *words)
{
	struct rp_vfu_client_device device;
	struct rp_vfu_client_region region;
	uint32_t count, flags;
	int rc;

	lie.command = command;
	lie.payload = payload;
	lie.payload_bytes = payload_bytes;
	lie.fds_count = fds_count;
	client = liar_client(&liar, say_lie);
	if (command == 4)
		rc = rp_vfu_client_device_info(client, &device, &why);
	else if (command == 5)
		rc = rp_vfu_client_region_info(client, 2, &region, &why);
	else
		rc = rp_vfu_client_irq_info(client, 2, &count, &flags, &why);
	assert_int_equal(rc, -EBADMSG);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s' does not say '%s'", why.text, words);
	/* Lies about the device do not lose the connection. */
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
test_lies_about_the_device(void **state)
{
	(void)state;
	LIE(4, 0, "payload: 15 bytes", U32(16), U32(3), U32(9), U16(5), 0);
	LIE(4, 0, "65 regions, expected 8 to 64", U32(16), U32(3), U32(65), U32(5));
	LIE(4, 0, "regions, expected 8 to 64", U32(16), U32(3), U32(UINT32_MAX), U32(5));
	LIE(4, 0, "7 regions, expected 8 to 64", U32(16), U32(3), U32(7), U32(5));
	LIE(4, 0, "2 interrupts, expected 3 to 16", U32(16), U32(3), U32(9), U32(2));
	LIE(4, 0, "17 interrupts, expected 0 to 16", U32(16), U32(0), U32(0), U32(17));
	LIE(4, 1, "descriptors: 1, expected at most 0", U32(16), U32(3), U32(9), U32(5));
	LIE(4, 0, "argsz: 15, expected at least 16", U32(15), U32(3), U32(9), U32(5));
}

static void
test_lies_about_interrupts(void **state)
{
	(void)state;
	LIE(7, 0, "40 vectors of index 3, expected at most 2048 of 2", U32(16), U32(9), U32(3), U32(40));
	LIE(7, 0, "2049 vectors of index 2", U32(16), U32(9), U32(2), U32(2049));
	LIE(7, 0, "payload: 12 bytes", U32(16), U32(9), U32(2));
}

static void
test_lies_about_regions(void **state)
{
	(void)state;
	LIE(5, 0, "region 2: descriptors: 0, expected 1", U32(32), U32(7), U32(2), U32(0), U64(0x1000), U64(0));
	LIE(5, 1, "region 2: descriptors: 1, expected 0", U32(32), U32(3), U32(2), U32(0), U64(0x1000), U64(0));
	LIE(5, 2, "descriptors: 2, expected at most 1", U32(32), U32(7), U32(2), U32(0), U64(0x1000), U64(0));
	LIE(5, 1, "region 2: descriptor: the file ends at 0x10000", U32(32), U32(7), U32(2), U32(0), U64(0x20000),
	    U64(0));
	LIE(5, 1, "region 2: size: 0x3000 of a BAR", U32(32), U32(7), U32(2), U32(0), U64(0x3000), U64(0));
	LIE(5, 1, "region 2: index: 4, asked for 2", U32(32), U32(7), U32(4), U32(0), U64(0x1000), U64(0));
	LIE(5, 1, "region 2: capabilities: the chain is a loop", U32(40), U32(0xf), U32(2), U32(32), U64(0x1000),
	    U64(0), U16(9), U16(1), U32(32));
	LIE(5, 0, "region 2: argsz: 40, in a reply of 32 bytes", U32(40), U32(3), U32(2), U32(0), U64(0x1000), U64(0));
	LIE(5, 0, "argsz: 24, expected at least 32", U32(24), U32(3), U32(2), U32(0), U64(0x1000), U64(0));
	LIE(5, 0, "payload: 0 bytes, expected 32 to 65536", );
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_command_vectors_asked_once),
		cmocka_unit_test(test_regions_without_areas),
		cmocka_unit_test(test_cut_off_reply_is_asked_for_again),
		cmocka_unit_test(test_reply_that_needs_too_much),
		cmocka_unit_test(test_lies_about_the_device),
		cmocka_unit_test(test_lies_about_interrupts),
		cmocka_unit_test(test_lies_about_regions),
	};

	return cmocka_run_group_tests_name("vfio-user client: device", tests, NULL, NULL);
}
