/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "vhu_frontend.h"

#define MTU_MIN 68u /* virtio 1.2, 5.1.4.1 */
#define CONFIG_FLAG_MIGRATION 1u /* vhost-user.rst, "Virtio device config space" */

/* What both messages about configuration space begin with. */
static int
config_question(uint32_t offset_bytes, uint32_t size_bytes, uint32_t flags, uint8_t *ret_question,
		struct rp_wire_why *why)
{
	struct rp_vhu_wire_config config = {.offset_bytes = offset_bytes, .size_bytes = size_bytes, .flags = flags};

	if (size_bytes == 0 || size_bytes > RP_VHU_CONFIG_MAX)
		return rp_wire_why_set(why, -EINVAL, "%u bytes of configuration space", size_bytes);
	memset(ret_question, 0, VHU_ANSWER_MAX_BYTES);
	memcpy(ret_question, &config, sizeof(config));
	return 0;
}

int
rp_vhu_frontend_get_config(struct rp_vhu_frontend *frontend, uint32_t offset_bytes, uint32_t size_bytes,
			   uint8_t *ret_bytes, struct rp_wire_why *why)
{
	uint8_t question[VHU_ANSWER_MAX_BYTES], answer[VHU_ANSWER_MAX_BYTES];
	uint32_t total_bytes = (uint32_t)sizeof(struct rp_vhu_wire_config) + size_bytes;
	int rc = config_question(offset_bytes, size_bytes, 0, question, why);

	if (rc == 0)
		rc = vhu_frontend_call(frontend, RP_VHU_GET_CONFIG, question, total_bytes, NULL, 0, false, answer,
				       total_bytes, why);
	if (rc == 0 && memcmp(answer, question, offsetof(struct rp_vhu_wire_config, flags)) != 0)
		rc = rp_wire_why_set(why, -EBADMSG, "GET_CONFIG: answer: not the offset and size that were asked");
	if (rc == 0)
		memcpy(ret_bytes, answer + sizeof(struct rp_vhu_wire_config), size_bytes);
	return rc;
}

int
rp_vhu_frontend_set_config(struct rp_vhu_frontend *frontend, uint32_t offset_bytes, uint32_t size_bytes,
			   const uint8_t *bytes, bool migration, struct rp_wire_why *why)
{
	uint8_t question[VHU_ANSWER_MAX_BYTES];
	int rc = config_question(offset_bytes, size_bytes, migration ? CONFIG_FLAG_MIGRATION : 0, question, why);

	if (rc < 0)
		return rc;
	memcpy(question + sizeof(struct rp_vhu_wire_config), bytes, size_bytes);
	return vhu_frontend_tell(frontend, RP_VHU_SET_CONFIG, question,
				 (uint32_t)sizeof(struct rp_vhu_wire_config) + size_bytes, NULL, 0, why);
}

static int
tell_u64(struct rp_vhu_frontend *frontend, uint32_t request, uint64_t value, struct rp_wire_why *why)
{
	return vhu_frontend_tell(frontend, request, &value, sizeof(value), NULL, 0, why);
}

int
rp_vhu_frontend_set_status(struct rp_vhu_frontend *frontend, uint8_t status, struct rp_wire_why *why)
{
	return tell_u64(frontend, RP_VHU_SET_STATUS, status, why);
}

int
rp_vhu_frontend_get_status(struct rp_vhu_frontend *frontend, uint8_t *ret_status, struct rp_wire_why *why)
{
	uint64_t status;
	int rc = vhu_frontend_get_u64(frontend, RP_VHU_GET_STATUS, &status, why);

	if (rc == 0 && status > UINT8_MAX)
		rc = rp_wire_why_set(why, -EBADMSG, "GET_STATUS: answer: 0x%llx, expected 8 bits",
				     (unsigned long long)status);
	if (rc == 0)
		*ret_status = (uint8_t)status;
	return rc;
}

int
rp_vhu_frontend_set_mtu(struct rp_vhu_frontend *frontend, uint16_t mtu_bytes, struct rp_wire_why *why)
{
	if (mtu_bytes < MTU_MIN)
		return rp_wire_why_set(why, -EINVAL, "MTU: %u, expected %u or more", mtu_bytes, MTU_MIN);
	return tell_u64(frontend, RP_VHU_NET_SET_MTU, mtu_bytes, why);
}

int
rp_vhu_frontend_send_rarp(struct rp_vhu_frontend *frontend, const uint8_t mac[6], struct rp_wire_why *why)
{
	static const uint8_t zero[6];
	uint64_t word = 0;

	if ((mac[0] & 1) != 0 || memcmp(mac, zero, sizeof(zero)) == 0)
		return rp_wire_why_set(why, -EINVAL, "MAC address: expected one station's");
	memcpy(&word, mac, sizeof(zero)); /* its first six bytes, whatever the byte order */
	return tell_u64(frontend, RP_VHU_SEND_RARP, word, why);
}

int
rp_vhu_frontend_get_max_mem_slots(struct rp_vhu_frontend *frontend, uint32_t *ret_slots, struct rp_wire_why *why)
{
	uint64_t slots;
	int rc = vhu_frontend_get_u64(frontend, RP_VHU_GET_MAX_MEM_SLOTS, &slots, why);

	if (rc == 0 && slots == 0)
		rc = rp_wire_why_set(why, -EBADMSG, "GET_MAX_MEM_SLOTS: answer: none");
	if (rc == 0)
		*ret_slots = slots > UINT32_MAX ? UINT32_MAX : (uint32_t)slots;
	return rc;
}

/*
 * VFIO files go when the backend has done it, not before: the device works until then, and
 * what the kernel knows of it has to stay true. The masters of 2018 kept them, and their
 * backends do not send them again.
 */
static int
after_reset(struct rp_vhu_frontend *frontend)
{
	if (frontend->dialect.profile != RP_VHU_PROFILE_VFIO2018)
		vhu_frontend_drop_vfio_files(frontend);
	return 0;
}

int
rp_vhu_frontend_reset_device(struct rp_vhu_frontend *frontend, struct rp_wire_why *why)
{
	int rc = vhu_frontend_may_wait(frontend, why);

	if (rc < 0)
		return rc;
	if ((frontend->protocol_features & 1ull << RP_VHU_PF_RESET_DEVICE_BIT) == 0)
		return rp_wire_why_set(why, -ENOTSUP, "RESET_DEVICE: was not negotiated");
	vhu_frontend_reset_queues(frontend);
	rc = vhu_frontend_tell(frontend, RP_VHU_RESET_DEVICE, NULL, 0, NULL, 0, why);
	return rc < 0 ? rc : after_reset(frontend);
}

int
rp_vhu_frontend_reset_owner(struct rp_vhu_frontend *frontend, struct rp_wire_why *why)
{
	unsigned int i;
	int rc = vhu_frontend_may_wait(frontend, why);

	if (rc < 0)
		return rc;
	for (i = 0; i < frontend->config.queues_max; i++)
		if (frontend->queues[i].started)
			return rp_wire_why_set(why, -EINVAL, "RESET_OWNER: ring %u is started", i);
	vhu_frontend_reset_queues(frontend);
	rc = vhu_frontend_tell(frontend, RP_VHU_RESET_OWNER, NULL, 0, NULL, 0, why);
	return rc < 0 ? rc : after_reset(frontend);
}
