/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "desk.h"
#include "rp_wire_fd.h"

/* A VFIO file arrives: one reference for each queue, in a set that several frontends may share. */

struct owner {
	struct desk *desk;
	struct desk second;
	struct rp_vhu_vfio_files *files;
	int null_fd, zero_fd, full_fd;
	char diary[256]; /* "+null -null " ... */
	int refuse;
	int wait_result; /* of a call that ops->add made */
};

static const char *
name_of(int fd)
{
	char path[64], target[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_true(readlink(path, target, sizeof(target) - 1) > 5);
	return strcmp(target, "/dev/null") == 0 ? "null" : strcmp(target, "/dev/zero") == 0 ? "zero" : "full";
}

static void
note(struct owner *owner, const char *sign, int fd)
{
	size_t used = strlen(owner->diary);

	snprintf(owner->diary + used, sizeof(owner->diary) - used, "%s%s ", sign, name_of(fd));
}

static int
on_add(void *ctx, int fd, enum rp_vhu_vfio_type type, struct rp_wire_why *why)
{
	struct owner *owner = ctx;

	(void)type;
	if (owner->refuse != 0)
		return rp_wire_why_set(why, owner->refuse, "KVM says no");
	note(owner, "+", fd);
	owner->wait_result = rp_vhu_frontend_set_features(owner->desk->frontend, 0, NULL);
	return 0;
}

static void
on_remove(void *ctx, int fd, enum rp_vhu_vfio_type type)
{
	(void)type;
	note(ctx, "-", fd);
}

static const struct rp_vhu_vfio_files_ops ops = {.add = on_add, .remove = on_remove};

static int
setup(void **state)
{
	static struct owner owner;
	void *desk;

	memset(&owner, 0, sizeof(owner));
	desk_setup(&desk);
	owner.desk = desk;
	owner.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	owner.zero_fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	owner.full_fd = open("/dev/full", O_RDWR | O_CLOEXEC);
	assert_true(owner.null_fd >= 0 && owner.zero_fd >= 0 && owner.full_fd >= 0);
	assert_int_equal(rp_vhu_vfio_files_create(&ops, &owner, &owner.files), 0);
	owner.desk->vfio_files = owner.files;
	*state = &owner;
	return 0;
}

static int
teardown(void **state)
{
	struct owner *owner = *state;
	void *desk = owner->desk;

	desk_close(desk);
	owner->files = rp_vhu_vfio_files_destroy(owner->files);
	rp_wire_fd_close(&owner->null_fd);
	rp_wire_fd_close(&owner->zero_fd);
	rp_wire_fd_close(&owner->full_fd);
	return desk_teardown(&desk);
}

static void
expect(struct owner *owner, const char *diary)
{
	assert_string_equal(owner->diary, diary);
	owner->diary[0] = '\0';
}

static void
open_profile(struct owner *owner, enum rp_vhu_profile profile, bool ack)
{
	desk_open_profile(owner->desk, profile, ack);
	owner->diary[0] = '\0';
}

static void
start(struct desk *desk, unsigned int queue)
{
	const struct rp_vhu_frontend_ring ring = {.num = 256, .kick_fd = desk->kick_fd, .call_fd = desk->call_fd};

	assert_int_equal(rp_vhu_frontend_ring_start(desk->frontend, queue, &ring, NULL), 0);
}

static void
each_way(struct owner *owner, void (*test)(struct owner *owner))
{
	unsigned int i;

	for (i = 0; i < 4; i++) {
		open_profile(owner, i < 2 ? RP_VHU_PROFILE_EXTENDED : RP_VHU_PROFILE_VFIO2018, i % 2 == 0);
		test(owner);
		owner->desk->refused_count = 0;
	}
}

static void
one_reference_for_each_queue(struct owner *owner)
{
	struct desk *desk = owner->desk;

	assert_int_equal(desk_vfio_file(desk, 0, 0, owner->null_fd), 0);
	assert_int_equal(desk_vfio_file(desk, 1, 0, owner->null_fd), 0);
	expect(owner, "+null ");
	assert_int_equal(rp_vhu_vfio_file_references(rp_vhu_frontend_vfio_file(desk->frontend, 0)), 2);
	assert_ptr_equal(rp_vhu_frontend_vfio_file(desk->frontend, 0), rp_vhu_frontend_vfio_file(desk->frontend, 1));
	/* Once more for the same queue: still one. */
	assert_int_equal(desk_vfio_file(desk, 1, 0, owner->null_fd), 0);
	assert_int_equal(rp_vhu_vfio_file_references(rp_vhu_frontend_vfio_file(desk->frontend, 0)), 2);
	assert_int_equal(desk_vfio_file(desk, 0 | 0x100, 0, -1), 0);
	assert_null(rp_vhu_frontend_vfio_file(desk->frontend, 0));
	expect(owner, "");
	assert_int_equal(desk_vfio_file(desk, 1 | 0x100, 0, -1), 0);
	expect(owner, "-null ");
	/* Taken back twice: nothing is left to do. */
	assert_int_equal(desk_vfio_file(desk, 1 | 0x100, 0, -1), 0);
	expect(owner, "");
	assert_null(rp_vhu_frontend_vfio_file(desk->frontend, DESK_QUEUES));
}

static void
one_reference_for_each_queue_in_all_profiles(void **state)
{
	each_way(*state, one_reference_for_each_queue);
}

static void
replace(struct owner *owner)
{
	struct desk *desk = owner->desk;

	assert_int_equal(desk_vfio_file(desk, 2, 0, owner->null_fd), 0);
	assert_int_equal(desk_vfio_file(desk, 2, 0, owner->zero_fd), 0);
	expect(owner, "+null +zero -null ");
	owner->refuse = -EIO;
	assert_int_equal(desk_vfio_file(desk, 2, 0, owner->full_fd), 1);
	owner->refuse = 0;
	desk_assert_refused(desk, -EIO, ": KVM says no");
	expect(owner, "");
	assert_non_null(rp_vhu_frontend_vfio_file(desk->frontend, 2));
	assert_int_equal(rp_vhu_vfio_files_count(owner->files), 1);
	assert_int_equal(desk_vfio_file(desk, 2, 0, desk->area_fd), 1);
	desk_assert_refused(desk, -EBADMSG, "a regular file, expected a VFIO group or cdev");
	expect(owner, "");
	assert_int_equal(desk_vfio_file(desk, 2 | 0x100, 0, -1), 0);
	expect(owner, "-zero ");
}

static void
the_new_one_is_in_before_the_old_one_goes(void **state)
{
	each_way(*state, replace);
}

/* The device goes on; only its owner or its end takes the file back. */
static void
what_it_survives(struct owner *owner)
{
	struct desk *desk = owner->desk;
	uint32_t base;

	start(desk, 0);
	assert_int_equal(desk_vfio_file(desk, 0, 0, owner->null_fd), 0);
	assert_int_equal(desk_vfio_file(desk, 3, 0, owner->null_fd), 0); /* its ring was never started */
	assert_int_equal(rp_vhu_frontend_ring_stop(desk->frontend, 0, &base, NULL), 0);
	start(desk, 0);
	assert_int_equal(rp_vhu_frontend_ring_enable(desk->frontend, 0, false, NULL), 0);
	assert_int_equal(rp_vhu_frontend_set_features(desk->frontend, 0, NULL), 0);
	/* Even the channel's end. */
	rp_wire_fd_close(&desk->channel);
	assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
	expect(owner, "+null ");
	desk_close(desk);
	expect(owner, "-null ");
	assert_int_equal(rp_vhu_vfio_files_count(owner->files), 0);
}

static void
survives_stop_and_the_channel(void **state)
{
	each_way(*state, what_it_survives);
}

static void
reset_keeps(struct owner *owner)
{
	struct desk *desk = owner->desk;

	assert_int_equal(desk_vfio_file(desk, 0, 0, owner->null_fd), 0);
	assert_int_equal(rp_vhu_frontend_reset_device(desk->frontend, NULL), 0);
	assert_int_equal(rp_vhu_frontend_reset_owner(desk->frontend, NULL), 0);
	expect(owner, "+null ");
	assert_non_null(rp_vhu_frontend_vfio_file(desk->frontend, 0));
}

static void
reset(struct owner *owner)
{
	struct desk *desk = owner->desk;

	if (desk->notify_request == RP_VHU_BACKEND_2018_NOTIFY_AREA) {
		reset_keeps(owner);
		return;
	}
	assert_int_equal(desk_vfio_file(desk, 0, 0, owner->null_fd), 0);
	assert_int_equal(desk_vfio_file(desk, 1, 0, owner->zero_fd), 0);
	assert_int_equal(rp_vhu_frontend_reset_device(desk->frontend, NULL), 0);
	expect(owner, "+null +zero -null -zero ");
	assert_null(rp_vhu_frontend_vfio_file(desk->frontend, 1));
	assert_int_equal(desk_vfio_file(desk, 0, 0, owner->null_fd), 0);
	assert_int_equal(rp_vhu_frontend_reset_owner(desk->frontend, NULL), 0);
	expect(owner, "+null -null ");
}

/* Masters of 2018 knew no reset, and their backends send no file twice. */
static void
given_back_at_a_reset(void **state)
{
	each_way(*state, reset);
}

/* The device works on, and the kernel has to know. */
static void
a_reset_that_is_refused(void **state)
{
	struct owner *owner = *state;
	struct desk *desk = owner->desk;

	open_profile(owner, RP_VHU_PROFILE_EXTENDED, true);
	assert_int_equal(desk_vfio_file(desk, 0, 0, owner->null_fd), 0);
	desk_answer_u64(desk, RP_VHU_RESET_DEVICE, 1);
	assert_int_equal(rp_vhu_frontend_reset_device(desk->frontend, NULL), -EREMOTEIO);
	expect(owner, "+null ");
	assert_non_null(rp_vhu_frontend_vfio_file(desk->frontend, 0));
}

static void
gone(struct owner *owner)
{
	struct desk *desk = owner->desk;

	assert_int_equal(desk_vfio_file(desk, 0, 0, owner->null_fd), 0);
	desk_hang_up(desk);
	assert_int_equal(rp_vhu_frontend_process(desk->frontend), -ENOTCONN);
	expect(owner, "+null -null ");
	assert_null(rp_vhu_frontend_vfio_file(desk->frontend, 0));
}

static void
given_back_when_the_backend_leaves(void **state)
{
	each_way(*state, gone);
}

/* Two devices of one VMM, served by one accelerator: one file for both. */
static void
two_frontends_share_one_set(void **state)
{
	struct owner *owner = *state;
	struct desk *a = owner->desk, *b = &owner->second;

	open_profile(owner, RP_VHU_PROFILE_EXTENDED, true);
	desk_make(b);
	b->vfio_files = owner->files;
	desk_open_profile(b, RP_VHU_PROFILE_VFIO2018, true);
	assert_int_equal(desk_vfio_file(a, 0, 0, owner->null_fd), 0);
	assert_int_equal(desk_vfio_file(b, 0, 0, owner->null_fd), 0);
	expect(owner, "+null ");
	assert_ptr_equal(rp_vhu_frontend_vfio_file(a->frontend, 0), rp_vhu_frontend_vfio_file(b->frontend, 0));
	assert_int_equal(desk_vfio_file(b, 1, 0, owner->zero_fd), 0);
	desk_close(a);
	expect(owner, "+zero ");
	desk_close(b);
	expect(owner, "-null -zero ");
	desk_unmake(b);
}

static void
types(void **state)
{
	struct owner *owner = *state;
	struct desk *desk = owner->desk;

	open_profile(owner, RP_VHU_PROFILE_EXTENDED, true);
	assert_int_equal(desk_vfio_file(desk, 0, 1, owner->null_fd), 0);
	assert_int_equal(rp_vhu_vfio_file_type(rp_vhu_frontend_vfio_file(desk->frontend, 0)), RP_VHU_VFIO_CDEV);
	assert_int_equal(desk_vfio_file(desk, 1, 0, owner->null_fd), 1);
	desk_assert_refused(desk, -EBADMSG, "BACKEND_VFIO_FILE: type: 0, but the file was given as 1 before");
	assert_int_equal(desk_vfio_file(desk, 1, 2, owner->zero_fd), 1);
	desk_assert_refused(desk, -EBADMSG, "BACKEND_VFIO_FILE: type: 2, expected 0 (group) or 1 (cdev)");
	assert_int_equal(desk_vfio_file(desk, 1 | 0x100, 1, -1), 1);
	desk_assert_refused(desk, -EBADMSG, "BACKEND_VFIO_FILE: type: 1");
	expect(owner, "+null ");
	/* Profile vfio2018 has groups only. */
	open_profile(owner, RP_VHU_PROFILE_VFIO2018, true);
	assert_int_equal(desk_vfio_file(desk, 0, 1, owner->zero_fd), 0);
	assert_int_equal(rp_vhu_vfio_file_type(rp_vhu_frontend_vfio_file(desk->frontend, 0)), RP_VHU_VFIO_GROUP);
}

static void
bad(struct owner *owner)
{
	struct desk *desk = owner->desk;
	bool old = desk->notify_request == RP_VHU_BACKEND_2018_NOTIFY_AREA;
	uint32_t id = old ? 3 : 0x5600, size_bytes = old ? 8 : 16;
	uint64_t zeros[4] = {0};

	assert_int_equal(desk_vfio_file(desk, DESK_QUEUES, 0, owner->null_fd), 1);
	desk_assert_refused(desk, -EBADMSG, "queue: 4, expected 0 to 3");
	assert_int_equal(desk_vfio_file(desk, 0x200, 0, owner->null_fd), 1);
	desk_assert_refused(desk, -EBADMSG, "u64: 0x200");
	assert_int_equal(desk_vfio_file(desk, 0, 0, -1), 1);
	desk_assert_refused(desk, -EBADMSG, "bit 8 (no descriptor) is 0, with 0");
	assert_int_equal(desk_vfio_file(desk, 0x100, 0, owner->null_fd), 1);
	desk_assert_refused(desk, -EBADMSG, "bit 8 (no descriptor) is 1, with 1");
	assert_int_equal(desk_ask(desk, id, zeros, size_bytes - 1, owner->null_fd), 1);
	desk_assert_refused(desk, -EMSGSIZE, "payload: ");
	assert_int_equal(desk_ask(desk, id, zeros, size_bytes + 1, owner->null_fd), 1);
	desk_assert_refused(desk, -EMSGSIZE, "payload: ");
	expect(owner, "");
	assert_int_equal(rp_vhu_vfio_files_count(owner->files), 0);
}

static void
what_breaks_a_rule_changes_nothing(void **state)
{
	each_way(*state, bad);
}

static void
only_what_was_negotiated(void **state)
{
	struct owner *owner = *state;
	struct desk *desk = owner->desk;
	struct rp_vhu_frontend_config config = desk_config;

	open_profile(owner, RP_VHU_PROFILE_STANDARD, true);
	assert_int_equal(desk_vfio_file(desk, 0, 0, owner->null_fd), 1);
	desk_assert_refused(desk, -ENOTSUP, "request 22016: unknown");
	/* The backend has not offered the bit. */
	config.profile = RP_VHU_PROFILE_EXTENDED;
	config.protocol_features = UINT64_MAX;
	config.vfio_files = owner->files;
	desk_yes(desk, &config, desk_offer(RP_VHU_PROFILE_STANDARD));
	assert_int_equal(rp_vhu_frontend_negotiate(desk->frontend, NULL), 0);
	assert_int_equal(desk_vfio_file(desk, 0, 0, owner->null_fd), 1);
	desk_assert_refused(desk, -ENOTSUP, "BACKEND_VFIO_FILE: protocol feature 62 was not negotiated");
	/* Its number is another one here. */
	config.numbers = (struct rp_vhu_numbers){.vfio_bit = 40, .vfio_file_request = 0x7000};
	desk_yes(desk, &config, UINT64_MAX);
	assert_int_equal(rp_vhu_frontend_negotiate(desk->frontend, NULL), 0);
	assert_true((rp_vhu_frontend_protocol_features(desk->frontend) >> 40 & 1) == 1);
	assert_int_equal(desk_vfio_file(desk, 0, 0, owner->null_fd), 1);
	desk_assert_refused(desk, -ENOTSUP, "request 22016: unknown");
	assert_int_equal(desk_ask(desk, 0x7000, (uint64_t[]){0, 0}, 16, owner->null_fd), 0);
	expect(owner, "+null ");
	/* Descriptors on the channel are a feature of their own. */
	config.numbers = (struct rp_vhu_numbers){0};
	desk_yes(desk, &config, desk_offer(RP_VHU_PROFILE_EXTENDED) & ~(1ull << RP_VHU_PF_BACKEND_SEND_FD_BIT));
	owner->diary[0] = '\0';
	assert_int_equal(rp_vhu_frontend_negotiate(desk->frontend, NULL), 0);
	assert_int_equal(desk_vfio_file(desk, 0, 0, owner->null_fd), 1);
	desk_assert_refused(desk, -ENOTSUP, "BACKEND_SEND_FD was not negotiated");
	expect(owner, "");
}

/* Whoever is told is in the middle of a message, or of the end of a connection. */
static void
a_callback_cannot_wait(void **state)
{
	struct owner *owner = *state;

	open_profile(owner, RP_VHU_PROFILE_EXTENDED, true);
	assert_int_equal(desk_vfio_file(owner->desk, 0, 0, owner->null_fd), 0);
	assert_int_equal(owner->wait_result, -EBUSY);
	assert_int_equal(rp_vhu_frontend_set_features(owner->desk->frontend, 0, NULL), 0);
}

/* A VMM without KVM gives no set: references are counted, nobody is told. */
static void
without_a_set(void **state)
{
	struct owner *owner = *state;
	struct desk *desk = owner->desk;

	desk->vfio_files = NULL;
	open_profile(owner, RP_VHU_PROFILE_EXTENDED, true);
	assert_int_equal(desk_vfio_file(desk, 0, 0, owner->null_fd), 0);
	assert_int_equal(desk_vfio_file(desk, 1, 0, owner->null_fd), 0);
	assert_int_equal(rp_vhu_vfio_file_references(rp_vhu_frontend_vfio_file(desk->frontend, 0)), 2);
	expect(owner, "");
}

#define WITH_OWNER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_OWNER(one_reference_for_each_queue_in_all_profiles),
		WITH_OWNER(the_new_one_is_in_before_the_old_one_goes),
		WITH_OWNER(survives_stop_and_the_channel),
		WITH_OWNER(given_back_at_a_reset),
		WITH_OWNER(a_reset_that_is_refused),
		WITH_OWNER(given_back_when_the_backend_leaves),
		WITH_OWNER(two_frontends_share_one_set),
		WITH_OWNER(types),
		WITH_OWNER(what_breaks_a_rule_changes_nothing),
		WITH_OWNER(only_what_was_negotiated),
		WITH_OWNER(a_callback_cannot_wait),
		WITH_OWNER(without_a_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
