/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/pci_regs.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fixture.h"

#define MIB 0x100000u

static bool
is_quiet(struct fixture *fixture, unsigned int number)
{
	return fixture->transports[number].ops->is_quiet(fixture->transports[number].priv);
}

static void
map(struct fixture *fixture, unsigned int number, int fd)
{
	struct rp_accel_transport *transport = &fixture->transports[number];

	assert_int_equal(transport->ops->dma_map(transport->priv, 0, MIB, fd, 0, NULL, &fixture->why), 0);
}

static void
lose(struct fixture *fixture, unsigned int number, const char *address)
{
	struct rp_accel_transport *transport = &fixture->transports[number];

	eventfd_write(fake_find(fixture->fake, address)->eventfds[VFIO_PCI_ERR_IRQ_INDEX][0], 1);
	assert_int_equal(transport->ops->process(transport->priv, NULL), -EIO);
}

static void
a_device_that_works_is_left_alone(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *transport = fixture_open(fixture, 0, FAKE_ALONE, NULL);
	RP_WIRE_FD_SCOPED int fd = test_memfd(MIB, true);
	uint8_t command[2];

	map(fixture, 0, fd);
	assert_false(is_quiet(fixture, 0));
	assert_int_equal(transport->ops->region_read(transport->priv, FAKE_CONFIG, PCI_COMMAND, 2, command, NULL), 0);
	assert_int_equal(command[0], PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(fake_mapped(fixture->fake), 1);
	/* Its driver took the bus away: that is proof. */
	command[0] = PCI_COMMAND_MEMORY;
	assert_int_equal(transport->ops->region_write(transport->priv, FAKE_CONFIG, PCI_COMMAND, 2, command, NULL), 0);
	assert_true(is_quiet(fixture, 0));
}

/* Whoever has failed it takes its memory back: that is proof as well. */
static void
a_device_without_memory(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *transport = fixture_open(fixture, 0, FAKE_ALONE, NULL);
	RP_WIRE_FD_SCOPED int fd = test_memfd(MIB, true);

	assert_true(is_quiet(fixture, 0));
	map(fixture, 0, fd);
	assert_false(is_quiet(fixture, 0));
	assert_int_equal(transport->ops->dma_unmap(transport->priv, 0, MIB, NULL), 0);
	assert_true(is_quiet(fixture, 0));
}

static void
a_lost_device_loses_the_bus(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *transport = fixture_open(fixture, 0, FAKE_ALONE, NULL);
	RP_WIRE_FD_SCOPED int fd = test_memfd(MIB, true);
	uint8_t command[2];

	map(fixture, 0, fd);
	lose(fixture, 0, FAKE_ALONE);
	assert_true(is_quiet(fixture, 0));
	assert_int_equal(transport->ops->region_read(transport->priv, FAKE_CONFIG, PCI_COMMAND, 2, command, NULL), 0);
	assert_int_equal(command[0], PCI_COMMAND_MEMORY);
	/* That was enough. */
	assert_int_equal(fake_mapped(fixture->fake), 1);
	assert_int_equal(transport->ops->dma_unmap(transport->priv, 0, MIB, NULL), 0);
}

static void
else_its_memory(struct fixture *fixture)
{
	struct rp_accel_transport *transport = &fixture->transports[0];
	RP_WIRE_FD_SCOPED int fd = test_memfd(MIB, true);

	map(fixture, 0, fd);
	lose(fixture, 0, FAKE_ALONE);
	assert_true(is_quiet(fixture, 0));
	assert_int_equal(fake_mapped(fixture->fake), 0);
	/* Whoever cleans up later finds it done, and nothing new gets in. */
	assert_int_equal(transport->ops->dma_unmap(transport->priv, 0, MIB, NULL), 0);
	assert_int_equal(transport->ops->dma_map(transport->priv, 0, MIB, fd, 0, NULL, &fixture->why), -EIO);
	fixture_said(fixture, -EIO, "PCIe error");
	assert_true(is_quiet(fixture, 0));
}

static void
one_that_left_the_bus(void **state)
{
	struct fixture *fixture = *state;

	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	fixture->fake->all_ones = true;
	else_its_memory(fixture);
}

static void
one_whose_register_cannot_be_read(void **state)
{
	struct fixture *fixture = *state;

	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	fixture->fake->access_result = -EIO;
	else_its_memory(fixture);
}

static void
one_that_keeps_the_bus(void **state)
{
	struct fixture *fixture = *state;

	fake_find(fixture->fake, FAKE_ALONE)->keeps_master = true;
	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	else_its_memory(fixture);
}

/* Another device's memory in the same address space is in its reach. */
static void
no_proof_while_others_have_memory_there(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *other;
	RP_WIRE_FD_SCOPED int fd = test_memfd(MIB, true);

	fixture_open(fixture, 0, FAKE_ALONE, "vm0");
	other = fixture_open(fixture, 1, FAKE_FIRST, "vm0");
	map(fixture, 0, fd);
	map(fixture, 1, fd);
	fake_find(fixture->fake, FAKE_ALONE)->keeps_master = true;
	lose(fixture, 0, FAKE_ALONE);
	assert_false(is_quiet(fixture, 0));
	assert_int_equal(fake_mapped(fixture->fake), 1);
	assert_int_equal(other->ops->process(other->priv, NULL), 0);
	assert_int_equal(other->ops->dma_unmap(other->priv, 0, MIB, NULL), 0);
	assert_true(is_quiet(fixture, 0));
}

static void
no_proof_while_unmapping_fails(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = test_memfd(MIB, true);

	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	map(fixture, 0, fd);
	fixture->fake->all_ones = true;
	fixture->fake->unmap_error = -EIO;
	lose(fixture, 0, FAKE_ALONE);
	assert_false(is_quiet(fixture, 0));
	fixture->fake->unmap_error = 0;
	assert_true(is_quiet(fixture, 0));
}

static void
closing_takes_the_bus_away(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *transport = fixture_open(fixture, 0, FAKE_ALONE, NULL);
	struct rp_accel_transport_window window;
	RP_WIRE_FD_SCOPED int held = -1;
	uint8_t command[2];

	/* As a VMM that has the doorbell mapped: the device stays open beyond us. */
	assert_int_equal(transport->ops->region_window(transport->priv, 4, 0, 0x1000, &window, NULL), 0);
	held = rp_wire_fd_dup(window.fd);
	fixture_close(transport);
	assert_int_equal(pread(held, command, 2, ((off_t)FAKE_CONFIG << 40) + PCI_COMMAND), 2);
	assert_int_equal(command[0], PCI_COMMAND_MEMORY);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(a_device_that_works_is_left_alone),
		FIXTURE_TEST(a_device_without_memory),
		FIXTURE_TEST(a_lost_device_loses_the_bus),
		FIXTURE_TEST(one_that_left_the_bus),
		FIXTURE_TEST(one_whose_register_cannot_be_read),
		FIXTURE_TEST(one_that_keeps_the_bus),
		FIXTURE_TEST(no_proof_while_others_have_memory_there),
		FIXTURE_TEST(no_proof_while_unmapping_fails),
		FIXTURE_TEST(closing_takes_the_bus_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
