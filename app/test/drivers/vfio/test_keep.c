/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "fixture.h"

#define ALONE_GROUP 4u
#define DEAD (FAKE_CONTAINERS - 1)

/* A store with room for one group. */
struct store {
	int kept_fd; /* -1: none */
	unsigned int group;
	unsigned int taken_count, opened_count, closed_count;
	char words[RP_WIRE_WHY_MAX];
};

static void
store_take(void *ctx, unsigned int group, int *ret_fd)
{
	struct store *store = ctx;

	if (store->kept_fd < 0 || store->group != group)
		return;
	*ret_fd = rp_wire_fd_dup(store->kept_fd);
	store->taken_count++;
}

static void
store_opened(void *ctx, unsigned int group, int fd)
{
	struct store *store = ctx;

	assert_int_equal(store->kept_fd, -1);
	store->kept_fd = rp_wire_fd_dup(fd);
	store->group = group;
	store->opened_count++;
}

static void
store_closed(void *ctx, unsigned int group, const struct rp_wire_why *why)
{
	struct store *store = ctx;

	assert_int_equal(group, store->group);
	store->closed_count++;
	if (why == NULL)
		return;
	snprintf(store->words, sizeof(store->words), "%s", why->text);
	rp_wire_fd_close(&store->kept_fd);
}

static const struct rp_vfio_keeper keeper = {.take = store_take, .opened = store_opened, .closed = store_closed};

static void
keep(struct fixture *fixture, struct store *store)
{
	*store = (struct store){.kept_fd = -1};
	fixture->fake->host.keeper = &keeper;
	fixture->fake->host.keeper_ctx = store;
}

/* The group is open all the time, and in no container in between. */
static void
a_group_stays_open(void **state)
{
	struct fixture *fixture = *state;
	struct store store;

	keep(fixture, &store);
	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	assert_int_equal(store.opened_count, 1);
	assert_int_equal(store.group, ALONE_GROUP);
	fixture_close(&fixture->transports[0]);
	assert_int_equal(store.closed_count, 1);
	assert_null(fixture->fake->groups[0].container);

	/* Anybody else finds it busy; the successor does not even try. */
	fixture->fake->host.keeper = NULL;
	fixture_refused(fixture, FAKE_ALONE, -EBUSY, "group 4 is still open in another process");
	fixture->fake->host.keeper = &keeper;
	fixture->fake->open_error = -EBUSY;
	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	assert_int_equal(store.taken_count, 1);
	assert_int_equal(store.opened_count, 1);
	fixture_close(&fixture->transports[0]);
	rp_wire_fd_close(&store.kept_fd);
}

static void
left_behind(struct fake_kernel *fake)
{
	fake->containers[DEAD].groups_count = 1;
	fake->containers[DEAD].has_iommu = true;
	fake->containers[DEAD].mappings_count = 1;
	fake->groups[0].container = &fake->containers[DEAD];
	fake->groups[0].flags |= VFIO_GROUP_FLAGS_CONTAINER_SET;
}

static void
unset(struct fake_kernel *fake)
{
	fake->containers[DEAD].groups_count = fake->containers[DEAD].mappings_count = 0;
	fake->groups[0].container = NULL;
	fake->groups[0].flags &= ~(uint32_t)VFIO_GROUP_FLAGS_CONTAINER_SET;
}

/* The predecessor died: what it has mapped is still there, and goes before anything is opened. */
static void
a_group_of_a_dead_predecessor(void **state)
{
	struct fixture *fixture = *state;
	struct fake_kernel *fake = fixture->fake;
	struct store store;

	keep(fixture, &store);
	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	fixture_close(&fixture->transports[0]);
	left_behind(fake);
	fake->unset_busy = 2;
	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	assert_int_equal(store.taken_count, 1);
	assert_int_equal(fake_mapped(fake), 0);
	assert_int_equal(fake->sleeps_count, 2);
	assert_ptr_not_equal(fake->groups[0].container, &fake->containers[DEAD]);
	fixture_close(&fixture->transports[0]);

	/* Somebody has its device open and keeps it: said once, and then it is as busy as without a store. */
	left_behind(fake);
	fake->unset_busy = 1000;
	fake->open_error = -EBUSY;
	assert_int_equal(fake_open(fake, FAKE_ALONE, NULL, &fixture->transports[0], &fixture->why), -EBUSY);
	fixture_said(fixture, -EBUSY, "group 4 is still open in another process");
	assert_non_null(strstr(store.words, "(another process still has a device of it open)"));
	assert_int_equal(store.kept_fd, -1);
	unset(fake);
}

static void
refused(struct fixture *fixture, struct store *store, int fd, const char *words)
{
	store->kept_fd = fd;
	store->group = ALONE_GROUP;
	/* It is opened as if nothing had been kept. */
	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	if (strstr(store->words, words) == NULL)
		fail_msg("found '%s', expected '%s'", store->words, words);
	assert_int_equal(store->opened_count, 1);
	fixture_close(&fixture->transports[0]);
	rp_wire_fd_close(&store->kept_fd);
}

static void
what_is_no_such_group(void **state)
{
	struct fixture *fixture = *state;
	struct store store;

	keep(fixture, &store);
	refused(fixture, &store, open("/dev/null", O_RDWR | O_CLOEXEC), "group 4, kept: found another file, expected ");
	/* As good as the right one to stat(2), but it answers nothing. */
	keep(fixture, &store);
	refused(fixture, &store, test_memfd(1, false), "group 4: status: ");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(a_group_stays_open),
		FIXTURE_TEST(a_group_of_a_dead_predecessor),
		FIXTURE_TEST(what_is_no_such_group),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
