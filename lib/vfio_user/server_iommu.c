/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "vfu_server_iommu.h"
#include "vfu_version.h"

#define DEFAULT_AT_ONCE 64u
#define INVALIDATIONS_MAX 256u
#define PAGE_REQUESTS_MAX 4096u
#define PASIDS_MAX 4096u

static int
choose(uint32_t *value, uint32_t fallback, uint32_t max, const char *name, struct rp_wire_why *why)
{
	if (*value == 0)
		*value = fallback;
	return *value <= max ? 0 :
			       rp_wire_why_set(why, -EINVAL, "iommu: %s: %u, expected at most %u", name, *value, max);
}

static int
take_config(struct rp_vfu_iommu *iommu, const struct rp_vfu_server_iommu *given, struct rp_wire_why *why)
{
	struct rp_vfu_server_iommu *config = &iommu->config;
	int rc;

	*config = *given;
	rc = choose(&config->translations_max, DEFAULT_AT_ONCE, RP_VFU_TRANSLATIONS_MAX, "translations_max", why);
	if (rc == 0)
		rc = choose(&config->invalidations_max, DEFAULT_AT_ONCE, INVALIDATIONS_MAX, "invalidations_max", why);
	if (rc == 0)
		rc = choose(&config->page_requests_max, DEFAULT_AT_ONCE, PAGE_REQUESTS_MAX, "page_requests_max", why);
	if (rc == 0)
		rc = choose(&config->pasids_max, DEFAULT_AT_ONCE, PASIDS_MAX, "pasids_max", why);
	if (rc == 0 && config->pasid_bits == RP_VFU_IOMMU_NO_PASIDS)
		config->pasid_bits = 0;
	else if (rc == 0)
		rc = choose(&config->pasid_bits, RP_VFU_PASID_BITS_MAX, RP_VFU_PASID_BITS_MAX, "pasid_bits", why);
	return rc;
}

int
rp_vfu_server_iommu_create(struct rp_vfu_server *server, const struct rp_vfu_server_iommu *config,
			   struct rp_wire_why *why)
{
	struct rp_vfu_iommu *iommu;
	int rc;

	if (config == NULL)
		return 0;
	iommu = calloc(1, sizeof(*iommu));
	if (iommu == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory for the IOMMU's part");
	server->iommu = iommu;
	iommu->carrier = server->carrier;
	STAILQ_INIT(&iommu->invalidations);
	LIST_INIT(&iommu->pasids);
	rc = take_config(iommu, config, why);
	if (rc < 0)
		return rc;
	rc = rp_dma_atc_create(server->dma, iommu->config.cache_entries_max, iommu->config.translations_max,
			       rp_vfu_carrier_wake, server->carrier, &iommu->atc);
	if (rc == -EINVAL)
		return rp_wire_why_set(why, rc, "iommu: cache_entries_max: %u", iommu->config.cache_entries_max);
	if (rc == 0)
		rc = rp_vfu_pages_create(iommu->config.page_requests_max, &iommu->pages);
	if (rc == 0)
		rc = rp_vfu_server_pasids_create(iommu);
	return rc < 0 ? rp_wire_why_set(why, rc, "iommu: no memory") : 0;
}

void
rp_vfu_server_iommu_destroy(struct rp_vfu_server *server)
{
	struct rp_vfu_iommu *iommu = server->iommu;

	if (iommu == NULL)
		return;
	rp_vfu_server_invalidations_drop(server);
	rp_vfu_server_pasids_destroy(server);
	rp_vfu_pages_destroy(iommu->pages);
	rp_dma_atc_destroy(iommu->atc);
	free(iommu);
	server->iommu = NULL;
}

void
rp_vfu_server_iommu_offer(const struct rp_vfu_server *server, struct rp_vfu_terms *ours)
{
	const struct rp_vfu_iommu *iommu = server->iommu;

	if (iommu == NULL)
		return;
	rp_vfu_terms_offer(ours, RP_VFU_TERM_TRANSLATIONS, iommu->config.translations_max);
	rp_vfu_terms_offer(ours, RP_VFU_TERM_INVALIDATIONS, iommu->config.invalidations_max);
	rp_vfu_terms_offer(ours, RP_VFU_TERM_PAGE_REQUESTS, iommu->config.page_requests_max);
	rp_vfu_terms_offer(ours, RP_VFU_TERM_PASID_BITS, iommu->config.pasid_bits);
}

void
rp_vfu_server_iommu_open(struct rp_vfu_server *server)
{
	const struct rp_vfu_terms *terms = &server->terms;
	struct rp_vfu_iommu *iommu = server->iommu;

	if (iommu == NULL)
		return;
	iommu->agreed = (terms->named_mask & (1u << RP_VFU_TERM_TRANSLATIONS)) != 0;
	if (!iommu->agreed) {
		rp_dma_atc_open_identity(iommu->atc);
		rp_vfu_pages_open(iommu->pages, 0, 0);
		return;
	}
	rp_vfu_pages_open(iommu->pages, (uint32_t)terms->value[RP_VFU_TERM_PAGE_REQUESTS],
			  (uint32_t)terms->value[RP_VFU_TERM_PASID_BITS]);
	rp_dma_atc_open(iommu->atc, (uint32_t)terms->value[RP_VFU_TERM_TRANSLATIONS]);
}

void
rp_vfu_server_iommu_close(struct rp_vfu_server *server)
{
	struct rp_vfu_iommu *iommu = server->iommu;
	unsigned int i;

	if (iommu == NULL)
		return;
	iommu->agreed = false;
	rp_vfu_server_invalidations_drop(server);
	for (i = 0; i < RP_VFU_TRANSLATIONS_MAX; i++)
		iommu->translating[i].open = false;
	rp_dma_atc_close(iommu->atc);
	rp_vfu_pages_close(iommu->pages);
}

static int
send_command(struct rp_wire_conn *conn, uint16_t id, uint16_t command, uint32_t flags, const void *payload,
	     uint32_t payload_bytes)
{
	struct rp_vfu_header header = {
		.id = id,
		.command = command,
		.size_bytes = (uint32_t)sizeof(header) + payload_bytes,
		.flags = RP_VFU_TYPE_COMMAND | flags,
	};
	struct iovec iov[] = {
		{.iov_base = &header, .iov_len = sizeof(header)},
		{.iov_base = (void *)payload, .iov_len = payload_bytes},
	};

	return rp_wire_conn_send(conn, iov, 2, NULL, 0);
}

static int
send_translate(struct rp_vfu_iommu *iommu, struct rp_wire_conn *conn, const struct rp_dma_atc_ask *ask)
{
	struct rp_vfu_translating *translating = &iommu->translating[ask->slot];
	bool has_pasid = ask->pasid != RP_DMA_NO_PASID;
	const struct rp_vfu_wire_translate translate = {
		.iova = ask->iova,
		.access_mask = ask->access_mask,
		.pasid = {.pasid = has_pasid ? ask->pasid : 0, .flags = has_pasid ? RP_VFU_IOMMU_PASID_MASK : 0},
	};

	translating->generation++;
	translating->open = true;
	return send_command(conn, (uint16_t)(ask->slot | (uint32_t)translating->generation << 8), RP_VFU_TRANSLATE, 0,
			    &translate, sizeof(translate));
}

/* Nobody answers it: what the response says is a command of the client's. */
static int
send_page_request(struct rp_vfu_iommu *iommu, struct rp_wire_conn *conn, bool *ret_sent)
{
	uint8_t message[RP_VFU_PAGE_MESSAGE_MAX_BYTES];
	uint32_t bytes = rp_vfu_pages_next(iommu->pages, message);

	*ret_sent = bytes > 0;
	return bytes == 0 ? 0 : send_command(conn, 0, RP_VFU_PAGE_REQUEST, RP_VFU_FLAG_NO_REPLY, message, bytes);
}

static int
send_next(struct rp_vfu_iommu *iommu, struct rp_wire_conn *conn, bool *ret_sent)
{
	struct rp_dma_atc_ask ask;

	*ret_sent = rp_dma_atc_next(iommu->atc, &ask) == 0;
	if (*ret_sent)
		return send_translate(iommu, conn, &ask);
	return send_page_request(iommu, conn, ret_sent);
}

int
rp_vfu_server_iommu_pump(struct rp_vfu_server *server, struct rp_wire_conn *conn, struct rp_wire_why *why)
{
	bool sent = true;
	int rc = 0;

	if (server->iommu == NULL || !server->iommu->agreed)
		return 0;
	rp_wire_conn_cork(conn);
	while (rc == 0 && sent && (rp_wire_conn_poll_events(conn) & POLLOUT) == 0)
		rc = send_next(server->iommu, conn, &sent);
	if (rp_wire_conn_uncork(conn) == -ENOTCONN)
		rc = -ENOTCONN;
	/* What could not be queued is lost, and with it what waits for its answer. */
	return rc < 0 ? rp_wire_why_set(why, -ENOTCONN, "peer left before a question for its IOMMU") : 0;
}

static int
take_translation(struct rp_vfu_iommu *iommu, uint32_t slot, const struct rp_vfu_msg_view *reply,
		 struct rp_wire_why *why)
{
	struct rp_vfu_wire_translation wire;
	struct rp_dma_translation answer;
	int rc = rp_vfu_msg_check_reply(reply, RP_VFU_TRANSLATE, why);

	if (rc < 0)
		return rc;
	if ((reply->header.flags & RP_VFU_FLAG_ERROR) != 0)
		return rp_dma_atc_answer(iommu->atc, slot, NULL, why);
	memcpy(&wire, reply->payload, sizeof(wire));
	if ((wire.flags & ~RP_VFU_TRANSLATION_IDENTITY_MASK) != 0)
		return rp_wire_why_set(why, -EBADMSG, "flags: 0x%x has unknown bits", wire.flags);
	answer = (struct rp_dma_translation){
		.iova = wire.iova,
		.size_bytes = wire.size_bytes,
		.address = wire.address,
		.access_mask = wire.access_mask,
		.identity = wire.flags != 0,
	};
	return rp_dma_atc_answer(iommu->atc, slot, &answer, why);
}

int
rp_vfu_server_iommu_reply(struct rp_vfu_server *server, const struct rp_vfu_msg_view *reply, struct rp_wire_why *why)
{
	struct rp_vfu_iommu *iommu = server->iommu;
	uint32_t slot = reply->header.id & 0xffu;
	int rc;

	if (iommu == NULL || !iommu->agreed || reply->header.command != RP_VFU_TRANSLATE ||
	    !iommu->translating[slot].open || iommu->translating[slot].generation != reply->header.id >> 8)
		return -ENOENT;
	iommu->translating[slot].open = false;
	rc = take_translation(iommu, slot, reply, why);
	if (rc < 0)
		rp_wire_why_prefix(why, "TRANSLATE: reply: ");
	/* There is room for the next one, and the socket does not call for that. */
	rp_vfu_carrier_wake(iommu->carrier);
	return rc == -EBADMSG ? rc : 0;
}

bool
rp_vfu_server_iommu_overtakes(const struct rp_vfu_server *server, const struct rp_vfu_msg_view *command)
{
	return server->iommu != NULL && server->iommu->agreed &&
	       (command->header.command == RP_VFU_INVALIDATE || command->header.command == RP_VFU_PAGE_RESPONSE);
}

bool
rp_vfu_server_iommu_receives(const struct rp_vfu_server *server)
{
	return server->iommu != NULL && server->iommu->agreed;
}

struct rp_dma_atc *
rp_vfu_server_atc(const struct rp_vfu_server *server)
{
	return server->iommu == NULL ? NULL : server->iommu->atc;
}

int
rp_vfu_server_iommu_terms(const struct rp_vfu_server *server, struct rp_vfu_server_iommu_terms *ret_terms)
{
	const struct rp_vfu_terms *terms = &server->terms;

	*ret_terms = (struct rp_vfu_server_iommu_terms){.translations_max = 0};
	if (server->iommu == NULL || !server->iommu->agreed)
		return -ENOTSUP;
	ret_terms->translations_max = (uint32_t)terms->value[RP_VFU_TERM_TRANSLATIONS];
	ret_terms->invalidations_max = (uint32_t)terms->value[RP_VFU_TERM_INVALIDATIONS];
	ret_terms->page_requests_max = (uint32_t)terms->value[RP_VFU_TERM_PAGE_REQUESTS];
	ret_terms->pasid_bits = (uint32_t)terms->value[RP_VFU_TERM_PASID_BITS];
	return 0;
}

void
rp_vfu_server_iommu_counters(struct rp_vfu_server *server, struct rp_vfu_server_iommu_counters *ret_counters)
{
	*ret_counters = (struct rp_vfu_server_iommu_counters){.page_requests = 0};
	if (server->iommu == NULL)
		return;
	rp_vfu_pages_counters(server->iommu->pages, ret_counters);
	rp_dma_atc_counters(server->iommu->atc, &ret_counters->cache);
}
