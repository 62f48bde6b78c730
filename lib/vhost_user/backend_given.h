/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BACKEND_GIVEN_H
#define BACKEND_GIVEN_H

#include "rp_wire_parcel.h"

/* Of what backend_give.c packs. Another one is not read: the frontend connects anew. */
#define VHU_GIVEN_VERSION 1u

#endif
