/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "fixture.h"
#include "rp_wire_clock.h"
#include "virtio.h"
#include "virtio_regs.h"

/* Just enough of a device for its registers. */
static void
prepare(struct fixture *fixture, struct virtio_device *device)
{
	*device = (struct virtio_device){.transport = fake_transport(&fixture->fake), .wait_ms = FIXTURE_WAIT_MS};
	device->layout.places[VIRTIO_COMMON] = (struct virtio_place){
		.present = true,
		.bar = FAKE_BAR_REGISTERS,
		.length_bytes = 64,
	};
}

static void
registers_are_little_endian(void **state)
{
	struct virtio_device device;
	uint64_t value;

	prepare(*state, &device);
	((struct fixture *)*state)->fake.features = 0x1122334455667788ull;
	assert_int_equal(vdrv_common_write(&device, COMMON_DEVICE_FEATURE_SELECT, 4, 1, NULL), 0);
	assert_int_equal(vdrv_common_read(&device, COMMON_DEVICE_FEATURE, 4, &value, NULL), 0);
	assert_true(value == 0x11223344);
	assert_int_equal(vdrv_common_write(&device, COMMON_QUEUE_DESC + 4, 4, 0xaabbccdd, NULL), 0);
	assert_true(((struct fixture *)*state)->fake.queues[0].desc == 0xaabbccdd00000000ull);
}

static void
errors_of_the_transport_become_losses(void **state)
{
	static const struct {
		int said;
		int expected;
	} rows[] = {
		{-ENOTCONN, -ENOTCONN}, {-ETIMEDOUT, -ETIMEDOUT}, {-EIO, -EIO}, {-EINVAL, -EIO}, {-EPERM, -EIO},
	};
	struct fixture *fixture = *state;
	struct virtio_device device;
	uint64_t value = 5;
	unsigned int i;

	prepare(fixture, &device);
	fixture->fake.accesses_count = 1;
	fixture->fake.lies.fail_after = 1;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		fixture->fake.lies.fail_error = rows[i].said;
		assert_int_equal(vdrv_common_read(&device, COMMON_QUEUE_SIZE, 2, &value, &fixture->why),
				 rows[i].expected);
		fixture_assert_why(fixture, "common configuration: read at 0x18: the fake fails");
		assert_int_equal(vdrv_common_write(&device, COMMON_QUEUE_SIZE, 2, 1, &fixture->why), rows[i].expected);
		fixture_assert_why(fixture, "common configuration: write at 0x18: the fake fails");
	}
	assert_int_equal(value, 5);
}

static void
waiting_has_an_end(void **state)
{
	struct fixture *fixture = *state;
	struct virtio_device device;
	uint64_t before_ms = rp_wire_clock_ms();

	prepare(fixture, &device);
	assert_int_equal(vdrv_wait(&device, COMMON_NUM_QUEUES, 2, 4, "num_queues", &fixture->why), 0);
	assert_int_equal(vdrv_wait(&device, COMMON_NUM_QUEUES, 2, 5, "num_queues", &fixture->why), -ETIMEDOUT);
	fixture_assert_why(fixture, "num_queues: still 0x04 after 20 ms, expected 0x05");
	assert_true(rp_wire_clock_ms() - before_ms < 2000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(registers_are_little_endian),
		TEST(errors_of_the_transport_become_losses),
		TEST(waiting_has_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
