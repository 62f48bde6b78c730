/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "moves.h"
#include "rp_wire_clock.h"

#define MOVES 20u

/* There and back under traffic, alone and in pairs: each frame once. */
static void
there_and_back_under_traffic(uint64_t format)
{
	static struct traffic t;
	unsigned int i;

	open_moves(&t, format, RP_ACCEL_CLASS_A, RP_PORT_WISH_AUTO);
	start_pair(&t);
	expect_owner(&t, RP_PORT_OWNER_HARDWARE);
	for (i = 0; i < MOVES; i++) {
		send_frames(&t, 41);
		assert_int_equal(move_pair(&t, RP_PORT_WISH_SOFTWARE), 0);
		expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
		expect_one_owner(&t.f.port);
		send_frames(&t, 43);
		assert_int_equal(move_pair(&t, RP_PORT_WISH_HARDWARE), 0);
		expect_owner(&t, RP_PORT_OWNER_HARDWARE);
		expect_one_owner(&t.f.port);
	}
	all_arrive_once(&t);
	for (i = RX; i <= TX; i++) {
		struct rp_port_queue_info info = test_port_queue(&t.f.port, i);

		assert_int_equal(info.moves, 2 * MOVES);
		assert_int_equal(info.moves_to_software, MOVES);
		assert_int_equal(info.moves_to_hardware, MOVES);
		assert_int_equal(info.blackouts_count, 2 * MOVES);
		assert_true(info.blackout_min_us > 0);
		assert_true(info.blackout_min_us <= info.blackout_median_us);
		assert_true(info.blackout_median_us <= info.blackout_max_us);
		assert_int_equal(info.redone, 0);
		assert_string_equal(info.wish_reason, "");
	}
	close_traffic(&t);
}

static void
nothing_is_lost(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < FORMATS_COUNT; i++)
		there_and_back_under_traffic(formats[i]);
}

static void
transmit_leaves_first_and_comes_last(void **state)
{
	static const char *const to_software[] = {"\nqueue-stopped 1", "\nqueue-stopped 0", "\nsoftware-started 0",
						  "\nsoftware-started 1"};
	static const char *const to_hardware[] = {"\nsoftware-stopped 1", "\nsoftware-stopped 0", "\nqueue-started 0",
						  "\nqueue-started 1"};
	static struct traffic t;
	size_t at;

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_AUTO);
	start_pair(&t);
	at = log_end(&t.f.port);
	assert_int_equal(move_pair(&t, RP_PORT_WISH_SOFTWARE), 0);
	at = expect_in_order(&t.f.port, at, to_software, 4);
	assert_int_equal(fake_now().rows, 0);
	assert_int_equal(move_pair(&t, RP_PORT_WISH_AUTO), 0);
	expect_in_order(&t.f.port, at, to_hardware, 4);
	/* One after the other, for the round trips of one. */
	assert_int_equal(fake_now().longest_row, 2);
	assert_int_equal(fake_software_now().takes_together, 0);
	close_traffic(&t);
}

/* What librte_vhost says of a packed ring, it says when all of them stop. */
static void
packed_rings_leave_librte_together(void **state)
{
	static struct traffic t;

	(void)state;
	fake_software_setup();
	SOFTWARE_SET(kind, RP_PORT_SOFTWARE_LIBRTE_VHOST);
	open_moves_with(&t, (struct setting){.format = TEST_VM_PACKED, .wish = RP_PORT_WISH_SOFTWARE});
	start_pair(&t);
	expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
	send_frames(&t, 100);
	assert_int_equal(move_pair(&t, RP_PORT_WISH_HARDWARE), 0);
	assert_int_equal(fake_software_now().takes_together, 1);
	send_frames(&t, 100);
	all_arrive_once(&t);
	close_traffic(&t);
}

static void
a_wish_is_idempotent_and_stays(void **state)
{
	static struct traffic t;

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_AUTO);
	assert_int_equal(move_pair(&t, RP_PORT_WISH_SOFTWARE), 0);
	start_pair(&t);
	expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
	assert_int_equal(test_port_queue(&t.f.port, RX).mode, RP_PORT_QUEUE_SOFTWARE);
	assert_int_equal(move_pair(&t, RP_PORT_WISH_SOFTWARE), 0);
	assert_int_equal(test_port_queue(&t.f.port, RX).moves, 0);
	test_vm_queue_stop(&t.f.vm, RX);
	test_vm_queue_start(&t.f.vm, RX, 0);
	assert_int_equal(owner_of(&t, RX), RP_PORT_OWNER_SOFTWARE);
	assert_int_equal(test_port_queue(&t.f.port, RX).moves, 0);
	close_traffic(&t);
}

static void
since_when_is_told(void **state)
{
	static struct traffic t;
	uint64_t before, moved_ms;

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_SOFTWARE);
	start_pair(&t);
	before = test_port_queue(&t.f.port, RX).since_ms;
	usleep(30000);
	assert_true(test_port_queue(&t.f.port, RX).since_ms >= before + 30);
	moved_ms = rp_wire_clock_ms();
	assert_int_equal(move_pair(&t, RP_PORT_WISH_HARDWARE), 0);
	assert_true(test_port_queue(&t.f.port, RX).since_ms <= rp_wire_clock_ms() - moved_ms);
	close_traffic(&t);
}

static void
said_in_words_what_cannot_be(void **state)
{
	static struct traffic t;
	struct rp_wire_why why = {0};

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_AUTO);
	assert_int_equal(test_port_move(&t.f.port, 4, 1, RP_PORT_WISH_AUTO, &why), -EINVAL);
	assert_int_equal(test_port_move(&t.f.port, 2, 3, RP_PORT_WISH_AUTO, &why), -EINVAL);
	assert_string_equal(why.text, "queues: 3 from 2 on, there are 4");
	SOFTWARE_SET(usable, false);
	assert_int_equal(move_pair(&t, RP_PORT_WISH_SOFTWARE), -ENOTCONN);
	start_pair(&t);
	/* It waits for whom it wishes for. */
	assert_int_equal(test_port_queue(&t.f.port, TX).mode, RP_PORT_QUEUE_STOPPED);
	assert_string_equal(test_port_queue(&t.f.port, TX).reason, "the software backend is away");
	assert_string_equal(test_port_queue(&t.f.port, TX).wish_reason, "the software backend is away");
	SOFTWARE_SET(come, true);
	becomes_owner(&t, RP_PORT_OWNER_SOFTWARE);
	send_frames(&t, 50);
	all_arrive_once(&t);
	close_traffic(&t);
}

/* Software says no to the second ring: both go back, and it is not asked again until the user speaks. */
static void
back_to_hardware_when_software_refuses(void **state)
{
	static struct traffic t;
	struct rp_wire_why why = {0};
	unsigned int queue;

	(void)state;
	for (queue = RX; queue <= TX; queue++) {
		open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_AUTO);
		start_pair(&t);
		send_frames(&t, 50);
		SOFTWARE_SET(serve_error, -EREMOTEIO);
		SOFTWARE_SET(serve_error_queue, (int)queue);
		assert_int_equal(test_port_move(&t.f.port, RX, 2, RP_PORT_WISH_SOFTWARE, &why), -EREMOTEIO);
		assert_non_null(strstr(why.text, "serve refused"));
		expect_owner(&t, RP_PORT_OWNER_HARDWARE);
		assert_non_null(strstr(test_port_queue(&t.f.port, RX).wish_reason, "serve refused"));
		send_frames(&t, 50);
		assert_int_equal(test_port_events(&t.f.port, "move-failed"), 1);
		assert_int_equal(test_port_queue(&t.f.port, RX).moves_to_software, queue == RX ? 0 : 1);
		SOFTWARE_SET(serve_error, 0);
		assert_int_equal(move_pair(&t, RP_PORT_WISH_SOFTWARE), 0);
		send_frames(&t, 50);
		all_arrive_once(&t);
		close_traffic(&t);
	}
}

static void
back_to_software_when_hardware_refuses(void **state)
{
	static struct traffic t;

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_SOFTWARE);
	start_pair(&t);
	send_frames(&t, 50);
	FAKE_SET(start_error, -ENOSPC);
	assert_int_equal(move_pair(&t, RP_PORT_WISH_AUTO), 0);
	expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
	assert_non_null(strstr(test_port_queue(&t.f.port, RX).wish_reason, "start refused"));
	assert_int_equal(move_pair(&t, RP_PORT_WISH_HARDWARE), -ENOSPC);
	expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
	assert_int_equal(test_port_events(&t.f.port, "move-failed"), 2);
	send_frames(&t, 50);
	FAKE_SET(start_error, 0);
	assert_int_equal(move_pair(&t, RP_PORT_WISH_HARDWARE), 0);
	expect_owner(&t, RP_PORT_OWNER_HARDWARE);
	send_frames(&t, 50);
	all_arrive_once(&t);
	close_traffic(&t);
}

/* Nobody gets what a party that hangs may still touch. */
static void
no_proof_no_other_owner(void **state)
{
	static struct traffic t;

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_SOFTWARE);
	start_pair(&t);
	send_frames(&t, 50);
	all_arrive_once(&t);
	SOFTWARE_SET(take_error, -ETIMEDOUT);
	assert_int_equal(move_pair(&t, RP_PORT_WISH_AUTO), 0);
	becomes_owner(&t, RP_PORT_OWNER_NONE);
	usleep(20000);
	expect_owner(&t, RP_PORT_OWNER_NONE);
	assert_int_equal(test_port_queue(&t.f.port, TX).mode, RP_PORT_QUEUE_STOPPED);
	assert_string_equal(test_port_queue(&t.f.port, TX).reason,
			    "the software backend is gone and nothing proves that it let go of the ring");
	assert_int_equal(fake_now().queues[TX].starts, 0);
	SOFTWARE_SET(prove, true);
	becomes_owner(&t, RP_PORT_OWNER_HARDWARE);
	send_frames(&t, 50);
	all_arrive_once(&t);
	assert_int_equal(test_port_queue(&t.f.port, TX).moves_to_hardware, 1);
	close_traffic(&t);
}

static void
a_dead_accelerator_is_a_slow_queue(void **state)
{
	static struct traffic t;

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_AUTO);
	start_pair(&t);
	send_frames(&t, 50);
	all_arrive_once(&t);
	FAKE_SET(hold, 3u);
	send_frames(&t, 3);
	while (fake_now().hold > 0)
		usleep(500);
	FAKE_SET(open_error, -ENOENT);
	fake_accel_die(true);
	becomes_owner(&t, RP_PORT_OWNER_SOFTWARE);
	expect_one_owner(&t.f.port);
	/* What it had taken and kept. */
	assert_int_equal(test_port_queue(&t.f.port, TX).redone, 3);
	assert_non_null(strstr(test_port_queue(&t.f.port, RX).wish_reason, "accelerator"));
	send_frames(&t, 50);
	assert_int_equal(test_port_queue(&t.f.port, RX).moves_to_software, 1);
	FAKE_SET(open_error, 0);
	becomes_owner(&t, RP_PORT_OWNER_HARDWARE);
	send_frames(&t, 50);
	all_arrive_once(&t);
	close_traffic(&t);
}

static void
a_dead_accelerator_without_proof_is_nobodys(void **state)
{
	static struct traffic t;

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_AUTO);
	FAKE_SET(peer_pid, 4711);
	start_pair(&t);
	FAKE_SET(open_error, -ENOENT);
	fake_accel_die(false);
	assert_true(test_port_wait_mode(&t.f.port, TX, RP_PORT_QUEUE_STOPPED, LIMIT_MS));
	usleep(20000);
	expect_owner(&t, RP_PORT_OWNER_NONE);
	FAKE_SET(quiet, true);
	becomes_owner(&t, RP_PORT_OWNER_SOFTWARE);
	send_frames(&t, 50);
	all_arrive_once(&t);
	close_traffic(&t);
}

/* What a start that was not answered began, nobody sees: with proof the ring goes on where it says that it is. */
static void
a_start_that_is_lost_is_nobodys(void **state)
{
	static const enum rp_port_ring_policy rings[] = {RP_PORT_RING_DIRECT, RP_PORT_RING_SHADOW};
	static struct traffic t;
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		fake_software_setup();
		open_moves_with(&t, (struct setting){.class = RP_ACCEL_CLASS_A, .ring = rings[i]});
		FAKE_SET(begun_error, -ETIMEDOUT);
		FAKE_SET(open_error, -ENOENT);
		start_pair(&t);
		/* That one was not asked of it. */
		assert_true(wait_owner(&t, TX, RP_PORT_OWNER_SOFTWARE));
		usleep(20000);
		assert_int_equal(owner_of(&t, RX), RP_PORT_OWNER_NONE);
		FAKE_SET(quiet, true);
		becomes_owner(&t, RP_PORT_OWNER_SOFTWARE);
		send_frames(&t, 50);
		all_arrive_once(&t);
		close_traffic(&t);
	}
}

static void
a_dead_software_backend(void **state)
{
	static struct traffic t;

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_SOFTWARE);
	start_pair(&t);
	send_frames(&t, 50);
	all_arrive_once(&t);
	SOFTWARE_SET(dead, true);
	SOFTWARE_SET(go, true);
	becomes_owner(&t, RP_PORT_OWNER_NONE);
	SOFTWARE_SET(prove, true);
	usleep(20000);
	/* The wish waits for it. */
	expect_owner(&t, RP_PORT_OWNER_NONE);
	SOFTWARE_SET(dead, false);
	SOFTWARE_SET(come, true);
	becomes_owner(&t, RP_PORT_OWNER_SOFTWARE);
	send_frames(&t, 50);
	all_arrive_once(&t);
	SOFTWARE_SET(go, true);
	SOFTWARE_SET(prove, true);
	becomes_owner(&t, RP_PORT_OWNER_NONE);
	assert_int_equal(move_pair(&t, RP_PORT_WISH_AUTO), 0);
	becomes_owner(&t, RP_PORT_OWNER_HARDWARE);
	send_frames(&t, 50);
	all_arrive_once(&t);
	close_traffic(&t);
}

/* From the used index, and in mid-life a private ring: doc/prog_guide/port.md. */
static void
class_b_split(void **state)
{
	static struct traffic t;

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_B, RP_PORT_WISH_AUTO);
	start_pair(&t);
	send_frames(&t, 50);
	assert_int_equal(move_pair(&t, RP_PORT_WISH_SOFTWARE), 0);
	expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
	send_frames(&t, 50);
	assert_int_equal(move_pair(&t, RP_PORT_WISH_HARDWARE), 0);
	expect_mode(&t, RP_PORT_QUEUE_SHADOW, "fresh rings only");
	send_frames(&t, 50);
	assert_int_equal(move_pair(&t, RP_PORT_WISH_SOFTWARE), 0);
	send_frames(&t, 50);
	all_arrive_once(&t);
	close_traffic(&t);
}

static void
class_b_packed_is_refused(void **state)
{
	static struct traffic t;
	struct rp_wire_why why = {0};

	(void)state;
	open_moves(&t, TEST_VM_PACKED, RP_ACCEL_CLASS_B, RP_PORT_WISH_AUTO);
	start_pair(&t);
	send_frames(&t, 50);
	assert_int_equal(test_port_move(&t.f.port, RX, 2, RP_PORT_WISH_SOFTWARE, &why), -ENOTSUP);
	assert_non_null(strstr(why.text, "cannot tell where in a packed ring it stops"));
	expect_owner(&t, RP_PORT_OWNER_HARDWARE);
	assert_int_equal(fake_now().queues[TX].stops, 0);
	send_frames(&t, 50);
	all_arrive_once(&t);
	close_traffic(&t);
}

static void
class_b_packed_in_shadow_is_exact(void **state)
{
	static struct traffic t;
	unsigned int i;

	(void)state;
	fake_software_setup();
	open_moves_with(&t, (struct setting){.format = TEST_VM_PACKED, .class = RP_ACCEL_CLASS_B, .migratable = true});
	start_pair(&t);
	expect_mode(&t, RP_PORT_QUEUE_SHADOW, "migratable");
	for (i = 0; i < 5; i++) {
		send_frames(&t, 33);
		assert_int_equal(move_pair(&t, RP_PORT_WISH_SOFTWARE), 0);
		send_frames(&t, 33);
		assert_int_equal(move_pair(&t, RP_PORT_WISH_HARDWARE), 0);
	}
	all_arrive_once(&t);
	close_traffic(&t);
}

/* Direct is what the user insists on: not even tried. */
static void
direct_in_mid_life_is_not_tried(void **state)
{
	static struct traffic t;
	struct rp_wire_why why = {0};

	(void)state;
	fake_software_setup();
	open_moves_with(&t, (struct setting){.class = RP_ACCEL_CLASS_B,
					     .ring = RP_PORT_RING_DIRECT,
					     .wish = RP_PORT_WISH_SOFTWARE});
	start_pair(&t);
	send_frames(&t, 50);
	all_arrive_once(&t);
	assert_int_equal(test_port_move(&t.f.port, RX, 2, RP_PORT_WISH_HARDWARE, &why), -ENOTSUP);
	assert_string_equal(why.text,
			    "queue 0: direct is the user's choice, but the device starts fresh rings only (class B)");
	expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
	assert_int_equal(fake_now().queues[RX].starts, 0);
	assert_string_equal(test_port_queue(&t.f.port, RX).wish_reason,
			    "direct is the user's choice, but the device starts fresh rings only (class B)");
	/* The wish stayed, and with another choice it comes true. */
	assert_int_equal(test_port_ring(&t.f.port, RX, RP_PORT_RING_AUTO), 0);
	assert_int_equal(test_port_ring(&t.f.port, TX, RP_PORT_RING_AUTO), 0);
	expect_mode(&t, RP_PORT_QUEUE_SHADOW, "fresh rings only");
	close_traffic(&t);
}

/* A store on the page that nobody watches any more is heard when the page is gone. */
static void
the_doorbell_is_not_waited_for(void **state)
{
	static struct traffic t;
	uint8_t frame[FRAME_BYTES] = {0};

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_AUTO);
	start_pair(&t);
	assert_true(test_vm_wait_doorbell(&t.f.vm, TX, true, LIMIT_MS));
	/* Nobody reads the channel meanwhile. */
	assert_int_equal(move_pair(&t, RP_PORT_WISH_SOFTWARE), 0);
	expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
	usleep(20000); /* the kicks of the move are over */
	assert_true(test_vm_send(&t.f.vm, TX, frame, sizeof(frame)));
	t.sent++;
	assert_int_equal(t.f.vm.queues[TX].eventfd_kicks, 0);
	usleep(20000);
	assert_int_equal(test_vm_reap(&t.f.vm, TX), 0);
	assert_true(test_vm_wait_doorbell(&t.f.vm, TX, false, LIMIT_MS));
	all_arrive_once(&t);
	/* And it is offered again. */
	assert_int_equal(move_pair(&t, RP_PORT_WISH_AUTO), 0);
	assert_true(test_vm_wait_doorbell(&t.f.vm, TX, true, LIMIT_MS));
	close_traffic(&t);
}

/* The guest is called at the move, and once more when the new owner got on. */
static void
the_guest_is_called_twice(void **state)
{
	static struct traffic t;
	int i;

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_AUTO);
	/* Its answer would call as well. */
	test_port_doorbell(&t.f.port, RX, RP_PORT_DOORBELL_RELAY);
	test_port_doorbell(&t.f.port, TX, RP_PORT_DOORBELL_RELAY);
	start_pair(&t);
	test_vm_interrupts(&t.f.vm, RX);
	assert_int_equal(move_pair(&t, RP_PORT_WISH_SOFTWARE), 0);
	assert_true(test_vm_interrupts(&t.f.vm, RX) >= 1);
	SOFTWARE_SET(mute, true);
	send_frames(&t, 1);
	all_arrive_once(&t);
	for (i = 0; i < LIMIT_MS && test_vm_interrupts(&t.f.vm, RX) == 0; i++)
		usleep(1000);
	assert_true(i < LIMIT_MS);
	close_traffic(&t);
}

static void
the_frontend_speaks_to_who_serves(void **state)
{
	static struct traffic t;
	struct rp_wire_why why;
	struct fake_software now;

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_SOFTWARE);
	assert_true(fake_software_now().memory_tellings >= 1);
	assert_int_equal(fake_software_now().features_told & ~(1ull << 30), t.f.vm.features & ~(1ull << 30));
	start_pair(&t);
	assert_true(fake_software_now().started >= 2);
	assert_int_equal(rp_vhu_frontend_ring_call(t.f.vm.frontend, RX, t.f.vm.queues[RX].call_fd, &why), 0);
	assert_int_equal(rp_vhu_frontend_ring_err(t.f.vm.frontend, RX, t.f.vm.queues[RX].call_fd, &why), 0);
	test_port_queue(&t.f.port, RX);
	now = fake_software_now();
	assert_int_equal(now.ring_calls, 1);
	assert_int_equal(now.ring_errs, 1);
	send_frames(&t, 20);
	/* SET_VRING_ENABLE: nobody, then the same again. */
	assert_int_equal(rp_vhu_frontend_ring_enable(t.f.vm.frontend, TX, false, &why), 0);
	assert_int_equal(owner_of(&t, TX), RP_PORT_OWNER_NONE);
	assert_int_equal(rp_vhu_frontend_ring_enable(t.f.vm.frontend, TX, true, &why), 0);
	expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
	assert_int_equal(test_port_queue(&t.f.port, TX).moves_to_software, 0);
	stop_and_cont(&t, 5);
	all_arrive_once(&t);
	test_vm_disconnect(&t.f.vm);
	assert_true(test_port_wait_mode(&t.f.port, TX, RP_PORT_QUEUE_STOPPED, LIMIT_MS));
	assert_int_equal(fake_software_now().frontends_gone, 1);
	assert_false(fake_software_now().has[TX]);
	close_traffic(&t);
}

/* Rings that lie in memory that changes are given when the software backend knows of it. */
static void
told_of_memory_before_it_serves(void **state)
{
	static struct traffic t;
	struct rp_vhu_region region;
	struct rp_wire_why why;
	unsigned int before;

	(void)state;
	open_moves(&t, 0, RP_ACCEL_CLASS_A, RP_PORT_WISH_SOFTWARE);
	start_pair(&t);
	send_frames(&t, 20);
	all_arrive_once(&t);
	before = fake_software_now().memory_tellings;
	/* The same memory at another place of the frontend's: what is below the rings goes and comes. */
	region = (struct rp_vhu_region){
		.gpa = TEST_VM_GPA,
		.size_bytes = t.f.vm.memory_bytes,
		.uva = (uint64_t)(uintptr_t)t.f.vm.memory,
		.fd = test_memfd(t.f.vm.memory_bytes, false),
	};
	assert_int_equal(rp_vhu_frontend_set_mem_table(t.f.vm.frontend, &region, 1, &why), 0);
	assert_int_equal(fake_software_now().memory_tellings, before + 1);
	expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
	close(region.fd);
	close_traffic(&t);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_lost),
		cmocka_unit_test(transmit_leaves_first_and_comes_last),
		cmocka_unit_test(packed_rings_leave_librte_together),
		cmocka_unit_test(a_wish_is_idempotent_and_stays),
		cmocka_unit_test(since_when_is_told),
		cmocka_unit_test(said_in_words_what_cannot_be),
		cmocka_unit_test(back_to_hardware_when_software_refuses),
		cmocka_unit_test(back_to_software_when_hardware_refuses),
		cmocka_unit_test(no_proof_no_other_owner),
		cmocka_unit_test(a_dead_accelerator_is_a_slow_queue),
		cmocka_unit_test(a_dead_accelerator_without_proof_is_nobodys),
		cmocka_unit_test(a_start_that_is_lost_is_nobodys),
		cmocka_unit_test(a_dead_software_backend),
		cmocka_unit_test(class_b_split),
		cmocka_unit_test(class_b_packed_is_refused),
		cmocka_unit_test(class_b_packed_in_shadow_is_exact),
		cmocka_unit_test(direct_in_mid_life_is_not_tried),
		cmocka_unit_test(the_doorbell_is_not_waited_for),
		cmocka_unit_test(the_guest_is_called_twice),
		cmocka_unit_test(the_frontend_speaks_to_who_serves),
		cmocka_unit_test(told_of_memory_before_it_serves),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
