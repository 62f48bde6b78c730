/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "desk.h"
#include "rp_wire_fd.h"

#define BIT(n) (1ull << (n))

static uint64_t
negotiated(struct desk *desk, const struct rp_vhu_frontend_config *config, uint64_t offered)
{
	desk_yes(desk, config, offered);
	assert_int_equal(rp_vhu_frontend_negotiate(desk->frontend, NULL), 0);
	return rp_vhu_frontend_protocol_features(desk->frontend);
}

/* Whatever is offered, and whatever our owner would take: the profile's own bits, written out here. */
static void
an_allow_list_for_each_profile(void **state)
{
	const uint64_t common = BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(9) | BIT(12) | BIT(13) |
				BIT(15) | BIT(16) | BIT(20);
	struct desk *desk = *state;
	struct rp_vhu_frontend_config config = desk_config;

	config.protocol_features = UINT64_MAX;
	assert_int_equal(negotiated(desk, &config, UINT64_MAX), common | BIT(10) | BIT(11));
	config.profile = RP_VHU_PROFILE_EXTENDED;
	assert_int_equal(negotiated(desk, &config, UINT64_MAX), common | BIT(10) | BIT(11) | BIT(62));
	config.numbers.vfio_bit = 33;
	assert_int_equal(negotiated(desk, &config, UINT64_MAX), common | BIT(10) | BIT(11) | BIT(33));
	config.numbers.vfio_bit = 0;
	config.profile = RP_VHU_PROFILE_VFIO2018;
	assert_int_equal(negotiated(desk, &config, UINT64_MAX), common | BIT(8));
	/* A profile is a wish: a backend of another one is served without the extension. */
	assert_int_equal(negotiated(desk, &config, ~BIT(8)), common);
}

/* Whoever chooses the profile has chosen its bit. */
static void
the_profile_brings_its_bit(void **state)
{
	struct desk *desk = *state;
	struct rp_vhu_frontend_config config = desk_config;

	config.protocol_features = BIT(3) | BIT(5);
	assert_int_equal(negotiated(desk, &config, UINT64_MAX), BIT(3) | BIT(5));
	config.profile = RP_VHU_PROFILE_EXTENDED;
	assert_int_equal(negotiated(desk, &config, UINT64_MAX), BIT(3) | BIT(5) | BIT(62));
	config.profile = RP_VHU_PROFILE_VFIO2018;
	assert_int_equal(negotiated(desk, &config, UINT64_MAX), BIT(3) | BIT(5) | BIT(8));
}

static void
what_needs_something_else(void **state)
{
	struct desk *desk = *state;
	struct rp_vhu_frontend_config config = desk_config;

	config.profile = RP_VHU_PROFILE_EXTENDED;
	config.protocol_features = UINT64_MAX;
	assert_int_equal(negotiated(desk, &config, BIT(20)), 0);
	assert_int_equal(negotiated(desk, &config, BIT(20) | BIT(12)), BIT(20) | BIT(12));
	assert_int_equal(negotiated(desk, &config, BIT(12)), BIT(12));
	assert_int_equal(negotiated(desk, &config, BIT(62) | BIT(10)), BIT(10));
	assert_int_equal(negotiated(desk, &config, BIT(62) | BIT(5)), BIT(62) | BIT(5));
	config.protocol_features = ~BIT(12);
	assert_int_equal(negotiated(desk, &config, BIT(20) | BIT(12)), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DESK(an_allow_list_for_each_profile),
		WITH_DESK(the_profile_brings_its_bit),
		WITH_DESK(what_needs_something_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
