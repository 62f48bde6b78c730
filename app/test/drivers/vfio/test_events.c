/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "fixture.h"

static void
signalled(struct fixture *fixture, uint32_t index, const char *words)
{
	struct rp_accel_transport *transport = fixture_open(fixture, 0, FAKE_ALONE, NULL);
	const struct fake_device *device = fake_find(fixture->fake, FAKE_ALONE);
	struct pollfd pollfd = {.fd = transport->ops->get_fd(transport->priv), .events = POLLIN};

	assert_int_equal(transport->ops->process(transport->priv, &fixture->why), 0);
	assert_int_equal(poll(&pollfd, 1, 0), 0);
	assert_int_equal(eventfd_write(device->eventfds[index][0], 1), 0);
	assert_int_equal(poll(&pollfd, 1, 5000), 1);
	assert_int_equal(transport->ops->process(transport->priv, &fixture->why), -EIO);
	fixture_said(fixture, -EIO, words);
	/* For good, with the first reason. */
	eventfd_write(device->eventfds[VFIO_PCI_ERR_IRQ_INDEX][0], 1);
	assert_int_equal(transport->ops->process(transport->priv, &fixture->why), -EIO);
	fixture_said(fixture, -EIO, words);
}

static void
a_pcie_error(void **state)
{
	signalled(*state, VFIO_PCI_ERR_IRQ_INDEX, "0000:00:04.0: PCIe error");
}

static void
the_kernel_wants_the_device_back(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *transport = &fixture->transports[0];
	uint32_t value = 7;

	signalled(fixture, VFIO_PCI_REQ_IRQ_INDEX, "0000:00:04.0: the kernel wants the device back");
	/* It still answers: whoever drives it can stop it in good order. */
	assert_int_equal(transport->ops->region_write(transport->priv, 4, 0, 4, &value, NULL), 0);
}

static void
a_device_without_these_signals(void **state)
{
	struct fixture *fixture = *state;
	struct fake_device *device = fake_find(fixture->fake, FAKE_ALONE);

	device->irqs[VFIO_PCI_ERR_IRQ_INDEX].argsz = 0;
	device->irqs[VFIO_PCI_REQ_IRQ_INDEX].count = 0;
	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	assert_int_equal(device->eventfds[VFIO_PCI_ERR_IRQ_INDEX][0], -1);
	assert_int_equal(device->eventfds[VFIO_PCI_REQ_IRQ_INDEX][0], -1);
	fixture_close(&fixture->transports[0]);
	device->info.num_irqs = VFIO_PCI_MSIX_IRQ_INDEX + 1;
	fixture_open(fixture, 0, FAKE_ALONE, NULL);
}

/* Lost in a call of ours: who waits in poll(2) learns of it as well. */
static void
a_loss_wakes_who_polls(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *transport = fixture_open(fixture, 0, FAKE_ALONE, NULL);
	struct pollfd pollfd = {.fd = transport->ops->get_fd(transport->priv), .events = POLLIN};
	uint32_t value;

	fixture->fake->access_result = -EIO;
	assert_int_equal(transport->ops->region_read(transport->priv, 4, 0, 4, &value, NULL), -EIO);
	fixture->fake->access_result = 0;
	assert_int_equal(poll(&pollfd, 1, 0), 1);
	assert_int_equal(transport->ops->process(transport->priv, NULL), -EIO);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(a_pcie_error),
		FIXTURE_TEST(the_kernel_wants_the_device_back),
		FIXTURE_TEST(a_device_without_these_signals),
		FIXTURE_TEST(a_loss_wakes_who_polls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
