/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>

#include "fixture.h"

/* Packed rings: where they go on, who knows it, and what becomes of them when nobody does. */

#define FRESH 0x80008000u
#define LOST "where the packed ring stopped is not known: the guest's driver must start it anew"

static void
open_packed(struct fixture *f, enum rp_accel_class class)
{
	struct rp_port_config config = fixture_config();
	struct test_vm_options options = {.ring_features = TEST_VM_PACKED};

	fixture_begin(f);
	FAKE_SET(class, class);
	FAKE_SET(features, fake_now().features | TEST_VM_PACKED);
	fixture_open_with(f, &config, &options);
}

static void
assert_lost(struct fixture *f, unsigned int queue)
{
	struct rp_port_queue_info info = test_port_queue(&f->port, queue);

	assert_int_equal(info.mode, RP_PORT_QUEUE_STOPPED);
	assert_string_equal(info.reason, LOST);
	assert_int_equal(test_port_enable(&f->port, queue), -ENOTSUP);
	assert_false(fake_now().queues[queue].running);
}

static void
travels_whole(void **state)
{
	struct fixture f;

	(void)state;
	open_packed(&f, RP_ACCEL_CLASS_A);
	test_vm_queue_start(&f.vm, 1, 0x00050005);
	assert_int_equal(fake_now().queues[1].config.position, 0x00050005);
	FAKE_SET(queues[1].position, 0x80078007u);
	assert_int_equal(test_port_disable(&f.port, 1), 0);
	assert_int_equal(test_port_enable(&f.port, 1), 0);
	assert_int_equal(fake_now().queues[1].config.position, 0x80078007);
	assert_int_equal(test_vm_queue_stop(&f.vm, 1), 0x80078007);
	fixture_close(&f);
}

/* virtio-user of DPDK sends 0x8000 for a fresh ring; librte_vhost has answered 16 bits to others. */
static void
sixteen_bits_mean_a_drained_ring(void **state)
{
	static const struct {
		uint32_t sent;
		uint32_t meant;
	} cases[] = {{0x8000, FRESH}, {0x0005, 0x00050005}, {0x803f, 0x803f803f}, {0, 0}};
	struct fixture f;
	unsigned int i;

	(void)state;
	open_packed(&f, RP_ACCEL_CLASS_A);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		test_vm_queue_start(&f.vm, 1, cases[i].sent);
		assert_true(fake_now().queues[1].running);
		assert_int_equal(fake_now().queues[1].config.position, cases[i].meant);
		test_vm_queue_stop(&f.vm, 1);
	}
	fixture_close(&f);
}

/* Only a drained ring can be taken over. What lies beyond the ring is refused by the protocol's library. */
static void
refused_by_name(void **state)
{
	static const uint32_t positions[] = {0x80058004, 0x00058005, 0x80000001};
	struct rp_wire_why why;
	struct fixture f;
	unsigned int i;

	(void)state;
	open_packed(&f, RP_ACCEL_CLASS_A);
	for (i = 0; i < sizeof(positions) / sizeof(positions[0]); i++) {
		assert_int_equal(test_vm_queue_try_start(&f.vm, 1, positions[i], &why), -EREMOTEIO);
		assert_false(fake_now().queues[1].running);
		assert_int_equal(test_port_events(&f.port, "message-refused"), i + 1);
		assert_false(test_port_queue(&f.port, 1).frontend_started);
	}
	test_vm_queue_start(&f.vm, 1, FRESH);
	assert_true(fake_now().queues[1].running);
	fixture_close(&f);
}

static void
class_b_goes_on_rather_than_lose_it(void **state)
{
	struct rp_wire_why why;
	struct fixture f;
	uint32_t base;

	(void)state;
	open_packed(&f, RP_ACCEL_CLASS_B);
	test_vm_queue_start(&f.vm, 1, FRESH);
	assert_int_equal(test_port_disable(&f.port, 1), -ENOTSUP);
	assert_true(test_port_queue(&f.port, 1).user_enabled);
	assert_true(fake_now().queues[1].running);
	assert_int_equal(rp_vhu_frontend_ring_enable(f.vm.frontend, 1, false, &why), 0);
	assert_true(fake_now().queues[1].running);
	assert_int_equal(rp_vhu_frontend_ring_enable(f.vm.frontend, 1, true, &why), 0);
	assert_int_equal(fake_now().queues[1].stops, 0);
	assert_int_equal(test_port_events(&f.port, "queue-not-stopped"), 2);
	/* A ring that goes must go. What is answered is no place to go on from, and is known again. */
	base = test_vm_queue_stop(&f.vm, 1);
	assert_false(fake_now().queues[1].running);
	test_vm_queue_start(&f.vm, 1, base);
	assert_lost(&f, 1);
	assert_int_equal(test_vm_queue_stop(&f.vm, 1), base);
	test_vm_queue_start(&f.vm, 1, FRESH);
	assert_true(fake_now().queues[1].running);
	assert_string_not_equal(test_port_queue(&f.port, 1).reason, LOST);
	fixture_close(&f);
}

/* Its neighbours go with it, and nobody knows where they were. */
static void
a_device_that_stops_only_whole(void **state)
{
	struct fixture f;

	(void)state;
	open_packed(&f, RP_ACCEL_CLASS_B);
	test_vm_start_all(&f.vm);
	FAKE_SET(stop_error, -ENOTSUP);
	test_vm_queue_stop(&f.vm, 1);
	assert_int_equal(fake_now().resets, 1);
	assert_lost(&f, 0);
	fixture_close(&f);
}

static bool
is_back(struct fixture *f)
{
	return test_port_events(&f->port, "accelerator-back") == 1;
}

static void
an_accelerator_that_died(void **state)
{
	struct fixture f;

	(void)state;
	open_packed(&f, RP_ACCEL_CLASS_A);
	test_vm_start_all(&f.vm);
	fake_accel_die(true);
	assert_true(fixture_becomes(&f, is_back));
	assert_lost(&f, 1);
	assert_lost(&f, 2);
	/* A wish of the user's outlives it. */
	assert_int_equal(test_port_disable(&f.port, 2), 0);
	test_vm_queue_stop(&f.vm, 1);
	test_vm_queue_stop(&f.vm, 2);
	test_vm_queue_start(&f.vm, 1, FRESH);
	test_vm_queue_start(&f.vm, 2, FRESH);
	assert_true(fake_now().queues[1].running);
	assert_false(fake_now().queues[2].running);
	assert_int_equal(test_port_enable(&f.port, 2), 0);
	assert_true(fake_now().queues[2].running);
	fixture_close(&f);
}

/* Where it began is where it stands, unless the ring shows that something was given back. */
static void
a_start_that_was_lost(void **state)
{
	struct rp_vring_layout layout;
	struct fixture f;
	uint16_t *flags;
	int used;

	(void)state;
	for (used = 0; used < 2; used++) {
		open_packed(&f, RP_ACCEL_CLASS_A);
		rp_vring_drv_layout(f.vm.queues[1].ring, &layout);
		flags = (uint16_t *)(f.vm.memory + (layout.desc_iova - TEST_VM_GPA) + 3 * 16 + 14);
		FAKE_SET(begun_error, -ETIMEDOUT);
		test_vm_queue_start(&f.vm, 1, 0x80038003);
		assert_int_equal(test_port_queue(&f.port, 1).mode, RP_PORT_QUEUE_STOPPED);
		/* In this round of the ring it was made available, or used. */
		*flags = htole16(used ? 0x8080 : 0x0080);
		FAKE_SET(begun_error, 0);
		FAKE_SET(quiet, true);
		assert_true(fixture_becomes(&f, is_back));
		if (used)
			assert_lost(&f, 1);
		else
			assert_true(fake_now().queues[1].running);
		assert_int_equal(fake_now().queues[1].starts, used ? 1 : 2);
		assert_int_equal(fake_now().queues[1].config.position, 0x80038003);
		fixture_close(&f);
	}
}

/* QEMU says so of a ring in mid-life, after its backend died. */
static void
fresh_is_not_believed_of_a_used_ring(void **state)
{
	struct rp_vring_layout layout;
	struct fixture f;
	uint16_t *flags;

	(void)state;
	open_packed(&f, RP_ACCEL_CLASS_A);
	rp_vring_drv_layout(f.vm.queues[1].ring, &layout);
	flags = (uint16_t *)(f.vm.memory + (layout.desc_iova - TEST_VM_GPA) + 63 * 16 + 14);
	*flags = htole16(0x8080);
	test_vm_queue_start(&f.vm, 1, FRESH);
	assert_lost(&f, 1);
	assert_int_equal(test_port_events(&f.port, "position-lost"), 1);
	test_vm_queue_stop(&f.vm, 1);
	/* Who knows better is believed. */
	test_vm_queue_start(&f.vm, 1, 0x00030003);
	assert_true(fake_now().queues[1].running);
	test_vm_queue_stop(&f.vm, 1);
	/* Available in the first round is not used. */
	*flags = htole16(0x0080);
	test_vm_queue_start(&f.vm, 1, FRESH);
	assert_true(fake_now().queues[1].running);
	fixture_close(&f);
}

/* A ring that stops where a fresh one begins, after any even number of rounds. */
static void
fresh_is_believed_of_a_ring_that_stopped_there(void **state)
{
	struct rp_vring_layout layout;
	struct fixture f;
	uint16_t *flags;

	(void)state;
	open_packed(&f, RP_ACCEL_CLASS_A);
	rp_vring_drv_layout(f.vm.queues[1].ring, &layout);
	/* The second descriptor of a chain of the second round: the device writes the first one alone. */
	flags = (uint16_t *)(f.vm.memory + (layout.desc_iova - TEST_VM_GPA) + 63 * 16 + 14);
	test_vm_queue_start(&f.vm, 1, FRESH);
	*flags = htole16(0x8000);
	FAKE_SET(queues[1].position, FRESH);
	assert_int_equal(test_vm_queue_stop(&f.vm, 1), FRESH);
	test_vm_queue_start(&f.vm, 1, FRESH);
	assert_true(fake_now().queues[1].running);
	/* Once: what a frontend says that was told nothing since is doubted as before. */
	test_vm_disconnect(&f.vm);
	test_vm_connect(&f.vm, fixture_config().socket_path, NULL);
	test_vm_queue_start(&f.vm, 1, FRESH);
	assert_lost(&f, 1);
	fixture_close(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(travels_whole),
		cmocka_unit_test(sixteen_bits_mean_a_drained_ring),
		cmocka_unit_test(refused_by_name),
		cmocka_unit_test(class_b_goes_on_rather_than_lose_it),
		cmocka_unit_test(a_device_that_stops_only_whole),
		cmocka_unit_test(an_accelerator_that_died),
		cmocka_unit_test(a_start_that_was_lost),
		cmocka_unit_test(fresh_is_not_believed_of_a_used_ring),
		cmocka_unit_test(fresh_is_believed_of_a_ring_that_stopped_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
