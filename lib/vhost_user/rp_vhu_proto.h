/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VHU_PROTO_H
#define RP_VHU_PROTO_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/**
 * @file
 * The vhost-user protocol on the wire: numbers and structures, as in QEMU's
 * docs/interop/vhost-user.rst. All fields are in host byte order: both peers
 * are on one machine. Structures are copied to and from messages, never pointed
 * into.
 *
 * Threads: constant data; any thread.
 */

#define RP_VHU_QUEUES_MAX 256u /**< ring indices are eight bits on the wire */
#define RP_VHU_REGIONS_MAX 8u /**< of one SET_MEM_TABLE */
#define RP_VHU_SLOTS_MAX 32u /**< what we answer to GET_MAX_MEM_SLOTS */
#define RP_VHU_CONFIG_MAX 256u /**< bytes of configuration space in one message */

/* Header flags. */
#define RP_VHU_VERSION_MASK 0x3u
#define RP_VHU_VERSION 0x1u
#define RP_VHU_FLAG_REPLY 0x4u
#define RP_VHU_FLAG_NEED_REPLY 0x8u

/* The u64 of kick, call, err and notify messages. */
#define RP_VHU_VRING_INDEX_MASK 0xffu
#define RP_VHU_VRING_NOFD_MASK 0x100u

/* Device feature bit that opens the protocol features (and ring enabling). */
#define RP_VHU_F_PROTOCOL_FEATURES_BIT 30
#define RP_VHU_F_LOG_ALL_BIT 26

/* Virtio device feature bits that change what messages mean. */
#define RP_VHU_F_ACCESS_PLATFORM_BIT 33 /* ring addresses are IOVAs; IOTLB messages are legal */
#define RP_VHU_F_RING_PACKED_BIT 34 /* a ring's base has two halves */

/* SET_VRING_ADDR, flags. */
#define RP_VHU_VRING_ADDR_LOG_MASK 0x1u /* log writes to the used ring, at log_gpa */

/* Protocol feature bits. */
enum rp_vhu_protocol_feature_bit {
	RP_VHU_PF_MQ_BIT = 0,
	RP_VHU_PF_LOG_SHMFD_BIT = 1,
	RP_VHU_PF_RARP_BIT = 2,
	RP_VHU_PF_REPLY_ACK_BIT = 3,
	RP_VHU_PF_MTU_BIT = 4,
	RP_VHU_PF_BACKEND_REQ_BIT = 5,
	RP_VHU_PF_CROSS_ENDIAN_BIT = 6,
	RP_VHU_PF_CRYPTO_SESSION_BIT = 7,
	RP_VHU_PF_PAGEFAULT_BIT = 8,
	RP_VHU_PF_CONFIG_BIT = 9,
	RP_VHU_PF_BACKEND_SEND_FD_BIT = 10,
	RP_VHU_PF_HOST_NOTIFIER_BIT = 11,
	RP_VHU_PF_INFLIGHT_SHMFD_BIT = 12,
	RP_VHU_PF_RESET_DEVICE_BIT = 13,
	RP_VHU_PF_INBAND_NOTIFICATIONS_BIT = 14,
	RP_VHU_PF_CONFIGURE_MEM_SLOTS_BIT = 15,
	RP_VHU_PF_STATUS_BIT = 16,
	RP_VHU_PF_XEN_MMAP_BIT = 17,
	RP_VHU_PF_SHARED_OBJECT_BIT = 18,
	RP_VHU_PF_DEVICE_STATE_BIT = 19,
	RP_VHU_PF_GET_VRING_BASE_INFLIGHT_BIT = 20,
	RP_VHU_PF_GPA_ADDRESSES_BIT = 21,
	RP_VHU_PF_SHMEM_BIT = 22,
	RP_VHU_PF_VFIO_BIT = 62, /* ours, profile extended, unless told otherwise; see doc/protocol */
	RP_VHU_PF_VFIO2018_BIT = 8, /* profile vfio2018 only: what is PAGEFAULT in the others */
};

/* Requests of the frontend. */
enum rp_vhu_request {
	RP_VHU_GET_FEATURES = 1,
	RP_VHU_SET_FEATURES = 2,
	RP_VHU_SET_OWNER = 3,
	RP_VHU_RESET_OWNER = 4,
	RP_VHU_SET_MEM_TABLE = 5,
	RP_VHU_SET_LOG_BASE = 6,
	RP_VHU_SET_LOG_FD = 7,
	RP_VHU_SET_VRING_NUM = 8,
	RP_VHU_SET_VRING_ADDR = 9,
	RP_VHU_SET_VRING_BASE = 10,
	RP_VHU_GET_VRING_BASE = 11,
	RP_VHU_SET_VRING_KICK = 12,
	RP_VHU_SET_VRING_CALL = 13,
	RP_VHU_SET_VRING_ERR = 14,
	RP_VHU_GET_PROTOCOL_FEATURES = 15,
	RP_VHU_SET_PROTOCOL_FEATURES = 16,
	RP_VHU_GET_QUEUE_NUM = 17,
	RP_VHU_SET_VRING_ENABLE = 18,
	RP_VHU_SEND_RARP = 19,
	RP_VHU_NET_SET_MTU = 20,
	RP_VHU_SET_BACKEND_REQ_FD = 21,
	RP_VHU_IOTLB_MSG = 22,
	RP_VHU_SET_VRING_ENDIAN = 23,
	RP_VHU_GET_CONFIG = 24,
	RP_VHU_SET_CONFIG = 25,
	RP_VHU_CREATE_CRYPTO_SESSION = 26,
	RP_VHU_CLOSE_CRYPTO_SESSION = 27,
	RP_VHU_POSTCOPY_ADVISE = 28,
	RP_VHU_POSTCOPY_LISTEN = 29,
	RP_VHU_POSTCOPY_END = 30,
	RP_VHU_GET_INFLIGHT_FD = 31,
	RP_VHU_SET_INFLIGHT_FD = 32,
	RP_VHU_GPU_SET_SOCKET = 33,
	RP_VHU_RESET_DEVICE = 34,
	RP_VHU_VRING_KICK = 35,
	RP_VHU_GET_MAX_MEM_SLOTS = 36,
	RP_VHU_ADD_MEM_REG = 37,
	RP_VHU_REM_MEM_REG = 38,
	RP_VHU_SET_STATUS = 39,
	RP_VHU_GET_STATUS = 40,
	RP_VHU_GET_SHARED_OBJECT = 41,
	RP_VHU_SET_DEVICE_STATE_FD = 42,
	RP_VHU_CHECK_DEVICE_STATE = 43,
	RP_VHU_GET_SHMEM_CONFIG = 44,
};

/* Requests of the backend, on the backend channel. */
enum rp_vhu_backend_request {
	RP_VHU_BACKEND_IOTLB_MSG = 1,
	RP_VHU_BACKEND_CONFIG_CHANGE_MSG = 2,
	RP_VHU_BACKEND_VRING_HOST_NOTIFIER_MSG = 3,
	RP_VHU_BACKEND_VRING_CALL = 4,
	RP_VHU_BACKEND_VRING_ERR = 5,
	RP_VHU_BACKEND_SHARED_OBJECT_ADD = 6,
	RP_VHU_BACKEND_SHARED_OBJECT_REMOVE = 7,
	RP_VHU_BACKEND_SHARED_OBJECT_LOOKUP = 8,
	RP_VHU_BACKEND_SHMEM_MAP = 9,
	RP_VHU_BACKEND_SHMEM_UNMAP = 10,
	/* The VFIO extension, profile extended, unless told otherwise. */
	RP_VHU_BACKEND_VFIO_FILE = 0x5600,
	RP_VHU_BACKEND_NOTIFY_AREA = 0x5601,
	/* The VFIO extension, profile vfio2018. */
	RP_VHU_BACKEND_2018_VFIO_GROUP = 3,
	RP_VHU_BACKEND_2018_NOTIFY_AREA = 4,
};

/* What kind of file a VFIO file message brings. */
enum rp_vhu_vfio_type {
	RP_VHU_VFIO_GROUP = 0, /* /dev/vfio/GROUP, Linux Documentation/driver-api/vfio.rst */
	RP_VHU_VFIO_CDEV = 1, /* /dev/vfio/devices/vfioX */
};

/* GET_CONFIG and SET_CONFIG, flags. */
enum rp_vhu_config_flags {
	RP_VHU_CONFIG_WRITABLE = 0, /* the guest wrote */
	RP_VHU_CONFIG_MIGRATION = 1, /* fields that the guest cannot write come, too */
};

/* IOTLB messages. */
enum rp_vhu_iotlb_type {
	RP_VHU_IOTLB_MISS = 1,
	RP_VHU_IOTLB_UPDATE = 2,
	RP_VHU_IOTLB_INVALIDATE = 3,
	RP_VHU_IOTLB_ACCESS_FAIL = 4,
};
#define RP_VHU_IOTLB_READ_MASK 0x1u
#define RP_VHU_IOTLB_WRITE_MASK 0x2u

struct rp_vhu_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size_bytes; /* of the payload */
} __attribute__((packed));
static_assert(sizeof(struct rp_vhu_header) == 12, "vhost-user header");

struct rp_vhu_wire_vring_state {
	uint32_t index;
	uint32_t num;
} __attribute__((packed));
static_assert(sizeof(struct rp_vhu_wire_vring_state) == 8, "vring state");

struct rp_vhu_wire_vring_addr {
	uint32_t index;
	uint32_t flags; /* bit 0: log writes to the used ring */
	uint64_t desc_uva;
	uint64_t used_uva;
	uint64_t avail_uva;
	uint64_t log_gpa;
} __attribute__((packed));
static_assert(sizeof(struct rp_vhu_wire_vring_addr) == 40, "vring address");

struct rp_vhu_wire_region {
	uint64_t gpa;
	uint64_t size_bytes;
	uint64_t uva;
	uint64_t offset_bytes;
} __attribute__((packed));
static_assert(sizeof(struct rp_vhu_wire_region) == 32, "memory region");

struct rp_vhu_wire_mem_table {
	uint32_t count;
	uint32_t padding;
	struct rp_vhu_wire_region regions[RP_VHU_REGIONS_MAX];
} __attribute__((packed));
static_assert(sizeof(struct rp_vhu_wire_mem_table) == 8 + 8 * 32, "memory table");

struct rp_vhu_wire_mem_slot {
	uint64_t padding;
	struct rp_vhu_wire_region region;
} __attribute__((packed));
static_assert(sizeof(struct rp_vhu_wire_mem_slot) == 40, "memory slot");

struct rp_vhu_wire_log {
	uint64_t size_bytes;
	uint64_t offset_bytes;
} __attribute__((packed));
static_assert(sizeof(struct rp_vhu_wire_log) == 16, "log");

struct rp_vhu_wire_config {
	uint32_t offset_bytes;
	uint32_t size_bytes;
	uint32_t flags;
	/* size_bytes of configuration space follow */
} __attribute__((packed));
static_assert(sizeof(struct rp_vhu_wire_config) == 12, "config");

struct rp_vhu_wire_iotlb {
	uint64_t iova;
	uint64_t size_bytes;
	uint64_t uva;
	uint8_t perm;
	uint8_t type;
	uint8_t padding[6];
} __attribute__((packed));
static_assert(sizeof(struct rp_vhu_wire_iotlb) == 32, "iotlb");

struct rp_vhu_wire_area {
	uint64_t queue_flags; /* RP_VHU_VRING_INDEX_MASK, RP_VHU_VRING_NOFD_MASK */
	uint64_t size_bytes;
	uint64_t offset_bytes;
} __attribute__((packed));
static_assert(sizeof(struct rp_vhu_wire_area) == 24, "notify area");

struct rp_vhu_wire_vfio_file {
	uint64_t queue_flags; /* as in the notify area */
	uint64_t type; /* enum rp_vhu_vfio_type; 0 where there is no descriptor. Profile vfio2018 has no such field */
} __attribute__((packed));
static_assert(sizeof(struct rp_vhu_wire_vfio_file) == 16, "VFIO file");

struct rp_vhu_wire_inflight {
	uint64_t mmap_bytes;
	uint64_t mmap_offset_bytes;
	uint16_t queues_count;
	uint16_t queue_num; /* entries of each queue */
	/* QEMU's structure is padded to 24 bytes, others send 20 */
} __attribute__((packed));
static_assert(sizeof(struct rp_vhu_wire_inflight) == 20, "inflight");

#endif
