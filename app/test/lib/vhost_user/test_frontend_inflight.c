/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <unistd.h>

#include "desk.h"
#include "rp_wire_fd.h"

/* As it goes over the wire, with QEMU's padding; in the host's byte order, as all of the protocol. */
struct padded {
	uint64_t mmap_bytes, mmap_offset_bytes;
	uint16_t queues_count, queue_num;
	uint8_t padding[4];
};

static const struct padded good = {.mmap_bytes = 4224, .mmap_offset_bytes = 0, .queues_count = 2, .queue_num = 128};

/* A backend that offers everything, and is only told what to say about regions. */
static void
open_with_inflight(struct desk *desk)
{
	struct rp_vhu_frontend_config config = desk_config;

	desk_close(desk);
	config.protocol_features |= 1ull << RP_VHU_PF_INFLIGHT_SHMFD_BIT;
	desk_open(desk, &config);
	desk_answer_u64(desk, RP_VHU_GET_FEATURES, DESK_FEATURES);
	desk_answer_u64(desk, RP_VHU_GET_PROTOCOL_FEATURES, config.protocol_features);
	desk_answer_u64(desk, RP_VHU_GET_QUEUE_NUM, DESK_QUEUES);
	desk_answer_u64(desk, RP_VHU_SET_BACKEND_REQ_FD, 0);
	desk_answer_u64(desk, RP_VHU_SET_OWNER, 0);
	assert_int_equal(rp_vhu_frontend_negotiate(desk->frontend, NULL), 0);
	desk_expect(desk, RP_VHU_GET_FEATURES, 0x1);
	desk_expect(desk, RP_VHU_GET_PROTOCOL_FEATURES, 0x1);
	desk_expect(desk, RP_VHU_SET_PROTOCOL_FEATURES, 0x1);
	desk_expect(desk, RP_VHU_GET_QUEUE_NUM, 0x1);
	desk_expect(desk, RP_VHU_SET_BACKEND_REQ_FD, 0x9);
	desk_expect(desk, RP_VHU_SET_OWNER, 0x9);
}

static void
expect_bytes(struct desk *desk, uint32_t id, uint32_t flags, const void *bytes, uint32_t size_bytes)
{
	desk_expect(desk, id, flags);
	assert_int_equal(desk->said_bytes, size_bytes);
	assert_memory_equal(desk->said, bytes, size_bytes);
}

static void
asked_and_handed_back(void **state)
{
	const struct padded question = {.queues_count = 2, .queue_num = 128};
	struct rp_vhu_frontend_inflight got = {.fd = -1};
	struct desk *desk = *state;
	int fd = test_memfd(4224, true);
	uint32_t size_bytes;

	open_with_inflight(desk);
	for (size_bytes = 20; size_bytes <= 24; size_bytes += 4) {
		desk_answer_fds(desk, RP_VHU_GET_INFLIGHT_FD, &good, size_bytes, &fd, 1);
		assert_int_equal(rp_vhu_frontend_get_inflight(desk->frontend, 2, 128, &got, NULL), 0);
		expect_bytes(desk, RP_VHU_GET_INFLIGHT_FD, 0x1, &question, sizeof(question));
		assert_int_equal(got.size_bytes, 4224);
		assert_int_equal(got.offset_bytes, 0);
		assert_int_equal(got.queues_count, 2);
		assert_int_equal(got.queue_num, 128);
		assert_true(got.fd >= 0 && got.fd != fd);
		desk_answer_u64(desk, RP_VHU_SET_INFLIGHT_FD, 0);
		assert_int_equal(rp_vhu_frontend_set_inflight(desk->frontend, &got, NULL), 0);
		expect_bytes(desk, RP_VHU_SET_INFLIGHT_FD, 0x9, &good, sizeof(good));
		/* Ours still. */
		assert_int_equal(lseek(got.fd, 0, SEEK_END), 4224);
		rp_wire_fd_close(&got.fd);
	}
	rp_wire_fd_close(&fd);
}

static void
refused_by_the_backend(void **state)
{
	struct rp_vhu_frontend_inflight got = {.fd = -1, .queue_num = 99};
	struct desk *desk = *state;
	struct rp_wire_why why = {0};

	open_with_inflight(desk);
	desk_answer(desk, RP_VHU_GET_INFLIGHT_FD, NULL, 0);
	assert_int_equal(rp_vhu_frontend_get_inflight(desk->frontend, 2, 128, &got, &why), -EREMOTEIO);
	assert_string_equal(why.text, "GET_INFLIGHT_FD: refused by the backend");
	assert_int_equal(got.queue_num, 99);
	assert_int_equal(got.fd, -1);
	got.fd = desk->area_fd;
	desk_answer_u64(desk, RP_VHU_SET_INFLIGHT_FD, 1);
	assert_int_equal(rp_vhu_frontend_set_inflight(desk->frontend, &got, &why), -EREMOTEIO);
	assert_int_equal(got.fd, desk->area_fd);
}

/* Each with its descriptors, which must go. */
static void
answers_that_cannot_be(void **state)
{
	static const struct {
		struct padded answer;
		uint32_t size_bytes;
		unsigned int fds_count;
		const char *words;
	} bad[] = {
		{{4224, 0, 2, 128, {0}}, 24, 0, "not one descriptor"},
		{{4224, 0, 2, 128, {0}}, 24, 2, "not one descriptor"},
		{{4224, 0, 2, 128, {0}}, 19, 1, "19 bytes, expected 20 or 24"},
		{{4224, 0, 2, 128, {0}}, 22, 1, "22 bytes, expected 20 or 24"},
		{{4224, 0, 2, 128, {0}}, 32, 1, "32 bytes"},
		{{4224, 0, 2, 127, {0}}, 24, 1, "2 queues of 127, expected 2 of 128"},
		{{4224, 0, 1, 128, {0}}, 24, 1, "1 queues of 128, expected 2 of 128"},
		{{0, 0, 2, 128, {0}}, 24, 1, "mmap size 0"},
		{{4225, 0, 2, 128, {0}}, 24, 1, "mmap size 4225 at 0x0 is not in its file"},
		{{4224, 1, 2, 128, {0}}, 24, 1, "is not in its file"},
		{{UINT64_MAX, 2, 2, 128, {0}}, 24, 1, "is not in its file"},
	};
	struct rp_vhu_frontend_inflight got = {.fd = -1};
	struct desk *desk = *state;
	int fds[2] = {test_memfd(4224, true), desk->null_fd};
	unsigned int i;

	open_with_inflight(desk);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint8_t bytes[64] = {0};
		struct rp_wire_why why = {0};

		memcpy(bytes, &bad[i].answer, sizeof(bad[i].answer));
		desk_answer_fds(desk, RP_VHU_GET_INFLIGHT_FD, bytes, bad[i].size_bytes, fds, bad[i].fds_count);
		assert_int_equal(rp_vhu_frontend_get_inflight(desk->frontend, 2, 128, &got, &why), -EBADMSG);
		if (strstr(why.text, bad[i].words) == NULL)
			fail_msg("'%s', expected '%s'", why.text, bad[i].words);
		assert_int_equal(got.fd, -1);
		desk_expect(desk, RP_VHU_GET_INFLIGHT_FD, 0x1);
	}
	rp_wire_fd_close(&fds[0]);
}

static void
what_is_not_sent(void **state)
{
	struct rp_vhu_frontend_inflight got = {.fd = -1};
	struct desk *desk = *state;

	open_with_inflight(desk);
	assert_int_equal(rp_vhu_frontend_get_inflight(desk->frontend, 0, 128, &got, NULL), -EINVAL);
	assert_int_equal(rp_vhu_frontend_get_inflight(desk->frontend, 257, 128, &got, NULL), -EINVAL);
	assert_int_equal(rp_vhu_frontend_get_inflight(desk->frontend, 1, 0, &got, NULL), -EINVAL);
	assert_int_equal(rp_vhu_frontend_get_inflight(desk->frontend, 1, 32769, &got, NULL), -EINVAL);
	assert_int_equal(rp_vhu_frontend_set_inflight(desk->frontend, &got, NULL), -EINVAL);
	desk_expect_no_more(desk);
}

static void
not_without_the_feature(void **state)
{
	struct rp_vhu_frontend_inflight got = {.fd = -1};
	struct desk *desk = *state;

	desk_negotiate(desk);
	got.fd = desk->area_fd;
	assert_int_equal(rp_vhu_frontend_get_inflight(desk->frontend, 2, 128, &got, NULL), -ENOTSUP);
	assert_int_equal(rp_vhu_frontend_set_inflight(desk->frontend, &got, NULL), -ENOTSUP);
	desk_expect_no_more(desk);
}

/* Before, during and after: whoever leaves takes nothing along. */
static void
a_backend_that_leaves(void **state)
{
	struct rp_vhu_frontend_inflight got = {.fd = -1};
	struct desk *desk = *state;

	desk_open_profile(desk, RP_VHU_PROFILE_STANDARD, true);
	desk->vanish_after = desk->seen_count + 1;
	assert_int_equal(rp_vhu_frontend_get_inflight(desk->frontend, 2, 128, &got, NULL), -ENOTCONN);
	assert_int_equal(rp_vhu_frontend_get_inflight(desk->frontend, 2, 128, &got, NULL), -ENOTCONN);
	assert_int_equal(got.fd, -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DESK(asked_and_handed_back), WITH_DESK(refused_by_the_backend),  WITH_DESK(answers_that_cannot_be),
		WITH_DESK(what_is_not_sent),	  WITH_DESK(not_without_the_feature), WITH_DESK(a_backend_that_leaves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
