/* SPDX-License-Identifier: BSD-3-Clause */
#include "move_order.h"

/* In place of lib/port's: the receive ring goes first and comes last, which loses frames. */
const struct port_move_order port_move_order = {.taken_first = 0, .given_first = 1};
