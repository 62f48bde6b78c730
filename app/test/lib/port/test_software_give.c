/* SPDX-License-Identifier: BSD-3-Clause */

/* Rings that are given together, and parked when that is over. */

#include <errno.h>
#include <sys/eventfd.h>

#define RINGS 16 /* more than the answers that a connection waits for at a time are enough for */

#include "software_fixture.h"

#define PAIR 2u

static void
take_pair(struct software_fixture *f)
{
	if (small_port_take(&f->small, 1, 1) < 0 || small_port_take(&f->small, 0, 1) < 0)
		fail_msg("take: %s", f->small.why.text);
}

static bool
touches_guest(const struct software_fixture *f, unsigned int ring)
{
	struct fake_backend fake = fake_backend_now();

	return fake.rings[ring].serving &&
	       fake.rings[ring].desc_uva - (uint64_t)(uintptr_t)f->vm.memory < f->vm.memory_bytes;
}

static void
begin(struct software_fixture *f, enum fake_backend_kind kind)
{
	software_open(f, kind, 0);
	software_start(f, PAIR);
	assert_int_equal(small_port_serve_together(&f->small, 0, PAIR), PAIR);
	assert_true(software_traffic(f, 0, 5));
}

static void
there_and_back(void **state)
{
	static const enum fake_backend_kind kinds[] = {FAKE_BACKEND_LIBRTE_VHOST, FAKE_BACKEND_SPECIFICATION};
	struct software_fixture f;
	unsigned int i, round;

	(void)state;
	for (i = 0; i < 2; i++) {
		begin(&f, kinds[i]);
		for (round = 0; round < 20; round++) {
			take_pair(&f);
			assert_false(touches_guest(&f, 0) || touches_guest(&f, 1));
			assert_int_equal(small_port_serve_together(&f.small, 0, PAIR), PAIR);
			assert_true(software_traffic(&f, 0, 20 + round * 7));
		}
		software_close(&f);
	}
}

/* A ring is parked without an answer; the last that it is told is its CALL. @return behind that. */
static unsigned int
parked_at(unsigned int from, unsigned int ring)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + LIMIT_MS;
	int call;

	while ((call = fake_backend_find(from, RP_VHU_SET_VRING_CALL, ring)) < 0) {
		assert_true(rp_wire_clock_ms() < deadline_ms);
		usleep(500);
	}
	return (unsigned int)call + 1;
}

/* Neither is enabled before both were told everything; the receive ring is the first. */
static void
in_this_order(void **state)
{
	int base[PAIR], call[PAIR], enable[PAIR];
	struct software_fixture f;
	unsigned int from, i;

	(void)state;
	begin(&f, FAKE_BACKEND_LIBRTE_VHOST);
	take_pair(&f);
	/* An answer: the parked rings' were heard. */
	assert_int_equal(small_port_serve(&f.small, 0), 0);
	take_pair(&f);
	assert_int_equal(small_port_serve(&f.small, 0), 0);
	from = fake_backend_now().history_count;
	assert_int_equal(small_port_take(&f.small, 0, 1), 0);
	from = parked_at(from, 0);
	assert_int_equal(small_port_serve_together(&f.small, 0, PAIR), PAIR);
	for (i = 0; i < PAIR; i++) {
		enable[i] = fake_backend_find(from, RP_VHU_SET_VRING_ENABLE, (uint8_t)i);
		base[i] = fake_backend_find(from, RP_VHU_SET_VRING_BASE, (uint8_t)i);
		call[i] = fake_backend_find(from, RP_VHU_SET_VRING_CALL, (uint8_t)i);
		assert_true(base[i] >= 0 && call[i] > base[i]);
	}
	assert_true(enable[0] > call[1] && enable[1] > enable[0]);
	software_close(&f);
}

static void
serve_at_last(struct software_fixture *f)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + LIMIT_MS;

	while (small_port_serve_together(&f->small, 0, PAIR) != PAIR) {
		assert_true(rp_wire_clock_ms() < deadline_ms);
		usleep(500);
	}
}

/* Refused or left at each message: it serves neither, and the next try can succeed. */
static void
fail_at_each(bool dies)
{
	static const uint32_t requests[] = {RP_VHU_SET_VRING_NUM,  RP_VHU_SET_VRING_BASE, RP_VHU_SET_VRING_ADDR,
					    RP_VHU_SET_VRING_KICK, RP_VHU_SET_VRING_CALL, RP_VHU_SET_VRING_ENABLE};
	struct software_fixture f;
	unsigned int i, ring;

	begin(&f, FAKE_BACKEND_LIBRTE_VHOST);
	for (i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		take_pair(&f);
		if (dies)
			FAKE_BACKEND_SET(die_at, requests[i]);
		else
			FAKE_BACKEND_SET(refuse, requests[i]);
		assert_int_equal(small_port_serve_together(&f.small, 0, PAIR), 0);
		assert_true(f.small.why.error < 0);
		FAKE_BACKEND_SET(die_at, (uint32_t)0);
		FAKE_BACKEND_SET(refuse, (uint32_t)0);
		for (ring = 0; ring < PAIR; ring++) {
			assert_int_not_equal(small_port_ring(&f.small, ring), PORT_SOFTWARE_RING_SERVES);
			if (small_port_ring(&f.small, ring) != PORT_SOFTWARE_RING_UNPROVEN)
				assert_false(touches_guest(&f, ring));
		}
		serve_at_last(&f);
		assert_true(software_traffic(&f, 0, 5));
	}
	software_close(&f);
}

static void
refused_at_each(void **state)
{
	(void)state;
	fail_at_each(false);
}

static void
dies_at_each(void **state)
{
	(void)state;
	fail_at_each(true);
}

/* Meanwhile they are let go of all the same. */
static void
parked_when_due(void **state)
{
	struct software_fixture f;
	unsigned int ring;

	(void)state;
	begin(&f, FAKE_BACKEND_LIBRTE_VHOST);
	small_port_park_hold(&f.small);
	take_pair(&f);
	for (ring = 0; ring < PAIR; ring++) {
		assert_int_equal(small_port_ring(&f.small, ring), PORT_SOFTWARE_RING_NONE);
		assert_false(fake_backend_now().rings[ring].enabled);
	}
	small_port_park_due(&f.small);
	for (ring = 0; ring < PAIR; ring++)
		assert_int_equal(small_port_ring(&f.small, ring), PORT_SOFTWARE_RING_PARKED);
	/* Its own again before it is due. */
	assert_int_equal(small_port_serve_together(&f.small, 0, PAIR), PAIR);
	small_port_park_hold(&f.small);
	take_pair(&f);
	assert_int_equal(small_port_serve_together(&f.small, 0, PAIR), PAIR);
	small_port_park_due(&f.small);
	for (ring = 0; ring < PAIR; ring++)
		assert_int_equal(small_port_ring(&f.small, ring), PORT_SOFTWARE_RING_SERVES);
	assert_true(software_traffic(&f, 0, 20));
	software_close(&f);
}

/* Said before it is given what can be: then it is told where the ring stands that was still served, and of its kicks. */
static void
announced_before(void **state)
{
	struct software_fixture f;
	unsigned int from, ring;

	(void)state;
	begin(&f, FAKE_BACKEND_LIBRTE_VHOST);
	small_port_park_hold(&f.small);
	take_pair(&f);
	small_port_announce(&f.small, PAIR);
	from = fake_backend_now().history_count;
	assert_int_equal(small_port_serve_together(&f.small, 0, PAIR), PAIR);
	small_port_park_due(&f.small);
	assert_true(fake_backend_find(from, RP_VHU_SET_VRING_BASE, 0) >= 0);
	assert_true(fake_backend_find(from, RP_VHU_SET_VRING_KICK, 0) >= 0);
	assert_true(fake_backend_find(from, RP_VHU_SET_VRING_BASE, 1) < 0);
	for (ring = 0; ring < PAIR; ring++) {
		assert_true(fake_backend_find(from, RP_VHU_SET_VRING_NUM, (uint8_t)ring) < 0);
		assert_true(fake_backend_find(from, RP_VHU_SET_VRING_ADDR, (uint8_t)ring) < 0);
		assert_true(fake_backend_find(from, RP_VHU_SET_VRING_ENABLE, (uint8_t)ring) >= 0);
	}
	assert_true(software_traffic(&f, 0, 20));
	software_close(&f);
}

/* Announced, and not given: parked again, and told everything the next time. */
static void
announced_in_vain(void **state)
{
	static const uint32_t requests[] = {RP_VHU_SET_VRING_NUM, RP_VHU_SET_VRING_ADDR, RP_VHU_SET_VRING_CALL};
	struct software_fixture f;
	unsigned int ring, i;

	(void)state;
	begin(&f, FAKE_BACKEND_LIBRTE_VHOST);
	for (i = 0; i < 3; i++) {
		/* What is not waited for, as parked rings are, ends the connection when it is refused. */
		small_port_park_hold(&f.small);
		take_pair(&f);
		FAKE_BACKEND_SET(refuse, i == 0 ? 0 : requests[i]);
		small_port_announce(&f.small, PAIR);
		FAKE_BACKEND_SET(refuse, (uint32_t)0);
		assert_false(touches_guest(&f, 0) || touches_guest(&f, 1));
		small_port_park_due(&f.small);
		for (ring = 0; ring < PAIR; ring++)
			assert_int_equal(small_port_ring(&f.small, ring), PORT_SOFTWARE_RING_PARKED);
		serve_at_last(&f);
		assert_true(software_traffic(&f, 0, 20));
	}
	small_port_park_hold(&f.small);
	take_pair(&f);
	FAKE_BACKEND_SET(die_at, (uint32_t)RP_VHU_SET_VRING_ADDR);
	small_port_announce(&f.small, PAIR);
	small_port_park_due(&f.small);
	FAKE_BACKEND_SET(die_at, (uint32_t)0);
	serve_at_last(&f);
	assert_true(software_traffic(&f, 0, 20));
	software_close(&f);
}

static void
watch_errors(struct software_fixture *f)
{
	struct rp_wire_why why = {0};
	unsigned int i;

	for (i = 0; i < RINGS; i++) {
		int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

		assert_true(fd >= 0);
		assert_int_equal(rp_vhu_frontend_ring_err(f->vm.frontend, i, fd, &why), 0);
		close(fd);
	}
}

static void
take_all(struct software_fixture *f)
{
	unsigned int i;

	for (i = RINGS; i-- > 0;)
		assert_int_equal(small_port_take(&f->small, i, 1), 0);
}

static void
more_than_are_waited_for(bool with_err)
{
	struct software_fixture f;
	unsigned int from, i;

	software_open(&f, FAKE_BACKEND_LIBRTE_VHOST, 0);
	software_start(&f, RINGS);
	if (with_err)
		watch_errors(&f);
	for (i = 0; i < RINGS; i++)
		assert_int_equal(small_port_serve(&f.small, i), 0);
	take_all(&f);
	assert_int_equal(small_port_serve_together(&f.small, 0, RINGS), RINGS);
	small_port_park_hold(&f.small);
	take_all(&f);
	small_port_announce(&f.small, RINGS);
	from = fake_backend_now().history_count;
	assert_int_equal(small_port_serve_together(&f.small, 0, RINGS), RINGS);
	small_port_park_due(&f.small);
	/* The last ones were announced, too. */
	for (i = 0; i < RINGS; i++)
		assert_true(fake_backend_find(from, RP_VHU_SET_VRING_ADDR, (uint8_t)i) < 0);
	assert_true(software_traffic(&f, 0, 20));
	assert_int_equal(fake_backend_now().connections, 1);
	software_close(&f);
}

static void
many_rings(void **state)
{
	(void)state;
	more_than_are_waited_for(false);
	more_than_are_waited_for(true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),    cmocka_unit_test(in_this_order),
		cmocka_unit_test(refused_at_each),   cmocka_unit_test(dies_at_each),
		cmocka_unit_test(parked_when_due),   cmocka_unit_test(announced_before),
		cmocka_unit_test(announced_in_vain), cmocka_unit_test(many_rings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
