/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VFU_CLIENT_HAND_OVER_H
#define RP_VFU_CLIENT_HAND_OVER_H

#include "rp_vfu_client.h"

struct rp_wire_parcel;

/**
 * @file
 * A client's connection goes on in another process; the server does not notice.
 *
 * Theory of operation: between two messages a connection is its sockets, the terms that
 * were agreed on, the payload window, the next id and what memory the server has. What the
 * device is (regions, interrupts) is asked for again, what the server knows (eventfds,
 * logging, the device's state) stays there. After rp_vfu_client_give() the client
 * goes by rp_vfu_client_destroy(): the socket lives on by its duplicate. Until somebody adopts it
 * the server's commands wait in the socket.
 *
 * Threads: one thread.
 *
 * Specification: QEMU docs/interop/vfio-user.rst, which knows nothing of processes.
 */

/**
 * Describe a client. Nothing changes.
 *
 * @param parcel gets numbers and duplicates of descriptors.
 * @return 0; -EAGAIN (a command is under way, or a message is half read or half written: serve,
 *         and try again); -ENOTCONN; -ENOTSUP (a capability was agreed on whose state is not
 *         known here; why names it); -EBUSY (from inside a callback); or what the parcel says.
 */
int rp_vfu_client_give(const struct rp_vfu_client *client, struct rp_wire_parcel *parcel, struct rp_wire_why *why);

/**
 * Go on with a connection that another process gave. Nothing is sent.
 *
 * @param config only socket_path (for words) and timeout_ms are looked at.
 * @param memories exactly what the server has, whole mappings as they were given to it, in any order; pointers
 *        as of rp_vfu_client_dma_map_memory().
 * @param ret_client set on success.
 * @return 0; -EBADMSG (the parcel, or memory that differs: why names the field, what was found
 *         and what was expected); -ENOTSUP (a state of another version); -ENOMEM; or what
 *         epoll_create1(2) and timerfd_create(2) say.
 */
int rp_vfu_client_adopt(const struct rp_vfu_client_config *config, const struct rp_vfu_client_ops *ops, void *ctx,
			struct rp_wire_parcel *parcel, const struct rp_vfu_client_memory *memories,
			unsigned int memories_count, struct rp_vfu_client **ret_client, struct rp_wire_why *why);

#endif
