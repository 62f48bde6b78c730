/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>

#include "software_fixture.h"

static bool
is_ready(const struct fake_backend *fake)
{
	return fake->device_ready;
}

static bool
first_pair_is_disabled(const struct fake_backend *fake)
{
	return !fake->rings[0].enabled && !fake->rings[1].enabled;
}

static void
serve_pair(struct software_fixture *f, unsigned int rx)
{
	if (small_port_serve(&f->small, rx) < 0 || small_port_serve(&f->small, rx + 1) < 0)
		fail_msg("serve: %s", f->small.why.text);
}

/* Transmit first, then what was under way, then receive. */
static void
take_pair(struct software_fixture *f, unsigned int rx)
{
	bool whole = (f->vm.features & TEST_VM_PACKED) != 0 && fake_backend_now().kind == FAKE_BACKEND_LIBRTE_VHOST;

	if (whole) {
		if (small_port_take(&f->small, rx, 2) < 0)
			fail_msg("take: %s", f->small.why.text);
		return;
	}
	if (small_port_take(&f->small, rx + 1, 1) < 0 || small_port_take(&f->small, rx, 1) < 0)
		fail_msg("take: %s", f->small.why.text);
}

/* A ring of the guest's: a parked one lies elsewhere. */
static bool
touches_guest(const struct software_fixture *f, unsigned int ring)
{
	struct fake_backend fake = fake_backend_now();

	return fake.rings[ring].serving &&
	       fake.rings[ring].desc_uva - (uint64_t)(uintptr_t)f->vm.memory < f->vm.memory_bytes;
}

static void
move_both_ways(enum fake_backend_kind kind, uint64_t ring_features)
{
	struct software_fixture f;
	unsigned int round;

	software_open(&f, kind, ring_features);
	software_start(&f, 2);
	for (round = 0; round < 20; round++) {
		serve_pair(&f, 0);
		assert_int_equal(small_port_ring(&f.small, 1), PORT_SOFTWARE_RING_SERVES);
		assert_true(touches_guest(&f, 1));
		assert_true(software_traffic(&f, 0, 20 + round * 7));
		take_pair(&f, 0);
		assert_int_not_equal(small_port_ring(&f.small, 0), PORT_SOFTWARE_RING_SERVES);
		assert_int_not_equal(small_port_ring(&f.small, 1), PORT_SOFTWARE_RING_SERVES);
		assert_false(touches_guest(&f, 0));
		assert_false(touches_guest(&f, 1));
		assert_int_equal(fake_backend_now().rings[0].stopped_enabled, 0);
	}
	software_close(&f);
}

static void
moves_split_librte(void **state)
{
	(void)state;
	move_both_ways(FAKE_BACKEND_LIBRTE_VHOST, 0);
}

static void
moves_packed_librte(void **state)
{
	(void)state;
	move_both_ways(FAKE_BACKEND_LIBRTE_VHOST, TEST_VM_PACKED);
}

static void
moves_split_specification(void **state)
{
	(void)state;
	move_both_ways(FAKE_BACKEND_SPECIFICATION, 0);
}

static void
moves_packed_specification(void **state)
{
	(void)state;
	move_both_ways(FAKE_BACKEND_SPECIFICATION, TEST_VM_PACKED);
}

/* What is sent while nobody has the ring waits there: it is not the backend's to discard, or to read. */
static void
leave_alone(enum fake_backend_kind kind, uint64_t ring_features)
{
	struct software_fixture f;
	uint64_t kicks = 0;

	software_open(&f, kind, ring_features);
	software_start(&f, 2);
	serve_pair(&f, 0);
	assert_true(software_traffic(&f, 0, 10));
	take_pair(&f, 0);
	while (read(f.vm.queues[1].kick_fd, &kicks, sizeof(kicks)) == sizeof(kicks))
		;
	software_send(&f, 0, 10);
	test_vm_kick(&f.vm, 1);
	usleep(QUIET_MS * 1000);
	software_receive(&f, 0);
	assert_int_equal(f.received, 10);
	assert_int_equal(fake_backend_now().rings[1].discarded, 0);
	/* The guest's kick is still there for the owner. */
	assert_int_equal(read(f.vm.queues[1].kick_fd, &kicks, sizeof(kicks)), sizeof(kicks));
	serve_pair(&f, 0);
	assert_true(software_all_back(&f, 0));
	software_close(&f);
}

static void
left_alone(void **state)
{
	(void)state;
	leave_alone(FAKE_BACKEND_LIBRTE_VHOST, 0);
	leave_alone(FAKE_BACKEND_LIBRTE_VHOST, TEST_VM_PACKED);
	leave_alone(FAKE_BACKEND_SPECIFICATION, 0);
	leave_alone(FAKE_BACKEND_SPECIFICATION, TEST_VM_PACKED);
}

/* Hardware first: the device is ready all the same, nothing is sent into what it does not serve, and each ring can be given alone. */
static void
ready_before_it_serves(void **state)
{
	struct software_fixture f;
	struct fake_backend fake;
	struct rp_wire_why why;
	unsigned int i;

	(void)state;
	software_open(&f, FAKE_BACKEND_LIBRTE_VHOST, 0);
	/* As QEMU does, long before it starts them: so that all are counted. */
	for (i = 0; i < RINGS; i++)
		assert_int_equal(rp_vhu_frontend_ring_call(f.vm.frontend, i, f.vm.queues[i].call_fd, &why), 0);
	software_start(&f, RINGS);
	assert_true(software_wait(is_ready));
	assert_true(small_port_wait_ring(&f.small, 3, PORT_SOFTWARE_RING_PARKED, LIMIT_MS));
	fake = fake_backend_now();
	assert_int_equal(fake.ready_count, 1);
	assert_int_equal(fake.rings_at_ready, RINGS);
	/* The application goes round rings that are disabled. */
	assert_true(software_wait(first_pair_is_disabled));
	assert_true(fake_backend_now().device_ready);
	software_send(&f, 0, 5);
	assert_int_equal(small_port_serve(&f.small, 1), 0);
	usleep(QUIET_MS * 1000);
	fake = fake_backend_now();
	assert_true(fake.rings[1].serving);
	assert_false(fake.rings[0].serving);
	assert_int_equal(fake.dropped, 5); /* no receive ring has an owner that knows of it */
	f.received = 5;
	assert_int_equal(small_port_serve(&f.small, 0), 0);
	assert_true(software_traffic(&f, 0, 5));
	take_pair(&f, 0);
	assert_true(software_wait(first_pair_is_disabled));
	serve_pair(&f, 0);
	assert_int_equal(fake_backend_now().ready_count, 1);
	software_close(&f);
}

/* A ring of the first pair that the guest has not enabled is not made to look so. */
static void
not_ready_without_the_guest(void **state)
{
	struct software_fixture f;
	struct rp_wire_why why;

	(void)state;
	software_open(&f, FAKE_BACKEND_LIBRTE_VHOST, 0);
	assert_int_equal(test_vm_queue_try_start(&f.vm, 0, 0, &why), 0);
	assert_int_equal(test_vm_queue_try_start(&f.vm, 1, 0, &why), 0);
	assert_true(small_port_wait_ring(&f.small, 1, PORT_SOFTWARE_RING_PARKED, LIMIT_MS));
	usleep(QUIET_MS * 1000);
	assert_int_equal(fake_backend_now().ready_count, 0);
	assert_int_equal(rp_vhu_frontend_ring_enable(f.vm.frontend, 0, true, &why), 0);
	assert_int_equal(rp_vhu_frontend_ring_enable(f.vm.frontend, 1, true, &why), 0);
	assert_true(software_wait(is_ready));
	software_close(&f);
}

/* One that keeps to the text hears nothing of a ring that it does not serve. */
static void
told_nothing(void **state)
{
	struct software_fixture f;
	unsigned int i;

	(void)state;
	software_open(&f, FAKE_BACKEND_SPECIFICATION, 0);
	software_start(&f, RINGS);
	assert_int_equal(small_port_serve(&f.small, 2), 0);
	assert_int_equal(small_port_serve(&f.small, 3), 0);
	assert_true(software_traffic(&f, 2, 5));
	for (i = 0; i < 2; i++) {
		assert_false(fake_backend_now().rings[i].mentioned);
		assert_int_equal(small_port_ring(&f.small, i), PORT_SOFTWARE_RING_NONE);
	}
	assert_int_equal(fake_backend_now().regions_count, 1);
	software_close(&f);
}

/* The order matters: BASE before the ring may be touched, ENABLE last. */
static void
in_this_order(void **state)
{
	struct software_fixture f;
	int from, base, addr, kick, call, enable;

	(void)state;
	software_open(&f, FAKE_BACKEND_LIBRTE_VHOST, 0);
	software_start(&f, 2);
	serve_pair(&f, 0);
	assert_true(software_traffic(&f, 0, 3));
	take_pair(&f, 0);
	from = (int)fake_backend_now().history_count;
	assert_int_equal(small_port_serve(&f.small, 0), 0);
	base = fake_backend_find((unsigned int)from, RP_VHU_SET_VRING_BASE, 0);
	/* The parked ring's may still have been under way. */
	base = fake_backend_find((unsigned int)base, RP_VHU_SET_VRING_BASE, 0);
	addr = fake_backend_find((unsigned int)base, RP_VHU_SET_VRING_ADDR, 0);
	kick = fake_backend_find((unsigned int)base, RP_VHU_SET_VRING_KICK, 0);
	call = fake_backend_find((unsigned int)base, RP_VHU_SET_VRING_CALL, 0);
	enable = fake_backend_find((unsigned int)base, RP_VHU_SET_VRING_ENABLE, 0);
	assert_true(base >= 0 && addr > base && kick > addr && call > kick && enable > call);
	assert_int_equal(fake_backend_now().rings[0].base, 3);
	software_close(&f);
}

/* Of several packed rings those that are not meant go on. */
static void
packed_others_go_on(void **state)
{
	struct software_fixture f;

	(void)state;
	software_open(&f, FAKE_BACKEND_LIBRTE_VHOST, TEST_VM_PACKED);
	software_start(&f, RINGS);
	serve_pair(&f, 0);
	serve_pair(&f, 2);
	assert_true(software_traffic(&f, 2, 50));
	assert_int_equal(small_port_take(&f.small, 0, 2), 0);
	assert_int_equal(small_port_ring(&f.small, 2), PORT_SOFTWARE_RING_SERVES);
	assert_int_equal(small_port_ring(&f.small, 0), PORT_SOFTWARE_RING_PARKED);
	assert_true(software_traffic(&f, 2, 50));
	assert_int_equal(small_port_take(&f.small, 2, 2), 0);
	serve_pair(&f, 0);
	f.sent = f.received = 0;
	assert_true(software_traffic(&f, 0, 5));
	software_close(&f);
}

/* Both verbs are idempotent. */
static void
asked_twice(void **state)
{
	struct software_fixture f;

	(void)state;
	software_open(&f, FAKE_BACKEND_SPECIFICATION, 0);
	software_start(&f, 2);
	serve_pair(&f, 0);
	serve_pair(&f, 0);
	assert_int_equal(fake_backend_now().rings[0].bases_told, 1);
	assert_true(software_traffic(&f, 0, 5));
	take_pair(&f, 0);
	take_pair(&f, 0);
	assert_int_equal(fake_backend_asked(RP_VHU_GET_VRING_BASE), 2);
	software_close(&f);
}

static void
no_such_ring(void **state)
{
	struct software_fixture f;
	struct rp_port_software_config config;

	(void)state;
	software_begin(&f, FAKE_BACKEND_SPECIFICATION);
	FAKE_BACKEND_SET(queues, (uint64_t)1);
	fake_backend_start();
	config = software_config(&f);
	software_open_port(&f, &config);
	software_open_vm(&f, 0);
	software_start(&f, RINGS);
	assert_int_equal(small_port_serve(&f.small, 2), -ENOTSUP);
	assert_non_null(strstr(f.small.why.text, "has 2"));
	serve_pair(&f, 0);
	software_close(&f);
}

/* An answer that is no place in the ring: the used index holds. */
static void
hostile_position_split(void **state)
{
	static const uint32_t lies[] = {7000, 0x10000, UINT32_MAX};
	struct software_fixture f;
	unsigned int i;

	(void)state;
	software_open(&f, FAKE_BACKEND_SPECIFICATION, 0);
	software_start(&f, 2);
	for (i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		serve_pair(&f, 0);
		assert_true(software_traffic(&f, 0, 5));
		FAKE_BACKEND_SET(lie_base, lies[i]);
		FAKE_BACKEND_SET(lies, true);
		take_pair(&f, 0);
		FAKE_BACKEND_SET(lies, false);
		assert_int_equal(small_port_position(&f.small, 1), f.received);
		assert_int_equal(small_port_events(&f.small, "software-position"), 2 * (i + 1));
	}
	software_close(&f);
}

/* A packed ring shows it nowhere: then nobody knows. */
static void
hostile_position_packed(void **state)
{
	struct software_fixture f;

	(void)state;
	software_open(&f, FAKE_BACKEND_SPECIFICATION, TEST_VM_PACKED);
	software_start(&f, 2);
	serve_pair(&f, 0);
	assert_true(software_traffic(&f, 0, 5));
	FAKE_BACKEND_SET(lie_base, (uint32_t)0x0fff0fff);
	FAKE_BACKEND_SET(lies, true);
	take_pair(&f, 0);
	assert_true(f.small.port.queues[1].position_lost);
	assert_int_equal(small_port_ring(&f.small, 1), PORT_SOFTWARE_RING_NONE);
	assert_int_equal(small_port_serve(&f.small, 1), -ENOTSUP);
	software_close(&f);
}

/* An answer about another ring proves nothing: the ring stays with it, until it comes back. */
static void
hostile_index(void **state)
{
	struct software_fixture f;

	(void)state;
	software_open(&f, FAKE_BACKEND_SPECIFICATION, 0);
	software_start(&f, 2);
	serve_pair(&f, 0);
	FAKE_BACKEND_SET(lie_index, (uint32_t)1);
	FAKE_BACKEND_SET(lies, true);
	assert_int_equal(small_port_take(&f.small, 1, 1), -EIO);
	assert_true(small_port_wait_ring(&f.small, 1, PORT_SOFTWARE_RING_NONE, LIMIT_MS));
	assert_true(small_port_wait_usable(&f.small, true, LIMIT_MS));
	FAKE_BACKEND_SET(lies, false);
	serve_pair(&f, 0);
	assert_true(software_traffic(&f, 0, 5));
	software_close(&f);
}

/* One that refused may be disconnected by now, or soon. */
static void
serve_pair_at_last(struct software_fixture *f)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + LIMIT_MS;

	while (small_port_serve(&f->small, 0) < 0 || small_port_serve(&f->small, 1) < 0) {
		assert_true(rp_wire_clock_ms() < deadline_ms);
		usleep(500);
	}
}

/* Refused at each message of a start: it does not serve the ring, and the next try can succeed. */
static void
refuse_each(enum fake_backend_kind kind)
{
	static const uint32_t requests[] = {RP_VHU_SET_VRING_NUM,  RP_VHU_SET_VRING_BASE, RP_VHU_SET_VRING_ADDR,
					    RP_VHU_SET_VRING_KICK, RP_VHU_SET_VRING_CALL, RP_VHU_SET_VRING_ENABLE};
	struct software_fixture f;
	unsigned int i;

	software_open(&f, kind, 0);
	software_start(&f, 2);
	serve_pair(&f, 0);
	assert_true(software_traffic(&f, 0, 5));
	for (i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		take_pair(&f, 0);
		FAKE_BACKEND_SET(refuse, requests[i]);
		assert_true(small_port_serve(&f.small, 1) < 0);
		FAKE_BACKEND_SET(refuse, (uint32_t)0);
		assert_int_not_equal(small_port_ring(&f.small, 1), PORT_SOFTWARE_RING_SERVES);
		if (small_port_ring(&f.small, 1) != PORT_SOFTWARE_RING_UNPROVEN)
			assert_false(touches_guest(&f, 1));
		serve_pair_at_last(&f);
		assert_true(software_traffic(&f, 0, 5));
	}
	software_close(&f);
}

static void
refused_at_each(void **state)
{
	(void)state;
	refuse_each(FAKE_BACKEND_LIBRTE_VHOST);
	refuse_each(FAKE_BACKEND_SPECIFICATION);
}

/* A poller's "no kicks" is not left in the ring for the next owner, and is there again when it comes back. */
static void
used_flags(void **state)
{
	const struct test_vm_options options = {.features_mask = ~(1ull << 29)};
	struct rp_port_software_config config;
	struct rp_vring_layout layout;
	struct software_fixture f;
	const uint16_t *flags;

	(void)state;
	software_begin(&f, FAKE_BACKEND_LIBRTE_VHOST);
	FAKE_BACKEND_SET(polls, true);
	fake_backend_start();
	config = software_config(&f);
	software_open_port(&f, &config);
	test_vm_open(&f.vm, test_socket_path(), RINGS, 64, &options);
	software_start(&f, 2);
	serve_pair(&f, 0);
	assert_true(software_traffic(&f, 0, 5));
	rp_vring_drv_layout(f.vm.queues[1].ring, &layout);
	flags = (const uint16_t *)(f.vm.memory + (layout.used_iova - TEST_VM_GPA));
	assert_int_equal(le16toh(*flags), 1);
	take_pair(&f, 0);
	assert_int_equal(le16toh(*flags), 0);
	FAKE_BACKEND_SET(polls, false);
	FAKE_BACKEND_SET(paused, true);
	serve_pair(&f, 0);
	software_close(&f);
}

/* The guest's eventfds are swapped while it serves. */
static void
swapped_eventfds(void **state)
{
	struct software_fixture f;
	struct rp_wire_why why;
	int old;

	(void)state;
	software_open(&f, FAKE_BACKEND_LIBRTE_VHOST, 0);
	software_set_serves(&f, true);
	software_start(&f, 2);
	assert_true(software_traffic(&f, 0, 5));
	old = f.vm.queues[0].call_fd;
	f.vm.queues[0].call_fd = dup(f.vm.queues[1].kick_fd); /* any other eventfd */
	assert_int_equal(rp_vhu_frontend_ring_call(f.vm.frontend, 0, f.vm.queues[0].call_fd, &why), 0);
	assert_true(fake_backend_asked(RP_VHU_SET_VRING_CALL) >= 3);
	close(f.vm.queues[0].call_fd);
	f.vm.queues[0].call_fd = old;
	assert_int_equal(rp_vhu_frontend_ring_call(f.vm.frontend, 0, old, &why), 0);
	assert_true(software_traffic(&f, 0, 5));
	software_close(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(moves_split_librte),
		cmocka_unit_test(moves_packed_librte),
		cmocka_unit_test(moves_split_specification),
		cmocka_unit_test(moves_packed_specification),
		cmocka_unit_test(left_alone),
		cmocka_unit_test(ready_before_it_serves),
		cmocka_unit_test(not_ready_without_the_guest),
		cmocka_unit_test(told_nothing),
		cmocka_unit_test(in_this_order),
		cmocka_unit_test(packed_others_go_on),
		cmocka_unit_test(asked_twice),
		cmocka_unit_test(no_such_ring),
		cmocka_unit_test(hostile_position_split),
		cmocka_unit_test(hostile_position_packed),
		cmocka_unit_test(hostile_index),
		cmocka_unit_test(refused_at_each),
		cmocka_unit_test(used_flags),
		cmocka_unit_test(swapped_eventfds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
