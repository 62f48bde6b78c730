/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bytes.h"
#include "liar.h"
#include "rp_wire_fd.h"

static struct liar liar;
static struct rp_vfu_client *client;
static struct rp_wire_why why;

/* The whole answer to GET_REGION_IO_FDS: bytes, and two eventfds and a file to choose from. */
static struct {
	const uint8_t *payload;
	size_t payload_bytes;
	unsigned int fds_count;
	uint32_t error;
	int fds[3];
} said;

static bool
say(struct liar *l, const struct peer_msg *command)
{
	if (command->command != 6)
		return false;
	if (said.error != 0)
		liar_error(l, command, said.error);
	else
		liar_reply(l, command, said.payload, said.payload_bytes, said.fds, said.fds_count);
	return true;
}

static int
ask(const uint8_t *payload, size_t payload_bytes, unsigned int fds_count, uint64_t offset_bytes, uint64_t size_bytes)
{
	int fd = -1, kick = -1, rc;
	eventfd_t kicks = 0;

	said.payload = payload;
	said.payload_bytes = payload_bytes;
	said.fds_count = fds_count;
	client = liar_client(&liar, say);
	said.fds[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	said.fds[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	said.fds[2] = liar.file_fd;
	rc = rp_vfu_client_io_fd(client, 0, offset_bytes, size_bytes, &fd, &why);
	if (rc == 0) {
		assert_int_equal(eventfd_write(fd, 1), 0);
		kick = eventfd_read(said.fds[0], &kicks) == 0 ? 0 : eventfd_read(said.fds[1], &kicks) == 0 ? 1 : -1;
		rp_wire_fd_close(&fd);
	}
	assert_int_equal(fd, -1);
	rp_vfu_client_destroy(client);
	rp_wire_fd_close_all(said.fds, 2);
	liar_stop(&liar);
	return rc < 0 ? rc : kick;
}

#define HEAD(argsz, count) PLACES(argsz, 0, count)

static void
test_places(void **state)
{
	static const uint8_t list[] = {HEAD(216, 5),
				       PLACE(0x10, 4, 1, 1, 0),
				       PLACE(0x10, 4, 1, 0, 1),
				       PLACE(0x10, 4, 1, 0, 0),
				       PLACE(0x20, 0, 0, 0, 0),
				       PLACE(0x30, 2, 1, 0, 0)};
	static const uint8_t none[] = {HEAD(16, 0)};
	/* Entries of a later revision, 8 bytes longer. */
	static const uint8_t longer[] = {HEAD(112, 2), PLACE(0x10, 4, 0, 0, 0), U64(0), PLACE(0x20, 4, 1, 0, 0),
					 U64(0)};

	(void)state;
	assert_int_equal(ask(list, sizeof(list), 2, 0x10, 4), 1);
	assert_int_equal(ask(list, sizeof(list), 2, 0x20, 2), 0);
	assert_int_equal(ask(list, sizeof(list), 2, 0x30, 2), 1);
	assert_int_equal(ask(list, sizeof(list), 2, 0x30, 4), -ENOENT);
	assert_int_equal(ask(list, sizeof(list), 2, 0x40, 4), -ENOENT);
	assert_int_equal(ask(longer, sizeof(longer), 2, 0x20, 4), 1);
	assert_int_equal(ask(none, sizeof(none), 0, 0x10, 4), -ENOENT);
	assert_string_equal(why.text, "DEVICE_GET_REGION_IO_FDS: reply: region 0: no eventfd for 4 bytes at 0x10");
}

static void
test_server_without_the_command(void **state)
{
	(void)state;
	said.error = EOPNOTSUPP;
	assert_int_equal(ask(NULL, 0, 0, 0x10, 4), -ENOENT);
	said.error = EINVAL;
	assert_int_equal(ask(NULL, 0, 0, 0x10, 4), -EINVAL);
	said.error = 0;
}

static void
assert_lie(const uint8_t *payload, size_t payload_bytes, unsigned int fds_count, const char *words)
{
	assert_int_equal(ask(payload, payload_bytes, fds_count, 0x10, 4), -EBADMSG);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s' does not say '%s'", why.text, words);
}

#define LIE(fds_count, words, ...)                                                                                     \
	do {                                                                                                           \
		static const uint8_t bytes_[] = {__VA_ARGS__};                                                         \
		assert_lie(bytes_, sizeof(bytes_), fds_count, words);                                                  \
	} while (0)

static void
test_lies(void **state)
{
	(void)state;
	LIE(0, "payload: 12 bytes, expected 16", U32(12), U32(0), U32(0));
	LIE(1, "index: 3, asked for 0", U32(56), U32(0), U32(3), U32(1), PLACE(0x10, 4, 0, 0, 0));
	LIE(1, "argsz: 96, in a reply of 56 bytes", HEAD(96, 1), PLACE(0x10, 4, 0, 0, 0));
	LIE(1, "argsz: 40, expected at least 56", HEAD(40, 1), PLACE(0x10, 4, 0, 0, 0));
	LIE(1, "count: 2 places in 40 bytes", HEAD(56, 2), PLACE(0x10, 4, 0, 0, 0));
	LIE(1, "count: 4294967295 places in 40 bytes", HEAD(56, UINT32_MAX), PLACE(0x10, 4, 0, 0, 0));
	LIE(1, "count: 1 places in 0 bytes", HEAD(16, 1));
	LIE(1, "count: 2 places in 81 bytes", HEAD(97, 2), PLACE(0x10, 4, 0, 0, 0), PLACE(0x10, 4, 0, 0, 0), 0);
	LIE(1, "fd_index: 1 of 1 descriptors", HEAD(56, 1), PLACE(0x10, 4, 1, 0, 0));
	LIE(0, "fd_index: 0 of 0 descriptors", HEAD(56, 1), PLACE(0x10, 4, 0, 0, 0));
	LIE(2, "fd_index: 4294967295 of 2 descriptors", HEAD(56, 1), PLACE(0x10, 4, UINT32_MAX, 0, 0));
	LIE(3, "descriptor 2: not an eventfd", HEAD(56, 1), PLACE(0x10, 4, 2, 0, 0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_server_without_the_command),
		cmocka_unit_test(test_lies),
	};

	return cmocka_run_group_tests_name("vfio-user client: eventfds of places", tests, NULL, NULL);
}
