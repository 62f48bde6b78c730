/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon.h"
#include "fake_accel.h"
#include "rp_dma_node.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"
#include "test_vm.h"

/*
 * A whole daemon in a child process, with a real port, and a guest here whose memory is on the node that a test says.
 * Where there are two nodes: app/test/e2e/test_numa.py has it run in such a machine.
 */

#define QUEUES 2u
#define TWO_NODES()                                                                                                    \
	do {                                                                                                           \
		if (rp_dma_nodes_count() < 2)                                                                          \
			skip();                                                                                        \
	} while (0)

static char directory[] = "/tmp/ringpass-test-numa.XXXXXX";
static char config_path[64], rpc_path[64], socket_path[64];
static cpu_set_t all;
static struct test_vm vm;

struct daemon_process {
	pid_t pid;
	int out;
	char text[4096];
	size_t bytes;
};

static void
write_config(const char *root, const char *port)
{
	FILE *file = fopen(config_path, "we");

	assert_non_null(file);
	fprintf(file, "%s ports = ( { name = \"vm0\"; socket = \"%s\"; accelerators = ( \"fake\" ); %s } );\n", root,
		socket_path, port);
	fclose(file);
}

static bool
says(struct daemon_process *process, const char *part)
{
	while (strstr(process->text, part) == NULL) {
		ssize_t got =
			read(process->out, process->text + process->bytes, sizeof(process->text) - 1 - process->bytes);

		if (got <= 0)
			return false;
		process->bytes += (size_t)got;
		process->text[process->bytes] = '\0';
	}
	return true;
}

/* It may run on these CPUs, as taskset(1) has it. */
static void
begin(struct daemon_process *process, const cpu_set_t *cpus)
{
	const struct rpd_options options = {
		.config_path = config_path, .rpc_path = rpc_path, .level = RP_PORT_EVENT_NOTICE};
	int pipe_fds[2];

	memset(process, 0, sizeof(*process));
	assert_int_equal(pipe(pipe_fds), 0);
	fflush(NULL);
	process->pid = fork();
	assert_true(process->pid >= 0);
	if (process->pid == 0) {
		dup2(pipe_fds[1], STDOUT_FILENO);
		dup2(pipe_fds[1], STDERR_FILENO);
		close(pipe_fds[0]);
		close(pipe_fds[1]);
		/* A test that fails leaves it to nobody. */
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || sched_setaffinity(0, sizeof(*cpus), cpus) < 0)
			exit(99);
		exit(rpd_daemon_run(&options, &fake_accel_registry));
	}
	close(pipe_fds[1]);
	process->out = pipe_fds[0];
}

static int
end(struct daemon_process *process)
{
	int status;

	assert_int_equal(waitpid(process->pid, &status, 0), process->pid);
	rp_wire_fd_close(&process->out);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* A guest's driver has started its rings: what the daemon does for it is done. */
static void
connect_guest(struct daemon_process *process, int node)
{
	unsigned int i;

	if (!says(process, "ringpassd: ready\n"))
		fail_msg("%s", process->text);
	test_vm_open(&vm, socket_path, QUEUES, 64, NULL);
	assert_int_equal(rp_dma_node_place(vm.memory, vm.memory_bytes, node), 0);
	for (i = 0; i < QUEUES; i++)
		test_vm_queue_start(&vm, i, 0);
}

static void
disconnect_guest(struct daemon_process *process)
{
	test_vm_close(&vm);
	assert_int_equal(kill(process->pid, SIGTERM), 0);
	if (end(process) != 0)
		fail_msg("%s", process->text);
}

static void
assert_shown(const char *part)
{
	static const char call[] =
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"port.show\",\"params\":{\"port\":\"vm0\"}}\n";
	RP_WIRE_FD_SCOPED int fd = -1;
	struct rp_wire_why why;
	char answer[16384];
	size_t bytes = 0;

	assert_int_equal(rp_wire_socket_connect(rpc_path, &fd, &why), 0);
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
	assert_int_equal(write(fd, call, sizeof(call) - 1), sizeof(call) - 1);
	do {
		ssize_t got = read(fd, answer + bytes, sizeof(answer) - 1 - bytes);

		assert_true(got > 0);
		bytes += (size_t)got;
	} while (answer[bytes - 1] != '\n');
	answer[bytes] = '\0';
	if (strstr(answer, part) == NULL)
		fail_msg("no %s in %s", part, answer);
}

static void
cpus_of(int node, cpu_set_t *ret_cpus)
{
	assert_int_equal(rp_dma_node_run(node), 0);
	assert_int_equal(sched_getaffinity(0, sizeof(*ret_cpus), ret_cpus), 0);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

static void
assert_runs_on(const struct daemon_process *process, const cpu_set_t *cpus)
{
	cpu_set_t now;

	assert_int_equal(sched_getaffinity(process->pid, sizeof(now), &now), 0);
	assert_true(CPU_EQUAL(&now, cpus));
}

static void
one_node(void **state)
{
	struct daemon_process process;

	(void)state;
	if (rp_dma_nodes_count() > 1)
		skip();
	write_config("", "");
	begin(&process, &all);
	connect_guest(&process, RP_DMA_NODE_ANY);
	assert_shown("\"thread_node\":null");
	assert_shown("\"node\":null");
	assert_runs_on(&process, &all);
	disconnect_guest(&process);
}

static void
a_node_that_is_not_there(void **state)
{
	struct daemon_process process;

	(void)state;
	write_config("node = 63;", "");
	begin(&process, &all);
	assert_true(says(&process, "ringpassd: node: found 63, which this machine has not\n"));
	assert_int_equal(end(&process), 2);
}

static void
it_follows_the_guest(void **state)
{
	struct daemon_process process;
	cpu_set_t cpus;
	char part[64];
	int node;

	(void)state;
	TWO_NODES();
	write_config("", "");
	for (node = 1; node >= 0; node--) {
		begin(&process, &all);
		connect_guest(&process, node);
		snprintf(part, sizeof(part), "\"thread_node\":%d", node);
		assert_shown(part);
		snprintf(part, sizeof(part), "\"node\":%d", node);
		assert_shown(part);
		cpus_of(node, &cpus);
		assert_runs_on(&process, &cpus);
		snprintf(part, sizeof(part), "to node %d, where most rings are", node);
		assert_true(says(&process, part));
		disconnect_guest(&process);
	}
}

/* Whatever it was that tied it. */
static void
it_stays_where_it_may_run(void **state)
{
	struct daemon_process process;
	cpu_set_t cpus;

	(void)state;
	TWO_NODES();
	cpus_of(0, &cpus);
	write_config("", "");
	begin(&process, &cpus);
	connect_guest(&process, 1);
	assert_shown("\"thread_node\":null");
	assert_shown("\"node\":1");
	assert_runs_on(&process, &cpus);
	disconnect_guest(&process);
}

static void
it_stays_where_the_user_wants_it(void **state)
{
	struct daemon_process process;
	cpu_set_t cpus;

	(void)state;
	TWO_NODES();
	write_config("node = \"any\";", "");
	begin(&process, &all);
	connect_guest(&process, 1);
	assert_shown("\"thread_node\":null");
	assert_runs_on(&process, &all);
	disconnect_guest(&process);

	cpus_of(0, &cpus);
	write_config("node = 0;", "");
	begin(&process, &all);
	connect_guest(&process, 1);
	assert_shown("\"thread_node\":0");
	assert_runs_on(&process, &cpus);
	disconnect_guest(&process);
}

/* As the kernel has it: "ADDRESS POLICY file=/memfd:NAME ... N1=3 ..." */
static void
assert_memory_on(const struct daemon_process *process, const char *name, int node)
{
	char path[64], line[1024], wanted[16], other[16];
	unsigned int found = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/numa_maps", (int)process->pid);
	snprintf(wanted, sizeof(wanted), " N%d=", node);
	snprintf(other, sizeof(other), " N%d=", 1 - node);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file) != NULL) {
		if (strstr(line, name) == NULL)
			continue;
		found += strstr(line, wanted) != NULL;
		if (strstr(line, other) != NULL)
			fail_msg("not on node %d: %s", node, line);
	}
	fclose(file);
	assert_true(found > 0);
}

static void
private_rings_lie_beside_the_guests(void **state)
{
	struct daemon_process process;
	int node;

	(void)state;
	TWO_NODES();
	/* Where the thread is it would be by itself. */
	write_config("node = 0;", "ring = \"shadow\";");
	for (node = 1; node >= 0; node--) {
		begin(&process, &all);
		connect_guest(&process, node);
		assert_memory_on(&process, "ringpass-private-rings", node);
		disconnect_guest(&process);
	}
}

static int
setup(void **state)
{
	(void)state;
	if (mkdtemp(directory) == NULL || sched_getaffinity(0, sizeof(all), &all) < 0)
		return -1;
	snprintf(config_path, sizeof(config_path), "%s/ringpassd.conf", directory);
	snprintf(rpc_path, sizeof(rpc_path), "%s/rpc.sock", directory);
	snprintf(socket_path, sizeof(socket_path), "%s/vm0.sock", directory);
	fake_accel_setup();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fake_accel_teardown();
	unlink(config_path);
	return rmdir(directory);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_node),
		cmocka_unit_test(a_node_that_is_not_there),
		cmocka_unit_test(it_follows_the_guest),
		cmocka_unit_test(it_stays_where_it_may_run),
		cmocka_unit_test(it_stays_where_the_user_wants_it),
		cmocka_unit_test(private_rings_lie_beside_the_guests),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
