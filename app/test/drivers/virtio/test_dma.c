/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "fixture.h"

#define TOP 0x7fffffffffull

static const struct rp_accel_net all_pairs = {.queue_pairs = 2, .promiscuous = true};

static int
net_set(struct fixture *fixture)
{
	return fixture->accel.ops->net_set(fixture->accel.priv, &all_pairs, &fixture->why);
}

static int
map(struct fixture *fixture, uint64_t iova, uint64_t size_bytes)
{
	return fixture->accel.ops->dma_map(fixture->accel.priv, iova, size_bytes, 5, 0, NULL, &fixture->why);
}

static int
unmap(struct fixture *fixture, uint64_t iova, uint64_t size_bytes)
{
	return fixture->accel.ops->dma_unmap(fixture->accel.priv, iova, size_bytes, &fixture->why);
}

static bool
is_mapped(const struct fixture *fixture, uint64_t iova)
{
	unsigned int i;

	for (i = 0; i < FAKE_MAPS_MAX; i++)
		if (fixture->fake.maps[i].size_bytes != 0 && fixture->fake.maps[i].iova == iova)
			return true;
	return false;
}

static struct rp_dma_mapping
control(const struct fixture *fixture)
{
	struct rp_dma_mapping mapping;

	assert_int_equal(rp_dma_space_count(fixture->fake.ctrl.space), 1);
	assert_int_equal(rp_dma_space_at(fixture->fake.ctrl.space, 0, &mapping), 0);
	return mapping;
}

/* Addresses up to TOP; the control queue runs. */
static void
prepare(struct fixture *fixture, uint64_t features)
{
	fake_remove_vendor(&fixture->fake);
	fixture->fake.features &= ~FAKE_RING_RESET;
	fixture->fake.features |= features;
	fixture->fake.info.iova_ranges_count = 1;
	fixture->fake.info.iova_ranges[0] = (struct rp_dma_iova_range){0, TOP};
	fake_add_control(&fixture->fake);
	fixture_negotiate(fixture);
	assert_int_equal(map(fixture, 0, 0x100000), 0);
	assert_int_equal(net_set(fixture), 0);
}

static void
memory_elsewhere_moves_nothing(void **state)
{
	struct fixture *fixture = *state;
	uint64_t iova;

	prepare(fixture, FAKE_RING_RESET);
	iova = control(fixture).iova;
	assert_int_equal(map(fixture, iova - 0x100000, 0x100000), 0);
	assert_int_equal(map(fixture, iova + control(fixture).size_bytes, 0x1000), 0);
	assert_true(control(fixture).iova == iova);
	assert_int_equal(fixture->fake.ctrl.resets_count, 0);
}

/* Hotplug: the rings go on, and what the device was told stays. */
static void
the_control_queue_makes_way(void **state)
{
	struct fixture *fixture = *state;
	uint64_t iova;

	prepare(fixture, FAKE_RING_RESET);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
	iova = control(fixture).iova;
	assert_int_equal(map(fixture, iova, 0x1000), 0);
	assert_true(is_mapped(fixture, iova));
	assert_true(control(fixture).iova != iova);
	assert_int_equal(fixture->fake.ctrl.resets_count, 1);
	assert_int_equal(fixture->fake.queues[0].enable, 1);
	assert_int_equal(fixture->fake.ctrl.commands_count, 3);
	assert_int_equal(net_set(fixture), 0);
	assert_int_equal(fixture->fake.ctrl.commands_count, 6);
	assert_int_equal(fixture->fake.ctrl.starts_count, 2);
}

static void
every_kind_of_overlap(void **state)
{
	static const struct {
		int64_t offset_bytes;
		uint64_t size_bytes;
	} rows[] = {{0, 0x1000}, {-0x1000, 0x1001}, {0x1000, 0x1000}, {-0x100000, 0x200000}};
	struct fixture *fixture = *state;
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t iova;

		prepare(fixture, FAKE_RING_RESET);
		iova = control(fixture).iova;
		assert_true(control(fixture).size_bytes > 0x1000);
		assert_int_equal(map(fixture, iova + (uint64_t)rows[i].offset_bytes, rows[i].size_bytes), 0);
		assert_int_equal(fixture->fake.ctrl.resets_count, 1);
		assert_int_equal(net_set(fixture), 0);
		rp_accel_close(&fixture->accel);
		fake_fini(&fixture->fake);
		fake_init(&fixture->fake);
	}
}

static void
without_ring_reset_it_moves_while_nothing_runs(void **state)
{
	struct fixture *fixture = *state;
	uint64_t iova;

	prepare(fixture, 0);
	iova = control(fixture).iova;
	assert_int_equal(map(fixture, iova, 0x1000), 0);
	assert_true(control(fixture).iova != iova);
	/* It was reset for that; with the first queue it knows everything again. */
	assert_int_equal(fixture->fake.ctrl.pairs, 1);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
	assert_int_equal(fixture->fake.ctrl.pairs, 2);
}

static void
without_ring_reset_it_stays_while_a_queue_runs(void **state)
{
	struct fixture *fixture = *state;
	uint64_t iova;

	prepare(fixture, 0);
	assert_int_equal(fixture_start(fixture, 1, 0, 77), 0);
	iova = control(fixture).iova;
	assert_int_equal(map(fixture, iova, 0x1000), -EEXIST);
	fixture_assert_why(fixture,
			   "the control queue's own is there, and cannot move while queue 1 runs (no RING_RESET)");
	assert_int_equal(fixture->fake.queues[1].enable, 1);
	assert_true(control(fixture).iova == iova);
	assert_int_equal(net_set(fixture), 0);
}

static void
there_is_nowhere_to_move(void **state)
{
	struct fixture *fixture = *state;
	uint64_t iova;

	prepare(fixture, FAKE_RING_RESET);
	iova = control(fixture).iova;
	assert_int_equal(map(fixture, 0x100000, TOP + 1u - 0x100000), -EEXIST);
	fixture_assert_why(fixture, "memory at 0x100000: the control queue's own is there");
	assert_false(is_mapped(fixture, 0x100000));
	assert_true(control(fixture).iova == iova);
	assert_int_equal(net_set(fixture), 0);
}

/* Refused for another reason, after the control queue has made way. */
static void
an_overlap_with_more_than_the_control_queue(void **state)
{
	struct fixture *fixture = *state;

	prepare(fixture, FAKE_RING_RESET);
	assert_int_equal(map(fixture, 0x80000, TOP + 1u - 0x80000), -EEXIST);
	fixture_assert_why(fixture, "it overlaps what is mapped");
	assert_int_equal(net_set(fixture), 0);
}

static void
a_control_queue_that_does_not_let_go(void **state)
{
	struct fixture *fixture = *state;

	prepare(fixture, FAKE_RING_RESET);
	fixture->fake.lies.enable_kept = true;
	assert_int_equal(map(fixture, control(fixture).iova, 0x1000), -EIO);
	fixture_assert_why(fixture, "queue 4: queue_enable: reads 1 after a queue reset");
	assert_int_equal(net_set(fixture), -EIO);
}

static void
memory_that_went_is_free(void **state)
{
	struct fixture *fixture = *state;

	prepare(fixture, FAKE_RING_RESET);
	assert_int_equal(map(fixture, 0x100000, 0x100000), 0);
	assert_int_equal(unmap(fixture, 0x100000, 0x100000), 0);
	/* All the rest: the only place left is where that was. */
	assert_int_equal(map(fixture, 0x200000, TOP + 1u - 0x200000), 0);
	assert_true(control(fixture).iova >= 0x100000 && control(fixture).iova < 0x200000);
	assert_int_equal(net_set(fixture), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(memory_elsewhere_moves_nothing),
		TEST(the_control_queue_makes_way),
		TEST(every_kind_of_overlap),
		TEST(without_ring_reset_it_moves_while_nothing_runs),
		TEST(without_ring_reset_it_stays_while_a_queue_runs),
		TEST(there_is_nowhere_to_move),
		TEST(an_overlap_with_more_than_the_control_queue),
		TEST(a_control_queue_that_does_not_let_go),
		TEST(memory_that_went_is_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
