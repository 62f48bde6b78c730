/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <unistd.h>

#include "bed.h"
#include "rp_wire_fd.h"
#include "test_parcel.h"

#define LOG_BYTES ((BED_GPA + BED_REGION_BYTES) / 4096 / 8)

static struct rp_wire_parcel *parcel;

static int
setup(void **state)
{
	struct rp_vhu_backend_config config = bed_config();
	int rc = bed_setup(state);

	config.protocol_features |= 1ull << RP_VHU_PF_LOG_SHMFD_BIT | 1ull << RP_VHU_PF_INFLIGHT_SHMFD_BIT;
	config.features |= 1ull << RP_VHU_F_LOG_ALL_BIT;
	bed_remake(*state, &config);
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	return rc;
}

static int
teardown(void **state)
{
	parcel = rp_wire_parcel_destroy(parcel);
	return bed_teardown(state);
}

static void
start_log(struct bed *bed)
{
	const struct rp_vhu_wire_log log = {.size_bytes = LOG_BYTES + 16, .offset_bytes = 16};
	RP_WIRE_FD_SCOPED int fd = test_memfd(LOG_BYTES + 32, true);
	int event = peer_eventfd();

	assert_true(peer_send(bed->peer, RP_VHU_SET_LOG_BASE, 0x1, &log, sizeof(log), &fd, 1));
	assert_true(peer_send(bed->peer, RP_VHU_SET_LOG_FD, 0x1, NULL, 0, &event, 1));
	rp_wire_fd_close(&event);
	bed_process(bed);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_LOG_BASE), 0);
}

static void
set_inflight(struct bed *bed)
{
	const struct rp_vhu_inflight_layout layout = {.queues_count = 2, .queue_num = BED_RING_NUM};
	const struct rp_vhu_wire_inflight wire = {
		.mmap_bytes = rp_vhu_inflight_bytes(&layout),
		.queues_count = 2,
		.queue_num = BED_RING_NUM,
	};
	int fd = -1;

	assert_int_equal(rp_vhu_inflight_file(&layout, &fd, NULL), 0);
	assert_true(peer_send(bed->peer, RP_VHU_SET_INFLIGHT_FD, 0x1, &wire, sizeof(wire), &fd, 1));
	rp_wire_fd_close(&fd);
	bed_process(bed);
	assert_int_equal(bed->refused_count, 0);
}

/* All that a connection can have: memory, rings, a log, an in-flight region, requests that wait. */
static void
live(struct bed *bed)
{
	bed_negotiate(bed);
	bed_memory(bed);
	set_inflight(bed);
	bed_ring_start(bed, 0);
	bed_ring_describe(bed, 1);
	bed_send_fd(bed, RP_VHU_SET_VRING_CALL, 0x1, 0);
	bed_send_fd(bed, RP_VHU_SET_VRING_ERR, 0x1, 0);
	bed_send_state(bed, RP_VHU_SET_VRING_ENABLE, 0x1, 0, 1);
	start_log(bed);
	assert_int_equal(rp_vhu_backend_notify_area_set(bed->backend, 0, bed->memory_fd, 0,
							(uint64_t)sysconf(_SC_PAGESIZE), 41, NULL),
			 0);
	assert_int_equal(rp_vhu_backend_config_changed(bed->backend, 42, NULL), 0);
	assert_int_equal(peer_drain(bed->channel), 2);
	bed_diary(bed);
}

static struct rp_vhu_backend *
make(struct bed *bed, const struct rp_vhu_backend_config *config)
{
	struct rp_vhu_backend *backend;

	assert_int_equal(rp_vhu_backend_create(config, &bed->ops, bed, &backend, NULL), 0);
	return backend;
}

static struct rp_vhu_backend_config
same_config(const struct bed *bed)
{
	struct rp_vhu_backend_config config = bed_config();

	config.features = bed->features;
	config.protocol_features = bed->protocol_features;
	return config;
}

/* Another backend has the connection from here on. */
static void
hand_over(struct bed *bed)
{
	struct rp_vhu_backend_config config = same_config(bed);
	struct rp_vhu_backend *successor = make(bed, &config);

	assert_int_equal(rp_vhu_backend_give(bed->backend, parcel, NULL), 0);
	rp_vhu_backend_leave(bed->backend);
	rp_vhu_backend_destroy(bed->backend);
	bed->backend = successor;
	assert_int_equal(rp_vhu_backend_adopt(successor, parcel, NULL), 0);
	/* Nobody is called for what is true already: the owner asks. */
	bed->inflight = rp_vhu_backend_inflight(successor);
	parcel = rp_wire_parcel_destroy(parcel);
	assert_string_equal(bed_diary(bed), "");
}

static void
the_frontend_goes_on(void **state)
{
	struct rp_vhu_vring before[BED_QUEUES], after;
	struct rp_vhu_shared_file file;
	struct bed *bed = *state;
	uint16_t queues_count, queue_num;
	uint64_t features;
	unsigned int i;

	live(bed);
	features = rp_vhu_backend_features(bed->backend);
	for (i = 0; i < BED_QUEUES; i++)
		assert_int_equal(rp_vhu_backend_vring(bed->backend, i, &before[i]), 0);
	hand_over(bed);
	assert_true(rp_vhu_backend_attached(bed->backend));
	assert_int_equal(rp_vhu_backend_peer(bed->backend), getpid());
	assert_true(rp_vhu_backend_features(bed->backend) == features);
	assert_true(rp_vhu_backend_protocol_features(bed->backend) == bed->protocol_features);
	assert_int_equal(rp_vhu_backend_regions_count(bed->backend), 1);
	for (i = 0; i < BED_QUEUES; i++) {
		assert_int_equal(rp_vhu_backend_vring(bed->backend, i, &after), 0);
		assert_int_equal(before[i].kick_fd >= 0, after.kick_fd >= 0);
		assert_int_equal(before[i].call_fd >= 0, after.call_fd >= 0);
		assert_int_equal(before[i].err_fd >= 0, after.err_fd >= 0);
		before[i].kick_fd = before[i].call_fd = before[i].err_fd = -1;
		after.kick_fd = after.call_fd = after.err_fd = -1;
		/* Translated addresses are those of started rings. */
		if (!after.started)
			before[i].desc_gpa = before[i].avail_gpa = before[i].used_gpa = 0;
		assert_memory_equal(&before[i], &after, sizeof(after));
	}
	assert_int_equal(rp_vhu_backend_log_file(bed->backend, &file), 0);
	assert_int_equal(file.offset_bytes, 16);
	assert_true(rp_vhu_backend_log_fd(bed->backend) >= 0);
	assert_int_equal(rp_vhu_backend_inflight_file(bed->backend, &file, &queues_count, &queue_num), 0);
	assert_int_equal(queue_num, BED_RING_NUM);
	bed_assert_usable(bed);
	bed_ring_start(bed, 1);
	assert_string_equal(bed_diary(bed), "start:1@0(disabled) call:1 enable:1=1 ");
	bed_get_base(bed, 0);
	assert_string_equal(bed_diary(bed), "stop:0 ");
	bed_assert_nothing_refused(bed);
	bed_hang_up(bed);
	assert_non_null(strstr(bed_diary(bed), "stop:1 "));
}

/* Answers to what the predecessor asked come to the successor, in their order. */
static void
requests_that_wait(void **state)
{
	static const uint64_t zero = 0;
	struct bed *bed = *state;

	live(bed);
	hand_over(bed);
	assert_true(peer_send(bed->channel, 3, 0x5, &zero, sizeof(zero), NULL, 0));
	assert_true(peer_send(bed->channel, 2, 0x5, &zero, sizeof(zero), NULL, 0));
	bed_process(bed);
	assert_int_equal(bed->replies_count, 2);
	assert_int_equal(bed->replies[0].token, 41);
	assert_int_equal(bed->replies[1].token, 42);
	assert_int_equal(rp_vhu_backend_notify_area_clear(bed->backend, 0, 43, NULL), 0);
	assert_int_equal(peer_drain(bed->channel), 1);
	bed_assert_nothing_refused(bed);
}

/* What was in the socket when the predecessor left, and what came while nobody was there. */
static void
what_came_meanwhile(void **state)
{
	struct rp_vhu_backend_config config;
	const struct rp_vhu_wire_vring_state state_of_ring = {.index = 0, .num = 0};
	struct rp_vhu_backend *successor;
	struct bed *bed = *state;

	live(bed);
	config = same_config(bed);
	successor = make(bed, &config);
	assert_true(peer_send(bed->peer, RP_VHU_SET_VRING_ENABLE, 0x9, &state_of_ring, sizeof(state_of_ring), NULL, 0));
	assert_int_equal(rp_vhu_backend_give(bed->backend, parcel, NULL), 0);
	rp_vhu_backend_leave(bed->backend);
	assert_true(peer_send(bed->peer, RP_VHU_GET_VRING_BASE, 0x1, &state_of_ring, sizeof(state_of_ring), NULL, 0));
	rp_vhu_backend_destroy(bed->backend);
	bed->backend = successor;
	assert_int_equal(rp_vhu_backend_adopt(successor, parcel, NULL), 0);
	bed->inflight = rp_vhu_backend_inflight(successor);
	bed_process(bed);
	assert_string_equal(bed_diary(bed), "enable:0=0 stop:0 ");
	assert_int_equal(peer_drain(bed->peer), 2);
}

/* A region that was added twice must be removed twice. */
static void
counted_regions(void **state)
{
	const struct rp_vhu_wire_region region = bed_region(0, BED_REGION_BYTES);
	struct bed *bed = *state;
	unsigned int i;

	bed_negotiate(bed);
	for (i = 0; i < 2; i++)
		bed_send_region(bed, RP_VHU_ADD_MEM_REG, 0x1, &region, bed->memory_fd);
	bed_diary(bed);
	hand_over(bed);
	bed_send_region(bed, RP_VHU_REM_MEM_REG, 0x1, &region, -1);
	assert_string_equal(bed_diary(bed), "");
	bed_send_region(bed, RP_VHU_REM_MEM_REG, 0x1, &region, -1);
	assert_string_equal(bed_diary(bed), "remove:40000000 ");
}

/* Nothing of it stays, and a frontend may connect as ever. */
static void
assert_refused(struct bed *bed, const struct rp_vhu_backend_config *config, struct rp_wire_parcel *given, int error,
	       const char *words)
{
	struct rp_vhu_backend *successor = make(bed, config);
	struct rp_wire_why why = {0};
	int ours, theirs;

	assert_int_equal(rp_vhu_backend_adopt(successor, given, &why), error);
	assert_non_null(strstr(why.text, words));
	assert_false(rp_vhu_backend_attached(successor));
	assert_int_equal(rp_vhu_backend_regions_count(successor), 0);
	peer_pair(&ours, &theirs);
	assert_int_equal(rp_vhu_backend_attach(successor, &theirs), 0);
	rp_vhu_backend_leave(successor);
	assert_true(peer_closed(ours));
	rp_wire_fd_close(&ours);
	rp_vhu_backend_destroy(successor);
	rp_wire_parcel_destroy(given);
	bed_diary(bed);
}

static void
what_the_frontend_was_told_must_hold(void **state)
{
	struct rp_vhu_backend_config config;
	struct bed *bed = *state;

	live(bed);
	assert_int_equal(rp_vhu_backend_give(bed->backend, parcel, NULL), 0);
	config = same_config(bed);
	config.features &= ~(1ull << 34);
	assert_refused(bed, &config, test_parcel_copy(parcel), -ENOTSUP, "were offered, and cannot be");
	config = same_config(bed);
	config.protocol_features &= ~(1ull << RP_VHU_PF_CONFIG_BIT);
	assert_refused(bed, &config, test_parcel_copy(parcel), -ENOTSUP, "are in use, and not offered");
	config = same_config(bed);
	config.queues_max--;
	assert_refused(bed, &config, test_parcel_copy(parcel), -ENOTSUP, "number of queues");
	config = same_config(bed);
	config.profile = RP_VHU_PROFILE_EXTENDED;
	assert_refused(bed, &config, test_parcel_copy(parcel), -ENOTSUP, "profile");
	config = same_config(bed);
	config.vring_num_max = BED_RING_NUM / 2;
	assert_refused(bed, &config, test_parcel_copy(parcel), -EBADMSG, "queue_num");
	config = same_config(bed);
	assert_refused(bed, &config, test_parcel_with(parcel, "version", 2), -ENOTSUP, "version");
	assert_int_equal(rp_vhu_backend_adopt(bed->backend, parcel, NULL), -EBUSY);
	bed_assert_usable(bed);
}

static void
what_breaks_a_rule(void **state)
{
	static const struct {
		const char *path;
		uint64_t number;
		int error;
		const char *words;
	} lies[] = {
		{"features", UINT64_MAX, -EBADMSG, "features: "},
		{"regions_count", RP_VHU_SLOTS_MAX + 1, -EBADMSG, "regions_count"},
		{"regions_count", 2, -EBADMSG, "region[1]"},
		{"regions_count", 0, -EBADMSG, "ring 0: descriptor table"},
		{"region[0].size_bytes", 0, -EBADMSG, "size is 0"},
		{"region[0].size_bytes", UINT64_MAX, -EBADMSG, "wraps around"},
		{"region[0].adds", 0, -EBADMSG, "added 0 times"},
		{"log[0].size_bytes", UINT64_MAX, -EBADMSG, "log: "},
		{"log[0].size_bytes", 8, -EBUSY, "does not cover"},
		{"inflight[0].offset_bytes", 1, -EBADMSG, "mmap offset"},
		{"ring[0].num", 3, -EBADMSG, "ring 0: num"},
		{"ring[0].num", 0, -EBADMSG, "ring 0: num"},
		{"ring[0].base_wire", 65536, -EBADMSG, "ring 0: base"},
		{"ring[0].desc_uva", BED_UVA + 1, -EBADMSG, "ring 0: descriptor table"},
		{"ring[0].used_uva", BED_UVA + BED_REGION_BYTES - 4, -EBADMSG, "ring 0: used ring"},
		{"ring[0].num_known", 0, -EBADMSG, "ring 0: started"},
		{"ring[2].started", 1, -EBADMSG, "ring 2: started"},
		{"pending_count", 513, -EBADMSG, "pending_count"},
		{"pending[0].request", 99, -EBADMSG, "request 99"},
	};
	struct rp_vhu_backend_config config;
	struct bed *bed = *state;
	unsigned int i;

	live(bed);
	config = same_config(bed);
	assert_int_equal(rp_vhu_backend_give(bed->backend, parcel, NULL), 0);
	for (i = 0; i < sizeof(lies) / sizeof(lies[0]); i++)
		assert_refused(bed, &config, test_parcel_with(parcel, lies[i].path, lies[i].number), lies[i].error,
			       lies[i].words);
	bed_assert_usable(bed);
}

/* Every item, wrong in every way: taken or refused, and nothing is left of it. */
static void
every_single_lie(void **state)
{
	unsigned int item, lie, refused = 0, count;
	struct rp_vhu_backend_config config;
	struct bed *bed = *state;
	struct test_leaks before;

	live(bed);
	config = same_config(bed);
	assert_int_equal(rp_vhu_backend_give(bed->backend, parcel, NULL), 0);
	count = test_parcel_items_count(parcel);
	test_leaks_read(&before);
	for (item = 0; item < count; item++) {
		for (lie = 0; lie < TEST_PARCEL_LIES; lie++) {
			struct rp_wire_parcel *given = test_parcel_altered(parcel, item, lie);
			struct rp_vhu_backend *successor = make(bed, &config);
			struct rp_wire_why why = {0};
			int rc = rp_vhu_backend_adopt(successor, given, &why);

			rp_wire_parcel_destroy(given);
			if (rc < 0)
				assert_true(why.error == rc && why.text[0] != '\0' && ++refused > 0);
			rp_vhu_backend_leave(successor);
			rp_vhu_backend_destroy(successor);
		}
	}
	test_leaks_assert_none(&before);
	/* An absent number, one that is a text, and an eventfd for a socket are no matters of taste. */
	assert_true(refused > 2 * count);
	assert_string_equal(bed_diary(bed), "");
	bed_assert_usable(bed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_frontend_goes_on, setup, teardown),
		cmocka_unit_test_setup_teardown(requests_that_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(what_came_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(counted_regions, setup, teardown),
		cmocka_unit_test_setup_teardown(what_the_frontend_was_told_must_hold, setup, teardown),
		cmocka_unit_test_setup_teardown(what_breaks_a_rule, setup, teardown),
		cmocka_unit_test_setup_teardown(every_single_lie, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
