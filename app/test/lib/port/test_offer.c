/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "moves.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"

/* What a port with a software backend offers its frontend, and since when. */

#define MRG_RXBUF (1ull << 15)
#define MQ (1ull << 22)

static struct rp_port_config
both_sides(void)
{
	struct rp_port_config config = fixture_config();

	config.software.socket_path = "/nowhere/software.sock";
	return config;
}

static void
begin(struct traffic *t)
{
	memset(t, 0, sizeof(*t));
	fixture_begin(&t->f);
	fake_software_setup();
}

static void
unseen(void)
{
	SOFTWARE_SET(known, false);
	SOFTWARE_SET(usable, false);
}

static bool
is_serving(struct traffic *t)
{
	bool serving;

	pthread_mutex_lock(&t->f.port.lock);
	serving = t->f.port.port->serving;
	pthread_mutex_unlock(&t->f.port.lock);
	return serving;
}

static void
wait_for_service(struct traffic *t)
{
	int i;

	for (i = 0; i < LIMIT_MS && !is_serving(t); i++)
		usleep(1000);
	assert_true(is_serving(t));
}

static void
nobody_is_served_before_it_was_seen(void **state)
{
	static struct traffic t;
	struct rp_port_config config = both_sides();

	(void)state;
	begin(&t);
	unseen();
	SOFTWARE_SET(features, fake_software_now().features & ~MRG_RXBUF);
	test_port_open(&t.f.port, &config, &fake_accel_registry);
	usleep(20000);
	assert_int_equal(access(config.socket_path, F_OK), -1);
	assert_int_equal(test_port_events(&t.f.port, "software-awaited"), 1);
	assert_int_equal(test_port_queue(&t.f.port, RX).mode, RP_PORT_QUEUE_STOPPED);
	SOFTWARE_SET(come, true);
	wait_for_service(&t);
	test_vm_open(&t.f.vm, config.socket_path, 4, 64, NULL);
	start_pair(&t);
	expect_owner(&t, RP_PORT_OWNER_HARDWARE);
	fixture_close(&t.f);
}

static void
what_all_of_them_can(void **state)
{
	static struct traffic t;
	struct rp_port_config config = both_sides();
	uint64_t features;

	(void)state;
	begin(&t);
	/* One of the accelerator's alone; two of the software backend's alone, of which the log is not a device's. */
	SOFTWARE_SET(features, (fake_software_now().features & ~MRG_RXBUF) | 1ull << 7 | 1ull << 33);
	FAKE_SET(features, fake_now().features | 1ull << 33);
	fixture_open_with(&t.f, &config, NULL);
	features = test_port_info(&t.f.port).features_offered;
	assert_int_equal(features & MRG_RXBUF, 0);
	assert_int_equal(features & 1ull << 7, 0);
	assert_int_equal(features & 1ull << 33, 0);
	assert_int_not_equal(features & 1ull << 29, 0);
	assert_int_not_equal(features & TEST_VM_LOG_ALL, 0);
	assert_int_not_equal(features & MQ, 0);
	features = test_port_info(&t.f.port).protocol_features;
	assert_int_not_equal(features & 1ull << RP_VHU_PF_LOG_SHMFD_BIT, 0);
	assert_int_equal(features & 1ull << RP_VHU_PF_CONFIGURE_MEM_SLOTS_BIT, 0);
	fixture_close(&t.f);
}

/* One that cannot log: then LOG_ALL is offered by a migratable port only. */
static void
without_a_log(void **state)
{
	static struct traffic t;
	struct rp_port_config config = both_sides();
	int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		begin(&t);
		config.migratable = i == 1;
		SOFTWARE_SET(protocol_features, 0);
		fixture_open_with(&t.f, &config, NULL);
		assert_int_equal((test_port_info(&t.f.port).features_offered & TEST_VM_LOG_ALL) != 0, i == 1);
		fixture_close(&t.f);
	}
}

static void
without_accelerators(void **state)
{
	static struct traffic t;
	struct rp_port_config config = both_sides();
	struct rp_wire_why why = {0};

	(void)state;
	begin(&t);
	unseen();
	config.accelerators_count = 0;
	config.queue_pairs = 0;
	test_port_open(&t.f.port, &config, &fake_accel_registry);
	assert_int_equal(test_port_info(&t.f.port).queues_count, 0);
	assert_int_equal(test_port_move(&t.f.port, 0, 0, RP_PORT_WISH_AUTO, &why), -EINVAL);
	SOFTWARE_SET(come, true);
	wait_for_service(&t);
	test_vm_open(&t.f.vm, config.socket_path, 4, 64, NULL);
	assert_int_equal(test_port_info(&t.f.port).queues_count, 4);
	start_pair(&t);
	expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
	assert_string_equal(test_port_queue(&t.f.port, RX).wish_reason, "");
	assert_int_equal(test_port_queue(&t.f.port, RX).accelerator, -1);
	assert_int_equal(test_port_move(&t.f.port, RX, 1, RP_PORT_WISH_HARDWARE, &why), -ENOTSUP);
	assert_string_equal(why.text, "queue 0: no accelerator has this queue");
	expect_owner(&t, RP_PORT_OWNER_SOFTWARE);
	assert_int_equal(test_port_disable(&t.f.port, RX), 0);
	assert_int_equal(owner_of(&t, RX), RP_PORT_OWNER_NONE);
	assert_int_equal(test_port_enable(&t.f.port, RX), 0);
	send_frames(&t, 20);
	all_arrive_once(&t);
	fixture_close(&t.f);
}

static void
a_hundred_pairs_of_which_it_has_two(void **state)
{
	static struct traffic t;
	struct rp_port_config config = both_sides();

	(void)state;
	begin(&t);
	config.accelerators_count = 0;
	config.queue_pairs = 100;
	fixture_open_with(&t.f, &config, NULL);
	assert_int_equal(test_port_info(&t.f.port).queues_count, 4);
	assert_true(test_port_warned(&t.f.port, "queue_pairs: 100 wanted, the software backend has 2"));
	fixture_close(&t.f);
}

/* Rings of the accelerator that the software backend does not have stay there. */
static void
fewer_rings_than_the_accelerator(void **state)
{
	static struct traffic t;
	struct rp_port_config config = both_sides();
	struct rp_wire_why why = {0};

	(void)state;
	begin(&t);
	SOFTWARE_SET(queues_max, 2u);
	fixture_open_with(&t.f, &config, NULL);
	test_vm_start_all(&t.f.vm);
	assert_int_equal(test_port_move(&t.f.port, 2, 2, RP_PORT_WISH_SOFTWARE, &why), -ENOTSUP);
	assert_string_equal(why.text, "queue 2: the software backend has fewer rings");
	assert_int_equal(owner_of(&t, 2), RP_PORT_OWNER_HARDWARE);
	assert_int_equal(test_port_move(&t.f.port, 0, 2, RP_PORT_WISH_SOFTWARE, &why), 0);
	fixture_close(&t.f);
}

/* A disk: its rings are told one by one, its configuration is the software backend's. */
static void
another_device(void **state)
{
	static struct traffic t;
	struct rp_port_config config = both_sides();
	struct rp_wire_why why;
	uint8_t bytes[4] = {0};

	(void)state;
	begin(&t);
	SOFTWARE_SET(queues_max, 3u);
	SOFTWARE_SET(protocol_features, 1ull << RP_VHU_PF_CONFIG_BIT | 1ull << RP_VHU_PF_RARP_BIT);
	config.accelerators_count = 0;
	config.queue_pairs = 0;
	config.device = RP_PORT_DEVICE_OTHER;
	test_port_open(&t.f.port, &config, &fake_accel_registry);
	test_vm_open(&t.f.vm, config.socket_path, 3, 64, NULL);
	assert_int_equal(test_port_info(&t.f.port).queues_count, 3);
	assert_int_equal(rp_vhu_frontend_queues_offered(t.f.vm.frontend), 3);
	assert_int_equal(test_port_info(&t.f.port).features_offered & (MQ | 1ull << 21), 0);
	assert_int_equal(test_port_info(&t.f.port).protocol_features & 1ull << RP_VHU_PF_RARP_BIT, 0);
	assert_int_equal(rp_vhu_frontend_get_config(t.f.vm.frontend, 8, sizeof(bytes), bytes, &why), 0);
	assert_int_equal(bytes[0], 0x48);
	assert_int_equal(rp_vhu_frontend_set_config(t.f.vm.frontend, 8, sizeof(bytes), bytes, false, &why), 0);
	/* Nobody is there to be asked: an answer all the same, and the connection stays. */
	SOFTWARE_SET(usable, false);
	assert_int_equal(rp_vhu_frontend_get_config(t.f.vm.frontend, 8, sizeof(bytes), bytes, &why), -EREMOTEIO);
	assert_int_equal(rp_vhu_frontend_set_config(t.f.vm.frontend, 8, sizeof(bytes), bytes, false, &why), 0);
	assert_true(test_port_info(&t.f.port).connected);
	fixture_close(&t.f);
}

static void
what_is_the_software_backends_alone(void **state)
{
	static struct traffic t;
	struct rp_port_config config = both_sides();
	static const uint8_t mac[6] = {0x52, 0x54, 0, 1, 2, 3};
	struct rp_wire_why why;

	(void)state;
	begin(&t);
	fixture_open_with(&t.f, &config, NULL);
	assert_int_equal(rp_vhu_frontend_set_mtu(t.f.vm.frontend, 1400, &why), 0);
	assert_int_equal(rp_vhu_frontend_send_rarp(t.f.vm.frontend, mac, &why), 0);
	assert_int_equal(fake_software_now().mtu, 1400);
	assert_int_equal(fake_software_now().rarps, 1);
	/* Without it there is nobody to tell, which is not the frontend's mistake. */
	SOFTWARE_SET(usable, false);
	assert_int_equal(rp_vhu_frontend_send_rarp(t.f.vm.frontend, mac, &why), 0);
	fixture_close(&t.f);
}

/* Somebody listens there when it is time: said, and tried again. */
static void
a_socket_that_is_taken(void **state)
{
	static struct traffic t;
	struct rp_port_config config = both_sides();
	struct rp_wire_why why;
	int other = -1, i;

	(void)state;
	begin(&t);
	unseen();
	test_port_open(&t.f.port, &config, &fake_accel_registry);
	assert_int_equal(rp_wire_socket_listen(config.socket_path, &other, &why), 0);
	SOFTWARE_SET(come, true);
	for (i = 0; i < LIMIT_MS && test_port_events(&t.f.port, "frontend-not-served") == 0; i++)
		usleep(1000);
	assert_true(test_port_warned(&t.f.port, "another process listens there"));
	/* In this order: what the port makes there stays. */
	unlink(config.socket_path);
	rp_wire_fd_close(&other);
	wait_for_service(&t);
	test_vm_open(&t.f.vm, config.socket_path, 4, 64, NULL);
	fixture_close(&t.f);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_is_served_before_it_was_seen),
		cmocka_unit_test(what_all_of_them_can),
		cmocka_unit_test(without_a_log),
		cmocka_unit_test(without_accelerators),
		cmocka_unit_test(a_hundred_pairs_of_which_it_has_two),
		cmocka_unit_test(fewer_rings_than_the_accelerator),
		cmocka_unit_test(another_device),
		cmocka_unit_test(what_is_the_software_backends_alone),
		cmocka_unit_test(a_socket_that_is_taken),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
