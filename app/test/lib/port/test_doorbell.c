/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"
#include "fixture.h"
#include "rp_wire_clock.h"

#define ALL_BUT(bit) (UINT64_MAX & ~(1ull << (bit)))

static uint16_t
doorbell_word(unsigned int queue)
{
	uint16_t *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fake_now().doorbell_fd, queue * 4096);
	uint16_t word;

	assert_true(page != MAP_FAILED);
	word = *page;
	munmap(page, 4096);
	return word;
}

static void
a_store_reaches_the_device(void **state)
{
	struct fixture f;
	unsigned int i;

	(void)state;
	fixture_open(&f);
	test_vm_start_all(&f.vm);
	for (i = 0; i < 4; i++) {
		assert_true(test_vm_wait_doorbell(&f.vm, i, true, LIMIT_MS));
		assert_true(test_port_wait_mode(&f.port, i, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
		assert_string_equal(test_port_queue(&f.port, i).reason, "");
		f.vm.queues[i].doorbell_kicks = 0;
		test_vm_kick(&f.vm, i);
		assert_int_equal(f.vm.queues[i].doorbell_kicks, 1);
		assert_int_equal(doorbell_word(i), i);
	}
	fixture_close(&f);
}

/* QEMU reads neither channel while it waits; an offer inside a request would hang both. */
static void
a_deaf_frontend_is_not_waited_for(void **state)
{
	const struct test_vm_options options = {.deaf_while_waiting = true, .need_reply_always = true};
	struct rp_port_config config = fixture_config();
	struct fixture f;
	int i;

	(void)state;
	fixture_begin(&f);
	fixture_open_with(&f, &config, &options);
	for (i = 0; i < 20; i++) {
		test_vm_queue_start(&f.vm, 0, 0);
		usleep(3000); /* sometimes an offer is under way, sometimes not */
		test_vm_queue_stop(&f.vm, 0);
	}
	test_vm_queue_start(&f.vm, 0, 0);
	assert_true(test_vm_wait_doorbell(&f.vm, 0, true, LIMIT_MS));
	fixture_close(&f);
}

static bool
is_pending(struct fixture *f)
{
	return test_port_queue(&f->port, 0).doorbell == RP_PORT_DOORBELL_PENDING;
}

static bool
was_mapped_twice(struct fixture *f)
{
	return f->vm.maps == 2;
}

/* Ring 0 is started again while an offer of before is not answered. */
static void
open_with_a_stale_offer(struct fixture *f)
{
	const struct test_vm_options options = {.deaf_while_waiting = true};
	struct rp_port_config config = fixture_config();
	int i;

	fixture_begin(f);
	fixture_open_with(f, &config, &options);
	test_vm_queue_start(&f->vm, 0, 0);
	for (i = 0; i < LIMIT_MS && !is_pending(f); i++)
		usleep(1000);
	assert_true(is_pending(f));
	test_vm_queue_stop(&f->vm, 0);
	test_vm_queue_start(&f->vm, 0, 0);
}

/* An offer that crosses GET_VRING_BASE says nothing: it is taken back and made again. */
static void
a_stale_answer_is_not_believed(void **state)
{
	struct fixture f;

	(void)state;
	open_with_a_stale_offer(&f);
	assert_true(fixture_becomes(&f, was_mapped_twice));
	assert_int_equal(f.vm.unmaps, 1);
	assert_true(test_port_wait_mode(&f.port, 0, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
	assert_int_equal(test_port_queue(&f.port, 0).doorbell_maps, 1);
	fixture_close(&f);
}

static unsigned int clears_to_refuse; /* atomic */

int __real_rp_vhu_backend_notify_area_clear(struct rp_vhu_backend *backend, unsigned int queue, uint64_t token,
					    struct rp_wire_why *why);
int __wrap_rp_vhu_backend_notify_area_clear(struct rp_vhu_backend *backend, unsigned int queue, uint64_t token,
					    struct rp_wire_why *why);

int
__wrap_rp_vhu_backend_notify_area_clear(struct rp_vhu_backend *backend, unsigned int queue, uint64_t token,
					struct rp_wire_why *why)
{
	unsigned int left = __atomic_load_n(&clears_to_refuse, __ATOMIC_ACQUIRE);

	if (left == 0)
		return __real_rp_vhu_backend_notify_area_clear(backend, queue, token, why);
	__atomic_store_n(&clears_to_refuse, left - 1, __ATOMIC_RELEASE);
	return rp_wire_why_set(why, -ENOSPC, "the frontend does not read its channel");
}

static bool
no_clear_is_refused(struct fixture *f)
{
	(void)f;
	return __atomic_load_n(&clears_to_refuse, __ATOMIC_ACQUIRE) == 0;
}

/* Nothing can be sent when the answer comes: it is taken back later, and then offered again. */
static void
a_stale_answer_while_nothing_can_be_sent(void **state)
{
	struct fixture f;

	(void)state;
	open_with_a_stale_offer(&f);
	__atomic_store_n(&clears_to_refuse, 3, __ATOMIC_RELEASE);
	assert_true(fixture_becomes(&f, no_clear_is_refused));
	assert_true(fixture_becomes(&f, was_mapped_twice));
	assert_int_equal(f.vm.unmaps, 1);
	assert_true(test_port_wait_mode(&f.port, 0, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
	assert_int_equal(test_port_queue(&f.port, 0).doorbell_maps, 1);
	fixture_close(&f);
}

/* Nor before the guest stops its ring again, or the frontend leaves. */
static void
a_stale_answer_and_the_end(void **state)
{
	struct rp_port_config config = fixture_config();
	struct fixture f;
	int i;

	(void)state;
	open_with_a_stale_offer(&f);
	__atomic_store_n(&clears_to_refuse, UINT_MAX, __ATOMIC_RELEASE);
	while (__atomic_load_n(&clears_to_refuse, __ATOMIC_ACQUIRE) > UINT_MAX - 3) {
		rp_vhu_frontend_process(f.vm.frontend);
		usleep(1000);
	}
	test_vm_queue_stop(&f.vm, 0);
	assert_true(is_pending(&f));
	test_vm_close(&f.vm);
	__atomic_store_n(&clears_to_refuse, 0, __ATOMIC_RELEASE);
	for (i = 0; i < LIMIT_MS && is_pending(&f); i++)
		usleep(1000);
	test_vm_open(&f.vm, config.socket_path, 4, 64, NULL);
	test_vm_queue_start(&f.vm, 0, 0);
	assert_true(test_vm_wait_doorbell(&f.vm, 0, true, LIMIT_MS));
	assert_true(test_port_wait_mode(&f.port, 0, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
	assert_int_equal(f.vm.unmaps, 0);
	fixture_close(&f);
}

static void
offered_again_after_every_start(void **state)
{
	struct fixture f;
	unsigned int i;

	(void)state;
	fixture_open(&f);
	for (i = 1; i <= 3; i++) {
		test_vm_queue_start(&f.vm, 1, 0);
		assert_true(test_vm_wait_doorbell(&f.vm, 1, true, LIMIT_MS));
		assert_true(test_port_wait_mode(&f.port, 1, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
		assert_int_equal(test_port_queue(&f.port, 1).doorbell_maps, i);
		test_vm_queue_stop(&f.vm, 1);
		assert_null(rp_vhu_frontend_notify_map(f.vm.frontend, 1).address);
	}
	fixture_close(&f);
}

static void
relays_with_reason(const struct rp_port_config *config, const struct test_vm_options *options, const char *reason)
{
	struct fixture f;
	struct rp_port_queue_info info;

	test_socket_path();
	test_leaks_read(&f.leaks);
	f.leaks.fds_count--; /* the fake's doorbell file is open already */
	fixture_open_with(&f, config, options);
	test_vm_queue_start(&f.vm, 3, 0);
	assert_false(test_vm_wait_doorbell(&f.vm, 3, true, 60));
	info = test_port_queue(&f.port, 3);
	assert_int_equal(info.mode, RP_PORT_QUEUE_RELAYED);
	if (strstr(info.reason, reason) == NULL)
		fail_msg("reason is '%s', expected '%s' in it", info.reason, reason);
	assert_int_equal(test_port_events(&f.port, "doorbell-refused"), 1);
	/* Traffic flows all the same. */
	test_vm_kick(&f.vm, 3);
	while (test_port_queue(&f.port, 3).relayed_kicks == 0)
		usleep(500);
	fixture_close(&f);
}

static void
frontend_without_pages_per_queue(void **state)
{
	const struct test_vm_options options = {.notify_slot_bytes = 2 * 4096};
	struct rp_port_config config = fixture_config();

	(void)state;
	fake_accel_setup();
	relays_with_reason(&config, &options, "page-per-vq");
}

static void
frontend_without_host_notifier(void **state)
{
	const struct test_vm_options options = {.protocol_features = ALL_BUT(RP_VHU_PF_HOST_NOTIFIER_BIT)};
	struct rp_port_config config = fixture_config();

	(void)state;
	fake_accel_setup();
	relays_with_reason(&config, &options, "HOST_NOTIFIER");
}

static void
frontend_without_acknowledgements(void **state)
{
	const struct test_vm_options options = {.protocol_features = ALL_BUT(RP_VHU_PF_REPLY_ACK_BIT)};
	struct rp_port_config config = fixture_config();

	(void)state;
	fake_accel_setup();
	relays_with_reason(&config, &options, "REPLY_ACK");
}

static void
device_without_a_page_to_give(void **state)
{
	struct rp_port_config config = fixture_config();

	(void)state;
	fake_accel_setup();
	FAKE_SET(no_notify_area, true);
	relays_with_reason(&config, NULL, "doorbell page is shared by 4 queues");
}

/* Two devices of four queues: guest queue 5 is queue 1 of the second, and the guest stores 5. */
static void
device_that_reads_the_value(void **state)
{
	static const char *const two[] = {"fake", "fake"};
	struct rp_port_config config = fixture_config();
	struct fixture f;

	(void)state;
	config.accelerators = two;
	config.accelerators_count = 2;
	config.queue_pairs = 4;
	fixture_begin(&f);
	FAKE_SET(notify_by_value, true);
	test_port_open(&f.port, &config, &fake_accel_registry);
	test_vm_open(&f.vm, config.socket_path, 8, 64, NULL);
	test_vm_queue_start(&f.vm, 0, 0);
	test_vm_queue_start(&f.vm, 5, 0);
	assert_true(test_vm_wait_doorbell(&f.vm, 0, true, LIMIT_MS)); /* same number on both sides */
	assert_false(test_vm_wait_doorbell(&f.vm, 5, true, 50));
	assert_non_null(strstr(test_port_queue(&f.port, 5).reason, "by value"));
	fixture_close(&f);
}

static void
taken_back_without_waiting(void **state)
{
	struct fixture f;
	unsigned int kicks;

	(void)state;
	fixture_open(&f);
	test_vm_queue_start(&f.vm, 1, 0);
	assert_true(test_vm_wait_doorbell(&f.vm, 1, true, LIMIT_MS));
	assert_true(test_port_wait_mode(&f.port, 1, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
	/* Returns although nobody serves the frontend's end now. */
	assert_int_equal(test_port_disable(&f.port, 1), 0);
	assert_int_equal(test_port_queue(&f.port, 1).doorbell, RP_PORT_DOORBELL_REVOKING);
	assert_int_equal(test_port_enable(&f.port, 1), 0);
	kicks = fake_now().queues[1].kicks;
	assert_true(fixture_becomes(&f, was_mapped_twice));
	assert_int_equal(f.vm.unmaps, 1);
	/* A store may have fallen on the unwatched page: the new owner was kicked at the answer. */
	assert_true(fake_now().queues[1].kicks > kicks);
	fixture_close(&f);
}

static void
policy_changes_at_once(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f);
	test_vm_queue_start(&f.vm, 0, 0);
	assert_true(test_vm_wait_doorbell(&f.vm, 0, true, LIMIT_MS));
	assert_true(test_port_wait_mode(&f.port, 0, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
	test_port_doorbell(&f.port, 0, RP_PORT_DOORBELL_RELAY);
	assert_true(test_vm_wait_doorbell(&f.vm, 0, false, LIMIT_MS));
	assert_true(test_port_wait_mode(&f.port, 0, RP_PORT_QUEUE_RELAYED, LIMIT_MS));
	assert_false(test_vm_wait_doorbell(&f.vm, 0, true, 30));
	assert_string_equal(test_port_queue(&f.port, 0).reason, "relay is the user's choice");
	assert_int_equal(fake_now().queues[0].stops, 0);
	test_port_doorbell(&f.port, 0, RP_PORT_DOORBELL_AUTO);
	assert_true(test_vm_wait_doorbell(&f.vm, 0, true, LIMIT_MS));
	fixture_close(&f);
}

/*
 * A master of 2018 keeps a doorbell over a stop and shows it at the next start, before it
 * says so: whoever serves the ring then has to know that it does not come from him.
 */
static void
taken_back_at_a_stop_from_a_master_of_2018(void **state)
{
	const struct test_vm_options options = {.profile = RP_VHU_PROFILE_VFIO2018};
	struct rp_port_config config = fixture_config();
	struct fixture f;

	(void)state;
	config.profile = RP_VHU_PROFILE_VFIO2018;
	fixture_begin(&f);
	fixture_open_with(&f, &config, &options);
	test_vm_queue_start(&f.vm, 0, 0);
	assert_true(test_vm_wait_doorbell(&f.vm, 0, true, LIMIT_MS));
	assert_true(test_port_wait_mode(&f.port, 0, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
	test_vm_queue_stop(&f.vm, 0);
	test_port_doorbell(&f.port, 0, RP_PORT_DOORBELL_RELAY);
	test_vm_queue_start(&f.vm, 0, 0);
	assert_true(test_vm_wait_doorbell(&f.vm, 0, false, LIMIT_MS));
	assert_true(test_port_wait_mode(&f.port, 0, RP_PORT_QUEUE_RELAYED, LIMIT_MS));
	f.vm.queues[0].doorbell_kicks = 0;
	test_vm_kick(&f.vm, 0);
	assert_int_equal(f.vm.queues[0].doorbell_kicks, 0);
	/* And it comes again when it may. */
	test_port_doorbell(&f.port, 0, RP_PORT_DOORBELL_AUTO);
	assert_true(test_vm_wait_doorbell(&f.vm, 0, true, LIMIT_MS));
	fixture_close(&f);
}

#define DELAY_MS 20
#define DOUBLINGS 4
#define RESTARTS 12 /* doubled so often, the delay would be longer than LIMIT_MS */

static void
open_with_delay(struct fixture *f, uint32_t delay_max_ms)
{
	struct rp_port_config config = fixture_config();

	config.doorbell_delay_ms = DELAY_MS;
	config.doorbell_delay_max_ms = delay_max_ms;
	fixture_begin(f);
	fixture_open_with(f, &config, NULL);
}

/* Start queue 0, wait until it is direct, keep it so long, stop it. How long all that took. */
static uint64_t
restart(struct fixture *f, unsigned int keep_ms)
{
	uint64_t begun_ms = rp_wire_clock_ms();

	test_vm_queue_start(&f->vm, 0, 0);
	assert_true(test_vm_wait_doorbell(&f->vm, 0, true, LIMIT_MS));
	assert_true(test_port_wait_mode(&f->port, 0, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
	usleep(keep_ms * 1000);
	test_vm_queue_stop(&f->vm, 0);
	return rp_wire_clock_ms() - begun_ms;
}

/* False when this machine was too busy to say whether the guest was quick. */
static bool
waits_doubled(struct fixture *f)
{
	uint64_t delay_ms = DELAY_MS;
	unsigned int i;

	for (i = 0; i < DOUBLINGS; i++, delay_ms *= 2) {
		uint64_t took_ms = restart(f, 0);

		assert_true(took_ms + 1 >= delay_ms); /* clocks are cut to milliseconds */
		if (took_ms >= 2 * delay_ms)
			return false;
	}
	return true;
}

static void
a_guest_that_drops_it_at_once_waits_longer(void **state)
{
	bool conclusive = false;
	struct fixture f;
	int i;

	(void)state;
	for (i = 0; i < 100 && !conclusive; i++) {
		open_with_delay(&f, 60000);
		conclusive = waits_doubled(&f);
		fixture_close(&f);
	}
	assert_true(conclusive);
}

static void
a_guest_that_keeps_it_does_not_wait_longer(void **state)
{
	struct fixture f;
	int i;

	(void)state;
	open_with_delay(&f, 60000);
	for (i = 0; i < RESTARTS; i++)
		restart(&f, DELAY_MS + 5);
	assert_int_equal(test_port_queue(&f.port, 0).doorbell_maps, RESTARTS);
	fixture_close(&f);
}

/* Once it has kept the doorbell as long as it waited for it, it waits less the next time. */
static void
a_guest_is_forgiven(void **state)
{
	struct fixture f;
	int i;

	(void)state;
	open_with_delay(&f, 60000);
	for (i = 0; i < RESTARTS; i++) {
		restart(&f, 0);
		restart(&f, 2 * DELAY_MS + 5);
	}
	assert_int_equal(test_port_queue(&f.port, 0).doorbell_maps, 2 * RESTARTS);
	fixture_close(&f);
}

static void
the_wait_has_a_limit(void **state)
{
	struct fixture f;
	int i;

	(void)state;
	open_with_delay(&f, DELAY_MS);
	for (i = 0; i < RESTARTS; i++)
		restart(&f, 0);
	assert_int_equal(test_port_queue(&f.port, 0).doorbell_maps, RESTARTS);
	fixture_close(&f);
}

static void *
serve_frontend(void *ctx)
{
	struct fixture *f = ctx;

	test_vm_wait_doorbell(&f->vm, 0, false, LIMIT_MS);
	return NULL;
}

/* The page dies with the device: the guest's mapping must be gone before. */
static void
revoked_before_the_port_ends(void **state)
{
	struct fixture f;
	pthread_t thread;

	(void)state;
	fixture_open(&f);
	test_vm_queue_start(&f.vm, 0, 0);
	assert_true(test_vm_wait_doorbell(&f.vm, 0, true, LIMIT_MS));
	assert_true(test_port_wait_mode(&f.port, 0, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
	assert_int_equal(pthread_create(&thread, NULL, serve_frontend, &f), 0);
	test_port_close(&f.port);
	pthread_join(thread, NULL);
	assert_null(rp_vhu_frontend_notify_map(f.vm.frontend, 0).address);
	assert_int_equal(f.vm.unmaps, 1);
	test_vm_close(&f.vm);
	fake_accel_teardown();
	test_leaks_assert_none(&f.leaks);
}

/* Two ports, one file of doorbells, two guests: the second one's kicks are relayed until the first is gone. */
static void
a_file_that_another_guest_has_is_not_offered(void **state)
{
	struct rp_port_config config = fixture_config();
	struct rp_wire_why why;
	struct fixture f;
	pid_t other;

	(void)state;
	fixture_begin(&f);
	other = fork();
	if (other == 0) {
		pause();
		_exit(0);
	}
	assert_true(other > 0);
	assert_int_equal(rp_port_files_create(&config.files), 0);
	fixture_open_with(&f, &config, NULL);
	assert_int_equal(port_files_claim(config.files, &other, "vm7", other, fake_now().doorbell_fd, &why), 0);
	test_vm_start_all(&f.vm);
	while (test_port_queue(&f.port, 0).doorbell_maps == 0 && test_port_events(&f.port, "doorbell-refused") == 0)
		usleep(1000);
	assert_int_equal(test_port_queue(&f.port, 0).mode, RP_PORT_QUEUE_RELAYED);
	assert_non_null(strstr(test_port_queue(&f.port, 0).reason, "the guest of port vm7"));
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	test_vm_queue_stop(&f.vm, 0);
	test_vm_queue_start(&f.vm, 0, 0);
	assert_true(test_vm_wait_doorbell(&f.vm, 0, true, LIMIT_MS));
	assert_true(test_port_wait_mode(&f.port, 0, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
	test_vm_close(&f.vm);
	test_port_close(&f.port);
	rp_port_files_destroy(config.files);
	fake_accel_teardown();
	test_leaks_assert_none(&f.leaks);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_store_reaches_the_device),
		cmocka_unit_test(a_deaf_frontend_is_not_waited_for),
		cmocka_unit_test(a_file_that_another_guest_has_is_not_offered),
		cmocka_unit_test(a_stale_answer_is_not_believed),
		cmocka_unit_test(a_stale_answer_while_nothing_can_be_sent),
		cmocka_unit_test(a_stale_answer_and_the_end),
		cmocka_unit_test(offered_again_after_every_start),
		cmocka_unit_test(frontend_without_pages_per_queue),
		cmocka_unit_test(frontend_without_host_notifier),
		cmocka_unit_test(frontend_without_acknowledgements),
		cmocka_unit_test(device_without_a_page_to_give),
		cmocka_unit_test(device_that_reads_the_value),
		cmocka_unit_test(taken_back_without_waiting),
		cmocka_unit_test(policy_changes_at_once),
		cmocka_unit_test(taken_back_at_a_stop_from_a_master_of_2018),
		cmocka_unit_test(a_guest_that_drops_it_at_once_waits_longer),
		cmocka_unit_test(a_guest_that_keeps_it_does_not_wait_longer),
		cmocka_unit_test(a_guest_is_forgiven),
		cmocka_unit_test(the_wait_has_a_limit),
		cmocka_unit_test(revoked_before_the_port_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
