/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rp_vfio_user.h"
#include "rp_wire_fd.h"
#include "server_peer.h"
#include "test_parcel.h"

#define PAGE 4096u
#define BAR 2u
#define IOVA 0x40000000u

/* The smallest device that this transport takes; it serves until it is killed, or in a thread. */
struct device {
	struct server_peer peer;
	struct rp_accel_transport transport, adopted;
	struct rp_vfu_server_config config;
	struct rp_vfu_region regions[RP_VFU_PCI_REGIONS_COUNT];
	struct rp_vfu_irq_type irqs[RP_VFU_PCI_IRQS_COUNT];
	uint8_t registers[PAGE];
	struct rp_accel_memory memory;
	int call_fd;
	unsigned int disconnects_count, irq_changes_count, dma_changes_count, resets_count;
	pid_t child;
	struct rp_wire_why why;
	struct test_leaks leaks;
};

static int
read_registers(void *ctx, uint32_t region, uint64_t at, uint32_t count, uint8_t *ret_bytes)
{
	const struct device *device = ctx;

	(void)region;
	memcpy(ret_bytes, device->registers + at, count);
	return 0;
}

static int
write_registers(void *ctx, uint32_t region, uint64_t at, uint32_t count, const uint8_t *bytes)
{
	struct device *device = ctx;

	(void)region;
	memcpy(device->registers + at, bytes, count);
	return 0;
}

static int
on_reset(void *ctx)
{
	((struct device *)ctx)->resets_count++;
	return 0;
}

static void
on_irq_changed(void *ctx, uint32_t irq_index, uint32_t vector, int eventfd)
{
	(void)irq_index;
	(void)vector;
	(void)eventfd;
	((struct device *)ctx)->irq_changes_count++;
}

static void
on_dma_changed(void *ctx)
{
	((struct device *)ctx)->dma_changes_count++;
}

static void
on_disconnected(void *ctx, const struct rp_wire_why *why)
{
	(void)why;
	((struct device *)ctx)->disconnects_count++;
}

static const struct rp_vfu_server_ops server_ops = {
	.reset = on_reset,
	.irq_changed = on_irq_changed,
	.dma_changed = on_dma_changed,
	.disconnected = on_disconnected,
};

static int
setup(void **state)
{
	struct device *device = calloc(1, sizeof(*device));
	unsigned int i;

	assert_non_null(device);
	test_leaks_read(&device->leaks);
	for (i = 0; i < RP_VFU_PCI_REGIONS_COUNT; i++)
		device->regions[i].fd = -1;
	device->regions[BAR] =
		(struct rp_vfu_region){PAGE, true, true, .fd = -1, .read = read_registers, .write = write_registers};
	device->regions[RP_VFU_PCI_CONFIG_REGION] = device->regions[BAR];
	device->regions[RP_VFU_PCI_CONFIG_REGION].size_bytes = 256;
	device->irqs[RP_VFU_PCI_MSIX_IRQ] = (struct rp_vfu_irq_type){2, RP_VFU_IRQ_FLAG_EVENTFD_MASK};
	device->config = (struct rp_vfu_server_config){
		.socket_path = test_socket_path(),
		.regions_count = RP_VFU_PCI_REGIONS_COUNT,
		.regions = device->regions,
		.irqs_count = RP_VFU_PCI_IRQS_COUNT,
		.irqs = device->irqs,
		.pci = true,
		.resettable = true,
	};
	device->memory = (struct rp_accel_memory){IOVA, PAGE, test_memfd(PAGE, true), 0, NULL};
	device->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	*state = device;
	return 0;
}

static void
end(struct rp_accel_transport *transport)
{
	if (transport->ops != NULL)
		transport->ops->close(transport->priv);
	transport->ops = NULL;
}

static int
teardown(void **state)
{
	struct device *device = *state;

	end(&device->transport);
	end(&device->adopted);
	server_peer_stop(&device->peer);
	if (device->child > 0) {
		kill(device->child, SIGKILL);
		waitpid(device->child, NULL, 0);
		unlink(device->config.socket_path);
	}
	rp_wire_fd_close(&device->memory.fd);
	rp_wire_fd_close(&device->call_fd);
	test_leaks_assert_none(&device->leaks);
	free(device);
	return 0;
}

static const struct rp_vfio_user_config client_config = {.timeout_ms = 5000};

/* Memory is mapped, a vector is wired. */
static void
start(struct device *device)
{
	struct rp_vfio_user_config config = client_config;
	const struct rp_accel_transport *transport = &device->transport;

	config.socket_path = device->config.socket_path;
	assert_int_equal(rp_vfio_user_open(&config, &device->transport, &device->why), 0);
	assert_int_equal(transport->ops->dma_map(transport->priv, IOVA, PAGE, device->memory.fd, 0, NULL, NULL), 0);
	assert_int_equal(transport->ops->irq_set(transport->priv, 1, device->call_fd, NULL), 0);
}

static struct rp_wire_parcel *
give_and_leave(struct device *device)
{
	struct rp_accel_transport *transport = &device->transport;
	struct rp_wire_parcel *parcel;

	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	assert_int_equal(transport->ops->give(transport->priv, parcel, &device->why), 0);
	transport->ops->leave(transport->priv);
	transport->ops = NULL;
	return parcel;
}

static int
adopt(struct device *device, struct rp_wire_parcel *parcel)
{
	struct rp_vfio_user_config config = client_config;

	config.socket_path = device->config.socket_path;
	memset(&device->why, 0, sizeof(device->why));
	return rp_vfio_user_adopt(&config, parcel, &device->memory, 1, &device->adopted, &device->why);
}

static void
the_device_process_notices_nothing(void **state)
{
	struct device *device = *state;
	const struct rp_accel_transport *adopted = &device->adopted;
	struct rp_accel_transport_info before, after;
	struct rp_wire_parcel *parcel;
	uint32_t value = 0x11223344, back = 0;

	server_peer_start(&device->peer, &device->config, &server_ops, device);
	start(device);
	device->transport.ops->get_info(device->transport.priv, &before);
	parcel = give_and_leave(device);
	assert_int_equal(adopt(device, parcel), 0);
	rp_wire_parcel_destroy(parcel);
	adopted->ops->get_info(adopted->priv, &after);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(after.peer_pid, getpid());
	server_peer_lock(&device->peer);
	assert_int_equal(device->disconnects_count, 0);
	assert_int_equal(device->irq_changes_count, 1);
	assert_int_equal(device->dma_changes_count, 1);
	assert_int_equal(device->resets_count, 0);
	server_peer_unlock(&device->peer);

	/* And then it can do everything. */
	assert_int_equal(adopted->ops->region_write(adopted->priv, BAR, 8, 4, &value, NULL), 0);
	assert_int_equal(adopted->ops->region_read(adopted->priv, BAR, 8, 4, &back, NULL), 0);
	assert_int_equal(back, value);
	assert_int_equal(adopted->ops->irq_set(adopted->priv, 1, -1, NULL), 0);
	assert_int_equal(adopted->ops->dma_map(adopted->priv, IOVA, PAGE, device->memory.fd, 0, NULL, NULL), -EEXIST);
	assert_int_equal(adopted->ops->dma_unmap(adopted->priv, IOVA, PAGE, NULL), 0);
	assert_int_equal(adopted->ops->reset(adopted->priv, NULL), 0);
	assert_int_equal(adopted->ops->process(adopted->priv, NULL), 0);
	server_peer_lock(&device->peer);
	assert_int_equal(device->irq_changes_count, 2);
	assert_int_equal(device->dma_changes_count, 2);
	assert_int_equal(device->resets_count, 1);
	server_peer_unlock(&device->peer);
}

static void
what_was_changed(void **state)
{
	static const struct {
		enum test_parcel_change change;
		const char *path;
		uint64_t number;
		int error;
		const char *words;
	} rows[] = {
		{TEST_PARCEL_DROP, "vfio-user[0].version", 0, -EBADMSG, "version: expected a number"},
		{TEST_PARCEL_NUMBER, "vfio-user[0].version", 2, -ENOTSUP, "version: 2, expected 1"},
		{TEST_PARCEL_NUMBER, "vfio-user[0].peer", 2, -EBADMSG, "peer: expected a descriptor"},
		{TEST_PARCEL_FILE, "vfio-user[0].peer", 0, -EBADMSG, "peer: not a descriptor of a process"},
		{TEST_PARCEL_FILE, "vfio-user[0].client[0].socket", 0, -EBADMSG,
		 "the connection: socket: not a connected Unix stream socket"},
		{TEST_PARCEL_NUMBER, "vfio-user[0].client[0].memories", 0, -EBADMSG,
		 "the server has 0 ranges, expected 1"},
	};
	struct device *device = *state;
	struct rp_wire_parcel *parcel;
	struct test_leaks leaks;
	size_t i;

	server_peer_start(&device->peer, &device->config, &server_ops, device);
	start(device);
	parcel = give_and_leave(device);
	test_leaks_read(&leaks);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rp_wire_parcel *changed =
			test_parcel_changed(parcel, rows[i].change, rows[i].path, rows[i].number);
		int rc = adopt(device, changed);

		if (rc != rows[i].error || strstr(device->why.text, rows[i].words) == NULL)
			print_error("%zu: %d %s\n", i, rc, device->why.text);
		assert_int_equal(rc, rows[i].error);
		assert_non_null(strstr(device->why.text, rows[i].words));
		assert_null(device->adopted.ops);
		rp_wire_parcel_destroy(changed);
		test_leaks_assert_none(&leaks);
	}
	assert_int_equal(adopt(device, parcel), 0);
	rp_wire_parcel_destroy(parcel);
}

static bool
is_quiet(void *ctx)
{
	const struct device *device = ctx;

	return device->adopted.ops->is_quiet(device->adopted.priv);
}

/* The proof of its end goes along: the process, not its number. */
static void
a_process_that_ends_afterwards(void **state)
{
	struct device *device = *state;
	struct rp_wire_parcel *parcel;

	device->child = server_peer_fork(&device->config, &server_ops, device);
	start(device);
	parcel = give_and_leave(device);
	assert_int_equal(adopt(device, parcel), 0);
	rp_wire_parcel_destroy(parcel);
	assert_false(is_quiet(device));
	kill(device->child, SIGKILL);
	assert_true(test_wait(is_quiet, device, 5000));
	assert_int_equal(device->adopted.ops->process(device->adopted.priv, &device->why), -ENOTCONN);
}

static void
a_process_that_ended_meanwhile(void **state)
{
	struct device *device = *state;
	struct rp_wire_parcel *parcel;

	device->child = server_peer_fork(&device->config, &server_ops, device);
	start(device);
	parcel = give_and_leave(device);
	kill(device->child, SIGKILL);
	waitpid(device->child, NULL, 0);
	unlink(device->config.socket_path);
	device->child = 0;
	assert_int_equal(adopt(device, parcel), -ENOTCONN);
	assert_null(device->adopted.ops);
	rp_wire_parcel_destroy(parcel);
}

static void
a_server_that_left_is_not_given(void **state)
{
	struct device *device = *state;
	struct rp_wire_parcel *parcel;

	server_peer_start(&device->peer, &device->config, &server_ops, device);
	start(device);
	server_peer_stop(&device->peer);
	assert_int_equal(device->transport.ops->process(device->transport.priv, NULL), -ENOTCONN);
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	assert_int_equal(device->transport.ops->give(device->transport.priv, parcel, &device->why), -ENOTCONN);
	rp_wire_parcel_destroy(parcel);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_device_process_notices_nothing), TEST(what_was_changed),
		TEST(a_process_that_ends_afterwards),	  TEST(a_process_that_ended_meanwhile),
		TEST(a_server_that_left_is_not_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
