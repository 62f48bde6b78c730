/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "fake_backend.h"
#include "port.h"
#include "rp_wire_parcel.h"
#include "test_parcel.h"
#include "traffic.h"

/*
 * A port with a software backend: rings that it serves are taken from it before the port
 * ends, and given to it again by the next, while the frontend stays connected.
 */

#define FRAMES 150u

static char backend_path[108];
static bool alone; /* no accelerator */
static struct test_leaks leaks;
static struct traffic t;
static struct rp_wire_parcel *parcel;

static struct rp_port_config
config_of(enum rp_port_wish wish)
{
	struct rp_port_config config = fixture_config();

	config.wish = wish;
	config.accelerators_count = alone ? 0 : 1;
	config.software = (struct rp_port_software_config){
		.socket_path = backend_path, .socket_mode = RP_PORT_CLIENT, .timeout_ms = 5000, .reconnect_ms = 5};
	return config;
}

static bool
listens(void)
{
	bool is;

	pthread_mutex_lock(&t.f.port.lock);
	is = t.f.port.port->endpoint != NULL;
	pthread_mutex_unlock(&t.f.port.lock);
	return is;
}

static void
open_both(enum fake_backend_kind kind, uint64_t format, enum rp_port_wish wish)
{
	const struct rp_port_config config = config_of(wish);
	const struct test_vm_options options = {.ring_features = format};

	memset(&t, 0, sizeof(t));
	fake_backend_setup(kind, backend_path);
	FAKE_BACKEND_SET(features, fake_backend_now().features | TEST_VM_IN_ORDER);
	test_leaks_read(&leaks);
	fake_backend_start();
	fixture_begin(&t.f);
	FAKE_SET(class, RP_ACCEL_CLASS_A);
	FAKE_SET(features, fake_now().features | 1ull << 28 | TEST_VM_PACKED | TEST_VM_IN_ORDER);
	fake_accel_serve();
	test_port_open(&t.f.port, &config, &fake_accel_registry);
	while (!listens())
		usleep(1000);
	test_vm_open(&t.f.vm, config.socket_path, 4, 64, &options);
	start_pair(&t);
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
}

static void
close_both(void)
{
	parcel = rp_wire_parcel_destroy(parcel);
	test_vm_close(&t.f.vm);
	test_port_close(&t.f.port);
	fake_accel_teardown();
	fake_backend_stop();
	test_leaks_assert_none(&leaks);
	fake_backend_teardown();
}

static void
wait_owner(enum rp_port_owner owner)
{
	unsigned int i, queue;

	for (queue = RX; queue <= TX; queue++) {
		for (i = 0; i < LIMIT_MS && test_port_queue(&t.f.port, queue).owner != owner; i++) {
			rp_vhu_frontend_process(t.f.vm.frontend);
			usleep(1000);
		}
		assert_int_equal(test_port_queue(&t.f.port, queue).owner, owner);
	}
}

static void
hand_over(enum rp_port_wish wish)
{
	const struct rp_port_config config = config_of(wish);
	struct rp_wire_why why = {0};
	int rc = test_port_give(&t.f.port, parcel, &why);

	if (rc < 0)
		fail_msg("%d: %s", rc, why.text);
	rc = test_port_adopt(&t.f.port, &config, &fake_accel_registry, parcel, &why);
	if (rc < 0)
		fail_msg("%d: %s", rc, why.text);
}

static void
software_goes_on(enum fake_backend_kind kind, uint64_t format)
{
	open_both(kind, format, RP_PORT_WISH_SOFTWARE);
	wait_owner(RP_PORT_OWNER_SOFTWARE);
	send_frames(&t, FRAMES);
	hand_over(RP_PORT_WISH_SOFTWARE);
	wait_owner(RP_PORT_OWNER_SOFTWARE);
	send_frames(&t, FRAMES);
	all_arrive_once(&t);
	assert_int_equal(fake_backend_now().connections, 2);
	assert_int_equal(test_port_events(&t.f.port, "frontend-connected"), 1);
	assert_int_equal(test_port_events(&t.f.port, "frontend-disconnected"), 0);
	/* And from there to hardware, as ever. */
	assert_int_equal(test_port_move(&t.f.port, RX, 2, RP_PORT_WISH_HARDWARE, NULL), 0);
	send_frames(&t, FRAMES);
	all_arrive_once(&t);
	close_both();
}

static void
its_rings_go_on_in_the_successor(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < FORMATS_COUNT; i++) {
		software_goes_on(FAKE_BACKEND_LIBRTE_VHOST, formats[i]);
		software_goes_on(FAKE_BACKEND_SPECIFICATION, formats[i]);
	}
}

/* The hardware's rings do not care whether there is a software backend. */
static void
hardware_beside_it_is_not_touched(void **state)
{
	(void)state;
	open_both(FAKE_BACKEND_LIBRTE_VHOST, 0, RP_PORT_WISH_AUTO);
	wait_owner(RP_PORT_OWNER_HARDWARE);
	assert_true(fixture_becomes(&t.f, is_direct));
	send_frames(&t, FRAMES);
	hand_over(RP_PORT_WISH_AUTO);
	send_frames(&t, FRAMES);
	all_arrive_once(&t);
	assert_int_equal(fake_now().queues[RX].starts, 1);
	assert_int_equal(fake_now().queues[RX].stops, 0);
	/* The backend is there again, and its side can be moved to. */
	while (fake_backend_now().connections < 2)
		usleep(1000);
	wait_owner(RP_PORT_OWNER_HARDWARE);
	while (test_port_move(&t.f.port, RX, 2, RP_PORT_WISH_SOFTWARE, NULL) == -ENOTCONN)
		usleep(1000);
	wait_owner(RP_PORT_OWNER_SOFTWARE);
	send_frames(&t, FRAMES);
	all_arrive_once(&t);
	close_both();
}

/* Gone meanwhile: the frontend stays, and the rings wait. */
static void
a_backend_that_comes_later(void **state)
{
	struct rp_port_config config = config_of(RP_PORT_WISH_SOFTWARE);

	(void)state;
	open_both(FAKE_BACKEND_SPECIFICATION, 0, RP_PORT_WISH_SOFTWARE);
	wait_owner(RP_PORT_OWNER_SOFTWARE);
	send_frames(&t, FRAMES);
	assert_int_equal(test_port_give(&t.f.port, parcel, NULL), 0);
	fake_backend_stop();
	assert_int_equal(test_port_adopt(&t.f.port, &config, &fake_accel_registry, parcel, NULL), 0);
	while (test_port_events(&t.f.port, "software-waiting") == 0)
		usleep(1000);
	assert_int_equal(test_port_queue(&t.f.port, TX).owner, RP_PORT_OWNER_NONE);
	assert_true(test_port_info(&t.f.port).connected);
	fake_backend_start();
	wait_owner(RP_PORT_OWNER_SOFTWARE);
	send_frames(&t, FRAMES);
	all_arrive_once(&t);
	close_both();
}

/* The parcel that is to be adopted is one of a predecessor that did not know of this. */
static void
forget(const char *path)
{
	struct rp_wire_parcel *older = test_parcel_changed(parcel, TEST_PARCEL_DROP, path, 0);

	rp_wire_parcel_destroy(parcel);
	parcel = older;
}

/* Without accelerators, nothing is of any: nor in what the successor hands on. */
static void
after_one_that_knew_of_no_places(void **state)
{
	static const char *const paths[] = {
		"queue[1].doorbell[0].accelerator",
		"queue[1].doorbell[0].accelerator_queue",
		"queue[1].vfio_file[0].accelerator",
	};
	struct rp_port_config config;
	struct rp_wire_why why = {0};
	size_t i;

	(void)state;
	alone = true;
	config = config_of(RP_PORT_WISH_AUTO);
	open_both(FAKE_BACKEND_SPECIFICATION, 0, RP_PORT_WISH_AUTO);
	wait_owner(RP_PORT_OWNER_SOFTWARE);
	send_frames(&t, FRAMES);
	assert_int_equal(test_port_give(&t.f.port, parcel, NULL), 0);
	for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		forget(paths[i]);
	assert_int_equal(test_port_adopt(&t.f.port, &config, &fake_accel_registry, parcel, &why), 0);
	wait_owner(RP_PORT_OWNER_SOFTWARE);
	rp_wire_parcel_destroy(parcel);
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	hand_over(RP_PORT_WISH_AUTO);
	wait_owner(RP_PORT_OWNER_SOFTWARE);
	send_frames(&t, FRAMES);
	all_arrive_once(&t);
	close_both();
	alone = false;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(its_rings_go_on_in_the_successor),
		cmocka_unit_test(hardware_beside_it_is_not_touched),
		cmocka_unit_test(a_backend_that_comes_later),
		cmocka_unit_test(after_one_that_knew_of_no_places),
	};

	snprintf(backend_path, sizeof(backend_path), "%.90s.backend", test_socket_path());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
