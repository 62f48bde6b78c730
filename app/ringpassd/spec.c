/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "spec.h"
#include "window.h"

#define WORDS_MAX 4

struct rpd_spec_key {
	const char *name;
	enum rpd_value_type type; /* of the value, or of an element */
	bool required;
	bool of_software; /* says nothing without a software backend */
	int (*add)(struct rpd_port_spec *spec, const struct rpd_spec_key *key, const struct rpd_value *value,
		   const struct rp_accel_registry *registry, struct rp_wire_why *why); /* of a list; NULL: it is none */
	size_t offset;
	size_t size; /* TEXT: room at offset */
	uint32_t min; /* NUMBER */
	uint32_t max;
	const char *words[WORDS_MAX]; /* TEXT: one of these, in the order of the enum */
	const char *expected;
	bool (*is_legal)(const char *text);
};

static bool
is_port_name(const char *text)
{
	return text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")] == '\0';
}

/* "52:54:00:12:34:56": of one card, so not a group's and not zero. */
static bool
parse_mac(const char *text, uint8_t *ret_mac)
{
	unsigned int bytes[6], i, all = 0;
	int length = 0;

	if (strspn(text, "0123456789abcdefABCDEF:") != RPD_MAC_MAX - 1 ||
	    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &bytes[0], &bytes[1], &bytes[2], &bytes[3], &bytes[4], &bytes[5],
		   &length) != 6 ||
	    length != RPD_MAC_MAX - 1 || text[length] != '\0')
		return false;
	for (i = 0; i < 6; i++) {
		ret_mac[i] = (uint8_t)bytes[i];
		all |= bytes[i];
	}
	return all != 0 && (ret_mac[0] & 1) == 0;
}

static bool
is_mac(const char *text)
{
	uint8_t mac[6];

	return parse_mac(text, mac);
}

static int
refuse(const struct rpd_spec_key *key, const struct rpd_value *value, struct rp_wire_why *why)
{
	char found[80];

	rpd_value_describe(value, found, sizeof(found));
	return rp_wire_why_set(why, -EBADMSG, "found %s, expected %s", found, key->expected);
}

static int
add_accelerator(struct rpd_port_spec *spec, const struct rpd_spec_key *key, const struct rpd_value *value,
		const struct rp_accel_registry *registry, struct rp_wire_why *why)
{
	size_t length = strlen(value->text);
	int rc;

	if (length == 0 || length >= RPD_ARGUMENTS_MAX)
		return refuse(key, value, why);
	if (spec->accelerators_count == RP_PORT_ACCELERATORS_MAX)
		return rp_wire_why_set(why, -EBADMSG, "found more than %d, expected %s", RP_PORT_ACCELERATORS_MAX,
				       key->expected);
	rc = rp_accel_check(registry, value->text, why);
	if (rc < 0)
		return rc;
	rc = rpd_spec_append(spec, value->text);
	return rc < 0 ? rp_wire_why_set(why, rc, "no memory") : 0;
}

static int
add_window(struct rpd_port_spec *spec, const struct rpd_spec_key *key, const struct rpd_value *value,
	   const struct rp_accel_registry *registry, struct rp_wire_why *why)
{
	int rc;

	(void)registry;
	if (spec->windows_count == RP_PORT_WINDOWS_MAX)
		return rp_wire_why_set(why, -EBADMSG, "found more than %d, expected %s", RP_PORT_WINDOWS_MAX,
				       key->expected);
	rc = rpd_window_parse(value->text, &spec->windows[spec->windows_count], why);
	if (rc == 0)
		spec->windows_count++;
	return rc;
}

/* clang-format off */
static const struct rpd_spec_key keys[] = {
	{
		.name = "name", .type = RPD_VALUE_TEXT, .required = true,
		.offset = offsetof(struct rpd_port_spec, name), .size = RP_PORT_NAME_MAX, .is_legal = is_port_name,
		.expected = "1 to 31 characters of A-Z a-z 0-9 _ . -",
	}, {
		.name = "socket", .type = RPD_VALUE_TEXT, .required = true,
		.offset = offsetof(struct rpd_port_spec, socket_path), .size = RPD_SOCKET_PATH_MAX,
		.expected = "a path of 1 to 107 bytes",
	}, {
		.name = "mode", .type = RPD_VALUE_TEXT,
		.offset = offsetof(struct rpd_port_spec, socket_mode),
		.words = { [RP_PORT_SERVER] = "server", [RP_PORT_CLIENT] = "client" },
		.expected = "\"server\" or \"client\"",
	}, {
		.name = "queue_pairs", .type = RPD_VALUE_NUMBER,
		.offset = offsetof(struct rpd_port_spec, queue_pairs), .min = 0, .max = RP_ACCEL_QUEUES_MAX / 2,
		.expected = "a number from 0 (as many as the accelerators have) to 128",
	}, {
		.name = "doorbell", .type = RPD_VALUE_TEXT,
		.offset = offsetof(struct rpd_port_spec, doorbell),
		.words = { [RP_PORT_DOORBELL_AUTO] = "auto", [RP_PORT_DOORBELL_RELAY] = "relay" },
		.expected = "\"auto\" or \"relay\"",
	}, {
		.name = "doorbell_delay_ms", .type = RPD_VALUE_NUMBER,
		.offset = offsetof(struct rpd_port_spec, doorbell_delay_ms), .min = 1, .max = 60000,
		.expected = "a number from 1 to 60000",
	}, {
		.name = "doorbell_delay_max_ms", .type = RPD_VALUE_NUMBER,
		.offset = offsetof(struct rpd_port_spec, doorbell_delay_max_ms), .min = 1, .max = 60000,
		.expected = "a number from 1 to 60000",
	}, {
		.name = "memory", .type = RPD_VALUE_TEXT,
		.offset = offsetof(struct rpd_port_spec, memory),
		.words = { [RP_PORT_MEMORY_SLOTS] = "slots", [RP_PORT_MEMORY_TABLE] = "table" },
		.expected = "\"slots\" or \"table\"",
	}, {
		.name = "reconnect_ms", .type = RPD_VALUE_NUMBER,
		.offset = offsetof(struct rpd_port_spec, reconnect_ms), .min = 10, .max = 600000,
		.expected = "a number from 10 to 600000",
	}, {
		.name = "profile", .type = RPD_VALUE_TEXT,
		.offset = offsetof(struct rpd_port_spec, profile),
		.words = { [RP_VHU_PROFILE_STANDARD] = "standard", [RP_VHU_PROFILE_EXTENDED] = "extended",
			   [RP_VHU_PROFILE_VFIO2018] = "vfio2018" },
		.expected = "\"standard\", \"extended\" or \"vfio2018\"",
	}, {
		.name = "vfio_bit", .type = RPD_VALUE_NUMBER,
		.offset = offsetof(struct rpd_port_spec, vfio_bit), .min = 32, .max = 63,
		.expected = "a number from 32 to 63",
	}, {
		.name = "vfio_file_request", .type = RPD_VALUE_NUMBER,
		.offset = offsetof(struct rpd_port_spec, vfio_file_request), .min = 256, .max = UINT32_MAX,
		.expected = "a number from 256 to 4294967295",
	}, {
		.name = "notify_area_request", .type = RPD_VALUE_NUMBER,
		.offset = offsetof(struct rpd_port_spec, notify_area_request), .min = 256, .max = UINT32_MAX,
		.expected = "a number from 256 to 4294967295",
	}, {
		.name = "relay_interrupts", .type = RPD_VALUE_BOOL,
		.offset = offsetof(struct rpd_port_spec, relay_interrupts),
		.expected = "true or false",
	}, {
		.name = "ring", .type = RPD_VALUE_TEXT,
		.offset = offsetof(struct rpd_port_spec, ring),
		.words = { [RP_PORT_RING_AUTO] = "auto", [RP_PORT_RING_DIRECT] = "direct",
			   [RP_PORT_RING_SHADOW] = "shadow" },
		.expected = "\"auto\", \"direct\" or \"shadow\"",
	}, {
		.name = "migratable", .type = RPD_VALUE_BOOL,
		.offset = offsetof(struct rpd_port_spec, migratable),
		.expected = "true or false",
	}, {
		.name = "fail_over", .type = RPD_VALUE_BOOL,
		.offset = offsetof(struct rpd_port_spec, fail_over),
		.expected = "true or false",
	}, {
		.name = "access_platform", .type = RPD_VALUE_TEXT,
		.offset = offsetof(struct rpd_port_spec, access_platform),
		.words = { [RPD_OFF] = "off", [RPD_ON] = "on" },
		.expected = "\"off\" or \"on\"",
	}, {
		.name = "mac", .type = RPD_VALUE_TEXT,
		.offset = offsetof(struct rpd_port_spec, mac), .size = RPD_MAC_MAX, .is_legal = is_mac,
		.expected = "the address of one card, as 52:54:00:12:34:56",
	}, {
		.name = "promiscuous", .type = RPD_VALUE_TEXT,
		.offset = offsetof(struct rpd_port_spec, promiscuous),
		.words = { [RP_PORT_PROMISCUOUS_AUTO] = "auto", [RP_PORT_PROMISCUOUS_ON] = "on",
			   [RP_PORT_PROMISCUOUS_OFF] = "off" },
		.expected = "\"auto\", \"on\" or \"off\"",
	}, {
		.name = "multicast", .type = RPD_VALUE_TEXT,
		.offset = offsetof(struct rpd_port_spec, multicast),
		.words = { [RP_PORT_MULTICAST_ALL] = "all", [RP_PORT_MULTICAST_DEVICE] = "device" },
		.expected = "\"all\" or \"device\"",
	}, {
		.name = "software", .type = RPD_VALUE_TEXT,
		.offset = offsetof(struct rpd_port_spec, software_path), .size = RPD_SOCKET_PATH_MAX,
		.expected = "a path of 1 to 107 bytes",
	}, {
		.name = "software_mode", .type = RPD_VALUE_TEXT, .of_software = true,
		.offset = offsetof(struct rpd_port_spec, software_mode),
		.words = { [RPD_SOFTWARE_CLIENT] = "client", [RPD_SOFTWARE_SERVER] = "server" },
		.expected = "\"client\" or \"server\"",
	}, {
		.name = "software_kind", .type = RPD_VALUE_TEXT, .of_software = true,
		.offset = offsetof(struct rpd_port_spec, software_kind),
		.words = { [RP_PORT_SOFTWARE_AUTO] = "auto", [RP_PORT_SOFTWARE_SPECIFICATION] = "specification",
			   [RP_PORT_SOFTWARE_LIBRTE_VHOST] = "librte_vhost" },
		.expected = "\"auto\", \"specification\" or \"librte_vhost\"",
	}, {
		.name = "software_timeout_ms", .type = RPD_VALUE_NUMBER, .of_software = true,
		.offset = offsetof(struct rpd_port_spec, software_timeout_ms), .min = 10, .max = 60000,
		.expected = "a number from 10 to 60000",
	}, {
		.name = "software_reconnect_ms", .type = RPD_VALUE_NUMBER, .of_software = true,
		.offset = offsetof(struct rpd_port_spec, software_reconnect_ms), .min = 10, .max = 600000,
		.expected = "a number from 10 to 600000",
	}, {
		.name = "drain_ms", .type = RPD_VALUE_NUMBER, .of_software = true,
		.offset = offsetof(struct rpd_port_spec, drain_ms), .min = 1, .max = 1000,
		.expected = "a number from 1 to 1000",
	}, {
		.name = "wish", .type = RPD_VALUE_TEXT,
		.offset = offsetof(struct rpd_port_spec, wish),
		.words = { [RP_PORT_WISH_AUTO] = "auto", [RP_PORT_WISH_HARDWARE] = "hardware",
			   [RP_PORT_WISH_SOFTWARE] = "software" },
		.expected = "\"auto\", \"hardware\" or \"software\"",
	}, {
		.name = "device", .type = RPD_VALUE_TEXT,
		.offset = offsetof(struct rpd_port_spec, device),
		.words = { [RP_PORT_DEVICE_NET] = "net", [RP_PORT_DEVICE_OTHER] = "other" },
		.expected = "\"net\" or \"other\"",
	}, {
		.name = "accelerators", .type = RPD_VALUE_TEXT, .add = add_accelerator,
		.expected = "a list of 1 to 128 device argument strings of 1 to 255 bytes",
	}, {
		.name = "windows", .type = RPD_VALUE_TEXT, .add = add_window,
		.expected = "a list of at most 32 windows: " RPD_WINDOW_EXPECTED,
	},
};
/* clang-format on */

#define KEYS_COUNT (sizeof(keys) / sizeof(keys[0]))

const struct rpd_spec_key *
rpd_spec_key_find(const char *name)
{
	unsigned int i;

	for (i = 0; i < KEYS_COUNT; i++) {
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	}
	return NULL;
}

const struct rpd_spec_key *
rpd_spec_key_next(const struct rpd_spec_key *after)
{
	if (after == NULL)
		return keys;
	return after + 1 == keys + KEYS_COUNT ? NULL : after + 1;
}

const char *
rpd_spec_key_name(const struct rpd_spec_key *key)
{
	return key->name;
}

bool
rpd_spec_get(const struct rpd_port_spec *spec, const struct rpd_spec_key *key, unsigned int element,
	     struct rpd_value *ret_value)
{
	const char *room = (const char *)spec + key->offset;
	uint32_t number;

	*ret_value = (struct rpd_value){.type = key->type};
	if (key->add == add_window || (spec->given & 1u << (key - keys)) == 0 ||
	    element >= (key->add != NULL ? spec->accelerators_count : 1))
		return false;
	memcpy(&number, room, sizeof(number));
	if (key->add != NULL)
		ret_value->text = spec->accelerators[element];
	else if (key->type == RPD_VALUE_NUMBER)
		ret_value->number = number;
	else if (key->type == RPD_VALUE_BOOL)
		memcpy(&ret_value->boolean, room, sizeof(ret_value->boolean));
	else
		ret_value->text = key->words[0] != NULL ? key->words[number] : room;
	return true;
}

bool
rpd_spec_key_is_list(const struct rpd_spec_key *key)
{
	return key->add != NULL;
}

const char *
rpd_spec_key_names(void)
{
	static const char names[] =
		"name, socket, mode, queue_pairs, doorbell, doorbell_delay_ms, "
		"doorbell_delay_max_ms, memory, reconnect_ms, profile, vfio_bit, vfio_file_request, "
		"notify_area_request, relay_interrupts, ring, migratable, fail_over, access_platform, mac, "
		"promiscuous, "
		"multicast, "
		"software, software_mode, software_kind, software_timeout_ms, software_reconnect_ms, drain_ms, "
		"wish, device, accelerators or windows";

	return names;
}

static int
set_number(const struct rpd_spec_key *key, const struct rpd_value *value, void *room, struct rp_wire_why *why)
{
	uint32_t number;

	if (value->number < key->min || value->number > key->max)
		return refuse(key, value, why);
	number = (uint32_t)value->number;
	memcpy(room, &number, sizeof(number));
	return 0;
}

static int
set_word(const struct rpd_spec_key *key, const struct rpd_value *value, void *room, struct rp_wire_why *why)
{
	uint32_t i;

	for (i = 0; i < WORDS_MAX && key->words[i] != NULL; i++) {
		if (strcmp(key->words[i], value->text) == 0) {
			memcpy(room, &i, sizeof(i));
			return 0;
		}
	}
	return refuse(key, value, why);
}

static int
set_text(const struct rpd_spec_key *key, const struct rpd_value *value, char *room, struct rp_wire_why *why)
{
	size_t length = strlen(value->text);

	if (length == 0 || length >= key->size || (key->is_legal != NULL && !key->is_legal(value->text)))
		return refuse(key, value, why);
	memcpy(room, value->text, length + 1);
	return 0;
}

int
rpd_spec_set(struct rpd_port_spec *spec, const struct rpd_spec_key *key, const struct rpd_value *value,
	     const struct rp_accel_registry *registry, struct rp_wire_why *why)
{
	char *room = (char *)spec + key->offset;
	int rc;

	if (value->type != key->type)
		return refuse(key, value, why);
	if (key->add != NULL)
		rc = key->add(spec, key, value, registry, why);
	else if (key->type == RPD_VALUE_NUMBER)
		rc = set_number(key, value, room, why);
	else if (key->words[0] != NULL)
		rc = set_word(key, value, room, why);
	else if (key->type == RPD_VALUE_TEXT)
		rc = set_text(key, value, room, why);
	else {
		memcpy(room, &value->boolean, sizeof(value->boolean));
		rc = 0;
	}
	if (rc == 0)
		spec->given |= 1u << (key - keys);
	return rc;
}

static int
check_numbers(const struct rpd_port_spec *spec, struct rp_wire_why *why)
{
	const struct {
		const char *key;
		uint32_t value;
	} numbers[] = {
		{"vfio_bit", spec->vfio_bit},
		{"vfio_file_request", spec->vfio_file_request},
		{"notify_area_request", spec->notify_area_request},
	};
	unsigned int i;

	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (numbers[i].value != 0 && spec->profile != RP_VHU_PROFILE_EXTENDED)
			return rp_wire_why_set(why, -EBADMSG,
					       "%s: found %u, expected none without profile = \"extended\"",
					       numbers[i].key, numbers[i].value);
	return 0;
}

/* Somebody must serve the queues; and what is said must be of somebody who is there. */
static int
check_servers(const struct rpd_port_spec *spec, struct rp_wire_why *why)
{
	bool software = spec->software_path[0] != '\0';
	unsigned int i;

	if (spec->accelerators_count == 0 && !software)
		return rp_wire_why_set(why, -EBADMSG, "accelerators: found nothing, expected %s, or software",
				       rpd_spec_key_find("accelerators")->expected);
	for (i = 0; i < KEYS_COUNT; i++)
		if (keys[i].of_software && !software && (spec->given & 1u << i) != 0)
			return rp_wire_why_set(why, -EBADMSG, "%s: found a value, expected none without software",
					       keys[i].name);
	if (software && strcmp(spec->software_path, spec->socket_path) == 0)
		return rp_wire_why_set(why, -EBADMSG,
				       "software: found '%s', expected a socket other than the port's own",
				       spec->software_path);
	if (spec->wish == RP_PORT_WISH_SOFTWARE && !software)
		return rp_wire_why_set(why, -EBADMSG, "wish: found \"software\", expected another without software");
	if (spec->wish == RP_PORT_WISH_HARDWARE && spec->accelerators_count == 0)
		return rp_wire_why_set(why, -EBADMSG,
				       "wish: found \"hardware\", expected another without accelerators");
	if (spec->device == RP_PORT_DEVICE_OTHER && spec->accelerators_count > 0)
		return rp_wire_why_set(why, -EBADMSG, "device: found \"other\", expected \"net\" with accelerators");
	return 0;
}

/* Whose memory, and whose address: two of the port's own. */
static int
check_windows(const struct rpd_port_spec *spec, struct rp_wire_why *why)
{
	unsigned int i;

	for (i = 0; i < spec->windows_count; i++) {
		const struct rp_port_window *window = &spec->windows[i];

		if (window->of >= spec->accelerators_count || window->to >= spec->accelerators_count ||
		    window->of == window->to)
			return rp_wire_why_set(why, -EBADMSG,
					       "windows[%u]: found of=%u and to=%u, expected two of the port's %u "
					       "accelerators",
					       i, window->of, window->to, spec->accelerators_count);
	}
	return 0;
}

int
rpd_spec_check(const struct rpd_port_spec *spec, struct rp_wire_why *why)
{
	unsigned int i;
	int rc;

	for (i = 0; i < KEYS_COUNT; i++) {
		if (keys[i].required && (spec->given & 1u << i) == 0)
			return rp_wire_why_set(why, -EBADMSG, "%s: found nothing, expected %s", keys[i].name,
					       keys[i].expected);
	}
	if (spec->migratable && spec->ring == RP_PORT_RING_DIRECT)
		return rp_wire_why_set(why, -EBADMSG,
				       "migratable: found true with ring = \"direct\", expected \"auto\" or \"shadow\" "
				       "with it");
	if (spec->access_platform == RPD_ON && spec->migratable)
		return rp_wire_why_set(
			why, -EBADMSG,
			"access_platform: found \"on\" with migratable = true, expected \"off\" with it");
	rc = check_servers(spec, why);
	if (rc == 0)
		rc = check_windows(spec, why);
	return rc < 0 ? rc : check_numbers(spec, why);
}

void
rpd_spec_port_config(const struct rpd_port_spec *spec, const char **accelerators, struct rp_port_config *ret_config)
{
	unsigned int i;

	for (i = 0; i < spec->accelerators_count; i++)
		accelerators[i] = spec->accelerators[i];
	*ret_config = (struct rp_port_config){
		.name = spec->name,
		.socket_path = spec->socket_path,
		.socket_mode = (enum rp_port_socket_mode)spec->socket_mode,
		.profile = (enum rp_vhu_profile)spec->profile,
		.numbers =
			{
				.vfio_bit = (uint8_t)spec->vfio_bit,
				.vfio_file_request = spec->vfio_file_request,
				.notify_area_request = spec->notify_area_request,
			},
		.queue_pairs = (uint16_t)spec->queue_pairs,
		.accelerators = accelerators,
		.accelerators_count = spec->accelerators_count,
		.windows = spec->windows,
		.windows_count = spec->windows_count,
		.doorbell = (enum rp_port_doorbell_policy)spec->doorbell,
		.relay_interrupts = spec->relay_interrupts,
		.doorbell_delay_ms = spec->doorbell_delay_ms,
		.doorbell_delay_max_ms = spec->doorbell_delay_max_ms,
		.memory = (enum rp_port_memory)spec->memory,
		.reconnect_ms = spec->reconnect_ms,
		.ring = (enum rp_port_ring_policy)spec->ring,
		.migratable = spec->migratable,
		.fail_over = spec->fail_over,
		.access_platform = spec->access_platform == RPD_ON,
		.net =
			{
				.promiscuous = (enum rp_port_promiscuous)spec->promiscuous,
				.multicast = (enum rp_port_multicast)spec->multicast,
			},
		.software =
			{
				.socket_path = spec->software_path[0] == '\0' ? NULL : spec->software_path,
				.socket_mode =
					spec->software_mode == RPD_SOFTWARE_SERVER ? RP_PORT_SERVER : RP_PORT_CLIENT,
				.kind = (enum rp_port_software_kind)spec->software_kind,
				.timeout_ms = spec->software_timeout_ms,
				.reconnect_ms = spec->software_reconnect_ms,
				.drain_ms = spec->drain_ms,
			},
		.wish = (enum rp_port_wish)spec->wish,
		.device = (enum rp_port_device)spec->device,
	};
	ret_config->net.has_mac = parse_mac(spec->mac, ret_config->net.mac);
}

const char *
rpd_socket_mode_name(enum rp_port_socket_mode mode)
{
	return rpd_spec_key_find("mode")->words[mode];
}

const char *
rpd_profile_name(enum rp_vhu_profile profile)
{
	return rpd_spec_key_find("profile")->words[profile];
}

const char *
rpd_doorbell_policy_name(enum rp_port_doorbell_policy policy)
{
	return rpd_spec_key_find("doorbell")->words[policy];
}

static int
parse_word(const char *key_name, const char *name, uint32_t *ret_index)
{
	const struct rpd_spec_key *key = rpd_spec_key_find(key_name);
	uint32_t i;

	for (i = 0; i < WORDS_MAX && key->words[i] != NULL; i++) {
		if (strcmp(key->words[i], name) == 0) {
			*ret_index = i;
			return 0;
		}
	}
	return -EINVAL;
}

int
rpd_doorbell_policy_parse(const char *name, enum rp_port_doorbell_policy *ret_policy)
{
	uint32_t index;
	int rc = parse_word("doorbell", name, &index);

	if (rc == 0)
		*ret_policy = (enum rp_port_doorbell_policy)index;
	return rc;
}

int
rpd_ring_policy_parse(const char *name, enum rp_port_ring_policy *ret_policy)
{
	uint32_t index;
	int rc = parse_word("ring", name, &index);

	if (rc == 0)
		*ret_policy = (enum rp_port_ring_policy)index;
	return rc;
}

int
rpd_wish_parse(const char *name, enum rp_port_wish *ret_wish)
{
	uint32_t index;
	int rc = parse_word("wish", name, &index);

	if (rc == 0)
		*ret_wish = (enum rp_port_wish)index;
	return rc;
}
