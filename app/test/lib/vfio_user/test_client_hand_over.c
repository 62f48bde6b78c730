/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device.h"
#include "rp_dma_io.h"
#include "rp_vfu_client_hand_over.h"
#include "rp_vfu_msg.h"
#include "rp_wire_fd.h"
#include "serving.h"
#include "test_parcel.h"

/*
 * A client goes and another one comes, on the same connection, while the device reads and
 * writes memory by messages and interrupts. Memory is at another place in each life.
 */

#define IOVA 0x80000000ull
#define FILE_IOVA 0x100000000ull
#define MEMORY_BYTES (1u << 20)
#define MEMORIES 2u
#define LIVES 12u
#define ROUNDS 400u

static struct device device;
static struct rp_vfu_client *client;
static struct rp_wire_why why;
static struct test_leaks before;
static struct serving serving;
static int memory_fd, call_fd, done_fd;
static uint8_t *memory;
static struct rp_vfu_client_memory memories[MEMORIES];

static const struct rp_vfu_client_config ways[] = {
	{.specification_only = true},
	{.specification_only = true, .max_data_xfer_bytes = 4096, .max_msg_fds = 1},
	{.specification_only = true, .twin_socket = true},
	{.window_bytes = 65536},
	{.window_bytes = 0, .twin_socket = true},
};
#define WAYS_COUNT (sizeof(ways) / sizeof(ways[0]))
#define MANY_SIDED (WAYS_COUNT - 1)

static void
map_memory(void)
{
	memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	/* By messages, and by the file. */
	memories[0] = (struct rp_vfu_client_memory){
		.iova = IOVA, .size_bytes = MEMORY_BYTES, .fd = -1, .hva = memory, .access_mask = 3};
	memories[1] = (struct rp_vfu_client_memory){
		.iova = FILE_IOVA, .size_bytes = MEMORY_BYTES, .fd = memory_fd, .access_mask = 3};
}

static void
unmap_memory(void)
{
	if (memory != NULL)
		munmap(memory, MEMORY_BYTES);
	memory = NULL;
}

static int
setup(void **state)
{
	struct device_description description;

	(void)state;
	test_leaks_read(&before);
	memory_fd = test_memfd(MEMORY_BYTES, true);
	call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	map_memory();
	device_start(&device);
	device_describe(&device, &description);
	description.config.prompt_reads = true;
	device_restart(&device, &description);
	device.trigger_vector = 3;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	client = rp_vfu_client_destroy(client);
	serving_stop(&serving);
	device_close(&device);
	unmap_memory();
	rp_wire_fd_close(&memory_fd);
	rp_wire_fd_close(&call_fd);
	rp_wire_fd_close(&done_fd);
	test_leaks_assert_none(&before);
	return 0;
}

static void
start(const struct rp_vfu_client_config *way)
{
	struct rp_vfu_client_config config = *way;

	config.socket_path = test_socket_path();
	config.timeout_ms = 30000;
	serving_start(&serving, device.server);
	assert_int_equal(rp_vfu_client_create(&config, NULL, NULL, &client, &why), 0);
	assert_int_equal(rp_vfu_client_dma_map_many(client, memories, MEMORIES, &why), 0);
	assert_int_equal(rp_vfu_client_irq_set(client, 2, 3, call_fd, &why), 0);
}

static struct rp_wire_parcel *
give(void)
{
	struct rp_wire_parcel *parcel;
	int rc;

	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	while ((rc = rp_vfu_client_give(client, parcel, &why)) == -EAGAIN) {
		assert_int_equal(rp_vfu_client_process(client), 0);
		memset(&why, 0, sizeof(why));
	}
	if (rc < 0)
		print_error("%s\n", why.text);
	assert_int_equal(rc, 0);
	return parcel;
}

static int
adopt(struct rp_wire_parcel *parcel)
{
	const struct rp_vfu_client_config config = {.socket_path = test_socket_path(), .timeout_ms = 30000};

	memset(&why, 0, sizeof(why));
	return rp_vfu_client_adopt(&config, NULL, NULL, parcel, memories, MEMORIES, &client, &why);
}

/* As in another process: another place for memory, numbers of descriptors that come from the parcel. */
static void
next_life(void)
{
	struct rp_wire_parcel *parcel = give();
	int rc;

	client = rp_vfu_client_destroy(client);
	unmap_memory();
	map_memory();
	rc = adopt(parcel);
	if (rc < 0)
		print_error("%s\n", why.text);
	assert_int_equal(rc, 0);
	rp_wire_parcel_destroy(parcel);
}

/* The device's: what it writes it reads again. */
struct worker {
	pthread_t thread;
	int error;
	unsigned int wrong;
};

static void *
work(void *arg)
{
	struct rp_dma_space *space = rp_vfu_server_dma(device.server);
	struct worker *worker = arg;
	uint8_t out[3000], in[3000];
	unsigned int round;

	for (round = 0; round < ROUNDS && worker->error == 0; round++) {
		uint64_t at = round * 97u % (MEMORY_BYTES - sizeof(out));
		const struct rp_dma_segment write = {IOVA + at, sizeof(out), out};
		const struct rp_dma_segment read = {IOVA + at, sizeof(in), in};

		memset(out, (int)(round & 0xff), sizeof(out));
		worker->error = rp_dma_io_write(space, &write, 1);
		if (worker->error == 0)
			worker->error = rp_dma_io_read(space, &read, 1);
		worker->wrong += memcmp(in, out, sizeof(in)) != 0;
	}
	(void)eventfd_write(done_fd, 1);
	return NULL;
}

/* Serve the device's commands for a while. @return whether it is done. */
static bool
serve(int limit_ms)
{
	struct pollfd fds[] = {
		{.fd = rp_vfu_client_fd(client), .events = POLLIN},
		{.fd = done_fd, .events = POLLIN},
	};
	unsigned int turns;
	eventfd_t count;

	for (turns = 0; turns < 20 && poll(fds, 2, limit_ms) > 0; turns++) {
		assert_int_equal(rp_vfu_client_process(client), 0);
		if (eventfd_read(done_fd, &count) == 0)
			return true;
	}
	return false;
}

static void
the_device_notices_nothing(void **state)
{
	struct worker worker;
	unsigned int way, lives;
	eventfd_t count;
	uint32_t word;

	(void)state;
	for (way = 0; way < WAYS_COUNT; way++) {
		struct device then;
		bool done = false;

		start(&ways[way]);
		serving_stop(&serving);
		then = device;
		serving_start(&serving, device.server);
		worker = (struct worker){.error = 0};
		assert_int_equal(pthread_create(&worker.thread, NULL, work, &worker), 0);
		for (lives = 0; lives < LIVES || !done; lives++) {
			done = done || serve(done ? 0 : 30000);
			next_life();
			/* A write that interrupts, by the eventfd of the first life. */
			assert_int_equal(rp_vfu_client_region_write(client, 0, 0x80, 4, &lives, &why), 0);
			assert_int_equal(rp_vfu_client_region_read(client, 0, 0x80, 4, &word, &why), 0);
			assert_int_equal(word, lives);
			assert_int_equal(eventfd_read(call_fd, &count), 0);
		}
		pthread_join(worker.thread, NULL);
		assert_int_equal(worker.error, 0);
		assert_int_equal(worker.wrong, 0);
		assert_int_equal(memory[(ROUNDS - 1) * 97u + 2999], (ROUNDS - 1) & 0xff);
		serving_stop(&serving);
		assert_int_equal(device.connects, then.connects);
		assert_int_equal(device.disconnects, then.disconnects);
		assert_int_equal(device.irq_changes, then.irq_changes);
		assert_int_equal(device.dma_changes, then.dma_changes);
		assert_int_equal(device.resets, then.resets);
		client = rp_vfu_client_destroy(client);
		device_turn(&device);
		assert_int_equal(device.disconnects, then.disconnects + 1);
	}
	assert_int_equal(device.refusals, 0);
}

/* What the second can do: all of it. */
static void
the_successor_can_do_everything(void **state)
{
	struct rp_vfu_client_access registers[] = {
		{.region = 0, .count_bytes = 4, .offset_bytes = 0x80, .write = true, .bytes = {1, 2, 3, 4}},
		{.region = 0, .count_bytes = 4, .offset_bytes = 0x80},
	};
	struct rp_vfu_client_region region;
	struct rp_vfu_client_device info;
	eventfd_t count;
	uint32_t word = 0, vectors, flags;

	(void)state;
	start(&ways[MANY_SIDED]);
	next_life();
	assert_true(rp_vfu_client_connected(client));
	assert_int_equal(rp_vfu_client_peer(client), getpid());
	assert_int_equal(rp_vfu_client_device_info(client, &info, &why), 0);
	assert_true(info.pci);
	assert_int_equal(rp_vfu_client_region_info(client, 2, &region, &why), 0);
	assert_int_equal(region.areas_count, 2);
	assert_int_equal(rp_vfu_client_irq_info(client, 2, &vectors, &flags, &why), 0);
	assert_int_equal(vectors, DEVICE_MSIX_COUNT);
	assert_int_equal(rp_vfu_client_irq_set(client, 2, 3, -1, &why), 0);
	assert_int_equal(rp_vfu_client_region_write(client, 0, 0x80, 4, &word, &why), 0);
	assert_int_equal(eventfd_read(call_fd, &count), -1);
	assert_int_equal(rp_vfu_client_region_access_many(client, registers, 2, &why), 0);
	assert_memory_equal(registers[1].bytes, registers[0].bytes, 4);
	/* Its books of memory are those of the first. */
	assert_int_equal(rp_vfu_client_dma_map_memory(client, &memories[1], &why), -EEXIST);
	assert_int_equal(rp_vfu_client_dma_unmap(client, FILE_IOVA, MEMORY_BYTES, &why), 0);
	assert_int_equal(rp_vfu_client_dma_map_memory(client, &memories[1], &why), 0);
	assert_int_equal(rp_vfu_client_dma_remap(client, &memories[1], &why), 0);
	assert_int_equal(rp_vfu_client_dma_unmap_many(client, memories, MEMORIES, &why), 0);
	assert_int_equal(rp_vfu_client_reset(client, &why), 0);
	serving_stop(&serving);
	assert_int_equal(device.resets, 1);
}

/* A hand-over that is called off. */
static void
who_gave_may_go_on(void **state)
{
	uint32_t word = 7, back = 0;

	(void)state;
	start(&ways[MANY_SIDED]);
	rp_wire_parcel_destroy(give());
	assert_int_equal(rp_vfu_client_region_write(client, 0, 0x80, 4, &word, &why), 0);
	assert_int_equal(rp_vfu_client_region_read(client, 0, 0x80, 4, &back, &why), 0);
	assert_int_equal(back, word);
}

static void
note_done(void *ctx, int error, const struct rp_wire_why *reason)
{
	(void)reason;
	*(int *)ctx = error;
}

static void
not_within_a_command(void **state)
{
	struct rp_wire_parcel *parcel;
	int error = 1;
	const struct rp_vfu_client_done done = {note_done, &error};
	uint32_t word;

	(void)state;
	start(&ways[0]);
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	assert_int_equal(rp_vfu_client_region_read_start(client, 0, 0x80, 4, &word, &done, &why), 0);
	assert_int_equal(rp_vfu_client_give(client, parcel, &why), -EAGAIN);
	assert_string_equal(why.text, "the connection: 1 commands are under way");
	assert_int_equal(rp_vfu_client_wait(client, &why), 0);
	assert_int_equal(error, 0);
	assert_int_equal(rp_vfu_client_give(client, parcel, &why), 0);
	rp_wire_parcel_destroy(parcel);
}

static void
not_without_a_server(void **state)
{
	struct rp_wire_parcel *parcel;

	(void)state;
	start(&ways[0]);
	serving_stop(&serving);
	device_close(&device);
	assert_int_equal(rp_vfu_client_process(client), -ENOTCONN);
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	assert_int_equal(rp_vfu_client_give(client, parcel, &why), -ENOTCONN);
	assert_string_equal(why.text, "the server is gone");
	rp_wire_parcel_destroy(parcel);
	device_start(&device);
}

/* Whoever changed it: refused by name, nothing kept, nothing said to the server. */
static void
a_parcel_that_was_changed(void **state)
{
	static const struct {
		enum test_parcel_change change;
		const char *path;
		uint64_t number;
		int error;
		const char *words;
	} rows[] = {
		{TEST_PARCEL_DROP, "client[0].version", 0, -EBADMSG, "client[0].version: expected a number"},
		{TEST_PARCEL_NUMBER, "client[0].version", 2, -ENOTSUP, "version: 2, expected 1"},
		{TEST_PARCEL_NUMBER, "client[0].next_id", 65536, -EBADMSG, "next_id: 65536, expected at most 65535"},
		{TEST_PARCEL_DROP, "client[0].socket", 0, -EBADMSG, "client[0].socket: expected a descriptor"},
		{TEST_PARCEL_NUMBER, "client[0].socket", 3, -EBADMSG, "client[0].socket: expected a descriptor"},
		{TEST_PARCEL_FILE, "client[0].socket", 0, -EBADMSG, "socket: not a connected Unix stream socket"},
		{TEST_PARCEL_FILE, "client[0].twin", 0, -EBADMSG, "twin_socket: not a connected Unix stream socket"},
		{TEST_PARCEL_DROP, "client[0].twin", 0, -EBADMSG, "client[0].twin: expected a descriptor"},
		{TEST_PARCEL_FILE, "client[0].window", 0, -EBADMSG, "ringpass.window: not sealed against shrinking"},
		{TEST_PARCEL_NUMBER, "client[0].terms", 0x80000000, -EBADMSG, "terms: 2147483648, expected at most"},
		{TEST_PARCEL_NUMBER, "client[0].term[1].value", 16, -EBADMSG, "max_data_xfer_size: 16 leaves 16"},
		{TEST_PARCEL_NUMBER, "client[0].term[1].value", 1u << 30, -EBADMSG, "term 1: 1073741824, expected"},
		{TEST_PARCEL_NUMBER, "client[0].term[11].value", 5, -EBADMSG, "term 11: 5, expected"},
		{TEST_PARCEL_DROP, "client[0].term[0].value", 0, -EBADMSG, "term[0].value: expected a number"},
		{TEST_PARCEL_NUMBER, "client[0].memories", 1, -EBADMSG, "the server has 1 ranges, expected 2"},
		{TEST_PARCEL_NUMBER, "client[0].memories", UINT64_MAX, -EBADMSG, "ranges, expected 2"},
		{TEST_PARCEL_NUMBER, "client[0].memory[1].iova", IOVA, -EBADMSG,
		 "the server has 0x80000000 to 0x1000fffff"},
		{TEST_PARCEL_NUMBER, "client[0].memory[1].access", 1, -EBADMSG, "(access 0x1), expected a range"},
		{TEST_PARCEL_DROP, "client[0].memory[0].last", 0, -EBADMSG, "memory[0].last: expected a number"},
	};
	struct rp_wire_parcel *parcel, *changed, *twice;
	struct test_leaks then;
	size_t i;

	(void)state;
	start(&ways[MANY_SIDED]);
	parcel = give();
	client = rp_vfu_client_destroy(client);
	test_leaks_read(&then);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int rc;

		changed = test_parcel_changed(parcel, rows[i].change, rows[i].path, rows[i].number);
		rc = adopt(changed);
		if (rc != rows[i].error || strstr(why.text, rows[i].words) == NULL)
			print_error("%zu: %d %s\n", i, rc, why.text);
		assert_int_equal(rc, rows[i].error);
		assert_non_null(strstr(why.text, rows[i].words));
		assert_null(client);
		rp_wire_parcel_destroy(changed);
		test_leaks_assert_none(&then);
	}
	/* The same range twice. */
	twice = test_parcel_changed(parcel, TEST_PARCEL_NUMBER, "client[0].memory[1].iova", IOVA);
	changed = test_parcel_changed(twice, TEST_PARCEL_NUMBER, "client[0].memory[1].last", IOVA + MEMORY_BYTES - 1);
	assert_int_equal(adopt(changed), -EBADMSG);
	assert_non_null(strstr(why.text, "overlap a mapping"));
	rp_wire_parcel_destroy(changed);
	rp_wire_parcel_destroy(twice);
	test_leaks_assert_none(&then);
	/* None of it was heard: the connection is as it was. */
	assert_int_equal(adopt(parcel), 0);
	rp_wire_parcel_destroy(parcel);
	assert_int_equal(rp_vfu_client_reset(client, &why), 0);
	serving_stop(&serving);
	assert_int_equal(device.refusals, 0);
	assert_int_equal(device.disconnects, 0);
}

/* The caller's memory is not what the server has. */
static void
memory_that_differs(void **state)
{
	struct rp_wire_parcel *parcel;

	(void)state;
	start(&ways[0]);
	parcel = give();
	client = rp_vfu_client_destroy(client);
	memories[1].size_bytes /= 2;
	assert_int_equal(adopt(parcel), -EBADMSG);
	assert_non_null(strstr(why.text, "the server has 0x100000000 to 0x1000fffff (access 0x3)"));
	memories[1] = memories[0];
	assert_int_equal(adopt(parcel), -EBADMSG);
	assert_null(client);
	rp_wire_parcel_destroy(parcel);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_device_notices_nothing), TEST(the_successor_can_do_everything),
		TEST(who_gave_may_go_on),	  TEST(not_within_a_command),
		TEST(not_without_a_server),	  TEST(a_parcel_that_was_changed),
		TEST(memory_that_differs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
