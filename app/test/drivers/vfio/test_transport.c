/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>

#include "fixture.h"

static void
what_it_says_of_itself(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *transport = fixture_open(fixture, 0, "01:00.0", NULL);
	struct rp_accel_transport_info info;

	transport->ops->get_info(transport->priv, &info);
	assert_string_equal(info.name, "vfio");
	assert_string_equal(info.device, FAKE_FIRST);
	assert_int_equal(info.msix_count, FAKE_VECTORS);
	assert_true(info.resettable);
	assert_true(info.vfio_file_fd >= 0);
	assert_int_equal(info.peer_pid, 0);
}

static void
reset(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *transport = fixture_open(fixture, 0, FAKE_FIRST, NULL);
	const struct fake_device *device = fake_find(fixture->fake, FAKE_FIRST);

	fixture->fake->reset_again = 2;
	assert_int_equal(transport->ops->reset(transport->priv, &fixture->why), 0);
	assert_int_equal(device->resets_count, 1);
	fixture->fake->reset_again = 1000;
	assert_int_equal(transport->ops->reset(transport->priv, &fixture->why), -ENOTSUP);
	fixture_said(fixture, -ENOTSUP, "0000:01:00.0: reset: Resource temporarily unavailable");
	assert_true(fixture->fake->slept_ms <= 1000);
}

static void
a_device_without_reset(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *transport = fixture_open(fixture, 0, FAKE_ALONE, NULL);
	struct rp_accel_transport_info info;

	transport->ops->get_info(transport->priv, &info);
	assert_false(info.resettable);
	assert_int_equal(transport->ops->reset(transport->priv, &fixture->why), -ENOTSUP);
	fixture_said(fixture, -ENOTSUP, "0000:00:04.0 has no function reset");
}

static void
no_eventfd_for_a_doorbell(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *transport = fixture_open(fixture, 0, FAKE_ALONE, NULL);
	int fd = -1;

	assert_int_equal(transport->ops->region_io_fd(transport->priv, 4, 0, 2, 0, &fd, &fixture->why), -ENOENT);
	assert_int_equal(fd, -1);
}

static void
devices_that_are_refused(void **state)
{
	struct fixture *fixture = *state;
	struct fake_device *device = fake_find(fixture->fake, FAKE_ALONE);

	fixture->fake->device_fd_error = -ENODEV;
	fixture_refused(fixture, FAKE_ALONE, -ENOENT,
			"VFIO does not give it out: No such device (was it unbound just now?)");
	fixture->fake->device_fd_error = -EBUSY;
	fixture_refused(fixture, FAKE_ALONE, -EBUSY, "VFIO does not give it out: Device or resource busy");
	fixture->fake->device_fd_error = 0;
	device->info.flags = VFIO_DEVICE_FLAGS_PLATFORM;
	fixture_refused(fixture, FAKE_ALONE, -ENOTSUP, "is not a PCI device");
	device->info.flags = VFIO_DEVICE_FLAGS_PCI;
	device->info.num_regions = FAKE_CONFIG;
	fixture_refused(fixture, FAKE_ALONE, -ENOTSUP, "or has no configuration space");
	/* More than we know of is a newer kernel. */
	device->info.num_regions = UINT32_MAX;
	fixture_open(fixture, 0, FAKE_ALONE, NULL);
}

static void
opened_again_and_again(void **state)
{
	struct fixture *fixture = *state;
	unsigned int i;

	for (i = 0; i < 50; i++) {
		fixture_open(fixture, 0, FAKE_FIRST, NULL);
		fixture_open(fixture, 1, FAKE_SECOND, NULL);
		fixture_open(fixture, 2, FAKE_ALONE, i % 2 == 0 ? "vm0" : NULL);
		fixture_close(&fixture->transports[i % 3]);
		fixture_close(&fixture->transports[(i + 1) % 3]);
		fixture_close(&fixture->transports[(i + 2) % 3]);
		assert_null(fixture->fake->host.containers);
	}
	assert_int_equal(fixture->fake->sleeps_count, 0);
}

struct worker {
	struct fixture *fixture;
	const char *address;
	uint64_t iova;
	unsigned int failures;
};

static void *
work(void *ctx)
{
	struct worker *worker = ctx;
	RP_WIRE_FD_SCOPED int fd = test_memfd(0x10000, true);
	unsigned int i;

	for (i = 0; i < 200; i++) {
		struct rp_accel_transport transport = {0};
		bool good = fake_open(worker->fixture->fake, worker->address, "vm0", &transport, NULL) == 0;

		if (good) {
			good = transport.ops->dma_map(transport.priv, worker->iova, 0x10000, fd, 0, NULL, NULL) == 0 &&
			       transport.ops->dma_unmap(transport.priv, worker->iova, 0x10000, NULL) == 0;
			transport.ops->close(transport.priv);
		}
		worker->failures += !good;
	}
	return NULL;
}

/* One group, one container, two threads: a thread sanitizer watches. */
static void
a_thread_for_each_transport(void **state)
{
	struct worker workers[2] = {{*state, FAKE_FIRST, 0, 0}, {*state, FAKE_SECOND, 0x100000, 0}};
	pthread_t threads[2];
	unsigned int i;

	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	for (i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(workers[i].failures, 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(what_it_says_of_itself),	   FIXTURE_TEST(reset),
		FIXTURE_TEST(a_device_without_reset),	   FIXTURE_TEST(no_eventfd_for_a_doorbell),
		FIXTURE_TEST(devices_that_are_refused),	   FIXTURE_TEST(opened_again_and_again),
		FIXTURE_TEST(a_thread_for_each_transport),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
