/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FUZZ_VRING_H
#define FUZZ_VRING_H

#include "fuzz.h"

/* A hostile driver, of a ring with these features beside those that the input chooses. @return 0. */
int fuzz_vring(const uint8_t *bytes, size_t size_bytes, uint64_t features);

#endif
