/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stdio.h>

#include "port.h"

void
port_event(const struct rp_port *port, enum rp_port_event_level level, int queue, const char *name, const char *format,
	   ...)
{
	char text[400];
	struct rp_port_event event = {
		.level = level,
		.port = port->name,
		.queue = queue,
		.name = name,
		.text = text,
	};
	va_list args;

	if (port->ops == NULL || port->ops->event == NULL)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	port->ops->event(port->ctx, &event);
}

const char *
rp_port_event_level_name(enum rp_port_event_level level)
{
	static const char *const names[] = {
		[RP_PORT_EVENT_ERROR] = "error",
		[RP_PORT_EVENT_WARNING] = "warning",
		[RP_PORT_EVENT_NOTICE] = "notice",
		[RP_PORT_EVENT_DEBUG] = "debug",
	};

	return names[level];
}
