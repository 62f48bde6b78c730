/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CONFIG_H
#define CONFIG_H

#include "node.h"
#include "spec.h"

/**
 * @file
 * The configuration file (libconfig syntax; doc/guides/ringpassd.md).
 *
 * Threads: no state; any thread.
 */

#define RPD_CONFIG_WHERE_MAX 400

struct rpd_config_port {
	char where[RPD_CONFIG_WHERE_MAX]; /**< "FILE:LINE: ports[0]": for what is found out later */
	unsigned int line;
	struct rpd_port_spec spec;
};

struct rpd_config {
	char rpc_path[RPD_SOCKET_PATH_MAX]; /**< empty: not given */
	struct rpd_node_wish node;
	unsigned int ports_count;
	struct rpd_config_port *ports;
};

/** Receives each error as one line "FILE:LINE: KEY: found ..., expected ...". */
typedef void (*rpd_config_report)(void *ctx, const char *line);

/**
 * Read and check a whole file; reports everything that is wrong with it.
 *
 * @param ret_config filled on success; end with rpd_config_free().
 * @return 0, -EBADMSG (reported), -ENOMEM, or what reading the file says (reported).
 */
int rpd_config_read(const char *path, const struct rp_accel_registry *registry, rpd_config_report report, void *ctx,
		    struct rpd_config *ret_config);

void rpd_config_free(struct rpd_config *config);

#endif
