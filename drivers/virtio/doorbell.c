/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rp_wire_caller.h"
#include "rp_wire_fd.h"
#include "virtio.h"
#include "virtio_regs.h"

/*
 * How we ring a doorbell, best first: an eventfd of the device's that stands for
 * it; a store into its page; a message. A store is last but one because a device
 * that counts cannot tell it from the guest's.
 */

static uint64_t
page_bytes(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t
vdrv_doorbell_page(const struct virtio_device *device, unsigned int queue)
{
	return device->doorbells[queue] & ~(page_bytes() - 1);
}

int
vdrv_window_check(const struct rp_accel_transport_window *window, struct rp_wire_why *why)
{
	struct stat st;
	int seals;

	if (fstat(window->fd, &st) < 0)
		return rp_wire_why_set(why, -ENOTSUP, "doorbell file: cannot be asked for its size");
	/* A device node answers for itself: its mapping cannot shrink. */
	if (!S_ISREG(st.st_mode))
		return 0;
	seals = fcntl(window->fd, F_GET_SEALS);
	if (seals < 0)
		return rp_wire_why_set(why, -ENOTSUP,
				       "doorbell file: a regular file cannot be sealed against shrinking, "
				       "expected a memfd or a device");
	if ((seals & F_SEAL_SHRINK) == 0)
		return rp_wire_why_set(why, -ENOTSUP, "doorbell file: not sealed against shrinking (F_SEAL_SHRINK)");
	if (window->offset_bytes > (uint64_t)st.st_size ||
	    window->size_bytes > (uint64_t)st.st_size - window->offset_bytes)
		return rp_wire_why_set(why, -ENOTSUP, "doorbell file: ends before the page");
	if (rp_wire_fd_page_bytes(window->fd) != page_bytes())
		return rp_wire_why_set(why, -ENOTSUP,
				       "doorbell file: is mapped in pages of %" PRIu64 " bytes, expected %" PRIu64,
				       rp_wire_fd_page_bytes(window->fd), page_bytes());
	return 0;
}

/* False: there is none, or it cannot be used. */
static bool
open_eventfd(struct virtio_device *device, unsigned int queue)
{
	const struct rp_accel_transport *transport = &device->transport;
	struct virtio_queue *state = &device->queues[queue];

	if (transport->ops->region_io_fd(transport->priv, device->layout.places[VIRTIO_NOTIFY].bar,
					 device->doorbells[queue], VIRTIO_DOORBELL_BYTES, queue, &state->kick_fd,
					 NULL) < 0)
		return false;
	/* The device holds it too, and could fill it and have us wait for ever. */
	if (device->caller != NULL || rp_wire_caller_take(&device->caller) == 0) {
		state->kick_path = VIRTIO_KICK_EVENTFD;
		return true;
	}
	rp_wire_fd_close(&state->kick_fd);
	return false;
}

static void
open_store(struct virtio_device *device, unsigned int queue)
{
	const struct rp_accel_transport *transport = &device->transport;
	struct virtio_queue *state = &device->queues[queue];
	uint64_t at_bytes = vdrv_doorbell_page(device, queue);
	struct rp_accel_transport_window window;
	void *page;

	if (transport->ops->region_window(transport->priv, device->layout.places[VIRTIO_NOTIFY].bar, at_bytes,
					  page_bytes(), &window, NULL) < 0 ||
	    window.offset_bytes > INT64_MAX || vdrv_window_check(&window, NULL) < 0)
		return;
	page = mmap(NULL, page_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, window.fd, (off_t)window.offset_bytes);
	if (page == MAP_FAILED)
		return;
	state->page = page;
	state->doorbell = (uint16_t *)((char *)page + (device->doorbells[queue] - at_bytes));
	state->kick_path = VIRTIO_KICK_STORE;
}

int
vdrv_doorbells_open(struct virtio_device *device, struct rp_wire_why *why)
{
	unsigned int i;

	for (i = 0; i < device->queues_count; i++)
		if (!open_eventfd(device, i))
			open_store(device, i);
	/* What cannot be had is done by messages; a device that left shows here. */
	return vdrv_alive(device, why);
}

void
vdrv_doorbells_close(struct virtio_device *device)
{
	unsigned int i;

	for (i = 0; i < RP_ACCEL_QUEUES_MAX; i++) {
		struct virtio_queue *state = &device->queues[i];

		rp_wire_fd_close(&state->kick_fd);
		if (state->page != NULL)
			munmap(state->page, page_bytes());
		state->page = NULL;
		state->kick_path = VIRTIO_KICK_MESSAGE;
	}
	device->caller = rp_wire_caller_give(device->caller);
}

static int
signal_eventfd(const struct virtio_device *device, unsigned int queue, struct rp_wire_why *why)
{
	int rc = rp_wire_caller_call(device->caller, device->queues[queue].kick_fd);

	if (rc == 0)
		return 0;
	return rp_wire_why_set(why, -EIO, "queue %u: the doorbell's descriptor%s: %s", queue,
			       rc == -EINVAL ? " is no eventfd" : "", strerror(-rc));
}

int
vdrv_doorbell_ring(struct virtio_device *device, unsigned int queue, struct rp_wire_why *why)
{
	const struct virtio_queue *state = &device->queues[queue];
	const struct virtio_place *notify = &device->layout.places[VIRTIO_NOTIFY];

	if (queue >= device->queues_count || !state->running)
		return rp_wire_why_set(why, -EINVAL, "queue %u: is not running", queue);
	switch (state->kick_path) {
	case VIRTIO_KICK_EVENTFD:
		return signal_eventfd(device, queue, why);
	case VIRTIO_KICK_STORE:
		/* The ring's contents before its doorbell. */
		__sync_synchronize();
		__atomic_store_n(state->doorbell, htole16((uint16_t)queue), __ATOMIC_RELEASE);
		return 0;
	case VIRTIO_KICK_MESSAGE:
		break;
	}
	return vdrv_write(device, VIRTIO_NOTIFY, device->doorbells[queue] - notify->offset_bytes, VIRTIO_DOORBELL_BYTES,
			  queue, why);
}
