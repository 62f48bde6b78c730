/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "parcel.h"
#include "rp_vhu_backend.h"
#include "rp_wire_fd.h"
#include "vhost_user.h"

/*
 * A hostile frontend against rp_vhu_backend: messages, bytes, descriptors, a backend
 * channel that lies, disconnects at any moment, an owner that asks and refuses, and one that
 * goes and leaves its successor something bent. What the owner is told must make sense
 * whatever the frontend, or the predecessor, said.
 */

#define PACKED (1ull << 34)
#define FEATURES (0x1ull << 32 | 1ull << 33 | 1ull << 34 | 1ull << 29 | 1ull << RP_VHU_F_LOG_ALL_BIT)

struct owner {
	struct rp_vhu_backend_config config;
	struct rp_vhu_backend *backend;
	struct fuzz_input *input;
	uint64_t protocol_features;
	int frontend; /* the hostile end */
	int channel; /* the frontend's end of the backend channel; -1: none was given */
	int channel_theirs;
	unsigned int regions_count;
	bool started[FUZZ_QUEUES];
	bool refuse; /* the next question, by the input */
	uint64_t token;
};

static int
answer(struct owner *owner, struct rp_wire_why *why)
{
	bool refuse = owner->refuse;

	owner->refuse = false;
	return refuse ? rp_wire_why_set(why, -EBUSY, "the owner says no") : 0;
}

static void
attach(struct owner *owner)
{
	int theirs;

	rp_wire_fd_close(&owner->frontend);
	fuzz_pair(&owner->frontend, &theirs);
	fuzz_require(rp_vhu_backend_attach(owner->backend, &theirs) == 0, "attach");
}

static bool
inside_a_region(const struct owner *owner, uint64_t gpa)
{
	unsigned int i;

	for (i = 0; i < rp_vhu_backend_regions_count(owner->backend); i++) {
		struct rp_vhu_region region;

		fuzz_require(rp_vhu_backend_region(owner->backend, i, &region) == 0, "a region by index");
		if (gpa >= region.gpa && gpa - region.gpa < region.size_bytes)
			return true;
	}
	return false;
}

static int
on_features(void *ctx, uint64_t features, struct rp_wire_why *why)
{
	fuzz_require((features & ~(FEATURES | 1ull << RP_VHU_F_PROTOCOL_FEATURES_BIT)) == 0,
		     "features are a subset of the offer");
	return answer(ctx, why);
}

static int
on_region_add(void *ctx, const struct rp_vhu_region *region, struct rp_wire_why *why)
{
	struct owner *owner = ctx;
	int rc = answer(owner, why);

	fuzz_require(fcntl(region->fd, F_GETFD) >= 0, "a region has a file");
	fuzz_require(region->size_bytes > 0 && region->gpa + region->size_bytes - 1 >= region->gpa &&
			     region->uva + region->size_bytes - 1 >= region->uva &&
			     region->offset_bytes + region->size_bytes - 1 >= region->offset_bytes,
		     "a region does not wrap");
	if (rc == 0)
		owner->regions_count++;
	return rc;
}

static void
on_region_remove(void *ctx, const struct rp_vhu_region *region)
{
	struct owner *owner = ctx;

	fuzz_require(fcntl(region->fd, F_GETFD) >= 0, "a region has a file until it is removed");
	fuzz_require(owner->regions_count-- > 0, "what is removed was added");
}

static int
on_vring_start(void *ctx, unsigned int queue, const struct rp_vhu_vring *vring, struct rp_wire_why *why)
{
	struct owner *owner = ctx;
	int rc = answer(owner, why);

	fuzz_require(queue < FUZZ_QUEUES && !owner->started[queue], "a ring that is not started is started");
	fuzz_require(vring->num > 0 && vring->num <= 32768, "a ring has a size");
	fuzz_require((rp_vhu_backend_features(owner->backend) & PACKED) != 0 || (vring->num & (vring->num - 1)) == 0,
		     "the size of a split ring is a power of two");
	if ((rp_vhu_backend_features(owner->backend) & 1ull << RP_VHU_F_ACCESS_PLATFORM_BIT) == 0)
		fuzz_require(inside_a_region(owner, vring->desc_gpa) && inside_a_region(owner, vring->avail_gpa) &&
				     inside_a_region(owner, vring->used_gpa),
			     "a ring lies in memory");
	owner->started[queue] = rc == 0;
	return rc;
}

static void
on_vring_stop(void *ctx, unsigned int queue, enum rp_vhu_stop stop, uint32_t *ret_base)
{
	struct owner *owner = ctx;

	(void)stop, (void)ret_base;
	fuzz_require(queue < FUZZ_QUEUES && owner->started[queue], "a ring that is started is stopped");
	owner->started[queue] = false;
}

static int
on_vring_enable(void *ctx, unsigned int queue, bool enabled, struct rp_wire_why *why)
{
	(void)enabled;
	fuzz_require(queue < FUZZ_QUEUES, "a ring's index");
	return answer(ctx, why);
}

static int
on_vring_fd(void *ctx, unsigned int queue, int fd, struct rp_wire_why *why)
{
	struct owner *owner = ctx;

	fuzz_require(queue < FUZZ_QUEUES && owner->started[queue], "only a started ring is told of");
	fuzz_require(fd == -1 || fcntl(fd, F_GETFD) >= 0, "a ring's descriptor is open");
	return answer(owner, why);
}

static int
on_memory(void *ctx, struct rp_wire_why *why)
{
	struct owner *owner = ctx;
	unsigned int i;

	fuzz_require(rp_vhu_backend_regions_count(owner->backend) == owner->regions_count,
		     "both know how much memory there is");
	for (i = 0; i < FUZZ_QUEUES; i++) {
		struct rp_vhu_vring vring;

		if (rp_vhu_backend_vring(owner->backend, i, &vring) == 0 && vring.started && !vring.iova)
			fuzz_require(inside_a_region(owner, vring.desc_gpa), "a ring runs in memory that there is");
	}
	return answer(owner, why);
}

static int
on_vring_err(void *ctx, unsigned int queue, struct rp_wire_why *why)
{
	struct owner *owner = ctx;
	struct rp_vhu_vring vring;

	fuzz_require(rp_vhu_backend_vring(owner->backend, queue, &vring) == 0, "a ring's index");
	fuzz_require(vring.err_fd == -1 || fcntl(vring.err_fd, F_GETFD) >= 0, "a ring's descriptor is open");
	return answer(owner, why);
}

static void
on_log(void *ctx, struct rp_vhu_log *log)
{
	struct owner *owner = ctx;
	struct rp_vhu_shared_file file = {.fd = -1};
	int rc = rp_vhu_backend_log_file(owner->backend, &file);

	fuzz_require(rc == (log != NULL ? 0 : -ENOENT) && log == rp_vhu_backend_log(owner->backend),
		     "a log and its file come and go together");
	fuzz_require(log == NULL || fcntl(file.fd, F_GETFD) >= 0, "a log's file is open");
}

static void
on_inflight(void *ctx, struct rp_vhu_inflight *inflight)
{
	struct owner *owner = ctx;
	struct rp_vhu_shared_file file = {.fd = -1};
	uint16_t queues_count, queue_num;
	int rc = rp_vhu_backend_inflight_file(owner->backend, &file, &queues_count, &queue_num);

	fuzz_require(rc == (inflight != NULL ? 0 : -ENOENT), "a region and its file come and go together");
	fuzz_require(inflight == NULL || (fcntl(file.fd, F_GETFD) >= 0 && queues_count > 0 && queue_num > 0),
		     "a region's file is open");
}

static int
on_config_get(void *ctx, uint32_t offset_bytes, uint32_t size_bytes, uint8_t *ret_bytes, struct rp_wire_why *why)
{
	fuzz_require(size_bytes > 0 && size_bytes <= RP_VHU_CONFIG_MAX &&
			     offset_bytes <= RP_VHU_CONFIG_MAX - size_bytes,
		     "configuration space has bounds");
	memset(ret_bytes, 0x5a, size_bytes);
	return answer(ctx, why);
}

static int
on_config_set(void *ctx, uint32_t offset_bytes, uint32_t size_bytes, const uint8_t *bytes, uint32_t flags,
	      struct rp_wire_why *why)
{
	uint8_t copy[RP_VHU_CONFIG_MAX];

	(void)flags;
	fuzz_require(size_bytes > 0 && size_bytes <= RP_VHU_CONFIG_MAX &&
			     offset_bytes <= RP_VHU_CONFIG_MAX - size_bytes,
		     "configuration space has bounds");
	memcpy(copy, bytes, size_bytes);
	return answer(ctx, why);
}

static int
on_status(void *ctx, uint8_t status, struct rp_wire_why *why)
{
	(void)status;
	return answer(ctx, why);
}

static void
on_refused(void *ctx, const struct rp_wire_why *why)
{
	(void)ctx;
	fuzz_require(why->error < 0 && why->text[0] != '\0', "a refusal has a reason");
}

static void
on_disconnected(void *ctx, const struct rp_wire_why *why)
{
	struct owner *owner = ctx;
	unsigned int i;

	(void)why;
	fuzz_require(owner->regions_count == 0, "no memory without a frontend");
	for (i = 0; i < FUZZ_QUEUES; i++)
		fuzz_require(!owner->started[i], "no ring without a frontend");
}

static const struct rp_vhu_backend_ops ops = {
	.features = on_features,
	.region_add = on_region_add,
	.region_remove = on_region_remove,
	.memory = on_memory,
	.vring_start = on_vring_start,
	.vring_stop = on_vring_stop,
	.vring_enable = on_vring_enable,
	.vring_call = on_vring_fd,
	.vring_kick = on_vring_fd,
	.vring_err = on_vring_err,
	.log = on_log,
	.inflight = on_inflight,
	.config_get = on_config_get,
	.config_set = on_config_set,
	.status = on_status,
	.refused = on_refused,
	.disconnected = on_disconnected,
};

/* One message in a step, so that what it did is seen before the next. */
static void
say(struct owner *owner, const struct rp_vhu_msg_row *row)
{
	struct fuzz_message message;

	if (row == NULL)
		fuzz_message_raw(&message, owner->input);
	else
		fuzz_message_request(&message, owner->input, row, FEATURES | 1ull << RP_VHU_F_PROTOCOL_FEATURES_BIT,
				     owner->protocol_features);
	if (row != NULL && row->id == RP_VHU_SET_BACKEND_REQ_FD && message.fds_count == 1) {
		rp_wire_fd_close(&owner->channel);
		fuzz_pair(&owner->channel, &owner->channel_theirs);
		message.fds[0] = owner->channel_theirs;
	}
	fuzz_message_send(&message, owner->input, owner->frontend);
	rp_wire_fd_close(&owner->channel_theirs);
}

/* What the owner may ask for at any time. */
static void
ask(struct owner *owner)
{
	unsigned int queue = fuzz_below(owner->input, FUZZ_QUEUES + 1);
	struct rp_vhu_vring vring;

	switch (fuzz_below(owner->input, 8)) {
	case 0:
	case 1:
		rp_vhu_backend_notify_area_set(owner->backend, queue, fuzz_fd(FUZZ_FD_SEALED), 0, 4096, owner->token++,
					       NULL);
		break;
	case 2:
		rp_vhu_backend_notify_area_clear(owner->backend, queue, owner->token++, NULL);
		break;
	case 3:
		rp_vhu_backend_vfio_file_set(owner->backend, queue, fuzz_fd(FUZZ_FD_NULL), RP_VHU_VFIO_GROUP,
					     owner->token++, NULL);
		break;
	case 4:
		rp_vhu_backend_vfio_file_clear(owner->backend, queue, owner->token++, NULL);
		break;
	case 5:
		rp_vhu_backend_config_changed(owner->backend, owner->token++, NULL);
		break;
	case 6:
		rp_vhu_backend_set_offer(owner->backend, FEATURES);
		break;
	default:
		if (rp_vhu_backend_vring(owner->backend, queue, &vring) == 0)
			fuzz_require(vring.started == owner->started[queue], "both know whether a ring is started");
		break;
	}
}

/* The frontend's answer on the backend channel: to the last request, or a lie. */
static void
answer_channel(struct owner *owner)
{
	static const uint32_t requests[] = {
		RP_VHU_BACKEND_CONFIG_CHANGE_MSG, RP_VHU_BACKEND_VRING_HOST_NOTIFIER_MSG,
		RP_VHU_BACKEND_2018_NOTIFY_AREA,  RP_VHU_BACKEND_VFIO_FILE,
		RP_VHU_BACKEND_NOTIFY_AREA,	  UINT32_MAX,
	};
	uint32_t request = requests[fuzz_below(owner->input, sizeof(requests) / sizeof(requests[0]))];
	struct fuzz_message message;
	uint64_t value;

	if (owner->channel < 0)
		return;
	fuzz_drain(owner->channel);
	if (fuzz_u8(owner->input) >= 224) {
		fuzz_message_raw(&message, owner->input);
	} else {
		value = fuzz_below(owner->input, 3);
		memcpy(fuzz_message_begin(&message, request, RP_VHU_VERSION | RP_VHU_FLAG_REPLY, sizeof(value)), &value,
		       sizeof(value));
	}
	fuzz_message_send(&message, owner->input, owner->channel);
}

/* The owner is told nothing of what is there already: it asks, and then it is as if it had been told. */
static void
look_around(struct owner *owner)
{
	unsigned int i;

	owner->regions_count = 0;
	for (i = 0; i < rp_vhu_backend_regions_count(owner->backend); i++) {
		struct rp_vhu_region region;
		struct rp_wire_why why;

		fuzz_require(rp_vhu_backend_region(owner->backend, i, &region) == 0, "a region by index");
		owner->refuse = false;
		on_region_add(owner, &region, &why);
	}
	for (i = 0; i < FUZZ_QUEUES; i++) {
		struct rp_vhu_vring vring;
		struct rp_wire_why why;

		owner->started[i] = false;
		fuzz_require(rp_vhu_backend_vring(owner->backend, i, &vring) == 0, "a ring's index");
		if (vring.started)
			on_vring_start(owner, i, &vring, &why);
	}
	on_log(owner, rp_vhu_backend_log(owner->backend));
}

/* A successor takes over what is left, and not always what was meant. */
static void
hand_over(struct owner *owner)
{
	struct rp_wire_parcel *parcel, *arrived;
	struct rp_vhu_backend *successor;
	struct rp_wire_why why = {0};
	int rc;

	fuzz_require(rp_wire_parcel_create(&parcel) == 0, "a parcel");
	rc = rp_vhu_backend_give(owner->backend, parcel, &why);
	if (rc < 0) {
		fuzz_require(why.error == rc, "a refusal has a reason");
		rp_wire_parcel_destroy(parcel);
		return;
	}
	fuzz_require(rp_vhu_backend_create(&owner->config, &ops, owner, &successor, NULL) == 0, "a backend");
	arrived = fuzz_parcel_bent(owner->input, parcel);
	rp_wire_parcel_destroy(parcel);
	rc = rp_vhu_backend_adopt(successor, arrived, &why);
	fuzz_require(rc == 0 || (why.error == rc && why.text[0] != '\0'), "a refusal has a reason");
	fuzz_require(rp_vhu_backend_attached(successor) == (rc == 0), "a connection is adopted, or there is none");
	rp_wire_parcel_destroy(arrived);
	rp_vhu_backend_leave(owner->backend);
	rp_vhu_backend_destroy(owner->backend);
	owner->backend = successor;
	look_around(owner);
	fuzz_require(rc == 0 || owner->regions_count == 0, "no memory without a frontend");
}

static void
step(struct owner *owner)
{
	unsigned int kind = fuzz_u8(owner->input);

	if (kind < rp_vhu_msg_rows_count * 4) {
		say(owner, &rp_vhu_msg_rows[kind % rp_vhu_msg_rows_count]);
	} else if (kind < 200) {
		answer_channel(owner);
	} else if (kind < 220) {
		ask(owner);
	} else if (kind < 226) {
		owner->refuse = true;
	} else if (kind < 232) {
		say(owner, NULL);
	} else if (kind < 236) {
		rp_wire_fd_close(&owner->channel);
	} else if (kind < 240) {
		rp_vhu_backend_detach(owner->backend);
		attach(owner);
	} else if (kind < 246) {
		rp_wire_fd_close(&owner->frontend);
		rp_vhu_backend_process(owner->backend);
		rp_vhu_backend_detach(owner->backend);
		attach(owner);
	} else if (kind >= 252) {
		hand_over(owner);
	} else {
		return; /* more than one message at once: nothing is processed in between */
	}
	if (kind < 250)
		rp_vhu_backend_process(owner->backend);
	/* A frontend that reads late has a full socket. */
	if (kind % 16 != 15)
		fuzz_drain(owner->frontend);
	if (!rp_vhu_backend_attached(owner->backend))
		attach(owner);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
	struct fuzz_input input = {bytes, size_bytes};
	struct owner owner = {.config = {.features = FEATURES, .queues_max = FUZZ_QUEUES},
			      .input = &input,
			      .frontend = -1,
			      .channel = -1,
			      .channel_theirs = -1};
	struct rp_vhu_dialect dialect;

	fuzz_begin();
	owner.config.profile = (enum rp_vhu_profile)fuzz_below(&input, RP_VHU_PROFILE_VFIO2018 + 1);
	fuzz_require(rp_vhu_dialect_init(&dialect, owner.config.profile, NULL, NULL) == 0, "a dialect");
	owner.config.protocol_features = dialect.protocol_features & ~dialect.vfio_mask;
	owner.protocol_features = dialect.protocol_features;
	fuzz_require(rp_vhu_backend_create(&owner.config, &ops, &owner, &owner.backend, NULL) == 0, "a backend");
	attach(&owner);
	while (input.left_bytes > 0)
		step(&owner);
	rp_vhu_backend_destroy(owner.backend);
	fuzz_require(owner.regions_count == 0, "no memory is left");
	rp_wire_fd_close(&owner.frontend);
	rp_wire_fd_close(&owner.channel);
	fuzz_end();
	return 0;
}
