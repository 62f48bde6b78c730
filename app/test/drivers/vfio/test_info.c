/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "fixture.h"

#define FIXED_BYTES 16u

static void
put(uint8_t *bytes, size_t at, uint16_t id, uint32_t next)
{
	struct vfio_info_cap_header header = {.id = id, .version = 1, .next = next};

	memcpy(bytes + at, &header, sizeof(header));
}

static void
a_chain(void **state)
{
	struct fixture *fixture = *state;
	uint8_t bytes[64] = {0};
	const struct kvfio_info info = {.bytes = bytes, .size_bytes = sizeof(bytes)};
	struct kvfio_capability found;

	put(bytes, 16, 1, 32);
	put(bytes, 32, 2, 56);
	put(bytes, 56, 3, 0);
	assert_int_equal(kvfio_info_capability(&info, FIXED_BYTES, 16, 2, &found, &fixture->why), 1);
	assert_ptr_equal(found.bytes, bytes + 32);
	assert_int_equal(found.size_bytes, 24);
	assert_int_equal(kvfio_info_capability(&info, FIXED_BYTES, 16, 3, &found, &fixture->why), 1);
	assert_int_equal(found.size_bytes, 8);
	assert_int_equal(kvfio_info_capability(&info, FIXED_BYTES, 16, 4, &found, &fixture->why), 0);
	assert_int_equal(kvfio_info_capability(&info, FIXED_BYTES, 0, 1, &found, &fixture->why), 0);
}

static void
chains_that_break_the_rules(void **state)
{
	static const struct {
		uint32_t first, second, third;
	} rows[] = {
		{8, 0, 0}, /* inside of the fixed part */
		{57, 0, 0}, /* its header reaches beyond the end */
		{64, 0, 0},   {UINT32_MAX, 0, 0},      {16, 16, 0}, /* itself */
		{16, 20, 0}, /* inside of the one before */
		{16, 32, 16}, /* back: a circle */
		{16, 32, 32}, {16, UINT32_MAX - 3, 0}, {16, 4, 0},
	};
	struct fixture *fixture = *state;
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t bytes[64] = {0};
		const struct kvfio_info info = {.bytes = bytes, .size_bytes = sizeof(bytes)};
		struct kvfio_capability found = {0};

		put(bytes, 16, 1, rows[i].second);
		put(bytes, 32, 2, rows[i].third);
		assert_int_equal(kvfio_info_capability(&info, FIXED_BYTES, rows[i].first, 9, &found, &fixture->why),
				 -EBADMSG);
		fixture_said(fixture, -EBADMSG, "VFIO: capability at");
		assert_null(found.bytes);
	}
}

/* What comes after one that is found may be broken; its size may not be believed. */
static void
the_size_of_the_last_good_one(void **state)
{
	struct fixture *fixture = *state;
	uint8_t bytes[64] = {0};
	const struct kvfio_info info = {.bytes = bytes, .size_bytes = sizeof(bytes)};
	struct kvfio_capability found;

	put(bytes, 16, 1, 0x10000);
	assert_int_equal(kvfio_info_capability(&info, FIXED_BYTES, 16, 1, &found, &fixture->why), 1);
	assert_int_equal(found.size_bytes, 48);
	put(bytes, 16, 1, 8);
	assert_int_equal(kvfio_info_capability(&info, FIXED_BYTES, 16, 1, &found, &fixture->why), 1);
	assert_int_equal(found.size_bytes, 48);
}

static void
an_answer_that_grows_for_ever(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake->iommu.grows = true;
	fixture_refused(fixture, FAKE_ALONE, -EBADMSG, "VFIO: answer: argsz");
}

static void
an_answer_that_is_too_long(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake->iommu.size_bytes = VFIO_INFO_MAX_BYTES + 1;
	fixture_refused(fixture, FAKE_ALONE, -EBADMSG, "VFIO: answer: argsz: 65537, expected at most 65536");
	fixture->fake->iommu.size_bytes = UINT32_MAX;
	fixture_refused(fixture, FAKE_ALONE, -EBADMSG, "VFIO: answer: argsz");
}

/* Shorter than we know: an older kernel. Longer: a newer one. */
static void
answers_of_other_ages(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake->iommu.size_bytes = 16;
	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	fixture_close(&fixture->transports[0]);
	fixture->fake->iommu.size_bytes = 4096;
	fixture_open(fixture, 0, FAKE_ALONE, NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(a_chain),
		FIXTURE_TEST(chains_that_break_the_rules),
		FIXTURE_TEST(the_size_of_the_last_good_one),
		FIXTURE_TEST(an_answer_that_grows_for_ever),
		FIXTURE_TEST(an_answer_that_is_too_long),
		FIXTURE_TEST(answers_of_other_ages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
