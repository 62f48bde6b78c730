/* SPDX-License-Identifier: BSD-3-Clause */
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include <linux/pci_regs.h>

#include "rp_wire_fd.h"
#include "rig.h"

/* A function without MSI-X: the receiver of two. */

#define RX 0u
#define TX 1u
#define ISR 0x1000u

static struct {
	struct rig rig;
	struct rig_guest sender;
	struct rig_guest receiver;
	int pin_fd;
} fixture;

static int
setup(void **state)
{
	uint64_t features = RIG_FEATURES_DEFAULT | *(const uint64_t *)*state;

	memset(&fixture, 0, sizeof(fixture));
	rig_create(&fixture.rig);
	rig_function(&fixture.rig, (struct softaccel_function_config){.queue_pairs = 1});
	rig_function(&fixture.rig, (struct softaccel_function_config){.queue_pairs = 1, .msix_off = true});
	rig_run(&fixture.rig);
	rig_guest_start(&fixture.receiver, &fixture.rig, 1, 2, features);
	rig_guest_start(&fixture.sender, &fixture.rig, 0, 2, features);
	fixture.pin_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(rp_vfu_client_irq_set(fixture.receiver.client, RP_VFU_PCI_INTX_IRQ, 0, fixture.pin_fd, NULL),
			 0);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	rig_guest_fini(&fixture.sender);
	rig_guest_fini(&fixture.receiver);
	rig_destroy(&fixture.rig);
	rp_wire_fd_close(&fixture.pin_fd);
	return 0;
}

static void
receive_one(void)
{
	uint8_t frame[RIG_FRAME_BYTES], packet[RIG_BUFFER_BYTES];

	rig_frame(frame, RIG_BROADCAST, 1, 7, 1);
	assert_true(rig_send(&fixture.sender, TX, frame, sizeof(frame)));
	rig_ring(&fixture.sender, TX);
	assert_int_equal(rig_receive_wait(&fixture.receiver, RX, packet, sizeof(packet)),
			 RIG_HEADER_BYTES + RIG_FRAME_BYTES);
}

static void
expect_signal(void)
{
	struct pollfd pin = {.fd = fixture.pin_fd, .events = POLLIN};
	eventfd_t count;

	assert_int_equal(poll(&pin, 1, 10000), 1);
	assert_int_equal(eventfd_read(fixture.pin_fd, &count), 0);
}

static uint8_t
read_isr(void)
{
	uint8_t isr = 0xff;

	assert_int_equal(rp_vfu_client_region_read(fixture.receiver.client, RIG_BAR_REGISTERS, ISR, 1, &isr, NULL), 0);
	return isr;
}

/* @return whether the device signals: the level is looked at before the answer is sent. */
static bool
unmask(void)
{
	struct pollfd pin = {.fd = fixture.pin_fd, .events = POLLIN};

	assert_int_equal(rp_vfu_client_irq_action(fixture.receiver.client, RP_VFU_PCI_INTX_IRQ,
						  RP_VFU_IRQ_ACTION_UNMASK_MASK, 0, 1, NULL, NULL),
			 0);
	return poll(&pin, 1, 0) == 1;
}

static void
has_a_pin_instead_of_vectors(void **state)
{
	uint32_t count, flags;
	uint8_t pin;

	(void)state;
	assert_int_equal(rp_vfu_client_irq_info(fixture.receiver.client, RP_VFU_PCI_MSIX_IRQ, &count, &flags, NULL), 0);
	assert_int_equal(count, 0);
	assert_int_equal(rp_vfu_client_region_read(fixture.receiver.client, RP_VFU_PCI_CONFIG_REGION, PCI_INTERRUPT_PIN,
						   1, &pin, NULL),
			 0);
	assert_int_equal(pin, 1);
	/* No vector can be chosen. */
	rig_common_write(&fixture.receiver, 22, 2, RX);
	rig_common_write(&fixture.receiver, 26, 2, 0);
	assert_int_equal(rig_common_read(&fixture.receiver, 26, 2), 0xffff);
}

static void
level_follows_the_status(void **state)
{
	(void)state;
	receive_one();
	expect_signal();
	assert_true(unmask());
	expect_signal();
	assert_int_equal(read_isr(), 1);
	assert_int_equal(read_isr(), 0);
	assert_false(unmask());
	receive_one();
	expect_signal();
	assert_int_equal(read_isr(), 1);
}

/* A reset takes the interrupt back. */
static void
reset_deasserts(void **state)
{
	(void)state;
	receive_one();
	expect_signal();
	rig_common_write(&fixture.receiver, 20, 1, 0);
	assert_int_equal(read_isr(), 0);
	assert_false(unmask());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(has_a_pin_instead_of_vectors, split),
		RIG_TEST(level_follows_the_status, split),
		RIG_TEST(level_follows_the_status, packed),
		RIG_TEST(reset_deasserts, split),
	};

	rig_eal_init();
	return cmocka_run_group_tests_name("intx", tests, NULL, NULL);
}
