/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fake_manager.h"
#include "rp_wire_fd.h"
#include "test_support.h"

void
fake_manager_append(char *log, const char *before, const char *text, const char *after)
{
	size_t used = strlen(log);

	snprintf(log + used, FAKE_MANAGER_LOG_BYTES - used, "%s%s%s", before, text, after);
}

int
fake_manager_high(int fd)
{
	int moved = fcntl(fd, F_DUPFD_CLOEXEC, FAKE_MANAGER_FD);

	assert_true(moved >= 0);
	close(fd);
	return moved;
}

static void
remove_named(struct fake_manager *manager, const char *name)
{
	unsigned int i, kept = 0;

	for (i = 0; i < manager->store_count; i++) {
		if (strcmp(manager->names[i], name) == 0) {
			rp_wire_fd_close(&manager->store[i]);
			continue;
		}
		manager->store[kept] = manager->store[i];
		memmove(manager->names[kept++], manager->names[i], sizeof(manager->names[i]));
	}
	manager->store_count = kept;
}

static void
take_message(struct fake_manager *manager, char *text, int fd)
{
	const char *named = strstr(text, "FDNAME=");
	char name[64] = "";
	char *at;

	if (named != NULL)
		sscanf(named, "FDNAME=%63[^\n]", name);
	for (at = text; *at != '\0'; at++) {
		if (*at == '\n')
			*at = ' ';
	}
	pthread_mutex_lock(&manager->lock);
	fake_manager_append(manager->text, "[", text, "]");
	if (strstr(text, "FDSTOREREMOVE=1") != NULL)
		remove_named(manager, name);
	if (fd >= 0 && strstr(text, "FDSTORE=1") != NULL && manager->store_count < FAKE_MANAGER_STORE_MAX) {
		strcpy(manager->names[manager->store_count], name);
		manager->store[manager->store_count++] = fake_manager_high(rp_wire_fd_take(&fd));
	}
	pthread_mutex_unlock(&manager->lock);
	/* That of a barrier: who waits sees its end. */
	rp_wire_fd_close(&fd);
}

static void *
manage(void *ctx)
{
	struct fake_manager *manager = ctx;

	for (;;) {
		union {
			struct cmsghdr header;
			char bytes[CMSG_SPACE(sizeof(int))];
		} control;
		char text[1024];
		struct iovec vector = {text, sizeof(text) - 1};
		struct msghdr message = {.msg_iov = &vector,
					 .msg_iovlen = 1,
					 .msg_control = control.bytes,
					 .msg_controllen = sizeof(control.bytes)};
		ssize_t bytes = recvmsg(manager->fd, &message, MSG_CMSG_CLOEXEC);
		int fd = -1;

		if (bytes <= 0)
			return NULL;
		text[bytes] = '\0';
		if (CMSG_FIRSTHDR(&message) != NULL && control.header.cmsg_type == SCM_RIGHTS)
			memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
		take_message(manager, text, fd);
	}
}

bool
fake_manager_was_told(struct fake_manager *manager, const char *message)
{
	bool found;

	pthread_mutex_lock(&manager->lock);
	found = strstr(manager->text, message) != NULL;
	pthread_mutex_unlock(&manager->lock);
	return found;
}

void
fake_manager_open(struct fake_manager *manager, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	memcpy(address.sun_path, path, strlen(path));
	snprintf(manager->path, sizeof(manager->path), "%s", path);
	manager->fd = fake_manager_high(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	assert_int_equal(bind(manager->fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	pthread_mutex_init(&manager->lock, NULL);
	assert_int_equal(pthread_create(&manager->thread, NULL, manage, manager), 0);
	setenv("NOTIFY_SOCKET", path, 1);
}

void
fake_manager_close(struct fake_manager *manager)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, manager->path, strlen(manager->path));
	assert_int_equal(sendto(fd, "", 0, 0, (const struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	pthread_join(manager->thread, NULL);
	rp_wire_fd_close_all(manager->store, manager->store_count);
	rp_wire_fd_close(&manager->fd);
	pthread_mutex_destroy(&manager->lock);
	unlink(manager->path);
	unsetenv("NOTIFY_SOCKET");
}

void
fake_manager_forget(struct fake_manager *manager)
{
	pthread_mutex_lock(&manager->lock);
	manager->text[0] = '\0';
	pthread_mutex_unlock(&manager->lock);
}

unsigned int
fake_manager_store_count(struct fake_manager *manager)
{
	unsigned int count;

	pthread_mutex_lock(&manager->lock);
	count = manager->store_count;
	pthread_mutex_unlock(&manager->lock);
	return count;
}

int
fake_manager_give(struct fake_manager *manager, unsigned int index)
{
	int fd;

	pthread_mutex_lock(&manager->lock);
	fd = index < manager->store_count ? rp_wire_fd_dup(manager->store[index]) : -1;
	pthread_mutex_unlock(&manager->lock);
	return fd;
}

void
fake_manager_hand_over(struct fake_manager *manager, int first_fd)
{
	char names[FAKE_MANAGER_STORE_MAX * 65] = "", number[32];
	unsigned int count = fake_manager_store_count(manager), i;

	for (i = 0; i < count; i++) {
		int fd = fake_manager_give(manager, i);

		if (fd != first_fd + (int)i) {
			assert_true(dup2(fd, first_fd + (int)i) >= 0);
			close(fd);
		}
		pthread_mutex_lock(&manager->lock);
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", i == 0 ? "" : ":",
			 manager->names[i]);
		pthread_mutex_unlock(&manager->lock);
	}
	snprintf(number, sizeof(number), "%d", (int)getpid());
	setenv("LISTEN_PID", number, 1);
	snprintf(number, sizeof(number), "%u", count);
	setenv("LISTEN_FDS", number, 1);
	setenv("LISTEN_FDNAMES", names, 1);
}
