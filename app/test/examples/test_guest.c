/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"
#include "rp_wire_fd.h"
#include "test_support.h"

#define QUEUES 3u
#define WAIT_MS 60000u
#define SENTINEL 0xffffu
#define CHURNS 100u

struct bed {
	struct guest *guest;
	void *memory;
	size_t page_bytes;
	int kick[QUEUES], call[QUEUES];
};

static void *
page_new(size_t page_bytes, int protection)
{
	void *page = mmap(NULL, page_bytes, protection, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(page, MAP_FAILED);
	return page;
}

static void
bed_open(struct bed *bed)
{
	struct guest_config config = {.queues_count = QUEUES, .memory_gpa = 0x40000000};
	struct rp_wire_why why = {0};
	unsigned int i;
	int rc;

	bed->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	bed->memory = page_new(bed->page_bytes, PROT_READ | PROT_WRITE);
	config.memory = bed->memory;
	config.memory_bytes = bed->page_bytes;
	rc = guest_open(&config, &bed->guest, &why);
	if (rc == -ENOTSUP) {
		munmap(bed->memory, bed->page_bytes);
		print_message("skipped: %s\n", why.text);
		skip();
	}
	if (rc < 0)
		fail_msg("%s", why.text);
	for (i = 0; i < QUEUES; i++) {
		bed->kick[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		bed->call[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		assert_int_equal(guest_wire(bed->guest, i, bed->kick[i], bed->call[i], &why), 0);
	}
	assert_int_equal(guest_run(bed->guest, &why), 0);
}

static void
bed_close(struct bed *bed)
{
	assert_null(guest_close(bed->guest));
	rp_wire_fd_close_all(bed->kick, QUEUES);
	rp_wire_fd_close_all(bed->call, QUEUES);
	munmap(bed->memory, bed->page_bytes);
}

/* What was signalled since the last time. */
static uint64_t
signals(int fd)
{
	eventfd_t count = 0;

	eventfd_read(fd, &count);
	return count;
}

static uint16_t
bell(const void *page)
{
	return __atomic_load_n((const uint16_t *)page, __ATOMIC_SEQ_CST);
}

static struct rp_vhu_notify_map
map_of(const struct bed *bed, void *page)
{
	memset(page, 0xff, bed->page_bytes);
	return (struct rp_vhu_notify_map){.address = page, .size_bytes = bed->page_bytes};
}

static int
kick(struct bed *bed, unsigned int queue)
{
	struct rp_wire_why why = {0};
	int rc = guest_kick(bed->guest, queue, &why);

	if (rc < 0)
		fail_msg("%s", why.text);
	return rc;
}

static void
no_notify_area_is_an_ioeventfd(void **state)
{
	struct test_leaks before;
	struct bed bed;
	unsigned int i;

	(void)state;
	test_leaks_read(&before);
	bed_open(&bed);
	for (i = 0; i < QUEUES; i++) {
		assert_int_equal(kick(&bed, i), 0);
		assert_int_equal(signals(bed.kick[i]), 1);
		assert_int_equal(signals(bed.kick[(i + 1) % QUEUES]), 0);
		assert_int_equal(guest_counts(bed.guest, i).kicks, 1);
	}
	bed_close(&bed);
	test_leaks_assert_none(&before);
}

static void
a_notify_area_is_a_slot(void **state)
{
	const struct rp_vhu_notify_map none = {0};
	struct rp_vhu_notify_map map;
	struct test_leaks before;
	struct bed bed;
	void *old, *new;

	(void)state;
	test_leaks_read(&before);
	bed_open(&bed);
	old = page_new(bed.page_bytes, PROT_READ | PROT_WRITE);
	new = page_new(bed.page_bytes, PROT_READ | PROT_WRITE);
	map = map_of(&bed, old);
	assert_int_equal(guest_doorbell(bed.guest, 2, &map, NULL), 0);
	assert_int_equal(kick(&bed, 2), 1);
	assert_int_equal(bell(old), 2);
	assert_int_equal(kick(&bed, 1), 0);
	assert_int_equal(signals(bed.kick[1]), 1);
	/* Replaced: the old one is not touched any more, and may die. */
	memset(old, 0xff, bed.page_bytes);
	map = map_of(&bed, new);
	assert_int_equal(guest_doorbell(bed.guest, 2, &map, NULL), 0);
	assert_int_equal(kick(&bed, 2), 1);
	assert_int_equal(bell(new), 2);
	assert_int_equal(bell(old), SENTINEL);
	munmap(old, bed.page_bytes);
	/* Taken out. */
	assert_int_equal(guest_doorbell(bed.guest, 2, &none, NULL), 0);
	munmap(new, bed.page_bytes);
	assert_int_equal(signals(bed.kick[2]), 0);
	assert_int_equal(kick(&bed, 2), 0);
	assert_int_equal(signals(bed.kick[2]), 1);
	assert_int_equal(guest_counts(bed.guest, 2).kicks, 3);
	bed_close(&bed);
	test_leaks_assert_none(&before);
}

static void
a_refused_one_leaves_the_old_one(void **state)
{
	struct rp_wire_why why = {0};
	struct rp_vhu_notify_map map;
	struct bed bed;
	void *old, *new;

	(void)state;
	bed_open(&bed);
	old = page_new(bed.page_bytes, PROT_READ | PROT_WRITE);
	new = page_new(bed.page_bytes, PROT_READ | PROT_WRITE);
	map = map_of(&bed, old);
	assert_int_equal(guest_doorbell(bed.guest, 0, &map, NULL), 0);
	map = map_of(&bed, new);
	map.size_bytes--;
	assert_int_equal(guest_doorbell(bed.guest, 0, &map, &why), -EINVAL);
	assert_string_equal(why.text, "KVM_SET_USER_MEMORY_REGION: Invalid argument");
	assert_int_equal(kick(&bed, 0), 1);
	assert_int_equal(bell(old), 0);
	assert_int_equal(bell(new), SENTINEL);
	bed_close(&bed);
	munmap(old, bed.page_bytes);
	munmap(new, bed.page_bytes);
}

struct taken {
	struct guest *guest;
	unsigned int queue;
	uint32_t interrupts;
};

static bool
has_taken(void *ctx)
{
	const struct taken *taken = ctx;

	return guest_counts(taken->guest, taken->queue).interrupts >= taken->interrupts;
}

/* The guest counts; what we have is not even readable. */
static void
an_eventfd_is_an_interrupt(void **state)
{
	struct bed bed;
	unsigned int i, n;

	(void)state;
	bed_open(&bed);
	for (n = 1; n <= 10; n++) {
		for (i = 0; i < QUEUES; i++) {
			struct taken taken = {bed.guest, i, n};

			assert_int_equal(eventfd_write(bed.call[i], 1), 0);
			assert_true(test_wait(has_taken, &taken, WAIT_MS));
			assert_int_equal(guest_counts(bed.guest, i).interrupts, n);
			assert_int_equal(signals(bed.call[i]), 0);
		}
	}
	for (i = 0; i < QUEUES; i++)
		assert_int_equal(guest_counts(bed.guest, i).kicks, 0);
	bed_close(&bed);
}

struct storm {
	int fd;
	bool over;
};

static void *
storm_thread(void *argument)
{
	struct storm *storm = argument;

	while (!__atomic_load_n(&storm->over, __ATOMIC_SEQ_CST))
		eventfd_write(storm->fd, 1);
	return NULL;
}

/* Areas come and go while the CPU is never still; each kick is where it must be, and none is lost. */
static void
areas_change_under_interrupts(void **state)
{
	const struct rp_vhu_notify_map none = {0};
	struct rp_vhu_notify_map map;
	struct test_leaks before;
	struct storm storm = {0};
	struct bed bed;
	pthread_t thread;
	unsigned int i;
	void *page;

	(void)state;
	test_leaks_read(&before);
	bed_open(&bed);
	storm.fd = bed.call[0];
	assert_int_equal(pthread_create(&thread, NULL, storm_thread, &storm), 0);
	for (i = 0; i < CHURNS; i++) {
		page = page_new(bed.page_bytes, PROT_READ | PROT_WRITE);
		map = map_of(&bed, page);
		assert_int_equal(guest_doorbell(bed.guest, 1, &map, NULL), 0);
		assert_int_equal(kick(&bed, 1), 1);
		assert_int_equal(bell(page), 1);
		assert_int_equal(signals(bed.kick[1]), 0);
		assert_int_equal(guest_doorbell(bed.guest, 1, &none, NULL), 0);
		munmap(page, bed.page_bytes);
		assert_int_equal(kick(&bed, 1), 0);
		assert_int_equal(signals(bed.kick[1]), 1);
	}
	__atomic_store_n(&storm.over, true, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	assert_int_equal(guest_counts(bed.guest, 1).kicks, 2 * CHURNS);
	assert_true(guest_counts(bed.guest, 0).interrupts > 0);
	bed_close(&bed);
	test_leaks_assert_none(&before);
}

/* Its memory is taken away: it cannot go on, and nobody waits for it. */
static void
a_cpu_that_leaves(void **state)
{
	struct kvm_userspace_memory_region none = {.slot = 0};
	const struct rp_vhu_notify_map no_map = {0};
	struct rp_wire_why why = {0};
	struct bed bed;

	(void)state;
	bed_open(&bed);
	assert_int_equal(kick(&bed, 0), 0);
	assert_int_equal(ioctl(guest_vm_fd(bed.guest), KVM_SET_USER_MEMORY_REGION, &none), 0);
	assert_int_equal(guest_kick(bed.guest, 0, &why), -EIO);
	if (strstr(why.text, "the virtual CPU has left the guest") != why.text)
		fail_msg("%s", why.text);
	assert_int_equal(guest_doorbell(bed.guest, 0, &no_map, &why), 0);
	assert_int_equal(guest_kick(bed.guest, 0, &why), -EIO);
	bed_close(&bed);
}

static void
too_many_queues(void **state)
{
	struct guest_config config = {.queues_count = GUEST_QUEUES_MAX + 1};
	struct rp_wire_why why = {0};
	struct guest *guest;

	(void)state;
	assert_int_equal(guest_open(&config, &guest, &why), -EINVAL);
	assert_string_equal(why.text, "queues of the guest: 65, expected 1 to 64");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_notify_area_is_an_ioeventfd),
		cmocka_unit_test(a_notify_area_is_a_slot),
		cmocka_unit_test(a_refused_one_leaves_the_old_one),
		cmocka_unit_test(an_eventfd_is_an_interrupt),
		cmocka_unit_test(areas_change_under_interrupts),
		cmocka_unit_test(a_cpu_that_leaves),
		cmocka_unit_test(too_many_queues),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
