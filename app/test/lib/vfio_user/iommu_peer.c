/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "iommu_peer.h"

struct iommu_scene iommu_scene;

int
iommu_setup(void **state)
{
	(void)state;
	test_leaks_read(&iommu_scene.before);
	device_start(&iommu_scene.device);
	iommu_scene.peer.fd = -1;
	iommu_scene.twin.fd = -1;
	return 0;
}

int
iommu_teardown(void **state)
{
	(void)state;
	peer_close(&iommu_scene.peer);
	peer_close(&iommu_scene.twin);
	device_close(&iommu_scene.device);
	test_leaks_assert_none(&iommu_scene.before);
	return 0;
}

static struct peer *
commanded(void)
{
	return iommu_scene.twin.fd >= 0 ? &iommu_scene.twin : &iommu_scene.peer;
}

void
iommu_begin(uint32_t entries_max, const char *capabilities)
{
	const struct rp_vfu_server_iommu iommu = {.cache_entries_max = entries_max};
	uint8_t payload[512] = {U16(0), U16(1)};
	int bytes = snprintf((char *)payload + 4, sizeof(payload) - 4, "{\"capabilities\":{%s}}", capabilities);
	struct peer_msg *reply = &iommu_scene.reply;
	struct device_description description;

	peer_close(&iommu_scene.peer);
	device_describe(&iommu_scene.device, &description);
	description.config.iommu = &iommu;
	device_restart(&iommu_scene.device, &description);
	iommu_scene.device.refusals = 0;
	device_connect(&iommu_scene.device, &iommu_scene.peer);
	assert_int_equal(device_ask(&iommu_scene.peer, 1, payload, 4 + (size_t)bytes + 1, NULL, 0, reply), 0);
	snprintf(iommu_scene.agreed, sizeof(iommu_scene.agreed), "%s", (char *)reply->payload + 4);
	if (reply->fds_count == 1)
		iommu_scene.twin = (struct peer){.fd = reply->fds[0], .turn = device_turn, .ctx = &iommu_scene.device};
	reply->fds_count = 0;
}

void
iommu_leave(void)
{
	peer_close(&iommu_scene.peer);
	peer_close(&iommu_scene.twin);
	device_turn(&iommu_scene.device);
	assert_false(rp_vfu_server_connected(iommu_scene.device.server));
}

struct rp_dma_atc *
iommu_atc(void)
{
	return rp_vfu_server_atc(iommu_scene.device.server);
}

static void
on_done(struct rp_dma_atc_wait *wait, int error)
{
	iommu_scene.heard[wait - iommu_scene.waits] = error;
}

int
iommu_want(unsigned int wait, uint32_t pasid, uint64_t iova, uint32_t access_mask)
{
	iommu_scene.waits[wait] = (struct rp_dma_atc_wait){.done = on_done};
	iommu_scene.heard[wait] = IOMMU_UNHEARD;
	return rp_dma_atc_want(iommu_atc(), &iommu_scene.waits[wait], pasid, iova, access_mask);
}

void
iommu_heard(unsigned int wait, int error)
{
	assert_int_equal(iommu_scene.heard[wait], error);
}

uint32_t
iommu_ask(uint16_t command, const void *payload, size_t payload_bytes)
{
	return device_ask(&iommu_scene.peer, command, payload, payload_bytes, NULL, 0, &iommu_scene.reply);
}

struct iommu_asked
iommu_take(void)
{
	struct peer_msg *msg = &iommu_scene.msg;

	device_turn(&iommu_scene.device);
	assert_true(peer_receive(commanded(), msg));
	assert_int_equal(msg->fds_count, 0);
	return (struct iommu_asked){.id = msg->id, .command = msg->command};
}

void
iommu_answer(const struct iommu_asked *asked, const void *payload, size_t payload_bytes)
{
	(void)peer_command(commanded(), asked->id, asked->command, REPLY, payload, payload_bytes, NULL, 0);
	device_turn(&iommu_scene.device);
	device_turn(&iommu_scene.device);
}

void
iommu_refuse(const struct iommu_asked *asked, uint32_t error)
{
	uint8_t header[] = {HEADER(0, 0, 16, ERROR_REPLY, error)};

	memcpy(header, &asked->id, 2);
	memcpy(header + 2, &asked->command, 2);
	assert_true(peer_send(commanded(), header, sizeof(header), NULL, 0));
	device_turn(&iommu_scene.device);
}

void
iommu_learn(uint32_t pasid, uint64_t iova, uint64_t size_bytes, uint64_t address, uint32_t access_mask)
{
	const uint8_t answer[] = {U64(iova), U64(size_bytes), U64(address), U32(access_mask), U32(0)};
	struct iommu_asked asked;

	assert_int_equal(iommu_want(0, pasid, iova, access_mask), -EINPROGRESS);
	asked = iommu_take();
	iommu_answer(&asked, answer, sizeof(answer));
	iommu_heard(0, 0);
}
