/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FUZZ_PARCEL_H
#define FUZZ_PARCEL_H

#include "fuzz.h"
#include "rp_wire_parcel.h"

/*
 * What a predecessor leaves, as it might arrive: whole, or with some things in it missing,
 * of another kind, with another number, or another file.
 */

/* @return a copy, the caller's. `parcel` stays as it is. */
struct rp_wire_parcel *fuzz_parcel_bent(struct fuzz_input *input, const struct rp_wire_parcel *parcel);

#endif
