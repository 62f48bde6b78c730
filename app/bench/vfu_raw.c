/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <rte_pause.h>

#include "rp_wire_fd.h"
#include "vfu_raw.h"

#define DATA_MAX 64u
#define TEXT_MAX 512u

int
vfu_raw_send(int socket_fd, const void *bytes, size_t size_bytes, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	size_t sent_bytes = 0;

	while (sent_bytes < size_bytes) {
		struct iovec iov = {(uint8_t *)(uintptr_t)bytes + sent_bytes, size_bytes - sent_bytes};
		struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
		ssize_t sent;

		if (fd >= 0 && sent_bytes == 0) {
			struct cmsghdr *rights;

			memset(&control, 0, sizeof(control));
			header.msg_control = control.bytes;
			header.msg_controllen = sizeof(control.bytes);
			rights = CMSG_FIRSTHDR(&header);
			rights->cmsg_level = SOL_SOCKET;
			rights->cmsg_type = SCM_RIGHTS;
			rights->cmsg_len = CMSG_LEN(sizeof(int));
			memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
		}
		sent = sendmsg(socket_fd, &header, MSG_NOSIGNAL);
		if (sent < 0 && errno != EINTR)
			return -ENOTCONN;
		if (sent > 0)
			sent_bytes += (size_t)sent;
	}
	return 0;
}

int
vfu_raw_receive(int socket_fd, enum vfu_wait wait, void *ret_bytes, size_t size_bytes)
{
	uint8_t *bytes = ret_bytes;
	size_t got_bytes = 0;

	while (got_bytes < size_bytes) {
		struct pollfd readable = {.fd = socket_fd, .events = POLLIN};
		ssize_t got;

		if (wait == VFU_WAIT_POLL)
			(void)poll(&readable, 1, -1);
		got = recv(socket_fd, bytes + got_bytes, size_bytes - got_bytes,
			   wait == VFU_WAIT_RECV ? 0 : MSG_DONTWAIT);

		if (got == 0)
			return -ENOTCONN;
		if (got < 0 && errno != EAGAIN && errno != EINTR)
			return -ENOTCONN;
		if (got > 0)
			got_bytes += (size_t)got;
		else
			rte_pause();
	}
	return 0;
}

static struct rp_vfu_header
command_header(struct vfu_raw *raw, uint16_t command, size_t payload_bytes)
{
	return (struct rp_vfu_header){
		.id = raw->id++,
		.command = command,
		.size_bytes = (uint32_t)(sizeof(struct rp_vfu_header) + payload_bytes),
	};
}

static int
agree(struct vfu_raw *raw)
{
	static const char text[] = "{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":1048576}}";
	struct {
		struct rp_vfu_header header;
		struct rp_vfu_wire_version version;
		char text[TEXT_MAX];
	} message = {.version = {RP_VFU_VERSION_MAJOR, RP_VFU_VERSION_MINOR}};
	int rc;

	message.header = command_header(raw, RP_VFU_VERSION, sizeof(message.version) + sizeof(text));
	memcpy(message.text, text, sizeof(text));
	rc = vfu_raw_send(raw->fd, &message, message.header.size_bytes, -1);
	if (rc == 0)
		rc = vfu_raw_receive(raw->fd, VFU_WAIT_RECV, &message.header, sizeof(message.header));
	if (rc == 0 && (message.header.size_bytes < sizeof(message.header) ||
			message.header.size_bytes > sizeof(message) || message.header.error != 0))
		return -EIO;
	return rc < 0 ? rc :
			vfu_raw_receive(raw->fd, VFU_WAIT_RECV, &message.version,
					message.header.size_bytes - sizeof(message.header));
}

int
vfu_raw_connect(struct vfu_raw *raw, const char *socket_path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int rc;

	if (strlen(socket_path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, socket_path, strlen(socket_path));
	*raw = (struct vfu_raw){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	if (raw->fd < 0 || connect(raw->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		rc = -errno;
	else
		rc = agree(raw);
	if (rc < 0)
		vfu_raw_close(raw);
	return rc;
}

void
vfu_raw_close(struct vfu_raw *raw)
{
	rp_wire_fd_close(&raw->fd);
}

int
vfu_raw_region_read(struct vfu_raw *raw, uint32_t region, uint64_t offset_bytes, void *ret_bytes, uint32_t count_bytes)
{
	struct {
		struct rp_vfu_header header;
		struct rp_vfu_wire_region_access access;
		uint8_t data[DATA_MAX];
	} message = {.access = {offset_bytes, region, count_bytes}};
	int rc;

	message.header = command_header(raw, RP_VFU_REGION_READ, sizeof(message.access));
	rc = vfu_raw_send(raw->fd, &message, message.header.size_bytes, -1);
	if (rc == 0)
		rc = vfu_raw_receive(raw->fd, raw->wait, &message,
				     sizeof(message.header) + sizeof(message.access) + count_bytes);
	if (rc < 0)
		return rc;
	memcpy(ret_bytes, message.data, count_bytes);
	return message.header.error != 0 ? -EIO : 0;
}

struct map_message {
	struct rp_vfu_header header;
	struct rp_vfu_wire_dma_map map;
};

struct unmap_message {
	struct rp_vfu_header header;
	struct rp_vfu_wire_dma_unmap unmap;
};

static int
take_replies(struct vfu_raw *raw, unsigned int count, size_t reply_bytes)
{
	static uint8_t replies[VFU_RAW_IN_FLIGHT * sizeof(struct unmap_message)];
	unsigned int i;
	int rc = vfu_raw_receive(raw->fd, raw->wait, replies, count * reply_bytes);

	for (i = 0; rc == 0 && i < count; i++) {
		struct rp_vfu_header header;

		memcpy(&header, replies + i * reply_bytes, sizeof(header));
		if (header.error != 0)
			rc = -EIO;
	}
	return rc;
}

int
vfu_raw_map(struct vfu_raw *raw, const struct vfu_raw_pages *pages, unsigned int in_flight)
{
	struct map_message batch[VFU_RAW_IN_FLIGHT];
	unsigned int done, count, i;
	int rc = 0;

	for (done = 0; rc == 0 && done < pages->count; done += count) {
		count = pages->count - done < in_flight ? pages->count - done : in_flight;
		for (i = 0; rc == 0 && i < count; i++) {
			batch[i] = (struct map_message){
				.header = command_header(raw, RP_VFU_DMA_MAP, sizeof(batch[i].map)),
				.map =
					{
						.argsz = sizeof(batch[i].map),
						.flags = RP_VFU_DMA_MAP_READ_MASK | RP_VFU_DMA_MAP_WRITE_MASK,
						.iova = pages->iova + (done + i) * pages->page_bytes,
						.size_bytes = pages->page_bytes,
					},
			};
			if (pages->fd < 0)
				continue;
			/* Descriptors go with the message that they came with. */
			batch[i].map.offset_bytes = (done + i) % pages->file_pages * pages->page_bytes;
			rc = vfu_raw_send(raw->fd, &batch[i], sizeof(batch[i]), pages->fd);
		}
		if (rc == 0 && pages->fd < 0)
			rc = vfu_raw_send(raw->fd, batch, count * sizeof(batch[0]), -1);
		if (rc == 0)
			rc = take_replies(raw, count, sizeof(struct rp_vfu_header));
	}
	return rc;
}

int
vfu_raw_unmap(struct vfu_raw *raw, const struct vfu_raw_pages *pages, unsigned int in_flight)
{
	struct unmap_message batch[VFU_RAW_IN_FLIGHT];
	unsigned int done, count, i;
	int rc = 0;

	for (done = 0; rc == 0 && done < pages->count; done += count) {
		count = pages->count - done < in_flight ? pages->count - done : in_flight;
		for (i = 0; i < count; i++)
			batch[i] = (struct unmap_message){
				.header = command_header(raw, RP_VFU_DMA_UNMAP, sizeof(batch[i].unmap)),
				.unmap =
					{
						.argsz = sizeof(batch[i].unmap),
						.iova = pages->iova + (done + i) * pages->page_bytes,
						.size_bytes = pages->page_bytes,
					},
			};
		rc = vfu_raw_send(raw->fd, batch, count * sizeof(batch[0]), -1);
		if (rc == 0)
			rc = take_replies(raw, count, sizeof(struct unmap_message));
	}
	return rc;
}
