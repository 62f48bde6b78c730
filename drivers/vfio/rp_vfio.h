/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VFIO_H
#define RP_VFIO_H

#include "rp_accel_hand_over.h"
#include "rp_accel_transport.h"

/**
 * @file
 * Transport: a PCI device of this machine, through the kernel's VFIO.
 *
 * Theory of operation: a device belongs to an IOMMU group, a group is opened once
 * and put into a container, and the container is the address space in which memory
 * is mapped for all devices that are in it. So devices of one group share an
 * address space whether they want to or not; devices of different groups share one
 * when they name the same container, which one guest with several devices wants
 * (its memory is pinned and counted once) and two guests must not. What is mapped is
 * counted by who mapped it, so that devices of one container may map the same
 * memory of the same guest.
 *
 * What the kernel answers (counts, sizes, chains of capabilities) is checked before
 * it is used. A device that the kernel reports broken (PCIe error), wants back
 * (unbind, hot-unplug) or that answers no access is lost: process says so, and
 * is_quiet then takes its bus mastering, else its mappings, away and says whether
 * that is proven.
 *
 * Reset may stop the pages of the device from existing for a while, and so does
 * close: mappings of doorbells that others hold are revoked before.
 *
 * Threads: one transport belongs to one thread. Different transports may belong to
 * different threads; what they share is locked, so that one which waits for a busy
 * group holds up the others' opening and mapping.
 *
 * Specification: linux/vfio.h, Documentation/driver-api/vfio.rst.
 */

#define RP_VFIO_BUSY_WAIT_MS 300u
#define RP_VFIO_BUSY_WAIT_MAX_MS 60000u
#define RP_VFIO_CONTAINER_NAME_MAX 31u /**< bytes */

struct rp_vfio_config {
	const char *device; /**< "0000:00:04.0"; the domain may be left out */
	/**
	 * How long to try again while another process has the group open (a VMM gives it
	 * back some time after its backend died); 0: RP_VFIO_BUSY_WAIT_MS.
	 */
	uint32_t busy_wait_ms;
	const char *container; /**< devices of this process that name the same one share it; NULL: one per group */
	/**
	 * -1, or a container of the host application's (rp_vfio_rte.h), borrowed until the
	 * last transport on it is closed. Mappings of the application's own are not known here,
	 * the kernel refuses what overlaps them.
	 */
	int container_fd;
	int group_fd; /**< -1, or the device's group, opened by the host application; borrowed likewise */
};

/**
 * Who keeps groups open while one process follows another, so that nobody else opens one in
 * between: a service manager's store. What is kept is the group alone, never a device:
 * of a process that died its device is closed and reset by the kernel, for its rings have
 * no owner any more.
 *
 * Calls come with the lock held that all transports share: they must not open or close one.
 */
struct rp_vfio_keeper {
	/** What a predecessor left of this group: set *ret_fd, which the driver owns then; or leave it -1. */
	void (*take)(void *ctx, unsigned int group, int *ret_fd);
	/** This process has opened it. fd is borrowed: duplicate it. */
	void (*opened)(void *ctx, unsigned int group, int fd);
	/** It is not used any more, or what was taken is of no use: then why says so, else it is NULL. */
	void (*closed)(void *ctx, unsigned int group, const struct rp_wire_why *why);
};

/**
 * Set it for the process, before any device is opened; or NULL after all are closed.
 * Groups of a host application are not its business.
 *
 * @param keeper must outlive its use.
 */
void rp_vfio_set_keeper(const struct rp_vfio_keeper *keeper, void *ctx);

/**
 * Judge a configuration without touching anything.
 *
 * @return 0, -EBADMSG (why names the field and what was expected).
 */
int rp_vfio_check(const struct rp_vfio_config *config, struct rp_wire_why *why);

/**
 * Open a device. May wait for config.busy_wait_ms.
 *
 * @param ret_transport set on success; ended by its close operation.
 * @return 0; what rp_vfio_check() says; -ENOENT (no such device, not bound to vfio-pci,
 *         VFIO not loaded: try later); -EBUSY (the group is not viable, is open elsewhere, or
 *         the device is open already: try later); -EACCES; -ENOTSUP (no IOMMU, an IOMMU
 *         without type1 v2, no-IOMMU mode, a kernel with device files only, not a PCI device,
 *         no MSI-X); -EBADMSG (an answer of the kernel's that breaks its rule); -ENOSPC (too
 *         many devices in a container); -ENOMEM; -EIO. why says what to do.
 */
int rp_vfio_open(const struct rp_vfio_config *config, struct rp_accel_transport *ret_transport,
		 struct rp_wire_why *why);

/**
 * Go on with a device that another process gave (rp_accel_hand_over.h). The kernel is only asked:
 * nothing is mapped, wired or reset. With a keeper the group comes from it, else from the parcel.
 *
 * @param config of the application's own (container_fd, group_fd) nothing can be adopted.
 * @param ret_transport set on success; ended by its close operation.
 * @return 0; what rp_vfio_check() says; -ENOENT; -EBADMSG (the parcel; why names the field, what was
 *         found and what was expected); -ENOTSUP (a state of another version; memory or a group
 *         that cannot go along); -EEXIST (the device, its group or its container's name is in use
 *         in this process); -EBUSY, -EIO, -EINVAL (the kernel says something else of a
 *         descriptor); -ENOMEM.
 */
int rp_vfio_adopt(const struct rp_vfio_config *config, struct rp_wire_parcel *parcel,
		  const struct rp_accel_memory *memories, unsigned int memories_count,
		  struct rp_accel_transport *ret_transport, struct rp_wire_why *why);

#endif
