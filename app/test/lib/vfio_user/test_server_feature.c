/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "mover.h"

static struct device device;
static struct peer peer;
static struct peer_msg reply;
static struct test_leaks before;

static int
setup(void **state)
{
	(void)state;
	test_leaks_read(&before);
	mover_start(&device, &peer);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	peer_close(&peer);
	device_close(&device);
	test_leaks_assert_none(&before);
	return 0;
}

static void
exchange(const uint8_t *command, size_t command_bytes, const uint8_t *answer, size_t answer_bytes)
{
	assert_true(peer_send(&peer, command, command_bytes, NULL, 0));
	assert_true(peer_receive(&peer, &reply));
	assert_int_equal(reply.size_bytes, answer_bytes);
	assert_memory_equal(reply.bytes, answer, answer_bytes);
}

static void
test_feature_vectors(void **state)
{
	static const uint8_t get_migration[] = {HEADER(3, 16, 24, COMMAND, 0), U32(16), U32(0x10001)};
	static const uint8_t migration[] = {HEADER(3, 16, 32, REPLY, 0), U32(16), U32(0x10001), U64(5)};
	static const uint8_t less_room[] = {HEADER(3, 16, 24, COMMAND, 0), U32(15), U32(0x10001)};
	static const uint8_t cut_off[] = {HEADER(3, 16, 24, REPLY, 0), U32(16), U32(0x10001)};
	static const uint8_t get_state[] = {HEADER(4, 16, 24, COMMAND, 0), U32(16), U32(0x10002)};
	static const uint8_t running[] = {HEADER(4, 16, 32, REPLY, 0), U32(16), U32(0x10002), U32(2), U32(UINT32_MAX)};
	static const uint8_t set_state[] = {HEADER(5, 16, 32, COMMAND, 0), U32(16), U32(0x20002), U32(1), U32(7)};
	static const uint8_t set_answer[] = {HEADER(5, 16, 32, REPLY, 0), U32(16), U32(0x20002), U32(1), U32(7)};
	static const uint8_t stopped[] = {HEADER(4, 16, 32, REPLY, 0), U32(16), U32(0x10002), U32(1), U32(UINT32_MAX)};
	static const uint8_t probe[] = {HEADER(6, 16, 24, COMMAND, 0), U32(8), U32(0x70002)};
	static const uint8_t probed[] = {HEADER(6, 16, 24, REPLY, 0), U32(8), U32(0x70002)};

	(void)state;
	exchange(get_migration, sizeof(get_migration), migration, sizeof(migration));
	exchange(less_room, sizeof(less_room), cut_off, sizeof(cut_off));
	exchange(get_state, sizeof(get_state), running, sizeof(running));
	exchange(set_state, sizeof(set_state), set_answer, sizeof(set_answer));
	exchange(get_state, sizeof(get_state), stopped, sizeof(stopped));
	exchange(probe, sizeof(probe), probed, sizeof(probed));
}

/* Every feature index up to and beyond those that exist, with every set of methods. */
static void
test_every_feature_with_every_method(void **state)
{
	static const uint8_t data[24] = {0};
	uint32_t index, methods;

	(void)state;
	for (index = 0; index < 12; index++) {
		bool can_get = index == 1 || index == 2 || index == 8;
		bool can_set = index == 2 || index == 6 || index == 7;

		for (methods = 0; methods < 8; methods++) {
			bool lacks = (!can_get && !can_set) || ((methods & 1) != 0 && !can_get) ||
				     ((methods & 2) != 0 && !can_set);
			uint32_t error = mover_feature(&peer, methods << 16 | index, data, sizeof(data), &reply);

			if (methods == 0 || methods == 3)
				assert_int_equal(error, EINVAL);
			else if (lacks)
				assert_int_equal(error, EOPNOTSUPP);
			else if ((methods & 4) != 0)
				assert_int_equal(error, 0);
			else
				assert_int_not_equal(error, EOPNOTSUPP);
		}
	}
	assert_int_equal(mover_feature(&peer, 0x4ffff, NULL, 0, &reply), EOPNOTSUPP);
	assert_string_equal(device.last_refusal.text, "DEVICE_FEATURE: feature 65535: the device does not have it");
}

/* "The reply payload must be the same as the request payload for setting or probing a feature." */
static void
test_probe_repeats_the_command(void **state)
{
	static uint8_t data[1024 * 1024];
	size_t sizes[] = {0, 1, 55, 56, 57, 4096, sizeof(data)};
	unsigned int i;

	(void)state;
	memset(data, 0x5a, sizeof(data));
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(mover_feature(&peer, MOVER_PROBE | 6, data, sizes[i], &reply), 0);
		assert_int_equal(reply.payload_bytes, 8 + sizes[i]);
		assert_memory_equal(reply.payload + 8, data, sizes[i]);
	}
}

static void
test_feature_refuses_what_breaks_a_rule(void **state)
{
	static const uint8_t short_argsz[] = {U32(15), U32(0x20002), U32(1), U32(0)};
	static const uint8_t no_argsz[] = {U32(7), U32(0x10001)};
	static const uint8_t half_a_state[] = {U32(1)};
	static const uint8_t too_much[] = {U32(1), U32(0), 0};
	uint32_t bit;

	(void)state;
	for (bit = 19; bit < 32; bit++)
		assert_int_equal(mover_feature(&peer, (1u << bit) | MOVER_GET | 1, NULL, 0, &reply), EINVAL);
	assert_int_equal(device_ask(&peer, 16, short_argsz, sizeof(short_argsz), NULL, 0, &reply), EINVAL);
	assert_int_equal(device_ask(&peer, 16, no_argsz, sizeof(no_argsz), NULL, 0, &reply), EINVAL);
	assert_int_equal(device_ask(&peer, 16, no_argsz, 7, NULL, 0, &reply), EMSGSIZE);
	assert_int_equal(mover_feature(&peer, MOVER_SET | 2, half_a_state, sizeof(half_a_state), &reply), EMSGSIZE);
	assert_int_equal(mover_feature(&peer, MOVER_SET | 2, too_much, sizeof(too_much), &reply), EMSGSIZE);
	assert_int_equal(mover_feature(&peer, MOVER_GET | 8, half_a_state, sizeof(half_a_state), &reply), EMSGSIZE);
	assert_int_equal(mover.arcs_count, 0);
	assert_int_equal(rp_vfu_server_migration_state(device.server), RP_VFU_MIG_RUNNING);
}

/* A device that neither can be migrated nor logs says so to a probe, and to everything else. */
static void
test_device_without_features(void **state)
{
	static const uint8_t read[] = {U32(16), U32(8)};
	static const uint8_t write[] = {U32(16), U32(1), 1};
	struct device_description description;
	uint32_t index;

	(void)state;
	device_describe(&device, &description);
	device_restart_as(&device, &description, &peer, "\"max_msg_fds\":1");
	for (index = 0; index < 12; index++) {
		assert_int_equal(mover_feature(&peer, MOVER_PROBE | index, NULL, 0, &reply), EOPNOTSUPP);
		assert_int_equal(mover_feature(&peer, MOVER_GET | index, NULL, 0, &reply), EOPNOTSUPP);
	}
	assert_int_equal(device_ask(&peer, 17, read, sizeof(read), NULL, 0, &reply), EOPNOTSUPP);
	assert_int_equal(device_ask(&peer, 18, write, sizeof(write), NULL, 0, &reply), EOPNOTSUPP);
	assert_int_equal(rp_vfu_server_migration_state(device.server), RP_VFU_MIG_RUNNING);
}

static void
assert_no_server(const struct device_description *description, const char *words)
{
	struct rp_vfu_server *server = NULL;
	struct rp_wire_why why;

	assert_int_equal(rp_vfu_server_create(&description->config, &device_ops, &device, &server, &why), -EINVAL);
	assert_non_null(strstr(why.text, words));
}

static void
test_migration_is_described_whole(void **state)
{
	struct device_description good, bad;

	(void)state;
	mover_describe(&device, &good);
	bad = good;
	bad.config.migration.flags = 4;
	assert_no_server(&bad, "migration: flags 0x4");
	bad.config.migration.flags = 3;
	assert_no_server(&bad, "migration: flags 0x3");
	bad = good;
	bad.config.migration.data_in = NULL;
	assert_no_server(&bad, "migration: a callback is missing");
	bad = good;
	bad.config.migration.data_out = NULL;
	assert_no_server(&bad, "migration: a callback is missing");
	bad = good;
	bad.config.migration.change_state = NULL;
	assert_no_server(&bad, "migration: a callback is missing");
	bad = good;
	bad.config.resettable = false;
	assert_no_server(&bad, "migration: of a device that cannot be reset");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_feature_vectors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_feature_with_every_method, setup, teardown),
		cmocka_unit_test_setup_teardown(test_probe_repeats_the_command, setup, teardown),
		cmocka_unit_test_setup_teardown(test_feature_refuses_what_breaks_a_rule, setup, teardown),
		cmocka_unit_test_setup_teardown(test_device_without_features, setup, teardown),
		cmocka_unit_test_setup_teardown(test_migration_is_described_whole, setup, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user server: features", tests, NULL, NULL);
}
