/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "fixture.h"

static struct rp_accel_info
open_info(struct fixture *fixture)
{
	struct rp_accel_info info;

	fixture_open_ok(fixture);
	fixture->accel.ops->get_info(fixture->accel.priv, &info);
	return info;
}

static void
all_queues_are_counted(void **state)
{
	struct rp_accel_info info = open_info(*state);

	assert_int_equal(info.queues_count, 4);
	assert_int_equal(info.queue_size_max, 256);
}

static void
the_smallest_queue_counts(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.queues[2].size_max = fixture->fake.queues[2].size = 16;
	assert_int_equal(open_info(fixture).queue_size_max, 16);
}

/* virtio 1.2, 5.1.2 */
static void
with_mq_all_pairs_are_counted(void **state)
{
	struct fixture *fixture = *state;

	fake_add_control(&fixture->fake);
	assert_int_equal(open_info(fixture).queues_count, 4);
}

static void
a_control_queue_without_mq_leaves_one_pair_alive(void **state)
{
	struct fixture *fixture = *state;

	fake_add_control(&fixture->fake);
	fixture->fake.features &= ~FAKE_MQ;
	assert_int_equal(open_info(fixture).queues_count, 2);
}

static void
mq_without_a_control_queue_leaves_one_pair_alive(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.features |= FAKE_MQ;
	assert_int_equal(open_info(fixture).queues_count, 2);
}

/* QEMU's has more than one pair for a driver with MQ only. */
static void
queues_that_are_there_after_the_negotiation(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_info info;

	fake_add_control(&fixture->fake);
	fixture->fake.num_queues_without_mq = 3;
	info = open_info(fixture);
	assert_int_equal(info.queues_count, 4);
	assert_int_equal(info.queue_size_max, 256);
	assert_int_equal(fixture->fake.status, 0);
	assert_int_equal(fixture->accel.ops->set_features(fixture->accel.priv, FAKE_VERSION_1, &fixture->why), 0);
	assert_int_equal(fixture_start(fixture, 3, 0, -1), 0);
}

static void
pairs_that_cannot_be(void **state)
{
	struct fixture *fixture = *state;

	fake_add_control(&fixture->fake);
	fixture->fake.net_config[8] = 0;
	fixture_assert_refused(fixture, -EBADMSG, "max_virtqueue_pairs: 0, expected 1 to 32768");
	fixture->fake.net_config[8] = 1;
	fixture->fake.net_config[9] = 0x80;
	fixture_assert_refused(fixture, -EBADMSG, "max_virtqueue_pairs: 32769, expected 1 to 32768");
	fixture->fake.net_config[8] = 0;
	fixture_assert_refused(fixture, -EBADMSG,
			       "num_queues: 5, expected at least 65537: 65536 for data and one for control");
	assert_int_equal(fixture->fake.status, 0);
	fixture->fake.net_config[8] = 3;
	fixture->fake.net_config[9] = 0;
	fixture_assert_refused(fixture, -EBADMSG, "num_queues: 5, expected at least 7: 6 for data and one for control");
	fixture->fake.num_queues = 0;
	fixture_assert_refused(fixture, -EBADMSG, "num_queues: 0, expected at least 7");
}

static void
pairs_that_are_nowhere(void **state)
{
	struct fixture *fixture = *state;

	fake_add_control(&fixture->fake);
	fake_put_u32(&fixture->fake, FAKE_CAP_CONFIG + 12, 9);
	fixture_assert_refused(fixture, -EBADMSG, "device configuration: length: 9, expected at least 10 with MQ");
	fixture->fake.config_space[FAKE_CAP_CONFIG + 3] = 77;
	fixture_assert_refused(fixture, -EBADMSG, "device configuration: length: 0, expected at least 10 with MQ");
}

static void
more_pairs_than_a_port_has(void **state)
{
	struct fixture *fixture = *state;

	fake_remove_vendor(&fixture->fake);
	fake_add_control(&fixture->fake);
	fixture->fake.net_config[8] = 145;
	fixture->fake.num_queues = 291;
	fixture->fake.info.msix_count = 300;
	fake_put_u32(&fixture->fake, FAKE_CAP_NOTIFY + 12, 300 * FAKE_PAGE);
	fixture->fake.region_sizes[FAKE_BAR_NOTIFY] = 300 * FAKE_PAGE;
	assert_int_equal(open_info(fixture).queues_count, RP_ACCEL_QUEUES_MAX);
}

static void
a_control_queue_that_cannot_be(void **state)
{
	struct fixture *fixture = *state;

	fake_add_control(&fixture->fake);
	fixture->fake.queues[4].size = fixture->fake.queues[4].size_max = 0;
	fixture_assert_refused(fixture, -EBADMSG, "queue 4: queue_size: 0, expected a power of two up to 32768");
	fixture->fake.queues[4].size = fixture->fake.queues[4].size_max = 2;
	fixture_assert_refused(fixture, -EBADMSG, "control queue: queue_size: 2, expected at least 4");
	fixture->fake.queues[4].size = fixture->fake.queues[4].size_max = 64;
	fixture->fake.queues[4].notify_off = 5;
	fixture_assert_refused(fixture, -EBADMSG, "queue 4: queue_notify_off: 5 times 4096 lies beyond");
}

static void
odd_queues_make_whole_pairs(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.num_queues = 3;
	assert_int_equal(open_info(fixture).queues_count, 2);
}

static void
vectors_limit_queues(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.info.msix_count = 3;
	assert_int_equal(open_info(fixture).queues_count, 2);
	assert_int_equal(fixture_start(fixture, 2, 0, -1), -EINVAL);
	fixture_assert_why(fixture, "queue 2: expected less than 2: MSI-X has too few vectors for more, one is needed "
				    "for each (QEMU: vectors=N)");
}

static void
more_queues_than_we_use(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.num_queues = 0xffff;
	fixture->fake.info.msix_count = 300;
	fixture->fake.vendor.queues_count = 300;
	fixture->fake.vendor.stride_bytes = 64;
	fake_put_u32(&fixture->fake, FAKE_CAP_VENDOR + 12, 0x8000);
	fixture->fake.region_sizes[FAKE_BAR_REGISTERS] = 0x10000;
	fake_put_u32(&fixture->fake, FAKE_CAP_NOTIFY + 12, 300 * FAKE_PAGE);
	fixture->fake.region_sizes[FAKE_BAR_NOTIFY] = 300 * FAKE_PAGE;
	assert_int_equal(open_info(fixture).queues_count, RP_ACCEL_QUEUES_MAX);
}

static void
no_queues(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.num_queues = 0;
	fixture_assert_refused(fixture, -EBADMSG, "num_queues: 0, expected at least one pair");
	fixture->fake.num_queues = 1;
	fixture_assert_refused(fixture, -EBADMSG, "num_queues: 1, expected at least one pair");
	fixture->fake.num_queues = 2;
	fixture->fake.features |= FAKE_CTRL_VQ;
	fixture_assert_refused(fixture, -EBADMSG, "num_queues: 2, expected at least 3: 2 for data and one for control");
}

static void
too_few_vectors(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.info.msix_count = 1;
	fixture_assert_refused(fixture, -ENOTSUP, "MSI-X: 1 vectors, expected at least 2");
}

static void
sizes_that_cannot_be(void **state)
{
	static const uint16_t sizes[] = {0, 3, 100, 0x8001, 0xffff};
	struct fixture *fixture = *state;
	unsigned int i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		fixture->fake.queues[1].size_max = sizes[i];
		fixture_assert_refused(fixture, -EBADMSG, "queue 1: queue_size: ");
		fixture_assert_why(fixture, "expected a power of two up to 32768");
	}
}

/* virtio 1.2, 2.8.10 */
static void
sizes_that_only_packed_rings_can_have(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_info info;

	fixture->fake.features |= FAKE_PACKED;
	fixture->fake.queues[1].size_max = 0x8001;
	fixture_assert_refused(fixture, -EBADMSG, "queue 1: queue_size: ");
	fixture->fake.queues[1].size_max = 100;
	fixture_open_ok(fixture);
	fixture->accel.ops->get_info(fixture->accel.priv, &info);
	assert_int_equal(info.queue_size_max, 100);
}

static void
a_doorbell_beyond_the_notify_structure(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.queues[3].notify_off = 4;
	fixture_assert_refused(
		fixture, -EBADMSG,
		"queue 3: queue_notify_off: 4 times 4096 lies beyond the notify structure of 0x4000 bytes");
	fixture->fake.queues[3].notify_off = 0xffff;
	fake_put_u32(&fixture->fake, FAKE_CAP_NOTIFY + 16, 0xffffffff);
	fixture_assert_refused(fixture, -EBADMSG, "lies beyond the notify structure");
}

static void
an_odd_doorbell(void **state)
{
	struct fixture *fixture = *state;

	fake_put_u32(&fixture->fake, FAKE_CAP_NOTIFY + 16, 1);
	fixture_assert_refused(fixture, -EBADMSG, "queue 1: doorbell: offset 0x1 is odd");
}

static void
ring_reset_without_its_register(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.features |= FAKE_RING_RESET;
	fake_put_u32(&fixture->fake, FAKE_CAP_COMMON + 12, 56);
	fixture_assert_refused(fixture, -EBADMSG,
			       "common configuration: length: 56, expected at least 60 with RING_RESET");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(all_queues_are_counted),
		TEST(the_smallest_queue_counts),
		TEST(with_mq_all_pairs_are_counted),
		TEST(a_control_queue_without_mq_leaves_one_pair_alive),
		TEST(mq_without_a_control_queue_leaves_one_pair_alive),
		TEST(queues_that_are_there_after_the_negotiation),
		TEST(pairs_that_cannot_be),
		TEST(pairs_that_are_nowhere),
		TEST(more_pairs_than_a_port_has),
		TEST(a_control_queue_that_cannot_be),
		TEST(odd_queues_make_whole_pairs),
		TEST(vectors_limit_queues),
		TEST(more_queues_than_we_use),
		TEST(no_queues),
		TEST(too_few_vectors),
		TEST(sizes_that_cannot_be),
		TEST(sizes_that_only_packed_rings_can_have),
		TEST(a_doorbell_beyond_the_notify_structure),
		TEST(an_odd_doorbell),
		TEST(ring_reset_without_its_register),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
