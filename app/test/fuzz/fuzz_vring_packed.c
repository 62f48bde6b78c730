/* SPDX-License-Identifier: BSD-3-Clause */
#include "vring.h"

/* The device's side of a packed ring. */
int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
	return fuzz_vring(bytes, size_bytes, UINT64_C(1) << 34);
}
