/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "rp_wire_why.h"

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
	used = strlen(why->text);
	snprintf(why->text + used, sizeof(why->text) - used, "%s", rest);
}

int
rp_wire_why_closes(int error)
{
	return error == -EPROTO || error == -ENOTCONN;
}
