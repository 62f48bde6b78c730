/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bed.h"
#include "rp_wire_fd.h"

/* A bit for each page up to the end of the bed's region. */
#define NEEDED_BYTES ((BED_GPA + BED_REGION_BYTES) / 4096 / 8)
#define FILE_BYTES (NEEDED_BYTES + 0x10000)

static int
setup(void **state)
{
	struct rp_vhu_backend_config config = bed_config();
	int rc = bed_setup(state);

	config.protocol_features |= 1ull << RP_VHU_PF_LOG_SHMFD_BIT;
	config.features |= 1ull << RP_VHU_F_LOG_ALL_BIT;
	bed_remake(*state, &config);
	return rc;
}

#define WITH_LOG(test) cmocka_unit_test_setup_teardown(test, setup, bed_teardown)

/* @return what was answered. */
static uint64_t
set_log(struct bed *bed, uint32_t flags, uint64_t size_bytes, uint64_t offset_bytes, int fd)
{
	const struct rp_vhu_wire_log log = {.size_bytes = size_bytes, .offset_bytes = offset_bytes};

	assert_true(peer_send(bed->peer, RP_VHU_SET_LOG_BASE, flags, &log, sizeof(log), &fd, 1));
	bed_process(bed);
	return bed_answer(bed, RP_VHU_SET_LOG_BASE);
}

static uint64_t
set_log_addr(struct bed *bed, uint32_t flags, uint32_t queue, uint64_t log_gpa)
{
	struct rp_vhu_wire_vring_addr addr = {
		.index = queue,
		.flags = flags,
		.desc_uva = BED_UVA + queue * BED_RING_BYTES,
		.log_gpa = log_gpa,
	};
	struct rp_vhu_vring vring;

	assert_int_equal(rp_vhu_backend_vring(bed->backend, queue, &vring), 0);
	addr.avail_uva = vring.avail_gpa - BED_GPA + BED_UVA;
	addr.used_uva = vring.used_gpa - BED_GPA + BED_UVA;
	addr.desc_uva = vring.desc_gpa - BED_GPA + BED_UVA;
	bed_send(bed, RP_VHU_SET_VRING_ADDR, 0x9, &addr, sizeof(addr));
	return bed_answer(bed, RP_VHU_SET_VRING_ADDR);
}

static void
answered_whether_asked_or_not(void **state)
{
	struct bed *bed = *state;
	RP_WIRE_FD_SCOPED int fd = test_memfd(FILE_BYTES, true);

	bed_run(bed);
	assert_null(rp_vhu_backend_log(bed->backend));
	assert_int_equal(set_log(bed, 0x1, FILE_BYTES, 0, fd), 0);
	assert_string_equal(bed_diary(bed), "log ");
	assert_non_null(rp_vhu_backend_log(bed->backend));
	assert_int_equal(set_log(bed, 0x9, FILE_BYTES, 0, fd), 0);
	assert_string_equal(bed_diary(bed), "log ");
	assert_int_equal(set_log(bed, 0x1, 8, 0, fd), 1);
	bed_assert_refused(bed, -EBADMSG, "SET_LOG_BASE: log size: does not cover the region at 0x40000000");
	assert_string_equal(bed_diary(bed), "");
}

static void
the_frontend_sees_what_was_marked(void **state)
{
	struct bed *bed = *state;
	RP_WIRE_FD_SCOPED int fd = test_memfd(FILE_BYTES, true);
	uint8_t *bits = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_true(bits != MAP_FAILED);
	bed_run(bed);
	assert_int_equal(set_log(bed, 0x1, NEEDED_BYTES, 16, fd), 0);
	rp_vhu_log_mark(rp_vhu_backend_log(bed->backend), BED_GPA + 9 * 4096, 1);
	assert_int_equal(bits[16 + BED_GPA / 4096 / 8 + 1], 2);
	munmap(bits, FILE_BYTES);
}

static void
exactly_large_enough(void **state)
{
	struct bed *bed = *state;
	RP_WIRE_FD_SCOPED int fd = test_memfd(FILE_BYTES, true);

	bed_run(bed);
	assert_int_equal(set_log(bed, 0x1, NEEDED_BYTES - 1, 0, fd), 1);
	bed_assert_refused(bed, -EBADMSG, "does not cover");
	assert_int_equal(set_log(bed, 0x1, NEEDED_BYTES, 0, fd), 0);
	assert_int_equal(set_log(bed, 0x1, FILE_BYTES, 1, fd), 1);
	bed_assert_refused(bed, -EBADMSG, "ends at");
	assert_int_equal(set_log(bed, 0x1, NEEDED_BYTES, 0, bed->peer), 1);
	bed_assert_refused(bed, -EBADMSG, "no file");
	assert_non_null(rp_vhu_backend_log(bed->backend)); /* the one that was good */
}

static void
memory_that_comes_later_must_fit(void **state)
{
	const struct rp_vhu_wire_region far = {.gpa = 0x100000000, .size_bytes = 0x1000, .uva = 0x7e0000000000};
	struct bed *bed = *state;
	RP_WIRE_FD_SCOPED int fd = test_memfd(FILE_BYTES, true);
	RP_WIRE_FD_SCOPED int larger = test_memfd(0x100001000 / 4096 / 8 + 1, true);

	bed_run(bed);
	assert_int_equal(set_log(bed, 0x1, FILE_BYTES, 0, fd), 0);
	bed_send_region(bed, RP_VHU_ADD_MEM_REG, 0x9, &far, bed->memory_fd);
	assert_int_equal(bed_answer(bed, RP_VHU_ADD_MEM_REG), 1);
	bed_assert_refused(bed, -EBUSY,
			   "ADD_MEM_REG: region at 0x100000000: the log of the migration does not cover it");
	assert_int_equal(set_log(bed, 0x1, 0x100001000 / 4096 / 8 + 1, 0, larger), 0);
	bed_send_region(bed, RP_VHU_ADD_MEM_REG, 0x9, &far, bed->memory_fd);
	assert_int_equal(bed_answer(bed, RP_VHU_ADD_MEM_REG), 0);
	assert_int_equal(set_log(bed, 0x1, FILE_BYTES, 0, fd), 1);
	bed_assert_refused(bed, -EBADMSG, "region at 0x100000000");
}

static void
a_running_rings_used_ring(void **state)
{
	struct bed *bed = *state;
	RP_WIRE_FD_SCOPED int fd = test_memfd(FILE_BYTES, true);
	uint64_t last = (uint64_t)FILE_BYTES * 8 * 4096;
	struct rp_vhu_vring vring;

	bed_run(bed);
	assert_int_equal(set_log(bed, 0x1, FILE_BYTES, 0, fd), 0);
	bed_diary(bed);
	assert_int_equal(set_log_addr(bed, 1, 0, BED_GPA + 0x240), 0);
	assert_string_equal(bed_diary(bed), "log-used:0@40000240 ");
	assert_int_equal(set_log_addr(bed, 1, 0, BED_GPA + 0x240), 0);
	assert_string_equal(bed_diary(bed), ""); /* nothing new */
	/* The ring's last byte, 6 + 8 * 256 bytes from there. */
	assert_int_equal(set_log_addr(bed, 1, 0, last - (6 + 8 * BED_RING_NUM)), 0);
	assert_int_equal(set_log_addr(bed, 1, 0, last - (6 + 8 * BED_RING_NUM) + 1), 1);
	bed_assert_refused(bed, -EBADMSG, "SET_VRING_ADDR: log: ring 0: the used ring's 2054 bytes");
	assert_int_equal(rp_vhu_backend_vring(bed->backend, 0, &vring), 0);
	assert_true(vring.log_used && vring.log_gpa == last - (6 + 8 * BED_RING_NUM));
	bed_diary(bed);
	/* A log that would lose it is refused. */
	assert_int_equal(set_log(bed, 0x1, NEEDED_BYTES, 0, fd), 1);
	bed_assert_refused(bed, -EBADMSG, "log: ring 0");
	assert_int_equal(set_log_addr(bed, 0, 0, 77), 0);
	assert_string_equal(bed_diary(bed), "log-used:0(no) ");
	bed->refuse_log = -ENOSPC;
	assert_int_equal(set_log_addr(bed, 1, 0, BED_GPA), 1);
	bed_assert_refused(bed, -ENOSPC, "SET_VRING_ADDR: ");
	assert_int_equal(rp_vhu_backend_vring(bed->backend, 0, &vring), 0);
	assert_false(vring.log_used);
}

static void
a_ring_that_starts_logged(void **state)
{
	struct bed *bed = *state;
	RP_WIRE_FD_SCOPED int fd = test_memfd(FILE_BYTES, true);
	struct rp_vhu_vring vring;

	bed_run(bed);
	bed_get_base(bed, 0);
	assert_int_equal(set_log(bed, 0x1, FILE_BYTES, 0, fd), 0);
	assert_int_equal(set_log_addr(bed, 1, 0, UINT64_MAX - 100), 0); /* judged when it starts */
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x9, 0);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_VRING_KICK), 1);
	bed_assert_refused(bed, -EBADMSG, "SET_VRING_KICK: log: ring 0");
	assert_int_equal(set_log_addr(bed, 1, 0, BED_GPA), 0);
	bed_diary(bed);
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x9, 0);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_VRING_KICK), 0);
	assert_int_equal(rp_vhu_backend_vring(bed->backend, 0, &vring), 0);
	assert_true(vring.started && vring.log_used && vring.log_gpa == BED_GPA);
}

static void
an_eventfd_says_that_something_was_logged(void **state)
{
	struct bed *bed = *state;
	int fd = peer_eventfd();

	bed_run(bed);
	assert_int_equal(rp_vhu_backend_log_fd(bed->backend), -1);
	assert_true(peer_send(bed->peer, RP_VHU_SET_LOG_FD, 0x9, NULL, 0, &fd, 1));
	bed_process(bed);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_LOG_FD), 0);
	assert_int_equal(rp_wire_fd_same(rp_vhu_backend_log_fd(bed->backend), fd), 1);
	bed_send(bed, RP_VHU_SET_LOG_FD, 0x9, NULL, 0);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_LOG_FD), 1);
	bed_assert_refused(bed, -EBADMSG, "SET_LOG_FD: descriptors");
	assert_int_equal(rp_wire_fd_same(rp_vhu_backend_log_fd(bed->backend), fd), 1);
	rp_wire_fd_close(&fd);
	bed_hang_up(bed);
	assert_int_equal(rp_vhu_backend_log_fd(bed->backend), -1);
}

/* Stopped, then without a log, then without memory: in this order nothing is written that nobody sees. */
static void
ends_with_the_connection(void **state)
{
	struct bed *bed = *state;
	RP_WIRE_FD_SCOPED int fd = test_memfd(FILE_BYTES, true);

	bed_run(bed);
	assert_int_equal(set_log(bed, 0x1, FILE_BYTES, 0, fd), 0);
	bed_diary(bed);
	bed_hang_up(bed);
	assert_string_equal(bed_diary(bed), "stop:0 log(none) remove:40000000 gone ");
	assert_null(rp_vhu_backend_log(bed->backend));
}

static void
only_if_negotiated(void **state)
{
	struct bed *bed = *state;
	const struct rp_vhu_wire_log log = {.size_bytes = FILE_BYTES};
	RP_WIRE_FD_SCOPED int fd = test_memfd(FILE_BYTES, true);

	bed_negotiate_without(bed, 1ull << RP_VHU_PF_LOG_SHMFD_BIT);
	bed_memory(bed);
	bed_diary(bed);
	assert_true(peer_send(bed->peer, RP_VHU_SET_LOG_BASE, 0x1, &log, sizeof(log), &fd, 1));
	bed_process(bed);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_LOG_BASE), 1);
	bed_assert_refused(bed, -ENOTSUP, "SET_LOG_BASE: protocol feature 1");
	assert_string_equal(bed_diary(bed), "");
}

static void
assert_log_file(const struct bed *bed, int fd, uint64_t size_bytes, uint64_t offset_bytes)
{
	struct rp_vhu_shared_file file;

	assert_int_equal(rp_vhu_backend_log_file(bed->backend, &file), 0);
	assert_int_equal(rp_wire_fd_same(file.fd, fd), 1);
	assert_int_equal(file.size_bytes, size_bytes);
	assert_int_equal(file.offset_bytes, offset_bytes);
}

/* Enough to hand it on: the file of the log that there is, not of the one that was refused. */
static void
its_file_is_kept(void **state)
{
	struct bed *bed = *state;
	RP_WIRE_FD_SCOPED int first = test_memfd(FILE_BYTES, true);
	RP_WIRE_FD_SCOPED int second = test_memfd(FILE_BYTES, true);
	struct rp_vhu_shared_file file = {.fd = 77};

	bed_run(bed);
	assert_int_equal(rp_vhu_backend_log_file(bed->backend, &file), -ENOENT);
	assert_int_equal(set_log(bed, 0x1, 8, 0, first), 1);
	assert_int_equal(rp_vhu_backend_log_file(bed->backend, &file), -ENOENT);
	assert_int_equal(file.fd, 77);
	assert_int_equal(set_log(bed, 0x1, NEEDED_BYTES, 16, first), 0);
	assert_log_file(bed, first, NEEDED_BYTES, 16);
	assert_int_equal(set_log(bed, 0x1, 8, 0, second), 1);
	assert_log_file(bed, first, NEEDED_BYTES, 16);
	assert_int_equal(set_log(bed, 0x1, FILE_BYTES, 0, second), 0);
	assert_log_file(bed, second, FILE_BYTES, 0);
	bed_hang_up(bed);
	assert_int_equal(rp_vhu_backend_log_file(bed->backend, &file), -ENOENT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_LOG(answered_whether_asked_or_not),
		WITH_LOG(the_frontend_sees_what_was_marked),
		WITH_LOG(exactly_large_enough),
		WITH_LOG(memory_that_comes_later_must_fit),
		WITH_LOG(a_running_rings_used_ring),
		WITH_LOG(a_ring_that_starts_logged),
		WITH_LOG(an_eventfd_says_that_something_was_logged),
		WITH_LOG(ends_with_the_connection),
		WITH_LOG(only_if_negotiated),
		WITH_LOG(its_file_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
