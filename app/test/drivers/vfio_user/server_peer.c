/* SPDX-License-Identifier: BSD-3-Clause */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "server_peer.h"

static void *
serve(void *ctx)
{
	struct server_peer *peer = ctx;
	struct pollfd fds[] = {
		{.fd = peer->stop_fd, .events = POLLIN},
		{.fd = rp_vfu_server_fd(peer->server), .events = POLLIN},
	};

	for (;;) {
		poll(fds, 2, -1);
		if (fds[0].revents != 0)
			return NULL;
		server_peer_lock(peer);
		rp_vfu_server_process(peer->server);
		server_peer_unlock(peer);
	}
}

static void
create(struct server_peer *peer, const struct rp_vfu_server_config *config, const struct rp_vfu_server_ops *ops,
       void *ctx)
{
	struct rp_wire_why why = {0};
	int rc = rp_vfu_server_create(config, ops, ctx, &peer->server, &why);

	if (rc < 0)
		print_error("server: %s\n", why.text);
	assert_int_equal(rc, 0);
	pthread_mutex_init(&peer->lock, NULL);
	peer->stop_fd = eventfd(0, EFD_CLOEXEC);
}

void
server_peer_start(struct server_peer *peer, const struct rp_vfu_server_config *config,
		  const struct rp_vfu_server_ops *ops, void *ctx)
{
	create(peer, config, ops, ctx);
	assert_int_equal(pthread_create(&peer->thread, NULL, serve, peer), 0);
}

void
server_peer_stop(struct server_peer *peer)
{
	if (peer->server == NULL)
		return;
	eventfd_write(peer->stop_fd, 1);
	pthread_join(peer->thread, NULL);
	peer->server = rp_vfu_server_destroy(peer->server);
	pthread_mutex_destroy(&peer->lock);
	rp_wire_fd_close(&peer->stop_fd);
}

void
server_peer_lock(struct server_peer *peer)
{
	pthread_mutex_lock(&peer->lock);
}

void
server_peer_unlock(struct server_peer *peer)
{
	pthread_mutex_unlock(&peer->lock);
}

pid_t
server_peer_fork(const struct rp_vfu_server_config *config, const struct rp_vfu_server_ops *ops, void *ctx)
{
	RP_WIRE_FD_SCOPED int ready_fd = eventfd(0, EFD_CLOEXEC);
	uint64_t count;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct server_peer peer;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		create(&peer, config, ops, ctx);
		eventfd_write(ready_fd, 1);
		serve(&peer);
		_exit(1);
	}
	assert_int_equal(read(ready_fd, &count, sizeof(count)), sizeof(count));
	return pid;
}
