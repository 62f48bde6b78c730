/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "vfu_client_iommu.h"

/*
 * Page requests. The server may have as many pages outstanding as were agreed on; a
 * group beyond that is an overflow, and is answered with a failure as in PCI Express:
 * then every group has ended, and what comes is dropped until our caller says that
 * requests are served again. A response is a command that nobody answers.
 */

static struct rp_vfu_page_place *
find_place(struct rp_vfu_client_iommu_state *iommu, uint32_t number)
{
	uint32_t i;

	for (i = 0; i < iommu->places_count; i++)
		if (iommu->places[i].pages_count > 0 && !iommu->places[i].responded &&
		    iommu->places[i].number == number)
			return &iommu->places[i];
	return NULL;
}

static struct rp_vfu_page_place *
free_place(struct rp_vfu_client_iommu_state *iommu)
{
	uint32_t i;

	for (i = 0; i < iommu->places_count; i++)
		if (iommu->places[i].pages_count == 0)
			return &iommu->places[i];
	return NULL;
}

static void
free_all_places(struct rp_vfu_client_iommu_state *iommu)
{
	memset(iommu->places, 0, iommu->places_count * sizeof(*iommu->places));
	iommu->pages_used = 0;
	iommu->responses_count = 0;
}

static void
fail(struct rp_vfu_client_iommu_state *iommu, uint32_t number)
{
	free_all_places(iommu);
	iommu->failed = true;
	iommu->says_failure = true;
	iommu->says_resume = false;
	iommu->failed_number = number;
}

static void
tell_group(struct rp_vfu_client *client, const struct rp_vfu_wire_page_request *request, uint32_t pasid,
	   const uint8_t *pages)
{
	struct rp_vfu_client_iommu_state *iommu = client->iommu;
	const struct rp_vfu_client_page_group group = {
		.number = request->group,
		.pasid = pasid,
		.pages = iommu->pages,
		.pages_count = request->count,
	};
	bool before = client->inside;
	uint32_t i;

	for (i = 0; i < request->count; i++) {
		struct rp_vfu_wire_page page;

		memcpy(&page, pages + i * sizeof(page), sizeof(page));
		iommu->pages[i] = (struct rp_vfu_client_page){.iova = page.iova, .access_mask = page.access_mask};
	}
	client->inside = true;
	iommu->ops.page_request(client->ctx, &group);
	client->inside = before;
}

int
rp_vfu_client_page_serve(struct rp_vfu_client *client, const struct rp_vfu_msg_view *command)
{
	struct rp_vfu_client_iommu_state *iommu = client->iommu;
	struct rp_vfu_wire_page_request request;
	struct rp_vfu_page_place *place;
	uint32_t pasid;
	int rc;

	memcpy(&request, command->payload, sizeof(request));
	rc = rp_vfu_msg_judge_pasid(&request.pasid, 0, &client->terms, &pasid, NULL);
	if (rc < 0)
		return rc;
	/* It was sent before the server knew. */
	if (iommu->failed)
		return 0;
	place = free_place(iommu);
	if (request.count > client->terms.value[RP_VFU_TERM_PAGE_REQUESTS] - iommu->pages_used || place == NULL ||
	    find_place(iommu, request.group) != NULL) {
		iommu->counters.page_overflows++;
		fail(iommu, request.group);
		return 0;
	}
	*place = (struct rp_vfu_page_place){.number = request.group, .pages_count = request.count};
	iommu->pages_used += request.count;
	iommu->counters.page_groups++;
	iommu->counters.page_requests += request.count;
	tell_group(client, &request, pasid, command->payload + sizeof(request));
	return 0;
}

/* A command that is not answered. @return 0, -EAGAIN (later), or an error. */
static int
send_response(struct rp_vfu_client *client, uint32_t number, uint32_t code)
{
	const struct rp_vfu_wire_page_response response = {.group = number, .code = code};
	struct rp_vfu_call call = {
		.command = RP_VFU_PAGE_RESPONSE,
		.posted = true,
		.payload = &response,
		.payload_bytes = sizeof(response),
	};

	return rp_vfu_client_submit(client, &call, NULL);
}

static int
send_responses(struct rp_vfu_client *client)
{
	struct rp_vfu_client_iommu_state *iommu = client->iommu;
	uint32_t i;
	int rc = 0;

	if (iommu->says_failure) {
		rc = send_response(client, iommu->failed_number, RP_VFU_PAGE_FAILURE);
		iommu->says_failure = rc != 0;
	}
	if (rc == 0 && iommu->says_resume) {
		rc = send_response(client, 0, RP_VFU_PAGE_RESUME);
		iommu->says_resume = rc != 0;
	}
	for (i = 0; i < iommu->places_count && iommu->responses_count > 0 && rc == 0; i++) {
		struct rp_vfu_page_place *place = &iommu->places[i];

		if (!place->responded)
			continue;
		rc = send_response(client, place->number, place->code);
		if (rc < 0)
			break;
		iommu->pages_used -= place->pages_count;
		iommu->responses_count--;
		*place = (struct rp_vfu_page_place){.number = 0};
	}
	return rc;
}

int
rp_vfu_client_page_pay(struct rp_vfu_client *client)
{
	int rc = send_responses(client);

	/* What has to wait is tried again with the next turn, which the socket calls for. */
	return rc == -EAGAIN || rc == -ENOMEM ? 0 : rc;
}

static void
pay_now(struct rp_vfu_client *client)
{
	/* Inside a callback the turn that it is of sends it. */
	if (client->inside)
		return;
	(void)rp_vfu_client_iommu_pay(client);
	rp_vfu_client_watch(client);
}

int
rp_vfu_client_page_respond(struct rp_vfu_client *client, uint32_t number, enum rp_vfu_page_code code)
{
	struct rp_vfu_client_iommu_state *iommu = client->iommu;
	struct rp_vfu_page_place *place;

	if (client->conn == NULL)
		return -ENOTCONN;
	if (code != RP_VFU_PAGE_SUCCESS && code != RP_VFU_PAGE_INVALID && code != RP_VFU_PAGE_FAILURE)
		return -EINVAL;
	place = iommu == NULL ? NULL : find_place(iommu, number);
	if (place == NULL)
		return -ENOENT;
	if (code == RP_VFU_PAGE_FAILURE) {
		fail(iommu, number);
	} else {
		place->responded = true;
		place->code = code;
		iommu->responses_count++;
	}
	pay_now(client);
	return 0;
}

int
rp_vfu_client_page_resume(struct rp_vfu_client *client)
{
	struct rp_vfu_client_iommu_state *iommu = client->iommu;

	if (client->conn == NULL)
		return -ENOTCONN;
	if ((client->terms.named_mask & (1u << RP_VFU_TERM_PAGE_REQUESTS)) == 0)
		return -ENOTSUP;
	if (!iommu->failed)
		return 0;
	iommu->failed = false;
	iommu->says_resume = true;
	pay_now(client);
	return 0;
}
