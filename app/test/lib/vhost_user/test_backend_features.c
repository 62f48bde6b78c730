/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "bed.h"
#include "rp_wire_fd.h"

static void
config_is_checked(void **state)
{
	const struct rp_vhu_backend_ops none = {0};
	const struct {
		struct rp_vhu_backend_config config;
		int error;
		const char *words;
	} cases[] = {
		{{.queues_max = 0}, -EINVAL, "queues_max"},
		{{.queues_max = 257}, -EINVAL, "queues_max"},
		{{.queues_max = 2, .queues_told = 3}, -EINVAL, "queues_told"},
		{{.queues_max = 2, .vring_num_max = 3}, -EINVAL, "vring_num_max"},
		{{.queues_max = 2, .protocol_features = 1ull << RP_VHU_PF_PAGEFAULT_BIT}, -EINVAL, "PAGEFAULT"},
		{{.queues_max = 2, .protocol_features = 1ull << RP_VHU_PF_INBAND_NOTIFICATIONS_BIT | 1ull << 40},
		 -EINVAL,
		 "protocol_features: not implemented in profile 'standard': INBAND_NOTIFICATIONS, bit 40"},
		{{.queues_max = 2, .profile = RP_VHU_PROFILE_STANDARD, .protocol_features = 1ull << RP_VHU_PF_VFIO_BIT},
		 -EINVAL,
		 "bit 62"},
		{{.queues_max = 2,
		  .profile = RP_VHU_PROFILE_VFIO2018,
		  .protocol_features = 1ull << RP_VHU_PF_HOST_NOTIFIER_BIT | 1ull << RP_VHU_PF_BACKEND_SEND_FD_BIT},
		 -EINVAL,
		 "profile 'vfio2018': BACKEND_SEND_FD, HOST_NOTIFIER"},
		{{.queues_max = 2, .profile = (enum rp_vhu_profile)3}, -EINVAL, "profile"},
		{{.queues_max = 2, .profile = RP_VHU_PROFILE_EXTENDED, .numbers = {.vfio_bit = 8}},
		 -EINVAL,
		 "vfio_bit"},
		{{.queues_max = 2, .numbers = {.vfio_bit = 60}}, -EINVAL, "has no numbers"},
	};
	struct rp_vhu_backend *backend = NULL;
	struct rp_wire_why why;
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(rp_vhu_backend_create(&cases[i].config, &none, NULL, &backend, &why), cases[i].error);
		assert_non_null(strstr(why.text, cases[i].words));
		assert_null(backend);
	}
	assert_null(rp_vhu_backend_destroy(NULL));
}

static void
only_what_was_offered_is_acked(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_diary(bed);
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x9, 1ull << 33);
	bed_assert_refused(bed, -EBADMSG, "SET_FEATURES: u64: 0x200000000 were not offered");
	assert_int_not_equal(bed_answer(bed, RP_VHU_SET_FEATURES), 0);
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x9, 1ull << RP_VHU_F_LOG_ALL_BIT);
	bed_assert_refused(bed, -EBADMSG, "0x4000000 were not offered");
	assert_int_not_equal(bed_answer(bed, RP_VHU_SET_FEATURES), 0);
	bed_send_u64(bed, RP_VHU_SET_PROTOCOL_FEATURES, 0x9, 1ull << RP_VHU_PF_XEN_MMAP_BIT);
	bed_assert_refused(bed, -EBADMSG, "SET_PROTOCOL_FEATURES: u64: XEN_MMAP not offered");
	assert_int_not_equal(bed_answer(bed, RP_VHU_SET_PROTOCOL_FEATURES), 0);
	assert_string_equal(bed_diary(bed), "");
	assert_int_equal(rp_vhu_backend_features(bed->backend), 1ull << 32 | 1ull << 30);
	assert_int_equal(rp_vhu_backend_protocol_features(bed->backend), BED_PROTOCOL_FEATURES);
}

static void
the_owner_may_refuse_features(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed->refuse_features = -ENOTSUP;
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x9, 1ull << 32 | 1ull << 30 | 1ull << 29);
	bed_assert_refused(bed, -ENOTSUP, "SET_FEATURES: the owner does not like it");
	assert_int_equal(bed_answer(bed, RP_VHU_SET_FEATURES), 1);
	assert_int_equal(rp_vhu_backend_features(bed->backend), 1ull << 32 | 1ull << 30);
}

/* VMMs send both once per queue pair, while the rings of the first pair run. */
static void
the_same_again_under_a_running_ring(void **state)
{
	struct bed *bed = *state;

	bed_run(bed);
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x9, 1ull << 32 | 1ull << 30);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_FEATURES), 0);
	bed_send_u64(bed, RP_VHU_SET_PROTOCOL_FEATURES, 0x9, BED_PROTOCOL_FEATURES);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_PROTOCOL_FEATURES), 0);
	bed_assert_nothing_refused(bed);
}

/* A ring cannot become a packed one while it runs. */
static void
other_features_under_a_running_ring(void **state)
{
	struct bed *bed = *state;
	uint32_t base;

	bed_run(bed);
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x9, 1ull << 34 | 1ull << 32 | 1ull << 30);
	bed_assert_refused(bed, -EBUSY, "SET_FEATURES: u64: 0x400000000 would change while ring 0 is started");
	assert_int_equal(bed_answer(bed, RP_VHU_SET_FEATURES), 1);
	bed_send_u64(bed, RP_VHU_SET_PROTOCOL_FEATURES, 0x9, BED_PROTOCOL_FEATURES & ~8ull);
	bed_assert_refused(bed, -EBUSY, "SET_PROTOCOL_FEATURES");
	assert_int_equal(bed_answer(bed, RP_VHU_SET_PROTOCOL_FEATURES), 1);
	base = bed_get_base(bed, 0);
	assert_int_equal(base, 0);
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x9, 1ull << 34 | 1ull << 32 | 1ull << 30);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_FEATURES), 0);
}

static void
another_offer(void **state)
{
	struct bed *bed = *state;

	rp_vhu_backend_set_offer(bed->backend, 1ull << 32);
	bed_send(bed, RP_VHU_GET_FEATURES, 0x1, NULL, 0);
	assert_int_equal(bed_answer(bed, RP_VHU_GET_FEATURES), 1ull << 32 | 1ull << 30);
}

/* No answer is what a frontend without REPLY_ACK expects, also when it asks. */
static void
no_ack_unless_negotiated(void **state)
{
	struct bed *bed = *state;

	bed_negotiate_without(bed, 1ull << RP_VHU_PF_REPLY_ACK_BIT);
	bed_send(bed, RP_VHU_SET_OWNER, 0x9, NULL, 0);
	assert_true(peer_silent(bed->peer));
	bed_send_state(bed, RP_VHU_SET_VRING_NUM, 0x9, 0, 3);
	bed_assert_refused(bed, -EBADMSG, "SET_VRING_NUM");
	assert_true(peer_silent(bed->peer));
	bed_assert_usable(bed);
}

static void
a_feature_that_was_not_negotiated(void **state)
{
	struct bed *bed = *state;

	bed_negotiate_without(bed, 1ull << RP_VHU_PF_STATUS_BIT | 1ull << RP_VHU_PF_MTU_BIT);
	bed_send_u64(bed, RP_VHU_NET_SET_MTU, 0x9, 1500);
	bed_assert_refused(bed, -ENOTSUP, "NET_SET_MTU: protocol feature 4 was not negotiated");
	assert_int_equal(bed_answer(bed, RP_VHU_NET_SET_MTU), 1);
	/* A request that is always answered gets an answer that is no value. */
	bed_send(bed, RP_VHU_GET_STATUS, 0x1, NULL, 0);
	bed_assert_refused(bed, -ENOTSUP, "GET_STATUS");
	{
		struct peer_msg msg;

		assert_true(peer_receive(bed->peer, &msg));
		assert_int_equal(msg.id, RP_VHU_GET_STATUS);
		assert_int_equal(msg.flags, 0x5);
		assert_int_equal(msg.size_bytes, 0);
	}
}

/* Rings first, then memory, then the word; all features forgotten. */
static void
the_order_of_an_end(void **state)
{
	struct bed *bed = *state;

	bed_run(bed);
	bed_hang_up(bed);
	assert_string_equal(bed_diary(bed), "stop:0 remove:40000000 gone ");
	assert_string_equal(bed->disconnected.text, "peer left");
	assert_int_equal(bed->disconnected.error, -ENOTCONN);
	bed_assert_nothing_refused(bed); /* an ordinary end is one line, not two */
	assert_int_equal(rp_vhu_backend_features(bed->backend), 0);
	assert_int_equal(rp_vhu_backend_protocol_features(bed->backend), 0);
	assert_int_equal(rp_vhu_backend_peer(bed->backend), 0);
	bed_process(bed); /* nothing to do is no error */
	bed_attach(bed);
	assert_true(rp_vhu_backend_peer(bed->backend) > 0);
	bed_run(bed);
	assert_int_equal(bed->disconnected_count, 1);
}

static void
one_frontend_at_a_time(void **state)
{
	struct bed *bed = *state;
	int ours, theirs;

	peer_pair(&ours, &theirs);
	assert_int_equal(rp_vhu_backend_attach(bed->backend, &theirs), -EBUSY);
	assert_true(theirs >= 0);
	rp_wire_fd_close(&ours);
	rp_wire_fd_close(&theirs);
	bed_assert_usable(bed);
}

static void
detach_inside_a_callback(void **state)
{
	struct bed *bed = *state;

	bed_run(bed);
	bed->detach_on_enable = true;
	bed_send_state(bed, RP_VHU_SET_VRING_ENABLE, 0x1, 0, 0);
	assert_string_equal(bed_diary(bed), "enable:0=0 stop:0 remove:40000000 gone ");
	assert_string_equal(bed->disconnected.text, "detached");
	assert_false(rp_vhu_backend_attached(bed->backend));
	assert_true(peer_closed(bed->peer));
}

/* Found by reading: it recursed until the stack ended. */
static void
detach_while_it_ends(void **state)
{
	struct bed *bed = *state;

	bed_run(bed);
	bed->detach_on_stop = true;
	rp_vhu_backend_detach(bed->backend);
	assert_string_equal(bed_diary(bed), "stop:0 remove:40000000 gone ");
	assert_int_equal(bed->disconnected_count, 1);
	rp_vhu_backend_detach(bed->backend);
	assert_int_equal(bed->disconnected_count, 1);
}

/* A frontend that asks and asks, but never reads, loses its connection and nobody else's time. */
static void
a_frontend_that_never_reads(void **state)
{
	struct bed *bed = *state;
	unsigned int i;

	bed_negotiate(bed);
	for (i = 0; i < 100000 && rp_vhu_backend_attached(bed->backend); i++) {
		peer_send(bed->peer, RP_VHU_GET_FEATURES, 0x1, NULL, 0, NULL, 0);
		bed_process(bed);
	}
	assert_true(i < 100000);
	assert_string_equal(bed->disconnected.text, "the frontend does not read its answers");
}

/* Answers that were queued for a slow frontend all come, and then nothing keeps the loop awake. */
static void
a_frontend_that_reads_late(void **state)
{
	struct bed *bed = *state;
	unsigned int sent, got = 0;

	for (sent = 0; sent < 2000; sent++)
		bed_send(bed, RP_VHU_GET_FEATURES, 0x1, NULL, 0);
	while (got < sent) {
		got += peer_drain(bed->peer);
		bed_process(bed);
	}
	assert_int_equal(got, sent);
	assert_false(peer_readable(rp_vhu_backend_fd(bed->backend)));
}

static void
half_a_message_and_gone(void **state)
{
	struct bed *bed = *state;
	uint8_t bytes[16];
	size_t cut;

	peer_fields("00000005 00000009 00000028 00000001", bytes, sizeof(bytes));
	for (cut = 1; cut <= sizeof(bytes); cut++) {
		assert_true(peer_send_bytes(bed->peer, bytes, cut, &bed->memory_fd, 1));
		bed_process(bed);
		assert_true(rp_vhu_backend_attached(bed->backend));
		bed_hang_up(bed);
		assert_string_equal(bed->disconnected.text, "peer left in the middle of a message");
		bed_attach(bed);
	}
	bed_assert_nothing_refused(bed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_is_checked),
		WITH_BED(only_what_was_offered_is_acked),
		WITH_BED(the_owner_may_refuse_features),
		WITH_BED(the_same_again_under_a_running_ring),
		WITH_BED(other_features_under_a_running_ring),
		WITH_BED(another_offer),
		WITH_BED(no_ack_unless_negotiated),
		WITH_BED(a_feature_that_was_not_negotiated),
		WITH_BED(the_order_of_an_end),
		WITH_BED(one_frontend_at_a_time),
		WITH_BED(detach_inside_a_callback),
		WITH_BED(detach_while_it_ends),
		WITH_BED(a_frontend_that_never_reads),
		WITH_BED(a_frontend_that_reads_late),
		WITH_BED(half_a_message_and_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
