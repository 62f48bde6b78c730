/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VHU_VFIO_FILES_H
#define RP_VHU_VFIO_FILES_H

#include <stdbool.h>

#include "rp_vhu_proto.h"
#include "rp_wire_why.h"

/**
 * @file
 * The VFIO files that one VMM holds for its devices.
 *
 * A backend that drives queues with VFIO devices hands over the group or the cdev of
 * each (a VFIO file message, one for each queue). Several queues, and queues of several
 * devices of one VMM, may have one file: the VMM must be told of it once (its KVM device
 * refuses a file that it has). So there is one set for each VMM, shared by its frontends.
 * A queue holds a reference; the first reference to a file adds it (ops->add), the last
 * one removes it (ops->remove).
 *
 * Theory of operation: the same file arrives again under another descriptor number.
 * kcmp(2) recognises it by the kernel's own object, which is what KVM compares, too.
 * Where kcmp may not be used (a kernel without it, a seccomp filter), two descriptors
 * of one device node (same device number) are taken for one file. That errs on the
 * safe side: a group can be open only once, and a cdev that is open twice is one
 * device, bound once, of which KVM asks the same question; taking one file for two
 * would be refused by KVM.
 *
 * Only a character device can be a VFIO file: everything else is refused by name
 * before anybody is told. Which of them are VFIO is known to the kernel alone: KVM
 * refuses others, in ops->add.
 *
 * Ownership: the set keeps one descriptor of each file, from its first reference to its
 * last. Reference holders must be gone before the set.
 *
 * Threads: a set and all frontends that share it belong to one thread.
 *
 * Specification: doc/protocol/vfio-accelerators.md; Linux Documentation/virt/kvm/devices/vfio.rst.
 */

/** A set. */
struct rp_vhu_vfio_files;
/** One file of a set. */
struct rp_vhu_vfio_file;

/** Whom the set tells. Pointers may be NULL (a VMM without KVM): references are only counted. */
struct rp_vhu_vfio_files_ops {
	/**
	 * The first reference to a file: it is to be added where the VMM needs it.
	 *
	 * @param fd borrowed; the same one will be passed to remove.
	 * @return 0 or a negative errno with `why` filled: the message is refused.
	 */
	int (*add)(void *ctx, int fd, enum rp_vhu_vfio_type type, struct rp_wire_why *why);
	/** The last reference went. @param fd borrowed; closed after the return. */
	void (*remove)(void *ctx, int fd, enum rp_vhu_vfio_type type);
};

/**
 * Make an empty set.
 *
 * @param ops must outlive the set; NULL: nobody is told.
 * @return 0 or -ENOMEM.
 */
int rp_vhu_vfio_files_create(const struct rp_vhu_vfio_files_ops *ops, void *ctx, struct rp_vhu_vfio_files **ret_files);

/** Free an empty set; references that are left are our caller's mistake (an assertion). NULL is allowed. @return NULL. */
struct rp_vhu_vfio_files *rp_vhu_vfio_files_destroy(struct rp_vhu_vfio_files *files);

/** @return how many files the set holds. */
unsigned int rp_vhu_vfio_files_count(const struct rp_vhu_vfio_files *files);

/**
 * Take a reference to the file behind a descriptor.
 *
 * @param fd taken on success (and closed at once if the set has the file already).
 * @param type what the peer says it is.
 * @param ret_file set on success; give back with rp_vhu_vfio_file_put().
 * @return 0, -EBADMSG (no character device; a type that is not that of the reference
 *         before; a bad descriptor), -ENOMEM, or what ops->add says.
 */
int rp_vhu_vfio_file_get(struct rp_vhu_vfio_files *files, int *fd, enum rp_vhu_vfio_type type,
			 struct rp_vhu_vfio_file **ret_file, struct rp_wire_why *why);

/** Give a reference back. NULL is allowed. @return NULL. */
struct rp_vhu_vfio_file *rp_vhu_vfio_file_put(struct rp_vhu_vfio_file *file);

/** @return the descriptor that the set keeps, borrowed, good until the last reference goes. */
int rp_vhu_vfio_file_fd(const struct rp_vhu_vfio_file *file);

/** @return a group or a cdev, as the peer said. */
enum rp_vhu_vfio_type rp_vhu_vfio_file_type(const struct rp_vhu_vfio_file *file);

/** @return how many references there are, 1 at least. */
unsigned int rp_vhu_vfio_file_references(const struct rp_vhu_vfio_file *file);

#endif
