/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIO_REGS_H
#define VIRTIO_REGS_H

/*
 * Register layouts of virtio on PCI, with the section of virtio 1.2 that defines
 * them. linux/virtio_pci.h names them too, but not all of them in the versions
 * that distributions ship.
 */

/* PCI Local Bus 3.0, 6.1 and 6.7 */
#define PCI_CONFIG_BYTES 256u
#define PCI_VENDOR_ID 0x00u
#define PCI_DEVICE_ID 0x02u
#define PCI_COMMAND 0x04u
#define PCI_STATUS 0x06u
#define PCI_CAPABILITIES 0x34u
#define PCI_HEADER_BYTES 0x40u
#define PCI_COMMAND_MEMORY_MASK 0x2u
#define PCI_COMMAND_MASTER_MASK 0x4u
#define PCI_STATUS_CAPABILITIES_MASK 0x10u
#define PCI_CAP_ID_VENDOR 0x09u
#define PCI_CAP_ID_MSIX 0x11u
#define PCI_BARS_COUNT 6u

/* MSI-X capability: PCI Local Bus 3.0, 6.8.2 */
#define PCI_MSIX_CAP_BYTES 12u
#define PCI_MSIX_CONTROL 2u
#define PCI_MSIX_TABLE 4u
#define PCI_MSIX_PBA 8u
#define PCI_MSIX_CONTROL_SIZE_MASK 0x7ffu
#define PCI_MSIX_BIR_MASK 0x7u
#define PCI_MSIX_ENTRY_BYTES 16u

/* What the bus answers for a device that is no longer there. */
#define PCI_ABSENT 0xffffu

/* 4.1.2 */
#define VIRTIO_PCI_VENDOR 0x1af4u
#define VIRTIO_PCI_DEVICE_MODERN 0x1040u
#define VIRTIO_PCI_DEVICE_LAST 0x107fu
#define VIRTIO_PCI_DEVICE_TRANSITIONAL_NET 0x1000u
#define VIRTIO_PCI_DEVICE_TRANSITIONAL_LAST 0x103fu
#define VIRTIO_DEVICE_NET 1u

/* 4.1.4: struct virtio_pci_cap */
#define VIRTIO_CAP_BYTES 16u
#define VIRTIO_CAP_NOTIFY_BYTES 20u
#define VIRTIO_CAP_LEN 2u
#define VIRTIO_CAP_CFG_TYPE 3u
#define VIRTIO_CAP_BAR 4u
#define VIRTIO_CAP_OFFSET 8u
#define VIRTIO_CAP_LENGTH 12u
#define VIRTIO_CAP_MULTIPLIER 16u
#define VIRTIO_CAP_TYPE_COMMON 1u
#define VIRTIO_CAP_TYPE_NOTIFY 2u
#define VIRTIO_CAP_TYPE_ISR 3u
#define VIRTIO_CAP_TYPE_DEVICE 4u

/* 4.1.4.3: struct virtio_pci_common_cfg */
#define COMMON_DEVICE_FEATURE_SELECT 0u
#define COMMON_DEVICE_FEATURE 4u
#define COMMON_DRIVER_FEATURE_SELECT 8u
#define COMMON_DRIVER_FEATURE 12u
#define COMMON_CONFIG_MSIX_VECTOR 16u
#define COMMON_NUM_QUEUES 18u
#define COMMON_DEVICE_STATUS 20u
#define COMMON_CONFIG_GENERATION 21u
#define COMMON_QUEUE_SELECT 22u
#define COMMON_QUEUE_SIZE 24u
#define COMMON_QUEUE_MSIX_VECTOR 26u
#define COMMON_QUEUE_ENABLE 28u
#define COMMON_QUEUE_NOTIFY_OFF 30u
#define COMMON_QUEUE_DESC 32u
#define COMMON_QUEUE_DRIVER 40u
#define COMMON_QUEUE_DEVICE 48u
#define COMMON_BYTES 56u
#define COMMON_QUEUE_RESET 58u
#define COMMON_WITH_QUEUE_RESET_BYTES 60u
#define VIRTIO_NO_VECTOR 0xffffu
#define VIRTIO_QUEUE_SIZE_LIMIT 32768u

/* 6 and 5.1.3 */
#define VIRTIO_NET_F_MAC_BIT 5u
#define VIRTIO_NET_F_CTRL_VQ_BIT 17u
#define VIRTIO_NET_F_CTRL_RX_BIT 18u
#define VIRTIO_NET_F_MQ_BIT 22u
#define VIRTIO_NET_F_CTRL_MAC_ADDR_BIT 23u
#define VIRTIO_F_VERSION_1_BIT 32u
#define VIRTIO_F_ACCESS_PLATFORM_BIT 33u
#define VIRTIO_F_RING_PACKED_BIT 34u
#define VIRTIO_F_ORDER_PLATFORM_BIT 36u
#define VIRTIO_F_RING_RESET_BIT 40u

/* 2.1 */
#define VIRTIO_STATUS_ACKNOWLEDGE 0x01u
#define VIRTIO_STATUS_DRIVER 0x02u
#define VIRTIO_STATUS_DRIVER_OK 0x04u
#define VIRTIO_STATUS_FEATURES_OK 0x08u
#define VIRTIO_STATUS_NEEDS_RESET 0x40u
/* No device says that of itself: two of the bits are reserved. */
#define VIRTIO_STATUS_ALL_ONES 0xffu

/* 5.1.4: struct virtio_net_config */
#define NET_CONFIG_MAC 0u
#define NET_CONFIG_MAC_BYTES 6u
#define NET_CONFIG_MAX_PAIRS 8u
#define NET_CONFIG_MAX_PAIRS_END 10u
#define NET_PAIRS_LIMIT 0x8000u

/* A doorbell: 4.1.5.2, the queue index as 16 bits when NOTIFICATION_DATA is not negotiated. */
#define VIRTIO_DOORBELL_BYTES 2u

#endif
