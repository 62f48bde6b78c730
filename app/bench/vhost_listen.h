/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VHOST_LISTEN_H
#define VHOST_LISTEN_H

#include <stdbool.h>
#include <stdint.h>

struct rte_vhost_device_ops;

/*
 * librte_vhost serves a socket.
 * @param ret_registered whether rte_vhost_driver_unregister() is owed, also when this failed.
 * @return 0 or -EIO.
 */
int vhost_listen(const char *path, uint64_t flags, const struct rte_vhost_device_ops *ops, bool *ret_registered);

#endif
