/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "fixture.h"

#define GIB (1ull << 30)

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

static void
allow(struct fixture *fixture, uint64_t first, uint64_t last)
{
	struct rp_accel_transport_info *info = &fixture->fake.info;

	info->iova_ranges[info->iova_ranges_count++] = (struct rp_dma_iova_range){first, last};
}

/* Where the ring is: of the fake's memory, that which it can look into. */
static struct fake_map
place(const struct fixture *fixture)
{
	struct rp_dma_mapping mapping;

	assert_int_equal(rp_dma_space_count(fixture->fake.ctrl.space), 1);
	assert_int_equal(rp_dma_space_at(fixture->fake.ctrl.space, 0, &mapping), 0);
	return (struct fake_map){mapping.iova, mapping.size_bytes};
}

static void
there_is_none_before_it_is_needed(void **state)
{
	struct fixture *fixture = *state;

	fake_add_control(&fixture->fake);
	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 0, 0, -1), 0);
	assert_int_equal(fixture->fake.dma_maps_count, 0);
	assert_int_equal(net_set(fixture), 0);
	assert_int_equal(fixture->fake.dma_maps_count, 1);
	rp_accel_close(&fixture->accel);
	fixture->fake.closes_count = 0;
	/* What was taken is given back, and not left to the end of the transport. */
	assert_int_equal(fixture->fake.dma_maps_count, 0);
}

static void
it_lies_in_an_allowed_range_beside_the_guest(void **state)
{
	struct fixture *fixture = *state;
	struct fake_map at;

	/* As of an IOMMU of 39 bits with its MSI window. */
	allow(fixture, 0, 0xfedfffff);
	allow(fixture, 0xfef00000, 0x7fffffffffull);
	fake_add_control(&fixture->fake);
	fixture_open_ok(fixture);
	assert_int_equal(map(fixture, 0, 0x80000000), 0);
	assert_int_equal(map(fixture, 4 * GIB, 300 * GIB), 0);
	assert_int_equal(fixture->accel.ops->set_features(fixture->accel.priv, FAKE_VERSION_1, &fixture->why), 0);
	assert_int_equal(net_set(fixture), 0);
	at = place(fixture);
	assert_true(at.iova >= 304 * GIB);
	/* With room above it for whoever looks from the top down. */
	assert_true(at.iova + at.size_bytes <= 511 * GIB);
}

static void
it_takes_the_last_hole(void **state)
{
	struct fixture *fixture = *state;

	allow(fixture, 0x10000, 0x1fffff);
	fake_add_control(&fixture->fake);
	fixture_negotiate(fixture);
	assert_int_equal(map(fixture, 0x10000, 0xf0000), 0);
	assert_int_equal(map(fixture, 0x108000, 0xf8000), 0);
	assert_int_equal(net_set(fixture), 0);
	assert_true(place(fixture).iova >= 0x100000);
	assert_true(place(fixture).iova + place(fixture).size_bytes <= 0x108000);
}

static void
there_is_no_place(void **state)
{
	struct fixture *fixture = *state;

	allow(fixture, 0x10000, 0x1fffff);
	fake_add_control(&fixture->fake);
	fixture_negotiate(fixture);
	assert_int_equal(map(fixture, 0x10000, 0x1f0000), 0);
	assert_int_equal(net_set(fixture), -ENOTSUP);
	fixture_assert_why(fixture, "control queue: memory of its own: address range: no free 0x");
	/* That is no failure; and what was unmapped is free. */
	assert_int_equal(fixture->accel.ops->dma_unmap(fixture->accel.priv, 0x10000, 0x1f0000, &fixture->why), 0);
	assert_int_equal(net_set(fixture), 0);
}

/* In a container that another device shares, which looked for a place in the same way. */
static void
somebody_else_is_there(void **state)
{
	struct fixture *fixture = *state;
	uint64_t iova;

	fake_add_control(&fixture->fake);
	fixture_negotiate(fixture);
	assert_int_equal(net_set(fixture), 0);
	iova = place(fixture).iova;
	rp_accel_close(&fixture->accel);
	fixture->fake.closes_count = 0;
	fixture->fake.lies.map_refused_at = iova;
	fixture_negotiate(fixture);
	assert_int_equal(net_set(fixture), 0);
	assert_true(place(fixture).iova + place(fixture).size_bytes <= iova);
}

static void
memory_that_is_refused(void **state)
{
	static const struct {
		int said;
		int expected;
	} rows[] = {{-ENOMEM, -ENOTSUP}, {-ENOSPC, -ENOTSUP},	 {-EINVAL, -ENOTSUP},	  {-EEXIST, -ENOTSUP},
		    {-EIO, -EIO},	 {-ENOTCONN, -ENOTCONN}, {-ETIMEDOUT, -ETIMEDOUT}};
	struct fixture *fixture = *state;
	unsigned int i;

	fake_add_control(&fixture->fake);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		fixture_negotiate(fixture);
		fixture->fake.lies.dma_error = rows[i].said;
		assert_int_equal(net_set(fixture), rows[i].expected);
		fixture_assert_why(fixture, "control queue: ");
		fixture_assert_why(fixture, "mapping refused");
		assert_int_equal(fixture->accel.ops->process(fixture->accel.priv, NULL),
				 rows[i].expected == -ENOTSUP ? 0 : rows[i].expected);
		fixture->fake.lies.dma_error = 0;
		assert_int_equal(net_set(fixture), rows[i].expected == -ENOTSUP ? 0 : rows[i].expected);
		rp_accel_close(&fixture->accel);
	}
	fixture->fake.closes_count = 0;
}

static void
large_pages_of_the_iommu(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.info.iova_page_bytes = 0x10000;
	fake_add_control(&fixture->fake);
	fixture_negotiate(fixture);
	assert_int_equal(net_set(fixture), 0);
	assert_int_equal(place(fixture).iova % 0x10000, 0);
	assert_int_equal(place(fixture).size_bytes, 0x10000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(there_is_none_before_it_is_needed),
		TEST(it_lies_in_an_allowed_range_beside_the_guest),
		TEST(it_takes_the_last_hole),
		TEST(there_is_no_place),
		TEST(somebody_else_is_there),
		TEST(memory_that_is_refused),
		TEST(large_pages_of_the_iommu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
