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

/* As many doorbells as a device of 40 queues has. */
#define QUEUES_COUNT 40
#define ALL_OFFERED "\"max_msg_fds\":16,\"ringpass.io_fds\":true"

static int doorbells[QUEUES_COUNT];
static struct rp_vfu_io_fd places[QUEUES_COUNT];

static int
setup(void **state)
{
	unsigned int i;

	(void)state;
	test_leaks_read(&before);
	device_start(&device);
	device_connect(&device, &peer);
	device_negotiate(&peer);
	for (i = 0; i < QUEUES_COUNT; i++) {
		doorbells[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		places[i] = (struct rp_vfu_io_fd){.offset_bytes = 0x100 + 4 * i, .size_bytes = 4, .fd = doorbells[i]};
	}
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	rp_wire_fd_close_all(doorbells, QUEUES_COUNT);
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
test_io_fds_vectors(void **state)
{
	static const uint8_t command[] = {HEADER(7, 6, 32, COMMAND, 0), U32(4096), U32(0), U32(0), U32(0)};
	static const uint8_t answer[] = {HEADER(7, 6, 112, REPLY, 0), PLACES(96, 0, 2), PLACE(0x10, 4, 0, 0, 0),
					 PLACE(0x20, 0, 1, 0, 0)};
	static const uint8_t less_room[] = {HEADER(7, 6, 32, COMMAND, 0), U32(95), U32(0), U32(0), U32(0)};
	static const uint8_t cut_off[] = {HEADER(7, 6, 32, REPLY, 0), U32(96), U32(0), U32(0), U32(2)};
	static const uint8_t none[] = {HEADER(7, 6, 32, COMMAND, 0), U32(16), U32(0), U32(2), U32(0)};
	static const uint8_t none_answer[] = {HEADER(7, 6, 32, REPLY, 0), U32(16), U32(0), U32(2), U32(0)};
	static const uint8_t flags[] = {HEADER(7, 6, 32, COMMAND, 0), U32(16), U32(1), U32(0), U32(0)};
	static const uint8_t beyond[] = {HEADER(7, 6, 32, COMMAND, 0), U32(16), U32(0), U32(9), U32(0)};
	static const uint8_t refused[] = {HEADER(7, 6, 16, ERROR_REPLY, EINVAL)};
	eventfd_t kicks;

	(void)state;
	exchange(command, sizeof(command), answer, sizeof(answer));
	assert_int_equal(reply.fds_count, 2);
	assert_int_equal(eventfd_write(reply.fds[1], 1), 0);
	assert_int_equal(eventfd_read(device.kick_fds[1], &kicks), 0);
	exchange(less_room, sizeof(less_room), cut_off, sizeof(cut_off));
	assert_int_equal(reply.fds_count, 0);
	exchange(none, sizeof(none), none_answer, sizeof(none_answer));
	exchange(flags, sizeof(flags), refused, sizeof(refused));
	exchange(beyond, sizeof(beyond), refused, sizeof(refused));
}

static void
renegotiate(const char *capabilities)
{
	device_hang_up(&device, &peer);
	device_connect(&device, &peer);
	device_negotiate_as(&peer, capabilities);
}

static void
test_io_fds_are_as_many_as_a_message_carries(void **state)
{
	static const uint8_t io_fds[] = {HEADER(7, 6, 32, COMMAND, 0), U32(96), U32(0), U32(0), U32(0)};
	static const uint8_t one[] = {HEADER(7, 6, 72, REPLY, 0), PLACES(56, 0, 1), PLACE(0x10, 4, 0, 0, 0)};
	static const uint8_t none[] = {HEADER(7, 6, 32, REPLY, 0), U32(16), U32(0), U32(0), U32(0)};

	(void)state;
	/* The specification's default is one. */
	renegotiate("\"other\":1");
	exchange(io_fds, sizeof(io_fds), one, sizeof(one));
	assert_int_equal(reply.fds_count, 1);
	renegotiate("\"max_msg_fds\":0");
	exchange(io_fds, sizeof(io_fds), none, sizeof(none));
	assert_int_equal(reply.fds_count, 0);
}

static void
test_places_may_share_an_eventfd(void **state)
{
	static const uint8_t io_fds[] = {HEADER(7, 6, 32, COMMAND, 0), U32(96), U32(0), U32(0), U32(0)};
	static const uint8_t shared[] = {HEADER(7, 6, 112, REPLY, 0), PLACES(96, 0, 2), PLACE(0x10, 4, 0, 0, 0),
					 PLACE(0x20, 0, 0, 0, 0)};
	struct device_description description;

	(void)state;
	device_describe(&device, &description);
	description.io_fds[1].fd = description.io_fds[0].fd;
	device_restart_as(&device, &description, &peer, "\"other\":1");
	exchange(io_fds, sizeof(io_fds), shared, sizeof(shared));
	assert_int_equal(reply.fds_count, 1);
}

/* Queues at one address, with an eventfd for each. */
static void
test_places_of_a_value(void **state)
{
	static const uint8_t io_fds[] = {HEADER(7, 6, 32, COMMAND, 0), U32(96), U32(0), U32(0), U32(0)};
	static const uint8_t values[] = {HEADER(7, 6, 112, REPLY, 0),
					 PLACES(96, 0, 2),
					 U64(0x10),
					 U64(2),
					 U32(0),
					 U32(0),
					 U32(1),
					 U32(0),
					 U64(0xfffe),
					 U64(0x10),
					 U64(2),
					 U32(1),
					 U32(0),
					 U32(0),
					 U32(0),
					 U64(0)};
	struct device_description description;

	(void)state;
	device_describe(&device, &description);
	description.io_fds[0].size_bytes = description.io_fds[1].size_bytes = 2;
	description.io_fds[1].offset_bytes = 0x10;
	description.io_fds[0].has_datamatch = true;
	description.io_fds[0].datamatch = 0xfffe;
	/* Without the other field it says nothing. */
	description.io_fds[1].datamatch = 7;
	device_restart_as(&device, &description, &peer, ALL_OFFERED);
	exchange(io_fds, sizeof(io_fds), values, sizeof(values));
	assert_int_equal(reply.fds_count, 2);
}

/* What the head of a paged reply is made of. */
#define PAGE(argsz, index, count, total) U32(argsz), U32(0), U32(index), U32(count), U32(total), U32(0)

static uint32_t
word(uint32_t offset_bytes)
{
	uint32_t value;

	memcpy(&value, reply.payload + offset_bytes, sizeof(value));
	return value;
}

/* Where a place of the page is. */
static uint64_t
place_at(uint32_t index)
{
	uint64_t value;

	memcpy(&value, reply.payload + 24 + 40 * (size_t)index, sizeof(value));
	return value;
}

static uint32_t
ask_page(uint32_t argsz, uint32_t flags, uint32_t index, uint32_t first)
{
	const uint8_t payload[] = {U32(argsz), U32(flags), U32(index), U32(first)};

	peer_msg_close(&reply);
	return device_ask(&peer, 0x5204, payload, sizeof(payload), NULL, 0, &reply);
}

static void
describe_queues(struct device_description *description, uint32_t count)
{
	device_describe(&device, description);
	description->regions[0].io_fds = places;
	description->regions[0].io_fds_count = count;
}

static void
test_io_fds_page_vectors(void **state)
{
	static const uint8_t command[] = {HEADER(7, 0x5204, 32, COMMAND, 0), U32(4096), U32(0), U32(0), U32(0)};
	static const uint8_t answer[] = {HEADER(7, 0x5204, 120, REPLY, 0), PAGE(104, 0, 2, 2), PLACE(0x10, 4, 0, 0, 0),
					 PLACE(0x20, 0, 1, 0, 0)};
	static const uint8_t second[] = {HEADER(7, 0x5204, 32, COMMAND, 0), U32(64), U32(0), U32(0), U32(1)};
	static const uint8_t second_answer[] = {HEADER(7, 0x5204, 80, REPLY, 0), PAGE(64, 0, 1, 2),
						PLACE(0x20, 0, 0, 0, 0)};
	static const uint8_t less_room[] = {HEADER(7, 0x5204, 32, COMMAND, 0), U32(103), U32(0), U32(0), U32(0)};
	static const uint8_t cut_off[] = {HEADER(7, 0x5204, 40, REPLY, 0), PAGE(104, 0, 2, 2)};
	static const uint8_t end[] = {HEADER(7, 0x5204, 32, COMMAND, 0), U32(24), U32(0), U32(0), U32(2)};
	static const uint8_t nothing_more[] = {HEADER(7, 0x5204, 40, REPLY, 0), PAGE(24, 0, 0, 2)};

	(void)state;
	renegotiate(ALL_OFFERED);
	exchange(command, sizeof(command), answer, sizeof(answer));
	assert_int_equal(reply.fds_count, 2);
	exchange(second, sizeof(second), second_answer, sizeof(second_answer));
	assert_int_equal(reply.fds_count, 1);
	exchange(less_room, sizeof(less_room), cut_off, sizeof(cut_off));
	assert_int_equal(reply.fds_count, 0);
	exchange(end, sizeof(end), nothing_more, sizeof(nothing_more));
}

static void
test_every_doorbell_is_reached_in_pages(void **state)
{
	struct device_description description;
	uint32_t first = 0, calls = 0, i;
	eventfd_t kicks;

	(void)state;
	describe_queues(&description, QUEUES_COUNT);
	device_restart_as(&device, &description, &peer, ALL_OFFERED);
	while (first < QUEUES_COUNT) {
		assert_int_equal(ask_page(4096, 0, 0, first), 0);
		assert_int_equal(word(16), QUEUES_COUNT);
		assert_int_equal(word(12), reply.fds_count);
		for (i = 0; i < reply.fds_count; i++) {
			assert_int_equal(place_at(i), 0x100 + 4 * (first + i));
			assert_int_equal(eventfd_write(reply.fds[word(24 + 40 * i + 16)], 1), 0);
		}
		first += reply.fds_count;
		calls++;
	}
	assert_int_equal(first, QUEUES_COUNT);
	assert_int_equal(calls, 3);
	for (i = 0; i < QUEUES_COUNT; i++) {
		assert_int_equal(eventfd_read(doorbells[i], &kicks), 0);
		assert_int_equal(kicks, 1);
	}
}

static void
test_io_fds_page_refuses_what_breaks_a_rule(void **state)
{
	(void)state;
	/* Without the capability there is no such command. */
	assert_int_equal(ask_page(4096, 0, 0, 0), EOPNOTSUPP);
	renegotiate(ALL_OFFERED);
	assert_int_equal(ask_page(15, 0, 0, 0), EINVAL);
	assert_int_equal(ask_page(4096, 1, 0, 0), EINVAL);
	assert_int_equal(ask_page(4096, 0, 9, 0), EINVAL);
	assert_int_equal(ask_page(4096, 0, UINT32_MAX, 0), EINVAL);
	assert_int_equal(ask_page(4096, 0, 0, 3), EINVAL);
	assert_string_equal(device.last_refusal.text,
			    "DEVICE_GET_REGION_IO_FDS_PAGE: first: 3, but region 0 has 2 places");
	assert_int_equal(ask_page(4096, 0, 0, UINT32_MAX), EINVAL);
	assert_int_equal(ask_page(4096, 0, 2, 0), 0);
	assert_int_equal(word(16), 0);
}

static void
test_shadow_is_offered_in_pages_only(void **state)
{
	static const uint8_t plain[] = {HEADER(7, 6, 32, COMMAND, 0), U32(4096), U32(0), U32(0), U32(0)};
	static const uint8_t without[] = {HEADER(7, 6, 72, REPLY, 0), PLACES(56, 0, 1), PLACE(0x104, 4, 0, 0, 0)};
	/* Type 2; the second descriptor is the memory, and the value belongs at 0x18 of it. */
	static const uint8_t shadow[] = {U64(0x100), U64(4), U32(0), U32(2), U32(0), U32(1), U64(0x18)};
	static const uint8_t value[4] = {1, 2, 3, 4};
	struct device_description description;
	uint8_t stored[4];

	(void)state;
	places[0].has_shadow = true;
	places[0].shadow_fd = device.memory_fd;
	places[0].shadow_offset_bytes = 0x18;
	describe_queues(&description, 2);
	device_restart_as(&device, &description, &peer, ALL_OFFERED);
	exchange(plain, sizeof(plain), without, sizeof(without));
	assert_int_equal(ask_page(4096, 0, 0, 0), 0);
	assert_int_equal(word(12), 2);
	assert_int_equal(reply.fds_count, 3);
	assert_memory_equal(reply.payload + 24, shadow, sizeof(shadow));
	assert_int_equal(pwrite(reply.fds[1], value, sizeof(value), 0x18), 4);
	assert_int_equal(pread(device.memory_fd, stored, sizeof(stored), 0x18), 4);
	assert_memory_equal(stored, value, sizeof(value));
	/* One descriptor a message is too few for it. */
	device_restart_as(&device, &description, &peer, "\"max_msg_fds\":1,\"ringpass.io_fds\":true");
	assert_int_equal(ask_page(4096, 0, 0, 0), 0);
	assert_int_equal(word(12), 1);
	assert_int_equal(word(16), 1);
	assert_int_equal(place_at(0), 0x104);
	assert_int_equal(ask_page(4096, 0, 0, 2), EINVAL);
	/* And none at all: nothing. */
	device_restart_as(&device, &description, &peer, "\"max_msg_fds\":0,\"ringpass.io_fds\":true");
	assert_int_equal(ask_page(4096, 0, 0, 0), 0);
	assert_int_equal(word(16), 0);
}

/* Its eventfd would be the last that fits, its memory one too many. */
static void
test_shadow_that_fits_by_half_comes_with_the_next_page(void **state)
{
	struct device_description description;

	(void)state;
	places[15].has_shadow = true;
	places[15].shadow_fd = device.memory_fd;
	describe_queues(&description, 17);
	device_restart_as(&device, &description, &peer, ALL_OFFERED);
	assert_int_equal(ask_page(4096, 0, 0, 0), 0);
	assert_int_equal(word(12), 15);
	assert_int_equal(reply.fds_count, 15);
	assert_int_equal(ask_page(4096, 0, 0, 15), 0);
	assert_int_equal(word(12), 2);
	assert_int_equal(reply.fds_count, 3);
}

static void
assert_bad_shadow(uint64_t size_bytes, int fd, uint64_t offset_bytes)
{
	struct device_description description;
	struct rp_vfu_server *server = NULL;
	struct rp_wire_why why;

	places[0].has_shadow = true;
	places[0].size_bytes = size_bytes;
	places[0].shadow_fd = fd;
	places[0].shadow_offset_bytes = offset_bytes;
	describe_queues(&description, 1);
	assert_int_equal(rp_vfu_server_create(&description.config, &device_ops, &device, &server, &why), -EINVAL);
	assert_non_null(strstr(why.text, "regions[0]: io_fds[0]: "));
	assert_non_null(strstr(why.text, "shadow"));
}

static void
test_shadow_lies_in_its_file(void **state)
{
	(void)state;
	assert_bad_shadow(0, device.memory_fd, 0);
	assert_bad_shadow(3, device.memory_fd, 0);
	assert_bad_shadow(16, device.memory_fd, 0);
	assert_bad_shadow(4, device.memory_fd, 2);
	assert_bad_shadow(4, device.memory_fd, 0x3000);
	assert_bad_shadow(8, device.memory_fd, UINT64_MAX - 7);
	assert_bad_shadow(4, -1, 0);
	assert_bad_shadow(4, device.kick_fds[0], 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_io_fds_vectors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_io_fds_are_as_many_as_a_message_carries, setup, teardown),
		cmocka_unit_test_setup_teardown(test_places_may_share_an_eventfd, setup, teardown),
		cmocka_unit_test_setup_teardown(test_places_of_a_value, setup, teardown),
		cmocka_unit_test_setup_teardown(test_io_fds_page_vectors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_doorbell_is_reached_in_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_io_fds_page_refuses_what_breaks_a_rule, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shadow_is_offered_in_pages_only, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shadow_that_fits_by_half_comes_with_the_next_page, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_shadow_lies_in_its_file, setup, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user server: eventfds of regions", tests, NULL, NULL);
}
