/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ports.h"
#include "rp_wire_clock.h"

#define RETRY_DEFAULT_MS 1000u
/* A device that accepts and then says nothing holds the loop until its time-out: at most a tenth of the time. */
#define RETRY_SHARE 10u

TAILQ_HEAD(port_list, rpd_port);

struct rpd_ports {
	struct rpd_ports_config config;
	struct rp_port_ops port_ops;
	struct port_list list;
	struct rp_port_files *files;
	unsigned int count;
};

static void
port_event(void *ctx, const struct rp_port_event *event)
{
	const struct rpd_port *entry = ctx;

	entry->ports->config.event(entry->ports->config.ctx, event);
}

static int
port_listen(void *ctx, const char *path, int *ret_fd, struct rp_wire_why *why)
{
	const struct rpd_port *entry = ctx;
	char name[RPD_SERVICE_NAME_MAX];

	rpd_service_name(entry->spec.name, strcmp(path, entry->spec.socket_path) != 0, name);
	return rpd_service_listen(entry->ports->config.service, name, path, 0, ret_fd, why);
}

static void
port_ring_node(void *ctx, int node, int by)
{
	const struct rpd_port *entry = ctx;

	rpd_node_vote(entry->ports->config.node, node, by);
}

int
rpd_ports_create(const struct rpd_ports_config *config, struct rpd_ports **ret_ports)
{
	struct rpd_ports *ports = calloc(1, sizeof(*ports));

	if (ports == NULL || rp_port_files_create(&ports->files) < 0) {
		free(ports);
		return -ENOMEM;
	}
	ports->config = *config;
	ports->port_ops.event = port_event;
	if (config->service != NULL)
		ports->port_ops.listen = port_listen;
	if (rpd_node_votes(config->node))
		ports->port_ops.ring_node = port_ring_node;
	TAILQ_INIT(&ports->list);
	*ret_ports = ports;
	return 0;
}

static void
tell(const struct rpd_port *entry, enum rp_port_event_level level, const char *name, const char *text)
{
	struct rp_port_event event = {
		.level = level,
		.port = entry->spec.name,
		.queue = -1,
		.name = name,
		.text = text,
	};

	entry->ports->config.event(entry->ports->config.ctx, &event);
}

static void
free_port(struct rpd_port *entry)
{
	/* The event watches a descriptor that the port closes. */
	if (entry->ready != NULL)
		event_free(entry->ready);
	if (entry->retry != NULL)
		event_free(entry->retry);
	rp_port_destroy(entry->port);
	rpd_spec_fini(&entry->spec);
	free(entry);
}

struct rpd_ports *
rpd_ports_destroy(struct rpd_ports *ports)
{
	struct rpd_port *entry;

	if (ports == NULL)
		return NULL;
	while ((entry = TAILQ_FIRST(&ports->list)) != NULL) {
		TAILQ_REMOVE(&ports->list, entry, link);
		free_port(entry);
	}
	rp_port_files_destroy(ports->files);
	free(ports);
	return NULL;
}

static void
port_ready(evutil_socket_t fd, short what, void *ctx)
{
	struct rpd_port *entry = ctx;

	(void)fd;
	(void)what;
	rp_port_process(entry->port);
}

/* -ENOENT would read as an accelerator that is not there yet, and be tried for ever. */
static int
check_directory(const char *key, const char *path, struct rp_wire_why *why)
{
	char directory[RPD_SOCKET_PATH_MAX];
	char *slash;
	struct stat st;

	snprintf(directory, sizeof(directory), "%s", path);
	slash = strrchr(directory, '/');
	if (slash == NULL || slash == directory)
		return 0;
	*slash = '\0';
	if (stat(directory, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	return rp_wire_why_set(why, -ENOTDIR, "%s: found no directory %s, expected it to exist", key, directory);
}

/* The port is there. */
static int
watch(struct rpd_port *entry, struct rp_wire_why *why)
{
	entry->ready =
		event_new(entry->ports->config.base, rp_port_fd(entry->port), EV_READ | EV_PERSIST, port_ready, entry);
	if (entry->ready != NULL && event_add(entry->ready, NULL) == 0)
		return 0;
	entry->port = rp_port_destroy(entry->port);
	return rp_wire_why_set(why, -ENOMEM, "no memory");
}

static int
open_port(struct rpd_port *entry, struct rp_wire_why *why)
{
	const struct rpd_ports_config *ports = &entry->ports->config;
	const char *accelerators[RP_PORT_ACCELERATORS_MAX];
	struct rp_port_config config;
	int rc = 0;

	rpd_spec_port_config(&entry->spec, accelerators, &config);
	config.files = entry->ports->files;
	if (config.socket_mode == RP_PORT_SERVER)
		rc = check_directory("socket", config.socket_path, why);
	if (rc == 0 && config.software.socket_path != NULL && config.software.socket_mode == RP_PORT_SERVER)
		rc = check_directory("software", config.software.socket_path, why);
	if (rc < 0)
		return rc;
	rc = rp_port_create(&config, ports->registry, &entry->ports->port_ops, entry, &entry->port, why);
	return rc < 0 ? rc : watch(entry, why);
}

static int
adopt_port(struct rpd_port *entry, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	const struct rpd_ports_config *ports = &entry->ports->config;
	const char *accelerators[RP_PORT_ACCELERATORS_MAX];
	struct rp_port_config config;
	int rc;

	rpd_spec_port_config(&entry->spec, accelerators, &config);
	config.files = entry->ports->files;
	rc = rp_port_adopt(&config, ports->registry, &entry->ports->port_ops, entry, parcel, &entry->port, why);
	return rc < 0 ? rc : watch(entry, why);
}

/* Whether an accelerator may only be late: not started yet, restarting, or busy with its last client. */
static bool
may_come(int error)
{
	static const int errors[] = {ENOENT,	ECONNREFUSED, ECONNRESET, ENOTCONN, EPIPE,
				     ETIMEDOUT, EAGAIN,	      EBUSY,	  ENODEV};
	unsigned int i;

	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		if (error == -errors[i])
			return true;
	}
	return false;
}

static void
wait_for_next_try(struct rpd_port *entry, uint64_t took_ms)
{
	uint64_t delay_ms = entry->spec.reconnect_ms == 0 ? RETRY_DEFAULT_MS : entry->spec.reconnect_ms;
	struct timeval delay;

	if (delay_ms < took_ms * RETRY_SHARE)
		delay_ms = took_ms * RETRY_SHARE;
	delay.tv_sec = (time_t)(delay_ms / 1000);
	delay.tv_usec = (suseconds_t)(delay_ms % 1000 * 1000);
	event_add(entry->retry, &delay);
}

/* One line for each new reason; the tries between are silent. */
static void
remember_reason(struct rpd_port *entry, const char *reason)
{
	if (strcmp(entry->reason, reason) == 0)
		return;
	snprintf(entry->reason, sizeof(entry->reason), "%s", reason);
	tell(entry, RP_PORT_EVENT_WARNING, "port-waiting", entry->reason);
}

static void
try_again(evutil_socket_t fd, short what, void *ctx)
{
	struct rpd_port *entry = ctx;
	struct rp_wire_why why = {0};
	uint64_t begun_ms = rp_wire_clock_ms();

	(void)fd;
	(void)what;
	if (open_port(entry, &why) < 0) {
		remember_reason(entry, why.text);
		wait_for_next_try(entry, rp_wire_clock_ms() - begun_ms);
		return;
	}
	entry->reason[0] = '\0';
	tell(entry, RP_PORT_EVENT_NOTICE, "port-up", "its accelerators are there now");
}

static int
open_or_wait(struct rpd_port *entry, struct rp_wire_why *why)
{
	uint64_t begun_ms = rp_wire_clock_ms();
	int rc;

	entry->retry = evtimer_new(entry->ports->config.base, try_again, entry);
	if (entry->retry == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	rc = open_port(entry, why);
	if (rc == 0) {
		tell(entry, RP_PORT_EVENT_NOTICE, "port-up", entry->spec.socket_path);
		return 0;
	}
	if (!may_come(rc))
		return rc;
	remember_reason(entry, why->text);
	wait_for_next_try(entry, rp_wire_clock_ms() - begun_ms);
	return 0;
}

/* Before the port waits for its frontend's last answers: nobody new comes meanwhile. */
static void
forget_sockets(const struct rpd_port *entry)
{
	char name[RPD_SERVICE_NAME_MAX];
	unsigned int software;

	for (software = 0; software < 2; software++) {
		rpd_service_name(entry->spec.name, software != 0, name);
		rpd_service_forget(entry->ports->config.service, name);
	}
}

/* Room for it, which is not in the list yet. */
static int
make_entry(struct rpd_ports *ports, const struct rpd_port_spec *spec, struct rpd_port **ret_entry,
	   struct rp_wire_why *why)
{
	struct rpd_port *entry;
	const char *key;

	for (entry = TAILQ_FIRST(&ports->list); entry != NULL; entry = TAILQ_NEXT(entry, link)) {
		if (strcmp(entry->spec.name, spec->name) == 0)
			return rp_wire_why_set(why, -EEXIST, "name: found '%s', which is a port already", spec->name);
		key = rpd_spec_clash(spec, &entry->spec);
		if (key != NULL)
			return rp_wire_why_set(why, -EEXIST, "%s: found '%s', which is a socket of port %s", key,
					       strcmp(key, "socket") == 0 ? spec->socket_path : spec->software_path,
					       entry->spec.name);
	}
	if (ports->count == RPD_PORTS_MAX)
		return rp_wire_why_set(why, -ENOSPC, "there are %u ports already, the limit", ports->count);
	entry = calloc(1, sizeof(*entry));
	if (entry == NULL || rpd_spec_copy(spec, &entry->spec) < 0) {
		free(entry);
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	}
	entry->ports = ports;
	*ret_entry = entry;
	return 0;
}

int
rpd_ports_add(struct rpd_ports *ports, const struct rpd_port_spec *spec, struct rp_wire_why *why)
{
	struct rpd_port *entry = NULL;
	int rc = make_entry(ports, spec, &entry, why);

	if (entry == NULL)
		return rc;
	rc = open_or_wait(entry, why);
	if (rc < 0) {
		forget_sockets(entry);
		free_port(entry);
		return rc;
	}
	TAILQ_INSERT_TAIL(&ports->list, entry, link);
	ports->count++;
	return 0;
}

int
rpd_ports_adopt(struct rpd_ports *ports, const struct rpd_port_spec *spec, struct rp_wire_parcel *parcel,
		struct rp_wire_why *why)
{
	struct rpd_port *entry = NULL;
	int rc = make_entry(ports, spec, &entry, why);

	if (entry == NULL)
		return rc;
	entry->retry = evtimer_new(ports->config.base, try_again, entry);
	rc = entry->retry == NULL ? rp_wire_why_set(why, -ENOMEM, "no memory") : adopt_port(entry, parcel, why);
	if (rc < 0) {
		free_port(entry);
		return rc;
	}
	TAILQ_INSERT_TAIL(&ports->list, entry, link);
	ports->count++;
	tell(entry, RP_PORT_EVENT_NOTICE, "port-adopted", entry->spec.socket_path);
	return 0;
}

void
rpd_ports_leave(struct rpd_ports *ports)
{
	struct rpd_port *entry;

	while ((entry = TAILQ_FIRST(&ports->list)) != NULL) {
		TAILQ_REMOVE(&ports->list, entry, link);
		ports->count--;
		if (entry->given) {
			event_del(entry->ready);
			entry->port = rp_port_leave(entry->port);
		}
		free_port(entry);
	}
}

int
rpd_ports_remove(struct rpd_ports *ports, const char *name, struct rp_wire_why *why)
{
	struct rpd_port *entry = rpd_ports_find(ports, name);

	if (entry == NULL)
		return rp_wire_why_set(why, -ENOENT, "port: found '%s', which is no port", name);
	TAILQ_REMOVE(&ports->list, entry, link);
	ports->count--;
	tell(entry, RP_PORT_EVENT_NOTICE, "port-removed", entry->spec.socket_path);
	forget_sockets(entry);
	free_port(entry);
	return 0;
}

struct rpd_port *
rpd_ports_find(const struct rpd_ports *ports, const char *name)
{
	struct rpd_port *entry;

	for (entry = TAILQ_FIRST(&ports->list); entry != NULL; entry = TAILQ_NEXT(entry, link)) {
		if (strcmp(entry->spec.name, name) == 0)
			return entry;
	}
	return NULL;
}

struct rpd_port *
rpd_ports_next(const struct rpd_ports *ports, const struct rpd_port *after)
{
	return after == NULL ? TAILQ_FIRST(&ports->list) : TAILQ_NEXT(after, link);
}

int
rpd_ports_thread_node(const struct rpd_ports *ports)
{
	return rpd_node_number(ports->config.node);
}

const struct rp_accel_registry *
rpd_ports_registry(const struct rpd_ports *ports)
{
	return ports->config.registry;
}
