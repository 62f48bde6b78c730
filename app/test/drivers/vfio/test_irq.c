/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/eventfd.h>

#include "fixture.h"

static int
arm(struct fixture *fixture, uint32_t vector, int eventfd)
{
	struct rp_accel_transport *transport = &fixture->transports[0];

	return transport->ops->irq_set(transport->priv, vector, eventfd, &fixture->why);
}

static int
has(struct fixture *fixture, uint32_t vector, int fd)
{
	int kept = fake_find(fixture->fake, FAKE_ALONE)->eventfds[VFIO_PCI_MSIX_IRQ_INDEX][vector];

	return fd < 0 ? kept < 0 : kept >= 0 && rp_wire_fd_same(kept, fd) == 1;
}

static void
the_very_eventfd_goes_in_alone(void **state)
{
	struct fixture *fixture = *state;
	const struct fake_device *device = fake_find(fixture->fake, FAKE_ALONE);
	RP_WIRE_FD_SCOPED int first = eventfd(0, EFD_CLOEXEC), second = eventfd(0, EFD_CLOEXEC);

	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	/* Nothing to take away yet: nothing to enable. */
	assert_int_equal(arm(fixture, 1, -1), 0);
	assert_int_equal(device->enables_count, 0);
	assert_int_equal(arm(fixture, 1, first), 0);
	assert_int_equal(device->enabled_count, FAKE_VECTORS);
	assert_true(has(fixture, 0, -1) && has(fixture, 1, first) && has(fixture, 2, -1) && has(fixture, 3, -1));
	assert_int_equal(arm(fixture, 3, second), 0);
	assert_int_equal(arm(fixture, 1, second), 0);
	assert_true(has(fixture, 1, second) && has(fixture, 3, second));
	assert_int_equal(arm(fixture, 3, -1), 0);
	assert_true(has(fixture, 1, second) && has(fixture, 3, -1));
	assert_int_equal(arm(fixture, 3, first), 0);
	assert_true(has(fixture, 3, first));
	assert_int_equal(device->enables_count, 1);
}

static void
vectors_that_are_not_there(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = eventfd(0, EFD_CLOEXEC);

	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	assert_int_equal(arm(fixture, FAKE_VECTORS, fd), -EINVAL);
	fixture_said(fixture, -EINVAL, "vector 4, expected less than 4");
	assert_int_equal(arm(fixture, UINT32_MAX, fd), -EINVAL);
	assert_int_equal(fake_find(fixture->fake, FAKE_ALONE)->enables_count, 0);
}

static void
a_machine_with_few_interrupts_left(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = eventfd(0, EFD_CLOEXEC);

	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	fixture->fake->irqs_room = 2;
	assert_int_equal(arm(fixture, 2, fd), -ENOSPC);
	fixture_said(fixture, -ENOSPC, "vector 2: this machine has 2 interrupts left for the device's 4 vectors");
	assert_int_equal(arm(fixture, 1, fd), 0);
	assert_true(has(fixture, 1, fd));
	assert_int_equal(arm(fixture, 0, fd), 0);
	assert_int_equal(arm(fixture, 2, fd), -ENOSPC);
	fixture_said(fixture, -ENOSPC, "vector 2: this machine had interrupts for 2 vectors only");
}

static void
what_the_kernel_refuses(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = eventfd(0, EFD_CLOEXEC);

	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	fixture->fake->irqs_error = -ENOMEM;
	assert_int_equal(arm(fixture, 0, fd), -EIO);
	fixture_said(fixture, -EIO, "MSI-X of 4 vectors: Cannot allocate memory");
	fixture->fake->irqs_error = 0;
	assert_int_equal(arm(fixture, 0, fd), 0);
	fixture->fake->irqs_error = -EINVAL;
	assert_int_equal(arm(fixture, 0, fd), -EINVAL);
	fixture_said(fixture, -EINVAL, "vector 0: Invalid argument: expected an eventfd");
	fixture->fake->irqs_error = -ENOMEM;
	assert_int_equal(arm(fixture, 0, fd), -EIO);
}

static void
counts_that_cannot_be(void **state)
{
	struct fixture *fixture = *state;
	struct vfio_irq_info *irq = &fake_find(fixture->fake, FAKE_ALONE)->irqs[VFIO_PCI_MSIX_IRQ_INDEX];

	irq->count = 2049;
	fixture_refused(fixture, FAKE_ALONE, -EBADMSG, "count 2049, expected at most 2048");
	irq->count = UINT32_MAX;
	fixture_refused(fixture, FAKE_ALONE, -EBADMSG, "expected at most 2048");
	irq->count = FAKE_VECTORS;
	irq->index = 0;
	fixture_refused(fixture, FAKE_ALONE, -EBADMSG, "interrupt 2: index 0");
	irq->index = VFIO_PCI_MSIX_IRQ_INDEX;
	irq->count = 0;
	fixture_refused(fixture, FAKE_ALONE, -ENOTSUP, "0000:00:04.0 has no MSI-X vector");
	irq->count = FAKE_VECTORS;
	irq->flags = 0;
	fixture_refused(fixture, FAKE_ALONE, -ENOTSUP, "has no MSI-X vector");
	/* Fewer kinds of interrupts than MSI-X's number. */
	irq->flags = VFIO_IRQ_INFO_EVENTFD;
	fake_find(fixture->fake, FAKE_ALONE)->info.num_irqs = 2;
	fixture_refused(fixture, FAKE_ALONE, -ENOTSUP, "has no MSI-X vector");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(the_very_eventfd_goes_in_alone),
		FIXTURE_TEST(vectors_that_are_not_there),
		FIXTURE_TEST(a_machine_with_few_interrupts_left),
		FIXTURE_TEST(what_the_kernel_refuses),
		FIXTURE_TEST(counts_that_cannot_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
