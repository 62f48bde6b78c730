/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include <rte_vhost.h>

#include "vhost_listen.h"

int
vhost_listen(const char *path, uint64_t flags, const struct rte_vhost_device_ops *ops, bool *ret_registered)
{
	if (rte_vhost_driver_register(path, flags) < 0)
		return -EIO;
	*ret_registered = true;
	return rte_vhost_driver_callback_register(path, ops) < 0 || rte_vhost_driver_start(path) < 0 ? -EIO : 0;
}
