/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>

#include "rp_wire_why.h"
#include "softaccel.h"

/**
 * @file
 * The program's own arguments, those after "--".
 *
 * Threads: the main thread.
 */

struct options {
	struct softaccel_function_config functions[SOFTACCEL_FUNCTIONS_MAX]; /* strings belong to the options */
	unsigned int functions_count;
	struct softaccel_config config;
	const char *uplink; /* borrowed from argv; NULL: none */
	bool help;
};

/**
 * @param argv argv[0] is not looked at.
 * @return 0 (nothing to free when help is asked for), or -EINVAL: why names the argument,
 *         the key and what was expected.
 */
int options_parse(int argc, char **argv, struct options *ret_options, struct rp_wire_why *why);
void options_free(struct options *options);

extern const char options_usage[];

#endif
