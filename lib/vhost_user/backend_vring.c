/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rp_wire_fd.h"
#include "vhu_backend.h"

int
vhu_vrings_create(struct rp_vhu_backend *backend)
{
	unsigned int i;

	backend->vrings = calloc(backend->config.queues_max, sizeof(*backend->vrings));
	if (backend->vrings == NULL)
		return -ENOMEM;
	for (i = 0; i < backend->config.queues_max; i++)
		backend->vrings[i].state.kick_fd = backend->vrings[i].state.call_fd = backend->vrings[i].state.err_fd =
			-1;
	return 0;
}

static struct vhu_vring *
find(struct rp_vhu_backend *backend, uint64_t index, struct rp_wire_why *why)
{
	if (index < backend->config.queues_max)
		return &backend->vrings[index];
	rp_wire_why_set(why, -EBADMSG, "index: %llu, expected 0 to %u", (unsigned long long)index,
			backend->config.queues_max - 1u);
	return NULL;
}

static unsigned int
index_of(const struct rp_vhu_backend *backend, const struct vhu_vring *vring)
{
	return (unsigned int)(vring - backend->vrings);
}

/* Without protocol features there is no SET_VRING_ENABLE, and rings are born enabled. */
static bool
is_enabled(const struct rp_vhu_backend *backend, const struct vhu_vring *vring)
{
	bool explicit = (backend->features & 1ull << RP_VHU_F_PROTOCOL_FEATURES_BIT) != 0 || !backend->features_acked;

	return vring->enabled_by_message || !explicit;
}

int
vhu_on_set_vring_num(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	struct rp_vhu_wire_vring_state wire;
	struct vhu_vring *vring;
	int rc;

	memcpy(&wire, request->payload, sizeof(wire));
	vring = find(backend, wire.index, why);
	if (vring == NULL)
		return -EBADMSG;
	rc = vhu_vring_check_num(backend, wire.num, false, why);
	if (rc < 0)
		return rc;
	if (vring->state.started && wire.num != vring->state.num)
		return rp_wire_why_set(why, -EBUSY, "ring %u is started", wire.index);
	vring->state.num = (uint16_t)wire.num;
	vring->num_known = true;
	return 0;
}

uint64_t
vhu_vring_used_bytes(const struct rp_vhu_backend *backend, unsigned int queue)
{
	return vhu_vring_packed(backend) ? 4 : 6 + 8 * (uint64_t)backend->vrings[queue].state.num;
}

/* Whether writes to the used ring are logged may change while the ring runs. */
static int
set_log(struct rp_vhu_backend *backend, struct vhu_vring *vring, const struct rp_vhu_wire_vring_addr *wire,
	struct rp_wire_why *why)
{
	bool log_used = (wire->flags & RP_VHU_VRING_ADDR_LOG_MASK) != 0;
	bool changed = log_used != vring->state.log_used || (log_used && wire->log_gpa != vring->state.log_gpa);
	int rc = 0;

	if (vring->state.started && log_used)
		rc = vhu_log_check_used(backend, backend->log, wire->index, wire->log_gpa, why);
	if (rc == 0 && vring->state.started && changed && backend->ops->vring_log != NULL)
		rc = backend->ops->vring_log(backend->ctx, wire->index, log_used, wire->log_gpa, why);
	if (rc < 0)
		return rc;
	vring->state.log_used = log_used;
	vring->state.log_gpa = log_used ? wire->log_gpa : 0;
	return 0;
}

int
vhu_on_set_vring_addr(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	struct rp_vhu_wire_vring_addr wire;
	struct vhu_vring *vring;
	int rc;

	memcpy(&wire, request->payload, sizeof(wire));
	vring = find(backend, wire.index, why);
	if (vring == NULL)
		return -EBADMSG;
	if (vring->state.started && (wire.desc_uva != vring->addr.desc_uva || wire.avail_uva != vring->addr.avail_uva ||
				     wire.used_uva != vring->addr.used_uva))
		return rp_wire_why_set(why, -EBUSY, "ring %u is started, at other addresses", wire.index);
	rc = set_log(backend, vring, &wire, why);
	if (rc < 0)
		return rc;
	vring->addr = wire;
	vring->addr_known = true;
	return 0;
}

int
vhu_on_set_vring_base(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	struct rp_vhu_wire_vring_state wire;
	struct vhu_vring *vring;
	struct vhu_vring now;
	int rc;

	memcpy(&wire, request->payload, sizeof(wire));
	vring = find(backend, wire.index, why);
	if (vring == NULL)
		return -EBADMSG;
	if (vring->state.started)
		return rp_wire_why_set(why, -EBUSY, "ring %u is started", wire.index);
	now = *vring;
	now.base_wire = wire.num;
	now.base_ours = false;
	rc = vhu_vring_judge_base(backend, &now, false, &now.state.base, why);
	if (rc == 0)
		*vring = now;
	return rc;
}

struct ring_part {
	const char *name;
	uint64_t uva;
	uint64_t size_bytes;
	uint64_t align_mask;
	uint64_t *ret_gpa;
};

/* Sizes and alignments: virtio 1.2, 2.7 (split) and 2.8.10 (packed: the event suppression areas have 4 bytes). */
int
vhu_vring_translate(const struct rp_vhu_backend *backend, unsigned int queue, const struct rp_vhu_region *regions,
		    unsigned int count, struct rp_vhu_vring *ret_state, struct rp_wire_why *why)
{
	const struct vhu_vring *vring = &backend->vrings[queue];
	bool packed = vhu_vring_packed(backend);
	uint64_t num = vring->state.num;
	struct ring_part parts[] = {
		{"descriptor table", vring->addr.desc_uva, 16 * num, 15, &ret_state->desc_gpa},
		{"available ring", vring->addr.avail_uva, packed ? 4 : 6 + 2 * num, packed ? 3 : 1,
		 &ret_state->avail_gpa},
		{"used ring", vring->addr.used_uva, vhu_vring_used_bytes(backend, queue), 3, &ret_state->used_gpa},
	};
	unsigned int i;

	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if ((parts[i].uva & parts[i].align_mask) != 0)
			return rp_wire_why_set(why, -EBADMSG, "%s: 0x%llx is not aligned to %llu", parts[i].name,
					       (unsigned long long)parts[i].uva,
					       (unsigned long long)parts[i].align_mask + 1);
		if (vhu_iotlb_negotiated(backend)) {
			*parts[i].ret_gpa = parts[i].uva;
			continue;
		}
		if (vhu_regions_translate(regions, count, parts[i].uva, parts[i].size_bytes, parts[i].ret_gpa) < 0)
			return rp_wire_why_set(why, -EBADMSG, "%s: %llu bytes at 0x%llx are in no memory region",
					       parts[i].name, (unsigned long long)parts[i].size_bytes,
					       (unsigned long long)parts[i].uva);
	}
	return 0;
}

static int
start(struct rp_vhu_backend *backend, struct vhu_vring *vring, struct rp_wire_why *why)
{
	unsigned int index = index_of(backend, vring);
	int rc;

	if (!vring->num_known || !vring->addr_known)
		return rp_wire_why_set(why, -EBUSY, "ring %u: SET_VRING_NUM and SET_VRING_ADDR must come first", index);
	rc = vhu_vring_check_num(backend, vring->state.num, true, why);
	if (rc == 0)
		rc = vhu_vring_judge_base(backend, vring, true, &vring->state.base, why);
	if (rc == 0 && vring->state.log_used)
		rc = vhu_log_check_used(backend, backend->log, index, vring->state.log_gpa, why);
	if (rc == 0)
		rc = vhu_vring_translate(backend, index, backend->regions, backend->regions_count, &vring->state, why);
	if (rc < 0)
		return rc;
	vring->state.iova = vhu_iotlb_negotiated(backend);
	vring->state.enabled = is_enabled(backend, vring);
	vring->state.started = true;
	if (backend->ops->vring_start != NULL)
		rc = backend->ops->vring_start(backend->ctx, index, &vring->state, why);
	vring->state.started = rc == 0;
	return rc;
}

static void
stop(struct rp_vhu_backend *backend, struct vhu_vring *vring, enum rp_vhu_stop why_stopped)
{
	uint32_t base = vring->state.base;

	if (!vring->state.started)
		return;
	if (backend->ops->vring_stop != NULL)
		backend->ops->vring_stop(backend->ctx, index_of(backend, vring), why_stopped, &base);
	vring->state.started = false;
	vring->state.base = vring->base_wire = base;
	vring->base_ours = true;
}

void
vhu_vring_pause(struct rp_vhu_backend *backend, unsigned int queue)
{
	stop(backend, &backend->vrings[queue], RP_VHU_STOP_MEMORY);
}

int
vhu_vring_resume(struct rp_vhu_backend *backend, unsigned int queue, struct rp_wire_why *why)
{
	return start(backend, &backend->vrings[queue], why);
}

void
vhu_vring_give_up(struct rp_vhu_backend *backend, unsigned int queue)
{
	rp_wire_fd_close(&backend->vrings[queue].state.kick_fd);
}

int
vhu_on_get_vring_base(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	bool leave = (backend->protocol_features & 1ull << RP_VHU_PF_GET_VRING_BASE_INFLIGHT_BIT) != 0;
	struct rp_vhu_wire_vring_state wire;
	struct vhu_vring *vring;

	memcpy(&wire, request->payload, sizeof(wire));
	vring = find(backend, wire.index, why);
	if (vring == NULL)
		return -EBADMSG;
	stop(backend, vring, leave ? RP_VHU_STOP_LEAVE : RP_VHU_STOP_DRAIN);
	rp_wire_fd_close(&vring->state.kick_fd);
	wire.num = vring->state.base;
	memcpy(request->reply, &wire, sizeof(wire));
	request->reply_bytes = sizeof(wire);
	return 0;
}

/* The ring of a kick, call or err message, and its descriptor (taken), -1 when it says "none". */
static struct vhu_vring *
take_vring_fd(struct rp_vhu_backend *backend, struct vhu_request *request, int *ret_fd, struct rp_wire_why *why)
{
	struct vhu_vring *vring = find(backend, vhu_request_u64(request) & RP_VHU_VRING_INDEX_MASK, why);

	*ret_fd = -1;
	if (vring != NULL && request->msg->fds_count == 1)
		*ret_fd = rp_wire_fd_take(&request->msg->fds[0]);
	return vring;
}

int
vhu_on_set_vring_kick(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	RP_WIRE_FD_SCOPED int fd = -1;
	struct vhu_vring *vring = take_vring_fd(backend, request, &fd, why);
	int rc = 0;

	if (vring == NULL)
		return -EBADMSG;
	if (vring->state.started) {
		if (backend->ops->vring_kick != NULL)
			rc = backend->ops->vring_kick(backend->ctx, index_of(backend, vring), fd, why);
		if (rc == 0)
			rp_wire_fd_replace(&vring->state.kick_fd, &fd);
		return rc;
	}
	rp_wire_fd_replace(&vring->state.kick_fd, &fd);
	rc = start(backend, vring, why);
	if (rc < 0)
		rp_wire_fd_close(&vring->state.kick_fd);
	return rc;
}

int
vhu_on_set_vring_call(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	RP_WIRE_FD_SCOPED int fd = -1;
	struct vhu_vring *vring = take_vring_fd(backend, request, &fd, why);
	int rc = 0;

	if (vring == NULL)
		return -EBADMSG;
	if (vring->state.started && backend->ops->vring_call != NULL)
		rc = backend->ops->vring_call(backend->ctx, index_of(backend, vring), fd, why);
	if (rc == 0)
		rp_wire_fd_replace(&vring->state.call_fd, &fd);
	return rc;
}

int
vhu_on_set_vring_err(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	RP_WIRE_FD_SCOPED int fd = -1;
	struct vhu_vring *vring = take_vring_fd(backend, request, &fd, why);
	int before, rc = 0;

	if (vring == NULL)
		return -EBADMSG;
	before = rp_wire_fd_take(&vring->state.err_fd);
	vring->state.err_fd = rp_wire_fd_take(&fd);
	if (backend->ops->vring_err != NULL)
		rc = backend->ops->vring_err(backend->ctx, index_of(backend, vring), why);
	rp_wire_fd_replace(rc < 0 ? &vring->state.err_fd : &fd, &before);
	return rc;
}

static int
enable(struct rp_vhu_backend *backend, struct vhu_vring *vring, bool enabled, struct rp_wire_why *why)
{
	bool before = vring->enabled_by_message;
	int rc = 0;

	vring->enabled_by_message = enabled;
	if (backend->ops->vring_enable != NULL)
		rc = backend->ops->vring_enable(backend->ctx, index_of(backend, vring), enabled, why);
	if (rc < 0)
		vring->enabled_by_message = before;
	vring->state.enabled = is_enabled(backend, vring);
	return rc;
}

int
vhu_on_set_vring_enable(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	struct rp_vhu_wire_vring_state wire;
	struct vhu_vring *vring;

	memcpy(&wire, request->payload, sizeof(wire));
	vring = find(backend, wire.index, why);
	if (vring == NULL)
		return -EBADMSG;
	if (wire.num > 1)
		return rp_wire_why_set(why, -EBADMSG, "num: %u, expected 0 or 1", wire.num);
	return enable(backend, vring, wire.num == 1, why);
}

int
vhu_vrings_disable(struct rp_vhu_backend *backend, struct rp_wire_why *why)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; i < backend->config.queues_max && rc == 0; i++)
		if (backend->vrings[i].enabled_by_message)
			rc = enable(backend, &backend->vrings[i], false, why);
	return rc;
}

void
vhu_vrings_stop(struct rp_vhu_backend *backend, enum rp_vhu_stop why_stopped)
{
	unsigned int i;

	for (i = 0; i < backend->config.queues_max; i++) {
		stop(backend, &backend->vrings[i], why_stopped);
		rp_wire_fd_close(&backend->vrings[i].state.kick_fd);
	}
}

void
vhu_vrings_clear(struct rp_vhu_backend *backend, enum rp_vhu_stop why_stopped)
{
	vhu_vrings_stop(backend, why_stopped);
	vhu_vrings_forget(backend);
}

void
vhu_vrings_forget(struct rp_vhu_backend *backend)
{
	unsigned int i;

	for (i = 0; i < backend->config.queues_max; i++) {
		struct vhu_vring *vring = &backend->vrings[i];

		rp_wire_fd_close(&vring->state.kick_fd);
		rp_wire_fd_close(&vring->state.call_fd);
		rp_wire_fd_close(&vring->state.err_fd);
		memset(vring, 0, sizeof(*vring));
		vring->state.kick_fd = vring->state.call_fd = vring->state.err_fd = -1;
	}
}

int
vhu_vrings_any_started(const struct rp_vhu_backend *backend)
{
	unsigned int i;

	for (i = 0; i < backend->config.queues_max; i++)
		if (backend->vrings[i].state.started)
			return (int)i;
	return -1;
}

bool
vhu_vring_inside(const struct rp_vhu_backend *backend, unsigned int queue, const struct rp_vhu_region *region)
{
	const struct rp_vhu_vring *state = &backend->vrings[queue].state;
	const uint64_t gpa = region->gpa, size_bytes = region->size_bytes;

	/* A part lies in one region, so its first byte tells. What lies behind an IOVA is the owner's to know. */
	return state->started && !state->iova &&
	       (state->desc_gpa - gpa < size_bytes || state->avail_gpa - gpa < size_bytes ||
		state->used_gpa - gpa < size_bytes);
}

int
vhu_vrings_inside(const struct rp_vhu_backend *backend, const struct rp_vhu_region *region)
{
	unsigned int i;

	for (i = 0; i < backend->config.queues_max; i++)
		if (vhu_vring_inside(backend, i, region))
			return (int)i;
	return -1;
}

int
rp_vhu_backend_vring(const struct rp_vhu_backend *backend, unsigned int queue, struct rp_vhu_vring *ret_vring)
{
	if (queue >= backend->config.queues_max)
		return -EINVAL;
	*ret_vring = backend->vrings[queue].state;
	ret_vring->enabled = is_enabled(backend, &backend->vrings[queue]);
	return 0;
}
