/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "dev.h"
#include "rp_vring_burst.h"

static void
compact(const struct rp_vring_chain *chain, struct rp_vring_burst_chain *ret_chain)
{
	unsigned int count = (unsigned int)chain->out_count + chain->in_count;

	ret_chain->head = chain->head;
	ret_chain->out_count = (uint8_t)chain->out_count;
	ret_chain->in_count = (uint8_t)chain->in_count;
	ret_chain->out_bytes = chain->out_bytes;
	ret_chain->in_bytes = chain->in_bytes;
	memcpy(ret_chain->iov, chain->iov, count * sizeof(chain->iov[0]));
}

/* Whatever a chain is like. @return 1, 0, -EMSGSIZE or -EBADMSG. */
static int
peek_any(struct rp_vring_dev *ring, uint16_t ahead, struct rp_vring_burst_chain *ret_chain)
{
	struct rp_vring_chain chain;
	int rc = ring->packed ? rp_vring_packed_peek(ring, ahead, &chain) : rp_vring_split_peek(ring, ahead, &chain);

	if (rc != 1)
		return rc;
	if ((unsigned int)chain.out_count + chain.in_count > RP_VRING_BURST_PIECES)
		return -EMSGSIZE;
	compact(&chain, ret_chain);
	return 1;
}

/* It is judged when it is the first: what comes before it is to be used and published. */
static void
leave_for_later(struct rp_vring_dev *ring)
{
	ring->broken_why = NULL;
	ring->out_of_reach = false;
	ring->missed = false;
}

int
rp_vring_dev_peek_burst(struct rp_vring_dev *ring, uint16_t ahead, struct rp_vring_burst_chain *ret_chains,
			uint16_t max_count)
{
	uint16_t count = 0;
	int rc = rp_vring_dev_check(ring);

	if (rc < 0)
		return rc;
	if (max_count == 0 || max_count > RP_VRING_BURST_MAX || ring->spans)
		return -EINVAL;
	for (; count < max_count; count++) {
		rc = peek_any(ring, (uint16_t)(ahead + count), &ret_chains[count]);
		if (rc != 1)
			break;
	}
	if (count == 0)
		return rc;
	if (rc == -EBADMSG)
		leave_for_later(ring);
	return count;
}

int
rp_vring_dev_pop_burst(struct rp_vring_dev *ring, struct rp_vring_burst_chain *ret_chains, uint16_t max_count)
{
	int rc = rp_vring_dev_peek_burst(ring, 0, ret_chains, max_count);

	if (rc > 0)
		rp_vring_dev_advance(ring, (uint16_t)rc);
	return rc;
}

int
rp_vring_dev_fill_burst(struct rp_vring_dev *ring, uint16_t ahead, const struct rp_vring_done *done, uint16_t count)
{
	uint16_t i;
	int rc = rp_vring_dev_check(ring);

	for (i = 0; rc == 0 && i < count; i++)
		rc = rp_vring_dev_fill(ring, (uint16_t)(ahead + i), done[i].head, done[i].written_bytes);
	return rc;
}
