/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "rp_vfio_rte.h"
#include "test_support.h"

/* Without EAL; with it: hardware_rte.c. */

static void
addresses_are_judged_first(void **state)
{
	struct rp_vfio_config config = {0};
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(rp_vfio_rte_borrow("eth0", -1, &config, &why), -EBADMSG);
	assert_non_null(strstr(why.text, "expected a PCI address"));
	assert_null(config.device);
}

static void
an_application_without_vfio(void **state)
{
	struct rp_vfio_config config = {0};
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(rp_vfio_rte_borrow("0000:00:04.0", -1, &config, &why), -ENOTSUP);
	assert_non_null(strstr(why.text, "the application has no VFIO: load it (modprobe vfio-pci) before EAL"));
	assert_int_equal(rp_vfio_rte_borrow("0000:00:04.0", 5, &config, &why), -ENOTSUP);
	assert_null(config.device);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_judged_first),
		cmocka_unit_test(an_application_without_vfio),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
