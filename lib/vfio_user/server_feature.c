/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "vfu_server.h"

#define HEAD_BYTES sizeof(struct rp_vfu_wire_feature)

/* One feature. A method that it lacks is NULL. */
struct feature {
	uint32_t index;
	uint32_t get_data_bytes; /* at least that many follow a GET */
	uint32_t set_data_bytes; /* at least that many follow a SET */
	const char *name;
	bool (*is_offered)(const struct rp_vfu_server *server);
	int (*get)(struct rp_vfu_server *server, struct rp_vfu_feature_get *get, struct rp_vfu_reply *reply,
		   struct rp_wire_why *why);
	int (*set)(struct rp_vfu_server *server, uint8_t *data, uint32_t data_bytes, struct rp_vfu_reply *reply,
		   struct rp_wire_why *why);
};

static bool
can_migrate(const struct rp_vfu_server *server)
{
	return server->migration.flags != 0;
}

static bool
can_log(const struct rp_vfu_server *server)
{
	return server->dma_logging;
}

/* clang-format off */
static const struct feature features[] = {
	{ .index = RP_VFU_FEATURE_MIGRATION, .name = "MIGRATION", .is_offered = can_migrate,
	  .get = rp_vfu_server_get_migration },
	{ .index = RP_VFU_FEATURE_MIG_DEVICE_STATE, .name = "MIG_DEVICE_STATE", .is_offered = can_migrate,
	  .get = rp_vfu_server_get_mig_state,
	  .set_data_bytes = sizeof(struct rp_vfu_wire_mig_state), .set = rp_vfu_server_set_mig_state },
	{ .index = RP_VFU_FEATURE_DMA_LOGGING_START, .name = "DMA_LOGGING_START", .is_offered = can_log,
	  .set_data_bytes = sizeof(struct rp_vfu_wire_logging_start), .set = rp_vfu_server_set_log_start },
	{ .index = RP_VFU_FEATURE_DMA_LOGGING_STOP, .name = "DMA_LOGGING_STOP", .is_offered = can_log,
	  .set = rp_vfu_server_set_log_stop },
	{ .index = RP_VFU_FEATURE_DMA_LOGGING_REPORT, .name = "DMA_LOGGING_REPORT", .is_offered = can_log,
	  .get_data_bytes = sizeof(struct rp_vfu_wire_logging_report), .get = rp_vfu_server_get_log },
};
/* clang-format on */

static const struct feature *
find_feature(const struct rp_vfu_server *server, uint32_t index)
{
	unsigned int i;

	for (i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		if (features[i].index == index)
			return features[i].is_offered(server) ? &features[i] : NULL;
	}
	return NULL;
}

/* A probe may name methods, a command names the one that it wants. */
static int
check_methods(const struct feature *feature, uint32_t flags, struct rp_wire_why *why)
{
	if ((flags & RP_VFU_FEATURE_GET_MASK) != 0 && feature->get == NULL)
		return rp_wire_why_set(why, -ENOTSUP, "it cannot be got");
	if ((flags & RP_VFU_FEATURE_SET_MASK) != 0 && feature->set == NULL)
		return rp_wire_why_set(why, -ENOTSUP, "it cannot be set");
	return 0;
}

static int
check_data(uint32_t data_bytes, uint32_t want_bytes, struct rp_wire_why *why)
{
	if (data_bytes < want_bytes)
		return rp_wire_why_set(why, -EMSGSIZE, "data: %u bytes, expected at least %u", data_bytes, want_bytes);
	return 0;
}

/* The reply to a PROBE and a SET is the command's payload. @return where its data stands, NULL: no memory. */
static uint8_t *
repeat(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, struct rp_vfu_reply *reply)
{
	uint32_t data_bytes = command->payload_bytes - (uint32_t)HEAD_BYTES;
	uint8_t *data;

	/* A reply that may have to wait has no scratch: what waits is small. */
	if (command->payload_bytes <= sizeof(reply->fixed)) {
		memcpy(reply->fixed, command->payload, command->payload_bytes);
		reply->fixed_bytes = command->payload_bytes;
		return reply->fixed + HEAD_BYTES;
	}
	data = rp_vfu_server_scratch(server, data_bytes);
	if (data == NULL)
		return NULL;
	memcpy(data, command->payload + HEAD_BYTES, data_bytes);
	memcpy(reply->fixed, command->payload, HEAD_BYTES);
	reply->fixed_bytes = HEAD_BYTES;
	reply->data = data;
	reply->data_bytes = data_bytes;
	return data;
}

static int
set_feature(struct rp_vfu_server *server, const struct feature *feature, const struct rp_vfu_msg_view *command,
	    struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	uint32_t data_bytes = command->payload_bytes - (uint32_t)HEAD_BYTES;
	int rc = check_data(data_bytes, feature->set_data_bytes, why);
	uint8_t *data;

	if (rc < 0)
		return rc;
	data = repeat(server, command, reply);
	if (data == NULL)
		return rp_wire_why_set(why, -ENOSPC, "no memory for the reply");
	return feature->set(server, data, data_bytes, reply, why);
}

static int
get_feature(struct rp_vfu_server *server, const struct feature *feature, const struct rp_vfu_msg_view *command,
	    struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	struct rp_vfu_feature_get get = {
		.data = command->payload + HEAD_BYTES,
		.data_bytes = command->payload_bytes - (uint32_t)HEAD_BYTES,
	};
	struct rp_vfu_wire_feature head;
	int rc = check_data(get.data_bytes, feature->get_data_bytes, why);

	if (rc < 0)
		return rc;
	memcpy(&head, command->payload, sizeof(head));
	get.room_bytes = head.argsz - (uint32_t)HEAD_BYTES;
	reply->fixed_bytes = HEAD_BYTES;
	rc = feature->get(server, &get, reply, why);
	if (rc < 0)
		return rc;
	head.argsz = (uint32_t)HEAD_BYTES + get.ret_bytes;
	memcpy(reply->fixed, &head, sizeof(head));
	return 0;
}

int
rp_vfu_server_on_feature(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			 struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	const struct feature *feature;
	struct rp_vfu_wire_feature head;
	int rc;

	(void)fds;
	memcpy(&head, command->payload, sizeof(head));
	feature = find_feature(server, head.flags & RP_VFU_FEATURE_INDEX_MASK);
	if (feature == NULL)
		return rp_wire_why_set(why, -ENOTSUP, "feature %u: the device does not have it",
				       head.flags & RP_VFU_FEATURE_INDEX_MASK);
	rc = check_methods(feature, head.flags, why);
	if (rc == 0 && (head.flags & RP_VFU_FEATURE_PROBE_MASK) != 0)
		rc = repeat(server, command, reply) == NULL ? rp_wire_why_set(why, -ENOSPC, "no memory") : 0;
	else if (rc == 0 && (head.flags & RP_VFU_FEATURE_SET_MASK) != 0)
		rc = set_feature(server, feature, command, reply, why);
	else if (rc == 0)
		rc = get_feature(server, feature, command, reply, why);
	if (rc < 0 && rc != -EINPROGRESS)
		rp_wire_why_prefix(why, "%s: ", feature->name);
	return rc;
}
