/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Kinds of software backends. The specification lets one ring be stopped, and says where it
 * stands. librte_vhost (DPDK; Open vSwitch) stops the whole device then, but leaves a split
 * ring alone as soon as it is disabled; it becomes ready only with rings 0 and 1.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "software_parts.h"

#define BIT(n) (1ull << (n))
#define LINE_MAX_BYTES 512

static const struct port_software_kind specification = {
	.kind = RP_PORT_SOFTWARE_SPECIFICATION,
};

static const struct port_software_kind librte_vhost = {
	.kind = RP_PORT_SOFTWARE_LIBRTE_VHOST,
	.pair_first = true,
	.stops_all = true,
	.disabled_is_let_go = true,
	.half_position = true,
};

/*
 * Only librte_vhost offers sessions of a crypto device whatever device it serves (since 18.05);
 * an application can take bits away, and few do.
 */
static bool
has_its_fingerprint(const struct port_software *software)
{
	return (software->asked_protocol_features & BIT(RP_VHU_PF_CRYPTO_SESSION_BIT)) != 0;
}

/* The library is in the process, as a shared one; a process that is not ours to look at says nothing. */
static bool
has_the_library(pid_t pid)
{
	char path[64], line[LINE_MAX_BYTES];
	bool found = false;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	maps = pid > 0 ? fopen(path, "re") : NULL;
	if (maps == NULL)
		return false;
	while (!found && fgets(line, sizeof(line), maps) != NULL)
		found = strstr(line, "/librte_vhost.so") != NULL;
	fclose(maps);
	return found;
}

const struct port_software_kind *
port_software_kind_find(const struct rp_port *port)
{
	const struct port_software *software = port->software;

	if (software->kind_wanted == RP_PORT_SOFTWARE_SPECIFICATION)
		return &specification;
	if (software->kind_wanted == RP_PORT_SOFTWARE_LIBRTE_VHOST)
		return &librte_vhost;
	return has_its_fingerprint(software) || has_the_library(software->pid) ? &librte_vhost : &specification;
}

/* Another device than a network card has no accelerator: what it is not told to serve it never hears of. */
bool
port_software_parks(const struct rp_port *port)
{
	return port->software->kind != NULL && port->software->kind->pair_first && port->device == RP_PORT_DEVICE_NET;
}
