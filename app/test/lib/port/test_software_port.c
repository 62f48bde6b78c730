/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "fake_backend.h"
#include "port.h"
#include "traffic.h"

/*
 * The whole of a port with two sides, both of which serve rings: the fake accelerator and
 * the fake backend, each with a wire of its own between transmit and receive.
 */

#define MOVES 40u
#define LOG_ALL (1ull << RP_VHU_F_LOG_ALL_BIT)

static char backend_path[108];
static struct test_leaks leaks;

/* It does when it has seen the backend. */
static bool
listens(struct fixture *f)
{
	bool is;

	pthread_mutex_lock(&f->port.lock);
	is = f->port.port->endpoint != NULL;
	pthread_mutex_unlock(&f->port.lock);
	return is;
}

static void
wait_until_it_listens(struct fixture *f)
{
	unsigned int i;

	for (i = 0; i < LIMIT_MS && !listens(f); i++)
		usleep(1000);
	assert_true(listens(f));
}

static void
open_both(struct traffic *t, enum fake_backend_kind kind, uint64_t format, bool process)
{
	struct rp_port_config config = fixture_config();
	const struct test_vm_options options = {.ring_features = format};

	memset(t, 0, sizeof(*t));
	snprintf(backend_path, sizeof(backend_path), "%.90s.backend", test_socket_path());
	fake_backend_setup(kind, backend_path);
	FAKE_BACKEND_SET(features, fake_backend_now().features | TEST_VM_IN_ORDER);
	test_leaks_read(&leaks);
	if (process)
		fake_backend_fork();
	else
		fake_backend_start();
	config.software = (struct rp_port_software_config){
		.socket_path = backend_path, .socket_mode = RP_PORT_CLIENT, .timeout_ms = 5000, .reconnect_ms = 5};
	fixture_begin(&t->f);
	FAKE_SET(class, RP_ACCEL_CLASS_A);
	FAKE_SET(features, fake_now().features | 1ull << 28 | TEST_VM_PACKED | TEST_VM_IN_ORDER);
	fake_accel_serve();
	test_port_open(&t->f.port, &config, &fake_accel_registry);
	wait_until_it_listens(&t->f);
	test_vm_open(&t->f.vm, config.socket_path, 4, 64, &options);
	start_pair(t);
}

static void
close_both(struct traffic *t)
{
	test_vm_close(&t->f.vm);
	test_port_close(&t->f.port);
	fake_accel_teardown();
	fake_backend_stop();
	test_leaks_assert_none(&leaks);
	fake_backend_teardown();
}

static bool
wait_owner(struct traffic *t, unsigned int queue, enum rp_port_owner owner)
{
	unsigned int i;

	for (i = 0; i < LIMIT_MS; i++) {
		if (test_port_queue(&t->f.port, queue).owner == owner)
			return true;
		receive(t);
		rp_vhu_frontend_process(t->f.vm.frontend);
		usleep(1000);
	}
	return false;
}

static void
expect(struct traffic *t, enum rp_port_owner owner)
{
	unsigned int i;

	for (i = RX; i <= TX; i++)
		if (!wait_owner(t, i, owner))
			fail_msg("queue %u: %s serves it: %s; %s", i,
				 rp_port_owner_name(test_port_queue(&t->f.port, i).owner),
				 test_port_queue(&t->f.port, i).reason, test_port_queue(&t->f.port, i).wish_reason);
}

static void
move(struct traffic *t, enum rp_port_wish wish)
{
	struct rp_wire_why why = {0};
	int rc = test_port_move(&t->f.port, RX, 2, wish, &why);

	if (rc < 0)
		fail_msg("%s: %d: %s", rp_port_wish_name(wish), rc, why.text);
}

/* Frames are under way in each move. */
static void
move_there_and_back(enum fake_backend_kind kind, uint64_t format)
{
	static struct traffic t;
	unsigned int i;

	open_both(&t, kind, format, false);
	expect(&t, RP_PORT_OWNER_HARDWARE);
	for (i = 0; i < MOVES; i++) {
		send_frames(&t, 17);
		move(&t, i % 2 == 0 ? RP_PORT_WISH_SOFTWARE : RP_PORT_WISH_HARDWARE);
		expect(&t, i % 2 == 0 ? RP_PORT_OWNER_SOFTWARE : RP_PORT_OWNER_HARDWARE);
		send_frames(&t, 23);
	}
	all_arrive_once(&t);
	assert_int_equal(fake_backend_now().dropped, 0);
	assert_int_equal(fake_backend_now().rings[TX].discarded, 0);
	assert_true(fake_backend_now().rings[TX].moved > 0);
	close_both(&t);
}

static void
there_and_back(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < FORMATS_COUNT; i++) {
		move_there_and_back(FAKE_BACKEND_LIBRTE_VHOST, formats[i]);
		move_there_and_back(FAKE_BACKEND_SPECIFICATION, formats[i]);
	}
}

/* The backend is killed while it serves: its end is the proof, and the hardware goes on where the ring stands. */
static void
the_backend_is_killed(void **state)
{
	static struct traffic t;
	unsigned int i;

	(void)state;
	open_both(&t, FAKE_BACKEND_LIBRTE_VHOST, 0, true);
	for (i = 0; i < 3; i++) {
		move(&t, RP_PORT_WISH_SOFTWARE);
		expect(&t, RP_PORT_OWNER_SOFTWARE);
		send_frames(&t, 100);
		all_arrive_once(&t);
		move(&t, RP_PORT_WISH_AUTO);
		expect(&t, RP_PORT_OWNER_HARDWARE);
		test_port_move(&t.f.port, RX, 2, RP_PORT_WISH_SOFTWARE, NULL);
		expect(&t, RP_PORT_OWNER_SOFTWARE);
		fake_backend_kill();
		expect(&t, RP_PORT_OWNER_NONE);
		fake_backend_fork();
		expect(&t, RP_PORT_OWNER_SOFTWARE);
		send_frames(&t, 100);
		all_arrive_once(&t);
	}
	close_both(&t);
}

/* The accelerator dies: what it served is a slow queue, not a dead one. */
static void
the_accelerator_dies(void **state)
{
	static struct traffic t;

	(void)state;
	open_both(&t, FAKE_BACKEND_LIBRTE_VHOST, 0, false);
	expect(&t, RP_PORT_OWNER_HARDWARE);
	send_frames(&t, 50);
	all_arrive_once(&t);
	/* It would be back, and have its rings, before anybody looked. */
	FAKE_SET(open_error, -ENOENT);
	fake_accel_die(true);
	expect(&t, RP_PORT_OWNER_SOFTWARE);
	send_frames(&t, 50);
	all_arrive_once(&t);
	close_both(&t);
}

static bool
software_is_ready(struct fixture *f)
{
	(void)f;
	return fake_backend_now().device_ready;
}

/* Other memory comes where the parked rings were: they move, and nothing else does. */
static void
memory_where_parked_rings_are(void **state)
{
	struct rp_vhu_region regions[2];
	struct rp_wire_why why = {0};
	struct fake_backend before, after;
	static struct traffic t;
	unsigned int i;

	(void)state;
	open_both(&t, FAKE_BACKEND_LIBRTE_VHOST, 0, false);
	expect(&t, RP_PORT_OWNER_HARDWARE);
	assert_true(fixture_becomes(&t.f, software_is_ready));
	before = fake_backend_now();
	assert_int_equal(before.regions_count, 2);
	regions[0] = (struct rp_vhu_region){.gpa = TEST_VM_GPA,
					    .size_bytes = t.f.vm.memory_bytes,
					    .uva = (uint64_t)(uintptr_t)t.f.vm.memory,
					    .fd = t.f.vm.memory_fd};
	regions[1] = (struct rp_vhu_region){.gpa = before.regions[1].gpa,
					    .size_bytes = before.regions[1].size_bytes,
					    .uva = before.regions[1].uva,
					    .fd = t.f.vm.memory_fd};
	assert_int_equal(rp_vhu_frontend_set_mem_table(t.f.vm.frontend, regions, 2, &why), 0);
	after = fake_backend_now();
	assert_int_equal(after.regions_count, 3);
	for (i = 0; i < 2; i++) {
		assert_true(after.regions[2].gpa + after.regions[2].size_bytes <= after.regions[i].gpa ||
			    after.regions[i].gpa + after.regions[i].size_bytes <= after.regions[2].gpa);
		assert_true(after.regions[2].uva + after.regions[2].size_bytes <= after.regions[i].uva ||
			    after.regions[i].uva + after.regions[i].size_bytes <= after.regions[2].uva);
	}
	send_frames(&t, 50);
	move(&t, RP_PORT_WISH_SOFTWARE);
	send_frames(&t, 50);
	move(&t, RP_PORT_WISH_HARDWARE);
	send_frames(&t, 50);
	all_arrive_once(&t);
	close_both(&t);
}

/* One region more than the backend can take beside ours is refused in words. */
static void
too_many_regions(void **state)
{
	struct rp_vhu_region regions[RP_VHU_REGIONS_MAX];
	struct rp_wire_why why = {0};
	static struct traffic t;
	unsigned int i;

	(void)state;
	open_both(&t, FAKE_BACKEND_LIBRTE_VHOST, 0, false);
	for (i = 0; i < RP_VHU_REGIONS_MAX; i++)
		regions[i] = (struct rp_vhu_region){.gpa = TEST_VM_GPA + i * t.f.vm.memory_bytes,
						    .size_bytes = t.f.vm.memory_bytes,
						    .uva = (uint64_t)(uintptr_t)t.f.vm.memory + i * t.f.vm.memory_bytes,
						    .fd = t.f.vm.memory_fd};
	assert_true(rp_vhu_frontend_set_mem_table(t.f.vm.frontend, regions, RP_VHU_REGIONS_MAX, &why) < 0);
	assert_true(test_port_warned(&t.f.port, "at most 7"));
	assert_int_equal(rp_vhu_frontend_set_mem_table(t.f.vm.frontend, regions, RP_VHU_REGIONS_MAX - 1, &why), 0);
	assert_int_equal(fake_backend_now().regions_count, RP_VHU_REGIONS_MAX);
	close_both(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),	cmocka_unit_test(the_backend_is_killed),
		cmocka_unit_test(the_accelerator_dies), cmocka_unit_test(memory_where_parked_rings_are),
		cmocka_unit_test(too_many_regions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
