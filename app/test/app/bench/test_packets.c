/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include "packets.h"
#include "packets_null.h"
#include "test_support.h"

/* The generator of load and the device that does nothing, one after the other in one thread. */

#define ROUNDS 50u
#define PAYLOAD_OFFSET 40u

static const struct bench_options options;
static const struct packets_load small = {.sizes_bytes = {64}, .sizes_count = 1};

bool
bench_interrupted(void)
{
	return false;
}

/* What the kernel says when it is asked for huge pages; 0: it makes them, or not. */
static int huge_pages_errno;

int __wrap_madvise(void *address, size_t size_bytes, int advice);

int
__wrap_madvise(void *address, size_t size_bytes, int advice)
{
	(void)address;
	(void)size_bytes;
	(void)advice;
	errno = huge_pages_errno;
	return huge_pages_errno == 0 ? 0 : -1;
}

struct fixture {
	struct packets_side side;
	struct packets_null null;
};

static void
open_fixture_of(struct fixture *fixture, bool packed, unsigned int pairs, uint8_t parts, bool copies)
{
	const struct packets_shape shape = {
		.pairs = pairs,
		.parts = parts,
		.features = PACKETS_FEATURES | (packed ? 1ull << VIRTIO_F_RING_PACKED : 0),
	};

	assert_int_equal(packets_side_open(&fixture->side, &options, &shape), 0);
	fixture->null = (struct packets_null){.written_bytes = PACKETS_NET_HEADER_BYTES + 64};
	packets_null_open(&fixture->null, &fixture->side, copies);
	assert_int_equal(packets_load_begin(&fixture->side), 0);
}

static void
open_fixture(struct fixture *fixture, bool packed, unsigned int pairs, uint8_t parts)
{
	open_fixture_of(fixture, packed, pairs, parts, false);
}

/* Full rings, as often as it takes to go around several times. */
static void
go_around(bool packed, unsigned int pairs, uint8_t parts)
{
	struct fixture fixture;
	unsigned int round, filled, used, once;

	open_fixture(&fixture, packed, pairs, parts);
	for (round = 0; round < ROUNDS; round++) {
		filled = packets_load_fill(&fixture.side, &small);
		assert_int_equal(filled, pairs * PACKETS_RING_NUM / parts);
		for (used = 0; (once = packets_null_poll(&fixture.null)) > 0; used += once)
			;
		assert_int_equal(used, filled);
		assert_int_equal(packets_load_take(&fixture.side, &small), filled);
		assert_int_equal(packets_load_take(&fixture.side, &small), 0);
	}
	packets_side_close(&fixture.side);
}

static void
all_that_was_sent_is_taken(void **state)
{
	unsigned int packed, pairs;
	uint8_t parts;

	(void)state;
	for (packed = 0; packed < 2; packed++) {
		for (pairs = 1; pairs <= PACKETS_PAIRS_MAX; pairs++) {
			for (parts = 1; parts <= 2; parts++)
				go_around(packed != 0, pairs, parts);
		}
	}
}

/* What is copied is what was sent, and in its order. */
static void
a_device_that_copies_is_looked_at_like_any(void **state)
{
	struct fixture fixture;
	unsigned int round, packed;

	(void)state;
	for (packed = 0; packed < 2; packed++) {
		open_fixture_of(&fixture, packed != 0, 1, 1, true);
		for (round = 0; round < ROUNDS; round++) {
			packets_load_fill(&fixture.side, &small);
			while (packets_null_poll(&fixture.null) > 0)
				;
			assert_int_equal(packets_load_take(&fixture.side, &small), PACKETS_RING_NUM);
		}
		fixture.null.copies = false;
		packets_load_fill(&fixture.side, &small);
		while (packets_null_poll(&fixture.null) > 0)
			;
		assert_int_equal(packets_load_take(&fixture.side, &small), -EBADMSG);
		packets_side_close(&fixture.side);
	}
}

static struct packets_ring *
receive_ring(struct fixture *fixture)
{
	return &fixture->side.guests[PACKETS_RECEIVER].rings[PACKETS_RX(0)];
}

/* A full ring given back, and the device that did it. */
static void
serve_once(struct fixture *fixture, bool packed)
{
	open_fixture(fixture, packed, 1, 1);
	packets_load_fill(&fixture->side, &small);
	while (packets_null_poll(&fixture->null) > 0)
		;
}

static void
another_size_is_an_error(void **state)
{
	const struct packets_load large = {.sizes_bytes = {1518}, .sizes_count = 1};
	struct fixture fixture;
	unsigned int packed;

	(void)state;
	for (packed = 0; packed < 2; packed++) {
		serve_once(&fixture, packed != 0);
		assert_int_equal(packets_load_take(&fixture.side, &large), -EBADMSG);
		packets_side_close(&fixture.side);
	}
}

static void
other_bytes_are_an_error(void **state)
{
	struct fixture fixture;

	(void)state;
	serve_once(&fixture, false);
	packets_ring_buffer(receive_ring(&fixture), 3)[PACKETS_FRAME_AT + PAYLOAD_OFFSET] ^= 1;
	assert_int_equal(packets_load_take(&fixture.side, &small), -EBADMSG);
	packets_side_close(&fixture.side);
}

/* Of a large frame each line is looked at, and its size is that of the load. */
static void
a_line_far_behind_is_looked_at(void **state)
{
	const struct packets_load large = {.sizes_bytes = {1518}, .sizes_count = 1};
	const unsigned int lines = 1518 / PACKETS_FRAME_LINE;
	struct fixture fixture;
	unsigned int line;

	(void)state;
	for (line = 1; line <= lines; line++) {
		open_fixture(&fixture, true, 1, 1);
		fixture.null.written_bytes = PACKETS_NET_HEADER_BYTES + 1518;
		packets_load_fill(&fixture.side, &large);
		while (packets_null_poll(&fixture.null) > 0)
			;
		packets_ring_buffer(receive_ring(&fixture), 7)[PACKETS_FRAME_AT + line * PACKETS_FRAME_LINE] ^= 1;
		assert_int_equal(packets_load_take(&fixture.side, &large), -EBADMSG);
		packets_side_close(&fixture.side);
	}
}

/* Frames are of the load's sizes in turn, and what is not zero of a header is made so. */
static void
what_is_sent_is_what_the_load_says(void **state)
{
	const struct packets_load mixed = {.sizes_bytes = {64, 594, 1518}, .sizes_count = 3};
	struct packets_ring *ring;
	struct fixture fixture;
	unsigned int i;

	(void)state;
	open_fixture(&fixture, false, 1, 1);
	ring = &fixture.side.guests[PACKETS_SENDER].rings[PACKETS_TX(0)];
	packets_ring_buffer(ring, 5)[PACKETS_FRAME_AT - 1] = 1;
	assert_int_equal(packets_load_fill(&fixture.side, &mixed), PACKETS_RING_NUM);
	assert_int_equal(packets_ring_buffer(ring, 5)[PACKETS_FRAME_AT - 1], 0);
	for (i = 0; i < PACKETS_RING_NUM; i++) {
		const uint8_t *frame = packets_ring_buffer(ring, (uint16_t)i) + PACKETS_FRAME_AT;

		assert_int_equal(((struct vring_desc *)ring->desc)[i].len,
				 PACKETS_NET_HEADER_BYTES + mixed.sizes_bytes[i % 3]);
		assert_true(packets_frame_is_intact(frame, mixed.sizes_bytes[i % 3]));
		assert_int_equal(packets_frame_number(frame), i);
	}
	packets_side_close(&fixture.side);
}

/* What nobody sent was not received: with a device there must be the sender's numbers, in their order. */
static void
what_was_not_sent_is_an_error(void **state)
{
	struct fixture fixture;
	uint8_t *frame;

	(void)state;
	serve_once(&fixture, true);
	fixture.side.no_device = false;
	frame = packets_ring_buffer(receive_ring(&fixture), 0) + PACKETS_FRAME_AT;
	memcpy(frame, fixture.side.guests[PACKETS_RECEIVER].mac, 6);
	assert_int_equal(packets_load_take(&fixture.side, &small), -EBADMSG);
	packets_side_close(&fixture.side);
}

static void
another_order_is_an_error(void **state)
{
	struct vring_packed_desc *descs;
	struct fixture fixture;
	struct vring_used *used;

	(void)state;
	serve_once(&fixture, false);
	used = (struct vring_used *)receive_ring(&fixture)->used;
	used->ring[1].id ^= 2;
	assert_int_equal(packets_load_take(&fixture.side, &small), -EBADMSG);
	packets_side_close(&fixture.side);
	serve_once(&fixture, true);
	descs = (struct vring_packed_desc *)receive_ring(&fixture)->desc;
	descs[1].id ^= 2;
	assert_int_equal(packets_load_take(&fixture.side, &small), -EBADMSG);
	packets_side_close(&fixture.side);
}

static void
more_than_is_out_is_an_error(void **state)
{
	struct fixture fixture;
	struct vring_used *used;

	(void)state;
	serve_once(&fixture, false);
	used = (struct vring_used *)receive_ring(&fixture)->used;
	used->idx++;
	assert_int_equal(packets_load_take(&fixture.side, &small), -EBADMSG);
	packets_side_close(&fixture.side);
}

/* A switch floods what it cannot place: others' frames are read over, and their buffers given back. */
static void
frames_for_others_are_not_counted(void **state)
{
	struct fixture fixture;

	(void)state;
	serve_once(&fixture, false);
	fixture.side.no_device = false;
	assert_int_equal(packets_load_take(&fixture.side, &small), 0);
	assert_int_equal(receive_ring(&fixture)->out, PACKETS_RING_NUM);
	packets_side_close(&fixture.side);
}

/* A device that copies, and after its first turn of the ring leaves out what is in the buffers from then. */
struct lazy {
	struct fixture fixture;
	uint16_t frame_bytes;
	bool no_headers, no_rests;
	bool stop; /* atomic */
};

static void
copy_lazily(struct lazy *lazy)
{
	const struct packets_null_ring *tx = &lazy->fixture.null.tx[0], *rx = &lazy->fixture.null.rx[0];
	bool again = tx->index >= PACKETS_RING_NUM;
	unsigned int i;

	for (i = 0; i < PACKETS_BURST; i++) {
		uint16_t slot = (uint16_t)((tx->slot + i) % PACKETS_RING_NUM);
		uint8_t *to = packets_ring_buffer(rx->ring, slot) + PACKETS_FRAME_AT;

		if (!again || !lazy->no_headers)
			to[-2] = 1;
		memcpy(to, packets_ring_buffer(tx->ring, slot) + PACKETS_FRAME_AT,
		       again && lazy->no_rests ? PACKETS_FRAME_LINE : lazy->frame_bytes);
	}
}

/* Whole bursts, as they are sent: what is copied is what is given back. */
static void *
lazy_main(void *ctx)
{
	struct lazy *lazy = ctx;
	struct packets_null_ring *tx = &lazy->fixture.null.tx[0];
	const struct vring_avail *avail = (const struct vring_avail *)tx->ring->avail;

	while (!__atomic_load_n(&lazy->stop, __ATOMIC_ACQUIRE)) {
		uint16_t index = le16toh(__atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE));

		if ((uint16_t)(index - tx->index) < PACKETS_BURST) {
			sched_yield();
			continue;
		}
		copy_lazily(lazy);
		packets_null_poll(&lazy->fixture.null);
	}
	return NULL;
}

static int
run_lazy(uint16_t frame_bytes, bool no_headers, bool no_rests)
{
	const struct packets_load load = {.sizes_bytes = {frame_bytes}, .sizes_count = 1};
	struct lazy lazy = {.frame_bytes = frame_bytes, .no_headers = no_headers, .no_rests = no_rests};
	struct packets_result result;
	pthread_t thread;
	int rc;

	open_fixture_of(&lazy.fixture, false, 1, 1, true);
	lazy.fixture.null.copies = false;
	lazy.fixture.null.written_bytes = PACKETS_NET_HEADER_BYTES + frame_bytes;
	assert_int_equal(pthread_create(&thread, NULL, lazy_main, &lazy), 0);
	rc = packets_load_run(&lazy.fixture.side, &load, 1, &result);
	__atomic_store_n(&lazy.stop, true, __ATOMIC_RELEASE);
	assert_int_equal(pthread_join(thread, NULL), 0);
	packets_side_close(&lazy.fixture.side);
	return rc;
}

static void
what_is_left_of_an_earlier_packet_is_an_error(void **state)
{
	(void)state;
	assert_int_equal(run_lazy(64, false, false), 0);
	assert_int_equal(run_lazy(1518, false, false), 0);
	assert_int_equal(run_lazy(64, true, false), -EBADMSG);
	assert_int_equal(run_lazy(1518, false, true), -EBADMSG);
}

/* @return how many lines there were on stderr while memory was made twice. */
static unsigned int
lines_without_huge_pages(int error)
{
	int stderr_fd = dup(STDERR_FILENO), lines_fd = memfd_create("lines", MFD_CLOEXEC);
	struct fixture fixture;
	unsigned int lines = 0, i;
	char one;

	assert_true(stderr_fd >= 0 && lines_fd >= 0);
	assert_int_equal(dup2(lines_fd, STDERR_FILENO), STDERR_FILENO);
	huge_pages_errno = error;
	for (i = 0; i < 2; i++) {
		open_fixture(&fixture, false, 1, 1);
		packets_side_close(&fixture.side);
	}
	huge_pages_errno = 0;
	fflush(stderr);
	assert_int_equal(dup2(stderr_fd, STDERR_FILENO), STDERR_FILENO);
	close(stderr_fd);
	assert_int_equal(lseek(lines_fd, 0, SEEK_SET), 0);
	while (read(lines_fd, &one, 1) == 1)
		lines += one == '\n';
	close(lines_fd);
	return lines;
}

static void
memory_in_small_pages_is_said_once(void **state)
{
	(void)state;
	assert_int_equal(lines_without_huge_pages(EINVAL), 0);
	assert_int_equal(lines_without_huge_pages(ENOMEM), 1);
	assert_int_equal(lines_without_huge_pages(ENOMEM), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_that_copies_is_looked_at_like_any),
		cmocka_unit_test(all_that_was_sent_is_taken),
		cmocka_unit_test(another_size_is_an_error),
		cmocka_unit_test(other_bytes_are_an_error),
		cmocka_unit_test(a_line_far_behind_is_looked_at),
		cmocka_unit_test(what_is_sent_is_what_the_load_says),
		cmocka_unit_test(what_was_not_sent_is_an_error),
		cmocka_unit_test(another_order_is_an_error),
		cmocka_unit_test(more_than_is_out_is_an_error),
		cmocka_unit_test(frames_for_others_are_not_counted),
		cmocka_unit_test(what_is_left_of_an_earlier_packet_is_an_error),
		cmocka_unit_test(memory_in_small_pages_is_said_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
