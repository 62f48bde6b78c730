/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "rp_accel_vendor.h"
#include "rp_wire_caller.h"
#include "rp_wire_fd.h"
#include "virtio.h"
#include "virtio_regs.h"

int
vdrv_usable(const struct virtio_device *device, struct rp_wire_why *why)
{
	if (device->failed.error == 0)
		return 0;
	return rp_wire_why_set(why, device->failed.error, "%s", device->failed.text);
}

int
vdrv_judge(struct virtio_device *device, int rc, const struct rp_wire_why *why)
{
	if (!vdrv_error_is_loss(rc) || device->failed.error != 0)
		return rc;
	device->failed = *why;
	device->failed.error = rc;
	/* Whoever polls us learns of it too, not only whose call this was. */
	eventfd_write(device->notice_fd, 1);
	/* Whatever it did wrong: a reset that reads back proves that it touches no ring. */
	if (rc == -ENOTCONN)
		return rc;
	device->quiet = vdrv_reset(device, NULL) == 0;
	/* One that ignores its driver may still obey its bus. */
	if (!device->quiet)
		vdrv_disable_master(device);
	return rc;
}

int
vdrv_alive(const struct virtio_device *device, struct rp_wire_why *why)
{
	int rc = device->transport.ops->process(device->transport.priv, why);

	return rc < 0 ? vdrv_error_from_transport(rc, why) : vdrv_status_check(device, why);
}

/* O_NONBLOCK belongs to the open file, which the device holds too and may have cleared. @return 0: nothing came. */
static int
take_event(const struct virtio_device *device, struct rp_wire_why *why)
{
	int rc = rp_wire_caller_drain(device->config_event_fd, NULL);

	if (rc < 0)
		return rp_wire_why_set(why, -EIO, "configuration interrupt: eventfd: %s", strerror(-rc));
	return rc;
}

int
vdrv_process(struct virtio_device *device, struct rp_wire_why *why)
{
	struct rp_wire_why event_why;
	int event = take_event(device, &event_why);
	/* Whether or not it woke us: one without a vector for it is looked at as well. */
	int rc = vdrv_alive(device, why);

	if (rc == 0 && event < 0)
		*why = event_why;
	if (rc < 0 || event <= 0)
		return rc < 0 ? rc : event;
	return device->negotiated ? vdrv_wishes_changed(device, why) : 0;
}

static int
watch(const struct virtio_device *device, int fd, struct rp_wire_why *why)
{
	struct epoll_event event = {.events = EPOLLIN};

	if (fd >= 0 && epoll_ctl(device->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return rp_wire_why_set(why, -errno, "epoll: %s", strerror(errno));
	return 0;
}

int
vdrv_watch_all(struct virtio_device *device, struct rp_wire_why *why)
{
	int rc;

	device->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (device->epoll_fd < 0)
		return rp_wire_why_set(why, -errno, "epoll: %s", strerror(errno));
	/* Of our own: what the device holds may be full, and then whoever writes to it waits as long as it likes. */
	device->notice_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (device->notice_fd < 0)
		return rp_wire_why_set(why, -errno, "eventfd: %s", strerror(errno));
	rc = watch(device, device->notice_fd, why);
	if (rc == 0)
		rc = watch(device, device->config_event_fd, why);
	return rc < 0 ? rc : watch(device, device->transport.ops->get_fd(device->transport.priv), why);
}

static int
open_events(struct virtio_device *device, struct rp_wire_why *why)
{
	device->config_event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (device->config_event_fd < 0)
		return rp_wire_why_set(why, -errno, "eventfd: %s", strerror(errno));
	return vdrv_watch_all(device, why);
}

int
vdrv_inspect(struct virtio_device *device, struct rp_wire_why *why)
{
	int rc = vdrv_capabilities_read(&device->transport, &device->layout, why);

	if (rc == 0)
		rc = vdrv_layout_check(&device->transport, &device->layout, why);
	return rc;
}

static int
interrogate(struct virtio_device *device, struct rp_wire_why *why)
{
	int rc = vdrv_enable_bus(device, why);

	if (rc == 0)
		rc = vdrv_reset_hard(device, why);
	if (rc == 0)
		rc = vdrv_device_features(device, &device->device_features, why);
	if (rc == 0 && !vdrv_feature(device->device_features, VIRTIO_F_VERSION_1_BIT))
		rc = rp_wire_why_set(why, -ENOTSUP, "features: the device does not offer VERSION_1");
	if (rc == 0)
		rc = vdrv_queues_open(device, why);
	if (rc == 0)
		rc = vdrv_iommu_check(device, why);
	if (rc == 0)
		rc = vdrv_vendor_open(device, why);
	if (rc == 0)
		rc = vdrv_config_open(device, why);
	if (rc == 0)
		rc = vdrv_doorbells_open(device, why);
	if (rc < 0)
		return rc;
	device->own_features =
		vdrv_features_own(device->device_features, vdrv_vendor_has(device, RP_ACCEL_VENDOR_RING_STATE_MASK));
	return 0;
}

void
vdrv_release(struct virtio_device *device)
{
	vdrv_doorbells_close(device);
	vdrv_ctrlq_forget(device);
	vdrv_ctrlq_memory_release(device);
	vdrv_mapped_release(&device->mapped);
	rp_wire_fd_close(&device->notice_fd);
	rp_wire_fd_close(&device->config_event_fd);
	rp_wire_fd_close(&device->epoll_fd);
	free(device);
}

void
vdrv_close(struct virtio_device *device)
{
	struct rp_accel_transport transport = device->transport;

	/* Memory that the device may still write goes with the transport. */
	if (device->failed.error == 0 && vdrv_reset(device, NULL) == 0)
		vdrv_ctrlq_memory_give(device, NULL);
	vdrv_release(device);
	transport.ops->close(transport.priv);
}

struct virtio_device *
vdrv_allocate(const struct rp_virtio_config *config)
{
	struct virtio_device *device = calloc(1, sizeof(*device));
	unsigned int i;

	if (device == NULL)
		return NULL;
	device->wait_ms = config->wait_ms != 0 ? config->wait_ms : RP_VIRTIO_WAIT_MS;
	device->epoll_fd = -1;
	device->config_event_fd = -1;
	device->notice_fd = -1;
	device->ctrlq.memory_fd = -1;
	for (i = 0; i < RP_ACCEL_QUEUES_MAX; i++)
		device->queues[i].kick_fd = -1;
	return device;
}

int
rp_virtio_open(struct rp_accel_transport *transport, const struct rp_virtio_config *config, struct rp_accel *ret_accel,
	       struct rp_wire_why *why)
{
	struct virtio_device *device = vdrv_allocate(config);
	int rc;

	if (device == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	device->transport = *transport;
	transport->ops->get_info(transport->priv, &device->transport_info);
	rc = open_events(device, why);
	if (rc == 0)
		rc = vdrv_inspect(device, why);
	if (rc == 0)
		rc = interrogate(device, why);
	if (rc < 0) {
		vdrv_release(device);
		return rc;
	}
	transport->ops = NULL;
	transport->priv = NULL;
	ret_accel->ops = &vdrv_accel_ops;
	ret_accel->priv = device;
	return 0;
}
