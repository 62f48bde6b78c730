/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TEST_PARCEL_H
#define TEST_PARCEL_H

#include "rp_wire_parcel.h"

/* What may be wrong with a parcel that travelled. */
enum test_parcel_lie {
	TEST_PARCEL_ABSENT, /* the item */
	TEST_PARCEL_LARGEST, /* a number */
	TEST_PARCEL_ONE_MORE,
	TEST_PARCEL_ONE_LESS,
	TEST_PARCEL_ZERO,
	TEST_PARCEL_OTHER_KIND, /* a text where a number was, a number elsewhere */
	TEST_PARCEL_OTHER_FILE, /* an eventfd in the place of a descriptor */
	TEST_PARCEL_NO_FILE, /* it did not arrive */
	TEST_PARCEL_LIES,
};

unsigned int test_parcel_items_count(const struct rp_wire_parcel *parcel);

/* A copy in which that item is a lie; the truth where the lie makes no sense of it. The caller's. */
struct rp_wire_parcel *test_parcel_altered(const struct rp_wire_parcel *parcel, unsigned int item,
					   enum test_parcel_lie lie);

/* A copy in which the number of this whole name is another one. */
struct rp_wire_parcel *test_parcel_with(const struct rp_wire_parcel *parcel, const char *path, uint64_t number);

/* What a hostile or forgetful predecessor does to one item. */
enum test_parcel_change {
	TEST_PARCEL_DROP, /* it is not there */
	TEST_PARCEL_NUMBER, /* it is this number, whatever it was */
	TEST_PARCEL_FILE, /* it is a descriptor of a plain file */
};

/* A copy in which the item of this whole name is changed. */
struct rp_wire_parcel *test_parcel_changed(const struct rp_wire_parcel *parcel, enum test_parcel_change change,
					   const char *path, uint64_t number);

/* As it was. */
struct rp_wire_parcel *test_parcel_copy(const struct rp_wire_parcel *parcel);

#endif
