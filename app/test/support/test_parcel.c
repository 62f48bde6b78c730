/* SPDX-License-Identifier: BSD-3-Clause */
#include <sys/eventfd.h>

#include "rp_wire_fd.h"
#include "test_parcel.h"
#include "test_support.h"

#define NOBODY UINT32_MAX

unsigned int
test_parcel_items_count(const struct rp_wire_parcel *parcel)
{
	const struct rp_wire_parcel_item *item = NULL;
	unsigned int count = 0;

	while ((item = rp_wire_parcel_next(parcel, item)) != NULL)
		count++;
	return count;
}

/* The open files, but that of the item that lies. */
static struct rp_wire_parcel *
begin(const struct rp_wire_parcel *parcel, unsigned int liar, enum test_parcel_lie lie)
{
	struct rp_wire_parcel *copy;
	unsigned int i;

	assert_int_equal(rp_wire_parcel_create(&copy), 0);
	for (i = 0; i < rp_wire_parcel_fds_count(parcel); i++) {
		int fd = -1;

		if (i != liar || (lie != TEST_PARCEL_OTHER_FILE && lie != TEST_PARCEL_NO_FILE))
			fd = rp_wire_fd_dup(rp_wire_parcel_fd(parcel, i));
		else if (lie == TEST_PARCEL_OTHER_FILE)
			fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		rp_wire_parcel_add_fd(copy, &fd);
	}
	return copy;
}

static void
put(struct rp_wire_parcel *copy, const struct rp_wire_parcel_item *item)
{
	if (item->kind == RP_WIRE_PARCEL_NUMBER)
		rp_wire_parcel_put_number(copy, item->path, item->number);
	else if (item->kind == RP_WIRE_PARCEL_TEXT)
		rp_wire_parcel_put_text(copy, item->path, item->text);
	else
		rp_wire_parcel_put_fd_index(copy, item->path, item->number);
}

static void
put_lie(struct rp_wire_parcel *copy, const struct rp_wire_parcel_item *item, enum test_parcel_lie lie)
{
	static const int64_t added[TEST_PARCEL_LIES] = {[TEST_PARCEL_ONE_MORE] = 1, [TEST_PARCEL_ONE_LESS] = -1};
	bool is_number = item->kind == RP_WIRE_PARCEL_NUMBER;

	if (lie == TEST_PARCEL_ABSENT)
		return;
	if (lie == TEST_PARCEL_OTHER_KIND && is_number)
		rp_wire_parcel_put_text(copy, item->path, "seven");
	else if (lie == TEST_PARCEL_OTHER_KIND)
		rp_wire_parcel_put_number(copy, item->path, 7);
	else if (is_number && lie == TEST_PARCEL_LARGEST)
		rp_wire_parcel_put_number(copy, item->path, UINT64_MAX);
	else if (is_number && lie == TEST_PARCEL_ZERO)
		rp_wire_parcel_put_number(copy, item->path, 0);
	else if (is_number)
		rp_wire_parcel_put_number(copy, item->path, item->number + (uint64_t)added[lie]);
	else
		put(copy, item);
}

struct rp_wire_parcel *
test_parcel_altered(const struct rp_wire_parcel *parcel, unsigned int item_index, enum test_parcel_lie lie)
{
	const struct rp_wire_parcel_item *item = NULL;
	unsigned int i = 0, liar = NOBODY;
	struct rp_wire_parcel *copy;

	while ((item = rp_wire_parcel_next(parcel, item)) != NULL)
		if (i++ == item_index && item->kind == RP_WIRE_PARCEL_FD)
			liar = (unsigned int)item->number;
	copy = begin(parcel, liar, lie);
	i = 0;
	while ((item = rp_wire_parcel_next(parcel, item)) != NULL) {
		if (i++ == item_index)
			put_lie(copy, item, lie);
		else
			put(copy, item);
	}
	assert_int_equal(rp_wire_parcel_result(copy, NULL), 0);
	return copy;
}

struct rp_wire_parcel *
test_parcel_changed(const struct rp_wire_parcel *parcel, enum test_parcel_change change, const char *path,
		    uint64_t number)
{
	const struct rp_wire_parcel_item *item = NULL;
	struct rp_wire_parcel *copy = begin(parcel, NOBODY, TEST_PARCEL_LIES);
	RP_WIRE_FD_SCOPED int file = test_memfd(1, false);
	bool found = false;

	while ((item = rp_wire_parcel_next(parcel, item)) != NULL) {
		if (strcmp(item->path, path) != 0) {
			put(copy, item);
			continue;
		}
		found = true;
		if (change == TEST_PARCEL_NUMBER)
			rp_wire_parcel_put_number(copy, path, number);
		else if (change == TEST_PARCEL_FILE)
			rp_wire_parcel_put_fd(copy, path, file);
	}
	if (!found)
		print_error("no item '%s'\n", path);
	assert_true(found);
	return copy;
}

struct rp_wire_parcel *
test_parcel_with(const struct rp_wire_parcel *parcel, const char *path, uint64_t number)
{
	return test_parcel_changed(parcel, TEST_PARCEL_NUMBER, path, number);
}

struct rp_wire_parcel *
test_parcel_copy(const struct rp_wire_parcel *parcel)
{
	return test_parcel_altered(parcel, NOBODY, TEST_PARCEL_LIES);
}
