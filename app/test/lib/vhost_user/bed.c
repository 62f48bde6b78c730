/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>

#include "bed.h"
#include "rp_wire_fd.h"

void
bed_write(struct bed *bed, const char *format, ...)
{
	size_t room = sizeof(bed->diary) - bed->diary_used;
	va_list args;
	int wrote;

	va_start(args, format);
	wrote = vsnprintf(bed->diary + bed->diary_used, room, format, args);
	va_end(args);
	if (wrote > 0 && (size_t)wrote < room)
		bed->diary_used += (size_t)wrote;
}

const char *
bed_diary(struct bed *bed)
{
	static char copy[sizeof(bed->diary)];

	memcpy(copy, bed->diary, sizeof(copy));
	bed->diary[0] = '\0';
	bed->diary_used = 0;
	return copy;
}

static int
refuse(int *error, struct rp_wire_why *why)
{
	int now = *error;

	*error = 0;
	return now == 0 ? 0 : rp_wire_why_set(why, now, "the owner does not like it");
}

static int
on_features(void *ctx, uint64_t features, struct rp_wire_why *why)
{
	struct bed *bed = ctx;

	bed_write(bed, "features:%llx ", (unsigned long long)features);
	return refuse(&bed->refuse_features, why);
}

static int
on_region_add(void *ctx, const struct rp_vhu_region *region, struct rp_wire_why *why)
{
	struct bed *bed = ctx;

	assert_true(region->fd >= 0);
	bed_write(bed, "add:%llx ", (unsigned long long)region->gpa);
	if (bed->refuse_region_gpa != 0 && region->gpa == bed->refuse_region_gpa)
		return rp_wire_why_set(why, -ENOSPC, "the owner has no room");
	return 0;
}

static void
on_region_remove(void *ctx, const struct rp_vhu_region *region)
{
	bed_write(ctx, "remove:%llx ", (unsigned long long)region->gpa);
}

static int
on_memory(void *ctx, struct rp_wire_why *why)
{
	struct bed *bed = ctx;

	if (bed->tell_more)
		bed_write(bed, "memory:%u ", rp_vhu_backend_regions_count(bed->backend));
	return refuse(&bed->refuse_memory, why);
}

static int
on_vring_start(void *ctx, unsigned int queue, const struct rp_vhu_vring *vring, struct rp_wire_why *why)
{
	struct bed *bed = ctx;

	bed_write(bed, "start:%u@%u%s ", queue, vring->base, vring->enabled ? "" : "(disabled)");
	return refuse(&bed->refuse_start, why);
}

static void
on_vring_stop(void *ctx, unsigned int queue, enum rp_vhu_stop why_stopped, uint32_t *ret_base)
{
	struct bed *bed = ctx;

	bed->stopped = why_stopped;
	bed_write(bed, "stop:%u%s ", queue,
		  why_stopped == RP_VHU_STOP_MEMORY ? "(memory)" :
		  why_stopped == RP_VHU_STOP_STATUS ? "(status)" :
						      "");
	if (bed->stop_base != 0)
		*ret_base = bed->stop_base;
	if (bed->detach_on_stop)
		rp_vhu_backend_detach(bed->backend);
}

static int
on_vring_enable(void *ctx, unsigned int queue, bool enabled, struct rp_wire_why *why)
{
	struct bed *bed = ctx;

	bed_write(bed, "enable:%u=%d ", queue, enabled);
	if (bed->detach_on_enable)
		rp_vhu_backend_detach(bed->backend);
	return refuse(&bed->refuse_enable, why);
}

static int
on_vring_call(void *ctx, unsigned int queue, int call_fd, struct rp_wire_why *why)
{
	struct bed *bed = ctx;

	bed_write(bed, "call:%u%s ", queue, call_fd < 0 ? "(none)" : "");
	return refuse(&bed->refuse_call, why);
}

static int
on_vring_kick(void *ctx, unsigned int queue, int kick_fd, struct rp_wire_why *why)
{
	struct bed *bed = ctx;

	bed_write(bed, "kick:%u%s ", queue, kick_fd < 0 ? "(none)" : "");
	return refuse(&bed->refuse_kick, why);
}

static int
on_vring_err(void *ctx, unsigned int queue, struct rp_wire_why *why)
{
	struct bed *bed = ctx;
	struct rp_vhu_vring vring;

	assert_int_equal(rp_vhu_backend_vring(bed->backend, queue, &vring), 0);
	if (bed->tell_more)
		bed_write(bed, "err:%u%s ", queue, vring.err_fd < 0 ? "(none)" : "");
	return refuse(&bed->refuse_err, why);
}

static void
on_inflight(void *ctx, struct rp_vhu_inflight *inflight)
{
	struct bed *bed = ctx;

	/* The one before is still whole. */
	if (bed->inflight != NULL)
		assert_true(rp_vhu_inflight_layout(bed->inflight)->queues_count > 0);
	bed->inflight = inflight;
	bed_write(bed, "inflight%s ", inflight == NULL ? "(none)" : "");
}

static int
on_config_get(void *ctx, uint32_t offset_bytes, uint32_t size_bytes, uint8_t *ret_bytes, struct rp_wire_why *why)
{
	struct bed *bed = ctx;
	uint32_t i;

	for (i = 0; i < size_bytes; i++)
		ret_bytes[i] = (uint8_t)(offset_bytes + i);
	return refuse(&bed->refuse_config, why);
}

static int
on_config_set(void *ctx, uint32_t offset_bytes, uint32_t size_bytes, const uint8_t *bytes, uint32_t flags,
	      struct rp_wire_why *why)
{
	struct bed *bed = ctx;

	bed_write(bed, "config:%u+%u=%02x%s ", offset_bytes, size_bytes, bytes[size_bytes - 1],
		  flags == RP_VHU_CONFIG_MIGRATION ? "(migration)" : "");
	return refuse(&bed->refuse_config, why);
}

static int
on_mtu(void *ctx, uint16_t mtu_bytes, struct rp_wire_why *why)
{
	(void)why;
	bed_write(ctx, "mtu:%u ", mtu_bytes);
	return 0;
}

static int
on_rarp(void *ctx, const uint8_t mac[6], struct rp_wire_why *why)
{
	(void)why;
	bed_write(ctx, "rarp:%02x:%02x:%02x:%02x:%02x:%02x ", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	return 0;
}

static int
on_status(void *ctx, uint8_t status, struct rp_wire_why *why)
{
	struct bed *bed = ctx;

	bed_write(bed, "status:%u ", status);
	return refuse(&bed->refuse_status, why);
}

static void
on_log(void *ctx, struct rp_vhu_log *log)
{
	bed_write(ctx, log != NULL ? "log " : "log(none) ");
}

static int
on_vring_log(void *ctx, unsigned int queue, bool log_used, uint64_t log_gpa, struct rp_wire_why *why)
{
	struct bed *bed = ctx;

	if (log_used)
		bed_write(bed, "log-used:%u@%llx ", queue, (unsigned long long)log_gpa);
	else
		bed_write(bed, "log-used:%u(no) ", queue);
	return refuse(&bed->refuse_log, why);
}

static int
on_iotlb_update(void *ctx, const struct rp_vhu_iotlb *entry, struct rp_wire_why *why)
{
	struct bed *bed = ctx;

	bed_write(bed, "update:%llx+%llx=%llx/%u ", (unsigned long long)entry->iova,
		  (unsigned long long)entry->size_bytes, (unsigned long long)entry->gpa, entry->perm);
	return refuse(&bed->refuse_update, why);
}

static void
on_iotlb_invalidate(void *ctx, uint64_t iova, uint64_t size_bytes)
{
	bed_write(ctx, "invalidate:%llx+%llx ", (unsigned long long)iova, (unsigned long long)size_bytes);
}

static void
on_reset(void *ctx)
{
	bed_write(ctx, "reset ");
}

static void
on_channel_up(void *ctx)
{
	bed_write(ctx, "channel ");
}

static void
on_channel_reply(void *ctx, uint64_t token, int error)
{
	struct bed *bed = ctx;

	assert_true(bed->replies_count < BED_TOKENS_MAX);
	bed->replies[bed->replies_count].token = token;
	bed->replies[bed->replies_count].error = error;
	bed->replies[bed->replies_count].diary_used = bed->diary_used;
	bed->replies_count++;
}

static void
on_refused(void *ctx, const struct rp_wire_why *why)
{
	struct bed *bed = ctx;

	assert_true(why->error < 0);
	assert_true(why->text[0] != '\0');
	bed->refused = *why;
	bed->refused_count++;
}

static void
on_disconnected(void *ctx, const struct rp_wire_why *why)
{
	struct bed *bed = ctx;

	assert_true(why->error < 0);
	assert_true(why->text[0] != '\0');
	bed->disconnected = *why;
	bed->disconnected_count++;
	bed_write(bed, "gone ");
}

static const struct rp_vhu_backend_ops ops = {
	.features = on_features,
	.region_add = on_region_add,
	.region_remove = on_region_remove,
	.memory = on_memory,
	.vring_start = on_vring_start,
	.vring_stop = on_vring_stop,
	.vring_enable = on_vring_enable,
	.vring_call = on_vring_call,
	.vring_kick = on_vring_kick,
	.vring_err = on_vring_err,
	.log = on_log,
	.vring_log = on_vring_log,
	.iotlb_update = on_iotlb_update,
	.iotlb_invalidate = on_iotlb_invalidate,
	.inflight = on_inflight,
	.config_get = on_config_get,
	.config_set = on_config_set,
	.mtu = on_mtu,
	.rarp = on_rarp,
	.status = on_status,
	.reset = on_reset,
	.channel_up = on_channel_up,
	.channel_reply = on_channel_reply,
	.refused = on_refused,
	.disconnected = on_disconnected,
};

struct rp_vhu_backend_config
bed_config(void)
{
	return (struct rp_vhu_backend_config){
		.features = BED_FEATURES,
		.protocol_features = BED_PROTOCOL_FEATURES,
		.queues_max = BED_QUEUES,
	};
}

void
bed_remake(struct bed *bed, const struct rp_vhu_backend_config *config)
{
	struct rp_wire_why why;

	bed->backend = rp_vhu_backend_destroy(bed->backend);
	rp_wire_fd_close(&bed->peer);
	assert_int_equal(rp_vhu_backend_create(config, &bed->ops, bed, &bed->backend, &why), 0);
	bed->features = config->features;
	bed->protocol_features = config->protocol_features | rp_vhu_backend_dialect(bed->backend)->vfio_mask;
	bed_attach(bed);
	bed_diary(bed);
}

int
bed_setup(void **state)
{
	static struct bed bed;
	const struct rp_vhu_backend_config config = bed_config();

	memset(&bed, 0, sizeof(bed));
	bed.ops = ops;
	bed.channel = bed.peer = -1;
	test_leaks_read(&bed.before);
	bed.memory_fd = test_memfd(0x1000000, true);
	bed_remake(&bed, &config);
	*state = &bed;
	return 0;
}

static int
setup_profile(void **state, enum rp_vhu_profile profile)
{
	struct rp_vhu_backend_config config = bed_config();
	struct rp_vhu_dialect dialect;
	int rc = bed_setup(state);

	assert_int_equal(rp_vhu_dialect_init(&dialect, profile, NULL, NULL), 0);
	config.profile = profile;
	config.protocol_features &= dialect.protocol_features;
	bed_remake(*state, &config);
	return rc;
}

int
bed_setup_extended(void **state)
{
	return setup_profile(state, RP_VHU_PROFILE_EXTENDED);
}

int
bed_setup_vfio2018(void **state)
{
	return setup_profile(state, RP_VHU_PROFILE_VFIO2018);
}

void
bed_attach(struct bed *bed)
{
	int theirs;

	peer_pair(&bed->peer, &theirs);
	assert_int_equal(rp_vhu_backend_attach(bed->backend, &theirs), 0);
	assert_int_equal(theirs, -1);
}

void
bed_hang_up(struct bed *bed)
{
	rp_wire_fd_close(&bed->peer);
	rp_wire_fd_close(&bed->channel);
	while (rp_vhu_backend_attached(bed->backend))
		rp_vhu_backend_process(bed->backend);
}

int
bed_teardown(void **state)
{
	struct bed *bed = *state;

	bed->backend = rp_vhu_backend_destroy(bed->backend);
	rp_wire_fd_close(&bed->peer);
	rp_wire_fd_close(&bed->channel);
	rp_wire_fd_close(&bed->memory_fd);
	test_leaks_assert_none(&bed->before);
	return 0;
}

void
bed_process(struct bed *bed)
{
	assert_int_equal(rp_vhu_backend_process(bed->backend), 0);
}
