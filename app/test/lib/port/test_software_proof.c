/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "software_fixture.h"

#define HANGS_MS 100

static bool
pair_is_served(const struct fake_backend *fake)
{
	return fake->rings[0].serving && fake->rings[1].serving;
}

static void
open_served(struct software_fixture *f, enum fake_backend_kind kind, uint64_t ring_features)
{
	software_open_process(f, kind, ring_features, HANGS_MS * 10);
	software_set_serves(f, true);
	software_start(f, 2);
	assert_true(software_traffic(f, 0, 10));
}

/* Its end is the proof: where a split ring stands is in the ring. */
static void
kill_one(enum fake_backend_kind kind, uint64_t ring_features)
{
	struct software_fixture f;

	open_served(&f, kind, ring_features);
	software_set_serves(&f, false);
	fake_backend_kill();
	assert_true(small_port_wait_ring(&f.small, 1, PORT_SOFTWARE_RING_NONE, LIMIT_MS));
	assert_true(small_port_wait_ring(&f.small, 0, PORT_SOFTWARE_RING_NONE, LIMIT_MS));
	assert_int_equal(small_port_events(&f.small, "software-let-go"), 1);
	assert_false(small_port_info(&f.small).usable);
	if (ring_features == 0)
		assert_int_equal(small_port_position(&f.small, 1), 10);
	else
		assert_true(f.small.port.queues[1].position_lost);
	software_set_serves(&f, true);
	fake_backend_fork();
	assert_true(small_port_wait_usable(&f.small, true, LIMIT_MS));
	if (ring_features == 0)
		assert_true(software_traffic(&f, 0, 10));
	software_close(&f);
}

static void
killed(void **state)
{
	(void)state;
	kill_one(FAKE_BACKEND_LIBRTE_VHOST, 0);
	kill_one(FAKE_BACKEND_SPECIFICATION, 0);
	kill_one(FAKE_BACKEND_LIBRTE_VHOST, TEST_VM_PACKED);
}

/* A process that is stopped keeps its rings, however long; nobody waits for it twice. */
static void
stopped_and_continued(void **state)
{
	struct software_fixture f;
	uint64_t before_ms;

	(void)state;
	open_served(&f, FAKE_BACKEND_LIBRTE_VHOST, 0);
	fake_backend_freeze();
	assert_int_equal(small_port_take(&f.small, 1, 1), -ETIMEDOUT);
	assert_int_equal(small_port_ring(&f.small, 1), PORT_SOFTWARE_RING_UNPROVEN);
	assert_int_equal(small_port_ring(&f.small, 0), PORT_SOFTWARE_RING_UNPROVEN);
	assert_int_equal(small_port_info(&f.small).timeouts, 1);
	before_ms = rp_wire_clock_ms();
	assert_int_equal(small_port_take(&f.small, 1, 1), -ENOTCONN);
	assert_int_equal(small_port_serve(&f.small, 1), -ENOTCONN);
	assert_true(rp_wire_clock_ms() - before_ms < HANGS_MS * 10);
	usleep(HANGS_MS * 1000);
	assert_int_equal(small_port_ring(&f.small, 1), PORT_SOFTWARE_RING_UNPROVEN);
	fake_backend_thaw();
	assert_true(small_port_wait_ring(&f.small, 1, PORT_SOFTWARE_RING_SERVES, LIMIT_MS));
	assert_true(small_port_wait_ring(&f.small, 0, PORT_SOFTWARE_RING_SERVES, LIMIT_MS));
	assert_true(software_traffic(&f, 0, 10));
	software_close(&f);
}

/* One that hangs is replaced by another: that one is used, but not for rings that the first may still touch. */
static void
one_that_hangs_keeps_its_rings(void **state)
{
	struct software_fixture f;
	(void)state;
	open_served(&f, FAKE_BACKEND_SPECIFICATION, 0);
	FAKE_BACKEND_SET(paused, true);
	fake_backend_freeze();
	assert_int_equal(small_port_take(&f.small, 1, 1), -ETIMEDOUT);
	assert_int_equal(small_port_ring(&f.small, 0), PORT_SOFTWARE_RING_UNPROVEN);
	assert_int_equal(small_port_serve(&f.small, 0) < 0, 1);
	software_set_serves(&f, false);
	fake_backend_kill();
	assert_true(small_port_wait_ring(&f.small, 0, PORT_SOFTWARE_RING_NONE, LIMIT_MS));
	assert_true(small_port_wait_ring(&f.small, 1, PORT_SOFTWARE_RING_NONE, LIMIT_MS));
	software_close(&f);
}

/* librte_vhost closes the connection right before it stops the device: that it hung up is no proof yet. */
static void
hung_up_and_not_stopped(void **state)
{
	struct software_fixture f;
	struct fake_backend fake;

	(void)state;
	open_served(&f, FAKE_BACKEND_LIBRTE_VHOST, 0);
	software_set_serves(&f, false);
	FAKE_BACKEND_SET(lingers_ms, (uint32_t)HANGS_MS * 5);
	FAKE_BACKEND_SET(die_at, (uint32_t)RP_VHU_SET_VRING_ENABLE);
	assert_int_equal(small_port_take(&f.small, 1, 1), -ENOTCONN);
	assert_true(small_port_wait_ring(&f.small, 1, PORT_SOFTWARE_RING_NONE, LIMIT_MS));
	fake = fake_backend_now();
	assert_false(fake.rings[0].serving || fake.rings[1].serving);
	software_close(&f);
}

/* In our own process its end cannot be seen; that it hung up is the proof. */
static void
in_our_own_process(void **state)
{
	struct software_fixture f;

	(void)state;
	software_open(&f, FAKE_BACKEND_LIBRTE_VHOST, 0);
	software_set_serves(&f, true);
	software_start(&f, 2);
	assert_true(software_traffic(&f, 0, 10));
	software_set_serves(&f, false);
	fake_backend_stop(); /* and does not come back */
	assert_true(small_port_wait_ring(&f.small, 0, PORT_SOFTWARE_RING_NONE, LIMIT_MS));
	assert_int_equal(small_port_position(&f.small, 0), 10);
	assert_int_equal(f.small.provens, 1);
	software_close(&f);
}

/* Hung at each request of a take and a start, in our own process; continued, it comes back. */
static void
hang_at_each(enum fake_backend_kind kind)
{
	static const uint32_t requests[] = {RP_VHU_SET_VRING_NUM, RP_VHU_SET_VRING_ADDR, RP_VHU_SET_VRING_CALL,
					    RP_VHU_SET_VRING_ENABLE, RP_VHU_GET_VRING_BASE};
	struct rp_port_software_config config;
	struct software_fixture f;
	unsigned int i;

	software_begin(&f, kind);
	fake_backend_start();
	config = software_config(&f);
	config.timeout_ms = HANGS_MS;
	software_open_port(&f, &config);
	software_open_vm(&f, 0);
	software_set_serves(&f, true);
	software_start(&f, 2);
	for (i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		FAKE_BACKEND_SET(hang_at, requests[i]);
		software_set_serves(&f, false);
		small_port_take(&f.small, 1, 1);
		small_port_take(&f.small, 0, 1);
		small_port_serve(&f.small, 0);
		small_port_serve(&f.small, 1);
		FAKE_BACKEND_SET(hang_at, (uint32_t)0);
		software_set_serves(&f, true);
		FAKE_BACKEND_SET(deaf, false);
		small_port_serve(&f.small, 0);
		small_port_serve(&f.small, 1);
		assert_true(small_port_wait_ring(&f.small, 0, PORT_SOFTWARE_RING_SERVES, LIMIT_MS));
		assert_true(small_port_wait_ring(&f.small, 1, PORT_SOFTWARE_RING_SERVES, LIMIT_MS));
		assert_true(software_wait(pair_is_served));
		assert_true(software_traffic(&f, 0, 10));
	}
	assert_true(small_port_info(&f.small).timeouts >= 3);
	software_close(&f);
}

static void
hangs_at_each(void **state)
{
	(void)state;
	hang_at_each(FAKE_BACKEND_LIBRTE_VHOST);
	hang_at_each(FAKE_BACKEND_SPECIFICATION);
}

/* One that hangs as soon as it is there, each time, is asked less and less often. */
static void
hangs_again_and_again(void **state)
{
	struct rp_port_software_config config;
	struct software_fixture f;
	uint64_t began_ms;
	unsigned int i;

	(void)state;
	software_begin(&f, FAKE_BACKEND_SPECIFICATION);
	fake_backend_start();
	config = software_config(&f);
	config.timeout_ms = HANGS_MS;
	began_ms = rp_wire_clock_ms();
	FAKE_BACKEND_SET(hang_at, (uint32_t)RP_VHU_GET_QUEUE_NUM);
	small_port_open(&f.small, &config);
	for (i = 1; i <= 4; i++) {
		while (small_port_info(&f.small).timeouts < i && rp_wire_clock_ms() - began_ms < LIMIT_MS)
			usleep(1000);
		assert_int_equal(small_port_info(&f.small).timeouts, i);
		FAKE_BACKEND_SET(hang_at, i < 4 ? (uint32_t)RP_VHU_GET_QUEUE_NUM : 0);
		FAKE_BACKEND_SET(deaf, false);
	}
	/* It waited one, two and four time-outs between. */
	assert_true(rp_wire_clock_ms() - began_ms >= 7 * HANGS_MS);
	assert_true(small_port_wait_usable(&f.small, true, LIMIT_MS));
	software_close_port(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed),
		cmocka_unit_test(stopped_and_continued),
		cmocka_unit_test(one_that_hangs_keeps_its_rings),
		cmocka_unit_test(hung_up_and_not_stopped),
		cmocka_unit_test(in_our_own_process),
		cmocka_unit_test(hangs_at_each),
		cmocka_unit_test(hangs_again_and_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
