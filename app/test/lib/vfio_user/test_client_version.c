/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rp_vfu_msg.h"
#include "script.h"

/* VERSION: what is offered, and every answer that can come. */

static struct liar liar;

static struct rp_vfu_client_config
config_of(uint32_t timeout_ms)
{
	return (struct rp_vfu_client_config){.socket_path = test_socket_path(), .timeout_ms = timeout_ms};
}

/* Create fails, with these words, and leaves nothing. */
static void
assert_create_fails(bool (*answer)(struct liar *l, const struct peer_msg *command), int error, const char *words)
{
	const struct rp_vfu_client_config config = config_of(300);
	struct rp_vfu_client *client = NULL;
	struct rp_wire_why why = {.text = ""};

	liar.lie_from_version = true;
	liar_start(&liar, answer);
	assert_int_equal(rp_vfu_client_create(&config, NULL, NULL, &client, &why), error);
	assert_null(client);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s' does not say '%s'", why.text, words);
	liar_stop(&liar);
}

#define BASE                                                                                                           \
	"\"max_msg_fds\":16,\"max_data_xfer_size\":1048576,\"max_dma_maps\":1048576,\"pgsizes\":9223372036854771712,"  \
	"\"write_multiple\":true"
#define MIGRATION ",\"migration\":{\"pgsize\":4096,\"max_bitmap_size\":268435456}"
#define OURS                                                                                                           \
	",\"ringpass.remap\":true,\"ringpass.serve\":true,\"ringpass.io_fds\":true,"                                   \
	"\"ringpass.window\":{\"size\":67108864},\"ringpass.access_multiple\":true"

/* What was offered, header included. */
static uint8_t offer[4096];
static size_t offer_bytes;

static bool
record_offer(struct liar *l, const struct peer_msg *command)
{
	(void)l;
	if (command->command != 1)
		return false;
	offer_bytes = command->size_bytes;
	memcpy(offer, command->bytes, offer_bytes < sizeof(offer) ? offer_bytes : sizeof(offer));
	return false;
}

static void
assert_offer(const struct rp_vfu_client_config *config, const char *capabilities)
{
	struct rp_vfu_client *client = NULL;
	struct rp_wire_why why;
	char text[1024];
	size_t text_bytes;

	snprintf(text, sizeof(text), "{\"capabilities\":{%s}}", capabilities);
	text_bytes = strlen(text) + 1;
	liar.lie_from_version = true;
	liar_start(&liar, record_offer);
	assert_int_equal(rp_vfu_client_create(config, NULL, NULL, &client, &why), 0);
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
	{
		const uint8_t start[] = {HEADER(0, 1, 16 + 4 + text_bytes, COMMAND, 0), U16(0), U16(1)};

		assert_memory_equal(offer, start, sizeof(start));
		assert_string_equal((const char *)offer + sizeof(start), text);
		assert_int_equal(offer_bytes, sizeof(start) + text_bytes);
	}
}

static void
test_offer_vector(void **state)
{
	struct rp_vfu_client_config config = config_of(2000);

	(void)state;
	assert_offer(&config, BASE MIGRATION OURS);
	/* Without ours it is the specification's, byte by byte. */
	config.specification_only = true;
	assert_offer(&config, BASE MIGRATION);
	config.twin_socket = true;
	assert_offer(&config, BASE ",\"twin_socket\":{\"supported\":true}" MIGRATION);
}

static void
test_offer_as_configured(void **state)
{
	struct rp_vfu_client_config config = config_of(2000);

	(void)state;
	config.max_data_xfer_bytes = 8192;
	config.max_msg_fds = 3;
	config.window_bytes = 65536;
	config.withheld_mask = 1u << RP_VFU_TERM_WRITE_MULTI | 1u << RP_VFU_TERM_MIG_PAGE_SIZE |
			       1u << RP_VFU_TERM_MIG_BITMAP_MAX | 1u << RP_VFU_TERM_REMAP |
			       1u << RP_VFU_TERM_ACCESS_MULTI;
	assert_offer(&config, "\"max_msg_fds\":3,\"max_data_xfer_size\":8192,\"max_dma_maps\":1048576,"
			      "\"pgsizes\":9223372036854771712,\"ringpass.serve\":true,\"ringpass.io_fds\":true,"
			      "\"ringpass.window\":{\"size\":65536}");
	config.specification_only = true;
	config.max_msg_fds = RP_VFU_CLIENT_NO_FDS;
	assert_offer(&config, "\"max_msg_fds\":0,\"max_data_xfer_size\":8192,\"max_dma_maps\":1048576,"
			      "\"pgsizes\":9223372036854771712");
}

static void
test_configurations_that_cannot_be(void **state)
{
	static const struct {
		uint32_t max_data_xfer_bytes, max_msg_fds, window_bytes;
		const char *words;
	} wrong[] = {
		{4095, 0, 0, "max_data_xfer_size: 4095"},
		{1048577, 0, 0, "max_data_xfer_size: 1048577"},
		{0, 17, 0, "max_msg_fds: 17"},
		{0, 0, 65535, "ringpass.window: size: 65535"},
		{0, 0, 67108865, "ringpass.window: size"},
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < 5; i++) {
		struct rp_vfu_client_config config = config_of(2000);
		struct rp_vfu_client *client = NULL;
		struct rp_wire_why why;

		config.max_data_xfer_bytes = wrong[i].max_data_xfer_bytes;
		config.max_msg_fds = wrong[i].max_msg_fds;
		config.window_bytes = wrong[i].window_bytes;
		liar_start(&liar, NULL);
		assert_int_equal(rp_vfu_client_create(&config, NULL, NULL, &client, &why), -EINVAL);
		assert_non_null(strstr(why.text, wrong[i].words));
		assert_int_equal(liar_stop(&liar), 0);
	}
}

static bool
refuse(struct liar *l, const struct peer_msg *command)
{
	liar_error(l, command, ENOSYS);
	return true;
}

static bool
hang_up(struct liar *l, const struct peer_msg *command)
{
	(void)command;
	peer_close(&l->peer);
	return true;
}

static bool
silence(struct liar *l, const struct peer_msg *command)
{
	(void)l;
	(void)command;
	return true;
}

static bool
other_major(struct liar *l, const struct peer_msg *command)
{
	static const uint8_t version[] = {U16(1), U16(0), '{', '}', 0};

	liar_reply(l, command, version, sizeof(version), NULL, 0);
	return true;
}

static bool
higher_minor(struct liar *l, const struct peer_msg *command)
{
	static const uint8_t version[] = {U16(0), U16(2), '{', '}', 0};

	liar_reply(l, command, version, sizeof(version), NULL, 0);
	return true;
}

static bool
no_nul(struct liar *l, const struct peer_msg *command)
{
	static const uint8_t version[] = {U16(0), U16(1), '{', '}'};

	liar_reply(l, command, version, sizeof(version), NULL, 0);
	return true;
}

static bool
below_the_floor(struct liar *l, const struct peer_msg *command)
{
	static const uint8_t version[] = {U16(0), U16(1), '{', '"', 'c', 'a', 'p', 'a', 'b', 'i', 'l',
					  'i',	  't',	  'i', 'e', 's', '"', ':', '{', '"', 'p', 'g',
					  's',	  'i',	  'z', 'e', 's', '"', ':', '0', '}', '}', 0};

	liar_reply(l, command, version, sizeof(version), NULL, 0);
	return true;
}

static bool
too_long(struct liar *l, const struct peer_msg *command)
{
	static uint8_t version[4 + 4096 + 1];

	memset(version, ' ', sizeof(version));
	memset(version, 0, 4);
	version[sizeof(version) - 1] = 0;
	liar_reply(l, command, version, sizeof(version), NULL, 0);
	return true;
}

static bool
with_descriptors(struct liar *l, const struct peer_msg *command)
{
	static const uint8_t version[] = {U16(0), U16(1), '{', '}', 0};
	const int fds[] = {l->file_fd, l->file_fd, l->file_fd};

	liar_reply(l, command, version, sizeof(version), fds, 3);
	return true;
}

static bool
too_many_descriptors(struct liar *l, const struct peer_msg *command)
{
	static const uint8_t version[] = {U16(0), U16(1), '{', '}', 0};
	int fds[17];
	unsigned int i;

	for (i = 0; i < 17; i++)
		fds[i] = l->file_fd;
	liar_reply(l, command, version, sizeof(version), fds, 17);
	return true;
}

static bool
no_header(struct liar *l, const struct peer_msg *command)
{
	static const uint8_t junk[] = {HEADER(0, 1, 3, REPLY, 0)};

	(void)command;
	(void)peer_send(&l->peer, junk, sizeof(junk), NULL, 0);
	return true;
}

static void
test_servers_that_answer_version_badly(void **state)
{
	(void)state;
	assert_create_fails(refuse, -ENOSYS, "VERSION: the server refused: error 38");
	assert_create_fails(hang_up, -ENOTCONN, "peer left");
	assert_create_fails(silence, -ETIMEDOUT, "VERSION: no reply within 300 ms");
	assert_create_fails(other_major, -EBADMSG, "VERSION: reply: 1.0, expected 0.1 or a lower minor");
	assert_create_fails(higher_minor, -EBADMSG, "VERSION: reply: 0.2, expected 0.1");
	assert_create_fails(no_nul, -EBADMSG, "VERSION: reply: version data: expected one NUL, at its end");
	assert_create_fails(below_the_floor, -EBADMSG, "VERSION: reply: pgsizes: 0 leaves 0, expected at least 1");
	assert_create_fails(too_long, -EBADMSG, "VERSION: reply: payload: 4101 bytes, expected 4 to 4100");
	assert_create_fails(with_descriptors, -EBADMSG, "VERSION: reply: descriptors: 3, expected at most 2");
	assert_create_fails(too_many_descriptors, -ENOTCONN, "descriptors: ");
	assert_create_fails(no_header, -ENOTCONN, "header: size 3, expected at least 16");
}

/* What an answer says and brings: the twin is one end of a pair, the window a memfd. */
static struct {
	const char *capabilities;
	int fds[2];
	unsigned int fds_count;
} bringing;

static bool
bring(struct liar *l, const struct peer_msg *command)
{
	if (command->command != 1)
		return false;
	script_version(l, command, bringing.capabilities, bringing.fds, bringing.fds_count);
	return true;
}

static void
assert_brings(const char *capabilities, int fd0, int fd1, int error, const char *words)
{
	struct rp_vfu_client_config config = config_of(5000);
	struct rp_vfu_client *client = NULL;
	struct rp_wire_why why = {.text = ""};

	bringing.capabilities = capabilities;
	bringing.fds[0] = fd0;
	bringing.fds[1] = fd1;
	bringing.fds_count = (fd0 >= 0 ? 1u : 0u) + (fd1 >= 0 ? 1u : 0u);
	config.twin_socket = true;
	liar.lie_from_version = true;
	liar_start(&liar, bring);
	assert_int_equal(rp_vfu_client_create(&config, NULL, NULL, &client, &why), error);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s' does not say '%s'", why.text, words);
	if (error == 0)
		assert_int_equal(rp_vfu_client_reset(client, &why), 0);
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

#define TWIN(index) "\"twin_socket\":{\"supported\":true,\"fd_index\":" #index "}"
#define WINDOW(size, index) "\"ringpass.window\":{\"size\":" #size ",\"fd_index\":" #index "}"

static void
test_descriptors_of_the_answer(void **state)
{
	int pair[2], window, open_window, event, lone;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	window = test_memfd(65536, true);
	open_window = test_memfd(65536, false);
	event = eventfd(0, EFD_CLOEXEC);
	lone = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_brings(TWIN(0), pair[0], -1, 0, "");
	assert_brings(WINDOW(65536, 0), window, -1, 0, "");
	assert_brings(TWIN(1) "," WINDOW(65536, 0), window, pair[0], 0, "");
	/* It may say no. */
	assert_brings("\"twin_socket\":{\"supported\":false}", -1, -1, 0, "");
	/* A window that is too small to be of use is none; then its descriptor has no place. */
	assert_brings(WINDOW(65535, 0), window, -1, -EBADMSG, "descriptors: 1, expected 0");
	assert_brings("\"max_msg_fds\":8", window, -1, -EBADMSG, "descriptors: 1, expected 0");
	assert_brings(TWIN(0), pair[0], window, -EBADMSG, "descriptors: 2, expected 1");
	assert_brings("\"twin_socket\":{\"supported\":true}", pair[0], -1, -EBADMSG, "twin_socket: fd_index: not said");
	assert_brings(TWIN(1), pair[0], -1, -EBADMSG, "twin_socket: fd_index: 1 of 1 descriptors");
	assert_brings(TWIN(0), -1, -1, -EBADMSG, "twin_socket: fd_index: 0 of 0 descriptors");
	assert_brings(TWIN(0), event, -1, -EBADMSG, "twin_socket: not a connected Unix stream socket");
	assert_brings(TWIN(0), lone, -1, -EBADMSG, "twin_socket: not a connected Unix stream socket");
	assert_brings(TWIN(0) "," WINDOW(65536, 0), pair[0], window, -EBADMSG, "which is the twin socket's");
	assert_brings("\"ringpass.window\":{\"size\":65536}", window, -1, -EBADMSG, "fd_index: not said");
	assert_brings(WINDOW(65536, 1), window, -1, -EBADMSG, "ringpass.window: fd_index: 1 of 1");
	assert_brings(WINDOW(65536, 0), open_window, -1, -EBADMSG, "not sealed against shrinking");
	assert_brings(WINDOW(65537, 0), window, -1, -EBADMSG, "a file of 65536 bytes, expected 65537");
	assert_brings(WINDOW(9223372036854775807, 0), window, -1, -EBADMSG, "expected 67108864");
	assert_brings(WINDOW(65536, 0), pair[0], -1, -EBADMSG, "ringpass.window: not a memfd");
	assert_brings(WINDOW(65536, 0), event, -1, -EBADMSG, "ringpass.window: not a memfd");
	close(pair[0]);
	close(pair[1]);
	close(window);
	close(open_window);
	close(event);
	close(lone);
}

/* Every byte of a session but VERSION. */
static struct {
	uint8_t bytes[16384];
	size_t bytes_count;
	bool ours; /* a command of ours was among them */
} session;

static bool
record_session(struct liar *l, const struct peer_msg *command)
{
	(void)l;
	if (command->command == 1)
		return false;
	session.ours = session.ours || command->command >= 0x5200;
	if (command->size_bytes <= sizeof(session.bytes) - session.bytes_count) {
		memcpy(session.bytes + session.bytes_count, command->bytes, command->size_bytes);
		session.bytes_count += command->size_bytes;
	}
	return false;
}

static void
run_session(bool specification_only)
{
	struct rp_vfu_client_config config = config_of(5000);
	struct rp_vfu_client_memory memory = {.iova = 0x1000, .size_bytes = 0x1000, .access_mask = 3};
	struct rp_vfu_client *client = NULL;
	struct rp_vfu_client_region region;
	struct rp_vfu_client_place places[2];
	uint32_t count, flags, word = 0, i;
	unsigned int places_count = 0;
	uint64_t bits;

	session.bytes_count = 0;
	config.specification_only = specification_only;
	liar.lie_from_version = true;
	liar_start(&liar, record_session);
	assert_int_equal(rp_vfu_client_create(&config, NULL, NULL, &client, NULL), 0);
	memory.fd = liar.file_fd;
	for (i = 0; i < 9; i++)
		assert_int_equal(rp_vfu_client_region_info(client, i, &region, NULL), 0);
	assert_int_equal(rp_vfu_client_irq_info(client, 2, &count, &flags, NULL), 0);
	assert_int_equal(rp_vfu_client_dma_map_memory(client, &memory, NULL), 0);
	assert_int_equal(rp_vfu_client_region_read(client, 0, 0, 4, &word, NULL), 0);
	assert_int_equal(rp_vfu_client_region_write(client, 0, 0, 4, &word, NULL), 0);
	assert_int_equal(rp_vfu_client_region_write_post(client, 0, 0, 4, &word, NULL), 0);
	assert_int_equal(rp_vfu_client_irq_set(client, 2, 0, -1, NULL), 0);
	assert_int_equal(rp_vfu_client_dma_remap(client, &memory, NULL), -ENOTSUP);
	/* This server answers these with nothing, which is no answer. */
	(void)rp_vfu_client_places(client, 0, places, 2, &places_count, NULL);
	(void)rp_vfu_client_feature_probe(client, 8, 0, NULL);
	(void)rp_vfu_client_dma_unmap_dirty(client, 0x1000, 0x1000, 4096, &bits, NULL);
	assert_int_equal(rp_vfu_client_dma_unmap(client, 0x1000, 0x1000, NULL), 0);
	assert_int_equal(rp_vfu_client_reset(client, NULL), 0);
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

/* With a server that knows nothing of ours, what we offered makes no difference from VERSION on. */
static void
test_session_without_ours_is_the_specifications(void **state)
{
	static uint8_t first[sizeof(session.bytes)];
	size_t first_count;

	(void)state;
	session.ours = false;
	run_session(true);
	first_count = session.bytes_count;
	memcpy(first, session.bytes, first_count);
	run_session(false);
	assert_in_range(first_count, 500, sizeof(first) - 1);
	assert_int_equal(session.bytes_count, first_count);
	assert_memory_equal(session.bytes, first, first_count);
	assert_false(session.ours);
}

static bool
without_a_text(struct liar *l, const struct peer_msg *command)
{
	static const uint8_t version[] = {U16(0), U16(0)};

	if (command->command != 1)
		return false;
	liar_reply(l, command, version, sizeof(version), NULL, 0);
	return true;
}

static void
test_server_without_a_text_gets_the_defaults(void **state)
{
	struct rp_vfu_client *client;
	struct rp_wire_why why;

	(void)state;
	liar.lie_from_version = true;
	client = liar_client(&liar, without_a_text);
	assert_int_equal(rp_vfu_client_dma_map(client, 0, 0x1000, liar.file_fd, 0, RP_VFU_DMA_MAP_READ_MASK, &why), 0);
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

static bool
takes_no_descriptors(struct liar *l, const struct peer_msg *command)
{
	static const uint8_t version[] = {U16(0), U16(1), '{', '"', 'c', 'a', 'p', 'a', 'b', 'i', 'l', 'i', 't',
					  'i',	  'e',	  's', '"', ':', '{', '"', 'm', 'a', 'x', '_', 'm', 's',
					  'g',	  '_',	  'f', 'd', 's', '"', ':', '0', '}', '}', 0};

	if (command->command != 1)
		return false;
	liar_reply(l, command, version, sizeof(version), NULL, 0);
	return true;
}

static void
test_server_that_takes_no_descriptors(void **state)
{
	struct rp_vfu_client *client;
	struct rp_wire_why why;

	(void)state;
	liar.lie_from_version = true;
	client = liar_client(&liar, takes_no_descriptors);
	assert_int_equal(rp_vfu_client_dma_map(client, 0, 0x1000, liar.file_fd, 0, 1, &why), -ENOTSUP);
	assert_string_equal(why.text, "DMA_MAP: the server takes no descriptors");
	assert_int_equal(rp_vfu_client_dma_map(client, 0, 0x1000, -1, 0, 1, &why), 0);
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_offer_vector),
		cmocka_unit_test(test_offer_as_configured),
		cmocka_unit_test(test_configurations_that_cannot_be),
		cmocka_unit_test(test_servers_that_answer_version_badly),
		cmocka_unit_test(test_descriptors_of_the_answer),
		cmocka_unit_test(test_session_without_ours_is_the_specifications),
		cmocka_unit_test(test_server_without_a_text_gets_the_defaults),
		cmocka_unit_test(test_server_that_takes_no_descriptors),
	};

	return cmocka_run_group_tests_name("vfio-user client: VERSION", tests, NULL, NULL);
}
