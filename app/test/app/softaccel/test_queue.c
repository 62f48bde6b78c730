/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <stdio.h>
#include <string.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include <rte_common.h>

#include "rp_wire_fd.h"
#include "rig.h"

/* Starting and stopping queues, kicks and interrupts: two functions, guest 1 hears what guest 0 sends. */

#define RX 0u
#define TX 1u

static struct {
	struct rig rig;
	struct rig_guest sender;
	struct rig_guest receiver;
	uint64_t features;
} fixture;

static int
setup(void **state)
{
	memset(&fixture, 0, sizeof(fixture));
	fixture.features = RIG_FEATURES_DEFAULT | *(const uint64_t *)*state;
	rig_create(&fixture.rig);
	rig_function(&fixture.rig, (struct softaccel_function_config){.queue_pairs = 1});
	rig_function(&fixture.rig, (struct softaccel_function_config){.queue_pairs = 1});
	rig_run(&fixture.rig);
	rig_guest_start(&fixture.receiver, &fixture.rig, 1, 2, fixture.features);
	rig_guest_start(&fixture.sender, &fixture.rig, 0, 2, fixture.features);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	rig_guest_fini(&fixture.sender);
	rig_guest_fini(&fixture.receiver);
	rig_destroy(&fixture.rig);
	return 0;
}

static struct rp_accel_vendor_queue
counters(struct rig_guest *guest, unsigned int queue)
{
	struct rp_accel_vendor_queue image;

	rig_vendor_read(guest, queue, &image);
	return image;
}

/* Where the sender's ring is after so many frames, each of two descriptors. */
static uint32_t
position_after(uint32_t frames_count)
{
	uint32_t descriptors_count = 2 * frames_count;
	uint16_t wrap = descriptors_count / RIG_QUEUE_SIZE % 2 == 0 ? 0x8000 : 0;

	if ((fixture.features & RIG_PACKED) == 0)
		return frames_count;
	return rp_vring_position_drained(fixture.features, (uint16_t)(descriptors_count % RIG_QUEUE_SIZE | wrap));
}

/* The used entry is seen before the device has written the eventfd. */
static int
await_interrupt(int fd, eventfd_t *ret_count)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};

	poll(&wait, 1, 10000);
	return eventfd_read(fd, ret_count);
}

static void
send_one(uint32_t sequence)
{
	uint8_t frame[RIG_FRAME_BYTES];

	rig_frame(frame, RIG_BROADCAST, 1, 7, sequence);
	assert_true(rig_send(&fixture.sender, TX, frame, sizeof(frame)));
}

static void
expect_one(uint32_t sequence)
{
	uint8_t packet[RIG_BUFFER_BYTES];

	assert_int_equal(rig_receive_wait(&fixture.receiver, RX, packet, sizeof(packet)),
			 RIG_HEADER_BYTES + RIG_FRAME_BYTES);
	assert_int_equal(rig_frame_sequence(packet + RIG_HEADER_BYTES), sequence);
}

static void
expect_nothing(void)
{
	uint8_t packet[RIG_BUFFER_BYTES];

	usleep(50000);
	assert_int_equal(rig_receive(&fixture.receiver, RX, packet, sizeof(packet)), 0);
}

static void
doorbell_store(void **state)
{
	struct rp_accel_vendor_queue image;
	eventfd_t interrupts = 0;

	(void)state;
	send_one(1);
	rig_ring(&fixture.sender, TX);
	expect_one(1);
	image = counters(&fixture.sender, TX);
	assert_true(le64toh(image.direct_kicks) == 1 || rig_shares_doorbell(&fixture.sender));
	assert_int_equal(le64toh(image.eventfd_kicks), 0);
	assert_int_equal(le64toh(image.packets), 1);
	assert_int_equal(le64toh(image.bytes), RIG_FRAME_BYTES);
	assert_int_equal(le64toh(image.errors), 0);
	assert_int_equal(le32toh(image.position), position_after(1));
	assert_int_equal(le32toh(image.control), RP_ACCEL_VENDOR_RUNNING);
	image = counters(&fixture.receiver, RX);
	assert_int_equal(le64toh(image.interrupts), 1);
	assert_int_equal(await_interrupt(fixture.receiver.queues[RX].call_fd, &interrupts), 0);
	assert_int_equal(interrupts, 1);
}

/* What a lost kick looks like: nothing, for ever. */
static void
ring_is_not_looked_at_unkicked(void **state)
{
	struct rp_accel_vendor_queue image;

	(void)state;
	if (rig_shares_doorbell(&fixture.sender))
		skip();
	send_one(1);
	expect_nothing();
	assert_int_equal(rig_reap(&fixture.sender, TX), 0);
	image = counters(&fixture.sender, TX);
	assert_int_equal(le64toh(image.packets), 0);
	assert_int_equal(le32toh(image.position), position_after(0));
	/* Another queue's doorbell does not help. */
	rig_ring(&fixture.sender, RX);
	expect_nothing();
	rig_ring(&fixture.sender, TX);
	expect_one(1);
}

static void
wait_for_kicks(struct rig_guest *guest, unsigned int queue, uint64_t kicks)
{
	unsigned int tries = 0;

	while (le64toh(counters(guest, queue).direct_kicks) < kicks && ++tries < 100000)
		usleep(100);
	assert_int_equal(le64toh(counters(guest, queue).direct_kicks), kicks);
}

/* And no packet is put into buffers that nobody announced. */
static void
unkicked_buffers_are_not_used(void **state)
{
	struct softaccel_port_counters port;
	struct rig_guest *receiver = &fixture.receiver;
	unsigned int tries = 0;

	(void)state;
	/* A kick that waits to be seen is remembered beyond a stop. */
	wait_for_kicks(receiver, RX, 1);
	rig_vendor_write(receiver, RX, offsetof(struct rp_accel_vendor_queue, control), RP_ACCEL_VENDOR_STOP);
	rig_guest_enable(receiver, RX);
	send_one(1);
	rig_ring(&fixture.sender, TX);
	do {
		softaccel_function_port_counters(fixture.rig.functions[1], &port);
		usleep(100);
	} while (port.drops[SOFTACCEL_DROP_RX_NO_BUFFER] == 0 && ++tries < 100000);
	assert_int_equal(port.drops[SOFTACCEL_DROP_RX_NO_BUFFER], 1);
	expect_nothing();
	rig_ring(receiver, RX);
	wait_for_kicks(receiver, RX, 2);
	send_one(2);
	rig_ring(&fixture.sender, TX);
	expect_one(2);
}

/* Let the receive ring get into mid-life, and have it go. @return where it stands. */
static uint32_t
stop_in_mid_life(void)
{
	struct rig_guest *receiver = &fixture.receiver;

	wait_for_kicks(receiver, RX, 1);
	send_one(1);
	rig_ring(&fixture.sender, TX);
	expect_one(1);
	rig_vendor_write(receiver, RX, offsetof(struct rp_accel_vendor_queue, control), RP_ACCEL_VENDOR_STOP);
	return le32toh(counters(receiver, RX).position);
}

static void
enable_at(uint32_t position)
{
	rig_guest_program(&fixture.receiver, RX);
	rig_vendor_write(&fixture.receiver, RX, offsetof(struct rp_accel_vendor_queue, position), position);
	rig_guest_enable(&fixture.receiver, RX);
	assert_int_equal(rig_common_read(&fixture.receiver, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
}

static void
expect_one_unkicked(void)
{
	send_one(2);
	rig_ring(&fixture.sender, TX);
	expect_one(2);
	assert_int_equal(le64toh(counters(&fixture.receiver, RX).direct_kicks), 1);
	assert_int_equal(le64toh(counters(&fixture.receiver, RX).eventfd_kicks), 0);
}

/* Another was kicked for the buffers of a ring that is enabled in mid-life. */
static void
buffers_of_another_are_used(void **state)
{
	(void)state;
	enable_at(stop_in_mid_life());
	expect_one_unkicked();
}

/* Likewise if the whole device is taken over. */
static void
buffers_of_another_are_used_from_driver_ok_on(void **state)
{
	uint32_t position = stop_in_mid_life();

	(void)state;
	rig_guest_negotiate(&fixture.receiver, fixture.features);
	enable_at(position);
	rig_guest_driver_ok(&fixture.receiver);
	expect_one_unkicked();
}

static void
kick_by_message(void **state)
{
	const uint64_t at = rig_doorbell_at(&fixture.sender, TX);
	uint16_t queue = htole16(TX);
	struct rp_accel_vendor_queue image;

	(void)state;
	send_one(1);
	assert_int_equal(rp_vfu_client_region_write(fixture.sender.client, RIG_BAR_NOTIFY, at, 2, &queue, NULL), 0);
	expect_one(1);
	image = counters(&fixture.sender, TX);
	assert_true(le64toh(image.direct_kicks) == 0 || rig_shares_doorbell(&fixture.sender));
	assert_int_equal(le64toh(image.eventfd_kicks), 1);
}

static void
kick_by_eventfd(void **state)
{
	const uint64_t at = rig_doorbell_at(&fixture.sender, TX);
	struct rp_accel_vendor_queue image;
	int fd;

	(void)state;
	assert_int_equal(rp_vfu_client_io_fd(fixture.sender.client, RIG_BAR_NOTIFY, at, 2, TX, &fd, NULL), 0);
	send_one(1);
	assert_int_equal(eventfd_write(fd, 1), 0);
	expect_one(1);
	rp_wire_fd_close(&fd);
	image = counters(&fixture.sender, TX);
	assert_true(le64toh(image.direct_kicks) == 0 || rig_shares_doorbell(&fixture.sender));
	assert_int_equal(le64toh(image.eventfd_kicks), 1);
}

static void
stop_and_go_on(void **state)
{
	struct rig_guest *sender = &fixture.sender;
	uint32_t sequence;

	(void)state;
	for (sequence = 0; sequence < 200; sequence++) {
		struct rp_accel_vendor_queue image;

		send_one(sequence);
		rig_ring(sender, TX);
		expect_one(sequence);
		rig_post(&fixture.receiver, RX, RIG_QUEUE_SIZE / 2, RIG_BUFFER_BYTES);
		rig_ring(&fixture.receiver, RX);
		rig_vendor_write(sender, TX, offsetof(struct rp_accel_vendor_queue, control), RP_ACCEL_VENDOR_STOP);
		image = counters(sender, TX);
		assert_int_equal(le32toh(image.control), RP_ACCEL_VENDOR_STOPPED);
		assert_int_equal(le32toh(image.position), position_after(sequence + 1));
		assert_int_equal(rig_common_read(sender, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
		/* All that was taken was given back before the stop was answered. */
		assert_int_equal(rig_reap(sender, TX), 1);
		/* As another owner would: program it anew, at that index. */
		rig_guest_program(sender, TX);
		rig_vendor_write(sender, TX, offsetof(struct rp_accel_vendor_queue, position), le32toh(image.position));
		rig_guest_enable(sender, TX);
		assert_int_equal(rig_common_read(sender, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	}
}

/* A stopped ring is not served, whatever is rung. */
static void
stopped_is_stopped(void **state)
{
	struct rig_guest *sender = &fixture.sender;

	(void)state;
	rig_vendor_write(sender, TX, offsetof(struct rp_accel_vendor_queue, control), RP_ACCEL_VENDOR_STOP);
	send_one(1);
	rig_ring(sender, TX);
	expect_nothing();
	rig_guest_enable(sender, TX);
	/* The kick was not lost while nobody looked. */
	expect_one(1);
}

static void
queue_reset_starts_over(void **state)
{
	struct rig_guest *sender = &fixture.sender;

	(void)state;
	send_one(1);
	rig_ring(sender, TX);
	expect_one(1);
	rig_common_write(sender, VIRTIO_PCI_COMMON_Q_SELECT, 2, TX);
	rig_common_write(sender, 58, 2, 1);
	assert_int_equal(rig_common_read(sender, 58, 2), 0);
	assert_int_equal(rig_common_read(sender, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	assert_int_equal(le32toh(counters(sender, TX).position), position_after(0));
	rp_vring_drv_destroy(sender->queues[TX].ring);
	rig_guest_queue(sender, TX);
	send_one(2);
	rig_ring(sender, TX);
	expect_one(2);
}

static void
refused_addresses(void **state)
{
	struct rig_guest *sender = &fixture.sender;

	(void)state;
	rig_vendor_write(sender, TX, offsetof(struct rp_accel_vendor_queue, control), RP_ACCEL_VENDOR_STOP);
	rig_common_write(sender, VIRTIO_PCI_COMMON_Q_USEDLO, 8, 0xdead0000);
	rig_guest_enable(sender, TX);
	assert_int_equal(rig_common_read(sender, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	assert_int_equal(le64toh(counters(sender, TX).errors), 1);
	rig_guest_program(sender, TX);
	/* A packed ring may have any size, but not be taken over beyond its end. */
	if ((fixture.features & RIG_PACKED) == 0)
		rig_common_write(sender, VIRTIO_PCI_COMMON_Q_SIZE, 2, 63);
	else
		rig_vendor_write(sender, TX, offsetof(struct rp_accel_vendor_queue, position), 0x80408040);
	rig_guest_enable(sender, TX);
	assert_int_equal(rig_common_read(sender, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	assert_int_equal(le64toh(counters(sender, TX).errors), 2);
	rig_guest_program(sender, TX);
	rig_vendor_write(sender, TX, offsetof(struct rp_accel_vendor_queue, position), position_after(0));
	rig_guest_enable(sender, TX);
	assert_int_equal(rig_common_read(sender, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	send_one(1);
	rig_ring(sender, TX);
	expect_one(1);
}

/* The eventfd is replaced under traffic; what was owed without one goes to the next. */
static void
interrupts_follow_the_eventfd(void **state)
{
	struct rig_guest *receiver = &fixture.receiver;
	int other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	eventfd_t count = 0;
	uint32_t sequence = 0;

	(void)state;
	assert_int_equal(rp_vfu_client_irq_set(receiver->client, RP_VFU_PCI_MSIX_IRQ, RX, other, NULL), 0);
	send_one(sequence);
	rig_ring(&fixture.sender, TX);
	expect_one(sequence++);
	assert_int_equal(await_interrupt(other, &count), 0);
	assert_int_not_equal(eventfd_read(receiver->queues[RX].call_fd, &count), 0);
	assert_int_equal(rp_vfu_client_irq_set(receiver->client, RP_VFU_PCI_MSIX_IRQ, RX, -1, NULL), 0);
	send_one(sequence);
	rig_ring(&fixture.sender, TX);
	expect_one(sequence++);
	assert_int_not_equal(eventfd_read(other, &count), 0);
	assert_int_equal(rp_vfu_client_irq_set(receiver->client, RP_VFU_PCI_MSIX_IRQ, RX, other, NULL), 0);
	assert_int_equal(await_interrupt(other, &count), 0);
	rp_wire_fd_close(&other);
}

static void
nothing_before_driver_ok(void **state)
{
	struct rig_guest *sender = &fixture.sender;

	(void)state;
	rp_vring_drv_destroy(sender->queues[RX].ring);
	rp_vring_drv_destroy(sender->queues[TX].ring);
	sender->queues[RX].posted_count = 0;
	rig_guest_negotiate(sender, fixture.features);
	rig_guest_queue(sender, RX);
	rig_guest_queue(sender, TX);
	send_one(5);
	rig_ring(sender, TX);
	expect_nothing();
	rig_guest_driver_ok(sender);
	expect_one(5);
}

/* The client goes without a word; the next one finds the device as it was, and traffic goes on. */
static void
next_client_goes_on(void **state)
{
	struct rig_guest *sender = &fixture.sender;
	struct rp_accel_vendor_queue image;

	(void)state;
	send_one(1);
	rig_ring(sender, TX);
	expect_one(1);
	rig_guest_disconnect(sender);
	usleep(50000);
	rig_guest_connect(sender, &fixture.rig, 0);
	image = counters(sender, TX);
	assert_int_equal(le32toh(image.control), RP_ACCEL_VENDOR_RUNNING);
	assert_int_equal(le32toh(image.position), position_after(1));
	assert_int_equal(le64toh(image.errors), 0);
	send_one(2);
	rig_ring(sender, TX);
	expect_one(2);
}

/* A kick that came while the client's memory was going away broke nothing for the next client. */
static void
next_client_after_lost_memory(void **state)
{
	struct rig_guest *sender = &fixture.sender;
	unsigned int tries = 0;

	(void)state;
	assert_int_equal(rp_vfu_client_dma_unmap(sender->client, RIG_MEMORY_IOVA, RIG_MEMORY_BYTES, NULL), 0);
	send_one(1);
	rig_ring(sender, TX);
	while (le32toh(counters(sender, TX).control) != RP_ACCEL_VENDOR_BROKEN && ++tries < 5000)
		usleep(1000);
	rig_guest_disconnect(sender);
	rig_guest_connect(sender, &fixture.rig, 0);
	assert_int_equal(le32toh(counters(sender, TX).control), RP_ACCEL_VENDOR_RUNNING);
	rig_ring(sender, TX);
	expect_one(1);
}

/* Also after the control side has woken it many times. */
static void
idle_is_cheap(void **state)
{
	struct rig_guest *sender = &fixture.sender;
	unsigned int i;
	uint64_t before_us;

	(void)state;
	for (i = 0; i < 300; i++) {
		rig_vendor_write(sender, TX, offsetof(struct rp_accel_vendor_queue, control), RP_ACCEL_VENDOR_STOP);
		rig_guest_enable(sender, TX);
	}
	usleep(20000);
	before_us = rig_data_cpu_us(&fixture.rig);
	usleep(500000);
	/* About 1 % when measured; a loop that does not sleep uses all of it. */
	assert_true(rig_data_cpu_us(&fixture.rig) - before_us < 100000);
}

/* A doorbell store wakes nobody, so the loop must come by itself. */
static void
idle_loop_comes_back(void **state)
{
	(void)state;
	usleep(300000);
	send_one(1);
	rig_ring(&fixture.sender, TX);
	expect_one(1);
}

/* Frames that can be sent, and chains that cannot, come back as they were made available. */
static void
sent_in_order(void **state)
{
	struct rig_guest *sender = &fixture.sender;
	uintptr_t added[24], taken[24];
	unsigned int taken_count = 0, i;
	uint32_t written_bytes;

	(void)state;
	for (i = 0; i < RTE_DIM(added); i++) {
		added[i] = sender->free_buffers[sender->free_count - 1];
		if (i % 3 == 1)
			assert_true(rig_send_raw(sender, TX, "junk", 4));
		else
			send_one(i);
	}
	rig_ring(sender, TX);
	for (i = 0; i < 20000 && taken_count < RTE_DIM(taken); i++) {
		void *cookie;

		if (rp_vring_drv_get(sender->queues[TX].ring, &cookie, &written_bytes) == 1)
			taken[taken_count++] = (uintptr_t)cookie;
		else
			usleep(100);
	}
	assert_int_equal(taken_count, RTE_DIM(added));
	assert_memory_equal(taken, added, sizeof(added));
}

/* Buffers that are of no use, too, and those that share a frame. */
static void
received_in_order(void **state)
{
	static const uint32_t sizes[] = {8, 30, 30, 40, 8, 100};
	struct rig_guest *receiver = &fixture.receiver;
	struct rig_queue *queue = &receiver->queues[RX];
	uintptr_t added[RTE_DIM(sizes)];
	uint32_t written[RTE_DIM(sizes)];
	uint8_t packet[RIG_BUFFER_BYTES];
	unsigned int i;

	(void)state;
	/* Without the buffers that every guest starts with. */
	for (i = 0; i < RIG_QUEUE_SIZE / 2; i++) {
		rig_reap(&fixture.sender, TX);
		send_one(i);
		rig_ring(&fixture.sender, TX);
		assert_true(rig_receive_wait(receiver, RX, packet, sizeof(packet)) > 0);
	}
	for (i = 0; i < RTE_DIM(sizes); i++) {
		added[i] = receiver->free_buffers[receiver->free_count - 1];
		rig_post(receiver, RX, i + 1, sizes[i]);
	}
	rig_ring(receiver, RX);
	usleep(20000);
	/* 72 bytes of header and frame are 30, 30 and 12 bytes; then the next ones. */
	send_one(100);
	send_one(101);
	rig_ring(&fixture.sender, TX);
	for (i = 0; i < RTE_DIM(sizes); i++) {
		unsigned int tries = 0;
		void *cookie;

		while (rp_vring_drv_get(queue->ring, &cookie, &written[i]) != 1 && ++tries < 20000)
			usleep(100);
		assert_int_equal((uintptr_t)cookie, added[i]);
		receiver->free_buffers[receiver->free_count++] = (uint16_t)(uintptr_t)cookie;
	}
	assert_memory_equal(written, ((uint32_t[]){0, 30, 30, 12, 0, 72}), sizeof(written));
	queue->posted_count = 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TESTS(doorbell_store),
		RIG_TESTS(ring_is_not_looked_at_unkicked),
		RIG_TESTS(unkicked_buffers_are_not_used),
		RIG_TESTS(buffers_of_another_are_used),
		RIG_TESTS(buffers_of_another_are_used_from_driver_ok_on),
		RIG_TESTS(kick_by_message),
		RIG_TESTS(kick_by_eventfd),
		RIG_TESTS(stop_and_go_on),
		RIG_TESTS(stopped_is_stopped),
		RIG_TESTS(queue_reset_starts_over),
		RIG_TESTS(refused_addresses),
		RIG_TESTS(interrupts_follow_the_eventfd),
		RIG_TESTS(nothing_before_driver_ok),
		RIG_TESTS(next_client_goes_on),
		RIG_TESTS(next_client_after_lost_memory),
		RIG_TESTS(sent_in_order),
		RIG_TESTS(received_in_order),
		RIG_TESTS(idle_is_cheap),
		RIG_TESTS(idle_loop_comes_back),
	};

	rig_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
