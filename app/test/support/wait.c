/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rp_wire_clock.h"
#include "test_support.h"

static char socket_dir[80];
static char socket_path[sizeof(socket_dir) + sizeof("/socket")];
static pid_t socket_owner;

static void
remove_socket(void)
{
	/* A forked child that ends must not take its parent's directory along. */
	if (getpid() != socket_owner)
		return;
	unlink(socket_path);
	rmdir(socket_dir);
}

const char *
test_socket_path(void)
{
	if (socket_dir[0] == '\0') {
		const char *tmpdir = getenv("TMPDIR");
		int length = snprintf(socket_dir, sizeof(socket_dir), "%s/ringpass-test.XXXXXX",
				      tmpdir != NULL ? tmpdir : "/tmp");

		/* A socket's path has 107 bytes; a long TMPDIR would fail where nobody looks for it. */
		if (length >= (int)sizeof(socket_dir))
			strcpy(socket_dir, "/tmp/ringpass-test.XXXXXX");
		assert_non_null(mkdtemp(socket_dir));
		socket_owner = getpid();
		snprintf(socket_path, sizeof(socket_path), "%s/socket", socket_dir);
		atexit(remove_socket);
	}
	return socket_path;
}

bool
test_wait(bool (*step)(void *ctx), void *ctx, unsigned int limit_ms)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + limit_ms;

	while (!step(ctx)) {
		if (rp_wire_clock_ms() >= deadline_ms)
			return false;
		usleep(200);
	}
	return true;
}
