/* SPDX-License-Identifier: BSD-3-Clause */
#include <argp.h>
#include <stdlib.h>

#include "daemon.h"
#include "log.h"
#include "rp_virtio.h"

#define EXIT_USAGE 2

enum {
	OPTION_CONFIG = 'c',
	OPTION_RPC = 'r',
	OPTION_LOG_LEVEL = 'l',
	OPTION_CHECK = 256,
	OPTION_HAND_OVER,
};

/* clang-format off */
static const struct argp_option option_table[] = {
	{ "config", OPTION_CONFIG, "FILE", 0, "the ports to make; without it, ports come by RPC", 0 },
	{ "rpc", OPTION_RPC, "SOCKET", 0, "the RPC socket, instead of the configuration's or " RPD_RPC_PATH_DEFAULT, 0 },
	{ "log-level", OPTION_LOG_LEVEL, "LEVEL", 0, "error, warning, notice (the default) or debug", 0 },
	{ "hand-over", OPTION_HAND_OVER, NULL, 0, "leave sockets, VFIO groups and running ports to a successor, through the service manager", 0 },
	{ "check", OPTION_CHECK, NULL, 0, "check the configuration and exit", 0 },
	{ 0 },
};
/* clang-format on */

static error_t
parse_option(int key, char *argument, struct argp_state *state)
{
	struct rpd_options *options = state->input;

	switch (key) {
	case OPTION_CONFIG:
		options->config_path = argument;
		return 0;
	case OPTION_RPC:
		options->rpc_path = argument;
		return 0;
	case OPTION_LOG_LEVEL:
		if (rpd_log_level_parse(argument, &options->level) < 0)
			argp_error(state, "--log-level: found '%s', expected error, warning, notice or debug",
				   argument);
		return 0;
	case OPTION_CHECK:
		options->check = true;
		return 0;
	case OPTION_HAND_OVER:
		options->hand_over = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "found '%s', expected options only", argument);
		return 0;
	case ARGP_KEY_END:
		if (options->check && options->config_path == NULL)
			argp_error(state, "--check: found no --config, expected a file to check");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int
main(int argc, char **argv)
{
	static const struct rp_accel_driver *const drivers[] = {&rp_virtio_vfio_driver, &rp_virtio_vfio_user_driver,
								NULL};
	static const struct rp_accel_registry registry = {.drivers = drivers};
	static const struct argp argp = {
		.options = option_table,
		.parser = parse_option,
		.doc = "Ports between virtual machines (vhost-user) and accelerators, queue by queue.",
	};
	struct rpd_options options = {.level = RP_PORT_EVENT_NOTICE, .set_vfio_keeper = rp_vfio_set_keeper};

	argp_program_version = "ringpassd " RPD_VERSION;
	argp_err_exit_status = EXIT_USAGE;
	if (argp_parse(&argp, argc, argv, 0, NULL, &options) != 0)
		return EXIT_USAGE;
	return rpd_daemon_run(&options, &registry);
}
