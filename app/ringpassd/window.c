/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "window.h"

/* clang-format off */
static const struct {
	const char *name;
	size_t name_bytes;
	bool required;
	uint64_t max;
} fields[] = {
#define FIELD(text, is_required, greatest) {text, sizeof(text) - 1, is_required, greatest}
	FIELD("of=", true, RP_PORT_ACCELERATORS_MAX - 1),
	FIELD("bar=", true, RP_PORT_WINDOW_BARS - 1),
	FIELD("to=", true, RP_PORT_ACCELERATORS_MAX - 1),
	FIELD("iova=", true, UINT64_MAX),
	FIELD("offset=", false, INT64_MAX),
	FIELD("size=", false, INT64_MAX),
#undef FIELD
};
/* clang-format on */

#define FIELDS_COUNT (sizeof(fields) / sizeof(fields[0]))

static int
refuse(const char *text, struct rp_wire_why *why)
{
	return rp_wire_why_set(why, -EBADMSG, "found '%.60s', expected " RPD_WINDOW_EXPECTED, text);
}

/* "7" and "0x7", and nothing else that strtoull takes. */
static bool
parse_number(const char *text, uint64_t max, uint64_t *ret_number, const char **ret_end)
{
	bool hex = text[0] == '0' && text[1] == 'x';
	const char *digits = hex ? text + 2 : text;
	size_t length = strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789");

	errno = 0;
	*ret_number = strtoull(digits, NULL, hex ? 16 : 10);
	*ret_end = digits + length;
	return length > 0 && errno == 0 && *ret_number <= max;
}

static size_t
find_field(const char *text)
{
	size_t i;

	for (i = 0; i < FIELDS_COUNT && strncmp(text, fields[i].name, fields[i].name_bytes) != 0; i++)
		;
	return i;
}

int
rpd_window_parse(const char *text, struct rp_port_window *ret_window, struct rp_wire_why *why)
{
	uint64_t numbers[FIELDS_COUNT] = {0};
	bool given[FIELDS_COUNT] = {false};
	const char *at = text;
	size_t i;

	do {
		i = find_field(at);
		if (i == FIELDS_COUNT || given[i] ||
		    !parse_number(at + fields[i].name_bytes, fields[i].max, &numbers[i], &at) ||
		    (*at != ',' && *at != '\0'))
			return refuse(text, why);
		given[i] = true;
	} while (*at++ == ',');
	for (i = 0; i < FIELDS_COUNT; i++)
		if (fields[i].required && !given[i])
			return refuse(text, why);
	*ret_window = (struct rp_port_window){
		.of = (unsigned int)numbers[0],
		.region = (uint32_t)numbers[1],
		.to = (unsigned int)numbers[2],
		.iova = numbers[3],
		.offset_bytes = numbers[4],
		.size_bytes = numbers[5],
	};
	return 0;
}
