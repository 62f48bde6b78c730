/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bytes.h"
#include "device.h"

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
ask_version(uint16_t major, uint16_t minor, const char *text)
{
	const uint8_t version[] = {U16(major), U16(minor)};
	uint8_t payload[512];
	size_t text_bytes = text == NULL ? 0 : strlen(text) + 1;

	memcpy(payload, version, sizeof(version));
	if (text != NULL)
		memcpy(payload + sizeof(version), text, text_bytes);
	return device_ask(&peer, 1, payload, sizeof(version) + text_bytes, NULL, 0, &reply);
}

static size_t
join(uint8_t *to, const uint8_t *head, size_t head_bytes, const char *text, size_t text_bytes)
{
	memcpy(to, head, head_bytes);
	memcpy(to + head_bytes, text, text_bytes);
	return head_bytes + text_bytes;
}

static void
test_version_vector(void **state)
{
	static const uint8_t command[] = {HEADER(7, 1, 16 + 4 + 63, COMMAND, 0), U16(0), U16(0)};
	static const char offer[] = "{\"capabilities\":{\"max_msg_fds\":8,\"migration\":{\"pgsize\":4096}}}";
	static const uint8_t answer[] = {HEADER(7, 1, 16 + 4 + 35, REPLY, 0), U16(0), U16(0)};
	static const char agreed[] = "{\"capabilities\":{\"max_msg_fds\":8}}";
	uint8_t bytes[128];
	size_t size_bytes = join(bytes, command, sizeof(command), offer, sizeof(offer));

	(void)state;
	assert_int_equal(size_bytes, 16 + 4 + 63);
	assert_true(peer_send(&peer, bytes, size_bytes, NULL, 0));
	assert_true(peer_receive(&peer, &reply));
	assert_int_equal(reply.size_bytes, join(bytes, answer, sizeof(answer), agreed, sizeof(agreed)));
	assert_memory_equal(reply.bytes, bytes, reply.size_bytes);
	assert_int_equal(device.connects, 1);
	assert_true(rp_vfu_server_connected(device.server));
}

static void
test_version_minor_is_the_lower_one(void **state)
{
	static const uint8_t answer[] = {U16(0), U16(1)};

	(void)state;
	assert_int_equal(ask_version(0, 9, NULL), 0);
	/* No text was offered, so none comes. */
	assert_int_equal(reply.payload_bytes, sizeof(answer));
	assert_memory_equal(reply.payload, answer, sizeof(answer));
}

static void
test_version_other_major_closes(void **state)
{
	(void)state;
	assert_int_equal(ask_version(1, 0, NULL), EOPNOTSUPP);
	assert_false(peer_receive(&peer, &reply));
	assert_int_equal(device.connects, 0);
	assert_int_equal(device.disconnects, 0);
	assert_non_null(strstr(device.last_refusal.text, "major"));
}

static void
test_version_refused_may_be_repeated(void **state)
{
	(void)state;
	assert_int_equal(ask_version(0, 1, "{\"capabilities\":{\"max_msg_fds\":\"many\"}}"), EINVAL);
	assert_string_equal(device.last_refusal.text, "VERSION: max_msg_fds: not a whole number");
	assert_int_equal(ask_version(0, 1, "{\"capabilities\":{\"max_data_xfer_size\":512}}"), EINVAL);
	assert_int_equal(ask_version(0, 1, "{}"), 0);
	assert_string_equal((const char *)reply.payload + 4, "{}");
	assert_int_equal(device.connects, 1);
}

static void
test_version_comes_first_and_once(void **state)
{
	static const uint8_t info[] = {U32(16), U32(0), U32(0), U32(0)};

	(void)state;
	assert_int_equal(device_ask(&peer, 4, info, sizeof(info), NULL, 0, &reply), EBUSY);
	assert_string_equal(device.last_refusal.text, "DEVICE_GET_INFO: before VERSION");
	device_negotiate(&peer);
	assert_int_equal(device_ask(&peer, 4, info, sizeof(info), NULL, 0, &reply), 0);
	assert_int_equal(ask_version(0, 1, "{}"), EBUSY);
	assert_int_equal(device_ask(&peer, 4, info, sizeof(info), NULL, 0, &reply), 0);
}

static void
test_unknown_commands_are_refused_by_name(void **state)
{
	static const uint16_t commands[] = {0, 19, 100, 0xffff};
	static const uint16_t unsupported[] = {14, 15};
	static const uint8_t payload[16] = {U64(8)};
	unsigned int i;

	(void)state;
	device_negotiate(&peer);
	for (i = 0; i < 4; i++)
		assert_int_equal(device_ask(&peer, commands[i], payload, 16, NULL, 0, &reply), EOPNOTSUPP);
	assert_string_equal(device.last_refusal.text, "command 65535: unknown");
	for (i = 0; i < 2; i++)
		assert_int_equal(device_ask(&peer, unsupported[i], payload, 8, NULL, 0, &reply), EOPNOTSUPP);
	assert_non_null(strstr(device.last_refusal.text, "REGION_WRITE_MULTI"));
	assert_int_equal(device_ask(&peer, 11, payload, 16, NULL, 0, &reply), EOPNOTSUPP);
	assert_string_equal(device.last_refusal.text, "DMA_READ: goes from server to client only");
	assert_int_equal(device_ask(&peer, 13, NULL, 0, NULL, 0, &reply), 0);
}

static void
test_reset_vector(void **state)
{
	static const uint8_t command[] = {HEADER(0xffff, 13, 16, COMMAND, 0)};
	static const uint8_t answer[] = {HEADER(0xffff, 13, 16, REPLY, 0)};
	static const uint8_t failed[] = {HEADER(0xffff, 13, 16, ERROR_REPLY, EIO)};

	(void)state;
	device_negotiate(&peer);
	assert_true(peer_send(&peer, command, sizeof(command), NULL, 0));
	assert_true(peer_receive(&peer, &reply));
	assert_memory_equal(reply.bytes, answer, sizeof(answer));
	assert_int_equal(device.resets, 1);
	device.fail_with = -EIO;
	assert_true(peer_send(&peer, command, sizeof(command), NULL, 0));
	assert_true(peer_receive(&peer, &reply));
	assert_memory_equal(reply.bytes, failed, sizeof(failed));
}

static void
test_no_reply_is_obeyed(void **state)
{
	static const uint8_t bad[] = {U32(16), U32(0), U32(99), U32(0)};

	(void)state;
	device_negotiate(&peer);
	assert_true(peer_command(&peer, 1, 13, NO_REPLY, NULL, 0, NULL, 0));
	assert_true(peer_command(&peer, 2, 7, NO_REPLY, bad, sizeof(bad), NULL, 0));
	assert_true(peer_command(&peer, 3, 77, NO_REPLY, NULL, 0, NULL, 0));
	assert_true(peer_is_silent(&peer));
	assert_int_equal(device.resets, 1);
	assert_int_equal(device.refusals, 2);
	assert_int_equal(device_ask(&peer, 13, NULL, 0, NULL, 0, &reply), 0);
}

static void
test_reply_to_nobody_is_not_answered(void **state)
{
	(void)state;
	device_negotiate(&peer);
	assert_true(peer_command(&peer, 1, 11, REPLY, NULL, 0, NULL, 0));
	assert_true(peer_is_silent(&peer));
	assert_int_equal(device.refusals, 1);
	assert_int_equal(device_ask(&peer, 13, NULL, 0, NULL, 0, &reply), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_version_vector, setup, teardown),
		cmocka_unit_test_setup_teardown(test_version_minor_is_the_lower_one, setup, teardown),
		cmocka_unit_test_setup_teardown(test_version_other_major_closes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_version_refused_may_be_repeated, setup, teardown),
		cmocka_unit_test_setup_teardown(test_version_comes_first_and_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unknown_commands_are_refused_by_name, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset_vector, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_reply_is_obeyed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reply_to_nobody_is_not_answered, setup, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user server: session", tests, NULL, NULL);
}
