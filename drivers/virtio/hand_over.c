/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "rp_accel_vendor.h"
#include "rp_vring_drv.h"
#include "rp_wire_fd.h"
#include "rp_wire_parcel.h"
#include "virtio.h"
#include "virtio_regs.h"

/*
 * A running device in the hands of another process. What its registers say is read from
 * them again, and its state is held against what a parcel says: a device that is not in the
 * state that its driver left is not adopted. Written are select registers alone.
 *
 * What no register says comes from the parcel, judged: what was negotiated, how large rings can be
 * (the register says how large they are), the device's own address, what it was told to receive,
 * and where the control queue stands, whose memory goes along.
 */

#define SCOPE "virtio"
#define STATE_VERSION 1u

static void
pack_net(const struct virtio_device *device, struct rp_wire_parcel *parcel)
{
	uint64_t mac = 0, own_mac = 0;

	memcpy(&mac, device->net.mac, sizeof(device->net.mac));
	memcpy(&own_mac, device->mac, sizeof(device->mac));
	rp_wire_parcel_put_number(parcel, "has_mac", device->has_mac);
	rp_wire_parcel_put_number(parcel, "mac", own_mac);
	rp_wire_parcel_put_number(parcel, "has_net", device->has_net);
	rp_wire_parcel_put_number(parcel, "net_pairs", device->net.queue_pairs);
	rp_wire_parcel_put_number(parcel, "net_has_mac", device->net.has_mac);
	rp_wire_parcel_put_number(parcel, "net_mac", mac);
	rp_wire_parcel_put_number(parcel, "net_promiscuous", device->net.promiscuous);
	rp_wire_parcel_put_number(parcel, "net_all_multicast", device->net.all_multicast);
	rp_wire_parcel_put_number(parcel, "net_told", device->net_told);
	rp_wire_parcel_put_number(parcel, "mac_was_set", device->mac_was_set);
}

static void
pack_queues(const struct virtio_device *device, struct rp_wire_parcel *parcel)
{
	unsigned int i;

	rp_wire_parcel_put_number(parcel, "all_queues", device->all_queues_count);
	rp_wire_parcel_put_number(parcel, "vectors_short", device->vectors_short);
	rp_wire_parcel_put_number(parcel, "queues", device->queues_count);
	for (i = 0; i < device->queues_count; i++) {
		rp_wire_parcel_enter(parcel, "queue", i);
		rp_wire_parcel_put_number(parcel, "size_max", device->queues[i].size_max);
		rp_wire_parcel_put_number(parcel, "size", device->queues[i].size);
		rp_wire_parcel_put_number(parcel, "running", device->queues[i].running);
		rp_wire_parcel_leave(parcel);
	}
}

static int
pack_ctrlq(const struct virtio_ctrlq *ctrlq, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	struct rp_vring_drv_state state = {0};

	/* Each command is waited for; of one that was not answered the device has failed. */
	if (ctrlq->ring != NULL && rp_vring_drv_save(ctrlq->ring, &state) < 0)
		return rp_wire_why_set(why, -ENOTSUP, "control queue: a command is out");
	rp_wire_parcel_put_number(parcel, "present", ctrlq->present);
	rp_wire_parcel_put_number(parcel, "index", ctrlq->index);
	rp_wire_parcel_put_number(parcel, "size", ctrlq->size);
	rp_wire_parcel_put_number(parcel, "running", ctrlq->ring != NULL);
	rp_wire_parcel_put_number(parcel, "position", state.position);
	rp_wire_parcel_put_number(parcel, "first_free", state.first_free);
	rp_wire_parcel_put_number(parcel, "mapped", ctrlq->mapped);
	rp_wire_parcel_put_number(parcel, "iova", ctrlq->iova);
	rp_wire_parcel_put_number(parcel, "memory_bytes", ctrlq->memory != NULL ? ctrlq->memory_bytes : 0);
	if (ctrlq->memory != NULL)
		rp_wire_parcel_put_fd(parcel, "memory", ctrlq->memory_fd);
	return 0;
}

int
vdrv_give(const struct virtio_device *device, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	const struct rp_accel_transport *transport = &device->transport;
	int rc;

	if (transport->ops->give == NULL)
		return rp_wire_why_set(why, -ENOTSUP, "transport %s: cannot give its device away",
				       device->transport_info.name);
	rp_wire_parcel_enter(parcel, SCOPE, 0);
	/* First: it may have to be asked again. */
	rc = transport->ops->give(transport->priv, parcel, why);
	if (rc == 0) {
		rp_wire_parcel_put_number(parcel, "version", STATE_VERSION);
		rp_wire_parcel_put_number(parcel, "device_features", device->device_features);
		rp_wire_parcel_put_number(parcel, "guest_features", device->guest_features);
		rp_wire_parcel_put_number(parcel, "negotiated", device->negotiated);
		rp_wire_parcel_put_number(parcel, "driver_ok", device->driver_ok);
		rp_wire_parcel_put_fd(parcel, "config_event", device->config_event_fd);
		pack_queues(device, parcel);
		pack_net(device, parcel);
		rp_wire_parcel_enter(parcel, "ctrlq", 0);
		rc = pack_ctrlq(&device->ctrlq, parcel, why);
		rp_wire_parcel_leave(parcel);
	}
	rp_wire_parcel_leave(parcel);
	return rc < 0 ? rc : rp_wire_parcel_result(parcel, why);
}

static int
unpack_session(struct virtio_device *device, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	uint64_t version = rp_wire_parcel_get_number(parcel, "version", UINT32_MAX);
	int rc;

	device->device_features = rp_wire_parcel_get_number(parcel, "device_features", UINT64_MAX);
	device->guest_features = rp_wire_parcel_get_number(parcel, "guest_features", UINT64_MAX);
	device->negotiated = rp_wire_parcel_get_bool(parcel, "negotiated");
	device->driver_ok = rp_wire_parcel_get_bool(parcel, "driver_ok");
	rc = rp_wire_parcel_result(parcel, why);
	if (rc < 0)
		return rc;
	if (version != STATE_VERSION)
		return rp_wire_why_set(why, -ENOTSUP, "version: %" PRIu64 ", expected %u", version, STATE_VERSION);
	if (device->driver_ok && !device->negotiated)
		return rp_wire_why_set(why, -EBADMSG, "driver_ok: 1, expected 0 without a negotiation");
	device->config_event_fd = rp_accel_hand_over_eventfd(parcel, "config_event", why);
	rc = rp_wire_parcel_result(parcel, why);
	return rc == 0 && device->config_event_fd < 0 ? -EBADMSG : rc;
}

static int
check_queue(const struct virtio_device *device, unsigned int queue, struct rp_wire_why *why)
{
	const struct virtio_queue *state = &device->queues[queue];
	bool any_size = vdrv_feature(device->device_features, VIRTIO_F_RING_PACKED_BIT);

	if (state->size_max == 0 || state->size_max > VIRTIO_QUEUE_SIZE_LIMIT ||
	    (!any_size && !virtio_is_power_of_two(state->size_max)))
		return rp_wire_why_set(why, -EBADMSG, "queue %u: size_max: %u, expected a power of two up to %u", queue,
				       state->size_max, VIRTIO_QUEUE_SIZE_LIMIT);
	if (state->running && (state->size == 0 || state->size > state->size_max || !device->driver_ok))
		return rp_wire_why_set(why, -EBADMSG,
				       "queue %u: runs with %u entries, expected 1 to %u, and a driver that is OK",
				       queue, state->size, state->size_max);
	return 0;
}

static int
unpack_queues(struct virtio_device *device, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	unsigned int i, msix_count = device->transport_info.msix_count;
	int rc;

	device->all_queues_count = (unsigned int)rp_wire_parcel_get_number(parcel, "all_queues", UINT16_MAX);
	device->vectors_short = rp_wire_parcel_get_bool(parcel, "vectors_short");
	device->queues_count = (unsigned int)rp_wire_parcel_get_number(parcel, "queues", RP_ACCEL_QUEUES_MAX);
	rc = rp_wire_parcel_result(parcel, why);
	if (rc == 0 && (device->queues_count < 2 || device->queues_count % 2 != 0 ||
			device->queues_count > device->all_queues_count || device->queues_count > msix_count))
		rc = rp_wire_why_set(why, -EBADMSG, "queues: %u, expected pairs, at most %u, with a vector each of %u",
				     device->queues_count, device->all_queues_count, msix_count);
	for (i = 0; i < device->queues_count && rc == 0; i++) {
		struct virtio_queue *queue = &device->queues[i];

		rp_wire_parcel_enter(parcel, "queue", i);
		queue->size_max = (uint16_t)rp_wire_parcel_get_number(parcel, "size_max", UINT16_MAX);
		queue->size = (uint16_t)rp_wire_parcel_get_number(parcel, "size", UINT16_MAX);
		queue->running = rp_wire_parcel_get_bool(parcel, "running");
		rp_wire_parcel_leave(parcel);
		rc = rp_wire_parcel_result(parcel, why);
		if (rc == 0)
			rc = check_queue(device, i, why);
		if (device->queue_size_max == 0 || queue->size_max < device->queue_size_max)
			device->queue_size_max = queue->size_max;
	}
	device->doorbells_count =
		device->all_queues_count < VIRTIO_DOORBELLS_MAX ? device->all_queues_count : VIRTIO_DOORBELLS_MAX;
	device->has_config_vector = msix_count > device->queues_count;
	return rc;
}

static int
unpack_net(struct virtio_device *device, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	uint64_t own_mac = rp_wire_parcel_get_number(parcel, "mac", UINT64_MAX);
	uint64_t mac = rp_wire_parcel_get_number(parcel, "net_mac", UINT64_MAX);
	int rc;

	device->has_mac = rp_wire_parcel_get_bool(parcel, "has_mac");
	device->has_net = rp_wire_parcel_get_bool(parcel, "has_net");
	device->net_told = rp_wire_parcel_get_bool(parcel, "net_told");
	device->mac_was_set = rp_wire_parcel_get_bool(parcel, "mac_was_set");
	device->net = (struct rp_accel_net){
		.queue_pairs = (uint16_t)rp_wire_parcel_get_number(parcel, "net_pairs", UINT16_MAX),
		.has_mac = rp_wire_parcel_get_bool(parcel, "net_has_mac"),
		.promiscuous = rp_wire_parcel_get_bool(parcel, "net_promiscuous"),
		.all_multicast = rp_wire_parcel_get_bool(parcel, "net_all_multicast"),
	};
	memcpy(device->mac, &own_mac, sizeof(device->mac));
	memcpy(device->net.mac, &mac, sizeof(device->net.mac));
	rc = rp_wire_parcel_result(parcel, why);
	if (rc < 0 || !device->has_net)
		return rc;
	if (vdrv_net_check(device, &device->net, why) == 0)
		return 0;
	rp_wire_why_prefix(why, "net: ");
	why->error = -EBADMSG;
	return -EBADMSG;
}

/* What of the control queue is not in its memory. */
struct given_ctrlq {
	bool running;
	struct rp_vring_drv_state state;
};

/* Its memory is ours again, before the transport is asked whether the device has it. */
static int
unpack_ctrlq(struct virtio_ctrlq *ctrlq, struct rp_wire_parcel *parcel, struct given_ctrlq *ret_given,
	     struct rp_wire_why *why)
{
	uint64_t memory_bytes = rp_wire_parcel_get_number(parcel, "memory_bytes", VIRTIO_CTRLQ_BYTES_MAX);
	RP_WIRE_FD_SCOPED int fd = -1;
	int rc;

	ctrlq->present = rp_wire_parcel_get_bool(parcel, "present");
	ctrlq->index = (unsigned int)rp_wire_parcel_get_number(parcel, "index", UINT16_MAX);
	ctrlq->size = (uint16_t)rp_wire_parcel_get_number(parcel, "size", UINT16_MAX);
	ctrlq->mapped = rp_wire_parcel_get_bool(parcel, "mapped");
	ctrlq->iova = rp_wire_parcel_get_number(parcel, "iova", UINT64_MAX);
	ret_given->running = rp_wire_parcel_get_bool(parcel, "running");
	ret_given->state.position = (uint32_t)rp_wire_parcel_get_number(parcel, "position", UINT32_MAX);
	ret_given->state.first_free = (uint16_t)rp_wire_parcel_get_number(parcel, "first_free", UINT16_MAX);
	if (memory_bytes != 0)
		fd = rp_wire_parcel_need_fd(parcel, "memory");
	rc = rp_wire_parcel_result(parcel, why);
	if (rc < 0)
		return rc;
	if ((!ctrlq->present && memory_bytes != 0) || (ctrlq->mapped && memory_bytes == 0) ||
	    (ret_given->running && !ctrlq->mapped))
		return rp_wire_why_set(why, -EBADMSG,
				       "control queue: present %d, running %d, mapped %d, %" PRIu64
				       " bytes: expected each only with the one before",
				       ctrlq->present, ret_given->running, ctrlq->mapped, memory_bytes);
	if (memory_bytes == 0)
		return 0;
	return vdrv_ctrlq_memory_adopt(ctrlq, &fd, memory_bytes, why);
}

/* The caller's, and the control queue's, which he does not know of. */
static int
adopt_transport(struct virtio_device *device, const struct virtio_adoption *adoption, struct rp_wire_why *why)
{
	const struct virtio_ctrlq *ctrlq = &device->ctrlq;
	unsigned int count = adoption->memories_count;
	struct rp_accel_memory *list = calloc(count + 1, sizeof(*list));
	int rc;

	if (list == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	if (count > 0)
		memcpy(list, adoption->memories, count * sizeof(*list));
	if (ctrlq->mapped)
		list[count++] = (struct rp_accel_memory){
			.iova = ctrlq->iova,
			.size_bytes = ctrlq->memory_bytes,
			.fd = ctrlq->memory_fd,
			.hva = ctrlq->memory,
		};
	rc = adoption->adopt_transport(adoption->ctx, adoption->parcel, list, count, &device->transport, why);
	free(list);
	if (rc == 0)
		device->transport.ops->get_info(device->transport.priv, &device->transport_info);
	return rc;
}

/* Where the control queue's memory must not go. */
static int
write_down(struct virtio_device *device, const struct virtio_adoption *adoption, struct rp_wire_why *why)
{
	unsigned int i;

	for (i = 0; i < adoption->memories_count && device->ctrlq.present; i++) {
		if (vdrv_mapped_reserve(&device->mapped) < 0)
			return rp_wire_why_set(why, -ENOMEM, "no memory");
		vdrv_mapped_add(&device->mapped, adoption->memories[i].iova, adoption->memories[i].size_bytes);
	}
	return 0;
}

static int
expect(const char *name, uint64_t found, uint64_t expected, struct rp_wire_why *why)
{
	if (found == expected)
		return 0;
	return rp_wire_why_set(why, -EIO, "%s: the device has 0x%" PRIx64 ", expected 0x%" PRIx64, name, found,
			       expected);
}

/* Whether it is the device, and in the state, that was given. */
static int
check_session(const struct virtio_device *device, struct rp_wire_why *why)
{
	uint64_t features = 0, status = 0, num_queues = 0;
	int rc = vdrv_device_features(device, &features, why);

	if (rc == 0)
		rc = expect("features", features, device->device_features, why);
	if (rc == 0 && !vdrv_feature(features, VIRTIO_F_VERSION_1_BIT))
		rc = rp_wire_why_set(why, -EBADMSG, "device_features: the device does not offer VERSION_1");
	if (rc == 0 && device->negotiated && vdrv_features_check(features, device->guest_features, why) < 0) {
		why->error = -EBADMSG;
		return -EBADMSG;
	}
	if (rc < 0)
		return rc;
	if (!device->negotiated) {
		rc = vdrv_common_read(device, COMMON_DEVICE_STATUS, 1, &status, why);
		return rc < 0 ? rc : expect("device_status", status, 0, why);
	}
	rc = vdrv_common_read(device, COMMON_NUM_QUEUES, 2, &num_queues, why);
	if (rc == 0)
		rc = expect("num_queues", num_queues, device->all_queues_count, why);
	return rc < 0 ? rc : vdrv_status_check(device, why);
}

/* The queue is selected. */
static int
check_ring(const struct virtio_device *device, bool running, uint16_t size, uint16_t vector, struct rp_wire_why *why)
{
	uint64_t value = 0;
	int rc = vdrv_common_read(device, COMMON_QUEUE_ENABLE, 2, &value, why);

	if (rc == 0)
		rc = expect("queue_enable", value, running, why);
	if (rc < 0 || !running)
		return rc;
	rc = vdrv_common_read(device, COMMON_QUEUE_SIZE, 2, &value, why);
	if (rc == 0)
		rc = expect("queue_size", value, size, why);
	if (rc == 0)
		rc = vdrv_common_read(device, COMMON_QUEUE_MSIX_VECTOR, 2, &value, why);
	return rc < 0 ? rc : expect("queue_msix_vector", value, vector, why);
}

static int
check_queue_registers(struct virtio_device *device, unsigned int queue, bool ctrlq_runs, struct rp_wire_why *why)
{
	bool is_data = queue < device->queues_count;
	bool is_control = device->ctrlq.present && queue == device->ctrlq.index;
	int rc = vdrv_queue_select(device, queue, why);

	if (rc == 0 && is_data)
		rc = check_ring(device, device->queues[queue].running, device->queues[queue].size, (uint16_t)queue,
				why);
	else if (rc == 0 && is_control)
		rc = check_ring(device, ctrlq_runs, device->ctrlq.size, VIRTIO_NO_VECTOR, why);
	if (rc < 0) {
		rp_wire_why_prefix(why, "queue %u: ", queue);
		return rc;
	}
	rc = vdrv_queue_doorbell(device, queue, is_data || is_control, &device->doorbells[queue], why);
	if (rc == 0 && is_control)
		device->ctrlq.doorbell = device->doorbells[queue];
	return rc;
}

static int
check_queues(struct virtio_device *device, bool ctrlq_runs, struct rp_wire_why *why)
{
	const struct virtio_ctrlq *ctrlq = &device->ctrlq;
	unsigned int i;
	int rc = 0;

	if (ctrlq->present != vdrv_feature(device->device_features, VIRTIO_NET_F_CTRL_VQ_BIT) ||
	    (ctrlq->present && (ctrlq->index < device->queues_count || ctrlq->index >= device->doorbells_count)))
		return rp_wire_why_set(
			why, -EBADMSG,
			"control queue: present %d at %u, expected what the device offers, from %u to %u",
			ctrlq->present, ctrlq->index, device->queues_count, device->doorbells_count - 1);
	for (i = 0; i < device->doorbells_count && rc == 0; i++)
		rc = check_queue_registers(device, i, ctrlq_runs, why);
	return rc;
}

static int
rebuild(struct virtio_device *device, const struct virtio_adoption *adoption, struct rp_wire_why *why)
{
	struct given_ctrlq given = {.running = false};
	int rc;

	rp_wire_parcel_enter(adoption->parcel, "ctrlq", 0);
	rc = unpack_ctrlq(&device->ctrlq, adoption->parcel, &given, why);
	rp_wire_parcel_leave(adoption->parcel);
	if (rc == 0)
		rc = unpack_session(device, adoption->parcel, why);
	if (rc == 0)
		rc = adopt_transport(device, adoption, why);
	if (rc == 0)
		rc = unpack_queues(device, adoption->parcel, why);
	if (rc == 0)
		rc = write_down(device, adoption, why);
	if (rc == 0)
		rc = vdrv_watch_all(device, why);
	if (rc == 0)
		rc = vdrv_inspect(device, why);
	if (rc == 0)
		rc = check_session(device, why);
	if (rc == 0)
		rc = unpack_net(device, adoption->parcel, why);
	if (rc == 0)
		rc = check_queues(device, given.running, why);
	if (rc == 0)
		rc = vdrv_vendor_open(device, why);
	if (rc == 0)
		rc = vdrv_doorbells_open(device, why);
	if (rc == 0 && device->negotiated)
		rc = vdrv_wishes_adopt(device, why);
	if (rc == 0 && device->ctrlq.present)
		rc = vdrv_ctrlq_adopt(device, given.running ? &given.state : NULL, why);
	if (rc == 0)
		device->own_features = vdrv_features_own(device->device_features,
							 vdrv_vendor_has(device, RP_ACCEL_VENDOR_RING_STATE_MASK));
	return rc;
}

int
vdrv_adopt(const struct virtio_adoption *adoption, const struct rp_virtio_config *config, struct rp_accel *ret_accel,
	   struct rp_wire_why *why)
{
	struct virtio_device *device = vdrv_allocate(config);
	int rc;

	if (device == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	rp_wire_parcel_enter(adoption->parcel, SCOPE, 0);
	rc = rebuild(device, adoption, why);
	rp_wire_parcel_leave(adoption->parcel);
	if (rc < 0) {
		struct rp_accel_transport transport = device->transport;

		vdrv_release(device);
		/* Nobody knows what it does: it is cut off, as if its process had crashed. */
		if (transport.ops != NULL)
			transport.ops->close(transport.priv);
		return rc;
	}
	ret_accel->ops = &vdrv_accel_ops;
	ret_accel->priv = device;
	return 0;
}

void
vdrv_leave(struct virtio_device *device)
{
	struct rp_accel_transport transport = device->transport;

	vdrv_release(device);
	transport.ops->leave(transport.priv);
}
