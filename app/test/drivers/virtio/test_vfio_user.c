/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_device.h"
#include "rp_accel_hand_over.h"
#include "rp_accel_iommu.h"
#include "rp_virtio.h"
#include "rp_wire_fd.h"
#include "rp_wire_parcel.h"
#include "rp_vfu_server_iommu.h"
#include "server_peer.h"

/* The whole of it: device arguments, vfio-user client and server, and the fake device's registers behind them. */
struct stack {
	struct fake_device fake;
	struct server_peer peer;
	struct rp_vfu_server_config config;
	struct rp_vfu_region regions[RP_VFU_PCI_REGIONS_COUNT];
	struct rp_vfu_irq_type irqs[RP_VFU_PCI_IRQS_COUNT];
	struct rp_vfu_io_fd io_fd;
	struct rp_accel accel;
	struct rp_wire_why why;
	struct test_leaks leaks;
	pid_t child;
	char arguments[160];
};

static const struct rp_accel_driver *const drivers[] = {&rp_virtio_vfio_user_driver, NULL};
static const struct rp_accel_registry registry = {drivers};

static int
serve_read(void *ctx, uint32_t region, uint64_t at, uint32_t count, uint8_t *ret_bytes)
{
	struct rp_accel_transport transport = fake_transport(ctx);

	return transport.ops->region_read(transport.priv, region, at, count, ret_bytes, NULL);
}

static int
serve_write(void *ctx, uint32_t region, uint64_t at, uint32_t count, const uint8_t *bytes)
{
	struct rp_accel_transport transport = fake_transport(ctx);

	return transport.ops->region_write(transport.priv, region, at, count, bytes, NULL);
}

static int
serve_reset(void *ctx)
{
	struct rp_accel_transport transport = fake_transport(ctx);

	return transport.ops->reset(transport.priv, NULL);
}

static const struct rp_vfu_server_ops server_ops = {.reset = serve_reset};

static int
setup(void **state)
{
	struct stack *stack = calloc(1, sizeof(*stack));
	unsigned int i;

	assert_non_null(stack);
	test_leaks_read(&stack->leaks);
	fake_init(&stack->fake);
	for (i = 0; i < RP_VFU_PCI_REGIONS_COUNT; i++)
		stack->regions[i] = (struct rp_vfu_region){
			.size_bytes = stack->fake.region_sizes[i],
			.readable = true,
			.writable = true,
			.fd = -1,
			.read = serve_read,
			.write = serve_write,
		};
	stack->regions[FAKE_BAR_NOTIFY].fd = stack->fake.notify_fd;
	/* For queue 0 only: the others are rung by a store. */
	stack->io_fd = (struct rp_vfu_io_fd){.offset_bytes = 0, .size_bytes = 2, .fd = stack->fake.io_fd};
	stack->regions[FAKE_BAR_NOTIFY].io_fds = &stack->io_fd;
	stack->regions[FAKE_BAR_NOTIFY].io_fds_count = 1;
	stack->irqs[RP_VFU_PCI_MSIX_IRQ] = (struct rp_vfu_irq_type){5, RP_VFU_IRQ_FLAG_EVENTFD_MASK};
	stack->config = (struct rp_vfu_server_config){
		.socket_path = test_socket_path(),
		.regions_count = RP_VFU_PCI_REGIONS_COUNT,
		.regions = stack->regions,
		.irqs_count = RP_VFU_PCI_IRQS_COUNT,
		.irqs = stack->irqs,
		.pci = true,
		.resettable = true,
	};
	snprintf(stack->arguments, sizeof(stack->arguments), "vfio-user,socket=%s,timeout_ms=1000", test_socket_path());
	*state = stack;
	return 0;
}

static int
teardown(void **state)
{
	struct stack *stack = *state;

	rp_accel_close(&stack->accel);
	server_peer_stop(&stack->peer);
	if (stack->child > 0) {
		kill(stack->child, SIGKILL);
		waitpid(stack->child, NULL, 0);
		unlink(test_socket_path());
	}
	fake_fini(&stack->fake);
	test_leaks_assert_none(&stack->leaks);
	free(stack);
	return 0;
}

static void
open_ok(struct stack *stack)
{
	int rc = rp_accel_open(&registry, stack->arguments, &stack->accel, &stack->why);

	if (rc < 0)
		print_error("%s\n", stack->why.text);
	assert_int_equal(rc, 0);
}

static int
start(struct stack *stack, unsigned int queue, uint32_t position, int call_fd)
{
	struct rp_accel_queue_config config = {
		.num = 128,
		.position = position,
		.desc_iova = 0x10000,
		.avail_iova = 0x20000,
		.used_iova = 0x30000,
		.call_fd = call_fd,
	};

	return stack->accel.ops->queue_start(stack->accel.priv, queue, &config, &stack->why);
}

static void
arguments_that_cannot_be(void **state)
{
	static const char long_path[] =
		"vfio-user,socket=/0123456789012345678901234567890123456789012345678901234567890123"
		"4567890123456789012345678901234567890123456789";
	static const struct {
		const char *text;
		const char *words;
	} rows[] = {
		{"vfio-user", "vfio-user: key 'socket': missing, expected vfio-user,socket=PATH[,timeout_ms=N]"},
		{"vfio-user,timeout_ms=50", "key 'socket': missing"},
		{"vfio-user,socket=", "key 'socket': has no value"},
		{"vfio-user,path=/x", "key 'path': unknown, expected one of: socket, timeout_ms"},
		{"vfio-user,socket=/x,timeout_ms=9", "key 'timeout_ms': '9': expected a number from 10 to 600000"},
		{"vfio-user,socket=/x,timeout_ms=600001", "expected a number from 10 to 600000"},
		{"vfio_user,socket=/x", "driver 'vfio_user': unknown, expected one of: vfio-user"},
		{long_path, "111 bytes, expected at most 107"},
	};
	struct stack *stack = *state;
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(rp_accel_check(&registry, rows[i].text, &stack->why), -EBADMSG);
		if (strstr(stack->why.text, rows[i].words) == NULL)
			print_error("%s\n", stack->why.text);
		assert_non_null(strstr(stack->why.text, rows[i].words));
		assert_int_equal(rp_accel_open(&registry, rows[i].text, &stack->accel, &stack->why), -EBADMSG);
		assert_null(stack->accel.ops);
	}
	assert_int_equal(rp_accel_check(&registry, "vfio-user,socket=/x,timeout_ms=10", NULL), 0);
}

static void
nobody_listens(void **state)
{
	struct stack *stack = *state;

	assert_int_equal(rp_accel_open(&registry, stack->arguments, &stack->accel, &stack->why), -ENOENT);
	assert_non_null(strstr(stack->why.text, test_socket_path()));
}

static void
a_device_that_is_refused(void **state)
{
	struct stack *stack = *state;

	stack->fake.num_queues = 0;
	server_peer_start(&stack->peer, &stack->config, &server_ops, &stack->fake);
	assert_int_equal(rp_accel_open(&registry, stack->arguments, &stack->accel, &stack->why), -EBADMSG);
	assert_non_null(strstr(stack->why.text, "vfio-user: /tmp/"));
	assert_non_null(strstr(stack->why.text, "num_queues: 0"));
}

static void
queues_start_and_stop(void **state)
{
	struct stack *stack = *state;
	RP_WIRE_FD_SCOPED int call_fd = eventfd(0, EFD_CLOEXEC);
	uint32_t position = 0;
	int left_fd;

	server_peer_start(&stack->peer, &stack->config, &server_ops, &stack->fake);
	open_ok(stack);
	assert_int_equal(stack->accel.ops->set_features(stack->accel.priv, FAKE_VERSION_1, &stack->why), 0);
	assert_int_equal(start(stack, 1, 700, call_fd), 0);
	server_peer_lock(&stack->peer);
	assert_int_equal(stack->fake.queues[1].enable, 1);
	assert_int_equal(stack->fake.queues[1].position, 700);
	assert_int_equal(rp_wire_fd_same(rp_vfu_server_irq_fd(stack->peer.server, RP_VFU_PCI_MSIX_IRQ, 1), call_fd), 1);
	stack->fake.queues[1].position = 701;
	server_peer_unlock(&stack->peer);
	assert_int_equal(stack->accel.ops->queue_stop(stack->accel.priv, 1, &position, &stack->why), 0);
	assert_int_equal(position, 701);
	/* Nobody waited for the vector; it is detached before whatever the device is asked next. */
	assert_int_equal(start(stack, 0, 0, -1), 0);
	server_peer_lock(&stack->peer);
	left_fd = rp_vfu_server_irq_fd(stack->peer.server, RP_VFU_PCI_MSIX_IRQ, 1);
	server_peer_unlock(&stack->peer);
	assert_int_equal(left_fd, -1);
}

static void
kicks_take_the_best_way(void **state)
{
	struct stack *stack = *state;
	uint64_t count = 0;
	uint16_t word = 0;

	server_peer_start(&stack->peer, &stack->config, &server_ops, &stack->fake);
	open_ok(stack);
	assert_int_equal(stack->accel.ops->set_features(stack->accel.priv, FAKE_VERSION_1, &stack->why), 0);
	assert_int_equal(start(stack, 0, 0, -1), 0);
	assert_int_equal(start(stack, 1, 0, -1), 0);
	assert_int_equal(stack->accel.ops->queue_kick(stack->accel.priv, 0), 0);
	assert_int_equal(read(stack->fake.io_fd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 1);
	assert_int_equal(stack->accel.ops->queue_kick(stack->accel.priv, 1), 0);
	assert_int_equal(pread(stack->fake.notify_fd, &word, sizeof(word), FAKE_PAGE), sizeof(word));
	assert_int_equal(le16toh(word), 1);
}

static void
the_notify_area_is_the_devices_page(void **state)
{
	struct stack *stack = *state;
	struct rp_accel_notify_area area;
	uint16_t *doorbell, word = 0;

	server_peer_start(&stack->peer, &stack->config, &server_ops, &stack->fake);
	open_ok(stack);
	assert_int_equal(stack->accel.ops->queue_notify_area(stack->accel.priv, 2, &area, &stack->why), 0);
	assert_int_equal(rp_wire_fd_same(area.fd, stack->fake.notify_fd), 1);
	/* What a VMM does with it. */
	doorbell = mmap(NULL, area.size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, area.fd, (off_t)area.offset_bytes);
	assert_true(doorbell != MAP_FAILED);
	__atomic_store_n(doorbell, 0x0202, __ATOMIC_RELEASE);
	munmap(doorbell, area.size_bytes);
	assert_int_equal(pread(stack->fake.notify_fd, &word, sizeof(word), 2 * FAKE_PAGE), sizeof(word));
	assert_int_equal(word, 0x0202);
}

/* All of the way that lib/port takes, with memory that the server has by its file. */
static void
a_running_device_goes_on(void **state)
{
	struct stack *stack = *state;
	RP_WIRE_FD_SCOPED int call_fd = eventfd(0, EFD_CLOEXEC), memory_fd = test_memfd(0x10000, true);
	const struct rp_accel_memory memory = {.size_bytes = 0x10000, .fd = memory_fd};
	struct rp_accel_info before, after;
	struct rp_wire_parcel *parcel;
	uint32_t position = 0;

	server_peer_start(&stack->peer, &stack->config, &server_ops, &stack->fake);
	open_ok(stack);
	assert_int_equal(stack->accel.ops->dma_map(stack->accel.priv, 0, 0x10000, memory_fd, 0, NULL, NULL), 0);
	assert_int_equal(stack->accel.ops->set_features(stack->accel.priv, FAKE_VERSION_1, &stack->why), 0);
	assert_int_equal(start(stack, 0, 700, call_fd), 0);
	stack->accel.ops->get_info(stack->accel.priv, &before);
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	assert_int_equal(rp_accel_give(&stack->accel, parcel, &stack->why), 0);
	rp_accel_leave(&stack->accel);
	assert_int_equal(rp_accel_adopt(&registry, stack->arguments, parcel, NULL, 0, &stack->accel, &stack->why),
			 -EBADMSG);
	assert_non_null(strstr(stack->why.text, "the server has 1 ranges, expected 0"));
	assert_int_equal(rp_accel_adopt(&registry, stack->arguments, parcel, &memory, 1, &stack->accel, &stack->why),
			 0);
	rp_wire_parcel_destroy(parcel);
	stack->accel.ops->get_info(stack->accel.priv, &after);
	assert_memory_equal(&before, &after, sizeof(before));
	server_peer_lock(&stack->peer);
	assert_int_equal(stack->fake.queues[0].enable, 1);
	assert_int_equal(stack->fake.status, 0x0f);
	assert_int_equal(rp_wire_fd_same(rp_vfu_server_irq_fd(stack->peer.server, RP_VFU_PCI_MSIX_IRQ, 0), call_fd), 1);
	stack->fake.queues[0].position = 701;
	server_peer_unlock(&stack->peer);
	assert_int_equal(stack->accel.ops->queue_kick(stack->accel.priv, 0), 0);
	assert_int_equal(stack->accel.ops->queue_stop(stack->accel.priv, 0, &position, &stack->why), 0);
	assert_int_equal(position, 701);
	assert_int_equal(stack->accel.ops->dma_unmap(stack->accel.priv, 0, 0x10000, NULL), 0);
}

static int
translate_nothing(void *ctx, uint64_t token, uint64_t iova, uint32_t access_mask, struct rp_accel_translation *ret)
{
	(void)ctx, (void)token, (void)iova, (void)access_mask, (void)ret;
	return -EIO;
}

static void
give_no_page(void *ctx, uint32_t group, const struct rp_accel_page *pages, unsigned int count)
{
	(void)ctx, (void)group, (void)pages, (void)count;
}

/* Offered to whom it is of use: without a control queue of ours in the same addresses. */
static void
a_device_that_may_ask(void **state)
{
	const struct rp_accel_iommu iommu = {.translate = translate_nothing, .page_request = give_no_page};
	static const struct rp_vfu_server_iommu device_iommu = {.translations_max = 8};
	struct stack *stack = *state;
	struct rp_accel_info info;
	unsigned int i;
	int rc;

	stack->config.iommu = &device_iommu;
	for (i = 0; i < 2; i++) {
		if (i == 1) {
			fake_add_control(&stack->fake);
			stack->regions[FAKE_BAR_NOTIFY].size_bytes = 8 * FAKE_PAGE;
			stack->regions[FAKE_BAR_NOTIFY].fd = -1;
		}
		server_peer_start(&stack->peer, &stack->config, &server_ops, &stack->fake);
		rc = rp_accel_open_translated(&registry, stack->arguments, &iommu, &stack->accel, &stack->why);
		if (rc < 0)
			print_error("%s\n", stack->why.text);
		assert_int_equal(rc, 0);
		stack->accel.ops->get_info(stack->accel.priv, &info);
		assert_int_equal(info.asks, i == 0);
		assert_int_equal(stack->accel.ops->invalidate(stack->accel.priv, 0, 0, &stack->why),
				 i == 0 ? 0 : -ENOTSUP);
		rp_accel_close(&stack->accel);
		server_peer_stop(&stack->peer);
	}
}

static bool
is_quiet(void *ctx)
{
	const struct stack *stack = ctx;

	return stack->accel.ops->is_quiet(stack->accel.priv);
}

static void
a_device_process_that_is_killed(void **state)
{
	struct stack *stack = *state;
	struct rp_accel_info info;
	struct pollfd pollfd = {.events = POLLIN};
	uint32_t position;

	stack->child = server_peer_fork(&stack->config, &server_ops, &stack->fake);
	open_ok(stack);
	stack->accel.ops->get_info(stack->accel.priv, &info);
	assert_int_equal(info.peer_pid, stack->child);
	assert_string_equal(info.transport, "vfio-user");
	assert_int_equal(stack->accel.ops->set_features(stack->accel.priv, FAKE_VERSION_1, &stack->why), 0);
	assert_int_equal(start(stack, 0, 0, -1), 0);
	assert_int_equal(stack->accel.ops->process(stack->accel.priv, &stack->why), 0);
	assert_false(is_quiet(stack));
	kill(stack->child, SIGKILL);
	pollfd.fd = stack->accel.ops->get_fd(stack->accel.priv);
	assert_int_equal(poll(&pollfd, 1, 2000), 1);
	assert_int_equal(stack->accel.ops->process(stack->accel.priv, &stack->why), -ENOTCONN);
	assert_true(test_wait(is_quiet, stack, 2000));
	assert_int_equal(stack->accel.ops->queue_stop(stack->accel.priv, 0, &position, &stack->why), -ENOTCONN);
}

static void
a_device_process_that_hangs(void **state)
{
	struct stack *stack = *state;
	uint32_t position;

	snprintf(stack->arguments, sizeof(stack->arguments), "vfio-user,socket=%s,timeout_ms=50", test_socket_path());
	stack->child = server_peer_fork(&stack->config, &server_ops, &stack->fake);
	open_ok(stack);
	assert_int_equal(stack->accel.ops->set_features(stack->accel.priv, FAKE_VERSION_1, &stack->why), 0);
	assert_int_equal(start(stack, 0, 0, -1), 0);
	kill(stack->child, SIGSTOP);
	assert_int_equal(stack->accel.ops->queue_stop(stack->accel.priv, 0, &position, &stack->why), -ETIMEDOUT);
	assert_non_null(strstr(stack->why.text, "no reply within 50 ms"));
	/* It may be continued. */
	assert_false(is_quiet(stack));
	kill(stack->child, SIGKILL);
	assert_true(test_wait(is_quiet, stack, 2000));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(arguments_that_cannot_be),	       TEST(nobody_listens),
		TEST(a_device_that_is_refused),	       TEST(queues_start_and_stop),
		TEST(kicks_take_the_best_way),	       TEST(the_notify_area_is_the_devices_page),
		TEST(a_device_process_that_is_killed), TEST(a_device_process_that_hangs),
		TEST(a_running_device_goes_on),	       TEST(a_device_that_may_ask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
