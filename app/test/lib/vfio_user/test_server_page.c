/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "iommu_peer.h"

/* Page requests, the server's end. */

#define GROUPS 6
#define UNHEARD 1

static struct rp_vfu_page_group groups[GROUPS];
static struct rp_vfu_page pages[GROUPS][5];
static int heard[GROUPS];
static unsigned int again; /* requests that done() makes by itself */

static void
on_done(struct rp_vfu_page_group *group, int error)
{
	heard[group - groups] = error;
	if (again > 0) {
		again--;
		assert_int_equal(rp_vfu_server_page_request(iommu_scene.device.server, group), 0);
	}
}

static int
request(unsigned int group, uint32_t pasid, uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count && i < 5; i++)
		pages[group][i] =
			(struct rp_vfu_page){0x1000 * (uint64_t)(group + 1) + 0x100000 * (uint64_t)i, 1 + i % 3};
	groups[group] = (struct rp_vfu_page_group){
		.pasid = pasid, .pages = pages[group], .pages_count = count, .done = on_done};
	heard[group] = UNHEARD;
	return rp_vfu_server_page_request(iommu_scene.device.server, &groups[group]);
}

static void
respond(uint32_t number, uint32_t code)
{
	const uint8_t payload[] = {U32(number), U32(code)};

	assert_true(peer_command(&iommu_scene.peer, 7, 0x5208, NO_REPLY, payload, sizeof(payload), NULL, 0));
	device_turn(&iommu_scene.device);
	device_turn(&iommu_scene.device);
}

static uint32_t
respond_loudly(uint32_t number, uint32_t code)
{
	const uint8_t payload[] = {U32(number), U32(code)};

	return iommu_ask(0x5208, payload, sizeof(payload));
}

/* @return the number of the group. */
static uint32_t
take(uint32_t count)
{
	uint32_t number, said;

	(void)iommu_take();
	assert_int_equal(iommu_scene.msg.command, 0x5207);
	assert_int_equal(iommu_scene.msg.flags, NO_REPLY);
	memcpy(&number, iommu_scene.msg.payload, 4);
	memcpy(&said, iommu_scene.msg.payload + 4, 4);
	assert_int_equal(said, count);
	assert_int_equal(iommu_scene.msg.payload_bytes, 16 + 16 * count);
	return number;
}

static void
test_page_request_vectors(void **state)
{
	static const uint8_t with_pasid[] = {U16(0), U16(0x5207), U32(64),	 U32(NO_REPLY), U32(0),
					     U32(1), U32(2),	  U32(0xabcd),	 U32(1),	U64(0x1000),
					     U32(1), U32(0),	  U64(0x101000), U32(2),	U32(0)};
	static const uint8_t without[] = {U16(0), U16(0x5207), U32(48), U32(NO_REPLY), U32(0), U32(2),
					  U32(1), U32(0),      U32(0),	U64(0x2000),   U32(1), U32(0)};
	struct rp_vfu_server_iommu_counters counters;

	(void)state;
	iommu_begin(0, IOMMU_ALL);
	assert_int_equal(request(0, 0xabcd, 2), 0);
	assert_int_equal(request(1, RP_DMA_NO_PASID, 1), 0);
	assert_int_equal(take(2), 1);
	assert_int_equal(iommu_scene.msg.size_bytes, sizeof(with_pasid));
	assert_memory_equal(iommu_scene.msg.bytes, with_pasid, sizeof(with_pasid));
	assert_int_equal(take(1), 2);
	assert_memory_equal(iommu_scene.msg.bytes, without, sizeof(without));
	respond(2, 1);
	assert_int_equal(heard[1], -EFAULT);
	assert_int_equal(heard[0], UNHEARD);
	assert_int_equal(respond_loudly(1, 0), 0);
	assert_int_equal(heard[0], 0);
	rp_vfu_server_iommu_counters(iommu_scene.device.server, &counters);
	assert_int_equal(counters.page_requests, 3);
	assert_int_equal(counters.page_groups, 2);
	assert_int_equal(counters.page_successes, 1);
	assert_int_equal(counters.page_invalid, 1);
}

static void
test_no_more_pages_than_agreed(void **state)
{
	(void)state;
	iommu_begin(0, IOMMU_ALL);
	assert_int_equal(request(0, 1, 3), 0);
	assert_int_equal(request(1, 1, 2), 0);
	assert_int_equal(request(2, 1, 1), 0);
	assert_int_equal(take(3), 1);
	/* In their order: the small one does not overtake. */
	assert_true(peer_is_silent(&iommu_scene.peer));
	respond(1, 0);
	assert_int_equal(heard[0], 0);
	assert_int_equal(take(2), 2);
	assert_int_equal(take(1), 3);
	respond(3, 0);
	respond(2, 0);
	assert_int_equal(heard[1], 0);
	assert_int_equal(heard[2], 0);
}

static void
test_requests_that_are_refused(void **state)
{
	(void)state;
	iommu_begin(0, IOMMU_ALL);
	assert_int_equal(request(0, 1, 0), -EINVAL);
	assert_int_equal(request(0, 1, 5), -EINVAL);
	assert_int_equal(request(0, 0x100000, 1), -EINVAL);
	assert_int_equal(request(0, 1, 1), 0);
	groups[1] = groups[0];
	pages[0][0].iova = 0x1001;
	assert_int_equal(rp_vfu_server_page_request(iommu_scene.device.server, &groups[1]), -EINVAL);
	pages[0][0] = (struct rp_vfu_page){0x1000, 4};
	assert_int_equal(rp_vfu_server_page_request(iommu_scene.device.server, &groups[1]), -EINVAL);
	pages[0][0] = (struct rp_vfu_page){0x1000, 0};
	assert_int_equal(rp_vfu_server_page_request(iommu_scene.device.server, &groups[1]), -EINVAL);
	pages[0][0] = (struct rp_vfu_page){0x1000, 1};
	rp_vfu_server_page_cancel(iommu_scene.device.server, &groups[0]);
	iommu_leave();
	assert_int_equal(request(0, 1, 1), -ENOTCONN);
	/* A client that takes none. */
	iommu_begin(0, "\"ringpass.serve\":true,\"ringpass.iommu\":{\"translations\":4,\"invalidations\":4}");
	assert_int_equal(request(0, RP_DMA_NO_PASID, 1), -ENOTSUP);
	assert_int_equal(respond_loudly(1, 0), EOPNOTSUPP);
}

static void
test_responses_that_are_refused(void **state)
{
	(void)state;
	iommu_begin(0, IOMMU_ALL);
	assert_int_equal(request(0, 1, 1), 0);
	assert_int_equal(take(1), 1);
	assert_int_equal(respond_loudly(2, 0), EINVAL);
	assert_int_equal(respond_loudly(1, 2), EINVAL);
	assert_int_equal(respond_loudly(1, 17), EINVAL);
	assert_int_equal(heard[0], UNHEARD);
	assert_int_equal(respond_loudly(1, 0), 0);
	/* A second time. */
	assert_int_equal(respond_loudly(1, 0), EINVAL);
	assert_int_equal(heard[0], 0);
}

/* As in PCI Express: a failure ends all of them, and none is sent until the client says so, or a reset. */
static void
test_failure_ends_them_all(void **state)
{
	struct rp_vfu_server_iommu_counters counters;

	(void)state;
	iommu_begin(0, IOMMU_ALL);
	assert_int_equal(request(0, 1, 2), 0);
	assert_int_equal(request(1, 1, 2), 0);
	assert_int_equal(request(2, 1, 2), 0);
	assert_int_equal(take(2), 1);
	assert_int_equal(take(2), 2);
	respond(1, 15);
	assert_int_equal(heard[0], -EIO);
	assert_int_equal(heard[1], -EIO);
	assert_int_equal(heard[2], -EIO);
	assert_int_equal(request(3, 1, 1), -EIO);
	/* What the client says of one that has ended. */
	assert_int_equal(respond_loudly(2, 0), EINVAL);
	respond(0, 16);
	assert_int_equal(request(3, 1, 4), 0);
	assert_int_equal(take(4), 3);
	respond(3, 15);
	assert_int_equal(heard[3], -EIO);
	assert_int_equal(iommu_ask(13, NULL, 0), 0);
	assert_int_equal(request(4, 1, 1), 0);
	assert_int_equal(take(1), 4);
	rp_vfu_server_iommu_counters(iommu_scene.device.server, &counters);
	assert_int_equal(counters.page_failures, 2);
	respond(4, 0);
	assert_int_equal(heard[4], 0);
}

static void
test_who_gives_up_hears_nothing(void **state)
{
	(void)state;
	iommu_begin(0, IOMMU_ALL);
	assert_int_equal(request(0, 1, 4), 0);
	assert_int_equal(request(1, 1, 1), 0);
	assert_int_equal(take(4), 1);
	rp_vfu_server_page_cancel(iommu_scene.device.server, &groups[1]);
	rp_vfu_server_page_cancel(iommu_scene.device.server, &groups[1]);
	rp_vfu_server_page_cancel(iommu_scene.device.server, &groups[0]);
	/* The client has its pages still. */
	assert_int_equal(request(2, 1, 1), 0);
	assert_true(peer_is_silent(&iommu_scene.peer));
	respond(1, 0);
	assert_int_equal(take(1), 2);
	respond(2, 0);
	assert_int_equal(heard[0], UNHEARD);
	assert_int_equal(heard[1], UNHEARD);
	assert_int_equal(heard[2], 0);
}

static void
test_who_hears_may_ask_again(void **state)
{
	(void)state;
	iommu_begin(0, IOMMU_ALL);
	again = 1;
	assert_int_equal(request(0, 1, 1), 0);
	assert_int_equal(take(1), 1);
	respond(1, 1);
	assert_int_equal(heard[0], -EFAULT);
	assert_int_equal(take(1), 2);
	respond(2, 0);
	assert_int_equal(heard[0], 0);
}

static void
test_client_that_leaves_ends_them(void **state)
{
	(void)state;
	iommu_begin(0, IOMMU_ALL);
	assert_int_equal(request(0, 1, 4), 0);
	assert_int_equal(request(1, 1, 1), 0);
	assert_int_equal(take(4), 1);
	iommu_leave();
	assert_int_equal(heard[0], -ENOTCONN);
	assert_int_equal(heard[1], -ENOTCONN);
}

/* A response may be what an earlier command waits for: it is taken before that one is answered. */
static void
test_responses_overtake_what_waits(void **state)
{
	static const uint8_t map[] = {U32(32), U32(3), U64(0), U64(0x100000), U64(0x10000)};
	static const uint8_t unmap[] = {U32(24), U32(0), U64(0x100000), U64(0x10000)};
	struct rp_dma_reader *reader;

	(void)state;
	iommu_begin(0, IOMMU_ALL);
	assert_int_equal(iommu_ask(2, map, sizeof(map)), 0);
	assert_int_equal(request(0, 1, 1), 0);
	assert_int_equal(take(1), 1);
	assert_int_equal(rp_dma_reader_create(rp_vfu_server_dma(iommu_scene.device.server), &reader), 0);
	rp_dma_reader_online(reader);
	assert_true(peer_command(&iommu_scene.peer, 9, 3, COMMAND, unmap, sizeof(unmap), NULL, 0));
	respond(1, 0);
	assert_int_equal(heard[0], 0);
	assert_true(peer_is_silent(&iommu_scene.peer));
	rp_dma_reader_offline(reader);
	device_turn(&iommu_scene.device);
	assert_true(peer_receive(&iommu_scene.peer, &iommu_scene.reply));
	assert_int_equal(iommu_scene.reply.id, 9);
	assert_null(rp_dma_reader_destroy(reader));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_page_request_vectors, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_no_more_pages_than_agreed, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_requests_that_are_refused, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_responses_that_are_refused, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_failure_ends_them_all, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_who_gives_up_hears_nothing, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_who_hears_may_ask_again, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_client_that_leaves_ends_them, iommu_setup, iommu_teardown),
		cmocka_unit_test_setup_teardown(test_responses_overtake_what_waits, iommu_setup, iommu_teardown),
	};

	return cmocka_run_group_tests_name("vfio-user server: page requests", tests, NULL, NULL);
}
