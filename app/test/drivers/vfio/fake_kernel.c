/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake_kernel.h"

static ino_t
inode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

/* Whether somebody still has it open: this process has a descriptor of it. */
static bool
is_open(ino_t inode)
{
	int fd;

	for (fd = 3; inode != 0 && fd < 512; fd++)
		if (inode_of(fd) == inode)
			return true;
	return false;
}

/* @return another open file of what somebody has open; -1: nobody has. */
static int
open_again(ino_t inode)
{
	char path[32];
	int fd;

	for (fd = 3; inode != 0 && fd < 512; fd++) {
		if (inode_of(fd) != inode)
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		return open(path, O_RDWR | O_CLOEXEC);
	}
	return -1;
}

static struct fake_container *
container_of_fd(struct fake_kernel *fake, int fd)
{
	ino_t inode = inode_of(fd);
	unsigned int i;

	for (i = 0; i < FAKE_CONTAINERS; i++)
		if (inode != 0 && fake->containers[i].inode == inode)
			return &fake->containers[i];
	return NULL;
}

static struct fake_group *
group_of_fd(struct fake_kernel *fake, int fd)
{
	ino_t inode = inode_of(fd);
	unsigned int i;

	for (i = 0; i < FAKE_GROUPS; i++)
		if (inode != 0 && fake->groups[i].inode == inode)
			return &fake->groups[i];
	return NULL;
}

static struct fake_device *
device_of_fd(struct fake_kernel *fake, int fd)
{
	ino_t inode = inode_of(fd);
	unsigned int i;

	for (i = 0; i < FAKE_DEVICES; i++)
		if (inode != 0 && fake->devices[i].inode == inode)
			return &fake->devices[i];
	return NULL;
}

struct fake_device *
fake_find(struct fake_kernel *fake, const char *address)
{
	unsigned int i;

	for (i = 0; i < FAKE_DEVICES; i++)
		if (strcmp(fake->devices[i].address, address) == 0)
			return &fake->devices[i];
	return NULL;
}

unsigned int
fake_mapped(const struct fake_kernel *fake)
{
	unsigned int i, count = 0;

	for (i = 0; i < FAKE_CONTAINERS; i++)
		count += fake->containers[i].mappings_count;
	return count;
}

static int
open_container(struct fake_kernel *fake)
{
	unsigned int i;

	for (i = 0; i < FAKE_CONTAINERS; i++) {
		struct fake_container *container = &fake->containers[i];
		int fd;

		if (is_open(container->inode) || container->groups_count > 0)
			continue;
		free(container->mappings);
		memset(container, 0, sizeof(*container));
		fd = test_memfd(1, false);
		container->inode = inode_of(fd);
		return fd;
	}
	return -ENFILE;
}

static int
open_group(struct fake_kernel *fake, unsigned int number)
{
	unsigned int i;
	int fd;

	if (fake->open_error != 0)
		return fake->open_error;
	if (fake->busy_opens > 0) {
		fake->busy_opens--;
		return -EBUSY;
	}
	for (i = 0; i < FAKE_GROUPS; i++) {
		if (fake->groups[i].number != number)
			continue;
		if (is_open(fake->groups[i].inode))
			return -EBUSY;
		fd = test_memfd(1, false);
		fake->groups[i].inode = inode_of(fd);
		return fd;
	}
	return -ENOENT;
}

static int
fake_open_file(void *ctx, const char *path, int flags)
{
	struct fake_kernel *fake = ctx;
	const char *name = path + strlen(fake->dev) + 1;

	assert_int_equal(flags, O_RDWR);
	assert_memory_equal(path, fake->dev, strlen(fake->dev));
	if (access(path, F_OK) < 0)
		return -ENOENT;
	if (strcmp(name, "vfio") == 0)
		return open_container(fake);
	return open_group(fake, (unsigned int)strtoul(name, NULL, 10));
}

/* As the kernel: what fits, and how much it would be. */
static int
answer(struct fake_answer *whole, void *argument)
{
	uint32_t room_bytes, size_bytes;

	memcpy(&room_bytes, argument, sizeof(room_bytes));
	if (whole->grows)
		whole->size_bytes = room_bytes + 64;
	size_bytes = whole->size_bytes;
	memcpy((uint8_t *)argument + 4, whole->bytes + 4,
	       (room_bytes < FAKE_ANSWER_BYTES ? room_bytes : FAKE_ANSWER_BYTES) - 4);
	memcpy(argument, &size_bytes, sizeof(size_bytes));
	return 0;
}

static int
set_container(struct fake_kernel *fake, struct fake_group *group, const int *container_fd)
{
	struct fake_container *container = container_of_fd(fake, *container_fd);

	fake->set_container_count++;
	if (fake->set_container_error != 0)
		return fake->set_container_error;
	if (container == NULL || group->container != NULL)
		return -EINVAL;
	group->container = container;
	group->flags |= VFIO_GROUP_FLAGS_CONTAINER_SET;
	container->groups_count++;
	return 0;
}

static int
unset_container(struct fake_kernel *fake, struct fake_group *group)
{
	if (group->container == NULL)
		return -EINVAL;
	if (fake->unset_busy > 0) {
		fake->unset_busy--;
		return -EBUSY;
	}
	if (--group->container->groups_count == 0) {
		group->container->has_iommu = false;
		group->container->mappings_count = 0;
	}
	group->container = NULL;
	group->flags &= ~(uint32_t)VFIO_GROUP_FLAGS_CONTAINER_SET;
	fake->unset_count++;
	return 0;
}

static int
give_device(struct fake_kernel *fake, const struct fake_group *group, const char *address)
{
	struct fake_device *device = fake_find(fake, address);
	uint8_t command[2] = {PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0};
	int fd;

	if (fake->device_fd_error != 0)
		return fake->device_fd_error;
	if (device == NULL || device->group != group)
		return -ENODEV;
	if (group->container == NULL || !group->container->has_iommu)
		return -EINVAL;
	/* A group gives a device that is open once more. */
	fd = open_again(device->inode);
	if (fd >= 0)
		return fd;
	fake->device_opens_count++;
	/* Sparse: each region where vfio-pci has it. */
	fd = test_memfd((size_t)FAKE_REGIONS << 40, true);
	device->inode = inode_of(fd);
	device->enabled_count = 0;
	assert_int_equal(pwrite(fd, command, 2, ((off_t)FAKE_CONFIG << 40) + PCI_COMMAND), 2);
	return fd;
}

static int
group_ioctl(struct fake_kernel *fake, struct fake_group *group, unsigned long request, void *argument)
{
	switch (request) {
	case VFIO_GROUP_GET_STATUS:
		((struct vfio_group_status *)argument)->flags = group->flags;
		return 0;
	case VFIO_GROUP_SET_CONTAINER:
		return set_container(fake, group, argument);
	case VFIO_GROUP_UNSET_CONTAINER:
		return unset_container(fake, group);
	case VFIO_GROUP_GET_DEVICE_FD:
		return give_device(fake, group, argument);
	default:
		return -ENOTTY;
	}
}

static int
container_ioctl(struct fake_kernel *fake, struct fake_container *container, unsigned long request, void *argument)
{
	switch (request) {
	case VFIO_GET_API_VERSION:
		return fake->version;
	case VFIO_CHECK_EXTENSION:
		return (uintptr_t)argument == VFIO_TYPE1v2_IOMMU && !fake->no_type1;
	case VFIO_SET_IOMMU:
		if (fake->set_iommu_error != 0)
			return fake->set_iommu_error;
		if (container->has_iommu || container->groups_count == 0)
			return -EINVAL;
		container->has_iommu = true;
		return 0;
	case VFIO_IOMMU_GET_INFO:
		return container->has_iommu ? answer(&fake->iommu, argument) : -EINVAL;
	case VFIO_IOMMU_MAP_DMA:
		return fake_map_dma(fake, container, argument);
	case VFIO_IOMMU_UNMAP_DMA:
		return fake_unmap_dma(fake, container, argument);
	default:
		return -ENOTTY;
	}
}

static int
keep_eventfd(struct fake_device *device, uint32_t index, uint32_t vector, int fd)
{
	rp_wire_fd_close(&device->eventfds[index][vector]);
	if (fd >= 0)
		device->eventfds[index][vector] = rp_wire_fd_dup(fd);
	return fd >= 0 && device->eventfds[index][vector] < 0 ? -EBADF : 0;
}

/* As vfio-pci: MSI-X is enabled with the vectors of the first call, and none can be added later. */
static int
set_irqs(struct fake_kernel *fake, struct fake_device *device, const struct vfio_irq_set *set)
{
	uint32_t i;
	int rc = 0, fd;

	fake->irq_sets_count++;
	assert_int_equal(set->argsz, sizeof(*set) + set->count * sizeof(int32_t));
	assert_int_equal(set->flags, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER);
	if (fake->irqs_error != 0)
		return fake->irqs_error;
	if (set->index >= VFIO_PCI_NUM_IRQS || set->start + set->count > device->irqs[set->index].count)
		return -EINVAL;
	if (set->index == VFIO_PCI_MSIX_IRQ_INDEX && device->enabled_count == 0) {
		if (set->start != 0)
			return -EINVAL;
		if (fake->irqs_room > 0 && set->count > (uint32_t)fake->irqs_room)
			return fake->irqs_room;
		device->enabled_count = set->count;
		device->enables_count++;
	}
	if (set->index == VFIO_PCI_MSIX_IRQ_INDEX && set->start + set->count > device->enabled_count)
		return -EINVAL;
	for (i = 0; rc == 0 && i < set->count; i++) {
		memcpy(&fd, set->data + i * sizeof(fd), sizeof(fd));
		rc = keep_eventfd(device, set->index, set->start + i, fd);
	}
	return rc;
}

static int
device_ioctl(struct fake_kernel *fake, struct fake_device *device, unsigned long request, void *argument)
{
	struct vfio_region_info *region = argument;
	struct vfio_irq_info *irq = argument;

	switch (request) {
	case VFIO_DEVICE_GET_INFO:
		memcpy(argument, &device->info, sizeof(device->info));
		return 0;
	case VFIO_DEVICE_GET_REGION_INFO:
		if (region->index >= FAKE_REGIONS || device->regions[region->index].size_bytes == 0)
			return -EINVAL;
		return answer(&device->regions[region->index], argument);
	case VFIO_DEVICE_GET_IRQ_INFO:
		if (irq->index >= VFIO_PCI_NUM_IRQS || device->irqs[irq->index].argsz == 0)
			return -EINVAL;
		memcpy(argument, &device->irqs[irq->index], sizeof(*irq));
		return 0;
	case VFIO_DEVICE_SET_IRQS:
		return set_irqs(fake, device, argument);
	case VFIO_DEVICE_RESET:
		if (fake->reset_again > 0) {
			fake->reset_again--;
			return -EAGAIN;
		}
		if ((device->info.flags & VFIO_DEVICE_FLAGS_RESET) == 0)
			return -EINVAL;
		device->resets_count++;
		return 0;
	default:
		return -ENOTTY;
	}
}

static int
fake_ioctl(void *ctx, int fd, unsigned long request, void *argument)
{
	struct fake_kernel *fake = ctx;
	struct fake_container *container = container_of_fd(fake, fd);
	struct fake_device *device = device_of_fd(fake, fd);
	struct fake_group *group = group_of_fd(fake, fd);

	fake->ioctls_count++;
	if (container != NULL)
		return container_ioctl(fake, container, request, argument);
	if (group != NULL)
		return group_ioctl(fake, group, request, argument);
	return device != NULL ? device_ioctl(fake, device, request, argument) : -EBADF;
}

static ssize_t
fake_pread(void *ctx, int fd, void *bytes, size_t count_bytes, off_t offset_bytes)
{
	struct fake_kernel *fake = ctx;

	if (fake->access_result != 0)
		return fake->access_result;
	if (fake->all_ones) {
		memset(bytes, 0xff, count_bytes);
		return (ssize_t)count_bytes;
	}
	return pread(fd, bytes, count_bytes, offset_bytes);
}

static ssize_t
fake_pwrite(void *ctx, int fd, const void *bytes, size_t count_bytes, off_t offset_bytes)
{
	struct fake_kernel *fake = ctx;
	const struct fake_device *device = device_of_fd(fake, fd);

	fake->writes_count++;
	if (fake->access_result != 0)
		return fake->access_result;
	assert_non_null(device);
	if (device->keeps_master && offset_bytes == ((off_t)FAKE_CONFIG << 40) + PCI_COMMAND)
		return (ssize_t)count_bytes;
	return pwrite(fd, bytes, count_bytes, offset_bytes);
}

static void
fake_sleep(void *ctx, uint32_t ms)
{
	struct fake_kernel *fake = ctx;

	fake->slept_ms += ms;
	fake->sleeps_count++;
}

void
fake_answer_region(struct fake_answer *whole, uint32_t index, uint64_t size_bytes, uint32_t flags)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info),
		.flags = flags,
		.index = index,
		.size = size_bytes,
		.offset = (uint64_t)index << 40,
	};

	memset(whole, 0, sizeof(*whole));
	memcpy(whole->bytes, &info, sizeof(info));
	whole->size_bytes = sizeof(info);
}

void
fake_answer_iommu(struct fake_answer *whole, uint64_t page_sizes)
{
	struct vfio_iommu_type1_info info = {
		.argsz = sizeof(info),
		.flags = VFIO_IOMMU_INFO_PGSIZES,
		.iova_pgsizes = page_sizes,
	};

	memset(whole, 0, sizeof(*whole));
	memcpy(whole->bytes, &info, sizeof(info));
	whole->size_bytes = sizeof(info);
}

uint32_t
fake_answer_add(struct fake_answer *whole, uint32_t offset_of_first, uint16_t id, const void *body, size_t body_bytes)
{
	uint32_t at = whole->size_bytes, link = offset_of_first, next, flags;
	struct vfio_info_cap_header header = {.id = id, .version = 1};

	memcpy(&next, whole->bytes + link, sizeof(next));
	while (next != 0) {
		link = next + (uint32_t)offsetof(struct vfio_info_cap_header, next);
		memcpy(&next, whole->bytes + link, sizeof(next));
	}
	memcpy(whole->bytes + link, &at, sizeof(at));
	memcpy(whole->bytes + at, &header, sizeof(header));
	memcpy(whole->bytes + at + sizeof(header), body, body_bytes);
	whole->size_bytes = (uint32_t)(at + sizeof(header) + body_bytes + 7) & ~7u;
	/* Both kinds of answers have this word in one place. */
	memcpy(&flags, whole->bytes + 4, sizeof(flags));
	flags |= offset_of_first == FAKE_REGION_FIRST ? (uint32_t)VFIO_REGION_INFO_FLAG_CAPS :
							(uint32_t)VFIO_IOMMU_INFO_CAPS;
	memcpy(whole->bytes + 4, &flags, sizeof(flags));
	return at;
}

static void
init_device(struct fake_device *device, const char *address, struct fake_group *group, bool resettable)
{
	static const uint32_t access = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	unsigned int i, j;

	device->address = address;
	device->group = group;
	device->info = (struct vfio_device_info){
		.argsz = sizeof(device->info),
		.flags = VFIO_DEVICE_FLAGS_PCI | (resettable ? VFIO_DEVICE_FLAGS_RESET : 0),
		.num_regions = FAKE_REGIONS,
		.num_irqs = VFIO_PCI_NUM_IRQS,
	};
	for (i = 0; i < FAKE_REGIONS - 1; i++)
		fake_answer_region(&device->regions[i], i, 0, 0);
	fake_answer_region(&device->regions[4], 4, FAKE_BAR_BYTES, access | VFIO_REGION_INFO_FLAG_MMAP);
	fake_answer_region(&device->regions[FAKE_CONFIG], FAKE_CONFIG, 4096, access);
	for (i = 0; i < VFIO_PCI_NUM_IRQS; i++) {
		device->irqs[i] = (struct vfio_irq_info){
			.argsz = sizeof(device->irqs[i]), .flags = VFIO_IRQ_INFO_EVENTFD, .index = i, .count = 1};
		for (j = 0; j < FAKE_VECTORS; j++)
			device->eventfds[i][j] = -1;
	}
	device->irqs[VFIO_PCI_MSIX_IRQ_INDEX].count = FAKE_VECTORS;
	device->irqs[VFIO_PCI_MSIX_IRQ_INDEX].flags |= VFIO_IRQ_INFO_NORESIZE;
}

struct fake_kernel *
fake_kernel_new(void)
{
	struct fake_kernel *fake = calloc(1, sizeof(*fake));

	assert_non_null(fake);
	fake_files_make(fake);
	fake->kernel = (struct kvfio_kernel){
		.ctx = fake,
		.open = fake_open_file,
		.ioctl = fake_ioctl,
		.pread = fake_pread,
		.pwrite = fake_pwrite,
		.sleep_ms = fake_sleep,
		.sysfs = fake->sysfs,
		.dev = fake->dev,
		.proc = fake->proc,
	};
	fake->host.kernel = &fake->kernel;
	pthread_mutex_init(&fake->host.lock, NULL);
	fake->groups[0] = (struct fake_group){.number = 4, .flags = VFIO_GROUP_FLAGS_VIABLE};
	fake->groups[1] = (struct fake_group){.number = 7, .flags = VFIO_GROUP_FLAGS_VIABLE};
	init_device(&fake->devices[0], FAKE_ALONE, &fake->groups[0], false);
	init_device(&fake->devices[1], FAKE_FIRST, &fake->groups[1], true);
	init_device(&fake->devices[2], FAKE_SECOND, &fake->groups[1], true);
	fake_answer_iommu(&fake->iommu, 0x40201000);
	return fake;
}

void
fake_kernel_free(struct fake_kernel *fake)
{
	unsigned int i, j;

	for (i = 0; i < FAKE_DEVICES; i++)
		for (j = 0; j < VFIO_PCI_NUM_IRQS; j++)
			rp_wire_fd_close_all(fake->devices[i].eventfds[j], FAKE_VECTORS);
	for (i = 0; i < FAKE_CONTAINERS; i++)
		free(fake->containers[i].mappings);
	pthread_mutex_destroy(&fake->host.lock);
	fake_files_remove(fake);
	free(fake);
}

int
fake_open(struct fake_kernel *fake, const char *address, const char *container,
	  struct rp_accel_transport *ret_transport, struct rp_wire_why *why)
{
	const struct rp_vfio_config config = {
		.device = address,
		.busy_wait_ms = 1000,
		.container = container,
		.container_fd = -1,
		.group_fd = -1,
	};

	return kvfio_transport_open(&fake->host, &config, ret_transport, why);
}
