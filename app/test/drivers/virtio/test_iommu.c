/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "fixture.h"
#include "rp_accel_iommu.h"

/* The fake device, with a transport over which it asks; that keeps what it was told. */
static struct rp_accel_transport_ops ops;
static struct {
	uint64_t token, iova, size_bytes;
	struct rp_accel_translation translation;
	uint32_t group;
	bool present;
	int error;
} told;

static int
take_translation(void *priv, uint64_t token, const struct rp_accel_translation *translation)
{
	(void)priv;
	told.token = token;
	told.translation = *translation;
	return told.error;
}

static int
take_response(void *priv, uint32_t group, bool present)
{
	(void)priv;
	told.group = group;
	told.present = present;
	return told.error;
}

static int
take_invalidation(void *priv, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why)
{
	(void)priv;
	told.iova = iova;
	told.size_bytes = size_bytes;
	return told.error == 0 ? 0 : rp_wire_why_set(why, told.error, "the transport says so");
}

static int
open_it(struct fixture *fixture)
{
	const struct rp_virtio_config config = {.wait_ms = fixture->wait_ms};
	struct rp_accel_transport transport = fake_transport(&fixture->fake);

	memset(&told, 0, sizeof(told));
	ops = *transport.ops;
	ops.translated = take_translation;
	ops.page_respond = take_response;
	ops.invalidate = take_invalidation;
	transport.ops = &ops;
	return rp_virtio_open(&transport, &config, &fixture->accel, &fixture->why);
}

static int
invalidate(struct fixture *fixture, uint64_t iova, uint64_t size_bytes)
{
	return fixture->accel.ops->invalidate(fixture->accel.priv, iova, size_bytes, &fixture->why);
}

static void
what_is_said_reaches_the_device(void **state)
{
	const struct rp_accel_translation translation = {.iova = 0x5000,
							 .size_bytes = 0x2000,
							 .address = 0x105000,
							 .access_mask = RP_DMA_WRITE,
							 .identity = true};
	struct fixture *fixture = *state;
	struct rp_accel_info info;

	fixture->fake.info.asks = true;
	assert_int_equal(open_it(fixture), 0);
	fixture->accel.ops->get_info(fixture->accel.priv, &info);
	assert_true(info.asks);
	assert_int_equal(fixture->accel.ops->translated(fixture->accel.priv, 7, &translation), 0);
	assert_int_equal(told.token, 7);
	assert_memory_equal(&told.translation, &translation, sizeof(translation));
	assert_int_equal(fixture->accel.ops->page_respond(fixture->accel.priv, 9, true), 0);
	assert_true(told.group == 9 && told.present);
	assert_int_equal(invalidate(fixture, 0x5000, 0x2000), 0);
	assert_true(told.iova == 0x5000 && told.size_bytes == 0x2000);
	/* Of one question, not of the device. */
	told.error = -ENOENT;
	assert_int_equal(fixture->accel.ops->translated(fixture->accel.priv, 7, &translation), -ENOENT);
	assert_int_equal(fixture->accel.ops->page_respond(fixture->accel.priv, 9, true), -ENOENT);
	told.error = -EINVAL;
	assert_int_equal(invalidate(fixture, 0x5001, 0x2000), -EINVAL);
	told.error = 0;
	assert_int_equal(invalidate(fixture, 0, 0), 0);
	/* A device that does not say that it let go cannot be trusted. */
	told.error = -EPERM;
	assert_int_equal(invalidate(fixture, 0, 0), -EIO);
	told.error = 0;
	assert_int_equal(invalidate(fixture, 0, 0), -EIO);
	fixture_assert_why(fixture, "the transport says so");
}

static void
a_device_that_does_not_ask(void **state)
{
	const struct rp_accel_translation translation = {.access_mask = 0};
	struct fixture *fixture = *state;
	struct rp_accel_info info;

	assert_int_equal(open_it(fixture), 0);
	fixture->accel.ops->get_info(fixture->accel.priv, &info);
	assert_false(info.asks);
	assert_int_equal(fixture->accel.ops->translated(fixture->accel.priv, 7, &translation), -ENOTSUP);
	assert_int_equal(fixture->accel.ops->page_respond(fixture->accel.priv, 9, true), -ENOTSUP);
	assert_int_equal(invalidate(fixture, 0, 0), -ENOTSUP);
	assert_true(told.token == 0 && told.group == 0);
}

/* Its addresses would have to be some that the guest's IOMMU never gives. */
static void
our_own_control_queue_has_no_addresses(void **state)
{
	struct fixture *fixture = *state;

	fake_add_control(&fixture->fake);
	fixture->fake.info.asks = true;
	assert_int_equal(open_it(fixture), -ENOTSUP);
	fixture_assert_why(fixture, "a device with a control queue that asks for translations");
	fixture->fake.info.asks = false;
	assert_int_equal(open_it(fixture), 0);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_is_said_reaches_the_device),
		TEST(a_device_that_does_not_ask),
		TEST(our_own_control_queue_has_no_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
