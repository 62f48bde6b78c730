/* SPDX-License-Identifier: BSD-3-Clause */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "rp_wire_why.h"

/* The words may quote a peer, who must not be able to write log lines of its own. */
static void
keep_one_line(char *text)
{
	for (; *text != '\0'; text++) {
		if (iscntrl((unsigned char)*text))
			*text = '?';
	}
}

int
rp_wire_why_set(struct rp_wire_why *why, int error, const char *format, ...)
{
	va_list args;

	if (why == NULL)
		return error;
	why->error = error;
	va_start(args, format);
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	keep_one_line(why->text);
	return error;
}

void
rp_wire_why_prefix(struct rp_wire_why *why, const char *format, ...)
{
	char rest[RP_WIRE_WHY_MAX];
	size_t used;
	va_list args;

	if (why == NULL)
		return;
	memcpy(rest, why->text, sizeof(rest));
	va_start(args, format);
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	keep_one_line(why->text);
	used = strlen(why->text);
	snprintf(why->text + used, sizeof(why->text) - used, "%s", rest);
}

int
rp_wire_why_closes(int error)
{
	return error == -EPROTO || error == -ENOTCONN;
}
