/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The connection to the software backend: made, asked, agreed on, lost, made again.
 *
 * The first question after a connect is asked without waiting: who accepts and says nothing
 * (a stopped process, whose kernel accepts for it) is left alone until it answers. From then
 * on calls wait, the configured time at most; one that is not answered ends the connection.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "software_parts.h"

#define TIMEOUT_DEFAULT_MS 2000
#define RECONNECT_DEFAULT_MS 1000
#define BIT(n) (1ull << (n))
#define BACK_OFF_MAX_MS 60000
#define BACK_OFF_DOUBLINGS_MAX 6
#define WELL_FOR_MS 1000
#define NOW 1 /* a deadline long ago */

bool
port_software_configured(const struct rp_port *port)
{
	return port->software != NULL;
}

bool
port_software_there(const struct rp_port *port)
{
	return port->software != NULL && port->software->state == PORT_SOFTWARE_THERE;
}

bool
port_software_usable(const struct rp_port *port)
{
	return port_software_there(port) && !port->software->lost;
}

const char *
port_software_reason(const struct rp_port *port)
{
	if (port->software == NULL)
		return "there is no software backend";
	return port_software_usable(port) ? "" : port->software->reason;
}

int
port_software_not_there(const struct rp_port *port, struct rp_wire_why *why)
{
	if (port_software_usable(port))
		return 0;
	return rp_wire_why_set(why, -ENOTCONN, "%s", port_software_reason(port));
}

static void
set_reason(struct port_software *software, const char *before, const char *text)
{
	snprintf(software->reason, sizeof(software->reason), "%s%.120s", before, text);
}

/* Nothing is left of the connection; what it served is UNPROVEN. */
static void
end(struct rp_port *port)
{
	struct port_software *software = port->software;

	port_source_remove(port, &software->source);
	software->state = PORT_SOFTWARE_AWAY;
	software->frontend = rp_vhu_frontend_destroy(software->frontend);
	software->lost = software->answered = false;
	software->misses_count = 0;
	software->features_known = software->pair_ready = software->rings_due = false;
	software->features_told = 0;
	port_software_suspect(port);
	port_software_peer_close(software);
	port_software_memory_close(software);
	software->usable_due = false;
	software->gone_due = true;
}

void
port_software_drop(struct rp_port *port, const struct rp_wire_why *why)
{
	struct port_software *software = port->software;

	set_reason(software, "the software backend was disconnected: ", why->text);
	port_event(port, RP_PORT_EVENT_WARNING, -1, "software-disconnected", "%s", why->text);
	end(port);
	rp_vhu_endpoint_lost(software->endpoint, rp_wire_clock_ms());
}

/*
 * Who answers the first question and hangs right afterwards, again and again, would cost the
 * port's thread a time-out each time: it is asked less and less often.
 */
static void
back_off(struct port_software *software)
{
	uint64_t now_ms = rp_wire_clock_ms();
	uint64_t delay_ms;

	/* One that was well for a while is as good as new. */
	if (software->state == PORT_SOFTWARE_THERE &&
	    now_ms - software->there_ms > software->timeout_ms + WELL_FOR_MS) {
		software->hangs_count = 0;
		return;
	}
	delay_ms = (uint64_t)software->timeout_ms << software->hangs_count;
	if (software->hangs_count < BACK_OFF_DOUBLINGS_MAX)
		software->hangs_count++;
	software->not_before_ms = now_ms + (delay_ms < BACK_OFF_MAX_MS ? delay_ms : BACK_OFF_MAX_MS);
}

/* The endpoint tries again one interval after that. */
static uint64_t
retry_from_ms(const struct port_software *software)
{
	uint64_t now_ms = rp_wire_clock_ms(), from_ms = software->not_before_ms;

	return from_ms > now_ms + software->reconnect_ms ? from_ms - software->reconnect_ms : now_ms;
}

int
port_software_checked(struct rp_port *port, int rc)
{
	struct port_software *software = port->software;

	if (!software->lost)
		return rc;
	if (rc == -ETIMEDOUT) {
		software->timeouts++;
		back_off(software);
		set_reason(software, "the software backend hangs: ", software->lost_why.text);
		port_event(port, RP_PORT_EVENT_ERROR, -1, "software-hangs", "process %d: %s", (int)software->pid,
			   software->lost_why.text);
	} else {
		set_reason(software, "the software backend is gone: ", software->lost_why.text);
		port_event(port, RP_PORT_EVENT_WARNING, -1, "software-gone", "process %d: %s", (int)software->pid,
			   software->lost_why.text);
	}
	end(port);
	rp_vhu_endpoint_lost(software->endpoint, retry_from_ms(software));
	return rc == 0 ? -ENOTCONN : rc;
}

static void
on_config_changed(void *ctx)
{
	struct rp_port *port = ctx;

	port->software->config_due = true;
}

static void
on_refused(void *ctx, const struct rp_wire_why *why)
{
	port_event(ctx, RP_PORT_EVENT_WARNING, -1, "software-message-refused", "%s", why->text);
}

static void
on_disconnected(void *ctx, const struct rp_wire_why *why)
{
	struct rp_port *port = ctx;

	port->software->lost = true;
	port->software->lost_why = *why;
}

static const struct rp_vhu_frontend_ops frontend_ops = {
	.config_changed = on_config_changed,
	.iotlb_miss = port_software_on_miss,
	.refused = on_refused,
	.disconnected = on_disconnected,
};

static void
read_u64(int error, const void *payload, uint32_t size_bytes, uint64_t *ret_value)
{
	*ret_value = 0;
	if (error == 0 && size_bytes == sizeof(*ret_value))
		memcpy(ret_value, payload, sizeof(*ret_value));
}

static void
on_protocol_features(void *ctx, int error, const void *payload, uint32_t size_bytes, int *fds, unsigned int fds_count)
{
	struct port_software *software = ((struct rp_port *)ctx)->software;

	(void)fds, (void)fds_count;
	read_u64(error, payload, size_bytes, &software->asked_protocol_features);
	software->answered = error == 0;
}

static void
on_features(void *ctx, int error, const void *payload, uint32_t size_bytes, int *fds, unsigned int fds_count)
{
	struct port_software *software = ((struct rp_port *)ctx)->software;

	(void)fds, (void)fds_count;
	read_u64(error, payload, size_bytes, &software->asked_features);
	software->asked_protocol_features = 0;
	if ((software->asked_features & BIT(RP_VHU_F_PROTOCOL_FEATURES_BIT)) == 0)
		software->answered = error == 0;
	else if (error == 0)
		rp_vhu_frontend_submit(software->frontend, RP_VHU_GET_PROTOCOL_FEATURES, NULL, 0, NULL, 0, false,
				       on_protocol_features, ctx, NULL);
}

static void
frontend_ready(struct rp_port *port, struct port_source *source)
{
	(void)source;
	rp_vhu_frontend_process(port->software->frontend);
	port_software_checked(port, 0);
}

static int
open_frontend(struct rp_port *port, int *fd, struct rp_wire_why *why)
{
	struct port_software *software = port->software;
	const struct rp_vhu_frontend_config config = {
		.profile = RP_VHU_PROFILE_STANDARD,
		.protocol_features = port_software_wanted(port),
		.queues_max = RP_VHU_QUEUES_MAX,
		.timeout_ms = software->timeout_ms,
	};
	int rc;

	port_software_peer_open(software, *fd);
	/* Without it a backend that hangs could not be told from one that has hung up. */
	if (software->proof_fd < 0)
		return rp_wire_why_set(why, -EMFILE, "no descriptor left to watch its connection with");
	rc = rp_vhu_frontend_create(fd, &config, &frontend_ops, port, &software->frontend);
	if (rc == 0)
		rc = port_source_add(port, &software->source, rp_vhu_frontend_fd(software->frontend), frontend_ready,
				     0);
	if (rc == 0)
		rc = rp_vhu_frontend_submit(software->frontend, RP_VHU_GET_FEATURES, NULL, 0, NULL, 0, false,
					    on_features, port, NULL);
	return rc < 0 ? rp_wire_why_set(why, rc, "%s", strerror(-rc)) : 0;
}

static void
connected(struct rp_port *port, int *fd)
{
	struct port_software *software = port->software;
	struct rp_wire_why why = {0};

	/* A second one, or one that hung a moment ago: turned away. */
	if (software->frontend != NULL || rp_wire_clock_ms() < software->not_before_ms)
		return;
	software->connections++;
	software->connect_logged = false;
	if (open_frontend(port, fd, &why) < 0) {
		port_software_drop(port, &why);
		return;
	}
	software->state = PORT_SOFTWARE_ASKED;
	set_reason(software, "", "the software backend accepts connections, and answers nothing yet");
}

static void
connect_now(struct rp_port *port, uint64_t now_ms)
{
	struct port_software *software = port->software;
	RP_WIRE_FD_SCOPED int fd = -1;
	struct rp_wire_why why = {0};
	int rc = rp_vhu_endpoint_process(software->endpoint, now_ms, &fd, &why);

	if (rc == 0) {
		connected(port, &fd);
		return;
	}
	if (rc == -EAGAIN)
		return;
	if (software->refused[0] == '\0')
		set_reason(software, "the software backend is not there: ", why.text);
	if (!software->connect_logged)
		port_event(port, RP_PORT_EVENT_NOTICE, -1, "software-waiting", "%s; trying every %u ms", why.text,
			   software->reconnect_ms);
	software->connect_logged = true;
}

static void
listen_ready(struct rp_port *port, struct port_source *source)
{
	(void)source;
	connect_now(port, rp_wire_clock_ms());
}

/* It answers: agree on what is there, and say what the frontend said. */
static void
come_to_terms(struct rp_port *port)
{
	struct port_software *software = port->software;
	struct rp_wire_why why = {0};
	int rc;

	software->answered = false;
	software->kind = port_software_kind_find(port);
	rc = port_software_checked(port, rp_vhu_frontend_negotiate(software->frontend, &why));
	if (rc == 0)
		rc = port_software_compare(port, &why);
	if (rc == 0) {
		software->state = PORT_SOFTWARE_THERE;
		software->there_ms = rp_wire_clock_ms();
		rc = port_software_replay(port, &why);
	}
	if (rc < 0) {
		bool said = strcmp(software->refused, why.text) == 0;

		snprintf(software->refused, sizeof(software->refused), "%.150s", why.text);
		set_reason(software, "the software backend is not usable: ", why.text);
		if (!said)
			port_event(port, RP_PORT_EVENT_ERROR, -1, "software-refused", "%s", why.text);
		if (software->frontend != NULL) {
			end(port);
			rp_vhu_endpoint_lost(software->endpoint, retry_from_ms(software));
		}
		return;
	}
	software->refused[0] = '\0';
	software->usable_due = true;
	port_event(port, RP_PORT_EVENT_NOTICE, -1, "software-connected", "process %d on %s, kind %s, %u rings",
		   (int)software->pid, software->socket_path, rp_port_software_kind_name(software->kind->kind),
		   software->queues_max);
}

static int
take_config(struct rp_port *port, const struct rp_port_software_config *config, struct rp_wire_why *why)
{
	struct port_software *software = port->software;
	size_t length = strlen(config->socket_path);

	if (length == 0 || length >= sizeof(software->socket_path))
		return rp_wire_why_set(why, -EINVAL, "software: expected a path of 1 to 107 bytes");
	if (config->timeout_ms > INT32_MAX)
		return rp_wire_why_set(why, -EINVAL, "software_timeout_ms: %u, expected at most %d", config->timeout_ms,
				       INT32_MAX);
	memcpy(software->socket_path, config->socket_path, length);
	software->socket_mode = config->socket_mode;
	software->kind_wanted = config->kind;
	software->timeout_ms = config->timeout_ms ? config->timeout_ms : TIMEOUT_DEFAULT_MS;
	software->reconnect_ms = config->reconnect_ms ? config->reconnect_ms : RECONNECT_DEFAULT_MS;
	return 0;
}

static int
open_endpoint(struct rp_port *port, struct rp_wire_why *why)
{
	struct port_software *software = port->software;
	int rc = port_endpoint_make(port, software->socket_path, software->socket_mode, software->reconnect_ms,
				    &software->endpoint, why);

	if (rc < 0) {
		rp_wire_why_prefix(why, "software: ");
		return rc;
	}
	if (rp_vhu_endpoint_fd(software->endpoint) < 0)
		return 0;
	return port_source_add(port, &software->listen_source, rp_vhu_endpoint_fd(software->endpoint), listen_ready, 0);
}

int
port_software_open(struct rp_port *port, const struct rp_port_software_config *config, struct rp_wire_why *why)
{
	struct port_software *software;
	int rc;

	if (config->socket_path == NULL)
		return 0;
	software = calloc(1, sizeof(*software));
	if (software == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	software->listen_source.fd = software->source.fd = -1;
	software->pid_fd = software->proof_fd = -1;
	software->park_fd = software->park_kick_fd = software->park_call_fd = -1;
	port->software = software;
	rc = take_config(port, config, why);
	if (rc == 0)
		rc = open_endpoint(port, why);
	if (rc < 0) {
		port_software_close(port);
		return rc;
	}
	set_reason(software, "",
		   software->socket_mode == RP_PORT_CLIENT ? "the software backend was not asked yet" :
							     "the software backend has not connected yet");
	return 0;
}

void
port_software_close(struct rp_port *port)
{
	struct port_software *software = port->software;

	if (software == NULL)
		return;
	port_source_remove(port, &software->source);
	port_source_remove(port, &software->listen_source);
	software->frontend = rp_vhu_frontend_destroy(software->frontend);
	software->endpoint = rp_vhu_endpoint_destroy(software->endpoint);
	port_software_proof_close(port);
	port_software_peer_close(software);
	port_software_memory_close(software);
	free(software);
	port->software = NULL;
}

/* The frontend started it, and nobody has told the backend of it. */
static bool
is_new(const struct rp_port *port, unsigned int index)
{
	const struct port_queue *queue = &port->queues[index];

	return index < port->software->queues_max && queue->frontend_started &&
	       queue->software == PORT_SOFTWARE_RING_NONE;
}

/* Rings that it is not given now are told of all the same. */
static void
park_new(struct rp_port *port)
{
	struct port_software *software = port->software;
	struct rp_wire_why why = {0};
	unsigned int i;
	int rc = 0;

	software->rings_due = false;
	for (i = 0; i < port->queues_count && rc == 0 && software->frontend != NULL; i++) {
		if (!is_new(port, i))
			continue;
		if (!port_software_memory_is_told(port))
			rc = port_software_memory_tell(port, &why);
		if (rc == 0)
			rc = port_software_park(port, &port->queues[i], &why);
	}
	if (rc == 0 && software->frontend != NULL)
		rc = port_software_make_ready(port, &why);
	if (rc < 0)
		port_event(port, RP_PORT_EVENT_WARNING, -1, "software-park-failed", "%s", why.text);
}

static bool
is_park_due(const struct rp_port *port)
{
	return port->software->rings_due && !port->software->parks_later && port_software_there(port);
}

void
port_software_park_hold(struct rp_port *port)
{
	if (port->software != NULL)
		port->software->parks_later = true;
}

void
port_software_park_due(struct rp_port *port)
{
	if (port->software == NULL)
		return;
	port->software->parks_later = false;
	if (is_park_due(port))
		park_new(port);
}

/* What callbacks only noted. The port is told last: it may use everything again. */
static void
do_what_is_due(struct rp_port *port)
{
	struct port_software *software = port->software;

	if (software->gone_due) {
		software->gone_due = false;
		port_move_software_gone(port);
	}
	if (software->proven_due) {
		software->proven_due = false;
		port_move_software_proven(port);
	}
	if (software->usable_due) {
		software->usable_due = false;
		port_move_software_usable(port);
		software->rings_due = port_software_there(port) && port_software_parks(port);
	}
	if (software->config_due) {
		software->config_due = false;
		port_move_software_config_changed(port);
	}
	if (is_park_due(port))
		park_new(port);
}

void
port_software_tick(struct rp_port *port, uint64_t now_ms)
{
	struct port_software *software = port->software;
	uint64_t at_ms;

	if (software == NULL)
		return;
	at_ms = rp_vhu_endpoint_deadline_ms(software->endpoint);
	if (at_ms != 0 && now_ms >= at_ms)
		connect_now(port, now_ms);
	if (software->answered)
		come_to_terms(port);
	port_software_proof_tick(port, now_ms);
	do_what_is_due(port);
}

static uint64_t
earlier(uint64_t a, uint64_t b)
{
	if (a == 0)
		return b;
	return b == 0 || a < b ? a : b;
}

uint64_t
port_software_deadline(const struct rp_port *port)
{
	const struct port_software *software = port->software;

	if (software == NULL)
		return 0;
	if (software->answered || software->gone_due || software->usable_due || software->proven_due ||
	    software->config_due || is_park_due(port))
		return NOW;
	return earlier(rp_vhu_endpoint_deadline_ms(software->endpoint), port_software_proof_deadline(software));
}

void
port_software_frontend_gone(struct rp_port *port)
{
	struct port_software *software = port->software;
	uint64_t now_ms = rp_wire_clock_ms();

	if (software == NULL || software->frontend == NULL)
		return;
	/* It knows nothing of the one that went, and may be asked by the next at once. */
	software->mtu_bytes = 0;
	if (!software->features_known)
		return;
	set_reason(software, "", "the software backend is being connected again for the next frontend");
	end(port);
	software->gone_due = false;
	rp_vhu_endpoint_lost(software->endpoint, now_ms - software->reconnect_ms);
}

void
port_software_get_info(const struct rp_port *port, struct rp_port_software_info *ret_info)
{
	const struct port_software *software = port->software;
	unsigned int i;

	memset(ret_info, 0, sizeof(*ret_info));
	if (software == NULL)
		return;
	ret_info->configured = true;
	ret_info->connected = software->frontend != NULL;
	ret_info->usable = port_software_usable(port);
	memcpy(ret_info->socket_path, software->socket_path, sizeof(ret_info->socket_path));
	ret_info->socket_mode = software->socket_mode;
	ret_info->kind = software->kind != NULL ? software->kind->kind : RP_PORT_SOFTWARE_AUTO;
	ret_info->pid = (int)software->pid;
	snprintf(ret_info->reason, sizeof(ret_info->reason), "%s", port_software_reason(port));
	ret_info->features = software->features;
	if (software->frontend != NULL)
		ret_info->protocol_features = rp_vhu_frontend_protocol_features(software->frontend);
	for (i = 0; i < port->queues_count; i++)
		ret_info->queues_count += port->queues[i].software == PORT_SOFTWARE_RING_SERVES;
	ret_info->connections = software->connections;
	ret_info->timeouts = software->timeouts;
}
