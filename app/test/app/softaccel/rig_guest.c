/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include <rte_common.h>

#include "rp_wire_fd.h"
#include "rig.h"

#define CONFIG_NOTIFY_MULTIPLIER 0x70u
#define QUEUE_RESET_AT 58u

uint64_t
rig_common_read(struct rig_guest *guest, uint32_t at, uint32_t bytes)
{
	struct rp_wire_why why = {.text = ""};
	uint64_t value = 0;

	if (rp_vfu_client_region_read(guest->client, RIG_BAR_REGISTERS, at, bytes, &value, &why) < 0)
		fail_msg("%s", why.text);
	return le64toh(value);
}

void
rig_common_write(struct rig_guest *guest, uint32_t at, uint32_t bytes, uint64_t value)
{
	struct rp_wire_why why = {.text = ""};

	value = htole64(value);
	if (rp_vfu_client_region_write(guest->client, RIG_BAR_REGISTERS, at, bytes, &value, &why) < 0)
		fail_msg("%s", why.text);
}

static uint32_t
vendor_queue_at(unsigned int queue)
{
	return RIG_VENDOR + (uint32_t)sizeof(struct rp_accel_vendor_header) +
	       queue * (uint32_t)sizeof(struct rp_accel_vendor_queue);
}

void
rig_vendor_read(struct rig_guest *guest, unsigned int queue, struct rp_accel_vendor_queue *ret_queue)
{
	assert_int_equal(rp_vfu_client_region_read(guest->client, RIG_BAR_REGISTERS, vendor_queue_at(queue),
						   sizeof(*ret_queue), ret_queue, NULL),
			 0);
}

void
rig_vendor_write(struct rig_guest *guest, unsigned int queue, uint32_t field, uint32_t value)
{
	struct rp_accel_vendor_queue image;

	rig_common_write(guest, vendor_queue_at(queue) + field, sizeof(value), value);
	/* A queue by messages drains when this was answered. */
	do {
		rig_vendor_read(guest, queue, &image);
	} while (le32toh(image.control) == RP_ACCEL_VENDOR_STOPPING);
}

static void
map_part(struct rig_guest *guest, uint64_t offset_bytes, uint64_t size_bytes, bool with_file)
{
	const struct rp_vfu_client_memory memory = {
		.iova = RIG_MEMORY_IOVA + offset_bytes,
		.size_bytes = size_bytes,
		.fd = with_file ? guest->memory_fd : -1,
		.offset_bytes = with_file ? offset_bytes : 0,
		.hva = guest->memory + offset_bytes,
		.access_mask = RP_VFU_DMA_MAP_READ_MASK | RP_VFU_DMA_MAP_WRITE_MASK,
	};
	struct rp_wire_why why = {.text = ""};

	if (rp_vfu_client_dma_map_memory(guest->client, &memory, &why) < 0)
		fail_msg("%s", why.text);
}

static size_t
page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* Where page `place` of the guest's memory is in its file; the pages are as many as a power of two. */
static uint64_t
page_offset(uint32_t place)
{
	return place * 389ull % (RIG_MEMORY_BYTES / page_bytes()) * page_bytes();
}

void
rig_guest_map_page(struct rig_guest *guest, uint32_t place)
{
	struct rp_wire_why why = {.text = ""};

	if (rp_vfu_client_dma_map(guest->client, RIG_MEMORY_IOVA + place * page_bytes(), page_bytes(), guest->memory_fd,
				  page_offset(place), RP_VFU_DMA_MAP_READ_MASK | RP_VFU_DMA_MAP_WRITE_MASK, &why) < 0)
		fail_msg("%s", why.text);
}

void
rig_guest_unmap_page(struct rig_guest *guest, uint32_t place)
{
	assert_int_equal(
		rp_vfu_client_dma_unmap(guest->client, RIG_MEMORY_IOVA + place * page_bytes(), page_bytes(), NULL), 0);
}

uint32_t
rig_guest_page_of(const struct rig_guest *guest, const void *byte)
{
	return (uint32_t)((size_t)((const uint8_t *)byte - guest->memory) / page_bytes());
}

static void
map_pages(struct rig_guest *guest)
{
	uint32_t place;

	for (place = 0; place < RIG_MEMORY_BYTES / page_bytes(); place++) {
		/* What the driver has in one piece, the device has too. */
		assert_ptr_not_equal(mmap(guest->memory + place * page_bytes(), page_bytes(), PROT_READ | PROT_WRITE,
					  MAP_SHARED | MAP_FIXED, guest->memory_fd, (off_t)page_offset(place)),
				     MAP_FAILED);
		rig_guest_map_page(guest, place);
	}
}

static void
map_memory(struct rig_guest *guest)
{
	if (guest->reach == RIG_REACH_LATER)
		return;
	if (guest->reach == RIG_REACH_PAGES) {
		map_pages(guest);
		return;
	}
	if (guest->reach == RIG_REACH_ALL) {
		assert_int_equal(rp_vfu_client_dma_map(guest->client, RIG_MEMORY_IOVA, RIG_MEMORY_BYTES,
						       guest->memory_fd, 0,
						       RP_VFU_DMA_MAP_READ_MASK | RP_VFU_DMA_MAP_WRITE_MASK, NULL),
				 0);
		return;
	}
	if (guest->reach == RIG_REACH_MOST) {
		map_part(guest, 0, RIG_MEMORY_BYTES / 8 * 7, true);
		map_part(guest, RIG_MEMORY_BYTES / 8 * 7, RIG_MEMORY_BYTES / 8, false);
		return;
	}
	map_part(guest, 0, RIG_MEMORY_BYTES / 2, guest->reach == RIG_REACH_RINGS);
	map_part(guest, RIG_MEMORY_BYTES / 2, RIG_MEMORY_BYTES / 2, guest->reach == RIG_REACH_BUFFERS);
}

static void
map_doorbells(struct rig_guest *guest)
{
	struct rp_vfu_client_region region;
	void *doorbells;

	assert_int_equal(rp_vfu_client_region_info(guest->client, RIG_BAR_NOTIFY, &region, NULL), 0);
	assert_int_equal(rp_vfu_client_region_read(guest->client, RP_VFU_PCI_CONFIG_REGION, CONFIG_NOTIFY_MULTIPLIER,
						   sizeof(guest->multiplier_bytes), &guest->multiplier_bytes, NULL),
			 0);
	if (region.fd < 0)
		return;
	doorbells = mmap(NULL, region.size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, region.fd,
			 (off_t)region.fd_offset_bytes);
	assert_ptr_not_equal(doorbells, MAP_FAILED);
	guest->doorbells = doorbells;
}

void
rig_guest_connect(struct rig_guest *guest, const struct rig *rig, unsigned int function)
{
	struct rp_vfu_client_config config = guest->client_config;
	enum rig_reach reach = guest->reach;
	uint16_t queue_size = guest->queue_size == 0 ? RIG_QUEUE_SIZE : guest->queue_size;
	struct rp_wire_why why = {.text = ""};
	uint16_t command = 6; /* memory, bus master */
	unsigned int i;

	config.socket_path = rig->sockets[function];
	config.timeout_ms = 20000;
	if (guest->memory == NULL) {
		memset(guest, 0, sizeof(*guest));
		guest->reach = reach;
		guest->queue_size = queue_size;
		guest->client_config = config;
		guest->memory_fd = test_memfd(RIG_MEMORY_BYTES, true);
		guest->memory = mmap(NULL, RIG_MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, guest->memory_fd, 0);
		assert_ptr_not_equal(guest->memory, MAP_FAILED);
		for (i = 0; i < RIG_BUFFERS_COUNT; i++)
			guest->free_buffers[guest->free_count++] = (uint16_t)i;
		for (i = 0; i < RIG_QUEUES_MAX; i++)
			guest->queues[i].call_fd = -1;
	}
	if (rp_vfu_client_create(&config, NULL, NULL, &guest->client, &why) < 0)
		fail_msg("%s", why.text);
	assert_int_equal(rp_vfu_client_region_write(guest->client, RP_VFU_PCI_CONFIG_REGION, 4, 2, &command, NULL), 0);
	map_memory(guest);
	map_doorbells(guest);
}

void
rig_guest_negotiate(struct rig_guest *guest, uint64_t features)
{
	rig_common_write(guest, VIRTIO_PCI_COMMON_STATUS, 1, 0);
	rig_common_write(guest, VIRTIO_PCI_COMMON_STATUS, 1, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	rig_common_write(guest, VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
	rig_common_write(guest, VIRTIO_PCI_COMMON_GF, 4, (uint32_t)features);
	rig_common_write(guest, VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	rig_common_write(guest, VIRTIO_PCI_COMMON_GF, 4, features >> 32);
	rig_common_write(guest, VIRTIO_PCI_COMMON_STATUS, 1,
			 VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
	assert_true((rig_common_read(guest, VIRTIO_PCI_COMMON_STATUS, 1) & VIRTIO_CONFIG_S_FEATURES_OK) != 0);
	guest->features = features;
}

void
rig_guest_program(struct rig_guest *guest, unsigned int queue)
{
	struct rig_queue *state = &guest->queues[queue];
	struct rp_vring_layout layout;
	uint32_t vectors_count, flags;

	rp_vring_drv_layout(state->ring, &layout);
	if (state->call_fd < 0)
		state->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(rp_vfu_client_irq_info(guest->client, RP_VFU_PCI_MSIX_IRQ, &vectors_count, &flags, NULL), 0);
	if (vectors_count > 0)
		assert_int_equal(rp_vfu_client_irq_set(guest->client, RP_VFU_PCI_MSIX_IRQ, queue, state->call_fd, NULL),
				 0);
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
	state->notify_off = (uint16_t)rig_common_read(guest, VIRTIO_PCI_COMMON_Q_NOFF, 2);
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_SIZE, 2, layout.num);
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_MSIX, 2, queue);
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_DESCLO, 8, layout.desc_iova);
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_AVAILLO, 8, layout.avail_iova);
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_USEDLO, 8, layout.used_iova);
}

void
rig_guest_enable(struct rig_guest *guest, unsigned int queue)
{
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

void
rig_guest_queue(struct rig_guest *guest, unsigned int queue)
{
	struct rig_queue *state = &guest->queues[queue];

	state->memory = guest->memory + guest->used_bytes;
	state->memory_iova = RIG_MEMORY_IOVA + guest->used_bytes;
	guest->used_bytes += (uint32_t)rp_vring_drv_bytes(guest->queue_size, guest->features);
	assert_true(guest->used_bytes <= RIG_MEMORY_BYTES - RIG_BUFFERS_COUNT * RIG_BUFFER_BYTES);
	assert_int_equal(rp_vring_drv_create(guest->queue_size, state->memory, state->memory_iova, guest->features,
					     &state->ring),
			 0);
	rig_guest_program(guest, queue);
	rig_guest_enable(guest, queue);
	assert_int_equal(rig_common_read(guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
}

void
rig_guest_driver_ok(struct rig_guest *guest)
{
	rig_common_write(guest, VIRTIO_PCI_COMMON_STATUS, 1,
			 VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |
				 VIRTIO_CONFIG_S_DRIVER_OK);
}

void
rig_guest_start(struct rig_guest *guest, const struct rig *rig, unsigned int function, unsigned int queues,
		uint64_t features)
{
	unsigned int i;

	rig_guest_connect(guest, rig, function);
	rig_guest_negotiate(guest, features);
	for (i = 0; i < queues; i++)
		rig_guest_queue(guest, i);
	rig_guest_driver_ok(guest);
	for (i = 0; i < queues; i += 2) {
		rig_post(guest, i, RIG_QUEUE_SIZE / 2, RIG_BUFFER_BYTES);
		rig_ring(guest, i);
	}
}

void
rig_guest_serve(struct rig_guest *guest)
{
	assert_int_equal(rp_vfu_client_process(guest->client), 0);
}

void
rig_guest_disconnect(struct rig_guest *guest)
{
	struct rp_vfu_client_region region;

	if (guest->doorbells != NULL) {
		assert_int_equal(rp_vfu_client_region_info(guest->client, RIG_BAR_NOTIFY, &region, NULL), 0);
		munmap(guest->doorbells, region.size_bytes);
		guest->doorbells = NULL;
	}
	guest->client = rp_vfu_client_destroy(guest->client);
}

void
rig_guest_fini(struct rig_guest *guest)
{
	unsigned int i;

	rig_guest_disconnect(guest);
	for (i = 0; i < RIG_QUEUES_MAX; i++) {
		rp_vring_drv_destroy(guest->queues[i].ring);
		rp_wire_fd_close(&guest->queues[i].call_fd);
	}
	munmap(guest->memory, RIG_MEMORY_BYTES);
	rp_wire_fd_close(&guest->memory_fd);
	memset(guest, 0, sizeof(*guest));
}

uint64_t
rig_doorbell_at(const struct rig_guest *guest, unsigned int queue)
{
	return (uint64_t)guest->queues[queue].notify_off * guest->multiplier_bytes;
}

bool
rig_shares_doorbell(const struct rig_guest *guest)
{
	return rig_doorbell_at(guest, 0) == rig_doorbell_at(guest, 1);
}

void
rig_ring(struct rig_guest *guest, unsigned int queue)
{
	uint16_t *doorbell = (uint16_t *)(void *)(guest->doorbells + rig_doorbell_at(guest, queue));

	__atomic_store_n(doorbell, (uint16_t)queue, __ATOMIC_SEQ_CST);
}

void
rig_ring_if_wanted(struct rig_guest *guest, unsigned int queue)
{
	if (rp_vring_drv_needs_kick(guest->queues[queue].ring))
		rig_ring(guest, queue);
}

static uint32_t
buffer_offset(unsigned int buffer)
{
	return RIG_MEMORY_BYTES - (buffer + 1) * RIG_BUFFER_BYTES;
}

const void *
rig_next_buffer(const struct rig_guest *guest)
{
	return guest->memory + buffer_offset(guest->free_buffers[guest->free_count - 1]);
}

bool
rig_send_raw(struct rig_guest *guest, unsigned int queue, const void *packet, uint32_t packet_bytes)
{
	struct rp_vring_part parts[2];
	unsigned int buffer, count = 1;

	assert_true(packet_bytes <= RIG_BUFFER_BYTES && guest->free_count > 0);
	buffer = guest->free_buffers[guest->free_count - 1];
	memcpy(guest->memory + buffer_offset(buffer), packet, packet_bytes);
	parts[0] = (struct rp_vring_part){RIG_MEMORY_IOVA + buffer_offset(buffer), packet_bytes, false};
	/* The header by itself, as many drivers have it; what is shorter is sent as it is. */
	if (packet_bytes > RIG_HEADER_BYTES) {
		parts[0].size_bytes = RIG_HEADER_BYTES;
		parts[1] = (struct rp_vring_part){parts[0].iova + RIG_HEADER_BYTES, packet_bytes - RIG_HEADER_BYTES,
						  false};
		count = 2;
	}
	if (rp_vring_drv_add(guest->queues[queue].ring, parts, (uint16_t)count, (void *)(uintptr_t)buffer) < 0)
		return false;
	guest->free_count--;
	return true;
}

bool
rig_send(struct rig_guest *guest, unsigned int queue, const void *frame, uint32_t frame_bytes)
{
	uint8_t packet[RIG_BUFFER_BYTES] = {0};

	memcpy(packet + RIG_HEADER_BYTES, frame, frame_bytes);
	return rig_send_raw(guest, queue, packet, RIG_HEADER_BYTES + frame_bytes);
}

unsigned int
rig_reap(struct rig_guest *guest, unsigned int queue)
{
	unsigned int count = 0;
	uint32_t written_bytes;
	void *cookie;

	while (rp_vring_drv_get(guest->queues[queue].ring, &cookie, &written_bytes) == 1) {
		guest->free_buffers[guest->free_count++] = (uint16_t)(uintptr_t)cookie;
		count++;
	}
	return count;
}

void
rig_post(struct rig_guest *guest, unsigned int queue, unsigned int count, uint32_t bytes)
{
	struct rig_queue *state = &guest->queues[queue];

	while (state->posted_count < count) {
		unsigned int buffer = guest->free_buffers[--guest->free_count];
		const struct rp_vring_part part = {RIG_MEMORY_IOVA + buffer_offset(buffer), bytes, true};

		assert_int_equal(rp_vring_drv_add(state->ring, &part, 1, (void *)(uintptr_t)buffer), 0);
		state->posted_count++;
	}
}

uint32_t
rig_receive(struct rig_guest *guest, unsigned int queue, uint8_t *ret_packet, uint32_t room_bytes)
{
	struct rig_queue *state = &guest->queues[queue];
	unsigned int left = 1, first = 1;
	uint32_t size_bytes = 0;

	while (left > 0) {
		uint32_t written_bytes;
		unsigned int buffer;
		void *cookie;

		if (rp_vring_drv_get(state->ring, &cookie, &written_bytes) != 1) {
			assert_true(first);
			return 0;
		}
		buffer = (unsigned int)(uintptr_t)cookie;
		assert_true(size_bytes + written_bytes <= room_bytes);
		memcpy(ret_packet + size_bytes, guest->memory + buffer_offset(buffer), written_bytes);
		size_bytes += written_bytes;
		guest->free_buffers[guest->free_count++] = (uint16_t)buffer;
		state->posted_count--;
		left--;
		if (first && written_bytes > 0) {
			assert_true(written_bytes >= RIG_HEADER_BYTES);
			left = ret_packet[10] | (unsigned int)ret_packet[11] << 8;
			assert_true(left >= 1);
			left--;
		}
		first = 0;
	}
	return size_bytes;
}

uint32_t
rig_receive_wait(struct rig_guest *guest, unsigned int queue, uint8_t *ret_packet, uint32_t room_bytes)
{
	unsigned int tries;

	for (tries = 0; tries < 20000; tries++) {
		uint32_t size_bytes = rig_receive(guest, queue, ret_packet, room_bytes);

		if (size_bytes > 0)
			return size_bytes;
		usleep(100);
	}
	return 0;
}
