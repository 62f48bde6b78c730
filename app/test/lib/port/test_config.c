/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>

#include "fixture.h"
#include "rp_wire_socket.h"

static void
refused(const struct rp_port_config *config, int error, const char *words)
{
	struct rp_port *port = NULL;
	struct rp_wire_why why = {0};
	struct test_leaks before;

	test_leaks_read(&before);
	assert_int_equal(rp_port_create(config, &fake_accel_registry, NULL, NULL, &port, &why), error);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s', expected '%s' in it", why.text, words);
	assert_null(port);
	test_leaks_assert_none(&before);
}

static void
every_field_is_named(void **state)
{
	static const char *const unknown[] = {"fake,speed=9"};
	struct rp_port_config config;
	char long_path[200];

	(void)state;
	fake_accel_setup();
	config = fixture_config(), config.name = "";
	refused(&config, -EINVAL, "name: 0 characters");
	config = fixture_config(), config.name = "a b";
	refused(&config, -EINVAL, "name: 'a b'");
	config = fixture_config(), config.net.has_mac = true;
	refused(&config, -EINVAL, "mac: expected");
	config.net.mac[0] = 1;
	refused(&config, -EINVAL, "mac: expected");
	config = fixture_config(), config.accelerators_count = 0;
	refused(&config, -EINVAL, "accelerators: 0 given");
	config = fixture_config(), config.queue_pairs = 3;
	refused(&config, -EINVAL, "queue_pairs: 3 wanted, the accelerators have 2");
	config = fixture_config(), config.accelerators = unknown;
	refused(&config, -EBADMSG, "speed");
	memset(long_path, 'x', sizeof(long_path) - 1), long_path[sizeof(long_path) - 1] = '\0';
	config = fixture_config(), config.socket_path = long_path;
	refused(&config, -EINVAL, "socket");
	config = fixture_config();
	FAKE_SET(open_error, -ENOENT);
	refused(&config, -ENOENT, "nobody listens");
	fake_accel_teardown();
}

/* Who may serve the queues: what does not go together is said before anything is opened. */
static void
sides_go_together(void **state)
{
	struct rp_port_config config;
	char long_path[109];

	(void)state;
	fake_accel_setup();
	memset(long_path, 'x', sizeof(long_path) - 1), long_path[sizeof(long_path) - 1] = '\0';
	config = fixture_config(), config.wish = RP_PORT_WISH_SOFTWARE;
	refused(&config, -EINVAL, "wish: \"software\", expected a software backend with it");
	config = fixture_config(), config.device = RP_PORT_DEVICE_OTHER;
	refused(&config, -EINVAL, "device: \"other\", expected a software backend with it");
	config = fixture_config(), config.software.socket_path = "";
	refused(&config, -EINVAL, "software: expected a path of 1 to 107 bytes");
	config.software.socket_path = long_path;
	refused(&config, -EINVAL, "software: expected a path of 1 to 107 bytes");
	config.software.socket_path = config.socket_path;
	refused(&config, -EINVAL, "software: expected another path than the frontend's socket");
	config.software.socket_path = "/nowhere/software.sock", config.device = RP_PORT_DEVICE_OTHER;
	refused(&config, -EINVAL, "device: \"other\" with 1 accelerators, expected none");
	config.device = RP_PORT_DEVICE_NET, config.wish = RP_PORT_WISH_HARDWARE, config.accelerators_count = 0;
	refused(&config, -EINVAL, "wish: \"hardware\", expected accelerators with it");
	fake_accel_teardown();
}

static void
words_for_people(void **state)
{
	(void)state;
	assert_string_equal(rp_port_queue_mode_name(RP_PORT_QUEUE_SOFTWARE), "software");
	assert_string_equal(rp_port_owner_name(RP_PORT_OWNER_NONE), "none");
	assert_string_equal(rp_port_owner_name(RP_PORT_OWNER_HARDWARE), "hardware");
	assert_string_equal(rp_port_owner_name(RP_PORT_OWNER_SOFTWARE), "software");
	assert_string_equal(rp_port_wish_name(RP_PORT_WISH_AUTO), "auto");
	assert_string_equal(rp_port_wish_name(RP_PORT_WISH_HARDWARE), "hardware");
	assert_string_equal(rp_port_wish_name(RP_PORT_WISH_SOFTWARE), "software");
	assert_string_equal(rp_port_software_kind_name(RP_PORT_SOFTWARE_AUTO), "auto");
	assert_string_equal(rp_port_software_kind_name(RP_PORT_SOFTWARE_SPECIFICATION), "specification");
	assert_string_equal(rp_port_software_kind_name(RP_PORT_SOFTWARE_LIBRTE_VHOST), "librte_vhost");
}

static void
a_file_that_is_no_socket_stays(void **state)
{
	struct rp_port_config config = fixture_config();
	int fd;

	(void)state;
	fake_accel_setup();
	fd = open(config.socket_path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	refused(&config, -EEXIST, "not a socket");
	assert_int_equal(access(config.socket_path, F_OK), 0);
	unlink(config.socket_path);
	fake_accel_teardown();
}

static void
second_frontend_is_turned_away(void **state)
{
	struct fixture f;
	int fd = -1;
	struct rp_wire_why why;

	(void)state;
	fixture_open(&f);
	assert_int_equal(rp_wire_socket_connect(fixture_config().socket_path, &fd, &why), 0);
	while (test_port_events(&f.port, "frontend-refused") == 0)
		usleep(500);
	close(fd);
	test_vm_queue_start(&f.vm, 0, 0);
	assert_true(fake_now().queues[0].running);
	fixture_close(&f);
}

/* A frontend that could tell of memory region by region tells the whole table. */
static void
memory_by_table_only(void **state)
{
	struct rp_port_config config = fixture_config();
	struct rp_port_info info;
	struct fixture f;
	int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		config.memory = i == 0 ? RP_PORT_MEMORY_SLOTS : RP_PORT_MEMORY_TABLE;
		fixture_begin(&f);
		fixture_open_with(&f, &config, NULL);
		test_vm_queue_start(&f.vm, 0, 0);
		info = test_port_info(&f.port);
		assert_int_equal((info.protocol_features >> RP_VHU_PF_CONFIGURE_MEM_SLOTS_BIT) & 1, i == 0);
		assert_true(info.regions_count > 0);
		fixture_close(&f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_is_named),
		cmocka_unit_test(sides_go_together),
		cmocka_unit_test(words_for_people),
		cmocka_unit_test(a_file_that_is_no_socket_stays),
		cmocka_unit_test(second_frontend_is_turned_away),
		cmocka_unit_test(memory_by_table_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
