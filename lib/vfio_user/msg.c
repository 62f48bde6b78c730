/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "rp_vfu_msg.h"

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Room beyond the longest legal payload, so that one byte too many is refused by name and not by closing. */
#define PAYLOAD_MAX_BYTES (RP_VFU_DATA_XFER_MAX_BYTES + 4096u)

/* What most messages have behind their header. What is shorter (a reset, an error, an empty answer) has no descriptors. */
#define AHEAD_BYTES 16u

#define ERRNO_MAX 4095

static int
payload_bytes(const void *bytes, size_t *ret_bytes, struct rp_wire_why *why)
{
	struct rp_vfu_header header;
	uint32_t type;

	memcpy(&header, bytes, sizeof(header));
	type = header.flags & RP_VFU_TYPE_MASK;
	if (type != RP_VFU_TYPE_COMMAND && type != RP_VFU_TYPE_REPLY)
		return rp_wire_why_set(why, -EPROTO, "header: type %u, expected command (0) or reply (1)", type);
	if (header.size_bytes < sizeof(header))
		return rp_wire_why_set(why, -EPROTO, "header: size %u, expected at least %zu", header.size_bytes,
				       sizeof(header));
	*ret_bytes = header.size_bytes - sizeof(header);
	return 0;
}

const struct rp_wire_framing rp_vfu_framing = {
	.header_bytes = sizeof(struct rp_vfu_header),
	.payload_max_bytes = PAYLOAD_MAX_BYTES,
	.output_max_bytes = 4 * PAYLOAD_MAX_BYTES,
	.fds_max = RP_VFU_MSG_FDS_MAX,
	.payload_bytes = payload_bytes,
	.ahead_bytes = AHEAD_BYTES,
};

const char *
rp_vfu_msg_name(uint16_t command)
{
	const struct rp_vfu_msg *row = rp_vfu_msg_find(command);

	return row == NULL ? "unknown" : row->name;
}

void
rp_vfu_msg_parse(const struct rp_wire_msg *msg, struct rp_vfu_msg_view *ret_view)
{
	memcpy(&ret_view->header, msg->bytes, sizeof(ret_view->header));
	ret_view->payload = msg->bytes + sizeof(ret_view->header);
	ret_view->payload_bytes = (uint32_t)(msg->size_bytes - sizeof(ret_view->header));
	ret_view->fds_count = msg->fds_count;
}

static int
check_legal_here(const struct rp_vfu_msg *row, enum rp_vfu_direction direction, enum rp_vfu_state state,
		 const struct rp_vfu_terms *terms, struct rp_wire_why *why)
{
	if (row->direction != direction)
		return rp_wire_why_set(why, -ENOTSUP, "goes from %s only",
				       direction == RP_VFU_TO_SERVER ? "server to client" : "client to server");
	if ((row->states_mask & (1u << state)) == 0)
		return rp_wire_why_set(why, -EBUSY, state == RP_VFU_STATE_NEW ? "before VERSION" : "a second time");
	if (row->terms_mask != 0 && (terms == NULL || (row->terms_mask & ~terms->named_mask) != 0))
		return rp_wire_why_set(why, -ENOTSUP, "its capability was not negotiated");
	return 0;
}

static int
check_argsz(const struct rp_vfu_msg_view *view, uint32_t min_bytes, struct rp_wire_why *why)
{
	uint32_t argsz;

	memcpy(&argsz, view->payload, sizeof(argsz));
	if (argsz < min_bytes)
		return rp_wire_why_set(why, -EBADMSG, "argsz: %u, expected at least %u", argsz, min_bytes);
	return 0;
}

static bool
has_pasids(const struct rp_vfu_terms *terms)
{
	return terms != NULL && (terms->named_mask & (1u << RP_VFU_TERM_PASID_BITS)) != 0;
}

static int
check_shape(const struct rp_vfu_msg *row, const struct rp_vfu_msg_view *view, const struct rp_vfu_terms *terms,
	    struct rp_wire_why *why)
{
	uint32_t max_bytes = row->payload_max_bytes;

	if (row->pasid && has_pasids(terms))
		max_bytes += (uint32_t)sizeof(struct rp_vfu_wire_pasid);
	if (view->payload_bytes < row->payload_min_bytes || view->payload_bytes > max_bytes)
		return rp_wire_why_set(why, -EMSGSIZE, "payload: %u bytes, expected %u to %u", view->payload_bytes,
				       row->payload_min_bytes, max_bytes);
	if (view->fds_count < row->fds_min || view->fds_count > row->fds_max)
		return rp_wire_why_set(why, -EBADMSG, "descriptors: %u, expected %u to %u", view->fds_count,
				       row->fds_min, row->fds_max);
	if (row->argsz) {
		int rc = check_argsz(view, row->payload_min_bytes, why);

		if (rc < 0)
			return rc;
	}
	return row->check == NULL ? 0 : row->check(view, why);
}

int
rp_vfu_msg_check_command(const struct rp_vfu_msg_view *view, enum rp_vfu_direction direction, enum rp_vfu_state state,
			 const struct rp_vfu_terms *terms, const struct rp_vfu_msg **ret_msg, struct rp_wire_why *why)
{
	const struct rp_vfu_msg *row = rp_vfu_msg_find(view->header.command);
	int rc;

	if (row == NULL)
		return rp_wire_why_set(why, -ENOTSUP, "command %u: unknown", view->header.command);
	rc = check_legal_here(row, direction, state, terms, why);
	if (rc == 0)
		rc = check_shape(row, view, terms, why);
	if (rc < 0) {
		rp_wire_why_prefix(why, "%s: ", row->name);
		return rc;
	}
	if (ret_msg != NULL)
		*ret_msg = row;
	return 0;
}

int
rp_vfu_msg_judge_pasid(const struct rp_vfu_wire_pasid *field, uint32_t flags_more, const struct rp_vfu_terms *terms,
		       uint32_t *ret_pasid, struct rp_wire_why *why)
{
	uint64_t bits = terms->value[RP_VFU_TERM_PASID_BITS];

	if ((field->flags & ~(RP_VFU_IOMMU_PASID_MASK | flags_more)) != 0)
		return rp_wire_why_set(why, -EBADMSG, "flags: 0x%x has unknown bits", field->flags);
	if ((field->flags & RP_VFU_IOMMU_PASID_MASK) == 0) {
		*ret_pasid = RP_VFU_NO_PASID;
		return 0;
	}
	/* Without any there is not even 0. */
	if (bits == 0 || field->pasid >> bits != 0)
		return rp_wire_why_set(why, -EBADMSG, "pasid: 0x%x, expected at most %u bits", field->pasid,
				       (unsigned int)bits);
	*ret_pasid = field->pasid;
	return 0;
}

int
rp_vfu_msg_take_pasid(const struct rp_vfu_msg_view *command, const struct rp_vfu_terms *terms, uint64_t body_bytes,
		      uint32_t fixed_bytes, uint32_t *ret_pasid, uint32_t *ret_trailer_bytes, struct rp_wire_why *why)
{
	struct rp_vfu_wire_pasid trailer;

	*ret_trailer_bytes = 0;
	*ret_pasid = RP_VFU_NO_PASID;
	if (command->payload_bytes == body_bytes)
		return 0;
	if (!has_pasids(terms) || command->payload_bytes < sizeof(trailer) ||
	    command->payload_bytes - sizeof(trailer) != body_bytes)
		return rp_wire_why_set(why, -EMSGSIZE, "payload: %u bytes, expected %llu, or 8 more with a PASID",
				       command->payload_bytes, (unsigned long long)body_bytes);
	memcpy(&trailer, command->payload + fixed_bytes, sizeof(trailer));
	*ret_trailer_bytes = sizeof(trailer);
	return rp_vfu_msg_judge_pasid(&trailer, 0, terms, ret_pasid, why);
}

static int
check_reply_shape(const struct rp_vfu_msg *row, const struct rp_vfu_msg_view *view, struct rp_wire_why *why)
{
	if (view->header.command != row->command)
		return rp_wire_why_set(why, -EBADMSG, "names command %u", view->header.command);
	if ((view->header.flags & RP_VFU_FLAG_ERROR) != 0) {
		if (view->payload_bytes > 0 || view->fds_count > 0)
			return rp_wire_why_set(why, -EBADMSG, "an error with %u bytes and %u descriptors",
					       view->payload_bytes, view->fds_count);
		return 0;
	}
	if (view->payload_bytes < row->reply_min_bytes || view->payload_bytes > row->reply_max_bytes)
		return rp_wire_why_set(why, -EBADMSG, "payload: %u bytes, expected %u to %u", view->payload_bytes,
				       row->reply_min_bytes, row->reply_max_bytes);
	if (view->fds_count > row->reply_fds_max)
		return rp_wire_why_set(why, -EBADMSG, "descriptors: %u, expected at most %u", view->fds_count,
				       row->reply_fds_max);
	return row->reply == RP_VFU_REPLY_ARGSZ ? check_argsz(view, view->payload_bytes, why) : 0;
}

int
rp_vfu_msg_check_reply(const struct rp_vfu_msg_view *view, uint16_t command, struct rp_wire_why *why)
{
	const struct rp_vfu_msg *row = rp_vfu_msg_find(command);
	int rc;

	if (row == NULL)
		return rp_wire_why_set(why, -EBADMSG, "reply: to command %u, which is unknown", command);
	rc = check_reply_shape(row, view, why);
	if (rc < 0)
		rp_wire_why_prefix(why, "%s: reply: ", row->name);
	return rc;
}

/* clang-format off */
static const struct rp_vfu_errno errors[] = {
	{ -ENOTSUP, EOPNOTSUPP, "the command, flag or capability is unknown, not built, or was not negotiated" },
	{ -EBUSY, EBUSY, "any command before VERSION; VERSION a second time; a state of migration that the command does not go with; "
	  "dirty pages when no logging was started, logging when it was" },
	{ -EMSGSIZE, EMSGSIZE, "the payload is shorter or longer than its row says; a count above max_data_xfer_size" },
	{ -EBADMSG, EINVAL, "a field or a descriptor breaks a rule" },
	{ -EACCES, EACCES, "a REGION_READ of what cannot be read, a REGION_WRITE of what cannot be written; "
			   "DMA by message without that right" },
	{ -EFAULT, EFAULT, "DMA by message of what is not mapped" },
	{ -EEXIST, EEXIST, "a DMA_MAP overlaps a mapping" },
	{ -ENOSPC, ENOSPC, "a limit of the receiver's: mappings, memory, descriptors; "
			   "more translations or invalidations at one moment than agreed on" },
};
/* clang-format on */

const struct rp_vfu_errno *
rp_vfu_errno_at(unsigned int index)
{
	return index < ARRAY_COUNT(errors) ? &errors[index] : NULL;
}

uint32_t
rp_vfu_errno_wire(int error)
{
	unsigned int i;

	for (i = 0; i < ARRAY_COUNT(errors); i++) {
		if (errors[i].error == error)
			return errors[i].wire;
	}
	return error < 0 && error >= -ERRNO_MAX ? (uint32_t)-error : EIO;
}
