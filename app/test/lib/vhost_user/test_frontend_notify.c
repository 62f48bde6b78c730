/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "desk.h"
#include "rp_wire_fd.h"

static uint16_t
doorbell_of(struct desk *desk, unsigned int queue)
{
	uint16_t word = 0xffff;

	assert_int_equal(pread(desk->area_fd, &word, sizeof(word), (off_t)queue * 4096), sizeof(word));
	return le16toh(word);
}

/* The guest's store is the 16-bit queue index at offset 0 of the page. */
static void
a_store_instead_of_an_eventfd(void **state)
{
	struct desk *desk = *state;
	uint64_t count;

	desk_negotiate(desk);
	desk_ring_start(desk, 2);
	assert_int_equal(rp_vhu_frontend_kick(desk->frontend, 2), 0);
	assert_int_equal(read(desk->kick_fd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(desk_map(desk, 2), 0);
	assert_string_equal(desk_diary(desk), "map:2 ");
	assert_int_equal(rp_vhu_frontend_notify_map(desk->frontend, 2).size_bytes, 4096);
	assert_int_equal(rp_vhu_frontend_kick(desk->frontend, 2), 1);
	assert_int_equal(doorbell_of(desk, 2), 2);
	assert_true(read(desk->kick_fd, &count, sizeof(count)) < 0);
	assert_int_equal(desk_area(desk, &(struct desk_area){.queue_flags = 2 | 0x100, .fd = -1}), 0);
	assert_string_equal(desk_diary(desk), "unmap:2 ");
	assert_int_equal(rp_vhu_frontend_kick(desk->frontend, 2), 0);
	assert_int_equal(read(desk->kick_fd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(rp_vhu_frontend_kick(desk->frontend, DESK_QUEUES), -EINVAL);
	assert_null(rp_vhu_frontend_notify_map(desk->frontend, DESK_QUEUES).address);
	assert_int_equal(desk->refused_count, 0);
}

static void
refused(struct desk *desk, const struct desk_area *area, int error, const char *words)
{
	assert_int_equal(desk_area(desk, area), 1);
	desk_assert_refused(desk, error, words);
	assert_memory_equal(desk->refused.text, "BACKEND_VRING_HOST_NOTIFIER_MSG: ", 33);
}

/* Everything that can be wrong; the good mapping survives all of it. */
static void
a_bad_area_leaves_the_old(void **state)
{
	struct desk *desk = *state;
	int unsealed = test_memfd(4096, false), small = test_memfd(4096, true), read_only, pipe_fds[2];
	int never = memfd_create("sealed against sealing", MFD_CLOEXEC);
	void *address;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", desk->area_fd);
	read_only = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(read_only >= 0 && never >= 0);
	assert_int_equal(ftruncate(never, 4096), 0);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	desk_negotiate(desk);
	desk_ring_start(desk, 0);
	assert_int_equal(desk_map(desk, 0), 0);
	desk_diary(desk);
	address = rp_vhu_frontend_notify_map(desk->frontend, 0).address;

	refused(desk, &(struct desk_area){1, 4096, 0, desk->area_fd}, -EBUSY, "ring 1 is not started");
	refused(desk, &(struct desk_area){DESK_QUEUES, 4096, 0, desk->area_fd}, -EBADMSG, "queue: 4, expected 0 to 3");
	refused(desk, &(struct desk_area){0, 8192, 0, desk->area_fd}, -EBADMSG, "size: 8192, expected 4096");
	refused(desk, &(struct desk_area){0, 2, 0, desk->area_fd}, -EBADMSG, "size: 2");
	refused(desk, &(struct desk_area){0, 0, 0, desk->area_fd}, -EBADMSG, "size: 0");
	refused(desk, &(struct desk_area){0, 4096, 2, desk->area_fd}, -EBADMSG, "offset: 0x2");
	refused(desk, &(struct desk_area){0, 4096, -4096ull, desk->area_fd}, -EBADMSG, "offset: 0xfffffffffffff000");
	refused(desk, &(struct desk_area){0, 4096, 1ull << 62, desk->area_fd}, -EBADMSG, "the file has 65536 bytes");
	refused(desk, &(struct desk_area){0, 4096, 65536, desk->area_fd}, -EBADMSG, "the area ends at 69632");
	refused(desk, &(struct desk_area){0, 4096, 4096, small}, -EBADMSG, "the file has 4096 bytes");
	refused(desk, &(struct desk_area){0, 4096, 0, unsealed}, -EBADMSG, "not sealed against shrinking");
	refused(desk, &(struct desk_area){0, 4096, 0, never}, -EBADMSG, "not sealed against shrinking");
	refused(desk, &(struct desk_area){0, 4096, 0, read_only}, -EBADMSG, "mmap");
	refused(desk, &(struct desk_area){0, 4096, 0, desk->kick_fd}, -EBADMSG, "mmap");
	refused(desk, &(struct desk_area){0, 4096, 0, pipe_fds[0]}, -EBADMSG, "mmap");
	refused(desk, &(struct desk_area){0 | 0x100, 4096, 0, desk->area_fd}, -EBADMSG, "bit 8 (no descriptor) is 1");
	refused(desk, &(struct desk_area){0, 4096, 0, -1}, -EBADMSG, "bit 8 (no descriptor) is 0");
	refused(desk, &(struct desk_area){0 | 0x200, 4096, 0, desk->area_fd}, -EBADMSG, "u64: 0x200");
	assert_string_equal(desk_diary(desk), "");
	desk->refuse_area = -ENOSPC;
	refused(desk, &(struct desk_area){0, 4096, 4096, desk->area_fd}, -ENOSPC, "the owner has no slot");
	assert_ptr_equal(rp_vhu_frontend_notify_map(desk->frontend, 0).address, address);
	assert_int_equal(rp_vhu_frontend_kick(desk->frontend, 0), 1);
	assert_int_equal(doorbell_of(desk, 0), 0);
	rp_wire_fd_close(&unsealed);
	rp_wire_fd_close(&never);
	rp_wire_fd_close(&small);
	rp_wire_fd_close(&read_only);
	rp_wire_fd_close_all(pipe_fds, 2);
}

/* More would be mapped than a slot, and munmap(2) would not end it. */
static void
a_slot_in_huge_pages(void **state)
{
	struct desk *desk = *state;
	int fd = test_huge_memfd(TEST_HUGE_PAGE_BYTES);

	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	desk_negotiate(desk);
	desk_ring_start(desk, 0);
	refused(desk, &(struct desk_area){0, 4096, 0, fd}, -EBADMSG, "in pages of 2097152 bytes, the slot has 4096");
	rp_wire_fd_close(&fd);
}

/* The owner is told of the new one only, and the old is gone afterwards. */
static void
replace_is_one_step(void **state)
{
	struct desk *desk = *state;
	struct test_leaks before;

	desk_negotiate(desk);
	desk_ring_start(desk, 3);
	assert_int_equal(desk_map(desk, 3), 0);
	test_leaks_read(&before);
	assert_int_equal(desk_area(desk, &(struct desk_area){3, 4096, 8 * 4096, desk->area_fd}), 0);
	test_leaks_assert_none(&before);
	assert_string_equal(desk_diary(desk), "map:3 map:3 ");
	assert_int_equal(rp_vhu_frontend_kick(desk->frontend, 3), 1);
	assert_int_equal(doorbell_of(desk, 8), 3);
	assert_int_equal(doorbell_of(desk, 3), 0);
}

static void
dropped_at_stop_and_reset(void **state)
{
	struct desk *desk = *state;
	struct test_leaks before;

	desk_negotiate(desk);
	test_leaks_read(&before);
	desk_ring_start(desk, 0);
	desk_ring_start(desk, 1);
	assert_int_equal(desk_map(desk, 0), 0);
	assert_int_equal(desk_map(desk, 1), 0);
	desk_diary(desk);
	assert_int_equal(desk_ring_stop(desk, 0), 7);
	assert_string_equal(desk_diary(desk), "unmap:0 ");
	refused(desk, &(struct desk_area){0, 4096, 0, desk->area_fd}, -EBUSY, "not started");
	desk_answer_u64(desk, RP_VHU_RESET_DEVICE, 0);
	assert_int_equal(rp_vhu_frontend_reset_device(desk->frontend, NULL), 0);
	assert_string_equal(desk_diary(desk), "unmap:1 ");
	refused(desk, &(struct desk_area){1, 4096, 0, desk->area_fd}, -EBUSY, "not started");
	/* Nobody is told twice. */
	assert_int_equal(desk_area(desk, &(struct desk_area){.queue_flags = 1 | 0x100, .fd = -1}), 0);
	assert_string_equal(desk_diary(desk), "");
}

/* Enabling, another call eventfd, other memory: the doorbell is none of their business. */
static void
stays_through_everything_else(void **state)
{
	struct desk *desk = *state;
	const struct rp_vhu_region region = {.size_bytes = 4096, .fd = desk->area_fd};
	void *address;

	desk_negotiate(desk);
	desk_ring_start(desk, 0);
	assert_int_equal(desk_map(desk, 0), 0);
	address = rp_vhu_frontend_notify_map(desk->frontend, 0).address;
	desk_answer_u64(desk, RP_VHU_SET_VRING_ENABLE, 0);
	assert_int_equal(rp_vhu_frontend_ring_enable(desk->frontend, 0, false, NULL), 0);
	desk_answer_u64(desk, RP_VHU_SET_VRING_CALL, 0);
	assert_int_equal(rp_vhu_frontend_ring_call(desk->frontend, 0, desk->call_fd, NULL), 0);
	desk_answer_u64(desk, RP_VHU_SET_MEM_TABLE, 0);
	assert_int_equal(rp_vhu_frontend_set_mem_table(desk->frontend, &region, 1, NULL), 0);
	desk_answer_u64(desk, RP_VHU_ADD_MEM_REG, 0);
	assert_int_equal(rp_vhu_frontend_add_mem_reg(desk->frontend, &region, NULL), 0);
	assert_string_equal(desk_diary(desk), "map:0 ");
	assert_ptr_equal(rp_vhu_frontend_notify_map(desk->frontend, 0).address, address);
}

static void
dropped_when_the_backend_leaves(void **state)
{
	struct desk *desk = *state;

	desk_negotiate(desk);
	desk_ring_start(desk, 0);
	assert_int_equal(desk_map(desk, 0), 0);
	desk_diary(desk);
	desk_hang_up(desk);
	assert_int_equal(rp_vhu_frontend_process(desk->frontend), -ENOTCONN);
	assert_string_equal(desk_diary(desk), "unmap:0 ");
	assert_int_equal(desk->disconnected_count, 1);
	assert_int_equal(rp_vhu_frontend_process(desk->frontend), -ENOTCONN);
	assert_int_equal(desk->disconnected_count, 1);
}

/* Without its channel the backend cannot take a doorbell back any more. */
static void
dropped_with_the_channel(void **state)
{
	struct desk *desk = *state;

	desk_negotiate(desk);
	desk_ring_start(desk, 0);
	assert_int_equal(desk_map(desk, 0), 0);
	desk_diary(desk);
	rp_wire_fd_close(&desk->channel);
	assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
	assert_string_equal(desk_diary(desk), "unmap:0 ");
	assert_int_equal(desk->disconnected_count, 0);
	assert_int_equal(desk_ring_stop(desk, 0), 7);
}

/* The offer came while the ring was being started, and then the start failed. */
static void
dropped_when_a_start_fails(void **state)
{
	const struct rp_vhu_wire_area area = {.size_bytes = 4096};
	struct desk *desk = *state;
	const struct rp_vhu_frontend_ring ring = {.num = 256, .kick_fd = desk->kick_fd, .call_fd = desk->call_fd};

	desk_negotiate(desk);
	assert_true(peer_send(desk->channel, 3, 0x9, &area, sizeof(area), &desk->area_fd, 1));
	desk_answer_u64(desk, RP_VHU_SET_VRING_KICK, 0);
	desk_answer_u64(desk, RP_VHU_SET_VRING_CALL, 1);
	assert_int_equal(rp_vhu_frontend_ring_start(desk->frontend, 0, &ring, NULL), -EREMOTEIO);
	assert_string_equal(desk_diary(desk), "map:0 unmap:0 ");
	assert_null(rp_vhu_frontend_notify_map(desk->frontend, 0).address);
}

static void
only_what_was_negotiated(void **state)
{
	struct desk *desk = *state;
	struct rp_vhu_frontend_config config = desk_config;

	desk_close(desk);
	config.protocol_features &= ~(1ull << RP_VHU_PF_BACKEND_SEND_FD_BIT);
	desk_open(desk, &config);
	desk_negotiate(desk);
	desk_ring_start(desk, 0);
	refused(desk, &(struct desk_area){0, 4096, 0, desk->area_fd}, -ENOTSUP, "BACKEND_SEND_FD was not negotiated");
	desk_close(desk);
	config.protocol_features = DESK_PROTOCOL_FEATURES & ~(1ull << RP_VHU_PF_HOST_NOTIFIER_BIT);
	desk_open(desk, &config);
	desk_negotiate(desk);
	desk_ring_start(desk, 0);
	refused(desk, &(struct desk_area){0, 4096, 0, desk->area_fd}, -ENOTSUP,
		"protocol feature 11 was not negotiated");
	assert_string_equal(desk_diary(desk), "");
}

/* Whoever is told that an area went is in the middle of something, too: a call, or the end of the connection. */
static void
a_callback_cannot_wait(void **state)
{
	struct desk *desk = *state;

	desk_negotiate(desk);
	desk_ring_start(desk, 0);
	desk->wait_in_callback = true;
	assert_int_equal(desk_map(desk, 0), 0);
	assert_int_equal(desk->wait_result, -EBUSY);
	desk->wait_result = 0;
	assert_int_equal(desk_ring_stop(desk, 0), 7);
	assert_int_equal(desk->wait_result, -EBUSY);
	desk_expect_no_more(desk);
	desk_ring_start(desk, 0);
	assert_int_equal(desk_map(desk, 0), 0);
	desk->wait_result = 0;
	assert_true(peer_send(desk->peer, RP_VHU_GET_STATUS, 0x5, NULL, 0, NULL, 0)); /* nobody asked */
	assert_int_equal(rp_vhu_frontend_process(desk->frontend), -ENOTCONN);
	assert_int_equal(desk->wait_result, -EBUSY);
	assert_int_equal(desk->disconnected_count, 1);
}

/* A slot of four bytes: no page can be mapped for one queue alone. */
static void
slots_smaller_than_a_page(void **state)
{
	struct desk *desk = *state;
	struct rp_vhu_frontend_config config = desk_config;

	desk_close(desk);
	config.notify_slot_bytes = 4;
	desk_open(desk, &config);
	desk_negotiate(desk);
	desk_ring_start(desk, 0);
	refused(desk, &(struct desk_area){0, 4096, 0, desk->area_fd}, -EBADMSG, "size: 4096, expected 4");
	refused(desk, &(struct desk_area){0, 4, 0, desk->area_fd}, -EBADMSG, "in whole pages");
}

/* As QEMU: what the backend asks meanwhile waits until the call is over. */
static void
deaf_while_waiting(void **state)
{
	struct desk *desk = *state;
	struct rp_vhu_frontend_config config = desk_config;
	const struct rp_vhu_wire_area area = {.size_bytes = 4096};
	unsigned int deaf;

	for (deaf = 0; deaf < 2; deaf++) {
		desk_close(desk);
		config.deaf_while_waiting = deaf == 1;
		desk_open(desk, &config);
		desk_negotiate(desk);
		desk_ring_start(desk, 0);
		assert_true(peer_send(desk->channel, 3, 0x9, &area, sizeof(area), &desk->area_fd, 1));
		desk_answer_u64(desk, RP_VHU_SET_VRING_ENABLE, 0);
		assert_int_equal(rp_vhu_frontend_ring_enable(desk->frontend, 0, true, NULL), 0);
		assert_string_equal(desk_diary(desk), deaf == 1 ? "" : "map:0 ");
		assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
		assert_string_equal(desk_diary(desk), deaf == 1 ? "map:0 " : "");
		desk_diary(desk);
		desk_close(desk);
		assert_string_equal(desk_diary(desk), "unmap:0 ");
		desk_open(desk, &config);
	}
}

static void
start(struct desk *desk, unsigned int queue)
{
	const struct rp_vhu_frontend_ring ring = {.num = 256, .kick_fd = desk->kick_fd, .call_fd = desk->call_fd};

	assert_int_equal(rp_vhu_frontend_ring_start(desk->frontend, queue, &ring, NULL), 0);
}

static void
stop(struct desk *desk, unsigned int queue)
{
	uint32_t base;

	assert_int_equal(rp_vhu_frontend_ring_stop(desk->frontend, queue, &base, NULL), 0);
}

static uint64_t
area_as(struct desk *desk, uint32_t request)
{
	const struct rp_vhu_wire_area area = {0, (uint64_t)sysconf(_SC_PAGESIZE), 0};

	return desk_ask(desk, request, &area, sizeof(area), desk->area_fd);
}

/* The same number is another message, or none, in another profile. */
static void
numbers_of_each_profile(void **state)
{
	/* profile, request, its answer */
	static const struct {
		enum rp_vhu_profile profile;
		uint32_t request;
		int error;
		const char *words;
	} rows[] = {
		{RP_VHU_PROFILE_STANDARD, 3, 0, ""},
		{RP_VHU_PROFILE_STANDARD, 4, -ENOTSUP, "BACKEND_VRING_CALL: not implemented"},
		{RP_VHU_PROFILE_STANDARD, 0x5601, -ENOTSUP, "request 22017: unknown"},
		{RP_VHU_PROFILE_EXTENDED, 3, 0, ""},
		{RP_VHU_PROFILE_EXTENDED, 4, -ENOTSUP, "BACKEND_VRING_CALL: not implemented"},
		{RP_VHU_PROFILE_EXTENDED, 0x5601, 0, ""},
		{RP_VHU_PROFILE_VFIO2018, 3, -EMSGSIZE, "SLAVE_VRING_VFIO_GROUP_MSG: payload: 24 bytes, expected 8"},
		{RP_VHU_PROFILE_VFIO2018, 4, 0, ""},
		{RP_VHU_PROFILE_VFIO2018, 0x5601, -ENOTSUP, "request 22017: unknown"},
	};
	struct desk *desk = *state;
	unsigned int i;

	for (i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		desk_open_profile(desk, rows[i / 2].profile, i % 2 == 0);
		start(desk, 0);
		assert_int_equal(area_as(desk, rows[i / 2].request), rows[i / 2].error < 0);
		if (rows[i / 2].error < 0)
			desk_assert_refused(desk, rows[i / 2].error, rows[i / 2].words);
		assert_string_equal(desk_diary(desk), rows[i / 2].error < 0 ? "" : "map:0 ");
	}
}

/* Message 3 is HOST_NOTIFIER's own, whatever else was negotiated. */
static void
the_extension_without_host_notifier(void **state)
{
	struct desk *desk = *state;
	struct rp_vhu_frontend_config config = desk_config;

	config.profile = RP_VHU_PROFILE_EXTENDED;
	config.protocol_features = ~(1ull << RP_VHU_PF_HOST_NOTIFIER_BIT);
	desk_yes(desk, &config, UINT64_MAX);
	assert_int_equal(rp_vhu_frontend_negotiate(desk->frontend, NULL), 0);
	start(desk, 0);
	assert_int_equal(area_as(desk, 0x5601), 0);
	assert_int_equal(area_as(desk, 3), 1);
	desk_assert_refused(desk, -ENOTSUP, "protocol feature 11 was not negotiated");
	assert_string_equal(desk_diary(desk), "map:0 ");
}

/* As a master of 2018: what was mapped is there again when the ring is, without another message. */
static void
kept_over_a_stop(void **state)
{
	struct desk *desk = *state;
	struct test_leaks mapped;

	desk_open_profile(desk, RP_VHU_PROFILE_VFIO2018, true);
	start(desk, 1);
	assert_int_equal(desk_map(desk, 1), 0);
	test_leaks_read(&mapped);
	stop(desk, 1);
	assert_string_equal(desk_diary(desk), "map:1 unmap:1 ");
	assert_null(rp_vhu_frontend_notify_map(desk->frontend, 1).address);
	assert_int_equal(rp_vhu_frontend_kick(desk->frontend, 1), 0);
	/* Nothing new for a ring that is stopped. */
	assert_int_equal(desk_map(desk, 1), 1);
	desk_assert_refused(desk, -EBUSY, "ring 1 is not started");
	start(desk, 1);
	assert_string_equal(desk_diary(desk), "map:1 ");
	assert_int_equal(rp_vhu_frontend_kick(desk->frontend, 1), 1);
	assert_int_equal(doorbell_of(desk, 1), 1);
	test_leaks_assert_none(&mapped);
}

static void
forgotten_over_a_stop(void **state)
{
	struct desk *desk = *state;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		desk_open_profile(desk, i == 0 ? RP_VHU_PROFILE_STANDARD : RP_VHU_PROFILE_EXTENDED, true);
		start(desk, 1);
		assert_int_equal(desk_map(desk, 1), 0);
		stop(desk, 1);
		start(desk, 1);
		assert_string_equal(desk_diary(desk), "map:1 unmap:1 ");
		assert_int_equal(rp_vhu_frontend_kick(desk->frontend, 1), 0);
		assert_int_equal(desk_map(desk, 1), 0);
		desk_diary(desk);
	}
}

static void
taken_back(struct desk *desk)
{
	assert_int_equal(desk_area(desk, &(struct desk_area){.queue_flags = 1 | 0x100, .fd = -1}), 0);
}

static void
reset_device(struct desk *desk)
{
	assert_int_equal(rp_vhu_frontend_reset_device(desk->frontend, NULL), 0);
}

static void
reset_owner(struct desk *desk)
{
	assert_int_equal(rp_vhu_frontend_reset_owner(desk->frontend, NULL), 0);
}

static void
close_channel(struct desk *desk)
{
	rp_wire_fd_close(&desk->channel);
	assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
}

/* What ends a kept area while its ring is stopped. Nobody is told: nobody sees it. */
static void
what_is_kept_can_go(void **state)
{
	static void (*const ends[])(struct desk *) = {taken_back, reset_device, reset_owner, close_channel};
	struct desk *desk = *state;
	struct test_leaks before;
	unsigned int i;

	for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		desk_open_profile(desk, RP_VHU_PROFILE_VFIO2018, i % 2 == 0);
		start(desk, 1);
		test_leaks_read(&before);
		assert_int_equal(desk_map(desk, 1), 0);
		stop(desk, 1);
		desk_diary(desk);
		ends[i](desk);
		if (ends[i] == close_channel)
			before.fds_count -= 2;
		if (ends[i] == reset_device || ends[i] == reset_owner)
			before.fds_count -= 1; /* the kick's duplicate */
		test_leaks_assert_none(&before);
		start(desk, 1);
		assert_string_equal(desk_diary(desk), "");
		assert_int_equal(rp_vhu_frontend_kick(desk->frontend, 1), 0);
	}
}

/* Its slot is gone meanwhile: then kicks come by eventfd, and the ring runs. */
static void
an_owner_that_does_not_want_it_back(void **state)
{
	struct desk *desk = *state;

	desk_open_profile(desk, RP_VHU_PROFILE_VFIO2018, true);
	start(desk, 1);
	assert_int_equal(desk_map(desk, 1), 0);
	stop(desk, 1);
	desk->refuse_area = -ENOSPC;
	desk_diary(desk);
	start(desk, 1);
	assert_string_equal(desk_diary(desk), "map:1 ");
	assert_int_equal(rp_vhu_frontend_kick(desk->frontend, 1), 0);
	assert_int_equal(desk->refused_count, 0);
	/* For good: it is not asked again. */
	stop(desk, 1);
	start(desk, 1);
	assert_string_equal(desk_diary(desk), "");
	assert_int_equal(desk_map(desk, 1), 0);
}

/* A start that fails hides it, and the next one shows it. */
static void
kept_over_a_start_that_fails(void **state)
{
	struct desk *desk = *state;
	const struct rp_vhu_frontend_ring ring = {.num = 256, .kick_fd = desk->kick_fd, .call_fd = desk->call_fd};

	desk_open_profile(desk, RP_VHU_PROFILE_VFIO2018, true);
	start(desk, 1);
	assert_int_equal(desk_map(desk, 1), 0);
	stop(desk, 1);
	desk_diary(desk);
	desk_answer_u64(desk, RP_VHU_SET_VRING_KICK, 1);
	assert_int_equal(rp_vhu_frontend_ring_start(desk->frontend, 1, &ring, NULL), -EREMOTEIO);
	assert_string_equal(desk_diary(desk), "map:1 unmap:1 ");
	assert_null(rp_vhu_frontend_notify_map(desk->frontend, 1).address);
	start(desk, 1);
	assert_string_equal(desk_diary(desk), "map:1 ");
}

/* Growing does no harm to what is mapped; a file that cannot be written cannot be rung. */
static void
seals(void **state)
{
	struct desk *desk = *state;
	const uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	int both = test_memfd(page_bytes, true), grown = test_memfd(page_bytes, true);
	int no_writes = test_memfd(page_bytes, true);

	assert_int_equal(fcntl(both, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SEAL), 0);
	assert_int_equal(ftruncate(grown, (off_t)(4 * page_bytes)), 0);
	assert_int_equal(fcntl(no_writes, F_ADD_SEALS, F_SEAL_WRITE), 0);
	desk_open_profile(desk, RP_VHU_PROFILE_STANDARD, true);
	start(desk, 0);
	assert_int_equal(desk_area(desk, &(struct desk_area){0, page_bytes, 0, both}), 0);
	assert_int_equal(desk_area(desk, &(struct desk_area){0, page_bytes, 3 * page_bytes, grown}), 0);
	assert_int_equal(ftruncate(grown, (off_t)(8 * page_bytes)), 0);
	assert_int_equal(rp_vhu_frontend_kick(desk->frontend, 0), 1);
	desk_diary(desk);
	refused(desk, &(struct desk_area){0, page_bytes, 0, no_writes}, -EBADMSG, "mmap");
	assert_string_equal(desk_diary(desk), "");
	rp_wire_fd_close(&both);
	rp_wire_fd_close(&grown);
	rp_wire_fd_close(&no_writes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DESK(a_store_instead_of_an_eventfd),
		WITH_DESK(a_bad_area_leaves_the_old),
		WITH_DESK(a_slot_in_huge_pages),
		WITH_DESK(replace_is_one_step),
		WITH_DESK(dropped_at_stop_and_reset),
		WITH_DESK(stays_through_everything_else),
		WITH_DESK(dropped_when_the_backend_leaves),
		WITH_DESK(dropped_with_the_channel),
		WITH_DESK(dropped_when_a_start_fails),
		WITH_DESK(only_what_was_negotiated),
		WITH_DESK(a_callback_cannot_wait),
		WITH_DESK(slots_smaller_than_a_page),
		WITH_DESK(deaf_while_waiting),
		WITH_DESK(numbers_of_each_profile),
		WITH_DESK(the_extension_without_host_notifier),
		WITH_DESK(kept_over_a_stop),
		WITH_DESK(forgotten_over_a_stop),
		WITH_DESK(what_is_kept_can_go),
		WITH_DESK(an_owner_that_does_not_want_it_back),
		WITH_DESK(kept_over_a_start_that_fails),
		WITH_DESK(seals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
