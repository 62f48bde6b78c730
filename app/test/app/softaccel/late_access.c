/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <string.h>

#include "sa_ring.h"

/*
 * A fault, planted for app/test/e2e/test_viommu.py: a device that goes on looking at the last buffer that it has
 * sent, also when the driver has it back. Linked around the functions of softaccel, with the linker's --wrap.
 */

#define DESC_BYTES 16u

int __real_rp_vring_dev_pop(struct rp_vring_dev *ring, struct rp_vring_chain *ret_chain);
int __wrap_rp_vring_dev_pop(struct rp_vring_dev *ring, struct rp_vring_chain *ret_chain);
bool __real_sa_ring_observe(struct sa_ring *ring);
bool __wrap_sa_ring_observe(struct sa_ring *ring);

static struct rp_vring_dev *last_ring;
static uint64_t last_iova;

/* A split ring: the head is the number of a descriptor. */
int
__wrap_rp_vring_dev_pop(struct rp_vring_dev *ring, struct rp_vring_chain *ret_chain)
{
	int rc = __real_rp_vring_dev_pop(ring, ret_chain);

	if (rc == 1) {
		memcpy(&last_iova, ring->desc + ret_chain->head * DESC_BYTES, sizeof(last_iova));
		last_iova = le64toh(last_iova);
		last_ring = ring;
	}
	return rc;
}

bool
__wrap_sa_ring_observe(struct sa_ring *ring)
{
	uint64_t bytes;

	if (&ring->vring == last_ring && ring->unpublished_count == 0 && !ring->carried)
		rp_dma_reader_translate(last_ring->reader, last_iova, 1, RP_DMA_READ, &bytes);
	return __real_sa_ring_observe(ring);
}
