/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>

#include "software_fixture.h"

#define BIT(n) (1ull << (n))

static bool
is_connected(const struct fake_backend *fake)
{
	return fake->connected && fake->features_acked != 0;
}

static bool
is_disconnected(const struct fake_backend *fake)
{
	return !fake->connected;
}

static bool
pair_is_served(const struct fake_backend *fake)
{
	return fake->rings[0].serving && fake->rings[1].serving;
}

static bool
hangs(const struct fake_backend *fake)
{
	return fake->deaf;
}

/* Nothing is known before it was seen; then all of it is. */
static void
known_when_seen(void **state)
{
	struct rp_port_software_config config;
	struct rp_port_software_info info;
	struct software_fixture f;

	(void)state;
	software_begin(&f, FAKE_BACKEND_LIBRTE_VHOST);
	config = software_config(&f);
	small_port_open(&f.small, &config);
	usleep(QUIET_MS * 1000);
	assert_false(small_port_info(&f.small).usable);
	assert_true(small_port_info(&f.small).reason[0] != '\0');
	assert_false(port_software_known(&f.small.port));
	assert_int_equal(small_port_events(&f.small, "software-waiting"), 1);
	fake_backend_start();
	assert_true(small_port_wait_usable(&f.small, true, LIMIT_MS));
	info = small_port_info(&f.small);
	assert_true(info.configured && info.connected);
	assert_string_equal(info.reason, "");
	assert_int_equal(info.kind, RP_PORT_SOFTWARE_LIBRTE_VHOST);
	assert_int_equal(info.pid, getpid());
	assert_int_equal(info.features, fake_backend_now().features);
	assert_int_equal(port_software_queues_max(&f.small.port), FAKE_BACKEND_RINGS);
	assert_int_equal(port_software_protocol_features(&f.small.port),
			 BIT(RP_VHU_PF_LOG_SHMFD_BIT) | BIT(RP_VHU_PF_RARP_BIT) | BIT(RP_VHU_PF_MTU_BIT));
	/* What only makes trouble behind a port was never asked for. */
	assert_int_equal(fake_backend_now().protocol_features_acked &
				 (BIT(RP_VHU_PF_PAGEFAULT_BIT) | BIT(RP_VHU_PF_HOST_NOTIFIER_BIT) |
				  BIT(RP_VHU_PF_STATUS_BIT) | BIT(RP_VHU_PF_INBAND_NOTIFICATIONS_BIT)),
			 0);
	software_close_port(&f);
}

/* The backend connects, and the port listens; a second one is turned away. */
static void
the_backend_connects(void **state)
{
	struct rp_port_software_config config;
	struct software_fixture f;

	(void)state;
	software_begin(&f, FAKE_BACKEND_SPECIFICATION);
	FAKE_BACKEND_SET(client, true);
	config = software_config(&f);
	config.socket_mode = RP_PORT_SERVER;
	small_port_open(&f.small, &config);
	fake_backend_start();
	small_port_listen(&f.small, test_socket_path(), RINGS);
	software_open_vm(&f, 0);
	software_set_serves(&f, true);
	software_start(&f, 2);
	assert_true(software_traffic(&f, 0, 10));
	software_close(&f);
}

/* It goes in the middle of traffic, and comes back: told everything, and asked to go on where the ring stands. */
static void
come_back_as(enum fake_backend_kind kind)
{
	struct software_fixture f;
	struct fake_backend fake;

	software_open(&f, kind, 0);
	software_set_serves(&f, true);
	software_start(&f, 2);
	assert_true(software_traffic(&f, 0, 10));
	FAKE_BACKEND_SET(die_at, (uint32_t)RP_VHU_NET_SET_MTU);
	pthread_mutex_lock(&f.small.lock);
	assert_int_equal(port_software_set_mtu(&f.small.port, 1400, &f.small.why), -ENOTCONN);
	pthread_mutex_unlock(&f.small.lock);
	assert_true(software_wait(pair_is_served));
	fake = fake_backend_now();
	assert_int_equal(fake.connections, 2);
	assert_int_equal(fake.mtu_bytes, 1400);
	assert_int_equal(fake.rings[1].bases_told >= 2, true);
	assert_true(software_traffic(&f, 0, 10));
	assert_true(f.small.gones >= 1 && f.small.usables >= 2 && f.small.provens >= 1);
	software_close(&f);
}

static void
comes_back(void **state)
{
	(void)state;
	come_back_as(FAKE_BACKEND_LIBRTE_VHOST);
	come_back_as(FAKE_BACKEND_SPECIFICATION);
}

/* Dies in the middle of each request that a start and a stop make; each time it is whole again afterwards. */
static void
die_at_each(enum fake_backend_kind kind, bool answers_first)
{
	static const uint32_t requests[] = {
		RP_VHU_SET_MEM_TABLE,  RP_VHU_SET_VRING_NUM,  RP_VHU_SET_VRING_BASE,   RP_VHU_SET_VRING_ADDR,
		RP_VHU_SET_VRING_KICK, RP_VHU_SET_VRING_CALL, RP_VHU_SET_VRING_ENABLE, RP_VHU_GET_VRING_BASE,
	};
	struct software_fixture f;
	unsigned int i;

	software_open(&f, kind, 0);
	software_set_serves(&f, true);
	software_start(&f, 2);
	for (i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		if (answers_first)
			FAKE_BACKEND_SET(die_after, requests[i]);
		else
			FAKE_BACKEND_SET(die_at, requests[i]);
		software_set_serves(&f, false);
		small_port_take(&f.small, 1, 1);
		small_port_take(&f.small, 0, 1);
		software_set_serves(&f, true);
		small_port_serve(&f.small, 0);
		small_port_serve(&f.small, 1);
		FAKE_BACKEND_SET(die_after, (uint32_t)0);
		FAKE_BACKEND_SET(die_at, (uint32_t)0);
		assert_true(small_port_wait_ring(&f.small, 0, PORT_SOFTWARE_RING_SERVES, LIMIT_MS));
		assert_true(small_port_wait_ring(&f.small, 1, PORT_SOFTWARE_RING_SERVES, LIMIT_MS));
		assert_true(software_traffic(&f, 0, 10));
	}
	software_close(&f);
}

static void
dies_at_each(void **state)
{
	(void)state;
	die_at_each(FAKE_BACKEND_LIBRTE_VHOST, false);
	die_at_each(FAKE_BACKEND_LIBRTE_VHOST, true);
	die_at_each(FAKE_BACKEND_SPECIFICATION, false);
	die_at_each(FAKE_BACKEND_SPECIFICATION, true);
}

/* With less than before it is refused in words, until it has all of it again. */
static void
fewer(void (*take_away)(struct fake_backend *), void (*give_back)(struct fake_backend *), const char *words)
{
	struct software_fixture f;
	struct rp_port_software_info info;
	uint64_t deadline_ms = rp_wire_clock_ms() + LIMIT_MS;

	software_open(&f, FAKE_BACKEND_SPECIFICATION, 0);
	software_set_serves(&f, true);
	software_start(&f, 2);
	assert_true(software_traffic(&f, 0, 5));
	take_away(fake_backend_take());
	fake_backend_give();
	fake_backend_stop();
	fake_backend_start();
	do
		info = small_port_info(&f.small);
	while (strstr(info.reason, words) == NULL && rp_wire_clock_ms() < deadline_ms);
	assert_non_null(strstr(info.reason, words));
	assert_false(info.usable);
	usleep(QUIET_MS * 1000);
	assert_int_equal(small_port_events(&f.small, "software-refused"), 1); /* said once */
	give_back(fake_backend_take());
	fake_backend_give();
	assert_true(small_port_wait_usable(&f.small, true, LIMIT_MS));
	assert_true(software_traffic(&f, 0, 5));
	software_close(&f);
}

static void
less_features(struct fake_backend *fake)
{
	fake->features &= ~BIT(15);
}

static void
more_features(struct fake_backend *fake)
{
	fake->features |= BIT(15) | BIT(5);
}

static void
less_protocol(struct fake_backend *fake)
{
	fake->protocol_features &= ~BIT(RP_VHU_PF_LOG_SHMFD_BIT);
}

static void
more_protocol(struct fake_backend *fake)
{
	fake->protocol_features |= BIT(RP_VHU_PF_LOG_SHMFD_BIT);
}

static void
less_rings(struct fake_backend *fake)
{
	fake->queues = 1;
}

static void
more_rings(struct fake_backend *fake)
{
	fake->queues = FAKE_BACKEND_RINGS;
}

static void
fewer_when_it_comes_back(void **state)
{
	(void)state;
	fewer(less_features, more_features, "without features 0x8000");
	fewer(less_protocol, more_protocol, "without protocol features 0x2");
	fewer(less_rings, more_rings, "with 2 rings");
}

/* A new frontend finds a backend that knows nothing of the one before. */
static void
the_frontend_goes(void **state)
{
	struct software_fixture f;
	unsigned int connections;

	(void)state;
	software_open(&f, FAKE_BACKEND_LIBRTE_VHOST, 0);
	software_set_serves(&f, true);
	software_start(&f, 2);
	assert_true(software_traffic(&f, 0, 5));
	connections = fake_backend_now().connections;
	test_vm_close(&f.vm);
	assert_true(small_port_wait_usable(&f.small, false, LIMIT_MS) || true);
	assert_true(small_port_wait_usable(&f.small, true, LIMIT_MS));
	f.sent = f.received = 0;
	software_open_vm(&f, TEST_VM_PACKED);
	software_start(&f, 2);
	assert_true(software_traffic(&f, 0, 5));
	assert_true(fake_backend_now().connections > connections);
	assert_int_equal(fake_backend_now().regions_count, 2); /* this guest's and ours */
	software_close(&f);
}

/* The guest's driver is loaded again, with other features: the device that stopped takes them. */
static void
another_driver_with_other_features(void **state)
{
	struct software_fixture f;
	struct rp_wire_why why;
	unsigned int i;

	(void)state;
	software_open(&f, FAKE_BACKEND_LIBRTE_VHOST, 0);
	software_set_serves(&f, true);
	software_start(&f, 2);
	assert_true(software_traffic(&f, 0, 5));
	for (i = 0; i < 2; i++)
		test_vm_queue_stop(&f.vm, i);
	assert_false(fake_backend_now().device_ready);
	assert_int_equal(rp_vhu_frontend_set_features(f.vm.frontend, f.vm.features & ~BIT(15), &why), 0);
	assert_int_equal(fake_backend_now().features_acked & BIT(15), 0);
	software_close(&f);
}

/* Somebody who accepts and says nothing costs nobody any time, and is taken when it speaks. */
static void
accepts_and_says_nothing(void **state)
{
	struct rp_port_software_config config;
	struct software_fixture f;
	uint64_t before_ms;
	unsigned int i;

	(void)state;
	software_begin(&f, FAKE_BACKEND_SPECIFICATION);
	FAKE_BACKEND_SET(hang_at, (uint32_t)RP_VHU_GET_FEATURES);
	fake_backend_start();
	config = software_config(&f);
	config.timeout_ms = 60000;
	small_port_open(&f.small, &config);
	assert_true(software_wait(hangs));
	before_ms = rp_wire_clock_ms();
	for (i = 0; i < 10; i++)
		assert_false(small_port_info(&f.small).usable);
	assert_true(rp_wire_clock_ms() - before_ms < LIMIT_MS);
	assert_non_null(strstr(small_port_info(&f.small).reason, "answers nothing"));
	assert_int_equal(small_port_info(&f.small).timeouts, 0);
	FAKE_BACKEND_SET(deaf, false);
	assert_true(small_port_wait_usable(&f.small, true, LIMIT_MS));
	software_close_port(&f);
}

/* Slow is not hung. */
static void
slow_is_not_hung(void **state)
{
	struct software_fixture f;

	(void)state;
	software_open(&f, FAKE_BACKEND_LIBRTE_VHOST, 0);
	FAKE_BACKEND_SET(slow_ms, (uint32_t)20);
	software_set_serves(&f, true);
	software_start(&f, 2);
	FAKE_BACKEND_SET(slow_ms, (uint32_t)0);
	assert_true(software_traffic(&f, 0, 5));
	assert_int_equal(small_port_info(&f.small).timeouts, 0);
	assert_int_equal(small_port_info(&f.small).connections, 1);
	software_close(&f);
}

/* What is passed on, and what a backend without it is not asked. */
static void
passed_on(void **state)
{
	static const uint8_t mac[6] = {0x52, 0x54, 0, 1, 2, 3};
	struct software_fixture f;
	struct rp_wire_why why;
	struct rp_port *port;

	(void)state;
	software_open(&f, FAKE_BACKEND_SPECIFICATION, 0);
	assert_true(software_wait(is_connected));
	port = &f.small.port;
	pthread_mutex_lock(&f.small.lock);
	assert_int_equal(port_software_send_rarp(port, mac, &why), 0);
	assert_int_equal(port_software_set_mtu(port, 9000, &why), 0);
	assert_true(port_software_get_config(port, 0, 8, (uint8_t[8]){0}, &why) == -ENOTSUP);
	pthread_mutex_unlock(&f.small.lock);
	assert_int_equal(fake_backend_now().rarps, 1);
	assert_int_equal(fake_backend_now().mtu_bytes, 9000);
	software_close(&f);
}

static unsigned int
config_changes(struct software_fixture *f)
{
	unsigned int count;

	pthread_mutex_lock(&f->small.lock);
	count = f->small.config_changes;
	pthread_mutex_unlock(&f->small.lock);
	return count;
}

/* A disk: its configuration and its requests in flight are the backend's. */
static void
another_device(void **state)
{
	struct rp_port_software_config config;
	struct software_fixture f;
	struct rp_wire_why why;
	uint64_t size_bytes, offset_bytes;
	unsigned int i;
	uint8_t bytes[8];
	int fd = -1;

	(void)state;
	software_begin(&f, FAKE_BACKEND_SPECIFICATION);
	FAKE_BACKEND_SET(protocol_features, fake_backend_now().protocol_features | BIT(RP_VHU_PF_CONFIG_BIT) |
						    BIT(RP_VHU_PF_INFLIGHT_SHMFD_BIT));
	fake_backend_take()->config[3] = 7;
	fake_backend_give();
	config = software_config(&f);
	small_port_open(&f.small, &config);
	pthread_mutex_lock(&f.small.lock);
	f.small.port.device = RP_PORT_DEVICE_OTHER;
	pthread_mutex_unlock(&f.small.lock);
	fake_backend_start();
	assert_true(small_port_wait_usable(&f.small, true, LIMIT_MS));
	pthread_mutex_lock(&f.small.lock);
	assert_int_equal(port_software_get_config(&f.small.port, 0, 8, bytes, &why), 0);
	assert_int_equal(bytes[3], 7);
	bytes[3] = 9;
	assert_int_equal(port_software_set_config(&f.small.port, 0, 8, bytes, 0, &why), 0);
	assert_int_equal(port_software_get_inflight(&f.small.port, 1, 64, &fd, &size_bytes, &offset_bytes, &why), 0);
	pthread_mutex_unlock(&f.small.lock);
	assert_true(fd >= 0 && size_bytes > 0);
	assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	close(fd);
	assert_int_equal(fake_backend_now().config[3], 9);
	fake_backend_change_config();
	for (i = 0; config_changes(&f) == 0 && i < LIMIT_MS; i++)
		usleep(1000);
	assert_int_equal(config_changes(&f), 1);
	software_close_port(&f);
}

/* A path that cannot be one, a time-out that cannot be one. */
static void
settings_that_cannot_be(void **state)
{
	static const char long_path[] = "/tmp/"
					"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
					"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
	struct rp_port_software_config config = {.socket_path = long_path};
	struct rp_wire_why why = {0};
	struct rp_port port = {0};

	(void)state;
	port.epoll_fd = -1;
	assert_int_equal(port_software_open(&port, &config, &why), -EINVAL);
	assert_null(port.software);
	config.socket_path = "";
	assert_int_equal(port_software_open(&port, &config, &why), -EINVAL);
	config = (struct rp_port_software_config){.socket_path = "x", .timeout_ms = UINT32_MAX};
	assert_int_equal(port_software_open(&port, &config, &why), -EINVAL);
	assert_non_null(strstr(why.text, "timeout"));
	config.socket_path = NULL;
	assert_int_equal(port_software_open(&port, &config, &why), 0);
	assert_false(port_software_configured(&port));
	assert_false(port_software_usable(&port));
	assert_int_equal(port_software_features(&port), 0);
	assert_int_equal(port_software_deadline(&port), 0);
	port_software_tick(&port, 1);
	port_software_frontend_gone(&port);
	port_software_close(&port);
}

/* The connection is dropped when the port goes; nothing else waits for anybody. */
static void
the_port_closes_while_it_hangs(void **state)
{
	struct rp_port_software_config config;
	struct software_fixture f;

	(void)state;
	software_begin(&f, FAKE_BACKEND_SPECIFICATION);
	fake_backend_start();
	config = software_config(&f);
	config.timeout_ms = 100;
	software_open_port(&f, &config);
	software_open_vm(&f, 0);
	software_set_serves(&f, true);
	software_start(&f, 2);
	FAKE_BACKEND_SET(deaf, true);
	small_port_close(&f.small);
	test_vm_close(&f.vm);
	FAKE_BACKEND_SET(deaf, false);
	assert_true(software_wait(is_disconnected));
	fake_backend_stop();
	test_leaks_assert_none(&f.leaks);
	fake_backend_teardown();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_when_seen),
		cmocka_unit_test(the_backend_connects),
		cmocka_unit_test(comes_back),
		cmocka_unit_test(dies_at_each),
		cmocka_unit_test(fewer_when_it_comes_back),
		cmocka_unit_test(the_frontend_goes),
		cmocka_unit_test(another_driver_with_other_features),
		cmocka_unit_test(accepts_and_says_nothing),
		cmocka_unit_test(slow_is_not_hung),
		cmocka_unit_test(passed_on),
		cmocka_unit_test(another_device),
		cmocka_unit_test(settings_that_cannot_be),
		cmocka_unit_test(the_port_closes_while_it_hangs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
