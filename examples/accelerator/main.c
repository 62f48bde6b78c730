/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The smallest accelerator: a virtio-net device of one queue pair whose wire ends in a
 * mirror: what is sent comes back to its sender. From the top to the bottom:
 *
 *   the rings     what hardware does: look at doorbells, take chains, interrupt
 *   the function  what is where in configuration space and in the BARs
 *   the process   a loop around both
 *
 * virtio.c has the registers, which are those of every virtio device. All of it is one
 * thread: nothing is locked, and while a register is written nothing is in flight.
 */

#include <endian.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "virtio.h"

#define BIT(n) (1ull << (n))
#define FEATURES                                                                                                       \
	(BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_ACCESS_PLATFORM) | BIT(VIRTIO_F_RING_PACKED) | \
	 BIT(28) /* indirect */ | BIT(29) /* event index */ | BIT(36) /* order */)

enum { RECEIVE, TRANSMIT };
enum { BAR_MSIX = 0, BAR_REGISTERS = 2, BAR_NOTIFY = 4 };

#define AT_REST 0xffffffffu /* a doorbell that was not rung: no queue has that number */
#define HEADER_BYTES 12u
#define FRAME_MIN_BYTES 14u
#define FRAME_MAX_BYTES 9216u
#define BURST 64

struct ring {
	bool running;
	uint32_t *doorbell; /* in a page of its own, which the guest may have mapped */
	struct rp_vring_dev vring;
	struct rp_vring_note notes[VIRTIO_QUEUE_SIZE];
};

struct accel {
	struct rp_vfu_pci *pci;
	struct rp_dma_reader *reader;
	struct virtio virtio;
	struct ring rings[VIRTIO_QUEUES];
	struct rp_vring_chain out, in;
	uint8_t frame[HEADER_BYTES + FRAME_MAX_BYTES];
	uint64_t sent, mirrored;
};

static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 0x52};
static volatile sig_atomic_t ended;

/* ---- the rings ---- */

/* The registers say what is to run, and where. */
static void
follow(struct accel *accel, unsigned int number)
{
	struct virtio_queue *queue = &accel->virtio.queues[number];
	struct ring *ring = &accel->rings[number];
	const struct rp_vring_layout layout = {
		.num = queue->size,
		.desc_iova = queue->iova[0],
		.avail_iova = queue->iova[1],
		.used_iova = queue->iova[2],
		.features = accel->virtio.features,
		.notes = ring->notes,
	};
	bool wanted = virtio_wants(&accel->virtio, number) && rp_vfu_pci_is_bus_master(accel->pci);

	if (queue->begun || !wanted)
		ring->running = false;
	if (wanted && !ring->running)
		ring->running = rp_vring_dev_init(&ring->vring, &layout, queue->position, accel->reader, NULL) == 0;
	queue->begun = false;
}

/* What the registers show, while everything that was taken has been given back. */
static void
report(struct accel *accel, unsigned int number)
{
	struct virtio_queue *queue = &accel->virtio.queues[number];
	struct ring *ring = &accel->rings[number];

	if (!ring->running)
		return;
	/* Ask for a kick at the next chain; what came before that is seen in the next turn. */
	rp_vring_dev_set_notify(&ring->vring, true);
	queue->position = rp_vring_dev_position(&ring->vring);
	queue->broken = rp_vring_dev_why(&ring->vring) != NULL;
}

/* The address says which queue is meant; what was stored does not matter. */
static bool
rung(const struct ring *ring)
{
	return __atomic_load_n(ring->doorbell, __ATOMIC_RELAXED) != AT_REST &&
	       __atomic_exchange_n(ring->doorbell, AT_REST, __ATOMIC_SEQ_CST) != AT_REST;
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
finish(struct accel *accel, unsigned int number, const struct rp_vring_chain *chain, uint32_t written)
{
	struct ring *ring = &accel->rings[number];

	if (rp_vring_dev_push(&ring->vring, chain->head, written) == 0 &&
	    rp_vring_dev_needs_interrupt(&ring->vring) == 1)
		rp_vfu_pci_irq_trigger(accel->pci, RP_VFU_PCI_MSIX_IRQ, accel->virtio.queues[number].vector);
}

/* The frame goes back; one that finds no room is lost, as on any card. */
static void
mirror(struct accel *accel, uint32_t size)
{
	const struct virtio_net_hdr_v1 header = {.num_buffers = htole16(1)};
	struct ring *ring = &accel->rings[RECEIVE];
	uint8_t *frame = accel->frame + HEADER_BYTES;

	if (!ring->running || rp_vring_dev_pop(&ring->vring, &accel->in) != 1)
		return;
	if (accel->in.in_bytes < size)
		size = 0;
	accel->mirrored += size > 0;
	memcpy(accel->frame, &header, HEADER_BYTES);
	memcpy(frame, frame + sizeof(mac), sizeof(mac));
	memcpy(frame + sizeof(mac), mac, sizeof(mac));
	copy(accel->in.iov + accel->in.out_count, accel->in.in_count, accel->frame, size, true);
	finish(accel, RECEIVE, &accel->in, size);
}

/* @return whether there may be more to do at once. */
static bool
serve(struct accel *accel)
{
	struct ring *ring = &accel->rings[TRANSMIT];
	bool more = rung(ring) | rung(&accel->rings[RECEIVE]);
	int i;

	follow(accel, RECEIVE);
	follow(accel, TRANSMIT);
	for (i = 0; i < BURST && ring->running && rp_vring_dev_pop(&ring->vring, &accel->out) == 1; i++) {
		uint32_t size = accel->out.out_bytes;

		copy(accel->out.iov, accel->out.out_count, accel->frame, sizeof(accel->frame), false);
		if (size >= HEADER_BYTES + FRAME_MIN_BYTES && size <= sizeof(accel->frame))
			mirror(accel, size);
		accel->sent++;
		finish(accel, TRANSMIT, &accel->out, 0);
	}
	report(accel, RECEIVE);
	report(accel, TRANSMIT);
	return more || i > 0;
}

/* ---- the function ---- */

static int
registers_read(void *ctx, uint32_t region, uint64_t at, uint32_t count, uint8_t *ret_bytes)
{
	struct accel *accel = ctx;

	(void)region;
	virtio_read(&accel->virtio, at, count, ret_bytes);
	return 0;
}

static int
registers_write(void *ctx, uint32_t region, uint64_t at, uint32_t count, const uint8_t *bytes)
{
	struct accel *accel = ctx;

	(void)region;
	virtio_write(&accel->virtio, at, count, bytes);
	return 0;
}

static int
on_reset(void *ctx, enum rp_vfu_pci_reset kind)
{
	struct accel *accel = ctx;

	(void)kind;
	virtio_reset(&accel->virtio);
	return 0;
}

/* Without a client there is no memory; the next one goes on where the rings are. */
static void
on_disconnected(void *ctx, const struct rp_wire_why *why)
{
	struct accel *accel = ctx;

	(void)why;
	accel->rings[RECEIVE].running = accel->rings[TRANSMIT].running = false;
}

static void
describe(struct accel *accel, int doorbells_fd)
{
	const uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	const struct rp_vfu_pci_bar table = {.wide = true, .region = {0x1000, .fd = -1}};
	const struct rp_vfu_pci_bar registers = {
		.wide = true,
		.region = {VIRTIO_REGISTERS_BYTES, true, true, .fd = -1, .read = registers_read,
			   .write = registers_write},
	};
	/* Without handlers: a kick by message is written to the same memory. */
	const struct rp_vfu_pci_bar notify = {.wide = true,
					      .region = {VIRTIO_QUEUES * page_bytes, true, true, .fd = doorbells_fd}};
	const struct rp_vfu_pci_msix msix = {VIRTIO_VECTORS, BAR_MSIX, 0, BAR_MSIX, 0x800};

	rp_vfu_pci_bar(accel->pci, BAR_MSIX, &table, NULL);
	rp_vfu_pci_bar(accel->pci, BAR_REGISTERS, &registers, NULL);
	rp_vfu_pci_bar(accel->pci, BAR_NOTIFY, &notify, NULL);
	virtio_describe(&accel->virtio, accel->pci, BAR_REGISTERS, BAR_NOTIFY);
	rp_vfu_pci_add_msix(accel->pci, &msix, NULL);
	rp_vfu_pci_add_express(accel->pci, NULL);
}

/* A page for each queue, in a file that nobody can make shorter: fit to be handed to a guest. */
static int
doorbells_open(struct accel *accel)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	int fd = memfd_create("doorbells", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	uint8_t *memory;

	if (fd < 0 || ftruncate(fd, (off_t)(VIRTIO_QUEUES * page_bytes)) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -1;
	memory = mmap(NULL, VIRTIO_QUEUES * page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -1;
	for (unsigned int i = 0; i < VIRTIO_QUEUES; i++) {
		accel->rings[i].doorbell = (uint32_t *)(void *)(memory + i * page_bytes);
		*accel->rings[i].doorbell = AT_REST;
	}
	return fd;
}

/* ---- the process ---- */

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
	static const struct rp_vfu_pci_config config = {.vendor_id = 0x1af4,
							.device_id = 0x1041,
							.subsystem_id = 1,
							.class_code = 0x020000,
							.revision = 1,
							.express = true};
	static const struct rp_vfu_pci_ops ops = {.reset = on_reset, .disconnected = on_disconnected};
	static struct accel accel = {
		.virtio = {.offered_features = FEATURES, .config = mac, .config_bytes = sizeof(mac)}};
	struct rp_wire_why why = {.text = "no memory"};
	int doorbells_fd;

	if (argc != 2 || argv[1][0] == '-') {
		fprintf(stderr, "usage: accelerator SOCKET\n");
		return 2;
	}
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	virtio_reset(&accel.virtio);
	doorbells_fd = doorbells_open(&accel);
	if (doorbells_fd < 0 || rp_vfu_pci_create(&config, &ops, &accel, &accel.pci, &why) < 0)
		return EXIT_FAILURE;
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
