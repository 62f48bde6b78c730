/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bed.h"
#include "rp_vhu_msg.h"
#include "rp_wire_fd.h"

static int
offer(struct bed *bed, unsigned int queue, uint64_t token, struct rp_wire_why *why)
{
	return rp_vhu_backend_notify_area_set(bed->backend, queue, bed->memory_fd, 0, (uint64_t)sysconf(_SC_PAGESIZE),
					      token, why);
}

static void
reply(struct bed *bed, uint32_t id, uint64_t value)
{
	assert_true(peer_send(bed->channel, id, 0x5, &value, sizeof(value), NULL, 0));
	bed_process(bed);
}

static void
assert_replied(struct bed *bed, uint64_t token, int error)
{
	assert_true(bed->replies_count > 0);
	bed->replies_count--;
	assert_int_equal(bed->replies[0].token, token);
	assert_int_equal(bed->replies[0].error, error);
	memmove(&bed->replies[0], &bed->replies[1], bed->replies_count * sizeof(bed->replies[0]));
}

static void
answers_come_in_order(void **state)
{
	struct bed *bed = *state;

	bed_run(bed);
	assert_int_equal(offer(bed, 0, 11, NULL), 0);
	assert_int_equal(rp_vhu_backend_notify_area_clear(bed->backend, 0, 12, NULL), 0);
	assert_int_equal(rp_vhu_backend_config_changed(bed->backend, 13, NULL), 0);
	assert_int_equal(bed->replies_count, 0);
	reply(bed, 3, 0);
	assert_replied(bed, 11, 0);
	reply(bed, 3, 1);
	assert_replied(bed, 12, -EREMOTEIO);
	reply(bed, 2, 0);
	assert_replied(bed, 13, 0);
	assert_int_equal(bed->replies_count, 0);
	bed_assert_nothing_refused(bed);
}

/* A lie on the channel costs the channel, not the connection. */
static void
assert_channel_lost(struct bed *bed, const char *words, unsigned int pending)
{
	bed_assert_refused(bed, -EPROTO, words);
	assert_memory_equal(bed->refused.text, "backend channel: ", 17);
	assert_int_equal(bed->replies_count, pending);
	for (; pending > 0; pending--)
		assert_int_equal(bed->replies[pending - 1].error, -ENOTCONN);
	bed->replies_count = 0;
	assert_int_equal(peer_drain(bed->channel), 0);
	assert_true(peer_closed(bed->channel));
	assert_int_equal(offer(bed, 0, 1, NULL), -ENOTSUP);
	bed_assert_usable(bed);
}

static void
lie(struct bed *bed, uint32_t id, uint32_t flags, uint32_t size_bytes, const char *words)
{
	static const uint8_t zeros[4096];

	bed_run(bed);
	assert_int_equal(offer(bed, 0, 21, NULL), 0);
	assert_int_equal(rp_vhu_backend_config_changed(bed->backend, 22, NULL), 0);
	assert_int_equal(peer_drain(bed->channel), 2);
	assert_true(peer_send(bed->channel, id, flags, zeros, size_bytes, NULL, 0));
	bed_process(bed);
	assert_channel_lost(bed, words, 2);
	bed_hang_up(bed);
	bed_attach(bed);
}

static void
answers_that_lie(void **state)
{
	struct bed *bed = *state;

	lie(bed, 2, 0x5, 8, "request 2, flags 0x5, 8 bytes, expected a reply of 8 bytes to 3"); /* out of order */
	lie(bed, 4, 0x5, 8, "request 4");
	lie(bed, 3, 0x5, 0, "0 bytes");
	lie(bed, 3, 0x5, 7, "7 bytes");
	lie(bed, 3, 0x5, 9, "9 bytes");
	lie(bed, 3, 0x1, 8, "flags 0x1");
	lie(bed, 3, 0x9, 8, "flags 0x9");
	lie(bed, 3, 0x6, 8, "expected version 1");
}

static void
an_answer_that_nobody_asked_for(void **state)
{
	const uint64_t zero = 0;
	struct bed *bed = *state;

	bed_run(bed);
	assert_true(peer_send(bed->channel, 3, 0x5, &zero, sizeof(zero), NULL, 0));
	bed_process(bed);
	assert_channel_lost(bed, "request 3: nothing was asked", 0);
}

/* Each pending request is answered -ENOTCONN, once, in order. */
static void
closed_with_requests_pending(void **state)
{
	struct bed *bed = *state;

	bed_run(bed);
	assert_int_equal(offer(bed, 0, 31, NULL), 0);
	assert_int_equal(offer(bed, 0, 32, NULL), 0);
	rp_wire_fd_close(&bed->channel);
	bed_process(bed);
	assert_int_equal(bed->replies_count, 2);
	assert_replied(bed, 31, -ENOTCONN);
	assert_replied(bed, 32, -ENOTCONN);
	bed_hang_up(bed);
	assert_int_equal(bed->replies_count, 0);
	bed_assert_nothing_refused(bed);
}

static void
connection_lost_with_requests_pending(void **state)
{
	struct bed *bed = *state;

	bed_run(bed);
	assert_int_equal(offer(bed, 0, 33, NULL), 0);
	rp_wire_fd_close(&bed->peer);
	bed_process(bed);
	assert_int_equal(bed->replies_count, 1);
	assert_replied(bed, 33, -ENOTCONN);
	assert_int_equal(bed->disconnected_count, 1);
}

/* The new channel is good before the old one goes. */
static void
another_channel(void **state)
{
	struct bed *bed = *state;
	int ours, theirs, packets[2], file = peer_eventfd();

	bed_run(bed);
	assert_int_equal(offer(bed, 0, 41, NULL), 0);
	assert_true(peer_send(bed->peer, RP_VHU_SET_BACKEND_REQ_FD, 0x9, NULL, 0, &file, 1));
	bed_process(bed);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_BACKEND_REQ_FD), 1);
	bed_assert_refused(bed, -EBADMSG, "SET_BACKEND_REQ_FD: descriptor: is not a Unix stream socket");
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, packets), 0);
	assert_true(peer_send(bed->peer, RP_VHU_SET_BACKEND_REQ_FD, 0x9, NULL, 0, packets, 1));
	bed_process(bed);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_BACKEND_REQ_FD), 1);
	bed_assert_refused(bed, -EBADMSG, "is not a Unix stream socket");
	assert_int_equal(bed->replies_count, 0);
	peer_pair(&ours, &theirs);
	assert_true(peer_send(bed->peer, RP_VHU_SET_BACKEND_REQ_FD, 0x9, NULL, 0, &theirs, 1));
	rp_wire_fd_close(&theirs);
	bed_process(bed);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_BACKEND_REQ_FD), 0);
	assert_replied(bed, 41, -ENOTCONN);
	assert_string_equal(bed_diary(bed), "channel ");
	rp_wire_fd_replace(&bed->channel, &ours);
	assert_int_equal(offer(bed, 0, 42, NULL), 0);
	reply(bed, 3, 0);
	assert_replied(bed, 42, 0);
	rp_wire_fd_close(&file);
	rp_wire_fd_close_all(packets, 2);
}

static void
what_must_be_negotiated(void **state)
{
	static const struct {
		unsigned int bit;
		const char *words;
	} cases[] = {
		{RP_VHU_PF_BACKEND_REQ_BIT, "did not negotiate BACKEND_REQ"},
		{RP_VHU_PF_BACKEND_SEND_FD_BIT, "did not negotiate BACKEND_SEND_FD"},
		{RP_VHU_PF_HOST_NOTIFIER_BIT, "did not negotiate HOST_NOTIFIER"},
		{RP_VHU_PF_REPLY_ACK_BIT, "did not negotiate REPLY_ACK"},
	};
	struct bed *bed = *state;
	struct rp_wire_why why;
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bed_negotiate_without(bed, 1ull << cases[i].bit);
		bed_memory(bed);
		bed_ring_start(bed, 0);
		assert_int_equal(offer(bed, 0, 1, &why), -ENOTSUP);
		assert_non_null(strstr(why.text, cases[i].words));
		assert_int_equal(rp_vhu_backend_notify_area_clear(bed->backend, 0, 1, &why), -ENOTSUP);
		bed_hang_up(bed);
		bed_attach(bed);
	}
	bed_send_u64(bed, RP_VHU_SET_PROTOCOL_FEATURES, 0x1, BED_PROTOCOL_FEATURES);
	assert_int_equal(rp_vhu_backend_config_changed(bed->backend, 1, &why), -ENOTSUP);
	assert_string_equal(why.text, "the frontend opened no backend channel");
	assert_int_equal(bed->replies_count, 0);
}

static void
only_for_a_started_ring(void **state)
{
	struct bed *bed = *state;
	struct rp_wire_why why;

	bed_run(bed);
	assert_int_equal(offer(bed, 1, 1, &why), -EBUSY);
	assert_string_equal(why.text, "ring 1 is not started");
	assert_int_equal(offer(bed, BED_QUEUES, 1, &why), -EINVAL);
	assert_int_equal(rp_vhu_backend_notify_area_set(bed->backend, 0, -1, 0, 1, 1, &why), -EINVAL);
	assert_int_equal(rp_vhu_backend_notify_area_clear(bed->backend, BED_QUEUES, 1, &why), -EINVAL);
	assert_int_equal(rp_vhu_backend_notify_area_clear(bed->backend, 1, 2, &why), 0);
	assert_int_equal(peer_drain(bed->channel), 1);
	bed_send_state(bed, RP_VHU_GET_VRING_BASE, 0x1, 0, 0);
	bed_answer(bed, RP_VHU_GET_VRING_BASE);
	assert_int_equal(offer(bed, 0, 1, &why), -EBUSY);
}

/* A frontend that takes what we ask and never answers. */
static void
five_hundred_and_twelve_may_wait(void **state)
{
	struct bed *bed = *state;
	struct rp_wire_why why;
	unsigned int i;

	bed_run(bed);
	for (i = 0; i < 512; i++) {
		assert_int_equal(offer(bed, 0, i, &why), 0);
		peer_drain(bed->channel);
	}
	assert_int_equal(offer(bed, 0, 512, &why), -ENOSPC);
	assert_string_equal(why.text, "512 requests wait for the frontend's answer");
	reply(bed, 3, 0);
	assert_replied(bed, 0, 0);
	assert_int_equal(offer(bed, 0, 512, &why), 0);
	rp_vhu_backend_detach(bed->backend);
	assert_int_equal(bed->replies_count, 512);
	for (i = 1; i <= 512; i++)
		assert_replied(bed, i, -ENOTCONN);
}

/* A frontend that never reads its channel: the socket fills, then our own queue, then the caller hears of it. */
static void
a_channel_that_nobody_reads(void **state)
{
	struct bed *bed = *state;
	struct rp_wire_why why = {0};
	unsigned int i;
	int rc = 0;

	bed_run(bed);
	for (i = 0; i < 512 && rc == 0; i++)
		rc = offer(bed, 0, i, &why);
	assert_true(rc == 0 || rc == -ENOSPC || rc == -EINVAL);
	bed_assert_usable(bed);
	rp_vhu_backend_detach(bed->backend);
	assert_int_equal(bed->replies_count, rc == 0 ? i : i - 1);
}

/* What a slow frontend did not take yet goes out by itself once it reads: the loop is told, nobody has to ask. */
static void
a_channel_that_is_read_late(void **state)
{
	struct bed *bed = *state;
	unsigned int sent, got = 0;

	bed_run(bed);
	for (sent = 0; sent < 512; sent++)
		assert_int_equal(rp_vhu_backend_notify_area_clear(bed->backend, 0, sent, NULL), 0);
	got += peer_drain(bed->channel);
	assert_true(got < sent); /* else this shows nothing */
	while (got < sent) {
		assert_true(peer_readable(rp_vhu_backend_fd(bed->backend)));
		bed_process(bed);
		got += peer_drain(bed->channel);
	}
	assert_false(peer_readable(rp_vhu_backend_fd(bed->backend)));
}

/* A good answer with descriptors on it, which no answer has: they are closed. */
static void
answers_with_descriptors(void **state)
{
	const uint64_t zero = 0;
	struct bed *bed = *state;
	struct test_leaks before;
	unsigned int i;

	bed_run(bed);
	test_leaks_read(&before);
	for (i = 0; i < 3; i++) {
		int fds[] = {bed->memory_fd, bed->memory_fd};

		assert_int_equal(offer(bed, 0, i, NULL), 0);
		assert_int_equal(peer_drain(bed->channel), 1);
		assert_true(peer_send(bed->channel, 3, 0x5, &zero, sizeof(zero), fds, 2));
		bed_process(bed);
		assert_replied(bed, i, 0);
		test_leaks_assert_none(&before);
	}
}

/* The frontend keeps our end of the channel as well, and may keep it readable for ever. */
static void
a_kept_socket_does_not_keep_us_awake(void **state)
{
	const uint64_t lies[4] = {0};
	struct bed *bed = *state;
	int ours, theirs;

	bed_run(bed);
	peer_pair(&ours, &theirs);
	assert_true(peer_send(bed->peer, RP_VHU_SET_BACKEND_REQ_FD, 0x1, NULL, 0, &theirs, 1));
	bed_process(bed);
	assert_true(peer_send(ours, 3, 0x5, lies, 8, NULL, 0));
	assert_true(peer_send(ours, 3, 0x5, lies, 8, NULL, 0));
	bed_process(bed);
	bed_assert_refused(bed, -EPROTO, "nothing was asked");
	assert_true(peer_readable(theirs)); /* the second lie is still there */
	assert_false(peer_readable(rp_vhu_backend_fd(bed->backend)));
	rp_wire_fd_close(&ours);
	rp_wire_fd_close(&theirs);
}

/* The number that a notify area goes by here. */
static uint32_t
area_request(const struct bed *bed)
{
	return rp_vhu_dialect_notify_request(rp_vhu_backend_dialect(bed->backend),
					     rp_vhu_backend_protocol_features(bed->backend));
}

static size_t
good_answer(const struct bed *bed, uint8_t *ret_bytes)
{
	const struct rp_vhu_header header = {.request = area_request(bed), .flags = 0x5, .size_bytes = 8};

	memcpy(ret_bytes, &header, sizeof(header));
	memset(ret_bytes + sizeof(header), 0, 8);
	return sizeof(header) + 8;
}

/* An answer that comes byte by byte is an answer; a channel that ends after any of them answers nothing. */
static void
answers_in_pieces(void **state)
{
	struct bed *bed = *state;
	uint8_t bytes[32];
	size_t size_bytes, cut, at;

	for (cut = 0; cut <= sizeof(struct rp_vhu_header) + 8; cut++) {
		bed_run(bed);
		assert_int_equal(offer(bed, 0, 5, NULL), 0);
		size_bytes = good_answer(bed, bytes);
		for (at = 0; at < cut; at++) {
			assert_int_equal(bed->replies_count, 0);
			assert_true(peer_send_bytes(bed->channel, bytes + at, 1, NULL, 0));
			bed_process(bed);
		}
		rp_wire_fd_close(&bed->channel);
		bed_process(bed);
		assert_replied(bed, 5, cut == size_bytes ? 0 : -ENOTCONN);
		assert_int_equal(bed->replies_count, 0);
		bed_assert_usable(bed);
		bed->refused_count = 0;
		bed_hang_up(bed);
		bed_attach(bed);
	}
}

/* No other number answers, whether it is one of the table, of another profile, or none. */
static void
every_other_number_is_a_lie(void **state)
{
	struct bed *bed = *state;
	const uint64_t zero = 0;
	uint32_t ids[24];
	unsigned int count = 0, i;

	for (i = 0; i < rp_vhu_msg_backend_rows_count + 2; i++)
		ids[count++] = i;
	ids[count++] = RP_VHU_BACKEND_VFIO_FILE;
	ids[count++] = RP_VHU_BACKEND_NOTIFY_AREA;
	ids[count++] = UINT32_MAX;
	for (i = 0; i < count; i++) {
		bed_run(bed);
		if (ids[i] != area_request(bed)) {
			assert_int_equal(offer(bed, 0, 6, NULL), 0);
			assert_true(peer_send(bed->channel, ids[i], 0x5, &zero, sizeof(zero), NULL, 0));
			bed_process(bed);
			bed_assert_refused(bed, -EPROTO, "backend channel: request");
			assert_replied(bed, 6, -ENOTCONN);
			bed_assert_usable(bed);
		}
		bed_hang_up(bed);
		bed_attach(bed);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BED(answers_come_in_order),
		WITH_BED(answers_that_lie),
		WITH_BED(an_answer_that_nobody_asked_for),
		WITH_BED(closed_with_requests_pending),
		WITH_BED(connection_lost_with_requests_pending),
		WITH_BED(another_channel),
		WITH_BED(what_must_be_negotiated),
		WITH_BED(only_for_a_started_ring),
		WITH_BED(five_hundred_and_twelve_may_wait),
		WITH_BED(a_channel_that_nobody_reads),
		WITH_BED(a_channel_that_is_read_late),
		WITH_BED(answers_with_descriptors),
		WITH_BED(a_kept_socket_does_not_keep_us_awake),
		WITH_BED(answers_in_pieces),
		WITH_PROFILE(answers_in_pieces, extended),
		WITH_PROFILE(answers_in_pieces, vfio2018),
		WITH_BED(every_other_number_is_a_lie),
		WITH_PROFILE(every_other_number_is_a_lie, extended),
		WITH_PROFILE(every_other_number_is_a_lie, vfio2018),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
