/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "fixture.h"

int
fixture_setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	test_leaks_read(&fixture->leaks);
	fixture->fake = fake_kernel_new();
	*state = fixture;
	return 0;
}

int
fixture_teardown(void **state)
{
	struct fixture *fixture = *state;
	unsigned int i;

	for (i = 0; i < FIXTURE_TRANSPORTS; i++)
		fixture_close(&fixture->transports[i]);
	assert_null(fixture->fake->host.containers);
	assert_int_equal(fake_mapped(fixture->fake), 0);
	fake_kernel_free(fixture->fake);
	test_leaks_assert_none(&fixture->leaks);
	free(fixture);
	return 0;
}

void
fixture_close(struct rp_accel_transport *transport)
{
	if (transport->ops != NULL)
		transport->ops->close(transport->priv);
	transport->ops = NULL;
}

struct rp_accel_transport *
fixture_open(struct fixture *fixture, unsigned int number, const char *address, const char *container)
{
	int rc = fake_open(fixture->fake, address, container, &fixture->transports[number], &fixture->why);

	if (rc < 0)
		print_error("%s\n", fixture->why.text);
	assert_int_equal(rc, 0);
	/* Nothing was refused, so there are no words. */
	assert_string_equal(fixture->why.text, "");
	return &fixture->transports[number];
}

void
fixture_refused(struct fixture *fixture, const char *address, int error, const char *words)
{
	struct rp_accel_transport transport = {0};
	struct test_leaks before;

	test_leaks_read(&before);
	memset(&fixture->why, 0, sizeof(fixture->why));
	assert_int_equal(fake_open(fixture->fake, address, NULL, &transport, &fixture->why), error);
	fixture_said(fixture, error, words);
	assert_null(transport.ops);
	test_leaks_assert_none(&before);
}

void
fixture_said(struct fixture *fixture, int error, const char *words)
{
	assert_int_equal(fixture->why.error, error);
	if (strstr(fixture->why.text, words) == NULL)
		print_error("said: %s\n", fixture->why.text);
	assert_non_null(strstr(fixture->why.text, words));
	/* One that was cut does not say what to do. */
	assert_true(strlen(fixture->why.text) < RP_WIRE_WHY_MAX - 1);
	memset(&fixture->why, 0, sizeof(fixture->why));
}
