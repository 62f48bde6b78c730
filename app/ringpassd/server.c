/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "rp_wire_socket.h"
#include "server.h"

#define ACCEPT_PAUSE_S 1
#define PATH_BYTES 108

struct client {
	struct rpd_server *server;
	unsigned int place; /* in server->clients */
	struct bufferevent *stream;
	struct rpd_watch watch;
	bool ending; /* takes no more requests; goes when its output is out */
	bool doomed; /* waits to be freed; nothing else may be done with it */
	const char *doom; /* why, for the log; NULL: it left by itself */
};

struct rpd_server {
	struct rpd_server_config config;
	char path[PATH_BYTES];
	int listen_fd;
	bool given; /* the listening socket: its file is not ours */
	struct event *listen;
	struct event *listen_again;
	struct event *reap;
	struct client *clients[RPD_CLIENTS_MAX]; /* NULL: a free place */
	unsigned int clients_count;
	void (*ended)(void *ctx); /* NULL: nobody asked for the end */
	void *ended_ctx;
};

static void
tell(const struct rpd_server *server, const char *name, const char *text)
{
	struct rp_port_event event = {
		.level = RP_PORT_EVENT_WARNING,
		.queue = -1,
		.name = name,
		.text = text,
	};

	server->config.event(server->config.ctx, &event);
}

static size_t
output_bytes(const struct client *client)
{
	return evbuffer_get_length(bufferevent_get_output(client->stream));
}

static void
doom(struct client *client, const char *why)
{
	if (client->doomed)
		return;
	client->doomed = true;
	client->doom = why;
	bufferevent_disable(client->stream, EV_READ | EV_WRITE);
	event_active(client->server->reap, EV_TIMEOUT, 0);
}

static void
end_client(struct client *client)
{
	client->ending = true;
	bufferevent_disable(client->stream, EV_READ);
	if (output_bytes(client) == 0)
		doom(client, NULL);
}

static void
free_client(struct client *client)
{
	client->server->clients[client->place] = NULL;
	client->server->clients_count--;
	bufferevent_free(client->stream);
	free(client);
}

static void
reap(evutil_socket_t fd, short what, void *ctx)
{
	struct rpd_server *server = ctx;
	unsigned int i;

	(void)fd;
	(void)what;
	for (i = 0; i < RPD_CLIENTS_MAX; i++) {
		const char *why;

		if (server->clients[i] == NULL || !server->clients[i]->doomed)
			continue;
		why = server->clients[i]->doom;
		free_client(server->clients[i]);
		/* Watchers that this overfills are doomed in their turn, and freed by the next call. */
		if (why != NULL)
			tell(server, "rpc-client-dropped", why);
	}
	if (server->ended != NULL && server->clients_count == 0)
		server->ended(server->ended_ctx);
}

static void
send_object(struct client *client, struct json_object *object)
{
	const char *text =
		json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

	if (text == NULL || bufferevent_write(client->stream, text, strlen(text)) < 0 ||
	    bufferevent_write(client->stream, "\n", 1) < 0)
		doom(client, "no memory for its output");
	else if (output_bytes(client) > RPD_CLIENT_OUTPUT_MAX)
		doom(client, "it reads too slowly: its output passed the limit");
}

static bool
serve_line(struct client *client)
{
	struct evbuffer *input = bufferevent_get_input(client->stream);
	struct json_object *answer;
	size_t bytes = 0;
	char *line = evbuffer_readln(input, &bytes, EVBUFFER_EOL_LF);

	if (line != NULL) {
		answer = rpd_rpc_handle(client->server->config.rpc, &client->watch, line, bytes);
		free(line);
	} else if (evbuffer_get_length(input) > RPD_CLIENT_LINE_MAX) {
		answer = rpd_rpc_refusal(RPD_RPC_INVALID_REQUEST, -EMSGSIZE,
					 "request: found a line longer than 65536 bytes");
		send_object(client, answer);
		json_object_put(answer);
		if (!client->doomed)
			end_client(client);
		return false;
	} else {
		return false;
	}
	if (answer != NULL)
		send_object(client, answer);
	json_object_put(answer);
	return true;
}

/* Serve what has come, as long as the client also takes the answers. */
static void
serve(struct client *client)
{
	while (!client->doomed && !client->ending) {
		if (output_bytes(client) >= RPD_CLIENT_OUTPUT_PAUSE) {
			bufferevent_disable(client->stream, EV_READ);
			return;
		}
		if (!serve_line(client))
			break;
	}
	if (!client->doomed && !client->ending)
		bufferevent_enable(client->stream, EV_READ);
}

static void
client_readable(struct bufferevent *stream, void *ctx)
{
	(void)stream;
	serve(ctx);
}

static void
client_drained(struct bufferevent *stream, void *ctx)
{
	struct client *client = ctx;

	(void)stream;
	if (client->doomed)
		return;
	if (client->ending)
		doom(client, NULL);
	else
		serve(client);
}

static void
client_event(struct bufferevent *stream, short what, void *ctx)
{
	struct client *client = ctx;

	(void)stream;
	if ((what & BEV_EVENT_EOF) != 0)
		end_client(client);
	else if ((what & BEV_EVENT_TIMEOUT) != 0)
		doom(client, "it reads too slowly: it took nothing for too long");
	else if ((what & BEV_EVENT_ERROR) != 0)
		doom(client, NULL);
}

/* There is a free place. */
static int
add_client(struct rpd_server *server, int *fd)
{
	uint32_t stall_ms = server->config.stall_ms == 0 ? RPD_CLIENT_STALL_MS : server->config.stall_ms;
	struct timeval stall = {.tv_sec = stall_ms / 1000, .tv_usec = stall_ms % 1000 * 1000};
	struct client *client = calloc(1, sizeof(*client));

	if (client == NULL)
		return -ENOMEM;
	client->server = server;
	client->stream = bufferevent_socket_new(server->config.base, *fd, BEV_OPT_CLOSE_ON_FREE);
	if (client->stream == NULL) {
		free(client);
		return -ENOMEM;
	}
	rp_wire_fd_take(fd);
	while (server->clients[client->place] != NULL)
		client->place++;
	server->clients[client->place] = client;
	server->clients_count++;
	bufferevent_setcb(client->stream, client_readable, client_drained, client_event, client);
	bufferevent_setwatermark(client->stream, EV_READ, 0, RPD_CLIENT_LINE_MAX + 1);
	bufferevent_set_timeouts(client->stream, NULL, &stall);
	bufferevent_enable(client->stream, EV_READ | EV_WRITE);
	return 0;
}

/* Say why, as far as a fresh socket takes it, and close. */
static void
turn_away(struct rpd_server *server, int fd)
{
	struct json_object *refusal;
	char text[64];
	char line[256];
	int bytes;

	snprintf(text, sizeof(text), "too many clients, the limit is %u", RPD_CLIENTS_MAX);
	refusal = rpd_rpc_refusal(RPD_RPC_REFUSED, -EBUSY, text);
	bytes = snprintf(line, sizeof(line), "%s\n", json_object_to_json_string_ext(refusal, JSON_C_TO_STRING_PLAIN));
	json_object_put(refusal);
	/* One that left already needs no answer. */
	(void)!send(fd, line, (size_t)bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
	tell(server, "rpc-client-refused", text);
}

static void
accept_ready(evutil_socket_t listen_fd, short what, void *ctx)
{
	static const struct timeval pause = {.tv_sec = ACCEPT_PAUSE_S};
	struct rpd_server *server = ctx;
	RP_WIRE_FD_SCOPED int fd = -1;
	int rc = rp_wire_socket_accept(listen_fd, &fd);

	(void)what;
	if (rc == -EAGAIN || rc == -ECONNABORTED || rc == -EINTR)
		return;
	if (rc == 0 && server->clients_count >= RPD_CLIENTS_MAX) {
		turn_away(server, fd);
		return;
	}
	if (rc == 0)
		rc = add_client(server, &fd);
	if (rc < 0) {
		/* Out of descriptors or memory: the client stays in the backlog, and asking at once would spin. */
		tell(server, "rpc-accept-failed", strerror(-rc));
		event_del(server->listen);
		event_add(server->listen_again, &pause);
	}
}

static void
listen_again(evutil_socket_t fd, short what, void *ctx)
{
	struct rpd_server *server = ctx;

	(void)fd;
	(void)what;
	event_add(server->listen, NULL);
}

static int
get_listener(struct rpd_server *server, struct rp_wire_why *why)
{
	server->given = server->config.listen_fd != NULL;
	if (!server->given)
		return rp_wire_socket_listen_mode(server->config.path, RPD_SERVER_FILE_MODE, &server->listen_fd, why);
	server->listen_fd = rp_wire_fd_take(server->config.listen_fd);
	return 0;
}

int
rpd_server_create(const struct rpd_server_config *config, struct rpd_server **ret_server, struct rp_wire_why *why)
{
	struct rpd_server *server = calloc(1, sizeof(*server));
	int rc;

	if (server == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	server->config = *config;
	server->listen_fd = -1;
	rc = get_listener(server, why);
	if (rc < 0) {
		free(server);
		return rc;
	}
	snprintf(server->path, sizeof(server->path), "%s", config->path);
	server->listen = event_new(config->base, server->listen_fd, EV_READ | EV_PERSIST, accept_ready, server);
	server->listen_again = evtimer_new(config->base, listen_again, server);
	server->reap = evtimer_new(config->base, reap, server);
	if (server->listen == NULL || server->listen_again == NULL || server->reap == NULL ||
	    event_add(server->listen, NULL) < 0) {
		rpd_server_destroy(server);
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	}
	*ret_server = server;
	return 0;
}

struct rpd_server *
rpd_server_destroy(struct rpd_server *server)
{
	unsigned int i;

	if (server == NULL)
		return NULL;
	for (i = 0; i < RPD_CLIENTS_MAX; i++) {
		if (server->clients[i] != NULL)
			free_client(server->clients[i]);
	}
	if (server->listen != NULL)
		event_free(server->listen);
	if (server->listen_again != NULL)
		event_free(server->listen_again);
	if (server->reap != NULL)
		event_free(server->reap);
	rp_wire_fd_close(&server->listen_fd);
	if (!server->given)
		unlink(server->path);
	free(server);
	return NULL;
}

void
rpd_server_end(struct rpd_server *server, void (*done)(void *ctx), void *ctx)
{
	unsigned int i;

	server->ended = done;
	server->ended_ctx = ctx;
	event_del(server->listen);
	event_del(server->listen_again);
	for (i = 0; i < RPD_CLIENTS_MAX; i++)
		if (server->clients[i] != NULL && !server->clients[i]->doomed)
			end_client(server->clients[i]);
	event_active(server->reap, EV_TIMEOUT, 0);
}

void
rpd_server_event(struct rpd_server *server, const struct rp_port_event *event)
{
	struct json_object *object = NULL;
	unsigned int i;

	if (server == NULL)
		return;
	for (i = 0; i < RPD_CLIENTS_MAX; i++) {
		struct client *client = server->clients[i];

		if (client == NULL || client->doomed || client->ending || !rpd_watch_wants(&client->watch, event))
			continue;
		if (object == NULL)
			object = rpd_rpc_event(event);
		send_object(client, object);
	}
	json_object_put(object);
}

unsigned int
rpd_server_clients_count(const struct rpd_server *server)
{
	return server->clients_count;
}
