/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "rp_wire_fd.h"
#include "rig.h"

/* Guest 2 does what no driver should; guests 0 and 1 must not notice. */

#define RX 0u
#define TX 1u
#define IDLE_MS 1000u

static struct {
	struct rig rig;
	struct rig_guest guests[3];
	struct test_leaks before;
	uint64_t features;
	pthread_mutex_t log; /* held: it takes no more */
	bool log_held;
	int full_fd; /* who waits at it is let go at the end; -1: none */
} fixture;

static int
setup(void **state)
{
	unsigned int i;

	memset(&fixture, 0, sizeof(fixture));
	fixture.full_fd = -1;
	pthread_mutex_init(&fixture.log, NULL);
	fixture.features = RIG_FEATURES_DEFAULT | *(const uint64_t *)*state;
	rig_create(&fixture.rig);
	for (i = 0; i < 3; i++)
		rig_function(&fixture.rig, (struct softaccel_function_config){
						   .queue_pairs = 1,
						   .idle_ms = i == 2 ? IDLE_MS : 0,
					   });
	rig_run(&fixture.rig);
	for (i = 0; i < 3; i++)
		rig_guest_start(&fixture.guests[i], &fixture.rig, i, 2, fixture.features);
	return 0;
}

static int
teardown(void **state)
{
	unsigned int i;

	(void)state;
	if (fixture.full_fd >= 0)
		eventfd_read(fixture.full_fd, &(eventfd_t){0});
	rp_wire_fd_close(&fixture.full_fd);
	if (fixture.log_held)
		pthread_mutex_unlock(&fixture.log);
	for (i = 0; i < 3; i++)
		rig_guest_fini(&fixture.guests[i]);
	rig_destroy(&fixture.rig);
	return 0;
}

static void
others_go_on(void)
{
	uint8_t frame[RIG_FRAME_BYTES], packet[RIG_BUFFER_BYTES];
	static uint32_t sequence;
	unsigned int i;

	for (i = 0; i < 20; i++) {
		struct rig_guest *receiver = &fixture.guests[1];

		rig_frame(frame, 1, 0, 1, ++sequence);
		rig_reap(&fixture.guests[0], TX);
		assert_true(rig_send(&fixture.guests[0], TX, frame, sizeof(frame)));
		rig_ring(&fixture.guests[0], TX);
		do {
			/* The hostile guest's own packets may come too. */
			assert_true(rig_receive_wait(receiver, RX, packet, sizeof(packet)) > 0);
			rig_post(receiver, RX, RIG_QUEUE_SIZE / 2, RIG_BUFFER_BYTES);
			rig_ring(receiver, RX);
		} while (rig_frame_sequence(packet + RIG_HEADER_BYTES) != sequence ||
			 packet[RIG_HEADER_BYTES + 11] != 0);
		/* Learned: traffic between the two is no longer flooded to guest 2. */
		rig_frame(frame, 0, 1, 1, sequence);
		rig_reap(receiver, TX);
		rig_send(receiver, TX, frame, sizeof(frame));
		rig_ring(receiver, TX);
		assert_true(rig_receive_wait(&fixture.guests[0], RX, packet, sizeof(packet)) > 0);
		rig_post(&fixture.guests[0], RX, RIG_QUEUE_SIZE / 2, RIG_BUFFER_BYTES);
		rig_ring(&fixture.guests[0], RX);
	}
}

static struct vring_desc *
descriptors(unsigned int queue)
{
	return fixture.guests[2].queues[queue].memory;
}

static struct vring_avail *
available(unsigned int queue)
{
	return (struct vring_avail *)(descriptors(queue) + RIG_QUEUE_SIZE);
}

static void
expect_broken(unsigned int queue)
{
	struct rp_accel_vendor_queue image;
	unsigned int tries = 0;

	do {
		usleep(1000);
		rig_vendor_read(&fixture.guests[2], queue, &image);
	} while (le32toh(image.control) != RP_ACCEL_VENDOR_BROKEN && ++tries < 5000);
	assert_int_equal(le32toh(image.control), RP_ACCEL_VENDOR_BROKEN);
	assert_true(le64toh(image.errors) > 0);
}

/* It is broken, it can be stopped, and a whole ring runs again. */
static void
expect_recovers(unsigned int queue)
{
	struct rig_guest *guest = &fixture.guests[2];

	rig_vendor_write(guest, queue, offsetof(struct rp_accel_vendor_queue, control), RP_ACCEL_VENDOR_STOP);
	rig_common_write(guest, VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
	assert_int_equal(rig_common_read(guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	rig_common_write(guest, 58, 2, 1);
	rp_vring_drv_destroy(guest->queues[queue].ring);
	guest->queues[queue].posted_count = 0;
	rig_guest_queue(guest, queue);
	assert_int_equal(rig_common_read(guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
}

static void
index_beyond_the_ring(void **state)
{
	(void)state;
	available(TX)->idx = htole16(30000);
	rig_ring(&fixture.guests[2], TX);
	expect_broken(TX);
	others_go_on();
	expect_recovers(TX);
}

static void
descriptor_loop(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < RIG_QUEUE_SIZE; i++) {
		descriptors(TX)[i].addr = htole64(RIG_MEMORY_IOVA);
		descriptors(TX)[i].len = htole32(64);
		descriptors(TX)[i].flags = htole16(VRING_DESC_F_NEXT);
		descriptors(TX)[i].next = htole16((uint16_t)((i + 1) % RIG_QUEUE_SIZE));
	}
	available(TX)->ring[0] = 0;
	available(TX)->idx = htole16(1);
	rig_ring(&fixture.guests[2], TX);
	expect_broken(TX);
	others_go_on();
	expect_recovers(TX);
}

static void
unmapped_buffer(void **state)
{
	(void)state;
	descriptors(TX)[0].addr = htole64(0x10);
	descriptors(TX)[0].len = htole32(100);
	descriptors(TX)[0].flags = 0;
	available(TX)->ring[0] = 0;
	available(TX)->idx = htole16(1);
	rig_ring(&fixture.guests[2], TX);
	expect_broken(TX);
	others_go_on();
	expect_recovers(TX);
}

/* Receive buffers that cannot be written to, offered for ever. */
static void
unwritable_receive_buffers(void **state)
{
	uint8_t frame[RIG_FRAME_BYTES];
	struct rp_accel_vendor_queue image;
	unsigned int i;

	(void)state;
	for (i = 0; i < RIG_QUEUE_SIZE; i++)
		descriptors(RX)[i].flags = 0;
	for (i = 0; i < 50; i++) {
		rig_frame(frame, RIG_BROADCAST, 0, 1, i);
		rig_reap(&fixture.guests[0], TX);
		rig_send(&fixture.guests[0], TX, frame, sizeof(frame));
		rig_ring(&fixture.guests[0], TX);
		usleep(500);
	}
	rig_vendor_read(&fixture.guests[2], RX, &image);
	assert_int_equal(le64toh(image.packets), 0);
	assert_true(le64toh(image.errors) > 0);
}

#define PACKED_AVAIL 0x80u /* virtio 1.2, 2.8.1: in the first round */

/* virtio 1.2, 2.8.5 */
static struct vring_packed_desc *
packed_descriptors(unsigned int queue)
{
	return fixture.guests[2].queues[queue].memory;
}

static void
packed_put(unsigned int at, uint64_t iova, uint32_t size_bytes, uint16_t id, uint16_t flags)
{
	struct vring_packed_desc *descriptor = &packed_descriptors(TX)[at];

	descriptor->addr = htole64(iova);
	descriptor->len = htole32(size_bytes);
	descriptor->id = htole16(id);
	__atomic_store_n(&descriptor->flags, htole16(flags | PACKED_AVAIL), __ATOMIC_RELEASE);
}

static void
packed_breaks(void)
{
	rig_ring(&fixture.guests[2], TX);
	expect_broken(TX);
	others_go_on();
	expect_recovers(TX);
}

static void
packed_chain_without_an_end(void **state)
{
	unsigned int i;

	(void)state;
	for (i = RIG_QUEUE_SIZE; i > 0; i--)
		packed_put(i - 1, RIG_MEMORY_IOVA, 64, 0, VRING_DESC_F_NEXT);
	packed_breaks();
}

static void
packed_unmapped_buffer(void **state)
{
	(void)state;
	packed_put(0, 0x10, 100, 0, 0);
	packed_breaks();
}

static void
packed_buffer_id_beyond_the_ring(void **state)
{
	(void)state;
	packed_put(0, RIG_MEMORY_IOVA, 100, RIG_QUEUE_SIZE, 0);
	packed_breaks();
}

/* Both before either came back: the driver could not tell them apart, nor could the notes of the device. */
static void
packed_buffer_id_twice(void **state)
{
	uint8_t frame[RIG_FRAME_BYTES];
	unsigned int i;

	(void)state;
	/* A frame needs two buffers. */
	for (i = 0; i < RIG_QUEUE_SIZE / 2; i++) {
		packed_descriptors(RX)[i].len = htole32(RIG_FRAME_BYTES / 2 + RIG_HEADER_BYTES);
		packed_descriptors(RX)[i].id = htole16(5);
	}
	rig_frame(frame, RIG_BROADCAST, 0, 1, 1);
	assert_true(rig_send(&fixture.guests[0], TX, frame, sizeof(frame)));
	rig_ring(&fixture.guests[0], TX);
	expect_broken(RX);
	others_go_on();
	expect_recovers(RX);
}

static void
packed_odd_table(void **state)
{
	(void)state;
	packed_put(0, RIG_MEMORY_IOVA, 17, 0, VRING_DESC_F_INDIRECT);
	packed_breaks();
}

static void
packed_unwritable_receive_buffers(void **state)
{
	uint8_t frame[RIG_FRAME_BYTES];
	struct rp_accel_vendor_queue image;
	unsigned int i;

	(void)state;
	for (i = 0; i < RIG_QUEUE_SIZE / 2; i++)
		packed_descriptors(RX)[i].flags = htole16(PACKED_AVAIL);
	for (i = 0; i < 50; i++) {
		rig_frame(frame, RIG_BROADCAST, 0, 1, i);
		rig_reap(&fixture.guests[0], TX);
		rig_send(&fixture.guests[0], TX, frame, sizeof(frame));
		rig_ring(&fixture.guests[0], TX);
		usleep(500);
	}
	rig_vendor_read(&fixture.guests[2], RX, &image);
	assert_int_equal(le64toh(image.packets), 0);
	assert_true(le64toh(image.errors) > 0);
}

/* A driver that writes to the whole ring while it is served, again and again: whatever comes of it, comes to it alone. */
static void
packed_noise(void **state)
{
	struct rig_guest *guest = &fixture.guests[2];
	uint32_t random = 12345;
	unsigned int round, i;

	(void)state;
	for (round = 0; round < 30; round++) {
		for (i = 0; i < 4 * RIG_QUEUE_SIZE; i++) {
			random = random * 1664525u + 1013904223u;
			packed_put(random >> 26, RIG_MEMORY_IOVA + (random >> 12 & 0xfffff), random >> 20 & 0x7ff,
				   random >> 10 & 0x3f, (uint16_t)(random >> 8));
			rig_ring(guest, TX);
		}
		/* What it still offers is a broadcast at best: the others have no room for all of it. */
		rig_vendor_write(guest, TX, offsetof(struct rp_accel_vendor_queue, control), RP_ACCEL_VENDOR_STOP);
		rig_common_write(guest, VIRTIO_PCI_COMMON_Q_SELECT, 2, TX);
		rig_common_write(guest, 58, 2, 1);
		rig_guest_program(guest, TX);
		rig_guest_enable(guest, TX);
	}
	rig_vendor_write(guest, TX, offsetof(struct rp_accel_vendor_queue, control), RP_ACCEL_VENDOR_STOP);
	others_go_on();
}

/* The memory goes while the rings run and doorbells are rung. */
static void
memory_is_unmapped(void **state)
{
	struct rig_guest *guest = &fixture.guests[2];
	uint8_t frame[RIG_FRAME_BYTES];

	(void)state;
	assert_int_equal(rp_vfu_client_dma_unmap(guest->client, RIG_MEMORY_IOVA, RIG_MEMORY_BYTES, NULL), 0);
	rig_frame(frame, RIG_BROADCAST, 2, 1, 0);
	rig_send(guest, TX, frame, sizeof(frame));
	rig_ring(guest, TX);
	expect_broken(TX);
	others_go_on();
}

/* Mapping and unmapping next to traffic: the answer comes, and nobody waits for ever. */
static void
mapping_churn(void **state)
{
	struct rig_guest *guest = &fixture.guests[2];
	unsigned int i;

	(void)state;
	for (i = 0; i < 200; i++) {
		assert_int_equal(rp_vfu_client_dma_map(guest->client, 0x1000, 0x1000, guest->memory_fd, 0, 3, NULL), 0);
		assert_int_equal(rp_vfu_client_dma_unmap(guest->client, 0x1000, 0x1000, NULL), 0);
		if (i % 50 == 0)
			others_go_on();
	}
}

/* Registers as fast as they can be written: the gate is closed all the time, and others still go on. */
static void
restart_churn(void **state)
{
	struct rig_guest *guest = &fixture.guests[2];
	unsigned int i;

	(void)state;
	for (i = 0; i < 300; i++) {
		rig_vendor_write(guest, TX, offsetof(struct rp_accel_vendor_queue, control), RP_ACCEL_VENDOR_STOP);
		rig_guest_enable(guest, TX);
		if (i % 50 == 0)
			others_go_on();
	}
}

/* An eventfd that is full and blocking must not hold the loop. */
static void
full_call_eventfd(void **state)
{
	struct rig_guest *guest = &fixture.guests[2];
	uint8_t frame[RIG_FRAME_BYTES];
	unsigned int i;
	int fd = eventfd(0, EFD_CLOEXEC);

	(void)state;
	assert_int_equal(eventfd_write(fd, UINT64_MAX - 1), 0);
	assert_int_equal(rp_vfu_client_irq_set(guest->client, RP_VFU_PCI_MSIX_IRQ, TX, fd, NULL), 0);
	assert_int_equal(rp_vfu_client_irq_set(guest->client, RP_VFU_PCI_MSIX_IRQ, RX, fd, NULL), 0);
	for (i = 0; i < 10; i++) {
		rig_frame(frame, RIG_BROADCAST, 2, 1, i);
		rig_send(guest, TX, frame, sizeof(frame));
		rig_ring(guest, TX);
	}
	others_go_on();
	rp_wire_fd_close(&fd);
}

/* A kick eventfd made blocking, and emptied behind our back. */
static void
blocking_kick_eventfd(void **state)
{
	struct rig_guest *guest = &fixture.guests[2];
	unsigned int i;
	int fd;

	(void)state;
	assert_int_equal(rp_vfu_client_io_fd(guest->client, RIG_BAR_NOTIFY, rig_doorbell_at(guest, 1), 2, 1, &fd, NULL),
			 0);
	assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
	for (i = 0; i < 1000; i++) {
		eventfd_t count;

		eventfd_write(fd, 1);
		assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
		eventfd_read(fd, &count);
		assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
	}
	others_go_on();
	rp_wire_fd_close(&fd);
}

static uint64_t
vendor_tx_at(uint64_t field)
{
	return RIG_VENDOR + sizeof(struct rp_accel_vendor_header) + TX * sizeof(struct rp_accel_vendor_queue) + field;
}

static void
expect_control_side_free(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	assert_int_equal(pthread_mutex_timedlock(&fixture.rig.control_turn, &until), 0);
	pthread_mutex_unlock(&fixture.rig.control_turn);
}

/* A kick eventfd that is full and blocking, and a kick by message, in one go with what needs the data path to halt. */
static void
full_kick_eventfd(void **state)
{
	struct rig_guest *guest = &fixture.guests[2];
	const uint16_t kick = htole16(TX);
	const uint32_t doorbell = htole32(2);
	unsigned int i;
	int fd;

	(void)state;
	rig_vendor_write(guest, TX, offsetof(struct rp_accel_vendor_queue, control), RP_ACCEL_VENDOR_STOP);
	assert_int_equal(rp_vfu_client_io_fd(guest->client, RIG_BAR_NOTIFY, rig_doorbell_at(guest, 1), 2, 1, &fd, NULL),
			 0);
	fixture.full_fd = fd;
	assert_int_equal(eventfd_write(fd, UINT64_MAX - 1), 0);
	assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
	rig_control_pause(&fixture.rig);
	for (i = 0; i < 2; i++) {
		assert_int_equal(
			rp_vfu_client_region_write_post(guest->client, RIG_BAR_REGISTERS,
							vendor_tx_at(offsetof(struct rp_accel_vendor_queue, doorbell)),
							sizeof(doorbell), &doorbell, NULL),
			0);
		assert_int_equal(rp_vfu_client_region_write_post(guest->client, RIG_BAR_NOTIFY,
								 rig_doorbell_at(guest, 1), sizeof(kick), &kick, NULL),
				 0);
	}
	rig_control_resume(&fixture.rig);
	usleep(10000);
	others_go_on();
	expect_control_side_free();
}

static void
write_log(const char *text)
{
	(void)text;
	pthread_mutex_lock(&fixture.log);
	pthread_mutex_unlock(&fixture.log);
}

/* Behind what halts the data path the control side may have to wait for others: then nobody's traffic does. */
static void
full_log(void **state)
{
	struct rig_guest *guest = &fixture.guests[2];
	const uint32_t stop = htole32(RP_ACCEL_VENDOR_STOP);

	(void)state;
	__atomic_store_n(&fixture.rig.heard, write_log, __ATOMIC_RELEASE);
	pthread_mutex_lock(&fixture.log);
	fixture.log_held = true;
	assert_int_equal(rp_vfu_client_region_write_post(guest->client, RIG_BAR_REGISTERS,
							 vendor_tx_at(offsetof(struct rp_accel_vendor_queue, control)),
							 sizeof(stop), &stop, NULL),
			 0);
	while (softaccel_queue_state(fixture.rig.functions[2], TX) != SOFTACCEL_QUEUE_STOPPED)
		usleep(1000);
	usleep(10000);
	others_go_on();
}

/* All of the doorbell page, all the time. */
static void
doorbell_noise(void **state)
{
	struct rig_guest *guest = &fixture.guests[2];
	unsigned int i;

	(void)state;
	for (i = 0; i < 2000; i++)
		memset(guest->doorbells, (int)i, 8192);
	others_go_on();
}

/* Many lives of one function leave nothing behind. */
static void
nothing_leaks(void **state)
{
	struct rig_guest *guest = &fixture.guests[2];
	struct test_leaks before;
	unsigned int i;

	(void)state;
	test_leaks_read(&before);
	for (i = 0; i < 20; i++) {
		rig_guest_fini(guest);
		rig_guest_start(guest, &fixture.rig, 2, 2, fixture.features);
	}
	test_leaks_assert_none(&before);
	others_go_on();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(index_beyond_the_ring, split),
		RIG_TEST(descriptor_loop, split),
		RIG_TEST(unmapped_buffer, split),
		RIG_TEST(unwritable_receive_buffers, split),
		RIG_TEST(packed_chain_without_an_end, packed),
		RIG_TEST(packed_chain_without_an_end, packed_in_order),
		RIG_TEST(packed_unmapped_buffer, packed),
		RIG_TEST(packed_unmapped_buffer, packed_in_order),
		RIG_TEST(packed_buffer_id_beyond_the_ring, packed),
		RIG_TEST(packed_buffer_id_beyond_the_ring, packed_in_order),
		RIG_TEST(packed_buffer_id_twice, packed),
		RIG_TEST(packed_odd_table, packed),
		RIG_TEST(packed_odd_table, packed_in_order),
		RIG_TEST(packed_unwritable_receive_buffers, packed),
		RIG_TEST(packed_unwritable_receive_buffers, packed_in_order),
		RIG_TEST(packed_noise, packed),
		RIG_TEST(packed_noise, packed_in_order),
		RIG_TESTS(memory_is_unmapped),
		RIG_TESTS(mapping_churn),
		RIG_TESTS(restart_churn),
		RIG_TESTS(full_call_eventfd),
		RIG_TESTS(blocking_kick_eventfd),
		RIG_TESTS(full_kick_eventfd),
		RIG_TEST(full_log, split),
		RIG_TESTS(doorbell_noise),
		RIG_TESTS(nothing_leaks),
	};

	rig_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
