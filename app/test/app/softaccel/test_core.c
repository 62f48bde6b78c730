/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "rig.h"

/* What an accelerator is made from. */

static int
create(const struct softaccel_config *config, struct rp_wire_why *why)
{
	struct softaccel *accel = NULL;
	int rc = softaccel_create(config, NULL, NULL, &accel, why);

	softaccel_destroy(accel);
	return rc;
}

static void
every_way_to_copy_is_taken(void **state)
{
	struct softaccel_config config = {.mbufs_count = 255};
	struct rp_wire_why why;
	int copies, isa;

	(void)state;
	for (copies = SOFTACCEL_COPIES_ONE; copies <= SOFTACCEL_COPIES_TWO; copies++) {
		for (isa = SOFTACCEL_ISA_AUTO; isa <= SOFTACCEL_ISA_GENERIC; isa++) {
			config.copies = (enum softaccel_copies)copies;
			config.isa = (enum softaccel_isa)isa;
			assert_int_equal(create(&config, &why), 0);
		}
	}
}

static void
what_is_no_way_to_copy_is_named(void **state)
{
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(create(&(struct softaccel_config){.copies = (enum softaccel_copies)2}, &why), -EINVAL);
	assert_string_equal(why.text, "copies: is 2, expected one or two");
	assert_int_equal(create(&(struct softaccel_config){.isa = (enum softaccel_isa)2}, &why), -EINVAL);
	assert_string_equal(why.text, "isa: is 2, expected auto or generic");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_way_to_copy_is_taken),
		cmocka_unit_test(what_is_no_way_to_copy_is_named),
	};

	rig_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
