/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "rp_vfu_server.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"
#include "vfio_user.h"
#include "vfio_user_iommu.h"
#include "vfio_user_memory.h"

/*
 * A hostile client against rp_vfu_server: any command at any time with any
 * descriptor, answers to commands that were never sent, hang-ups, a second client.
 * The device here checks that what it is told makes sense, and after each message
 * that the address space is one: in order, apart from each other, and each byte that
 * has an address can be touched.
 */

#define MSIX RP_VFU_PCI_MSIX_IRQ
#define BAR2 2u
#define CONFIG_BYTES 256u
#define BOUNCE_BYTES 0x40000u
#define STATE_BYTES 1000u /* what the device is, to be migrated */
#define ROWS_ROOM 32u /* kinds of messages that an input can name; the table may grow into it */

struct device {
	struct rp_vfu_server *server;
	struct fuzz_input *input;
	char socket_path[32];
	int client; /* the hostile end */
	int second; /* another, which must be turned away */
	uint16_t id;
	bool refuse; /* the next callback that may */
	bool connected;
	int irq_fds[RP_VFU_PCI_IRQS_COUNT][FUZZ_VFU_VECTORS];
	int twin; /* what came with the last message that had a descriptor; -1: none did */
	struct fuzz_vfu_queue asked; /* of the server's commands */
	struct fuzz_vfu_memory memory; /* what the device does with the client's */
	struct fuzz_vfu_iommu iommu; /* and with its translations */
	uint64_t token; /* of a quiescing that takes its time; 0: none does */
	uint64_t number; /* of an access that is answered later; 0: none is */
	uint32_t number_bytes;
	enum rp_vfu_mig_state mig_state;
	uint32_t state_bytes; /* how much of it went out, or came */
};

static const uint32_t vectors_of[RP_VFU_PCI_IRQS_COUNT] = {1, 0, FUZZ_VFU_VECTORS, 1, 4};

static int
answer(struct device *device)
{
	bool refuse = device->refuse;

	device->refuse = false;
	return refuse ? -EIO : 0;
}

static void
check_access(uint32_t region, uint64_t offset_bytes, uint32_t count_bytes)
{
	uint64_t size_bytes = region == RP_VFU_PCI_CONFIG_REGION ? CONFIG_BYTES : FUZZ_VFU_REGION_BYTES;

	fuzz_require(region == BAR2 || region == RP_VFU_PCI_CONFIG_REGION, "a region with handlers");
	fuzz_require(count_bytes > 0 && offset_bytes < size_bytes && count_bytes <= size_bytes - offset_bytes,
		     "an access lies in its region");
}

static int
on_read(void *ctx, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes, uint8_t *ret_bytes)
{
	struct device *device = ctx;

	check_access(region, offset_bytes, count_bytes);
	memset(ret_bytes, 0x5a, count_bytes);
	if (!device->refuse || device->number != 0 || offset_bytes % 2 == 0)
		return answer(device);
	device->refuse = false;
	device->number = rp_vfu_server_command_number(device->server);
	device->number_bytes = count_bytes;
	return -EINPROGRESS;
}

static int
on_write(void *ctx, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes, const uint8_t *bytes)
{
	static uint8_t copy[FUZZ_VFU_REGION_BYTES];
	struct device *device = ctx;

	check_access(region, offset_bytes, count_bytes);
	memcpy(copy, bytes, count_bytes);
	if (region == BAR2 && offset_bytes < FUZZ_VFU_VECTORS)
		rp_vfu_server_irq_trigger(device->server, MSIX, (uint32_t)offset_bytes);
	return answer(device);
}

static int
on_reset(void *ctx)
{
	struct device *device = ctx;
	int rc = answer(device);

	if (rc == 0)
		device->mig_state = RP_VFU_MIG_RUNNING;
	return rc;
}

static int
on_quiesce(void *ctx, uint64_t token)
{
	struct device *device = ctx;

	if (!device->refuse)
		return 0;
	device->refuse = false;
	device->token = token;
	return -EINPROGRESS;
}

static int
on_change_state(void *ctx, enum rp_vfu_mig_state from, enum rp_vfu_mig_state to)
{
	struct device *device = ctx;

	fuzz_require(from == device->mig_state && to != from, "a device changes from where it is");
	fuzz_require(to != RP_VFU_MIG_ERROR && to < RP_VFU_MIG_STATES_COUNT, "a state that there is");
	if (device->refuse) {
		device->refuse = false;
		return -EIO;
	}
	device->mig_state = to;
	device->state_bytes = 0;
	return 0;
}

static int
on_data_out(void *ctx, uint8_t *ret_bytes, uint32_t room_bytes, uint32_t *ret_count_bytes)
{
	struct device *device = ctx;
	uint32_t left_bytes = STATE_BYTES - device->state_bytes;

	fuzz_require(room_bytes > 0, "room for a state");
	fuzz_require(device->mig_state == RP_VFU_MIG_STOP_COPY || device->mig_state == RP_VFU_MIG_PRE_COPY,
		     "a device that is saved");
	*ret_count_bytes = left_bytes < room_bytes ? left_bytes : room_bytes;
	memset(ret_bytes, 0x33, *ret_count_bytes);
	device->state_bytes += *ret_count_bytes;
	return answer(device);
}

static int
on_data_in(void *ctx, const uint8_t *bytes, uint32_t count_bytes)
{
	static uint8_t copy[RP_VFU_DATA_XFER_MAX_BYTES];
	struct device *device = ctx;

	fuzz_require(device->mig_state == RP_VFU_MIG_RESUMING, "a device that is restored");
	fuzz_require(count_bytes <= sizeof(copy), "a message has a limit");
	memcpy(copy, bytes, count_bytes);
	return answer(device);
}

static void
on_irq_changed(void *ctx, uint32_t irq_index, uint32_t vector, int eventfd)
{
	struct device *device = ctx;

	fuzz_require(irq_index < RP_VFU_PCI_IRQS_COUNT && vector < vectors_of[irq_index], "a vector that is there");
	fuzz_require(eventfd == -1 || fcntl(eventfd, F_GETFD) >= 0, "a vector's descriptor is open");
	device->irq_fds[irq_index][vector] = eventfd;
}

static void
on_connected(void *ctx)
{
	struct device *device = ctx;

	fuzz_require(!device->connected, "one client at a time");
	/* One that refused the way back, and its reset as well, is what it is; the client is told. */
	fuzz_require(device->mig_state == RP_VFU_MIG_RUNNING ||
			     rp_vfu_server_migration_state(device->server) == RP_VFU_MIG_ERROR,
		     "a client finds the device running, or in ERROR");
	device->connected = true;
}

static void
on_disconnected(void *ctx, const struct rp_wire_why *why)
{
	struct device *device = ctx;
	unsigned int i, j;

	fuzz_require(device->connected, "only who came can leave");
	fuzz_require(why->text[0] != '\0', "a reason for leaving");
	device->connected = false;
	device->token = device->number = 0;
	fuzz_require(rp_dma_space_count(rp_vfu_server_dma(device->server)) == 0, "no memory without a client");
	for (i = 0; i < RP_VFU_PCI_IRQS_COUNT; i++)
		for (j = 0; j < vectors_of[i]; j++)
			fuzz_require(device->irq_fds[i][j] == -1, "no interrupt without a client");
}

static void
on_refused(void *ctx, const struct rp_wire_why *why)
{
	(void)ctx;
	fuzz_require(why->error < 0 && why->text[0] != '\0', "a refusal has a reason");
}

static const struct rp_vfu_server_ops ops = {
	.reset = on_reset,
	.quiesce = on_quiesce,
	.irq_changed = on_irq_changed,
	.connected = on_connected,
	.disconnected = on_disconnected,
	.refused = on_refused,
};

static void
serve(struct device *device)
{
	const uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	const struct rp_vfu_area areas[] = {{0, page_bytes}, {2 * page_bytes, page_bytes}};
	const struct rp_vfu_io_fd io_fds[] = {{0, 4, fuzz_fd(FUZZ_FD_EVENT)}, {8, 0, fuzz_fd(FUZZ_FD_EVENT)}};
	static const struct rp_vfu_server_iommu iommu = {
		.cache_entries_max = 8,
		.translations_max = 4,
		.invalidations_max = 4,
		.page_requests_max = 3,
		.pasids_max = 3,
	};
	struct rp_vfu_region regions[FUZZ_VFU_REGIONS];
	struct rp_vfu_irq_type irqs[RP_VFU_PCI_IRQS_COUNT];
	struct rp_vfu_server_config config = {
		.socket_path = device->socket_path,
		.regions_count = FUZZ_VFU_REGIONS,
		.regions = regions,
		.irqs_count = RP_VFU_PCI_IRQS_COUNT,
		.irqs = irqs,
		.pci = true,
		.resettable = true,
		.prompt_reads = true,
		.migration =
			{
				.flags = RP_VFU_MIGRATION_STOP_COPY_MASK | RP_VFU_MIGRATION_PRE_COPY_MASK,
				.change_state = on_change_state,
				.data_out = on_data_out,
				.data_in = on_data_in,
			},
		.dma_logging = true,
		.bounce_bytes_max = BOUNCE_BYTES,
		.iommu = &iommu,
	};
	unsigned int i;

	memset(regions, 0, sizeof(regions));
	for (i = 0; i < FUZZ_VFU_REGIONS; i++)
		regions[i].fd = -1;
	regions[0] = (struct rp_vfu_region){
		.size_bytes = FUZZ_VFU_REGION_BYTES,
		.readable = true,
		.writable = true,
		.fd = fuzz_fd(FUZZ_FD_SEALED),
		.areas = areas,
		.areas_count = sizeof(areas) / sizeof(areas[0]),
	};
	regions[BAR2] = (struct rp_vfu_region){
		.size_bytes = FUZZ_VFU_REGION_BYTES,
		.readable = true,
		.writable = true,
		.fd = -1,
		.io_fds = io_fds,
		.io_fds_count = sizeof(io_fds) / sizeof(io_fds[0]),
		.read = on_read,
		.write = on_write,
	};
	regions[RP_VFU_PCI_CONFIG_REGION] = regions[BAR2];
	regions[RP_VFU_PCI_CONFIG_REGION].size_bytes = CONFIG_BYTES;
	regions[RP_VFU_PCI_CONFIG_REGION].io_fds_count = 0;
	for (i = 0; i < RP_VFU_PCI_IRQS_COUNT; i++) {
		irqs[i].count = vectors_of[i];
		irqs[i].flags = RP_VFU_IRQ_FLAG_EVENTFD_MASK | RP_VFU_IRQ_FLAG_MASKABLE_MASK;
	}
	irqs[MSIX].flags = RP_VFU_IRQ_FLAG_EVENTFD_MASK | RP_VFU_IRQ_FLAG_NORESIZE_MASK;
	irqs[RP_VFU_PCI_INTX_IRQ].flags |= RP_VFU_IRQ_FLAG_AUTOMASKED_MASK;
	fuzz_require(rp_vfu_server_create(&config, &ops, device, &device->server, NULL) == 0, "a server");
}

static void
touch(const struct rp_dma_mapping *mapping)
{
	const volatile uint8_t *bytes = mapping->hva;

	(void)bytes[0];
	(void)bytes[mapping->size_bytes - 1];
}

/* What holds between any two messages. */
static void
check_space(const struct device *device)
{
	struct rp_dma_space *space = rp_vfu_server_dma(device->server);
	uint32_t count = rp_dma_space_count(space), i;
	struct rp_dma_mapping mapping;
	uint64_t free_from = 0;

	for (i = 0; i < count; i++) {
		fuzz_require(rp_dma_space_at(space, i, &mapping) == 0, "a mapping that is counted");
		fuzz_require(mapping.size_bytes > 0 && mapping.iova >= free_from, "mappings in order, and apart");
		fuzz_require(mapping.size_bytes - 1 <= UINT64_MAX - mapping.iova, "a mapping does not wrap");
		fuzz_require(mapping.access_mask != 0, "a mapping can be accessed");
		free_from = mapping.iova + mapping.size_bytes;
		if (mapping.hva != NULL && (mapping.access_mask & RP_DMA_READ) != 0)
			touch(&mapping);
		fuzz_require(free_from != 0 || i == count - 1, "nothing lies behind the last address");
	}
	fuzz_require(rp_vfu_server_connected(device->server) == device->connected, "both know of the client");
}

static void
turn(struct device *device)
{
	rp_vfu_server_process(device->server);
	check_space(device);
}

static void
hang_up(struct device *device)
{
	rp_wire_fd_close(&device->client);
	turn(device);
	fuzz_require(!rp_vfu_server_connected(device->server), "a client that left is gone");
	fuzz_vfu_memory_check_idle(&device->memory);
	fuzz_vfu_iommu_check_idle(&device->iommu);
	rp_wire_fd_close(&device->twin);
}

static void
come(struct device *device)
{
	fuzz_require(rp_wire_socket_connect(device->socket_path, &device->client, NULL) == 0, "a connection");
	turn(device);
}

static void
say(struct device *device, const struct rp_vfu_msg *row)
{
	struct fuzz_vfu_message message;

	if (row == NULL)
		fuzz_vfu_raw(&message, device->input);
	else
		fuzz_vfu_command(&message, device->input, row, device->id++);
	fuzz_vfu_send(&message, device->input, device->client);
}

static void
hear(struct device *device)
{
	fuzz_vfu_hear(device->client, &device->asked, &device->twin);
	fuzz_vfu_hear(device->twin, &device->asked, NULL);
}

/* To a command, whether there was one or not; on the socket that it belongs to, or not. */
static void
reply(struct device *device, bool in_order)
{
	struct fuzz_vfu_asked asked = fuzz_vfu_take(&device->asked, device->input, in_order);
	struct fuzz_vfu_message message;

	fuzz_vfu_reply(&message, device->input, &asked);
	fuzz_vfu_send(&message, device->input,
		      device->twin >= 0 && fuzz_u8(device->input) < 224 ? device->twin : device->client);
}

/* What the device may do at any time. */
static void
act(struct device *device)
{
	static const uint8_t bytes[FUZZ_VFU_REGION_BYTES];
	unsigned int kind = fuzz_u8(device->input);
	uint32_t irq_index, vector;
	int rc;

	if (kind < 96) {
		fuzz_vfu_memory_access(&device->memory);
		return;
	}
	if (kind < 160) {
		fuzz_vfu_memory_map(&device->memory);
		return;
	}
	if (kind < 192) {
		rp_vfu_server_quiesced(device->server, device->token);
		device->token = 0;
		return;
	}
	if (kind >= 212 && kind < 224) {
		fuzz_vfu_iommu_act(&device->iommu);
		return;
	}
	if (kind < 224) {
		rp_vfu_server_answer(device->server, device->number, kind % 2 == 0 ? 0 : -EIO, bytes);
		device->number = 0;
		return;
	}
	irq_index = fuzz_below(device->input, RP_VFU_PCI_IRQS_COUNT);
	vector = fuzz_below(device->input, FUZZ_VFU_VECTORS + 1);
	rc = rp_vfu_server_irq_trigger(device->server, irq_index, vector);
	fuzz_require((rc == -EINVAL) == (vector >= vectors_of[irq_index]), "a vector that is not there");
}

/* A second client, which is turned away or becomes the first. */
static void
intrude(struct device *device)
{
	rp_wire_fd_close(&device->second);
	fuzz_require(rp_wire_socket_connect(device->socket_path, &device->second, NULL) == 0, "a connection");
}

static void
step(struct device *device)
{
	unsigned int kind = fuzz_u8(device->input);

	if (kind < 4 * ROWS_ROOM) {
		say(device, rp_vfu_msg_at(kind % ROWS_ROOM));
	} else if (kind < 176) {
		reply(device, kind < 168);
	} else if (kind < 208) {
		act(device);
	} else if (kind < 216) {
		device->refuse = true;
	} else if (kind < 222) {
		say(device, NULL);
	} else if (kind < 226) {
		intrude(device);
	} else if (kind < 240) {
		hang_up(device);
		come(device);
	} else if (kind >= 250) {
		return; /* more than one message at once: nothing is processed in between */
	}
	if (kind < 4 * ROWS_ROOM && kind >= 3 * ROWS_ROOM)
		return;
	turn(device);
	/* A client that reads late has a full socket. */
	if (kind % 16 != 15)
		hear(device);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
	struct fuzz_input input = {bytes, size_bytes};
	struct device device = {
		.input = &input, .client = -1, .second = -1, .twin = -1, .mig_state = RP_VFU_MIG_RUNNING};

	fuzz_begin();
	memset(device.irq_fds, -1, sizeof(device.irq_fds));
	/* In the directory where the fuzzer was started. */
	snprintf(device.socket_path, sizeof(device.socket_path), "server-%d.sock", (int)getpid());
	serve(&device);
	fuzz_vfu_memory_begin(&device.memory, rp_vfu_server_dma(device.server), &input);
	fuzz_vfu_iommu_begin(&device.iommu, device.server, &input);
	come(&device);
	while (input.left_bytes > 0)
		step(&device);
	fuzz_vfu_memory_let_go(&device.memory);
	fuzz_vfu_iommu_let_go(&device.iommu);
	rp_vfu_server_destroy(device.server);
	fuzz_require(!device.connected, "nobody is left");
	fuzz_vfu_memory_check_idle(&device.memory);
	rp_wire_fd_close(&device.twin);
	rp_wire_fd_close(&device.client);
	rp_wire_fd_close(&device.second);
	fuzz_end();
	return 0;
}
