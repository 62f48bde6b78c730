/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "script.h"

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
ask_for(const uint8_t *payload, size_t payload_bytes, unsigned int fds_count, uint64_t offset_bytes,
	uint64_t size_bytes, uint64_t value)
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
	rc = rp_vfu_client_io_fd(client, 0, offset_bytes, size_bytes, value, &fd, &why);
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

static int
ask(const uint8_t *payload, size_t payload_bytes, unsigned int fds_count, uint64_t offset_bytes, uint64_t size_bytes)
{
	return ask_for(payload, payload_bytes, fds_count, offset_bytes, size_bytes, 9);
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

#define VALUE_PLACE(offset, size, index, flags, value)                                                                 \
	U64(offset), U64(size), U32(index), U32(0), U32(flags), U32(0), U64(value)

/* Queues at one address, with an eventfd for each. */
static void
test_places_of_a_value(void **state)
{
	static const uint8_t list[] = {HEAD(136, 3), VALUE_PLACE(0x10, 2, 0, 1, 6), VALUE_PLACE(0x10, 2, 1, 1, 7),
				       VALUE_PLACE(0x20, 2, 1, 0, 7)};
	static const uint8_t port[] = {HEAD(56, 1), VALUE_PLACE(0x10, 2, 0, 3, 6)};

	(void)state;
	assert_int_equal(ask_for(list, sizeof(list), 2, 0x10, 2, 6), 0);
	assert_int_equal(ask_for(list, sizeof(list), 2, 0x10, 2, 7), 1);
	assert_int_equal(ask_for(list, sizeof(list), 2, 0x10, 2, 8), -ENOENT);
	/* What stands for any value says nothing with that field. */
	assert_int_equal(ask_for(list, sizeof(list), 2, 0x20, 2, 8), 1);
	assert_int_equal(ask_for(port, sizeof(port), 1, 0x10, 2, 6), -ENOENT);
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

/* Places in pages of two: each page brings the descriptors of its own entries. */
static struct {
	uint32_t total, count, index; /* what is said; count 0: two, or what is left */
	uint32_t first_seen[8];
	unsigned int pages;
	bool endless; /* pages without a place */
	bool shadow; /* of type 2 */
	uint64_t offset_bytes; /* of the first place, then 16 apart */
	uint64_t shadow_offset_bytes;
	int fds[2];
} paged;

static bool
say_page(struct liar *l, const struct peer_msg *command)
{
	uint8_t payload[24 + 80];
	uint32_t first, count, i;

	if (command->command == 1) {
		script_version(l, command, "\"ringpass.io_fds\":true,\"max_msg_fds\":2", NULL, 0);
		return true;
	}
	if (command->command != 0x5204)
		return false;
	memcpy(&first, command->payload + 12, 4);
	if (paged.pages < 8)
		paged.first_seen[paged.pages] = first;
	paged.pages++;
	count = paged.count != 0 ? paged.count : paged.total - first < 2 ? paged.total - first : 2;
	if (paged.endless)
		count = 0;
	memcpy(payload,
	       (const uint8_t[]){U32(24 + 40 * count), U32(0), U32(paged.index), U32(count), U32(paged.total), U32(0)},
	       24);
	for (i = 0; i < count && i < 2; i++) {
		uint64_t at = paged.offset_bytes + (first + i) * 16;
		const uint8_t plain[] = {PLACE(at, 4, i, 0, 0)};
		const uint8_t shadow[] = {
			U64(at), U64(4), U32(0), U32(2), U32(0), U32(1), U64(paged.shadow_offset_bytes)};

		memcpy(payload + 24 + (size_t)i * 40, paged.shadow ? shadow : plain, 40);
	}
	paged.fds[1] = paged.shadow ? l->file_fd : paged.fds[0];
	liar_reply(l, command, payload, 24 + 40 * (size_t)count, paged.fds, 2);
	return true;
}

static int
places_of(struct rp_vfu_client_place *places, unsigned int room, unsigned int *count)
{
	int rc;

	paged.pages = 0;
	paged.fds[0] = eventfd(0, EFD_CLOEXEC);
	liar.lie_from_version = true;
	client = liar_client(&liar, say_page);
	rc = rp_vfu_client_places(client, 0, places, room, count, &why);
	rp_vfu_client_destroy(client);
	if (rc == 0) {
		unsigned int i;

		for (i = 0; i < *count; i++)
			assert_int_equal(eventfd_write(places[i].fd, 1), 0);
		rp_vfu_client_places_close(places, *count);
	}
	liar_stop(&liar);
	rp_wire_fd_close(&paged.fds[0]);
	return rc;
}

static void
test_places_come_in_pages(void **state)
{
	struct rp_vfu_client_place places[8];
	unsigned int count = 0;

	(void)state;
	memset(&paged, 0, sizeof(paged));
	paged.total = 5;
	assert_int_equal(places_of(places, 8, &count), 0);
	assert_int_equal(count, 5);
	assert_int_equal(paged.pages, 3);
	assert_int_equal(paged.first_seen[2], 4);
	assert_int_equal(places[4].offset_bytes, 64);
	assert_int_equal(places[4].shadow_fd, -1);
	/* As many as there is room for. */
	assert_int_equal(places_of(places, 3, &count), 0);
	assert_int_equal(count, 3);
	paged.total = 0;
	assert_int_equal(places_of(places, 8, &count), 0);
	assert_int_equal(count, 0);
	assert_int_equal(paged.pages, 1);
	paged.total = 2;
	paged.shadow = true;
	paged.shadow_offset_bytes = 0xfffc;
	assert_int_equal(places_of(places, 1, &count), 0);
	assert_int_equal(places[0].type, RP_VFU_IO_FD_TYPE_SHADOW);
	assert_int_equal(places[0].shadow_offset_bytes, 0xfffc);
}

static void
test_one_place_of_many_pages(void **state)
{
	int fd = -1;

	(void)state;
	memset(&paged, 0, sizeof(paged));
	paged.total = 5;
	paged.fds[0] = eventfd(0, EFD_CLOEXEC);
	liar.lie_from_version = true;
	client = liar_client(&liar, say_page);
	assert_int_equal(rp_vfu_client_io_fd(client, 0, 64, 4, 0, &fd, &why), 0);
	assert_int_equal(eventfd_write(fd, 1), 0);
	rp_wire_fd_close(&fd);
	assert_int_equal(rp_vfu_client_io_fd(client, 0, 80, 4, 0, &fd, &why), -ENOENT);
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
	rp_wire_fd_close(&paged.fds[0]);
}

static void
assert_paged_lie(const char *words)
{
	struct rp_vfu_client_place places[8];
	unsigned int count = 77;

	assert_int_equal(places_of(places, 8, &count), -EBADMSG);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s' does not say '%s'", why.text, words);
	assert_int_equal(count, 77);
}

static void
test_lies_about_pages(void **state)
{
	(void)state;
	memset(&paged, 0, sizeof(paged));
	paged.total = 3;
	paged.endless = true;
	assert_paged_lie("count: 0 places from 0 of 3");
	paged.endless = false;
	paged.total = 1;
	paged.count = 2;
	assert_paged_lie("count: 2 places from 0 of 1");
	paged.count = 0;
	paged.total = 1025;
	assert_paged_lie("total: 1025 places, expected at most 1024");
	paged.total = 3;
	paged.index = 1;
	assert_paged_lie("index: 1, asked for 0");
	paged.index = 0;
	/* The registers end at 0x1000; the second page leaves them. */
	paged.offset_bytes = 0xfe0;
	assert_paged_lie("4 bytes at 0x1000 leave the region");
	paged.offset_bytes = UINT64_MAX - 2;
	assert_paged_lie("leave the region");
	paged.offset_bytes = 0;
	paged.shadow = true;
	paged.shadow_offset_bytes = 0xfffd;
	assert_paged_lie("a file of 65536 bytes, and a value at 65533");
	paged.shadow_offset_bytes = UINT64_MAX;
	assert_paged_lie("a file of 65536 bytes");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_places_of_a_value),
		cmocka_unit_test(test_server_without_the_command),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_places_come_in_pages),
		cmocka_unit_test(test_one_place_of_many_pages),
		cmocka_unit_test(test_lies_about_pages),
	};

	return cmocka_run_group_tests_name("vfio-user client: eventfds of places", tests, NULL, NULL);
}
