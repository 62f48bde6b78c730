/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "device.h"
#include "rp_dma_bounce.h"
#include "rp_vfu_client.h"
#include "rp_vfu_msg.h"
#include "rp_wire_fd.h"
#include "serving.h"

/*
 * A device that maps and unmaps, over memory of which the client gives a descriptor,
 * or none: our client's thread, our server's, and the device's own.
 */

#define FAR UINT64_C(0x80000000) /* no descriptor */
#define NEAR UINT64_C(0x90000000) /* with one */
#define MEMORY_BYTES (1u << 20)
#define ROUNDS 150
#define BOTH (RP_DMA_READ | RP_DMA_WRITE)

static struct device device;
static struct rp_vfu_client *client;
static struct rp_wire_why why;
static struct test_leaks before;
static struct serving serving;
static int done_fd, memory_fd;
static uint8_t *memory;

static const struct rp_vfu_client_config ways[] = {
	{.specification_only = true},
	{.specification_only = true, .max_data_xfer_bytes = 4096, .twin_socket = true},
	{.window_bytes = 1u << 20},
};
#define WAYS_COUNT (sizeof(ways) / sizeof(ways[0]))

static int
setup(void **state)
{
	(void)state;
	test_leaks_read(&before);
	done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	memory_fd = test_memfd(MEMORY_BYTES, true);
	memory = calloc(1, MEMORY_BYTES);
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
	rp_wire_fd_close(&memory_fd);
	rp_wire_fd_close(&done_fd);
	test_leaks_assert_none(&before);
	return 0;
}

static void
start(const struct rp_vfu_client_config *way)
{
	struct rp_vfu_client_config config = *way;
	const struct rp_vfu_client_memory far = {
		.iova = FAR, .size_bytes = MEMORY_BYTES, .fd = -1, .hva = memory, .access_mask = BOTH};
	const struct rp_vfu_client_memory near = {
		.iova = NEAR, .size_bytes = MEMORY_BYTES, .fd = memory_fd, .access_mask = BOTH};

	config.socket_path = test_socket_path();
	config.timeout_ms = 30000;
	serving_start(&serving, device.server);
	assert_int_equal(rp_vfu_client_create(&config, NULL, NULL, &client, &why), 0);
	assert_int_equal(rp_vfu_client_dma_map_memory(client, &far, &why), 0);
	assert_int_equal(rp_vfu_client_dma_map_memory(client, &near, &why), 0);
}

static void
stop(void)
{
	client = rp_vfu_client_destroy(client);
	serving_stop(&serving);
	device_turn(&device);
}

static void
serve_until_done(void)
{
	struct pollfd fds[] = {
		{.fd = rp_vfu_client_fd(client), .events = POLLIN},
		{.fd = done_fd, .events = POLLIN},
	};
	eventfd_t count;

	do {
		assert_int_not_equal(poll(fds, 2, 30000), 0);
		assert_int_equal(rp_vfu_client_process(client), 0);
	} while (eventfd_read(done_fd, &count) != 0);
}

struct worker {
	pthread_t thread;
	unsigned int seed;
	uint8_t *known[2]; /* what the far and the near memory have */
	int error;
	unsigned int wrong;
	unsigned int short_maps;
	/* Of the tests in which it keeps what it has. */
	atomic_bool holds;
	atomic_bool let_go;
	atomic_bool was_let_go;
	int errors[2];
};

/* The same calls for either memory; only the addresses differ. */
static void
use_some(struct worker *worker, unsigned int where)
{
	struct rp_dma_space *space = rp_vfu_server_dma(device.server);
	uint64_t at = (uint64_t)rand_r(&worker->seed) % (MEMORY_BYTES - 1), size_bytes, used_bytes, i;
	uint64_t want_bytes = 1 + (uint64_t)rand_r(&worker->seed) % (MEMORY_BYTES / 4);
	uint32_t access_mask = 1 + (uint32_t)rand_r(&worker->seed) % 3;
	uint8_t *known = worker->known[where] + at;
	void *bytes;
	int rc;

	rc = rp_dma_map(space, (where == 0 ? FAR : NEAR) + at, want_bytes, access_mask, &bytes, &size_bytes);
	if (rc != 0) {
		worker->error = rc;
		return;
	}
	worker->short_maps += size_bytes < want_bytes;
	worker->wrong += (access_mask & RP_DMA_READ) != 0 && memcmp(bytes, known, size_bytes) != 0;
	used_bytes = (uint64_t)rand_r(&worker->seed) % (size_bytes + 1);
	for (i = 0; i < used_bytes && (access_mask & RP_DMA_WRITE) != 0; i++)
		known[i] = ((uint8_t *)bytes)[i] = (uint8_t)(worker->seed + i * 31);
	worker->error = rp_dma_unmap(space, bytes, size_bytes, access_mask, used_bytes);
}

static void *
use_both(void *arg)
{
	struct worker *worker = arg;
	unsigned int round;

	for (round = 0; round < ROUNDS && worker->error == 0; round++)
		use_some(worker, round % 2);
	(void)eventfd_write(done_fd, 1);
	return NULL;
}

static void
test_one_way_for_both_memories(void **state)
{
	uint8_t *known = calloc(2, MEMORY_BYTES), *found = malloc(MEMORY_BYTES);
	unsigned int way;

	(void)state;
	for (way = 0; way < WAYS_COUNT; way++) {
		struct worker worker = {.seed = 7 + way, .known = {known, known + MEMORY_BYTES}};

		start(&ways[way]);
		assert_int_equal(pthread_create(&worker.thread, NULL, use_both, &worker), 0);
		serve_until_done();
		assert_int_equal(pthread_join(worker.thread, NULL), 0);
		assert_int_equal(worker.error, 0);
		assert_int_equal(worker.wrong, 0);
		assert_memory_equal(memory, worker.known[0], MEMORY_BYTES);
		assert_int_equal(pread(memory_fd, found, MEMORY_BYTES, 0), MEMORY_BYTES);
		assert_memory_equal(found, worker.known[1], MEMORY_BYTES);
		assert_int_equal(rp_dma_bounce_used_bytes(rp_vfu_server_dma(device.server)), 0);
		stop();
	}
	free(known);
	free(found);
}

static bool
may_let_go(void *arg)
{
	return atomic_load(&((struct worker *)arg)->let_go);
}

static bool
holds(void *arg)
{
	return atomic_load(&((struct worker *)arg)->holds);
}

/* One of each, kept until it is told; written when the ranges have gone. */
static void *
keep_both(void *arg)
{
	struct rp_dma_space *space = rp_vfu_server_dma(device.server);
	struct worker *worker = arg;
	uint64_t size_bytes;
	void *far, *near;

	worker->error = rp_dma_map(space, FAR, 16, RP_DMA_WRITE, &far, &size_bytes);
	if (worker->error == 0)
		worker->error = rp_dma_map(space, NEAR, 16, RP_DMA_WRITE, &near, &size_bytes);
	atomic_store(&worker->holds, true);
	if (worker->error != 0)
		return NULL;
	if (!test_wait(may_let_go, worker, 30000))
		worker->error = -ETIMEDOUT;
	memset(far, 0xaa, 16);
	memset(near, 0xbb, 16);
	/* In the order that makes "after" true. */
	atomic_store(&worker->was_let_go, true);
	worker->errors[0] = rp_dma_unmap(space, far, 16, RP_DMA_WRITE, 16);
	worker->errors[1] = rp_dma_unmap(space, near, 16, RP_DMA_WRITE, 16);
	return NULL;
}

static void *
tell_later(void *arg)
{
	usleep(50000);
	atomic_store(&((struct worker *)arg)->let_go, true);
	return NULL;
}

/* The answer to an unmap says that nobody has the bytes: a direct pointer holds it, a buffer has ended. */
static void
test_unmap_is_answered_when_the_device_has_let_go(void **state)
{
	unsigned int way;
	uint8_t found[16];

	(void)state;
	for (way = 0; way < WAYS_COUNT; way++) {
		struct worker worker = {0};
		pthread_t teller;

		memset(memory, 0, 16);
		start(&ways[way]);
		assert_int_equal(pthread_create(&worker.thread, NULL, keep_both, &worker), 0);
		assert_true(test_wait(holds, &worker, 30000));
		assert_int_equal(rp_vfu_client_dma_unmap(client, FAR, MEMORY_BYTES, &why), 0);
		assert_false(atomic_load(&worker.was_let_go));
		assert_int_equal(pthread_create(&teller, NULL, tell_later, &worker), 0);
		assert_int_equal(rp_vfu_client_dma_unmap(client, NEAR, MEMORY_BYTES, &why), 0);
		assert_true(atomic_load(&worker.was_let_go));
		/* The last bytes that were written are there, and nothing comes after them. */
		assert_int_equal(pread(memory_fd, found, 16, 0), 16);
		assert_int_equal(found[0], 0xbb);
		assert_int_equal(found[15], 0xbb);
		assert_int_equal(pthread_join(teller, NULL), 0);
		assert_int_equal(pthread_join(worker.thread, NULL), 0);
		assert_int_equal(worker.error, 0);
		assert_int_equal(worker.errors[0], -ECANCELED);
		assert_int_equal(worker.errors[1], 0);
		assert_int_equal(memory[0], 0);
		stop();
	}
}

/* It leaves with both of them out, and the next one is served meanwhile. */
static void
test_client_leaves_with_maps_out(void **state)
{
	struct worker worker = {0};

	(void)state;
	memset(memory, 0, 16);
	start(&ways[0]);
	assert_int_equal(pthread_create(&worker.thread, NULL, keep_both, &worker), 0);
	assert_true(test_wait(holds, &worker, 30000));
	stop();
	start(&ways[0]);
	atomic_store(&worker.let_go, true);
	assert_int_equal(pthread_join(worker.thread, NULL), 0);
	assert_int_equal(worker.error, 0);
	assert_int_equal(worker.errors[0], -ECANCELED);
	assert_int_equal(worker.errors[1], 0);
	/* The next client has the same addresses, and none of those bytes. */
	assert_int_equal(memory[0], 0);
	assert_int_equal(rp_dma_map_count(rp_vfu_server_dma(device.server)), 0);
	stop();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_way_for_both_memories, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unmap_is_answered_when_the_device_has_let_go, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_leaves_with_maps_out, setup, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user, both ends: maps and buffers", tests, NULL, NULL);
}
