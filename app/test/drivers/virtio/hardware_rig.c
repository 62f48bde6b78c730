/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hardware.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"

#define QUIET_MS 300u

bool
hw_is_expected(const char *name)
{
	const char *value = getenv(name);

	return value != NULL && strcmp(value, "1") == 0;
}

void
hw_check(const struct hardware *hw, int rc, int expected)
{
	if (rc != expected)
		print_error("%d: %s\n", rc, hw->why.text);
	assert_int_equal(rc, expected);
}

static const struct rp_accel_driver *const drivers[] = {&rp_virtio_vfio_driver, NULL};
const struct rp_accel_registry hw_registry = {.drivers = drivers};

void
hw_arguments(char ret_arguments[100])
{
	const char *device = getenv("RINGPASS_DEVICE");

	assert_non_null(device);
	snprintf(ret_arguments, 100, "vfio,device=%s", device);
}

void
hw_open(struct hardware *hw)
{
	char arguments[100];

	hw_arguments(arguments);
	hw_check(hw, rp_accel_open(&hw_registry, arguments, &hw->accel, &hw->why), 0);
	hw->accel.ops->get_info(hw->accel.priv, &hw->info);
	hw->memory_fd = test_memfd(MEMORY_BYTES, true);
	hw->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, hw->memory_fd, 0);
	assert_true(hw->memory != MAP_FAILED);
	hw_check(hw,
		 hw->accel.ops->dma_map(hw->accel.priv, MEMORY_IOVA, MEMORY_BYTES, hw->memory_fd, 0, hw->memory,
					&hw->why),
		 0);
}

int
hw_setup(void **state)
{
	struct hardware *hw = calloc(1, sizeof(*hw));
	unsigned int i;

	assert_non_null(hw);
	hw->memory_fd = -1;
	for (i = 0; i < RINGS_MAX; i++)
		hw->rings[i].call_fd = -1;
	*state = hw;
	hw_open(hw);
	return 0;
}

int
hw_teardown(void **state)
{
	struct hardware *hw = *state;
	unsigned int i;

	rp_accel_close(&hw->accel);
	for (i = 0; i < RINGS_MAX; i++) {
		rp_vring_drv_destroy(hw->rings[i].ring);
		rp_wire_fd_close(&hw->rings[i].call_fd);
	}
	if (hw->memory != NULL)
		munmap(hw->memory, MEMORY_BYTES);
	rp_wire_fd_close(&hw->memory_fd);
	free(hw);
	return 0;
}

void
hw_negotiate(struct hardware *hw, uint64_t features)
{
	hw->features = features;
	hw_check(hw, hw->accel.ops->set_features(hw->accel.priv, features, &hw->why), 0);
}

int
hw_net_set(struct hardware *hw, uint16_t pairs, const uint8_t *mac, bool promiscuous)
{
	struct rp_accel_net net = {.queue_pairs = pairs, .has_mac = mac != NULL, .promiscuous = promiscuous};

	if (mac != NULL)
		memcpy(net.mac, mac, sizeof(net.mac));
	return hw->accel.ops->net_set(hw->accel.priv, &net, &hw->why);
}

/* A fresh ring in the place of queue `index`; a receive ring has all its buffers. */
void
hw_start(struct hardware *hw, unsigned int index)
{
	struct ring *ring = &hw->rings[index];
	uint8_t *memory = hw->memory + index * (RING_BYTES + RING_ENTRIES * BUFFER_BYTES);
	uint64_t iova = MEMORY_IOVA + (uint64_t)(memory - hw->memory);
	struct rp_accel_queue_config config = {.num = RING_ENTRIES, .position = rp_vring_position_fresh(hw->features)};
	struct rp_vring_layout layout;
	unsigned int i;

	ring->ring = rp_vring_drv_destroy(ring->ring);
	assert_int_equal(rp_vring_drv_create(RING_ENTRIES, memory, iova, hw->features, &ring->ring), 0);
	ring->buffers = memory + RING_BYTES;
	ring->buffers_iova = iova + RING_BYTES;
	if (ring->call_fd < 0)
		ring->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (i = 0; index % 2 == 0 && i < RING_ENTRIES / 2; i++) {
		struct rp_vring_part part = {ring->buffers_iova + i * BUFFER_BYTES, BUFFER_BYTES, true};

		assert_int_equal(rp_vring_drv_add(ring->ring, &part, 1, ring->buffers + i * BUFFER_BYTES), 0);
	}
	rp_vring_drv_layout(ring->ring, &layout);
	config.desc_iova = layout.desc_iova;
	config.avail_iova = layout.avail_iova;
	config.used_iova = layout.used_iova;
	config.call_fd = ring->call_fd;
	hw_check(hw, hw->accel.ops->queue_start(hw->accel.priv, index, &config, &hw->why), 0);
	hw_check(hw, hw->accel.ops->queue_kick(hw->accel.priv, index), 0);
}

int
hw_stop(struct hardware *hw, unsigned int index)
{
	uint32_t position;

	return hw->accel.ops->queue_stop(hw->accel.priv, index, &position, &hw->why);
}

void
hw_write_question(uint8_t *frame, const uint8_t *mac)
{
	const char *peer = getenv("RINGPASS_PEER");
	struct in_addr address;
	static const uint8_t fixed[ARP_BYTES] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0,  0, 0, 0,  0, 8, 6, 0, 1, 8, 0,  6, 4, 0,
		1,    0,    0,	  0,	0,    0,    0, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2,
	};

	memcpy(frame, fixed, sizeof(fixed));
	memcpy(frame + 6, mac, 6);
	memcpy(frame + 22, mac, 6);
	assert_non_null(peer);
	assert_int_equal(inet_pton(AF_INET, peer, &address), 1);
	memcpy(frame + 38, &address, 4);
	memcpy(frame + 28, &address, 3);
	frame[31] = 77;
}

void
hw_ask(struct hardware *hw, unsigned int index, const uint8_t *mac)
{
	struct ring *ring = &hw->rings[index];
	struct rp_vring_part part = {ring->buffers_iova, HEADER_BYTES + ARP_BYTES, false};

	memset(ring->buffers, 0, HEADER_BYTES);
	hw_write_question(ring->buffers + HEADER_BYTES, mac);
	assert_int_equal(rp_vring_drv_add(ring->ring, &part, 1, ring->buffers), 0);
}

void
hw_take_back(struct hardware *hw, unsigned int index)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + HARDWARE_WAIT_MS;
	uint32_t written_bytes;
	void *cookie;

	while (rp_vring_drv_get(hw->rings[index].ring, &cookie, &written_bytes) == 0) {
		if (hw->accel.ops != NULL)
			hw_check(hw, hw->accel.ops->process(hw->accel.priv, &hw->why), 0);
		assert_true(rp_wire_clock_ms() < deadline_ms);
		usleep(1000);
	}
}

void
hw_send_question(struct hardware *hw, unsigned int index, const uint8_t *mac)
{
	hw_ask(hw, index, mac);
	hw_check(hw, hw->accel.ops->queue_kick(hw->accel.priv, index), 0);
	hw_take_back(hw, index);
}

bool
hw_receive_frame(struct hardware *hw, unsigned int index, unsigned int wait_ms, uint8_t *ret_frame)
{
	struct ring *ring = &hw->rings[index];
	uint64_t deadline_ms = rp_wire_clock_ms() + wait_ms;

	for (;;) {
		uint32_t written_bytes;
		void *cookie;
		const uint8_t *frame;
		int rc = rp_vring_drv_get(ring->ring, &cookie, &written_bytes);

		assert_true(rc >= 0);
		if (rc == 0 && rp_wire_clock_ms() >= deadline_ms)
			return false;
		if (rc == 0) {
			usleep(1000);
			continue;
		}
		frame = (const uint8_t *)cookie + HEADER_BYTES;
		/* An ARP answer */
		if (written_bytes < HEADER_BYTES + ARP_BYTES || frame[12] != 8 || frame[13] != 6 || frame[21] != 2)
			continue;
		memcpy(ret_frame, frame, ARP_BYTES);
		return true;
	}
}

bool
hw_receive_answer(struct hardware *hw, unsigned int index, unsigned int wait_ms, uint8_t *ret_mac)
{
	uint8_t frame[ARP_BYTES];

	if (!hw_receive_frame(hw, index, wait_ms, frame))
		return false;
	memcpy(ret_mac, frame, 6);
	return true;
}

void
hw_drain_interrupt(const struct hardware *hw, unsigned int index)
{
	eventfd_t count;

	(void)eventfd_read(hw->rings[index].call_fd, &count);
}

void
hw_assert_interrupted(const struct hardware *hw, unsigned int index)
{
	struct pollfd pollfd = {.fd = hw->rings[index].call_fd, .events = POLLIN};

	assert_int_equal(poll(&pollfd, 1, HARDWARE_WAIT_MS), 1);
}

void
hw_assert_answered(struct hardware *hw, unsigned int rx, const uint8_t *mac)
{
	uint8_t answered[6];

	hw_send_question(hw, rx + 1, mac);
	assert_true(hw_receive_answer(hw, rx, HARDWARE_WAIT_MS, answered));
	assert_memory_equal(answered, mac, 6);
	hw_assert_interrupted(hw, rx);
}

void
hw_assert_not_answered(struct hardware *hw, unsigned int rx, const uint8_t *mac)
{
	uint8_t answered[6];

	hw_send_question(hw, rx + 1, mac);
	assert_false(hw_receive_answer(hw, rx, QUIET_MS, answered));
}

const uint64_t hw_formats[] = {VERSION_1, VERSION_1 | PACKED};

/* The formats that the device has. */
unsigned int
hw_formats_count(const struct hardware *hw)
{
	bool packed = (hw->info.features & PACKED) != 0;

	assert_int_equal(packed, hw_is_expected("RINGPASS_PACKED"));
	return packed ? 2 : 1;
}
