/* SPDX-License-Identifier: BSD-3-Clause */

/* The driver of the device, as the guest has one: what the rings carry, and how a chain goes out and comes back. */

#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <string.h>

#include "master.h"
#include "rp_wire_caller.h"
#include "rp_wire_clock.h"

#define RETURN_LIMIT_MS 10000u /* for a chain to come back */

int
driver_take_used(struct master_queue *queue)
{
	uint32_t written_bytes;
	void *cookie;
	int rc, count = 0;

	while ((rc = rp_vring_drv_get(queue->ring, &cookie, &written_bytes)) == 1) {
		queue->free[queue->free_count++] = (uint16_t)(uintptr_t)cookie;
		queue->chains++;
		count++;
	}
	return rc < 0 ? master_complain("ring", rc, NULL) : count;
}

static uint64_t
gpa_of(const struct master *master, const void *address)
{
	return MASTER_GPA + (uint64_t)((const uint8_t *)address - master->memory);
}

static int
kick(struct master *master, unsigned int index)
{
	struct master_queue *queue = &master->queues[index];
	struct rp_wire_why why = {0};
	int rc;

	if (!rp_vring_drv_needs_kick(queue->ring))
		return 0;
	rc = master->guest != NULL ? guest_kick(master->guest, index, &why) :
				     rp_vhu_frontend_kick(master->frontend, index);
	queue->doorbell_kicks += rc == 1;
	queue->eventfd_kicks += rc == 0;
	return rc < 0 ? master_complain("kick", rc, &why) : 0;
}

/* With a guest, the eventfd is KVM's: the guest itself says that it was interrupted. */
static void
take_interrupts(struct master *master, struct master_queue *queue)
{
	uint64_t count;

	/* The device holds it too, and may have taken out what woke us. */
	if (master->guest != NULL)
		guest_settle(master->guest);
	else if (rp_wire_caller_drain(queue->call_fd, &count) > 0)
		queue->interrupts += count;
}

int
driver_wait(struct master *master, struct master_queue *queue, uint64_t deadline_ms)
{
	int call_fd = master->guest != NULL ? guest_done_fd(master->guest) : queue->call_fd;
	struct pollfd wait[2] = {{.fd = call_fd, .events = POLLIN},
				 {.fd = rp_vhu_frontend_fd(master->frontend), .events = POLLIN}};
	uint64_t now_ms = rp_wire_clock_ms();

	if (now_ms >= deadline_ms)
		return -ETIMEDOUT;
	poll(wait, 2, (int)(deadline_ms - now_ms));
	take_interrupts(master, queue);
	return rp_vhu_frontend_process(master->frontend);
}

/* One chain out and back. */
static int
exchange(struct master *master, unsigned int index, const struct rp_vring_part *parts, uint16_t parts_count)
{
	struct master_queue *queue = &master->queues[index];
	uint64_t deadline_ms = rp_wire_clock_ms() + RETURN_LIMIT_MS;
	uintptr_t buffer = queue->free[--queue->free_count];
	int rc = rp_vring_drv_add(queue->ring, parts, parts_count, (void *)buffer);

	if (rc == 0)
		rc = kick(master, index);
	while (rc == 0) {
		rc = driver_take_used(queue);
		if (rc != 0)
			break;
		rc = driver_wait(master, queue, deadline_ms);
		if (rc < 0)
			master_complain("the device does not return what it was given", rc, NULL);
	}
	return rc < 0 ? rc : 0;
}

/* A broadcast, with an EtherType for experiments: a switch floods it, nobody answers. */
static int
send_packet(struct master *master, unsigned int index)
{
	static const uint8_t frame[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 0, 0x01, 0x88, 0xb5};
	struct master_queue *queue = &master->queues[index];
	uint8_t *at = queue->buffers + (size_t)queue->free[queue->free_count - 1] * MASTER_BUFFER_BYTES;
	struct rp_vring_part part = {
		.iova = gpa_of(master, at),
		.size_bytes = (uint32_t)(sizeof(struct virtio_net_hdr_v1) + sizeof(frame)),
	};

	memset(at, 0, sizeof(struct virtio_net_hdr_v1));
	memcpy(at + sizeof(struct virtio_net_hdr_v1), frame, sizeof(frame));
	return exchange(master, index, &part, 1);
}

static int
fill_receiver(struct master *master, unsigned int index)
{
	struct master_queue *queue = &master->queues[index];
	int rc = 0;

	for (; queue->free_count > 0; queue->free_count--) {
		uint16_t buffer = queue->free[queue->free_count - 1];
		struct rp_vring_part part = {
			.iova = gpa_of(master, queue->buffers + (size_t)buffer * MASTER_BUFFER_BYTES),
			.size_bytes = MASTER_BUFFER_BYTES,
			.device_writes = true,
		};

		rc = rp_vring_drv_add(queue->ring, &part, 1, (void *)(uintptr_t)buffer);
		if (rc < 0)
			return master_complain("receive ring", rc, NULL);
	}
	return kick(master, index);
}

/* Sector 0, and how many there are. virtio 1.2, 5.2.4 and 5.2.6. */
static int
read_sector(struct master *master)
{
	struct master_queue *queue = &master->queues[0];
	uint8_t *at = queue->buffers + (size_t)queue->free[queue->free_count - 1] * MASTER_BUFFER_BYTES;
	uint8_t *data = at + sizeof(struct virtio_blk_outhdr), *status = data + MASTER_SECTOR_BYTES;
	const struct virtio_blk_outhdr header = {.type = htole32(VIRTIO_BLK_T_IN)};
	const struct rp_vring_part parts[] = {
		{.iova = gpa_of(master, at), .size_bytes = sizeof(header)},
		{.iova = gpa_of(master, data), .size_bytes = MASTER_SECTOR_BYTES, .device_writes = true},
		{.iova = gpa_of(master, status), .size_bytes = 1, .device_writes = true},
	};
	uint64_t capacity;
	struct rp_wire_why why = {0};
	int rc = rp_vhu_frontend_get_config(master->frontend, 0, sizeof(capacity), (uint8_t *)&capacity, &why);

	if (rc < 0)
		return master_complain("configuration space", rc, &why);
	master->capacity_sectors = le64toh(capacity);
	memcpy(at, &header, sizeof(header));
	*status = 0xff;
	rc = exchange(master, 0, parts, 3);
	if (rc == 0 && *status != VIRTIO_BLK_S_OK)
		return master_complain("the device cannot read sector 0", -EIO, NULL);
	memcpy(master->sector, data, MASTER_SECTOR_BYTES);
	return rc;
}

int
driver_work(struct master *master)
{
	unsigned int i, n;
	int rc = 0;

	if (master->options->blk)
		return read_sector(master);
	for (i = 0; rc == 0 && i < master->queues_count; i += 2)
		rc = fill_receiver(master, i);
	for (n = 0; rc == 0 && n < master->options->packets; n++)
		for (i = 1; rc == 0 && i < master->queues_count; i += 2)
			rc = send_packet(master, i);
	return rc;
}
