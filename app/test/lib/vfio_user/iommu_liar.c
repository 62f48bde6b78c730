/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "iommu_liar.h"

struct iommu_liar iommu_liar;

/* What the server's thread saw. */
static struct {
	pthread_mutex_t lock;
	char offer[1024];
	uint8_t reply[64];
	uint32_t reply_bytes;
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void
answer_invalidate(struct liar *liar, const struct peer_msg *command)
{
	uint64_t tag;

	memcpy(&tag, command->payload, sizeof(tag));
	tag += iommu_liar.tag_off;
	liar_reply(liar, command, &tag, sizeof(tag), NULL, 0);
}

/* @return whether it was an answer of the client's. */
static bool
note(const struct peer_msg *message)
{
	bool is_reply = (message->flags & REPLY) != 0;

	pthread_mutex_lock(&seen.lock);
	if (message->command == 1)
		snprintf(seen.offer, sizeof(seen.offer), "%s", (const char *)message->payload + 4);
	if (is_reply) {
		seen.reply_bytes = message->size_bytes;
		memcpy(seen.reply, message->bytes,
		       message->size_bytes < sizeof(seen.reply) ? message->size_bytes : sizeof(seen.reply));
	}
	pthread_mutex_unlock(&seen.lock);
	return is_reply;
}

static bool
answer(struct liar *liar, const struct peer_msg *command)
{
	if (note(command))
		return true;
	if (command->command == 1) {
		script_version(liar, command, iommu_liar.agreed, NULL, 0);
		return true;
	}
	if (command->command == 0x5206) {
		(void)script_record(liar, command);
		if (!iommu_liar.silent)
			answer_invalidate(liar, command);
		return true;
	}
	if (command->command == 3 && iommu_liar.silent_unmaps)
		return true;
	if (command->command == 13)
		return liar->ctx != NULL && script_answer(liar, command);
	return script_record(liar, command);
}

int
iommu_liar_translate(void *ctx, uint64_t token, const struct rp_vfu_client_translate *request,
		     struct rp_vfu_client_translation *ret_translation)
{
	(void)ctx;
	iommu_liar.asked = *request;
	if (iommu_liar.asked_count < IOMMU_TOKENS)
		iommu_liar.tokens[iommu_liar.asked_count] = token;
	iommu_liar.asked_count++;
	*ret_translation = iommu_liar.answer;
	return iommu_liar.result;
}

static void
on_page_request(void *ctx, const struct rp_vfu_client_page_group *group)
{
	uint32_t i;

	(void)ctx;
	iommu_liar.group = *group;
	for (i = 0; i < group->pages_count && i < 8; i++)
		iommu_liar.pages[i] = group->pages[i];
	iommu_liar.groups_count++;
	if (iommu_liar.responds)
		assert_int_equal(rp_vfu_client_page_respond(iommu_liar.client, group->number, iommu_liar.code), 0);
}

int
iommu_liar_setup(void **state)
{
	(void)state;
	memset(&iommu_liar, 0, sizeof(iommu_liar));
	iommu_liar.is_iommu = true;
	script_clear();
	return 0;
}

void
iommu_liar_end(void)
{
	iommu_liar.client = rp_vfu_client_destroy(iommu_liar.client);
	(void)liar_stop(&iommu_liar.liar);
}

int
iommu_liar_teardown(void **state)
{
	(void)state;
	iommu_liar_end();
	return 0;
}

void
iommu_liar_begin(const char *agreed, const struct rp_vfu_client_config *config)
{
	const struct rp_vfu_client_iommu iommu = {
		.translations_max = 4,
		.invalidations_max = 2,
		.page_requests_max = 4,
		.pasid_bits = 20,
		.translate = iommu_liar_translate,
		.page_request = on_page_request,
	};
	struct rp_vfu_client_config ours = {.timeout_ms = 0};

	if (config != NULL)
		ours = *config;
	ours.socket_path = test_socket_path();
	ours.timeout_ms = 5000;
	ours.iommu = iommu_liar.is_iommu ? &iommu : NULL;
	iommu_liar.agreed = agreed;
	liar_start(&iommu_liar.liar, answer);
	iommu_liar.liar.lie_from_version = true;
	if (rp_vfu_client_create(&ours, NULL, NULL, &iommu_liar.client, &iommu_liar.why) != 0)
		fail_msg("%s", iommu_liar.why.text);
}

void
iommu_liar_assert_offer(const char *words, bool has)
{
	pthread_mutex_lock(&seen.lock);
	if ((strstr(seen.offer, words) != NULL) != has)
		fail_msg("the offer was %s", seen.offer);
	pthread_mutex_unlock(&seen.lock);
}

void
iommu_liar_assert_replied(const uint8_t *vector, size_t vector_bytes)
{
	/* What the server answers now it has read after it. */
	assert_int_equal(rp_vfu_client_reset(iommu_liar.client, &iommu_liar.why), 0);
	pthread_mutex_lock(&seen.lock);
	assert_int_equal(seen.reply_bytes, vector_bytes);
	assert_memory_equal(seen.reply, vector, vector_bytes);
	pthread_mutex_unlock(&seen.lock);
}

void
iommu_liar_assert_sent(const uint8_t *vector, size_t vector_bytes)
{
	assert_int_equal(rp_vfu_client_reset(iommu_liar.client, &iommu_liar.why), 0);
	script_assert_sent(vector, vector_bytes, 0);
}

void
iommu_liar_play(const struct script_step *steps, unsigned int count)
{
	script_play(&iommu_liar.liar, iommu_liar.client, steps, count);
}
