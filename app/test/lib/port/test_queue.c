/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "fixture.h"
#include "rp_wire_fd.h"

static void
runs_only_when_all_agree(void **state)
{
	struct fixture f;
	struct rp_wire_why why;

	(void)state;
	fixture_open(&f);
	assert_int_equal(test_port_disable(&f.port, 1), 0);
	test_vm_queue_start(&f.vm, 0, 0);
	test_vm_queue_start(&f.vm, 1, 0);
	assert_true(fake_now().queues[0].running);
	assert_false(fake_now().queues[1].running);
	assert_string_equal(test_port_queue(&f.port, 1).reason, "disabled by the user");
	assert_string_equal(test_port_queue(&f.port, 2).reason, "the frontend has not started the ring");

	assert_int_equal(rp_vhu_frontend_ring_enable(f.vm.frontend, 0, false, &why), 0);
	assert_false(fake_now().queues[0].running);
	assert_string_equal(test_port_queue(&f.port, 0).reason, "disabled by the frontend");
	assert_int_equal(test_port_enable(&f.port, 0), 0);
	assert_false(fake_now().queues[0].running);
	assert_int_equal(rp_vhu_frontend_ring_enable(f.vm.frontend, 0, true, &why), 0);
	assert_true(fake_now().queues[0].running);
	fixture_close(&f);
}

static void
set_used_index(struct fixture *f, unsigned int queue, uint16_t index)
{
	struct rp_vring_layout layout;

	rp_vring_drv_layout(f->vm.queues[queue].ring, &layout);
	*(volatile uint16_t *)(f->vm.memory + (layout.used_iova - TEST_VM_GPA) + 2) = htole16(index);
}

static void
starts_where_the_frontend_says(void **state)
{
	struct fixture f;
	struct rp_vring_layout layout;
	struct rp_accel_queue_config config;

	(void)state;
	fixture_open(&f);
	set_used_index(&f, 1, 7);
	test_vm_queue_start(&f.vm, 1, 7);
	rp_vring_drv_layout(f.vm.queues[1].ring, &layout);
	config = fake_now().queues[1].config;
	assert_int_equal(config.position, 7);
	assert_int_equal(config.num, 64);
	assert_int_equal(config.desc_iova, layout.desc_iova);
	assert_int_equal(config.avail_iova, layout.avail_iova);
	assert_int_equal(config.used_iova, layout.used_iova);
	FAKE_SET(queues[1].position, 19);
	assert_int_equal(test_vm_queue_stop(&f.vm, 1), 19);
	assert_false(fake_now().queues[1].running);
	assert_int_equal(test_port_events(&f.port, "index-corrected"), 0);
	fixture_close(&f);
}

/* DPDK's virtio-user does so when its backend comes back. */
static void
used_ring_corrects_a_frontend_that_forgot(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f);
	set_used_index(&f, 0, 65530);
	test_vm_queue_start(&f.vm, 0, 0);
	assert_int_equal(fake_now().queues[0].config.position, 65530);
	assert_int_equal(test_port_events(&f.port, "index-corrected"), 1);
	fixture_close(&f);
}

static void
device_holds_the_guests_own_eventfd(void **state)
{
	struct fixture f;
	struct rp_wire_why why;

	(void)state;
	fixture_open(&f);
	test_vm_queue_start(&f.vm, 0, 0);
	assert_int_equal(rp_wire_fd_same(fake_now().queues[0].call_fd, f.vm.queues[0].call_fd), 1);
	/* Masking a vector swaps the eventfd: that one vector is armed again. */
	assert_int_equal(rp_vhu_frontend_ring_call(f.vm.frontend, 0, f.vm.queues[1].call_fd, &why), 0);
	assert_int_equal(test_port_queue(&f.port, 0).relayed_interrupts, 0);
	assert_int_equal(rp_wire_fd_same(fake_now().queues[0].call_fd, f.vm.queues[1].call_fd), 1);
	assert_int_equal(fake_now().queues[0].calls, 1);
	fixture_close(&f);
}

static void
moves_on_from_where_it_was(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f);
	test_vm_queue_start(&f.vm, 0, 0);
	test_vm_queue_start(&f.vm, 1, 0);
	FAKE_SET(queues[1].position, 42);
	assert_int_equal(test_port_disable(&f.port, 1), 0);
	assert_int_equal(test_port_disable(&f.port, 1), 0);
	assert_int_equal(fake_now().queues[1].stops, 1);
	test_vm_interrupts(&f.vm, 1);
	FAKE_SET(queues[1].kicks, 0);
	assert_int_equal(test_port_enable(&f.port, 1), 0);
	assert_int_equal(test_port_enable(&f.port, 1), 0);
	assert_int_equal(fake_now().queues[1].starts, 2);
	assert_int_equal(fake_now().queues[1].config.position, 42);
	/* After a change of owner: the doorbell once, the guest's interrupt once. */
	assert_int_equal(fake_now().queues[1].kicks, 1);
	assert_int_equal(test_vm_interrupts(&f.vm, 1), 1);
	assert_int_equal(test_port_queue(&f.port, 1).moves, 2);
	/* Its neighbour noticed nothing. */
	assert_int_equal(fake_now().queues[0].starts, 1);
	assert_int_equal(fake_now().queues[0].stops, 0);
	assert_int_equal(test_port_queue(&f.port, 0).moves, 0);
	fixture_close(&f);
}

static bool
a_message_was_refused(struct fixture *f)
{
	return test_port_events(&f->port, "message-refused") == 1;
}

static void
features_come_once_per_pair(void **state)
{
	struct fixture f;
	struct rp_wire_why why;

	(void)state;
	fixture_open(&f);
	assert_int_equal(fake_now().negotiated, fake_now().features); /* not MQ, not PROTOCOL_FEATURES */
	assert_true((f.vm.features & 1ull << 22) != 0); /* MQ was offered, two pairs */
	test_vm_queue_start(&f.vm, 0, 0);
	assert_int_equal(rp_vhu_frontend_set_features(f.vm.frontend, f.vm.features, &why), 0);
	assert_int_equal(fake_now().queues[0].starts, 1);
	assert_true(fake_now().queues[0].running);
	/* Others while a ring runs are refused, and the ring goes on. */
	rp_vhu_frontend_set_features(f.vm.frontend, f.vm.features & ~(1ull << 29), &why);
	assert_true(fixture_becomes(&f, a_message_was_refused));
	assert_true(fake_now().queues[0].running);
	fixture_close(&f);
}

static bool
ring_0_was_refused(struct fixture *f)
{
	return strstr(test_port_queue(&f->port, 0).reason,
		      "has not started the ring; refused: SET_VRING_NUM: num: 32768, expected") != NULL;
}

static bool
the_frontend_is_gone(void *ctx)
{
	struct fixture *f = ctx;

	return test_port_events(&f->port, "frontend-disconnected") == 1;
}

/* DPDK's virtio-user asks for no answer, and its user sees a link that is up: the port says what is wrong. */
static void
a_ring_that_was_refused_says_why(void **state)
{
	struct fixture f;
	struct rp_vhu_frontend_ring ring = {.num = 32768, .kick_fd = -1, .call_fd = -1};
	struct rp_wire_why why;

	(void)state;
	fixture_open(&f);
	rp_vhu_frontend_ring_start(f.vm.frontend, 0, &ring, &why);
	assert_true(fixture_becomes(&f, ring_0_was_refused));
	test_vm_disconnect(&f.vm);
	assert_true(test_wait(the_frontend_is_gone, &f, LIMIT_MS));
	test_vm_connect(&f.vm, fixture_config().socket_path, NULL);
	assert_string_equal(test_port_queue(&f.port, 0).reason, "the frontend has not started the ring");
	fixture_close(&f);
}

static void
no_proof_no_owner(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f);
	test_vm_queue_start(&f.vm, 1, 0);
	FAKE_SET(stop_error, -ETIMEDOUT);
	FAKE_SET(open_error, -ECONNREFUSED);
	assert_int_equal(test_port_disable(&f.port, 1), -ETIMEDOUT);
	assert_int_equal(test_port_queue(&f.port, 1).mode, RP_PORT_QUEUE_STOPPED);
	assert_string_equal(test_port_queue(&f.port, 1).reason,
			    "the accelerator failed and nothing proves that it let go of the ring");
	assert_int_equal(test_port_enable(&f.port, 1), -ENOTCONN);
	assert_int_equal(test_port_events(&f.port, "queue-stop-failed"), 1);
	fixture_close(&f);
}

static void
refused_start_is_told(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f);
	FAKE_SET(start_error, -ENOTSUP);
	set_used_index(&f, 0, 5);
	test_vm_queue_start(&f.vm, 0, 5);
	assert_int_equal(test_port_queue(&f.port, 0).mode, RP_PORT_QUEUE_STOPPED);
	assert_string_equal(test_port_queue(&f.port, 0).reason, "not started: start refused");
	assert_int_equal(test_vm_queue_stop(&f.vm, 0), 5);
	fixture_close(&f);
}

static void
vmm_dies_and_comes_back(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f);
	test_vm_start_all(&f.vm);
	assert_int_equal(fake_now().mappings, 1);
	test_vm_disconnect(&f.vm);
	assert_true(test_port_wait_mode(&f.port, 0, RP_PORT_QUEUE_STOPPED, LIMIT_MS));
	test_vm_connect(&f.vm, fixture_config().socket_path, NULL);
	assert_int_equal(fake_now().mappings, 1);
	test_vm_start_all(&f.vm);
	assert_true(fake_now().queues[3].running);
	assert_int_equal(fake_now().queues[3].starts, 2);
	assert_int_equal(test_port_events(&f.port, "frontend-disconnected"), 1);
	fixture_close(&f);
}

static bool
negotiated_ahead(void *ctx)
{
	return fake_now().negotiations == *(const unsigned int *)ctx;
}

/* Before the next frontend comes, with what the last one acknowledged: if it does the same, the device is ready. */
static void
negotiated_before_the_next_frontend(void **state)
{
	struct test_vm_options other = {.features_mask = 1ull << 32 | 1ull << 30};
	struct fixture f;
	unsigned int wanted;

	(void)state;
	fixture_open(&f);
	test_vm_start_all(&f.vm);
	wanted = fake_now().negotiations + 1;
	test_vm_disconnect(&f.vm);
	assert_true(test_wait(negotiated_ahead, &wanted, LIMIT_MS));
	test_vm_connect(&f.vm, fixture_config().socket_path, NULL);
	test_vm_start_all(&f.vm);
	assert_true(fake_now().queues[3].running);
	assert_int_equal(fake_now().negotiations, wanted);
	/* Another, which sees something else. */
	wanted++;
	test_vm_disconnect(&f.vm);
	assert_true(test_wait(negotiated_ahead, &wanted, LIMIT_MS));
	test_vm_connect(&f.vm, fixture_config().socket_path, &other);
	assert_int_equal(fake_now().negotiations, wanted + 1);
	test_vm_start_all(&f.vm);
	assert_true(fake_now().queues[3].running);
	fixture_close(&f);
}

static bool
mapped_once(struct fixture *f)
{
	return f->vm.maps == 1 && test_port_queue(&f->port, 0).mode == RP_PORT_QUEUE_DIRECT;
}

static bool
mapped_again(struct fixture *f)
{
	return f->vm.maps == 2 && test_port_queue(&f->port, 0).mode == RP_PORT_QUEUE_DIRECT;
}

/* The guest's memory moves under a running ring: the device goes on where it stopped, at the new addresses. */
static void
memory_moves_under_a_running_ring(void **state)
{
	struct fixture f;
	struct rp_wire_why why;
	struct rp_vhu_region region;
	struct fake_accel fake;
	uint64_t was;

	(void)state;
	fixture_open(&f);
	test_vm_queue_start(&f.vm, 0, 0);
	assert_true(fixture_becomes(&f, mapped_once));
	fake = fake_now();
	was = fake.queues[0].config.desc_iova;
	fake_take()->queues[0].position = 17;
	fake_give();
	set_used_index(&f, 0, 17);
	region = (struct rp_vhu_region){
		.gpa = TEST_VM_GPA + 0x80000000,
		.size_bytes = f.vm.memory_bytes,
		.uva = (uint64_t)(uintptr_t)f.vm.memory,
		.fd = f.vm.memory_fd,
	};
	if (rp_vhu_frontend_set_mem_table(f.vm.frontend, &region, 1, &why) != 0)
		fail_msg("memory: %s", why.text);
	fake = fake_now();
	assert_true(fake.queues[0].running);
	assert_int_equal(fake.queues[0].stops, 1);
	assert_int_equal(fake.queues[0].starts, 2);
	assert_int_equal(fake.queues[0].config.position, 17);
	assert_int_equal(fake.queues[0].config.desc_iova, was + 0x80000000);
	/* The frontend kept the doorbell, so it is taken back and offered anew. */
	assert_true(fixture_becomes(&f, mapped_again));
	assert_int_equal(f.vm.unmaps, 1);
	fixture_close(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_only_when_all_agree),
		cmocka_unit_test(starts_where_the_frontend_says),
		cmocka_unit_test(used_ring_corrects_a_frontend_that_forgot),
		cmocka_unit_test(device_holds_the_guests_own_eventfd),
		cmocka_unit_test(moves_on_from_where_it_was),
		cmocka_unit_test(features_come_once_per_pair),
		cmocka_unit_test(a_ring_that_was_refused_says_why),
		cmocka_unit_test(no_proof_no_owner),
		cmocka_unit_test(refused_start_is_told),
		cmocka_unit_test(vmm_dies_and_comes_back),
		cmocka_unit_test(negotiated_before_the_next_frontend),
		cmocka_unit_test(memory_moves_under_a_running_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
