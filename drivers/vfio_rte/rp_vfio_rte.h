/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VFIO_RTE_H
#define RP_VFIO_RTE_H

#include "rp_vfio.h"

/**
 * @file
 * A device on a container of the host application's, which has it from DPDK's
 * rte_vfio: the application's devices and ours share one address space, and its
 * memory is pinned once.
 *
 * Theory of operation: the environment abstraction layer (EAL) opens the group, as it
 * does for its own devices, and keeps its file; we borrow both files, and put the group
 * into the container. What the application has mapped there is not ours: an address that
 * it uses is refused when memory of a guest should go there. So an application with one
 * guest for each container creates them (rte_vfio_container_create()), and one that
 * shares EAL's own container keeps its addresses away from the guest's
 * (--iova-mode=va with a base above it). EAL is the application's: nothing here starts it.
 *
 * Threads: as rte_vfio, one at a time.
 *
 * Specification: rte_vfio.h, stable functions only.
 */

/**
 * Fill a configuration for rp_vfio_open() with borrowed files.
 *
 * @param device "0000:00:04.0"; borrowed by the configuration.
 * @param container_fd of rte_vfio_container_create(), or -1: EAL's own container.
 * @param ret_config set on success; give it back with rp_vfio_rte_give_back().
 * @return 0, -EBADMSG (not a PCI address), -ENOTSUP (the application has no VFIO: EAL was
 *         not initialised, or VFIO not loaded before), -ENOENT (the device has no group, or
 *         it is not bound to vfio-pci), -EBUSY (EAL cannot open the group).
 */
int rp_vfio_rte_borrow(const char *device, int container_fd, struct rp_vfio_config *ret_config,
		       struct rp_wire_why *why);

/**
 * The group is closed and EAL forgets it. Once for each group, after the last transport
 * on it was closed, and not while the application has a device of its own in it.
 */
void rp_vfio_rte_give_back(const struct rp_vfio_config *config);

#endif
