/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <string.h>

#include "rp_vring_burst.h"
#include "sa_ring.h"

/*
 * A fault, planted for app/test/e2e/test_viommu.py: a device that goes on looking at the last buffer that it has
 * sent, also when the driver has it back. Linked around the functions of softaccel, with the linker's --wrap.
 */

#define DESC_BYTES 16u

int __real_rp_vring_dev_fill(struct rp_vring_dev *ring, uint16_t ahead, uint16_t head, uint32_t written_bytes);
int __wrap_rp_vring_dev_fill(struct rp_vring_dev *ring, uint16_t ahead, uint16_t head, uint32_t written_bytes);
int __real_rp_vring_dev_fill_burst(struct rp_vring_dev *ring, uint16_t ahead, const struct rp_vring_done *done,
				   uint16_t count);
int __wrap_rp_vring_dev_fill_burst(struct rp_vring_dev *ring, uint16_t ahead, const struct rp_vring_done *done,
				   uint16_t count);
bool __real_sa_ring_observe(struct sa_ring *ring);
bool __wrap_sa_ring_observe(struct sa_ring *ring);

static struct rp_vring_dev *last_ring;
static uint64_t last_iova;

/* A split ring: the head is the number of a descriptor. What was written to was no frame that was sent. */
static void
remember(struct rp_vring_dev *ring, uint16_t head, uint32_t written_bytes)
{
	if (written_bytes > 0)
		return;
	memcpy(&last_iova, ring->desc + head * DESC_BYTES, sizeof(last_iova));
	last_iova = le64toh(last_iova);
	last_ring = ring;
}

int
__wrap_rp_vring_dev_fill(struct rp_vring_dev *ring, uint16_t ahead, uint16_t head, uint32_t written_bytes)
{
	remember(ring, head, written_bytes);
	return __real_rp_vring_dev_fill(ring, ahead, head, written_bytes);
}

int
__wrap_rp_vring_dev_fill_burst(struct rp_vring_dev *ring, uint16_t ahead, const struct rp_vring_done *done,
			       uint16_t count)
{
	if (count > 0)
		remember(ring, done[count - 1].head, done[count - 1].written_bytes);
	return __real_rp_vring_dev_fill_burst(ring, ahead, done, count);
}

bool
__wrap_sa_ring_observe(struct sa_ring *ring)
{
	uint64_t bytes;

	if (&ring->vring == last_ring && ring->unpublished_count == 0 && !ring->carried)
		rp_dma_reader_translate(last_ring->reader, last_iova, 1, RP_DMA_READ, &bytes);
	return __real_sa_ring_observe(ring);
}
