/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "bed.h"
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
check(bool good, const char *what, const struct attempt *attempt, const char *stage)
{
	if (!good)
		fail_msg("%s: %s, request %u, flags 0x%x, %u bytes, %u descriptors, seed %u", what, stage, attempt->id,
			 attempt->flags, attempt->size_bytes, attempt->fds_count, attempt->seed);
}

#define CHECK(condition) check(condition, #condition, attempt, stage)

static void
send_attempt(struct bed *bed, const struct attempt *attempt)
{
	uint8_t payload[PEER_PAYLOAD_MAX];
	int fds[16];
	unsigned int i;

	hostile_payload(attempt->seed, payload, attempt->size_bytes);
	for (i = 0; i < attempt->fds_count; i++)
		fds[i] = i % 2 == 0 ? peer_eventfd() : rp_wire_fd_dup(bed->memory_fd);
	assert_true(peer_send(bed->peer, attempt->id, attempt->flags, payload, attempt->size_bytes, fds,
			      attempt->fds_count));
	rp_wire_fd_close_all(fds, attempt->fds_count);
	bed_process(bed);
}

/* The refusal says which message it was. */
static bool
names_it(const struct bed *bed, const struct attempt *attempt)
{
	const struct rp_vhu_msg_row *row = rp_vhu_msg_find(attempt->id);
	char number[32];

	snprintf(number, sizeof(number), "request %u:", attempt->id);
	return strstr(bed->refused.text, row == NULL ? number : row->name) == bed->refused.text;
}

/* Exactly the answers that are due: one when it was asked for or the message always has one. */
static void
check_answer(struct bed *bed, const struct attempt *attempt, bool acks, const char *stage)
{
	const struct rp_vhu_msg_row *row = rp_vhu_msg_find(attempt->id);
	bool payload = row != NULL && row->reply == RP_VHU_REPLY_PAYLOAD, refused = bed->refused_count == 1;
	bool always = payload || (row != NULL && row->reply == RP_VHU_REPLY_STATUS);
	struct peer_msg msg;

	if (!always && !((attempt->flags & 0x8) != 0 && acks)) {
		CHECK(peer_silent(bed->peer));
		return;
	}
	CHECK(peer_receive(bed->peer, &msg));
	CHECK(msg.id == attempt->id && msg.flags == 0x5);
	/* Only a region comes with its file. */
	CHECK(msg.fds_count == (attempt->id == RP_VHU_GET_INFLIGHT_FD && !refused ? 1u : 0u));
	peer_msg_close(&msg);
	if (payload)
		CHECK((msg.size_bytes == 0) == refused);
	else
		CHECK((peer_msg_u64(&msg) != 0) == refused);
	CHECK(peer_silent(bed->peer));
}

static void
try(struct bed *bed, const struct attempt *attempt, const char *stage)
{
	const struct rp_vhu_msg_row *row = rp_vhu_msg_find(attempt->id);
	bool acks = (rp_vhu_backend_protocol_features(bed->backend) & 1ull << RP_VHU_PF_REPLY_ACK_BIT) != 0;

	bed->refused_count = 0;
	send_attempt(bed, attempt);
	if (hostile_breaks_framing(attempt->size_bytes, attempt->fds_count)) {
		CHECK(!rp_vhu_backend_attached(bed->backend));
		CHECK(bed->disconnected.error == -EPROTO);
		CHECK(bed->refused_count == 0);
		return;
	}
	CHECK(rp_vhu_backend_attached(bed->backend));
	CHECK(bed->refused_count <= 1);
	if (bed->refused_count == 1)
		CHECK(names_it(bed, attempt));
	if (row == NULL || !row->implemented)
		CHECK(bed->refused_count == 1 && bed->refused.error == -ENOTSUP);
	/* SET_PROTOCOL_FEATURES may have changed it just now. */
	if (attempt->id != RP_VHU_SET_PROTOCOL_FEATURES)
		check_answer(bed, attempt, acks, stage);
	else
		peer_drain(bed->peer);
	bed_assert_usable(bed);
}

static void
nothing_said(struct bed *bed)
{
	(void)bed;
}

static void
every_message(struct bed *bed, void (*prepare)(struct bed *), const char *stage)
{
	uint32_t ids[HOSTILE_IDS_MAX], sizes[HOSTILE_SIZES_MAX];
	unsigned int ids_count = hostile_ids(ids), sizes_count, i, j, k;
	struct attempt attempt = {.seed = 0};
	struct test_leaks before;

	bed_hang_up(bed);
	test_leaks_read(&before);
	for (i = 0; i < ids_count; i++) {
		sizes_count = hostile_sizes(rp_vhu_msg_find(ids[i]), sizes);
		for (j = 0; j < sizes_count * HOSTILE_FDS_COUNT * 2; j++) {
			attempt.id = ids[i];
			attempt.size_bytes = sizes[j / 2 / HOSTILE_FDS_COUNT];
			attempt.fds_count = hostile_fds[j / 2 % HOSTILE_FDS_COUNT];
			attempt.flags = j % 2 == 0 ? 0x1 : 0x9;
			for (k = 0; k < 3; k++, attempt.seed++) {
				bed_attach(bed);
				bed->refused_count = 0;
				prepare(bed);
				try(bed, &attempt, stage);
				bed_hang_up(bed);
				bed_diary(bed);
				if (attempt.size_bytes == 0)
					break;
			}
		}
		bed->replies_count = 0;
		test_leaks_assert_none(&before);
	}
}

/* Without REPLY_ACK no question of theirs is answered, whatever its flags say, but those that always are. */
static void
run_without_acks(struct bed *bed)
{
	bed_negotiate_without(bed, 1ull << RP_VHU_PF_REPLY_ACK_BIT);
	bed_memory(bed);
	bed_ring_start(bed, 0);
	bed_diary(bed);
}

static void
before_anything(void **state)
{
	every_message(*state, nothing_said, "before anything");
}

static void
after_negotiation(void **state)
{
	every_message(*state, bed_negotiate, "after negotiation");
}

static void
with_a_running_ring(void **state)
{
	every_message(*state, bed_run, "with a running ring");
}

#define MORE_FEATURES (1ull << RP_VHU_F_LOG_ALL_BIT | 1ull << RP_VHU_F_ACCESS_PLATFORM_BIT)
#define MORE_PROTOCOL_FEATURES                                                                                         \
	(1ull << RP_VHU_PF_LOG_SHMFD_BIT | 1ull << RP_VHU_PF_INFLIGHT_SHMFD_BIT |                                      \
	 1ull << RP_VHU_PF_GET_VRING_BASE_INFLIGHT_BIT)

static void
run_with_everything(struct bed *bed)
{
	bed_negotiate(bed);
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x1, 1ull << 32 | 1ull << 30 | MORE_FEATURES);
	bed_memory(bed);
	bed_diary(bed);
}

static void
with_log_and_inflight_and_iommu(void **state)
{
	bed_negotiate_with(*state, MORE_PROTOCOL_FEATURES, MORE_FEATURES);
	every_message(*state, run_with_everything, "with everything");
}

/* Every message that the table says no to, and every number around it: refused by name, in every profile. */
static void
what_is_not_implemented(void **state)
{
	struct bed *bed = *state;
	uint32_t ids[HOSTILE_IDS_MAX];
	unsigned int ids_count = hostile_ids(ids), i, refused = 0;

	bed_run(bed);
	for (i = 0; i < ids_count; i++) {
		const struct rp_vhu_msg_row *row = rp_vhu_msg_find(ids[i]);
		struct attempt attempt = {.id = ids[i], .flags = 0x9};
		char words[128];

		if (row != NULL && row->implemented)
			continue;
		attempt.size_bytes = row == NULL ? 8 : row->payload_max_bytes;
		attempt.fds_count = row == NULL ? 1 : row->fds_max;
		try(bed, &attempt, "with a running ring");
		bed_assert_refused(bed, -ENOTSUP, row == NULL ? "unknown" : "not implemented");
		if (row == NULL)
			snprintf(words, sizeof(words), "request %u: unknown", ids[i]);
		else
			snprintf(words, sizeof(words), "%s: not implemented", row->name);
		assert_string_equal(bed->refused.text, words);
		refused++;
	}
	assert_true(refused > 12); /* else this shows nothing */
	assert_string_equal(bed_diary(bed), "");
}

/* Nor can one of their features be negotiated: not offered, and refused when acked all the same. */
static void
what_is_not_implemented_is_not_offered(void **state)
{
	struct bed *bed = *state;
	const struct rp_vhu_dialect *dialect = rp_vhu_backend_dialect(bed->backend);
	unsigned int i;

	for (i = 0; i < rp_vhu_msg_rows_count; i++) {
		const struct rp_vhu_msg_row *row = &rp_vhu_msg_rows[i];
		uint64_t mask = row->protocol_feature_bit < 0 ? 0 : 1ull << row->protocol_feature_bit;

		if (row->implemented || mask == 0 || (mask & dialect->vfio_mask) != 0)
			continue;
		assert_int_equal(bed->protocol_features & mask, 0);
		bed_send_u64(bed, RP_VHU_SET_PROTOCOL_FEATURES, 0x1, mask);
		bed_assert_refused(bed, -EBADMSG,
				   rp_vhu_dialect_feature_name(dialect, (unsigned int)row->protocol_feature_bit));
	}
}

/* The smallest legal form of a row's message, as bytes; its descriptors go with the first. */
static size_t
whole_message(const struct rp_vhu_msg_row *row, uint8_t *ret_bytes)
{
	const struct rp_vhu_header header = {
		.request = row->id,
		.flags = 0x9,
		.size_bytes = row->payload_min_bytes,
	};

	memcpy(ret_bytes, &header, sizeof(header));
	memset(ret_bytes + sizeof(header), 0, row->payload_min_bytes);
	return sizeof(header) + row->payload_min_bytes;
}

static void
send_part(struct bed *bed, const struct rp_vhu_msg_row *row, const uint8_t *bytes, size_t size_bytes, bool first)
{
	int fds[RP_VHU_REGIONS_MAX];
	unsigned int i, count = first ? row->fds_min : 0;

	for (i = 0; i < count; i++)
		fds[i] = peer_eventfd();
	assert_true(peer_send_bytes(bed->peer, bytes, size_bytes, fds, count));
	rp_wire_fd_close_all(fds, count);
	bed_process(bed);
}

/* A frontend that vanishes after every single byte of every message, with a ring running. */
static void
gone_at_every_byte(void **state)
{
	struct bed *bed = *state;
	struct test_leaks before;
	uint8_t bytes[PEER_PAYLOAD_MAX];
	unsigned int i;

	bed_hang_up(bed);
	test_leaks_read(&before);
	for (i = 0; i < rp_vhu_msg_rows_count; i++) {
		size_t size_bytes = whole_message(&rp_vhu_msg_rows[i], bytes), cut;

		for (cut = 1; cut <= size_bytes; cut++) {
			bed_attach(bed);
			bed_run(bed);
			send_part(bed, &rp_vhu_msg_rows[i], bytes, cut, true);
			assert_true(rp_vhu_backend_attached(bed->backend));
			bed_hang_up(bed);
			bed->refused_count = 0;
		}
		test_leaks_assert_none(&before);
	}
}

/* One byte at a time is the same message: the same refusal, the same answer. */
static void
byte_by_byte(void **state)
{
	struct bed *bed = *state;
	uint8_t bytes[PEER_PAYLOAD_MAX];
	unsigned int i;

	for (i = 0; i < rp_vhu_msg_rows_count; i++) {
		const struct rp_vhu_msg_row *row = &rp_vhu_msg_rows[i];
		struct peer_msg answer = {0}, again = {0};
		char refused[sizeof(bed->refused.text)] = "";
		size_t size_bytes = whole_message(row, bytes), at;
		bool answered;

		bed_run(bed);
		send_part(bed, row, bytes, size_bytes, true);
		if (bed->refused_count != 0)
			memcpy(refused, bed->refused.text, sizeof(refused));
		answered = peer_receive(bed->peer, &answer);
		bed_hang_up(bed);
		bed_attach(bed);
		bed->refused_count = 0;
		bed_run(bed);
		for (at = 0; at < size_bytes; at++) {
			assert_int_equal(bed->refused_count, 0);
			assert_true(peer_silent(bed->peer));
			send_part(bed, row, bytes + at, 1, at == 0);
		}
		assert_int_equal(bed->refused_count, refused[0] != '\0');
		assert_true(refused[0] == '\0' || strcmp(refused, bed->refused.text) == 0);
		assert_int_equal(peer_receive(bed->peer, &again), answered);
		assert_int_equal(again.size_bytes, answer.size_bytes);
		assert_memory_equal(again.payload, answer.payload, again.size_bytes);
		peer_msg_close(&answer);
		peer_msg_close(&again);
		bed_hang_up(bed);
		bed_attach(bed);
		bed->refused_count = 0;
	}
}

static void
with_a_running_ring_and_no_acks(void **state)
{
	every_message(*state, run_without_acks, "with a running ring and no acks");
}

static void
versions_and_replies_end_it(void **state)
{
	static const uint32_t flags[] = {0x0, 0x2, 0x3, 0x5, 0xd, 0xfffffffc, 0xffffffff};
	struct bed *bed = *state;
	unsigned int i;

	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		bed_run(bed);
		peer_send(bed->peer, RP_VHU_GET_FEATURES, flags[i], NULL, 0, NULL, 0);
		bed_process(bed);
		assert_false(rp_vhu_backend_attached(bed->backend));
		assert_int_equal(bed->disconnected.error, -EPROTO);
		assert_non_null(strstr(bed->disconnected.text, "header: flags"));
		assert_true(peer_closed(bed->peer));
		bed_hang_up(bed);
		bed_attach(bed);
	}
}

/* Whole messages that are nearly right, and runs of bytes that are not. */
static void
noise(void **state)
{
	struct bed *bed = *state;
	struct test_leaks before;
	uint32_t random = 20180319;
	const char *rounds_text = getenv("VHU_FUZZ_ROUNDS");
	unsigned int rounds = rounds_text == NULL ? 20000 : (unsigned int)atoi(rounds_text), i;

	bed_hang_up(bed);
	test_leaks_read(&before);
	for (i = 0; i < rounds; i++) {
		struct attempt attempt = {
			.id = hostile_random(&random) % (rp_vhu_msg_rows_count + 2),
			.flags = hostile_random(&random) % 50 == 0 ? hostile_random(&random) : 0x9,
			.fds_count = hostile_random(&random) % 3,
			.seed = hostile_random(&random),
		};
		const struct rp_vhu_msg_row *row = rp_vhu_msg_find(attempt.id);

		if (!rp_vhu_backend_attached(bed->backend)) {
			rp_wire_fd_close(&bed->peer);
			rp_wire_fd_close(&bed->channel);
			test_leaks_assert_none(&before);
			bed_attach(bed);
			bed_run(bed);
		}
		attempt.size_bytes = row == NULL ? attempt.seed % 64 : row->payload_min_bytes;
		if (row != NULL)
			attempt.fds_count = row->fds_min + attempt.seed % (row->fds_max - row->fds_min + 1);
		send_attempt(bed, &attempt);
		bed->refused_count = bed->replies_count = 0;
		bed_diary(bed);
		if (rp_vhu_backend_attached(bed->backend))
			peer_drain(bed->peer);
	}
	bed_hang_up(bed);
	test_leaks_assert_none(&before);
}

/* Fields that are right but for one byte, in an order of chance. */
static void
nearly_right(void **state)
{
	struct bed *bed = *state;
	uint32_t random = 6, i;

	for (i = 0; i < 20000; i++) {
		struct rp_vhu_wire_vring_addr addr = {.index = hostile_random(&random) % 5};
		struct rp_vhu_wire_region region = bed_region(hostile_random(&random) % 8 * BED_REGION_BYTES / 2,
							      (1 + hostile_random(&random) % 3) * BED_REGION_BYTES / 2);
		uint64_t at = BED_UVA + hostile_random(&random) % 16 * 0x8000;

		switch (hostile_random(&random) % 10) {
		case 0:
			bed_send_region(bed, RP_VHU_ADD_MEM_REG, 0x9, &region, bed->memory_fd);
			break;
		case 1:
			bed_send_region(bed, RP_VHU_REM_MEM_REG, 0x9, &region, -1);
			break;
		case 2:
			bed_send_table(bed, 0x9, &region, 1, NULL);
			break;
		case 3:
		case 4:
			bed_send_addr(bed, 0x9, addr.index, at, at + 0x1000, at + 0x2000);
			break;
		case 5:
			bed_send_state(bed, RP_VHU_SET_VRING_NUM, 0x9, addr.index, hostile_random(&random) % 2 * 256);
			break;
		case 6:
			bed_send_state(bed, RP_VHU_GET_VRING_BASE, 0x9, addr.index, 0);
			break;
		case 7:
			bed_send_state(bed, RP_VHU_SET_VRING_BASE, 0x9, addr.index, hostile_random(&random));
			break;
		case 8:
			bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x9, addr.index);
			break;
		default:
			bed_negotiate(bed);
		}
		peer_drain(bed->peer);
		bed->refused_count = 0;
		bed_diary(bed);
	}
	bed_assert_usable(bed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BED(before_anything),
		WITH_BED(after_negotiation),
		WITH_BED(with_a_running_ring),
		WITH_BED(with_log_and_inflight_and_iommu),
		WITH_BED(with_a_running_ring_and_no_acks),
		WITH_BED(what_is_not_implemented),
		WITH_PROFILE(what_is_not_implemented, extended),
		WITH_PROFILE(what_is_not_implemented, vfio2018),
		WITH_BED(what_is_not_implemented_is_not_offered),
		WITH_PROFILE(what_is_not_implemented_is_not_offered, extended),
		WITH_PROFILE(what_is_not_implemented_is_not_offered, vfio2018),
		WITH_BED(gone_at_every_byte),
		WITH_PROFILE(gone_at_every_byte, extended),
		WITH_PROFILE(gone_at_every_byte, vfio2018),
		WITH_BED(byte_by_byte),
		WITH_BED(versions_and_replies_end_it),
		WITH_BED(noise),
		WITH_BED(nearly_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
