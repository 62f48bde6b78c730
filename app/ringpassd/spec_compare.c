/* SPDX-License-Identifier: BSD-3-Clause */

/* Two descriptions of ports beside each other. */

#include <string.h>

#include "spec.h"

static bool
same_value(const struct rpd_value *a, const struct rpd_value *b)
{
	if (a->text != NULL && b->text != NULL)
		return strcmp(a->text, b->text) == 0;
	return a->text == b->text && a->number == b->number && a->boolean == b->boolean;
}

const char *
rpd_spec_difference(const struct rpd_port_spec *a, const struct rpd_port_spec *b)
{
	const struct rpd_spec_key *key = NULL;
	struct rpd_value value_a, value_b;
	unsigned int element;
	bool in_a, in_b;

	while ((key = rpd_spec_key_next(key)) != NULL) {
		element = 0;
		do {
			in_a = rpd_spec_get(a, key, element, &value_a);
			in_b = rpd_spec_get(b, key, element, &value_b);
			if (in_a != in_b || !same_value(&value_a, &value_b))
				return rpd_spec_key_name(key);
			element++;
		} while (in_a);
	}
	return a->windows_count > 0 || b->windows_count > 0 ? "windows" : NULL;
}

static bool
same_path(const char *a, const char *b)
{
	return a[0] != '\0' && strcmp(a, b) == 0;
}

const char *
rpd_spec_clash(const struct rpd_port_spec *spec, const struct rpd_port_spec *other)
{
	bool listens = spec->software_mode == RPD_SOFTWARE_SERVER || other->software_mode == RPD_SOFTWARE_SERVER;

	if (same_path(spec->socket_path, other->socket_path) || same_path(spec->socket_path, other->software_path))
		return "socket";
	/* A backend that listens may serve many. One of our own ports would wait for itself. */
	if (same_path(spec->software_path, other->socket_path) ||
	    (listens && same_path(spec->software_path, other->software_path)))
		return "software";
	return NULL;
}
