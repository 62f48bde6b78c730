/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A queue, as a successor must know it. What was derived from the frontend's words and from
 * the device is not packed: it is derived again.
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "hand_over.h"
#include "rp_vring_position.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"

/* What may come of a time that is nonsense: an offer that waits for it. */
#define CHURN_MAX 16u

static const struct {
	const char *name;
	size_t offset_bytes;
} counters[] = {
	{"relayed_kicks", offsetof(struct port_queue, relayed_kicks)},
	{"relayed_kicks_after_map", offsetof(struct port_queue, relayed_kicks_after_map)},
	{"relayed_interrupts", offsetof(struct port_queue, relayed_interrupts)},
	{"moves", offsetof(struct port_queue, moves)},
	{"moves_to_hardware", offsetof(struct port_queue, moves_to_hardware)},
	{"moves_to_software", offsetof(struct port_queue, moves_to_software)},
	{"redone", offsetof(struct port_queue, redone)},
	{"lost", offsetof(struct port_queue, lost)},
	{"doorbell_maps", offsetof(struct port_queue, doorbell_maps)},
};

/* Of the device: numbers that it counts on, or that were kept of others before it. */
static const struct {
	const char *name;
	size_t offset_bytes;
} device_counters[] = {
	{"direct_kicks", offsetof(struct rp_accel_queue_counters, direct_kicks)},
	{"eventfd_kicks", offsetof(struct rp_accel_queue_counters, eventfd_kicks)},
	{"interrupts", offsetof(struct rp_accel_queue_counters, interrupts)},
	{"packets", offsetof(struct rp_accel_queue_counters, packets)},
	{"bytes", offsetof(struct rp_accel_queue_counters, bytes)},
	{"errors", offsetof(struct rp_accel_queue_counters, errors)},
};

#define COUNT_OF(table) (sizeof(table) / sizeof((table)[0]))

static uint64_t *
number_at(void *object, size_t offset_bytes)
{
	return (uint64_t *)((uint8_t *)object + offset_bytes);
}

static void
pack_device_counters(const struct rp_accel_queue_counters *of, const char *name, struct rp_wire_parcel *parcel)
{
	struct rp_accel_queue_counters copy = *of;
	unsigned int i;

	rp_wire_parcel_enter(parcel, name, 0);
	for (i = 0; i < COUNT_OF(device_counters); i++)
		rp_wire_parcel_put_number(parcel, device_counters[i].name,
					  *number_at(&copy, device_counters[i].offset_bytes));
	rp_wire_parcel_leave(parcel);
}

static void
unpack_device_counters(struct rp_accel_queue_counters *of, const char *name, struct rp_wire_parcel *parcel)
{
	unsigned int i;

	rp_wire_parcel_enter(parcel, name, 0);
	for (i = 0; i < COUNT_OF(device_counters); i++)
		*number_at(of, device_counters[i].offset_bytes) =
			rp_wire_parcel_get_number(parcel, device_counters[i].name, UINT64_MAX);
	rp_wire_parcel_leave(parcel);
}

static void
pack_counters(const struct port_queue *queue, struct rp_wire_parcel *parcel)
{
	unsigned int i;

	for (i = 0; i < COUNT_OF(counters); i++)
		rp_wire_parcel_put_number(parcel, counters[i].name,
					  *(const uint64_t *)((const uint8_t *)queue + counters[i].offset_bytes));
	rp_wire_parcel_put_number(parcel, "doorbell_idles", queue->doorbell_idles);
	rp_wire_parcel_put_number(parcel, "moves_between_accelerators", queue->moves_between_accelerators);
	pack_device_counters(&queue->counters_base, "device_base", parcel);
	pack_device_counters(&queue->counters_kept, "device_kept", parcel);
	pack_device_counters(&queue->counters_last, "device_last", parcel);
}

static void
unpack_counters(struct port_queue *queue, struct rp_wire_parcel *parcel)
{
	unsigned int i;

	for (i = 0; i < COUNT_OF(counters); i++)
		*number_at(queue, counters[i].offset_bytes) =
			rp_wire_parcel_get_number(parcel, counters[i].name, UINT64_MAX);
	/* One that knows nothing of them gave none back. */
	if (rp_wire_parcel_has(parcel, "doorbell_idles"))
		queue->doorbell_idles = rp_wire_parcel_get_number(parcel, "doorbell_idles", UINT64_MAX);
	if (rp_wire_parcel_has(parcel, "moves_between_accelerators"))
		queue->moves_between_accelerators =
			rp_wire_parcel_get_number(parcel, "moves_between_accelerators", UINT64_MAX);
	unpack_device_counters(&queue->counters_base, "device_base", parcel);
	unpack_device_counters(&queue->counters_kept, "device_kept", parcel);
	unpack_device_counters(&queue->counters_last, "device_last", parcel);
}

static void
pack_doorbell(const struct port_doorbell *doorbell, struct rp_wire_parcel *parcel)
{
	rp_wire_parcel_enter(parcel, "doorbell", 0);
	rp_wire_parcel_put_number(parcel, "state", doorbell->state);
	rp_wire_parcel_put_number(parcel, "policy", doorbell->policy);
	rp_wire_parcel_put_number(parcel, "refused", doorbell->refused);
	/* Of an accelerator that the queue had before, perhaps. */
	rp_wire_parcel_put_number(parcel, "accelerator", (unsigned int)doorbell->place.accelerator);
	rp_wire_parcel_put_number(parcel, "accelerator_queue", doorbell->place.queue);
	rp_wire_parcel_put_number(parcel, "stale", doorbell->stale);
	rp_wire_parcel_put_number(parcel, "take_back_due", doorbell->take_back_due);
	rp_wire_parcel_put_number(parcel, "may_be_out", doorbell->may_be_out);
	rp_wire_parcel_put_number(parcel, "drain_due", doorbell->drain_due);
	rp_wire_parcel_put_number(parcel, "not_before_ms", doorbell->not_before_ms);
	rp_wire_parcel_put_number(parcel, "mapped_at_ms", doorbell->mapped_at_ms);
	rp_wire_parcel_put_number(parcel, "churn_count", doorbell->churn_count);
	rp_wire_parcel_put_text(parcel, "reason", doorbell->reason);
	rp_wire_parcel_leave(parcel);
}

/* Times are of the machine's clock, which both processes have. */
static void
unpack_doorbell(const struct rp_port *port, struct port_queue *queue, struct rp_wire_parcel *parcel)
{
	struct port_doorbell *doorbell = &queue->doorbell;
	uint64_t now_ms = rp_wire_clock_ms();

	rp_wire_parcel_enter(parcel, "doorbell", 0);
	/* One that knows nothing of places had it of the queue's own; without an accelerator there is none. */
	if (queue->accelerator >= 0)
		doorbell->place = port_place_of(queue);
	if (rp_wire_parcel_has(parcel, "accelerator_queue"))
		doorbell->place = (struct port_place){
			.accelerator = (int)rp_wire_parcel_get_number(parcel, "accelerator", RP_PORT_ACCELERATORS_MAX),
			.queue =
				(unsigned int)rp_wire_parcel_get_number(parcel, "accelerator_queue", RP_VHU_QUEUES_MAX),
		};
	doorbell->state = rp_wire_parcel_get_number(parcel, "state", RP_PORT_DOORBELL_REVOKING);
	doorbell->policy = rp_wire_parcel_get_number(parcel, "policy", RP_PORT_DOORBELL_RELAY);
	doorbell->refused = rp_wire_parcel_get_bool(parcel, "refused");
	doorbell->stale = rp_wire_parcel_get_bool(parcel, "stale");
	if (rp_wire_parcel_has(parcel, "take_back_due"))
		doorbell->take_back_due = rp_wire_parcel_get_bool(parcel, "take_back_due");
	if (rp_wire_parcel_has(parcel, "may_be_out"))
		doorbell->may_be_out = rp_wire_parcel_get_bool(parcel, "may_be_out");
	doorbell->drain_due = rp_wire_parcel_get_bool(parcel, "drain_due");
	doorbell->drain_at_ms = now_ms;
	doorbell->not_before_ms =
		rp_wire_parcel_get_number(parcel, "not_before_ms", now_ms + port->doorbell_delay_max_ms);
	doorbell->mapped_at_ms = rp_wire_parcel_get_number(parcel, "mapped_at_ms", now_ms);
	doorbell->churn_count = (unsigned int)rp_wire_parcel_get_number(parcel, "churn_count", CHURN_MAX);
	rp_wire_parcel_get_text(parcel, "reason", doorbell->reason, sizeof(doorbell->reason));
	rp_wire_parcel_leave(parcel);
}

static void
pack_vfio_file(const struct port_vfio_file *file, struct rp_wire_parcel *parcel)
{
	rp_wire_parcel_enter(parcel, "vfio_file", 0);
	rp_wire_parcel_put_number(parcel, "state", file->state);
	rp_wire_parcel_put_number(parcel, "accelerator", (unsigned int)file->accelerator);
	rp_wire_parcel_put_number(parcel, "started", file->started);
	rp_wire_parcel_put_number(parcel, "refused", file->refused);
	rp_wire_parcel_put_number(parcel, "stale", file->stale);
	rp_wire_parcel_put_number(parcel, "stuck", file->stuck);
	rp_wire_parcel_leave(parcel);
}

static void
unpack_vfio_file(struct port_queue *queue, struct rp_wire_parcel *parcel)
{
	struct port_vfio_file *file = &queue->vfio_file;

	rp_wire_parcel_enter(parcel, "vfio_file", 0);
	if (queue->accelerator >= 0)
		file->accelerator = queue->accelerator;
	if (rp_wire_parcel_has(parcel, "accelerator"))
		file->accelerator = (int)rp_wire_parcel_get_number(parcel, "accelerator", RP_PORT_ACCELERATORS_MAX);
	file->state = rp_wire_parcel_get_number(parcel, "state", RP_PORT_VFIO_FILE_REVOKING);
	file->started = rp_wire_parcel_get_bool(parcel, "started");
	file->refused = rp_wire_parcel_get_bool(parcel, "refused");
	file->stale = rp_wire_parcel_get_bool(parcel, "stale");
	file->stuck = rp_wire_parcel_get_bool(parcel, "stuck");
	rp_wire_parcel_leave(parcel);
}

void
port_queue_pack(const struct port_queue *queue, struct rp_wire_parcel *parcel)
{
	rp_wire_parcel_put_number(parcel, "has_accelerator", queue->accelerator >= 0);
	rp_wire_parcel_put_number(parcel, "accelerator", queue->accelerator < 0 ? 0 : (unsigned)queue->accelerator);
	rp_wire_parcel_put_number(parcel, "accelerator_queue", queue->accelerator_queue);
	rp_wire_parcel_put_number(parcel, "user_enabled", queue->user_enabled);
	rp_wire_parcel_put_number(parcel, "frontend_enabled", queue->frontend_enabled);
	rp_wire_parcel_put_number(parcel, "frontend_started", queue->frontend_started);
	rp_wire_parcel_put_number(parcel, "running", queue->running);
	rp_wire_parcel_put_number(parcel, "wish", queue->wish);
	rp_wire_parcel_put_number(parcel, "ring_policy", queue->ring_policy);
	rp_wire_parcel_put_number(parcel, "served_before", queue->served_before);
	rp_wire_parcel_put_number(parcel, "position", queue->position);
	rp_wire_parcel_put_number(parcel, "position_lost", queue->position_lost);
	rp_wire_parcel_put_number(parcel, "broken", queue->broken);
	rp_wire_parcel_put_number(parcel, "fresh_told", queue->fresh_told);
	rp_wire_parcel_put_number(parcel, "redo_due", queue->redo_due);
	rp_wire_parcel_put_text(parcel, "reason", queue->reason);
	rp_wire_parcel_put_text(parcel, "hardware_refused", queue->hardware_refused);
	rp_wire_parcel_put_text(parcel, "software_refused", queue->software_refused);
	rp_wire_parcel_put_fd(parcel, "interrupt", queue->interrupt_fd);
	pack_doorbell(&queue->doorbell, parcel);
	pack_vfio_file(&queue->vfio_file, parcel);
	pack_counters(queue, parcel);
}

static int
unpack_facts(struct rp_port *port, struct port_queue *queue, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	bool has_accelerator = rp_wire_parcel_get_bool(parcel, "has_accelerator");
	uint64_t accelerator = rp_wire_parcel_get_number(parcel, "accelerator", RP_PORT_ACCELERATORS_MAX);
	uint64_t accelerator_queue = rp_wire_parcel_get_number(parcel, "accelerator_queue", RP_VHU_QUEUES_MAX);
	struct port_place place = {
		.accelerator = has_accelerator ? (int)accelerator : -1,
		.queue = (unsigned int)accelerator_queue,
	};
	int rc;

	queue->user_enabled = rp_wire_parcel_get_bool(parcel, "user_enabled");
	queue->frontend_enabled = rp_wire_parcel_get_bool(parcel, "frontend_enabled");
	queue->frontend_started = rp_wire_parcel_get_bool(parcel, "frontend_started");
	queue->running = rp_wire_parcel_get_bool(parcel, "running");
	queue->wish = rp_wire_parcel_get_number(parcel, "wish", RP_PORT_WISH_SOFTWARE);
	queue->ring_policy = rp_wire_parcel_get_number(parcel, "ring_policy", RP_PORT_RING_SHADOW);
	queue->served_before = rp_wire_parcel_get_bool(parcel, "served_before");
	queue->position = (uint32_t)rp_wire_parcel_get_number(parcel, "position", UINT32_MAX);
	queue->position_lost = rp_wire_parcel_get_bool(parcel, "position_lost");
	queue->broken = rp_wire_parcel_get_bool(parcel, "broken");
	queue->fresh_told = rp_wire_parcel_get_bool(parcel, "fresh_told");
	queue->redo_due = (unsigned int)rp_wire_parcel_get_number(parcel, "redo_due", UINT16_MAX);
	rp_wire_parcel_get_text(parcel, "reason", queue->reason, sizeof(queue->reason));
	rp_wire_parcel_get_text(parcel, "hardware_refused", queue->hardware_refused, sizeof(queue->hardware_refused));
	rp_wire_parcel_get_text(parcel, "software_refused", queue->software_refused, sizeof(queue->software_refused));
	rc = rp_wire_parcel_result(parcel, why);
	return rc < 0 ? rc : port_place_adopt(port, queue, &place, why);
}

/* What the frontend has is some device's. */
static int
check_holdings(const struct rp_port *port, const struct port_queue *queue, struct rp_wire_why *why)
{
	const struct port_place *place = &queue->doorbell.place;
	int accelerators_count = (int)port->accelerators_count;

	if (port_doorbell_outstanding(queue) &&
	    (place->accelerator >= accelerators_count ||
	     place->queue >= port->accelerators[place->accelerator].info.queues_count))
		return rp_wire_why_set(why, -EBADMSG, "doorbell: expected one of an accelerator's queues");
	if (queue->vfio_file.state != RP_PORT_VFIO_FILE_NONE && queue->vfio_file.accelerator >= accelerators_count)
		return rp_wire_why_set(why, -EBADMSG, "vfio_file: expected one of an accelerator");
	return 0;
}

/* Whether it can be what it is said to be. */
static int
check(const struct rp_port *port, const struct port_queue *queue, const struct rp_vhu_vring *vring,
      struct rp_wire_why *why)
{
	bool outstanding = port_doorbell_outstanding(queue) || queue->vfio_file.state != RP_PORT_VFIO_FILE_NONE;

	if (queue->frontend_started != vring->started)
		return rp_wire_why_set(why, -EBADMSG, "frontend_started: %d, expected %d", queue->frontend_started,
				       vring->started);
	if ((queue->running || outstanding) && queue->accelerator < 0)
		return rp_wire_why_set(why, -EBADMSG, "running: expected an accelerator for it");
	if (outstanding && check_holdings(port, queue, why) < 0)
		return -EBADMSG;
	if (queue->running &&
	    (!queue->frontend_started || !port->features_acked || !port->accelerators[queue->accelerator].features_set))
		return rp_wire_why_set(why, -EBADMSG, "running: expected a ring that was started");
	if (queue->position_lost && queue->running)
		return rp_wire_why_set(why, -EBADMSG, "running: expected a position");
	if (!queue->frontend_started || queue->position_lost)
		return 0;
	return rp_vring_position_check(port->features, vring->num, queue->position, why);
}

/* What the frontend has of the device, no other guest may be given. */
static int
claim_files(struct rp_port *port, const struct port_queue *queue, struct rp_wire_why *why)
{
	const struct port_accelerator *accelerator;
	struct rp_accel_notify_area area = {.fd = -1};
	pid_t vmm = rp_vhu_backend_peer(port->backend);
	int rc = 0;

	if (port_doorbell_outstanding(queue)) {
		accelerator = &port->accelerators[queue->doorbell.place.accelerator];
		rc = accelerator->accel.ops->queue_notify_area(accelerator->accel.priv, queue->doorbell.place.queue,
							       &area, why);
		if (rc == 0 && area.fd >= 0)
			rc = port_files_claim(port->files, accelerator, port->name, vmm, area.fd, why);
	}
	if (rc < 0 || queue->vfio_file.state == RP_PORT_VFIO_FILE_NONE)
		return rc;
	accelerator = &port->accelerators[queue->vfio_file.accelerator];
	return accelerator->info.vfio_file_fd < 0 ?
		       0 :
		       port_files_claim(port->files, accelerator, port->name, vmm, accelerator->info.vfio_file_fd, why);
}

/* The device says whether it has the ring: one that it does not have cannot be kicked. A kick too many is legal. */
static int
check_device(const struct rp_port *port, const struct port_queue *queue, struct rp_wire_why *why)
{
	const struct rp_accel *accel = &port->accelerators[queue->accelerator].accel;
	int rc = accel->ops->queue_kick(accel->priv, queue->accelerator_queue);

	if (rc == 0 && queue->running)
		return 0;
	if (rc == -EINVAL && !queue->running)
		return 0;
	return rp_wire_why_set(why, rc == 0 || rc == -EINVAL ? -EBADMSG : rc,
			       "running: %d, the device says otherwise: %s", queue->running,
			       rc == 0 ? "it runs" : strerror(-rc));
}

static int
take_descriptors(struct rp_port *port, struct port_queue *queue, const struct rp_vhu_vring *vring,
		 struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	RP_WIRE_FD_SCOPED int interrupt_fd = rp_wire_parcel_get_fd(parcel, "interrupt");
	int rc = rp_wire_parcel_result(parcel, why);

	if (rc < 0 || !queue->frontend_started)
		return rc;
	rc = port_vhost_adopt_kick(queue, vring->kick_fd);
	if (rc == 0)
		rc = port_vhost_adopt_call(queue, vring->call_fd);
	if (rc == 0 && queue->running && interrupt_fd >= 0)
		rc = port_relay_interrupts_from(port, queue, &interrupt_fd);
	if (rc == 0 && queue->running)
		rc = port_relay_start(port, queue);
	return rc < 0 ? rp_wire_why_set(why, rc, "descriptor: %s", strerror(-rc)) : 0;
}

int
port_queue_unpack(struct rp_port *port, struct port_queue *queue, struct rp_wire_parcel *parcel,
		  struct rp_wire_why *why)
{
	struct rp_vhu_vring vring;
	int rc = unpack_facts(port, queue, parcel, why);

	unpack_doorbell(port, queue, parcel);
	unpack_vfio_file(queue, parcel);
	unpack_counters(queue, parcel);
	if (rc == 0)
		rc = rp_wire_parcel_result(parcel, why);
	if (rc < 0)
		return rc;
	rp_vhu_backend_vring(port->backend, queue->index, &vring);
	rc = check(port, queue, &vring, why);
	if (rc < 0)
		return rc;
	queue->vring = vring;
	rc = take_descriptors(port, queue, &vring, parcel, why);
	if (rc == 0 && queue->accelerator >= 0)
		rc = claim_files(port, queue, why);
	return rc < 0 || queue->accelerator < 0 ? rc : check_device(port, queue, why);
}
