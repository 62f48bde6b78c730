/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vfu_client.h"

/* DEVICE_FEATURE: probing, getting and setting, and the migration state, which is one of them. */

#define METHODS_MASK (RP_VFU_FEATURE_GET_MASK | RP_VFU_FEATURE_SET_MASK)

/* What is the same for every answer. */
static int
judge(const struct rp_vfu_call *call, const struct rp_vfu_wire_feature *asked, struct rp_wire_why *why)
{
	struct rp_vfu_wire_feature answer;

	memcpy(&answer, call->reply.payload, sizeof(answer));
	if (answer.flags != asked->flags)
		return rp_wire_why_set(why, -EBADMSG, "DEVICE_FEATURE: reply: flags: 0x%x, asked for 0x%x",
				       answer.flags, asked->flags);
	if (answer.argsz != call->reply.payload_bytes)
		return rp_wire_why_set(why, -EBADMSG, "DEVICE_FEATURE: reply: argsz: %u, in a reply of %u bytes",
				       answer.argsz, call->reply.payload_bytes);
	return 0;
}

/* @param ret_call its payload is valid until the next message. */
static int
ask(struct rp_vfu_client *client, uint32_t flags, const void *data, uint32_t data_bytes, uint32_t room_bytes,
    struct rp_vfu_call *ret_call, struct rp_wire_why *why)
{
	const struct rp_vfu_wire_feature asked = {
		.argsz = (uint32_t)sizeof(asked) + (room_bytes > data_bytes ? room_bytes : data_bytes),
		.flags = flags,
	};
	int rc;

	*ret_call = (struct rp_vfu_call){
		.command = RP_VFU_DEVICE_FEATURE,
		.payload = &asked,
		.payload_bytes = sizeof(asked),
		.data = data,
		.data_bytes = data_bytes,
	};
	if (data_bytes > RP_VFU_DATA_XFER_MAX_BYTES || room_bytes > RP_VFU_DATA_XFER_MAX_BYTES)
		return rp_wire_why_set(why, -EINVAL, "DEVICE_FEATURE: %u bytes, room for %u", data_bytes, room_bytes);
	rc = rp_vfu_client_call(client, ret_call, why);
	ret_call->payload = NULL;
	return rc < 0 ? rc : judge(ret_call, &asked, why);
}

int
rp_vfu_client_feature_probe(struct rp_vfu_client *client, uint32_t feature, uint32_t methods_mask,
			    struct rp_wire_why *why)
{
	struct rp_vfu_call call;

	if (feature > RP_VFU_FEATURE_INDEX_MASK || (methods_mask & ~METHODS_MASK) != 0)
		return rp_wire_why_set(why, -EINVAL, "DEVICE_FEATURE: feature %u, methods 0x%x", feature, methods_mask);
	return ask(client, feature | methods_mask | RP_VFU_FEATURE_PROBE_MASK, NULL, 0, 0, &call, why);
}

int
rp_vfu_client_feature_get(struct rp_vfu_client *client, uint32_t feature, void *ret_data, uint32_t room_bytes,
			  uint32_t *ret_bytes, struct rp_wire_why *why)
{
	struct rp_vfu_call call;
	uint32_t data_bytes;
	int rc;

	if (feature > RP_VFU_FEATURE_INDEX_MASK)
		return rp_wire_why_set(why, -EINVAL, "DEVICE_FEATURE: feature %u", feature);
	rc = ask(client, feature | RP_VFU_FEATURE_GET_MASK, NULL, 0, room_bytes, &call, why);
	if (rc < 0)
		return rc;
	data_bytes = call.reply.payload_bytes - (uint32_t)sizeof(struct rp_vfu_wire_feature);
	if (data_bytes > room_bytes)
		return rp_wire_why_set(why, -EBADMSG, "DEVICE_FEATURE: reply: %u bytes of data, expected at most %u",
				       data_bytes, room_bytes);
	memcpy(ret_data, call.reply.payload + sizeof(struct rp_vfu_wire_feature), data_bytes);
	*ret_bytes = data_bytes;
	return 0;
}

int
rp_vfu_client_feature_set(struct rp_vfu_client *client, uint32_t feature, void *data, uint32_t data_bytes,
			  struct rp_wire_why *why)
{
	struct rp_vfu_call call;
	uint32_t back_bytes;
	int rc;

	if (feature > RP_VFU_FEATURE_INDEX_MASK)
		return rp_wire_why_set(why, -EINVAL, "DEVICE_FEATURE: feature %u", feature);
	rc = ask(client, feature | RP_VFU_FEATURE_SET_MASK, data, data_bytes, 0, &call, why);
	if (rc < 0)
		return rc;
	back_bytes = call.reply.payload_bytes - (uint32_t)sizeof(struct rp_vfu_wire_feature);
	if (back_bytes != data_bytes)
		return rp_wire_why_set(why, -EBADMSG, "DEVICE_FEATURE: reply: %u bytes of data, expected %u",
				       back_bytes, data_bytes);
	if (data_bytes > 0)
		memcpy(data, call.reply.payload + sizeof(struct rp_vfu_wire_feature), data_bytes);
	return 0;
}

/* A feature whose data has one size. */
static int
get_fixed(struct rp_vfu_client *client, uint32_t feature, void *ret_data, uint32_t data_bytes, struct rp_wire_why *why)
{
	uint32_t got_bytes = 0;
	int rc = rp_vfu_client_feature_get(client, feature, ret_data, data_bytes, &got_bytes, why);

	if (rc == 0 && got_bytes != data_bytes)
		return rp_wire_why_set(why, -EBADMSG, "DEVICE_FEATURE: reply: %u bytes of data, expected %u", got_bytes,
				       data_bytes);
	return rc;
}

int
rp_vfu_client_migration_flags(struct rp_vfu_client *client, uint64_t *ret_flags, struct rp_wire_why *why)
{
	struct rp_vfu_wire_feature_migration migration = {.flags = 0};
	int rc = get_fixed(client, RP_VFU_FEATURE_MIGRATION, &migration, sizeof(migration), why);

	if (rc < 0)
		return rc;
	if ((migration.flags & RP_VFU_MIGRATION_STOP_COPY_MASK) == 0)
		return rp_wire_why_set(why, -EBADMSG, "DEVICE_FEATURE: reply: migration without STOP_COPY (1)");
	*ret_flags = migration.flags;
	return 0;
}

int
rp_vfu_client_migration_state(struct rp_vfu_client *client, enum rp_vfu_mig_state *ret_state, struct rp_wire_why *why)
{
	struct rp_vfu_wire_mig_state state = {.device_state = 0};
	int rc = get_fixed(client, RP_VFU_FEATURE_MIG_DEVICE_STATE, &state, sizeof(state), why);

	if (rc < 0)
		return rc;
	if (state.device_state >= RP_VFU_MIG_STATES_COUNT)
		return rp_wire_why_set(why, -EBADMSG, "DEVICE_FEATURE: reply: migration state %u", state.device_state);
	*ret_state = (enum rp_vfu_mig_state)state.device_state;
	return 0;
}

int
rp_vfu_client_migration_set_state(struct rp_vfu_client *client, enum rp_vfu_mig_state state, struct rp_wire_why *why)
{
	struct rp_vfu_wire_mig_state wire = {.device_state = (uint32_t)state};
	int rc = rp_vfu_client_feature_set(client, RP_VFU_FEATURE_MIG_DEVICE_STATE, &wire, sizeof(wire), why);

	if (rc == 0 && wire.device_state != (uint32_t)state)
		return rp_wire_why_set(why, -EBADMSG, "DEVICE_FEATURE: reply: migration state %u, asked for %u",
				       wire.device_state, (unsigned int)state);
	return rc;
}
