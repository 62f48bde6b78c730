/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hardware.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"

/*
 * Run in the hardware VM by app/test/e2e/test_hardware_virtio.py. With the argument "link" it
 * prints the state of the link, and each change of it, until its standard input ends.
 */

#define WAIT_MS 20000u

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
	assert_int_equal((hw->info.features_required & RING_RESET) != 0, hw_is_expected("RINGPASS_QUEUE_RESET"));
	hw_formats_count(hw);
}

static void
frames_go_and_come(void **state)
{
	struct hardware *hw = *state;
	unsigned int i;

	for (i = 0; i < hw_formats_count(hw); i++) {
		hw_negotiate(hw, hw_formats[i]);
		hw_check(hw, hw_net_set(hw, 1, NULL, true), 0);
		hw_start(hw, 0);
		hw_start(hw, 1);
		hw_assert_answered(hw, 0, hw->info.mac);
		hw_check(hw, hw->accel.ops->reset(hw->accel.priv, &hw->why), 0);
	}
}

/* With an address of the guest's, and nothing for any other. */
static void
the_filter_is_set(void **state)
{
	static const uint8_t mac[] = {0x52, 0x54, 0, 0xaa, 0xbb, 0xcc}, other[] = {0x52, 0x54, 0, 1, 2, 3};
	struct hardware *hw = *state;
	unsigned int i;

	for (i = 0; i < hw_formats_count(hw); i++) {
		hw_negotiate(hw, hw_formats[i]);
		hw_check(hw, hw_net_set(hw, 1, mac, false), 0);
		hw_start(hw, 0);
		hw_start(hw, 1);
		hw_assert_answered(hw, 0, mac);
		hw_assert_not_answered(hw, 0, other);
		/* While rings run. */
		hw_check(hw, hw_net_set(hw, 1, mac, true), 0);
		hw_assert_answered(hw, 0, other);
		hw_check(hw, hw_net_set(hw, 1, NULL, false), 0);
		hw_assert_not_answered(hw, 0, mac);
		hw_assert_answered(hw, 0, hw->info.mac);
	}
}

/* Kept over a new negotiation. */
static void
the_filter_is_set_again(void **state)
{
	static const uint8_t mac[] = {0x52, 0x54, 0, 0xaa, 0xbb, 0xcc};
	struct hardware *hw = *state;
	unsigned int i;

	hw_check(hw, hw_net_set(hw, 1, mac, false), 0);
	for (i = 0; i < 3; i++) {
		hw_negotiate(hw, hw_formats[i % hw_formats_count(hw)]);
		hw_start(hw, 0);
		hw_start(hw, 1);
		hw_assert_answered(hw, 0, mac);
		hw_assert_not_answered(hw, 0, hw->info.mac);
	}
}

static void
queues_are_stopped_and_started(void **state)
{
	struct hardware *hw = *state;
	bool alone = (hw->info.features_required & RING_RESET) != 0;
	unsigned int i, j;

	for (i = 0; i < hw_formats_count(hw); i++) {
		hw_negotiate(hw, hw_formats[i]);
		hw_check(hw, hw_net_set(hw, 1, NULL, true), 0);
		for (j = 0; j < 5; j++) {
			hw_start(hw, 0);
			hw_start(hw, 1);
			hw_assert_answered(hw, 0, hw->info.mac);
			if (!alone) {
				hw_check(hw, hw_stop(hw, 0), -ENOTSUP);
				hw_assert_answered(hw, 0, hw->info.mac);
				hw_check(hw, hw->accel.ops->reset(hw->accel.priv, &hw->why), 0);
				hw_negotiate(hw, hw_formats[i]);
				continue;
			}
			hw_check(hw, hw_stop(hw, 0), 0);
			/* The other one goes on, and what comes for this one waits or is lost. */
			hw_send_question(hw, 1, hw->info.mac);
			hw_start(hw, 0);
			hw_assert_answered(hw, 0, hw->info.mac);
			hw_check(hw, hw_stop(hw, 1), 0);
			hw_check(hw, hw_stop(hw, 0), 0);
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

		hw_check(hw, rc, hw_is_expected("RINGPASS_PAGES") ? 0 : -ENOTSUP);
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
	hw_negotiate(hw, hw_formats[0]);
	hw_check(hw, hw_net_set(hw, 1, NULL, true), 0);
	hw_start(hw, 0);
	hw_start(hw, 1);
	rc = hw->accel.ops->dma_map(hw->accel.priv, at_iova, size_bytes, fd, 0, hva, &hw->why);
	hw_check(hw, rc, (hw->info.features_required & RING_RESET) != 0 ? 0 : -EEXIST);
	if (rc < 0)
		assert_non_null(strstr(hw->why.text, "no RING_RESET"));
	hw_assert_answered(hw, 0, hw->info.mac);
	hw_check(hw, hw_net_set(hw, 1, NULL, false), 0);
	hw_assert_answered(hw, 0, hw->info.mac);
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
	hw_negotiate(hw, hw_formats[hw_formats_count(hw) - 1]);
	hw_check(hw, hw_net_set(hw, (uint16_t)pairs_count, NULL, true), 0);
	for (pair = 0; pair < 2; pair++) {
		hw_start(hw, 2 * pair);
		hw_start(hw, 2 * pair + 1);
	}
	for (pair = 0; pair < 2; pair++) {
		uint64_t deadline_ms = rp_wire_clock_ms() + WAIT_MS;
		bool answered = false;

		hw_send_question(hw, 2 * pair + 1, hw->info.mac);
		while (!answered && rp_wire_clock_ms() < deadline_ms)
			answered = hw_receive_answer(hw, 0, 10, mac) || hw_receive_answer(hw, 2, 10, mac);
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
	hw_check(hw, rc, -EIO);
	assert_non_null(strstr(hw->why.text, "device_status: 0x4f, it asks for a reset"));
	assert_true(hw->accel.ops->is_quiet(hw->accel.priv));
}

/* The IOMMU stops the device, and the device stops. */
static void
memory_that_is_taken_away(void **state)
{
	struct hardware *hw = *state;

	hw_negotiate(hw, hw_formats[0]);
	hw_start(hw, 0);
	hw_start(hw, 1);
	hw_send_question(hw, 1, hw->info.mac);
	hw_check(hw, hw->accel.ops->dma_unmap(hw->accel.priv, MEMORY_IOVA, MEMORY_BYTES, &hw->why), 0);
	hw_check(hw, hw->accel.ops->queue_kick(hw->accel.priv, 1), 0);
	assert_fails(hw);
}

/* Of its last driver, and opened as if nothing had been. */
static void
it_is_opened_again(void **state)
{
	struct hardware *hw = *state;

	hw_negotiate(hw, hw_formats[0]);
	hw_start(hw, 0);
	rp_accel_close(&hw->accel);
	munmap(hw->memory, MEMORY_BYTES);
	rp_wire_fd_close(&hw->memory_fd);
	hw_open(hw);
	hw_negotiate(hw, hw_formats[0]);
	hw_check(hw, hw_net_set(hw, 1, NULL, true), 0);
	hw_start(hw, 0);
	hw_start(hw, 1);
	hw_assert_answered(hw, 0, hw->info.mac);
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

	hw_negotiate(hw, hw_formats[0] | STATUS);
	hw_start(hw, 0);
	print_link(hw);
	while (poll(pollfds, 2, -1) > 0 && pollfds[0].revents == 0) {
		int rc = hw->accel.ops->process(hw->accel.priv, &hw->why);

		assert_true(rc >= 0);
		if (rc == 1)
			print_link(hw);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, hw_setup, hw_teardown)

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
		TEST(it_reads_its_neighbours_memory),
		TEST(all_pairs_are_alive),
		TEST(memory_that_is_taken_away),
		TEST(it_is_opened_again),
		TEST(the_control_queue_makes_way),
		cmocka_unit_test(it_goes_on_in_another_process),
	};

	if (argc == 2 && strcmp(argv[1], "link") == 0)
		return cmocka_run_group_tests(link_tests, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
