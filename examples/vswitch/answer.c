/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>

#include "answer.h"
#include "command.h"
#include "guest.h"
#include "out.h"

static void
say_port(const struct vs_switch *sw, const struct vs_port *port, FILE *out)
{
	const struct vs_guest *guest = port->guest;

	fprintf(out, "%s %s macs=%u waiting=%u", port->name, guest == NULL ? "ethdev" : "guest",
		vs_mac_count(sw->mac, port->number), vs_out_waiting(port));
	if (port->ethdev != VS_NO_ETHDEV)
		fprintf(out, " link=%s", port->is_up ? "up" : "down");
	if (guest != NULL)
		fprintf(out, " socket=%s ringpass=%s wire=%s", guest->config.socket_path,
			guest->config.ringpass ? "on" : "off",
			guest->config.wire[0] == '\0' ? "-" : guest->config.wire);
	fputc('\n', out);
}

static void
say_stats(const struct vs_port *port, FILE *out)
{
	unsigned int i;

	fprintf(out, "%s", port->name);
	for (i = 0; i < VS_PATHS_COUNT; i++)
		fprintf(out, " in_%s=%" PRIu64 " out_%s=%" PRIu64, vs_path_name((enum vs_path)i),
			vs_counted(&port->counters.in[i]), vs_path_name((enum vs_path)i),
			vs_counted(&port->counters.out[i]));
	fprintf(out, " flooded=%" PRIu64, vs_counted(&port->counters.flooded));
	for (i = 0; i < VS_DROPS_COUNT; i++)
		fprintf(out, " drop_%s=%" PRIu64, vs_drop_name((enum vs_drop)i), vs_counted(&port->counters.drops[i]));
	fputc('\n', out);
}

static void
say_queue(const struct rp_port_queue_info *queue, FILE *out)
{
	fprintf(out,
		"  queue %u %s owner=%s mode=%s wish=%s moves=%" PRIu64 " blackout_median_us=%" PRIu64
		" blackout_max_us=%" PRIu64 " relayed_kicks=%" PRIu64,
		queue->queue, queue->queue % 2 == 0 ? "rx" : "tx", rp_port_owner_name(queue->owner),
		rp_port_queue_mode_name(queue->mode), rp_port_wish_name(queue->wish), queue->moves,
		queue->blackout_median_us, queue->blackout_max_us, queue->relayed_kicks);
	if (queue->reason[0] != '\0')
		fprintf(out, " reason=\"%s\"", queue->reason);
	if (queue->wish_reason[0] != '\0')
		fprintf(out, " wish_reason=\"%s\"", queue->wish_reason);
	fputc('\n', out);
}

static void
say_guest(const struct vs_port *port, FILE *out)
{
	struct rp_port *own = port->guest->port;
	struct rp_port_software_info software;
	struct rp_port_queue_info queue;
	struct rp_port_info info;
	unsigned int i;

	if (own == NULL) {
		fprintf(out, "%s: without Ringpass, librte_vhost has all its queues\n", port->name);
		return;
	}
	rp_port_get_info(own, &info);
	rp_port_get_software_info(own, &software);
	fprintf(out, "%s: frontend %s, software backend %s%s%s\n", port->name,
		info.connected ? "connected" : "not connected",
		software.usable ? "usable" : "not usable: ", software.usable ? "" : software.reason,
		port->guest->held ? ", a move is under way" : "");
	for (i = 0; i < info.queues_count; i++) {
		if (rp_port_get_queue_info(own, i, &queue) == 0)
			say_queue(&queue, out);
	}
}

/* Of one port, or of all. */
static int
say_ports(const struct vs_switch *sw, const struct vs_command *command, FILE *out, struct rp_wire_why *why)
{
	unsigned int i;

	if (command->port[0] != '\0' && vs_switch_find(sw, command->port) == NULL)
		return rp_wire_why_set(why, -ENOENT, "port: '%s', expected one that 'ports' names", command->port);
	for (i = 0; i < sw->ports_count; i++) {
		const struct vs_port *port = sw->ports[i];

		if (command->port[0] != '\0' && vs_switch_find(sw, command->port) != port)
			continue;
		if (command->verb == VS_COMMAND_PORTS)
			say_port(sw, port, out);
		else if (command->verb == VS_COMMAND_STATS)
			say_stats(port, out);
		else if (port->guest != NULL)
			say_guest(port, out);
	}
	return 0;
}

static int
move(const struct vs_switch *sw, const struct vs_command *command, struct rp_wire_why *why)
{
	const struct vs_port *port = vs_switch_find(sw, command->port);

	if (port == NULL || port->guest == NULL)
		return rp_wire_why_set(why, -ENOENT, "port: '%s', expected a guest's", command->port);
	return vs_guest_move(port->guest, command, why);
}

static int
act(const struct vs_switch *sw, const struct vs_command *command, FILE *out, struct rp_wire_why *why)
{
	switch (command->verb) {
	case VS_COMMAND_NONE:
	case VS_COMMAND_QUIT:
		return 0;
	case VS_COMMAND_HELP:
		fputs(vs_command_help, out);
		return 0;
	case VS_COMMAND_OFFLOAD:
	case VS_COMMAND_TAKE_BACK:
	case VS_COMMAND_AUTO:
		return move(sw, command, why);
	default:
		return say_ports(sw, command, out, why);
	}
}

bool
vs_answer(struct vs_switch *sw, const char *line, FILE *out)
{
	struct rp_wire_why why = {0};
	struct vs_command command;
	int rc = vs_command_parse(line, &command, &why);

	if (rc == 0)
		rc = act(sw, &command, out, &why);
	if (rc < 0) {
		fprintf(out, "error: %s\n", why.text);
		return false;
	}
	fputs("ok\n", out);
	return command.verb == VS_COMMAND_QUIT;
}
