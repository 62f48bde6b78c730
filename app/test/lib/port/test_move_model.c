/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What may happen to a port with two sides, in random order from a printed seed, under
 * traffic. After every step no ring has two owners; now and then everything is well again,
 * and every frame that was sent was received, once.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "moves.h"

#define STEPS 600u
#define BURST 9u
#define HEAL_EVERY 12u
#define PLUGGED_BYTES 0x10000u

struct model {
	struct traffic t;
	uint32_t seed;
	unsigned int step;
	bool packed;
	bool plugged;
	bool logging;
	int plugged_fd;
	bool user_disabled[4];
	bool frontend_disabled[4];
	char last[64]; /* what was done last, for people */
};

typedef void (*deed)(struct model *m);

static uint32_t
any(struct model *m, uint32_t below)
{
	m->seed = m->seed * 1664525u + 1013904223u;
	return (m->seed >> 8) % below;
}

static enum rp_port_wish
any_wish(struct model *m)
{
	return (enum rp_port_wish)any(m, 3);
}

/* What can be sent now is; nobody is waited for. */
static void
trickle(struct model *m)
{
	struct traffic *t = &m->t;
	uint8_t frame[FRAME_BYTES] = {0};
	unsigned int i;

	for (i = 0; i < BURST; i++) {
		memcpy(frame, &t->sent, sizeof(t->sent));
		frame[FRAME_BYTES - 1] = (uint8_t)t->sent;
		t->sent++;
		if (!test_vm_send(&t->f.vm, TX, frame, sizeof(frame)))
			t->sent--;
		receive(t);
	}
	rp_vhu_frontend_process(t->f.vm.frontend);
}

static void
move_one(struct model *m)
{
	test_port_move(&m->t.f.port, any(m, 4), 1, any_wish(m), NULL);
}

static void
move_a_pair(struct model *m)
{
	test_port_move(&m->t.f.port, any(m, 2) * 2, 2, any_wish(m), NULL);
}

static void
move_all(struct model *m)
{
	test_port_move(&m->t.f.port, 0, 0, any_wish(m), NULL);
}

static void
move_under_way(struct model *m)
{
	trickle(m);
	move_a_pair(m);
	trickle(m);
	move_a_pair(m);
}

/* QEMU's stop and cont. */
static void
stop_and_go_on(struct model *m)
{
	uint32_t base[4];
	unsigned int i;

	for (i = 0; i < 4; i++)
		base[i] = test_vm_queue_stop(&m->t.f.vm, i);
	expect_one_owner(&m->t.f.port);
	for (i = 0; i < 4; i++) {
		test_vm_queue_start(&m->t.f.vm, i, base[i]);
		m->frontend_disabled[i] = false;
	}
}

static void
stop_one(struct model *m)
{
	unsigned int queue = any(m, 4);
	uint32_t base = test_vm_queue_stop(&m->t.f.vm, queue);

	trickle(m);
	test_vm_queue_start(&m->t.f.vm, queue, base);
	m->frontend_disabled[queue] = false;
}

static void
frontend_toggles(struct model *m)
{
	struct rp_wire_why why;
	unsigned int queue = any(m, 4);

	m->frontend_disabled[queue] = !m->frontend_disabled[queue];
	assert_int_equal(rp_vhu_frontend_ring_enable(m->t.f.vm.frontend, queue, !m->frontend_disabled[queue], &why), 0);
}

static void
user_toggles(struct model *m)
{
	unsigned int queue = any(m, 4);

	m->user_disabled[queue] = !m->user_disabled[queue];
	if (m->user_disabled[queue])
		test_port_disable(&m->t.f.port, queue);
	else
		test_port_enable(&m->t.f.port, queue);
}

static void
call_is_swapped(struct model *m)
{
	struct rp_wire_why why;
	unsigned int queue = any(m, 2);

	assert_int_equal(rp_vhu_frontend_ring_call(m->t.f.vm.frontend, queue, m->t.f.vm.queues[queue].call_fd, &why),
			 0);
}

static bool
accelerator_is_open(const struct model *m)
{
	(void)m;
	return fake_now().open && !fake_now().dead;
}

/* With proof, and it comes back: a packed ring that died with it would be lost. */
static void
accelerator_dies(struct model *m)
{
	if (m->packed || !accelerator_is_open(m))
		return;
	FAKE_SET(open_error, any(m, 2) == 0 ? -ENOENT : 0);
	fake_accel_die(true);
	usleep(any(m, 3) * 4000);
}

static void
accelerator_refuses(struct model *m)
{
	FAKE_SET(start_error, -ENOSPC);
	move_a_pair(m);
	expect_one_owner(&m->t.f.port);
	FAKE_SET(start_error, 0);
}

static void
software_refuses(struct model *m)
{
	SOFTWARE_SET(serve_error_queue, (int)any(m, 4) - 1);
	SOFTWARE_SET(serve_error, -EREMOTEIO);
	move_all(m);
	expect_one_owner(&m->t.f.port);
	SOFTWARE_SET(serve_error, 0);
}

static void
software_goes(struct model *m)
{
	if (m->packed)
		return;
	SOFTWARE_SET(go, true);
	usleep(any(m, 2) * 8000);
	expect_one_owner(&m->t.f.port);
	trickle(m);
	SOFTWARE_SET(prove, true);
	usleep(any(m, 2) * 8000);
	if (any(m, 2) == 0)
		SOFTWARE_SET(come, true);
}

static void
software_hangs(struct model *m)
{
	if (m->packed)
		return;
	SOFTWARE_SET(take_error_queue, (int)any(m, 5) - 1);
	SOFTWARE_SET(take_error, -ETIMEDOUT);
	move_all(m);
	move_all(m);
	SOFTWARE_SET(take_error, 0);
	usleep(8000);
	expect_one_owner(&m->t.f.port);
	SOFTWARE_SET(prove, true);
}

static void
set_logging(struct model *m, bool on)
{
	struct rp_wire_why why;
	uint64_t features = m->t.f.vm.features | (on ? TEST_VM_LOG_ALL : 0);

	/* It may be refused: while somebody may write unseen. */
	if (rp_vhu_frontend_set_features(m->t.f.vm.frontend, features, &why) == 0)
		m->logging = on;
	else
		assert_true(on);
}

static void
migration_toggles(struct model *m)
{
	set_logging(m, !m->logging);
	if (m->logging)
		trickle(m);
}

/* Memory that no ring lies in comes or goes: rings run on. */
static void
memory_changes(struct model *m)
{
	struct rp_vhu_region regions[2] = {
		{.gpa = TEST_VM_GPA,
		 .size_bytes = m->t.f.vm.memory_bytes,
		 .uva = (uint64_t)(uintptr_t)m->t.f.vm.memory,
		 .fd = m->t.f.vm.memory_fd},
		{.gpa = 0x90000000, .size_bytes = PLUGGED_BYTES, .uva = 0x100000, .fd = m->plugged_fd},
	};
	struct rp_wire_why why;

	m->plugged = !m->plugged;
	assert_int_equal(rp_vhu_frontend_set_mem_table(m->t.f.vm.frontend, regions, m->plugged ? 2 : 1, &why), 0);
}

static void
another_ring(struct model *m)
{
	test_port_ring(&m->t.f.port, any(m, 4), any(m, 2) == 0 ? RP_PORT_RING_AUTO : RP_PORT_RING_SHADOW);
}

static const struct {
	const char *name;
	deed deed;
	unsigned int weight;
} deeds[] = {
	{"move one", move_one, 6},
	{"move a pair", move_a_pair, 6},
	{"move all", move_all, 4},
	{"moves under way", move_under_way, 4},
	{"stop and cont", stop_and_go_on, 3},
	{"stop one", stop_one, 3},
	{"frontend enables or disables", frontend_toggles, 2},
	{"user enables or disables", user_toggles, 2},
	{"call eventfd is swapped", call_is_swapped, 2},
	{"accelerator dies", accelerator_dies, 2},
	{"accelerator refuses", accelerator_refuses, 2},
	{"software refuses", software_refuses, 2},
	{"software goes", software_goes, 2},
	{"software hangs", software_hangs, 2},
	{"migration", migration_toggles, 3},
	{"memory", memory_changes, 3},
	{"another ring", another_ring, 2},
};
#define DEEDS_COUNT (sizeof(deeds) / sizeof(deeds[0]))

static void
something(struct model *m)
{
	unsigned int all = 0, i, chosen;

	for (i = 0; i < DEEDS_COUNT; i++)
		all += deeds[i].weight;
	chosen = any(m, all);
	for (i = 0; chosen >= deeds[i].weight; i++)
		chosen -= deeds[i].weight;
	snprintf(m->last, sizeof(m->last), "%s", deeds[i].name);
	if (getenv("TEST_PORT_LOG") != NULL)
		fprintf(stderr, "-- %u: %s\n", m->step, m->last);
	deeds[i].deed(m);
}

/* What it was told to do, it has done: on a busy machine the port's thread comes to it late. */
static bool
software_has_done(struct fixture *f)
{
	struct fake_software now = fake_software_now();

	(void)f;
	return !now.go && !now.prove && !now.proven && !now.come;
}

/* What a device had taken when it died, or (class B) was stopped, is done again by the next owner: as often as that. */
static unsigned int
redone(struct traffic *t)
{
	return (unsigned int)(test_port_queue(&t->f.port, RX).redone + test_port_queue(&t->f.port, TX).redone);
}

/* Whatever was done, undone: then nothing may be missing. */
static void
heal(struct model *m)
{
	struct traffic *t = &m->t;
	struct rp_wire_why why;
	unsigned int i;

	FAKE_SET(open_error, 0);
	for (i = 0; i < 4; i++) {
		if (m->frontend_disabled[i])
			assert_int_equal(rp_vhu_frontend_ring_enable(t->f.vm.frontend, i, true, &why), 0);
		if (m->user_disabled[i])
			test_port_enable(&t->f.port, i);
		m->frontend_disabled[i] = m->user_disabled[i] = false;
	}
	assert_true(fixture_becomes(&t->f, software_has_done));
	if (!fake_software_now().usable) {
		SOFTWARE_SET(prove, true);
		SOFTWARE_SET(come, true);
	}
	if (m->logging)
		set_logging(m, false);
	test_port_move(&t->f.port, 0, 0, any(m, 2) == 0 ? RP_PORT_WISH_AUTO : RP_PORT_WISH_SOFTWARE, NULL);
	if (!fixture_becomes(&t->f, all_received))
		fail_msg("step %u, after '%s': %u of %u frames were received, %u of %u tx buffers came back; rx %s: "
			 "%s, tx "
			 "%s: %s",
			 m->step, m->last, t->received, t->sent, t->f.vm.queues[TX].free_count, t->f.vm.queues[TX].num,
			 rp_port_owner_name(owner_of(t, RX)), test_port_queue(&t->f.port, RX).reason,
			 rp_port_owner_name(owner_of(t, TX)), test_port_queue(&t->f.port, TX).reason);
	if (t->repeated > redone(t))
		fail_msg("step %u, after '%s': %u frames came twice, and %u chains were done again", m->step, m->last,
			 t->repeated, redone(t));
}

static void
wander(uint64_t format, enum rp_accel_class class, uint32_t seed)
{
	static struct model m;
	uint64_t moves = 0;
	unsigned int i;

	memset(&m, 0, sizeof(m));
	m.seed = seed;
	m.packed = (format & TEST_VM_PACKED) != 0;
	m.plugged_fd = test_memfd(PLUGGED_BYTES, false);
	printf("format 0x%llx, class %s, seed %u\n", (unsigned long long)format, rp_accel_class_name(class), seed);
	fake_software_setup();
	open_moves_with(&m.t,
			(struct setting){.format = format, .class = class, .migratable = class != RP_ACCEL_CLASS_A});
	test_vm_start_all(&m.t.f.vm);
	for (m.step = 0; m.step < STEPS; m.step++) {
		something(&m);
		expect_one_owner(&m.t.f.port);
		trickle(&m);
		expect_one_owner(&m.t.f.port);
		if (m.step % HEAL_EVERY == HEAL_EVERY - 1)
			heal(&m);
	}
	heal(&m);
	for (i = 0; i < 4; i++)
		moves += test_port_queue(&m.t.f.port, i).moves_to_hardware +
			 test_port_queue(&m.t.f.port, i).moves_to_software;
	printf("%u frames, %llu moves between the sides\n", m.t.received, (unsigned long long)moves);
	close_traffic(&m.t);
	close(m.plugged_fd);
}

static uint32_t
seed_now(void)
{
	const char *given = getenv("TEST_SEED");

	return given != NULL ? (uint32_t)strtoul(given, NULL, 10) : (uint32_t)time(NULL);
}

static void
split(void **state)
{
	(void)state;
	wander(0, RP_ACCEL_CLASS_A, seed_now());
}

static void
packed(void **state)
{
	(void)state;
	wander(TEST_VM_PACKED, RP_ACCEL_CLASS_A, seed_now());
}

/* In mid-life its rings are private ones, and so are packed ones from the start. */
static void
split_class_b(void **state)
{
	(void)state;
	wander(0, RP_ACCEL_CLASS_B, seed_now());
}

static void
packed_class_b(void **state)
{
	(void)state;
	wander(TEST_VM_PACKED, RP_ACCEL_CLASS_B, seed_now());
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split),
		cmocka_unit_test(packed),
		cmocka_unit_test(split_class_b),
		cmocka_unit_test(packed_class_b),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
