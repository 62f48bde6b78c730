/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The smallest accelerator: a virtio-net device of one queue pair whose wire ends in a
 * mirror: what is sent comes back to its sender. From the top to the bottom:
 *
 *   the rings     what hardware does: look at doorbells, take chains, interrupt
 *   the function  what the driver does to it
 *   the process   what it is, and a loop around both
 *
 * rp_vfu_virtio.h has the registers, which are those of every virtio device. All of it is one
 * thread: nothing is locked, and while a register is written nothing is in flight.
 */

#include <endian.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rp_vfu_virtio.h"
#include "rp_vring_dev.h"

#define BIT(n) (1ull << (n))
#define FEATURES                                                                                                       \
	(BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_ACCESS_PLATFORM) | BIT(VIRTIO_F_RING_PACKED) | \
	 BIT(28) /* indirect */ | BIT(29) /* event index */ | BIT(36) /* order */)

enum { RECEIVE, TRANSMIT, QUEUES_COUNT };

#define QUEUE_SIZE 256u
#define HEADER_BYTES 12u
#define FRAME_MIN_BYTES 14u
#define FRAME_MAX_BYTES 9216u
#define BURST 64

struct ring {
	bool running;
	struct rp_vring_dev vring;
	struct rp_vring_note notes[QUEUE_SIZE];
};

struct accel {
	struct rp_vfu_pci *pci;
	struct rp_dma_reader *reader;
	struct rp_vfu_virtio *virtio;
	struct ring rings[QUEUES_COUNT];
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
	struct ring *ring = &accel->rings[number];
	struct rp_vring_layout layout;
	bool wanted = rp_vfu_virtio_queue_wanted(accel->virtio, number);

	ring->running = ring->running && wanted;
	if (!wanted || ring->running)
		return;
	rp_vfu_virtio_queue_layout(accel->virtio, number, &layout);
	layout.notes = ring->notes;
	ring->running = rp_vring_dev_init(&ring->vring, &layout, rp_vfu_virtio_queue(accel->virtio, number)->position,
					  accel->reader, NULL) == 0;
}

/* What the registers show, while everything that was taken has been given back. */
static void
report(struct accel *accel, unsigned int number)
{
	struct rp_vfu_virtio_queue *queue = rp_vfu_virtio_queue(accel->virtio, number);
	struct ring *ring = &accel->rings[number];

	if (!ring->running)
		return;
	/* Ask for a kick at the next chain; what came before that is seen in the next turn. */
	rp_vring_dev_set_notify(&ring->vring, true);
	queue->position = rp_vring_dev_position(&ring->vring);
	queue->broken = rp_vring_dev_why(&ring->vring) != NULL;
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
		rp_vfu_virtio_interrupt(accel->virtio, number);
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
	bool more = rp_vfu_virtio_rung(accel->virtio, TRANSMIT) | rp_vfu_virtio_rung(accel->virtio, RECEIVE);
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

/* Another ring, whatever ran before. */
static int
on_enable(void *ctx, unsigned int number)
{
	struct accel *accel = ctx;

	accel->rings[number].running = false;
	return 0;
}

/* Its position is what was reported in the last turn. */
static int
on_stop(void *ctx, unsigned int number, enum rp_vfu_virtio_stop kind)
{
	(void)kind;
	return on_enable(ctx, number);
}

static void
stop_both(void *ctx)
{
	struct accel *accel = ctx;

	accel->rings[RECEIVE].running = accel->rings[TRANSMIT].running = false;
}

static int
on_reset(void *ctx, enum rp_vfu_pci_reset kind)
{
	struct accel *accel = ctx;

	(void)kind;
	rp_vfu_virtio_reset(accel->virtio);
	return 0;
}

/* Without a client there is no memory; the next one goes on where the rings are. */
static void
on_disconnected(void *ctx, const struct rp_wire_why *why)
{
	(void)why;
	stop_both(ctx);
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

/* What it is: registers, then the PCI function that has them, then its socket. */
static int
make(struct accel *accel, const char *socket_path, struct rp_wire_why *why)
{
	static const struct rp_vfu_virtio_config registers = {.features = FEATURES,
							      .queues_count = QUEUES_COUNT,
							      .queue_size_max = QUEUE_SIZE,
							      .vectors_count = QUEUES_COUNT + 1,
							      .config = mac,
							      .config_bytes = sizeof(mac)};
	static const struct rp_vfu_virtio_ops registers_ops = {
		.queue_enable = on_enable, .queue_stop = on_stop, .reset = stop_both};
	static const struct rp_vfu_pci_config function = {.vendor_id = 0x1af4,
							  .device_id = 0x1041,
							  .subsystem_id = 1,
							  .class_code = 0x020000,
							  .revision = 1,
							  .express = true};
	static const struct rp_vfu_pci_ops function_ops = {.reset = on_reset, .disconnected = on_disconnected};
	int rc = rp_vfu_virtio_create(&registers, &registers_ops, accel, &accel->virtio, why);

	if (rc == 0)
		rc = rp_vfu_pci_create(&function, &function_ops, accel, &accel->pci, why);
	if (rc < 0)
		return rc;
	rp_vfu_virtio_describe(accel->virtio, accel->pci);
	rp_vfu_pci_add_express(accel->pci, NULL);
	rc = rp_vfu_pci_listen(accel->pci, socket_path, why);
	return rc < 0 ? rc : rp_dma_reader_create(rp_vfu_server_dma(rp_vfu_pci_server(accel->pci)), &accel->reader);
}

int
main(int argc, char **argv)
{
	static struct accel accel;
	struct rp_wire_why why = {.text = "no memory"};

	if (argc != 2 || argv[1][0] == '-') {
		fprintf(stderr, "usage: accelerator SOCKET\n");
		return 2;
	}
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	if (make(&accel, argv[1], &why) < 0) {
		fprintf(stderr, "accelerator: %s\n", why.text);
		return EXIT_FAILURE;
	}
	rp_vfu_pci_list(accel.pci, stdout);
	puts("accelerator: ready");
	fflush(stdout);
	run(&accel);
	rp_dma_reader_destroy(accel.reader);
	rp_vfu_pci_destroy(accel.pci);
	rp_vfu_virtio_destroy(accel.virtio);
	printf("accelerator: %llu frames sent, %llu came back\n", (unsigned long long)accel.sent,
	       (unsigned long long)accel.mirrored);
	return EXIT_SUCCESS;
}
