/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_kvargs.h>

#include "options.h"

#define IDLE_US_DEFAULT 50u
#define IDLE_US_MAX 100000u

const char vs_options_usage[] =
	"usage: vswitch EAL-ARGUMENTS -- [--ethdev NAME]... [--guest KEY=VALUE,... [--accelerator ARGUMENTS]...]...\n"
	"  --ethdev       a port: an ethdev of DPDK, by its device name (net_tap0)\n"
	"  --guest        a port: a virtual machine; its keys:\n"
	"                   name=NAME         in commands and logs\n"
	"                   socket=PATH       vhost-user, of its VMM\n"
	"                   mode=server       listen there (default), or client: connect to it\n"
	"                   queue_pairs=N     1 to 64 (default 1)\n"
	"                   wish=software     who has its queues at first: software (default), hardware or auto\n"
	"                   wire=NAME         ethdev to the uplink of its accelerator\n"
	"                   ringpass=on       or off: librte_vhost is on the VMM's socket itself\n"
	"  --accelerator  of the guest before it: a device argument string (vfio-user,socket=PATH)\n"
	"  --control      a Unix socket for commands; standard input takes them too\n"
	"  --idle-us      how long a worker without work sleeps (default 50; 0: never)\n"
	"  --help         show this\n";

typedef int (*setter)(struct vs_guest_config *config, const char *value);

static int
copy(char *held, size_t size_bytes, const char *value)
{
	if (value[0] == '\0' || strlen(value) >= size_bytes)
		return -EINVAL;
	strcpy(held, value);
	return 0;
}

static int
set_name(struct vs_guest_config *config, const char *value)
{
	return copy(config->name, sizeof(config->name), value);
}

static int
set_socket(struct vs_guest_config *config, const char *value)
{
	return copy(config->socket_path, sizeof(config->socket_path), value);
}

static int
set_wire(struct vs_guest_config *config, const char *value)
{
	return copy(config->wire, sizeof(config->wire), value);
}

static int
set_mode(struct vs_guest_config *config, const char *value)
{
	if (strcmp(value, "server") != 0 && strcmp(value, "client") != 0)
		return -EINVAL;
	config->socket_mode = value[0] == 's' ? RP_PORT_SERVER : RP_PORT_CLIENT;
	return 0;
}

static int
set_ringpass(struct vs_guest_config *config, const char *value)
{
	if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
		return -EINVAL;
	config->ringpass = value[1] == 'n';
	return 0;
}

static int
set_wish(struct vs_guest_config *config, const char *value)
{
	unsigned int wish;

	for (wish = RP_PORT_WISH_AUTO; wish <= RP_PORT_WISH_SOFTWARE; wish++) {
		config->wish = (enum rp_port_wish)wish;
		if (strcmp(value, rp_port_wish_name(config->wish)) == 0)
			return 0;
	}
	return -EINVAL;
}

static int
take_number(const char *value, unsigned long min, unsigned long max, unsigned long *ret_number)
{
	unsigned long number;
	char *end;

	errno = 0;
	number = strtoul(value, &end, 10);
	if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 || number < min || number > max)
		return -EINVAL;
	*ret_number = number;
	return 0;
}

static int
set_queue_pairs(struct vs_guest_config *config, const char *value)
{
	unsigned long number;

	if (take_number(value, 1, VS_PAIRS_MAX, &number) < 0)
		return -EINVAL;
	config->queue_pairs = (uint16_t)number;
	return 0;
}

/* clang-format off */
static const struct {
	const char *name;
	const char *expected;
	setter set;
} keys[] = {
	{ "name",        "a name of 1 to 31 characters",  set_name },
	{ "socket",      "a path of 1 to 107 characters", set_socket },
	{ "mode",        "server or client",              set_mode },
	{ "queue_pairs", "a number from 1 to 64",         set_queue_pairs },
	{ "wish",        "software, hardware or auto",    set_wish },
	{ "wire",        "the name of an ethdev",         set_wire },
	{ "ringpass",    "on or off",                     set_ringpass },
};
/* clang-format on */

static int
set_key(struct vs_guest_config *config, const struct rte_kvargs_pair *pair, struct rp_wire_why *why)
{
	const char *value = pair->value == NULL ? "" : pair->value;
	unsigned int i;

	for (i = 0; i < RTE_DIM(keys) && strcmp(pair->key, keys[i].name) != 0; i++)
		;
	if (i == RTE_DIM(keys))
		return rp_wire_why_set(
			why, -EINVAL,
			"--guest: unknown key '%s', expected one of name, socket, mode, queue_pairs, wish, "
			"wire, ringpass",
			pair->key);
	if (keys[i].set(config, value) < 0)
		return rp_wire_why_set(why, -EINVAL, "--guest: %s: '%s', expected %s", pair->key, value,
				       keys[i].expected);
	return 0;
}

static int
check_guest(const struct vs_options *options, const struct vs_guest_config *config, struct rp_wire_why *why)
{
	unsigned int i;

	if (config->name[0] == '\0' || config->socket_path[0] == '\0')
		return rp_wire_why_set(why, -EINVAL, "--guest: %s: missing, expected %s=...",
				       config->name[0] == '\0' ? "name" : "socket",
				       config->name[0] == '\0' ? "name" : "socket");
	if (!config->ringpass && (config->wire[0] != '\0' || config->socket_mode == RP_PORT_CLIENT))
		return rp_wire_why_set(why, -EINVAL, "--guest: ringpass: 'off', expected no wire and mode=server");
	for (i = 0; i < options->guests_count; i++) {
		if (strcmp(options->guests[i].name, config->name) == 0)
			return rp_wire_why_set(why, -EINVAL, "--guest: name: '%s' is another guest's", config->name);
		if (strcmp(options->guests[i].socket_path, config->socket_path) == 0)
			return rp_wire_why_set(why, -EINVAL, "--guest: socket: '%s' is another guest's",
					       config->socket_path);
	}
	return 0;
}

static int
add_guest(struct vs_options *options, const char *text, struct rp_wire_why *why)
{
	struct vs_guest_config config = {.queue_pairs = 1, .wish = RP_PORT_WISH_SOFTWARE, .ringpass = true};
	struct rte_kvargs *arguments;
	unsigned int i;
	int rc = 0;

	if (options->guests_count + options->ethdevs_count == VS_PORTS_MAX)
		return rp_wire_why_set(why, -EINVAL, "--guest: too many ports, expected at most %u", VS_PORTS_MAX);
	arguments = rte_kvargs_parse(text, NULL);
	if (arguments == NULL)
		return rp_wire_why_set(why, -EINVAL, "--guest: '%s', expected key=value,key=value", text);
	for (i = 0; rc == 0 && i < arguments->count; i++)
		rc = set_key(&config, &arguments->pairs[i], why);
	rte_kvargs_free(arguments);
	if (rc == 0)
		rc = check_guest(options, &config, why);
	if (rc == 0)
		options->guests[options->guests_count++] = config;
	return rc;
}

static int
add_accelerator(struct vs_options *options, const char *text, struct rp_wire_why *why)
{
	struct vs_guest_config *config = &options->guests[options->guests_count - 1];

	if (options->guests_count == 0 || !config->ringpass)
		return rp_wire_why_set(why, -EINVAL, "--accelerator: expected after a --guest with ringpass=on");
	if (config->accelerators_count == VS_ACCELERATORS_MAX)
		return rp_wire_why_set(why, -EINVAL, "--accelerator: given too often, expected at most %u for a guest",
				       VS_ACCELERATORS_MAX);
	config->accelerators[config->accelerators_count++] = text;
	return 0;
}

static int
add_ethdev(struct vs_options *options, const char *name, struct rp_wire_why *why)
{
	if (options->guests_count + options->ethdevs_count == VS_PORTS_MAX)
		return rp_wire_why_set(why, -EINVAL, "--ethdev: too many ports, expected at most %u", VS_PORTS_MAX);
	if (name[0] == '\0' || strlen(name) >= RP_PORT_NAME_MAX)
		return rp_wire_why_set(why, -EINVAL, "--ethdev: '%s', expected a name of 1 to %u characters", name,
				       RP_PORT_NAME_MAX - 1);
	options->ethdevs[options->ethdevs_count++] = name;
	return 0;
}

static int
take_option(struct vs_options *options, int option, char **argv, struct rp_wire_why *why)
{
	unsigned long number;

	switch (option) {
	case 'a':
		return add_accelerator(options, optarg, why);
	case 'c':
		options->control = optarg;
		return 0;
	case 'e':
		return add_ethdev(options, optarg, why);
	case 'g':
		return add_guest(options, optarg, why);
	case 'i':
		if (take_number(optarg, 0, IDLE_US_MAX, &number) < 0)
			return rp_wire_why_set(why, -EINVAL, "--idle-us: '%s', expected a number from 0 to %u", optarg,
					       IDLE_US_MAX);
		options->idle_us = (unsigned int)number;
		return 0;
	case 'h':
		options->help = true;
		return 0;
	case ':':
		return rp_wire_why_set(why, -EINVAL, "%s: has no value, expected one", argv[optind - 1]);
	default:
		return rp_wire_why_set(why, -EINVAL, "%s: unknown argument, expected one that --help names",
				       argv[optind - 1]);
	}
}

int
vs_options_parse(int argc, char **argv, struct vs_options *ret_options, struct rp_wire_why *why)
{
	static const struct option long_options[] = {
		{"accelerator", required_argument, NULL, 'a'},
		{"control", required_argument, NULL, 'c'},
		{"ethdev", required_argument, NULL, 'e'},
		{"guest", required_argument, NULL, 'g'},
		{"idle-us", required_argument, NULL, 'i'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int option, rc = 0;

	*ret_options = (struct vs_options){.idle_us = IDLE_US_DEFAULT};
	opterr = 0;
	optind = 1;
	while (rc == 0 && (option = getopt_long(argc, argv, "+:", long_options, NULL)) != -1)
		rc = take_option(ret_options, option, argv, why);
	if (rc == 0 && optind < argc)
		rc = rp_wire_why_set(why, -EINVAL, "%s: unknown argument, expected one that --help names",
				     argv[optind]);
	if (rc == 0 && !ret_options->help && ret_options->guests_count + ret_options->ethdevs_count == 0)
		rc = rp_wire_why_set(why, -EINVAL, "no port, expected --guest or --ethdev after --");
	/* The EAL parses with the same function. */
	optind = 1;
	return rc;
}
