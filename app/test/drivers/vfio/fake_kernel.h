/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FAKE_KERNEL_H
#define FAKE_KERNEL_H

#include <linux/vfio.h>

#include "rp_wire_fd.h"
#include "test_support.h"
#include "kvfio.h"

/*
 * VFIO inside of the test: groups, containers and devices behind the driver's table of kernel calls. Its descriptors
 * are real memfds, told apart by inode, so that duplicates are what they are and leaks are counted. Everything that a
 * kernel answers can be bent. sysfs, /dev/vfio and /proc are directories of files and links.
 *
 *   0000:00:04.0  group 4, alone, no function reset
 *   0000:01:00.0  group 7, resettable
 *   0000:01:00.1  group 7
 *   0000:00:05.0  group 5, bound to virtio-pci
 *   0000:00:06.0  no group, as without an IOMMU
 */

#define FAKE_DEVICES 3u
#define FAKE_GROUPS 2u
#define FAKE_CONTAINERS 4u
#define FAKE_MAPPINGS 70000u
#define FAKE_REGIONS 9u
#define FAKE_VECTORS 4u
#define FAKE_CONFIG 7u
#define FAKE_BAR_BYTES 0x8000u
#define FAKE_ANSWER_BYTES 4096u

#define FAKE_ALONE "0000:00:04.0"
#define FAKE_FIRST "0000:01:00.0"
#define FAKE_SECOND "0000:01:00.1"

/* An answer with capabilities, as a test wants it. */
struct fake_answer {
	uint8_t bytes[FAKE_ANSWER_BYTES];
	uint32_t size_bytes; /* said in argsz; what does not fit the question's room is left out */
	bool grows; /* it asks for more room each time */
};

struct fake_mapping {
	uint64_t iova;
	uint64_t size_bytes;
	uint64_t hva;
};

struct fake_container {
	ino_t inode; /* 0: none */
	unsigned int groups_count;
	bool has_iommu;
	struct fake_mapping *mappings;
	unsigned int mappings_count;
};

struct fake_group {
	unsigned int number;
	ino_t inode; /* of who has it open; 0: nobody */
	struct fake_container *container;
	uint32_t flags;
};

struct fake_device {
	const char *address;
	struct fake_group *group;
	ino_t inode; /* 0: not open */
	struct vfio_device_info info;
	struct fake_answer regions[FAKE_REGIONS];
	struct vfio_irq_info irqs[VFIO_PCI_NUM_IRQS];
	int eventfds[VFIO_PCI_NUM_IRQS][FAKE_VECTORS]; /* duplicates, -1: none */
	uint32_t enabled_count; /* MSI-X vectors */
	unsigned int enables_count;
	unsigned int resets_count;
	bool keeps_master; /* the bit in its command register cannot be cleared */
};

struct fake_kernel {
	struct kvfio_kernel kernel;
	struct kvfio_host host;
	char root[64];
	char sysfs[80], dev[80], proc[80];

	struct fake_container containers[FAKE_CONTAINERS];
	struct fake_group groups[FAKE_GROUPS];
	struct fake_device devices[FAKE_DEVICES];
	struct fake_answer iommu;

	/* What goes wrong, and how often. */
	unsigned int busy_opens; /* opening a group: -EBUSY */
	int open_error; /* of a group, negative errno */
	int version;
	bool no_type1;
	int set_container_error, set_iommu_error, device_fd_error, map_error, unmap_error, irqs_error;
	uint64_t unmap_short_bytes;
	int irqs_room; /* positive: so many vectors can be had */
	unsigned int unset_busy; /* taking a group out of its container: -EBUSY so many times */
	unsigned int reset_again; /* -EAGAIN so many times */
	ssize_t access_result; /* of pread and pwrite, unless 0 */
	bool all_ones; /* reads */

	uint32_t slept_ms;
	unsigned int sleeps_count;
	unsigned int ioctls_count, unset_count, mapped_most;
	unsigned int irq_sets_count, unmaps_count, maps_count, set_container_count;
	unsigned int device_opens_count; /* first ones: the kernel resets a device for that */
	unsigned int writes_count; /* of registers */
};

struct fake_kernel *fake_kernel_new(void);
void fake_kernel_free(struct fake_kernel *fake);

struct fake_device *fake_find(struct fake_kernel *fake, const char *address);
unsigned int fake_mapped(const struct fake_kernel *fake); /* in all containers */

/* fake_dma.c: of a container */
int fake_map_dma(struct fake_kernel *fake, struct fake_container *container,
		 const struct vfio_iommu_type1_dma_map *map);
int fake_unmap_dma(struct fake_kernel *fake, struct fake_container *container,
		   struct vfio_iommu_type1_dma_unmap *unmap);

/* fake_files.c */
void fake_files_make(struct fake_kernel *fake);
void fake_files_remove(struct fake_kernel *fake);

/* Files below the fake roots. */
void fake_file(const char *root, const char *path, const char *text);
void fake_link(const char *root, const char *path, const char *target);
void fake_remove(const char *root, const char *path);
void fake_bind(struct fake_kernel *fake, const char *address, const char *driver); /* NULL: to none */

/* The start of an answer; fields in the machine's own order, as an ioctl has them. */
void fake_answer_region(struct fake_answer *answer, uint32_t index, uint64_t size_bytes, uint32_t flags);
void fake_answer_iommu(struct fake_answer *answer, uint64_t page_sizes);
/* Append a capability and hang it into the chain. @return where it starts. */
uint32_t fake_answer_add(struct fake_answer *answer, uint32_t offset_of_first, uint16_t id, const void *body,
			 size_t body_bytes);
#define FAKE_REGION_FIRST offsetof(struct vfio_region_info, cap_offset)
#define FAKE_IOMMU_FIRST offsetof(struct vfio_iommu_type1_info, cap_offset)

/* Open a device on the fake, and say why not. */
int fake_open(struct fake_kernel *fake, const char *address, const char *container,
	      struct rp_accel_transport *ret_transport, struct rp_wire_why *why);

#endif
