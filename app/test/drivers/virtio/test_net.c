/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "fixture.h"

static const struct rp_accel_net everything = {.queue_pairs = 2, .promiscuous = true, .all_multicast = true};
static const struct rp_accel_net one_card = {
	.queue_pairs = 1,
	.has_mac = true,
	.mac = {0x52, 0x54, 0, 0x12, 0x34, 0x56},
};

static int
net_set(struct fixture *fixture, const struct rp_accel_net *net)
{
	return fixture->accel.ops->net_set(fixture->accel.priv, net, &fixture->why);
}

static void
assert_told(const struct fixture *fixture, uint16_t pairs, const uint8_t *mac, bool promiscuous, bool all_multicast)
{
	const struct fake_ctrl *ctrl = &fixture->fake.ctrl;

	assert_int_equal(ctrl->pairs, pairs);
	assert_memory_equal(ctrl->mac, mac, sizeof(ctrl->mac));
	assert_int_equal(ctrl->promiscuous, promiscuous);
	assert_int_equal(ctrl->all_multicast, all_multicast);
}

static void
negotiate_with_control(struct fixture *fixture)
{
	fake_add_control(&fixture->fake);
	fixture_negotiate(fixture);
}

static void
a_wish_is_told(void **state)
{
	struct fixture *fixture = *state;

	negotiate_with_control(fixture);
	assert_int_equal(fixture->fake.ctrl.starts_count, 0);
	assert_int_equal(net_set(fixture, &everything), 0);
	assert_told(fixture, 2, fixture->fake.net_config, true, true);
	assert_int_equal(net_set(fixture, &one_card), 0);
	assert_told(fixture, 1, one_card.mac, false, false);
	assert_int_equal(fixture->fake.ctrl.starts_count, 1);
}

/* Byte for byte: virtio 1.2, 5.1.6.5.1, 5.1.6.5.2 and 5.1.6.5.5, independent of what the fake makes of it. */
static void
commands_are_as_specified(void **state)
{
	static const struct fake_command expected[] = {
		{4, 0, {1, 0}, 2},
		{1, 1, {0x52, 0x54, 0, 0x12, 0x34, 0x56}, 6},
		{0, 0, {0}, 1},
		{0, 1, {0}, 1},
	};
	struct fixture *fixture = *state;

	negotiate_with_control(fixture);
	assert_int_equal(net_set(fixture, &one_card), 0);
	assert_int_equal(fixture->fake.ctrl.commands_count, 4);
	assert_memory_equal(fixture->fake.ctrl.commands, expected, sizeof(expected));
}

static void
before_the_negotiation_a_wish_is_kept(void **state)
{
	struct fixture *fixture = *state;

	fake_add_control(&fixture->fake);
	fixture_open_ok(fixture);
	assert_int_equal(net_set(fixture, &everything), 0);
	assert_int_equal(net_set(fixture, &one_card), 0);
	assert_int_equal(fixture->fake.ctrl.commands_count, 0);
	assert_int_equal(fixture->accel.ops->set_features(fixture->accel.priv, FAKE_VERSION_1, &fixture->why), 0);
	assert_told(fixture, 1, one_card.mac, false, false);
}

static void
a_device_that_was_reset_is_told_again(void **state)
{
	struct fixture *fixture = *state;

	negotiate_with_control(fixture);
	assert_int_equal(net_set(fixture, &one_card), 0);
	assert_int_equal(fixture->accel.ops->reset(fixture->accel.priv, &fixture->why), 0);
	assert_told(fixture, 1, fixture->fake.net_config, true, false);
	assert_int_equal(fixture->accel.ops->set_features(fixture->accel.priv, FAKE_VERSION_1, &fixture->why), 0);
	assert_told(fixture, 1, one_card.mac, false, false);
	assert_int_equal(fixture->accel.ops->set_features(fixture->accel.priv, FAKE_VERSION_1, &fixture->why), 0);
	assert_told(fixture, 1, one_card.mac, false, false);
	assert_int_equal(fixture->fake.ctrl.commands_count, 12);
}

/* Stopping its last queue resets a device without RING_RESET. */
static void
a_device_that_we_reset_to_stop_it_is_told_again(void **state)
{
	struct fixture *fixture = *state;
	uint32_t position;

	fake_remove_vendor(&fixture->fake);
	fixture->fake.features &= ~FAKE_RING_RESET;
	negotiate_with_control(fixture);
	assert_int_equal(net_set(fixture, &one_card), 0);
	assert_int_equal(fixture_start(fixture, 0, 0, -1), 0);
	assert_int_equal(fixture->accel.ops->queue_stop(fixture->accel.priv, 0, &position, &fixture->why), 0);
	assert_told(fixture, 1, fixture->fake.net_config, true, false);
	assert_int_equal(fixture_start(fixture, 0, 0, -1), 0);
	assert_told(fixture, 1, one_card.mac, false, false);
	/* And no more than that. */
	assert_int_equal(fixture_start(fixture, 1, 0, -1), 0);
	assert_int_equal(fixture->fake.ctrl.commands_count, 8);
}

static void
its_own_mac_comes_back(void **state)
{
	struct fixture *fixture = *state;

	negotiate_with_control(fixture);
	assert_int_equal(net_set(fixture, &everything), 0);
	assert_int_equal(fixture->fake.ctrl.commands_count, 3);
	assert_int_equal(net_set(fixture, &one_card), 0);
	assert_int_equal(net_set(fixture, &everything), 0);
	assert_told(fixture, 2, fixture->fake.net_config, true, true);
}

/* After a reset it is there anyway. */
static void
its_own_mac_is_not_set_without_need(void **state)
{
	struct fixture *fixture = *state;

	negotiate_with_control(fixture);
	assert_int_equal(net_set(fixture, &one_card), 0);
	assert_int_equal(fixture->accel.ops->reset(fixture->accel.priv, &fixture->why), 0);
	assert_int_equal(net_set(fixture, &everything), 0);
	fixture->fake.ctrl.commands_count = 0;
	assert_int_equal(fixture->accel.ops->set_features(fixture->accel.priv, FAKE_VERSION_1, &fixture->why), 0);
	assert_told(fixture, 2, fixture->fake.net_config, true, true);
	assert_int_equal(fixture->fake.ctrl.commands_count, 3);
}

/* virtio 1.2, 5.1.2: it comes after the first pair, whatever else is there. */
static void
a_control_queue_without_mq(void **state)
{
	struct fixture *fixture = *state;

	fake_add_control(&fixture->fake);
	fixture->fake.features &= ~FAKE_MQ;
	fixture_negotiate(fixture);
	assert_int_equal(net_set(fixture, &one_card), 0);
	assert_told(fixture, 1, one_card.mac, false, false);
	assert_int_equal(fixture->fake.doorbell_value, 2);
}

static void
more_queues_than_pairs_and_control(void **state)
{
	struct fixture *fixture = *state;

	fake_add_control(&fixture->fake);
	fixture->fake.num_queues = 7;
	fixture_negotiate(fixture);
	assert_int_equal(net_set(fixture, &everything), 0);
	assert_told(fixture, 2, fixture->fake.net_config, true, true);
	assert_int_equal(fixture->fake.doorbell_value, 4);
}

/* Bits that mean nothing without it. */
static void
commands_without_a_control_queue(void **state)
{
	struct fixture *fixture = *state;

	fake_add_control(&fixture->fake);
	fixture->fake.features &= ~FAKE_CTRL_VQ;
	fixture_negotiate(fixture);
	assert_int_equal(net_set(fixture, &one_card), -ENOTSUP);
	fixture_assert_why(fixture, "MAC: the device has no control queue to set it by");
	assert_int_equal(fixture->fake.ctrl.starts_count, 0);
}

static void
wishes_that_cannot_be(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_net net = everything;

	negotiate_with_control(fixture);
	net.queue_pairs = 0;
	assert_int_equal(net_set(fixture, &net), -EINVAL);
	fixture_assert_why(fixture, "queue pairs: 0, expected 1 to 2");
	net.queue_pairs = 3;
	assert_int_equal(net_set(fixture, &net), -EINVAL);
	net = one_card;
	net.mac[0] |= 1;
	assert_int_equal(net_set(fixture, &net), -EINVAL);
	fixture_assert_why(fixture, "MAC: a multicast address, expected that of one card");
	memset(net.mac, 0, sizeof(net.mac));
	assert_int_equal(net_set(fixture, &net), -EINVAL);
	fixture_assert_why(fixture, "MAC: an empty address, expected that of one card");
	assert_int_equal(fixture->fake.ctrl.commands_count, 0);
}

static void
too_few_vectors_for_the_pairs(void **state)
{
	struct fixture *fixture = *state;

	fake_add_control(&fixture->fake);
	fixture->fake.info.msix_count = 3;
	fixture_negotiate(fixture);
	assert_int_equal(net_set(fixture, &everything), -EINVAL);
	fixture_assert_why(fixture, "queue pairs: 2, expected 1 to 1: MSI-X has too few vectors for more");
}

static void
what_a_device_has_no_means_for(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_net own = one_card;

	fake_add_control(&fixture->fake);
	fixture->fake.features &= ~(FAKE_CTRL_MAC_ADDR | FAKE_CTRL_RX);
	fixture_negotiate(fixture);
	assert_int_equal(net_set(fixture, &one_card), -ENOTSUP);
	fixture_assert_why(fixture,
			   "MAC: the device has no CTRL_MAC_ADDR to set it by: give the guest the device's own");
	memcpy(own.mac, fixture->fake.net_config, sizeof(own.mac));
	assert_int_equal(net_set(fixture, &own), 0);
	/* Pairs alone: who cannot filter receives everything. */
	assert_int_equal(fixture->fake.ctrl.commands_count, 1);
}

static void
without_a_control_queue(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_net own = one_card;

	fixture_negotiate(fixture);
	assert_int_equal(net_set(fixture, &everything), 0);
	assert_int_equal(net_set(fixture, &one_card), -ENOTSUP);
	fixture_assert_why(fixture, "MAC: the device has no control queue to set it by");
	memcpy(own.mac, fixture->fake.net_config, sizeof(own.mac));
	assert_int_equal(net_set(fixture, &own), 0);
	assert_int_equal(fixture->fake.dma_maps_count, 0);
	assert_int_equal(fixture->fake.ctrl.starts_count, 0);
}

/* A wish that was taken in part is taken back. */
static void
a_refused_wish_leaves_the_one_before(void **state)
{
	struct fixture *fixture = *state;

	negotiate_with_control(fixture);
	assert_int_equal(net_set(fixture, &everything), 0);
	/* Pairs and MAC are taken, promiscuous is refused, and then nothing more. */
	fixture->fake.lies.ctrl_refused_after = fixture->fake.ctrl.commands_count + 2;
	assert_int_equal(net_set(fixture, &one_card), -ENOTSUP);
	fixture_assert_why(fixture, "control queue: RX_PROMISC: the device refuses it");
	assert_told(fixture, 1, one_card.mac, true, true);
	/* It refused the way back as well; the next queue tries again, and says so. */
	assert_int_equal(fixture_start(fixture, 0, 0, -1), -ENOTSUP);
	fixture_assert_why(fixture, "control queue: VQ_PAIRS_SET: the device refuses it");
	fixture->fake.lies.ctrl_refused_after = 0;
	assert_int_equal(fixture_start(fixture, 0, 0, -1), 0);
	assert_told(fixture, 2, fixture->fake.net_config, true, true);
}

static void
the_way_back_is_taken_at_once(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_net net = everything;

	negotiate_with_control(fixture);
	assert_int_equal(net_set(fixture, &one_card), 0);
	fixture->fake.lies.ctrl_refused = 0x0001;
	fixture->fake.lies.ctrl_refuses_ones = true;
	net.promiscuous = false;
	assert_int_equal(net_set(fixture, &net), -ENOTSUP);
	fixture_assert_why(fixture, "control queue: RX_ALLMULTI: the device refuses it");
	assert_told(fixture, 1, one_card.mac, false, false);
	assert_int_equal(fixture_start(fixture, 0, 0, -1), 0);
}

static void
a_kept_wish_that_is_refused_later(void **state)
{
	struct fixture *fixture = *state;

	fake_add_control(&fixture->fake);
	fixture_open_ok(fixture);
	assert_int_equal(net_set(fixture, &everything), 0);
	fixture->fake.lies.ctrl_refused_after = 1;
	assert_int_equal(fixture->accel.ops->set_features(fixture->accel.priv, FAKE_VERSION_1, &fixture->why),
			 -ENOTSUP);
	fixture_assert_why(fixture, "control queue: RX_PROMISC: the device refuses it");
	/* It is as if nothing had been negotiated. */
	assert_int_equal(fixture->fake.status, 0);
	assert_int_equal(fixture_start(fixture, 0, 0, -1), -EINVAL);
	fixture->fake.lies.ctrl_refused_after = 0;
	assert_int_equal(fixture->accel.ops->set_features(fixture->accel.priv, FAKE_VERSION_1, &fixture->why), 0);
	assert_told(fixture, 2, fixture->fake.net_config, true, true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_wish_is_told),
		TEST(commands_are_as_specified),
		TEST(before_the_negotiation_a_wish_is_kept),
		TEST(a_device_that_was_reset_is_told_again),
		TEST(a_device_that_we_reset_to_stop_it_is_told_again),
		TEST(its_own_mac_comes_back),
		TEST(its_own_mac_is_not_set_without_need),
		TEST(a_control_queue_without_mq),
		TEST(more_queues_than_pairs_and_control),
		TEST(commands_without_a_control_queue),
		TEST(wishes_that_cannot_be),
		TEST(too_few_vectors_for_the_pairs),
		TEST(what_a_device_has_no_means_for),
		TEST(without_a_control_queue),
		TEST(a_refused_wish_leaves_the_one_before),
		TEST(the_way_back_is_taken_at_once),
		TEST(a_kept_wish_that_is_refused_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
