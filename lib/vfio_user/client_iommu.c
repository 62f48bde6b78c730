/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "vfu_client_iommu.h"

/*
 * Translations that the server asks for are answered whenever our caller knows the answer,
 * in any order. An answer waits for the socket in the place of its question; of those
 * there are no more than were agreed on.
 */

#define DEFAULT_AT_ONCE 64u
#define ACCESS_MASK (RP_VFU_DMA_MAP_READ_MASK | RP_VFU_DMA_MAP_WRITE_MASK)
#define IN_PAGE (RP_VFU_IOMMU_PAGE_BYTES - 1)

static int
choose(uint32_t *value, uint32_t max, const char *name, struct rp_wire_why *why)
{
	if (*value == 0)
		*value = DEFAULT_AT_ONCE;
	return *value <= max ? 0 :
			       rp_wire_why_set(why, -EINVAL, "iommu: %s: %u, expected at most %u", name, *value, max);
}

static int
take_ops(struct rp_vfu_client_iommu *ops, const struct rp_vfu_client_iommu *given, struct rp_wire_why *why)
{
	int rc;

	*ops = *given;
	if (ops->translate == NULL)
		return rp_wire_why_set(why, -EINVAL, "iommu: translate: missing");
	if (ops->pasid_bits > RP_VFU_PASID_BITS_MAX)
		return rp_wire_why_set(why, -EINVAL, "iommu: pasid_bits: %u, expected at most %u", ops->pasid_bits,
				       RP_VFU_PASID_BITS_MAX);
	rc = choose(&ops->translations_max, RP_VFU_QUESTIONS_MAX, "translations_max", why);
	if (rc == 0)
		rc = choose(&ops->invalidations_max, RP_VFU_CALLS_MAX, "invalidations_max", why);
	if (rc == 0)
		rc = choose(&ops->page_requests_max, RP_VFU_PAGES_MAX, "page_requests_max", why);
	if (ops->page_request == NULL)
		ops->page_requests_max = 0;
	return rc;
}

int
rp_vfu_client_iommu_init(struct rp_vfu_client *client, const struct rp_vfu_client_iommu *given, struct rp_wire_why *why)
{
	struct rp_vfu_client_iommu_state *iommu;
	int rc;

	if (given == NULL)
		return 0;
	iommu = calloc(1, sizeof(*iommu));
	if (iommu == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory for an IOMMU");
	client->iommu = iommu;
	rc = take_ops(&iommu->ops, given, why);
	if (rc < 0)
		return rc;
	iommu->places_count = iommu->ops.page_requests_max;
	iommu->places = calloc(iommu->places_count + 1u, sizeof(*iommu->places));
	return iommu->places == NULL ? rp_wire_why_set(why, -ENOMEM, "no memory for page requests") : 0;
}

void
rp_vfu_client_iommu_fini(struct rp_vfu_client *client)
{
	rp_vfu_client_pasids_clear(client);
	if (client->iommu != NULL)
		free(client->iommu->places);
	free(client->iommu);
	client->iommu = NULL;
}

void
rp_vfu_client_iommu_offer(const struct rp_vfu_client *client, struct rp_vfu_terms *ours)
{
	const struct rp_vfu_client_iommu_state *iommu = client->iommu;

	if (iommu == NULL)
		return;
	rp_vfu_terms_offer(ours, RP_VFU_TERM_TRANSLATIONS, iommu->ops.translations_max);
	rp_vfu_terms_offer(ours, RP_VFU_TERM_INVALIDATIONS, iommu->ops.invalidations_max);
	rp_vfu_terms_offer(ours, RP_VFU_TERM_PAGE_REQUESTS, iommu->ops.page_requests_max);
	rp_vfu_terms_offer(ours, RP_VFU_TERM_PASID_BITS, iommu->ops.pasid_bits);
}

void
rp_vfu_client_iommu_open(struct rp_vfu_client *client)
{
	if (client->iommu != NULL)
		client->iommu->agreed = (client->terms.named_mask & (1u << RP_VFU_TERM_TRANSLATIONS)) != 0;
}

void
rp_vfu_client_iommu_leave(struct rp_vfu_client *client)
{
	struct rp_vfu_client_iommu_state *iommu = client->iommu;

	if (iommu == NULL)
		return;
	memset(iommu->questions, 0, sizeof(iommu->questions));
	memset(iommu->places, 0, iommu->places_count * sizeof(*iommu->places));
	iommu->questions_count = 0;
	iommu->answers_count = 0;
	iommu->pages_used = 0;
	iommu->responses_count = 0;
	iommu->says_failure = false;
	iommu->says_resume = false;
}

static struct rp_vfu_question *
find_question(struct rp_vfu_client_iommu_state *iommu, uint64_t token)
{
	unsigned int i;

	for (i = 0; i < RP_VFU_QUESTIONS_MAX; i++)
		if (iommu->questions[i].token == token)
			return &iommu->questions[i];
	return NULL;
}

static void
set_answer(struct rp_vfu_client_iommu_state *iommu, struct rp_vfu_question *question, int error,
	   const struct rp_vfu_client_translation *translation)
{
	question->answered = true;
	question->header.flags = RP_VFU_TYPE_REPLY;
	iommu->answers_count++;
	if (error < 0 || translation == NULL) {
		question->header.flags |= RP_VFU_FLAG_ERROR;
		question->header.error = rp_vfu_errno_wire(error);
		return;
	}
	question->translation = (struct rp_vfu_wire_translation){
		.iova = translation->iova,
		.size_bytes = translation->size_bytes,
		.address = translation->address,
		.access_mask = translation->access_mask,
		.flags = translation->identity ? RP_VFU_TRANSLATION_IDENTITY_MASK : 0,
	};
	/* What is not present is nowhere. */
	if (translation->access_mask == 0)
		question->translation = (struct rp_vfu_wire_translation){.iova = question->iova};
	else
		iommu->counters.present++;
}

/* Our caller's answer. @return 0 or -EINVAL. */
static int
check_answer(const struct rp_vfu_question *question, const struct rp_vfu_client_translation *answer)
{
	if ((answer->access_mask & ~ACCESS_MASK) != 0)
		return -EINVAL;
	if (answer->access_mask == 0)
		return 0;
	if (((answer->iova | answer->size_bytes | answer->address) & IN_PAGE) != 0 || answer->size_bytes == 0 ||
	    answer->size_bytes - 1 > UINT64_MAX - answer->iova ||
	    answer->size_bytes - 1 > UINT64_MAX - answer->address || question->iova < answer->iova ||
	    question->iova - answer->iova >= answer->size_bytes)
		return -EINVAL;
	return 0;
}

static int
ask(struct rp_vfu_client *client, struct rp_vfu_question *question, const struct rp_vfu_client_translate *request,
    struct rp_vfu_client_translation *answer)
{
	bool before = client->inside;
	uint64_t token = question->token;
	int rc;

	client->inside = true;
	rc = client->iommu->ops.translate(client->ctx, token, request, answer);
	client->inside = before;
	return rc;
}

static int
serve_translate(struct rp_vfu_client *client, const struct rp_vfu_msg_view *command)
{
	struct rp_vfu_client_iommu_state *iommu = client->iommu;
	struct rp_vfu_client_translation answer = {.iova = 0};
	struct rp_vfu_client_translate request;
	struct rp_vfu_wire_translate wire;
	struct rp_vfu_question *question;
	int rc;

	memcpy(&wire, command->payload, sizeof(wire));
	request = (struct rp_vfu_client_translate){.access_mask = wire.access_mask, .iova = wire.iova};
	rc = rp_vfu_msg_judge_pasid(&wire.pasid, 0, &client->terms, &request.pasid, NULL);
	if (rc < 0)
		return rc;
	if (iommu->questions_count >= client->terms.value[RP_VFU_TERM_TRANSLATIONS])
		return -ENOSPC;
	/* Nobody wants to know. */
	if ((command->header.flags & RP_VFU_FLAG_NO_REPLY) != 0)
		return 0;
	question = find_question(iommu, 0);
	*question = (struct rp_vfu_question){
		.token = ++iommu->token,
		.iova = wire.iova,
		.header = {.id = command->header.id, .command = RP_VFU_TRANSLATE},
	};
	iommu->questions_count++;
	iommu->counters.translations++;
	rc = ask(client, question, &request, &answer);
	/* The callback may have found the end of the connection, or answered by itself. */
	if (client->conn == NULL || rc == -EINPROGRESS || question->answered)
		return 0;
	if (rc == 0 && check_answer(question, &answer) < 0)
		rc = -EIO;
	set_answer(iommu, question, rc, &answer);
	return 0;
}

int
rp_vfu_client_iommu_serve(struct rp_vfu_client *client, const struct rp_vfu_msg_view *command)
{
	return command->header.command == RP_VFU_TRANSLATE ? serve_translate(client, command) :
							     rp_vfu_client_page_serve(client, command);
}

int
rp_vfu_client_translated(struct rp_vfu_client *client, uint64_t token,
			 const struct rp_vfu_client_translation *translation)
{
	struct rp_vfu_client_iommu_state *iommu = client->iommu;
	struct rp_vfu_question *question;

	if (iommu == NULL || client->conn == NULL || token == 0)
		return -ENOENT;
	question = find_question(iommu, token);
	if (question == NULL || question->answered)
		return -ENOENT;
	if (translation != NULL && check_answer(question, translation) < 0)
		return -EINVAL;
	set_answer(iommu, question, translation == NULL ? -EIO : 0, translation);
	/* Inside a callback the turn that it is of sends it. */
	if (!client->inside) {
		(void)rp_vfu_client_iommu_pay(client);
		rp_vfu_client_watch(client);
	}
	return 0;
}

static int
send_answer(struct rp_vfu_client *client, struct rp_vfu_question *question)
{
	bool error = (question->header.flags & RP_VFU_FLAG_ERROR) != 0;
	struct iovec iov[] = {
		{.iov_base = &question->header, .iov_len = sizeof(question->header)},
		{.iov_base = &question->translation, .iov_len = sizeof(question->translation)},
	};

	question->header.size_bytes =
		(uint32_t)(sizeof(question->header) + (error ? 0 : sizeof(question->translation)));
	return rp_wire_conn_send(rp_vfu_client_serving(client), iov, error ? 1 : 2, NULL, 0);
}

int
rp_vfu_client_iommu_pay(struct rp_vfu_client *client)
{
	struct rp_vfu_client_iommu_state *iommu = client->iommu;
	unsigned int i;
	int rc = 0;

	if (iommu == NULL || client->conn == NULL)
		return client->conn == NULL ? -ENOTCONN : 0;
	for (i = 0; i < RP_VFU_QUESTIONS_MAX && iommu->answers_count > 0 && rc == 0; i++) {
		struct rp_vfu_question *question = &iommu->questions[i];

		if (!question->answered)
			continue;
		/* No more than one is kept beyond what the socket takes. */
		if ((rp_wire_conn_poll_events(rp_vfu_client_serving(client)) & POLLOUT) != 0)
			break;
		rc = send_answer(client, question);
		*question = (struct rp_vfu_question){.token = 0};
		iommu->answers_count--;
		iommu->questions_count--;
	}
	if (rc < 0) {
		struct rp_wire_why reason;

		rp_wire_why_set(&reason, -ENOTCONN, "the reply to a TRANSLATE could not be sent: %s",
				rc == -ENOTCONN ? "peer left" : strerror(-rc));
		return rp_vfu_client_leave(client, -ENOTCONN, &reason);
	}
	return rp_vfu_client_page_pay(client);
}

bool
rp_vfu_client_iommu_has_callback(const struct rp_vfu_client *client, bool reading)
{
	if (client->iommu == NULL)
		return false;
	return reading ? client->iommu->ops.dma_read != NULL : client->iommu->ops.dma_write != NULL;
}

int
rp_vfu_client_iommu_read(struct rp_vfu_client *client, uint32_t pasid, uint64_t iova, uint64_t size_bytes,
			 void *ret_bytes)
{
	return client->iommu->ops.dma_read(client->ctx, pasid, iova, size_bytes, ret_bytes);
}

int
rp_vfu_client_iommu_write(struct rp_vfu_client *client, uint32_t pasid, uint64_t iova, uint64_t size_bytes,
			  const void *bytes)
{
	return client->iommu->ops.dma_write(client->ctx, pasid, iova, size_bytes, bytes);
}

int
rp_vfu_client_iommu_terms(const struct rp_vfu_client *client, struct rp_vfu_client_iommu_terms *ret_terms)
{
	const struct rp_vfu_terms *terms = &client->terms;

	*ret_terms = (struct rp_vfu_client_iommu_terms){.translations_max = 0};
	if (client->iommu == NULL || !client->iommu->agreed)
		return -ENOTSUP;
	ret_terms->translations_max = (uint32_t)terms->value[RP_VFU_TERM_TRANSLATIONS];
	ret_terms->invalidations_max = (uint32_t)terms->value[RP_VFU_TERM_INVALIDATIONS];
	ret_terms->page_requests_max = (uint32_t)terms->value[RP_VFU_TERM_PAGE_REQUESTS];
	ret_terms->pasid_bits = (uint32_t)terms->value[RP_VFU_TERM_PASID_BITS];
	return 0;
}

void
rp_vfu_client_iommu_counters(const struct rp_vfu_client *client, struct rp_vfu_client_iommu_counters *ret_counters)
{
	*ret_counters = (struct rp_vfu_client_iommu_counters){.translations = 0};
	if (client->iommu != NULL)
		*ret_counters = client->iommu->counters;
}
