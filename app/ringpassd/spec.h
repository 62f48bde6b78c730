/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SPEC_H
#define SPEC_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_port.h"

/**
 * @file
 * What a user says about a port. The configuration file and the RPC speak of
 * ports with the same keys: one table of keys judges both.
 *
 * Threads: no state; any thread.
 */

#define RPD_SOCKET_PATH_MAX 108
#define RPD_ARGUMENTS_MAX 256
#define RPD_MAC_MAX 18

/** As enum rp_port_socket_mode, but what is usual comes first: most backends listen. */
enum rpd_software_mode {
	RPD_SOFTWARE_CLIENT,
	RPD_SOFTWARE_SERVER,
};

enum rpd_switch {
	RPD_OFF,
	RPD_ON,
};

struct rpd_port_spec {
	uint32_t given; /**< keys that were set, one bit each; the table's order */
	char name[RP_PORT_NAME_MAX];
	char socket_path[RPD_SOCKET_PATH_MAX];
	uint32_t socket_mode; /**< enum rp_port_socket_mode */
	uint32_t profile; /**< enum rp_vhu_profile */
	uint32_t vfio_bit; /**< 0: the usual; so the two below */
	uint32_t vfio_file_request;
	uint32_t notify_area_request;
	uint32_t doorbell; /**< enum rp_port_doorbell_policy */
	uint32_t queue_pairs;
	uint32_t doorbell_delay_ms;
	uint32_t doorbell_delay_max_ms;
	uint32_t memory; /**< enum rp_port_memory */
	uint32_t reconnect_ms;
	bool relay_interrupts;
	uint32_t ring; /**< enum rp_port_ring_policy */
	bool migratable;
	bool fail_over;
	uint32_t access_platform; /**< enum rpd_switch */
	char mac[RPD_MAC_MAX]; /**< empty: the device's own stays */
	uint32_t promiscuous; /**< enum rp_port_promiscuous */
	uint32_t multicast; /**< enum rp_port_multicast */
	char software_path[RPD_SOCKET_PATH_MAX]; /**< empty: there is no software backend */
	uint32_t software_mode; /**< enum rpd_software_mode */
	uint32_t software_kind; /**< enum rp_port_software_kind */
	uint32_t software_timeout_ms; /**< 0: the usual; so the two below */
	uint32_t software_reconnect_ms;
	uint32_t drain_ms;
	uint32_t wish; /**< enum rp_port_wish */
	uint32_t device; /**< enum rp_port_device */
	unsigned int accelerators_count;
	char **accelerators; /**< the spec's own */
	unsigned int windows_count;
	struct rp_port_window windows[RP_PORT_WINDOWS_MAX];
};

enum rpd_value_type {
	RPD_VALUE_NUMBER,
	RPD_VALUE_TEXT,
	RPD_VALUE_BOOL,
	RPD_VALUE_LIST,
	RPD_VALUE_OTHER, /**< what no key takes */
};

/** A value as a reader of some syntax found it. */
struct rpd_value {
	enum rpd_value_type type;
	int64_t number;
	bool boolean;
	const char *text; /**< TEXT: the text; OTHER: what it is, "a group" */
};

struct rpd_spec_key;

/** @return the key, or NULL when there is none of that name. */
const struct rpd_spec_key *rpd_spec_key_find(const char *name);

/** Whether a key's value is a list, whose elements are set one by one. */
bool rpd_spec_key_is_list(const struct rpd_spec_key *key);

/** The first key (after NULL), the next one, NULL at the end. */
const struct rpd_spec_key *rpd_spec_key_next(const struct rpd_spec_key *after);

const char *rpd_spec_key_name(const struct rpd_spec_key *key);

/**
 * What a key was set to, as rpd_spec_set() takes it.
 *
 * @param element of a list key; else 0.
 * @param ret_value its text is borrowed from spec.
 * @return whether there is such a value; a key that was not set has none, nor have windows, which
 *         are not kept as they were written.
 */
bool rpd_spec_get(const struct rpd_port_spec *spec, const struct rpd_spec_key *key, unsigned int element,
		  struct rpd_value *ret_value);

/** @return NULL, or the first key of which two ports say something else; windows count as that. */
const char *rpd_spec_difference(const struct rpd_port_spec *a, const struct rpd_port_spec *b);

/** All keys, for messages: "name, socket, ...". */
const char *rpd_spec_key_names(void);

/** "'text'", "7", "true", "a list": for messages. */
void rpd_value_describe(const struct rpd_value *value, char *ret_text, size_t size);

/**
 * Set one key, or add one element to a list key.
 *
 * @param spec zeroed at its beginning, ended by rpd_spec_fini().
 * @return 0, -ENOMEM, or -EBADMSG: why says what was found and what was expected, not the key.
 */
int rpd_spec_set(struct rpd_port_spec *spec, const struct rpd_spec_key *key, const struct rpd_value *value,
		 const struct rp_accel_registry *registry, struct rp_wire_why *why);

/** One accelerator more, unchecked. @return 0, or -ENOMEM: it is as it was. */
int rpd_spec_append(struct rpd_port_spec *spec, const char *arguments);

/**
 * @param ret_copy overwritten; end with rpd_spec_fini().
 * @return 0, or -ENOMEM: then there is nothing to be ended.
 */
int rpd_spec_copy(const struct rpd_port_spec *spec, struct rpd_port_spec *ret_copy);

/** End one that was zeroed at its beginning; it may be ended again. */
void rpd_spec_fini(struct rpd_port_spec *spec);

/** @return 0, or -EBADMSG: why names the key that is missing. */
int rpd_spec_check(const struct rpd_port_spec *spec, struct rp_wire_why *why);

/**
 * Whether two ports would share a socket that only one can have.
 *
 * @return the key in `spec` that says so, "socket" or "software"; NULL: none.
 */
const char *rpd_spec_clash(const struct rpd_port_spec *spec, const struct rpd_port_spec *other);

/**
 * What lib/port takes.
 *
 * @param accelerators room for RP_PORT_ACCELERATORS_MAX pointers into spec; both must outlive ret_config.
 */
void rpd_spec_port_config(const struct rpd_port_spec *spec, const char **accelerators,
			  struct rp_port_config *ret_config);

/** "server" or "client"; "standard", ... */
const char *rpd_socket_mode_name(enum rp_port_socket_mode mode);
const char *rpd_profile_name(enum rp_vhu_profile profile);
const char *rpd_doorbell_policy_name(enum rp_port_doorbell_policy policy);
int rpd_doorbell_policy_parse(const char *name, enum rp_port_doorbell_policy *ret_policy);
int rpd_ring_policy_parse(const char *name, enum rp_port_ring_policy *ret_policy);
int rpd_wish_parse(const char *name, enum rp_port_wish *ret_wish);

#endif
