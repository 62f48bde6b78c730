/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rp_virtio.h"
#include "rp_vring_drv.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "test_support.h"

/*
 * The driver on a device that is not ours: a virtio-net function bound to vfio-pci
 * (environment: RINGPASS_DEVICE), on a network where RINGPASS_PEER answers to ARP. Run in
 * the hardware VM by app/test/e2e/test_hardware_virtio.py. RINGPASS_PACKED and the like
 * say what the function is expected to be, so that nothing is skipped unnoticed.
 *
 * With the argument "link" it prints the state of the link, and each change of it, until
 * its standard input ends.
 */

#define RING_ENTRIES 64u
#define BUFFER_BYTES 2048u
#define RINGS_MAX 4u
#define RING_BYTES 0x10000u
#define MEMORY_IOVA 0x10000000ull
#define MEMORY_BYTES (RINGS_MAX * (RING_BYTES + RING_ENTRIES * BUFFER_BYTES))
#define HEADER_BYTES 12u
#define ARP_BYTES 42u
#define WAIT_MS 20000u
#define QUIET_MS 300u

#define VERSION_1 (1ull << 32)
#define PACKED (1ull << 34)
#define RING_RESET (1ull << 40)

struct ring {
	struct rp_vring_drv *ring;
	uint8_t *buffers;
	uint64_t buffers_iova;
	int call_fd;
};

struct hardware {
	struct rp_accel accel;
	struct rp_accel_info info;
	struct rp_wire_why why;
	uint64_t features;
	int memory_fd;
	uint8_t *memory;
	struct ring rings[RINGS_MAX];
};

static bool
is_expected(const char *name)
{
	const char *value = getenv(name);

	return value != NULL && strcmp(value, "1") == 0;
}

static void
check(const struct hardware *hw, int rc, int expected)
{
	if (rc != expected)
		print_error("%d: %s\n", rc, hw->why.text);
	assert_int_equal(rc, expected);
}

static void
open_hardware(struct hardware *hw)
{
	static const struct rp_accel_driver *const drivers[] = {&rp_virtio_vfio_driver, NULL};
	static const struct rp_accel_registry registry = {.drivers = drivers};
	const char *device = getenv("RINGPASS_DEVICE");
	char arguments[100];

	assert_non_null(device);
	snprintf(arguments, sizeof(arguments), "vfio,device=%s", device);
	check(hw, rp_accel_open(&registry, arguments, &hw->accel, &hw->why), 0);
	hw->accel.ops->get_info(hw->accel.priv, &hw->info);
	hw->memory_fd = test_memfd(MEMORY_BYTES, true);
	hw->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, hw->memory_fd, 0);
	assert_true(hw->memory != MAP_FAILED);
	check(hw,
	      hw->accel.ops->dma_map(hw->accel.priv, MEMORY_IOVA, MEMORY_BYTES, hw->memory_fd, 0, hw->memory, &hw->why),
	      0);
}

static int
setup(void **state)
{
	struct hardware *hw = calloc(1, sizeof(*hw));
	unsigned int i;

	assert_non_null(hw);
	hw->memory_fd = -1;
	for (i = 0; i < RINGS_MAX; i++)
		hw->rings[i].call_fd = -1;
	*state = hw;
	open_hardware(hw);
	return 0;
}

static int
teardown(void **state)
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

static void
negotiate(struct hardware *hw, uint64_t features)
{
	hw->features = features;
	check(hw, hw->accel.ops->set_features(hw->accel.priv, features, &hw->why), 0);
}

static int
net_set(struct hardware *hw, uint16_t pairs, const uint8_t *mac, bool promiscuous)
{
	struct rp_accel_net net = {.queue_pairs = pairs, .has_mac = mac != NULL, .promiscuous = promiscuous};

	if (mac != NULL)
		memcpy(net.mac, mac, sizeof(net.mac));
	return hw->accel.ops->net_set(hw->accel.priv, &net, &hw->why);
}

/* A fresh ring in the place of queue `index`; a receive ring has all its buffers. */
static void
start(struct hardware *hw, unsigned int index)
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
	check(hw, hw->accel.ops->queue_start(hw->accel.priv, index, &config, &hw->why), 0);
	check(hw, hw->accel.ops->queue_kick(hw->accel.priv, index), 0);
}

static int
stop(struct hardware *hw, unsigned int index)
{
	uint32_t position;

	return hw->accel.ops->queue_stop(hw->accel.priv, index, &position, &hw->why);
}

/* "Who has the peer's address?", asked by mac; RFC 826 */
static void
write_question(uint8_t *frame, const uint8_t *mac)
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

static void
send_question(struct hardware *hw, unsigned int index, const uint8_t *mac)
{
	struct ring *ring = &hw->rings[index];
	uint64_t deadline_ms = rp_wire_clock_ms() + WAIT_MS;
	struct rp_vring_part part = {ring->buffers_iova, HEADER_BYTES + ARP_BYTES, false};
	uint32_t written_bytes;
	void *cookie;

	memset(ring->buffers, 0, HEADER_BYTES);
	write_question(ring->buffers + HEADER_BYTES, mac);
	assert_int_equal(rp_vring_drv_add(ring->ring, &part, 1, ring->buffers), 0);
	check(hw, hw->accel.ops->queue_kick(hw->accel.priv, index), 0);
	while (rp_vring_drv_get(ring->ring, &cookie, &written_bytes) == 0) {
		check(hw, hw->accel.ops->process(hw->accel.priv, &hw->why), 0);
		assert_true(rp_wire_clock_ms() < deadline_ms);
		usleep(1000);
	}
}

/* The address that an answer was sent to; false: there was none. */
static bool
receive_answer(struct hardware *hw, unsigned int index, unsigned int wait_ms, uint8_t *ret_mac)
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
		memcpy(ret_mac, frame, 6);
		return true;
	}
}

static void
assert_interrupted(const struct hardware *hw, unsigned int index)
{
	struct pollfd pollfd = {.fd = hw->rings[index].call_fd, .events = POLLIN};

	assert_int_equal(poll(&pollfd, 1, WAIT_MS), 1);
}

static void
assert_answered(struct hardware *hw, unsigned int rx, const uint8_t *mac)
{
	uint8_t answered[6];

	send_question(hw, rx + 1, mac);
	assert_true(receive_answer(hw, rx, WAIT_MS, answered));
	assert_memory_equal(answered, mac, 6);
	assert_interrupted(hw, rx);
}

static void
assert_not_answered(struct hardware *hw, unsigned int rx, const uint8_t *mac)
{
	uint8_t answered[6];

	send_question(hw, rx + 1, mac);
	assert_false(receive_answer(hw, rx, QUIET_MS, answered));
}

static const uint64_t formats[] = {VERSION_1, VERSION_1 | PACKED};

/* The formats that the device has. */
static unsigned int
formats_count(const struct hardware *hw)
{
	bool packed = (hw->info.features & PACKED) != 0;

	assert_int_equal(packed, is_expected("RINGPASS_PACKED"));
	return packed ? 2 : 1;
}

static void
what_it_says_about_itself(void **state)
{
	struct hardware *hw = *state;
	const char *pairs = getenv("RINGPASS_PAIRS");

	print_message("features 0x%llx, ours 0x%llx, queues %u, size %u, class %s\n",
		      (unsigned long long)hw->info.features, (unsigned long long)hw->info.features_required,
		      hw->info.queues_count, hw->info.queue_size_max, rp_accel_class_name(hw->info.class));
	assert_int_equal(hw->info.class, RP_ACCEL_CLASS_B);
	assert_true(hw->info.has_mac);
	assert_non_null(pairs);
	assert_int_equal(hw->info.queues_count, 2 * atoi(pairs));
	assert_int_equal((hw->info.features_required & RING_RESET) != 0, is_expected("RINGPASS_QUEUE_RESET"));
	formats_count(hw);
}

static void
frames_go_and_come(void **state)
{
	struct hardware *hw = *state;
	unsigned int i;

	for (i = 0; i < formats_count(hw); i++) {
		negotiate(hw, formats[i]);
		check(hw, net_set(hw, 1, NULL, true), 0);
		start(hw, 0);
		start(hw, 1);
		assert_answered(hw, 0, hw->info.mac);
		check(hw, hw->accel.ops->reset(hw->accel.priv, &hw->why), 0);
	}
}

/* With an address of the guest's, and nothing for any other. */
static void
the_filter_is_set(void **state)
{
	static const uint8_t mac[] = {0x52, 0x54, 0, 0xaa, 0xbb, 0xcc}, other[] = {0x52, 0x54, 0, 1, 2, 3};
	struct hardware *hw = *state;
	unsigned int i;

	for (i = 0; i < formats_count(hw); i++) {
		negotiate(hw, formats[i]);
		check(hw, net_set(hw, 1, mac, false), 0);
		start(hw, 0);
		start(hw, 1);
		assert_answered(hw, 0, mac);
		assert_not_answered(hw, 0, other);
		/* While rings run. */
		check(hw, net_set(hw, 1, mac, true), 0);
		assert_answered(hw, 0, other);
		check(hw, net_set(hw, 1, NULL, false), 0);
		assert_not_answered(hw, 0, mac);
		assert_answered(hw, 0, hw->info.mac);
	}
}

/* Kept over a new negotiation. */
static void
the_filter_is_set_again(void **state)
{
	static const uint8_t mac[] = {0x52, 0x54, 0, 0xaa, 0xbb, 0xcc};
	struct hardware *hw = *state;
	unsigned int i;

	check(hw, net_set(hw, 1, mac, false), 0);
	for (i = 0; i < 3; i++) {
		negotiate(hw, formats[i % formats_count(hw)]);
		start(hw, 0);
		start(hw, 1);
		assert_answered(hw, 0, mac);
		assert_not_answered(hw, 0, hw->info.mac);
	}
}

static void
queues_are_stopped_and_started(void **state)
{
	struct hardware *hw = *state;
	bool alone = (hw->info.features_required & RING_RESET) != 0;
	unsigned int i, j;

	for (i = 0; i < formats_count(hw); i++) {
		negotiate(hw, formats[i]);
		check(hw, net_set(hw, 1, NULL, true), 0);
		for (j = 0; j < 5; j++) {
			start(hw, 0);
			start(hw, 1);
			assert_answered(hw, 0, hw->info.mac);
			if (!alone) {
				check(hw, stop(hw, 0), -ENOTSUP);
				assert_answered(hw, 0, hw->info.mac);
				check(hw, hw->accel.ops->reset(hw->accel.priv, &hw->why), 0);
				negotiate(hw, formats[i]);
				continue;
			}
			check(hw, stop(hw, 0), 0);
			/* The other one goes on, and what comes for this one waits or is lost. */
			send_question(hw, 1, hw->info.mac);
			start(hw, 0);
			assert_answered(hw, 0, hw->info.mac);
			check(hw, stop(hw, 1), 0);
			check(hw, stop(hw, 0), 0);
		}
	}
}

static void
doorbells_are_handed_out_when_nobody_shares_them(void **state)
{
	struct hardware *hw = *state;
	struct rp_accel_notify_area area;
	unsigned int i;

	for (i = 0; i < hw->info.queues_count; i++) {
		int rc = hw->accel.ops->queue_notify_area(hw->accel.priv, i, &area, &hw->why);

		check(hw, rc, is_expected("RINGPASS_PAGES") ? 0 : -ENOTSUP);
		if (rc < 0)
			assert_non_null(strstr(hw->why.text, "doorbell page is shared by"));
	}
}

/* A guest gets memory at the very place; with half of all addresses it is. */
static void
the_control_queue_makes_way(void **state)
{
	struct hardware *hw = *state;
	const struct rp_dma_iova_range *range = &hw->info.iova_ranges[hw->info.iova_ranges_count - 1];
	uint64_t at_iova = range->last + 1 - (1ull << 30) - (1ull << 20);
	uint64_t size_bytes = 1ull << 20;
	int fd = test_memfd(size_bytes, true);
	void *hva = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int rc;

	assert_true(hw->info.iova_ranges_count > 0 && hva != MAP_FAILED);
	negotiate(hw, formats[0]);
	check(hw, net_set(hw, 1, NULL, true), 0);
	start(hw, 0);
	start(hw, 1);
	rc = hw->accel.ops->dma_map(hw->accel.priv, at_iova, size_bytes, fd, 0, hva, &hw->why);
	check(hw, rc, (hw->info.features_required & RING_RESET) != 0 ? 0 : -EEXIST);
	if (rc < 0)
		assert_non_null(strstr(hw->why.text, "no RING_RESET"));
	assert_answered(hw, 0, hw->info.mac);
	check(hw, net_set(hw, 1, NULL, false), 0);
	assert_answered(hw, 0, hw->info.mac);
	rp_accel_close(&hw->accel);
	munmap(hva, size_bytes);
	rp_wire_fd_close(&fd);
}

/* Each pair sends; the answers come wherever the device likes. */
static void
all_pairs_are_alive(void **state)
{
	struct hardware *hw = *state;
	unsigned int pair, pairs_count = hw->info.queues_count / 2;
	uint8_t mac[6];

	if (pairs_count < 2)
		return;
	negotiate(hw, formats[formats_count(hw) - 1]);
	check(hw, net_set(hw, (uint16_t)pairs_count, NULL, true), 0);
	for (pair = 0; pair < 2; pair++) {
		start(hw, 2 * pair);
		start(hw, 2 * pair + 1);
	}
	for (pair = 0; pair < 2; pair++) {
		uint64_t deadline_ms = rp_wire_clock_ms() + WAIT_MS;
		bool answered = false;

		send_question(hw, 2 * pair + 1, hw->info.mac);
		while (!answered && rp_wire_clock_ms() < deadline_ms)
			answered = receive_answer(hw, 0, 10, mac) || receive_answer(hw, 2, 10, mac);
		assert_true(answered);
	}
}

static void
assert_fails(struct hardware *hw)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + WAIT_MS;
	struct pollfd pollfd = {.fd = hw->accel.ops->get_fd(hw->accel.priv), .events = POLLIN};
	int rc = 0;

	/* It says so without being asked. */
	assert_int_equal(poll(&pollfd, 1, WAIT_MS), 1);
	while (rc >= 0 && rp_wire_clock_ms() < deadline_ms)
		rc = hw->accel.ops->process(hw->accel.priv, &hw->why);
	check(hw, rc, -EIO);
	assert_non_null(strstr(hw->why.text, "device_status: 0x4f, it asks for a reset"));
	assert_true(hw->accel.ops->is_quiet(hw->accel.priv));
}

/* The IOMMU stops the device, and the device stops. */
static void
memory_that_is_taken_away(void **state)
{
	struct hardware *hw = *state;

	negotiate(hw, formats[0]);
	start(hw, 0);
	start(hw, 1);
	send_question(hw, 1, hw->info.mac);
	check(hw, hw->accel.ops->dma_unmap(hw->accel.priv, MEMORY_IOVA, MEMORY_BYTES, &hw->why), 0);
	check(hw, hw->accel.ops->queue_kick(hw->accel.priv, 1), 0);
	assert_fails(hw);
}

/* Of its last driver, and opened as if nothing had been. */
static void
it_is_opened_again(void **state)
{
	struct hardware *hw = *state;

	negotiate(hw, formats[0]);
	start(hw, 0);
	rp_accel_close(&hw->accel);
	munmap(hw->memory, MEMORY_BYTES);
	rp_wire_fd_close(&hw->memory_fd);
	open_hardware(hw);
	negotiate(hw, formats[0]);
	check(hw, net_set(hw, 1, NULL, true), 0);
	start(hw, 0);
	start(hw, 1);
	assert_answered(hw, 0, hw->info.mac);
}

#define STATUS (1ull << 16)
#define LINK_AT 6u /* virtio 1.2, 5.1.4: status */
#define LINK_UP 1u

static void
print_link(struct hardware *hw)
{
	uint8_t status[2];

	assert_int_equal(hw->accel.ops->config_get(hw->accel.priv, LINK_AT, sizeof(status), status), 0);
	printf("link %s\n", (status[0] & LINK_UP) != 0 ? "up" : "down");
	fflush(stdout);
}

static void
watch_link(void **state)
{
	struct hardware *hw = *state;
	struct pollfd pollfds[] = {
		{.fd = STDIN_FILENO, .events = POLLIN},
		{.fd = hw->accel.ops->get_fd(hw->accel.priv), .events = POLLIN},
	};

	negotiate(hw, formats[0] | STATUS);
	start(hw, 0);
	print_link(hw);
	while (poll(pollfds, 2, -1) > 0 && pollfds[0].revents == 0) {
		int rc = hw->accel.ops->process(hw->accel.priv, &hw->why);

		assert_true(rc >= 0);
		if (rc == 1)
			print_link(hw);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(int argc, char **argv)
{
	const struct CMUnitTest link_tests[] = {TEST(watch_link)};
	const struct CMUnitTest tests[] = {
		TEST(what_it_says_about_itself),
		TEST(frames_go_and_come),
		TEST(the_filter_is_set),
		TEST(the_filter_is_set_again),
		TEST(queues_are_stopped_and_started),
		TEST(doorbells_are_handed_out_when_nobody_shares_them),
		TEST(all_pairs_are_alive),
		TEST(memory_that_is_taken_away),
		TEST(it_is_opened_again),
		TEST(the_control_queue_makes_way),
	};

	if (argc == 2 && strcmp(argv[1], "link") == 0)
		return cmocka_run_group_tests(link_tests, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
