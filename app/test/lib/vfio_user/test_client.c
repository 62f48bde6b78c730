/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "liar.h"

/* Connecting, VERSION, and the end of it. */

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

static bool
check_offer(struct liar *l, const struct peer_msg *command)
{
	static const char text[] = "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576,"
				   "\"max_dma_maps\":65535,\"pgsizes\":9223372036854771712}}";
	static const uint8_t start[] = {HEADER(0, 1, 16 + 4 + sizeof(text), COMMAND, 0), U16(0), U16(1)};

	if (command->command != 1)
		return false;
	*(bool *)l->ctx = command->size_bytes == sizeof(start) + sizeof(text) &&
			  memcmp(command->bytes, start, sizeof(start)) == 0 &&
			  memcmp(command->payload + 4, text, sizeof(text)) == 0;
	return false;
}

static void
test_offer_vector(void **state)
{
	struct rp_vfu_client *client;
	bool as_written = false;

	(void)state;
	liar.ctx = &as_written;
	liar.lie_from_version = true;
	client = liar_client(&liar, check_offer);
	assert_true(rp_vfu_client_connected(client));
	assert_true(rp_vfu_client_fd(client) >= 0);
	assert_int_equal(rp_vfu_client_peer(client), getpid());
	assert_null(rp_vfu_client_destroy(client));
	assert_null(rp_vfu_client_destroy(NULL));
	liar_stop(&liar);
	assert_true(as_written);
}

static void
test_nobody_listens(void **state)
{
	const struct rp_vfu_client_config config = config_of(300);
	struct rp_vfu_client *client = NULL;
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(rp_vfu_client_create(&config, NULL, NULL, &client, &why), -ENOENT);
	assert_null(client);
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
	assert_create_fails(with_descriptors, -EBADMSG, "VERSION: reply: descriptors: 3, expected at most 0");
	assert_create_fails(too_many_descriptors, -ENOTCONN, "descriptors: ");
	assert_create_fails(no_header, -ENOTCONN, "header: size 3, expected at least 16");
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
		cmocka_unit_test(test_nobody_listens),
		cmocka_unit_test(test_servers_that_answer_version_badly),
		cmocka_unit_test(test_server_without_a_text_gets_the_defaults),
		cmocka_unit_test(test_server_that_takes_no_descriptors),
	};

	return cmocka_run_group_tests_name("vfio-user client", tests, NULL, NULL);
}
