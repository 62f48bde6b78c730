/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "rp_vfio_user.h"
#include "rp_vfu_server_iommu.h"
#include "rp_wire_parcel.h"
#include "server_peer.h"

/* A device that asks, behind a real server in a thread, and an IOMMU of a few words in front of it. */

#define PAGE RP_ACCEL_IOMMU_PAGE_BYTES
#define LIMIT_MS 10000u

struct stack {
	struct server_peer peer;
	struct rp_vfu_region regions[RP_VFU_PCI_REGIONS_COUNT];
	struct rp_vfu_irq_type irqs[RP_VFU_PCI_IRQS_COUNT];
	struct rp_vfu_server_config config;
	struct rp_vfu_server_iommu device_iommu;
	struct rp_accel_iommu iommu;
	struct rp_accel_transport transport;
	struct rp_wire_why why;
	struct test_leaks leaks;

	/* The IOMMU. */
	int answer; /* of the next question */
	struct rp_accel_translation translation;
	unsigned int asked;
	uint64_t token, iova;
	uint32_t access_mask;
	unsigned int groups, pages;
	uint32_t group;
	struct rp_accel_page page;

	/* The device; under the peer's lock. */
	struct rp_dma_atc_wait wait;
	struct rp_vfu_page wanted;
	struct rp_vfu_page_group wanted_group;
	unsigned int heard;
	int error;
};

static int
translate(void *ctx, uint64_t token, uint64_t iova, uint32_t access_mask, struct rp_accel_translation *ret_translation)
{
	struct stack *stack = ctx;

	stack->asked++;
	stack->token = token;
	stack->iova = iova;
	stack->access_mask = access_mask;
	*ret_translation = stack->translation;
	return stack->answer;
}

static void
page_request(void *ctx, uint32_t group, const struct rp_accel_page *pages, unsigned int count)
{
	struct stack *stack = ctx;

	stack->groups++;
	stack->group = group;
	stack->pages += count;
	stack->page = pages[0];
}

static int
read_zeroes(void *ctx, uint32_t region, uint64_t at, uint32_t count, uint8_t *ret_bytes)
{
	(void)ctx, (void)region, (void)at;
	memset(ret_bytes, 0, count);
	return 0;
}

static const struct rp_vfu_server_ops server_ops = {.reset = NULL};

static int
setup(void **state)
{
	struct stack *stack = calloc(1, sizeof(*stack));
	unsigned int i;

	assert_non_null(stack);
	test_leaks_read(&stack->leaks);
	for (i = 0; i < RP_VFU_PCI_REGIONS_COUNT; i++)
		stack->regions[i].fd = -1;
	stack->regions[RP_VFU_PCI_CONFIG_REGION] =
		(struct rp_vfu_region){.size_bytes = 256, .readable = true, .fd = -1, .read = read_zeroes};
	stack->irqs[RP_VFU_PCI_MSIX_IRQ] = (struct rp_vfu_irq_type){1, RP_VFU_IRQ_FLAG_EVENTFD_MASK};
	stack->device_iommu.pasid_bits = RP_VFU_IOMMU_NO_PASIDS;
	stack->config = (struct rp_vfu_server_config){
		.socket_path = test_socket_path(),
		.regions_count = RP_VFU_PCI_REGIONS_COUNT,
		.regions = stack->regions,
		.irqs_count = RP_VFU_PCI_IRQS_COUNT,
		.irqs = stack->irqs,
		.pci = true,
		.iommu = &stack->device_iommu,
	};
	stack->iommu = (struct rp_accel_iommu){.translate = translate, .page_request = page_request, .ctx = stack};
	*state = stack;
	return 0;
}

static int
teardown(void **state)
{
	struct stack *stack = *state;

	if (stack->transport.ops != NULL)
		stack->transport.ops->close(stack->transport.priv);
	server_peer_stop(&stack->peer);
	test_leaks_assert_none(&stack->leaks);
	free(stack);
	return 0;
}

static void
connect_with(struct stack *stack, bool offered)
{
	const struct rp_vfio_user_config config = {
		.socket_path = stack->config.socket_path,
		.timeout_ms = LIMIT_MS,
		.iommu = offered ? &stack->iommu : NULL,
	};
	int rc;

	server_peer_start(&stack->peer, &stack->config, &server_ops, stack);
	rc = rp_vfio_user_open(&config, &stack->transport, &stack->why);
	if (rc < 0)
		print_error("%s\n", stack->why.text);
	assert_int_equal(rc, 0);
}

static bool
asks(struct stack *stack)
{
	struct rp_accel_transport_info info;

	stack->transport.ops->get_info(stack->transport.priv, &info);
	return info.asks;
}

static void
both_ends_must_want_it(void **state)
{
	struct stack *stack = *state;

	connect_with(stack, false);
	assert_false(asks(stack));
	assert_int_equal(stack->transport.ops->invalidate(stack->transport.priv, 0, 0, &stack->why), -ENOTSUP);
}

static void
a_device_that_knows_nothing_of_it(void **state)
{
	struct stack *stack = *state;

	stack->config.iommu = NULL;
	connect_with(stack, true);
	assert_false(asks(stack));
}

static void
on_heard(struct rp_dma_atc_wait *wait, int error)
{
	struct stack *stack = wait->ctx;

	stack->error = error;
	stack->heard++;
}

static void
on_page(struct rp_vfu_page_group *group, int error)
{
	struct stack *stack = group->ctx;

	stack->error = error;
	stack->heard++;
}

static bool
has_asked(void *ctx)
{
	struct stack *stack = ctx;

	assert_int_equal(stack->transport.ops->process(stack->transport.priv, &stack->why), 0);
	return stack->asked > 0 || stack->groups > 0;
}

/* What the device hears came over the socket: both ends are given their turns until then. */
static bool
has_heard(void *ctx)
{
	struct stack *stack = ctx;
	bool heard;

	assert_int_equal(stack->transport.ops->process(stack->transport.priv, &stack->why), 0);
	server_peer_lock(&stack->peer);
	heard = stack->heard > 0;
	server_peer_unlock(&stack->peer);
	return heard;
}

static void
want(struct stack *stack, uint64_t iova, uint32_t access_mask)
{
	server_peer_lock(&stack->peer);
	stack->heard = stack->asked = 0;
	stack->wait = (struct rp_dma_atc_wait){.done = on_heard, .ctx = stack};
	assert_int_equal(rp_dma_atc_want(rp_vfu_server_atc(stack->peer.server), &stack->wait, RP_DMA_NO_PASID, iova,
					 access_mask),
			 -EINPROGRESS);
	server_peer_unlock(&stack->peer);
	assert_true(test_wait(has_asked, stack, LIMIT_MS));
	assert_int_equal(stack->iova, iova);
	assert_int_equal(stack->access_mask, access_mask);
}

static void
expect(struct stack *stack, int error)
{
	assert_true(test_wait(has_heard, stack, LIMIT_MS));
	assert_int_equal(stack->error, error);
}

static int
find(struct stack *stack, uint64_t iova, struct rp_dma_translation *ret_found)
{
	int rc;

	server_peer_lock(&stack->peer);
	rc = rp_dma_atc_find(rp_vfu_server_atc(stack->peer.server), RP_DMA_NO_PASID, iova, RP_DMA_READ, ret_found);
	server_peer_unlock(&stack->peer);
	return rc;
}

static void
questions_are_answered_now_or_later(void **state)
{
	struct stack *stack = *state;
	struct rp_dma_translation found;

	connect_with(stack, true);
	assert_true(asks(stack));
	stack->translation = (struct rp_accel_translation){
		.iova = 0x5000, .size_bytes = 2 * PAGE, .address = 0x105000, .access_mask = RP_DMA_READ | RP_DMA_WRITE};
	want(stack, 0x6000, RP_DMA_READ);
	expect(stack, 0);
	assert_int_equal(find(stack, 0x6008, &found), 0);
	assert_int_equal(found.address, 0x106008);

	stack->answer = -EINPROGRESS;
	want(stack, 0x8000, RP_DMA_WRITE);
	stack->translation.iova = 0x9000;
	assert_int_equal(stack->transport.ops->translated(stack->transport.priv, stack->token, &stack->translation),
			 -EINVAL);
	stack->translation.iova = 0x8000;
	stack->translation.identity = true;
	assert_int_equal(stack->transport.ops->translated(stack->transport.priv, stack->token, &stack->translation), 0);
	expect(stack, 0);
	assert_int_equal(find(stack, 0x8000, &found), 0);
	assert_true(found.identity);
	assert_int_equal(stack->transport.ops->translated(stack->transport.priv, stack->token, &stack->translation),
			 -ENOENT);
	/* Not present, and no answer at all. */
	stack->answer = 0;
	stack->translation.access_mask = 0;
	want(stack, 0xa000, RP_DMA_READ);
	expect(stack, -EFAULT);
	stack->answer = -EINPROGRESS;
	want(stack, 0xb000, RP_DMA_READ);
	assert_int_equal(stack->transport.ops->translated(stack->transport.priv, stack->token, NULL), 0);
	expect(stack, -EIO);
}

static void
invalidations_are_over_when_they_return(void **state)
{
	struct stack *stack = *state;
	struct rp_dma_translation found;

	connect_with(stack, true);
	stack->translation = (struct rp_accel_translation){
		.iova = 0x5000, .size_bytes = 3 * PAGE, .address = 0x105000, .access_mask = RP_DMA_READ};
	want(stack, 0x5000, RP_DMA_READ);
	expect(stack, 0);
	assert_int_equal(stack->transport.ops->invalidate(stack->transport.priv, 0x6000, PAGE, &stack->why), 0);
	assert_int_equal(find(stack, 0x6000, &found), -EAGAIN);
	want(stack, 0x5000, RP_DMA_READ | RP_DMA_WRITE);
	assert_int_equal(stack->transport.ops->invalidate(stack->transport.priv, 0x6001, PAGE, &stack->why), -EINVAL);
	assert_int_equal(stack->transport.ops->invalidate(stack->transport.priv, 0, 0, &stack->why), 0);
	assert_int_equal(find(stack, 0x5000, &found), -EAGAIN);
}

/* A question that nobody answers is outstanding, and holds nothing up. */
static void
an_invalidation_waits_for_no_answer(void **state)
{
	struct stack *stack = *state;

	connect_with(stack, true);
	stack->answer = -EINPROGRESS;
	want(stack, 0x5000, RP_DMA_READ);
	assert_int_equal(stack->transport.ops->invalidate(stack->transport.priv, 0x5000, PAGE, &stack->why), 0);
	server_peer_lock(&stack->peer);
	assert_int_equal(stack->heard, 0);
	rp_dma_atc_cancel(rp_vfu_server_atc(stack->peer.server), &stack->wait);
	server_peer_unlock(&stack->peer);
}

static void
request(struct stack *stack, uint64_t iova)
{
	server_peer_lock(&stack->peer);
	stack->heard = stack->groups = stack->pages = stack->asked = 0;
	stack->wanted = (struct rp_vfu_page){.iova = iova, .access_mask = RP_DMA_WRITE};
	stack->wanted_group = (struct rp_vfu_page_group){
		.pasid = RP_DMA_NO_PASID, .pages = &stack->wanted, .pages_count = 1, .done = on_page, .ctx = stack};
	assert_int_equal(rp_vfu_server_page_request(stack->peer.server, &stack->wanted_group), 0);
	server_peer_unlock(&stack->peer);
	assert_true(test_wait(has_asked, stack, LIMIT_MS));
	assert_true(stack->groups == 1 && stack->pages == 1);
	assert_true(stack->page.iova == iova && stack->page.access_mask == RP_DMA_WRITE);
}

static void
pages_are_responded_to(void **state)
{
	struct stack *stack = *state;

	connect_with(stack, true);
	request(stack, 0x7000);
	assert_int_equal(stack->transport.ops->page_respond(stack->transport.priv, stack->group, true), 0);
	expect(stack, 0);
	assert_int_equal(stack->transport.ops->page_respond(stack->transport.priv, stack->group, true), -ENOENT);
	request(stack, 0x8000);
	assert_int_equal(stack->transport.ops->page_respond(stack->transport.priv, stack->group, false), 0);
	expect(stack, -EFAULT);
}

static void
it_is_not_given_away(void **state)
{
	struct stack *stack = *state;
	struct rp_wire_parcel *parcel;

	connect_with(stack, true);
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	assert_int_equal(stack->transport.ops->give(stack->transport.priv, parcel, &stack->why), -ENOTSUP);
	assert_non_null(strstr(stack->why.text, "asks this process for translations"));
	rp_wire_parcel_destroy(parcel);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(both_ends_must_want_it),
		TEST(a_device_that_knows_nothing_of_it),
		TEST(questions_are_answered_now_or_later),
		TEST(invalidations_are_over_when_they_return),
		TEST(an_invalidation_waits_for_no_answer),
		TEST(pages_are_responded_to),
		TEST(it_is_not_given_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
