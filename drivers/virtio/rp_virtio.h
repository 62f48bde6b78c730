/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VIRTIO_H
#define RP_VIRTIO_H

#include "rp_accel_transport.h"

/**
 * @file
 * Accelerator driver: a virtio 1.x network device on PCI, over any transport.
 *
 * Theory of operation: the device is input. What its configuration space and its
 * registers say is judged once, when it is opened, against the sizes of its
 * regions; later code uses only what passed. Every wait for the device has a
 * limit. A device that breaks a rule, stops answering or asks for a reset fails
 * for good: the driver tries once to reset it, because a reset that reads back is
 * proof that it touches no ring any more, and then reports the failure from every
 * operation until it is closed.
 *
 * Two kinds of device are told apart by the ring state capability
 * (rp_accel_vendor.h): with it, class A; without it, class B, whose queues start
 * at index 0 and stop by VIRTIO_F_RING_RESET or with the whole device.
 *
 * A control queue belongs to the driver, in memory of its own that it gives the device
 * beside the guest's, and that makes way for it; no guest sees it, nor the features
 * that go with it.
 *
 * Threads: one thread.
 *
 * Specification: virtio 1.2, chapters 2, 3, 4.1 and 5.1.
 */

#define RP_VIRTIO_WAIT_MS 5000u

struct rp_virtio_config {
	uint32_t wait_ms; /**< for one answer of the device: reset, queue reset; 0: RP_VIRTIO_WAIT_MS */
};

/**
 * Make an accelerator of the virtio device behind a transport.
 *
 * @param transport taken on success (its ops become NULL); on failure still the
 *        caller's.
 * @param ret_accel set on success; ended by rp_accel_close().
 * @return 0, -ENOTSUP (not a virtio 1.x network device, or one that lacks what is
 *         needed; why names it), -EBADMSG (a capability or register that breaks its
 *         rule; why names it), -ETIMEDOUT, -ENOTCONN, -EIO, -ENOMEM, or what the
 *         transport says of its regions.
 */
int rp_virtio_open(struct rp_accel_transport *transport, const struct rp_virtio_config *config,
		   struct rp_accel *ret_accel, struct rp_wire_why *why);

/** "vfio,device=DDDD:BB:DD.F[,busy_wait_ms=N][,wait_ms=N][,container=NAME]": a virtio function of this machine. */
extern const struct rp_accel_driver rp_virtio_vfio_driver;

/** "vfio-user,socket=PATH[,timeout_ms=N]": a virtio device in another process. */
extern const struct rp_accel_driver rp_virtio_vfio_user_driver;

#endif
