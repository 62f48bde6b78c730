/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "rp_wire_fd.h"
#include "virtio_fixture.h"

/* The ring state capability (rp_accel_vendor.h). */

#define fixture virtio_fixture

enum { ANY, EVENTFD, PAGE }; /* doorbell */
enum { STOPPED, RUNNING, BROKEN, STOPPING }; /* control, read */
#define STOP 1u
#define QUEUE_RESET_AT 58u

static void
test_the_header(void **state)
{
	uint8_t header[16];

	(void)state;
	assert_int_equal(function_read(&fixture.function, VIRTIO_REGISTERS, VIRTIO_STATE_AT, 16, header), 0);
	assert_memory_equal(header, "RPRS\1\0\x40\0\3\0\0\0\7\0\0\0", 16);
	virtio_put(VIRTIO_STATE_AT, 4, 0);
	assert_int_equal(virtio_get(VIRTIO_STATE_AT, 4), 0x53525052);
}

static void
test_a_device_without_counters(void **state)
{
	struct rp_vfu_virtio_config config = virtio_config;

	config.has_counters = false;
	virtio_start_as(&config);
	assert_int_equal(virtio_get(VIRTIO_STATE_AT + 12, 4), 3);
	virtio_teardown(state);
}

static void
test_counters(void **state)
{
	uint8_t entry[64], wanted[64] = {0};
	unsigned int i;

	(void)state;
	fixture.counters = (struct rp_vfu_virtio_counters){0x0102030405060708, 2, 3, 4, 5, 6};
	for (i = 0; i < 8; i++)
		wanted[8 + i] = (uint8_t)(8 - i);
	for (i = 2; i < 7; i++)
		wanted[8 * i] = (uint8_t)i;
	assert_int_equal(function_read(&fixture.function, VIRTIO_REGISTERS, VIRTIO_STATE_AT + 16 + 64, 64, entry), 0);
	assert_memory_equal(entry, wanted, 64);
	assert_int_equal(fixture.looks, 1);
	/* Half of one entry and half of the next. */
	assert_int_equal(function_read(&fixture.function, VIRTIO_REGISTERS, VIRTIO_STATE_AT + 16 + 32, 64, entry), 0);
	assert_memory_equal(entry, wanted + 32, 32);
	assert_memory_equal(entry + 32, wanted, 32);
	assert_int_equal(fixture.looks, 3);
}

static void
test_a_fresh_position(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < VIRTIO_QUEUES; i++) {
		virtio_set_state(i, VIRTIO_POSITION, 5);
		assert_int_equal(virtio_state(i, VIRTIO_POSITION), 5);
	}
	virtio_negotiate(VIRTIO_FEATURES);
	for (i = 0; i < VIRTIO_QUEUES; i++)
		assert_int_equal(virtio_state(i, VIRTIO_POSITION), 0x80008000);
	virtio_negotiate(VIRTIO_FEATURES & ~VIRTIO_PACKED_MASK);
	for (i = 0; i < VIRTIO_QUEUES; i++)
		assert_int_equal(virtio_state(i, VIRTIO_POSITION), 0);
}

static void
test_stop_and_go_on(void **state)
{
	(void)state;
	virtio_ready(VIRTIO_FEATURES);
	/* Stopping what is stopped changes nothing. */
	virtio_set_state(1, VIRTIO_CONTROL, STOP);
	assert_int_equal(fixture.stops, 0);
	virtio_set_state(1, VIRTIO_POSITION, 0x80118011);
	virtio_enable(1);
	assert_int_equal(virtio_state(1, VIRTIO_CONTROL), RUNNING);
	assert_int_equal(virtio_state(1, VIRTIO_POSITION), 0x80118011);
	fixture.stop_position = 0x80228022;
	virtio_set_state(1, VIRTIO_CONTROL, 2);
	assert_int_equal(fixture.stops, 0);
	virtio_set_state(1, VIRTIO_CONTROL, STOP);
	assert_int_equal(fixture.stops, 1);
	assert_int_equal(fixture.last_stop, RP_VFU_VIRTIO_STOP);
	assert_int_equal(virtio_state(1, VIRTIO_CONTROL), STOPPED);
	assert_int_equal(virtio_state(1, VIRTIO_POSITION), 0x80228022);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	virtio_enable(1);
	assert_int_equal(virtio_state(1, VIRTIO_CONTROL), RUNNING);
	assert_int_equal(fixture.enables, 2);
}

static void
test_a_stop_that_takes_its_time(void **state)
{
	(void)state;
	virtio_ready(VIRTIO_FEATURES);
	virtio_enable(0);
	fixture.stop_result = -EINPROGRESS;
	virtio_set_state(0, VIRTIO_CONTROL, STOP);
	assert_int_equal(virtio_state(0, VIRTIO_CONTROL), STOPPING);
	/* Once more, a position and a new beginning: all too early. */
	virtio_set_state(0, VIRTIO_CONTROL, STOP);
	virtio_set_state(0, VIRTIO_POSITION, 99);
	virtio_enable(0);
	assert_int_equal(fixture.stops, 1);
	assert_int_equal(fixture.enables, 1);
	assert_int_equal(virtio_state(0, VIRTIO_POSITION), 0);
	rp_vfu_virtio_queue(fixture.virtio, 0)->position = 7;
	rp_vfu_virtio_queue_stopped(fixture.virtio, 0);
	assert_int_equal(virtio_state(0, VIRTIO_CONTROL), STOPPED);
	assert_int_equal(virtio_state(0, VIRTIO_POSITION), 7);
	/* A reset does not wait for it. */
	virtio_enable(0);
	virtio_set_state(0, VIRTIO_CONTROL, STOP);
	assert_int_equal(virtio_state(0, VIRTIO_CONTROL), STOPPING);
	virtio_put(VIRTIO_PCI_COMMON_STATUS, 1, 0);
	assert_int_equal(virtio_state(0, VIRTIO_CONTROL), STOPPED);
	assert_int_equal(virtio_state(0, VIRTIO_POSITION), 0);
}

static void
test_a_ring_that_is_broken(void **state)
{
	(void)state;
	virtio_ready(VIRTIO_FEATURES);
	virtio_enable(0);
	fixture.look_broken = true;
	assert_int_equal(virtio_state(0, VIRTIO_CONTROL), BROKEN);
	fixture.look_broken = false;
	rp_vfu_virtio_queue(fixture.virtio, 0)->broken = true;
	virtio_set_state(0, VIRTIO_CONTROL, STOP);
	assert_false(rp_vfu_virtio_queue(fixture.virtio, 0)->broken);
	assert_int_equal(virtio_state(0, VIRTIO_CONTROL), STOPPED);
}

/* A register that is covered in part stays; those that a large write covers are all written. */
static void
test_registers_have_their_own_width(void **state)
{
	uint8_t bytes[16 + 64 * VIRTIO_QUEUES];
	unsigned int i;

	(void)state;
	virtio_ready(VIRTIO_FEATURES);
	virtio_put(VIRTIO_STATE_AT + 16, 2, 0x1234);
	virtio_put(VIRTIO_STATE_AT + 17, 4, 0x12345678);
	assert_int_equal(virtio_state(0, VIRTIO_POSITION), 0x80008000);
	virtio_enable(0);
	virtio_put(VIRTIO_STATE_AT + 20, 1, STOP);
	assert_int_equal(fixture.stops, 0);
	virtio_enable(2);
	memset(bytes, 0, sizeof(bytes));
	for (i = 0; i < VIRTIO_QUEUES; i++) {
		bytes[16 + 64 * i] = 9;
		bytes[16 + 64 * i + 4] = STOP;
	}
	fixture.stop_position = 8;
	assert_int_equal(function_write(&fixture.function, VIRTIO_REGISTERS, VIRTIO_STATE_AT, sizeof(bytes), bytes), 0);
	assert_int_equal(fixture.stops, 2);
	assert_int_equal(virtio_state(0, VIRTIO_POSITION), 8);
	assert_int_equal(virtio_state(1, VIRTIO_POSITION), 9);
	assert_int_equal(virtio_state(2, VIRTIO_POSITION), 8);
}

/* With wishes: @return the eventfd of its configuration vector. */
static int
start_with_wishes(unsigned int queues_count)
{
	struct rp_vfu_virtio_config config = virtio_config;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	config.has_doorbell_wishes = true;
	config.queues_count = (uint16_t)queues_count;
	virtio_start_as(&config);
	virtio_fixture.before.fds_count--; /* it is closed by the test */
	function_attach(&fixture.function, RP_VFU_PCI_MSIX_IRQ, VIRTIO_QUEUES, fd);
	virtio_ready(VIRTIO_FEATURES);
	virtio_put(VIRTIO_PCI_COMMON_MSIX, 2, VIRTIO_QUEUES);
	return fd;
}

static bool
was_told(int fd)
{
	return function_signals(fd) > 0;
}

static uint32_t
wishes(unsigned int queues_count, unsigned int word)
{
	return virtio_get(VIRTIO_STATE_AT + 16 + 64 * queues_count + 4 * word, 4);
}

/* Who never said how he kicks is asked for nothing. */
static void
test_wishes(void **state)
{
	uint32_t generation;
	int fd = start_with_wishes(VIRTIO_QUEUES);

	generation = virtio_get(VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	assert_int_equal(virtio_get(VIRTIO_STATE_AT + 12, 4), 15);
	assert_int_equal(virtio_state(1, VIRTIO_DOORBELL), ANY);
	assert_int_equal(wishes(VIRTIO_QUEUES, 0), 7);
	rp_vfu_virtio_want_page(fixture.virtio, 1, false);
	assert_int_equal(wishes(VIRTIO_QUEUES, 0), 5);
	assert_false(was_told(fd));
	/* He does the opposite, then what is wished. */
	virtio_set_state(1, VIRTIO_DOORBELL, PAGE);
	assert_true(was_told(fd));
	assert_int_equal(fixture.doorbells, 1);
	assert_int_equal(fixture.last_queue, 1);
	virtio_set_state(1, VIRTIO_DOORBELL, EVENTFD);
	assert_false(was_told(fd));
	rp_vfu_virtio_want_page(fixture.virtio, 1, false);
	assert_false(was_told(fd));
	rp_vfu_virtio_want_page(fixture.virtio, 1, true);
	assert_true(was_told(fd));
	/* Told twice, the device is told twice, and asks once more. */
	virtio_set_state(1, VIRTIO_DOORBELL, EVENTFD);
	assert_true(was_told(fd));
	assert_int_equal(fixture.doorbells, 3);
	assert_int_equal(virtio_state(1, VIRTIO_DOORBELL), EVENTFD);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_CFGGENERATION, 1), generation);
	/* A number that means nothing. */
	virtio_set_state(1, VIRTIO_DOORBELL, 3);
	assert_int_equal(virtio_state(1, VIRTIO_DOORBELL), EVENTFD);
	assert_int_equal(fixture.doorbells, 3);
	rp_wire_fd_close(&fd);
	virtio_teardown(state);
}

static void
test_a_reset_forgets_wishes(void **state)
{
	int fd = start_with_wishes(VIRTIO_QUEUES);

	virtio_set_state(0, VIRTIO_DOORBELL, EVENTFD);
	virtio_set_state(2, VIRTIO_DOORBELL, EVENTFD);
	rp_vfu_virtio_want_page(fixture.virtio, 2, false);
	assert_int_equal(wishes(VIRTIO_QUEUES, 0), 3);
	/* A stop does not. */
	virtio_enable(2);
	virtio_set_state(2, VIRTIO_CONTROL, STOP);
	assert_int_equal(virtio_state(2, VIRTIO_DOORBELL), EVENTFD);
	assert_int_equal(wishes(VIRTIO_QUEUES, 0), 3);
	virtio_put(VIRTIO_PCI_COMMON_Q_SELECT, 2, 2);
	virtio_put(QUEUE_RESET_AT, 2, 1);
	assert_int_equal(virtio_state(2, VIRTIO_DOORBELL), ANY);
	assert_int_equal(wishes(VIRTIO_QUEUES, 0), 7);
	assert_int_equal(virtio_state(0, VIRTIO_DOORBELL), EVENTFD);
	virtio_put(VIRTIO_PCI_COMMON_STATUS, 1, 0);
	assert_int_equal(virtio_state(0, VIRTIO_DOORBELL), ANY);
	rp_wire_fd_close(&fd);
	virtio_teardown(state);
}

static void
test_words_of_many_queues(void **state)
{
	struct rp_vfu_virtio_config config = virtio_config;
	uint8_t bytes[12];

	config.has_doorbell_wishes = true;
	config.queues_count = 67;
	virtio_start_as(&config);
	assert_int_equal(wishes(67, 2), 7);
	rp_vfu_virtio_want_page(fixture.virtio, 65, false);
	rp_vfu_virtio_want_page(fixture.virtio, 32, false);
	/* The end of the last entry, and words in part. */
	assert_int_equal(
		function_read(&fixture.function, VIRTIO_REGISTERS, VIRTIO_STATE_AT + 16 + 64 * 67 - 2, 12, bytes), 0);
	assert_memory_equal(bytes, "\0\0\377\377\377\377\376\377\377\377\5\0", 12);
	/* They are the device's. */
	virtio_put(VIRTIO_STATE_AT + 16 + 64 * 67, 4, 0);
	assert_int_equal(wishes(67, 0), 0xffffffff);
	virtio_teardown(state);
}

/* A device that has no wishes has no such register either. */
static void
test_no_wishes(void **state)
{
	(void)state;
	virtio_set_state(0, VIRTIO_DOORBELL, EVENTFD);
	assert_int_equal(virtio_state(0, VIRTIO_DOORBELL), 0);
	assert_int_equal(wishes(VIRTIO_QUEUES, 0), 0);
	assert_int_equal(fixture.doorbells, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, virtio_setup, virtio_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_the_header),
		cmocka_unit_test(test_a_device_without_counters),
		CASE(test_counters),
		CASE(test_a_fresh_position),
		CASE(test_stop_and_go_on),
		CASE(test_a_stop_that_takes_its_time),
		CASE(test_a_ring_that_is_broken),
		CASE(test_registers_have_their_own_width),
		cmocka_unit_test(test_wishes),
		cmocka_unit_test(test_a_reset_forgets_wishes),
		cmocka_unit_test(test_words_of_many_queues),
		CASE(test_no_wishes),
	};

	return cmocka_run_group_tests_name("virtio ring state", tests, NULL, NULL);
}
