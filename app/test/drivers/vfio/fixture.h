/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFIO_FIXTURE_H
#define VFIO_FIXTURE_H

#include "fake_kernel.h"

#define FIXTURE_TRANSPORTS 4u

/* A fake kernel, and transports that are closed at the end; nothing may be left of them. */
struct fixture {
	struct fake_kernel *fake;
	struct rp_accel_transport transports[FIXTURE_TRANSPORTS];
	struct rp_wire_why why;
	struct test_leaks leaks;
};

int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Must work. */
struct rp_accel_transport *fixture_open(struct fixture *fixture, unsigned int number, const char *address,
					const char *container);
void fixture_close(struct rp_accel_transport *transport);
/* Opening must fail, with these words among others, and leave nothing. */
void fixture_refused(struct fixture *fixture, const char *address, int error, const char *words);
/* What was just refused, in fixture->why, whole. */
void fixture_said(struct fixture *fixture, int error, const char *words);

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

#endif
