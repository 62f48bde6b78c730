/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "rp_wire_socket.h"
#include "service.h"
#include "state.h"

#define KEPT "kept-"
#define BARRIER_US 1000000u
/* So many descriptors take longer, and are worth waiting for. */
#define PARCEL_BARRIER_US 10000000u
#define FIRST_FD 3 /* SD_LISTEN_FDS_START, as an int */

struct listener {
	struct listener *next;
	char name[RPD_SERVICE_NAME_MAX]; /* without KEPT */
	char path[RP_WIRE_SOCKET_PATH_ROOM];
	bool ours; /* in the store, or meant to be; else of a socket unit */
	bool claimed;
	int fd;
};

struct rpd_service {
	struct rpd_service_config config;
	struct listener *first;
	unsigned int count;
	struct event *claim;
	struct rpd_groups *groups;
	struct rpd_legacy *legacy;
};

static void
tell(const struct rpd_service *service, enum rp_port_event_level level, const char *name, const char *text)
{
	struct rp_port_event event = {.level = level, .queue = -1, .name = name, .text = text};

	service->config.event(service->config.ctx, &event);
}

static int
put_into_store(const char *name, int fd, bool watched)
{
	char text[128];
	int rc;

	/* What hangs up is for the successor to find out, not for the manager. */
	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=" KEPT "%s%s", name, watched ? "" : "\nFDPOLL=0");
	rc = sd_pid_notify_with_fds(0, 0, text, &fd, 1);
	return rc < 0 ? rc : 0;
}

/* The whole name: it may be one that somebody else gave. */
static void
remove_from_store(const char *name)
{
	char text[384];

	snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
	sd_notify(0, text);
}

static int
put_group(void *ctx, const char *name, int fd)
{
	(void)ctx;
	return put_into_store(name, fd, true);
}

static void
remove_group(void *ctx, const char *name)
{
	char full_name[RPD_SERVICE_NAME_MAX + sizeof(KEPT)];

	(void)ctx;
	snprintf(full_name, sizeof(full_name), KEPT "%s", name);
	remove_from_store(full_name);
}

static void
group_event(void *ctx, enum rp_port_event_level level, const char *name, const char *text)
{
	tell(ctx, level, name, text);
}

static struct listener *
find(const struct rpd_service *service, const char *name, const char *path)
{
	struct listener *listener;

	for (listener = service->first; listener != NULL; listener = listener->next) {
		if ((name != NULL && strcmp(listener->name, name) == 0) ||
		    (path != NULL && strcmp(listener->path, path) == 0))
			return listener;
	}
	return NULL;
}

static void
free_listener(struct rpd_service *service, struct listener *listener)
{
	struct listener **link = &service->first;

	while (*link != listener)
		link = &(*link)->next;
	*link = listener->next;
	service->count--;
	rp_wire_fd_close(&listener->fd);
	free(listener);
}

static void
forget(struct rpd_service *service, struct listener *listener)
{
	char name[RPD_SERVICE_NAME_MAX + sizeof(KEPT)];

	if (listener->ours) {
		snprintf(name, sizeof(name), KEPT "%s", listener->name);
		remove_from_store(name);
		unlink(listener->path);
	}
	free_listener(service, listener);
}

static bool
is_socket_file(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

static int
check_name(const char *name, struct rp_wire_why *why)
{
	bool known = strcmp(name, RPD_SERVICE_RPC) == 0 || (strncmp(name, "port-", 5) == 0 && name[5] != '\0') ||
		     (strncmp(name, "software-", 9) == 0 && name[9] != '\0');

	if (!known || strlen(name) >= RPD_SERVICE_NAME_MAX)
		return rp_wire_why_set(why, -EBADMSG,
				       "found the name '%.80s', expected rpc, port-NAME or software-NAME", name);
	return 0;
}

static int
judge(const struct rpd_service *service, const char *name, int fd, char ret_path[RP_WIRE_SOCKET_PATH_ROOM],
      struct rp_wire_why *why)
{
	int rc;

	if (service->count == RPD_SERVICE_SOCKETS_MAX)
		return rp_wire_why_set(why, -ENOSPC, "found more than %u sockets", RPD_SERVICE_SOCKETS_MAX);
	rc = check_name(name, why);
	if (rc == 0)
		rc = rp_wire_socket_check_listening(fd, ret_path, why);
	if (rc < 0)
		return rc;
	if (find(service, name, ret_path) != NULL)
		return rp_wire_why_set(why, -EEXIST, "found a second socket of this name or of %s", ret_path);
	if (!is_socket_file(ret_path))
		return rp_wire_why_set(why, -ENOENT, "found no socket file %s: nobody can connect to it", ret_path);
	return 0;
}

static struct listener *
add(struct rpd_service *service, const char *name, const char *path, bool ours, int *fd)
{
	struct listener *listener = calloc(1, sizeof(*listener));

	if (listener == NULL)
		return NULL;
	snprintf(listener->name, sizeof(listener->name), "%s", name);
	snprintf(listener->path, sizeof(listener->path), "%s", path);
	listener->ours = ours;
	listener->fd = rp_wire_fd_take(fd);
	listener->next = service->first;
	service->first = listener;
	service->count++;
	return listener;
}

static int
inherit_listener(struct rpd_service *service, const char *name, bool ours, int *fd, struct rp_wire_why *why)
{
	char path[RP_WIRE_SOCKET_PATH_ROOM];
	int rc = judge(service, name, *fd, path, why);

	if (rc == 0 && add(service, name, path, ours, fd) == NULL)
		rc = rp_wire_why_set(why, -ENOMEM, "no memory");
	return rc;
}

/* It serves once: a successor of ours that found it again would go on where we were. */
static void
inherit_legacy(struct rpd_service *service, const char *full_name, int *fd)
{
	char text[RP_WIRE_WHY_MAX + 128];
	struct rp_wire_why why = {0};
	int rc = rpd_legacy_inherit(service->legacy, full_name + sizeof(KEPT) - 1, fd, &why);

	snprintf(text, sizeof(text), "%.64s%s%s", full_name, rc < 0 ? ": " : "", why.text);
	if (rc < 0)
		tell(service, RP_PORT_EVENT_WARNING, "descriptor-refused", text);
	else
		tell(service, RP_PORT_EVENT_DEBUG, "descriptor-inherited", text);
	remove_from_store(full_name);
}

/* The descriptor is taken, whatever it is. */
static void
inherit(struct rpd_service *service, const char *full_name, int fd)
{
	bool ours = strncmp(full_name, KEPT, sizeof(KEPT) - 1) == 0;
	const char *name = ours ? full_name + sizeof(KEPT) - 1 : full_name;
	bool is_group = ours && strncmp(name, RPD_GROUPS_PREFIX, sizeof(RPD_GROUPS_PREFIX) - 1) == 0;
	RP_WIRE_FD_SCOPED int taken = fd;
	const struct listener *same;
	struct rp_wire_why why = {0};
	char text[RP_WIRE_WHY_MAX + 128];
	int rc;

	if (ours && rpd_legacy_is(name)) {
		inherit_legacy(service, full_name, &taken);
		return;
	}
	if (is_group)
		rc = rpd_groups_inherit(service->groups, name, &taken, &why);
	else
		rc = inherit_listener(service, name, ours, &taken, &why);
	if (rc == 0) {
		tell(service, RP_PORT_EVENT_NOTICE, "descriptor-inherited", full_name);
		return;
	}
	snprintf(text, sizeof(text), "descriptor %d (%.64s) of the service manager: %s", fd, full_name, why.text);
	tell(service, RP_PORT_EVENT_WARNING, "descriptor-refused", text);
	/* The store removes by name, and of two with one name the first is wanted. */
	same = find(service, name, NULL);
	if (rc != -EEXIST || (!is_group && (same == NULL || same->ours != ours)))
		remove_from_store(full_name);
}

/* Those of socket units first: of two with one path theirs is the one that the administrator wants. */
static void
inherit_all(struct rpd_service *service, char **names, int count)
{
	unsigned int pass;
	int i;

	for (pass = 0; pass < 2; pass++) {
		for (i = 0; i < count; i++) {
			bool ours = strncmp(names[i], KEPT, sizeof(KEPT) - 1) == 0;

			if (ours == (pass == 1))
				inherit(service, names[i], FIRST_FD + i);
		}
	}
	for (i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

static void
claim_over(evutil_socket_t fd, short what, void *ctx)
{
	struct rpd_service *service = ctx;
	struct listener *listener, *next;

	(void)fd;
	(void)what;
	for (listener = service->first; listener != NULL; listener = next) {
		next = listener->next;
		if (!listener->ours || listener->claimed)
			continue;
		tell(service, RP_PORT_EVENT_WARNING, "socket-dropped", listener->path);
		forget(service, listener);
	}
	rpd_groups_drop_unclaimed(service->groups);
}

static int
open_parts(struct rpd_service *service)
{
	const struct rpd_groups_store store = {
		.put = put_group,
		.remove = remove_group,
		.event = group_event,
		.ctx = service,
	};

	service->claim = evtimer_new(service->config.base, claim_over, service);
	if (service->claim == NULL || rpd_legacy_create(&service->legacy) < 0)
		return -ENOMEM;
	return rpd_groups_create(&store, service->config.keep, &service->groups);
}

static void
close_parts(struct rpd_service *service)
{
	if (service->claim != NULL)
		event_free(service->claim);
	rpd_groups_destroy(service->groups);
	rpd_legacy_destroy(service->legacy);
	free(service);
}

int
rpd_service_create(const struct rpd_service_config *config, struct rpd_service **ret_service, struct rp_wire_why *why)
{
	struct rpd_service *service;
	char **names = NULL;
	int count;

	if (config->keep && getenv("NOTIFY_SOCKET") == NULL)
		return rp_wire_why_set(why, -ENOTCONN, "there is no service manager: $NOTIFY_SOCKET is not set");
	service = calloc(1, sizeof(*service));
	if (service == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	service->config = *config;
	if (open_parts(service) < 0) {
		close_parts(service);
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	}
	count = sd_listen_fds_with_names(1, &names);
	if (count > 0)
		inherit_all(service, names, count);
	else if (count < 0)
		tell(service, RP_PORT_EVENT_WARNING, "descriptor-refused",
		     "LISTEN_FDS, LISTEN_FDNAMES: found what breaks their rules, nothing is inherited");
	*ret_service = service;
	return 0;
}

struct rpd_service *
rpd_service_destroy(struct rpd_service *service)
{
	struct listener *listener;

	if (service == NULL)
		return NULL;
	sd_notify(0, "STOPPING=1");
	while ((listener = service->first) != NULL) {
		if (service->config.keep)
			free_listener(service, listener);
		else
			forget(service, listener);
	}
	/* The manager asks who sent a message, and of a process that is gone it cannot. */
	sd_notify_barrier(0, BARRIER_US);
	close_parts(service);
	return NULL;
}

static void
remove_parts(unsigned int count)
{
	char name[RPD_LEGACY_NAME_MAX], full_name[RPD_LEGACY_NAME_MAX + sizeof(KEPT)];

	remove_from_store(KEPT RPD_LEGACY_STATE);
	while (count-- > 0) {
		rpd_legacy_part_name(count, name);
		snprintf(full_name, sizeof(full_name), KEPT "%s", name);
		remove_from_store(full_name);
	}
}

int
rpd_service_put_parcel(struct rpd_service *service, const struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	unsigned int count = rp_wire_parcel_fds_count(parcel), i;
	RP_WIRE_FD_SCOPED int state_fd = -1;
	char name[RPD_LEGACY_NAME_MAX];
	int rc;

	if (service == NULL || !service->config.keep)
		return rp_wire_why_set(why, -ENOTSUP, "ringpassd was not started with --hand-over");
	rc = rpd_state_write(parcel, &state_fd, why);
	if (rc < 0)
		return rc;
	for (i = 0; i < count && rc == 0; i++) {
		rpd_legacy_part_name(i, name);
		rc = put_into_store(name, rp_wire_parcel_fd(parcel, i), false);
	}
	/* Last: without it the others are of no use. */
	if (rc == 0)
		rc = put_into_store(RPD_LEGACY_STATE, state_fd, false);
	if (rc == 0)
		rc = sd_notify_barrier(0, PARCEL_BARRIER_US);
	if (rc >= 0)
		return 0;
	remove_parts(count);
	return rp_wire_why_set(why, rc, "the service manager's descriptor store: %s", strerror(-rc));
}

int
rpd_service_take_parcel(struct rpd_service *service, struct rp_wire_parcel **ret_parcel, struct rp_wire_why *why)
{
	*ret_parcel = NULL;
	return service == NULL ? 0 : rpd_legacy_take(service->legacy, ret_parcel, why);
}

struct rpd_groups *
rpd_service_groups(struct rpd_service *service)
{
	return service->groups;
}

void
rpd_service_leave(struct rpd_service *service)
{
	if (service != NULL && service->config.keep)
		rpd_groups_leave(service->groups);
}

void
rpd_service_name(const char *port, bool software, char ret_name[RPD_SERVICE_NAME_MAX])
{
	snprintf(ret_name, RPD_SERVICE_NAME_MAX, "%s-%s", software ? "software" : "port", port);
}

/* Those that have half of what is wanted: a port was renamed, or has another path now. */
static void
forget_others(struct rpd_service *service, const char *name, const char *path)
{
	struct listener *listener, *next;

	for (listener = service->first; listener != NULL; listener = next) {
		bool same_name = strcmp(listener->name, name) == 0;
		bool same_path = strcmp(listener->path, path) == 0;
		char text[384];

		next = listener->next;
		if (same_name == same_path)
			continue;
		snprintf(text, sizeof(text), "found %s on %s, expected %s on %s", listener->name, listener->path, name,
			 path);
		tell(service, RP_PORT_EVENT_WARNING, "socket-dropped", text);
		forget(service, listener);
	}
}

static int
make(struct rpd_service *service, const char *name, const char *path, mode_t file_mode, struct listener **ret_listener,
     struct rp_wire_why *why)
{
	RP_WIRE_FD_SCOPED int fd = -1;
	int rc = rp_wire_socket_listen_mode(path, file_mode, &fd, why);

	if (rc < 0)
		return rc;
	*ret_listener = add(service, name, path, true, &fd);
	if (*ret_listener == NULL) {
		unlink(path);
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	}
	rc = put_into_store(name, (*ret_listener)->fd, true);
	/* It listens all the same; a successor will have to make its own. */
	if (rc < 0)
		tell(service, RP_PORT_EVENT_WARNING, "socket-not-kept", strerror(-rc));
	return 0;
}

int
rpd_service_listen(struct rpd_service *service, const char *name, const char *path, mode_t file_mode, int *ret_fd,
		   struct rp_wire_why *why)
{
	struct listener *listener;
	int fd, rc = 0;

	forget_others(service, name, path);
	listener = find(service, name, NULL);
	if (listener == NULL && service->config.keep)
		rc = make(service, name, path, file_mode, &listener, why);
	if (rc < 0 || listener == NULL)
		return rc;
	fd = rp_wire_fd_dup(listener->fd);
	if (fd < 0)
		return rp_wire_why_set(why, fd, "%s: dup: %s", path, strerror(-fd));
	listener->claimed = true;
	*ret_fd = fd;
	return 0;
}

void
rpd_service_forget(struct rpd_service *service, const char *name)
{
	struct listener *listener = service == NULL ? NULL : find(service, name, NULL);

	if (listener == NULL)
		return;
	/* The unit's socket listens on, and a port of this name gets it again. */
	if (listener->ours)
		forget(service, listener);
}

void
rpd_service_ready(struct rpd_service *service)
{
	uint32_t claim_ms = service->config.claim_ms == 0 ? RPD_SERVICE_CLAIM_MS : service->config.claim_ms;
	const struct timeval delay = {.tv_sec = claim_ms / 1000, .tv_usec = claim_ms % 1000 * 1000};

	event_add(service->claim, &delay);
	sd_notify(0, "READY=1");
}

void
rpd_service_status(struct rpd_service *service, const char *text)
{
	char line[256];

	if (service == NULL)
		return;
	snprintf(line, sizeof(line), "STATUS=%s", text);
	sd_notify(0, line);
}

unsigned int
rpd_service_sockets_count(const struct rpd_service *service)
{
	return service->count;
}
