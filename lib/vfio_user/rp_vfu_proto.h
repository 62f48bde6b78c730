/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VFU_PROTO_H
#define RP_VFU_PROTO_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/**
 * @file
 * The vfio-user protocol on the wire: numbers and structures, as in QEMU's
 * docs/interop/vfio-user.rst. Headers and fixed fields are in host byte order;
 * PCI configuration space inside a region is little-endian. Structures are
 * copied to and from messages, never pointed into.
 *
 * Threads: constant data; any thread.
 */

#define RP_VFU_VERSION_MAJOR 0
#define RP_VFU_VERSION_MINOR 1

/** What this library offers at most; both sides may rely on the floor. */
#define RP_VFU_DATA_XFER_MAX_BYTES (1024u * 1024u)
#define RP_VFU_DATA_XFER_FLOOR_BYTES 4096u
#define RP_VFU_MSG_FDS_MAX 16u
#define RP_VFU_DMA_MAPS_MAX (1024u * 1024u)
#define RP_VFU_WINDOW_FLOOR_BYTES (64u * 1024u)
#define RP_VFU_WINDOW_MAX_BYTES (64u * 1024u * 1024u)
#define RP_VFU_BITMAP_MAX_BYTES (256u * 1024u * 1024u)
#define RP_VFU_VERSION_TEXT_MAX_BYTES 4096u /* JSON of a VERSION, its NUL included */

/* What a peer can make us allocate; a device beyond it is refused by both ends. */
#define RP_VFU_REGIONS_MAX 64u
#define RP_VFU_IRQ_INDICES_MAX 16u
#define RP_VFU_IRQ_VECTORS_MAX 2048u /* of one index: the most that MSI-X knows */
#define RP_VFU_SPARSE_AREAS_MAX 1024u /* of one region */
#define RP_VFU_IO_FDS_MAX 1024u /* places of one region */
#define RP_VFU_ACCESSES_MAX 1024u /* of one REGION_ACCESS_MULTI */

enum rp_vfu_command {
	RP_VFU_VERSION = 1,
	RP_VFU_DMA_MAP = 2,
	RP_VFU_DMA_UNMAP = 3,
	RP_VFU_DEVICE_GET_INFO = 4,
	RP_VFU_DEVICE_GET_REGION_INFO = 5,
	RP_VFU_DEVICE_GET_REGION_IO_FDS = 6,
	RP_VFU_DEVICE_GET_IRQ_INFO = 7,
	RP_VFU_DEVICE_SET_IRQS = 8,
	RP_VFU_REGION_READ = 9,
	RP_VFU_REGION_WRITE = 10,
	RP_VFU_DMA_READ = 11,
	RP_VFU_DMA_WRITE = 12,
	RP_VFU_DEVICE_RESET = 13,
	RP_VFU_DIRTY_PAGES = 14, /* of older revisions; no longer in the specification */
	RP_VFU_REGION_WRITE_MULTI = 15,
	RP_VFU_DEVICE_FEATURE = 16,
	RP_VFU_MIG_DATA_READ = 17,
	RP_VFU_MIG_DATA_WRITE = 18,

	/* Ours; each is legal only when its capability was agreed on (doc/protocol/vfio-user.md). */
	RP_VFU_DMA_REMAP = 0x5201,
	RP_VFU_WINDOW_READ = 0x5202,
	RP_VFU_WINDOW_WRITE = 0x5203,
	RP_VFU_DEVICE_GET_REGION_IO_FDS_PAGE = 0x5204,
	RP_VFU_TRANSLATE = 0x5205,
	RP_VFU_INVALIDATE = 0x5206,
	RP_VFU_PAGE_REQUEST = 0x5207,
	RP_VFU_PAGE_RESPONSE = 0x5208,
	RP_VFU_REGION_ACCESS_MULTI = 0x5209,
};
#define RP_VFU_EXTENSION_FIRST RP_VFU_DMA_REMAP
#define RP_VFU_EXTENSION_LAST RP_VFU_REGION_ACCESS_MULTI

/* Header flags. */
#define RP_VFU_TYPE_MASK 0xfu
#define RP_VFU_TYPE_COMMAND 0x0u
#define RP_VFU_TYPE_REPLY 0x1u
#define RP_VFU_FLAG_NO_REPLY 0x10u
#define RP_VFU_FLAG_ERROR 0x20u

struct rp_vfu_header {
	uint16_t id;
	uint16_t command;
	uint32_t size_bytes; /* header included */
	uint32_t flags;
	uint32_t error; /* an errno value when FLAG_ERROR is set */
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_header) == 16, "vfio-user header");

struct rp_vfu_wire_version {
	uint16_t major;
	uint16_t minor;
	/* a NUL-terminated JSON text follows */
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_version) == 4, "version");

#define RP_VFU_DMA_MAP_READ_MASK 0x1u
#define RP_VFU_DMA_MAP_WRITE_MASK 0x2u

struct rp_vfu_wire_dma_map {
	uint32_t argsz;
	uint32_t flags;
	uint64_t offset_bytes;
	uint64_t iova;
	uint64_t size_bytes;
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_dma_map) == 32, "dma map");

#define RP_VFU_DMA_UNMAP_DIRTY_MASK 0x1u
#define RP_VFU_DMA_UNMAP_ALL_MASK 0x2u

struct rp_vfu_wire_dma_unmap {
	uint32_t argsz;
	uint32_t flags;
	uint64_t iova;
	uint64_t size_bytes;
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_dma_unmap) == 24, "dma unmap");

/* As struct vfio_bitmap without its pointer: behind an unmap with the dirty flag, and behind its reply's copy. */
struct rp_vfu_wire_bitmap {
	uint64_t page_size_bytes;
	uint64_t size_bytes; /* of the bits, a multiple of 8 */
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_bitmap) == 16, "bitmap");

/* As struct vfio_device_info. */
#define RP_VFU_DEVICE_FLAG_RESET_MASK 0x1u
#define RP_VFU_DEVICE_FLAG_PCI_MASK 0x2u

struct rp_vfu_wire_device_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t regions_count;
	uint32_t irqs_count;
	/* newer <linux/vfio.h> ends in cap_offset and padding, which vfio-user lacks */
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_device_info) == 16, "device info");
#define RP_VFU_DEVICE_INFO_LONG_BYTES 24u

/* As struct vfio_region_info. */
#define RP_VFU_REGION_FLAG_READ_MASK 0x1u
#define RP_VFU_REGION_FLAG_WRITE_MASK 0x2u
#define RP_VFU_REGION_FLAG_MMAP_MASK 0x4u
#define RP_VFU_REGION_FLAG_CAPS_MASK 0x8u

struct rp_vfu_wire_region_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t cap_offset_bytes;
	uint64_t size_bytes;
	uint64_t offset_bytes; /* for mmap of the descriptor */
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_region_info) == 32, "region info");

/* As struct vfio_info_cap_header and vfio_region_info_cap_sparse_mmap. */
#define RP_VFU_CAP_SPARSE_MMAP 1u

struct rp_vfu_wire_cap {
	uint16_t id;
	uint16_t version;
	uint32_t next_bytes;
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_cap) == 8, "capability");

/* Behind the head of a sparse mmap capability; the areas follow. */
struct rp_vfu_wire_sparse {
	uint32_t areas_count;
	uint32_t reserved;
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_sparse) == 8, "sparse mmap");

struct rp_vfu_wire_sparse_area {
	uint64_t offset_bytes;
	uint64_t size_bytes;
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_sparse_area) == 16, "sparse area");

/* GET_REGION_IO_FDS. */
struct rp_vfu_wire_io_fds_request {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t count;
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_io_fds_request) == 16, "io fds");

#define RP_VFU_IO_FD_TYPE_IOEVENTFD 0u
#define RP_VFU_IO_FD_TYPE_IOREGIONFD 1u
#define RP_VFU_IO_FD_TYPE_SHADOW 2u /* only in DEVICE_GET_REGION_IO_FDS_PAGE */
#define RP_VFU_IO_FD_DATAMATCH_MASK 0x1u /* as KVM_IOEVENTFD_FLAG_DATAMATCH */
#define RP_VFU_IO_FD_PIO_MASK 0x2u /* as KVM_IOEVENTFD_FLAG_PIO */

struct rp_vfu_wire_io_fd {
	uint64_t offset_bytes;
	uint64_t size_bytes;
	uint32_t fd_index;
	uint32_t type;
	uint32_t flags;
	uint32_t padding; /* of a shadow: which descriptor is its memory */
	uint64_t datamatch; /* of a shadow: where in that file the value goes */
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_io_fd) == 40, "io fd");

/* DEVICE_GET_REGION_IO_FDS_PAGE; the places follow the reply. */
struct rp_vfu_wire_io_fds_page_request {
	uint32_t argsz;
	uint32_t flags; /* 0 */
	uint32_t index;
	uint32_t first; /* place to begin with */
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_io_fds_page_request) == 16, "io fds page request");

struct rp_vfu_wire_io_fds_page {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t count; /* in this reply */
	uint32_t total; /* of the region */
	uint32_t padding;
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_io_fds_page) == 24, "io fds page");

/* As struct vfio_irq_info. */
#define RP_VFU_IRQ_FLAG_EVENTFD_MASK 0x1u
#define RP_VFU_IRQ_FLAG_MASKABLE_MASK 0x2u
#define RP_VFU_IRQ_FLAG_AUTOMASKED_MASK 0x4u
#define RP_VFU_IRQ_FLAG_NORESIZE_MASK 0x8u

struct rp_vfu_wire_irq_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t count;
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_irq_info) == 16, "irq info");

/* As struct vfio_irq_set. */
#define RP_VFU_IRQ_DATA_NONE_MASK 0x1u
#define RP_VFU_IRQ_DATA_BOOL_MASK 0x2u
#define RP_VFU_IRQ_DATA_EVENTFD_MASK 0x4u
#define RP_VFU_IRQ_ACTION_MASK_MASK 0x8u
#define RP_VFU_IRQ_ACTION_UNMASK_MASK 0x10u
#define RP_VFU_IRQ_ACTION_TRIGGER_MASK 0x20u

struct rp_vfu_wire_irq_set {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t start;
	uint32_t count;
	/* data follows: nothing, a byte each, or descriptors beside the message */
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_irq_set) == 20, "irq set");

struct rp_vfu_wire_region_access {
	uint64_t offset_bytes;
	uint32_t region;
	uint32_t count_bytes;
	/* data follows in a write and in a read's reply */
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_region_access) == 16, "region access");

/* One write of a REGION_WRITE_MULTI, behind the u64 that counts them. */
struct rp_vfu_wire_region_write1 {
	uint64_t offset_bytes;
	uint32_t region;
	uint32_t count_bytes; /* at most 8 */
	uint64_t data;
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_region_write1) == 24, "region write multi");

#define RP_VFU_ACCESS1_WRITE_MASK 0x1u

/*
 * One access of a REGION_ACCESS_MULTI, behind the u64 that counts them. The reply is a u64, how many were done, and
 * a u64 for each: the first count_bytes of a read's are what was read, all others 0.
 */
struct rp_vfu_wire_region_access1 {
	uint64_t offset_bytes;
	uint32_t region;
	uint16_t count_bytes; /* at most 8 */
	uint16_t flags; /* RP_VFU_ACCESS1_* */
	uint64_t data; /* of a write */
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_region_access1) == 24, "region access multi");

/* DMA_READ and DMA_WRITE. The specification's table gives the count of a write's reply 4 bytes; peers use 8. */
struct rp_vfu_wire_dma_access {
	uint64_t iova;
	uint64_t count_bytes;
	/* data follows in a write and in a read's reply */
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_dma_access) == 16, "dma access");

/* WINDOW_READ and WINDOW_WRITE: as above, and where in the window the data is. The reply is the above. */
struct rp_vfu_wire_window_access {
	uint64_t iova;
	uint64_t count_bytes;
	uint64_t window_offset_bytes;
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_window_access) == 24, "window access");

/* As struct vfio_device_feature. */
#define RP_VFU_FEATURE_INDEX_MASK 0xffffu
#define RP_VFU_FEATURE_GET_MASK 0x10000u
#define RP_VFU_FEATURE_SET_MASK 0x20000u
#define RP_VFU_FEATURE_PROBE_MASK 0x40000u

struct rp_vfu_wire_feature {
	uint32_t argsz;
	uint32_t flags;
	/* the feature's data follows */
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_feature) == 8, "device feature");

#define RP_VFU_FEATURE_MIGRATION 1u
#define RP_VFU_FEATURE_MIG_DEVICE_STATE 2u
#define RP_VFU_FEATURE_DMA_LOGGING_START 6u
#define RP_VFU_FEATURE_DMA_LOGGING_STOP 7u
#define RP_VFU_FEATURE_DMA_LOGGING_REPORT 8u

#define RP_VFU_MIGRATION_STOP_COPY_MASK 0x1u
#define RP_VFU_MIGRATION_P2P_MASK 0x2u
#define RP_VFU_MIGRATION_PRE_COPY_MASK 0x4u

struct rp_vfu_wire_feature_migration {
	uint64_t flags;
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_feature_migration) == 8, "feature: migration");

/* As enum vfio_device_mig_state. */
enum rp_vfu_mig_state {
	RP_VFU_MIG_ERROR = 0,
	RP_VFU_MIG_STOP = 1,
	RP_VFU_MIG_RUNNING = 2,
	RP_VFU_MIG_STOP_COPY = 3,
	RP_VFU_MIG_RESUMING = 4,
	RP_VFU_MIG_RUNNING_P2P = 5, /* not used in vfio-user */
	RP_VFU_MIG_PRE_COPY = 6,
	RP_VFU_MIG_PRE_COPY_P2P = 7, /* not used in vfio-user */
	RP_VFU_MIG_STATES_COUNT,
};

struct rp_vfu_wire_mig_state {
	uint32_t device_state;
	uint32_t data_fd; /* unused in vfio-user */
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_mig_state) == 8, "feature: device state");

struct rp_vfu_wire_logging_start {
	uint64_t page_size_bytes;
	uint32_t ranges_count;
	uint32_t reserved;
	/* the ranges follow */
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_logging_start) == 16, "feature: logging start");

struct rp_vfu_wire_logging_range {
	uint64_t iova;
	uint64_t size_bytes;
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_logging_range) == 16, "logging range");

struct rp_vfu_wire_logging_report {
	uint64_t iova;
	uint64_t size_bytes;
	uint64_t page_size_bytes;
	/* the bits follow in the reply: u64 words */
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_logging_report) == 24, "feature: logging report");

struct rp_vfu_wire_mig_data {
	uint32_t argsz;
	uint32_t size_bytes;
	/* data follows in a write and in a read's reply */
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_mig_data) == 8, "migration data");

/*
 * ringpass.iommu (doc/protocol/vfio-user-iommu.md). The trailer stands behind the fixed
 * part of DMA_MAP, DMA_UNMAP, DMA_REMAP, DMA_READ, DMA_WRITE, WINDOW_READ and WINDOW_WRITE,
 * before any data; whether there is one the size of the message says.
 */
#define RP_VFU_IOMMU_PASID_MASK 0x1u /* pasid means something */
#define RP_VFU_PASID_BITS_MAX 20u
#define RP_VFU_IOMMU_PAGE_BYTES UINT64_C(4096)

struct rp_vfu_wire_pasid {
	uint32_t pasid;
	uint32_t flags; /* RP_VFU_IOMMU_PASID_MASK or 0 */
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_pasid) == 8, "pasid");

struct rp_vfu_wire_translate {
	uint64_t iova;
	uint32_t access_mask; /* RP_VFU_DMA_MAP_* */
	uint32_t reserved;
	struct rp_vfu_wire_pasid pasid;
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_translate) == 24, "translate");

#define RP_VFU_TRANSLATION_IDENTITY_MASK 0x1u

/* The reply to TRANSLATE. */
struct rp_vfu_wire_translation {
	uint64_t iova;
	uint64_t size_bytes;
	uint64_t address;
	uint32_t access_mask; /* 0: not present */
	uint32_t flags; /* RP_VFU_TRANSLATION_* */
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_translation) == 32, "translation");

#define RP_VFU_INVALIDATE_ALL_MASK 0x2u /* every address; beside RP_VFU_IOMMU_PASID_MASK */
#define RP_VFU_INVALIDATE_PASIDS_MASK 0x4u /* every PASID, and none */

struct rp_vfu_wire_invalidate {
	uint64_t tag; /* the client's; the reply repeats it, and is nothing else */
	uint64_t iova;
	uint64_t size_bytes;
	struct rp_vfu_wire_pasid pasid;
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_invalidate) == 32, "invalidate");

#define RP_VFU_PAGE_GROUP_MAX 256u /* pages of one group */

struct rp_vfu_wire_page_request {
	uint32_t group; /* the server's number of it */
	uint32_t count; /* of pages, which follow */
	struct rp_vfu_wire_pasid pasid;
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_page_request) == 16, "page request");

struct rp_vfu_wire_page {
	uint64_t iova;
	uint32_t access_mask; /* RP_VFU_DMA_MAP_* */
	uint32_t reserved;
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_page) == 16, "page");

/* The first three as in PCI Express ("PRG Response Message"). */
enum rp_vfu_page_code {
	RP_VFU_PAGE_SUCCESS = 0,
	RP_VFU_PAGE_INVALID = 1,
	RP_VFU_PAGE_FAILURE = 15,
	RP_VFU_PAGE_RESUME = 16, /* of no group: requests are served again after a failure */
};

struct rp_vfu_wire_page_response {
	uint32_t group;
	uint32_t code; /* enum rp_vfu_page_code */
} __attribute__((packed));
static_assert(sizeof(struct rp_vfu_wire_page_response) == 8, "page response");

/* Indices of a PCI device, as in linux/vfio.h. */
#define RP_VFU_PCI_BAR0_REGION 0u
#define RP_VFU_PCI_BARS_COUNT 6u
#define RP_VFU_PCI_ROM_REGION 6u
#define RP_VFU_PCI_CONFIG_REGION 7u
#define RP_VFU_PCI_REGIONS_COUNT 9u
#define RP_VFU_PCI_INTX_IRQ 0u
#define RP_VFU_PCI_MSI_IRQ 1u
#define RP_VFU_PCI_MSIX_IRQ 2u
#define RP_VFU_PCI_ERR_IRQ 3u
#define RP_VFU_PCI_REQ_IRQ 4u
#define RP_VFU_PCI_IRQS_COUNT 5u

#endif
