/* SPDX-License-Identifier: BSD-3-Clause */
#include "rp_dma_node.h"

#ifdef RP_DMA_WITH_NUMA

#include <errno.h>
#include <numa.h>
#include <numaif.h>
#include <sched.h>
#include <unistd.h>

unsigned int
rp_dma_nodes_count(void)
{
	int count = numa_available() < 0 ? 1 : numa_num_configured_nodes();

	return count < 1 ? 1 : (unsigned int)count;
}

static int
is_node(int node)
{
	return node >= 0 && numa_available() >= 0 && node <= numa_max_node() &&
	       numa_bitmask_isbitset(numa_all_nodes_ptr, (unsigned int)node);
}

int
rp_dma_node_of(const void *memory)
{
	int node = -1;

	if (rp_dma_nodes_count() < 2 ||
	    get_mempolicy(&node, NULL, 0, (void *)(uintptr_t)memory, MPOL_F_NODE | MPOL_F_ADDR) < 0)
		return RP_DMA_NODE_ANY;
	return node < 0 ? RP_DMA_NODE_ANY : node;
}

int
rp_dma_node_place(void *memory, size_t size_bytes, int node)
{
	struct bitmask *nodes;
	long rc;

	if (node == RP_DMA_NODE_ANY)
		return 0;
	if (!is_node(node) || (uintptr_t)memory % (uintptr_t)sysconf(_SC_PAGESIZE) != 0)
		return -EINVAL;
	nodes = numa_allocate_nodemask();
	if (nodes == NULL)
		return -ENOMEM;
	numa_bitmask_setbit(nodes, (unsigned int)node);
	/* The kernel takes the last bit for no bit. */
	rc = mbind(memory, size_bytes, MPOL_PREFERRED, nodes->maskp, nodes->size + 1, MPOL_MF_MOVE);
	if (rc < 0)
		rc = -errno;
	numa_bitmask_free(nodes);
	return (int)rc;
}

/* On what it may use of the node. */
static int
run_on(const struct bitmask *of_node, cpu_set_t *cpus)
{
	unsigned int cpu;

	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (cpu >= of_node->size || !numa_bitmask_isbitset(of_node, cpu))
			CPU_CLR(cpu, cpus);
	if (CPU_COUNT(cpus) == 0)
		return -ENOSPC;
	return sched_setaffinity(0, sizeof(*cpus), cpus) < 0 ? -errno : 0;
}

int
rp_dma_node_run(int node)
{
	struct bitmask *of_node;
	cpu_set_t cpus;
	int rc = 0;

	if (node == RP_DMA_NODE_ANY)
		return 0;
	if (!is_node(node))
		return -EINVAL;
	of_node = numa_allocate_cpumask();
	if (of_node == NULL)
		return -ENOMEM;
	CPU_ZERO(&cpus);
	rc = numa_node_to_cpus(node, of_node);
	if (rc == 0)
		rc = sched_getaffinity(0, sizeof(cpus), &cpus);
	rc = rc < 0 ? -errno : run_on(of_node, &cpus);
	numa_bitmask_free(of_node);
	return rc;
}

#else

#include <errno.h>

unsigned int
rp_dma_nodes_count(void)
{
	return 1;
}

int
rp_dma_node_of(const void *memory)
{
	(void)memory;
	return RP_DMA_NODE_ANY;
}

int
rp_dma_node_place(void *memory, size_t size_bytes, int node)
{
	(void)memory;
	(void)size_bytes;
	return node == RP_DMA_NODE_ANY ? 0 : -EINVAL;
}

int
rp_dma_node_run(int node)
{
	return node == RP_DMA_NODE_ANY ? 0 : -EINVAL;
}

#endif
