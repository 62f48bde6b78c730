/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
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

/* Of the test's thread and the server's. */
static struct {
	pthread_mutex_t lock;
	uint8_t sent[256]; /* header included */
	uint32_t sent_bytes;
	unsigned int sent_fds_count;
	unsigned int sent_count;
	bool honest;
	uint32_t error; /* not 0: an error reply */
	uint8_t reply[4096];
	size_t reply_bytes;
	unsigned int reply_fds_count;
} record = {.lock = PTHREAD_MUTEX_INITIALIZER, .honest = true};

static void
note(const struct peer_msg *command)
{
	size_t kept = command->size_bytes < sizeof(record.sent) ? command->size_bytes : sizeof(record.sent);

	record.sent_bytes = command->size_bytes;
	record.sent_fds_count = command->fds_count;
	record.sent_count += command->command != 1;
	memcpy(record.sent, command->bytes, kept);
}

bool
script_record(struct liar *liar, const struct peer_msg *command)
{
	bool honest;
	int fds[16];
	unsigned int i;

	for (i = 0; i < 16; i++)
		fds[i] = liar->file_fd;
	pthread_mutex_lock(&record.lock);
	note(command);
	honest = record.honest || command->command == 1 || command->command == 13;
	if (!honest && record.error != 0)
		liar_error(liar, command, record.error);
	else if (!honest)
		liar_reply(liar, command, record.reply, record.reply_bytes, fds, record.reply_fds_count);
	pthread_mutex_unlock(&record.lock);
	return !honest;
}

void
script_reply_with(const uint8_t *payload, size_t payload_bytes, unsigned int fds_count)
{
	assert_in_range(payload_bytes, 0, sizeof(record.reply));
	pthread_mutex_lock(&record.lock);
	memcpy(record.reply, payload, payload_bytes);
	record.reply_bytes = payload_bytes;
	record.reply_fds_count = fds_count;
	record.error = 0;
	record.honest = false;
	pthread_mutex_unlock(&record.lock);
}

void
script_refuse_with(uint32_t error)
{
	pthread_mutex_lock(&record.lock);
	record.error = error;
	record.honest = false;
	pthread_mutex_unlock(&record.lock);
}

void
script_reply_honestly(void)
{
	pthread_mutex_lock(&record.lock);
	record.honest = true;
	pthread_mutex_unlock(&record.lock);
}

void
script_clear(void)
{
	script_reply_honestly();
	pthread_mutex_lock(&record.lock);
	record.sent_count = 0;
	record.sent_bytes = 0;
	pthread_mutex_unlock(&record.lock);
}

unsigned int
script_sent_count(void)
{
	unsigned int count;

	pthread_mutex_lock(&record.lock);
	count = record.sent_count;
	pthread_mutex_unlock(&record.lock);
	return count;
}

void
script_assert_sent(const uint8_t *vector, size_t vector_bytes, unsigned int fds_count)
{
	uint8_t sent[sizeof(record.sent)];
	unsigned int sent_fds_count;
	uint32_t sent_bytes;

	pthread_mutex_lock(&record.lock);
	memcpy(sent, record.sent, sizeof(sent));
	sent_bytes = record.sent_bytes;
	sent_fds_count = record.sent_fds_count;
	pthread_mutex_unlock(&record.lock);
	assert_int_equal(sent_bytes, vector_bytes);
	assert_memory_equal(sent, vector, vector_bytes);
	assert_int_equal(sent_fds_count, fds_count);
}
