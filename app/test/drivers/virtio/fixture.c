/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

int
fixture_setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	test_leaks_read(&fixture->leaks);
	fake_init(&fixture->fake);
	fixture->wait_ms = FIXTURE_WAIT_MS;
	*state = fixture;
	return 0;
}

int
fixture_setup_many(void **state)
{
	int rc = fixture_setup(state);
	struct fixture *fixture = *state;

	if (rc == 0)
		fixture->fake.takes_many = true;
	return rc;
}

int
fixture_teardown(void **state)
{
	struct fixture *fixture = *state;
	bool opened = fixture->accel.ops != NULL;

	rp_accel_close(&fixture->accel);
	/* A transport that was taken is closed, one that was not is its owner's. */
	assert_int_equal(fixture->fake.closes_count, opened);
	fake_fini(&fixture->fake);
	test_leaks_assert_none(&fixture->leaks);
	free(fixture);
	return 0;
}

int
fixture_open(struct fixture *fixture)
{
	struct rp_accel_transport transport = fake_transport(&fixture->fake);
	struct rp_virtio_config config = {.wait_ms = fixture->wait_ms};
	int rc = rp_virtio_open(&transport, &config, &fixture->accel, &fixture->why);

	if (rc == 0)
		assert_null(transport.ops);
	else
		assert_non_null(transport.ops);
	return rc;
}

void
fixture_open_ok(struct fixture *fixture)
{
	int rc = fixture_open(fixture);

	if (rc < 0)
		print_error("%s\n", fixture->why.text);
	assert_int_equal(rc, 0);
}

void
fixture_negotiate(struct fixture *fixture)
{
	fixture_open_ok(fixture);
	assert_int_equal(fixture->accel.ops->set_features(fixture->accel.priv, FAKE_VERSION_1, &fixture->why), 0);
}

int
fixture_start(struct fixture *fixture, unsigned int queue, uint32_t position, int call_fd)
{
	struct rp_accel_queue_config config = {
		.num = 64,
		.position = position,
		.desc_iova = 0x123456780ull + queue * 0x100000,
		.avail_iova = 0x223456784ull + queue * 0x100000,
		.used_iova = 0x323456788ull + queue * 0x100000,
		.call_fd = call_fd,
	};

	return fixture->accel.ops->queue_start(fixture->accel.priv, queue, &config, &fixture->why);
}

void
fixture_assert_why(const struct fixture *fixture, const char *words)
{
	bool found = strstr(fixture->why.text, words) != NULL;

	if (!found)
		print_error("it says: %s\n", fixture->why.text);
	assert_true(found);
}

void
fixture_assert_refused(struct fixture *fixture, int error, const char *words)
{
	int rc = fixture_open(fixture);

	if (rc != error)
		print_error("%d %s\n", rc, fixture->why.text);
	assert_int_equal(rc, error);
	assert_int_equal(fixture->why.error, error);
	fixture_assert_why(fixture, words);
	assert_null(fixture->accel.ops);
}
