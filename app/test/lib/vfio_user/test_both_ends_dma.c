/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
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

/*
 * Memory of which the client gives no descriptor, in every way that the two ends
 * can agree on: our client's thread, our server's, and those of a device that
 * reads and writes.
 */

#define IOVA 0x80000000ull
#define MEMORY_BYTES (8u << 20)
#define ROUNDS 300

static struct device device;
static struct rp_vfu_client *client;
static struct rp_wire_why why;
static struct test_leaks before;
static struct serving serving;
static int done_fd;
static uint8_t *memory;

static const struct rp_vfu_client_config ways[] = {
	{.specification_only = true},
	{.specification_only = true, .max_data_xfer_bytes = 4096},
	{.specification_only = true, .twin_socket = true},
	{.withheld_mask = 1u << RP_VFU_TERM_WINDOW},
	{.window_bytes = 65536},
	{.window_bytes = 1u << 20, .twin_socket = true},
	{.window_bytes = 0},
};
#define WAYS_COUNT (sizeof(ways) / sizeof(ways[0]))

static int
setup(void **state)
{
	(void)state;
	test_leaks_read(&before);
	done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	memory = malloc(MEMORY_BYTES);
	assert_non_null(memory);
	device_start(&device);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	serving_stop(&serving);
	device_close(&device);
	free(memory);
	rp_wire_fd_close(&done_fd);
	test_leaks_assert_none(&before);
	return 0;
}

static void
start(const struct rp_vfu_client_config *way)
{
	struct rp_vfu_client_config config = *way;
	const struct rp_vfu_client_memory given = {
		.iova = IOVA, .size_bytes = MEMORY_BYTES, .fd = -1, .hva = memory, .access_mask = 3};

	config.socket_path = test_socket_path();
	config.timeout_ms = 30000;
	serving_start(&serving, device.server);
	assert_int_equal(rp_vfu_client_create(&config, NULL, NULL, &client, &why), 0);
	assert_int_equal(rp_vfu_client_dma_map_memory(client, &given, &why), 0);
}

static void
stop(void)
{
	client = rp_vfu_client_destroy(client);
	serving_stop(&serving);
	device_turn(&device);
}

/* Serve until the device's threads are done, with commands of our own in between. */
static void
serve_until_done(unsigned int threads)
{
	struct pollfd fds[] = {
		{.fd = rp_vfu_client_fd(client), .events = POLLIN},
		{.fd = done_fd, .events = POLLIN},
	};
	unsigned int done = 0;
	eventfd_t count;
	uint32_t word;

	while (done < threads) {
		assert_int_not_equal(poll(fds, 2, 30000), 0);
		assert_int_equal(rp_vfu_client_process(client), 0);
		assert_int_equal(rp_vfu_client_region_read(client, 0, 0x80, sizeof(word), &word, &why), 0);
		if (eventfd_read(done_fd, &count) == 0)
			done += (unsigned int)count;
	}
}

struct worker {
	pthread_t thread;
	unsigned int seed;
	uint64_t first; /* its part of the memory */
	uint64_t bytes;
	int error;
	unsigned int wrong;
	uint8_t *out; /* what it wrote last, and where */
	uint64_t out_at;
	uint64_t out_bytes;
};

static uint64_t
random_below(unsigned int *seed, uint64_t limit)
{
	return ((uint64_t)(unsigned int)rand_r(seed) << 16 ^ (uint64_t)(unsigned int)rand_r(seed)) % limit;
}

/* Write pieces of any size and read them again, several at once. */
static void *
work(void *arg)
{
	struct rp_dma_space *space = rp_vfu_server_dma(device.server);
	struct worker *worker = arg;
	uint64_t half = worker->bytes / 2;
	uint8_t *out = malloc(half), *in = malloc(half);
	unsigned int round;

	for (round = 0; round < ROUNDS && worker->error == 0; round++) {
		uint64_t bytes = 1 + random_below(&worker->seed, round % 8 == 0 ? half : 9000), i;
		uint64_t cut = random_below(&worker->seed, bytes),
			 at = worker->first + random_below(&worker->seed, half);
		const struct rp_dma_segment write[] = {{IOVA + at, cut, out},
						       {IOVA + at + cut, bytes - cut, out + cut}};
		const struct rp_dma_segment read[] = {{IOVA + at, bytes, in}};

		for (i = 0; i < bytes; i++)
			out[i] = (uint8_t)(worker->seed + i * 31);
		worker->error = rp_dma_io_write(space, write, 2);
		if (worker->error == 0)
			worker->error = rp_dma_io_read(space, read, 1);
		worker->wrong += memcmp(in, out, bytes) != 0;
		worker->out_at = at;
		worker->out_bytes = bytes;
	}
	worker->out = out;
	free(in);
	(void)eventfd_write(done_fd, 1);
	return NULL;
}

static void
test_every_way(void **state)
{
	struct worker workers[2];
	unsigned int way, i;

	(void)state;
	for (way = 0; way < WAYS_COUNT; way++) {
		start(&ways[way]);
		for (i = 0; i < 2; i++) {
			workers[i] = (struct worker){
				.seed = 100 * way + i, .first = i * MEMORY_BYTES / 2, .bytes = MEMORY_BYTES / 2};
			assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
		}
		serve_until_done(2);
		for (i = 0; i < 2; i++) {
			assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
			assert_int_equal(workers[i].error, 0);
			assert_int_equal(workers[i].wrong, 0);
			assert_memory_equal(memory + workers[i].out_at, workers[i].out, workers[i].out_bytes);
			free(workers[i].out);
		}
		stop();
	}
	assert_int_equal(device.refusals, 0);
}

struct looper {
	pthread_t thread;
	int stop;
	uint64_t reads;
	uint64_t gone; /* -EFAULT or -ECANCELED: unmapped meanwhile */
	int error; /* another one */
};

static void *
read_on_and_on(void *arg)
{
	struct rp_dma_space *space = rp_vfu_server_dma(device.server);
	struct looper *looper = arg;
	uint8_t bytes[4096];
	const struct rp_dma_segment segment = {IOVA + 0x10000, sizeof(bytes), bytes};

	/* Once at least, however late the thread comes to run. */
	do {
		int rc = rp_dma_io_read(space, &segment, 1);

		if (rc == 0)
			__atomic_fetch_add(&looper->reads, 1, __ATOMIC_RELAXED);
		else if (rc == -EFAULT || rc == -ECANCELED)
			__atomic_fetch_add(&looper->gone, 1, __ATOMIC_RELAXED);
		else
			__atomic_store_n(&looper->error, rc, __ATOMIC_RELAXED);
	} while (__atomic_load_n(&looper->stop, __ATOMIC_ACQUIRE) == 0 && looper->error == 0);
	return NULL;
}

/* What it has behind it, whichever way it ended. */
static uint64_t
have_crossed(const struct looper *looper)
{
	return __atomic_load_n(&looper->reads, __ATOMIC_RELAXED) + __atomic_load_n(&looper->gone, __ATOMIC_RELAXED) +
	       (uint64_t)(__atomic_load_n(&looper->error, __ATOMIC_RELAXED) != 0);
}

/* Unmaps and maps cross with reads; when the answer is there nothing of the range is under way where that was agreed. */
static void
test_unmap_under_reads(void **state)
{
	const struct rp_vfu_client_memory given = {
		.iova = IOVA, .size_bytes = MEMORY_BYTES, .fd = -1, .hva = memory, .access_mask = 3};
	struct looper looper;
	unsigned int way, round;

	(void)state;
	for (way = 0; way < WAYS_COUNT; way++) {
		start(&ways[way]);
		looper = (struct looper){.stop = 0};
		assert_int_equal(pthread_create(&looper.thread, NULL, read_on_and_on, &looper), 0);
		/* The thread may be late to begin: it has crossed at least one of them. */
		for (round = 0; round < 100 || have_crossed(&looper) == 0; round++) {
			assert_int_equal(rp_vfu_client_dma_unmap(client, IOVA, MEMORY_BYTES, &why), 0);
			assert_int_equal(rp_vfu_client_dma_map_memory(client, &given, &why), 0);
			assert_int_equal(rp_vfu_client_process(client), 0);
		}
		__atomic_store_n(&looper.stop, 1, __ATOMIC_RELEASE);
		while (pthread_tryjoin_np(looper.thread, NULL) == EBUSY)
			assert_int_equal(rp_vfu_client_process(client), 0);
		assert_int_equal(looper.error, 0);
		stop();
	}
}

/* The client goes while much is under way: everybody hears of it, and the next client starts afresh. */
static void
test_client_vanishes(void **state)
{
	struct looper looper;
	unsigned int way;

	(void)state;
	for (way = 0; way < WAYS_COUNT; way++) {
		start(&ways[way]);
		looper = (struct looper){.stop = 0};
		assert_int_equal(pthread_create(&looper.thread, NULL, read_on_and_on, &looper), 0);
		while (__atomic_load_n(&looper.reads, __ATOMIC_RELAXED) < 20)
			assert_int_equal(rp_vfu_client_process(client), 0);
		client = rp_vfu_client_destroy(client);
		/* Not mapped any more once it is noticed. */
		while (__atomic_load_n(&looper.gone, __ATOMIC_RELAXED) == 0 &&
		       __atomic_load_n(&looper.error, __ATOMIC_RELAXED) == 0)
			usleep(100);
		__atomic_store_n(&looper.stop, 1, __ATOMIC_RELEASE);
		assert_int_equal(pthread_join(looper.thread, NULL), 0);
		assert_true(looper.error == 0 || looper.error == -ENOTCONN);
		stop();
	}
	assert_int_equal(device.disconnects, WAYS_COUNT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_every_way, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unmap_under_reads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_vanishes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
