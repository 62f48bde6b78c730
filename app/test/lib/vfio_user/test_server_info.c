/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bytes.h"
#include "device.h"
#include "rp_wire_fd.h"

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
	peer_msg_close(&reply);
	peer_close(&peer);
	device_close(&device);
	test_leaks_assert_none(&before);
	return 0;
}

static void
exchange(const uint8_t *command, size_t command_bytes, const uint8_t *answer, size_t answer_bytes)
{
	peer_msg_close(&reply);
	assert_true(peer_send(&peer, command, command_bytes, NULL, 0));
	assert_true(peer_receive(&peer, &reply));
	assert_int_equal(reply.size_bytes, answer_bytes);
	assert_memory_equal(reply.bytes, answer, answer_bytes);
}

static void
test_device_info_vector(void **state)
{
	static const uint8_t command[] = {HEADER(3, 4, 32, COMMAND, 0), U32(16), U32(0), U32(0), U32(0)};
	/* As a client built with newer kernel headers sends it. */
	static const uint8_t longer[] = {HEADER(3, 4, 40, COMMAND, 0), U32(24), U32(0), U32(0), U32(0), U32(0), U32(0)};
	static const uint8_t answer[] = {HEADER(3, 4, 32, REPLY, 0), U32(16), U32(3), U32(9), U32(5)};

	(void)state;
	exchange(command, sizeof(command), answer, sizeof(answer));
	exchange(longer, sizeof(longer), answer, sizeof(answer));
}

static void
test_irq_info_vectors(void **state)
{
	static const uint8_t command[] = {HEADER(4, 7, 32, COMMAND, 0), U32(16), U32(0), U32(2), U32(0)};
	static const uint8_t answer[] = {HEADER(4, 7, 32, REPLY, 0), U32(16), U32(9), U32(2), U32(40)};
	static const uint8_t absent[] = {HEADER(4, 7, 32, COMMAND, 0), U32(16), U32(0), U32(1), U32(0)};
	static const uint8_t absent_answer[] = {HEADER(4, 7, 32, REPLY, 0), U32(16), U32(0), U32(1), U32(0)};
	static const uint8_t beyond[] = {HEADER(4, 7, 32, COMMAND, 0), U32(16), U32(0), U32(5), U32(0)};
	static const uint8_t refused[] = {HEADER(4, 7, 16, ERROR_REPLY, EINVAL)};

	(void)state;
	exchange(command, sizeof(command), answer, sizeof(answer));
	exchange(absent, sizeof(absent), absent_answer, sizeof(absent_answer));
	exchange(beyond, sizeof(beyond), refused, sizeof(refused));
	assert_string_equal(device.last_refusal.text, "DEVICE_GET_IRQ_INFO: index: 5, expected below 5");
}

static void
test_region_info_of_registers_vector(void **state)
{
	static const uint8_t command[] = {
		HEADER(5, 5, 48, COMMAND, 0), U32(32), U32(0), U32(7), U32(0), U64(0), U64(0)};
	static const uint8_t answer[] = {HEADER(5, 5, 48, REPLY, 0), U32(32), U32(3), U32(7), U32(0), U64(256), U64(0)};
	static const uint8_t absent[] = {HEADER(5, 5, 48, COMMAND, 0), U32(32), U32(0), U32(1), U32(0), U64(0), U64(0)};
	static const uint8_t absent_answer[] = {
		HEADER(5, 5, 48, REPLY, 0), U32(32), U32(0), U32(1), U32(0), U64(0), U64(0)};
	static const uint8_t beyond[] = {HEADER(5, 5, 48, COMMAND, 0), U32(32), U32(0), U32(9), U32(0), U64(0), U64(0)};
	static const uint8_t refused[] = {HEADER(5, 5, 16, ERROR_REPLY, EINVAL)};

	(void)state;
	exchange(command, sizeof(command), answer, sizeof(answer));
	exchange(absent, sizeof(absent), absent_answer, sizeof(absent_answer));
	exchange(beyond, sizeof(beyond), refused, sizeof(refused));
	assert_int_equal(reply.fds_count, 0);
}

static void
test_region_info_of_memory_vector(void **state)
{
	static const uint8_t command[] = {
		HEADER(6, 5, 48, COMMAND, 0), U32(4096), U32(0), U32(4), U32(0), U64(0), U64(0)};
	static const uint8_t answer[] = {
		HEADER(6, 5, 48, REPLY, 0), U32(32), U32(5), U32(4), U32(0), U64(0x2000), U64(0x1000)};

	(void)state;
	exchange(command, sizeof(command), answer, sizeof(answer));
	assert_int_equal(reply.fds_count, 1);
	assert_int_not_equal(rp_wire_fd_same(reply.fds[0], device.memory_fd), 0);
}

static void
test_region_info_with_areas_is_cut_off_at_argsz(void **state)
{
	/* 32 of the structure, 8 and 8 of the heads, 16 for each of two areas. */
	static const uint8_t room[] = {HEADER(6, 5, 48, COMMAND, 0), U32(80), U32(0), U32(2), U32(0), U64(0), U64(0)};
	static const uint8_t answer[] = {HEADER(6, 5, 96, REPLY, 0), REGION(80, 0xf, 2, 32, 0x10000, 0), SPARSE(2),
					 AREA(0x1000, 0x1000), AREA(0x4000, 0x2000)};
	static const uint8_t less_room[] = {
		HEADER(6, 5, 48, COMMAND, 0), U32(79), U32(0), U32(2), U32(0), U64(0), U64(0)};
	static const uint8_t cut_off[] = {
		HEADER(6, 5, 48, REPLY, 0), U32(80), U32(0xf), U32(2), U32(32), U64(0x10000), U64(0)};
	static const uint8_t no_room[] = {
		HEADER(6, 5, 48, COMMAND, 0), U32(31), U32(0), U32(2), U32(0), U64(0), U64(0)};
	static const uint8_t refused[] = {HEADER(6, 5, 16, ERROR_REPLY, EINVAL)};

	(void)state;
	exchange(room, sizeof(room), answer, sizeof(answer));
	assert_int_equal(reply.fds_count, 1);
	exchange(less_room, sizeof(less_room), cut_off, sizeof(cut_off));
	assert_int_equal(reply.fds_count, 1);
	exchange(no_room, sizeof(no_room), refused, sizeof(refused));
	assert_int_equal(reply.fds_count, 0);
}

static void
renegotiate(const char *text)
{
	uint8_t payload[128] = {U16(0), U16(1)};

	device_hang_up(&device, &peer);
	device_connect(&device, &peer);
	memcpy(payload + 4, text, strlen(text) + 1);
	assert_int_equal(device_ask(&peer, 1, payload, 4 + strlen(text) + 1, NULL, 0, &reply), 0);
}

static void
test_client_that_takes_no_descriptors(void **state)
{
	static const uint8_t region[] = {HEADER(6, 5, 48, COMMAND, 0), U32(80), U32(0), U32(2), U32(0), U64(0), U64(0)};
	static const uint8_t answer[] = {
		HEADER(6, 5, 48, REPLY, 0), U32(32), U32(3), U32(2), U32(0), U64(0x10000), U64(0)};

	(void)state;
	renegotiate("{\"capabilities\":{\"max_msg_fds\":0}}");
	exchange(region, sizeof(region), answer, sizeof(answer));
	assert_int_equal(reply.fds_count, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_device_info_vector, setup, teardown),
		cmocka_unit_test_setup_teardown(test_irq_info_vectors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_region_info_of_registers_vector, setup, teardown),
		cmocka_unit_test_setup_teardown(test_region_info_of_memory_vector, setup, teardown),
		cmocka_unit_test_setup_teardown(test_region_info_with_areas_is_cut_off_at_argsz, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_that_takes_no_descriptors, setup, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user server: information", tests, NULL, NULL);
}
