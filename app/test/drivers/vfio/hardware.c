/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The transport on the kernel's own VFIO. Runs where there are PCI functions bound to vfio-pci that nobody uses, as
 * root: in the hardware VM, by app/test/e2e/test_vfio_kernel.py.
 *
 *   RINGPASS_VFIO_DEVICES="0000:00:10.0 0000:01:00.0 0000:02:01.0 0000:02:02.0" test_vfio_hardware
 *       one on the root bus, one behind a root port, two of one group
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rp_dma_section.h"
#include "rp_vfio.h"
#include "rp_wire_fd.h"
#include "test_support.h"

#define MIB 0x100000u
#define MSI_WINDOW 0xfee00000u
#define ENTRY_LIMIT "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit"

#define DEVICES 4u

struct fixture {
	char addresses[DEVICES][24]; /* on the root bus, behind a root port, two of one group */
	struct rp_accel_transport transports[DEVICES];
	struct rp_wire_why why;
	struct test_leaks leaks;
};

static int
open_one(struct fixture *fixture, unsigned int number, const char *container, uint32_t busy_wait_ms)
{
	const struct rp_vfio_config config = {
		.device = fixture->addresses[number],
		.busy_wait_ms = busy_wait_ms,
		.container = container,
		.container_fd = -1,
		.group_fd = -1,
	};

	return rp_vfio_open(&config, &fixture->transports[number], &fixture->why);
}

static struct rp_accel_transport *
open_ok(struct fixture *fixture, unsigned int number, const char *container)
{
	int rc = open_one(fixture, number, container, 0);

	if (rc < 0)
		print_error("%s\n", fixture->why.text);
	assert_int_equal(rc, 0);
	return &fixture->transports[number];
}

static void
close_one(struct rp_accel_transport *transport)
{
	if (transport->ops != NULL)
		transport->ops->close(transport->priv);
	transport->ops = NULL;
}

static void
said(struct fixture *fixture, const char *words)
{
	if (strstr(fixture->why.text, words) == NULL)
		print_error("said: %s\n", fixture->why.text);
	assert_non_null(strstr(fixture->why.text, words));
}

static int
setup(void **state)
{
	const char *text = getenv("RINGPASS_VFIO_DEVICES");
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	test_leaks_read(&fixture->leaks);
	assert_non_null(text);
	assert_int_equal(sscanf(text, "%23s %23s %23s %23s", fixture->addresses[0], fixture->addresses[1],
				fixture->addresses[2], fixture->addresses[3]),
			 DEVICES);
	*state = fixture;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *fixture = *state;
	unsigned int i;

	for (i = 0; i < DEVICES; i++)
		close_one(&fixture->transports[i]);
	test_leaks_assert_none(&fixture->leaks);
	free(fixture);
	return 0;
}

/* Pages that VFIO has pinned for this process, as the kernel accounts them. */
static uint64_t
locked_bytes(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	unsigned long long kib = 0;
	char line[256];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "VmLck: %llu", &kib) == 1)
			break;
	fclose(file);
	return kib * 1024;
}

static int
map(struct fixture *fixture, unsigned int number, uint64_t iova, uint64_t size_bytes, int fd)
{
	struct rp_accel_transport *transport = &fixture->transports[number];

	return transport->ops->dma_map(transport->priv, iova, size_bytes, fd, 0, NULL, &fixture->why);
}

static int
unmap(struct fixture *fixture, unsigned int number, uint64_t iova, uint64_t size_bytes)
{
	struct rp_accel_transport *transport = &fixture->transports[number];

	return transport->ops->dma_unmap(transport->priv, iova, size_bytes, &fixture->why);
}

static void
what_the_device_is(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *transport = open_ok(fixture, 0, NULL);
	struct rp_accel_transport_info info;
	uint64_t size_bytes = 0;
	uint16_t vendor = 0;

	transport->ops->get_info(transport->priv, &info);
	assert_string_equal(info.device, fixture->addresses[0]);
	assert_true(info.msix_count >= 3);
	assert_false(info.resettable);
	assert_int_equal(info.iova_page_bytes, sysconf(_SC_PAGESIZE));
	/* The MSI window lies between two ranges. */
	assert_true(info.iova_ranges_count >= 2);
	assert_true(rp_dma_iova_allowed(info.iova_ranges, info.iova_ranges_count, 0, 64 * MIB));
	assert_false(rp_dma_iova_allowed(info.iova_ranges, info.iova_ranges_count, MSI_WINDOW, 0x1000));
	assert_int_equal(
		transport->ops->region_size(transport->priv, RP_ACCEL_TRANSPORT_CONFIG_REGION, &size_bytes, NULL), 0);
	assert_true(size_bytes >= 256);
	assert_int_equal(transport->ops->region_read(transport->priv, RP_ACCEL_TRANSPORT_CONFIG_REGION, PCI_VENDOR_ID,
						     2, &vendor, &fixture->why),
			 0);
	assert_int_equal(vendor, 0x1af4);
	assert_int_equal(transport->ops->process(transport->priv, NULL), 0);
}

static void
command(struct rp_accel_transport *transport, uint16_t set_mask)
{
	uint16_t value = 0;

	assert_int_equal(transport->ops->region_read(transport->priv, RP_ACCEL_TRANSPORT_CONFIG_REGION, PCI_COMMAND, 2,
						     &value, NULL),
			 0);
	value |= set_mask;
	assert_int_equal(transport->ops->region_write(transport->priv, RP_ACCEL_TRANSPORT_CONFIG_REGION, PCI_COMMAND, 2,
						      &value, NULL),
			 0);
}

/* QEMU's modern virtio device: BAR 4, common configuration at 0; num_queues at 0x12. */
static void
registers_by_call_and_by_store(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *transport = open_ok(fixture, 0, NULL);
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	struct rp_accel_transport_window window;
	uint16_t by_call = 0;
	volatile uint16_t *page;

	command(transport, PCI_COMMAND_MEMORY);
	assert_int_equal(transport->ops->region_read(transport->priv, 4, 0x12, 2, &by_call, &fixture->why), 0);
	assert_true(by_call >= 2);
	assert_int_equal(transport->ops->region_window(transport->priv, 4, 0, page_bytes, &window, &fixture->why), 0);
	page = mmap(NULL, page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, window.fd, (off_t)window.offset_bytes);
	assert_true(page != MAP_FAILED);
	assert_int_equal(page[0x12 / 2], by_call);
	munmap((void *)(uintptr_t)page, page_bytes);
	assert_int_equal(transport->ops->region_window(transport->priv, RP_ACCEL_TRANSPORT_CONFIG_REGION, 0, page_bytes,
						       &window, &fixture->why),
			 -ENOTSUP);
}

/* vfio-pci's own way to raise an interrupt without a device that wants one. */
static void
interrupt(const struct rp_accel_transport *transport, uint32_t vector)
{
	struct rp_accel_transport_window window;
	const struct vfio_irq_set set = {
		.argsz = sizeof(set),
		.flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_MSIX_IRQ_INDEX,
		.start = vector,
		.count = 1,
	};

	assert_int_equal(transport->ops->region_window(transport->priv, 4, 0, 0x1000, &window, NULL), 0);
	assert_int_equal(ioctl(window.fd, VFIO_DEVICE_SET_IRQS, &set), 0);
}

static unsigned int
taken(int fd)
{
	eventfd_t count = 0;

	return eventfd_read(fd, &count) == 0 ? (unsigned int)count : 0;
}

static void
vectors_alone_and_again(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *transport = open_ok(fixture, 0, NULL);
	RP_WIRE_FD_SCOPED int first = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	RP_WIRE_FD_SCOPED int second = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_int_equal(transport->ops->irq_set(transport->priv, 1, first, &fixture->why), 0);
	assert_int_equal(transport->ops->irq_set(transport->priv, 2, second, &fixture->why), 0);
	interrupt(transport, 1);
	interrupt(transport, 2);
	assert_int_equal(taken(first), 1);
	assert_int_equal(taken(second), 1);
	/* As a VMM does that masks a vector: another eventfd, and the first again. */
	assert_int_equal(transport->ops->irq_set(transport->priv, 1, second, &fixture->why), 0);
	interrupt(transport, 1);
	assert_int_equal(taken(first), 0);
	assert_int_equal(taken(second), 1);
	assert_int_equal(transport->ops->irq_set(transport->priv, 1, -1, &fixture->why), 0);
	interrupt(transport, 1);
	interrupt(transport, 2);
	assert_int_equal(taken(first), 0);
	assert_int_equal(taken(second), 1);
	assert_int_equal(transport->ops->irq_set(transport->priv, 1, first, &fixture->why), 0);
	interrupt(transport, 1);
	assert_int_equal(taken(first), 1);
	/* Not an eventfd. */
	assert_int_equal(transport->ops->irq_set(transport->priv, 1, STDIN_FILENO, &fixture->why), -EINVAL);
}

static void
memory_is_pinned_and_let_go(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = test_memfd(8 * MIB, true);

	open_ok(fixture, 0, NULL);
	assert_int_equal(locked_bytes(), 0);
	assert_int_equal(map(fixture, 0, 0, 8 * MIB, fd), 0);
	assert_int_equal(locked_bytes(), 8 * MIB);
	assert_int_equal(map(fixture, 0, 4 * MIB, MIB, fd), -EEXIST);
	assert_int_equal(map(fixture, 0, MSI_WINDOW, MIB, fd), -ENOSPC);
	said(fixture, "in a range that it reserves");
	assert_int_equal(map(fixture, 0, UINT64_C(1) << 62, MIB, fd), -ENOSPC);
	assert_int_equal(map(fixture, 0, 0x80000800, MIB, fd), -ENOSPC);
	assert_int_equal(unmap(fixture, 0, 0, 8 * MIB), 0);
	assert_int_equal(locked_bytes(), 0);
	assert_int_equal(map(fixture, 0, 4 * MIB, MIB, fd), 0);
	close_one(&fixture->transports[0]);
	assert_int_equal(locked_bytes(), 0);
}

static void
two_groups_in_one_container_pin_once(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = test_memfd(8 * MIB, true);

	open_ok(fixture, 0, "vm0");
	open_ok(fixture, 1, "vm0");
	assert_int_equal(map(fixture, 0, 0, 8 * MIB, fd), 0);
	assert_int_equal(map(fixture, 1, 0, 8 * MIB, fd), 0);
	assert_int_equal(locked_bytes(), 8 * MIB);
	assert_int_equal(unmap(fixture, 0, 0, 8 * MIB), 0);
	assert_int_equal(locked_bytes(), 8 * MIB);
	/* The group leaves, the container and what the other has in it stay. */
	close_one(&fixture->transports[0]);
	assert_int_equal(locked_bytes(), 8 * MIB);
	open_ok(fixture, 0, NULL);
	assert_int_equal(map(fixture, 0, 0, 8 * MIB, fd), 0);
	assert_int_equal(locked_bytes(), 16 * MIB);
}

/* Device memory is mapped like any other, whole pages of it, and its owner may be anywhere. */
static void
a_bar_of_another_function(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *user = open_ok(fixture, 0, NULL), *owner = open_ok(fixture, 1, NULL);
	uint64_t size_bytes = 0, page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), locked = locked_bytes();
	struct rp_accel_transport_window window;
	const uint16_t off = 0;
	void *bar = NULL;

	assert_int_equal(owner->ops->region_size(owner->priv, 4, &size_bytes, NULL), 0);
	assert_int_equal(owner->ops->region_window(owner->priv, 4, 0, size_bytes, &window, &fixture->why), 0);
	assert_int_equal(rp_dma_section_memory(window.fd, window.offset_bytes, size_bytes, page_bytes, &bar), 0);
	/* While the function does not decode its memory, there is none. */
	assert_int_equal(
		owner->ops->region_write(owner->priv, RP_ACCEL_TRANSPORT_CONFIG_REGION, PCI_COMMAND, 2, &off, NULL), 0);
	assert_int_equal(user->ops->dma_map(user->priv, 4 * MIB, page_bytes, -1, 0, bar, &fixture->why), -EFAULT);
	command(owner, PCI_COMMAND_MEMORY);
	assert_int_equal(
		user->ops->dma_map(user->priv, 4 * MIB, page_bytes + page_bytes / 2, -1, 0, bar, &fixture->why),
		-ENOSPC);
	said(fixture, "expected multiples of the IOMMU's page");
	assert_int_equal(user->ops->dma_map(user->priv, MSI_WINDOW, page_bytes, -1, 0, bar, &fixture->why), -ENOSPC);
	if (user->ops->dma_map(user->priv, 4 * MIB, size_bytes, -1, 0, bar, &fixture->why) != 0)
		fail_msg("%s", fixture->why.text);
	/* It is not memory that could be pinned. */
	assert_int_equal(locked_bytes(), locked);
	assert_int_equal(user->ops->dma_map(user->priv, 4 * MIB, page_bytes, -1, 0, bar, &fixture->why), -EEXIST);
	/* The kernel says how much was there. */
	assert_int_equal(user->ops->dma_unmap(user->priv, 4 * MIB, size_bytes, &fixture->why), 0);
	munmap(bar, size_bytes);
}

static void
two_devices_of_one_group(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = test_memfd(8 * MIB, true), event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct rp_accel_transport_info first, second;
	struct rp_accel_transport *transport;

	transport = open_ok(fixture, 2, NULL);
	transport->ops->get_info(transport->priv, &first);
	transport = open_ok(fixture, 3, NULL);
	transport->ops->get_info(transport->priv, &second);
	assert_int_equal(first.vfio_file_fd, second.vfio_file_fd);
	assert_int_equal(open_one(fixture, 2, NULL, 0), -EBUSY);
	said(fixture, "is open already in this process");
	assert_int_equal(map(fixture, 2, 0, 8 * MIB, fd), 0);
	assert_int_equal(map(fixture, 3, 0, 8 * MIB, fd), 0);
	assert_int_equal(locked_bytes(), 8 * MIB);
	close_one(&fixture->transports[2]);
	assert_int_equal(locked_bytes(), 8 * MIB);
	/* The other goes on. */
	assert_int_equal(transport->ops->irq_set(transport->priv, 1, event, &fixture->why), 0);
	interrupt(transport, 1);
	assert_int_equal(taken(event), 1);
	open_ok(fixture, 2, NULL);
	assert_int_equal(map(fixture, 2, 0, 8 * MIB, fd), 0);
	assert_int_equal(unmap(fixture, 3, 0, 8 * MIB), 0);
	assert_int_equal(locked_bytes(), 8 * MIB);
}

static void
a_group_file_in_another_hand(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *transport = open_ok(fixture, 0, NULL);
	RP_WIRE_FD_SCOPED int fd = test_memfd(MIB, true), held = -1;
	struct vfio_group_status status = {.argsz = sizeof(status)};
	struct rp_accel_transport_info info;

	transport->ops->get_info(transport->priv, &info);
	held = rp_wire_fd_dup(info.vfio_file_fd);
	assert_int_equal(map(fixture, 0, 0, MIB, fd), 0);
	close_one(transport);
	/* As with a VMM that has it in its KVM device. */
	assert_int_equal(locked_bytes(), 0);
	assert_int_equal(ioctl(held, VFIO_GROUP_GET_STATUS, &status), 0);
	assert_int_equal(status.flags, VFIO_GROUP_FLAGS_VIABLE);
	assert_int_equal(open_one(fixture, 0, NULL, 50), -EBUSY);
	said(fixture, "is still open in another process after 50 ms");
}

/* A child that has the group, and gives it back after a while: what a restart meets. */
static void
a_group_that_comes_free(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int ready = eventfd(0, EFD_CLOEXEC);
	const struct timespec while_open = {.tv_nsec = 300 * 1000000};
	eventfd_t count;
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		int rc = open_one(fixture, 0, NULL, 0);

		eventfd_write(ready, 1);
		nanosleep(&while_open, NULL);
		_exit(rc == 0 ? 0 : 1);
	}
	assert_int_equal(eventfd_read(ready, &count), 0);
	assert_int_equal(open_one(fixture, 0, NULL, 1), -EBUSY);
	assert_int_equal(open_one(fixture, 0, NULL, 20000), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void
drop_memlock_capability(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	const struct rlimit limit = {.rlim_cur = 8 * MIB, .rlim_max = 8 * MIB};

	assert_int_equal(syscall(SYS_capget, &header, data), 0);
	data[0].effective &= ~(UINT32_C(1) << CAP_IPC_LOCK);
	assert_int_equal(syscall(SYS_capset, &header, data), 0);
	assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
}

static void
too_little_may_be_locked(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = test_memfd(64 * MIB, true);
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		bool good;

		drop_memlock_capability();
		open_ok(fixture, 0, NULL);
		good = map(fixture, 0, 0, 4 * MIB, fd) == 0 && map(fixture, 0, 16 * MIB, 64 * MIB, fd) == -ENOSPC;
		print_message("%s\n", fixture->why.text);
		good = good && strstr(fixture->why.text, "64 MiB wanted, 4 MiB locked now, the limit is 8 MiB") != NULL;
		/* What was refused left nothing, and the rest goes on. */
		good = good && map(fixture, 0, 16 * MIB, 4 * MIB, fd) == 0;
		_exit(good ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void
write_file(const char *path, const char *text)
{
	RP_WIRE_FD_SCOPED int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void
too_many_mappings(void **state)
{
	struct fixture *fixture = *state;
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	RP_WIRE_FD_SCOPED int fd = test_memfd(page_bytes, true);
	unsigned int i;

	write_file(ENTRY_LIMIT, "4");
	open_ok(fixture, 0, NULL);
	write_file(ENTRY_LIMIT, "65535");
	for (i = 0; i < 4; i++)
		assert_int_equal(map(fixture, 0, 2 * i * page_bytes, page_bytes, fd), 0);
	assert_int_equal(map(fixture, 0, 64 * page_bytes, page_bytes, fd), -ENOSPC);
	said(fixture, "4 mappings are all that the kernel allows (dma_entry_limit of vfio_iommu_type1");
	assert_int_equal(unmap(fixture, 0, 0, page_bytes), 0);
	assert_int_equal(map(fixture, 0, 64 * page_bytes, page_bytes, fd), 0);
}

static void
function_reset(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *behind_port = open_ok(fixture, 1, NULL);
	struct rp_accel_transport *on_root_bus = open_ok(fixture, 0, NULL);
	RP_WIRE_FD_SCOPED int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint8_t status = 1;

	command(behind_port, PCI_COMMAND_MEMORY);
	assert_int_equal(behind_port->ops->irq_set(behind_port->priv, 1, fd, &fixture->why), 0);
	/* device_status, virtio 1.2, 4.1.4.3: ACKNOWLEDGE, and gone after the reset. */
	assert_int_equal(behind_port->ops->region_write(behind_port->priv, 4, 0x14, 1, &status, &fixture->why), 0);
	assert_int_equal(behind_port->ops->region_read(behind_port->priv, 4, 0x14, 1, &status, &fixture->why), 0);
	assert_int_equal(status, 1);
	assert_int_equal(behind_port->ops->reset(behind_port->priv, &fixture->why), 0);
	assert_int_equal(behind_port->ops->region_read(behind_port->priv, 4, 0x14, 1, &status, &fixture->why), 0);
	assert_int_equal(status, 0);
	/* Its vectors stayed. */
	interrupt(behind_port, 1);
	assert_int_equal(taken(fd), 1);
	assert_int_equal(on_root_bus->ops->reset(on_root_bus->priv, &fixture->why), -ENOTSUP);
	said(fixture, "has no function reset");
}

static bool
is_lost(void *ctx)
{
	struct fixture *fixture = ctx;

	return fixture->transports[0].ops->process(fixture->transports[0].priv, &fixture->why) == -EIO;
}

/* The kernel waits until the device is closed; the user who unbinds it does too. */
static void
the_kernel_wants_it_back(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *transport = open_ok(fixture, 0, NULL);
	RP_WIRE_FD_SCOPED int fd = test_memfd(MIB, true);
	char path[96];
	pid_t child;
	int status;

	assert_int_equal(map(fixture, 0, 0, MIB, fd), 0);
	command(transport, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_false(transport->ops->is_quiet(transport->priv));
	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/vfio-pci/unbind");
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		/* Not its descriptors: the device is open as long as one of them is. */
		int unbind = open(path, O_WRONLY);

		dup2(unbind, 3);
		syscall(SYS_close_range, 4, ~0u, 0);
		_exit(write(3, fixture->addresses[0], strlen(fixture->addresses[0])) > 0 ? 0 : 1);
	}
	assert_true(test_wait(is_lost, fixture, 60000));
	said(fixture, "the kernel wants the device back");
	assert_true(transport->ops->is_quiet(transport->priv));
	assert_int_equal(waitpid(child, &status, WNOHANG), 0);
	close_one(transport);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(open_one(fixture, 0, NULL, 0), -ENOENT);
	said(fixture, "is bound to no driver, expected vfio-pci: bind it with: ringpass-devbind bind");
	write_file("/sys/bus/pci/drivers_probe", fixture->addresses[0]);
	open_ok(fixture, 0, NULL);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_the_device_is),
		TEST(registers_by_call_and_by_store),
		TEST(vectors_alone_and_again),
		TEST(memory_is_pinned_and_let_go),
		TEST(two_groups_in_one_container_pin_once),
		TEST(a_bar_of_another_function),
		TEST(two_devices_of_one_group),
		TEST(a_group_file_in_another_hand),
		TEST(a_group_that_comes_free),
		TEST(too_little_may_be_locked),
		TEST(too_many_mappings),
		TEST(function_reset),
		TEST(the_kernel_wants_it_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
