/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "rp_vfu_msg.h"
#include "test_support.h"

static int
frame(const uint8_t *header, size_t *ret_bytes, struct rp_wire_why *why)
{
	return rp_vfu_framing.payload_bytes(header, ret_bytes, why);
}

static void
test_framing(void **state)
{
	static const uint8_t good[] = {HEADER(0xaaaa, 9, 0x1234, COMMAND, 0)};
	static const uint8_t reserved_flags[] = {HEADER(1, 9, 16, 0xffffffd1, 99)};
	static const uint8_t too_short[] = {HEADER(1, 9, 15, COMMAND, 0)};
	static const uint8_t bad_type[] = {HEADER(1, 9, 16, 0x2, 0)};
	struct rp_wire_why why;
	size_t bytes = 0;

	(void)state;
	assert_int_equal(rp_vfu_framing.header_bytes, 16);
	assert_int_equal(frame(good, &bytes, &why), 0);
	assert_int_equal(bytes, 0x1234 - 16);
	assert_int_equal(frame(reserved_flags, &bytes, &why), 0);
	assert_int_equal(bytes, 0);
	assert_int_equal(frame(too_short, &bytes, &why), -EPROTO);
	assert_string_equal(why.text, "header: size 15, expected at least 16");
	assert_int_equal(frame(bad_type, &bytes, &why), -EPROTO);
	assert_string_equal(why.text, "header: type 2, expected command (0) or reply (1)");
}

static void
test_parse(void **state)
{
	static uint8_t bytes[] = {HEADER(0x1122, 0x3344, 20, 0x31, 0x55667788), 'd', 'a', 't', 'a'};
	struct rp_wire_msg msg = {.bytes = bytes, .size_bytes = sizeof(bytes), .fds_count = 3};
	struct rp_vfu_msg_view view;

	(void)state;
	rp_vfu_msg_parse(&msg, &view);
	assert_int_equal(view.header.id, 0x1122);
	assert_int_equal(view.header.command, 0x3344);
	assert_int_equal(view.header.size_bytes, 20);
	assert_int_equal(view.header.flags, 0x31);
	assert_int_equal(view.header.error, 0x55667788);
	assert_int_equal(view.payload_bytes, 4);
	assert_memory_equal(view.payload, "data", 4);
	assert_int_equal(view.fds_count, 3);
}

static int
check_reply(const uint8_t *bytes, uint32_t size_bytes, unsigned int fds_count, uint16_t command,
	    struct rp_wire_why *why)
{
	struct rp_wire_msg msg = {.bytes = (uint8_t *)bytes, .size_bytes = size_bytes, .fds_count = fds_count};
	struct rp_vfu_msg_view view;

	rp_vfu_msg_parse(&msg, &view);
	return rp_vfu_msg_check_reply(&view, command, why);
}

static void
test_replies(void **state)
{
	static const uint8_t info[] = {HEADER(1, 4, 32, REPLY, 0), U32(16), U32(0), U32(0), U32(0)};
	static const uint8_t lying_argsz[] = {HEADER(1, 4, 32, REPLY, 0), U32(15), U32(0), U32(0), U32(0)};
	static const uint8_t failed[] = {HEADER(1, 4, 16, ERROR_REPLY, 5)};
	static const uint8_t failed_with_payload[] = {HEADER(1, 4, 20, ERROR_REPLY, 5), U32(0)};
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(check_reply(info, sizeof(info), 0, 4, &why), 0);
	assert_int_equal(check_reply(failed, sizeof(failed), 0, 4, &why), 0);
	assert_int_equal(check_reply(info, sizeof(info), 0, 7, &why), -EBADMSG);
	assert_string_equal(why.text, "DEVICE_GET_IRQ_INFO: reply: names command 4");
	assert_int_equal(check_reply(info, sizeof(info) - 1, 0, 4, &why), -EBADMSG);
	assert_string_equal(why.text, "DEVICE_GET_INFO: reply: payload: 15 bytes, expected 16 to 24");
	assert_int_equal(check_reply(info, sizeof(info), 1, 4, &why), -EBADMSG);
	assert_string_equal(why.text, "DEVICE_GET_INFO: reply: descriptors: 1, expected at most 0");
	assert_int_equal(check_reply(lying_argsz, sizeof(lying_argsz), 0, 4, &why), -EBADMSG);
	assert_int_equal(check_reply(failed_with_payload, sizeof(failed_with_payload), 0, 4, &why), -EBADMSG);
	assert_int_equal(check_reply(failed, sizeof(failed), 2, 4, &why), -EBADMSG);
	assert_int_equal(check_reply(info, sizeof(info), 0, 99, &why), -EBADMSG);
}

static void
test_errors_on_the_wire(void **state)
{
	unsigned int i;

	(void)state;
	assert_int_equal(rp_vfu_errno_wire(-ENOTSUP), 95);
	assert_int_equal(rp_vfu_errno_wire(-EBUSY), 16);
	assert_int_equal(rp_vfu_errno_wire(-EMSGSIZE), 90);
	assert_int_equal(rp_vfu_errno_wire(-EBADMSG), 22);
	assert_int_equal(rp_vfu_errno_wire(-EEXIST), 17);
	assert_int_equal(rp_vfu_errno_wire(-ENOSPC), 28);
	assert_int_equal(rp_vfu_errno_wire(-ENODEV), 19);
	assert_int_equal(rp_vfu_errno_wire(-4095), 4095);
	assert_int_equal(rp_vfu_errno_wire(-4096), EIO);
	assert_int_equal(rp_vfu_errno_wire(INT32_MIN), EIO);
	assert_int_equal(rp_vfu_errno_wire(0), EIO);
	assert_int_equal(rp_vfu_errno_wire(1), EIO);
	for (i = 0; rp_vfu_errno_at(i) != NULL; i++) {
		assert_int_equal(rp_vfu_errno_wire(rp_vfu_errno_at(i)->error), rp_vfu_errno_at(i)->wire);
		assert_false(rp_wire_why_closes(rp_vfu_errno_at(i)->error));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_framing),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_errors_on_the_wire),
	};

	return cmocka_run_group_tests_name("vfio-user messages", tests, NULL, NULL);
}
