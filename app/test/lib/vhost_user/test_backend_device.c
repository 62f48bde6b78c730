/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "bed.h"
#include "rp_wire_fd.h"

static uint64_t
get(struct bed *bed, uint32_t id)
{
	bed_send(bed, id, 0x1, NULL, 0);
	return bed_answer(bed, id);
}

static void
values_out_of_range(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_diary(bed);
	bed_send_u64(bed, RP_VHU_NET_SET_MTU, 0x1, 67);
	bed_assert_refused(bed, -EBADMSG, "NET_SET_MTU: u64: MTU 67, expected 68 to 65535");
	bed_send_u64(bed, RP_VHU_NET_SET_MTU, 0x1, 65536);
	bed_assert_refused(bed, -EBADMSG, "65536");
	bed_send_u64(bed, RP_VHU_SET_STATUS, 0x1, 0x100);
	bed_assert_refused(bed, -EBADMSG, "SET_STATUS");
	assert_string_equal(bed_diary(bed), "");
	bed_send_u64(bed, RP_VHU_NET_SET_MTU, 0x1, 68);
	assert_string_equal(bed_diary(bed), "mtu:68 ");
}

static void
configuration_space_may_be_refused(void **state)
{
	const struct rp_vhu_wire_config config = {.offset_bytes = 0, .size_bytes = 4};
	struct bed *bed = *state;
	struct peer_msg msg;
	uint8_t bytes[16] = {0};

	memcpy(bytes, &config, sizeof(config));
	bed_negotiate(bed);
	bed->refuse_config = -ENOTSUP;
	bed_send(bed, RP_VHU_GET_CONFIG, 0x9, bytes, sizeof(bytes));
	bed_assert_refused(bed, -ENOTSUP, "GET_CONFIG: the owner");
	assert_true(peer_receive(bed->peer, &msg));
	assert_int_equal(msg.size_bytes, 0);
	assert_true(peer_silent(bed->peer));
	bed->refuse_config = -EBADMSG;
	bed_send(bed, RP_VHU_SET_CONFIG, 0x9, bytes, sizeof(bytes));
	bed_assert_refused(bed, -EBADMSG, "SET_CONFIG: the owner");
	assert_int_equal(bed_answer(bed, RP_VHU_SET_CONFIG), 1);
}

/* Rings stop and are forgotten, with their descriptors; memory and features stay. */
static void
reset_stops_rings(void **state)
{
	struct bed *bed = *state;
	struct rp_vhu_vring vring;

	bed_run(bed);
	bed_send(bed, RP_VHU_RESET_DEVICE, 0x9, NULL, 0);
	assert_int_equal(bed_answer(bed, RP_VHU_RESET_DEVICE), 0);
	assert_string_equal(bed_diary(bed), "stop:0 reset ");
	assert_int_equal(rp_vhu_backend_vring(bed->backend, 0, &vring), 0);
	assert_false(vring.started);
	assert_int_equal(vring.call_fd, -1);
	assert_int_equal(rp_vhu_backend_regions_count(bed->backend), 1);
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x9, 0);
	bed_assert_refused(bed, -EBUSY, "SET_VRING_NUM and SET_VRING_ADDR must come first");
	assert_int_equal(bed_answer(bed, RP_VHU_SET_VRING_KICK), 1);
	assert_int_equal(bed->stopped, RP_VHU_STOP_RESET);
	assert_int_equal(rp_vhu_backend_features(bed->backend), 1ull << 32 | 1ull << 30);
	bed_ring_start(bed, 0);
}

static void
a_status_is_kept_if_it_was_taken(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_send_u64(bed, RP_VHU_SET_STATUS, 0x9, 3);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_STATUS), 0);
	bed->refuse_status = -EBUSY;
	bed_send_u64(bed, RP_VHU_SET_STATUS, 0x9, 7);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_STATUS), 1);
	assert_int_equal(get(bed, RP_VHU_GET_STATUS), 3);
	bed_send(bed, RP_VHU_RESET_DEVICE, 0x1, NULL, 0);
	assert_int_equal(get(bed, RP_VHU_GET_STATUS), 0);
}

/* The first six bytes of the payload, whatever the host's byte order: they are no number. */
static void
the_bytes_of_an_address(void **state)
{
	struct bed *bed = *state;
	uint8_t bytes[8];

	assert_int_equal(peer_fields("52 54 00 12 34 56 00 00", bytes, sizeof(bytes)), 8);
	bed_negotiate(bed);
	bed_diary(bed);
	bed_send(bed, RP_VHU_SEND_RARP, 0x9, bytes, sizeof(bytes));
	assert_int_equal(bed_answer(bed, RP_VHU_SEND_RARP), 0);
	assert_string_equal(bed_diary(bed), "rarp:52:54:00:12:34:56 ");
}

/* An owner must know whether the guest or a migration writes; there is no third. */
static void
who_may_write_what(void **state)
{
	struct bed *bed = *state;
	struct rp_vhu_wire_config config = {.offset_bytes = 6, .size_bytes = 2};
	uint8_t bytes[14] = {0};
	struct peer_msg msg;

	bed_negotiate(bed);
	bed_diary(bed);
	bytes[13] = 0xab;
	for (config.flags = 0; config.flags < 3; config.flags++) {
		memcpy(bytes, &config, sizeof(config));
		bed_send(bed, RP_VHU_SET_CONFIG, 0x9, bytes, sizeof(bytes));
		assert_int_equal(bed_answer(bed, RP_VHU_SET_CONFIG), config.flags == 2);
	}
	bed_assert_refused(bed, -EBADMSG, "SET_CONFIG: config: flags 0x2, expected 0 (writable) or 1 (migration)");
	assert_string_equal(bed_diary(bed), "config:6+2=ab config:6+2=ab(migration) ");
	bed_send(bed, RP_VHU_GET_CONFIG, 0x1, bytes, sizeof(bytes));
	bed_assert_refused(bed, -EBADMSG, "GET_CONFIG: config: flags 0x2");
	assert_true(peer_receive(bed->peer, &msg));
	assert_int_equal(msg.size_bytes, 0);
	/* The answer is the question with its bytes filled in. */
	assert_int_equal(peer_fields("00000006 00000002 00000000 00 00", bytes, sizeof(bytes)), 14);
	bed_send(bed, RP_VHU_GET_CONFIG, 0x1, bytes, sizeof(bytes));
	assert_true(peer_receive(bed->peer, &msg));
	assert_int_equal(msg.size_bytes, 14);
	assert_memory_equal(msg.payload, bytes, 12);
	assert_int_equal(msg.payload[12], 6);
	assert_int_equal(msg.payload[13], 7);
	bed_assert_nothing_refused(bed);
}

/* Whether a frontend stops its rings before it says 0 or after: they are reset all the same, and it learns the bases. */
static void
status_zero_stops_what_still_runs(void **state)
{
	struct bed *bed = *state;
	struct rp_vhu_vring vring;

	bed_run(bed);
	bed_send_u64(bed, RP_VHU_SET_STATUS, 0x1, 7);
	bed->stop_base = 44;
	bed->refuse_status = -EBUSY;
	bed_send_u64(bed, RP_VHU_SET_STATUS, 0x9, 0);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_STATUS), 1);
	bed->refused_count = 0;
	assert_string_equal(bed_diary(bed), "status:7 status:0 ");
	bed_send_u64(bed, RP_VHU_SET_STATUS, 0x9, 0);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_STATUS), 0);
	assert_string_equal(bed_diary(bed), "status:0 stop:0(status) ");
	assert_int_equal(rp_vhu_backend_vring(bed->backend, 0, &vring), 0);
	assert_false(vring.started);
	assert_int_equal(vring.kick_fd, -1);
	assert_int_equal(bed_get_base(bed, 0), 44);
	bed_send_u64(bed, RP_VHU_SET_STATUS, 0x1, 0);
	assert_string_equal(bed_diary(bed), "status:0 ");
	/* All that was said of the ring is still known. */
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x1, 0);
	assert_string_equal(bed_diary(bed), "start:0@44 ");
}

/* Deprecated; what remains of it is SET_VRING_ENABLE 0 for every ring. */
static void
reset_owner_disables(void **state)
{
	struct bed *bed = *state;
	struct rp_vhu_vring vring;

	bed_run(bed);
	bed_send_state(bed, RP_VHU_SET_VRING_ENABLE, 0x1, 2, 1);
	bed_diary(bed);
	bed_send(bed, RP_VHU_RESET_OWNER, 0x9, NULL, 0);
	assert_int_equal(bed_answer(bed, RP_VHU_RESET_OWNER), 0);
	assert_string_equal(bed_diary(bed), "enable:0=0 enable:2=0 ");
	assert_int_equal(rp_vhu_backend_vring(bed->backend, 0, &vring), 0);
	assert_true(vring.started);
	assert_false(vring.enabled);
	bed_send_state(bed, RP_VHU_SET_VRING_ENABLE, 0x1, 0, 1);
	bed_diary(bed);
	bed->refuse_enable = -EBUSY;
	bed_send(bed, RP_VHU_RESET_OWNER, 0x9, NULL, 0);
	assert_int_equal(bed_answer(bed, RP_VHU_RESET_OWNER), 1);
	bed_assert_refused(bed, -EBUSY, "RESET_OWNER: the owner does not like it");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BED(values_out_of_range),
		WITH_BED(configuration_space_may_be_refused),
		WITH_BED(reset_stops_rings),
		WITH_BED(a_status_is_kept_if_it_was_taken),
		WITH_BED(the_bytes_of_an_address),
		WITH_BED(who_may_write_what),
		WITH_BED(status_zero_stops_what_still_runs),
		WITH_BED(reset_owner_disables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
