/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The smallest accelerator: a virtio-net device of one queue pair whose wire ends in a
 * mirror: what is sent comes back to its sender. From the top to the bottom:
 *
 *   the rings      what hardware does: look at doorbells, take chains, interrupt
 *   the registers  virtio 1.2, 4.1.4.3, and the ring state capability (rp_accel_vendor.h)
 *   the function   what is where in configuration space and in the BARs
 *
 * All of it is one thread: nothing is locked, and while a register is written nothing is
 * in flight.
 */

#include <endian.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rp_accel_vendor.h"
#include "rp_vfu_pci.h"
#include "rp_vring_dev.h"
#include "rp_vring_position.h"

#define BIT(n) (1ull << (n))
#define FEATURES                                                                                                       \
	(BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_ACCESS_PLATFORM) | BIT(VIRTIO_F_RING_PACKED) | \
	 BIT(28) /* indirect */ | BIT(29) /* event index */ | BIT(36) /* order */)

enum { RECEIVE, TRANSMIT, QUEUES, VECTORS = QUEUES + 1 };
enum { BAR_MSIX = 0, BAR_REGISTERS = 2, BAR_NOTIFY = 4 };
enum { COMMON_AT = 0, ISR_AT = 0x1000, NET_AT = 0x2000, STATE_AT = 0x4000, REGISTERS_BYTES = 0x8000 };

#define STATE_QUEUE_AT(queue)                                                                                          \
	(STATE_AT + sizeof(struct rp_accel_vendor_header) + (queue) * sizeof(struct rp_accel_vendor_queue))

#define QUEUE_SIZE 256u
#define NO_VECTOR 0xffffu
#define AT_REST 0xffffffffu /* a doorbell that was not rung: no queue has that number */
#define HEADER_BYTES 12u
#define FRAME_MIN_BYTES 14u
#define FRAME_MAX_BYTES 9216u
#define BURST 64

struct queue {
	struct virtio_pci_common_cfg cfg; /* its registers, as the guest sees them */
	uint32_t position; /* while it does not run: where it goes on */
	uint32_t *doorbell; /* in a page of its own, which the guest may have mapped */
	bool running;
	struct rp_vring_dev ring;
	struct rp_vring_note notes[QUEUE_SIZE];
};

struct accel {
	struct rp_vfu_pci *pci;
	struct rp_dma_reader *reader;
	struct virtio_pci_common_cfg cfg; /* registers of the device */
	uint32_t features[2]; /* of the driver */
	struct queue queues[QUEUES];
	struct rp_vring_chain out, in;
	uint8_t frame[HEADER_BYTES + FRAME_MAX_BYTES];
	uint64_t sent, mirrored;
};

static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 0x52};
static volatile sig_atomic_t ended;

/* ---- the rings ---- */

static uint64_t
features_of(const struct accel *accel)
{
	return accel->features[0] | (uint64_t)accel->features[1] << 32;
}

static uint64_t
address(uint32_t low, uint32_t high)
{
	return le32toh(low) | (uint64_t)le32toh(high) << 32;
}

static void
queue_start(struct accel *accel, struct queue *queue)
{
	const struct virtio_pci_common_cfg *cfg = &queue->cfg;
	const struct rp_vring_layout layout = {
		.num = le16toh(cfg->queue_size),
		.desc_iova = address(cfg->queue_desc_lo, cfg->queue_desc_hi),
		.avail_iova = address(cfg->queue_avail_lo, cfg->queue_avail_hi),
		.used_iova = address(cfg->queue_used_lo, cfg->queue_used_hi),
		.features = features_of(accel),
		.notes = queue->notes,
	};

	if (!queue->running && cfg->queue_enable != 0 && layout.num <= QUEUE_SIZE &&
	    (accel->cfg.device_status & VIRTIO_CONFIG_S_DRIVER_OK) != 0 && rp_vfu_pci_is_bus_master(accel->pci))
		queue->running = rp_vring_dev_init(&queue->ring, &layout, queue->position, accel->reader, NULL) == 0;
}

static void
queue_stop(struct queue *queue)
{
	if (queue->running)
		queue->position = rp_vring_dev_position(&queue->ring);
	queue->running = false;
}

/* The address says which queue is meant; what was stored does not matter. */
static bool
rung(struct queue *queue)
{
	return __atomic_load_n(queue->doorbell, __ATOMIC_RELAXED) != AT_REST &&
	       __atomic_exchange_n(queue->doorbell, AT_REST, __ATOMIC_SEQ_CST) != AT_REST;
}

static void
copy(const struct iovec *parts, uint16_t parts_count, uint8_t *bytes, size_t size, bool to_guest)
{
	for (; parts_count > 0 && size > 0; parts_count--, parts++) {
		size_t now = parts->iov_len < size ? parts->iov_len : size;

		memcpy(to_guest ? parts->iov_base : bytes, to_guest ? bytes : parts->iov_base, now);
		bytes += now;
		size -= now;
	}
}

/* Give a chain back, and interrupt if the driver wants it. */
static void
finish(const struct accel *accel, struct queue *queue, const struct rp_vring_chain *chain, uint32_t written)
{
	if (rp_vring_dev_push(&queue->ring, chain->head, written) == 0 &&
	    rp_vring_dev_needs_interrupt(&queue->ring) == 1)
		rp_vfu_pci_irq_trigger(accel->pci, RP_VFU_PCI_MSIX_IRQ, le16toh(queue->cfg.queue_msix_vector));
}

/* The frame goes back; one that finds no room is lost, as on any card. */
static void
mirror(struct accel *accel, uint32_t size)
{
	const struct virtio_net_hdr_v1 header = {.num_buffers = htole16(1)};
	struct queue *queue = &accel->queues[RECEIVE];
	uint8_t *frame = accel->frame + HEADER_BYTES;

	if (!queue->running || rp_vring_dev_pop(&queue->ring, &accel->in) != 1)
		return;
	if (accel->in.in_bytes < size)
		size = 0;
	accel->mirrored += size > 0;
	memcpy(accel->frame, &header, HEADER_BYTES);
	memcpy(frame, frame + sizeof(mac), sizeof(mac));
	memcpy(frame + sizeof(mac), mac, sizeof(mac));
	copy(accel->in.iov + accel->in.out_count, accel->in.in_count, accel->frame, size, true);
	finish(accel, queue, &accel->in, size);
}

/* @return whether there may be more to do at once. */
static bool
serve(struct accel *accel)
{
	struct queue *queue = &accel->queues[TRANSMIT];
	bool more = rung(queue) | rung(&accel->queues[RECEIVE]);
	int i;

	queue_start(accel, &accel->queues[RECEIVE]);
	queue_start(accel, queue);
	for (i = 0; i < BURST && queue->running && rp_vring_dev_pop(&queue->ring, &accel->out) == 1; i++) {
		uint32_t size = accel->out.out_bytes;

		copy(accel->out.iov, accel->out.out_count, accel->frame, sizeof(accel->frame), false);
		if (size >= HEADER_BYTES + FRAME_MIN_BYTES && size <= sizeof(accel->frame))
			mirror(accel, size);
		accel->sent++;
		finish(accel, queue, &accel->out, 0);
	}
	/* Ask for a kick at the next chain; what came before that is seen in the next turn. */
	for (queue = accel->queues; queue < accel->queues + QUEUES; queue++)
		if (queue->running)
			rp_vring_dev_set_notify(&queue->ring, true);
	return more || i > 0;
}

/* ---- the registers ---- */

static void
device_reset(struct accel *accel)
{
	memset(&accel->cfg, 0, sizeof(accel->cfg));
	memset(accel->features, 0, sizeof(accel->features));
	accel->cfg.msix_config = htole16(NO_VECTOR);
	accel->cfg.num_queues = htole16(QUEUES);
	for (uint16_t i = 0; i < QUEUES; i++) {
		struct queue *queue = &accel->queues[i];

		queue->running = false;
		queue->position = 0;
		queue->cfg = (struct virtio_pci_common_cfg){.queue_size = htole16(QUEUE_SIZE),
							    .queue_msix_vector = htole16(NO_VECTOR),
							    .queue_notify_off = htole16(i)};
		__atomic_store_n(queue->doorbell, AT_REST, __ATOMIC_SEQ_CST);
	}
}

static void
set_status(struct accel *accel, uint8_t status)
{
	uint8_t added = (uint8_t)(status & ~accel->cfg.device_status);

	if (status == 0) {
		device_reset(accel);
		return;
	}
	if ((features_of(accel) & ~FEATURES) != 0 || (features_of(accel) & BIT(VIRTIO_F_VERSION_1)) == 0)
		added &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
	for (int i = 0; i < QUEUES && (added & VIRTIO_CONFIG_S_FEATURES_OK) != 0; i++)
		accel->queues[i].position = rp_vring_position_fresh(features_of(accel));
	accel->cfg.device_status |= added;
}

/* The device's registers with those of the selected queue, and what is behind the feature selectors. */
static struct virtio_pci_common_cfg
common_image(const struct accel *accel)
{
	uint16_t select = le16toh(accel->cfg.queue_select);
	uint32_t ours = le32toh(accel->cfg.device_feature_select), theirs = le32toh(accel->cfg.guest_feature_select);
	struct virtio_pci_common_cfg image = {0};

	if (select < QUEUES)
		image = accel->queues[select].cfg;
	memcpy(&image, &accel->cfg, VIRTIO_PCI_COMMON_Q_SIZE);
	image.device_feature = htole32(ours < 2 ? (uint32_t)(FEATURES >> 32 * ours) : 0);
	image.guest_feature = htole32(theirs < 2 ? accel->features[theirs] : 0);
	return image;
}

/* Of any width: what was not written is stored as it was. */
static void
common_write(struct accel *accel, uint32_t at, uint32_t bytes_count, const uint8_t *bytes)
{
	struct virtio_pci_common_cfg image = common_image(accel);
	uint16_t select = le16toh(accel->cfg.queue_select);
	uint32_t half = le32toh(accel->cfg.guest_feature_select);
	uint8_t status;

	memcpy((uint8_t *)&image + at, bytes, bytes_count);
	status = image.device_status;
	if (half < 2 && (accel->cfg.device_status & VIRTIO_CONFIG_S_FEATURES_OK) == 0)
		accel->features[half] = le32toh(image.guest_feature);
	accel->cfg.device_feature_select = image.device_feature_select;
	accel->cfg.guest_feature_select = image.guest_feature_select;
	accel->cfg.msix_config = le16toh(image.msix_config) < VECTORS ? image.msix_config : htole16(NO_VECTOR);
	accel->cfg.queue_select = image.queue_select;
	if (select < QUEUES && at >= VIRTIO_PCI_COMMON_Q_SIZE) {
		struct queue *queue = &accel->queues[select];

		if (le16toh(image.queue_msix_vector) >= VECTORS)
			image.queue_msix_vector = htole16(NO_VECTOR);
		image.queue_notify_off = htole16(select);
		/* Only a reset or a stop disables it. A ring that runs has read what else is here. */
		image.queue_enable |= queue->cfg.queue_enable;
		queue->cfg = image;
	}
	if (at <= VIRTIO_PCI_COMMON_STATUS && at + bytes_count > VIRTIO_PCI_COMMON_STATUS)
		set_status(accel, status);
}

/* The ring state capability: a queue can be stopped, and goes on where its ring is. */
static void
state_write(struct queue *queue, uint32_t field, uint32_t value)
{
	if (field == offsetof(struct rp_accel_vendor_queue, position) && queue->cfg.queue_enable == 0)
		queue->position = value;
	if (field != offsetof(struct rp_accel_vendor_queue, control) || value != RP_ACCEL_VENDOR_STOP)
		return;
	queue_stop(queue);
	queue->cfg.queue_enable = 0;
}

/* All of the register BAR, as it reads now. */
static void
registers_image(const struct accel *accel, uint8_t *image)
{
	const struct virtio_pci_common_cfg common = common_image(accel);
	const struct virtio_net_config net = {.status = htole16(VIRTIO_NET_S_LINK_UP)};
	const struct rp_accel_vendor_header header = {
		.magic = htole32(RP_ACCEL_VENDOR_MAGIC),
		.version = htole16(RP_ACCEL_VENDOR_VERSION),
		.stride_bytes = htole16(sizeof(struct rp_accel_vendor_queue)),
		.queues_count = htole32(QUEUES),
		.flags = htole32(RP_ACCEL_VENDOR_RING_STATE_MASK | RP_ACCEL_VENDOR_NOTIFY_ADDRESS_MASK),
	};

	memcpy(image + COMMON_AT, &common, sizeof(common));
	memcpy(image + NET_AT, &net, sizeof(net));
	memcpy(image + NET_AT, mac, sizeof(mac));
	memcpy(image + STATE_AT, &header, sizeof(header));
	for (int i = 0; i < QUEUES; i++) {
		const struct queue *queue = &accel->queues[i];
		bool broken = queue->running && rp_vring_dev_why(&queue->ring) != NULL;
		const struct rp_accel_vendor_queue state = {
			.position = htole32(queue->running ? rp_vring_dev_position(&queue->ring) : queue->position),
			.control = htole32(broken ? RP_ACCEL_VENDOR_BROKEN : queue->cfg.queue_enable != 0),
		};

		memcpy(image + STATE_QUEUE_AT(i), &state, sizeof(state));
	}
}

static int
registers_read(void *ctx, uint32_t region, uint64_t at, uint32_t bytes_count, uint8_t *ret_bytes)
{
	uint8_t image[REGISTERS_BYTES] = {0};

	(void)region;
	registers_image(ctx, image);
	memcpy(ret_bytes, image + at, bytes_count);
	return 0;
}

static int
registers_write(void *ctx, uint32_t region, uint64_t at, uint32_t bytes_count, const uint8_t *bytes)
{
	struct accel *accel = ctx;
	uint32_t value = 0;

	(void)region;
	if (at + bytes_count <= sizeof(struct virtio_pci_common_cfg))
		common_write(accel, (uint32_t)at, bytes_count, bytes);
	if (bytes_count != sizeof(value) || at < STATE_QUEUE_AT(0) || at >= STATE_QUEUE_AT(QUEUES))
		return 0;
	memcpy(&value, bytes, sizeof(value));
	at -= STATE_QUEUE_AT(0);
	state_write(&accel->queues[at / sizeof(struct rp_accel_vendor_queue)],
		    (uint32_t)(at % sizeof(struct rp_accel_vendor_queue)), le32toh(value));
	return 0;
}

/* ---- the function ---- */

static int
on_reset(void *ctx, enum rp_vfu_pci_reset kind)
{
	(void)kind;
	device_reset(ctx);
	return 0;
}

/* Without a client there is no memory; the next one goes on where the rings are. */
static void
on_disconnected(void *ctx, const struct rp_wire_why *why)
{
	struct accel *accel = ctx;

	fprintf(stderr, "accelerator: the client left: %s\n", why->text);
	queue_stop(&accel->queues[RECEIVE]);
	queue_stop(&accel->queues[TRANSMIT]);
}

static void
on_bus_master(void *ctx, bool on)
{
	struct accel *accel = ctx;

	if (!on) {
		queue_stop(&accel->queues[RECEIVE]);
		queue_stop(&accel->queues[TRANSMIT]);
	}
}

static void
add_virtio_cap(struct accel *accel, uint8_t type, uint8_t bar, uint32_t at, uint32_t bytes)
{
	/* The doorbell of a queue is its number times a page away from the first. */
	struct virtio_pci_notify_cap notify = {.notify_off_multiplier = htole32((uint32_t)sysconf(_SC_PAGESIZE))};
	const struct rp_vfu_pci_cap cap = {
		.id = PCI_CAP_ID_VNDR,
		.size_bytes = type == VIRTIO_PCI_CAP_NOTIFY_CFG ? sizeof(notify) : sizeof(notify.cap),
		.bytes = &notify,
	};

	notify.cap.cap_len = (uint8_t)cap.size_bytes;
	notify.cap.cfg_type = type;
	notify.cap.bar = bar;
	notify.cap.offset = htole32(at);
	notify.cap.length = htole32(bytes);
	rp_vfu_pci_add(accel->pci, &cap, NULL, NULL);
}

static void
describe(struct accel *accel, int doorbells_fd)
{
	const uint32_t notify_bytes = QUEUES * (uint32_t)sysconf(_SC_PAGESIZE);
	const struct rp_vfu_pci_bar table = {.wide = true, .region = {0x1000, .fd = -1}};
	const struct rp_vfu_pci_bar registers = {
		.wide = true,
		.region = {REGISTERS_BYTES, true, true, .fd = -1, .read = registers_read, .write = registers_write},
	};
	/* Without handlers: a kick by message is written to the same memory. */
	const struct rp_vfu_pci_bar notify = {.wide = true, .region = {notify_bytes, true, true, .fd = doorbells_fd}};
	const struct rp_accel_vendor_cap state = {
		.cap_len = sizeof(state),
		.cfg_type = RP_ACCEL_VENDOR_CFG_TYPE,
		.vendor_id = htole16(RP_ACCEL_VENDOR_ID),
		.bar = BAR_REGISTERS,
		.offset_bytes = htole32(STATE_AT),
		.length_bytes = htole32(STATE_QUEUE_AT(QUEUES) - STATE_AT),
	};
	const struct rp_vfu_pci_cap state_cap = {.id = PCI_CAP_ID_VNDR, .size_bytes = sizeof(state), .bytes = &state};

	rp_vfu_pci_bar(accel->pci, BAR_MSIX, &table, NULL);
	rp_vfu_pci_bar(accel->pci, BAR_REGISTERS, &registers, NULL);
	rp_vfu_pci_bar(accel->pci, BAR_NOTIFY, &notify, NULL);
	add_virtio_cap(accel, VIRTIO_PCI_CAP_COMMON_CFG, BAR_REGISTERS, COMMON_AT, sizeof(accel->cfg));
	add_virtio_cap(accel, VIRTIO_PCI_CAP_ISR_CFG, BAR_REGISTERS, ISR_AT, 4);
	add_virtio_cap(accel, VIRTIO_PCI_CAP_NOTIFY_CFG, BAR_NOTIFY, 0, notify_bytes);
	add_virtio_cap(accel, VIRTIO_PCI_CAP_DEVICE_CFG, BAR_REGISTERS, NET_AT, 12);
	rp_vfu_pci_add(accel->pci, &state_cap, NULL, NULL);
	rp_vfu_pci_add_msix(accel->pci, &(struct rp_vfu_pci_msix){VECTORS, BAR_MSIX, 0, BAR_MSIX, 0x800}, NULL);
	rp_vfu_pci_add_express(accel->pci, NULL);
}

/* A page for each queue, in a file that nobody can make shorter: fit to be handed to a guest. */
static int
doorbells_open(struct accel *accel)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	int fd = memfd_create("doorbells", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	uint8_t *memory;

	if (fd < 0 || ftruncate(fd, (off_t)(QUEUES * page_bytes)) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -1;
	memory = mmap(NULL, QUEUES * page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -1;
	for (int i = 0; i < QUEUES; i++)
		accel->queues[i].doorbell = (uint32_t *)(void *)(memory + (size_t)i * page_bytes);
	return fd;
}

static void
on_signal(int number)
{
	(void)number;
	ended = 1;
}

static void
run(struct accel *accel)
{
	struct rp_vfu_server *server = rp_vfu_pci_server(accel->pci);
	struct pollfd messages = {.fd = rp_vfu_server_fd(server), .events = POLLIN};
	bool busy = false;

	while (!ended) {
		/* Hardware sees a doorbell at once; to sleep between two looks is kinder to a machine for tests. */
		poll(&messages, 1, busy ? 0 : 1);
		rp_vfu_server_process(server);
		rp_dma_reader_online(accel->reader);
		busy = serve(accel);
		rp_dma_reader_offline(accel->reader);
	}
}

int
main(int argc, char **argv)
{
	static const struct rp_vfu_pci_config config = {
		0x1af4, 0x1041, 0x1af4, 1, .class_code = 0x020000, .revision = 1, .express = true};
	static const struct rp_vfu_pci_ops ops = {
		.reset = on_reset, .bus_master = on_bus_master, .disconnected = on_disconnected};
	static struct accel accel;
	struct rp_wire_why why = {.text = "no memory"};
	int doorbells_fd;

	if (argc != 2 || argv[1][0] == '-') {
		fprintf(stderr, "usage: accelerator SOCKET\n");
		return 2;
	}
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	doorbells_fd = doorbells_open(&accel);
	if (doorbells_fd < 0 || rp_vfu_pci_create(&config, &ops, &accel, &accel.pci, &why) < 0)
		return EXIT_FAILURE;
	device_reset(&accel);
	describe(&accel, doorbells_fd);
	if (rp_vfu_pci_listen(accel.pci, argv[1], &why) < 0 ||
	    rp_dma_reader_create(rp_vfu_server_dma(rp_vfu_pci_server(accel.pci)), &accel.reader) < 0) {
		fprintf(stderr, "accelerator: %s\n", why.text);
		return EXIT_FAILURE;
	}
	rp_vfu_pci_list(accel.pci, stdout);
	puts("accelerator: ready");
	fflush(stdout);
	run(&accel);
	rp_dma_reader_destroy(accel.reader);
	rp_vfu_pci_destroy(accel.pci);
	printf("accelerator: %llu frames sent, %llu came back\n", (unsigned long long)accel.sent,
	       (unsigned long long)accel.mirrored);
	return EXIT_SUCCESS;
}
