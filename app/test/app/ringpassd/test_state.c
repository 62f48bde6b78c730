/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "state.h"
#include "test_support.h"

static struct test_leaks before;
static struct rp_wire_parcel *parcel;

static int
setup(void **state)
{
	(void)state;
	test_leaks_read(&before);
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	parcel = rp_wire_parcel_destroy(parcel);
	test_leaks_assert_none(&before);
	return 0;
}

static void
what_was_written_is_read(void **state)
{
	struct rp_wire_parcel *arrived;
	int event = eventfd(0, EFD_CLOEXEC), fd = -1;
	unsigned int count = 0;
	char text[32];

	(void)state;
	rp_wire_parcel_enter(parcel, "port", 3);
	rp_wire_parcel_put_number(parcel, "largest", UINT64_MAX);
	rp_wire_parcel_put_number(parcel, "zero", 0);
	rp_wire_parcel_put_number(parcel, "half", 1ull << 63);
	rp_wire_parcel_put_text(parcel, "text", "a \"word\" \\ / and another");
	rp_wire_parcel_put_fd(parcel, "event", event);
	rp_wire_parcel_leave(parcel);
	assert_int_equal(rpd_state_write(parcel, &fd, NULL), 0);
	assert_true((fcntl(fd, F_GET_SEALS) & F_SEAL_WRITE) != 0);
	assert_int_equal(rpd_state_peek(fd, &count, NULL), 0);
	assert_int_equal(count, 1);
	assert_int_equal(rp_wire_parcel_create(&arrived), 0);
	rp_wire_parcel_add_fd(arrived, &event);
	assert_int_equal(rpd_state_read(fd, arrived, NULL), 0);
	rp_wire_parcel_enter(arrived, "port", 3);
	assert_true(rp_wire_parcel_get_number(arrived, "largest", UINT64_MAX) == UINT64_MAX);
	assert_true(rp_wire_parcel_get_number(arrived, "zero", UINT64_MAX) == 0);
	assert_true(rp_wire_parcel_get_number(arrived, "half", UINT64_MAX) == 1ull << 63);
	rp_wire_parcel_get_text(arrived, "text", text, sizeof(text));
	assert_string_equal(text, "a \"word\" \\ / and another");
	event = rp_wire_parcel_need_fd(arrived, "event");
	rp_wire_parcel_leave(arrived);
	assert_int_equal(rp_wire_parcel_result(arrived, NULL), 0);
	rp_wire_fd_close(&event);
	rp_wire_fd_close(&fd);
	rp_wire_parcel_destroy(arrived);
}

static int
file_of(const char *text, bool sealed)
{
	int fd = memfd_create("state", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	if (sealed)
		assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), 0);
	return fd;
}

static void
refused(const char *text, int error, const char *words)
{
	RP_WIRE_FD_SCOPED int fd = file_of(text, true);
	struct rp_wire_why why = {0};
	unsigned int count = 0;
	int rc = rpd_state_peek(fd, &count, &why);

	if (rc == 0)
		rc = rpd_state_read(fd, parcel, &why);
	if (strstr(why.text, words) == NULL)
		fail_msg("%s: '%s', expected '%s' in it", text, why.text, words);
	assert_int_equal(rc, error);
	rp_wire_parcel_destroy(parcel);
	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
}

#define HEAD "{\"format\":\"ringpassd hand-over\",\"version\":1,\"descriptors\":0,"

static void
what_breaks_a_rule(void **state)
{
	(void)state;
	refused("x", -EBADMSG, "no JSON object");
	refused("[]", -EBADMSG, "no JSON object");
	refused("{", -EBADMSG, "no JSON object");
	refused("{}", -EBADMSG, "format");
	refused("{\"format\":\"another\",\"version\":1}", -EBADMSG, "format");
	refused("{\"format\":\"ringpassd hand-over\"}", -EBADMSG, "version: expected a number");
	refused("{\"format\":\"ringpassd hand-over\",\"version\":2}", -ENOTSUP, "version: found 2, expected 1");
	refused("{\"format\":\"ringpassd hand-over\",\"version\":1,\"items\":{}}", -EBADMSG, "descriptors");
	refused("{\"format\":\"ringpassd hand-over\",\"version\":1,\"descriptors\":4097,\"items\":{}}", -EBADMSG,
		"descriptors: expected a number up to 4096");
	refused("{\"format\":\"ringpassd hand-over\",\"version\":1,\"descriptors\":-1,\"items\":{}}", -EBADMSG,
		"descriptors");
	refused(HEAD "\"items\":7}", -EBADMSG, "items: expected an object");
	refused(HEAD "\"items\":{\"a\":-1}}", -EBADMSG, "a: expected a number");
	refused(HEAD "\"items\":{\"a\":1.5}}", -EBADMSG, "a: expected a number");
	refused(HEAD "\"items\":{\"a\":null}}", -EBADMSG, "a: expected a number");
	refused(HEAD "\"items\":{\"a\":[]}}", -EBADMSG, "a: expected a number");
	refused(HEAD "\"items\":{\"a\":{\"fd\":0}}}", -EBADMSG, "a: a descriptor that is not there");
	refused(HEAD "\"items\":{\"a\":{}}}", -EBADMSG, "a: expected a number");
	refused(HEAD "\"items\":{\"a\":\"two\\nlines\"}}", -EBADMSG, "a: a text that cannot be");
	refused(HEAD "\"items\":{\"a\":\"nul\\u0000\"}}", -EBADMSG, "a: expected a number");
	refused(HEAD "\"items\":{\"a b\":1}}", -EBADMSG, "a name that cannot be");
	refused(HEAD "\"items\":{\"a\":{\"fd\":{\"fd\":{\"fd\":0}}}}}", -EBADMSG, "");
	refused(HEAD "\"items\":{\"a\":1}}", 0, "");
}

static void
no_file_that_could_change(void **state)
{
	RP_WIRE_FD_SCOPED int loose = file_of(HEAD "\"items\":{}}", false);
	RP_WIRE_FD_SCOPED int empty = file_of("", true);
	RP_WIRE_FD_SCOPED int event = eventfd(0, EFD_CLOEXEC);
	struct rp_wire_why why = {0};
	unsigned int count;

	(void)state;
	assert_int_equal(rpd_state_peek(loose, &count, &why), -EBADMSG);
	assert_non_null(strstr(why.text, "no sealed file"));
	assert_int_equal(rpd_state_peek(event, &count, &why), -EBADMSG);
	assert_int_equal(rpd_state_peek(empty, &count, &why), -EBADMSG);
	assert_non_null(strstr(why.text, "0 bytes"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_written_is_read, setup, teardown),
		cmocka_unit_test_setup_teardown(what_breaks_a_rule, setup, teardown),
		cmocka_unit_test_setup_teardown(no_file_that_could_change, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
