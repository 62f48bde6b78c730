/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "port.h"
#include "rp_wire_clock.h"

#define RETRY_SHARE 10u

bool
port_accelerator_usable(const struct rp_port *port, int index)
{
	return index >= 0 && port->accelerators[index].accel.ops != NULL && !port->accelerators[index].failed;
}

static void
accelerator_ready(struct rp_port *port, struct port_source *source)
{
	struct port_accelerator *accelerator = &port->accelerators[source->index];
	struct rp_wire_why why = {0};
	int rc = accelerator->accel.ops->process(accelerator->accel.priv, &why);

	if (rc < 0)
		port_accelerator_fail(port, source->index, rc, &why);
	if (rc > 0 && (rc & RP_ACCEL_CHANGED_WISHES) != 0)
		port_doorbell_heard(port, source->index);
	if (rc > 0 && (rc & RP_ACCEL_CHANGED_CONFIG) != 0)
		port_net_changed(port, source->index);
	port_iommu_run(port);
}

/* The link's state is for us to know, also when the guest hears of it from its VMM (QEMU says nothing of the bit). */
static uint64_t
device_features(const struct rp_port *port, const struct port_accelerator *accelerator, uint64_t features)
{
	uint64_t ours = 1ull << VIRTIO_NET_F_STATUS;

	/* Chains whose buffers lie apart are tables of our own for it. */
	if ((features & 1ull << RP_VHU_F_ACCESS_PLATFORM_BIT) != 0)
		ours |= 1ull << VIRTIO_RING_F_INDIRECT_DESC;
	return (features & ~port_offer_own_features(port)) | (accelerator->info.features & ours);
}

/* Everything a fresh device must know before a queue can start. */
static int
bring_up_to_date(struct rp_port *port, struct port_accelerator *accelerator, struct rp_wire_why *why)
{
	const struct rp_accel *accel = &accelerator->accel;
	unsigned int i;
	int rc;

	for (i = 0; i < rp_vhu_backend_regions_count(port->backend); i++) {
		struct rp_vhu_region region;

		if (rp_vhu_backend_region(port->backend, i, &region) < 0)
			continue;
		rc = port_accelerator_map(accelerator, &region, why);
		if (rc < 0)
			return rc;
	}
	if (!port->features_acked)
		return 0;
	rc = accel->ops->set_features(accel->priv, device_features(port, accelerator, port->features), why);
	accelerator->features_set = rc == 0;
	return rc;
}

static int
watch(struct rp_port *port, unsigned int index)
{
	struct port_accelerator *accelerator = &port->accelerators[index];
	int fd = accelerator->accel.ops->get_fd(accelerator->accel.priv);

	return fd < 0 ? 0 : port_source_add(port, &accelerator->source, fd, accelerator_ready, index);
}

int
port_accelerator_opened(struct rp_port *port, unsigned int index, struct rp_wire_why *why)
{
	struct port_accelerator *accelerator = &port->accelerators[index];
	int rc;

	accelerator->accel.ops->get_info(accelerator->accel.priv, &accelerator->info);
	rc = watch(port, index);
	return rc < 0 ? rp_wire_why_set(why, rc, "epoll: %s", strerror(-rc)) : 0;
}

static int
open_one(struct rp_port *port, unsigned int index, struct rp_wire_why *why)
{
	struct port_accelerator *accelerator = &port->accelerators[index];
	int rc = rp_accel_open_translated(port->registry, accelerator->arguments, port_asks_iommu(accelerator),
					  &accelerator->accel, why);

	if (rc < 0)
		return rc;
	rc = port_accelerator_opened(port, index, why);
	if (rc < 0)
		rp_accel_close(&accelerator->accel);
	else
		port_net_opened(port, index);
	return rc;
}

/* What it asked stays: a device that is open already may have asked since. */
static void
close_device(struct rp_port *port, struct port_accelerator *accelerator)
{
	port_source_remove(port, &accelerator->source);
	accelerator->closing = true;
	port_windows_closing(port, (unsigned int)(accelerator - port->accelerators));
	rp_accel_close(&accelerator->accel);
	/* Its address space is gone, and all that was in it. */
	if (accelerator->sections != NULL)
		rp_dma_sections_forget(accelerator->sections);
	port_private_close(accelerator);
	accelerator->closing = false;
	accelerator->failed = false;
	accelerator->features_set = accelerator->has_ahead = false;
	port_net_forgotten(accelerator);
}

static void
close_one(struct rp_port *port, struct port_accelerator *accelerator)
{
	close_device(port, accelerator);
	port_asks_forget(accelerator);
}

int
port_accelerator_prepare(struct rp_port *port, const char *arguments, struct rp_wire_why *why)
{
	struct port_accelerator *accelerator = &port->accelerators[port->accelerators_count];

	accelerator->port = port;
	accelerator->source.fd = -1;
	accelerator->private.fd = -1;
	accelerator->arguments = strdup(arguments);
	port->accelerators_count++;
	if (accelerator->arguments == NULL || port_asks_create(accelerator) < 0 ||
	    rp_dma_sections_create(&port_sections_ops, accelerator, &accelerator->sections) < 0)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	return 0;
}

int
port_accelerators_open(struct rp_port *port, const struct rp_port_config *config, struct rp_wire_why *why)
{
	unsigned int i;
	int rc;

	for (i = 0; i < config->accelerators_count; i++) {
		rc = port_accelerator_prepare(port, config->accelerators[i], why);
		if (rc == 0)
			rc = open_one(port, i, why);
		if (rc < 0)
			return rc;
	}
	return port_accelerators_queues(port, config, why);
}

int
port_accelerators_queues(struct rp_port *port, const struct rp_port_config *config, struct rp_wire_why *why)
{
	unsigned int queues_count = 0, wanted_count = config->queue_pairs * 2u, i;
	int rc;

	port->features_common = UINT64_MAX;
	for (i = 0; i < port->accelerators_count; i++) {
		port->features_common &= port->accelerators[i].info.features;
		queues_count += port->accelerators[i].info.queues_count & ~1u;
	}
	/* The software backend's rings, then, when it was seen. */
	if (config->accelerators_count == 0)
		return 0;
	if (wanted_count == 0)
		wanted_count = queues_count < RP_VHU_QUEUES_MAX ? queues_count : RP_VHU_QUEUES_MAX;
	if (wanted_count == 0 || wanted_count > queues_count || wanted_count > RP_VHU_QUEUES_MAX)
		return rp_wire_why_set(why, -EINVAL,
				       "queue_pairs: %u wanted, the accelerators have %u: ask for at most that, or "
				       "name more accelerators",
				       wanted_count / 2, queues_count / 2);
	rc = port_queues_create(port, wanted_count);
	if (rc < 0)
		return rp_wire_why_set(why, rc, "no memory");
	port_places_assign(port);
	port_windows_update(port);
	return 0;
}

void
port_accelerators_close(struct rp_port *port)
{
	unsigned int i;

	for (i = 0; i < port->accelerators_count; i++) {
		close_one(port, &port->accelerators[i]);
		rp_dma_sections_destroy(port->accelerators[i].sections);
		port_asks_destroy(&port->accelerators[i]);
		free(port->accelerators[i].arguments);
	}
	port->accelerators_count = 0;
}

/* As they were last, which was done ahead; else now. */
static int
take_features(struct port_accelerator *accelerator, uint64_t features, struct rp_wire_why *why)
{
	bool done = accelerator->has_ahead && accelerator->features_ahead == features;

	accelerator->has_ahead = false;
	return done ? 0 : accelerator->accel.ops->set_features(accelerator->accel.priv, features, why);
}

/* What the next frontend acknowledges is most likely what the last one did: then it need not wait for that. */
void
port_accelerators_ahead(struct rp_port *port)
{
	unsigned int i;

	for (i = 0; i < port->accelerators_count; i++) {
		struct port_accelerator *accelerator = &port->accelerators[i];
		uint64_t features = device_features(port, accelerator, port->features);
		struct rp_wire_why why = {0};
		int rc;

		if (!port_accelerator_usable(port, (int)i) || !accelerator->features_set)
			continue;
		rc = accelerator->accel.ops->set_features(accelerator->accel.priv, features, &why);
		accelerator->has_ahead = rc == 0;
		accelerator->features_ahead = features;
		if (rc < 0 && rc != -ENOTSUP)
			port_accelerator_fail(port, i, rc, &why);
	}
}

int
port_accelerators_features(struct rp_port *port, uint64_t features, struct rp_wire_why *why)
{
	unsigned int i;

	for (i = 0; i < port->accelerators_count; i++) {
		struct port_accelerator *accelerator = &port->accelerators[i];
		int rc;

		if (!port_accelerator_usable(port, (int)i))
			continue;
		rc = take_features(accelerator, device_features(port, accelerator, features), why);
		if (rc == -ENOTSUP)
			return rc;
		if (rc < 0) {
			port_accelerator_fail(port, i, rc, why);
			continue;
		}
		accelerator->features_set = true;
		port_net_update(port, i);
	}
	return 0;
}

void
port_accelerator_fail(struct rp_port *port, unsigned int index, int error, const struct rp_wire_why *why)
{
	struct port_accelerator *accelerator = &port->accelerators[index];
	unsigned int i;

	if (accelerator->failed)
		return;
	accelerator->failed = true;
	accelerator->waiting_logged = false;
	accelerator->retry_at_ms = rp_wire_clock_ms();
	snprintf(accelerator->reason, sizeof(accelerator->reason), "accelerator failed: %.120s",
		 why->text[0] != '\0' ? why->text : strerror(-error));
	port_source_remove(port, &accelerator->source);
	port_event(port, RP_PORT_EVENT_ERROR, -1, "accelerator-failed", "%s: %s", accelerator->arguments,
		   accelerator->reason);
	for (i = 0; i < port->queues_count; i++) {
		struct port_queue *queue = &port->queues[i];

		if (!port_queue_is_on(queue, index) || !queue->running)
			continue;
		if (port_wish_anybody(port, queue))
			port_move_left(queue, RP_PORT_OWNER_HARDWARE);
		queue->running = false;
		queue->unproven = true;
		queue->moves++;
		port_relay_stop(port, queue);
		port_doorbell_stopped(port, queue);
	}
	for (i = 0; i < port->queues_count; i++)
		port_vfio_file_update(port, &port->queues[i]);
	port_windows_update(port);
}

int
port_accelerator_quiesce(struct rp_port *port, unsigned int index, struct rp_wire_why *why)
{
	struct port_accelerator *accelerator = &port->accelerators[index];
	unsigned int i;
	int rc;

	for (i = 0; i < port->queues_count; i++)
		if (port_queue_is_on(&port->queues[i], index) && port->queues[i].running &&
		    port_wish_anybody(port, &port->queues[i]))
			port_move_left(&port->queues[i], RP_PORT_OWNER_HARDWARE);
	rc = accelerator->accel.ops->reset(accelerator->accel.priv, why);
	if (rc == 0)
		rc = accelerator->accel.ops->set_features(accelerator->accel.priv,
							  device_features(port, accelerator, port->features), why);
	if (rc < 0) {
		port_accelerator_fail(port, index, rc, why);
		return rc;
	}
	for (i = 0; i < port->queues_count; i++)
		if (port_queue_is_on(&port->queues[i], index) && port->queues[i].running)
			port_queue_stopped(port, &port->queues[i], false, 0);
	return 0;
}

int
port_accelerator_stop_all(struct rp_port *port, unsigned int index, struct rp_wire_why *why)
{
	unsigned int i;
	int rc = port_accelerator_quiesce(port, index, why);

	if (rc < 0)
		return rc;
	/* Those that should run start again, where the device can start at their index; else they say why not. */
	for (i = 0; i < port->queues_count; i++)
		if (port_queue_is_on(&port->queues[i], index))
			port_queue_update(port, &port->queues[i], NULL);
	return 0;
}

/* With proof that the old owner is gone, rings go on from where they say that they are, if they do. */
static void
release_queues(struct rp_port *port, unsigned int index)
{
	unsigned int i;

	for (i = 0; i < port->queues_count; i++) {
		struct port_queue *queue = &port->queues[i];

		if (!port_queue_is_on(queue, index) || !queue->unproven)
			continue;
		queue->unproven = false;
		if (!queue->handed_back)
			port_queue_released(port, queue);
		queue->handed_back = false;
		if (queue->comes_back)
			port_place_return(port, queue);
	}
}

/* What of the device is in the frontend's hands: pages that the guest stores to, and the files behind them. */
static bool
anything_out(const struct rp_port *port, unsigned int index)
{
	unsigned int i;

	for (i = 0; i < port->queues_count; i++) {
		const struct port_queue *queue = &port->queues[i];

		if ((port_doorbell_outstanding(queue) && queue->doorbell.place.accelerator == (int)index) ||
		    (port_vfio_file_outstanding(queue) && queue->vfio_file.accelerator == (int)index))
			return true;
	}
	return false;
}

static int
check_replacement(const struct rp_port *port, const struct rp_accel_info *before, const struct rp_accel_info *now,
		  struct rp_wire_why *why)
{
	uint64_t needed = port->features_offered & ~port_offer_own_features(port);

	if ((needed & ~now->features) != 0)
		return rp_wire_why_set(why, -ENOTSUP, "it came back without features 0x%llx that the guest was offered",
				       (unsigned long long)(needed & ~now->features));
	if (now->queues_count < before->queues_count)
		return rp_wire_why_set(why, -ENOTSUP, "it came back with %u queues, %u are in use", now->queues_count,
				       before->queues_count);
	return 0;
}

/*
 * A device that was reset over a new connection touches no ring of the old one,
 * if it is the same process that answered. Another process on the same socket
 * proves nothing: the old one may only be stopped.
 */
static int
prove(const struct port_accelerator *accelerator, const struct rp_accel_info *now, struct rp_wire_why *why)
{
	if (!accelerator->failed || accelerator->info.peer_pid == now->peer_pid)
		return 0;
	return rp_wire_why_set(why, -EBUSY, "pid %d answers now, but pid %d was not seen to end: end it", now->peer_pid,
			       accelerator->info.peer_pid);
}

/* What was not opened yet, or may be open twice, is looked at before it takes the place of the old one. */
static int
open_candidate(struct rp_port *port, unsigned int index, struct rp_accel *ret_candidate, struct rp_accel_info *ret_info,
	       struct rp_wire_why *why)
{
	struct port_accelerator *accelerator = &port->accelerators[index];
	int rc;

	/* What the last one asked, and the pages that it has, are not this one's. */
	port_asks_forget(accelerator);
	rc = rp_accel_open_translated(port->registry, accelerator->arguments, port_asks_iommu(accelerator),
				      ret_candidate, why);
	if (rc < 0)
		return rc;
	ret_candidate->ops->get_info(ret_candidate->priv, ret_info);
	rc = prove(accelerator, ret_info, why);
	if (rc == 0) {
		release_queues(port, index);
		rc = check_replacement(port, &accelerator->info, ret_info, why);
	}
	if (rc < 0)
		rp_accel_close(ret_candidate);
	return rc;
}

static int
reopen(struct rp_port *port, unsigned int index, bool quiet, struct rp_wire_why *why)
{
	struct port_accelerator *accelerator = &port->accelerators[index];
	struct rp_accel candidate = {0};
	struct rp_accel_info info;
	int rc;

	/* Everything of it was taken back, and a file of it that we still had would keep its group busy. */
	port_files_release(port->files, accelerator, true);
	/* A VFIO group can be open once: with proof, which was used by now, the old one goes first. */
	if (quiet)
		close_one(port, accelerator);
	else if (accelerator->failed && accelerator->info.peer_pid == 0)
		return rp_wire_why_set(why, -EBUSY, "nothing proves yet that it touches memory no more");
	rc = open_candidate(port, index, &candidate, &info, why);
	if (rc < 0)
		return rc;
	close_device(port, accelerator);
	accelerator->accel = candidate;
	accelerator->info = info;
	rc = watch(port, index);
	if (rc == 0)
		rc = bring_up_to_date(port, accelerator, why);
	if (rc < 0) {
		close_one(port, accelerator);
		return rc;
	}
	port_net_opened(port, index);
	port_net_update(port, index);
	port_net_moved(port);
	port_windows_update(port);
	return 0;
}

/* A try may take long (a group that the VMM has not let go of yet is waited for): at most a tenth of the time. */
static void
retry_later(struct rp_port *port, struct port_accelerator *accelerator, uint64_t begun_ms,
	    const struct rp_wire_why *why)
{
	uint64_t now_ms = rp_wire_clock_ms(), delay_ms = (now_ms - begun_ms) * RETRY_SHARE;

	accelerator->retry_at_ms = now_ms + (delay_ms > port->reconnect_ms ? delay_ms : port->reconnect_ms);
	snprintf(accelerator->reason, sizeof(accelerator->reason), "accelerator is gone: %.120s", why->text);
	if (!accelerator->waiting_logged)
		port_event(port, RP_PORT_EVENT_NOTICE, -1, "accelerator-waiting", "%s: %s; trying every %u ms",
			   accelerator->arguments, why->text, port->reconnect_ms);
	accelerator->waiting_logged = true;
}

static void
welcome_back(struct rp_port *port, unsigned int index)
{
	struct port_accelerator *accelerator = &port->accelerators[index];
	unsigned int i;

	accelerator->retry_at_ms = 0;
	accelerator->reason[0] = '\0';
	port_event(port, RP_PORT_EVENT_NOTICE, -1, "accelerator-back", "%s", accelerator->arguments);
	for (i = 0; i < port->queues_count; i++) {
		port_vfio_file_renewed(&port->queues[i], index);
		if (!port_queue_is_on(&port->queues[i], index))
			continue;
		port_queue_counters_end(&port->queues[i]);
		port_queue_counters_begin(port, &port->queues[i]);
		port->queues[i].hardware_refused[0] = '\0';
		port_queue_update(port, &port->queues[i], NULL);
	}
}

static void
tick_one(struct rp_port *port, unsigned int index, uint64_t now_ms)
{
	struct port_accelerator *accelerator = &port->accelerators[index];
	struct rp_wire_why why = {0};
	bool quiet;

	if (accelerator->retry_at_ms == 0 || now_ms < accelerator->retry_at_ms)
		return;
	quiet = accelerator->failed && accelerator->accel.ops->is_quiet(accelerator->accel.priv);
	if (quiet)
		release_queues(port, index);
	/* Whatever the proof was, and when no other had room then, perhaps one has it now. */
	port_fail_over(port, index);
	/* The doorbell's page may die with the device: its mappings go first, and its group is closed once all let go. */
	if (accelerator->failed && anything_out(port, index)) {
		accelerator->retry_at_ms = now_ms + port->reconnect_ms;
		return;
	}
	if (reopen(port, index, quiet, &why) < 0)
		retry_later(port, accelerator, now_ms, &why);
	else
		welcome_back(port, index);
}

void
port_accelerators_tick(struct rp_port *port, uint64_t now_ms)
{
	unsigned int i;

	for (i = 0; i < port->accelerators_count; i++)
		tick_one(port, i, now_ms);
}

uint64_t
port_accelerators_deadline(const struct rp_port *port)
{
	uint64_t earliest_ms = 0;
	unsigned int i;

	for (i = 0; i < port->accelerators_count; i++) {
		uint64_t at_ms = port->accelerators[i].retry_at_ms;

		if (at_ms != 0 && (earliest_ms == 0 || at_ms < earliest_ms))
			earliest_ms = at_ms;
	}
	return earliest_ms;
}
