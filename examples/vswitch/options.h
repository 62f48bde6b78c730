/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VS_OPTIONS_H
#define VS_OPTIONS_H

#include "guest.h"

/**
 * @file
 * What stands after "--" on the command line.
 *
 * Threads: the main lcore, before there are others.
 */

struct vs_options {
	bool help;
	const char *control; /**< borrowed; NULL: none */
	unsigned int idle_us;
	const char *ethdevs[VS_PORTS_MAX]; /**< borrowed */
	unsigned int ethdevs_count;
	struct vs_guest_config guests[VS_PORTS_MAX];
	unsigned int guests_count;
};

extern const char vs_options_usage[];

/**
 * @param argv of main(), from "--" on; what is borrowed is borrowed from it.
 * @return 0 or -EINVAL (why names the argument, the key and what was expected).
 */
int vs_options_parse(int argc, char **argv, struct vs_options *ret_options, struct rp_wire_why *why);

#endif
