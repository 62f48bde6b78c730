/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bed.h"
#include "rp_wire_fd.h"

#define INFLIGHT (1ull << RP_VHU_PF_INFLIGHT_SHMFD_BIT)
#define PACKED (1ull << RP_VHU_F_RING_PACKED_BIT)

/* Payloads with QEMU's padding, which must not matter. */
struct padded {
	struct rp_vhu_wire_inflight wire;
	uint8_t padding[4];
};

static const struct padded question = {.wire = {.mmap_bytes = 77, .queues_count = 2, .queue_num = 128},
				       .padding = {0xee, 0xee, 0xee, 0xee}};

static struct rp_vhu_wire_inflight
ask(struct bed *bed, uint32_t size_bytes, int *ret_fd)
{
	struct rp_vhu_wire_inflight wire;
	struct peer_msg msg;

	bed_send(bed, RP_VHU_GET_INFLIGHT_FD, 0x1, &question, size_bytes);
	assert_true(peer_receive(bed->peer, &msg));
	assert_int_equal(msg.id, RP_VHU_GET_INFLIGHT_FD);
	assert_int_equal(msg.flags, 0x5);
	assert_int_equal(msg.size_bytes, size_bytes);
	assert_int_equal(msg.fds_count, 1);
	memcpy(&wire, msg.payload, sizeof(wire));
	*ret_fd = rp_wire_fd_take(&msg.fds[0]);
	return wire;
}

static void
hand(struct bed *bed, uint32_t flags, const struct rp_vhu_wire_inflight *wire, int fd)
{
	const struct padded padded = {.wire = *wire};

	assert_true(peer_send(bed->peer, RP_VHU_SET_INFLIGHT_FD, flags, &padded, sizeof(padded), &fd, 1));
	bed_process(bed);
}

static void
assert_refused(struct bed *bed, const struct rp_vhu_wire_inflight *wire, int fd, int error, const char *words)
{
	struct rp_vhu_inflight *before = rp_vhu_backend_inflight(bed->backend);

	hand(bed, 0x9, wire, fd);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_INFLIGHT_FD), 1);
	bed_assert_refused(bed, error, words);
	assert_ptr_equal(rp_vhu_backend_inflight(bed->backend), before);
}

static void
a_region_is_made(void **state)
{
	struct rp_vhu_wire_inflight wire;
	struct bed *bed = *state;
	uint32_t size_bytes;
	struct stat st;
	int fd;

	bed_negotiate_with(bed, INFLIGHT, 0);
	for (size_bytes = 20; size_bytes <= 24; size_bytes += 4) {
		wire = ask(bed, size_bytes, &fd);
		assert_int_equal(wire.mmap_bytes, 2 * 2112);
		assert_int_equal(wire.mmap_offset_bytes, 0);
		assert_int_equal(wire.queues_count, 2);
		assert_int_equal(wire.queue_num, 128);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, 2 * 2112);
		assert_int_equal(fcntl(fd, F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW), F_SEAL_SHRINK | F_SEAL_GROW);
		rp_wire_fd_close(&fd);
	}
	/* It is the frontend's: nothing is in use before it comes back. */
	assert_null(rp_vhu_backend_inflight(bed->backend));
	assert_string_equal(bed_diary(bed), "");
}

static void
a_region_for_packed_rings_is_larger(void **state)
{
	struct rp_vhu_wire_inflight wire;
	struct bed *bed = *state;
	int fd;

	bed_negotiate_with(bed, INFLIGHT, PACKED);
	wire = ask(bed, 24, &fd);
	assert_int_equal(wire.mmap_bytes, 2 * 4160);
	hand(bed, 0x9, &wire, fd);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_INFLIGHT_FD), 0);
	assert_true(rp_vhu_inflight_layout(bed->inflight)->packed);
	rp_wire_fd_close(&fd);
}

static void
questions_that_cannot_be(void **state)
{
	static const struct {
		uint16_t queues_count, queue_num;
		const char *words;
	} bad[] = {
		{0, 128, "GET_INFLIGHT_FD: num queues: 0, expected 1 to 4"},
		{BED_QUEUES + 1, 128, "num queues: 5, expected 1 to 4"},
		{0xffff, 0xffff, "num queues: 65535"},
		{1, 0, "GET_INFLIGHT_FD: queue size: 0, expected 1 to 32768"},
		{1, 32769, "queue size: 32769"},
	};
	struct bed *bed = *state;
	struct peer_msg msg;
	unsigned int i;

	bed_negotiate_with(bed, INFLIGHT, 0);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const struct rp_vhu_wire_inflight wire = {.queues_count = bad[i].queues_count,
							  .queue_num = bad[i].queue_num};

		bed_send(bed, RP_VHU_GET_INFLIGHT_FD, 0x1, &wire, sizeof(wire));
		bed_assert_refused(bed, -EBADMSG, bad[i].words);
		assert_true(peer_receive(bed->peer, &msg));
		assert_int_equal(msg.size_bytes, 0);
		assert_int_equal(msg.fds_count, 0);
	}
	bed_send(bed, RP_VHU_GET_INFLIGHT_FD, 0x1, &question, 19);
	bed_assert_refused(bed, -EMSGSIZE, "GET_INFLIGHT_FD: payload: 19 bytes, expected 20 to 24");
}

static void
not_without_the_feature(void **state)
{
	struct bed *bed = *state;
	struct peer_msg msg;
	int fd = peer_eventfd();

	bed_negotiate(bed);
	bed_send(bed, RP_VHU_GET_INFLIGHT_FD, 0x1, &question, sizeof(question));
	bed_assert_refused(bed, -ENOTSUP, "GET_INFLIGHT_FD: protocol feature 12 was not negotiated");
	assert_true(peer_receive(bed->peer, &msg));
	hand(bed, 0x9, &question.wire, fd);
	rp_wire_fd_close(&fd);
	bed_assert_refused(bed, -ENOTSUP, "SET_INFLIGHT_FD: protocol feature 12");
	assert_int_equal(bed_answer(bed, RP_VHU_SET_INFLIGHT_FD), 1);
}

/* The old one is whole until the owner has the new one. */
static void
one_region_after_another(void **state)
{
	struct rp_vhu_wire_inflight wire;
	struct bed *bed = *state;
	struct rp_vhu_inflight *first;
	int fd, other;

	bed_negotiate_with(bed, INFLIGHT, 0);
	wire = ask(bed, 24, &fd);
	hand(bed, 0x9, &wire, fd);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_INFLIGHT_FD), 0);
	first = rp_vhu_backend_inflight(bed->backend);
	assert_non_null(first);
	assert_ptr_equal(first, bed->inflight);
	assert_int_equal(rp_vhu_inflight_layout(first)->queue_num, 128);
	wire = ask(bed, 24, &other);
	hand(bed, 0x1, &wire, other);
	assert_true(peer_silent(bed->peer));
	assert_ptr_not_equal(rp_vhu_backend_inflight(bed->backend), first);
	assert_string_equal(bed_diary(bed), "inflight inflight ");
	rp_wire_fd_close(&fd);
	rp_wire_fd_close(&other);
	bed_hang_up(bed);
	assert_string_equal(bed_diary(bed), "inflight(none) gone ");
	assert_null(rp_vhu_backend_inflight(bed->backend));
}

static void
regions_that_cannot_be(void **state)
{
	struct rp_vhu_wire_inflight good, wire;
	struct bed *bed = *state;
	int fd, loose, event = peer_eventfd();

	bed_negotiate_with(bed, INFLIGHT, 0);
	good = ask(bed, 24, &fd);
	loose = test_memfd((size_t)good.mmap_bytes, false);
	hand(bed, 0x1, &good, fd);
	wire = good;
	wire.mmap_bytes--;
	assert_refused(bed, &wire, fd, -EBADMSG, "SET_INFLIGHT_FD: mmap size: 4223, expected at least 4224");
	wire.mmap_bytes = good.mmap_bytes + 1;
	assert_refused(bed, &wire, fd, -EBADMSG, "the file ends before the region");
	wire.mmap_bytes = UINT64_MAX;
	assert_refused(bed, &wire, fd, -EBADMSG, "the file ends before the region");
	wire = good;
	wire.mmap_offset_bytes = 64;
	assert_refused(bed, &wire, fd, -EBADMSG, "the file ends before the region");
	wire.mmap_offset_bytes = 1;
	assert_refused(bed, &wire, fd, -EBADMSG, "mmap offset: 0x1");
	wire.mmap_offset_bytes = UINT64_MAX - 63;
	assert_refused(bed, &wire, fd, -EBADMSG, "mmap offset");
	wire = good;
	wire.queues_count = BED_QUEUES + 1;
	assert_refused(bed, &wire, fd, -EBADMSG, "num queues: 5");
	wire.queues_count = 3;
	assert_refused(bed, &wire, fd, -EBADMSG, "expected at least 6336 for 3 queues of 128");
	wire = good;
	wire.queue_num = 0;
	assert_refused(bed, &wire, fd, -EBADMSG, "queue size: 0");
	/* What can shrink would end us. */
	assert_refused(bed, &good, loose, -EBADMSG, "sealed against shrinking");
	assert_refused(bed, &good, event, -EBADMSG, "sealed against shrinking");
	rp_wire_fd_close(&fd);
	rp_wire_fd_close(&loose);
	rp_wire_fd_close(&event);
	bed_assert_usable(bed);
}

static void
a_region_with_other_notes(void **state)
{
	const uint16_t other[2] = {1, 64};
	struct rp_vhu_wire_inflight wire;
	struct bed *bed = *state;
	int fd;

	bed_negotiate_with(bed, INFLIGHT, 0);
	wire = ask(bed, 24, &fd);
	assert_int_equal(pwrite(fd, other, sizeof(other), 2112 + 8), sizeof(other));
	assert_refused(bed, &wire, fd, -EBADMSG, "SET_INFLIGHT_FD: queue 1: desc_num: 64, expected 128");
	rp_wire_fd_close(&fd);
}

static void
not_under_running_rings(void **state)
{
	struct rp_vhu_wire_inflight wire;
	struct bed *bed = *state;
	int fd;

	bed_negotiate_with(bed, INFLIGHT, 0);
	bed_memory(bed);
	wire = ask(bed, 24, &fd);
	hand(bed, 0x1, &wire, fd);
	bed_ring_start(bed, 1);
	assert_refused(bed, &wire, fd, -EBUSY, "SET_INFLIGHT_FD: ring 1 is started");
	bed_send_state(bed, RP_VHU_GET_VRING_BASE, 0x1, 1, 0);
	bed_answer(bed, RP_VHU_GET_VRING_BASE);
	hand(bed, 0x9, &wire, fd);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_INFLIGHT_FD), 0);
	rp_wire_fd_close(&fd);
}

/* What was in flight before a reset is not done again after it; a status of 0 is said at each stop. */
static void
a_reset_drops_it(void **state)
{
	struct rp_vhu_wire_inflight wire;
	struct bed *bed = *state;
	int fd;

	bed_negotiate_with(bed, INFLIGHT, 0);
	wire = ask(bed, 24, &fd);
	hand(bed, 0x1, &wire, fd);
	rp_wire_fd_close(&fd);
	bed_send_u64(bed, RP_VHU_SET_STATUS, 0x1, 0);
	assert_non_null(rp_vhu_backend_inflight(bed->backend));
	bed_diary(bed);
	bed_send(bed, RP_VHU_RESET_DEVICE, 0x1, NULL, 0);
	assert_string_equal(bed_diary(bed), "inflight(none) reset ");
	assert_null(rp_vhu_backend_inflight(bed->backend));
}

static void
assert_file(const struct bed *bed, int fd, uint64_t size_bytes, uint64_t offset_bytes)
{
	struct rp_vhu_shared_file file;
	uint16_t queues_count, queue_num;

	assert_int_equal(rp_vhu_backend_inflight_file(bed->backend, &file, &queues_count, &queue_num), 0);
	assert_int_equal(rp_wire_fd_same(file.fd, fd), 1);
	assert_int_equal(file.size_bytes, size_bytes);
	assert_int_equal(file.offset_bytes, offset_bytes);
	assert_int_equal(queues_count, 2);
	assert_int_equal(queue_num, 128);
}

/* Enough to hand it on; what was refused is not kept. */
static void
its_file_is_kept(void **state)
{
	struct rp_vhu_shared_file none = {.fd = 77};
	struct rp_vhu_wire_inflight wire, bad;
	struct bed *bed = *state;
	uint16_t counts[2];
	int fd, other;

	bed_negotiate_with(bed, INFLIGHT, 0);
	assert_int_equal(rp_vhu_backend_inflight_file(bed->backend, &none, &counts[0], &counts[1]), -ENOENT);
	wire = ask(bed, 24, &fd);
	ask(bed, 24, &other);
	hand(bed, 0x1, &wire, fd);
	assert_file(bed, fd, 4224, 0);
	bad = wire;
	bad.mmap_bytes--;
	assert_refused(bed, &bad, other, -EBADMSG, "mmap size: 4223");
	assert_file(bed, fd, 4224, 0);
	hand(bed, 0x1, &wire, other);
	assert_file(bed, other, 4224, 0);
	bed_send(bed, RP_VHU_RESET_DEVICE, 0x1, NULL, 0);
	assert_int_equal(rp_vhu_backend_inflight_file(bed->backend, &none, &counts[0], &counts[1]), -ENOENT);
	assert_int_equal(none.fd, 77);
	hand(bed, 0x1, &wire, fd);
	assert_file(bed, fd, 4224, 0); /* for the tear-down to count */
	rp_wire_fd_close(&fd);
	rp_wire_fd_close(&other);
}

static int theirs = -1; /* what somebody else made */

static int
on_inflight_get(void *ctx, uint16_t queues_count, uint16_t queue_num, int *ret_fd, uint64_t *ret_size_bytes,
		uint64_t *ret_offset_bytes, struct rp_wire_why *why)
{
	bed_write(ctx, "inflight-get:%u*%u ", queues_count, queue_num);
	if (theirs < 0)
		return rp_wire_why_set(why, -ENOSPC, "nobody made one");
	*ret_fd = rp_wire_fd_dup(theirs);
	*ret_size_bytes = 4224;
	*ret_offset_bytes = 64;
	return 0;
}

static void
a_region_of_somebody_else(void **state)
{
	struct rp_vhu_wire_inflight wire;
	struct bed *bed = *state;
	struct peer_msg msg;
	int fd;

	bed->ops.inflight_get = on_inflight_get;
	bed_negotiate_with(bed, INFLIGHT, 0);
	bed_send(bed, RP_VHU_GET_INFLIGHT_FD, 0x1, &question, sizeof(question));
	bed_assert_refused(bed, -ENOSPC, "GET_INFLIGHT_FD: nobody made one");
	assert_true(peer_receive(bed->peer, &msg));
	assert_int_equal(msg.size_bytes, 0);
	assert_int_equal(msg.fds_count, 0);
	assert_string_equal(bed_diary(bed), "inflight-get:2*128 ");
	theirs = test_memfd(4224 + 64, true);
	wire = ask(bed, 24, &fd);
	assert_int_equal(rp_wire_fd_same(fd, theirs), 1);
	rp_wire_fd_close(&theirs);
	assert_int_equal(wire.mmap_bytes, 4224);
	assert_int_equal(wire.mmap_offset_bytes, 64);
	assert_int_equal(wire.queues_count, 2);
	assert_int_equal(wire.queue_num, 128);
	hand(bed, 0x9, &wire, fd);
	bed_assert_nothing_refused(bed);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_INFLIGHT_FD), 0);
	assert_file(bed, fd, 4224, 64);
	rp_wire_fd_close(&fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BED(a_region_is_made),	     WITH_BED(a_region_for_packed_rings_is_larger),
		WITH_BED(questions_that_cannot_be),  WITH_BED(not_without_the_feature),
		WITH_BED(one_region_after_another),  WITH_BED(regions_that_cannot_be),
		WITH_BED(a_region_with_other_notes), WITH_BED(not_under_running_rings),
		WITH_BED(a_reset_drops_it),	     WITH_BED(its_file_is_kept),
		WITH_BED(a_region_of_somebody_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
