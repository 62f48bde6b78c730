/* SPDX-License-Identifier: BSD-3-Clause */
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash.h"

#define CANNOT 77

static void
child(void (*victim)(void *ctx), void *ctx)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(CANNOT);
	raise(SIGSTOP);
	victim(ctx);
	_exit(0);
}

/* Until it has ended. @return its status. */
static int
watch(pid_t pid, const void *shared, uint8_t *last, size_t size_bytes, void (*check)(void *ctx), void *ctx,
      unsigned int *ret_states)
{
	int status = 0;

	for (;;) {
		if (waitpid(pid, &status, 0) < 0 || !WIFSTOPPED(status))
			return status;
		if (memcmp(shared, last, size_bytes) != 0) {
			memcpy(last, shared, size_bytes);
			++*ret_states;
			check(ctx);
		}
		if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) < 0) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return CANNOT << 8;
		}
	}
}

unsigned int
crash_everywhere(void (*victim)(void *ctx), void *ctx, const void *shared, size_t size_bytes, void (*check)(void *ctx))
{
	uint8_t *last = malloc(size_bytes);
	unsigned int states = 0;
	int status;
	pid_t pid;

	assert_non_null(last);
	memcpy(last, shared, size_bytes);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child(victim, ctx);
	status = watch(pid, shared, last, size_bytes, check, ctx, &states);
	free(last);
	if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT)
		return 0;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	return states;
}
