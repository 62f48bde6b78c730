/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "test_parcel.h"
#include "traffic.h"

/* A port that ends, and one that goes on: between them the guest and the device are alone. */

#define FRAMES 300u

static struct traffic t;
static struct rp_wire_parcel *parcel;

static void
open_pair(const struct setting *setting)
{
	open_traffic(&t, setting);
	start_pair(&t);
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
}

static void
close_pair(void)
{
	parcel = rp_wire_parcel_destroy(parcel);
	close_traffic(&t);
}

static void
give(void)
{
	struct rp_wire_why why = {0};
	int rc = test_port_give(&t.f.port, parcel, &why);

	if (rc < 0)
		fail_msg("%d: %s", rc, why.text);
	assert_null(t.f.port.port);
}

static void
adopt(const struct setting *setting)
{
	struct rp_port_config config = traffic_config(setting);
	struct rp_wire_why why = {0};
	int rc = test_port_adopt(&t.f.port, &config, &fake_accel_registry, parcel, &why);

	if (rc < 0)
		fail_msg("%d: %s", rc, why.text);
}

/* The device was told nothing. */
static void
expect_untouched(void)
{
	struct fake_accel now = fake_now();
	unsigned int i;

	for (i = RX; i <= TX; i++) {
		assert_true(now.queues[i].running);
		assert_int_equal(now.queues[i].starts, 1);
		assert_int_equal(now.queues[i].stops, 0);
	}
	assert_int_equal(now.resets, 0);
	assert_int_equal(now.closes, 0);
	assert_int_equal(now.opens, 1);
	assert_int_equal(t.f.vm.unmaps, 0);
}

static void
frames_move_while_nobody_is_there(void **state)
{
	static const enum rp_accel_class classes[] = {RP_ACCEL_CLASS_A, RP_ACCEL_CLASS_B};
	size_t i;

	(void)state;
	for (i = 0; i < 2 * FORMATS_COUNT; i++) {
		const struct setting setting = {.format = formats[i / 2], .class = classes[i % 2]};
		unsigned int maps;

		open_pair(&setting);
		assert_true(fixture_becomes(&t.f, is_direct));
		maps = t.f.vm.maps;
		send_frames(&t, FRAMES);
		give();
		send_frames(&t, FRAMES);
		all_arrive_once(&t);
		expect_untouched();
		adopt(&setting);
		send_frames(&t, FRAMES);
		all_arrive_once(&t);
		expect_untouched();
		expect_mode(&t, RP_PORT_QUEUE_DIRECT, "");
		assert_int_equal(t.f.vm.maps, maps);
		assert_int_equal(test_port_queue(&t.f.port, TX).doorbell_maps, 1);
		assert_int_equal(fake_now().adopts, 1);
		if (setting.class == RP_ACCEL_CLASS_A)
			stop_and_cont(&t, 3);
		all_arrive_once(&t);
		close_pair();
	}
}

static bool
tx_was_told_eventfd(struct fixture *f)
{
	(void)f;
	return fake_now().queues[TX].told == FAKE_TOLD_EVENTFD;
}

/* Who comes may know nothing of a device's wishes: it watches, until he says otherwise. */
static void
an_idle_queue(void **state)
{
	const struct setting setting = {.format = formats[0]};
	unsigned int maps;

	(void)state;
	open_pair(&setting);
	FAKE_SET(has_wishes, true);
	assert_true(fixture_becomes(&t.f, is_direct));
	fake_accel_wish(TX, true);
	assert_true(fixture_becomes(&t.f, tx_was_told_eventfd));
	maps = t.f.vm.maps;
	give();
	assert_int_equal(fake_now().queues[TX].told, FAKE_TOLD_PAGE);
	send_frames(&t, 1);
	adopt(&setting);
	assert_true(fixture_becomes(&t.f, tx_was_told_eventfd));
	assert_int_equal(test_port_queue(&t.f.port, TX).doorbell_idles, 1);
	assert_false(test_port_queue(&t.f.port, TX).doorbell_wanted);
	all_arrive_once(&t);
	assert_int_equal(t.f.vm.maps, maps);
	fake_accel_wish(TX, false);
	assert_true(test_vm_wait_doorbell(&t.f.vm, TX, true, LIMIT_MS));
	assert_int_equal(fake_now().queues[TX].told, FAKE_TOLD_PAGE);
	send_frames(&t, FRAMES);
	all_arrive_once(&t);
	close_pair();
}

/* Kicks wait in their eventfd, and interrupts in theirs. */
static void
what_is_relayed_waits(void **state)
{
	const struct setting setting = {.doorbell = RP_PORT_DOORBELL_RELAY, .relay_interrupts = true};
	uint8_t frame[FRAME_BYTES] = {0};

	(void)state;
	open_pair(&setting);
	send_frames(&t, FRAMES);
	all_arrive_once(&t);
	give();
	memcpy(frame, &t.sent, sizeof(t.sent));
	frame[FRAME_BYTES - 1] = (uint8_t)t.sent++;
	assert_true(test_vm_send(&t.f.vm, TX, frame, sizeof(frame)));
	expect_untouched();
	adopt(&setting);
	all_arrive_once(&t);
	send_frames(&t, FRAMES);
	all_arrive_once(&t);
	expect_untouched();
	assert_true(test_port_queue(&t.f.port, TX).relayed_interrupts > 0);
	expect_mode(&t, RP_PORT_QUEUE_RELAYED, "the user's choice");
	close_pair();
}

/* Stopped where they stand, and started there: each frame once. */
static void
private_rings_go_on_later(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < FORMATS_COUNT; i++) {
		const struct setting setting = {
			.format = formats[i], .class = RP_ACCEL_CLASS_B, .ring = RP_PORT_RING_SHADOW};

		open_pair(&setting);
		send_frames(&t, FRAMES);
		give();
		assert_false(fake_now().queues[TX].running);
		assert_int_equal(fake_now().resets, 0);
		adopt(&setting);
		assert_true(test_port_wait_mode(&t.f.port, TX, RP_PORT_QUEUE_SHADOW, LIMIT_MS));
		send_frames(&t, FRAMES);
		all_arrive_once(&t);
		close_pair();
	}
}

/* The offer went out before, its answer comes after. */
static void
an_offer_under_way(void **state)
{
	const struct setting setting = {.doorbell = RP_PORT_DOORBELL_RELAY};
	unsigned int i;

	(void)state;
	open_pair(&setting);
	/* The frontend reads nothing meanwhile. */
	test_port_doorbell(&t.f.port, RX, RP_PORT_DOORBELL_AUTO);
	for (i = 0; i < LIMIT_MS && test_port_queue(&t.f.port, RX).doorbell != RP_PORT_DOORBELL_PENDING; i++)
		usleep(1000);
	test_port_doorbell(&t.f.port, TX, RP_PORT_DOORBELL_AUTO);
	give();
	adopt(&setting);
	assert_int_equal(test_port_queue(&t.f.port, RX).doorbell, RP_PORT_DOORBELL_PENDING);
	assert_true(fixture_becomes(&t.f, is_direct));
	send_frames(&t, FRAMES);
	all_arrive_once(&t);
	expect_untouched();
	close_pair();
}

static bool
is_disconnected(struct fixture *f)
{
	return !test_port_info(&f->port).connected;
}

static void
the_frontend_left_meanwhile(void **state)
{
	const struct setting setting = {0};

	(void)state;
	open_pair(&setting);
	assert_true(fixture_becomes(&t.f, is_direct));
	give();
	test_vm_disconnect(&t.f.vm);
	adopt(&setting);
	parcel = rp_wire_parcel_destroy(parcel);
	while (!is_disconnected(&t.f))
		usleep(1000);
	assert_false(fake_now().queues[TX].running);
	test_vm_connect(&t.f.vm, traffic_config(&setting).socket_path, NULL);
	close_pair();
}

static void
the_device_died_meanwhile(void **state)
{
	const struct setting setting = {0};

	(void)state;
	open_pair(&setting);
	assert_true(fixture_becomes(&t.f, is_direct));
	give();
	fake_accel_die(true);
	adopt(&setting);
	while (test_port_events(&t.f.port, "accelerator-failed") == 0)
		usleep(1000);
	/* What happens then is what happens ever. */
	while (test_port_events(&t.f.port, "accelerator-back") == 0) {
		rp_vhu_frontend_process(t.f.vm.frontend);
		usleep(1000);
	}
	close_pair();
}

/* Nothing is held, and the device is as it was. */
static void
assert_refused(const struct rp_port_config *config, struct rp_wire_parcel *given, int error, const char *words)
{
	struct rp_wire_why why = {0};
	struct test_leaks before;

	test_leaks_read(&before);
	assert_int_equal(test_port_adopt(&t.f.port, config, &fake_accel_registry, given, &why), error);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s', expected '%s' in it", why.text, words);
	test_leaks_assert_none(&before);
	expect_untouched();
}

static void
assert_lie(const char *path, uint64_t number, int error, const char *words)
{
	const struct setting setting = {0};
	const struct rp_port_config config = traffic_config(&setting);
	struct rp_wire_parcel *given = test_parcel_with(parcel, path, number);

	assert_refused(&config, given, error, words);
	rp_wire_parcel_destroy(given);
}

static void
what_the_frontend_was_told_must_hold(void **state)
{
	const struct setting setting = {0};
	struct rp_port_config config = traffic_config(&setting);

	(void)state;
	open_pair(&setting);
	assert_true(fixture_becomes(&t.f, is_direct));
	give();
	config.queue_pairs = 1;
	assert_refused(&config, parcel, -ENOTSUP, "2 queues now, the frontend knows 4");
	config = traffic_config(&setting);
	config.name = "another";
	assert_refused(&config, parcel, -EBADMSG, "name: found 'test', expected 'another'");
	config = traffic_config(&setting);
	config.profile = RP_VHU_PROFILE_EXTENDED;
	assert_refused(&config, parcel, -ENOTSUP, "profile");
	config = traffic_config(&setting);
	config.windows_count = 1;
	assert_refused(&config, parcel, -ENOTSUP, "windows");
	config = traffic_config(&setting);
	config.memory = RP_PORT_MEMORY_TABLE;
	assert_refused(&config, parcel, -ENOTSUP, "protocol features");
	config = traffic_config(&setting);
	FAKE_SET(features, fake_now().features & ~(1ull << 29));
	assert_refused(&config, parcel, -ENOTSUP, "features 0x20000000 were offered, and cannot be any more");
	FAKE_SET(features, fake_now().features | 1ull << 29);
	FAKE_SET(adopt_error, -EIO);
	assert_refused(&config, parcel, -EIO, "accelerator 0 (fake): fake: the device is gone");
	FAKE_SET(adopt_error, 0);
	adopt(&setting);
	send_frames(&t, FRAMES);
	all_arrive_once(&t);
	close_pair();
}

static void
what_breaks_a_rule(void **state)
{
	const struct setting setting = {0};

	(void)state;
	open_pair(&setting);
	assert_true(fixture_becomes(&t.f, is_direct));
	give();
	assert_lie("version", 2, -ENOTSUP, "version: 2");
	assert_lie("queues_count", 0, -EBADMSG, "queues_count");
	assert_lie("queues_count", 257, -EBADMSG, "queues_count");
	assert_lie("vring_num_max", 128, -ENOTSUP, "rings have at most 256 entries now");
	assert_lie("frontend[0].region[0].size_bytes", 0, -EBADMSG, "size is 0");
	assert_lie("frontend[0].region[0].offset_bytes", 1ull << 40, -EBADMSG, "");
	assert_lie("queue[1].running", 0, -EBADMSG, "queue 1: running: 0, the device says otherwise");
	assert_lie("queue[2].running", 1, -EBADMSG, "queue 2: running: expected a ring that was started");
	assert_lie("queue[1].frontend_started", 0, -EBADMSG, "queue 1: frontend_started: 0, expected 1");
	assert_lie("queue[1].accelerator_queue", 0, -ENOTSUP, "queue 1: it was queue 0 of accelerator 0");
	assert_lie("queue[1].position", 65536, -EBADMSG, "queue 1: ");
	assert_lie("queue[1].doorbell[0].state", 4, -EBADMSG, "queue[1].doorbell[0].state: 4, expected at most 3");
	assert_lie("queue[1].wish", 3, -EBADMSG, "queue[1].wish");
	assert_lie("accelerator[0].net_mac", UINT64_MAX, -EBADMSG, "net_mac");
	adopt(&setting);
	send_frames(&t, FRAMES);
	all_arrive_once(&t);
	close_pair();
}

/* Every item, wrong in every way: a port comes of it or does not, and nothing is left of it. */
static void
every_single_lie(void **state)
{
	const struct setting setting = {0};
	const struct rp_port_config config = traffic_config(&setting);
	unsigned int item, lie, refused = 0, count;
	struct test_leaks before;

	(void)state;
	open_pair(&setting);
	assert_true(fixture_becomes(&t.f, is_direct));
	send_frames(&t, FRAMES);
	give();
	count = test_parcel_items_count(parcel);
	test_leaks_read(&before);
	for (item = 0; item < count; item++) {
		for (lie = 0; lie < TEST_PARCEL_LIES; lie++) {
			struct rp_wire_parcel *given = test_parcel_altered(parcel, item, lie);
			struct rp_wire_why why = {0};
			struct rp_port *port = NULL;
			int rc = rp_port_adopt(&config, &fake_accel_registry, NULL, NULL, given, &port, &why);

			rp_wire_parcel_destroy(given);
			if (rc < 0)
				assert_true(why.error == rc && why.text[0] != '\0' && ++refused > 0);
			else
				rp_port_process(port);
			rp_port_leave(port);
		}
	}
	test_leaks_assert_none(&before);
	assert_true(refused > count);
	rp_wire_parcel_destroy(parcel);
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	/* Nobody has the device any more. */
	FAKE_SET(dead, true);
	test_port_open(&t.f.port, &config, &fake_accel_registry);
	close_pair();
}

/* Of two accelerators: rings, and a doorbell that is on its way back from the one, and not offered of the other yet. */
static void
where_queues_were_moved_to(void **state)
{
	const struct setting setting = {.class = RP_ACCEL_CLASS_A, .second = true};
	unsigned int i;

	(void)state;
	open_pair(&setting);
	assert_true(fixture_becomes(&t.f, is_direct));
	send_frames(&t, FRAMES);
	assert_int_equal(test_port_transfer(&t.f.port, RX, 2, 1, NULL), 0);
	assert_int_equal(test_port_queue(&t.f.port, TX).doorbell, RP_PORT_DOORBELL_REVOKING);
	give();
	adopt(&setting);
	for (i = RX; i <= TX; i++) {
		assert_int_equal(test_port_queue(&t.f.port, i).accelerator, 1);
		assert_int_equal(test_port_queue(&t.f.port, i).moves_between_accelerators, 1);
		assert_int_equal(fake_now().queues[FAKE_ACCEL_QUEUES + i].starts, 1);
		assert_int_equal(fake_now().queues[FAKE_ACCEL_QUEUES + i].stops, 0);
	}
	assert_true(fixture_becomes(&t.f, is_direct));
	send_frames(&t, FRAMES);
	all_arrive_once(&t);
	assert_int_equal(test_port_transfer(&t.f.port, RX, 2, 0, NULL), 0);
	send_frames(&t, FRAMES);
	all_arrive_once(&t);
	close_pair();
}

/* Two queues in one place would be two guests' rings in one. */
static void
two_queues_in_one_place(void **state)
{
	const struct setting setting = {0};
	const struct rp_port_config config = traffic_config(&setting);
	struct rp_wire_why why = {0};
	struct rp_wire_parcel *given;

	(void)state;
	open_traffic(&t, &setting);
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	give();
	given = test_parcel_with(parcel, "queue[2].accelerator_queue", 0);
	assert_int_equal(test_port_adopt(&t.f.port, &config, &fake_accel_registry, given, &why), -EBADMSG);
	assert_string_equal(why.text, "queue 2: queue 0 of accelerator 0 is queue 0's as well");
	rp_wire_parcel_destroy(given);
	adopt(&setting);
	start_pair(&t);
	send_frames(&t, FRAMES);
	all_arrive_once(&t);
	close_pair();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_move_while_nobody_is_there),
		cmocka_unit_test(an_idle_queue),
		cmocka_unit_test(what_is_relayed_waits),
		cmocka_unit_test(private_rings_go_on_later),
		cmocka_unit_test(an_offer_under_way),
		cmocka_unit_test(the_frontend_left_meanwhile),
		cmocka_unit_test(the_device_died_meanwhile),
		cmocka_unit_test(what_the_frontend_was_told_must_hold),
		cmocka_unit_test(what_breaks_a_rule),
		cmocka_unit_test(where_queues_were_moved_to),
		cmocka_unit_test(two_queues_in_one_place),
		cmocka_unit_test(every_single_lie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
