/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <unistd.h>

#include "desk.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"

static void
create_is_checked(void **state)
{
	struct rp_vhu_frontend_config config = desk_config;
	struct rp_vhu_frontend *frontend = NULL;
	int ours, theirs, no_socket = peer_eventfd();

	(void)state;
	peer_pair(&ours, &theirs);
	assert_int_equal(rp_vhu_frontend_create(&no_socket, &config, NULL, NULL, &frontend), -EINVAL);
	assert_true(no_socket >= 0);
	rp_wire_fd_close(&no_socket);
	config.queues_max = 0;
	assert_int_equal(rp_vhu_frontend_create(&ours, &config, NULL, NULL, &frontend), -EINVAL);
	config.queues_max = 257;
	assert_int_equal(rp_vhu_frontend_create(&ours, &config, NULL, NULL, &frontend), -EINVAL);
	config = desk_config;
	config.timeout_ms = UINT32_MAX;
	assert_int_equal(rp_vhu_frontend_create(&ours, &config, NULL, NULL, &frontend), -EINVAL);
	config = desk_config;
	config.profile = (enum rp_vhu_profile)3;
	assert_int_equal(rp_vhu_frontend_create(&ours, &config, NULL, NULL, &frontend), -EINVAL);
	config.profile = RP_VHU_PROFILE_STANDARD;
	config.numbers.vfio_bit = 61;
	assert_int_equal(rp_vhu_frontend_create(&ours, &config, NULL, NULL, &frontend), -EINVAL);
	assert_null(frontend);
	assert_true(ours >= 0);
	rp_wire_fd_close(&ours);
	rp_wire_fd_close(&theirs);
	assert_null(rp_vhu_frontend_destroy(NULL));
}

static void
negotiates_as_qemu_does(void **state)
{
	struct desk *desk = *state;

	desk_negotiate(desk);
	assert_int_equal(rp_vhu_frontend_features_offered(desk->frontend), DESK_FEATURES);
	assert_int_equal(rp_vhu_frontend_protocol_features(desk->frontend), DESK_PROTOCOL_FEATURES);
	assert_int_equal(rp_vhu_frontend_queues_offered(desk->frontend), DESK_QUEUES);
	desk_expect_no_more(desk);
	assert_true(peer_silent(desk->channel));
}

/* A backend of old: no protocol features, hence no channel and no acknowledgements; GET_FEATURES is the fence. */
static void
without_protocol_features(void **state)
{
	struct desk *desk = *state;
	unsigned int i;

	for (i = 0; i < 3; i++)
		desk_answer_u64(desk, RP_VHU_GET_FEATURES, 1ull << 32);
	assert_int_equal(rp_vhu_frontend_negotiate(desk->frontend, NULL), 0);
	assert_int_equal(rp_vhu_frontend_queues_offered(desk->frontend), 1);
	assert_int_equal(rp_vhu_frontend_set_features(desk->frontend, 1ull << 32, NULL), 0);
	desk_expect(desk, RP_VHU_GET_FEATURES, 0x1);
	desk_expect(desk, RP_VHU_SET_OWNER, 0x1);
	desk_expect(desk, RP_VHU_GET_FEATURES, 0x1);
	desk_expect(desk, RP_VHU_SET_FEATURES, 0x1);
	desk_expect(desk, RP_VHU_GET_FEATURES, 0x1);
	assert_int_equal(rp_vhu_frontend_reset_device(desk->frontend, NULL), -ENOTSUP);
	desk_expect_no_more(desk);
}

/* Bits that we do not know are not acked, whatever is offered and whatever our owner would ack. */
static void
acks_no_more_than_it_can_do(void **state)
{
	struct desk *desk = *state;
	struct rp_vhu_frontend_config config = desk_config;

	desk_close(desk);
	config.protocol_features = UINT64_MAX;
	desk_open(desk, &config);
	desk_answer_u64(desk, RP_VHU_GET_FEATURES, DESK_FEATURES);
	desk_answer_u64(desk, RP_VHU_GET_PROTOCOL_FEATURES, UINT64_MAX);
	desk_answer_u64(desk, RP_VHU_GET_QUEUE_NUM, 1);
	desk_answer_u64(desk, RP_VHU_SET_BACKEND_REQ_FD, 0);
	desk_answer_u64(desk, RP_VHU_SET_OWNER, 0);
	assert_int_equal(rp_vhu_frontend_negotiate(desk->frontend, NULL), 0);
	assert_int_equal(rp_vhu_frontend_protocol_features(desk->frontend),
			 0x11be3full); /* the bits that this library implements */
}

static void
acks_no_more_than_it_was_told_to(void **state)
{
	struct desk *desk = *state;

	desk_answer_u64(desk, RP_VHU_GET_FEATURES, DESK_FEATURES);
	desk_answer_u64(desk, RP_VHU_GET_PROTOCOL_FEATURES, UINT64_MAX);
	desk_answer_u64(desk, RP_VHU_GET_QUEUE_NUM, 1);
	desk_answer_u64(desk, RP_VHU_SET_BACKEND_REQ_FD, 0);
	desk_answer_u64(desk, RP_VHU_SET_OWNER, 0);
	assert_int_equal(rp_vhu_frontend_negotiate(desk->frontend, NULL), 0);
	assert_int_equal(rp_vhu_frontend_protocol_features(desk->frontend), DESK_PROTOCOL_FEATURES);
	assert_int_equal(rp_vhu_frontend_queues_offered(desk->frontend), 1);
}

static void
refusals_have_a_name(void **state)
{
	struct desk *desk = *state;
	struct rp_wire_why why = {0};
	uint8_t byte;

	desk_negotiate(desk);
	desk_answer_u64(desk, RP_VHU_SET_FEATURES, 1);
	assert_int_equal(rp_vhu_frontend_set_features(desk->frontend, 1, &why), -EREMOTEIO);
	assert_string_equal(why.text, "SET_FEATURES: refused by the backend");
	/* A GET that is refused has an empty answer. */
	desk_answer(desk, RP_VHU_GET_CONFIG, NULL, 0);
	assert_int_equal(rp_vhu_frontend_get_config(desk->frontend, 0, 1, &byte, &why), -EREMOTEIO);
	assert_string_equal(why.text, "GET_CONFIG: refused by the backend");
	assert_int_equal(rp_vhu_frontend_get_config(desk->frontend, 256, 1, &byte, &why), -EINVAL);
	assert_non_null(strstr(why.text, "GET_CONFIG: config: offset 256"));
	assert_null(strstr(why.text, "GET_CONFIG: GET_CONFIG"));
	assert_int_equal(rp_vhu_frontend_get_config(desk->frontend, 0, 257, &byte, &why), -EINVAL);
	assert_int_equal(rp_vhu_frontend_set_mem_table(desk->frontend, NULL, 0, &why), -EINVAL);
	assert_int_equal(rp_vhu_frontend_ring_enable(desk->frontend, DESK_QUEUES, true, &why), -EINVAL);
	assert_int_equal(rp_vhu_frontend_ring_call(desk->frontend, 256, -1, &why), -EINVAL);
	assert_int_equal(rp_vhu_frontend_ring_stop(desk->frontend, DESK_QUEUES, NULL, &why), -EINVAL);
	assert_int_equal(rp_vhu_frontend_submit(desk->frontend, 77, NULL, 0, NULL, 0, false, NULL, NULL, &why),
			 -ENOTSUP);
	assert_int_equal(
		rp_vhu_frontend_submit(desk->frontend, RP_VHU_SET_VRING_NUM, NULL, 0, NULL, 0, false, NULL, NULL, &why),
		-EINVAL);
	desk_expect(desk, RP_VHU_SET_FEATURES, 0x9);
	desk_expect(desk, RP_VHU_GET_CONFIG, 0x1);
	desk_expect_no_more(desk);
}

static void
configuration_space(void **state)
{
	struct desk *desk = *state;
	struct rp_vhu_wire_config config = {.offset_bytes = 2, .size_bytes = 2};
	uint8_t answer[14], bytes[2];
	struct rp_wire_why why = {0};

	memcpy(answer, &config, sizeof(config));
	answer[12] = 0xaa;
	answer[13] = 0xbb;
	desk_negotiate(desk);
	desk_answer(desk, RP_VHU_GET_CONFIG, answer, sizeof(answer));
	assert_int_equal(rp_vhu_frontend_get_config(desk->frontend, 2, 2, bytes, &why), 0);
	assert_int_equal(bytes[1], 0xbb);
	desk_answer(desk, RP_VHU_GET_CONFIG, answer, sizeof(answer));
	assert_int_equal(rp_vhu_frontend_get_config(desk->frontend, 4, 2, bytes, &why), -EBADMSG);
	assert_string_equal(why.text, "GET_CONFIG: answer: not the offset and size that were asked");
	desk_answer(desk, RP_VHU_GET_CONFIG, answer, 13);
	assert_int_equal(rp_vhu_frontend_get_config(desk->frontend, 2, 2, bytes, &why), -EBADMSG);
	assert_string_equal(why.text, "GET_CONFIG: answer: 13 bytes, expected 14");
}

/* Longer than any answer we can have asked for. */
static void
an_answer_that_is_too_long(void **state)
{
	static const uint8_t zeros[512];
	struct desk *desk = *state;
	struct rp_wire_why why = {0};
	uint8_t bytes[2];
	uint32_t base = 55;

	desk_negotiate(desk);
	desk_answer(desk, RP_VHU_GET_CONFIG, zeros, sizeof(zeros));
	assert_int_equal(rp_vhu_frontend_get_config(desk->frontend, 2, 2, bytes, &why), -EBADMSG);
	desk_answer(desk, RP_VHU_GET_VRING_BASE, zeros, sizeof(zeros));
	assert_int_equal(rp_vhu_frontend_ring_stop(desk->frontend, 0, &base, &why), -EBADMSG);
	assert_int_equal(base, 55);
}

static void
a_ring_that_is_another(void **state)
{
	const struct rp_vhu_wire_vring_state other = {.index = 1, .num = 3};
	struct desk *desk = *state;
	struct rp_wire_why why = {0};
	uint32_t base = 55;

	desk_negotiate(desk);
	desk_ring_start(desk, 0);
	desk_answer(desk, RP_VHU_GET_VRING_BASE, &other, sizeof(other));
	assert_int_equal(rp_vhu_frontend_ring_stop(desk->frontend, 0, &base, &why), -EBADMSG);
	assert_string_equal(why.text, "GET_VRING_BASE: answer: ring 1, expected 0");
	assert_int_equal(base, 55);
}

/* For a backend that is not going to answer. */
static void
in_a_hurry(struct desk *desk)
{
	struct rp_vhu_frontend_config config = desk_config;

	config.timeout_ms = DESK_SHORT_TIMEOUT_MS;
	desk_close(desk);
	desk_open(desk, &config);
	desk_negotiate(desk);
}

/* Whatever comes later would be taken for the answer to something else: the connection ends. */
static void
no_answer_in_time(void **state)
{
	struct desk *desk = *state;
	struct rp_wire_why why = {0};
	uint64_t before_ms, took_ms;

	in_a_hurry(desk);
	before_ms = rp_wire_clock_ms();
	assert_int_equal(rp_vhu_frontend_set_features(desk->frontend, 0, &why), -ETIMEDOUT);
	took_ms = rp_wire_clock_ms() - before_ms;
	assert_string_equal(why.text, "SET_FEATURES: no answer within 500 ms");
	assert_true(took_ms >= DESK_SHORT_TIMEOUT_MS);
	assert_int_equal(desk->disconnected_count, 1);
	assert_int_equal(rp_vhu_frontend_set_features(desk->frontend, 0, &why), -ENOTCONN);
	desk_expect(desk, RP_VHU_SET_FEATURES, 0x9);
}

/* Its messages are served in portions, so that our own time limit holds. */
static void
a_backend_that_never_stops_talking(void **state)
{
	struct desk *desk = *state;
	struct rp_wire_why why = {0};
	unsigned int i;

	in_a_hurry(desk);
	for (i = 0; i < 200; i++)
		assert_true(peer_send(desk->channel, 2, 0x1, NULL, 0, NULL, 0));
	assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
	assert_int_equal(strlen(desk_diary(desk)), 64 * strlen("config:0 "));
	assert_int_equal(rp_vhu_frontend_set_features(desk->frontend, 0, &why), -ETIMEDOUT);
	assert_int_equal(rp_vhu_frontend_process(desk->frontend), -ENOTCONN);
}

struct answers {
	unsigned int count;
	int errors[80];
};

static void
on_done(void *ctx, int error, const void *payload, uint32_t size_bytes, int *fds, unsigned int fds_count)
{
	struct answers *answers = ctx;

	(void)fds, (void)fds_count;
	assert_true(error == 0 || (payload == NULL && size_bytes == 0));
	answers->errors[answers->count++] = error;
}

static int
ask(struct desk *desk, uint32_t id, struct answers *answers)
{
	return rp_vhu_frontend_submit(desk->frontend, id, NULL, 0, NULL, 0, true, on_done, answers, NULL);
}

static void
answers_come_in_order_and_once(void **state)
{
	struct desk *desk = *state;
	struct answers answers = {0};
	const uint64_t five = 5;
	unsigned int i;

	desk_negotiate(desk);
	assert_int_equal(ask(desk, RP_VHU_SET_OWNER, &answers), 0);
	assert_int_equal(ask(desk, RP_VHU_GET_STATUS, &answers), 0);
	assert_int_equal(ask(desk, RP_VHU_SET_OWNER, &answers), 0);
	assert_true(peer_send(desk->peer, RP_VHU_SET_OWNER, 0x5, &five, sizeof(five), NULL, 0));
	assert_true(peer_send(desk->peer, RP_VHU_GET_STATUS, 0x5, &five, sizeof(five), NULL, 0));
	assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
	assert_int_equal(answers.count, 2);
	assert_int_equal(answers.errors[0], -EREMOTEIO);
	assert_int_equal(answers.errors[1], 0);
	for (i = 1; i < 64; i++)
		assert_int_equal(ask(desk, RP_VHU_SET_OWNER, &answers), 0);
	assert_int_equal(ask(desk, RP_VHU_SET_OWNER, &answers), -ENOSPC);
	desk_hang_up(desk);
	assert_int_equal(rp_vhu_frontend_process(desk->frontend), -ENOTCONN);
	assert_int_equal(answers.count, 66);
	for (i = 2; i < 66; i++)
		assert_int_equal(answers.errors[i], -ENOTCONN);
	assert_int_equal(ask(desk, RP_VHU_SET_OWNER, &answers), -ENOTCONN);
	assert_int_equal(answers.count, 66);
}

/* No answer that we ask for has descriptors: nobody takes them, they are closed. */
static void
answers_with_descriptors(void **state)
{
	const uint64_t zero = 0;
	struct desk *desk = *state;
	struct answers answers = {0};
	struct test_leaks before;
	unsigned int i;

	desk_negotiate(desk);
	test_leaks_read(&before);
	for (i = 0; i < 3; i++) {
		int fds[] = {desk->area_fd, desk->kick_fd};

		assert_int_equal(ask(desk, RP_VHU_SET_OWNER, &answers), 0);
		desk_expect(desk, RP_VHU_SET_OWNER, 0x9);
		assert_true(peer_send(desk->peer, RP_VHU_SET_OWNER, 0x5, &zero, sizeof(zero), fds, 2));
		assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
		assert_int_equal(answers.errors[i], 0);
		test_leaks_assert_none(&before);
	}
}

static void
lie(struct desk *desk, uint32_t id, uint32_t flags, uint32_t size_bytes, const char *words)
{
	static const uint8_t zeros[4097];
	struct answers answers = {0};

	desk_negotiate(desk);
	assert_int_equal(ask(desk, RP_VHU_SET_OWNER, &answers), 0);
	assert_true(peer_send(desk->peer, id, flags, zeros, size_bytes, NULL, 0));
	assert_int_equal(rp_vhu_frontend_process(desk->frontend), -ENOTCONN);
	assert_int_equal(answers.count, 1);
	assert_int_equal(answers.errors[0], -ENOTCONN);
	assert_int_equal(desk->disconnected.error, -EPROTO);
	assert_non_null(strstr(desk->disconnected.text, words));
	desk_close(desk);
	desk_open(desk, &desk_config);
}

static void
answers_that_lie(void **state)
{
	struct desk *desk = *state;
	const uint64_t zero = 0;

	lie(desk, RP_VHU_GET_STATUS, 0x5, 8, "an answer to request 40, expected one to 3");
	lie(desk, RP_VHU_SET_OWNER, 0x1, 8, "request 3, flags 0x1: nothing like it was asked");
	lie(desk, RP_VHU_SET_OWNER, 0x5, 0, "an acknowledgement of 0 bytes, expected 8");
	lie(desk, RP_VHU_SET_OWNER, 0x5, 9, "an acknowledgement of 9 bytes");
	lie(desk, RP_VHU_SET_OWNER, 0x4, 8, "expected version 1");
	lie(desk, RP_VHU_SET_OWNER, 0x5, 4097, "payload of 4097 bytes");
	desk_negotiate(desk);
	assert_true(peer_send(desk->peer, RP_VHU_SET_OWNER, 0x5, &zero, sizeof(zero), NULL, 0));
	assert_int_equal(rp_vhu_frontend_process(desk->frontend), -ENOTCONN);
	assert_non_null(strstr(desk->disconnected.text, "nothing like it was asked"));
}

static void
queue_counts_that_lie(void **state)
{
	static const uint64_t counts[] = {0, 257, UINT64_MAX};
	struct desk *desk = *state;
	struct rp_wire_why why;
	unsigned int i;

	for (i = 0; i < 3; i++) {
		desk_answer_u64(desk, RP_VHU_GET_FEATURES, DESK_FEATURES);
		desk_answer_u64(desk, RP_VHU_GET_PROTOCOL_FEATURES, DESK_PROTOCOL_FEATURES);
		desk_answer_u64(desk, RP_VHU_GET_QUEUE_NUM, counts[i]);
		assert_int_equal(rp_vhu_frontend_negotiate(desk->frontend, &why), -EBADMSG);
		assert_non_null(strstr(why.text, "GET_QUEUE_NUM: "));
		desk_close(desk);
		desk_open(desk, &desk_config);
	}
}

/* It would read answers behind the back of the message that is being handled. */
static void
a_callback_cannot_wait(void **state)
{
	struct desk *desk = *state;

	desk_negotiate(desk);
	desk->wait_in_callback = true;
	assert_true(peer_send(desk->channel, 2, 0x9, NULL, 0, NULL, 0));
	assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
	assert_string_equal(desk_diary(desk), "config:0 ");
	assert_int_equal(desk->wait_result, -EBUSY);
	assert_int_equal(peer_drain(desk->channel), 1);
	desk_expect_no_more(desk);
}

static void
negotiating_twice_keeps_the_channel(void **state)
{
	struct desk *desk = *state;

	desk_negotiate(desk);
	desk_answer_u64(desk, RP_VHU_GET_FEATURES, DESK_FEATURES);
	desk_answer_u64(desk, RP_VHU_GET_PROTOCOL_FEATURES, DESK_PROTOCOL_FEATURES);
	desk_answer_u64(desk, RP_VHU_GET_QUEUE_NUM, DESK_QUEUES);
	desk_answer_u64(desk, RP_VHU_SET_OWNER, 0);
	assert_int_equal(rp_vhu_frontend_negotiate(desk->frontend, NULL), 0);
	assert_true(peer_send(desk->channel, 2, 0x9, NULL, 0, NULL, 0));
	assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
	assert_int_equal(peer_drain(desk->channel), 1);
}

/* As QEMU 11 does. */
static void
asks_for_every_answer(void **state)
{
	const struct rp_vhu_frontend_ring ring = {.num = 256, .kick_fd = -1, .call_fd = -1};
	struct desk *desk = *state;
	struct rp_vhu_frontend_config config = desk_config;
	static const uint32_t ids[] = {RP_VHU_SET_VRING_NUM, RP_VHU_SET_VRING_BASE, RP_VHU_SET_VRING_ADDR,
				       RP_VHU_SET_VRING_KICK, RP_VHU_SET_VRING_CALL};
	unsigned int i;

	desk_close(desk);
	config.need_reply_always = true;
	desk_open(desk, &config);
	desk_negotiate(desk);
	for (i = 0; i < 5; i++)
		desk_answer_u64(desk, ids[i], 0);
	assert_int_equal(rp_vhu_frontend_ring_start(desk->frontend, 0, &ring, NULL), 0);
	for (i = 0; i < 5; i++)
		desk_expect(desk, ids[i], 0x9);
	assert_int_equal(rp_vhu_frontend_kick(desk->frontend, 0), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(create_is_checked),
		WITH_DESK(negotiates_as_qemu_does),
		WITH_DESK(without_protocol_features),
		WITH_DESK(acks_no_more_than_it_can_do),
		WITH_DESK(acks_no_more_than_it_was_told_to),
		WITH_DESK(refusals_have_a_name),
		WITH_DESK(configuration_space),
		WITH_DESK(an_answer_that_is_too_long),
		WITH_DESK(a_ring_that_is_another),
		WITH_DESK(no_answer_in_time),
		WITH_DESK(a_backend_that_never_stops_talking),
		WITH_DESK(answers_come_in_order_and_once),
		WITH_DESK(answers_with_descriptors),
		WITH_DESK(answers_that_lie),
		WITH_DESK(queue_counts_that_lie),
		WITH_DESK(a_callback_cannot_wait),
		WITH_DESK(negotiating_twice_keeps_the_channel),
		WITH_DESK(asks_for_every_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
