/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "rp_wire_fd.h"
#include "kvfio.h"

int
kvfio_lose(struct kvfio_device *device, int error, const struct rp_wire_why *why)
{
	if (device->lost.error == 0) {
		device->lost = *why;
		device->lost.error = error;
		/* Whoever polls learns of it too, not only whose call this was. */
		if (device->error_event_fd >= 0)
			eventfd_write(device->error_event_fd, 1);
	}
	return error;
}

static int
watch(const struct kvfio_device *device, int fd, struct rp_wire_why *why)
{
	struct epoll_event event = {.events = EPOLLIN};

	if (fd < 0 || epoll_ctl(device->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return rp_wire_why_set(why, -errno, "eventfd: %s", strerror(errno));
	return 0;
}

static int
open_event(struct kvfio_device *device, int *ret_fd, struct rp_wire_why *why)
{
	*ret_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return watch(device, *ret_fd, why);
}

/* Not every device has every signal, and it works without. */
static int
arm(const struct kvfio_device *device, uint32_t index, int fd, struct rp_wire_why *why)
{
	int rc = kvfio_irq_count(device, index, why);

	if (rc > 0)
		kvfio_irq_arm(device, index, fd, NULL);
	return rc < 0 ? rc : 0;
}

static int
open_epoll(struct kvfio_device *device, struct rp_wire_why *why)
{
	device->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return device->epoll_fd < 0 ? rp_wire_why_set(why, -errno, "epoll: %s", strerror(errno)) : 0;
}

int
kvfio_events_adopt(struct kvfio_device *device, int *error_event_fd, int *request_event_fd, struct rp_wire_why *why)
{
	int rc;

	device->error_event_fd = rp_wire_fd_take(error_event_fd);
	device->request_event_fd = rp_wire_fd_take(request_event_fd);
	rc = open_epoll(device, why);
	if (rc == 0)
		rc = watch(device, device->error_event_fd, why);
	return rc < 0 ? rc : watch(device, device->request_event_fd, why);
}

int
kvfio_events_open(struct kvfio_device *device, struct rp_wire_why *why)
{
	int rc = open_epoll(device, why);

	if (rc < 0)
		return rc;
	rc = open_event(device, &device->error_event_fd, why);
	if (rc == 0)
		rc = open_event(device, &device->request_event_fd, why);
	if (rc == 0)
		rc = arm(device, VFIO_PCI_ERR_IRQ_INDEX, device->error_event_fd, why);
	if (rc == 0)
		rc = arm(device, VFIO_PCI_REQ_IRQ_INDEX, device->request_event_fd, why);
	return rc;
}

void
kvfio_events_close(struct kvfio_device *device)
{
	rp_wire_fd_close(&device->epoll_fd);
	rp_wire_fd_close(&device->error_event_fd);
	rp_wire_fd_close(&device->request_event_fd);
}

static bool
is_set(int fd)
{
	eventfd_t count;

	return eventfd_read(fd, &count) == 0;
}

void
kvfio_events_look(struct kvfio_device *device)
{
	struct rp_wire_why why = {0};

	if (device->lost.error != 0)
		return;
	if (is_set(device->error_event_fd)) {
		rp_wire_why_set(&why, -EIO, "%s: PCIe error: the device is not to be trusted (dmesg says more)",
				device->address);
		kvfio_lose(device, -EIO, &why);
	} else if (is_set(device->request_event_fd)) {
		rp_wire_why_set(&why, -EIO, "%s: the kernel wants the device back (unbind, or hot-unplug)",
				device->address);
		kvfio_lose(device, -EIO, &why);
	}
}
