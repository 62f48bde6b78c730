/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <libconfig.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config.h"
#include "ports.h"

#define KEY_MAX 64
#define REPORT_MAX 1024

struct reader {
	const char *path;
	const struct rp_accel_registry *registry;
	rpd_config_report report;
	void *ctx;
	struct rpd_config *config;
	unsigned int errors_count;
};

/* An included file has a name of its own. */
static const char *
file_of(const struct reader *reader, const config_setting_t *setting)
{
	const char *file = config_setting_source_file(setting);

	return file == NULL ? reader->path : file;
}

static void __attribute__((format(printf, 4, 5)))
complain(struct reader *reader, const config_setting_t *setting, const char *key, const char *format, ...)
{
	char line[REPORT_MAX];
	va_list args;
	int used;

	used = snprintf(line, sizeof(line), "%s:%u: %s: ", file_of(reader, setting),
			(unsigned int)config_setting_source_line(setting), key);
	if (used > 0 && (size_t)used < sizeof(line)) {
		va_start(args, format);
		vsnprintf(line + used, sizeof(line) - (size_t)used, format, args);
		va_end(args);
	}
	reader->report(reader->ctx, line);
	reader->errors_count++;
}

static void
value_of(const config_setting_t *setting, struct rpd_value *ret_value)
{
	memset(ret_value, 0, sizeof(*ret_value));
	switch (config_setting_type(setting)) {
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		ret_value->type = RPD_VALUE_NUMBER;
		ret_value->number = config_setting_get_int64(setting);
		/* A 32-bit number is no 64-bit one to libconfig. */
		if (config_setting_type(setting) == CONFIG_TYPE_INT)
			ret_value->number = config_setting_get_int(setting);
		break;
	case CONFIG_TYPE_STRING:
		ret_value->type = RPD_VALUE_TEXT;
		ret_value->text = config_setting_get_string(setting);
		break;
	case CONFIG_TYPE_BOOL:
		ret_value->type = RPD_VALUE_BOOL;
		ret_value->boolean = config_setting_get_bool(setting) != 0;
		break;
	case CONFIG_TYPE_ARRAY:
	case CONFIG_TYPE_LIST:
		ret_value->type = RPD_VALUE_LIST;
		break;
	case CONFIG_TYPE_GROUP:
		ret_value->type = RPD_VALUE_OTHER;
		ret_value->text = "a group { }";
		break;
	default:
		ret_value->type = RPD_VALUE_OTHER;
		ret_value->text = "a fraction";
		break;
	}
}

static void
set_key(struct reader *reader, struct rpd_port_spec *spec, const struct rpd_spec_key *key,
	const config_setting_t *setting, const char *name)
{
	struct rp_wire_why why = {0};
	struct rpd_value value;

	value_of(setting, &value);
	if (rpd_spec_set(spec, key, &value, reader->registry, &why) < 0)
		complain(reader, setting, name, "%s", why.text);
}

static void
read_port_key(struct reader *reader, struct rpd_port_spec *spec, const config_setting_t *setting, unsigned int port)
{
	const char *name = config_setting_name(setting);
	const struct rpd_spec_key *key = rpd_spec_key_find(name);
	char where[KEY_MAX + 32];
	struct rpd_value value;
	int i;

	snprintf(where, sizeof(where), "ports[%u].%.*s", port, KEY_MAX, name);
	if (key == NULL) {
		complain(reader, setting, where, "found an unknown key, expected %s", rpd_spec_key_names());
		return;
	}
	value_of(setting, &value);
	if (!rpd_spec_key_is_list(key) || value.type != RPD_VALUE_LIST) {
		/* One string would do for a list of one, but not say so. */
		if (rpd_spec_key_is_list(key))
			complain(reader, setting, where, "found no list, expected ( \"...\", ... )");
		else
			set_key(reader, spec, key, setting, where);
		return;
	}
	for (i = 0; i < config_setting_length(setting); i++) {
		snprintf(where, sizeof(where), "ports[%u].%.*s[%d]", port, KEY_MAX, name, i);
		set_key(reader, spec, key, config_setting_get_elem(setting, (unsigned int)i), where);
	}
}

static void
check_not_rpc(struct reader *reader, const config_setting_t *setting, unsigned int index, const char *key,
	      const char *path)
{
	char where[KEY_MAX];

	if (path[0] == '\0' || strcmp(path, reader->config->rpc_path) != 0)
		return;
	snprintf(where, sizeof(where), "ports[%u].%s", index, key);
	complain(reader, config_setting_get_member(setting, key), where,
		 "found the RPC socket '%s', expected a socket of its own", path);
}

static void
check_unique(struct reader *reader, const config_setting_t *setting, unsigned int index)
{
	const struct rpd_config *config = reader->config;
	const struct rpd_port_spec *spec = &config->ports[index].spec;
	const char *key;
	char where[KEY_MAX];
	unsigned int i;

	for (i = 0; i < index; i++) {
		const struct rpd_port_spec *other = &config->ports[i].spec;

		snprintf(where, sizeof(where), "ports[%u].name", index);
		if (spec->name[0] != '\0' && strcmp(spec->name, other->name) == 0)
			complain(reader, config_setting_get_member(setting, "name"), where,
				 "found '%s' again, expected a name other than that of line %u", spec->name,
				 config->ports[i].line);
		key = rpd_spec_clash(spec, other);
		if (key == NULL)
			continue;
		snprintf(where, sizeof(where), "ports[%u].%s", index, key);
		complain(reader, config_setting_get_member(setting, key), where,
			 "found '%s' again, expected a socket other than that of line %u",
			 strcmp(key, "socket") == 0 ? spec->socket_path : spec->software_path, config->ports[i].line);
	}
	check_not_rpc(reader, setting, index, "socket", spec->socket_path);
	check_not_rpc(reader, setting, index, "software", spec->software_path);
}

static void
read_port(struct reader *reader, const config_setting_t *setting, unsigned int index)
{
	struct rpd_config_port *port = &reader->config->ports[index];
	unsigned int errors_before = reader->errors_count;
	struct rp_wire_why why = {0};
	char where[KEY_MAX];
	int i;

	snprintf(where, sizeof(where), "ports[%u]", index);
	if (!config_setting_is_group(setting)) {
		complain(reader, setting, where, "found no group, expected { name = ...; socket = ...; ... }");
		return;
	}
	port->line = config_setting_source_line(setting);
	snprintf(port->where, sizeof(port->where), "%.280s:%u: %s", file_of(reader, setting), port->line, where);
	for (i = 0; i < config_setting_length(setting); i++)
		read_port_key(reader, &port->spec, config_setting_get_elem(setting, (unsigned int)i), index);
	/* A key that was refused is not a key that is missing. */
	if (errors_before == reader->errors_count && rpd_spec_check(&port->spec, &why) < 0)
		complain(reader, setting, where, "%s", why.text);
	check_unique(reader, setting, index);
}

static int
read_ports(struct reader *reader, const config_setting_t *setting)
{
	unsigned int i, count;

	if (!config_setting_is_list(setting)) {
		complain(reader, setting, "ports", "found no list, expected ( { ... }, ... )");
		return 0;
	}
	count = (unsigned int)config_setting_length(setting);
	if (count > RPD_PORTS_MAX) {
		complain(reader, setting, "ports", "found %u ports, expected at most %u", count, RPD_PORTS_MAX);
		return 0;
	}
	reader->config->ports = calloc(count + 1, sizeof(*reader->config->ports));
	if (reader->config->ports == NULL)
		return -ENOMEM;
	reader->config->ports_count = count;
	for (i = 0; i < count; i++)
		read_port(reader, config_setting_get_elem(setting, i), i);
	return 0;
}

static void
read_rpc(struct reader *reader, const config_setting_t *setting)
{
	struct rpd_value value;
	char found[80];

	value_of(setting, &value);
	if (value.type == RPD_VALUE_TEXT && value.text[0] != '\0' && strlen(value.text) < RPD_SOCKET_PATH_MAX) {
		snprintf(reader->config->rpc_path, sizeof(reader->config->rpc_path), "%s", value.text);
		return;
	}
	rpd_value_describe(&value, found, sizeof(found));
	complain(reader, setting, "rpc", "found %s, expected a path of 1 to 107 bytes", found);
}

static void
read_node(struct reader *reader, const config_setting_t *setting)
{
	struct rpd_node_wish *node = &reader->config->node;
	struct rpd_value value;
	char found[80];

	value_of(setting, &value);
	if (value.type == RPD_VALUE_NUMBER && value.number >= 0 && value.number < RP_DMA_VOTE_NODES_MAX) {
		*node = (struct rpd_node_wish){RPD_NODE_FIXED, (int)value.number};
	} else if (value.type == RPD_VALUE_TEXT && strcmp(value.text, "follow") == 0) {
		node->policy = RPD_NODE_FOLLOW;
	} else if (value.type == RPD_VALUE_TEXT && strcmp(value.text, "any") == 0) {
		node->policy = RPD_NODE_ANY;
	} else {
		rpd_value_describe(&value, found, sizeof(found));
		complain(reader, setting, "node", "found %s, expected \"follow\", \"any\", or a number of 0 to %d",
			 found, RP_DMA_VOTE_NODES_MAX - 1);
	}
}

static int
read_root(struct reader *reader, const config_setting_t *root)
{
	const config_setting_t *rpc = config_setting_get_member(root, "rpc");
	const config_setting_t *node = config_setting_get_member(root, "node");
	const config_setting_t *ports = config_setting_get_member(root, "ports");
	char name[KEY_MAX + 1];
	int i;

	for (i = 0; i < config_setting_length(root); i++) {
		const config_setting_t *setting = config_setting_get_elem(root, (unsigned int)i);

		if (setting == rpc || setting == node || setting == ports)
			continue;
		snprintf(name, sizeof(name), "%s", config_setting_name(setting));
		complain(reader, setting, name, "found an unknown key, expected rpc, node or ports");
	}
	/* The ports' sockets are compared with it. */
	if (rpc != NULL)
		read_rpc(reader, rpc);
	if (node != NULL)
		read_node(reader, node);
	return ports == NULL ? 0 : read_ports(reader, ports);
}

/* libconfig's scanner ends the process when it cannot read what it could open, such as a directory. */
static FILE *
open_readable(const char *path)
{
	FILE *file = fopen(path, "re");
	struct stat st;

	if (file != NULL && fstat(fileno(file), &st) == 0 && S_ISDIR(st.st_mode)) {
		fclose(file);
		errno = EISDIR;
		return NULL;
	}
	return file;
}

int
rpd_config_read(const char *path, const struct rp_accel_registry *registry, rpd_config_report report, void *ctx,
		struct rpd_config *ret_config)
{
	struct rpd_config config = {0};
	struct reader reader = {path, registry, report, ctx, &config, 0};
	char line[REPORT_MAX];
	config_t parsed;
	FILE *file = open_readable(path);
	int rc = 0;

	if (file == NULL) {
		rc = -errno;
		snprintf(line, sizeof(line), "%s: %s, expected a configuration file", path, strerror(-rc));
		report(ctx, line);
		return rc;
	}
	config_init(&parsed);
	if (config_read(&parsed, file) == CONFIG_TRUE) {
		rc = read_root(&reader, config_root_setting(&parsed));
	} else {
		const char *included = config_error_file(&parsed);

		snprintf(line, sizeof(line), "%s:%d: syntax: found %s, expected key = value; as libconfig has it",
			 included == NULL ? path : included, config_error_line(&parsed), config_error_text(&parsed));
		report(ctx, line);
		reader.errors_count++;
	}
	config_destroy(&parsed);
	fclose(file);
	if (rc == 0 && reader.errors_count > 0)
		rc = -EBADMSG;
	if (rc < 0)
		rpd_config_free(&config);
	else
		*ret_config = config;
	return rc;
}

void
rpd_config_free(struct rpd_config *config)
{
	while (config->ports_count > 0)
		rpd_spec_fini(&config->ports[--config->ports_count].spec);
	free(config->ports);
	config->ports = NULL;
}
