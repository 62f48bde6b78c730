/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VS_CONSOLE_H
#define VS_CONSOLE_H

#include "loop.h"
#include "rp_wire_why.h"
#include "switch.h"

/**
 * @file
 * Where lines are typed: standard input, and a Unix socket for several at a time. Who does
 * not read the answers is hung up on: nothing waits for them.
 *
 * Threads: the main lcore.
 */

struct vs_console;

/**
 * @param socket_path NULL: standard input only.
 * @return 0, or what the socket says (-EADDRINUSE: there is a file).
 */
int vs_console_create(struct vs_loop *loop, struct vs_switch *sw, const char *socket_path,
		      struct vs_console **ret_console, struct rp_wire_why *why);

/** The socket's file is gone after it. NULL is allowed. @return NULL. */
struct vs_console *vs_console_destroy(struct vs_console *console);

#endif
