/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hardware.h"
#include "rp_dma_section.h"

/* From device to device: a BAR of one function at an address of another (a peer-to-peer window). */

/* QEMU's modern virtio function: BAR 4, the device's configuration, which begins with its MAC. */
#define NEIGHBOUR_BAR 4u
#define NEIGHBOUR_MAC_AT 0x2000u
#define NEIGHBOUR_IOVA 0x3000000000ull
/* In a question, RFC 826 */
#define ARP_SENDER_AT 22u
#define ARP_TARGET_AT 32u
#define MAC_BYTES 6u

static void
open_neighbour(struct hardware *neighbour)
{
	const char *device = getenv("RINGPASS_NEIGHBOUR");
	char arguments[100];

	assert_non_null(device);
	snprintf(arguments, sizeof(arguments), "vfio,device=%s", device);
	hw_check(neighbour, rp_accel_open(&hw_registry, arguments, &neighbour->accel, &neighbour->why), 0);
	neighbour->accel.ops->get_info(neighbour->accel.priv, &neighbour->info);
}

/* The neighbour's configuration, at an address of the device's. @return our own mapping of it. */
static void *
map_neighbour(struct hardware *hw, struct hardware *neighbour, size_t page_bytes)
{
	const struct rp_accel *owner = &neighbour->accel;
	struct rp_accel_region region;
	struct rp_accel_window window;
	void *bar = NULL;

	hw_check(neighbour, owner->ops->region_info(owner->priv, NEIGHBOUR_BAR, &region, &neighbour->why), 0);
	/* Its vectors are in another BAR. */
	assert_true(region.size_bytes >= NEIGHBOUR_MAC_AT + page_bytes && region.holes_count == 0);
	hw_check(neighbour,
		 owner->ops->region_window(owner->priv, NEIGHBOUR_BAR, NEIGHBOUR_MAC_AT, page_bytes, &window,
					   &neighbour->why),
		 0);
	assert_true(window.all_of_device);
	assert_int_equal(rp_dma_section_memory(window.fd, window.offset_bytes, page_bytes, page_bytes, &bar), 0);
	hw_check(hw, hw->accel.ops->peer_map(hw->accel.priv, NEIGHBOUR_IOVA, page_bytes, -1, 0, bar, &hw->why), 0);
	return bar;
}

/* With the asker's address left to the neighbour's memory, once: QEMU has one buffer for what is no RAM. */
static void
ask_by_the_neighbour(struct hardware *hw)
{
	struct ring *ring = &hw->rings[1];
	uint64_t iova = ring->buffers_iova + HEADER_BYTES;
	const struct rp_vring_part parts[] = {
		{ring->buffers_iova, HEADER_BYTES + ARP_SENDER_AT, false},
		{NEIGHBOUR_IOVA, MAC_BYTES, false},
		{iova + ARP_SENDER_AT + MAC_BYTES, ARP_BYTES - ARP_SENDER_AT - MAC_BYTES, false},
	};

	memset(ring->buffers, 0, HEADER_BYTES);
	hw_write_question(ring->buffers + HEADER_BYTES, hw->info.mac);
	assert_int_equal(rp_vring_drv_add(ring->ring, parts, sizeof(parts) / sizeof(parts[0]), ring->buffers), 0);
	hw_check(hw, hw->accel.ops->queue_kick(hw->accel.priv, 1), 0);
	hw_take_back(hw, 1);
}

/* The answer is for the neighbour's address, which the device itself fetched, and nobody wrote into the question. */
void
it_reads_its_neighbours_memory(void **state)
{
	struct hardware *hw = *state, neighbour = {.memory_fd = -1};
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t answer[ARP_BYTES];
	unsigned int i;
	void *bar;

	open_neighbour(&neighbour);
	bar = map_neighbour(hw, &neighbour, page_bytes);
	assert_memory_not_equal(neighbour.info.mac, hw->info.mac, MAC_BYTES);
	for (i = 0; i < hw_formats_count(hw); i++) {
		hw_negotiate(hw, hw_formats[i]);
		hw_check(hw, hw_net_set(hw, 1, NULL, true), 0);
		hw_start(hw, 0);
		hw_start(hw, 1);
		ask_by_the_neighbour(hw);
		assert_true(hw_receive_frame(hw, 0, HARDWARE_WAIT_MS, answer));
		assert_memory_equal(answer + ARP_TARGET_AT, neighbour.info.mac, MAC_BYTES);
		hw_check(hw, hw->accel.ops->reset(hw->accel.priv, &hw->why), 0);
	}
	hw_check(hw, hw->accel.ops->dma_unmap(hw->accel.priv, NEIGHBOUR_IOVA, page_bytes, &hw->why), 0);
	munmap(bar, page_bytes);
	rp_accel_close(&neighbour.accel);
}
