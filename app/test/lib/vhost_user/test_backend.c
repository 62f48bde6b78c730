/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "bed.h"
#include "rp_wire_fd.h"

/* One connection after another: what belongs to a connection ends with it. */

#define LOG_ALL (1ull << RP_VHU_F_LOG_ALL_BIT)

static uint64_t
get(struct bed *bed, uint32_t id)
{
	bed_send(bed, id, 0x1, NULL, 0);
	return bed_answer(bed, id);
}

static void
reconnect(struct bed *bed)
{
	bed_hang_up(bed);
	bed_attach(bed);
}

static void
what_was_said_ends_with_the_connection(void **state)
{
	struct bed *bed = *state;
	struct rp_vhu_vring vring;

	bed_run(bed);
	bed_send_u64(bed, RP_VHU_SET_STATUS, 0x1, 15);
	assert_int_equal(get(bed, RP_VHU_GET_STATUS), 15);
	reconnect(bed);
	assert_int_equal(rp_vhu_backend_vring(bed->backend, 0, &vring), 0);
	assert_int_equal(vring.num, 0);
	bed_send_u64(bed, RP_VHU_SET_PROTOCOL_FEATURES, 0x1, BED_PROTOCOL_FEATURES);
	assert_int_equal(get(bed, RP_VHU_GET_STATUS), 0);
}

/* Rings are born enabled for a frontend that acked features without PROTOCOL_FEATURES; the one after it has acked none. */
static void
nobody_inherits_an_enabled_ring(void **state)
{
	struct bed *bed = *state;

	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x1, 1ull << 32);
	reconnect(bed);
	bed_memory(bed);
	bed_ring_describe(bed, 0);
	bed_diary(bed);
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x1, 0);
	assert_string_equal(bed_diary(bed), "start:0@0(disabled) ");
}

/* Hanging up inside a callback ends this connection, not the next one. */
static void
detached_once_is_not_detached_twice(void **state)
{
	struct bed *bed = *state;

	bed_run(bed);
	bed->detach_on_enable = true;
	bed_send_state(bed, RP_VHU_SET_VRING_ENABLE, 0x1, 0, 0);
	assert_false(rp_vhu_backend_attached(bed->backend));
	bed->detach_on_enable = false;
	reconnect(bed);
	bed_run(bed);
	assert_true(rp_vhu_backend_attached(bed->backend));
}

static void
only_a_socket_is_attached(void **state)
{
	struct bed *bed = *state;
	int fd = peer_eventfd(), none = -1;

	bed_hang_up(bed);
	assert_int_equal(rp_vhu_backend_attach(bed->backend, &fd), -EINVAL);
	assert_true(fd >= 0);
	assert_int_equal(rp_vhu_backend_attach(bed->backend, &none), -EINVAL);
	assert_false(rp_vhu_backend_attached(bed->backend));
	rp_wire_fd_close(&fd);
}

/* A frontend that never stops talking leaves time for others: the rest is served by the next call. */
static void
some_messages_at_once(void **state)
{
	struct bed *bed = *state;
	unsigned int calls, served = 0, i;

	for (i = 0; i < 250; i++)
		assert_true(peer_send(bed->peer, RP_VHU_GET_FEATURES, 0x1, NULL, 0, NULL, 0));
	/* 64, and those that were read with the last of them: 2 KiB at most. */
	for (calls = 0; served < 250 && calls < 20; calls++) {
		unsigned int now;

		assert_true(peer_readable(rp_vhu_backend_fd(bed->backend)));
		bed_process(bed);
		now = peer_drain(bed->peer);
		assert_in_range(now, 1, 64 + 2048 / 12);
		served += now;
	}
	assert_int_equal(served, 250);
	assert_in_range(calls, 2, 4);
}

/* A frontend repeats what it acked at every reset: what it was offered once holds for its life. */
static void
another_offer_is_for_the_next(void **state)
{
	struct bed *bed = *state;
	const uint64_t was = BED_FEATURES | 1ull << 30, now = 1ull << 32 | 1ull << 30;

	assert_int_equal(get(bed, RP_VHU_GET_FEATURES), was);
	rp_vhu_backend_set_offer(bed->backend, 1ull << 32);
	assert_int_equal(get(bed, RP_VHU_GET_FEATURES), was);
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x1, was);
	bed_assert_nothing_refused(bed);
	reconnect(bed);
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x1, was);
	bed_assert_refused(bed, -EBADMSG, "SET_FEATURES: u64: 0x430000000 were not offered");
	assert_int_equal(get(bed, RP_VHU_GET_FEATURES), now);
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x1, now);
	bed_assert_nothing_refused(bed);
	reconnect(bed);
	rp_vhu_backend_set_offer(bed->backend, BED_FEATURES); /* this one has not asked yet */
	assert_int_equal(get(bed, RP_VHU_GET_FEATURES), was);
}

/* The one bit that may change under a running ring, if the owner offers it. */
static void
logging_begins_and_ends_under_a_running_ring(void **state)
{
	const uint64_t acked = 1ull << 32 | 1ull << 30;
	struct bed *bed = *state;

	rp_vhu_backend_set_offer(bed->backend, BED_FEATURES | LOG_ALL);
	bed_run(bed);
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x9, acked | LOG_ALL);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_FEATURES), 0);
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x9, acked);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_FEATURES), 0);
	assert_string_equal(bed_diary(bed), "features:144000000 features:140000000 ");
	/* Not together with another one. */
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x9, acked | LOG_ALL | 1ull << 29);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_FEATURES), 1);
	bed_assert_refused(bed, -EBUSY, "0x20000000 would change");
}

/* The specification says queues, and a net device's frontend reads pairs: the owner knows which it is. */
static void
the_number_of_queues_is_the_owners_word(void **state)
{
	static const struct {
		uint16_t queues_max, told, answer;
	} cases[] = {{4, 0, 4}, {4, 2, 2}, {4, 4, 4}};
	static const struct rp_vhu_backend_ops none;
	struct bed *bed = *state;
	unsigned int i;

	rp_vhu_backend_destroy(bed->backend);
	for (i = 0; i < 3; i++) {
		const struct rp_vhu_backend_config config = {
			.protocol_features = 1ull << RP_VHU_PF_MQ_BIT,
			.queues_max = cases[i].queues_max,
			.queues_told = cases[i].told,
		};

		assert_int_equal(rp_vhu_backend_create(&config, &none, NULL, &bed->backend, NULL), 0);
		rp_wire_fd_close(&bed->peer);
		bed_attach(bed);
		bed_send_u64(bed, RP_VHU_SET_PROTOCOL_FEATURES, 0x1, 1ull << RP_VHU_PF_MQ_BIT);
		assert_int_equal(get(bed, RP_VHU_GET_QUEUE_NUM), cases[i].answer);
		rp_vhu_backend_destroy(bed->backend);
	}
	bed->backend = NULL;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BED(what_was_said_ends_with_the_connection),
		WITH_BED(nobody_inherits_an_enabled_ring),
		WITH_BED(detached_once_is_not_detached_twice),
		WITH_BED(only_a_socket_is_attached),
		WITH_BED(some_messages_at_once),
		WITH_BED(another_offer_is_for_the_next),
		WITH_BED(logging_begins_and_ends_under_a_running_ring),
		WITH_BED(the_number_of_queues_is_the_owners_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
