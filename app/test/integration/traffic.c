/* SPDX-License-Identifier: BSD-3-Clause */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "rp_wire_clock.h"
#include "traffic.h"

#define ETHERNET_BYTES 14u
#define FRAME_MIN_BYTES 60u
#define FRAME_MAX_BYTES 1514u
#define PIECES_MAX 4u
#define TABLE_AT 1920u /* in a buffer, behind the largest packet */
#define INDIRECT (1ull << 28)

static unsigned int
chance(struct traffic *traffic, unsigned int below)
{
	return (unsigned int)rand_r(&traffic->seed) % below;
}

void
traffic_create(struct traffic *traffic, uint64_t features, enum softaccel_dma dma)
{
	unsigned int i;

	memset(traffic, 0, sizeof(*traffic));
	traffic->features = features;
	traffic->seed = 1;
	rig_create(&traffic->rig);
	for (i = 0; i < 2; i++) {
		traffic->guests[i].function =
			rig_function(&traffic->rig, (struct softaccel_function_config){.queue_pairs = 1, .dma = dma});
		traffic->guests[i].receive_bytes = RIG_BUFFER_BYTES;
	}
	rig_run(&traffic->rig);
}

static uint64_t
dropped_at(const struct traffic *traffic, unsigned int guest)
{
	const struct softaccel_function *function = traffic->rig.functions[traffic->guests[guest].function];
	struct softaccel_port_counters port;
	uint64_t total = 0;
	unsigned int i;

	softaccel_function_port_counters(function, &port);
	for (i = 0; i < SOFTACCEL_DROPS_COUNT; i++)
		total += port.drops[i];
	return total - traffic->guests[guest].dropped_before;
}

/* All of them, those of rings that are no more too, in no order. */
static void
mix_buffers(struct traffic *traffic, struct rig_guest *rig)
{
	for (rig->free_count = 0; rig->free_count < RIG_BUFFERS_COUNT; rig->free_count++) {
		unsigned int other = chance(traffic, rig->free_count + 1);

		rig->free_buffers[rig->free_count] = rig->free_buffers[other];
		rig->free_buffers[other] = (uint16_t)rig->free_count;
	}
}

void
traffic_guest_start(struct traffic *traffic, unsigned int guest)
{
	struct rig_guest *rig = &traffic->guests[guest].rig;
	unsigned int i;

	rig_guest_negotiate(rig, traffic->features);
	for (i = 0; i < 2; i++) {
		rp_vring_drv_destroy(rig->queues[i].ring);
		rig->queues[i].posted_count = 0;
		rig_guest_queue(rig, i);
	}
	mix_buffers(traffic, rig);
	rig_guest_driver_ok(rig);
	rig_post(rig, TRAFFIC_RX, RIG_QUEUE_SIZE, traffic->guests[guest].receive_bytes);
	rig_ring(rig, TRAFFIC_RX);
}

void
traffic_start(struct traffic *traffic)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		rig_guest_connect(&traffic->guests[i].rig, &traffic->rig, traffic->guests[i].function);
		traffic_guest_start(traffic, i);
	}
}

void
traffic_guest_leave(struct traffic *traffic, unsigned int guest)
{
	rig_guest_disconnect(&traffic->guests[guest].rig);
	traffic->guests[guest].away = true;
}

void
traffic_guest_return(struct traffic *traffic, unsigned int guest)
{
	struct rig_guest *rig = &traffic->guests[guest].rig;
	unsigned int i;

	rig_guest_connect(rig, &traffic->rig, traffic->guests[guest].function);
	traffic->guests[guest].away = false;
	for (i = 0; i < 2; i++) {
		assert_int_equal(
			rp_vfu_client_irq_set(rig->client, RP_VFU_PCI_MSIX_IRQ, i, rig->queues[i].call_fd, NULL), 0);
		rig_ring(rig, i);
	}
}

void
traffic_destroy(struct traffic *traffic)
{
	unsigned int i;

	for (i = 0; i < 2; i++)
		rig_guest_fini(&traffic->guests[i].rig);
	rig_destroy(&traffic->rig);
}

static uint32_t
frame_bytes(uint32_t sequence)
{
	return FRAME_MIN_BYTES + sequence * 389u % (FRAME_MAX_BYTES - FRAME_MIN_BYTES + 1);
}

static void
make_frame(uint8_t *frame, unsigned int to, unsigned int from, uint32_t sequence)
{
	uint32_t i, size_bytes = frame_bytes(sequence);

	memcpy(frame, (const uint8_t[]){2, 0, 0, 0, 9, (uint8_t)to}, 6);
	memcpy(frame + 6, (const uint8_t[]){2, 0, 0, 0, 9, (uint8_t)from}, 6);
	frame[12] = 0x88;
	frame[13] = 0xb5;
	memcpy(frame + ETHERNET_BYTES, &sequence, sizeof(sequence));
	for (i = ETHERNET_BYTES + sizeof(sequence); i < size_bytes; i++)
		frame[i] = (uint8_t)(sequence * 31 + i * (from + 3));
}

/* The packet in pieces that end anywhere, in the header too. */
static uint16_t
cut(struct traffic *traffic, uint64_t iova, uint32_t size_bytes, struct rp_vring_part *ret_parts)
{
	uint32_t at = 0;
	uint16_t count = 0;

	while (at < size_bytes) {
		uint32_t left = size_bytes - at;
		uint32_t now = count + 1u == PIECES_MAX || chance(traffic, 3) == 0 ? left : 1 + chance(traffic, left);

		ret_parts[count++] = (struct rp_vring_part){iova + at, now, false};
		at += now;
	}
	return count;
}

static bool
send_one(struct traffic *traffic, unsigned int from)
{
	struct traffic_guest *guest = &traffic->guests[from];
	struct rig_guest *rig = &guest->rig;
	unsigned int buffer = rig->free_buffers[rig->free_count - 1];
	uint32_t at = RIG_MEMORY_BYTES - (buffer + 1) * RIG_BUFFER_BYTES;
	uint64_t iova = RIG_MEMORY_IOVA + at;
	struct rp_vring_part parts[PIECES_MAX];
	struct rp_vring_drv *ring = rig->queues[TRAFFIC_TX].ring;
	void *cookie = (void *)(uintptr_t)buffer;
	uint16_t count;
	int rc;

	memset(rig->memory + at, 0, RIG_HEADER_BYTES);
	make_frame(rig->memory + at + RIG_HEADER_BYTES, 1 - from, from, guest->sent);
	count = cut(traffic, iova, RIG_HEADER_BYTES + frame_bytes(guest->sent), parts);
	if ((traffic->features & INDIRECT) != 0 && chance(traffic, 2) == 0)
		rc = rp_vring_drv_add_indirect(ring, parts, count, rig->memory + at + TABLE_AT, iova + TABLE_AT,
					       cookie);
	else
		rc = rp_vring_drv_add(ring, parts, count, cookie);
	if (rc < 0)
		return false;
	rig->free_count--;
	guest->sent++;
	return true;
}

static void
check_frame(struct traffic *traffic, unsigned int to, const uint8_t *packet, uint32_t packet_bytes)
{
	static uint8_t wanted[FRAME_MAX_BYTES];
	struct traffic_guest *guest = &traffic->guests[to];
	uint32_t sequence;

	assert_true(packet_bytes >= RIG_HEADER_BYTES + FRAME_MIN_BYTES);
	memcpy(&sequence, packet + RIG_HEADER_BYTES + ETHERNET_BYTES, sizeof(sequence));
	if (sequence < guest->expected || sequence >= traffic->guests[1 - to].sent)
		fail_msg("guest %u: frame %u after %u, of %u", to, sequence, guest->expected,
			 traffic->guests[1 - to].sent);
	make_frame(wanted, to, 1 - to, sequence);
	assert_int_equal(packet_bytes, RIG_HEADER_BYTES + frame_bytes(sequence));
	assert_memory_equal(packet + RIG_HEADER_BYTES, wanted, frame_bytes(sequence));
	guest->expected = sequence + 1;
	guest->received++;
}

static bool
receive_all(struct traffic *traffic, unsigned int to)
{
	struct traffic_guest *guest = &traffic->guests[to];
	uint8_t packet[RIG_HEADER_BYTES + FRAME_MAX_BYTES];
	bool any = false;
	uint32_t packet_bytes;

	while ((packet_bytes = rig_receive(&guest->rig, TRAFFIC_RX, packet, sizeof(packet))) > 0) {
		check_frame(traffic, to, packet, packet_bytes);
		any = true;
	}
	if (any) {
		rig_post(&guest->rig, TRAFFIC_RX, RIG_QUEUE_SIZE, guest->receive_bytes);
		rig_ring_if_wanted(&guest->rig, TRAFFIC_RX);
	}
	return any;
}

/* Frames on their way; less than none after traffic_forget(), when they came all the same. */
static int64_t
out_count(const struct traffic *traffic, unsigned int from)
{
	return (int64_t)traffic->guests[from].sent - traffic->guests[1 - from].received -
	       (int64_t)dropped_at(traffic, 1 - from);
}

void
traffic_assert_none_dropped(const struct traffic *traffic)
{
	struct softaccel_port_counters port;
	unsigned int guest, i;

	for (guest = 0; guest < 2; guest++) {
		softaccel_function_port_counters(traffic->rig.functions[traffic->guests[guest].function], &port);
		for (i = 0; i < SOFTACCEL_DROPS_COUNT; i++)
			if (port.drops[i] != 0)
				fail_msg("guest %u: %llu frames dropped: %s", guest, (unsigned long long)port.drops[i],
					 softaccel_drop_name((enum softaccel_drop)i));
	}
}

void
traffic_forget(struct traffic *traffic)
{
	unsigned int i;

	for (i = 0; i < 2; i++)
		traffic->guests[i].received += out_count(traffic, 1 - i);
}

static bool
guest_turn(struct traffic *traffic, unsigned int number, bool send)
{
	struct traffic_guest *guest = &traffic->guests[number];
	bool any = false;

	if (guest->away)
		return false;
	rig_guest_serve(&guest->rig);
	any |= rig_reap(&guest->rig, TRAFFIC_TX) > 0;
	any |= receive_all(traffic, number);
	while (send && out_count(traffic, number) < TRAFFIC_WINDOW && send_one(traffic, number)) {
		rig_ring_if_wanted(&guest->rig, TRAFFIC_TX);
		any = true;
	}
	return any;
}

bool
traffic_turn(struct traffic *traffic, bool send)
{
	bool any = guest_turn(traffic, 0, send);

	return guest_turn(traffic, 1, send) || any;
}

void
traffic_turn_or_wait(struct traffic *traffic, bool send)
{
	struct pollfd wait[2];
	unsigned int i;

	if (traffic_turn(traffic, send))
		return;
	for (i = 0; i < 2; i++)
		wait[i] = (struct pollfd){
			.fd = traffic->guests[i].away ? -1 : rp_vfu_client_fd(traffic->guests[i].rig.client),
			.events = POLLIN,
		};
	poll(wait, 2, 1);
}

void
traffic_run(struct traffic *traffic, uint32_t more)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + TRAFFIC_LIMIT_MS;
	const int64_t until[2] = {traffic->guests[0].received + more, traffic->guests[1].received + more};
	unsigned int i;

	for (i = 0; i < 2;) {
		const struct traffic_guest *guest = &traffic->guests[i];

		/* With nobody to send there is nothing to wait for. */
		if (guest->away || traffic->guests[1 - i].away || guest->received >= until[i]) {
			i++;
			continue;
		}
		if (rp_wire_clock_ms() > deadline_ms)
			fail_msg("guest %u: received %lld, dropped %llu of %u", i, (long long)guest->received,
				 (unsigned long long)dropped_at(traffic, i), traffic->guests[1 - i].sent);
		traffic_turn_or_wait(traffic, true);
	}
}

void
traffic_settle(struct traffic *traffic)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + TRAFFIC_LIMIT_MS;
	unsigned int i;

	for (i = 0; i < 2;) {
		const struct traffic_guest *guest = &traffic->guests[i];

		if (out_count(traffic, 1 - i) == 0) {
			i++;
			continue;
		}
		if (rp_wire_clock_ms() > deadline_ms)
			fail_msg("guest %u: received %lld and dropped %llu are not the %u sent", i,
				 (long long)guest->received, (unsigned long long)dropped_at(traffic, i),
				 traffic->guests[1 - i].sent);
		traffic_turn_or_wait(traffic, false);
	}
}
