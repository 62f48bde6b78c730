/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"

void
script_version(struct liar *liar, const struct peer_msg *command, const char *capabilities, const int *fds,
	       unsigned int fds_count)
{
	uint8_t payload[1024] = {U16(0), U16(1)};
	int length = snprintf((char *)payload + 4, sizeof(payload) - 4, "{\"capabilities\":{%s}}", capabilities);

	liar_reply(liar, command, payload, 4 + (size_t)length + 1, fds, fds_count);
}

static bool
is_heard(struct liar *liar, const struct script_step *step, struct script *script)
{
	struct peer_msg *answer = calloc(1, sizeof(*answer));
	bool same;

	if (answer == NULL)
		return false;
	same = peer_receive(&liar->peer, answer) && answer->size_bytes == step->hear_bytes && answer->fds_count == 0 &&
	       memcmp(answer->bytes, step->hear, step->hear_bytes) == 0;
	memcpy(script->heard, answer->bytes, sizeof(script->heard));
	peer_msg_close(answer);
	free(answer);
	return same;
}

bool
script_answer(struct liar *liar, const struct peer_msg *command)
{
	struct script *script = liar->ctx;
	unsigned int i;

	if (command->command != 13)
		return false;
	for (i = 0; i < script->count; i++) {
		const struct script_step *step = &script->steps[i];
		int fds[16];
		unsigned int n;

		for (n = 0; n < 16; n++)
			fds[n] = liar->file_fd;
		if (step->say != NULL)
			(void)peer_send(&liar->peer, step->say, step->say_bytes, fds, step->fds_count);
		if (step->hear == NULL || is_heard(liar, step, script))
			continue;
		script->wrong = (int)i;
		peer_close(&liar->peer);
		return true;
	}
	liar_reply(liar, command, NULL, 0, NULL, 0);
	return true;
}

void
script_play(struct liar *liar, struct rp_vfu_client *client, const struct script_step *steps, unsigned int count)
{
	struct script script = {.steps = steps, .count = count, .wrong = -1};
	struct rp_wire_why why = {.text = ""};
	int rc;

	liar->ctx = &script;
	rc = rp_vfu_client_reset(client, &why);
	if (rc < 0) {
		char text[200] = "";
		unsigned int i;

		for (i = 0; i < sizeof(script.heard); i++)
			snprintf(text + 2 * (size_t)i, 3, "%02x", script.heard[i]);
		fail_msg("%s; step %d was answered by %s", why.text, script.wrong, text);
	}
	liar->ctx = NULL;
}

struct script_sent script_sent;
struct script_reply script_reply;

bool
script_record(struct liar *liar, const struct peer_msg *command)
{
	size_t kept = command->size_bytes < sizeof(script_sent.bytes) ? command->size_bytes : sizeof(script_sent.bytes);
	int fds[16];
	unsigned int i;

	script_sent.size_bytes = command->size_bytes;
	script_sent.fds_count = command->fds_count;
	script_sent.count++;
	memcpy(script_sent.bytes, command->bytes, kept);
	if (command->command == 1 || command->command == 13)
		return false;
	for (i = 0; i < 16; i++)
		fds[i] = liar->file_fd;
	if (script_reply.error != 0)
		liar_error(liar, command, script_reply.error);
	else if (script_reply.payload != NULL)
		liar_reply(liar, command, script_reply.payload, script_reply.payload_bytes, fds,
			   script_reply.fds_count);
	return script_reply.error != 0 || script_reply.payload != NULL;
}

void
script_assert_sent(const uint8_t *vector, size_t vector_bytes, unsigned int fds_count)
{
	assert_int_equal(script_sent.size_bytes, vector_bytes);
	assert_memory_equal(script_sent.bytes, vector, vector_bytes);
	assert_int_equal(script_sent.fds_count, fds_count);
}
