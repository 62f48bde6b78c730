/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include <endian.h>
#include <sys/eventfd.h>

#include <rte_lcore.h>

#include "moves_rig.h"

/* How often the other accelerator has its turn while it has no part in what is measured. */
#define SELDOM 64u

/* Behind the rings: a buffer for each entry of the receive ring, and a frame that is sent again and again. */
static uint64_t
buffer_iova(uintptr_t slot)
{
	return MOVES_GPA + MOVES_RINGS_BYTES + slot * MOVES_BUFFER_BYTES;
}

/* All that the guest has, it gives. */
static int
give(struct moves_rig *rig, unsigned int queue, uintptr_t slot)
{
	const struct rp_vring_part part = {
		.iova = buffer_iova(slot),
		.size_bytes = queue == MOVES_RX ? MOVES_BUFFER_BYTES : MOVES_FRAME_BYTES,
		.device_writes = queue == MOVES_RX,
	};

	/* No cookie of slot 0 is NULL. */
	return rp_vring_drv_add(rig->rings[queue], &part, 1, (void *)(slot + 1));
}

static int
drive(struct moves_rig *rig, unsigned int queue)
{
	uint32_t written_bytes;
	unsigned int i;
	void *cookie;
	int rc = 0;

	for (i = 0; i < MOVES_BURST && (rc = rp_vring_drv_get(rig->rings[queue], &cookie, &written_bytes)) == 1; i++) {
		rc = give(rig, queue, (uintptr_t)cookie - 1);
		if (rc < 0)
			return rc;
	}
	if (i > 0 && rp_vring_drv_needs_kick(rig->rings[queue]))
		eventfd_write(rig->kick_fd, 1);
	return rc < 0 ? rc : 0;
}

static void
look(struct moves_rig *rig, enum moves_owner owner)
{
	const uint64_t now_ns = bench_now_ns();
	unsigned int queue;

	for (queue = 0; queue < MOVES_QUEUES; queue++)
		moves_book_look(&rig->books[queue],
				le16toh(__atomic_load_n(rig->used_indices[queue], __ATOMIC_ACQUIRE)), owner, now_ns);
}

static void
serve(struct moves_rig *rig)
{
	unsigned int queue;
	int rc = 0;

	softaccel_poll(rig->accelerators[0].accel);
	look(rig, MOVES_HARDWARE);
	if (rig->turns++ % (__atomic_load_n(&rig->both, __ATOMIC_RELAXED) ? 1 : SELDOM) == 0) {
		softaccel_poll(rig->accelerators[1].accel);
		look(rig, MOVES_OTHER_HARDWARE);
	}
	moves_software_poll(&rig->software);
	look(rig, MOVES_SOFTWARE);
	for (queue = 0; rc == 0 && queue < MOVES_QUEUES; queue++)
		rc = drive(rig, queue);
	if (rc < 0)
		__atomic_store_n(&rig->broken, rc, __ATOMIC_RELEASE);
}

static int
fill(struct moves_rig *rig)
{
	uintptr_t slot;
	int rc = 0;

	for (slot = 0; rc == 0 && slot < MOVES_RING_NUM; slot++)
		rc = give(rig, MOVES_RX, slot);
	for (slot = 0; rc == 0 && slot < MOVES_RING_NUM; slot++)
		rc = give(rig, MOVES_TX, MOVES_RING_NUM);
	return rc;
}

void *
moves_data_main(void *ctx)
{
	struct moves_rig *rig = ctx;
	enum moves_task task;

	if (rte_thread_register() < 0 || fill(rig) < 0)
		abort();
	while ((task = __atomic_load_n(&rig->task, __ATOMIC_ACQUIRE)) != MOVES_TASK_STOP) {
		__atomic_store_n(&rig->doing, task, __ATOMIC_RELEASE);
		if (task == MOVES_TASK_ECHO)
			place_echo(&rig->probe);
		else
			serve(rig);
	}
	rte_thread_unregister();
	return NULL;
}
