/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fixture.h"
#include "rp_wire_fd.h"
#include "test_parcel.h"
#include "virtio.h"

#define MIB (1u << 20)
#define CONFIG_VECTOR 4u

static const struct rp_accel_net one_card = {
	.queue_pairs = 1,
	.has_mac = true,
	.mac = {0x52, 0x54, 0, 0x12, 0x34, 0x56},
};
static const struct rp_accel_net everything = {.queue_pairs = 2, .promiscuous = true, .all_multicast = true};

/* The guest's memory as the successor has it. */
static const struct rp_accel_memory memories[] = {
	{.iova = 16 * MIB, .size_bytes = MIB, .fd = 5},
	{.iova = 0, .size_bytes = MIB, .fd = 5},
};

static int
adopt_transport(void *ctx, struct rp_wire_parcel *parcel, const struct rp_accel_memory *list, unsigned int count,
		struct rp_accel_transport *ret_transport, struct rp_wire_why *why)
{
	struct fake_device *fake = ctx;
	unsigned int i, j;

	(void)why;
	assert_int_equal(rp_wire_parcel_get_number(parcel, "fake", 1), 1);
	/* What it is told to have is what it has: the guest's, and the control queue's. */
	assert_int_equal(count, fake->dma_maps_count);
	for (i = 0; i < count; i++) {
		for (j = 0; j < FAKE_MAPS_MAX; j++)
			if (fake->maps[j].iova == list[i].iova && fake->maps[j].size_bytes == list[i].size_bytes)
				break;
		assert_true(j < FAKE_MAPS_MAX);
	}
	*ret_transport = fake_transport(fake);
	return 0;
}

static struct rp_wire_parcel *
give_and_leave(struct fixture *fixture)
{
	struct rp_wire_parcel *parcel;
	int rc;

	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	rc = fixture->accel.ops->give(fixture->accel.priv, parcel, &fixture->why);
	if (rc < 0)
		print_error("%s\n", fixture->why.text);
	assert_int_equal(rc, 0);
	fixture->accel.ops->leave(fixture->accel.priv);
	fixture->accel.ops = NULL;
	return parcel;
}

static int
adopt_with(struct fixture *fixture, struct rp_wire_parcel *parcel, unsigned int memories_count)
{
	const struct virtio_adoption adoption = {
		.parcel = parcel,
		.memories = memories,
		.memories_count = memories_count,
		.adopt_transport = adopt_transport,
		.ctx = &fixture->fake,
	};
	const struct rp_virtio_config config = {.wait_ms = fixture->wait_ms};

	memset(&fixture->why, 0, sizeof(fixture->why));
	return vdrv_adopt(&adoption, &config, &fixture->accel, &fixture->why);
}

static int
adopt(struct fixture *fixture, struct rp_wire_parcel *parcel)
{
	return adopt_with(fixture, parcel, sizeof(memories) / sizeof(memories[0]));
}

/* Of the device, but what only says which register is meant. */
static void
assert_not_felt(struct fixture *fixture, struct fake_device *before)
{
	const struct fake_device *now = &fixture->fake;

	before->device_select = now->device_select;
	before->driver_select = now->driver_select;
	before->queue_select = now->queue_select;
	before->accesses_count = now->accesses_count;
	assert_memory_equal(now, before, sizeof(*now));
}

static void
next_life(struct fixture *fixture)
{
	struct fake_device *before = malloc(sizeof(*before));
	struct rp_wire_parcel *parcel;
	int rc;

	assert_non_null(before);
	*before = fixture->fake;
	parcel = give_and_leave(fixture);
	rc = adopt(fixture, parcel);
	if (rc < 0)
		print_error("%s\n", fixture->why.text);
	assert_int_equal(rc, 0);
	rp_wire_parcel_destroy(parcel);
	assert_not_felt(fixture, before);
	free(before);
}

/* Memory, a negotiation, what to receive, two rings that run. */
static void
start(struct fixture *fixture, uint64_t features)
{
	unsigned int i;

	fixture_open_ok(fixture);
	for (i = 0; i < sizeof(memories) / sizeof(memories[0]); i++)
		assert_int_equal(fixture->accel.ops->dma_map(fixture->accel.priv, memories[i].iova,
							     memories[i].size_bytes, memories[i].fd, 0, NULL, NULL),
				 0);
	assert_int_equal(fixture->accel.ops->set_features(fixture->accel.priv, FAKE_VERSION_1 | features, NULL), 0);
	if (fixture->fake.features & FAKE_CTRL_VQ)
		assert_int_equal(fixture->accel.ops->net_set(fixture->accel.priv, &one_card, NULL), 0);
	for (i = 0; i < 2; i++)
		assert_int_equal(fixture_start(fixture, i, (features & FAKE_PACKED) != 0 ? 0x80008000 : 0, -1), 0);
}

static void
everything_works(struct fixture *fixture)
{
	const struct rp_accel_ops *ops = fixture->accel.ops;
	struct rp_accel_queue_counters counters;
	struct rp_accel_notify_area area;
	void *priv = fixture->accel.priv;
	uint32_t position = 0;
	uint8_t mac[6];

	assert_int_equal(ops->process(priv, &fixture->why), 0);
	assert_int_equal(ops->queue_kick(priv, 0), 0);
	assert_int_equal(ops->queue_kick(priv, 2), -EINVAL);
	assert_int_equal(ops->queue_notify_area(priv, 1, &area, NULL), 0);
	assert_int_equal(area.offset_bytes, FAKE_PAGE);
	assert_int_equal(ops->queue_call(priv, 1, 7, NULL), 0);
	assert_int_equal(fixture->fake.irq_fds[1], 7);
	if (fixture->fake.features & FAKE_RING_RESET)
		assert_int_equal(ops->queue_counters(priv, 0, &counters), -ENOTSUP);
	else
		assert_int_equal(ops->queue_counters(priv, 0, &counters), 0);
	assert_int_equal(ops->config_get(priv, 0, 6, mac), 0);
	assert_memory_equal(mac, fixture->fake.net_config, 6);
	assert_int_equal(ops->queue_stop(priv, 1, &position, &fixture->why), 0);
	assert_int_equal(fixture->fake.queues[1].enable, 0);
	assert_int_equal(fixture->fake.queues[0].enable, 1);
	assert_int_equal(fixture_start(fixture, 0, 0, -1), -EBUSY);
	assert_int_equal(ops->dma_unmap(priv, 16 * MIB, MIB, NULL), 0);
	assert_int_equal(ops->dma_map(priv, 16 * MIB, MIB, 5, 0, NULL, NULL), 0);
	assert_int_equal(ops->reset(priv, NULL), 0);
	assert_int_equal(ops->set_features(priv, FAKE_VERSION_1, NULL), 0);
	assert_int_equal(fixture_start(fixture, 0, 0, -1), 0);
}

static void
a_device_of_class_a(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_info before, after;
	uint32_t position = 0;

	start(fixture, 0);
	fixture->accel.ops->get_info(fixture->accel.priv, &before);
	next_life(fixture);
	fixture->accel.ops->get_info(fixture->accel.priv, &after);
	assert_memory_equal(&before, &after, sizeof(before));
	/* Where it is now, not where it was. */
	fixture->fake.queues[0].position = 31;
	assert_int_equal(fixture->accel.ops->queue_stop(fixture->accel.priv, 0, &position, &fixture->why), 0);
	assert_int_equal(position, 31);
	assert_int_equal(fixture_start(fixture, 0, position, -1), 0);
	next_life(fixture);
	everything_works(fixture);
}

static void
a_device_of_class_b(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_info info;

	fake_remove_vendor(&fixture->fake);
	start(fixture, 0);
	next_life(fixture);
	fixture->accel.ops->get_info(fixture->accel.priv, &info);
	assert_int_equal(info.class, RP_ACCEL_CLASS_B);
	assert_int_equal(fixture_start(fixture, 2, 1, -1), -ENOTSUP);
	everything_works(fixture);
}

/* A command before, one after: the ring goes on where it is, and the device is not told again what it knows. */
static void
go_on_with_control(struct fixture *fixture, uint64_t features)
{
	const struct fake_ctrl *ctrl = &fixture->fake.ctrl;
	unsigned int life;

	fake_add_control(&fixture->fake);
	start(fixture, features);
	for (life = 0; life < 40; life++) {
		unsigned int commands_count = ctrl->commands_count;
		const struct rp_accel_net *net = life % 2 == 0 ? &everything : &one_card;

		next_life(fixture);
		assert_int_equal(ctrl->commands_count, commands_count);
		assert_int_equal(fixture->accel.ops->net_set(fixture->accel.priv, net, &fixture->why), 0);
		assert_int_equal(ctrl->pairs, net->queue_pairs);
		assert_int_equal(ctrl->promiscuous, net->promiscuous);
		assert_memory_equal(ctrl->mac, net->has_mac ? net->mac : fixture->fake.net_config, 6);
		assert_int_equal(ctrl->starts_count, 1);
	}
	/* After a reset it is told what was set in an earlier life. */
	next_life(fixture);
	assert_int_equal(fixture->accel.ops->reset(fixture->accel.priv, &fixture->why), 0);
	assert_int_equal(fixture->accel.ops->set_features(fixture->accel.priv, FAKE_VERSION_1 | features, NULL), 0);
	assert_memory_equal(ctrl->mac, one_card.mac, 6);
	for (life = 0; life < 2; life++)
		assert_int_equal(fixture_start(fixture, life, (features & FAKE_PACKED) != 0 ? 0x80008000 : 0, -1), 0);
}

static void
the_control_queue_goes_on(void **state)
{
	struct fixture *fixture = *state;

	go_on_with_control(fixture, 0);
	everything_works(fixture);
}

static void
the_packed_control_queue_goes_on(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.features |= FAKE_PACKED;
	go_on_with_control(fixture, FAKE_PACKED);
}

/* Its memory is known not to be the guest's, and makes way. */
static void
the_control_queue_makes_way_afterwards(void **state)
{
	struct fixture *fixture = *state;
	struct rp_dma_mapping mapping;

	fixture->fake.features |= FAKE_RING_RESET;
	fake_add_control(&fixture->fake);
	start(fixture, 0);
	next_life(fixture);
	assert_int_equal(rp_dma_space_at(fixture->fake.ctrl.space, 0, &mapping), 0);
	assert_int_equal(fixture->accel.ops->dma_map(fixture->accel.priv, mapping.iova, MIB, 5, 0, NULL, NULL), 0);
	assert_int_equal(fixture->fake.ctrl.resets_count, 1);
	assert_int_equal(fixture->accel.ops->net_set(fixture->accel.priv, &everything, &fixture->why), 0);
	assert_int_equal(fixture->fake.ctrl.starts_count, 2);
}

/* Nothing runs yet; the wish is kept. */
static void
before_the_negotiation(void **state)
{
	struct fixture *fixture = *state;
	struct rp_wire_parcel *parcel;

	fake_add_control(&fixture->fake);
	fixture_open_ok(fixture);
	assert_int_equal(fixture->accel.ops->net_set(fixture->accel.priv, &one_card, NULL), 0);
	parcel = give_and_leave(fixture);
	assert_int_equal(adopt_with(fixture, parcel, 0), 0);
	rp_wire_parcel_destroy(parcel);
	assert_int_equal(fixture->accel.ops->set_features(fixture->accel.priv, FAKE_VERSION_1, NULL), 0);
	assert_memory_equal(fixture->fake.ctrl.mac, one_card.mac, 6);
	assert_int_equal(fixture_start(fixture, 3, 0, -1), 0);
}

/* By the eventfd that the device has had from the first life on; also while nobody was there. */
static void
a_change_of_the_configuration(void **state)
{
	struct fixture *fixture = *state;
	struct rp_wire_parcel *parcel;
	int event_fd;

	start(fixture, 0);
	event_fd = rp_wire_fd_dup(fixture->fake.irq_fds[CONFIG_VECTOR]);
	parcel = give_and_leave(fixture);
	eventfd_write(event_fd, 1);
	assert_int_equal(adopt(fixture, parcel), 0);
	rp_wire_parcel_destroy(parcel);
	assert_int_equal(fixture->accel.ops->process(fixture->accel.priv, &fixture->why), 1);
	assert_int_equal(fixture->accel.ops->process(fixture->accel.priv, &fixture->why), 0);
	eventfd_write(event_fd, 1);
	assert_int_equal(fixture->accel.ops->process(fixture->accel.priv, &fixture->why), 1);
	rp_wire_fd_close(&event_fd);
}

/* Wishes, changed while nobody was there, and afterwards. */
static void
wishes_go_on(void **state)
{
	struct fixture *fixture = *state;
	const struct rp_accel_ops *ops;
	struct rp_wire_parcel *parcel;
	int event_fd;

	fixture->fake.vendor.flags |= RP_ACCEL_VENDOR_DOORBELL_MASK;
	fixture->fake.has_io_fds = true;
	start(fixture, 0);
	event_fd = rp_wire_fd_dup(fixture->fake.irq_fds[CONFIG_VECTOR]);
	assert_int_equal(fixture->accel.ops->queue_doorbell(fixture->accel.priv, 0, true, NULL), 0);
	parcel = give_and_leave(fixture);
	fixture->fake.wishes[0] = ~1u;
	assert_int_equal(adopt(fixture, parcel), 0);
	rp_wire_parcel_destroy(parcel);
	ops = fixture->accel.ops;
	assert_false(ops->queue_wants_page(fixture->accel.priv, 0));
	assert_true(ops->queue_wants_page(fixture->accel.priv, 1));
	assert_int_equal(fixture->fake.queues[0].doorbell, RP_ACCEL_VENDOR_DOORBELL_PAGE);
	assert_int_equal(ops->queue_doorbell(fixture->accel.priv, 0, false, NULL), 0);
	fixture->fake.wishes[0] = ~0u;
	eventfd_write(event_fd, 1);
	assert_int_equal(ops->process(fixture->accel.priv, &fixture->why) & RP_ACCEL_CHANGED_WISHES,
			 RP_ACCEL_CHANGED_WISHES);
	assert_true(ops->queue_wants_page(fixture->accel.priv, 0));
	rp_wire_fd_close(&event_fd);
}

static void
who_gave_may_go_on(void **state)
{
	struct fixture *fixture = *state;
	struct rp_wire_parcel *parcel;

	start(fixture, 0);
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	assert_int_equal(fixture->accel.ops->give(fixture->accel.priv, parcel, &fixture->why), 0);
	rp_wire_parcel_destroy(parcel);
	everything_works(fixture);
}

static void
what_cannot_be_given(void **state)
{
	struct fixture *fixture = *state;
	struct rp_wire_parcel *parcel;

	start(fixture, 0);
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	fixture->fake.lies.give_error = -EAGAIN;
	assert_int_equal(fixture->accel.ops->give(fixture->accel.priv, parcel, &fixture->why), -EAGAIN);
	fixture->fake.lies.give_error = 0;
	/* Once more, into the same parcel. */
	assert_int_equal(fixture->accel.ops->give(fixture->accel.priv, parcel, &fixture->why), 0);
	rp_wire_parcel_destroy(parcel);
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	fixture->fake.process_error = -ENOTCONN;
	assert_int_equal(fixture->accel.ops->process(fixture->accel.priv, NULL), -ENOTCONN);
	assert_int_equal(fixture->accel.ops->give(fixture->accel.priv, parcel, &fixture->why), -ENOTCONN);
	rp_wire_parcel_destroy(parcel);
}

/* Refused by name; the device is cut off, and nothing is kept. */
static void
refuses(struct fixture *fixture, struct rp_wire_parcel *parcel, int error, const char *words)
{
	unsigned int closes_count = fixture->fake.closes_count;
	struct rp_wire_why *why = &fixture->why;
	struct test_leaks leaks;
	int rc;

	fixture->fake.is_elsewhere = true;
	test_leaks_read(&leaks);
	rc = adopt(fixture, parcel);
	if (rc != error || strstr(why->text, words) == NULL)
		print_error("expected %d %s: %d %s\n", error, words, rc, why->text);
	assert_int_equal(rc, error);
	assert_int_equal(why->error, error);
	assert_non_null(strstr(why->text, words));
	assert_null(fixture->accel.ops);
	assert_true(fixture->fake.closes_count <= closes_count + 1);
	fixture->fake.closes_count = closes_count;
	fixture->fake.is_elsewhere = false;
	test_leaks_assert_none(&leaks);
}

static void
refuses_changed(struct fixture *fixture, const struct rp_wire_parcel *parcel, enum test_parcel_change change,
		const char *path, uint64_t number, int error, const char *words)
{
	struct rp_wire_parcel *changed = test_parcel_changed(parcel, change, path, number);

	refuses(fixture, changed, error, words);
	rp_wire_parcel_destroy(changed);
}

static void
a_parcel_that_was_changed(void **state)
{
	static const struct {
		enum test_parcel_change change;
		const char *path;
		uint64_t number;
		int error;
		const char *words;
	} rows[] = {
		{TEST_PARCEL_DROP, "version", 0, -EBADMSG, "version: expected a number"},
		{TEST_PARCEL_NUMBER, "version", 2, -ENOTSUP, "version: 2, expected 1"},
		{TEST_PARCEL_NUMBER, "device_features", 0, -EIO, "features: the device has 0x"},
		{TEST_PARCEL_NUMBER, "guest_features", FAKE_VERSION_1 | 1, -EBADMSG, "features: "},
		{TEST_PARCEL_NUMBER, "negotiated", 2, -EBADMSG, "negotiated: 2, expected at most 1"},
		{TEST_PARCEL_NUMBER, "negotiated", 0, -EBADMSG, "driver_ok: 1, expected 0 without a negotiation"},
		{TEST_PARCEL_NUMBER, "driver_ok", 0, -EBADMSG, "queue 0: runs with 64 entries"},
		{TEST_PARCEL_FILE, "config_event", 0, -EBADMSG, "config_event: not an eventfd"},
		{TEST_PARCEL_DROP, "config_event", 0, -EBADMSG, "config_event: expected a descriptor"},
		{TEST_PARCEL_NUMBER, "all_queues", 6, -EIO, "num_queues: the device has 0x5, expected 0x6"},
		{TEST_PARCEL_NUMBER, "all_queues", 3, -EBADMSG, "queues: 4, expected pairs, at most 3"},
		{TEST_PARCEL_NUMBER, "queues", 0, -EBADMSG, "queues: 0, expected pairs"},
		{TEST_PARCEL_NUMBER, "queues", 3, -EBADMSG, "queues: 3, expected pairs"},
		{TEST_PARCEL_NUMBER, "queues", 256, -EBADMSG, "queues: 256, expected pairs"},
		{TEST_PARCEL_NUMBER, "queues", 257, -EBADMSG, "queues: 257, expected at most 256"},
		{TEST_PARCEL_NUMBER, "queue[0].size_max", 0, -EBADMSG, "queue 0: size_max: 0"},
		{TEST_PARCEL_NUMBER, "queue[0].size_max", 100, -EBADMSG, "queue 0: size_max: 100"},
		{TEST_PARCEL_NUMBER, "queue[1].size_max", 32, -EBADMSG,
		 "queue 1: runs with 64 entries, expected 1 to 32"},
		{TEST_PARCEL_NUMBER, "queue[1].size", 128, -EIO,
		 "queue 1: queue_size: the device has 0x40, expected 0x80"},
		{TEST_PARCEL_NUMBER, "queue[1].running", 0, -EIO,
		 "queue 1: queue_enable: the device has 0x1, expected 0x0"},
		{TEST_PARCEL_NUMBER, "net_pairs", 0, -EBADMSG, "net: queue pairs: 0"},
		{TEST_PARCEL_NUMBER, "net_pairs", 3, -EBADMSG, "net: queue pairs: 3"},
		{TEST_PARCEL_NUMBER, "net_mac", 1, -EBADMSG, "net: MAC: a multicast address"},
		{TEST_PARCEL_NUMBER, "ctrlq[0].present", 0, -EBADMSG, "control queue: present 0"},
		{TEST_PARCEL_NUMBER, "ctrlq[0].index", 2, -EBADMSG, "control queue: present 1 at 2, expected"},
		{TEST_PARCEL_NUMBER, "ctrlq[0].index", 5, -EBADMSG, "control queue: present 1 at 5, expected"},
		{TEST_PARCEL_NUMBER, "ctrlq[0].running", 0, -EIO, "queue 4: queue_enable: the device has 0x1"},
		{TEST_PARCEL_NUMBER, "ctrlq[0].size", 32, -EIO, "queue 4: queue_size: the device has 0x40"},
		{TEST_PARCEL_NUMBER, "ctrlq[0].size", 0, -EIO, "queue 4: queue_size: the device has 0x40"},
		{TEST_PARCEL_NUMBER, "ctrlq[0].position", 1, -EBADMSG, "control queue: position 0x1, descriptor"},
		{TEST_PARCEL_NUMBER, "ctrlq[0].position", 0x10000, -EBADMSG, "control queue: position 0x10000"},
		{TEST_PARCEL_NUMBER, "ctrlq[0].first_free", 64, -EBADMSG, "descriptor 64, at 0x"},
		{TEST_PARCEL_NUMBER, "ctrlq[0].mapped", 0, -EBADMSG, "running 1, mapped 0"},
		{TEST_PARCEL_NUMBER, "ctrlq[0].memory_bytes", 0, -EBADMSG, "mapped 1, 0 bytes"},
		{TEST_PARCEL_NUMBER, "ctrlq[0].memory_bytes", 4096, -EBADMSG, "expected a memfd of 4096 bytes"},
		{TEST_PARCEL_NUMBER, "ctrlq[0].memory_bytes", UINT64_MAX, -EBADMSG, "expected at most 1048576"},
		{TEST_PARCEL_FILE, "ctrlq[0].memory", 0, -EBADMSG, "sealed against shrinking"},
		{TEST_PARCEL_DROP, "ctrlq[0].memory", 0, -EBADMSG, "memory: expected a descriptor"},
	};
	struct fixture *fixture = *state;
	struct rp_wire_parcel *parcel;
	char path[64];
	size_t i;

	fake_add_control(&fixture->fake);
	start(fixture, 0);
	parcel = give_and_leave(fixture);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(path, sizeof(path), "virtio[0].%s", rows[i].path);
		refuses_changed(fixture, parcel, rows[i].change, path, rows[i].number, rows[i].error, rows[i].words);
	}
	assert_int_equal(adopt(fixture, parcel), 0);
	rp_wire_parcel_destroy(parcel);
}

/* A device that is not in the state that its driver left: its registers say so. */
static void
a_device_that_changed(void **state)
{
	struct fixture *fixture = *state;
	struct fake_device *fake = &fixture->fake;
	struct rp_wire_parcel *parcel;

	start(fixture, 0);
	parcel = give_and_leave(fixture);
	fake->status = 0;
	refuses_changed(fixture, parcel, TEST_PARCEL_NUMBER, "virtio[0].vectors_short", 0, -EIO,
			"device_status: 0x00, expected 0x0f: it was reset by somebody else");
	fake->status = 0x4f;
	refuses_changed(fixture, parcel, TEST_PARCEL_NUMBER, "virtio[0].vectors_short", 0, -EIO, "it asks for a reset");
	fake->status = 0x0f;
	fake->queues[0].enable = 0;
	refuses_changed(fixture, parcel, TEST_PARCEL_NUMBER, "virtio[0].vectors_short", 0, -EIO,
			"queue 0: queue_enable: the device has 0x0, expected 0x1");
	fake->queues[0].enable = 1;
	fake->queues[0].vector = 3;
	refuses_changed(fixture, parcel, TEST_PARCEL_NUMBER, "virtio[0].vectors_short", 0, -EIO,
			"queue 0: queue_msix_vector: the device has 0x3, expected 0x0");
	fake->queues[0].vector = 0;
	fake->config_space[FAKE_CAP_COMMON] = 0;
	assert_int_equal(adopt(fixture, parcel), -ENOTSUP);
	fake->closes_count = 0;
	rp_wire_parcel_destroy(parcel);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_device_of_class_a),
		TEST(a_device_of_class_b),
		TEST(the_control_queue_goes_on),
		TEST(the_packed_control_queue_goes_on),
		TEST(the_control_queue_makes_way_afterwards),
		TEST(before_the_negotiation),
		TEST(wishes_go_on),
		TEST(a_change_of_the_configuration),
		TEST(who_gave_may_go_on),
		TEST(what_cannot_be_given),
		TEST(a_parcel_that_was_changed),
		TEST(a_device_that_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
