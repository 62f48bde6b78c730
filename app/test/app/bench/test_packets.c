/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

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

struct fixture {
	struct packets_side side;
	struct packets_null null;
};

static void
open_fixture(struct fixture *fixture, bool packed, unsigned int pairs, uint8_t parts)
{
	const struct packets_shape shape = {
		.pairs = pairs,
		.parts = parts,
		.features = PACKETS_FEATURES | (packed ? 1ull << VIRTIO_F_RING_PACKED : 0),
	};

	assert_int_equal(packets_side_open(&fixture->side, &options, &shape), 0);
	fixture->null = (struct packets_null){.written_bytes = PACKETS_NET_HEADER_BYTES + 64};
	packets_null_open(&fixture->null, &fixture->side);
	assert_int_equal(packets_load_begin(&fixture->side), 0);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_that_was_sent_is_taken),	     cmocka_unit_test(another_size_is_an_error),
		cmocka_unit_test(other_bytes_are_an_error),	     cmocka_unit_test(what_was_not_sent_is_an_error),
		cmocka_unit_test(another_order_is_an_error),	     cmocka_unit_test(more_than_is_out_is_an_error),
		cmocka_unit_test(frames_for_others_are_not_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
