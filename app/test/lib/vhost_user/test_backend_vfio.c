/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "bed.h"
#include "rp_wire_fd.h"

/* Notify areas and VFIO files in the three profiles. Numbers are typed here a second time. */

#define VFIO_BIT 62
#define VFIO2018_BIT 8

static int
offer(struct bed *bed, unsigned int queue, uint64_t token, struct rp_wire_why *why)
{
	return rp_vhu_backend_notify_area_set(bed->backend, queue, bed->memory_fd, 0x3000, 0x1000, token, why);
}

static int
give_file(struct bed *bed, unsigned int queue, enum rp_vhu_vfio_type type, struct rp_wire_why *why)
{
	return rp_vhu_backend_vfio_file_set(bed->backend, queue, bed->memory_fd, type, 7, why);
}

static int
take_file(struct bed *bed, unsigned int queue, struct rp_wire_why *why)
{
	return rp_vhu_backend_vfio_file_clear(bed->backend, queue, 8, why);
}

/* The next request on the channel: its number, every byte of it, and how many descriptors. */
static void
assert_sent(struct bed *bed, uint32_t id, const char *fields, unsigned int fds_count)
{
	struct peer_msg msg;
	uint8_t bytes[64];
	size_t size_bytes = peer_fields(fields, bytes, sizeof(bytes));

	assert_true(peer_receive(bed->channel, &msg));
	assert_int_equal(msg.id, id);
	assert_int_equal(msg.flags, 0x9);
	assert_int_equal(msg.size_bytes, size_bytes);
	assert_memory_equal(msg.payload, bytes, size_bytes);
	assert_int_equal(msg.fds_count, fds_count);
	peer_msg_close(&msg);
}

static void
reply(struct bed *bed, uint32_t id, uint64_t value, uint64_t token, int error)
{
	assert_true(peer_send(bed->channel, id, 0x5, &value, sizeof(value), NULL, 0));
	bed_process(bed);
	bed_assert_nothing_refused(bed);
	assert_int_equal(bed->replies_count, 1);
	assert_int_equal(bed->replies[0].token, token);
	assert_int_equal(bed->replies[0].error, error);
	bed->replies_count = 0;
}

/* Both requests, set and taken back, and their answers. `area` and `file` are the numbers they must have. */
static void
both_requests(struct bed *bed, uint32_t area, uint32_t file, const char *group, const char *none)
{
	bed_run(bed);
	assert_int_equal(give_file(bed, 2, RP_VHU_VFIO_GROUP, NULL), 0);
	assert_sent(bed, file, group, 1);
	reply(bed, file, 0, 7, 0);
	assert_int_equal(offer(bed, 0, 9, NULL), 0);
	assert_sent(bed, area, "0000000000000000 0000000000001000 0000000000003000", 1);
	reply(bed, area, 1, 9, -EREMOTEIO);
	assert_int_equal(rp_vhu_backend_notify_area_clear(bed->backend, 3, 10, NULL), 0);
	assert_sent(bed, area, "0000000000000103 0000000000000000 0000000000000000", 0);
	reply(bed, area, 0, 10, 0);
	assert_int_equal(take_file(bed, 2, NULL), 0);
	assert_sent(bed, file, none, 0);
	reply(bed, file, 1, 8, -EREMOTEIO);
	assert_true(peer_silent(bed->channel));
}

static void
extended_has_its_own_numbers(void **state)
{
	struct bed *bed = *state;

	both_requests(bed, 0x5601, 0x5600, "0000000000000002 0000000000000000", "0000000000000102 0000000000000000");
	assert_int_equal(give_file(bed, 1, RP_VHU_VFIO_CDEV, NULL), 0);
	assert_sent(bed, 0x5600, "0000000000000001 0000000000000001", 1);
}

static void
vfio2018_has_three_and_four(void **state)
{
	struct bed *bed = *state;
	struct rp_wire_why why;

	both_requests(bed, 4, 3, "0000000000000002", "0000000000000102");
	assert_int_equal(give_file(bed, 1, RP_VHU_VFIO_CDEV, &why), -ENOTSUP);
	assert_string_equal(why.text, "profile 'vfio2018' knows VFIO groups only");
}

static void
numbers_may_be_chosen(void **state)
{
	struct rp_vhu_backend_config config = bed_config();
	struct bed *bed = *state;

	config.profile = RP_VHU_PROFILE_EXTENDED;
	config.numbers =
		(struct rp_vhu_numbers){.vfio_bit = 40, .vfio_file_request = 70000, .notify_area_request = 70001};
	bed_remake(bed, &config);
	assert_int_equal(bed->protocol_features, BED_PROTOCOL_FEATURES | 1ull << 40);
	both_requests(bed, 70001, 70000, "0000000000000002 0000000000000000", "0000000000000102 0000000000000000");
}

/* A VMM that knows nothing of the extension is served as in profile standard. */
static void
extended_without_its_bit_is_standard(void **state)
{
	struct bed *bed = *state;
	struct rp_wire_why why;

	bed_negotiate_without(bed, 1ull << VFIO_BIT);
	bed_memory(bed);
	bed_ring_start(bed, 0);
	assert_int_equal(offer(bed, 0, 1, &why), 0);
	assert_sent(bed, 3, "0000000000000000 0000000000001000 0000000000003000", 1);
	assert_int_equal(give_file(bed, 0, RP_VHU_VFIO_GROUP, &why), -ENOTSUP);
	assert_string_equal(why.text, "the frontend did not negotiate VFIO");
	assert_int_equal(take_file(bed, 0, &why), -ENOTSUP);
	assert_true(peer_silent(bed->channel));
}

static void
standard_has_no_file(void **state)
{
	struct bed *bed = *state;
	struct rp_wire_why why;

	bed_run(bed);
	assert_int_equal(give_file(bed, 0, RP_VHU_VFIO_GROUP, &why), -ENOTSUP);
	assert_string_equal(why.text, "profile 'standard' has no VFIO file");
	assert_int_equal(take_file(bed, 0, &why), -ENOTSUP);
	assert_true(peer_silent(bed->channel));
	/* Nor is its bit taken from a frontend that acks what it was not offered. */
	bed_send_u64(bed, RP_VHU_SET_PROTOCOL_FEATURES, 0x9, bed->protocol_features | 1ull << VFIO_BIT);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_PROTOCOL_FEATURES), 1);
	bed_assert_refused(bed, -EBADMSG, "SET_PROTOCOL_FEATURES: u64: bit 62 not offered");
	bed_send_u64(bed, RP_VHU_SET_PROTOCOL_FEATURES, 0x9, bed->protocol_features | 1ull << VFIO2018_BIT);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_PROTOCOL_FEATURES), 1);
	bed_assert_refused(bed, -EBADMSG, "SET_PROTOCOL_FEATURES: u64: PAGEFAULT not offered");
}

/* What is offered, bit by bit. */
static void
offered(struct bed *bed, uint64_t expected)
{
	bed_send(bed, RP_VHU_GET_PROTOCOL_FEATURES, 0x1, NULL, 0);
	assert_int_equal(bed_answer(bed, RP_VHU_GET_PROTOCOL_FEATURES), expected);
}

static void
standard_offers(void **state)
{
	offered(*state, BED_PROTOCOL_FEATURES);
}

static void
extended_offers(void **state)
{
	offered(*state, BED_PROTOCOL_FEATURES | 1ull << VFIO_BIT);
}

/* What has another meaning, or none, in 2018 is not offered: HOST_NOTIFIER, BACKEND_SEND_FD. */
static void
vfio2018_offers(void **state)
{
	offered(*state, (BED_PROTOCOL_FEATURES & ~(1ull << 11 | 1ull << 10)) | 1ull << VFIO2018_BIT);
}

static void
missing(struct bed *bed, uint64_t protocol_features, const char *words, bool area_too)
{
	struct rp_wire_why why;

	bed_negotiate_without(bed, protocol_features);
	bed_memory(bed);
	bed_ring_start(bed, 0);
	assert_int_equal(give_file(bed, 0, RP_VHU_VFIO_GROUP, &why), -ENOTSUP);
	assert_non_null(strstr(why.text, words));
	assert_int_equal(take_file(bed, 0, &why), -ENOTSUP);
	assert_non_null(strstr(why.text, words));
	assert_int_equal(offer(bed, 0, 1, &why), area_too ? -ENOTSUP : 0);
	assert_int_equal(bed->replies_count, 0);
	bed_hang_up(bed);
	bed->replies_count = 0;
	bed_attach(bed);
}

static void
extended_needs(void **state)
{
	struct bed *bed = *state;

	missing(bed, 1ull << VFIO_BIT, "did not negotiate VFIO", false);
	missing(bed, 1ull << VFIO_BIT | 1ull << RP_VHU_PF_HOST_NOTIFIER_BIT, "did not negotiate VFIO", true);
	missing(bed, 1ull << RP_VHU_PF_BACKEND_REQ_BIT, "did not negotiate BACKEND_REQ", true);
	missing(bed, 1ull << RP_VHU_PF_REPLY_ACK_BIT, "did not negotiate REPLY_ACK", true);
	missing(bed, 1ull << RP_VHU_PF_BACKEND_SEND_FD_BIT, "did not negotiate BACKEND_SEND_FD", true);
}

/* Descriptors on the channel are implied by the bit; the device must be a modern one. */
static void
vfio2018_needs(void **state)
{
	struct bed *bed = *state;
	struct rp_wire_why why;

	missing(bed, 1ull << VFIO2018_BIT, "did not negotiate VFIO", true);
	missing(bed, 1ull << RP_VHU_PF_BACKEND_REQ_BIT, "did not negotiate BACKEND_REQ", true);
	missing(bed, 1ull << RP_VHU_PF_REPLY_ACK_BIT, "did not negotiate REPLY_ACK", true);
	bed_negotiate(bed);
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x1, 1ull << 30);
	bed_memory(bed);
	bed_ring_start(bed, 0);
	assert_int_equal(offer(bed, 0, 1, &why), -ENOTSUP);
	assert_string_equal(why.text, "the frontend did not negotiate VERSION_1");
	assert_int_equal(give_file(bed, 0, RP_VHU_VFIO_GROUP, &why), -ENOTSUP);
}

/* A file belongs to a queue, not to a run of its ring. */
static void
a_file_whether_started_or_not(void **state)
{
	struct bed *bed = *state;
	uint32_t file = rp_vhu_backend_dialect(bed->backend)->vfio_file.id;

	bed_negotiate(bed);
	assert_int_equal(give_file(bed, 3, RP_VHU_VFIO_GROUP, NULL), 0);
	reply(bed, file, 0, 7, 0);
	bed_memory(bed);
	bed_ring_start(bed, 3);
	assert_int_equal(give_file(bed, 3, RP_VHU_VFIO_GROUP, NULL), 0);
	reply(bed, file, 0, 7, 0);
	bed_send_state(bed, RP_VHU_GET_VRING_BASE, 0x1, 3, 0);
	bed_answer(bed, RP_VHU_GET_VRING_BASE);
	assert_int_equal(take_file(bed, 3, NULL), 0);
	reply(bed, file, 0, 8, 0);
	assert_int_equal(take_file(bed, 3, NULL), 0);
	reply(bed, file, 0, 8, 0);
}

static void
mistakes_of_our_own(void **state)
{
	struct bed *bed = *state;
	struct rp_wire_why why;

	bed_run(bed);
	assert_int_equal(give_file(bed, BED_QUEUES, RP_VHU_VFIO_GROUP, &why), -EINVAL);
	assert_int_equal(give_file(bed, 0, (enum rp_vhu_vfio_type)2, &why), -EINVAL);
	assert_int_equal(rp_vhu_backend_vfio_file_set(bed->backend, 0, -1, RP_VHU_VFIO_GROUP, 1, &why), -EINVAL);
	assert_int_equal(take_file(bed, BED_QUEUES, &why), -EINVAL);
	assert_int_equal(offer(bed, 1, 1, &why), -EBUSY);
	assert_true(peer_silent(bed->channel));
	rp_wire_fd_close(&bed->channel);
	bed_process(bed);
	assert_int_equal(give_file(bed, 0, RP_VHU_VFIO_GROUP, &why), -ENOTSUP);
	assert_string_equal(why.text, "the frontend opened no backend channel");
}

/* An answer to the number of another profile is a lie. */
static void
answers_have_the_number_that_was_asked(void **state)
{
	const uint64_t zero = 0;
	struct bed *bed = *state;
	const struct rp_vhu_dialect *dialect = rp_vhu_backend_dialect(bed->backend);
	uint32_t wrong = dialect->profile == RP_VHU_PROFILE_EXTENDED ? 3 : 0x5601;

	bed_run(bed);
	assert_int_equal(offer(bed, 0, 1, NULL), 0);
	assert_int_equal(peer_drain(bed->channel), 1);
	assert_true(peer_send(bed->channel, wrong, 0x5, &zero, sizeof(zero), NULL, 0));
	bed_process(bed);
	bed_assert_refused(bed, -EPROTO, "expected a reply of 8 bytes to");
	assert_int_equal(bed->replies_count, 1);
	assert_int_equal(bed->replies[0].error, -ENOTCONN);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PROFILE(extended_has_its_own_numbers, extended),
		WITH_PROFILE(vfio2018_has_three_and_four, vfio2018),
		WITH_BED(numbers_may_be_chosen),
		WITH_PROFILE(extended_without_its_bit_is_standard, extended),
		WITH_BED(standard_has_no_file),
		WITH_BED(standard_offers),
		WITH_PROFILE(extended_offers, extended),
		WITH_PROFILE(vfio2018_offers, vfio2018),
		WITH_PROFILE(extended_needs, extended),
		WITH_PROFILE(vfio2018_needs, vfio2018),
		WITH_PROFILE(a_file_whether_started_or_not, extended),
		WITH_PROFILE(a_file_whether_started_or_not, vfio2018),
		WITH_PROFILE(mistakes_of_our_own, extended),
		WITH_PROFILE(mistakes_of_our_own, vfio2018),
		WITH_PROFILE(answers_have_the_number_that_was_asked, extended),
		WITH_PROFILE(answers_have_the_number_that_was_asked, vfio2018),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
