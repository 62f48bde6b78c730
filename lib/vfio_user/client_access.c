/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "rp_wire_conn.h"
#include "vfu_client.h"

/*
 * Registers, many of them for one round trip: reads and writes are one message where the server takes that, or what
 * is written in a row is; and all messages of a lot leave together and are answered together.
 */

#define ACCESS_MAX_BYTES 8u
/* Messages under way at once: well below RP_VFU_CALLS_MAX, so that others' fit beside them. */
#define LOT_MESSAGES 192u
#define FEW_MESSAGES 8u /* without memory of their own: what most calls have, and all of them when there is none */
#define RUN_MAX 32u /* writes of one message */
#define ACCESSES_RUN_MAX 256u /* accesses of one message: they leave with others */

/* A message of a lot. */
struct part {
	struct rp_vfu_call call;
	struct lot *lot;
	struct rp_vfu_client_access *accesses; /* one read, or writes; of REGION_ACCESS_MULTI any */
	unsigned int count;
};

struct lot {
	struct rp_vfu_batch batch;
	struct rp_vfu_client_done done;
	unsigned int parts_count, room;
	struct part *parts;
};

static int
check_accesses(const struct rp_vfu_client_access *accesses, unsigned int count, struct rp_wire_why *why)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (accesses[i].count_bytes == 0 || accesses[i].count_bytes > ACCESS_MAX_BYTES ||
		    accesses[i].offset_bytes > UINT64_MAX - accesses[i].count_bytes)
			return rp_wire_why_set(why, -EINVAL, "access %u: %u bytes at 0x%" PRIx64 ", expected 1 to %u",
					       i, accesses[i].count_bytes, accesses[i].offset_bytes, ACCESS_MAX_BYTES);
	}
	return 0;
}

static struct rp_vfu_wire_region_access
wire_of(const struct rp_vfu_client_access *access)
{
	return (struct rp_vfu_wire_region_access){access->offset_bytes, access->region, access->count_bytes};
}

static int
take_writes(const struct part *part, struct rp_wire_why *why)
{
	uint64_t answer;

	memcpy(&answer, part->call.reply.payload, sizeof(answer));
	if (answer == part->count)
		return 0;
	return rp_wire_why_set(why, answer > part->count ? -EBADMSG : -EIO,
			       "REGION_WRITE_MULTI: the server did %" PRIu64 " writes of %u", answer, part->count);
}

static int
take_accesses(const struct part *part, struct rp_wire_why *why)
{
	const struct rp_vfu_msg_view *reply = &part->call.reply;
	uint64_t answer, expected_bytes = (part->count + 1) * sizeof(answer);
	unsigned int i;

	memcpy(&answer, reply->payload, sizeof(answer));
	if (reply->payload_bytes != expected_bytes)
		return rp_wire_why_set(why, -EBADMSG,
				       "REGION_ACCESS_MULTI: reply: %u bytes, expected %" PRIu64 " for %u accesses",
				       reply->payload_bytes, expected_bytes, part->count);
	if (answer != part->count)
		return rp_wire_why_set(why, answer > part->count ? -EBADMSG : -EIO,
				       "REGION_ACCESS_MULTI: the server did %" PRIu64 " accesses of %u", answer,
				       part->count);
	for (i = 0; i < part->count; i++) {
		struct rp_vfu_client_access *access = &part->accesses[i];

		if (!access->write)
			memcpy(access->bytes, reply->payload + (i + 1) * sizeof(answer), access->count_bytes);
	}
	return 0;
}

static void
on_reply(struct rp_vfu_client *client, struct rp_vfu_call *call)
{
	struct part *part = call->owner;
	int error = call->error;

	if (error == 0 && call->command == RP_VFU_REGION_WRITE_MULTI)
		error = take_writes(part, &call->why);
	else if (error == 0 && call->command == RP_VFU_REGION_ACCESS_MULTI)
		error = take_accesses(part, &call->why);
	else if (error == 0) {
		const struct rp_vfu_wire_region_access asked = wire_of(part->accesses);

		error = rp_vfu_client_take_answer(call, &asked, part->accesses->write ? NULL : part->accesses->bytes,
						  &call->why);
	}
	rp_vfu_client_tell(client, &part->lot->done, error, &call->why);
}

static bool
has_multi(const struct rp_vfu_client *client)
{
	return (client->terms.named_mask & (1u << RP_VFU_TERM_WRITE_MULTI)) != 0;
}

static bool
has_access_multi(const struct rp_vfu_client *client)
{
	return (client->terms.named_mask & (1u << RP_VFU_TERM_ACCESS_MULTI)) != 0;
}

/* How many from here go in one message. */
static unsigned int
run_of(const struct rp_vfu_client *client, const struct rp_vfu_client_access *accesses, unsigned int left)
{
	uint64_t most = client->terms.value[RP_VFU_TERM_DATA_XFER] / sizeof(struct rp_vfu_wire_region_write1);
	unsigned int count = 1;

	if (has_access_multi(client)) {
		most = most < ACCESSES_RUN_MAX ? most : ACCESSES_RUN_MAX;
		return left < most ? left : (unsigned int)most;
	}
	if (!accesses[0].write || !has_multi(client))
		return 1;
	most = most < RUN_MAX ? most : RUN_MAX;
	while (count < left && count < most && accesses[count].write)
		count++;
	return count;
}

static int
submit(struct rp_vfu_client *client, struct part *part, struct rp_wire_why *why)
{
	uint64_t deadline_ms = 0;
	int rc;

	while ((rc = rp_vfu_client_submit(client, &part->call, why)) == -EAGAIN) {
		/* What is waited for has to leave first. */
		if (rp_wire_conn_push(client->conn) < 0 || rp_vfu_client_make_room(client, &deadline_ms, why) < 0)
			return rp_wire_why_set(why, -ENOTCONN, "the server is gone");
		rp_wire_conn_cork_flight(client->conn);
	}
	return rc;
}

static int
send_run(struct rp_vfu_client *client, struct part *part, struct rp_wire_why *why)
{
	struct rp_vfu_wire_region_write1 writes[RUN_MAX];
	uint64_t announced = part->count;
	unsigned int i;

	for (i = 0; i < part->count; i++) {
		const struct rp_vfu_client_access *access = &part->accesses[i];

		writes[i] = (struct rp_vfu_wire_region_write1){
			.offset_bytes = access->offset_bytes,
			.region = access->region,
			.count_bytes = access->count_bytes,
		};
		memcpy(&writes[i].data, access->bytes, access->count_bytes);
	}
	part->call.command = RP_VFU_REGION_WRITE_MULTI;
	part->call.payload = &announced;
	part->call.payload_bytes = sizeof(announced);
	part->call.data = writes;
	part->call.data_bytes = part->count * (uint32_t)sizeof(writes[0]);
	return submit(client, part, why);
}

static int
send_accesses(struct rp_vfu_client *client, struct part *part, struct rp_wire_why *why)
{
	struct rp_vfu_wire_region_access1 accesses[ACCESSES_RUN_MAX];
	uint64_t announced = part->count;
	unsigned int i;

	for (i = 0; i < part->count; i++) {
		const struct rp_vfu_client_access *access = &part->accesses[i];

		accesses[i] = (struct rp_vfu_wire_region_access1){
			.offset_bytes = access->offset_bytes,
			.region = access->region,
			.count_bytes = access->count_bytes,
			.flags = access->write ? RP_VFU_ACCESS1_WRITE_MASK : 0,
		};
		if (access->write)
			memcpy(&accesses[i].data, access->bytes, access->count_bytes);
	}
	part->call.command = RP_VFU_REGION_ACCESS_MULTI;
	part->call.payload = &announced;
	part->call.payload_bytes = sizeof(announced);
	part->call.data = accesses;
	part->call.data_bytes = part->count * (uint32_t)sizeof(accesses[0]);
	return submit(client, part, why);
}

static int
send_one(struct rp_vfu_client *client, struct part *part, struct rp_wire_why *why)
{
	const struct rp_vfu_client_access *access = part->accesses;
	const struct rp_vfu_wire_region_access asked = wire_of(access);

	part->call.command = access->write ? RP_VFU_REGION_WRITE : RP_VFU_REGION_READ;
	part->call.payload = &asked;
	part->call.payload_bytes = sizeof(asked);
	part->call.data = access->write ? access->bytes : NULL;
	part->call.data_bytes = access->write ? access->count_bytes : 0;
	return submit(client, part, why);
}

/* @return how many of them are under way, or a negative errno. */
static int
send_lot(struct rp_vfu_client *client, struct lot *lot, struct rp_vfu_client_access *accesses, unsigned int count,
	 struct rp_wire_why *why)
{
	unsigned int at = 0;
	int rc = 0;

	while (at < count && lot->parts_count < lot->room && lot->batch.error == 0) {
		struct part *part = &lot->parts[lot->parts_count];

		*part = (struct part){
			.lot = lot,
			.accesses = accesses + at,
			.count = run_of(client, accesses + at, count - at),
		};
		part->call.arrived = on_reply;
		part->call.owner = part;
		/* A server knows by these that more may be behind them (server_serve.c). */
		if (part->count > 1 && has_access_multi(client))
			rc = send_accesses(client, part, why);
		else if (part->accesses->write && has_multi(client) && count > 1)
			rc = send_run(client, part, why);
		else
			rc = send_one(client, part, why);
		if (rc < 0)
			return rc;
		lot->parts_count++;
		lot->batch.outstanding++;
		at += part->count;
	}
	return (int)at;
}

/* @return as send_lot, when all of them were answered. */
static int
do_lot(struct rp_vfu_client *client, struct lot *lot, struct rp_vfu_client_access *accesses, unsigned int count,
       struct rp_wire_why *why)
{
	int sent;

	lot->batch = (struct rp_vfu_batch){.outstanding = 0};
	lot->parts_count = 0;
	rp_wire_conn_cork_flight(client->conn);
	sent = send_lot(client, lot, accesses, count, why);
	/* Of a connection that ended everything was answered. */
	if (client->conn != NULL)
		(void)rp_wire_conn_uncork(client->conn);
	return rp_vfu_batch_wait(client, &lot->batch, sent, why);
}

int
rp_vfu_client_region_access_many(struct rp_vfu_client *client, struct rp_vfu_client_access *accesses,
				 unsigned int count, struct rp_wire_why *why)
{
	int rc = check_accesses(accesses, count, why);
	unsigned int room = count < LOT_MESSAGES ? count : LOT_MESSAGES, at = 0;
	struct part few[FEW_MESSAGES], *many = NULL;
	struct lot lot = {.parts = few, .room = FEW_MESSAGES};

	if (rc == 0)
		rc = rp_vfu_client_may_wait(client, RP_VFU_REGION_READ, why);
	if (rc < 0 || count == 0)
		return rc;
	if (count > FEW_MESSAGES)
		many = calloc(room, sizeof(*many));
	if (many != NULL) {
		lot.parts = many;
		lot.room = room;
	}
	lot.done = rp_vfu_batch_done(&lot.batch);
	while (rc >= 0 && at < count) {
		rc = client->conn == NULL ? rp_wire_why_set(why, -ENOTCONN, "the server is gone") :
					    do_lot(client, &lot, accesses + at, count - at, why);
		at += rc < 0 ? 0 : (unsigned int)rc;
	}
	free(many);
	return rc < 0 ? rc : 0;
}
