/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef KVFIO_H
#define KVFIO_H

/*
 * Inside of drivers/vfio. One file, one idea:
 *
 *   kernel.c     the calls to the kernel, as a table
 *   sysfs.c      what the device is, its group, who else is in it
 *   info.c       answers of variable size and their chains of capabilities
 *   group.c      opening a group
 *   keep.c       groups that outlive a process
 *   container.c  opening an address space, and who is in it
 *   iommu.c      what an address space allows
 *   books.c      what is mapped, and by whom
 *   dma.c        mapping and unmapping
 *   memlock.c    the words for a limit that was hit
 *   region.c     regions and what of them can be mapped
 *   irq.c        MSI-X vectors
 *   events.c     the kernel's own signals: PCIe error, device wanted back
 *   quiet.c      cutting a lost device off
 *   hand_over.c  a device that goes on in another process
 *   transport.c  the operations table
 */

#include <pthread.h>
#include <stddef.h>
#include <sys/types.h>

#include "rp_accel_hand_over.h"
#include "rp_vfio.h"

/* Tests put their own kernel here. Descriptors are real ones also there. */
struct kvfio_kernel {
	void *ctx;
	int (*open)(void *ctx, const char *path, int flags);
	int (*ioctl)(void *ctx, int fd, unsigned long request, void *argument);
	ssize_t (*pread)(void *ctx, int fd, void *bytes, size_t count_bytes, off_t offset_bytes);
	ssize_t (*pwrite)(void *ctx, int fd, const void *bytes, size_t count_bytes, off_t offset_bytes);
	void (*sleep_ms)(void *ctx, uint32_t ms);
	const char *sysfs; /* "/sys" */
	const char *dev; /* "/dev/vfio" */
	const char *proc; /* "/proc" */
};

extern const struct kvfio_kernel kvfio_kernel_real;

#define VFIO_ADDRESS_BYTES 16u /* "0000:00:04.0", also with a domain of more digits */
#define VFIO_DRIVER_NAME_BYTES 32u

/* Whose devices they are: one for a process, one for a test. */
struct kvfio_host {
	const struct kvfio_kernel *kernel;
	pthread_mutex_t lock; /* over all that transports share: containers, groups, books */
	struct kvfio_container *containers;
	const struct rp_vfio_keeper *keeper; /* NULL: nobody keeps groups */
	void *keeper_ctx;
};

#define VFIO_HOLDERS_MAX 64u

struct kvfio_books {
	void *root; /* of tsearch(3) */
	struct kvfio_mapping *first; /* of all, in no order */
	unsigned int count;
};

/* What the kernel says of an address space. */
struct kvfio_iommu {
	struct rp_dma_iova_range ranges[RP_DMA_IOVA_RANGES_MAX]; /* the largest, in order of address */
	unsigned int ranges_count; /* 0: anywhere */
	uint64_t page_bytes;
	bool has_available;
	uint32_t available; /* mappings that may still be made, when it was asked */
};

struct kvfio_container {
	struct kvfio_container *next;
	struct kvfio_group *groups;
	char name[RP_VFIO_CONTAINER_NAME_MAX + 1]; /* "": of one group alone */
	int fd;
	bool borrowed;
	bool attached; /* it has an IOMMU, because a group is in it */
	struct kvfio_iommu iommu;
	struct kvfio_books books;
	uint64_t holders_mask; /* slots that are taken */
};

struct kvfio_group {
	struct kvfio_group *next; /* of the same container */
	struct kvfio_container *container;
	struct kvfio_device *devices;
	unsigned int number;
	int fd;
	bool borrowed;
	bool was_attached; /* borrowed, and in its container before us: it stays there */
	bool given; /* a device of it went to a successor, or comes from a predecessor and did not arrive: it stays too */
};

#define VFIO_REGIONS_COUNT 9u
#define VFIO_AREAS_MAX 64u

struct kvfio_area {
	uint64_t offset_bytes; /* in the region */
	uint64_t size_bytes;
};

struct kvfio_region {
	uint64_t size_bytes; /* 0: absent */
	uint64_t file_offset_bytes; /* of the device's descriptor */
	bool readable;
	bool writable;
	unsigned int areas_count; /* that can be mapped */
	struct kvfio_area *areas;
};

struct kvfio_device {
	struct kvfio_device *next; /* of the same group */
	struct kvfio_host *host;
	struct kvfio_group *group;
	unsigned int slot; /* in the container's holders_mask */
	char address[VFIO_ADDRESS_BYTES];
	int fd;
	bool resettable;
	uint32_t irqs_count; /* kinds of interrupts, not vectors */
	struct kvfio_region regions[VFIO_REGIONS_COUNT];
	uint32_t msix_count;
	uint32_t msix_enabled_count; /* 0: not yet */
	int epoll_fd;
	int error_event_fd;
	int request_event_fd;
	bool cut; /* nothing of this device's is mapped any more, for good */
	struct rp_wire_why lost; /* error 0: the device is there */
};

/* sysfs.c: where a device is */
struct kvfio_place {
	char address[VFIO_ADDRESS_BYTES];
	unsigned int group;
};
/* "00:04.0" becomes "0000:00:04.0". @return 0, -EBADMSG. */
int kvfio_address_parse(const char *text, char ret_address[VFIO_ADDRESS_BYTES], struct rp_wire_why *why);
/* Find a device that is bound to vfio-pci. @return 0, -ENOENT, -ENOTSUP. */
int kvfio_sysfs_find(const struct kvfio_kernel *kernel, const char *address, unsigned int *ret_group,
		     struct rp_wire_why *why);
/* Of a group that is not viable: which members are in the way. @return -EBUSY. */
int kvfio_sysfs_explain_group(const struct kvfio_kernel *kernel, unsigned int group, struct rp_wire_why *why);

/* info.c: an answer that starts with argsz and flags, and may end with a chain of capabilities. */
#define VFIO_INFO_MAX_BYTES 65536u
struct kvfio_info {
	uint8_t *bytes; /* free(3) */
	size_t size_bytes;
};
struct kvfio_capability {
	const uint8_t *bytes; /* header included */
	size_t size_bytes; /* up to the next one or the end */
};
/*
 * Ask, again with more room if the kernel wants that.
 * @param question what the kernel reads of it, fixed_bytes long; argsz is filled in here.
 * @return 0, -EBADMSG, -ENOMEM, or the ioctl's errno.
 */
int kvfio_info_ask(const struct kvfio_kernel *kernel, int fd, unsigned long request, const void *question,
		   size_t fixed_bytes, struct kvfio_info *ret_info, struct rp_wire_why *why);
/* @return 1 found, 0 not there, -EBADMSG the chain is broken. */
int kvfio_info_capability(const struct kvfio_info *info, size_t fixed_bytes, uint32_t first_bytes, uint16_t id,
			  struct kvfio_capability *ret_capability, struct rp_wire_why *why);

/* group.c */
int kvfio_group_open(const struct kvfio_kernel *kernel, unsigned int number, uint32_t busy_wait_ms, int *ret_fd,
		     struct rp_wire_why *why);
/* @return 0, -EBUSY (not viable; why names who is in the way), -EIO. */
int kvfio_group_check(const struct kvfio_kernel *kernel, unsigned int number, int fd, bool *ret_in_container,
		      struct rp_wire_why *why);

/* keep.c; the host's lock is held */
/*
 * A group that a predecessor left, in no container any more; else opened as by kvfio_group_open().
 * @return as kvfio_group_open().
 */
int kvfio_keep_open(struct kvfio_host *host, unsigned int number, uint32_t busy_wait_ms, int *ret_fd,
		    struct rp_wire_why *why);
void kvfio_keep_close(struct kvfio_host *host, unsigned int number, int *fd);
/*
 * Whether a descriptor is of a file below /dev/vfio: another would be asked what only that answers.
 * @return 0, -EINVAL, or what stat(2) says.
 */
int kvfio_keep_check_file(const struct kvfio_kernel *kernel, const char *name, int fd, struct rp_wire_why *why);

/* container.c; the host's lock is held */
int kvfio_container_join(struct kvfio_host *host, const struct rp_vfio_config *config, const struct kvfio_place *place,
			 struct kvfio_group **ret_group, struct rp_wire_why *why);
/* Whether a descriptor is a container that we can use. @return 0, -ENOTSUP. */
int kvfio_container_check(const struct kvfio_kernel *kernel, int fd, struct rp_wire_why *why);
/*
 * A group that is in its container already, both of another process.
 * @param container_fd taken, unless the container is open in this process. @param group_fd likewise.
 * @return 0, -EEXIST, -EBADMSG, -ENOMEM, or what the kernel says of its IOMMU.
 */
int kvfio_container_adopt(struct kvfio_host *host, unsigned int number, const char *name, int *container_fd,
			  int *group_fd, struct kvfio_group **ret_group, struct rp_wire_why *why);
/* Whether this process has a group. */
bool kvfio_container_has(const struct kvfio_host *host, unsigned int number);
/* What no device is in any more goes. */
void kvfio_container_leave(struct kvfio_host *host, struct kvfio_group *group);
/* A number for a device in the books. @return 0, -ENOSPC. */
int kvfio_container_slot(struct kvfio_container *container, unsigned int *ret_slot, struct rp_wire_why *why);

/* iommu.c */
int kvfio_iommu_read(const struct kvfio_kernel *kernel, int container_fd, struct kvfio_iommu *ret_iommu,
		     struct rp_wire_why *why);

/* books.c */
struct kvfio_mapping {
	struct kvfio_mapping *next, *previous; /* in the books */
	uint64_t iova;
	uint64_t size_bytes;
	/* Whose memory it is: a file's, or with file_inode 0 a place of this process. */
	uint64_t file_device;
	uint64_t file_inode;
	uint64_t offset_bytes;
	uint64_t holders_mask;
	void *own_hva; /* our mapping of the file, NULL: the caller's was used */
};
/* What is mapped in a range; NULL: nothing. Of several any. */
struct kvfio_mapping *kvfio_books_find(const struct kvfio_books *books, uint64_t iova, uint64_t size_bytes);
/* @param mapping copied; overlaps nothing. @return 0, -ENOMEM. */
int kvfio_books_add(struct kvfio_books *books, const struct kvfio_mapping *mapping);
void kvfio_books_remove(struct kvfio_books *books, struct kvfio_mapping *mapping);
/* Our own mapping of its file, if there is one, goes. */
void kvfio_mapping_forget(struct kvfio_mapping *mapping);
void kvfio_books_free(struct kvfio_books *books);

/* dma.c; the host's lock is held */
/* As rp_accel_transport_ops.dma_map. */
int kvfio_dma_map(struct kvfio_device *device, uint64_t iova, uint64_t size_bytes, int fd, uint64_t offset_bytes,
		  void *hva, struct rp_wire_why *why);
int kvfio_dma_unmap(struct kvfio_device *device, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why);
/* All that this device has mapped. @return 0, or the first error; all were tried. */
int kvfio_dma_unmap_all(struct kvfio_device *device, struct rp_wire_why *why);

/* Write down what is mapped, if it is this memory of ours; nothing is told to the kernel. @return 0, -EBADMSG, -EEXIST, -ENOMEM, or a place that cannot be. */
int kvfio_dma_adopt(struct kvfio_device *device, const struct kvfio_mapping *given,
		    const struct rp_accel_memory *memory, struct rp_wire_why *why);
/* Cross out what this device holds; nothing is told to the kernel. */
void kvfio_dma_forget_all(struct kvfio_device *device);
bool kvfio_dma_is_held(const struct kvfio_device *device, const struct kvfio_mapping *mapping);

/* memlock.c */
/* @return -ENOSPC */
int kvfio_memlock_explain(const struct kvfio_kernel *kernel, uint64_t wanted_bytes, struct rp_wire_why *why);
int kvfio_entries_explain(const struct kvfio_kernel *kernel, unsigned int count, struct rp_wire_why *why);

/* region.c */
int kvfio_regions_read(struct kvfio_device *device, uint32_t regions_count, struct rp_wire_why *why);
void kvfio_regions_free(struct kvfio_device *device);
int kvfio_region_access(struct kvfio_device *device, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes,
			void *bytes, bool is_write, struct rp_wire_why *why);
int kvfio_region_window(const struct kvfio_device *device, uint32_t region, uint64_t offset_bytes, uint64_t size_bytes,
			struct rp_accel_transport_window *ret_window, struct rp_wire_why *why);

/* irq.c */
/* @return vectors of one kind that signal an eventfd (0: none), or -EBADMSG, -EIO. */
int kvfio_irq_count(const struct kvfio_device *device, uint32_t index, struct rp_wire_why *why);
int kvfio_irq_arm(const struct kvfio_device *device, uint32_t index, int eventfd, struct rp_wire_why *why);
int kvfio_irq_msix(struct kvfio_device *device, uint32_t vector, int eventfd, struct rp_wire_why *why);

/* events.c */
int kvfio_events_open(struct kvfio_device *device, struct rp_wire_why *why);
/* Those that the kernel has. @param error_event_fd taken, as the other is. */
int kvfio_events_adopt(struct kvfio_device *device, int *error_event_fd, int *request_event_fd,
		       struct rp_wire_why *why);
void kvfio_events_close(struct kvfio_device *device);
/* Sets device->lost. */
void kvfio_events_look(struct kvfio_device *device);
/* Remember the first reason. @return error. */
int kvfio_lose(struct kvfio_device *device, int error, const struct rp_wire_why *why);

/* quiet.c */
void kvfio_bus_master_clear(struct kvfio_device *device);
/* The host's lock is held. */
bool kvfio_is_quiet(struct kvfio_device *device);

/* hand_over.c; the host's lock is held */
/* As rp_accel_transport_ops. */
int kvfio_give(const struct kvfio_device *device, struct rp_wire_parcel *parcel, struct rp_wire_why *why);
void kvfio_leave(struct kvfio_device *device);

/* hand_over.c */
int kvfio_transport_adopt(struct kvfio_host *host, const struct rp_vfio_config *config, struct rp_wire_parcel *parcel,
			  const struct rp_accel_memory *memories, unsigned int memories_count,
			  struct rp_accel_transport *ret_transport, struct rp_wire_why *why);

/* transport.c */
extern const struct rp_accel_transport_ops kvfio_transport_ops;
/* Without any descriptor: free(3). @return as rp_vfio_check() and kvfio_sysfs_find(). */
int kvfio_device_create(struct kvfio_host *host, const struct rp_vfio_config *config, struct kvfio_place *ret_place,
			struct kvfio_device **ret_device, struct rp_wire_why *why);
/* Into device->group, which goes on failure if nothing else is in it. The host's lock is held. @return 0, -ENOSPC. */
int kvfio_device_enter(struct kvfio_device *device, struct rp_wire_why *why);
/* From its group. */
int kvfio_device_open_fd(struct kvfio_device *device, struct rp_wire_why *why);
/* What the kernel says of it. */
int kvfio_device_inspect(struct kvfio_device *device, struct rp_wire_why *why);
/* Out of its group, which goes with its last device; its slot stays taken. The host's lock is held. */
void kvfio_device_free(struct kvfio_device *device);
int kvfio_transport_open(struct kvfio_host *host, const struct rp_vfio_config *config,
			 struct rp_accel_transport *ret_transport, struct rp_wire_why *why);

/* "3.5 MiB" in whole words of why: bytes as MiB, rounded up. */
static inline unsigned long long
kvfio_mib(uint64_t bytes)
{
	return (bytes >> 20) + ((bytes & 0xfffff) != 0);
}

#endif
