/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include <linux/kvm.h>
#include <linux/vfio.h>

#include "bytes.h"
#include "rp_vfu_msg.h"
#include "test_support.h"

/* What the rows say of every command: name, payload, descriptors, reply. Written from the specification. */
static const struct expected {
	uint16_t command;
	const char *name;
	uint32_t payload_min, payload_max, fds_max, reply_min;
} expected[] = {
	{1, "VERSION", 4, 4 + 4096, 0, 4},
	{2, "DMA_MAP", 32, 32, 1, 0},
	{3, "DMA_UNMAP", 24, 40, 0, 24},
	{4, "DEVICE_GET_INFO", 16, 24, 0, 16},
	{5, "DEVICE_GET_REGION_INFO", 32, 32, 0, 32},
	{6, "DEVICE_GET_REGION_IO_FDS", 16, 16, 0, 16},
	{7, "DEVICE_GET_IRQ_INFO", 16, 16, 0, 16},
	{8, "DEVICE_SET_IRQS", 20, 20 + 2048, 16, 0},
	{9, "REGION_READ", 16, 16, 0, 16},
	{10, "REGION_WRITE", 16, 16 + 1048576, 0, 16},
	{11, "DMA_READ", 16, 16, 0, 16},
	{12, "DMA_WRITE", 16, 16 + 1048576, 0, 16},
	{13, "DEVICE_RESET", 0, 0, 0, 0},
	{14, "DIRTY_PAGES", 8, 8 + 1048576, 0, 8},
	{15, "REGION_WRITE_MULTI", 8, 8 + 24 * 1024, 0, 8},
	{16, "DEVICE_FEATURE", 8, 8 + 1048576, 0, 8},
	{17, "MIG_DATA_READ", 8, 8, 0, 8},
	{18, "MIG_DATA_WRITE", 8, 8 + 1048576, 0, 0},
	{0x5201, "DMA_REMAP", 32, 32, 1, 0},
	{0x5202, "WINDOW_READ", 24, 24, 0, 16},
	{0x5203, "WINDOW_WRITE", 24, 24, 0, 16},
	{0x5204, "DEVICE_GET_REGION_IO_FDS_PAGE", 16, 16, 0, 24},
	{0x5205, "TRANSLATE", 24, 24, 0, 32},
	{0x5206, "INVALIDATE", 32, 32, 0, 8},
	{0x5207, "PAGE_REQUEST", 32, 16 + 16 * 256, 0, 0},
	{0x5208, "PAGE_RESPONSE", 8, 8, 0, 0},
	{0x5209, "REGION_ACCESS_MULTI", 8, 8 + 24 * 1024, 0, 8},
};

#define EXPECTED_COUNT (sizeof(expected) / sizeof(expected[0]))

static void
test_rows(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < EXPECTED_COUNT; i++) {
		const struct rp_vfu_msg *row = rp_vfu_msg_find(expected[i].command);

		assert_non_null(row);
		assert_ptr_equal(row, rp_vfu_msg_at(i));
		assert_int_equal(row->command, expected[i].command);
		assert_string_equal(row->name, expected[i].name);
		assert_string_equal(rp_vfu_msg_name(expected[i].command), expected[i].name);
		assert_int_equal(row->payload_min_bytes, expected[i].payload_min);
		assert_int_equal(row->payload_max_bytes, expected[i].payload_max);
		assert_int_equal(row->fds_min, 0);
		assert_int_equal(row->fds_max, expected[i].fds_max);
		assert_int_equal(row->reply_min_bytes, expected[i].reply_min);
		assert_int_equal(row->direction, i == 10 || i == 11 || i == 19 || i == 20 || i == 22 || i == 24 ?
							 RP_VFU_TO_CLIENT :
							 RP_VFU_TO_SERVER);
		/* What the specification does not know is never sent to who did not agree to it. */
		assert_true(expected[i].command < RP_VFU_EXTENSION_FIRST || row->terms_mask != 0);
		assert_int_equal(row->states_mask, i == 0 ? RP_VFU_IN_NEW_MASK : RP_VFU_IN_READY_MASK);
		/* What the generic checks read must be there to be read. */
		assert_true(!row->argsz || row->payload_min_bytes >= 4);
		assert_true(row->reply != RP_VFU_REPLY_ARGSZ || row->reply_min_bytes >= 4);
		assert_true(row->payload_max_bytes < rp_vfu_framing.payload_max_bytes);
		assert_true(row->reply_max_bytes < rp_vfu_framing.payload_max_bytes);
	}
	assert_null(rp_vfu_msg_at(EXPECTED_COUNT));
	assert_null(rp_vfu_msg_find(0));
	assert_null(rp_vfu_msg_find(19));
	assert_null(rp_vfu_msg_find(0x5200));
	assert_null(rp_vfu_msg_find(0x520a));
	assert_null(rp_vfu_msg_find(0xffff));
	assert_string_equal(rp_vfu_msg_name(19), "unknown");
}

/* The kernel's header is the other reader of the structures that vfio-user took over. */
static void
test_structures_are_the_kernels(void **state)
{
	(void)state;
	assert_int_equal(sizeof(struct rp_vfu_wire_region_info), sizeof(struct vfio_region_info));
	assert_int_equal(offsetof(struct rp_vfu_wire_region_info, index), offsetof(struct vfio_region_info, index));
	assert_int_equal(offsetof(struct rp_vfu_wire_region_info, cap_offset_bytes),
			 offsetof(struct vfio_region_info, cap_offset));
	assert_int_equal(offsetof(struct rp_vfu_wire_region_info, size_bytes), offsetof(struct vfio_region_info, size));
	assert_int_equal(offsetof(struct rp_vfu_wire_region_info, offset_bytes),
			 offsetof(struct vfio_region_info, offset));
	assert_int_equal(offsetof(struct rp_vfu_wire_device_info, regions_count),
			 offsetof(struct vfio_device_info, num_regions));
	assert_int_equal(offsetof(struct rp_vfu_wire_device_info, irqs_count),
			 offsetof(struct vfio_device_info, num_irqs));
	assert_int_equal(sizeof(struct rp_vfu_wire_irq_info), sizeof(struct vfio_irq_info));
	assert_int_equal(offsetof(struct rp_vfu_wire_irq_info, count), offsetof(struct vfio_irq_info, count));
	assert_int_equal(sizeof(struct rp_vfu_wire_irq_set), sizeof(struct vfio_irq_set));
	assert_int_equal(offsetof(struct rp_vfu_wire_irq_set, start), offsetof(struct vfio_irq_set, start));
	assert_int_equal(sizeof(struct rp_vfu_wire_cap), sizeof(struct vfio_info_cap_header));
	assert_int_equal(sizeof(struct rp_vfu_wire_cap) + sizeof(struct rp_vfu_wire_sparse),
			 sizeof(struct vfio_region_info_cap_sparse_mmap));
	assert_int_equal(sizeof(struct rp_vfu_wire_sparse_area), sizeof(struct vfio_region_sparse_mmap_area));
	assert_int_equal(sizeof(struct rp_vfu_wire_dma_unmap), sizeof(struct vfio_iommu_type1_dma_unmap));
	assert_int_equal(sizeof(struct rp_vfu_wire_dma_map), sizeof(struct vfio_iommu_type1_dma_map));
	assert_int_equal(sizeof(struct rp_vfu_wire_feature), sizeof(struct vfio_device_feature));
}

static void
test_numbers_are_the_kernels(void **state)
{
	(void)state;
	assert_int_equal(RP_VFU_DEVICE_FLAG_RESET_MASK, VFIO_DEVICE_FLAGS_RESET);
	assert_int_equal(RP_VFU_DEVICE_FLAG_PCI_MASK, VFIO_DEVICE_FLAGS_PCI);
	assert_int_equal(RP_VFU_REGION_FLAG_READ_MASK, VFIO_REGION_INFO_FLAG_READ);
	assert_int_equal(RP_VFU_REGION_FLAG_WRITE_MASK, VFIO_REGION_INFO_FLAG_WRITE);
	assert_int_equal(RP_VFU_REGION_FLAG_MMAP_MASK, VFIO_REGION_INFO_FLAG_MMAP);
	assert_int_equal(RP_VFU_REGION_FLAG_CAPS_MASK, VFIO_REGION_INFO_FLAG_CAPS);
	assert_int_equal(RP_VFU_CAP_SPARSE_MMAP, VFIO_REGION_INFO_CAP_SPARSE_MMAP);
	assert_int_equal(RP_VFU_IRQ_FLAG_EVENTFD_MASK, VFIO_IRQ_INFO_EVENTFD);
	assert_int_equal(RP_VFU_IRQ_FLAG_MASKABLE_MASK, VFIO_IRQ_INFO_MASKABLE);
	assert_int_equal(RP_VFU_IRQ_FLAG_AUTOMASKED_MASK, VFIO_IRQ_INFO_AUTOMASKED);
	assert_int_equal(RP_VFU_IRQ_FLAG_NORESIZE_MASK, VFIO_IRQ_INFO_NORESIZE);
	assert_int_equal(RP_VFU_IRQ_DATA_NONE_MASK, VFIO_IRQ_SET_DATA_NONE);
	assert_int_equal(RP_VFU_IRQ_DATA_BOOL_MASK, VFIO_IRQ_SET_DATA_BOOL);
	assert_int_equal(RP_VFU_IRQ_DATA_EVENTFD_MASK, VFIO_IRQ_SET_DATA_EVENTFD);
	assert_int_equal(RP_VFU_IRQ_ACTION_MASK_MASK, VFIO_IRQ_SET_ACTION_MASK);
	assert_int_equal(RP_VFU_IRQ_ACTION_UNMASK_MASK, VFIO_IRQ_SET_ACTION_UNMASK);
	assert_int_equal(RP_VFU_IRQ_ACTION_TRIGGER_MASK, VFIO_IRQ_SET_ACTION_TRIGGER);
	assert_int_equal(RP_VFU_DMA_MAP_READ_MASK, VFIO_DMA_MAP_FLAG_READ);
	assert_int_equal(RP_VFU_DMA_MAP_WRITE_MASK, VFIO_DMA_MAP_FLAG_WRITE);
	assert_int_equal(RP_VFU_DMA_UNMAP_DIRTY_MASK, VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP);
	assert_int_equal(RP_VFU_DMA_UNMAP_ALL_MASK, VFIO_DMA_UNMAP_FLAG_ALL);
	assert_int_equal(RP_VFU_PCI_BAR0_REGION, VFIO_PCI_BAR0_REGION_INDEX);
	assert_int_equal(RP_VFU_PCI_ROM_REGION, VFIO_PCI_ROM_REGION_INDEX);
	assert_int_equal(RP_VFU_PCI_CONFIG_REGION, VFIO_PCI_CONFIG_REGION_INDEX);
	assert_int_equal(RP_VFU_PCI_REGIONS_COUNT, VFIO_PCI_NUM_REGIONS);
	assert_int_equal(RP_VFU_PCI_INTX_IRQ, VFIO_PCI_INTX_IRQ_INDEX);
	assert_int_equal(RP_VFU_PCI_MSI_IRQ, VFIO_PCI_MSI_IRQ_INDEX);
	assert_int_equal(RP_VFU_PCI_MSIX_IRQ, VFIO_PCI_MSIX_IRQ_INDEX);
	assert_int_equal(RP_VFU_PCI_ERR_IRQ, VFIO_PCI_ERR_IRQ_INDEX);
	assert_int_equal(RP_VFU_PCI_REQ_IRQ, VFIO_PCI_REQ_IRQ_INDEX);
	assert_int_equal(RP_VFU_PCI_IRQS_COUNT, VFIO_PCI_NUM_IRQS);
	assert_int_equal(RP_VFU_IO_FD_DATAMATCH_MASK, KVM_IOEVENTFD_FLAG_DATAMATCH);
	assert_int_equal(RP_VFU_IO_FD_PIO_MASK, KVM_IOEVENTFD_FLAG_PIO);
}

static int
check(const uint8_t *bytes, uint32_t size_bytes, unsigned int fds_count, enum rp_vfu_direction direction,
      enum rp_vfu_state at, struct rp_wire_why *why)
{
	struct rp_wire_msg msg = {.bytes = (uint8_t *)bytes, .size_bytes = size_bytes, .fds_count = fds_count};
	struct rp_vfu_msg_view view;

	rp_vfu_msg_parse(&msg, &view);
	return rp_vfu_msg_check_command(&view, direction, at, NULL, NULL, why);
}

static void
test_order_of_the_checks(void **state)
{
	static const uint8_t dma_write[] = {HEADER(1, 12, 32, COMMAND, 0), U64(0), U64(0)};
	static const uint8_t multi[] = {HEADER(1, 15, 24, COMMAND, 0), U64(0)};
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(check(dma_write, 32, 0, RP_VFU_TO_CLIENT, RP_VFU_STATE_READY, &why), 0);
	assert_int_equal(check(dma_write, 32, 0, RP_VFU_TO_CLIENT, RP_VFU_STATE_NEW, &why), -EBUSY);
	assert_int_equal(check(dma_write, 32, 0, RP_VFU_TO_SERVER, RP_VFU_STATE_NEW, &why), -ENOTSUP);
	assert_int_equal(check(dma_write, 31, 1, RP_VFU_TO_CLIENT, RP_VFU_STATE_READY, &why), -EMSGSIZE);
	assert_int_equal(check(dma_write, 32, 1, RP_VFU_TO_CLIENT, RP_VFU_STATE_READY, &why), -EBADMSG);
	assert_string_equal(why.text, "DMA_WRITE: descriptors: 1, expected 0 to 0");
	assert_int_equal(check(multi, 24, 0, RP_VFU_TO_SERVER, RP_VFU_STATE_READY, &why), -ENOTSUP);
	assert_string_equal(why.text, "REGION_WRITE_MULTI: its capability was not negotiated");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_structures_are_the_kernels),
		cmocka_unit_test(test_numbers_are_the_kernels),
		cmocka_unit_test(test_order_of_the_checks),
	};

	return cmocka_run_group_tests_name("vfio-user message table", tests, NULL, NULL);
}
