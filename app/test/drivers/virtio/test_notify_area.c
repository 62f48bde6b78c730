/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "fixture.h"
#include "rp_wire_fd.h"

/* A place on disk: a file that nobody can seal. */
static int
plain_file(void)
{
	char path[] = "/var/tmp/ringpass-test.XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(ftruncate(fd, 4 * FAKE_PAGE), 0);
	return fd;
}

static void
put_notify(struct fake_device *fake, uint32_t offset_bytes, uint32_t length_bytes, uint32_t multiplier)
{
	fake_put_u32(fake, FAKE_CAP_NOTIFY + 8, offset_bytes);
	fake_put_u32(fake, FAKE_CAP_NOTIFY + 12, length_bytes);
	fake_put_u32(fake, FAKE_CAP_NOTIFY + 16, multiplier);
}

static void
share_by_multiplier(struct fake_device *fake)
{
	put_notify(fake, 0, 4 * FAKE_PAGE, 4);
}

static void
share_one_doorbell(struct fake_device *fake)
{
	put_notify(fake, 0, 4 * FAKE_PAGE, 0);
}

static void
share_by_equal_offsets(struct fake_device *fake)
{
	fake->queues[1].notify_off = 0;
}

static void
share_with_the_control_queue(struct fake_device *fake)
{
	fake_add_control(fake);
	fake->queues[4].notify_off = 0;
}

static void
share_by_half_a_page(struct fake_device *fake)
{
	put_notify(fake, 0, 4 * FAKE_PAGE, FAKE_PAGE / 2);
}

/* Two at its begin, and one that is not. */
static void
share_one_doorbell_and_another(struct fake_device *fake)
{
	share_by_half_a_page(fake);
	fake->queues[2].notify_off = 0;
}

static void
share_with_a_queue_that_we_do_not_use(struct fake_device *fake)
{
	fake->info.msix_count = 2;
	fake->queues[3].notify_off = 0;
}

static void
have_more_queues_than_are_known(struct fake_device *fake)
{
	fake->num_queues = 1000;
	fake->info.msix_count = 4;
}

static void
be_in_the_middle_of_a_page(struct fake_device *fake)
{
	fake->region_sizes[FAKE_BAR_NOTIFY] = 16 * FAKE_PAGE;
	fake->queues[1].notify_off = 6;
	fake->queues[2].notify_off = 8;
	fake->queues[3].notify_off = 10;
	put_notify(fake, 0, 16 * FAKE_PAGE, FAKE_PAGE / 2);
	fake->queues[0].notify_off = 3;
}

static void
have_the_msix_table_beside(struct fake_device *fake)
{
	put_notify(fake, 0, 3 * FAKE_PAGE + 64, FAKE_PAGE);
	fake->queues[0].notify_off = 3;
	fake->queues[3].notify_off = 0;
	fake_put_u32(fake, FAKE_CAP_MSIX + 4, (3 * FAKE_PAGE + 2048) | FAKE_BAR_NOTIFY);
}

static void
have_the_isr_beside(struct fake_device *fake)
{
	put_notify(fake, 0, 3 * FAKE_PAGE + 64, FAKE_PAGE);
	fake->queues[0].notify_off = 3;
	fake->queues[3].notify_off = 0;
	fake->config_space[FAKE_CAP_ISR + 4] = FAKE_BAR_NOTIFY;
	fake_put_u32(fake, FAKE_CAP_ISR + 8, 4 * FAKE_PAGE - 4);
}

static void
reach_beyond_what_is_declared(struct fake_device *fake)
{
	put_notify(fake, 0, 3 * FAKE_PAGE + 64, FAKE_PAGE);
	fake->queues[0].notify_off = 3;
	fake->queues[3].notify_off = 0;
}

static void
start_before_what_is_declared(struct fake_device *fake)
{
	fake->region_sizes[FAKE_BAR_NOTIFY] = 8 * FAKE_PAGE;
	put_notify(fake, 64, 5 * FAKE_PAGE, FAKE_PAGE);
}

static void
have_no_window(struct fake_device *fake)
{
	fake->lies.window_error = -ENOTSUP;
}

static void
lie_askew_in_the_file(struct fake_device *fake)
{
	fake->lies.window_skew_bytes = 512;
}

static void
lie_beyond_the_file(struct fake_device *fake)
{
	fake->lies.window_skew_bytes = 4 * FAKE_PAGE;
}

static void
lie_far_beyond_the_file(struct fake_device *fake)
{
	fake->lies.window_skew_bytes = UINT64_MAX - FAKE_PAGE + 1;
}

static void
be_unsealed(struct fake_device *fake)
{
	int fd = test_memfd(4 * FAKE_PAGE, false);

	rp_wire_fd_replace(&fake->notify_fd, &fd);
}

static void
be_a_plain_file(struct fake_device *fake)
{
	int fd = plain_file();

	rp_wire_fd_replace(&fake->notify_fd, &fd);
}

struct row {
	void (*prepare)(struct fake_device *fake);
	int error;
	const char *words;
};

static const struct row rows[] = {
	{share_by_multiplier, -ENOTSUP, "doorbell page is shared by 4 queues (multiplier 4, page 4096)"},
	{share_by_half_a_page, -ENOTSUP, "doorbell page is shared by 2 queues (multiplier 2048, page 4096)"},
	{share_one_doorbell_and_another, -ENOTSUP, "doorbell page is shared by 3 queues (multiplier 2048, page 4096)"},
	{share_with_a_queue_that_we_do_not_use, -ENOTSUP, "doorbell page is shared by 2 queues"},
	{have_more_queues_than_are_known, -ENOTSUP,
	 "doorbell page: the device has 1000 queues, and only those below 257 are known not to share it"},
	{be_in_the_middle_of_a_page, -ENOTSUP, "doorbell is at offset 2048 of its page, expected 0"},
	{have_the_msix_table_beside, -ENOTSUP, "doorbell page also holds the MSI-X table"},
	{have_the_isr_beside, -ENOTSUP, "doorbell page also holds the ISR"},
	{reach_beyond_what_is_declared, -ENOTSUP,
	 "doorbell page reaches beyond the notify structure (0x3040 bytes at 0x0)"},
	{start_before_what_is_declared, -ENOTSUP, "doorbell page reaches beyond the notify structure"},
	{have_no_window, -ENOTSUP, "doorbell page: region 4 is not mmap-able"},
	{lie_askew_in_the_file, -ENOTSUP, "doorbell file: offset 0x200, expected a multiple of the page size 4096"},
	{lie_beyond_the_file, -ENOTSUP, "doorbell file: ends before the page"},
	{lie_far_beyond_the_file, -ENOTSUP, "doorbell file: ends before the page"},
	{be_unsealed, -ENOTSUP, "doorbell file: not sealed against shrinking (F_SEAL_SHRINK)"},
	{be_a_plain_file, -ENOTSUP, "doorbell file: a regular file cannot be sealed against shrinking"},
};

static void
every_refusal_says_why(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_notify_area area;
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		fake_fini(&fixture->fake);
		fake_init(&fixture->fake);
		rows[i].prepare(&fixture->fake);
		fixture_open_ok(fixture);
		assert_int_equal(fixture->accel.ops->queue_notify_area(fixture->accel.priv, 0, &area, &fixture->why),
				 rows[i].error);
		fixture_assert_why(fixture, rows[i].words);
		/* A refusal is no failure: the queue is kicked by us. */
		assert_int_equal(fixture->accel.ops->process(fixture->accel.priv, NULL), 0);
		rp_accel_close(&fixture->accel);
	}
	fixture->fake.closes_count = 0;
}

static void
a_page_of_a_huge_one_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_notify_area area;
	struct test_leaks before;
	int fd = test_huge_memfd(TEST_HUGE_PAGE_BYTES);

	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	rp_wire_fd_replace(&fixture->fake.notify_fd, &fd);
	test_leaks_read(&before);
	fixture_open_ok(fixture);
	assert_int_equal(fixture->accel.ops->queue_notify_area(fixture->accel.priv, 0, &area, &fixture->why), -ENOTSUP);
	fixture_assert_why(fixture, "doorbell file: is mapped in pages of 2097152 bytes, expected 4096");
	rp_accel_close(&fixture->accel);
	test_leaks_assert_none(&before);
	fixture->fake.closes_count = 0;
}

static void
a_page_of_its_own_is_handed_out(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_notify_area area;
	unsigned int i;

	fixture_open_ok(fixture);
	for (i = 0; i < 4; i++) {
		assert_int_equal(fixture->accel.ops->queue_notify_area(fixture->accel.priv, i, &area, &fixture->why),
				 0);
		assert_int_equal(area.fd, fixture->fake.notify_fd);
		assert_int_equal(area.offset_bytes, i * FAKE_PAGE);
		assert_int_equal(area.size_bytes, FAKE_PAGE);
	}
	assert_int_equal(fixture->accel.ops->queue_notify_area(fixture->accel.priv, 4, &area, NULL), -EINVAL);
}

static void
neighbours_decide_for_each_queue_alone(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_notify_area area;

	share_by_half_a_page(&fixture->fake);
	fixture->fake.queues[2].notify_off = 4;
	fixture->fake.queues[3].notify_off = 6;
	fixture_open_ok(fixture);
	assert_int_equal(fixture->accel.ops->queue_notify_area(fixture->accel.priv, 0, &area, NULL), -ENOTSUP);
	assert_int_equal(fixture->accel.ops->queue_notify_area(fixture->accel.priv, 2, &area, NULL), 0);
}

static const struct {
	void (*prepare)(struct fake_device *fake);
	uint64_t offsets_bytes[4];
} shared[] = {
	{share_one_doorbell, {0, 0, 0, 0}},
	{share_by_equal_offsets, {0, 0, 2 * FAKE_PAGE, 3 * FAKE_PAGE}},
	{share_with_the_control_queue, {0, FAKE_PAGE, 2 * FAKE_PAGE, 3 * FAKE_PAGE}},
};

/* The same page for each. */
static void
queues_of_one_doorbell_get_its_page(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_notify_area area;
	unsigned int i, queue;

	for (i = 0; i < sizeof(shared) / sizeof(shared[0]); i++) {
		fake_fini(&fixture->fake);
		fake_init(&fixture->fake);
		shared[i].prepare(&fixture->fake);
		fixture_open_ok(fixture);
		for (queue = 0; queue < 4; queue++) {
			assert_int_equal(
				fixture->accel.ops->queue_notify_area(fixture->accel.priv, queue, &area, &fixture->why),
				0);
			assert_int_equal(area.offset_bytes, shared[i].offsets_bytes[queue]);
		}
		rp_accel_close(&fixture->accel);
	}
	fixture->fake.closes_count = 0;
}

static void
a_device_node_needs_no_seal(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_notify_area area;
	int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);

	rp_wire_fd_replace(&fixture->fake.notify_fd, &fd);
	fixture_open_ok(fixture);
	assert_int_equal(fixture->accel.ops->queue_notify_area(fixture->accel.priv, 0, &area, &fixture->why), 0);
}

static void
a_transport_that_left_is_a_failure(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_notify_area area;

	fixture_open_ok(fixture);
	fixture->fake.lies.window_error = -ENOTCONN;
	assert_int_equal(fixture->accel.ops->queue_notify_area(fixture->accel.priv, 0, &area, &fixture->why),
			 -ENOTCONN);
	assert_int_equal(fixture->accel.ops->process(fixture->accel.priv, NULL), -ENOTCONN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_refusal_says_why),
		TEST(a_page_of_a_huge_one_is_refused),
		TEST(a_page_of_its_own_is_handed_out),
		TEST(neighbours_decide_for_each_queue_alone),
		TEST(queues_of_one_doorbell_get_its_page),
		TEST(a_device_node_needs_no_seal),
		TEST(a_transport_that_left_is_a_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
