/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hardware.h"
#include "rp_accel_hand_over.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "rp_wire_parcel.h"

/*
 * One process opens the device and starts its rings, and is gone; another one, which has only what was
 * given, goes on. In between no process has a driver of it: its rings move frames all the same.
 */

static const uint8_t mac[] = {0x52, 0x54, 0, 0xaa, 0xbb, 0xcc}, other[] = {0x52, 0x54, 0, 1, 2, 3};

/* As a guest does it, who has the page. */
struct doorbell {
	volatile uint16_t *page; /* NULL: it has a neighbour, and is nobody else's */
	size_t bytes;
};

static void
open_doorbell(struct hardware *hw, unsigned int index, struct doorbell *ret_doorbell)
{
	struct rp_accel_notify_area area;

	*ret_doorbell = (struct doorbell){NULL, 0};
	if (!hw_is_expected("RINGPASS_PAGES"))
		return;
	hw_check(hw, hw->accel.ops->queue_notify_area(hw->accel.priv, index, &area, &hw->why), 0);
	ret_doorbell->bytes = area.size_bytes;
	ret_doorbell->page =
		mmap(NULL, area.size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, area.fd, (off_t)area.offset_bytes);
	assert_true(ret_doorbell->page != MAP_FAILED);
}

/* Nobody has a driver of it; the guest asks, rings, and is answered and interrupted. */
static void
assert_answered_by_nobody(struct hardware *hw, const struct doorbell *doorbell)
{
	uint8_t answered[6];

	if (doorbell->page == NULL)
		return;
	hw_drain_interrupt(hw, 0);
	hw_ask(hw, 1, mac);
	__sync_synchronize();
	*doorbell->page = htole16(1);
	assert_true(hw_receive_answer(hw, 0, HARDWARE_WAIT_MS, answered));
	assert_memory_equal(answered, mac, sizeof(mac));
	hw_assert_interrupted(hw, 0);
	hw_take_back(hw, 1);
}

static void
go_on(struct hardware *hw, struct rp_wire_parcel *parcel)
{
	const struct rp_accel_memory memory = {MEMORY_IOVA, MEMORY_BYTES, hw->memory_fd, 0, hw->memory};
	uint64_t begun_ms = rp_wire_clock_ms();
	char arguments[100];
	unsigned int queue;

	hw_arguments(arguments);
	hw_check(hw, rp_accel_adopt(&hw_registry, arguments, parcel, &memory, 1, &hw->accel, &hw->why), 0);
	print_message("adopted in %llu ms\n", (unsigned long long)(rp_wire_clock_ms() - begun_ms));
	rp_wire_parcel_destroy(parcel);
	hw_check(hw, hw->accel.ops->process(hw->accel.priv, &hw->why), 0);
	/* What was set by the control queue before is still so, and the queue goes on. */
	hw_assert_answered(hw, 0, mac);
	hw_assert_not_answered(hw, 0, other);
	hw_check(hw, hw_net_set(hw, 1, mac, true), 0);
	hw_assert_answered(hw, 0, other);
	if ((hw->info.features_required & RING_RESET) != 0) {
		for (queue = 0; queue < 2; queue++) {
			hw_check(hw, hw_stop(hw, queue), 0);
			hw_start(hw, queue);
		}
		hw_assert_answered(hw, 0, mac);
	}
	hw_check(hw, hw->accel.ops->reset(hw->accel.priv, &hw->why), 0);
	/* It was mapped by a process that is gone. */
	hw_check(hw, hw->accel.ops->dma_unmap(hw->accel.priv, MEMORY_IOVA, MEMORY_BYTES, &hw->why), 0);
	hw_check(hw,
		 hw->accel.ops->dma_map(hw->accel.priv, MEMORY_IOVA, MEMORY_BYTES, hw->memory_fd, 0, hw->memory,
					&hw->why),
		 0);
	hw_negotiate(hw, hw->features);
	hw_start(hw, 0);
	hw_start(hw, 1);
	hw_assert_answered(hw, 0, mac);
}

static void
successor(struct hardware *hw, struct rp_wire_parcel *parcel, const struct doorbell *doorbell, pid_t predecessor,
	  int result_fd)
{
	void *state = hw;

	while (getppid() == predecessor)
		usleep(1000);
	/* The copy that fork(2) made. */
	rp_accel_leave(&hw->accel);
	assert_answered_by_nobody(hw, doorbell);
	go_on(hw, parcel);
	if (doorbell->page != NULL)
		munmap((void *)(uintptr_t)doorbell->page, doorbell->bytes);
	hw_teardown(&state);
	assert_int_equal(write(result_fd, "y", 1), 1);
	_exit(0);
}

static void
predecessor(uint64_t features, int result_fd)
{
	struct rp_wire_parcel *parcel;
	struct doorbell doorbell;
	struct hardware *hw;
	void *state;
	pid_t self = getpid(), child;

	hw_setup(&state);
	hw = state;
	hw_negotiate(hw, features);
	hw_check(hw, hw_net_set(hw, 1, mac, false), 0);
	hw_start(hw, 0);
	hw_start(hw, 1);
	hw_assert_answered(hw, 0, mac);
	open_doorbell(hw, 1, &doorbell);
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	hw_check(hw, rp_accel_give(&hw->accel, parcel, &hw->why), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		successor(hw, parcel, &doorbell, self, result_fd);
	/* Without a word to anybody. */
	_exit(0);
}

void
it_goes_on_in_another_process(void **state)
{
	unsigned int i, count = hw_is_expected("RINGPASS_PACKED") ? 2 : 1;

	(void)state;
	/* A grandchild is ours when its parent is gone. */
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	for (i = 0; i < count; i++) {
		int ends[2];
		char result = 'n';
		pid_t child;

		assert_int_equal(pipe(ends), 0);
		child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			rp_wire_fd_close(&ends[0]);
			predecessor(hw_formats[i], ends[1]);
		}
		rp_wire_fd_close(&ends[1]);
		if (read(ends[0], &result, 1) != 1)
			result = 'n';
		rp_wire_fd_close(&ends[0]);
		while (wait(NULL) > 0)
			;
		assert_int_equal(result, 'y');
	}
}
