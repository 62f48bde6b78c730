/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "fixture.h"

/* What a network device is told beside its rings, and what it says of its link. */

#define F_STATUS (1ull << 16)
#define STATUS_AT 6 /* struct virtio_net_config */

static const uint8_t guest_mac[6] = {0x52, 0x54, 0, 1, 2, 3};

static void
open_with(struct fixture *f, const struct rp_port_net *net)
{
	struct rp_port_config config = fixture_config();

	config.net = *net;
	fixture_open_with(f, &config, NULL);
}

static struct rp_accel_net
told(void)
{
	return fake_now().net;
}

static struct rp_port_accelerator_info
accelerator(struct fixture *f)
{
	struct rp_port_accelerator_info info;

	pthread_mutex_lock(&f->port.lock);
	assert_int_equal(rp_port_get_accelerator_info(f->port.port, 0, &info), 0);
	pthread_mutex_unlock(&f->port.lock);
	return info;
}

/* Without a MAC the guest's address is the VMM's secret: the device receives whatever the address. */
static void
defaults(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f);
	assert_int_equal(told().queue_pairs, 1);
	assert_false(told().has_mac);
	assert_true(told().promiscuous);
	assert_true(told().all_multicast);
	assert_string_equal(accelerator(&f).net_reason, "");
	fixture_close(&f);
}

static void
policies(void **state)
{
	static const struct {
		struct rp_port_net net;
		bool promiscuous, all_multicast;
	} cases[] = {
		{{.has_mac = true}, false, true},
		{{.has_mac = true, .promiscuous = RP_PORT_PROMISCUOUS_ON}, true, true},
		{{.promiscuous = RP_PORT_PROMISCUOUS_OFF}, false, true},
		{{.multicast = RP_PORT_MULTICAST_DEVICE}, true, false},
	};
	struct rp_port_net net;
	struct fixture f;
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		net = cases[i].net;
		memcpy(net.mac, guest_mac, sizeof(net.mac));
		fixture_begin(&f);
		open_with(&f, &net);
		assert_int_equal(told().has_mac, net.has_mac);
		if (net.has_mac)
			assert_memory_equal(told().mac, guest_mac, sizeof(guest_mac));
		assert_int_equal(told().promiscuous, cases[i].promiscuous);
		assert_int_equal(told().all_multicast, cases[i].all_multicast);
		fixture_close(&f);
	}
}

/* A pair receives once its ring is there, and no more before the ring goes. */
static void
pairs_as_the_frontend_enables(void **state)
{
	struct rp_wire_why why;
	struct fixture f;

	(void)state;
	fixture_open(&f);
	test_vm_start_all(&f.vm);
	assert_int_equal(told().queue_pairs, 2);
	assert_int_equal(fake_now().queues[2].pairs_at_start, 1);
	assert_int_equal(rp_vhu_frontend_ring_enable(f.vm.frontend, 2, false, &why), 0);
	assert_int_equal(told().queue_pairs, 1);
	assert_int_equal(fake_now().queues[2].pairs_at_stop, 1);
	assert_int_equal(rp_vhu_frontend_ring_enable(f.vm.frontend, 2, true, &why), 0);
	assert_int_equal(told().queue_pairs, 2);
	/* Pairs count from the first on. */
	assert_int_equal(rp_vhu_frontend_ring_enable(f.vm.frontend, 0, false, &why), 0);
	assert_int_equal(told().queue_pairs, 2);
	assert_int_equal(test_port_disable(&f.port, 2), 0);
	assert_int_equal(told().queue_pairs, 1);
	fixture_close(&f);
}

static void
a_mac_that_cannot_be_set(void **state)
{
	struct rp_port_net net = {.has_mac = true};
	struct fixture f;

	(void)state;
	memcpy(net.mac, guest_mac, sizeof(net.mac));
	fixture_begin(&f);
	FAKE_SET(no_mac, true);
	open_with(&f, &net);
	test_vm_start_all(&f.vm);
	assert_false(told().has_mac);
	assert_true(told().promiscuous);
	assert_int_equal(told().queue_pairs, 2);
	assert_string_equal(accelerator(&f).net_reason, "MAC: no control queue; it receives whatever the address");
	assert_int_equal(test_port_events(&f.port, "net-refused"), 1);
	fixture_close(&f);
	/* Who forbids that is left with the device's own address, and told so. */
	net.promiscuous = RP_PORT_PROMISCUOUS_OFF;
	fixture_begin(&f);
	FAKE_SET(no_mac, true);
	open_with(&f, &net);
	assert_int_equal(fake_now().net_sets, 0);
	assert_string_equal(accelerator(&f).net_reason, "MAC: no control queue");
	fixture_close(&f);
}

static bool
is_back(struct fixture *f)
{
	return test_port_events(&f->port, "accelerator-back") == 1;
}

static bool
is_back_again(struct fixture *f)
{
	return test_port_events(&f->port, "accelerator-back") == 2;
}

static void
said_again_to_a_device_that_comes_back(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f);
	test_vm_start_all(&f.vm);
	FAKE_SET(net, (struct rp_accel_net){0});
	fake_accel_die(true);
	assert_true(fixture_becomes(&f, is_back));
	assert_int_equal(told().queue_pairs, 2);
	assert_true(told().promiscuous);
	fixture_close(&f);
}

static bool
link_is_down(struct fixture *f)
{
	return test_port_events(&f->port, "link-down") == 1 && accelerator(f).link == RP_PORT_LINK_DOWN;
}

static bool
link_is_up(struct fixture *f)
{
	return test_port_events(&f->port, "link-up") == 1 && accelerator(f).link == RP_PORT_LINK_UP;
}

static void
link_changes_are_told(void **state)
{
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	FAKE_SET(features, fake_now().features | F_STATUS);
	FAKE_SET(config[STATUS_AT], 1);
	open_with(&f, &(struct rp_port_net){0});
	assert_int_equal(accelerator(&f).link, RP_PORT_LINK_UP);
	fake_accel_change(STATUS_AT, 0);
	assert_true(fixture_becomes(&f, link_is_down));
	fake_accel_change(STATUS_AT, 1);
	assert_true(fixture_becomes(&f, link_is_up));
	/* Another field: no news of the link. */
	fake_accel_change(0, 7);
	fixture_close(&f);
	fixture_begin(&f);
	open_with(&f, &(struct rp_port_net){0});
	assert_int_equal(accelerator(&f).link, RP_PORT_LINK_UNKNOWN);
	fixture_close(&f);
}

static bool
was_told(struct fixture *f)
{
	return f->vm.config_changes == 1;
}

/* A frontend that negotiated CONFIG hears of it, and reads what the guest should see. */
static void
the_frontend_is_told(void **state)
{
	static const uint8_t up[12] = {0x52, 0x54, 0, 1, 2, 3, 1, 0, 2, 0, 0, 0};
	struct rp_port_config config = fixture_config();
	struct test_vm_options options = {.profile = RP_VHU_PROFILE_EXTENDED};
	struct rp_wire_why why;
	struct fixture f;
	uint8_t bytes[20];

	(void)state;
	config.profile = RP_VHU_PROFILE_EXTENDED;
	config.net.has_mac = true;
	memcpy(config.net.mac, guest_mac, sizeof(guest_mac));
	fixture_begin(&f);
	FAKE_SET(features, fake_now().features | F_STATUS);
	FAKE_SET(config[STATUS_AT], 1);
	fixture_open_with(&f, &config, &options);
	assert_int_equal(rp_vhu_frontend_get_config(f.vm.frontend, 0, sizeof(bytes), bytes, &why), 0);
	assert_memory_equal(bytes, up, sizeof(up));
	assert_int_equal(bytes[12], 0);
	fake_accel_change(STATUS_AT, 0);
	assert_true(fixture_becomes(&f, was_told));
	assert_int_equal(rp_vhu_frontend_get_config(f.vm.frontend, STATUS_AT, 1, bytes, &why), 0);
	assert_int_equal(bytes[0], 0);
	fixture_close(&f);
}

static bool
link_told_is(struct fixture *f, uint8_t status)
{
	struct rp_wire_why why;
	uint8_t now;

	assert_int_equal(rp_vhu_frontend_get_config(f->vm.frontend, STATUS_AT, 1, &now, &why), 0);
	return now == status;
}

static bool
was_told_more(struct fixture *f)
{
	return f->vm.config_changes > 1;
}

/* Another link than before it died: nobody said so while it was away. The same one is no news. */
static void
a_link_that_changed_while_it_was_away(void **state)
{
	struct rp_port_config config = fixture_config();
	struct test_vm_options options = {.profile = RP_VHU_PROFILE_EXTENDED};
	struct fixture f;

	(void)state;
	config.profile = RP_VHU_PROFILE_EXTENDED;
	fixture_begin(&f);
	FAKE_SET(features, fake_now().features | F_STATUS);
	FAKE_SET(config[STATUS_AT], 1);
	fixture_open_with(&f, &config, &options);
	FAKE_SET(config[STATUS_AT], 0);
	fake_accel_die(true);
	assert_true(fixture_becomes(&f, was_told));
	assert_true(link_told_is(&f, 0));
	fake_accel_die(true);
	assert_true(fixture_becomes(&f, is_back_again));
	assert_true(link_told_is(&f, 0));
	assert_int_equal(f.vm.config_changes, 1);
	FAKE_SET(config[STATUS_AT], 1);
	fake_accel_die(true);
	assert_true(fixture_becomes(&f, was_told_more));
	assert_true(link_told_is(&f, 1));
	assert_int_equal(f.vm.config_changes, 2);
	fixture_close(&f);
}

/* The first of two loses its link, and the frontend hears of it. */
static void
open_two(struct fixture *f)
{
	static const char *const accelerators[] = {"fake", "fake"};
	struct rp_port_config config = fixture_config();
	struct test_vm_options options = {.profile = RP_VHU_PROFILE_EXTENDED};

	config.profile = RP_VHU_PROFILE_EXTENDED;
	config.accelerators = accelerators;
	config.accelerators_count = 2;
	config.fail_over = true;
	fixture_begin(f);
	FAKE_SET(class, RP_ACCEL_CLASS_A);
	FAKE_SET(features, fake_now().features | F_STATUS);
	FAKE_SET(config[STATUS_AT], 1);
	fixture_open_with(f, &config, &options);
	fake_accel_change(STATUS_AT, 0);
	assert_true(fixture_becomes(f, was_told));
	assert_true(link_told_is(f, 0));
}

/* The link is that of the device that has the first pair. */
static void
another_device_has_another_link(void **state)
{
	struct fixture f;

	(void)state;
	open_two(&f);
	assert_int_equal(test_port_transfer(&f.port, 0, 2, 1, NULL), 0);
	assert_true(fixture_becomes(&f, was_told_more));
	assert_true(link_told_is(&f, 1));
	/* The second pair's is nobody's news. */
	assert_int_equal(test_port_transfer(&f.port, 2, 2, 1, NULL), 0);
	assert_true(link_told_is(&f, 1));
	assert_int_equal(f.vm.config_changes, 2);
	fixture_close(&f);
	open_two(&f);
	fake_accel_die(true);
	assert_true(fixture_becomes(&f, was_told_more));
	assert_true(link_told_is(&f, 1));
	fixture_close(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(policies),
		cmocka_unit_test(pairs_as_the_frontend_enables),
		cmocka_unit_test(a_mac_that_cannot_be_set),
		cmocka_unit_test(said_again_to_a_device_that_comes_back),
		cmocka_unit_test(link_changes_are_told),
		cmocka_unit_test(the_frontend_is_told),
		cmocka_unit_test(a_link_that_changed_while_it_was_away),
		cmocka_unit_test(another_device_has_another_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
