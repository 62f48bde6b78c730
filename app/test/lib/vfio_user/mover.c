/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "mover.h"

struct mover mover;

static int
change_state(void *ctx, enum rp_vfu_mig_state from, enum rp_vfu_mig_state to)
{
	(void)ctx;
	mover.arcs[mover.arcs_count % MOVER_ARCS_MAX].from = from;
	mover.arcs[mover.arcs_count % MOVER_ARCS_MAX].to = to;
	mover.arcs_count++;
	return mover.fail_with < 0 && to == mover.fail_to ? mover.fail_with : 0;
}

static int
data_out(void *ctx, uint8_t *ret_bytes, uint32_t room_bytes, uint32_t *ret_count_bytes)
{
	uint32_t count_bytes = mover.out_bytes - mover.out_done_bytes;

	(void)ctx;
	if (mover.data_fail_with < 0)
		return mover.data_fail_with;
	count_bytes = count_bytes < mover.out_piece_bytes ? count_bytes : mover.out_piece_bytes;
	count_bytes = count_bytes < room_bytes ? count_bytes : room_bytes;
	memcpy(ret_bytes, mover.out + mover.out_done_bytes, count_bytes);
	mover.out_done_bytes += count_bytes;
	*ret_count_bytes = count_bytes;
	return 0;
}

static int
data_in(void *ctx, const uint8_t *bytes, uint32_t count_bytes)
{
	(void)ctx;
	if (mover.data_fail_with < 0)
		return mover.data_fail_with;
	assert_true(count_bytes > 0);
	if (count_bytes > MOVER_DATA_MAX - mover.in_bytes)
		return -ENOSPC;
	memcpy(mover.in + mover.in_bytes, bytes, count_bytes);
	mover.in_bytes += count_bytes;
	return 0;
}

static int
quiesce(void *ctx, uint64_t token)
{
	(void)ctx;
	mover.quiesces++;
	mover.token = token;
	return mover.quiesce_with;
}

static int
reset(void *ctx)
{
	(void)ctx;
	mover.resets++;
	return mover.reset_with;
}

void
mover_describe(struct device *device, struct device_description *ret_description)
{
	memset(&mover, 0, sizeof(mover));
	mover.out_piece_bytes = MOVER_DATA_MAX;
	device_describe(device, ret_description);
	ret_description->config.migration = (struct rp_vfu_migration){
		.flags = 5, .change_state = change_state, .data_out = data_out, .data_in = data_in};
	ret_description->config.dma_logging = true;
}

void
mover_start(struct device *device, struct peer *peer)
{
	struct rp_vfu_server_ops ops = device_ops;
	struct device_description description;
	struct rp_wire_why why;

	device_init(device);
	mover_describe(device, &description);
	ops.quiesce = quiesce;
	ops.reset = reset;
	assert_int_equal(rp_vfu_server_create(&description.config, &ops, device, &device->server, &why), 0);
	device_connect(device, peer);
	device_negotiate(peer);
}

uint32_t
mover_feature(struct peer *peer, uint32_t flags, const void *data, size_t data_bytes, struct peer_msg *ret_reply)
{
	const uint8_t head[] = {U32(1024 * 1024 + 64), U32(flags)};
	uint8_t *payload = malloc(sizeof(head) + data_bytes);
	uint32_t error;

	assert_non_null(payload);
	memcpy(payload, head, sizeof(head));
	if (data_bytes > 0)
		memcpy(payload + sizeof(head), data, data_bytes);
	error = device_ask(peer, 16, payload, sizeof(head) + data_bytes, NULL, 0, ret_reply);
	free(payload);
	return error;
}

uint32_t
mover_go(struct peer *peer, uint32_t state)
{
	const uint8_t data[] = {U32(state), U32(0)};
	struct peer_msg *reply = malloc(sizeof(*reply));
	uint32_t error;

	assert_non_null(reply);
	error = mover_feature(peer, MOVER_SET | 2, data, sizeof(data), reply);
	free(reply);
	return error;
}
