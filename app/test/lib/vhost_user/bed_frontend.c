/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "bed.h"
#include "rp_wire_fd.h"

/* What the frontend of a bed says. */

void
bed_send(struct bed *bed, uint32_t id, uint32_t flags, const void *payload, uint32_t size_bytes)
{
	assert_true(peer_send(bed->peer, id, flags, payload, size_bytes, NULL, 0));
	bed_process(bed);
}

void
bed_send_u64(struct bed *bed, uint32_t id, uint32_t flags, uint64_t value)
{
	bed_send(bed, id, flags, &value, sizeof(value));
}

void
bed_send_state(struct bed *bed, uint32_t id, uint32_t flags, uint32_t index, uint32_t num)
{
	const struct rp_vhu_wire_vring_state state = {.index = index, .num = num};

	bed_send(bed, id, flags, &state, sizeof(state));
}

void
bed_send_addr(struct bed *bed, uint32_t flags, uint32_t index, uint64_t desc, uint64_t avail, uint64_t used)
{
	const struct rp_vhu_wire_vring_addr addr = {
		.index = index,
		.desc_uva = desc,
		.avail_uva = avail,
		.used_uva = used,
	};

	bed_send(bed, RP_VHU_SET_VRING_ADDR, flags, &addr, sizeof(addr));
}

void
bed_send_fd(struct bed *bed, uint32_t id, uint32_t flags, uint32_t index)
{
	const uint64_t value = index;
	int fd = peer_eventfd();

	assert_true(peer_send(bed->peer, id, flags, &value, sizeof(value), &fd, 1));
	rp_wire_fd_close(&fd);
	bed_process(bed);
}

void
bed_send_region(struct bed *bed, uint32_t id, uint32_t flags, const struct rp_vhu_wire_region *region, int fd)
{
	const struct rp_vhu_wire_mem_slot slot = {.region = *region};

	assert_true(peer_send(bed->peer, id, flags, &slot, sizeof(slot), &fd, fd >= 0 ? 1 : 0));
	bed_process(bed);
}

void
bed_send_table(struct bed *bed, uint32_t flags, const struct rp_vhu_wire_region *regions, unsigned int count,
	       const int *fds)
{
	struct rp_vhu_wire_mem_table table = {.count = count};
	int own[RP_VHU_REGIONS_MAX];
	unsigned int i;

	for (i = 0; i < count; i++) {
		table.regions[i] = regions[i];
		own[i] = fds == NULL ? bed->memory_fd : fds[i];
	}
	assert_true(peer_send(bed->peer, RP_VHU_SET_MEM_TABLE, flags, &table,
			      (uint32_t)(8 + count * sizeof(regions[0])), own, count));
	bed_process(bed);
}

uint64_t
bed_answer(struct bed *bed, uint32_t id)
{
	struct peer_msg msg;

	assert_true(peer_receive(bed->peer, &msg));
	assert_int_equal(msg.id, id);
	assert_int_equal(msg.flags, 0x5);
	assert_int_equal(msg.fds_count, 0);
	assert_true(peer_silent(bed->peer));
	return peer_msg_u64(&msg);
}

uint32_t
bed_get_base(struct bed *bed, uint32_t index)
{
	struct rp_vhu_wire_vring_state state;
	uint64_t answer;

	bed_send_state(bed, RP_VHU_GET_VRING_BASE, 0x1, index, 0);
	answer = bed_answer(bed, RP_VHU_GET_VRING_BASE);
	memcpy(&state, &answer, sizeof(state));
	assert_int_equal(state.index, index);
	return state.num;
}

void
bed_assert_refused(struct bed *bed, int error, const char *words)
{
	if (bed->refused_count != 1 || bed->refused.error != error || strstr(bed->refused.text, words) == NULL)
		fail_msg("refused %u times, %d: %s; expected %d: %s", bed->refused_count, bed->refused.error,
			 bed->refused.text, error, words);
	bed->refused_count = 0;
}

void
bed_assert_nothing_refused(struct bed *bed)
{
	if (bed->refused_count != 0)
		fail_msg("refused: %d: %s", bed->refused.error, bed->refused.text);
}

void
bed_assert_usable(struct bed *bed)
{
	bed_send(bed, RP_VHU_GET_FEATURES, 0x1, NULL, 0);
	assert_int_equal(bed_answer(bed, RP_VHU_GET_FEATURES), bed->features | 1ull << 30);
}

void
bed_negotiate_without(struct bed *bed, uint64_t protocol_features)
{
	uint64_t acked = bed->protocol_features & ~protocol_features;
	int theirs;

	bed_send_u64(bed, RP_VHU_SET_PROTOCOL_FEATURES, 0x1, acked);
	if ((acked & 1ull << RP_VHU_PF_BACKEND_REQ_BIT) != 0) {
		rp_wire_fd_close(&bed->channel);
		peer_pair(&bed->channel, &theirs);
		assert_true(peer_send(bed->peer, RP_VHU_SET_BACKEND_REQ_FD, 0x1, NULL, 0, &theirs, 1));
		rp_wire_fd_close(&theirs);
	}
	bed_send(bed, RP_VHU_SET_OWNER, 0x1, NULL, 0);
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x1, 1ull << 32 | 1ull << 30);
	bed_assert_nothing_refused(bed);
}

void
bed_negotiate(struct bed *bed)
{
	bed_negotiate_without(bed, 0);
}

void
bed_negotiate_with(struct bed *bed, uint64_t protocol_features, uint64_t features)
{
	struct rp_vhu_backend_config config = bed_config();

	config.protocol_features |= protocol_features;
	config.features |= features;
	bed_remake(bed, &config);
	bed_negotiate(bed);
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x1, 1ull << 32 | 1ull << 30 | features);
	bed_assert_nothing_refused(bed);
	bed_diary(bed);
}

struct rp_vhu_wire_region
bed_region(uint64_t into_bytes, uint64_t size_bytes)
{
	return (struct rp_vhu_wire_region){
		.gpa = BED_GPA + into_bytes,
		.size_bytes = size_bytes,
		.uva = BED_UVA + into_bytes,
		.offset_bytes = into_bytes,
	};
}

void
bed_memory(struct bed *bed)
{
	const struct rp_vhu_wire_region region = bed_region(0, BED_REGION_BYTES);

	bed_send_table(bed, 0x1, &region, 1, NULL);
	bed_assert_nothing_refused(bed);
}

void
bed_ring_describe(struct bed *bed, uint32_t index)
{
	uint64_t at = BED_UVA + index * BED_RING_BYTES;

	bed_send_state(bed, RP_VHU_SET_VRING_NUM, 0x1, index, BED_RING_NUM);
	bed_send_state(bed, RP_VHU_SET_VRING_BASE, 0x1, index, 0);
	bed_send_addr(bed, 0x1, index, at, at + 0x1000, at + 0x2000);
}

void
bed_ring_start(struct bed *bed, uint32_t index)
{
	bed_ring_describe(bed, index);
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x1, index);
	bed_send_fd(bed, RP_VHU_SET_VRING_CALL, 0x1, index);
	bed_send_state(bed, RP_VHU_SET_VRING_ENABLE, 0x1, index, 1);
	bed_assert_nothing_refused(bed);
}

void
bed_run(struct bed *bed)
{
	bed_negotiate(bed);
	bed_memory(bed);
	bed_ring_start(bed, 0);
	bed_diary(bed);
}
