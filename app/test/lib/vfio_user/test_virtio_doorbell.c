/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device.h"
#include "rp_wire_fd.h"
#include "virtio_fixture.h"

#define fixture virtio_fixture

/* The file behind the BAR, as GET_REGION_INFO hands it out. */
static int
doorbells_fd(uint64_t *ret_bytes)
{
	const uint32_t ask[8] = {32, 0, VIRTIO_NOTIFY};
	static struct peer_msg reply;
	int fd;

	assert_int_equal(device_ask(&fixture.function.peer, 5, ask, sizeof(ask), NULL, 0, &reply), 0);
	assert_int_equal(reply.fds_count, 1);
	memcpy(ret_bytes, reply.payload + 16, sizeof(*ret_bytes));
	fd = reply.fds[0];
	reply.fds[0] = -1;
	return fd;
}

static void
test_a_page_for_each_queue(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint64_t bytes;
	uint8_t *memory;
	int fd = doorbells_fd(&bytes);
	unsigned int i;

	(void)state;
	assert_int_equal(bytes, 4 * page);
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	for (i = 0; i < VIRTIO_QUEUES; i++)
		assert_false(rp_vfu_virtio_rung(fixture.virtio, i));
	/* What is stored does not matter, nor how often. */
	*(volatile uint16_t *)(void *)(memory + page) = 0;
	*(volatile uint16_t *)(void *)(memory + page) = 17;
	*(volatile uint32_t *)(void *)(memory + 2 * page) = 0x10001;
	assert_false(rp_vfu_virtio_rung(fixture.virtio, 0));
	assert_true(rp_vfu_virtio_rung(fixture.virtio, 1));
	assert_false(rp_vfu_virtio_rung(fixture.virtio, 1));
	assert_true(rp_vfu_virtio_rung(fixture.virtio, 2));
	munmap(memory, bytes);
	rp_wire_fd_close(&fd);
}

/* Nobody makes it shorter under us: a store beyond its end would kill us. */
static void
test_its_file_is_sealed(void **state)
{
	uint64_t bytes;
	int fd = doorbells_fd(&bytes);

	(void)state;
	assert_int_equal(fcntl(fd, F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
			 F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	assert_int_not_equal(ftruncate(fd, 0), 0);
	rp_wire_fd_close(&fd);
}

static void
test_a_kick_by_message(void **state)
{
	uint32_t page = (uint32_t)sysconf(_SC_PAGESIZE);

	(void)state;
	function_put(&fixture.function, VIRTIO_NOTIFY, 2 * page, 2, 2);
	assert_true(rp_vfu_virtio_rung(fixture.virtio, 2));
	/* Beside the word, and behind the queues, nobody looks. */
	function_put(&fixture.function, VIRTIO_NOTIFY, page + 8, 4, 1);
	function_put(&fixture.function, VIRTIO_NOTIFY, 3 * page, 2, 1);
	assert_false(rp_vfu_virtio_rung(fixture.virtio, 0) | rp_vfu_virtio_rung(fixture.virtio, 1) |
		     rp_vfu_virtio_rung(fixture.virtio, 2));
}

#define GROUP 2

static int
group_setup(void **state)
{
	struct rp_vfu_virtio_config config = virtio_config;

	(void)state;
	config.notify_group_queues = GROUP;
	virtio_start_as(&config);
	return 0;
}

static unsigned int
rung_mask(void)
{
	unsigned int queue, mask = 0;

	for (queue = 0; queue < VIRTIO_QUEUES; queue++)
		mask |= (unsigned int)rp_vfu_virtio_rung(fixture.virtio, queue) << queue;
	return mask;
}

/* Three queues, of which the last is alone. */
static void
test_queues_share_a_doorbell(void **state)
{
	uint32_t page = (uint32_t)sysconf(_SC_PAGESIZE), queue;
	uint64_t bytes;
	int fd = doorbells_fd(&bytes);

	(void)state;
	rp_wire_fd_close(&fd);
	assert_int_equal(bytes, 2 * page);
	for (queue = 0; queue < VIRTIO_QUEUES; queue++) {
		virtio_put(VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
		assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_Q_NOFF, 2), queue / GROUP);
	}
	assert_int_equal(rung_mask(), 0);
	/* Whatever is stored: the other's number, one that is none of them, or its own. */
	function_put(&fixture.function, VIRTIO_NOTIFY, 0, 2, 0);
	assert_int_equal(rung_mask(), 3);
	function_put(&fixture.function, VIRTIO_NOTIFY, 0, 2, 0xfffe);
	assert_int_equal(rung_mask(), 3);
	function_put(&fixture.function, VIRTIO_NOTIFY, page, 2, 2);
	assert_int_equal(rung_mask(), 4);
	assert_int_equal(rung_mask(), 0);
}

/* One was asked about when the store came; the other is still told of it, and of all together once. */
static void
test_a_kick_is_of_each_that_shares(void **state)
{
	(void)state;
	assert_false(rp_vfu_virtio_rung(fixture.virtio, 0));
	function_put(&fixture.function, VIRTIO_NOTIFY, 0, 2, 0);
	assert_true(rp_vfu_virtio_rung(fixture.virtio, 1));
	function_put(&fixture.function, VIRTIO_NOTIFY, 0, 2, 0);
	assert_true(rp_vfu_virtio_rung(fixture.virtio, 1));
	assert_true(rp_vfu_virtio_rung(fixture.virtio, 0));
	assert_int_equal(rung_mask(), 0);
	/* Nor does a reset leave what was remembered. */
	function_put(&fixture.function, VIRTIO_NOTIFY, 0, 2, 1);
	assert_true(rp_vfu_virtio_rung(fixture.virtio, 0));
	rp_vfu_virtio_reset(fixture.virtio);
	assert_int_equal(rung_mask(), 0);
}

static void
test_a_reset_forgets_kicks(void **state)
{
	(void)state;
	function_put(&fixture.function, VIRTIO_NOTIFY, 0, 2, 0);
	rp_vfu_virtio_reset(fixture.virtio);
	assert_false(rp_vfu_virtio_rung(fixture.virtio, 0));
}

/* A device with doorbells of its own is asked itself. */
static void
test_doorbells_of_the_device(void **state)
{
	struct rp_vfu_virtio_config config = virtio_config;
	struct rp_vfu_virtio *virtio = NULL;
	struct test_leaks before;

	(void)state;
	test_leaks_read(&before);
	config.notify_stride_bytes = 4;
	config.notify = (struct rp_vfu_region){64, true, true, .fd = -1};
	assert_int_equal(rp_vfu_virtio_create(&config, NULL, NULL, &virtio, NULL), 0);
	assert_false(rp_vfu_virtio_rung(virtio, 1));
	test_leaks_assert_none(&before);
	rp_vfu_virtio_destroy(virtio);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, virtio_setup, virtio_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_a_page_for_each_queue),
		CASE(test_its_file_is_sealed),
		CASE(test_a_kick_by_message),
		CASE(test_a_reset_forgets_kicks),
		cmocka_unit_test_setup_teardown(test_queues_share_a_doorbell, group_setup, virtio_teardown),
		cmocka_unit_test_setup_teardown(test_a_kick_is_of_each_that_shares, group_setup, virtio_teardown),
		cmocka_unit_test(test_doorbells_of_the_device),
	};

	return cmocka_run_group_tests_name("virtio doorbells", tests, NULL, NULL);
}
