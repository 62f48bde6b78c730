/* SPDX-License-Identifier: BSD-3-Clause */
#include "move_order.h"

const struct port_move_order port_move_order = {.taken_first = 1, .given_first = 0};
