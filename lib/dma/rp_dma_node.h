/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_NODE_H
#define RP_DMA_NODE_H

#include <stddef.h>
#include <stdint.h>

/**
 * @file
 * On which NUMA node memory is, and memory of our own beside it.
 *
 * Theory of operation: a ring, a table or a buffer that is used together with a guest's memory belongs on the
 * node where that is. A machine of one node, or one whose kernel or build knows nothing of nodes, has
 * nothing to choose: every function then does nothing and says so.
 *
 * Nothing here is needed for correctness: a caller that is refused goes on where he is.
 *
 * Source: numa(3), mbind(2), get_mempolicy(2).
 *
 * Threads: no state; any thread.
 */

/** There is but one node, or nobody knows. */
#define RP_DMA_NODE_ANY (-1)

/** @return how many nodes have memory; 1 also when nobody knows. */
unsigned int rp_dma_nodes_count(void);

/**
 * The node of the page that holds a byte of memory that is mapped and was written before.
 * @param memory a page that nobody ever wrote would be made by looking: ask for rings that a driver made.
 * @return a node, RP_DMA_NODE_ANY on a machine of one or when the page cannot be asked about.
 */
int rp_dma_node_of(const void *memory);

/**
 * Have memory of our own on a node, what was written already included, as far as there is room; else elsewhere.
 * Memory that was mapped in huge pages stays in them.
 * @param memory mapped by mmap(2), begins with a page. @param size_bytes of it.
 * @param node RP_DMA_NODE_ANY: nothing is done.
 * @return 0, -EINVAL (no such node, or no page begins there), -ENOMEM, or what mbind(2) says.
 */
int rp_dma_node_place(void *memory, size_t size_bytes, int node);

/**
 * Move the calling thread to the CPUs of a node, to those of them that it may run on.
 * @param node RP_DMA_NODE_ANY: nothing is done.
 * @return 0, -EINVAL (no such node), -ENOSPC (it may run on none of its CPUs; it stays), or what
 *         sched_setaffinity(2) says.
 */
int rp_dma_node_run(int node);

#endif
