/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Shadow mode: the device works on a private ring, and chains and used entries are
 * carried between it and the guest's ring here (lib/vring/rp_vring_shadow.h). Payload
 * is not touched: descriptors keep the guest's addresses.
 *
 * It makes three things possible that a device of class B cannot do by itself: to
 * go on with a ring in mid-life, to say where a ring stands when it is taken away,
 * and to say what it wrote. The price is that kicks and interrupts pass through us.
 *
 * A ring whose device failed stays with us, private memory and all, until there is
 * proof that the device let go; then what it had used by then is still returned.
 */

#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <string.h>

#include "port.h"
#include "rp_vring_position.h"
#include "rp_vring_shadow.h"
#include "rp_wire_caller.h"

#define LOG_ALL_MASK (1ull << RP_VHU_F_LOG_ALL_BIT)

bool
port_shadow_logging(const struct rp_port *port)
{
	return (port->features & LOG_ALL_MASK) != 0;
}

#define TRANSLATED "the guest's IOMMU translates each address"

/* A device reads a direct ring by itself, and takes what is in it for guest-physical addresses. */
static bool
is_translated(struct rp_port *port, const struct port_queue *queue)
{
	if (!port_iommu_is_on(port) || port_asks_directly(port, (unsigned int)queue->accelerator))
		return false;
	return !(queue->iommu.identity && port_iommu_all_identity(port) == 0);
}

static int
cannot_be_direct(struct rp_port *port, const struct port_queue *queue, struct rp_wire_why *why)
{
	char text[PORT_POSITION_TEXT_MAX];

	if (port_shadow_logging(port))
		return rp_wire_why_set(why, -ENOTSUP,
				       "a migration wants to know what is written, which direct rings cannot say");
	if (is_translated(port, queue))
		return rp_wire_why_set(why, -ENOTSUP,
				       "direct is the user's choice, but " TRANSLATED ", which the device cannot do");
	port_position_text(port, queue->position, text, sizeof(text));
	return rp_wire_why_set(why, -ENOTSUP,
			       "direct is the user's choice, but the device starts fresh rings only "
			       "(class %s) and this one is at %s",
			       rp_accel_class_name(port->accelerators[queue->accelerator].info.class), text);
}

/* Why it must not, or cannot, be direct; NULL: it is. */
static const char *
reason_for_shadow(struct rp_port *port, const struct port_queue *queue)
{
	bool knows_positions = port->accelerators[queue->accelerator].info.class == RP_ACCEL_CLASS_A;

	if (port_shadow_logging(port))
		return "a migration wants to know what is written";
	if (is_translated(port, queue))
		return TRANSLATED;
	if (queue->ring_policy == RP_PORT_RING_SHADOW)
		return "shadow is the user's choice";
	if (knows_positions)
		return NULL;
	if (queue->position != rp_vring_position_fresh(port->features))
		return "the device starts fresh rings only (class B): direct again when the guest's driver starts it "
		       "anew";
	if (port_position_is_packed(port) && port->migratable)
		return "the device cannot tell where in a packed ring it stops (class B), and the port is migratable";
	return NULL;
}

int
port_shadow_choose(struct rp_port *port, struct port_queue *queue, bool *ret_shadow, struct rp_wire_why *why)
{
	const char *reason = reason_for_shadow(port, queue);

	if (reason != NULL && queue->ring_policy == RP_PORT_RING_DIRECT)
		return cannot_be_direct(port, queue, why);
	*ret_shadow = reason != NULL;
	snprintf(queue->shadow.reason, sizeof(queue->shadow.reason), "%s", reason != NULL ? reason : "");
	return 0;
}

/* Writes to the used ring are logged where the frontend says, if it says so; all else where it is. */
static void
mark(void *ctx, uint64_t iova, uint64_t size_bytes)
{
	struct port_queue *queue = ctx;
	struct rp_port *port = queue->shadow.port;
	struct rp_vhu_log *log = rp_vhu_backend_log(port->backend);
	const struct rp_vhu_vring *vring = &queue->vring;
	uint64_t used_bytes = port_position_is_packed(port) ? 4 : 6 + 8 * (uint64_t)vring->num;

	if (log == NULL)
		return;
	if (iova - vring->used_gpa < used_bytes) {
		if (!vring->log_used)
			return;
		iova = vring->log_gpa + (iova - vring->used_gpa);
	}
	rp_vhu_log_mark(log, iova, size_bytes);
	queue->shadow.marked = true;
}

static void
signal_log(struct rp_port *port, struct port_queue *queue)
{
	int fd = rp_vhu_backend_log_fd(port->backend);
	int rc;

	if (!queue->shadow.marked)
		return;
	queue->shadow.marked = false;
	rc = fd < 0 ? 0 : rp_wire_caller_call(port->caller, fd);
	if (rc < 0 && !port->log_fd_failed) {
		port->log_fd_failed = true;
		port_event(port, RP_PORT_EVENT_DEBUG, (int)queue->index, "log-signal-failed",
			   "the log descriptor%s: %s", rc == -EINVAL ? " is no eventfd" : "", strerror(-rc));
	}
}

void
port_shadow_log(struct rp_port *port, struct port_queue *queue)
{
	if (queue->shadow.ring != NULL)
		rp_vring_shadow_set_log(queue->shadow.ring, port_shadow_logging(port) ? mark : NULL, queue);
}

static void
translate_with(const struct rp_port *port, struct port_queue *queue, const struct rp_vring_shadow_config *shadow,
	       struct rp_vring_shadow_translation *ret_translation)
{
	const struct rp_accel_info *info = &port->accelerators[queue->accelerator].info;
	uint64_t tables_at = port_private_tables_at(port);

	*ret_translation = (struct rp_vring_shadow_translation){
		.translate = port_iommu_translate,
		.ctx = queue,
		.avail_writable = queue->iommu.writable[1],
		.indirect = (info->features & 1ull << VIRTIO_RING_F_INDIRECT_DESC) != 0,
		.tables = (uint8_t *)shadow->memory + tables_at,
		.tables_iova = shadow->memory_iova + tables_at,
	};
	memcpy(ret_translation->ring.parts, queue->iommu.parts, sizeof(ret_translation->ring.parts));
}

int
port_shadow_open(struct rp_port *port, struct port_queue *queue, struct rp_accel_queue_config *config,
		 struct rp_wire_why *why)
{
	struct rp_vring_layout guest = {
		.num = queue->vring.num,
		.desc_iova = queue->vring.desc_gpa,
		.avail_iova = queue->vring.avail_gpa,
		.used_iova = queue->vring.used_gpa,
		.features = port->features,
	};
	struct rp_vring_shadow_config shadow = {
		.guest = &guest,
		.position = queue->position,
		.reader = port->reader,
		.written = port_shadow_logging(port) ? mark : NULL,
		.ctx = queue,
	};
	struct rp_vring_layout private;
	struct rp_vring_shadow_translation translation;
	int rc = port_private_slot(port, queue, &shadow.memory, &shadow.memory_iova, why);

	if (rc < 0)
		return rc;
	if (queue->vring.iova) {
		translate_with(port, queue, &shadow, &translation);
		shadow.translation = &translation;
	}
	queue->shadow.port = port;
	rp_dma_reader_online(port->reader);
	rc = rp_vring_shadow_create(&shadow, &queue->shadow.ring, why);
	rp_dma_reader_offline(port->reader);
	if (rc < 0)
		return rc;
	rp_vring_shadow_layout(queue->shadow.ring, &private);
	config->position = rp_vring_position_fresh(port->features);
	config->desc_iova = private.desc_iova;
	config->avail_iova = private.avail_iova;
	config->used_iova = private.used_iova;
	config->call_fd = port_relay_interrupt_fd(port, queue);
	if (config->call_fd < 0) {
		port_shadow_close(queue);
		return rp_wire_why_set(why, -ENOSPC, "queue %u: no eventfd for the device's interrupts", queue->index);
	}
	return 0;
}

uint64_t
port_queue_accesses_refused(const struct port_queue *queue)
{
	const struct rp_vring_shadow *ring = queue->shadow.ring;

	return queue->iommu.refused_count + (ring != NULL ? rp_vring_shadow_refused(ring) : 0);
}

void
port_shadow_close(struct port_queue *queue)
{
	queue->iommu.refused_count = port_queue_accesses_refused(queue);
	queue->shadow.ring = rp_vring_shadow_destroy(queue->shadow.ring);
}

/* A ring whose guest broke a rule is served no more, until the guest's driver makes another. */
static void
guest_broke_it(struct rp_port *port, struct port_queue *queue)
{
	snprintf(queue->reason, sizeof(queue->reason), "the guest's driver broke the ring: %.120s",
		 rp_vring_shadow_why(queue->shadow.ring));
	port_event(port, RP_PORT_EVENT_WARNING, (int)queue->index, "ring-broken", "%s", queue->reason);
	queue->broken = true;
	port_queue_update(port, queue, NULL);
}

static void
device_broke_it(struct rp_port *port, struct port_queue *queue)
{
	struct rp_wire_why why = {0};

	rp_wire_why_set(&why, -EIO, "queue %u: the device broke the ring: %s", queue->index,
			rp_vring_shadow_why(queue->shadow.ring));
	port_accelerator_fail(port, (unsigned int)queue->accelerator, -EIO, &why);
}

void
port_shadow_serve(struct rp_port *port, struct port_queue *queue)
{
	uint64_t refused = rp_vring_shadow_refused(queue->shadow.ring);
	bool call = false, kick = false, call_for_refused = false;
	int returned, forwarded;

	rp_dma_reader_online(port->reader);
	returned = rp_vring_shadow_return(queue->shadow.ring, &call);
	forwarded = rp_vring_shadow_forward(queue->shadow.ring, &kick);
	if (returned >= 0 && forwarded >= 0 && refused != rp_vring_shadow_refused(queue->shadow.ring))
		returned = rp_vring_shadow_return(queue->shadow.ring, &call_for_refused);
	rp_dma_reader_offline(port->reader);
	call |= call_for_refused;
	signal_log(port, queue);
	if (call)
		port_relay_call(port, queue);
	if (kick && queue->running)
		port_relay_kick_device(port, queue);
	if (returned == -EPROTO)
		device_broke_it(port, queue);
	else if ((returned == -EBADMSG || forwarded == -EBADMSG) && !queue->broken)
		guest_broke_it(port, queue);
}

void
port_shadow_begin(struct rp_port *port, struct port_queue *queue)
{
	rp_dma_reader_online(port->reader);
	rp_vring_shadow_set_notify(queue->shadow.ring, true);
	rp_dma_reader_offline(port->reader);
}

int
port_shadow_end(struct rp_port *port, struct port_queue *queue, uint32_t *ret_position)
{
	unsigned int redone = 0;
	bool call = false;
	int rc;

	rp_dma_reader_online(port->reader);
	rc = rp_vring_shadow_drain(queue->shadow.ring, ret_position, &redone, &call);
	rp_dma_reader_offline(port->reader);
	signal_log(port, queue);
	queue->lost += rp_vring_shadow_lost(queue->shadow.ring);
	if (rc == 0)
		queue->redo_due = redone;
	else
		port_event(port, RP_PORT_EVENT_WARNING, (int)queue->index, "ring-not-drained", "%s",
			   rp_vring_shadow_why(queue->shadow.ring));
	if (call)
		port_relay_call(port, queue);
	port_shadow_close(queue);
	return rc;
}

bool
port_shadow_must_change(struct rp_port *port, const struct port_queue *queue)
{
	bool is_shadow = queue->shadow.ring != NULL;

	if (port_shadow_logging(port))
		return !is_shadow;
	/* Where another stands is known at its next start. */
	return port->accelerators[queue->accelerator].info.class == RP_ACCEL_CLASS_A &&
	       is_shadow != (queue->ring_policy == RP_PORT_RING_SHADOW || is_translated(port, queue));
}

static int
may_log(struct rp_port *port, const struct port_queue *queue, struct rp_wire_why *why)
{
	uint64_t iova;
	void *memory;
	int rc;

	if (queue->ring_policy == RP_PORT_RING_DIRECT)
		return rp_wire_why_set(why, -ENOTSUP,
				       "queue %u is direct by the user's choice: nobody can say what the device writes",
				       queue->index);
	rc = port_position_keep(port, queue, why);
	/* Found out now, the queue can stay as it is. */
	return rc < 0 ? rc : port_private_slot(port, queue, &memory, &iova, why);
}

int
port_shadow_may_log(struct rp_port *port, struct rp_wire_why *why)
{
	unsigned int i;
	int rc;

	for (i = 0; i < port->queues_count; i++) {
		if (!port->queues[i].running || port->queues[i].shadow.ring != NULL)
			continue;
		rc = may_log(port, &port->queues[i], why);
		if (rc < 0) {
			rp_wire_why_prefix(why, "LOG_ALL: ");
			return rc;
		}
	}
	return 0;
}

const char *
rp_port_ring_policy_name(enum rp_port_ring_policy policy)
{
	static const char *const names[] = {
		[RP_PORT_RING_AUTO] = "auto",
		[RP_PORT_RING_DIRECT] = "direct",
		[RP_PORT_RING_SHADOW] = "shadow",
	};

	return names[policy];
}
