/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>

#include "fuzz.h"
#include "rp_vfu_virtio.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"

/*
 * A hostile driver against rp_vfu_virtio: any register, at any width and in any order,
 * by messages and through the window in configuration space, kicks, resets and
 * clients that leave, while the device refuses, takes its time and changes what it is.
 * The device checks that registers and callbacks tell the same story: a queue that is
 * enabled is one that it was told of, where it was told, until it was told otherwise.
 */

#define QUEUES 3u
#define SIZE_MAX_ENTRIES 64u
#define CONFIG_BYTES 20u
#define FEATURES (1ull << VIRTIO_F_VERSION_1 | 1ull << 34 | 1ull << 40 | 0x21)
#define ACCESS_MAX 96u
#define HEADER_BYTES 16u
#define CONFIG_REGION RP_VFU_PCI_CONFIG_REGION

enum { COMMAND_VERSION = 1, COMMAND_READ = 9, COMMAND_WRITE = 10, COMMAND_RESET = 13 };

struct device {
	struct fuzz_input *input;
	struct rp_vfu_virtio *virtio;
	struct rp_vfu_pci *pci;
	int client;
	char socket_path[32];
	uint16_t id;
	bool refuse; /* the next callback that may */
	bool told[QUEUES]; /* enabled, as far as callbacks say */
	struct rp_vfu_virtio_queue where[QUEUES]; /* when it was */
};

static int
on_enable(void *ctx, unsigned int queue)
{
	struct device *device = ctx;
	bool refuse = device->refuse;

	fuzz_require(queue < QUEUES && !device->told[queue], "a queue is enabled once");
	fuzz_require((rp_vfu_virtio_status(device->virtio) & VIRTIO_CONFIG_S_FEATURES_OK) != 0, "after FEATURES_OK");
	device->refuse = false;
	device->told[queue] = !refuse;
	device->where[queue] = *rp_vfu_virtio_queue(device->virtio, queue);
	return refuse ? -EBADMSG : 0;
}

static int
on_stop(void *ctx, unsigned int queue, enum rp_vfu_virtio_stop kind)
{
	struct device *device = ctx;
	bool later = device->refuse;

	fuzz_require(queue < QUEUES && device->told[queue], "only what is enabled is stopped");
	fuzz_require(kind == RP_VFU_VIRTIO_STOP_RESET || !rp_vfu_virtio_queue(device->virtio, queue)->stopping,
		     "and told so once");
	device->refuse = false;
	rp_vfu_virtio_queue(device->virtio, queue)->position = 7;
	device->told[queue] = later && kind == RP_VFU_VIRTIO_STOP;
	return later ? -EINPROGRESS : 0;
}

static void
on_vector(void *ctx, unsigned int queue)
{
	(void)ctx;
	fuzz_require(queue < QUEUES, "a queue that there is");
}

static void
on_reset(void *ctx)
{
	struct device *device = ctx;

	memset(device->told, 0, sizeof(device->told));
}

static void
on_look(void *ctx, unsigned int queue, struct rp_vfu_virtio_counters *ret_counters)
{
	struct device *device = ctx;

	fuzz_require(queue < QUEUES, "a queue that there is");
	rp_vfu_virtio_queue(device->virtio, queue)->broken = device->refuse;
	ret_counters->packets = UINT64_MAX;
}

static void
on_config_write(void *ctx, uint32_t at, uint32_t count_bytes, const uint8_t *bytes)
{
	struct device *device = ctx;

	fuzz_require(count_bytes > 0 && at < CONFIG_BYTES && count_bytes <= CONFIG_BYTES - at, "within it");
	if (device->refuse)
		fuzz_require(rp_vfu_virtio_set_config(device->virtio, at, bytes, count_bytes) == 0, "taken over");
}

static int
on_pci_reset(void *ctx, enum rp_vfu_pci_reset kind)
{
	struct device *device = ctx;

	(void)kind;
	rp_vfu_virtio_reset(device->virtio);
	return 0;
}

static void
check_queue(struct device *device, unsigned int number)
{
	const struct rp_vfu_virtio_queue *queue = rp_vfu_virtio_queue(device->virtio, number);
	const struct rp_vfu_virtio_queue *where = &device->where[number];

	fuzz_require(queue->size >= 1 && queue->size <= SIZE_MAX_ENTRIES, "a size that was offered");
	fuzz_require(queue->vector <= QUEUES || queue->vector == RP_VFU_VIRTIO_NO_VECTOR, "a vector that there is");
	fuzz_require(queue->enabled == device->told[number], "the device knows of it");
	fuzz_require(queue->enabled || !queue->stopping, "what stops is enabled");
	if (queue->enabled)
		fuzz_require(queue->size == where->size && queue->desc_iova == where->desc_iova &&
				     queue->avail_iova == where->avail_iova && queue->used_iova == where->used_iova &&
				     (queue->position == where->position || queue->position == 7),
			     "a ring stays where it was");
}

static void
check(struct device *device)
{
	uint8_t status = rp_vfu_virtio_status(device->virtio);
	uint64_t features = rp_vfu_virtio_features(device->virtio);
	unsigned int queue;

	for (queue = 0; queue < QUEUES; queue++)
		check_queue(device, queue);
	if ((status & VIRTIO_CONFIG_S_FEATURES_OK) != 0)
		fuzz_require((features & ~FEATURES) == 0 && (features & 1ull << VIRTIO_F_VERSION_1) != 0,
			     "features that were offered");
}

static void
send_command(struct device *device, uint16_t command, const void *payload, size_t payload_bytes)
{
	const struct {
		uint16_t id, command;
		uint32_t size_bytes, flags, error;
	} header = {device->id++, command, (uint32_t)(HEADER_BYTES + payload_bytes), 0, 0};
	uint8_t bytes[HEADER_BYTES + 16 + ACCESS_MAX];

	memcpy(bytes, &header, HEADER_BYTES);
	if (payload_bytes > 0)
		memcpy(bytes + HEADER_BYTES, payload, payload_bytes);
	fuzz_send(device->client, bytes, HEADER_BYTES + payload_bytes, NULL, 0);
	rp_vfu_server_process(rp_vfu_pci_server(device->pci));
	fuzz_drain(device->client);
	check(device);
}

/* @param bytes NULL: read. */
static void
access_region(struct device *device, uint32_t region, uint64_t at, uint32_t count, const uint8_t *bytes)
{
	struct {
		uint64_t at;
		uint32_t region, count;
		uint8_t bytes[ACCESS_MAX];
	} access = {.at = at, .region = region, .count = count};

	if (bytes != NULL)
		memcpy(access.bytes, bytes, count);
	send_command(device, bytes == NULL ? COMMAND_READ : COMMAND_WRITE, &access, 16 + (bytes == NULL ? 0 : count));
}

static void
put(struct device *device, uint32_t region, uint64_t at, uint32_t count, uint64_t value)
{
	uint8_t bytes[8];
	uint32_t i;

	for (i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(value >> 8 * i);
	access_region(device, region, at, count, bytes);
}

static void
come(struct device *device)
{
	static const char version[] = "\0\0\1\0{\"capabilities\":{}}";

	fuzz_require(rp_wire_socket_connect(device->socket_path, &device->client, NULL) == 0, "a connection");
	send_command(device, COMMAND_VERSION, version, sizeof(version));
}

/* A field of the common configuration, as a driver writes it. */
static void
write_field(struct device *device)
{
	static const struct {
		uint8_t at, bytes;
	} fields[] = {{0, 4},  {8, 4},	{12, 4}, {16, 2}, {20, 1}, {22, 2}, {24, 2}, {26, 2},
		      {28, 2}, {32, 8}, {40, 8}, {48, 8}, {52, 4}, {58, 2}, {4, 4},  {30, 2}};
	unsigned int field = fuzz_below(device->input, sizeof(fields) / sizeof(fields[0]));
	uint8_t small = fuzz_u8(device->input);

	put(device, RP_VFU_VIRTIO_BAR_REGISTERS, fields[field].at, fields[field].bytes,
	    small < 250 ? small : fuzz_number(device->input));
}

/* As a driver does it: what comes then begins with queues that run. */
static void
set_up(struct device *device)
{
	const uint64_t features = 1ull << VIRTIO_F_VERSION_1 | 1ull << 40;
	unsigned int queue;

	put(device, RP_VFU_VIRTIO_BAR_REGISTERS, 20, 1, 0);
	put(device, CONFIG_REGION, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	/* Their upper half, selected by the field before it. */
	put(device, RP_VFU_VIRTIO_BAR_REGISTERS, 8, 8, features | 1);
	put(device, RP_VFU_VIRTIO_BAR_REGISTERS, 20, 1, 11);
	for (queue = 0; queue < QUEUES; queue++) {
		put(device, RP_VFU_VIRTIO_BAR_REGISTERS, 22, 2, queue);
		put(device, RP_VFU_VIRTIO_BAR_REGISTERS, 32, 8, 0x1000 * (queue + 1));
		put(device, RP_VFU_VIRTIO_BAR_REGISTERS, 28, 2, 1);
	}
	put(device, RP_VFU_VIRTIO_BAR_REGISTERS, 20, 1, 15);
}

static void
access_anything(struct device *device, bool write)
{
	static const uint32_t regions[] = {RP_VFU_VIRTIO_BAR_REGISTERS, CONFIG_REGION, RP_VFU_VIRTIO_BAR_NOTIFY,
					   RP_VFU_VIRTIO_BAR_MSIX};
	static const uint32_t begins[] = {0, 0x1000, 0x2000, 0x4000};
	uint32_t region = regions[fuzz_below(device->input, 4)], begin = begins[fuzz_below(device->input, 4)];
	uint64_t at = begin + fuzz_u8(device->input);
	uint32_t count = 1 + fuzz_below(device->input, ACCESS_MAX);
	uint8_t bytes[ACCESS_MAX];

	if (region != RP_VFU_VIRTIO_BAR_REGISTERS)
		at -= begin;
	if (fuzz_u8(device->input) == 255)
		at = fuzz_number(device->input);
	fuzz_bytes(device->input, bytes, count);
	access_region(device, region, at, count, write ? bytes : NULL);
}

static void
write_state(struct device *device)
{
	uint64_t at = 0x4000 + 16 + 64 * fuzz_below(device->input, QUEUES + 1) + 4 * fuzz_below(device->input, 3);

	put(device, RP_VFU_VIRTIO_BAR_REGISTERS, at, 4, fuzz_u8(device->input));
	access_region(device, RP_VFU_VIRTIO_BAR_REGISTERS, at, 8, NULL);
}

/* Where the window is: the only vendor capability of 20 bytes that can be written. */
static void
use_window(struct device *device)
{
	uint32_t at = rp_vfu_pci_get(device->pci, PCI_CAPABILITY_LIST, 1);
	uint32_t place = fuzz_u8(device->input), length = fuzz_u8(device->input);
	uint32_t bar = fuzz_below(device->input, 6);

	while (at != 0 &&
	       (rp_vfu_pci_get(device->pci, at, 1) != PCI_CAP_ID_VNDR || rp_vfu_pci_get(device->pci, at + 3, 1) != 5))
		at = rp_vfu_pci_get(device->pci, at + 1, 1);
	put(device, CONFIG_REGION, at + 4, 1, bar);
	put(device, CONFIG_REGION, at + 8, 4, place < 250 ? place : fuzz_number(device->input));
	put(device, CONFIG_REGION, at + 12, 4, length);
	put(device, CONFIG_REGION, at + 16, 4, fuzz_u8(device->input));
	access_region(device, CONFIG_REGION, at + 16, 4, NULL);
}

/* What the device does of its own accord. */
static void
act(struct device *device)
{
	unsigned int queue = fuzz_below(device->input, QUEUES);

	switch (fuzz_below(device->input, 5)) {
	case 0:
		rp_vfu_virtio_interrupt(device->virtio, queue);
		break;
	case 1:
		device->told[queue] = false;
		rp_vfu_virtio_queue_stopped(device->virtio, queue);
		break;
	case 2:
		rp_vfu_virtio_needs_reset(device->virtio);
		break;
	case 3:
		rp_vfu_virtio_set_config(device->virtio, queue, &queue, 1);
		break;
	default:
		(void)rp_vfu_virtio_rung(device->virtio, queue);
		fuzz_require(!rp_vfu_virtio_rung(device->virtio, queue), "a kick is seen once");
	}
	check(device);
}

static void
step(struct device *device)
{
	switch (fuzz_below(device->input, 16)) {
	case 0:
		set_up(device);
		break;
	case 1:
		device->refuse = true;
		break;
	case 2:
		write_state(device);
		break;
	case 3:
		use_window(device);
		break;
	case 4:
		access_anything(device, false);
		break;
	case 5:
	case 6:
		access_anything(device, true);
		break;
	case 7:
		act(device);
		break;
	case 8:
		send_command(device, COMMAND_RESET, NULL, 0);
		break;
	case 9:
		rp_wire_fd_close(&device->client);
		rp_vfu_server_process(rp_vfu_pci_server(device->pci));
		check(device);
		come(device);
		break;
	default:
		write_field(device);
	}
}

static void
serve(struct device *device)
{
	static const uint8_t config_bytes[CONFIG_BYTES] = {2, 0, 0, 0, 0, 1};
	/* By vectors and by the pin. */
	uint16_t vectors_count = fuzz_u8(device->input) % 2 == 0 ? QUEUES + 1 : 0;
	const struct rp_vfu_virtio_config registers = {.features = FEATURES,
						       .queues_count = QUEUES,
						       .queue_size_max = SIZE_MAX_ENTRIES,
						       .vectors_count = vectors_count,
						       .has_counters = true,
						       .config = config_bytes,
						       .config_bytes = sizeof(config_bytes)};
	const struct rp_vfu_virtio_ops registers_ops = {.queue_enable = on_enable,
							.queue_stop = on_stop,
							.queue_vector = on_vector,
							.reset = on_reset,
							.look = on_look,
							.config_write = on_config_write};
	const struct rp_vfu_pci_config function = {
		.vendor_id = 0x1af4, .device_id = 0x1041, .class_code = 0x020000, .intx = true, .express = true};
	const struct rp_vfu_pci_ops function_ops = {.reset = on_pci_reset};

	fuzz_require(rp_vfu_virtio_create(&registers, &registers_ops, device, &device->virtio, NULL) == 0 &&
			     rp_vfu_pci_create(&function, &function_ops, device, &device->pci, NULL) == 0,
		     "a device");
	rp_vfu_virtio_describe(device->virtio, device->pci);
	rp_vfu_pci_add_express(device->pci, NULL);
	fuzz_require(rp_vfu_pci_listen(device->pci, device->socket_path, NULL) == 0, "a server");
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
	struct fuzz_input input = {bytes, size_bytes};
	struct device device = {.input = &input, .client = -1};

	fuzz_begin();
	/* In the directory where the fuzzer was started. */
	snprintf(device.socket_path, sizeof(device.socket_path), "virtio-%d.sock", (int)getpid());
	serve(&device);
	come(&device);
	while (input.left_bytes > 0)
		step(&device);
	rp_vfu_pci_destroy(device.pci);
	rp_vfu_virtio_destroy(device.virtio);
	rp_wire_fd_close(&device.client);
	fuzz_end();
	return 0;
}
