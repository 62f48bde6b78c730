/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_common.h>

#include "answer.h"
#include "console.h"
#include "rp_wire_fd.h"

#define TALKERS_MAX 4u
#define LINE_BYTES 1024u

/* Somebody who types. */
struct talker {
	struct vs_console *console;
	struct vs_source source; /* fd -1: nobody */
	int out_fd;
	size_t used_bytes;
	char line[LINE_BYTES];
};

struct vs_console {
	struct vs_loop *loop;
	struct vs_switch *sw;
	struct vs_source listener; /* fd -1: there is none */
	struct sockaddr_un address;
	struct talker input; /* standard input */
	struct talker talkers[TALKERS_MAX];
};

static void
hang_up(struct talker *talker)
{
	if (talker->source.fd < 0)
		return;
	vs_loop_remove(talker->console->loop, &talker->source);
	if (talker == &talker->console->input)
		talker->source.fd = -1; /* not ours */
	else
		rp_wire_fd_close(&talker->source.fd);
}

static bool
answer(struct talker *talker, const char *line)
{
	struct vs_console *console = talker->console;
	size_t size_bytes = 0;
	char *text = NULL;
	bool is_heard, is_end;
	FILE *out = open_memstream(&text, &size_bytes);

	if (out == NULL)
		return false;
	is_end = vs_answer(console->sw, line, out);
	fclose(out);
	is_heard = write(talker->out_fd, text, size_bytes) == (ssize_t)size_bytes;
	free(text);
	if (is_end)
		vs_loop_end(console->loop);
	return is_heard;
}

/* @return whether the talker goes on. */
static bool
take_lines(struct talker *talker)
{
	char *start = talker->line, *end;

	while ((end = memchr(start, '\n', talker->used_bytes - (size_t)(start - talker->line))) != NULL) {
		*end = '\0';
		if (!answer(talker, start))
			return false;
		start = end + 1;
	}
	talker->used_bytes -= (size_t)(start - talker->line);
	memmove(talker->line, start, talker->used_bytes);
	/* A line that does not end. */
	return talker->used_bytes < LINE_BYTES;
}

static void
on_text(void *ctx)
{
	struct talker *talker = ctx;
	ssize_t got = read(talker->source.fd, talker->line + talker->used_bytes, LINE_BYTES - talker->used_bytes);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got > 0)
		talker->used_bytes += (size_t)got;
	if (got <= 0 || !take_lines(talker))
		hang_up(talker);
}

static int
talk(struct talker *talker, int fd, int out_fd)
{
	int rc;

	talker->source = (struct vs_source){.fd = fd, .ready = on_text, .ctx = talker};
	talker->out_fd = out_fd;
	talker->used_bytes = 0;
	rc = vs_loop_add(talker->console->loop, &talker->source);
	if (rc < 0)
		talker->source.fd = -1;
	return rc;
}

static void
on_connection(void *ctx)
{
	struct vs_console *console = ctx;
	int fd = accept4(console->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	unsigned int i;

	if (fd < 0)
		return;
	for (i = 0; i < TALKERS_MAX; i++) {
		if (console->talkers[i].source.fd < 0 && talk(&console->talkers[i], fd, fd) == 0)
			return;
	}
	rp_wire_fd_close(&fd);
}

static int
open_listener(struct vs_console *console, const char *path, struct rp_wire_why *why)
{
	struct sockaddr_un *address = &console->address;
	mode_t mask;
	int fd, rc = 0;

	if (strlen(path) >= sizeof(address->sun_path))
		return rp_wire_why_set(why, -EINVAL, "--control: a path of %zu bytes, expected at most %zu",
				       strlen(path), sizeof(address->sun_path) - 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return rp_wire_why_set(why, -errno, "--control: %s", strerror(errno));
	address->sun_family = AF_UNIX;
	strcpy(address->sun_path, path);
	/* Who may say where packets go: the user who started this. */
	mask = umask(0077);
	if (bind(fd, (struct sockaddr *)address, sizeof(*address)) < 0)
		rc = -errno;
	umask(mask);
	if (rc == 0 && listen(fd, (int)TALKERS_MAX) < 0)
		rc = -errno;
	console->listener = (struct vs_source){.fd = fd, .ready = on_connection, .ctx = console};
	if (rc == 0)
		rc = vs_loop_add(console->loop, &console->listener);
	if (rc < 0) {
		rp_wire_fd_close(&console->listener.fd);
		return rp_wire_why_set(why, rc, "--control: %s: %s", path, strerror(-rc));
	}
	return 0;
}

int
vs_console_create(struct vs_loop *loop, struct vs_switch *sw, const char *socket_path, struct vs_console **ret_console,
		  struct rp_wire_why *why)
{
	struct vs_console *console = calloc(1, sizeof(*console));
	unsigned int i;
	int rc = 0;

	if (console == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	console->loop = loop;
	console->sw = sw;
	console->listener.fd = -1;
	for (i = 0; i < TALKERS_MAX; i++)
		console->talkers[i] = (struct talker){.console = console, .source.fd = -1};
	console->input.console = console;
	console->input.source.fd = -1;
	if (socket_path != NULL)
		rc = open_listener(console, socket_path, why);
	if (rc < 0) {
		vs_console_destroy(console);
		return rc;
	}
	/* A file, or nothing at all, cannot be waited for: then there is the socket. */
	talk(&console->input, STDIN_FILENO, STDOUT_FILENO);
	*ret_console = console;
	return 0;
}

struct vs_console *
vs_console_destroy(struct vs_console *console)
{
	unsigned int i;

	if (console == NULL)
		return NULL;
	hang_up(&console->input);
	for (i = 0; i < TALKERS_MAX; i++)
		hang_up(&console->talkers[i]);
	if (console->listener.fd >= 0) {
		vs_loop_remove(console->loop, &console->listener);
		rp_wire_fd_close(&console->listener.fd);
		unlink(console->address.sun_path);
	}
	free(console);
	return NULL;
}
