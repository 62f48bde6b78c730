/* SPDX-License-Identifier: BSD-3-Clause */
#include "software_fixture.h"

#define BIT(n) (1ull << (n))

/* What they offered when it was measured: DPDK 22.11's testpmd and Open vSwitch, qemu-storage-daemon 7.2. */
#define TESTPMD 0x10cbfull
#define OPEN_VSWITCH 0x10cbfull
#define QEMU_STORAGE_DAEMON 0x8f2bull

static enum rp_port_software_kind
kind_of(uint64_t protocol_features, enum rp_port_software_kind configured)
{
	struct rp_port_software_config config;
	enum rp_port_software_kind kind;
	struct software_fixture f;

	software_begin(&f, FAKE_BACKEND_SPECIFICATION);
	FAKE_BACKEND_SET(protocol_features, protocol_features);
	fake_backend_start();
	config = software_config(&f);
	config.kind = configured;
	small_port_open(&f.small, &config);
	assert_true(small_port_wait_usable(&f.small, true, LIMIT_MS));
	kind = small_port_info(&f.small).kind;
	software_close_port(&f);
	return kind;
}

static void
told_by_what_they_offer(void **state)
{
	(void)state;
	assert_int_equal(kind_of(TESTPMD, RP_PORT_SOFTWARE_AUTO), RP_PORT_SOFTWARE_LIBRTE_VHOST);
	assert_int_equal(kind_of(OPEN_VSWITCH, RP_PORT_SOFTWARE_AUTO), RP_PORT_SOFTWARE_LIBRTE_VHOST);
	assert_int_equal(kind_of(QEMU_STORAGE_DAEMON, RP_PORT_SOFTWARE_AUTO), RP_PORT_SOFTWARE_SPECIFICATION);
	assert_int_equal(kind_of(BIT(RP_VHU_PF_MQ_BIT), RP_PORT_SOFTWARE_AUTO), RP_PORT_SOFTWARE_SPECIFICATION);
}

static void
the_user_knows_better(void **state)
{
	(void)state;
	assert_int_equal(kind_of(TESTPMD, RP_PORT_SOFTWARE_SPECIFICATION), RP_PORT_SOFTWARE_SPECIFICATION);
	assert_int_equal(kind_of(QEMU_STORAGE_DAEMON, RP_PORT_SOFTWARE_LIBRTE_VHOST), RP_PORT_SOFTWARE_LIBRTE_VHOST);
}

/* One without protocol features at all serves a net device's first pair, which nobody enables. */
static void
without_protocol_features(void **state)
{
	struct rp_port_software_config config;
	struct software_fixture f;

	(void)state;
	software_begin(&f, FAKE_BACKEND_SPECIFICATION);
	FAKE_BACKEND_SET(features, fake_backend_now().features & ~BIT(RP_VHU_F_PROTOCOL_FEATURES_BIT));
	fake_backend_start();
	config = software_config(&f);
	software_open_port(&f, &config);
	assert_int_equal(port_software_queues_max(&f.small.port), 2);
	software_open_vm(&f, 0);
	software_set_serves(&f, true);
	software_start(&f, 2);
	assert_true(software_traffic(&f, 0, 10));
	assert_int_equal(small_port_take(&f.small, 1, 1), 0);
	assert_int_equal(small_port_take(&f.small, 0, 1), 0);
	assert_int_equal(small_port_position(&f.small, 0), 10);
	assert_int_equal(small_port_serve(&f.small, 0), 0);
	assert_int_equal(small_port_serve(&f.small, 1), 0);
	assert_true(software_traffic(&f, 0, 10));
	assert_int_equal(fake_backend_asked(RP_VHU_SET_VRING_ENABLE), 0);
	software_close(&f);
}

/* Without acknowledgements each request is fenced by a question. */
static void
without_acknowledgements(enum fake_backend_kind kind)
{
	struct rp_port_software_config config;
	struct software_fixture f;
	unsigned int i;

	software_begin(&f, kind);
	FAKE_BACKEND_SET(protocol_features, fake_backend_now().protocol_features & ~BIT(RP_VHU_PF_REPLY_ACK_BIT));
	fake_backend_start();
	config = software_config(&f);
	software_open_port(&f, &config);
	software_open_vm(&f, 0);
	software_start(&f, 2);
	for (i = 0; i < 5; i++) {
		assert_int_equal(small_port_serve(&f.small, 0), 0);
		assert_int_equal(small_port_serve(&f.small, 1), 0);
		assert_true(software_traffic(&f, 0, 10));
		assert_int_equal(small_port_take(&f.small, 1, 1), 0);
		assert_int_equal(small_port_take(&f.small, 0, 1), 0);
		assert_int_equal(small_port_position(&f.small, 1), f.sent);
	}
	software_close(&f);
}

static void
fenced(void **state)
{
	(void)state;
	without_acknowledgements(FAKE_BACKEND_SPECIFICATION);
	without_acknowledgements(FAKE_BACKEND_LIBRTE_VHOST);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(told_by_what_they_offer),
		cmocka_unit_test(the_user_knows_better),
		cmocka_unit_test(without_protocol_features),
		cmocka_unit_test(fenced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
