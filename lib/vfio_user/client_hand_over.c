/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "rp_vfu_client_hand_over.h"
#include "rp_wire_conn.h"
#include "rp_wire_fd.h"
#include "rp_wire_parcel.h"
#include "vfu_client.h"
#include "vfu_version.h"

/* The connection of a process that goes, in the one that comes. What a parcel says is judged before a client has it. */

#define SCOPE "client"
#define STATE_VERSION 1u

/* Beside memory and the window these need nothing that would have to be handed over too. */
#define TERMS_KNOWN_MASK ((1u << (RP_VFU_TERM_ACCESS_MULTI + 1)) - 1)

static int
check_idle(const struct rp_vfu_client *client, struct rp_wire_why *why)
{
	if (client->inside)
		return rp_wire_why_set(why, -EBUSY, "the connection: from inside a callback");
	if (client->conn == NULL)
		return rp_wire_why_set(why, -ENOTCONN, "the server is gone");
	if (client->calls_count > 0)
		return rp_wire_why_set(why, -EAGAIN, "the connection: %u commands are under way", client->calls_count);
	if (client->owed_count > 0)
		return rp_wire_why_set(why, -EAGAIN, "the connection: %u commands of the server's are not answered",
				       client->owed_count);
	/* What was to leave with something else leaves now. */
	(void)rp_wire_conn_flush(client->conn);
	if (!rp_wire_conn_is_idle(client->conn) || (client->twin != NULL && !rp_wire_conn_is_idle(client->twin)))
		return rp_wire_why_set(why, -EAGAIN, "the connection: half of a message is here");
	if ((client->terms.named_mask & ~TERMS_KNOWN_MASK) != 0)
		return rp_wire_why_set(why, -ENOTSUP,
				       "the connection: capabilities 0x%x were agreed on, expected none but 0x%x",
				       client->terms.named_mask, TERMS_KNOWN_MASK);
	return 0;
}

static void
pack_terms(const struct rp_vfu_terms *terms, struct rp_wire_parcel *parcel)
{
	unsigned int i;

	rp_wire_parcel_put_number(parcel, "terms", terms->named_mask);
	for (i = 0; i < RP_VFU_TERMS_COUNT; i++) {
		rp_wire_parcel_enter(parcel, "term", i);
		rp_wire_parcel_put_number(parcel, "value", terms->value[i]);
		rp_wire_parcel_leave(parcel);
	}
}

static void
pack_memory(const struct rp_vfu_memory *memory, struct rp_wire_parcel *parcel)
{
	size_t i;

	rp_wire_parcel_put_number(parcel, "memories", memory->count);
	for (i = 0; i < memory->count; i++) {
		const struct rp_vfu_range *range = &memory->ranges[i];

		rp_wire_parcel_enter(parcel, "memory", (unsigned int)i);
		rp_wire_parcel_put_number(parcel, "iova", range->iova);
		rp_wire_parcel_put_number(parcel, "last", range->last);
		rp_wire_parcel_put_number(parcel, "access", range->access_mask);
		rp_wire_parcel_leave(parcel);
	}
}

int
rp_vfu_client_give(const struct rp_vfu_client *client, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	int rc = check_idle(client, why);

	if (rc < 0)
		return rc;
	rp_wire_parcel_enter(parcel, SCOPE, 0);
	rp_wire_parcel_put_number(parcel, "version", STATE_VERSION);
	rp_wire_parcel_put_fd(parcel, "socket", rp_wire_conn_fd(client->conn));
	if (client->twin != NULL)
		rp_wire_parcel_put_fd(parcel, "twin", rp_wire_conn_fd(client->twin));
	if (client->window.bytes != NULL)
		rp_wire_parcel_put_fd(parcel, "window", client->window.fd);
	rp_wire_parcel_put_number(parcel, "next_id", client->next_id);
	pack_terms(&client->terms, parcel);
	pack_memory(&client->memory, parcel);
	rp_wire_parcel_leave(parcel);
	return rp_wire_parcel_result(parcel, why);
}

/* What is agreed on once can be agreed on again, and comes out as it went in. */
static int
unpack_terms(struct rp_wire_parcel *parcel, struct rp_vfu_terms *ret_terms, struct rp_wire_why *why)
{
	struct rp_vfu_terms ours, theirs;
	unsigned int i;
	int rc = rp_vfu_terms_parse(NULL, 0, &theirs, why);

	if (rc < 0)
		return rc;
	theirs.named_mask = (uint32_t)rp_wire_parcel_get_number(parcel, "terms", TERMS_KNOWN_MASK);
	theirs.has_object = true;
	for (i = 0; i < RP_VFU_TERMS_COUNT; i++) {
		rp_wire_parcel_enter(parcel, "term", i);
		/* A predecessor may not have known of it. */
		if (rp_wire_parcel_has(parcel, "value") || (theirs.named_mask & 1u << i) != 0)
			theirs.value[i] = rp_wire_parcel_get_number(parcel, "value", UINT64_MAX);
		rp_wire_parcel_leave(parcel);
	}
	rc = rp_wire_parcel_result(parcel, why);
	rp_vfu_terms_ours(&ours);
	if (rc == 0)
		rc = rp_vfu_terms_agree(&ours, &theirs, ret_terms, why);
	if (rc < 0)
		return rc;
	for (i = 0; i < RP_VFU_TERMS_COUNT; i++)
		if (ret_terms->value[i] != theirs.value[i])
			return rp_wire_why_set(why, -EBADMSG, "term %u: %" PRIu64 ", expected at most %" PRIu64, i,
					       theirs.value[i], ret_terms->value[i]);
	if (ret_terms->named_mask != theirs.named_mask)
		return rp_wire_why_set(why, -EBADMSG, "terms: 0x%x, expected 0x%x", theirs.named_mask,
				       ret_terms->named_mask);
	return 0;
}

static bool
is_agreed(const struct rp_vfu_client *client, enum rp_vfu_term term)
{
	return (client->terms.named_mask & (1u << term)) != 0;
}

/* Those that the terms name, and no others. */
static int
unpack_sockets(struct rp_vfu_client *client, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	bool has_twin = is_agreed(client, RP_VFU_TERM_TWIN_SOCKET), has_window = is_agreed(client, RP_VFU_TERM_WINDOW);
	RP_WIRE_FD_SCOPED int fd = rp_wire_parcel_need_fd(parcel, "socket");
	RP_WIRE_FD_SCOPED int twin_fd = has_twin ? rp_wire_parcel_need_fd(parcel, "twin") : -1;
	RP_WIRE_FD_SCOPED int window_fd = has_window ? rp_wire_parcel_need_fd(parcel, "window") : -1;
	int rc = rp_wire_parcel_result(parcel, why);

	if (rc == 0 && has_window)
		rc = rp_vfu_window_open(&client->window, window_fd, client->terms.value[RP_VFU_TERM_WINDOW], why);
	if (rc == 0)
		rc = rp_vfu_client_check_socket(fd, "socket", why);
	if (rc == 0 && has_twin && rp_wire_fd_same(fd, twin_fd) == 1)
		rc = rp_wire_why_set(why, -EBADMSG, "twin_socket: is the socket itself");
	if (rc == 0)
		rc = rp_vfu_client_take_socket(client, &fd, why);
	if (rc == 0 && has_twin)
		rc = rp_vfu_client_take_twin(client, &twin_fd, why);
	return rc;
}

static const struct rp_vfu_client_memory *
find_memory(const struct rp_vfu_client_memory *memories, unsigned int count, uint64_t iova, uint64_t last,
	    uint64_t access_mask)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (memories[i].iova == iova && memories[i].size_bytes - 1 == last - iova &&
		    memories[i].access_mask == access_mask)
			return &memories[i];
	return NULL;
}

/* As many as the caller has, each one of his, and none twice. */
static int
unpack_memory(struct rp_vfu_client *client, struct rp_wire_parcel *parcel, const struct rp_vfu_client_memory *memories,
	      unsigned int memories_count, struct rp_wire_why *why)
{
	uint64_t count = rp_wire_parcel_get_number(parcel, "memories", UINT64_MAX), i;
	int rc = rp_wire_parcel_result(parcel, why);

	if (rc == 0 && count != memories_count)
		rc = rp_wire_why_set(why, -EBADMSG, "memory: the server has %" PRIu64 " ranges, expected %u", count,
				     memories_count);
	for (i = 0; i < count && rc == 0; i++) {
		const struct rp_vfu_client_memory *memory;
		struct rp_vfu_backing *backing;
		uint64_t iova, last, access_mask;

		rp_wire_parcel_enter(parcel, "memory", (unsigned int)i);
		iova = rp_wire_parcel_get_number(parcel, "iova", UINT64_MAX);
		last = rp_wire_parcel_get_number(parcel, "last", UINT64_MAX);
		access_mask = rp_wire_parcel_get_number(parcel, "access", UINT32_MAX);
		rp_wire_parcel_leave(parcel);
		rc = rp_wire_parcel_result(parcel, why);
		memory = find_memory(memories, memories_count, iova, last, access_mask);
		if (rc == 0 && memory == NULL)
			rc = rp_wire_why_set(why, -EBADMSG,
					     "memory: the server has 0x%" PRIx64 " to 0x%" PRIx64 " (access 0x%" PRIx64
					     "), expected a range that is mapped here",
					     iova, last, access_mask);
		if (rc == 0)
			rc = rp_vfu_memory_add(&client->memory, memory, &backing, why);
		if (rc == 0)
			rp_vfu_backing_put(backing);
	}
	/* What overlaps, or is said twice, is another memory than the caller's. */
	return rc == -EEXIST || rc == -EINVAL ? -EBADMSG : rc;
}

static int
unpack(struct rp_vfu_client *client, struct rp_wire_parcel *parcel, const struct rp_vfu_client_memory *memories,
       unsigned int memories_count, struct rp_wire_why *why)
{
	uint64_t version = rp_wire_parcel_get_number(parcel, "version", UINT32_MAX);
	int rc;

	client->next_id = (uint16_t)rp_wire_parcel_get_number(parcel, "next_id", UINT16_MAX);
	rc = rp_wire_parcel_result(parcel, why);
	if (rc == 0 && version != STATE_VERSION)
		rc = rp_wire_why_set(why, -ENOTSUP, "version: %" PRIu64 ", expected %u", version, STATE_VERSION);
	if (rc == 0)
		rc = unpack_terms(parcel, &client->terms, why);
	if (rc == 0)
		rc = unpack_memory(client, parcel, memories, memories_count, why);
	return rc < 0 ? rc : unpack_sockets(client, parcel, why);
}

int
rp_vfu_client_adopt(const struct rp_vfu_client_config *config, const struct rp_vfu_client_ops *ops, void *ctx,
		    struct rp_wire_parcel *parcel, const struct rp_vfu_client_memory *memories,
		    unsigned int memories_count, struct rp_vfu_client **ret_client, struct rp_wire_why *why)
{
	struct rp_vfu_client *client = rp_vfu_client_new(config, ops, ctx);
	int rc;

	if (client == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory for a client");
	rp_wire_parcel_enter(parcel, SCOPE, 0);
	rc = unpack(client, parcel, memories, memories_count, why);
	rp_wire_parcel_leave(parcel);
	if (rc < 0)
		rp_wire_why_prefix(why, "the connection: ");
	if (rc == 0) {
		rc = rp_vfu_client_poll_init(client);
		if (rc < 0)
			rp_wire_why_set(why, rc, "what is polled: %s", strerror(-rc));
	}
	if (rc < 0) {
		rp_vfu_client_destroy(client);
		return rc;
	}
	rp_vfu_client_ready(client);
	*ret_client = client;
	return 0;
}
