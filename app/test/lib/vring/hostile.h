/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HOSTILE_H
#define HOSTILE_H

#include "guest.h"

/*
 * Guests that write anything. What is asserted is what must hold whatever they
 * write: every part lies in guest memory, counts agree with sizes, numbers are
 * within bounds, every call returns, and a ring that broke is not written to.
 * The parts are touched, so that an address outside would be seen by the
 * sanitizers or by the processor.
 */

void hostile_assert_sane(const struct guest *guest);

uint64_t hostile_bits(unsigned int *seed);

/* Mostly inside guest memory, sometimes at its edge, sometimes anywhere. */
uint64_t hostile_address(unsigned int *seed);
uint32_t hostile_length(unsigned int *seed);

#endif
