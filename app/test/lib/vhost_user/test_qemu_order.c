/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>

#include "bed.h"
#include "rp_wire_fd.h"

/*
 * What real QEMUs said, message by message, re-typed from recordings: 7.2 asks
 * for answers rarely (0x1), 11.1 nearly always (0x9). Nothing of it may be refused.
 */

struct step {
	uint32_t id;
	uint32_t flags;
	uint32_t queue;
	uint64_t value; /* num, u64, or what a GET must answer; SET_MEM_TABLE: how many regions */
	const char *then; /* what the owner must have been told since the step before that says so */
};

static const struct rp_vhu_wire_region boot_memory = {.gpa = 0, .size_bytes = 0x10000000, .uva = 0x7f389bfff000};
static const struct rp_vhu_wire_region hotplugged = {
	.gpa = 0x100000000,
	.size_bytes = 0x8000000,
	.uva = 0x7f68d7fff000,
};

static void
send_addr(struct bed *bed, const struct step *step)
{
	static const struct {
		uint64_t desc, used, avail;
	} rings[BED_QUEUES] = {
		{0x7f389ea5b000, 0x7f389ea5c240, 0x7f389ea5c000},
		{0x7f389ea5d000, 0x7f389ea5e240, 0x7f389ea5e000},
		{0x7f389ea5f000, 0x7f389ea60240, 0x7f389ea60000},
		{0x7f389ea61000, 0x7f389ea62240, 0x7f389ea62000},
	};

	bed_send_addr(bed, step->flags, step->queue, rings[step->queue].desc, rings[step->queue].avail,
		      rings[step->queue].used);
}

static void
send_table(struct bed *bed, const struct step *step)
{
	const struct rp_vhu_wire_region regions[] = {boot_memory, hotplugged};

	bed_send_table(bed, step->flags, regions, (unsigned int)step->value, NULL);
}

static void
send_channel(struct bed *bed, const struct step *step)
{
	int theirs;

	peer_pair(&bed->channel, &theirs);
	assert_true(peer_send(bed->peer, step->id, step->flags, NULL, 0, &theirs, 1));
	rp_wire_fd_close(&theirs);
	bed_process(bed);
}

static void
send_step(struct bed *bed, const struct step *step)
{
	switch (step->id) {
	case RP_VHU_GET_FEATURES:
	case RP_VHU_GET_PROTOCOL_FEATURES:
	case RP_VHU_GET_QUEUE_NUM:
	case RP_VHU_SET_OWNER:
		bed_send(bed, step->id, step->flags, NULL, 0);
		break;
	case RP_VHU_SET_VRING_KICK:
	case RP_VHU_SET_VRING_CALL:
	case RP_VHU_SET_VRING_ERR:
		bed_send_fd(bed, step->id, step->flags, step->queue);
		break;
	case RP_VHU_SET_FEATURES:
	case RP_VHU_SET_PROTOCOL_FEATURES:
		bed_send_u64(bed, step->id, step->flags, step->value);
		break;
	case RP_VHU_SEND_RARP: /* six bytes, recorded on a little-endian machine */
		bed_send_u64(bed, step->id, step->flags, htole64(step->value));
		break;
	case RP_VHU_SET_VRING_ADDR:
		send_addr(bed, step);
		break;
	case RP_VHU_SET_MEM_TABLE:
		send_table(bed, step);
		break;
	case RP_VHU_ADD_MEM_REG:
		bed_send_region(bed, step->id, step->flags, &hotplugged, bed->memory_fd);
		break;
	case RP_VHU_REM_MEM_REG:
		bed_send_region(bed, step->id, step->flags, &hotplugged, -1);
		break;
	case RP_VHU_SET_BACKEND_REQ_FD:
		send_channel(bed, step);
		break;
	default:
		bed_send_state(bed, step->id, step->flags, step->queue,
			       step->id == RP_VHU_GET_VRING_BASE ? 0 : (uint32_t)step->value);
	}
}

static void
expect_answer(struct bed *bed, const struct step *step)
{
	const struct rp_vhu_wire_vring_state state = {.index = step->queue, .num = (uint32_t)step->value};
	uint64_t expected;

	switch (step->id) {
	case RP_VHU_GET_FEATURES:
	case RP_VHU_GET_PROTOCOL_FEATURES:
	case RP_VHU_GET_QUEUE_NUM:
		expected = step->value;
		break;
	case RP_VHU_GET_VRING_BASE:
		memcpy(&expected, &state, sizeof(expected));
		break;
	default:
		expected = 0;
		if ((step->flags & 0x8) == 0) {
			assert_true(peer_silent(bed->peer));
			return;
		}
	}
	assert_int_equal(bed_answer(bed, step->id), expected);
}

static void
replay(struct bed *bed, const struct step *steps, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		/* What a stop answers is the device's business: here, what the recording says. */
		if (steps[i].id == RP_VHU_GET_VRING_BASE)
			bed->stop_base = (uint32_t)steps[i].value;
		send_step(bed, &steps[i]);
		if (bed->refused_count != 0)
			fail_msg("step %zu: %s", i, bed->refused.text);
		expect_answer(bed, &steps[i]);
		if (steps[i].then != NULL)
			assert_string_equal(bed_diary(bed), steps[i].then);
	}
}

#define REPLAY(bed, steps) replay(bed, steps, sizeof(steps) / sizeof((steps)[0]))
#define OFFERED (BED_FEATURES | 1ull << 30)
#define ACKED 0x170000000ull /* VERSION_1, PROTOCOL_FEATURES, event index, indirect */

/* clang-format off */
#define ENABLE(flags, q, on) {RP_VHU_SET_VRING_ENABLE, flags, q, on, NULL}
#define ENABLE_PAIR(flags, q, on) ENABLE(flags, q, on), ENABLE(flags, (q) + 1, on)
#define RING(fl, q, base) \
	{RP_VHU_SET_VRING_NUM, 0x1, q, 256, NULL}, {RP_VHU_SET_VRING_BASE, 0x1, q, base, NULL}, \
	{RP_VHU_SET_VRING_ADDR, 0x1, q, 0, NULL}, {RP_VHU_SET_VRING_KICK, fl, q, 0, NULL}, \
	{RP_VHU_SET_VRING_CALL, fl, q, 0, NULL}
#define CALL_ERR(fl, q) {RP_VHU_SET_VRING_CALL, fl, q, 0, NULL}, {RP_VHU_SET_VRING_ERR, fl, q, 0, NULL}
#define STOP(q, base) {RP_VHU_GET_VRING_BASE, 0x1, q, base, NULL}
#define SAYS(id, fl, value, then) {id, fl, 0, value, then}

#define CONNECT(fl, queues) \
	SAYS(RP_VHU_GET_FEATURES, 0x1, OFFERED, NULL), \
	SAYS(RP_VHU_GET_PROTOCOL_FEATURES, 0x1, BED_PROTOCOL_FEATURES, NULL), \
	SAYS(RP_VHU_SET_PROTOCOL_FEATURES, 0x1, BED_PROTOCOL_FEATURES, NULL), \
	SAYS(RP_VHU_GET_QUEUE_NUM, 0x1, queues, NULL), \
	SAYS(RP_VHU_SET_BACKEND_REQ_FD, 0x9, 0, "channel "), \
	SAYS(RP_VHU_SET_OWNER, 0x1, 0, NULL), \
	SAYS(RP_VHU_GET_FEATURES, 0x1, OFFERED, NULL), \
	CALL_ERR(fl, 0), CALL_ERR(fl, 1)

/* QEMU 7.2, one pair. ENABLE comes long before anything else is known. */
static const struct step boot_7[] = {
	CONNECT(0x1, BED_QUEUES),
	ENABLE_PAIR(0x1, 0, 1), ENABLE_PAIR(0x1, 0, 1), ENABLE_PAIR(0x1, 0, 1), ENABLE_PAIR(0x1, 0, 1),
	ENABLE(0x1, 0, 1),
	SAYS(RP_VHU_SET_VRING_ENABLE, 0x1, 1,
	     "enable:0=1 enable:1=1 enable:0=1 enable:1=1 enable:0=1 enable:1=1 enable:0=1 enable:1=1 "
	     "enable:0=1 enable:0=1 "),
	SAYS(RP_VHU_SET_FEATURES, 0x1, ACKED, "features:170000000 "),
	SAYS(RP_VHU_SET_MEM_TABLE, 0x9, 1, "add:0 "),
	RING(0x1, 0, 0), RING(0x1, 1, 0),
	SAYS(RP_VHU_GET_FEATURES, 0x1, OFFERED, "start:0@0 call:0 start:1@0 call:1 "),
};

/* Stopped, ENABLE with addresses that are stale, started again at the same indices. */
static const struct step reboot_7[] = {
	STOP(0, 3),
	{RP_VHU_GET_VRING_BASE, 0x1, 1, 3, "stop:0 stop:1 "},
	ENABLE_PAIR(0x1, 0, 1), ENABLE_PAIR(0x1, 0, 1), ENABLE_PAIR(0x1, 0, 1), ENABLE_PAIR(0x1, 0, 1),
	{RP_VHU_SET_VRING_ENABLE, 0x1, 0, 1,
	 "enable:0=1 enable:1=1 enable:0=1 enable:1=1 enable:0=1 enable:1=1 enable:0=1 enable:1=1 enable:0=1 "},
	SAYS(RP_VHU_SET_FEATURES, 0x1, ACKED, "features:170000000 "),
	SAYS(RP_VHU_SET_MEM_TABLE, 0x9, 1, ""),
	RING(0x1, 0, 0), RING(0x1, 1, 0),
	SAYS(RP_VHU_GET_FEATURES, 0x1, OFFERED, "start:0@0 call:0 start:1@0 call:1 "),
};

/* stop and cont go on where they were. */
static const struct step stop_cont_7[] = {
	STOP(0, 3),
	{RP_VHU_GET_VRING_BASE, 0x1, 1, 5, "stop:0 stop:1 "},
	ENABLE_PAIR(0x1, 0, 1),
	SAYS(RP_VHU_SET_FEATURES, 0x1, ACKED, NULL),
	SAYS(RP_VHU_SET_MEM_TABLE, 0x9, 1, NULL),
	RING(0x1, 0, 3), RING(0x1, 1, 5),
	SAYS(RP_VHU_GET_FEATURES, 0x1, OFFERED,
	     "enable:0=1 enable:1=1 features:170000000 start:0@3 call:0 start:1@5 call:1 "),
};

static void
qemu_7_boots_reboots_stops(void **state)
{
	struct bed *bed = *state;

	REPLAY(bed, boot_7);
	REPLAY(bed, reboot_7);
	REPLAY(bed, stop_cont_7);
	bed_hang_up(bed);
	assert_string_equal(bed_diary(bed), "stop:0 stop:1 remove:0 gone ");
}

/* QEMU 11.1, two pairs: the second pair negotiates once more, on the same connection. */
static const struct step boot_11[] = {
	CONNECT(0x9, BED_QUEUES),
	SAYS(RP_VHU_GET_FEATURES, 0x1, OFFERED, NULL),
	SAYS(RP_VHU_GET_PROTOCOL_FEATURES, 0x1, BED_PROTOCOL_FEATURES, NULL),
	SAYS(RP_VHU_SET_PROTOCOL_FEATURES, 0x1, BED_PROTOCOL_FEATURES, NULL),
	SAYS(RP_VHU_GET_FEATURES, 0x1, OFFERED, NULL),
	CALL_ERR(0x9, 2), CALL_ERR(0x9, 3),
	ENABLE_PAIR(0x9, 0, 1),
	ENABLE_PAIR(0x9, 0, 1), ENABLE_PAIR(0x9, 2, 0),
	{RP_VHU_SET_VRING_ENABLE, 0x9, 3, 0,
	 "enable:0=1 enable:1=1 enable:0=1 enable:1=1 enable:2=0 enable:3=0 enable:3=0 "},
	SAYS(RP_VHU_SET_FEATURES, 0x1, ACKED, "features:170000000 "),
	SAYS(RP_VHU_SET_MEM_TABLE, 0x9, 1, "add:0 "),
	RING(0x9, 0, 0), RING(0x9, 1, 0),
	SAYS(RP_VHU_SET_FEATURES, 0x1, ACKED, "start:0@0 call:0 start:1@0 call:1 features:170000000 "),
	RING(0x9, 2, 0), RING(0x9, 3, 0),
	ENABLE_PAIR(0x9, 0, 1), ENABLE(0x9, 2, 1),
	{RP_VHU_SET_VRING_ENABLE, 0x9, 3, 1,
	 "start:2@0(disabled) call:2 start:3@0(disabled) call:3 enable:0=1 enable:1=1 enable:2=1 enable:3=1 "},
};

static const struct step ethtool_11[] = {
	ENABLE_PAIR(0x9, 0, 1), ENABLE(0x9, 2, 0),
	{RP_VHU_SET_VRING_ENABLE, 0x9, 3, 0, "enable:0=1 enable:1=1 enable:2=0 enable:3=0 "},
	ENABLE_PAIR(0x9, 0, 1), ENABLE(0x9, 2, 1),
	{RP_VHU_SET_VRING_ENABLE, 0x9, 3, 1, "enable:0=1 enable:1=1 enable:2=1 enable:3=1 "},
};

static const struct step rmmod_11[] = {
	STOP(0, 3), STOP(1, 4), STOP(2, 3),
	{RP_VHU_GET_VRING_BASE, 0x1, 3, 8, "stop:0 stop:1 stop:2 stop:3 "},
	ENABLE_PAIR(0x9, 0, 1), ENABLE_PAIR(0x9, 2, 0),
};
/* clang-format on */

static void
qemu_11_with_two_pairs(void **state)
{
	struct bed *bed = *state;
	struct rp_vhu_vring vring;
	unsigned int i;

	REPLAY(bed, boot_11);
	for (i = 0; i < BED_QUEUES; i++)
		assert_int_equal(rp_vhu_backend_notify_area_set(bed->backend, i, bed->memory_fd, 0, 4096, i, NULL), 0);
	REPLAY(bed, ethtool_11);
	assert_int_equal(bed->replies_count, 0);
	for (i = 0; i < BED_QUEUES; i++)
		assert_true(peer_send(bed->channel, 3, 0x5, &(uint64_t){0}, 8, NULL, 0));
	bed_process(bed);
	assert_int_equal(bed->replies_count, BED_QUEUES);
	REPLAY(bed, rmmod_11);
	for (i = 0; i < BED_QUEUES; i++) {
		assert_int_equal(rp_vhu_backend_vring(bed->backend, i, &vring), 0);
		assert_false(vring.started);
	}
	bed_diary(bed);
	bed_hang_up(bed);
	assert_string_equal(bed_diary(bed), "remove:0 gone ");
}

/* The running rings do not see it. */
static void
hotplug_by_table(void **state)
{
	static const struct step steps[] = {
		SAYS(RP_VHU_SET_MEM_TABLE, 0x9, 2, "add:100000000 "),
		SAYS(RP_VHU_SET_MEM_TABLE, 0x9, 1, "remove:100000000 "),
	};
	struct bed *bed = *state;

	REPLAY(bed, boot_7);
	REPLAY(bed, steps);
}

static void
hotplug_by_slots(void **state)
{
	static const struct step steps[] = {
		SAYS(RP_VHU_ADD_MEM_REG, 0x9, 0, "add:100000000 "),
		SAYS(RP_VHU_REM_MEM_REG, 0x9, 0, "remove:100000000 "),
	};
	struct bed *bed = *state;

	REPLAY(bed, boot_7);
	REPLAY(bed, steps);
}

/* QEMU before 8.1 with two pairs. */
static void
hotplug_by_slots_once_per_pair(void **state)
{
	static const struct step steps[] = {
		SAYS(RP_VHU_ADD_MEM_REG, 0x9, 0, "add:100000000 "),
		SAYS(RP_VHU_ADD_MEM_REG, 0x9, 0, ""),
		SAYS(RP_VHU_REM_MEM_REG, 0x9, 0, ""),
		SAYS(RP_VHU_REM_MEM_REG, 0x9, 0, "remove:100000000 "),
	};
	struct bed *bed = *state;

	REPLAY(bed, boot_11);
	REPLAY(bed, steps);
}

/* A migration's destination announces its address, the first time before the rings start. */
static void
announcements_of_a_destination(void **state)
{
	static const struct step steps[] = {
		SAYS(RP_VHU_SEND_RARP, 0x1, 0x20000000002, "rarp:02:00:00:00:00:02 "),
		SAYS(RP_VHU_SEND_RARP, 0x1, 0x20000000002, "rarp:02:00:00:00:00:02 "),
	};
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_diary(bed);
	REPLAY(bed, steps);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BED(qemu_7_boots_reboots_stops),
		WITH_BED(qemu_11_with_two_pairs),
		WITH_BED(hotplug_by_table),
		WITH_BED(hotplug_by_slots),
		WITH_BED(hotplug_by_slots_once_per_pair),
		WITH_BED(announcements_of_a_destination),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
