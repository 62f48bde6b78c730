/* SPDX-License-Identifier: BSD-3-Clause */
#include <sys/socket.h>

#include "bed.h"
#include "rp_wire_fd.h"

/*
 * Bytes, written by hand from vhost-user.rst: both ends of this library could
 * agree on the same mistake, these cannot.
 */

static void
send_hex(struct bed *bed, const char *hex, const int *fds, unsigned int fds_count)
{
	uint8_t bytes[512];
	size_t size_bytes = peer_hex(hex, bytes, sizeof(bytes));

	assert_true(peer_send_bytes(bed->peer, bytes, size_bytes, fds, fds_count));
	bed_process(bed);
	bed_assert_nothing_refused(bed);
}

static void
expect_hex(int peer, const char *hex)
{
	uint8_t expected[512], found[512];
	size_t size_bytes = peer_hex(hex, expected, sizeof(expected));

	assert_int_equal(recv(peer, found, sizeof(found), MSG_DONTWAIT), size_bytes);
	assert_memory_equal(found, expected, size_bytes);
}

static void
features_and_queues(void **state)
{
	struct bed *bed = *state;

	send_hex(bed, "01 00 00 00 01 00 00 00 00 00 00 00", NULL, 0);
	expect_hex(bed->peer, "01 00 00 00 05 00 00 00 08 00 00 00 00 00 00 70 05 00 00 00");
	send_hex(bed, "0f 00 00 00 01 00 00 00 00 00 00 00", NULL, 0);
	expect_hex(bed->peer, "0f 00 00 00 05 00 00 00 08 00 00 00 3d ae 01 00 00 00 00 00");
	send_hex(bed, "10 00 00 00 01 00 00 00 08 00 00 00 3d ae 01 00 00 00 00 00", NULL, 0);
	assert_int_equal(rp_vhu_backend_protocol_features(bed->backend), 0x1ae3d);
	send_hex(bed, "11 00 00 00 01 00 00 00 00 00 00 00", NULL, 0);
	expect_hex(bed->peer, "11 00 00 00 05 00 00 00 08 00 00 00 04 00 00 00 00 00 00 00");
	send_hex(bed, "24 00 00 00 01 00 00 00 00 00 00 00", NULL, 0);
	expect_hex(bed->peer, "24 00 00 00 05 00 00 00 08 00 00 00 20 00 00 00 00 00 00 00");
	/* SET_FEATURES that asks for an answer: VERSION_1 and PROTOCOL_FEATURES. */
	send_hex(bed, "02 00 00 00 09 00 00 00 08 00 00 00 00 00 00 40 01 00 00 00", NULL, 0);
	expect_hex(bed->peer, "02 00 00 00 05 00 00 00 08 00 00 00 00 00 00 00 00 00 00 00");
	assert_int_equal(rp_vhu_backend_features(bed->backend), 1ull << 32 | 1ull << 30);
}

static void
configuration_space(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_diary(bed);
	send_hex(bed, "18 00 00 00 01 00 00 00 0e 00 00 00 06 00 00 00 02 00 00 00 00 00 00 00 00 00", NULL, 0);
	expect_hex(bed->peer, "18 00 00 00 05 00 00 00 0e 00 00 00 06 00 00 00 02 00 00 00 00 00 00 00 06 07");
	send_hex(bed, "19 00 00 00 01 00 00 00 0d 00 00 00 05 00 00 00 01 00 00 00 00 00 00 00 ab", NULL, 0);
	assert_string_equal(bed_diary(bed), "config:5+1=ab ");
}

#define REGION "00 00 00 40 00 00 00 00 00 00 10 00 00 00 00 00 00 00 00 00 00 7f 00 00 00 20 00 00 00 00 00 00"

static void
memory(void **state)
{
	struct bed *bed = *state;
	struct rp_vhu_region region;

	bed_negotiate(bed);
	send_hex(bed, "05 00 00 00 09 00 00 00 28 00 00 00 01 00 00 00 00 00 00 00 " REGION, &bed->memory_fd, 1);
	expect_hex(bed->peer, "05 00 00 00 05 00 00 00 08 00 00 00 00 00 00 00 00 00 00 00");
	assert_int_equal(rp_vhu_backend_regions_count(bed->backend), 1);
	assert_int_equal(rp_vhu_backend_region(bed->backend, 0, &region), 0);
	assert_int_equal(region.gpa, 0x40000000);
	assert_int_equal(region.size_bytes, 0x100000);
	assert_int_equal(region.uva, 0x7f0000000000);
	assert_int_equal(region.offset_bytes, 0x2000);
	assert_int_equal(rp_wire_fd_same(region.fd, bed->memory_fd), 1);
	assert_int_not_equal(region.fd, bed->memory_fd);
	send_hex(bed, "26 00 00 00 09 00 00 00 28 00 00 00 00 00 00 00 00 00 00 00 " REGION, NULL, 0);
	expect_hex(bed->peer, "26 00 00 00 05 00 00 00 08 00 00 00 00 00 00 00 00 00 00 00");
	assert_int_equal(rp_vhu_backend_regions_count(bed->backend), 0);
	send_hex(bed, "25 00 00 00 09 00 00 00 28 00 00 00 00 00 00 00 00 00 00 00 " REGION, &bed->memory_fd, 1);
	expect_hex(bed->peer, "25 00 00 00 05 00 00 00 08 00 00 00 00 00 00 00 00 00 00 00");
	assert_int_equal(rp_vhu_backend_regions_count(bed->backend), 1);
	assert_int_equal(rp_vhu_backend_region(bed->backend, 1, &region), -22);
}

/* The address message has the used ring before the available ring. */
static void
a_ring(void **state)
{
	struct bed *bed = *state;
	struct rp_vhu_vring vring;
	int fd = peer_eventfd();

	bed_negotiate(bed);
	bed_memory(bed);
	bed_diary(bed);
	send_hex(bed, "08 00 00 00 01 00 00 00 08 00 00 00 03 00 00 00 00 01 00 00", NULL, 0);
	send_hex(bed, "0a 00 00 00 01 00 00 00 08 00 00 00 03 00 00 00 34 12 00 00", NULL, 0);
	send_hex(bed,
		 "09 00 00 00 01 00 00 00 28 00 00 00 03 00 00 00 00 00 00 00 "
		 "00 10 00 00 00 7f 00 00 00 30 00 00 00 7f 00 00 00 20 00 00 00 7f 00 00 00 00 00 00 00 00 00 00",
		 NULL, 0);
	send_hex(bed, "0c 00 00 00 01 00 00 00 08 00 00 00 03 00 00 00 00 00 00 00", &fd, 1);
	send_hex(bed, "0d 00 00 00 01 00 00 00 08 00 00 00 03 01 00 00 00 00 00 00", NULL, 0);
	send_hex(bed, "12 00 00 00 01 00 00 00 08 00 00 00 03 00 00 00 01 00 00 00", NULL, 0);
	assert_string_equal(bed_diary(bed), "start:3@4660(disabled) call:3(none) enable:3=1 ");
	assert_int_equal(rp_vhu_backend_vring(bed->backend, 3, &vring), 0);
	assert_int_equal(vring.num, 256);
	assert_int_equal(vring.base, 0x1234);
	assert_int_equal(vring.desc_gpa, 0x40001000);
	assert_int_equal(vring.avail_gpa, 0x40002000);
	assert_int_equal(vring.used_gpa, 0x40003000);
	assert_true(vring.started && vring.enabled);
	assert_int_equal(rp_wire_fd_same(vring.kick_fd, fd), 1);
	assert_int_equal(vring.call_fd, -1);
	bed->stop_base = 0x1235;
	send_hex(bed, "0b 00 00 00 01 00 00 00 08 00 00 00 03 00 00 00 00 00 00 00", NULL, 0);
	expect_hex(bed->peer, "0b 00 00 00 05 00 00 00 08 00 00 00 03 00 00 00 35 12 00 00");
	rp_wire_fd_close(&fd);
}

static void
what_concerns_a_net_device(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_diary(bed);
	send_hex(bed, "13 00 00 00 01 00 00 00 08 00 00 00 02 00 00 00 00 02 00 00", NULL, 0);
	send_hex(bed, "14 00 00 00 01 00 00 00 08 00 00 00 28 23 00 00 00 00 00 00", NULL, 0);
	send_hex(bed, "27 00 00 00 01 00 00 00 08 00 00 00 0f 00 00 00 00 00 00 00", NULL, 0);
	assert_string_equal(bed_diary(bed), "rarp:02:00:00:00:00:02 mtu:9000 status:15 ");
	send_hex(bed, "28 00 00 00 01 00 00 00 00 00 00 00", NULL, 0);
	expect_hex(bed->peer, "28 00 00 00 05 00 00 00 08 00 00 00 0f 00 00 00 00 00 00 00");
	send_hex(bed, "22 00 00 00 01 00 00 00 00 00 00 00", NULL, 0);
	assert_string_equal(bed_diary(bed), "reset ");
}

static void
notify_area(void **state)
{
	struct bed *bed = *state;
	struct peer_msg msg;
	uint8_t expected[24];

	bed_run(bed);
	assert_int_equal(rp_vhu_backend_notify_area_set(bed->backend, 0, bed->memory_fd, 0x3000, 0x1000, 77, NULL), 0);
	assert_true(peer_receive(bed->channel, &msg));
	assert_int_equal(msg.id, 3);
	assert_int_equal(msg.flags, 0x9);
	assert_int_equal(msg.size_bytes, 24);
	peer_hex("00 00 00 00 00 00 00 00 00 10 00 00 00 00 00 00 00 30 00 00 00 00 00 00", expected, sizeof(expected));
	assert_memory_equal(msg.payload, expected, 24);
	assert_int_equal(msg.fds_count, 1);
	assert_int_equal(rp_wire_fd_same(msg.fds[0], bed->memory_fd), 1);
	peer_msg_close(&msg);
	assert_int_equal(rp_vhu_backend_notify_area_clear(bed->backend, 1, 78, NULL), 0);
	expect_hex(bed->channel, "03 00 00 00 09 00 00 00 18 00 00 00 01 01 00 00 00 00 00 00 "
				 "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00");
	assert_int_equal(rp_vhu_backend_config_changed(bed->backend, 79, NULL), 0);
	expect_hex(bed->channel, "02 00 00 00 09 00 00 00 00 00 00 00");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BED(features_and_queues),	      WITH_BED(configuration_space), WITH_BED(memory), WITH_BED(a_ring),
		WITH_BED(what_concerns_a_net_device), WITH_BED(notify_area),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
