/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hand_over.h"
#include "rp_wire_clock.h"

/* A peer that is in the middle of a message has so long to end it. */
#define MOMENT_LIMIT_MS 500u
#define MOMENT_POLL_MS 10

#define PART "port"

static void
pack_spec(const struct rpd_port *entry, struct rp_wire_parcel *parcel)
{
	const struct rpd_spec_key *key = NULL;
	struct rpd_value value;
	unsigned int i;

	rp_wire_parcel_put_number(parcel, "by_rpc", entry->by_rpc);
	while ((key = rpd_spec_key_next(key)) != NULL) {
		for (i = 0; rpd_spec_get(&entry->spec, key, i, &value); i++) {
			rp_wire_parcel_enter(parcel, rpd_spec_key_name(key), i);
			if (value.type == RPD_VALUE_TEXT)
				rp_wire_parcel_put_text(parcel, "text", value.text);
			else if (value.type == RPD_VALUE_BOOL)
				rp_wire_parcel_put_number(parcel, "bool", value.boolean);
			else
				rp_wire_parcel_put_number(parcel, "number", (uint64_t)value.number);
			rp_wire_parcel_leave(parcel);
		}
	}
}

/* One value of a key. @return 1: it is set, 0: there is none, or what rpd_spec_set() says. */
static int
unpack_value(struct rpd_port_spec *spec, const struct rpd_spec_key *key, struct rp_wire_parcel *parcel,
	     const struct rp_accel_registry *registry, struct rp_wire_why *why)
{
	char text[RPD_ARGUMENTS_MAX];
	struct rpd_value value = {.text = text};
	int rc;

	if (rp_wire_parcel_has(parcel, "text")) {
		value.type = RPD_VALUE_TEXT;
		rp_wire_parcel_get_text(parcel, "text", text, sizeof(text));
	} else if (rp_wire_parcel_has(parcel, "bool")) {
		value.type = RPD_VALUE_BOOL;
		value.boolean = rp_wire_parcel_get_bool(parcel, "bool");
	} else if (rp_wire_parcel_has(parcel, "number")) {
		value.type = RPD_VALUE_NUMBER;
		value.number = (int64_t)rp_wire_parcel_get_number(parcel, "number", UINT32_MAX);
	} else {
		return 0;
	}
	rc = rp_wire_parcel_result(parcel, why);
	if (rc == 0)
		rc = rpd_spec_set(spec, key, &value, registry, why);
	return rc < 0 ? rc : 1;
}

static int
unpack_spec(struct rpd_port_spec *spec, struct rp_wire_parcel *parcel, const struct rp_accel_registry *registry,
	    struct rp_wire_why *why)
{
	const struct rpd_spec_key *key = NULL;

	while ((key = rpd_spec_key_next(key)) != NULL) {
		unsigned int i;
		int rc = 1;

		for (i = 0; rc == 1 && (i == 0 || rpd_spec_key_is_list(key)); i++) {
			rp_wire_parcel_enter(parcel, rpd_spec_key_name(key), i);
			rc = unpack_value(spec, key, parcel, registry, why);
			rp_wire_parcel_leave(parcel);
		}
		if (rc < 0) {
			rp_wire_why_prefix(why, "%s: ", rpd_spec_key_name(key));
			return rc;
		}
	}
	return rpd_spec_check(spec, why);
}

/* Between two messages, which it may take a moment to reach. */
static int
give_port(struct rpd_port *entry, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	uint64_t limit_ms = rp_wire_clock_ms() + MOMENT_LIMIT_MS;
	int rc;

	while ((rc = rp_port_give(entry->port, parcel, why)) == -EAGAIN && rp_wire_clock_ms() < limit_ms) {
		struct pollfd wait = {.fd = rp_port_fd(entry->port), .events = POLLIN};

		poll(&wait, 1, MOMENT_POLL_MS);
		rp_port_process(entry->port);
	}
	return rc;
}

static int
pack_port(struct rpd_port *entry, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	struct rp_wire_parcel_mark mark = rp_wire_parcel_mark(parcel);
	int rc = -ENOTCONN;

	if (entry->port == NULL)
		return rc;
	rp_wire_parcel_enter(parcel, PART, 0);
	rc = give_port(entry, parcel, why);
	if (rc == 0)
		rp_wire_parcel_leave(parcel);
	else
		rp_wire_parcel_rewind(parcel, &mark);
	return rc;
}

/* Whoever came by RPC is described nowhere else; its windows are not kept as they were written. */
static bool
must_be_described(const struct rpd_port *entry)
{
	return entry->given || (entry->by_rpc && entry->spec.windows_count == 0);
}

static unsigned int
pack_ports(struct rpd_ports *ports, struct rp_wire_parcel *parcel, rpd_hand_over_told told, void *ctx)
{
	struct rpd_port *entry = NULL;
	unsigned int count = 0;

	while ((entry = rpd_ports_next(ports, entry)) != NULL) {
		struct rp_wire_why why = {0};
		int rc;

		rp_wire_parcel_enter(parcel, PART, count);
		rc = pack_port(entry, parcel, &why);
		entry->given = rc == 0;
		if (must_be_described(entry)) {
			rp_wire_parcel_put_number(parcel, "given", entry->given);
			pack_spec(entry, parcel);
			count++;
		}
		rp_wire_parcel_leave(parcel);
		/* Without a frontend there is nothing that could be lost. */
		if (rc != -ENOTCONN)
			told(ctx, entry, rc == 0 ? NULL : why.text);
	}
	return count;
}

static void
call_off(struct rpd_ports *ports)
{
	struct rpd_port *entry = NULL;

	while ((entry = rpd_ports_next(ports, entry)) != NULL) {
		if (entry->given)
			rp_port_resume(entry->port);
		entry->given = false;
	}
}

int
rpd_hand_over_give(struct rpd_ports *ports, struct rpd_service *service, rpd_hand_over_told told, void *ctx,
		   struct rp_wire_why *why)
{
	struct rp_wire_parcel *parcel;
	unsigned int count;
	int rc = rp_wire_parcel_create(&parcel);

	if (rc < 0)
		return rp_wire_why_set(why, rc, "no memory");
	count = pack_ports(ports, parcel, told, ctx);
	rp_wire_parcel_put_number(parcel, "ports_count", count);
	rc = rp_wire_parcel_result(parcel, why);
	if (rc == 0)
		rc = rpd_service_put_parcel(service, parcel, why);
	if (rc < 0)
		call_off(ports);
	rp_wire_parcel_destroy(parcel);
	return rc;
}

/* Where ports come from when a daemon starts. */
struct heir {
	struct rpd_ports *ports;
	const struct rpd_config *config;
	struct rp_wire_parcel *parcel; /* NULL: there was no predecessor, or nothing of it is left */
	struct rpd_port_spec *again; /* came by RPC, and did not go on: to be opened anew */
	unsigned int again_count;
	void (*event)(void *ctx, const struct rp_port_event *event);
	void *ctx;
};

static void
tell(const struct heir *heir, enum rp_port_event_level level, const char *port, const char *name, const char *text)
{
	const struct rp_port_event event = {
		.level = level, .port = port[0] == '\0' ? NULL : port, .queue = -1, .name = name, .text = text};

	heir->event(heir->ctx, &event);
}

static const struct rpd_port_spec *
configured(const struct heir *heir, const char *name)
{
	unsigned int i;

	for (i = 0; i < heir->config->ports_count; i++)
		if (strcmp(heir->config->ports[i].spec.name, name) == 0)
			return &heir->config->ports[i].spec;
	return NULL;
}

/* Whether there should be such a port. */
static int
check_wanted(const struct heir *heir, const struct rpd_port_spec *spec, bool by_rpc, struct rp_wire_why *why)
{
	const struct rpd_port_spec *wanted = configured(heir, spec->name);
	const char *key = wanted == NULL ? NULL : rpd_spec_difference(spec, wanted);

	if (key != NULL)
		return rp_wire_why_set(why, -ENOTSUP, "%s: the configuration says something else now", key);
	if (wanted == NULL && !by_rpc)
		return rp_wire_why_set(why, -ENOTSUP, "it is not configured any more");
	return 0;
}

/* In the scope of the port. */
static void
adopt_port(struct heir *heir)
{
	bool by_rpc = rp_wire_parcel_get_bool(heir->parcel, "by_rpc");
	bool given = rp_wire_parcel_get_bool(heir->parcel, "given");
	struct rpd_port_spec *spec = &heir->again[heir->again_count];
	struct rp_wire_why why = {0};
	struct rpd_port *entry;
	bool described = false;
	int rc = rp_wire_parcel_result(heir->parcel, &why);

	*spec = (struct rpd_port_spec){.given = 0};
	if (rc == 0)
		rc = unpack_spec(spec, heir->parcel, rpd_ports_registry(heir->ports), &why);
	described = rc == 0;
	if (rc == 0)
		rc = check_wanted(heir, spec, by_rpc, &why);
	if (rc == 0 && given) {
		rp_wire_parcel_enter(heir->parcel, PART, 0);
		rc = rpd_ports_adopt(heir->ports, spec, heir->parcel, &why);
		rp_wire_parcel_leave(heir->parcel);
	}
	if (rc == 0 && given) {
		entry = rpd_ports_find(heir->ports, spec->name);
		entry->by_rpc = by_rpc;
		rpd_spec_fini(spec);
		return;
	}
	if (rc < 0)
		tell(heir, RP_PORT_EVENT_WARNING, described ? spec->name : "", "port-not-adopted", why.text);
	if (described && by_rpc && configured(heir, spec->name) == NULL)
		heir->again_count++;
	else
		rpd_spec_fini(spec);
}

static void
adopt_all(struct heir *heir)
{
	unsigned int count = (unsigned int)rp_wire_parcel_get_number(heir->parcel, "ports_count", RPD_PORTS_MAX), i;
	struct rp_wire_why why = {0};

	if (rp_wire_parcel_result(heir->parcel, &why) < 0) {
		tell(heir, RP_PORT_EVENT_WARNING, "", "nothing-adopted", why.text);
		return;
	}
	heir->again = calloc(count + 1, sizeof(*heir->again));
	if (heir->again == NULL)
		return;
	for (i = 0; i < count; i++) {
		rp_wire_parcel_enter(heir->parcel, PART, i);
		adopt_port(heir);
		rp_wire_parcel_leave(heir->parcel);
	}
}

static void
open_again(struct heir *heir)
{
	unsigned int i;

	for (i = 0; heir->again != NULL && i < heir->again_count; i++) {
		struct rp_wire_why why = {0};

		if (rpd_ports_add(heir->ports, &heir->again[i], &why) < 0)
			tell(heir, RP_PORT_EVENT_ERROR, heir->again[i].name, "port-lost", why.text);
		else
			rpd_ports_find(heir->ports, heir->again[i].name)->by_rpc = true;
		rpd_spec_fini(&heir->again[i]);
	}
	free(heir->again);
}

int
rpd_hand_over_adopt(struct rpd_ports *ports, struct rpd_service *service, const struct rpd_config *config,
		    void (*event)(void *ctx, const struct rp_port_event *event), void *ctx, const char **ret_where,
		    struct rp_wire_why *why)
{
	struct heir heir = {.ports = ports, .config = config, .event = event, .ctx = ctx};
	struct rp_wire_why wrong = {0};
	unsigned int i;
	int rc;

	if (rpd_service_take_parcel(service, &heir.parcel, &wrong) < 0)
		tell(&heir, RP_PORT_EVENT_WARNING, "", "nothing-adopted", wrong.text);
	if (heir.parcel != NULL)
		adopt_all(&heir);
	/* What nobody went on with ends here, before it is opened anew. */
	rp_wire_parcel_destroy(heir.parcel);
	open_again(&heir);
	for (i = 0; i < config->ports_count; i++) {
		if (rpd_ports_find(ports, config->ports[i].spec.name) != NULL)
			continue;
		rc = rpd_ports_add(ports, &config->ports[i].spec, why);
		if (rc < 0) {
			*ret_where = config->ports[i].where;
			return rc;
		}
	}
	return 0;
}
