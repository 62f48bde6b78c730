/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <linux/pci_regs.h>

#include "device.h"
#include "function.h"
#include "rp_wire_fd.h"

static struct peer_msg reply;

static int
on_reset(void *ctx, enum rp_vfu_pci_reset kind)
{
	struct function *function = ctx;

	function->resets++;
	function->last_reset = kind;
	function->was_master_at_reset = rp_vfu_pci_is_bus_master(function->pci);
	return function->reset_result;
}

static int
on_quiesce(void *ctx, uint64_t token)
{
	struct function *function = ctx;

	function->quiesces++;
	function->token = token;
	return function->quiesce_result;
}

static int
on_change_state(void *ctx, enum rp_vfu_mig_state from, enum rp_vfu_mig_state to)
{
	(void)from;
	(void)to;
	((struct function *)ctx)->arcs++;
	return 0;
}

/* Its state is its first register. */
static int
on_data_out(void *ctx, uint8_t *ret_bytes, uint32_t room_bytes, uint32_t *ret_count_bytes)
{
	struct function *function = ctx;

	*ret_count_bytes = room_bytes < 4 ? room_bytes : 4;
	memcpy(ret_bytes, function->registers, *ret_count_bytes);
	return 0;
}

static int
on_data_in(void *ctx, const uint8_t *bytes, uint32_t count_bytes)
{
	struct function *function = ctx;

	if (count_bytes > sizeof(function->moved_in))
		return -EINVAL;
	memcpy(function->moved_in, bytes, count_bytes);
	return 0;
}

static void
on_bus_master(void *ctx, bool on)
{
	struct function *function = ctx;

	assert_int_equal(rp_vfu_pci_is_bus_master(function->pci), on);
	if (on)
		function->masters_on++;
	else
		function->masters_off++;
}

static void
on_irq_changed(void *ctx, uint32_t irq_index, uint32_t vector, int eventfd)
{
	struct function *function = ctx;

	assert_int_equal(rp_vfu_pci_irq_fd(function->pci, irq_index, vector), eventfd);
	function->irq_changes++;
	/* A test of as many vectors as there can be looks at its own. */
	if (vector < FUNCTION_MSIX_COUNT)
		function->irq_fds[irq_index][vector] = eventfd;
}

static void
on_dma_changed(void *ctx)
{
	((struct function *)ctx)->dma_changes++;
}

static void
on_connected(void *ctx)
{
	((struct function *)ctx)->connects++;
}

static void
on_disconnected(void *ctx, const struct rp_wire_why *why)
{
	(void)why;
	((struct function *)ctx)->disconnects++;
}

static void
on_refused(void *ctx, const struct rp_wire_why *why)
{
	(void)why;
	((struct function *)ctx)->refusals++;
}

static int
bar_read(void *ctx, uint32_t region, uint64_t at, uint32_t count, uint8_t *ret_bytes)
{
	struct function *function = ctx;

	(void)region;
	function->bar_reads++;
	function->last_at = at;
	function->last_count = count;
	memcpy(ret_bytes, function->registers + at, count);
	return function->fail_with;
}

static int
bar_write(void *ctx, uint32_t region, uint64_t at, uint32_t count, const uint8_t *bytes)
{
	struct function *function = ctx;

	(void)region;
	function->bar_writes++;
	function->last_at = at;
	function->last_count = count;
	memcpy(function->registers + at, bytes, count);
	return function->fail_with;
}

static int
vendor_read(void *ctx, uint32_t at, uint32_t count, uint8_t *ret_bytes)
{
	struct function *function = ctx;

	function->vendor_reads++;
	function->vendor_at = at;
	function->vendor_count = count;
	/* The last byte counts accesses; the others are what is stored. */
	if (at + count == FUNCTION_VENDOR_BYTES)
		ret_bytes[count - 1] = (uint8_t)function->vendor_reads;
	return function->fail_with;
}

static int
vendor_write(void *ctx, uint32_t at, uint32_t count, const uint8_t *bytes)
{
	struct function *function = ctx;

	(void)bytes;
	function->vendor_writes++;
	function->vendor_at = at;
	function->vendor_count = count;
	return function->fail_with;
}

void
function_begin(struct function *function, bool express, bool with_reset)
{
	struct rp_vfu_pci_config config = {
		.vendor_id = 0x1234,
		.device_id = 0x5678,
		.subsystem_vendor_id = 0x9abc,
		.subsystem_id = 0xdef0,
		.class_code = 0x028001,
		.revision = 0x42,
		.intx = true,
		.express = express,
		.server = {.socket_path = "not looked at", .regions_count = 77, .dma_timeout_ms = 20000},
	};
	const struct rp_vfu_pci_ops ops = {
		.reset = with_reset ? on_reset : NULL,
		.bus_master = on_bus_master,
		.quiesce = with_reset ? on_quiesce : NULL,
		.irq_changed = on_irq_changed,
		.dma_changed = on_dma_changed,
		.connected = on_connected,
		.disconnected = on_disconnected,
		.refused = on_refused,
	};

	if (with_reset)
		config.server.migration = (struct rp_vfu_migration){RP_VFU_MIGRATION_STOP_COPY_MASK, on_change_state,
								    on_data_out, on_data_in};
	memset(function, 0, sizeof(*function));
	memset(function->irq_fds, 0xff, sizeof(function->irq_fds));
	function->memory_fd = test_memfd((size_t)sysconf(_SC_PAGESIZE) * 4, false);
	assert_int_equal(rp_vfu_pci_create(&config, &ops, function, &function->pci, NULL), 0);
}

static void
describe_bars(struct function *function)
{
	const struct rp_vfu_pci_bar registers = {
		.wide = true,
		.region = {65536, true, true, .fd = -1, .read = bar_read, .write = bar_write},
	};
	const struct rp_vfu_pci_bar memory = {
		.prefetchable = true,
		.region = {(uint64_t)sysconf(_SC_PAGESIZE) * 4, true, true, .fd = function->memory_fd},
	};
	const struct rp_vfu_pci_bar ports = {
		.io = true,
		.region = {64, true, true, .fd = -1, .read = bar_read, .write = bar_write},
	};

	assert_int_equal(rp_vfu_pci_bar(function->pci, 0, &registers, NULL), 0);
	assert_int_equal(rp_vfu_pci_bar(function->pci, 2, &memory, NULL), 0);
	assert_int_equal(rp_vfu_pci_bar(function->pci, 3, &ports, NULL), 0);
}

void
function_describe(struct function *function)
{
	static const uint8_t vendor[FUNCTION_VENDOR_BYTES] = {0xee, 0xee, FUNCTION_VENDOR_BYTES, 1, 2, 3, 4, 5, 6,
							      7,    8};
	static const uint8_t writable[FUNCTION_VENDOR_BYTES] = {0xff, 0xff, 0, 0, 0xff, 0x0f, 0, 0, 0, 0, 0};
	static const uint8_t serial[12] = {0xee, 0xee, 0xee, 0xee, 1, 2, 3, 4, 5, 6, 7, 8};
	static const uint8_t extended[8] = {0, 0, 0, 0, 9, 9, 9, 9};
	const struct rp_vfu_pci_msix msix = {FUNCTION_MSIX_COUNT, 0, FUNCTION_TABLE, 0, FUNCTION_PENDING};
	const struct rp_vfu_pci_cap caps[] = {
		{.id = PCI_CAP_ID_VNDR,
		 .size_bytes = sizeof(vendor),
		 .bytes = vendor,
		 .writable = writable,
		 .read = vendor_read,
		 .write = vendor_write},
		{.id = PCI_EXT_CAP_ID_DSN,
		 .extended = true,
		 .version = 1,
		 .size_bytes = sizeof(serial),
		 .bytes = serial},
		{.id = PCI_EXT_CAP_ID_VNDR,
		 .extended = true,
		 .version = 2,
		 .size_bytes = sizeof(extended),
		 .bytes = extended,
		 .writable = extended},
	};
	uint32_t at;

	describe_bars(function);
	assert_int_equal(rp_vfu_pci_add_power(function->pci, NULL), 0);
	assert_int_equal(rp_vfu_pci_add_msi(function->pci, FUNCTION_MSI_COUNT, NULL), 0);
	assert_int_equal(rp_vfu_pci_add_msix(function->pci, &msix, NULL), 0);
	assert_int_equal(rp_vfu_pci_add(function->pci, &caps[0], &at, NULL), 0);
	assert_int_equal(at, FUNCTION_VENDOR);
	assert_int_equal(rp_vfu_pci_add_express(function->pci, NULL), 0);
	assert_int_equal(rp_vfu_pci_add(function->pci, &caps[1], &at, NULL), 0);
	assert_int_equal(at, 0x100);
	assert_int_equal(rp_vfu_pci_add(function->pci, &caps[2], &at, NULL), 0);
	assert_int_equal(at, 0x10c);
}

static void
turn(void *ctx)
{
	assert_int_equal(rp_vfu_server_process(rp_vfu_pci_server(((struct function *)ctx)->pci)), 0);
}

void
function_serve(struct function *function)
{
	struct rp_wire_why why = {.text = ""};

	if (rp_vfu_pci_listen(function->pci, test_socket_path(), &why) < 0)
		fail_msg("%s", why.text);
	function->peer = (struct peer){.turn = turn, .ctx = function};
	peer_connect(&function->peer, test_socket_path());
	function->connected = true;
	turn(function);
	device_negotiate(&function->peer);
}

void
function_start(struct function *function)
{
	function_begin(function, true, true);
	function_describe(function);
	function_serve(function);
}

void
function_close(struct function *function)
{
	if (function->connected)
		peer_close(&function->peer);
	function->connected = false;
	function->pci = rp_vfu_pci_destroy(function->pci);
	rp_wire_fd_close(&function->memory_fd);
}

struct access {
	uint64_t at;
	uint32_t region;
	uint32_t count;
	uint8_t bytes[4096];
};
#define ACCESS_BYTES 16u

uint32_t
function_read(struct function *function, uint32_t region, uint64_t at, uint32_t count, void *ret_bytes)
{
	const struct access access = {.at = at, .region = region, .count = count};
	uint32_t error = device_ask(&function->peer, 9, &access, ACCESS_BYTES, NULL, 0, &reply);

	if (error != 0)
		return error;
	assert_int_equal(reply.payload_bytes, ACCESS_BYTES + count);
	memcpy(ret_bytes, reply.payload + ACCESS_BYTES, count);
	return 0;
}

uint32_t
function_write(struct function *function, uint32_t region, uint64_t at, uint32_t count, const void *bytes)
{
	struct access access = {.at = at, .region = region, .count = count};

	assert_true(count <= sizeof(access.bytes));
	memcpy(access.bytes, bytes, count);
	return device_ask(&function->peer, 10, &access, ACCESS_BYTES + count, NULL, 0, &reply);
}

uint32_t
function_get(struct function *function, uint32_t region, uint64_t at, uint32_t count)
{
	uint8_t bytes[4] = {0};

	assert_int_equal(function_read(function, region, at, count, bytes), 0);
	return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

void
function_put(struct function *function, uint32_t region, uint64_t at, uint32_t count, uint32_t value)
{
	const uint8_t bytes[] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};

	assert_int_equal(function_write(function, region, at, count, bytes), 0);
}

void
function_attach(struct function *function, uint32_t irq_index, uint32_t vector, int eventfd)
{
	const uint32_t set[] = {20, 0x24, irq_index, vector, 1};

	assert_int_equal(device_ask(&function->peer, 8, set, sizeof(set), &eventfd, eventfd >= 0 ? 1 : 0, &reply), 0);
}

void
function_irq_action(struct function *function, uint32_t irq_index, uint32_t vector, uint32_t action)
{
	const uint32_t set[] = {20, 0x1 | action, irq_index, vector, 1};

	assert_int_equal(device_ask(&function->peer, 8, set, sizeof(set), NULL, 0, &reply), 0);
}

uint32_t
function_reset(struct function *function)
{
	return device_ask(&function->peer, 13, NULL, 0, NULL, 0, &reply);
}

uint64_t
function_signals(int eventfd)
{
	eventfd_t count;

	return eventfd_read(eventfd, &count) == 0 ? count : 0;
}
