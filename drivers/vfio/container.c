/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rp_wire_fd.h"
#include "kvfio.h"

int
kvfio_container_check(const struct kvfio_kernel *kernel, int fd, struct rp_wire_why *why)
{
	int version = kernel->ioctl(kernel->ctx, fd, VFIO_GET_API_VERSION, NULL);

	if (version != VFIO_API_VERSION)
		return rp_wire_why_set(why, -ENOTSUP, "VFIO: API version: %d, expected %d", version, VFIO_API_VERSION);
	/* The argument is the number itself. */
	if (kernel->ioctl(kernel->ctx, fd, VFIO_CHECK_EXTENSION, (void *)(uintptr_t)VFIO_TYPE1v2_IOMMU) <= 0)
		return rp_wire_why_set(why, -ENOTSUP,
				       "VFIO: no type 1 v2 IOMMU: load its driver (modprobe vfio_iommu_type1) and turn "
				       "the IOMMU on (firmware, intel_iommu=on)");
	return 0;
}

static int
open_container(const struct kvfio_kernel *kernel, const struct rp_vfio_config *config, int *ret_fd,
	       struct rp_wire_why *why)
{
	RP_WIRE_FD_SCOPED int fd = -1;
	char path[PATH_MAX];
	int rc;

	snprintf(path, sizeof(path), "%s/vfio", kernel->dev);
	if (config->container_fd >= 0)
		rc = config->container_fd;
	else
		rc = fd = kernel->open(kernel->ctx, path, O_RDWR);
	if (rc == -ENOENT || rc == -ENODEV)
		return rp_wire_why_set(why, -ENOENT, "%s: %s: load VFIO (modprobe vfio-pci)", path, strerror(-rc));
	if (rc < 0)
		return rp_wire_why_set(why, rc, "%s: %s", path, strerror(-rc));
	*ret_fd = rc;
	rc = kvfio_container_check(kernel, *ret_fd, why);
	if (rc == 0)
		rp_wire_fd_take(&fd);
	return rc;
}

static bool
is_wanted(const struct kvfio_container *container, const struct rp_vfio_config *config)
{
	if (config->container_fd >= 0)
		return container->borrowed && (container->fd == config->container_fd ||
					       rp_wire_fd_same(container->fd, config->container_fd) == 1);
	return !container->borrowed && config->container != NULL && strcmp(container->name, config->container) == 0;
}

static struct kvfio_container *
find_container(const struct kvfio_host *host, const struct rp_vfio_config *config)
{
	struct kvfio_container *container = host->containers;

	while (container != NULL && !is_wanted(container, config))
		container = container->next;
	return container;
}

/* The one that is wanted, or a new one, which is of no use until a group is in it. */
static int
take_container(struct kvfio_host *host, const struct rp_vfio_config *config, struct kvfio_container **ret_container,
	       struct rp_wire_why *why)
{
	struct kvfio_container *container = find_container(host, config);
	int rc;

	if (container == NULL) {
		container = calloc(1, sizeof(*container));
		if (container == NULL)
			return rp_wire_why_set(why, -ENOMEM, "no memory");
		rc = open_container(host->kernel, config, &container->fd, why);
		if (rc < 0) {
			free(container);
			return rc;
		}
		container->borrowed = config->container_fd >= 0;
		snprintf(container->name, sizeof(container->name), "%s",
			 config->container != NULL ? config->container : "");
		container->next = host->containers;
		host->containers = container;
	}
	*ret_container = container;
	return 0;
}

static void
drop_container(struct kvfio_host *host, struct kvfio_container *container)
{
	struct kvfio_container **link = &host->containers;

	if (container->groups != NULL)
		return;
	while (*link != container)
		link = &(*link)->next;
	*link = container->next;
	kvfio_books_free(&container->books);
	if (!container->borrowed)
		rp_wire_fd_close(&container->fd);
	free(container);
}

static int
explain_attach(unsigned int number, int error, struct rp_wire_why *why)
{
	if (error == -EPERM)
		return rp_wire_why_set(
			why, -ENOTSUP,
			"group %u: the IOMMU does not remap interrupts: turn interrupt remapping on in the "
			"firmware (or trust the guests: vfio_iommu_type1 allow_unsafe_interrupts=1)",
			number);
	if (error == -ENOMEM)
		return rp_wire_why_set(why, -ENOMEM, "group %u: IOMMU: %s", number, strerror(-error));
	return rp_wire_why_set(
		why, -ENOTSUP,
		"group %u cannot join its container (%s): it is behind another kind of IOMMU, or what is "
		"mapped does not fit it: give it a container of its own",
		number, strerror(-error));
}

/* An application that lent its container may have chosen the IOMMU already. */
static int
set_iommu(const struct kvfio_kernel *kernel, const struct kvfio_container *container)
{
	struct vfio_iommu_type1_info info = {.argsz = sizeof(info)};

	if (container->attached)
		return 0;
	if (container->borrowed && kernel->ioctl(kernel->ctx, container->fd, VFIO_IOMMU_GET_INFO, &info) == 0)
		return 0;
	return kernel->ioctl(kernel->ctx, container->fd, VFIO_SET_IOMMU, (void *)(uintptr_t)VFIO_TYPE1v2_IOMMU);
}

static int
attach(const struct kvfio_kernel *kernel, struct kvfio_container *container, const struct kvfio_group *group,
       struct rp_wire_why *why)
{
	int rc = 0;

	if (!group->was_attached)
		rc = kernel->ioctl(kernel->ctx, group->fd, VFIO_GROUP_SET_CONTAINER, &container->fd);
	if (rc < 0)
		return explain_attach(group->number, rc, why);
	rc = set_iommu(kernel, container);
	if (rc < 0)
		rc = explain_attach(group->number, rc, why);
	else
		rc = kvfio_iommu_read(kernel, container->fd, &container->iommu, why);
	if (rc < 0 && !group->was_attached)
		kernel->ioctl(kernel->ctx, group->fd, VFIO_GROUP_UNSET_CONTAINER, NULL);
	container->attached = container->attached || rc == 0;
	return rc;
}

static void
close_group(struct kvfio_host *host, struct kvfio_group *group)
{
	if (group->borrowed)
		return;
	if (group->given)
		rp_wire_fd_close(&group->fd);
	else
		kvfio_keep_close(host, group->number, &group->fd);
}

static int
open_group(struct kvfio_host *host, const struct rp_vfio_config *config, const struct kvfio_place *place,
	   struct kvfio_group *group, struct rp_wire_why *why)
{
	const struct kvfio_kernel *kernel = host->kernel;
	int rc = 0;

	group->number = place->group;
	group->borrowed = config->group_fd >= 0;
	if (group->borrowed)
		group->fd = config->group_fd;
	else
		rc = kvfio_keep_open(host, place->group,
				     config->busy_wait_ms != 0 ? config->busy_wait_ms : RP_VFIO_BUSY_WAIT_MS,
				     &group->fd, why);
	if (rc < 0)
		return rc;
	rc = kvfio_group_check(kernel, place->group, group->fd, &group->was_attached, why);
	/* A group of our own that is in a container is one that we do not know. */
	if (rc == 0 && group->was_attached && !group->borrowed)
		rc = rp_wire_why_set(why, -EBUSY, "group %u is in a container of another user", place->group);
	if (rc < 0)
		close_group(host, group);
	return rc;
}

static struct kvfio_group *
find_group(const struct kvfio_host *host, unsigned int number)
{
	const struct kvfio_container *container;
	struct kvfio_group *group;

	for (container = host->containers; container != NULL; container = container->next)
		for (group = container->groups; group != NULL; group = group->next)
			if (group->number == number)
				return group;
	return NULL;
}

static int
check_member(const struct kvfio_group *group, const struct rp_vfio_config *config, const struct kvfio_place *place,
	     struct rp_wire_why *why)
{
	const struct kvfio_container *container = group->container;
	const struct kvfio_device *device;

	for (device = group->devices; device != NULL; device = device->next)
		if (strcmp(device->address, place->address) == 0)
			return rp_wire_why_set(why, -EBUSY, "%s is open already in this process", place->address);
	/* A group alone in a container that nobody named takes a second device of its own. */
	if (is_wanted(container, config) || (config->container_fd < 0 && config->container == NULL &&
					     container->name[0] == '\0' && !container->borrowed))
		return 0;
	return rp_wire_why_set(why, -EBUSY,
			       "group %u of %s is in container '%s' already, because of another device of it: name the "
			       "same container for both",
			       group->number, place->address, container->name);
}

static int
enter(struct kvfio_host *host, const struct rp_vfio_config *config, struct kvfio_group *group, struct rp_wire_why *why)
{
	struct kvfio_container *container = NULL;
	int rc = take_container(host, config, &container, why);

	if (container == NULL)
		return rc;
	rc = attach(host->kernel, container, group, why);
	if (rc < 0) {
		drop_container(host, container);
		return rc;
	}
	group->container = container;
	group->next = container->groups;
	container->groups = group;
	return 0;
}

int
kvfio_container_join(struct kvfio_host *host, const struct rp_vfio_config *config, const struct kvfio_place *place,
		     struct kvfio_group **ret_group, struct rp_wire_why *why)
{
	struct kvfio_group *group = find_group(host, place->group);
	int rc;

	if (group != NULL) {
		rc = check_member(group, config, place, why);
		if (rc == 0)
			*ret_group = group;
		return rc;
	}
	group = calloc(1, sizeof(*group));
	if (group == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	rc = open_group(host, config, place, group, why);
	if (rc < 0) {
		free(group);
		return rc;
	}
	rc = enter(host, config, group, why);
	if (rc < 0) {
		close_group(host, group);
		free(group);
		return rc;
	}
	*ret_group = group;
	return 0;
}

/* kcmp(2) may not be there; then the name says it. */
static bool
is_given(const struct kvfio_container *container, const char *name, int fd)
{
	int same = rp_wire_fd_same(container->fd, fd);

	return same == 1 || (same < 0 && name[0] != '\0' && strcmp(container->name, name) == 0);
}

static int
adopt_container(struct kvfio_host *host, const char *name, int *fd, struct kvfio_container **ret_container,
		struct rp_wire_why *why)
{
	struct kvfio_container *container;
	int rc;

	for (container = host->containers; container != NULL; container = container->next) {
		if (is_given(container, name, *fd)) {
			*ret_container = container;
			return 0;
		}
		if (name[0] != '\0' && strcmp(container->name, name) == 0)
			return rp_wire_why_set(why, -EEXIST, "container '%s': another one of this name is open", name);
	}
	container = calloc(1, sizeof(*container));
	if (container == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	rc = kvfio_iommu_read(host->kernel, *fd, &container->iommu, why);
	if (rc < 0) {
		free(container);
		return rc;
	}
	snprintf(container->name, sizeof(container->name), "%s", name);
	container->fd = rp_wire_fd_take(fd);
	container->attached = true;
	container->next = host->containers;
	host->containers = container;
	*ret_container = container;
	return 0;
}

int
kvfio_container_adopt(struct kvfio_host *host, unsigned int number, const char *name, int *container_fd, int *group_fd,
		      struct kvfio_group **ret_group, struct rp_wire_why *why)
{
	struct kvfio_group *group = find_group(host, number);
	struct kvfio_container *container = NULL;
	int rc;

	if (group != NULL && !is_given(group->container, name, *container_fd))
		return rp_wire_why_set(why, -EEXIST, "group %u is open in this process, in another container", number);
	*ret_group = group;
	if (group != NULL)
		return 0;
	group = calloc(1, sizeof(*group));
	if (group == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	rc = adopt_container(host, name, container_fd, &container, why);
	if (container == NULL) {
		free(group);
		return rc;
	}
	group->number = number;
	group->fd = rp_wire_fd_take(group_fd);
	group->container = container;
	group->next = container->groups;
	container->groups = group;
	*ret_group = group;
	return 0;
}

bool
kvfio_container_has(const struct kvfio_host *host, unsigned int number)
{
	return find_group(host, number) != NULL;
}

void
kvfio_container_leave(struct kvfio_host *host, struct kvfio_group *group)
{
	struct kvfio_container *container = group->container;
	struct kvfio_group **link = &container->groups;

	if (group->devices != NULL)
		return;
	while (*link != group)
		link = &(*link)->next;
	*link = group->next;
	/* Others may hold the group's file open; then closing ours alone would leave it in the container. */
	if (!group->was_attached && !group->given)
		host->kernel->ioctl(host->kernel->ctx, group->fd, VFIO_GROUP_UNSET_CONTAINER, NULL);
	close_group(host, group);
	free(group);
	drop_container(host, container);
}

int
kvfio_container_slot(struct kvfio_container *container, unsigned int *ret_slot, struct rp_wire_why *why)
{
	unsigned int slot;

	for (slot = 0; slot < VFIO_HOLDERS_MAX; slot++) {
		if ((container->holders_mask >> slot & 1) != 0)
			continue;
		container->holders_mask |= UINT64_C(1) << slot;
		*ret_slot = slot;
		return 0;
	}
	return rp_wire_why_set(why, -ENOSPC, "container '%s' has %u devices: give this one another container",
			       container->name, VFIO_HOLDERS_MAX);
}
