/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "fixture.h"
#include "rp_wire_fd.h"

/*
 * The VFIO group of the device that serves a queue goes to the VMM: one message for
 * each queue, before its first notify area, and back before the device is closed.
 * Any character device will do for a group: which of them are VFIO is KVM's to know.
 */

static const char *const two[] = {"fake", "fake"};

struct office {
	struct fixture f;
	struct rp_vhu_vfio_files *files; /* of the VMM */
	struct test_vm_options options;
	struct rp_port_config config;
	int groups[2];
	int refuse;
	char diary[512]; /* "+0" "-1": added, removed; the digit is the group, then how many notify areas there are */
};

static unsigned int
group_of(const struct office *office, int fd)
{
	return rp_wire_fd_same(fd, office->groups[1]) == 1 ? 1 : 0;
}

static void
note(struct office *office, char sign, int fd)
{
	size_t used = strlen(office->diary);

	snprintf(office->diary + used, sizeof(office->diary) - used, "%c%u(%u) ", sign, group_of(office, fd),
		 office->f.vm.maps - office->f.vm.unmaps);
}

static int
on_add(void *ctx, int fd, enum rp_vhu_vfio_type type, struct rp_wire_why *why)
{
	struct office *office = ctx;

	assert_int_equal(type, RP_VHU_VFIO_GROUP);
	if (office->refuse != 0)
		return rp_wire_why_set(why, office->refuse, "KVM says no");
	note(office, '+', fd);
	return 0;
}

static void
on_remove(void *ctx, int fd, enum rp_vhu_vfio_type type)
{
	(void)type;
	note(ctx, '-', fd);
}

static const struct rp_vhu_vfio_files_ops ops = {.add = on_add, .remove = on_remove};

/* The first device is in group 0; the second in that or in another. */
static void
office_open(struct office *office, enum rp_vhu_profile profile, unsigned int second_group)
{
	memset(office, 0, sizeof(*office));
	fixture_begin(&office->f);
	office->groups[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
	office->groups[1] = open("/dev/zero", O_RDWR | O_CLOEXEC);
	assert_true(office->groups[0] >= 0 && office->groups[1] >= 0);
	FAKE_SET(groups[0], office->groups[0]);
	FAKE_SET(groups[1], office->groups[second_group]);
	assert_int_equal(rp_vhu_vfio_files_create(&ops, office, &office->files), 0);
	office->options = (struct test_vm_options){.profile = profile, .vfio_files = office->files};
	office->config = fixture_config();
	office->config.profile = profile;
}

/* When VMM and port are closed. */
static void
office_end(struct office *office)
{
	office->files = rp_vhu_vfio_files_destroy(office->files);
	fake_accel_teardown();
	rp_wire_fd_close(&office->groups[0]);
	rp_wire_fd_close(&office->groups[1]);
	test_leaks_assert_none(&office->f.leaks);
}

static void
office_close(struct office *office)
{
	test_vm_close(&office->f.vm);
	test_port_close(&office->f.port);
	office_end(office);
}

static void
expect(struct office *office, const char *diary)
{
	assert_string_equal(office->diary, diary);
	office->diary[0] = '\0';
}

/* A wait serves the frontend; the office is the fixture's first member. */
static bool
all_are_direct(struct fixture *f)
{
	unsigned int i;

	for (i = 0; i < f->vm.queues_count; i++)
		if (test_port_queue(&f->port, i).mode != RP_PORT_QUEUE_DIRECT ||
		    test_port_queue(&f->port, i).vfio_file != RP_PORT_VFIO_FILE_HELD)
			return false;
	return true;
}

static unsigned int
references(const struct office *office, const struct test_vm *vm)
{
	unsigned int count = 0, i;

	(void)office;
	for (i = 0; i < vm->queues_count; i++)
		count += rp_vhu_frontend_vfio_file(vm->frontend, i) != NULL;
	return count;
}

static void
goes_before_the_first_notify_area(struct office *office)
{
	office->config.doorbell_delay_ms = 20;
	fixture_open_with(&office->f, &office->config, &office->options);
	test_vm_start_all(&office->f.vm);
	assert_true(fixture_becomes(&office->f, all_are_direct));
	expect(office, "+0(0) ");
	assert_int_equal(references(office, &office->f.vm), 4);
	/* It survives a stop: the device is behind the queue still. */
	test_vm_queue_stop(&office->f.vm, 1);
	assert_int_equal(references(office, &office->f.vm), 4);
	test_vm_queue_start(&office->f.vm, 1, 0);
	assert_true(fixture_becomes(&office->f, all_are_direct));
	assert_int_equal(test_port_events(&office->f.port, "vfio-file-given"), 4);
	expect(office, "");
}

static void
extended(void **state)
{
	struct office office;

	(void)state;
	office_open(&office, RP_VHU_PROFILE_EXTENDED, 0);
	goes_before_the_first_notify_area(&office);
	office_close(&office);
}

static void
vfio2018(void **state)
{
	struct office office;

	(void)state;
	office_open(&office, RP_VHU_PROFILE_VFIO2018, 0);
	goes_before_the_first_notify_area(&office);
	office_close(&office);
}

static void
standard_has_none(void **state)
{
	struct office office;

	(void)state;
	office_open(&office, RP_VHU_PROFILE_STANDARD, 0);
	fixture_open_with(&office.f, &office.config, &office.options);
	test_vm_start_all(&office.f.vm);
	assert_true(test_vm_wait_doorbell(&office.f.vm, 3, true, LIMIT_MS));
	assert_int_equal(test_port_queue(&office.f.port, 0).vfio_file, RP_PORT_VFIO_FILE_NONE);
	assert_int_equal(test_port_events(&office.f.port, "vfio-file-given"), 0);
	assert_int_equal(test_port_events(&office.f.port, "vfio-file-refused"), 0);
	expect(&office, "");
	office_close(&office);
}

static bool
queue_1_gave_it_back(struct fixture *f)
{
	return test_port_queue(&f->port, 1).vfio_file == RP_PORT_VFIO_FILE_NONE &&
	       test_port_queue(&f->port, 1).doorbell == RP_PORT_DOORBELL_UNMAPPED;
}

static bool
is_taken_back(struct fixture *f)
{
	return test_port_events(&f->port, "vfio-file-returned") == 4;
}

/* The doorbell goes first, then the file, and only that queue's. */
static void
a_queue_that_leaves_its_device(void **state)
{
	struct office office;
	unsigned int i;

	(void)state;
	office_open(&office, RP_VHU_PROFILE_EXTENDED, 0);
	fixture_open_with(&office.f, &office.config, &office.options);
	test_vm_start_all(&office.f.vm);
	assert_true(fixture_becomes(&office.f, all_are_direct));
	assert_int_equal(test_port_disable(&office.f.port, 1), 0);
	assert_true(fixture_becomes(&office.f, queue_1_gave_it_back));
	assert_int_equal(references(&office, &office.f.vm), 3);
	expect(&office, "+0(0) ");
	for (i = 0; i < 4; i++)
		assert_int_equal(test_port_disable(&office.f.port, i), 0);
	assert_true(fixture_becomes(&office.f, is_taken_back));
	expect(&office, "-0(0) "); /* no notify area was left */
	for (i = 0; i < 4; i++)
		assert_int_equal(test_port_enable(&office.f.port, i), 0);
	assert_true(fixture_becomes(&office.f, all_are_direct));
	expect(&office, "+0(0) ");
	office_close(&office);
}

static bool
was_refused(struct fixture *f)
{
	return test_port_events(&f->port, "vfio-file-refused") == 4 &&
	       test_port_queue(&f->port, 3).mode == RP_PORT_QUEUE_DIRECT;
}

/* The queue works all the same, and the log is not filled at each start. */
static void
a_refusal_is_no_reason_to_give_up(void **state)
{
	struct office office;

	(void)state;
	office_open(&office, RP_VHU_PROFILE_EXTENDED, 0);
	office.refuse = -EPERM;
	fixture_open_with(&office.f, &office.config, &office.options);
	test_vm_start_all(&office.f.vm);
	assert_true(fixture_becomes(&office.f, was_refused));
	test_vm_queue_stop(&office.f.vm, 3);
	test_vm_queue_start(&office.f.vm, 3, 0);
	assert_true(fixture_becomes(&office.f, was_refused));
	assert_int_equal(test_port_queue(&office.f.port, 0).vfio_file, RP_PORT_VFIO_FILE_NONE);
	office_close(&office);
}

static void
one_port_over_several_groups(void **state)
{
	struct office office;
	unsigned int i;

	(void)state;
	office_open(&office, RP_VHU_PROFILE_EXTENDED, 1);
	office.config.accelerators = two;
	office.config.accelerators_count = 2;
	office.config.queue_pairs = 4;
	test_port_open(&office.f.port, &office.config, &fake_accel_registry);
	test_vm_open(&office.f.vm, office.config.socket_path, 8, 64, &office.options);
	test_vm_start_all(&office.f.vm);
	assert_true(fixture_becomes(&office.f, all_are_direct));
	assert_int_equal(rp_vhu_vfio_files_count(office.files), 2);
	for (i = 0; i < 8; i++)
		assert_int_equal(
			group_of(&office, rp_vhu_vfio_file_fd(rp_vhu_frontend_vfio_file(office.f.vm.frontend, i))),
			i / 4);
	office_close(&office);
}

static bool
are_direct_again(struct fixture *f)
{
	return f->vm.maps == 8 && all_are_direct(f);
}

/* The doorbells first, then the one group; only then the other. */
static void
a_queue_that_changes_devices(void **state)
{
	struct office office;

	(void)state;
	office_open(&office, RP_VHU_PROFILE_EXTENDED, 1);
	FAKE_SET(class, RP_ACCEL_CLASS_A);
	office.config.accelerators = two;
	office.config.accelerators_count = 2;
	fixture_open_with(&office.f, &office.config, &office.options);
	test_vm_start_all(&office.f.vm);
	assert_true(fixture_becomes(&office.f, all_are_direct));
	expect(&office, "+0(0) ");
	assert_int_equal(test_port_transfer(&office.f.port, 0, 0, 1, NULL), 0);
	assert_true(fixture_becomes(&office.f, are_direct_again));
	assert_int_equal(rp_vhu_vfio_files_count(office.files), 1);
	assert_int_equal(group_of(&office, rp_vhu_vfio_file_fd(rp_vhu_frontend_vfio_file(office.f.vm.frontend, 0))), 1);
	office_close(&office);
}

static bool
both_are_direct(void *ctx)
{
	struct fixture *both = ctx;

	rp_vhu_frontend_process(both[0].vm.frontend);
	rp_vhu_frontend_process(both[1].vm.frontend);
	return all_are_direct(&both[0]) && all_are_direct(&both[1]);
}

/* Two functions of one group, each behind a port of its own, in one VM. */
static void
several_ports_on_one_group(void **state)
{
	struct office office;
	struct fixture both[2] = {0};
	char other[128];
	unsigned int i;

	(void)state;
	office_open(&office, RP_VHU_PROFILE_EXTENDED, 0);
	snprintf(other, sizeof(other), "%s.2", office.config.socket_path);
	for (i = 0; i < 2; i++) {
		fixture_open_with(&both[i], &office.config, &office.options);
		office.config.socket_path = other;
		office.config.name = "other";
	}
	test_vm_start_all(&both[0].vm);
	test_vm_start_all(&both[1].vm);
	assert_true(test_wait(both_are_direct, both, LIMIT_MS));
	expect(&office, "+0(0) ");
	assert_int_equal(rp_vhu_vfio_files_count(office.files), 1);
	/* One port goes; the other's queues hold the file still. */
	test_vm_close(&both[0].vm);
	test_port_close(&both[0].port);
	expect(&office, "");
	assert_int_equal(references(&office, &both[1].vm), 4);
	test_vm_close(&both[1].vm);
	test_port_close(&both[1].port);
	expect(&office, "-0(0) ");
	office_end(&office);
}

static bool
is_back(struct fixture *f)
{
	return test_port_events(&f->port, "accelerator-back") == 1 && all_are_direct(f);
}

/* Doorbells first, then files; the device is opened anew only when both are back: till then its group is not free. */
static void
a_device_that_failed(void **state)
{
	struct office office;

	(void)state;
	office_open(&office, RP_VHU_PROFILE_EXTENDED, 0);
	fixture_open_with(&office.f, &office.config, &office.options);
	test_vm_start_all(&office.f.vm);
	assert_true(fixture_becomes(&office.f, all_are_direct));
	expect(&office, "+0(0) ");
	fake_accel_die(true);
	usleep(30000); /* several tries, none of which may open it */
	assert_int_equal(fake_now().opens, 1);
	assert_true(fixture_becomes(&office.f, is_taken_back));
	assert_true(fixture_becomes(&office.f, is_back));
	expect(&office, "-0(0) +0(0) ");
	office_close(&office);
}

/* Descriptors of one open file, whoever has made them. */
static unsigned int
descriptors_of(int fd)
{
	unsigned int count = 0;
	int other, limit = (int)sysconf(_SC_OPEN_MAX);

	for (other = 0; other < limit && other < 4096; other++)
		count += other == fd || rp_wire_fd_same(other, fd) == 1;
	return count;
}

/* While anybody, we too, has a file of the device, the kernel's group is not free to be opened anew. */
static void
nothing_of_a_failed_device_is_kept(void **state)
{
	struct office office;

	(void)state;
	office_open(&office, RP_VHU_PROFILE_EXTENDED, 0);
	assert_int_equal(rp_port_files_create(&office.config.files), 0);
	fixture_open_with(&office.f, &office.config, &office.options);
	test_vm_start_all(&office.f.vm);
	assert_true(fixture_becomes(&office.f, all_are_direct));
	assert_true(descriptors_of(office.groups[0]) > 1);
	/* It comes back in another group. */
	FAKE_SET(groups[0], office.groups[1]);
	fake_accel_die(true);
	assert_true(fixture_becomes(&office.f, is_back));
	assert_int_equal(descriptors_of(office.groups[0]), 1);
	test_vm_close(&office.f.vm);
	test_port_close(&office.f.port);
	rp_port_files_destroy(office.config.files);
	office_end(&office);
}

static void *
serve_until_returned(void *ctx)
{
	struct office *office = ctx;
	int i;

	for (i = 0; i < LIMIT_MS && references(office, &office->f.vm) > 0; i++) {
		rp_vhu_frontend_process(office->f.vm.frontend);
		usleep(1000);
	}
	return NULL;
}

/* Before the device, and with it its group, is closed. */
static void
back_before_the_port_ends(void **state)
{
	struct office office;
	pthread_t thread;

	(void)state;
	office_open(&office, RP_VHU_PROFILE_EXTENDED, 0);
	fixture_open_with(&office.f, &office.config, &office.options);
	test_vm_start_all(&office.f.vm);
	assert_true(fixture_becomes(&office.f, all_are_direct));
	expect(&office, "+0(0) ");
	assert_int_equal(pthread_create(&thread, NULL, serve_until_returned, &office), 0);
	test_port_close(&office.f.port);
	pthread_join(thread, NULL);
	expect(&office, "-0(0) ");
	assert_int_equal(office.f.vm.unmaps, 4);
	test_vm_close(&office.f.vm);
	office_end(&office);
}

static bool
is_disconnected(struct fixture *f)
{
	return test_port_events(&f->port, "frontend-disconnected") == 1;
}

/* Nothing is remembered over a connection: all is sent anew. */
static void
a_vmm_that_comes_back(void **state)
{
	struct office office;
	int i;

	(void)state;
	office_open(&office, RP_VHU_PROFILE_EXTENDED, 0);
	fixture_open_with(&office.f, &office.config, &office.options);
	test_vm_start_all(&office.f.vm);
	assert_true(fixture_becomes(&office.f, all_are_direct));
	test_vm_disconnect(&office.f.vm);
	for (i = 0; i < LIMIT_MS && !is_disconnected(&office.f); i++)
		usleep(1000);
	assert_int_equal(test_port_queue(&office.f.port, 0).vfio_file, RP_PORT_VFIO_FILE_NONE);
	expect(&office, "+0(0) -0(0) ");
	test_vm_connect(&office.f.vm, office.config.socket_path, &office.options);
	test_vm_start_all(&office.f.vm);
	assert_true(fixture_becomes(&office.f, all_are_direct));
	assert_int_equal(references(&office, &office.f.vm), 4);
	office_close(&office);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(extended),
		cmocka_unit_test(vfio2018),
		cmocka_unit_test(standard_has_none),
		cmocka_unit_test(a_queue_that_leaves_its_device),
		cmocka_unit_test(a_refusal_is_no_reason_to_give_up),
		cmocka_unit_test(one_port_over_several_groups),
		cmocka_unit_test(a_queue_that_changes_devices),
		cmocka_unit_test(several_ports_on_one_group),
		cmocka_unit_test(a_device_that_failed),
		cmocka_unit_test(nothing_of_a_failed_device_is_kept),
		cmocka_unit_test(back_before_the_port_ends),
		cmocka_unit_test(a_vmm_that_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
