/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_H
#define DAEMON_H

#include "rp_port.h"
#include "rp_vfio.h"

/**
 * @file
 * The daemon: one event loop that ports, log and RPC hang on.
 *
 * Threads: one.
 */

#define RPD_RPC_PATH_DEFAULT "/run/ringpass/rpc.sock"

struct rpd_options {
	const char *config_path; /**< NULL: no configuration, RPC only */
	const char *rpc_path; /**< NULL: from the configuration, or the default */
	enum rp_port_event_level level;
	bool hand_over; /**< descriptors to a successor, through the service manager's store */
	/** rp_vfio_set_keeper(), where there are such devices, or NULL. */
	void (*set_vfio_keeper)(const struct rp_vfio_keeper *keeper, void *ctx);
	bool check; /**< only check the configuration */
};

/**
 * Run until SIGTERM or SIGINT; or until its ports went to a successor, by RPC or SIGUSR2.
 *
 * @return the exit status: 0, 1 (something failed), 2 (the configuration is wrong).
 */
int rpd_daemon_run(const struct rpd_options *options, const struct rp_accel_registry *registry);

#endif
