/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <rte_ether.h>
#include <rte_kvargs.h>

#include "options.h"

#define QUEUE_PAIRS_DEFAULT 1u
#define QUEUE_SIZE_DEFAULT 1024u
#define IDLE_MS_DEFAULT 5000u
#define IDLE_MS_MAX 3600000ul

const char options_usage[] =
	"usage: softaccel EAL-ARGUMENTS -- --function socket=PATH[,key=value...] [--function ...] [--uplink NAME]\n"
	"  --function  a virtio-net function served over vfio-user; its keys:\n"
	"                socket=PATH       where it listens\n"
	"                queue_pairs=N     1 to 128 (default 1)\n"
	"                queue_size=N      largest ring, a power of two (default 1024)\n"
	"                mac=XX:...:XX     (default: a random local one)\n"
	"                group=NAME        functions of one group are one switch port\n"
	"                doorbell=MODE     page (default; for more than 8 queues one for several), pages (one for\n"
	"                                  each), shared or none\n"
	"                msix=on|off       interrupt by MSI-X, else by the pin (default on)\n"
	"                packed=on|off     offer packed rings (default on)\n"
	"                in_order=on|off   offer to use rings in order (default on)\n"
	"                dma=auto|messages reach a guest's memory as its client allows (default),\n"
	"                                  or always by messages\n"
	"                idle_ms=N         a queue with next to nothing to do for so long would rather be woken\n"
	"                                  than rung; 0: never (default 5000)\n"
	"                iommu=on|off      have addresses translated by a client that offers it\n"
	"                                  (default off)\n"
	"  --uplink    an ethdev of DPDK, by its device name (net_tap0)\n"
	"  --copies    one|two: how often a frame between guests is copied (default one);\n"
	"              two takes every frame through a packet buffer\n"
	"  --isa       auto|generic: copy with the widest instructions that the processor\n"
	"              has (default), or with those that each of its kind has\n"
	"  --help      show this\n";

typedef int (*setter)(struct softaccel_function_config *config, const char *value);

static int
take_string(const char **held, const char *value)
{
	free((char *)*held);
	*held = strdup(value);
	return *held == NULL ? -ENOMEM : 0;
}

static int
set_socket(struct softaccel_function_config *config, const char *value)
{
	struct sockaddr_un address;

	if (value[0] == '\0' || strlen(value) >= sizeof(address.sun_path))
		return -EINVAL;
	return take_string(&config->socket_path, value);
}

static int
set_group(struct softaccel_function_config *config, const char *value)
{
	if (value[0] == '\0' || strlen(value) >= SOFTACCEL_GROUP_NAME_MAX)
		return -EINVAL;
	return take_string(&config->group, value);
}

static int
set_number(uint16_t *held, const char *value, unsigned long max)
{
	unsigned long number;
	char *end;

	if (value[0] < '0' || value[0] > '9')
		return -EINVAL;
	errno = 0;
	number = strtoul(value, &end, 10);
	if (errno != 0 || *end != '\0' || number < 1 || number > max)
		return -EINVAL;
	*held = (uint16_t)number;
	return 0;
}

static int
set_queue_pairs(struct softaccel_function_config *config, const char *value)
{
	return set_number(&config->queue_pairs, value, SOFTACCEL_QUEUE_PAIRS_MAX);
}

static int
set_queue_size(struct softaccel_function_config *config, const char *value)
{
	int rc = set_number(&config->queue_size, value, SOFTACCEL_QUEUE_SIZE_MAX);

	return rc == 0 && (config->queue_size & (config->queue_size - 1)) != 0 ? -EINVAL : rc;
}

static int
set_mac(struct softaccel_function_config *config, const char *value)
{
	struct rte_ether_addr address;

	if (rte_ether_unformat_addr(value, &address) < 0 || !rte_is_valid_assigned_ether_addr(&address))
		return -EINVAL;
	memcpy(config->mac, address.addr_bytes, sizeof(config->mac));
	return 0;
}

static int
set_doorbell(struct softaccel_function_config *config, const char *value)
{
	static const char *const names[] = {
		[SOFTACCEL_DOORBELL_PAGE] = "page",
		[SOFTACCEL_DOORBELL_SHARED] = "shared",
		[SOFTACCEL_DOORBELL_NONE] = "none",
		[SOFTACCEL_DOORBELL_PAGES] = "pages",
	};
	unsigned int i;

	for (i = 0; i < RTE_DIM(names); i++) {
		if (strcmp(value, names[i]) == 0) {
			config->doorbell = (enum softaccel_doorbell)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int
set_switch(bool *ret_off, const char *value)
{
	if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
		return -EINVAL;
	*ret_off = strcmp(value, "off") == 0;
	return 0;
}

static int
set_msix(struct softaccel_function_config *config, const char *value)
{
	return set_switch(&config->msix_off, value);
}

static int
set_packed(struct softaccel_function_config *config, const char *value)
{
	return set_switch(&config->packed_off, value);
}

static int
set_in_order(struct softaccel_function_config *config, const char *value)
{
	return set_switch(&config->in_order_off, value);
}

static int
set_idle_ms(struct softaccel_function_config *config, const char *value)
{
	unsigned long number;
	char *end;

	if (value[0] < '0' || value[0] > '9')
		return -EINVAL;
	errno = 0;
	number = strtoul(value, &end, 10);
	if (errno != 0 || *end != '\0' || number > IDLE_MS_MAX)
		return -EINVAL;
	config->idle_ms = (uint32_t)number;
	return 0;
}

static int
set_iommu(struct softaccel_function_config *config, const char *value)
{
	bool off = true;
	int rc = set_switch(&off, value);

	config->iommu = !off;
	return rc;
}

static int
set_dma(struct softaccel_function_config *config, const char *value)
{
	if (strcmp(value, "auto") != 0 && strcmp(value, "messages") != 0)
		return -EINVAL;
	config->dma = value[0] == 'm' ? SOFTACCEL_DMA_MESSAGES : SOFTACCEL_DMA_AUTO;
	return 0;
}

/* clang-format off */
static const struct {
	const char *name;
	const char *expected;
	setter set;
} keys[] = {
	{ "socket",      "a path of 1 to 107 characters",                  set_socket },
	{ "queue_pairs", "a number from 1 to 128",                         set_queue_pairs },
	{ "queue_size",  "a power of two from 1 to 32768",                 set_queue_size },
	{ "mac",         "a unicast address such as 52:54:00:00:00:01",    set_mac },
	{ "group",       "a name of 1 to 31 characters",                   set_group },
	{ "doorbell",    "page, pages, shared or none",                    set_doorbell },
	{ "msix",        "on or off",                                      set_msix },
	{ "packed",      "on or off",                                      set_packed },
	{ "in_order",    "on or off",                                      set_in_order },
	{ "dma",         "auto or messages",                               set_dma },
	{ "idle_ms",     "a number from 0 to 3600000",                     set_idle_ms },
	{ "iommu",       "on or off",                                      set_iommu },
};
/* clang-format on */

static int
set_key(struct softaccel_function_config *config, const struct rte_kvargs_pair *pair, unsigned int *seen_mask,
	struct rp_wire_why *why)
{
	unsigned int i;
	int rc;

	for (i = 0; i < RTE_DIM(keys) && strcmp(pair->key, keys[i].name) != 0; i++)
		;
	if (i == RTE_DIM(keys))
		return rp_wire_why_set(why, -EINVAL,
				       "--function: unknown key '%s', expected one of socket, queue_pairs, "
				       "queue_size, mac, group, doorbell, msix, packed, in_order, dma, idle_ms, iommu",
				       pair->key);
	if ((*seen_mask & 1u << i) != 0)
		return rp_wire_why_set(why, -EINVAL, "--function: %s: given twice, expected once", pair->key);
	*seen_mask |= 1u << i;
	rc = keys[i].set(config, pair->value == NULL ? "" : pair->value);
	if (rc == -ENOMEM)
		return rp_wire_why_set(why, -EINVAL, "--function: no memory");
	if (rc < 0)
		return rp_wire_why_set(why, -EINVAL, "--function: %s: '%s', expected %s", pair->key,
				       pair->value == NULL ? "" : pair->value, keys[i].expected);
	return 0;
}

static int
check_unique(const struct options *options, const char *socket_path, struct rp_wire_why *why)
{
	unsigned int i;

	for (i = 0; i < options->functions_count; i++) {
		if (strcmp(options->functions[i].socket_path, socket_path) == 0)
			return rp_wire_why_set(
				why, -EINVAL, "--function: socket: '%s' is another function's, expected one of its own",
				socket_path);
	}
	return 0;
}

static int
fill_function(struct options *options, const struct rte_kvargs *arguments, struct rp_wire_why *why)
{
	struct softaccel_function_config *config = &options->functions[options->functions_count];
	unsigned int i, seen_mask = 0;
	int rc = 0;

	*config = (struct softaccel_function_config){
		.queue_pairs = QUEUE_PAIRS_DEFAULT,
		.queue_size = QUEUE_SIZE_DEFAULT,
		.idle_ms = IDLE_MS_DEFAULT,
	};
	rte_eth_random_addr(config->mac);
	for (i = 0; rc == 0 && i < arguments->count; i++)
		rc = set_key(config, &arguments->pairs[i], &seen_mask, why);
	if (rc == 0 && config->socket_path == NULL)
		rc = rp_wire_why_set(why, -EINVAL, "--function: socket: missing, expected socket=PATH");
	if (rc == 0)
		rc = check_unique(options, config->socket_path, why);
	if (rc < 0) {
		free((char *)config->socket_path);
		free((char *)config->group);
		return rc;
	}
	options->functions_count++;
	return 0;
}

static int
add_function(struct options *options, const char *text, struct rp_wire_why *why)
{
	struct rte_kvargs *arguments;
	int rc;

	if (options->functions_count == SOFTACCEL_FUNCTIONS_MAX)
		return rp_wire_why_set(why, -EINVAL, "--function: given too often, expected at most %u",
				       SOFTACCEL_FUNCTIONS_MAX);
	arguments = rte_kvargs_parse(text, NULL);
	if (arguments == NULL)
		return rp_wire_why_set(why, -EINVAL, "--function: '%s', expected key=value,key=value", text);
	rc = fill_function(options, arguments, why);
	rte_kvargs_free(arguments);
	return rc;
}

/* @return which of two words it is, or -EINVAL: why names the option. */
static int
take_word(const char *option, const char *value, const char *const words[2], struct rp_wire_why *why)
{
	int i;

	for (i = 0; i < 2; i++) {
		if (strcmp(value, words[i]) == 0)
			return i;
	}
	return rp_wire_why_set(why, -EINVAL, "%s: '%s', expected %s or %s", option, value, words[0], words[1]);
}

static int
take_copies(struct options *options, const char *value, struct rp_wire_why *why)
{
	static const char *const words[] = {[SOFTACCEL_COPIES_ONE] = "one", [SOFTACCEL_COPIES_TWO] = "two"};
	int rc = take_word("--copies", value, words, why);

	if (rc < 0)
		return rc;
	options->config.copies = (enum softaccel_copies)rc;
	return 0;
}

static int
take_isa(struct options *options, const char *value, struct rp_wire_why *why)
{
	static const char *const words[] = {[SOFTACCEL_ISA_AUTO] = "auto", [SOFTACCEL_ISA_GENERIC] = "generic"};
	int rc = take_word("--isa", value, words, why);

	if (rc < 0)
		return rc;
	options->config.isa = (enum softaccel_isa)rc;
	return 0;
}

#define EXPECTED "expected --function, --uplink, --copies, --isa or --help"

static int
take_option(struct options *options, int option, char **argv, struct rp_wire_why *why)
{
	switch (option) {
	case 'f':
		return add_function(options, optarg, why);
	case 'u':
		options->uplink = optarg;
		return 0;
	case 'c':
		return take_copies(options, optarg, why);
	case 'i':
		return take_isa(options, optarg, why);
	case 'h':
		options->help = true;
		return 0;
	case ':':
		return rp_wire_why_set(why, -EINVAL, "%s: has no value, expected one", argv[optind - 1]);
	default:
		return rp_wire_why_set(why, -EINVAL, "%s: unknown argument, " EXPECTED, argv[optind - 1]);
	}
}

int
options_parse(int argc, char **argv, struct options *ret_options, struct rp_wire_why *why)
{
	/* clang-format off */
	static const struct option long_options[] = {
		{"function", required_argument, NULL, 'f'},
		{"uplink", required_argument, NULL, 'u'},
		{"copies", required_argument, NULL, 'c'},
		{"isa", required_argument, NULL, 'i'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	/* clang-format on */
	int option, rc = 0;

	*ret_options = (struct options){.functions_count = 0};
	opterr = 0;
	optind = 1;
	while (rc == 0 && (option = getopt_long(argc, argv, "+:", long_options, NULL)) != -1)
		rc = take_option(ret_options, option, argv, why);
	if (rc == 0 && optind < argc)
		rc = rp_wire_why_set(why, -EINVAL, "%s: unknown argument, " EXPECTED, argv[optind]);
	if (rc == 0 && !ret_options->help && ret_options->functions_count == 0)
		rc = rp_wire_why_set(why, -EINVAL, "--function: missing, expected at least one after --");
	if (rc < 0 || ret_options->help)
		options_free(ret_options);
	/* The EAL parses with the same function. */
	optind = 1;
	return rc;
}

void
options_free(struct options *options)
{
	while (options->functions_count > 0) {
		struct softaccel_function_config *config = &options->functions[--options->functions_count];

		free((char *)config->socket_path);
		free((char *)config->group);
	}
}
