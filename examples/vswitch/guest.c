/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_mbuf.h>

#include "ethdev.h"
#include "guest.h"
#include "log.h"
#include "vhost.h"

/* What was sent into the wire has reached the accelerator's ring by then, on a machine that is not overloaded. */
#define WIRE_DRAIN_US 5000u
/* A move that has not come about by then leaves the frames to go where they can. */
#define HELD_MAX_MS 1000u

static void
on_event(void *ctx, const struct rp_port_event *event)
{
	(void)ctx;
	if (event->level >= RP_PORT_EVENT_DEBUG)
		return;
	if (event->queue < 0)
		vs_log("%s: %s", event->port, event->text);
	else
		vs_log("%s: queue %d: %s", event->port, event->queue, event->text);
}

static int
create_port(struct vs_guest *guest, const struct rp_accel_registry *registry, struct rp_port_files *files,
	    struct rp_wire_why *why)
{
	static const struct rp_port_ops ops = {.event = on_event};
	const struct vs_guest_config *own = &guest->config;
	const struct rp_port_config config = {
		.name = own->name,
		.socket_path = own->socket_path,
		.socket_mode = own->socket_mode,
		.queue_pairs = own->queue_pairs,
		.accelerators = own->accelerators,
		.accelerators_count = own->accelerators_count,
		.software =
			{
				.socket_path = guest->vhost_path,
				.socket_mode = RP_PORT_CLIENT,
				/* We know what it is: there is nothing to find out. */
				.kind = RP_PORT_SOFTWARE_LIBRTE_VHOST,
			},
		.wish = own->wish,
		.files = files,
	};

	return rp_port_create(&config, registry, &ops, guest, &guest->port, why);
}

int
vs_guest_create(struct vs_switch *sw, const struct vs_guest_config *config, const struct rp_accel_registry *registry,
		struct rp_port_files *files, struct vs_guest **ret_guest, struct rp_wire_why *why)
{
	struct vs_guest *guest = calloc(1, sizeof(*guest));
	int rc = 0;

	if (guest == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	guest->config = *config;
	guest->sw = sw;
	guest->switch_port = vs_switch_add(sw, config->name);
	if (guest->switch_port == NULL)
		rc = rp_wire_why_set(why, -ENOMEM, "no memory");
	else if (config->ringpass)
		/* In the directory of this process, which nobody else may enter. */
		snprintf(guest->vhost_path, sizeof(guest->vhost_path), "%s/vhost-%d-%s.sock", rte_eal_get_runtime_dir(),
			 (int)getpid(), config->name);
	else
		snprintf(guest->vhost_path, sizeof(guest->vhost_path), "%s", config->socket_path);
	if (rc == 0 && config->wire[0] != '\0')
		rc = vs_ethdev_start(config->wire, sw->pool, &guest->switch_port->ethdev, why);
	if (rc == 0)
		guest->switch_port->is_started = config->wire[0] != '\0';
	if (rc == 0)
		rc = vs_vhost_start(guest, why);
	if (rc == 0 && config->ringpass)
		rc = create_port(guest, registry, files, why);
	if (rc < 0) {
		vs_guest_destroy(guest);
		return rc;
	}
	guest->switch_port->guest = guest;
	*ret_guest = guest;
	return 0;
}

struct vs_guest *
vs_guest_destroy(struct vs_guest *guest)
{
	if (guest == NULL)
		return NULL;
	guest->port = rp_port_destroy(guest->port);
	if (guest->switch_port != NULL) {
		guest->switch_port->guest = NULL;
		vs_vhost_stop(guest);
	}
	free(guest);
	return NULL;
}

int
vs_guest_fd(const struct vs_guest *guest)
{
	return guest->port == NULL ? -1 : rp_port_fd(guest->port);
}

static struct vs_guest_owners
find_owners(const struct vs_guest *guest)
{
	struct vs_guest_owners owners = {.software_mask = 0};
	enum rp_port_queue_mode mode;
	unsigned int pair;

	for (pair = 0; pair < guest->config.queue_pairs; pair++) {
		if (rp_port_get_queue_mode(guest->port, 2 * pair, &mode) < 0 || mode == RP_PORT_QUEUE_STOPPED)
			continue;
		if (mode == RP_PORT_QUEUE_SOFTWARE)
			owners.software_mask |= 1ull << pair;
		else
			owners.hardware_mask |= 1ull << pair;
	}
	return owners;
}

static void
set_held(struct vs_guest *guest, bool held)
{
	__atomic_store_n(&guest->held, held, __ATOMIC_RELEASE);
}

static bool
is_move_over(const struct vs_guest *guest, const struct vs_guest_owners *owners)
{
	uint64_t owned_mask = owners->software_mask | owners->hardware_mask;

	return (guest->held_mask & ~owned_mask) == 0 || vs_now_ms() >= guest->held_until_ms;
}

static void
publish_owners(struct vs_guest *guest)
{
	struct vs_guest_owners owners = find_owners(guest);

	__atomic_store_n(&guest->owners.software_mask, owners.software_mask, __ATOMIC_RELAXED);
	__atomic_store_n(&guest->owners.hardware_mask, owners.hardware_mask, __ATOMIC_RELAXED);
	if (guest->held && is_move_over(guest, &owners))
		set_held(guest, false);
}

void
vs_guest_process(struct vs_guest *guest)
{
	if (guest->port == NULL)
		return;
	rp_port_process(guest->port);
	publish_owners(guest);
}

/* After this no worker sends anything to the guest, and what it has sent is there. */
static void
hold(struct vs_guest *guest)
{
	set_held(guest, true);
	guest->held_until_ms = vs_now_ms() + HELD_MAX_MS;
	guest->held_mask = guest->owners.software_mask | guest->owners.hardware_mask;
	rte_rcu_qsbr_synchronize(guest->sw->readers, RTE_QSBR_THRID_INVALID);
	if (guest->owners.hardware_mask != 0)
		rte_delay_us_sleep(WIRE_DRAIN_US);
}

int
vs_guest_move(struct vs_guest *guest, const struct vs_command *command, struct rp_wire_why *why)
{
	enum rp_port_wish wish = command->verb == VS_COMMAND_OFFLOAD   ? RP_PORT_WISH_HARDWARE :
				 command->verb == VS_COMMAND_TAKE_BACK ? RP_PORT_WISH_SOFTWARE :
									 RP_PORT_WISH_AUTO;
	unsigned int first = 0, count;
	int rc = 0;

	if (guest->port == NULL)
		return rp_wire_why_set(why, -ENOTSUP, "%s: ringpass=off, expected a guest with Ringpass",
				       guest->config.name);
	hold(guest);
	if (command->queues_count == 0)
		rc = rp_port_move(guest->port, 0, 0, wish, why);
	while (rc == 0 && (count = vs_command_run(command, &first)) > 0) {
		rc = rp_port_move(guest->port, first, count, wish, why);
		first += count;
	}
	publish_owners(guest);
	return rc;
}

/* Of the queues that somebody has, the one that the frame's flow belongs to. */
static unsigned int
choose(uint64_t mask, const struct rte_mbuf *frame)
{
	unsigned int nth = frame->hash.usr % (unsigned int)__builtin_popcountll(mask);

	while (nth-- > 0)
		mask &= mask - 1;
	return (unsigned int)__builtin_ctzll(mask);
}

unsigned int
vs_guest_deliver(struct vs_guest *guest, struct rte_mbuf **frames, unsigned int count)
{
	uint64_t software_mask = __atomic_load_n(&guest->owners.software_mask, __ATOMIC_RELAXED);
	uint64_t hardware_mask = __atomic_load_n(&guest->owners.hardware_mask, __ATOMIC_RELAXED);
	struct vs_port *port = guest->switch_port;
	uint64_t mask = software_mask | hardware_mask;
	unsigned int pair, run, done;

	if (__atomic_load_n(&guest->held, __ATOMIC_ACQUIRE))
		return 0;
	if (mask == 0) {
		vs_count(&port->counters.drops[VS_DROP_NO_QUEUE], count);
		rte_pktmbuf_free_bulk(frames, count);
		return count;
	}
	pair = choose(mask, frames[0]);
	for (run = 1; run < count && choose(mask, frames[run]) == pair; run++)
		;
	if ((software_mask >> pair & 1) != 0) {
		done = vs_vhost_send(guest, pair, frames, run);
		rte_pktmbuf_free_bulk(frames, done);
		vs_count(&port->counters.out[VS_PATH_SOFTWARE], done);
		return done;
	}
	done = vs_port_has_ethdev(port) ? rte_eth_tx_burst(port->ethdev, 0, frames, (uint16_t)run) : 0;
	vs_count(&port->counters.out[VS_PATH_HARDWARE], done);
	return done;
}
