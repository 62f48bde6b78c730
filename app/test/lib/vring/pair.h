/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PAIR_H
#define PAIR_H

#include "guest.h"

/*
 * Both sides of the library against each other, in two threads: numbered
 * messages go in order, none is lost, and nobody sleeps through a wake-up. Both
 * use the space's mapping of the memory, so that the thread sanitizer sees one
 * memory and not two.
 */

/* Run `messages` of them over a ring; indirect tables are used when they are in the features. */
void pair_run(struct guest *guest, uint16_t num, uint64_t features, uint32_t messages);

/*
 * Both sides in one thread, in every order that `seed` gives: chains of all sizes,
 * direct and indirect, taken in bunches and given back in any order (in order when
 * that is in the features), `chains` of them. Each comes back once, with its own
 * bytes and its own length, and the ring ends drained.
 */
void pair_shuffle(struct guest *guest, uint16_t num, uint64_t features, uint32_t chains, unsigned int seed);

#endif
