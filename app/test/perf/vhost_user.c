/* SPDX-License-Identifier: BSD-3-Clause */
#include <poll.h>
#include <pthread.h>

#include "bed.h"
#include "count.h"
#include "fake_accel.h"
#include "rp_port.h"
#include "rp_wire_fd.h"
#include "test_vm.h"

/* One request of a frontend; and all that a queue's start is, from its messages to the accelerator's registers. */

#define QUEUE 1u

static struct {
	struct bed *bed;
	int call_fd;

	struct rp_port *port;
	struct test_vm vm;
	bool stop; /* atomic: of the thread */
	bool stopped; /* the queue */
} fixture;

static void
open_bed(const struct count_scenario *scenario)
{
	void *state = NULL;

	(void)scenario;
	bed_setup(&state);
	fixture.bed = state;
	bed_run(fixture.bed);
	fixture.call_fd = peer_eventfd();
}

static void
close_bed(void)
{
	void *state = fixture.bed;

	rp_wire_fd_close(&fixture.call_fd);
	bed_teardown(&state);
}

static void
prepare_features(void)
{
	assert_true(peer_send(fixture.bed->peer, RP_VHU_GET_FEATURES, 0x1, NULL, 0, NULL, 0));
}

static void
prepare_call(void)
{
	const uint64_t queue = 0;

	assert_true(
		peer_send(fixture.bed->peer, RP_VHU_SET_VRING_CALL, 0x9, &queue, sizeof(queue), &fixture.call_fd, 1));
}

static void
serve_bed(void)
{
	rp_vhu_backend_process(fixture.bed->backend);
}

static void
take_answer(void)
{
	assert_int_equal(peer_drain(fixture.bed->peer), 1);
	bed_assert_nothing_refused(fixture.bed);
	bed_diary(fixture.bed);
}

static void
serve_port(void)
{
	struct pollfd wait = {.fd = rp_port_fd(fixture.port), .events = POLLIN};

	do {
		rp_port_process(fixture.port);
	} while (poll(&wait, 1, 0) > 0);
}

static void *
port_main(void *ctx)
{
	struct pollfd wait = {.fd = rp_port_fd(fixture.port), .events = POLLIN};

	(void)ctx;
	while (!__atomic_load_n(&fixture.stop, __ATOMIC_ACQUIRE)) {
		if (poll(&wait, 1, 20) > 0)
			rp_port_process(fixture.port);
	}
	return NULL;
}

/* With a thread until the frontend has its answers; then nothing is done but what this thread does. */
static void
open_port(const struct count_scenario *scenario)
{
	static const char *const accelerators[] = {"fake"};
	const struct rp_port_config config = {
		.name = "count",
		.socket_path = test_socket_path(),
		.socket_mode = RP_PORT_SERVER,
		.queue_pairs = 2,
		.accelerators = accelerators,
		.accelerators_count = 1,
		.doorbell_delay_ms = 3600000, /* never: it is another piece of work */
		.reconnect_ms = 5,
	};
	const struct test_vm_options options = {.ring_features = scenario->features};
	struct rp_wire_why why = {0};
	pthread_t thread;

	fake_accel_setup();
	if (rp_port_create(&config, &fake_accel_registry, NULL, NULL, &fixture.port, &why) < 0)
		fail_msg("%s", why.text);
	assert_int_equal(pthread_create(&thread, NULL, port_main, NULL), 0);
	test_vm_open(&fixture.vm, config.socket_path, 4, 64, &options);
	test_vm_queue_start(&fixture.vm, 0, 0);
	__atomic_store_n(&fixture.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	serve_port();
}

static void
close_port(void)
{
	test_vm_disconnect(&fixture.vm);
	fixture.port = rp_port_destroy(fixture.port);
	test_vm_close(&fixture.vm);
	fake_accel_teardown();
}

static void
submit(uint32_t request, const void *payload, uint32_t payload_bytes, const int *fd)
{
	struct rp_wire_why why = {0};

	if (rp_vhu_frontend_submit(fixture.vm.frontend, request, payload, payload_bytes, fd, fd == NULL ? 0 : 1, false,
				   NULL, NULL, &why) < 0)
		fail_msg("%s", why.text);
}

static void
prepare_start(void)
{
	const struct test_vm_queue *queue = &fixture.vm.queues[QUEUE];
	const uint64_t index = QUEUE, uva = (uint64_t)(uintptr_t)fixture.vm.plain - TEST_VM_GPA;
	struct rp_vhu_wire_vring_state state = {.index = QUEUE};
	struct rp_vhu_wire_vring_addr addr = {.index = QUEUE};
	struct rp_vring_layout layout;

	rp_vring_drv_layout(queue->ring, &layout);
	state.num = layout.num;
	submit(RP_VHU_SET_VRING_NUM, &state, sizeof(state), NULL);
	state.num = 0;
	submit(RP_VHU_SET_VRING_BASE, &state, sizeof(state), NULL);
	addr.desc_uva = layout.desc_iova + uva;
	addr.avail_uva = layout.avail_iova + uva;
	addr.used_uva = layout.used_iova + uva;
	submit(RP_VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL);
	submit(RP_VHU_SET_VRING_CALL, &index, sizeof(index), &queue->call_fd);
	submit(RP_VHU_SET_VRING_KICK, &index, sizeof(index), &queue->kick_fd);
	state.num = 1;
	submit(RP_VHU_SET_VRING_ENABLE, &state, sizeof(state), NULL);
}

static void
on_stopped(void *done_ctx, int error, const void *payload, uint32_t size_bytes, int *fds, unsigned int fds_count)
{
	(void)done_ctx;
	(void)payload;
	(void)size_bytes;
	(void)fds;
	(void)fds_count;
	assert_int_equal(error, 0);
	fixture.stopped = true;
}

static void
stop_queue(void)
{
	const struct rp_vhu_wire_vring_state state = {.index = QUEUE};
	struct rp_port_queue_info info;

	assert_int_equal(rp_port_get_queue_info(fixture.port, QUEUE, &info), 0);
	assert_int_equal(info.mode, RP_PORT_QUEUE_RELAYED);
	fixture.stopped = false;
	assert_int_equal(rp_vhu_frontend_submit(fixture.vm.frontend, RP_VHU_GET_VRING_BASE, &state, sizeof(state), NULL,
						0, false, on_stopped, NULL, NULL),
			 0);
	serve_port();
	assert_int_equal(rp_vhu_frontend_process(fixture.vm.frontend), 0);
	assert_true(fixture.stopped);
}

/* clang-format off */
const struct count_scenario count_scenarios[] = {
	{"vhost_user_get_features", 128, 1, open_bed, prepare_features, serve_bed, take_answer, close_bed},
	{"vhost_user_set_vring_call", 128, 1, open_bed, prepare_call, serve_bed, take_answer, close_bed},
	{"port_queue_start", 32, 1, open_port, prepare_start, serve_port, stop_queue, close_port},
	{NULL},
};
/* clang-format on */
