/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VHU_KVM_H
#define RP_VHU_KVM_H

#include "rp_vhu_vfio_files.h"
#include "rp_wire_why.h"

/**
 * @file
 * What a VMM that uses KVM does with a VFIO file: KVM's VFIO device is told of it.
 *
 * What for: the kernel must know which VFIO devices work for a virtual machine.
 *
 * - Before Linux 5.9 posted interrupts (the device interrupts the guest without an exit)
 *   were armed only in a machine with a file added: KVM counted its assigned devices by
 *   it. Since commit 2edd9cb79fb3 ("kvm: detect assigned device via irqbypass manager")
 *   the count follows the interrupt's eventfd, and no file is needed for it.
 * - What remains, on x86: a device whose IOMMU does not enforce coherent DMA makes KVM
 *   honour the guest's cache control and emulate WBINVD. With no file added, a guest whose
 *   driver relies on non-coherent DMA sees stale memory. For a device whose IOMMU
 *   enforces coherency (most) nothing changes.
 * - Mediated devices (s390's vfio-ap, Intel's GVT-g) learn from it which machine they serve.
 *
 * A virtual machine has one such device (a second is refused by the kernel): a VMM that has
 * made it already, for devices of its own, hands it in.
 *
 * Theory of operation: KVM_CREATE_DEVICE once, then KVM_SET_DEVICE_ATTR with
 * KVM_DEV_VFIO_FILE_ADD and _DEL, which take a group or a cdev. Before Linux 6.6 these are
 * called KVM_DEV_VFIO_GROUP_ADD and _DEL, with the same numbers, and take groups only: there
 * is nothing to fall back to and nothing to ask but the file itself, which KVM then refuses.
 *
 * Ownership: as written at each function. KVM itself holds what was added, until it is
 * removed or the device is closed.
 *
 * Threads: one thread.
 *
 * Source: Linux Documentation/virt/kvm/devices/vfio.rst.
 */

struct rp_vhu_kvm;

/**
 * How the kernel is called: as ioctl(2), but the error is the return value. Somebody who
 * keeps KVM in another process puts a call to that one here.
 *
 * @return 0 or more, or a negative errno.
 */
typedef int (*rp_vhu_kvm_ioctl)(void *ctx, int fd, unsigned long request, void *argument);

/** Where the virtual machine is. */
struct rp_vhu_kvm_config {
	int vm_fd; /**< of KVM_CREATE_VM, borrowed for the call; used only if there is no device yet */
	int device_fd; /**< KVM's VFIO device if the VMM has made it, borrowed for its whole life; -1: make it */
	rp_vhu_kvm_ioctl ioctl; /**< NULL: ioctl(2) */
	void *ioctl_ctx;
};

/**
 * Find or make KVM's VFIO device, and ask whether files can be added to it.
 *
 * @param config copied.
 * @return 0, -EEXIST (the machine has such a device, made by somebody else: hand it in),
 *         -ENOTSUP (a kernel without it), -ENOMEM, or what KVM_CREATE_DEVICE says.
 */
int rp_vhu_kvm_create(const struct rp_vhu_kvm_config *config, struct rp_vhu_kvm **ret_kvm, struct rp_wire_why *why);

/** Close the device if it was made here: with it KVM forgets its files. NULL is allowed. @return NULL. */
struct rp_vhu_kvm *rp_vhu_kvm_destroy(struct rp_vhu_kvm *kvm);

/** @return KVM's VFIO device, borrowed. */
int rp_vhu_kvm_device_fd(const struct rp_vhu_kvm *kvm);

/**
 * Add a VFIO file.
 *
 * @param fd borrowed; KVM holds the file itself.
 * @return 0, -EBADMSG (not a VFIO file, or a cdev and a kernel that knows groups only),
 *         -EEXIST (it is there), or what KVM_SET_DEVICE_ATTR says.
 */
int rp_vhu_kvm_add(struct rp_vhu_kvm *kvm, int fd, enum rp_vhu_vfio_type type, struct rp_wire_why *why);

/**
 * Remove a VFIO file.
 *
 * @param fd any descriptor of the file that was added, borrowed.
 * @return 0, -ENOENT (it is not there), or what KVM_SET_DEVICE_ATTR says.
 */
int rp_vhu_kvm_remove(struct rp_vhu_kvm *kvm, int fd, enum rp_vhu_vfio_type type, struct rp_wire_why *why);

/** For rp_vhu_vfio_files_create(): a set whose files are added to KVM; its ctx is the struct rp_vhu_kvm. */
extern const struct rp_vhu_vfio_files_ops rp_vhu_kvm_vfio_files_ops;

#endif
