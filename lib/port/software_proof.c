/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Proof that a software backend has let go of rings after its connection ended without a
 * word. A process that hangs, is replaced and goes on would be a second owner. It let go
 *
 *   - when its process is over (a pidfd, taken when it connected);
 *   - when it has closed its end of the old connection, and then answers over a new one:
 *     who serves both in one thread, as librte_vhost does, has stopped the old device by then;
 *   - in our own process (a DPDK application with librte_vhost and us in it), where nobody
 *     has to come back: a little after it closed its end. librte_vhost closes it right before
 *     it stops the device.
 *
 * A connection that we end is therefore only half closed, until the other end is, too.
 */

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "software_parts.h"

#define OWN_PROCESS_SETTLES_MS 100
#define LEFTOVERS_BYTES 4096

/* Linux 6.5; older C libraries do not name it. */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

static bool
has_exited(int pid_fd)
{
	struct pollfd wait = {.fd = pid_fd, .events = POLLIN};

	return pid_fd >= 0 && poll(&wait, 1, 0) == 1 && (wait.revents & POLLIN) != 0;
}

static int
pidfd_of_socket(int fd, pid_t pid)
{
	socklen_t size = sizeof(int);
	int pid_fd = -1;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pid_fd, &size) == 0)
		return pid_fd;
	/* Any other error means that the process is gone, and its number may be another's by now. */
	return errno == ENOPROTOOPT ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
}

void
port_software_peer_open(struct port_software *software, int fd)
{
	struct ucred credentials = {0};
	socklen_t size = sizeof(credentials);

	software->proof_fd = rp_wire_fd_dup(fd);
	if (software->proof_fd < 0)
		software->proof_fd = -1;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0 || credentials.pid <= 0)
		return;
	software->pid_fd = pidfd_of_socket(fd, credentials.pid);
	/*
	 * The kernel names the process that called listen(2). When that one has exited although
	 * somebody answers, the backend is its child, and its end proves nothing.
	 */
	if (software->pid_fd < 0 || has_exited(software->pid_fd))
		rp_wire_fd_close(&software->pid_fd);
	else
		software->pid = credentials.pid;
	if (software->pid_fd < 0)
		software->pid_fd = -1;
}

void
port_software_peer_close(struct port_software *software)
{
	rp_wire_fd_close(&software->proof_fd);
	rp_wire_fd_close(&software->pid_fd);
	software->pid = 0;
}

static void
ended(struct port_software_suspect *suspect)
{
	port_source_remove(suspect->port, &suspect->source);
	rp_wire_fd_close(&suspect->fd);
	suspect->ended_ms = rp_wire_clock_ms();
}

static struct port_software_suspect *
find_by_source(struct rp_port *port, const struct port_source *source)
{
	struct port_software_suspect *suspect = port->software->suspects;

	while (suspect != NULL && &suspect->source != source && &suspect->pid_source != source)
		suspect = suspect->next;
	return suspect;
}

/* Answers that come too late, and the end of the old connection. */
static void
old_connection_ready(struct rp_port *port, struct port_source *source)
{
	struct port_software_suspect *suspect = find_by_source(port, source);
	uint8_t leftovers[LEFTOVERS_BYTES];
	ssize_t got;

	do
		got = recv(suspect->fd, leftovers, sizeof(leftovers), MSG_DONTWAIT);
	while (got > 0);
	if (got == 0 || (errno != EAGAIN && errno != EINTR))
		ended(suspect);
}

static void
process_ready(struct rp_port *port, struct port_source *source)
{
	struct port_software_suspect *suspect = find_by_source(port, source);

	port_source_remove(port, source);
	suspect->proven = true;
}

static void
watch(struct rp_port *port, struct port_software_suspect *suspect)
{
	suspect->source.fd = suspect->pid_source.fd = -1;
	if (suspect->pid_fd >= 0)
		port_source_add(port, &suspect->pid_source, suspect->pid_fd, process_ready, 0);
	if (suspect->fd >= 0) {
		shutdown(suspect->fd, SHUT_WR);
		port_source_add(port, &suspect->source, suspect->fd, old_connection_ready, 0);
	}
}

static struct port_software_suspect *
make_suspect(struct rp_port *port)
{
	struct port_software *software = port->software;
	struct port_software_suspect *suspect = calloc(1, sizeof(*suspect));

	if (suspect == NULL)
		return NULL;
	suspect->port = port;
	suspect->pid = software->pid;
	suspect->pid_fd = rp_wire_fd_take(&software->pid_fd);
	suspect->fd = rp_wire_fd_take(&software->proof_fd);
	suspect->ended_ms = suspect->fd < 0 ? rp_wire_clock_ms() : 0;
	suspect->next = software->suspects;
	software->suspects = suspect;
	watch(port, suspect);
	return suspect;
}

/* Without memory for the watch there will be no proof: the rings stay as they are. */
void
port_software_suspect(struct rp_port *port)
{
	struct port_software_suspect *suspect = NULL;
	unsigned int i;

	for (i = 0; i < port->queues_count; i++) {
		struct port_queue *queue = &port->queues[i];
		struct port_software_told *told = &port->software->rings[i];

		if (queue->software == PORT_SOFTWARE_RING_SERVES) {
			if (suspect == NULL)
				suspect = make_suspect(port);
			queue->software = PORT_SOFTWARE_RING_UNPROVEN;
			*told = (struct port_software_told){.suspect = suspect};
		} else if (queue->software != PORT_SOFTWARE_RING_UNPROVEN) {
			queue->software = PORT_SOFTWARE_RING_NONE;
			*told = (struct port_software_told){0};
		}
	}
}

static struct port_software_suspect *
forget(struct rp_port *port, struct port_software_suspect *suspect)
{
	struct port_software_suspect *next = suspect->next;

	port_source_remove(port, &suspect->source);
	port_source_remove(port, &suspect->pid_source);
	rp_wire_fd_close(&suspect->fd);
	rp_wire_fd_close(&suspect->pid_fd);
	free(suspect);
	return next;
}

static void
release(struct rp_port *port, const struct port_software_suspect *suspect)
{
	unsigned int i;

	for (i = 0; i < port->queues_count; i++) {
		struct port_queue *queue = &port->queues[i];

		if (queue->software != PORT_SOFTWARE_RING_UNPROVEN || port->software->rings[i].suspect != suspect)
			continue;
		queue->software = PORT_SOFTWARE_RING_NONE;
		port->software->rings[i].suspect = NULL;
	}
	port_event(port, RP_PORT_EVENT_NOTICE, -1, "software-let-go",
		   "process %d has let go of the rings that it served", (int)suspect->pid);
	port->software->proven_due = true;
}

static void
on_answer(void *ctx, int error, const void *payload, uint32_t size_bytes, int *fds, unsigned int fds_count)
{
	struct rp_port *port = ctx;
	struct port_software_suspect *suspect;

	(void)payload, (void)size_bytes, (void)fds, (void)fds_count;
	for (suspect = port->software->suspects; suspect != NULL; suspect = suspect->next) {
		if (suspect->asked && error == 0)
			suspect->proven = true;
		suspect->asked = false;
	}
}

static bool
is_back(const struct port_software *software, const struct port_software_suspect *suspect)
{
	/* One that cannot be told from others (a container's) is taken for the same when it has hung up. */
	return software->state == PORT_SOFTWARE_THERE && suspect->fd < 0 &&
	       (suspect->pid == software->pid || suspect->pid == 0);
}

/* Ask it anything, now that its old connection has ended. */
static void
ask(struct rp_port *port)
{
	struct port_software *software = port->software;
	struct port_software_suspect *suspect;
	bool asked = false, new = false;

	for (suspect = software->suspects; suspect != NULL; suspect = suspect->next)
		asked |= suspect->asked;
	if (asked)
		return;
	for (suspect = software->suspects; suspect != NULL; suspect = suspect->next)
		new |= suspect->asked = is_back(software, suspect);
	if (new &&rp_vhu_frontend_submit(software->frontend, RP_VHU_GET_FEATURES, NULL, 0, NULL, 0, false, on_answer,
					 port, NULL) < 0)
		on_answer(port, -ENOTCONN, NULL, 0, NULL, 0);
}

static uint64_t
settles_ms(const struct port_software_suspect *suspect)
{
	return suspect->fd < 0 && suspect->pid == getpid() ? suspect->ended_ms + OWN_PROCESS_SETTLES_MS : 0;
}

void
port_software_proof_tick(struct rp_port *port, uint64_t now_ms)
{
	struct port_software_suspect **link = &port->software->suspects;

	ask(port);
	while (*link != NULL) {
		struct port_software_suspect *suspect = *link;
		uint64_t at_ms = settles_ms(suspect);

		if (has_exited(suspect->pid_fd) || (at_ms != 0 && now_ms >= at_ms))
			suspect->proven = true;
		if (!suspect->proven) {
			link = &suspect->next;
			continue;
		}
		release(port, suspect);
		*link = forget(port, suspect);
	}
}

uint64_t
port_software_proof_deadline(const struct port_software *software)
{
	const struct port_software_suspect *suspect;
	uint64_t deadline_ms = 0;

	for (suspect = software->suspects; suspect != NULL; suspect = suspect->next) {
		uint64_t at_ms = settles_ms(suspect);

		if (suspect->proven || (!suspect->asked && is_back(software, suspect)))
			return 1;
		if (at_ms != 0 && (deadline_ms == 0 || at_ms < deadline_ms))
			deadline_ms = at_ms;
	}
	return deadline_ms;
}

void
port_software_proof_close(struct rp_port *port)
{
	while (port->software->suspects != NULL)
		port->software->suspects = forget(port, port->software->suspects);
}
