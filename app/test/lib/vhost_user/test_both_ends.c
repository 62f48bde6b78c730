/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "peer.h"
#include "rp_vhu_frontend.h"
#include "rp_wire_fd.h"

/* Our frontend against our backend, each in a thread of its own; the backend offers a doorbell from a timer. */

struct ends {
	struct test_leaks before;
	struct rp_vhu_backend *backend;
	struct rp_vhu_frontend *frontend;
	struct rp_vhu_backend_config backend_config;
	struct rp_vhu_frontend_config frontend_config;
	pthread_t thread;
	bool serving; /* the thread runs: nobody else touches the backend */
	int stop_fd;
	int doorbells_fd;
	int memory_fd;
	int null_fd; /* stands for a VFIO group */
	enum rp_vhu_profile profile;
	bool file_wanted[2];
	bool offer_wanted[2];
	bool clear_wanted[2];
	unsigned int accepted; /* atomic */
	unsigned int stops; /* atomic */
};

static int
on_start(void *ctx, unsigned int queue, const struct rp_vhu_vring *vring, struct rp_wire_why *why)
{
	struct ends *ends = ctx;

	(void)vring, (void)why;
	ends->file_wanted[queue] = ends->profile != RP_VHU_PROFILE_STANDARD;
	ends->offer_wanted[queue] = true; /* never from inside the request */
	return 0;
}

static void
on_stop(void *ctx, unsigned int queue, enum rp_vhu_stop why_stopped, uint32_t *ret_base)
{
	struct ends *ends = ctx;

	(void)why_stopped;
	ends->offer_wanted[queue] = false;
	*ret_base = 40 + queue;
	__atomic_add_fetch(&ends->stops, 1, __ATOMIC_SEQ_CST);
}

static int
on_enable(void *ctx, unsigned int queue, bool enabled, struct rp_wire_why *why)
{
	struct ends *ends = ctx;

	(void)why;
	ends->clear_wanted[queue] = !enabled;
	return 0;
}

static void
on_reply(void *ctx, uint64_t token, int error)
{
	struct ends *ends = ctx;

	(void)token;
	if (error == 0)
		__atomic_add_fetch(&ends->accepted, 1, __ATOMIC_SEQ_CST);
}

static const struct rp_vhu_backend_ops ops = {
	.vring_start = on_start,
	.vring_stop = on_stop,
	.vring_enable = on_enable,
	.channel_reply = on_reply,
};

static void
timer(struct ends *ends)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		if (ends->file_wanted[i] &&
		    rp_vhu_backend_vfio_file_set(ends->backend, i, ends->null_fd, RP_VHU_VFIO_GROUP, 2 + i, NULL) == 0)
			ends->file_wanted[i] = false;
		if (ends->offer_wanted[i] && rp_vhu_backend_notify_area_set(ends->backend, i, ends->doorbells_fd,
									    i * 4096ull, 4096, i, NULL) == 0)
			ends->offer_wanted[i] = false;
		if (ends->clear_wanted[i] && rp_vhu_backend_notify_area_clear(ends->backend, i, i, NULL) == 0)
			ends->clear_wanted[i] = false;
	}
}

static void *
serve(void *ctx)
{
	struct ends *ends = ctx;

	for (;;) {
		struct pollfd wait[2] = {{.fd = rp_vhu_backend_fd(ends->backend), .events = POLLIN},
					 {.fd = ends->stop_fd, .events = POLLIN}};

		poll(wait, 2, 2);
		if (wait[1].revents != 0)
			return NULL;
		rp_vhu_backend_process(ends->backend);
		timer(ends);
	}
}

static void
connect_again(struct ends *ends)
{
	int front, back;

	peer_pair(&front, &back);
	rp_wire_fd_close(&ends->stop_fd);
	ends->stop_fd = peer_eventfd();
	assert_int_equal(rp_vhu_backend_create(&ends->backend_config, &ops, ends, &ends->backend, NULL), 0);
	assert_int_equal(rp_vhu_backend_attach(ends->backend, &back), 0);
	assert_int_equal(pthread_create(&ends->thread, NULL, serve, ends), 0);
	ends->serving = true;
	assert_int_equal(rp_vhu_frontend_create(&front, &ends->frontend_config, NULL, NULL, &ends->frontend), 0);
}

static int
setup(void **state)
{
	static struct ends ends;
	const enum rp_vhu_profile *profile = *state;
	struct rp_vhu_backend_config backend_config = {
		.profile = *profile,
		.features = 1ull << 32,
		.protocol_features = 0x1ae3d | 1ull << RP_VHU_PF_INFLIGHT_SHMFD_BIT,
		.queues_max = 2,
	};
	const struct rp_vhu_frontend_config frontend_config = {
		.profile = *profile, .protocol_features = UINT64_MAX, .queues_max = 2};

	if (*profile == RP_VHU_PROFILE_VFIO2018)
		backend_config.protocol_features &=
			~(1ull << RP_VHU_PF_HOST_NOTIFIER_BIT | 1ull << RP_VHU_PF_BACKEND_SEND_FD_BIT);
	memset(&ends, 0, sizeof(ends));
	ends.profile = *profile;
	test_leaks_read(&ends.before);
	ends.doorbells_fd = test_memfd(2 * 4096, true);
	ends.memory_fd = test_memfd(0x100000, true);
	ends.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	ends.stop_fd = -1;
	ends.backend_config = backend_config;
	ends.frontend_config = frontend_config;
	connect_again(&ends);
	*state = &ends;
	return 0;
}

static void
stop_serving(struct ends *ends)
{
	const uint64_t one = 1;

	if (!ends->serving)
		return;
	assert_int_equal(write(ends->stop_fd, &one, sizeof(one)), sizeof(one));
	pthread_join(ends->thread, NULL);
	ends->serving = false;
}

static void
stop_backend(struct ends *ends)
{
	stop_serving(ends);
	ends->backend = rp_vhu_backend_destroy(ends->backend);
}

static int
teardown(void **state)
{
	struct ends *ends = *state;

	ends->frontend = rp_vhu_frontend_destroy(ends->frontend);
	stop_backend(ends);
	rp_wire_fd_close(&ends->stop_fd);
	rp_wire_fd_close(&ends->doorbells_fd);
	rp_wire_fd_close(&ends->memory_fd);
	rp_wire_fd_close(&ends->null_fd);
	test_leaks_assert_none(&ends->before);
	return 0;
}

static void
boot(struct ends *ends)
{
	const struct rp_vhu_region region = {.size_bytes = 0x100000, .uva = 0x10000000, .fd = ends->memory_fd};

	assert_int_equal(rp_vhu_frontend_negotiate(ends->frontend, NULL), 0);
	assert_int_equal(rp_vhu_frontend_queues_offered(ends->frontend), 2);
	assert_int_equal(rp_vhu_frontend_set_features(ends->frontend, 1ull << 32 | 1ull << 30, NULL), 0);
	assert_int_equal(rp_vhu_frontend_set_mem_table(ends->frontend, &region, 1, NULL), 0);
}

static void
start(struct ends *ends, unsigned int queue)
{
	const uint64_t at = 0x10000000 + queue * 0x10000;
	const struct rp_vhu_frontend_ring ring = {
		.num = 64,
		.desc_uva = at,
		.avail_uva = at + 0x1000,
		.used_uva = at + 0x2000,
		.kick_fd = -1,
		.call_fd = -1,
	};

	assert_int_equal(rp_vhu_frontend_ring_start(ends->frontend, queue, &ring, NULL), 0);
	assert_int_equal(rp_vhu_frontend_ring_enable(ends->frontend, queue, true, NULL), 0);
}

static bool
both_mapped(void *ctx)
{
	struct ends *ends = ctx;

	rp_vhu_frontend_process(ends->frontend);
	return rp_vhu_frontend_notify_map(ends->frontend, 0).address != NULL &&
	       rp_vhu_frontend_notify_map(ends->frontend, 1).address != NULL;
}

/* One file for both queues, under as many numbers as messages brought it; none in profile standard. */
static bool
files_as_they_should_be(void *ctx)
{
	struct ends *ends = ctx;
	const struct rp_vhu_vfio_file *file = rp_vhu_frontend_vfio_file(ends->frontend, 0);

	rp_vhu_frontend_process(ends->frontend);
	if (ends->profile == RP_VHU_PROFILE_STANDARD)
		return file == NULL;
	return file != NULL && file == rp_vhu_frontend_vfio_file(ends->frontend, 1) &&
	       rp_vhu_vfio_file_references(file) == 2;
}

static bool
first_unmapped(void *ctx)
{
	struct ends *ends = ctx;

	rp_vhu_frontend_process(ends->frontend);
	return rp_vhu_frontend_notify_map(ends->frontend, 0).address == NULL;
}

static void
start_offer_revoke_stop(void **state)
{
	struct ends *ends = *state;
	unsigned int round;
	uint32_t base = 0;

	boot(ends);
	for (round = 0; round < 20; round++) {
		start(ends, 0);
		start(ends, 1);
		assert_true(test_wait(both_mapped, ends, 5000));
		assert_true(test_wait(files_as_they_should_be, ends, 5000));
		assert_int_equal(rp_vhu_frontend_kick(ends->frontend, 1), 1);
		assert_int_equal(rp_vhu_frontend_ring_enable(ends->frontend, 0, false, NULL), 0);
		assert_true(test_wait(first_unmapped, ends, 5000));
		assert_int_equal(rp_vhu_frontend_ring_stop(ends->frontend, 0, &base, NULL), 0);
		assert_int_equal(base, 40);
		assert_int_equal(rp_vhu_frontend_ring_stop(ends->frontend, 1, &base, NULL), 0);
		assert_int_equal(base, 41);
		assert_null(rp_vhu_frontend_notify_map(ends->frontend, 1).address);
	}
	assert_int_equal(__atomic_load_n(&ends->stops, __ATOMIC_SEQ_CST), 40);
	assert_true(__atomic_load_n(&ends->accepted, __ATOMIC_SEQ_CST) >= 40);
}

/* Slots, as they are added and removed while a ring runs. */
static void
memory_slots(void **state)
{
	struct ends *ends = *state;
	const struct rp_vhu_region more = {
		.gpa = 0x40000000,
		.size_bytes = 0x1000,
		.uva = 0x20000000,
		.fd = ends->memory_fd,
	};

	boot(ends);
	start(ends, 0);
	assert_int_equal(rp_vhu_frontend_add_mem_reg(ends->frontend, &more, NULL), 0);
	assert_int_equal(rp_vhu_frontend_rem_mem_reg(ends->frontend, &more, NULL), 0);
	assert_int_equal(rp_vhu_frontend_rem_mem_reg(ends->frontend, &more, NULL), -EREMOTEIO);
}

/* A backend that dies with a buffer in flight; the frontend hands what it noted to the next one. */
static void
what_was_in_flight_survives(void **state)
{
	struct rp_vhu_inflight_split *notes = NULL;
	struct ends *ends = *state;
	struct rp_vhu_frontend_inflight region = {.fd = -1};
	struct rp_vhu_inflight *inflight;
	const uint16_t *heads;

	boot(ends);
	assert_int_equal(rp_vhu_frontend_get_inflight(ends->frontend, 2, 64, &region, NULL), 0);
	assert_int_equal(rp_vhu_frontend_set_inflight(ends->frontend, &region, NULL), 0);
	stop_serving(ends);
	inflight = rp_vhu_backend_inflight(ends->backend);
	assert_int_equal(rp_vhu_inflight_split_create(inflight, 1, 64, 5, &notes, NULL), 0);
	assert_int_equal(rp_vhu_inflight_split_take(notes, 63), 0);
	assert_int_equal(rp_vhu_inflight_split_take(notes, 7), 0);
	rp_vhu_inflight_split_destroy(notes);
	stop_backend(ends);
	ends->frontend = rp_vhu_frontend_destroy(ends->frontend);
	connect_again(ends);
	boot(ends);
	assert_int_equal(rp_vhu_frontend_set_inflight(ends->frontend, &region, NULL), 0);
	start(ends, 1);
	assert_int_equal(rp_vhu_frontend_set_inflight(ends->frontend, &region, NULL), -EREMOTEIO);
	stop_serving(ends);
	inflight = rp_vhu_backend_inflight(ends->backend);
	assert_int_equal(rp_vhu_inflight_split_create(inflight, 1, 64, 5, &notes, NULL), 0);
	assert_int_equal(rp_vhu_inflight_split_pending(notes, &heads), 2);
	assert_int_equal(heads[0], 63);
	assert_int_equal(heads[1], 7);
	assert_int_equal(rp_vhu_inflight_split_avail_idx(notes), 7);
	rp_vhu_inflight_split_destroy(notes);
	rp_wire_fd_close(&region.fd);
}

static void
either_may_leave_first(void **state)
{
	struct ends *ends = *state;

	boot(ends);
	start(ends, 0);
	start(ends, 1);
	assert_true(test_wait(both_mapped, ends, 5000));
	stop_backend(ends);
	assert_int_equal(rp_vhu_frontend_process(ends->frontend), -ENOTCONN);
	assert_null(rp_vhu_frontend_notify_map(ends->frontend, 0).address);
}

static enum rp_vhu_profile profiles[] = {RP_VHU_PROFILE_STANDARD, RP_VHU_PROFILE_EXTENDED, RP_VHU_PROFILE_VFIO2018};

#define WITH_ENDS(test, number)                                                                                        \
	{                                                                                                              \
#test " in profile " #number, test, setup, teardown, &profiles[number]                                 \
	}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_ENDS(start_offer_revoke_stop, 0),
		WITH_ENDS(start_offer_revoke_stop, 1),
		WITH_ENDS(start_offer_revoke_stop, 2),
		WITH_ENDS(memory_slots, 0),
		WITH_ENDS(memory_slots, 1),
		WITH_ENDS(memory_slots, 2),
		WITH_ENDS(what_was_in_flight_survives, 0),
		WITH_ENDS(what_was_in_flight_survives, 1),
		WITH_ENDS(what_was_in_flight_survives, 2),
		WITH_ENDS(either_may_leave_first, 0),
		WITH_ENDS(either_may_leave_first, 1),
		WITH_ENDS(either_may_leave_first, 2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
