/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "fixture.h"

#define CAP_OFFSET 8u
#define CAP_LENGTH 12u

static void
zero_length(void **state)
{
	struct fixture *fixture = *state;

	fake_put_u32(&fixture->fake, FAKE_CAP_COMMON + CAP_LENGTH, 0);
	fixture_assert_refused(fixture, -EBADMSG, "common configuration: length: 0, expected at least 56");
}

static void
one_byte_too_short(void **state)
{
	static const struct {
		unsigned int cap;
		uint32_t length_bytes;
		const char *words;
	} rows[] = {
		{FAKE_CAP_COMMON, 55, "common configuration: length: 55, expected at least 56"},
		{FAKE_CAP_NOTIFY, 1, "notify: length: 1, expected at least 2"},
		{FAKE_CAP_ISR, 0, "ISR: length: 0, expected at least 1"},
		{FAKE_CAP_CONFIG, 5, "device configuration: length: 5, expected at least 6"},
		{FAKE_CAP_VENDOR, 15, "ring state: length: 15, expected at least 16"},
	};
	struct fixture *fixture = *state;
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		fake_fini(&fixture->fake);
		fake_init(&fixture->fake);
		fake_put_u32(&fixture->fake, rows[i].cap + CAP_LENGTH, rows[i].length_bytes);
		fixture_assert_refused(fixture, -EBADMSG, rows[i].words);
	}
}

static void
an_absent_bar(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.config_space[FAKE_CAP_NOTIFY + 4] = 3;
	fixture_assert_refused(fixture, -EBADMSG, "notify: BAR: 3 is absent");
}

static void
beyond_the_bar(void **state)
{
	struct fixture *fixture = *state;

	fake_put_u32(&fixture->fake, FAKE_CAP_NOTIFY + CAP_LENGTH, 4 * FAKE_PAGE + 1);
	fixture_assert_refused(fixture, -EBADMSG,
			       "notify: offset 0x0 and length 0x4001 reach beyond BAR 4, which has 0x4000 bytes");
}

static void
numbers_that_would_wrap(void **state)
{
	struct fixture *fixture = *state;

	fake_put_u32(&fixture->fake, FAKE_CAP_NOTIFY + CAP_OFFSET, 0xfffffffe);
	fake_put_u32(&fixture->fake, FAKE_CAP_NOTIFY + CAP_LENGTH, 0xffffffff);
	fixture_assert_refused(fixture, -EBADMSG, "notify: offset 0xfffffffe and length 0xffffffff reach beyond");
}

static void
misaligned(void **state)
{
	struct fixture *fixture = *state;

	fake_put_u32(&fixture->fake, FAKE_CAP_COMMON + CAP_OFFSET, 2);
	fixture_assert_refused(fixture, -EBADMSG, "common configuration: offset: 0x2, expected a multiple of 4");
}

static void
overlapping(void **state)
{
	struct fixture *fixture = *state;

	fake_put_u32(&fixture->fake, FAKE_CAP_VENDOR + CAP_OFFSET, 0x38);
	fixture_assert_refused(fixture, -EBADMSG, "ring state: overlaps the common configuration in BAR 2");
}

static void
touching_is_no_overlap(void **state)
{
	struct fixture *fixture = *state;

	fake_put_u32(&fixture->fake, FAKE_CAP_ISR + CAP_OFFSET, 64);
	fixture_open_ok(fixture);
}

static void
an_msix_table_over_doorbells(void **state)
{
	struct fixture *fixture = *state;

	fake_put_u32(&fixture->fake, FAKE_CAP_MSIX + 4, 0x2000 | FAKE_BAR_NOTIFY);
	fixture_assert_refused(fixture, -EBADMSG, "MSI-X table: overlaps the notify in BAR 4");
}

static void
an_msix_table_beyond_its_bar(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.config_space[FAKE_CAP_MSIX + 2] = 0xff;
	fixture->fake.config_space[FAKE_CAP_MSIX + 3] = 0x07;
	fixture_assert_refused(fixture, -EBADMSG, "MSI-X table: offset 0x0 and length 0x8000 reach beyond BAR 0");
}

static void
a_transport_that_leaves_meanwhile(void **state)
{
	struct fixture *fixture = *state;

	/* Configuration space takes two accesses. */
	fixture->fake.lies.fail_after = 3;
	fixture->fake.lies.fail_error = -ENOTCONN;
	fixture_assert_refused(fixture, -ENOTCONN, "the fake fails");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(zero_length),
		TEST(one_byte_too_short),
		TEST(an_absent_bar),
		TEST(beyond_the_bar),
		TEST(numbers_that_would_wrap),
		TEST(misaligned),
		TEST(overlapping),
		TEST(touching_is_no_overlap),
		TEST(an_msix_table_over_doorbells),
		TEST(an_msix_table_beyond_its_bar),
		TEST(a_transport_that_leaves_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
