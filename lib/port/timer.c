/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "port.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"

static void
tick(struct rp_port *port, uint64_t now_ms)
{
	unsigned int i;

	port_offer_tick(port, now_ms);
	port_endpoint_tick(port, now_ms);
	port_accelerators_tick(port, now_ms);
	port_net_tick(port, now_ms);
	port_move_tick(port, now_ms);
	port_iommu_tick(port, now_ms);
	/* What is given to it now need not be parked first. */
	port_moves_run(port);
	port_software_tick(port, now_ms);
	for (i = 0; i < port->queues_count; i++) {
		port_vfio_file_tick(port, &port->queues[i], now_ms);
		port_doorbell_tick(port, &port->queues[i], now_ms);
	}
}

static void
timer_ready(struct rp_port *port, struct port_source *source)
{
	uint64_t expirations;

	if (read(source->fd, &expirations, sizeof(expirations)) < 0)
		return;
	port->timer_at_ms = 0;
	tick(port, rp_wire_clock_ms());
}

int
port_timer_open(struct rp_port *port)
{
	port->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (port->timer_fd < 0)
		return -errno;
	return port_source_add(port, &port->timer_source, port->timer_fd, timer_ready, 0);
}

void
port_timer_close(struct rp_port *port)
{
	port_source_remove(port, &port->timer_source);
	rp_wire_fd_close(&port->timer_fd);
}

static uint64_t
earlier(uint64_t a, uint64_t b)
{
	if (a == 0)
		return b;
	return b == 0 || a < b ? a : b;
}

/* @return when something is due, 0: nothing will be. */
static uint64_t
next_deadline(struct rp_port *port, uint64_t now_ms)
{
	uint64_t deadline_ms = earlier(port_endpoint_deadline(port), port_accelerators_deadline(port));
	unsigned int i;

	deadline_ms = earlier(deadline_ms, port_net_deadline(port));
	deadline_ms = earlier(deadline_ms, port_software_deadline(port));
	deadline_ms = earlier(deadline_ms, port_move_deadline(port));
	deadline_ms = earlier(deadline_ms, port_iommu_deadline(port));
	deadline_ms = earlier(deadline_ms, port->serve_at_ms);
	for (i = 0; i < port->queues_count; i++) {
		port_queue_note_mode(&port->queues[i], now_ms);
		deadline_ms = earlier(deadline_ms, port_vfio_file_deadline(port, &port->queues[i]));
		deadline_ms = earlier(deadline_ms, port_doorbell_deadline(port, &port->queues[i]));
	}
	return deadline_ms;
}

static void
arm(struct rp_port *port, uint64_t deadline_ms)
{
	struct itimerspec when = {0};

	if (deadline_ms == port->timer_at_ms)
		return;
	port->timer_at_ms = deadline_ms;
	/* Zero disarms; an absolute time that has passed fires at once. */
	when.it_value.tv_sec = (time_t)(deadline_ms / 1000);
	when.it_value.tv_nsec = (long)(deadline_ms % 1000) * 1000000;
	timerfd_settime(port->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

void
port_timer_update(struct rp_port *port)
{
	arm(port, next_deadline(port, rp_wire_clock_ms()));
}

void
port_timer_run(struct rp_port *port)
{
	uint64_t now_ms = rp_wire_clock_ms(), deadline_ms = next_deadline(port, now_ms);

	if (deadline_ms != 0 && deadline_ms <= now_ms) {
		tick(port, now_ms);
		/* As after every other event. */
		port_moves_run(port);
		deadline_ms = next_deadline(port, now_ms);
	}
	arm(port, deadline_ms);
}
