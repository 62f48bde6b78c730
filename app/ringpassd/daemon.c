/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "daemon.h"
#include "hand_over.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "server.h"

#define EXIT_FAILED 1
#define EXIT_CONFIG 2

struct daemon {
	struct event_base *base;
	struct rpd_log *log;
	struct rpd_node node;
	struct rpd_ports *ports;
	struct rpd_server *server;
	struct rpd_service *service;
	struct rpd_rpc rpc;
	struct event *terminated;
	struct event *interrupted;
	struct event *replaced; /* SIGUSR2 */
	struct event *end_due; /* what is answered is out, or took too long */
	struct event *log_due;
	struct event *status_due;
	char rpc_directory[RPD_SOCKET_PATH_MAX]; /* made by us; empty: it was there */
	bool ending; /* a successor has the ports */
};

/* One under way. */
struct hand_over {
	struct daemon *daemon;
	struct json_object *ports; /* what became of each */
};

static void
daemon_event(void *ctx, const struct rp_port_event *event)
{
	struct daemon *self = ctx;
	uint64_t now_ms = rp_wire_clock_ms();
	uint64_t due_ms;

	rpd_log_event(self->log, event, now_ms);
	due_ms = rpd_log_deadline(self->log);
	if (due_ms != 0 && !event_pending(self->log_due, EV_TIMEOUT, NULL)) {
		struct timeval delay = {.tv_sec = (time_t)((due_ms - now_ms) / 1000) + 1};

		event_add(self->log_due, &delay);
	}
	rpd_server_event(self->server, event);
	/* Later: an event comes from within what changes. */
	if (strncmp(event->name, "port-", 5) == 0)
		event_active(self->status_due, EV_TIMEOUT, 0);
}

static void
tell_status(evutil_socket_t fd, short what, void *ctx)
{
	const struct daemon *self = ctx;
	const struct rpd_port *port = NULL;
	unsigned int up = 0, waiting = 0;
	char text[64];

	(void)fd;
	(void)what;
	while ((port = rpd_ports_next(self->ports, port)) != NULL) {
		if (port->port != NULL)
			up++;
		else
			waiting++;
	}
	snprintf(text, sizeof(text), "%u ports up, %u waiting", up, waiting);
	rpd_service_status(self->service, text);
}

static void
log_due(evutil_socket_t fd, short what, void *ctx)
{
	struct daemon *self = ctx;
	uint64_t now_ms = rp_wire_clock_ms();
	uint64_t due_ms;

	(void)fd;
	(void)what;
	rpd_log_tick(self->log, now_ms);
	due_ms = rpd_log_deadline(self->log);
	if (due_ms != 0) {
		struct timeval delay = {.tv_sec = (time_t)((due_ms - now_ms) / 1000) + 1};

		event_add(self->log_due, &delay);
	}
}

static void
tell(struct daemon *self, enum rp_port_event_level level, const char *name, const char *text)
{
	struct rp_port_event event = {.level = level, .queue = -1, .name = name, .text = text};

	daemon_event(self, &event);
}

static void
stop(evutil_socket_t number, short what, void *ctx)
{
	struct daemon *self = ctx;

	(void)what;
	tell(self, RP_PORT_EVENT_NOTICE, "stopping", number == SIGTERM ? "SIGTERM" : "SIGINT");
	event_base_loopexit(self->base, NULL);
}

/* A client that takes nothing does not hold up the successor. */
#define END_LIMIT_S 1

static void
end_now(void *ctx)
{
	struct daemon *self = ctx;

	event_base_loopexit(self->base, NULL);
}

static void
end_due(evutil_socket_t fd, short what, void *ctx)
{
	static const struct timeval limit = {.tv_sec = END_LIMIT_S};
	struct daemon *self = ctx;

	(void)fd;
	(void)what;
	if (self->ending) {
		end_now(self);
		return;
	}
	self->ending = true;
	event_add(self->end_due, &limit);
	rpd_server_end(self->server, end_now, self);
}

static void
told_of_port(void *ctx, const struct rpd_port *entry, const char *reason)
{
	struct hand_over *hand_over = ctx;
	struct json_object *port = json_object_new_object();
	struct rp_port_event event = {
		.level = reason == NULL ? RP_PORT_EVENT_NOTICE : RP_PORT_EVENT_WARNING,
		.port = entry->spec.name,
		.queue = -1,
		.name = reason == NULL ? "port-given" : "port-not-given",
		.text = reason == NULL ? "its frontend stays connected" : reason,
	};

	daemon_event(hand_over->daemon, &event);
	rpd_json_add_text(port, "port", entry->spec.name);
	json_object_object_add(port, "live", json_object_new_boolean(reason == NULL));
	if (reason != NULL)
		rpd_json_add_text(port, "reason", reason);
	json_object_array_add(hand_over->ports, port);
}

/* The ports go to a successor; the process ends once whoever asked for it is answered. */
static int
hand_over(void *ctx, struct json_object *result, struct rp_wire_why *why)
{
	struct daemon *self = ctx;
	struct hand_over hand_over = {.daemon = self, .ports = json_object_new_array()};
	int rc;

	if (self->ending || event_pending(self->end_due, EV_TIMEOUT, NULL))
		rc = rp_wire_why_set(why, -EBUSY, "it is under way");
	else
		rc = rpd_hand_over_give(self->ports, self->service, told_of_port, &hand_over, why);
	json_object_object_add(result, "ports", hand_over.ports);
	if (rc < 0)
		return rc;
	tell(self, RP_PORT_EVENT_NOTICE, "stopping", "a successor goes on");
	rpd_service_leave(self->service);
	rpd_ports_leave(self->ports);
	event_active(self->end_due, EV_TIMEOUT, 0);
	return 0;
}

/* Who sends it replaces the process in any case. */
static void
replaced(evutil_socket_t number, short what, void *ctx)
{
	struct daemon *self = ctx;
	struct json_object *result = json_object_new_object();
	struct rp_wire_why why = {0};

	(void)number;
	(void)what;
	if (hand_over(self, result, &why) < 0 && why.error != -EBUSY) {
		tell(self, RP_PORT_EVENT_WARNING, "nothing-given", why.text);
		tell(self, RP_PORT_EVENT_NOTICE, "stopping", "SIGUSR2");
		event_base_loopexit(self->base, NULL);
	}
	json_object_put(result);
}

static int
open_loop(struct daemon *self, enum rp_port_event_level level)
{
	self->base = event_base_new();
	if (self->base == NULL || rpd_log_create(stderr, level, &self->log) < 0)
		return -ENOMEM;
	self->terminated = evsignal_new(self->base, SIGTERM, stop, self);
	self->interrupted = evsignal_new(self->base, SIGINT, stop, self);
	self->replaced = evsignal_new(self->base, SIGUSR2, replaced, self);
	self->end_due = evtimer_new(self->base, end_due, self);
	self->log_due = evtimer_new(self->base, log_due, self);
	self->status_due = evtimer_new(self->base, tell_status, self);
	if (self->terminated == NULL || self->interrupted == NULL || self->replaced == NULL || self->end_due == NULL ||
	    self->log_due == NULL || self->status_due == NULL)
		return -ENOMEM;
	if (event_add(self->terminated, NULL) < 0 || event_add(self->interrupted, NULL) < 0 ||
	    event_add(self->replaced, NULL) < 0)
		return -ENOMEM;
	return 0;
}

static void
close_all(struct daemon *self, const struct rpd_options *options)
{
	struct event *events[] = {self->terminated, self->interrupted, self->replaced,
				  self->end_due,    self->log_due,     self->status_due};
	unsigned int i;

	self->server = rpd_server_destroy(self->server);
	rpd_service_leave(self->service);
	self->ports = rpd_ports_destroy(self->ports);
	if (options->set_vfio_keeper != NULL)
		options->set_vfio_keeper(NULL, NULL);
	self->service = rpd_service_destroy(self->service);
	for (i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		if (events[i] != NULL)
			event_free(events[i]);
	}
	self->log = rpd_log_destroy(self->log);
	if (self->base != NULL)
		event_base_free(self->base);
	/* Others may have put their sockets there too: then it stays. */
	if (self->rpc_directory[0] != '\0')
		rmdir(self->rpc_directory);
}

/* /run is empty after a boot: a missing directory is the normal case, not the user's mistake. */
static void
make_rpc_directory(struct daemon *self, const char *path)
{
	char *slash;

	snprintf(self->rpc_directory, sizeof(self->rpc_directory), "%s", path);
	slash = strrchr(self->rpc_directory, '/');
	if (slash != NULL)
		*slash = '\0';
	if (slash == NULL || mkdir(self->rpc_directory, 0755) < 0)
		self->rpc_directory[0] = '\0';
}

static int
open_rpc(struct daemon *self, const char *path, bool keep)
{
	struct rpd_server_config config = {
		.base = self->base,
		.path = path,
		.rpc = &self->rpc,
		.event = daemon_event,
		.ctx = self,
	};
	RP_WIRE_FD_SCOPED int listen_fd = -1;
	struct rp_wire_why why = {0};
	int rc;

	self->rpc = (struct rpd_rpc){.ports = self->ports, .log = self->log, .ctx = self};
	if (keep)
		self->rpc.hand_over = hand_over;
	make_rpc_directory(self, path);
	rc = rpd_service_listen(self->service, RPD_SERVICE_RPC, path, RPD_SERVER_FILE_MODE, &listen_fd, &why);
	if (listen_fd >= 0)
		config.listen_fd = &listen_fd;
	if (rc < 0 || rpd_server_create(&config, &self->server, &why) < 0) {
		fprintf(stderr, "ringpassd: RPC socket: %s\n", why.text);
		return EXIT_FAILED;
	}
	tell(self, RP_PORT_EVENT_NOTICE, "rpc-listening", path);
	return 0;
}

static int
open_service(struct daemon *self, const struct rpd_options *options)
{
	const struct rpd_service_config config = {
		.base = self->base,
		.keep = options->hand_over,
		.event = daemon_event,
		.ctx = self,
	};
	struct rp_wire_why why = {0};
	int rc = rpd_service_create(&config, &self->service, &why);

	if (rc == 0 && options->set_vfio_keeper != NULL)
		options->set_vfio_keeper(&rpd_groups_keeper, rpd_service_groups(self->service));
	if (rc == 0)
		return 0;
	fprintf(stderr, "ringpassd: %s%s\n", options->hand_over ? "--hand-over: " : "", why.text);
	return rc == -ENOTCONN ? EXIT_CONFIG : EXIT_FAILED;
}

static int
open_ports(struct daemon *self, const struct rpd_config *config)
{
	struct rp_wire_why why = {0};
	const char *where = "";

	if (rpd_hand_over_adopt(self->ports, self->service, config, daemon_event, self, &where, &why) == 0)
		return 0;
	fprintf(stderr, "%s: %s\n", where, why.text);
	return EXIT_CONFIG;
}

static int
place_thread(struct daemon *self, const struct rpd_config *config)
{
	struct rp_wire_why why = {0};

	if (rpd_node_begin(&self->node, &config->node, daemon_event, self, &why) == 0)
		return 0;
	fprintf(stderr, "ringpassd: %s\n", why.text);
	return EXIT_CONFIG;
}

static int
start(struct daemon *self, const struct rpd_options *options, const struct rpd_config *config,
      const struct rp_accel_registry *registry)
{
	struct rpd_ports_config ports_config = {.registry = registry, .event = daemon_event, .ctx = self};
	const char *rpc_path = options->rpc_path;
	int status;

	if (rpc_path == NULL)
		rpc_path = config->rpc_path[0] != '\0' ? config->rpc_path : RPD_RPC_PATH_DEFAULT;
	if (open_loop(self, options->level) < 0) {
		fprintf(stderr, "ringpassd: the event loop cannot be set up\n");
		return EXIT_FAILED;
	}
	status = open_service(self, options);
	if (status != 0)
		return status;
	status = place_thread(self, config);
	if (status != 0)
		return status;
	ports_config.node = &self->node;
	ports_config.base = self->base;
	ports_config.service = self->service;
	if (rpd_ports_create(&ports_config, &self->ports) < 0) {
		fprintf(stderr, "ringpassd: no memory\n");
		return EXIT_FAILED;
	}
	status = open_rpc(self, rpc_path, options->hand_over);
	return status != 0 ? status : open_ports(self, config);
}

static void
report(void *ctx, const char *line)
{
	fprintf(ctx, "%s\n", line);
}

/* The soft limit is for programs that call select(2): it is 1024, which is not enough for the ports we allow. */
static void
raise_files_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int
rpd_daemon_run(const struct rpd_options *options, const struct rp_accel_registry *registry)
{
	struct rpd_config config = {0};
	struct daemon self = {0};
	int status;

	if (options->config_path != NULL &&
	    rpd_config_read(options->config_path, registry, report, stderr, &config) < 0)
		return EXIT_CONFIG;
	if (options->check) {
		printf("%s: ok, %u ports\n", options->config_path, config.ports_count);
		rpd_config_free(&config);
		return EXIT_SUCCESS;
	}
	/* A client or a log reader that leaves must not take the ports with it. */
	signal(SIGPIPE, SIG_IGN);
	raise_files_limit();
	status = start(&self, options, &config, registry);
	rpd_config_free(&config);
	if (status == 0) {
		printf("ringpassd: ready\n");
		fflush(stdout);
		rpd_service_ready(self.service);
		if (event_base_dispatch(self.base) < 0)
			status = EXIT_FAILED;
	}
	close_all(&self, options);
	return status;
}
