/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon.h"
#include "fake_port.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"
#include "test_support.h"

/* A whole daemon in a child process, on a lib/port that serves nothing. */
struct child {
	pid_t pid;
	int out; /* its standard output and error, of which the first lines are read */
	char text[4096];
	size_t bytes;
};

static char directory[] = "/tmp/ringpass-test-daemon.XXXXXX";
static char config_path[64];
static char rpc_path[64];

static void
write_config(const char *text)
{
	FILE *file = fopen(config_path, "we");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void
run_child(struct child *child, const struct rpd_options *options)
{
	int pipe_fds[2];

	memset(child, 0, sizeof(*child));
	assert_int_equal(pipe(pipe_fds), 0);
	fflush(NULL);
	child->pid = fork();
	assert_true(child->pid >= 0);
	if (child->pid == 0) {
		dup2(pipe_fds[1], STDOUT_FILENO);
		dup2(pipe_fds[1], STDERR_FILENO);
		close(pipe_fds[0]);
		close(pipe_fds[1]);
		/* Not _exit(2): a leak sanitizer has its say at the end. */
		exit(rpd_daemon_run(options, &fake_registry));
	}
	close(pipe_fds[1]);
	child->out = pipe_fds[0];
}

/* Read what it says up to `part`, or its end. */
static bool
says(struct child *child, const char *part)
{
	while (strstr(child->text, part) == NULL) {
		ssize_t got = read(child->out, child->text + child->bytes, sizeof(child->text) - 1 - child->bytes);

		if (got <= 0)
			return false;
		child->bytes += (size_t)got;
		child->text[child->bytes] = '\0';
	}
	return true;
}

static int
status_of(struct child *child)
{
	int status;

	assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
	rp_wire_fd_close(&child->out);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void
test_runs_until_told(void **state)
{
	/* The last one would have a successor go on, which takes a service manager: then it is like the others. */
	static const int signals[] = {SIGTERM, SIGINT, SIGUSR2};
	struct rpd_options options = {.rpc_path = rpc_path, .level = RP_PORT_EVENT_NOTICE};
	struct rp_wire_why why;
	struct child child;
	unsigned int i;
	int fd = -1;

	(void)state;
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		run_child(&child, &options);
		assert_true(says(&child, "ringpassd: ready\n"));
		assert_int_equal(rp_wire_socket_connect(rpc_path, &fd, &why), 0);
		assert_int_equal(kill(child.pid, signals[i]), 0);
		assert_int_equal(status_of(&child), 0);
		assert_int_equal(access(rpc_path, F_OK), -1);
		rp_wire_fd_close(&fd);
	}
}

static void
test_configuration(void **state)
{
	struct rpd_options options = {.config_path = config_path, .rpc_path = rpc_path, .level = RP_PORT_EVENT_NOTICE};
	struct child child;

	(void)state;
	write_config("ports = ( { name = \"vm0\"; socket = \"/tmp/vm0.sock\"; accelerators = ( \"fake\" ); } );\n");
	run_child(&child, &options);
	assert_true(says(&child, "ringpassd: ready\n"));
	assert_true(says(&child, "notice port=vm0 event=port-up /tmp/vm0.sock\n"));
	kill(child.pid, SIGTERM);
	assert_true(says(&child, "notice event=stopping SIGTERM\n"));
	assert_true(says(&child, "notice port=vm0 event=closing the fake port closes\n"));
	assert_int_equal(status_of(&child), 0);
}

static void
test_bad_configuration(void **state)
{
	struct rpd_options options = {.config_path = config_path, .rpc_path = rpc_path, .level = RP_PORT_EVENT_NOTICE};
	struct child child;
	char line[128];

	(void)state;
	write_config("ports = ( { nom = \"vm0\"; } );\n");
	run_child(&child, &options);
	snprintf(line, sizeof(line), "%s:1: ports[0].nom: found an unknown key, expected name, ", config_path);
	assert_true(says(&child, line));
	assert_int_equal(status_of(&child), 2);

	/* What is found out only when the port is made names its place too. */
	write_config("\nports = ( { name = \"vm0\"; socket = \"/nonexistent/s\"; accelerators = ( \"fake\" ); } );\n");
	run_child(&child, &options);
	snprintf(line, sizeof(line), "%s:2: ports[0]: socket: found no directory /nonexistent", config_path);
	assert_true(says(&child, line));
	assert_int_equal(status_of(&child), 2);
	assert_int_equal(access(rpc_path, F_OK), -1);
}

static void
test_check_only(void **state)
{
	struct rpd_options options = {.config_path = config_path, .check = true};
	struct child child;

	(void)state;
	/* Nothing is made: the socket's directory need not exist. */
	write_config("ports = ( { name = \"vm0\"; socket = \"/nonexistent/s\"; accelerators = ( \"fake\" ); } );\n");
	run_child(&child, &options);
	assert_int_equal(status_of(&child), 0);
	write_config("ports = 1;\n");
	run_child(&child, &options);
	assert_int_equal(status_of(&child), 2);
}

static void
test_late_accelerator(void **state)
{
	struct rpd_options options = {.config_path = config_path, .rpc_path = rpc_path, .level = RP_PORT_EVENT_NOTICE};
	struct child child;

	(void)state;
	write_config("ports = ( { name = \"vm0\"; socket = \"/tmp/vm0.sock\"; accelerators = ( \"fake\" ); } );\n");
	fake_ports.create_error = -ENOENT;
	fake_ports.create_text = "not there";
	run_child(&child, &options);
	assert_true(says(&child, "warning port=vm0 event=port-waiting not there\n"));
	assert_true(says(&child, "ringpassd: ready\n"));
	kill(child.pid, SIGTERM);
	assert_int_equal(status_of(&child), 0);
	fake_ports_reset();
}

static void
test_files_limit(void **state)
{
	struct rpd_options options = {.level = RP_PORT_EVENT_NOTICE, .rpc_path = rpc_path};
	struct rlimit had, low, seen;
	struct child child;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &had), 0);
	low = (struct rlimit){.rlim_cur = had.rlim_max / 2, .rlim_max = had.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	run_child(&child, &options);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &had), 0);
	assert_true(says(&child, "ringpassd: ready\n"));
	assert_int_equal(prlimit(child.pid, RLIMIT_NOFILE, NULL, &seen), 0);
	kill(child.pid, SIGTERM);
	assert_int_equal(status_of(&child), 0);
	assert_true(seen.rlim_cur == had.rlim_max);
	assert_true(seen.rlim_max == had.rlim_max);
}

static void
test_rpc_socket(void **state)
{
	struct rpd_options options = {.rpc_path = rpc_path, .level = RP_PORT_EVENT_NOTICE};
	struct rp_wire_why why;
	char made[96], made_directory[80];
	struct child child;
	int fd;

	(void)state;
	assert_int_equal(rp_wire_socket_listen(rpc_path, &fd, &why), 0);
	run_child(&child, &options);
	assert_true(says(&child, "ringpassd: RPC socket: "));
	assert_int_equal(status_of(&child), 1);
	rp_wire_fd_close(&fd);
	unlink(rpc_path);

	/* A missing directory is made, and goes again. */
	snprintf(made_directory, sizeof(made_directory), "%s/made", directory);
	snprintf(made, sizeof(made), "%s/rpc.sock", made_directory);
	options.rpc_path = made;
	run_child(&child, &options);
	assert_true(says(&child, "ringpassd: ready\n"));
	assert_int_equal(access(made, F_OK), 0);
	kill(child.pid, SIGTERM);
	assert_int_equal(status_of(&child), 0);
	assert_int_equal(access(made_directory, F_OK), -1);
}

static int
make_directory(void **state)
{
	(void)state;
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(config_path, sizeof(config_path), "%s/ringpass.conf", directory);
	snprintf(rpc_path, sizeof(rpc_path), "%s/rpc.sock", directory);
	return 0;
}

static int
remove_directory(void **state)
{
	(void)state;
	unlink(config_path);
	return rmdir(directory);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runs_until_told),	  cmocka_unit_test(test_configuration),
		cmocka_unit_test(test_bad_configuration), cmocka_unit_test(test_check_only),
		cmocka_unit_test(test_late_accelerator),  cmocka_unit_test(test_files_limit),
		cmocka_unit_test(test_rpc_socket),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
