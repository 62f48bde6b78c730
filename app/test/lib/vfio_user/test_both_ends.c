/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bytes.h"
#include "device.h"
#include "rp_vfu_client.h"
#include "rp_wire_fd.h"
#include "serving.h"

/*
 * Our client against our server, each in its thread, and a third that does what
 * a data path does: it reads guest memory through a reader of its own, and
 * signals a duplicate of the eventfd that it was given.
 */

static struct device device;
static struct rp_vfu_client *client;
static struct rp_wire_why why;
static struct test_leaks before;
static struct serving serving;

static void
connect_client(void)
{
	const struct rp_vfu_client_config config = {.socket_path = test_socket_path(), .timeout_ms = 5000};

	assert_int_equal(rp_vfu_client_create(&config, NULL, NULL, &client, &why), 0);
}

static int
setup(void **state)
{
	(void)state;
	test_leaks_read(&before);
	device_start(&device);
	return 0;
}

static void
start(void)
{
	serving_start(&serving, device.server);
	connect_client();
}

static void
stop(void)
{
	client = rp_vfu_client_destroy(client);
	serving_stop(&serving);
}

static int
teardown(void **state)
{
	(void)state;
	serving_stop(&serving);
	device_close(&device);
	test_leaks_assert_none(&before);
	return 0;
}

static void
test_regions(void **state)
{
	struct rp_vfu_client_region region;
	uint32_t word = 0x11223344, back = 0;
	uint8_t *memory;

	(void)state;
	start();
	assert_int_equal(rp_vfu_client_region_write(client, 0, 0x80, sizeof(word), &word, &why), 0);
	assert_int_equal(rp_vfu_client_region_read(client, 0, 0x80, sizeof(back), &back, &why), 0);
	assert_int_equal(back, word);
	assert_int_equal(rp_vfu_client_region_read(client, 0, 0x1000, 4, &back, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_region_read(client, 9, 0, 4, &back, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_region_write(client, 4, 0, 4, &back, &why), -EACCES);
	assert_int_equal(rp_vfu_client_region_info(client, 2, &region, &why), 0);
	assert_int_equal(region.areas_count, 2);
	memory = mmap(NULL, region.areas[1].size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, region.fd,
		      (off_t)(region.fd_offset_bytes + region.areas[1].offset_bytes));
	assert_ptr_not_equal(memory, MAP_FAILED);
	memory[0x1fff] = 0x5c;
	/* Memory and messages are two ways to the same bytes. */
	assert_int_equal(rp_vfu_client_region_read(client, 2, 0x5fff, 1, &back, &why), 0);
	assert_int_equal(*(uint8_t *)&back, 0x5c);
	munmap(memory, region.areas[1].size_bytes);
	assert_int_equal(rp_vfu_client_reset(client, &why), 0);
	stop();
	assert_int_equal(device.resets, 1);
}

static void
test_interrupts_and_kicks(void **state)
{
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), kick = -1;
	eventfd_t signals;
	uint32_t word = 1;

	(void)state;
	device.trigger_vector = 3;
	start();
	assert_int_equal(rp_vfu_client_irq_set(client, 2, 3, event, &why), 0);
	/* A write whose handling interrupts: the signal is there when the reply is. */
	assert_int_equal(rp_vfu_client_region_write(client, 0, 0, sizeof(word), &word, &why), 0);
	assert_int_equal(eventfd_read(event, &signals), 0);
	assert_int_equal(rp_vfu_client_irq_set(client, 2, 3, -1, &why), 0);
	assert_int_equal(rp_vfu_client_region_write(client, 0, 0, sizeof(word), &word, &why), 0);
	assert_int_equal(eventfd_read(event, &signals), -1);
	assert_int_equal(rp_vfu_client_irq_disable(client, 2, &why), 0);
	assert_int_equal(rp_vfu_client_irq_set(client, 2, 40, event, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_io_fd(client, 0, 0x10, 4, 0, &kick, &why), 0);
	assert_int_equal(eventfd_write(kick, 1), 0);
	assert_int_equal(eventfd_read(device.kick_fds[0], &signals), 0);
	rp_wire_fd_close(&kick);
	assert_int_equal(rp_vfu_client_io_fd(client, 0, 0x10, 2, 0, &kick, &why), -ENOENT);
	assert_int_equal(rp_vfu_client_io_fd(client, 9, 0x10, 2, 0, &kick, &why), -EINVAL);
	stop();
	rp_wire_fd_close(&event);
}

/* A data path: reads a word of guest memory again and again until it is told to stop. */
struct data_path {
	struct rp_dma_reader *reader;
	int stop;
	unsigned int seen;
	unsigned int missed;
	pthread_t thread;
};

static void *
poll_memory(void *arg)
{
	struct data_path *path = arg;

	rp_dma_reader_online(path->reader);
	/* Once at least, however late the thread comes to run. */
	do {
		uint64_t bytes;
		volatile uint32_t *word = rp_dma_reader_translate(path->reader, 0x1000, 4, RP_DMA_READ, &bytes);

		if (word == NULL)
			path->missed++;
		else if (*word == 0x600d600d)
			path->seen++;
		rp_dma_reader_quiescent(path->reader);
	} while (__atomic_load_n(&path->stop, __ATOMIC_ACQUIRE) == 0);
	rp_dma_reader_offline(path->reader);
	return NULL;
}

static void
test_memory_under_a_data_path(void **state)
{
	struct data_path path = {.stop = 0};
	int fd = test_memfd(0x1000, false);
	const uint32_t word = 0x600d600d;
	unsigned int round;

	(void)state;
	assert_int_equal(pwrite(fd, &word, sizeof(word), 0), sizeof(word));
	assert_int_equal(rp_dma_reader_create(rp_vfu_server_dma(device.server), &path.reader), 0);
	start();
	assert_int_equal(pthread_create(&path.thread, NULL, poll_memory, &path), 0);
	for (round = 0; round < 200; round++) {
		assert_int_equal(rp_vfu_client_dma_map(client, 0x1000, 0x1000, fd, 0, 3, &why), 0);
		assert_int_equal(rp_vfu_client_dma_map(client, 0x1800, 0x1000, fd, 0, 3, &why), -EEXIST);
		/* What comes back has let go: reading it would be a fault in the other thread. */
		assert_int_equal(rp_vfu_client_dma_unmap(client, 0x1000, 0x1000, &why), 0);
	}
	/* A client that leaves unmaps too, under the same rule. */
	assert_int_equal(rp_vfu_client_dma_map(client, 0x1000, 0x1000, fd, 0, 3, &why), 0);
	stop();
	device_turn(&device);
	__atomic_store_n(&path.stop, 1, __ATOMIC_RELEASE);
	assert_int_equal(pthread_join(path.thread, NULL), 0);
	assert_int_equal(rp_dma_space_count(rp_vfu_server_dma(device.server)), 0);
	rp_dma_reader_destroy(path.reader);
	assert_true(path.seen + path.missed > 0);
	rp_wire_fd_close(&fd);
}

/* As a device with a data path does it: a duplicate of its own, changed under a lock. */
static struct {
	pthread_mutex_t lock;
	pthread_barrier_t barrier;
	int fd;
	bool stop;
} signaller = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

static void
keep_a_duplicate(void *ctx, uint32_t irq_index, uint32_t vector, int eventfd)
{
	int copy = eventfd < 0 ? -1 : rp_wire_fd_dup(eventfd);

	(void)ctx;
	(void)irq_index;
	(void)vector;
	pthread_mutex_lock(&signaller.lock);
	rp_wire_fd_replace(&signaller.fd, &copy);
	pthread_mutex_unlock(&signaller.lock);
}

static void *
signal_at_each_barrier(void *arg)
{
	(void)arg;
	for (;;) {
		pthread_barrier_wait(&signaller.barrier);
		if (signaller.stop)
			return NULL;
		pthread_mutex_lock(&signaller.lock);
		(void)eventfd_write(signaller.fd, 1);
		pthread_mutex_unlock(&signaller.lock);
		pthread_barrier_wait(&signaller.barrier);
	}
}

/* The client has no call for masking; the peer made of bytes has. */
static void
test_no_signal_is_lost_between_mask_and_unmask(void **state)
{
	static const uint8_t attach[] = {U32(20), U32(0x24), U32(4), U32(0), U32(1)};
	static const uint8_t mask[] = {U32(20), U32(0x9), U32(4), U32(0), U32(1)};
	static const uint8_t unmask[] = {U32(20), U32(0x11), U32(4), U32(0), U32(1)};
	static struct peer_msg reply;
	struct rp_vfu_server_ops ops = device_ops;
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct device_description description;
	struct peer peer;
	pthread_t thread;
	eventfd_t signals;
	unsigned int round;

	(void)state;
	ops.irq_changed = keep_a_duplicate;
	device.server = rp_vfu_server_destroy(device.server);
	device_describe(&device, &description);
	assert_int_equal(rp_vfu_server_create(&description.config, &ops, &device, &device.server, &why), 0);
	device_connect(&device, &peer);
	device_negotiate(&peer);
	assert_int_equal(device_ask(&peer, 8, attach, sizeof(attach), &event, 1, &reply), 0);
	assert_int_equal(pthread_barrier_init(&signaller.barrier, NULL, 2), 0);
	assert_int_equal(pthread_create(&thread, NULL, signal_at_each_barrier, NULL), 0);
	for (round = 0; round < 1000; round++) {
		assert_int_equal(device_ask(&peer, 8, mask, sizeof(mask), NULL, 0, &reply), 0);
		pthread_barrier_wait(&signaller.barrier);
		assert_int_equal(device_ask(&peer, 8, unmask, sizeof(unmask), NULL, 0, &reply), 0);
		pthread_barrier_wait(&signaller.barrier);
		assert_int_equal(eventfd_read(event, &signals), 0);
	}
	signaller.stop = true;
	pthread_barrier_wait(&signaller.barrier);
	assert_int_equal(pthread_join(thread, NULL), 0);
	pthread_barrier_destroy(&signaller.barrier);
	device_hang_up(&device, &peer);
	assert_int_equal(signaller.fd, -1);
	rp_wire_fd_close(&event);
}

static void
test_second_client_and_successor(void **state)
{
	const struct rp_vfu_client_config config = {.socket_path = test_socket_path(), .timeout_ms = 5000};
	struct rp_vfu_client *second = NULL;
	unsigned int round;
	uint32_t value;

	(void)state;
	start();
	for (round = 0; round < 500; round++) {
		assert_int_equal(rp_vfu_client_create(&config, NULL, NULL, &second, &why), -ENOTCONN);
		assert_int_equal(rp_vfu_client_region_read(client, 0, 0, sizeof(value), &value, &why), 0);
		assert_int_equal(value, round);
		value++;
		assert_int_equal(rp_vfu_client_region_write(client, 0, 0, sizeof(value), &value, &why), 0);
		/* The successor is not refused because the server has not looked yet. */
		rp_vfu_client_destroy(client);
		connect_client();
	}
	stop();
	device_turn(&device);
	assert_int_equal(device.connects, 501);
	assert_int_equal(device.disconnects, 501);
}

static void
test_transfer_larger_than_a_message(void **state)
{
	const uint32_t region_bytes = 4 * RP_VFU_DATA_XFER_MAX_BYTES, bytes = 2 * RP_VFU_DATA_XFER_MAX_BYTES + 5;
	uint8_t *out = malloc(bytes), *in = malloc(bytes);
	int big_fd = test_memfd(region_bytes, false);
	struct device_description description;
	uint32_t i;

	(void)state;
	assert_non_null(out);
	assert_non_null(in);
	for (i = 0; i < bytes; i++)
		out[i] = (uint8_t)(i * 7 + i / 256);
	device_describe(&device, &description);
	description.regions[2] =
		(struct rp_vfu_region){.size_bytes = region_bytes, .readable = true, .writable = true, .fd = big_fd};
	device_restart(&device, &description);
	start();
	assert_int_equal(rp_vfu_client_region_write(client, 2, 3, bytes, out, &why), 0);
	assert_int_equal(rp_vfu_client_region_read(client, 2, 3, bytes, in, &why), 0);
	assert_memory_equal(in, out, bytes);
	assert_int_equal(rp_vfu_client_region_read(client, 2, region_bytes - bytes + 1, bytes, in, &why), -EINVAL);
	stop();
	rp_wire_fd_close(&big_fd);
	free(out);
	free(in);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_regions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interrupts_and_kicks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory_under_a_data_path, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_signal_is_lost_between_mask_and_unmask, setup, teardown),
		cmocka_unit_test_setup_teardown(test_second_client_and_successor, setup, teardown),
		cmocka_unit_test_setup_teardown(test_transfer_larger_than_a_message, setup, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user: both ends", tests, NULL, NULL);
}
