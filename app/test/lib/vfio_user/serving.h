/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SERVING_H
#define SERVING_H

#include <pthread.h>

#include "rp_vfu_server.h"

/* A thread that gives a server its turns, as a device process would. */
struct serving {
	struct rp_vfu_server *server; /* NULL: it does not run */
	pthread_t thread;
	int stop_fd;
};

void serving_start(struct serving *serving, struct rp_vfu_server *server);
/* When it returns the server is the caller's again. It may be stopped already. */
void serving_stop(struct serving *serving);

#endif
