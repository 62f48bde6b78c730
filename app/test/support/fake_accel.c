/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fake_accel.h"
#include "fake_asks.h"
#include "fake_rings.h"
#include "rp_accel_hand_over.h"
#include "rp_vring_position.h"
#include "rp_wire_fd.h"
#include "rp_wire_parcel.h"

static struct fake_accel fake_accel;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char handles[8]; /* one per life of the device: what closes late must not close its successor */
static char *current;
static char second_device; /* the same fake again, as another accelerator of a port, or of another port */

#define FAKE_QUEUES_ALL (FAKE_ACCEL_DEVICES * FAKE_ACCEL_QUEUES)

static void
unlock(pthread_mutex_t **held)
{
	pthread_mutex_unlock(*held);
}

static pthread_mutex_t *
take(void)
{
	pthread_mutex_lock(&lock);
	return &lock;
}

#define LOCKED __attribute__((cleanup(unlock), unused)) pthread_mutex_t *held = take()

struct fake_accel
fake_now(void)
{
	LOCKED;

	return fake_accel;
}

struct fake_accel *
fake_take(void)
{
	take();
	return &fake_accel;
}

void
fake_give(void)
{
	pthread_mutex_unlock(&lock);
}

unsigned int
fake_device_of(const void *priv)
{
	return priv == &second_device ? 1 : 0;
}

struct fake_accel_queue *
fake_queue_of(const void *priv, unsigned int index)
{
	return &fake_accel.queues[fake_device_of(priv) * FAKE_ACCEL_QUEUES + index];
}

void
fake_accel_setup(void)
{
	LOCKED;
	unsigned int i;

	memset(&fake_accel, 0, sizeof(fake_accel));
	fake_accel.features = 1ull << 32 | 1ull << 29 | 1ull << 15; /* VERSION_1, EVENT_IDX, MRG_RXBUF */
	fake_accel.queue_size_max = 256;
	fake_accel.failure_fd = -1;
	for (i = 0; i < FAKE_ACCEL_DEVICES; i++)
		fake_accel.groups[i] = -1;
	fake_accel.doorbell_fd = test_memfd(FAKE_ACCEL_BAR_BYTES, true);
	for (i = 0; i < FAKE_QUEUES_ALL; i++)
		fake_accel.queues[i].call_fd = -1;
	for (i = 0; i < FAKE_ACCEL_DEVICES; i++) {
		assert_int_equal(rp_dma_space_create(NULL, &fake_accel.spaces[i]), 0);
		assert_int_equal(rp_dma_reader_create(fake_accel.spaces[i], &fake_accel.readers[i]), 0);
	}
}

void
fake_accel_serve(void)
{
	FAKE_SET(serves, true);
	fake_rings_run();
}

void
fake_accel_teardown(void)
{
	unsigned int i;

	fake_rings_end();
	LOCKED;
	rp_wire_fd_close(&fake_accel.doorbell_fd);
	for (i = 0; i < FAKE_QUEUES_ALL; i++) {
		rp_wire_fd_close(&fake_accel.queues[i].call_fd);
		fake_accel.queues[i].ring = fake_ring_close(fake_accel.queues[i].ring);
	}
	for (i = 0; i < FAKE_ACCEL_DEVICES; i++) {
		fake_accel.readers[i] = rp_dma_reader_destroy(fake_accel.readers[i]);
		fake_accel.spaces[i] = rp_dma_space_destroy(fake_accel.spaces[i]);
	}
}

static void
get_info(void *priv, struct rp_accel_info *info)
{
	/* It may ask as soon as it is open. */
	fake_asks_put(false);

	LOCKED;

	memset(info, 0, sizeof(*info));
	snprintf(info->driver, sizeof(info->driver), "fake");
	snprintf(info->transport, sizeof(info->transport), "none");
	snprintf(info->device, sizeof(info->device), fake_device_of(priv) == 0 ? "first" : "second");
	info->features = fake_accel.features;
	info->queues_count = FAKE_ACCEL_QUEUES;
	info->queue_size_max = fake_accel.queue_size_max;
	info->class = fake_accel.class;
	info->peer_pid = fake_accel.peer_pid;
	info->notify_by_address = !fake_accel.notify_by_value;
	info->iova_page_bytes = fake_accel.page_bytes;
	info->asks = fake_accel.asks && fake_accel.iommu != NULL && fake_device_of(priv) == 0;
	if (fake_accel.reach.last != 0)
		info->iova_ranges[info->iova_ranges_count++] = fake_accel.reach;
	info->vfio_file_fd = fake_accel.groups[fake_device_of(priv)];
}

static int
set_features(void *priv, uint64_t features, struct rp_wire_why *why)
{
	LOCKED;
	(void)priv;
	if ((features & ~fake_accel.features) != 0)
		return rp_wire_why_set(why, -ENOTSUP, "features 0x%llx are not the device's",
				       (unsigned long long)(features & ~fake_accel.features));
	fake_accel.negotiated = features;
	fake_accel.negotiations++;
	return 0;
}

static bool
is_taken(unsigned int other, uint64_t iova, uint64_t size_bytes)
{
	struct rp_dma_mapping mapping;
	size_t i;

	for (i = 0; fake_accel.one_container && i < rp_dma_space_count(fake_accel.spaces[other]); i++)
		if (rp_dma_space_at(fake_accel.spaces[other], i, &mapping) == 0 && mapping.iova < iova + size_bytes &&
		    iova < mapping.iova + mapping.size_bytes &&
		    (mapping.iova != iova || mapping.size_bytes != size_bytes))
			return true;
	return false;
}

static int
dma_map(void *priv, uint64_t iova, uint64_t size_bytes, int fd, uint64_t offset_bytes, void *hva,
	struct rp_wire_why *why)
{
	LOCKED;
	const struct rp_dma_mapping mapping = {
		.iova = iova,
		.size_bytes = size_bytes,
		.offset_bytes = offset_bytes,
		.access_mask = RP_DMA_READ | RP_DMA_WRITE,
		.fd = fd,
	};
	int rc;

	assert_true(fd >= 0);
	assert_non_null(hva);
	if (fake_accel.map_error != 0)
		return rp_wire_why_set(why, fake_accel.map_error, "map refused");
	if (fake_accel.pieces_max != 0 &&
	    rp_dma_space_count(fake_accel.spaces[fake_device_of(priv)]) >= fake_accel.pieces_max)
		return rp_wire_why_set(why, -ENOSPC, "too many pieces");
	if (is_taken(1 - fake_device_of(priv), iova, size_bytes))
		return rp_wire_why_set(why, -EEXIST, "other memory is mapped there by another device");
	rc = rp_dma_space_map(fake_accel.spaces[fake_device_of(priv)], &mapping, why);
	fake_accel.mappings += rc == 0;
	return rc;
}

static int
dma_unmap(void *priv, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why)
{
	LOCKED;
	unsigned int i;

	for (i = 0; i < FAKE_ACCEL_QUEUES; i++) {
		const struct fake_accel_queue *queue = fake_queue_of(priv, i);

		/* A running ring must not lose its memory. */
		assert_true(!queue->running || queue->config.desc_iova - iova >= size_bytes);
	}
	fake_accel.mappings--;
	return rp_dma_space_unmap(fake_accel.spaces[fake_device_of(priv)], iova, size_bytes, why);
}

static int
peer_map(void *priv, uint64_t iova, uint64_t size_bytes, int fd, uint64_t offset_bytes, void *hva,
	 struct rp_wire_why *why)
{
	LOCKED;
	const struct rp_dma_mapping mapping = {
		.iova = iova,
		.size_bytes = size_bytes,
		.offset_bytes = offset_bytes,
		.access_mask = RP_DMA_READ | RP_DMA_WRITE,
		.fd = fd,
	};
	int rc;

	assert_non_null(hva);
	assert_int_equal((uintptr_t)hva % (fake_accel.page_bytes + (fake_accel.page_bytes == 0)), 0);
	/* Ours is the memory that was meant. */
	((uint8_t *)hva)[size_bytes - 1] = 0x5a;
	fake_accel.peer_had_file = fd >= 0;
	if (fake_accel.peer_error != 0)
		return rp_wire_why_set(why, fake_accel.peer_error, "the IOMMU refuses it");
	rc = rp_dma_space_map(fake_accel.spaces[fake_device_of(priv)], &mapping, why);
	fake_accel.mappings += rc == 0;
	return rc;
}

static int
queue_start(void *priv, unsigned int index, const struct rp_accel_queue_config *config, struct rp_wire_why *why)
{
	LOCKED;
	struct fake_accel_queue *queue = fake_queue_of(priv, index);
	int copy = -1;

	(void)priv;
	if (fake_accel.start_error != 0)
		return rp_wire_why_set(why, fake_accel.start_error, "start refused");
	assert_false(queue->running);
	if (fake_accel.serves) {
		if (fake_accel.class != RP_ACCEL_CLASS_A &&
		    config->position != rp_vring_position_fresh(fake_accel.negotiated))
			return rp_wire_why_set(why, -ENOTSUP, "class B starts fresh rings only");
		queue->ring = fake_ring_open(config, fake_accel.negotiated, fake_accel.readers[fake_device_of(priv)]);
	}
	queue->starts_prepared += fake_prepare_holds(queue, config);
	queue->prepared = false;
	queue->running = true;
	queue->pairs_at_start = fake_accel.net.queue_pairs;
	queue->config = *config;
	queue->position = config->position;
	queue->starts++;
	if (config->call_fd >= 0)
		copy = rp_wire_fd_dup(config->call_fd);
	rp_wire_fd_replace(&queue->call_fd, &copy);
	return fake_accel.begun_error == 0 ? 0 : rp_wire_why_set(why, fake_accel.begun_error, "no answer");
}

static int
queues_start(void *priv, struct rp_accel_queue_start *starts, unsigned int count, struct rp_wire_why *why)
{
	unsigned int i;

	fake_accel.rows++;
	if (count > fake_accel.longest_row)
		fake_accel.longest_row = count;
	for (i = 0; i < count; i++) {
		starts[i].error = fake_accel.row_refused_mask & 1u << starts[i].queue ?
					  rp_wire_why_set(&starts[i].why, -ENOTSUP, "refused in a row") :
					  queue_start(priv, starts[i].queue, &starts[i].config, &starts[i].why);
	}
	return fake_accel.row_error == 0 ? 0 : rp_wire_why_set(why, fake_accel.row_error, "lost in a row");
}

static int
queue_stop(void *priv, unsigned int index, uint32_t *ret_position, struct rp_wire_why *why)
{
	LOCKED;
	struct fake_accel_queue *queue = fake_queue_of(priv, index);

	(void)priv;
	if (fake_accel.stop_error != 0)
		return rp_wire_why_set(why, fake_accel.stop_error, "stop not answered");
	assert_true(queue->running);
	queue->running = false;
	queue->pairs_at_stop = fake_accel.net.queue_pairs;
	queue->stops++;
	if (queue->ring != NULL)
		queue->position = fake_ring_position(queue->ring);
	queue->ring = fake_ring_close(queue->ring);
	if (fake_accel.class == RP_ACCEL_CLASS_A)
		*ret_position = queue->position;
	return 0;
}

static int
queue_call(void *priv, unsigned int index, int call_fd, struct rp_wire_why *why)
{
	LOCKED;
	struct fake_accel_queue *queue = fake_queue_of(priv, index);
	int copy = call_fd < 0 ? -1 : rp_wire_fd_dup(call_fd);

	(void)priv, (void)why;
	rp_wire_fd_replace(&queue->call_fd, &copy);
	queue->calls++;
	return 0;
}

static int
queue_kick(void *priv, unsigned int index)
{
	LOCKED;

	if (!fake_queue_of(priv, index)->running)
		return -EINVAL;
	fake_queue_of(priv, index)->kicks++;
	fake_ring_kick(fake_queue_of(priv, index)->ring);
	return 0;
}

static int
queue_notify_area(void *priv, unsigned int index, struct rp_accel_notify_area *area, struct rp_wire_why *why)
{
	LOCKED;
	(void)priv;
	if (fake_accel.no_notify_area)
		return rp_wire_why_set(why, -ENOTSUP, "doorbell page is shared by 4 queues");
	area->fd = fake_accel.doorbell_fd;
	area->offset_bytes = (uint64_t)(fake_queue_of(priv, index) - fake_accel.queues) * 4096;
	area->size_bytes = 4096;
	return 0;
}

static int
queue_counters(void *priv, unsigned int index, struct rp_accel_queue_counters *counters)
{
	if (fake_now().asks_when_counted)
		fake_asks_put(false);

	LOCKED;
	(void)priv;
	memset(counters, 0, sizeof(*counters));
	counters->eventfd_kicks = fake_queue_of(priv, index)->kicks;
	return 0;
}

static int
get_fd(void *priv)
{
	LOCKED;
	return priv == current ? fake_accel.failure_fd : -1;
}

static bool
is_dead(void)
{
	return fake_accel.dead;
}

static int
process_events(void *priv, struct rp_wire_why *why)
{
	LOCKED;
	uint64_t count;
	int changed = (fake_accel.config_changed ? RP_ACCEL_CHANGED_CONFIG : 0) |
		      (fake_accel.wishes_changed ? RP_ACCEL_CHANGED_WISHES : 0);

	(void)priv;
	if (is_dead())
		return rp_wire_why_set(why, -ENOTCONN, "the device died");
	if (read(fake_accel.failure_fd, &count, sizeof(count)) < 0)
		return 0;
	fake_accel.config_changed = false;
	fake_accel.wishes_changed = false;
	return changed;
}

static int
process(void *priv, struct rp_wire_why *why)
{
	int rc = process_events(priv, why);

	if (rc == 0)
		fake_asks_put(false);
	return rc;
}

static void
stop_all(unsigned int device)
{
	unsigned int i;

	for (i = 0; i < FAKE_ACCEL_QUEUES; i++) {
		struct fake_accel_queue *queue = &fake_accel.queues[device * FAKE_ACCEL_QUEUES + i];

		queue->running = false;
		queue->ring = fake_ring_close(queue->ring);
	}
}

/* What a device that starts anew knows: nothing. */
static void
forget(unsigned int device)
{
	if (device == 0)
		fake_accel.mappings = 0;
	if (fake_accel.spaces[device] != NULL)
		rp_dma_space_clear(fake_accel.spaces[device]);
	stop_all(device);
}

static int
net_set(void *priv, const struct rp_accel_net *net, struct rp_wire_why *why)
{
	LOCKED;
	(void)priv;
	if (net->has_mac && fake_accel.no_mac)
		return rp_wire_why_set(why, -ENOTSUP, "MAC: no control queue");
	fake_accel.net = *net;
	fake_accel.net_sets++;
	return 0;
}

static int
config_get(void *priv, uint32_t offset_bytes, uint32_t size_bytes, uint8_t *ret_bytes)
{
	LOCKED;
	(void)priv;
	if (offset_bytes > sizeof(fake_accel.config) || size_bytes > sizeof(fake_accel.config) - offset_bytes)
		return -EINVAL;
	memcpy(ret_bytes, &fake_accel.config[offset_bytes], size_bytes);
	return 0;
}

static int
reset_device(void *priv, struct rp_wire_why *why)
{
	LOCKED;
	(void)why;
	fake_accel.resets++;
	stop_all(fake_device_of(priv));
	return 0;
}

static bool
is_quiet(void *priv)
{
	LOCKED;

	/* What is proven to touch nothing touches nothing. */
	if (fake_accel.quiet)
		stop_all(fake_device_of(priv));
	return fake_accel.quiet;
}

static void
close_device(void *priv)
{
	LOCKED;

	fake_accel.closes++;
	if (priv == &second_device)
		forget(1);
	if (priv != current)
		return;
	rp_wire_fd_close(&fake_accel.failure_fd);
	fake_accel.open = false;
	forget(0);
}

static int
give(void *priv, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	LOCKED;

	if (fake_accel.give_error != 0)
		return rp_wire_why_set(why, fake_accel.give_error, "the device cannot be given away");
	rp_wire_parcel_put_number(parcel, "device", fake_device_of(priv));
	rp_wire_parcel_put_fd(parcel, "failure", fake_accel.failure_fd);
	return 0;
}

static void
leave(void *priv)
{
	LOCKED;

	(void)priv;
	fake_accel.leaves++;
}

static const struct rp_accel_ops ops = {
	.get_info = get_info,
	.set_features = set_features,
	.dma_map = dma_map,
	.dma_unmap = dma_unmap,
	.peer_map = peer_map,
	.region_info = fake_region_info,
	.region_window = fake_region_window,
	.queue_start = queue_start,
	.queues_start = queues_start,
	.queues_prepare = fake_prepare,
	.queue_forget = fake_prepare_forget,
	.queue_stop = queue_stop,
	.queue_call = queue_call,
	.queue_kick = queue_kick,
	.queue_notify_area = queue_notify_area,
	.queue_doorbell = fake_wishes_tell,
	.queue_wants_page = fake_wishes_page,
	.queue_counters = queue_counters,
	.config_get = config_get,
	.net_set = net_set,
	.reset = reset_device,
	.get_fd = get_fd,
	.process = process,
	.is_quiet = is_quiet,
	.close = close_device,
	.give = give,
	.leave = leave,
	.translated = fake_asks_translated,
	.page_respond = fake_asks_page_respond,
	.invalidate = fake_asks_invalidate,
};

static int
open_device(const struct rp_accel_devargs *args, struct rp_accel *ret_accel, struct rp_wire_why *why)
{
	LOCKED;
	int error = fake_accel.open_error;

	fake_accel.iommu = rp_accel_devargs_iommu(args);
	if (error != 0)
		return rp_wire_why_set(why, error, "nobody listens");
	if (fake_accel.open && fake_accel.opens_once)
		return rp_wire_why_set(why, -EBUSY, "it is open already in this process");
	if (fake_accel.open && !is_dead()) {
		*ret_accel = (struct rp_accel){.ops = &ops, .priv = &second_device};
		return 0;
	}
	rp_wire_fd_close(&fake_accel.failure_fd);
	fake_accel.failure_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fake_accel.open = true;
	fake_accel.dead = false;
	fake_accel.config_changed = false;
	forget(0);
	current = &handles[fake_accel.opens++ % sizeof(handles)];
	*ret_accel = (struct rp_accel){.ops = &ops, .priv = current};
	return 0;
}

static int
adopt_device(const struct rp_accel_devargs *args, struct rp_wire_parcel *parcel, const struct rp_accel_memory *memories,
	     unsigned int memories_count, struct rp_accel *ret_accel, struct rp_wire_why *why)
{
	LOCKED;
	uint64_t device = rp_wire_parcel_get_number(parcel, "device", FAKE_ACCEL_DEVICES - 1);
	RP_WIRE_FD_SCOPED int failure_fd = rp_wire_parcel_need_fd(parcel, "failure");
	int error = fake_accel.adopt_error, rc = rp_wire_parcel_result(parcel, why);
	unsigned int i;

	(void)args;
	if (rc < 0)
		return rc;
	if (error != 0)
		return rp_wire_why_set(why, error, "the device is gone");
	for (i = 0; i < memories_count; i++)
		if (memories[i].hva == NULL || rp_dma_space_translate(fake_accel.spaces[device], memories[i].iova,
								      memories[i].size_bytes, RP_DMA_READ) == NULL)
			return rp_wire_why_set(why, -EBADMSG, "memory %u is not mapped", i);
	if (memories_count != rp_dma_space_count(fake_accel.spaces[device]))
		return rp_wire_why_set(why, -EBADMSG, "%u pieces of memory, the device has %u", memories_count,
				       rp_dma_space_count(fake_accel.spaces[device]));
	fake_accel.adopts++;
	*ret_accel = (struct rp_accel){.ops = &ops, .priv = device == 0 ? current : &second_device};
	return 0;
}

static const char *const keys[] = {"socket", NULL};
static const struct rp_accel_driver driver = {
	.name = "fake", .keys = keys, .usage = "fake", .open = open_device, .adopt = adopt_device};
static const struct rp_accel_driver *const drivers[] = {&driver, NULL};
const struct rp_accel_registry fake_accel_registry = {.drivers = drivers};
