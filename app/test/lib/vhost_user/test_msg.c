/* SPDX-License-Identifier: BSD-3-Clause */
#include <sys/socket.h>

#include "bed.h"
#include "rp_wire_fd.h"

/*
 * Bytes, written by hand from vhost-user.rst, field by field, for either byte order:
 * both ends of this library could agree on the same mistake, these cannot.
 */

static void
send_fields(struct bed *bed, const char *fields, const int *fds, unsigned int fds_count)
{
	uint8_t bytes[512];
	size_t size_bytes = peer_fields(fields, bytes, sizeof(bytes));

	assert_true(peer_send_bytes(bed->peer, bytes, size_bytes, fds, fds_count));
	bed_process(bed);
	bed_assert_nothing_refused(bed);
}

static void
expect_fields(int peer, const char *fields)
{
	uint8_t expected[512], found[512];
	size_t size_bytes = peer_fields(fields, expected, sizeof(expected));

	assert_int_equal(recv(peer, found, sizeof(found), MSG_DONTWAIT), size_bytes);
	assert_memory_equal(found, expected, size_bytes);
}

static void
features_and_queues(void **state)
{
	struct bed *bed = *state;

	send_fields(bed, "00000001 00000001 00000000", NULL, 0);
	expect_fields(bed->peer, "00000001 00000005 00000008 0000000570000000");
	send_fields(bed, "0000000f 00000001 00000000", NULL, 0);
	expect_fields(bed->peer, "0000000f 00000005 00000008 000000000001ae3d");
	send_fields(bed, "00000010 00000001 00000008 000000000001ae3d", NULL, 0);
	assert_int_equal(rp_vhu_backend_protocol_features(bed->backend), 0x1ae3d);
	send_fields(bed, "00000011 00000001 00000000", NULL, 0);
	expect_fields(bed->peer, "00000011 00000005 00000008 0000000000000004");
	send_fields(bed, "00000024 00000001 00000000", NULL, 0);
	expect_fields(bed->peer, "00000024 00000005 00000008 0000000000000020");
	/* SET_FEATURES that asks for an answer: VERSION_1 and PROTOCOL_FEATURES. */
	send_fields(bed, "00000002 00000009 00000008 0000000140000000", NULL, 0);
	expect_fields(bed->peer, "00000002 00000005 00000008 0000000000000000");
	assert_int_equal(rp_vhu_backend_features(bed->backend), 1ull << 32 | 1ull << 30);
}

static void
configuration_space(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_diary(bed);
	send_fields(bed, "00000018 00000001 0000000e 00000006 00000002 00000000 00 00", NULL, 0);
	expect_fields(bed->peer, "00000018 00000005 0000000e 00000006 00000002 00000000 06 07");
	send_fields(bed, "00000019 00000001 0000000d 00000005 00000001 00000000 ab", NULL, 0);
	assert_string_equal(bed_diary(bed), "config:5+1=ab ");
}

#define REGION "0000000040000000 0000000000100000 00007f0000000000 0000000000002000"

static void
memory(void **state)
{
	struct bed *bed = *state;
	struct rp_vhu_region region;

	bed_negotiate(bed);
	send_fields(bed, "00000005 00000009 00000028 00000001 00000000 " REGION, &bed->memory_fd, 1);
	expect_fields(bed->peer, "00000005 00000005 00000008 0000000000000000");
	assert_int_equal(rp_vhu_backend_regions_count(bed->backend), 1);
	assert_int_equal(rp_vhu_backend_region(bed->backend, 0, &region), 0);
	assert_int_equal(region.gpa, 0x40000000);
	assert_int_equal(region.size_bytes, 0x100000);
	assert_int_equal(region.uva, 0x7f0000000000);
	assert_int_equal(region.offset_bytes, 0x2000);
	assert_int_equal(rp_wire_fd_same(region.fd, bed->memory_fd), 1);
	assert_int_not_equal(region.fd, bed->memory_fd);
	send_fields(bed, "00000026 00000009 00000028 0000000000000000 " REGION, NULL, 0);
	expect_fields(bed->peer, "00000026 00000005 00000008 0000000000000000");
	assert_int_equal(rp_vhu_backend_regions_count(bed->backend), 0);
	send_fields(bed, "00000025 00000009 00000028 0000000000000000 " REGION, &bed->memory_fd, 1);
	expect_fields(bed->peer, "00000025 00000005 00000008 0000000000000000");
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
	send_fields(bed, "00000008 00000001 00000008 00000003 00000100", NULL, 0);
	send_fields(bed, "0000000a 00000001 00000008 00000003 00001234", NULL, 0);
	send_fields(bed,
		    "00000009 00000001 00000028 00000003 00000000 "
		    "00007f0000001000 00007f0000003000 00007f0000002000 0000000000000000",
		    NULL, 0);
	send_fields(bed, "0000000c 00000001 00000008 0000000000000003", &fd, 1);
	send_fields(bed, "0000000d 00000001 00000008 0000000000000103", NULL, 0);
	send_fields(bed, "00000012 00000001 00000008 00000003 00000001", NULL, 0);
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
	send_fields(bed, "0000000b 00000001 00000008 00000003 00000000", NULL, 0);
	expect_fields(bed->peer, "0000000b 00000005 00000008 00000003 00001235");
	rp_wire_fd_close(&fd);
}

static void
what_concerns_a_net_device(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_diary(bed);
	send_fields(bed, "00000013 00000001 00000008 02 00 00 00 00 02 00 00", NULL, 0);
	send_fields(bed, "00000014 00000001 00000008 0000000000002328", NULL, 0);
	send_fields(bed, "00000027 00000001 00000008 000000000000000f", NULL, 0);
	assert_string_equal(bed_diary(bed), "rarp:02:00:00:00:00:02 mtu:9000 status:15 ");
	send_fields(bed, "00000028 00000001 00000000", NULL, 0);
	expect_fields(bed->peer, "00000028 00000005 00000008 000000000000000f");
	send_fields(bed, "00000022 00000001 00000000", NULL, 0);
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
	peer_fields("0000000000000000 0000000000001000 0000000000003000", expected, sizeof(expected));
	assert_memory_equal(msg.payload, expected, 24);
	assert_int_equal(msg.fds_count, 1);
	assert_int_equal(rp_wire_fd_same(msg.fds[0], bed->memory_fd), 1);
	peer_msg_close(&msg);
	assert_int_equal(rp_vhu_backend_notify_area_clear(bed->backend, 1, 78, NULL), 0);
	expect_fields(bed->channel, "00000003 00000009 00000018 0000000000000101 0000000000000000 0000000000000000");
	assert_int_equal(rp_vhu_backend_config_changed(bed->backend, 79, NULL), 0);
	expect_fields(bed->channel, "00000002 00000009 00000000");
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
