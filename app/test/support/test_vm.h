/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TEST_VM_H
#define TEST_VM_H

#include "rp_vhu_frontend.h"
#include "rp_vring_drv.h"
#include "rp_vring_position.h"
#include "test_support.h"
#include "test_viommu.h"

/*
 * A VMM and its guest in a few calls: memory in a memfd, our vhost-user frontend,
 * driver-side rings with buffers, eventfds. No virtual machine.
 */

#define TEST_VM_QUEUES_MAX 16
#define TEST_VM_GPA 0x40000000ull /* not 0: a guest-physical address taken for another kind must show */
#define TEST_VM_QUEUE_BYTES 0x100000ull
#define TEST_VM_BUFFER_BYTES 2048u
#define TEST_VM_HEADER_BYTES 12u /* struct virtio_net_hdr_v1 */
#define TEST_VM_LOG_ALL (1ull << RP_VHU_F_LOG_ALL_BIT)
#define TEST_VM_PACKED (1ull << 34) /* VIRTIO_F_RING_PACKED */
#define TEST_VM_IN_ORDER (1ull << 35) /* VIRTIO_F_IN_ORDER */
#define TEST_VM_ACCESS_PLATFORM (1ull << RP_VHU_F_ACCESS_PLATFORM_BIT)
#define TEST_VM_RING_FEATURES (TEST_VM_PACKED | TEST_VM_IN_ORDER)

struct test_vm_queue {
	struct rp_vring_drv *ring;
	uint16_t num;
	int kick_fd;
	int call_fd;
	bool started;
	uint64_t doorbell_kicks; /* stores made by this guest */
	uint64_t eventfd_kicks;
	uint16_t free_buffers[256];
	uint16_t free_count;
	uint16_t buffers_count;
};

enum test_vm_viommu {
	TEST_VM_NO_VIOMMU,
	TEST_VM_TRANSLATED, /* strict: each buffer is mapped while its chain is out */
	TEST_VM_IDENTITY, /* all of it, page by page */
	TEST_VM_IDENTITY_WHOLE, /* all of it, told at once */
};

struct test_vm {
	struct rp_vhu_frontend *frontend;
	int memory_fd;
	uint8_t *memory;
	uint64_t memory_bytes;
	uint64_t memory_at; /* where it begins in the file */
	uint64_t features;
	uint64_t ring_features; /* as asked for */
	bool indirect;
	enum test_vm_viommu viommu_kind;
	bool log_used; /* rings that start from now on are told to log the used ring, as while a guest migrates */
	unsigned int queues_count;
	struct test_vm_queue queues[TEST_VM_QUEUES_MAX];
	unsigned int maps; /* notify areas that the backend handed over */
	unsigned int unmaps;
	unsigned int config_changes; /* that the backend told of */
	struct rp_wire_why why; /* of the last refusal */
	struct test_viommu *viommu; /* NULL: the device has the guest's own addresses */
	uint64_t iova; /* of the memory, for the device */
	uint8_t *plain; /* the memory as its file has it; `memory` is as the guest's driver sees it */
	uint8_t viommu_denied; /* misses that want one of these permissions are refused */
	unsigned int misses, misses_refused, updates, invalidations;
};

struct test_vm_options {
	enum rp_vhu_profile profile;
	uint64_t protocol_features; /* 0: all that the port offers */
	uint64_t features_mask; /* of what is offered; 0: all but the ring features */
	uint64_t ring_features; /* of TEST_VM_RING_FEATURES: to negotiate; not offered fails the test */
	bool indirect; /* every chain is an indirect table of header and rest */
	enum test_vm_viommu viommu; /* with VIRTIO_F_ACCESS_PLATFORM, which must be offered */
	uint16_t num; /* entries of each ring, whatever test_vm_open() is told; 0: as that */
	bool huge; /* memory in huge pages, of which it begins and ends within one; without such it is a skip */
	uint64_t notify_slot_bytes;
	bool deaf_while_waiting;
	bool need_reply_always;
	struct rp_vhu_vfio_files *vfio_files;
};

/* Connect, negotiate, SET_FEATURES, memory table; rings are laid out but not started. Fails the test on errors. */
void test_vm_open(struct test_vm *vm, const char *socket_path, unsigned int queues_count, uint16_t num,
		  const struct test_vm_options *options);

/*
 * As above, without anything that needs an answer: only memory and rings; for a VMM that comes back.
 * options NULL: what concerns the rings is as before.
 */
void test_vm_connect(struct test_vm *vm, const char *socket_path, const struct test_vm_options *options);

/* The VMM is gone without a word (its memory and rings stay for test_vm_connect). */
void test_vm_disconnect(struct test_vm *vm);
void test_vm_close(struct test_vm *vm);

void test_vm_queue_start(struct test_vm *vm, unsigned int queue, uint32_t base);
/* What the frontend says of it; does not enable the ring. */
int test_vm_queue_try_start(struct test_vm *vm, unsigned int queue, uint32_t base, struct rp_wire_why *why);
uint32_t test_vm_queue_stop(struct test_vm *vm, unsigned int queue);
void test_vm_start_all(struct test_vm *vm);

/* The guest's driver is loaded anew: rings stop, all is unmapped, fresh rings in other places start. */
void test_vm_reload(struct test_vm *vm);

/* Fill an rx queue with empty buffers and kick. */
void test_vm_rx_fill(struct test_vm *vm, unsigned int queue);

/* Send one packet; false when the ring is full. */
bool test_vm_send(struct test_vm *vm, unsigned int queue, const void *bytes, uint32_t size_bytes);

/* Add a chain, but do not kick. */
bool test_vm_send_silently(struct test_vm *vm, unsigned int queue, const void *bytes, uint32_t size_bytes);

/* Take one received packet, give its buffer back; size, or 0 when there is none. */
uint32_t test_vm_receive(struct test_vm *vm, unsigned int queue, void *ret_bytes, uint32_t room_bytes);

/* Take sent buffers back; how many. */
unsigned int test_vm_reap(struct test_vm *vm, unsigned int queue);

/* Serve what the backend asks (notify areas) until the queue has a doorbell, or has none. */
bool test_vm_wait_doorbell(struct test_vm *vm, unsigned int queue, bool mapped, unsigned int limit_ms);

/* Kick as the guest would: doorbell when mapped, else eventfd. */
void test_vm_kick(struct test_vm *vm, unsigned int queue);

/* Interrupts that arrived since the last call. */
uint64_t test_vm_interrupts(struct test_vm *vm, unsigned int queue);

#endif
