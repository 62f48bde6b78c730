/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VS_COMMAND_H
#define VS_COMMAND_H

#include <stdbool.h>

#include "rp_port.h"

/**
 * @file
 * A line that somebody typed, as a command. Knows no port: whether there is one of that
 * name, and how many queues it has, is asked where the command is done.
 *
 * Threads: any; there is no state.
 */

#define VS_COMMAND_QUEUES_MAX RP_VHU_QUEUES_MAX

enum vs_command_verb {
	VS_COMMAND_NONE, /**< an empty line, or a comment */
	VS_COMMAND_HELP,
	VS_COMMAND_PORTS,
	VS_COMMAND_SHOW,
	VS_COMMAND_STATS,
	VS_COMMAND_OFFLOAD,
	VS_COMMAND_TAKE_BACK,
	VS_COMMAND_AUTO,
	VS_COMMAND_QUIT,
};

struct vs_command {
	enum vs_command_verb verb;
	char port[RP_PORT_NAME_MAX]; /**< empty: all, or none needed */
	unsigned int queues_count; /**< 0: all of the port */
	bool queues[VS_COMMAND_QUEUES_MAX];
};

/** One line for each command. */
extern const char vs_command_help[];

/**
 * @param line without a newline.
 * @return 0, or -EINVAL (why names the word and what was expected).
 */
int vs_command_parse(const char *line, struct vs_command *ret_command, struct rp_wire_why *why);

/**
 * The queues of a command as runs of neighbours: a pair that is named whole is moved as a pair.
 *
 * @param from in: where to look from; out: the run's first queue.
 * @return how many queues it has, 0: there is no more.
 */
unsigned int vs_command_run(const struct vs_command *command, unsigned int *from);

#endif
