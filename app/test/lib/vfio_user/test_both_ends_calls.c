/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "device.h"
#include "rp_dma_io.h"
#include "rp_vfu_client.h"
#include "rp_vfu_msg.h"
#include "rp_wire_fd.h"
#include "serving.h"

/* Each call of our client, against our server in a thread of its own. */

static struct device device;
static struct rp_vfu_client *client;
static struct rp_wire_why why;
static struct test_leaks before;
static struct serving serving;

static int
setup(void **state)
{
	(void)state;
	test_leaks_read(&before);
	device_start(&device);
	return 0;
}

static void
start_as(struct rp_vfu_client_config config)
{
	config.socket_path = test_socket_path();
	config.timeout_ms = 30000;
	serving_start(&serving, device.server);
	assert_int_equal(rp_vfu_client_create(&config, NULL, NULL, &client, &why), 0);
}

static void
start(void)
{
	start_as((struct rp_vfu_client_config){.socket_path = NULL});
}

static void
stop_server(void)
{
	serving_stop(&serving);
}

static void
stop(void)
{
	client = rp_vfu_client_destroy(client);
	stop_server();
	device_turn(&device);
}

/* The address space is the server's thread's to look at. */
static void
assert_mappings(unsigned int count)
{
	stop_server();
	assert_int_equal(rp_dma_space_count(rp_vfu_server_dma(device.server)), count);
	serving_start(&serving, device.server);
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

#define MAPS 1000u

static void
test_a_thousand_maps(void **state)
{
	struct rp_vfu_client_memory *many = calloc(MAPS, sizeof(*many));
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int fd = test_memfd(page, true);
	unsigned int i;

	(void)state;
	assert_non_null(many);
	for (i = 0; i < MAPS; i++)
		many[i] = (struct rp_vfu_client_memory){.iova = 2 * (uint64_t)i * page,
							.size_bytes = page,
							.fd = i % 2 == 0 ? fd : -1,
							.access_mask = 3};
	start();
	assert_int_equal(rp_vfu_client_dma_map_many(client, many, MAPS, &why), 0);
	assert_mappings(MAPS);
	/* Those behind the one that is refused are not lost count of. */
	assert_int_equal(rp_vfu_client_dma_map_many(client, many + 500, 1, &why), -EEXIST);
	assert_int_equal(rp_vfu_client_dma_unmap_many(client, many, MAPS / 2, &why), 0);
	assert_int_equal(rp_vfu_client_dma_unmap(client, many[MAPS / 2].iova, 2 * page, &why), 0);
	assert_mappings(MAPS / 2 - 1);
	assert_int_equal(rp_vfu_client_dma_unmap_all(client, &why), 0);
	assert_mappings(0);
	assert_int_equal(rp_vfu_client_dma_map_many(client, many, MAPS, &why), 0);
	stop();
	rp_wire_fd_close(&fd);
	free(many);
}

/* A device that reads one word on and on: it sees the old one or the new one, and never nothing. */
struct reader {
	pthread_t thread;
	int stop;
	unsigned int holes;
	unsigned int others;
	unsigned int reads;
};

static void *
read_words(void *arg)
{
	struct rp_dma_space *space = rp_vfu_server_dma(device.server);
	struct reader *reader = arg;

	do {
		uint32_t word = 0;
		const struct rp_dma_segment segment = {0x10000, sizeof(word), &word};
		int rc = rp_dma_io_read(space, &segment, 1);

		reader->reads++;
		reader->holes += rc == -EFAULT;
		reader->others += rc == 0 && word != 0x11111111 && word != 0x22222222;
	} while (__atomic_load_n(&reader->stop, __ATOMIC_ACQUIRE) == 0);
	return NULL;
}

static void
test_a_remap_leaves_no_hole(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct rp_vfu_client_memory memories[2] = {
		{.iova = 0x10000, .size_bytes = page, .fd = test_memfd(page, true), .access_mask = 3},
		{.iova = 0x10000, .size_bytes = page, .fd = test_memfd(page, true), .access_mask = 1},
	};
	struct reader reader = {.stop = 0};
	uint32_t words[2] = {0x11111111, 0x22222222};
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++)
		assert_int_equal(pwrite(memories[i].fd, &words[i], 4, 0), 4);
	start();
	assert_int_equal(rp_vfu_client_dma_map_memory(client, &memories[0], &why), 0);
	assert_int_equal(pthread_create(&reader.thread, NULL, read_words, &reader), 0);
	for (i = 1; i < 500; i++)
		assert_int_equal(rp_vfu_client_dma_remap(client, &memories[i % 2], &why), 0);
	__atomic_store_n(&reader.stop, 1, __ATOMIC_RELEASE);
	assert_int_equal(pthread_join(reader.thread, NULL), 0);
	assert_mappings(1);
	assert_int_equal(reader.holes, 0);
	assert_int_equal(reader.others, 0);
	assert_true(reader.reads > 0);
	stop();
	rp_wire_fd_close(&memories[0].fd);
	rp_wire_fd_close(&memories[1].fd);
}

static void
test_interrupts_in_runs(void **state)
{
	int events[DEVICE_MSIX_COUNT];
	eventfd_t count;
	unsigned int i;

	(void)state;
	for (i = 0; i < DEVICE_MSIX_COUNT; i++)
		events[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	start();
	assert_int_equal(rp_vfu_client_irq_eventfds(client, RP_VFU_PCI_MSIX_IRQ, RP_VFU_IRQ_ACTION_TRIGGER_MASK, 0,
						    DEVICE_MSIX_COUNT, events, &why),
			 0);
	assert_int_equal(rp_vfu_client_irq_action(client, RP_VFU_PCI_MSIX_IRQ, RP_VFU_IRQ_ACTION_TRIGGER_MASK, 0,
						  DEVICE_MSIX_COUNT, NULL, &why),
			 0);
	for (i = 0; i < DEVICE_MSIX_COUNT; i++)
		assert_int_equal(eventfd_read(events[i], &count), 0);
	assert_int_equal(rp_vfu_client_irq_eventfds(client, RP_VFU_PCI_REQ_IRQ, RP_VFU_IRQ_ACTION_TRIGGER_MASK, 0,
						    DEVICE_REQ_COUNT, events, &why),
			 0);
	/* What comes while it is masked comes when it is not. */
	assert_int_equal(rp_vfu_client_irq_action(client, RP_VFU_PCI_REQ_IRQ, RP_VFU_IRQ_ACTION_MASK_MASK, 0,
						  DEVICE_REQ_COUNT, (const uint8_t[]){0, 1, 0, 0}, &why),
			 0);
	assert_int_equal(rp_vfu_client_irq_action(client, RP_VFU_PCI_REQ_IRQ, RP_VFU_IRQ_ACTION_TRIGGER_MASK, 0,
						  DEVICE_REQ_COUNT, (const uint8_t[]){1, 1, 0, 0}, &why),
			 0);
	assert_int_equal(eventfd_read(events[0], &count), 0);
	assert_int_equal(eventfd_read(events[1], &count), -1);
	assert_int_equal(eventfd_read(events[2], &count), -1);
	assert_int_equal(
		rp_vfu_client_irq_action(client, RP_VFU_PCI_REQ_IRQ, RP_VFU_IRQ_ACTION_UNMASK_MASK, 1, 1, NULL, &why),
		0);
	assert_int_equal(eventfd_read(events[1], &count), 0);
	stop();
	rp_wire_fd_close_all(events, DEVICE_MSIX_COUNT);
}

static void
test_writes_of_every_kind(void **state)
{
	struct rp_vfu_client_write writes[100] = {{.region = 0}};
	unsigned int i, done = 0;
	uint32_t word;

	(void)state;
	start();
	for (i = 0; i < 1000; i++)
		assert_int_equal(rp_vfu_client_region_write_post(client, 0, 0x80 + i % 16 * 4, 4, &i, &why), 0);
	/* In order: the read finds them all. */
	assert_int_equal(rp_vfu_client_region_read(client, 0, 0x80 + 999 % 16 * 4, 4, &word, &why), 0);
	assert_int_equal(word, 999);
	for (i = 0; i < 100; i++)
		writes[i] = (struct rp_vfu_client_write){
			.count_bytes = 1, .offset_bytes = 0x100 + i, .bytes = {(uint8_t)i}};
	assert_int_equal(rp_vfu_client_region_write_multi(client, writes, 100, &done, &why), 0);
	assert_int_equal(done, 100);
	assert_int_equal(rp_vfu_client_region_read(client, 0, 0x100 + 96, 4, &word, &why), 0);
	assert_memory_equal(&word, ((const uint8_t[]){96, 97, 98, 99}), 4);
	writes[50].offset_bytes = 0x1000;
	assert_int_equal(rp_vfu_client_region_write_multi(client, writes, 100, &done, &why), -EINVAL);
	assert_int_equal(done, 0);
	stop();
}

static unsigned int heard, heard_wrong;

static void
hear(void *ctx, int error, const struct rp_wire_why *reason)
{
	const uint32_t *word = ctx;

	(void)reason;
	heard++;
	heard_wrong += error != 0 || *word != 0x0c0ffee0;
}

static void
test_reads_that_nobody_waits_for(void **state)
{
	uint32_t words[200] = {0};
	const uint32_t value = 0x0c0ffee0;
	unsigned int i;

	(void)state;
	heard = heard_wrong = 0;
	start();
	assert_int_equal(rp_vfu_client_region_write(client, 0, 0x80, 4, &value, &why), 0);
	for (i = 0; i < 200; i++) {
		const struct rp_vfu_client_done done = {.done = hear, .ctx = &words[i]};

		assert_int_equal(rp_vfu_client_region_read_start(client, 0, 0x80, 4, &words[i], &done, &why), 0);
	}
	assert_int_equal(rp_vfu_client_wait(client, &why), 0);
	assert_int_equal(heard, 200);
	assert_int_equal(heard_wrong, 0);
	stop();
}

/* More eventfds than one message carries. */
#define PLACES 50u

static void
test_places_beyond_one_message(void **state)
{
	struct rp_vfu_io_fd io_fds[PLACES];
	struct rp_vfu_client_place places[PLACES + 1];
	struct device_description description;
	unsigned int i, count = 0;
	eventfd_t signals;
	int fd = -1;

	(void)state;
	for (i = 0; i < PLACES; i++)
		io_fds[i] = (struct rp_vfu_io_fd){
			.offset_bytes = 4 * (uint64_t)i, .size_bytes = 4, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	device_describe(&device, &description);
	description.regions[0].io_fds = io_fds;
	description.regions[0].io_fds_count = PLACES;
	device_restart(&device, &description);
	start();
	assert_int_equal(rp_vfu_client_places(client, 0, places, PLACES + 1, &count, &why), 0);
	assert_int_equal(count, PLACES);
	for (i = 0; i < PLACES; i++) {
		assert_int_equal(places[i].offset_bytes, 4 * i);
		assert_int_equal(eventfd_write(places[i].fd, i + 1), 0);
		assert_int_equal(eventfd_read(io_fds[i].fd, &signals), 0);
		assert_int_equal(signals, i + 1);
	}
	rp_vfu_client_places_close(places, count);
	assert_int_equal(rp_vfu_client_io_fd(client, 0, 4 * (PLACES - 1), 4, 0, &fd, &why), 0);
	rp_wire_fd_close(&fd);
	stop();
	/* By the specification alone there is no second page. */
	start_as((struct rp_vfu_client_config){.specification_only = true});
	assert_int_equal(rp_vfu_client_places(client, 0, places, PLACES + 1, &count, &why), 0);
	assert_int_equal(count, RP_VFU_MSG_FDS_MAX);
	rp_vfu_client_places_close(places, count);
	stop();
	for (i = 0; i < PLACES; i++)
		rp_wire_fd_close(&io_fds[i].fd);
}

/*
 * Both sides send all they can at once: the client copies a region that is larger than
 * any socket holds, while the device reads and writes memory in the largest pieces.
 */
#define COPY_BYTES (4u * RP_VFU_DATA_XFER_MAX_BYTES)
#define DMA_BYTES (2u << 20)
#define DMA_IOVA 0x100000000ull

struct mover {
	pthread_t thread;
	int stop;
	unsigned int moves;
	int error;
};

static void *
move_memory(void *arg)
{
	struct rp_dma_space *space = rp_vfu_server_dma(device.server);
	uint8_t *bytes = calloc(1, DMA_BYTES);
	const struct rp_dma_segment segment = {DMA_IOVA, DMA_BYTES, bytes};
	struct mover *mover = arg;

	while (mover->error == 0 && __atomic_load_n(&mover->stop, __ATOMIC_ACQUIRE) == 0) {
		mover->error = rp_dma_io_read(space, &segment, 1);
		if (mover->error == 0)
			mover->error = rp_dma_io_write(space, &segment, 1);
		__atomic_fetch_add(&mover->moves, 1, __ATOMIC_RELAXED);
	}
	free(bytes);
	return NULL;
}

static void
copy_under_dma(struct rp_vfu_client_config config)
{
	uint8_t *out = malloc(COPY_BYTES), *in = malloc(COPY_BYTES), *memory = calloc(1, DMA_BYTES);
	const struct rp_vfu_client_memory given = {
		.iova = DMA_IOVA, .size_bytes = DMA_BYTES, .fd = -1, .hva = memory, .access_mask = 3};
	struct mover mover = {.stop = 0};
	unsigned int round;

	assert_true(out != NULL && in != NULL && memory != NULL);
	start_as(config);
	assert_int_equal(rp_vfu_client_dma_map_memory(client, &given, &why), 0);
	assert_int_equal(pthread_create(&mover.thread, NULL, move_memory, &mover), 0);
	for (round = 0; round < 20 || __atomic_load_n(&mover.moves, __ATOMIC_RELAXED) < 4; round++) {
		memset(out, (int)round + 1, COPY_BYTES);
		assert_int_equal(rp_vfu_client_region_write(client, 2, 0, COPY_BYTES, out, &why), 0);
		assert_int_equal(rp_vfu_client_region_read(client, 2, 0, COPY_BYTES, in, &why), 0);
		assert_memory_equal(in, out, COPY_BYTES);
		assert_int_equal(rp_vfu_client_process(client), 0);
	}
	__atomic_store_n(&mover.stop, 1, __ATOMIC_RELEASE);
	while (pthread_tryjoin_np(mover.thread, NULL) == EBUSY)
		assert_int_equal(rp_vfu_client_process(client), 0);
	assert_int_equal(mover.error, 0);
	stop();
	free(out);
	free(in);
	free(memory);
}

static void
test_both_ends_send_all_they_can(void **state)
{
	struct device_description description;
	int fd = test_memfd(COPY_BYTES, true);

	(void)state;
	device_describe(&device, &description);
	description.regions[2] =
		(struct rp_vfu_region){.size_bytes = COPY_BYTES, .readable = true, .writable = true, .fd = fd};
	device_restart(&device, &description);
	copy_under_dma((struct rp_vfu_client_config){.specification_only = true});
	copy_under_dma((struct rp_vfu_client_config){.specification_only = true, .twin_socket = true});
	copy_under_dma((struct rp_vfu_client_config){.withheld_mask = 1u << RP_VFU_TERM_WINDOW});
	copy_under_dma((struct rp_vfu_client_config){.twin_socket = true});
	rp_wire_fd_close(&fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_thousand_maps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_remap_leaves_no_hole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interrupts_in_runs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_writes_of_every_kind, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reads_that_nobody_waits_for, setup, teardown),
		cmocka_unit_test_setup_teardown(test_places_beyond_one_message, setup, teardown),
		cmocka_unit_test_setup_teardown(test_both_ends_send_all_they_can, setup, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user: both ends, call by call", tests, NULL, NULL);
}
