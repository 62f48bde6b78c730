/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "traffic.h"

/* The device has a private ring, and what that makes possible. */

static void
a_stop_and_cont_loses_nothing(void **state)
{
	struct traffic t;
	unsigned int i;

	(void)state;
	for (i = 0; i < FORMATS_COUNT; i++) {
		const struct setting setting = {
			.format = formats[i],
			.class = RP_ACCEL_CLASS_B,
			.migratable = true,
			.indirect = i % 2 != 0,
		};

		open_traffic(&t, &setting);
		start_pair(&t);
		send_frames(&t, 200);
		all_arrive_once(&t);
		stop_and_cont(&t, 30);
		all_arrive_once(&t);
		expect_mode(&t, RP_PORT_QUEUE_SHADOW, "class B");
		assert_int_equal(test_port_queue(&t.f.port, TX).lost, 0);
		close_traffic(&t);
	}
}

/* Indices of 16 bits begin again, and so do wrap counters, while rings stop and go on. */
static void
indices_begin_again(void **state)
{
	struct traffic t;
	unsigned int i, k;

	(void)state;
	for (i = 0; i < 2; i++) {
		const struct setting setting = {
			.format = formats[i],
			.class = RP_ACCEL_CLASS_B,
			.ring = RP_PORT_RING_SHADOW,
		};

		open_traffic(&t, &setting);
		start_pair(&t);
		for (k = 0; k < 22; k++) {
			send_frames(&t, 3001);
			stop_and_cont(&t, 1);
		}
		all_arrive_once(&t);
		assert_true(t.received > 0x10000);
		close_traffic(&t);
	}
}

/* A split ring of an ordinary port begins direct, goes on as shadow, and is direct again once it begins anew. */
static void
direct_again_at_the_next_fresh_start(void **state)
{
	const struct setting setting = {.class = RP_ACCEL_CLASS_B};
	struct rp_vring_layout layout;
	struct traffic t;

	(void)state;
	open_traffic(&t, &setting);
	start_pair(&t);
	assert_true(fixture_becomes(&t.f, is_direct));
	send_frames(&t, 100);
	all_arrive_once(&t);
	stop_and_cont(&t, 3);
	expect_mode(&t, RP_PORT_QUEUE_SHADOW, "direct again when the guest's driver starts it anew");
	all_arrive_once(&t);
	assert_true(test_port_queue(&t.f.port, TX).relayed_interrupts > 0);
	assert_true(test_port_queue(&t.f.port, TX).relayed_kicks > 0);
	/* The guest's driver is loaded anew. */
	test_vm_queue_stop(&t.f.vm, TX);
	rp_vring_drv_layout(t.f.vm.queues[TX].ring, &layout);
	memset(t.f.vm.memory + (layout.used_iova - TEST_VM_GPA), 0, 4);
	test_vm_queue_start(&t.f.vm, TX, 0);
	assert_true(test_vm_wait_doorbell(&t.f.vm, TX, true, LIMIT_MS));
	assert_true(test_port_wait_mode(&t.f.port, TX, RP_PORT_QUEUE_DIRECT, LIMIT_MS));
	assert_int_equal(fake_now().queues[TX].config.desc_iova, layout.desc_iova);
	close_traffic(&t);
}

static void
forced(void **state)
{
	const struct setting shadow_a = {.class = RP_ACCEL_CLASS_A, .ring = RP_PORT_RING_SHADOW};
	const struct setting direct_b = {.class = RP_ACCEL_CLASS_B, .ring = RP_PORT_RING_DIRECT};
	struct rp_port_queue_info info;
	struct traffic t;
	uint32_t base;

	(void)state;
	open_traffic(&t, &shadow_a);
	start_pair(&t);
	expect_mode(&t, RP_PORT_QUEUE_SHADOW, "shadow is the user's choice");
	send_frames(&t, 100);
	stop_and_cont(&t, 5);
	all_arrive_once(&t);
	close_traffic(&t);

	open_traffic(&t, &direct_b);
	start_pair(&t);
	assert_true(fixture_becomes(&t.f, is_direct));
	send_frames(&t, 10);
	all_arrive_once(&t);
	base = test_vm_queue_stop(&t.f.vm, TX);
	assert_int_equal(base, 10);
	test_vm_queue_start(&t.f.vm, TX, base);
	info = test_port_queue(&t.f.port, TX);
	assert_int_equal(info.mode, RP_PORT_QUEUE_STOPPED);
	assert_non_null(strstr(info.reason, "direct is the user's choice, but the device starts fresh rings only "
					    "(class B) and this one is at index 10"));
	/* Allowed to be what it can be, it goes on at once. */
	assert_int_equal(test_port_ring(&t.f.port, TX, RP_PORT_RING_AUTO), 0);
	assert_int_equal(test_port_queue(&t.f.port, TX).mode, RP_PORT_QUEUE_SHADOW);
	send_frames(&t, 50);
	all_arrive_once(&t);
	close_traffic(&t);
}

/* A device that can start anywhere changes its ring under way. */
static void
class_a_changes_at_once(void **state)
{
	struct traffic t;
	unsigned int i, k;

	(void)state;
	for (i = 0; i < 2; i++) {
		const struct setting setting = {.class = RP_ACCEL_CLASS_A, .format = formats[i]};

		open_traffic(&t, &setting);
		start_pair(&t);
		for (k = 0; k < 10; k++) {
			send_frames(&t, 30);
			assert_int_equal(test_port_ring(&t.f.port, k % 2 == 0 ? TX : RX,
							k / 2 % 2 == 0 ? RP_PORT_RING_SHADOW : RP_PORT_RING_AUTO),
					 0);
		}
		all_arrive_once(&t);
		assert_int_equal(test_port_queue(&t.f.port, TX).mode, RP_PORT_QUEUE_SHADOW);
		close_traffic(&t);
	}
}

/* A packed ring in shadow mode has a position, so the user may take it away, and give it back. */
static void
the_user_takes_a_packed_ring(void **state)
{
	const struct setting setting = {.class = RP_ACCEL_CLASS_B, .format = TEST_VM_PACKED, .migratable = true};
	struct traffic t;
	unsigned int i;

	(void)state;
	open_traffic(&t, &setting);
	start_pair(&t);
	for (i = 0; i < 10; i++) {
		send_frames(&t, 23);
		assert_int_equal(test_port_disable(&t.f.port, TX), 0);
		assert_int_equal(test_port_disable(&t.f.port, RX), 0);
		assert_false(fake_now().queues[TX].running);
		assert_int_equal(test_port_enable(&t.f.port, RX), 0);
		assert_int_equal(test_port_enable(&t.f.port, TX), 0);
	}
	all_arrive_once(&t);
	assert_int_equal(test_port_queue(&t.f.port, TX).moves, 20);
	close_traffic(&t);
}

/* What the device took and did not use is done by it again, in shadow mode as in direct. */
static void
what_was_taken_is_done_again(void **state)
{
	struct traffic t;
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		const struct setting setting = {
			.class = RP_ACCEL_CLASS_B,
			.format = i == 2 ? TEST_VM_PACKED : 0,
			.ring = i == 1 ? RP_PORT_RING_SHADOW : RP_PORT_RING_AUTO,
			.migratable = i == 2,
		};
		uint32_t base[2];

		open_traffic(&t, &setting);
		start_pair(&t);
		send_frames(&t, 20);
		all_arrive_once(&t);
		FAKE_SET(hold, 7u);
		send_frames(&t, 7);
		while (fake_now().hold > 0)
			usleep(500);
		base[RX] = test_vm_queue_stop(&t.f.vm, RX);
		base[TX] = test_vm_queue_stop(&t.f.vm, TX);
		assert_int_equal(t.received, 20);
		test_vm_queue_start(&t.f.vm, RX, base[RX]);
		test_vm_queue_start(&t.f.vm, TX, base[TX]);
		all_arrive_once(&t);
		assert_int_equal(test_port_queue(&t.f.port, TX).redone, 7);
		assert_int_equal(test_port_queue(&t.f.port, TX).lost, 0);
		/* Repeats are no more than that. */
		FAKE_SET(deliver_held, true);
		FAKE_SET(hold, 5u);
		send_frames(&t, 5);
		while (fake_now().hold > 0)
			usleep(500);
		stop_and_cont(&t, 1);
		assert_true(fixture_becomes(&t.f, all_received));
		assert_true(t.repeated <= test_port_queue(&t.f.port, TX).redone - 7);
		close_traffic(&t);
	}
}

static struct rp_vhu_region
plugged(struct traffic *t, uint64_t gpa, int fd)
{
	(void)t;
	return (struct rp_vhu_region){.gpa = gpa, .size_bytes = 0x10000, .uva = 0x7000000000, .fd = fd};
}

/* Memory that is plugged does not stop rings; in the very place of the private ones it moves them. */
static void
hotplug_under_traffic(void **state)
{
	const struct setting setting = {.class = RP_ACCEL_CLASS_B, .ring = RP_PORT_RING_SHADOW};
	struct rp_vhu_region region;
	struct rp_wire_why why = {0};
	struct traffic t;
	uint64_t before;
	int fd;

	(void)state;
	open_traffic(&t, &setting);
	start_pair(&t);
	send_frames(&t, 50);
	fd = test_memfd(0x10000, false);
	region = plugged(&t, 0x90000000, fd);
	before = fake_now().queues[TX].config.desc_iova;
	assert_int_equal(rp_vhu_frontend_add_mem_reg(t.f.vm.frontend, &region, &why), 0);
	assert_int_equal(fake_now().queues[TX].starts, 1);
	send_frames(&t, 50);
	assert_int_equal(rp_vhu_frontend_rem_mem_reg(t.f.vm.frontend, &region, &why), 0);
	FAKE_SET(hold, 3u);
	send_frames(&t, 20);
	while (fake_now().hold > 0)
		usleep(500);
	region = plugged(&t, before & ~0xffffull, fd);
	assert_int_equal(rp_vhu_frontend_add_mem_reg(t.f.vm.frontend, &region, &why), 0);
	assert_int_equal(test_port_events(&t.f.port, "private-rings-move"), 1);
	assert_int_equal(fake_now().queues[TX].starts, 2);
	assert_true(fake_now().queues[TX].config.desc_iova != before);
	send_frames(&t, 50);
	all_arrive_once(&t);
	/* Again, by a device that stops only whole. */
	before = fake_now().queues[TX].config.desc_iova;
	FAKE_SET(stop_error, -ENOTSUP);
	region = plugged(&t, before & ~0xffffull, fd);
	region.uva += 0x10000000;
	assert_int_equal(rp_vhu_frontend_add_mem_reg(t.f.vm.frontend, &region, &why), 0);
	assert_int_equal(fake_now().resets, 1);
	FAKE_SET(stop_error, 0);
	send_frames(&t, 50);
	all_arrive_once(&t);
	close(fd);
	close_traffic(&t);
}

/* Devices of one VFIO container share their addresses, and what another port has there is not known. */
static void
strangers_are_passed_by(void **state)
{
	const struct setting setting = {.class = RP_ACCEL_CLASS_B, .ring = RP_PORT_RING_SHADOW};
	struct rp_dma_mapping stranger = {.iova = 0xffff000000000000, .access_mask = RP_DMA_READ, .fd = -1};
	struct traffic t;

	(void)state;
	stranger.size_bytes = 0xffffffff0000;
	open_traffic(&t, &setting);
	assert_int_equal(rp_dma_space_map(fake_take()->spaces[0], &stranger, NULL), 0);
	fake_give();
	start_pair(&t);
	assert_true(fake_now().queues[TX].config.desc_iova < stranger.iova);
	send_frames(&t, 50);
	all_arrive_once(&t);
	close_traffic(&t);
}

/* An address space with holes, of which the guest's memory leaves little. */
static void
private_rings_lie_where_the_iommu_has_room(void **state)
{
	const struct setting setting = {.class = RP_ACCEL_CLASS_B, .ring = RP_PORT_RING_SHADOW};
	struct rp_vhu_region region;
	struct rp_wire_why why = {0};
	struct traffic t;
	uint64_t at;
	int fd;

	(void)state;
	memset(&t, 0, sizeof(t));
	fixture_begin(&t.f);
	FAKE_SET(class, RP_ACCEL_CLASS_B);
	FAKE_SET(reach, ((struct rp_dma_iova_range){0, 0x7fffffff}));
	FAKE_SET(page_bytes, 0x2000ull);
	fake_accel_serve();
	{
		struct rp_port_config config = fixture_config();

		config.ring = setting.ring;
		fixture_open_with(&t.f, &config, NULL);
	}
	start_pair(&t);
	at = fake_now().queues[TX].config.desc_iova;
	assert_true(at < 0x80000000 && (at < TEST_VM_GPA || at >= TEST_VM_GPA + t.f.vm.memory_bytes));
	send_frames(&t, 50);
	all_arrive_once(&t);
	/* What it cannot reach is refused by name, before the device is asked. */
	fd = test_memfd(0x10000, false);
	region = plugged(&t, 0x90000000, fd);
	assert_int_equal(rp_vhu_frontend_add_mem_reg(t.f.vm.frontend, &region, &why), -EREMOTEIO);
	assert_true(test_port_warned(&t.f.port, "first: DMA 0x90000000 + 0x10000: beyond what the IOMMU can address"));
	region.gpa = 0x10001000;
	assert_int_equal(rp_vhu_frontend_add_mem_reg(t.f.vm.frontend, &region, &why), -EREMOTEIO);
	assert_true(test_port_warned(
		&t.f.port, "first: DMA 0x10001000 + 0x10000: expected multiples of the IOMMU's page, 0x2000"));
	send_frames(&t, 50);
	all_arrive_once(&t);
	close(fd);
	close_traffic(&t);
}

static bool
is_back(struct fixture *f)
{
	return test_port_events(&f->port, "accelerator-back") == 1;
}

static bool
is_waited_for(struct fixture *f)
{
	return test_port_events(&f->port, "accelerator-waiting") == 1;
}

/* With proof it goes on where it was, packed rings too: their position was ours to know. */
static void
a_device_that_died(void **state)
{
	struct traffic t;
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		const struct setting setting = {
			.class = RP_ACCEL_CLASS_B,
			.format = formats[i],
			.ring = RP_PORT_RING_SHADOW,
		};

		open_traffic(&t, &setting);
		start_pair(&t);
		send_frames(&t, 50);
		all_arrive_once(&t);
		FAKE_SET(hold, 4u);
		send_frames(&t, 4);
		while (fake_now().hold > 0)
			usleep(500);
		fake_accel_die(true);
		assert_true(fixture_becomes(&t.f, is_back));
		send_frames(&t, 50);
		all_arrive_once(&t);
		expect_mode(&t, RP_PORT_QUEUE_SHADOW, "user's choice");
		assert_int_equal(test_port_queue(&t.f.port, TX).redone, 4);
		close_traffic(&t);
	}
}

/* Frames are forwarded, and the device dies to the port before it can look at them; but it does look. */
static void
die_with_frames_on_the_way(struct traffic *t, unsigned int count)
{
	struct fake_accel *fake = fake_take();

	fake->peer_pid = 101;
	fake->open_error = -ECONNREFUSED;
	fake->alive_when_dead = true;
	send_frames(t, count);
	usleep(20000);
	fake->dead = true;
	fake->quiet = false;
	eventfd_write(fake->failure_fd, 1);
	fake_give();
}

/* The ring is let go of only with proof; what the device used by then is not done again. */
static void
no_proof_no_owner(void **state)
{
	const struct setting setting = {
		.class = RP_ACCEL_CLASS_B,
		.ring = RP_PORT_RING_SHADOW,
		.peer_pid = 100,
	};
	struct traffic t;

	(void)state;
	open_traffic(&t, &setting);
	start_pair(&t);
	send_frames(&t, 10);
	all_arrive_once(&t);
	die_with_frames_on_the_way(&t, 3);
	assert_true(fixture_becomes(&t.f, is_waited_for));
	expect_mode(&t, RP_PORT_QUEUE_STOPPED, "nothing proves that it let go of the ring");
	send_frames(&t, 5);
	/* Another process that answers is no proof. */
	FAKE_SET(open_error, 0);
	usleep(30000);
	expect_mode(&t, RP_PORT_QUEUE_STOPPED, "nothing proves that it let go of the ring");
	assert_int_equal(fake_now().queues[TX].starts, 1);
	FAKE_SET(quiet, true);
	assert_true(fixture_becomes(&t.f, is_back));
	all_arrive_once(&t);
	expect_mode(&t, RP_PORT_QUEUE_SHADOW, "user's choice");
	close_traffic(&t);
}

static void
a_device_that_lies(void **state)
{
	const struct setting setting = {.class = RP_ACCEL_CLASS_B, .ring = RP_PORT_RING_SHADOW};
	struct traffic t;

	(void)state;
	open_traffic(&t, &setting);
	start_pair(&t);
	send_frames(&t, 10);
	all_arrive_once(&t);
	FAKE_SET(quiet, true);
	FAKE_SET(lies, true);
	send_frames(&t, 1);
	while (test_port_events(&t.f.port, "accelerator-failed") == 0)
		usleep(1000);
	assert_true(test_port_warned(&t.f.port, "the device broke the ring"));
	assert_true(fixture_becomes(&t.f, is_back));
	all_arrive_once(&t);
	close_traffic(&t);
}

static bool
is_broken(struct fixture *f)
{
	return test_port_events(&f->port, "ring-broken") == 1;
}

/* Its own ring is stopped, with the reason; its neighbour goes on. */
static void
a_guest_that_breaks_its_ring(void **state)
{
	const struct setting setting = {.class = RP_ACCEL_CLASS_B, .ring = RP_PORT_RING_SHADOW};
	struct rp_vring_layout layout;
	struct traffic t;
	uint16_t *available;

	(void)state;
	open_traffic(&t, &setting);
	start_pair(&t);
	send_frames(&t, 10);
	all_arrive_once(&t);
	rp_vring_drv_layout(t.f.vm.queues[TX].ring, &layout);
	available = (uint16_t *)(t.f.vm.memory + (layout.avail_iova - TEST_VM_GPA));
	__atomic_store_n(&available[1], htole16(5000), __ATOMIC_RELEASE);
	test_vm_kick(&t.f.vm, TX);
	assert_true(fixture_becomes(&t.f, is_broken));
	assert_int_equal(test_port_queue(&t.f.port, TX).mode, RP_PORT_QUEUE_STOPPED);
	assert_non_null(strstr(test_port_queue(&t.f.port, TX).reason, "the guest's driver broke the ring"));
	assert_int_equal(test_port_queue(&t.f.port, RX).mode, RP_PORT_QUEUE_SHADOW);
	assert_false(fake_now().queues[TX].running);
	assert_int_equal(fake_now().open, true);
	close_traffic(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stop_and_cont_loses_nothing),
		cmocka_unit_test(indices_begin_again),
		cmocka_unit_test(direct_again_at_the_next_fresh_start),
		cmocka_unit_test(forced),
		cmocka_unit_test(class_a_changes_at_once),
		cmocka_unit_test(the_user_takes_a_packed_ring),
		cmocka_unit_test(what_was_taken_is_done_again),
		cmocka_unit_test(hotplug_under_traffic),
		cmocka_unit_test(private_rings_lie_where_the_iommu_has_room),
		cmocka_unit_test(strangers_are_passed_by),
		cmocka_unit_test(a_device_that_died),
		cmocka_unit_test(no_proof_no_owner),
		cmocka_unit_test(a_device_that_lies),
		cmocka_unit_test(a_guest_that_breaks_its_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
