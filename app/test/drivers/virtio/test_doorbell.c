/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fixture.h"
#include "rp_wire_fd.h"

/* Who waits is ended. */
#define PATIENCE_S 10u

static int
kick(struct fixture *fixture, unsigned int queue)
{
	return fixture->accel.ops->queue_kick(fixture->accel.priv, queue);
}

static void
start(struct fixture *fixture, unsigned int queue)
{
	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, queue, 0, -1), 0);
}

static uint64_t
drain(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

/* The word at a doorbell's place in the file. */
static uint16_t
word_at(struct fixture *fixture, off_t at)
{
	uint16_t word = 0;

	assert_int_equal(pread(fixture->fake.notify_fd, &word, sizeof(word), at), sizeof(word));
	return le16toh(word);
}

static void
an_eventfd_is_preferred(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.has_io_fds = true;
	start(fixture, 3);
	assert_int_equal(kick(fixture, 3), 0);
	assert_int_equal(kick(fixture, 3), 0);
	assert_int_equal(drain(fixture->fake.io_fd), 2);
	assert_int_equal(word_at(fixture, 3 * FAKE_PAGE), 0);
	assert_int_equal(fixture->fake.doorbell_messages_count, 0);
}

/* Where queues share an address the eventfd of the one is not the other's. */
static void
an_eventfd_is_asked_for_by_value(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.has_io_fds = true;
	fixture->fake.queues[3].notify_off = 2;
	start(fixture, 3);
	assert_int_equal(fixture->fake.io_fds_at[1], FAKE_PAGE);
	assert_int_equal(fixture->fake.io_fds_at[2], 2 * FAKE_PAGE);
	assert_int_equal(fixture->fake.io_fds_at[3], 2 * FAKE_PAGE);
}

static void
a_full_eventfd_does_not_block(void **state)
{
	struct fixture *fixture = *state;
	uint64_t almost = UINT64_MAX - 1;

	fixture->fake.has_io_fds = true;
	start(fixture, 0);
	alarm(PATIENCE_S);
	assert_int_equal(write(fixture->fake.io_fd, &almost, sizeof(almost)), sizeof(almost));
	assert_int_equal(kick(fixture, 0), 0);
	assert_true(drain(fixture->fake.io_fd) >= almost);
	/* Whenever the device comes to think of it. */
	assert_int_equal(write(fixture->fake.io_fd, &almost, sizeof(almost)), sizeof(almost));
	assert_int_equal(fcntl(fixture->fake.io_fd, F_SETFL, 0), 0);
	assert_int_equal(kick(fixture, 0), 0);
	alarm(0);
	assert_true(drain(fixture->fake.io_fd) >= almost);
}

static void
an_eventfd_that_is_none_is_a_failure(void **state)
{
	struct fixture *fixture = *state;

	rp_wire_fd_close(&fixture->fake.io_fd);
	fixture->fake.io_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	fixture->fake.has_io_fds = true;
	start(fixture, 0);
	assert_int_equal(kick(fixture, 0), -EIO);
	assert_int_equal(kick(fixture, 0), -EIO);
}

/* A pipe would take the bytes, and have us wait when it is full. */
static void
a_pipe_is_not_written_to(void **state)
{
	struct fixture *fixture = *state;
	int pipe_fds[2];
	char byte;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
	rp_wire_fd_replace(&fixture->fake.io_fd, &pipe_fds[1]);
	fixture->fake.has_io_fds = true;
	start(fixture, 0);
	assert_int_equal(kick(fixture, 0), -EIO);
	assert_int_equal(read(pipe_fds[0], &byte, 1), -1);
	rp_wire_fd_close(&pipe_fds[0]);
}

static void
then_a_store(void **state)
{
	struct fixture *fixture = *state;

	start(fixture, 3);
	assert_int_equal(kick(fixture, 3), 0);
	assert_int_equal(word_at(fixture, 3 * FAKE_PAGE), 3);
	assert_int_equal(word_at(fixture, 2 * FAKE_PAGE), 0);
	assert_int_equal(fixture->fake.doorbell_messages_count, 0);
}

static void
a_store_inside_a_shared_page(void **state)
{
	struct fixture *fixture = *state;

	fake_put_u32(&fixture->fake, FAKE_CAP_NOTIFY + 16, 4);
	start(fixture, 3);
	assert_int_equal(kick(fixture, 3), 0);
	assert_int_equal(word_at(fixture, 12), 3);
}

static void
then_a_message(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.lies.window_error = -ENOTSUP;
	start(fixture, 2);
	assert_int_equal(kick(fixture, 2), 0);
	assert_int_equal(fixture->fake.doorbell_messages_count, 1);
	assert_int_equal(fixture->fake.doorbell_value, 2);
	assert_int_equal(fixture->fake.doorbell_offset, 2 * FAKE_PAGE);
}

/* A store there could end us with SIGBUS. */
static void
no_store_into_a_file_that_may_shrink(void **state)
{
	struct fixture *fixture = *state;

	rp_wire_fd_close(&fixture->fake.notify_fd);
	fixture->fake.notify_fd = test_memfd(4 * FAKE_PAGE, false);
	start(fixture, 0);
	assert_int_equal(kick(fixture, 0), 0);
	assert_int_equal(fixture->fake.doorbell_messages_count, 1);
}

static void
no_store_beyond_the_file(void **state)
{
	struct fixture *fixture = *state;

	rp_wire_fd_close(&fixture->fake.notify_fd);
	fixture->fake.notify_fd = test_memfd(3 * FAKE_PAGE, true);
	start(fixture, 3);
	assert_int_equal(kick(fixture, 3), 0);
	assert_int_equal(fixture->fake.doorbell_messages_count, 1);
}

static void
a_message_that_is_refused_is_a_failure(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.lies.window_error = -ENOTSUP;
	start(fixture, 0);
	fixture->fake.lies.fail_after = fixture->fake.accesses_count;
	fixture->fake.lies.fail_error = -EPERM;
	assert_int_equal(kick(fixture, 0), -EIO);
}

static void
mappings_and_descriptors_go_with_the_device(void **state)
{
	struct fixture *fixture = *state;
	struct test_leaks before;

	test_leaks_read(&before);
	start(fixture, 0);
	rp_accel_close(&fixture->accel);
	test_leaks_assert_none(&before);
	fixture->fake.has_io_fds = true;
	start(fixture, 0);
	rp_accel_close(&fixture->accel);
	test_leaks_assert_none(&before);
	fixture->fake.closes_count = 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_eventfd_is_preferred),
		TEST(an_eventfd_is_asked_for_by_value),
		TEST(a_full_eventfd_does_not_block),
		TEST(an_eventfd_that_is_none_is_a_failure),
		TEST(a_pipe_is_not_written_to),
		TEST(then_a_store),
		TEST(a_store_inside_a_shared_page),
		TEST(then_a_message),
		TEST(no_store_into_a_file_that_may_shrink),
		TEST(no_store_beyond_the_file),
		TEST(a_message_that_is_refused_is_a_failure),
		TEST(mappings_and_descriptors_go_with_the_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
