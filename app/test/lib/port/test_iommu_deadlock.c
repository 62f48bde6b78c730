/* SPDX-License-Identifier: BSD-3-Clause */
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../vhost_user/peer.h"
#include "fake_accel.h"
#include "rp_vring_drv.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"
#include "test_port.h"

/*
 * A frontend that does as QEMU does, and shares no code with ours: while it waits for the
 * answer to a request of its own it reads nothing else, its backend channel least of all;
 * and a miss it answers only after the update that it sends inside was acknowledged. A
 * port that waits for anything of it in between hangs them both.
 */

#define ANSWER_MS 10000
#define IOVA 0xfe000000ull
#define GPA 0x40000000ull
#define MEMORY_BYTES 0x100000ull
#define NUM 256u /* its descriptors lie in another page than the rest */
#define BUFFER_AT 0x80000u
#define FEATURES (1ull << 32 | TEST_ACCESS_PLATFORM | 1ull << RP_VHU_F_PROTOCOL_FEATURES_BIT)
#define TEST_ACCESS_PLATFORM (1ull << RP_VHU_F_ACCESS_PLATFORM_BIT)
#define PROTOCOL_FEATURES (1ull << RP_VHU_PF_REPLY_ACK_BIT | 1ull << RP_VHU_PF_BACKEND_REQ_BIT)
#define VERSION 1u
#define NEED_REPLY 8u
#define REPLY 4u

struct qemu {
	struct test_port port;
	int fd;
	int channel;
	int memory_fd;
	uint8_t *memory;
	int kick_fd, call_fd;
	struct rp_vring_drv *ring;
	unsigned int misses;
	struct peer_msg msg;
};

static void
receive(int fd, struct peer_msg *ret_msg)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	uint64_t deadline_ms = rp_wire_clock_ms() + ANSWER_MS;

	while (!peer_receive(fd, ret_msg)) {
		if (rp_wire_clock_ms() > deadline_ms)
			fail_msg("no answer: both wait");
		poll(&wait, 1, 100);
	}
}

/* A request, and its answer; nothing else is looked at meanwhile. */
static void
ask(struct qemu *q, uint32_t id, const void *payload, uint32_t size_bytes, int fd)
{
	assert_true(peer_send(q->fd, id, VERSION | NEED_REPLY, payload, size_bytes, &fd, fd >= 0 ? 1 : 0));
	receive(q->fd, &q->msg);
	assert_int_equal(q->msg.id, id);
	assert_int_equal(q->msg.flags, VERSION | REPLY);
}

static void
tell(struct qemu *q, uint32_t id, const void *payload, uint32_t size_bytes, int fd)
{
	ask(q, id, payload, size_bytes, fd);
	if (peer_msg_u64(&q->msg) != 0)
		fail_msg("request %u was refused: %s", id, q->port.last_words);
}

static void
tell_u64(struct qemu *q, uint32_t id, uint64_t value, int fd)
{
	tell(q, id, &value, sizeof(value), fd);
}

static void
tell_iotlb(struct qemu *q, uint8_t type, uint64_t iova, uint64_t size_bytes)
{
	const struct rp_vhu_wire_iotlb wire = {
		.iova = iova,
		.size_bytes = size_bytes,
		.uva = type == RP_VHU_IOTLB_UPDATE ? (uint64_t)(uintptr_t)q->memory + (iova - IOVA) : 0,
		.perm = type == RP_VHU_IOTLB_UPDATE ? RP_VHU_IOTLB_READ_MASK | RP_VHU_IOTLB_WRITE_MASK : 0,
		.type = type,
	};

	tell(q, RP_VHU_IOTLB_MSG, &wire, sizeof(wire), -1);
}

/* One miss, if there is one: the update first, waited for, then the answer. */
static bool
serve_channel(struct qemu *q)
{
	struct rp_vhu_wire_iotlb miss;
	uint64_t ok = 0;

	if (!peer_receive(q->channel, &q->msg))
		return false;
	assert_int_equal(q->msg.id, RP_VHU_BACKEND_IOTLB_MSG);
	assert_int_equal(q->msg.flags, VERSION | NEED_REPLY);
	memcpy(&miss, q->msg.payload, sizeof(miss));
	assert_int_equal(miss.type, RP_VHU_IOTLB_MISS);
	q->misses++;
	tell_iotlb(q, RP_VHU_IOTLB_UPDATE, miss.iova & ~UINT64_C(4095), 4096);
	assert_true(peer_send(q->channel, RP_VHU_BACKEND_IOTLB_MSG, VERSION | REPLY, &ok, sizeof(ok), NULL, 0));
	return true;
}

static bool
becomes(struct qemu *q, unsigned int queue, enum rp_port_queue_mode mode)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + ANSWER_MS;

	while (test_port_queue(&q->port, queue).mode != mode) {
		if (rp_wire_clock_ms() > deadline_ms)
			return false;
		if (!serve_channel(q))
			usleep(1000);
	}
	return true;
}

static void
open_port(struct qemu *q)
{
	static const char *const accelerators[] = {"fake"};
	const struct rp_port_config config = {
		.name = "test",
		.socket_path = test_socket_path(),
		.socket_mode = RP_PORT_SERVER,
		.queue_pairs = 1,
		.accelerators = accelerators,
		.accelerators_count = 1,
		.access_platform = true,
	};

	fake_accel_setup();
	fake_accel_serve();
	test_port_open(&q->port, &config, &fake_accel_registry);
}

static void
open_memory(struct qemu *q)
{
	struct {
		uint32_t count, padding;
		struct rp_vhu_wire_region region;
	} table = {.count = 1};

	q->memory_fd = test_memfd(MEMORY_BYTES, true);
	q->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, q->memory_fd, 0);
	assert_true(q->memory != MAP_FAILED);
	table.region = (struct rp_vhu_wire_region){
		.gpa = GPA, .size_bytes = MEMORY_BYTES, .uva = (uint64_t)(uintptr_t)q->memory};
	tell(q, RP_VHU_SET_MEM_TABLE, &table, sizeof(table), q->memory_fd);
}

static void
open_qemu(struct qemu *q)
{
	uint64_t features = FEATURES, protocol_features = PROTOCOL_FEATURES;
	struct rp_wire_why why = {0};
	int theirs;

	memset(q, 0, sizeof(*q));
	open_port(q);
	assert_int_equal(rp_wire_socket_connect(test_socket_path(), &q->fd, &why), 0);
	assert_true(peer_send(q->fd, RP_VHU_SET_PROTOCOL_FEATURES, VERSION, &protocol_features, 8, NULL, 0));
	peer_pair(&q->channel, &theirs);
	tell(q, RP_VHU_SET_BACKEND_REQ_FD, NULL, 0, theirs);
	rp_wire_fd_close(&theirs);
	tell(q, RP_VHU_SET_FEATURES, &features, sizeof(features), -1);
	open_memory(q);
	q->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	q->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(rp_vring_drv_create(NUM, q->memory, IOVA, 1ull << 32, &q->ring), 0);
}

/* All of it is answered before a single miss is looked at. */
static void
start_ring(struct qemu *q, unsigned int queue)
{
	const struct rp_vhu_wire_vring_state num = {queue, NUM}, base = {queue, 0}, on = {queue, 1};
	struct rp_vring_layout layout;
	struct rp_vhu_wire_vring_addr addr = {.index = queue};

	rp_vring_drv_layout(q->ring, &layout);
	addr.desc_uva = layout.desc_iova;
	addr.avail_uva = layout.avail_iova;
	addr.used_uva = layout.used_iova;
	tell(q, RP_VHU_SET_VRING_NUM, &num, sizeof(num), -1);
	tell(q, RP_VHU_SET_VRING_BASE, &base, sizeof(base), -1);
	tell(q, RP_VHU_SET_VRING_ADDR, &addr, sizeof(addr), -1);
	tell_u64(q, RP_VHU_SET_VRING_CALL, queue, q->call_fd);
	tell_u64(q, RP_VHU_SET_VRING_KICK, queue, q->kick_fd);
	tell(q, RP_VHU_SET_VRING_ENABLE, &on, sizeof(on), -1);
	/* As QEMU does by itself, of the used ring. */
	tell_iotlb(q, RP_VHU_IOTLB_UPDATE, layout.used_iova & ~UINT64_C(4095), 4096);
}

static void
close_qemu(struct qemu *q)
{
	rp_wire_fd_close(&q->fd);
	rp_wire_fd_close(&q->channel);
	rp_wire_fd_close(&q->kick_fd);
	rp_wire_fd_close(&q->call_fd);
	rp_wire_fd_close(&q->memory_fd);
	q->ring = rp_vring_drv_destroy(q->ring);
	munmap(q->memory, MEMORY_BYTES);
	test_port_close(&q->port);
	fake_accel_teardown();
}

static void
kick_chain(struct qemu *q, uint64_t iova)
{
	const struct rp_vring_part part = {.iova = iova, .size_bytes = 64};

	assert_int_equal(rp_vring_drv_add(q->ring, &part, 1, q), 0);
	assert_int_equal(eventfd_write(q->kick_fd, 1), 0);
}

static void
wait_for_misses(struct qemu *q)
{
	struct pollfd wait = {.fd = q->channel, .events = POLLIN};

	assert_int_equal(poll(&wait, 1, ANSWER_MS), 1);
}

/* The ring starts while nobody answers misses, and goes on as they are: each after its update was acknowledged. */
static void
an_update_is_acknowledged_inside_a_miss(void **state)
{
	struct qemu q;

	(void)state;
	open_qemu(&q);
	start_ring(&q, 1);
	assert_int_equal(test_port_queue(&q.port, 1).mode, RP_PORT_QUEUE_STOPPED);
	assert_non_null(strstr(test_port_queue(&q.port, 1).reason, "has not answered yet"));
	assert_true(becomes(&q, 1, RP_PORT_QUEUE_SHADOW));
	assert_true(q.misses > 0);
	/* While chains wait, every other request is answered, too. */
	kick_chain(&q, IOVA + BUFFER_AT);
	wait_for_misses(&q);
	tell_u64(&q, RP_VHU_SET_VRING_CALL, 1, q.call_fd);
	tell_iotlb(&q, RP_VHU_IOTLB_UPDATE, IOVA + BUFFER_AT + 0x10000, 4096);
	assert_true(serve_channel(&q));
	assert_int_equal(test_port_info(&q.port).iommu.misses_refused, 0);
	close_qemu(&q);
}

/* What a chain waits for is taken back before it came: that is acknowledged although its miss never will be answered. */
static void
an_invalidation_waits_for_no_miss(void **state)
{
	const struct rp_vhu_wire_vring_state stop = {.index = 1};
	struct qemu q;

	(void)state;
	open_qemu(&q);
	start_ring(&q, 1);
	assert_true(becomes(&q, 1, RP_PORT_QUEUE_SHADOW));
	kick_chain(&q, IOVA + BUFFER_AT);
	wait_for_misses(&q);
	tell_iotlb(&q, RP_VHU_IOTLB_INVALIDATE, IOVA + BUFFER_AT, 4096);
	tell_iotlb(&q, RP_VHU_IOTLB_INVALIDATE, 0, UINT64_MAX);
	assert_int_equal(test_port_queue(&q.port, 1).mode, RP_PORT_QUEUE_STOPPED);
	/* And so is the end of the ring, with the chain and the ring's own pages waiting. */
	ask(&q, RP_VHU_GET_VRING_BASE, &stop, sizeof(stop), -1);
	assert_int_equal(q.msg.size_bytes, sizeof(stop));
	assert_int_equal(((const struct rp_vhu_wire_vring_state *)(const void *)q.msg.payload)->num, 0);
	/* Answers that come now are about the past. */
	while (serve_channel(&q))
		;
	start_ring(&q, 1);
	assert_true(becomes(&q, 1, RP_PORT_QUEUE_SHADOW));
	close_qemu(&q);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_update_is_acknowledged_inside_a_miss),
		cmocka_unit_test(an_invalidation_waits_for_no_miss),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
