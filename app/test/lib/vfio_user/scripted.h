/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCRIPTED_H
#define SCRIPTED_H

#include "script.h"

/* Our client and a server that answers what a test wrote down (script.h), for each test anew. */
struct scripted {
	struct liar liar;
	struct rp_vfu_client *client;
	struct rp_wire_why why;
};

extern struct scripted scripted;

int scripted_setup(void **state);
int scripted_teardown(void **state);
/* The last refusal says that. */
void scripted_assert_why(const char *words);

#endif
