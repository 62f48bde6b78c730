/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "fixture.h"

/* A device that translates by itself: what it is told, when, and in which order. */

#define RX 0
#define TX 1
#define READ RP_DMA_READ
#define BOTH (RP_DMA_READ | RP_DMA_WRITE)
#define SETTLE_MS 200 /* until a port that has nothing to do sleeps */
#define ANYWHERE (TEST_VIOMMU_IOVA - 0x10000) /* where nothing is mapped */

static void
open_with(struct fixture *f, enum test_vm_viommu viommu)
{
	struct rp_port_config config = fixture_config();
	/* As QEMU is: what the backend wants is not heard while a request is unanswered. */
	struct test_vm_options options = {.viommu = viommu, .deaf_while_waiting = true};

	config.access_platform = true;
	fixture_begin(f);
	FAKE_SET(class, RP_ACCEL_CLASS_A);
	FAKE_SET(asks, true);
	FAKE_SET(peer_pid, 1); /* who is open again, and is the same process, has let go */
	fixture_open_with(f, &config, &options);
}

static bool
is_mode(struct fixture *f, enum rp_port_queue_mode mode)
{
	return test_port_queue(&f->port, RX).mode == mode && test_port_queue(&f->port, TX).mode == mode;
}

static bool
is_direct(struct fixture *f)
{
	return is_mode(f, RP_PORT_QUEUE_DIRECT);
}

static bool
is_shadow(struct fixture *f)
{
	return is_mode(f, RP_PORT_QUEUE_SHADOW);
}

static void
open_direct(struct fixture *f)
{
	open_with(f, TEST_VM_TRANSLATED);
	test_vm_start_all(&f->vm);
	if (!fixture_becomes(f, is_direct))
		fail_msg("not direct: %s", test_port_queue(&f->port, TX).reason);
}

static bool
all_answered(struct fixture *f)
{
	unsigned int i;

	(void)f;
	for (i = 0; i < fake_now().questions_count; i++)
		if (!fake_accel_question(i).answered)
			return false;
	return true;
}

static struct fake_question
ask(struct fixture *f, uint64_t iova, uint32_t access_mask)
{
	unsigned int number = fake_accel_ask(iova, access_mask, false);

	assert_true(fixture_becomes(f, all_answered));
	return fake_accel_question(number);
}

static int
request(struct fixture *f, uint64_t iova, uint32_t access_mask)
{
	unsigned int number = fake_accel_request(iova, access_mask, false);

	assert_true(fixture_becomes(f, all_answered));
	return fake_accel_question(number).error;
}

static size_t
pieces(void)
{
	size_t count = rp_dma_space_count(fake_take()->spaces[0]);

	fake_give();
	return count;
}

/* Where in the file of the guest's memory, from its first guest-physical address on. */
static uint64_t
gpa_of(struct fixture *f, uint64_t iova)
{
	unsigned int access_mask;
	uint64_t at;

	assert_true(test_viommu_find(f->vm.viommu, iova, &at, &access_mask));
	return TEST_VM_GPA + at;
}

static void
rings_are_direct(void **state)
{
	struct fixture f;

	(void)state;
	open_direct(&f);
	/* It has the guest's own addresses, and none of the guest's memory. */
	assert_true(fake_now().queues[TX].config.desc_iova >= TEST_VIOMMU_IOVA);
	assert_int_equal(pieces(), 0);
	fixture_close(&f);
}

static void
questions_and_pages(void **state)
{
	struct fake_question question;
	struct rp_port_iommu_info info;
	struct fixture f;
	uint64_t iova;

	(void)state;
	open_direct(&f);
	iova = fake_now().queues[TX].config.desc_iova & ~4095ull;
	/* Its translation is known, its page was not requested. */
	question = ask(&f, iova, READ);
	assert_int_equal(question.error, 0);
	assert_int_equal(question.translation.access_mask, 0);
	assert_int_equal(request(&f, iova, READ), 0);
	assert_int_equal(pieces(), 1);
	question = ask(&f, iova, READ);
	assert_int_equal(question.translation.access_mask, BOTH);
	assert_int_equal(question.translation.iova, iova);
	assert_int_equal(question.translation.address, gpa_of(&f, iova));
	assert_int_equal(question.translation.size_bytes, f.vm.viommu->page_bytes);
	assert_false(question.translation.identity);
	/* Once: what is requested again is there. */
	assert_int_equal(request(&f, iova, BOTH), 0);
	assert_int_equal(pieces(), 1);
	/* What the guest's IOMMU does not have. */
	assert_int_equal(ask(&f, ANYWHERE, READ).translation.access_mask, 0);
	assert_int_equal(request(&f, ANYWHERE, READ), -EFAULT);
	assert_int_equal(pieces(), 1);
	info = test_port_info(&f.port).iommu;
	assert_int_equal(info.device_translations, 3);
	assert_int_equal(info.device_page_requests, 3);
	assert_int_equal(info.device_pages, 1);
	fixture_close(&f);
}

static void
invalidate(struct fixture *f, uint64_t iova, uint64_t size_bytes)
{
	struct rp_wire_why why = {0};

	if (rp_vhu_frontend_iotlb_invalidate(f->vm.frontend, iova, size_bytes, &why) < 0)
		fail_msg("invalidate: %s", why.text);
}

/* The frontend's answer is there: the device's was there before. And its rings run on. */
static void
an_invalidation_is_acknowledged_after_the_devices(void **state)
{
	unsigned int before, i;
	struct fixture f;

	(void)state;
	open_direct(&f);
	before = fake_now().invalidations;
	for (i = 0; i < 50; i++) {
		invalidate(&f, ANYWHERE - i * 4096, 4096);
		assert_int_equal(fake_now().invalidations, before + i + 1);
		assert_int_equal(fake_now().invalidated_iova, ANYWHERE - i * 4096);
		assert_int_equal(fake_now().invalidated_bytes, 4096);
	}
	/* Whole pages, whatever the frontend names. */
	invalidate(&f, ANYWHERE + 5, 4096);
	assert_int_equal(fake_now().invalidated_iova, ANYWHERE);
	assert_int_equal(fake_now().invalidated_bytes, 2 * 4096);
	assert_int_equal(fake_now().queues[TX].stops, 0);
	assert_int_equal(test_port_info(&f.port).iommu.device_invalidations, fake_now().invalidations);
	/* A ring's own pages: its device lets go of it. */
	invalidate(&f, fake_now().queues[TX].config.desc_iova & ~4095ull, 4096);
	assert_int_equal(fake_now().queues[TX].stops, 1);
	assert_int_equal(fake_now().queues[RX].stops, 0);
	assert_true(fixture_becomes(&f, is_direct));
	/* Everything. */
	invalidate(&f, 0, UINT64_MAX);
	assert_int_equal(fake_now().invalidated_bytes, 0);
	assert_true(fixture_becomes(&f, is_direct));
	fixture_close(&f);
}

static bool
is_put(void *ctx)
{
	return fake_accel_question(*(unsigned int *)ctx).put;
}

static bool
is_answered(void *ctx)
{
	return fake_accel_question(*(unsigned int *)ctx).answered;
}

static bool
was_told_more(void *ctx)
{
	return fake_now().invalidations > *(unsigned int *)ctx;
}

/* One that was asked for before, and one that the device asks while it is told: the frontend is deaf until it is answered. */
static void
an_invalidation_waits_for_no_miss(void **state)
{
	unsigned int outside, inside, page;
	struct fixture f;

	(void)state;
	open_direct(&f);
	outside = fake_accel_ask(ANYWHERE, READ, false);
	page = fake_accel_request(ANYWHERE - 4096, READ, false);
	assert_true(test_wait(is_put, &outside, LIMIT_MS) && test_wait(is_put, &page, LIMIT_MS));
	inside = fake_accel_ask(ANYWHERE - 8192, READ, true);
	invalidate(&f, ANYWHERE - 0x10000, 0x11000);
	assert_true(fake_accel_question(inside).put);
	assert_false(fake_accel_question(outside).answered);
	assert_false(fake_accel_question(inside).answered);
	assert_false(fake_accel_question(page).answered);
	assert_true(fixture_becomes(&f, all_answered));
	assert_int_equal(fake_accel_question(page).error, -EFAULT);
	fixture_close(&f);
}

/* A frontend waits for its answer as long as the device is given, and no longer. */
static void
a_device_that_does_not_let_go(void **state)
{
	struct fixture f;

	(void)state;
	open_direct(&f);
	FAKE_SET(invalidate_error, -ETIMEDOUT);
	invalidate(&f, ANYWHERE, 4096);
	assert_true(test_port_warned(&f.port, "the invalidation is not answered"));
	assert_int_equal(test_port_queue(&f.port, TX).mode, RP_PORT_QUEUE_STOPPED);
	FAKE_SET(invalidate_error, 0);
	fixture_close(&f);
}

/* Private rings have guest-physical addresses: then all that it asks is such. */
static void
shadow_and_back(void **state)
{
	struct fake_question question;
	unsigned int before, page;
	struct fixture f;
	uint64_t iova;

	(void)state;
	open_direct(&f);
	iova = fake_now().queues[TX].config.desc_iova & ~4095ull;
	assert_int_equal(request(&f, iova, BOTH), 0);
	before = fake_now().invalidations;
	/* Of what it asks meanwhile nobody hears but the port, which is not woken by anything else. */
	page = fake_accel_request(gpa_of(&f, iova), BOTH, true);
	assert_int_equal(test_port_ring(&f.port, RX, RP_PORT_RING_SHADOW), 0);
	assert_true(test_wait(is_answered, &page, LIMIT_MS));
	assert_int_equal(fake_accel_question(page).error, 0);
	assert_true(fixture_becomes(&f, is_shadow));
	assert_true(fake_now().invalidations > before);
	assert_int_equal(fake_now().invalidated_bytes, 0);
	/* The page that it has, another one, and its private ring. */
	question = ask(&f, gpa_of(&f, iova), BOTH);
	assert_true(question.translation.identity && question.translation.access_mask == BOTH);
	question = ask(&f, gpa_of(&f, iova) ^ 0x80000, BOTH);
	assert_int_equal(question.translation.access_mask, 0);
	question = ask(&f, fake_now().queues[TX].config.desc_iova & ~4095ull, BOTH);
	assert_true(question.translation.identity && question.translation.access_mask == BOTH);
	assert_int_equal(test_port_ring(&f.port, RX, RP_PORT_RING_AUTO), 0);
	assert_true(fixture_becomes(&f, is_direct));
	question = ask(&f, iova, BOTH);
	assert_int_equal(question.translation.address, gpa_of(&f, iova));
	fixture_close(&f);
}

/* The same port, and a guest without an IOMMU: its pages are mapped late all the same. */
static void
without_an_iommu(void **state)
{
	struct fake_question question;
	struct fixture f;

	(void)state;
	open_with(&f, TEST_VM_NO_VIOMMU);
	test_vm_start_all(&f.vm);
	assert_true(fixture_becomes(&f, is_direct));
	assert_int_equal(pieces(), 0);
	question = ask(&f, TEST_VM_GPA + 0x3000, BOTH);
	assert_int_equal(question.translation.access_mask, 0);
	assert_int_equal(request(&f, TEST_VM_GPA + 0x3000, BOTH), 0);
	question = ask(&f, TEST_VM_GPA + 0x3000, BOTH);
	assert_true(question.translation.identity);
	assert_int_equal(question.translation.address, TEST_VM_GPA + 0x3000);
	assert_int_equal(request(&f, TEST_VM_GPA - 4096, BOTH), -EFAULT);
	assert_int_equal(request(&f, UINT64_MAX & ~4095ull, BOTH), -EFAULT);
	fixture_close(&f);
}

/* Nothing else may happen for long: what it asks while it is asked is a reason to wake up. */
static void
it_asks_while_its_counters_are_read(void **state)
{
	struct rp_port_queue_info info;
	struct pollfd wait = {.events = POLLIN};
	struct fixture f;

	(void)state;
	open_with(&f, TEST_VM_NO_VIOMMU);
	test_vm_start_all(&f.vm);
	assert_true(fixture_becomes(&f, is_direct));
	pthread_mutex_lock(&f.port.lock);
	fake_take()->questions[0] = (struct fake_question){.iova = TEST_VM_GPA, .access_mask = BOTH, .is_page = true};
	fake_give();
	FAKE_SET(questions_count, 1u);
	FAKE_SET(asks_when_counted, true);
	wait.fd = rp_port_fd(f.port.port);
	while (poll(&wait, 1, SETTLE_MS) > 0)
		rp_port_process(f.port.port);
	assert_int_equal(rp_port_get_queue_info(f.port.port, TX, &info), 0);
	assert_true(fake_accel_question(0).put);
	assert_int_equal(poll(&wait, 1, LIMIT_MS), 1);
	pthread_mutex_unlock(&f.port.lock);
	assert_true(fixture_becomes(&f, all_answered));
	assert_int_equal(fake_accel_question(0).error, 0);
	fixture_close(&f);
}

/* More of the guest's pages than the device has room for: it is told that all have gone, and requests what it uses. */
static void
more_pages_than_fit(void **state)
{
	unsigned int before, i;
	struct fixture f;

	(void)state;
	open_with(&f, TEST_VM_NO_VIOMMU);
	FAKE_SET(pieces_max, (size_t)4);
	for (i = 0; i < 10; i++) {
		before = fake_now().invalidations;
		/* Not side by side. */
		assert_int_equal(request(&f, TEST_VM_GPA + i * 0x20000ull, BOTH), 0);
		assert_int_equal(ask(&f, TEST_VM_GPA + i * 0x20000ull, BOTH).translation.access_mask, BOTH);
		assert_true((fake_now().invalidations > before) == (i == 4 || i == 8));
		assert_int_equal(pieces(), i % 4 + 1);
	}
	assert_int_equal(ask(&f, TEST_VM_GPA, BOTH).translation.access_mask, 0);
	FAKE_SET(map_error, -ENOSPC);
	assert_int_equal(request(&f, TEST_VM_GPA, BOTH), -EFAULT);
	FAKE_SET(map_error, 0);
	assert_int_equal(request(&f, TEST_VM_GPA, BOTH), 0);
	fixture_close(&f);
}

/* What is gone is not the device's any more, and what it was translated to is void. */
static void
memory_that_goes(void **state)
{
	struct rp_vhu_region more = {
		.gpa = 0x100000000ull,
		.size_bytes = 0x100000,
		.uva = UINT64_C(0x100000000000),
	};
	struct rp_wire_why why = {0};
	unsigned int before, i;
	struct fixture f;

	(void)state;
	open_with(&f, TEST_VM_NO_VIOMMU);
	more.fd = test_memfd(more.size_bytes, false);
	for (i = 0; i < 3; i++) {
		assert_int_equal(rp_vhu_frontend_add_mem_reg(f.vm.frontend, &more, &why), 0);
		assert_int_equal(request(&f, more.gpa + 0x10000, BOTH), 0);
		assert_int_equal(request(&f, more.gpa + 0x30000, BOTH), 0);
		assert_int_equal(pieces(), 2);
		before = fake_now().invalidations;
		assert_int_equal(rp_vhu_frontend_rem_mem_reg(f.vm.frontend, &more, &why), 0);
		assert_int_equal(fake_now().invalidations, before + 1);
		assert_int_equal(pieces(), 0);
		assert_int_equal(request(&f, more.gpa + 0x10000, BOTH), -EFAULT);
	}
	close(more.fd);
	fixture_close(&f);
}

/* The next driver may have another domain, and nobody says that this one's is gone. */
static void
the_last_ring_stops(void **state)
{
	unsigned int before, page, i;
	struct fixture f;

	(void)state;
	open_direct(&f);
	page = fake_accel_request(ANYWHERE, READ, false);
	assert_true(test_wait(is_put, &page, LIMIT_MS));
	before = fake_now().invalidations;
	for (i = 0; i < f.vm.queues_count; i++) {
		assert_int_equal(fake_now().invalidations, before);
		test_vm_queue_stop(&f.vm, i);
	}
	assert_int_equal(fake_now().invalidations, before + 1);
	assert_int_equal(fake_now().invalidated_bytes, 0);
	assert_true(test_wait(is_answered, &page, LIMIT_MS));
	assert_int_equal(fake_accel_question(page).error, -EFAULT);
	fixture_close(&f);
}

/* What is outstanding when the frontend leaves does not come; what it learns from the next one is that one's. */
static void
frontends_come_and_go(void **state)
{
	unsigned int page, before;
	struct fixture f;

	(void)state;
	open_direct(&f);
	page = fake_accel_request(ANYWHERE, READ, false);
	assert_true(test_wait(is_put, &page, LIMIT_MS));
	before = fake_now().invalidations;
	test_vm_disconnect(&f.vm);
	assert_true(test_wait(is_answered, &page, LIMIT_MS));
	assert_int_equal(fake_accel_question(page).error, -EFAULT);
	assert_true(test_wait(was_told_more, &before, LIMIT_MS));
	assert_int_equal(fake_now().invalidated_bytes, 0);
	fixture_close(&f);
}

static bool
is_open_again(struct fixture *f)
{
	(void)f;
	return fake_now().opens > 1;
}

static void
a_device_that_failed_begins_anew(void **state)
{
	struct fixture f;
	uint64_t iova;

	(void)state;
	open_direct(&f);
	iova = fake_now().queues[TX].config.desc_iova & ~4095ull;
	assert_int_equal(request(&f, iova, BOTH), 0);
	fake_accel_die(true);
	assert_true(fixture_becomes(&f, is_open_again));
	assert_true(fixture_becomes(&f, is_direct));
	assert_int_equal(pieces(), 0);
	assert_int_equal(ask(&f, iova, READ).translation.access_mask, 0);
	assert_int_equal(request(&f, iova, BOTH), 0);
	assert_int_equal(ask(&f, iova, READ).translation.address, gpa_of(&f, iova));
	fixture_close(&f);
}

/* What it will ask first when it is opened the next time. @return the first question's number. */
static unsigned int
ask_when_open(uint64_t iova)
{
	struct fake_accel *fake = fake_take();
	unsigned int number = fake->questions_count;

	fake->questions[number] = (struct fake_question){.iova = iova, .access_mask = BOTH};
	fake->questions[number + 1] = (struct fake_question){.iova = iova, .access_mask = BOTH, .is_page = true};
	fake->questions_count += 2;
	fake_give();
	return number;
}

/* Before the one that failed is closed: neither hears what the other asked or has. */
static void
it_asks_while_it_is_opened_again(void **state)
{
	struct fixture f;
	unsigned int asked;

	(void)state;
	open_with(&f, TEST_VM_NO_VIOMMU);
	assert_int_equal(request(&f, TEST_VM_GPA, BOTH), 0);
	assert_int_equal(ask(&f, TEST_VM_GPA, BOTH).translation.access_mask, BOTH);
	asked = ask_when_open(TEST_VM_GPA);
	fake_accel_die(false);
	assert_true(fixture_becomes(&f, is_open_again));
	assert_true(fixture_becomes(&f, all_answered));
	assert_int_equal(fake_accel_question(asked).error, 0);
	assert_int_equal(fake_accel_question(asked).translation.access_mask, 0);
	assert_int_equal(fake_accel_question(asked + 1).error, 0);
	assert_int_equal(pieces(), 1);
	fixture_close(&f);
}

/* One that is not taken had questions: they are nobody's. */
static void
one_that_is_not_taken_asked(void **state)
{
	struct fixture f;
	unsigned int asked, page, i;
	uint64_t features;

	(void)state;
	open_with(&f, TEST_VM_NO_VIOMMU);
	features = fake_now().features;
	FAKE_SET(features, (uint64_t)0);
	asked = ask_when_open(TEST_VM_GPA);
	fake_accel_die(true);
	while (!fake_accel_question(asked + 1).put)
		usleep(1000);
	FAKE_SET(features, features);
	for (i = 0; i < LIMIT_MS && test_port_events(&f.port, "accelerator-back") == 0; i++)
		usleep(1000);
	assert_int_equal(test_port_events(&f.port, "accelerator-back"), 1);
	page = fake_accel_request(TEST_VM_GPA, BOTH, false);
	assert_true(test_wait(is_answered, &page, LIMIT_MS));
	assert_false(fake_accel_question(asked + 1).answered);
	fixture_close(&f);
}

/* Nobody can know anything by then. What it asks for again is answered. */
static void
it_asks_while_it_is_opened(void **state)
{
	struct rp_port_config config = fixture_config();
	struct fixture f;

	(void)state;
	config.access_platform = true;
	fixture_begin(&f);
	FAKE_SET(class, RP_ACCEL_CLASS_A);
	FAKE_SET(asks, true);
	fake_take()->questions[0] = (struct fake_question){.iova = TEST_VM_GPA, .access_mask = READ};
	fake_give();
	fake_take()->questions[1] = (struct fake_question){.iova = TEST_VM_GPA, .access_mask = READ, .is_page = true};
	fake_give();
	FAKE_SET(questions_count, 2u);
	fixture_open_with(&f, &config, NULL);
	assert_int_equal(fake_accel_question(0).error, -EIO);
	assert_true(fixture_becomes(&f, all_answered));
	assert_int_equal(ask(&f, TEST_VM_GPA, READ).error, 0);
	assert_int_equal(request(&f, TEST_VM_GPA, READ), 0);
	assert_int_equal(ask(&f, TEST_VM_GPA, READ).translation.address, TEST_VM_GPA);
	fixture_close(&f);
}

static void
offered_with_access_platform_alone(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f);
	assert_null(fake_now().iommu);
	assert_true(pieces() > 0);
	fixture_close(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rings_are_direct),
		cmocka_unit_test(questions_and_pages),
		cmocka_unit_test(an_invalidation_is_acknowledged_after_the_devices),
		cmocka_unit_test(an_invalidation_waits_for_no_miss),
		cmocka_unit_test(a_device_that_does_not_let_go),
		cmocka_unit_test(shadow_and_back),
		cmocka_unit_test(without_an_iommu),
		cmocka_unit_test(it_asks_while_its_counters_are_read),
		cmocka_unit_test(more_pages_than_fit),
		cmocka_unit_test(memory_that_goes),
		cmocka_unit_test(the_last_ring_stops),
		cmocka_unit_test(frontends_come_and_go),
		cmocka_unit_test(a_device_that_failed_begins_anew),
		cmocka_unit_test(it_asks_while_it_is_opened),
		cmocka_unit_test(it_asks_while_it_is_opened_again),
		cmocka_unit_test(one_that_is_not_taken_asked),
		cmocka_unit_test(offered_with_access_platform_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
