/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FIXTURE_H
#define FIXTURE_H

#include "fake_device.h"
#include "rp_virtio.h"

/* A fake device and, once open, the accelerator on it. cmocka's state points at it. */
struct fixture {
	struct fake_device fake;
	struct rp_accel accel;
	struct rp_wire_why why;
	struct test_leaks leaks;
	uint32_t wait_ms; /* for one answer; short, for those that never come */
};

#define FIXTURE_WAIT_MS 20u
/* For those that come late. */
#define FIXTURE_PATIENT_MS 60000u

int fixture_setup(void **state);
/* Of a transport that takes vectors and registers many at a time. */
int fixture_setup_many(void **state);
int fixture_teardown(void **state);

/* Open the accelerator; what rp_virtio_open() says is in why. */
int fixture_open(struct fixture *fixture);
void fixture_open_ok(struct fixture *fixture);
/* Open, and negotiate with VERSION_1. */
void fixture_negotiate(struct fixture *fixture);
int fixture_start(struct fixture *fixture, unsigned int queue, uint32_t position, int call_fd);
/* Open must fail with this error and words. */
void fixture_assert_refused(struct fixture *fixture, int error, const char *words);
void fixture_assert_why(const struct fixture *fixture, const char *words);

#endif
