/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bytes.h"
#include "liar.h"

void
liar_reply(struct liar *liar, const struct peer_msg *command, const void *payload, size_t payload_bytes, const int *fds,
	   unsigned int fds_count)
{
	(void)peer_command(&liar->peer, command->id, command->command, REPLY, payload, payload_bytes, fds, fds_count);
}

void
liar_error(struct liar *liar, const struct peer_msg *command, uint32_t error)
{
	const uint8_t reply[] = {HEADER(command->id, command->command, 16, ERROR_REPLY, error)};

	(void)peer_send(&liar->peer, reply, sizeof(reply), NULL, 0);
}

static void
honest_region_info(struct liar *liar, const struct peer_msg *command)
{
	static const uint8_t registers[] = {U32(32), U32(3), U32(0), U32(0), U64(0x1000), U64(0)};
	static const uint8_t config[] = {U32(32), U32(3), U32(7), U32(0), U64(256), U64(0)};
	static const uint8_t memory[] = {U32(32), U32(7), U32(4), U32(0), U64(0x2000), U64(0x1000)};
	static const uint8_t sparse[] = {REGION(80, 0xf, 2, 32, 0x10000, 0), SPARSE(2), AREA(0x1000, 0x1000),
					 AREA(0x4000, 0x2000)};
	uint32_t index;

	memcpy(&index, command->payload + 8, sizeof(index));
	if (index == 0) {
		liar_reply(liar, command, registers, sizeof(registers), NULL, 0);
	} else if (index == 7) {
		liar_reply(liar, command, config, sizeof(config), NULL, 0);
	} else if (index == 4) {
		liar_reply(liar, command, memory, sizeof(memory), &liar->file_fd, 1);
	} else if (index == 2) {
		liar_reply(liar, command, sparse, sizeof(sparse), &liar->file_fd, 1);
	} else {
		const uint8_t absent[] = {U32(32), U32(0), U32(index), U32(0), U64(0), U64(0)};

		liar_reply(liar, command, absent, sizeof(absent), NULL, 0);
	}
}

static void
honest_read(struct liar *liar, const struct peer_msg *command)
{
	uint8_t payload[16 + 65536];
	uint32_t count_bytes;

	memcpy(payload, command->payload, 16);
	memcpy(&count_bytes, command->payload + 12, sizeof(count_bytes));
	memset(payload + 16, 0x33, count_bytes);
	liar_reply(liar, command, payload, 16 + count_bytes, NULL, 0);
}

void
liar_honest(struct liar *liar, const struct peer_msg *command)
{
	static const uint8_t version[] = {U16(0), U16(1), '{', '"', 'c', 'a', 'p', 'a', 'b', 'i', 'l', 'i', 't',
					  'i',	  'e',	  's', '"', ':', '{', '"', 'm', 'a', 'x', '_', 'm', 's',
					  'g',	  '_',	  'f', 'd', 's', '"', ':', '8', '}', '}', 0};
	static const uint8_t device_info[] = {U32(16), U32(3), U32(9), U32(5)};
	uint8_t irq_info[] = {U32(16), U32(9), U32(0), U32(40)};

	if ((command->flags & NO_REPLY) != 0)
		return;
	switch (command->command) {
	case 1:
		liar_reply(liar, command, version, sizeof(version), NULL, 0);
		break;
	case 4:
		liar_reply(liar, command, device_info, sizeof(device_info), NULL, 0);
		break;
	case 5:
		honest_region_info(liar, command);
		break;
	case 7:
		memcpy(irq_info + 8, command->payload + 8, 4);
		liar_reply(liar, command, irq_info, sizeof(irq_info), NULL, 0);
		break;
	case 9:
		honest_read(liar, command);
		break;
	case 3:
		liar_reply(liar, command, command->payload, 24, NULL, 0);
		break;
	case 10:
		liar_reply(liar, command, command->payload, 16, NULL, 0);
		break;
	default:
		liar_reply(liar, command, NULL, 0, NULL, 0);
	}
}

static void *
serve(void *arg)
{
	struct peer_msg *command = malloc(sizeof(*command));
	struct liar *liar = arg;

	liar->peer = (struct peer){.fd = accept4(liar->listen_fd, NULL, NULL, SOCK_CLOEXEC)};
	while (peer_receive(&liar->peer, command)) {
		bool theirs = liar->answer != NULL && (command->command != 1 || liar->lie_from_version);

		liar->commands++;
		if (!theirs || !liar->answer(liar, command))
			liar_honest(liar, command);
		peer_msg_close(command);
		if (liar->peer.fd < 0)
			break;
	}
	peer_msg_close(command);
	peer_close(&liar->peer);
	free(command);
	return NULL;
}

void
liar_start(struct liar *liar, bool (*answer)(struct liar *liar, const struct peer_msg *command))
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	test_leaks_read(&liar->before);
	liar->answer = answer;
	liar->commands = 0;
	liar->file_fd = test_memfd(0x10000, false);
	strncpy(address.sun_path, test_socket_path(), sizeof(address.sun_path) - 1);
	unlink(address.sun_path);
	liar->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(liar->listen_fd >= 0);
	assert_int_equal(bind(liar->listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(liar->listen_fd, 1), 0);
	assert_int_equal(pthread_create(&liar->thread, NULL, serve, liar), 0);
}

unsigned int
liar_stop(struct liar *liar)
{
	unsigned int commands;

	assert_int_equal(pthread_join(liar->thread, NULL), 0);
	close(liar->listen_fd);
	close(liar->file_fd);
	unlink(test_socket_path());
	test_leaks_assert_none(&liar->before);
	commands = liar->commands;
	memset(liar, 0, sizeof(*liar));
	return commands;
}

struct rp_vfu_client *
liar_client(struct liar *liar, bool (*answer)(struct liar *liar, const struct peer_msg *command))
{
	const struct rp_vfu_client_config config = {.socket_path = test_socket_path(), .timeout_ms = 2000};
	struct rp_vfu_client *client = NULL;
	struct rp_wire_why why;

	liar_start(liar, answer);
	assert_int_equal(rp_vfu_client_create(&config, NULL, NULL, &client, &why), 0);
	return client;
}
