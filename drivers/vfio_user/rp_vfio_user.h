/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VFIO_USER_H
#define RP_VFIO_USER_H

#include "rp_accel_hand_over.h"
#include "rp_accel_iommu.h"
#include "rp_accel_transport.h"

/**
 * @file
 * Transport: a PCI device in another process, behind a vfio-user socket.
 *
 * Theory of operation: each operation is one command of the vfio-user client and
 * its reply. A connection that broke stays broken: the transport reports it from
 * every call, and is closed and opened anew by whoever wants the device back.
 * Beside the socket it holds a pidfd of the server, taken when it connected,
 * because the end of that process is the only proof that a server which no longer
 * answers has let go of guest memory.
 *
 * With an IOMMU the device may ask for translations, without PASIDs. Such a connection is not
 * given to another process: what was asked and answered over it is nowhere written down.
 *
 * Threads: one thread.
 *
 * Specification: QEMU docs/interop/vfio-user.rst.
 */

#define RP_VFIO_USER_TIMEOUT_MS 5000u

struct rp_vfio_user_config {
	const char *socket_path;
	uint32_t timeout_ms; /**< of one command; 0: RP_VFIO_USER_TIMEOUT_MS */
	const struct rp_accel_iommu *iommu; /**< offered to the device as `ringpass.iommu`; copied; NULL: not offered */
};

/**
 * Connect to a device.
 *
 * @param ret_transport set on success; ended by its close operation.
 * @return 0, what rp_vfu_client_create() says (-ENOENT, -ECONNREFUSED: nobody
 *         listens yet, try again later), -ENOTSUP (not a PCI device, no MSI-X),
 *         -ENOMEM, or what epoll_create1(2) says.
 */
int rp_vfio_user_open(const struct rp_vfio_user_config *config, struct rp_accel_transport *ret_transport,
		      struct rp_wire_why *why);

/**
 * Go on with a connection that another process gave (rp_accel_hand_over.h). The device is asked
 * what it is, and told nothing.
 *
 * @param ret_transport set on success; ended by its close operation.
 * @return 0, what rp_vfu_client_adopt() says (rp_vfu_client_hand_over.h), -EBADMSG (the parcel; why
 *         names the field), -ENOTSUP (as above; a state of another version), -ENOTCONN (the device
 *         process left), -ETIMEDOUT, -ENOMEM, or what epoll_create1(2) says.
 */
int rp_vfio_user_adopt(const struct rp_vfio_user_config *config, struct rp_wire_parcel *parcel,
		       const struct rp_accel_memory *memories, unsigned int memories_count,
		       struct rp_accel_transport *ret_transport, struct rp_wire_why *why);

#endif
