/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "rp_virtio.h"
#include "test_support.h"

static const struct rp_accel_driver *const drivers[] = {&rp_virtio_vfio_driver, NULL};
static const struct rp_accel_registry registry = {drivers};

static void
arguments_that_cannot_be(void **state)
{
	static const struct {
		const char *text;
		const char *words;
	} rows[] = {
		{"vfio", "vfio: key 'device': missing, expected vfio,device=DDDD:BB:DD.F"},
		{"vfio,device=", "key 'device': has no value"},
		{"vfio,device=eth0", "device: 'eth0': expected a PCI address like 0000:00:04.0"},
		{"vfio,device=00:04.0,busy_wait_ms=0", "key 'busy_wait_ms': '0': expected a number from 1 to 60000"},
		{"vfio,device=00:04.0,busy_wait_ms=60001", "expected a number from 1 to 60000"},
		{"vfio,device=00:04.0,wait_ms=9", "key 'wait_ms': '9': expected a number from 10 to 600000"},
		{"vfio,device=00:04.0,container=01234567890123456789012345678901", "expected a name of 1 to 31 bytes"},
		{"vfio,socket=/x", "key 'socket': unknown, expected one of: device, busy_wait_ms, wait_ms, container"},
	};
	struct rp_accel accel = {0};
	struct rp_wire_why why;
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(rp_accel_check(&registry, rows[i].text, &why), -EBADMSG);
		if (strstr(why.text, rows[i].words) == NULL)
			print_error("%s\n", why.text);
		assert_non_null(strstr(why.text, rows[i].words));
		assert_int_equal(rp_accel_open(&registry, rows[i].text, &accel, &why), -EBADMSG);
		assert_null(accel.ops);
	}
	assert_int_equal(rp_accel_check(&registry, "vfio,device=00:04.0,busy_wait_ms=1,wait_ms=10,container=vm0", NULL),
			 0);
}

/* No machine has it: a domain that nobody numbers. */
static void
a_device_that_is_not_there(void **state)
{
	struct rp_accel accel = {0};
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(rp_accel_open(&registry, "vfio,device=feed5:ff:1f.7", &accel, &why), -ENOENT);
	assert_non_null(strstr(why.text, "feed5:ff:1f.7: no such PCI device"));
	assert_null(accel.ops);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arguments_that_cannot_be),
		cmocka_unit_test(a_device_that_is_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
