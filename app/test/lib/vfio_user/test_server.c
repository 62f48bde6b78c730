/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "device.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"

/* Clients that come and go, and clients that do not read. */

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

static void
write_register(struct peer *to, uint64_t offset_bytes, uint32_t value)
{
	const uint8_t payload[] = {U64(offset_bytes), U32(0), U32(4), U32(value)};

	assert_int_equal(device_ask(to, 10, payload, sizeof(payload), NULL, 0, &reply), 0);
}

static uint32_t
read_register(struct peer *from, uint64_t offset_bytes)
{
	const uint8_t payload[] = {U64(offset_bytes), U32(0), U32(4)};
	uint32_t value;

	assert_int_equal(device_ask(from, 9, payload, sizeof(payload), NULL, 0, &reply), 0);
	memcpy(&value, reply.payload + 16, sizeof(value));
	return value;
}

/* Memory with and without a file, and an interrupt. */
static void
give_resources(struct peer *to)
{
	static const uint8_t map_file[] = {U32(32), U32(3), U64(0), U64(0x1000), U64(0x1000)};
	static const uint8_t map_messages[] = {U32(32), U32(3), U64(0), U64(0x8000), U64(0x1000)};
	static const uint8_t set_irqs[] = {U32(20), U32(0x24), U32(2), U32(5), U32(1)};
	int fd = test_memfd(0x1000, false);
	int event = eventfd(0, EFD_CLOEXEC);

	assert_int_equal(device_ask(to, 2, map_file, sizeof(map_file), &fd, 1, &reply), 0);
	assert_int_equal(device_ask(to, 2, map_messages, sizeof(map_messages), NULL, 0, &reply), 0);
	assert_int_equal(device_ask(to, 8, set_irqs, sizeof(set_irqs), &event, 1, &reply), 0);
	close(fd);
	close(event);
	assert_true(device.irq_fds[2][5] >= 0);
	assert_int_equal(rp_dma_space_count(rp_vfu_server_dma(device.server)), 2);
}

static void
assert_nothing_left(void)
{
	assert_int_equal(device.irq_fds[2][5], -1);
	assert_int_equal(rp_vfu_server_irq_fd(device.server, 2, 5), -1);
	assert_int_equal(rp_dma_space_count(rp_vfu_server_dma(device.server)), 0);
}

static void
test_client_that_leaves_takes_its_things_with_it(void **state)
{
	struct test_leaks connected;

	(void)state;
	test_leaks_read(&connected);
	give_resources(&peer);
	device_hang_up(&device, &peer);
	assert_nothing_left();
	assert_int_equal(device.disconnects, 1);
	assert_string_equal(device.last_disconnect.text, "peer left");
	/* The peer's end and the server's. */
	connected.fds_count -= 2;
	test_leaks_assert_none(&connected);
}

static void
test_next_client_finds_the_device_as_it_was(void **state)
{
	unsigned int client;

	(void)state;
	for (client = 1; client < 10; client++) {
		assert_int_equal(read_register(&peer, 0x40), client == 1 ? 0 : client);
		write_register(&peer, 0x40, client + 1);
		give_resources(&peer);
		device_hang_up(&device, &peer);
		assert_nothing_left();
		assert_int_equal(device.disconnects, client);
		device_connect(&device, &peer);
		device_negotiate(&peer);
	}
	assert_int_equal(device.resets, 0);
}

static void
test_disconnect_in_the_middle_of_a_message(void **state)
{
	static const uint8_t map[] = {HEADER(1, 2, 48, COMMAND, 0), U32(32), U32(3), U64(0), U64(0x1000), U64(0x1000)};
	size_t cut;

	(void)state;
	for (cut = 1; cut < sizeof(map); cut++) {
		int fd = test_memfd(0x1000, false);

		give_resources(&peer);
		assert_true(peer_send(&peer, map, cut, &fd, 1));
		close(fd);
		device_turn(&device);
		device_hang_up(&device, &peer);
		assert_nothing_left();
		assert_string_equal(device.last_disconnect.text, "peer left in the middle of a message");
		device_connect(&device, &peer);
		device_negotiate(&peer);
	}
}

static void
test_second_client_is_turned_away(void **state)
{
	struct peer second;

	(void)state;
	device_connect(&device, &second);
	assert_false(peer_receive(&second, &reply));
	peer_close(&second);
	assert_int_equal(device.last_refusal.error, -EBUSY);
	write_register(&peer, 0, 1);
	assert_int_equal(device.disconnects, 0);
}

/* Whatever of what it has sent was read: an error of its connection's is nothing that it did. */
static void
test_who_is_turned_away_finds_an_end(void **state)
{
	static const uint8_t reset[] = {HEADER(1, 13, 16, COMMAND, 0)};
	int second = -1;
	char byte;

	(void)state;
	assert_int_equal(rp_wire_socket_connect(test_socket_path(), &second, NULL), 0);
	assert_int_equal(send(second, reset, sizeof(reset), MSG_NOSIGNAL), sizeof(reset));
	device_turn(&device);
	assert_int_equal(device.last_refusal.error, -EBUSY);
	assert_int_equal(recv(second, &byte, 1, MSG_DONTWAIT), 0);
	rp_wire_fd_close(&second);
	assert_int_equal(send(peer.fd, reset, sizeof(reset), MSG_NOSIGNAL), sizeof(reset));
	device.server = rp_vfu_server_destroy(device.server);
	assert_int_equal(recv(peer.fd, &byte, 1, MSG_DONTWAIT), 0);
}

static void
test_successor_waits_for_a_client_that_is_leaving(void **state)
{
	static const uint8_t reset[] = {HEADER(1, 13, 16, NO_REPLY, 0)};
	struct peer second = {.turn = device_turn, .ctx = &device};
	unsigned int i;

	(void)state;
	give_resources(&peer);
	/* It posts more than a turn's worth of work. All of it, and the successor, comes before the server looks. */
	for (i = 0; i < 150; i++)
		assert_int_equal(send(peer.fd, reset, sizeof(reset), MSG_DONTWAIT), sizeof(reset));
	peer_close(&peer);
	peer_connect(&second, test_socket_path());
	device_negotiate(&second);
	assert_int_equal(device.disconnects, 1);
	assert_int_equal(device.connects, 2);
	assert_int_equal(device.resets, 150);
	assert_nothing_left();
	peer_close(&second);
}

static void
test_client_that_leaves_before_its_replies(void **state)
{
	static const uint8_t reset[] = {HEADER(1, 13, 16, COMMAND, 0)};
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++)
		assert_true(peer_send(&peer, reset, sizeof(reset), NULL, 0));
	device_hang_up(&device, &peer);
	/* What it had sent may be carried out, or not: answers to commands that came together leave together. */
	assert_in_range(device.resets, 1, 3);
	assert_int_equal(device.disconnects, 1);
	assert_non_null(strstr(device.last_disconnect.text, "peer left before its repl"));
}

static void
test_client_without_version_is_no_client(void **state)
{
	(void)state;
	device_hang_up(&device, &peer);
	device_connect(&device, &peer);
	assert_false(rp_vfu_server_connected(device.server));
	device_hang_up(&device, &peer);
	assert_int_equal(device.connects, 1);
	assert_int_equal(device.disconnects, 1);
	assert_string_equal(device.last_refusal.text, "client without a session: peer left");
}

static void
test_lost_framing_closes(void **state)
{
	static const uint8_t headers[][16] = {
		{HEADER(1, 13, 15, COMMAND, 0)},
		{HEADER(1, 13, 0, COMMAND, 0)},
		{HEADER(1, 13, 0xffffffff, COMMAND, 0)},
		{HEADER(1, 13, 16, 0x2, 0)},
		{HEADER(1, 13, 16, 0xf, 0)},
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < 5; i++) {
		give_resources(&peer);
		assert_true(peer_send(&peer, headers[i], 16, NULL, 0));
		assert_false(peer_receive(&peer, &reply));
		assert_int_equal(device.last_disconnect.error, -EPROTO);
		assert_nothing_left();
		peer_close(&peer);
		device_connect(&device, &peer);
		device_negotiate(&peer);
	}
	assert_int_equal(device.resets, 0);
}

/* Fill both sockets with commands whose replies nobody reads, then read them all. */
static void
test_many_commands_at_full_socket_buffers(void **state)
{
	const uint32_t data_bytes = 2048;
	const uint8_t read[] = {HEADER(0, 9, 32, COMMAND, 0), U64(0), U32(0), U32(2048)};
	uint8_t command[sizeof(read)];
	uint16_t sent = 0, received = 0;

	(void)state;
	memcpy(command, read, sizeof(read));
	memset(device.registers, 0xa5, sizeof(device.registers));
	/* The server stops taking commands when its replies back up; then the peer's sends do. */
	for (;;) {
		memcpy(command, &sent, 2);
		if (send(peer.fd, command, sizeof(command), MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof(command))
			break;
		sent++;
		device_turn(&device);
		assert_true(sent < 60000);
	}
	assert_true(sent > 64);
	for (; received < sent; received++) {
		assert_true(peer_receive(&peer, &reply));
		assert_int_equal(reply.id, received);
		assert_int_equal(reply.flags, REPLY);
		assert_int_equal(reply.payload_bytes, 16 + data_bytes);
		assert_int_equal(reply.payload[16 + data_bytes - 1], 0xa5);
	}
	assert_true(peer_is_silent(&peer));
	assert_int_equal(device.refusals, 0);
}

static void
test_waiting_reply_does_not_spin(void **state)
{
	static const uint8_t read[] = {HEADER(1, 9, 32, COMMAND, 0), U64(0), U32(0), U32(4096)};
	struct pollfd server = {.fd = rp_vfu_server_fd(device.server), .events = POLLIN};
	unsigned int i;

	(void)state;
	for (i = 0; i < 4096 && send(peer.fd, read, sizeof(read), MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(read); i++)
		device_turn(&device);
	device_turn(&device);
	/* Commands lie in the socket, but there is nothing to be done until the client reads. */
	assert_int_equal(poll(&server, 1, 0), 0);
	peer.turn = NULL;
	assert_true(peer_receive(&peer, &reply));
	peer.turn = device_turn;
	while (poll(&server, 1, 0) == 0)
		assert_true(peer_receive(&peer, &reply));
	/* It leaves with replies unread. */
	peer_close(&peer);
	for (i = 0; i < 4096 && device.disconnects == 0; i++)
		device_turn(&device);
	assert_int_equal(device.disconnects, 1);
}

static void
test_destroy_ends_a_client(void **state)
{
	struct stat st;

	(void)state;
	give_resources(&peer);
	device.server = rp_vfu_server_destroy(device.server);
	assert_int_equal(device.disconnects, 1);
	assert_int_equal(device.irq_fds[2][5], -1);
	assert_int_equal(stat(test_socket_path(), &st), -1);
	peer.turn = NULL;
	assert_false(peer_receive(&peer, &reply));
	assert_null(rp_vfu_server_destroy(NULL));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_client_that_leaves_takes_its_things_with_it, setup, teardown),
		cmocka_unit_test_setup_teardown(test_next_client_finds_the_device_as_it_was, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disconnect_in_the_middle_of_a_message, setup, teardown),
		cmocka_unit_test_setup_teardown(test_second_client_is_turned_away, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who_is_turned_away_finds_an_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_successor_waits_for_a_client_that_is_leaving, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_that_leaves_before_its_replies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_without_version_is_no_client, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lost_framing_closes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_commands_at_full_socket_buffers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_waiting_reply_does_not_spin, setup, teardown),
		cmocka_unit_test_setup_teardown(test_destroy_ends_a_client, setup, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user server", tests, NULL, NULL);
}
