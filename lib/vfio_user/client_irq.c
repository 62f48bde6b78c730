/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>

#include "vfu_client.h"

/*
 * SET_IRQS, with every kind of data and every action. Many vectors go in runs, all
 * under way at once: as many descriptors as a message carries, or as many bytes.
 */

#define ACTIONS_MASK (RP_VFU_IRQ_ACTION_MASK_MASK | RP_VFU_IRQ_ACTION_UNMASK_MASK | RP_VFU_IRQ_ACTION_TRIGGER_MASK)

static int
check(uint32_t action_mask, uint32_t start, uint32_t count, struct rp_wire_why *why)
{
	if ((action_mask & ~ACTIONS_MASK) != 0 || __builtin_popcount(action_mask) != 1)
		return rp_wire_why_set(why, -EINVAL, "interrupts: action 0x%x, expected one of 8, 0x10, 0x20",
				       action_mask);
	if (count == 0 || count > UINT32_MAX - start)
		return rp_wire_why_set(why, -EINVAL, "interrupts: %u vectors from %u", count, start);
	return 0;
}

/* What is the same for each run, and how it goes. */
struct runs {
	struct rp_vfu_client *client;
	struct rp_vfu_batch batch;
	uint32_t irq_index;
	uint32_t flags;
	struct rp_wire_why *why;
};

static int
send_run(struct runs *runs, uint32_t start, uint32_t count, const uint8_t *bools, const int *fds,
	 unsigned int fds_count)
{
	const struct rp_vfu_wire_irq_set set = {
		.argsz = (uint32_t)sizeof(set) + (bools != NULL ? count : 0),
		.flags = runs->flags,
		.index = runs->irq_index,
		.start = start,
		.count = count,
	};
	const struct rp_vfu_call call = {
		.command = RP_VFU_DEVICE_SET_IRQS,
		.payload = &set,
		.payload_bytes = sizeof(set),
		.data = bools,
		.data_bytes = bools != NULL ? count : 0,
		.fds = fds,
		.fds_count = fds_count,
	};
	const struct rp_vfu_client_done done = rp_vfu_batch_done(&runs->batch);
	uint64_t deadline_ms = 0;
	int rc;

	do {
		rc = rp_vfu_client_start_plain(runs->client, &call, &done, runs->why);
	} while (rc == -EAGAIN && (rc = rp_vfu_client_make_room(runs->client, &deadline_ms, runs->why)) == 0);
	if (rc == 0)
		runs->batch.outstanding++;
	return rc;
}

int
rp_vfu_client_irq_action(struct rp_vfu_client *client, uint32_t irq_index, uint32_t action_mask, uint32_t start,
			 uint32_t count, const uint8_t *bools, struct rp_wire_why *why)
{
	struct runs runs = {
		.client = client,
		.irq_index = irq_index,
		.flags = action_mask | (bools != NULL ? RP_VFU_IRQ_DATA_BOOL_MASK : RP_VFU_IRQ_DATA_NONE_MASK),
		.why = why,
	};
	int rc = check(action_mask, start, count, why);
	uint32_t at = 0;

	if (rc == 0)
		rc = rp_vfu_client_may_wait(client, RP_VFU_DEVICE_SET_IRQS, why);
	while (rc == 0 && at < count && runs.batch.error == 0) {
		uint32_t some =
			bools != NULL && count - at > RP_VFU_IRQ_VECTORS_MAX ? RP_VFU_IRQ_VECTORS_MAX : count - at;

		rc = send_run(&runs, start + at, some, bools != NULL ? bools + at : NULL, NULL, 0);
		at += some;
	}
	return rp_vfu_batch_wait(client, &runs.batch, rc, why);
}

/* How many vectors from here go in one message: descriptors, or none at all. */
static uint32_t
run_of(const int *eventfds, uint32_t left, uint32_t max_fds)
{
	bool detach = eventfds[0] < 0;
	uint32_t most = detach || left < max_fds ? left : max_fds, count = 1;

	while (count < most && (eventfds[count] < 0) == detach)
		count++;
	return count;
}

static int
send_eventfds(struct runs *runs, uint32_t start, uint32_t count, const int *eventfds)
{
	uint32_t max_fds = (uint32_t)runs->client->terms.value[RP_VFU_TERM_MSG_FDS], at = 0;
	int rc = 0;

	while (rc == 0 && at < count && runs->batch.error == 0) {
		/* With none allowed, the first run says so. */
		uint32_t some = run_of(eventfds + at, count - at, max_fds == 0 ? 1 : max_fds);

		rc = send_run(runs, start + at, some, NULL, eventfds + at, eventfds[at] < 0 ? 0 : some);
		at += some;
	}
	return rc;
}

int
rp_vfu_client_irq_eventfds(struct rp_vfu_client *client, uint32_t irq_index, uint32_t action_mask, uint32_t start,
			   uint32_t count, const int *eventfds, struct rp_wire_why *why)
{
	struct runs runs = {
		.client = client,
		.irq_index = irq_index,
		.flags = action_mask | RP_VFU_IRQ_DATA_EVENTFD_MASK,
		.why = why,
	};
	int rc = check(action_mask, start, count, why);

	if (rc == 0)
		rc = rp_vfu_client_may_wait(client, RP_VFU_DEVICE_SET_IRQS, why);
	if (rc == 0)
		rc = send_eventfds(&runs, start, count, eventfds);
	return rp_vfu_batch_wait(client, &runs.batch, rc, why);
}

int
rp_vfu_client_irq_access_many(struct rp_vfu_client *client, uint32_t irq_index, uint32_t start, uint32_t count,
			      const int *eventfds, struct rp_vfu_client_access *accesses, unsigned int accesses_count,
			      int *ret_irq, struct rp_wire_why *why)
{
	struct rp_wire_why words = {0};
	struct runs runs = {
		.client = client,
		.irq_index = irq_index,
		.flags = RP_VFU_IRQ_ACTION_TRIGGER_MASK | RP_VFU_IRQ_DATA_EVENTFD_MASK,
		.why = &words,
	};
	int rc = check(RP_VFU_IRQ_ACTION_TRIGGER_MASK, start, count, why), irq;

	if (rc == 0)
		rc = rp_vfu_client_may_wait(client, RP_VFU_DEVICE_SET_IRQS, why);
	if (rc < 0)
		return rc;
	irq = send_eventfds(&runs, start, count, eventfds);
	rc = rp_vfu_client_region_access_many(client, accesses, accesses_count, why);
	/* Answered by now: a server works in order. */
	*ret_irq = rp_vfu_batch_wait(client, &runs.batch, irq, NULL);
	return rc;
}

int
rp_vfu_client_irq_set(struct rp_vfu_client *client, uint32_t irq_index, uint32_t vector, int eventfd,
		      struct rp_wire_why *why)
{
	return rp_vfu_client_irq_eventfds(client, irq_index, RP_VFU_IRQ_ACTION_TRIGGER_MASK, vector, 1, &eventfd, why);
}

int
rp_vfu_client_irq_drop(struct rp_vfu_client *client, uint32_t irq_index, uint32_t vector, struct rp_wire_why *why)
{
	const struct rp_vfu_wire_irq_set set = {
		.argsz = (uint32_t)sizeof(set),
		.flags = RP_VFU_IRQ_ACTION_TRIGGER_MASK | RP_VFU_IRQ_DATA_EVENTFD_MASK,
		.index = irq_index,
		.start = vector,
		.count = 1,
	};
	struct rp_vfu_call call = {
		.command = RP_VFU_DEVICE_SET_IRQS,
		.posted = true,
		.later = true,
		.payload = &set,
		.payload_bytes = sizeof(set),
	};
	int rc = rp_vfu_client_submit_wait(client, &call, why);

	rp_vfu_client_watch(client);
	return rc;
}

int
rp_vfu_client_irq_disable(struct rp_vfu_client *client, uint32_t irq_index, struct rp_wire_why *why)
{
	const struct rp_vfu_wire_irq_set set = {
		.argsz = sizeof(set),
		.flags = RP_VFU_IRQ_DATA_NONE_MASK | RP_VFU_IRQ_ACTION_TRIGGER_MASK,
		.index = irq_index,
	};
	struct rp_vfu_call call = {
		.command = RP_VFU_DEVICE_SET_IRQS,
		.payload = &set,
		.payload_bytes = sizeof(set),
	};

	return rp_vfu_client_call(client, &call, why);
}
