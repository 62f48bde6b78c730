/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A port is packed for a successor. Rings of hardware that are the guest's own go on; those
 * that need this process stop where they stand, with proof, and go on in the successor, or
 * here when it is called off.
 */

#include <errno.h>
#include <stdlib.h>

#include "hand_over.h"
#include "rp_accel_hand_over.h"
#include "rp_wire_caller.h"
#include "rp_wire_fd.h"

static int
check(const struct rp_port *port, struct rp_wire_why *why)
{
	unsigned int i;

	if (!port->serving || !rp_vhu_backend_attached(port->backend))
		return rp_wire_why_set(why, -ENOTCONN, "no frontend is connected");
	if (port->closing || port->in_moves || port->coming != NULL)
		return rp_wire_why_set(why, -EBUSY, "it is in the middle of something");
	if (port->windows_count > 0)
		return rp_wire_why_set(
			why, -ENOTSUP,
			"windows: device memory of one accelerator in the address space of another is not "
			"handed over");
	for (i = 0; i < port->accelerators_count; i++)
		if (!port_accelerator_usable(port, (int)i))
			return rp_wire_why_set(why, -ENOTSUP, "accelerator %u: %s", i, port->accelerators[i].reason);
	for (i = 0; i < port->queues_count; i++)
		if (port_wish_is_unproven(&port->queues[i]))
			return rp_wire_why_set(why, -ENOTSUP, "queue %u: nothing proves that who had its ring let go",
					       i);
	return 0;
}

/* Whether now is a moment between two messages; nothing of the port has changed when it is not. */
static int
try_frontend(const struct rp_port *port, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	struct rp_wire_parcel_mark mark = rp_wire_parcel_mark(parcel);
	int rc;

	rp_wire_parcel_enter(parcel, PORT_GIVEN_FRONTEND, 0);
	rc = rp_vhu_backend_give(port->backend, parcel, why);
	rp_wire_parcel_rewind(parcel, &mark);
	return rc;
}

static int
free_private_rings(struct rp_port *port, struct rp_wire_why *why)
{
	unsigned int i;
	int rc;

	for (i = 0; i < port->accelerators_count; i++) {
		rc = port_private_unmap(&port->accelerators[i], why);
		if (rc < 0) {
			port_accelerator_fail(port, i, rc, why);
			return rc;
		}
	}
	return 0;
}

static void
pack_port(const struct rp_port *port, struct rp_wire_parcel *parcel)
{
	rp_wire_parcel_put_number(parcel, "version", PORT_GIVEN_VERSION);
	rp_wire_parcel_put_text(parcel, "name", port->name);
	rp_wire_parcel_put_number(parcel, "queues_count", port->queues_count);
	rp_wire_parcel_put_number(parcel, "vring_num_max", port->vring_num_max);
	rp_wire_parcel_put_number(parcel, "features_offered", port->features_offered);
	rp_wire_parcel_put_number(parcel, "features_acked", port->features_acked);
	rp_wire_parcel_put_number(parcel, "channel_up", port->channel_up);
	rp_wire_parcel_put_text(parcel, "refused", port->refused);
	rp_wire_parcel_put_number(parcel, "config_due", port->config_at_ms != 0);
	rp_wire_parcel_put_number(parcel, "link_down_told", port->link_down_told);
	rp_wire_parcel_put_number(parcel, "software_refused_log", port->software_refused_log);
	rp_wire_parcel_put_number(parcel, "software_refused_logging", port->software_refused_logging);
}

static int
pack(const struct rp_port *port, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	unsigned int i;
	int rc;

	pack_port(port, parcel);
	rp_wire_parcel_enter(parcel, PORT_GIVEN_FRONTEND, 0);
	rc = rp_vhu_backend_give(port->backend, parcel, why);
	rp_wire_parcel_leave(parcel);
	if (rc == 0)
		rc = port_accelerators_pack(port, parcel, why);
	if (rc < 0)
		return rc;
	port_software_pack(port, parcel);
	for (i = 0; i < port->queues_count; i++) {
		rp_wire_parcel_enter(parcel, PORT_GIVEN_QUEUE, i);
		port_queue_pack(&port->queues[i], parcel);
		rp_wire_parcel_leave(parcel);
	}
	return rp_wire_parcel_result(parcel, why);
}

int
rp_port_give(struct rp_port *port, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	struct rp_wire_parcel_mark mark = rp_wire_parcel_mark(parcel);
	struct rp_wire_why unused = {0};
	int rc;

	if (why == NULL)
		why = &unused;
	rc = check(port, why);
	if (rc == 0)
		rc = try_frontend(port, parcel, why);
	if (rc < 0)
		return rc;
	rc = port_move_pause(port, why);
	if (rc == 0)
		rc = free_private_rings(port, why);
	if (rc == 0)
		rc = port_accelerators_check(port, why);
	if (rc == 0)
		port_doorbell_watch_all(port);
	if (rc == 0)
		rc = pack(port, parcel, why);
	if (rc == 0)
		return 0;
	rp_wire_parcel_rewind(parcel, &mark);
	rp_port_resume(port);
	return rc;
}

void
rp_port_resume(struct rp_port *port)
{
	unsigned int i;

	for (i = 0; i < port->queues_count; i++)
		port_queue_update(port, &port->queues[i], NULL);
	port_moves_run(port);
	port_timer_update(port);
}

static void
leave_accelerators(struct rp_port *port)
{
	unsigned int i;

	for (i = 0; i < port->accelerators_count; i++) {
		struct port_accelerator *accelerator = &port->accelerators[i];

		port_source_remove(port, &accelerator->source);
		/* What the guest has of the device it keeps. */
		port_files_release(port->files, accelerator, false);
		rp_accel_leave(&accelerator->accel);
		port_private_close(accelerator);
		rp_dma_sections_destroy(accelerator->sections);
		port_asks_destroy(accelerator);
		free(accelerator->arguments);
	}
	port->accelerators_count = 0;
}

struct rp_port *
rp_port_leave(struct rp_port *port)
{
	if (port == NULL)
		return NULL;
	port->closing = true;
	if (port->backend != NULL) {
		port_endpoint_close(port);
		rp_vhu_backend_leave(port->backend);
		port_vhost_close(port);
	}
	leave_accelerators(port);
	/* By now it has none of their rings. */
	port_software_close(port);
	port_queues_destroy(port);
	port_iommu_close(port);
	port->reader = rp_dma_reader_destroy(port->reader);
	port->memory = rp_dma_space_destroy(port->memory);
	port_timer_close(port);
	port->caller = rp_wire_caller_give(port->caller);
	rp_wire_fd_close(&port->epoll_fd);
	free(port->windows);
	free(port->accelerators);
	free(port);
	return NULL;
}
