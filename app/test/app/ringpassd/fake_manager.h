/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FAKE_MANAGER_H
#define FAKE_MANAGER_H

#include <pthread.h>
#include <stdbool.h>

#define FAKE_MANAGER_FD 700 /* its descriptors, out of the way of those that are handed over */
#define FAKE_MANAGER_STORE_MAX 8
#define FAKE_MANAGER_LOG_BYTES 16384

/* A service manager: keeps what it is told and given. */
struct fake_manager {
	int fd;
	char path[64];
	pthread_t thread;
	pthread_mutex_t lock;
	char text[FAKE_MANAGER_LOG_BYTES]; /* "[message]" each, line ends as spaces */
	int store[FAKE_MANAGER_STORE_MAX];
	char names[FAKE_MANAGER_STORE_MAX][64]; /* of what is in the store */
	unsigned int store_count;
};

/* NOTIFY_SOCKET is it from now on. */
void fake_manager_open(struct fake_manager *manager, const char *path);
void fake_manager_close(struct fake_manager *manager);
bool fake_manager_was_told(struct fake_manager *manager, const char *message);
void fake_manager_forget(struct fake_manager *manager); /* what it was told */
unsigned int fake_manager_store_count(struct fake_manager *manager);
/* @return a duplicate of what is in the store, -1: nothing. */
int fake_manager_give(struct fake_manager *manager, unsigned int index);
/* All that is in the store, as a process finds it that the manager starts: from this number on. */
void fake_manager_hand_over(struct fake_manager *manager, int first_fd);
/* Move a descriptor out of the way. */
int fake_manager_high(int fd);
/* Three pieces, to the end of a log of FAKE_MANAGER_LOG_BYTES. */
void fake_manager_append(char *log, const char *before, const char *text, const char *after);

#endif
