/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "moves.h"

/*
 * A migration of a guest whose queues are hardware's, on a port with a software backend
 * that logs what it writes: before SET_FEATURES is answered, all of them are there.
 */

#define LOG_BYTES ((TEST_VM_GPA + 4 * TEST_VM_QUEUE_BYTES) / RP_VHU_LOG_PAGE_BYTES / 8)

static int
set_log(struct traffic *t, bool on, struct rp_wire_why *why)
{
	return rp_vhu_frontend_set_features(t->f.vm.frontend, t->f.vm.features | (on ? TEST_VM_LOG_ALL : 0), why);
}

static void
set_log_base(struct traffic *t)
{
	struct rp_wire_why why;
	int fd = test_memfd(LOG_BYTES, false);

	assert_int_equal(rp_vhu_frontend_set_log_base(t->f.vm.frontend, fd, LOG_BYTES, 0, &why), 0);
	close(fd);
}

static void
to_software_before_the_answer(void **state)
{
	static struct traffic t;
	struct rp_wire_why why = {0};
	size_t i;

	(void)state;
	for (i = 0; i < FORMATS_COUNT; i++) {
		open_moves(&t, formats[i], RP_ACCEL_CLASS_A, RP_PORT_WISH_AUTO);
		start_pair(&t);
		/* QEMU reads no backend channel while it waits: nor does this one, and it has doorbells. */
		assert_true(test_vm_wait_doorbell(&t.f.vm, TX, true, LIMIT_MS));
		send_frames(&t, 50);
		set_log_base(&t);
		assert_int_equal(fake_software_now().log_tellings, 1);
		assert_int_equal(set_log(&t, true, &why), 0);
		expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
		assert_true((fake_software_now().features_told & TEST_VM_LOG_ALL) != 0);
		expect_one_owner(&t.f.port);
		send_frames(&t, 50);
		/* What is wished meanwhile is remembered, and done after it. */
		assert_int_equal(test_port_move(&t.f.port, RX, 2, RP_PORT_WISH_HARDWARE, &why), -ENOTSUP);
		assert_string_equal(why.text,
				    "queue 0: a migration logs what is written, which the software backend does");
		assert_int_equal(set_log(&t, false, &why), 0);
		becomes_owner(&t, RP_PORT_OWNER_HARDWARE);
		assert_true((fake_software_now().features_told & TEST_VM_LOG_ALL) == 0);
		send_frames(&t, 50);
		/* Again: it was given up, and is tried again. */
		assert_int_equal(set_log(&t, true, &why), 0);
		expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
		send_frames(&t, 50);
		all_arrive_once(&t);
		close_traffic(&t);
	}
}

/* The order holds there as well, and the doorbells are asked for before the answer, not waited for. */
static void
in_the_order_of_moves(void **state)
{
	static const char *const order[] = {"\nqueue-stopped 1", "\nqueue-stopped 0", "\nsoftware-started 0",
					    "\nsoftware-started 1"};
	static struct traffic t;
	struct rp_wire_why why = {0};
	size_t at;

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_AUTO);
	start_pair(&t);
	at = log_end(&t.f.port);
	assert_int_equal(set_log(&t, true, &why), 0);
	expect_in_order(&t.f.port, at, order, 4);
	close_traffic(&t);
}

static void
used_rings_are_logged_where_the_frontend_says(void **state)
{
	static struct traffic t;
	struct rp_vhu_frontend_ring ring = {.flags = RP_VHU_VRING_ADDR_LOG_MASK, .log_gpa = TEST_VM_GPA};
	struct rp_vring_layout layout;
	struct rp_wire_why why = {0};
	uint64_t uva;

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_AUTO);
	start_pair(&t);
	assert_int_equal(set_log(&t, true, &why), 0);
	uva = (uint64_t)(uintptr_t)t.f.vm.memory - TEST_VM_GPA;
	rp_vring_drv_layout(t.f.vm.queues[TX].ring, &layout);
	ring.num = layout.num;
	ring.desc_uva = layout.desc_iova + uva;
	ring.avail_uva = layout.avail_iova + uva;
	ring.used_uva = layout.used_iova + uva;
	assert_int_equal(rp_vhu_frontend_ring_addr(t.f.vm.frontend, TX, &ring, &why), 0);
	/* Answered behind it. */
	assert_int_equal(rp_vhu_frontend_ring_enable(t.f.vm.frontend, TX, true, &why), 0);
	assert_int_equal(fake_software_now().ring_logs, 1);
	close_traffic(&t);
}

/* A device that can only stop whole is stopped whole. */
static void
a_device_that_stops_only_whole(void **state)
{
	static struct traffic t;
	struct rp_wire_why why = {0};

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_B, RP_PORT_WISH_AUTO);
	start_pair(&t);
	test_vm_queue_start(&t.f.vm, 2, 0);
	send_frames(&t, 50);
	all_arrive_once(&t);
	FAKE_SET(stop_error, -ENOTSUP);
	/* One pair alone cannot leave. */
	assert_int_equal(move_pair(&t, RP_PORT_WISH_SOFTWARE), -ENOTSUP);
	expect_owner(&t, RP_PORT_OWNER_HARDWARE);
	assert_int_equal(fake_now().resets, 0);
	assert_int_equal(set_log(&t, true, &why), 0);
	expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
	assert_int_equal(owner_of(&t, 2), RP_PORT_OWNER_SOFTWARE);
	assert_int_equal(fake_now().resets, 1);
	send_frames(&t, 50);
	all_arrive_once(&t);
	FAKE_SET(stop_error, 0);
	close_traffic(&t);
}

/* It says no to the feature: then it is shadow mode that logs. */
static void
in_shadow_when_software_does_not_log(void **state)
{
	static struct traffic t;
	struct rp_wire_why why = {0};

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_AUTO);
	start_pair(&t);
	send_frames(&t, 50);
	SOFTWARE_SET(features_error, -EREMOTEIO);
	assert_int_equal(set_log(&t, true, &why), 0);
	expect_mode(&t, RP_PORT_QUEUE_SHADOW, "migration");
	send_frames(&t, 50);
	/* And software, which does not, gets nothing. */
	assert_int_equal(move_pair(&t, RP_PORT_WISH_SOFTWARE), -ENOTSUP);
	expect_mode(&t, RP_PORT_QUEUE_SHADOW, "migration");
	SOFTWARE_SET(features_error, 0);
	assert_int_equal(move_pair(&t, RP_PORT_WISH_AUTO), 0);
	assert_int_equal(set_log(&t, false, &why), 0);
	becomes_owner(&t, RP_PORT_OWNER_HARDWARE);
	send_frames(&t, 50);
	/* Asked again, it agrees. */
	assert_int_equal(set_log(&t, true, &why), 0);
	expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
	all_arrive_once(&t);
	close_traffic(&t);
}

static void
in_shadow_when_software_is_away(void **state)
{
	static struct traffic t;
	struct rp_wire_why why = {0};

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_AUTO);
	start_pair(&t);
	send_frames(&t, 50);
	SOFTWARE_SET(go, true);
	while (fake_software_now().usable)
		usleep(1000);
	assert_int_equal(set_log(&t, true, &why), 0);
	expect_mode(&t, RP_PORT_QUEUE_SHADOW, "migration");
	send_frames(&t, 50);
	/* It is back: what logs already stays where it is. */
	SOFTWARE_SET(come, true);
	usleep(20000);
	expect_mode(&t, RP_PORT_QUEUE_SHADOW, "migration");
	all_arrive_once(&t);
	close_traffic(&t);
}

/* The port can log, but the software backend cannot: what is there goes to hardware for as long as that takes. */
static void
from_software_that_cannot_log(void **state)
{
	static struct traffic t;
	struct rp_wire_why why = {0};

	(void)state;
	fake_software_setup();
	SOFTWARE_SET(protocol_features, 0);
	open_moves_with(&t,
			(struct setting){.class = RP_ACCEL_CLASS_B, .wish = RP_PORT_WISH_SOFTWARE, .migratable = true});
	start_pair(&t);
	send_frames(&t, 50);
	expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
	assert_int_equal(set_log(&t, true, &why), 0);
	expect_mode(&t, RP_PORT_QUEUE_SHADOW, "migration");
	stop_and_cont(&t, 2);
	expect_mode(&t, RP_PORT_QUEUE_SHADOW, "migration");
	assert_int_equal(set_log(&t, false, &why), 0);
	becomes_owner(&t, RP_PORT_OWNER_SOFTWARE);
	send_frames(&t, 50);
	all_arrive_once(&t);
	/* Neither can: refused, and it stays where it is. */
	FAKE_SET(start_error, -ENOSPC);
	assert_int_equal(set_log(&t, true, &why), -EREMOTEIO);
	expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
	FAKE_SET(start_error, 0);
	send_frames(&t, 50);
	all_arrive_once(&t);
	close_traffic(&t);
}

/* Nobody can say where the ring stops: LOG_ALL is refused, and nothing has moved. */
static void
refused_rather_than_lost(void **state)
{
	static struct traffic t;
	struct rp_wire_why why = {0};

	(void)state;
	open_moves(&t, TEST_VM_PACKED, RP_ACCEL_CLASS_B, RP_PORT_WISH_AUTO);
	start_pair(&t);
	send_frames(&t, 50);
	assert_int_equal(set_log(&t, true, &why), -EREMOTEIO);
	expect_owner(&t, RP_PORT_OWNER_HARDWARE);
	assert_int_equal(fake_now().queues[TX].stops, 0);
	assert_true((fake_software_now().features_told & TEST_VM_LOG_ALL) == 0);
	send_frames(&t, 50);
	all_arrive_once(&t);
	close_traffic(&t);
}

/* A software backend that hangs with a ring may write, and nobody knows what. */
static void
refused_while_somebody_writes_unseen(void **state)
{
	static struct traffic t;
	struct rp_wire_why why = {0};

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_SOFTWARE);
	start_pair(&t);
	SOFTWARE_SET(go, true);
	becomes_owner(&t, RP_PORT_OWNER_NONE);
	assert_int_equal(set_log(&t, true, &why), -EREMOTEIO);
	SOFTWARE_SET(prove, true);
	SOFTWARE_SET(come, true);
	becomes_owner(&t, RP_PORT_OWNER_SOFTWARE);
	assert_int_equal(set_log(&t, true, &why), 0);
	close_traffic(&t);
}

/* On the destination: a ring that starts while a migration logs is software's. */
static void
rings_that_start_meanwhile(void **state)
{
	static struct traffic t;
	struct rp_wire_why why = {0};

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_AUTO);
	assert_int_equal(set_log(&t, true, &why), 0);
	start_pair(&t);
	expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
	stop_and_cont(&t, 3);
	expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
	assert_int_equal(fake_now().queues[TX].starts, 0);
	all_arrive_once(&t);
	close_traffic(&t);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(to_software_before_the_answer),
		cmocka_unit_test(in_the_order_of_moves),
		cmocka_unit_test(used_rings_are_logged_where_the_frontend_says),
		cmocka_unit_test(a_device_that_stops_only_whole),
		cmocka_unit_test(in_shadow_when_software_does_not_log),
		cmocka_unit_test(in_shadow_when_software_is_away),
		cmocka_unit_test(from_software_that_cannot_log),
		cmocka_unit_test(refused_rather_than_lost),
		cmocka_unit_test(refused_while_somebody_writes_unseen),
		cmocka_unit_test(rings_that_start_meanwhile),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
