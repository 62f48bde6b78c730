/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "rig.h"

/* Which queues are served by messages, from what the client has mapped and how. */

#define RX 0u
#define FAR_IOVA 0x90000000ull
#define READ RP_VFU_DMA_MAP_READ_MASK
#define WRITE RP_VFU_DMA_MAP_WRITE_MASK

static struct {
	struct rig rig;
	struct rig_guest guest;
	uint64_t features;
} fixture;

static int
setup(void **state)
{
	memset(&fixture, 0, sizeof(fixture));
	fixture.features = RIG_FEATURES_DEFAULT | *(const uint64_t *)*state;
	rig_create(&fixture.rig);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	rig_guest_fini(&fixture.guest);
	rig_destroy(&fixture.rig);
	return 0;
}

static void
connect(enum rig_reach reach, enum softaccel_dma dma)
{
	rig_function(&fixture.rig, (struct softaccel_function_config){.dma = dma});
	rig_run(&fixture.rig);
	fixture.guest.reach = reach;
	rig_guest_connect(&fixture.guest, &fixture.rig, 0);
}

static void
map(uint64_t iova, uint64_t size_bytes, bool with_file, uint32_t access_mask)
{
	struct rig_guest *guest = &fixture.guest;
	const struct rp_vfu_client_memory memory = {
		.iova = iova,
		.size_bytes = size_bytes,
		.fd = with_file ? guest->memory_fd : -1,
		.hva = guest->memory,
		.access_mask = access_mask,
	};
	struct rp_wire_why why = {.text = ""};

	if (rp_vfu_client_dma_map_memory(guest->client, &memory, &why) < 0)
		fail_msg("%s", why.text);
}

static void
start(void)
{
	rig_guest_negotiate(&fixture.guest, fixture.features);
	rig_guest_queue(&fixture.guest, RX);
	rig_guest_driver_ok(&fixture.guest);
}

static bool
by_messages(void)
{
	assert_int_equal(softaccel_queue_state(fixture.rig.functions[0], RX), SOFTACCEL_QUEUE_RUNNING);
	return softaccel_queue_by_messages(fixture.rig.functions[0], RX);
}

static void
everything_with_descriptors(void **state)
{
	(void)state;
	connect(RIG_REACH_ALL, SOFTACCEL_DMA_AUTO);
	start();
	assert_false(by_messages());
}

static void
nothing_with_descriptors(void **state)
{
	(void)state;
	connect(RIG_REACH_NONE, SOFTACCEL_DMA_AUTO);
	start();
	assert_true(by_messages());
}

/* So much of it that buffers are there too. */
static void
something_without_a_descriptor(void **state)
{
	(void)state;
	connect(RIG_REACH_ALL, SOFTACCEL_DMA_AUTO);
	map(FAR_IOVA, RIG_MEMORY_BYTES, false, READ | WRITE);
	start();
	assert_true(by_messages());
}

/* VMMs map ROMs, and never with a descriptor. */
static void
a_rom_without_a_descriptor(void **state)
{
	(void)state;
	connect(RIG_REACH_ALL, SOFTACCEL_DMA_AUTO);
	map(FAR_IOVA, 65536, false, READ);
	start();
	assert_false(by_messages());
}

/* QEMU maps BARs of the VM's devices, this one's too, as memory without a file. */
static void
bars_are_not_memory(void **state)
{
	(void)state;
	connect(RIG_REACH_ALL, SOFTACCEL_DMA_AUTO);
	start();
	map(FAR_IOVA, RIG_MEMORY_BYTES / 4, false, READ | WRITE);
	assert_false(by_messages());
}

static void
forced(void **state)
{
	(void)state;
	connect(RIG_REACH_ALL, SOFTACCEL_DMA_MESSAGES);
	start();
	assert_true(by_messages());
}

static bool
is_changing(void)
{
	const struct softaccel_function *function = fixture.rig.functions[0];

	return softaccel_queue_by_messages(function, RX) ||
	       softaccel_queue_state(function, RX) != SOFTACCEL_QUEUE_RUNNING;
}

static void
while_it_runs(void **state)
{
	unsigned int turn;

	(void)state;
	connect(RIG_REACH_ALL, SOFTACCEL_DMA_AUTO);
	start();
	for (turn = 0; turn < 5; turn++) {
		unsigned int tries = 0;

		map(FAR_IOVA, RIG_MEMORY_BYTES, false, READ | WRITE);
		assert_true(by_messages());
		assert_int_equal(rp_vfu_client_dma_unmap(fixture.guest.client, FAR_IOVA, RIG_MEMORY_BYTES, NULL), 0);
		/* It brings back what it has first, and stands still for the moment of the change. */
		while (is_changing() && ++tries < 20000) {
			rig_guest_serve(&fixture.guest);
			usleep(100);
		}
		assert_false(by_messages());
	}
}

/* A forced one does not go back. */
static void
forced_while_it_runs(void **state)
{
	(void)state;
	connect(RIG_REACH_ALL, SOFTACCEL_DMA_MESSAGES);
	start();
	map(FAR_IOVA, 65536, true, READ | WRITE);
	assert_true(by_messages());
}

static void
enable_at(uint64_t device_area)
{
	struct rig_guest *guest = &fixture.guest;

	rig_guest_negotiate(guest, fixture.features);
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_SELECT, 2, RX);
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_SIZE, 2, RIG_QUEUE_SIZE);
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_DESCLO, 8, RIG_MEMORY_IOVA);
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_AVAILLO, 8, RIG_MEMORY_IOVA + 0x4000);
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_USEDLO, 8, device_area);
	rig_guest_enable(guest, RX);
}

/* Refused at once, however memory would be reached. */
static void
refused(enum rig_reach reach, enum softaccel_dma dma)
{
	struct rp_accel_vendor_queue image;

	connect(reach, dma);
	map(FAR_IOVA, 65536, false, READ);
	enable_at(0xdead0000);
	assert_int_equal(rig_common_read(&fixture.guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	/* The device writes there. */
	enable_at(FAR_IOVA);
	assert_int_equal(rig_common_read(&fixture.guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	/* Not aligned. */
	enable_at(RIG_MEMORY_IOVA + 0x8002);
	assert_int_equal(rig_common_read(&fixture.guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	enable_at(RIG_MEMORY_IOVA + RIG_MEMORY_BYTES - 2);
	assert_int_equal(rig_common_read(&fixture.guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	rig_vendor_read(&fixture.guest, RX, &image);
	assert_int_equal(le64toh(image.errors), 4);
	enable_at(RIG_MEMORY_IOVA + 0x8000);
	assert_int_equal(rig_common_read(&fixture.guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
}

static void
refused_directly(void **state)
{
	(void)state;
	refused(RIG_REACH_ALL, SOFTACCEL_DMA_AUTO);
}

static void
refused_by_messages(void **state)
{
	(void)state;
	refused(RIG_REACH_NONE, SOFTACCEL_DMA_AUTO);
}

static void
refused_when_forced(void **state)
{
	(void)state;
	refused(RIG_REACH_ALL, SOFTACCEL_DMA_MESSAGES);
}

/* The ring lies in two mappings, one of which has a file: no pointer reaches across, messages do. */
static void
a_ring_across_mappings(void **state)
{
	(void)state;
	connect(RIG_REACH_RINGS, SOFTACCEL_DMA_AUTO);
	rig_guest_negotiate(&fixture.guest, fixture.features);
	rig_common_write(&fixture.guest, VIRTIO_PCI_COMMON_Q_SELECT, 2, RX);
	rig_common_write(&fixture.guest, VIRTIO_PCI_COMMON_Q_SIZE, 2, RIG_QUEUE_SIZE);
	rig_common_write(&fixture.guest, VIRTIO_PCI_COMMON_Q_DESCLO, 8, RIG_MEMORY_IOVA + RIG_MEMORY_BYTES / 2 - 512);
	rig_common_write(&fixture.guest, VIRTIO_PCI_COMMON_Q_AVAILLO, 8, RIG_MEMORY_IOVA);
	rig_common_write(&fixture.guest, VIRTIO_PCI_COMMON_Q_USEDLO, 8, RIG_MEMORY_IOVA + 0x1000);
	rig_guest_enable(&fixture.guest, RX);
	assert_int_equal(rig_common_read(&fixture.guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	rig_guest_driver_ok(&fixture.guest);
	assert_true(by_messages());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TESTS(everything_with_descriptors),
		RIG_TESTS(nothing_with_descriptors),
		RIG_TESTS(something_without_a_descriptor),
		RIG_TESTS(a_rom_without_a_descriptor),
		RIG_TESTS(bars_are_not_memory),
		RIG_TESTS(forced),
		RIG_TESTS(while_it_runs),
		RIG_TESTS(forced_while_it_runs),
		RIG_TESTS(refused_directly),
		RIG_TESTS(refused_by_messages),
		RIG_TESTS(refused_when_forced),
		RIG_TESTS(a_ring_across_mappings),
	};

	rig_eal_init();
	return cmocka_run_group_tests_name("softaccel_reach", tests, NULL, NULL);
}
