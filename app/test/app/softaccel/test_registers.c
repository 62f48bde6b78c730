/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>

#include "rp_wire_fd.h"
#include "rig.h"

#define ALL_FEATURES                                                                                                   \
	(1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM | 1ull << 36 | 1ull << 40 | 1ull << 29 |        \
	 1ull << 28 | RIG_PACKED | RIG_IN_ORDER | 1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_GUEST_CSUM |        \
	 1ull << VIRTIO_NET_F_MAC | 1ull << VIRTIO_NET_F_MRG_RXBUF | 1ull << VIRTIO_NET_F_STATUS)

struct fixture {
	struct rig rig;
	struct rig_guest guest;
};

static struct fixture fixture;

static int
setup_with(void **state, struct softaccel_function_config config)
{
	memset(&fixture, 0, sizeof(fixture));
	rig_create(&fixture.rig);
	rig_function(&fixture.rig, config);
	rig_run(&fixture.rig);
	rig_guest_connect(&fixture.guest, &fixture.rig, 0);
	*state = &fixture;
	return 0;
}

static int
setup(void **state)
{
	return setup_with(state, (struct softaccel_function_config){.queue_pairs = 2});
}

static int
setup_switched(void **state)
{
	memset(&fixture, 0, sizeof(fixture));
	rig_create(&fixture.rig);
	rig_function(&fixture.rig, (struct softaccel_function_config){.queue_pairs = 2});
	rig_function(&fixture.rig, (struct softaccel_function_config){.queue_pairs = 2, .packed_off = true});
	rig_function(&fixture.rig, (struct softaccel_function_config){.queue_pairs = 2, .in_order_off = true});
	rig_run(&fixture.rig);
	rig_guest_connect(&fixture.guest, &fixture.rig, 0);
	*state = &fixture;
	return 0;
}

static int
setup_shared(void **state)
{
	return setup_with(state,
			  (struct softaccel_function_config){.queue_pairs = 2, .doorbell = SOFTACCEL_DOORBELL_SHARED});
}

#define MANY_PAIRS 16u

static int
setup_many(void **state)
{
	return setup_with(state, (struct softaccel_function_config){.queue_pairs = MANY_PAIRS});
}

static int
setup_none(void **state)
{
	return setup_with(state,
			  (struct softaccel_function_config){.queue_pairs = 2, .doorbell = SOFTACCEL_DOORBELL_NONE});
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
config_read(uint32_t at, uint32_t count, void *ret)
{
	assert_int_equal(
		rp_vfu_client_region_read(fixture.guest.client, RP_VFU_PCI_CONFIG_REGION, at, count, ret, NULL), 0);
}

static void
config_write(uint32_t at, uint32_t count, const void *bytes)
{
	assert_int_equal(
		rp_vfu_client_region_write(fixture.guest.client, RP_VFU_PCI_CONFIG_REGION, at, count, bytes, NULL), 0);
}

static void
identity(void **state)
{
	uint8_t config[256];

	(void)state;
	config_read(0, sizeof(config), config);
	/* Bytes, not numbers: configuration space is little-endian everywhere. */
	assert_memory_equal(config, ((uint8_t[]){0xf4, 0x1a, 0x41, 0x10}), 4);
	assert_memory_equal(config + PCI_CLASS_REVISION, ((uint8_t[]){1, 0, 0, 2}), 4);
	assert_int_equal(config[PCI_STATUS] & PCI_STATUS_CAP_LIST, PCI_STATUS_CAP_LIST);
}

static void
capabilities(void **state)
{
	unsigned int seen_mask = 0, at, steps = 0;
	uint8_t config[256];

	(void)state;
	config_read(0, sizeof(config), config);
	for (at = config[PCI_CAPABILITY_LIST]; at != 0; at = config[at + 1]) {
		assert_true(++steps < 16);
		if (config[at] == PCI_CAP_ID_MSIX) {
			seen_mask |= 1;
			/* One vector for each of four queues, and one for the configuration. */
			assert_int_equal(config[at + 2], 4);
			continue;
		}
		if (config[at] == PCI_CAP_ID_EXP) {
			seen_mask |= 1u << 16;
			continue;
		}
		assert_int_equal(config[at], PCI_CAP_ID_VNDR);
		seen_mask |= 1u << config[at + 3];
		assert_true(config[at + 2] >= 16);
	}
	assert_int_equal(seen_mask, 1 | 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 9 | 1u << 16);
}

static void
bars_tell_their_size(void **state)
{
	static const struct {
		uint32_t at;
		uint32_t size;
	} bars[] = {{PCI_BASE_ADDRESS_0, 0x4000}, {PCI_BASE_ADDRESS_2, 0x10000}, {PCI_BASE_ADDRESS_4, 0x4000}};
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		uint32_t ones = 0xffffffff, low, high;
		struct rp_vfu_client_region region;

		config_write(bars[i].at, 4, &ones);
		config_write(bars[i].at + 4, 4, &ones);
		config_read(bars[i].at, 4, &low);
		config_read(bars[i].at + 4, 4, &high);
		assert_int_equal(le32toh(low) & 0xf, 4);
		assert_int_equal(~(le32toh(low) & ~0xfu) + 1, bars[i].size);
		assert_int_equal(high, ones);
		assert_int_equal(rp_vfu_client_region_info(fixture.guest.client, 2 * i, &region, NULL), 0);
		assert_int_equal(region.size_bytes, bars[i].size);
	}
}

static void
doorbell_file_is_sealed(void **state)
{
	struct rp_vfu_client_region region;
	int seals;

	(void)state;
	assert_int_equal(rp_vfu_client_region_info(fixture.guest.client, RIG_BAR_NOTIFY, &region, NULL), 0);
	assert_true(region.fd >= 0);
	seals = fcntl(region.fd, F_GET_SEALS);
	assert_int_equal(seals & (F_SEAL_SHRINK | F_SEAL_GROW), F_SEAL_SHRINK | F_SEAL_GROW);
	assert_int_equal(fixture.guest.multiplier_bytes, 4096);
	assert_int_not_equal(ftruncate(region.fd, 0), 0);
}

static void
doorbells_have_eventfds(void **state)
{
	unsigned int queue;

	(void)state;
	for (queue = 0; queue < 4; queue++) {
		int fd = -1;

		assert_int_equal(rp_vfu_client_io_fd(fixture.guest.client, RIG_BAR_NOTIFY,
						     (uint64_t)queue * fixture.guest.multiplier_bytes, 2, queue, &fd,
						     NULL),
				 0);
		rp_wire_fd_close(&fd);
	}
}

static void
shared_doorbells(void **state)
{
	struct rp_vfu_client_region region;

	(void)state;
	assert_int_equal(rp_vfu_client_region_info(fixture.guest.client, RIG_BAR_NOTIFY, &region, NULL), 0);
	assert_true(region.fd >= 0);
	assert_int_equal(region.size_bytes, 4096);
	assert_int_equal(fixture.guest.multiplier_bytes, 4);
	doorbells_have_eventfds(state);
}

/* One for four queues, and an eventfd for each of them all the same. */
static void
doorbells_of_many_queues(void **state)
{
	struct rp_vfu_client_place places[2 * MANY_PAIRS];
	struct rp_vfu_client_region region;
	unsigned int queue, count = 0;
	int fd = -1;

	(void)state;
	assert_int_equal(rp_vfu_client_region_info(fixture.guest.client, RIG_BAR_NOTIFY, &region, NULL), 0);
	assert_int_equal(region.size_bytes, 8 * 4096);
	assert_int_equal(fixture.guest.multiplier_bytes, 4096);
	assert_int_equal(
		rp_vfu_client_places(fixture.guest.client, RIG_BAR_NOTIFY, places, 2 * MANY_PAIRS, &count, NULL), 0);
	assert_int_equal(count, 2 * MANY_PAIRS);
	for (queue = 0; queue < count; queue++) {
		rig_common_write(&fixture.guest, VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
		assert_int_equal(rig_common_read(&fixture.guest, VIRTIO_PCI_COMMON_Q_NOFF, 2), queue / 4);
		assert_int_equal(places[queue].offset_bytes, queue / 4 * 4096);
		assert_int_equal(places[queue].flags, RP_VFU_IO_FD_DATAMATCH_MASK);
		assert_int_equal(places[queue].datamatch, queue);
	}
	rp_vfu_client_places_close(places, count);
	assert_int_equal(rp_vfu_client_io_fd(fixture.guest.client, RIG_BAR_NOTIFY, 4096, 2, 3, &fd, NULL), -ENOENT);
}

static void
no_doorbells(void **state)
{
	struct rp_vfu_client_region region;

	(void)state;
	assert_int_equal(rp_vfu_client_region_info(fixture.guest.client, RIG_BAR_NOTIFY, &region, NULL), 0);
	assert_int_equal(region.fd, -1);
	doorbells_have_eventfds(state);
}

static uint64_t
offered(struct rig_guest *guest)
{
	uint64_t features;

	rig_common_write(guest, VIRTIO_PCI_COMMON_DFSELECT, 4, 0);
	features = rig_common_read(guest, VIRTIO_PCI_COMMON_DF, 4);
	rig_common_write(guest, VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
	return features | rig_common_read(guest, VIRTIO_PCI_COMMON_DF, 4) << 32;
}

static void
common_defaults(void **state)
{
	struct rig_guest *guest = &fixture.guest;

	(void)state;
	assert_int_equal(offered(guest), ALL_FEATURES);
	rig_common_write(guest, VIRTIO_PCI_COMMON_DFSELECT, 4, 2);
	assert_int_equal(rig_common_read(guest, VIRTIO_PCI_COMMON_DF, 4), 0);
	assert_int_equal(rig_common_read(guest, VIRTIO_PCI_COMMON_NUMQ, 2), 4);
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_SELECT, 2, 3);
	assert_int_equal(rig_common_read(guest, VIRTIO_PCI_COMMON_Q_SIZE, 2), 256);
	assert_int_equal(rig_common_read(guest, VIRTIO_PCI_COMMON_Q_NOFF, 2), 3);
	assert_int_equal(rig_common_read(guest, VIRTIO_PCI_COMMON_Q_MSIX, 2), 0xffff);
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_SELECT, 2, 4);
	assert_int_equal(rig_common_read(guest, VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
}

static void
a_kind_of_ring_can_be_switched_off(void **state)
{
	struct rig_guest other = {0};

	(void)state;
	rig_guest_disconnect(&fixture.guest);
	rig_guest_connect(&other, &fixture.rig, 1);
	assert_int_equal(offered(&other), ALL_FEATURES & ~RIG_PACKED);
	rig_guest_fini(&other);
	rig_guest_connect(&other, &fixture.rig, 2);
	assert_int_equal(offered(&other), ALL_FEATURES & ~RIG_IN_ORDER);
	rig_guest_fini(&other);
	rig_guest_connect(&fixture.guest, &fixture.rig, 0);
}

/* What a driver that knows no positions starts with, without writing one. */
static void
a_fresh_position(void **state)
{
	struct rp_accel_vendor_queue queue;

	(void)state;
	rig_guest_negotiate(&fixture.guest, 1ull << VIRTIO_F_VERSION_1 | 1ull << 40 | RIG_PACKED);
	rig_vendor_read(&fixture.guest, 1, &queue);
	assert_int_equal(le32toh(queue.position), 0x80008000);
	rig_vendor_write(&fixture.guest, 1, offsetof(struct rp_accel_vendor_queue, position), 0x00050005);
	rig_common_write(&fixture.guest, VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	rig_common_write(&fixture.guest, 58, 2, 1);
	rig_vendor_read(&fixture.guest, 1, &queue);
	assert_int_equal(le32toh(queue.position), 0x80008000);
	rig_guest_negotiate(&fixture.guest, 1ull << VIRTIO_F_VERSION_1);
	rig_vendor_read(&fixture.guest, 1, &queue);
	assert_int_equal(le32toh(queue.position), 0);
}

static void
queue_registers(void **state)
{
	struct rig_guest *guest = &fixture.guest;

	(void)state;
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_SIZE, 2, 512);
	assert_int_equal(rig_common_read(guest, VIRTIO_PCI_COMMON_Q_SIZE, 2), 256);
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_SIZE, 2, 64);
	assert_int_equal(rig_common_read(guest, VIRTIO_PCI_COMMON_Q_SIZE, 2), 64);
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_MSIX, 2, 5);
	assert_int_equal(rig_common_read(guest, VIRTIO_PCI_COMMON_Q_MSIX, 2), 0xffff);
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_MSIX, 2, 4);
	assert_int_equal(rig_common_read(guest, VIRTIO_PCI_COMMON_Q_MSIX, 2), 4);
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_USEDLO, 8, 0x1122334455667788);
	assert_int_equal(rig_common_read(guest, VIRTIO_PCI_COMMON_Q_USEDLO, 8), 0x1122334455667788);
	/* No enabling before the features are settled. */
	rig_guest_enable(guest, 1);
	assert_int_equal(rig_common_read(guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	rig_common_write(guest, VIRTIO_PCI_COMMON_STATUS, 1, 0);
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	assert_int_equal(rig_common_read(guest, VIRTIO_PCI_COMMON_Q_SIZE, 2), 256);
	assert_int_equal(rig_common_read(guest, VIRTIO_PCI_COMMON_Q_USEDLO, 8), 0);
}

static bool
features_accepted(uint64_t features)
{
	struct rig_guest *guest = &fixture.guest;

	rig_common_write(guest, VIRTIO_PCI_COMMON_STATUS, 1, 0);
	rig_common_write(guest, VIRTIO_PCI_COMMON_STATUS, 1, 3);
	rig_common_write(guest, VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
	rig_common_write(guest, VIRTIO_PCI_COMMON_GF, 4, (uint32_t)features);
	rig_common_write(guest, VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	rig_common_write(guest, VIRTIO_PCI_COMMON_GF, 4, features >> 32);
	rig_common_write(guest, VIRTIO_PCI_COMMON_STATUS, 1, 11);
	return (rig_common_read(guest, VIRTIO_PCI_COMMON_STATUS, 1) & VIRTIO_CONFIG_S_FEATURES_OK) != 0;
}

static void
features_are_judged(void **state)
{
	(void)state;
	assert_true(features_accepted(ALL_FEATURES));
	assert_true(features_accepted(1ull << VIRTIO_F_VERSION_1));
	/* Settled from then on. */
	rig_common_write(&fixture.guest, VIRTIO_PCI_COMMON_GF, 4, 0x12345678);
	assert_int_equal(rig_common_read(&fixture.guest, VIRTIO_PCI_COMMON_GF, 4), 1);
	assert_false(features_accepted(ALL_FEATURES & ~(1ull << VIRTIO_F_VERSION_1)));
	assert_false(features_accepted(ALL_FEATURES | 1ull << VIRTIO_NET_F_MQ));
	assert_false(features_accepted(ALL_FEATURES | 1ull << 38));
}

static void
net_config(void **state)
{
	uint8_t config[12];

	(void)state;
	assert_int_equal(rp_vfu_client_region_read(fixture.guest.client, RIG_BAR_REGISTERS, RIG_NET_CONFIG,
						   sizeof(config), config, NULL),
			 0);
	assert_memory_equal(config, ((uint8_t[]){0x52, 0x54, 0, 0, 0, 0, 1, 0, 2, 0}), 10);
}

static void
vendor_header(void **state)
{
	struct rp_accel_vendor_header header;
	struct rp_accel_vendor_queue queue;

	(void)state;
	assert_int_equal(rp_vfu_client_region_read(fixture.guest.client, RIG_BAR_REGISTERS, RIG_VENDOR, sizeof(header),
						   &header, NULL),
			 0);
	assert_memory_equal(&header, "RPRS\1\0\x40\0\4\0\0\0\7\0\0\0", sizeof(header));
	rig_vendor_write(&fixture.guest, 3, offsetof(struct rp_accel_vendor_queue, position), 0x80018001);
	rig_vendor_read(&fixture.guest, 3, &queue);
	assert_int_equal(le32toh(queue.position), 0x80018001);
	assert_int_equal(le32toh(queue.control), RP_ACCEL_VENDOR_STOPPED);
	/* Stopping what is stopped changes nothing. */
	rig_vendor_write(&fixture.guest, 3, offsetof(struct rp_accel_vendor_queue, control), RP_ACCEL_VENDOR_STOP);
	rig_vendor_read(&fixture.guest, 3, &queue);
	assert_int_equal(le32toh(queue.position), 0x80018001);
	assert_int_equal(rp_vfu_client_reset(fixture.guest.client, NULL), 0);
	rig_vendor_read(&fixture.guest, 3, &queue);
	assert_int_equal(le32toh(queue.position), 0);
}

static void
pci_window(void **state)
{
	const uint32_t cap = 0x94;
	uint32_t offset = htole32(VIRTIO_PCI_COMMON_NUMQ), length = htole32(2), value = 0;
	uint8_t bar = RIG_BAR_REGISTERS;

	(void)state;
	config_write(cap + VIRTIO_PCI_CAP_BAR, 1, &bar);
	config_write(cap + VIRTIO_PCI_CAP_OFFSET, 4, &offset);
	config_write(cap + VIRTIO_PCI_CAP_LENGTH, 4, &length);
	config_read(cap + 16, 2, &value);
	assert_int_equal(le32toh(value), 4);
	offset = htole32(VIRTIO_PCI_COMMON_Q_SELECT);
	config_write(cap + VIRTIO_PCI_CAP_OFFSET, 4, &offset);
	value = htole32(2);
	config_write(cap + 16, 2, &value);
	assert_int_equal(rig_common_read(&fixture.guest, VIRTIO_PCI_COMMON_Q_NOFF, 2), 2);
	/* Outside every BAR: nothing happens. */
	offset = 0xffffffff;
	config_write(cap + VIRTIO_PCI_CAP_OFFSET, 4, &offset);
	config_read(cap + 16, 2, &value);
}

/* Every place at every width, through every trapped region: nothing but numbers may come of it. */
static void
odd_accesses(void **state)
{
	static const uint32_t widths[] = {1, 2, 3, 4, 7, 8, 64};
	static const uint32_t regions[] = {0, 2, 4, 7};
	static const uint32_t ends[] = {0x4000, 0x4200, 0x4000, 0x100};
	uint8_t bytes[64];
	unsigned int i, j;

	(void)state;
	for (i = 0; i < 4; i++) {
		for (j = 0; j < 7; j++) {
			uint32_t at, step = regions[i] == 7 ? 1 : 61;

			for (at = 0; at + widths[j] <= ends[i]; at += step) {
				assert_int_equal(rp_vfu_client_region_read(fixture.guest.client, regions[i], at,
									   widths[j], bytes, NULL),
						 0);
				memset(bytes, (int)at, sizeof(bytes));
				assert_int_equal(rp_vfu_client_region_write(fixture.guest.client, regions[i], at,
									    widths[j], bytes, NULL),
						 0);
			}
		}
	}
	assert_int_equal(rp_vfu_client_reset(fixture.guest.client, NULL), 0);
	identity(state);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(identity, setup, teardown),
		cmocka_unit_test_setup_teardown(capabilities, setup, teardown),
		cmocka_unit_test_setup_teardown(bars_tell_their_size, setup, teardown),
		cmocka_unit_test_setup_teardown(doorbell_file_is_sealed, setup, teardown),
		cmocka_unit_test_setup_teardown(doorbells_have_eventfds, setup, teardown),
		cmocka_unit_test_setup_teardown(shared_doorbells, setup_shared, teardown),
		cmocka_unit_test_setup_teardown(doorbells_of_many_queues, setup_many, teardown),
		cmocka_unit_test_setup_teardown(no_doorbells, setup_none, teardown),
		cmocka_unit_test_setup_teardown(common_defaults, setup, teardown),
		cmocka_unit_test_setup_teardown(queue_registers, setup, teardown),
		cmocka_unit_test_setup_teardown(features_are_judged, setup, teardown),
		cmocka_unit_test_setup_teardown(a_kind_of_ring_can_be_switched_off, setup_switched, teardown),
		cmocka_unit_test_setup_teardown(a_fresh_position, setup, teardown),
		cmocka_unit_test_setup_teardown(net_config, setup, teardown),
		cmocka_unit_test_setup_teardown(vendor_header, setup, teardown),
		cmocka_unit_test_setup_teardown(pci_window, setup, teardown),
		cmocka_unit_test_setup_teardown(odd_accesses, setup, teardown),
	};

	rig_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
