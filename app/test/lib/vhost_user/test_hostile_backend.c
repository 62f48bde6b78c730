/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>

#include "desk.h"
#include "hostile.h"
#include "rp_wire_fd.h"

struct attempt {
	uint32_t id;
	uint32_t flags;
	uint32_t size_bytes;
	unsigned int fds_count;
	uint32_t seed;
};

static void
check(bool good, const char *what, const struct attempt *attempt, const char *text)
{
	if (!good)
		fail_msg("%s: request %u, flags 0x%x, %u bytes, %u descriptors, seed %u: %s", what, attempt->id,
			 attempt->flags, attempt->size_bytes, attempt->fds_count, attempt->seed, text);
}

#define CHECK(condition) check(condition, #condition, attempt, desk->refused.text)

static void
send_attempt(struct desk *desk, int socket_fd, const struct attempt *attempt)
{
	uint8_t payload[PEER_PAYLOAD_MAX];
	int fds[16];
	unsigned int i;

	hostile_payload(attempt->seed, payload, attempt->size_bytes);
	for (i = 0; i < attempt->fds_count; i++)
		fds[i] = i % 2 == 0 ? rp_wire_fd_dup(desk->area_fd) : peer_eventfd();
	assert_true(peer_send(socket_fd, attempt->id, attempt->flags, payload, attempt->size_bytes, fds,
			      attempt->fds_count));
	rp_wire_fd_close_all(fds, attempt->fds_count);
}

static bool
names_it(const struct desk *desk, const struct attempt *attempt)
{
	const struct rp_vhu_msg_row *row = rp_vhu_msg_find_backend(attempt->id);
	char number[32];

	snprintf(number, sizeof(number), "request %u:", attempt->id);
	return strstr(desk->refused.text, row == NULL ? number : row->name) == desk->refused.text;
}

/* On the backend channel: whatever comes, the connection and the mapped doorbell of another queue stay. */
static void
try_channel(struct desk *desk, const struct attempt *attempt)
{
	struct peer_msg msg;

	desk->refused_count = 0;
	send_attempt(desk, desk->channel, attempt);
	CHECK(rp_vhu_frontend_process(desk->frontend) == 0);
	if (hostile_breaks_framing(attempt->size_bytes, attempt->fds_count)) {
		CHECK(desk->refused_count == 1 && desk->refused.error == -EPROTO);
		CHECK(strstr(desk->refused.text, "backend channel: ") == desk->refused.text);
		CHECK(peer_closed(desk->channel));
		CHECK(rp_vhu_frontend_notify_map(desk->frontend, 1).address == NULL);
	} else {
		CHECK(desk->refused_count <= 1);
		CHECK(desk->refused_count == 0 || names_it(desk, attempt));
		if ((attempt->flags & 0x8) != 0) {
			CHECK(peer_receive(desk->channel, &msg));
			CHECK(msg.id == attempt->id && msg.flags == 0x5);
			CHECK((peer_msg_u64(&msg) != 0) == (desk->refused_count == 1));
		}
		CHECK(peer_silent(desk->channel));
		CHECK(rp_vhu_frontend_notify_map(desk->frontend, 1).address != NULL);
	}
	desk_answer_u64(desk, RP_VHU_SET_FEATURES, 0);
	CHECK(rp_vhu_frontend_set_features(desk->frontend, 0, NULL) == 0);
	desk_expect(desk, RP_VHU_SET_FEATURES, 0x9);
}

/* Ring 0 as an aim, and ring 1 with a doorbell that must outlive what aims at 0. */
static void
prepare_channel(struct desk *desk)
{
	if (desk->frontend != NULL && peer_closed(desk->channel))
		desk_close(desk);
	if (desk->frontend == NULL) {
		desk_open(desk, &desk_config);
		desk_negotiate(desk);
		desk_ring_start(desk, 0);
		desk_ring_start(desk, 1);
	}
	if (rp_vhu_frontend_notify_map(desk->frontend, 1).address == NULL)
		assert_int_equal(desk_map(desk, 1), 0);
}

static void
prepare_connection(struct desk *desk)
{
	desk_close(desk);
	desk_open(desk, &desk_config);
	desk->disconnected_count = 0;
}

static void
try_connection(struct desk *desk, const struct attempt *attempt)
{
	send_attempt(desk, desk->peer, attempt);
	CHECK(rp_vhu_frontend_process(desk->frontend) == -ENOTCONN);
	CHECK(desk->disconnected_count == 1);
	CHECK(desk->disconnected.error == -EPROTO);
}

static void
every_message(struct desk *desk, void (*prepare)(struct desk *), void (*try)(struct desk *, const struct attempt *))
{
	uint32_t ids[HOSTILE_IDS_MAX], sizes[HOSTILE_SIZES_MAX];
	unsigned int ids_count = hostile_ids(ids), sizes_count, i, j;
	struct attempt attempt = {.seed = 0};
	struct test_leaks before;

	desk_close(desk);
	test_leaks_read(&before);
	for (i = 0; i < ids_count; i++) {
		sizes_count = hostile_sizes(rp_vhu_msg_find_backend(ids[i]), sizes);
		for (j = 0; j < sizes_count * HOSTILE_FDS_COUNT * 2; j++, attempt.seed++) {
			attempt.id = ids[i];
			attempt.size_bytes = sizes[j / 2 / HOSTILE_FDS_COUNT];
			attempt.fds_count = hostile_fds[j / 2 % HOSTILE_FDS_COUNT];
			attempt.flags = j % 2 == 0 ? 0x1 : 0x9;
			prepare(desk);
			try(desk, &attempt);
			desk_diary(desk);
		}
		desk_close(desk);
		test_leaks_assert_none(&before);
	}
}

static void
every_message_on_the_channel(void **state)
{
	every_message(*state, prepare_channel, try_channel);
}

/* A backend asks for nothing on the connection itself. */
static void
every_message_on_the_connection(void **state)
{
	every_message(*state, prepare_connection, try_connection);
}

static void
a_reply_on_the_channel(void **state)
{
	const uint64_t zero = 0;
	struct desk *desk = *state;

	desk_negotiate(desk);
	assert_true(peer_send(desk->channel, 3, 0x5, &zero, sizeof(zero), NULL, 0));
	assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
	desk_assert_refused(desk, -EPROTO, "backend channel: header: flags: a reply (0x5)");
	assert_true(peer_closed(desk->channel));
}

/* Asks and asks, and never reads what it is answered. */
static void
a_backend_that_never_reads(void **state)
{
	struct desk *desk = *state;
	unsigned int i;

	desk_negotiate(desk);
	for (i = 0; i < 100000 && desk->refused_count == 0; i++) {
		peer_send(desk->channel, 2, 0x9, NULL, 0, NULL, 0);
		assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
	}
	desk_assert_refused(desk, -EPROTO, "backend channel: the backend does not read its answers");
	assert_int_equal(desk->disconnected_count, 0);
}

/* Found by reading: after a queue of answers was written, the loop was kept awake for ever. */
static void
a_backend_that_reads_late(void **state)
{
	struct desk *desk = *state;
	unsigned int got = 0, sent;

	desk_negotiate(desk);
	for (sent = 0; sent < 1000; sent++) {
		assert_true(peer_send(desk->channel, 2, 0x9, NULL, 0, NULL, 0));
		assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
	}
	while (got < sent) {
		got += peer_drain(desk->channel);
		assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
	}
	assert_false(peer_readable(rp_vhu_frontend_fd(desk->frontend)));
	assert_int_equal(desk->refused_count, 0);
}

static void
half_a_message_and_gone(void **state)
{
	static const uint8_t bytes[] = {3, 0, 0, 0, 9, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0};
	struct desk *desk = *state;
	size_t cut;

	for (cut = 1; cut <= sizeof(bytes); cut++) {
		desk_negotiate(desk);
		assert_true(peer_send_bytes(desk->channel, bytes, cut, &desk->area_fd, 1));
		assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
		rp_wire_fd_close(&desk->channel);
		assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
		assert_true(peer_send_bytes(desk->peer, bytes, cut, &desk->area_fd, 1));
		assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
		desk_hang_up(desk);
		assert_int_equal(rp_vhu_frontend_process(desk->frontend), -ENOTCONN);
		assert_string_equal(desk->disconnected.text, "peer left in the middle of a message");
		desk_close(desk);
		desk_open(desk, &desk_config);
	}
}

static void
noise(void **state)
{
	struct desk *desk = *state;
	struct test_leaks before;
	uint32_t random = 20180319;
	unsigned int i;

	desk_close(desk);
	test_leaks_read(&before);
	for (i = 0; i < 10000; i++) {
		struct attempt attempt = {
			.id = hostile_random(&random) % 8,
			.flags = hostile_random(&random) % 50 == 0 ? hostile_random(&random) : 0x9,
			.fds_count = hostile_random(&random) % 2,
			.size_bytes = hostile_random(&random) % 4 == 0 ? hostile_random(&random) % 64 : 24,
			.seed = hostile_random(&random),
		};

		if (desk->channel >= 0 && peer_closed(desk->channel)) {
			desk_close(desk);
			test_leaks_assert_none(&before);
		}
		if (desk->frontend == NULL) {
			desk_open(desk, &desk_config);
			desk_negotiate(desk);
			desk_ring_start(desk, 0);
		}
		send_attempt(desk, desk->channel, &attempt);
		assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
		while (!peer_closed(desk->channel) && peer_drain(desk->channel) > 0)
			;
		desk_diary(desk);
	}
	desk_close(desk);
	test_leaks_assert_none(&before);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DESK(every_message_on_the_channel),
		WITH_DESK(every_message_on_the_connection),
		WITH_DESK(a_reply_on_the_channel),
		WITH_DESK(a_backend_that_never_reads),
		WITH_DESK(a_backend_that_reads_late),
		WITH_DESK(half_a_message_and_gone),
		WITH_DESK(noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
