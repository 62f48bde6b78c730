/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "rp_accel_vendor.h"
#include "virtio.h"
#include "virtio_regs.h"

/* What is written to start a queue, and read to see that the device took it. */
enum {
	PROGRAM_SELECT,
	PROGRAM_SIZE,
	PROGRAM_VECTOR,
	PROGRAM_ADDRESSES, /* six halves */
	PROGRAM_POSITION = PROGRAM_ADDRESSES + 6,
	PROGRAM_ENABLED_BACK,
	PROGRAM_SIZE_BACK,
	PROGRAM_VECTOR_BACK,
	PROGRAM_POSITION_BACK,
	PROGRAM_COUNT,
};

enum {
	ENABLE_SELECT,
	ENABLE_SET,
	ENABLE_BACK,
	ENABLE_COUNT,
};

/* 4.1.3.1: 64-bit fields as two 32-bit accesses */
static void
set_address(struct virtio_access *accesses, uint64_t offset_bytes, uint64_t iova)
{
	accesses[0] = virtio_common_set(offset_bytes, 4, iova & 0xffffffffu);
	accesses[1] = virtio_common_set(offset_bytes + 4, 4, iova >> 32);
}

static bool
has_position(const struct virtio_device *device, unsigned int queue)
{
	return queue < device->queues_count && vdrv_vendor_has(device, RP_ACCEL_VENDOR_RING_STATE_MASK);
}

/*
 * 4.1.5.1.3 and 4.1.5.1.2.1: everything but the enabling. What is written comes first, in a row: that is one message
 * where a message is what an access costs.
 */
static void
describe(const struct virtio_device *device, unsigned int queue, const struct rp_accel_queue_config *config,
	 uint16_t vector, struct virtio_access *accesses)
{
	accesses[PROGRAM_SELECT] = virtio_common_set(COMMON_QUEUE_SELECT, 2, queue);
	accesses[PROGRAM_SIZE] = virtio_common_set(COMMON_QUEUE_SIZE, 2, config->num);
	accesses[PROGRAM_VECTOR] = virtio_common_set(COMMON_QUEUE_MSIX_VECTOR, 2, vector);
	set_address(&accesses[PROGRAM_ADDRESSES], COMMON_QUEUE_DESC, config->desc_iova);
	set_address(&accesses[PROGRAM_ADDRESSES + 2], COMMON_QUEUE_DRIVER, config->avail_iova);
	set_address(&accesses[PROGRAM_ADDRESSES + 4], COMMON_QUEUE_DEVICE, config->used_iova);
	accesses[PROGRAM_ENABLED_BACK] = virtio_common_get(COMMON_QUEUE_ENABLE, 2);
	accesses[PROGRAM_SIZE_BACK] = virtio_common_get(COMMON_QUEUE_SIZE, 2);
	accesses[PROGRAM_VECTOR_BACK] = virtio_common_get(COMMON_QUEUE_MSIX_VECTOR, 2);
	/* Of a queue without one: the same two again, to have as many for each. */
	accesses[PROGRAM_POSITION] = accesses[PROGRAM_POSITION - 1];
	accesses[PROGRAM_POSITION_BACK] = accesses[PROGRAM_VECTOR_BACK];
	if (has_position(device, queue))
		vdrv_vendor_position(device, queue, config->position, &accesses[PROGRAM_POSITION],
				     &accesses[PROGRAM_POSITION_BACK]);
}

static void
enable(unsigned int queue, struct virtio_access *accesses)
{
	accesses[ENABLE_SELECT] = virtio_common_set(COMMON_QUEUE_SELECT, 2, queue);
	accesses[ENABLE_SET] = virtio_common_set(COMMON_QUEUE_ENABLE, 2, 1);
	accesses[ENABLE_BACK] = virtio_common_get(COMMON_QUEUE_ENABLE, 2);
}

/* See that the device took what was written. */
static int
verify(const struct virtio_access *written, const struct virtio_access *back, const char *name, unsigned int queue,
       struct rp_wire_why *why)
{
	if (back->value == written->value)
		return 0;
	return rp_wire_why_set(why, -ENOTSUP,
			       "queue %u: %s: reads 0x%" PRIx64 " after 0x%" PRIx64
			       " was written: the device refuses it",
			       queue, name, back->value, written->value);
}

static int
judge(const struct virtio_device *device, unsigned int queue, const struct virtio_access *accesses,
      struct rp_wire_why *why)
{
	int rc = 0;

	if (accesses[PROGRAM_ENABLED_BACK].value != 0)
		rc = rp_wire_why_set(why, -EIO, "queue %u: queue_enable: reads %" PRIu64 " though it was stopped",
				     queue, accesses[PROGRAM_ENABLED_BACK].value);
	if (rc == 0)
		rc = verify(&accesses[PROGRAM_SIZE], &accesses[PROGRAM_SIZE_BACK], "queue_size", queue, why);
	if (rc == 0)
		rc = verify(&accesses[PROGRAM_VECTOR], &accesses[PROGRAM_VECTOR_BACK], "queue_msix_vector", queue, why);
	if (rc == 0 && has_position(device, queue))
		rc = vdrv_vendor_check_position(queue, &accesses[PROGRAM_POSITION], &accesses[PROGRAM_POSITION_BACK],
						why);
	return rc;
}

int
vdrv_queue_program(const struct virtio_device *device, unsigned int queue, const struct rp_accel_queue_config *config,
		   uint16_t vector, struct rp_wire_why *why)
{
	struct virtio_access accesses[PROGRAM_COUNT];
	int rc;

	describe(device, queue, config, vector, accesses);
	rc = vdrv_access_many(device, accesses, PROGRAM_COUNT, why);
	if (rc == 0)
		rc = judge(device, queue, accesses, why);
	if (rc < 0)
		return rc;
	enable(queue, accesses);
	rc = vdrv_access_many(device, accesses, ENABLE_COUNT, why);
	return rc < 0 ? rc : verify(&accesses[ENABLE_SET], &accesses[ENABLE_BACK], "queue_enable", queue, why);
}

int
vdrv_vector_set(const struct virtio_device *device, unsigned int queue, int call_fd, struct rp_wire_why *why)
{
	int rc = device->transport.ops->irq_set(device->transport.priv, queue, call_fd, why);

	if (rc == 0)
		return 0;
	rp_wire_why_prefix(why, "queue %u: MSI-X vector: ", queue);
	return rc;
}

/* No eventfd, which is a VMM's mistake, or no interrupt left in this machine: the device is as it was. */
static int
start_error(int error, struct rp_wire_why *why)
{
	if (error != -EINVAL && error != -ENOSPC)
		return vdrv_error_from_transport(error, why);
	why->error = -ENOTSUP;
	return -ENOTSUP;
}

/* Those that go on, each with its place in the list. */
struct starting {
	struct rp_accel_queue_start *starts;
	unsigned int *places;
	unsigned int count;
};

static void
refuse(struct rp_accel_queue_start *start, int error, const struct rp_wire_why *why)
{
	start->error = error;
	start->why = *why;
}

/* What ends the device ends them all. @return error. */
static int
refuse_all(const struct starting *starting, int error, const struct rp_wire_why *why)
{
	unsigned int i;

	for (i = 0; i < starting->count; i++)
		refuse(&starting->starts[starting->places[i]], error, why);
	return error;
}

/* Those that were refused go on no more; one that broke a rule is a device that broke a rule. @return 0, or the loss. */
static int
keep_the_good(struct starting *starting, struct rp_wire_why *why)
{
	unsigned int i, kept = 0;
	int rc = 0;

	for (i = 0; i < starting->count; i++) {
		const struct rp_accel_queue_start *start = &starting->starts[starting->places[i]];

		if (start->error == 0) {
			starting->places[kept++] = starting->places[i];
		} else if (rc == 0 && vdrv_error_is_loss(start->error)) {
			rc = start->error;
			*why = start->why;
		}
	}
	starting->count = kept;
	return rc < 0 ? refuse_all(starting, rc, why) : 0;
}

/* How many from here on have numbers in a row. */
static unsigned int
row_of(const struct starting *starting, unsigned int first)
{
	unsigned int count = 1;

	while (first + count < starting->count && starting->starts[starting->places[first + count]].queue ==
							  starting->starts[starting->places[first]].queue + count)
		count++;
	return count;
}

static void
eventfds_of(const struct starting *starting, unsigned int first, unsigned int count, int *ret_eventfds)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		ret_eventfds[i] = starting->starts[starting->places[first + i]].config.call_fd;
}

static bool
set_row(const struct virtio_device *device, const struct starting *starting, unsigned int first, unsigned int count)
{
	const struct rp_accel_transport *transport = &device->transport;
	int eventfds[RP_ACCEL_QUEUES_MAX];

	if (count == 1 || transport->ops->irq_set_many == NULL)
		return false;
	eventfds_of(starting, first, count, eventfds);
	return transport->ops->irq_set_many(transport->priv, starting->starts[starting->places[first]].queue, count,
					    eventfds, NULL) == 0;
}

/* One by one, to know which; but nothing more of a device that is lost. */
static int
set_each(const struct virtio_device *device, const struct starting *starting, unsigned int first, unsigned int count)
{
	unsigned int i;
	int rc = 0;

	for (i = first; i < first + count && !vdrv_error_is_loss(rc); i++) {
		struct rp_accel_queue_start *start = &starting->starts[starting->places[i]];

		rc = vdrv_vector_set(device, start->queue, start->config.call_fd, &start->why);
		if (rc < 0)
			rc = start->error = start_error(rc, &start->why);
	}
	return rc;
}

static int
set_vectors(const struct virtio_device *device, struct starting *starting, struct rp_wire_why *why)
{
	unsigned int first, count;
	int rc = 0;

	for (first = 0; first < starting->count && !vdrv_error_is_loss(rc); first += count) {
		count = row_of(starting, first);
		if (!set_row(device, starting, first, count))
			rc = set_each(device, starting, first, count);
	}
	return keep_the_good(starting, why);
}

static void
take_back_vector(const struct virtio_device *device, const struct rp_accel_queue_start *start)
{
	vdrv_vector_set(device, start->queue, -1, NULL);
}

/* Vectors and registers together, where that is cheaper. */
static bool
in_one_flight(const struct virtio_device *device, const struct starting *starting)
{
	return device->transport.ops->irq_access_many != NULL && row_of(starting, 0) == starting->count;
}

static int
program_in_one_flight(const struct virtio_device *device, const struct starting *starting,
		      struct virtio_access *accesses, int *ret_irq, struct rp_wire_why *why)
{
	int eventfds[RP_ACCEL_QUEUES_MAX], rc;
	struct virtio_vectors vectors = {
		.first = starting->starts[starting->places[0]].queue,
		.count = starting->count,
		.eventfds = eventfds,
	};

	eventfds_of(starting, 0, starting->count, eventfds);
	rc = vdrv_access_wired(device, &vectors, accesses, starting->count * PROGRAM_COUNT, why);
	*ret_irq = vectors.error;
	return rc;
}

/* @param wire also the vectors, which were not set before. */
static int
program_all(const struct virtio_device *device, struct starting *starting, struct virtio_access *accesses, bool wire,
	    struct rp_wire_why *why)
{
	unsigned int i;
	int rc, irq = 0;

	for (i = 0; i < starting->count; i++) {
		const struct rp_accel_queue_start *start = &starting->starts[starting->places[i]];

		/* The vector of a queue has its number. */
		describe(device, start->queue, &start->config, (uint16_t)start->queue, accesses + i * PROGRAM_COUNT);
	}
	rc = wire ? program_in_one_flight(device, starting, accesses, &irq, why) :
		    vdrv_access_many(device, accesses, starting->count * PROGRAM_COUNT, why);
	if (rc < 0)
		return refuse_all(starting, rc, why);
	for (i = 0; i < starting->count; i++) {
		struct rp_accel_queue_start *start = &starting->starts[starting->places[i]];

		start->error = judge(device, start->queue, accesses + i * PROGRAM_COUNT, &start->why);
		if (start->error < 0)
			take_back_vector(device, start);
	}
	rc = keep_the_good(starting, why);
	if (rc < 0 || irq == 0)
		return rc;
	set_each(device, starting, 0, starting->count);
	return keep_the_good(starting, why);
}

/*
 * Where each goes on: written in a row, and read back before anything is enabled, as it moves then. A device that
 * refuses a position does not let its queue be enabled (ring-state-capability.md, Starting).
 * @return how many accesses.
 */
static unsigned int
place_all(const struct virtio_device *device, const struct starting *starting, struct virtio_access *accesses)
{
	unsigned int i;

	if (!vdrv_vendor_has(device, RP_ACCEL_VENDOR_RING_STATE_MASK))
		return 0;
	for (i = 0; i < starting->count; i++) {
		const struct rp_accel_queue_start *start = &starting->starts[starting->places[i]];

		vdrv_vendor_position(device, start->queue, start->config.position, &accesses[i],
				     &accesses[starting->count + i]);
	}
	return 2 * starting->count;
}

static void
conclude(struct virtio_device *device, struct rp_accel_queue_start *start, const struct virtio_access *enabled,
	 const struct virtio_access *written, const struct virtio_access *back)
{
	start->error = verify(&enabled[ENABLE_SET], &enabled[ENABLE_BACK], "queue_enable", start->queue, &start->why);
	if (start->error < 0) {
		take_back_vector(device, start);
		return;
	}
	device->queues[start->queue].running = true;
	device->queues[start->queue].size = start->config.num;
	/* It runs, and not from where it should: that is a loss. */
	if (written != NULL)
		start->error = vdrv_vendor_check_position(start->queue, written, back, &start->why);
}

/*
 * And tell the device that its driver is there, if it was not told yet. What the device says of itself is read in passing.
 * @param place also say where they go on, which was not said before.
 */
static int
enable_all(struct virtio_device *device, struct starting *starting, struct virtio_access *accesses, bool place,
	   struct rp_wire_why *why)
{
	unsigned int placed = place ? place_all(device, starting, accesses) : 0, count = placed, i;
	int rc;

	for (i = 0; i < starting->count; i++, count += ENABLE_COUNT)
		enable(starting->starts[starting->places[i]].queue, accesses + count);
	if (!device->driver_ok)
		accesses[count++] = vdrv_driver_ok();
	accesses[count++] = virtio_common_get(COMMON_DEVICE_STATUS, 1);
	rc = vdrv_access_many(device, accesses, count, why);
	if (rc < 0)
		return refuse_all(starting, rc, why);
	device->driver_ok = true;
	rc = vdrv_status_judge(device, accesses[count - 1].value, why);
	for (i = 0; i < starting->count; i++)
		conclude(device, &starting->starts[starting->places[i]], accesses + placed + i * ENABLE_COUNT,
			 placed == 0 ? NULL : &accesses[i], &accesses[starting->count + i]);
	if (rc < 0)
		return refuse_all(starting, rc, why);
	return keep_the_good(starting, why);
}

/* Vectors, and all registers but the enabling. */
static int
describe_all(const struct virtio_device *device, struct starting *starting, struct virtio_access *accesses,
	     struct rp_wire_why *why)
{
	bool wire = in_one_flight(device, starting);
	int rc = wire ? 0 : set_vectors(device, starting, why);

	return rc < 0 || starting->count == 0 ? rc : program_all(device, starting, accesses, wire, why);
}

static bool
is_as_prepared(const struct virtio_queue *queue, const struct rp_accel_queue_config *config)
{
	const struct rp_accel_queue_config *before = &queue->config;

	return queue->prepared && before->num == config->num && before->desc_iova == config->desc_iova &&
	       before->avail_iova == config->avail_iova && before->used_iova == config->used_iova &&
	       before->call_fd == config->call_fd;
}

/* Whether nothing is left to be said of them but where they go on. However they are started, they are prepared no more. */
static bool
take_prepared(struct virtio_device *device, const struct starting *starting)
{
	bool all = true;
	unsigned int i;

	for (i = 0; i < starting->count; i++) {
		const struct rp_accel_queue_start *start = &starting->starts[starting->places[i]];
		struct virtio_queue *queue = &device->queues[start->queue];

		all = all && is_as_prepared(queue, &start->config);
		queue->prepared = false;
	}
	return all;
}

static int
start_all(struct virtio_device *device, struct starting *starting, struct virtio_access *accesses,
	  struct rp_wire_why *why)
{
	bool prepared = take_prepared(device, starting);
	int rc = prepared ? 0 : describe_all(device, starting, accesses, why);

	return rc < 0 || starting->count == 0 ? rc : enable_all(device, starting, accesses, prepared, why);
}

static bool
is_twice(const struct starting *starting, unsigned int queue)
{
	unsigned int i;

	for (i = 0; i < starting->count && starting->starts[starting->places[i]].queue != queue; i++)
		;
	return i < starting->count;
}

static void
check_all(const struct virtio_device *device, struct starting *starting, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		struct rp_accel_queue_start *start = &starting->starts[i];

		start->why = (struct rp_wire_why){.error = 0};
		start->error = vdrv_queue_check(device, start->queue, &start->config, &start->why);
		if (start->error == 0 && is_twice(starting, start->queue))
			start->error = rp_wire_why_set(&start->why, -EBUSY, "queue %u: is there twice", start->queue);
		if (start->error == 0)
			starting->places[starting->count++] = i;
	}
}

int
vdrv_queues_start(struct virtio_device *device, struct rp_accel_queue_start *starts, unsigned int count,
		  struct rp_wire_why *why)
{
	struct starting starting = {.starts = starts};
	struct virtio_access *accesses;
	unsigned int places[RP_ACCEL_QUEUES_MAX];
	int rc;

	if (count > RP_ACCEL_QUEUES_MAX)
		return rp_wire_why_set(why, -EINVAL, "%u queues, expected at most %u", count, RP_ACCEL_QUEUES_MAX);
	starting.places = places;
	check_all(device, &starting, count);
	if (starting.count == 0)
		return 0;
	rc = vdrv_net_tell(device, why);
	if (rc < 0)
		return refuse_all(&starting, rc, why);
	accesses = calloc(starting.count, PROGRAM_COUNT * sizeof(*accesses));
	if (accesses == NULL)
		return refuse_all(&starting, rp_wire_why_set(why, -ENOTSUP, "no memory to start %u queues with", count),
				  why);
	rc = start_all(device, &starting, accesses, why);
	free(accesses);
	return rc;
}

static void
note_prepared(struct virtio_device *device, const struct starting *starting)
{
	unsigned int i;

	for (i = 0; i < starting->count; i++) {
		const struct rp_accel_queue_start *start = &starting->starts[starting->places[i]];

		device->queues[start->queue].prepared = true;
		device->queues[start->queue].config = start->config;
	}
}

/* Nobody hears of what is refused: a start says it again. */
static int
prepare(struct virtio_device *device, struct rp_accel_queue_start *starts, unsigned int count, struct rp_wire_why *why)
{
	unsigned int places[RP_ACCEL_QUEUES_MAX];
	struct starting starting = {.starts = starts, .places = places};
	struct virtio_access *accesses;
	int rc;

	check_all(device, &starting, count);
	if (starting.count == 0)
		return 0;
	accesses = calloc(starting.count, PROGRAM_COUNT * sizeof(*accesses));
	if (accesses == NULL)
		return 0;
	rc = describe_all(device, &starting, accesses, why);
	if (rc == 0)
		note_prepared(device, &starting);
	free(accesses);
	return rc;
}

int
vdrv_queues_prepare(struct virtio_device *device, const struct rp_accel_queue_start *starts, unsigned int count,
		    struct rp_wire_why *why)
{
	struct rp_accel_queue_start *ours;
	unsigned int i;
	int rc;

	if (count > RP_ACCEL_QUEUES_MAX)
		return rp_wire_why_set(why, -EINVAL, "%u queues, expected at most %u", count, RP_ACCEL_QUEUES_MAX);
	/*
	 * Nothing is won elsewhere, and with kernel VFIO something is lost: of two devices that have the same eventfd, the
	 * kernel joins only the first one's interrupt with KVM.
	 */
	if (device->transport.ops->irq_access_many == NULL)
		return 0;
	ours = calloc(count + 1, sizeof(*ours));
	for (i = 0; ours != NULL && i < count; i++) {
		ours[i] = starts[i];
		ours[i].config.position = rp_vring_position_fresh(device->guest_features);
	}
	rc = ours == NULL ? 0 : prepare(device, ours, count, why);
	free(ours);
	return rc;
}

void
vdrv_queue_forget(struct virtio_device *device, unsigned int queue)
{
	if (queue >= device->queues_count || !device->queues[queue].prepared)
		return;
	device->queues[queue].prepared = false;
	vdrv_vector_set(device, queue, -1, NULL);
}

int
vdrv_queue_start(struct virtio_device *device, unsigned int queue, const struct rp_accel_queue_config *config,
		 struct rp_wire_why *why)
{
	struct rp_accel_queue_start start = {.queue = queue, .config = *config};
	int rc = vdrv_queues_start(device, &start, 1, why);

	if (rc == 0 && start.error < 0)
		*why = start.why;
	return rc < 0 ? rc : start.error;
}

int
vdrv_queue_call(struct virtio_device *device, unsigned int queue, int call_fd, struct rp_wire_why *why)
{
	int rc;

	if (queue >= device->queues_count || !device->queues[queue].running)
		return rp_wire_why_set(why, -EINVAL, "queue %u: is not running", queue);
	rc = vdrv_vector_set(device, queue, call_fd, why);
	/* Who would have interrupted whom is not known any more. */
	return rc < 0 ? vdrv_error_from_transport(rc, why) : 0;
}
