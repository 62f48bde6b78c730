/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "fake_backend.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "stack.h"

/*
 * The moment at which a migration begins: one request, and a VMM that reads nothing before it
 * is answered. So does QEMU, and so does this guest's: its doorbells are still mapped when the
 * answer comes, and what it stores there finds nobody.
 */

#define RX 0
#define TX 1
#define LOG_BYTES ((TEST_VM_GPA + 4 * TEST_VM_QUEUE_BYTES) / RP_VHU_LOG_PAGE_BYTES / 8)
#define LOG_USED_AT(queue) (TEST_VM_GPA + TEST_VM_QUEUE_BYTES + 0x80000 + (queue)*RP_VHU_LOG_PAGE_BYTES)
#define ROUNDS 3
/* Of one request to the software backend; far from the frontend's patience of 5 s. */
#define SOFTWARE_TIMEOUT_MS 300

struct bed {
	struct stack_accel accel;
	struct test_port port;
	struct test_vm vm;
	int log_fd;
	int signal_fd;
	uint32_t sent;
	uint32_t received;
};

struct kind {
	enum fake_backend_kind backend;
	enum rp_port_software_kind port;
	uint64_t ring_features;
	enum rp_port_ring_policy ring;
};

static void
open_port(struct bed *bed, const struct kind *kind)
{
	static const struct rp_accel_driver *const drivers[] = {&rp_virtio_vfio_user_driver, NULL};
	static const struct rp_accel_registry registry = {.drivers = drivers};
	const char *accelerators[] = {stack_accel_arguments(0)};
	const struct rp_port_config config = {
		.name = "test",
		.socket_path = stack_port_socket(0),
		.socket_mode = RP_PORT_SERVER,
		.queue_pairs = 1,
		.accelerators = accelerators,
		.accelerators_count = 1,
		.doorbell_delay_ms = 1,
		.reconnect_ms = 5,
		.ring = kind->ring,
		.software =
			{
				.socket_path = stack_port_socket(1),
				.socket_mode = RP_PORT_CLIENT,
				.kind = kind->port,
				.timeout_ms = SOFTWARE_TIMEOUT_MS,
				.reconnect_ms = 5,
			},
	};

	test_port_open(&bed->port, &config, &registry);
}

static bool
listens(void *ctx)
{
	struct bed *bed = ctx;

	return test_port_info(&bed->port).features_offered != 0;
}

static void
open_bed(struct bed *bed, const struct kind *kind)
{
	static const struct stack_function function = {.queue_pairs = 1, .mac_last = 1};
	const struct test_vm_options options = {
		.ring_features = kind->ring_features,
		.deaf_while_waiting = true,
		.need_reply_always = true,
	};

	memset(bed, 0, sizeof(*bed));
	fake_backend_setup(kind->backend, stack_port_socket(1));
	fake_backend_start();
	stack_accel_start(&bed->accel, &function, 1);
	open_port(bed, kind);
	assert_true(test_wait(listens, bed, STACK_LIMIT_MS));
	test_vm_open(&bed->vm, stack_port_socket(0), 2, 64, &options);
	test_vm_start_all(&bed->vm);
	stack_wait_direct(&bed->vm, &bed->port);
	bed->log_fd = test_memfd(LOG_BYTES, false);
	bed->signal_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static void
close_bed(struct bed *bed)
{
	test_vm_close(&bed->vm);
	test_port_close(&bed->port);
	stack_accel_stop(&bed->accel);
	fake_backend_stop();
	fake_backend_teardown();
	rp_wire_fd_close(&bed->log_fd);
	rp_wire_fd_close(&bed->signal_fd);
}

static void
give_log(struct bed *bed)
{
	struct rp_wire_why why;

	assert_int_equal(rp_vhu_frontend_set_log_base(bed->vm.frontend, bed->log_fd, LOG_BYTES, 0, &why), 0);
	assert_int_equal(rp_vhu_frontend_set_log_fd(bed->vm.frontend, bed->signal_fd, &why), 0);
}

static int
log_all(struct bed *bed, bool on)
{
	struct rp_wire_why why;

	return rp_vhu_frontend_set_features(bed->vm.frontend, bed->vm.features | (on ? TEST_VM_LOG_ALL : 0), &why);
}

/* What QEMU says next: where writes to the used rings are logged. */
static void
log_used(struct bed *bed, unsigned int queue, bool on)
{
	uint64_t uva = (uint64_t)(uintptr_t)bed->vm.memory - TEST_VM_GPA;
	struct rp_vhu_frontend_ring ring = {0};
	struct rp_vring_layout layout;
	struct rp_wire_why why;

	rp_vring_drv_layout(bed->vm.queues[queue].ring, &layout);
	ring.num = layout.num;
	ring.desc_uva = layout.desc_iova + uva;
	ring.avail_uva = layout.avail_iova + uva;
	ring.used_uva = layout.used_iova + uva;
	if (on) {
		ring.flags = RP_VHU_VRING_ADDR_LOG_MASK;
		ring.log_gpa = LOG_USED_AT(queue);
	}
	assert_int_equal(rp_vhu_frontend_ring_addr(bed->vm.frontend, queue, &ring, &why), 0);
}

static void
assert_served(struct bed *bed, enum rp_port_queue_mode mode, enum rp_port_owner owner)
{
	unsigned int i;

	for (i = RX; i <= TX; i++) {
		struct rp_port_queue_info info = test_port_queue(&bed->port, i);

		if (info.mode != mode || info.owner != owner)
			fail_msg("queue %u is %s of %s: %s; %s", i, rp_port_queue_mode_name(info.mode),
				 rp_port_owner_name(info.owner), info.reason, info.wish_reason);
	}
}

/* What the software backend is sent comes back from it. */
static bool
all_came_back(void *ctx)
{
	struct bed *bed = ctx;
	struct stack_packet packet;

	while (stack_receive(&bed->vm, RX, &packet)) {
		assert_int_equal(packet.sequence, bed->received);
		bed->received++;
	}
	return bed->received == bed->sent;
}

static void
send_one(struct bed *bed)
{
	assert_true(stack_send(&bed->vm, TX, 1, 1, 0, bed->sent));
	bed->sent++;
}

static bool
has_no_doorbell(void *ctx)
{
	struct bed *bed = ctx;

	rp_vhu_frontend_process(bed->vm.frontend);
	return rp_vhu_frontend_notify_map(bed->vm.frontend, RX).address == NULL &&
	       rp_vhu_frontend_notify_map(bed->vm.frontend, TX).address == NULL;
}

static void
assert_doorbells_mapped(struct bed *bed, unsigned int unmaps)
{
	assert_non_null(rp_vhu_frontend_notify_map(bed->vm.frontend, RX).address);
	assert_non_null(rp_vhu_frontend_notify_map(bed->vm.frontend, TX).address);
	assert_int_equal(bed->vm.unmaps, unmaps);
}

/* The queues have moved when the answer is there, and nobody waited for the doorbells. */
static void
begin(struct bed *bed)
{
	unsigned int unmaps = bed->vm.unmaps;
	struct fake_backend backend;

	give_log(bed);
	assert_int_equal(log_all(bed, true), 0);
	assert_served(bed, RP_PORT_QUEUE_SOFTWARE, RP_PORT_OWNER_SOFTWARE);
	assert_doorbells_mapped(bed, unmaps);
	backend = fake_backend_now();
	assert_true(backend.has_log);
	assert_true((backend.features_acked & TEST_VM_LOG_ALL) != 0);
	assert_true(backend.rings[RX].serving && backend.rings[TX].serving);
	log_used(bed, RX, true);
	log_used(bed, TX, true);
	assert_doorbells_mapped(bed, unmaps);
	backend = fake_backend_now();
	assert_int_equal(backend.rings[TX].addr_flags, RP_VHU_VRING_ADDR_LOG_MASK);
	assert_int_equal(backend.rings[TX].log_gpa, LOG_USED_AT(TX));
}

static void
give_up(struct bed *bed)
{
	assert_int_equal(log_all(bed, false), 0);
	log_used(bed, RX, false);
	log_used(bed, TX, false);
	assert_true((fake_backend_now().features_acked & TEST_VM_LOG_ALL) == 0);
	stack_wait_direct(&bed->vm, &bed->port);
	assert_served(bed, RP_PORT_QUEUE_DIRECT, RP_PORT_OWNER_HARDWARE);
	assert_false(fake_backend_now().rings[RX].serving);
	assert_false(fake_backend_now().rings[TX].serving);
}

static void
migrate(const struct kind *kind)
{
	struct bed bed;
	unsigned int i;

	open_bed(&bed, kind);
	for (i = 0; i < ROUNDS; i++) {
		begin(&bed);
		/* Into the page that nobody watches: heard when the frontend says that it is gone. */
		send_one(&bed);
		assert_true(test_wait(has_no_doorbell, &bed, STACK_LIMIT_MS));
		assert_true(test_wait(all_came_back, &bed, STACK_LIMIT_MS));
		send_one(&bed);
		assert_true(test_wait(all_came_back, &bed, STACK_LIMIT_MS));
		give_up(&bed);
	}
	assert_int_equal(test_port_queue(&bed.port, TX).moves_to_software, ROUNDS);
	assert_int_equal(test_port_queue(&bed.port, TX).moves_to_hardware, ROUNDS);
	close_bed(&bed);
}

static void
answered_with_the_queues_moved(void **state)
{
	static const struct kind split = {FAKE_BACKEND_LIBRTE_VHOST, RP_PORT_SOFTWARE_LIBRTE_VHOST, 0,
					  RP_PORT_RING_AUTO};

	(void)state;
	migrate(&split);
}

static void
packed_rings_as_well(void **state)
{
	static const struct kind packed = {FAKE_BACKEND_LIBRTE_VHOST, RP_PORT_SOFTWARE_LIBRTE_VHOST, TEST_VM_PACKED,
					   RP_PORT_RING_AUTO};

	(void)state;
	migrate(&packed);
}

static void
a_backend_that_follows_the_specification(void **state)
{
	static const struct kind kinds[] = {
		{FAKE_BACKEND_SPECIFICATION, RP_PORT_SOFTWARE_SPECIFICATION, 0, RP_PORT_RING_AUTO},
		{FAKE_BACKEND_SPECIFICATION, RP_PORT_SOFTWARE_SPECIFICATION, TEST_VM_PACKED, RP_PORT_RING_AUTO},
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++)
		migrate(&kinds[i]);
}

static void
hang(struct bed *bed, const struct kind *kind)
{
	open_bed(bed, kind);
	give_log(bed);
	FAKE_BACKEND_SET(hang_at, (uint32_t)RP_VHU_SET_FEATURES);
}

static void
unhang(struct bed *bed)
{
	FAKE_BACKEND_SET(hang_at, 0u);
	FAKE_BACKEND_SET(deaf, false);
	close_bed(bed);
}

/* It costs the frontend that time, and the guest nothing: private rings log as well. */
static void
a_backend_that_hangs_at_that_moment(void **state)
{
	static const struct kind kind = {FAKE_BACKEND_LIBRTE_VHOST, RP_PORT_SOFTWARE_LIBRTE_VHOST, 0,
					 RP_PORT_RING_AUTO};
	struct bed bed;

	(void)state;
	hang(&bed, &kind);
	assert_int_equal(log_all(&bed, true), 0);
	assert_served(&bed, RP_PORT_QUEUE_SHADOW, RP_PORT_OWNER_HARDWARE);
	assert_doorbells_mapped(&bed, 0);
	assert_true(test_wait(has_no_doorbell, &bed, STACK_LIMIT_MS));
	assert_int_equal(test_port_events(&bed.port, "software-hangs"), 1);
	unhang(&bed);
}

/* Where the user wants no private rings: refused in words, and all is as it was. */
static void
a_backend_that_hangs_and_no_other_way(void **state)
{
	static const struct kind kind = {FAKE_BACKEND_LIBRTE_VHOST, RP_PORT_SOFTWARE_LIBRTE_VHOST, 0,
					 RP_PORT_RING_DIRECT};
	struct bed bed;

	(void)state;
	hang(&bed, &kind);
	assert_int_equal(log_all(&bed, true), -EREMOTEIO);
	assert_served(&bed, RP_PORT_QUEUE_DIRECT, RP_PORT_OWNER_HARDWARE);
	assert_doorbells_mapped(&bed, 0);
	assert_true(test_port_warned(&bed.port, "LOG_ALL"));
	unhang(&bed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answered_with_the_queues_moved),
		cmocka_unit_test(packed_rings_as_well),
		cmocka_unit_test(a_backend_that_follows_the_specification),
		cmocka_unit_test(a_backend_that_hangs_at_that_moment),
		cmocka_unit_test(a_backend_that_hangs_and_no_other_way),
	};

	return cmocka_run_group_tests(tests, stack_setup, stack_teardown);
}
