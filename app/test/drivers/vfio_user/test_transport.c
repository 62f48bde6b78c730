/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rp_vfio_user.h"
#include "rp_wire_fd.h"
#include "server_peer.h"

#define PAGE 4096u
#define BAR_REGISTERS 2u
#define BAR_NOTIFY 4u
#define VECTORS 3u

/* A device with a register BAR that remembers bytes and a notify BAR of which two pages may be mapped. */
struct device {
	struct server_peer peer;
	struct rp_accel_transport transport;
	struct rp_vfu_server_config config;
	struct rp_vfu_region regions[RP_VFU_PCI_REGIONS_COUNT];
	struct rp_vfu_irq_type irqs[RP_VFU_PCI_IRQS_COUNT];
	struct rp_vfu_io_fd io_fd;
	struct rp_vfu_area areas[1];
	int notify_fd;
	int eventfd;
	uint8_t registers[PAGE];
	unsigned int resets_count;
	pid_t child;
	struct rp_wire_why why;
	struct test_leaks leaks;
};

static int
read_registers(void *ctx, uint32_t region, uint64_t at, uint32_t count, uint8_t *ret_bytes)
{
	struct device *device = ctx;

	if (region == RP_VFU_PCI_CONFIG_REGION) {
		memset(ret_bytes, 0x5a, count);
		return 0;
	}
	memcpy(ret_bytes, device->registers + at, count);
	return 0;
}

static int
write_registers(void *ctx, uint32_t region, uint64_t at, uint32_t count, const uint8_t *bytes)
{
	struct device *device = ctx;

	(void)region;
	if (at == 0xbad)
		return -EPERM;
	memcpy(device->registers + at, bytes, count);
	return 0;
}

static int
count_reset(void *ctx)
{
	((struct device *)ctx)->resets_count++;
	return 0;
}

static const struct rp_vfu_server_ops server_ops = {
	.reset = count_reset,
};

static void
describe(struct device *device)
{
	unsigned int i;

	for (i = 0; i < RP_VFU_PCI_REGIONS_COUNT; i++)
		device->regions[i].fd = -1;
	device->regions[BAR_REGISTERS] =
		(struct rp_vfu_region){PAGE, true, true, .fd = -1, .read = read_registers, .write = write_registers};
	device->regions[RP_VFU_PCI_CONFIG_REGION] = device->regions[BAR_REGISTERS];
	device->regions[RP_VFU_PCI_CONFIG_REGION].size_bytes = 256;
	device->areas[0] = (struct rp_vfu_area){.offset_bytes = PAGE, .size_bytes = 2 * PAGE};
	device->io_fd = (struct rp_vfu_io_fd){.offset_bytes = 2 * PAGE, .size_bytes = 2, .fd = device->eventfd};
	device->regions[BAR_NOTIFY] = (struct rp_vfu_region){
		.size_bytes = 4 * PAGE,
		.readable = true,
		.writable = true,
		.fd = device->notify_fd,
		.fd_offset_bytes = PAGE,
		.areas = device->areas,
		.areas_count = 1,
		.io_fds = &device->io_fd,
		.io_fds_count = 1,
		.read = read_registers,
		.write = write_registers,
	};
	device->irqs[RP_VFU_PCI_MSIX_IRQ] = (struct rp_vfu_irq_type){VECTORS, RP_VFU_IRQ_FLAG_EVENTFD_MASK};
	device->config = (struct rp_vfu_server_config){
		.socket_path = test_socket_path(),
		.regions_count = RP_VFU_PCI_REGIONS_COUNT,
		.regions = device->regions,
		.irqs_count = RP_VFU_PCI_IRQS_COUNT,
		.irqs = device->irqs,
		.pci = true,
		.resettable = true,
	};
}

static int
setup(void **state)
{
	struct device *device = calloc(1, sizeof(*device));

	assert_non_null(device);
	test_leaks_read(&device->leaks);
	device->notify_fd = test_memfd(8 * PAGE, true);
	device->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	describe(device);
	*state = device;
	return 0;
}

static void
end_child(struct device *device)
{
	if (device->child <= 0)
		return;
	kill(device->child, SIGKILL);
	waitpid(device->child, NULL, 0);
	unlink(device->config.socket_path);
	device->child = 0;
}

static int
teardown(void **state)
{
	struct device *device = *state;

	if (device->transport.ops != NULL)
		device->transport.ops->close(device->transport.priv);
	server_peer_stop(&device->peer);
	end_child(device);
	rp_wire_fd_close(&device->notify_fd);
	rp_wire_fd_close(&device->eventfd);
	test_leaks_assert_none(&device->leaks);
	free(device);
	return 0;
}

static int
open_transport(struct device *device)
{
	struct rp_vfio_user_config config = {.socket_path = device->config.socket_path, .timeout_ms = 2000};

	return rp_vfio_user_open(&config, &device->transport, &device->why);
}

static void
connect_ok(struct device *device)
{
	int rc;

	server_peer_start(&device->peer, &device->config, &server_ops, device);
	rc = open_transport(device);
	if (rc < 0)
		print_error("%s\n", device->why.text);
	assert_int_equal(rc, 0);
}

static void
assert_why(const struct device *device, const char *words)
{
	bool found = strstr(device->why.text, words) != NULL;

	if (!found)
		print_error("it says: %s\n", device->why.text);
	assert_true(found);
}

static void
nobody_listens(void **state)
{
	struct device *device = *state;

	assert_int_equal(open_transport(device), -ENOENT);
	assert_why(device, device->config.socket_path);
	assert_null(device->transport.ops);
}

static void
not_a_pci_device(void **state)
{
	struct device *device = *state;

	device->config.pci = false;
	server_peer_start(&device->peer, &device->config, &server_ops, device);
	assert_int_equal(open_transport(device), -ENOTSUP);
	assert_why(device, "not a PCI device");
}

static void
no_msix(void **state)
{
	struct device *device = *state;

	device->irqs[RP_VFU_PCI_MSIX_IRQ].count = 0;
	server_peer_start(&device->peer, &device->config, &server_ops, device);
	assert_int_equal(open_transport(device), -ENOTSUP);
	assert_why(device, "no MSI-X vector");
}

static void
what_it_says_about_itself(void **state)
{
	struct device *device = *state;
	struct rp_accel_transport_info info;

	connect_ok(device);
	device->transport.ops->get_info(device->transport.priv, &info);
	assert_string_equal(info.name, "vfio-user");
	assert_string_equal(info.device, device->config.socket_path);
	assert_int_equal(info.msix_count, VECTORS);
	assert_true(info.resettable);
	assert_int_equal(info.vfio_file_fd, -1);
	assert_int_equal(info.peer_pid, getpid());
}

static void
regions(void **state)
{
	struct device *device = *state;
	const struct rp_accel_transport *transport = &device->transport;
	uint32_t value = 0x11223344, back = 0;
	uint64_t size_bytes;

	connect_ok(device);
	assert_int_equal(transport->ops->region_size(transport->priv, 0, &size_bytes, NULL), 0);
	assert_int_equal(size_bytes, 0);
	assert_int_equal(transport->ops->region_size(transport->priv, 1000, &size_bytes, NULL), 0);
	assert_int_equal(size_bytes, 0);
	assert_int_equal(transport->ops->region_size(transport->priv, BAR_NOTIFY, &size_bytes, NULL), 0);
	assert_int_equal(size_bytes, 4 * PAGE);
	assert_int_equal(transport->ops->region_write(transport->priv, BAR_REGISTERS, 8, 4, &value, NULL), 0);
	assert_int_equal(transport->ops->region_read(transport->priv, BAR_REGISTERS, 8, 4, &back, NULL), 0);
	assert_int_equal(back, value);
	assert_int_equal(transport->ops->region_write(transport->priv, BAR_REGISTERS, 0xbad, 1, &value, &device->why),
			 -EPERM);
	/* A refusal does not end the connection. */
	assert_int_equal(transport->ops->process(transport->priv, NULL), 0);
}

static void
windows(void **state)
{
	static const struct {
		uint32_t region;
		uint64_t offset_bytes;
		uint64_t size_bytes;
		int error;
	} rows[] = {
		{BAR_NOTIFY, PAGE, PAGE, 0},
		{BAR_NOTIFY, 2 * PAGE, PAGE, 0},
		{BAR_NOTIFY, PAGE, 2 * PAGE, 0},
		{BAR_NOTIFY, 0, PAGE, -ENOTSUP},
		{BAR_NOTIFY, 3 * PAGE, PAGE, -ENOTSUP},
		{BAR_NOTIFY, 2 * PAGE, 2 * PAGE, -ENOTSUP},
		{BAR_NOTIFY, UINT64_MAX - PAGE + 1, PAGE, -ENOTSUP},
		{BAR_NOTIFY, PAGE, UINT64_MAX, -ENOTSUP},
		{BAR_REGISTERS, 0, PAGE, -ENOTSUP},
		{0, 0, PAGE, -ENOTSUP},
		{1000, 0, PAGE, -ENOTSUP},
	};
	struct device *device = *state;
	const struct rp_accel_transport *transport = &device->transport;
	unsigned int i;

	connect_ok(device);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rp_accel_transport_window window = {.fd = -1};

		assert_int_equal(transport->ops->region_window(transport->priv, rows[i].region, rows[i].offset_bytes,
							       rows[i].size_bytes, &window, &device->why),
				 rows[i].error);
		if (rows[i].error != 0)
			continue;
		assert_int_equal(rp_wire_fd_same(window.fd, device->notify_fd), 1);
		assert_int_equal(window.offset_bytes, PAGE + rows[i].offset_bytes);
		assert_int_equal(window.size_bytes, rows[i].size_bytes);
	}
	assert_int_equal(transport->ops->region_window(transport->priv, BAR_NOTIFY, 0, PAGE,
						       &(struct rp_accel_transport_window){0}, &device->why),
			 -ENOTSUP);
	assert_why(device, "region 4 is not mmap-able at 0x0 for 4096 bytes");
}

static void
io_eventfds(void **state)
{
	struct device *device = *state;
	const struct rp_accel_transport *transport = &device->transport;
	RP_WIRE_FD_SCOPED int fd = -1;

	connect_ok(device);
	assert_int_equal(transport->ops->region_io_fd(transport->priv, BAR_NOTIFY, PAGE, 2, 1, &fd, &device->why),
			 -ENOENT);
	assert_int_equal(transport->ops->region_io_fd(transport->priv, BAR_NOTIFY, 2 * PAGE, 2, 1, &fd, &device->why),
			 0);
	assert_int_equal(rp_wire_fd_same(fd, device->eventfd), 1);
}

static int
held_by_server(struct device *device, uint32_t vector)
{
	int fd;

	server_peer_lock(&device->peer);
	fd = rp_vfu_server_irq_fd(device->peer.server, RP_VFU_PCI_MSIX_IRQ, vector);
	server_peer_unlock(&device->peer);
	return fd;
}

static void
the_device_holds_the_very_eventfd(void **state)
{
	struct device *device = *state;
	const struct rp_accel_transport *transport = &device->transport;
	RP_WIRE_FD_SCOPED int first = eventfd(0, EFD_CLOEXEC);
	RP_WIRE_FD_SCOPED int second = eventfd(0, EFD_CLOEXEC);

	connect_ok(device);
	assert_int_equal(transport->ops->irq_set(transport->priv, 0, first, &device->why), 0);
	assert_int_equal(transport->ops->irq_set(transport->priv, 1, second, &device->why), 0);
	assert_int_equal(rp_wire_fd_same(held_by_server(device, 0), first), 1);
	assert_int_equal(rp_wire_fd_same(held_by_server(device, 1), second), 1);
	/* One vector changes, the other does not. */
	assert_int_equal(transport->ops->irq_set(transport->priv, 0, second, &device->why), 0);
	assert_int_equal(rp_wire_fd_same(held_by_server(device, 0), second), 1);
	assert_int_equal(rp_wire_fd_same(held_by_server(device, 1), second), 1);
	assert_int_equal(transport->ops->irq_set(transport->priv, 0, -1, &device->why), 0);
	assert_int_equal(held_by_server(device, 0), -1);
	/* Not waited for; what is asked next comes after it. */
	transport->ops->irq_drop(transport->priv, 1);
	assert_true(transport->ops->irq_set(transport->priv, VECTORS, first, &device->why) < 0);
	assert_int_equal(held_by_server(device, 1), -1);
}

/* As one after the other, in one flight; one that is refused does not keep the registers from being accessed. */
static void
eventfds_and_registers_together(void **state)
{
	struct device *device = *state;
	const struct rp_accel_transport *transport = &device->transport;
	RP_WIRE_FD_SCOPED int first = eventfd(0, EFD_CLOEXEC);
	RP_WIRE_FD_SCOPED int second = eventfd(0, EFD_CLOEXEC);
	const int fds[] = {first, second};
	struct rp_accel_transport_access accesses[] = {
		{.region = BAR_REGISTERS, .offset_bytes = 8, .count_bytes = 4, .write = true, .bytes = {1, 2, 3, 4}},
		{.region = BAR_REGISTERS, .offset_bytes = 8, .count_bytes = 4},
	};
	int irq = 1;

	connect_ok(device);
	assert_int_equal(transport->ops->irq_access_many(transport->priv, 0, 2, fds, accesses, 2, &irq, &device->why),
			 0);
	assert_int_equal(irq, 0);
	assert_memory_equal(accesses[1].bytes, accesses[0].bytes, 4);
	assert_int_equal(rp_wire_fd_same(held_by_server(device, 0), first), 1);
	assert_int_equal(rp_wire_fd_same(held_by_server(device, 1), second), 1);
	accesses[0].bytes[0] = 9;
	assert_int_equal(
		transport->ops->irq_access_many(transport->priv, VECTORS, 1, fds, accesses, 2, &irq, &device->why), 0);
	assert_true(irq < 0);
	assert_int_equal(accesses[1].bytes[0], 9);
}

static void
memory_appears_and_goes(void **state)
{
	struct device *device = *state;
	const struct rp_accel_transport *transport = &device->transport;
	RP_WIRE_FD_SCOPED int fd = test_memfd(2 * PAGE, true);
	char *there;

	connect_ok(device);
	assert_int_equal(pwrite(fd, "guest", 6, PAGE), 6);
	assert_int_equal(transport->ops->dma_map(transport->priv, 0x100000, PAGE, fd, PAGE, NULL, &device->why), 0);
	server_peer_lock(&device->peer);
	there = rp_dma_space_translate(rp_vfu_server_dma(device->peer.server), 0x100000, PAGE,
				       RP_DMA_READ | RP_DMA_WRITE);
	assert_non_null(there);
	assert_string_equal(there, "guest");
	server_peer_unlock(&device->peer);
	assert_int_equal(transport->ops->dma_map(transport->priv, 0x100000, PAGE, fd, 0, NULL, &device->why), -EEXIST);
	assert_int_equal(transport->ops->dma_unmap(transport->priv, 0x100000, PAGE, &device->why), 0);
	server_peer_lock(&device->peer);
	assert_int_equal(rp_dma_space_count(rp_vfu_server_dma(device->peer.server)), 0);
	server_peer_unlock(&device->peer);
}

static void
device_reset(void **state)
{
	struct device *device = *state;

	connect_ok(device);
	assert_int_equal(device->transport.ops->reset(device->transport.priv, &device->why), 0);
	server_peer_lock(&device->peer);
	assert_int_equal(device->resets_count, 1);
	server_peer_unlock(&device->peer);
}

static void
no_device_reset(void **state)
{
	struct device *device = *state;

	device->config.resettable = false;
	connect_ok(device);
	assert_int_equal(device->transport.ops->reset(device->transport.priv, &device->why), -ENOTSUP);
	assert_why(device, "offers no device reset");
}

static bool
is_readable(const struct device *device)
{
	struct pollfd pollfd = {.fd = device->transport.ops->get_fd(device->transport.priv), .events = POLLIN};

	return poll(&pollfd, 1, 1000) == 1;
}

static void
a_server_that_leaves(void **state)
{
	struct device *device = *state;
	const struct rp_accel_transport *transport = &device->transport;
	uint64_t size_bytes;
	uint8_t byte;

	connect_ok(device);
	assert_int_equal(transport->ops->process(transport->priv, NULL), 0);
	server_peer_stop(&device->peer);
	assert_true(is_readable(device));
	assert_int_equal(transport->ops->process(transport->priv, &device->why), -ENOTCONN);
	assert_why(device, "the device process left");
	assert_int_equal(transport->ops->process(transport->priv, NULL), -ENOTCONN);
	assert_int_equal(transport->ops->region_read(transport->priv, BAR_REGISTERS, 0, 1, &byte, NULL), -ENOTCONN);
	(void)transport->ops->region_size(transport->priv, BAR_REGISTERS, &size_bytes, NULL);
	/* Its process is ours, and alive: closing a connection is no proof. */
	assert_false(transport->ops->is_quiet(transport->priv));
}

static bool
is_quiet(void *ctx)
{
	const struct device *device = ctx;

	return device->transport.ops->is_quiet(device->transport.priv);
}

static void
a_process_that_is_killed_is_quiet(void **state)
{
	struct device *device = *state;
	const struct rp_accel_transport *transport = &device->transport;

	device->child = server_peer_fork(&device->config, &server_ops, device);
	assert_int_equal(open_transport(device), 0);
	assert_false(is_quiet(device));
	kill(device->child, SIGKILL);
	assert_true(is_readable(device));
	assert_true(test_wait(is_quiet, device, 2000));
	assert_int_equal(transport->ops->process(transport->priv, &device->why), -ENOTCONN);
	assert_why(device, "the device process left");
}

/* It may be continued, and would then write to the guest's memory. */
static void
a_process_that_hangs_is_not_quiet(void **state)
{
	struct device *device = *state;
	const struct rp_accel_transport *transport = &device->transport;
	struct rp_vfio_user_config config = {.socket_path = device->config.socket_path, .timeout_ms = 50};
	uint8_t byte;

	device->child = server_peer_fork(&device->config, &server_ops, device);
	assert_int_equal(rp_vfio_user_open(&config, &device->transport, &device->why), 0);
	kill(device->child, SIGSTOP);
	assert_int_equal(transport->ops->region_read(transport->priv, BAR_REGISTERS, 0, 1, &byte, &device->why),
			 -ETIMEDOUT);
	assert_int_equal(transport->ops->process(transport->priv, &device->why), -ENOTCONN);
	assert_why(device, "no reply within 50 ms");
	assert_false(is_quiet(device));
	kill(device->child, SIGKILL);
	assert_true(test_wait(is_quiet, device, 2000));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(nobody_listens),
		TEST(not_a_pci_device),
		TEST(no_msix),
		TEST(what_it_says_about_itself),
		TEST(regions),
		TEST(windows),
		TEST(io_eventfds),
		TEST(the_device_holds_the_very_eventfd),
		TEST(eventfds_and_registers_together),
		TEST(memory_appears_and_goes),
		TEST(device_reset),
		TEST(no_device_reset),
		TEST(a_server_that_leaves),
		TEST(a_process_that_is_killed_is_quiet),
		TEST(a_process_that_hangs_is_not_quiet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
