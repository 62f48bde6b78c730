/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"
#include "test_vm.h"

#define RING_ROOM_BYTES 0x10000u
#define BUFFERS_AT (RING_ROOM_BYTES + TEST_VM_BUFFER_BYTES / 2) /* every other one lies across two pages */
#define TABLES_AT 0xc000u /* in the ring's room: indirect tables, one for each buffer */
#define TABLE_PARTS 2u

static uint64_t
queue_offset(unsigned int queue)
{
	return queue * TEST_VM_QUEUE_BYTES;
}

static uint64_t
buffer_offset(unsigned int queue, uint16_t buffer)
{
	return queue_offset(queue) + BUFFERS_AT + (uint64_t)buffer * TEST_VM_BUFFER_BYTES;
}

static int
on_notify_area(void *ctx, unsigned int queue, const struct rp_vhu_notify_map *map, struct rp_wire_why *why)
{
	struct test_vm *vm = ctx;

	(void)queue;
	(void)why;
	if (map->address != NULL)
		vm->maps++;
	else
		vm->unmaps++;
	return 0;
}

static void
on_config_changed(void *ctx)
{
	struct test_vm *vm = ctx;

	vm->config_changes++;
}

static void
on_refused(void *ctx, const struct rp_wire_why *why)
{
	struct test_vm *vm = ctx;

	vm->why = *why;
}

/* The page, or for who tells all at once, all. */
static int
on_iotlb_miss(void *ctx, uint64_t iova, uint8_t perm, bool access_fail, struct rp_wire_why *why)
{
	struct test_vm *vm = ctx;
	uint64_t at = 0, page_bytes;
	unsigned int access_mask = 0;

	assert_false(access_fail);
	assert_non_null(vm->viommu);
	vm->misses++;
	if ((perm & vm->viommu_denied) != 0 || !test_viommu_find(vm->viommu, iova, &at, &access_mask) ||
	    (vm->viommu->is_identity ? 0 : perm & ~access_mask) != 0) {
		vm->misses_refused++;
		return -EFAULT;
	}
	if (vm->viommu->is_identity)
		access_mask = TEST_VIOMMU_READ | TEST_VIOMMU_WRITE;
	vm->updates++;
	page_bytes = vm->viommu->page_bytes;
	if (vm->viommu_kind == TEST_VM_IDENTITY_WHOLE)
		return rp_vhu_frontend_iotlb_update(vm->frontend, vm->iova, vm->memory_bytes,
						    (uint64_t)(uintptr_t)vm->plain, (uint8_t)access_mask, why);
	return rp_vhu_frontend_iotlb_update(vm->frontend, iova & ~(page_bytes - 1), page_bytes,
					    (uint64_t)(uintptr_t)vm->plain + at, (uint8_t)access_mask, why);
}

static const struct rp_vhu_frontend_ops frontend_ops = {
	.notify_area = on_notify_area,
	.config_changed = on_config_changed,
	.iotlb_miss = on_iotlb_miss,
	.refused = on_refused,
};

static struct rp_vhu_region
region_of(const struct test_vm *vm)
{
	return (struct rp_vhu_region){
		.gpa = TEST_VM_GPA,
		.size_bytes = vm->memory_bytes,
		.uva = (uint64_t)(uintptr_t)vm->plain,
		.offset_bytes = vm->memory_at,
		.fd = vm->memory_fd,
	};
}

#define OK(call) test_vm_ok(call, &why, #call)

static void
test_vm_ok(int rc, const struct rp_wire_why *why, const char *call)
{
	if (rc < 0)
		fail_msg("%s: %d: %s", call, rc, why->text);
}

void
test_vm_connect(struct test_vm *vm, const char *socket_path, const struct test_vm_options *options)
{
	struct test_vm_options none = {.ring_features = vm->ring_features, .indirect = vm->indirect};
	struct rp_wire_why why = {0};
	struct rp_vhu_frontend_config config;
	struct rp_vhu_region region = region_of(vm);
	int fd = -1;

	if (options == NULL)
		options = &none;
	config = (struct rp_vhu_frontend_config){
		.profile = options->profile,
		.protocol_features = options->protocol_features ? options->protocol_features : UINT64_MAX,
		.queues_max = (uint16_t)vm->queues_count,
		.notify_slot_bytes = options->notify_slot_bytes,
		.deaf_while_waiting = options->deaf_while_waiting,
		.need_reply_always = options->need_reply_always,
		.vfio_files = options->vfio_files,
	};
	OK(rp_wire_socket_connect(socket_path, &fd, &why));
	OK(rp_vhu_frontend_create(&fd, &config, &frontend_ops, vm, &vm->frontend));
	OK(rp_vhu_frontend_negotiate(vm->frontend, &why));
	vm->features = rp_vhu_frontend_features_offered(vm->frontend);
	vm->ring_features = options->ring_features;
	vm->indirect = options->indirect;
	if ((vm->ring_features & ~vm->features) != 0)
		fail_msg("ring features 0x%" PRIx64 " are not offered", vm->ring_features & ~vm->features);
	vm->features &= ~TEST_VM_RING_FEATURES | vm->ring_features;
	if (vm->viommu == NULL)
		vm->features &= ~TEST_VM_ACCESS_PLATFORM;
	else if ((vm->features & TEST_VM_ACCESS_PLATFORM) == 0)
		fail_msg("ACCESS_PLATFORM is not offered");
	vm->features &= ~TEST_VM_LOG_ALL; /* a migration begins later, if at all */
	if (options->features_mask != 0)
		vm->features &= options->features_mask;
	OK(rp_vhu_frontend_set_features(vm->frontend, vm->features, &why));
	OK(rp_vhu_frontend_set_mem_table(vm->frontend, &region, 1, &why));
}

static void
queue_open(struct test_vm *vm, unsigned int index, uint16_t num)
{
	struct test_vm_queue *queue = &vm->queues[index];
	uint64_t offset = queue_offset(index);
	uint16_t i;

	assert_true(rp_vring_drv_bytes(num, vm->features) <= TABLES_AT);
	queue->num = num;
	if (queue->kick_fd <= 0) {
		queue->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		queue->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	assert_true(queue->kick_fd >= 0 && queue->call_fd >= 0);
	if (vm->viommu != NULL)
		test_viommu_map(vm->viommu, offset, RING_ROOM_BYTES, TEST_VIOMMU_READ | TEST_VIOMMU_WRITE);
	assert_int_equal(rp_vring_drv_create(num, vm->memory + offset, vm->iova + offset, vm->features, &queue->ring),
			 0);
	queue->free_count = queue->buffers_count = num < 256 ? num : 256;
	for (i = 0; i < queue->free_count; i++)
		queue->free_buffers[i] = i;
}

static size_t
file_bytes(const struct test_vm *vm)
{
	size_t unit_bytes = vm->memory_at == 0 ? 1 : TEST_HUGE_PAGE_BYTES;

	return (size_t)(vm->memory_at + vm->memory_bytes + unit_bytes - 1) / unit_bytes * unit_bytes;
}

static void
open_memory(struct test_vm *vm, bool huge)
{
	uint8_t *file;

	vm->memory_at = huge ? TEST_HUGE_PAGE_BYTES + TEST_HUGE_PAGE_BYTES / 4 : 0;
	vm->memory_fd = huge ? test_huge_memfd(file_bytes(vm)) : test_memfd(file_bytes(vm), false);
	file = mmap(NULL, file_bytes(vm), PROT_READ | PROT_WRITE, MAP_SHARED, vm->memory_fd, 0);
	assert_true(file != MAP_FAILED);
	vm->memory = vm->plain = file + vm->memory_at;
}

void
test_vm_open(struct test_vm *vm, const char *socket_path, unsigned int queues_count, uint16_t num,
	     const struct test_vm_options *options)
{
	unsigned int i;

	memset(vm, 0, sizeof(*vm));
	assert_true(queues_count <= TEST_VM_QUEUES_MAX);
	vm->queues_count = queues_count;
	vm->memory_bytes = queues_count * TEST_VM_QUEUE_BYTES;
	open_memory(vm, options != NULL && options->huge);
	vm->iova = TEST_VM_GPA;
	if (options != NULL && options->viommu != TEST_VM_NO_VIOMMU) {
		vm->viommu_kind = options->viommu;
		vm->viommu = test_viommu_create(vm->memory_fd, vm->memory_bytes, TEST_VM_GPA,
						options->viommu != TEST_VM_TRANSLATED);
		vm->iova = vm->viommu->iova;
		vm->memory = vm->viommu->view;
	}
	test_vm_connect(vm, socket_path, options);
	for (i = 0; i < queues_count; i++)
		queue_open(vm, i, options != NULL && options->num != 0 ? options->num : num);
}

void
test_vm_disconnect(struct test_vm *vm)
{
	unsigned int i;

	vm->frontend = rp_vhu_frontend_destroy(vm->frontend);
	for (i = 0; i < vm->queues_count; i++)
		vm->queues[i].started = false;
}

void
test_vm_close(struct test_vm *vm)
{
	unsigned int i;

	test_vm_disconnect(vm);
	for (i = 0; i < vm->queues_count; i++) {
		vm->queues[i].ring = rp_vring_drv_destroy(vm->queues[i].ring);
		rp_wire_fd_close(&vm->queues[i].kick_fd);
		rp_wire_fd_close(&vm->queues[i].call_fd);
	}
	if (vm->viommu != NULL)
		test_viommu_assert_untouched(vm->viommu);
	vm->viommu = test_viommu_destroy(vm->viommu);
	munmap(vm->plain - vm->memory_at, file_bytes(vm));
	rp_wire_fd_close(&vm->memory_fd);
}

int
test_vm_queue_try_start(struct test_vm *vm, unsigned int index, uint32_t base, struct rp_wire_why *why)
{
	struct test_vm_queue *queue = &vm->queues[index];
	struct rp_vring_layout layout;
	struct rp_vhu_frontend_ring ring;
	/* With an IOMMU the rings are where the device finds them. */
	uint64_t uva = vm->viommu != NULL ? 0 : (uint64_t)(uintptr_t)vm->plain - TEST_VM_GPA;

	rp_vring_drv_layout(queue->ring, &layout);
	ring = (struct rp_vhu_frontend_ring){
		.num = layout.num,
		.base = base,
		.desc_uva = layout.desc_iova + uva,
		.avail_uva = layout.avail_iova + uva,
		.used_uva = layout.used_iova + uva,
		.flags = vm->log_used ? RP_VHU_VRING_ADDR_LOG_MASK : 0,
		.log_gpa = vm->log_used ? layout.used_iova : 0,
		.kick_fd = queue->kick_fd,
		.call_fd = queue->call_fd,
	};
	return rp_vhu_frontend_ring_start(vm->frontend, index, &ring, why);
}

void
test_vm_queue_start(struct test_vm *vm, unsigned int index, uint32_t base)
{
	struct rp_wire_why why = {0};

	OK(test_vm_queue_try_start(vm, index, base, &why));
	OK(rp_vhu_frontend_ring_enable(vm->frontend, index, true, &why));
	vm->queues[index].started = true;
}

uint32_t
test_vm_queue_stop(struct test_vm *vm, unsigned int index)
{
	struct rp_wire_why why = {0};
	uint32_t base = 0;

	OK(rp_vhu_frontend_ring_stop(vm->frontend, index, &base, &why));
	vm->queues[index].started = false;
	return base;
}

void
test_vm_start_all(struct test_vm *vm)
{
	unsigned int i;

	for (i = 0; i < vm->queues_count; i++)
		test_vm_queue_start(vm, i, rp_vring_position_fresh(vm->features));
	for (i = 0; i < vm->queues_count; i += 2)
		test_vm_rx_fill(vm, i);
}

void
test_vm_reload(struct test_vm *vm)
{
	struct rp_wire_why why = {0};
	unsigned int i;

	for (i = 0; i < vm->queues_count; i++)
		if (vm->queues[i].started)
			test_vm_queue_stop(vm, i);
	if (vm->viommu != NULL) {
		vm->invalidations++;
		OK(rp_vhu_frontend_iotlb_invalidate(vm->frontend, 0, UINT64_MAX, &why));
		for (i = 0; i < vm->viommu->pages_count; i++)
			vm->viommu->pages[i].readers = vm->viommu->pages[i].writers = 0;
		test_viommu_assert_untouched(vm->viommu);
		test_viommu_shuffle(vm->viommu, vm->memory_fd);
	}
	for (i = 0; i < vm->queues_count; i++) {
		uint16_t num = vm->queues[i].num;

		vm->queues[i].ring = rp_vring_drv_destroy(vm->queues[i].ring);
		queue_open(vm, i, num);
	}
}

void
test_vm_kick(struct test_vm *vm, unsigned int index)
{
	if (rp_vhu_frontend_kick(vm->frontend, index) == 1)
		vm->queues[index].doorbell_kicks++;
	else
		vm->queues[index].eventfd_kicks++;
}

/* Rings of a network card: the odd ones transmit. */
static unsigned int
access_of(unsigned int index)
{
	return index % 2 == 0 ? TEST_VIOMMU_WRITE : TEST_VIOMMU_READ;
}

static void
map_buffer(struct test_vm *vm, unsigned int index, uint16_t buffer)
{
	if (vm->viommu != NULL)
		test_viommu_map(vm->viommu, buffer_offset(index, buffer), TEST_VM_BUFFER_BYTES, access_of(index));
}

static void
unmap_buffer(struct test_vm *vm, unsigned int index, uint16_t buffer)
{
	uint64_t offset = buffer_offset(index, buffer), page_bytes, at;
	struct rp_wire_why why = {0};

	if (vm->viommu == NULL || !test_viommu_unmap(vm->viommu, offset, TEST_VM_BUFFER_BYTES, access_of(index)) ||
	    vm->viommu->is_identity)
		return;
	/* Page by page: its neighbours' are still mapped. */
	page_bytes = vm->viommu->page_bytes;
	for (at = offset & ~(page_bytes - 1); at < offset + TEST_VM_BUFFER_BYTES; at += page_bytes) {
		if (test_viommu_is_mapped(vm->viommu, at))
			continue;
		vm->invalidations++;
		OK(rp_vhu_frontend_iotlb_invalidate(vm->frontend, vm->iova + at, page_bytes, &why));
	}
	test_viommu_fill(vm->viommu);
}

static int
add_chain(struct test_vm *vm, unsigned int index, uint16_t buffer, uint32_t size_bytes, bool device_writes)
{
	struct test_vm_queue *queue = &vm->queues[index];
	uint64_t iova = vm->iova + buffer_offset(index, buffer);
	uint64_t table = queue_offset(index) + TABLES_AT + buffer * RP_VRING_TABLE_BYTES(TABLE_PARTS);
	struct rp_vring_part parts[TABLE_PARTS] = {
		{.iova = iova, .size_bytes = size_bytes, .device_writes = device_writes},
	};
	void *cookie = (void *)(uintptr_t)(buffer + 1u);

	if (!vm->indirect)
		return rp_vring_drv_add(queue->ring, parts, 1, cookie);
	parts[1] = (struct rp_vring_part){
		.iova = iova + TEST_VM_HEADER_BYTES,
		.size_bytes = size_bytes - TEST_VM_HEADER_BYTES,
		.device_writes = device_writes,
	};
	parts[0].size_bytes = TEST_VM_HEADER_BYTES;
	return rp_vring_drv_add_indirect(queue->ring, parts, TABLE_PARTS, vm->memory + table, vm->iova + table, cookie);
}

static bool
add_buffer(struct test_vm *vm, unsigned int index, uint32_t size_bytes, bool device_writes, uint16_t *ret_buffer)
{
	struct test_vm_queue *queue = &vm->queues[index];
	uint16_t buffer;

	if (queue->free_count == 0)
		return false;
	buffer = queue->free_buffers[queue->free_count - 1];
	*ret_buffer = buffer;
	map_buffer(vm, index, buffer);
	if (add_chain(vm, index, buffer, size_bytes, device_writes) < 0) {
		unmap_buffer(vm, index, buffer);
		return false;
	}
	queue->free_count--;
	return true;
}

void
test_vm_rx_fill(struct test_vm *vm, unsigned int index)
{
	uint16_t buffer;
	bool any = false;

	while (add_buffer(vm, index, TEST_VM_BUFFER_BYTES, true, &buffer))
		any = true;
	if (any && rp_vring_drv_needs_kick(vm->queues[index].ring))
		test_vm_kick(vm, index);
}

bool
test_vm_send_silently(struct test_vm *vm, unsigned int index, const void *bytes, uint32_t size_bytes)
{
	struct test_vm_queue *queue = &vm->queues[index];
	uint8_t *at;

	assert_true(size_bytes + TEST_VM_HEADER_BYTES <= TEST_VM_BUFFER_BYTES);
	test_vm_reap(vm, index);
	if (queue->free_count == 0)
		return false;
	at = vm->memory + buffer_offset(index, queue->free_buffers[queue->free_count - 1]);
	if (vm->viommu != NULL)
		test_viommu_touch(vm->viommu, (uint64_t)(at - vm->memory), TEST_VM_BUFFER_BYTES);
	memset(at, 0, TEST_VM_HEADER_BYTES);
	memcpy(at + TEST_VM_HEADER_BYTES, bytes, size_bytes);
	return add_buffer(vm, index, size_bytes + TEST_VM_HEADER_BYTES, false, &(uint16_t){0});
}

bool
test_vm_send(struct test_vm *vm, unsigned int index, const void *bytes, uint32_t size_bytes)
{
	if (!test_vm_send_silently(vm, index, bytes, size_bytes))
		return false;
	if (rp_vring_drv_needs_kick(vm->queues[index].ring))
		test_vm_kick(vm, index);
	return true;
}

unsigned int
test_vm_reap(struct test_vm *vm, unsigned int index)
{
	struct test_vm_queue *queue = &vm->queues[index];
	unsigned int reaped = 0;
	uint32_t written;
	void *cookie;
	int rc;

	while ((rc = rp_vring_drv_get(queue->ring, &cookie, &written)) == 1) {
		queue->free_buffers[queue->free_count++] = (uint16_t)((uintptr_t)cookie - 1);
		unmap_buffer(vm, index, (uint16_t)((uintptr_t)cookie - 1));
		reaped++;
	}
	assert_int_equal(rc, 0);
	return reaped;
}

uint32_t
test_vm_receive(struct test_vm *vm, unsigned int index, void *ret_bytes, uint32_t room_bytes)
{
	struct test_vm_queue *queue = &vm->queues[index];
	uint16_t buffer;
	uint32_t written;
	void *cookie;
	int rc = rp_vring_drv_get(queue->ring, &cookie, &written);

	assert_true(rc == 0 || rc == 1);
	if (rc == 0)
		return 0;
	buffer = (uint16_t)((uintptr_t)cookie - 1);
	assert_true(written > TEST_VM_HEADER_BYTES && written <= TEST_VM_BUFFER_BYTES);
	written -= TEST_VM_HEADER_BYTES;
	assert_true(written <= room_bytes);
	memcpy(ret_bytes, vm->memory + buffer_offset(index, buffer) + TEST_VM_HEADER_BYTES, written);
	unmap_buffer(vm, index, buffer);
	queue->free_buffers[queue->free_count++] = buffer;
	test_vm_rx_fill(vm, index);
	return written;
}

bool
test_vm_wait_doorbell(struct test_vm *vm, unsigned int queue, bool mapped, unsigned int limit_ms)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + limit_ms;

	do {
		rp_vhu_frontend_process(vm->frontend);
		if ((rp_vhu_frontend_notify_map(vm->frontend, queue).address != NULL) == mapped)
			return true;
		usleep(200);
	} while (rp_wire_clock_ms() < deadline_ms);
	return false;
}

uint64_t
test_vm_interrupts(struct test_vm *vm, unsigned int queue)
{
	uint64_t count = 0;

	return read(vm->queues[queue].call_fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}
