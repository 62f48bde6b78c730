/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "rp_vhu_msg.h"

#define NONE (-1)
#define CONFIG_MIN sizeof(struct rp_vhu_wire_config)
#define CONFIG_MAX (sizeof(struct rp_vhu_wire_config) + RP_VHU_CONFIG_MAX)

/* The descriptor and the bit that says "none" must agree. */
static int
check_vring_fd(const void *payload, uint32_t size_bytes, unsigned int fds_count, struct rp_wire_why *why)
{
	uint64_t value;
	bool no_fd;

	(void)size_bytes;
	memcpy(&value, payload, sizeof(value));
	no_fd = (value & RP_VHU_VRING_NOFD_MASK) != 0;
	if ((value & ~(uint64_t)(RP_VHU_VRING_INDEX_MASK | RP_VHU_VRING_NOFD_MASK)) != 0)
		return rp_wire_why_set(why, -EBADMSG, "u64: 0x%llx, expected a ring index in bits 0-7 and bit 8",
				       (unsigned long long)value);
	if (no_fd != (fds_count == 0))
		return rp_wire_why_set(why, -EBADMSG, "u64: bit 8 (no descriptor) is %d, with %u descriptors", no_fd,
				       fds_count);
	return 0;
}

static int
check_mem_table(const void *payload, uint32_t size_bytes, unsigned int fds_count, struct rp_wire_why *why)
{
	uint32_t count;

	memcpy(&count, payload, sizeof(count));
	if (count == 0 || count > RP_VHU_REGIONS_MAX)
		return rp_wire_why_set(why, -EBADMSG, "num regions: %u, expected 1 to %u", count, RP_VHU_REGIONS_MAX);
	if (count != fds_count)
		return rp_wire_why_set(why, -EBADMSG, "num regions: %u, with %u descriptors", count, fds_count);
	if (size_bytes < 8 + count * sizeof(struct rp_vhu_wire_region))
		return rp_wire_why_set(why, -EMSGSIZE, "payload: %u bytes, expected %zu for %u regions", size_bytes,
				       8 + count * sizeof(struct rp_vhu_wire_region), count);
	return 0;
}

static int
check_config(const void *payload, uint32_t size_bytes, unsigned int fds_count, struct rp_wire_why *why)
{
	struct rp_vhu_wire_config config;

	(void)fds_count;
	memcpy(&config, payload, sizeof(config));
	if (config.size_bytes == 0 || config.size_bytes > RP_VHU_CONFIG_MAX ||
	    config.offset_bytes > RP_VHU_CONFIG_MAX - config.size_bytes)
		return rp_wire_why_set(why, -EBADMSG, "config: offset %u and size %u, expected at most %u together",
				       config.offset_bytes, config.size_bytes, RP_VHU_CONFIG_MAX);
	if (config.flags > RP_VHU_CONFIG_MIGRATION)
		return rp_wire_why_set(why, -EBADMSG, "config: flags 0x%x, expected 0 (writable) or 1 (migration)",
				       config.flags);
	if (size_bytes != sizeof(config) + config.size_bytes)
		return rp_wire_why_set(why, -EMSGSIZE, "payload: %u bytes, expected %zu", size_bytes,
				       sizeof(config) + config.size_bytes);
	return 0;
}

static int
check_vfio_file(const void *payload, uint32_t size_bytes, unsigned int fds_count, struct rp_wire_why *why)
{
	struct rp_vhu_wire_vfio_file file;
	int rc = check_vring_fd(payload, size_bytes, fds_count, why);

	if (rc < 0)
		return rc;
	memcpy(&file, payload, sizeof(file));
	if (file.type > (fds_count == 0 ? 0u : (unsigned int)RP_VHU_VFIO_CDEV))
		return rp_wire_why_set(why, -EBADMSG,
				       "type: %llu, expected 0 (group) or 1 (cdev), 0 with no descriptor",
				       (unsigned long long)file.type);
	return 0;
}

static int
check_iotlb(const void *payload, uint32_t size_bytes, unsigned int fds_count, struct rp_wire_why *why)
{
	struct rp_vhu_wire_iotlb iotlb;

	(void)size_bytes, (void)fds_count;
	memcpy(&iotlb, payload, sizeof(iotlb));
	if (iotlb.type < RP_VHU_IOTLB_MISS || iotlb.type > RP_VHU_IOTLB_ACCESS_FAIL)
		return rp_wire_why_set(why, -EBADMSG, "type: %u, expected 1 to 4", iotlb.type);
	if (iotlb.perm > (RP_VHU_IOTLB_READ_MASK | RP_VHU_IOTLB_WRITE_MASK))
		return rp_wire_why_set(why, -EBADMSG, "permissions: %u, expected 0 to 3", iotlb.perm);
	return 0;
}

/* clang-format off */
const struct rp_vhu_msg_row rp_vhu_msg_rows[] = {
	/* id, name, payload min max, descriptors min max, reply, protocol feature, implemented, check */
	{RP_VHU_GET_FEATURES,          "GET_FEATURES",          0, 0, 0, 0, RP_VHU_REPLY_PAYLOAD, NONE, true, NULL},
	{RP_VHU_SET_FEATURES,          "SET_FEATURES",          8, 8, 0, 0, RP_VHU_REPLY_ACK, NONE, true, NULL},
	{RP_VHU_SET_OWNER,             "SET_OWNER",             0, 0, 0, 0, RP_VHU_REPLY_ACK, NONE, true, NULL},
	{RP_VHU_RESET_OWNER,           "RESET_OWNER",           0, 0, 0, 0, RP_VHU_REPLY_ACK, NONE, true, NULL},
	{RP_VHU_SET_MEM_TABLE,         "SET_MEM_TABLE",         8, sizeof(struct rp_vhu_wire_mem_table), 1, RP_VHU_REGIONS_MAX,
		RP_VHU_REPLY_ACK, NONE, true, check_mem_table},
	{RP_VHU_SET_LOG_BASE,          "SET_LOG_BASE",          16, 16, 1, 1, RP_VHU_REPLY_STATUS, RP_VHU_PF_LOG_SHMFD_BIT, true, NULL},
	{RP_VHU_SET_LOG_FD,            "SET_LOG_FD",            0, 8, 1, 1, RP_VHU_REPLY_ACK, NONE, true, NULL},
	{RP_VHU_SET_VRING_NUM,         "SET_VRING_NUM",         8, 8, 0, 0, RP_VHU_REPLY_ACK, NONE, true, NULL},
	{RP_VHU_SET_VRING_ADDR,        "SET_VRING_ADDR",        40, 40, 0, 0, RP_VHU_REPLY_ACK, NONE, true, NULL},
	{RP_VHU_SET_VRING_BASE,        "SET_VRING_BASE",        8, 8, 0, 0, RP_VHU_REPLY_ACK, NONE, true, NULL},
	{RP_VHU_GET_VRING_BASE,        "GET_VRING_BASE",        8, 8, 0, 0, RP_VHU_REPLY_PAYLOAD, NONE, true, NULL},
	{RP_VHU_SET_VRING_KICK,        "SET_VRING_KICK",        8, 8, 0, 1, RP_VHU_REPLY_ACK, NONE, true, check_vring_fd},
	{RP_VHU_SET_VRING_CALL,        "SET_VRING_CALL",        8, 8, 0, 1, RP_VHU_REPLY_ACK, NONE, true, check_vring_fd},
	{RP_VHU_SET_VRING_ERR,         "SET_VRING_ERR",         8, 8, 0, 1, RP_VHU_REPLY_ACK, NONE, true, check_vring_fd},
	{RP_VHU_GET_PROTOCOL_FEATURES, "GET_PROTOCOL_FEATURES", 0, 0, 0, 0, RP_VHU_REPLY_PAYLOAD, NONE, true, NULL},
	{RP_VHU_SET_PROTOCOL_FEATURES, "SET_PROTOCOL_FEATURES", 8, 8, 0, 0, RP_VHU_REPLY_ACK, NONE, true, NULL},
	{RP_VHU_GET_QUEUE_NUM,         "GET_QUEUE_NUM",         0, 0, 0, 0, RP_VHU_REPLY_PAYLOAD, RP_VHU_PF_MQ_BIT, true, NULL},
	{RP_VHU_SET_VRING_ENABLE,      "SET_VRING_ENABLE",      8, 8, 0, 0, RP_VHU_REPLY_ACK, NONE, true, NULL},
	{RP_VHU_SEND_RARP,             "SEND_RARP",             8, 8, 0, 0, RP_VHU_REPLY_ACK, RP_VHU_PF_RARP_BIT, true, NULL},
	{RP_VHU_NET_SET_MTU,           "NET_SET_MTU",           8, 8, 0, 0, RP_VHU_REPLY_ACK, RP_VHU_PF_MTU_BIT, true, NULL},
	{RP_VHU_SET_BACKEND_REQ_FD,    "SET_BACKEND_REQ_FD",    0, 0, 1, 1, RP_VHU_REPLY_ACK, RP_VHU_PF_BACKEND_REQ_BIT, true, NULL},
	{RP_VHU_IOTLB_MSG,             "IOTLB_MSG",             32, 32, 0, 0, RP_VHU_REPLY_ACK, NONE, true, check_iotlb},
	{RP_VHU_SET_VRING_ENDIAN,      "SET_VRING_ENDIAN",      8, 8, 0, 0, RP_VHU_REPLY_ACK, RP_VHU_PF_CROSS_ENDIAN_BIT, false, NULL},
	{RP_VHU_GET_CONFIG,            "GET_CONFIG",            CONFIG_MIN, CONFIG_MAX, 0, 0, RP_VHU_REPLY_PAYLOAD, RP_VHU_PF_CONFIG_BIT,
		true, check_config},
	{RP_VHU_SET_CONFIG,            "SET_CONFIG",            CONFIG_MIN, CONFIG_MAX, 0, 0, RP_VHU_REPLY_ACK, RP_VHU_PF_CONFIG_BIT,
		true, check_config},
	{RP_VHU_CREATE_CRYPTO_SESSION, "CREATE_CRYPTO_SESSION", 0, 1024, 0, 0, RP_VHU_REPLY_PAYLOAD, RP_VHU_PF_CRYPTO_SESSION_BIT, false, NULL},
	{RP_VHU_CLOSE_CRYPTO_SESSION,  "CLOSE_CRYPTO_SESSION",  8, 8, 0, 0, RP_VHU_REPLY_ACK, RP_VHU_PF_CRYPTO_SESSION_BIT, false, NULL},
	{RP_VHU_POSTCOPY_ADVISE,       "POSTCOPY_ADVISE",       0, 0, 0, 0, RP_VHU_REPLY_PAYLOAD, RP_VHU_PF_PAGEFAULT_BIT, false, NULL},
	{RP_VHU_POSTCOPY_LISTEN,       "POSTCOPY_LISTEN",       0, 0, 0, 0, RP_VHU_REPLY_ACK, RP_VHU_PF_PAGEFAULT_BIT, false, NULL},
	{RP_VHU_POSTCOPY_END,          "POSTCOPY_END",          0, 0, 0, 0, RP_VHU_REPLY_PAYLOAD, RP_VHU_PF_PAGEFAULT_BIT, false, NULL},
	{RP_VHU_GET_INFLIGHT_FD,       "GET_INFLIGHT_FD",       20, 24, 0, 0, RP_VHU_REPLY_PAYLOAD, RP_VHU_PF_INFLIGHT_SHMFD_BIT, true, NULL},
	{RP_VHU_SET_INFLIGHT_FD,       "SET_INFLIGHT_FD",       20, 24, 1, 1, RP_VHU_REPLY_ACK, RP_VHU_PF_INFLIGHT_SHMFD_BIT, true, NULL},
	{RP_VHU_GPU_SET_SOCKET,        "GPU_SET_SOCKET",        0, 0, 1, 1, RP_VHU_REPLY_ACK, NONE, false, NULL},
	{RP_VHU_RESET_DEVICE,          "RESET_DEVICE",          0, 0, 0, 0, RP_VHU_REPLY_ACK, RP_VHU_PF_RESET_DEVICE_BIT, true, NULL},
	{RP_VHU_VRING_KICK,            "VRING_KICK",            8, 8, 0, 0, RP_VHU_REPLY_ACK, RP_VHU_PF_INBAND_NOTIFICATIONS_BIT, false, NULL},
	{RP_VHU_GET_MAX_MEM_SLOTS,     "GET_MAX_MEM_SLOTS",     0, 0, 0, 0, RP_VHU_REPLY_PAYLOAD, RP_VHU_PF_CONFIGURE_MEM_SLOTS_BIT, true, NULL},
	{RP_VHU_ADD_MEM_REG,           "ADD_MEM_REG",           40, 40, 1, 1, RP_VHU_REPLY_ACK, RP_VHU_PF_CONFIGURE_MEM_SLOTS_BIT, true, NULL},
	{RP_VHU_REM_MEM_REG,           "REM_MEM_REG",           40, 40, 0, 1, RP_VHU_REPLY_ACK, RP_VHU_PF_CONFIGURE_MEM_SLOTS_BIT, true, NULL},
	{RP_VHU_SET_STATUS,            "SET_STATUS",            8, 8, 0, 0, RP_VHU_REPLY_ACK, RP_VHU_PF_STATUS_BIT, true, NULL},
	{RP_VHU_GET_STATUS,            "GET_STATUS",            0, 0, 0, 0, RP_VHU_REPLY_PAYLOAD, RP_VHU_PF_STATUS_BIT, true, NULL},
	{RP_VHU_GET_SHARED_OBJECT,     "GET_SHARED_OBJECT",     16, 16, 0, 0, RP_VHU_REPLY_PAYLOAD, RP_VHU_PF_SHARED_OBJECT_BIT, false, NULL},
	{RP_VHU_SET_DEVICE_STATE_FD,   "SET_DEVICE_STATE_FD",   8, 8, 1, 1, RP_VHU_REPLY_PAYLOAD, RP_VHU_PF_DEVICE_STATE_BIT, false, NULL},
	{RP_VHU_CHECK_DEVICE_STATE,    "CHECK_DEVICE_STATE",    0, 0, 0, 0, RP_VHU_REPLY_PAYLOAD, RP_VHU_PF_DEVICE_STATE_BIT, false, NULL},
	{RP_VHU_GET_SHMEM_CONFIG,      "GET_SHMEM_CONFIG",      0, 0, 0, 0, RP_VHU_REPLY_PAYLOAD, RP_VHU_PF_SHMEM_BIT, false, NULL},
};

const struct rp_vhu_msg_row rp_vhu_msg_backend_rows[] = {
	{RP_VHU_BACKEND_IOTLB_MSG,               "BACKEND_IOTLB_MSG",               32, 32, 0, 0, RP_VHU_REPLY_ACK, NONE, true, check_iotlb},
	{RP_VHU_BACKEND_CONFIG_CHANGE_MSG,       "BACKEND_CONFIG_CHANGE_MSG",       0, 0, 0, 0, RP_VHU_REPLY_ACK, RP_VHU_PF_CONFIG_BIT, true, NULL},
	{RP_VHU_BACKEND_VRING_HOST_NOTIFIER_MSG, "BACKEND_VRING_HOST_NOTIFIER_MSG", 24, 24, 0, 1, RP_VHU_REPLY_ACK,
		RP_VHU_PF_HOST_NOTIFIER_BIT, true, check_vring_fd},
	{RP_VHU_BACKEND_VRING_CALL,              "BACKEND_VRING_CALL",              8, 8, 0, 0, RP_VHU_REPLY_ACK,
		RP_VHU_PF_INBAND_NOTIFICATIONS_BIT, false, NULL},
	{RP_VHU_BACKEND_VRING_ERR,               "BACKEND_VRING_ERR",               8, 8, 0, 0, RP_VHU_REPLY_ACK,
		RP_VHU_PF_INBAND_NOTIFICATIONS_BIT, false, NULL},
	{RP_VHU_BACKEND_SHARED_OBJECT_ADD,       "BACKEND_SHARED_OBJECT_ADD",       16, 16, 0, 0, RP_VHU_REPLY_ACK,
		RP_VHU_PF_SHARED_OBJECT_BIT, false, NULL},
	{RP_VHU_BACKEND_SHARED_OBJECT_REMOVE,    "BACKEND_SHARED_OBJECT_REMOVE",    16, 16, 0, 0, RP_VHU_REPLY_ACK,
		RP_VHU_PF_SHARED_OBJECT_BIT, false, NULL},
	{RP_VHU_BACKEND_SHARED_OBJECT_LOOKUP,    "BACKEND_SHARED_OBJECT_LOOKUP",    16, 16, 0, 0, RP_VHU_REPLY_PAYLOAD,
		RP_VHU_PF_SHARED_OBJECT_BIT, false, NULL},
	{RP_VHU_BACKEND_SHMEM_MAP,               "BACKEND_SHMEM_MAP",               40, 40, 1, 1, RP_VHU_REPLY_ACK,
		RP_VHU_PF_SHMEM_BIT, false, NULL},
	{RP_VHU_BACKEND_SHMEM_UNMAP,             "BACKEND_SHMEM_UNMAP",             40, 40, 0, 0, RP_VHU_REPLY_ACK,
		RP_VHU_PF_SHMEM_BIT, false, NULL},
};

const struct rp_vhu_msg_row rp_vhu_msg_vfio_rows[] = {
	[RP_VHU_MSG_VFIO_FILE] =        {RP_VHU_BACKEND_VFIO_FILE,        "BACKEND_VFIO_FILE",   16, 16, 0, 1, RP_VHU_REPLY_ACK,
		RP_VHU_PF_VFIO_BIT, true, check_vfio_file},
	[RP_VHU_MSG_NOTIFY_AREA] =      {RP_VHU_BACKEND_NOTIFY_AREA,      "BACKEND_NOTIFY_AREA", 24, 24, 0, 1, RP_VHU_REPLY_ACK,
		RP_VHU_PF_VFIO_BIT, true, check_vring_fd},
	[RP_VHU_MSG_2018_VFIO_GROUP] =  {RP_VHU_BACKEND_2018_VFIO_GROUP,  "SLAVE_VRING_VFIO_GROUP_MSG",  8, 8, 0, 1, RP_VHU_REPLY_ACK,
		RP_VHU_PF_VFIO2018_BIT, true, check_vring_fd},
	[RP_VHU_MSG_2018_NOTIFY_AREA] = {RP_VHU_BACKEND_2018_NOTIFY_AREA, "SLAVE_VRING_NOTIFY_AREA_MSG", 24, 24, 0, 1, RP_VHU_REPLY_ACK,
		RP_VHU_PF_VFIO2018_BIT, true, check_vring_fd},
};
/* clang-format on */

const unsigned int rp_vhu_msg_rows_count = sizeof(rp_vhu_msg_rows) / sizeof(rp_vhu_msg_rows[0]);
const unsigned int rp_vhu_msg_backend_rows_count = sizeof(rp_vhu_msg_backend_rows) / sizeof(rp_vhu_msg_backend_rows[0]);

#define BIT(n) (1ull << (n))

const uint64_t rp_vhu_msg_protocol_features =
	BIT(RP_VHU_PF_MQ_BIT) | BIT(RP_VHU_PF_LOG_SHMFD_BIT) | BIT(RP_VHU_PF_RARP_BIT) | BIT(RP_VHU_PF_REPLY_ACK_BIT) |
	BIT(RP_VHU_PF_MTU_BIT) | BIT(RP_VHU_PF_BACKEND_REQ_BIT) | BIT(RP_VHU_PF_CONFIG_BIT) |
	BIT(RP_VHU_PF_BACKEND_SEND_FD_BIT) | BIT(RP_VHU_PF_HOST_NOTIFIER_BIT) | BIT(RP_VHU_PF_RESET_DEVICE_BIT) |
	BIT(RP_VHU_PF_CONFIGURE_MEM_SLOTS_BIT) | BIT(RP_VHU_PF_STATUS_BIT) | BIT(RP_VHU_PF_INFLIGHT_SHMFD_BIT) |
	BIT(RP_VHU_PF_GET_VRING_BASE_INFLIGHT_BIT);

static const struct rp_vhu_msg_row *
find(const struct rp_vhu_msg_row *rows, unsigned int count, uint32_t request)
{
	/* Ids are dense and begin at 1; a test holds the table to it. */
	return request >= 1 && request <= count ? &rows[request - 1] : NULL;
}

const struct rp_vhu_msg_row *
rp_vhu_msg_find(uint32_t request)
{
	return find(rp_vhu_msg_rows, rp_vhu_msg_rows_count, request);
}

const struct rp_vhu_msg_row *
rp_vhu_msg_find_backend(uint32_t request)
{
	return find(rp_vhu_msg_backend_rows, rp_vhu_msg_backend_rows_count, request);
}
