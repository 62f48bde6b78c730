/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_ACCEL_HAND_OVER_H
#define RP_ACCEL_HAND_OVER_H

#include "rp_accel.h"

struct rp_wire_parcel;

/**
 * @file
 * A running accelerator goes from one process to its successor: the device, its rings,
 * its mappings of memory and its interrupts are touched by neither.
 *
 * Theory of operation: in the old process rp_accel_give() puts numbers and duplicates of
 * descriptors into a parcel (rp_wire_parcel.h) and changes nothing, so that a hand-over can
 * be called off until the last moment by going on. Then either that happens, or
 * rp_accel_leave() ends the accelerator here as if its process had been cut off: what it
 * has is freed and its descriptors are closed, which the duplicates survive. In between nothing
 * else of the accelerator may be called. In the new process rp_accel_adopt() makes an
 * accelerator of the same device argument string and the parcel, whose queues run, whose
 * memory is mapped and whose features and net settings are what they were.
 *
 * What keeps the device alive in between is descriptors alone (kernel VFIO: group,
 * container and device; vfio-user: the socket), wherever they are kept. When the last
 * one is closed the kernel resets the device, or the server takes its memory back:
 * so a hand-over that fails anywhere ends as if the process had crashed.
 *
 * A parcel is input: what is asked of the device can be asked again, so what
 * it says is held against that, and against the caller's own memory.
 *
 * Errors: -ENOTSUP where an accelerator cannot be given away, and why says what of it.
 *
 * Threads: the accelerator's.
 */

/** Memory that the device was given with rp_accel_ops.dma_map, as the adopting process has it. */
struct rp_accel_memory {
	uint64_t iova;
	uint64_t size_bytes;
	int fd; /**< borrowed; -1: none */
	uint64_t offset_bytes; /**< in the file */
	void *hva; /**< our mapping of it, NULL if there is none; good until it is unmapped */
};

/**
 * Describe a running accelerator. Nothing changes, here or in the device.
 *
 * @param parcel gets numbers and duplicates of descriptors, below whatever it was entered
 *        into; some of them also when this fails.
 * @return 0; -EAGAIN (a message is half read or half written: serve it, by process, and try
 *         again); -ENOTSUP (its driver, or something that it does now, cannot be given
 *         away: why says what); -ENOMEM; or the error of an accelerator that failed.
 */
int rp_accel_give(const struct rp_accel *accel, struct rp_wire_parcel *parcel, struct rp_wire_why *why);

/**
 * End it here without a word to the device: after rp_accel_give(), once its descriptors
 * are safe. ops becomes NULL. An accelerator that is not open is allowed; one whose driver
 * does not know how is closed.
 */
void rp_accel_leave(struct rp_accel *accel);

/**
 * Go on with an accelerator that another process gave. Registers are read, no ring is
 * touched; the doorbells are not rung: a kick may have been lost meanwhile, so ring each.
 *
 * @param device_arguments those that it was opened with.
 * @param parcel entered as for rp_accel_give(); its descriptors are duplicated.
 * @param memories exactly what is mapped for the device, in any order; what the driver
 *        mapped for itself (a control queue) is not among it. Borrowed; what hva points to is
 *        used as after rp_accel_ops.dma_map.
 * @param ret_accel set on success; ended by rp_accel_close().
 * @return 0; -EBADMSG (the arguments, or the parcel: why names the field, what was found and
 *         what was expected); -ENOTSUP (the driver cannot adopt; a state of another
 *         version); -EEXIST (the device is open in this process already); -ENOTCONN,
 *         -ETIMEDOUT, -EIO (the device is gone, or is not in the state that the parcel says);
 *         -ENOMEM. Nothing is held then, and what was reached of the device is cut off, as if its
 *         process had crashed.
 */
int rp_accel_adopt(const struct rp_accel_registry *registry, const char *device_arguments,
		   struct rp_wire_parcel *parcel, const struct rp_accel_memory *memories, unsigned int memories_count,
		   struct rp_accel *ret_accel, struct rp_wire_why *why);

/**
 * For drivers: unpack an eventfd, made non-blocking.
 * @return it, the caller's; -1: there is none, or it is none: then the parcel's result says so, or
 *         why, which is NULL or was empty before.
 */
int rp_accel_hand_over_eventfd(struct rp_wire_parcel *parcel, const char *name, struct rp_wire_why *why);

#endif
